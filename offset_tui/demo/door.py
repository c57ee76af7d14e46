"""The door to the practice village: one card, Eve's, whose node and whole network live in this process.

Nothing of it leaves the computer, and nothing is kept unless a directory is given.
Source: design R47, R52, §3 (`offset demo`).
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio

from offset_engine.cards import CardSettings, CardStore
from offset_engine.client import AppPermissions, Currency, PublicKey
from offset_engine.errors import OffsetError
from offset_engine.files import Servers, Terms, Ticket
from offset_engine.neighbours import ChatLine as VillageLine
from offset_engine.neighbours import Neighbours
from offset_engine.net.threaded_client import ThreadedClient
from offset_engine.notebook import Notebook, merged
from offset_engine.village import DECIMALS, TOUR_CAST, open_village
from offset_tui.doors import (
    CardInfo,
    CardKind,
    CardPlace,
    ChatLine,
    DoorEvents,
    OpenCard,
    VillageChat,
)
from offset_tui.node_thread import NodeThread
from offset_tui.store_door import StoreDoor

YOU: Final = "Eve"
GREETER: Final = "Bob"
"""Who speaks first."""
_ONE_CARD: Final = "the practice village has one card: leave it and start `offset` to make your own"


class ThreadedChat(VillageChat):
    """The village chat, used on the app's loop while the village lives on another."""

    def __init__(self, portal_loop: asyncio.AbstractEventLoop, neighbours: Neighbours) -> None:
        """Begin to listen; `on_change` is called on the app's loop after every line."""
        self.you = neighbours.you
        self._names = neighbours.names
        self._keys = {person.key: name for name, person in neighbours.village.people.items()}
        self._lines: list[ChatLine] = []
        self._village_loop = portal_loop
        self._neighbours = neighbours
        self._app_loop = asyncio.get_running_loop()
        self.on_change: Callable[[], None] = lambda: None
        neighbours.on_line = self._heard

    def _heard(self, line: VillageLine) -> None:
        """A new line (village's loop)."""
        shown = ChatLine(line.number, line.sender, line.recipient, line.text, line.artifact)
        try:
            self._app_loop.call_soon_threadsafe(self._add, shown)
        except RuntimeError:
            return  # the app has ended

    def _add(self, line: ChatLine) -> None:
        self._lines.append(line)
        del self._lines[:-500]
        self.on_change()

    @property
    def names(self) -> tuple[str, ...]:
        """See `VillageChat.names`."""
        return self._names

    @property
    def lines(self) -> tuple[ChatLine, ...]:
        """See `VillageChat.lines`."""
        return tuple(self._lines)

    def name_of(self, key: PublicKey) -> str | None:
        """See `VillageChat.name_of`."""
        return self._keys.get(key)

    def send(self, name: str, text: str) -> None:
        """See `VillageChat.send`."""
        self._in_village(lambda: self._neighbours.tell(name, text))

    def offer(self, name: str) -> None:
        """See `VillageChat.offer`."""
        asyncio.run_coroutine_threadsafe(self._neighbours.offer(name), self._village_loop)

    def stop_relay(self) -> None:
        """See `VillageChat.stop_relay`."""
        self._in_village(self._neighbours.stop_relay)

    def _in_village(self, doing: Callable[[], object]) -> None:
        """Do something on the village's loop, in a task of its own: anyio starts no task from a bare callback."""

        async def do() -> None:
            doing()

        asyncio.run_coroutine_threadsafe(do(), self._village_loop)


@asynccontextmanager
async def living(seed: int, directory: Path | None) -> AsyncIterator[Neighbours]:
    """The village with its neighbours, until the block ends."""
    async with (
        open_village(seed, friendships=TOUR_CAST, relays_each=2, directory=directory) as village,
        anyio.create_task_group() as tasks,
    ):
        yield Neighbours(village, YOU, tasks)
        tasks.cancel_scope.cancel()


