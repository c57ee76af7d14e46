"""The chain of signed move tokens between two friends, carrying all their ledgers.

Whoever holds the token may send one `MoveToken`; sending passes the token on.

    Incoming (we own the token) ──build──▶ Outgoing (the friend owns it) ──receive──▶ Incoming …

| in state | a move token arrives that | outcome |
|---|---|---|
| Outgoing | follows our last one and is right in every number | `Received` |
| Outgoing | is the one ours followed (the friend missed ours) | `Retransmit` |
| Incoming | equals the last one received | `Duplicate` |
| any | is anything else | `TokenFault`: the channel is inconsistent |

An inconsistent channel holds the terms each side offers for a restart; a person accepts one of them.
Nothing here decides *what* to send: see `friend`. Nothing of a rejected message is kept.

Source: offset-docs "Mutual Credit Protocol"; PROTOCOL.md, "Token channel".
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias, assert_never

from offset_engine.core.crypto import speaks_first
from offset_engine.core.messages import (
    CancelOp,
    CollectOp,
    CurrencyOperations,
    MoveToken,
    Operation,
    RequestOp,
    ResetTerms,
    ResponseOp,
)
from offset_engine.core.mutual_credit import (
    Ledger,
    OperationFault,
    ReceivedRequest,
    SentRequest,
    Verify,
)
from offset_engine.core.signing import (
    TokenInfo,
    genesis,
    info_hash,
    move_token_buffer,
    prefix_hash,
    sorted_balances,
)
from offset_engine.core.values import (
    RESET_COUNTER_MAX,
    RESET_COUNTER_STEP_MAX,
    U128_MAX,
    Currency,
    HashResult,
    PublicKey,
    RandValue,
    RelayAddress,
    Signature,
    value,
)
from offset_engine.errors import broken, invariant


class TokenFault(Enum):
    """Why a move token cannot be the friend's next one."""

    CHAIN_INCONSISTENCY = "chain_inconsistency"
    INVALID_SIGNATURE = "invalid_signature"
    CURRENCY_IN_USE_REMOVED = "currency_in_use_removed"
    INVALID_CURRENCY = "invalid_currency"
    INVALID_OPERATION = "invalid_operation"
    INVALID_TOKEN_INFO = "invalid_token_info"
    COUNTER_EXHAUSTED = "counter_exhausted"


@value
class MoveTokenHashed:
    """Evidence: enough of a friend's last move token to prove its balances to anybody."""

    prefix_hash: HashResult
    token_info: TokenInfo
    """From the signer's view."""
    rand_nonce: RandValue
    new_token: Signature


@value
class Incoming:
    """We own the token; the friend's last move token is kept as evidence."""

    last: MoveTokenHashed


@value
class Outgoing:
    """The friend owns the token; until it answers we may only send `move_token` again."""

    move_token: MoveToken
    previous: MoveTokenHashed | None
    """The friend's last move token, evidence; None before the first and after a reset."""
    token_wanted: bool
    """Ask for the token back when it is (re)sent."""


@dataclass(slots=True)
class TokenChannel:
    """A consistent channel. `ledgers` has exactly the currencies both sides list."""

    local_public_key: PublicKey
    remote_public_key: PublicKey
    direction: Incoming | Outgoing
    ledgers: dict[Currency, Ledger] = field(default_factory=dict)
    active_local: tuple[Currency, ...] = ()
    """The list we last sent, ascending."""
    active_remote: tuple[Currency, ...] = ()
    """The list we last received, ascending."""
    inconsistency_counter: int = 0
    move_token_counter: int = 0
    offered_terms: ResetTerms | None = None
    """After we accepted the friend's terms: our own ones, until the friend confirms (tie-break)."""

    def fork(self) -> "TokenChannel":
        """A copy that may be changed, ledgers included."""
        return TokenChannel(
            self.local_public_key,
            self.remote_public_key,
            self.direction,
            {currency: ledger.fork() for currency, ledger in self.ledgers.items()},
            self.active_local,
            self.active_remote,
            self.inconsistency_counter,
            self.move_token_counter,
            self.offered_terms,
        )

    @property
    def last_incoming(self) -> MoveTokenHashed | None:
        """The friend's last signed move token, if it ever signed one."""
        if isinstance(self.direction, Incoming):
            return self.direction.last
        return self.direction.previous

    @property
    def token_info(self) -> TokenInfo:
        """What we hold now, from our view."""
        return TokenInfo(
            self.local_public_key,
            self.remote_public_key,
            sorted_balances({currency: led.info for currency, led in self.ledgers.items()}),
            self.inconsistency_counter,
            self.move_token_counter,
        )


