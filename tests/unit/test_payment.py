"""The buyer's payment: the whole table of stages and events, commits and receipts."""

from dataclasses import dataclass, replace

import pytest

from offset_engine.core import buying
from offset_engine.core.api import (
    AckClosePayment,
    CommandFault,
    CreatePayment,
    CreateTransaction,
    PaymentStatus,
    TransactionOutcome,
    TransactionResult,
)
from offset_engine.core.crypto import hash_lock, sha512_256
from offset_engine.core.draft import Draft, PartEnd
from offset_engine.core.events import Notify
from offset_engine.core.messages import collect_op, request_op, response_op
from offset_engine.core.payment import (
    Payment,
    PaymentStage,
    Transaction,
    close,
    drop_transaction,
    record_collect,
    record_response,
)
from offset_engine.core.signing import Commit, Receipt
from offset_engine.core.values import (
    CREDITS_MAX,
    OPEN_PAYMENTS_MAX,
    InvoiceId,
    PaymentId,
    PlainLock,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)
from tests.covers import covers
from tests.fakes import FST, Card, chain, uid, wish

NEW, IN_PROGRESS, SUCCESS, CANCELED, AFTER_ACK = PaymentStage
SRC, DEST = PlainLock(b"s" * 32), PlainLock(b"d" * 32)
ACK = Uid(b"a" * 16)
PAYMENT = wish(1)
INVOICE = InvoiceId(b"i" * 32)


def transaction(number: int, hop: PublicKey, amount: int = 3) -> Transaction:
    request = request_op(uid(number), hash_lock(SRC), (), (amount, 10, 0), INVOICE)
    return Transaction(hop, request)


def answered(open_: Transaction, *, is_complete: bool, dest: PlainLock = DEST) -> Transaction:
    nonce = RandValue(sha512_256(open_.request.request_id)[:16])
    response = response_op(
        open_.request.request_id, hash_lock(dest), is_complete, nonce, Signature(bytes(64))
    )
    return Transaction(open_.first_hop, open_.request, response)


def old_receipt() -> Receipt:
    zero = sha512_256(b"")
    return Receipt(zero, INVOICE, FST, SRC, DEST, True, 3, 10, Signature(bytes(64)))


class Table:
    """A buyer with one payment in a given stage and `count` open, answered transactions."""

    def __init__(self, stage: PaymentStage | None, count: int) -> None:
        self.wires, (self.buyer, self.seller) = chain("a", "b")
        self.count = count
        if stage is None:
            return
        payment = Payment(PAYMENT, INVOICE, FST, 10, self.seller.key, SRC, stage)
        for number in range(1, count + 1):
            part = transaction(number, self.seller.key)
            payment.transactions[uid(number)] = answered(part, is_complete=False)
        if stage in (SUCCESS, CANCELED, AFTER_ACK):
            payment.ack_uid = ACK
        if stage in (SUCCESS, AFTER_ACK):
            payment.receipt = old_receipt()
        self.buyer.state.payments[PAYMENT] = payment

    def now(self) -> tuple[PaymentStage, int] | None:
        payment = self.buyer.state.payments.get(PAYMENT)
        return None if payment is None else (payment.stage, len(payment.transactions))

    def happen(self, event: str) -> tuple[CommandFault | None, list[str]]:
        """Let one event of the table happen; returns the fault and the replies about the payment."""
        draft = Draft(self.buyer.state, self.buyer.env)
        fault, replies = None, []
        match event:
            case "create":
                command = CreateTransaction(
                    PAYMENT, uid(99), (self.buyer.key, self.seller.key), 1, 0
                )
                fault = buying.create_transaction(draft, command)
            case "close":
                replies = [stage_of(buying.close_payment(draft, PAYMENT))]
            case "cancel":
                buying.receive_cancel(draft, PAYMENT, uid(1), PartEnd.CAME_BACK)
            case "collect":
                buying.receive_collect(draft, PAYMENT, collect_op(uid(1), SRC, DEST))
            case "ack":
                fault = buying.acknowledge(draft, AckClosePayment(PAYMENT, ACK))
            case "wrong ack":
                fault = buying.acknowledge(draft, AckClosePayment(PAYMENT, uid(88)))
        notices = [effect.notice for effect in draft.effects if isinstance(effect, Notify)]
        self.results = [one for one in notices if isinstance(one, TransactionResult)]
        if event != "close":
            replies = [stage_of(one) for one in notices if isinstance(one, PaymentStatus)]
        self.buyer.state = draft.finish().state
        return fault, replies


