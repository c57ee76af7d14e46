"""What the app says about paying and being paid: every failure has help, every sum keeps its digits."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from offset_engine.client import CREDITS_MAX, Currency, PayFailure, PayStage
from offset_engine.files import Vouched
from offset_engine.text import EntryError, fingerprint
from offset_tui import money_words as words
from offset_tui import proof_words, sale_words, state
from offset_tui.money_words import Mark, Payer, Weight
from offset_tui.sale_words import Finding
from tests.tui import money_scenes as money
from tests.tui.scenes import (
    HOURS,
    NOW_MS,
    OUSD,
    TOLD,
    friend,
    key,
    line,
    report,
    village_report,
)

EVE = Payer(key("Eve"), 2, True, None)
DAY_MS = 86_400_000


# --- fees and readings ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "decimals", "permille", "fee"),
    [
        (100_00, 2, 0, 1_10),
        (4_01, 2, 0, 15),
        (1, 0, 0, 2),
        (1, 1, 0, 2),
        (100_00, 2, 30, 3_10),
        (CREDITS_MAX, 2, 0, 0),
        (CREDITS_MAX - 5, 38, 1000, 5),
    ],
)
def test_the_highest_fee_is_a_share_and_a_tenth_of_a_unit(
    amount: int, decimals: int, permille: int, fee: int
) -> None:
    assert words.highest_fee(amount, decimals, permille) == fee


def test_fees_up_to_the_share_agreed_once_are_not_asked_about() -> None:
    assert words.agreed_fee(100_00, 5) == 50
    assert words.agreed_fee(100_00, 0) == 0


def test_both_readings_are_told_where_they_differ() -> None:
    assert words.readings(money.invoice(), 2) == ""
    assert words.readings(money.invoice(decimals=255), 0) == ""
    assert "100.00 with your 2" in words.readings(money.invoice(10_000, decimals=3), 2)
    assert "states no decimals" in words.readings(money.invoice(10_000, decimals=255), 2)


def test_only_a_friend_has_a_name() -> None:
    report = village_report()
    assert words.who(report, key("Bob")).startswith("Bob · ")
    assert words.who(report, key("Zoe")).endswith("not one of your friends")
    assert words.called(report, key("Bob")) == "Bob"


def test_expiry_in_words() -> None:
    assert words.expiry_words(money.invoice(expires=0), NOW_MS) == "never"
    assert words.expiry_words(money.invoice(), NOW_MS).startswith("in 23 h")
    old = money.invoice(expires=NOW_MS // 1000 - 120)
    assert words.expiry_words(old, NOW_MS) == "expired 2 min ago"
    assert words.is_expired(old, NOW_MS)


# --- warnings -------------------------------------------------------------------------------------


def test_the_worst_warning_comes_first() -> None:
    invoice = money.invoice(seller="Eve", expires=1, decimals=3, is_signed=False)
    broke = Payer(key("Eve"), 2, False, None)
    found = words.cautions(invoice, broke, Vouched.UNSIGNED, None, NOW_MS)
    weights = [one.weight for one in found]
    assert weights == [Weight.STOP, Weight.STOP, Weight.WARN, Weight.WARN, Weight.WARN]
    assert words.cautions(money.invoice(), EVE, Vouched.SIGNED, None, NOW_MS) == ()


def test_too_little_is_only_said_when_every_friend_told_a_limit() -> None:
    little = Payer(key("Eve"), 2, True, 1_00)
    (found,) = words.cautions(money.invoice(), little, Vouched.SIGNED, None, NOW_MS)
    assert "1.00 OUSD at most" in found.words
    unsure = replace(little, is_all_told=False)
    assert words.cautions(money.invoice(), unsure, Vouched.SIGNED, None, NOW_MS) == ()


@pytest.mark.parametrize("stage", [PayStage.SEARCHING, PayStage.COMMITTED, PayStage.PAID])
def test_an_invoice_is_not_paid_twice(stage: PayStage) -> None:
    found = words.repeats(money.invoice(), words.tries([money.pay(stage)], ()), NOW_MS)
    assert found is not None
    assert found.weight is Weight.STOP


def test_a_payment_that_succeeded_outweighs_one_that_failed() -> None:
    tries = words.tries(
        [money.failed(PayFailure.STUCK), money.failed(PayFailure.UNKNOWN)],
        [money.paid_record(money.invoice(), 2)],
    )
    found = words.repeats(money.invoice(), tries, NOW_MS)
    assert found is not None
    assert found.weight is Weight.STOP


def test_unknown_asks_for_a_word_and_safe_failures_only_tell() -> None:
    for failure in PayFailure:
        tries = words.tries([money.failed(failure)], ())
        found = words.repeats(money.invoice(), tries, NOW_MS)
        assert found is not None
        unsafe = failure is PayFailure.UNKNOWN
        assert found.weight is (Weight.TYPED if unsafe else Weight.NOTE)


def test_the_same_amount_to_the_same_seller_is_pointed_out_for_a_while() -> None:
    again = money.invoice(number=2)
    tries = words.tries((), [money.paid_record(money.invoice())])
    assert words.repeats(again, tries, NOW_MS) is not None
    assert words.repeats(again, tries, NOW_MS + words.TWICE_MS) is None
    assert words.repeats(money.invoice(5_00, number=2), tries, NOW_MS) is None


def test_live_list_and_history_count_once() -> None:
    pay = money.pay(PayStage.PAID)
    assert len(words.tries([pay], [money.paid_record(pay.invoice)])) == 1


# --- timeline -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "at"),
    [
        (PayStage.SEARCHING, 0),
        (PayStage.FEE_TO_CONFIRM, 1),
        (PayStage.SENDING, 2),
        (PayStage.COMMITTED, 4),
        (PayStage.PAID, 6),
    ],
)
def test_the_timeline_moves_on(stage: PayStage, at: int) -> None:
    steps = words.timeline(money.pay(stage), 2, NOW_MS, is_handed=False)
    assert [one.name for one in steps] == list(words.NAMES)
    assert [one.mark for one in steps[:at]] == [Mark.DONE] * at
    assert [one.mark for one in steps[at + 1 :]] == [Mark.TODO] * (5 - at)


@pytest.mark.parametrize("failure", list(PayFailure))
def test_every_failure_has_its_place_and_says_what_helps(failure: PayFailure) -> None:
    pay = money.failed(failure)
    steps = words.timeline(pay, 2, NOW_MS, is_handed=False)
    assert [one.mark for one in steps].count(Mark.FAILED) == 1
    assert words.help_sentence(pay)
    is_safe = failure is not PayFailure.UNKNOWN
    assert words.is_retry_safe(pay) is is_safe
    assert words.safety_sentence(pay).startswith(f"Safe to pay again: {'yes' if is_safe else 'no'}")


@pytest.mark.parametrize("stage", [one for one in PayStage if one is not PayStage.FAILED])
def test_nothing_else_is_safe_to_pay_again(stage: PayStage) -> None:
    pay = money.pay(stage)
    assert not words.is_retry_safe(pay)
    assert words.safety_sentence(pay).startswith("Safe to pay again: no, because")
    assert words.help_sentence(pay) == ""


def test_a_commit_given_back_is_safe_to_pay_again() -> None:
    pay = money.pay(PayStage.FAILED, failure=PayFailure.REFUSED, has_commit=True)
    assert "gave everything back" in words.safety_sentence(pay)
    assert words.step_at(pay, is_handed=True) == 5


def test_waiting_says_more_the_longer_it_takes() -> None:
    said = [
        words.timeline(
            money.pay(PayStage.SENDING, parts=1, ago_s=seconds), 2, NOW_MS, is_handed=False
        )[2].words
        for seconds in (1, 15, 45)
    ]
    assert "1 part on the way" in said[0]
    assert "waits for answers" in said[1]
    assert "x gives up" in said[2]


# --- being paid -----------------------------------------------------------------------------------


def test_what_can_come_in_and_go_out() -> None:
    lines = state.all_lines(village_report(), TOLD)
    assert sale_words.receivable(lines, OUSD) == 188_00 + 181_45 + 200_00
    assert sale_words.receivable(lines, Currency("BEANS")) is None
    assert sale_words.payable(lines, HOURS) == (True, 7_50, True)
    assert sale_words.payable(lines, OUSD)[2] is False
    assert sale_words.used_currencies(lines, ()) == (OUSD, HOURS)
    assert sale_words.used_currencies(lines, (HOURS,)) == (HOURS, OUSD)


@pytest.mark.parametrize(
    "state_of",
    [
        {"is_enabled": False},
        {"is_consistent": False},
        {"is_quarantined": True},
        {"is_unreadable": True},
        {"currencies": (line(balance=None),)},
        {"currencies": (replace(line(balance=50_00), is_removing=True),)},
    ],
)
def test_nothing_is_expected_through_a_friend_nothing_can_pass_through(
    state_of: dict[str, Any],
) -> None:
    bob = replace(friend("Bob", line()), **state_of)
    lines = state.all_lines(report(bob), TOLD)
    (net,) = state.nets(lines)
    assert (lines[0].can_pay, lines[0].can_be_paid) == (0, 0)
    assert (net.can_pay, net.can_be_paid) == (0, 0)
    assert not sale_words.receivable(lines, OUSD)
    assert not sale_words.payable(lines, OUSD)[1]


def test_what_a_friend_did_not_say_stays_unknown_beside_one_that_is_switched_off() -> None:
    off = replace(friend("Bob", line()), is_enabled=False)
    lines = state.all_lines(report(off, friend("Zoe", line())), TOLD)
    assert state.nets(lines)[0].can_pay is None
    assert sale_words.payable(lines, OUSD) == (True, None, False)


def test_a_friend_who_is_offline_may_come_back() -> None:
    (one,) = state.all_lines(report(friend("Bob", line(), is_online=False)), TOLD)
    assert one.is_usable
    assert one.can_be_paid == 200_00


def test_a_closed_currency_counts_between_the_two() -> None:
    lines = state.all_lines(report(friend("Bob", line(is_open=False))), TOLD)
    assert sale_words.receivable(lines, OUSD) == 200_00
    assert state.nets(lines)[0].can_be_paid == 200_00
    assert "no friend" not in sale_words.echo(1_00, OUSD, 2, 200_00)[0]


def test_friends_who_look_alike_are_told_apart_wherever_they_are_named() -> None:
    long = "Alice the baker of Main St. "
    made = report(replace(friend("a"), name=f"{long}1"), replace(friend("b"), name=f"{long}2"))
    names = state.friend_names(made)
    assert len(set(names.values())) == 2
    assert words.called(made, key("a")) == names[key("a")]
    assert fingerprint(key("a")) in names[key("a")]
    assert words.called(made, key("Zoe")) == fingerprint(key("Zoe"))


def test_a_name_cannot_pass_for_a_name_with_a_fingerprint() -> None:
    spoof = f"Bob {fingerprint(key('b'))}"
    made = report(
        replace(friend("a"), name=spoof),
        replace(friend("b"), name="Bob"),
        replace(friend("c"), name="Bob"),
        replace(friend("d"), name="Jean-Paul"),
    )
    names = state.friend_names(made)
    assert names[key("b")] == spoof
    assert names[key("a")] == f"{spoof} {fingerprint(key('a'))}"
    assert names[key("d")] == "Jean-Paul"


def test_the_echo_warns_of_too_much() -> None:
    assert sale_words.echo(1_00, "OUSD", 2, 5_00) == (
        "= 1.00 OUSD; you can be paid up to 5.00",
        False,
    )
    assert sale_words.echo(6_00, "OUSD", 2, 5_00)[1]
    assert sale_words.echo(6_00, "OUSD", 2, None)[1]


def test_descriptions_are_counted_in_bytes() -> None:
    assert sale_words.check_description("  é ") == "é"
    with pytest.raises(EntryError, match="1 byte too long"):
        sale_words.check_description("é" * 128)
    with pytest.raises(EntryError, match="currency name"):
        sale_words.check_currency("a b")


@pytest.mark.parametrize(
    ("typed", "until"),
    [
        ("14", NOW_MS + 14 * DAY_MS),
        (" 3 days", NOW_MS + 3 * DAY_MS),
        ("1d", NOW_MS + DAY_MS),
        ("2026-12-24", 1_798_156_800_000),
        ("2026-12-24 18:00", 1_798_135_200_000),
    ],
)
def test_until_when_to_hold(typed: str, until: int) -> None:
    assert sale_words.parse_until(typed, NOW_MS, dt.UTC) == until


@pytest.mark.parametrize(
    "typed", ["", "soon", "0", "2020-01-01", "99999", "2026-13-01", "٣", "-1", "9" * 400]
)
def test_no_date_is_explained(typed: str) -> None:
    with pytest.raises(EntryError):
        sale_words.parse_until(typed, NOW_MS, dt.UTC)


def test_states_of_an_invoice() -> None:
    asked = money.invoice(seller="Eve")
    held = money.sale(asked, frozen=4_00, is_sealed=True, registered=money.commit(asked))
    told = [
        sale_words.invoice_state(money.sale(asked), NOW_MS, None),
        sale_words.invoice_state(money.sale(asked, frozen=1), NOW_MS, None),
        sale_words.invoice_state(money.reserved(asked), NOW_MS, None),
        sale_words.invoice_state(held, NOW_MS, None),
        sale_words.invoice_state(held, NOW_MS, NOW_MS + DAY_MS),
        sale_words.invoice_state(money.sale(replace(asked, expires=0)), NOW_MS, None),
        sale_words.invoice_state(money.sale(replace(asked, expires=1)), NOW_MS, None),
        sale_words.invoice_state(money.sold(asked), NOW_MS, None),
        sale_words.invoice_state(money.sold(asked, is_paid=False), NOW_MS, None),
    ]
    assert len(set(told)) == len(told)


def test_refunding_says_more_the_more_is_lost() -> None:
    asked = money.invoice(seller="Eve")
    held = money.sale(asked, frozen=4_00, is_sealed=True, registered=money.commit(asked))
    assert "for good" in sale_words.refund_words(held, "4.00 OUSD")
    assert "goes back" in sale_words.refund_words(money.reserved(asked), "4.00 OUSD")
    assert "Nobody has paid" in sale_words.refund_words(money.sale(asked), "4.00 OUSD")


def test_what_a_commit_is_worth() -> None:
    asked = money.invoice(seller="Eve")
    good, other = money.commit(asked), money.commit(money.invoice(seller="Eve", number=2))
    held = money.sale(asked, frozen=4_00, is_sealed=True, registered=good)
    foreign = replace(held, registered=other)
    again = money.sold(asked, proof=other)
    table = [
        (good, None, Finding.UNKNOWN),
        (good, money.reserved(asked), Finding.GOOD),
        (good, held, Finding.HELD),
        (good, foreign, Finding.WRONG),
        (good, money.sale(asked), Finding.WRONG),
        (other, money.reserved(asked), Finding.WRONG),
        (money.commit(asked, "Bob"), money.reserved(asked), Finding.WRONG),
        (good, money.sold(asked, proof=good), Finding.COLLECTED),
        (good, again, Finding.WRONG),
        (good, money.sold(asked, is_paid=False), Finding.CLOSED),
    ]
    for commit, known, finding in table:
        verdict = sale_words.judge(commit, known)
        assert verdict.finding is finding
        assert verdict.may_collect is (finding in (Finding.GOOD, Finding.HELD))


# --- proofs ---------------------------------------------------------------------------------------


def test_the_page_beside_a_receipt_is_plain_and_harmless() -> None:
    asked = money.invoice(2**127 - 2**100, money.HOSTILE[:120])
    paid = proof_words.Paid(asked, money.receipt(asked), 2, 51, NOW_MS, "Bob\x1b")
    page = proof_words.page(paid)
    assert str(2**127 - 2**100) in page
    assert "Good: the seller has collected" in page
    assert "0.51 OUSD" in page
    assert not any(char in page for char in "\x1b\u202e\x07")
    assert asked.dest_public_key.to_text() in page


def test_the_page_of_a_sale() -> None:
    page = proof_words.sold_page(money.sold(money.invoice(seller="Eve")), 2)
    assert "4.00 OUSD" in page
    assert "verify-commit" in page


def test_a_receipt_needs_its_invoice() -> None:
    asked = money.invoice()
    assert proof_words.judge_receipt(money.receipt(asked), asked).is_good
    assert not proof_words.judge_receipt(money.receipt(asked), None).is_good
    assert not proof_words.judge_receipt(money.receipt(asked, "Zoe"), asked).is_good
