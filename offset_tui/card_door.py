"""The app's door to cards: it runs them in a thread of their own, or attaches to where they run.

| card | where it runs |
|---|---|
| remote | elsewhere; a connection by address |
| local, run by another process | there; a connection through its socket file |
| local, stays online | in a background process started for it; the same |
| local otherwise | in this process, on the node's thread |

A card that shall outlive the terminal never runs in the terminal's process: then nothing that happens to a
terminal has to be handled in time. Source: design R47; PROTOCOL.md, "Decisions".
"""

import asyncio
import contextvars
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from offset_engine import cards
from offset_engine.cards import CardBusyError, CardSettings, CardStore, RunningCard
from offset_engine.cards.running import servers_identity
from offset_engine.client import (
    AddIndexServer,
    AddRelay,
    AppPermissions,
    Batch,
    Client,
    CommandRefusedError,
    NamedAddress,
    PublicKey,
    RelayAddress,
    RemoveIndexServer,
    RemoveRelay,
)
from offset_engine.core.crypto import public_key_of
from offset_engine.errors import OffsetError, TransportError
from offset_engine.files import Servers, to_text
from offset_engine.net.remote_client import Dial, RemoteClient, open_remote
from offset_engine.net.threaded_client import ThreadedClient
from offset_tui import background
from offset_tui.doors import CardKind, DoorEvents, OpenCard
from offset_tui.node_thread import Life, NodeThread
from offset_tui.store_door import StoreDoor, in_thread, secret

_log: Final = logging.getLogger(__name__)

CONNECT_S: Final = 20.0
"""How long the first connection to a card may take."""
_LOOK_MIN_S: Final = 0.1
_LOOK_MAX_S: Final = 2.0
"""Between two looks whether the process of a lost connection still runs."""
OWN_SERVERS: Final = "own"
"""What a card calls the servers it runs itself."""


@dataclass(slots=True)
class _Opened:
    """An open card, what it lives on, and what it takes to open it again."""

    card: OpenCard
    client: ThreadedClient
    life: Life[Any]
    passphrase: str | None = field(repr=False)
    """Secret."""


