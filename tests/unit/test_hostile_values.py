"""Whatever a friend or the user gets a node to accept, the node can store it, load it and go on (B9, B10, B12)."""

from dataclasses import replace

import pytest

from offset_engine.core.api import (
    AddInvoice,
    AddRelay,
    CommandFault,
    CommitInvoice,
    DisputeFriend,
    ForgetPay,
    Pay,
    RemoveFriendCurrency,
    RemoveRelay,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
)
from offset_engine.core.crypto import hash_lock
from offset_engine.core.events import FriendOffline, LinkAdopted, MessageArrived
from offset_engine.core.messages import MoveTokenMessage, Part, collect_op
from offset_engine.core.payer import PayStage
from offset_engine.core.report import friend_report
from offset_engine.core.signing import Invoice, receipt_terms, response_buffer, terms_hash
from offset_engine.core.state import NodeState
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    Currency,
    InvoiceId,
    NamedAddress,
    PublicKey,
    RelayAddress,
)
from offset_engine.store import MemoryStore, touched_between
from tests.fakes import (
    FST,
    Card,
    Wires,
    answer_routes,
    befriend,
    chain,
    diamond,
    give_token,
    new_invoice,
    part,
    transfer,
    wish,
    with_index,
)
from tests.fakes_hostile import OTHER_SECRET, SECRET, ScriptedFriend, ask
from tests.sim.invariants import check_node, i27_persistence


def insist_survives_restart(card: Card) -> None:
    store = MemoryStore(card.key)
    nothing = NodeState(card.key)
    store.save(nothing, card.state, touched_between(nothing, card.state), ())
    i27_persistence(card.state, store.load())


def accept_terms(card: Card, friend: PublicKey) -> None:
    terms = friend_report(card.state.friends[friend], card.key).remote_terms
    assert terms is not None
    assert card.do(ResetFriendChannel(friend, terms.terms_hash)) is None


def test_terms_with_64_other_currencies_do_not_make_a_list_nobody_reads() -> None:
    m = Card("m", 1)
    ours = tuple(Currency(f"A{n:02}") for n in range(ACTIVE_CURRENCIES_MAX))
    theirs = tuple(Currency(f"B{n:02}") for n in range(ACTIVE_CURRENCIES_MAX))
    foe = ScriptedFriend("foe", 11, m, currencies=ours)
    terms = foe.offer(tuple((currency, 0) for currency in theirs))
    seen = terms_hash(foe.key, m.key, terms)
    assert m.do(ResetFriendChannel(foe.key, seen)) is CommandFault.LIMIT_REACHED
    insist_survives_restart(m)
    # Room can be made: what neither side's terms name goes at once.
    for currency in ours:
        m.do(RemoveFriendCurrency(foe.key, currency))
    shown = friend_report(m.state.friends[foe.key], m.key)
    assert shown.local_terms is not None
    left = {one.currency for one in shown.currencies}
    assert left == {currency for currency, _ in shown.local_terms.balances}


def test_many_relays_changed_around_a_reset_can_be_loaded_again() -> None:
    """What the friend may still know of our relays is more than a friend may be told at once."""
    wires, (a, b) = chain("a", "b")
    relays = [NamedAddress(Card(f"r{n}", 100 + n).key, f"r{n}.net:1") for n in range(36)]

    def use(mine: list[NamedAddress]) -> None:
        commands = [RemoveRelay(one.public_key) for one in a.state.relays]
        assert a.do(*commands, *(AddRelay(one) for one in mine)) is None

    use(relays[:12])
    wires.run()
    give_token(wires, b, a)
    wires.tap = lambda src, dest, message: None if src is b else message
    use(relays[12:24])
    wires.run()
    insist_survives_restart(a)
    wires.cut(a, b)
    assert b.do(DisputeFriend(a.key)) is None
    wires.tap = None
    wires.connect(a, b)
    wires.run()
    use(relays[24:])
    accept_terms(a, b.key)
    insist_survives_restart(a)


@pytest.mark.parametrize("expires_ms", [-1, 2**63, 2**80])
def test_an_expiry_no_clock_can_show_is_refused_or_stored(expires_ms: int) -> None:
    _, (_, b) = chain("a", "b")
    b.do(AddInvoice(Invoice(InvoiceId(bytes(32)), FST, b.key, 5), expires_ms))
    insist_survives_restart(b)


@pytest.mark.parametrize("confirm_above", [-1, CREDITS_MAX + 1])
def test_a_fee_to_confirm_out_of_range_is_refused_or_stored(confirm_above: int) -> None:
    _, (a, b) = chain("a", "b")
    a.do(Pay(wish(1), new_invoice(b, 5), 0, confirm_above))
    insist_survives_restart(a)


@pytest.mark.parametrize(
    "change", [{"created": -1}, {"expires": 2**64}, {"decimals": 256}, {"decimals": -1}]
)
def test_an_invoice_with_numbers_no_file_holds_is_refused_or_stored(
    change: dict[str, int],
) -> None:
    _, (a, b) = chain("a", "b")
    invoice = replace(Invoice(InvoiceId(bytes(32)), FST, b.key, 5), **change)
    b.do(AddInvoice(invoice))
    insist_survives_restart(b)
    a.do(Pay(wish(1), invoice, 0))
    insist_survives_restart(a)


