"""`stctrl buyer`: pays invoices.

The node drives a payment; this program only looks. The payment handle is on disk before the payment
begins, so whatever happens to the program, commit and receipt can be fetched with it later.
"""

import os
from contextlib import aclosing

import anyio

from offset_engine.client import CommandFault, HistoryKind
from offset_engine.core.api import CancelPay, ConfirmFee, ForgetPay, Pay
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.reports import HISTORY_PAGE_MAX, PaymentRecord, PayReport
from offset_engine.core.signing import Commit, Invoice
from offset_engine.core.values import CREDITS_MAX, PaymentId
from offset_engine.errors import FileError
from offset_engine.files import (
    PaymentHandle,
    load,
    load_invoice,
    verify_commit,
    verify_receipt,
    write,
    write_commit,
    write_receipt,
)
from offset_engine.programs.arguments import Json, RefusedError
from offset_engine.programs.control.amounts import add_amount, add_units
from offset_engine.programs.control.session import (
    Group,
    NotPossibleError,
    RefusedByNodeError,
    Session,
    add_file,
    add_style,
    add_yes,
    drop_file,
    has_person,
    need_new,
)
from offset_engine.programs.control.showing import pay_values
from offset_engine.sentences import failure_sentence

_ENDED = (PayStage.PAID, PayStage.FAILED)


def add_commands(group: Group) -> None:
    """Add the subcommands."""
    pay = group.add("pay-invoice", "Pay an invoice; the commit goes to the seller.", _pay_invoice)
    add_file(pay, "-i", "--invoice", "the invoice to pay")
    add_file(pay, "-p", "--payment", "the payment handle to write")
    add_file(pay, "-c", "--commit", "the commit to write")
    add_amount(
        pay,
        "--max-fee",
        required=False,
        what="most to pay in fees; without it you are asked, if there is a terminal to ask at",
    )
    add_units(pay, "max_fee")
    add_style(pay)
    add_yes(pay)
    status = group.add("payment-status", "Wait for a payment's end; writes the receipt.", _status)
    add_file(status, "-p", "--payment", "the payment handle; deleted when the payment is over")
    add_file(status, "-r", "--receipt", "the receipt to write")
    add_style(status)
    status.add_argument("--no-wait", action="store_true", help="only say how the payment stands")
    commit = group.add("get-commit", "Write the commit of a payment once more.", _get_commit)
    add_file(commit, "-p", "--payment", "the payment handle")
    add_file(commit, "-c", "--commit", "the commit to write")
    add_style(commit)
    cancel = group.add("cancel-payment", "Give up a payment that has no commit yet.", _cancel)
    add_file(cancel, "-p", "--payment", "the payment handle; deleted when the payment is over")


# --- paying -------------------------------------------------------------------------------------


async def _pay_invoice(session: Session) -> None:
    args = session.args
    need_new(args.payment, args.commit)
    invoice = load_invoice(args.invoice)
    if invoice.dest_public_key == session.client.node:
        raise FileError(f"{args.invoice}: this invoice is the node's own; nobody pays oneself")
    is_asking = args.max_fee is None and not args.yes and has_person()
    max_fee = CREDITS_MAX if args.max_fee is None else args.max_fee
    payment_id = PaymentId(os.urandom(PaymentId.SIZE))
    write(args.payment, PaymentHandle(payment_id), style=session.style)
    try:
        await session.do(Pay(payment_id, invoice, max_fee, 0 if is_asking else None))
    except RefusedByNodeError:
        drop_file(args.payment)
        raise
    try:
        report = await _until_committed(session, payment_id)
    except anyio.get_cancelled_exc_class():
        session.output.note(
            "the node goes on with the payment; buyer get-commit, payment-status and "
            f"cancel-payment take it up with {args.payment}"
        )
        raise
    await _finish_paying(session, invoice, report)


async def _until_committed(session: Session, payment_id: PaymentId) -> PayReport:
    """Follow a payment until its commit exists or it failed; says what the fees are, and asks."""
    told: int | None = None
    async with aclosing(session.client.pay_states(payment_id)) as states:
        async for report in states:
            session.output.detail(f"payment: {report.stage.value}")
            is_known = report.stage not in (PayStage.SEARCHING, PayStage.FAILED)
            if is_known and report.fee != told:
                told = report.fee
                if not session.output.as_json:
                    session.output.result({}, f"Total fees: {told}")
            if report.stage is PayStage.FEE_TO_CONFIRM:
                await _confirm(session, report)
            if report.commit is not None or report.stage in _ENDED:
                return report
    raise NotPossibleError("the node does not know the payment any more")


async def _confirm(session: Session, report: PayReport) -> None:
    invoice = report.invoice
    total = invoice.total_dest_payment
    question = f"Pay {total} {invoice.currency} and {report.fee} {invoice.currency} fees?"
    if await session.agrees(question):
        await session.do(ConfirmFee(report.payment_id, report.fee))
        return
    await session.do(CancelPay(report.payment_id))
    await session.client.wait_pay(report.payment_id)
    await _drop(session, report.payment_id)
    raise RefusedError("not paid: the fees were declined", {"status": "declined"})


