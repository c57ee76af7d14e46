"""The invariants that need a memory: what each node signed, promised, paid and earned so far.

`History.observe` sees every saved step of every honest node, with the state before and the events, and
checks what must hold between the two. It trusts nothing but states, move tokens and records.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from offset_engine.core.api import Batch, CollectInvoice, Command, CommitInvoice, RemoveFriend
from offset_engine.core.crypto import hash_lock
from offset_engine.core.events import CommandDone, CommandGiven, Event, MessageArrived, Step
from offset_engine.core.friend import Friend
from offset_engine.core.invoice import Group
from offset_engine.core.messages import (
    CollectOp,
    FriendMessage,
    InconsistencyMessage,
    MoveToken,
    MoveTokenMessage,
    Operation,
    RequestOp,
)
from offset_engine.core.mutual_credit import Ledger
from offset_engine.core.payer import Intent, PayStage
from offset_engine.core.reports import ForwardRecord, LossRecord
from offset_engine.core.signing import Commit
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Inconsistent, Outgoing, TokenChannel
from offset_engine.core.values import (
    RESET_COUNTER_MAX,
    Currency,
    HashedLock,
    InvoiceId,
    PaymentId,
    PublicKey,
    Signature,
    Uid,
)
from tests.sim.invariants import entry_of, insist


class Circle(Protocol):
    """What the history asks about a friendship."""

    def is_clean(self, node: PublicKey, friend: PublicKey) -> bool:
        """Whether both are honest and nobody broke the channel on purpose."""


@dataclass(slots=True)
class Change:
    """One friend across one saved step."""

    node: PublicKey
    key: PublicKey
    before: Friend
    after: Friend
    received: MoveToken | None
    """The move token of the friend that was accepted in this step."""
    sent: MoveToken | None
    """The move token that was signed in this step."""

    @property
    def is_same_life(self) -> bool:
        """The channel was consistent before and goes on."""
        one, other = self.before.consistent, self.after.consistent
        if one is None or other is None or self._is_tie_broken(one):
            return False
        return one.inconsistency_counter == other.inconsistency_counter

    def _is_tie_broken(self, before: TokenChannel) -> bool:
        """Both accepted a reset at once, and the friend's won."""
        return (
            self.received is not None
            and before.offered_terms is not None
            and self.received.old_token == before.offered_terms.reset_token
        )


