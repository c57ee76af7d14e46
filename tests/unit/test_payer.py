"""A wish to pay: its stages, the fee question, planning again, getting stuck, expiry, giving up, restarts."""

from dataclasses import replace

import pytest

from offset_engine.core.api import (
    CancelInvoice,
    CancelPay,
    CloseFriendCurrency,
    CommandFault,
    CommitInvoice,
    ConfirmFee,
    DisputeFriend,
    ForgetPay,
    Pay,
    PayChanged,
    SetFriendCurrencyRate,
)
from offset_engine.core.crypto import hash_lock
from offset_engine.core.events import LinkAdopted, RoutesArrived, Woken
from offset_engine.core.index import RouteCode
from offset_engine.core.messages import (
    BackwardsOp,
    FriendMessage,
    MoveTokenMessage,
    ResponseOp,
    RoutesResponse,
    cancel_op,
    collect_op,
    response_op,
)
from offset_engine.core.mutual_credit import response_terms
from offset_engine.core.payer import Intent, PayFailure, PayStage
from offset_engine.core.payment import Payment, PaymentStage
from offset_engine.core.report import pay_report
from offset_engine.core.reports import PaymentRecord
from offset_engine.core.signing import Commit, Invoice, invoice_buffer, response_buffer
from offset_engine.core.state import PartStuck, QuestionUnanswered
from offset_engine.core.token_channel import Incoming
from offset_engine.core.values import (
    CREDITS_MAX,
    FINISHED_INTENTS_REMEMBERED,
    OPEN_PAYMENTS_MAX,
    PAYMENT_ATTEMPTS_MAX,
    ROUTE_ROUNDS_MAX,
    Currency,
    PaymentId,
    PlainLock,
    PublicKey,
    RandValue,
    Rate,
    Signature,
    Uid,
)
from tests.covers import covers
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
    strand_token,
    wish,
    with_index,
)

USD = Currency("USD")
SEARCHING, TO_CONFIRM, SENDING, COMMITTED, PAID, FAILED = PayStage


def begin(
    card: Card,
    invoice: Invoice,
    number: int = 1,
    max_fee: int = 100,
    confirm_above: int | None = None,
) -> Intent:
    """Take up a wish to pay; nothing is delivered yet."""
    assert card.do(Pay(wish(number), invoice, max_fee, confirm_above)) is None
    return card.intent(wish(number))


def now(card: Card, number: int = 1) -> tuple[PayStage, PayFailure | None]:
    intent = card.intent(wish(number))
    return intent.stage, intent.failure


def records(card: Card) -> list[tuple[PayStage, PayFailure | None, int]]:
    return [
        (record.stage, record.failure, record.fee)
        for record in card.records
        if isinstance(record, PaymentRecord)
    ]


def carries(message: FriendMessage, kind: type[object]) -> bool:
    return isinstance(message, MoveTokenMessage) and any(
        isinstance(op, kind)
        for batch in message.move_token.currencies_operations
        for op in batch.operations
    )


def silence(wires: Wires, seller: Card) -> None:
    """Lose every answer of the seller on its way."""
    wires.tap = lambda src, _dest, message: (
        None if src is seller and carries(message, ResponseOp) else message
    )


def released(card: Card) -> set[Commit]:
    """Every commit the card's user could hand over now."""
    commits = {intent.commit for intent in card.state.intents.values()}
    commits |= {payment.commit for payment in card.state.payments.values()}
    return {commit for commit in commits if commit is not None}


# --- the way of a payment -----------------------------------------------------------------------


@covers("PAY-01", "PAY-02")
def test_a_friend_is_paid_directly_without_an_index_server() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 8)
    assert begin(a, invoice).stage is SENDING
    assert not a.questions
    wires.run()
    assert now(a) == (COMMITTED, None)
    assert a.balance(b) == 0  # nothing can be taken before the commit is handed over
    commit = a.intent(wish(1)).commit
    assert commit is not None
    wires.cut(a, b)
    assert b.do(CommitInvoice(commit)) is None  # the buyer need not be there any more
    assert b.friend(a).backwards.items or b.balance(a) == 8
    wires.connect(a, b)
    wires.run()
    assert now(a) == (PAID, None)
    assert a.intent(wish(1)).receipt is not None
    assert records(a) == [(PAID, None, 0)]
    assert not a.state.payments
    assert not a.state.payers
    assert_settled(a, b)


def test_every_move_of_a_wish_is_announced() -> None:
    wires, (a, m, b) = chain("a", "m", "b", charges={"m": Rate(0, 2)})
    with_index(a)
    invoice = new_invoice(b, 5)
    begin(a, invoice, confirm_above=1)
    stages = [a.intent(wish(1)).stage]
    answer_routes(a, (part(a, m, b, amount=5, fee=2),))
    stages.append(a.intent(wish(1)).stage)
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is None
    stages.append(a.intent(wish(1)).stage)
    wires.run()
    intent = a.intent(wish(1))
    stages.append(intent.stage)
    assert intent.commit is not None
    assert b.do(CommitInvoice(intent.commit)) is None
    wires.run()
    stages.append(a.intent(wish(1)).stage)
    assert stages == [SEARCHING, TO_CONFIRM, SENDING, COMMITTED, PAID]
    assert a.notices.count(PayChanged(wish(1))) == 4
    assert records(a) == [(PAID, None, 2)]
    assert a.balance(m) == -7


def test_the_same_wish_again_changes_nothing_and_another_invoice_is_refused() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 8)
    begin(a, invoice)
    wires.run()
    before = a.intent(wish(1))
    assert a.do(Pay(wish(1), invoice, 0)) is None
    wires.run()
    assert a.intent(wish(1)) == before
    assert a.frozen() == 8
    other = replace(invoice, total_dest_payment=9)
    assert a.do(Pay(wish(1), other, 0)) is CommandFault.PAYMENT_ALREADY_OPEN


