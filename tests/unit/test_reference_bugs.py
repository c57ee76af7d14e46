"""Bugs of the 2020 program (payments.md §8, B1 to B39): each that applies to us, shown by its effect not happening.

Elsewhere: B1, B2, B3, B6, B11, B13, B20 in test_adversarial_network; B9, B10, B12 in test_hostile_values;
B19, B29 in test_adversarial_friend; B24 in test_graph. B27, B28, B33 and B39 have no counterpart in the core.
"""

import pytest

from offset_engine.core.api import (
    AddFriend,
    AddRelay,
    CancelInvoice,
    CommandFault,
    CommitInvoice,
    DisputeFriend,
    EnableFriend,
    Pay,
    RegisterCommit,
    RemoveFriend,
    RemoveFriendCurrency,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    TransactionOutcome,
)
from offset_engine.core.crypto import hash_lock
from offset_engine.core.events import ConnectionsChanged, FriendOffline, LinkAdopted, MessageArrived
from offset_engine.core.messages import (
    FriendMessage,
    InconsistencyMessage,
    MoveTokenMessage,
    ResponseOp,
    TokenWantedMessage,
)
from offset_engine.core.payer import PayStage
from offset_engine.core.report import friend_report
from offset_engine.core.reports import LossRecord
from offset_engine.core.signing import Invoice
from offset_engine.core.token_channel import TokenChannel
from offset_engine.core.values import (
    RELAYS_MAX,
    Currency,
    InvoiceId,
    NamedAddress,
    Rate,
    RelayAddress,
    Signature,
    Uid,
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
    wish,
)
from tests.fakes_hostile import SECRET, ScriptedFriend, ask
from tests.sim.invariants import check_node

USD = Currency("USD")


def accept_terms(wires: Wires, card: Card, other: Card) -> None:
    terms = friend_report(card.friend(other), card.key).remote_terms
    assert terms is not None
    assert card.do(ResetFriendChannel(other.key, terms.terms_hash)) is None
    wires.run()


def sound(*cards: Card) -> None:
    for card in cards:
        check_node(card.state, tuple(card.state.friends))


# --- channels that die ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["cancel", "collect", "response and collect"])
@pytest.mark.parametrize("how", ["dispute", "remove"])
def test_an_answer_from_downstream_finds_its_upstream_gone(ending: str, how: str) -> None:
    """B4: it was taken for an own transaction and the node died, again after each start."""
    wires, (a, m, b) = chain("a", "m", "b")
    invoice = new_invoice(b, 10)
    if ending == "response and collect":
        strand_token(wires, b, m)
    assert start_payment(invoice, (a, m, b), 1) is None
    if ending == "response and collect":
        wires.connect(m, b)
    wires.run()
    commit = status(a, wish(1)).commit
    wires.cut(a, m)
    if how == "dispute":
        assert m.do(DisputeFriend(a.key)) is None
        terms = friend_report(m.friend(a), m.key).local_terms
        assert terms is not None
        assert terms.balances == ((FST, 10),), "what we still stand in for"
    else:
        assert m.do(RemoveFriend(a.key)) is CommandFault.PENDING_EXPOSURE
        assert m.do(RemoveFriend(a.key, force=True)) is None
    assert commit is not None
    what = CancelInvoice(invoice.invoice_id) if ending == "cancel" else CommitInvoice(commit)
    assert b.do(what) is None
    wires.run()
    losses = [one for one in m.records if isinstance(one, LossRecord)]
    assert [one.amount for one in losses] == ([] if ending == "cancel" else [10])
    assert m.balance(b) == (0 if ending == "cancel" else -10)
    sound(m, b)


@pytest.mark.parametrize("answered", [False, True])
def test_being_told_of_an_inconsistency_gives_upstream_its_credits_back(answered: bool) -> None:
    """B5: only the side that found out cancelled; upstream stayed frozen for ever."""
    wires, (a, m, b) = chain("a", "m", "b")
    if not answered:
        wires.tap = lambda src, dest, message: None if src is b else message
    assert start_payment(new_invoice(b, 10), (a, m, b), 1) is None
    wires.run()
    wires.tap = None
    assert a.frozen() == 10
    assert b.do(DisputeFriend(m.key)) is None
    wires.run()
    assert outcomes(a, 1)[-1] is TransactionOutcome.FAILURE
    assert (a.frozen(), m.ledger(a).remote_pending_debt) == (0, 0)
    sound(a, m, b)