@dataclass(slots=True)
class History:
    """What happened so far in one world."""

    circle: Circle
    lives: dict[tuple[PublicKey, PublicKey], int] = field(default_factory=dict)
    """How often a node removed a friend: a new friendship starts from the first token again."""
    restored: dict[PublicKey, None] = field(default_factory=dict)
    """Nodes that went back to a backup."""
    tokens: dict[tuple[PublicKey, PublicKey, int, Signature], MoveToken] = field(
        default_factory=dict
    )
    accepted: dict[Signature, None] = field(default_factory=dict)
    """Move tokens that a receiver took and saved."""
    ceilings: dict[tuple[PublicKey, PublicKey, Currency], int] = field(default_factory=dict)
    paid: dict[tuple[PublicKey, PaymentId], int] = field(default_factory=dict)
    earned: dict[tuple[PublicKey, InvoiceId], int] = field(default_factory=dict)
    fees: int = 0
    """What all mediators earned."""
    complete: dict[tuple[PublicKey, InvoiceId, HashedLock], Uid] = field(default_factory=dict)
    intent_of: dict[tuple[PublicKey, PaymentId], PaymentId] = field(default_factory=dict)
    released: dict[tuple[PublicKey, PaymentId], Commit] = field(default_factory=dict)

    # --- what leaves ----------------------------------------------------------------------------

    def i16_no_equivocation(
        self, node: PublicKey, friend: PublicKey, message: FriendMessage
    ) -> None:
        """No two different move tokens ever leave a node on the same old token, crashes included."""
        if not isinstance(message, MoveTokenMessage):
            return
        token = message.move_token
        life = self.lives.get((node, friend), 0)
        where = (node, friend, life, token.old_token)
        first = self.tokens.setdefault(where, token)
        if first != token and node in self.restored and first.new_token not in self.accepted:
            # The friend never saved the first one either, so there is nothing to contradict.
            first = self.tokens[where] = token
        insist(first == token, "I16", node, friend, first, token)

    # --- one saved step -------------------------------------------------------------------------

    def observe(self, old: NodeState, events: tuple[Event, ...], step: Step) -> None:
        """Check a step that was saved, and remember it."""
        new, node = step.state, step.state.local_public_key
        done = tuple(_commands_done(events, step))
        for command in done:
            if isinstance(command, RemoveFriend):
                where = (node, command.friend)
                self.lives[where] = self.lives.get(where, 0) + 1
                # Whoever is there afterwards is somebody new with the same key.
                kept = {k: f for k, f in old.friends.items() if k != command.friend}
                old = replace(old, friends=kept)
        for change in _changes(old, events, step):
            self._observe_friend(old, new, change, step)
            self.i25_reset(change, events)
            _i18_stale_terms(change, events)
            if len(events) == 1:
                _i25_offer(old, change, events[0])
        self.i12_collected(old, new, done)
        for record in step.records:
            if isinstance(record, ForwardRecord):
                self.fees += record.fee
        if not done and all(isinstance(event, CommandGiven) for event in events):
            _i24_refused(old, new)
        self._observe_invoices(step)
        self._observe_intents(old, step)
        _i23_fees(old, new, step)

    def _observe_friend(self, old: NodeState, new: NodeState, change: Change, step: Step) -> None:
        self.i04_limit(change)
        _i15_counter(change)
        self.i17_agreement_lasts(change)
        if change.received is not None:
            self.accepted[change.received.new_token] = None
            for currency, operation in _operations(change.received):
                if isinstance(operation, CollectOp):
                    self._observe_collect(old, new, (change.key, currency, operation), step)
        if change.sent is not None:
            for currency, operation in _operations(change.sent):
                if isinstance(operation, CollectOp):
                    self._observe_earning(change, currency, operation)

    def i04_limit(self, change: Change) -> None:
        """A friend never owes, or may come to owe, more than the highest limit we gave it."""
        channel = change.after.consistent
        if channel is None:
            return
        for currency, ledger in channel.ledgers.items():
            where = (change.node, change.key, currency)
            limits = [
                friend.configs[currency].max_debt
                for friend in (change.before, change.after)
                if currency in friend.configs
            ]
            if not change.is_same_life or where not in self.ceilings:
                limits.append(ledger.balance)
            ceiling = max(self.ceilings.get(where, 0), 0, *limits)
            self.ceilings[where] = ceiling
            exposed = sum(
                entry.request.freeze for entry in ledger.remote.values() if entry.next is not None
            )
            insist(ledger.balance + exposed <= ceiling, "I4", where, ledger.info, ceiling)

    def i17_agreement_lasts(self, change: Change) -> None:
        """Two honest nodes never disagree, whatever anybody else does (I17, I18)."""
        if isinstance(change.after.channel, Inconsistent):
            insist(
                not self.circle.is_clean(change.node, change.key),
                "I17 honest friends became inconsistent",
                change.node,
                change.key,
            )

    def _observe_collect(
        self,
        old: NodeState,
        new: NodeState,
        collect: tuple[PublicKey, Currency, CollectOp],
        step: Step,
    ) -> None:
        """I7, I8: what is paid downstream is collected upstream by the same save. I11: see below."""
        key, currency, operation = collect
        entry = entry_of(old.friends.get(key), currency, operation.request_id)
        insist(entry is not None, "I10 collect of nothing", operation)
        assert entry is not None
        frozen = entry.request.freeze
        if isinstance(entry.origin, PublicKey) and _has_same_channel(old, new, entry.origin):
            insist(
                _has_collect(old, new, entry.origin, operation.request_id),
                "I7 paid downstream, not collected upstream",
                entry,
            )
        elif isinstance(entry.origin, PaymentId):
            self.i11_paid(old, entry.origin, frozen)
        elif entry.origin is None:
            losses = [(r.currency, r.amount) for r in step.records if isinstance(r, LossRecord)]
            insist((currency, frozen) in losses, "I7 loss without a record", entry, losses)

    def i11_paid(self, old: NodeState, payment_id: PaymentId, frozen: int) -> None:
        """A buyer pays nothing before its node handed out the commit of that payment."""
        payment = old.payments.get(payment_id)
        insist(payment is not None, "I11 payment is gone", payment_id)
        assert payment is not None
        insist(payment.commit is not None, "I11 paid before the commit", payment)
        insist(not payment.is_withheld, "I11 paid though the commit was withheld", payment)
        where = (old.local_public_key, payment_id)
        self.paid[where] = self.paid.get(where, 0) + frozen

    def _observe_earning(self, change: Change, currency: Currency, collect: CollectOp) -> None:
        channel = change.before.consistent
        ledger = channel.ledgers.get(currency) if channel is not None else None
        entry = ledger.remote.get(collect.request_id) if ledger is not None else None
        insist(entry is not None, "I10 collected what was not pending", collect)
        assert entry is not None
        if not entry.request.route:
            where = (change.node, entry.request.invoice_id)
            self.earned[where] = self.earned.get(where, 0) + entry.request.freeze

    def i12_collected(self, old: NodeState, new: NodeState, done: tuple[Command, ...]) -> None:
        """A commit that was accepted means collects of the whole group, in the same save."""
        forced: dict[InvoiceId, None] = {}
        for command in done:
            commit: Commit | None
            if isinstance(command, CommitInvoice):
                commit, invoice_id = command.commit, command.commit.invoice_id
                opened = old.invoices.get(invoice_id)
            elif isinstance(command, CollectInvoice):
                invoice_id = command.invoice_id
                opened = old.invoices.get(invoice_id)
                commit = opened.registered if opened is not None else None
            else:
                continue
            insist(invoice_id not in new.invoices, "I12 still open", invoice_id)
            if commit is None or opened is None:
                continue
            group = opened.groups.get(hash_lock(commit.src_plain_lock))
            if group is not None:
                _check_group_collected(old, new, group)
                total = opened.invoice.total_dest_payment
                if command.force:
                    # Whoever says it again in the same step need not insist any more.
                    forced[invoice_id] = None
                is_agreed = invoice_id in forced or group.sum == total
                insist(is_agreed, "I12 collected a part", group, total)

    def _observe_invoices(self, step: Step) -> None:
        """I13: a group answers "complete" to one request only, when the sum is there."""
        state = step.state
        for invoice_id in step.touched.invoices:
            invoice = state.invoices.get(invoice_id)
            for lock, group in invoice.groups.items() if invoice is not None else ():
                for (_, request_id), member in group.members.items():
                    where = (state.local_public_key, invoice_id, lock)
                    if not member.response.is_complete:
                        continue
                    first = self.complete.setdefault(where, request_id)
                    insist(first == request_id, "I13 second complete response", where)

    def _observe_intents(self, old: NodeState, step: Step) -> None:
        """R20: an intent hands out one commit at most; terminal stages stay."""
        node = step.state.local_public_key
        for intent_id in step.touched.intents:
            intent = step.state.intents.get(intent_id)
            if intent is None:
                continue
            if intent.payment_id is not None:
                self.intent_of[(node, intent.payment_id)] = intent_id
            if intent.commit is not None:
                first = self.released.setdefault((node, intent_id), intent.commit)
                insist(first == intent.commit, "R20 a second commit was handed out", intent)
            before = old.intents.get(intent_id)
            if before is not None and before.stage is PayStage.PAID:
                insist(intent.stage is PayStage.PAID, "R20 no longer paid", intent)
            if intent.cycle is not None:
                _check_cycle(old, step.state, intent)

    def i25_reset(self, change: Change, events: tuple[Event, ...]) -> None:
        """After a reset a side holds exactly the agreed terms, nothing pending, a higher counter."""
        before, after = change.before.channel, change.after.channel
        if not isinstance(before, Inconsistent) or not isinstance(after, TokenChannel):
            return
        if _offers_terms(events, change.key):
            return  # the terms changed before they were accepted, within one batch
        counter = after.inconsistency_counter
        is_higher = counter > before.consistent_counter or counter == RESET_COUNTER_MAX
        insist(is_higher, "I25 counter", before, after)
        agreed = [dict(before.local_terms.balances)]
        if before.remote_terms is not None:
            agreed.append({name: -bal for name, bal in before.remote_terms.balances})
        held = {name: ledger.balance for name, ledger in after.ledgers.items() if ledger.balance}
        nonzero = [{n: b for n, b in terms.items() if b} for terms in agreed]
        insist(held in nonzero, "I25 balances", held, nonzero)
        for ledger in after.ledgers.values():
            is_new = not ledger.remote and (not ledger.local or change.sent is not None)
            insist(is_new, "I25 pending after a reset", ledger)

    def forget_promises(self, node: PublicKey) -> None:
        """A node went back to an old backup: what it promised since, it cannot know any more.

        Two friends that both did may meet at an old token and go on from there, none the wiser.
        """
        for other in self.restored:
            for where in ((node, other), (other, node)):
                self.lives[where] = self.lives.get(where, 0) + 1
        self.restored[node] = None
        self.complete = {k: v for k, v in self.complete.items() if k[0] != node}
        self.released = {k: v for k, v in self.released.items() if k[0] != node}
        self.paid = {k: v for k, v in self.paid.items() if k[0] != node}

    # --- the end --------------------------------------------------------------------------------

    def i24_paid_once(self, state: NodeState) -> None:
        """Nobody pays twice, more than agreed, or for a payment that failed (I6, I24, R20)."""
        node = state.local_public_key
        costs: dict[PaymentId, list[int]] = {}
        for (payer, payment_id), cost in self.paid.items():
            intent_id = self.intent_of.get((payer, payment_id))
            if payer == node and intent_id is not None:
                costs.setdefault(intent_id, []).append(cost)
        for intent_id, intent in state.intents.items():
            mine = costs.get(intent_id, [])
            insist(len(mine) <= 1, "R20 two payments of an intent were collected", intent, mine)
            most = intent.invoice.total_dest_payment + intent.max_fee
            insist(sum(mine) <= most, "I24 paid more than agreed", intent, mine)
            if intent.stage is PayStage.FAILED:
                insist(not mine, "I24 failed, but paid", intent, mine)

    def i06_paid_exactly(self, states: Iterable[NodeState]) -> None:
        """Where no channel was ever broken: what buyers paid is what sellers and mediators got."""
        paid, earned = sum(self.paid.values()), sum(self.earned.values())
        insist(paid == earned + self.fees, "I6 paid, earned, fees", paid, earned, self.fees)
        for state in states:
            for intent in state.intents.values():
                if intent.stage is PayStage.PAID:
                    invoice = intent.invoice
                    got = self.earned.get((invoice.dest_public_key, invoice.invoice_id), 0)
                    insist(got >= invoice.total_dest_payment, "I6 paid, not earned", intent, got)


