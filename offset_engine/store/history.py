"""History ⇄ rows: one table per kind of record, numbered in the order of saving, never changed again."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.reports import (
    ForwardRecord,
    InvoiceRecord,
    LossRecord,
    PaymentRecord,
    Record,
    ResetRecord,
)
from offset_engine.core.values import PaymentId, PublicKey, value
from offset_engine.errors import DecodeError
from offset_engine.store import fields
from offset_engine.store.interface import HISTORY_PAGE_MAX, HistoryEntry, HistoryKind
from offset_engine.store.load import corrupt
from offset_engine.store.tables import Row


@value
class HistoryTable:
    """How records of one kind are kept. `columns` are those after the running number."""

    name: str
    columns: tuple[str, ...]
    to_row: Callable[[Any], Row]
    from_row: Callable[[Row], Record]

    def entry(self, row: Row) -> HistoryEntry:
        """Read one row, running number first.

        Raises:
            StoreCorruptError: it is not one this program would write.
        """
        number, *rest = row
        try:
            return HistoryEntry(fields.number(number), self.from_row(tuple(rest)))
        except (ValueError, DecodeError) as error:
            raise corrupt(self.name, (number,), error) from error


def page_size(limit: int) -> int:
    """A limit that a caller asked for, brought into range."""
    return max(0, min(limit, HISTORY_PAGE_MAX))


def _payment_row(record: PaymentRecord) -> Row:
    invoice = record.invoice
    failure = None if record.failure is None else record.failure.value
    return (
        record.payment_id,
        invoice.currency,
        str(invoice.total_dest_payment),
        str(record.fee),
        record.stage.value,
        failure,
        record.started_ms,
        record.ended_ms,
        fields.pack_invoice(invoice),
        fields.pack_receipt(record.receipt),
    )


def _payment(row: Row) -> PaymentRecord:
    payment_id, _, _, fee, stage, failure, started_ms, ended_ms, invoice, receipt = row
    return PaymentRecord(
        fields.fixed(PaymentId, payment_id),
        fields.invoice(invoice),
        fields.amount(fee),
        PayStage(stage),
        fields.optional(PayFailure, failure),
        fields.number(started_ms),
        fields.number(ended_ms),
        fields.optional(fields.receipt, receipt),
    )


def _invoice_row(record: InvoiceRecord) -> Row:
    invoice = record.invoice
    return (
        invoice.invoice_id,
        invoice.currency,
        str(invoice.total_dest_payment),
        str(record.received),
        int(record.is_paid),
        record.created_ms,
        record.ended_ms,
        fields.pack_invoice(invoice),
        fields.pack_commit(record.commit),
    )


def _invoice(row: Row) -> InvoiceRecord:
    _, _, _, received, is_paid, created_ms, ended_ms, invoice, commit = row
    return InvoiceRecord(
        fields.invoice(invoice),
        fields.flag(is_paid),
        fields.amount(received),
        fields.number(created_ms),
        fields.number(ended_ms),
        fields.optional(fields.commit, commit),
    )


def _forward_row(record: ForwardRecord) -> Row:
    amounts = (str(record.amount), str(record.fee))
    return (record.currency, record.src, record.dest, *amounts, record.ended_ms)


def _forward(row: Row) -> ForwardRecord:
    currency, src, dest, amount, fee, ended_ms = row
    return ForwardRecord(
        fields.currency(currency),
        fields.fixed(PublicKey, src),
        fields.fixed(PublicKey, dest),
        fields.amount(amount),
        fields.amount(fee),
        fields.number(ended_ms),
    )


def _loss_row(record: LossRecord) -> Row:
    return (record.friend, record.currency, str(record.amount), record.ended_ms)


def _loss(row: Row) -> LossRecord:
    friend, currency, amount, ended_ms = row
    return LossRecord(
        fields.fixed(PublicKey, friend),
        fields.currency(currency),
        fields.amount(amount),
        fields.number(ended_ms),
    )


def _reset_row(record: ResetRecord) -> Row:
    return (record.friend, fields.pack_amounts(record.balances), record.ended_ms)


def _reset(row: Row) -> ResetRecord:
    friend, balances, ended_ms = row
    return ResetRecord(
        fields.fixed(PublicKey, friend), fields.amounts(balances), fields.number(ended_ms)
    )


HISTORIES: Final[Mapping[HistoryKind, HistoryTable]] = {
    HistoryKind.PAYMENTS: HistoryTable(
        "history_payment",
        (
            "payment_id",
            "currency",
            "amount",
            "fee",
            "stage",
            "failure",
            "started_ms",
            "ended_ms",
            "invoice",
            "receipt",
        ),
        _payment_row,
        _payment,
    ),
    HistoryKind.INVOICES: HistoryTable(
        "history_invoice",
        (
            "invoice_id",
            "currency",
            "amount",
            "received",
            "is_paid",
            "created_ms",
            "ended_ms",
            "invoice",
            "signed_commit",
        ),
        _invoice_row,
        _invoice,
    ),
    HistoryKind.FORWARDS: HistoryTable(
        "history_forward",
        ("currency", "src", "dest", "amount", "fee", "ended_ms"),
        _forward_row,
        _forward,
    ),
    HistoryKind.LOSSES: HistoryTable(
        "history_loss", ("friend", "currency", "amount", "ended_ms"), _loss_row, _loss
    ),
    HistoryKind.RESETS: HistoryTable(
        "history_reset", ("friend", "balances", "ended_ms"), _reset_row, _reset
    ),
}
KIND_OF: Final[Mapping[type, HistoryKind]] = {
    PaymentRecord: HistoryKind.PAYMENTS,
    InvoiceRecord: HistoryKind.INVOICES,
    ForwardRecord: HistoryKind.FORWARDS,
    LossRecord: HistoryKind.LOSSES,
    ResetRecord: HistoryKind.RESETS,
}
