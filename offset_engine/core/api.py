"""What a user or program can say to a node, and what it answers: commands, faults, notices. Data only.

Commands keep the original's names and effects (design R31). Amounts are credits, times UTC ms.
Source: PROTOCOL.md, "Commands".
"""

from enum import Enum
from typing import TypeAlias

from offset_engine.core.payer import PlannedPart
from offset_engine.core.signing import Commit, Invoice, Receipt
from offset_engine.core.values import (
    Currency,
    HashResult,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PublicKey,
    Rate,
    RelayAddress,
    Uid,
    value,
)

# --- settings -----------------------------------------------------------------------------------


@value
class AddRelay:
    """Listen at this relay; replaces one of the same key."""

    relay: NamedAddress


@value
class RemoveRelay:
    """Stop listening at this relay once every friend knows."""

    public_key: PublicKey


@value
class AddIndexServer:
    """Ask this server for routes; replaces one of the same key."""

    server: NamedAddress


@value
class RemoveIndexServer:
    """Forget this index server."""

    public_key: PublicKey


@value
class Reconnect:
    """Try every server and friend that waits for its next attempt now; nothing that is kept changes."""


@value
class AddFriend:
    """Add a friend, disabled."""

    friend: PublicKey
    relays: tuple[RelayAddress, ...]
    name: str


@value
class RemoveFriend:
    """Forget a friend and all balances; refused while something is owed or pending unless `force`."""

    friend: PublicKey
    force: bool = False


@value
class EnableFriend:
    """Connect to this friend."""

    friend: PublicKey


@value
class DisableFriend:
    """Disconnect; requests that wait for the friend are cancelled."""

    friend: PublicKey


@value
class SetFriendRelays:
    """Where to reach the friend; its next announcement replaces this."""

    friend: PublicKey
    relays: tuple[RelayAddress, ...]


@value
class SetFriendName:
    """The label we use for the friend."""

    friend: PublicKey
    name: str


@value
class SetFriendCurrencyRate:
    """What we charge for forwarding requests that arrive from this friend."""

    friend: PublicKey
    currency: Currency
    rate: Rate


@value
class SetFriendCurrencyMaxDebt:
    """Credit limit: the most this friend may owe us."""

    friend: PublicKey
    currency: Currency
    max_debt: int


@value
class OpenFriendCurrency:
    """Let requests of others pass in this currency."""

    friend: PublicKey
    currency: Currency


@value
class CloseFriendCurrency:
    """Let no request of others pass in this currency."""

    friend: PublicKey
    currency: Currency


@value
class RemoveFriendCurrency:
    """Stop using this currency with this friend as soon as nothing is owed or pending."""

    friend: PublicKey
    currency: Currency


@value
class ResetFriendChannel:
    """Accept exactly the terms with this hash, as shown in the report."""

    friend: PublicKey
    terms_hash: HashResult


@value
class DisputeFriend:
    """Declare the channel inconsistent and offer our terms, so that it can be reset (R23)."""

    friend: PublicKey


# --- buying -------------------------------------------------------------------------------------


@value
class Pay:
    """Pay an invoice over whatever routes there are, for at most `max_fee` credits altogether.

    Repeating it with the same `payment_id` changes nothing.
    """

    payment_id: PaymentId
    invoice: Invoice
    max_fee: int
    confirm_above: int | None = None
    """Ask (stage `fee_to_confirm`) if the fee would be above this."""


@value
class Rebalance:
    """Move an amount along a cycle of friends back to us: less from the first friend, more from the last.

    A payment like any other, with the same stages and commands, of an invoice of our own that the node
    collects by itself. At least one friend is named. Repeating it with the same `payment_id` changes nothing.
    """

    payment_id: PaymentId
    currency: Currency
    amount: int
    first_friend: PublicKey | None
    """Gets the amount, and what the cycle costs, from us; None = whoever makes it cheapest."""
    last_friend: PublicKey | None
    """Gives us the amount; None = whoever makes it cheapest."""
    max_fee: int
    confirm_above: int | None = None
    """Ask (stage `fee_to_confirm`) if the fee would be above this."""


@value
class ConfirmFee:
    """Agree to the fee shown."""

    payment_id: PaymentId
    at_most: int
    """The fee that was shown, in credits: a higher one is refused, since nobody has agreed to it."""


