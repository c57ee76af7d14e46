"""PT01 to PT25: first contact, payments over one hop and several, invoices, and the buyer's primitives."""

from itertools import pairwise

import pytest

from offset_engine.core.api import (
    AckClosePayment,
    AddInvoice,
    AddRelay,
    CancelInvoice,
    CloseFriendCurrency,
    CollectInvoice,
    CommandFault,
    CommitInvoice,
    CreateTransaction,
    DisputeFriend,
    RegisterCommit,
    SetFriendCurrencyRate,
    TransactionOutcome,
    TransactionResult,
)
from offset_engine.core.crypto import hash_lock, public_key_of, speaks_first, verify
from offset_engine.core.events import LinkAdopted
from offset_engine.core.messages import (
    CancelOp,
    CollectOp,
    CurrencyOperations,
    FriendMessage,
    MoveTokenMessage,
    Operation,
    RequestOp,
    ResponseOp,
    request_op,
)
from offset_engine.core.signing import (
    Invoice,
    Receipt,
    genesis,
    info_hash,
    receipt_terms,
    response_buffer,
)
from offset_engine.core.token_channel import (
    Incoming,
    Outgoing,
    ReceiveContext,
    Received,
    TokenParts,
    hash_move_token,
    list_currencies,
    new_channel,
    prefix_of,
    receive_move_token,
    seal,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    OPERATIONS_PER_TOKEN_MAX,
    OWN_REQUESTS_QUEUED_MAX,
    Currency,
    InvoiceId,
    NamedAddress,
    PlainLock,
    PrivateKey,
    RandValue,
    Rate,
    Uid,
)
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    assert_mirrored,
    assert_settled,
    befriend,
    chain,
    diamond,
    new_invoice,
    open_payment,
    outcomes,
    send_over,
    status,
    strand_token,
    uid,
    wish,
)

USD = Currency("USD")
SUCCESS, COMPLETE, FAILURE = (
    TransactionOutcome.SUCCESS,
    TransactionOutcome.COMPLETE,
    TransactionOutcome.FAILURE,
)


def relay(number: int) -> NamedAddress:
    """A relay that nobody runs."""
    key = public_key_of(PrivateKey(bytes([number]) * 32))
    return NamedAddress(key, f"10.0.0.{number}:1", "relay")


def direction(card: Card, other: Card) -> Incoming | Outgoing:
    channel = card.friend(other).consistent
    assert channel is not None
    return channel.direction


def counter(card: Card, other: Card) -> int:
    channel = card.friend(other).consistent
    assert channel is not None
    return channel.move_token_counter


def operations(message: FriendMessage) -> tuple[Operation, ...]:
    """Everything a message makes happen in ledgers."""
    if not isinstance(message, MoveTokenMessage):
        return ()
    return tuple(
        op for batch in message.move_token.currencies_operations for op in batch.operations
    )


def collect(wires: Wires, seller: Card, buyer: Card, number: int) -> Receipt:
    """Hand the commit over, collect, and fetch the receipt."""
    commit = status(buyer, wish(number)).commit
    assert commit is not None
    assert seller.do(CommitInvoice(commit)) is None
    wires.run()
    receipt = status(buyer, wish(number)).receipt
    assert receipt is not None
    return receipt


def is_genuine(receipt: Receipt, invoice: Invoice) -> bool:
    """What anybody with the receipt and the invoice can check."""
    return (
        receipt.is_complete
        and receipt.invoice_id == invoice.invoice_id
        and receipt.currency == invoice.currency
        and receipt.total_dest_payment == invoice.total_dest_payment
        and verify(
            invoice.dest_public_key, response_buffer(receipt_terms(receipt)), receipt.signature
        )
    )


# --- first contact ------------------------------------------------------------------------------


