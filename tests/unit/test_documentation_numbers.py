"""The numbers the original documentation promises its readers, played out with real cores."""

from itertools import pairwise

import pytest

from offset_engine.core.api import (
    CancelInvoice,
    CommitInvoice,
    RegisterCommit,
    RemoveFriend,
    SetFriendCurrencyMaxDebt,
)
from offset_engine.core.messages import FriendMessage, MoveTokenMessage
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.values import Currency, Rate
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    assert_mirrored,
    assert_settled,
    befriend,
    chain,
    new_invoice,
    part,
    pay_and_collect,
    pay_over,
    wish,
)

USD = Currency("USD")
OUSD = Currency("OUSD")
HALF_PERCENT = 21_474_837
"""0.5 % as a share of 2^32, rounded up: rounded down, whole amounts would lose a unit."""


def friends(
    limits: tuple[int, int] = (200, 150), currency: Currency = USD
) -> tuple[Wires, Card, Card]:
    """Bob, who grants Charli the first limit, and Charli, who grants Bob the second."""
    wires, (bob, charli) = chain("bob", "charli", limits=limits, currency=currency)
    return wires, bob, charli


def buy(
    wires: Wires, buyer: Card, seller: Card, price: int, number: int, currency: Currency
) -> PayStage:
    """Buy something from a friend and pay at once."""
    invoice = new_invoice(seller, price, number, currency)
    return pay_and_collect(wires, buyer, seller, invoice, number).stage


def money(*cards: Card) -> int:
    """The sum of all positive balances: how much money exists."""
    return sum(
        max(0, ledger.balance)
        for card in cards
        for friend in card.state.friends.values()
        if friend.consistent is not None
        for ledger in friend.consistent.ledgers.values()
    )


# --- economic idea ------------------------------------------------------------------------------


@covers("PAY-18")
def test_a_chocolate_bar_makes_two_dollars_and_two_loaves_of_bread_unmake_them() -> None:
    wires, bob, charli = friends()
    assert bob.balance(charli, USD) == 0
    assert money(bob, charli) == 0

    assert buy(wires, bob, charli, 2, 1, USD) is PayStage.PAID
    assert (bob.balance(charli, USD), charli.balance(bob, USD)) == (-2, 2)
    assert money(bob, charli) == 2

    assert buy(wires, charli, bob, 2, 2, USD) is PayStage.PAID
    assert (bob.balance(charli, USD), charli.balance(bob, USD)) == (0, 0)
    assert money(bob, charli) == 0
    assert_settled(bob, charli)


def test_fifty_chocolate_bars_buy_a_hundred_loaves_whatever_the_state_prints() -> None:
    wires, bob, charli = friends(currency=OUSD)
    assert buy(wires, bob, charli, 50 * 2, 1, OUSD) is PayStage.PAID
    assert bob.balance(charli, OUSD) == -100
    assert buy(wires, charli, bob, 100 * 1, 2, OUSD) is PayStage.PAID
    assert bob.balance(charli, OUSD) == 0


@covers("PAY-19", "PAY-20")
def test_charli_may_owe_200_and_bob_may_owe_150_and_neither_one_credit_more() -> None:
    wires, bob, charli = friends()
    assert buy(wires, charli, bob, 200, 1, USD) is PayStage.PAID
    assert buy(wires, charli, bob, 1, 2, USD) is PayStage.FAILED
    assert charli.intent(wish(2)).failure is PayFailure.REFUSED
    assert bob.balance(charli, USD) == 200  # all that Bob can ever lose through Charli

    assert buy(wires, bob, charli, 350, 3, USD) is PayStage.PAID
    assert buy(wires, bob, charli, 1, 4, USD) is PayStage.FAILED
    assert charli.balance(bob, USD) == 150
    assert_settled(bob, charli)


def test_a_limit_is_the_decision_of_one_side_and_the_other_is_not_told() -> None:
    wires, bob, charli = friends()
    config = bob.friend(charli).configs[USD]
    assert (config.max_debt, charli.friend(bob).configs[USD].max_debt) == (200, 150)
    said = len(wires.log)
    assert bob.do(SetFriendCurrencyMaxDebt(charli.key, USD, 10)) is None
    wires.run()
    assert len(wires.log) == said
    assert charli.friend(bob).configs[USD].max_debt == 150


