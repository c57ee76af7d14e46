"""A node's door for apps: who may come in, carrying out what they ask, telling them what happens.

`AppService` answers links of purpose 5 (give it to `servers.run_services`) and, with `serve_local`,
programs of the same user at a socket file. Each connection has one task and one `AppSession`:

```
connection.receive ─▶ session.received ─▶ LocalClient ─▶ session.finish ─┐
engine: notices, report changes ▶ session.told, report_changed ──────────┼─▶ session.take ─▶ connection
trusted directory ─▶ session.set_permissions, or close NOT_AUTHORIZED ───┘
```

A connection's requests are carried out one after the other, so nobody keeps more than one going; what it
sends meanwhile waits in its own socket. A question that took long is followed by a pause as long, so
an app gets at most half of the loop. Output beyond 64 KiB waits in the session, whose bounds are
`app_session`'s. Nothing here waits for an app while the node does.

Source: PROTOCOL.md, "Apps"; network.md §5.2, §5.3; design R13, R47.
"""

import logging
import os
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, TypeVar, assert_never

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskStatus

from offset_engine.client import REPORT_PAUSE_MS, CommandRefusedError, InvoiceTerms
from offset_engine.core.api import Batch, Command, CommandFault, Notice
from offset_engine.core.app_messages import (
    ALL_PERMISSIONS,
    APP_PAGE_MAX,
    Answer,
    AppPermissions,
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
    Request,
    Signed,
    SignInvoice,
    Sync,
    Watch,
)
from offset_engine.core.app_owners import LOCAL_OWNER, AppOwners, is_open_in, subject_of
from offset_engine.core.app_report import ReportBook
from offset_engine.core.app_session import AppSession
from offset_engine.core.link import CloseCode
from offset_engine.core.noise import Purpose
from offset_engine.core.report import invoice_report, pay_report
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey, Uid
from offset_engine.errors import TransportError
from offset_engine.net.app_socket import serve_socket
from offset_engine.net.connection import Connection
from offset_engine.net.engine import Engine
from offset_engine.net.local_client import LocalClient
from offset_engine.net.node_log import NodeLog
from offset_engine.net.servers import run_services
from offset_engine.net.transport import Endpoint

_log: Final = logging.getLogger(__name__)

CONNECTIONS_MAX: Final = 256
CONNECTIONS_PER_APP_MAX: Final = 16
REREAD_MS: Final = 500
"""How often the trusted directory is looked at while apps are connected."""
_QUICK_S: Final = 0.002
"""A question that took no longer needs no pause."""
_OUTPUT_BYTES: Final = 65_536
"""So much is handed to a connection; the rest waits where it can still be put together."""

_K = TypeVar("_K", PaymentId, InvoiceId)
_V = TypeVar("_V")


class Trusted(Protocol):
    """Who is trusted: see `TrustedApps`."""

    def read(self) -> Mapping[PublicKey, AppPermissions]:
        """Who may do what now; may take a while, must not raise."""


class _App:
    """One connection of an app."""

    __slots__ = ("connection", "is_local", "session")

    def __init__(self, connection: Connection, session: AppSession, *, is_local: bool) -> None:
        self.connection = connection
        self.session = session
        self.is_local = is_local

    def pump(self) -> None:
        """Hand over what the connection has room for; never waits."""
        connection, session = self.connection, self.session
        while session.ended is None and connection.buffered_bytes < _OUTPUT_BYTES:
            payload = session.take()
            if payload is None:
                break
            connection.send_nowait(payload)
        if session.ended is not None:
            connection.close(session.ended.code, session.ended.reason)


