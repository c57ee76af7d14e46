"""The buyer's primitives: open a payment, send transactions, close it, fetch and acknowledge the result.

`paying` drives these for people; programs of the original's kind drive them themselves.
Source: PROTOCOL.md, "Payments"; payments.md §5.7.
"""

from typing import Final

from offset_engine.core.api import (
    AckClosePayment,
    CommandFault,
    CreatePayment,
    CreateTransaction,
    PaymentStatus,
    TransactionOutcome,
    TransactionResult,
)
from offset_engine.core.crypto import hash_lock, is_valid_identity
from offset_engine.core.draft import Draft, PartEnd, PaymentNews, TransactionNews
from offset_engine.core.friend import QueuedRequest
from offset_engine.core.messages import CollectOp, RequestOp, ResponseOp, request_op
from offset_engine.core.payment import (
    Payment,
    PaymentStage,
    Transaction,
    close,
    drop_transaction,
    record_collect,
    record_response,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    OPEN_PAYMENTS_MAX,
    OWN_REQUESTS_QUEUED_MAX,
    ROUTE_KEYS_MAX,
    PaymentId,
    PlainLock,
    PublicKey,
    Uid,
)

_FINISHED: Final = (PaymentStage.SUCCESS, PaymentStage.CANCELED)

# --- commands -----------------------------------------------------------------------------------


def create_payment(draft: Draft, command: CreatePayment) -> CommandFault | None:
    """Open a payment with a fresh secret lock."""
    if command.payment_id in draft.state.payments:
        return CommandFault.PAYMENT_ALREADY_OPEN
    if not 1 <= command.total_dest_payment <= CREDITS_MAX:
        return CommandFault.INVALID_AMOUNT
    if not is_valid_identity(command.dest_public_key):
        return CommandFault.INVALID_ARGUMENT
    if len(draft.state.payments) >= OPEN_PAYMENTS_MAX:
        return CommandFault.LIMIT_REACHED
    draft.put_payment(
        Payment(
            command.payment_id,
            command.invoice_id,
            command.currency,
            command.total_dest_payment,
            command.dest_public_key,
            PlainLock(draft.env.random(32)),
        )
    )
    return None


def create_transaction(draft: Draft, command: CreateTransaction) -> CommandFault | None:
    """Send one part of a payment over one route; the same request id again changes nothing."""
    payment = draft.state.payments.get(command.payment_id)
    if payment is None:
        return CommandFault.OPEN_PAYMENT_NOT_FOUND
    if command.request_id in payment.transactions:
        return None
    if payment.stage is not PaymentStage.NEW:
        return CommandFault.NEW_TRANSACTIONS_NOT_ALLOWED
    fault = _route_fault(draft, payment, command.route) or _amount_fault(payment, command)
    if fault is None and command.request_id in draft.state.outgoing_ids:
        fault = CommandFault.REQUEST_ALREADY_IN_PROGRESS
    if fault is not None:
        return fault
    request = request_op(
        command.request_id,
        hash_lock(payment.src_plain_lock),
        command.route[2:],
        (command.dest_payment, payment.total_dest_payment, command.fees),
        payment.invoice_id,
    )
    return _enqueue(draft, payment, command.route[1], request)


def _enqueue(
    draft: Draft, payment: Payment, first_hop: PublicKey, request: RequestOp
) -> CommandFault | None:
    friend = draft.state.friends[first_hop]
    if len(friend.own) >= OWN_REQUESTS_QUEUED_MAX or not friend.has_room(request, payment.currency):
        return CommandFault.PENDING_USER_REQUESTS_FULL
    payment = draft.payment(payment.payment_id)
    payment.transactions[request.request_id] = Transaction(first_hop, request)
    draft.queue_request(first_hop, QueuedRequest(payment.currency, request, payment.payment_id))
    return None


def _route_fault(
    draft: Draft, payment: Payment, route: tuple[PublicKey, ...]
) -> CommandFault | None:
    if not route or route[0] != draft.state.local_public_key:
        return CommandFault.NOT_FIRST_IN_ROUTE
    if route[-1] != payment.dest_public_key:
        return CommandFault.PAYMENT_DEST_NOT_LAST_IN_ROUTE
    is_cycle = len(route) > 3 and route[0] == route[-1]
    inner = route[1:] if is_cycle else route
    if not 2 <= len(route) <= ROUTE_KEYS_MAX or len(set(inner)) != len(inner):
        return CommandFault.INVALID_ROUTE
    friend = draft.state.friends.get(route[1])
    if friend is None:
        return CommandFault.FRIEND_DOES_NOT_EXIST
    if not friend.is_ready(payment.currency):
        return CommandFault.FRIEND_NOT_READY
    return None


def _amount_fault(payment: Payment, command: CreateTransaction) -> CommandFault | None:
    is_fine = (
        command.dest_payment >= 1
        and command.fees >= 0
        and command.dest_payment + command.fees <= CREDITS_MAX
        and payment.sum + command.dest_payment <= payment.total_dest_payment
    )
    return None if is_fine else CommandFault.INVALID_AMOUNT