async def _finish_paying(session: Session, invoice: Invoice, report: PayReport) -> None:
    if report.commit is None:
        if report.failure is not PayFailure.UNKNOWN:
            await _drop(session, report.payment_id)
        raise RefusedError(f"not paid: {_reason(report)}", pay_values(report))
    _write_commit(session, invoice, report.commit)
    values: dict[str, Json] = {**pay_values(report), "output": session.args.commit}
    session.output.result(values, "Payment successful: give the commit to the seller")


def _write_commit(session: Session, invoice: Invoice, commit: Commit) -> None:
    verdict = verify_commit(invoice, commit)
    if verdict.failed is not None:
        raise NotPossibleError(f"the node's commit is not valid: {verdict.failed.value}")
    write_commit(session.args.commit, commit, style=session.style)


def _reason(report: PayReport | PaymentRecord) -> str:
    return failure_sentence(report.failure)


async def _drop(session: Session, payment_id: PaymentId) -> None:
    """The payment is over and its outcome known: history keeps it, the handle has done its work."""
    try:
        await session.do(ForgetPay(payment_id))
    except RefusedByNodeError as error:
        if error.fault is not CommandFault.PAYMENT_DOES_NOT_EXIST:
            raise
    drop_file(session.args.payment)


# --- later --------------------------------------------------------------------------------------


async def _status(session: Session) -> None:
    args = session.args
    need_new(args.receipt)
    payment_id = load(args.payment, PaymentHandle).payment_id
    report = await _look(session, payment_id)
    if isinstance(report, PayReport) and not args.no_wait:
        if report.stage is PayStage.FEE_TO_CONFIRM:
            raise NotPossibleError(
                "the payment waits for consent to its fees; cancel it and pay again"
            )
        if report.stage not in _ENDED:
            report = await session.client.wait_pay(payment_id)
    if report is None:
        drop_file(args.payment)
        raise RefusedError("the node has no such payment", {"status": "not_found"})
    values = pay_values(report)
    if report.stage is PayStage.PAID:
        await _write_receipt(session, report)
        session.output.result(
            {**values, "output": args.receipt}, "Payment succeeded; the receipt was written"
        )
    elif report.stage is PayStage.FAILED:
        if report.failure is not PayFailure.UNKNOWN:
            await _acknowledge(session, report)
        raise RefusedError(f"the payment was canceled: {_reason(report)}", values)
    else:
        session.output.result(values, f"the payment is not over: {report.stage.value}")


async def _write_receipt(session: Session, report: PayReport | PaymentRecord) -> None:
    """Write the receipt, then let go of the payment."""
    if report.receipt is None:
        raise NotPossibleError("the node has no receipt of this payment")
    verdict = verify_receipt(report.invoice, report.receipt)
    if verdict.failed is not None:
        raise NotPossibleError(f"the node's receipt is not valid: {verdict.failed.value}")
    write_receipt(session.args.receipt, report.receipt, style=session.style)
    await _acknowledge(session, report)


async def _acknowledge(session: Session, report: PayReport | PaymentRecord) -> None:
    if isinstance(report, PayReport):
        await _drop(session, report.payment_id)
    else:
        drop_file(session.args.payment)


async def _look(session: Session, payment_id: PaymentId) -> PayReport | PaymentRecord | None:
    """How a payment stands, also one that was acknowledged already if history may be seen."""
    live = await session.client.pay_report(payment_id)
    if live is not None or not session.client.permissions.transactions:
        return live
    entries = await session.client.history(HistoryKind.PAYMENTS, limit=HISTORY_PAGE_MAX)
    records = (one.record for one in entries if isinstance(one.record, PaymentRecord))
    return next((one for one in records if one.payment_id == payment_id), None)


async def _get_commit(session: Session) -> None:
    args = session.args
    need_new(args.commit)
    report = await _known(session)
    if report.commit is None:
        raise NotPossibleError(f"the payment has no commit: {report.stage.value}")
    _write_commit(session, report.invoice, report.commit)
    session.output.result({**pay_values(report), "output": args.commit})


async def _cancel(session: Session) -> None:
    report = await _known(session)
    if report.stage is PayStage.PAID:
        raise NotPossibleError("the payment is paid already; buyer payment-status gets the receipt")
    if report.stage is not PayStage.FAILED:
        await session.do(CancelPay(report.payment_id))
        report = await session.client.wait_pay(report.payment_id)
    if report.failure is PayFailure.UNKNOWN:
        raise RefusedError(f"not canceled: {_reason(report)}", pay_values(report))
    await _drop(session, report.payment_id)
    session.output.result(pay_values(report))


async def _known(session: Session) -> PayReport:
    """The payment the handle names, which the node has to hold still."""
    handle = load(session.args.payment, PaymentHandle)
    report = await session.client.pay_report(handle.payment_id)
    if report is None:
        raise NotPossibleError("the node has no such payment")
    return report
