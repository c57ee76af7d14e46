"""The node's end of one app's connection: what the app may ask for, and what it is told. Sans-IO.

```
payload ─▶ received ─▶ Request (allowed; carry it out, then `finish`)   or None: dealt with, or ended
                       refused: a Result with permission_denied is in the output
changes ─▶ told, report_changed, set_permissions
output  ◀─ take, whenever the transport has room
```

Results of requests wait in a queue of at most 256 messages and 4 MiB: an app that does not read its
answers is let go with OVERLOADED. Changes are no queue: of each thing one is kept, and of the report
only *which* parts are out of date, so a slow app is told less often and never costs more.
Before the result of a request the app is told what it changed in the report, if it follows the report.

Source: PROTOCOL.md, "Apps"; apps.md §3; network.md §5.2; design R13, R30.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, TypeAlias

from offset_engine.core import api
from offset_engine.core.api import Batch, Command, CommandFault, Notice
from offset_engine.core.app_codec import (
    DETAIL_BYTES_MAX,
    decode_app_message,
    encode_node_message,
)
from offset_engine.core.app_messages import (
    APP_VERSION,
    CHANGES_MAX,
    REPORT_FRIENDS_MAX,
    Answer,
    AppPermissions,
    Changed,
    Done,
    GetInvoice,
    GetPay,
    Hello,
    ListHistory,
    ListInvoices,
    ListPays,
    ListPending,
    ListResults,
    NodeMessage,
    Permission,
    PermissionsChanged,
    Question,
    Request,
    Result,
    SignInvoice,
    Sync,
    Watch,
    Welcome,
)
from offset_engine.core.app_owners import AppOwners, Thing, subject_of, thing_of
from offset_engine.core.app_report import ReportBook, ReportKey
from offset_engine.core.link import PURPOSE_LIMITS, CloseCode
from offset_engine.core.noise import Purpose
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey, value
from offset_engine.errors import DecodeError

QUEUE_MESSAGES_MAX: Final = 256
QUEUE_BYTES_MAX: Final = 4 * 1024 * 1024
MESSAGE_BYTES_MAX: Final = next(
    one.to_initiator for one in PURPOSE_LIMITS if one.purpose == Purpose.APP
)
"""Longest message to an app."""

PERMISSION_OF: Final[dict[type[Command | Question], Permission | None]] = {
    **dict.fromkeys(
        (
            api.AddRelay,
            api.RemoveRelay,
            api.AddIndexServer,
            api.RemoveIndexServer,
            api.AddFriend,
            api.RemoveFriend,
            api.EnableFriend,
            api.DisableFriend,
            api.SetFriendRelays,
            api.SetFriendName,
            api.SetFriendCurrencyRate,
            api.SetFriendCurrencyMaxDebt,
            api.OpenFriendCurrency,
            api.CloseFriendCurrency,
            api.RemoveFriendCurrency,
            api.ResetFriendChannel,
            api.DisputeFriend,
            api.Reconnect,
        ),
        Permission.CONFIG,
    ),
    **dict.fromkeys(
        (
            api.Pay,
            api.Rebalance,
            api.ConfirmFee,
            api.CancelPay,
            api.ForgetPay,
            api.CreatePayment,
            api.CreateTransaction,
            api.RequestClosePayment,
            api.AckClosePayment,
        ),
        Permission.BUYER,
    ),
    **dict.fromkeys(
        (
            api.AddInvoice,
            api.CancelInvoice,
            api.RegisterCommit,
            api.CollectInvoice,
            api.CommitInvoice,
            SignInvoice,
        ),
        Permission.SELLER,
    ),
    api.RequestRoutes: Permission.ROUTES,
    Sync: Permission.READ,
    ListPending: Permission.TRANSACTIONS,
    ListHistory: Permission.TRANSACTIONS,
    # Own ones may be looked at without `transactions`.
    GetPay: Permission.BUYER,
    ListPays: Permission.BUYER,
    GetInvoice: Permission.SELLER,
    ListInvoices: Permission.SELLER,
    Watch: None,
    ListResults: None,
}
"""What each kind of request needs; None = nothing."""
_LOOKING: Final = (GetPay, ListPays, GetInvoice, ListInvoices)
"""Questions that `transactions` alone allows, too."""

_What: TypeAlias = Command | Batch | Question


@value
class SessionEnd:
    """Why the node ends the connection."""

    code: CloseCode
    reason: str


class AppSession:
    """See the module. One request is carried out at a time."""

    def __init__(
        self,
        owner: PublicKey,
        permissions: AppPermissions,
        node: PublicKey,
        book: ReportBook,
        owners: AppOwners,
    ) -> None:
        """Greet an app; `owner` is its key, `book` and `owners` are shared by all apps of the node."""
        self.owner = owner
        self.permissions = permissions
        self.ended: SessionEnd | None = None
        """Set once the connection has to be closed."""
        self._book = book
        self._owners = owners
        self._is_greeted = False
        self._current: _What | None = None
        self._claims: tuple[Thing, ...] = ()
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._is_watching = False
        self._changes: dict[Notice, None] = {}
        self._has_missed = False
        self._is_following = False
        self._since: int | None = None
        self._dirty: dict[ReportKey, None] = {}
        self._put(Welcome(APP_VERSION, APP_VERSION, node, permissions))

    # --- in -------------------------------------------------------------------------------------

    def received(self, payload: bytes) -> Request | None:
        """Read one message of the app.

        Returns:
            A request to carry out; call `finish` with what came of it before the next `received`.
        """
        try:
            message = decode_app_message(payload)
        except DecodeError as error:
            self._end(CloseCode.PROTOCOL, str(error))
            return None
        if isinstance(message, Hello):
            self._greet(message)
        elif message is not None and not self._is_greeted:
            self._end(CloseCode.PROTOCOL, "an app says first which version it speaks")
        elif message is not None:
            return self._admit(message)
        return None

    def _greet(self, hello: Hello) -> None:
        if self._is_greeted:
            self._end(CloseCode.PROTOCOL, "an app greets once")
        elif hello.version != APP_VERSION:
            self._end(CloseCode.VERSION, f"this node speaks version {APP_VERSION} with apps")
        self._is_greeted = True

    def _admit(self, request: Request) -> Request | None:
        denied = self._denied(request.what)
        if denied:
            self._put(Result(request.number, CommandFault.PERMISSION_DENIED, denied, None))
            return None
        self._current = request.what
        if not isinstance(request.what, Question):
            self._claims = self._owners.claim(self.owner, request.what)
        return request

    def _denied(self, what: _What) -> str:
        """Why the app may not ask for this; "" if it may."""
        for one in what.commands if isinstance(what, Batch) else (what,):
            needed = PERMISSION_OF[type(one)]
            sees_all = self.permissions.transactions
            is_looking = isinstance(one, _LOOKING) and sees_all
            if needed is not None and not is_looking and not self.permissions.has(needed):
                return f'the app needs the permission "{needed.value}" for {type(one).__name__}'
            thing = _thing_of(one)
            if thing is not None and not sees_all and self._owners.is_foreign(self.owner, thing):
                return f'{type(one).__name__} of another app needs the permission "transactions"'
        return ""

    def may_see(self, thing: PaymentId | InvoiceId) -> bool:
        """Whether the app may be told about this payment or invoice in a list or a change."""
        return self.permissions.transactions or self._owners.owner_of(thing) == self.owner

    def finish(
        self,
        number: int,
        answer: Answer | None,
        fault: CommandFault | None = None,
        detail: str = "",
    ) -> None:
        """Tell the app what came of the request `received` returned."""
        what, self._current = self._current, None
        claims, self._claims = self._claims, ()
        if fault is not None:
            self._owners.release(claims)
        elif what is not None and not isinstance(what, Question):
            self._owners.carried_out(what)
        self._put(Result(number, fault, _cut(detail), answer))

    # --- questions a session answers itself -----------------------------------------------------

    def sync(self, number: int, question: Sync) -> None:
        """Answer a `Sync`; the book was brought up to date just before."""
        keys = self._book.changed_since(question.epoch, question.revision)
        self._since = None if keys is None else question.revision
        self._dirty = dict.fromkeys(self._book.everything() if keys is None else keys)
        if not self._dirty:
            # Nothing changed: an empty piece says so, and up to which revision.
            self._put(self._book.piece((), question.revision, self._book.revision))
        self._is_following = question.is_following
        self.finish(number, Done())

    def watch(self, number: int, question: Watch) -> None:
        """Answer a `Watch`."""
        if question.is_on is not self._is_watching:
            self._is_watching = question.is_on
            self._changes.clear()
            self._has_missed = False
        self.finish(number, Done())

    def list_results(self, number: int) -> None:
        """Answer a `ListResults`."""
        self.finish(number, Done(self._owners.results(self.owner)))

    # --- what happens meanwhile -----------------------------------------------------------------

    def told(self, notice: Notice, apps: tuple[PublicKey, ...]) -> None:
        """Something happened at the node; `apps` are those a result is for."""
        if not self._is_watching:
            return
        subject = subject_of(notice)
        if subject is None:
            if self.owner in apps:
                self._put(Changed((notice,)))
        elif self.may_see(subject) and not self._has_missed:
            self._changes[notice] = None
            if len(self._changes) > CHANGES_MAX:
                self._changes.clear()
                self._has_missed = True

    def report_changed(self, keys: Iterable[ReportKey]) -> None:
        """The book changed here."""
        if not self._dirty:
            if not self._is_following:
                return
            self._since = self._book.revision - 1
        # While pieces are on their way, what they told may be out of date before the last of them.
        self._dirty.update(dict.fromkeys(keys))

    @property
    def is_following(self) -> bool:
        """Whether the app wants to know of every change of the report."""
        return self._is_following and self.ended is None

    def set_permissions(self, permissions: AppPermissions) -> None:
        """The app's ticket changed; it counts from now on."""
        if permissions == self.permissions:
            return
        self.permissions = permissions
        if not permissions.read:
            self._is_following = False
            self._dirty.clear()
        self._changes = {
            notice: None
            for notice in self._changes
            if (subject := subject_of(notice)) is not None and self.may_see(subject)
        }
        self._put(PermissionsChanged(permissions))

    # --- out ------------------------------------------------------------------------------------

    def take(self) -> bytes | None:
        """The next message to send, or None."""
        if self._dirty:
            return self._next_piece()
        if self._has_missed or self._changes:
            changed = Changed(() if self._has_missed else tuple(self._changes))
            self._changes.clear()
            self._has_missed = False
            return self._encode(changed)
        if self._queue:
            payload = self._queue.popleft()
            self._queued_bytes -= len(payload)
            return payload
        return None

    def _next_piece(self) -> bytes | None:
        keys = list(self._dirty)[:REPORT_FRIENDS_MAX]
        while True:
            is_last = len(keys) == len(self._dirty)
            revision = self._book.revision if is_last else None
            payload = self._encode(self._book.piece(keys, self._since, revision))
            if payload is None or len(payload) <= MESSAGE_BYTES_MAX:
                break
            if len(keys) == 1:
                self._end(CloseCode.UNAVAILABLE, "the report of one friend is too long")
                return None
            keys = keys[: len(keys) // 2]
        for key in keys:
            del self._dirty[key]
        # The pieces after the first go on from it, even where the first began anew.
        self._since = 0 if self._since is None else self._since
        return payload

    def _put(self, message: NodeMessage) -> None:
        payload = self._encode(message)
        if payload is not None and len(payload) > MESSAGE_BYTES_MAX and isinstance(message, Result):
            fault = CommandFault.LIMIT_REACHED
            payload = self._encode(Result(message.number, fault, "an answer so long", None))
        if payload is None:
            return
        self._queue.append(payload)
        self._queued_bytes += len(payload)
        if len(self._queue) > QUEUE_MESSAGES_MAX or self._queued_bytes > QUEUE_BYTES_MAX:
            self._end(CloseCode.OVERLOADED, "answers are not read")

    def _encode(self, message: NodeMessage) -> bytes | None:
        """Bytes of a message; None if the connection is over, or has to be because of it."""
        if self.ended is not None:
            return None
        try:
            return encode_node_message(message)
        except (OverflowError, ValueError) as error:
            # Our own fault, and no reason to trouble the node or another app.
            self._end(CloseCode.UNAVAILABLE, f"the node cannot say this: {error}")
            return None

    def _end(self, code: CloseCode, reason: str) -> None:
        if self.ended is None:
            self.ended = SessionEnd(code, reason)


def _thing_of(one: Command | Question) -> Thing | None:
    if isinstance(one, GetPay):
        return one.payment_id
    if isinstance(one, GetInvoice):
        return one.invoice_id
    return None if isinstance(one, Question) else thing_of(one)


def _cut(detail: str) -> str:
    return detail.encode(errors="replace")[:DETAIL_BYTES_MAX].decode(errors="ignore")
