"""The index server: who is alive, what they report, and answers to "how can I pay?".

`IndexServer` decides; its driver owns sockets, clock and randomness, reports what happened and does the
returned effects in order. Nothing is durable: after a restart the nodes' FULL updates rebuild it all.

```
nodes ───────────▶ IndexServer ──▶ NodeTable (who may change what, who is alive) ──▶ Graph ──▶ routes
other servers ───▶ Federation ───▶   "         HashClock: one tick for both, made of what servers said
```

**Updates** are judged by `index_nodes`; a node may only speak for its own key. **Liveness.** A node that
neither updates nor says ALIVE for 90 s loses its edges and nothing else does; a closed connection changes
nothing by itself. **Newest wins.** A node that connects again closes its older connection, which may be
dead without anybody knowing. **Work** is paid from a token bucket of scanned edges per node: who is out
of tokens hears "busy".

The driver calls `received` with whole messages of nodes, the methods of `federation` for other servers,
`closed` for both, and `on_deadline` when `deadline_ms` is due. No event costs more than one route query.
Source: PROTOCOL.md, "Index servers".
"""

from enum import IntEnum
from typing import assert_never

from offset_engine.core.federation import Federation
from offset_engine.core.graph import Graph
from offset_engine.core.hash_clock import HashClock
from offset_engine.core.index_effects import (
    Close,
    Effect,
    PausePeer,
    PeerReady,
    ResumePeer,
    Send,
)
from offset_engine.core.index_limits import AckCode, Allowance, FederationLimits, IndexLimits
from offset_engine.core.index_nodes import NodeTable
from offset_engine.core.index_peer import PeerStats
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import (
    Alive,
    Forward,
    IndexClientMessage,
    IndexUpdate,
    Info,
    InfoRequest,
    RouteChoice,
    RoutesRequest,
    RoutesResponse,
    TimeHash,
    UpdateAck,
)
from offset_engine.core.route_terms import GraphEngine, RouteKind, RouteQuery
from offset_engine.core.values import (
    CREDITS_MAX,
    ROUTE_EXCLUDED_MAX,
    ROUTE_KEYS_MAX,
    ROUTE_PARTS_MAX,
    U32_MAX,
    PublicKey,
    value,
)
from offset_engine.errors import invariant

__all__ = [
    "AckCode", "Close", "Effect", "FederationLimits", "HashClock", "IndexLimits", "IndexServer",
    "IndexStats", "PausePeer", "PeerReady", "PeerStats", "ResumePeer", "RouteCode", "RouteKind", "Send",
]  # fmt: skip


class RouteCode(IntEnum):
    """The server's answer to a question for routes."""

    OK = 0
    NONE = 1
    BUSY = 2
    INVALID = 3
    PARTIAL = 4
    UNREACHABLE = 5
    """Nobody reports a usable edge into the payee."""


@value
class IndexStats:
    """Numbers for the operator; updates, queries and expired count since the start."""

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
    servers_up: int
    """Trusted servers there is a link to."""
    servers_down: int


