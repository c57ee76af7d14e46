"""Moving credit along a cycle of friends back to us: as atomic, durable and bounded as any payment."""

from dataclasses import replace

import pytest

from offset_engine.core import transit
from offset_engine.core.answers import ledger_of
from offset_engine.core.api import (
    CancelInvoice,
    CancelPay,
    CloseFriendCurrency,
    CommandFault,
    CommitInvoice,
    ConfirmFee,
    DisputeFriend,
    ForgetPay,
    Rebalance,
)
from offset_engine.core.codec import encode_friend_message
from offset_engine.core.draft import Draft
from offset_engine.core.friend import QueuedRequest
from offset_engine.core.index import RouteCode
from offset_engine.core.messages import (
    CollectOp,
    MoveTokenMessage,
    RequestOp,
    ResponseOp,
    request_op,
)
from offset_engine.core.payer import Cycle, Intent, PayFailure, PayStage
from offset_engine.core.report import pay_report
from offset_engine.core.reports import InvoiceRecord, PaymentRecord
from offset_engine.core.signing import is_sound_invoice
from offset_engine.core.values import (
    CREDITS_MAX,
    OPEN_INVOICES_MAX,
    OPEN_PAYMENTS_MAX,
    Currency,
    PaymentId,
    PublicKey,
    Rate,
)
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    answer_routes,
    assert_settled,
    befriend,
    find_no_way,
    new_invoice,
    part,
    pay_over,
    reloaded,
    wish,
    with_index,
)

SEARCHING, TO_CONFIRM, SENDING, COMMITTED, PAID, FAILED = PayStage


def ring(*names: str, rate: Rate = Rate()) -> tuple[Wires, list[Card]]:  # noqa: B008 - a value
    """Friends in a ring; the first is who rebalances and has an index server. Everybody charges `rate`."""
    cards = [Card(name, number) for number, name in enumerate(names, 1)]
    wires = Wires(*cards)
    for one, other in zip(cards, (*cards[1:], cards[0]), strict=True):
        befriend(one, other, rates=(rate, rate))
        wires.connect(one, other)
    wires.run()
    with_index(cards[0])
    return wires, cards


def command(
    first: Card | None,
    last: Card | None = None,
    amount: int = 5,
    max_fee: int = 100,
    confirm_above: int | None = None,
) -> Rebalance:
    return Rebalance(
        wish(1),
        FST,
        amount,
        None if first is None else first.key,
        None if last is None else last.key,
        max_fee,
        confirm_above,
    )


def now(card: Card) -> tuple[PayStage, PayFailure | None]:
    intent = card.intent(wish(1))
    return intent.stage, intent.failure


def records(card: Card, kind: type) -> list:
    return [record for record in card.records if isinstance(record, kind)]


# --- as it should be ----------------------------------------------------------------------------


@covers("PT64")
def test_credit_moves_along_a_cycle_and_only_the_fees_are_gone() -> None:
    wires, (a, m, n) = ring("a", "m", "n", rate=Rate(0, 1))
    assert a.do(command(m, n)) is None
    intent = a.intent(wish(1))
    assert intent.cycle == Cycle(m.key, n.key)
    assert is_sound_invoice(intent.invoice)
    question = a.questions[-1]
    assert (question.kind, question.dest, question.amount) == (2, a.key, 5)
    assert (question.first_friend, question.last_friend) == (m.key, n.key)
    answer_routes(a, (part(a, m, n, a, amount=5, fee=2),))
    assert now(a) == (SENDING, None)
    wires.run()
    assert now(a) == (PAID, None)
    assert (a.balance(m), a.balance(n)) == (-7, 5)
    assert (m.balance(n), n.balance(m)) == (-6, 6)
    receipt = a.intent(wish(1)).receipt
    assert receipt is not None
    assert receipt.is_complete
    assert not a.state.payments
    assert not a.state.invoices
    assert_settled(a, m, n)
    (paid,) = records(a, PaymentRecord)
    (got,) = records(a, InvoiceRecord)
    assert (paid.stage, paid.fee, got.received) == (PAID, 2, 5)


