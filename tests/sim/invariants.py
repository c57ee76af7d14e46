"""What must hold in every reachable state: I1 to I27 of PROTOCOL.md, each a small function.

| takes | functions |
|---|---|
| one friend or node | I2, I3, I5, I13, I14, I19, I20, I21, I22, I26, I27 |
| both ends of a friendship | I1, I15 |
| a whole world | I6, I9 |

Those that need a memory of what happened (I4, I7, I8, I10 to I12, I16 to I18, I23, I24, I25) are in `history`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import TypeAlias

from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.events import Touched
from offset_engine.core.friend import Friend
from offset_engine.core.messages import (
    CollectOp,
    FriendMessage,
    ResponseOp,
)
from offset_engine.core.mutual_credit import Ledger, Next, Origin, SentRequest, Verify
from offset_engine.core.payer import PayStage
from offset_engine.core.route_memory import PENALTIES_MAX
from offset_engine.core.signing import Commit, Receipt, commit_terms, receipt_terms, response_buffer
from offset_engine.core.state import Agenda, NodeState, derive_outgoing_ids
from offset_engine.core.token_channel import Incoming, Outgoing, TokenChannel
from offset_engine.core.values import (
    CREDITS_MAX,
    GROUP_REQUESTS_MAX,
    INVOICE_GROUPS_MAX,
    OPERATIONS_PER_TOKEN_MAX,
    OWN_REQUESTS_QUEUED_MAX,
    PENDING_PER_DIRECTION_MAX,
    PENDING_STORED_MAX,
    RESET_TOKENS_REMEMBERED,
    Currency,
    PaymentId,
    PublicKey,
    Uid,
)

_Sent: TypeAlias = tuple[PublicKey, Currency, Uid]
"""A request sent, or waiting to be sent, to this friend."""


class ViolationError(AssertionError):
    """An invariant does not hold."""


def insist(condition: bool, what: str, *details: object) -> None:
    """Fail with the invariant's number and what contradicts it."""
    if not condition:
        raise ViolationError(" ".join([what, *map(repr, details)]))


# --- both ends of a friendship ------------------------------------------------------------------


def i01_mirror(local: Ledger, remote: Ledger, currency: Currency) -> None:
    """One side's ledger is the other's with signs and sides swapped, entry by entry."""
    insist(local.balance == -remote.balance, "I1 balance", currency, local.info, remote.info)
    insist(
        (local.local_pending_debt, local.remote_pending_debt)
        == (remote.remote_pending_debt, remote.local_pending_debt),
        "I1 pending debts",
        currency,
        local.info,
        remote.info,
    )
    for mine, theirs in ((local.local, remote.remote), (remote.local, local.remote)):
        insist(mine.keys() == theirs.keys(), "I1 pending sets", currency, list(mine), list(theirs))
        for request_id, entry in mine.items():
            other = theirs[request_id]
            insist(entry.request == other.request, "I1 request", entry, other)
            insist(entry.response == other.response, "I1 stage", entry, other)


def i01_agreement(local: TokenChannel, remote: TokenChannel) -> None:
    """If the last move token arrived, both hold the same numbers, lists and entries."""
    if not _holds_last_of(remote, local) and not _holds_last_of(local, remote):
        return
    insist(
        (local.inconsistency_counter, local.move_token_counter)
        == (remote.inconsistency_counter, remote.move_token_counter),
        "I1 counters",
        local.token_info,
        remote.token_info,
    )
    insist(local.active_local == remote.active_remote, "I1 lists", local, remote)
    insist(local.active_remote == remote.active_local, "I1 lists", local, remote)
    insist(local.ledgers.keys() == remote.ledgers.keys(), "I1 currencies")
    for currency, ledger in local.ledgers.items():
        i01_mirror(ledger, remote.ledgers[currency], currency)


