"""Foul friends around a mediator, a buyer or a seller: each answer finds its own way (PT60–PT72, PT78, PT80)."""

from collections.abc import Callable

import pytest

from offset_engine.core.api import (
    AddFriend,
    AddInvoice,
    AddRelay,
    CancelInvoice,
    CommandFault,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    TransactionOutcome,
)
from offset_engine.core.crypto import hash_lock
from offset_engine.core.messages import (
    CancelOp,
    CollectOp,
    RequestOp,
    ResponseOp,
    cancel_op,
    collect_op,
    request_op,
)
from offset_engine.core.report import pending
from offset_engine.core.signing import Commit, Invoice, Receipt, response_hash
from offset_engine.core.values import (
    CREDITS_MAX,
    INVOICE_GROUPS_MAX,
    ROUTE_KEYS_MAX,
    U128_MAX,
    Currency,
    HashedLock,
    InvoiceId,
    NamedAddress,
    PlainLock,
    PublicKey,
    Rate,
)
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    assert_settled,
    befriend,
    chain,
    new_invoice,
    open_payment,
    outcomes,
    send_over,
    start_payment,
    status,
    strand_token,
    transfer,
    uid,
    wish,
)
from tests.fakes_hostile import OTHER_SECRET, SECRET, ScriptedFriend, ask
from tests.sim.invariants import check_node

USD = Currency("USD")
LOCK = hash_lock(OTHER_SECRET)


def answers(foe: ScriptedFriend, number: int) -> list[str]:
    """What came back to a foe for one request."""
    return [
        type(one.operation).__name__
        for one in foe.applied
        if not isinstance(one.operation, RequestOp) and one.operation.request_id == uid(number)
    ]


def commit_for(card: Card, invoice: Invoice, secret: PlainLock = OTHER_SECRET) -> Commit:
    """The commit a foul buyer can build from the complete response it got."""
    group = card.state.invoices[invoice.invoice_id].groups[hash_lock(secret)]
    (member,) = [one for one in group.members.values() if one.response.is_complete]
    response = member.response
    return Commit(
        response_hash(response.request_id, response.rand_nonce),
        secret,
        response.dest_hashed_lock,
        member.dest_payment,
        invoice.total_dest_payment,
        invoice.invoice_id,
        invoice.currency,
        response.signature,
    )


class Crossing:
    """A mediator `m` with two foul friends upstream and an honest seller `b` downstream."""

    def __init__(self, rate: Rate | None = None) -> None:
        self.m, self.b = Card("m", 1), Card("b", 2)
        self.wires = Wires(self.m, self.b)
        befriend(self.m, self.b, (1_000, 1_000))
        self.wires.connect(self.m, self.b)
        self.wires.run()
        self.a = ScriptedFriend("a", 11, self.m, 2_000, rate=rate)
        self.x = ScriptedFriend("x", 12, self.m, 2_000, rate=rate)

    def run(self) -> None:
        self.wires.run()
        for foe in (self.a, self.x):
            if foe.is_trusted:
                foe.say()
                foe.take_token()
        self.wires.run()
        check_node(self.m.state, tuple(self.m.state.friends))
        check_node(self.b.state, tuple(self.b.state.friends))

    @property
    def gain(self) -> int:
        return self.a.owed() + self.x.owed() + self.m.balance(self.b)


# --- equal ids ------------------------------------------------------------------------------------


@covers("PT60")
@pytest.mark.parametrize("first_waits", [False, True])
def test_the_same_id_of_two_friends_to_one_next_hop_goes_on_only_once(first_waits: bool) -> None:
    """B1: while the first is pending there, and while it still waits for the token."""
    world = Crossing()
    new_invoice(world.b, 10)
    if first_waits:
        strand_token(world.wires, world.m, world.b)
    route = (world.b.key,)
    world.a.say(ask(5, 10, route))
    world.x.say(ask(5, 10, route))
    if first_waits:
        world.wires.connect(world.m, world.b)
    world.run()
    assert answers(world.a, 5) == ["ResponseOp"]
    assert answers(world.x, 5) == ["CancelOp"]
    assert world.m.ledger(world.b).local.keys() == {uid(5)}


