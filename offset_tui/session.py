"""One open card as the screens use it: its client, its settings, and a picture of its node kept up to date.

The picture (`Snapshot`) is pulled, never patched: on any news the node's report is read again, at most a few
times a second, and handed to the app. Screens draw what they are given and ask the client to change things;
nothing here decides anything about money.

Source: tui.md §2.2; design R30, R47.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import anyio

from offset_engine.cards.settings import CardSettings
from offset_engine.client import (
    Client,
    Currency,
    FriendReport,
    InvoiceReport,
    NodeReport,
    PayReport,
    PendingReport,
    PublicKey,
)
from offset_engine.errors import OffsetError
from offset_engine.files import Artifact
from offset_engine.notebook import Notebook
from offset_tui.doors import Keeper, OpenCard
from offset_tui.roster import Roster

LOOK_PAUSE_S: Final = 0.1
"""Shortest time between two looks at the node."""
SLOW_LOOK_PAUSE_S: Final = 0.5
"""The same over a slow line."""
PENDING_SHOWN_MAX: Final = 200
READ_ONLY: Final = "nothing can be changed: the app was started with --read-only"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A card's node at one moment."""

    report: NodeReport
    pays: tuple[PayReport, ...] = ()
    """Wishes to pay the node still holds, newest first."""
    invoices: tuple[InvoiceReport, ...] = ()
    """Open invoices, newest first."""
    pending: tuple[PendingReport, ...] = ()
    now_ms: int = 0
    """UTC ms when the picture was taken."""
    _friends: dict[PublicKey, FriendReport] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Screens ask for a friend once per row."""
        found = {one.public_key: one for one in self.report.friends}
        object.__setattr__(self, "_friends", found)

    def friend(self, key: PublicKey) -> FriendReport | None:
        """The friend with this key."""
        return self._friends.get(key)


def wall_ms() -> int:
    """UTC ms; the app's only clock, so that tests can hold it."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Session:
    """See the module."""

    card: OpenCard
    door: Keeper
    settings: CardSettings
    notebook: Notebook
    snapshot: Snapshot
    clock: Callable[[], int] = wall_ms
    trouble: str = ""
    """Why the picture is old; "" if it is not."""
    seen: dict[PublicKey, int] = field(default_factory=dict)
    """When each friend was last seen online since the card was opened here, UTC ms."""
    arrived: dict[str, Artifact] = field(default_factory=dict)
    """What came into the watched folder and was not looked at yet, by file name."""
    is_read_only: bool = False
    """Whether settings and notebook must stay as they are."""
    _roster: Roster | None = field(default=None, init=False, repr=False, compare=False)

    @classmethod
    async def of(
        cls, door: Keeper, card: OpenCard, clock: Callable[[], int] = wall_ms
    ) -> "Session":
        """Take the first picture of an open card.

        Raises:
            OffsetError: its node does not answer.
        """
        notebook = await door.notebook(card.name)
        first = Snapshot(await card.client.report())
        session = cls(card, door, card.settings, notebook, first, clock)
        await session.look()
        return session

    @property
    def client(self) -> Client:
        """What carries out commands."""
        return self.card.client

    @property
    def name(self) -> str:
        """The card's name on this computer."""
        return self.card.name

    @property
    def public_key(self) -> PublicKey:
        """The card's public key."""
        return self.card.public_key

    def decimals(self, currency: Currency) -> int:
        """Digits after the point this card shows for a currency."""
        return self.settings.decimals_of(currency)

    @property
    def roster(self) -> Roster:
        """Everybody in the picture, with what friends said they grant."""
        now, book = self._roster, self.notebook
        if now is None or now.report is not self.snapshot.report or now.notebook is not book:
            self._roster = Roster(self.snapshot.report, book, now)
            return self._roster
        return now

    async def look(self) -> Snapshot:
        """Take a new picture.

        Raises:
            OffsetError: the node does not answer; the old picture stays.
        """
        client = self.card.client
        report = await client.report()
        pays, invoices = await client.pays(), await client.invoices()
        pending = await client.pending(PENDING_SHOWN_MAX) if _has_pending(report) else ()
        self.snapshot = Snapshot(report, pays, invoices, pending, self.clock())
        for friend in report.friends:
            if friend.is_online:
                self.seen[friend.public_key] = self.snapshot.now_ms
        self.trouble = ""
        return self.snapshot

    async def follow(self, show: Callable[[Snapshot], None], *, is_slow: bool = False) -> None:
        """Show a new picture after every change of the node or of one of its payments, for ever.

        Raises:
            OffsetError: the node stopped or cannot be reached any more.
        """
        news = _News()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_tell, self._follow_reports, news)
            tasks.start_soon(_tell, self._follow_payments, news)
            while news.problem is None:
                news.changed = anyio.Event()
                try:
                    show(await self.look())
                except OffsetError as problem:
                    news.problem = problem
                    break
                await anyio.sleep(SLOW_LOOK_PAUSE_S if is_slow else LOOK_PAUSE_S)
                await news.changed.wait()
            tasks.cancel_scope.cancel()
        ended = news.problem or OffsetError("the card does not answer")
        self.trouble = str(ended)
        raise ended

    async def _follow_reports(self, tell: Callable[[], None]) -> None:
        async with aclosing(self.client.reports()) as reports:
            async for _ in reports:
                tell()

    async def _follow_payments(self, tell: Callable[[], None]) -> None:
        async with self.client.watch() as watcher:
            while True:
                await watcher.next()
                tell()

    async def save_settings(self, settings: CardSettings) -> None:
        """Keep changed settings.

        Raises:
            OffsetError: they cannot be written, or must not; the old ones stay.
        """
        self._need_change()
        await self.door.save_settings(self.name, settings)
        self.settings = settings

    async def read_settings(self) -> None:
        """Read again what something else than this session has changed: a backup, servers.

        Raises:
            OffsetError: they cannot be read.
        """
        self.settings = await self.door.settings(self.name)

    async def use_currency(self, currency: Currency, decimals: int) -> None:
        """Fix the decimals of a currency this card has not used before (design R8)."""
        changed = self.settings.with_currency(currency, decimals)
        if changed != self.settings:
            await self.save_settings(changed)

    async def save_notebook(self, notebook: Notebook) -> None:
        """Keep a notebook changed from the one there is now; what other programs wrote meanwhile stays.

        Raises:
            OffsetError: it cannot be written, or must not; the old one stays.
        """
        self._need_change()
        self.notebook = await self.door.save_notebook(self.name, self.notebook, notebook)

    async def read_notebook(self) -> bool:
        """Read again what another program may have written: an invite, an answer, a note.

        Returns:
            Whether it is another one now.

        Raises:
            OffsetError: it cannot be read; the old one stays.
        """
        found = await self.door.notebook(self.name)
        is_changed = found != self.notebook
        self.notebook = found
        return is_changed

    def _need_change(self) -> None:
        if self.is_read_only:
            raise OffsetError(READ_ONLY)


def _has_pending(report: NodeReport) -> bool:
    return any(friend.pending for friend in report.friends)


class _News:
    """Whether something changed since the last look, or nothing ever will again."""

    def __init__(self) -> None:
        self.changed = anyio.Event()
        self.problem: OffsetError | None = None

    def tell(self) -> None:
        self.changed.set()


async def _tell(follow: Callable[[Callable[[], None]], Awaitable[None]], news: _News) -> None:
    try:
        await follow(news.tell)
    except OffsetError as problem:
        news.problem = problem
    news.tell()