@covers("PT01")
def test_exactly_one_side_begins_and_both_compute_the_same_first_token() -> None:
    alice, bob = Card("alice", 1), Card("bob", 2)
    befriend(alice, bob)
    assert not speaks_first(alice.key, bob.key)
    sent, last = direction(alice, bob), direction(bob, alice)
    assert isinstance(sent, Outgoing)
    assert isinstance(last, Incoming)
    token = sent.move_token
    assert token == genesis(alice.key, bob.key)
    assert last.last == hash_move_token(token, last.last.token_info)
    assert info_hash(last.last.token_info) == token.info_hash
    assert token.info_hash.hex() == (
        "206cc22ea7a3f5b95e1853cb3f297705ffd2cf2aff59eb9b35e5abf44145205a"
    )
    assert prefix_of(token).hex() == (
        "01bed130ed5c7c7ac7a49ce9c896a3da1fc889ab5806226d8476d513239fc93c"
    )
    assert token.rand_nonce.hex() == "479919cfe2d4b7f38ca398ba7ede6110"


@covers("PT02")
def test_first_contact_exchanges_relays_and_falls_silent() -> None:
    low, high = Card("low", 1), Card("high", 2)
    assert low.do(AddRelay(relay(8))) is None
    assert high.do(AddRelay(relay(9))) is None
    wires = Wires(low, high)
    befriend(low, high)
    wires.connect(low, high)
    assert wires.run() <= 4
    said = [
        (src, message.token_wanted)
        for src, _, message in wires.log
        if isinstance(message, MoveTokenMessage)
    ]
    assert said == [("low", True), ("high", True), ("low", True), ("high", False)]
    assert low.friend(high).remote_relays == (relay(9).relay,)
    assert high.friend(low).remote_relays == (relay(8).relay,)
    assert isinstance(direction(low, high), Incoming)
    assert_mirrored(low, high)


@covers("PT02")
def test_reconnecting_makes_no_new_token() -> None:
    wires, (low, high) = chain("low", "high")
    before = direction(low, high), direction(high, low), counter(low, high)
    for _ in range(5):
        wires.cut(low, high)
        wires.connect(low, high)
        assert wires.run() <= 1
    assert (direction(low, high), direction(high, low), counter(low, high)) == before


@covers("PT03", "PAY-23", "NOD-14")
def test_a_currency_is_active_once_both_list_it() -> None:
    low, high = Card("low", 1), Card("high", 2)
    wires = Wires(low, high)
    befriend(low, high)
    assert low.do(SetFriendCurrencyRate(high.key, USD, Rate())) is None
    wires.connect(low, high)
    wires.run()
    for card, other in ((low, high), (high, low)):
        channel = card.friend(other).consistent
        assert channel is not None
        assert list(channel.ledgers) == [FST]
    assert high.do(SetFriendCurrencyRate(low.key, USD, Rate())) is None
    wires.run()
    for card, other in ((low, high), (high, low)):
        channel = card.friend(other).consistent
        assert channel is not None
        assert sorted(channel.ledgers) == [FST, USD]
    assert_mirrored(low, high)


@covers("PT03")
def test_the_token_that_activates_a_currency_may_already_use_it() -> None:
    low, high = Card("low", 1), Card("high", 2)
    sender, receiver = new_channel(high.key, low.key), new_channel(low.key, high.key)
    receiver.active_local = (USD,)  # told in a token before this one
    sender.active_remote = (USD,)
    list_currencies(sender, (USD,))
    lock = hash_lock(PlainLock(bytes(32)))
    request = request_op(uid(1), lock, (), (5, 5, 0), InvoiceId(bytes(32)))
    sender.ledgers[USD].send_request(request, None, 0)
    parts = TokenParts((CurrencyOperations(USD, (request,)),), None, (USD,), token_wanted=False)
    seal(sender, parts, RandValue(bytes(16)), high.env.sign)
    assert isinstance(sender.direction, Outgoing)
    outcome = receive_move_token(
        receiver, sender.direction.move_token, ReceiveContext(((USD, 100),), verify, 0)
    )
    assert isinstance(outcome, Received)
    assert outcome.channel.ledgers[USD].remote_pending_debt == 5


# --- two friends --------------------------------------------------------------------------------


