"""`offset bench routes`: how quickly an index server finds routes, beside the speed of memory.

| figure | how |
|---|---|
| single, multi, no_answer, cycle | one question after the other, random ends, in a synthetic network of trust |
| updates | one thread reports new capacities of random friends, whole nodes at a time |
| queries while updated | two threads ask single routes while a third reports 5 000 new capacities a second |
| stale | payments move credit, the index server hears of it 500 payments later, see `route_staleness` |
| floor | reading edges in the order in which a search comes to them, see `route_worlds.World` |

Questions without an answer go from the mainland to an island a tenth of its size: both ends see a large part
of the network before it is clear that they never meet, or before the budget is spent.

Source: design §3; routing.md §3, §8.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias

from offset_engine.bench.figures import BenchError, Figure, Figures, quantile, rounded
from offset_engine.bench.route_staleness import measure_staleness
from offset_engine.bench.route_worlds import BENCH_COIN, World, build_world
from offset_engine.bench.trust_graphs import KINDS, NODES_MIN
from offset_engine.core.crypto import expand_seed, public_key_of, sha512_256, sign, verify
from offset_engine.core.graph import Graph
from offset_engine.core.messages import Edge
from offset_engine.core.route_terms import SCANNED_EDGES_MAX, RouteKind, RouteQuery
from offset_engine.core.values import (
    CREDITS_MAX,
    ROUTE_CHOICES_MAX,
    PrivateKey,
    PublicKey,
    Rate,
    value,
)
from offset_engine.graph_array import MISSING, array_graph, is_available

NODES_PURE_MAX: Final = 100_000
AMOUNT: Final = 167
"""Credits; half of all directions carry them."""
PARTS: Final = 8
STREAM_PER_SECOND: Final = 5_000
_SHARE: Final = 0.3
"""Of what leaves the payer and enters the payee, whichever is less, asked for over several routes."""
_SCANNED_MAX: Final = 400_000
"""Budget of a question to the array engine, in edges; a question to the pure one has half of it."""
_WARM_UP: Final = 20
_PAYMENTS_PER_QUERY: Final = 10
"""Made with stale knowledge, for every question of a kind."""
_UPDATED_NODES: Final = 10_000
_SIGNED: Final = 500
_SIGNED_BYTES: Final = 200
_TICK_S: Final = 0.01
_SEARCHERS: Final = 2


@value
class RoutesPlan:
    """What to measure; the default takes about half a minute."""

    nodes: int = 100_000
    """On the mainland."""
    kind: str = "ba"
    queries: int = 300
    """Of each kind."""
    stream_s: float = 2
    seed: int = 0
    is_array: bool | None = None
    """Which engine; None = the array engine if its libraries are installed."""


def measure_routes(plan: RoutesPlan) -> Figures:
    """Measure everything of the module's table.

    Raises:
        BenchError: there is no such network, or none of this size.
        EngineMissingError: the array engine is asked for and its libraries are not installed.
    """
    if plan.kind not in KINDS:
        raise BenchError(f"a network is {' or '.join(KINDS)}, not {plan.kind[:40]!a}")
    if plan.nodes < NODES_MIN:
        raise BenchError(f"a network has at least {NODES_MIN} nodes")
    is_array = is_available() if plan.is_array is None else plan.is_array
    if not is_array and plan.nodes > NODES_PURE_MAX:
        raise BenchError(
            f"the pure engine is measured with at most {NODES_PURE_MAX} nodes; {MISSING}"
        )
    started = time.perf_counter()
    world = build_world(plan.kind, plan.nodes, plan.seed, is_array=is_array)
    built = time.perf_counter()
    return {
        "engine": "array" if is_array else "pure",
        "kind": plan.kind,
        "nodes": plan.nodes,
        "island_nodes": len(world.island),
        "edges": world.graph.edge_count,
        "build_s": rounded(built - started),
        "bytes_per_edge": world.bytes_per_edge,
        "floor_ns_per_edge": rounded(world.floor_ns(AMOUNT, plan.seed)),
        **_Questions(world, plan, is_array=is_array).measure(),
        **_measure_updates(world, plan.seed),
        **_measure_stream(world, plan, is_array=is_array),
        "stale": measure_staleness(
            array_graph() if is_array else Graph(),
            plan.kind,
            plan.nodes,
            plan.queries * _PAYMENTS_PER_QUERY,
            plan.seed,
        ),
    }


# --- questions ------------------------------------------------------------------------------------


class _Questions:
    """Questions about random nodes of a world."""

    def __init__(self, world: World, plan: RoutesPlan, seed: int = 0, *, is_array: bool) -> None:
        self._world = world
        self._count = plan.queries
        self._draw = random.Random(plan.seed + seed)  # noqa: S311 - no secrets here
        self._scanned_max = _SCANNED_MAX if is_array else SCANNED_EDGES_MAX

    def measure(self) -> dict[str, Figure]:
        """Ask every kind, one question after the other."""
        kinds = {
            "single": self.single,
            "multi": self._multi,
            "no_answer": self._no_answer,
            "cycle": self._cycle,
        }
        return {name: self._measure(make) for name, make in kinds.items()}

    def _measure(self, make: Callable[[], RouteQuery]) -> dict[str, Figure]:
        for _ in range(_WARM_UP):
            self._world.graph.route(make())
        taken_ns: list[int] = []
        scanned: list[int] = []
        answered = 0
        for query in [make() for _ in range(self._count)]:
            started = time.perf_counter_ns()
            result = self._world.graph.route(query)
            taken_ns.append(time.perf_counter_ns() - started)
            scanned.append(result.scanned)
            answered += result.reachable == query.amount
        return {
            "p50_ms": rounded(quantile(taken_ns, 0.5) / 1e6),
            "p99_ms": rounded(quantile(taken_ns, 0.99) / 1e6),
            "scanned_edges_p50": quantile(scanned, 0.5),
            "scanned_edges_p99": quantile(scanned, 0.99),
            "ns_per_edge": rounded(sum(taken_ns) / max(1, sum(scanned))),
            "success": rounded(answered / self._count),
        }

    def single(self) -> RouteQuery:
        """The cheapest route for `AMOUNT`."""
        source, dest = self._draw.sample(self._world.keys, 2)
        return self._query(source, dest, AMOUNT)

    def _multi(self) -> RouteQuery:
        """All choices for a share of what the ends let through, over up to `PARTS` routes."""
        world = self._world
        while True:
            source, dest = self._draw.sample(range(len(world.keys)), 2)
            amount = int(min(world.leaves[source], world.enters[dest]) * _SHARE)
            if amount:
                query = self._query(world.keys[source], world.keys[dest], amount)
                return replace(query, max_parts=PARTS, choices_max=ROUTE_CHOICES_MAX)

    def _no_answer(self) -> RouteQuery:
        """Payer and payee on two sides of the sea."""
        source, dest = self._draw.choice(self._world.keys), self._draw.choice(self._world.island)
        return self._query(source, dest, AMOUNT)

    def _cycle(self) -> RouteQuery:
        """Half of what goes to a friend comes back over the others."""
        while True:
            node, friend, _, theirs = self._draw.choice(self._world.sample)
            if theirs[0] > 1:
                key, first = self._world.keys[node], self._world.keys[friend]
                query = self._query(key, key, theirs[0] // 2)
                return replace(query, kind=RouteKind.CYCLE, first_friend=first)

    def _query(self, source: PublicKey, dest: PublicKey, amount: int) -> RouteQuery:
        return RouteQuery(
            BENCH_COIN,
            source,
            dest,
            amount,
            CREDITS_MAX,
            scanned_max=self._scanned_max,
            choices_max=1,
        )


# --- updates --------------------------------------------------------------------------------------

_Update: TypeAlias = tuple[PublicKey, tuple[Edge, ...]]


def _updates(world: World, count: int, seed: int) -> list[_Update]:
    """New capacities of friendships that are there."""
    draw = random.Random(seed)  # noqa: S311 - no secrets here
    updates: list[_Update] = []
    for node, friend, mine, _ in draw.choices(world.sample, k=count):
        edge = Edge(
            world.keys[friend], BENCH_COIN, draw.randrange(2 * mine[0] + 1), Rate(*mine[1:])
        )
        updates.append((world.keys[node], (edge,)))
    return updates


def _measure_updates(world: World, seed: int) -> Figures:
    graph = world.graph
    updates = _updates(world, _UPDATED_NODES * 10, seed)
    started = time.perf_counter_ns()
    for node, mutations in updates:
        graph.apply(node, mutations)
    update_us = (time.perf_counter_ns() - started) / len(updates) / 1000
    identity = PrivateKey(sha512_256(b"offset bench routes"))
    public_key, buffer = public_key_of(identity), bytes(_SIGNED_BYTES)
    signature = sign(expand_seed(identity), buffer)
    started = time.perf_counter_ns()
    for node, mutations in updates[:_SIGNED]:
        if verify(public_key, buffer, signature):
            graph.apply(node, mutations)
    signed_us = (time.perf_counter_ns() - started) / _SIGNED / 1000
    return {
        "updates_per_second": rounded(1e6 / update_us),
        "update_us": rounded(update_us),
        "update_signed_us": rounded(signed_us),
    }


# --- both at once ---------------------------------------------------------------------------------


class _Searcher(threading.Thread):
    """Asks single routes, round and round, until told to stop."""

    def __init__(self, world: World, queries: list[RouteQuery], stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._world = world
        self._queries = queries
        self._stop_asked = stop
        self.answers = 0
        self.error: Exception | None = None

    def run(self) -> None:
        """Ask."""
        try:
            while not self._stop_asked.is_set():
                self._world.graph.route(self._queries[self.answers % len(self._queries)])
                self.answers += 1
        except Exception as error:  # noqa: BLE001 - raised again by who started this
            self.error = error


def _measure_stream(world: World, plan: RoutesPlan, *, is_array: bool) -> Figures:
    """Let two threads search while this one reports new capacities at a steady pace.

    Raises:
        BenchError: a search failed.
    """
    updates = _updates(world, _UPDATED_NODES, plan.seed + 1)
    per_tick = int(STREAM_PER_SECOND * _TICK_S)
    stop = threading.Event()
    makers = [
        _Questions(world, plan, 1 + number, is_array=is_array) for number in range(_SEARCHERS)
    ]
    batches = [[maker.single() for _ in range(plan.queries)] for maker in makers]
    searchers = [_Searcher(world, batch, stop) for batch in batches]
    for searcher in searchers:
        searcher.start()
    applied = 0
    late_ns: list[int] = []
    started = time.perf_counter()
    due = started
    while due < started + plan.stream_s:
        time.sleep(max(0.0, due - time.perf_counter()))
        for _ in range(per_tick):
            node, mutations = updates[applied % len(updates)]
            world.graph.apply(node, mutations)
            applied += 1
        late_ns.append(int((time.perf_counter() - due) * 1e9))
        due += _TICK_S
    stop.set()
    answers = sum(searcher.answers for searcher in searchers)
    elapsed = time.perf_counter() - started
    for searcher in searchers:
        searcher.join()
        if searcher.error is not None:
            raise BenchError(f"a search failed: {searcher.error}") from searcher.error
    return {
        "queries_per_second": rounded(answers / elapsed),
        "streamed_updates_per_second": rounded(applied / elapsed),
        "streamed_update_late_p99_ms": rounded(quantile(late_ns, 0.99) / 1e6),
    }