class IndexServer:
    """All connections, nodes and edges of one server. Feed it events; do the effects it returns."""

    def __init__(
        self,
        limits: IndexLimits,
        now_ms: int,
        random: bytes,
        federation: FederationLimits = FederationLimits(),  # noqa: B008  a value
        graph: GraphEngine | None = None,
    ) -> None:
        """Start empty at `now_ms` (monotonic); `random` is 16 fresh bytes for the first tick.

        `graph` is an empty one of another engine than the pure one.
        """
        self._limits = limits
        self._started_ms = now_ms
        self._graph: GraphEngine = Graph() if graph is None else graph
        self._clock = HashClock(limits.window_ticks)
        self._clock.tick(random)
        self._next_tick_ms = now_ms + limits.tick_ms
        self._connections: dict[int, PublicKey] = {}
        self._conn_of: dict[PublicKey, int] = {}
        self._nodes = NodeTable(limits, federation, self._clock, self._graph)
        self.federation = Federation(
            federation, limits.tick_ms, self._clock, self._nodes, self._graph, self._conn_of
        )
        """The links to other servers."""
        self._updates = Allowance(limits.updates_per_second, limits.updates_burst, limits.nodes_max)
        self._scans = Allowance(limits.scanned_per_second, limits.scanned_burst, limits.nodes_max)
        self._spreads = Allowance(limits.edges_per_second, limits.edges_burst, limits.nodes_max)
        self._acks = dict.fromkeys(AckCode, 0)
        self._answers = dict.fromkeys(RouteCode, 0)
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
                return self._update(conn, peer, message, now_ms)
            case Alive():
                return self._alive(conn, peer, message, now_ms)
            case RoutesRequest():
                return [Send(conn, self._routes(peer, message, now_ms))]
            case InfoRequest():
                return [Send(conn, self._info(now_ms))]
            case _:
                assert_never(message)

    def too_busy(self, conn: int, request: RoutesRequest, now_ms: int) -> list[Effect]:
        """The answer to a question that nobody has time for."""
        if conn not in self._connections:
            return []
        return [Send(conn, self._response(request, RouteCode.BUSY, 0, (), now_ms))]

    def malformed(self, conn: int) -> list[Effect]:
        """Something arrived on `conn` that is no message of a node."""
        return self._close(conn, CloseCode.PROTOCOL, "unreadable message")

    def closed(self, conn: int) -> list[Effect]:
        """`conn` ended, of a node or a server, whoever ended it. Edges stay until nodes time out."""
        self.federation.closed(conn)
        peer = self._connections.pop(conn, None)
        if peer is not None and self._conn_of.get(peer) == conn:
            del self._conn_of[peer]
        return []

    def deadline_ms(self) -> int:
        """When `on_deadline` wants to be called; may lie in the past."""
        dues = (self._tick_ms(), self._nodes.expires_ms(), self.federation.deadline_ms())
        return min(due for due in dues if due is not None)

    def _tick_ms(self) -> int:
        wanted_ms = self.federation.tick_wanted_ms()
        return self._next_tick_ms if wanted_ms is None else min(self._next_tick_ms, wanted_ms)

    def on_deadline(self, now_ms: int, random: bytes) -> list[Effect]:
        """Do what is due; `random` is 16 fresh bytes in case the clock ticks."""
        self._nodes.expire(now_ms)
        effects = self.federation.on_deadline(now_ms)
        if now_ms < self._tick_ms():
            return effects
        self._next_tick_ms = now_ms + self._limits.tick_ms
        self._clock.tick(random, self.federation.heard_ticks())
        message = self._time_hash()
        effects += [Send(conn, message) for conn in self._connections]
        return effects + self.federation.ticked(now_ms)

    def shut_down(self) -> list[Effect]:
        """Close everything; whoever comes later is told the same."""
        self._is_stopped = True
        effects = self.federation.shut_down()
        effects += [
            Close(conn, CloseCode.SHUTDOWN, "the index server is stopping")
            for conn in self._connections
        ]
        self._connections.clear()
        self._conn_of.clear()
        return effects

    @property
    def graph(self) -> GraphEngine:
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
            expired=self._nodes.expired,
            servers_up=self.federation.peers_up,
            servers_down=self.federation.peers_down,
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
        servers = (stats.servers_up, stats.servers_down)
        return Info(stats.nodes, stats.edges, stats.currencies, *servers, uptime_s)

    # --- updates ---

    def _update(self, conn: int, peer: PublicKey, update: IndexUpdate, now_ms: int) -> list[Effect]:
        if update.node != peer:
            code, spread = AckCode.INVALID, []
        else:
            verdict = self._nodes.take(update, (), None, now_ms)
            code, forward = verdict.code, Forward(update, (verdict.link,))
            spread = self._spread(forward, now_ms) if code is AckCode.OK else []
        self._acks[code] += 1
        return [Send(conn, UpdateAck(update.session_id, update.counter, code)), *spread]

    def _spread(self, forward: Forward, now_ms: int) -> list[Effect]:
        """Tell the other servers; not of a node that says too much: later its sign of life shows the gap."""
        node = forward.update.node
        if self._spreads.left(node, now_ms) < 1:
            return []
        self._spreads.spend(node, max(1, len(forward.update.mutations)), now_ms)
        return self.federation.spread(forward)

    def _alive(self, conn: int, peer: PublicKey, alive: Alive, now_ms: int) -> list[Effect]:
        if not self._nodes.alive(peer, alive.session_id, alive.counter, now_ms):
            return [Send(conn, UpdateAck(alive.session_id, alive.counter, AckCode.SEND_FULL))]
        self.federation.alive(peer, alive.session_id, alive.counter, now_ms)
        return []

    # --- routes ---

    def _routes(self, peer: PublicKey, request: RoutesRequest, now_ms: int) -> RoutesResponse:
        code, reachable, choices = self._answer(peer, request, now_ms)
        return self._response(request, code, reachable, choices, now_ms)

    def _response(
        self,
        request: RoutesRequest,
        code: RouteCode,
        reachable: int,
        choices: tuple[RouteChoice, ...],
        now_ms: int,
    ) -> RoutesResponse:
        self._answers[code] += 1
        age_s = min((now_ms - self._started_ms) // 1000, U32_MAX)
        return RoutesResponse(request.request_id, code, reachable, age_s, choices)

    def _answer(
        self, peer: PublicKey, request: RoutesRequest, now_ms: int
    ) -> tuple[RouteCode, int, tuple[RouteChoice, ...]]:
        limits = self._limits
        if not _is_answerable(request, peer):
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
        if not result.choices:
            return RouteCode.NONE, 0, ()
        is_all = query.kind is RouteKind.MAX or result.reachable == request.amount
        code = RouteCode.OK if is_all else RouteCode.PARTIAL
        return code, result.reachable, result.choices


def _is_answerable(request: RoutesRequest, peer: PublicKey) -> bool:
    amount_min = 0 if request.kind == RouteKind.MAX else 1
    return (
        request.kind in tuple(RouteKind)
        and (request.dest == peer) is (request.kind == RouteKind.CYCLE)
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
        request.amount,
        request.max_fee,
        request.max_parts,
        request.max_keys,
        request.first_friend,
        request.last_friend,
        request.exclude_edges,
        request.exclude_nodes,
        scanned_max,
        RouteKind(request.kind),
    )