@dataclass(slots=True)
class Inconsistent:
    """A channel both sides see differently; it rests until one side's terms are accepted."""

    local_terms: ResetTerms
    """What we offer: balances from our view."""
    remote_terms: ResetTerms | None
    """What the friend offers: balances from the friend's view."""
    last_incoming: MoveTokenHashed | None
    consistent_counter: int
    """`inconsistency_counter` of our last consistent channel."""

    def fork(self) -> "Inconsistent":
        """A copy that may be changed."""
        return Inconsistent(
            self.local_terms, self.remote_terms, self.last_incoming, self.consistent_counter
        )


Channel: TypeAlias = TokenChannel | Inconsistent


# --- a new channel ------------------------------------------------------------------------------


def new_channel(local: PublicKey, remote: PublicKey) -> TokenChannel:
    """The channel of a fresh friendship: both sides compute the same first move token."""
    if speaks_first(local, remote):
        token = genesis(remote, local)
        return TokenChannel(
            local, remote, Incoming(hash_move_token(token, _no_info(remote, local)))
        )
    return TokenChannel(local, remote, Outgoing(genesis(local, remote), None, token_wanted=False))


def _no_info(signer: PublicKey, other: PublicKey) -> TokenInfo:
    return TokenInfo(signer, other, (), 0, 0)


def hash_move_token(move_token: MoveToken, info: TokenInfo) -> MoveTokenHashed:
    """Reduce a friend's move token to evidence; `info` is from its signer's view."""
    return MoveTokenHashed(prefix_of(move_token), info, move_token.rand_nonce, move_token.new_token)


def prefix_of(move_token: MoveToken) -> HashResult:
    """The prefix hash of a whole move token."""
    return prefix_hash(
        move_token.old_token,
        move_token.currencies_operations,
        move_token.local_relays,
        move_token.active_currencies,
    )


def is_evidence_valid(evidence: MoveTokenHashed, verify: Verify) -> bool:
    """Whether the signer really signed these balances (what a third party would check)."""
    buffer = move_token_buffer(
        evidence.prefix_hash, info_hash(evidence.token_info), evidence.rand_nonce
    )
    return verify(evidence.token_info.local_public_key, buffer, evidence.new_token)


# --- receiving ----------------------------------------------------------------------------------


@value
class Duplicate:
    """Nothing new; the friend may still want the token."""


@value
class Retransmit:
    """The friend has not got our last move token yet."""


@value
class Applied:
    """One operation of an accepted move token and what it did."""

    currency: Currency
    operation: Operation
    entry: SentRequest | ReceivedRequest | None
    """The pending transaction concerned; None for a request that must be cancelled."""


@value
class Received:
    """The next channel, and every operation in order."""

    channel: TokenChannel
    applied: tuple[Applied, ...]


@value
class Rejected:
    """The move token is not acceptable."""

    fault: TokenFault
    operation_fault: OperationFault | None = None
    index: int = 0
    """Which operation of the move token, counted over all currencies."""


ReceiveOutcome: TypeAlias = Duplicate | Retransmit | Received | Rejected


@value
class ReceiveContext:
    """What judging a move token needs besides the channel."""

    max_debts: "MaxDebts"
    """Per currency, the most the friend may owe us, in credits; missing = 0."""
    verify: Verify
    wall_ms: int


MaxDebts: TypeAlias = tuple[tuple[Currency, int], ...]


def receive_move_token(
    channel: TokenChannel, token: MoveToken, context: ReceiveContext
) -> ReceiveOutcome:
    """Decide what a friend's move token means; never changes `channel`."""
    if isinstance(channel.direction, Incoming):
        is_same = _is_same(channel.direction.last, token)
        return Duplicate() if is_same else Rejected(TokenFault.CHAIN_INCONSISTENCY)
    if token.old_token != channel.direction.move_token.new_token:
        if channel.direction.move_token.old_token == token.new_token:
            return Retransmit()
        return Rejected(TokenFault.CHAIN_INCONSISTENCY)
    return _accept(channel, token, context)