# --- helpers ------------------------------------------------------------------------------------


def _commands_done(events: tuple[Event, ...], step: Step) -> Iterator[Command]:
    refused = {
        effect.number: None
        for effect in step.effects
        if isinstance(effect, CommandDone) and effect.fault is not None
    }
    for event in events:
        if isinstance(event, CommandGiven) and event.number not in refused:
            command = event.command
            yield from command.commands if isinstance(command, Batch) else (command,)


def _changes(old: NodeState, events: tuple[Event, ...], step: Step) -> Iterator[Change]:
    for key in step.touched.friends:
        before, after = old.friends.get(key), step.state.friends.get(key)
        if before is None or after is None:
            continue
        received = _received_token(events, before, after)
        sent = _last_sent(after)
        if sent == _last_sent(before):
            sent = None
        yield Change(old.local_public_key, key, before, after, received, sent)


def _received_token(events: tuple[Event, ...], before: Friend, after: Friend) -> MoveToken | None:
    one, other = before.channel.last_incoming, after.channel.last_incoming
    if other is None or (one is not None and one.new_token == other.new_token):
        return None
    for event in events:
        if (
            isinstance(event, MessageArrived)
            and event.friend == after.public_key
            and isinstance(event.message, MoveTokenMessage)
            and event.message.move_token.new_token == other.new_token
        ):
            return event.message.move_token
    return None


