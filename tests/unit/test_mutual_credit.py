"""The ledger of one currency: every refusal, every stage, and the numbers both sides must agree on."""

from dataclasses import replace

import pytest

from offset_engine.core.crypto import expand_seed, hash_lock, public_key_of, sign, verify
from offset_engine.core.messages import (
    CollectOp,
    RequestOp,
    ResponseOp,
    cancel_op,
    collect_op,
    request_op,
    response_op,
)
from offset_engine.core.mutual_credit import (
    Ledger,
    OperationFault,
    ReceivedRequest,
    SentRequest,
    is_remaining_route,
    response_terms,
)
from offset_engine.core.signing import response_buffer
from offset_engine.core.values import (
    CREDITS_MAX,
    PENDING_PER_DIRECTION_MAX,
    PENDING_STORED_MAX,
    ROUTE_KEYS_MAX,
    Currency,
    InvoiceId,
    PlainLock,
    PrivateKey,
    PublicKey,
    RandValue,
    Uid,
)
from offset_engine.errors import InvariantError
from tests.covers import covers

FST = Currency("FST")
SELLER = PrivateKey(bytes([3]) * 32)
SELLER_KEY = public_key_of(SELLER)
SRC, DEST = PlainLock(b"s" * 32), PlainLock(b"d" * 32)
NONCE = RandValue(b"n" * 16)
NOW = 1_700_000_000_000


def uid(number: int) -> Uid:
    return Uid(number.to_bytes(16, "big"))


def keys(count: int) -> tuple[PublicKey, ...]:
    return tuple(PublicKey(number.to_bytes(32, "big")) for number in range(count))


def request(
    number: int = 1,
    amount: int = 10,
    fees: int = 5,
    total: int | None = None,
    route: tuple[PublicKey, ...] = (SELLER_KEY,),
) -> RequestOp:
    amounts = (amount, amount if total is None else total, fees)
    return request_op(uid(number), hash_lock(SRC), route, amounts, InvoiceId(bytes(32)))


def response(of: RequestOp, signer: PrivateKey = SELLER, currency: Currency = FST) -> ResponseOp:
    unsigned = response_op(of.request_id, hash_lock(DEST), True, NONCE, sign(bytes(64), b""))
    buffer = response_buffer(response_terms(of, unsigned, currency))
    signature = sign(expand_seed(signer), buffer)
    return response_op(of.request_id, hash_lock(DEST), True, NONCE, signature)


def collect(of: RequestOp, src: PlainLock = SRC, dest: PlainLock = DEST) -> CollectOp:
    return collect_op(of.request_id, src, dest)


def sent(op: RequestOp, *, is_answered: bool = False) -> Ledger:
    """A ledger with one request of ours."""
    ledger = Ledger()
    ledger.send_request(op, None, NOW)
    if is_answered:
        assert isinstance(answer(ledger, response(op)), SentRequest)
    return ledger


def answer(ledger: Ledger, op: ResponseOp) -> SentRequest | OperationFault:
    return ledger.receive_response(op, FST, SELLER_KEY, verify)


# --- the worked example -------------------------------------------------------------------------


@covers("PAY-02")
def test_the_worked_example_of_ten_and_five_of_fees() -> None:
    op = request()
    buyer, seller = Ledger(), Ledger()
    buyer.send_request(op, None, NOW)
    assert isinstance(seller.receive_request(op, 15, NOW), ReceivedRequest)
    assert (buyer.balance, buyer.local_pending_debt, buyer.remote_pending_debt) == (0, 15, 0)
    assert seller.info == buyer.info.flipped

    reply = response(op)
    seller.send_response(reply)
    assert isinstance(answer(buyer, reply), SentRequest)
    assert (buyer.balance, buyer.local_pending_debt) == (0, 15)

    seller.send_collect(collect(op))
    assert isinstance(buyer.receive_collect(collect(op)), SentRequest)
    assert (buyer.balance, buyer.local_pending_debt) == (-15, 0)
    assert seller.info == buyer.info.flipped
    assert not buyer.local
    assert not seller.remote


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_cancel_gives_everything_back_in_either_stage(is_answered: bool) -> None:
    op = request()
    ledger = sent(op, is_answered=is_answered)
    assert isinstance(ledger.receive_cancel(cancel_op(op.request_id)), SentRequest)
    assert ledger == Ledger()
    assert ledger.is_zero

    other = Ledger()
    other.receive_request(op, 15, NOW)
    if is_answered:
        other.send_response(response(op))
    other.send_cancel(cancel_op(op.request_id))
    assert other == Ledger()


