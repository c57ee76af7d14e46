"""What the tests of peers share: nodes that write down what they are told, relays, and bad networks.

`Wire` is a TCP forwarder in front of a relay that can break connections the ways a network does.
"""

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

from offset_engine.core.crypto import public_key_of, speaks_first
from offset_engine.core.friend_links import LinkRules
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.values import NamedAddress, PrivateKey, PublicKey, RelayAddress, Timers
from offset_engine.net.peers import FriendLink, FriendStatus, Peers, RelayStatus
from offset_engine.net.servers import run_relay
from offset_engine.net.transport import Endpoint

PATIENCE_S = 15
QUICK = Timers(
    offline_grace_ms=3_000,
    dial_backoff_min_ms=40,
    dial_backoff_max_ms=200,
    dial_start_max_ms=60,
    link_lived_ms=200,
    handshake_ms=2_000,
    ping_idle_ms=15_000,
)
RELAY_LIMITS = RelayLimits(hold_ms=60, probe_ms=150, connects_per_minute_key=0)


def key(number: int) -> PrivateKey:
    return PrivateKey(bytes([number % 256, number >> 8]) * 16)


def pair(first: int) -> tuple[PrivateKey, PrivateKey]:
    """Two identities, the preferred one first."""
    one, two = key(first), key(first + 1)
    is_ordered = speaks_first(public_key_of(one), public_key_of(two))
    return (one, two) if is_ordered else (two, one)


async def until(what: Callable[[], object], state: Callable[[], object] = lambda: "") -> None:
    """Wait until `what()` is true; failing that, show `state()`."""
    try:
        with anyio.fail_after(PATIENCE_S):
            while not what():  # noqa: ASYNC110 - many facts, one way to wait for them
                await anyio.sleep(0.003)
    except TimeoutError:
        raise AssertionError(f"still not so after {PATIENCE_S} s: {state()}") from None


@dataclass
class Told:
    """A node above the peers that only remembers."""

    peers: Peers | None = None
    log: list[tuple[str, PublicKey, int]] = field(default_factory=list)
    messages: list[tuple[PublicKey, int, bytes]] = field(default_factory=list)
    changes: int = 0
    newest: dict[PublicKey, bytes] = field(default_factory=dict)
    """What is sent on every adoption, as the engine does."""

    def link_adopted(self, friend: PublicKey, link_id: int) -> None:
        self.log.append(("adopted", friend, link_id))
        link = self.peers.link_of(friend) if self.peers is not None else None
        assert link is not None
        assert link.link_id == link_id
        if friend in self.newest:
            link.send_nowait(self.newest[friend])

    def friend_offline(self, friend: PublicKey) -> None:
        self.log.append(("offline", friend, 0))

    def message(self, friend: PublicKey, link_id: int, payload: bytes) -> None:
        self.messages.append((friend, link_id, payload))

    def link_writable(self, friend: PublicKey, link_id: int) -> None:
        self.log.append(("writable", friend, link_id))

    def peers_changed(self) -> None:
        self.changes += 1


class Node:
    """One node: its peers and what they told."""

    def __init__(
        self,
        identity: PrivateKey,
        timers: Timers = QUICK,
        rules: LinkRules | None = None,
        endpoint: Endpoint | None = None,
        wall_ms: Callable[[], int] | None = None,
    ) -> None:
        self.key = public_key_of(identity)
        self.told = Told()
        more = {} if wall_ms is None else {"wall_ms": wall_ms}
        self.peers = Peers(identity, timers, self.told, rules=rules, endpoint=endpoint, **more)
        self.told.peers = self.peers
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.peers.run()

    def listen(self, *relays: RelayAddress) -> None:
        self.peers.set_own_relays(
            tuple(NamedAddress(one.public_key, one.address) for one in relays)
        )

    def befriend(self, friend: PublicKey, *relays: RelayAddress) -> None:
        self.peers.set_friend(friend, relays, ())

    def link(self, friend: "Node") -> FriendLink | None:
        return self.peers.link_of(friend.key)

    def count(self, kind: str, friend: "Node") -> int:
        return sum(1 for what, whom, _ in self.told.log if (what, whom) == (kind, friend.key))

    def adoptions(self) -> list[int]:
        return [link_id for what, _, link_id in self.told.log if what == "adopted"]

    def relay(self, relay: RelayAddress) -> RelayStatus:
        (one,) = [s for s in self.peers.status().relays if s.relay.public_key == relay.public_key]
        return one

    def friend(self, friend: "Node") -> FriendStatus:
        (one,) = [s for s in self.peers.status().friends if s.friend == friend.key]
        return one

    def listens(self, relay: RelayAddress) -> bool:
        return any(s.relay == relay and s.state == "listening" for s in self.peers.status().relays)


def share_a_link(one: Node, two: Node) -> bool:
    """Both hold the two ends of the same link."""
    first, second = one.link(two), two.link(one)
    return (
        first is not None
        and second is not None
        and first.connection.binding == second.connection.binding
    )


