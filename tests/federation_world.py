"""A virtual network of index servers and nodes: real cores and real sessions, virtual time, no sockets.

Servers are linked by pipes with a delay that can be cut, stopped from reading or made to lose messages;
nodes run an `IndexSession` each. Everything goes through the codec, and time moves from event to event.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from heapq import heappop, heappush
from itertools import count
from random import Random

from offset_engine.core import codec
from offset_engine.core.crypto import expand_seed, public_key_of, sha512_256, sign, speaks_first
from offset_engine.core.index import (
    Close,
    FederationLimits,
    IndexLimits,
    IndexServer,
    PausePeer,
    PeerReady,
    ResumePeer,
    Send,
)
from offset_engine.core.index_session import Fail, IndexSession, SendMessage
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import Edge, IndexPeerMessage
from offset_engine.core.values import (
    Currency,
    PrivateKey,
    PublicKey,
    RandValue,
    Rate,
    Signature,
    Timers,
    Uid,
)

FST = Currency("FST")
FREE = Rate()
SECOND = 1_000


def seed_of(name: str) -> PrivateKey:
    return PrivateKey(sha512_256(name.encode()))


class Pipe:
    """One end of a link between two servers; messages to the other end are taken from the outbox."""

    def __init__(self, owner: "Server", conn: int, other: "Server") -> None:
        self.owner = owner
        self.conn = conn
        self.other = other
        self.is_open = True
        self.is_stuck = False
        """The other end takes nothing."""
        self.is_paused = False
        self.arrived: list[bytes] = []
        """Waiting because the owner does not read."""
        self.twin: Pipe


class Server:
    """An index server, its trusted keys and its links."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.key = public_key_of(seed_of(name))
        self.core = IndexServer(world.limits, world.now, world.random(16), world.federation)
        self.pipes: dict[int, Pipe] = {}
        self.nodes: dict[int, Node] = {}
        self.closed: list[tuple[int, CloseCode]] = []
        """Connections this server closed, and why."""
        self.received: Counter[str] = Counter()

    def perform(self, effects: Iterable[object]) -> None:
        for effect in effects:
            match effect:
                case Send(conn, message) if conn in self.nodes:
                    node, payload = self.nodes[conn], codec.encode_index_server_message(message)
                    self.world.later(1, lambda n=node, p=payload, c=conn: n.hear(c, p))
                case Close(conn, code, _):
                    self.closed.append((conn, code))
                    self.hang_up(conn)
                case PeerReady(conn):
                    self.pump(conn)
                case PausePeer(conn):
                    self.pipes[conn].is_paused = True
                case ResumePeer(conn) if conn in self.pipes:
                    self.resume(self.pipes[conn])

    def hang_up(self, conn: int) -> None:
        if conn in self.nodes:
            self.world.later(1, self.nodes.pop(conn).dropped)
        elif conn in self.pipes:
            pipe = self.pipes[conn]
            self.world.cut_pipe(pipe)
            if self.world.redials:
                self.world.later(2 * SECOND, lambda: self.dial_again(pipe.other))

    def dial_again(self, other: "Server") -> None:
        if not self.core.federation.is_up(other.key):
            self.world.link(self, other)

    def resume(self, pipe: Pipe) -> None:
        pipe.is_paused = False
        arrived, pipe.arrived = pipe.arrived, []
        for payload in arrived:
            self.read(pipe, payload)

    def pump(self, conn: int) -> None:
        pipe = self.pipes.get(conn)
        while pipe is not None and pipe.is_open and not pipe.is_stuck:
            message = self.core.federation.next_message(conn)
            if message is None:
                break
            self.world.carry(pipe, message)

    def read(self, pipe: Pipe, payload: bytes) -> None:
        if not pipe.is_open:
            return
        if pipe.is_paused:
            pipe.arrived.append(payload)
            return
        message = codec.decode_index_peer_message(payload)
        self.received[type(message).__name__] += 1
        self.perform(self.core.federation.received(pipe.conn, message, self.world.now))

    def picture(self) -> dict[tuple[PublicKey, PublicKey, Currency], tuple[int, int, int]]:
        """Everything anybody reports, as this server has it."""
        return {
            (node.key, friend, currency): report
            for currency, graph in self.core.graph._currencies.items()
            for node in graph.nodes.values()
            for friend, report in (node.into | node.waiting).items()
        }

    @property
    def stats(self):
        return self.core.stats(self.world.now)

    @property
    def acks(self) -> int:
        """Updates of its own nodes it has answered."""
        return sum(number for _, number in self.stats.updates)


