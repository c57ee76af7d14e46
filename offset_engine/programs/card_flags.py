"""What the commands about cards have in common: where the cards are, and which one is meant."""

import argparse

from offset_engine.cards import CardInfo, CardStore, SeveralCardsError, default_directory
from offset_engine.disk import path_of
from offset_engine.errors import FileError
from offset_engine.programs.arguments import UsageError


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add `--store DIR`; `store_of` reads it."""
    parser.add_argument(
        "--store",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help=f"where the cards are; {default_directory()} if not given",
    )


def add_card(parser: argparse.ArgumentParser) -> None:
    """Add `--card NAME`; `card_of` reads it."""
    parser.add_argument(
        "--card",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="which card; may be left out if there is one",
    )


def store_of(args: argparse.Namespace) -> CardStore:
    """The card store the command line means.

    Raises:
        FileError: its name is none a directory can have, or something else has it.
    """
    text: str | None = getattr(args, "store", None)
    if text is None:
        return CardStore()
    if not text or "\0" in text:
        raise FileError("the store needs a name a directory can have")
    path = path_of(text)
    if path.exists() and not path.is_dir():
        raise FileError(f"{text} is not a directory; cards are kept in one")
    return CardStore(path)


def card_of(args: argparse.Namespace, store: CardStore) -> CardInfo:
    """The card the command line names, or the only one.

    Raises:
        CardError: there is none of this name.
        UsageError: it takes a name because there are several.
    """
    name: str | None = getattr(args, "card", None)
    if name is not None:
        return store.card(name)
    try:
        return store.only()
    except SeveralCardsError as error:
        raise UsageError(str(error)) from None