def test_what_waits_for_a_friend_is_not_sent_once_its_sender_is_gone() -> None:
    """B14: the mediator forwarded it unprotected, or died when the next hop went away."""
    wires, (a, m, b) = chain("a", "m", "b")
    strand_token(wires, m, b)
    assert start_payment(new_invoice(b, 10), (a, m, b), 1) is None
    wires.run()
    assert len(m.friend(b).forwarded) == 1
    assert a.do(DisputeFriend(m.key)) is None
    wires.run()
    assert not m.friend(b).forwarded.items
    wires.connect(m, b)
    wires.run()
    m.feed(FriendOffline(b.key))
    assert m.ledger(b).local_pending_debt == 0
    sound(a, m, b)


@pytest.mark.parametrize("after", ["another request", "cancel", "commit"])
def test_an_invoice_forgets_requests_whose_channel_died(after: str) -> None:
    """B15: the next request for it, or cancelling it, killed the seller's node."""
    a, c, b = Card("a", 1), Card("c", 2), Card("b", 3)
    wires = Wires(a, c, b)
    for other in (a, c):
        befriend(other, b)
        wires.connect(other, b)
    befriend(a, c)
    wires.connect(a, c)
    wires.run()
    invoice = new_invoice(b, 10)
    payment_id = open_payment(a, invoice, 1)
    assert send_over(payment_id, 1, (a, b), 6) is None
    assert send_over(payment_id, 2, (a, c, b), 4) is None
    wires.run()
    commit = status(a, wish(1)).commit
    assert commit is not None
    assert b.do(DisputeFriend(c.key)) is None
    wires.run()
    if after == "cancel":
        assert b.do(CancelInvoice(invoice.invoice_id)) is None
    elif after == "commit":
        assert b.do(CommitInvoice(commit)) is CommandFault.COMMIT_INCOMPLETE
        assert b.do(CommitInvoice(commit, force=True)) is None
    else:
        assert start_payment(invoice, (a, b), 7) is None
    wires.run()
    sound(a, c, b)
    assert a.balance(b) == (-6 if after == "commit" else 0)


def test_terms_repeated_after_a_reset_do_not_break_it_again() -> None:
    """B16: reconnecting right after a reset threw the friend back."""
    wires, (a, b) = chain("a", "b")
    assert transfer(wires, (a, b), 10, 1)
    assert a.do(DisputeFriend(b.key)) is None
    wires.run()
    old = [(src, dest, m) for src, dest, m in wires.log if isinstance(m, InconsistencyMessage)]
    wires.tap = lambda src, dest, message: None
    terms = friend_report(b.friend(a), b.key).remote_terms
    assert terms is not None
    assert b.do(ResetFriendChannel(a.key, terms.terms_hash)) is None
    wires.run()
    wires.tap = None
    wires.connect(a, b)
    wires.run()
    assert a.friend(b).consistent is not None
    assert b.friend(a).consistent is not None
    cards = {"a": a, "b": b}
    for src, dest, message in old:
        link = wires.up[cards[src].key, cards[dest].key]
        cards[dest].feed(MessageArrived(cards[src].key, link, message))
        wires.run()
    assert a.friend(b).consistent is not None
    assert a.balance(b) == -10
    assert transfer(wires, (a, b), 1, 2)


def test_a_reset_accepted_while_the_friend_is_away_is_not_forgotten() -> None:
    """B17."""
    wires, (a, b) = chain("a", "b")
    assert a.do(DisputeFriend(b.key)) is None
    wires.run()
    wires.offline(a, b)
    terms = friend_report(b.friend(a), b.key).remote_terms
    assert terms is not None
    assert b.do(ResetFriendChannel(a.key, terms.terms_hash)) is None
    wires.connect(a, b)
    wires.run()
    assert transfer(wires, (a, b), 1, 1)


def test_terms_swapped_behind_the_same_reset_token_are_not_accepted() -> None:
    """B34: a person saw other balances than the node signed."""
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    shown = foe.offer(((FST, -5),))
    seen = friend_report(foe.as_friend, m.key).remote_terms
    assert seen is not None
    foe.offer(((FST, 5_000),), 1, shown.reset_token)
    refused = m.do(ResetFriendChannel(foe.key, seen.terms_hash))
    assert refused is CommandFault.RESET_TERMS_MISMATCH
    assert not foe.is_trusted


# --- currencies -----------------------------------------------------------------------------------


@covers("FIX-12")
def test_a_currency_of_an_inconsistent_channel_can_be_removed() -> None:
    """B7: the node died."""
    wires, (a, b) = chain("a", "b")
    assert a.do(DisputeFriend(b.key)) is None
    wires.run()
    a.do(RemoveFriendCurrency(b.key, FST))
    accept_terms(wires, b, a)
    sound(a, b)
    assert_settled(a, b)