def _last_sent(friend: Friend) -> MoveToken | None:
    channel = friend.consistent
    if channel is None or not isinstance(channel.direction, Outgoing):
        return None
    return channel.direction.move_token


def _operations(token: MoveToken) -> Iterator[tuple[Currency, Operation]]:
    for batch in token.currencies_operations:
        for operation in batch.operations:
            yield batch.currency, operation


def _offers_terms(events: tuple[Event, ...], key: PublicKey) -> bool:
    return any(
        isinstance(event, MessageArrived)
        and event.friend == key
        and isinstance(event.message, InconsistencyMessage)
        for event in events
    )


def _has_same_channel(old: NodeState, new: NodeState, key: PublicKey) -> bool:
    before, after = old.friends.get(key), new.friends.get(key)
    if before is None or after is None:
        return False
    one, other = before.consistent, after.consistent
    if one is None or other is None:
        return False
    return one.inconsistency_counter == other.inconsistency_counter


def _has_collect(old: NodeState, new: NodeState, key: PublicKey, request_id: Uid) -> bool:
    """Whether a Collect of this request waits for the friend, or left with the token of this step."""
    friend = new.friends[key]
    waiting: list[Operation] = [operation for _, operation in friend.backwards.items]
    token = _last_sent(friend)
    if token is not None and token != _last_sent(old.friends[key]):
        waiting += [operation for _, operation in _operations(token)]
    return any(isinstance(op, CollectOp) and op.request_id == request_id for op in waiting)


