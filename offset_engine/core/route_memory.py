"""What failed payments taught about hops: penalties that fade, so that the next payment tries elsewhere first.

A part that comes back does not say from where, so all hops behind our own friend share the blame; one
that is paid clears every hop it took. While a penalty is fresh its hop is left out of questions about as
much or more; then it only makes a choice look a little worse; then it is forgotten.

    blamed ──fresh: not asked for──▶ fading: the last choice of two equal ones ──▶ forgotten

It never leaves this node but as the excluded edges of its own questions. Pure: times are UTC ms.
Source: PROTOCOL.md, "Paying"; routing.md §6 (stale data).
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final, TypeAlias

from offset_engine.core.values import Currency, PublicKey, value

PENALTIES_MAX: Final = 256
"""Hops remembered; the lightest make room."""
PENALTY_POINTS: Final = 1_000_000
"""Shared by the hops of one failed part; also the most one hop can have."""
AVOIDED_POINTS: Final = 250_000
"""From here on a hop is left out of questions: one of up to four suspects, for a while."""
FORGOTTEN_POINTS: Final = 10_000
HALF_LIFE_MS: Final = 300_000

Hop: TypeAlias = tuple[PublicKey, PublicKey]
"""Who sends on, who receives."""
Place: TypeAlias = tuple[Currency, PublicKey, PublicKey]
"""A hop in one currency."""


@value
class Penalty:
    """How much a hop is suspected."""

    points: int
    """At `since_ms`; they fade from there."""
    since_ms: int
    """UTC ms of the last failure."""
    least: int
    """The smallest part that failed, in credits: less may still pass."""

    def points_at(self, wall_ms: int) -> int:
        """What is left of it; a clock that went back makes it fade as well, so that nothing stays for ever."""
        halvings, rest_ms = divmod(abs(wall_ms - self.since_ms), HALF_LIFE_MS)
        whole = self.points >> halvings
        return whole - whole * rest_ms // (2 * HALF_LIFE_MS)


Penalties: TypeAlias = Mapping[Place, Penalty]
Changes: TypeAlias = dict[Place, Penalty | None]
"""What to remember instead; None = forget it."""


def suspects(route: tuple[PublicKey, ...]) -> tuple[Hop, ...]:
    """Hops that may be to blame: what our own friends can take and give we know best, so theirs are the last."""
    hops = tuple(pairwise(route))
    # A cycle comes back to us by another friend of ours.
    between = hops[1:-1] if route[0] == route[-1] else hops[1:]
    return between or hops


def blame(
    known: Penalties, currency: Currency, route: tuple[PublicKey, ...], least: int, wall_ms: int
) -> Changes:
    """A part of `least` credits over this route came back, or was never answered."""
    hops = suspects(route)
    changes: Changes = {}
    for hop in hops:
        place = (currency, *hop)
        old = known.get(place)
        before, smallest = 0, least
        if old is not None and (left := old.points_at(wall_ms)) >= FORGOTTEN_POINTS:
            before, smallest = left, min(least, old.least)
        points = min(PENALTY_POINTS, before + PENALTY_POINTS // len(hops))
        changes[place] = Penalty(points, wall_ms, smallest)
    return _make_room(known, changes, wall_ms)


def _make_room(known: Penalties, changes: Changes, wall_ms: int) -> Changes:
    """Forget what has faded, and the lightest beyond the number remembered."""
    left = {
        place: penalty.points_at(wall_ms)
        for place, penalty in {**known, **changes}.items()
        if penalty is not None
    }
    by_weight = sorted(left, key=lambda place: (-left[place], place not in changes, place))
    for number, place in enumerate(by_weight):
        if number >= PENALTIES_MAX or left[place] < FORGOTTEN_POINTS:
            if place in known:
                changes[place] = None
            else:
                del changes[place]
    return changes


def forgive(known: Penalties, currency: Currency, route: tuple[PublicKey, ...]) -> Changes:
    """A part over this route arrived: nothing is wrong with any of its hops."""
    places = ((currency, *hop) for hop in pairwise(route))
    return {place: None for place in places if place in known}


def hops_to_avoid(
    known: Penalties, currency: Currency, amount: int, wall_ms: int, hops_max: int
) -> tuple[Hop, ...]:
    """What a question about `amount` credits should leave out, most suspect first."""
    found = [
        (-points, place)
        for place, penalty in known.items()
        if place[0] == currency
        and penalty.least <= amount
        and (points := penalty.points_at(wall_ms)) >= AVOIDED_POINTS
    ]
    return tuple(place[1:] for _, place in sorted(found)[:hops_max])


def suspicion(
    known: Penalties, currency: Currency, routes: Iterable[tuple[PublicKey, ...]], wall_ms: int
) -> int:
    """How much is known against these routes together; of two choices that cost the same the lighter is taken."""
    hops = (hop for route in routes for hop in pairwise(route))
    found = (known.get((currency, *hop)) for hop in hops)
    return sum(penalty.points_at(wall_ms) for penalty in found if penalty is not None)
