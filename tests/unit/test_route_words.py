"""What people are told when a payment does not fit: sentences that name only friends of their own."""

from dataclasses import replace

import pytest

from offset_engine.client import PayFailure, RoutesLabel, RoutesOutcome
from offset_engine.core.values import Currency
from offset_engine.files import Terms
from offset_engine.notebook import Notebook
from offset_tui import inquiry, rebalance_words, route_words, state
from offset_tui.inquiry import Answers
from offset_tui.route_words import Asked
from tests.covers import covers
from tests.tui import route_scenes as routes
from tests.tui.money_scenes import invoice, payment_id
from tests.tui.scenes import OUSD, friend, key, line, report

STRANGER = "Zoe"


def wanted(
    amount: int,
    *friends: tuple[str, int, int | None],
    away: tuple[str, ...] = (),
    seller: str = STRANGER,
) -> Asked:
    """A payment; each friend is (name, balance, what they said they grant)."""
    book = Notebook()
    made = []
    for name, balance, granted in friends:
        made.append(friend(name, line(balance=balance), is_online=name not in away))
        if granted is not None:
            book = book.with_told(key(name), (Terms(OUSD, 2, granted),))
    node = report(*made)
    lines = state.all_lines(node, book)
    return route_words.asked(node, lines, (amount, OUSD, 2), key(seller))


NONE = routes.nothing(RoutesOutcome.NONE)
ENOUGH = ("Bob", 0, 500_00)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            wanted(40_00, ("Bob", -60_00, 60_00), seller="Bob"),
            "Bob's limit for you is used up; 40.00 more from Bob, or another friend, would do it",
        ),
        (
            wanted(40_00, ("Bob", -60_00, 60_00)),
            "Bob's limit for you is used up; 40.00 and the fees more from Bob, or another friend, would do it",
        ),
        (
            wanted(40_00, ("Bob", 0, 12_00), seller="Bob"),
            "you can pay 12.00 over Bob now; 28.00 more from Bob, or another friend, would do it",
        ),
        (
            wanted(40_00, ("Bob", 0, 12_00), ("Charli", 11_00, 0)),
            (
                "you can pay 23.00 over Bob and Charli now; 17.00 and the fees more from one of them, or another"
                " friend, would do it"
            ),
        ),
        (
            wanted(40_00, ("Bob", 0, 0), ("Charli", 0, 0)),
            (
                "the limits of Bob and Charli for you are used up; 40.00 and the fees more from one of them, or"
                " another friend, would do it"
            ),
        ),
        (
            wanted(40_00, *((f"F{number}", 0, 1_00) for number in range(9))),
            (
                "you can pay 9.00 over F0, F1 and 7 more now; 31.00 and the fees more from one of them, or another"
                " friend, would do it"
            ),
        ),
        (
            wanted(40_00, ("Bob", 0, 500_00), ("Charli", 0, 1_00), away=("Bob",)),
            "this waits for Bob, who cannot be reached now: try again once they are online",
        ),
        (
            replace(wanted(40_00), currency=Currency("BEANS")),
            "no friend of yours uses BEANS: ask one to use it with you, or add one who does",
        ),
    ],
)
def test_the_own_side_is_too_small(asked: Asked, said: str) -> None:
    there = sum(one.can_pay or 0 for one in asked.lines if one.friend in asked.online)
    result = (
        routes.partly(routes.choice(routes.part("Eve", "Bob", amount=there))) if there else NONE
    )
    assert route_words.answer_words(result, asked) == said
    assert route_words.failure_words(PayFailure.OWN_LIMIT, asked) == said
    assert route_words.failure_words(PayFailure.NO_ROUTE, asked) == said


def test_nothing_can_pass_at_all() -> None:
    asked = wanted(1, ENOUGH)
    asked = replace(asked, lines=tuple(replace(one, is_usable=False) for one in asked.lines))
    said = "nothing can pass between you and Bob in OUSD now: 5 shows why"
    assert route_words.answer_words(NONE, asked) == said


def test_nobody_reaches_the_seller() -> None:
    asked = wanted(40_00, ENOUGH)
    result = routes.nothing(RoutesOutcome.UNREACHABLE)
    said = route_words.answer_words(result, asked)
    assert said.startswith("nobody can pay the seller now: their card is offline")
    assert route_words.failure_words(PayFailure.SELLER_UNREACHABLE, asked) == said
    assert "Bob" not in said