class Wire:
    """Forwards TCP to a relay."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = 0
        self.accepted = 0
        self.is_frozen = False
        """Keep everything open and pass nothing on."""
        self.is_cut = False
        """Reset whoever connects."""
        self._moved = anyio.Event()
        self._pairs: list[tuple[SocketStream, SocketStream]] = []
        self._lost: list[SocketStream] = []

    async def run(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(SocketAttribute.local_port)
        task_status.started()
        async with listener, anyio.create_task_group() as tasks:
            await listener.serve(lambda near: self._carry(near, tasks))

    async def _carry(self, near: SocketStream, tasks: TaskGroup) -> None:
        self.accepted += 1
        if self.is_cut:
            await self._reset(near)
            return
        async with near:
            while self.is_frozen:
                await self._moved.wait()
            try:
                far = await anyio.connect_tcp("127.0.0.1", self.target_port)
            except OSError:
                return
            async with far:
                self._pairs.append((near, far))
                tasks.start_soon(self._pump, near, far)
                await self._pump(far, near)

    async def _pump(self, source: SocketStream, sink: SocketStream) -> None:
        try:
            async for chunk in source:
                while self.is_frozen:
                    await self._moved.wait()
                if source not in self._lost:
                    await sink.send(chunk)
            if source not in self._lost:
                await sink.aclose()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            await anyio.aclose_forcefully(sink)

    def thaw(self) -> None:
        self.is_frozen = False
        self._moved.set()
        self._moved = anyio.Event()

    async def reset(self) -> None:
        """Break every connection with RST, towards both ends."""
        pairs, self._pairs = self._pairs, []
        for near, far in pairs:
            await self._reset(near)
            await self._reset(far)

    def lose_everything(self) -> None:
        """Pass nothing more on over the connections of today; those of tomorrow work."""
        self._lost.extend(near for near, _ in self._pairs)
        self._lost.extend(far for _, far in self._pairs)

    async def forget_clients(self) -> None:
        """Break the clients' ends; the relay hears nothing of it."""
        self.lose_everything()
        pairs, self._pairs = self._pairs, []
        for near, _far in pairs:
            await self._reset(near)

    async def _reset(self, stream: SocketStream) -> None:
        raw = stream.extra(SocketAttribute.raw_socket)
        if raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(stream)


class RelayHost:
    """A relay that can be stopped and started again at the same port, perhaps with another key."""

    def __init__(self, number: int, tasks: TaskGroup) -> None:
        self.identity = key(number)
        self.tasks = tasks
        self.port = 0
        self.scope = anyio.CancelScope()

    @property
    def address(self) -> RelayAddress:
        return RelayAddress(public_key_of(self.identity), f"127.0.0.1:{self.port}")

    def behind(self, wire: Wire) -> RelayAddress:
        return RelayAddress(public_key_of(self.identity), f"127.0.0.1:{wire.port}")

    async def start(self, identity: PrivateKey | None = None) -> None:
        self.scope = anyio.CancelScope()
        self.stopped = anyio.Event()
        (bound,) = await self.tasks.start(self._run, identity or self.identity)
        self.port = int(bound.rpartition(":")[2])

    async def _run(
        self, identity: PrivateKey, *, task_status: anyio.abc.TaskStatus[tuple[str, ...]]
    ) -> None:
        try:
            with self.scope:
                await run_relay(
                    Endpoint(identity),
                    [f"127.0.0.1:{self.port}"],
                    RELAY_LIMITS,
                    task_status=task_status,
                )
        finally:
            self.stopped.set()

    async def stop(self) -> None:
        self.scope.cancel()
        await self.stopped.wait()


class World:
    """Relays, wires and nodes of one test."""

    def __init__(self, tasks: TaskGroup) -> None:
        self.tasks = tasks
        self.relays_made = 0

    async def relay(self) -> RelayHost:
        self.relays_made += 1
        host = RelayHost(60_000 + self.relays_made, self.tasks)
        await host.start()
        return host

    async def wire(self, host: RelayHost) -> Wire:
        wire = Wire(host.port)
        await self.tasks.start(wire.run)
        return wire

    def start(self, *nodes: Node) -> None:
        for node in nodes:
            self.tasks.start_soon(node.run)

    async def friends(self, first: int, *relays: RelayAddress) -> tuple[Node, Node]:
        """Two running nodes that are linked; the preferred one first."""
        nodes = tuple(Node(identity) for identity in pair(first))
        one, two = nodes
        for node, other in ((one, two), (two, one)):
            node.listen(*relays)
            node.befriend(other.key, *relays)
        self.start(one, two)
        await until(lambda: share_a_link(one, two))
        return one, two


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with anyio.create_task_group() as tasks:
        yield World(tasks)
        tasks.cancel_scope.cancel()
