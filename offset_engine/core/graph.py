"""Who can pay whom: the capacity graph of every currency, and the search for routes in it.

A node reports, for each friend, what it can *receive* from that friend and what it charges for
forwarding what arrives from there. So everything about the hop `u → v` is in `v`'s report about `u`:

| | |
|---|---|
| the hop exists | `u` and `v` report each other in this currency |
| capacity | `v`'s reported `recv_capacity` about `u` |
| fee | `v`'s reported rate about `u`, on the amount that reaches the seller; the seller takes nothing |
| load | amount + the fees of `v` and of everybody after it |

The index server owns one `Graph`; every method is O(1) per edge but `route`, which has a work budget.
Source: PROTOCOL.md, "Index servers: routes".
"""

from collections.abc import Iterable

from offset_engine.core.graph_terrain import GraphNode, PureTerrain, Report
from offset_engine.core.messages import Edge, Mutation
from offset_engine.core.route_planning import plan
from offset_engine.core.route_terms import RouteQuery, RouteResult
from offset_engine.core.values import Currency, PublicKey


class _CurrencyGraph:
    __slots__ = ("nodes",)

    def __init__(self) -> None:
        self.nodes: dict[PublicKey, GraphNode] = {}

    def put(self, key: PublicKey, friend: PublicKey, report: Report) -> bool:
        """Store what `key` says about `friend`; true if that is a new report."""
        node = self.nodes.get(key)
        if node is None:
            node = self.nodes[key] = GraphNode(key)
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
        """Answer a question; never raises for any query. Who runs out of budget gets what was found."""
        graph = self._currencies.get(query.currency)
        if graph is None:
            return RouteResult(0, (), 0)
        return plan(PureTerrain(graph.nodes, query.exclude_nodes), query)
