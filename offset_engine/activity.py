"""What happened on a card, merged into one list: paid, got paid, passed on, lost, reset. Pure.

Live payments and open invoices come first from the node's lists, finished ones from its history; a thing that
is in both counts once, as the node holds it now. What did not come off, or has not yet, is of a kind of its own.
Exports are for other programs: amounts moved, as decimal text with the currency's point and as whole credits, times
in ISO 8601 with the offset.

Source: apps.md §5 S6, RMP-08, RMP-33 to RMP-35, RMP-38; design R8, R27.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import tzinfo
from enum import StrEnum
from typing import Final

from offset_engine.core.payer import PayStage
from offset_engine.core.reports import (
    ForwardRecord,
    HistoryEntry,
    InvoiceRecord,
    InvoiceReport,
    LossRecord,
    NodeReport,
    PaymentRecord,
    PayReport,
    ResetRecord,
)
from offset_engine.core.signing import Invoice
from offset_engine.core.values import Currency, InvoiceId, PublicKey, value
from offset_engine.notebook import Notebook
from offset_engine.sentences import failure_sentence
from offset_engine.text import fingerprint, format_amount, iso_offset, safe, skeleton


class Kind(StrEnum):
    """What sort of thing happened."""

    PAYING = "paying"
    PAID = "paid"
    NOT_PAID = "not paid"
    MOVED = "moved"
    """Along a circle of friends back to us: one thing, not a payment and an income."""
    INVOICE = "invoice"
    """Of ours: open, or closed without payment."""
    GOT_PAID = "got paid"
    THROUGH = "passed on"
    LOSS = "lost"
    RESET = "reset"


_OUTGOING: Final = (Kind.PAYING, Kind.PAID, Kind.NOT_PAID, Kind.MOVED)
_INCOMING: Final = (Kind.INVOICE, Kind.GOT_PAID)
_UNMOVED: Final = (Kind.PAYING, Kind.NOT_PAID, Kind.INVOICE)
_UNSIGNED: Final = (Kind.THROUGH, Kind.MOVED)


@value
class Entry:
    """One line of the list."""

    key: str
    """Names it for ever: direction and id."""
    kind: Kind
    when_ms: int
    """UTC ms: when it ended, or when it began if it has not."""
    state: str
    """In words."""
    currency: Currency | None = None
    """None for a reset, which may touch several."""
    amount: int = 0
    """Credits it is about; signed by what it did or would have done to our balances: − for what we pay."""
    fee: int = 0
    """Credits: paid on top by us, or earned by passing on; 0 if the payment failed."""
    counterparty: PublicKey | None = None
    name: str = ""
    """The counterparty as we call it, else the fingerprint, else ""; safe to show."""
    description: str = ""
    """Foreign text; show it through `safe`."""
    note: str = ""
    """Private."""
    reference: str = ""
    """Payment or invoice id in base64; "" where there is none."""
    is_live: bool = False
    """It can still change."""
    needs_owner: bool = False

    @property
    def is_outgoing(self) -> bool:
        """Whether it is a payment of ours, however it ended."""
        return self.kind in _OUTGOING

    @property
    def is_incoming(self) -> bool:
        """Whether it is an invoice of ours, paid or not."""
        return self.kind in _INCOMING

    @property
    def moved(self) -> int:
        """Credits our balances changed by together, without the fee; 0 before and without success."""
        return 0 if self.kind in (*_UNMOVED, Kind.MOVED) else self.amount

    @property
    def is_signed(self) -> bool:
        """Whether the amount is shown with its sign: it made us richer or poorer, or would have."""
        return self.kind not in _UNSIGNED

    @property
    def moved_fee(self) -> int:
        """The fee, once it is paid or earned."""
        return 0 if self.kind in _UNMOVED else self.fee


Names = Mapping[PublicKey, str]

_CLIP_CELLS: Final = 24
_NAME_CELLS: Final = _CLIP_CELLS + 10
"""A clipped name and the fingerprint behind it."""
_LIKE_KEY: Final = re.compile(r"\w{4}(?:[^\w\s]|_)\w{4}[\W_]*$")
"""What may pass for the fingerprint at the end of a name, if it has a digit, which `Jean-Paul` has not."""


def names_of(report: NodeReport) -> dict[PublicKey, str]:
    """What screens call each friend; safe to show, at most `_NAME_CELLS` cells.

    The name, with the key's fingerprint where two names look alike as shown, where a name looks as if it
    ended with a fingerprint itself, or where there is no name.
    """
    shown = {one.public_key: safe(one.name, _CLIP_CELLS).strip() for one in report.friends}
    looks = {
        one.public_key: {skeleton(text) for text in {one.name, shown[one.public_key]}}
        for one in report.friends
    }
    counts = Counter(look for found in looks.values() for look in found)
    named = {
        key: name
        if name and not _ends_like_key(name) and all(counts[look] == 1 for look in looks[key])
        else f"{name} {fingerprint(key)}".strip()
        for key, name in shown.items()
    }
    # What carries a fingerprint now may look like another friend's plain name.
    taken = {skeleton(name) for key, name in named.items() if name != shown[key]}
    return {
        key: f"{name} {fingerprint(key)}" if name == shown[key] and looks[key] & taken else name
        for key, name in named.items()
    }


def _ends_like_key(name: str) -> bool:
    found = _LIKE_KEY.search(name)
    return found is not None and any(character.isdigit() for character in found[0])


def merge(
    pays: Iterable[PayReport],
    invoices: Iterable[InvoiceReport],
    history: Iterable[HistoryEntry],
    names: Names,
    notebook: Notebook,
    own: PublicKey | None = None,
) -> tuple[Entry, ...]:
    """Everything, newest first; with our `own` key a rebalancing is one entry and not two."""
    found: dict[str, Entry] = {}
    rounds: set[InvoiceId] = set()
    for pay in pays:
        entry = _of_pay(pay, names, notebook)
        if entry.counterparty == own:
            entry = _round(entry)
            rounds.add(pay.invoice.invoice_id)
        found[entry.key] = entry
    for invoice in invoices:
        entry = _of_invoice(invoice, notebook)
        found[entry.key] = entry
    for past in history:
        entry = _of_record(past, names, notebook)
        if isinstance(past.record, PaymentRecord) and entry.counterparty == own:
            entry = _round(entry)
            rounds.add(past.record.invoice.invoice_id)
        found.setdefault(entry.key, entry)
    for invoice_id in rounds:
        found.pop(f"in {invoice_id.to_text()}", None)
    return tuple(sorted(found.values(), key=lambda one: (-one.when_ms, one.key)))


def _round(entry: Entry) -> Entry:
    """A payment to ourselves, as what it means."""
    kind = Kind.MOVED if entry.kind is Kind.PAID else entry.kind
    state = "moved" if kind is Kind.MOVED else entry.state
    named = replace(entry, name="a circle of friends", amount=-entry.amount, state=state)
    return replace(
        named, kind=kind, counterparty=None, needs_owner=entry.needs_owner and _asks(entry)
    )


def _asks(entry: Entry) -> bool:
    """A commit of our own is handed over by the node itself; a fee is not agreed to by itself."""
    return entry.state == PAY_STATES[PayStage.FEE_TO_CONFIRM]


def _called(key: PublicKey, names: Names) -> str:
    name = names.get(key, "")
    return safe(name, _NAME_CELLS) if name else fingerprint(key)


PAY_STATES: Final = {
    PayStage.SEARCHING: "searching a route",
    PayStage.FEE_TO_CONFIRM: "fee to confirm",
    PayStage.SENDING: "sending",
    PayStage.COMMITTED: "commit to hand over",
    PayStage.PAID: "paid",
}


def _of_pay(pay: PayReport, names: Names, notebook: Notebook) -> Entry:
    reference = pay.payment_id.to_text()
    is_handed = reference in notebook.handed and pay.stage is PayStage.COMMITTED
    state = (
        failure_sentence(pay.failure)
        if pay.stage is PayStage.FAILED
        else "waits for the receipt"
        if is_handed
        else PAY_STATES[pay.stage]
    )
    return replace(
        _payment(reference, pay.invoice, pay.fee, pay.stage, (names, notebook)),
        state=state,
        when_ms=pay.created_ms if pay.ended_ms is None else pay.ended_ms,
        is_live=pay.ended_ms is None,
        needs_owner=pay.stage is PayStage.FEE_TO_CONFIRM
        or (pay.stage is PayStage.COMMITTED and not is_handed),
    )


def _payment(
    reference: str, invoice: Invoice, fee: int, stage: PayStage, known: tuple[Names, Notebook]
) -> Entry:
    """What all states of a payment share."""
    names, notebook = known
    ended = {PayStage.PAID: Kind.PAID, PayStage.FAILED: Kind.NOT_PAID}
    kind = ended.get(stage, Kind.PAYING)
    return Entry(
        f"out {reference}",
        kind,
        0,
        "",
        invoice.currency,
        -invoice.total_dest_payment,
        0 if kind is Kind.NOT_PAID else fee,
        invoice.dest_public_key,
        _called(invoice.dest_public_key, names),
        invoice.description,
        notebook.note(reference),
        reference,
    )


def _of_invoice(invoice: InvoiceReport, notebook: Notebook) -> Entry:
    reference = invoice.invoice.invoice_id.to_text()
    if invoice.registered is not None:
        state = "on hold: collect or refund"
    elif invoice.is_sealed:
        state = "funds reserved, commit awaited"
    elif invoice.frozen:
        state = "partly reserved"
    else:
        state = "waits to be paid"
    return Entry(
        f"in {reference}",
        Kind.INVOICE,
        invoice.created_ms,
        state,
        invoice.invoice.currency,
        invoice.invoice.total_dest_payment,
        description=invoice.invoice.description,
        note=notebook.note(reference),
        reference=reference,
        is_live=True,
        needs_owner=invoice.registered is not None,
    )


def _of_record(past: HistoryEntry, names: Names, notebook: Notebook) -> Entry:
    record = past.record
    match record:
        case PaymentRecord():
            is_failed = record.stage is not PayStage.PAID
            reference = record.payment_id.to_text()
            stage = PayStage.FAILED if is_failed else PayStage.PAID
            return replace(
                _payment(reference, record.invoice, record.fee, stage, (names, notebook)),
                state=failure_sentence(record.failure) if is_failed else "paid",
                when_ms=record.ended_ms,
            )
        case InvoiceRecord():
            return _sold(record, notebook)
        case ForwardRecord():
            return _through(past.number, record, names)
        case LossRecord():
            return _lost(past.number, record, names)
        case ResetRecord():
            return _reset(past.number, record, names)


def _sold(record: InvoiceRecord, notebook: Notebook) -> Entry:
    reference = record.invoice.invoice_id.to_text()
    return Entry(
        f"in {reference}",
        Kind.GOT_PAID if record.is_paid else Kind.INVOICE,
        record.ended_ms,
        "collected" if record.is_paid else "closed without payment",
        record.invoice.currency,
        record.received if record.is_paid else record.invoice.total_dest_payment,
        description=record.invoice.description,
        note=notebook.note(reference),
        reference=reference,
    )


def _through(number: int, record: ForwardRecord, names: Names) -> Entry:
    return Entry(
        f"through {number}",
        Kind.THROUGH,
        record.ended_ms,
        "earned",
        record.currency,
        record.amount,
        record.fee,
        record.src,
        f"{_called(record.src, names)} to {_called(record.dest, names)}",
    )


def _lost(number: int, record: LossRecord, names: Names) -> Entry:
    return Entry(
        f"loss {number}",
        Kind.LOSS,
        record.ended_ms,
        "the channel it came through is gone",
        record.currency,
        -record.amount,
        counterparty=record.friend,
        name=_called(record.friend, names),
    )


def _reset(number: int, record: ResetRecord, names: Names) -> Entry:
    return Entry(
        f"reset {number}",
        Kind.RESET,
        record.ended_ms,
        "balances agreed anew",
        counterparty=record.friend,
        name=_called(record.friend, names),
    )


def matching(entries: Iterable[Entry], words: str) -> tuple[Entry, ...]:
    """Entries that contain every word typed, in whatever field, capitals or not."""
    wanted = words.casefold().split()
    return tuple(
        one
        for one in entries
        if all(
            word
            in f"{one.kind} {one.state} {one.currency or ''} {one.name} {one.description} {one.note}".casefold()
            for word in wanted
        )
    )


# --- exports ------------------------------------------------------------------------------------

COLUMNS: Final = (
    "time",
    "kind",
    "state",
    "currency",
    "amount",
    "fee",
    "credits",
    "fee_credits",
    "asked_credits",
    "counterparty",
    "name",
    "description",
    "note",
    "id",
)
Decimals = Callable[[Currency], int]


def rows(
    entries: Iterable[Entry], decimals: Decimals, zone: tzinfo | None = None
) -> list[dict[str, str]]:
    """One dictionary per entry, every value text, keys as `COLUMNS`.

    Amount and fee are what was moved, so that they may be added up; `asked_credits` is what it is about.
    """
    return [_export(one, decimals, zone) for one in entries]


def _export(entry: Entry, decimals: Decimals, zone: tzinfo | None) -> dict[str, str]:
    digits = 0 if entry.currency is None else decimals(entry.currency)
    return {
        "time": iso_offset(entry.when_ms, zone),
        "kind": entry.kind.value,
        "state": entry.state,
        "currency": entry.currency or "",
        "amount": format_amount(entry.moved, digits, group="", ascii_only=True),
        "fee": format_amount(entry.moved_fee, digits, group="", ascii_only=True),
        "credits": str(entry.moved),
        "fee_credits": str(entry.moved_fee),
        "asked_credits": str(entry.amount),
        "counterparty": "" if entry.counterparty is None else entry.counterparty.to_text(),
        "name": entry.name,
        "description": entry.description,
        "note": entry.note,
        "id": entry.reference,
    }


def to_csv(exported: Iterable[Mapping[str, str]]) -> str:
    """CSV with a header; text that a spreadsheet would take for a formula is quoted with an apostrophe."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in exported:
        writer.writerow({key: _harmless(key, text) for key, text in row.items()})
    return out.getvalue()


_FOREIGN: Final = ("name", "description", "note")


def _harmless(column: str, text: str) -> str:
    if column in _FOREIGN and text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + text
    return text


def to_json(exported: Iterable[Mapping[str, str]]) -> str:
    """A JSON list of the rows."""
    return json.dumps([dict(row) for row in exported], ensure_ascii=False, indent=2) + "\n"
