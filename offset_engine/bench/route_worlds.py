"""The network a measurement of routes asks about, in the engine to be measured."""

import random
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final, TypeVar

from offset_engine.bench.figures import rounded
from offset_engine.bench.trust_graphs import NODES_MIN, Friendship, friendships, node_keys
from offset_engine.core.graph import Graph
from offset_engine.core.messages import Edge
from offset_engine.core.route_terms import GraphEngine
from offset_engine.core.values import Currency, PublicKey, Rate, value
from offset_engine.graph_array import require_libraries

_T = TypeVar("_T")

BENCH_COIN: Final = Currency("OUSD")
SAMPLE_MAX: Final = 20_000
FLOOR_NODES: Final = 100_000
"""Looked at in a round of a floor."""
_ISLAND_PART: Final = 10
_FLOOR_ROUNDS: Final = 5
_PAGE_BYTES: Final = 4_096


@value
class World:
    """A mainland, and an island nobody on it can pay."""

    graph: GraphEngine
    keys: Sequence[PublicKey]
    """Of the mainland."""
    island: Sequence[PublicKey]
    sample: Sequence[Friendship]
    """Some of the mainland's friendships, by the places of their keys."""
    leaves: Sequence[int]
    """What each node of the mainland can pay at most."""
    enters: Sequence[int]
    """What it can be paid at most."""
    bytes_per_edge: float | None
    """Memory per reported edge; None where the system does not tell."""
    floor_ns: Callable[[int, int], float]
    """Nanoseconds this machine needs at least to look at an edge, given an amount and a seed: reading all
    edges of random nodes, and one value of the node at the other end of every edge with room for the
    amount. Nothing is computed, so no search over the same memory can be quicker.
    """


def build_world(kind: str, nodes: int, seed: int, *, is_array: bool) -> World:
    """A network with so many nodes on the mainland, and a tenth more on the island.

    Raises:
        EngineMissingError: the libraries of the array engine are not installed.
    """
    if not is_array:
        return _in_dictionaries(kind, nodes, seed)
    require_libraries()
    world: World = import_module("offset_engine.bench.array_worlds").in_arrays(kind, nodes, seed)
    return world


def island_size(nodes: int) -> int:
    """Nodes on the island beside such a mainland."""
    return max(NODES_MIN, nodes // _ISLAND_PART)


def shortest_ns(prepare: Callable[[], _T], look: Callable[[_T], int]) -> float:
    """Nanoseconds per edge of the quickest of some rounds; `look` returns how many edges it saw."""
    shortest = float("inf")
    for _ in range(_FLOOR_ROUNDS):
        order = prepare()
        started = time.perf_counter_ns()
        edges = look(order)
        shortest = min(shortest, (time.perf_counter_ns() - started) / max(1, edges))
    return shortest


def _in_dictionaries(kind: str, nodes: int, seed: int) -> World:
    total = nodes + island_size(nodes)
    keys = node_keys(total, seed)
    found = friendships(kind, nodes, seed)
    draw = random.Random(seed)  # noqa: S311 - no secrets here
    sample = draw.sample(found, min(SAMPLE_MAX, len(found)))
    leaves, enters = [0] * nodes, [0] * nodes
    for one, other, mine, theirs in found:
        for to, by, report in ((one, other, mine), (other, one, theirs)):
            enters[to] += report[0]
            leaves[by] += report[0]
    for one, other, mine, theirs in friendships(kind, total - nodes, seed + 1):
        found.append((one + nodes, other + nodes, mine, theirs))
    before = _resident_bytes()
    graph = Graph()
    for one, other, mine, theirs in found:
        graph.apply(keys[one], (_edge(keys[other], mine),))
        graph.apply(keys[other], (_edge(keys[one], theirs),))
    after = _resident_bytes()
    grown = (
        None if before is None or after is None else rounded((after - before) / (2 * len(found)))
    )

    def floor_ns(amount: int, floor_seed: int) -> float:
        return _dictionary_floor_ns(found, amount, floor_seed)

    return World(graph, keys[:nodes], keys[nodes:], sample, leaves, enters, grown, floor_ns)


def _edge(friend: PublicKey, report: tuple[int, int, int]) -> Edge:
    capacity, mul, add = report
    return Edge(friend, BENCH_COIN, capacity, Rate(mul, add))


def _resident_bytes() -> int | None:
    """Memory of this process, where the system tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return None


def _dictionary_floor_ns(found: Sequence[Friendship], amount: int, seed: int) -> float:
    """In dictionaries of tuples, as the pure engine has them."""
    nodes: dict[int, dict[int, tuple[int, int, int]]] = {}
    for one, other, mine, theirs in found:
        nodes.setdefault(one, {})[other] = theirs
        nodes.setdefault(other, {})[one] = mine
    draw = random.Random(seed)  # noqa: S311 - no secrets here
    numbers = list(nodes)

    def look(order: list[int]) -> int:
        edges = 0
        for number in order:
            friends = nodes[number]
            edges += len(friends)
            for friend, (capacity, _, _) in friends.items():
                if capacity >= amount:
                    nodes.get(friend)
        return edges

    return shortest_ns(lambda: draw.choices(numbers, k=FLOOR_NODES), look)
