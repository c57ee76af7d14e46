"""What friends send us and what becomes of it: tokens, requests passing through, answers going back, resets.

A request that arrives from a friend goes on to the next friend of its route or into an invoice of ours; its
answer finds the way back by the links kept in the ledgers, never by searching for an id:

    remote(U, r).next = D   ⇔   queued to D, or local(D, r).origin = U

When a channel dies, every transaction over it gets its own treatment (payments.md §5.6); `break_channel` is
that table's last rows, `cancel_queued` its first ones.

Source: PROTOCOL.md, "Forwarding" and "Inconsistency".
"""

from collections.abc import Callable
from typing import assert_never

from offset_engine.core import buying, selling
from offset_engine.core.api import ForwardRecord, LossRecord, ResetRecord
from offset_engine.core.crypto import hash_lock, speaks_first
from offset_engine.core.draft import Draft, PartEnd
from offset_engine.core.events import CloseLink
from offset_engine.core.friend import (
    CurrencyConfig,
    Friend,
    QueuedRequest,
    RelaysSent,
    build_token,
    has_work,
    known_relays,
    owes_token,
    remember_reset_token,
)
from offset_engine.core.messages import (
    BackwardsOp,
    CancelOp,
    CollectOp,
    FriendMessage,
    InconsistencyMessage,
    MoveToken,
    MoveTokenMessage,
    RequestOp,
    ResetTerms,
    ResponseOp,
    TokenWantedMessage,
    request_op,
)
from offset_engine.core.mutual_credit import (
    Ledger,
    Origin,
    ReceivedRequest,
    SentRequest,
)
from offset_engine.core.token_channel import (
    Applied,
    Duplicate,
    Incoming,
    Inconsistent,
    ReceiveContext,
    Received,
    Rejected,
    Retransmit,
    TokenChannel,
    accept_terms,
    are_terms_acceptable,
    next_counter,
    receive_move_token,
    receive_reset,
)
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    Currency,
    InvoiceId,
    PaymentId,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

# --- links --------------------------------------------------------------------------------------


def adopt_link(draft: Draft, key: PublicKey, link_id: int) -> None:
    """A connection to the friend is up; whatever is unanswered goes out on it again."""
    known = draft.state.friends.get(key)
    if known is None or not known.is_enabled:
        return
    friend = draft.friend(key)
    friend.link_id = link_id
    friend.is_online = True
    draft.has_new_ways = True
    draft.mark_dirty(key)


def go_offline(draft: Draft, key: PublicKey) -> None:
    """The friend is gone for now: whatever only waits for it is cancelled."""
    if key not in draft.state.friends:
        return
    friend = draft.friend(key)
    friend.link_id = None
    friend.is_online = False
    friend.wants_token = False
    cancel_queued(draft, key, lambda _entry: True)


def receive_unreadable(draft: Draft, key: PublicKey, link_id: int) -> None:
    """The friend sent bytes that follow no protocol: nothing is applied, the link is closed (R23)."""
    known = draft.state.friends.get(key)
    if known is None or known.link_id != link_id:
        return
    draft.friend(key).unreadable_ms = draft.env.wall_ms
    draft.effects.append(CloseLink(key, link_id))


def receive(draft: Draft, key: PublicKey, link_id: int, message: FriendMessage) -> None:
    """A message from a friend; ignored unless it came over the friend's current link."""
    known = draft.state.friends.get(key)
    if known is None or not known.is_enabled or known.link_id != link_id:
        return
    match message:
        case MoveTokenMessage():
            _receive_token(draft, known, message)
        case InconsistencyMessage():
            _receive_terms(draft, known, message.terms)
        case TokenWantedMessage():
            _receive_wish(draft, known, message.new_token)
        case _:
            assert_never(message)


def _receive_wish(draft: Draft, known: Friend, new_token: Signature) -> None:
    channel = known.consistent
    if channel is None or not isinstance(channel.direction, Incoming):
        return
    if channel.direction.last.new_token == new_token:
        friend = draft.friend(known.public_key)
        friend.wants_token = True
        friend.is_quarantined = False
    elif not known.is_quarantined:
        # A friend asks only for what it sent before on the same connection; one that names anything
        # else while we own the token does not hold what we hold: it was restored from a backup.
        break_channel(draft, known.public_key)


# --- move tokens --------------------------------------------------------------------------------


