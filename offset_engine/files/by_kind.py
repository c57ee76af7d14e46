"""The kinds programs use most, one function each; `documents` does the work."""

from pathlib import Path

from offset_engine.core.signing import Commit, Invoice, Receipt
from offset_engine.files.artifacts import Role, Ticket
from offset_engine.files.documents import load, parse, write
from offset_engine.files.json_forms import to_json
from offset_engine.json_fields import Style


def parse_ticket(text: str, role: Role = Role.ANY) -> Ticket:
    """Read a node's, relay's or index server's ticket.

    Raises:
        FileError: it is none, or its key belongs to nobody.
    """
    return parse(text, Ticket, role)


def load_ticket(path: Path | str, role: Role = Role.ANY) -> Ticket:
    """Read a node's, relay's or index server's ticket from a file.

    Raises:
        FileError: as `parse_ticket`, or it cannot be read.
    """
    return load(path, Ticket, role)


def write_ticket(
    path: Path | str, ticket: Ticket, *, style: Style = Style.MOBILE, force: bool = False
) -> None:
    """Write a ticket; a node's, a relay's and an index server's look alike.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    write(path, ticket, style=style, force=force)


def parse_invoice(text: str) -> Invoice:
    """Read an invoice; `destPayment` is the total.

    Raises:
        FileError: it is none, or it is signed and the signature does not fit.
    """
    return parse(text, Invoice)


def invoice_json(invoice: Invoice, style: Style = Style.MOBILE) -> str:
    """The text of an invoice file; fields of ours only where they say something."""
    return to_json(invoice, style)


def load_invoice(path: Path | str) -> Invoice:
    """Read an invoice from a file.

    Raises:
        FileError: as `parse_invoice`, or it cannot be read.
    """
    return load(path, Invoice)


def write_invoice(
    path: Path | str, invoice: Invoice, *, style: Style = Style.MOBILE, force: bool = False
) -> None:
    """Write an invoice.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    write(path, invoice, style=style, force=force)


def parse_commit(text: str) -> Commit:
    """Read a commit; nothing is proven before `verify_commit`.

    Raises:
        FileError: it is none.
    """
    return parse(text, Commit)


def commit_json(commit: Commit, style: Style = Style.MOBILE) -> str:
    """The text of a commit file."""
    return to_json(commit, style)


def load_commit(path: Path | str) -> Commit:
    """Read a commit from a file.

    Raises:
        FileError: as `parse_commit`, or it cannot be read.
    """
    return load(path, Commit)


def write_commit(
    path: Path | str, commit: Commit, *, style: Style = Style.MOBILE, force: bool = False
) -> None:
    """Write a commit only its owner can read.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    write(path, commit, style=style, force=force)


def parse_receipt(text: str) -> Receipt:
    """Read a receipt; nothing is proven before `verify_receipt`.

    Raises:
        FileError: it is none.
    """
    return parse(text, Receipt)


def receipt_json(receipt: Receipt, style: Style = Style.MOBILE) -> str:
    """The text of a receipt file."""
    return to_json(receipt, style)


def load_receipt(path: Path | str) -> Receipt:
    """Read a receipt from a file.

    Raises:
        FileError: as `parse_receipt`, or it cannot be read.
    """
    return load(path, Receipt)


def write_receipt(
    path: Path | str, receipt: Receipt, *, style: Style = Style.MOBILE, force: bool = False
) -> None:
    """Write a receipt.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    write(path, receipt, style=style, force=force)