def _is_same(last: MoveTokenHashed, token: MoveToken) -> bool:
    return (
        last.new_token == token.new_token
        and last.rand_nonce == token.rand_nonce
        and info_hash(last.token_info) == token.info_hash
        and last.prefix_hash == prefix_of(token)
    )


def _accept(
    channel: TokenChannel, token: MoveToken, context: ReceiveContext
) -> Received | Rejected:
    prefix = prefix_of(token)
    signed = move_token_buffer(prefix, token.info_hash, token.rand_nonce)
    if not context.verify(channel.remote_public_key, signed, token.new_token):
        return Rejected(TokenFault.INVALID_SIGNATURE)
    if channel.move_token_counter >= U128_MAX:
        return Rejected(TokenFault.COUNTER_EXHAUSTED)
    after = channel.fork()
    if token.active_currencies is not None:
        after.active_remote = token.active_currencies
        _open_ledgers(after)
    applied = _apply_all(after, token.currencies_operations, context)
    if isinstance(applied, Rejected):
        return applied
    if not _close_ledgers(after):
        return Rejected(TokenFault.CURRENCY_IN_USE_REMOVED)
    after.move_token_counter += 1
    info = after.token_info.flipped
    if info_hash(info) != token.info_hash:
        return Rejected(TokenFault.INVALID_TOKEN_INFO)
    evidence = MoveTokenHashed(prefix, info, token.rand_nonce, token.new_token)
    after.direction = Incoming(evidence)
    after.offered_terms = None
    return Received(after, applied)


def _open_ledgers(channel: TokenChannel) -> None:
    for currency in channel.active_local:
        if currency in channel.active_remote and currency not in channel.ledgers:
            channel.ledgers[currency] = Ledger()


def _close_ledgers(channel: TokenChannel) -> bool:
    """Drop ledgers a side no longer lists; False if one of them is still in use."""
    gone = [
        currency
        for currency in channel.ledgers
        if currency not in channel.active_local or currency not in channel.active_remote
    ]
    if not all(channel.ledgers[currency].is_zero for currency in gone):
        return False
    for currency in gone:
        del channel.ledgers[currency]
    return True


def _apply_all(
    channel: TokenChannel, batches: tuple[CurrencyOperations, ...], context: ReceiveContext
) -> tuple[Applied, ...] | Rejected:
    max_debts = dict(context.max_debts)
    applied: list[Applied] = []
    for batch in batches:
        ledger = channel.ledgers.get(batch.currency)
        if ledger is None:
            return Rejected(TokenFault.INVALID_CURRENCY, index=len(applied))
        max_debt = max_debts.get(batch.currency, 0)
        for operation in batch.operations:
            entry = _apply(ledger, operation, (channel, batch.currency, max_debt), context)
            if isinstance(entry, OperationFault):
                return Rejected(TokenFault.INVALID_OPERATION, entry, len(applied))
            applied.append(Applied(batch.currency, operation, entry))
    return tuple(applied)


def _apply(
    ledger: Ledger,
    operation: Operation,
    where: tuple[TokenChannel, Currency, int],
    context: ReceiveContext,
) -> SentRequest | ReceivedRequest | OperationFault | None:
    channel, currency, max_debt = where
    match operation:
        case RequestOp():
            return ledger.receive_request(operation, max_debt, context.wall_ms)
        case ResponseOp():
            return ledger.receive_response(
                operation, currency, channel.remote_public_key, context.verify
            )
        case CancelOp():
            return ledger.receive_cancel(operation)
        case CollectOp():
            return ledger.receive_collect(operation)
        case _:
            assert_never(operation)


# --- sending ------------------------------------------------------------------------------------


@value
class TokenParts:
    """What a new move token carries, chosen by `friend`."""

    currencies_operations: tuple[CurrencyOperations, ...]
    local_relays: tuple[RelayAddress, ...] | None
    active_currencies: tuple[Currency, ...] | None
    token_wanted: bool