@value
class CancelPay:
    """Give up a payment whose commit does not exist yet."""

    payment_id: PaymentId


@value
class ForgetPay:
    """Drop a paid or failed payment from the live state; history keeps it."""

    payment_id: PaymentId


@value
class CreatePayment:
    """Primitive: open a payment."""

    payment_id: PaymentId
    invoice_id: InvoiceId
    currency: Currency
    total_dest_payment: int
    dest_public_key: PublicKey


@value
class CreateTransaction:
    """Primitive: send one part over one route; repeating it repeats the stored result."""

    payment_id: PaymentId
    request_id: Uid
    route: tuple[PublicKey, ...]
    dest_payment: int
    fees: int


@value
class RequestClosePayment:
    """Primitive: no more transactions; answers with the payment's stage."""

    payment_id: PaymentId


@value
class AckClosePayment:
    """Primitive: the result was stored by the caller; forget the payment."""

    payment_id: PaymentId
    ack_uid: Uid


class RoutesWish(Enum):
    """What a program wants to know about routes."""

    PAY = "pay"
    """How an amount gets to somebody."""
    MAX = "max"
    """The most that gets to somebody; `amount` bounds it, 0 = no bound."""
    CYCLE = "cycle"
    """How an amount gets along other friends back to us; `dest` is our own key."""


@value
class RequestRoutes:
    """Ask the index server; answered by exactly one `RoutesResult` notice, which holds honest routes only."""

    request_id: Uid
    currency: Currency
    amount: int
    dest: PublicKey
    exclude_edges: tuple[tuple[PublicKey, PublicKey], ...] = ()
    wish: RoutesWish = RoutesWish.PAY
    first_friend: PublicKey | None = None
    """The friend of ours every route begins with; None = any."""
    last_friend: PublicKey | None = None
    """The friend of `dest` every route ends with; None = any."""


# --- selling ------------------------------------------------------------------------------------


@value
class AddInvoice:
    """Open an invoice; its `dest_public_key` must be ours."""

    invoice: Invoice
    expires_ms: int | None = None
    """UTC ms; None = never."""


@value
class CancelInvoice:
    """Cancel an invoice and refund everything pending for it."""

    invoice_id: InvoiceId


@value
class RegisterCommit:
    """Verify and keep a commit without collecting (hold, "return policy")."""

    commit: Commit


@value
class CollectInvoice:
    """Collect an invoice whose commit is registered."""

    invoice_id: InvoiceId
    force: bool = False


@value
class CommitInvoice:
    """Verify a commit and collect; with `force` also what is left of a group that lost members."""

    commit: Commit
    force: bool = False


Command: TypeAlias = (
    AddRelay
    | RemoveRelay
    | AddIndexServer
    | RemoveIndexServer
    | AddFriend
    | RemoveFriend
    | EnableFriend
    | DisableFriend
    | SetFriendRelays
    | SetFriendName
    | SetFriendCurrencyRate
    | SetFriendCurrencyMaxDebt
    | OpenFriendCurrency
    | CloseFriendCurrency
    | RemoveFriendCurrency
    | ResetFriendChannel
    | DisputeFriend
    | Pay
    | ConfirmFee
    | CancelPay
    | ForgetPay
    | CreatePayment
    | CreateTransaction
    | RequestClosePayment
    | AckClosePayment
    | RequestRoutes
    | AddInvoice
    | CancelInvoice
    | RegisterCommit
    | CollectInvoice
    | CommitInvoice
    | Rebalance
    | Reconnect
)


@value
class Batch:
    """Several commands as one step: all happen or none."""

    commands: tuple[Command, ...]


# --- answers ------------------------------------------------------------------------------------


