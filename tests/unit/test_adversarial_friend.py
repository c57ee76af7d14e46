"""A friend that says anything it can sign: only that friendship suffers, not one credit moves (PT51–PT59, PT75–77)."""

from collections.abc import Callable

import pytest

from offset_engine.core.api import (
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    TransactionOutcome,
    TransactionResult,
)
from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.crypto import hash_lock
from offset_engine.core.events import UnreadableArrived
from offset_engine.core.invoice import Member
from offset_engine.core.messages import (
    CancelOp,
    CurrencyOperations,
    InconsistencyMessage,
    MoveTokenMessage,
    Operation,
    RequestOp,
    ResetTerms,
    TokenWantedMessage,
    cancel_op,
    collect_op,
)
from offset_engine.core.mutual_credit import Ledger, OperationFault
from offset_engine.core.signing import Commit, Invoice, genesis, response_hash
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Inconsistent, is_evidence_valid
from offset_engine.core.values import (
    CREDITS_MAX,
    OPERATIONS_PER_TOKEN_MAX,
    PENDING_PER_DIRECTION_MAX,
    PENDING_STORED_MAX,
    RESET_TOKENS_REMEMBERED,
    ROUTE_KEYS_MAX,
    U128_MAX,
    Currency,
    HashResult,
    InvoiceId,
    PlainLock,
    PublicKey,
    RelayAddress,
    Signature,
    Uid,
)
from offset_engine.errors import DecodeError
from offset_engine.store import MemoryStore, touched_between
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    befriend,
    new_invoice,
    strand_token,
    transfer,
    uid,
    wish,
)
from tests.fakes_hostile import OTHER_SECRET, SECRET, ScriptedFriend, ask
from tests.sim.invariants import check_node, i27_persistence

USD = Currency("USD")


class Town:
    """A card `m` between two honest friends `h` and `g`, and one friend `foe` that plays foul."""

    def __init__(self, foe_limit: int = 100, currencies: tuple[Currency, ...] = (FST,)) -> None:
        self.m, self.h, self.g = Card("m", 1), Card("h", 2), Card("g", 3)
        self.wires = Wires(self.m, self.h, self.g)
        befriend(self.m, self.h)
        befriend(self.m, self.g)
        self.wires.connect(self.m, self.h)
        self.wires.connect(self.m, self.g)
        self.wires.run()
        assert transfer(self.wires, (self.h, self.m), 7, 100)
        self.foe = ScriptedFriend("foe", 11, self.m, foe_limit, currencies)
        self._numbers = iter(range(101, 250))
        self._peace = self._others()

    def _others(self) -> dict[str, object]:
        return {
            card.name: self.m.friend(card).consistent.token_info  # type: ignore[union-attr]
            for card in (self.h, self.g)
        }

    def pay_debt(self, amount: int) -> None:
        """Let the foe owe us: it buys from us honestly."""
        number, before = next(self._numbers), self.foe.owed()
        invoice = new_invoice(self.m, amount, number)
        lock = hash_lock(OTHER_SECRET)
        self.foe.say(ask(number, amount, invoice=number, lock=lock))
        self.foe.take_token()
        group = self.m.state.invoices[invoice.invoice_id].groups[lock]
        (member,) = group.members.values()
        commit = _commit(member, ask(number, amount, invoice=number, lock=lock), OTHER_SECRET)
        assert self.m.do(CommitInvoice(commit)) is None
        self.foe.say()
        self.foe.take_token()
        assert self.foe.owed() == -self.foe.ledger().balance == before + amount

    def insist_only_foe_suffered(self, *, owed: int | None = None) -> None:
        """I17: other channels are untouched, every invariant holds, and payments go on."""
        if owed is not None:
            assert self.foe.owed() == owed
        assert self._others() == self._peace
        check_node(self.m.state, tuple(self.m.state.friends))
        insist_survives_restart(self.m)
        assert transfer(self.wires, (self.h, self.m, self.g), 3, next(self._numbers))
        assert transfer(self.wires, (self.g, self.m), 1, next(self._numbers))
        assert transfer(self.wires, (self.m, self.h), 2, next(self._numbers))
        self._peace = self._others()