def test_bob_pays_daniel_100_through_charli_who_ends_as_she_began() -> None:
    wires, (bob, charli, daniel) = chain("bob", "charli", "daniel", currency=USD)
    invoice = new_invoice(daniel, 100, currency=USD)
    paid = pay_over(wires, invoice, 1, part(bob, charli, daniel, amount=100))
    assert paid.commit is not None
    assert daniel.do(CommitInvoice(paid.commit)) is None
    wires.run()
    assert bob.balance(charli, USD) == -100
    assert charli.balance(bob, USD) + charli.balance(daniel, USD) == 0
    assert daniel.balance(charli, USD) == 100
    assert_settled(bob, charli, daniel)


@covers("PAY-21")
def test_half_a_percent_and_a_cent_of_a_hundred_dollars_is_51_cents() -> None:
    assert Rate().fee(10_000) == 0
    rate = Rate(HALF_PERCENT, 1)
    assert rate.fee(10_000) == 51
    assert Rate(HALF_PERCENT - 1, 1).fee(10_000) == 50  # why the share is rounded up

    wires, (bob, charli, daniel) = chain(
        "bob", "charli", "daniel", limits=(20_000, 20_000), charges={"charli": rate}, currency=USD
    )
    invoice = new_invoice(daniel, 10_000, currency=USD)
    paid = pay_over(wires, invoice, 1, part(bob, charli, daniel, amount=10_000, fee=51))
    assert paid.commit is not None
    assert daniel.do(CommitInvoice(paid.commit)) is None
    wires.run()
    assert bob.balance(charli, USD) == -10_051
    assert charli.balance(bob, USD) + charli.balance(daniel, USD) == 51
    assert daniel.balance(charli, USD) == 10_000
    assert_settled(bob, charli, daniel)


@covers("PAY-18")
def test_the_money_cycle_ends_at_zero_everywhere() -> None:
    wires, cards = chain("bob", "charli", "dan", "eve", currency=USD)
    bob, charli, dan, eve = cards
    assert buy(wires, bob, charli, 2, 1, USD) is PayStage.PAID
    assert money(*cards) == 2
    assert buy(wires, charli, dan, 2, 2, USD) is PayStage.PAID
    assert buy(wires, dan, eve, 2, 3, USD) is PayStage.PAID
    assert money(*cards) == 6  # three debts of two dollars, one behind the other
    assert [sum(balances(card)) for card in cards] == [-2, 0, 0, 2]

    invoice = new_invoice(bob, 2, 4, USD)
    paid = pay_over(wires, invoice, 4, part(eve, dan, charli, bob, amount=2))
    assert paid.commit is not None
    assert bob.do(CommitInvoice(paid.commit)) is None
    wires.run()
    assert [balances(card) for card in cards] == [[0], [0, 0], [0, 0], [0]]
    assert money(*cards) == 0
    assert_settled(*cards)


def balances(card: Card) -> list[int]:
    """A card's balance with each of its friends."""
    return [
        friend.consistent.ledgers[USD].balance
        for friend in card.state.friends.values()
        if friend.consistent is not None
    ]


# --- mutual credit protocol ---------------------------------------------------------------------


def village(limit: int = 100) -> tuple[Wires, list[Card]]:
    """B, C, D and E of the protocol's pictures; C and D charge one credit each."""
    return chain(
        "b", "c", "d", "e", limits=(limit, limit), charges={"c": Rate(0, 1), "d": Rate(0, 1)}
    )


def frozen_ahead(cards: list[Card]) -> list[int]:
    """What each card has frozen towards the next one."""
    return [one.ledger(two).local_pending_debt for one, two in pairwise(cards)]


def has_operations(message: FriendMessage) -> bool:
    """Whether this is a move token that carries something."""
    return isinstance(message, MoveTokenMessage) and bool(message.move_token.currencies_operations)


@covers("PAY-01", "PAY-03", "PAY-26")
def test_ten_credits_over_two_mediators_freeze_12_then_11_then_10() -> None:
    wires, cards = village()
    b, c, d, e = cards
    invoice = new_invoice(e, 10)
    paid = pay_over(wires, invoice, 1, part(*cards, amount=10, fee=2))
    assert paid.stage is PayStage.COMMITTED
    assert frozen_ahead(cards) == [12, 11, 10]
    assert [one.balance(two) for one, two in ((b, c), (c, d), (d, e))] == [0, 0, 0]

    assert paid.commit is not None
    assert e.do(CommitInvoice(paid.commit)) is None
    wires.run()
    assert frozen_ahead(cards) == [0, 0, 0]
    assert [
        sum(card.balance(other) for other in cards if other.key in card.state.friends)
        for card in cards
    ] == [-12, 1, 1, 10]
    assert b.intent(wish(1)).stage is PayStage.PAID
    assert_settled(*cards)


