"""State → rows: which rows a save has to write and which to delete.

A save looks only at the keys a step touched, and inside those only at objects that are not the same
object as before: unchanged entries keep their identity from step to step. `rows_of` is the whole state;
a test holds the two together.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import NoneType
from typing import Final, TypeVar

from offset_engine.core.codec import encode_friend_message
from offset_engine.core.events import Touched
from offset_engine.core.friend import CurrencyConfig, Friend, Queue, QueuedRequest
from offset_engine.core.invoice import ClosedInvoice, Group, OpenInvoice
from offset_engine.core.messages import BackwardsOp, MoveTokenMessage
from offset_engine.core.mutual_credit import Ledger, ReceivedRequest, SentRequest
from offset_engine.core.payer import Intent, PlannedPart
from offset_engine.core.payment import Payment
from offset_engine.core.route_memory import Penalty, Place
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Incoming, Inconsistent, Outgoing, TokenChannel
from offset_engine.core.values import (
    Currency,
    HashedLock,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PublicKey,
)
from offset_engine.store import fields
from offset_engine.store.interface import touched_between
from offset_engine.store.tables import (
    ADDRESS,
    CHANNEL,
    CLOSED_INVOICE,
    CURRENCY_CONFIG,
    FRIEND,
    INTENT,
    INVOICE,
    INVOICE_GROUP,
    INVOICE_MEMBER,
    LEDGER,
    PAYMENT,
    PAYMENT_TRANSACTION,
    PENALTY,
    PENDING,
    QUEUED,
    Changes,
    Row,
    Table,
)

_K = TypeVar("_K")
_V = TypeVar("_V")

LINK_KINDS: Final[Mapping[type, str]] = {
    PublicKey: "friend",
    PaymentId: "payment",
    InvoiceId: "invoice",
    NoneType: "none",
}
"""Names of what a request may come from or go to."""
QUEUES: Final = ("backwards", "forwarded", "own")


def rows_of(state: NodeState) -> dict[str, list[Row]]:
    """Every row of a state, by name of table."""
    empty = NodeState(state.local_public_key)
    return dict(changes_between(empty, state, touched_between(empty, state)).upserts)


def changes_between(old: NodeState, new: NodeState, touched: Touched) -> Changes:
    """What turns the rows of `old` into those of `new`, looking at the touched keys only.

    Raises:
        OverflowError: a number that no column can hold; the core lets none in.
    """
    changes = Changes()
    if touched.settings:
        _addresses(changes, "relay", old.relays, new.relays)
        _addresses(changes, "index_server", old.index_servers, new.index_servers)
    for friend in touched.friends:
        _friend(changes, friend, old.friends.get(friend), new.friends.get(friend))
    for payment_id in touched.payments:
        _payment(changes, old.payments.get(payment_id), new.payments.get(payment_id))
    for intent_id in touched.intents:
        _intent(changes, old.intents.get(intent_id), new.intents.get(intent_id))
    for invoice_id in touched.invoices:
        _invoice(changes, old.invoices.get(invoice_id), new.invoices.get(invoice_id))
    _closed_invoices(changes, old.closed_invoices, new.closed_invoices, touched.invoices)
    for place in touched.penalties:
        _penalty(changes, place, old.penalties.get(place), new.penalties.get(place))
    return changes


def _maybe(make_row: Callable[[_V], Row], item: _V | None) -> Row | None:
    return None if item is None else make_row(item)


def _addresses(
    changes: Changes, kind: str, old: tuple[NamedAddress, ...], new: tuple[NamedAddress, ...]
) -> None:
    for position in range(max(len(old), len(new))):
        before = _address_row(kind, position, old) if position < len(old) else None
        after = _address_row(kind, position, new) if position < len(new) else None
        changes.replace(ADDRESS, before, after)


def _address_row(kind: str, position: int, servers: tuple[NamedAddress, ...]) -> Row:
    server = servers[position]
    return (kind, position, server.public_key, server.address, server.name)


# --- friends ------------------------------------------------------------------------------------


def _friend(changes: Changes, key: PublicKey, old: Friend | None, new: Friend | None) -> None:
    if old is new:
        return
    if new is None:
        changes.drop(FRIEND, (key,))
        changes.drop(CHANNEL, (key,))
    else:
        if old is None or _settings(old) != _settings(new):
            changes.put(FRIEND, _friend_row(new))
        if old is None or _token_state(old) != _token_state(new):
            changes.put(CHANNEL, _channel_row(new))
    configs = ({} if old is None else old.configs, {} if new is None else new.configs)
    _configs(changes, key, *configs)
    _ledgers(changes, key, _ledgers_of(old), _ledgers_of(new))
    none: Queue[object] = Queue()
    for queue in QUEUES:
        before = none if old is None else getattr(old, queue)
        after = none if new is None else getattr(new, queue)
        _queue(changes, (key, queue), before, after)


def _settings(friend: Friend) -> Row:
    return (
        friend.name,
        friend.is_enabled,
        friend.is_quarantined,
        friend.remote_relays,
        friend.relays_sent,
        friend.reset_tokens,
        friend.lost,
        friend.imported,
    )


def _friend_row(friend: Friend) -> Row:
    told = friend.relays_sent
    return (
        friend.public_key,
        friend.name,
        int(friend.is_enabled),
        int(friend.is_quarantined),
        fields.pack(fields.relays_as_list(friend.remote_relays)),
        None
        if told is None
        else fields.pack(
            (
                fields.relays_as_list(told.now),
                None if told.before is None else fields.relays_as_list(told.before),
            )
        ),
        b"".join(friend.reset_tokens),
        fields.pack_amounts(friend.lost),
        fields.pack(fields.relays_as_list(friend.imported)) if friend.imported else None,
    )


def _token_state(friend: Friend) -> Row:
    """Everything `_channel_row` depends on; comparing it is cheap, packing is not."""
    numbers = (friend.backwards.first, friend.forwarded.first, friend.own.first)
    channel = friend.channel
    if isinstance(channel, Inconsistent):
        terms = (channel.local_terms, channel.remote_terms)
        return (terms, channel.last_incoming, channel.consistent_counter, numbers)
    return (
        channel.direction,
        channel.active_local,
        channel.active_remote,
        channel.inconsistency_counter,
        channel.move_token_counter,
        channel.offered_terms,
        numbers,
    )


def _channel_row(friend: Friend) -> Row:
    numbers = (friend.backwards.first, friend.forwarded.first, friend.own.first)
    channel = friend.channel
    if isinstance(channel, Inconsistent):
        last, remote = channel.last_incoming, channel.remote_terms
        return (
            friend.public_key,
            "inconsistent",
            channel.consistent_counter,
            *(None, None, None, None),
            None if last is None else fields.pack_evidence(last),
            fields.pack_terms(channel.local_terms),
            None if remote is None else fields.pack_terms(remote),
            *numbers,
        )
    last, terms = channel.last_incoming, channel.offered_terms
    return (
        friend.public_key,
        "incoming" if isinstance(channel.direction, Incoming) else "outgoing",
        channel.inconsistency_counter,
        str(channel.move_token_counter),
        " ".join(channel.active_local),
        " ".join(channel.active_remote),
        _sent_token(channel.direction),
        None if last is None else fields.pack_evidence(last),
        None if terms is None else fields.pack_terms(terms),
        None,
        *numbers,
    )


def _sent_token(direction: Incoming | Outgoing) -> bytes | None:
    if isinstance(direction, Incoming):
        return None
    return encode_friend_message(MoveTokenMessage(direction.move_token, direction.token_wanted))


def _configs(
    changes: Changes,
    friend: PublicKey,
    old: Mapping[Currency, CurrencyConfig],
    new: Mapping[Currency, CurrencyConfig],
) -> None:
    if old == new:
        return
    for currency, config in new.items():
        if old.get(currency) != config:
            rate = (config.rate.mul, config.rate.add)
            flags = (int(config.is_open), int(config.is_removing))
            row = (friend, currency, str(config.max_debt), *rate, *flags)
            changes.put(CURRENCY_CONFIG, row)
    _drop_missing(changes, CURRENCY_CONFIG, (friend,), old, new)


def _ledgers_of(friend: Friend | None) -> Mapping[Currency, Ledger]:
    if friend is None or not isinstance(friend.channel, TokenChannel):
        return {}
    return friend.channel.ledgers


def _ledgers(
    changes: Changes,
    friend: PublicKey,
    old: Mapping[Currency, Ledger],
    new: Mapping[Currency, Ledger],
) -> None:
    blank = Ledger()
    for currency, ledger in new.items():
        before = old.get(currency)
        if before is None or before.info != ledger.info:
            info = (ledger.balance, ledger.local_pending_debt, ledger.remote_pending_debt)
            changes.put(LEDGER, (friend, currency, *map(str, info)))
        before = blank if before is None else before
        _pending(changes, (friend, currency, "local"), before.local, ledger.local)
        _pending(changes, (friend, currency, "remote"), before.remote, ledger.remote)
    for currency, ledger in old.items():
        if currency not in new:
            _pending(changes, (friend, currency, "local"), ledger.local, {})
            _pending(changes, (friend, currency, "remote"), ledger.remote, {})
    _drop_missing(changes, LEDGER, (friend,), old, new)


def _pending(
    changes: Changes,
    key: Row,
    old: "Mapping[_K, SentRequest] | Mapping[_K, ReceivedRequest]",
    new: "Mapping[_K, SentRequest] | Mapping[_K, ReceivedRequest]",
) -> None:
    if old == new:
        return
    # Up to 768 entries, nearly all of them the same as before: hence the comprehensions.
    before = old.get
    for request_id, entry in [item for item in new.items() if before(item[0]) is not item[1]]:
        link = entry.origin if isinstance(entry, SentRequest) else entry.next
        answer = None if entry.response is None else entry.response.raw
        kind = LINK_KINDS[type(link)]
        row = (*key, request_id, entry.request.raw, kind, link, entry.since_ms, answer)
        changes.put(PENDING, row)
    _drop_missing(changes, PENDING, key, old, new)


def _queue(changes: Changes, key: Row, old: "Queue[object]", new: "Queue[object]") -> None:
    """Usually: delete what left at the front, insert what came at the end.

    A queue that does not continue the old one (the friend was removed and added again) is rewritten.
    """
    old_end = old.first + len(old.items)
    kept = old.items[new.first - old.first :] if old.first <= new.first <= old_end else None
    if kept is None or new.items[: len(kept)] != kept:
        gone = range(old.first, old_end)
        fresh = 0
    else:
        gone = range(old.first, old_end - len(kept))
        fresh = len(kept)
    new_end = new.first + len(new.items)
    for number in gone:
        if not new.first <= number < new_end:
            changes.drop(QUEUED, (*key, number))
    for place in range(fresh, len(new.items)):
        changes.put(QUEUED, (*key, new.first + place, *_queued(new.items[place])))


def _queued(item: object) -> Row:
    if isinstance(item, QueuedRequest):
        kind = LINK_KINDS[type(item.origin)]
        return (item.currency, item.request.raw, kind, item.origin)
    entry: tuple[Currency, BackwardsOp] = item  # type: ignore[assignment] # the only other kind
    return (entry[0], entry[1].raw, None, None)


def _drop_missing(
    changes: Changes, table: Table, prefix: Row, old: Mapping[_K, object], new: Mapping[_K, object]
) -> None:
    for key in [key for key in old if key not in new]:
        changes.drop(table, (*prefix, key))


# --- payments -----------------------------------------------------------------------------------


def _payment(changes: Changes, old: Payment | None, new: Payment | None) -> None:
    if old is new:
        return
    changes.replace(PAYMENT, _maybe(_payment_row, old), _maybe(_payment_row, new))
    payment = old if new is None else new
    if payment is None:
        return
    before = {} if old is None else old.transactions
    after = {} if new is None else new.transactions
    for request_id, one in after.items():
        if before.get(request_id) is not one:
            answer = None if one.response is None else one.response.raw
            row = (payment.payment_id, request_id, one.first_hop, one.request.raw, answer)
            changes.put(PAYMENT_TRANSACTION, row)
    _drop_missing(changes, PAYMENT_TRANSACTION, (payment.payment_id,), before, after)


def _payment_row(payment: Payment) -> Row:
    return (
        payment.payment_id,
        payment.invoice_id,
        payment.currency,
        str(payment.total_dest_payment),
        payment.dest_public_key,
        payment.src_plain_lock,
        payment.stage.value,
        int(payment.is_withheld),
        payment.ack_uid,
        fields.pack_commit(payment.commit),
        fields.pack_receipt(payment.receipt),
    )


def _intent(changes: Changes, old: Intent | None, new: Intent | None) -> None:
    if old is not new:
        changes.replace(INTENT, _maybe(_intent_row, old), _maybe(_intent_row, new))


def _intent_row(intent: Intent) -> Row:
    confirm = intent.confirm_above
    body = (
        fields.pack_invoice(intent.invoice),
        str(intent.max_fee),
        None if confirm is None else str(confirm),
        intent.payment_id,
        intent.attempts,
        intent.rounds,
        [_part(part) for part in intent.planned],
        [(request_id, _part(part)) for request_id, part in intent.parts.items()],
        intent.excluded,
        fields.pack_commit(intent.commit),
        fields.pack_receipt(intent.receipt),
    )
    failure = None if intent.failure is None else intent.failure.value
    stage = intent.stage.value
    cycle = intent.cycle
    return (
        intent.intent_id,
        stage,
        failure,
        intent.created_ms,
        intent.ended_ms,
        fields.pack(body),
        None if cycle is None else fields.pack((cycle.first_friend, cycle.last_friend)),
    )


def _part(part: PlannedPart) -> Row:
    return (part.route, str(part.amount), str(part.fee))


def _penalty(changes: Changes, place: Place, old: Penalty | None, new: Penalty | None) -> None:
    before = None if old is None else _penalty_row(place, old)
    after = None if new is None else _penalty_row(place, new)
    changes.replace(PENALTY, before, after)


def _penalty_row(place: Place, penalty: Penalty) -> Row:
    return (*place, penalty.points, penalty.since_ms, str(penalty.least))


# --- invoices -----------------------------------------------------------------------------------


def _invoice(changes: Changes, old: OpenInvoice | None, new: OpenInvoice | None) -> None:
    if old is new:
        return
    changes.replace(INVOICE, _maybe(_invoice_row, old), _maybe(_invoice_row, new))
    invoice = old if new is None else new
    if invoice is None:
        return
    invoice_id = invoice.invoice.invoice_id
    before = {} if old is None else old.groups
    after = {} if new is None else new.groups
    for lock in {**before, **after}:
        _group(changes, (invoice_id, lock), before.get(lock), after.get(lock))


def _invoice_row(invoice: OpenInvoice) -> Row:
    demand = invoice.invoice
    return (
        demand.invoice_id,
        demand.currency,
        str(demand.total_dest_payment),
        invoice.created_ms,
        invoice.expires_ms,
        fields.pack_invoice(demand),
        fields.pack_commit(invoice.registered),
    )


def _group(
    changes: Changes,
    key: tuple[InvoiceId, HashedLock],
    old: Group | None,
    new: Group | None,
) -> None:
    if old is new:
        return
    make_row = partial(_group_row, key)
    changes.replace(INVOICE_GROUP, _maybe(make_row, old), _maybe(make_row, new))
    before = {} if old is None else old.members
    after = {} if new is None else new.members
    for place, member in after.items():
        if before.get(place) is not member:
            amounts = (str(member.dest_payment), str(member.left_fees))
            changes.put(INVOICE_MEMBER, (*key, *place, *amounts, member.response.raw))
    for place in before:
        if place not in after:
            changes.drop(INVOICE_MEMBER, (*key, *place))


def _group_row(key: tuple[InvoiceId, HashedLock], group: Group) -> Row:
    return (*key, group.dest_plain_lock, int(group.is_sealed))


def _closed_invoices(
    changes: Changes,
    old: Mapping[InvoiceId, ClosedInvoice],
    new: Mapping[InvoiceId, ClosedInvoice],
    touched: tuple[InvoiceId, ...],
) -> None:
    if old is new:
        return
    dropped: set[InvoiceId] = set()
    # The oldest make room for the newest, whether or not the step named them.
    for invoice_id in old:
        if invoice_id in new:
            break
        dropped.add(invoice_id)
        changes.drop(CLOSED_INVOICE, (invoice_id,))
    for invoice_id in touched:
        if invoice_id not in dropped:
            before, after = old.get(invoice_id), new.get(invoice_id)
            if before is not after:
                rows = (_maybe(_closed_row, before), _maybe(_closed_row, after))
                changes.replace(CLOSED_INVOICE, *rows)


def _closed_row(invoice: ClosedInvoice) -> Row:
    return (invoice.invoice_id, int(invoice.is_paid), fields.pack_commit(invoice.commit))
