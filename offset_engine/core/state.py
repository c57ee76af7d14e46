"""Everything a node knows, and what a step may ask of the world.

`NodeState` is a value: whoever holds one treats it, and everything in it, as read-only. A step works on a
`draft` that forks what it changes.

Source: design R20 to R32.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from offset_engine.core.friend import Friend
from offset_engine.core.invoice import ClosedInvoice, OpenInvoice
from offset_engine.core.messages import RoutesRequest
from offset_engine.core.payer import Hop, Intent
from offset_engine.core.payment import Payment
from offset_engine.core.route_memory import Penalty, Place
from offset_engine.core.values import (
    HashedLock,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PublicKey,
    RelayAddress,
    Signature,
    Timers,
    Uid,
    value,
)


class Env(Protocol):
    """What a step may ask of the world; a step with the same answers gives the same result."""

    @property
    def now_ms(self) -> int:
        """Monotonic ms; never stored."""

    @property
    def wall_ms(self) -> int:
        """UTC ms; stored."""

    @property
    def timers(self) -> Timers:
        """Waiting times."""

    def random(self, size: int) -> bytes:
        """`size` unpredictable bytes."""

    def sign(self, message: bytes) -> Signature:
        """Sign with this node's identity."""

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool:
        """Check anybody's signature."""


# --- deadlines ----------------------------------------------------------------------------------


@value
class PartStuck:
    """A part of this payment may have waited too long."""

    intent_id: PaymentId
    request_id: Uid


@value
class QuestionUnanswered:
    """A route question of this intent may have waited too long."""

    intent_id: PaymentId
    question: Uid


@value
class GroupUnsealed:
    """A group of this invoice may have waited too long for its missing part."""

    invoice_id: InvoiceId
    src_hashed_lock: HashedLock


@value
class InvoiceExpiry:
    """This invoice may have expired; `is_confirming` = it was already seen expired once (R27)."""

    invoice_id: InvoiceId
    is_confirming: bool = False


@value
class InquiryUnanswered:
    """A program's question for routes may have waited too long."""

    request_id: Uid


DeadlineKey: TypeAlias = (
    PartStuck | QuestionUnanswered | GroupUnsealed | InvoiceExpiry | InquiryUnanswered
)


class Agenda:
    """What to look at when: one time in monotonic ms per key, soonest first."""

    __slots__ = ("_at", "_heap", "_sequence")

    def __init__(self) -> None:
        self._at: dict[DeadlineKey, int] = {}
        self._heap: list[tuple[int, int, DeadlineKey]] = []
        self._sequence = 0

    def fork(self) -> "Agenda":
        """A copy that may be changed."""
        copy = Agenda()
        copy._at = self._at.copy()
        copy._heap = self._heap.copy()
        copy._sequence = self._sequence
        return copy

    def set(self, key: DeadlineKey, at_ms: int) -> None:
        """Look at `key` at this time, and no longer at any earlier set time."""
        self._at[key] = at_ms
        self._sequence += 1
        heapq.heappush(self._heap, (at_ms, self._sequence, key))

    def drop(self, key: DeadlineKey) -> None:
        """No longer look at `key`."""
        self._at.pop(key, None)
        if len(self._heap) > 64 + 4 * len(self._at):
            self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def next_ms(self) -> int | None:
        """The soonest time, or None."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_ms: int) -> list[DeadlineKey]:
        """Remove and return every key whose time has come."""
        due: list[DeadlineKey] = []
        while (at_ms := self.next_ms()) is not None and at_ms <= now_ms:
            key = heapq.heappop(self._heap)[2]
            del self._at[key]
            due.append(key)
        return due

    def __len__(self) -> int:
        return len(self._at)


# --- state --------------------------------------------------------------------------------------


@value
class Inquiry:
    """A program's question for routes, as it was put to the index server."""

    request: RoutesRequest
    avoided: tuple[Hop, ...] = ()
    """Hops left out on top of those excluded, because payments failed there."""


@dataclass(slots=True)
class NodeState:
    """Everything a node knows. Whoever holds one treats it as read-only; `step` makes the next."""

    local_public_key: PublicKey
    relays: tuple[NamedAddress, ...] = ()
    index_servers: tuple[NamedAddress, ...] = ()
    friends: dict[PublicKey, Friend] = field(default_factory=dict)
    payments: dict[PaymentId, Payment] = field(default_factory=dict)
    intents: dict[PaymentId, Intent] = field(default_factory=dict)
    invoices: dict[InvoiceId, OpenInvoice] = field(default_factory=dict)
    closed_invoices: dict[InvoiceId, ClosedInvoice] = field(default_factory=dict)
    """Oldest first, at most `FINISHED_INVOICES_REMEMBERED`."""
    penalties: dict[Place, Penalty] = field(default_factory=dict)
    """Hops where payments failed, at most `PENALTIES_MAX`."""

    # Derived or forgotten at a restart, never stored.
    outgoing_ids: dict[Uid, PublicKey] = field(default_factory=dict)
    """Request ids queued to or pending with a friend, and which friend."""
    questions: dict[Uid, PaymentId] = field(default_factory=dict)
    """Open route questions, and whose wish to pay asked."""
    inquiries: dict[Uid, Inquiry] = field(default_factory=dict)
    """Open route questions of programs."""
    payers: dict[PaymentId, PaymentId] = field(default_factory=dict)
    """Payments being tried for a wish to pay, and which."""
    agenda: Agenda = field(default_factory=Agenda)

    @property
    def own_relays(self) -> tuple[RelayAddress, ...]:
        """Our relays as friends are told."""
        return tuple(relay.relay for relay in self.relays)


def derive_outgoing_ids(friends: Iterable[Friend]) -> dict[Uid, PublicKey]:
    """What `NodeState.outgoing_ids` must be for these friends."""
    ids: dict[Uid, PublicKey] = {}
    for friend in friends:
        for queue in (friend.forwarded, friend.own):
            ids.update((entry.request.request_id, friend.public_key) for entry in queue.items)
        channel = friend.consistent
        for ledger in channel.ledgers.values() if channel is not None else ():
            ids.update((request_id, friend.public_key) for request_id in ledger.local)
    return ids


def derive_payers(
    intents: Iterable[Intent], payments: Mapping[PaymentId, Payment]
) -> dict[PaymentId, PaymentId]:
    """What `NodeState.payers` must be for these wishes to pay and open payments."""
    return {
        intent.payment_id: intent.intent_id
        for intent in intents
        if intent.payment_id is not None and intent.payment_id in payments
    }