def transaction_result(
    draft: Draft, payment_id: PaymentId, request_id: Uid
) -> TransactionResult | None:
    """The stored result of a transaction, if it has one yet."""
    payment = draft.state.payments.get(payment_id)
    known = payment.transactions.get(request_id) if payment is not None else None
    if payment is None or known is None or known.response is None:
        return None
    return _accepted(payment, known.response)


def _accepted(payment: Payment, response: ResponseOp) -> TransactionResult:
    request_id = response.request_id
    if response.is_complete:
        complete = TransactionOutcome.COMPLETE
        return TransactionResult(payment.payment_id, request_id, complete, payment.commit)
    return TransactionResult(payment.payment_id, request_id, TransactionOutcome.SUCCESS, None)


def close_payment(draft: Draft, payment_id: PaymentId) -> PaymentStatus:
    """Take no more transactions; answers how the payment stands."""
    payment = draft.state.payments.get(payment_id)
    if payment is not None and payment.stage is PaymentStage.NEW:
        close(draft.payment(payment_id), Uid(draft.env.random(16)))
        _announce_end(draft, payment_id)
    return payment_status(draft, payment_id)


def payment_status(draft: Draft, payment_id: PaymentId) -> PaymentStatus:
    """How a payment stands; one that was acknowledged counts as gone."""
    payment = draft.state.payments.get(payment_id)
    if payment is None or payment.stage is PaymentStage.AFTER_SUCCESS_ACK:
        return PaymentStatus(payment_id, None, 0, None, None, None)
    return PaymentStatus(
        payment_id,
        payment.stage.value,
        len(payment.transactions),
        payment.commit,
        payment.receipt,
        payment.ack_uid,
    )


def acknowledge(draft: Draft, command: AckClosePayment) -> CommandFault | None:
    """The result was stored by whoever asked: forget the payment, at once or when its rest has ended."""
    payment = draft.state.payments.get(command.payment_id)
    if payment is None:
        return CommandFault.PAYMENT_DOES_NOT_EXIST
    if payment.stage not in _FINISHED:
        return CommandFault.ACK_STATE_INVALID
    if payment.ack_uid != command.ack_uid:
        return CommandFault.ACK_MISMATCH
    forget(draft, command.payment_id)
    return None


def forget(draft: Draft, payment_id: PaymentId) -> None:
    """Drop a finished payment, or let it go by itself once its last transaction ended."""
    if not draft.state.payments[payment_id].transactions:
        draft.drop_payment(payment_id)
    else:
        draft.payment(payment_id).stage = PaymentStage.AFTER_SUCCESS_ACK


def withhold(draft: Draft, payment_id: PaymentId) -> None:
    """Never hand out this payment's commit; it goes by itself when its transactions are cancelled."""
    payment = draft.payment(payment_id)
    payment.is_withheld = True
    payment.commit = None
    for request_id, transaction in tuple(payment.transactions.items()):
        if _take_back(draft, transaction):
            drop_transaction(payment, request_id, Uid(draft.env.random(16)))
    close(payment, Uid(draft.env.random(16)))
    _announce_end(draft, payment_id)


def _take_back(draft: Draft, transaction: Transaction) -> bool:
    """Take a request that has not left yet out of its friend's queue; False if it has left."""
    request_id = transaction.request.request_id
    known = draft.state.friends.get(transaction.first_hop)
    if known is None or not any(e.request.request_id == request_id for e in known.own.items):
        return False
    queue = draft.friend(transaction.first_hop).own
    queue.replace([e for e in queue.items if e.request.request_id != request_id])
    draft.set_outgoing_id(request_id, None)
    return True


# --- answers ------------------------------------------------------------------------------------


def receive_response(draft: Draft, payment_id: PaymentId, response: ResponseOp) -> None:
    """The seller accepted one of our transactions."""
    if payment_id not in draft.state.payments:
        return
    payment = draft.payment(payment_id)
    if record_response(payment, response) is None:
        return
    result = _accepted(payment, response)
    draft.notify(result)
    draft.news.append(TransactionNews(payment_id, response.request_id, result.outcome))


def receive_cancel(draft: Draft, payment_id: PaymentId, request_id: Uid, end: PartEnd) -> None:
    """One of our transactions was cancelled."""
    if payment_id not in draft.state.payments:
        return
    payment = draft.payment(payment_id)
    if drop_transaction(payment, request_id, Uid(draft.env.random(16))) is None:
        return
    failure = TransactionOutcome.FAILURE
    draft.notify(TransactionResult(payment_id, request_id, failure, None))
    draft.news.append(TransactionNews(payment_id, request_id, failure, end))
    _announce_end(draft, payment_id)


def receive_collect(draft: Draft, payment_id: PaymentId, collect: CollectOp) -> None:
    """One of our transactions was collected: the seller has its money, we have the receipt."""
    if payment_id not in draft.state.payments:
        return
    record_collect(draft.payment(payment_id), collect, Uid(draft.env.random(16)))
    _announce_end(draft, payment_id)


def _announce_end(draft: Draft, payment_id: PaymentId) -> None:
    payment = draft.state.payments[payment_id]
    if payment.stage is PaymentStage.AFTER_SUCCESS_ACK or payment.is_withheld:
        if payment.is_over and not payment.transactions:
            draft.drop_payment(payment_id)
    elif payment.is_over:
        draft.notify(payment_status(draft, payment_id))
        draft.news.append(PaymentNews(payment_id))