def list_currencies(channel: TokenChannel, currencies: tuple[Currency, ...]) -> None:
    """Take a new list of ours: opens ledgers now; `seal` closes those that were dropped."""
    channel.active_local = currencies
    _open_ledgers(channel)


def seal(
    channel: TokenChannel,
    parts: TokenParts,
    rand_nonce: RandValue,
    sign: Callable[[bytes], Signature],
) -> None:
    """Sign the next move token, after its operations were applied to the ledgers; passes the token."""
    direction = channel.direction
    if not isinstance(direction, Incoming):
        broken("sealed a move token without owning the token")
    invariant(_close_ledgers(channel), "dropped a currency in use")
    invariant(channel.move_token_counter < U128_MAX, "move token counter exhausted")
    channel.move_token_counter += 1
    old_token = direction.last.new_token
    prefix = prefix_hash(
        old_token, parts.currencies_operations, parts.local_relays, parts.active_currencies
    )
    info = info_hash(channel.token_info)
    token = MoveToken(
        old_token,
        parts.currencies_operations,
        parts.local_relays,
        parts.active_currencies,
        info,
        rand_nonce,
        sign(move_token_buffer(prefix, info, rand_nonce)),
    )
    channel.direction = Outgoing(token, direction.last, parts.token_wanted)


# --- inconsistency and reset --------------------------------------------------------------------


def are_terms_acceptable(terms: ResetTerms, consistent_counter: int) -> bool:
    """Whether a friend's terms may be accepted at all (shape and ranges are the codec's business).

    A counter far ahead is refused: it would leave no room for later resets.
    """
    ahead = terms.inconsistency_counter - consistent_counter
    return 0 < ahead <= RESET_COUNTER_STEP_MAX and terms.inconsistency_counter <= RESET_COUNTER_MAX


def next_counter(counter: int) -> int:
    """The counter of new terms."""
    return min(counter + 1, RESET_COUNTER_MAX)


def accept_terms(
    channel: Inconsistent,
    ends: tuple[PublicKey, PublicKey],
    relays: tuple[RelayAddress, ...],
    rand_nonce: RandValue,
    sign: Callable[[bytes], Signature],
) -> TokenChannel:
    """Restart the channel on the friend's terms; `ends` is (local, remote)."""
    terms = channel.remote_terms
    if terms is None:
        broken("accepted terms nobody offered")
    after = _restarted(ends, terms, -1)
    prefix = prefix_hash(terms.reset_token, (), relays, None)
    info = info_hash(after.token_info)
    token = MoveToken(
        terms.reset_token,
        (),
        relays,
        None,
        info,
        rand_nonce,
        sign(move_token_buffer(prefix, info, rand_nonce)),
    )
    after.direction = Outgoing(token, channel.last_incoming, token_wanted=True)
    after.offered_terms = channel.local_terms
    return after


def _restarted(ends: tuple[PublicKey, PublicKey], terms: ResetTerms, sign: int) -> TokenChannel:
    currencies = tuple(currency for currency, _ in terms.balances)
    return TokenChannel(
        *ends,
        # Replaced by the caller; a channel cannot exist without a direction.
        Outgoing(genesis(*ends), None, token_wanted=False),
        {currency: Ledger(sign * balance) for currency, balance in terms.balances},
        currencies,
        currencies,
        terms.inconsistency_counter,
        0,
    )


def receive_reset(
    terms: ResetTerms, ends: tuple[PublicKey, PublicKey], token: MoveToken, verify: Verify
) -> TokenChannel | None:
    """The restarted channel if `token` accepts our own `terms`; `ends` is (local, remote)."""
    if (
        token.old_token != terms.reset_token
        or token.currencies_operations
        or token.active_currencies is not None
    ):
        return None
    after = _restarted(ends, terms, 1)
    info = after.token_info.flipped
    if info_hash(info) != token.info_hash:
        return None
    prefix = prefix_of(token)
    signed = move_token_buffer(prefix, token.info_hash, token.rand_nonce)
    if not verify(ends[1], signed, token.new_token):
        return None
    after.direction = Incoming(MoveTokenHashed(prefix, info, token.rand_nonce, token.new_token))
    return after
