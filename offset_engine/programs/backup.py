"""`offset backup CARD OUT`: one file with everything of a card, sealed with a passphrase of its own."""

import argparse
from typing import Final

from offset_engine.disk import path_of
from offset_engine.programs import card_flags, passphrases
from offset_engine.programs.arguments import Commands, Output
from offset_engine.programs.passphrases import Passphrases

_WHAT: Final = "Write a backup of a card: one file, sealed with a passphrase. The card may run."


def add_parser(commands: Commands) -> None:
    """Add `backup` to the subcommands of a program; its action is `act`."""
    parser = commands.add("backup", _WHAT)
    parser.add_argument("card", metavar="CARD", help="name of the card")
    parser.add_argument("out", metavar="OUT", help="file to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    passphrases.add_flag(parser, "the card's first if it has one, then the backup's")
    card_flags.add_store(parser)


def act(args: argparse.Namespace, output: Output) -> None:
    """Write it. A protected card's passphrase is asked for first, then the one for the backup.

    Raises:
        CardError: there is no such card, or it is broken.
        FileError, StoreError: something cannot be read or written, or a passphrase is wrong.
    """
    store = card_flags.store_of(args)
    card = card_flags.card_of(args, store)
    asked = Passphrases(args)
    own = asked.ask(f"the card {card.name}") if card.is_protected else None
    passphrase = asked.ask_new(f"the backup {args.out}")
    info = store.backup(card.name, path_of(args.out), passphrase, own, force=args.force)
    output.result(
        {
            "output": args.out,
            "card": info.name,
            "public_key": info.public_key.to_text(),
            "taken_ms": info.taken_ms,
            "friends": len(info.friends),
        },
        f"{args.out} holds the card {info.name} as it is now. Whoever has it and its passphrase has "
        "the card; without the passphrase it is of no use to anybody, you included.",
    )
