"""`pay`: pays invoices and takes up payments; the node drives them, this only looks and asks.

    offset pay INVOICE          review, agree, get the commit for the seller
    offset pay --show ID        how it stands; with --wait until the receipt is here
    offset pay --confirm ID     agree to the fee it waits for
    offset pay --cancel ID      give it up while there is no commit

Paying an invoice that is being paid already follows that payment, so a command that was cut off is simply
repeated. Source: apps.md §5 S4, S7 to S12; design R8, R20, R21, R31.
"""

import argparse
from collections.abc import Mapping
from contextlib import aclosing
from typing import TypeVar

import anyio

from offset_engine.activity import PAY_STATES
from offset_engine.client import (
    Currency,
    HistoryKind,
    Invoice,
    PaymentId,
    PaymentRecord,
    PayReport,
    PayStage,
)
from offset_engine.files import to_text, verify_invoice, write
from offset_engine.programs.arguments import Commands, Json, RefusedError, UsageError
from offset_engine.programs.control.session import NotPossibleError, has_person, need_new
from offset_engine.sentences import failure_sentence
from offset_engine.text import iso_local, money_text, safe
from offset_tui import money_words, route_words, sale_words, state
from offset_tui.headless import flags
from offset_tui.headless.artifacts import given_one
from offset_tui.headless.printing import facts, id_text, merged, pay_json, short, table
from offset_tui.headless.session import Twin, add_command, going_on
from offset_tui.money_words import Caution, Payer, Weight
from offset_tui.past import HISTORY_PAGES_MAX, entries

_T = TypeVar("_T")
_ENDED = (PayStage.PAID, PayStage.FAILED)


def add_parsers(commands: Commands) -> None:
    """Add the command."""
    pay = add_command(
        commands, "pay", "Pay an invoice; prints the commit, which goes to the seller.", _act, _look
    )
    pay.add_argument(
        "invoice", nargs="?", metavar="INVOICE", help="a file, the text itself, or - for input"
    )
    flags.exclusive(
        pay,
        ("--list", None, "list the payments the card holds"),
        ("--show", "ID", "say how a payment stands"),
        ("--confirm", "ID", "agree to the fee a payment waits for"),
        ("--cancel", "ID", "give up a payment that has no commit yet"),
        ("--handed", "ID", "note that the seller has the commit"),
    )
    pay.add_argument(
        "--max-fee",
        type=flags.an_amount,
        metavar="AMOUNT",
        help="most to pay on top; 1 %% and a tenth of a unit if not given",
    )
    pay.add_argument("--wait", action="store_true", help="go on until the receipt is here")
    pay.add_argument(
        "--again",
        action="store_true",
        help="pay a second time although the first may have been paid",
    )
    flags.add_yes(pay, "do not ask; fees up to the most are agreed to")
    flags.add_out(pay, "the commit")


def _look(args: argparse.Namespace) -> None:
    is_other = bool(args.list or args.show or args.confirm or args.cancel or args.handed)
    if is_other == (args.invoice is not None):
        raise UsageError(
            "give an invoice to pay, or one of --list, --show, --confirm, --cancel, --handed"
        )
    if args.invoice is not None:
        hint = "offset pay takes an invoice, offset accept everything else"
        args.invoice = given_one(args.invoice, Invoice, hint)
        if args.out is not None:
            need_new(args.out)


async def _act(twin: Twin) -> None:
    args = twin.args
    if args.invoice is not None:
        await _pay(twin)
    elif args.list:
        _list(twin)
    elif args.show:
        await _show(twin)
    elif args.confirm:
        await _confirm(twin)
    elif args.cancel:
        await _cancel(twin)
    else:
        await _handed(twin)


# --- finding payments ---------------------------------------------------------------------------


async def payments(twin: Twin) -> list[PayReport | PaymentRecord]:
    """Every payment known, newest first: what the node holds, then its history."""
    live = twin.session.snapshot.pays
    found: dict[PaymentId, PayReport | PaymentRecord] = {one.payment_id: one for one in live}
    for entry in await entries(twin.client, HistoryKind.PAYMENTS, HISTORY_PAGES_MAX):
        if isinstance(entry.record, PaymentRecord):
            found.setdefault(entry.record.payment_id, entry.record)
    return list(found.values())


