"""Looking for a way: asking again, another server, what other payments taught, and what is shown to programs."""

from dataclasses import replace

import pytest

from offset_engine.core.api import (
    CancelPay,
    CloseFriendCurrency,
    CommandFault,
    CommitInvoice,
    ConfirmFee,
    OpenFriendCurrency,
    Pay,
    RequestRoutes,
    RoutesChoice,
    RoutesLabel,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
)
from offset_engine.core.events import AskRoutes, CommandGiven, RoutesArrived
from offset_engine.core.index import RouteCode
from offset_engine.core.inquiring import OPEN_INQUIRIES_MAX
from offset_engine.core.messages import Part, RouteChoice, RoutesResponse
from offset_engine.core.payer import PayFailure, PayStage, PlannedPart
from offset_engine.core.route_memory import HALF_LIFE_MS, PENALTY_POINTS, Penalty
from offset_engine.core.values import (
    CREDITS_MAX,
    ROUTE_EXCLUDED_MAX,
    ROUTE_MISSES_MAX,
    ROUTE_ROUNDS_MAX,
    Currency,
    PublicKey,
    Uid,
)
from tests.fakes import (
    FST,
    Card,
    Wires,
    answer_routes,
    assert_settled,
    befriend,
    chain,
    diamond,
    find_no_way,
    new_invoice,
    part,
    pay_over,
    reloaded,
    uid,
    wish,
    with_index,
)

SEARCHING, TO_CONFIRM, SENDING, COMMITTED, PAID, FAILED = PayStage
CHEAPEST = RoutesLabel.CHEAPEST


def begin(card: Card, seller: Card, amount: int, number: int = 1, max_fee: int = 100) -> None:
    """Take up a wish to pay; nothing is delivered yet."""
    invoice = new_invoice(seller, amount, number)
    assert card.do(Pay(wish(number), invoice, max_fee)) is None


def now(card: Card, number: int = 1) -> tuple[PayStage, PayFailure | None]:
    intent = card.intent(wish(number))
    return intent.stage, intent.failure


def settle(wires: Wires, buyer: Card, seller: Card, number: int = 1) -> None:
    """Hand over the commit and collect."""
    commit = buyer.intent(wish(number)).commit
    assert commit is not None
    assert seller.do(CommitInvoice(commit)) is None
    wires.run()
    assert now(buyer, number) == (PAID, None)


# --- asking again -------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [RouteCode.NONE, RouteCode.PARTIAL, RouteCode.UNREACHABLE])
def test_who_has_just_come_online_is_found_although_the_server_does_not_know_it_yet(
    code: RouteCode,
) -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, b, 5)
    answer_routes(a, code=code)
    assert now(a) == (SEARCHING, None)
    a.pass_time(a.env.timers.route_retry_ms - 1)
    assert len(a.questions) == 1
    a.pass_time(1)
    assert len(a.questions) == 2
    answer_routes(a, (part(a, m, b, amount=5),))
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_a_wish_asks_again_after_longer_and_longer_pauses_and_fails_after_six_seconds() -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, b, 5)
    start, asked = a.env.now_ms, [a.env.now_ms]
    while now(a)[0] is SEARCHING:
        answer_routes(a, code=RouteCode.NONE)
        count = len(a.questions)
        while len(a.questions) == count and now(a)[0] is SEARCHING:
            a.pass_time(100)
        asked.append(a.env.now_ms)
    assert [at - start for at in asked] == [0, 1_000, 3_000, 6_000, 6_000]
    assert len(a.questions) == 1 + ROUTE_MISSES_MAX
    assert now(a) == (FAILED, PayFailure.NO_ROUTE)
    assert len(a.state.agenda) == 0