def _commit(member: Member, request: RequestOp, secret: PlainLock) -> Commit:
    response = member.response
    return Commit(
        response_hash(request.request_id, response.rand_nonce),
        secret,
        response.dest_hashed_lock,
        request.dest_payment,
        request.total_dest_payment,
        request.invoice_id,
        FST,
        response.signature,
    )


def insist_survives_restart(card: Card) -> None:
    """What the node holds now can be saved and loaded again (B9)."""
    store = MemoryStore(card.key)
    nothing = NodeState(card.key)
    store.save(nothing, card.state, touched_between(nothing, card.state), ())
    i27_persistence(card.state, store.load())


@pytest.fixture
def town() -> Town:
    return Town()


# --- move tokens --------------------------------------------------------------------------------


def _wrong_old_token(foe: ScriptedFriend) -> MoveTokenMessage:
    return MoveTokenMessage(foe.forged(old_token=Signature(b"\x09" * 64)), token_wanted=False)


def _wrong_signature(foe: ScriptedFriend) -> MoveTokenMessage:
    token, _ = foe.sealed({})
    object.__setattr__(token, "new_token", Signature(bytes(64)))
    return MoveTokenMessage(token, token_wanted=False)


def _wrong_numbers(foe: ScriptedFriend) -> MoveTokenMessage:
    return MoveTokenMessage(foe.forged(info=HashResult(bytes(32))), token_wanted=False)


def _changed_after_signing(foe: ScriptedFriend) -> MoveTokenMessage:
    token, _ = foe.sealed({FST: [ask(9, 5)]})
    changed = (CurrencyOperations(FST, (ask(9, 6),)),)
    object.__setattr__(token, "currencies_operations", changed)
    return MoveTokenMessage(token, token_wanted=False)


@covers("PT51")
@pytest.mark.parametrize(
    "forge", [_wrong_old_token, _wrong_signature, _wrong_numbers, _changed_after_signing]
)
def test_a_forged_move_token_moves_nothing(
    town: Town, forge: Callable[[ScriptedFriend], MoveTokenMessage]
) -> None:
    town.pay_debt(10)
    town.foe.take_token()
    town.foe.tell(forge(town.foe))
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=10)


@covers("PT51")
def test_no_replay_of_any_earlier_message_moves_anything() -> None:
    """Every message the friend, and another friend, ever said, in either direction of the token."""
    said = len(_with_history().foe.said)
    assert said > 3
    for owns_token in (False, True):
        for number in range(said):
            town = _with_history()
            if owns_token:
                town.foe.take_token()
            town.foe.tell(town.foe.said[number])
            town.insist_only_foe_suffered(owed=10)


def _with_history() -> Town:
    town = Town()
    town.pay_debt(6)
    town.foe.say(wanted=True)
    town.foe.tell(TokenWantedMessage(Signature(b"\x02" * 64)))
    town.pay_debt(4)
    return town


@covers("PT51")
def test_the_first_token_again_and_a_strangers_token_move_nothing() -> None:
    for pick in range(3):
        town = _with_history()
        ends = sorted((town.foe.key, town.m.key), key=lambda key: hash_lock(PlainLock(key)))
        strangers = [m for src, dest, m in town.wires.log if (src, dest) == ("h", "m")]
        town.foe.tell(
            (MoveTokenMessage(genesis(*ends), token_wanted=True), strangers[0], strangers[-1])[pick]
        )
        town.insist_only_foe_suffered(owed=10)


@covers("PT52")
@pytest.mark.parametrize("victim_answers", [False, True])
def test_of_two_tokens_on_the_same_old_token_the_first_stands(
    town: Town, victim_answers: bool
) -> None:
    town.foe.take_token()
    first, after = town.foe.sealed({FST: [ask(1, 10)]})
    second, _ = town.foe.sealed({FST: [ask(2, 20)]})
    new_invoice(town.m, 10 if victim_answers else 11)
    town.foe.channel = after
    town.foe.tell(MoveTokenMessage(first, token_wanted=False))
    town.foe.tell(MoveTokenMessage(second, token_wanted=False))
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=0)


