"""How often a route still works although the index server knows what was true a while ago.

Payments move credit in a small network of trust; the server hears of a changed capacity a number of payments
later. Who fails asks again, without the hop where it failed, as the app does; at most three times.

Source: routing.md §6, §8.
"""

import random
from collections import deque
from itertools import pairwise
from typing import Final

from offset_engine.bench.figures import Figure, rounded
from offset_engine.bench.route_worlds import BENCH_COIN
from offset_engine.bench.trust_graphs import friendships, node_keys
from offset_engine.core.messages import Edge
from offset_engine.core.route_terms import Arc, GraphEngine, RouteQuery
from offset_engine.core.values import CREDITS_MAX, PublicKey, Rate

LAG_PAYMENTS: Final = 500
TRIES_MAX: Final = 3
_NODES_MAX: Final = 10_000
_AMOUNTS: Final = (10, 50, 167)


class _Network:
    """What is true, and the graph that hears of it later."""

    def __init__(self, graph: GraphEngine, kind: str, nodes: int, seed: int) -> None:
        self.graph = graph
        self.keys = node_keys(nodes, seed)
        self._rooms: dict[Arc, int] = {}
        """Credits that really go from one to the other."""
        self._rates: dict[Arc, Rate] = {}
        """What the receiver charges."""
        self._untold: deque[tuple[int, Arc]] = deque()
        """Changes, with the number of the payment that made them."""
        for one, other, mine, theirs in friendships(kind, nodes, seed):
            self._add((self.keys[other], self.keys[one]), mine)
            self._add((self.keys[one], self.keys[other]), theirs)

    def _add(self, arc: Arc, report: tuple[int, int, int]) -> None:
        capacity, mul, add = report
        self._rooms[arc] = capacity
        self._rates[arc] = Rate(mul, add)
        self._tell(arc)

    def _tell(self, arc: Arc) -> None:
        sender, receiver = arc
        edge = Edge(sender, BENCH_COIN, self._rooms[arc], self._rates[arc])
        self.graph.apply(receiver, (edge,))

    def tell_until(self, number: int) -> None:
        """Let the graph hear of what payments up to this number changed."""
        while self._untold and self._untold[0][0] <= number:
            self._tell(self._untold.popleft()[1])

    def pay(self, keys: tuple[PublicKey, ...], amount: int, number: int) -> Arc | None:
        """Pay over this route; returns the hop that has no room, if any, and then nothing moves."""
        load, steps = amount, []
        for arc in list(pairwise(keys))[::-1]:
            if arc[1] != keys[-1]:
                load += self._rates[arc].fee(amount)
            if self._rooms[arc] < load:
                return arc
            steps.append((arc, load))
        for arc, load in steps:
            back = (arc[1], arc[0])
            self._rooms[arc] -= load
            self._rooms[back] += load
            self._untold += ((number, arc), (number, back))
        return None


class _Payer:
    """Pays over single routes and counts what became of it."""

    def __init__(self, network: _Network) -> None:
        self._network = network
        self.worked = [0] * TRIES_MAX
        """Payments by the try that worked."""
        self.failed = 0
        self.paid = 0
        self.fees = 0

    def pay(self, ends: Arc, amount: int, number: int) -> None:
        """Try to pay; whom no route is known to at first does not count."""
        closed: list[Arc] = []
        for count in range(TRIES_MAX):
            query = RouteQuery(
                BENCH_COIN,
                *ends,
                amount,
                CREDITS_MAX,
                exclude_edges=tuple(closed),
                choices_max=1,
            )
            result = self._network.graph.route(query)
            if result.reachable < amount:
                self.failed += bool(count)
                return
            (part,) = result.parts
            narrow = self._network.pay(part.keys, amount, number)
            if narrow is None:
                self.worked[count] += 1
                self.paid += amount
                self.fees += part.fee
                return
            closed.append(narrow)
        self.failed += 1


def measure_staleness(
    graph: GraphEngine, kind: str, nodes: int, payments: int, seed: int
) -> dict[str, Figure]:
    """Make payments with a graph, empty before, that hears of them late.

    Args:
        graph: the engine to ask.
        kind: one of `trust_graphs.KINDS`.
        nodes: of the network, of which at most 10 000 are used.
        payments: how many are tried.
        seed: of everything random.
    """
    network = _Network(graph, kind, min(nodes, _NODES_MAX), seed)
    draw = random.Random(seed)  # noqa: S311 - no secrets here
    payer = _Payer(network)
    for number in range(payments):
        network.tell_until(number - LAG_PAYMENTS)
        source, dest = draw.sample(network.keys, 2)
        payer.pay((source, dest), draw.choice(_AMOUNTS), number)
    tried = max(1, sum(payer.worked) + payer.failed)
    return {
        "lag_payments": LAG_PAYMENTS,
        "first_try_success": rounded(payer.worked[0] / tried),
        "success": rounded(sum(payer.worked) / tried),
        "fee_share": rounded(payer.fees / max(1, payer.paid)),
    }
