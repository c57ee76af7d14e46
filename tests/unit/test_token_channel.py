"""The chain of move tokens: what is next, what is a repetition, what breaks it, and how it restarts."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from offset_engine.core.crypto import (
    expand_seed,
    hash_lock,
    public_key_of,
    sha512_256,
    sign,
    verify,
)
from offset_engine.core.messages import (
    CurrencyOperations,
    MoveToken,
    Operation,
    ResetTerms,
    cancel_op,
    request_op,
)
from offset_engine.core.mutual_credit import Ledger, OperationFault
from offset_engine.core.signing import move_token_buffer
from offset_engine.core.token_channel import (
    Duplicate,
    Incoming,
    Inconsistent,
    MoveTokenHashed,
    Outgoing,
    ReceiveContext,
    Received,
    Rejected,
    Retransmit,
    TokenChannel,
    TokenFault,
    TokenParts,
    accept_terms,
    are_terms_acceptable,
    is_evidence_valid,
    list_currencies,
    new_channel,
    next_counter,
    prefix_of,
    receive_move_token,
    receive_reset,
    seal,
)
from offset_engine.core.values import (
    RESET_COUNTER_MAX,
    U128_MAX,
    Currency,
    InvoiceId,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    RelayAddress,
    Signature,
    Uid,
)
from offset_engine.errors import InvariantError
from tests.covers import covers

FST, USD = Currency("FST"), Currency("USD")
CONTEXT = ReceiveContext(((FST, 100),), verify, 1_700_000_000_000)


class End:
    """One end of a channel: its key and its view."""

    def __init__(self, seed: int) -> None:
        self.seed = PrivateKey(bytes([seed]) * 32)
        self.key = public_key_of(self.seed)
        self.channel: TokenChannel

    def sign(self, message: bytes) -> Signature:
        return sign(expand_seed(self.seed), message)

    def pass_token(
        self,
        *batches: CurrencyOperations,
        currencies: tuple[Currency, ...] | None = None,
        relays: tuple[RelayAddress, ...] | None = None,
    ) -> MoveToken:
        """Seal a move token; requests among the operations are recorded first."""
        after = self.channel.fork()
        if currencies is not None:
            list_currencies(after, currencies)
        for batch in batches:
            for operation in batch.operations:
                after.ledgers[batch.currency].send_request(operation, None, 0)  # type: ignore[arg-type]
        nonce = RandValue(sha512_256(bytes([after.move_token_counter % 251]))[:16])
        seal(after, TokenParts(batches, relays, currencies, token_wanted=False), nonce, self.sign)
        self.channel = after
        return sent(self)

    def take(self, token: MoveToken) -> Received:
        """Receive a token that must be fine."""
        outcome = receive_move_token(self.channel, token, CONTEXT)
        assert isinstance(outcome, Received), outcome
        self.channel = outcome.channel
        return outcome


def sent(end: End) -> MoveToken:
    assert isinstance(end.channel.direction, Outgoing)
    return end.channel.direction.move_token


def evidence(end: End) -> MoveTokenHashed:
    assert end.channel.last_incoming is not None
    return end.channel.last_incoming


def ends() -> tuple[End, End]:
    """The end that owns the token of a new channel, and the other one; both list FST."""
    owner, other = End(2), End(1)
    owner.channel = new_channel(owner.key, other.key)
    other.channel = new_channel(other.key, owner.key)
    assert isinstance(owner.channel.direction, Incoming)
    other.take(owner.pass_token(currencies=(FST,)))
    owner.take(other.pass_token(currencies=(FST,)))
    return owner, other


def request(number: int = 1, amount: int = 5, route: tuple[PublicKey, ...] = ()) -> Operation:
    lock = hash_lock(PlainLock(b"s" * 32))
    uid = Uid(bytes([number]) * 16)
    return request_op(uid, lock, route, (amount, amount, 0), InvoiceId(bytes(32)))


def again(end: End, token: MoveToken, **changes: object) -> MoveToken:
    """A changed move token with a good signature of its sender."""
    changed = replace(token, **changes)  # type: ignore[arg-type]
    buffer = move_token_buffer(prefix_of(changed), changed.info_hash, changed.rand_nonce)
    return replace(changed, new_token=end.sign(buffer))


def fault(end: End, token: MoveToken, context: ReceiveContext = CONTEXT) -> Rejected:
    before = end.channel.fork()
    outcome = receive_move_token(end.channel, token, context)
    assert isinstance(outcome, Rejected)
    assert end.channel == before  # nothing of a rejected token is kept
    return outcome


# --- the chain ----------------------------------------------------------------------------------


def test_tokens_alternate_and_count_up_by_one() -> None:
    owner, other = ends()
    for _ in range(3):
        count = owner.channel.move_token_counter
        token = owner.pass_token()
        assert owner.channel.move_token_counter == count + 1
        assert token.old_token == owner.channel.direction.previous.new_token  # type: ignore[union-attr]
        other.take(token)
        assert other.channel.token_info == owner.channel.token_info.flipped
        owner, other = other, owner


def test_the_same_token_again_is_a_duplicate_and_changes_nothing() -> None:
    owner, other = ends()
    token = owner.pass_token()
    other.take(token)
    assert receive_move_token(other.channel, token, CONTEXT) == Duplicate()


@pytest.mark.parametrize("field", ["info_hash", "rand_nonce", "new_token", "active_currencies"])
def test_a_duplicate_with_anything_changed_breaks_the_chain(field: str) -> None:
    owner, other = ends()
    token = owner.pass_token()
    other.take(token)
    value: object = (USD,) if field == "active_currencies" else b"x" * len(getattr(token, field))
    changed = replace(token, **{field: value})  # type: ignore[arg-type]
    assert fault(other, changed).fault is TokenFault.CHAIN_INCONSISTENCY


def test_a_friend_that_missed_our_token_gets_it_again() -> None:
    owner, other = ends()
    token = owner.pass_token()
    other.take(token)
    other.pass_token()  # lost
    assert receive_move_token(other.channel, token, CONTEXT) == Retransmit()


def test_a_token_that_follows_nothing_breaks_the_chain() -> None:
    owner, other = ends()
    token = again(owner, owner.pass_token(), old_token=Signature(b"o" * 64))
    assert fault(other, token).fault is TokenFault.CHAIN_INCONSISTENCY


def test_two_tokens_on_the_same_old_one_cannot_both_be_taken() -> None:
    owner, other = ends()
    fork = owner.channel.fork()
    first = owner.pass_token()
    owner.channel = fork
    second = again(owner, owner.pass_token(), rand_nonce=RandValue(b"2" * 16))
    other.take(first)
    assert fault(other, second).fault is TokenFault.CHAIN_INCONSISTENCY


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda _, token: replace(token, rand_nonce=RandValue(bytes(16))),
         TokenFault.INVALID_SIGNATURE),
        (lambda _, token: replace(token, active_currencies=(USD,)), TokenFault.INVALID_SIGNATURE),
        (lambda end, token: again(end, token, info_hash=bytes(32)), TokenFault.INVALID_TOKEN_INFO),
        (lambda end, token: again(end, token, active_currencies=(FST, USD)), None),
        (lambda end, token: again(
            end, token, currencies_operations=(CurrencyOperations(USD, (request(),)),)),
         TokenFault.INVALID_CURRENCY),
        (lambda end, token: again(
            end, token, currencies_operations=(CurrencyOperations(FST, (request(),)),)),
         TokenFault.INVALID_TOKEN_INFO),
    ],
)  # fmt: skip
def test_a_token_that_is_not_right_in_everything_is_rejected(
    spoil: Callable[[End, MoveToken], MoveToken], expected: TokenFault | None
) -> None:
    owner, other = ends()
    token = spoil(owner, owner.pass_token())
    if expected is None:  # a longer list of currencies changes no number
        assert isinstance(receive_move_token(other.channel, token, CONTEXT), Received)
    else:
        assert fault(other, token).fault is expected


def test_a_fault_in_an_operation_says_which_one() -> None:
    owner, other = ends()
    good = owner.pass_token(CurrencyOperations(FST, (request(1), request(2))))
    twice = again(
        owner, good, currencies_operations=(CurrencyOperations(FST, (request(1), request(1))),)
    )
    rejected = fault(other, twice)
    assert rejected.fault is TokenFault.INVALID_OPERATION
    assert rejected.operation_fault is OperationFault.REQUEST_ALREADY_EXISTS
    assert rejected.index == 1
    cancel = CurrencyOperations(FST, (cancel_op(Uid(bytes(16))),))
    rejected = fault(other, again(owner, good, currencies_operations=(cancel,)))
    assert rejected.operation_fault is OperationFault.REQUEST_DOES_NOT_EXIST


def test_operations_are_applied_in_order_with_the_limit_of_their_currency() -> None:
    owner, other = ends()
    outcome = other.take(
        owner.pass_token(CurrencyOperations(FST, (request(1, 60), request(2, 60), request(3, 40))))
    )
    assert [applied.entry is not None for applied in outcome.applied] == [True, False, False]
    assert other.channel.ledgers[FST].remote_pending_debt == 160
    stranger = ReceiveContext((), verify, 0)
    owner, other = ends()
    token = owner.pass_token(CurrencyOperations(FST, (request(1, 1),)))
    strict = receive_move_token(other.channel, token, stranger)
    assert isinstance(strict, Received)
    assert strict.applied[0].entry is None  # no limit was set: nothing may be owed


def test_the_counter_of_tokens_has_an_end() -> None:
    owner, other = ends()
    token = owner.pass_token()
    other.channel.move_token_counter = U128_MAX
    assert fault(other, token).fault is TokenFault.COUNTER_EXHAUSTED
    owner, other = ends()
    owner.channel.move_token_counter = U128_MAX
    with pytest.raises(InvariantError, match="exhausted"):
        owner.pass_token()


def test_only_the_owner_of_the_token_can_seal() -> None:
    owner, _ = ends()
    owner.pass_token()
    with pytest.raises(InvariantError, match="without owning"):
        owner.pass_token()


# --- currencies ---------------------------------------------------------------------------------


def test_ledgers_are_those_both_sides_list() -> None:
    owner, other = ends()
    other.take(owner.pass_token(currencies=(FST, USD)))
    assert list(other.channel.ledgers) == list(owner.channel.ledgers) == [FST]
    owner.take(other.pass_token(currencies=(FST, USD)))
    assert sorted(owner.channel.ledgers) == sorted(other.channel.ledgers) == [FST, USD]
    other.take(owner.pass_token(currencies=(USD,)))
    assert list(owner.channel.ledgers) == list(other.channel.ledgers) == [USD]


@covers("PT46")
@pytest.mark.parametrize("use", ["balance", "local", "remote"])
def test_a_currency_in_use_cannot_be_dropped(use: str) -> None:
    owner, other = ends()
    token = owner.pass_token()
    ledger = other.channel.ledgers[FST]
    if use == "balance":
        ledger.balance = 1
    elif use == "local":
        ledger.send_request(request(9), None, 0)  # type: ignore[arg-type]
    else:
        ledger.receive_request(request(9), 100, 0)  # type: ignore[arg-type]
    dropped = again(owner, token, active_currencies=())
    assert fault(other, dropped).fault is TokenFault.CURRENCY_IN_USE_REMOVED
    owner, _ = ends()
    owner.channel.ledgers[FST].balance = 1
    with pytest.raises(InvariantError, match="in use"):
        owner.pass_token(currencies=())


# --- evidence -----------------------------------------------------------------------------------


def test_the_last_token_of_a_friend_proves_its_balances_to_anybody() -> None:
    owner, other = ends()
    other.take(owner.pass_token(CurrencyOperations(FST, (request(),))))
    proof = evidence(other)
    assert is_evidence_valid(proof, verify)
    assert dict(proof.token_info.balances)[FST].local_pending_debt == 5
    forged = replace(proof, token_info=replace(proof.token_info, balances=()))
    assert not is_evidence_valid(forged, verify)
    other.pass_token()
    assert evidence(other) == proof  # kept while we wait for the next one
    assert new_channel(other.key, owner.key).last_incoming is None


# --- reset --------------------------------------------------------------------------------------


def broken_pair() -> tuple[End, End, ResetTerms, Inconsistent]:
    """The issuer of terms, the one that accepts them, the terms, the accepter's channel."""
    issuer, accepter = ends()
    terms = ResetTerms(Signature(b"r" * 64), 1, ((FST, 7), (USD, -2)))
    own = ResetTerms(Signature(b"q" * 64), 1, ((FST, 0),))
    last = accepter.channel.last_incoming
    return issuer, accepter, terms, Inconsistent(own, terms, last, 0)