class ProcessDoor(StoreDoor):
    """See the module; used on one event loop, closed from any thread."""

    def __init__(self, store: CardStore, logs: Path, wanted: str | None = None) -> None:
        """Open nothing yet.

        Args:
            store: where the cards are.
            logs: the directory background processes log in.
            wanted: the card to open first.
        """
        super().__init__(store)
        self._logs = logs
        self._wanted = wanted
        self._nodes = NodeThread()
        self._open: dict[str, _Opened] = {}
        self._turn = anyio.Lock()
        self._tell: Callable[[Callable[[DoorEvents], None]], None] = lambda _: None

    def close_all(self) -> bool:
        """Stop what runs here, in bounded time and from any thread; False if something is stuck."""
        is_done = self._nodes.close()
        for opened in tuple(self._open.values()):
            opened.client.end()
        return is_done

    def is_here(self, name: str) -> bool:
        """See `StoreDoor.is_here`."""
        opened = self._open.get(name)
        return opened is not None and not opened.card.is_attached

    @property
    def is_over_ssh(self) -> bool:
        """See `CardDoor.is_over_ssh`."""
        return any(os.environ.get(one) for one in ("SSH_CONNECTION", "SSH_TTY"))

    @property
    def first(self) -> str | None:
        """See `CardDoor.first`: the card of the command line, else the only one there is."""
        if self._wanted is not None:
            return self._wanted
        try:
            return self.store.only().name
        except OffsetError:
            return None

    @property
    def is_one_named(self) -> bool:
        """See `CardDoor.is_one_named`: `--card` was given."""
        return self._wanted is not None

    def set_events(self, events: DoorEvents) -> None:
        """See `CardDoor.set_events`."""
        loop, context = asyncio.get_running_loop(), contextvars.copy_context()

        def tell(what: Callable[[DoorEvents], None]) -> None:
            try:
                loop.call_soon_threadsafe(what, events, context=context)
            except RuntimeError:
                _log.info("news of a card after the app has ended")

        self._tell = tell

    # --- opening and closing --------------------------------------------------------------------

    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        """See `CardDoor.open`."""
        async with self._turn:
            return await self._opened(name, passphrase)

    async def _opened(self, name: str, passphrase: str | None) -> OpenCard:
        there = self._open.get(name)
        if there is not None and not there.life.is_over:
            return there.card
        card = await in_thread(self.store.card, name)
        if not card.is_enabled and card.state is not cards.CardState.BROKEN:
            raise OffsetError("this card is disabled: space on Cards enables it")
        if card.kind is cards.CardKind.REMOTE:
            return await self._attach(card, passphrase)
        if card.state is cards.CardState.OFF:
            settings, _ = await in_thread(self.store.settings, name)
            if settings.stays_online and background.is_possible():
                await self._start_in_background(card, passphrase)
                return await self._attach(card, passphrase)
            try:
                return await self._run_here(name, passphrase)
            except CardBusyError:
                _log.info("another process has just started %s: attaching to it", name)
        if card.is_protected:
            # Whoever attaches gets everything the passphrase protects.
            await in_thread(self._check, name, secret(passphrase))
        return await self._attach(card, passphrase)

    def _check(self, name: str, key: cards.Passphrase | None) -> None:
        if key is None:
            raise cards.PassphraseNeededError("this card is protected: its passphrase is needed")
        self.store.check_passphrase(name, key)

    async def _start_in_background(self, card: cards.CardInfo, passphrase: str | None) -> None:
        if card.is_protected:
            await in_thread(self._check, card.name, secret(passphrase))
        await in_thread(background.start, self.store, card.name, self._logs, passphrase)

    async def _run_here(self, name: str, passphrase: str | None) -> OpenCard:
        opened = await in_thread(self.store.open, name, secret(passphrase))
        life = await self._nodes.open(
            f"the card {name}", partial(_running, opened), partial(self._died, name)
        )
        running = await life.value()
        if running.door_problem:
            _log.warning("%s", running.door_problem)
        return self._keep(
            OpenCard(
                name,
                running.engine.state.local_public_key,
                CardKind.LOCAL,
                ThreadedClient(self._nodes.portal, running.client),
                is_attached=False,
                settings=opened.settings,
                settings_problem=opened.settings_problem,
                servers_text="" if running.servers is None else to_text(running.servers),
            ),
            life,
            passphrase,
        )

    async def _attach(self, card: cards.CardInfo, passphrase: str | None) -> OpenCard:
        dial = await in_thread(self.store.dial, card.name, secret(passphrase))
        settings, problem = await in_thread(self.store.settings, card.name)
        told, has_ended = self._connection_changed, self._has_ended
        life = await self._nodes.open(
            f"the connection to {card.name}",
            partial(_attached, dial, partial(told, card.name), partial(has_ended, card.name)),
            partial(self._died, card.name),
        )
        remote = await life.value()
        node = remote.node
        if node is None or (card.public_key is not None and node != card.public_key):
            await life.stop()
            raise TransportError("what answers there is another card")
        is_local = card.kind is cards.CardKind.LOCAL
        client = ThreadedClient(self._nodes.portal, remote)
        return self._keep(
            OpenCard(
                card.name,
                node,
                CardKind(card.kind.value),
                client,
                is_attached=True,
                settings=settings,
                settings_problem=problem,
                servers_text=await self._servers_of(client, settings) if is_local else "",
            ),
            life,
            passphrase,
        )

    def _keep(self, card: OpenCard, life: Life[Any], passphrase: str | None) -> OpenCard:
        client: Client = card.client
        if not isinstance(client, ThreadedClient):
            raise TypeError("a card of this door has a client of this door")
        self._open[card.name] = _Opened(card, client, life, passphrase)
        return card

    async def close(self, name: str) -> None:
        """See `CardDoor.close`."""
        async with self._turn:
            await self._close(name)

    async def _close(self, name: str) -> None:
        opened = self._open.get(name)
        if opened is None:
            return
        if not await opened.life.stop():
            raise TransportError(f"the card {name} does not stop; it ends with the program")
        opened.client.end()
        del self._open[name]

    # --- what happens to open cards -------------------------------------------------------------

    def _died(self, name: str, why: Exception | None) -> None:
        """A node in this process ended by itself (node's thread)."""
        reason = "it was stopped" if why is None else str(why) or type(why).__name__
        self._tell(lambda events: events.card_died(name, reason))

    def _connection_changed(self, name: str, is_connected: bool, why: str) -> None:  # noqa: FBT001
        """A connection was lost or came back (node's thread)."""
        self._tell(lambda events: events.card_connection(name, is_connected, why))

    def _has_ended(self, name: str) -> bool:
        try:
            card = self.store.card(name)
        except OffsetError:
            return False
        return card.kind is cards.CardKind.LOCAL and card.state is not cards.CardState.RUNNING

    async def set_passphrase(self, name: str, old: str | None, new: str | None) -> None:
        """See `CardDoor.set_passphrase`: an open card is opened again with the new one from now on."""
        await super().set_passphrase(name, old, new)
        opened = self._open.get(name)
        if opened is not None:
            opened.passphrase = new

    # --- staying online, and servers ------------------------------------------------------------

    async def leave_running(self, name: str) -> OpenCard:
        """See `CardDoor.leave_running`."""
        async with self._turn:
            before = (await in_thread(self.store.settings, name))[0].stays_online
            await self._change(name, stays_online=True)
            opened = self._needed(name)
            if opened.card.is_attached:
                return self._with_settings(opened, stays_online=True)
            try:
                return await self._again(name)
            except OffsetError:
                await self._change(name, stays_online=before)
                await self._opened(name, opened.passphrase)
                raise

    async def go_offline(self, name: str) -> None:
        """See `CardDoor.go_offline`."""
        async with self._turn:
            await self._change(name, stays_online=False)
            await self._stop(name)

    async def run_servers(self, name: str, address: str) -> OpenCard:
        """See `CardDoor.run_servers`."""
        async with self._turn:
            opened = self._needed(name)
            before, passphrase = opened.card.settings.serve_address, opened.passphrase
            await self._change(name, serve_address=address)
            try:
                await self._stop(name)
                key = await in_thread(self._servers_key, name, secret(passphrase))
                card = await self._opened(name, passphrase)
            except OffsetError:
                await self._change(name, serve_address=before)
                await self._opened(name, passphrase)
                raise
            place = NamedAddress(key, address, OWN_SERVERS)
            await card.client.command(Batch((AddRelay(place), AddIndexServer(place))))
            opened = self._needed(name)
            opened.card = replace(card, servers_text=servers_text(place))
            return opened.card

    def _servers_key(self, name: str, key: cards.Passphrase | None) -> PublicKey:
        with self.store.open(name, key) as card:
            return public_key_of(servers_identity(card.identity))

    async def _servers_of(self, client: Client, settings: CardSettings) -> str:
        """The text of the servers an attached card runs: it uses them itself, so they are in its report."""
        if not settings.serve_address:
            return ""
        report = await client.report()
        places = (place for place in report.relays if place.address == settings.serve_address)
        return next((servers_text(place) for place in places), "")

    async def stop_servers(self, name: str) -> OpenCard:
        """See `CardDoor.stop_servers`."""
        async with self._turn:
            address = self._needed(name).card.settings.serve_address
            await self._change(name, serve_address="")
            card = await self._again(name)
            gone = [one for one in (await card.client.report()).relays if one.address == address]
            for one in gone:
                without = Batch((RemoveRelay(one.public_key), RemoveIndexServer(one.public_key)))
                await card.client.command(without)
            return card

    async def _again(self, name: str) -> OpenCard:
        """Stop a local card wherever it runs, and start it as its settings say now."""
        passphrase = self._needed(name).passphrase
        await self._stop(name)
        return await self._opened(name, passphrase)

    async def _stop(self, name: str) -> None:
        """Stop a local card wherever it runs."""
        await self._close(name)
        await in_thread(background.stop, self.store, name)

    async def _change(self, name: str, **changes: Any) -> None:  # noqa: ANN401 - fields of CardSettings
        settings, _ = await in_thread(self.store.settings, name)
        await in_thread(self.store.save_settings, name, replace(settings, **changes))

    def _with_settings(self, opened: _Opened, **changes: Any) -> OpenCard:  # noqa: ANN401
        opened.card = replace(opened.card, settings=replace(opened.card.settings, **changes))
        return opened.card

    def _needed(self, name: str) -> _Opened:
        opened = self._open.get(name)
        if opened is None or opened.card.kind is not CardKind.LOCAL:
            raise OffsetError(f"{name} is no open local card")
        return opened

    async def test(self, name: str, passphrase: str | None = None) -> AppPermissions:
        """See `CardDoor.test`."""
        dial = await in_thread(self.store.dial, name, secret(passphrase))
        life = await self._nodes.open(f"the test of {name}", partial(open_remote, dial))
        try:
            return (await life.value()).permissions
        finally:
            await life.stop()


