"""One friend: settings, what it was told about our relays, what waits for the token, and its next move token.

What waits is kept in three queues, taken in this order: `backwards` (responses, cancels, collects: these
must never fail), `forwarded` (requests of other friends), `own` (requests of our own payments).

| relays_sent | means | listen for this friend at |
|---|---|---|
| `None` | never told | our relays now |
| `RelaysSent(now)` | told, and the friend confirmed | `now` |
| `RelaysSent(now, before)` | told, not confirmed yet | both |

Source: PROTOCOL.md, "Friends"; design R22, R23, R25.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar, assert_never

from offset_engine.core.messages import (
    BackwardsOp,
    CancelOp,
    CollectOp,
    CurrencyOperations,
    FriendMessage,
    InconsistencyMessage,
    MoveTokenMessage,
    Operation,
    RequestOp,
    ResponseOp,
    TokenWantedMessage,
)
from offset_engine.core.mutual_credit import Ledger, Origin
from offset_engine.core.token_channel import (
    Channel,
    Incoming,
    Inconsistent,
    TokenChannel,
    TokenParts,
    list_currencies,
    seal,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    OPERATIONS_PER_TOKEN_MAX,
    PENDING_PER_DIRECTION_MAX,
    RELAYS_MAX,
    RESET_TOKENS_REMEMBERED,
    Currency,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    Signature,
    value,
)

_T = TypeVar("_T")


@value
class CurrencyConfig:
    """What we decided about one currency with one friend; the friend is told none of it."""

    rate: Rate = Rate()
    max_debt: int = 0
    """Credit limit: the most the friend may owe us, in credits."""
    is_open: bool = False
    """Whether requests of others may pass."""
    is_removing: bool = False
    """Removed as soon as nothing is owed or pending."""


@value
class RelaysSent:
    """Our relays as the friend was last told, and what it knew before until it confirms."""

    now: tuple[RelayAddress, ...]
    before: tuple[RelayAddress, ...] | None = None


@value
class QueuedRequest:
    """A request waiting for the token."""

    currency: Currency
    request: RequestOp
    origin: Origin


class Queue(Generic[_T]):
    """First in, first out, with a running number for each item so that a save writes only changes."""

    __slots__ = ("first", "items")

    def __init__(self, items: list[_T] | None = None, first: int = 0) -> None:
        self.items: list[_T] = items or []
        self.first = first
        """Running number of `items[0]`; item k has number `first + k`."""

    def fork(self) -> "Queue[_T]":
        """A copy that may be changed."""
        return Queue(self.items.copy(), self.first)

    def push(self, item: _T) -> None:
        """Add at the end."""
        self.items.append(item)

    def take(self, count: int) -> list[_T]:
        """Remove and return up to `count` items from the front."""
        taken = self.items[:count]
        del self.items[:count]
        self.first += len(taken)
        return taken

    def replace(self, items: list[_T]) -> None:
        """Put other items in; they get fresh numbers."""
        self.first += len(self.items)
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Queue) and self.first == other.first and self.items == other.items

    __hash__ = None  # type: ignore[assignment]  # a queue is changed in place

    def __repr__(self) -> str:
        return f"Queue({self.items!r}, first={self.first})"


@dataclass(slots=True)
class Friend:
    """Everything we hold about one friend."""

    public_key: PublicKey
    name: str
    remote_relays: tuple[RelayAddress, ...]
    channel: Channel
    is_enabled: bool = False
    relays_sent: RelaysSent | None = None
    configs: dict[Currency, CurrencyConfig] = field(default_factory=dict)
    backwards: Queue[tuple[Currency, BackwardsOp]] = field(default_factory=Queue)
    forwarded: Queue[QueuedRequest] = field(default_factory=Queue)
    own: Queue[QueuedRequest] = field(default_factory=Queue)
    reset_tokens: tuple[Signature, ...] = ()
    """The last 8 reset tokens of both sides; terms with one of them are stale."""
    is_quarantined: bool = False
    """Restored from a backup: sign nothing new until the friend proves our state current (R25)."""
    lost: tuple[tuple[Currency, int], ...] = ()
    """Credits paid for orphaned requests, per currency, ascending."""
    imported: tuple[RelayAddress, ...] = ()
    """Relays a person gave for this friend; they may be dialled wherever they are (design R41)."""

    # What a restart forgets.
    link_id: int | None = None
    """The adopted connection; messages of any other are dropped."""
    is_online: bool = False
    """A link is up, or was lost less than the grace time ago."""
    wants_token: bool = False
    unreadable_ms: int | None = None
    """UTC ms of the last message we could not read on this run; None if all were fine."""

    def fork(self, channel: Channel | None = None) -> "Friend":
        """A copy that may be changed, queues included; `channel` saves forking this one's."""
        return Friend(
            self.public_key,
            self.name,
            self.remote_relays,
            self.channel.fork() if channel is None else channel,
            self.is_enabled,
            self.relays_sent,
            self.configs.copy(),
            self.backwards.fork(),
            self.forwarded.fork(),
            self.own.fork(),
            self.reset_tokens,
            self.is_quarantined,
            self.lost,
            self.imported,
            self.link_id,
            self.is_online,
            self.wants_token,
            self.unreadable_ms,
        )

    @property
    def consistent(self) -> TokenChannel | None:
        """The channel if both sides agree on it."""
        return self.channel if isinstance(self.channel, TokenChannel) else None

    @property
    def is_talking(self) -> bool:
        """Enabled, reachable and in agreement: new requests may go to this friend."""
        return self.is_enabled and self.is_online and self.consistent is not None

    def is_ready(self, currency: Currency) -> bool:
        """Whether a request in this currency may be sent to this friend now."""
        channel = self.consistent
        if not self.is_talking or channel is None or currency not in channel.ledgers:
            return False
        config = self.configs.get(currency)
        return config is None or not config.is_removing

    def has_room(self, request: RequestOp, currency: Currency) -> bool:
        """Whether one more request fits: pending and queued ones, and the range of the balance."""
        channel = self.consistent
        if channel is None:
            return False
        ledger = channel.ledgers[currency]
        waiting = len(self.forwarded) + len(self.own)
        owed = ledger.local_pending_debt + max(0, -ledger.balance)
        return (
            len(ledger.local) + waiting < PENDING_PER_DIRECTION_MAX
            and owed + request.freeze <= CREDITS_MAX
        )


