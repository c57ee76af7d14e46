"""Artifacts in files: identities, tickets, invoices, commits and receipts, and what they prove.

How JSON is read and written is `json_fields`' business, how files are is `disk`'s. Addresses and
currencies are kept as they stand, up to their length (design R4); whether they can be dialled or used
is decided where that happens. Amounts may be as large as the original allowed (128 bits); a node
refuses what is beyond its own range.

Source: apps.md §1 and §7, design R1, R2, R4; offset-docs "Offset files".
"""

import enum
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from offset_engine.core.crypto import is_valid_identity, verify
from offset_engine.core.signing import (
    DECIMALS_NONE,
    RESPONSE_PREFIX,
    RESPONSE_PREFIX_2020,
    Commit,
    Invoice,
    Receipt,
    ResponseTerms,
    commit_terms,
    invoice_buffer,
    receipt_terms,
    response_buffer,
)
from offset_engine.core.values import (
    DESCRIPTION_BYTES_MAX,
    U64_MAX,
    U128_MAX,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PrivateKey,
    PublicKey,
    Signature,
    value,
)
from offset_engine.disk import read_file, write_file
from offset_engine.errors import FileError
from offset_engine.json_fields import Fields, Kind, Style, pretty

_T = TypeVar("_T")


@value
class Ticket:
    """A node's, relay's or index server's key and where it listens, exactly as the file says it."""

    public_key: PublicKey
    address: str
    """At most 256 bytes; not checked to be something one can dial."""


def _load(path: Path | str, parse: Callable[[str], _T]) -> _T:
    text = read_file(path)
    try:
        return parse(text)
    except FileError as error:
        raise FileError(f"{path}: {error}") from None


# --- identity -----------------------------------------------------------------------------------


def load_identity(path: Path | str) -> PrivateKey:
    """Read an `.ident` file.

    Raises:
        FileError: it cannot be read or is no identity.
    """
    return _load(
        path, lambda text: Fields.read(text, Kind.IDENTITY).fixed("privateKey", PrivateKey)
    )


def write_identity(path: Path | str, private_key: PrivateKey, *, force: bool = False) -> None:
    """Write an `.ident` file only its owner can read.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    text = pretty({"privateKey": private_key.to_text()}, Style.MOBILE)
    write_file(path, text, secret=True, force=force)


# --- tickets ------------------------------------------------------------------------------------


def parse_ticket(text: str) -> Ticket:
    """Read a node, relay or index ticket.

    Raises:
        FileError: it is none, or its key belongs to nobody.
    """
    fields = Fields.read(text, Kind.TICKET)
    public_key = fields.fixed("publicKey", PublicKey)
    if not is_valid_identity(public_key):
        raise FileError('field "publicKey" is not a usable key: nobody can have it')
    return Ticket(public_key, fields.address("address"))


def load_ticket(path: Path | str) -> Ticket:
    """Read a node, relay or index ticket from a file.

    Raises:
        FileError: as `parse_ticket`, or it cannot be read.
    """
    return _load(path, parse_ticket)


def write_ticket(
    path: Path | str, ticket: Ticket, *, style: Style = Style.MOBILE, force: bool = False
) -> None:
    """Write a node, relay or index ticket; they look alike.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    values = {"publicKey": ticket.public_key.to_text(), "address": ticket.address}
    write_file(path, pretty(values, style), force=force)


# --- invoice, commit, receipt -------------------------------------------------------------------