def test_a_circle_of_debts_is_cleared() -> None:
    wires, cards = ring("a", "b", "c", "d")
    a, b, c, d = cards
    for buyer, seller in ((a, b), (b, c), (c, d), (d, a)):
        invoice = new_invoice(seller, 40, 1 + cards.index(buyer))
        pay_over(wires, invoice, 2, part(buyer, seller, amount=40))
        commit = buyer.intent(wish(2)).commit
        assert commit is not None
        assert seller.do(CommitInvoice(commit)) is None
        wires.run()
    assert (a.balance(b), a.balance(d)) == (-40, 40)
    assert a.do(command(d, b, amount=40)) is None
    answer_routes(a, (part(a, d, c, b, a, amount=40),))
    wires.run()
    assert now(a) == (PAID, None)
    assert [one.balance(two) for one, two in ((a, b), (b, c), (c, d), (d, a))] == [0, 0, 0, 0]
    assert_settled(*cards)


def test_one_end_may_be_left_open() -> None:
    for first, last in ((True, False), (False, True)):
        wires, (a, m, n) = ring("a", "m", "n")
        assert a.do(command(m if first else None, n if last else None)) is None
        answer_routes(a, (part(a, m, n, a, amount=5),))
        wires.run()
        assert now(a) == (PAID, None)
        assert (a.balance(m), a.balance(n)) == (-5, 5)


def test_an_amount_may_go_over_several_cycles_at_once() -> None:
    cards = [Card(name, number) for number, name in enumerate("amnxy", 1)]
    a, m, n, x, y = cards
    wires = Wires(*cards)
    for one, other in ((a, m), (m, n), (n, a), (m, x), (x, y), (y, a)):
        befriend(one, other)
        wires.connect(one, other)
    wires.run()
    with_index(a)
    assert a.do(command(m, amount=10)) is None
    answer_routes(a, (part(a, m, n, a, amount=6), part(a, m, x, y, a, amount=4)))
    wires.run()
    assert now(a) == (PAID, None)
    assert (a.balance(m), a.balance(n), a.balance(y)) == (-10, 6, 4)
    assert_settled(*cards)


def test_the_fee_is_asked_about_and_bounded() -> None:
    wires, (a, m, n) = ring("a", "m", "n", rate=Rate(0, 1))
    assert a.do(command(m, n, confirm_above=1)) is None
    answer_routes(a, (part(a, m, n, a, amount=5, fee=2),))
    assert now(a) == (TO_CONFIRM, None)
    assert pay_report(a.intent(wish(1))).fee == 2
    assert a.do(ConfirmFee(wish(1), 2)) is None
    wires.run()
    assert now(a) == (PAID, None)
    assert a.do(replace(command(m, n, max_fee=1), payment_id=PaymentId(bytes(16)))) is None
    answer_routes(a, (part(a, m, n, a, amount=5, fee=2),))
    failed = a.state.intents[PaymentId(bytes(16))]
    assert failed.failure is PayFailure.FEE_ABOVE_LIMIT
    assert not a.state.invoices


def test_the_same_wish_again_changes_nothing() -> None:
    wires, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    assert a.do(command(m, n)) is None
    assert len(a.questions) == len(a.state.invoices) == 1
    assert a.do(command(m, n, amount=6)) is CommandFault.PAYMENT_ALREADY_OPEN
    assert a.do(command(m)) is CommandFault.PAYMENT_ALREADY_OPEN
    answer_routes(a, (part(a, m, n, a, amount=5),))
    wires.run()
    assert a.do(command(m, n)) is None
    wires.run()
    assert a.balance(m) == -5
    assert a.do(ForgetPay(wish(1)), command(m, n)) is None
    assert not a.state.intents


def test_what_cannot_be_done_is_refused_at_once() -> None:
    _, (a, m, n) = ring("a", "m", "n")
    stranger = PublicKey(bytes([9]) * 32)
    cases: list[tuple[CommandFault, Rebalance]] = [
        (CommandFault.INVALID_AMOUNT, command(m, n, amount=0)),
        (CommandFault.INVALID_AMOUNT, command(m, n, amount=CREDITS_MAX + 1)),
        (CommandFault.INVALID_AMOUNT, command(m, n, max_fee=-1)),
        (CommandFault.INVALID_AMOUNT, command(m, n, confirm_above=-1)),
        (CommandFault.INVALID_ARGUMENT, command(None, None)),
        (CommandFault.INVALID_ARGUMENT, command(m, m)),
        (CommandFault.FRIEND_DOES_NOT_EXIST, replace(command(m), last_friend=stranger)),
        (CommandFault.FRIEND_DOES_NOT_EXIST, replace(command(m), first_friend=stranger)),
    ]
    for fault, wanted in cases:
        assert a.do(wanted) is fault
    assert not a.state.intents
    assert not a.state.invoices
    invoice = new_invoice(a, 1)
    opened = a.state.invoices[invoice.invoice_id]
    for number in range(OPEN_INVOICES_MAX):
        a.state.invoices[type(invoice.invoice_id)(number.to_bytes(32, "big"))] = opened
    assert a.do(command(m, n)) is CommandFault.LIMIT_REACHED


