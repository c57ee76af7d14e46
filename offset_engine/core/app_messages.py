"""What an app and a node say to each other (purpose 5, and the local socket). Data only.

```
app                                node
 ◀── Welcome ───────────────────────    versions, the node's key, what this app may do
 ─── Hello ─────────────────────────▶   the version it chose
 ─── Request(number, what) ─────────▶
 ◀── Report… ───────────────────────    what changed up to here, if the app follows it
 ◀── Result(number, fault, answer) ─    exactly one for each request, in order
 ◀── Changed(notices) ──────────────    unasked, once the app said Watch
 ◀── PermissionsChanged ────────────    unasked
```

Who may ask for what is decided by `app_session`. Source: PROTOCOL.md, "Apps"; apps.md §3; design R13.
"""

from enum import StrEnum
from typing import Final, TypeAlias

from offset_engine.core.api import Batch, Command, CommandFault, Notice
from offset_engine.core.reports import (
    Connections,
    FriendReport,
    HistoryEntry,
    HistoryKind,
    InvoiceRecord,
    InvoiceReport,
    PayReport,
    PendingReport,
)
from offset_engine.core.signing import Invoice
from offset_engine.core.values import (
    Currency,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PublicKey,
    Uid,
    value,
)

APP_VERSION: Final = 1
"""Version of these messages."""
COMMANDS_PER_BATCH_MAX: Final = 256
APP_PAGE_MAX: Final = 256
"""Payments, invoices or entries of history in one answer."""
APP_PENDING_MAX: Final = 1_000
"""Transactions in flight in one answer."""
REPORT_FRIENDS_MAX: Final = 64
"""Friends in one piece of a report."""
CHANGES_MAX: Final = 1_024
"""Changes told at once; of more only "look at everything" is told."""


class Permission(StrEnum):
    """What an app may be allowed to do."""

    ROUTES = "routes"
    BUYER = "buyer"
    SELLER = "seller"
    CONFIG = "config"
    READ = "read"
    TRANSACTIONS = "transactions"


@value
class AppPermissions:
    """What one app may do, flag by flag as its ticket says."""

    routes: bool = False
    """Ask for routes."""
    buyer: bool = False
    """Pay."""
    seller: bool = False
    """Make invoices and collect."""
    config: bool = False
    """Change friends, limits and servers."""
    read: bool = False
    """See the report: friends and balances."""
    transactions: bool = False
    """See payments, invoices and history, also those of other apps."""

    def has(self, permission: Permission) -> bool:
        """Whether this one is among them."""
        flags: dict[Permission, bool] = {
            Permission.ROUTES: self.routes,
            Permission.BUYER: self.buyer,
            Permission.SELLER: self.seller,
            Permission.CONFIG: self.config,
            Permission.READ: self.read,
            Permission.TRANSACTIONS: self.transactions,
        }
        return flags[permission]


ALL_PERMISSIONS: Final = AppPermissions(
    routes=True, buyer=True, seller=True, config=True, read=True, transactions=True
)
"""Of programs of the node's own user."""


# --- requests -----------------------------------------------------------------------------------


@value
class Sync:
    """Tell me what the report has become since this revision.

    Another epoch, or nil, means that nothing is known. Answered by pieces of `Report`, then `Done`.
    """

    epoch: Uid | None = None
    revision: int = 0
    is_following: bool = False
    """Tell me of later changes, too, until another `Sync` says otherwise."""


@value
class Watch:
    """From now on tell me of changes (`Changed`), or no longer."""

    is_on: bool


@value
class GetPay:
    """One wish to pay, also a finished one."""

    payment_id: PaymentId


@value
class GetInvoice:
    """One invoice, also a finished one."""

    invoice_id: InvoiceId


@value
class ListPays:
    """Wishes to pay the node still holds, newest first, after the one named."""

    after: PaymentId | None = None


@value
class ListInvoices:
    """Open invoices, newest first, after the one named."""

    after: InvoiceId | None = None


