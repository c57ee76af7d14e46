"""What friends send us and what becomes of it: links, tokens, and requests on their way to the next friend.

A request that arrives goes on to the next friend of its route, or into an invoice of ours; answers are
`answers`, and what happens when the two sides disagree is `resets`.

Source: PROTOCOL.md, "Forwarding".
"""

from typing import assert_never

from offset_engine.core import selling
from offset_engine.core.answers import cancel_queued, cancel_to_origin, ledger_of, pass_answer
from offset_engine.core.crypto import speaks_first
from offset_engine.core.draft import Draft, PartEnd
from offset_engine.core.events import CloseLink
from offset_engine.core.friend import (
    CurrencyConfig,
    Friend,
    QueuedRequest,
    RelaysSent,
    build_token,
    has_work,
    owes_token,
)
from offset_engine.core.messages import (
    FriendMessage,
    InconsistencyMessage,
    MoveTokenMessage,
    RequestOp,
    TokenWantedMessage,
    request_op,
)
from offset_engine.core.mutual_credit import SentRequest
from offset_engine.core.resets import break_channel, receive_terms, take_relays, try_reset
from offset_engine.core.token_channel import (
    Applied,
    Duplicate,
    Incoming,
    Inconsistent,
    ReceiveContext,
    Received,
    Rejected,
    Retransmit,
    receive_move_token,
)
from offset_engine.core.values import Currency, PublicKey, RandValue, Signature

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
            receive_terms(draft, known, message.terms)
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
        try_reset(draft, known, channel.local_terms, message)
        return
    if channel.offered_terms is not None and (token.old_token == channel.offered_terms.reset_token):
        # Both sides accepted at once: the reset of the side whose key hashes lower stands.
        if speaks_first(draft.state.local_public_key, key):
            try_reset(draft, known, channel.offered_terms, message)
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
    take_relays(draft, friend, message.move_token)
    if friend.relays_sent is not None and friend.relays_sent.before is not None:
        # The friend answered the token that told it: it knows our new relays.
        friend.relays_sent = RelaysSent(friend.relays_sent.now)
        draft.mark_connections()
    for applied in received.applied:
        _dispatch(draft, key, applied)


def _dispatch(draft: Draft, key: PublicKey, applied: Applied) -> None:
    operation, entry = applied.operation, applied.entry
    if isinstance(operation, RequestOp):
        _receive_request(draft, key, applied.currency, operation, is_welcome=entry is not None)
    else:
        assert isinstance(entry, SentRequest)  # noqa: S101 - what an answer answers
        pass_answer(draft, key, (applied.currency, entry), operation)


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
    ledger_of(draft, key, currency).set_next(request.request_id, next_key)
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
