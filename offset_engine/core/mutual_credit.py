"""One currency between two friends: the balance, the frozen credits and the four operations.

A `Ledger` is one side's view. `balance` is positive when the friend owes us. A request we sent is in
`local` until it is cancelled or collected, one the friend sent is in `remote`:

    absent ──request──▶ stage Request ──response──▶ stage Response ──collect──▶ gone, credits moved
                             └────────────cancel─────────┴──cancel──▶ gone, nothing moved

The friend's ledger mirrors ours: negated balance, pending sides swapped. The *receiver* of a request
checks the credit limit, because only it knows the limit; a request over the limit is recorded all the
same and cancelled right after, so that both sides always hold the same numbers.

Two kinds of refusal: an `OperationFault` is a fact the friend could have checked itself, so the whole move
token is rejected; anything that depends on our own settings only ends in a cancel.

Ledgers are forked, then changed in place by whoever made the fork; see `node`.
Source: offset-docs "Mutual Credit Protocol"; PROTOCOL.md, "Ledger".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from offset_engine.core.crypto import hash_lock
from offset_engine.core.messages import CancelOp, CollectOp, RequestOp, ResponseOp
from offset_engine.core.signing import (
    BalanceInfo,
    ResponseTerms,
    response_buffer,
    response_hash,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    PENDING_PER_DIRECTION_MAX,
    PENDING_STORED_MAX,
    ROUTE_KEYS_MAX,
    Currency,
    InvoiceId,
    PaymentId,
    PublicKey,
    Signature,
    Uid,
    value,
)
from offset_engine.errors import invariant

Origin: TypeAlias = PublicKey | PaymentId | None
"""Where a request we sent came from: a friend, an own payment, or nobody any more (orphan)."""
Next: TypeAlias = PublicKey | InvoiceId | None
"""Where a received request went: on to a friend, into our invoice, or it is already answered."""
Verify: TypeAlias = Callable[[PublicKey, bytes, Signature], bool]


class OperationFault(Enum):
    """Why a friend's operation breaks the rules both sides know; makes the channel inconsistent."""

    INVALID_ROUTE = "invalid_route"
    AMOUNT_OUT_OF_RANGE = "amount_out_of_range"
    DEST_PAYMENT_EXCEEDS_TOTAL = "dest_payment_exceeds_total"
    REQUEST_ALREADY_EXISTS = "request_already_exists"
    CREDITS_CALC_OVERFLOW = "credits_calc_overflow"
    TOO_MANY_PENDING = "too_many_pending"
    REQUEST_DOES_NOT_EXIST = "request_does_not_exist"
    INVALID_RESPONSE_SIGNATURE = "invalid_response_signature"
    NOT_EXPECTING_RESPONSE = "not_expecting_response"
    NOT_EXPECTING_COLLECT = "not_expecting_collect"
    INVALID_SRC_PLAIN_LOCK = "invalid_src_plain_lock"
    INVALID_DEST_PLAIN_LOCK = "invalid_dest_plain_lock"


@value
class SentRequest:
    """A request we sent on this hop: `local` pending."""

    request: RequestOp
    origin: Origin
    since_ms: int
    """UTC ms when it was sent."""
    response: ResponseOp | None = None
    """Set in stage Response."""


@value
class ReceivedRequest:
    """A request the friend sent us: `remote` pending."""

    request: RequestOp
    next: Next
    since_ms: int
    """UTC ms when it arrived."""
    response: ResponseOp | None = None
    """Set in stage Response, that is once the response went back to the friend."""