# --- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "fault"),
    [
        (request(route=keys(ROUTE_KEYS_MAX)), OperationFault.INVALID_ROUTE),
        (request(route=(SELLER_KEY, SELLER_KEY)), OperationFault.INVALID_ROUTE),
        (request(total=CREDITS_MAX + 1), OperationFault.AMOUNT_OUT_OF_RANGE),
        (request(amount=CREDITS_MAX, fees=1), OperationFault.AMOUNT_OUT_OF_RANGE),
        (request(amount=11, total=10), OperationFault.DEST_PAYMENT_EXCEEDS_TOTAL),
        (request(number=9), OperationFault.REQUEST_ALREADY_EXISTS),
        (request(amount=CREDITS_MAX - 20, fees=20), OperationFault.CREDITS_CALC_OVERFLOW),
    ],
)
def test_a_request_that_breaks_a_rule_both_know_is_a_fault(
    op: RequestOp, fault: OperationFault
) -> None:
    ledger = Ledger(balance=3)
    assert isinstance(ledger.receive_request(request(number=9), 1_000, NOW), ReceivedRequest)
    before = ledger.fork()
    assert ledger.receive_request(op, CREDITS_MAX, NOW) is fault
    assert ledger == before


@pytest.mark.parametrize(
    ("op", "max_debt", "is_welcome"),
    [
        (request(amount=10, fees=5), 15, True),
        (request(amount=10, fees=5), 14, False),
        (request(amount=0, total=10), 100, False),
        (request(route=keys(ROUTE_KEYS_MAX - 1)), 15, True),
        (request(route=()), 15, True),
    ],
)
def test_a_request_over_the_limit_is_recorded_all_the_same(
    op: RequestOp, max_debt: int, is_welcome: bool
) -> None:
    ledger = Ledger()
    entry = ledger.receive_request(op, max_debt, NOW)
    assert entry == (ReceivedRequest(op, None, NOW) if is_welcome else None)
    assert ledger.remote[op.request_id].request == op
    assert ledger.remote_pending_debt == op.freeze


def test_the_limit_counts_the_balance_and_what_is_frozen() -> None:
    ledger = Ledger(balance=-5)
    assert ledger.receive_request(request(1, 10, 0), 10, NOW) is not None
    assert ledger.receive_request(request(2, 5, 0), 10, NOW) is not None
    assert ledger.receive_request(request(3, 1, 0), 10, NOW) is None
    assert ledger.remote_pending_debt == 16


def test_too_many_pending_requests_are_first_unwelcome_and_then_a_fault() -> None:
    ledger = Ledger()
    for number in range(PENDING_STORED_MAX):
        entry = ledger.receive_request(request(number, 1, 0), CREDITS_MAX, NOW)
        assert (entry is not None) is (number < PENDING_PER_DIRECTION_MAX)
    full = ledger.receive_request(request(PENDING_STORED_MAX, 1, 0), CREDITS_MAX, NOW)
    assert full is OperationFault.TOO_MANY_PENDING
    assert ledger.remote_pending_debt == PENDING_STORED_MAX


@pytest.mark.parametrize(
    "op",
    [
        request(route=keys(ROUTE_KEYS_MAX)),
        request(amount=11, total=10),
        request(total=CREDITS_MAX + 1),
        request(number=9),
        request(amount=CREDITS_MAX - 20, fees=20),
    ],
)
def test_nothing_is_sent_that_the_friend_would_call_a_fault(op: RequestOp) -> None:
    ledger = Ledger(balance=-3)
    ledger.send_request(request(number=9), None, NOW)
    assert not ledger.can_send_request(op)
    assert ledger.can_send_request(request(number=1))


def test_a_full_direction_takes_no_more_of_our_requests() -> None:
    ledger = Ledger()
    for number in range(PENDING_PER_DIRECTION_MAX):
        assert ledger.can_send_request(request(number, 1, 0))
        ledger.send_request(request(number, 1, 0), None, NOW)
    assert not ledger.can_send_request(request(PENDING_PER_DIRECTION_MAX, 1, 0))


@pytest.mark.parametrize("balance", [-CREDITS_MAX, -1, 0, 1, CREDITS_MAX])
def test_what_may_be_sent_is_never_a_fault_on_the_other_side(balance: int) -> None:
    for amount in (1, CREDITS_MAX - 1, CREDITS_MAX):
        op = request(1, amount, 0)
        if Ledger(balance=balance).can_send_request(op):
            outcome = Ledger(balance=-balance).receive_request(op, CREDITS_MAX, NOW)
            assert not isinstance(outcome, OperationFault)


def test_routes_of_requests_are_short_and_without_repetition() -> None:
    assert is_remaining_route(())
    assert is_remaining_route(keys(ROUTE_KEYS_MAX - 1))
    assert not is_remaining_route(keys(ROUTE_KEYS_MAX))
    assert not is_remaining_route((*keys(2), *keys(1)))


