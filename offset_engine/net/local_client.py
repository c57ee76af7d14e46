"""A client of a node in the same process and on the same event loop.

Source: design R30, R47; PROTOCOL.md, "Commands".
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final

import anyio

from offset_engine.client import (
    REPORT_PAUSE_MS,
    Client,
    CommandRefusedError,
    HistoryEntry,
    HistoryKind,
    InvoiceTerms,
    Watcher,
)
from offset_engine.core.api import Batch, Command, CommandFault, Notice
from offset_engine.core.app_messages import ALL_PERMISSIONS, AppPermissions
from offset_engine.core.app_report import ReportBook
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.report import invoice_report, pay_report, pending
from offset_engine.core.reports import (
    InvoiceRecord,
    InvoiceReport,
    NodeReport,
    PaymentRecord,
    PayReport,
    PendingReport,
)
from offset_engine.core.signing import DECIMALS_NONE, Invoice, invoice_buffer
from offset_engine.core.values import (
    CREDITS_MAX,
    DESCRIPTION_BYTES_MAX,
    InvoiceId,
    PaymentId,
    PublicKey,
    Uid,
)
from offset_engine.errors import TransportError
from offset_engine.net.engine import Engine
from offset_engine.net.report_news import SWITCHED_OFF, ReportNews

CHANGES_MAX: Final = 1_024


class LocalWatcher(Watcher):
    """Collects changes between two looks, each kept once."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._changes: dict[Notice, None] = {}
        self._missed = False
        self._is_over = False
        self._news = anyio.Event()

    def tell(self, notice: Notice | None) -> None:
        """Something changed; None = the node has stopped."""
        if notice is None:
            self._is_over = True
            self._news.set()
            return
        if len(self._changes) >= CHANGES_MAX:
            self._missed = True
            self._changes.clear()
        if not self._missed:
            self._changes[notice] = None
        self._news.set()

    async def next(self) -> tuple[Notice, ...]:
        """Wait for news; () = too much happened, look at everything.

        Raises:
            TransportError: the node has stopped, and everything before was told.
        """
        await self._news.wait()
        if self._is_over and not self._changes and not self._missed:
            raise TransportError(SWITCHED_OFF)
        if not self._is_over:
            self._news = anyio.Event()
        changes, self._changes = tuple(self._changes), {}
        missed, self._missed = self._missed, False
        return () if missed else changes


class LocalClient(Client):
    """A client that calls the engine directly."""

    def __init__(self, engine: Engine) -> None:
        """Talk to this engine; it must be running for commands to be answered."""
        self._engine = engine
        self._book: Final = ReportBook(Uid(bytes(Uid.SIZE)))

    @property
    def is_connected(self) -> bool:
        """See `Client.is_connected`."""
        return not self._engine.is_over

    @property
    def permissions(self) -> AppPermissions:
        """See `Client.permissions`."""
        return ALL_PERMISSIONS

    @property
    def node(self) -> PublicKey | None:
        """See `Client.node`."""
        return self._engine.state.local_public_key

    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        """See `Client.command`."""
        done = await self._engine.command(command)
        if done.fault is not None:
            raise CommandRefusedError(done.fault, done.detail)
        return done.notices

    async def report(self) -> NodeReport:
        """See `Client.report`."""
        return self._look()

    def _need_running(self) -> None:
        if self._engine.is_over:
            raise TransportError(SWITCHED_OFF)

    def _look(self) -> NodeReport:
        self._book.update(self._engine.state, self._engine.connections)
        return self._book.report()

    async def reports(self) -> AsyncGenerator[NodeReport, None]:
        """See `Client.reports`."""
        self._need_running()
        news = ReportNews()

        def on_notice(notice: Notice | None) -> None:
            if notice is None:
                news.end(SWITCHED_OFF)

        self._engine.watchers[news] = on_notice
        self._engine.report_watchers[news] = news.tell
        try:
            last: NodeReport | None = None
            while True:
                now = self._look()
                if now != last:
                    last = now
                    yield now
                    await anyio.sleep(REPORT_PAUSE_MS / 1000)
                await news.wait()
        finally:
            del self._engine.report_watchers[news]
            del self._engine.watchers[news]

    async def pay_report(self, payment_id: PaymentId) -> PayReport | None:
        """See `Client.pay_report`."""
        intent = self._engine.state.intents.get(payment_id)
        if intent is not None:
            return pay_report(intent)
        record = self._engine.store.payment_record(payment_id)
        return None if record is None else _from_record(record)

    async def invoice_report(self, invoice_id: InvoiceId) -> InvoiceReport | InvoiceRecord | None:
        """See `Client.invoice_report`."""
        invoice = self._engine.state.invoices.get(invoice_id)
        if invoice is not None:
            return invoice_report(invoice)
        return self._engine.store.invoice_record(invoice_id)

    async def pays(self) -> tuple[PayReport, ...]:
        """See `Client.pays`."""
        return tuple(pay_report(one) for one in reversed(self._engine.state.intents.values()))

    async def invoices(self) -> tuple[InvoiceReport, ...]:
        """See `Client.invoices`."""
        return tuple(invoice_report(one) for one in reversed(self._engine.state.invoices.values()))

    async def pending(self, limit: int = 1_000, skip: int = 0) -> tuple[PendingReport, ...]:
        """See `Client.pending`."""
        first = max(skip, 0)
        return tuple(islice(pending(self._engine.state), first, first + max(limit, 0)))

    async def history(
        self, kind: HistoryKind, before: int | None = None, limit: int = 100
    ) -> list[HistoryEntry]:
        """See `Client.history`."""
        return self._engine.store.history(kind, before, limit)

    async def sign_invoice(self, terms: InvoiceTerms) -> Invoice:
        """See `Client.sign_invoice`."""
        if not 1 <= terms.amount <= CREDITS_MAX:
            raise CommandRefusedError(
                CommandFault.INVALID_AMOUNT, f"an invoice asks for 1 to {CREDITS_MAX} credits"
            )
        if len(terms.description.encode()) > DESCRIPTION_BYTES_MAX:
            raise CommandRefusedError(
                CommandFault.INVALID_ARGUMENT,
                f"a description has at most {DESCRIPTION_BYTES_MAX} bytes",
            )
        env = self._engine.env
        created = env.wall_ms // 1000
        unsigned = Invoice(
            InvoiceId(os.urandom(InvoiceId.SIZE)),
            terms.currency,
            self._engine.state.local_public_key,
            terms.amount,
            terms.description,
            created,
            0 if terms.lasts_s is None else created + terms.lasts_s,
            DECIMALS_NONE if terms.decimals is None else terms.decimals,
        )
        return Invoice(
            unsigned.invoice_id,
            unsigned.currency,
            unsigned.dest_public_key,
            unsigned.total_dest_payment,
            unsigned.description,
            unsigned.created,
            unsigned.expires,
            unsigned.decimals,
            env.sign(invoice_buffer(unsigned)),
        )

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[LocalWatcher]:
        """See `Client.watch`."""
        self._need_running()
        watcher = LocalWatcher()
        self._engine.watchers[watcher] = watcher.tell
        try:
            yield watcher
        finally:
            del self._engine.watchers[watcher]


def _from_record(record: PaymentRecord) -> PayReport:
    return PayReport(
        record.payment_id,
        record.invoice,
        record.stage,
        record.failure,
        record.fee,
        record.fee,
        0,
        record.stage is PayStage.FAILED and record.failure is not PayFailure.UNKNOWN,
        None,
        record.receipt,
        record.started_ms,
        record.ended_ms,
    )
