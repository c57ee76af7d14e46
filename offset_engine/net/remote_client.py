"""A client of a node in another process: over TCP and the secure channel, or through a local socket file.

While there is no connection every call fails at once with a `TransportError` that says why; it never
waits for a later one. `Pay` may simply be repeated with its id; after any other command whose answer
was lost the report tells whether it was carried out. Watchers end with the connection. The report is
kept, so that afterwards only what changed is transferred.

| call | waits for |
|---|---|
| any request | its result |
| `report` | the pieces that bring the mirror up to date |
| `wait_connected` | a connection |

Source: PROTOCOL.md, "Apps"; apps.md §3; design R47.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar

import anyio
from anyio.abc import TaskStatus

from offset_engine.client import (
    Client,
    CommandRefusedError,
    HistoryEntry,
    HistoryKind,
    InvoiceTerms,
    Watcher,
)
from offset_engine.core.api import Batch, Command, CommandFault, Notice
from offset_engine.core.app_messages import (
    APP_PAGE_MAX,
    APP_PENDING_MAX,
    CHANGES_MAX,
    AppPermissions,
    Changed,
    Done,
    GetInvoice,
    GetPay,
    HistoryPage,
    InvoiceFound,
    InvoicePage,
    ListHistory,
    ListInvoices,
    ListPays,
    ListPending,
    ListResults,
    PayFound,
    PayPage,
    PendingPage,
    Question,
    Report,
    Signed,
    SignInvoice,
    Sync,
    Watch,
)
from offset_engine.core.app_report import ReportMirror
from offset_engine.core.reports import (
    HISTORY_PAGE_MAX,
    InvoiceRecord,
    InvoiceReport,
    NodeReport,
    PayReport,
    PendingReport,
)
from offset_engine.core.signing import Invoice
from offset_engine.core.values import WALL_MS_MAX, InvoiceId, PaymentId, PublicKey, Timers
from offset_engine.errors import TransportError
from offset_engine.net.app_connection import AppConnection, Dial, by_address, by_socket
from offset_engine.net.report_news import ReportNews

__all__ = ["Dial", "RemoteClient", "RemoteWatcher", "by_address", "by_socket", "open_remote"]

_PAGES_RESTARTED_MAX: Final = 8
"""Times a list that changes while it is read is begun again."""
_A = TypeVar("_A")


class RemoteWatcher(Watcher):
    """Collects what the node says between two looks, each change once."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._changes: dict[Notice, None] = {}
        self._has_missed = False
        self._end = ""
        self._news = anyio.Event()

    def tell(self, notices: tuple[Notice, ...]) -> None:
        """Something changed; () = too much."""
        self._changes.update(dict.fromkeys(notices))
        if not notices or len(self._changes) > CHANGES_MAX:
            self._has_missed = True
            self._changes.clear()
        self._news.set()

    def end(self, reason: str) -> None:
        """There will be no more news."""
        self._end = reason
        self._news.set()

    async def next(self) -> tuple[Notice, ...]:
        """Wait for news; () = too much happened, look at everything.

        Raises:
            TransportError: the connection is lost, and everything before was told.
        """
        await self._news.wait()
        if self._end and not self._changes and not self._has_missed:
            raise TransportError(self._end)
        if not self._end:
            self._news = anyio.Event()
        changes, self._changes = tuple(self._changes), {}
        missed, self._has_missed = self._has_missed, False
        return () if missed else changes