def test_two_windows_do_not_pay_one_invoice_at_the_same_time() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 8)
    begin(a, invoice)
    assert a.do(Pay(wish(2), invoice, 0)) is CommandFault.PAYMENT_ALREADY_OPEN
    wires.run()
    assert a.do(Pay(wish(2), invoice, 0)) is CommandFault.PAYMENT_ALREADY_OPEN
    assert a.frozen() == 8
    commit = a.intent(wish(1)).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert a.intent(wish(1)).stage is PayStage.PAID
    assert a.do(Pay(wish(2), invoice, 0)) is CommandFault.PAYMENT_ALREADY_OPEN


def test_what_cannot_be_paid_is_refused_at_once() -> None:
    _, (a, b) = chain("a", "b")
    good = new_invoice(b, 8)
    cases: list[tuple[CommandFault, dict[str, object], int]] = [
        (CommandFault.INVALID_AMOUNT, {"total_dest_payment": 0}, 0),
        (CommandFault.INVALID_AMOUNT, {"total_dest_payment": CREDITS_MAX + 1}, 0),
        (CommandFault.INVALID_AMOUNT, {}, -1),
        (CommandFault.INVALID_AMOUNT, {}, CREDITS_MAX + 1),
        (CommandFault.INVALID_ARGUMENT, {"dest_public_key": a.key}, 0),
        (CommandFault.INVALID_ARGUMENT, {"dest_public_key": PublicKey(bytes(32))}, 0),
        (CommandFault.INVOICE_INVALID, {"signature": Signature(bytes(64))}, 0),
        (CommandFault.INVOICE_INVALID, {"decimals": 256}, 0),
    ]
    for fault, change, max_fee in cases:
        invoice = replace(good, **change)  # type: ignore[arg-type]
        assert a.do(Pay(wish(1), invoice, max_fee)) is fault
    assert not a.state.intents
    signed = replace(good, signature=b.env.sign(invoice_buffer(good)))
    assert a.do(Pay(wish(1), signed, 0)) is None


# --- routes -------------------------------------------------------------------------------------


@covers("PAY-22")
def test_the_cheapest_honest_choice_is_taken() -> None:
    _, (a, m, n, b) = diamond()
    stranger = Card("x", 9)
    with_index(a)
    begin(a, new_invoice(b, 10))
    answer_routes(
        a,
        (part(a, stranger, b, amount=10, fee=0),),  # not a friend
        (part(a, m, b, amount=9, fee=0),),  # not the amount
        (part(a, m, b, amount=10, fee=3),),
        (part(a, m, b, amount=5, fee=1), part(a, n, b, amount=5, fee=1)),
        (part(a, n, b, amount=10, fee=2),),
    )
    (chosen,) = a.intent(wish(1)).parts.values()
    assert (chosen.route, chosen.fee) == ((a.key, n.key, b.key), 2)


@covers("PAY-11", "PAY-12", "PAY-14")
def test_a_wish_is_fulfilled_over_several_routes_at_once() -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    intent = pay_over(
        wires, invoice, 1, part(a, m, b, amount=6, fee=0), part(a, n, b, amount=4, fee=0)
    )
    assert intent.stage is COMMITTED
    assert len(intent.parts) == 2
    assert intent.commit is not None
    assert b.do(CommitInvoice(intent.commit)) is None
    wires.run()
    intent = a.intent(wish(1))
    assert intent.stage is PAID
    assert intent.receipt is not None
    assert intent.receipt.is_complete
    assert not a.state.payments
    assert_settled(a, m, n, b)


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (RouteCode.NONE, PayFailure.NO_ROUTE),
        (RouteCode.PARTIAL, PayFailure.NO_ROUTE),
        (RouteCode.OK, PayFailure.NO_ROUTE),  # without a choice
        (RouteCode.UNREACHABLE, PayFailure.SELLER_UNREACHABLE),
    ],
)
def test_without_a_route_the_reason_is_what_the_index_server_said(
    code: RouteCode, failure: PayFailure
) -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, new_invoice(b, 5))
    find_no_way(a, code=code)
    assert now(a) == (FAILED, failure)
    assert records(a) == [(FAILED, failure, 0)]
    assert not a.state.questions
    answer_routes(a, code=code)  # too late: nobody asks any more
    assert now(a) == (FAILED, failure)


def test_without_an_index_server_only_friends_can_be_paid() -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    assert begin(a, new_invoice(b, 5)).failure is PayFailure.NO_INDEX


def test_an_index_server_that_says_nothing_is_given_up() -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, new_invoice(b, 5))
    a.pass_time(a.env.timers.route_answer_ms - 1)
    assert now(a) == (SEARCHING, None)
    a.pass_time(1)
    assert now(a) == (FAILED, PayFailure.NO_INDEX)
    assert not a.state.questions


def test_a_busy_index_server_is_asked_again_after_a_pause() -> None:
    _, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, new_invoice(b, 5))
    answer_routes(a, code=RouteCode.BUSY)
    assert now(a) == (SEARCHING, None)
    assert len(a.questions) == 1
    a.pass_time(a.env.timers.route_busy_ms)
    assert len(a.questions) == 2
    answer_routes(a, (part(a, m, b, amount=5),))
    assert now(a) == (SENDING, None)


def test_an_index_server_that_stays_busy_counts_as_none() -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, new_invoice(b, 5))
    for _ in range(ROUTE_ROUNDS_MAX):
        answer_routes(a, code=RouteCode.BUSY)
        a.pass_time(a.env.timers.route_busy_ms)
    assert now(a) == (FAILED, PayFailure.NO_INDEX)
    assert len(a.questions) == ROUTE_ROUNDS_MAX