def parse_invoice(text: str) -> Invoice:
    """Read an invoice; `destPayment` is the total.

    Raises:
        FileError: it is none, or it is signed and the signature does not fit.
    """
    fields = Fields.read(text, Kind.INVOICE)
    invoice = Invoice(
        invoice_id=fields.fixed("invoiceId", InvoiceId),
        currency=fields.currency("currency"),
        dest_public_key=fields.fixed("destPublicKey", PublicKey),
        total_dest_payment=fields.number("destPayment", U128_MAX),
        description=fields.text("description", DESCRIPTION_BYTES_MAX, default=""),
        created=fields.number("created", U64_MAX, default=0),
        expires=fields.number("expires", U64_MAX, default=0),
        decimals=fields.number("decimals", DECIMALS_NONE, default=DECIMALS_NONE),
        signature=fields.fixed("sig", Signature) if fields.has("sig") else None,
    )
    if invoice.signature is not None and not verify(
        invoice.dest_public_key, invoice_buffer(invoice), invoice.signature
    ):
        raise FileError(
            "the seller's signature does not fit this invoice: something in it was changed; "
            "ask the seller for it again"
        )
    return invoice


def invoice_json(invoice: Invoice, style: Style = Style.MOBILE) -> str:
    """The text of an invoice file; fields of ours only where they say something."""
    values: dict[str, str | int | bool] = {
        "invoiceId": invoice.invoice_id.to_text(),
        "currency": invoice.currency,
        "destPublicKey": invoice.dest_public_key.to_text(),
        "destPayment": str(invoice.total_dest_payment),
        "description": invoice.description,
    }
    if invoice.created:
        values["created"] = invoice.created
    if invoice.expires:
        values["expires"] = invoice.expires
    if invoice.decimals != DECIMALS_NONE:
        values["decimals"] = invoice.decimals
    if invoice.signature is not None:
        values["sig"] = invoice.signature.to_text()
    return pretty(values, style)


def load_invoice(path: Path | str) -> Invoice:
    """Read an invoice from a file.

    Raises:
        FileError: as `parse_invoice`, or it cannot be read.
    """
    return _load(path, parse_invoice)


def write_invoice(
    path: Path | str, invoice: Invoice, *, style: Style = Style.MOBILE, force: bool = False
) -> None:
    """Write an invoice.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    write_file(path, invoice_json(invoice, style), force=force)


def parse_commit(text: str) -> Commit:
    """Read a commit; nothing is proven before `verify_commit`.

    Raises:
        FileError: it is none.
    """
    fields = Fields.read(text, Kind.COMMIT)
    return Commit(
        response_hash=fields.fixed("responseHash", HashResult),
        src_plain_lock=fields.fixed("srcPlainLock", PlainLock),
        dest_hashed_lock=fields.fixed("destHashedLock", HashedLock),
        dest_payment=fields.number("destPayment", U128_MAX),
        total_dest_payment=fields.number("totalDestPayment", U128_MAX),
        invoice_id=fields.fixed("invoiceId", InvoiceId),
        currency=fields.currency("currency"),
        signature=fields.fixed("signature", Signature),
    )


def commit_json(commit: Commit, style: Style = Style.MOBILE) -> str:
    """The text of a commit file."""
    return pretty(
        {
            "responseHash": commit.response_hash.to_text(),
            "srcPlainLock": commit.src_plain_lock.to_text(),
            "destHashedLock": commit.dest_hashed_lock.to_text(),
            "destPayment": str(commit.dest_payment),
            "totalDestPayment": str(commit.total_dest_payment),
            "invoiceId": commit.invoice_id.to_text(),
            "currency": commit.currency,
            "signature": commit.signature.to_text(),
        },
        style,
    )


def load_commit(path: Path | str) -> Commit:
    """Read a commit from a file.

    Raises:
        FileError: as `parse_commit`, or it cannot be read.
    """
    return _load(path, parse_commit)


def write_commit(
    path: Path | str, commit: Commit, *, style: Style = Style.MOBILE, force: bool = False
) -> None:
    """Write a commit only its owner can read: whoever holds it can have the seller collect.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    write_file(path, commit_json(commit, style), secret=True, force=force)


