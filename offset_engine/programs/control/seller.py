"""`stctrl seller`: makes invoices and collects what was paid for them."""

from offset_engine.client import InvoiceTerms
from offset_engine.core.api import AddInvoice, CancelInvoice, CommitInvoice
from offset_engine.core.reports import InvoiceRecord, InvoiceReport
from offset_engine.core.signing import Invoice
from offset_engine.core.values import DESCRIPTION_BYTES_MAX, is_text
from offset_engine.errors import FileError
from offset_engine.files import load_commit, load_invoice, verify_commit, write_invoice
from offset_engine.programs.control.amounts import add_amount, add_units
from offset_engine.programs.control.session import (
    Group,
    NotPossibleError,
    RefusedByNodeError,
    Session,
    add_currency,
    add_file,
    add_style,
    drop_file,
    need_new,
)
from offset_engine.programs.control.showing import invoice_values


def add_commands(group: Group) -> None:
    """Add the subcommands."""
    create = group.add("create-invoice", "Make an invoice to hand to a buyer.", _create)
    add_currency(create)
    add_amount(create, "-a", "--amount", what="what is asked for, in credits")
    add_units(create, "amount", least=1)
    add_style(create)
    add_file(create, "-i", "--invoice", "the invoice to write")
    create.add_argument("-d", "--description", default="", metavar="TEXT", help="what it is for")
    cancel = group.add("cancel-invoice", "Refund and close an invoice.", _cancel)
    add_file(cancel, "-i", "--invoice", "the invoice; the file is deleted")
    commit = group.add("commit-invoice", "Check a buyer's commit and collect.", _commit)
    add_file(commit, "-i", "--invoice", "the invoice")
    add_file(commit, "-c", "--commit", "the buyer's commit")


async def _create(session: Session) -> None:
    args = session.args
    need_new(args.invoice)
    if not is_text(args.description, DESCRIPTION_BYTES_MAX):
        raise NotPossibleError(f"a description has at most {DESCRIPTION_BYTES_MAX} bytes")
    terms = InvoiceTerms(
        args.currency, args.amount, args.description, lasts_s=None, decimals=args.units
    )
    invoice = await session.client.sign_invoice(terms)
    # An invoice nobody holds would stay open for ever, so the file comes first.
    write_invoice(args.invoice, invoice, style=session.style)
    try:
        await session.do(AddInvoice(invoice))
    except RefusedByNodeError:
        drop_file(args.invoice)
        raise
    session.output.result({**invoice_values(invoice), "output": args.invoice})


async def _cancel(session: Session) -> None:
    invoice = _own_invoice(session)
    known = await _known(session, invoice)
    if isinstance(known, InvoiceRecord):
        how = "paid" if known.is_paid else "canceled"
        raise NotPossibleError(f"the invoice is {how} already; nothing was changed")
    await session.do(CancelInvoice(invoice.invoice_id))
    drop_file(session.args.invoice)
    session.output.result(invoice_values(invoice))


async def _commit(session: Session) -> None:
    invoice = _own_invoice(session)
    commit = load_commit(session.args.commit)
    verdict = verify_commit(invoice, commit)
    if verdict.failed is not None:
        raise NotPossibleError(f"the commit is not valid: {verdict.failed.value}")
    known = await _known(session, invoice)
    if isinstance(known, InvoiceRecord) and not known.is_paid:
        raise NotPossibleError("the invoice was canceled or has expired: nothing can be collected")
    await session.do(CommitInvoice(commit))
    session.output.result(invoice_values(invoice), "Collected: the payment is complete")


def _own_invoice(session: Session) -> Invoice:
    path = session.args.invoice
    invoice = load_invoice(path)
    if invoice.dest_public_key != session.client.node:
        raise FileError(f"{path}: this invoice is another node's")
    return invoice


async def _known(session: Session, invoice: Invoice) -> InvoiceReport | InvoiceRecord:
    """The node's own word on an invoice; a file that says something else is not obeyed."""
    known = await session.client.invoice_report(invoice.invoice_id)
    if known is None:
        raise NotPossibleError("the node has no such invoice")
    ours = known.invoice
    if (ours.currency, ours.total_dest_payment) != (invoice.currency, invoice.total_dest_payment):
        raise NotPossibleError(
            "the invoice was changed: the node made it for another sum or currency"
        )
    return known