def test_the_question_asks_for_what_is_missing_and_names_what_to_avoid() -> None:
    wires, (a, m, n, b) = diamond()
    assert n.do(CloseFriendCurrency(b.key, FST)) is None
    pay_over(wires, new_invoice(b, 10), 1, part(a, m, b, amount=6), part(a, n, b, amount=4))
    assert now(a) == (SENDING, None)
    question = a.questions[-1]
    assert (question.amount, question.dest, question.currency) == (4, b.key, FST)
    assert question.exclude_edges == ((n.key, b.key),)
    answer_routes(a, (part(a, m, b, amount=4),))
    wires.run()
    assert now(a) == (COMMITTED, None)


# --- the fee ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("max_fee", "confirm_above", "stage"),
    [
        (5, None, SENDING),
        (4, None, FAILED),
        (5, 5, SENDING),
        (5, 4, TO_CONFIRM),
        (4, 0, FAILED),
    ],
)
def test_the_fee_is_judged_before_anything_is_sent(
    max_fee: int, confirm_above: int | None, stage: PayStage
) -> None:
    _, (a, m, b) = chain("a", "m", "b", charges={"m": Rate(0, 5)})
    with_index(a)
    begin(a, new_invoice(b, 10), max_fee=max_fee, confirm_above=confirm_above)
    answer_routes(a, (part(a, m, b, amount=10, fee=5),))
    assert a.intent(wish(1)).stage is stage
    assert bool(a.state.payments) is (stage is SENDING)
    if stage is FAILED:
        assert a.intent(wish(1)).failure is PayFailure.FEE_ABOVE_LIMIT


def test_a_confirmed_fee_is_a_ceiling_for_planning_again() -> None:
    wires, (a, m, n, b) = diamond()
    assert n.do(CloseFriendCurrency(b.key, FST)) is None
    with_index(a)
    begin(a, new_invoice(b, 10), confirm_above=0)
    answer_routes(a, (part(a, m, b, amount=6, fee=1), part(a, n, b, amount=4, fee=2)))
    assert now(a) == (TO_CONFIRM, None)
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is None
    wires.run()  # the part over n comes back
    answer_routes(a, (part(a, m, b, amount=4, fee=3),))
    assert now(a) == (TO_CONFIRM, None)  # 1 + 3 is more than what was agreed to
    assert a.do(ConfirmFee(wish(1), 3)) is CommandFault.FEE_CHANGED  # somebody still looks at 3
    assert now(a) == (TO_CONFIRM, None)
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is None
    wires.run()
    assert now(a) == (COMMITTED, None)
    assert a.intent(wish(1)).fee == 4


def test_a_part_that_fails_while_the_fee_is_asked_is_planned_again_with_the_rest() -> None:
    wires, (a, m, n, b) = diamond()
    with_index(a)
    invoice = new_invoice(b, 10)
    assert n.do(CloseFriendCurrency(b.key, FST)) is None
    begin(a, invoice, confirm_above=0)
    answer_routes(a, (part(a, m, b, amount=6), part(a, n, b, amount=4)))
    wires.run()
    answer_routes(a, (part(a, m, b, amount=4, fee=2),))
    assert now(a) == (TO_CONFIRM, None)
    assert b.do(CancelInvoice(invoice.invoice_id)) is None  # gives the 6 back
    wires.run()
    assert now(a) == (SEARCHING, None)
    assert a.questions[-1].amount == 10
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is CommandFault.WRONG_STAGE


def test_confirming_needs_a_question() -> None:
    _, (a, b) = chain("a", "b")
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is CommandFault.PAYMENT_DOES_NOT_EXIST
    begin(a, new_invoice(b, 5))
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is CommandFault.WRONG_STAGE


def test_confirming_when_the_friend_has_left_plans_again() -> None:
    wires, (a, m, n, b) = diamond()
    with_index(a)
    begin(a, new_invoice(b, 10), confirm_above=0)
    answer_routes(a, (part(a, m, b, amount=10, fee=1),))
    wires.offline(a, m)
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is None
    assert now(a) == (SEARCHING, None)
    assert a.intent(wish(1)).excluded == ((a.key, m.key),)
    answer_routes(a, (part(a, n, b, amount=10, fee=1),))
    wires.run()
    assert now(a) == (COMMITTED, None)


# --- refusals -----------------------------------------------------------------------------------


@covers("PAY-04")
def test_a_refused_direct_payment_goes_on_over_others() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    befriend(a, b, (100, 3))
    wires.connect(a, b)
    wires.run()
    with_index(a)
    begin(a, new_invoice(b, 10))
    wires.run()
    assert now(a) == (SEARCHING, None)
    answer_routes(a, (part(a, b, amount=3), part(a, m, b, amount=7)))
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_a_refusal_by_all_ends_the_wish() -> None:
    wires, (a, b) = chain("a", "b", limits=(0, 0))
    begin(a, new_invoice(b, 10))
    wires.run()
    assert now(a) == (FAILED, PayFailure.REFUSED)
    assert not a.state.payments
    assert_settled(a, b)


def test_each_refusal_excludes_another_edge_until_there_is_no_way_left() -> None:
    wires, (a, m, b) = chain("a", "m", "b", limits=(100, 3))
    with_index(a)
    begin(a, new_invoice(b, 10))
    answer_routes(a, (part(a, m, b, amount=10),))
    wires.run()
    assert a.intent(wish(1)).excluded == a.questions[-1].exclude_edges == ((m.key, b.key),)
    answer_routes(a, (part(a, m, b, amount=10),))  # uses an excluded edge
    assert now(a) == (SEARCHING, None)
    find_no_way(a)
    assert now(a) == (FAILED, PayFailure.REFUSED)


