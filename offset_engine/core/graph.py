"""Who can pay whom: the capacity graph of every currency, and the search for routes in it.

A node reports, for each friend, what it can *receive* from that friend and what it charges for
forwarding what arrives from there. So everything about the hop `u → v` is in `v`'s report about `u`:

| | |
|---|---|
| the hop exists | `u` and `v` report each other in this currency |
| capacity | `v`'s reported `recv_capacity` about `u` |
| fee | `v`'s reported rate about `u`, on the amount that reaches the seller; the seller takes nothing |
| load | amount + the fees of `v` and of everybody after it |

Fees are sums over hops and only the seller's side knows what is still to be paid downstream, hence:

1. two Dijkstra searches, one from each end, that meet in the middle (the buyer's side does not know
   the fees downstream yet and only asks for amount + own fee);
2. an exact check of the winner. It nearly always holds, and then nothing cheaper exists;
3. otherwise an exact search from the seller alone, on labels (node, hops) so that a cheap long way
   cannot hide a short one from the limit on keys.

Costs are compared as (fee, hops) packed into one integer; what is still equal is decided by key bytes,
never by the order in which reports came. Amounts that no single route carries are split greedily with
the load of earlier parts reserved, which is no optimum: the exact problem is NP-hard.

The index server owns one `Graph`; every method is O(1) per edge but `route`, which has a work budget.
Source: PROTOCOL.md, "Index servers: routes".
"""

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import pairwise
from math import isqrt
from typing import Final, TypeAlias

from offset_engine.core.messages import Edge, Mutation, Part
from offset_engine.core.values import ROUTE_KEYS_MAX, Currency, PublicKey, value

_Report: TypeAlias = tuple[int, int, int]
"""Receive capacity in credits, rate mul, rate add."""
_Keys: TypeAlias = tuple[PublicKey, ...]

_HOP_BITS: Final = 20
"""A cost is `fee << 20 | hops`; no graph this engine holds has a million nodes."""
_BLOCKED: Final = 1 << 256
"""Reserved on an edge nobody may use."""
_REFINE_MAX: Final = 8
"""Searches that narrow down the largest amount one route can carry."""
SCANNED_EDGES_MAX: Final = 200_000
"""Default work budget of one query, in scanned edges; about 0.2 s, and 100 times what most queries need."""


@value
class RouteQuery:
    """How can `source` pay `amount` credits to `dest`?"""

    currency: Currency
    source: PublicKey
    dest: PublicKey
    amount: int
    max_fee: int
    max_parts: int = 1
    max_keys: int = ROUTE_KEYS_MAX
    first_friend: PublicKey | None = None
    last_friend: PublicKey | None = None
    exclude_edges: tuple[tuple[PublicKey, PublicKey], ...] = ()
    """Directed: the opposite direction stays usable."""
    exclude_nodes: tuple[PublicKey, ...] = ()
    scanned_max: int = SCANNED_EDGES_MAX


@value
class RouteResult:
    """The answer: `reachable` is the sum of the parts, at most the amount asked for; 0 if none."""

    reachable: int
    parts: tuple[Part, ...]
    scanned: int
    """Edges looked at: what the answer cost."""


class _Node:
    """One node of one currency; an edge is in `into` and `out` iff both ends report it."""

    __slots__ = ("into", "key", "out", "waiting")

    def __init__(self, key: PublicKey) -> None:
        self.key = key
        self.into: dict[PublicKey, _Report] = {}
        """Own reports about friends who report back."""
        self.out: dict[PublicKey, _Report] = {}
        """Those friends' reports about this node."""
        self.waiting: dict[PublicKey, _Report] = {}
        """Own reports about friends who do not report back."""


class _CurrencyGraph:
    __slots__ = ("nodes",)

    def __init__(self) -> None:
        self.nodes: dict[PublicKey, _Node] = {}

    def put(self, key: PublicKey, friend: PublicKey, report: _Report) -> bool:
        """Store what `key` says about `friend`; true if that is a new report."""
        node = self.nodes.get(key)
        if node is None:
            node = self.nodes[key] = _Node(key)
        other = self.nodes.get(friend)
        if other is None:
            is_new = friend not in node.waiting
            node.waiting[friend] = report
            return is_new
        if friend in node.into:
            node.into[friend] = other.out[key] = report
            return False
        if key in other.waiting:
            theirs = other.waiting.pop(key)
            other.into[node.key] = node.out[other.key] = theirs
            node.into[other.key] = other.out[node.key] = report
            return True
        is_new = friend not in node.waiting
        node.waiting[other.key] = report
        return is_new

    def drop(self, key: PublicKey, friend: PublicKey) -> bool:
        """Forget what `key` says about `friend`; false if it said nothing."""
        node = self.nodes.get(key)
        if node is None:
            return False
        if friend in node.into:
            other = self.nodes[friend]
            del node.into[friend], node.out[friend], other.out[key]
            other.waiting[key] = other.into.pop(key)
        elif node.waiting.pop(friend, None) is None:
            return False
        if not node.into and not node.waiting:
            del self.nodes[key]
        return True