class Node:
    """A node that reports at one server, and comes back when that sends it away."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        seed = seed_of(name)
        self.key = public_key_of(seed)
        self.secret = expand_seed(seed)
        self.edges: tuple[Edge, ...] = ()
        self.server: Server | None = None
        self.conn = -1
        self.session: IndexSession | None = None

    def connect(self, server: Server) -> None:
        self.leave()
        self.server, self.conn = server, next(self.world.conns)
        session_id = Uid(self.world.random(16))

        def sign_it(data: bytes) -> Signature:
            return sign(self.secret, data)

        self.session = IndexSession(self.key, session_id, sign_it, self.edges, self.world.timers)
        server.nodes[self.conn] = self
        server.perform(server.core.connected(self.conn, self.key))
        self.do(self.session.start(self.world.now))

    def leave(self) -> None:
        """Go away without a word."""
        if self.server is not None:
            self.server.nodes.pop(self.conn, None)
            self.server.core.closed(self.conn)
        self.server = self.session = None

    def dropped(self) -> None:
        server, self.session = self.server, None
        if server is not None:
            self.world.later(SECOND, lambda: self.connect(server) if self.session is None else None)

    def report(self, edges: Mapping["Node | PublicKey", int], currency: Currency = FST) -> None:
        keys = {(one.key if isinstance(one, Node) else one): n for one, n in edges.items()}
        self.edges = tuple(Edge(key, currency, n, FREE) for key, n in keys.items())
        if self.session is not None:
            rand = RandValue(self.world.random(16))
            self.do(self.session.update_edges(self.edges, self.world.now, rand))

    def hear(self, conn: int, payload: bytes) -> None:
        if conn == self.conn and self.session is not None:
            message = codec.decode_index_server_message(payload)
            rand = RandValue(self.world.random(16))
            self.do(self.session.received(message, self.world.now, rand))

    def do(self, outputs: Iterable[object]) -> None:
        for output in outputs:
            server, conn = self.server, self.conn
            if isinstance(output, SendMessage) and server is not None:
                payload = codec.encode_index_client_message(output.message)
                self.world.later(1, lambda s=server, c=conn, p=payload: self.deliver(s, c, p))
            elif isinstance(output, Fail):
                self.leave_and_return()

    def deliver(self, server: Server, conn: int, payload: bytes) -> None:
        message = codec.decode_index_client_message(payload)
        server.perform(server.core.received(conn, message, self.world.now))

    def leave_and_return(self) -> None:
        server = self.server
        self.leave()
        if server is not None:
            self.world.later(SECOND, lambda: self.connect(server))


class World:
    """Everybody, the time, and what is on its way."""

    def __init__(
        self,
        limits: IndexLimits | None = None,
        federation: FederationLimits | None = None,
        seed: int = 1,
    ) -> None:
        self.limits = limits or IndexLimits()
        self.federation = federation or FederationLimits()
        self.timers = Timers()
        self.now = 1_000_000
        self.conns = count(1)
        self._random = Random(seed)
        self._queue: list[tuple[int, int, Callable[[], object]]] = []
        self._order = count()
        self.servers: list[Server] = []
        self.nodes: list[Node] = []
        self.pipes: list[Pipe] = []
        self.latency = 20
        self.grain = 0
        """Least time of one step: coarser is quicker with many nodes."""
        self.loss = 0.0
        self.redials = False
        """Whether a link that a server closed is made again."""
        self.carried: Counter[str] = Counter()
        """Messages between servers."""

    def random(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def later(self, ms: int, what: Callable[[], object]) -> None:
        heappush(self._queue, (self.now + ms, next(self._order), what))

    # --- servers ---

    def add_servers(self, number: int) -> list[Server]:
        added = [Server(self, f"server {len(self.servers) + i}") for i in range(number)]
        self.servers += added
        keys = [server.key for server in self.servers]
        for server in self.servers:
            server.perform(server.core.federation.set_trusted(k for k in keys if k != server.key))
        return added

    def restart(self, server: Server) -> Server:
        """The same identity with nothing in its memory; all its connections are gone."""
        for pipe in list(server.pipes.values()):
            self.cut_pipe(pipe)
        for node in self.nodes:
            if node.server is server:
                node.leave()
        fresh = Server(self, server.name)
        self.servers[self.servers.index(server)] = fresh
        keys = [one.key for one in self.servers if one is not fresh]
        fresh.core.federation.set_trusted(keys)
        return fresh

    def link(self, one: Server, other: Server) -> Pipe:
        """`one` dials `other`."""
        mine, theirs = Pipe(one, next(self.conns), other), Pipe(other, next(self.conns), one)
        mine.twin, theirs.twin = theirs, mine
        is_preferred = speaks_first(one.key, other.key)
        self.pipes += [mine, theirs]
        for pipe in (mine, theirs):
            pipe.owner.pipes[pipe.conn] = pipe
        for pipe in (mine, theirs):
            federation = pipe.owner.core.federation
            pipe.owner.perform(
                federation.connected(
                    pipe.conn, pipe.other.key, self.now, self.random(16), is_preferred=is_preferred
                )
            )
        return mine

    def cut(self, one: Server, other: Server) -> None:
        for pipe in list(one.pipes.values()):
            if pipe.other is other:
                self.cut_pipe(pipe)

    def cut_pipe(self, pipe: Pipe) -> None:
        for end in (pipe, pipe.twin):
            if end.is_open:
                end.is_open = False
                self.pipes.remove(end)
                end.owner.pipes.pop(end.conn, None)
                end.owner.core.closed(end.conn)

    def carry(self, pipe: Pipe, message: IndexPeerMessage) -> None:
        payload = codec.encode_index_peer_message(message)
        assert codec.decode_index_peer_message(payload) == message
        assert len(payload) <= 256 * 1024
        self.carried[type(message).__name__] += 1
        if self._random.random() >= self.loss:
            twin = pipe.twin
            self.later(self.latency, lambda: twin.owner.read(twin, payload))

    # --- nodes ---

    def add_node(self, server: Server, name: str | None = None) -> Node:
        node = Node(self, name or f"node {len(self.nodes)}")
        self.nodes.append(node)
        node.connect(server)
        return node

    def truth(self) -> dict[tuple[PublicKey, PublicKey, Currency], tuple[int, int, int]]:
        return {
            (node.key, edge.friend, edge.currency): (
                edge.recv_capacity,
                edge.rate.mul,
                edge.rate.add,
            )
            for node in self.nodes
            if node.server is not None
            for edge in node.edges
        }

    def agree(self) -> bool:
        """Whether every server has exactly what the nodes say."""
        truth = self.truth()
        return all(server.picture() == truth for server in self.servers)

    # --- time ---

    def run(self, ms: int) -> None:
        end = self.now + ms
        while True:
            dues = [server.core.deadline_ms() for server in self.servers]
            dues += [
                due
                for node in self.nodes
                if node.session is not None and (due := node.session.deadline_ms()) is not None
            ]
            if self._queue:
                dues.append(self._queue[0][0])
            first = min(dues, default=end + 1)
            if first > end:
                self.now = end
                return
            self.now = min(end, max(self.now + self.grain, first))
            self._step()

    def _step(self) -> None:
        while self._queue and self._queue[0][0] <= self.now:
            heappop(self._queue)[2]()
        for server in self.servers:
            if server.core.deadline_ms() <= self.now:
                server.perform(server.core.on_deadline(self.now, self.random(16)))
        for node in self.nodes:
            due = None if node.session is None else node.session.deadline_ms()
            if due is not None and due <= self.now and node.session is not None:
                node.do(node.session.on_deadline(self.now, RandValue(self.random(16))))

    def run_until(self, fact: Callable[[], bool], within_ms: int, step_ms: int = 250) -> int:
        """Run until it is so; how long it took."""
        started = self.now
        while not fact():
            assert self.now - started < within_ms, "it did not happen in time"
            self.run(step_ms)
        return self.now - started