def test_the_largest_limit_and_the_largest_payment_work_both_ways() -> None:
    """B12: a huge limit is no fault of the first request; 2^127-1 credits go there and back."""
    wires, (a, b) = chain("a", "b", limits=(CREDITS_MAX, CREDITS_MAX))
    assert transfer(wires, (a, b), CREDITS_MAX, 1)
    assert a.balance(b) == -CREDITS_MAX
    insist_survives_restart(a)
    assert not transfer(wires, (a, b), 1, 2)
    assert transfer(wires, (b, a), CREDITS_MAX, 3)
    assert transfer(wires, (b, a), CREDITS_MAX, 4)
    assert a.balance(b) == CREDITS_MAX
    insist_survives_restart(b)


def test_a_limit_below_the_debt_stops_new_requests_only() -> None:
    wires, (a, b) = chain("a", "b")
    assert transfer(wires, (a, b), 60, 1)
    assert b.do(SetFriendCurrencyMaxDebt(a.key, FST, 0)) is None
    assert not transfer(wires, (a, b), 1, 2)
    assert transfer(wires, (b, a), 50, 3)
    assert a.balance(b) == -10


def test_forgetting_a_paid_wish_while_other_parts_are_open_is_safe() -> None:
    """The first collect makes it paid; the other parts may still be cancelled, one by one."""
    wires, (a, m, n, b) = diamond()
    befriend(a, b)
    wires.connect(a, b)
    wires.run()
    invoice = new_invoice(b, 10)
    direct = start_direct_then_routes(a, b, invoice, wires.up[a.key, b.key])
    parts = (part(a, m, b, amount=4), part(a, n, b, amount=3), part(a, b, amount=3))
    assert direct
    answer_routes(a, parts)
    wires.run()
    commit = a.intent(wish(1)).commit
    assert commit is not None
    wires.cut(n, a)
    wires.cut(m, a)
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert a.intent(wish(1)).stage is PayStage.PAID
    assert a.do(ForgetPay(wish(1))) is None
    assert a.do(DisputeFriend(n.key)) is None
    assert a.do(DisputeFriend(m.key)) is None
    insist_survives_restart(a)


def start_direct_then_routes(a: Card, b: Card, invoice: Invoice, link_id: int) -> bool:
    """Begin a wish whose direct try is impossible at first, so that it asks for routes."""
    with_index(a)
    a.feed(FriendOffline(b.key))
    assert a.do(Pay(wish(1), invoice, 0)) is None
    a.feed(LinkAdopted(b.key, link_id))
    return bool(a.questions)


def test_a_seller_with_two_locks_does_not_leave_the_buyer_without_a_complete_receipt() -> None:
    """A foul seller answers each part with another lock; the receipt must be the complete one (I14)."""
    a, m = Card("a", 1), Card("m", 2)
    wires = Wires(a, m)
    befriend(a, m)
    wires.connect(a, m)
    wires.run()
    seller = ScriptedFriend("seller", 11, a)
    twin = ScriptedFriend("seller", 11, m)
    invoice = Invoice(InvoiceId(b"\x01" * 32), FST, seller.key, 10)
    with_index(a)
    a.feed(FriendOffline(seller.key))
    assert a.do(Pay(wish(1), invoice, 0)) is None
    seller.connect()
    answer_routes(
        a,
        (
            Part((a.key, seller.key), 6, 0, 6),
            Part((a.key, m.key, seller.key), 4, 0, 4),
        ),
    )
    wires.run()
    for puppet in (seller, twin):
        puppet.say()
        puppet.take_token()
    first, second = seller.last_request, twin.last_request
    assert (first.dest_payment, second.dest_payment) == (6, 4)
    seller.say(seller.answer_to(first, is_complete=False, lock=hash_lock(SECRET)))
    twin.say(twin.answer_to(second, is_complete=True, lock=hash_lock(OTHER_SECRET)))
    wires.run()
    commit = a.intent(wish(1)).commit
    assert commit is not None
    seller.say(collect_op(first.request_id, commit.src_plain_lock, SECRET))
    twin.say(collect_op(second.request_id, commit.src_plain_lock, OTHER_SECRET))
    wires.run()
    assert a.balance(m) == -4
    receipt = a.intent(wish(1)).receipt
    assert receipt is not None
    assert receipt.is_complete
    assert a.env.verify(seller.key, response_buffer(receipt_terms(receipt)), receipt.signature)


def test_relays_of_a_friend_with_useless_keys_can_be_loaded_again() -> None:
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    zero = RelayAddress(PublicKey(bytes(32)), "a.net:1")
    foe.say_all({}, relays=(zero,) * 16)
    assert foe.is_trusted
    insist_survives_restart(m)


def test_an_all_zero_route_and_lock_are_just_another_request() -> None:
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    foe.say(ask(0, 1, (PublicKey(bytes(32)),)))
    foe.take_token()
    assert foe.is_trusted
    assert m.frozen() == 0


def test_two_foes_that_speak_in_one_step_do_not_trip_over_each_other() -> None:
    """One drops the currency of a request that waits for it, just before the other's channel dies."""
    m = Card("m", 1)
    up = ScriptedFriend("up", 11, m)
    down = ScriptedFriend("down", 12, m)
    down.take_token()
    up.say(ask(1, 5, (down.key,)))
    assert len(m.state.friends[down.key].forwarded) == 1
    dropping, _ = down.sealed({}, currencies=())
    up.take_token()
    m.feed(
        MessageArrived(down.key, down.link, MoveTokenMessage(dropping, token_wanted=False)),
        MessageArrived(
            up.key, up.link, MoveTokenMessage(up.forged(currencies=()), token_wanted=False)
        ),
    )
    assert not up.is_trusted
    assert down.is_trusted
    check_node(m.state, tuple(m.state.friends))