def stage_of(status: PaymentStatus) -> str:
    return "not found" if status.stage is None else status.stage


@dataclass
class Cell:
    """One cell of the table: what is after it, the fault, the replies."""

    after: tuple[PaymentStage, int] | None
    fault: CommandFault | None = None
    replies: tuple[str, ...] = ()


NO_MORE = CommandFault.NEW_TRANSACTIONS_NOT_ALLOWED
BAD_STATE, BAD_ACK = CommandFault.ACK_STATE_INVALID, CommandFault.ACK_MISMATCH
GONE = CommandFault.PAYMENT_DOES_NOT_EXIST

# payments.md §5.7, cell by cell.
TABLE: dict[tuple[PaymentStage | None, int, str], Cell] = {
    (NEW, 0, "create"): Cell((NEW, 1)),
    (NEW, 2, "create"): Cell((NEW, 3)),
    (NEW, 0, "close"): Cell((CANCELED, 0), None, ("canceled",)),
    (NEW, 2, "close"): Cell((IN_PROGRESS, 2), None, ("in_progress",)),
    (NEW, 2, "cancel"): Cell((NEW, 1)),
    (NEW, 1, "cancel"): Cell((NEW, 0)),
    (NEW, 2, "collect"): Cell((SUCCESS, 1), None, ("success",)),
    (NEW, 2, "ack"): Cell((NEW, 2), BAD_STATE),
    (IN_PROGRESS, 2, "create"): Cell((IN_PROGRESS, 2), NO_MORE),
    (IN_PROGRESS, 2, "close"): Cell((IN_PROGRESS, 2), None, ("in_progress",)),
    (IN_PROGRESS, 2, "cancel"): Cell((IN_PROGRESS, 1)),
    (IN_PROGRESS, 1, "cancel"): Cell((CANCELED, 0), None, ("canceled",)),
    (IN_PROGRESS, 2, "collect"): Cell((SUCCESS, 1), None, ("success",)),
    (IN_PROGRESS, 1, "collect"): Cell((SUCCESS, 0), None, ("success",)),
    (IN_PROGRESS, 1, "ack"): Cell((IN_PROGRESS, 1), BAD_STATE),
    (SUCCESS, 2, "create"): Cell((SUCCESS, 2), NO_MORE),
    (SUCCESS, 2, "close"): Cell((SUCCESS, 2), None, ("success",)),
    (SUCCESS, 2, "cancel"): Cell((SUCCESS, 1), None, ("success",)),
    (SUCCESS, 2, "collect"): Cell((SUCCESS, 1), None, ("success",)),
    (SUCCESS, 2, "ack"): Cell((AFTER_ACK, 2)),
    (SUCCESS, 0, "ack"): Cell(None),
    (SUCCESS, 0, "wrong ack"): Cell((SUCCESS, 0), BAD_ACK),
    (CANCELED, 0, "create"): Cell((CANCELED, 0), NO_MORE),
    (CANCELED, 0, "close"): Cell((CANCELED, 0), None, ("canceled",)),
    (CANCELED, 0, "ack"): Cell(None),
    (CANCELED, 0, "wrong ack"): Cell((CANCELED, 0), BAD_ACK),
    (AFTER_ACK, 2, "create"): Cell((AFTER_ACK, 2), NO_MORE),
    (AFTER_ACK, 2, "close"): Cell((AFTER_ACK, 2), None, ("not found",)),
    (AFTER_ACK, 2, "cancel"): Cell((AFTER_ACK, 1)),
    (AFTER_ACK, 1, "cancel"): Cell(None),
    (AFTER_ACK, 2, "collect"): Cell((AFTER_ACK, 1)),
    (AFTER_ACK, 1, "collect"): Cell(None),
    (AFTER_ACK, 1, "ack"): Cell((AFTER_ACK, 1), BAD_STATE),
    (None, 0, "create"): Cell(None, CommandFault.OPEN_PAYMENT_NOT_FOUND),
    (None, 0, "close"): Cell(None, None, ("not found",)),
    (None, 0, "cancel"): Cell(None),
    (None, 0, "collect"): Cell(None),
    (None, 0, "ack"): Cell(None, GONE),
}


