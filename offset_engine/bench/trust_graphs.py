"""Synthetic networks of trust, for measurements: who is whose friend, what they lend and what they charge.

| kind | friendships |
|---|---|
| `ba` | everybody who comes befriends five others, preferably those with many friends: hubs, short routes |
| `ws` | a ring in which everybody knows ten neighbours, a tenth of it rewired: no hubs, long routes |

Credit lines follow Pareto(1.2), what is used of them is uniform, and 8 % of the directions are closed: half
of them carry more than 167 credits, a tenth more than 660. Half of the nodes charge nothing, the others
about 0.3 % and up to 5 credits, hubs twice as much.

The same seed gives the same graph. This module needs no libraries and is good for a hundred thousand nodes;
`trust_arrays` makes millions of the same kind, but other ones.
Source: routing.md §3.
"""

import random
from typing import Final, TypeAlias

from offset_engine.core.values import PublicKey

KINDS: Final = ("ba", "ws")
NEW_FRIENDS: Final = 5
"""Friendships a node makes itself; with those others make with it, everybody has ten on average."""
NODES_MIN: Final = 4 * NEW_FRIENDS
REWIRED: Final = 0.1
"""Share of a ring's friendships that lead anywhere."""
SHAPE: Final = 1.2
"""Of Pareto's law."""
LINE_MIN: Final = 200
"""Credits; the smallest credit line."""
LINE_MAX: Final = 10**12
MUL_MAX: Final = 2**30
"""Bounds for what chance might draw."""
CLOSED: Final = 0.08
"""Share of the directions that carry nothing."""
FREE: Final = 0.5
"""Share of the nodes that charge nothing."""
RATE: Final = 0.003 * 2**32
"""Median share of the amount the others charge, as `mul`."""
RATE_SPREAD: Final = 0.5
"""Of the logarithm, between nodes; between friends of a node it is a fifth of it."""
ADD_MAX: Final = 5
"""Credits per route."""
HUB_FRIENDS: Final = 100
"""Who has more charges twice as much."""

Friendship: TypeAlias = tuple[int, int, tuple[int, int, int], tuple[int, int, int]]
"""Two node numbers, and what each reports about the other: capacity, mul, add."""


def node_keys(count: int, seed: int) -> list[PublicKey]:
    """So many different public keys; nobody knows the private ones."""
    raw = random.Random(seed).randbytes(count * PublicKey.SIZE)  # noqa: S311 - no secrets here
    return [PublicKey(raw[at : at + PublicKey.SIZE]) for at in range(0, len(raw), PublicKey.SIZE)]


def friendships(kind: str, nodes: int, seed: int) -> list[Friendship]:
    """A graph of at least `NODES_MIN` nodes, one friendship at a time."""
    draw = random.Random(seed)  # noqa: S311 - no secrets here
    pairs = _preferential(nodes, draw) if kind == "ba" else _rewired(nodes, draw)
    names = list(range(nodes))
    draw.shuffle(names)
    degrees = [0] * nodes
    for u, v in pairs:
        degrees[u] += 1
        degrees[v] += 1
    charges = [_charge(degree, draw) for degree in degrees]
    found: list[Friendship] = []
    for u, v in pairs:
        line = min(LINE_MAX, LINE_MIN * draw.random() ** (-1 / SHAPE))
        used = draw.random()
        rooms = (line * used, line * (1 - used))
        mine, theirs = (int(room) if draw.random() >= CLOSED else 0 for room in rooms)
        one = (mine, *_rate(charges[u], draw))
        found.append((names[u], names[v], one, (theirs, *_rate(charges[v], draw))))
    return found


def _preferential(nodes: int, draw: random.Random) -> list[tuple[int, int]]:
    first = NEW_FRIENDS + 1
    pairs = [(u, v) for u in range(first) for v in range(u)]
    ends = [end for pair in pairs for end in pair]
    for node in range(first, nodes):
        chosen: dict[int, None] = {}
        while len(chosen) < NEW_FRIENDS:
            chosen[ends[draw.randrange(len(ends))]] = None
        for friend in chosen:
            pairs.append((node, friend))
            ends += (node, friend)
    return pairs


def _rewired(nodes: int, draw: random.Random) -> list[tuple[int, int]]:
    pairs: dict[tuple[int, int], None] = {}
    for node in range(nodes):
        for step in range(1, NEW_FRIENDS + 1):
            friend = (node + step) % nodes
            if draw.random() < REWIRED:
                friend = draw.randrange(nodes)
            if friend != node:
                pairs[max(node, friend), min(node, friend)] = None
    return list(pairs)


def _charge(degree: int, draw: random.Random) -> tuple[float, int]:
    """What a node charges: share of the amount times 2³², and credits."""
    if draw.random() < FREE:
        return 0.0, 0
    hub = 2 if degree > HUB_FRIENDS else 1
    return RATE * hub * draw.lognormvariate(0, RATE_SPREAD), hub * draw.randint(0, ADD_MAX)


def _rate(charge: tuple[float, int], draw: random.Random) -> tuple[int, int]:
    mul = charge[0] * draw.lognormvariate(0, RATE_SPREAD / 5)
    return int(min(MUL_MAX, mul)), charge[1]