@covers("PT53")
def test_a_signature_does_not_fit_the_same_letters_cut_elsewhere(town: Town) -> None:
    foe = town.foe
    foe.take_token()
    names = (Currency("AB"), Currency("C"), FST)
    token, _ = foe.sealed({}, currencies=names)
    object.__setattr__(token, "active_currencies", (Currency("A"), Currency("BC"), FST))
    foe.tell(MoveTokenMessage(token, token_wanted=False))
    assert not foe.is_trusted
    town.insist_only_foe_suffered(owed=0)


@covers("PT53")
def test_a_relay_address_cannot_swallow_the_next_relays_key(town: Town) -> None:
    foe = town.foe
    foe.take_token()
    relays = (RelayAddress(town.h.key, "a.net:1"), RelayAddress(town.g.key, "b.net:1"))
    token, _ = foe.sealed({}, relays=relays)
    swapped = (RelayAddress(town.h.key, "b.net:1"), RelayAddress(town.g.key, "a.net:1"))
    object.__setattr__(token, "local_relays", swapped)
    foe.tell(MoveTokenMessage(token, token_wanted=False))
    assert not foe.is_trusted
    assert foe.as_friend.remote_relays == ()


# --- inconsistency ------------------------------------------------------------------------------


@covers("PT54")
@pytest.mark.parametrize("owns_token", [False, True])
def test_terms_at_any_time_break_only_that_channel(town: Town, owns_token: bool) -> None:
    town.pay_debt(10)
    if owns_token:
        town.foe.take_token()
    town.foe.offer(((FST, 1_000_000),))
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=10)


@covers("PT54")
def test_a_flood_of_terms_is_answered_at_most_once_each_and_leaves_nothing_behind(
    town: Town,
) -> None:
    town.pay_debt(10)
    for counter in range(1, 60):
        before = len(town.foe.heard)
        town.foe.offer(((FST, counter),), counter)
        assert len(town.foe.heard) <= before + 1
    for _ in range(40):
        before = len(town.foe.heard)
        town.foe.offer(((FST, 5),), 7)
        assert len(town.foe.heard) == before, "an old counter needs no answer"
    assert len(town.foe.as_friend.reset_tokens) <= RESET_TOKENS_REMEMBERED
    town.insist_only_foe_suffered(owed=10)


@covers("PT54")
def test_a_friend_that_echoes_our_own_reset_token_gains_nothing(town: Town) -> None:
    town.pay_debt(10)
    town.foe.offer(((FST, 1),))
    channel = town.foe.as_friend.channel
    assert isinstance(channel, Inconsistent)
    town.foe.offer(((FST, 99),), 2, channel.local_terms.reset_token)
    town.insist_only_foe_suffered(owed=10)


# --- answers to our own requests ----------------------------------------------------------------


def _buy_from_foe(town: Town, amount: int = 10, number: int = 1) -> RequestOp:
    """Let m pay the foe for an invoice of the foe's; returns the request as the foe got it."""
    invoice = Invoice(InvoiceId(bytes([number]) * 32), FST, town.foe.key, amount)
    town.foe.take_token()
    town.foe.say()
    opened = CreatePayment(wish(number), invoice.invoice_id, FST, amount, town.foe.key)
    route = (town.m.key, town.foe.key)
    sent = CreateTransaction(wish(number), uid(number), route, amount, 0)
    assert town.m.do(opened, sent) is None
    town.foe.take_token()
    return town.foe.last_request


def _results(card: Card, number: int) -> list[TransactionOutcome]:
    return [
        notice.outcome
        for notice in card.notices
        if isinstance(notice, TransactionResult) and notice.payment_id == wish(number)
    ]