@pytest.mark.parametrize(("limit", "is_paid"), [(12, True), (11, False)])
def test_every_hop_needs_room_for_the_fees_of_those_behind_it(limit: int, is_paid: bool) -> None:
    wires, cards = village(limit)
    paid = pay_over(wires, new_invoice(cards[-1], 10), 1, part(*cards, amount=10, fee=2))
    assert (paid.commit is not None) is is_paid
    if not is_paid:
        assert paid.failure is PayFailure.REFUSED or paid.stage is PayStage.SEARCHING
        assert frozen_ahead(cards) == [0, 0, 0]


@covers("PAY-06", "PAY-07")
def test_returned_goods_give_the_fees_back_too() -> None:
    wires, cards = village()
    e = cards[-1]
    invoice = new_invoice(e, 10)
    paid = pay_over(wires, invoice, 1, part(*cards, amount=10, fee=2))
    assert paid.commit is not None
    assert e.do(RegisterCommit(paid.commit)) is None
    wires.run()
    assert frozen_ahead(cards) == [12, 11, 10]  # goods handed over, nothing collected yet

    assert e.do(CancelInvoice(invoice.invoice_id)) is None
    wires.run()
    assert frozen_ahead(cards) == [0, 0, 0]
    for one, two in pairwise(cards):
        assert one.balance(two) == 0
        assert_mirrored(one, two)
    assert cards[0].intent(wish(1)).stage is PayStage.FAILED
    assert_settled(*cards)


@covers("PAY-05")
def test_a_seller_that_does_not_know_the_invoice_cancels_it_all_the_way_back() -> None:
    wires, cards = village()
    invoice = new_invoice(cards[-1], 10)
    assert cards[-1].do(CancelInvoice(invoice.invoice_id)) is None
    paid = pay_over(wires, invoice, 1, part(*cards, amount=10, fee=2))
    assert paid.commit is None
    assert frozen_ahead(cards) == [0, 0, 0]
    assert_settled(*cards)


@covers("PAY-06")
def test_a_seller_that_waited_too_long_cancels_after_its_response() -> None:
    wires, cards = village()
    invoice = new_invoice(cards[-1], 10)
    paid = pay_over(wires, invoice, 1, part(*cards, amount=10, fee=2))
    assert paid.stage is PayStage.COMMITTED
    assert cards[-1].do(CancelInvoice(invoice.invoice_id)) is None
    wires.run()
    assert cards[0].intent(wish(1)).failure is PayFailure.REFUSED
    assert frozen_ahead(cards) == [0, 0, 0]


@covers("PAY-09")
@pytest.mark.parametrize("after_response", [False, True])
def test_unfriending_the_next_hop_cancels_all_the_way_back(after_response: bool) -> None:
    wires, cards = village()
    b, c, d, e = cards
    if not after_response:
        wires.tap = lambda src, _dest, message: (
            None if src is e and has_operations(message) else message
        )
    paid = pay_over(wires, new_invoice(e, 10), 1, part(*cards, amount=10, fee=2))
    assert (paid.stage is PayStage.COMMITTED) is after_response
    assert frozen_ahead(cards) == [12, 11, 10]

    assert d.do(RemoveFriend(e.key, force=True)) is None
    wires.cut(d, e)
    wires.tap = None
    wires.run()
    assert frozen_ahead(cards[:3]) == [0, 0]
    assert e.key not in d.state.friends
    assert b.balance(c) == c.balance(d) == 0


def test_a_whole_payment_takes_one_message_per_stage_and_hop() -> None:
    wires, cards = village()
    said = len(wires.log)
    paid = pay_over(wires, new_invoice(cards[-1], 10), 1, part(*cards, amount=10, fee=2))
    forward = [(src, dest) for src, dest, message in wires.log[said:] if has_operations(message)]
    assert forward == [("b", "c"), ("c", "d"), ("d", "e"), ("e", "d"), ("d", "c"), ("c", "b")]
    assert paid.stage is PayStage.COMMITTED


def test_friends_that_use_two_currencies_keep_two_balances() -> None:
    one, other = Card("bob", 1), Card("charli", 2)
    wires = Wires(one, other)
    befriend(one, other, currencies=(FST, USD))
    wires.connect(one, other)
    wires.run()
    assert buy(wires, one, other, 3, 1, FST) is PayStage.PAID
    assert buy(wires, other, one, 5, 2, USD) is PayStage.PAID
    assert (one.balance(other, FST), one.balance(other, USD)) == (-3, 5)
