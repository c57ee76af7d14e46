"""`status`, `history`, `receipts`: what there is, and what happened; nothing is changed but a private note.

Source: apps.md §5 S1, S2, S6, S11; RMP-08, RMP-33 to RMP-35.
"""

import argparse
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from offset_engine import activity
from offset_engine.activity import Entry
from offset_engine.client import (
    HistoryKind,
    Invoice,
    PaymentRecord,
    PayReport,
    Receipt,
    ServerReport,
    ServerState,
)
from offset_engine.disk import expanded
from offset_engine.files import to_text
from offset_engine.notebook import NOTE_BYTES_MAX
from offset_engine.programs.arguments import Commands, Json, UsageError
from offset_engine.programs.control.session import NotPossibleError
from offset_engine.programs.control.showing import friend_values, pay_values, server_values
from offset_engine.text import fingerprint, format_amount, iso_local, safe
from offset_tui import needs, people, proof_words, state
from offset_tui.headless.flags import an_id
from offset_tui.headless.paying import payments, picked
from offset_tui.headless.printing import credits_or_none, facts, id_bytes, pay_json, short, table
from offset_tui.headless.session import Twin, add_command
from offset_tui.past import HISTORY_PAGES_MAX, entries, write_bundle
from offset_tui.state import Line, Net

_NAME_CELLS: Final = 24


def add_parsers(commands: Commands) -> None:
    """Add the commands."""
    status = add_command(
        commands, "status", "Say how a card stands: balances, friends, what waits for you.", _status
    )
    status.add_argument(
        "--watch", action="store_true", help="say it again after every change, until ctrl+c"
    )
    _add_history(add_command(commands, "history", "List what happened on a card.", _history))
    receipts = add_command(commands, "receipts", "List what was paid, with its proofs.", _receipts)
    receipts.add_argument(
        "id", nargs="?", type=an_id, metavar="ID", help="only this payment: prints its receipt"
    )
    receipts.add_argument(
        "--export",
        metavar="DIR",
        help="write each receipt, its invoice and a page that explains them into this directory",
    )


def _add_history(history: argparse.ArgumentParser) -> None:
    history.add_argument("--csv", action="store_true", help="print CSV, for spreadsheets")
    history.add_argument("--search", metavar="WORDS", help="only what contains all these words")
    history.add_argument(
        "--note",
        nargs=2,
        metavar=("ID", "TEXT"),
        help='keep a private note on a payment or invoice; "" removes it',
    )
    history.set_defaults(limit=None)


# --- status -------------------------------------------------------------------------------------


async def _status(twin: Twin) -> None:
    if not twin.args.watch:
        twin.output.result(*_status_now(twin))
        return
    said: tuple[dict[str, Json], str] | None = None

    def show(_: object) -> None:
        nonlocal said
        now = _status_now(twin)
        if now == said:
            return
        values, text = now
        twin.output.result(values, text if said is None else f"\n{text}")
        said = now

    await twin.session.follow(show)


def _status_now(twin: Twin) -> tuple[dict[str, Json], str]:
    """How the card stands, for programs and for people."""
    lines = state.all_lines(twin.report, twin.session.notebook)
    order = tuple(one.currency for one in twin.session.settings.currencies)
    nets = state.nets(lines, order)
    parts = [_head(twin), _net_table(twin, nets), friends_table(twin, lines), _waiting(twin)]
    return _status_values(twin, lines, nets), "\n\n".join(part for part in parts if part)


def _head(twin: Twin) -> str:
    report = twin.report
    key = fingerprint(report.local_public_key)
    states = report.connections
    return "\n".join(
        facts(
            (
                ("card", f"{safe(twin.session.name, 40)} ({key}), running"),
                ("relays", _servers_words(states.relays)),
                ("index servers", _servers_words(states.index_servers)),
                ("friends", _friends_words(twin)),
                ("payments", f"{report.open_payments} under way" if report.open_payments else ""),
                ("invoices", f"{report.open_invoices} open" if report.open_invoices else ""),
            )
        )
    )


def _servers_words(states: Sequence[ServerReport]) -> str:
    if not states:
        return "none: add servers with offset accept TEXT"
    connected = sum(1 for one in states if one.state is ServerState.CONNECTED)
    troubles = [safe(one.trouble, 80) for one in states if one.trouble]
    said = f"{connected} of {len(states)} connected"
    return f"{said}; {troubles[0]}" if troubles and not connected else said


def _friends_words(twin: Twin) -> str:
    friends = twin.report.friends
    if not friends:
        return "none yet: offset share --invite makes an invite, offset accept takes one"
    online = sum(1 for one in friends if one.is_online and one.is_enabled)
    return f"{online} of {len(friends)} online"


def _net_table(twin: Twin, nets: Sequence[Net]) -> str:
    if not nets:
        return ""
    rows = []
    for one in nets:
        digits = twin.session.decimals(one.currency)
        shown = [
            "?" if amount is None else format_amount(amount, digits, ascii_only=twin.is_ascii)
            for amount in (
                one.balance,
                one.can_pay,
                one.can_be_paid,
                one.pending_out,
                one.pending_in,
            )
        ]
        rows.append((safe(one.currency), *shown))
    head = ("currency", "balance", "can pay", "can be paid", "leaving", "arriving")
    return table(twin.output, head, rows, right=(1, 2, 3, 4, 5))