_BAD_RESPONSES: dict[str, Callable[[Town, RequestOp], tuple[Operation, ...]]] = {
    "signed by another key": lambda town, r: (
        ScriptedFriend("twin", 12, Card("x", 99)).answer_to(r),
    ),
    "signed for another currency": lambda town, r: (town.foe.answer_to(r, currency=USD),),
    "completeness changed": lambda town, r: (town.foe.answer_to(r, signs_complete=False),),
    "signed for another total": lambda town, r: (
        town.foe.answer_to(r, signs=ask(1, 10, total=11)),
    ),
    "signed for another invoice": lambda town, r: (
        town.foe.answer_to(r, signs=ask(1, 10, invoice=2, lock=r.src_hashed_lock)),
    ),
    "signed for another payment": lambda town, r: (
        town.foe.answer_to(r, signs=ask(1, 9, total=10, lock=r.src_hashed_lock)),
    ),
    "for an unknown request": lambda town, r: (town.foe.answer_to(ask(77, 10)),),
    "twice": lambda town, r: (town.foe.answer_to(r), town.foe.answer_to(r)),
    "after its cancel": lambda town, r: (cancel_op(r.request_id), town.foe.answer_to(r)),
}


@covers("PT55")
@pytest.mark.parametrize("what", _BAD_RESPONSES)
def test_a_bad_response_ends_the_channel_and_the_payment_without_cost(
    town: Town, what: str
) -> None:
    request = _buy_from_foe(town)
    town.foe.lie(*_BAD_RESPONSES[what](town, request))
    assert not town.foe.is_trusted
    assert _results(town.m, 1) == [TransactionOutcome.FAILURE]
    town.insist_only_foe_suffered(owed=0)


_BAD_COLLECTS: dict[str, Callable[[RequestOp], tuple[Operation, ...]]] = {
    "wrong source lock": lambda r: (collect_op(r.request_id, OTHER_SECRET, SECRET),),
    "wrong destination lock": lambda r: (collect_op(r.request_id, SECRET, OTHER_SECRET),),
    "unknown request": lambda r: (collect_op(uid(77), SECRET, SECRET),),
    "after its cancel": lambda r: (
        cancel_op(r.request_id),
        collect_op(r.request_id, SECRET, SECRET),
    ),
}


@covers("PT56")
@pytest.mark.parametrize("what", _BAD_COLLECTS)
@pytest.mark.parametrize("answered", [False, True])
def test_a_bad_collect_takes_nothing(town: Town, what: str, answered: bool) -> None:
    request = _buy_from_foe(town)
    if answered:
        town.foe.say(town.foe.answer_to(request))
    town.foe.lie(*_BAD_COLLECTS[what](request))
    assert not town.foe.is_trusted
    assert _results(town.m, 1)[-1] is TransactionOutcome.FAILURE
    town.insist_only_foe_suffered(owed=0)


def _src_lock(card: Card, number: int) -> PlainLock:
    """The buyer's secret, as somebody would know it to whom the commit leaked."""
    return card.state.payments[wish(number)].src_plain_lock


@covers("PT56")
def test_not_even_with_both_locks_can_be_collected_before_the_response(town: Town) -> None:
    request = _buy_from_foe(town)
    town.foe.lie(collect_op(request.request_id, _src_lock(town.m, 1), SECRET))
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=0)


@covers("PT56")
def test_a_second_collect_of_one_request_is_a_fault_and_the_first_stands(town: Town) -> None:
    request = _buy_from_foe(town)
    town.foe.say(town.foe.answer_to(request))
    collect = collect_op(request.request_id, _src_lock(town.m, 1), SECRET)
    town.foe.say(collect)
    assert town.foe.owed() == -10
    town.foe.lie(collect)
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=-10)


@covers("PT56")
def test_a_friend_cannot_collect_or_answer_its_own_request(town: Town) -> None:
    for operation in (
        collect_op(uid(5), OTHER_SECRET, SECRET),
        cancel_op(uid(5)),
        town.foe.answer_to(ask(5, 5)),
    ):
        town = Town()
        new_invoice(town.m, 10)
        town.foe.say(ask(5, 5, total=10))
        town.foe.lie(operation)
        assert not town.foe.is_trusted
        town.insist_only_foe_suffered(owed=0)


_BAD_CANCELS: dict[str, Callable[[RequestOp], tuple[Operation, ...]]] = {
    "unknown": lambda r: (cancel_op(uid(77)),),
    "twice": lambda r: (cancel_op(r.request_id), cancel_op(r.request_id)),
}