@covers("PT61")
def test_each_answer_goes_back_to_the_friend_its_request_came_from() -> None:
    """B2: the dear twin of a cheap request must not be collected in its place, nor the other way."""
    world = Crossing()
    invoice = new_invoice(world.b, 10)
    world.a.say(ask(5, 10, (world.b.key,), fees=0))
    world.x.say(ask(5, 10, (world.b.key,), fees=500))
    world.run()
    assert world.b.do(CommitInvoice(commit_for(world.b, invoice))) is None
    world.run()
    assert answers(world.a, 5) == ["ResponseOp", "CollectOp"]
    assert answers(world.x, 5) == ["CancelOp"]
    assert (world.a.owed(), world.x.owed(), world.m.balance(world.b)) == (10, 0, -10)
    assert world.gain >= 0
    # Once the first is over its id may be used again.
    new_invoice(world.b, 10, 2)
    world.x.say(ask(5, 10, (world.b.key,), fees=500, invoice=2))
    world.run()
    assert answers(world.x, 5) == ["CancelOp", "ResponseOp"]


@covers("PT62")
def test_one_id_over_two_last_hops_counts_twice_and_is_collected_twice() -> None:
    world = Crossing()
    invoice = new_invoice(world.m, 10)
    world.a.say(ask(5, 5, total=10))
    world.x.say(ask(5, 5, total=10))
    world.run()
    responses = [
        one.operation
        for foe in (world.a, world.x)
        for one in foe.applied
        if isinstance(one.operation, ResponseOp)
    ]
    assert [one.is_complete for one in responses] == [False, True]
    assert world.m.do(CommitInvoice(commit_for(world.m, invoice))) is None
    world.run()
    assert (world.a.owed(), world.x.owed()) == (5, 5)


@covers("PT63")
def test_a_loop_that_names_us_is_refused() -> None:
    world = Crossing()
    new_invoice(world.b, 10)
    world.a.say(ask(5, 10, (world.x.key, world.m.key, world.b.key)))
    world.run()
    assert answers(world.a, 5) == ["CancelOp"]
    assert world.m.frozen() == 0


@covers("PT63")
def test_a_loop_that_hides_us_is_refused_when_the_id_comes_back() -> None:
    world = Crossing()
    new_invoice(world.b, 10)
    world.a.say(ask(5, 10, (world.x.key, world.b.key)))
    world.run()
    back = world.x.last_request
    assert back.route == (world.b.key,)
    world.x.say(back)
    world.run()
    assert answers(world.x, 5) == ["CancelOp"]
    world.x.say(cancel_op(back.request_id))
    world.run()
    assert answers(world.a, 5) == ["CancelOp"]
    assert world.m.frozen() == 0
    assert world.gain == 0


@covers("PT64")
def test_a_payment_to_oneself_around_a_circle_costs_exactly_the_fees() -> None:
    """B13: rebalancing; the buyer holds both ends of the same request."""
    a, m, n = cards = [Card(name, number) for number, name in enumerate("amn", 1)]
    wires = Wires(*cards)
    for one, other in ((a, m), (m, n), (n, a)):
        befriend(one, other, rates=(Rate(0, 2), Rate(0, 2)))
        wires.connect(one, other)
    wires.run()
    assert transfer(wires, (a, m, n, a), 10, 1, fees=4)
    assert (a.balance(m), m.balance(n), n.balance(a)) == (-14, -12, -10)
    assert_settled(*cards)
    receipt = status(a, wish(1)).receipt
    assert receipt is not None
    assert receipt.is_complete
    assert not transfer(wires, (a, m, n, a), 10, 2, fees=3), "a fee is missing"
    assert_settled(*cards)


@covers("PT64")
def test_a_circle_of_two_is_refused() -> None:
    _, (a, b) = chain("a", "b")
    invoice = new_invoice(a, 5)
    assert start_payment(invoice, (a, b, a), 1) is CommandFault.INVALID_ROUTE


# --- currencies and invoices ----------------------------------------------------------------------


