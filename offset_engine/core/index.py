"""The index server: who is alive, what they report, and answers to "how can I pay?".

`IndexServer` decides; its driver owns sockets, clock and randomness, reports what happened and does the
returned effects in order. Nothing is durable: after a restart the nodes' FULL updates rebuild it all.

An update passes these checks, cheap ones first; the first that fails is the answer and nothing changes:

| check | answer |
|---|---|
| at most 512 edges | 4 too many edges |
| its node is the connection's own key; well formed | 3 invalid |
| same session: a greater counter, for a DELTA exactly the next | 2 send FULL |
| other session: a FULL, of a session this node has not left before | 2 send FULL, 3 invalid |
| time hash is one of the last 18 ticks (a switch: no older than the last update's, by 2) | 1 stale |
| signature | 3 invalid |
| edges per node, nodes, currencies | 4 too many edges |

**Hash clock.** A tick is the hash of fresh randomness and of the neighbours' newest ticks, so whoever
signs over it signed after it was made; a chain of tick lists proves that to servers further away. Nobody
needs a right clock. **Liveness.** A node that neither updates nor says ALIVE for 90 s loses its edges and
nothing else does; a closed connection changes nothing by itself. **Newest wins.** A node that connects
again closes its older connection, which may be dead without anybody knowing. **Work** is paid from a
token bucket of scanned edges per node: who is out of tokens hears "busy".

The driver calls `received` with whole messages and `on_deadline` when `deadline_ms` is due. No event costs
more than one route query. Servers do not talk to each other in this version; `HashClock.proves` already
takes the chains they will send.
Source: PROTOCOL.md, "Index servers".
"""

from collections import OrderedDict, deque
from enum import IntEnum
from heapq import heappop, heappush, heapreplace
from typing import Final, TypeAlias, assert_never

from offset_engine.core.crypto import sha512_256, verify
from offset_engine.core.graph import SCANNED_EDGES_MAX, Graph, RouteQuery
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import (
    Alive,
    Edge,
    IndexClientMessage,
    IndexServerMessage,
    IndexUpdate,
    Info,
    InfoRequest,
    RouteChoice,
    RoutesRequest,
    RoutesResponse,
    TimeHash,
    UpdateAck,
)
from offset_engine.core.signing import index_update_buffer, time_hash
from offset_engine.core.values import (
    CHAIN_LINK_HASHES_MAX,
    CHAIN_LINKS_MAX,
    CREDITS_MAX,
    INDEX_EDGES_MAX,
    ROUTE_EXCLUDED_MAX,
    ROUTE_KEYS_MAX,
    ROUTE_PARTS_MAX,
    U32_MAX,
    Currency,
    HashResult,
    PublicKey,
    Uid,
    value,
)
from offset_engine.errors import invariant

_LEFT_SESSIONS_MAX: Final = 4
_SWITCH_TICKS_MAX: Final = 2
"""How much older than the last update's the tick of a new session's first update may be."""


class AckCode(IntEnum):
    """The server's answer to an update."""

    OK = 0
    STALE = 1
    SEND_FULL = 2
    INVALID = 3
    TOO_MANY_EDGES = 4


class RouteCode(IntEnum):
    """The server's answer to a question for routes."""

    OK = 0
    NONE = 1
    BUSY = 2
    INVALID = 3
    PARTIAL = 4
    UNREACHABLE = 5
    """Nobody reports a usable edge into the payee."""


class RouteKind(IntEnum):
    """What a question for routes is about."""

    PAY = 0
    MAX = 1
    """The most that can be paid; `amount` bounds it from above, 0 = no bound."""
    CYCLE = 2
    """Not answered by this version."""


@value
class IndexLimits:
    """What one server takes on, all configurable; the practice village shortens the times."""

    tick_ms: int = 10_000
    window_ticks: int = 18
    node_timeout_ms: int = 90_000
    """Three keepalives."""
    connections_max: int = 20_000
    nodes_max: int = 100_000
    currencies_max: int = 256
    currencies_per_node_max: int = 32
    """So that one stranger cannot use all of them up."""
    edges_per_node_max: int = INDEX_EDGES_MAX
    update_bytes_max: int = 65_536
    updates_per_second: int = 2
    """Per node: a node may report removals twice a second."""
    updates_burst: int = 20
    scanned_per_second: int = 400_000
    """Edges per node asking."""
    scanned_burst: int = 4_000_000
    scanned_charge_min: int = 1_000
    scanned_query_max: int = SCANNED_EDGES_MAX
    """Edges one query may look at; the driver does nothing else meanwhile."""