def test_the_middle_is_too_small() -> None:
    some = routes.partly(routes.choice(routes.part("Eve", "Bob", "Yan", "Zoe", amount=12_00)))
    said = route_words.answer_words(some, wanted(40_00, ENOUGH))
    assert said.startswith(
        "12.00 OUSD can get to the seller now, although your own friends would carry it: pay less, or try later"
    )
    assert "Yan" not in said
    none = route_words.answer_words(NONE, wanted(40_00, ENOUGH))
    assert none.startswith(
        "nothing can get to the seller now, although your own friends would carry it: try later"
    )
    failed = route_words.failure_words(PayFailure.NO_ROUTE, wanted(40_00, ENOUGH))
    assert failed.startswith("no way to the seller carries it now")


def test_more_from_a_friend_is_not_promised_where_it_would_not_do() -> None:
    asked = wanted(200_00, ("Bob", 0, 160_00))
    for result, most in ((NONE, 50_00), (NONE, 0)):
        said = route_words.answer_words(result, asked, most)
        assert "although your own friends would carry 160.00" in said
    # Reports have two digits and fees go off on the way: nearly everything is everything.
    assert "40.00 and the fees more from Bob" in route_words.answer_words(NONE, asked, 150_00)
    unreached = routes.nothing(RoutesOutcome.UNREACHABLE)
    assert "Bob" not in route_words.answer_words(unreached, asked)


def test_friends_who_never_said_what_they_grant_are_asked() -> None:
    some = routes.partly(routes.choice(routes.part("Eve", "Bob", "Zoe", amount=12_00)))
    assert route_words.answer_words(some, wanted(40_00, ("Bob", 0, None))) == (
        "12.00 OUSD can get to the seller now; what Bob lets you owe is not known: ask for a higher limit, or"
        " find another friend"
    )
    both = route_words.answer_words(NONE, wanted(40_00, ("Bob", 0, None), ("Charli", 0, None)))
    assert "what Bob and Charli let you owe is not known" in both


def test_a_friend_who_lets_more_pass_than_they_said_is_not_blamed() -> None:
    some = routes.partly(routes.choice(routes.part("Eve", "Bob", "Zoe", amount=30_00)))
    said = route_words.answer_words(some, wanted(40_00, ("Bob", 0, 12_00)))
    assert "Bob" not in said
    assert said.startswith("30.00 OUSD can get to the seller now")


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (RoutesOutcome.NO_INDEX, "no index server is listed"),
        (RoutesOutcome.UNANSWERED, "no index server answers"),
        (RoutesOutcome.BUSY, "no time"),
        (RoutesOutcome.REFUSED, "does not say"),
    ],
)
def test_an_index_server_that_says_nothing_is_nobodys_fault(
    outcome: RoutesOutcome, word: str
) -> None:
    result = routes.nothing(outcome)
    asked = wanted(40_00, ("Bob", 0, 0))
    assert word in route_words.answer_words(result, asked)
    assert word in route_words.most_words(result, OUSD, 2)
    assert word in rebalance_words.answer_words(result, OUSD, 2)
    assert inquiry.advice(Answers(result, result), asked, 0) == ""


def test_every_failure_has_words_or_leaves_them_to_others() -> None:
    asked = wanted(40_00, ("Bob", 0, 0))
    said = {one: route_words.failure_words(one, asked) for one in (*PayFailure, None)}
    told = {PayFailure.OWN_LIMIT, PayFailure.NO_ROUTE, PayFailure.SELLER_UNREACHABLE}
    assert {one for one, words in said.items() if words} == told
    # Friends who came online meanwhile: there is nothing to say about limits any more.
    assert route_words.failure_words(PayFailure.OWN_LIMIT, wanted(40_00, ENOUGH)) == ""


# --- what it costs ------------------------------------------------------------------------------

CHEAP = routes.choice(
    routes.part("Eve", "Bob", "Zoe", amount=30_00, fee=2),
    routes.part("Eve", "Charli", "Zoe", amount=10_00, fee=1),
)
ONE = routes.choice(
    routes.part("Eve", "Bob", "Yan", "Zoe", amount=40_00, fee=20), label=RoutesLabel.FEWEST
)