class CommandFault(Enum):
    """Why a command was refused; the state is unchanged."""

    INVALID_ARGUMENT = "invalid_argument"
    LIMIT_REACHED = "limit_reached"
    FRIEND_DOES_NOT_EXIST = "friend_does_not_exist"
    FRIEND_EXISTS = "friend_exists"
    PENDING_EXPOSURE = "pending_exposure"
    CURRENCY_NOT_CONFIGURED = "currency_not_configured"
    NOT_INVITED_TO_RESET = "not_invited_to_reset"
    RESET_TERMS_MISMATCH = "reset_terms_mismatch"
    CHANNEL_INCONSISTENT = "channel_inconsistent"
    PAYMENT_ALREADY_OPEN = "payment_already_open"
    PAYMENT_DOES_NOT_EXIST = "payment_does_not_exist"
    OPEN_PAYMENT_NOT_FOUND = "open_payment_not_found"
    NEW_TRANSACTIONS_NOT_ALLOWED = "new_transactions_not_allowed"
    NOT_FIRST_IN_ROUTE = "not_first_in_route"
    PAYMENT_DEST_NOT_LAST_IN_ROUTE = "payment_dest_not_last_in_route"
    INVALID_ROUTE = "invalid_route"
    FRIEND_NOT_READY = "friend_not_ready"
    REQUEST_ALREADY_IN_PROGRESS = "request_already_in_progress"
    PENDING_USER_REQUESTS_FULL = "pending_user_requests_full"
    INVALID_AMOUNT = "invalid_amount"
    ACK_STATE_INVALID = "ack_state_invalid"
    ACK_MISMATCH = "ack_mismatch"
    INVOICE_ALREADY_EXISTS = "invoice_already_exists"
    INVOICE_DOES_NOT_EXIST = "invoice_does_not_exist"
    INVALID_COMMIT = "invalid_commit"
    COMMIT_INCOMPLETE = "commit_incomplete"
    NOT_COMMITTED = "not_committed"
    WRONG_STAGE = "wrong_stage"
    INVOICE_INVALID = "invoice_invalid"
    STORE_FULL = "store_full"
    FEE_CHANGED = "fee_changed"
    PERMISSION_DENIED = "permission_denied"
    """The app that asked may not do this; a node itself never says so."""


class TransactionOutcome(Enum):
    """How a transaction stands."""

    SUCCESS = "success"
    """Accepted by the seller; the sum is not complete."""
    COMPLETE = "complete"
    """Accepted, and the sum is complete: the commit exists."""
    FAILURE = "failure"
    """Refused or cancelled; may follow either of the others."""


@value
class TransactionResult:
    """Notice to whoever created the transaction."""

    payment_id: PaymentId
    request_id: Uid
    outcome: TransactionOutcome
    commit: Commit | None


@value
class PaymentStatus:
    """Notice and answer to `RequestClosePayment`: `stage` is None if there is no such payment."""

    payment_id: PaymentId
    stage: str | None
    open_transactions: int
    commit: Commit | None
    receipt: Receipt | None
    ack_uid: Uid | None


class RoutesOutcome(Enum):
    """What became of a question for routes."""

    FOUND = "found"
    NONE = "none"
    """No route for this amount."""
    PARTIAL = "partial"
    """Less than the amount can get there: `reachable`."""
    UNREACHABLE = "unreachable"
    """Nobody reports a usable hop into the destination."""
    BUSY = "busy"
    """The index server has no time for us just now."""
    REFUSED = "refused"
    """The index server does not answer such questions."""
    UNANSWERED = "unanswered"
    """No index server answered in time."""
    NO_INDEX = "no_index"
    """No index server is listed."""


class RoutesLabel(Enum):
    """What a choice is best at."""

    CHEAPEST = "cheapest"
    FEWEST = "fewest"
    """The fewest parts."""
    WIDEST = "widest"
    """The most room to spare."""


@value
class RoutesChoice:
    """One way to carry what can be carried, with its exact fees."""

    label: RoutesLabel
    parts: tuple[PlannedPart, ...]


@value
class RoutesResult:
    """Notice: what became of a `RequestRoutes`. Every choice was checked and carries `reachable`."""

    request_id: Uid
    outcome: RoutesOutcome
    reachable: int = 0
    """Credits: the amount asked for, or less if `partial`, or the most if that was the question."""
    choices: tuple[RoutesChoice, ...] = ()


@value
class PayChanged:
    """Notice: the intent with this id moved on; look at `PayReport`."""

    payment_id: PaymentId


@value
class InvoiceChanged:
    """Notice: something happened to this invoice."""

    invoice_id: InvoiceId


Notice: TypeAlias = TransactionResult | PaymentStatus | RoutesResult | PayChanged | InvoiceChanged