@covers("PT04", "PAY-15")
def test_eight_credits_with_two_of_fees_leave_a_receipt_and_no_trace() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 8)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, b), 8, 2) is None
    wires.run()
    assert outcomes(a, 1) == [COMPLETE]
    receipt = collect(wires, b, a, 1)
    assert (a.balance(b), b.balance(a)) == (-10, 10)
    assert receipt.total_dest_payment == 8
    assert is_genuine(receipt, invoice)

    closed = status(a, payment)
    assert closed.stage == "success"
    assert closed.ack_uid is not None
    assert a.do(AckClosePayment(payment, closed.ack_uid)) is None
    assert status(a, payment).stage is None
    assert not a.state.payments
    assert_settled(a, b)


@covers("PT05", "PAY-04", "PAY-19", "NOD-13")
def test_the_limit_is_exact_and_counts_what_is_owed_the_other_way() -> None:
    wires, (a, b) = chain("a", "b", limits=(0, 10))

    def pay(buyer: Card, seller: Card, amount: int, fees: int, number: int) -> bool:
        payment = open_payment(buyer, new_invoice(seller, amount, number), number)
        assert send_over(payment, number, (buyer, seller), amount, fees) is None
        wires.run()
        if outcomes(buyer, number) == [FAILURE]:
            assert buyer.frozen() == seller.frozen() == 0
            return False
        collect(wires, seller, buyer, number)
        return True

    assert pay(a, b, 8, 2, 1)
    assert a.balance(b) == -10
    assert not pay(a, b, 1, 0, 2)
    assert pay(b, a, 3, 2, 3)
    assert a.balance(b) == -5
    assert not pay(b, a, 6, 0, 4)
    assert pay(b, a, 5, 0, 5)
    assert a.balance(b) == 0
    assert_settled(a, b)


@covers("PT06", "PAY-12", "PAY-13")
def test_an_invoice_is_paid_in_parts_and_never_overpaid() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 4)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, b), 3, 1) is None
    wires.run()
    assert send_over(payment, 2, (a, b), 4, 1) is CommandFault.INVALID_AMOUNT
    assert send_over(payment, 3, (a, b), 1, 1) is None
    wires.run()
    assert (outcomes(a, 1), outcomes(a, 2), outcomes(a, 3)) == (
        [SUCCESS],
        [FAILURE],
        [COMPLETE],
    )
    assert is_genuine(collect(wires, b, a, 1), invoice)
    assert (a.balance(b), b.balance(a)) == (-6, 6)
    assert_settled(a, b)


# --- mediators ----------------------------------------------------------------------------------


@covers("PT07", "PT08", "PT09", "PAY-26")
@pytest.mark.parametrize(
    ("fees", "balances"), [(5, (-20, 5, 15)), (9, (-24, 5, 19)), (4, (0, 0, 0)), (0, (0, 0, 0))]
)
def test_a_mediator_takes_its_fee_and_the_seller_what_is_left(
    fees: int, balances: tuple[int, int, int]
) -> None:
    wires, (a, m, b) = chain("a", "m", "b", charges={"m": Rate(0, 5)})
    payment = open_payment(a, new_invoice(b, 15), 1)
    assert send_over(payment, 1, (a, m, b), 15, fees) is None
    wires.run()
    if balances == (0, 0, 0):
        assert outcomes(a, 1) == [FAILURE]
    else:
        assert outcomes(a, 1) == [COMPLETE]
        collect(wires, b, a, 1)
    assert (a.balance(m), m.balance(a) + m.balance(b), b.balance(m)) == balances
    assert_settled(a, m, b)