class Graph:
    """All currencies' graphs of one index server, and the routes through them."""

    def __init__(self) -> None:
        self._currencies: dict[Currency, _CurrencyGraph] = {}
        self._reports: dict[PublicKey, dict[Currency, int]] = {}
        """Per node and currency, how many edges it reports; never 0."""
        self._edge_count = 0

    @property
    def node_count(self) -> int:
        """Nodes with at least one reported edge."""
        return len(self._reports)

    @property
    def edge_count(self) -> int:
        """Reported edges of all currencies, mutual or not."""
        return self._edge_count

    @property
    def currency_count(self) -> int:
        """Currencies with at least one reported edge."""
        return len(self._currencies)

    def has_currency(self, currency: Currency) -> bool:
        """Whether anybody reports an edge in this currency."""
        return currency in self._currencies

    def edges_of(self, node: PublicKey) -> int:
        """How many edges this node reports, in all currencies."""
        return sum(self._reports.get(node, {}).values())

    def reports(self, node: PublicKey, friend: PublicKey, currency: Currency) -> bool:
        """Whether `node` reports an edge from `friend`."""
        graph = self._currencies.get(currency)
        mine = graph.nodes.get(node) if graph else None
        return mine is not None and (friend in mine.into or friend in mine.waiting)

    def currencies_of(self, node: PublicKey) -> tuple[Currency, ...]:
        """In which currencies `node` reports something."""
        return tuple(self._reports.get(node, ()))

    def is_reachable(self, node: PublicKey, currency: Currency) -> bool:
        """Whether some edge into `node` is reported by both its ends."""
        graph = self._currencies.get(currency)
        mine = graph.nodes.get(node) if graph else None
        return mine is not None and bool(mine.into)

    def replace_node(self, node: PublicKey, edges: Iterable[Edge]) -> None:
        """Make `edges` all that `node` reports."""
        wanted = {(edge.currency, edge.friend): edge for edge in edges}
        for currency in tuple(self._reports.get(node, ())):
            mine = self._currencies[currency].nodes[node]
            for friend in (*mine.into, *mine.waiting):
                if (currency, friend) not in wanted:
                    self._drop(node, friend, currency)
        for edge in wanted.values():
            self._put(node, edge)

    def apply(self, node: PublicKey, mutations: Iterable[Mutation]) -> None:
        """Change what `node` reports; removing what is not there does nothing."""
        for mutation in mutations:
            if isinstance(mutation, Edge):
                self._put(node, mutation)
            else:
                self._drop(node, mutation.friend, mutation.currency)

    def remove_node(self, node: PublicKey) -> None:
        """Forget everything `node` reports, and nothing else."""
        self.replace_node(node, ())

    def _put(self, node: PublicKey, edge: Edge) -> None:
        graph = self._currencies.get(edge.currency)
        if graph is None:
            graph = self._currencies[edge.currency] = _CurrencyGraph()
        report = (edge.recv_capacity, edge.rate.mul, edge.rate.add)
        if graph.put(node, edge.friend, report):
            counts = self._reports.setdefault(node, {})
            counts[edge.currency] = counts.get(edge.currency, 0) + 1
            self._edge_count += 1

    def _drop(self, node: PublicKey, friend: PublicKey, currency: Currency) -> None:
        graph = self._currencies.get(currency)
        if graph is None or not graph.drop(node, friend):
            return
        self._edge_count -= 1
        counts = self._reports[node]
        counts[currency] -= 1
        if not counts[currency]:
            del counts[currency]
        if not counts:
            del self._reports[node]
        if not graph.nodes:
            del self._currencies[currency]

    def route(self, query: RouteQuery) -> RouteResult:
        """Find the cheapest single route; else a split; else whatever smaller amount can be paid.

        Never raises for any query. A query that runs out of its budget answers with what it has.
        """
        graph = self._currencies.get(query.currency)
        if graph is None or query.amount < 1 or query.source == query.dest:
            return RouteResult(0, (), 0)
        ends = (query.source, query.dest)
        if any(end not in graph.nodes or end in query.exclude_nodes for end in ends):
            return RouteResult(0, (), 0)
        return _Search(graph.nodes, query).run()


