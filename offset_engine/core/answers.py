"""Answers going back: to the friend a request came from, or to our own payment; and requests that get none.

The answer to a request finds its way by the links kept in the ledgers, never by searching for an id:

    remote(U, r).next = D   ⇔   queued to D, or local(D, r).origin = U

Source: PROTOCOL.md, "Forwarding"; payments.md §5.5, §5.6.
"""

from collections.abc import Callable
from typing import assert_never

from offset_engine.core import buying
from offset_engine.core.draft import Draft, PartEnd
from offset_engine.core.friend import QueuedRequest
from offset_engine.core.messages import BackwardsOp, CancelOp, CollectOp, ResponseOp
from offset_engine.core.mutual_credit import Ledger, Origin, SentRequest
from offset_engine.core.reports import ForwardRecord, LossRecord
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    Currency,
    PaymentId,
    PublicKey,
    Uid,
)


def pass_answer(
    draft: Draft,
    key: PublicKey,
    what: tuple[Currency, SentRequest],
    operation: BackwardsOp,
) -> None:
    """Pass an answer on to where its request came from; `what` is the ledger's entry."""
    currency, entry = what
    if not isinstance(operation, ResponseOp):
        draft.set_outgoing_id(operation.request_id, None)
    origin = entry.origin
    if isinstance(origin, PaymentId):
        _answer_own(draft, origin, operation)
    elif isinstance(origin, PublicKey):
        _answer_friend(draft, (key, origin), what, operation)
    elif isinstance(operation, CollectOp):
        _lose(draft, key, currency, entry.request.freeze)


def _answer_own(draft: Draft, payment_id: PaymentId, operation: BackwardsOp) -> None:
    match operation:
        case ResponseOp():
            buying.receive_response(draft, payment_id, operation)
        case CancelOp():
            buying.receive_cancel(draft, payment_id, operation.request_id, PartEnd.CAME_BACK)
        case CollectOp():
            buying.receive_collect(draft, payment_id, operation)
        case _:
            assert_never(operation)


def _answer_friend(
    draft: Draft,
    ends: tuple[PublicKey, PublicKey],
    what: tuple[Currency, SentRequest],
    operation: BackwardsOp,
) -> None:
    """Queue the answer upstream; `ends` is (downstream, upstream)."""
    (downstream, upstream), (currency, entry) = ends, what
    if isinstance(operation, CollectOp):
        received = ledger_of(draft, upstream, currency).remote[operation.request_id]
        paid = entry.request.freeze
        fee = received.request.freeze - paid
        draft.records.append(
            ForwardRecord(currency, upstream, downstream, paid, fee, draft.env.wall_ms)
        )
    next_ = downstream if isinstance(operation, ResponseOp) else None
    draft.answer(upstream, currency, operation, next_)


def _lose(draft: Draft, key: PublicKey, currency: Currency, amount: int) -> None:
    """Note that we paid for a request nobody will repay: its origin's channel is gone."""
    friend = draft.friend(key)
    lost = dict(friend.lost)
    if currency in lost or len(lost) < ACTIVE_CURRENCIES_MAX:
        lost[currency] = min(CREDITS_MAX, lost.get(currency, 0) + amount)
    friend.lost = tuple(sorted(lost.items()))
    draft.records.append(LossRecord(key, currency, amount, draft.env.wall_ms))


def cancel_to_origin(
    draft: Draft,
    currency: Currency,
    request_id: Uid,
    origin: Origin,
    end: PartEnd,
) -> None:
    """A request of ours will not be answered: tell whoever it came from."""
    draft.set_outgoing_id(request_id, None)
    if isinstance(origin, PaymentId):
        buying.receive_cancel(draft, origin, request_id, end)
    elif isinstance(origin, PublicKey):
        draft.refuse(origin, currency, request_id)


def cancel_queued(
    draft: Draft, key: PublicKey, is_affected: Callable[[QueuedRequest], bool]
) -> None:
    """Cancel requests that wait for this friend's token to where they came from."""
    known = draft.state.friends[key]
    if not any(is_affected(e) for queue in (known.forwarded, known.own) for e in queue.items):
        return
    friend = draft.friend(key)
    cancelled: list[QueuedRequest] = []
    for queue in (friend.forwarded, friend.own):
        hit = [entry for entry in queue.items if is_affected(entry)]
        if hit:
            queue.replace([entry for entry in queue.items if not is_affected(entry)])
            cancelled += hit
    for entry in cancelled:
        request_id = entry.request.request_id
        cancel_to_origin(draft, entry.currency, request_id, entry.origin, PartEnd.NEVER_LEFT)


def ledger_of(draft: Draft, key: PublicKey, currency: Currency) -> Ledger:
    """A ledger that some link leads to, so that it exists; to be changed."""
    channel = draft.friend(key).consistent
    assert channel is not None  # noqa: S101 - a link leads to it
    return channel.ledgers[currency]