def test_as_many_wishes_as_fit_may_be_open() -> None:
    _, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    open_one = a.intent(wish(1))
    for number in range(1, OPEN_PAYMENTS_MAX):
        intent_id = PaymentId(number.to_bytes(16, "big"))
        a.state.intents[intent_id] = replace(open_one, intent_id=intent_id)
    again = replace(command(m, n), payment_id=PaymentId(b"z" * 16))
    assert a.do(again) is CommandFault.LIMIT_REACHED
    assert len(a.state.invoices) == 1


# --- when it does not go well -------------------------------------------------------------------


def test_without_a_cycle_nothing_is_left_behind() -> None:
    _, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    assert len(a.state.invoices) == 1
    find_no_way(a)
    assert now(a) == (FAILED, PayFailure.NO_ROUTE)
    assert not a.state.invoices
    (record,) = records(a, InvoiceRecord)
    assert not record.is_paid


def test_a_cycle_that_a_friend_refuses_is_planned_again() -> None:
    wires, (a, m, n) = ring("a", "m", "n")
    assert m.do(CloseFriendCurrency(n.key, FST)) is None
    assert a.do(command(m)) is None
    answer_routes(a, (part(a, m, n, a, amount=5),))
    wires.run()
    assert now(a) == (SEARCHING, None)
    assert (m.key, n.key) in a.questions[-1].exclude_edges
    find_no_way(a)
    assert now(a) == (FAILED, PayFailure.REFUSED)
    assert_settled(a, m, n)


def test_giving_up_returns_what_has_come_round() -> None:
    wires, (a, m, n, x) = ring("a", "m", "n", "x")
    befriend(m, x)
    wires.connect(m, x)
    wires.run()
    assert a.do(command(m, x, amount=10)) is None
    wires.cut(n, x)
    answer_routes(a, (part(a, m, x, a, amount=6), part(a, m, n, x, a, amount=4)))
    wires.run()
    assert a.frozen() > 0
    assert a.do(CancelPay(wish(1))) is None
    wires.connect(n, x)
    wires.run()
    assert now(a) == (FAILED, PayFailure.CANCELED)
    assert not a.state.invoices
    assert not a.state.payments
    assert_settled(a, m, n, x)


def test_a_user_who_cancels_the_invoice_itself_gets_everything_back() -> None:
    wires, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    (invoice_id,) = a.state.invoices
    assert a.do(CancelInvoice(invoice_id)) is None
    answer_routes(a, (part(a, m, n, a, amount=5),))
    wires.run()
    assert now(a) == (FAILED, PayFailure.CANCELED)
    assert not a.state.penalties
    assert_settled(a, m, n)


def test_a_part_that_is_lost_while_the_last_comes_round_sends_everything_back() -> None:
    """Its channel dies between the seal and the commit: collecting the rest would be half a payment."""
    cards = [Card(name, number) for number, name in enumerate("amnx", 1)]
    a, m, n, x = cards
    wires = Wires(*cards)
    for one, other in ((a, m), (m, n), (n, a), (m, x), (x, a)):
        befriend(one, other)
        wires.connect(one, other)
    wires.run()
    with_index(a)
    assert a.do(command(m, amount=10)) is None
    hold(wires, a, ResponseOp)
    answer_routes(a, (part(a, m, n, a, amount=6), part(a, m, x, a, amount=4)))
    wires.run()
    (invoice,) = a.state.invoices.values()
    (group,) = invoice.groups.values()
    assert group.is_sealed
    assert a.do(DisputeFriend(n.key)) is None
    wires.tap = None
    wires.cut(a, m)
    wires.connect(a, m)
    wires.run()
    assert now(a)[0] is not PAID
    assert not a.state.invoices
    assert a.balance(m) == a.balance(x) == 0
    assert a.ledger(x).remote_pending_debt == 0