def test_a_wish_asks_only_so_often() -> None:
    wires, cards = chain("a", "m", "b", limits=(100, 0))
    a, m, b = cards
    with_index(a)
    begin(a, new_invoice(b, 10))
    others = [Card(f"x{number}", 20 + number) for number in range(ROUTE_ROUNDS_MAX)]
    for other in others:
        assert now(a) == (SEARCHING, None)
        answer_routes(a, (part(a, m, other, b, amount=10),))
        wires.run()
    assert now(a) == (FAILED, PayFailure.REFUSED)
    assert len(a.questions) == ROUTE_ROUNDS_MAX
    assert len(a.intent(wish(1)).excluded) == ROUTE_ROUNDS_MAX


def test_a_seller_that_gives_everything_back_after_the_commit_refused() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    begin(a, invoice)
    wires.run()
    assert now(a) == (COMMITTED, None)
    assert b.do(CancelInvoice(invoice.invoice_id)) is None
    wires.run()
    assert now(a) == (FAILED, PayFailure.REFUSED)
    assert not a.state.payments
    assert_settled(a, b)


def test_losing_one_part_after_the_commit_does_not_end_the_wish() -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    intent = pay_over(wires, invoice, 1, part(a, m, b, amount=6), part(a, n, b, amount=4))
    assert intent.commit is not None
    assert m.do(CloseFriendCurrency(a.key, FST)) is None
    assert m.do(DisputeFriend(b.key)) is None
    wires.run()
    assert now(a) == (COMMITTED, None)
    assert len(a.intent(wish(1)).parts) == 1
    assert b.do(CommitInvoice(intent.commit, force=True)) is None
    wires.run()
    assert now(a) == (PAID, None)


# --- waiting for a friend -----------------------------------------------------------------------


@covers("PAY-25")
def test_a_wish_waits_a_moment_for_a_friend_to_come_online() -> None:
    wires, (a, b) = chain("a", "b")
    wires.offline(a, b)
    begin(a, new_invoice(b, 5))
    a.pass_time(a.env.timers.friend_wait_ms - 1)
    assert now(a) == (SEARCHING, None)
    wires.connect(a, b)
    wires.run()
    assert now(a) == (COMMITTED, None)
    assert len(a.state.agenda) == 0


@covers("PAY-25")
def test_a_wish_without_any_friend_online_fails_after_a_while() -> None:
    wires, (a, b) = chain("a", "b")
    wires.offline(a, b)
    begin(a, new_invoice(b, 5))
    a.pass_time(a.env.timers.friend_wait_ms)
    assert now(a) == (FAILED, PayFailure.SELLER_UNREACHABLE)


def test_a_friend_with_another_currency_is_not_waited_for_any_less() -> None:
    wires, (a, b) = chain("a", "b")
    begin(a, new_invoice(b, 5, currency=USD))
    assert now(a) == (SEARCHING, None)
    wires.connect(a, b)
    wires.run()
    assert now(a) == (SEARCHING, None)
    a.pass_time(a.env.timers.friend_wait_ms)
    assert now(a) == (FAILED, PayFailure.OWN_LIMIT)


def test_a_wish_goes_on_when_the_currency_is_agreed() -> None:
    a, b = Card("a", 1), Card("b", 2)
    wires = Wires(a, b)
    befriend(a, b)
    begin(a, new_invoice(b, 5))
    wires.connect(a, b)
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_a_part_that_never_left_is_sent_when_the_friend_is_back() -> None:
    wires, (a, b) = chain("a", "b")
    strand_token(wires, a, b)
    begin(a, new_invoice(b, 5))
    assert len(a.friend(b).own) == 1
    wires.offline(a, b)
    assert now(a) == (SEARCHING, None)
    wires.connect(a, b)
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_a_routed_part_that_never_left_costs_no_question() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    strand_token(wires, a, m)
    begin(a, new_invoice(b, 5))
    for _ in range(ROUTE_ROUNDS_MAX + 1):
        answer_routes(a, (part(a, m, b, amount=5),))
        assert now(a) == (SENDING, None)
        wires.offline(a, m)
        assert a.intent(wish(1)).excluded == ()
        wires.connect(a, m)
        wires.cut(a, m)
        if not a.friend(m).own.items and now(a) == (SEARCHING, None):
            continue
    answer_routes(a, (part(a, m, b, amount=5),))
    wires.connect(a, m)
    wires.run()
    assert now(a) == (COMMITTED, None)


# --- stuck parts --------------------------------------------------------------------------------


@covers("PAY-10")
def test_a_stuck_part_makes_the_payment_start_anew_and_never_release_the_old_commit() -> None:
    wires, (a, m, n, b) = diamond()
    with_index(a)
    invoice = new_invoice(b, 10)
    begin(a, invoice)
    answer_routes(a, (part(a, m, b, amount=10),))
    wires.tap = lambda src, dest, message: (
        None if src is m and dest is a and carries(message, ResponseOp) else message
    )
    wires.run()
    first = a.intent(wish(1)).payment_id
    assert first is not None
    a.pass_time(a.env.timers.part_stuck_ms)
    assert now(a) == (SEARCHING, None)
    assert a.state.payments[first].is_withheld
    assert a.questions[-1].exclude_edges == ((m.key, b.key),)

    answer_routes(a, (part(a, n, b, amount=10),))
    wires.run()
    second = a.intent(wish(1)).payment_id
    assert second not in (None, first)
    assert now(a) == (COMMITTED, None)
    locks = {payment.src_plain_lock for payment in a.state.payments.values()}
    assert len(locks) == 2

    wires.tap = None
    wires.connect(m, a)
    wires.run()  # the late answer arrives, complete
    assert a.state.payments[first].transactions
    assert a.state.payments[first].commit is None
    assert released(a) == {a.intent(wish(1)).commit}

    (commit,) = released(a)
    assert b.do(CommitInvoice(commit)) is None  # cancels the other buyer's group, which was ours
    wires.run()
    assert now(a) == (PAID, None)
    assert not a.state.payments
    assert (a.balance(m), a.balance(n)) == (0, -10)
    assert_settled(a, m, n, b)