@pytest.mark.parametrize("far", [False, True])
def test_a_currency_removed_while_the_friend_activates_it_harms_nobody(far: bool) -> None:
    """B8: an assertion failed in the next move token."""
    wires, (a, b) = chain("a", "b")
    first, second = (b, a) if far else (a, b)
    assert first.do(SetFriendCurrencyMaxDebt(second.key, USD, 5)) is None
    wires.run()
    strand_token(wires, first, second)
    assert second.do(SetFriendCurrencyMaxDebt(first.key, USD, 5)) is None
    assert first.do(RemoveFriendCurrency(second.key, USD)) is None
    wires.connect(a, b)
    wires.run()
    assert first.friend(second).consistent is not None
    assert USD not in first.friend(second).consistent.ledgers  # type: ignore[union-attr]
    assert USD not in first.friend(second).configs
    assert transfer(wires, (a, b), 1, 1)
    sound(a, b)


# --- links and relays -----------------------------------------------------------------------------


def test_new_relays_of_a_friend_are_told_to_the_link_manager_at_once() -> None:
    """B18: the transport kept dialling the old ones until the next start."""
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    foe.take_token()
    token, _ = foe.sealed({}, relays=(RelayAddress(m.key, "new.net:1"),))
    effects = m.feed(MessageArrived(foe.key, foe.link, MoveTokenMessage(token, token_wanted=False)))
    assert ConnectionsChanged() in effects
    assert foe.as_friend.remote_relays == (RelayAddress(m.key, "new.net:1"),)


def test_reconnecting_without_work_sends_no_new_token() -> None:
    """B32: an empty move token on every reconnect, and resends that triggered resends."""
    wires, (a, b) = chain("a", "b")
    assert transfer(wires, (a, b), 1, 1)
    counters = _counters(a, b)
    for _ in range(5):
        wires.cut(a, b)
        wires.connect(a, b)
        assert wires.run() <= 2
    assert _counters(a, b) == counters


def _counters(a: Card, b: Card) -> tuple[int, int]:
    ours, theirs = a.friend(b).consistent, b.friend(a).consistent
    assert ours is not None
    assert theirs is not None
    return ours.move_token_counter, theirs.move_token_counter


def test_a_removed_and_added_friend_is_online_by_its_new_link_only() -> None:
    """B36: news of the old friendship's connection were taken for the new one's."""
    wires, (a, b) = chain("a", "b")
    old = wires.up[a.key, b.key]
    assert a.do(RemoveFriend(b.key)) is None
    assert a.do(AddFriend(b.key, (), "b"), EnableFriend(b.key)) is None
    assert not a.friend(b).is_online
    a.feed(MessageArrived(b.key, old, TokenWantedMessage(Signature(bytes(64)))))
    assert not a.friend(b).is_online
    a.feed(LinkAdopted(b.key, old + 1))
    assert a.friend(b).is_online


@covers("FIX-37")
def test_a_known_relay_can_be_changed_when_no_more_can_be_added() -> None:
    """B37."""
    a = Card("a", 1)
    relays = [
        NamedAddress(Card(f"r{n}", 100 + n).key, f"r{n}.net:1") for n in range(RELAYS_MAX + 1)
    ]
    for relay in relays[:-1]:
        assert a.do(AddRelay(relay)) is None
    assert a.do(AddRelay(relays[-1])) is CommandFault.LIMIT_REACHED
    moved = NamedAddress(relays[3].public_key, "moved.net:2", "moved")
    assert a.do(AddRelay(moved)) is None
    assert moved in a.state.relays
    assert len(a.state.relays) == RELAYS_MAX


# --- payments -------------------------------------------------------------------------------------


def test_a_refused_command_says_so_to_whoever_gave_it() -> None:
    """B21: every command looked fine, even a refused commit."""
    a = Card("a", 1)
    assert a.do(CancelInvoice(InvoiceId(bytes(32)))) is CommandFault.INVOICE_DOES_NOT_EXIST
    done = a.done[-1]
    assert (done.fault, done.detail) == (CommandFault.INVOICE_DOES_NOT_EXIST, "CancelInvoice")


def test_a_commit_can_be_fetched_again_after_the_payment_was_closed() -> None:
    """B22."""
    wires, (a, b) = chain("a", "b")
    assert start_payment(new_invoice(b, 10), (a, b), 1) is None
    assert status(a, wish(1)).commit is None
    wires.run()
    first = status(a, wish(1)).commit
    assert first is not None
    assert status(a, wish(1)).commit == first
    assert send_over(wish(1), 1, (a, b), 10) is None
    assert a.done[-1].notices, "the stored result again"


def test_a_failure_after_a_success_is_reported_too() -> None:
    """B23: only the first result of a request reached the program."""
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    assert start_payment(invoice, (a, b), 1) is None
    wires.run()
    assert b.do(CancelInvoice(invoice.invoice_id)) is None
    wires.run()
    assert outcomes(a, 1) == [TransactionOutcome.COMPLETE, TransactionOutcome.FAILURE]


