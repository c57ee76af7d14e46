"""`offset cards`: lists the cards; with an action, makes and changes them.

    offset cards                        offset cards rename NAME NEW       offset cards protect NAME
    offset cards create NAME            offset cards enable NAME           offset cards unprotect NAME
    offset cards import FILE NAME       offset cards disable NAME          offset cards test NAME
                                        offset cards remove NAME

Source: apps.md §4.1, §5 S22 to S26.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Final

import anyio

from offset_engine.cards import (
    CardError,
    CardInfo,
    CardKind,
    CardState,
    CardStore,
)
from offset_engine.files import RemoteCard, load
from offset_engine.net.remote_client import Dial, open_remote
from offset_engine.programs import card_flags, passphrases
from offset_engine.programs.arguments import (
    Commands,
    Json,
    Output,
    UsageError,
    Words,
    add_output_flags,
)
from offset_engine.programs.control.session import ask, has_person
from offset_engine.programs.passphrases import Passphrases

_WHAT: Final = "List the cards, or make and change them."
_NAME: Final = ("name", "NAME", "name of the card")
_ACTIONS_HELP: Final = {
    "create": ("Make a card with a new key.", (_NAME,)),
    "import": (
        "Add a remote card from its file.",
        (("file", "FILE", "the remote card; it holds a secret"), _NAME),
    ),
    "rename": ("Call a card something else.", (_NAME, ("new_name", "NEW", "the new name"))),
    "enable": ("Have the app open a card when it starts.", (_NAME,)),
    "disable": ("Do not have the app open a card when it starts.", (_NAME,)),
    "remove": ("Put a card that is off into the trash directory.", (_NAME,)),
    "protect": ("Seal a card with a passphrase, or with another one.", (_NAME,)),
    "unprotect": ("Take the passphrase off a card.", (_NAME,)),
    "test": ("Connect to a card's node and say what it lets us do.", (_NAME,)),
}


def add_parser(commands: Commands) -> None:
    """Add `cards` to the subcommands of a program; its action is `act`."""
    parser = commands.add("cards", _WHAT)
    card_flags.add_store(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", parser_class=Words)
    for name, (what, arguments) in _ACTIONS_HELP.items():
        action = actions.add_parser(name, help=what, description=what, allow_abbrev=False)
        add_output_flags(action, top=False)
        card_flags.add_store(action)
        for argument, shown, help_ in arguments:
            action.add_argument(argument, metavar=shown, help=help_)
        if name == "remove":
            action.add_argument("--yes", action="store_true", help="do not ask")
        elif name in ("create", "import"):
            passphrases.add_new_flags(action, "the card")
        elif name == "protect":
            passphrases.add_flag(action, "the old one first if there is one, then the new one")
        elif name in ("unprotect", "test"):
            passphrases.add_flag(action)


def act(args: argparse.Namespace, output: Output) -> None:
    """Do it.

    Raises:
        CardError: there is no such card, there is one already, or it is broken or runs.
        FileError, StoreError: something cannot be read or written, or a passphrase is wrong.
        TransportError: a node cannot be reached.
    """
    store = card_flags.store_of(args)
    if args.action is None:
        _list(store, output)
    else:
        _ACTIONS[args.action](args, store, output)


def _list(store: CardStore, output: Output) -> None:
    cards = store.cards()
    text = "\n".join(map(_line, cards)) or "There are no cards yet: offset cards create NAME"
    output.result({"store": str(store.directory), "cards": [_values(card) for card in cards]}, text)


def _create(args: argparse.Namespace, store: CardStore, output: Output) -> None:
    passphrase = Passphrases(args).ask_new_if_wanted(f"the card {args.name}")
    card = store.create(args.name, passphrase)
    output.result(
        _values(card), f"made the card {_line(card)}\nIt runs with: {store.start_of(card)}"
    )


def _import(args: argparse.Namespace, store: CardStore, output: Output) -> None:
    remote = load(args.file, RemoteCard)
    passphrase = Passphrases(args).ask_new_if_wanted(f"the card {args.name}")
    card = store.add_remote(args.name, remote, passphrase)
    output.note(f"note: {args.file} holds the card's secret; delete it once the card works")
    _said(card, "added", output)


def _rename(args: argparse.Namespace, store: CardStore, output: Output) -> None:
    _said(store.rename(args.name, args.new_name), "renamed", output)


def _enable(args: argparse.Namespace, store: CardStore, output: Output) -> None:
    is_enabled = args.action == "enable"
    card = store.set_enabled(args.name, is_enabled=is_enabled)
    _said(card, "enabled" if is_enabled else "disabled", output)


def _remove(args: argparse.Namespace, store: CardStore, output: Output) -> None:
    card = store.card(args.name)
    if not args.yes and not _agrees(card):
        raise CardError(f"{card.name} was not put away")
    where = store.remove(card.name)
    output.result(
        {"name": card.name, "moved_to": str(where)},
        f"{card.name} is put away in {where}; delete that directory to be rid of it for good",
    )


def _agrees(card: CardInfo) -> bool:
    """Whether the person at the terminal lets a card go.

    Raises:
        UsageError: there is nobody to ask.
    """
    question = f"Put the card {card.name} into the trash?"
    if not has_person():
        raise UsageError(
            f"this has to be agreed to ({question}): add --yes, or run it at a terminal"
        )
    return anyio.run(ask, f"{_line(card)}\n{question} [y/N] ").lower() in ("y", "yes")


def _protect(args: argparse.Namespace, store: CardStore, output: Output) -> None:
    card, asked = store.card(args.name), Passphrases(args)
    old = asked.ask(f"the card {card.name}") if card.is_protected else None
    store.protect(card.name, asked.ask_new(f"the card {card.name}"), old)
    _said(store.card(card.name), "protected", output)


def _unprotect(args: argparse.Namespace, store: CardStore, output: Output) -> None:
    card = store.card(args.name)
    if not card.is_protected:
        raise CardError(f"{card.name} has no passphrase")
    store.unprotect(card.name, Passphrases(args).ask(f"the card {card.name}"))
    _said(store.card(card.name), "not protected any more", output)


def _test(args: argparse.Namespace, store: CardStore, output: Output) -> None:
    card = store.card(args.name)
    needs_passphrase = card.is_protected and card.kind is CardKind.REMOTE
    asked = Passphrases(args)
    passphrase = asked.ask(f"the card {card.name}") if needs_passphrase else None
    found = anyio.run(_connect, store.dial(card.name, passphrase))
    allowed = [name for name, is_given in found.items() if is_given]
    output.result(
        {"name": card.name, "permissions": allowed},
        f"{card.name} answers, and lets us: {', '.join(allowed) or 'nothing'}",
    )


async def _connect(dial: Dial) -> dict[str, bool]:
    async with open_remote(dial) as client:
        given = client.permissions
    names = ("read", "routes", "buyer", "seller", "transactions", "config")
    return {name: bool(getattr(given, name)) for name in names}


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace, CardStore, Output], None]]] = {
    "create": _create,
    "import": _import,
    "rename": _rename,
    "enable": _enable,
    "disable": _enable,
    "remove": _remove,
    "protect": _protect,
    "unprotect": _unprotect,
    "test": _test,
}


def _said(card: CardInfo, done: str, output: Output) -> None:
    output.detail(f"{card.name} is {done}")
    output.result(_values(card))


def _line(card: CardInfo) -> str:
    if card.state is CardState.BROKEN:
        return f"{card.name}: broken: {card.problem}"
    key = "" if card.public_key is None else card.public_key.to_text()
    words = [card.kind.value, card.state.value, "enabled" if card.is_enabled else "disabled"]
    if card.is_protected:
        words.append("protected")
    if card.kind is CardKind.REMOTE:
        words.append(f"at {card.node_address}")
    warning = f"\n  {card.warning}" if card.warning else ""
    return f"{card.name}: {', '.join(words)}, {key}{warning}"


def _values(card: CardInfo) -> dict[str, Json]:
    return {
        "name": card.name,
        "kind": card.kind.value,
        "state": card.state.value,
        "problem": card.problem or None,
        "warning": card.warning or None,
        "enabled": card.is_enabled,
        "protected": card.is_protected,
        "public_key": None if card.public_key is None else card.public_key.to_text(),
        "app_key": None if card.app_key is None else card.app_key.to_text(),
        "node_address": card.node_address or None,
        "directory": str(card.directory),
        "process": card.process,
        "socket": None if card.socket is None else str(card.socket),
    }
