"""A buyer's payment: one secret lock, one or more transactions, one receipt.

    NEW ──close──▶ IN_PROGRESS ──all cancelled──▶ CANCELED ──ack──▶ gone
     └──────────────────┴──first collect──▶ SUCCESS ──ack──▶ gone (AFTER_SUCCESS_ACK until the rest ends)

The full table is payments.md §5.7, kept as a table in the tests. Handing out the `Commit` reveals
`src_plain_lock` and is the point of no return; nothing can be taken from the buyer before.
Source: offset-docs "Mutual Credit Protocol"; PROTOCOL.md, "Payments".
"""

from dataclasses import dataclass, field
from enum import Enum

from offset_engine.core.crypto import hash_lock
from offset_engine.core.messages import CollectOp, RequestOp, ResponseOp
from offset_engine.core.signing import Commit, Receipt, response_hash
from offset_engine.core.values import (
    Currency,
    InvoiceId,
    PaymentId,
    PlainLock,
    PublicKey,
    Uid,
    value,
)


class PaymentStage(Enum):
    """Where a payment is; names are stored."""

    NEW = "new"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    CANCELED = "canceled"
    AFTER_SUCCESS_ACK = "after_success_ack"


@value
class Transaction:
    """One open request of a payment."""

    first_hop: PublicKey
    request: RequestOp
    response: ResponseOp | None = None


@dataclass(slots=True)
class Payment:
    """One payment; `transactions` are the open ones."""

    payment_id: PaymentId
    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: int
    dest_public_key: PublicKey
    src_plain_lock: PlainLock
    stage: PaymentStage = PaymentStage.NEW
    transactions: dict[Uid, Transaction] = field(default_factory=dict)
    commit: Commit | None = None
    """From the response that completed the sum."""
    receipt: Receipt | None = None
    ack_uid: Uid | None = None
    is_withheld: bool = False
    """Given up: its commit is never handed out (design R20)."""

    def fork(self) -> "Payment":
        """A copy that may be changed."""
        return Payment(
            self.payment_id,
            self.invoice_id,
            self.currency,
            self.total_dest_payment,
            self.dest_public_key,
            self.src_plain_lock,
            self.stage,
            self.transactions.copy(),
            self.commit,
            self.receipt,
            self.ack_uid,
            self.is_withheld,
        )

    @property
    def is_over(self) -> bool:
        """Its outcome is known: money moved, or none ever will."""
        return self.stage not in (PaymentStage.NEW, PaymentStage.IN_PROGRESS)

    @property
    def sum(self) -> int:
        """Credits the open transactions bring to the seller."""
        return sum(part.request.dest_payment for part in self.transactions.values())


def close(payment: Payment, ack_uid: Uid) -> None:
    """Take no more transactions; without any open one the payment is cancelled."""
    if payment.stage is PaymentStage.NEW:
        payment.stage = PaymentStage.IN_PROGRESS
        _settle(payment, ack_uid)


def drop_transaction(payment: Payment, request_id: Uid, ack_uid: Uid) -> Transaction | None:
    """A transaction was cancelled or never left; the last one of a closed payment cancels it."""
    transaction = payment.transactions.pop(request_id, None)
    if transaction is not None:
        _settle(payment, ack_uid)
    return transaction


def _settle(payment: Payment, ack_uid: Uid) -> None:
    if payment.stage is PaymentStage.IN_PROGRESS and not payment.transactions:
        payment.stage = PaymentStage.CANCELED
        payment.ack_uid = ack_uid


def record_response(payment: Payment, response: ResponseOp) -> Transaction | None:
    """The seller accepted a transaction; the response that completes the sum makes the commit."""
    known = payment.transactions.get(response.request_id)
    if known is None:
        return None
    transaction = Transaction(known.first_hop, known.request, response)
    payment.transactions[response.request_id] = transaction
    if response.is_complete and payment.commit is None and not payment.is_withheld:
        payment.commit = Commit(
            response_hash(response.request_id, response.rand_nonce),
            payment.src_plain_lock,
            response.dest_hashed_lock,
            known.request.dest_payment,
            payment.total_dest_payment,
            payment.invoice_id,
            payment.currency,
            response.signature,
        )
    return transaction


def record_collect(payment: Payment, collect: CollectOp, ack_uid: Uid) -> None:
    """A transaction was collected: money moved, and the seller's lock is known."""
    transaction = payment.transactions.pop(collect.request_id, None)
    if transaction is None:
        return
    if not payment.is_over:
        payment.stage = PaymentStage.SUCCESS
        payment.ack_uid = ack_uid
    if payment.receipt is None or not payment.receipt.is_complete:
        payment.receipt = _receipt(payment, transaction, collect) or payment.receipt


def _receipt(payment: Payment, collected: Transaction, collect: CollectOp) -> Receipt | None:
    """The receipt of the response that completed the sum, or else of the one collected."""
    commit = payment.commit
    if commit is not None and hash_lock(collect.dest_plain_lock) == commit.dest_hashed_lock:
        return Receipt(
            commit.response_hash,
            payment.invoice_id,
            payment.currency,
            collect.src_plain_lock,
            collect.dest_plain_lock,
            True,  # noqa: FBT003 - a commit is always complete
            commit.dest_payment,
            commit.total_dest_payment,
            commit.signature,
        )
    response = collected.response
    if response is None:
        return None
    return Receipt(
        response_hash(response.request_id, response.rand_nonce),
        payment.invoice_id,
        payment.currency,
        collect.src_plain_lock,
        collect.dest_plain_lock,
        response.is_complete,
        collected.request.dest_payment,
        payment.total_dest_payment,
        response.signature,
    )
