"""A payment as a person means it: pay this invoice, for at most this fee; the node does the rest.

    SEARCHING ──routes──▶ (FEE_TO_CONFIRM ──confirm──▶) SENDING ──complete──▶ COMMITTED ──collected──▶ PAID
        ▲                                                  │ part refused: plan that part again
        └──────────────── part stuck: new id and lock ─────┘            any ──▶ FAILED(reason)

An intent survives restarts and closed terminals; clients only look at it. At most one payment of an
intent ever hands out a commit: one that got stuck is withheld for ever before another is opened.
Source: design R20, R21; PROTOCOL.md, "Paying".
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from offset_engine.core.signing import Commit, Invoice, Receipt
from offset_engine.core.values import PaymentId, PublicKey, Uid, value

Hop: TypeAlias = tuple[PublicKey, PublicKey]
"""Who sends on, who receives."""


class PayStage(Enum):
    """Where an intent is; names are stored and shown by programs."""

    SEARCHING = "searching"
    FEE_TO_CONFIRM = "fee_to_confirm"
    SENDING = "sending"
    COMMITTED = "committed"
    PAID = "paid"
    FAILED = "failed"


class PayFailure(Enum):
    """Why a payment failed, as far as the buyer's node can know (design R21)."""

    NO_ROUTE = "no_route"
    SELLER_UNREACHABLE = "seller_unreachable"
    FEE_ABOVE_LIMIT = "fee_above_limit"
    REFUSED = "refused"
    STUCK = "stuck"
    NO_INDEX = "no_index"
    OWN_LIMIT = "own_limit"
    EXPIRED = "expired"
    CANCELED = "canceled"
    UNKNOWN = "unknown"
    """The channel died after the commit was handed out: the seller may still be able to collect."""


@value
class PlannedPart:
    """One route with what the seller gets over it and the fee, in credits."""

    route: tuple[PublicKey, ...]
    amount: int
    fee: int


@value
class Cycle:
    """Where a payment to ourselves leaves and comes back; at least one of them is named."""

    first_friend: PublicKey | None
    """The friend who gets the amount and the fee from us; None = whoever makes it cheapest."""
    last_friend: PublicKey | None
    """The friend who gives us the amount."""


@dataclass(slots=True)
class Intent:
    """A wish to pay one invoice."""

    intent_id: PaymentId
    """Chosen by the user's program; names the wish in every command."""
    invoice: Invoice
    max_fee: int
    confirm_above: int | None
    """Ask before sending if the fee is above this; None = never ask."""
    created_ms: int
    """UTC ms."""
    stage: PayStage = PayStage.SEARCHING
    failure: PayFailure | None = None
    """Why it failed; while committed `unknown` if a way has died, so that failing is not safe."""
    payment_id: PaymentId | None = None
    """The payment being tried now."""
    attempts: int = 0
    """Payments given up because a part got stuck."""
    rounds: int = 0
    """Route questions asked so far in this attempt."""
    planned: tuple[PlannedPart, ...] = ()
    """Waiting to be sent: for the fee's confirmation."""
    parts: dict[Uid, PlannedPart] = field(default_factory=dict)
    """Sent and not cancelled."""
    excluded: tuple[Hop, ...] = ()
    """Directed edges to avoid, learnt from refusals."""
    commit: Commit | None = None
    receipt: Receipt | None = None
    ended_ms: int | None = None
    """UTC ms when it was paid or failed."""
    cycle: Cycle | None = None
    """Set if the invoice is our own: credit is moved along a cycle, and the node collects it itself."""

    # What a restart forgets.
    question: Uid | None = None
    """The open route question."""
    setback: PayFailure | None = None
    """What went wrong last; the reason if nothing else can be tried."""
    is_direct_tried: bool = False
    """The direct link to the seller was tried; only an index server's plan may use it again."""
    misses: int = 0
    """Times no way was known."""
    avoided: tuple[Hop, ...] = ()
    """What the open question leaves out because other payments failed there."""
    is_bold: bool = False
    """Leave nothing out any more because other payments failed there."""
    wants_other_server: bool = False
    """The next question goes to another index server than the last, if there is one."""

    def fork(self) -> "Intent":
        """A copy that may be changed."""
        return Intent(
            self.intent_id,
            self.invoice,
            self.max_fee,
            self.confirm_above,
            self.created_ms,
            self.stage,
            self.failure,
            self.payment_id,
            self.attempts,
            self.rounds,
            self.planned,
            self.parts.copy(),
            self.excluded,
            self.commit,
            self.receipt,
            self.ended_ms,
            self.cycle,
            self.question,
            self.setback,
            self.is_direct_tried,
            self.misses,
            self.avoided,
            self.is_bold,
            self.wants_other_server,
        )

    @property
    def fee(self) -> int:
        """Credits offered as fees over all sent parts."""
        return sum(part.fee for part in self.parts.values())