def _holds_last_of(receiver: TokenChannel, sender: TokenChannel) -> bool:
    return (
        isinstance(receiver.direction, Incoming)
        and isinstance(sender.direction, Outgoing)
        and receiver.direction.last.new_token == sender.direction.move_token.new_token
    )


def i15_token(local: TokenChannel, remote: TokenChannel) -> None:
    """Never both own the token; both lack it only while the newer move token travels."""
    one, other = local.direction, remote.direction
    if isinstance(one, Incoming) or isinstance(other, Incoming):
        insist(isinstance(one, Outgoing) or isinstance(other, Outgoing), "I15 both own the token")
        insist(
            _holds_last_of(local, remote) or _holds_last_of(remote, local),
            "I15 owner holds another token",
            local.token_info,
            remote.token_info,
        )
        return
    if local.offered_terms is not None or remote.offered_terms is not None:
        return  # both accepted a reset at once; the tie-break decides when the tokens arrive
    is_travelling = (
        one.move_token.old_token == other.move_token.new_token
        or other.move_token.old_token == one.move_token.new_token
    )
    insist(is_travelling, "I15 two tokens that do not follow each other")


# --- one friend ---------------------------------------------------------------------------------


def i02_pending_sums(friend: Friend) -> None:
    """Pending debts are the sums of what is frozen."""
    for currency, ledger in _ledgers(friend):
        for debt, entries in (
            (ledger.local_pending_debt, ledger.local.values()),
            (ledger.remote_pending_debt, ledger.remote.values()),
        ):
            frozen = sum(entry.request.freeze for entry in entries)
            insist(debt == frozen, "I2", currency, debt, frozen)


def i03_ledgers(friend: Friend) -> None:
    """Exactly the currencies both sides list have a ledger."""
    channel = friend.consistent
    if channel is not None:
        both = set(channel.active_local) & set(channel.active_remote)
        insist(channel.ledgers.keys() == both, "I3", list(channel.ledgers), sorted(both))


def i05_ranges(friend: Friend) -> None:
    """Amounts stay in range, pending debts are never negative."""
    for currency, ledger in _ledgers(friend):
        insist(abs(ledger.balance) <= CREDITS_MAX, "I5 balance", currency, ledger.info)
        insist(min(ledger.local_pending_debt, ledger.remote_pending_debt) >= 0, "I5 negative")
        insist(ledger.balance + ledger.remote_pending_debt <= CREDITS_MAX, "I5 remote")
        insist(ledger.balance - ledger.local_pending_debt >= -CREDITS_MAX, "I5 local")


def i20_order(friend: Friend) -> None:
    """No answer waits behind a cancel or collect of the same transaction, no collect before its response."""
    ended: dict[tuple[Currency, Uid], None] = {}
    answered: dict[tuple[Currency, Uid], None] = {}
    for currency, operation in friend.backwards.items:
        where = (currency, operation.request_id)
        insist(where not in ended, "I20 after the end", operation)
        channel = friend.consistent
        insist(channel is not None, "I20 answers wait in a dead channel")
        assert channel is not None
        ledger = channel.ledgers.get(currency)
        entry = ledger.remote.get(operation.request_id) if ledger is not None else None
        insist(entry is not None, "I20 answer to nothing", operation)
        if isinstance(operation, ResponseOp):
            insist(where not in answered, "I20 two responses", operation)
            answered[where] = None
            continue
        ended[where] = None
        if isinstance(operation, CollectOp):
            assert entry is not None
            insist(where in answered or entry.response is not None, "I20 collect first", operation)


