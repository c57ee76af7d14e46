"""One command at work: the card it is about, connected, and what the command line says.

The card has to run: in the app, or without a screen (`offset run`). Remote cards are reached at their address.

Source: design R31, R47; tui.md §2.6.
"""

import argparse
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias, TypeVar

from offset_engine.cards import CardInfo, CardKind, CardStore
from offset_engine.client import Client, Currency, FriendReport, NodeReport
from offset_engine.errors import TransportError
from offset_engine.net.remote_client import Dial, RemoteClient
from offset_engine.notebook import Notebook
from offset_engine.programs import card_flags, passphrases
from offset_engine.programs.arguments import Commands, Output, UsageError, add_output_flags
from offset_engine.programs.control.session import NotPossibleError, ask, converse, has_person
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.serving import finish_or_stop
from offset_engine.text import EntryError, fingerprint, money_text, parse_amount, quoted
from offset_tui import doors, people
from offset_tui.session import Session
from offset_tui.store_door import StoreKeeper

_T = TypeVar("_T")


@asynccontextmanager
async def going_on(how: str) -> AsyncIterator[None]:
    """What was begun does not end with this command: if the card is lost meanwhile, say so, and how to look.

    Raises:
        NotPossibleError: the connection to the card was lost; ends with `how` to see what became of it.
    """
    try:
        yield
    except TransportError as error:
        raise NotPossibleError(
            f"{error}; it goes on when the card runs again, so do not repeat it: {how}"
        ) from error


class Twin:
    """One command at work on one card."""

    def __init__(self, session: Session, args: argparse.Namespace, output: Output) -> None:
        self.session: Final = session
        self.args: Final = args
        self.output: Final = output

    @property
    def client(self) -> Client:
        """What carries out commands."""
        return self.session.client

    @property
    def report(self) -> NodeReport:
        """The node as it was when the command began, or was looked at last."""
        return self.session.snapshot.report

    @property
    def now_ms(self) -> int:
        """UTC ms."""
        return self.session.clock()

    @property
    def is_ascii(self) -> bool:
        """Whether to write plain signs: where no terminal is, a program may read it."""
        return not self.output.is_terminal

    # --- amounts --------------------------------------------------------------------------------

    def uses(self, currency: Currency) -> bool:
        """Whether the card has used a currency: in its settings, or with a friend."""
        return any(one.currency == currency for one in self.session.settings.currencies) or any(
            line.currency == currency
            for friend in self.report.friends
            for line in friend.currencies
        )

    def digits(self, currency: Currency, stated: int | None = None) -> int:
        """Digits after the point of a currency on this card (design R8).

        Args:
            currency: the currency.
            stated: what an artifact says, for a currency this card has not used; 255 = nothing, which
                means whole credits; None = there is no artifact.

        Raises:
            UsageError: `--decimals` says something else than the card.
        """
        wanted: int | None = getattr(self.args, "decimals", None)
        if self.uses(currency):
            mine = self.session.decimals(currency)
            if wanted not in (None, mine):
                raise UsageError(
                    f"{currency} has {mine} digits after the point on this card, which stay: "
                    "leave out --decimals"
                )
            return mine
        if wanted is not None:
            return wanted
        if stated is None:
            return self.session.decimals(currency)
        return stated if stated <= people.DECIMALS_MAX else 0

    def amount(self, typed: str, currency: Currency, digits: int, least: int = 0) -> int:
        """What somebody typed, in credits.

        Raises:
            UsageError: it is no amount in this currency.
        """
        try:
            return parse_amount(typed, digits, least=least)
        except EntryError as error:
            raise UsageError(f"{typed[:80]!a} {currency}: {error}") from None

    def money(self, credits_: int, currency: Currency, *, sign: bool = False) -> str:
        """An amount with its currency, as this card shows it."""
        digits = self.session.decimals(currency)
        return money_text(credits_, currency, digits, sign=sign, ascii_only=self.is_ascii)

    # --- people ---------------------------------------------------------------------------------

    def friend(self, called: str) -> FriendReport:
        """The friend somebody means by a name, the key's short form or the whole key.

        Raises:
            NotPossibleError: there is none, or there are several.
        """
        ways: tuple[Callable[[FriendReport], bool], ...] = (
            lambda one: one.name == called,
            lambda one: one.name.casefold() == called.casefold(),
            lambda one: called.lower() == fingerprint(one.public_key),
            lambda one: called == one.public_key.to_text(),
        )
        for is_meant in ways:
            found = [one for one in self.report.friends if is_meant(one)]
            if len(found) > 1:
                keys = ", ".join(fingerprint(one.public_key) for one in found)
                raise NotPossibleError(
                    f"{len(found)} friends are called {quoted(called)}: say which by its key: {keys}"
                )
            if found:
                return found[0]
        raise NotPossibleError(f"there is no friend called {quoted(called)}")

    # --- asking ---------------------------------------------------------------------------------

    def say(self, lines: Iterable[str]) -> None:
        """Show a review beside the result; with `--json` nobody looks."""
        if not self.output.as_json:
            self.output.aside("\n".join(lines))

    async def agrees(self, question: str) -> bool:
        """Whether the owner agrees, by `--yes` or at the terminal.

        Raises:
            UsageError: nobody can be asked.
        """
        if self.args.yes:
            return True
        if not has_person():
            raise UsageError(
                f"this has to be agreed to ({question.splitlines()[0]}): add --yes, or run it at a terminal"
            )
        return (await ask(f"{question} [y/N] ")).lower() in ("y", "yes")

    async def keep(self, book: Notebook) -> None:
        """Keep a changed notebook."""
        if book != self.session.notebook:
            await self.session.save_notebook(book)