def test_a_payment_that_gets_stuck_three_times_fails_and_releases_nothing() -> None:
    wires, (a, m, b) = chain("a", "m", "b", limits=(1_000, 1_000))
    with_index(a)
    silence(wires, b)
    begin(a, new_invoice(b, 10))
    others = [Card(f"x{number}", 20 + number) for number in range(PAYMENT_ATTEMPTS_MAX)]
    wires.cut(m, b)
    strand_token(wires, a, m)
    for attempt, other in enumerate(others, 1):
        assert now(a) == (SEARCHING, None)
        answer_routes(a, (part(a, m, other, b, amount=10),))
        assert a.intent(wish(1)).attempts == attempt - 1
        a.pass_time(a.env.timers.part_stuck_ms)
    assert now(a) == (FAILED, PayFailure.STUCK)
    assert released(a) == set()
    assert not a.friend(m).own.items  # what never left was taken back


def test_a_stuck_part_without_another_way_is_called_stuck() -> None:
    wires, (a, b) = chain("a", "b")
    silence(wires, b)
    begin(a, new_invoice(b, 5))
    wires.run()
    a.pass_time(a.env.timers.part_stuck_ms)
    assert now(a) == (FAILED, PayFailure.STUCK)
    assert a.frozen() == 5
    wires.tap = None
    wires.connect(a, b)
    wires.run()
    assert released(a) == set()
    (withheld,) = a.state.payments.values()
    assert withheld.stage is PaymentStage.IN_PROGRESS
    assert b.do(CancelInvoice(next(iter(b.state.invoices)))) is None
    wires.run()
    assert not a.state.payments
    assert_settled(a, b)


def test_an_answered_part_is_not_stuck() -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    wires.tap = lambda src, _dest, message: (
        None if src is n and carries(message, ResponseOp) else message
    )
    pay_over(wires, invoice, 1, part(a, m, b, amount=6), part(a, n, b, amount=4))
    assert now(a) == (SENDING, None)
    a.pass_time(a.env.timers.part_stuck_ms - 1)
    wires.tap = None
    wires.connect(n, a)
    wires.run()
    a.pass_time(1)
    assert now(a) == (COMMITTED, None)
    assert len(a.state.agenda) == 0


def test_waking_up_early_does_nothing() -> None:
    wires, (a, b) = chain("a", "b")
    silence(wires, b)
    begin(a, new_invoice(b, 5))
    wires.run()
    before = a.intent(wish(1))
    a.feed(Woken())
    assert a.intent(wish(1)) == before
    b.feed(Woken())


# --- giving up ----------------------------------------------------------------------------------


@covers("PAY-08")
@pytest.mark.parametrize("stage", [SEARCHING, TO_CONFIRM, SENDING])
def test_a_wish_can_be_given_up_while_its_commit_does_not_exist(stage: PayStage) -> None:
    wires, (a, m, b) = chain("a", "m", "b", charges={"m": Rate(0, 1)})
    with_index(a)
    silence(wires, b)
    begin(a, new_invoice(b, 5), confirm_above=0 if stage is TO_CONFIRM else None)
    if stage is not SEARCHING:
        answer_routes(a, (part(a, m, b, amount=5, fee=1),))
        wires.run()
    assert now(a) == (stage, None)
    assert a.do(CancelPay(wish(1))) is None
    assert now(a) == (FAILED, PayFailure.CANCELED)
    assert records(a) == [(FAILED, PayFailure.CANCELED, 1 if stage is SENDING else 0)]
    assert len(a.state.agenda) == 0
    wires.tap = None
    wires.connect(m, b)
    wires.run()
    assert released(a) == set()
    assert a.do(CancelPay(wish(1))) is CommandFault.WRONG_STAGE


def test_a_committed_payment_cannot_be_given_up() -> None:
    wires, (a, b) = chain("a", "b")
    begin(a, new_invoice(b, 5))
    wires.run()
    assert a.do(CancelPay(wish(1))) is CommandFault.WRONG_STAGE
    assert a.do(CancelPay(wish(2))) is CommandFault.PAYMENT_DOES_NOT_EXIST
    assert now(a) == (COMMITTED, None)


def test_giving_up_takes_back_what_has_not_left() -> None:
    wires, (a, b) = chain("a", "b")
    strand_token(wires, a, b)
    begin(a, new_invoice(b, 5))
    assert a.do(CancelPay(wish(1))) is None
    assert not a.friend(b).own.items
    assert not a.state.payments
    assert not a.state.outgoing_ids
    wires.connect(a, b)
    wires.run()
    assert_settled(a, b)


def test_only_a_finished_wish_can_be_forgotten() -> None:
    wires, (a, b) = chain("a", "b")
    assert a.do(ForgetPay(wish(1))) is CommandFault.PAYMENT_DOES_NOT_EXIST
    begin(a, new_invoice(b, 5))
    assert a.do(ForgetPay(wish(1))) is CommandFault.WRONG_STAGE
    wires.run()
    assert a.do(ForgetPay(wish(1))) is CommandFault.WRONG_STAGE
    commit = a.intent(wish(1)).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert a.do(ForgetPay(wish(1))) is None
    assert not a.state.intents