def accepted(issuer: End, accepter: End, channel: Inconsistent) -> TokenChannel:
    nonce = RandValue(bytes(16))
    relays = (RelayAddress(issuer.key, "10.0.0.1:1"),)
    return accept_terms(channel, (accepter.key, issuer.key), relays, nonce, accepter.sign)


@covers("PT32")
def test_accepting_terms_restarts_the_channel_on_exactly_those() -> None:
    issuer, accepter, terms, channel = broken_pair()
    copy = channel.fork()
    after = accepted(issuer, accepter, channel)
    assert copy == channel
    assert {c: ledger.balance for c, ledger in after.ledgers.items()} == {FST: -7, USD: 2}
    assert after.offered_terms == channel.local_terms
    assert isinstance(after.direction, Outgoing)
    token = after.direction.move_token
    restarted = receive_reset(terms, (issuer.key, accepter.key), token, verify)
    assert restarted is not None
    assert restarted.token_info == after.token_info.flipped
    assert (restarted.inconsistency_counter, restarted.move_token_counter) == (1, 0)
    assert restarted.last_incoming is not None
    assert is_evidence_valid(restarted.last_incoming, verify)


@pytest.mark.parametrize(
    "spoil",
    [
        {"old_token": Signature(b"o" * 64)},
        {"currencies_operations": (CurrencyOperations(FST, (request(),)),)},
        {"active_currencies": (FST,)},
        {"info_hash": bytes(32)},
    ],
)
def test_a_reset_token_that_is_not_right_in_everything_is_none(spoil: dict[str, object]) -> None:
    issuer, accepter, terms, channel = broken_pair()
    after = accepted(issuer, accepter, channel)
    assert isinstance(after.direction, Outgoing)
    bad = again(accepter, after.direction.move_token, **spoil)
    assert receive_reset(terms, (issuer.key, accepter.key), bad, verify) is None