# --- effects ------------------------------------------------------------------------------------


@value
class Send:
    """Send `message` on connection `conn`; a newer TIME_HASH replaces an unsent one."""

    conn: int
    message: IndexServerMessage


@value
class Close:
    """Say why, then close `conn`; the server has already forgotten it."""

    conn: int
    code: CloseCode
    reason: str


Effect: TypeAlias = Send | Close


@value
class IndexStats:
    """Numbers for the operator; the last three count since the start."""

    nodes: int
    """Alive, with or without edges."""
    edges: int
    currencies: int
    connections: int
    uptime_s: int
    updates: tuple[tuple[AckCode, int], ...]
    queries: tuple[tuple[RouteCode, int], ...]
    expired: int
    """Nodes that fell silent."""


# --- hash clock ---------------------------------------------------------------------------------


class HashClock:
    """The last ticks of one server, and what each was made of."""

    def __init__(self, window_ticks: int) -> None:
        self._window = window_ticks
        self._count = 0
        self._ticks: dict[HashResult, tuple[int, tuple[HashResult, ...]]] = {}
        self._order: deque[HashResult] = deque()

    def tick(self, random: bytes, heard: tuple[HashResult, ...] = ()) -> HashResult:
        """Make the next tick from 16 random bytes and the neighbours' newest ticks."""
        items = (sha512_256(random), *heard)
        newest = time_hash(items)
        self._count += 1
        self._ticks[newest] = (self._count, items)
        self._order.append(newest)
        if len(self._order) > self._window:
            self._ticks.pop(self._order.popleft(), None)
        return newest

    @property
    def newest(self) -> HashResult:
        """The latest tick; there must have been one."""
        return self._order[-1]

    def proves(
        self, signed: HashResult, chain: tuple[tuple[HashResult, ...], ...] = ()
    ) -> tuple[int, tuple[HashResult, ...]] | None:
        """Whether something signed over `signed` was signed within the window.

        Args:
            signed: a tick of this server, or of another one.
            chain: leads from that one back to this server: each link lists what a tick in the link
                before it was made of.

        Returns:
            The number of the own tick it proves (greater = later) and what that tick was made of,
            which is the next link of the chain; None if it proves nothing.
        """
        if len(chain) > CHAIN_LINKS_MAX or any(len(x) > CHAIN_LINK_HASHES_MAX for x in chain):
            return None
        known: tuple[HashResult, ...] = (signed,)
        for link in chain:
            if time_hash(link) not in known:
                return None
            known = link
        return max((self._ticks[one] for one in known if one in self._ticks), default=None)