def test_a_canceled_or_expired_wish_stops_asking() -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, b, 5)
    answer_routes(a, code=RouteCode.NONE)
    assert a.do(CancelPay(wish(1))) is None
    soon = replace(new_invoice(b, 5, 2), expires=a.env.wall_ms // 1000 + 1)
    assert a.do(Pay(wish(2), soon, 0)) is None
    answer_routes(a, code=RouteCode.NONE)
    a.pass_time(60_000)
    assert len(a.questions) == 2
    assert now(a, 1) == (FAILED, PayFailure.CANCELED)
    assert now(a, 2) == (FAILED, PayFailure.EXPIRED)


def test_no_way_yet_costs_none_of_the_rounds_and_comes_once_per_wish() -> None:
    wires, (a, m, b) = chain("a", "m", "b", limits=(100, 0))
    with_index(a)
    begin(a, b, 10)
    for pause in (1, 2, 3):
        answer_routes(a, code=RouteCode.NONE)
        a.pass_time(pause * a.env.timers.route_retry_ms)
    others = [Card(f"x{number}", 20 + number) for number in range(ROUTE_ROUNDS_MAX)]
    for other in others:
        assert now(a) == (SEARCHING, None)
        answer_routes(a, (part(a, m, other, b, amount=10),))
        wires.run()
    assert now(a) == (FAILED, PayFailure.REFUSED)
    assert len(a.questions) == ROUTE_MISSES_MAX + ROUTE_ROUNDS_MAX


def test_a_part_that_comes_back_during_the_pause_is_learnt_from_and_ends_it() -> None:
    wires, (a, m, n, b) = diamond()
    for one in (m, n):
        assert one.do(CloseFriendCurrency(b.key, FST)) is None
    with_index(a)
    begin(a, b, 10)
    answer_routes(a, (part(a, m, b, amount=6), part(a, n, b, amount=4)))
    wires.cut(a, n)
    wires.run()  # over m it comes back, over n it is still under way
    answer_routes(a, code=RouteCode.NONE)  # to the question that avoids what has just failed
    answer_routes(a, code=RouteCode.NONE)
    assert a.intent(wish(1)).misses == 1
    wires.connect(a, n)
    wires.run()
    assert a.questions[-1].amount == 10
    assert set(a.questions[-1].exclude_edges) == {(m.key, b.key), (n.key, b.key)}


def test_after_a_restart_a_wish_without_a_way_looks_again() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, b, 5)
    answer_routes(a, code=RouteCode.NONE)
    wires.restart(a, reloaded(a.state))
    wires.connect(a, m)
    wires.run()
    answer_routes(a, (part(a, m, b, amount=5),))
    wires.run()
    assert now(a) == (COMMITTED, None)


# --- another server -----------------------------------------------------------------------------


def places(card: Card, seller: Card, *codes: RouteCode) -> list[bool]:
    """For each question of one wish whether it is to go to another server than the last."""
    asked: list[bool] = []
    feed = card.feed

    def watching(*events):
        effects = feed(*events)
        asked.extend(one.is_elsewhere for one in effects if isinstance(one, AskRoutes))
        return effects

    card.feed = watching  # type: ignore[method-assign]
    begin(card, seller, 5)
    for code in codes:
        answer_routes(card, code=code)
        card.pass_time(3 * card.env.timers.route_retry_ms)
    return asked


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((RouteCode.NONE, RouteCode.NONE, RouteCode.NONE), [False, False, True, False]),
        ((RouteCode.PARTIAL, RouteCode.UNREACHABLE), [False, False, True]),
        ((RouteCode.BUSY,), [False, True]),
        ((RouteCode.INVALID,), [False, True]),
        ((RouteCode.OK, RouteCode.NONE), [False, True, True]),  # offered nothing that is honest
    ],
)
def test_a_server_without_an_answer_is_not_the_last_one_asked(
    codes: tuple[RouteCode, ...], expected: list[bool]
) -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    with_index(a)
    assert places(a, b, *codes) == expected


# --- what is chosen -----------------------------------------------------------------------------