def hold(wires: Wires, card: Card, kind: type) -> None:
    """Lose what carries such an answer to this card."""
    wires.tap = lambda _src, dest, message: (
        None
        if dest is card
        and isinstance(message, MoveTokenMessage)
        and any(
            isinstance(one, kind)
            for batch in message.move_token.currencies_operations
            for one in batch.operations
        )
        else message
    )


def test_a_part_that_gets_stuck_makes_it_start_anew_under_another_lock() -> None:
    wires, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    hold(wires, a, ResponseOp)
    answer_routes(a, (part(a, m, n, a, amount=5),))
    wires.run()
    a.pass_time(a.env.timers.part_stuck_ms)
    assert now(a) == (SEARCHING, None)
    wires.tap = None
    wires.cut(a, m)
    wires.connect(a, m)
    find_no_way(a)
    wires.run()
    assert now(a) == (FAILED, PayFailure.STUCK)
    assert_settled(a, m, n)


# --- friends who are away, restarts -------------------------------------------------------------


def test_it_waits_for_the_friends_it_names() -> None:
    for away in ("m", "n"):
        wires, cards = ring("a", "m", "n")
        a, m, n = cards
        friend = m if away == "m" else n
        wires.offline(a, friend)
        assert a.do(command(m, n)) is None
        assert not a.questions
        wires.connect(a, friend)
        wires.run()
        assert len(a.questions) == 1
        wires.offline(a, friend)
        assert a.do(replace(command(m, n), payment_id=PaymentId(bytes(16)))) is None
        a.pass_time(a.env.timers.friend_wait_ms)
        assert a.state.intents[PaymentId(bytes(16))].failure is PayFailure.OWN_LIMIT
        assert not a.state.invoices


def test_another_friend_that_comes_online_is_not_enough() -> None:
    wires, (a, m, n) = ring("a", "m", "n")
    for one in (m, n):
        wires.offline(a, one)
    assert a.do(command(m, n)) is None
    wires.connect(a, m)
    wires.run()
    assert not a.questions
    wires.connect(a, n)
    wires.run()
    assert len(a.questions) == 1


def test_a_cycle_needs_an_index_server_and_two_friends() -> None:
    cards = [Card(name, number) for number, name in enumerate("amn", 1)]
    a, m, n = cards
    wires = Wires(*cards)
    befriend(a, m)
    befriend(a, n, currencies=(Currency("USD"),))
    for one in (m, n):
        wires.connect(a, one)
    wires.run()
    assert a.do(command(m)) is None
    a.pass_time(a.env.timers.friend_wait_ms)
    assert now(a) == (FAILED, PayFailure.OWN_LIMIT)
    wires, (b, x, y) = ring("b", "x", "y")
    b.state = replace(b.state, index_servers=())
    assert b.do(command(x, y)) is None
    assert now(b) == (FAILED, PayFailure.NO_INDEX)


@pytest.mark.parametrize("moment", ["asked", "sent", "answered", "collected"])
def test_a_restart_at_any_moment_ends_it_once(moment: str) -> None:
    wires, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    if moment != "asked":
        if moment == "answered":
            hold(wires, a, ResponseOp)
        if moment == "collected":
            hold(wires, a, CollectOp)
        answer_routes(a, (part(a, m, n, a, amount=5),))
        if moment != "sent":
            wires.run()
    stage = a.intent(wish(1)).stage
    wires.tap = None
    wires.restart(a, reloaded(a.state))
    for one in (m, n):
        wires.connect(a, one)
    wires.run()
    if moment == "asked":
        answer_routes(a, (part(a, m, n, a, amount=5),))
        wires.run()
    assert stage is {"asked": SEARCHING, "collected": COMMITTED}.get(moment, SENDING)
    assert now(a) == (PAID, None)
    assert (a.balance(m), a.balance(n)) == (-5, 5)
    assert not a.state.invoices
    assert_settled(a, m, n)


# --- friends who cheat --------------------------------------------------------------------------


def shortcut(monkeypatch: pytest.MonkeyPatch, liar: Card, to: Card) -> None:
    """Have `liar` hand every request to `to` as its last stop, keeping all fees that are left."""
    honest = transit._forward

    def lying(draft: Draft, key: PublicKey, currency: Currency, request: RequestOp) -> bool:
        if draft.state.local_public_key != liar.key:
            return honest(draft, key, currency, request)
        amounts = (request.dest_payment, request.total_dest_payment, 0)
        ids = (request.request_id, request.src_hashed_lock)
        onward = request_op(*ids, (), amounts, request.invoice_id)
        ledger_of(draft, key, currency).set_next(request.request_id, to.key)
        draft.queue_request(to.key, QueuedRequest(currency, onward, key))
        return True

    monkeypatch.setattr(transit, "_forward", lying)


