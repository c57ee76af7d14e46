"""Proofs in words: receipts, signed balances, and the page that goes with a receipt. Pure.

Source: apps.md §7.4, §5 S11; design R1, R2.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from offset_engine.client import Invoice, InvoiceRecord, NodeReport, PublicKey, Receipt
from offset_engine.files import (
    PREFIX_SENTENCES,
    Token,
    verify_receipt,
    verify_token,
)
from offset_engine.text import (
    balance_text,
    fingerprint,
    iso_local,
    iso_offset,
    money_text,
    quoted,
    safe,
)
from offset_tui.money_words import who

PAGE_COLUMNS: Final = 72


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of checking a proof."""

    is_good: bool
    title: str
    because: str


def judge_receipt(receipt: Receipt, invoice: Invoice | None) -> Proof:
    """What a receipt proves."""
    if invoice is None:
        return Proof(
            False,
            "Cannot be checked without its invoice",
            "This card knows no such invoice. Paste the invoice the receipt came with.",
        )
    verdict = verify_receipt(invoice, receipt)
    if verdict.failed is not None:
        return Proof(
            False, f"Not good: {verdict.failed.value}", "It does not prove that anything was paid."
        )
    how = "" if verdict.prefix is None else f" It is {PREFIX_SENTENCES[verdict.prefix]}."
    if not verdict.is_complete:
        return Proof(
            True,
            "Good: the seller was paid this part",
            f"Whether the rest was paid as well is not stated.{how}",
        )
    return Proof(
        True,
        "Good: the seller has collected",
        f"It proves to anybody that the invoice was paid, not by whom.{how}",
    )


def judge_token(token: Token, report: NodeReport) -> Proof:
    """What signed balances prove, as this card's node sees it."""
    info = token.info
    known = {one.public_key: one for one in report.friends}
    friend = known.get(info.local_public_key)
    is_about_us = info.remote_public_key == report.local_public_key
    verdict = verify_token(token)
    if verdict.failed is not None or verdict.form is None:
        return Proof(
            False,
            "Not good: the signature does not fit",
            "Something in it was changed, or somebody else signed it.",
        )
    how = f" It is {verdict.form.value}."
    if not is_about_us or friend is None:
        return Proof(
            True,
            "Good, but not between you and a friend of yours",
            f"Its signer acknowledged these balances with somebody else.{how}",
        )
    held = friend.last_incoming
    mine = (info.inconsistency_counter, info.move_token_counter)
    if held is not None and mine < (
        held.token_info.inconsistency_counter,
        held.token_info.move_token_counter,
    ):
        return Proof(
            True,
            "Good, but older than what your card holds",
            f"Your friend has signed newer balances since.{how}",
        )
    return Proof(True, "Good: your friend acknowledges these balances", how.strip())


def token_rows(
    token: Token, report: NodeReport, decimals: Iterable[tuple[str, int]]
) -> tuple[tuple[str, str], ...]:
    """Signer, whom it is about, and every balance; from our side where it is about us.

    Args:
        token: what was signed.
        report: whose friends are known.
        decimals: digits after the point per currency of this card.
    """
    info = token.info
    places = dict(decimals)
    is_ours = info.remote_public_key == report.local_public_key
    rows = [
        ("Signed by", who(report, info.local_public_key)),
        ("About", "you" if is_ours else fingerprint(info.remote_public_key)),
    ]
    for currency, balance in info.balances:
        digits = places.get(currency, 2)
        # The signer's side: what is plus there is minus here.
        shown = (
            balance_text(-balance.balance, digits)
            if is_ours
            else money_text(balance.balance, "", digits, sign=True).strip() + " for the signer"
        )
        rows.append((safe(currency), shown))
    rows.append(("Number", f"{info.inconsistency_counter}.{info.move_token_counter}"))
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class Paid:
    """What the page beside a receipt tells."""

    invoice: Invoice
    receipt: Receipt
    decimals: int
    fee: int | None
    """None on the seller's side."""
    ended_ms: int | None
    seller: str
    """As the reader calls them, "" if they have no name for them; foreign text."""


def page(paid: Paid) -> str:
    """One page of plain text to keep or print with a receipt and its invoice."""
    invoice, digits = paid.invoice, paid.decimals
    amount = money_text(invoice.total_dest_payment, invoice.currency, digits, ascii_only=True)
    rows = [
        ("amount", f"{amount} ({invoice.total_dest_payment} credits)"),
        ("seller", safe(paid.seller, 60) if paid.seller else fingerprint(invoice.dest_public_key)),
        ("seller's key", invoice.dest_public_key.to_text()),
    ]
    if invoice.description:
        rows.append(("for", quoted(invoice.description)))
    if paid.fee is not None:
        fee = money_text(paid.fee, invoice.currency, digits, ascii_only=True)
        rows.append(("fee on top", fee))
    if paid.ended_ms is not None:
        rows.append(("paid", iso_offset(paid.ended_ms)))
    if invoice.created:
        rows.append(("invoice of", iso_local(invoice.created * 1000)))
    rows.append(("invoice id", invoice.invoice_id.to_text()))
    proof = judge_receipt(paid.receipt, invoice)
    lines = ["RECEIPT", "=" * PAGE_COLUMNS, ""]
    lines += [f"{name:<14}{text}" for name, text in rows]
    lines += [
        "",
        f"{proof.title}.",
        *_wrapped(proof.because),
        "",
        "Anybody can check it with the two files beside this page:",
        "  stverify verify-receipt --invoice FILE.invoice --receipt FILE.receipt",
        "This page itself proves nothing.",
        "",
    ]
    return "\n".join(lines)


def sold_page(sold: InvoiceRecord, decimals: int) -> str:
    """The same for the seller: what was collected, beside the invoice and its commit."""
    invoice = sold.invoice
    rows = (
        ("amount", money_text(invoice.total_dest_payment, invoice.currency, decimals)),
        ("received", money_text(sold.received, invoice.currency, decimals)),
        ("for", quoted(invoice.description)),
        ("collected", iso_offset(sold.ended_ms)),
        ("invoice id", invoice.invoice_id.to_text()),
    )
    lines = ["SOLD", "=" * PAGE_COLUMNS, "", *(f"{name:<14}{text}" for name, text in rows), ""]
    note = "The commit beside this page carries your own card's signature; this checks it:"
    check = "  stverify verify-commit --invoice FILE.invoice --commit FILE.commit"
    return "\n".join([*lines, note, check, ""])


def _wrapped(text: str) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > PAGE_COLUMNS:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line] if line else lines


def seller_name(report: NodeReport, key: PublicKey) -> str:
    """What a friend is called; "" for others."""
    return next((one.name for one in report.friends if one.public_key == key), "")