class _Side:
    """One of the two searches that meet: labels, parents and the queue."""

    __slots__ = ("dist", "heap", "parent")

    def __init__(self, start: PublicKey) -> None:
        self.dist: dict[PublicKey, int] = {start: 0}
        self.parent: dict[PublicKey, PublicKey] = {}
        self.heap: list[tuple[int, PublicKey]] = [(0, start)]

    def label(self, node: PublicKey, parent: PublicKey, cost: int) -> bool:
        """Offer a label; true if it was better than the one there was."""
        old = self.dist.get(node)
        if old is None or cost < old:
            self.dist[node] = cost
            self.parent[node] = parent
            heappush(self.heap, (cost, node))
            return True
        if cost == old and node in self.parent and parent < self.parent[node]:
            self.parent[node] = parent
        return False

    def path(self, node: PublicKey) -> list[PublicKey]:
        """From `node` (inclusive) to where this side started."""
        keys = [node]
        while keys[-1] in self.parent:
            keys.append(self.parent[keys[-1]])
        return keys


class _Search:
    """The work of one query. Only `_reserved` and `scanned` change between its searches."""

    def __init__(self, nodes: dict[PublicKey, _Node], query: RouteQuery) -> None:
        self._nodes = nodes
        self._query = query
        self._banned = frozenset(query.exclude_nodes)
        self._reserved: dict[tuple[PublicKey, PublicKey], int] = dict.fromkeys(
            query.exclude_edges, _BLOCKED
        )
        source, dest = nodes[query.source], nodes[query.dest]
        if query.first_friend is not None:
            others = (key for key in source.out if key != query.first_friend)
            self._reserved |= {(source.key, key): _BLOCKED for key in others}
        if query.last_friend is not None:
            others = (key for key in dest.into if key != query.last_friend)
            self._reserved |= {(key, dest.key): _BLOCKED for key in others}
        self.scanned = 0

    def run(self) -> RouteResult:
        """One route if possible, else several, else less."""
        query = self._query
        limit = min(query.amount, self._ends_limit())
        if limit == query.amount:
            keys = self._cheapest(limit, query.max_fee)
            if keys is not None:
                return self._result([(keys, limit)])
        parts = self._split(limit) if query.max_parts > 1 else []
        if sum(amount for _, amount in parts) < query.amount:
            single = self._largest(limit)
            if single and single[1] >= sum(amount for _, amount in parts):
                parts = [single]
        return self._result(parts)

    def _result(self, parts: list[tuple[_Keys, int]]) -> RouteResult:
        for keys, amount in parts:
            self._reserve(keys, amount, 1)
        answer = []
        for keys, amount in parts:
            self._reserve(keys, amount, -1)
            room = max(amount, self._room(keys, _BLOCKED))
            answer.append(Part(keys, amount, self._fee(keys, amount), room))
            self._reserve(keys, amount, 1)
        for keys, amount in parts:
            self._reserve(keys, amount, -1)
        return RouteResult(sum(part.amount for part in answer), tuple(answer), self.scanned)

    # --- what one route carries ---

    def _ends_limit(self) -> int:
        """What leaves the source and enters the destination at the very most."""
        source, dest = self._nodes[self._query.source], self._nodes[self._query.dest]
        self.scanned += len(source.out) + len(dest.into)
        return min(
            sum(self._free((source.key, key), report) for key, report in source.out.items()),
            sum(self._free((key, dest.key), report) for key, report in dest.into.items()),
        )

    def _ends_width(self) -> int:
        """The most that a single route can carry out of the source and into the destination."""
        source, dest = self._nodes[self._query.source], self._nodes[self._query.dest]
        leaves = (self._free((source.key, key), report) for key, report in source.out.items())
        enters = (self._free((key, dest.key), report) for key, report in dest.into.items())
        return min(max(leaves, default=0), max(enters, default=0))

    def _free(self, edge: tuple[PublicKey, PublicKey], report: _Report) -> int:
        return max(0, report[0] - self._reserved.get(edge, 0))

    def _hops(self, keys: _Keys) -> list[tuple[tuple[PublicKey, PublicKey], _Report]]:
        """The route's edges from the destination back, with no charge for the destination."""
        hops = [((u, v), self._nodes[v].into[u]) for u, v in pairwise(keys)]
        edge, report = hops[-1]
        hops[-1] = (edge, (report[0], 0, 0))
        return hops[::-1]

    def _fee(self, keys: _Keys, amount: int) -> int:
        return sum((amount * mul >> 32) + add for _, (_, mul, add) in self._hops(keys))

    def _carries(self, keys: _Keys, amount: int, max_fee: int) -> bool:
        fee = 0
        for edge, report in self._hops(keys):
            fee += (amount * report[1] >> 32) + report[2]
            if self._free(edge, report) < amount + fee:
                return False
        return fee <= max_fee

    def _room(self, keys: _Keys, max_fee: int) -> int:
        """The largest amount the route carries (to within the rounding of fees if fees limit it)."""
        mul_sum = add_sum = 0
        room = _BLOCKED
        for edge, report in self._hops(keys):
            mul_sum += report[1]
            add_sum += report[2]
            free = self._free(edge, report) - add_sum
            room = min(room, max(0, free << 32) // ((1 << 32) + mul_sum))
        if mul_sum:
            room = min(room, max(0, (max_fee - add_sum) << 32) // mul_sum)
        for (
            _
        ) in keys:  # each mediator's fee is rounded down on its own, which the sum above ignores
            if not self._carries(keys, room + 1, max_fee):
                break
            room += 1
        return room if self._carries(keys, room, max_fee) else 0

    def _reserve(self, keys: _Keys, amount: int, sign: int) -> None:
        fee = 0
        for edge, (_, mul, add) in self._hops(keys):
            fee += (amount * mul >> 32) + add
            self._reserved[edge] = self._reserved.get(edge, 0) + sign * (amount + fee)

    # --- several routes, or less than asked ---

    def _split(self, amount: int) -> list[tuple[_Keys, int]]:
        """Greedy: each round the cheapest route that carries its share of the rest, filled up."""
        query = self._query
        parts: list[tuple[_Keys, int]] = []
        rest, fee_left, share = amount, query.max_fee, amount
        while rest and len(parts) < query.max_parts:
            share = min(share, -(-rest // (query.max_parts - len(parts))))
            keys = self._cheapest(share, fee_left)
            if keys is None or any(keys == used for used, _ in parts):
                share //= 2
                if not share or self.scanned >= query.scanned_max:
                    break
                continue
            part = min(rest, max(share, self._room(keys, fee_left)))
            self._reserve(keys, part, 1)
            parts.append((keys, part))
            rest -= part
            fee_left -= self._fee(keys, part)
        for keys, part in parts:
            self._reserve(keys, part, -1)
        return parts

    def _largest(self, limit: int) -> tuple[_Keys, int] | None:
        """One route for as much of `limit` as one route can carry."""
        query = self._query
        high = min(limit, self._ends_width())
        # In a well connected graph only the ends are narrow: first ask for nearly all they let through.
        best = self._cheapest(high - (high >> 6), query.max_fee) if high else None
        low = min(high, self._room(best, query.max_fee)) if best else 0
        if low < high:
            width, widest = self._widest()
            high = min(high, width)
            room = self._room(widest, query.max_fee) if widest else 0
            if widest and len(widest) <= query.max_keys and room > low:
                low, best = min(high, room), widest
        for _ in range(_REFINE_MAX):
            if low >= high or self.scanned >= query.scanned_max:
                break
            # Far apart: halve the number of digits; near: halve the distance.
            middle = isqrt(max(low, 1) * high) if high > 4 * low else (low + high + 1) // 2
            found = self._cheapest(middle, query.max_fee)
            if found is None:
                high = middle - 1
            else:
                low, best = min(high, max(middle, self._room(found, query.max_fee))), found
        if not low or best is None:
            return None
        return self._cheapest(low, query.max_fee) or best, low

    # --- searches ---

    def _cheapest(self, amount: int, max_fee: int) -> _Keys | None:
        """The keys of the cheapest route that carries exactly this amount within the fee."""
        if max_fee < 0:
            return None
        keys = self._meet(amount, max_fee)
        if keys is None:
            return None
        if len(keys) <= self._query.max_keys and self._carries(keys, amount, max_fee):
            return keys
        return self._exact(amount, max_fee)

    def _meet(self, amount: int, max_fee: int) -> _Keys | None:
        """Search from both ends; the result is a lower bound that may still fail the exact check."""
        front, back = _Side(self._query.source), _Side(self._query.dest)
        worst = ((max_fee + 1) << _HOP_BITS) - 1
        best, meeting = worst + 1, None
        while front.heap and back.heap and self.scanned < self._query.scanned_max:
            front_top, back_top = front.heap[0][0], back.heap[0][0]
            if front_top + back_top >= best:
                break
            if len(front.heap) < len(back.heap):
                found = self._grow_front(amount, best - back_top, front, back)
            else:
                found = self._grow_back(amount, best - front_top, back, front)
            if found is not None and (meeting is None or found < (best, meeting)):
                best, meeting = found
        if meeting is None:
            return None
        return tuple(front.path(meeting)[::-1] + back.path(meeting)[1:])

    def _grow_back(
        self, amount: int, below: int, near: _Side, far: _Side
    ) -> tuple[int, PublicKey] | None:
        """Settle the seller side's nearest node; labels must stay `below`. Returns the best meeting."""
        cost, key = heappop(near.heap)
        if cost > near.dist[key]:
            return None
        base = amount + (cost >> _HOP_BITS)
        is_free = key == self._query.dest
        banned, reserved, met = self._banned, self._reserved, far.dist
        best: tuple[int, PublicKey] | None = None
        friends = self._nodes[key].into
        self.scanned += len(friends)
        for friend, (capacity, mul, add) in friends.items():
            fee = 0 if is_free else (amount * mul >> 32) + add
            label = cost + (fee << _HOP_BITS) + 1
            if capacity < base + fee or label >= below or friend in banned:
                continue
            if reserved and capacity - reserved.get((friend, key), 0) < base + fee:
                continue
            if near.label(friend, key, label) and friend in met:
                found = (label + met[friend], friend)
                best = found if best is None else min(best, found)
        return best

    def _grow_front(
        self, amount: int, below: int, near: _Side, far: _Side
    ) -> tuple[int, PublicKey] | None:
        """Settle the buyer side's nearest node, without knowing the fees downstream of it."""
        cost, key = heappop(near.heap)
        if cost > near.dist[key]:
            return None
        dest = self._query.dest
        banned, reserved, met = self._banned, self._reserved, far.dist
        best: tuple[int, PublicKey] | None = None
        friends = self._nodes[key].out
        self.scanned += len(friends)
        for friend, (capacity, mul, add) in friends.items():
            fee = 0 if friend == dest else (amount * mul >> 32) + add
            label = cost + (fee << _HOP_BITS) + 1
            if capacity < amount + fee or label >= below or friend in banned:
                continue
            if reserved and capacity - reserved.get((key, friend), 0) < amount + fee:
                continue
            if near.label(friend, key, label) and friend in met:
                found = (label + met[friend], friend)
                best = found if best is None else min(best, found)
        return best

    def _exact(self, amount: int, max_fee: int) -> _Keys | None:
        """Search from the seller with exact loads and the limit on keys, on labels (node, hops)."""
        query = self._query
        hop_mask = (1 << _HOP_BITS) - 1
        settled: list[tuple[PublicKey, int]] = []
        fewest: dict[PublicKey, int] = {}
        heap: list[tuple[int, PublicKey, int]] = [(0, query.dest, -1)]
        while heap and self.scanned < query.scanned_max:
            cost, key, parent = heappop(heap)
            hops = cost & hop_mask
            if fewest.get(key, query.max_keys) <= hops:
                continue
            fewest[key] = hops
            settled.append((key, parent))
            if key == query.source:
                return _trace(settled)
            friends = self._nodes[key].into
            self.scanned += len(friends)
            base = amount + (cost >> _HOP_BITS)
            for friend, report in friends.items():
                fee = 0 if key == query.dest else (amount * report[1] >> 32) + report[2]
                if friend in self._banned or base + fee > amount + max_fee:
                    continue
                if self._free((friend, key), report) < base + fee:
                    continue
                if fewest.get(friend, query.max_keys) > hops + 1:
                    label = cost + (fee << _HOP_BITS) + 1
                    heappush(heap, (label, friend, len(settled) - 1))
        return None

    def _widest(self) -> tuple[int, _Keys | None]:
        """The most one route carries if nobody charged fees, and such a route with few hops."""
        query = self._query
        parents: dict[PublicKey, PublicKey] = {}
        heap = [(-_BLOCKED, 0, query.dest, query.dest)]
        while heap and self.scanned < query.scanned_max:
            width, hops, key, parent = heappop(heap)
            if key in parents:
                continue
            parents[key] = parent
            if key == query.source:
                keys = [key]
                while keys[-1] != query.dest:
                    keys.append(parents[keys[-1]])
                return -width, tuple(keys)
            friends = self._nodes[key].into
            self.scanned += len(friends)
            for friend, report in friends.items():
                free = self._free((friend, key), report)
                if free and friend not in parents and friend not in self._banned:
                    heappush(heap, (max(width, -free), hops + 1, friend, key))
        return (0 if not heap else _BLOCKED), None


def _trace(settled: list[tuple[PublicKey, int]]) -> _Keys:
    """The route that ends in the last settled label, from the source to the destination."""
    keys = []
    index = len(settled) - 1
    while index >= 0:
        key, index = settled[index]
        keys.append(key)
    return tuple(keys)