class RemoteClient(Client):
    """See the module. Have its `run` started, or use `open_remote`."""

    def __init__(self, make: Dial, timers: Timers | None = None) -> None:
        """Talk to the node that `make` connects to; nothing happens before `run`."""
        timers = Timers() if timers is None else timers
        self._line = AppConnection(make, timers, self._take, self._lost)
        self._watchers: dict[RemoteWatcher, None] = {}
        self._mirror = ReportMirror()
        self._followers: dict[ReportNews, None] = {}

    @property
    def is_connected(self) -> bool:
        """See `Client.is_connected`."""
        return self._line.is_connected

    @property
    def permissions(self) -> AppPermissions:
        """See `Client.permissions`."""
        return self._line.permissions

    @property
    def node(self) -> PublicKey | None:
        """See `Client.node`."""
        return self._line.node

    async def wait_connected(self) -> None:
        """Wait until requests can be made."""
        await self._line.wait_connected()

    async def run(
        self, *, once: bool = False, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep a connection until cancelled; see `AppConnection.run`.

        Raises:
            TransportError: with `once`, why there was no connection.
        """
        await self._line.run(once=once, task_status=task_status)

    def _lost(self, why: str) -> None:
        for watcher in self._watchers:
            watcher.end(why)
        self._watchers.clear()
        for news in self._followers:
            news.end(why)

    def _take(self, message: Changed | Report) -> None:
        if isinstance(message, Changed):
            for watcher in self._watchers:
                watcher.tell(message.notices)
            return
        self._mirror.take(message)
        if message.revision is not None:
            for news in self._followers:
                news.tell()

    async def _ask(self, what: Command | Batch | Question, wanted: type[_A]) -> _A:
        answer = await self._line.request(what)
        if not isinstance(answer, wanted):
            raise TransportError("the card answered something else than was asked")
        return answer

    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        """See `Client.command`; an app that may not do it gets `permission_denied`."""
        return (await self._ask(command, Done)).notices

    async def report(self) -> NodeReport:
        """See `Client.report`.

        Raises:
            CommandRefusedError: the app may not see it.
            TransportError: no connection, or it was lost.
        """
        return await self._synchronise()

    async def _synchronise(self) -> NodeReport:
        mirror, is_following = self._mirror, bool(self._followers)
        await self._ask(Sync(mirror.epoch, mirror.revision, is_following), Done)
        report = mirror.report()
        if report is None:
            # What came did not go on from what we had: begin again.
            await self._ask(Sync(None, 0, is_following), Done)
            report = mirror.report()
        if report is None:
            raise TransportError("the card sends an incomplete report")
        return report

    async def reports(self) -> AsyncGenerator[NodeReport, None]:
        """See `Client.reports`; changes arrive by themselves meanwhile."""
        news = ReportNews()
        self._followers[news] = None
        try:
            last = await self._synchronise()
            yield last
            while True:
                await news.wait()
                now = self._mirror.report()
                if now is not None and now != last:
                    last = now
                    yield now
        finally:
            del self._followers[news]
            if not self._followers:
                self._line.say(Sync(self._mirror.epoch, self._mirror.revision))

    async def pay_report(self, payment_id: PaymentId) -> PayReport | None:
        """See `Client.pay_report`."""
        return (await self._ask(GetPay(payment_id), PayFound)).report

    async def invoice_report(self, invoice_id: InvoiceId) -> InvoiceReport | InvoiceRecord | None:
        """See `Client.invoice_report`."""
        return (await self._ask(GetInvoice(invoice_id), InvoiceFound)).report

    async def pays(self) -> tuple[PayReport, ...]:
        """See `Client.pays`; without the permission `transactions` only those of this app."""
        return await _restarting(self._all_pays, CommandFault.PAYMENT_DOES_NOT_EXIST)

    async def _all_pays(self) -> tuple[PayReport, ...]:
        found: list[PayReport] = []
        while True:
            after = found[-1].payment_id if found else None
            page = await self._ask(ListPays(after), PayPage)
            found += page.reports
            if page.is_last or not page.reports:
                return tuple(found)

    async def invoices(self) -> tuple[InvoiceReport, ...]:
        """See `Client.invoices`; without the permission `transactions` only those of this app."""
        return await _restarting(self._all_invoices, CommandFault.INVOICE_DOES_NOT_EXIST)

    async def _all_invoices(self) -> tuple[InvoiceReport, ...]:
        found: list[InvoiceReport] = []
        while True:
            after = found[-1].invoice.invoice_id if found else None
            page = await self._ask(ListInvoices(after), InvoicePage)
            found += page.reports
            if page.is_last or not page.reports:
                return tuple(found)

    async def pending(
        self, limit: int = APP_PENDING_MAX, skip: int = 0
    ) -> tuple[PendingReport, ...]:
        """See `Client.pending`; at most 1 000."""
        asked = ListPending(max(0, min(limit, APP_PENDING_MAX)), max(0, skip))
        return (await self._ask(asked, PendingPage)).reports

    async def history(
        self, kind: HistoryKind, before: int | None = None, limit: int = 100
    ) -> list[HistoryEntry]:
        """See `Client.history`."""
        found: list[HistoryEntry] = []
        wanted = max(0, min(limit, HISTORY_PAGE_MAX))
        start = None if before is None else max(0, min(before, WALL_MS_MAX))
        while True:
            size = min(wanted - len(found), APP_PAGE_MAX)
            page = await self._ask(ListHistory(kind, start, size), HistoryPage)
            found += page.entries
            if len(page.entries) < size or len(found) >= wanted:
                return found
            start = found[-1].number

    async def sign_invoice(self, terms: InvoiceTerms) -> Invoice:
        """See `Client.sign_invoice`."""
        asked = SignInvoice(
            terms.currency, terms.amount, terms.description, terms.lasts_s, terms.decimals
        )
        return (await self._ask(asked, Signed)).invoice

    async def results(self) -> tuple[Notice, ...]:
        """Results of transactions, closed payments and route questions kept for this app.

        The node keeps the last ones while it runs, so what was lost with a connection is found here.
        """
        return (await self._ask(ListResults(), Done)).notices

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[RemoteWatcher]:
        """See `Client.watch`."""
        watcher = RemoteWatcher()
        self._watchers[watcher] = None
        try:
            await self._ask(Watch(is_on=True), Done)
            yield watcher
        finally:
            self._watchers.pop(watcher, None)
            if not self._watchers:
                self._line.say(Watch(is_on=False))


async def _restarting(
    read: Callable[[], Awaitable[tuple[_A, ...]]], gone: CommandFault
) -> tuple[_A, ...]:
    """Read a list whose pages may be pulled away while it is read."""
    for _ in range(_PAGES_RESTARTED_MAX):
        try:
            return await read()
        except CommandRefusedError as error:
            if error.fault is not gone:
                raise
    raise TransportError("the list changes faster than it can be read; try again")


@asynccontextmanager
async def open_remote(make: Dial, timers: Timers | None = None) -> AsyncIterator[RemoteClient]:
    """Connect once: a client that is connected when the block begins.

    Raises:
        TransportError: there is no connection, with the reason.
    """
    client = RemoteClient(make, timers)
    try:
        async with anyio.create_task_group() as tasks:
            await tasks.start(partial(client.run, once=True))
            yield client
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        raise group.exceptions[0] from None
