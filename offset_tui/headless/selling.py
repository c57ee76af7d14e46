"""`invoice`, `collect`, `hold`, `refund`: what a seller does.

Source: apps.md §5 S14 to S20; design R8, R24.
"""

import argparse

from offset_engine.client import (
    Commit,
    Invoice,
    InvoiceRecord,
    InvoiceReport,
    InvoiceTerms,
)
from offset_engine.files import to_qr_text, to_text, write
from offset_engine.programs.arguments import Commands, Json, RefusedError, UsageError
from offset_engine.programs.control.session import NotPossibleError, need_new
from offset_engine.programs.convert import drawn_for
from offset_engine.text import EntryError, iso_local, safe
from offset_tui import covering, sale_words, state
from offset_tui.headless import flags
from offset_tui.headless.artifacts import given_one
from offset_tui.headless.paying import picked
from offset_tui.headless.printing import (
    facts,
    invoice_json,
    invoice_values,
    merged,
    short,
    table,
    time_text,
)
from offset_tui.headless.session import Twin, add_command
from offset_tui.headless.splitting import split_bill
from offset_tui.sale_words import Finding

_DAY_S = 86_400


def add_parsers(commands: Commands) -> None:
    """Add the commands."""
    what = "Make an invoice; prints it for the buyer."
    _add_invoice(add_command(commands, "invoice", what, _invoice, _check))
    collect = add_command(commands, "collect", "Collect an invoice that is on hold.", _collect)
    collect.add_argument("id", type=flags.an_id, metavar="ID", help="the invoice's id")
    collect.add_argument(
        "--force", action="store_true", help="take what is left if a part of the payment is gone"
    )
    hold = add_command(
        commands,
        "hold",
        "Check a commit and keep it without collecting, until a date.",
        _hold,
        _read,
    )
    hold.add_argument(
        "commit",
        metavar="COMMIT",
        help="a file, the text itself, or - for input; or the invoice's id",
    )
    hold.add_argument(
        "until",
        nargs="?",
        default="14",
        metavar="UNTIL",
        help="a number of days (14) or a date like 2026-12-24",
    )
    refund = add_command(
        commands,
        "refund",
        "Give everything back that is reserved for an invoice, and close it.",
        _refund,
    )
    refund.add_argument("id", type=flags.an_id, metavar="ID", help="the invoice's id")
    flags.add_yes(refund)


def _add_invoice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "amount", nargs="?", type=flags.an_amount, metavar="AMOUNT", help="how much"
    )
    parser.add_argument(
        "currency", nargs="?", type=flags.a_currency, metavar="CURRENCY", help="of which currency"
    )
    parser.add_argument(
        "--description", type=flags.a_description, default="", metavar="TEXT", help="what it is for"
    )
    parser.add_argument(
        "--expires",
        type=flags.lasting,
        default=_DAY_S,
        metavar="TIME",
        help="how long it can be paid: 30m, 24h, 7d or never; 24h if not given",
    )
    parser.add_argument(
        "--cover-fees",
        type=flags.an_amount,
        metavar="AMOUNT",
        help="ask for so much less, and say so: with fees up to it the buyer pays AMOUNT at most",
    )
    parser.add_argument(
        "--split",
        metavar="PEOPLE",
        help="an invoice for each of them: how many, or names like 'Bob, Dora 12.50'",
    )
    parser.add_argument("--me", action="store_true", help="with --split: I pay a share too")
    flags.add_decimals(parser)
    flags.add_out(parser, "the invoice")
    parser.add_argument("--qr", action="store_true", help="draw it as a QR code as well")
    flags.exclusive(
        parser,
        ("--list", None, "list the open invoices"),
        ("--show", "ID", "say how an invoice stands"),
        ("--cancel", "ID", "close an invoice nobody has paid"),
    )


def _check(args: argparse.Namespace) -> None:
    is_other = bool(args.list or args.show or args.cancel)
    if is_other == (args.amount is not None) or (args.amount is None) != (args.currency is None):
        raise UsageError("give an amount and a currency, or one of --list, --show, --cancel")
    if (is_other or args.out or args.qr or args.cover_fees) and args.split is not None:
        raise UsageError(
            "--split takes an amount and a currency, without --out, --qr, --cover-fees"
        )
    if args.me and args.split is None:
        raise UsageError("--me belongs to --split")
    if args.out is not None:
        need_new(args.out)


async def _invoice(twin: Twin) -> None:
    args = twin.args
    if args.list:
        _list(twin)
    elif args.show:
        await _show(twin)
    elif args.cancel:
        await _cancel(twin)
    elif args.split is not None:
        await split_bill(twin)
    else:
        await _create(twin)