@covers("PT65")
def test_an_invoice_in_one_currency_takes_no_request_in_another() -> None:
    """B3: equal numbers in worthless credits."""
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m, currencies=(FST, USD))
    invoice = new_invoice(m, 10, currency=USD)
    foe.say(ask(1, 10))
    foe.take_token()
    assert answers(foe, 1) == ["CancelOp"]
    foe.say(ask(2, 10), currency=USD)
    foe.take_token()
    genuine = commit_for(m, invoice)
    forged = Commit(
        genuine.response_hash,
        genuine.src_plain_lock,
        genuine.dest_hashed_lock,
        genuine.dest_payment,
        genuine.total_dest_payment,
        genuine.invoice_id,
        FST,
        genuine.signature,
    )
    assert m.do(CommitInvoice(forged)) is CommandFault.INVALID_COMMIT
    assert m.do(CommitInvoice(genuine)) is None


@covers("PT65")
@pytest.mark.parametrize("field", range(8))
def test_no_commit_with_any_field_changed_is_accepted(field: int) -> None:
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    invoice = new_invoice(m, 10)
    new_invoice(m, 10, 2)
    foe.say(ask(1, 10))
    good = commit_for(m, invoice)
    changed = [
        (type(good.response_hash)(bytes(32)),),
        (SECRET,),
        (HashedLock(bytes(32)),),
        (9,),
        (11,),
        (InvoiceId(b"\x02" * 32),),
        (USD,),
        (type(good.signature)(bytes(64)),),
    ][field]
    values = [
        good.response_hash,
        good.src_plain_lock,
        good.dest_hashed_lock,
        good.dest_payment,
        good.total_dest_payment,
        good.invoice_id,
        good.currency,
        good.signature,
    ]
    values[field : field + 1] = changed
    assert m.do(CommitInvoice(Commit(*values))) is CommandFault.INVALID_COMMIT  # type: ignore[arg-type]
    foe.say()
    foe.take_token()
    assert foe.owed() == 0
    assert m.do(CommitInvoice(good)) is None


def test_an_incomplete_response_makes_no_commit() -> None:
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    invoice = new_invoice(m, 10)
    foe.say(ask(1, 4, total=10))
    group = m.state.invoices[invoice.invoice_id].groups[LOCK]
    (member,) = group.members.values()
    commit = Commit(
        response_hash(uid(1), member.response.rand_nonce),
        OTHER_SECRET,
        member.response.dest_hashed_lock,
        4,
        10,
        invoice.invoice_id,
        FST,
        member.response.signature,
    )
    assert m.do(CommitInvoice(commit)) is CommandFault.INVALID_COMMIT


@covers("PT66")
def test_a_stranger_that_squats_an_invoice_does_not_keep_the_buyer_out() -> None:
    """B11: with nothing, with a part, with everything; its groups are cancelled when the buyer pays."""
    wires, (a, m) = chain("a", "m")
    squatter = ScriptedFriend("squatter", 11, m)
    invoice = new_invoice(m, 10)
    squatter.say(ask(1, 0, total=10), ask(2, 4, total=10, lock=hash_lock(SECRET)), ask(3, 10))
    assert start_payment(invoice, (a, m), 1) is None
    wires.run()
    commit = status(a, wish(1)).commit
    assert commit is not None
    assert m.do(CommitInvoice(commit)) is None
    wires.run()
    squatter.say()
    squatter.take_token()
    assert a.balance(m) == -10
    assert squatter.owed() == 0
    assert answers(squatter, 1) == ["CancelOp"]
    assert answers(squatter, 2) == answers(squatter, 3) == ["ResponseOp", "CancelOp"]
    assert m.frozen() == 0


@covers("PT66")
def test_full_of_squatters_an_invoice_makes_room_for_who_brings_more() -> None:
    wires, (a, m) = chain("a", "m")
    squatter = ScriptedFriend("squatter", 11, m)
    invoice = new_invoice(m, 10)
    for number in range(INVOICE_GROUPS_MAX):
        lock = hash_lock(PlainLock(bytes([number]) * 32))
        squatter.say(ask(number, 1 + number % 3, total=10, lock=lock))
    squatter.say(ask(100, 1, total=10, lock=hash_lock(SECRET)))
    squatter.take_token()
    assert answers(squatter, 100) == ["CancelOp"], "no more than those that are there"
    assert start_payment(invoice, (a, m), 1) is None
    wires.run()
    assert status(a, wish(1)).commit is not None
    groups = m.state.invoices[invoice.invoice_id].groups
    assert len(groups) == INVOICE_GROUPS_MAX
    assert min(group.sum for group in groups.values()) == 1