@covers("PT10", "PAY-21")
@pytest.mark.parametrize("amount", [10, 11])
def test_a_share_is_rounded_down_and_taken_of_the_payment_alone(amount: int) -> None:
    wires, cards = chain("a", "m", "n", "b", charges={"m": Rate(2**31, 0), "n": Rate(0, 2)})
    a, m, n, b = cards
    payment = open_payment(a, new_invoice(b, amount), 1)
    assert send_over(payment, 1, tuple(cards), amount, 7) is None
    wires.run()
    collect(wires, b, a, 1)
    gains = [m.balance(a) + m.balance(n), n.balance(m) + n.balance(b)]
    assert gains == [5, 2]
    assert (a.balance(m), b.balance(n)) == (-amount - 7, amount)
    assert_settled(*cards)


@covers("PT11", "PAY-04")
def test_a_route_to_a_stranger_comes_back_from_the_last_one_who_is_known() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    stranger = Card("x", 9)
    payment = open_payment(a, new_invoice(stranger, 5), 1)
    assert send_over(payment, 1, (a, m, b, stranger), 5) is None
    wires.run()
    cancels = [
        (src, dest)
        for src, dest, message in wires.log
        if any(isinstance(op, CancelOp) for op in operations(message))
    ]
    assert cancels == [("b", "m"), ("m", "a")]
    closed = status(a, payment)
    assert closed.stage == "canceled"
    assert closed.ack_uid is not None
    assert a.do(AckClosePayment(payment, closed.ack_uid)) is None
    assert a.balance(m) == 0
    assert_settled(a, m, b)


@covers("PT12", "PAY-27")
@pytest.mark.parametrize(
    ("closes", "towards", "is_paid"),
    [("m", "a", False), ("m", "b", False), ("a", "m", True), ("b", "m", True)],
)
def test_only_a_mediator_minds_whether_its_currency_is_open(
    closes: str, towards: str, is_paid: bool
) -> None:
    wires, cards = chain("a", "m", "b")
    by_name = {card.name: card for card in cards}
    a, m, b = cards
    assert by_name[closes].do(CloseFriendCurrency(by_name[towards].key, FST)) is None
    payment = open_payment(a, new_invoice(b, 5), 1)
    assert send_over(payment, 1, (a, m, b), 5) is None
    wires.run()
    assert outcomes(a, 1) == [COMPLETE if is_paid else FAILURE]
    if is_paid:
        collect(wires, b, a, 1)
        assert b.balance(m) == 5
    assert_settled(a, m, b)


@covers("PT13", "PAY-25", "NOD-11")
@pytest.mark.parametrize("why", ["offline", "inconsistent", "inactive"])
def test_a_mediator_cancels_at_once_what_it_cannot_pass_on(why: str) -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    if why == "offline":
        wires.offline(m, b)
    elif why == "inconsistent":
        assert m.do(DisputeFriend(b.key)) is None
        wires.run()
    currency = FST
    if why == "inactive":
        currency = USD
        for one, other in ((a, m), (m, a), (m, b)):
            assert one.do(SetFriendCurrencyRate(other.key, USD, Rate())) is None
        wires.run()
    payment = open_payment(a, new_invoice(b, 5, currency=currency), 1)
    assert send_over(payment, 1, (a, m, b), 5) is None
    wires.run()
    assert outcomes(a, 1) == [FAILURE]
    assert a.ledger(m, currency).local_pending_debt == 0
    assert not m.state.outgoing_ids


@covers("PT14")
def test_a_request_that_left_stays_frozen_until_the_friend_is_back() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    wires.tap = lambda src, _dest, message: None if src is b and operations(message) else message
    payment = open_payment(a, new_invoice(b, 5), 1)
    assert send_over(payment, 1, (a, m, b), 5) is None
    wires.run()
    wires.offline(m, b)
    wires.run()
    assert a.ledger(m).local_pending_debt == m.ledger(b).local_pending_debt == 5
    assert outcomes(a, 1) == []
    wires.tap = None
    wires.connect(m, b)
    wires.run()
    assert outcomes(a, 1) == [COMPLETE]


