"""A client of a node that lives on the event loop of another thread; a user interface uses it on its own loop.

```
UI loop:    await client.report() ──call_soon_threadsafe──▶ node's loop:  inner.report()
                     ▲                                             │
                     └───────────────call_soon_threadsafe──────────┘
```

Neither loop ever waits for the other to be free. Whoever stops waiting for a command does not stop the
command. News of a slow user interface pile up in one bounded place, each kept once, with at most one
wake-up under way; of reports only the latest is kept.

Source: design R47; tui.md §2.2.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager
from typing import Final, Generic, TypeVar

from anyio.from_thread import BlockingPortal

from offset_engine.client import (
    Client,
    HistoryEntry,
    HistoryKind,
    InvoiceTerms,
    Watcher,
)
from offset_engine.core.api import Batch, Command, Notice
from offset_engine.core.app_messages import CHANGES_MAX, AppPermissions
from offset_engine.core.reports import (
    InvoiceRecord,
    InvoiceReport,
    NodeReport,
    PayReport,
    PendingReport,
)
from offset_engine.core.signing import Invoice
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey
from offset_engine.errors import TransportError

_T = TypeVar("_T")

SWITCHED_OFF: Final = "this card is switched off"


class _Bridge(Generic[_T]):
    """Carries values from the node's loop to the user interface's; putting one in never waits."""

    def __init__(self, merge: Callable[[_T, _T], _T]) -> None:
        """Make it on the loop that takes; `merge` joins what waits with what is new."""
        self._loop = asyncio.get_running_loop()
        self._merge = merge
        self._lock = threading.Lock()
        self._waiting: _T | None = None
        self._end: Exception | None = None
        self._is_ringing = False
        self._news = asyncio.Event()

    def put(self, value: _T) -> None:
        """Hand a value over (node's thread)."""
        with self._lock:
            old = self._waiting
            self._waiting = value if old is None else self._merge(old, value)
        self._ring()

    def end(self, error: Exception) -> None:
        """Say that nothing more comes (node's thread); the first reason given counts."""
        with self._lock:
            self._end = self._end or error
        self._ring()

    def _ring(self) -> None:
        with self._lock:
            if self._is_ringing:
                return
            self._is_ringing = True
        # A closed loop of the user interface: nobody waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._rung)

    def _rung(self) -> None:
        with self._lock:
            self._is_ringing = False
        self._news.set()

    async def take(self) -> _T:
        """Wait for a value.

        Raises:
            Exception: the reason given to `end`, once every value is taken.
        """
        while True:
            with self._lock:
                value, self._waiting = self._waiting, None
                if value is not None:
                    return value
                if self._end is not None:
                    raise self._end
                self._news.clear()
            await self._news.wait()


class ThreadedWatcher(Watcher):
    """See `Watcher`; taken from on the loop of the user interface."""

    def __init__(self, bridge: _Bridge[tuple[Notice, ...]]) -> None:
        """Take from this bridge."""
        self._bridge = bridge

    async def next(self) -> tuple[Notice, ...]:
        """Wait for news; () = too much happened, look at everything.

        Raises:
            TransportError: the node has stopped, and everything before was told.
        """
        return await self._bridge.take()


class ThreadedClient(Client):
    """See the module."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        """Ask `client` on the portal's loop; blocks until that loop has answered once.

        Args:
            portal: of the thread the node runs in.
            client: used on that thread only.
        """
        self._node_loop: asyncio.AbstractEventLoop = portal.call(asyncio.get_running_loop)
        self._client = client
        self._lock = threading.Lock()
        self._asked: dict[Future[object], None] = {}
        self._end = ""

    def end(self, reason: str = SWITCHED_OFF) -> None:
        """The node's loop answers no more: whoever waits gets a `TransportError`, later callers too."""
        with self._lock:
            self._end = reason
            asked = tuple(self._asked)
        for one in asked:
            one.cancel()

    # --- between the loops ----------------------------------------------------------------------

    def _submit(self, doing: Coroutine[object, object, _T]) -> Future[_T]:
        """Start something on the node's loop; it goes on even if nobody waits for it."""
        if self._end:
            doing.close()
            raise TransportError(self._end)
        try:
            asked: Future[_T] = asyncio.run_coroutine_threadsafe(doing, self._node_loop)
        except RuntimeError:
            doing.close()
            raise TransportError(SWITCHED_OFF) from None
        self._remember(asked)
        return asked

    def _remember(self, asked: Future[_T]) -> None:
        kept: Future[object] = asked  # type: ignore[assignment]  # only ever cancelled
        with self._lock:
            self._asked[kept] = None
        asked.add_done_callback(lambda _: self._forget(kept))
        if self._end:
            asked.cancel()

    def _forget(self, asked: Future[object]) -> None:
        with self._lock:
            self._asked.pop(asked, None)

    async def _ask(self, doing: Coroutine[object, object, _T]) -> _T:
        """Wait for something done on the node's loop; being cancelled does not cancel it."""
        return await self._answer_of(self._submit(doing))

    async def _answer_of(self, asked: Future[_T]) -> _T:
        answer = asyncio.wrap_future(asked)
        answer.add_done_callback(_look_at)
        await asyncio.wait([answer])
        if answer.cancelled():
            raise TransportError(self._end or SWITCHED_OFF)
        return answer.result()

    # --- the client -----------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """See `Client.is_connected`."""
        return not self._end and self._client.is_connected

    @property
    def permissions(self) -> AppPermissions:
        """See `Client.permissions`."""
        return self._client.permissions

    @property
    def node(self) -> PublicKey | None:
        """See `Client.node`."""
        return self._client.node

    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        """See `Client.command`; carried out also if the caller is cancelled."""
        return await self._ask(self._client.command(command))

    async def report(self) -> NodeReport:
        """See `Client.report`."""
        return await self._ask(self._client.report())

    async def reports(self) -> AsyncGenerator[NodeReport, None]:
        """See `Client.reports`; one that was not looked at is replaced by the next."""
        bridge: _Bridge[NodeReport] = _Bridge(lambda _, new: new)
        following = self._submit(self._follow(bridge))
        try:
            while True:
                yield await bridge.take()
        finally:
            following.cancel()

    async def _follow(self, bridge: _Bridge[NodeReport]) -> None:
        try:
            async with aclosing(self._client.reports()) as reports:
                async for report in reports:
                    bridge.put(report)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other thread gets it
            bridge.end(error)
        finally:
            bridge.end(TransportError(SWITCHED_OFF))

    async def pay_report(self, payment_id: PaymentId) -> PayReport | None:
        """See `Client.pay_report`."""
        return await self._ask(self._client.pay_report(payment_id))

    async def invoice_report(self, invoice_id: InvoiceId) -> InvoiceReport | InvoiceRecord | None:
        """See `Client.invoice_report`."""
        return await self._ask(self._client.invoice_report(invoice_id))

    async def pays(self) -> tuple[PayReport, ...]:
        """See `Client.pays`."""
        return await self._ask(self._client.pays())

    async def invoices(self) -> tuple[InvoiceReport, ...]:
        """See `Client.invoices`."""
        return await self._ask(self._client.invoices())

    async def pending(self, limit: int = 1_000, skip: int = 0) -> tuple[PendingReport, ...]:
        """See `Client.pending`."""
        return await self._ask(self._client.pending(limit, skip))

    async def history(
        self, kind: HistoryKind, before: int | None = None, limit: int = 100
    ) -> list[HistoryEntry]:
        """See `Client.history`."""
        return await self._ask(self._client.history(kind, before, limit))

    async def sign_invoice(self, terms: InvoiceTerms) -> Invoice:
        """See `Client.sign_invoice`."""
        return await self._ask(self._client.sign_invoice(terms))

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[ThreadedWatcher]:
        """See `Client.watch`."""
        bridge: _Bridge[tuple[Notice, ...]] = _Bridge(_joined)
        is_watching: Future[None] = Future()
        self._remember(is_watching)
        watching = self._submit(self._watch(bridge, is_watching))
        try:
            await self._answer_of(is_watching)
            yield ThreadedWatcher(bridge)
        finally:
            watching.cancel()

    async def _watch(self, bridge: _Bridge[tuple[Notice, ...]], is_watching: Future[None]) -> None:
        try:
            async with self._client.watch() as watcher:
                _resolve(is_watching, None)
                while True:
                    bridge.put(await watcher.next())
        except Exception as error:  # noqa: BLE001 - whatever it is, the other thread gets it
            _resolve(is_watching, error)
            bridge.end(error)
        finally:
            over = TransportError(SWITCHED_OFF)
            _resolve(is_watching, over)
            bridge.end(over)


def _resolve(future: Future[None], error: Exception | None) -> None:
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _look_at(answer: asyncio.Future[_T]) -> None:
    """The answer to somebody who has gone is no surprise to the loop."""
    if not answer.cancelled():
        answer.exception()


def _joined(old: tuple[Notice, ...], new: tuple[Notice, ...]) -> tuple[Notice, ...]:
    """Both, each once; () = too much to tell."""
    if not old or not new:
        return ()
    both = tuple(dict.fromkeys((*old, *new)))
    return both if len(both) <= CHANGES_MAX else ()