@dataclass(slots=True)
class Ledger:
    """One side's view of one currency; amounts in credits."""

    balance: int = 0
    local_pending_debt: int = 0
    """Sum of `freeze` over `local`."""
    remote_pending_debt: int = 0
    """Sum of `freeze` over `remote`."""
    local: dict[Uid, SentRequest] = field(default_factory=dict)
    remote: dict[Uid, ReceivedRequest] = field(default_factory=dict)

    def fork(self) -> "Ledger":
        """A copy that may be changed without changing this one."""
        return Ledger(
            self.balance,
            self.local_pending_debt,
            self.remote_pending_debt,
            self.local.copy(),
            self.remote.copy(),
        )

    @property
    def info(self) -> BalanceInfo:
        """The three numbers both sides agree on, from our view."""
        return BalanceInfo(self.balance, self.local_pending_debt, self.remote_pending_debt)

    @property
    def is_zero(self) -> bool:
        """Nothing owed and nothing pending: the currency may be removed."""
        return self.balance == 0 and not self.local and not self.remote

    # --- what the friend does -------------------------------------------------------------------

    def receive_request(
        self, op: RequestOp, max_debt: int, wall_ms: int
    ) -> "ReceivedRequest | OperationFault | None":
        """Record and freeze a request of the friend.

        Returns:
            The entry if it may go on; None if it must be cancelled (over the limit, nothing to pay,
            or too many pending), in which case it is recorded all the same; a fault otherwise.
        """
        fault = self._request_fault(op)
        if fault is not None:
            return fault
        frozen = op.dest_payment + op.left_fees
        entry = ReceivedRequest(op, None, wall_ms)
        is_welcome = (
            op.dest_payment > 0
            and len(self.remote) < PENDING_PER_DIRECTION_MAX
            and self.balance + self.remote_pending_debt + frozen <= max_debt
        )
        self.remote[op.request_id] = entry
        self.remote_pending_debt += frozen
        return entry if is_welcome else None

    def _request_fault(self, op: RequestOp) -> OperationFault | None:
        if not is_remaining_route(op.route):
            return OperationFault.INVALID_ROUTE
        if op.total_dest_payment > CREDITS_MAX or op.dest_payment + op.left_fees > CREDITS_MAX:
            return OperationFault.AMOUNT_OUT_OF_RANGE
        if op.dest_payment > op.total_dest_payment:
            return OperationFault.DEST_PAYMENT_EXCEEDS_TOTAL
        if op.request_id in self.remote:
            return OperationFault.REQUEST_ALREADY_EXISTS
        owed = max(0, self.balance) + self.remote_pending_debt
        if owed + op.freeze > CREDITS_MAX:
            return OperationFault.CREDITS_CALC_OVERFLOW
        if len(self.remote) >= PENDING_STORED_MAX:
            return OperationFault.TOO_MANY_PENDING
        return None

    def receive_response(
        self, op: ResponseOp, currency: Currency, remote: PublicKey, verify: Verify
    ) -> "SentRequest | OperationFault":
        """Move our request to stage Response if the seller really signed."""
        entry = self.local.get(op.request_id)
        if entry is None:
            return OperationFault.REQUEST_DOES_NOT_EXIST
        if entry.response is not None:
            return OperationFault.NOT_EXPECTING_RESPONSE
        signer = entry.request.route[-1] if entry.request.route else remote
        signed = response_buffer(response_terms(entry.request, op, currency))
        if not verify(signer, signed, op.signature):
            return OperationFault.INVALID_RESPONSE_SIGNATURE
        answered = SentRequest(entry.request, entry.origin, entry.since_ms, op)
        self.local[op.request_id] = answered
        return answered

    def receive_cancel(self, op: CancelOp) -> "SentRequest | OperationFault":
        """Unfreeze a request of ours; legal in either stage."""
        entry = self.local.pop(op.request_id, None)
        if entry is None:
            return OperationFault.REQUEST_DOES_NOT_EXIST
        self.local_pending_debt -= entry.request.freeze
        return entry

    def receive_collect(self, op: CollectOp) -> "SentRequest | OperationFault":
        """Pay for a request of ours: the whole freeze goes to the friend."""
        entry = self.local.get(op.request_id)
        if entry is None:
            return OperationFault.REQUEST_DOES_NOT_EXIST
        if entry.response is None:
            return OperationFault.NOT_EXPECTING_COLLECT
        if hash_lock(op.src_plain_lock) != entry.request.src_hashed_lock:
            return OperationFault.INVALID_SRC_PLAIN_LOCK
        if hash_lock(op.dest_plain_lock) != entry.response.dest_hashed_lock:
            return OperationFault.INVALID_DEST_PLAIN_LOCK
        del self.local[op.request_id]
        self.local_pending_debt -= entry.request.freeze
        self.balance -= entry.request.freeze
        return entry

    # --- what we do -----------------------------------------------------------------------------

    def can_send_request(self, op: RequestOp) -> bool:
        """Whether the friend could accept this request without calling it a fault."""
        return (
            is_remaining_route(op.route)
            and op.dest_payment <= op.total_dest_payment <= CREDITS_MAX
            and op.request_id not in self.local
            and len(self.local) < PENDING_PER_DIRECTION_MAX
            and self.local_pending_debt + max(0, -self.balance) + op.freeze <= CREDITS_MAX
        )

    def send_request(self, op: RequestOp, origin: Origin, wall_ms: int) -> None:
        """Record a request that goes into our next move token; ask `can_send_request` first."""
        invariant(op.request_id not in self.local, "request id sent twice", op.request_id)
        self.local[op.request_id] = SentRequest(op, origin, wall_ms)
        self.local_pending_debt += op.freeze

    def send_response(self, op: ResponseOp) -> None:
        """Move the friend's request to stage Response."""
        entry = self._remote_entry(op.request_id)
        invariant(entry.response is None, "response sent twice", op.request_id)
        self.remote[op.request_id] = ReceivedRequest(entry.request, entry.next, entry.since_ms, op)

    def send_cancel(self, op: CancelOp) -> None:
        """Unfreeze the friend's request."""
        entry = self._remote_entry(op.request_id)
        del self.remote[op.request_id]
        self.remote_pending_debt -= entry.request.freeze

    def send_collect(self, op: CollectOp) -> None:
        """Take what the friend froze."""
        entry = self._remote_entry(op.request_id)
        invariant(entry.response is not None, "collect before response", op.request_id)
        del self.remote[op.request_id]
        self.remote_pending_debt -= entry.request.freeze
        self.balance += entry.request.freeze

    def _remote_entry(self, request_id: Uid) -> ReceivedRequest:
        entry = self.remote.get(request_id)
        invariant(entry is not None, "answer to a request that is not pending", request_id)
        assert entry is not None  # noqa: S101 - narrows the type; the line above checked
        return entry

    # --- links ----------------------------------------------------------------------------------

    def set_next(self, request_id: Uid, next_: Next) -> None:
        """Say where a received request went."""
        entry = self._remote_entry(request_id)
        self.remote[request_id] = ReceivedRequest(
            entry.request, next_, entry.since_ms, entry.response
        )

    def orphan(self, request_id: Uid) -> None:
        """Forget where a request we sent came from: its origin's channel is gone."""
        entry = self.local.get(request_id)
        if entry is not None:
            self.local[request_id] = SentRequest(
                entry.request, None, entry.since_ms, entry.response
            )


def is_remaining_route(route: tuple[PublicKey, ...]) -> bool:
    """Whether a request may carry these keys: fewer than 32, no key twice."""
    return len(route) < ROUTE_KEYS_MAX and len(set(route)) == len(route)


def response_terms(request: RequestOp, response: ResponseOp, currency: Currency) -> ResponseTerms:
    """What the seller's signature in `response` covers."""
    return ResponseTerms(
        response_hash(request.request_id, response.rand_nonce),
        request.src_hashed_lock,
        response.dest_hashed_lock,
        response.is_complete,
        request.dest_payment,
        request.total_dest_payment,
        request.invoice_id,
        currency,
    )