# --- settings that concern the token ------------------------------------------------------------


def wanted_currencies(friend: Friend, channel: TokenChannel) -> tuple[Currency, ...]:
    """The list of currencies we would send now: configured ones, those being removed while in use."""
    return tuple(
        sorted(
            currency
            for currency, config in friend.configs.items()
            if not config.is_removing
            or (currency in channel.ledgers and not channel.ledgers[currency].is_zero)
        )
    )


def relays_to_tell(
    friend: Friend, own_relays: tuple[RelayAddress, ...]
) -> tuple[RelayAddress, ...] | None:
    """Our relays if the friend was not told yet."""
    if friend.relays_sent is not None and friend.relays_sent.now == own_relays:
        return None
    return own_relays


def listen_relays(friend: Friend, own_relays: tuple[RelayAddress, ...]) -> tuple[RelayAddress, ...]:
    """Where this friend may look for us: our relays, and until it confirms those it knew before."""
    by_key = {relay.public_key: relay for relay in known_relays(friend) or ()}
    by_key.update((relay.public_key, relay) for relay in own_relays)
    return tuple(by_key[key] for key in sorted(by_key))


def known_relays(friend: Friend) -> tuple[RelayAddress, ...] | None:
    """Relays of ours the friend may look at, at most 16, newest first kept; None = never told any."""
    told = friend.relays_sent
    if told is None:
        return None
    by_key: dict[PublicKey, RelayAddress] = {}
    for relay in (*told.now, *(told.before or ())):
        by_key.setdefault(relay.public_key, relay)
    return tuple(by_key[key] for key in sorted(list(by_key)[:RELAYS_MAX]))


def remember_reset_token(friend: Friend, token: Signature) -> None:
    """Keep a reset token so that terms with it are known to be stale after the reset."""
    if token not in friend.reset_tokens:
        friend.reset_tokens = (*friend.reset_tokens, token)[-RESET_TOKENS_REMEMBERED:]


def has_work(friend: Friend, own_relays: tuple[RelayAddress, ...]) -> bool:
    """Whether something waits for the token."""
    channel = friend.consistent
    if channel is None:
        return False
    return bool(
        friend.backwards.items
        or friend.forwarded.items
        or friend.own.items
        or wanted_currencies(friend, channel) != channel.active_local
        or relays_to_tell(friend, own_relays) is not None
    )


# --- what to send on a link ---------------------------------------------------------------------


@value
class SentOnLink:
    """What already left on one connection, so that nothing is sent on it twice."""

    token: Signature | None = None
    """The new token of the move token that left last."""
    asked: Signature | None = None
    """The move token with which, or after which, the token was asked back."""
    terms: Signature | None = None
    """The reset token of the terms that left last."""