@covers("RMP-17")
def test_every_alternative_has_its_fee() -> None:
    result = routes.found(CHEAP, ONE)
    asked = wanted(40_00, ENOUGH)
    answers = Answers(result, routes.found(ONE))
    assert inquiry.way_lines(answers, asked).split("\n") == [
        "cheapest: 0.03 OUSD (0.08 %), in 2 parts",
        "fewest parts: 0.20 OUSD (0.50 %), in 1 part",
    ]
    assert inquiry.most_line(answers, asked) == "40.00 OUSD can get to the seller now"
    assert inquiry.advice(answers, asked, 3) == ""
    assert inquiry.advice(answers, asked, 2) == (
        "the cheapest way costs 0.03, above your highest fee of 0.02: f changes it"
    )
    free = routes.choice(routes.part("Eve", "Bob", "Zoe", amount=1))
    assert route_words.cost_words(free, OUSD, 2) == "no fee, in 1 part"
    assert route_words.most_words(NONE, OUSD, 2) == "nothing can get to the seller now"


def test_who_can_be_paid_straight_is_not_asked_about() -> None:
    sold = invoice(40_00)
    assert inquiry.is_straight(wanted(40_00, ("Bob", 0, 40_00), seller="Bob"), sold)
    for asked in (
        wanted(40_00, ("Bob", 0, 39_99), seller="Bob"),
        wanted(40_00, ("Bob", 0, None), seller="Bob"),
        wanted(40_00, ("Bob", 0, 40_00), away=("Bob",), seller="Bob"),
        wanted(40_00, ("Charli", 0, 40_00), seller="Bob"),
    ):
        assert not inquiry.is_straight(asked, sold)


# --- rebalancing --------------------------------------------------------------------------------


def a_line(balance: int) -> state.Line:
    (found,) = wanted(0, ("Bob", balance, 100_00)).lines
    return found


def test_what_is_offered_brings_the_balance_nearest_to_zero() -> None:
    owed = a_line(12_00)
    assert rebalance_words.better_amount(owed, 12_00, routes.circle(12_00)) == 12_00
    assert rebalance_words.better_amount(owed, 12_00, routes.circle(12_00, 3)) == 11_97
    assert rebalance_words.better_amount(owed, 11_97, routes.circle(11_97, 3)) == 11_97
    some = routes.partly(routes.choice(routes.part("Eve", "Bob", "Zoe", "Eve", amount=9_00)))
    assert rebalance_words.better_amount(owed, 12_00, some) == 9_00
    assert rebalance_words.better_amount(owed, 12_00, NONE) == 12_00
    owing = a_line(-12_00)
    assert rebalance_words.better_amount(owing, 12_00, routes.circle(12_00, 3)) == 12_00
    # A fee of more than what is owed: nothing sensible is left to offer.
    assert rebalance_words.better_amount(a_line(2), 2, routes.circle(2, 5)) == 2


def test_one_friend_may_be_at_both_ends_of_different_parts() -> None:
    choice = routes.choice(
        routes.part("Eve", "Bob", "Zoe", "Charli", "Eve", amount=5_00, fee=1),
        routes.part("Eve", "Bob", "Yan", "Daniel", "Eve", amount=2_00, fee=2),
    )
    lines = wanted(0, ("Bob", 7_00, 0), ("Charli", -5_00, 9_00), ("Daniel", 0, 9_00)).lines
    found = rebalance_words.changes(choice, lines, OUSD)
    assert [(one.name, one.before, one.after) for one in found] == [
        ("Bob", 7_00, -3),
        ("Charli", -5_00, 0),
        ("Daniel", 0, 2_00),
    ]
    wish = rebalance_words.wish(lines[0], 7_00, choice, 9, payment_id())
    assert (wish.first_friend, wish.last_friend) == (key("Bob"), None)
    assert (wish.confirm_above, wish.max_fee) == (3, 9)


@pytest.mark.parametrize(
    ("balance", "said"),
    [(0, "nothing is owed between you and Bob in OUSD"), (1, ""), (-1, "")],
)
def test_only_what_is_owed_can_be_moved(balance: int, said: str) -> None:
    assert rebalance_words.problem(a_line(balance)) == said
    assert "not in use" in rebalance_words.problem(None)
    stuck = replace(a_line(5), is_usable=False)
    assert "nothing can pass" in rebalance_words.problem(stuck)