def picked(typed: str, known: Mapping[bytes, _T], what: str) -> _T:
    """The one thing whose id begins as typed, or is what files have.

    Raises:
        NotPossibleError: there is none, or there are several.
    """
    begins = typed.lower()
    found = [
        one
        for identifier, one in known.items()
        if identifier.hex().startswith(begins) or id_text(identifier) == typed.rstrip("=")
    ]
    if len(found) > 1:
        raise NotPossibleError(f"{len(found)} ids begin with {typed}: give more digits")
    if not found:
        raise NotPossibleError(f"there is no {what} with the id {typed}")
    return found[0]


async def _known(twin: Twin, typed: str) -> PayReport | PaymentRecord:
    known = {bytes(one.payment_id): one for one in await payments(twin)}
    return picked(typed, known, "payment")


async def _live(twin: Twin, typed: str) -> PayReport:
    known = {bytes(one.payment_id): one for one in twin.session.snapshot.pays}
    return picked(typed, known, "open payment")


# --- paying -------------------------------------------------------------------------------------


async def _pay(twin: Twin) -> None:
    args = twin.args
    invoice: Invoice = args.invoice
    known = money_words.tries(twin.session.snapshot.pays, await payments(twin))
    repeat = money_words.repeats(invoice, known, twin.now_ms)
    running = next(
        (one for one in known if one.is_under_way and one.invoice.invoice_id == invoice.invoice_id),
        None,
    )
    if running is not None:
        twin.output.note("this invoice is being paid already: going on with that payment")
        await _follow(twin, running.payment_id)
        return
    digits = twin.digits(invoice.currency, invoice.decimals)
    max_fee = _max_fee(twin, invoice, digits)
    await _review(twin, invoice, repeat, digits, max_fee)
    await twin.session.use_currency(invoice.currency, digits)
    permille = twin.session.settings.auto_fee_permille
    agreed = money_words.agreed_fee(invoice.total_dest_payment, permille)
    confirm_above = None if args.yes else agreed
    payment_id = await twin.client.pay(invoice, max_fee, confirm_above=confirm_above)
    await _follow(twin, payment_id)


def _max_fee(twin: Twin, invoice: Invoice, digits: int) -> int:
    if twin.args.max_fee is not None:
        return twin.amount(twin.args.max_fee, invoice.currency, digits)
    permille = twin.session.settings.auto_fee_permille
    return money_words.highest_fee(invoice.total_dest_payment, digits, permille)


async def _review(
    twin: Twin, invoice: Invoice, repeat: Caution | None, digits: int, max_fee: int
) -> None:
    """Show what is asked for, and have the owner agree to it.

    Raises:
        RefusedError: it cannot be paid, or the owner declined.
        UsageError: nobody can be asked.
    """
    lines = state.all_lines(twin.report, twin.session.notebook)
    means = sale_words.payable(lines, invoice.currency)
    payer = Payer(twin.report.local_public_key, digits, *means)
    vouched = verify_invoice(invoice)
    cautions = money_words.cautions(invoice, payer, vouched, repeat, twin.now_ms)
    stop = next((one for one in cautions if one.weight is Weight.STOP), None)
    if stop is not None:
        raise RefusedError(f"not paid: {stop.words}", {"status": "refused"})
    amount = _amount(twin, invoice, digits)
    twin.say(
        [
            *facts(
                (
                    ("to", money_words.who(twin.report, invoice.dest_public_key)),
                    ("amount", amount),
                    ("fee", f"at most {money_words.fee_words(max_fee, invoice, digits)}"),
                    ("for", safe(invoice.description, 600)),
                    ("expires", money_words.expiry_words(invoice, twin.now_ms)),
                    ("invoice", vouched.value),
                )
            ),
            *(f"! {one.words}" for one in cautions),
            *([] if twin.args.yes else [money_words.WHO_LEARNS]),
        ]
    )
    if any(one.weight is Weight.TYPED for one in cautions) and not twin.args.again:
        raise RefusedError(
            "not paid: an earlier payment of this invoice may still be collected; ask the seller, "
            "and add --again to pay a second time",
            {"status": "refused"},
        )
    if not await twin.agrees(f"Pay {amount}?"):
        raise RefusedError("not paid: you declined", {"status": "declined"})