class VillageDoor(StoreDoor):
    """See the module."""

    def __init__(self, seed: int = 0, directory: Path | None = None) -> None:
        """Nothing lives yet; `open` brings the village to life."""
        super().__init__(CardStore(Path(tempfile.gettempdir()) / "offset-village-without-cards"))
        self._seed, self._directory = seed, directory
        self._nodes = NodeThread()
        self._client: ThreadedClient | None = None
        self._chat: ThreadedChat | None = None
        self._card: OpenCard | None = None
        self._events: DoorEvents | None = None
        self._settings = CardSettings(stays_online=False)
        self._notebook = Notebook()

    def close_all(self) -> bool:
        """Stop the village, in bounded time and from any thread; False if something is stuck."""
        is_done = self._nodes.close()
        if self._client is not None:
            self._client.end()
        return is_done

    def is_here(self, name: str) -> bool:
        """See `StoreDoor.is_here`."""
        return True

    @property
    def is_over_ssh(self) -> bool:
        """Never: nothing here is worth staying online for."""
        return False

    @property
    def first(self) -> str | None:
        """The one card."""
        return YOU

    @property
    def chat(self) -> ThreadedChat | None:
        """See `CardDoor.chat`."""
        return self._chat

    def set_events(self, events: DoorEvents) -> None:
        """See `CardDoor.set_events`."""
        self._events = events

    async def cards(self) -> tuple[CardInfo, ...]:
        """The one card."""
        key = None if self._card is None else self._card.public_key
        return (CardInfo(YOU, key, CardKind.LOCAL, CardPlace.HERE),)

    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        """Bring the village to life; a second time it is there already."""
        if self._card is not None:
            return self._card
        loop = asyncio.get_running_loop()

        def ended(why: Exception | None) -> None:
            reason = "the practice village has stopped" if why is None else str(why)
            if self._events is not None:
                loop.call_soon_threadsafe(self._events.card_died, YOU, reason)

        life = await self._nodes.open(
            "the practice village", lambda: living(self._seed, self._directory), ended
        )
        neighbours = await life.value()
        eve = neighbours.village.people[YOU]
        portal = self._nodes.portal
        self._client = ThreadedClient(portal, eve.client)
        self._chat = ThreadedChat(portal.call(asyncio.get_running_loop), neighbours)
        self._learn(neighbours)
        self._card = OpenCard(
            YOU, eve.key, CardKind.LOCAL, self._client, is_attached=False, settings=self._settings
        )
        return self._card

    def _learn(self, neighbours: Neighbours) -> None:
        """What Eve's friends told her they grant, as an invite would have."""
        for one in TOUR_CAST:
            for friend, grants, here in (
                (one.other, one.other_grants, one.one),
                (one.one, one.one_grants, one.other),
            ):
                if here == YOU:
                    terms = (Terms(one.currency, DECIMALS, grants),)
                    key = neighbours.village.people[friend].key
                    self._notebook = self._notebook.with_told(key, terms)
        # In the order of the cast: what is traded first is what forms suggest first.
        for currency in dict.fromkeys(one.currency for one in TOUR_CAST):
            self._settings = self._settings.with_currency(Currency(currency), DECIMALS)

    async def close(self, name: str) -> None:
        """The village goes on until the app ends."""

    async def leave_running(self, name: str) -> OpenCard:
        """Not possible here.

        Raises:
            OffsetError: always.
        """
        raise OffsetError("the practice village ends with the app")

    async def go_offline(self, name: str) -> None:
        """The village ends with the app."""

    async def test(self, name: str, passphrase: str | None = None) -> AppPermissions:
        """Everything is allowed."""
        return AppPermissions(True, True, True, True, True, True)

    async def check_passphrase(self, name: str, passphrase: str) -> None:
        """Any passphrase unlocks the village."""

    async def settings(self, name: str) -> CardSettings:
        """Kept in memory only."""
        return self._settings

    async def save_settings(self, name: str, settings: CardSettings) -> None:
        """Kept in memory only."""
        self._settings = settings

    async def notebook(self, name: str) -> Notebook:
        """Kept in memory only."""
        return self._notebook

    async def save_notebook(self, name: str, before: Notebook, after: Notebook) -> Notebook:
        """Kept in memory only."""
        self._notebook = merged(before, after, self._notebook)
        return self._notebook

    async def known_servers(self) -> tuple[Servers | Ticket, ...]:
        """None: those of this computer are no part of the village, and nothing leaves it."""
        return ()

    async def create(self, name: str, passphrase: str | None = None) -> CardInfo:
        """Not possible here.

        Raises:
            OffsetError: always.
        """
        raise OffsetError(_ONE_CARD)

    async def add_remote(self, name: str, text: str) -> CardInfo:
        """Not possible here.

        Raises:
            OffsetError: always.
        """
        raise OffsetError(_ONE_CARD)

    async def restore(self, source: Path, passphrase: str, name: str | None = None) -> CardInfo:
        """Not possible here.

        Raises:
            OffsetError: always.
        """
        raise OffsetError(_ONE_CARD)

    async def run_servers(self, name: str, address: str) -> OpenCard:
        """Not possible here.

        Raises:
            OffsetError: always.
        """
        raise OffsetError("the practice village has its servers already")

    async def stop_servers(self, name: str) -> OpenCard:
        """Not possible here.

        Raises:
            OffsetError: always.
        """
        raise OffsetError("the practice village needs its servers")