# --- making and listing -------------------------------------------------------------------------


async def _create(twin: Twin) -> None:
    args = twin.args
    digits = twin.digits(args.currency)
    amount, description = _asked(twin, digits)
    lines = state.all_lines(twin.report, twin.session.notebook)
    words, is_too_much = sale_words.echo(
        amount, args.currency, digits, sale_words.receivable(lines, args.currency)
    )
    if is_too_much:
        twin.output.note(f"warning: {words.removeprefix('= ')}")
    await twin.session.use_currency(args.currency, digits)
    terms = InvoiceTerms(args.currency, amount, description, args.expires, digits)
    invoice = await twin.client.create_invoice(terms)
    if args.out is not None:
        write(args.out, invoice)
    text = to_text(invoice)
    values = merged(
        invoice_values(invoice),
        {
            "id": invoice.invoice_id.hex(),
            "decimals": digits,
            "expires": time_text(invoice.expires * 1000) if invoice.expires else None,
            "text": text,
            "qr_text": to_qr_text(invoice),
            "output": args.out,
        },
    )
    drawn = f"\n\n{drawn_for(invoice, twin.output)}" if args.qr and not twin.output.as_json else ""
    twin.output.result(values, f"{text}{drawn}")


def _asked(twin: Twin, digits: int) -> tuple[int, str]:
    """Credits and description of the invoice, less the fees that are covered."""
    args = twin.args
    price = twin.amount(args.amount, args.currency, digits, least=1)
    if args.cover_fees is None:
        return price, args.description
    cover = twin.amount(args.cover_fees, args.currency, digits, least=0)
    try:
        about = covering.described(args.description, price, cover, args.currency, digits)
        return covering.asked(price, cover), about
    except EntryError as problem:
        raise UsageError(f"--cover-fees: {problem}") from None


def _list(twin: Twin) -> None:
    found = twin.session.snapshot.invoices
    rows = [
        (
            short(one.invoice.invoice_id),
            iso_local(one.created_ms),
            twin.money(one.invoice.total_dest_payment, one.invoice.currency),
            sale_words.invoice_state(one, twin.now_ms, _held_until(twin, one.invoice)),
            safe(one.invoice.description, 60),
        )
        for one in found
    ]
    head = ("id", "made", "amount", "state", "for")
    text = table(twin.output, head, rows, right=(2,)) if rows else "there are no open invoices"
    twin.output.result({"invoices": [_values(twin, one) for one in found]}, text)


def _values(twin: Twin, known: InvoiceReport) -> dict[str, Json]:
    digits = twin.session.decimals(known.invoice.currency)
    return merged(
        invoice_json(known, digits, _held_until(twin, known.invoice)),
        {"state": sale_words.invoice_state(known, twin.now_ms, _held_until(twin, known.invoice))},
    )


def _held_until(twin: Twin, invoice: Invoice) -> int | None:
    wanted = invoice.invoice_id.to_text()
    holds = twin.session.notebook.holds
    return next((one.until_ms for one in holds if one.invoice_id == wanted), None)


def _open(twin: Twin, typed: str) -> InvoiceReport:
    known = {bytes(one.invoice.invoice_id): one for one in twin.session.snapshot.invoices}
    return picked(typed, known, "open invoice")


async def _show(twin: Twin) -> None:
    known = _open(twin, twin.args.show)
    invoice = known.invoice
    until = _held_until(twin, invoice)
    lines = facts(
        (
            ("invoice", invoice.invoice_id.hex()),
            ("amount", twin.money(invoice.total_dest_payment, invoice.currency)),
            ("for", safe(invoice.description, 600)),
            ("state", sale_words.invoice_state(known, twin.now_ms, until)),
            ("text", to_text(invoice)),
        )
    )
    twin.output.result(_values(twin, known), "\n".join(lines))


# --- ending -------------------------------------------------------------------------------------


async def _cancel(twin: Twin) -> None:
    known = _open(twin, twin.args.cancel)
    if known.frozen or known.registered is not None:
        raise NotPossibleError(
            "a buyer has reserved credits for it: "
            f"offset refund {short(known.invoice.invoice_id)} gives them back and closes it"
        )
    await twin.client.refund(known.invoice.invoice_id)
    twin.output.result(
        {**_values(twin, known), "status": "canceled"}, "closed: nobody can pay it now"
    )