@covers("PT15")
def test_a_request_that_waits_for_a_friend_who_leaves_is_cancelled() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    strand_token(wires, m, b)
    payment = open_payment(a, new_invoice(b, 5), 1)
    assert send_over(payment, 1, (a, m, b), 5) is None
    wires.run()
    assert [entry.origin for entry in m.friend(b).forwarded.items] == [a.key]
    wires.offline(m, b)
    wires.run()
    assert outcomes(a, 1) == [FAILURE]
    assert_settled(a, m, b)


@covers("PT16")
def test_closing_a_currency_cancels_what_others_sent_and_keeps_own_payments() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    strand_token(wires, m, b)
    assert send_over(open_payment(a, new_invoice(b, 5, 1), 1), 1, (a, m, b), 5) is None
    wires.run()
    assert send_over(open_payment(m, new_invoice(b, 7, 2), 2), 2, (m, b), 7) is None
    assert m.do(CloseFriendCurrency(b.key, FST)) is None
    wires.run()
    assert outcomes(a, 1) == [FAILURE]
    assert not m.friend(b).forwarded.items
    assert [entry.request.request_id for entry in m.friend(b).own.items] == [uid(2)]
    wires.connect(m, b)
    wires.run()
    assert outcomes(m, 2) == [COMPLETE]


# --- several routes -----------------------------------------------------------------------------


@covers("PT17", "PAY-11", "PAY-12", "PAY-14")
def test_two_routes_are_collected_together_and_the_receipt_is_complete_from_the_first() -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, m, b), 6) is None
    wires.run()
    assert send_over(payment, 2, (a, n, b), 4) is None
    wires.run()
    assert (outcomes(a, 1), outcomes(a, 2)) == ([SUCCESS], [COMPLETE])
    locks = {
        entry.request.src_hashed_lock for card in (m, n) for entry in card.ledger(b).local.values()
    }
    assert len(locks) == 1

    commit = status(a, payment).commit
    assert commit is not None
    wires.cut(n, b)  # the route whose response completed the sum is slower
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    first = status(a, payment)
    assert (first.stage, first.open_transactions) == ("success", 1)
    assert first.receipt is not None
    assert is_genuine(first.receipt, invoice)
    assert (a.balance(m), a.balance(n)) == (-6, 0)
    wires.connect(n, b)
    wires.run()
    assert (a.balance(m), a.balance(n), b.balance(m), b.balance(n)) == (-6, -4, 6, 4)
    assert status(a, payment).receipt == first.receipt
    assert_settled(a, m, n, b)


@covers("PT18", "PAY-11")
def test_one_failed_route_leaves_the_other_frozen_until_the_seller_cancels() -> None:
    wires, (a, m, n, b) = diamond()
    assert n.do(CloseFriendCurrency(b.key, FST)) is None
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, m, b), 6) is None
    assert send_over(payment, 2, (a, n, b), 4) is None
    wires.run()
    assert (outcomes(a, 1), outcomes(a, 2)) == ([SUCCESS], [FAILURE])
    closing = status(a, payment)
    assert (closing.stage, closing.open_transactions) == ("in_progress", 1)
    assert a.ledger(m).local_pending_debt == m.ledger(b).local_pending_debt == 6

    assert b.do(CancelInvoice(invoice.invoice_id)) is None
    wires.run()
    assert outcomes(a, 1) == [SUCCESS, FAILURE]
    assert status(a, payment).stage == "canceled"
    assert_settled(a, m, n, b)


@covers("PT19")
def test_the_completing_answer_may_overtake_the_other_one() -> None:
    wires, (a, m, n, b) = diamond()
    payment = open_payment(a, new_invoice(b, 10), 1)
    wires.tap = lambda src, dest, message: (
        None if src is m and dest is a and operations(message) else message
    )
    assert send_over(payment, 1, (a, m, b), 6) is None
    wires.run()
    assert send_over(payment, 2, (a, n, b), 4) is None
    wires.run()
    assert (outcomes(a, 1), outcomes(a, 2)) == ([], [COMPLETE])
    commit = status(a, payment).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.tap = None
    wires.connect(m, a)
    wires.run()
    assert (a.balance(m), a.balance(n)) == (-6, -4)
    assert_settled(a, m, n, b)


