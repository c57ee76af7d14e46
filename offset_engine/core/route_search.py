"""One route at a time: the cheapest for an amount, and the largest amount one route carries.

Engines search with optimistic room: every hop for the amount and its own fee. What does not hold in exact
integers is searched again by fees alone, and each hop that proves too narrow is closed. Nothing is lost by
that: what follows a hop on the cheapest route is the cheapest that can follow it, so a hop that breaks under
these fees breaks under any.

Source: PROTOCOL.md, "Index servers: routes".
"""

from math import isqrt
from typing import Final

from offset_engine.core.route_booking import Booking, Share
from offset_engine.core.route_terms import (
    BLOCKED,
    FEE_ONLY,
    Arc,
    Ask,
    Keys,
    RouteQuery,
    Terrain,
    Weights,
)
from offset_engine.core.values import PublicKey

PLAIN: Final = Weights()
_SHORTER: Final = Weights(20_000)
_SHORTEST: Final = Weights(10**18)
"""Hops count more than any fee."""
_CUTS_MAX: Final = 16
"""Searches in which hops proved too narrow are closed."""
_EXACT_SCANNED_MAX: Final = 20_000
"""Edges the search looks at that knows about lengths; it sees a part of the graph only."""
_PROBES_MAX: Final = 300
"""Amounts tried to find the largest one; more than twice the bits of an amount."""


class RouteSearch:
    """The searches of one query, beside what is booked in `book`."""

    def __init__(
        self, terrain: Terrain, query: RouteQuery, first: PublicKey | None, scanned_end: int
    ) -> None:
        """Search for `query` over the friend `first`, until `scanned` of the terrain is `scanned_end`."""
        self._terrain = terrain
        self._query = query
        self.scanned_end = scanned_end
        self._closed = self._closed_arcs(first)
        self.book = Booking(terrain)
        self.clear()

    def _closed_arcs(self, first: PublicKey | None) -> tuple[Arc, ...]:
        """What the query forbids, and in a cycle the way straight back."""
        source, dest, last = self._query.source, self._query.dest, self._query.last_friend
        closed = list(self._query.exclude_edges)
        if first is not None:
            leaving = self._terrain.leaving(source)
            closed += [(source, key) for key, _ in leaving if key != first]
        if last is not None:
            entering = self._terrain.entering(dest)
            closed += [(key, dest) for key, _ in entering if key != last]
        if source == dest:
            closed += [(first, dest)] if first is not None else []
            closed += [(source, last)] if last is not None else []
        return tuple(dict.fromkeys(closed))

    def clear(self) -> None:
        """Nothing is booked any more."""
        self.book.clear(self._closed)

    @property
    def scanned(self) -> int:
        """Edges looked at so far."""
        return self._terrain.scanned

    @property
    def is_spent(self) -> bool:
        """Whether the budget is used up."""
        return self._terrain.scanned >= self.scanned_end

    # --- the ends ---

    def ends(self) -> tuple[int, int]:
        """The most, in credits, that gets out of the source and into the destination: together, and by one hop."""
        source, dest = self._query.source, self._query.dest
        out = [((source, key), hop) for key, hop in self._terrain.leaving(source)]
        into = [((key, dest), hop) for key, hop in self._terrain.entering(dest)]
        leaves = [max(0, self.book.free(*one)) for one in out]
        enters = [max(0, self.book.free(*one)) for one in into]
        return min(sum(leaves), sum(enters)), min(max(leaves, default=0), max(enters, default=0))

    # --- the cheapest ---

    def meet(self, amount: int, weights: Weights) -> Keys | None:
        """The best route if fees took no room: None if nothing carries the amount."""
        ask = self._ask(amount, self._query.max_fee, weights, self.scanned_end)
        return self._terrain.meet(ask, self.book.flow)

    def _ask(self, amount: int, max_fee: int, weights: Weights, scanned_end: int) -> Ask:
        query = self._query
        return Ask(query.source, query.dest, amount, max_fee, query.max_keys, weights, scanned_end)

    def _works(self, keys: Keys, amount: int, max_fee: int) -> bool:
        return len(keys) <= self._query.max_keys and self.book.carries(keys, amount, max_fee)

    def cheapest(self, amount: int, max_fee: int, weights: Weights = PLAIN) -> Keys | None:
        """A route for exactly this amount within the fee: of least cost, if no limit is in its way."""
        if max_fee < 0:
            return None
        keys = self.meet(amount, weights)
        if keys is None or self._works(keys, amount, max_fee):
            return keys
        if len(keys) > self._query.max_keys:
            shortest = self.meet(amount, _SHORTEST)
            if shortest is None or len(shortest) > self._query.max_keys:
                return None
            for shorter in (self.meet(amount, _SHORTER), shortest):
                if shorter is not None and self._works(shorter, amount, max_fee):
                    return shorter
        return self._proved(amount, max_fee)

    def _proved(self, amount: int, max_fee: int) -> Keys | None:
        """The route of the smallest fee: found if there is one, unless the budget or its length forbids."""
        cuts: list[Arc] = []
        try:
            for _ in range(_CUTS_MAX):
                keys = self.meet(amount, FEE_ONLY)
                if keys is None or self._works(keys, amount, max_fee):
                    return keys
                fee = self.book.fee(keys, amount)
                if fee > max_fee or self.is_spent:
                    return None
                narrow = self.book.too_narrow(keys, amount)
                if not narrow:
                    break
                new = dict.fromkeys((*narrow, *self._hopeless_starts(amount + fee)))
                for arc in new:
                    self.book.add(arc, BLOCKED)
                cuts += new
            scanned_end = min(self.scanned_end, self._terrain.scanned + _EXACT_SCANNED_MAX)
            ask = self._ask(amount, max_fee, FEE_ONLY, scanned_end)
            return self._terrain.exact(ask, self.book.flow)
        finally:
            for arc in cuts:
                self.book.add(arc, -BLOCKED)

    def _hopeless_starts(self, load: int) -> list[Arc]:
        """Open hops out of the source without room for the least load that any route puts there."""
        source = self._query.source
        hops = (((source, key), hop) for key, hop in self._terrain.leaving(source))
        return [arc for arc, hop in hops if 0 <= self.book.free(arc, hop) < load]

    # --- the largest ---

    def largest(self, limit: int) -> Share | None:
        """One route for the most of `limit` that any one route carries, within the query's fee."""
        max_fee = self._query.max_fee
        low, high = 0, min(limit, self.ends()[1])
        best: Keys | None = None
        # In a well connected graph only the ends are narrow: first ask for nearly all they let through.
        probe = high - (high >> 6)
        for misses in range(_PROBES_MAX):
            if low >= high or self.is_spent:
                break
            keys = self.cheapest(probe, max_fee)
            if keys is not None:
                low, best = min(high, self.book.room(keys, max_fee)), keys
            else:
                high = probe - 1
            probe = _between(low, high, misses)
        if best is None:
            return None
        return self.cheapest(low, max_fee) or best, low


def _between(low: int, high: int, misses: int) -> int:
    """The next amount to try when `low` is carried and nothing above `high` is."""
    if low == 0:
        return max(1, high >> min(1 << misses, high.bit_length()))
    if high <= low + (low >> 4):
        return low + 1  # often there is nothing above the room of the route just found
    # Far apart: halve the number of digits; near: halve the distance.
    return isqrt(low * high) if high > 4 * low else (low + high + 1) // 2