def _receive_token(draft: Draft, known: Friend, message: MoveTokenMessage) -> None:
    key, channel, token = known.public_key, known.channel, message.move_token
    if isinstance(channel, Inconsistent):
        _try_reset(draft, known, channel.local_terms, message)
        return
    if channel.offered_terms is not None and (token.old_token == channel.offered_terms.reset_token):
        # Both sides accepted at once: the reset of the side whose key hashes lower stands.
        if speaks_first(draft.state.local_public_key, key):
            _try_reset(draft, known, channel.offered_terms, message)
        return
    max_debts = tuple((currency, config.max_debt) for currency, config in known.configs.items())
    context = ReceiveContext(max_debts, draft.env.verify, draft.env.wall_ms)
    outcome = receive_move_token(channel, token, context)
    match outcome:
        case Duplicate():
            friend = draft.friend(key)
            friend.is_quarantined = False
            friend.wants_token = friend.wants_token or message.token_wanted
        case Retransmit():
            draft.mark_dirty(key)
        case Received():
            _take_token(draft, key, message, outcome)
        case Rejected():
            break_channel(draft, key, rejected=token)
        case _:
            assert_never(outcome)


def _take_token(
    draft: Draft, key: PublicKey, message: MoveTokenMessage, received: Received
) -> None:
    ledgers = _ledger_count(draft.state.friends[key])
    friend = draft.friend_with(key, received.channel)
    draft.has_new_ways |= _ledger_count(friend) > ledgers
    if _ledger_count(friend) < ledgers:
        # A currency is gone; what waited for it must not outlive its ledger.
        kept = received.channel.ledgers
        cancel_queued(draft, key, lambda entry: entry.currency not in kept)
    friend.is_quarantined = False
    friend.wants_token = message.token_wanted
    _take_relays(draft, friend, message.move_token)
    if friend.relays_sent is not None and friend.relays_sent.before is not None:
        # The friend answered the token that told it: it knows our new relays.
        friend.relays_sent = RelaysSent(friend.relays_sent.now)
        draft.mark_connections()
    for applied in received.applied:
        _dispatch(draft, key, applied)


def _take_relays(draft: Draft, friend: Friend, token: MoveToken) -> None:
    if token.local_relays is not None and token.local_relays != friend.remote_relays:
        friend.remote_relays = token.local_relays
        draft.mark_connections()


def _dispatch(draft: Draft, key: PublicKey, applied: Applied) -> None:
    operation, entry = applied.operation, applied.entry
    if isinstance(operation, RequestOp):
        _receive_request(draft, key, applied.currency, operation, is_welcome=entry is not None)
    else:
        assert isinstance(entry, SentRequest)  # noqa: S101 - what an answer answers
        _receive_answer(draft, key, (applied.currency, entry), operation)


# --- requests -----------------------------------------------------------------------------------


def _receive_request(
    draft: Draft, key: PublicKey, currency: Currency, request: RequestOp, *, is_welcome: bool
) -> None:
    config = draft.state.friends[key].configs.get(currency)
    is_removing = config is not None and config.is_removing
    if not is_welcome or is_removing:
        draft.refuse(key, currency, request.request_id)
    elif not request.route:
        selling.accept_request(draft, key, currency, request)
    elif not _forward(draft, key, currency, request):
        draft.refuse(key, currency, request.request_id)


def _forward(draft: Draft, key: PublicKey, currency: Currency, request: RequestOp) -> bool:
    """Let a request wait for the next friend of its route; False = it must be cancelled."""
    next_key = request.route[0]
    config = draft.state.friends[key].configs.get(currency)
    if config is None or not _is_open(config):
        return False
    fee = config.rate.fee(request.dest_payment)
    if fee > request.left_fees or not _may_pass(draft, key, currency, request):
        return False
    onward = request_op(
        request.request_id,
        request.src_hashed_lock,
        request.route[1:],
        (request.dest_payment, request.total_dest_payment, request.left_fees - fee),
        request.invoice_id,
    )
    if not draft.state.friends[next_key].has_room(onward, currency):
        return False
    _ledger_of(draft, key, currency).set_next(request.request_id, next_key)
    draft.queue_request(next_key, QueuedRequest(currency, onward, key))
    return True


def _may_pass(draft: Draft, key: PublicKey, currency: Currency, request: RequestOp) -> bool:
    next_key = request.route[0]
    downstream = draft.state.friends.get(next_key)
    if downstream is None or next_key == key or not downstream.is_ready(currency):
        return False
    config = downstream.configs.get(currency)
    return (
        config is not None
        and _is_open(config)
        and draft.state.local_public_key not in request.route
        and request.request_id not in draft.state.outgoing_ids
    )


def _is_open(config: CurrencyConfig) -> bool:
    return config.is_open and not config.is_removing


# --- answers ------------------------------------------------------------------------------------