def _amount(twin: Twin, invoice: Invoice, digits: int) -> str:
    return money_text(
        invoice.total_dest_payment, invoice.currency, digits, ascii_only=twin.is_ascii
    )


async def _follow(twin: Twin, payment_id: PaymentId) -> None:
    """Follow a payment until its commit is here, with `--wait` until it has ended; prints the proofs."""
    short_id = short(payment_id)
    try:
        async with going_on(f"offset pay --show {short_id} says how it stands"):
            pay = await _until(twin, payment_id)
    except anyio.get_cancelled_exc_class():
        twin.output.note(
            f"the payment goes on by itself: offset pay --show {short_id} says how it stands"
        )
        raise
    if pay.stage is PayStage.FAILED:
        raise RefusedError(
            f"not paid: {failure_sentence(pay.failure)}. {_advice(twin, pay)}"
            f"{money_words.safety_sentence(pay)}",
            _values(twin, pay),
        )
    if twin.output.as_json:
        twin.output.result(_values(twin, pay, output=twin.args.out))
    elif pay.receipt is not None and twin.args.wait:
        twin.output.note("paid; the receipt:")
        twin.output.result({}, to_text(pay.receipt))
    else:
        twin.output.note(
            "give this commit to the seller, and to nobody else; "
            f"offset pay --show {short_id} --wait waits for the receipt"
        )


def _advice(twin: Twin, pay: PayReport) -> str:
    """What would help, in a sentence of its own; "" if that is not known."""
    invoice = pay.invoice
    what = (
        invoice.total_dest_payment,
        invoice.currency,
        twin.session.decimals(invoice.currency),
    )
    lines = state.all_lines(twin.report, twin.session.notebook)
    wanted = route_words.asked(twin.report, lines, what, invoice.dest_public_key)
    said = route_words.failure_words(pay.failure, wanted)
    return f"{said[:1].upper()}{said[1:]}. " if said else ""


async def _until(twin: Twin, payment_id: PaymentId) -> PayReport:
    is_told = False
    async with aclosing(twin.client.pay_states(payment_id)) as states:
        async for pay in states:
            twin.output.detail(_state_words(pay))
            if pay.stage is PayStage.FEE_TO_CONFIRM:
                await _agree_to_fee(twin, pay)
            if pay.commit is not None and pay.stage is not PayStage.FAILED and not is_told:
                is_told = True
                _tell_commit(twin, pay)
            if pay.stage in _ENDED or (pay.commit is not None and not twin.args.wait):
                return pay
    raise NotPossibleError("the card does not know the payment any more")


def _tell_commit(twin: Twin, pay: PayReport) -> None:
    if pay.commit is None:
        return
    if twin.args.out is not None:
        write(twin.args.out, pay.commit)
    if not twin.output.as_json:
        twin.output.result({}, to_text(pay.commit))


async def _agree_to_fee(twin: Twin, pay: PayReport) -> None:
    """Ask for consent to the fee.

    Raises:
        RefusedError: it was declined; the payment is given up.
        NotPossibleError: nobody can be asked, or the fee is above what `--yes` agrees to; the payment waits.
    """
    fee = _fee(twin, pay)
    identifier = short(pay.payment_id)
    digits = twin.session.decimals(pay.invoice.currency)
    is_too_dear = twin.args.yes and pay.fee > _max_fee(twin, pay.invoice, digits)
    if is_too_dear or (not twin.args.yes and not has_person()):
        raise NotPossibleError(
            f"the payment waits for your consent to a fee of {fee}: "
            f"offset pay --confirm {identifier} agrees, offset pay --cancel {identifier} gives it up"
        )
    if await twin.agrees(f"The fee is {fee}. Pay it?"):
        await twin.client.confirm_fee(pay.payment_id, pay.fee)
        return
    await twin.client.cancel(pay.payment_id)
    ended = await twin.client.wait_pay(pay.payment_id)
    raise RefusedError("not paid: you declined the fee", _values(twin, ended))


