"""Networks of trust as in `trust_graphs`, made in arrays: a million nodes in seconds. Needs numpy."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from offset_engine.bench.trust_graphs import (
    ADD_MAX,
    CLOSED,
    FREE,
    HUB_FRIENDS,
    LINE_MAX,
    LINE_MIN,
    MUL_MAX,
    NEW_FRIENDS,
    RATE,
    RATE_SPREAD,
    REWIRED,
    SHAPE,
)

Ints: TypeAlias = NDArray[np.int64]


def friendship_arrays(kind: str, nodes: int, seed: int) -> tuple[NDArray[np.int32], Ints]:
    """Pairs of node numbers, and what each reports about the other; a million nodes take some seconds.

    A row of reports is capacity, mul, add of the first about the second, and the same the other way round.
    """
    draw = np.random.default_rng(seed)
    pairs = _preferential_array(nodes, draw) if kind == "ba" else _ring_array(nodes, draw)
    degrees = np.bincount(pairs.ravel(), minlength=nodes)
    count = len(pairs)
    line = np.minimum(LINE_MAX, LINE_MIN * (1 - draw.random(count)) ** (-1 / SHAPE))
    used = draw.random(count)
    hub = np.where(degrees > HUB_FRIENDS, 2, 1)
    is_free = draw.random(nodes) < FREE
    rates = np.where(is_free, 0, RATE * hub * draw.lognormal(0, RATE_SPREAD, nodes))
    adds = np.where(is_free, 0, hub * draw.integers(0, ADD_MAX, nodes, endpoint=True))
    reports = np.zeros((count, 6), np.int64)
    for side, room in enumerate((line * used, line * (1 - used))):
        node, at = pairs[:, side], 3 * side
        reports[:, at] = np.where(draw.random(count) < CLOSED, 0, room)
        jitter = draw.lognormal(0, RATE_SPREAD / 5, count)
        reports[:, at + 1] = np.minimum(MUL_MAX, rates[node] * jitter)
        reports[:, at + 2] = adds[node]
    names = draw.permutation(nodes).astype(np.int32)
    return names[pairs], reports


def _preferential_array(nodes: int, draw: np.random.Generator) -> Ints:
    """Every friendship chooses an end of an earlier one: whoever has many is chosen often."""
    first = NEW_FRIENDS + 1
    clique = np.array([(u, v) for u in range(first) for v in range(u)])
    source = np.repeat(np.arange(first, nodes), NEW_FRIENDS)
    # Ends are counted in pairs: 2 i is the source of friendship i, 2 i + 1 whom it chose.
    before = len(clique) + (source - first) * NEW_FRIENDS
    chosen = (draw.random(len(source)) * 2 * before).astype(np.int64)
    sources = np.concatenate((clique[:, 0], source))
    while True:  # follow choices of choices until all end at somebody
        own = (chosen & 1 == 1) & (chosen >= 2 * len(clique))
        if not own.any():
            break
        chosen[own] = chosen[(chosen[own] >> 1) - len(clique)]
    of_clique = clique.ravel()[np.minimum(chosen, 2 * len(clique) - 1)]
    target = np.where(chosen < 2 * len(clique), of_clique, sources[chosen >> 1])
    return _distinct(np.concatenate((clique, np.stack((source, target), axis=1))), nodes)


def _ring_array(nodes: int, draw: np.random.Generator) -> Ints:
    source = np.repeat(np.arange(nodes), NEW_FRIENDS)
    target = (source + np.tile(np.arange(1, NEW_FRIENDS + 1), nodes)) % nodes
    is_rewired = draw.random(len(source)) < REWIRED
    target = np.where(is_rewired, draw.integers(0, nodes, len(source)), target)
    return _distinct(np.stack((source, target), axis=1), nodes)


def _distinct(pairs: Ints, nodes: int) -> Ints:
    """Every friendship once, nobody a friend of its own; in the order they were made."""
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    codes = pairs.max(axis=1) * nodes + pairs.min(axis=1)
    _, places = np.unique(codes, return_index=True)
    return pairs[np.sort(places)]
