"""The way of a payment in words: people counted, friends named, strangers never."""

import pytest

from offset_engine.client import PartReport, PayStage
from offset_engine.text import fingerprint
from offset_tui import state
from offset_tui.way_words import WAYS_SHOWN, expected_way, way_words
from tests.tui import money_scenes as money
from tests.tui.scenes import HOURS, OUSD, TOLD, friend, key, line, report, village_report

REPORT = village_report()


def _ways(*ways: PartReport, parts: int = 0) -> tuple[str, ...]:
    pay = money.pay(PayStage.SENDING, parts=parts or len(ways), ways=ways)
    return way_words(pay, REPORT, 2)


@pytest.mark.parametrize(
    ("people", "words"),
    [(0, "straight to Bob"), (1, "over Bob"), (2, "over 2 people, Bob first")],
)
def test_one_part_says_how_many_pass_it(people: int, words: str) -> None:
    assert _ways(PartReport(key("Bob"), people, 4_00, 2)) == (words,)


def test_parts_are_told_with_amounts_and_fees() -> None:
    assert _ways(PartReport(key("Bob"), 1, 3_00, 2), PartReport(key("Charli"), 4, 1_00, 0)) == (
        "3.00 over Bob; fee 0.02",
        "1.00 over 4 people, Charli first; no fee",
    )


def test_many_parts_are_counted() -> None:
    told = _ways(*(PartReport(key("Bob"), 1, 1, 0),) * 32, parts=40)
    assert len(told) == WAYS_SHOWN + 1
    assert told[-1] == f"and {40 - WAYS_SHOWN} parts more"


def test_without_parts_there_is_nothing_to_tell() -> None:
    assert _ways() == ()


def test_who_was_a_friend_and_is_none_any_more_has_no_name() -> None:
    stranger = key("Mallory")
    assert _ways(PartReport(stranger, 1, 4_00, 2)) == (f"over {fingerprint(stranger)}",)


def _expected(seller: str, amount: int = 4_00, *friends: object) -> str:
    shown = report(*friends) if friends else REPORT  # type: ignore[arg-type]
    lines = state.all_lines(shown, TOLD)
    return expected_way(lines, shown, money.invoice(amount, seller=seller))


def test_only_a_friend_is_paid_without_looking_for_a_way() -> None:
    assert _expected("Bob") == "straight to Bob, without a fee"
    assert _expected("Bob", 500_00).startswith("not straight to Bob alone")
    assert "if they let you owe that much" in _expected("Daniel")
    later = _expected("Zoe")
    assert later.startswith("found after P")
    assert _expected("Grace") == later
    assert _expected("Bob", 4_00, friend("Bob", line(HOURS))) == later
    assert _expected("Bob", 4_00, friend("Bob", line(OUSD))) != later