# --- the queue ----------------------------------------------------------------------------------


@covers("PT20")
def test_more_than_a_token_holds_goes_in_several_and_in_order() -> None:
    wires, (a, b) = chain("a", "b", limits=(10_000, 10_000))
    count = OPERATIONS_PER_TOKEN_MAX + 44
    payment = open_payment(a, new_invoice(b, count), 1)
    strand_token(wires, a, b)
    assert a.do(*(parts_of(a, b, count))) is None
    assert len(a.friend(b).own) == count
    wires.connect(a, b)
    said = len(wires.log)
    wires.run()
    sent = [
        (message, operations(message))
        for src, _, message in wires.log[said:]
        if src == "a" and any(isinstance(op, RequestOp) for op in operations(message))
    ]
    assert len(sent[0][1]) == OPERATIONS_PER_TOKEN_MAX
    assert isinstance(sent[0][0], MoveTokenMessage)
    assert sent[0][0].token_wanted
    requests = [op.request_id for _, ops in sent for op in ops if isinstance(op, RequestOp)]
    assert requests == [uid_of(n) for n in range(count)]
    assert all(len(operations(message)) <= OPERATIONS_PER_TOKEN_MAX for _, _, message in wires.log)
    assert status(a, payment).open_transactions == 32  # a group takes no more requests
    assert_mirrored(a, b)


def uid_of(number: int) -> Uid:
    return Uid(number.to_bytes(16, "big"))


def parts_of(a: Card, b: Card, count: int) -> list[CreateTransaction]:
    """Commands that send `count` parts of one credit each."""
    return [
        CreateTransaction(wish(1), uid_of(number), (a.key, b.key), 1, 0) for number in range(count)
    ]


# --- invoices -----------------------------------------------------------------------------------


@covers("PT21", "PAY-05", "PAY-13", "PAY-24")
def test_a_request_that_does_not_fit_the_invoice_is_cancelled() -> None:
    wires, (a, b) = chain("a", "b", limits=(1_000, 1_000))
    invoice = new_invoice(b, 10)
    other = {
        "unknown": Invoice(InvoiceId(b"u" * 32), FST, b.key, 10),
        "total": Invoice(invoice.invoice_id, FST, b.key, 11),
        "less": Invoice(invoice.invoice_id, FST, b.key, 9),
    }
    for number, wrong in enumerate(other.values(), 2):
        payment = open_payment(a, wrong, number)
        assert send_over(payment, number, (a, b), 9) is None
        wires.run()
        assert outcomes(a, number) == [FAILURE]
    assert not b.state.invoices[invoice.invoice_id].groups
    assert_settled(a, b)


@covers("PT21", "PAY-13")
def test_a_part_beyond_the_sum_is_cancelled() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, b), 7) is None
    wires.run()
    # The buyer forgets its first part, as only a changed program would: the seller does not.
    del a.state.payments[payment].transactions[uid(1)]
    assert send_over(payment, 2, (a, b), 4) is None
    wires.run()
    assert outcomes(a, 2) == [FAILURE]
    assert send_over(payment, 3, (a, b), 3) is None
    wires.run()
    assert outcomes(a, 3) == [COMPLETE]


@covers("PT21", "PAY-14")
def test_another_lock_makes_another_group_that_cannot_fill_up_mine() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    for number, amount in ((1, 6), (2, 4)):
        payment = open_payment(a, invoice, number)
        assert send_over(payment, number, (a, b), amount) is None
        wires.run()
        assert outcomes(a, number) == [SUCCESS]
    groups = b.state.invoices[invoice.invoice_id].groups
    assert sorted(group.sum for group in groups.values()) == [4, 6]
    assert len({group.dest_plain_lock for group in groups.values()}) == 2