@covers("PT57")
@pytest.mark.parametrize("what", _BAD_CANCELS)
def test_a_cancel_of_nothing_is_a_fault(town: Town, what: str) -> None:
    request = _buy_from_foe(town)
    town.foe.lie(*_BAD_CANCELS[what](request))
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=0)


@covers("PT57")
def test_a_cancel_after_the_collect_gives_nothing_back(town: Town) -> None:
    request = _buy_from_foe(town)
    town.foe.say(town.foe.answer_to(request))
    town.foe.say(collect_op(request.request_id, _src_lock(town.m, 1), SECRET))
    town.foe.lie(cancel_op(request.request_id))
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=-10)


@covers("PT57")
def test_a_cancel_after_the_response_is_fine_and_unfreezes(town: Town) -> None:
    request = _buy_from_foe(town)
    town.foe.say(town.foe.answer_to(request))
    assert town.m.frozen() == 10
    town.foe.say(cancel_op(request.request_id))
    assert town.foe.is_trusted
    assert town.m.frozen() == 0
    assert _results(town.m, 1) == [TransactionOutcome.COMPLETE, TransactionOutcome.FAILURE]
    town.insist_only_foe_suffered(owed=0)


# --- requests -----------------------------------------------------------------------------------


def _keys(count: int) -> tuple[PublicKey, ...]:
    return tuple(PublicKey(bytes([n + 1]) * 32) for n in range(count))


_FAULTY_REQUESTS: dict[str, tuple[RequestOp, ...]] = {
    "a route of 32 more keys": (ask(1, 1, _keys(ROUTE_KEYS_MAX)),),
    "a key twice": (ask(1, 1, (*_keys(2), _keys(1)[0])),),
    "more than the total": (ask(1, 2, total=1),),
    "an id twice": (ask(1, 1), ask(1, 1)),
    "total beyond the range": (ask(1, 1, total=CREDITS_MAX + 1),),
    "payment and fees beyond the range": (ask(1, CREDITS_MAX, fees=1),),
    "fees beyond the range": (ask(1, 1, fees=CREDITS_MAX),),
    "the largest number of the wire": (ask(1, U128_MAX, fees=U128_MAX),),
    "fees of 2^128-1": (ask(1, 0, total=0, fees=U128_MAX),),
    "together beyond the range": (ask(1, CREDITS_MAX), ask(2, 1)),
}


@covers("PT58")
@pytest.mark.parametrize("what", _FAULTY_REQUESTS)
def test_a_faulty_request_ends_the_channel_and_freezes_nothing(town: Town, what: str) -> None:
    town.foe.lie(*_FAULTY_REQUESTS[what])
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=0)


_UNWELCOME_REQUESTS: dict[str, Callable[[Town], RequestOp]] = {
    "nothing to pay": lambda town: ask(1, 0, total=0),
    "nothing to pay, but fees": lambda town: ask(1, 0, total=5, fees=5),
    "over the limit": lambda town: ask(1, 101),
    "the largest amount": lambda town: ask(1, CREDITS_MAX),
    "the largest amount with all as fees": lambda town: ask(1, 1, fees=CREDITS_MAX - 1),
    "our key in the route": lambda town: ask(1, 1, (town.g.key, town.m.key)),
    "our key as next hop": lambda town: ask(1, 1, (town.m.key,)),
    "back to the sender": lambda town: ask(1, 1, (town.foe.key,)),
    "an unknown next hop": lambda town: ask(1, 1, _keys(1)),
    "an unknown invoice": lambda town: ask(1, 1, invoice=200),
    "a route of 31 more keys": lambda town: ask(1, 1, _keys(ROUTE_KEYS_MAX - 1)),
}