# --- responses ----------------------------------------------------------------------------------


def test_a_response_is_signed_by_the_last_key_of_the_route_or_by_the_friend() -> None:
    for route in ((SELLER_KEY,), (*keys(3), SELLER_KEY), ()):
        op = request(route=route)
        ledger = sent(op)
        entry = answer(ledger, response(op))
        assert isinstance(entry, SentRequest)
        assert ledger.local[op.request_id] == entry
        assert entry.response == response(op)
        assert ledger.local_pending_debt == op.freeze


def test_a_response_that_the_seller_did_not_sign_like_this_is_a_fault() -> None:
    op = request()
    good = response(op)
    for bad in (
        response(op, signer=PrivateKey(b"x" * 32)),
        response(op, currency=Currency("USD")),
        replace(good, is_complete=False),
        replace(good, dest_hashed_lock=hash_lock(SRC)),
        replace(good, rand_nonce=RandValue(bytes(16))),
        response(request(amount=9)),
        response(request(total=11)),
    ):
        ledger = sent(op)
        before = ledger.fork()
        assert answer(ledger, bad) is OperationFault.INVALID_RESPONSE_SIGNATURE
        assert ledger == before


def test_a_response_to_nothing_or_a_second_one_is_a_fault() -> None:
    op = request()
    assert answer(Ledger(), response(op)) is OperationFault.REQUEST_DOES_NOT_EXIST
    ledger = sent(op, is_answered=True)
    assert answer(ledger, response(op)) is OperationFault.NOT_EXPECTING_RESPONSE


# --- cancel and collect -------------------------------------------------------------------------


def test_a_cancel_of_nothing_is_a_fault() -> None:
    op = request()
    assert Ledger().receive_cancel(cancel_op(uid(1))) is OperationFault.REQUEST_DOES_NOT_EXIST
    received = Ledger()
    received.receive_request(op, 15, NOW)  # the wrong direction
    cancel = cancel_op(op.request_id)
    assert received.receive_cancel(cancel) is OperationFault.REQUEST_DOES_NOT_EXIST


@pytest.mark.parametrize(
    ("is_sent", "is_answered", "op", "fault"),
    [
        (False, False, collect(request()), OperationFault.REQUEST_DOES_NOT_EXIST),
        (True, False, collect(request()), OperationFault.NOT_EXPECTING_COLLECT),
        (True, True, collect(request(), src=DEST), OperationFault.INVALID_SRC_PLAIN_LOCK),
        (True, True, collect(request(), dest=SRC), OperationFault.INVALID_DEST_PLAIN_LOCK),
        (True, True, collect(request(2)), OperationFault.REQUEST_DOES_NOT_EXIST),
    ],
)
def test_a_collect_needs_a_response_and_both_locks(
    is_sent: bool, is_answered: bool, op: CollectOp, fault: OperationFault
) -> None:
    ledger = sent(request(), is_answered=is_answered) if is_sent else Ledger()
    before = ledger.fork()
    assert ledger.receive_collect(op) is fault
    assert ledger == before


# --- our own mistakes ---------------------------------------------------------------------------


def test_what_only_a_bug_could_do_is_noticed() -> None:
    op = request()
    ledger = sent(op)
    with pytest.raises(InvariantError, match="sent twice"):
        ledger.send_request(op, None, NOW)
    with pytest.raises(InvariantError, match="not pending"):
        Ledger().send_cancel(cancel_op(uid(1)))
    received = Ledger()
    received.receive_request(op, 15, NOW)
    with pytest.raises(InvariantError, match="collect before response"):
        received.send_collect(collect(op))
    received.send_response(response(op))
    with pytest.raises(InvariantError, match="response sent twice"):
        received.send_response(response(op))


def test_links_follow_a_request_and_can_be_cut() -> None:
    op = request()
    ledger = Ledger()
    ledger.receive_request(op, 15, NOW)
    ledger.set_next(op.request_id, SELLER_KEY)
    ledger.send_response(response(op))
    assert ledger.remote[op.request_id].next == SELLER_KEY
    ours = Ledger()
    ours.send_request(op, SELLER_KEY, NOW)
    ours.orphan(uid(7))
    assert ours.local[op.request_id].origin == SELLER_KEY
    ours.orphan(op.request_id)
    assert ours.local[op.request_id] == SentRequest(op, None, NOW)


def test_a_fork_shares_nothing_that_changes() -> None:
    op = request()
    ledger = sent(op)
    copy = ledger.fork()
    copy.receive_cancel(cancel_op(op.request_id))
    assert ledger.local_pending_debt == op.freeze
    assert op.request_id in ledger.local
    assert not ledger.is_zero
