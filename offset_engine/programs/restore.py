"""`offset restore IN`: makes a card from a backup, and says what an old backup may cost.

The restored card is off. It may talk to its friends from its next start on, each of them in quarantine.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Final

from offset_engine.cards import FriendSum, check_backup
from offset_engine.disk import path_of
from offset_engine.programs import card_flags, passphrases
from offset_engine.programs.arguments import Commands, Json, Output
from offset_engine.programs.passphrases import Passphrases

_WHAT: Final = "Make a card from a backup, and say what an old backup may cost."


def add_parser(commands: Commands) -> None:
    """Add `restore` to the subcommands of a program; its action is `act`."""
    parser = commands.add("restore", _WHAT)
    parser.add_argument("backup", metavar="IN", help="the backup")
    parser.add_argument(
        "--name", metavar="NAME", help="what to call the card; as before if not given"
    )
    parser.add_argument(
        "--force", action="store_true", help="put a card away that has this name or this key"
    )
    passphrases.add_flag(parser)
    card_flags.add_store(parser)


def act(args: argparse.Namespace, output: Output) -> None:
    """Restore; a card that was protected gets the backup's passphrase.

    Raises:
        CardError: there is such a card already, and `--force` is not given, or it runs.
        FileError, StoreError: it is no backup, damaged or too new, or the passphrase is wrong.
    """
    store = card_flags.store_of(args)
    check_backup(path_of(args.backup))
    passphrase = Passphrases(args).ask(args.backup)
    info = store.restore(path_of(args.backup), passphrase, name=args.name, force=args.force)
    warning = info.warning(time.time_ns() // 1_000_000)
    protected = "It is protected with the passphrase of the backup." if info.is_protected else ""
    output.result(
        {
            "card": info.name,
            "public_key": info.public_key.to_text(),
            "taken_ms": info.taken_ms,
            "protected": info.is_protected,
            "friends": _friends(info.friends),
            "open_payments": info.open_payments,
            "open_invoices": info.open_invoices,
            "warning": warning,
        },
        f"The card {info.name} is restored, and off. {protected}".rstrip() + f"\n\n{warning}",
    )


def _friends(friends: Sequence[FriendSum]) -> list[Json]:
    return [
        {
            "name": friend.name,
            "public_key": friend.public_key.to_text(),
            "consistent": friend.is_consistent,
            "balances": {currency: str(balance) for currency, balance in friend.balances},
        }
        for friend in friends
    ]
