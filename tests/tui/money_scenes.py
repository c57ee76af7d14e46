"""Invoices, payments, commits and receipts of the scenes' people, signed for real."""

from dataclasses import replace

from offset_engine.client import (
    Commit,
    Currency,
    HistoryEntry,
    HistoryKind,
    Invoice,
    InvoiceId,
    InvoiceRecord,
    InvoiceReport,
    PartReport,
    PayFailure,
    PaymentId,
    PaymentRecord,
    PayReport,
    PayStage,
    Receipt,
)
from offset_engine.core.crypto import expand_seed, hash_lock, sha512_256, sign
from offset_engine.core.signing import (
    ResponseTerms,
    invoice_buffer,
    response_buffer,
    response_hash,
)
from offset_engine.core.values import PlainLock, RandValue, Signature, Uid
from tests.tui.scenes import NOW_MS, OUSD, FakeClient, FakeDoor, key, seed

HOUR_S = 3_600
HOSTILE = (
    "\x1b]52;c;aGk=\x07 [/] [@click=app.bell]x[/] \u202eevil\u2066 中文字符 " + "é" * 3 + "x" * 400
)
"""Markup, an escape sequence, right-to-left, wide letters, and far too long."""


def invoice(
    amount: int = 4_00,
    description: str = "2 chocolate bars",
    seller: str = "Bob",
    *,
    currency: Currency = OUSD,
    decimals: int = 2,
    expires: int = NOW_MS // 1000 + 23 * HOUR_S,
    number: int = 1,
    is_signed: bool = True,
) -> Invoice:
    """What a seller asks for."""
    made = Invoice(
        InvoiceId(sha512_256(f"invoice {seller} {number}".encode())),
        currency,
        key(seller),
        amount,
        description,
        NOW_MS // 1000 - HOUR_S,
        expires,
        decimals,
    )
    return (
        replace(made, signature=sign(expand_seed(seed(seller)), invoice_buffer(made)))
        if is_signed
        else made
    )


def payment_id(number: int = 1) -> PaymentId:
    """The same for the same number."""
    return PaymentId(sha512_256(f"payment {number}".encode())[:16])


_NONCE = RandValue(bytes(16))
_SRC, _DEST = PlainLock(b"\x01" * 32), PlainLock(b"\x02" * 32)


def _terms(asked: Invoice) -> ResponseTerms:
    return ResponseTerms(
        response_hash(Uid(bytes(16)), _NONCE),
        hash_lock(_SRC),
        hash_lock(_DEST),
        True,
        asked.total_dest_payment,
        asked.total_dest_payment,
        asked.invoice_id,
        asked.currency,
    )


def _signature(asked: Invoice, seller: str) -> Signature:
    return sign(expand_seed(seed(seller)), response_buffer(_terms(asked)))


def commit(asked: Invoice, seller: str = "Eve") -> Commit:
    """A good commit for an invoice of this seller."""
    terms = _terms(asked)
    return Commit(
        terms.response_hash,
        _SRC,
        terms.dest_hashed_lock,
        terms.dest_payment,
        terms.total_dest_payment,
        asked.invoice_id,
        asked.currency,
        _signature(asked, seller),
    )


def receipt(asked: Invoice, seller: str = "Bob") -> Receipt:
    """A good receipt for an invoice of this seller."""
    terms = _terms(asked)
    return Receipt(
        terms.response_hash,
        asked.invoice_id,
        asked.currency,
        _SRC,
        _DEST,
        True,
        terms.dest_payment,
        terms.total_dest_payment,
        _signature(asked, seller),
    )


def pay(
    stage: PayStage,
    asked: Invoice | None = None,
    *,
    failure: PayFailure | None = None,
    fee: int = 0,
    parts: int = 0,
    number: int = 1,
    ago_s: int = 12,
    has_commit: bool | None = None,
    ways: tuple[PartReport, ...] = (),
) -> PayReport:
    """A payment at a stage."""
    asked = asked or invoice()
    is_over = stage in (PayStage.PAID, PayStage.FAILED)
    shows = stage in (PayStage.COMMITTED, PayStage.PAID) if has_commit is None else has_commit
    return PayReport(
        payment_id(number),
        asked,
        stage,
        failure,
        1_04,
        fee,
        parts,
        stage is PayStage.FAILED and failure is not PayFailure.UNKNOWN,
        commit(asked, "Bob") if shows else None,
        receipt(asked) if stage is PayStage.PAID else None,
        NOW_MS - ago_s * 1000,
        NOW_MS - 2_000 if is_over else None,
        ways,
    )


def failed(failure: PayFailure) -> PayReport:
    """A failed payment."""
    has_parts = failure in (PayFailure.REFUSED, PayFailure.STUCK)
    return pay(
        PayStage.FAILED,
        failure=failure,
        fee=2 if has_parts else 0,
        parts=1 if has_parts else 0,
        has_commit=failure is PayFailure.UNKNOWN,
    )


def sale(
    asked: Invoice | None = None,
    *,
    frozen: int = 0,
    is_sealed: bool = False,
    registered: Commit | None = None,
) -> InvoiceReport:
    """An open invoice of Eve, whose card is shown."""
    asked = asked or invoice(seller="Eve")
    expires_ms = asked.expires * 1000 if asked.expires else None
    return InvoiceReport(asked, NOW_MS - 3_600_000, expires_ms, frozen, is_sealed, registered)


def reserved(asked: Invoice | None = None) -> InvoiceReport:
    """The same with everything reserved."""
    asked = asked or invoice(seller="Eve")
    return sale(asked, frozen=asked.total_dest_payment, is_sealed=True)


def sold(asked: Invoice, *, is_paid: bool = True, proof: Commit | None = None) -> InvoiceRecord:
    """A finished invoice."""
    received = asked.total_dest_payment if is_paid else 0
    return InvoiceRecord(asked, is_paid, received, NOW_MS - 7_200_000, NOW_MS - 60_000, proof)


def paid_record(asked: Invoice, number: int = 1, ago_s: int = 60) -> PaymentRecord:
    """A payment in history."""
    return PaymentRecord(
        payment_id(number),
        asked,
        2,
        PayStage.PAID,
        None,
        NOW_MS - ago_s * 1000 - 5_000,
        NOW_MS - ago_s * 1000,
        receipt(asked),
    )


def door(*pays: PayReport, sales: tuple[InvoiceReport, ...] = ()) -> FakeDoor:
    """Eve's card with these."""
    client = FakeClient()
    client.pay_list.extend(pays)
    client.invoice_list.extend(sales)
    return FakeDoor(client)


def with_history(shown: FakeDoor, *records: PaymentRecord | InvoiceRecord) -> FakeDoor:
    """The same, with a past."""
    for kind, wanted in (
        (HistoryKind.PAYMENTS, PaymentRecord),
        (HistoryKind.INVOICES, InvoiceRecord),
    ):
        found = [one for one in records if isinstance(one, wanted)]
        shown.client.past[kind] = [HistoryEntry(at + 1, one) for at, one in enumerate(found)]
    return shown
