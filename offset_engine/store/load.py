"""Rows → state. Every value is checked again as if it came from the wire, every sum is added up again.

A database that other hands or a failing disk changed must not become money: the first wrong value ends
in a `StoreCorruptError` that names the table and the row.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeAlias, TypeVar

from offset_engine.core.friend import CurrencyConfig, Friend, Queue, QueuedRequest, RelaysSent
from offset_engine.core.invoice import ClosedInvoice, Group, Member, OpenInvoice
from offset_engine.core.messages import RequestOp, ResponseOp, parse_operation
from offset_engine.core.mutual_credit import (
    Ledger,
    ReceivedRequest,
    SentRequest,
    is_remaining_route,
)
from offset_engine.core.payer import Cycle, Intent, PayFailure, PayStage, PlannedPart
from offset_engine.core.payment import Payment, PaymentStage, Transaction
from offset_engine.core.route_memory import PENALTIES_MAX, PENALTY_POINTS, Penalty, Place
from offset_engine.core.state import NodeState, derive_outgoing_ids, derive_payers
from offset_engine.core.token_channel import (
    Channel,
    Incoming,
    Inconsistent,
    Outgoing,
    TokenChannel,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    INDEX_SERVERS_MAX,
    OWN_REQUESTS_QUEUED_MAX,
    PENDING_STORED_MAX,
    RELAYS_MAX,
    RESET_COUNTER_MAX,
    RESET_TOKENS_REMEMBERED,
    ROUTE_KEYS_MAX,
    U32_MAX,
    U128_MAX,
    HashedLock,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PlainLock,
    PublicKey,
    Rate,
    RelayAddress,
    Signature,
    Uid,
)
from offset_engine.errors import DecodeError, StoreCorruptError
from offset_engine.store import fields, tables
from offset_engine.store.tables import Row, Table

_T = TypeVar("_T")
ReadTable: TypeAlias = Callable[[Table], Iterable[Row]]
"""All rows of a table, in its order."""


def load_state(local_public_key: PublicKey, read: ReadTable) -> NodeState:
    """Build the state that these rows hold.

    Raises:
        StoreCorruptError: a value, a sum or a reference is wrong; the text names table and row.
    """
    state = NodeState(local_public_key)
    _each(read, tables.ADDRESS, partial(_address, state))
    channels: dict[PublicKey, tuple[Channel, tuple[int, int, int]]] = {}
    _each(read, tables.CHANNEL, partial(_channel, local_public_key, channels))
    _each(read, tables.FRIEND, partial(_friend, state.friends, channels))
    for friend in channels:
        raise corrupt("channel", (friend,), "there is no such friend")
    _each(read, tables.CURRENCY_CONFIG, partial(_config, state.friends))
    _each(read, tables.LEDGER, partial(_ledger, state.friends))
    _each(read, tables.PENDING, partial(_pending, state.friends))
    _each(read, tables.QUEUED, partial(_queued, state.friends))
    _each(read, tables.PAYMENT, partial(_payment, state.payments))
    _each(read, tables.PAYMENT_TRANSACTION, partial(_transaction, state.payments))
    _each(read, tables.INTENT, partial(_intent, state.intents))
    _each(read, tables.INVOICE, partial(_invoice, state.invoices))
    _each(read, tables.INVOICE_GROUP, partial(_group, state.invoices))
    _each(read, tables.INVOICE_MEMBER, partial(_member, state.invoices))
    _each(read, tables.CLOSED_INVOICE, partial(_closed_invoice, state.closed_invoices))
    _each(read, tables.PENALTY, partial(_penalty, state.penalties))
    for friend_state in state.friends.values():
        _check_friend(friend_state)
    state.outgoing_ids = derive_outgoing_ids(state.friends.values())
    state.payers = derive_payers(state.intents.values(), state.payments)
    return state


def corrupt(table: str, key: Row, why: object) -> StoreCorruptError:
    """The error that names a row."""
    shown = " ".join(
        PublicKey(part).to_text() if isinstance(part, bytes) else str(part) for part in key
    )
    return StoreCorruptError(f"table {table}, row {shown}: {why}")


def _each(read: ReadTable, table: Table, take: Callable[[Row], None]) -> None:
    for row in read(table):
        try:
            take(row)
        except (ValueError, DecodeError) as error:
            raise corrupt(table.name, row[: len(table.key)], error) from error


def _address(state: NodeState, row: Row) -> None:
    kind, position, key, where, name = row
    server = NamedAddress(fields.fixed(PublicKey, key), fields.address(where), fields.name(name))
    have = state.relays if kind == "relay" else state.index_servers
    if position != len(have):
        raise ValueError("the positions have a gap")
    if kind == "relay" and len(have) < RELAYS_MAX:
        state.relays = (*have, server)
    elif kind == "index_server" and len(have) < INDEX_SERVERS_MAX:
        state.index_servers = (*have, server)
    else:
        raise ValueError("an unknown kind of server, or too many of them")


# --- friends ------------------------------------------------------------------------------------


def _channel(
    local: PublicKey,
    channels: dict[PublicKey, tuple[Channel, tuple[int, int, int]]],
    row: Row,
) -> None:
    key, kind, resets, _, _, _, _, last, own_terms, their_terms, *firsts = row
    friend = fields.fixed(PublicKey, key)
    channel: Channel
    if kind == "inconsistent":
        channel = Inconsistent(
            fields.terms(own_terms),
            fields.optional(fields.terms, their_terms),
            fields.optional(fields.evidence, last),
            fields.number(resets, RESET_COUNTER_MAX),
        )
    else:
        channel = _token_channel(local, friend, row)
    backwards, forwarded, own = map(fields.number, firsts)
    channels[friend] = (channel, (backwards, forwarded, own))


def _token_channel(local: PublicKey, friend: PublicKey, row: Row) -> TokenChannel:
    _, kind, resets, counter, active_local, active_remote, sent, last, terms, *_ = row
    direction: Incoming | Outgoing
    if kind == "incoming":
        direction = Incoming(fields.evidence(last))
    elif kind == "outgoing":
        message = fields.move_token(sent)
        previous = fields.optional(fields.evidence, last)
        direction = Outgoing(message.move_token, previous, message.token_wanted)
    else:
        raise ValueError("an unknown kind of channel")
    return TokenChannel(
        local,
        friend,
        direction,
        {},
        fields.currency_list(active_local),
        fields.currency_list(active_remote),
        fields.number(resets, RESET_COUNTER_MAX),
        fields.decimal(counter, 0, U128_MAX),
        fields.optional(fields.terms, terms),
    )


def _friend(
    friends: dict[PublicKey, Friend],
    channels: dict[PublicKey, tuple[Channel, tuple[int, int, int]]],
    row: Row,
) -> None:
    key, name, enabled, quarantined, relays, told, tokens, lost, imported = row
    friend = fields.fixed(PublicKey, key)
    if friend not in channels:
        raise ValueError("the friend has no channel")
    channel, (backwards, forwarded, own) = channels.pop(friend)
    friends[friend] = Friend(
        friend,
        fields.name(name),
        fields.relays(fields.unpack(relays)),
        channel,
        is_enabled=fields.flag(enabled),
        relays_sent=fields.optional(_relays_sent, told),
        backwards=Queue([], backwards),
        forwarded=Queue([], forwarded),
        own=Queue([], own),
        reset_tokens=_reset_tokens(tokens),
        is_quarantined=fields.flag(quarantined),
        lost=fields.amounts(lost),
        imported=fields.optional(_imported, imported) or (),
    )


def _imported(field: object) -> tuple[RelayAddress, ...]:
    return fields.relays(fields.unpack(field))


def _relays_sent(field: object) -> RelaysSent:
    now, before = fields.unpack(field, 2)
    return RelaysSent(fields.relays(now), fields.optional(fields.relays, before))


def _reset_tokens(field: object) -> tuple[Signature, ...]:
    size = Signature.SIZE
    if type(field) is not bytes or len(field) % size or len(field) > size * RESET_TOKENS_REMEMBERED:
        raise ValueError("the reset tokens have a wrong length")
    return tuple(Signature(field[at : at + size]) for at in range(0, len(field), size))


def _find_friend(friends: dict[PublicKey, Friend], key: object) -> Friend:
    friend = friends.get(fields.fixed(PublicKey, key))
    if friend is None:
        raise ValueError("there is no such friend")
    return friend


def _config(friends: dict[PublicKey, Friend], row: Row) -> None:
    key, currency, max_debt, mul, add, is_open, is_removing = row
    _find_friend(friends, key).configs[fields.currency(currency)] = CurrencyConfig(
        Rate(fields.number(mul, U32_MAX), fields.number(add, U32_MAX)),
        fields.amount(max_debt),
        fields.flag(is_open),
        fields.flag(is_removing),
    )


def _ledger(friends: dict[PublicKey, Friend], row: Row) -> None:
    key, currency, balance, local_debt, remote_debt = row
    channel = _find_friend(friends, key).consistent
    if channel is None:
        raise ValueError("a channel that is inconsistent has no ledgers")
    channel.ledgers[fields.currency(currency)] = Ledger(
        fields.balance(balance), fields.amount(local_debt), fields.amount(remote_debt)
    )


def _pending(friends: dict[PublicKey, Friend], row: Row) -> None:
    key, currency, direction, request_id, raw, kind, link, since_ms, answer = row
    channel = _find_friend(friends, key).consistent
    ledger = None if channel is None else channel.ledgers.get(fields.currency(currency))
    if ledger is None:
        raise ValueError("there is no such ledger")
    request, response = _pair(request_id, raw, answer)
    if not is_remaining_route(request.route) or request.dest_payment > request.total_dest_payment:
        raise ValueError("the request breaks the rules of the ledger")
    since = fields.number(since_ms)
    if direction == "local":
        ledger.local[request.request_id] = SentRequest(
            request, _origin(kind, link), since, response
        )
    elif direction == "remote":
        ledger.remote[request.request_id] = ReceivedRequest(
            request, _next(kind, link), since, response
        )
    else:
        raise ValueError("an unknown direction")


def _pair(request_id: object, raw: object, answer: object) -> tuple[RequestOp, ResponseOp | None]:
    request = fields.request(raw)
    response = fields.optional(fields.response, answer)
    if request.request_id != request_id:
        raise ValueError("the request has another id")
    if response is not None and response.request_id != request_id:
        raise ValueError("the response is about another request")
    return request, response


def _origin(kind: object, link: object) -> PublicKey | PaymentId | None:
    match kind:
        case "friend":
            return fields.fixed(PublicKey, link)
        case "payment":
            return fields.fixed(PaymentId, link)
        case "none" if link is None:
            return None
        case _:
            raise ValueError("it is unclear where the request came from")


def _next(kind: object, link: object) -> PublicKey | InvoiceId | None:
    match kind:
        case "friend":
            return fields.fixed(PublicKey, link)
        case "invoice":
            return fields.fixed(InvoiceId, link)
        case "none" if link is None:
            return None
        case _:
            raise ValueError("it is unclear where the request went")


def _queued(friends: dict[PublicKey, Friend], row: Row) -> None:
    key, queue_name, number, unit, raw, kind, link = row
    friend = _find_friend(friends, key)
    currency = fields.currency(unit)
    if queue_name == "backwards":
        operation = parse_operation(raw if type(raw) is bytes else b"")
        if isinstance(operation, RequestOp):
            raise ValueError("a request cannot travel backwards")
        _append(friend.backwards, number, (currency, operation))
        return
    entry = QueuedRequest(currency, fields.request(raw), _origin(kind, link))
    if queue_name == "forwarded":
        _append(friend.forwarded, number, entry)
    elif queue_name == "own" and len(friend.own) < OWN_REQUESTS_QUEUED_MAX:
        _append(friend.own, number, entry)
    else:
        raise ValueError("an unknown queue, or too many own requests in it")


def _append(queue: "Queue[_T]", number: object, item: _T) -> None:
    if number != queue.first + len(queue):
        raise ValueError("the queue has a gap")
    queue.push(item)


def _check_friend(friend: Friend) -> None:
    channel = friend.consistent
    if channel is None:
        return
    agreed = [one for one in channel.active_local if one in channel.active_remote]
    if sorted(channel.ledgers) != agreed:
        raise corrupt(
            "channel", (friend.public_key,), "its currencies are not those both sides list"
        )
    for currency, ledger in channel.ledgers.items():
        why = _ledger_fault(ledger)
        if why is not None:
            raise corrupt("ledger", (friend.public_key, currency), why)


def _ledger_fault(ledger: Ledger) -> str | None:
    local = sum(entry.request.freeze for entry in ledger.local.values())
    remote = sum(entry.request.freeze for entry in ledger.remote.values())
    if (ledger.local_pending_debt, ledger.remote_pending_debt) != (local, remote):
        return "the pending debts are not the sums of the pending requests"
    if max(len(ledger.local), len(ledger.remote)) > PENDING_STORED_MAX:
        return f"more than {PENDING_STORED_MAX} requests pending in one direction"
    if max(ledger.balance + remote, local - ledger.balance) > CREDITS_MAX:
        return "balance and pending debts together are out of range"
    return None


# --- payments -----------------------------------------------------------------------------------


def _payment(payments: dict[PaymentId, Payment], row: Row) -> None:
    key, invoice_id, currency, total, dest, lock, stage, withheld, ack, commit, receipt = row
    payment_id = fields.fixed(PaymentId, key)
    payments[payment_id] = Payment(
        payment_id,
        fields.fixed(InvoiceId, invoice_id),
        fields.currency(currency),
        fields.amount(total),
        fields.fixed(PublicKey, dest),
        fields.fixed(PlainLock, lock),
        PaymentStage(stage),
        {},
        fields.optional(fields.commit, commit),
        fields.optional(fields.receipt, receipt),
        fields.optional(partial(fields.fixed, Uid), ack),
        fields.flag(withheld),
    )


def _transaction(payments: dict[PaymentId, Payment], row: Row) -> None:
    key, request_id, first_hop, raw, answer = row
    payment = payments.get(fields.fixed(PaymentId, key))
    if payment is None:
        raise ValueError("there is no such payment")
    request, response = _pair(request_id, raw, answer)
    payment.transactions[request.request_id] = Transaction(
        fields.fixed(PublicKey, first_hop), request, response
    )


def _intent(intents: dict[PaymentId, Intent], row: Row) -> None:
    key, stage, failure, created_ms, ended_ms, body, cycle = row
    (
        invoice,
        max_fee,
        confirm,
        payment_id,
        attempts,
        rounds,
        planned,
        parts,
        excluded,
        commit,
        receipt,
    ) = fields.unpack(body, 11)
    intent_id = fields.fixed(PaymentId, key)
    edges = [fields.record(edge, 2) for edge in fields.record(excluded)]
    sent = [fields.record(entry, 2) for entry in fields.record(parts)]
    intents[intent_id] = Intent(
        intent_id,
        fields.invoice(invoice),
        fields.amount(max_fee),
        fields.optional(fields.amount, confirm),
        fields.number(created_ms),
        PayStage(stage),
        fields.optional(PayFailure, failure),
        fields.optional(partial(fields.fixed, PaymentId), payment_id),
        fields.number(attempts),
        fields.number(rounds),
        tuple(_part(part) for part in fields.record(planned)),
        {fields.fixed(Uid, request_id): _part(part) for request_id, part in sent},
        tuple((fields.fixed(PublicKey, src), fields.fixed(PublicKey, dst)) for src, dst in edges),
        fields.optional(fields.commit, commit),
        fields.optional(fields.receipt, receipt),
        fields.optional(fields.number, ended_ms),
        fields.optional(_cycle, cycle),
    )


def _cycle(field: object) -> Cycle:
    first, last = (
        fields.optional(partial(fields.fixed, PublicKey), end) for end in fields.unpack(field, 2)
    )
    return Cycle(first, last)


def _penalty(penalties: dict[Place, Penalty], row: Row) -> None:
    currency, src, dest, points, since_ms, least = row
    if len(penalties) >= PENALTIES_MAX:
        raise ValueError(f"more than {PENALTIES_MAX} hops")
    place = (
        fields.currency(currency),
        fields.fixed(PublicKey, src),
        fields.fixed(PublicKey, dest),
    )
    penalties[place] = Penalty(
        fields.number(points, PENALTY_POINTS), fields.number(since_ms), fields.amount(least)
    )


def _part(field: object) -> PlannedPart:
    keys, amount, fee = fields.record(field, 3)
    route = tuple(fields.fixed(PublicKey, key) for key in fields.record(keys))
    if len(route) > ROUTE_KEYS_MAX:
        raise ValueError(f"a route has more than {ROUTE_KEYS_MAX} keys")
    return PlannedPart(route, fields.amount(amount), fields.amount(fee))


# --- invoices -----------------------------------------------------------------------------------


def _invoice(invoices: dict[InvoiceId, OpenInvoice], row: Row) -> None:
    key, currency, total, created_ms, expires_ms, demand, registered = row
    invoice = fields.invoice(demand)
    said = (invoice.invoice_id, invoice.currency, str(invoice.total_dest_payment))
    if (key, currency, total) != said:
        raise ValueError("the columns are not those of the invoice")
    invoices[invoice.invoice_id] = OpenInvoice(
        invoice,
        fields.number(created_ms),
        fields.optional(fields.number, expires_ms),
        {},
        fields.optional(fields.commit, registered),
    )


def _group(invoices: dict[InvoiceId, OpenInvoice], row: Row) -> None:
    key, src_lock, dest_lock, is_sealed = row
    invoice = invoices.get(fields.fixed(InvoiceId, key))
    if invoice is None:
        raise ValueError("there is no such invoice")
    invoice.groups[fields.fixed(HashedLock, src_lock)] = Group(
        fields.fixed(PlainLock, dest_lock), {}, fields.flag(is_sealed)
    )


def _member(invoices: dict[InvoiceId, OpenInvoice], row: Row) -> None:
    key, src_lock, friend, request_id, payment, left_fees, answer = row
    invoice = invoices.get(fields.fixed(InvoiceId, key))
    lock = fields.fixed(HashedLock, src_lock)
    group = None if invoice is None else invoice.groups.get(lock)
    if group is None:
        raise ValueError("there is no such group of an invoice")
    place = (fields.fixed(PublicKey, friend), fields.fixed(Uid, request_id))
    response = fields.response(answer)
    if response.request_id != request_id:
        raise ValueError("the response is about another request")
    group.members[place] = Member(
        place[0], fields.amount(payment), fields.amount(left_fees), response
    )


def _closed_invoice(closed: dict[InvoiceId, ClosedInvoice], row: Row) -> None:
    key, is_paid, commit = row
    invoice_id = fields.fixed(InvoiceId, key)
    closed[invoice_id] = ClosedInvoice(
        invoice_id, fields.flag(is_paid), fields.optional(fields.commit, commit)
    )