def test_the_oldest_finished_wishes_make_room_and_open_ones_do_not() -> None:
    _, (a, b) = chain("a", "b")
    ended = begin(a, new_invoice(b, 5, 1))
    assert a.do(CancelPay(wish(1))) is None
    ended = a.intent(wish(1))
    for number in range(FINISHED_INTENTS_REMEMBERED):
        key = PaymentId(number.to_bytes(16, "big"))
        a.state.intents[key] = replace(ended, intent_id=key)
    begin(a, new_invoice(b, 5, 2), 2)
    assert wish(1) not in a.state.intents
    assert PaymentId(bytes(16)) in a.state.intents
    assert len(a.state.intents) == FINISHED_INTENTS_REMEMBERED + 1


def test_too_many_open_wishes_are_refused() -> None:
    _, (a, b) = chain("a", "b")
    begin(a, new_invoice(b, 5, 1))
    for number in range(OPEN_PAYMENTS_MAX):
        a.state.intents[PaymentId(number.to_bytes(16, "big"))] = a.intent(wish(1))
    command = Pay(wish(2), new_invoice(b, 5, 2), 0)
    assert a.do(command) is CommandFault.LIMIT_REACHED


def test_no_room_for_another_payment_ends_the_wish() -> None:
    _, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 5)
    lock = PlainLock(bytes(32))
    for number in range(OPEN_PAYMENTS_MAX):
        key = PaymentId(number.to_bytes(16, "big"))
        a.state.payments[key] = Payment(key, invoice.invoice_id, FST, 5, b.key, lock)
    begin(a, invoice)
    assert now(a) == (FAILED, PayFailure.OWN_LIMIT)


# --- expiry -------------------------------------------------------------------------------------