def _fee(twin: Twin, pay: PayReport | PaymentRecord) -> str:
    digits = twin.session.decimals(pay.invoice.currency)
    return money_words.fee_words(pay.fee, pay.invoice, digits)


# --- later --------------------------------------------------------------------------------------


def _list(twin: Twin) -> None:
    pays = twin.session.snapshot.pays
    rows = [
        (
            short(one.payment_id),
            iso_local(one.created_ms),
            twin.money(one.invoice.total_dest_payment, one.invoice.currency),
            money_words.called(twin.report, one.invoice.dest_public_key),
            _state_words(one),
            safe(one.invoice.description, 60),
        )
        for one in pays
    ]
    head = ("id", "begun", "amount", "to", "state", "for")
    text = table(twin.output, head, rows, right=(2,)) if rows else "there are no payments"
    twin.output.result({"payments": [_values(twin, one) for one in pays]}, text)


def _state_words(pay: PayReport | PaymentRecord) -> str:
    if pay.stage is PayStage.FAILED:
        return f"failed: {failure_sentence(pay.failure)}"
    return PAY_STATES[pay.stage]


async def _show(twin: Twin) -> None:
    pay = await _known(twin, twin.args.show)
    if isinstance(pay, PayReport) and pay.stage not in _ENDED and twin.args.wait:
        await _follow(twin, pay.payment_id)
        return
    invoice = pay.invoice
    commit = pay.commit if isinstance(pay, PayReport) else None
    is_proof = pay.stage is not PayStage.FAILED
    lines = facts(
        (
            ("payment", pay.payment_id.hex()),
            ("to", money_words.who(twin.report, invoice.dest_public_key)),
            ("amount", twin.money(invoice.total_dest_payment, invoice.currency)),
            ("fee", _fee(twin, pay)),
            ("for", safe(invoice.description, 600)),
            ("state", _state_words(pay)),
            ("commit", to_text(commit) if commit is not None and is_proof else ""),
            ("receipt", "" if pay.receipt is None else to_text(pay.receipt)),
        )
    )
    if isinstance(pay, PayReport):
        lines.append(money_words.safety_sentence(pay))
    if twin.args.out is not None and commit is not None:
        need_new(twin.args.out)
        write(twin.args.out, commit)
    twin.output.result(_values(twin, pay, output=twin.args.out), "\n".join(lines))


async def _confirm(twin: Twin) -> None:
    pay = await _live(twin, twin.args.confirm)
    if pay.stage is not PayStage.FEE_TO_CONFIRM:
        raise NotPossibleError(f"no fee waits for your consent: {_state_words(pay)}")
    await twin.client.confirm_fee(pay.payment_id, pay.fee)
    await _follow(twin, pay.payment_id)


async def _cancel(twin: Twin) -> None:
    pay = await _live(twin, twin.args.cancel)
    if pay.stage is PayStage.PAID:
        raise NotPossibleError("this payment is paid already: offset receipts has its receipt")
    if pay.stage is not PayStage.FAILED:
        await twin.client.cancel(pay.payment_id)
        pay = await twin.client.wait_pay(pay.payment_id)
    if pay.stage is PayStage.PAID or not pay.is_safe_to_retry:
        raise RefusedError(f"not given up: {_state_words(pay)}", _values(twin, pay))
    twin.output.result(_values(twin, pay), f"given up. {money_words.safety_sentence(pay)}")


async def _handed(twin: Twin) -> None:
    pay = await _live(twin, twin.args.handed)
    if pay.stage is not PayStage.COMMITTED:
        raise NotPossibleError(f"there is no commit to hand over: {_state_words(pay)}")
    await twin.keep(twin.session.notebook.with_handed(pay.payment_id.to_text()))
    twin.output.result(_values(twin, pay))


def _values(
    twin: Twin, pay: PayReport | PaymentRecord, *, output: str | None = None
) -> dict[str, Json]:
    currency: Currency = pay.invoice.currency
    told: dict[str, Json] = {"state": _state_words(pay)}
    if output is not None:
        told["output"] = output
    return merged(pay_json(pay, twin.session.decimals(currency)), told)
