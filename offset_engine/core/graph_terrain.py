"""The pure engine's searches: plain dictionaries, heaps and integers; the oracle for every other engine.

| search | from | compares | sure of |
|---|---|---|---|
| `meet` | both ends, the smaller heap first | cost, hops, key bytes | nothing better works |
| `exact` | the destination, labels (node, hops) | fee, hops, key bytes | it works |

The source of a cycle is left and entered, never crossed: it is banned in between.
Source: PROTOCOL.md, "Index servers: routes".
"""

from collections.abc import Iterator, Mapping
from heapq import heappop, heappush
from typing import Final, TypeAlias

from offset_engine.core.route_terms import BLOCKED, PPM, Ask, Flow, Hop, Keys
from offset_engine.core.values import PublicKey

Report: TypeAlias = tuple[int, int, int]
"""Receive capacity in credits, rate mul, rate add."""

_HOP_BITS: Final = 20
"""A cost is `millionths of credits << 20 | hops`; no graph this engine holds has a million nodes."""
_CREDIT: Final = PPM << _HOP_BITS
_CLOSED: Final = -1
"""The label of a node that must not be visited: nothing improves it."""
_UNDONE: Final = (BLOCKED, -1, 0)
"""Instead of the report of a hop on which an earlier part is undone."""
_HOP_MASK: Final = (1 << _HOP_BITS) - 1
_GOAL: Final = PublicKey(b"")
"""Stands for the source when a search from the destination arrives there; smaller than every key."""


class GraphNode:
    """One node of one currency; an edge is in `into` and `out` iff both ends report it."""

    __slots__ = ("into", "key", "out", "waiting")

    def __init__(self, key: PublicKey) -> None:
        self.key = key
        self.into: dict[PublicKey, Report] = {}
        """Own reports about friends who report back."""
        self.out: dict[PublicKey, Report] = {}
        """Those friends' reports about this node."""
        self.waiting: dict[PublicKey, Report] = {}
        """Own reports about friends who do not report back."""


class _Side:
    """One of the two searches that meet: labels, parents and the queue."""

    __slots__ = ("dist", "heap", "parent")

    def __init__(self, start: PublicKey) -> None:
        self.dist: dict[PublicKey, int] = {start: 0}
        self.parent: dict[PublicKey, PublicKey] = {}
        self.heap: list[tuple[int, PublicKey]] = [(0, start)]

    def path(self, node: PublicKey) -> list[PublicKey]:
        """From `node` (inclusive) to where this side started."""
        keys = [node]
        while keys[-1] in self.parent:
            keys.append(self.parent[keys[-1]])
        return keys


class _Meeting:
    """Two searches that grow towards each other; what does not change between their steps is kept here."""

    __slots__ = (
        "_amount",
        "_ask",
        "_flow",
        "_hop",
        "_load",
        "_nodes",
        "_taken",
        "back",
        "front",
        "hop_min",
        "met",
    )

    def __init__(self, nodes: Mapping[PublicKey, GraphNode], ask: Ask, flow: Flow) -> None:
        self._nodes = nodes
        self._ask = ask
        self._flow = flow
        self._amount = ask.amount
        weight = ask.amount * ask.weights.hop_ppm
        self._hop = (weight << _HOP_BITS) + 1
        self.hop_min = 1 if flow.cancel else self._hop
        self._load = weight * ask.weights.load * ask.amount
        self._taken = frozenset(
            key for arcs in (flow.reserved, flow.cancel) for arc in arcs for key in arc
        )
        self.front, self.back = _Side(ask.source), _Side(ask.dest)
        self.met: tuple[int, PublicKey] | None = None
        """The best meeting that the last step found."""

    def grow(self, below: int, *, is_front: bool) -> int:  # noqa: C901, PLR0912  a call per edge would double its cost
        """Settle one side's nearest node; labels stay `below`. Returns the number of edges looked at.

        A label the other side does not know yet has to leave room for one more hop. Nobody knows all fees
        downstream, so room is asked for the amount and the hop's own fee only.
        """
        self.met = None
        near, far = (self.front, self.back) if is_front else (self.back, self.front)
        cost, key = heappop(near.heap)
        dist, parent, heap, met = near.dist, near.parent, near.heap, far.dist
        if cost > dist[key]:
            return 0
        amount, load, base = self._amount, self._load, cost + self._hop
        below_alone = below - self.hop_min
        dest = self._ask.dest
        free_end = dest if is_front or key != dest else None
        node = self._nodes[key]
        friends = node.out if is_front else node.into
        if key in self._taken:
            friends = self._left(key, friends, is_front=is_front)
        for friend, (capacity, mul, add) in friends.items():
            if capacity < amount:
                continue
            label = base
            if mul < 0:
                label = cost + 1
            elif (mul or add) and free_end is not None and friend != free_end:
                fee = (amount * mul >> 32) + add
                if capacity < amount + fee:
                    continue
                label += fee * _CREDIT
            if load:
                label += load // capacity << _HOP_BITS
            if label >= below_alone and (label >= below or friend not in met):
                continue
            old = dist.get(friend)
            if old is None or label < old:
                dist[friend] = label
                parent[friend] = key
                heappush(heap, (label, friend))
                if friend in met:
                    found = (label + met[friend], friend)
                    if self.met is None or found < self.met:
                        self.met = found
            elif label == old and friend in parent and key < parent[friend]:
                parent[friend] = key
        return len(friends)

    def _left(
        self, key: PublicKey, friends: Mapping[PublicKey, Report], *, is_front: bool
    ) -> dict[PublicKey, Report]:
        """What earlier parts leave of a node's hops."""
        reserved, cancel, amount = self._flow.reserved, self._flow.cancel, self._amount
        left: dict[PublicKey, Report] = {}
        for friend, report in friends.items():
            arc = (key, friend) if is_front else (friend, key)
            if cancel.get(arc, 0) >= amount:
                left[friend] = _UNDONE
            else:
                left[friend] = (report[0] - reserved.get(arc, 0), report[1], report[2])
        return left