@covers("PT66")
def test_a_mediator_that_adds_a_part_of_its_own_pays_for_the_buyer() -> None:
    """It knows the buyer's lock; the seller still gets the whole sum, or the buyer starts anew."""
    wires, (a, m) = chain("a", "m")
    spy = ScriptedFriend("spy", 11, m)
    invoice = new_invoice(m, 10)
    payment_id = open_payment(a, invoice, 1)
    assert send_over(payment_id, 1, (a, m), 6) is None
    wires.run()
    (lock,) = m.state.invoices[invoice.invoice_id].groups
    spy.say(ask(7, 4, total=10, lock=lock))
    assert send_over(payment_id, 2, (a, m), 4) is None
    wires.run()
    assert outcomes(a, 2) == [TransactionOutcome.FAILURE]
    assert m.frozen() == 10
    assert m.do(CancelInvoice(invoice.invoice_id)) is None
    wires.run()
    assert outcomes(a, 1)[-1] is TransactionOutcome.FAILURE
    assert a.balance(m) == 0


@covers("PT67")
def test_the_lock_revealed_to_the_buyer_opens_no_receipt_of_a_stranger() -> None:
    wires, (a, m) = chain("a", "m")
    stranger = ScriptedFriend("stranger", 11, m)
    invoice = new_invoice(m, 10)
    stranger.say(ask(1, 10))
    stranger.take_token()
    (response,) = [
        one.operation for one in stranger.applied if isinstance(one.operation, ResponseOp)
    ]
    assert response.is_complete
    assert start_payment(invoice, (a, m), 1) is None
    wires.run()
    commit = status(a, wish(1)).commit
    assert commit is not None
    assert m.do(CommitInvoice(commit)) is None
    wires.run()
    receipt = status(a, wish(1)).receipt
    assert isinstance(receipt, Receipt)
    assert hash_lock(receipt.dest_plain_lock) != response.dest_hashed_lock


# --- foul mediators -------------------------------------------------------------------------------


class Between:
    """A foul mediator between an honest buyer `a` and an honest seller `b`, who do not know each other."""

    def __init__(self) -> None:
        self.a, self.b = Card("a", 1), Card("b", 2)
        self.to_a = ScriptedFriend("foe", 11, self.a)
        self.to_b = ScriptedFriend("foe", 11, self.b)
        self.invoice = new_invoice(self.b, 10)

    def request(self, fees: int = 5) -> RequestOp:
        """a pays over the foe; what the foe gets."""
        opened = CreatePayment(wish(1), self.invoice.invoice_id, FST, 10, self.b.key)
        route = (self.a.key, self.to_a.key, self.b.key)
        assert self.a.do(opened, CreateTransaction(wish(1), uid(1), route, 10, fees)) is None
        self.to_a.say()
        self.to_a.take_token()
        return self.to_a.last_request

    def onward(self, request: RequestOp, **changes: object) -> RequestOp:
        """The request as the foe passes it on."""
        facts: dict[str, object] = {
            "lock": request.src_hashed_lock,
            "payment": request.dest_payment,
            "total": request.total_dest_payment,
            "invoice": request.invoice_id,
            "fees": 0,
            **changes,
        }
        return request_op(
            request.request_id,
            facts["lock"],  # type: ignore[arg-type]
            (),
            (facts["payment"], facts["total"], facts["fees"]),  # type: ignore[arg-type]
            facts["invoice"],  # type: ignore[arg-type]
        )

    def answer_of_b(self, request: RequestOp) -> ResponseOp | CancelOp:
        """What b says to it."""
        self.to_b.say(request)
        self.to_b.take_token()
        operation = self.to_b.applied[-1].operation
        assert isinstance(operation, ResponseOp | CancelOp)
        return operation