def test_of_two_choices_with_one_fee_the_one_with_less_against_it_is_taken_then_fewer_parts() -> (
    None
):
    _, (a, m, n, b) = diamond()
    with_index(a)
    over_m, over_n = part(a, m, b, amount=10, fee=2), part(a, n, b, amount=10, fee=2)
    both = (part(a, m, b, amount=5, fee=1), part(a, n, b, amount=5, fee=1))
    faded = Penalty(PENALTY_POINTS // 10, a.env.wall_ms, 1)
    a.state.penalties[FST, m.key, b.key] = faded
    begin(a, b, 10)
    answer_routes(a, both, (over_m,), (over_n,))
    (chosen,) = a.intent(wish(1)).parts.values()
    assert chosen.route == over_n.keys
    begin(a, b, 10, 2)
    cheap = part(a, m, b, amount=10, fee=1)
    answer_routes(a, both, (over_n,), (cheap,))
    (chosen,) = a.intent(wish(2)).parts.values()
    assert chosen.route == cheap.keys  # a lower fee comes first
    a.state.penalties.clear()
    begin(a, b, 10, 3)
    answer_routes(a, both, (over_m,))
    assert len(a.intent(wish(3)).parts) == 1


# --- what other payments taught -----------------------------------------------------------------


def broken_diamond() -> tuple[Wires, list[Card]]:
    """A payment of 10 over m has just come back, because m no longer passes anything on to b."""
    wires, (a, m, n, b) = diamond()
    assert m.do(CloseFriendCurrency(b.key, FST)) is None
    pay_over(wires, new_invoice(b, 10), 1, part(a, m, b, amount=10))
    answer_routes(a, (part(a, n, b, amount=10),))
    wires.run()
    settle(wires, a, b)
    return wires, [a, m, n, b]


def test_the_next_payment_avoids_where_the_last_one_failed() -> None:
    _, (a, m, _n, b) = broken_diamond()
    assert set(a.state.penalties) == {(FST, m.key, b.key)}
    begin(a, b, 10, 2)
    assert a.questions[-1].exclude_edges == ((m.key, b.key),)
    assert a.intent(wish(2)).excluded == ()
    begin(a, b, 9, 3)
    assert a.questions[-1].exclude_edges == ()  # less may still pass there


def test_what_is_avoided_is_forgotten_after_a_while() -> None:
    _, (a, _m, _n, b) = broken_diamond()
    a.env.wall_ms += 3 * HALF_LIFE_MS
    begin(a, b, 10, 2)
    assert a.questions[-1].exclude_edges == ()


def test_a_way_that_is_avoided_is_used_if_there_is_no_other() -> None:
    wires, (a, m, _n, b) = broken_diamond()
    assert m.do(OpenFriendCurrency(b.key, FST)) is None
    wires.run()
    begin(a, b, 10, 2)
    count = len(a.questions)
    answer_routes(a, code=RouteCode.NONE)
    assert len(a.questions) == count + 1  # at once
    assert a.questions[-1].exclude_edges == ()
    answer_routes(a, (part(a, m, b, amount=10),))
    wires.run()
    assert now(a, 2) == (COMMITTED, None)
    assert a.state.penalties == {}  # it arrived


def test_a_way_that_is_avoided_is_used_if_the_other_costs_more_than_allowed() -> None:
    _, (a, m, n, b) = broken_diamond()
    begin(a, b, 10, 2, max_fee=5)
    answer_routes(a, (part(a, n, b, amount=10, fee=6),))
    assert now(a, 2) == (SEARCHING, None)
    answer_routes(a, (part(a, m, b, amount=10, fee=5),))
    assert now(a, 2) == (SENDING, None)


def test_without_anything_to_avoid_the_fee_is_final() -> None:
    _, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, b, 10, max_fee=5)
    answer_routes(a, (part(a, m, b, amount=10, fee=6),))
    assert now(a) == (FAILED, PayFailure.FEE_ABOVE_LIMIT)


