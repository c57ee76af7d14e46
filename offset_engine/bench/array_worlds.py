"""Networks to measure the array engine with. Needs its libraries."""

import numpy as np

from offset_engine.bench.figures import rounded
from offset_engine.bench.route_worlds import (
    BENCH_COIN,
    FLOOR_NODES,
    SAMPLE_MAX,
    World,
    island_size,
    shortest_ns,
)
from offset_engine.bench.trust_arrays import Ints, friendship_arrays
from offset_engine.bench.trust_graphs import Friendship, node_keys
from offset_engine.graph_array.engine import ArrayGraph
from offset_engine.graph_array.layout import Ids
from offset_engine.graph_array.scanning import scan_blocks


def in_arrays(kind: str, nodes: int, seed: int) -> World:
    """A mainland with so many nodes, and an island; a million nodes take some seconds."""
    total = nodes + island_size(nodes)
    keys = node_keys(total, seed)
    pairs, reports = friendship_arrays(kind, nodes, seed)
    sample = _sample(pairs, reports, seed)
    leaves, enters = _sums(pairs, reports, (3, 0), nodes), _sums(pairs, reports, (0, 3), nodes)
    beside, their_reports = friendship_arrays(kind, total - nodes, seed + 1)
    pairs = np.concatenate((pairs, beside + np.int32(nodes)))
    graph = ArrayGraph()
    graph.load(BENCH_COIN, keys, pairs, np.concatenate((reports, their_reports)))
    bytes_per_edge = rounded(graph.hot_bytes / graph.edge_count)

    def floor_ns(amount: int, floor_seed: int) -> float:
        view = graph.view(BENCH_COIN)
        state = np.ones((total, 4), np.int64)
        draw = np.random.default_rng(floor_seed)
        return shortest_ns(
            lambda: draw.integers(0, total, FLOOR_NODES, np.int32),
            lambda order: scan_blocks(view, state, order, amount),
        )

    return World(
        graph, keys[:nodes], keys[nodes:], sample, leaves, enters, bytes_per_edge, floor_ns
    )


def _sample(pairs: Ids, reports: Ints, seed: int) -> list[Friendship]:
    draw = np.random.default_rng(seed)
    chosen = draw.choice(len(pairs), min(SAMPLE_MAX, len(pairs)), replace=False)
    rows = zip(pairs[chosen].tolist(), reports[chosen].tolist(), strict=True)
    return [(one, other, (a, b, c), (d, e, f)) for (one, other), (a, b, c, d, e, f) in rows]


def _sums(pairs: Ids, reports: Ints, columns: tuple[int, int], nodes: int) -> list[int]:
    """Per node, the sum of capacities in the first column where it comes first, else in the second."""
    sums = np.zeros(nodes, np.int64)
    for side, column in enumerate(columns):
        np.add.at(sums, pairs[:, side], reports[:, column])
    found: list[int] = sums.tolist()
    return found