@covers("PT58")
@pytest.mark.parametrize("what", _UNWELCOME_REQUESTS)
def test_an_unwelcome_request_is_cancelled_and_nothing_stays_frozen(town: Town, what: str) -> None:
    new_invoice(town.m, 5)
    request = _UNWELCOME_REQUESTS[what](town)
    town.foe.say(request)
    town.foe.take_token()
    assert town.foe.is_trusted
    assert [one.operation.request_id for one in town.foe.applied] == [request.request_id]
    assert isinstance(town.foe.applied[0].operation, CancelOp)
    assert town.m.frozen() == 0
    town.insist_only_foe_suffered(owed=0)


@covers("PT58", "PT59")
def test_debts_beyond_one_amount_are_a_fault_even_for_a_friend_we_owe(town: Town) -> None:
    """Pending debts stay within one amount, so that whatever is accepted can be stored and loaded."""
    request = _buy_from_foe(town)
    town.foe.say(town.foe.answer_to(request))
    town.foe.say(collect_op(request.request_id, _src_lock(town.m, 1), SECRET))
    assert town.foe.owed() == -10
    town.foe.say(ask(1, CREDITS_MAX), ask(2, 10))
    assert not town.foe.is_trusted


# --- limits -------------------------------------------------------------------------------------


@covers("PT59")
def test_requests_beyond_512_are_cancelled_and_everything_survives_a_restart() -> None:
    town = Town(foe_limit=10_000)
    # Not one of them is answered: the honest friend is away with its token, so all stay pending.
    strand_token(town.wires, town.m, town.g)
    for first in range(0, 600, 200):
        town.foe.say(*(ask(1_000 + first + n, 1, (town.g.key,)) for n in range(200)))
    remote = town.foe.as_friend.consistent.ledgers[FST].remote  # type: ignore[union-attr]
    assert len(remote) <= PENDING_PER_DIRECTION_MAX
    check_node(town.m.state, tuple(town.m.state.friends))
    insist_survives_restart(town.m)
    cancelled = [one for one in town.foe.applied if isinstance(one.operation, CancelOp)]
    assert len(cancelled) + len(remote) + len(town.foe.as_friend.backwards) >= 600


def test_a_ledger_takes_no_more_requests_than_a_restart_would_load() -> None:
    ledger = Ledger()
    for number in range(PENDING_STORED_MAX):
        assert ledger.receive_request(ask(1_000 + number, 1), 0, 0) is None
    assert ledger.receive_request(ask(5_000, 1), 0, 0) is OperationFault.TOO_MANY_PENDING
    assert len(ledger.remote) == PENDING_STORED_MAX


@covers("PT59")
def test_messages_beyond_a_limit_are_malformed_and_close_the_link_only(town: Town) -> None:
    foe = town.foe
    foe.take_token()
    bodies = [
        foe.forged(
            (CurrencyOperations(FST, tuple(cancel_op(Uid(n.to_bytes(16))) for n in range(count))),)
        )
        for count in (OPERATIONS_PER_TOKEN_MAX + 1, OPERATIONS_PER_TOKEN_MAX * 3)
    ]
    bodies += [
        foe.forged(currencies=tuple(Currency(f"C{n:02}") for n in range(65))),
        foe.forged(currencies=(USD, FST)),
        foe.forged(currencies=(FST, FST)),
        foe.forged(currencies=(Currency("SEVENTEEN-LETTERS"),)),
        foe.forged(currencies=(Currency(""),)),
        foe.forged((CurrencyOperations(USD, (ask(1, 1),)), CurrencyOperations(FST, (ask(2, 1),)))),
        foe.forged((CurrencyOperations(FST, (ask(1, 1),)), CurrencyOperations(FST, (ask(2, 1),)))),
        foe.forged((CurrencyOperations(FST, ()),)),
        foe.forged(relays=tuple(RelayAddress(key, "a.net:1") for key in _keys(17))),
        foe.forged(relays=(RelayAddress(_keys(1)[0], "a" * 253 + ".net:1"),)),
        foe.forged(relays=(RelayAddress(_keys(1)[0], "no port"),)),
    ]
    for token in bodies:
        data = encode_friend_message(MoveTokenMessage(token, token_wanted=False))
        with pytest.raises(DecodeError):
            decode_friend_message(data)
        town.m.feed(UnreadableArrived(foe.key, foe.link))
        assert town.m.closed_links.pop() == foe.key
        assert foe.is_trusted
    assert foe.as_friend.unreadable_ms is not None
    foe.connect()
    town.pay_debt(5)
    town.insist_only_foe_suffered(owed=5)