def test_what_failed_survives_a_restart() -> None:
    wires, (a, m, n, b) = broken_diamond()
    wires.restart(a, reloaded(a.state))
    for one in (m, n):
        wires.connect(a, one)
    wires.run()
    begin(a, b, 10, 2)
    assert a.questions[-1].exclude_edges == ((m.key, b.key),)


def test_who_did_not_answer_is_avoided_whatever_the_amount() -> None:
    wires, (a, m, _n, b) = diamond()
    with_index(a)
    wires.cut(m, b)
    begin(a, b, 10)
    answer_routes(a, (part(a, m, b, amount=10),))
    wires.run()
    a.pass_time(a.env.timers.part_stuck_ms)
    begin(a, b, 1, 2)
    assert a.questions[-1].exclude_edges == ((m.key, b.key),)


def test_a_part_that_never_left_or_died_with_our_own_channel_blames_nobody() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, b, 10)
    wires.cut(a, m)
    answer_routes(a, (part(a, m, b, amount=10),))
    wires.offline(a, m)
    assert a.state.penalties == {}


def test_a_question_leaves_out_no_more_than_it_may() -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    with_index(a)
    for number in range(ROUTE_EXCLUDED_MAX + 5):
        hop = PublicKey(bytes([50, number]) * 16), b.key
        a.state.penalties[FST, *hop] = Penalty(PENALTY_POINTS, a.env.wall_ms, 1)
    begin(a, b, 5)
    assert len(a.questions[-1].exclude_edges) == ROUTE_EXCLUDED_MAX


# --- questions of programs ----------------------------------------------------------------------


def result(card: Card) -> RoutesResult:
    found = [notice for notice in card.notices if isinstance(notice, RoutesResult)]
    return found[-1]


def scene() -> tuple[Wires, list[Card]]:
    wires, cards = diamond()
    with_index(cards[0])
    return wires, cards


def test_a_program_learns_every_honest_choice_with_its_fees() -> None:
    _, (a, m, n, b) = scene()
    stranger = Card("x", 9)
    assert a.do(RequestRoutes(uid(1), FST, 10, b.key)) is None
    cheap = part(a, m, b, amount=10, fee=1)
    split = (part(a, m, b, amount=5, fee=1), part(a, n, b, amount=5, fee=1))
    lie = part(a, stranger, b, amount=10, fee=0)
    answer(a, RouteCode.OK, 10, (cheap,), split, (lie,))
    assert result(a) == RoutesResult(
        uid(1),
        RoutesOutcome.FOUND,
        10,
        (RoutesChoice(CHEAPEST, planned(cheap)), RoutesChoice(RoutesLabel.FEWEST, planned(*split))),
    )
    assert not a.state.inquiries
    assert len(a.state.agenda) == 0
    count = len(a.notices)
    answer(a, RouteCode.OK, 10, (cheap,))  # nobody asks any more
    assert len(a.notices) == count


def answer(card: Card, code: int, reachable: int, *choices: tuple[Part, ...]) -> None:
    """Answer the newest question, the choices labelled one after the other."""
    offered = tuple(RouteChoice(label, parts) for label, parts in enumerate(choices))
    question = card.questions[-1].request_id
    card.feed(RoutesArrived(RoutesResponse(question, code, reachable, 0, offered)))


def planned(*parts: Part) -> tuple[PlannedPart, ...]:
    return tuple(PlannedPart(one.keys, one.amount, one.fee) for one in parts)


def test_a_program_learns_the_most_that_can_be_paid() -> None:
    _, (a, m, n, b) = scene()
    wish_max = RequestRoutes(uid(1), FST, 0, b.key, wish=RoutesWish.MAX)
    assert a.do(wish_max) is None
    assert (a.questions[-1].kind, a.questions[-1].amount) == (1, 0)
    most = (part(a, m, b, amount=70), part(a, n, b, amount=60))
    answer(a, RouteCode.OK, 130, most)
    assert result(a) == RoutesResult(
        uid(1), RoutesOutcome.FOUND, 130, (RoutesChoice(CHEAPEST, planned(*most)),)
    )
    assert a.do(replace(wish_max, request_id=uid(2))) is None
    answer(a, RouteCode.OK, 131, most)  # it says more than it can show
    assert result(a) == RoutesResult(uid(2), RoutesOutcome.NONE)


