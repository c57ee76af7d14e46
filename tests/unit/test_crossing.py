"""Things that happen at the same moment: crossing resets, dying ways, wishes forgotten and repeated, greed."""

import pytest

from offset_engine.core import answers
from offset_engine.core.api import (
    CommitInvoice,
    DisputeFriend,
    ForgetPay,
    OpenFriendCurrency,
    Pay,
    RemoveFriendCurrency,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
)
from offset_engine.core.crypto import speaks_first
from offset_engine.core.draft import Draft
from offset_engine.core.events import CommandGiven, LinkAdopted, MessageArrived
from offset_engine.core.messages import InconsistencyMessage, ResetTerms
from offset_engine.core.node import SentOnLink, outgoing
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.report import pay_report
from offset_engine.core.reports import InvoiceRecord
from offset_engine.core.signing import Commit, response_hash, terms_hash
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Inconsistent
from offset_engine.core.values import ACTIVE_CURRENCIES_MAX, CREDITS_MAX, Currency, Rate, Signature
from offset_engine.store import MemoryStore, touched_between
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    befriend,
    chain,
    new_invoice,
    part,
    pay_over,
    wish,
    with_index,
)
from tests.fakes_hostile import OTHER_SECRET, ScriptedFriend, ask
from tests.unit.test_hostile_values import insist_survives_restart

USD = Currency("USD")


def pair() -> tuple[Card, Card]:
    """Two cards; the first one's key hashes higher, so in a tie the other one's reset stands."""
    one, other = Card("a", 1), Card("b", 2)
    return (one, other) if speaks_first(one.key, other.key) else (other, one)


def accept(card: Card, other: Card) -> None:
    channel = card.friend(other).channel
    assert isinstance(channel, Inconsistent)
    assert channel.remote_terms is not None
    seen = terms_hash(other.key, card.key, channel.remote_terms)
    assert card.do(ResetFriendChannel(other.key, seen)) is None


def offer(card: Card, other: Card, *currencies: Currency) -> None:
    """`other` lies about its terms."""
    terms = ResetTerms(Signature(b"\x09" * 64), 1, tuple((one, 0) for one in currencies))
    link = card.friend(other).link_id
    assert link is not None
    card.feed(MessageArrived(other.key, link, InconsistencyMessage(terms)))


@covers("PT35", "PT38")
def test_currencies_of_terms_still_on_offer_keep_their_place() -> None:
    high, low = pair()
    wires = Wires(high, low)
    ours = tuple(Currency(f"C{number:02}") for number in range(ACTIVE_CURRENCIES_MAX))
    befriend(high, low, currencies=ours)
    wires.connect(high, low)
    wires.run()
    assert high.do(DisputeFriend(low.key)) is None
    wires.run()
    offer(high, low)
    accept(high, low)
    accept(low, high)
    high.do(RemoveFriendCurrency(low.key, ours[0]))
    high.do(SetFriendCurrencyRate(low.key, Currency("ZZ"), Rate()))
    (token,), _ = outgoing(low.state, high.key, SentOnLink())
    high.feed(LinkAdopted(low.key, 99))
    high.feed(MessageArrived(low.key, 99, token))
    channel = high.friend(low).consistent
    assert channel is not None
    assert len(high.friend(low).configs) <= ACTIVE_CURRENCIES_MAX
    assert len(channel.active_local) <= ACTIVE_CURRENCIES_MAX
    insist_survives_restart(high)


@covers("PT35", "PT43")
@pytest.mark.parametrize("count", [10, 400])
def test_requests_do_not_outlive_their_currency_in_crossing_resets(count: int) -> None:
    high, low = pair()
    wires = Wires(high, low)
    befriend(high, low, (100_000, 100_000))
    wires.connect(high, low)
    wires.run()
    opened = high.do(
        SetFriendCurrencyMaxDebt(low.key, USD, 1_000), OpenFriendCurrency(low.key, USD)
    )
    assert opened is None
    foe = ScriptedFriend("foe", 7, high, limit=100_000, currencies=(USD,))
    assert high.do(DisputeFriend(low.key)) is None
    wires.run()
    offer(high, low, FST, USD)
    accept(high, low)
    accept(low, high)
    (token,), _ = outgoing(low.state, high.key, SentOnLink())
    for first in range(0, count, 250):
        size = min(250, count - first)
        asked = [ask(1_000 + first + n, 1, (low.key,), total=1, fees=0) for n in range(size)]
        foe.say(*asked, currency=USD)
    link = high.friend(low).link_id
    assert link is not None
    complaint = InconsistencyMessage(ResetTerms(Signature(b"\x08" * 64), 1, ()))
    high.feed(MessageArrived(low.key, link, token), MessageArrived(foe.key, foe.link, complaint))
    assert not high.friend(low).forwarded.items
    insist_survives_restart(high)


