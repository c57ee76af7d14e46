"""What a user or program can see of a node: its history and its reports. Data only.

Amounts are credits, times UTC ms; reports are made by `report`.
Source: PROTOCOL.md, "Reports".
"""

from enum import Enum
from typing import Final, TypeAlias

from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.signing import Commit, Invoice, Receipt, TokenInfo
from offset_engine.core.token_channel import MoveTokenHashed
from offset_engine.core.values import (
    Currency,
    HashResult,
    NamedAddress,
    PaymentId,
    PublicKey,
    Rate,
    RelayAddress,
    Uid,
    value,
)

# --- history ------------------------------------------------------------------------------------


@value
class PaymentRecord:
    """A finished payment of ours."""

    payment_id: PaymentId
    invoice: Invoice
    fee: int
    stage: PayStage
    failure: PayFailure | None
    started_ms: int
    ended_ms: int
    receipt: Receipt | None


@value
class InvoiceRecord:
    """A finished invoice of ours; `received` includes left-over fees."""

    invoice: Invoice
    is_paid: bool
    received: int
    created_ms: int
    ended_ms: int
    commit: Commit | None


@value
class ForwardRecord:
    """A transaction we forwarded and were paid for."""

    currency: Currency
    src: PublicKey
    dest: PublicKey
    amount: int
    """Credits paid on towards the seller, later fees included."""
    fee: int
    ended_ms: int


@value
class LossRecord:
    """Credits paid downstream for a request whose upstream channel is gone."""

    friend: PublicKey
    currency: Currency
    amount: int
    ended_ms: int


@value
class ResetRecord:
    """A channel was restarted on agreed terms (balances from our view)."""

    friend: PublicKey
    balances: tuple[tuple[Currency, int], ...]
    ended_ms: int


Record: TypeAlias = PaymentRecord | InvoiceRecord | ForwardRecord | LossRecord | ResetRecord


TROUBLE_BYTES_MAX: Final = 255
"""Longest sentence about a server."""
HISTORY_PAGE_MAX: Final = 1_000
"""Entries of history given out at once."""


class HistoryKind(Enum):
    """Which history."""

    PAYMENTS = "payments"
    INVOICES = "invoices"
    FORWARDS = "forwards"
    LOSSES = "losses"
    RESETS = "resets"


@value
class HistoryEntry:
    """A record with its running number: later records have higher ones."""

    number: int
    record: Record


# --- report -------------------------------------------------------------------------------------


@value
class CurrencyReport:
    """One currency with one friend; `balance` None = configured here, not agreed by the friend yet."""

    currency: Currency
    rate: Rate
    max_debt: int
    is_open: bool
    is_removing: bool
    balance: int | None
    local_pending_debt: int
    remote_pending_debt: int


@value
class TermsReport:
    """Reset terms, balances from *our* view."""

    terms_hash: HashResult
    inconsistency_counter: int
    balances: tuple[tuple[Currency, int], ...]
    is_acceptable: bool


@value
class FriendReport:
    """One friend."""

    public_key: PublicKey
    name: str
    remote_relays: tuple[RelayAddress, ...]
    is_enabled: bool
    is_online: bool
    is_consistent: bool
    is_quarantined: bool
    is_unreadable: bool
    currencies: tuple[CurrencyReport, ...]
    remote_currencies: tuple[Currency, ...]
    """What the friend listed last."""
    local_terms: TermsReport | None
    remote_terms: TermsReport | None
    last_incoming: MoveTokenHashed | None
    """What the friend signed last; None before it signed anything."""
    token_info: TokenInfo | None
    has_token: bool
    pending: int
    """Requests pending in either direction."""
    lost: tuple[tuple[Currency, int], ...]


@value
class PendingReport:
    """One transaction in flight with one friend."""

    friend: PublicKey
    currency: Currency
    request_id: Uid
    is_outgoing: bool
    amount: int
    """Credits frozen."""
    is_answered: bool
    since_ms: int


@value
class PartReport:
    """One part of a payment, planned or sent; who passes it on stays unnamed but for our own friend."""

    friend: PublicKey
    """Our friend it goes to first; the seller, if `people` is 0."""
    people: int
    """How many pass it on, that friend included."""
    amount: int
    """Credits the seller gets."""
    fee: int


@value
class PayReport:
    """One intent to pay."""

    payment_id: PaymentId
    invoice: Invoice
    stage: PayStage
    failure: PayFailure | None
    max_fee: int
    fee: int
    """Credits offered as fees: planned (to confirm) or sent."""
    parts: int
    is_safe_to_retry: bool
    """Failed, and no commit was ever handed out that could still be collected."""
    commit: Commit | None
    receipt: Receipt | None
    created_ms: int
    ended_ms: int | None
    ways: tuple[PartReport, ...] = ()
    """The first 32 parts; history does not keep them."""


@value
class InvoiceReport:
    """One open invoice; `sealed` = a complete group waits for its commit."""

    invoice: Invoice
    created_ms: int
    expires_ms: int | None
    frozen: int
    """Credits pending for it."""
    is_sealed: bool
    registered: Commit | None


class ServerState(Enum):
    """How things stand with a relay or an index server that is configured."""

    IDLE = "idle"
    """Not in use now: another index server is, or the card is switched off."""
    CONNECTING = "connecting"
    CONNECTED = "connected"
    """A relay announces callers; an index server took our report."""
    WAITING = "waiting"
    """The last attempt failed; the next one comes by itself."""
    REFUSED = "refused"
    """A relay does not serve us: another device with our key listens there, or it lets only some in."""


@value
class ServerReport:
    """One relay or index server, as seen from here."""

    public_key: PublicKey
    state: ServerState
    trouble: str
    """What went wrong last, "" if nothing did; may contain foreign text."""
    latency_ms: int | None = None
    """How long it took to answer a keepalive, about; None = not connected, or not measured yet."""


@value
class Connections:
    """How the node is connected; one entry per server configured, in the same order."""

    relays: tuple[ServerReport, ...] = ()
    index_servers: tuple[ServerReport, ...] = ()


@value
class NodeReport:
    """The whole node at one moment."""

    local_public_key: PublicKey
    relays: tuple[NamedAddress, ...]
    index_servers: tuple[NamedAddress, ...]
    friends: tuple[FriendReport, ...]
    """Ascending by name, then key."""
    open_invoices: int
    open_payments: int
    connections: Connections = Connections()

    @property
    def connected_index(self) -> PublicKey | None:
        """The index server that answers us now."""
        for one in self.connections.index_servers:
            if one.state is ServerState.CONNECTED:
                return one.public_key
        return None

    @property
    def listening_relays(self) -> tuple[PublicKey, ...]:
        """The relays friends can reach us at now."""
        return tuple(
            one.public_key for one in self.connections.relays if one.state is ServerState.CONNECTED
        )