@covers("PT68")
@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("payment", {"payment": 9}),
        ("total and invoice", {"total": 9, "payment": 9, "invoice": InvoiceId(b"\x02" * 32)}),
        ("invoice", {"invoice": InvoiceId(b"\x03" * 32)}),
        ("lock", {"lock": LOCK}),
    ],
)
def test_a_mediator_that_alters_the_request_cannot_pass_the_response(
    what: str, changes: dict[str, object]
) -> None:
    world = Between()
    new_invoice(world.b, 9, 2)
    new_invoice(world.b, 10, 3)
    request = world.request()
    response = world.answer_of_b(world.onward(request, **changes))
    assert isinstance(response, ResponseOp), what
    world.to_a.lie(response)
    assert not world.to_a.is_trusted
    assert world.to_a.owed() == 0
    assert status(world.a, wish(1)).commit is None


@covers("PT68")
def test_a_mediator_that_sends_the_request_to_another_seller_cannot_pass_the_response() -> None:
    world = Between()
    c = Card("c", 3)
    to_c = ScriptedFriend("foe", 11, c)
    assert c.do(AddInvoice(Invoice(world.invoice.invoice_id, FST, c.key, 10))) is None
    request = world.request()
    to_c.say(world.onward(request))
    to_c.take_token()
    response = to_c.applied[-1].operation
    assert isinstance(response, ResponseOp)
    world.to_a.lie(response)
    assert not world.to_a.is_trusted
    assert world.to_a.owed() == 0


@covers("PT69")
def test_a_mediator_that_keeps_all_fees_makes_the_next_one_refuse_and_gains_nothing() -> None:
    a, m, b = Card("a", 1), Card("m", 2), Card("b", 3)
    wires = Wires(m, b)
    befriend(m, b)
    wires.connect(m, b)
    wires.run()
    to_a = ScriptedFriend("foe", 11, a)
    to_m = ScriptedFriend("foe", 11, m, rate=Rate(0, 5))
    invoice = new_invoice(b, 10)
    opened = CreatePayment(wish(1), invoice.invoice_id, FST, 10, b.key)
    route = (a.key, to_a.key, m.key, b.key)
    assert a.do(opened, CreateTransaction(wish(1), uid(1), route, 10, 10)) is None
    to_a.say()
    to_a.take_token()
    to_m.say(ask(1, 10, (b.key,), lock=to_a.last_request.src_hashed_lock))
    wires.run()
    to_m.take_token()
    assert answers(to_m, 1) == ["CancelOp"]
    to_a.say(cancel_op(uid(1)))
    assert outcomes(a, 1) == [TransactionOutcome.FAILURE]
    assert (a.frozen(), m.frozen(), to_a.owed()) == (0, 0, 0)


def _answered(world: Between) -> tuple[RequestOp, Commit]:
    """The foe passed everything on honestly; the buyer holds the commit."""
    request = world.request()
    response = world.answer_of_b(world.onward(request))
    assert isinstance(response, ResponseOp)
    world.to_a.say(response)
    commit = status(world.a, wish(1)).commit
    assert commit is not None
    return request, commit


@covers("PT70")
def test_a_mediator_that_cancels_upstream_bears_the_later_collect_itself() -> None:
    world = Between()
    _, commit = _answered(world)
    world.to_a.say(cancel_op(uid(1)))
    assert world.b.do(CommitInvoice(commit)) is None
    world.to_b.say()
    world.to_b.take_token()
    assert world.to_b.owed() == 10
    (collect,) = [
        one.operation for one in world.to_b.applied if isinstance(one.operation, CollectOp)
    ]
    assert (world.to_a.owed(), world.a.frozen()) == (0, 0)
    world.to_a.lie(collect)
    assert not world.to_a.is_trusted, "too late"
    assert world.to_a.owed() == 0


@covers("PT71")
def test_a_mediator_that_withholds_the_collect_harms_only_itself() -> None:
    world = Between()
    _, commit = _answered(world)
    assert world.b.do(CommitInvoice(commit)) is None
    world.to_b.say()
    world.to_b.take_token()
    assert (world.to_b.owed(), world.b.frozen()) == (10, 0), "the seller has its money"
    assert (world.to_a.owed(), world.a.frozen()) == (0, 15), "the buyer's stays frozen"
    assert status(world.a, wish(1)).receipt is None
    (collect,) = [
        one.operation for one in world.to_b.applied if isinstance(one.operation, CollectOp)
    ]
    world.to_a.say(collect)
    assert world.to_a.owed() == -15
    assert status(world.a, wish(1)).receipt is not None


