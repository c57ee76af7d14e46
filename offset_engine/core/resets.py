"""When the two sides of a channel disagree: ending what passes over it, offering terms, starting again.

A channel that dies takes its transactions along, each kind in its own way (payments.md §5.6): what we sent is
cancelled to where it came from, unless the friend's last words prove that it was paid; what the friend sent
is stopped where it still waits, or left without an origin where it went on.

Source: PROTOCOL.md, "Inconsistency".
"""

from offset_engine.core import selling
from offset_engine.core.answers import cancel_queued, cancel_to_origin, ledger_of, pass_answer
from offset_engine.core.crypto import hash_lock
from offset_engine.core.draft import Draft, PartEnd
from offset_engine.core.friend import (
    CurrencyConfig,
    Friend,
    RelaysSent,
    known_relays,
    remember_reset_token,
)
from offset_engine.core.messages import CollectOp, MoveToken, MoveTokenMessage, ResetTerms
from offset_engine.core.mutual_credit import ReceivedRequest, SentRequest
from offset_engine.core.reports import ResetRecord
from offset_engine.core.token_channel import (
    Inconsistent,
    TokenChannel,
    accept_terms,
    are_terms_acceptable,
    next_counter,
    receive_reset,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    InvoiceId,
    PublicKey,
    RandValue,
    Signature,
    Uid,
)

# --- inconsistency ------------------------------------------------------------------------------


def receive_terms(draft: Draft, known: Friend, terms: ResetTerms) -> None:
    """The friend says that its view differs, and what it offers."""
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
                pass_answer(draft, key, (currency, sent), collect)
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
            ledger_of(draft, next_, currency).orphan(request_id)
            return
        downstream = draft.friend(next_)
        downstream.forwarded.replace(
            [e for e in downstream.forwarded.items if e.request.request_id != request_id]
        )
        draft.set_outgoing_id(request_id, None)


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


def try_reset(draft: Draft, known: Friend, terms: ResetTerms, message: MoveTokenMessage) -> None:
    """Start again if the friend's move token accepts `terms`, which are ours."""
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
    take_relays(draft, friend, message.move_token)
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


def take_relays(draft: Draft, friend: Friend, token: MoveToken) -> None:
    """Note where the friend says that it can be reached."""
    if token.local_relays is not None and token.local_relays != friend.remote_relays:
        friend.remote_relays = token.local_relays
        draft.mark_connections()