def outgoing(
    friend: Friend, own_relays: tuple[RelayAddress, ...], sent: SentOnLink
) -> tuple[tuple[FriendMessage, ...], SentOnLink]:
    """What to send to a friend now, from its last saved state, and what will then have been sent.

    Connections deliver in order or break, so one copy of each message per connection is enough.
    """
    channel = friend.channel
    if isinstance(channel, Inconsistent):
        token = channel.local_terms.reset_token
        if sent.terms == token:
            return (), sent
        return (InconsistencyMessage(channel.local_terms),), SentOnLink(None, None, token)
    if isinstance(channel.direction, Incoming):
        return _probe(friend, channel.direction, sent)
    last = channel.direction
    wanted = last.token_wanted or has_work(friend, own_relays)
    new_token = last.move_token.new_token
    if sent.token != new_token:
        asked = new_token if wanted else sent.asked
        return (MoveTokenMessage(last.move_token, wanted),), SentOnLink(new_token, asked, None)
    if wanted and sent.asked != new_token:
        return (TokenWantedMessage(new_token),), SentOnLink(new_token, new_token, None)
    return (), sent


def _probe(
    friend: Friend, direction: Incoming, sent: SentOnLink
) -> tuple[tuple[FriendMessage, ...], SentOnLink]:
    """A restored card that owns the token names it: a friend that is further on will object (R25)."""
    token = direction.last.new_token
    if not friend.is_quarantined or sent.asked == token:
        return (), sent
    return (TokenWantedMessage(token),), SentOnLink(None, token, None)


# --- the next move token ------------------------------------------------------------------------


def owes_token(friend: Friend, own_relays: tuple[RelayAddress, ...]) -> bool:
    """Whether we can and should pass the token now."""
    channel = friend.consistent
    return (
        channel is not None
        and isinstance(channel.direction, Incoming)
        and friend.is_talking
        and not friend.is_quarantined
        and (friend.wants_token or has_work(friend, own_relays))
    )


def build_token(
    friend: Friend,
    own_relays: tuple[RelayAddress, ...],
    wall_ms: int,
    rand_nonce: RandValue,
    sign: Callable[[bytes], Signature],
) -> list[QueuedRequest]:
    """Put what waits into a signed move token and pass the token.

    Returns:
        Requests that cannot be sent any more; the caller cancels them to where they came from.
    """
    channel = friend.channel
    assert isinstance(channel, TokenChannel)  # noqa: S101 - `owes_token` was asked
    listed_before = channel.active_local
    list_currencies(channel, wanted_currencies(friend, channel))
    batch, refused = _take_operations(friend, channel, wall_ms)
    channel.active_local = wanted_currencies(friend, channel)
    relays = relays_to_tell(friend, own_relays)
    is_listing = channel.active_local != listed_before
    has_response = any(isinstance(op, ResponseOp) for _, ops in batch for op in ops)
    parts = TokenParts(
        tuple(CurrencyOperations(currency, ops) for currency, ops in batch),
        relays,
        channel.active_local if is_listing else None,
        token_wanted=has_response or relays is not None or _has_queued(friend),
    )
    seal(channel, parts, rand_nonce, sign)
    if relays is not None:
        friend.relays_sent = RelaysSent(relays, known_relays(friend))
    _drop_removed(friend, channel)
    friend.wants_token = False
    return refused


def _has_queued(friend: Friend) -> bool:
    return bool(friend.backwards.items or friend.forwarded.items or friend.own.items)


def _take_operations(
    friend: Friend, channel: TokenChannel, wall_ms: int
) -> tuple[list[tuple[Currency, tuple[Operation, ...]]], list[QueuedRequest]]:
    """Move up to 256 operations from the queues into the ledgers; grouped by currency, ascending."""
    batch: dict[Currency, list[Operation]] = {}
    refused: list[QueuedRequest] = []
    answers = friend.backwards.take(OPERATIONS_PER_TOKEN_MAX)
    for currency, answer in answers:
        send_backwards(channel.ledgers[currency], answer)
        batch.setdefault(currency, []).append(answer)
    room = OPERATIONS_PER_TOKEN_MAX - len(answers)
    for queue in (friend.forwarded, friend.own):
        for entry in queue.take(room):
            ledger = channel.ledgers.get(entry.currency)
            if ledger is None or not ledger.can_send_request(entry.request):
                refused.append(entry)
                continue
            ledger.send_request(entry.request, entry.origin, wall_ms)
            batch.setdefault(entry.currency, []).append(entry.request)
            room -= 1
    return [(currency, tuple(batch[currency])) for currency in sorted(batch)], refused


def send_backwards(ledger: Ledger, operation: BackwardsOp) -> None:
    """Record an answer that goes into our next move token."""
    match operation:
        case ResponseOp():
            ledger.send_response(operation)
        case CancelOp():
            ledger.send_cancel(operation)
        case CollectOp():
            ledger.send_collect(operation)
        case _:
            assert_never(operation)


def _drop_removed(friend: Friend, channel: TokenChannel) -> None:
    for currency in [c for c, config in friend.configs.items() if config.is_removing]:
        if currency not in channel.active_local:
            del friend.configs[currency]