def _receive_answer(
    draft: Draft,
    key: PublicKey,
    what: tuple[Currency, SentRequest],
    operation: BackwardsOp,
) -> None:
    """Pass an answer on to where its request came from; `what` is the ledger's entry."""
    currency, entry = what
    if not isinstance(operation, ResponseOp):
        draft.set_outgoing_id(operation.request_id, None)
    origin = entry.origin
    if isinstance(origin, PaymentId):
        _answer_own(draft, origin, operation)
    elif isinstance(origin, PublicKey):
        _answer_friend(draft, (key, origin), what, operation)
    elif isinstance(operation, CollectOp):
        _lose(draft, key, currency, entry.request.freeze)


def _answer_own(draft: Draft, payment_id: PaymentId, operation: BackwardsOp) -> None:
    match operation:
        case ResponseOp():
            buying.receive_response(draft, payment_id, operation)
        case CancelOp():
            buying.receive_cancel(draft, payment_id, operation.request_id, PartEnd.CAME_BACK)
        case CollectOp():
            buying.receive_collect(draft, payment_id, operation)
        case _:
            assert_never(operation)


def _answer_friend(
    draft: Draft,
    ends: tuple[PublicKey, PublicKey],
    what: tuple[Currency, SentRequest],
    operation: BackwardsOp,
) -> None:
    """Queue the answer upstream; `ends` is (downstream, upstream)."""
    (downstream, upstream), (currency, entry) = ends, what
    if isinstance(operation, CollectOp):
        received = _ledger_of(draft, upstream, currency).remote[operation.request_id]
        paid = entry.request.freeze
        fee = received.request.freeze - paid
        draft.records.append(
            ForwardRecord(currency, upstream, downstream, paid, fee, draft.env.wall_ms)
        )
    next_ = downstream if isinstance(operation, ResponseOp) else None
    draft.answer(upstream, currency, operation, next_)


def _lose(draft: Draft, key: PublicKey, currency: Currency, amount: int) -> None:
    """Note that we paid for a request nobody will repay: its origin's channel is gone."""
    friend = draft.friend(key)
    lost = dict(friend.lost)
    if currency in lost or len(lost) < ACTIVE_CURRENCIES_MAX:
        lost[currency] = min(CREDITS_MAX, lost.get(currency, 0) + amount)
    friend.lost = tuple(sorted(lost.items()))
    draft.records.append(LossRecord(key, currency, amount, draft.env.wall_ms))


def cancel_to_origin(
    draft: Draft,
    currency: Currency,
    request_id: Uid,
    origin: Origin,
    end: PartEnd,
) -> None:
    """A request of ours will not be answered: tell whoever it came from."""
    draft.set_outgoing_id(request_id, None)
    if isinstance(origin, PaymentId):
        buying.receive_cancel(draft, origin, request_id, end)
    elif isinstance(origin, PublicKey):
        draft.refuse(origin, currency, request_id)


def cancel_queued(
    draft: Draft, key: PublicKey, is_affected: Callable[[QueuedRequest], bool]
) -> None:
    """Cancel requests that wait for this friend's token to where they came from."""
    known = draft.state.friends[key]
    if not any(is_affected(e) for queue in (known.forwarded, known.own) for e in queue.items):
        return
    friend = draft.friend(key)
    cancelled: list[QueuedRequest] = []
    for queue in (friend.forwarded, friend.own):
        hit = [entry for entry in queue.items if is_affected(entry)]
        if hit:
            queue.replace([entry for entry in queue.items if not is_affected(entry)])
            cancelled += hit
    for entry in cancelled:
        request_id = entry.request.request_id
        cancel_to_origin(draft, entry.currency, request_id, entry.origin, PartEnd.NEVER_LEFT)


# --- inconsistency ------------------------------------------------------------------------------


def _receive_terms(draft: Draft, known: Friend, terms: ResetTerms) -> None:
    key = known.public_key
    if isinstance(known.channel, TokenChannel):
        if terms.reset_token in known.reset_tokens:
            # Sent before the reset that ended the matter; our reset token may still be on its way.
            draft.mark_dirty(key)
        else:
            break_channel(draft, key, remote_terms=terms)
        return
    if known.channel.remote_terms == terms:
        return
    friend = draft.friend(key)
    assert isinstance(friend.channel, Inconsistent)  # noqa: S101 - a fork of `known`
    remember_reset_token(friend, terms.reset_token)
    friend.channel.remote_terms = terms
    ours = friend.channel.local_terms
    is_ahead = terms.inconsistency_counter > ours.inconsistency_counter
    if is_ahead and are_terms_acceptable(terms, friend.channel.consistent_counter):
        # Otherwise ours could never be accepted by a friend whose count is ahead.
        friend.channel.local_terms = _new_terms(
            draft, friend, terms.inconsistency_counter, ours.balances
        )
        draft.mark_dirty(key)