def friends_table(twin: Twin, lines: Iterable[Line]) -> str:
    """Friends with their state, and each currency with balance and both limits."""
    found = list(lines)
    names = state.friend_names(twin.report)
    rows: list[tuple[str, ...]] = []
    for friend in twin.report.friends:
        who = (names[friend.public_key], people.standing(friend).words)
        used = [line for line in found if line.friend == friend.public_key]
        rows += [(*who, *_line_cells(twin, line)) for line in used] or [(*who, "", "", "", "", "")]
    if not rows:
        return ""
    head = ("friend", "state", "currency", "balance", "you trust them", "they trust you", "fee")
    return table(twin.output, head, rows, right=(3, 4, 5))


def _line_cells(twin: Twin, line: Line) -> tuple[str, ...]:
    digits = twin.session.decimals(line.currency)

    def shown(amount: int | None) -> str:
        return "?" if amount is None else format_amount(amount, digits, ascii_only=twin.is_ascii)

    friend = next(one for one in twin.report.friends if one.public_key == line.friend)
    rate = next(one.rate for one in friend.currencies if one.currency == line.currency)
    mark = "" if line.is_open else " (closed)"
    return (
        f"{safe(line.currency)}{mark}",
        "not agreed" if line.balance is None else shown(line.balance),
        shown(line.i_grant),
        shown(line.granted),
        people.rate_words(rate, digits),
    )


def _waiting(twin: Twin) -> str:
    found = needs.of(twin.session)
    return "\n".join(["waits for you:", *(f"  {one.words}" for one in found)]) if found else ""


def _status_values(twin: Twin, lines: Sequence[Line], nets: Sequence[Net]) -> dict[str, Json]:
    report, session = twin.report, twin.session
    return {
        "card": session.name,
        "public_key": report.local_public_key.to_text(),
        "fingerprint": fingerprint(report.local_public_key),
        "balances": [_net_values(one, session.decimals(one.currency)) for one in nets],
        "friends": [
            {
                **friend_values(friend),
                "fingerprint": fingerprint(friend.public_key),
                "state": people.standing(friend).words,
                "limits": [
                    _line_values(line) for line in lines if line.friend == friend.public_key
                ],
            }
            for friend in report.friends
        ],
        "payments": [pay_values(one) for one in session.snapshot.pays if one.ended_ms is None],
        "needs": [{"about": one.key, "words": one.words} for one in needs.of(session)],
        "relays": server_values(report.relays, report.connections.relays),
        "index_servers": server_values(report.index_servers, report.connections.index_servers),
        "open_invoices": report.open_invoices,
        "open_payments": report.open_payments,
    }


def _net_values(net: Net, decimals: int) -> dict[str, Json]:
    return {
        "currency": net.currency,
        "decimals": decimals,
        "balance": str(net.balance),
        "owed_to_us": str(net.owed_to_us),
        "we_owe": str(net.we_owe),
        "can_pay": credits_or_none(net.can_pay),
        "can_be_paid": str(net.can_be_paid),
        "pending_out": str(net.pending_out),
        "pending_in": str(net.pending_in),
    }


def _line_values(line: Line) -> dict[str, Json]:
    return {
        "currency": line.currency,
        "balance": credits_or_none(line.balance),
        "you_trust": str(line.i_grant),
        "trusts_you": credits_or_none(line.granted),
        "can_pay": credits_or_none(line.can_pay),
        "can_be_paid": str(line.can_be_paid),
    }


# --- history ------------------------------------------------------------------------------------


async def _history(twin: Twin) -> None:
    args = twin.args
    if args.csv and twin.output.as_json:
        raise UsageError("--csv and --json are two forms of the same: give one")
    found = await _everything(twin)
    if args.note is not None:
        await _note(twin, found)
        return
    shown = activity.matching(found, args.search or "")
    if args.csv:
        exported = activity.rows(shown, twin.session.decimals)
        twin.output.result({}, activity.to_csv(exported).removesuffix("\n"))
    elif twin.output.as_json:
        twin.output.result({"entries": [_entry_values(twin, one) for one in shown]})
    else:
        twin.output.result({}, _history_table(twin, shown))


async def _everything(twin: Twin) -> tuple[Entry, ...]:
    past = [
        one for kind in HistoryKind for one in await entries(twin.client, kind, HISTORY_PAGES_MAX)
    ]
    snapshot = twin.session.snapshot
    return activity.merge(
        snapshot.pays,
        snapshot.invoices,
        past,
        activity.names_of(snapshot.report),
        twin.session.notebook,
        snapshot.report.local_public_key,
    )