@covers("PT75")
def test_a_currency_in_use_cannot_be_dropped(town: Town) -> None:
    town.pay_debt(10)
    town.foe.take_token()
    town.foe.tell(MoveTokenMessage(town.foe.forged(currencies=()), token_wanted=False))
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=10)


@covers("PT75")
def test_a_currency_with_something_pending_cannot_be_dropped(town: Town) -> None:
    new_invoice(town.m, 10)
    town.foe.say(ask(1, 5, total=10))
    town.foe.take_token()
    town.foe.tell(MoveTokenMessage(town.foe.forged(currencies=()), token_wanted=False))
    assert not town.foe.is_trusted
    town.insist_only_foe_suffered(owed=0)


@covers("PT76")
def test_nagging_for_the_token_gets_it_once_and_nothing_grows(town: Town) -> None:
    foe = town.foe
    foe.say()
    before = len(foe.heard)
    last = foe.said[-1]
    assert isinstance(last, MoveTokenMessage)
    for _ in range(100):
        foe.tell(TokenWantedMessage(last.move_token.new_token))
    assert len(foe.heard) == before + 1
    assert foe.is_trusted
    town.insist_only_foe_suffered(owed=0)


def test_asking_back_a_token_that_was_never_sent_harms_only_who_asks(town: Town) -> None:
    town.pay_debt(10)
    for _ in range(10):
        town.foe.tell(TokenWantedMessage(Signature(b"\x01" * 64)))
    town.insist_only_foe_suffered(owed=10)


@covers("PT76")
def test_the_same_token_again_and_again_gets_one_answer(town: Town) -> None:
    foe = town.foe
    foe.take_token()
    token, foe.channel = foe.sealed({})
    before = len(foe.heard)
    for _ in range(50):
        foe.tell(MoveTokenMessage(token, token_wanted=False))
    assert len(foe.heard) == before
    foe.tell(MoveTokenMessage(token, token_wanted=True))
    assert len(foe.heard) == before + 1
    for _ in range(50):
        foe.tell(MoveTokenMessage(token, token_wanted=True))
    assert len(foe.heard) == before + 1, "it already left on this link"
    town.insist_only_foe_suffered(owed=0)


@covers("PT77")
def test_the_evidence_kept_always_verifies_with_the_friends_key(town: Town) -> None:
    def check() -> None:
        evidence = town.foe.as_friend.channel.last_incoming
        assert evidence is not None
        assert evidence.token_info.local_public_key == town.foe.key
        assert is_evidence_valid(evidence, town.m.env.verify)

    check()
    town.pay_debt(10)
    check()
    last = town.foe.as_friend.channel.last_incoming
    town.foe.take_token()
    town.foe.tell(_wrong_numbers(town.foe))
    check()
    assert town.foe.as_friend.channel.last_incoming == last, "a rejected token is no evidence"


def test_a_response_and_its_cancel_in_one_token_end_the_payment_cleanly(town: Town) -> None:
    request = _buy_from_foe(town)
    town.foe.say(town.foe.answer_to(request), cancel_op(request.request_id))
    assert town.foe.is_trusted
    assert _results(town.m, 1)[-1] is TransactionOutcome.FAILURE
    town.insist_only_foe_suffered(owed=0)


def test_terms_out_of_range_never_get_past_the_decoder() -> None:
    lock = Signature(bytes(64))
    for balances, counter in (
        (((FST, -(2**127)),), 1),
        (((FST, 1), (FST, 2)), 1),
        (((USD, 1), (FST, 2)), 1),
        (tuple((Currency(f"C{n:02}"), 0) for n in range(65)), 1),
        (((Currency("SEVENTEEN-LETTERS"), 0),), 1),
        ((), 2**63),
    ):
        data = encode_friend_message(InconsistencyMessage(ResetTerms(lock, counter, balances)))
        with pytest.raises(DecodeError):
            decode_friend_message(data)
