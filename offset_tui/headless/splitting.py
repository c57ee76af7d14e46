"""`invoice --split`: one total, the people who share it, and an invoice for each of them.

Source: apps.md §6.11 (RMP-40); issue of the app, "Headless twins".
"""

from offset_engine.client import AddInvoice, Batch, InvoiceTerms
from offset_engine.files import to_text
from offset_engine.programs.arguments import Json, UsageError
from offset_engine.text import EntryError, money_text, safe
from offset_tui import bills, sale_words, state
from offset_tui.bills import Share
from offset_tui.headless.printing import invoice_values, merged
from offset_tui.headless.session import Twin


async def split_bill(twin: Twin) -> None:
    """Make all invoices of a bill, or none; print the text of each below its name.

    Raises:
        UsageError: the shares do not make the total.
    """
    args = twin.args
    digits = twin.digits(args.currency)
    total = twin.amount(args.amount, args.currency, digits, least=1)
    whole = money_text(total, args.currency, digits)
    try:
        people = bills.read_people(args.split, digits)
        shares, own = bills.split(total, people, digits, is_mine_too=args.me)
        abouts = [
            bills.describe(args.description, number, len(shares), whole)
            for number in range(1, len(shares) + 1)
        ]
    except EntryError as problem:
        raise UsageError(f"--split: {problem}") from None
    _warn(twin, sum(one.amount for one in shares), digits)
    await twin.session.use_currency(args.currency, digits)
    invoices = [
        await twin.client.sign_invoice(
            InvoiceTerms(args.currency, share.amount, about, args.expires, digits)
        )
        for share, about in zip(shares, abouts, strict=True)
    ]
    opened = tuple(AddInvoice(one, one.expires * 1000 or None) for one in invoices)
    await twin.client.command(Batch(opened))
    book = twin.session.notebook
    for invoice, share in zip(invoices, shares, strict=True):
        book = book.with_note(invoice.invoice_id.to_text(), share.name)
    await twin.session.save_notebook(book)
    made: list[Json] = [
        merged(
            invoice_values(invoice),
            {"name": share.name, "id": invoice.invoice_id.hex(), "text": to_text(invoice)},
        )
        for invoice, share in zip(invoices, shares, strict=True)
    ]
    texts = [
        f"{_head(twin, share)}:\n{to_text(invoice)}"
        for invoice, share in zip(invoices, shares, strict=True)
    ]
    values: dict[str, Json] = {"total": str(total), "own_share": str(own), "invoices": made}
    twin.output.result(values, "\n\n".join(texts))


def _head(twin: Twin, share: Share) -> str:
    return f"{twin.money(share.amount, twin.args.currency)} from {safe(share.name, 60)}"


def _warn(twin: Twin, asked: int, digits: int) -> None:
    lines = state.all_lines(twin.report, twin.session.notebook)
    most = sale_words.receivable(lines, twin.args.currency)
    words = sale_words.beyond(asked, twin.args.currency, digits, most)
    if words:
        twin.output.note(f"warning: {words}")