@covers("PT23")
@pytest.mark.parametrize(("stage", "count", "event"), list(TABLE))
def test_every_cell_of_the_table(stage: PaymentStage | None, count: int, event: str) -> None:
    table, cell = Table(stage, count), TABLE[stage, count, event]
    fault, replies = table.happen(event)
    assert table.now() == cell.after
    assert fault is cell.fault
    assert tuple(replies) == cell.replies
    if event == "cancel" and stage is not None:
        assert [one.outcome for one in table.results] == [TransactionOutcome.FAILURE]


@covers("PT23")
def test_the_acknowledgement_is_fixed_when_the_payment_ends_and_repeated_unchanged() -> None:
    table = Table(IN_PROGRESS, 2)
    table.happen("collect")
    first = table.buyer.state.payments[PAYMENT]
    assert first.ack_uid is not None
    table.happen("close")
    again = table.buyer.state.payments[PAYMENT]
    assert (again.ack_uid, again.receipt) == (first.ack_uid, first.receipt)


def test_an_answer_to_an_unknown_transaction_changes_nothing() -> None:
    table = Table(IN_PROGRESS, 1)
    draft = Draft(table.buyer.state, table.buyer.env)
    stray = answered(transaction(9, table.seller.key), is_complete=True).response
    assert stray is not None
    buying.receive_response(draft, PAYMENT, stray)
    buying.receive_response(draft, wish(9), stray)
    buying.receive_cancel(draft, PAYMENT, uid(9), PartEnd.CAME_BACK)
    buying.receive_collect(draft, PAYMENT, collect_op(uid(9), SRC, DEST))
    assert not draft.news
    assert not draft.effects
    assert draft.finish().state.payments[PAYMENT] == table.buyer.state.payments[PAYMENT]


# --- creating -----------------------------------------------------------------------------------


def create(card: Card, **changes: object) -> CommandFault | None:
    other = Card("x", 9)
    command = CreatePayment(PAYMENT, INVOICE, FST, 10, other.key)
    return card.do(replace(command, **changes))  # type: ignore[arg-type]


def test_a_payment_is_opened_once_with_an_amount_and_a_seller() -> None:
    card = Card("a", 1)
    assert create(card, total_dest_payment=0) is CommandFault.INVALID_AMOUNT
    assert create(card, total_dest_payment=CREDITS_MAX + 1) is CommandFault.INVALID_AMOUNT
    assert create(card, dest_public_key=PublicKey(bytes(32))) is CommandFault.INVALID_ARGUMENT
    assert create(card) is None
    assert create(card) is CommandFault.PAYMENT_ALREADY_OPEN
    assert create(card, payment_id=wish(2), total_dest_payment=CREDITS_MAX) is None
    one, two = card.state.payments.values()
    assert one.src_plain_lock != two.src_plain_lock


def test_payments_have_a_limit() -> None:
    card = Card("a", 1)
    assert create(card) is None
    open_ = card.state.payments[PAYMENT]
    for number in range(OPEN_PAYMENTS_MAX - 1):
        card.state.payments[PaymentId(number.to_bytes(16, "big"))] = open_
    assert create(card, payment_id=wish(2)) is CommandFault.LIMIT_REACHED


# --- commit and receipt -------------------------------------------------------------------------


