"""Penalties of hops: who shares the blame, how it fades, what it keeps out of questions, and what clears it."""

from itertools import pairwise

from offset_engine.core.route_memory import (
    AVOIDED_POINTS,
    FORGOTTEN_POINTS,
    HALF_LIFE_MS,
    PENALTIES_MAX,
    PENALTY_POINTS,
    Penalty,
    Place,
    blame,
    forgive,
    hops_to_avoid,
    suspects,
    suspicion,
)
from offset_engine.core.values import CREDITS_MAX, Currency, PublicKey

FST, USD = Currency("FST"), Currency("USD")
ME, F1, F2, FAR, DEST = (PublicKey(bytes([n]) * 32) for n in range(1, 6))
NOW = 1_700_000_000_000
LONG = (ME, F1, FAR, F2, DEST)


def remember(
    known: dict[Place, Penalty], route: tuple[PublicKey, ...], least: int = 10, at: int = NOW
) -> dict[Place, Penalty]:
    """What is known after a part over this route failed."""
    return apply(known, blame(known, FST, route, least, at))


def apply(
    known: dict[Place, Penalty], changes: dict[Place, Penalty | None]
) -> dict[Place, Penalty]:
    both = {**known, **changes}
    return {place: penalty for place, penalty in both.items() if penalty is not None}


def avoided(known: dict[Place, Penalty], amount: int = 10, at: int = NOW, most: int = 64):
    return hops_to_avoid(known, FST, amount, at, most)


def test_the_hops_behind_our_own_friend_share_the_blame() -> None:
    assert suspects(LONG) == ((F1, FAR), (FAR, F2), (F2, DEST))
    assert suspects((ME, DEST)) == ((ME, DEST),)
    assert suspects((ME, F1, F2, FAR, ME)) == ((F1, F2), (F2, FAR))  # a cycle: FAR is a friend too
    known = remember({}, LONG)
    third = Penalty(PENALTY_POINTS // 3, NOW, 10)
    assert known == {(FST, F1, FAR): third, (FST, FAR, F2): third, (FST, F2, DEST): third}


def test_a_penalty_is_halved_every_five_minutes_and_never_jumps() -> None:
    penalty = Penalty(PENALTY_POINTS, NOW, 1)
    points = [penalty.points_at(NOW + step * HALF_LIFE_MS // 10) for step in range(200)]
    assert points[0] == PENALTY_POINTS
    assert points == sorted(points, reverse=True)
    assert max(a - b for a, b in pairwise(points)) <= PENALTY_POINTS // 20
    assert points[10] == points[0] // 2
    assert penalty.points_at(NOW + 30 * HALF_LIFE_MS) == 0


def test_a_clock_that_went_back_lets_it_fade_as_well() -> None:
    penalty = Penalty(PENALTY_POINTS, NOW, 1)
    assert penalty.points_at(NOW - 10_000) == penalty.points_at(NOW + 10_000)
    assert penalty.points_at(0) == 0


def test_a_fresh_penalty_keeps_its_hop_out_of_questions_and_a_fading_one_does_not() -> None:
    known = remember({}, (ME, F1, DEST))
    assert avoided(known) == ((F1, DEST),)
    assert avoided(known, at=NOW + 2 * HALF_LIFE_MS) == ((F1, DEST),)
    assert avoided(known, at=NOW + 2 * HALF_LIFE_MS + 1_000) == ()
    assert hops_to_avoid(known, USD, 10, NOW, 64) == ()
    long = (ME, F1, F2, FAR, *(PublicKey(bytes([n]) * 32) for n in range(10, 20)), DEST)
    assert avoided(remember({}, long)) == ()  # so many suspects that each may be innocent


def test_what_failed_for_much_may_still_carry_little() -> None:
    known = remember({}, (ME, F1, DEST), least=50)
    assert avoided(known, 49) == ()
    assert avoided(known, 50) == avoided(known, CREDITS_MAX) == ((F1, DEST),)
    known = remember(known, (ME, F1, DEST), least=7)
    assert avoided(known, 7) == ((F1, DEST),)
    known = remember(known, (ME, F1, DEST), least=90)
    assert avoided(known, 7) == ((F1, DEST),)
    later = NOW + 10 * HALF_LIFE_MS
    assert avoided(remember(known, (ME, F1, DEST), 90, later), 89, later) == ()


def test_who_fails_again_weighs_more_up_to_a_bound() -> None:
    known = remember({}, LONG)
    known = remember(known, (ME, F2, DEST))
    assert known[FST, F2, DEST].points == PENALTY_POINTS
    assert avoided(known)[0] == (F2, DEST)
    assert avoided(known, most=1) == ((F2, DEST),)
    assert len(avoided(known)) == 3


def test_what_arrived_clears_every_hop_it_took() -> None:
    known = remember(remember({}, LONG), (ME, F1, DEST))
    assert forgive(known, USD, LONG) == {}
    known = apply(known, forgive(known, FST, (ME, F1, FAR, F2)))
    assert set(known) == {(FST, F2, DEST), (FST, F1, DEST)}
    assert forgive(known, FST, (ME, F2)) == {}


def test_what_faded_is_forgotten_at_the_next_failure() -> None:
    known = remember({}, LONG)
    later = NOW + 6 * HALF_LIFE_MS
    assert max(penalty.points_at(later) for penalty in known.values()) < FORGOTTEN_POINTS
    assert set(remember(known, (ME, F1, DEST), at=later)) == {(FST, F1, DEST)}


def test_the_lightest_make_room_when_many_are_remembered() -> None:
    known: dict[Place, Penalty] = {}
    keys = [PublicKey(n.to_bytes(32, "big")) for n in range(PENALTIES_MAX + 20)]
    for number, one in enumerate(keys):
        known = remember(known, (ME, one, DEST), at=NOW + number)
        assert len(known) <= PENALTIES_MAX
    assert (FST, keys[-1], DEST) in known
    assert (FST, keys[0], DEST) not in known
    known = {place: Penalty(PENALTY_POINTS, NOW, 1) for place in known}
    long = (ME, *keys[:20], DEST)
    assert len(remember(known, long, at=NOW)) == PENALTIES_MAX  # too light to push anybody out


def test_of_two_choices_the_one_with_less_against_it_weighs_less() -> None:
    known = remember({}, LONG)
    later = NOW + 2 * HALF_LIFE_MS
    assert suspicion(known, FST, [(ME, F1, DEST)], later) == 0
    one = suspicion(known, FST, [(ME, F2, DEST)], later)
    assert 0 < one < AVOIDED_POINTS
    assert suspicion(known, FST, [(ME, F2, DEST), LONG], later) > one
    assert suspicion(known, USD, [LONG], later) == 0