def test_a_reset_token_nobody_signed_is_none() -> None:
    issuer, accepter, terms, channel = broken_pair()
    after = accepted(issuer, accepter, channel)
    assert isinstance(after.direction, Outgoing)
    forged = replace(after.direction.move_token, new_token=Signature(bytes(64)))
    assert receive_reset(terms, (issuer.key, accepter.key), forged, verify) is None


def test_terms_nobody_offered_cannot_be_accepted() -> None:
    issuer, accepter, _, channel = broken_pair()
    channel.remote_terms = None
    with pytest.raises(InvariantError, match="nobody offered"):
        accepted(issuer, accepter, channel)


def test_counters_of_terms_go_up_to_their_end() -> None:
    assert next_counter(0) == 1
    assert next_counter(RESET_COUNTER_MAX) == RESET_COUNTER_MAX
    terms = ResetTerms(Signature(bytes(64)), RESET_COUNTER_MAX, ())
    assert are_terms_acceptable(terms, RESET_COUNTER_MAX - 1)
    assert not are_terms_acceptable(terms, RESET_COUNTER_MAX)


def test_a_fork_of_a_channel_shares_no_ledger() -> None:
    owner, _ = ends()
    copy = owner.channel.fork()
    copy.ledgers[FST].balance = 5
    copy.ledgers[USD] = Ledger()
    assert owner.channel.ledgers == {FST: Ledger()}