def test_a_first_friend_who_sends_it_straight_back_earns_nothing(monkeypatch) -> None:
    wires, (a, m, n, x) = ring("a", "m", "n", "x", rate=Rate(0, 10))
    assert a.do(command(m, x, max_fee=20)) is None
    shortcut(monkeypatch, m, a)
    answer_routes(a, (part(a, m, n, x, a, amount=5, fee=20),))
    wires.run()
    assert now(a)[0] is not PAID
    assert (a.balance(m), a.balance(x)) == (0, 0)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_the_amount_comes_back_by_the_friend_named_or_not_at_all(monkeypatch, is_restarted) -> None:
    cards = [Card(name, number) for number, name in enumerate("amnx", 1)]
    a, m, n, x = cards
    wires = Wires(*cards)
    for one, other in ((a, m), (m, n), (n, a), (m, x), (x, a), (n, x)):
        befriend(one, other, rates=(Rate(0, 10), Rate(0, 10)))
        wires.connect(one, other)
    wires.run()
    with_index(a)
    assert a.do(command(m, x, max_fee=20)) is None
    shortcut(monkeypatch, n, a)
    answer_routes(a, (part(a, m, n, x, a, amount=5, fee=20),))
    if is_restarted:
        wires.restart(a, reloaded(a.state))
        for one in (m, n, x):
            wires.connect(a, one)
    wires.run()
    assert now(a)[0] is not PAID
    assert [a.balance(one) for one in (m, n, x)] == [0, 0, 0]
    assert_settled(a, m, n, x)


def test_a_part_under_a_lock_that_never_opens_goes_back_at_once() -> None:
    wires, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    hold(wires, a, ResponseOp)
    answer_routes(a, (part(a, m, n, a, amount=5),))
    wires.run()
    (invoice,) = a.state.invoices.values()
    assert [group.is_sealed for group in invoice.groups.values()] == [True]
    a.pass_time(a.env.timers.part_stuck_ms)
    (invoice,) = a.state.invoices.values()
    assert now(a)[0] is SEARCHING
    assert not invoice.groups


def test_a_part_that_came_round_is_not_blamed_for_one_that_is_stuck() -> None:
    cards = [Card(name, number) for number, name in enumerate("amnxy", 1)]
    a, m, n, x, y = cards
    wires = Wires(*cards)
    for one, other in ((a, m), (m, n), (n, a), (a, x), (x, y), (y, n), (x, n)):
        befriend(one, other)
        wires.connect(one, other)
    wires.run()
    with_index(a)
    assert x.do(CloseFriendCurrency(y.key, FST)) is None
    assert a.do(command(None, n, amount=10)) is None
    answer_routes(a, (part(a, m, n, a, amount=6), part(a, x, y, n, a, amount=4)))
    wires.run()
    a.pass_time(5_000)
    wires.tap = lambda source, dest, said: None if (source, dest) == (n, x) else said
    for _ in range(2):
        answer_routes(a, (part(a, x, n, a, amount=4),))
    wires.run()
    assert now(a)[0] is SENDING
    a.pass_time(a.env.timers.part_stuck_ms - 5_000)
    assert now(a)[0] is SEARCHING
    assert (FST, m.key, n.key) not in a.state.penalties


# --- what others see ----------------------------------------------------------------------------


def test_no_friend_can_tell_it_from_another_payment() -> None:
    wires, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    answer_routes(a, (part(a, m, n, a, amount=5),))
    wires.run()
    said = b"".join(encode_friend_message(message) for _, _, message in wires.log)
    intent: Intent = a.intent(wish(1))
    assert intent.intent_id not in said
    assert intent.invoice.invoice_id in said


def test_a_server_that_does_not_know_cycles_ends_it_politely() -> None:
    _, (a, m, n) = ring("a", "m", "n")
    assert a.do(command(m, n)) is None
    find_no_way(a, code=RouteCode.INVALID)
    assert now(a) == (FAILED, PayFailure.NO_ROUTE)