def test_a_bogus_commit_never_takes_the_place_of_a_genuine_one() -> None:
    """B25: whatever commit came last was kept, verified or not."""
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    assert start_payment(invoice, (a, b), 1) is None
    wires.run()
    genuine = status(a, wish(1)).commit
    assert genuine is not None
    bogus = type(genuine)(
        genuine.response_hash,
        SECRET,
        genuine.dest_hashed_lock,
        10,
        10,
        genuine.invoice_id,
        FST,
        genuine.signature,
    )
    for commit, fault in (
        (bogus, CommandFault.INVALID_COMMIT),
        (genuine, None),
        (bogus, CommandFault.INVALID_COMMIT),
        (genuine, None),
    ):
        assert b.do(RegisterCommit(commit)) is fault
    assert b.state.invoices[invoice.invoice_id].registered == genuine
    assert b.do(CommitInvoice(genuine)) is None
    assert b.do(CommitInvoice(bogus)) is CommandFault.INVALID_COMMIT
    assert b.do(CommitInvoice(genuine)) is None, "again is fine, and collects nothing twice"
    wires.run()
    assert b.balance(a) == 10


def test_a_payment_whose_parts_are_all_accepted_but_never_complete_comes_to_an_end() -> None:
    """B26: it hung in state sending. Only a foul seller does this; the buyer must not wait for ever."""
    a = Card("a", 1)
    seller = ScriptedFriend("seller", 11, a)
    invoice = Invoice(InvoiceId(b"\x01" * 32), FST, seller.key, 10)
    assert a.do(Pay(wish(1), invoice, 0)) is None
    answered: list[Uid] = []
    for _ in range(6):
        seller.say()
        seller.take_token()
        request = seller.last_request
        if request.request_id not in answered:
            answered.append(request.request_id)
            seller.say(seller.answer_to(request, is_complete=False))
        a.pass_time(120_000)
    assert a.intent(wish(1)).stage is PayStage.FAILED
    assert a.intent(wish(1)).commit is None


def test_incomplete_groups_do_not_freeze_credits_for_ever() -> None:
    """B30: there were no timers at all."""
    wires, (a, b) = chain("a", "b")
    payment_id = open_payment(a, new_invoice(b, 10), 1)
    assert send_over(payment_id, 1, (a, b), 6) is None
    wires.run()
    assert a.frozen() == 6
    b.pass_time(b.env.timers.group_unsealed_ms)
    wires.run()
    assert_settled(a, b)


def test_removing_a_friend_that_is_both_ends_of_a_waiting_request_is_safe() -> None:
    """B31: such a route is refused from the start, so nothing can wait."""
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    foe.say(ask(1, 5, (foe.key,)))
    assert not foe.as_friend.forwarded.items
    assert m.do(RemoveFriend(foe.key, force=True)) is None
    sound(m)


def test_responses_of_one_token_go_back_in_the_order_of_their_requests() -> None:
    """B35."""
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    new_invoice(m, 10)
    foe.say(*(ask(n, 2, total=10) for n in (5, 3, 9)))
    foe.take_token()
    assert [one.operation.request_id[0] for one in foe.applied] == [5, 3, 9]
    assert all(isinstance(one.operation, ResponseOp) for one in foe.applied)


def test_a_mediator_keeps_exactly_its_rate_and_says_so_in_its_history() -> None:
    """B38: what is left over goes to the seller, and nobody else takes more than its rate."""
    wires, (a, m, b) = chain("a", "m", "b", charges={"m": Rate(0, 3)})
    assert transfer(wires, (a, m, b), 10, 1, fees=8)
    assert (a.balance(m), m.balance(a) + m.balance(b), b.balance(m)) == (-18, 3, 15)


def test_messages_are_never_answered_without_end() -> None:
    """B32: two nodes that resend at once fall silent."""
    wires, (a, b) = chain("a", "b")

    def echo(src: Card, dest: Card, message: FriendMessage) -> FriendMessage:
        dest.feed(MessageArrived(src.key, wires.up[src.key, dest.key], message))
        return message

    wires.tap = echo
    assert transfer(wires, (a, b), 10, 1)
    assert wires.run() == 0
    assert a.balance(b) == -10
    channel = a.friend(b).channel
    assert isinstance(channel, TokenChannel)


def test_locks_of_two_groups_of_an_invoice_differ() -> None:
    """B11: with a shared one the first collect would forge receipts for the other group."""
    m = Card("m", 1)
    foe = ScriptedFriend("foe", 11, m)
    invoice = new_invoice(m, 10)
    foe.say(ask(1, 10), ask(2, 10, lock=hash_lock(SECRET)))
    groups = m.state.invoices[invoice.invoice_id].groups
    assert len({group.dest_plain_lock for group in groups.values()}) == len(groups) == 2