async def _refund(twin: Twin) -> None:
    known = _open(twin, twin.args.id)
    amount = twin.money(known.invoice.total_dest_payment, known.invoice.currency)
    if not twin.args.yes:
        twin.say([sale_words.refund_words(known, amount)])
    if not await twin.agrees(f"Refund {amount}?"):
        raise RefusedError("not refunded: you declined", {"status": "declined"})
    await twin.client.refund(known.invoice.invoice_id)
    await drop_hold(twin, known.invoice)
    words = f"refunded {amount}" if known.frozen else "closed: nothing was reserved"
    twin.output.result({**_values(twin, known), "status": "canceled"}, words)


async def _collect(twin: Twin) -> None:
    known = _open(twin, twin.args.id)
    if known.registered is None:
        state_ = sale_words.invoice_state(known, twin.now_ms, None)
        raise NotPossibleError(
            f"no commit is held for it ({state_}): offset accept COMMIT checks one and collects"
        )
    await twin.client.collect(known.invoice.invoice_id, force=twin.args.force)
    await drop_hold(twin, known.invoice)
    amount = twin.money(known.invoice.total_dest_payment, known.invoice.currency)
    twin.output.result(
        {**_values(twin, known), "status": "collected"}, f"collected {amount}: hand over the goods"
    )


async def drop_hold(twin: Twin, invoice: Invoice) -> None:
    """It is over: nobody has to be reminded any more."""
    await twin.keep(twin.session.notebook.with_hold(invoice.invoice_id.to_text(), None))


async def _hold(twin: Twin) -> None:
    until = until_ms(twin, twin.args.until)
    await hold_commit(twin, _commit(twin), until)


def until_ms(twin: Twin, typed: str) -> int:
    """Until when to hold, UTC ms.

    Raises:
        UsageError: it is no time to come.
    """
    try:
        return sale_words.parse_until(typed, twin.now_ms)
    except EntryError as error:
        raise UsageError(f"{typed[:80]!a}: {error}") from None


def _read(args: argparse.Namespace) -> None:
    """Read the commit, unless it is the id of an invoice that may be on hold."""
    try:
        args.id = flags.an_id(args.commit)
    except argparse.ArgumentTypeError:
        args.id = None
        args.commit = given_one(args.commit, Commit, "offset hold takes a commit")


def _commit(twin: Twin) -> Commit:
    """The commit given, or the one that is held for the invoice with this id."""
    if twin.args.id is None:
        commit: Commit = twin.args.commit
        return commit
    registered = _open(twin, twin.args.id).registered
    if registered is None:
        raise NotPossibleError("no commit is held for it: give the commit itself")
    return registered


async def take_commit(twin: Twin, commit: Commit) -> None:
    """Judge a commit, and collect with it.

    Raises:
        RefusedError: it is not good; the sentence says why.
    """
    invoice = await _judged(twin, commit)
    await twin.client.accept_commit(commit)
    await drop_hold(twin, invoice)
    amount = twin.money(invoice.total_dest_payment, invoice.currency)
    twin.output.result(
        _verdict_values(twin, invoice, "collected"),
        f"{sale_words.GOOD}. Collected {amount}",
    )


async def hold_commit(twin: Twin, commit: Commit, until: int) -> None:
    """Judge a commit, and keep it until a time (UTC ms).

    Raises:
        RefusedError: it is not good; the sentence says why.
    """
    invoice = await _judged(twin, commit)
    await twin.client.hold(commit)
    await twin.keep(twin.session.notebook.with_hold(invoice.invoice_id.to_text(), until))
    identifier = short(invoice.invoice_id)
    twin.output.result(
        {**_verdict_values(twin, invoice, "held"), "held_until": time_text(until)},
        f"{sale_words.GOOD}. Held until {iso_local(until)}: offset collect {identifier} collects, "
        f"offset refund {identifier} gives it back",
    )


async def _judged(twin: Twin, commit: Commit) -> Invoice:
    known: InvoiceReport | InvoiceRecord | None
    known = await twin.client.invoice_report(commit.invoice_id)
    found = sale_words.judge(commit, known)
    if found.may_collect and found.invoice is not None:
        return found.invoice
    status = "collected" if found.finding is Finding.COLLECTED else "refused"
    values: dict[str, Json] = {"status": status, "finding": found.finding.value}
    raise RefusedError(f"{found.title}. {found.because}", values)


def _verdict_values(twin: Twin, invoice: Invoice, status: str) -> dict[str, Json]:
    return merged(
        invoice_values(invoice),
        {
            "kind": "commit",
            "status": status,
            "id": invoice.invoice_id.hex(),
            "decimals": twin.session.decimals(invoice.currency),
        },
    )