@covers("PT22")
def test_an_invoice_id_is_used_once() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    assert b.do(AddInvoice(invoice)) is CommandFault.INVOICE_ALREADY_EXISTS
    assert send_over(open_payment(a, invoice, 1), 1, (a, b), 10) is None
    wires.run()
    assert a.frozen() == 10
    assert b.do(CancelInvoice(invoice.invoice_id)) is None
    wires.run()
    assert_settled(a, b)
    commit = status(a, wish(1)).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is CommandFault.INVOICE_DOES_NOT_EXIST
    assert b.do(CancelInvoice(invoice.invoice_id)) is CommandFault.INVOICE_DOES_NOT_EXIST
    assert b.do(CollectInvoice(invoice.invoice_id)) is CommandFault.INVOICE_DOES_NOT_EXIST
    assert b.do(AddInvoice(invoice)) is CommandFault.INVOICE_ALREADY_EXISTS


@covers("PT22")
def test_committing_again_after_success_changes_nothing() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    assert send_over(open_payment(a, invoice, 1), 1, (a, b), 10) is None
    wires.run()
    collect(wires, b, a, 1)
    commit = status(a, wish(1)).commit
    assert commit is not None
    said = len(wires.log)
    assert b.do(CommitInvoice(commit)) is None
    assert b.do(CollectInvoice(invoice.invoice_id)) is None
    assert b.do(RegisterCommit(commit)) is CommandFault.INVOICE_DOES_NOT_EXIST
    wires.run()
    assert len(wires.log) == said
    assert b.balance(a) == 10


# --- the buyer's primitives ---------------------------------------------------------------------


def faults_of_transactions() -> dict[str, tuple[CommandFault, dict[str, object]]]:
    """What is changed in a good CreateTransaction, and the fault it gets."""
    return {
        "payment": (CommandFault.OPEN_PAYMENT_NOT_FOUND, {"payment_id": wish(9)}),
        "empty": (CommandFault.NOT_FIRST_IN_ROUTE, {"route": ""}),
        "first": (CommandFault.NOT_FIRST_IN_ROUTE, {"route": "mb"}),
        "last": (CommandFault.PAYMENT_DEST_NOT_LAST_IN_ROUTE, {"route": "am"}),
        "twice": (CommandFault.INVALID_ROUTE, {"route": "ammb"}),
        "self": (CommandFault.INVALID_ROUTE, {"route": "aamb"}),
        "long": (CommandFault.INVALID_ROUTE, {"route": "a" + "s" * 31 + "b"}),
        "stranger": (CommandFault.FRIEND_DOES_NOT_EXIST, {"route": "axb"}),
        "offline": (CommandFault.FRIEND_NOT_READY, {"route": "anb"}),
        "zero": (CommandFault.INVALID_AMOUNT, {"dest_payment": 0}),
        "above": (CommandFault.INVALID_AMOUNT, {"dest_payment": 11}),
        "negative": (CommandFault.INVALID_AMOUNT, {"fees": -1}),
        "overflow": (CommandFault.INVALID_AMOUNT, {"fees": CREDITS_MAX - 9}),
        "used": (CommandFault.REQUEST_ALREADY_IN_PROGRESS, {"request_id": uid(7)}),
    }


@covers("PT24")
@pytest.mark.parametrize("case", list(faults_of_transactions()))
def test_every_bad_transaction_gets_exactly_one_failure(case: str) -> None:
    wires, (a, m, n, b) = diamond()
    wires.offline(a, n)
    by_letter = {"a": a.key, "m": m.key, "n": n.key, "b": b.key, "x": Card("x", 9).key}
    assert send_over(open_payment(a, new_invoice(b, 5, 7), 7), 7, (a, m, b), 5) is None
    payment = open_payment(a, new_invoice(b, 10), 1)
    fault, change = faults_of_transactions()[case]
    fields: dict[str, object] = {
        "payment_id": payment,
        "request_id": uid(1),
        "route": "amb",
        "dest_payment": 10,
        "fees": 0,
    } | change
    letters = str(fields["route"])
    route = tuple(
        by_letter.get(letter) or public_key_of(PrivateKey(bytes([100 + i]) * 32))
        for i, letter in enumerate(letters)
    )
    command = CreateTransaction(**(fields | {"route": route}))  # type: ignore[arg-type]
    assert a.do(command) is fault
    assert a.done[-1].notices == (
        TransactionResult(command.payment_id, command.request_id, FAILURE, None),
    )
    assert not a.state.payments[payment].transactions
    wires.run()
    assert outcomes(a, 1) == ([FAILURE] if command.request_id == uid(1) else [])