def i21_bounds(friend: Friend) -> None:
    """Queues, pending sets, batches and memories have an end."""
    insist(len(friend.own) <= OWN_REQUESTS_QUEUED_MAX, "I21 own queue")
    insist(len(friend.forwarded) <= OWN_REQUESTS_QUEUED_MAX, "I21 forwarded queue")
    insist(len(friend.reset_tokens) <= RESET_TOKENS_REMEMBERED, "I21 reset tokens")
    pending = 0
    for _, ledger in _ledgers(friend):
        insist(len(ledger.local) <= PENDING_PER_DIRECTION_MAX, "I21 local")
        insist(len(ledger.remote) <= PENDING_STORED_MAX, "I21 remote")
        pending += len(ledger.remote)
    insist(len(friend.backwards) <= 2 * pending, "I21 backwards queue")
    channel = friend.consistent
    if channel is not None and isinstance(channel.direction, Outgoing):
        batches = channel.direction.move_token.currencies_operations
        count = sum(len(batch.operations) for batch in batches)
        insist(count <= OPERATIONS_PER_TOKEN_MAX, "I21 operations", count)
        names = [batch.currency for batch in batches]
        insist(names == sorted(set(names)), "I21 currencies of a batch", names)


def i09_waits_for_somebody(friend: Friend) -> None:
    """Requests only wait for a friend who is there: enabled, online, consistent."""
    is_waiting = bool(friend.forwarded.items or friend.own.items)
    insist(friend.is_talking or not is_waiting, "I9 requests wait for nobody", friend)


def check_friend(friend: Friend) -> None:
    """Everything that one friend's record must satisfy."""
    i09_waits_for_somebody(friend)
    i02_pending_sums(friend)
    i03_ledgers(friend)
    i05_ranges(friend)
    i20_order(friend)
    i21_bounds(friend)


# --- one node -----------------------------------------------------------------------------------


def i13_complete_once(state: NodeState) -> None:
    """A group has one complete response at most, and is sealed from then on."""
    for invoice in state.invoices.values():
        insist(len(invoice.groups) <= INVOICE_GROUPS_MAX, "I21 groups")
        for group in invoice.groups.values():
            insist(len(group.members) <= GROUP_REQUESTS_MAX, "I21 group")
            count = sum(member.response.is_complete for member in group.members.values())
            insist(count <= 1, "I13 complete twice")
            insist(count == 0 or group.is_sealed, "I13 complete but not sealed")
            insist(group.sum <= invoice.invoice.total_dest_payment, "I13 more than asked for")


def i14_receipts(state: NodeState, touched: Touched, verify: Verify) -> None:
    """Every receipt is complete, fits its invoice and carries the seller's signature; so does a commit."""
    for payment_id in touched.payments:
        payment = state.payments.get(payment_id)
        if payment is not None:
            asked = (payment.invoice_id, payment.currency, payment.total_dest_payment, True)
            _check_proof(payment.commit, payment.receipt, asked, payment.dest_public_key, verify)
    for intent_id in touched.intents:
        intent = state.intents.get(intent_id)
        if intent is not None:
            is_paid = intent.stage is PayStage.PAID
            insist(is_paid == (intent.receipt is not None), "I14 paid", intent)
            invoice = intent.invoice
            asked = (invoice.invoice_id, invoice.currency, invoice.total_dest_payment, True)
            _check_proof(intent.commit, intent.receipt, asked, invoice.dest_public_key, verify)


def _check_proof(
    commit: Commit | None,
    receipt: Receipt | None,
    asked: tuple[object, ...],
    seller: PublicKey,
    verify: Verify,
) -> None:
    for proof in (commit, receipt):
        if proof is not None:
            terms = receipt_terms(proof) if isinstance(proof, Receipt) else commit_terms(proof)
            total = terms.total_dest_payment
            claims = (terms.invoice_id, terms.currency, total, terms.is_complete)
            insist(claims == asked, "I14 proof of something else", proof)
            insist(verify(seller, response_buffer(terms), proof.signature), "I14 signature", proof)
            insist(terms.dest_payment <= total, "I14 amount", proof)