@pytest.mark.parametrize(
    ("wanted", "code"), [(RoutesWish.MAX, RouteCode.OK), (RoutesWish.PAY, RouteCode.PARTIAL)]
)
def test_who_offers_more_than_was_asked_for_lies(wanted: RoutesWish, code: RouteCode) -> None:
    _, (a, m, _, b) = scene()
    assert a.do(RequestRoutes(uid(1), FST, 60, b.key, wish=wanted)) is None
    answer(a, code, 70, (part(a, m, b, amount=70),))
    assert result(a) == RoutesResult(uid(1), RoutesOutcome.NONE)


def test_a_program_learns_what_a_cycle_costs_and_which_friends_it_uses() -> None:
    wires, (a, m, n) = circle()
    assert a.do(ask_cycle(a, first=m.key, last=n.key)) is None
    question = a.questions[-1]
    assert (question.kind, question.dest) == (2, a.key)
    assert (question.first_friend, question.last_friend) == (m.key, n.key)
    around, back = part(a, m, n, a, amount=5, fee=2), part(a, n, m, a, amount=5, fee=1)
    answer(a, RouteCode.OK, 5, (around,), (back,))
    assert result(a).choices == (RoutesChoice(CHEAPEST, planned(around)),)
    wires.run()


def circle() -> tuple[Wires, list[Card]]:
    """Three friends; the first asks an index server."""
    a, m, n = cards = [Card(name, number) for number, name in enumerate("amn", 1)]
    wires = Wires(*cards)
    for one, other in ((a, m), (m, n), (n, a)):
        befriend(one, other)
        wires.connect(one, other)
    wires.run()
    with_index(a)
    return wires, cards


def ask_cycle(
    card: Card, first: PublicKey | None = None, last: PublicKey | None = None
) -> RequestRoutes:
    return RequestRoutes(
        uid(1), FST, 5, card.key, wish=RoutesWish.CYCLE, first_friend=first, last_friend=last
    )


def test_less_than_was_asked_for_is_shown_as_such() -> None:
    _, (a, m, _n, b) = scene()
    assert a.do(RequestRoutes(uid(1), FST, 10, b.key)) is None
    some = part(a, m, b, amount=7, fee=1)
    answer(a, RouteCode.PARTIAL, 7, (some,))
    assert result(a) == RoutesResult(
        uid(1), RoutesOutcome.PARTIAL, 7, (RoutesChoice(CHEAPEST, planned(some)),)
    )


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (RouteCode.NONE, RoutesOutcome.NONE),
        (RouteCode.OK, RoutesOutcome.NONE),  # without a choice
        (RouteCode.UNREACHABLE, RoutesOutcome.UNREACHABLE),
        (RouteCode.BUSY, RoutesOutcome.BUSY),
        (RouteCode.INVALID, RoutesOutcome.REFUSED),
    ],
)
def test_without_a_choice_the_program_hears_why(code: RouteCode, outcome: RoutesOutcome) -> None:
    _, (a, _m, _n, b) = scene()
    assert a.do(RequestRoutes(uid(1), FST, 10, b.key)) is None
    answer(a, code, 0)
    assert result(a) == RoutesResult(uid(1), outcome)


def test_every_question_gets_a_result() -> None:
    _, (a, m, b) = chain("a", "m", "b")
    assert a.do(RequestRoutes(uid(1), FST, 10, b.key)) is None
    assert result(a) == RoutesResult(uid(1), RoutesOutcome.NO_INDEX)
    with_index(a)
    assert a.do(RequestRoutes(uid(2), FST, 10, b.key)) is None
    assert a.do(RequestRoutes(uid(2), FST, 10, b.key)) is CommandFault.REQUEST_ALREADY_IN_PROGRESS
    a.pass_time(a.env.timers.route_answer_ms - 1)
    assert result(a).request_id == uid(1)
    a.pass_time(1)
    assert result(a) == RoutesResult(uid(2), RoutesOutcome.UNANSWERED)
    assert not a.state.inquiries
    assert m.key not in (one.request_id for one in a.questions)