class _Allowance:
    """Token buckets per node, each kept as what is missing from it and since when."""

    def __init__(self, per_second: int, burst: int, keys_max: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._keys_max = keys_max
        self._missing: OrderedDict[PublicKey, tuple[int, int]] = OrderedDict()

    def left(self, key: PublicKey, now_ms: int) -> int:
        """Tokens `key` has now; negative after it overdrew."""
        missing, at_ms = self._missing.get(key, (0, now_ms))
        return self._burst - max(0, missing - (now_ms - at_ms) * self._per_second // 1000)

    def spend(self, key: PublicKey, tokens: int, now_ms: int) -> None:
        """Take tokens, which may overdraw; the least recent spender is forgotten at the limit."""
        self._missing[key] = (self._burst - self.left(key, now_ms) + tokens, now_ms)
        self._missing.move_to_end(key)
        for _ in range(2):  # two out for one in: a full bucket needs no memory
            oldest = next(iter(self._missing))
            if self.left(oldest, now_ms) < self._burst and len(self._missing) <= self._keys_max:
                break
            del self._missing[oldest]


class _NodeState:
    """What is known of a node since its last accepted update."""

    __slots__ = ("counter", "expires_ms", "left_sessions", "session_id", "tick")

    def __init__(self, session_id: Uid) -> None:
        self.session_id = session_id
        self.counter = 0
        self.tick = 0
        """Own tick its last update proved."""
        self.expires_ms = 0
        self.left_sessions: tuple[Uid, ...] = ()


class IndexServer:
    """All connections, nodes and edges of one server. Feed it events; do the effects it returns."""

    def __init__(self, limits: IndexLimits, now_ms: int, random: bytes) -> None:
        """Start empty at `now_ms` (monotonic); `random` is 16 fresh bytes for the first tick."""
        self._limits = limits
        self._started_ms = now_ms
        self._graph = Graph()
        self._clock = HashClock(limits.window_ticks)
        self._clock.tick(random)
        self._next_tick_ms = now_ms + limits.tick_ms
        self._connections: dict[int, PublicKey] = {}
        self._conn_of: dict[PublicKey, int] = {}
        self._nodes: dict[PublicKey, _NodeState] = {}
        self._expiry: list[tuple[int, PublicKey]] = []
        """A heap with one entry per node; an entry may be too early, never too late."""
        self._updates = _Allowance(
            limits.updates_per_second, limits.updates_burst, limits.nodes_max
        )
        self._scans = _Allowance(limits.scanned_per_second, limits.scanned_burst, limits.nodes_max)
        self._acks = dict.fromkeys(AckCode, 0)
        self._answers = dict.fromkeys(RouteCode, 0)
        self._expired = 0
        self._is_stopped = False

    # --- events ---

    def connected(self, conn: int, peer: PublicKey) -> list[Effect]:
        """An authenticated link to a node is up.

        Raises:
            InvariantError: the driver used a connection number twice.
        """
        invariant(conn not in self._connections, "an index connection is new", conn)
        if self._is_stopped:
            return [Close(conn, CloseCode.SHUTDOWN, "the index server is stopping")]
        effects: list[Effect] = []
        older = self._conn_of.get(peer)
        if older is not None:
            del self._connections[older]
            effects.append(Close(older, CloseCode.REPLACED, "a newer connection took over"))
        elif len(self._connections) >= self._limits.connections_max:
            return [Close(conn, CloseCode.OVERLOADED, "the index server is full, try another")]
        self._connections[conn] = peer
        self._conn_of[peer] = conn
        effects.append(Send(conn, self._time_hash()))
        return effects

    def received(self, conn: int, message: IndexClientMessage, now_ms: int) -> list[Effect]:
        """A message arrived on `conn`."""
        peer = self._connections.get(conn)
        if peer is None:
            return []
        match message:
            case IndexUpdate():
                if self._updates.left(peer, now_ms) < 1:
                    return self._close(conn, CloseCode.OVERLOADED, "too many updates")
                self._updates.spend(peer, 1, now_ms)
                code = self._update(peer, message, now_ms)
                self._acks[code] += 1
                return [Send(conn, UpdateAck(message.session_id, message.counter, code))]
            case Alive():
                return self._alive(conn, peer, message, now_ms)
            case RoutesRequest():
                return [Send(conn, self._routes(peer, message, now_ms))]
            case InfoRequest():
                return [Send(conn, self._info(now_ms))]
            case _:
                assert_never(message)

    def malformed(self, conn: int) -> list[Effect]:
        """Something arrived on `conn` that is no message of a node."""
        return self._close(conn, CloseCode.PROTOCOL, "unreadable message")

    def closed(self, conn: int) -> list[Effect]:
        """`conn` ended, whoever ended it. Its node's edges stay until the node times out."""
        peer = self._connections.pop(conn, None)
        if peer is not None and self._conn_of.get(peer) == conn:
            del self._conn_of[peer]
        return []

    def deadline_ms(self) -> int:
        """When `on_deadline` wants to be called; may lie in the past."""
        return min(self._next_tick_ms, self._expiry[0][0] if self._expiry else self._next_tick_ms)

    def on_deadline(self, now_ms: int, random: bytes) -> list[Effect]:
        """Do what is due; `random` is 16 fresh bytes in case the clock ticks."""
        while self._expiry and self._expiry[0][0] <= now_ms:
            self._expire_first(now_ms)
        if now_ms < self._next_tick_ms:
            return []
        self._next_tick_ms = now_ms + self._limits.tick_ms
        self._clock.tick(random)
        message = self._time_hash()
        return [Send(conn, message) for conn in self._connections]

    def shut_down(self) -> list[Effect]:
        """Close everything; whoever comes later is told the same."""
        self._is_stopped = True
        effects: list[Effect] = [
            Close(conn, CloseCode.SHUTDOWN, "the index server is stopping")
            for conn in self._connections
        ]
        self._connections.clear()
        self._conn_of.clear()
        return effects

    @property
    def graph(self) -> Graph:
        """Who can receive how much from whom; read only."""
        return self._graph

    def stats(self, now_ms: int) -> IndexStats:
        """Numbers for the operator."""
        return IndexStats(
            nodes=len(self._nodes),
            edges=self._graph.edge_count,
            currencies=self._graph.currency_count,
            connections=len(self._connections),
            uptime_s=(now_ms - self._started_ms) // 1000,
            updates=tuple(self._acks.items()),
            queries=tuple(self._answers.items()),
            expired=self._expired,
        )

    # --- connections ---

    def _close(self, conn: int, code: CloseCode, reason: str) -> list[Effect]:
        if conn not in self._connections:
            return []
        self.closed(conn)
        return [Close(conn, code, reason)]

    def _time_hash(self) -> TimeHash:
        return TimeHash(self._clock.newest, self._limits.tick_ms)

    def _info(self, now_ms: int) -> Info:
        stats = self.stats(now_ms)
        uptime_s = min(stats.uptime_s, U32_MAX)
        return Info(stats.nodes, stats.edges, stats.currencies, 0, 0, uptime_s)

    # --- updates ---

    def _update(self, peer: PublicKey, update: IndexUpdate, now_ms: int) -> AckCode:
        if len(update.mutations) > self._limits.edges_per_node_max:
            return AckCode.TOO_MANY_EDGES
        if update.node != peer or not _is_well_formed(update):
            return AckCode.INVALID
        state = self._nodes.get(peer)
        code = _look_at_counter(state, update)
        if code is not AckCode.OK:
            return code
        proof = self._clock.proves(update.time_hash)
        is_switch = state is not None and state.session_id != update.session_id
        oldest = state.tick - _SWITCH_TICKS_MAX if state is not None and is_switch else 0
        if proof is None or proof[0] < oldest:
            return AckCode.STALE
        buffer = index_update_buffer(update)
        if len(buffer) > self._limits.update_bytes_max:
            return AckCode.INVALID
        if not verify(peer, buffer, update.signature):
            return AckCode.INVALID
        if not self._fits(update):
            return AckCode.TOO_MANY_EDGES
        self._commit(update, proof[0], now_ms)
        return AckCode.OK

    def _fits(self, update: IndexUpdate) -> bool:
        """Whether nodes, currencies and this node's edges stay within their limits."""
        graph, limits, node = self._graph, self._limits, update.node
        if node not in self._nodes and len(self._nodes) >= limits.nodes_max:
            return False
        fresh: dict[Currency, None] = {}
        edges = 0 if update.is_full else graph.edges_of(node)
        for mutation in update.mutations:
            is_edge = isinstance(mutation, Edge)
            had_edge = graph.reports(node, mutation.friend, mutation.currency)
            edges += is_edge - (had_edge and not update.is_full)
            if is_edge and not graph.has_currency(mutation.currency):
                fresh[mutation.currency] = None
        is_crowded = fresh and graph.currency_count + len(fresh) > limits.currencies_max
        own = dict.fromkeys(() if update.is_full else graph.currencies_of(node))
        own.update((one.currency, None) for one in update.mutations if isinstance(one, Edge))
        is_greedy = len(own) > limits.currencies_per_node_max
        return edges <= limits.edges_per_node_max and not is_crowded and not is_greedy

    def _commit(self, update: IndexUpdate, tick: int, now_ms: int) -> None:
        state = self._nodes.get(update.node)
        if state is None:
            state = self._nodes[update.node] = _NodeState(update.session_id)
            heappush(self._expiry, (now_ms + self._limits.node_timeout_ms, update.node))
        elif state.session_id != update.session_id:
            left = (*state.left_sessions, state.session_id)
            state.left_sessions = left[-_LEFT_SESSIONS_MAX:]
            state.session_id = update.session_id
        state.counter = update.counter
        state.tick = tick
        state.expires_ms = now_ms + self._limits.node_timeout_ms
        if update.is_full:
            self._graph.replace_node(
                update.node, (edge for edge in update.mutations if isinstance(edge, Edge))
            )
        else:
            self._graph.apply(update.node, update.mutations)

    def _alive(self, conn: int, peer: PublicKey, alive: Alive, now_ms: int) -> list[Effect]:
        state = self._nodes.get(peer)
        if state is None or (state.session_id, state.counter) != (alive.session_id, alive.counter):
            return [Send(conn, UpdateAck(alive.session_id, alive.counter, AckCode.SEND_FULL))]
        state.expires_ms = now_ms + self._limits.node_timeout_ms
        return []

    def _expire_first(self, now_ms: int) -> None:
        """Remove the node on top of the heap, or put it back if it was heard of meanwhile."""
        node = self._expiry[0][1]
        expires_ms = self._nodes[node].expires_ms
        if expires_ms > now_ms:
            heapreplace(self._expiry, (expires_ms, node))
            return
        heappop(self._expiry)
        del self._nodes[node]
        self._graph.remove_node(node)
        self._expired += 1

    # --- routes ---

    def _routes(self, peer: PublicKey, request: RoutesRequest, now_ms: int) -> RoutesResponse:
        code, reachable, choices = self._answer(peer, request, now_ms)
        self._answers[code] += 1
        age_s = min((now_ms - self._started_ms) // 1000, U32_MAX)
        return RoutesResponse(request.request_id, code, reachable, age_s, choices)

    def _answer(
        self, peer: PublicKey, request: RoutesRequest, now_ms: int
    ) -> tuple[RouteCode, int, tuple[RouteChoice, ...]]:
        limits = self._limits
        if not _is_answerable(request) or request.dest == peer:
            return RouteCode.INVALID, 0, ()
        left = self._scans.left(peer, now_ms)
        if left < limits.scanned_charge_min:
            return RouteCode.BUSY, 0, ()
        if not self._graph.is_reachable(request.dest, request.currency):
            self._scans.spend(peer, limits.scanned_charge_min, now_ms)
            return RouteCode.UNREACHABLE, 0, ()
        query = _query(peer, request, min(left, limits.scanned_query_max))
        result = self._graph.route(query)
        self._scans.spend(peer, max(limits.scanned_charge_min, result.scanned), now_ms)
        if not result.parts:
            return RouteCode.NONE, 0, ()
        is_all = request.kind == RouteKind.MAX or result.reachable == request.amount
        code = RouteCode.OK if is_all else RouteCode.PARTIAL
        return code, result.reachable, (RouteChoice(0, result.parts),)


def _look_at_counter(state: _NodeState | None, update: IndexUpdate) -> AckCode:
    """Whether the update can follow what was accepted before, by session and counter alone."""
    if state is not None and state.session_id == update.session_id:
        is_next = update.counter == state.counter + 1
        is_later = update.counter > state.counter
        return AckCode.OK if (is_later if update.is_full else is_next) else AckCode.SEND_FULL
    if not update.is_full:
        return AckCode.SEND_FULL
    if state is not None and update.session_id in state.left_sessions:
        return AckCode.INVALID
    return AckCode.OK


def _is_well_formed(update: IndexUpdate) -> bool:
    """Ascending, nobody its own friend, numbers in range; a FULL removes nothing by name."""
    last: tuple[PublicKey, Currency] | None = None
    for mutation in update.mutations:
        place = (mutation.friend, mutation.currency)
        if mutation.friend == update.node or (last is not None and place <= last):
            return False
        last = place
        if not isinstance(mutation, Edge):
            if update.is_full:
                return False
        elif not (0 <= mutation.recv_capacity <= CREDITS_MAX and mutation.rate.is_valid):
            return False
    return True


def _is_answerable(request: RoutesRequest) -> bool:
    amount_min = {RouteKind.PAY.value: 1, RouteKind.MAX.value: 0}.get(request.kind)
    return (
        amount_min is not None
        and amount_min <= request.amount <= CREDITS_MAX
        and 0 <= request.max_fee <= CREDITS_MAX
        and 1 <= request.max_parts <= ROUTE_PARTS_MAX
        and 2 <= request.max_keys <= ROUTE_KEYS_MAX
        and len(request.exclude_edges) <= ROUTE_EXCLUDED_MAX
        and len(request.exclude_nodes) <= ROUTE_EXCLUDED_MAX
    )


def _query(source: PublicKey, request: RoutesRequest, scanned_max: int) -> RouteQuery:
    return RouteQuery(
        request.currency,
        source,
        request.dest,
        request.amount or CREDITS_MAX,
        request.max_fee,
        request.max_parts,
        request.max_keys,
        request.first_friend,
        request.last_friend,
        request.exclude_edges,
        request.exclude_nodes,
        scanned_max,
    )