@covers("PT72")
def test_a_seller_that_never_answers_freezes_visibly_and_without_end() -> None:
    world = Between()
    world.request()
    world.a.pass_time(10_000_000)
    (entry,) = pending(world.a.state)
    assert entry.is_outgoing
    assert (entry.amount, entry.is_answered) == (15, False)
    assert world.a.env.wall_ms - entry.since_ms >= 10_000_000


@covers("PT72")
def test_a_seller_that_answers_but_never_collects_freezes_until_its_invoice_expires() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    invoice = Invoice(InvoiceId(b"\x01" * 32), FST, b.key, 10)
    expires_ms = b.env.wall_ms + 3_600_000
    assert b.do(AddInvoice(invoice, expires_ms)) is None
    assert start_payment(invoice, (a, m, b), 1) is None
    wires.run()
    assert [card.frozen() for card in (a, m, b)] == [10, 20, 10]
    assert [one.is_answered for one in pending(a.state)] == [True]
    b.pass_time(3_600_000 + b.env.timers.expiry_confirm_ms)
    wires.run()
    assert a.frozen() == 10, "a complete group has some time to bring its commit"
    b.pass_time(b.env.timers.group_sealed_grace_ms)
    wires.run()
    assert_settled(a, m, b)
    assert outcomes(a, 1) == [TransactionOutcome.COMPLETE, TransactionOutcome.FAILURE]


# --- commands -------------------------------------------------------------------------------------


_Fault = tuple[Callable[[Card, Card], CreateTransaction], CommandFault]


def _sending(
    route: Callable[[Card, Card], tuple[PublicKey, ...]], amount: int, fees: int
) -> Callable[[Card, Card], CreateTransaction]:
    return lambda a, b: CreateTransaction(wish(1), uid(1), route(a, b), amount, fees)


def _straight(a: Card, b: Card) -> tuple[PublicKey, ...]:
    return (a.key, b.key)


def _long(count: int) -> Callable[[Card, Card], tuple[PublicKey, ...]]:
    middle = tuple(PublicKey(bytes([n + 50]) * 32) for n in range(count - 3))
    return lambda a, b: (a.key, Card("m", 7).key, *middle, b.key)


_BAD_COMMANDS: dict[str, _Fault] = {
    "more than the total": (_sending(_straight, 11, 0), CommandFault.INVALID_AMOUNT),
    "nothing": (_sending(_straight, 0, 0), CommandFault.INVALID_AMOUNT),
    "less than nothing": (_sending(_straight, -1, 0), CommandFault.INVALID_AMOUNT),
    "negative fees": (_sending(_straight, 5, -1), CommandFault.INVALID_AMOUNT),
    "fees of 2^128-1": (_sending(_straight, 5, U128_MAX), CommandFault.INVALID_AMOUNT),
    "payment and fees of 2^128": (
        _sending(_straight, 10, 2**128 - 10),
        CommandFault.INVALID_AMOUNT,
    ),
    "fees just out of range": (
        _sending(_straight, 10, CREDITS_MAX - 9),
        CommandFault.INVALID_AMOUNT,
    ),
    "no route": (_sending(lambda a, b: (), 5, 0), CommandFault.NOT_FIRST_IN_ROUTE),
    "only ourselves": (
        _sending(lambda a, b: (a.key,), 5, 0),
        CommandFault.PAYMENT_DEST_NOT_LAST_IN_ROUTE,
    ),
    "only the seller": (_sending(lambda a, b: (b.key,), 5, 0), CommandFault.NOT_FIRST_IN_ROUTE),
    "33 keys": (_sending(_long(ROUTE_KEYS_MAX + 1), 5, 0), CommandFault.INVALID_ROUTE),
    "ourselves twice": (
        _sending(lambda a, b: (a.key, a.key, b.key), 5, 0),
        CommandFault.INVALID_ROUTE,
    ),
    "a stranger first": (_sending(_long(4), 5, 0), CommandFault.FRIEND_DOES_NOT_EXIST),
}