def parse_receipt(text: str) -> Receipt:
    """Read a receipt; nothing is proven before `verify_receipt`.

    Raises:
        FileError: it is none.
    """
    fields = Fields.read(text, Kind.RECEIPT)
    return Receipt(
        response_hash=fields.fixed("responseHash", HashResult),
        invoice_id=fields.fixed("invoiceId", InvoiceId),
        currency=fields.currency("currency"),
        src_plain_lock=fields.fixed("srcPlainLock", PlainLock),
        dest_plain_lock=fields.fixed("destPlainLock", PlainLock),
        is_complete=fields.flag("isComplete"),
        dest_payment=fields.number("destPayment", U128_MAX),
        total_dest_payment=fields.number("totalDestPayment", U128_MAX),
        signature=fields.fixed("signature", Signature),
    )


def receipt_json(receipt: Receipt, style: Style = Style.MOBILE) -> str:
    """The text of a receipt file."""
    return pretty(
        {
            "responseHash": receipt.response_hash.to_text(),
            "invoiceId": receipt.invoice_id.to_text(),
            "currency": receipt.currency,
            "srcPlainLock": receipt.src_plain_lock.to_text(),
            "destPlainLock": receipt.dest_plain_lock.to_text(),
            "isComplete": receipt.is_complete,
            "destPayment": str(receipt.dest_payment),
            "totalDestPayment": str(receipt.total_dest_payment),
            "signature": receipt.signature.to_text(),
        },
        style,
    )


def load_receipt(path: Path | str) -> Receipt:
    """Read a receipt from a file.

    Raises:
        FileError: as `parse_receipt`, or it cannot be read.
    """
    return _load(path, parse_receipt)


def write_receipt(
    path: Path | str, receipt: Receipt, *, style: Style = Style.MOBILE, force: bool = False
) -> None:
    """Write a receipt.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    write_file(path, receipt_json(receipt, style), force=force)


# --- what a commit or receipt proves ------------------------------------------------------------


class Check(enum.StrEnum):
    """The steps of a verification, in order; the first that fails names the result."""

    INVOICE_ID = "it belongs to another invoice"
    CURRENCY = "its currency is not the invoice's"
    TOTAL = "its total is not the invoice's amount"
    PART = "the part is larger than the total"
    SIGNATURE = "the seller's signature does not fit: something was changed, or another node signed"


@value
class Verdict:
    """What came of checking a commit or receipt against its invoice."""

    failed: Check | None
    """The first check that failed; None: valid."""
    prefix: str | None = None
    """What the signed bytes begin with: `FUNDS_RESPONSE` (documented, ours) or `FUND_RESPONSE` (2020)."""
    is_complete: bool = True
    """False in a valid receipt: the seller was paid this part, completeness is not stated."""

    @property
    def is_valid(self) -> bool:
        """Every check holds."""
        return self.failed is None


def verify_commit(invoice: Invoice, commit: Commit) -> Verdict:
    """Check a commit: the seller's node had everything reserved, and the holder knows the secret.

    It does not show that the reservation still exists, nor that it was not collected already.
    """
    return _verify(invoice, commit_terms(commit), commit.signature)


def verify_receipt(invoice: Invoice, receipt: Receipt) -> Verdict:
    """Check a receipt: the seller collected; it proves the payment to anybody, not who paid."""
    return _verify(invoice, receipt_terms(receipt), receipt.signature)


def _verify(invoice: Invoice, terms: ResponseTerms, signature: Signature) -> Verdict:
    if terms.invoice_id != invoice.invoice_id:
        return Verdict(Check.INVOICE_ID)
    if terms.currency != invoice.currency:
        return Verdict(Check.CURRENCY)
    if terms.total_dest_payment != invoice.total_dest_payment:
        return Verdict(Check.TOTAL)
    if terms.dest_payment > terms.total_dest_payment:
        return Verdict(Check.PART)
    for prefix in (RESPONSE_PREFIX, RESPONSE_PREFIX_2020):
        if verify(invoice.dest_public_key, response_buffer(terms, prefix), signature):
            return Verdict(None, prefix, terms.is_complete)
    return Verdict(Check.SIGNATURE)