def payment_of(*amounts: int) -> Payment:
    """A payment with open, unanswered transactions 1, 2, …"""
    seller = Card("b", 2).key
    payment = Payment(PAYMENT, INVOICE, FST, sum(amounts), seller, SRC)
    for number, amount in enumerate(amounts, 1):
        payment.transactions[uid(number)] = transaction(number, seller, amount)
    return payment


def respond(payment: Payment, number: int, *, is_complete: bool, dest: PlainLock = DEST) -> None:
    part = answered(payment.transactions[uid(number)], is_complete=is_complete, dest=dest)
    assert part.response is not None
    assert record_response(payment, part.response) == part


@covers("PAY-12")
def test_only_the_response_that_completes_the_sum_makes_the_commit() -> None:
    payment = payment_of(6, 4)
    respond(payment, 1, is_complete=False)
    assert payment.commit is None
    respond(payment, 2, is_complete=True)
    response = payment.transactions[uid(2)].response
    assert response is not None
    assert payment.commit == Commit(
        sha512_256(uid(2) + response.rand_nonce),
        SRC,
        hash_lock(DEST),
        4,
        10,
        INVOICE,
        FST,
        response.signature,
    )


def test_a_second_completing_response_does_not_replace_the_commit() -> None:
    payment = payment_of(6, 4)
    respond(payment, 1, is_complete=True)
    first = payment.commit
    respond(payment, 2, is_complete=True)
    assert payment.commit == first


@covers("PAY-08")
def test_a_payment_given_up_never_makes_a_commit() -> None:
    payment = payment_of(10)
    payment.is_withheld = True
    respond(payment, 1, is_complete=True)
    assert payment.commit is None


@covers("PT17", "PAY-15")
def test_the_receipt_is_that_of_the_completing_response_whichever_part_comes_first() -> None:
    for first in (1, 2):
        payment = payment_of(6, 4)
        respond(payment, 1, is_complete=False)
        respond(payment, 2, is_complete=True)
        record_collect(payment, collect_op(uid(first), SRC, DEST), ACK)
        receipt = payment.receipt
        assert receipt is not None
        assert receipt.is_complete
        assert (receipt.dest_payment, receipt.total_dest_payment) == (4, 10)
        assert payment.stage is SUCCESS
        record_collect(payment, collect_op(uid(3 - first), SRC, DEST), uid(7))
        assert payment.receipt == receipt
        assert payment.ack_uid == ACK


def test_a_partial_receipt_gives_way_to_a_complete_one() -> None:
    other = PlainLock(b"o" * 32)
    payment = payment_of(6, 4)
    respond(payment, 1, is_complete=False, dest=other)
    respond(payment, 2, is_complete=True)
    record_collect(payment, collect_op(uid(1), SRC, other), ACK)
    assert payment.receipt is None or not payment.receipt.is_complete
    record_collect(payment, collect_op(uid(2), SRC, DEST), ACK)
    assert payment.receipt is not None
    assert payment.receipt.is_complete


def test_a_collect_of_a_part_without_response_leaves_no_receipt() -> None:
    payment = payment_of(6, 4)
    record_collect(payment, collect_op(uid(1), SRC, DEST), ACK)
    assert payment.stage is SUCCESS
    assert payment.receipt is None


def test_dropping_what_is_not_there_changes_nothing() -> None:
    payment = payment_of(6)
    assert drop_transaction(payment, uid(9), ACK) is None
    assert payment == payment_of(6)
    assert payment.sum == 6


def test_closing_a_closed_payment_changes_nothing() -> None:
    payment = payment_of(6)
    close(payment, ACK)
    assert payment.stage is IN_PROGRESS
    close(payment, uid(9))
    assert (payment.stage, payment.ack_uid) == (IN_PROGRESS, None)


def test_a_fork_of_a_payment_shares_nothing() -> None:
    payment = payment_of(6, 4)
    copy = payment.fork()
    drop_transaction(copy, uid(1), ACK)
    assert len(payment.transactions) == 2