def _check_group_collected(old: NodeState, new: NodeState, group: Group) -> None:
    for key, request_id in group.members:
        if _has_same_channel(old, new, key):
            insist(
                _has_collect(old, new, key, request_id), "I12 a member is not collected", request_id
            )
    insist(group.is_sealed, "I12 collected an incomplete group", group)


def _i24_refused(old: NodeState, new: NodeState) -> None:
    """Commands that were refused, whole batches too, change nothing."""
    for name in ("friends", "payments", "intents", "invoices", "closed_invoices", "relays"):
        insist(getattr(old, name) == getattr(new, name), "I24 refused, but changed", name)


def _check_cycle(old: NodeState, new: NodeState, intent: Intent) -> None:
    """A cycle collects its own invoice with the commit, whole or not at all, and leaves none open behind it."""
    invoice_id = intent.invoice.invoice_id
    insist(intent.invoice.dest_public_key == new.local_public_key, "cycle of others", intent)
    if intent.stage in (PayStage.COMMITTED, PayStage.PAID, PayStage.FAILED):
        insist(invoice_id not in new.invoices, "I9 a cycle left its invoice open", intent)
    opened, closed = old.invoices.get(invoice_id), new.closed_invoices.get(invoice_id)
    if opened is None or closed is None or not closed.is_paid:
        return
    insist(intent.commit is not None and closed.commit == intent.commit, "I12 another's commit")
    assert intent.commit is not None
    group = opened.groups[hash_lock(intent.commit.src_plain_lock)]
    _check_group_collected(old, new, group)
    insist(group.sum == intent.invoice.total_dest_payment, "I12 collected a part", group)


def _i15_counter(change: Change) -> None:
    """The counter grows by one with each move token."""
    if not change.is_same_life:
        return
    before, after = change.before.consistent, change.after.consistent
    assert before is not None
    assert after is not None
    grown = after.move_token_counter - before.move_token_counter
    moves = (change.received is not None) + (change.sent is not None)
    insist(grown == moves, "I15 counter", grown, moves, change)