def i19_links(state: NodeState) -> None:
    """Every link between a received and a sent request, a payment or an invoice leads both ways."""
    sent = _sent_or_queued(state)
    for key, currency, request_id, next_ in _received(state):
        if isinstance(next_, PublicKey):
            where = (next_, currency, request_id)
            origin = sent.get(where, "nothing")
            insist(origin == key, "I19 next leads to", origin, "from", key, request_id)
        elif next_ is not None:
            invoice = state.invoices.get(next_)
            insist(invoice is not None, "I19 invoice is gone", next_, request_id)
            assert invoice is not None
            groups = [g for g in invoice.groups.values() if (key, request_id) in g.members]
            insist(len(groups) == 1, "I19 request is in", len(groups), "groups", request_id)
    for (key, currency, request_id), came_from in sent.items():
        _insist_origin(state, (key, currency, request_id), came_from)
    _insist_transactions(state, sent)
    _insist_members(state)
    derived = derive_outgoing_ids(state.friends.values())
    insist(state.outgoing_ids == derived, "I19 outgoing ids", state.outgoing_ids, derived)


def _insist_origin(state: NodeState, where: _Sent, origin: Origin) -> None:
    key, currency, request_id = where
    if isinstance(origin, PaymentId):
        payment = state.payments.get(origin)
        insist(payment is not None, "I19 payment is gone", origin, request_id)
        assert payment is not None
        insist(request_id in payment.transactions, "I19 transaction is gone", request_id)
    elif origin is not None:
        next_ = _next_of(state, origin, currency, request_id)
        insist(next_ == key, "I19 origin leads to", next_, "from", key, request_id)


def _insist_transactions(state: NodeState, sent: dict[_Sent, Origin]) -> None:
    for payment in state.payments.values():
        for request_id, transaction in payment.transactions.items():
            where = (transaction.first_hop, payment.currency, request_id)
            origin = sent.get(where, "nothing")
            insist(origin == payment.payment_id, "I19 transaction leads to", origin, request_id)


def _insist_members(state: NodeState) -> None:
    for invoice_id, invoice in state.invoices.items():
        for group in invoice.groups.values():
            for key, request_id in group.members:
                next_ = _next_of(state, key, invoice.invoice.currency, request_id)
                insist(next_ == invoice_id, "I19 member leads to", next_, request_id)


def _next_of(state: NodeState, key: PublicKey, currency: Currency, request_id: Uid) -> object:
    friend = state.friends.get(key)
    channel = friend.consistent if friend is not None else None
    ledger = channel.ledgers.get(currency) if channel is not None else None
    entry = ledger.remote.get(request_id) if ledger is not None else None
    return entry.next if entry is not None else "nothing"


def _received(state: NodeState) -> Iterator[tuple[PublicKey, Currency, Uid, Next]]:
    for key, friend in state.friends.items():
        for currency, ledger in _ledgers(friend):
            for request_id, entry in ledger.remote.items():
                yield key, currency, request_id, entry.next


def _sent_or_queued(state: NodeState) -> dict[_Sent, Origin]:
    found: dict[_Sent, Origin] = {}
    for key, friend in state.friends.items():
        for currency, ledger in _ledgers(friend):
            for request_id, sent in ledger.local.items():
                found[(key, currency, request_id)] = sent.origin
        for queue in (friend.forwarded, friend.own):
            for entry in queue.items:
                where = (key, entry.currency, entry.request.request_id)
                insist(where not in found, "I19 id used twice", where)
                insist(entry.origin is not None, "I19 orphan waits", where)
                found[where] = entry.origin
    return found


def _ledgers(friend: Friend) -> Iterable[tuple[Currency, Ledger]]:
    return friend.consistent.ledgers.items() if friend.consistent is not None else ()


def check_node(state: NodeState, touched: Iterable[PublicKey]) -> None:
    """Everything one node must satisfy by itself, looking closely at the friends in `touched`."""
    for key in touched:
        friend = state.friends.get(key)
        if friend is not None:
            check_friend(friend)
    i13_complete_once(state)
    i19_links(state)
    insist(len(state.penalties) <= PENALTIES_MAX, "I21 penalties")
    asked = {it.question for it in state.intents.values()}
    insist(all(one in asked for one in state.questions), "I21 questions of nobody", state.questions)


