"""An independent judge of routes: what a solver of flow problems, which knows nothing of ours, makes of the same graph.

It may split an amount into as many parts as it likes, and fees take no room of it: nobody can do better, and
nobody would want its answer, which is dozens of tiny parts. Both prices are compared in the same terms:
fees and 0.1 % of the amount for every hop, as routing.md §6 does.

Amounts are in thousandths of a credit and nothing is charged per route, so that rounding plays no role.
"""

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest

from offset_engine.bench.trust_graphs import Friendship, friendships, node_keys
from offset_engine.core.messages import Edge, Part
from offset_engine.core.route_terms import GraphEngine, RouteQuery
from offset_engine.core.values import CREDITS_MAX, Currency, PublicKey, Rate

CURRENCY = Currency("CR")
MINOR = 1_000
"""Smallest units of a credit."""
_COST_UNIT = 1_000_000
"""The solver's costs are whole millionths of the amount: its products stay far below 2⁶³."""
_HOP_COST = _COST_UNIT // 1_000


class Roads:
    """A synthetic network of trust, for our engines and for the judge."""

    def __init__(self, kind: str, nodes: int, seed: int) -> None:
        self.kind = kind
        self.keys = node_keys(nodes, seed)
        self.number = {key: number for number, key in enumerate(self.keys)}
        self.friendships = [_in_minor(one) for one in friendships(kind, nodes, seed)]
        self.arcs: dict[tuple[int, int], tuple[int, int]] = {}
        """Sender and receiver → room, and what the receiver charges in millionths."""
        self._muls: dict[tuple[int, int], int] = {}
        """What it charges exactly."""
        for u, v, mine, theirs in self.friendships:
            self._muls[v, u], self._muls[u, v] = mine[1], theirs[1]
            self.arcs[v, u] = (mine[0], mine[1] * _COST_UNIT >> 32)
            self.arcs[u, v] = (theirs[0], theirs[1] * _COST_UNIT >> 32)

    def fill(self, graph: GraphEngine) -> None:
        """Report everything to an engine."""
        reports: list[list[Edge]] = [[] for _ in self.keys]
        for u, v, mine, theirs in self.friendships:
            reports[u].append(edge(self.keys[v], mine))
            reports[v].append(edge(self.keys[u], theirs))
        for key, edges in zip(self.keys, reports, strict=True):
            graph.replace_node(key, edges)

    def pairs(self, seed: int) -> Iterable[tuple[int, int]]:
        """Endless payers and payees, the same ones for the same seed."""
        draw = random.Random(seed)
        while True:
            source, dest = draw.sample(range(len(self.keys)), 2)
            yield source, dest

    def price(self, parts: Sequence[Part]) -> float:
        """What the judge would say these parts cost, in minor units."""
        hops = sum(part.amount * (len(part.keys) - 1) for part in parts)
        return sum(part.fee for part in parts) + hops * _HOP_COST / _COST_UNIT

    def overbooked(self, parts: Sequence[Part]) -> list[tuple[int, int]]:
        """Hops without room for what all parts together put on them, fees downstream included."""
        loads: dict[tuple[int, int], int] = {}
        for part in parts:
            nodes = [self.number[key] for key in part.keys]
            load = part.amount
            for arc in list(pairwise(nodes))[::-1]:
                load += part.amount * self._muls[arc] >> 32 if arc[1] != nodes[-1] else 0
                loads[arc] = loads.get(arc, 0) + load
            assert load == part.amount + part.fee
        return [arc for arc, load in loads.items() if load > self.arcs[arc][0]]

    def charged(self, parts: Sequence[Part]) -> float:
        """The same from the judge's own arcs: checks the fees the engine names."""
        total = 0
        for part in parts:
            nodes = [self.number[key] for key in part.keys]
            rates = [self.arcs[arc][1] for arc in pairwise(nodes)]
            total += part.amount * (sum(rates[:-1]) + len(rates) * _HOP_COST)
        return total / _COST_UNIT


class Judge:
    """Maximum flow and cheapest flow over the same roads, by OR-Tools."""

    def __init__(self, roads: Roads) -> None:
        self._roads = roads
        solver = pytest.importorskip("ortools.graph.python.max_flow")
        self._costs = pytest.importorskip("ortools.graph.python.min_cost_flow")
        self._flow = solver.SimpleMaxFlow()
        self._flow_type = solver.SimpleMaxFlow
        self._optimal = self._costs.SimpleMinCostFlow.OPTIMAL
        for (sender, receiver), (room, _) in roads.arcs.items():
            self._flow.add_arc_with_capacity(sender, receiver, room)

    def most(self, source: int, dest: int) -> int:
        """The maximum flow, in minor units."""
        status = self._flow.solve(source, dest)
        assert status == self._flow_type.OPTIMAL, status
        return int(self._flow.optimal_flow())

    def least_price(self, source: int, dest: int, amounts: Iterable[int]) -> list[float]:
        """The cheapest price of each of these amounts, none above `most`; in minor units."""
        amounts = list(amounts)
        solver = self._costs.SimpleMinCostFlow()
        for (sender, receiver), (room, rate) in self._roads.arcs.items():
            cost = _HOP_COST + (rate if receiver != dest else 0)
            # More than everything is as good as everything, and cannot overflow.
            solver.add_arc_with_capacity_and_unit_cost(
                sender, receiver, min(room, max(amounts)), cost
            )
        prices = []
        for amount in amounts:
            solver.set_node_supply(source, amount)
            solver.set_node_supply(dest, -amount)
            status = solver.solve()
            assert status == self._optimal, status
            prices.append(solver.optimal_cost() / _COST_UNIT)
        return prices


def edge(friend: PublicKey, report: tuple[int, int, int]) -> Edge:
    """What somebody reports about a friend."""
    capacity, mul, add = report
    return Edge(friend, CURRENCY, capacity, Rate(mul, add))


def question(
    roads: Roads, source: int, dest: int, amount: int, parts: int, choices: int = 1
) -> RouteQuery:
    """Whatever it costs, in at most so many parts, without a limit on work."""
    return RouteQuery(
        CURRENCY,
        roads.keys[source],
        roads.keys[dest],
        amount,
        max_fee=CREDITS_MAX,
        max_parts=parts,
        scanned_max=10**12,
        choices_max=choices,
    )


def _in_minor(one: Friendship) -> Friendship:
    u, v, mine, theirs = one
    return u, v, (mine[0] * MINOR, mine[1], 0), (theirs[0] * MINOR, theirs[1], 0)
