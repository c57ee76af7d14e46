"""A seller's invoices: groups of requests under one buyer's lock, sealed when the sum is reached, then collected.

    open ──requests──▶ group fills ──sum reached──▶ sealed ──register commit──▶ registered ──collect──▶ paid
      └──────────cancel, or expiry (never once registered)──────────▶ cancelled

Anybody who knows an invoice may send requests for it, so requests are grouped by the buyer's hashed lock;
each group has its own destination lock, otherwise collecting one would forge receipts for the others.
Source: offset-docs "Mutual Credit Protocol"; PROTOCOL.md, "Invoices"; design R24.
"""

from dataclasses import dataclass, field

from offset_engine.core.messages import ResponseOp
from offset_engine.core.signing import Commit, Invoice
from offset_engine.core.values import HashedLock, InvoiceId, PlainLock, PublicKey, Uid, value


@value
class Member:
    """One accepted request of a group; it is pending as `remote` with `friend`."""

    friend: PublicKey
    dest_payment: int
    left_fees: int
    response: ResponseOp


@dataclass(slots=True)
class Group:
    """Requests of one buyer for one invoice."""

    dest_plain_lock: PlainLock
    members: dict[tuple[PublicKey, Uid], Member] = field(default_factory=dict)
    is_sealed: bool = False
    """The sum was reached once: no further request, even if a member vanishes."""

    def fork(self) -> "Group":
        """A copy that may be changed."""
        return Group(self.dest_plain_lock, self.members.copy(), self.is_sealed)

    @property
    def sum(self) -> int:
        """Credits the members bring, fees not counted."""
        return sum(member.dest_payment for member in self.members.values())


@dataclass(slots=True)
class OpenInvoice:
    """An invoice neither paid nor cancelled."""

    invoice: Invoice
    created_ms: int
    """UTC ms."""
    expires_ms: int | None
    """UTC ms; None = never."""
    groups: dict[HashedLock, Group] = field(default_factory=dict)
    registered: Commit | None = None
    """A verified commit waiting to be collected."""

    def fork(self) -> "OpenInvoice":
        """A copy that may be changed, groups included."""
        return OpenInvoice(
            self.invoice,
            self.created_ms,
            self.expires_ms,
            {lock: group.fork() for lock, group in self.groups.items()},
            self.registered,
        )


@value
class ClosedInvoice:
    """What is remembered of a finished invoice, so that its id is never used again."""

    invoice_id: InvoiceId
    is_paid: bool
    commit: Commit | None