# --- persistence --------------------------------------------------------------------------------

_NO_AGENDA = Agenda()


def without_memory(state: NodeState) -> NodeState:
    """The same state without what a restart forgets."""
    friends = {
        key: replace(friend, link_id=None, is_online=False, wants_token=False, unreadable_ms=None)
        for key, friend in state.friends.items()
    }
    intents = {
        key: replace(
            intent,
            question=None,
            is_direct_tried=False,
            setback=None,
            misses=0,
            avoided=(),
            is_bold=False,
            wants_other_server=False,
        )
        for key, intent in state.intents.items()
    }
    payers = {key: value for key, value in state.payers.items() if key in state.payments}
    return replace(
        state,
        friends=friends,
        intents=intents,
        questions={},
        inquiries={},
        payers=payers,
        agenda=_NO_AGENDA,
    )


def i27_persistence(state: NodeState, loaded: NodeState) -> None:
    """What was saved comes back, field by field."""
    one, other = without_memory(state), without_memory(loaded)
    for field in fields(NodeState):
        here, there = getattr(one, field.name), getattr(other, field.name)
        if here == there:
            continue
        if isinstance(here, dict) and isinstance(there, dict):
            for key in {**here, **there}:
                _insist_equal(f"I27 {field.name}", here.get(key), there.get(key))
        raise ViolationError(f"I27 {field.name} {here!r} {there!r}")


def _insist_equal(what: str, here: object, there: object) -> None:
    if here == there:
        return
    if is_dataclass(here) and type(here) is type(there):
        for field in fields(here):
            name = f"{what}.{field.name}"
            _insist_equal(name, getattr(here, field.name), getattr(there, field.name))
    raise ViolationError(f"{what} {here!r} {there!r}")


def i22_report(state: NodeState, loaded: NodeState, report: Callable[[NodeState], object]) -> None:
    """The report of the saved state is the report of the running one, but for who is online."""
    insist(report(without_memory(state)) == report(without_memory(loaded)), "I22 reports differ")


def i26_codec(message: FriendMessage) -> bytes:
    """Encoding loses nothing and has one form."""
    data = encode_friend_message(message)
    again = decode_friend_message(data)
    insist(again == message, "I26", message, again)
    assert again is not None
    insist(encode_friend_message(again) == data, "I26 second form", message)
    return data


# --- the whole world, when nothing moves any more -------------------------------------------------


def i06_conservation(states: Iterable[NodeState]) -> None:
    """All balances of a currency add up to nothing."""
    sums: dict[Currency, int] = {}
    for state in states:
        for friend in state.friends.values():
            for currency, ledger in _ledgers(friend):
                sums[currency] = sums.get(currency, 0) + ledger.balance
    insist(not any(sums.values()), "I6", sums)


def i09_nothing_frozen(state: NodeState) -> None:
    """Nothing is pending or queued, every payment is over."""
    for friend in state.friends.values():
        insist(friend.consistent is not None, "I9 inconsistent", friend.public_key)
        for _, ledger in _ledgers(friend):
            insist(not ledger.local and not ledger.remote, "I9 frozen", friend.public_key, ledger)
        waiting = (*friend.backwards.items, *friend.forwarded.items, *friend.own.items)
        insist(not waiting, "I9 queued", friend.public_key, waiting)
    for payment in state.payments.values():
        insist(not payment.transactions, "I9 open transactions", payment)
    for intent in state.intents.values():
        insist(intent.stage in {PayStage.PAID, PayStage.FAILED}, "I9 open intent", intent)


def entry_of(friend: Friend | None, currency: Currency, request_id: Uid) -> SentRequest | None:
    """A request that is pending as sent to this friend."""
    channel = friend.consistent if friend is not None else None
    ledger = channel.ledgers.get(currency) if channel is not None else None
    return ledger.local.get(request_id) if ledger is not None else None