def test_what_is_shown_is_what_would_be_paid_now() -> None:
    _, (a, m, n, b) = broken_diamond()
    a.do(RequestRoutes(uid(1), FST, 10, b.key, ((a.key, n.key),)))
    assert a.questions[-1].exclude_edges == ((a.key, n.key), (m.key, b.key))
    answer(a, RouteCode.PARTIAL, 5, (part(a, n, b, amount=5),))
    assert a.questions[-1].exclude_edges == ((a.key, n.key),)  # at once, without fear
    good = part(a, m, b, amount=10)
    answer(a, RouteCode.OK, 10, (good,))
    assert result(a).choices == (RoutesChoice(CHEAPEST, planned(good)),)
    a.do(RequestRoutes(uid(2), FST, 10, b.key))
    answer(a, RouteCode.OK, 10, (part(a, n, b, amount=10, fee=4),))
    assert result(a).outcome is RoutesOutcome.FOUND
    a.do(RequestRoutes(uid(3), FST, 0, b.key, wish=RoutesWish.MAX))
    assert a.questions[-1].exclude_edges == ()


def test_what_cannot_be_asked_is_refused_at_once() -> None:
    _, (a, m, _n, b) = scene()
    good = RequestRoutes(uid(1), FST, 10, b.key)
    edges = ((a.key, m.key),) * (ROUTE_EXCLUDED_MAX + 1)
    cases: list[tuple[CommandFault, dict[str, object]]] = [
        (CommandFault.INVALID_AMOUNT, {"amount": 0}),
        (CommandFault.INVALID_AMOUNT, {"amount": CREDITS_MAX + 1}),
        (CommandFault.INVALID_AMOUNT, {"amount": -1, "wish": RoutesWish.MAX}),
        (CommandFault.INVALID_ARGUMENT, {"dest": a.key}),
        (CommandFault.INVALID_ARGUMENT, {"wish": RoutesWish.CYCLE}),
        (CommandFault.LIMIT_REACHED, {"exclude_edges": edges}),
    ]
    for fault, change in cases:
        assert a.do(replace(good, **change)) is fault  # type: ignore[arg-type]
    assert not a.questions
    many = [
        replace(good, request_id=Uid(number.to_bytes(16, "big")))
        for number in range(OPEN_INQUIRIES_MAX)
    ]
    assert a.do(*many) is None
    assert len(a.questions) == OPEN_INQUIRIES_MAX
    assert a.do(replace(good, request_id=uid(200))) is CommandFault.LIMIT_REACHED


def test_a_question_of_a_wish_and_one_of_a_program_do_not_mix() -> None:
    _, (a, _m, _n, b) = scene()
    begin(a, b, 5)
    taken = a.questions[-1].request_id
    again = RequestRoutes(taken, FST, 5, b.key)
    assert a.do(again) is CommandFault.REQUEST_ALREADY_IN_PROGRESS
    a.feed(CommandGiven(900, RequestRoutes(uid(1), Currency("USD"), 5, b.key)))
    find_no_way(a)
    assert result(a) == RoutesResult(uid(1), RoutesOutcome.NONE)
    assert now(a) == (SEARCHING, None)


def test_nothing_moves_while_people_only_look() -> None:
    wires, (a, m, n, b) = scene()
    a.do(RequestRoutes(uid(1), FST, 10, b.key))
    answer(a, RouteCode.OK, 10, (part(a, m, b, amount=10),))
    wires.run()
    assert_settled(a, m, n, b)
    assert a.do(ConfirmFee(wish(1), 1)) is CommandFault.PAYMENT_DOES_NOT_EXIST