@covers("PT24")
def test_the_same_transaction_again_repeats_the_stored_result_and_sends_nothing() -> None:
    wires, (a, b) = chain("a", "b")
    payment = open_payment(a, new_invoice(b, 10), 1)
    assert send_over(payment, 1, (a, b), 4) is None
    assert send_over(payment, 1, (a, b), 4) is None
    assert a.done[-1].notices == ()  # not answered yet
    wires.run()
    assert send_over(payment, 2, (a, b), 6) is None
    wires.run()
    said = len(wires.log)
    for number, outcome in ((1, SUCCESS), (2, COMPLETE)):
        assert send_over(payment, number, (a, b), 4) is None
        (notice,) = a.done[-1].notices
        assert isinstance(notice, TransactionResult)
        assert notice.outcome is outcome
        assert (notice.commit is None) is (outcome is SUCCESS)
    wires.run()
    assert len(wires.log) == said
    assert a.frozen() == 10


@covers("PT24")
def test_the_queue_of_own_requests_has_an_end() -> None:
    wires, (a, b) = chain("a", "b", limits=(10_000, 10_000))
    open_payment(a, new_invoice(b, 1_000), 1)
    strand_token(wires, a, b)
    commands = parts_of(a, b, OWN_REQUESTS_QUEUED_MAX + 1)
    assert a.do(*commands[:-1]) is None
    assert a.do(commands[-1]) is CommandFault.PENDING_USER_REQUESTS_FULL
    assert len(a.friend(b).own) == OWN_REQUESTS_QUEUED_MAX


@covers("PT24")
def test_a_closed_payment_takes_no_transaction() -> None:
    wires, (a, b) = chain("a", "b")
    payment = open_payment(a, new_invoice(b, 10), 1)
    assert status(a, payment).stage == "canceled"
    assert send_over(payment, 1, (a, b), 10) is CommandFault.NEW_TRANSACTIONS_NOT_ALLOWED
    wires.run()
    assert outcomes(a, 1) == [FAILURE]


@covers("PT25")
def test_a_commit_is_kept_for_a_program_that_was_away() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, b), 10) is None
    assert status(a, payment).stage == "in_progress"
    a.notices.clear()  # the program that asked is gone
    wires.run()
    again = status(a, payment)
    assert again.stage == "in_progress"
    assert again.commit is not None
    assert send_over(payment, 1, (a, b), 10) is None
    (notice,) = a.done[-1].notices
    assert isinstance(notice, TransactionResult)
    assert notice.commit == again.commit
    assert b.do(CommitInvoice(again.commit)) is None
    wires.run()
    assert status(a, payment).stage == "success"


def test_answers_of_one_transaction_stay_in_order_on_every_channel() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    assert send_over(open_payment(a, new_invoice(b, 5), 1), 1, (a, m, b), 5) is None
    wires.run()
    collect(wires, b, a, 1)
    for src, dest in pairwise(("b", "m", "a")):
        kinds = [
            type(op)
            for one, other, message in wires.log
            if (one, other) == (src, dest)
            for op in operations(message)
        ]
        assert kinds == [ResponseOp, CollectOp]


def test_a_message_of_an_older_connection_is_ignored() -> None:
    wires, (a, b) = chain("a", "b")
    a.feed(LinkAdopted(b.key, 77))
    payment = open_payment(a, new_invoice(b, 5), 1)
    assert send_over(payment, 1, (a, b), 5) is None
    wires.run()
    assert outcomes(a, 1) == []
    wires.connect(a, b)
    wires.run()
    assert outcomes(a, 1) == [COMPLETE]