@covers("PAY-10")
def test_an_expired_invoice_is_not_paid() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = replace(new_invoice(b, 5), expires=a.env.wall_ms // 1000)
    begin(a, invoice)
    assert now(a) == (FAILED, PayFailure.EXPIRED)
    later = replace(invoice, expires=a.env.wall_ms // 1000 + 1)
    begin(a, later, 2)
    wires.run()
    assert now(a, 2) == (COMMITTED, None)


def test_confirming_after_the_invoice_expired_fails() -> None:
    _, (a, m, b) = chain("a", "m", "b", charges={"m": Rate(0, 5)})
    with_index(a)
    invoice = replace(new_invoice(b, 5), expires=a.env.wall_ms // 1000 + 60)
    begin(a, invoice, confirm_above=0)
    answer_routes(a, (part(a, m, b, amount=5, fee=5),))
    a.pass_time(60_000)
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is None
    assert now(a) == (FAILED, PayFailure.EXPIRED)


# --- deadlines and exclusions -------------------------------------------------------------------


def test_a_part_left_unanswered_by_an_early_commit_is_not_stuck() -> None:
    wires, (a, m, _n, b), first, _second = two_parts_held()
    say(wires, b, m, sign_response(b, m, first, PlainLock(b"d" * 32)))
    assert now(a) == (COMMITTED, None)
    a.pass_time(a.env.timers.part_stuck_ms)
    assert now(a) == (COMMITTED, None)
    assert released(a)


def test_deadlines_that_outlived_their_cause_do_nothing() -> None:
    _, (a, _m, b) = chain("a", "m", "b")
    with_index(a)
    before = begin(a, new_invoice(b, 5))
    for key in (
        QuestionUnanswered(wish(9), Uid(bytes(16))),
        QuestionUnanswered(wish(1), Uid(b"o" * 16)),
        PartStuck(wish(9), Uid(bytes(16))),
        PartStuck(wish(1), Uid(bytes(16))),
    ):
        a.state.agenda.set(key, a.env.now_ms)
    a.feed(Woken())
    assert a.intent(wish(1)) == before


def test_two_parts_over_the_same_missing_friend_exclude_one_edge() -> None:
    wires, (a, m, n, b) = diamond()
    with_index(a)
    begin(a, new_invoice(b, 10), confirm_above=0)
    answer_routes(a, (part(a, m, b, amount=6, fee=1), part(a, m, b, amount=4, fee=1)))
    wires.offline(a, m)
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is None
    assert a.intent(wish(1)).excluded == ((a.key, m.key),)
    answer_routes(a, (part(a, n, b, amount=10),))
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_parts_refused_on_the_same_way_exclude_each_of_its_edges_once() -> None:
    wires, (a, m, n, b) = diamond()
    assert m.do(CloseFriendCurrency(b.key, FST)) is None
    route = [part(a, m, b, amount=amount) for amount in (2, 3, 5)]
    pay_over(wires, new_invoice(b, 10), 1, *route)
    assert a.intent(wish(1)).excluded == ((m.key, b.key), (a.key, m.key))
    answer_routes(a, (part(a, n, b, amount=10),))
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_a_wish_cannot_ask_about_an_impossible_fee() -> None:
    _, (a, b) = chain("a", "b")
    for above in (-1, CREDITS_MAX + 1):
        command = Pay(wish(1), new_invoice(b, 5, 1 + (above > 0)), 0, above)
        assert a.do(command) is CommandFault.INVALID_AMOUNT


def test_forgetting_a_paid_wish_with_open_parts_is_safe() -> None:
    wires, (a, m, n, b) = diamond()
    intent = pay_over(
        wires, new_invoice(b, 10), 1, part(a, m, b, amount=6), part(a, n, b, amount=4)
    )
    assert intent.commit is not None
    wires.cut(n, b)
    assert b.do(CommitInvoice(intent.commit)) is None
    wires.run()
    assert now(a) == (PAID, None)
    assert a.do(ForgetPay(wish(1))) is None
    assert not a.state.payers
    wires.connect(n, b)
    wires.run()
    assert not a.state.payments
    assert_settled(a, m, n, b)


def test_several_collects_in_one_token_end_the_wish_once() -> None:
    wires, (a, m, n, b) = diamond()
    parts = [part(a, m, b, amount=2), part(a, m, b, amount=3), part(a, n, b, amount=5)]
    intent = pay_over(wires, new_invoice(b, 10), 1, *parts)
    assert intent.commit is not None
    wires.cut(n, b)
    assert b.do(CommitInvoice(intent.commit)) is None
    wires.run()
    assert now(a) == (PAID, None)
    (rest,) = a.state.payments.values()
    assert (rest.stage, len(rest.transactions)) == (PaymentStage.AFTER_SUCCESS_ACK, 1)
    wires.connect(n, b)
    wires.run()
    assert not a.state.payments
    assert records(a) == [(PAID, None, 0)]
    assert_settled(a, m, n, b)


def test_the_whole_receipt_is_waited_for_when_parts_have_different_locks() -> None:
    wires, (a, m, n, b), first, second = two_parts_held()
    one, other = PlainLock(b"1" * 32), PlainLock(b"2" * 32)
    say(wires, b, m, sign_response(b, m, first, one, is_complete=False))
    say(wires, b, n, sign_response(b, n, second, other))
    commit = a.intent(wish(1)).commit
    assert commit is not None
    say(wires, b, m, collect_op(first, commit.src_plain_lock, one))
    assert now(a) == (COMMITTED, None)
    say(wires, b, n, collect_op(second, commit.src_plain_lock, other))
    assert now(a) == (PAID, None)
    receipt = a.intent(wish(1)).receipt
    assert receipt is not None
    assert receipt.is_complete
    assert not a.state.payments


# --- channels that die under a payment ----------------------------------------------------------


@covers("PT39", "PT40")
@pytest.mark.parametrize("dies", ["first", "last"])
@pytest.mark.parametrize("is_answered", [False, True])
def test_a_payment_whose_way_dies_goes_another_way(dies: str, is_answered: bool) -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    with_index(a)
    hold_answers(wires, b, m)
    begin(a, invoice)
    answer_routes(a, (part(a, m, b, amount=10),))
    wires.run()
    silent = m if dies == "first" else b
    if is_answered:
        wires.tap = lambda src, _dest, message: (
            None if src is silent and carries(message, ResponseOp) else message
        )
        b.friend(m).is_online = True
        b.feed(LinkAdopted(m.key, b.friend(m).link_id or 0))
        wires.run()
    assert now(a) == (SENDING, None)
    one, other = (a, m) if dies == "first" else (m, b)
    assert one.do(DisputeFriend(other.key)) is None
    b.friend(m).is_online = True
    wires.tap = None
    wires.connect(m, b)
    wires.run()
    assert now(a) == (SEARCHING, None)
    answer_routes(a, (part(a, n, b, amount=10),))
    wires.run()
    assert now(a) == (COMMITTED, None)
    assert len(released(a)) == 1


# --- restarts -----------------------------------------------------------------------------------


def restart(wires: Wires, card: Card, *friends: Card) -> None:
    wires.restart(card, reloaded(card.state))
    for friend in friends:
        wires.connect(card, friend)
    wires.run()


def test_a_searching_wish_asks_again_after_a_restart() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    begin(a, new_invoice(b, 5))
    restart(wires, a, m)
    assert now(a) == (SEARCHING, None)
    assert len(a.questions) == 2
    answer_routes(a, (part(a, m, b, amount=5),))
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_a_question_about_the_fee_survives_a_restart() -> None:
    wires, (a, m, b) = chain("a", "m", "b", charges={"m": Rate(0, 1)})
    with_index(a)
    begin(a, new_invoice(b, 5), confirm_above=0)
    answer_routes(a, (part(a, m, b, amount=5, fee=1),))
    restart(wires, a, m)
    assert now(a) == (TO_CONFIRM, None)
    assert a.do(ConfirmFee(wish(1), CREDITS_MAX)) is None
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_a_queued_part_is_planned_again_after_a_restart() -> None:
    wires, (a, b) = chain("a", "b")
    strand_token(wires, a, b)
    begin(a, new_invoice(b, 5))
    restart(wires, a, b)
    assert now(a) == (COMMITTED, None)
    assert a.frozen() == 5


def test_a_part_that_left_gets_its_time_again_after_a_restart() -> None:
    wires, (a, b) = chain("a", "b")
    silence(wires, b)
    begin(a, new_invoice(b, 5))
    wires.run()
    restart(wires, a, b)
    assert now(a) == (SENDING, None)
    a.pass_time(a.env.timers.part_stuck_ms - 1)
    assert now(a) == (SENDING, None)
    wires.tap = None
    wires.connect(a, b)
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_half_of_a_payment_is_completed_after_a_restart() -> None:
    wires, (a, m, n, b) = diamond()
    with_index(a)
    strand_token(wires, a, n)
    begin(a, new_invoice(b, 10))
    answer_routes(a, (part(a, m, b, amount=6), part(a, n, b, amount=4)))
    wires.run()
    restart(wires, a, m, n)
    assert now(a) == (SENDING, None)
    assert a.questions[-1].amount == 4
    answer_routes(a, (part(a, n, b, amount=4),))
    wires.run()
    assert now(a) == (COMMITTED, None)


@pytest.mark.parametrize("is_collected", [False, True])
def test_a_committed_payment_is_still_committed_after_a_restart(is_collected: bool) -> None:
    wires, (a, b) = chain("a", "b")
    begin(a, new_invoice(b, 5))
    wires.run()
    commit = a.intent(wish(1)).commit
    assert commit is not None
    wires.restart(a, reloaded(a.state))
    if is_collected:
        assert b.do(CommitInvoice(commit)) is None
    wires.connect(a, b)
    wires.run()
    assert now(a) == ((PAID, None) if is_collected else (COMMITTED, None))
    assert released(a) == {commit}


def test_a_restart_without_friends_ends_an_unfinished_wish() -> None:
    wires, (a, b) = chain("a", "b")
    strand_token(wires, a, b)
    begin(a, new_invoice(b, 5))
    wires.restart(a, reloaded(a.state))
    a.pass_time(a.env.timers.friend_wait_ms)
    assert now(a) == (FAILED, PayFailure.SELLER_UNREACHABLE)
    assert not a.state.payments


# --- sellers that break the rules ---------------------------------------------------------------


def sign_response(
    seller: Card, buyer: Card, request_id: Uid, dest: PlainLock, *, is_complete: bool = True
) -> ResponseOp:
    """A response to a pending request, whatever the seller's invoice says."""
    request = seller.ledger(buyer).remote[request_id].request
    nonce = RandValue(bytes(16))
    empty = Signature(bytes(64))
    draft = response_op(request_id, hash_lock(dest), is_complete, nonce, empty)
    signature = seller.env.sign(response_buffer(response_terms(request, draft, FST)))
    return response_op(request_id, hash_lock(dest), is_complete, nonce, signature)


def hold_answers(wires: Wires, seller: Card, *friends: Card) -> None:
    """Keep the seller's own answers back, so that a test can give others."""
    for friend in friends:
        channel = seller.friend(friend).consistent
        assert channel is not None
        if isinstance(channel.direction, Incoming):  # requests can only come with the token
            assert seller.do(SetFriendCurrencyRate(friend.key, USD, Rate())) is None
            wires.run()
        seller.friend(friend).is_online = False


def say(wires: Wires, seller: Card, friend: Card, *operations: BackwardsOp) -> None:
    """Let the seller answer with exactly these."""
    seller.friend(friend).backwards.replace([(FST, operation) for operation in operations])
    link = seller.friend(friend).link_id
    assert link is not None
    seller.feed(LinkAdopted(friend.key, link))
    wires.run()
    seller.friend(friend).is_online = False


def two_parts_held() -> tuple[Wires, list[Card], Uid, Uid]:
    """A payment of 6 over m and 4 over n that reached a seller who has not answered yet."""
    wires, cards = diamond()
    a, m, n, b = cards
    hold_answers(wires, b, m, n)
    pay_over(wires, new_invoice(b, 10), 1, part(a, m, b, amount=6), part(a, n, b, amount=4))
    (first,), (second,) = b.ledger(m).remote, b.ledger(n).remote
    return wires, cards, first, second


def test_a_part_called_complete_early_commits_and_later_ones_change_nothing() -> None:
    wires, (a, m, n, b), first, second = two_parts_held()
    lock = PlainLock(b"d" * 32)
    say(wires, b, m, sign_response(b, m, first, lock))
    assert now(a) == (COMMITTED, None)
    commit = a.intent(wish(1)).commit
    assert commit is not None
    say(wires, b, m, collect_op(first, commit.src_plain_lock, lock))
    assert now(a) == (PAID, None)
    paid = a.intent(wish(1))
    say(wires, b, n, sign_response(b, n, second, lock))
    assert now(a) == (PAID, None)
    assert a.intent(wish(1)).commit == commit
    say(wires, b, n, collect_op(second, commit.src_plain_lock, lock))
    assert a.intent(wish(1)).receipt == paid.receipt
    assert not a.state.payments
    assert [stage for stage, _, _ in records(a)] == [PAID]


def test_a_commit_that_is_taken_back_in_the_same_token_is_a_refusal() -> None:
    wires, (a, b) = chain("a", "b")
    hold_answers(wires, b, a)
    begin(a, new_invoice(b, 10))
    wires.run()
    (request_id,) = b.ledger(a).remote
    say(
        wires,
        b,
        a,
        sign_response(b, a, request_id, PlainLock(b"d" * 32)),
        cancel_op(request_id),
    )
    assert now(a) == (FAILED, PayFailure.REFUSED)
    assert not a.state.payments
    assert a.frozen() == 0


def test_a_commit_leaves_no_plan_behind() -> None:
    wires, (a, m, n, b), first, second = two_parts_held()
    say(wires, b, n, cancel_op(second))
    assert now(a) == (SENDING, None)
    a.intent(wish(1)).confirm_above = 0
    answer_routes(a, (part(a, m, b, amount=4, fee=7),))
    assert now(a) == (TO_CONFIRM, None)
    say(wires, b, m, sign_response(b, m, first, PlainLock(b"d" * 32)))
    assert now(a) == (COMMITTED, None)
    shown = pay_report(a.intent(wish(1)))
    assert (shown.fee, shown.parts) == (0, 1)


def test_index_answers_nobody_asked_for_do_not_disturb_a_wish() -> None:
    _, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    before = begin(a, new_invoice(b, 5))
    a.feed(RoutesArrived(RoutesResponse(Uid(b"?" * 16), 0, 0, 0, ())))
    assert a.intent(wish(1)) == before
    answer_routes(a, (part(a, m, b, amount=5),))
    assert now(a) == (SENDING, None)


def test_without_an_index_server_a_wish_waits_for_the_seller_not_for_just_anybody() -> None:
    wires, (m, a, b) = chain("m", "a", "b")
    wires.offline(a, b)
    wires.offline(a, m)
    begin(a, new_invoice(b, 5))
    wires.connect(a, m)
    wires.run()
    assert now(a) == (SEARCHING, None)
    wires.connect(a, b)
    wires.run()
    assert now(a) == (COMMITTED, None)


def test_a_seller_who_stays_away_is_called_unreachable() -> None:
    wires, (m, a, b) = chain("m", "a", "b")
    wires.offline(a, b)
    begin(a, new_invoice(b, 5))
    assert now(a) == (SEARCHING, None)
    a.pass_time(a.env.timers.friend_wait_ms)
    assert now(a) == (FAILED, PayFailure.SELLER_UNREACHABLE)
    assert a.frozen() == m.frozen() == 0