def servers_text(own: NamedAddress) -> str:
    """What to hand out for the servers a card runs at this place."""
    place = RelayAddress(own.public_key, own.address)
    return to_text(Servers(place, place))


@asynccontextmanager
async def _running(card: cards.OpenCard) -> AsyncIterator[RunningCard]:
    """Run a card, and give it back whatever happens."""
    try:
        async with cards.running(card) as running:
            yield running
    finally:
        card.close()


@asynccontextmanager
async def _attached(
    dial: Dial, told: Callable[[bool, str], None], has_ended: Callable[[], bool]
) -> AsyncIterator[RemoteClient]:
    """Keep a connection, and tell when it is lost and when it is back.

    Args:
        dial: makes the connection.
        told: of each change: whether there is one, and why not.
        has_ended: whether there is nothing left to connect to; called in a worker thread.

    Raises:
        TransportError: there is none to begin with, or the other process has ended.
    """
    try:
        with anyio.fail_after(CONNECT_S):
            async with open_remote(dial):
                pass  # it answers: from now on a lost connection is made again
    except TimeoutError:
        raise TransportError("the card does not answer") from None
    client = RemoteClient(dial)
    async with anyio.create_task_group() as tasks:
        await tasks.start(client.run)
        tasks.start_soon(_look_after, client, told, has_ended)
        yield client
        tasks.cancel_scope.cancel()


async def _look_after(
    client: RemoteClient, told: Callable[[bool, str], None], has_ended: Callable[[], bool]
) -> None:
    while True:
        try:
            async with client.watch() as watcher:
                while True:
                    await watcher.next()
        except CommandRefusedError:
            return  # an app that may see nothing is told nothing either
        except TransportError as error:
            told(False, str(error))
        pause_s = _LOOK_MIN_S
        while not client.is_connected:
            if await anyio.to_thread.run_sync(has_ended):
                raise TransportError("the process that ran it has ended")
            with anyio.move_on_after(pause_s):
                await client.wait_connected()
            pause_s = min(2 * pause_s, _LOOK_MAX_S)
        told(True, "")