class PureTerrain:
    """The hops of one currency as one query may use them; see `route_terms.Terrain`."""

    def __init__(
        self, nodes: Mapping[PublicKey, GraphNode], excluded: tuple[PublicKey, ...]
    ) -> None:
        """Look at `nodes`, of which the `excluded` are not there."""
        self._nodes = nodes
        self._banned = frozenset(excluded)
        self._scanned = 0

    @property
    def scanned(self) -> int:
        """Edges looked at so far, by all searches."""
        return self._scanned

    def hop(self, sender: PublicKey, receiver: PublicKey) -> Hop | None:
        """The exact report, or None."""
        node = self._nodes.get(receiver)
        report = node.into.get(sender) if node else None
        if report is None or sender in self._banned or receiver in self._banned:
            return None
        return Hop(*report)

    def leaving(self, node: PublicKey) -> Iterator[tuple[PublicKey, Hop]]:
        """The hops out of a node, each with its receiver."""
        found = self._nodes.get(node)
        return self._hops(node, found.out if found else {})

    def entering(self, node: PublicKey) -> Iterator[tuple[PublicKey, Hop]]:
        """The hops into a node, each with its sender."""
        found = self._nodes.get(node)
        return self._hops(node, found.into if found else {})

    def _hops(
        self, node: PublicKey, friends: Mapping[PublicKey, Report]
    ) -> Iterator[tuple[PublicKey, Hop]]:
        self._scanned += len(friends)
        if node in self._banned:
            return
        for friend, report in friends.items():
            if friend not in self._banned:
                yield friend, Hop(*report)

    # --- the search from both ends ---

    def meet(self, ask: Ask, flow: Flow) -> Keys | None:
        """The best route of which every hop has room for the amount and its own fee."""
        if not self._has_ends(ask):
            return None
        search = _Meeting(self._nodes, ask, flow)
        best, meeting = 1 << 512, None
        front, back = search.front, search.back
        if ask.source == ask.dest:
            # One node with two roles: its hops are looked at before anything can meet, then it is closed.
            self._scanned += search.grow(best, is_front=True) + search.grow(best, is_front=False)
            front.dist[ask.source] = back.dist[ask.source] = _CLOSED
        front.dist.update(dict.fromkeys(self._banned, _CLOSED))
        back.dist.update(dict.fromkeys(self._banned, _CLOSED))
        while front.heap and back.heap and self._scanned < ask.scanned_max:
            front_top, back_top = front.heap[0][0], back.heap[0][0]
            # Between a node that this side has reached and the other side's nearest there is one more hop.
            if front_top + back_top + search.hop_min >= best:
                break
            is_front = len(front.heap) < len(back.heap)
            below = best - (back_top if is_front else front_top)
            self._scanned += search.grow(below, is_front=is_front)
            if search.met is not None and (meeting is None or search.met < (best, meeting)):
                best, meeting = search.met
        if meeting is None:
            return None
        return tuple(front.path(meeting)[::-1] + back.path(meeting)[1:])

    def _has_ends(self, ask: Ask) -> bool:
        ends = (ask.source, ask.dest)
        return all(end in self._nodes and end not in self._banned for end in ends)

    # --- searches from the destination ---

    def exact(self, ask: Ask, flow: Flow) -> Keys | None:
        """The route of the smallest (fee, hops) that works, within the limits on fee and keys."""
        if not self._has_ends(ask):
            return None
        amount, hops_max = ask.amount, ask.max_keys - 1
        settled: list[tuple[PublicKey, int]] = []
        fewest: dict[PublicKey, int] = {}
        heap: list[tuple[int, PublicKey, int]] = [(0, ask.dest, -1)]
        while heap and self._scanned < ask.scanned_max:
            cost, key, parent = heappop(heap)
            if key == _GOAL:
                return (ask.source, *_trace(settled, parent))
            hops = cost & _HOP_MASK
            if hops >= hops_max or fewest.get(key, hops_max) <= hops:
                continue
            fewest[key] = hops
            settled.append((key, parent))
            is_free = key == ask.dest
            base = amount + (cost >> _HOP_BITS)
            friends = self._nodes[key].into
            self._scanned += len(friends)
            for friend, report in friends.items():
                fee = 0 if is_free else (amount * report[1] >> 32) + report[2]
                load = base + fee
                if load > amount + ask.max_fee or friend in self._banned:
                    continue
                if report[0] - flow.reserved.get((friend, key), 0) < load:
                    continue
                label = cost + (fee << _HOP_BITS) + 1
                if friend == ask.source:
                    heappush(heap, (label, _GOAL, len(settled) - 1))
                elif fewest.get(friend, hops_max) > hops + 1:
                    heappush(heap, (label, friend, len(settled) - 1))
        return None


def _trace(settled: list[tuple[PublicKey, int]], index: int) -> Keys:
    """The keys from a settled label to the destination."""
    keys = []
    while index >= 0:
        key, index = settled[index]
        keys.append(key)
    return tuple(keys)