@covers("PT78")
@pytest.mark.parametrize("what", _BAD_COMMANDS)
def test_a_transaction_that_makes_no_sense_is_refused_and_the_node_lives(what: str) -> None:
    """B6: the reference queued some of these and died when they were to be sent."""
    wires, (a, b) = chain("a", "b")
    open_payment(a, new_invoice(b, 10), 1)
    make, fault = _BAD_COMMANDS[what]
    assert a.do(make(a, b)) is fault
    assert a.frozen() == 0
    assert send_over(wish(1), 2, (a, b), 10) is None
    wires.run()
    assert status(a, wish(1)).commit is not None


_USELESS_KEYS = (
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    b"\xff" * 32,
    b"\xed" + b"\xff" * 30 + b"\x7f",
)


@covers("PT80")
def test_oneself_and_useless_keys_are_no_friends() -> None:
    """B20."""
    a = Card("a", 1)
    assert a.do(AddFriend(a.key, (), "me")) is CommandFault.INVALID_ARGUMENT
    for raw in _USELESS_KEYS:
        key = PublicKey(raw)
        assert a.do(AddFriend(key, (), "x")) is CommandFault.INVALID_ARGUMENT
        assert a.do(AddRelay(NamedAddress(key, "a.net:1"))) is CommandFault.INVALID_ARGUMENT
    assert not a.state.friends


def test_a_seller_with_a_useless_key_cannot_be_paid() -> None:
    a = Card("a", 1)
    for raw in _USELESS_KEYS:
        opened = CreatePayment(wish(1), InvoiceId(bytes(32)), FST, 1, PublicKey(raw))
        assert a.do(opened) is CommandFault.INVALID_ARGUMENT


def test_ids_of_any_bytes_do_not_collide_across_friends_and_directions() -> None:
    """The same id as own request, as forwarded one, and as one for us, on different channels."""
    world = Crossing()
    invoice = new_invoice(world.b, 10)
    new_invoice(world.m, 7, 2)
    assert start_payment(invoice, (world.m, world.b), 5) is None
    world.wires.run()
    world.a.say(ask(5, 10, (world.b.key,)))
    world.x.say(ask(5, 7, invoice=2))
    world.run()
    assert answers(world.a, 5) == ["CancelOp"], "our own request uses this id"
    assert answers(world.x, 5) == ["ResponseOp"], "nobody else's is in the way of one for us"
    commit = status(world.m, wish(5)).commit
    assert commit is not None
    assert world.b.do(CommitInvoice(commit)) is None
    world.run()
    assert world.m.balance(world.b) == -10
    assert world.gain == -10, "our own payment"


def test_the_id_of_an_own_request_that_has_not_left_is_in_nobodys_way() -> None:
    world = Crossing()
    invoice = new_invoice(world.b, 10)
    new_invoice(world.m, 7, 2)
    world.wires.tap = lambda *_: None  # the token that would take it along stays away
    assert start_payment(invoice, (world.m, world.b), 4) is None
    assert start_payment(invoice, (world.m, world.b), 5) is None
    world.wires.tap = None
    world.x.say(ask(5, 7, invoice=2))
    world.run()
    assert answers(world.x, 5) == ["ResponseOp"]


def test_a_collect_copied_from_one_channel_opens_nothing_on_another() -> None:
    """Locks that one foe learns open only requests with these locks, in stage response."""
    world = Crossing()
    invoice = new_invoice(world.b, 10)
    world.a.say(ask(5, 10, (world.b.key,)))
    world.run()
    assert world.b.do(CommitInvoice(commit_for(world.b, invoice))) is None
    world.run()
    (collect,) = [one.operation for one in world.a.applied if isinstance(one.operation, CollectOp)]
    world.x.lie(collect_op(uid(5), collect.src_plain_lock, collect.dest_plain_lock))
    assert not world.x.is_trusted
    assert (world.a.owed(), world.x.owed()) == (10, 0)