def _new_terms(
    draft: Draft,
    friend: Friend,
    counter: int,
    balances: tuple[tuple[Currency, int], ...],
) -> ResetTerms:
    terms = ResetTerms(Signature(draft.env.random(64)), counter, balances)
    remember_reset_token(friend, terms.reset_token)
    return terms


def break_channel(
    draft: Draft,
    key: PublicKey,
    *,
    remote_terms: ResetTerms | None = None,
    rejected: MoveToken | None = None,
) -> None:
    """The two sides disagree: end every transaction over this channel and offer terms.

    `rejected` is searched for collects that are valid by themselves: those were really paid for.
    """
    friend = draft.friend(key)
    channel = friend.consistent
    assert channel is not None  # noqa: S101 - every caller looked
    salvaged = _salvage(channel, rejected)
    balances = tuple(
        (currency, _offer(draft, friend, currency, salvaged))
        for currency in sorted(channel.ledgers)
    )
    last_incoming = channel.last_incoming
    end_transactions(draft, key, salvaged)
    counter = next_counter(channel.inconsistency_counter)
    if remote_terms is not None:
        remember_reset_token(friend, remote_terms.reset_token)
        if are_terms_acceptable(remote_terms, channel.inconsistency_counter):
            counter = max(counter, remote_terms.inconsistency_counter)
    terms = _new_terms(draft, friend, counter, balances)
    friend.channel = Inconsistent(terms, remote_terms, last_incoming, channel.inconsistency_counter)
    friend.is_quarantined = False
    friend.wants_token = False
    draft.mark_dirty(key)


def _salvage(
    channel: TokenChannel, rejected: MoveToken | None
) -> dict[tuple[Currency, Uid], CollectOp]:
    found: dict[tuple[Currency, Uid], CollectOp] = {}
    for batch in rejected.currencies_operations if rejected is not None else ():
        ledger = channel.ledgers.get(batch.currency)
        for operation in batch.operations if ledger is not None else ():
            if isinstance(operation, CollectOp) and ledger is not None:
                entry = ledger.local.get(operation.request_id)
                if entry is not None and _opens(operation, entry):
                    found[batch.currency, operation.request_id] = operation
    return found


def _opens(collect: CollectOp, entry: SentRequest) -> bool:
    return (
        entry.response is not None
        and hash_lock(collect.src_plain_lock) == entry.request.src_hashed_lock
        and hash_lock(collect.dest_plain_lock) == entry.response.dest_hashed_lock
    )


def _offer(
    draft: Draft,
    friend: Friend,
    currency: Currency,
    salvaged: dict[tuple[Currency, Uid], CollectOp],
) -> int:
    """Our balance as we want it after a reset: what we still stand in for counts as owed to us."""
    channel = friend.consistent
    assert channel is not None  # noqa: S101 - the caller holds it
    ledger = channel.ledgers[currency]
    balance = ledger.balance
    for where, request_id in salvaged:
        if where == currency:
            balance -= ledger.local[request_id].request.freeze
    collected = {
        operation.request_id
        for where, operation in friend.backwards.items
        if where == currency and isinstance(operation, CollectOp)
    }
    for entry in ledger.remote.values():
        if entry.request.request_id in collected or _is_sent_on(draft, currency, entry):
            balance += entry.request.freeze
    return max(-CREDITS_MAX, min(CREDITS_MAX, balance))


def _is_sent_on(draft: Draft, currency: Currency, entry: ReceivedRequest) -> bool:
    if not isinstance(entry.next, PublicKey):
        return False
    channel = draft.state.friends[entry.next].consistent
    assert channel is not None  # noqa: S101 - a channel that breaks takes its links along
    return entry.request.request_id in channel.ledgers[currency].local


def end_transactions(
    draft: Draft, key: PublicKey, salvaged: dict[tuple[Currency, Uid], CollectOp]
) -> None:
    """End everything that passes over this friend's channel, which is about to vanish."""
    friend = draft.friend(key)
    channel = friend.consistent
    if channel is None:
        return
    for currency, ledger in channel.ledgers.items():
        for request_id, sent in ledger.local.items():
            collect = salvaged.get((currency, request_id))
            if collect is not None:
                _receive_answer(draft, key, (currency, sent), collect)
            else:
                cancel_to_origin(draft, currency, request_id, sent.origin, PartEnd.WAY_DIED)
    cancel_queued(draft, key, lambda _entry: True)
    for currency, ledger in channel.ledgers.items():
        for received in tuple(ledger.remote.values()):
            _cut_upstream(draft, key, currency, received)
    friend.backwards.replace([])


