"""The array engine: all currencies of one index server; answers as `core.graph.Graph` does, sooner.

One thread changes it. Any number of threads may ask for routes at the same time: they run without the
interpreter's lock while they search, and changes do not wait for them.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from offset_engine.core.messages import Edge, Mutation
from offset_engine.core.route_planning import plan
from offset_engine.core.route_terms import (
    FEE_ONLY,
    SCANNED_EDGES_MAX,
    Ask,
    Flow,
    RouteQuery,
    RouteResult,
)
from offset_engine.core.values import CREDITS_MAX, Currency, PublicKey, Rate
from offset_engine.graph_array.layout import Ids, View, Words
from offset_engine.graph_array.pool import SlotPool
from offset_engine.graph_array.terrain import ArrayTerrain
from offset_engine.graph_array.workspace import Workspace


class ArrayGraph:
    """All currencies' graphs of one index server, and the routes through them; see `GraphEngine`."""

    def __init__(self) -> None:
        """Start empty."""
        self._pools: dict[Currency, SlotPool] = {}
        self._currencies: dict[PublicKey, tuple[Currency, ...]] = {}
        """In which currencies a node reports something; equal tuples are one object."""
        self._tuples: dict[tuple[Currency, ...], tuple[Currency, ...]] = {}
        self._edge_count = 0
        self._workspaces: list[Workspace] = []
        """Those nobody uses now; as many as threads ever searched at the same time."""

    @property
    def node_count(self) -> int:
        """Nodes with at least one reported edge."""
        return len(self._currencies)

    @property
    def edge_count(self) -> int:
        """Reported edges of all currencies, mutual or not."""
        return self._edge_count

    @property
    def currency_count(self) -> int:
        """Currencies with at least one reported edge."""
        return len(self._pools)

    @property
    def hot_bytes(self) -> int:
        """Bytes of the arrays that searches read, spare room included."""
        return sum(pool.hot_bytes for pool in self._pools.values())

    def view(self, currency: Currency) -> View:
        """The arrays of a currency, for measurements.

        Raises:
            KeyError: nobody reports in this currency.
        """
        return self._pools[currency].view

    def has_currency(self, currency: Currency) -> bool:
        """Whether anybody reports an edge in this currency."""
        return currency in self._pools

    def edges_of(self, node: PublicKey) -> int:
        """How many edges this node reports, in all currencies."""
        return sum(self._pools[one].reports_of(node) for one in self._currencies.get(node, ()))

    def reports(self, node: PublicKey, friend: PublicKey, currency: Currency) -> bool:
        """Whether `node` reports an edge from `friend`."""
        pool = self._pools.get(currency)
        return pool is not None and pool.reports(node, friend)

    def currencies_of(self, node: PublicKey) -> tuple[Currency, ...]:
        """In which currencies `node` reports something."""
        return self._currencies.get(node, ())

    def is_reachable(self, node: PublicKey, currency: Currency) -> bool:
        """Whether some edge into `node` is reported by both its ends."""
        pool = self._pools.get(currency)
        return pool is not None and pool.is_linked(node)

    # --- changes ---

    def replace_node(self, node: PublicKey, edges: Iterable[Edge]) -> None:
        """Make `edges` all that `node` reports."""
        wanted = {(edge.currency, edge.friend): edge for edge in edges}
        for currency in self._currencies.get(node, ()):
            for friend in self._pools[currency].reported_by(node):
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

    def load(
        self, currency: Currency, keys: Sequence[PublicKey], pairs: Ids, reports: Words
    ) -> None:
        """Fill a currency nobody has reported in; see `SlotPool.load`.

        Raises:
            ValueError: somebody has, or a node has no friends.
        """
        if currency in self._pools:
            raise ValueError(f"there are already reports in {currency}")
        pool = self._pools[currency] = SlotPool()
        pool.load(keys, pairs, reports)
        self._edge_count += 2 * pool.link_count
        for key in keys:
            self._set_currencies(key, (*self._currencies.get(key, ()), currency))

    def _put(self, node: PublicKey, edge: Edge) -> None:
        pool = self._pools.get(edge.currency)
        if pool is None:
            pool = self._pools[edge.currency] = SlotPool()
        rate = edge.rate
        if pool.put(node, edge.friend, (edge.recv_capacity, rate.mul, rate.add)):
            self._edge_count += 1
            known = self._currencies.get(node, ())
            if edge.currency not in known:
                self._set_currencies(node, (*known, edge.currency))

    def _drop(self, node: PublicKey, friend: PublicKey, currency: Currency) -> None:
        pool = self._pools.get(currency)
        if pool is None or not pool.drop(node, friend):
            return
        self._edge_count -= 1
        if not pool.reports_of(node):
            known = self._currencies[node]
            self._set_currencies(node, tuple(one for one in known if one != currency))
        if pool.is_empty:
            del self._pools[currency]

    def _set_currencies(self, node: PublicKey, currencies: tuple[Currency, ...]) -> None:
        if currencies:
            self._currencies[node] = self._tuples.setdefault(currencies, currencies)
        else:
            del self._currencies[node]
        if not self._currencies:
            self._tuples.clear()

    # --- questions ---

    def route(self, query: RouteQuery) -> RouteResult:
        """Answer a question; never raises for any query. Who runs out of budget gets what was found."""
        pool = self._pools.get(query.currency)
        if pool is None:
            return RouteResult(0, (), 0)
        try:
            workspace = self._workspaces.pop()
        except IndexError:
            workspace = Workspace()
        number = pool.retired.begin()
        try:
            return plan(ArrayTerrain(pool, workspace, query.exclude_nodes), query)
        finally:
            pool.retired.end(number)
            self._workspaces.append(workspace)


def warm_up() -> None:
    """Have every piece of machine code made, so that nobody waits for it later.

    Four friends in a ring of which one leaves; what is asked needs every kind of search and change.
    """
    coin = Currency("warm")
    keys = [PublicKey(bytes([number]) * PublicKey.SIZE) for number in range(4)]
    graph = ArrayGraph()
    pairs = np.array([(0, 1), (1, 2), (2, 3)], np.int32)
    graph.load(coin, keys, pairs, np.full((len(pairs), 6), 10, np.int64))
    for node, friend in ((keys[0], keys[3]), (keys[3], keys[0])):
        graph.apply(node, (Edge(friend, coin, 10, Rate()),))
    query = RouteQuery(coin, keys[0], keys[2], 15, CREDITS_MAX, max_parts=2, max_keys=3)
    graph.route(query)
    graph.remove_node(keys[1])
    pool = SlotPool()
    pool.load(keys, pairs, np.zeros((len(pairs), 6), np.int64))
    pool.pack()
    terrain = ArrayTerrain(pool, Workspace(), ())
    ask = Ask(keys[0], keys[2], 1, CREDITS_MAX, 3, FEE_ONLY, SCANNED_EDGES_MAX)
    flow = Flow()
    flow.reserved[keys[0], keys[1]] = 1
    terrain.exact(ask, flow)
    terrain.meet(ask, flow)