def _entry_values(twin: Twin, entry: Entry) -> dict[str, Json]:
    (row,) = activity.rows([entry], twin.session.decimals)
    values: dict[str, Json] = {
        key: text for key, text in row.items() if key not in ("credits", "fee_credits")
    }
    values |= {"amount": row["credits"], "fee": row["fee_credits"]}
    values["asked"] = values.pop("asked_credits")
    values["id"] = id_bytes(entry.reference).hex() if entry.reference else None
    digits = None if entry.currency is None else twin.session.decimals(entry.currency)
    return {**values, "decimals": digits, "live": entry.is_live, "needs_owner": entry.needs_owner}


def _history_table(twin: Twin, shown: Sequence[Entry]) -> str:
    if not shown:
        return "nothing happened on this card yet" if not twin.args.search else "nothing matches"
    rows = []
    for one in shown:
        digits = 0 if one.currency is None else twin.session.decimals(one.currency)
        amount = format_amount(one.amount, digits, sign=one.is_signed, ascii_only=twin.is_ascii)
        rows.append(
            (
                iso_local(one.when_ms),
                one.kind.value,
                amount if one.currency is not None else "",
                safe(one.currency or ""),
                format_amount(one.fee, digits) if one.fee else "",
                one.name,
                safe(one.state, 60),
                safe(one.note or one.description, 60),
            )
        )
    head = ("time", "kind", "amount", "currency", "fee", "with", "state", "for")
    return table(twin.output, head, rows, right=(2, 4))


async def _note(twin: Twin, found: Sequence[Entry]) -> None:
    typed, text = twin.args.note
    try:
        wanted = an_id(typed)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from None
    if len(text.encode(errors="replace")) > NOTE_BYTES_MAX:
        raise UsageError(f"a note has at most {NOTE_BYTES_MAX} bytes")
    known = {id_bytes(one.reference): one for one in found if one.reference}
    entry = picked(wanted, known, "payment or invoice")
    await twin.keep(twin.session.notebook.with_note(entry.reference, text.strip()))
    twin.output.result({"id": entry.reference, "note": text.strip()})


# --- receipts -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Proven:
    """A payment with its receipt."""

    pay: PayReport | PaymentRecord
    receipt: Receipt

    @property
    def invoice(self) -> Invoice:
        """What was paid."""
        return self.pay.invoice


async def _receipts(twin: Twin) -> None:
    found = {
        bytes(one.payment_id): _Proven(one, one.receipt)
        for one in await payments(twin)
        if one.receipt is not None
    }
    wanted = list(found.values())
    if twin.args.id is not None:
        wanted = [picked(twin.args.id, found, "payment with a receipt")]
    written = [] if twin.args.export is None else _export(twin, wanted)
    values: dict[str, Json] = {
        "receipts": [
            pay_json(one.pay, twin.session.decimals(one.invoice.currency)) for one in wanted
        ]
    }
    if twin.args.export is not None:
        values["written"] = written
        twin.output.result(values, "\n".join(written) or "there is nothing to write")
    elif twin.args.id is not None:
        twin.output.result(values, f"{to_text(wanted[0].receipt)}\n{to_text(wanted[0].invoice)}")
    else:
        twin.output.result(values, _receipt_table(twin, wanted))


def _receipt_table(twin: Twin, found: Sequence[_Proven]) -> str:
    if not found:
        return "there are no receipts yet"
    rows = [
        (
            short(one.pay.payment_id),
            iso_local(one.pay.ended_ms) if one.pay.ended_ms is not None else "",
            twin.money(one.invoice.total_dest_payment, one.invoice.currency),
            twin.money(one.pay.fee, one.invoice.currency),
            _seller(twin, one.invoice),
            safe(one.invoice.description, 60),
        )
        for one in found
    ]
    return table(twin.output, ("id", "paid", "amount", "fee", "to", "for"), rows, right=(2, 3))


def _seller(twin: Twin, invoice: Invoice) -> str:
    name = proof_words.seller_name(twin.report, invoice.dest_public_key)
    return safe(name, _NAME_CELLS) or fingerprint(invoice.dest_public_key)


def _export(twin: Twin, found: Sequence[_Proven]) -> list[str]:
    target = expanded(twin.args.export)
    if os.path.lexists(target) and not target.is_dir():
        raise NotPossibleError(f"{target} is not a directory; receipts are written into one")
    written: list[str] = []
    for one in found:
        paid = proof_words.Paid(
            one.invoice,
            one.receipt,
            twin.session.decimals(one.invoice.currency),
            one.pay.fee,
            one.pay.ended_ms,
            proof_words.seller_name(twin.report, one.invoice.dest_public_key),
        )
        when = twin.now_ms if one.pay.ended_ms is None else one.pay.ended_ms
        day = f"{iso_local(when)[:10]}-{short(one.pay.payment_id)}"
        contents = (one.receipt, one.invoice)
        try:
            folder, names = write_bundle(
                twin.args.export, contents, one.invoice.description, day, proof_words.page(paid)
            )
        except OSError as error:
            raise NotPossibleError(f"cannot use {twin.args.export}: {error.strerror}") from None
        written += [str(folder / name) for name in names]
    return written