@value
class ListPending:
    """A page of transactions in flight, friend by friend."""

    limit: int = APP_PENDING_MAX
    skip: int = 0
    """Those of the pages before."""


@value
class ListHistory:
    """A page of history, newest first, before the entry with this number."""

    kind: HistoryKind
    before: int | None = None
    limit: int = APP_PAGE_MAX


@value
class ListResults:
    """Results this app was owed and may have missed, oldest first."""


@value
class SignInvoice:
    """A fresh signed invoice, not opened yet."""

    currency: Currency
    amount: int
    description: str
    lasts_s: int | None
    """Seconds until it expires; None = never."""
    decimals: int | None


Question: TypeAlias = (
    Sync
    | Watch
    | GetPay
    | GetInvoice
    | ListPays
    | ListInvoices
    | ListPending
    | ListHistory
    | ListResults
    | SignInvoice
)

# --- app to node --------------------------------------------------------------------------------


@value
class Hello:
    """Type 1, the first message: the version this app speaks."""

    version: int = APP_VERSION


@value
class Request:
    """Type 2: carry out a command, or answer a question."""

    number: int
    """Chosen by the app; the result carries it."""
    what: Command | Batch | Question


AppMessage: TypeAlias = Hello | Request

# --- answers ------------------------------------------------------------------------------------


@value
class Done:
    """A command was carried out; what it said itself."""

    notices: tuple[Notice, ...] = ()


@value
class PayFound:
    """Answer to `GetPay`; nil = the node never heard of it."""

    report: PayReport | None


@value
class InvoiceFound:
    """Answer to `GetInvoice`: open, its record, or nil."""

    report: InvoiceReport | InvoiceRecord | None


@value
class PayPage:
    """Answer to `ListPays`."""

    reports: tuple[PayReport, ...]
    is_last: bool


@value
class InvoicePage:
    """Answer to `ListInvoices`."""

    reports: tuple[InvoiceReport, ...]
    is_last: bool


@value
class PendingPage:
    """Answer to `ListPending`."""

    reports: tuple[PendingReport, ...]


@value
class HistoryPage:
    """Answer to `ListHistory`; fewer entries than asked for = there are no more."""

    entries: tuple[HistoryEntry, ...]


@value
class Signed:
    """Answer to `SignInvoice`."""

    invoice: Invoice


Answer: TypeAlias = (
    Done | PayFound | InvoiceFound | PayPage | InvoicePage | PendingPage | HistoryPage | Signed
)

# --- node to app --------------------------------------------------------------------------------


@value
class Welcome:
    """Type 1, the first message: whom the app talks to and what it may do."""

    version_min: int
    version_max: int
    node: PublicKey
    permissions: AppPermissions


@value
class PermissionsChanged:
    """Type 2: the app's ticket was replaced."""

    permissions: AppPermissions


@value
class Result:
    """Type 3: what came of a request; with a fault nothing was done and there is no answer."""

    number: int
    fault: CommandFault | None
    detail: str
    answer: Answer | None


@value
class ReportHead:
    """What a report says besides its friends."""

    local_public_key: PublicKey
    relays: tuple[NamedAddress, ...]
    index_servers: tuple[NamedAddress, ...]
    open_invoices: int
    open_payments: int
    connections: Connections


@value
class Report:
    """Type 4: a piece of what changed in the report; each thing named is told whole."""

    epoch: Uid
    """Names this run of the node: revisions of another one mean nothing."""
    since: int | None
    """The revision this goes on from; nil = forget everything, this is the first piece of all there is."""
    revision: int | None
    """The revision reached with this piece; nil = more pieces follow."""
    head: ReportHead | None
    friends: tuple[FriendReport, ...]
    """New or changed."""
    removed: tuple[PublicKey, ...]


@value
class Changed:
    """Type 5: what happened, each thing once; nothing = too much happened, look at everything."""

    notices: tuple[Notice, ...]


NodeMessage: TypeAlias = Welcome | PermissionsChanged | Result | Report | Changed