class AppService:
    """See the module. Create it beside a running engine."""

    purpose = int(Purpose.APP)

    def __init__(self, engine: Engine, trusted: Trusted, *, reread_ms: int = REREAD_MS) -> None:
        """Serve apps of `engine` that are trusted; nobody is connected yet."""
        self._engine = engine
        self._client = LocalClient(engine)
        self._trusted = trusted
        self._reread_ms = reread_ms
        self._book = ReportBook(Uid(os.urandom(Uid.SIZE)))
        self._owners = AppOwners(lambda thing: is_open_in(engine.state, thing))
        self._apps: dict[_App, None] = {}
        self._reading = anyio.Lock()
        self._has_news = anyio.Event()
        self._has_apps = anyio.Event()

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Every app connected now, oldest first."""
        return tuple(app.connection for app in self._apps)

    def stop(self) -> None:
        """Tell every app SHUTDOWN."""
        for app in tuple(self._apps):
            app.connection.close(CloseCode.SHUTDOWN, "this card is switched off")

    # --- beside the connections -----------------------------------------------------------------

    async def run(self) -> None:
        """Watch the node and the trusted directory, forever; once at a time."""
        self._engine.watchers[self] = self._tell
        self._engine.report_watchers[self] = self._report_changed
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._follow_report)
                tasks.start_soon(self._follow_tickets)
        finally:
            del self._engine.report_watchers[self]
            del self._engine.watchers[self]

    def _tell(self, notice: Notice | None) -> None:
        if notice is None:
            self.stop()
            return
        apps: tuple[PublicKey, ...] = ()
        if subject_of(notice) is None:
            apps = self._owners.keep(notice)  # type: ignore[arg-type]  # what is about no subject is a result
        for app in self._apps:
            app.session.told(notice, apps)
            app.pump()

    def _report_changed(self) -> None:
        if self._is_followed():
            self._has_news.set()

    def _is_followed(self) -> bool:
        return any(app.session.is_following for app in self._apps)

    async def _follow_report(self) -> None:
        while True:
            await self._has_news.wait()
            self._has_news = anyio.Event()
            self._look()
            await anyio.sleep(REPORT_PAUSE_MS / 1000)

    def _look(self) -> None:
        """Bring the book up to date and tell everybody who follows it."""
        keys = self._book.update(self._engine.state, self._engine.connections)
        if keys:
            for app in self._apps:
                app.session.report_changed(keys)
                app.pump()

    async def _follow_tickets(self) -> None:
        while True:
            await self._has_apps.wait()
            await anyio.sleep(self._reread_ms / 1000)
            await self._check_tickets()
            if all(app.is_local for app in self._apps):
                self._has_apps = anyio.Event()

    async def _check_tickets(self) -> Mapping[PublicKey, AppPermissions]:
        """Read the tickets and let them count at once for everybody connected."""
        async with self._reading:
            found = await anyio.to_thread.run_sync(self._trusted.read)
        for app in tuple(self._apps):
            if app.is_local:
                continue
            permissions = found.get(app.session.owner)
            if permissions is None:
                _log.info("app %s is no longer trusted", app.session.owner)
                app.connection.close(CloseCode.NOT_AUTHORIZED, "the app's ticket was removed")
            else:
                app.session.set_permissions(permissions)
                app.pump()
        return found

    # --- one connection -------------------------------------------------------------------------

    async def serve(self, connection: Connection) -> None:
        """Serve an app that has proven its key, until it has gone."""
        permissions = (await self._check_tickets()).get(connection.peer)
        if permissions is None:
            _log.info("app %s is not trusted", connection.peer)
            connection.close(CloseCode.NOT_AUTHORIZED, "the app has no ticket here")
            return
        await self._serve(connection, connection.peer, permissions, is_local=False)

    async def serve_local(self, connection: Connection) -> None:
        """Serve a program of our own user, until it has gone."""
        await self._serve(connection, LOCAL_OWNER, ALL_PERMISSIONS, is_local=True)

    async def _serve(
        self,
        connection: Connection,
        owner: PublicKey,
        permissions: AppPermissions,
        *,
        is_local: bool,
    ) -> None:
        same = sum(1 for app in self._apps if app.session.owner == owner and not is_local)
        if same >= CONNECTIONS_PER_APP_MAX or len(self._apps) >= CONNECTIONS_MAX:
            connection.close(CloseCode.OVERLOADED, "too many apps are connected")
            return
        node = self._engine.state.local_public_key
        session = AppSession(owner, permissions, node, self._book, self._owners)
        app = _App(connection, session, is_local=is_local)
        self._apps[app] = None
        self._has_apps.set()
        connection.on_drained = app.pump
        try:
            app.pump()
            await self._converse(app)
        finally:
            del self._apps[app]

    async def _converse(self, app: _App) -> None:
        while True:
            payload = await app.connection.receive()
            started = time.perf_counter()
            request = app.session.received(payload)
            is_command = request is not None and not isinstance(request.what, Question)
            if request is not None:
                await self._carry_out(app, request)
            app.pump()
            took = time.perf_counter() - started
            if took > _QUICK_S and not is_command:
                await anyio.sleep(took)
            else:
                await anyio.lowlevel.checkpoint()

    async def _carry_out(self, app: _App, request: Request) -> None:
        number, what, session = request.number, request.what, app.session
        match what:
            case Sync():
                self._look()
                session.sync(number, what)
            case Watch():
                session.watch(number, what)
            case ListResults():
                session.list_results(number)
            case GetPay() | GetInvoice() | ListPays() | ListInvoices():
                await self._answer(session, number, self._look_up(session, what))
            case ListPending() | ListHistory() | SignInvoice():
                await self._answer(session, number, self._ask(what))
            case _:
                await self._command(session, number, what)

    async def _command(self, session: AppSession, number: int, what: Command | Batch) -> None:
        _log.info("app %s: %s", session.owner, _names(what))
        done = await self._engine.command(what)
        # What it changed is told before its result to those who follow the report.
        if self._is_followed():
            self._look()
        answer = None if done.fault is not None else Done(done.notices)
        session.finish(number, answer, done.fault, done.detail)

    async def _answer(
        self, session: AppSession, number: int, finding: Coroutine[None, None, Answer]
    ) -> None:
        try:
            answer = await finding
        except CommandRefusedError as refused:
            session.finish(number, None, refused.fault, refused.detail)
        else:
            session.finish(number, answer)

    async def _look_up(
        self, session: AppSession, what: GetPay | GetInvoice | ListPays | ListInvoices
    ) -> Answer:
        """Payments and invoices, as far as the app may see them."""
        state = self._engine.state
        match what:
            case GetPay(payment_id):
                return PayFound(await self._client.pay_report(payment_id))
            case GetInvoice(invoice_id):
                return InvoiceFound(await self._client.invoice_report(invoice_id))
            case ListPays(after_pay):
                pays = (one for one in reversed(state.intents.items()) if session.may_see(one[0]))
                intents, is_last = _page(pays, after_pay, CommandFault.PAYMENT_DOES_NOT_EXIST)
                return PayPage(tuple(map(pay_report, intents)), is_last)
            case ListInvoices(after):
                seen = (one for one in reversed(state.invoices.items()) if session.may_see(one[0]))
                invoices, is_last = _page(seen, after, CommandFault.INVOICE_DOES_NOT_EXIST)
                return InvoicePage(tuple(map(invoice_report, invoices)), is_last)
            case _:
                assert_never(what)

    async def _ask(self, what: ListPending | ListHistory | SignInvoice) -> Answer:
        match what:
            case ListPending(limit, skip):
                return PendingPage(await self._client.pending(limit, skip))
            case ListHistory(kind, before, limit):
                entries = await self._client.history(kind, before, min(limit, APP_PAGE_MAX))
                return HistoryPage(tuple(entries))
            case SignInvoice(currency, amount, description, lasts_s, decimals):
                terms = InvoiceTerms(currency, amount, description, lasts_s, decimals)
                return Signed(await self._client.sign_invoice(terms))
            case _:
                assert_never(what)


def _page(
    items: Iterable[tuple[_K, _V]], after: _K | None, missing: CommandFault
) -> tuple[list[_V], bool]:
    """What follows the item with this key, and whether that is all.

    Raises:
        CommandRefusedError: there is no such item (any more).
    """
    rest = iter(items)
    if after is not None and all(key != after for key, _ in rest):
        raise CommandRefusedError(missing, "the page after one that is gone")
    found = [item for _, item in islice(rest, APP_PAGE_MAX + 1)]
    return found[:APP_PAGE_MAX], len(found) <= APP_PAGE_MAX


def _names(what: Command | Batch) -> str:
    commands = what.commands if isinstance(what, Batch) else (what,)
    return ", ".join(type(one).__name__ for one in commands)


async def run_node(
    engine: Engine,
    endpoint: Endpoint,
    addresses: Sequence[str],
    trusted: Trusted,
    socket_path: Path | None = None,
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run a node that apps can reach, until cancelled.

    Args:
        engine: the node, not running yet.
        endpoint: holds the node's identity.
        addresses: `host:port` each, where apps are expected.
        trusted: which apps may come in there.
        socket_path: where to make the socket file for programs of this user; without one they
            are not served. If it cannot be made, that is logged and the rest goes on.
        task_status: told the addresses really listened at, once the node runs.

    Raises:
        TransportError: (in a group) an address cannot be listened at.
        StoreError: (in a group) the database failed.
        InvariantError: (in a group) the node's own state is impossible.
    """
    service = AppService(engine, trusted)
    async with anyio.create_task_group() as tasks:
        await tasks.start(engine.run)
        tasks.start_soon(NodeLog(engine).run)
        bound = await tasks.start(partial(run_services, endpoint, addresses, [service]))
        if socket_path is not None:
            try:
                await tasks.start(partial(serve_socket, socket_path, service.serve_local))
            except TransportError as error:
                _log.warning("programs of this user are served at the port only: %s", error)
        task_status.started(bound)
