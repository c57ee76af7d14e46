"""The planner: which routes answer a question, whatever engine holds the graph.

| step | what it tries |
|---|---|
| one | the cheapest route for the whole amount |
| split | round by round the cheapest route for a share of the rest, filled up; earlier parts are reserved |
| undo | later routes may take back what earlier ones hold; the flow is then split into routes again |
| most | the largest amount, by `undo` or over one route; cut down to the amount asked for |

The first three compete as choices. The last is the maximum, and what is left if they fail: who asks for the
maximum or for less gets at least this plan, so the maximum is true by construction.

Every part is counted in exact integers, beside the others. Nothing here knows an engine, a clock or chance:
equal graphs give equal answers.

Source: PROTOCOL.md, "Index servers: routes".
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from offset_engine.core.messages import Part, RouteChoice
from offset_engine.core.route_booking import Share, routes_of
from offset_engine.core.route_search import PLAIN, RouteSearch
from offset_engine.core.route_terms import (
    FEE_ONLY,
    GraphEngine,
    Keys,
    Label,
    RouteKind,
    RouteQuery,
    RouteResult,
    Terrain,
    Weights,
)
from offset_engine.core.values import PublicKey

__all__ = ["GraphEngine", "Label", "RouteKind", "RouteQuery", "RouteResult", "plan"]

_ROOMY: Final = Weights(10_000, load=4)
"""Avoids hops that the amount would fill: others may have used them since they were reported."""
_PARTS_WANTED: Final = 8
"""Into so many parts an amount is split if that makes it cheaper; into more only if it has to be."""
_FIRST_FRIENDS_MAX: Final = 8
"""Friends over which a cycle is tried if none is named."""

_Parts: TypeAlias = tuple[Part, ...]


def plan(terrain: Terrain, query: RouteQuery) -> RouteResult:
    """Find routes for the query.

    The engine calls this when the currency exists; everything else about the query is judged here.
    """
    is_cycle = query.kind is RouteKind.CYCLE
    amount_min = 0 if query.kind is RouteKind.MAX else 1
    ends = {query.source, query.dest}
    if query.amount < amount_min or (query.source == query.dest) is not is_cycle:
        return RouteResult(0, (), 0)
    if query.max_fee < 0 or query.max_parts < 1 or not ends.isdisjoint(query.exclude_nodes):
        return RouteResult(0, (), 0)
    if is_cycle and query.first_friend is None and query.last_friend is None:
        choices = _any_cycle(terrain, query)
    else:
        choices = _Planner(terrain, query, query.first_friend, query.scanned_max).run()
    reachable = sum(part.amount for part in choices[0].parts) if choices else 0
    return RouteResult(reachable, choices, terrain.scanned)


def _any_cycle(terrain: Terrain, query: RouteQuery) -> tuple[RouteChoice, ...]:
    """The best of the cycles over those friends who take most."""
    hops = sorted(terrain.leaving(query.source), key=lambda hop: (-hop[1].capacity, hop[0]))
    firsts = [friend for friend, hop in hops if hop.capacity][:_FIRST_FRIENDS_MAX]
    best: tuple[RouteChoice, ...] = ()
    best_worth = (0, 0)
    for number, first in enumerate(firsts):
        left = query.scanned_max - terrain.scanned
        found = _Planner(terrain, query, first, left // (len(firsts) - number)).run()
        if found:
            worth = (sum(part.amount for part in found[0].parts), -_fee(found[0].parts))
            if worth > best_worth:
                best, best_worth = found, worth
    return best


class _Planner:
    """The work of one query."""

    def __init__(
        self, terrain: Terrain, query: RouteQuery, first: PublicKey | None, scanned_max: int
    ) -> None:
        self._query = query
        # What is tried for the price and what is tried for the amount do not eat each other's budget.
        self._scanned_last = terrain.scanned + scanned_max
        self._search = RouteSearch(terrain, query, first, terrain.scanned + scanned_max * 3 // 4)
        self._book = self._search.book
        self._seen: list[Share] = []
        """The most that any attempt carried, when none carried all."""

    def run(self) -> tuple[RouteChoice, ...]:
        """The choices for the amount; else one for the most there is."""
        limit, _ = self._search.ends()
        if limit < 1:
            return ()
        amount = self._query.amount
        keys = None
        if 1 <= amount <= limit:
            keys = self._search.cheapest(amount, self._query.max_fee)
        if keys is None and self._search.meet(1, FEE_ONLY) is None and not self._search.is_spent:
            return ()  # there is no way at all
        if 1 <= amount <= limit:
            found = self._choices(amount, keys)
            if found:
                return found
        self._search.scanned_end = self._scanned_last
        most = max(self._most(limit), self._seen, key=_total)
        shares = _cut(most, amount or limit, self._book.fee)
        return (RouteChoice(Label.CHEAPEST, self._book.parts(shares)),) if shares else ()

    # --- choices ---

    def _choices(self, amount: int, keys: Keys | None) -> tuple[RouteChoice, ...]:
        """Up to three ways to carry exactly this amount; `keys` is the cheapest single route."""
        found: list[list[Share]] = []
        is_split = self._query.max_parts > 1
        if keys is not None:
            found.append([(keys, amount)])
        if is_split and (keys is None or self._book.fee(keys, amount) > 0):
            found.append(self._split(amount, _PARTS_WANTED, PLAIN))
        if is_split and keys is None:
            found.append(self._undo(amount))
        self._seen = max(found, key=_total, default=[])
        found = [shares for shares in found if _total(shares) == amount]
        if found and self._query.choices_max > 1:
            roomy = self._split(amount, min(map(len, found)), _ROOMY)
            found += [roomy] if _total(roomy) == amount else []
        return self._labelled(found)

    def _labelled(self, found: list[list[Share]]) -> tuple[RouteChoice, ...]:
        """Who wins in what; nothing twice."""
        plans: list[_Parts] = []
        for shares in found:
            parts = self._book.parts(sorted(shares, key=lambda share: (-share[1], share[0])))
            if parts not in plans:
                plans.append(parts)
        choices: list[RouteChoice] = []
        for label, rank in _RANKS[: self._query.choices_max]:
            best = min(plans, key=rank, default=())
            if best and all(best != choice.parts for choice in choices):
                choices.append(RouteChoice(label, best))
        return tuple(choices)

    # --- several routes ---

    def _split(self, amount: int, parts_wanted: int, weights: Weights) -> list[Share]:
        """Greedy, for the whole amount or not at all; books nothing."""
        shares = self._fill([], amount, parts_wanted, weights, is_all=True)
        self._search.clear()
        return shares

    def _fill(
        self,
        shares: list[Share],
        amount: int,
        parts_wanted: int,
        weights: Weights = PLAIN,
        *,
        is_all: bool = False,
    ) -> list[Share]:
        """Add to what is booked: each round the cheapest route that carries its share of the rest, filled up."""
        parts_max, max_fee = self._query.max_parts, self._query.max_fee
        rest = amount - _total(shares)
        fee_left = max_fee - sum(self._book.fee(*share) for share in shares)
        step = min(rest, self._search.ends()[1])
        while rest and step and len(shares) < parts_max and not self._search.is_spent:
            step = min(step, -(-rest // max(1, parts_wanted - len(shares))))
            keys = self._search.cheapest(step, fee_left, weights)
            if keys is None:
                # No route carries `step`, and none will: what is booked only grows.
                if is_all and (step - 1) * (parts_max - len(shares)) < rest:
                    break
                step //= 2
                continue
            part = min(rest, self._book.room(keys, fee_left))
            self._book.take(keys, part)
            shares.append((keys, part))
            rest -= part
            fee_left -= self._book.fee(keys, part)
        return shares

    def _undo(self, amount: int) -> list[Share]:
        """As much of the amount as possible, by routes that may take back what others hold; books nothing."""
        search, book = self._search, self._book
        shares = self._fill([], amount, 1)
        rest = amount - _total(shares)
        book.allow_undo(shares)
        step = rest
        while rest and step and not search.is_spent:
            keys = search.meet(step, PLAIN)
            sent = 0 if keys is None else book.push(keys, rest)
            rest -= sent
            step = min(step, rest) if sent else step // 2
        ends = (self._query.source, self._query.dest)
        flow = {(sender, receiver): held for (receiver, sender), held in book.flow.cancel.items()}
        search.clear()
        again = self._refill(routes_of(flow, ends, self._query.max_keys), amount)
        search.clear()
        return max(shares, again, key=_total)

    def _refill(self, routes: list[Share], amount: int) -> list[Share]:
        """Book these routes with their fees, the rest of the amount where there is room, and over new ones."""
        shares: list[Share] = []
        rest, fee_left = amount, self._query.max_fee
        for most_of in ((width for _, width in routes), (amount for _ in routes)):
            held = dict(shares)
            shares = []
            for (keys, _), most in zip(routes[: self._query.max_parts], most_of, strict=False):
                before = held.get(keys, 0)
                rest += before
                fee_left += self._give_back(keys, before)
                part = min(rest, most, self._book.room(keys, fee_left))
                if part:
                    self._book.take(keys, part)
                    shares.append((keys, part))
                    rest -= part
                    fee_left -= self._book.fee(keys, part)
        return self._fill(shares, amount, 1)

    def _give_back(self, keys: Keys, amount: int) -> int:
        """Undo a booking; returns its fee."""
        if not amount:
            return 0
        self._book.give_back(keys, amount)
        return self._book.fee(keys, amount)

    def _most(self, limit: int) -> list[Share]:
        """The most that can be carried; books nothing."""
        search, query = self._search, self._query
        search.clear()
        shares = self._undo(limit) if query.max_parts > 1 else []
        if query.kind is not RouteKind.MAX:
            # One route does not carry the amount: what it does carry is worth knowing, but not much work.
            search.scanned_end = min(search.scanned_end, search.scanned + query.scanned_max // 8)
        if _total(shares) < min(limit, search.ends()[1]):
            single = search.largest(limit)
            if single is not None and single[1] > _total(shares):
                return [single]
        return shares


# --- comparing ------------------------------------------------------------------------------------


def _total(shares: list[Share]) -> int:
    return sum(amount for _, amount in shares)


def _cut(shares: list[Share], amount: int, fee: Callable[[Keys, int], int]) -> list[Share]:
    """Leave out what is above the amount, the dearest first; what is left still fits."""
    excess = _total(shares) - amount
    dearest = sorted(shares, key=lambda share: (-(fee(*share) << 64) // share[1], share))
    left: list[Share] = []
    for keys, carried in dearest:
        cut = max(0, min(excess, carried))
        excess -= cut
        if carried > cut:
            left.append((keys, carried - cut))
    return sorted(left, key=lambda share: (-share[1], share[0]))


def _fee(parts: _Parts) -> int:
    return sum(part.fee for part in parts)


def _slack(parts: _Parts) -> int:
    """How much more than its amount the tightest part could carry, in proportion."""
    return min((part.capacity << 32) // part.amount for part in parts)


_RANKS: Final[tuple[tuple[Label, Callable[[_Parts], tuple[int, int]]], ...]] = (
    (Label.CHEAPEST, lambda parts: (_fee(parts), len(parts))),
    (Label.FEWEST, lambda parts: (len(parts), _fee(parts))),
    (Label.WIDEST, lambda parts: (-_slack(parts), _fee(parts))),
)
"""The smallest wins."""
