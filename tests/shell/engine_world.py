"""What the engine's tests share: an engine whose network is a toy, and friends that are real cores.

A link hands every message over at once. What a friend has to say waits while the engine has paused it.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.abc import TaskStatus

from offset_engine.client import CommandRefusedError
from offset_engine.core.api import (
    AddFriend,
    Command,
    EnableFriend,
    OpenFriendCurrency,
    SetFriendCurrencyMaxDebt,
)
from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.crypto import public_key_of
from offset_engine.core.events import FriendOffline, LinkAdopted, MessageArrived
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import Edge, FriendMessage, RoutesRequest, RoutesResponse
from offset_engine.core.mutual_credit import Ledger
from offset_engine.core.node import SentOnLink, outgoing
from offset_engine.core.values import (
    NamedAddress,
    PrivateKey,
    PublicKey,
    RelayAddress,
    Timers,
)
from offset_engine.net import engine as engine_module
from offset_engine.net.engine import Engine
from offset_engine.net.index_client import IndexState, IndexStatus
from offset_engine.net.local_client import LocalClient
from offset_engine.net.peers import PeersStatus
from offset_engine.net.relay_listeners import RelayStatus
from offset_engine.store import MemoryStore
from tests.fakes import FST, Card
from tests.net.loopback import until

IDENTITY = PrivateKey(bytes([99]) * 32)
KEY = public_key_of(IDENTITY)


@dataclass(eq=False)
class FakeLink:
    """One connection between the engine and a card."""

    link_id: int
    card: Card
    peers: "FakePeers"
    is_writable: bool = True
    is_deaf: bool = False
    """The card gets nothing any more."""
    closed: CloseCode | None = None
    sent: list[FriendMessage] = field(default_factory=list)
    waiting: deque[bytes] = field(default_factory=deque)

    def send_nowait(self, payload: bytes) -> None:
        message = decode_friend_message(payload)
        assert message is not None
        assert self.closed is None
        self.sent.append(message)
        self.peers.on_send(self, message)
        if not self.is_deaf:
            self.card.feed(MessageArrived(KEY, self.link_id, message))
            self.let_card_speak()

    def close(self, code: CloseCode = CloseCode.NORMAL, reason: str = "") -> None:
        del reason
        self.closed = code
        self.peers.links.pop(self.card.key, None)

    def let_card_speak(self) -> None:
        """Bring what the card has to say on its way to the engine."""
        sent = self.card.sent.get(KEY, SentOnLink())
        messages, self.card.sent[KEY] = outgoing(self.card.state, KEY, sent)
        self.waiting.extend(encode_friend_message(message) for message in messages)
        self.deliver()

    def flood(self, payload: bytes, times: int) -> None:
        self.waiting.extend([payload] * times)
        self.deliver()

    def deliver(self) -> None:
        while self.waiting and self.card.key not in self.peers.paused and self.closed is None:
            self.peers.callbacks.message(self.card.key, self.link_id, self.waiting.popleft())


class FakePeers:
    """Stands in for `Peers`: links are made by the test."""

    def __init__(self, _identity: PrivateKey, _timers: Timers, callbacks: Engine, **_: object):
        self.callbacks = callbacks
        self.links: dict[PublicKey, FakeLink] = {}
        self.paused: dict[PublicKey, None] = {}
        self.pauses = 0
        self.friends: dict[PublicKey, tuple[RelayAddress, ...]] = {}
        self.quiet: dict[PublicKey, int] = {}
        self.retries = 0
        self.may_dial: Callable[[str], bool] = lambda _: True
        self.on_send: Callable[[FakeLink, FriendMessage], None] = lambda _link, _message: None
        self.made = 0
        self.relays: list[RelayStatus] = []

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        task_status.started()
        await anyio.sleep_forever()

    def set_own_relays(self, relays: tuple[NamedAddress, ...]) -> None:
        pass

    def set_may_dial(self, may_dial: Callable[[str], bool]) -> None:
        self.may_dial = may_dial

    def set_friend(
        self, friend: PublicKey, remote_relays: tuple[RelayAddress, ...], _listen: object
    ) -> None:
        self.friends[friend] = remote_relays

    def remove_friend(self, friend: PublicKey) -> None:
        self.friends.pop(friend, None)
        link = self.links.get(friend)
        if link is not None:
            link.close()

    def retry(self) -> None:
        self.retries += 1

    def back_off(self, friend: PublicKey, pause_ms: int) -> None:
        self.quiet[friend] = pause_ms

    def status(self) -> PeersStatus:
        return PeersStatus(tuple(self.relays), ())

    def link_of(self, friend: PublicKey) -> FakeLink | None:
        return self.links.get(friend)

    def pause(self, friend: PublicKey) -> None:
        self.paused[friend] = None
        self.pauses += 1

    def resume(self, friend: PublicKey) -> None:
        del self.paused[friend]
        if friend in self.links:
            self.links[friend].deliver()

    def connect(self, card: Card) -> FakeLink:
        """A link between the engine and a card, replacing the one before."""
        self.made += 1
        link = self.links[card.key] = FakeLink(self.made, card, self)
        card.sent[KEY] = SentOnLink()
        card.feed(LinkAdopted(KEY, link.link_id))
        self.callbacks.link_adopted(card.key, link.link_id)
        link.let_card_speak()
        return link

    def disconnect(self, card: Card) -> None:
        """Both sides notice that the other is gone."""
        self.links.pop(card.key, None)
        card.feed(FriendOffline(KEY))
        self.callbacks.friend_offline(card.key)


class FakeIndex:
    """Stands in for `IndexClient`: remembers questions."""

    def __init__(
        self,
        _endpoint: object,
        _timers: Timers,
        edges: Callable[[], tuple[Edge, ...]],
        on_routes: Callable[[RoutesResponse], None],
    ):
        self.edges = edges
        self.on_routes = on_routes
        self.questions: list[RoutesRequest] = []
        self.servers: tuple[NamedAddress, ...] = ()
        self.changes = 0
        self.retries = 0
        self.on_change: Callable[[], None] = lambda: None
        self.status = IndexStatus(IndexState.NO_SERVER, None, 0, "")

    async def run(self) -> None:
        await anyio.sleep_forever()

    def set_servers(self, servers: tuple[NamedAddress, ...]) -> None:
        self.servers = servers

    def retry(self) -> None:
        self.retries += 1

    def edges_changed(self) -> None:
        self.changes += 1

    def ask(self, request: RoutesRequest, *, is_elsewhere: bool = False) -> None:
        del is_elsewhere
        self.questions.append(request)


@dataclass
class Scene:
    """A running engine."""

    engine: Engine
    store: MemoryStore
    scope: anyio.CancelScope
    ended: list[BaseException | None] = field(default_factory=list)

    @property
    def peers(self) -> FakePeers:
        assert isinstance(self.engine.peers, FakePeers)
        return self.engine.peers

    @property
    def index(self) -> FakeIndex:
        assert isinstance(self.engine.index, FakeIndex)
        return self.engine.index

    @property
    def client(self) -> LocalClient:
        return LocalClient(self.engine)

    def ledger(self, card: Card) -> Ledger | None:
        channel = self.engine.state.friends[card.key].consistent
        return None if channel is None else channel.ledgers.get(FST)

    def is_ready(self, card: Card) -> bool:
        return self.engine.state.friends[card.key].is_ready(FST)

    async def befriend(self, card: Card, limits: tuple[int, int] = (100, 100)) -> FakeLink:
        """Become friends in FST and be connected; `limits` = (we grant the card, it grants us)."""
        await self.command(
            AddFriend(card.key, (), card.name),
            EnableFriend(card.key),
            SetFriendCurrencyMaxDebt(card.key, FST, limits[0]),
            OpenFriendCurrency(card.key, FST),
        )
        fault = card.do(
            AddFriend(KEY, (), "engine"),
            EnableFriend(KEY),
            SetFriendCurrencyMaxDebt(KEY, FST, limits[1]),
            OpenFriendCurrency(KEY, FST),
        )
        assert fault is None
        link = self.peers.connect(card)
        await until(lambda: self.is_ready(card))
        return link

    async def command(self, *commands: Command) -> None:
        for one in commands:
            await self.client.command(one)

    async def fault_of(self, command: Command) -> object:
        with pytest.raises(CommandRefusedError) as caught:
            await self.client.command(command)
        return caught.value.fault


@asynccontextmanager
async def running(
    monkeypatch: pytest.MonkeyPatch,
    store: MemoryStore | None = None,
    timers: Timers | None = None,
    **settings: object,
) -> AsyncIterator[Scene]:
    """Run an engine on a toy network; how it ended is in `ended`."""
    monkeypatch.setattr(engine_module, "Peers", FakePeers)
    monkeypatch.setattr(engine_module, "IndexClient", FakeIndex)
    monkeypatch.setattr(engine_module, "STORE_RETRY_MS", 5)
    store = MemoryStore(KEY) if store is None else store
    async with anyio.create_task_group() as tasks:
        engine = Engine(IDENTITY, store, timers, **settings)
        scene = Scene(engine, store, tasks.cancel_scope)
        tasks.start_soon(_drive, scene)
        yield scene
        tasks.cancel_scope.cancel()


async def _drive(scene: Scene) -> None:
    try:
        await scene.engine.run()
    except ExceptionGroup as group:
        scene.ended.append(group.exceptions[0])
