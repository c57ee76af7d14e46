"""From a question to routes: what is asked, what is answered, and what a graph engine has to offer.

| layer | knows | where |
|---|---|---|
| engine | every report of every currency | `graph` (pure, the oracle), `offset_engine.graph_array` |
| terrain | the hops of one currency for one query, and searches in them | made by the engine |
| planner | how to split, undo, compare and check | `route_planning.plan`, one for all engines |

Source: PROTOCOL.md, "Index servers: routes".
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, Protocol, TypeAlias

from offset_engine.core.messages import Edge, Mutation, Part, RouteChoice
from offset_engine.core.values import (
    ROUTE_CHOICES_MAX,
    ROUTE_KEYS_MAX,
    Currency,
    PublicKey,
    value,
)

Arc: TypeAlias = tuple[PublicKey, PublicKey]
"""A direction of a friendship: who sends on, who receives."""
Keys: TypeAlias = tuple[PublicKey, ...]
"""A route from its source to its destination, both included."""

BLOCKED: Final = 1 << 256
"""Reserved on an arc nobody may use."""
SCANNED_EDGES_MAX: Final = 200_000
"""Default work budget of one query, in scanned edges; about 0.2 s, and 100 times what most queries need."""
PPM: Final = 1_000_000


class RouteKind(IntEnum):
    """What a question for routes is about."""

    PAY = 0
    MAX = 1
    """The most that can be paid; `amount` bounds it from above, 0 = no bound."""
    CYCLE = 2
    """Back to the one who asks, over other friends: first and last key are the same."""


class Label(IntEnum):
    """What a choice is good at."""

    CHEAPEST = 0
    FEWEST = 1
    WIDEST = 2


# --- questions and answers ------------------------------------------------------------------------


@value
class RouteQuery:
    """How can `source` pay `amount` credits to `dest`?"""

    currency: Currency
    source: PublicKey
    dest: PublicKey
    """The source itself in a cycle, and only there."""
    amount: int
    max_fee: int
    max_parts: int = 1
    max_keys: int = ROUTE_KEYS_MAX
    first_friend: PublicKey | None = None
    last_friend: PublicKey | None = None
    exclude_edges: tuple[Arc, ...] = ()
    """The opposite direction stays usable."""
    exclude_nodes: tuple[PublicKey, ...] = ()
    scanned_max: int = SCANNED_EDGES_MAX
    kind: RouteKind = RouteKind.PAY
    choices_max: int = ROUTE_CHOICES_MAX
    """How many alternatives are worth looking for."""


@value
class RouteResult:
    """The answer: each choice carries `reachable`, at most the amount asked for; 0 and none if nothing does."""

    reachable: int
    choices: tuple[RouteChoice, ...]
    scanned: int
    """Edges looked at: what the answer cost."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those of the first choice."""
        return self.choices[0].parts if self.choices else ()


# --- what an engine offers ------------------------------------------------------------------------


@value
class Hop:
    """What the receiving end reports: room in credits, and its rate."""

    capacity: int
    mul: int
    add: int


class Flow:
    """What earlier parts of the same answer hold; changes between searches, never within one."""

    __slots__ = ("cancel", "reserved")

    def __init__(self) -> None:
        self.reserved: dict[Arc, int] = {}
        """Credits taken from an arc's capacity, fees included; `BLOCKED` = closed."""
        self.cancel: dict[Arc, int] = {}
        """Credits that flow against this arc and may be undone; using it so costs nothing."""


@value
class Weights:
    """What a hop costs beside its fee, so that short and roomy routes win; see `hop_weight`."""

    hop_ppm: int = 1_000
    """Millionths of the amount."""
    load: int = 0
    """How much more a hop costs that the amount would fill: so many times its weight."""


FEE_ONLY: Final = Weights(0, 0)


@value
class Ask:
    """One search. Source and destination are the same node in a cycle: it is left and entered, not crossed."""

    source: PublicKey
    dest: PublicKey
    amount: int
    """What must fit through every hop, beside fees."""
    max_fee: int
    max_keys: int
    weights: Weights
    scanned_max: int
    """The search gives up when `scanned` of the terrain, which all searches add to, has reached this."""


def hop_weight(weights: Weights, amount: int, capacity: int) -> int:
    """What a hop costs in comparisons beside its fee, in millionths of a credit; nobody pays it.

    `capacity` is what is left of it.
    """
    weight = amount * weights.hop_ppm
    return weight + (weight * weights.load * amount // max(1, capacity) if weights.load else 0)


class Terrain(Protocol):
    """The hops of one currency as one query may use them: nodes that the query excludes are not there.

    A hop `u → v` exists if both report each other. Its *cost*, in millionths of a credit, is `hop_weight`
    and `v`'s fee, which is 0 if `v` is the destination. It costs nothing at all where `flow.cancel` is at
    least the amount. Routes are compared by (sum of costs, number of hops), then by key bytes where that
    is cheap.
    """

    @property
    def scanned(self) -> int:
        """Edges looked at so far, by all searches."""
        ...

    def hop(self, sender: PublicKey, receiver: PublicKey) -> Hop | None:
        """The exact report, or None."""
        ...

    def leaving(self, node: PublicKey) -> Iterable[tuple[PublicKey, Hop]]:
        """The hops out of a node, each with its receiver; in any order."""
        ...

    def entering(self, node: PublicKey) -> Iterable[tuple[PublicKey, Hop]]:
        """The hops into a node, each with its sender; in any order."""
        ...

    def meet(self, ask: Ask, flow: Flow) -> Keys | None:
        """Search from both ends at once, optimistic about fees.

        Finds the best route of which every hop has room for the amount and *its own* fee, beside what is
        reserved. A route that really works is never better, so None says that there is none. Ignores
        `max_fee` and `max_keys`. Out of budget: the best seen.
        """
        ...

    def exact(self, ask: Ask, flow: Flow) -> Keys | None:
        """Search from the destination with exact loads: the amount and all fees downstream.

        Finds the route of the smallest (fee, hops) within `max_fee` and `max_keys`. Ignores weights and
        `flow.cancel`.
        """
        ...


class GraphEngine(Protocol):
    """All currencies' graphs of one index server."""

    @property
    def node_count(self) -> int:
        """Nodes with at least one reported edge."""
        ...

    @property
    def edge_count(self) -> int:
        """Reported edges of all currencies, mutual or not."""
        ...

    @property
    def currency_count(self) -> int:
        """Currencies with at least one reported edge."""
        ...

    def has_currency(self, currency: Currency) -> bool:
        """Whether anybody reports an edge in this currency."""
        ...

    def edges_of(self, node: PublicKey) -> int:
        """How many edges this node reports, in all currencies."""
        ...

    def reports(self, node: PublicKey, friend: PublicKey, currency: Currency) -> bool:
        """Whether `node` reports an edge from `friend`."""
        ...

    def currencies_of(self, node: PublicKey) -> tuple[Currency, ...]:
        """In which currencies `node` reports something."""
        ...

    def is_reachable(self, node: PublicKey, currency: Currency) -> bool:
        """Whether some edge into `node` is reported by both its ends."""
        ...

    def replace_node(self, node: PublicKey, edges: Iterable[Edge]) -> None:
        """Make `edges` all that `node` reports."""
        ...

    def apply(self, node: PublicKey, mutations: Iterable[Mutation]) -> None:
        """Change what `node` reports; removing what is not there does nothing."""
        ...

    def remove_node(self, node: PublicKey) -> None:
        """Forget everything `node` reports, and nothing else."""
        ...

    def route(self, query: RouteQuery) -> RouteResult:
        """Answer a question; never raises for any query."""
        ...