Act: TypeAlias = Callable[[Twin], Awaitable[None]]


Before: TypeAlias = Callable[[argparse.Namespace], None]
"""Looks at the command line before anything is asked of the card."""


def add_command(
    commands: Commands, name: str, what: str, act: Act, before: Before | None = None
) -> argparse.ArgumentParser:
    """Add a command about a running card; `before` may read what is given and keep it."""
    parser = commands.add(name, what)
    add_flags(parser, partial(on_card, act, before))
    return parser


def add_action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    what: str,
    act: Act,
    before: Before | None = None,
) -> argparse.ArgumentParser:
    """Add a command of a group; see `add_command`."""
    parser = actions.add_parser(name, help=what, description=what, allow_abbrev=False)
    add_output_flags(parser, top=False)
    add_flags(parser, partial(on_card, act, before))
    return parser


def add_flags(
    parser: argparse.ArgumentParser, twin: Callable[[argparse.Namespace, Output], None]
) -> None:
    """Add the flags that say which card is meant; `twin` is what the command does."""
    card_flags.add_store(parser)
    card_flags.add_card(parser)
    passphrases.add_flag(parser)
    parser.set_defaults(twin=twin, refuse=parser.error)


def act(args: argparse.Namespace, output: Output) -> None:
    """Do what the command line says.

    Raises:
        OffsetError: it failed; the sentence says why.
        SystemExit: with code 2, the command line was wrong after all.
    """
    try:
        args.twin(args, output)
    except UsageError as error:
        args.refuse(str(error))
    except KeyboardInterrupt:
        if not getattr(args, "watch", False):  # being stopped is how watching ends
            raise


def on_card(act: Act, before: Before | None, args: argparse.Namespace, output: Output) -> None:
    """Connect to the card the command line means, and act.

    Raises:
        OffsetError: as `act` does, or the card does not run.
    """
    if before is not None:
        before(args)
    store = card_flags.store_of(args)
    card = card_flags.card_of(args, store)
    finish_or_stop(partial(_talk, act, args, output, store, card))


async def _talk(
    act: Act, args: argparse.Namespace, output: Output, store: CardStore, card: CardInfo
) -> None:
    async def talk(client: RemoteClient) -> None:
        await act(Twin(await _session(store, card, client), args, output))

    place = card.node_address or f"{card.socket}"
    await converse(_door(store, card, args), place, talk)


def _door(store: CardStore, card: CardInfo, args: argparse.Namespace) -> Dial:
    needs_passphrase = card.is_protected and card.kind is CardKind.REMOTE
    key = Passphrases(args).ask(f"the card {card.name}") if needs_passphrase else None
    return store.dial(card.name, key)


async def _session(store: CardStore, card: CardInfo, client: RemoteClient) -> Session:
    settings, problem = store.settings(card.name)
    if client.node is None:
        raise NotPossibleError(f"the card {card.name} does not say which node it is")
    kind = doors.CardKind(card.kind.value)
    opened = doors.OpenCard(card.name, client.node, kind, client, True, settings, problem)
    return await Session.of(StoreKeeper(store), opened)