def _i18_stale_terms(change: Change, events: tuple[Event, ...]) -> None:
    """Terms of an episode that is over break nothing."""
    if change.before.consistent is None or change.after.consistent is not None:
        return
    said = [e.message for e in events if isinstance(e, MessageArrived) and e.friend == change.key]
    if not all(isinstance(message, InconsistencyMessage) for message in said):
        return
    tokens = [m.terms.reset_token for m in said if isinstance(m, InconsistencyMessage)]
    is_stale = bool(tokens) and all(token in change.before.reset_tokens for token in tokens)
    is_own_doing = any(isinstance(event, CommandGiven) for event in events)
    insist(is_own_doing or not is_stale, "I18 stale terms broke a channel", change)


def _i25_offer(old: NodeState, change: Change, event: Event) -> None:
    """Offered terms: the balance, and what we paid or will have to pay for the friend's requests."""
    before, after = change.before.consistent, change.after.channel
    if before is None or not isinstance(after, Inconsistent):
        return
    salvaged = _salvageable(change, before, event)
    wanted = {}
    for currency, ledger in before.ledgers.items():
        lost = sum(frozen for name, frozen in salvaged if name == currency)
        wanted[currency] = ledger.balance - lost + _stood_in_for(old, change, currency, ledger)
    offered = dict(after.local_terms.balances)
    insist(offered == wanted, "I25 offered terms", offered, wanted, change)


def _salvageable(change: Change, before: TokenChannel, event: Event) -> list[tuple[Currency, int]]:
    """What a rejected move token validly collects all the same."""
    message = event.message if isinstance(event, MessageArrived) else None
    if not isinstance(message, MoveTokenMessage):
        return []
    found: dict[tuple[Currency, Uid], int] = {}
    for currency, op in _operations(message.move_token):
        entry = entry_of(change.before, currency, op.request_id)
        if (
            isinstance(op, CollectOp)
            and entry is not None
            and entry.response is not None
            and hash_lock(op.src_plain_lock) == entry.request.src_hashed_lock
            and hash_lock(op.dest_plain_lock) == entry.response.dest_hashed_lock
        ):
            found[currency, op.request_id] = entry.request.freeze
    return [(currency, frozen) for (currency, _), frozen in found.items()]


def _stood_in_for(old: NodeState, change: Change, currency: Currency, ledger: Ledger) -> int:
    """Frozen for the friend's requests that went on downstream, or whose collect waits here."""
    collects = {
        op.request_id: None
        for name, op in change.before.backwards.items
        if name == currency and isinstance(op, CollectOp)
    }
    total = 0
    for request_id, entry in ledger.remote.items():
        is_sent_on = isinstance(entry.next, PublicKey) and (
            entry_of(old.friends.get(entry.next), currency, request_id) is not None
        )
        if request_id in collects or is_sent_on:
            total += entry.request.freeze
    return total


def _i23_fees(old: NodeState, new: NodeState, step: Step) -> None:
    """A mediator keeps exactly its fee."""
    for key in step.touched.friends:
        friend = new.friends.get(key)
        if friend is None:
            continue
        requests = [
            (entry.currency, entry.origin, entry.request) for entry in friend.forwarded.items
        ]
        channel = friend.consistent
        for currency, ledger in channel.ledgers.items() if channel is not None else ():
            requests += [(currency, sent.origin, sent.request) for sent in ledger.local.values()]
        for currency, origin, request in requests:
            is_new = request.request_id not in old.outgoing_ids
            if is_new and isinstance(origin, PublicKey):
                _check_fee(old, new, (origin, currency), request)


def _check_fee(
    old: NodeState, new: NodeState, where: tuple[PublicKey, Currency], request: RequestOp
) -> None:
    key, currency = where
    upstream = new.friends[key]
    assert upstream.consistent is not None
    received = upstream.consistent.ledgers[currency].remote[request.request_id].request
    gain = received.freeze - request.freeze
    rates = [
        friend.configs[currency].rate
        for friend in (old.friends.get(key), upstream)
        if friend is not None and currency in friend.configs
    ]
    fees = [rate.fee(received.dest_payment) for rate in rates]
    insist(gain in fees, "I23", gain, fees, received)