@covers("PT39", "PAY-02")
def test_a_wish_whose_way_died_after_the_commit_is_not_called_safe_to_pay_again() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    invoice = new_invoice(b, 10)
    pay_over(wires, invoice, 1, part(a, m, b, amount=10))
    commit = a.intent(wish(1)).commit
    assert commit is not None
    assert m.do(DisputeFriend(a.key)) is None
    wires.run()
    shown = pay_report(a.intent(wish(1)))
    assert (shown.stage, shown.failure) == (PayStage.FAILED, PayFailure.UNKNOWN)
    assert not shown.is_safe_to_retry
    # And it would not have been: the seller collects, and the next in line pays.
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert m.balance(b) == -10


def test_a_wish_forgotten_and_repeated_at_once_is_not_paid_twice() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 5)
    assert a.do(Pay(wish(1), invoice, 0)) is None
    wires.run()
    commit = a.intent(wish(1)).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    a.feed(CommandGiven(901, ForgetPay(wish(1))), CommandGiven(902, Pay(wish(1), invoice, 0)))
    assert [done.fault for done in a.done[-2:]] == [None, None]
    assert not a.state.intents
    assert not a.state.payments


def test_what_was_received_is_recorded_within_the_range_of_an_amount() -> None:
    seller = Card("seller", 3)
    buyers = [ScriptedFriend(f"p{n}", 20 + n, seller, limit=CREDITS_MAX) for n in range(2)]
    invoice = new_invoice(seller, 10)
    for number, buyer in enumerate(buyers, 1):
        buyer.say(ask(number, 5, (), total=10, fees=CREDITS_MAX - 5), wanted=True)
        buyer.take_token()
    (group,) = seller.state.invoices[invoice.invoice_id].groups.values()
    assert group.is_sealed
    (last,) = (one.response for one in group.members.values() if one.response.is_complete)
    commit = Commit(
        response_hash(last.request_id, last.rand_nonce),
        OTHER_SECRET,
        last.dest_hashed_lock,
        5,
        10,
        invoice.invoice_id,
        FST,
        last.signature,
    )
    assert seller.do(CommitInvoice(commit)) is None
    record = seller.records[-1]
    assert isinstance(record, InvoiceRecord)
    assert record.received == CREDITS_MAX
    store, empty = MemoryStore(seller.key), NodeState(seller.key)
    store.save(empty, seller.state, touched_between(empty, seller.state), tuple(seller.records))
    assert store.invoice_record(invoice.invoice_id) == record


def test_a_wish_whose_only_way_is_the_absent_seller_says_so() -> None:
    wires, (a, b) = chain("a", "b")
    with_index(a)
    invoice = new_invoice(b, 5)
    wires.offline(a, b)
    assert a.do(Pay(wish(1), invoice, 0)) is None
    a.pass_time(a.env.timers.friend_wait_ms)
    assert a.intent(wish(1)).failure is PayFailure.SELLER_UNREACHABLE


def test_losses_are_kept_for_as_many_currencies_as_a_friend_can_have() -> None:
    _, (a, b) = chain("a", "b")
    draft = Draft(a.state, a.env)
    names = [Currency(f"L{number:02}") for number in range(ACTIVE_CURRENCIES_MAX + 1)]
    for name in (*names, names[0]):
        answers._lose(draft, b.key, name, 3)
    lost = dict(draft.state.friends[b.key].lost)
    assert lost == {name: 6 if name == names[0] else 3 for name in names[:-1]}
    assert len(draft.records) == len(names) + 1