def _cut_upstream(
    draft: Draft, key: PublicKey, currency: Currency, received: ReceivedRequest
) -> None:
    """Nobody will pay for this request any more: stop or orphan it further down."""
    request_id, next_ = received.request.request_id, received.next
    if isinstance(next_, InvoiceId):
        selling.drop_member(draft, next_, key, received.request)
    elif isinstance(next_, PublicKey):
        if _is_sent_on(draft, currency, received):
            _ledger_of(draft, next_, currency).orphan(request_id)
            return
        downstream = draft.friend(next_)
        downstream.forwarded.replace(
            [e for e in downstream.forwarded.items if e.request.request_id != request_id]
        )
        draft.set_outgoing_id(request_id, None)


def _ledger_of(draft: Draft, key: PublicKey, currency: Currency) -> Ledger:
    channel = draft.friend(key).consistent
    assert channel is not None  # noqa: S101 - a link leads to it
    return channel.ledgers[currency]


# --- reset --------------------------------------------------------------------------------------


def accept_reset(draft: Draft, key: PublicKey) -> None:
    """Restart the channel on the friend's terms, which the caller checked."""
    friend = draft.friend(key)
    assert isinstance(friend.channel, Inconsistent)  # noqa: S101 - checked by the caller
    relays = draft.state.own_relays
    friend.channel = accept_terms(
        friend.channel,
        (draft.state.local_public_key, key),
        relays,
        RandValue(draft.env.random(16)),
        draft.env.sign,
    )
    friend.relays_sent = RelaysSent(relays, known_relays(friend))
    _settle_reset(draft, friend)


def _try_reset(draft: Draft, known: Friend, terms: ResetTerms, message: MoveTokenMessage) -> None:
    key = known.public_key
    ends = (draft.state.local_public_key, key)
    channel = receive_reset(terms, ends, message.move_token, draft.env.verify)
    if channel is None:
        draft.mark_dirty(key)
        return
    friend = draft.friend_with(key, channel)
    kept = channel.ledgers
    cancel_queued(draft, key, lambda entry: entry.currency not in kept)
    friend.wants_token = message.token_wanted
    _take_relays(draft, friend, message.move_token)
    if friend.relays_sent is not None:
        # The friend may have lost what it knew of our relays; tell it again, even that there are none.
        known_to_it = known_relays(friend) or ()
        has_relays = bool(draft.state.own_relays)
        friend.relays_sent = RelaysSent((), known_to_it) if has_relays else RelaysSent(known_to_it)
    _settle_reset(draft, friend)


def _settle_reset(draft: Draft, friend: Friend) -> None:
    channel = friend.consistent
    assert channel is not None  # noqa: S101 - just restarted
    for currency in channel.ledgers:
        friend.configs.setdefault(currency, CurrencyConfig())
    friend.backwards.replace([])
    balances = tuple(
        (currency, channel.ledgers[currency].balance) for currency in sorted(channel.ledgers)
    )
    draft.has_new_ways = True
    draft.records.append(ResetRecord(friend.public_key, balances, draft.env.wall_ms))
    draft.mark_dirty(friend.public_key)
    draft.mark_connections()


def _ledger_count(friend: Friend) -> int:
    channel = friend.consistent
    return 0 if channel is None else len(channel.ledgers)


# --- flush --------------------------------------------------------------------------------------


def flush(draft: Draft) -> None:
    """Build every move token that can and should go now; ends because each token is passed once."""
    relays = draft.state.own_relays
    todo = list(draft.friends_to_flush)
    while todo:
        key = todo.pop()
        known = draft.state.friends[key]
        if owes_token(known, relays):
            friend = draft.friend(key)
            nonce = RandValue(draft.env.random(16))
            ledgers = _ledger_count(friend)
            refused = build_token(friend, relays, draft.env.wall_ms, nonce, draft.env.sign)
            draft.mark_dirty(key)
            draft.has_new_ways |= _ledger_count(friend) > ledgers
            for entry in refused:
                cancel_to_origin(
                    draft,
                    entry.currency,
                    entry.request.request_id,
                    entry.origin,
                    PartEnd.CAME_BACK,
                )
                if isinstance(entry.origin, PublicKey):
                    todo.append(entry.origin)
        elif has_work(known, relays):
            draft.mark_dirty(key)
