"""What the node says, as tables for people and as JSON for programs.

Amounts are whole credits; in JSON they are strings, because they may be larger than other programs count.
Names, descriptions and addresses may be foreign text: `shown` keeps them from acting on a terminal.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from rich.cells import cell_len

from offset_engine.core.reports import (
    CurrencyReport,
    ForwardRecord,
    FriendReport,
    HistoryEntry,
    InvoiceRecord,
    InvoiceReport,
    LossRecord,
    NodeReport,
    PaymentRecord,
    PayReport,
    Record,
    ResetRecord,
    ServerReport,
    ServerState,
    TermsReport,
)
from offset_engine.core.signing import Invoice
from offset_engine.core.values import Currency, NamedAddress, PublicKey
from offset_engine.files import shown
from offset_engine.programs.arguments import Json
from offset_engine.programs.control.amounts import percent_text
from offset_engine.sentences import SERVER_STATES


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns side by side; a cell may have several lines."""
    lines = [tuple(head)]
    for row in rows:
        lines += zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def plain(text: str) -> str:
    """Foreign text without the quotes, where a column separates it."""
    return shown(text)[1:-1]


def time_text(ms: int | None) -> str | None:
    """A time as ISO 8601 in UTC; None stays None, as does a time no calendar has."""
    if ms is None:
        return None
    try:
        return dt.datetime.fromtimestamp(ms // 1000, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


# --- servers ------------------------------------------------------------------------------------


def server_table(
    kind: str,
    servers: Sequence[NamedAddress],
    states: Sequence[ServerReport],
    marked: PublicKey | None = None,
) -> str:
    """Relays or index servers for people; `(*)` behind the name of the one marked."""
    if not servers:
        return f"no {kind} is configured"
    rows = [
        (
            plain(one.name) + (" (*)" if one.public_key == marked else ""),
            one.public_key.to_text(),
            plain(one.address),
            _server_state(state),
        )
        for one, state in _with_states(servers, states)
    ]
    return table((f"{kind} name", "public key", "address", "status"), rows)


def _with_states(
    servers: Sequence[NamedAddress], states: Sequence[ServerReport]
) -> list[tuple[NamedAddress, ServerReport]]:
    """Each server with how it is doing; what a strange node does not say is idle."""
    known = {one.public_key: one for one in states}
    return [
        (one, known.get(one.public_key, ServerReport(one.public_key, ServerState.IDLE, "")))
        for one in servers
    ]


def _server_state(one: ServerReport) -> str:
    words = SERVER_STATES[one.state]
    return f"{words}: {plain(one.trouble)}" if one.trouble else words


def server_values(servers: Sequence[NamedAddress], states: Sequence[ServerReport]) -> list[Json]:
    """Relays or index servers for programs."""
    return [
        {
            "name": one.name,
            "public_key": one.public_key.to_text(),
            "address": one.address,
            "connected": state.state is ServerState.CONNECTED,
            "status": state.state.value,
            "trouble": state.trouble,
            "latency_ms": state.latency_ms,
        }
        for one, state in _with_states(servers, states)
    ]


# --- friends ------------------------------------------------------------------------------------


def friend_table(friends: Sequence[FriendReport]) -> str:
    """Friends for people."""
    if not friends:
        return "there are no friends yet"
    rows = [(_state(one), plain(one.name), "\n".join(balance_lines(one))) for one in friends]
    return table(("st", "name", "balance"), rows)


def _state(friend: FriendReport) -> str:
    return ("E" if friend.is_enabled else "D") + ("+" if friend.is_online else "-")


def balance_lines(friend: FriendReport) -> list[str]:
    """How things stand with a friend, everything from our side."""
    if not friend.is_consistent:
        lines = ["Inconsistent:", "our terms:", *_terms_lines(friend.local_terms)]
        return [*lines, "the friend's terms:", *_terms_lines(friend.remote_terms)]
    lines = ["Consistent:", *map(_currency_line, friend.currencies)]
    if friend.is_quarantined:
        lines.append("the friend does not act on what was sent; nothing new goes this way")
    if friend.is_unreadable:
        lines.append("the friend sent something that cannot be read")
    return lines


def _currency_line(one: CurrencyReport) -> str:
    if one.balance is None:
        return f"{one.currency}: not agreed by the friend yet, {settings_text(one)}"
    return (
        f"{one.currency}: B = {one.balance}, LPD={one.local_pending_debt}, "
        f"RPD={one.remote_pending_debt}, {settings_text(one)}"
    )


def settings_text(one: CurrencyReport) -> str:
    """What we decided about a currency."""
    state = "being removed" if one.is_removing else "open" if one.is_open else "closed"
    room = "" if one.balance is None else f", room {_room(one)}"
    rate = f"{one.rate.mul}/2^32 + {one.rate.add} ({percent_text(one.rate)} %)"
    return f"limit {one.max_debt}{room}, rate {rate}, {state}"


def _room(one: CurrencyReport) -> int:
    """Credits the friend may still come to owe us."""
    return max(0, one.max_debt - (one.balance or 0) - one.remote_pending_debt)


def _terms_lines(terms: TermsReport | None) -> list[str]:
    if terms is None:
        return ["Unknown"]
    return [f"{currency}: B = {balance}" for currency, balance in terms.balances] or [
        "nothing owed"
    ]


def terms_changes(friend: FriendReport) -> list[tuple[Currency, int]]:
    """What accepting the friend's terms changes, in credits; below zero we lose, zero is left out."""
    ours = {} if friend.local_terms is None else dict(friend.local_terms.balances)
    theirs = {} if friend.remote_terms is None else dict(friend.remote_terms.balances)
    changes = [(one, theirs.get(one, 0) - ours.get(one, 0)) for one in sorted({*ours, *theirs})]
    return [(currency, change) for currency, change in changes if change]


def changes_text(changes: Iterable[tuple[Currency, int]]) -> str:
    """`you lose 20 credits of FST`, for each currency; currencies are never added up."""
    said = [
        f"you {'lose' if change < 0 else 'gain'} {abs(change)} "
        f"{'credit' if abs(change) == 1 else 'credits'} of {currency}"
        for currency, change in changes
    ]
    return ", ".join(said) or "you lose nothing"


def friend_values(friend: FriendReport) -> dict[str, Json]:
    """One friend for programs."""
    return {
        "name": friend.name,
        "public_key": friend.public_key.to_text(),
        "enabled": friend.is_enabled,
        "online": friend.is_online,
        "consistent": friend.is_consistent,
        "quarantined": friend.is_quarantined,
        "unreadable": friend.is_unreadable,
        "pending": friend.pending,
        "relays": [
            {"public_key": one.public_key.to_text(), "address": one.address}
            for one in friend.remote_relays
        ],
        "currencies": [_currency_values(one) for one in friend.currencies],
        "local_reset_terms": _terms_values(friend.local_terms),
        "remote_reset_terms": _terms_values(friend.remote_terms),
    }


def _currency_values(one: CurrencyReport) -> dict[str, Json]:
    agreed = one.balance is not None
    return {
        "currency": one.currency,
        "balance": str(one.balance) if agreed else None,
        "local_pending_debt": str(one.local_pending_debt),
        "remote_pending_debt": str(one.remote_pending_debt),
        "max_debt": str(one.max_debt),
        "room": str(_room(one)) if agreed else None,
        "rate": {
            "mul": one.rate.mul,
            "add": one.rate.add,
            "percent": percent_text(one.rate),
        },
        "open": one.is_open,
        "removing": one.is_removing,
    }


def _terms_values(terms: TermsReport | None) -> Json:
    if terms is None:
        return None
    return {
        "hash": terms.terms_hash.to_text(),
        "counter": terms.inconsistency_counter,
        "acceptable": terms.is_acceptable,
        "balances": [_amount(*pair) for pair in terms.balances],
    }


def _amount(currency: Currency, balance: int) -> dict[str, Json]:
    return {"currency": currency, "balance": str(balance)}


def totals(report: NodeReport) -> dict[Currency, int]:
    """What all friends together owe us, per currency; negative if we owe them."""
    found: dict[Currency, int] = {}
    for friend in report.friends:
        for one in friend.currencies:
            if one.balance is not None:
                found[one.currency] = found.get(one.currency, 0) + one.balance
    return dict(sorted(found.items()))


def node_values(report: NodeReport) -> dict[str, Json]:
    """The whole node for programs."""
    return {
        "public_key": report.local_public_key.to_text(),
        "relays": server_values(report.relays, report.connections.relays),
        "index_servers": server_values(report.index_servers, report.connections.index_servers),
        "friends": [friend_values(one) for one in report.friends],
        "open_invoices": report.open_invoices,
        "open_payments": report.open_payments,
    }


def node_lines(report: NodeReport) -> list[str]:
    """The whole node in lines that each say one thing."""
    states = report.connections
    lines = _server_lines("relay", report.relays, states.relays)
    lines += _server_lines("index", report.index_servers, states.index_servers)
    for friend in report.friends:
        told = f"friend {shown(friend.name)}"
        lines.append(f"{told} {_state(friend)}")
        lines += [f"{told} {line}" for line in balance_lines(friend)]
    lines.append(f"{report.open_invoices} open invoices, {report.open_payments} open payments")
    return lines


def _server_lines(
    kind: str, servers: Sequence[NamedAddress], states: Sequence[ServerReport]
) -> list[str]:
    return [
        f"{kind} {shown(one.name)} at {plain(one.address)}: {SERVER_STATES[state.state]}"
        for one, state in _with_states(servers, states)
    ]


# --- payments and invoices ----------------------------------------------------------------------


def invoice_values(invoice: Invoice) -> dict[str, Json]:
    """An invoice for programs."""
    return {
        "invoice_id": invoice.invoice_id.to_text(),
        "currency": invoice.currency,
        "amount": str(invoice.total_dest_payment),
        "seller": invoice.dest_public_key.to_text(),
        "description": invoice.description,
    }


def pay_values(pay: PayReport | PaymentRecord) -> dict[str, Json]:
    """A payment for programs."""
    return {
        "payment_id": pay.payment_id.to_text(),
        "status": pay.stage.value,
        "failure": None if pay.failure is None else pay.failure.value,
        "fees": str(pay.fee),
        "invoice": invoice_values(pay.invoice),
        "ended": time_text(pay.ended_ms),
    }


def pay_table(pays: Sequence[PayReport]) -> str:
    """Payments for people."""
    if not pays:
        return "there are no payments"
    rows = [
        (
            one.payment_id.to_text(),
            one.stage.value if one.failure is None else f"{one.stage.value}: {one.failure.value}",
            _sum_text(one.invoice),
            str(one.fee),
            plain(one.invoice.description),
        )
        for one in pays
    ]
    return table(("payment", "status", "amount", "fees", "description"), rows)


def open_invoice_values(report: InvoiceReport) -> dict[str, Json]:
    """An open invoice for programs."""
    return {
        **invoice_values(report.invoice),
        "status": invoice_status(report),
        "frozen": str(report.frozen),
        "created": time_text(report.created_ms),
        "expires": time_text(report.expires_ms),
    }


def invoice_status(report: InvoiceReport) -> str:
    """Where an open invoice is."""
    if report.registered is not None:
        return "commit held"
    return "complete, awaits its commit" if report.is_sealed else "open"


def invoice_table(invoices: Sequence[InvoiceReport]) -> str:
    """Open invoices for people."""
    if not invoices:
        return "there are no open invoices"
    rows = [
        (
            one.invoice.invoice_id.to_text(),
            invoice_status(one),
            _sum_text(one.invoice),
            str(one.frozen),
            plain(one.invoice.description),
        )
        for one in invoices
    ]
    return table(("invoice", "status", "amount", "frozen", "description"), rows)


def _sum_text(invoice: Invoice) -> str:
    return f"{invoice.total_dest_payment} {invoice.currency}"


# --- history ------------------------------------------------------------------------------------


def history_table(entries: Sequence[HistoryEntry]) -> str:
    """A page of history for people."""
    if not entries:
        return "there is no history of this kind"
    rows = [
        (str(one.number), time_text(one.record.ended_ms) or "", _record_text(one.record))
        for one in entries
    ]
    return table(("number", "time", "what"), rows)


def _record_text(record: Record) -> str:
    match record:
        case PaymentRecord():
            how = (
                record.stage.value if record.failure is None else f"failed: {record.failure.value}"
            )
            told = f"{_sum_text(record.invoice)}, fees {record.fee}, {how}"
            return f"{told}, {shown(record.invoice.description)}"
        case InvoiceRecord():
            how = f"paid, received {record.received}" if record.is_paid else "canceled"
            return f"{_sum_text(record.invoice)}, {how}, {shown(record.invoice.description)}"
        case ForwardRecord():
            return f"{record.amount} {record.currency} forwarded, earned {record.fee}"
        case LossRecord():
            return f"{record.amount} {record.currency} lost with {record.friend.to_text()}"
        case ResetRecord():
            told = ", ".join(f"{balance} {currency}" for currency, balance in record.balances)
            return f"channel with {record.friend.to_text()} restarted: {told or 'nothing owed'}"


def history_values(entry: HistoryEntry) -> dict[str, Json]:
    """An entry of history for programs."""
    return {"number": entry.number, **_record_values(entry.record)}


def _record_values(record: Record) -> dict[str, Json]:
    ended = time_text(record.ended_ms)
    match record:
        case PaymentRecord():
            return {**pay_values(record), "started": time_text(record.started_ms)}
        case InvoiceRecord():
            status = "paid" if record.is_paid else "canceled"
            told = {**invoice_values(record.invoice), "status": status, "ended": ended}
            return {**told, "received": str(record.received)}
        case ForwardRecord():
            ends: dict[str, Json] = {"from": record.src.to_text(), "to": record.dest.to_text()}
            told = {**ends, "currency": record.currency, "ended": ended}
            return {**told, "amount": str(record.amount), "fee": str(record.fee)}
        case LossRecord():
            told = {"friend": record.friend.to_text(), "currency": record.currency}
            return {**told, "amount": str(record.amount), "ended": ended}
        case ResetRecord():
            balances: Json = [_amount(*pair) for pair in record.balances]
            return {"friend": record.friend.to_text(), "balances": balances, "ended": ended}
