"""PT28 to PT50: resends, relays, resets, dying channels, removed currencies, restarts."""

from dataclasses import replace
from itertools import permutations

import pytest

from offset_engine.core.api import (
    AddFriend,
    AddRelay,
    CancelInvoice,
    CommandFault,
    CommitInvoice,
    DisableFriend,
    DisputeFriend,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveRelay,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    TransactionOutcome,
)
from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.crypto import public_key_of, speaks_first
from offset_engine.core.events import ConnectionsChanged, MessageArrived
from offset_engine.core.friend import RelaysSent, listen_relays
from offset_engine.core.messages import (
    CollectOp,
    CurrencyOperations,
    FriendMessage,
    InconsistencyMessage,
    MoveToken,
    MoveTokenMessage,
    RequestOp,
    ResetTerms,
    ResponseOp,
    cancel_op,
    collect_op,
)
from offset_engine.core.report import friend_report, pending
from offset_engine.core.reports import ForwardRecord, LossRecord, ResetRecord
from offset_engine.core.signing import Commit, genesis, move_token_buffer, terms_hash
from offset_engine.core.token_channel import Incoming, Inconsistent, TokenChannel, prefix_of
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    RESET_COUNTER_MAX,
    RESET_COUNTER_STEP_MAX,
    Currency,
    HashResult,
    NamedAddress,
    PlainLock,
    PrivateKey,
    Rate,
    Signature,
)
from offset_engine.errors import DecodeError
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
    pay_and_collect,
    reloaded,
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


def carries(message: FriendMessage, kind: type[object]) -> bool:
    """Whether a message brings an operation of this kind."""
    return isinstance(message, MoveTokenMessage) and any(
        isinstance(op, kind)
        for batch in message.move_token.currencies_operations
        for op in batch.operations
    )


def channel(card: Card, other: Card) -> TokenChannel:
    found = card.friend(other).consistent
    assert found is not None
    return found


def rupture(card: Card, other: Card) -> Inconsistent:
    found = card.friend(other).channel
    assert isinstance(found, Inconsistent)
    return found


def corrupt(card: Card, other: Card) -> None:
    """Let a card receive a move token from a friend that cannot be the friend's next one."""
    link = card.friend(other).link_id
    assert link is not None
    token = replace(genesis(card.key, other.key), new_token=Signature(b"x" * 64))
    card.feed(MessageArrived(other.key, link, MoveTokenMessage(token, token_wanted=False)))
    rupture(card, other)


def accept(card: Card, other: Card) -> CommandFault | None:
    """Accept the friend's terms, as the report shows them."""
    shown = friend_report(card.friend(other), card.key).remote_terms
    assert shown is not None
    return card.do(ResetFriendChannel(other.key, shown.terms_hash))


def pay(wires: Wires, route: tuple[Card, ...], amount: int, number: int, fees: int = 0) -> Commit:
    """Send a whole payment over one route; returns its commit."""
    invoice = new_invoice(route[-1], amount, number)
    assert send_over(open_payment(route[0], invoice, number), number, route, amount, fees) is None
    wires.run()
    commit = status(route[0], wish(number)).commit
    assert commit is not None
    return commit


def transfer(wires: Wires, route: tuple[Card, ...], amount: int, number: int) -> None:
    """A whole payment, collected."""
    assert route[-1].do(CommitInvoice(pay(wires, route, amount, number))) is None
    wires.run()


# --- resends and relays -------------------------------------------------------------------------


@covers("PT28")
@pytest.mark.parametrize("loses", ["a", "b"])
def test_both_sides_resend_and_have_work_and_it_ends(loses: str) -> None:
    wires, (a, b) = chain("a", "b")
    wires.tap = lambda src, _dest, message: None if src.name == loses else message
    for card in (a, b):
        assert card.do(SetFriendCurrencyRate(b.key if card is a else a.key, USD, Rate())) is None
    wires.run()
    wires.tap = None
    wires.connect(a, b)
    assert wires.run() <= 4
    assert_mirrored(a, b)
    assert sorted(channel(a, b).ledgers) == [FST, USD]
    wires.connect(a, b)
    assert wires.run() <= 1


@covers("PT29")
def test_until_a_friend_confirms_new_relays_it_is_awaited_at_the_old_ones_too() -> None:
    wires, (a, b) = chain("a", "b")
    assert a.do(AddRelay(relay(8))) is None
    wires.run()
    assert a.friend(b).relays_sent == RelaysSent((relay(8).relay,))
    wires.offline(a, b)
    assert a.do(RemoveRelay(relay(8).public_key), AddRelay(relay(9))) is None
    both = {relay(8).relay, relay(9).relay}
    assert set(listen_relays(a.friend(b), a.state.own_relays)) == both
    wires.tap = lambda src, _dest, message: None if src is b else message
    wires.connect(a, b)
    wires.run()
    assert a.friend(b).relays_sent == RelaysSent((relay(9).relay,), (relay(8).relay,))
    assert set(listen_relays(a.friend(b), a.state.own_relays)) == both
    assert b.friend(a).remote_relays == (relay(9).relay,)  # the friend dials the new one at once

    wires.tap = None
    wires.connect(a, b)
    wires.run()
    assert a.friend(b).relays_sent == RelaysSent((relay(9).relay,))
    assert listen_relays(a.friend(b), a.state.own_relays) == (relay(9).relay,)


@covers("PT29")
def test_a_changed_list_of_relays_reaches_the_link_manager_at_once() -> None:
    wires, (a, b) = chain("a", "b")
    effects: list[object] = []
    feed = b.feed
    b.feed = lambda *events: _remember(effects, feed(*events))  # type: ignore[method-assign]
    assert a.do(AddRelay(relay(8))) is None
    wires.run()
    assert ConnectionsChanged() in effects
    assert b.friend(a).remote_relays == (relay(8).relay,)


def _remember(effects: list[object], new: tuple[object, ...]) -> tuple[object, ...]:
    effects.extend(new)
    return new


# --- unfriending and resets ---------------------------------------------------------------------


@covers("PT30")
def test_a_friend_forgotten_by_one_side_is_reset_to_the_terms_one_accepts() -> None:
    wires, (a, b) = chain("a", "b")
    transfer(wires, (a, b), 10, 1)
    assert a.do(RemoveFriend(b.key)) is CommandFault.PENDING_EXPOSURE
    assert a.do(RemoveFriend(b.key, force=True)) is None
    assert b.key not in a.state.friends
    wires.cut(a, b)
    assert a.do(AddFriend(b.key, (), "b"), EnableFriend(b.key)) is None
    wires.connect(a, b)
    wires.run()
    assert rupture(b, a).local_terms.balances == ((FST, 10),)
    assert rupture(a, b).local_terms.balances == ()
    assert accept(a, b) is None
    wires.run()
    assert (a.balance(b), b.balance(a)) == (-10, 10)
    assert_mirrored(a, b)


@covers("PT30")
def test_the_side_that_forgot_may_also_be_the_one_whose_terms_are_accepted() -> None:
    wires, (a, b) = chain("a", "b")
    transfer(wires, (a, b), 10, 1)
    assert a.do(RemoveFriend(b.key, force=True)) is None
    wires.cut(a, b)
    assert a.do(AddFriend(b.key, (), "b"), EnableFriend(b.key), AddRelay(relay(8))) is None
    wires.connect(a, b)
    wires.run()
    assert a.friend(b).relays_sent is None
    assert accept(b, a) is None
    wires.run()
    assert FST not in channel(a, b).ledgers
    assert b.friend(a).remote_relays == (relay(8).relay,)
    assert_mirrored(a, b)


@covers("PT31")
def test_a_friendship_removed_and_made_again_by_both_begins_anew() -> None:
    wires, (a, b) = chain("a", "b")
    transfer(wires, (a, b), 10, 1)
    assert a.do(RemoveFriend(b.key, force=True)) is None
    assert b.do(RemoveFriend(a.key, force=True)) is None
    wires.cut(a, b)
    befriend(a, b)
    wires.connect(a, b)
    wires.run()
    assert a.balance(b) == 0
    assert channel(a, b).inconsistency_counter == 0
    transfer(wires, (a, b), 7, 2)
    assert (a.balance(b), b.balance(a)) == (-7, 7)


def mismatch(wires: Wires, a: Card, b: Card) -> None:
    """After b was paid 10, make b believe it was paid nothing, and let them notice."""
    transfer(wires, (a, b), 10, 1)
    channel(b, a).ledgers[FST].balance = 0
    for card, other in ((a, b), (b, a)):
        assert card.do(SetFriendCurrencyRate(other.key, USD, Rate())) is None
    wires.run()


@covers("PT32")
@pytest.mark.parametrize(("accepts", "balance"), [("a", 0), ("b", -10)])
def test_different_balances_are_noticed_and_a_person_chooses(accepts: str, balance: int) -> None:
    wires, (a, b) = chain("a", "b")
    mismatch(wires, a, b)
    assert dict(rupture(a, b).local_terms.balances)[FST] == -10
    assert dict(rupture(b, a).local_terms.balances)[FST] == 0
    for card, other in ((a, b), (b, a)):
        assert rupture(card, other).local_terms.inconsistency_counter == 1
        assert rupture(card, other).remote_terms == rupture(other, card).local_terms
    one, other = (a, b) if accepts == "a" else (b, a)
    assert accept(one, other) is None
    wires.run()
    assert (a.balance(b), b.balance(a)) == (balance, -balance)
    assert channel(a, b).inconsistency_counter == channel(b, a).inconsistency_counter == 1
    assert_mirrored(a, b)
    (settled,) = [record for record in one.records if isinstance(record, ResetRecord)]
    assert dict(settled.balances)[FST] == one.balance(other)
    transfer(wires, (a, b), 5, 2)
    assert a.balance(b) == balance - 5


@covers("PT32")
def test_a_currency_met_in_terms_is_configured_closed_and_without_credit() -> None:
    wires, (a, b) = chain("a", "b")
    transfer(wires, (a, b), 10, 1)
    assert a.do(RemoveFriend(b.key, force=True)) is None
    wires.cut(a, b)
    assert a.do(AddFriend(b.key, (), "b"), EnableFriend(b.key)) is None
    wires.connect(a, b)
    wires.run()
    assert accept(a, b) is None
    config = a.friend(b).configs[FST]
    assert (config.rate, config.max_debt, config.is_open) == (Rate(), 0, False)
    assert a.do(OpenFriendCurrency(b.key, FST)) is None
    wires.run()
    transfer(wires, (a, b), 5, 2)
    assert a.balance(b) == -15


@covers("PT33")
@pytest.mark.parametrize("order", list(permutations(["disable", "offline", "restart"])))
def test_terms_survive_whatever_happens_to_the_connection(order: tuple[str, ...]) -> None:
    wires, (a, b) = chain("a", "b")
    mismatch(wires, a, b)
    terms = rupture(a, b).local_terms, rupture(a, b).remote_terms
    for what in order:
        if what == "disable":
            assert a.do(DisableFriend(b.key)) is None
            wires.cut(a, b)
            assert a.do(EnableFriend(b.key)) is None
        elif what == "offline":
            wires.offline(a, b)
        else:
            wires.restart(a, reloaded(a.state))
        wires.connect(a, b)
        wires.run()
        assert (rupture(a, b).local_terms, rupture(a, b).remote_terms) == terms
    assert accept(b, a) is None
    wires.run()
    assert (a.balance(b), b.balance(a)) == (-10, 10)


@covers("PT34")
def test_a_lost_reset_is_sent_again_and_old_terms_no_longer_count() -> None:
    wires, (a, b) = chain("a", "b")
    mismatch(wires, a, b)
    old = [
        (src, message) for src, _, message in wires.log if isinstance(message, InconsistencyMessage)
    ]
    wires.tap = lambda _src, _dest, _message: None
    assert accept(a, b) is None
    wires.run()
    wires.tap = None
    wires.connect(a, b)
    wires.run()
    assert (a.balance(b), b.balance(a)) == (0, 0)
    assert_mirrored(a, b)
    for src, message in old:
        dest, other = (b, a) if src == "a" else (a, b)
        link = dest.friend(other).link_id
        assert link is not None
        dest.feed(MessageArrived(other.key, link, message))
    assert wires.run() <= 1
    assert_mirrored(a, b)


@covers("PT34")
def test_terms_that_arrive_after_they_were_accepted_do_not_break_the_reset() -> None:
    wires, (a, b) = chain("a", "b")
    mismatch(wires, a, b)
    accepted = rupture(b, a).local_terms
    wires.cut(a, b)
    assert accept(a, b) is None
    wires.connect(a, b)
    link = a.friend(b).link_id
    assert link is not None
    a.feed(MessageArrived(b.key, link, InconsistencyMessage(accepted)))
    assert a.friend(b).consistent is not None
    wires.run()
    assert_mirrored(a, b)


@covers("PT35")
@pytest.mark.parametrize("begins", ["low", "high"])
def test_when_both_accept_at_once_the_lower_side_wins(begins: str) -> None:
    wires, (a, b) = chain("a", "b")
    mismatch(wires, a, b)
    low, high = (b, a) if speaks_first(a.key, b.key) else (a, b)
    offered_by_high = dict(rupture(high, low).local_terms.balances)[FST]
    wires.cut(a, b)
    assert accept(a, b) is None
    assert accept(b, a) is None
    wires.connect(a, b)
    order = (low, high) if begins == "low" else (high, low)
    wires.cards = {card.key: card for card in order}
    wires.run()
    assert high.balance(low) == offered_by_high
    assert_mirrored(a, b)
    assert channel(a, b).inconsistency_counter == channel(b, a).inconsistency_counter == 1
    transfer(wires, (a, b), 1, 2)
    assert_settled(a, b)


@covers("PT36")
def test_a_reset_needs_terms_of_the_friend_and_exactly_those() -> None:
    wires, (a, b) = chain("a", "b")
    nothing = HashResult(bytes(32))
    assert a.do(ResetFriendChannel(b.key, nothing)) is CommandFault.NOT_INVITED_TO_RESET
    wires.cut(a, b)
    assert a.do(DisputeFriend(b.key)) is None
    assert a.do(ResetFriendChannel(b.key, nothing)) is CommandFault.NOT_INVITED_TO_RESET
    wires.connect(a, b)
    wires.run()
    assert a.do(ResetFriendChannel(b.key, nothing)) is CommandFault.RESET_TERMS_MISMATCH
    stranger = Card("x", 9)
    assert a.do(ResetFriendChannel(stranger.key, nothing)) is CommandFault.FRIEND_DOES_NOT_EXIST
    assert a.do(DisputeFriend(stranger.key)) is CommandFault.FRIEND_DOES_NOT_EXIST
    assert a.do(DisputeFriend(b.key)) is CommandFault.CHANNEL_INCONSISTENT


@covers("PT36")
def test_a_reset_accepted_while_the_friend_is_away_takes_effect_when_it_returns() -> None:
    wires, (a, b) = chain("a", "b")
    mismatch(wires, a, b)
    wires.offline(a, b)
    assert accept(a, b) is None
    assert a.balance(b) == 0
    wires.restart(a, reloaded(a.state))
    wires.connect(a, b)
    wires.run()
    assert_mirrored(a, b)
    assert b.balance(a) == 0


@covers("PT37")
def test_terms_swapped_behind_the_same_token_are_refused() -> None:
    wires, (a, b) = chain("a", "b")
    mismatch(wires, a, b)
    shown = friend_report(a.friend(b), a.key).remote_terms
    terms = rupture(a, b).remote_terms
    assert shown is not None
    assert terms is not None
    dearer = replace(terms, balances=((FST, 99), (USD, 0)))
    link = a.friend(b).link_id
    assert link is not None
    a.feed(MessageArrived(b.key, link, InconsistencyMessage(dearer)))
    command = ResetFriendChannel(b.key, shown.terms_hash)
    assert a.do(command) is CommandFault.RESET_TERMS_MISMATCH
    rupture(a, b)


@covers("PT38")
@pytest.mark.parametrize(
    ("counter", "is_fine"),
    [
        (0, False),
        (1, True),
        (RESET_COUNTER_STEP_MAX, True),
        (RESET_COUNTER_STEP_MAX + 1, False),
        (RESET_COUNTER_MAX, False),
    ],
)
def test_the_counter_of_terms_must_be_ahead_but_not_far_ahead(counter: int, is_fine: bool) -> None:
    _wires, (a, b) = chain("a", "b")
    link = a.friend(b).link_id
    assert link is not None
    terms = ResetTerms(Signature(b"t" * 64), counter, ((FST, 3),))
    a.feed(MessageArrived(b.key, link, InconsistencyMessage(terms)))
    shown = friend_report(a.friend(b), a.key).remote_terms
    assert shown is not None
    assert shown.is_acceptable is is_fine
    assert shown.balances == ((FST, -3),)
    fault = a.do(ResetFriendChannel(b.key, terms_hash(b.key, a.key, terms)))
    assert fault is (None if is_fine else CommandFault.RESET_TERMS_MISMATCH)
    if is_fine:
        assert a.balance(b) == -3


@covers("PT38")
@pytest.mark.parametrize(
    "balances",
    [
        ((FST, 1), (FST, 2)),
        ((FST, -(2**127)),),
        ((FST, CREDITS_MAX + 1),),
        tuple((Currency(f"C{number:02}"), 0) for number in range(ACTIVE_CURRENCIES_MAX + 1)),
        ((Currency("seventeen-letters"), 0),),
        ((USD, 0), (FST, 0)),
    ],
)
def test_terms_that_no_card_would_offer_are_not_even_read(
    balances: tuple[tuple[Currency, int], ...],
) -> None:
    message = InconsistencyMessage(ResetTerms(Signature(bytes(64)), 1, balances))
    try:
        data = encode_friend_message(message)
    except (OverflowError, ValueError):
        return
    with pytest.raises(DecodeError):
        decode_friend_message(data)


def test_a_friend_whose_counter_is_ahead_is_followed() -> None:
    _wires, (a, b) = chain("a", "b")
    link = a.friend(b).link_id
    assert link is not None
    assert a.do(DisputeFriend(b.key)) is None
    mine = rupture(a, b).local_terms
    theirs = ResetTerms(Signature(b"t" * 64), 7, ())
    a.feed(MessageArrived(b.key, link, InconsistencyMessage(theirs)))
    assert rupture(a, b).local_terms.inconsistency_counter == 7
    assert rupture(a, b).local_terms.reset_token != mine.reset_token
    assert rupture(a, b).local_terms.balances == mine.balances
    before = a.state
    a.feed(MessageArrived(b.key, link, InconsistencyMessage(theirs)))  # again: nothing new
    assert a.friend(b) == before.friends[b.key]


# --- channels that die with money in flight -----------------------------------------------------


@covers("PT39", "PT40", "PAY-09")
@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize("is_answered", [False, True])
def test_a_dead_channel_behind_the_mediator_ends_the_payment(
    is_told: bool, is_answered: bool
) -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    if not is_answered:
        wires.tap = lambda _src, _dest, message: None if carries(message, ResponseOp) else message
    payment = open_payment(a, new_invoice(b, 5), 1)
    assert send_over(payment, 1, (a, m, b), 5) is None
    wires.run()
    assert a.frozen() == 5
    wires.tap = None
    if is_told:
        assert b.do(DisputeFriend(m.key)) is None
    else:
        corrupt(m, b)
    wires.run()
    assert outcomes(a, 1) == ([COMPLETE, FAILURE] if is_answered else [FAILURE])
    assert status(a, payment).stage == "canceled"
    assert a.balance(m) == a.frozen() == 0
    assert_mirrored(a, m)
    assert not m.state.outgoing_ids
    assert dict(rupture(m, b).local_terms.balances)[FST] == 0


def orphaned(wires: Wires, cards: list[Card], *, is_answered: bool) -> Commit | None:
    """A payment of 5 over M whose upstream channel dies while it is with B."""
    a, m, b = cards
    commit = None
    if is_answered:
        commit = pay(wires, (a, m, b), 5, 1)
    else:
        wires.tap = lambda _src, _dest, message: None if carries(message, ResponseOp) else message
        payment = open_payment(a, new_invoice(b, 5), 1)
        assert send_over(payment, 1, (a, m, b), 5) is None
        wires.run()
    wires.cut(a, m)
    assert m.do(DisputeFriend(a.key)) is None
    assert dict(rupture(m, a).local_terms.balances)[FST] == 5
    (entry,) = m.ledger(b).local.values()
    assert entry.origin is None
    wires.tap = None
    return commit


@covers("PT41")
@pytest.mark.parametrize("answer", ["response", "cancel", "collect"])
def test_an_answer_that_nobody_upstream_waits_for_is_survived(answer: str) -> None:
    wires, cards = chain("a", "m", "b")
    a, m, b = cards
    commit = orphaned(wires, cards, is_answered=answer == "collect")
    if answer == "response":
        wires.connect(m, b)
        wires.run()
        (entry,) = m.ledger(b).local.values()
        assert entry.response is not None
        assert not m.friend(b).lost
    elif answer == "cancel":
        assert b.do(CancelInvoice(next(iter(b.state.invoices)))) is None
        wires.connect(m, b)
        wires.run()
        assert m.balance(b) == m.ledger(b).local_pending_debt == 0
        assert not m.friend(b).lost
    else:
        assert commit is not None
        assert b.do(CommitInvoice(commit)) is None
        wires.run()
        assert m.balance(b) == -5
        assert m.friend(b).lost == ((FST, 5),)
        assert [r.amount for r in m.records if isinstance(r, LossRecord)] == [5]
        assert friend_report(m.friend(b), m.key).lost == ((FST, 5),)
        assert not [record for record in m.records if isinstance(record, ForwardRecord)]
    wires.connect(a, m)
    wires.run()
    assert outcomes(a, 1)[-1] is FAILURE
    if answer == "collect":  # a's user makes it good by accepting m's terms
        assert accept(a, m) is None
        wires.run()
        assert m.balance(a) + m.balance(b) == 0


@covers("PT41")
def test_an_orphan_whose_own_channel_dies_too_troubles_nobody() -> None:
    wires, cards = chain("a", "m", "b")
    a, m, b = cards
    orphaned(wires, cards, is_answered=True)
    corrupt(m, b)
    assert not m.state.outgoing_ids
    assert not m.friend(b).lost
    wires.connect(a, m)
    wires.run()
    assert dict(rupture(m, a).local_terms.balances)[FST] == 5


@covers("PT42")
def test_removing_the_friend_a_payment_came_from_orphans_it() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    commit = pay(wires, (a, m, b), 5, 1)
    assert m.do(RemoveFriend(a.key)) is CommandFault.PENDING_EXPOSURE
    assert m.do(RemoveFriend(a.key, force=True)) is None
    wires.cut(a, m)
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert m.balance(b) == -5
    assert m.friend(b).lost == ((FST, 5),)


@covers("PT43")
@pytest.mark.parametrize("how", ["inconsistent", "removed"])
def test_a_queued_request_dies_with_the_channel_it_came_over(how: str) -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    strand_token(wires, m, b)
    assert send_over(open_payment(a, new_invoice(b, 5), 1), 1, (a, m, b), 5) is None
    wires.run()
    assert len(m.friend(b).forwarded) == 1
    if how == "inconsistent":
        assert m.do(DisputeFriend(a.key)) is None
    else:
        assert m.do(RemoveFriend(a.key, force=True)) is None
    assert not m.friend(b).forwarded.items
    assert not m.state.outgoing_ids
    wires.connect(m, b)
    said = len(wires.log)
    wires.run()
    assert not any(carries(message, RequestOp) for _, _, message in wires.log[said:])
    assert m.frozen() == b.frozen() == 0


@covers("PT44")
def test_a_group_that_lost_a_part_counts_what_is_left() -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    for number, hop in ((1, m), (2, n)):
        assert send_over(payment, number, (a, hop, b), 3) is None
    wires.run()
    (group,) = b.state.invoices[invoice.invoice_id].groups.values()
    assert group.sum == 6
    corrupt(b, m)
    wires.run()
    (group,) = b.state.invoices[invoice.invoice_id].groups.values()
    assert group.sum == 3
    assert outcomes(a, 1) == [SUCCESS, FAILURE]
    assert send_over(payment, 4, (a, n, b), 7) is None
    wires.run()
    assert outcomes(a, 4) == [COMPLETE]
    assert dict(rupture(b, m).local_terms.balances)[FST] == 0


@covers("PT44")
@pytest.mark.parametrize("end", ["cancel", "force"])
def test_a_sealed_group_that_lost_a_part_is_not_collected_by_accident(end: str) -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    for number, hop, amount in ((1, m, 6), (2, n, 4)):
        assert send_over(payment, number, (a, hop, b), amount) is None
    wires.run()
    commit = status(a, payment).commit
    assert commit is not None
    corrupt(b, m)
    wires.run()
    assert b.do(CommitInvoice(commit)) is CommandFault.COMMIT_INCOMPLETE
    assert send_over(open_payment(a, invoice, 2), 3, (a, n, b), 6) is None  # another lock: welcome
    wires.run()
    assert outcomes(a, 3) == [SUCCESS]
    if end == "cancel":
        assert b.do(CancelInvoice(invoice.invoice_id)) is None
        wires.run()
        assert b.balance(n) == n.balance(a) == 0
    else:
        assert b.do(CommitInvoice(commit, force=True)) is None
        wires.run()
        assert b.balance(n) == n.balance(a) == 4
    assert n.frozen() == 0


@covers("PT45")
def test_a_valid_collect_in_a_rejected_token_counts_as_paid() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    for one, other in ((m, b), (b, m)):
        assert one.do(SetFriendCurrencyRate(other.key, USD, Rate())) is None
    commit = pay(wires, (a, m, b), 5, 1)

    def spoil(src: Card, _dest: Card, message: FriendMessage) -> FriendMessage:
        if src is b and isinstance(message, MoveTokenMessage) and carries(message, CollectOp):
            token = replace(message.move_token, info_hash=HashResult(bytes(32)))
            return MoveTokenMessage(token, message.token_wanted)
        return message

    wires.tap = spoil
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert status(a, wish(1)).stage == "success"
    assert (a.balance(m), m.balance(a)) == (-5, 5)
    assert dict(rupture(m, b).local_terms.balances)[FST] == -5
    assert dict(rupture(b, m).local_terms.balances)[FST] == 5
    (record,) = [r for r in m.records if isinstance(r, ForwardRecord)]
    assert (record.amount, record.fee) == (5, 0)


@pytest.mark.parametrize("wrong", ["lock", "unanswered", "unknown"])
def test_a_collect_that_opens_nothing_is_not_salvaged(wrong: str) -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    if wrong == "unanswered":
        wires.tap = lambda _src, _dest, message: None if carries(message, ResponseOp) else message
        assert send_over(open_payment(a, new_invoice(b, 5), 1), 1, (a, m, b), 5) is None
        wires.run()
    else:
        pay(wires, (a, m, b), 5, 1)
    link = m.friend(b).link_id
    assert link is not None
    collect = collect_op(
        uid(9) if wrong == "unknown" else uid(1), PlainLock(bytes(32)), PlainLock(bytes(32))
    )
    token = replace(
        genesis(m.key, b.key),
        currencies_operations=(
            CurrencyOperations(USD, (collect,)),
            CurrencyOperations(FST, (cancel_op(uid(1)), collect)),
        ),
    )
    m.feed(MessageArrived(b.key, link, MoveTokenMessage(token, token_wanted=False)))
    wires.tap = None
    wires.run()
    assert outcomes(a, 1)[-1] is FAILURE
    assert m.balance(a) == 0


@pytest.mark.parametrize("is_answered", [False, True])
def test_the_seller_stands_in_for_what_it_has_begun_to_collect(is_answered: bool) -> None:
    wires, (a, b) = chain("a", "b")
    commit = pay(wires, (a, b), 5, 1)
    strand_token(wires, b, a)
    if is_answered:
        assert b.do(CommitInvoice(commit)) is None
    assert b.do(DisputeFriend(a.key)) is None
    terms = rupture(b, a).local_terms
    assert dict(terms.balances)[FST] == (5 if is_answered else 0)
    assert not b.friend(a).backwards.items


# --- currencies and limits ----------------------------------------------------------------------


@covers("PT46")
def test_an_unused_currency_goes_on_both_sides_and_comes_back_when_listed_again() -> None:
    wires, (a, b) = chain("a", "b")
    assert a.do(RemoveFriendCurrency(b.key, FST)) is None
    wires.run()
    assert FST not in channel(a, b).ledgers
    assert FST not in channel(b, a).ledgers
    assert FST not in a.friend(b).configs
    assert FST in b.friend(a).configs  # the friend still wants it
    assert a.do(SetFriendCurrencyRate(b.key, FST, Rate())) is None
    wires.run()
    assert a.balance(b) == b.balance(a) == 0
    transfer(wires, (a, b), 3, 1)
    assert_mirrored(a, b)


@covers("PT46")
def test_a_currency_in_use_is_removed_once_it_is_settled() -> None:
    wires, (a, b) = chain("a", "b")
    transfer(wires, (a, b), 3, 1)
    assert a.do(RemoveFriendCurrency(b.key, FST)) is None
    wires.run()
    assert a.friend(b).configs[FST].is_removing
    assert a.balance(b) == -3
    assert send_over(open_payment(a, new_invoice(b, 1, 2), 2), 2, (a, b), 1) is (
        CommandFault.FRIEND_NOT_READY
    )
    payment = open_payment(b, new_invoice(a, 3, 3), 3)
    assert send_over(payment, 3, (b, a), 3) is None
    wires.run()
    assert outcomes(b, 3) == [FAILURE]  # a takes no new request in it either
    assert a.do(SetFriendCurrencyMaxDebt(b.key, FST, 50)) is None  # calls the removal off
    transfer(wires, (b, a), 3, 4)
    assert a.do(RemoveFriendCurrency(b.key, FST)) is None
    wires.run()
    assert FST not in channel(a, b).ledgers
    assert FST not in channel(b, a).ledgers


@covers("PT46")
def test_removing_a_currency_cancels_what_waits_in_it_and_lets_what_left_finish() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    commit = pay(wires, (a, m, b), 5, 1)
    strand_token(wires, m, b)
    assert send_over(open_payment(a, new_invoice(b, 7, 2), 2), 2, (a, m, b), 7) is None
    wires.run()
    assert send_over(open_payment(m, new_invoice(b, 1, 3), 3), 3, (m, b), 1) is None
    assert m.do(RemoveFriendCurrency(b.key, FST)) is None
    wires.run()
    assert (outcomes(a, 2), outcomes(m, 3)) == ([FAILURE], [FAILURE])
    wires.connect(m, b)
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert (m.balance(a), m.balance(b)) == (5, -5)
    assert m.friend(b).configs[FST].is_removing


@covers("PT46")
def test_a_friend_that_drops_a_currency_in_use_breaks_the_channel() -> None:
    wires, (a, b) = chain("a", "b")
    transfer(wires, (a, b), 3, 1)

    def drop(src: Card, _dest: Card, message: FriendMessage) -> FriendMessage:
        if src is a and isinstance(message, MoveTokenMessage):
            return MoveTokenMessage(sign_again(a, message), message.token_wanted)
        return message

    wires.tap = drop
    assert a.do(SetFriendCurrencyRate(b.key, USD, Rate())) is None
    assert b.do(SetFriendCurrencyRate(a.key, USD, Rate())) is None
    wires.run()
    rupture(b, a)


def sign_again(card: Card, message: MoveTokenMessage) -> MoveToken:
    """The same move token, listing only USD, with a good signature."""
    token = replace(message.move_token, active_currencies=(USD,))
    buffer = move_token_buffer(prefix_of(token), token.info_hash, token.rand_nonce)
    return replace(token, new_token=card.env.sign(buffer))


@covers("PT47")
def test_removing_a_currency_while_its_activation_is_on_its_way() -> None:
    wires, (a, b) = chain("a", "b")
    assert a.do(SetFriendCurrencyRate(b.key, USD, Rate())) is None
    wires.run()
    assert USD in channel(a, b).active_local
    strand_token(wires, a, b)
    assert b.do(SetFriendCurrencyRate(a.key, USD, Rate())) is None
    assert a.do(RemoveFriendCurrency(b.key, USD)) is None
    wires.connect(a, b)
    wires.run()
    assert USD not in channel(a, b).ledgers
    assert USD not in channel(b, a).ledgers
    assert USD not in a.friend(b).configs
    assert_mirrored(a, b)
    transfer(wires, (a, b), 3, 1)


def test_a_currency_the_friend_was_never_told_of_is_simply_forgotten() -> None:
    wires, (a, b) = chain("a", "b")
    strand_token(wires, a, b)
    assert a.do(SetFriendCurrencyRate(b.key, USD, Rate())) is None
    assert a.do(RemoveFriendCurrency(b.key, USD)) is None
    assert USD not in a.friend(b).configs
    assert a.do(RemoveFriendCurrency(b.key, USD)) is CommandFault.CURRENCY_NOT_CONFIGURED
    wires.connect(a, b)
    wires.run()
    assert USD not in channel(a, b).active_local


@covers("PT48")
def test_a_currency_removed_while_the_channel_is_inconsistent_goes_after_the_reset() -> None:
    wires, (a, b) = chain("a", "b")
    assert a.do(DisputeFriend(b.key)) is None
    wires.run()
    assert a.do(RemoveFriendCurrency(b.key, FST)) is None
    assert a.friend(b).configs[FST].is_removing
    assert accept(b, a) is None
    wires.run()
    assert FST not in channel(a, b).ledgers
    assert FST not in channel(b, a).ledgers


@covers("PT38")
def test_terms_that_would_make_too_many_currencies_cannot_be_accepted() -> None:
    _, (a, b) = chain("a", "b")
    link = a.friend(b).link_id
    assert link is not None
    names = [Currency(f"C{number:02}") for number in range(ACTIVE_CURRENCIES_MAX)]
    terms = ResetTerms(Signature(b"t" * 64), 1, tuple((name, 0) for name in names))
    a.feed(MessageArrived(b.key, link, InconsistencyMessage(terms)))
    assert accept(a, b) is CommandFault.LIMIT_REACHED
    assert list(a.friend(b).configs) == [FST]
    rupture(a, b)


@covers("PT49")
def test_a_restart_cancels_what_waited_and_keeps_what_left() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    commit = pay(wires, (a, m, b), 5, 1)
    strand_token(wires, m, b)
    assert send_over(open_payment(a, new_invoice(b, 7, 2), 2), 2, (a, m, b), 7) is None
    wires.run()
    own = open_payment(m, new_invoice(b, 1, 3), 3)
    assert send_over(own, 3, (m, b), 1) is None
    wires.restart(m, reloaded(m.state))
    assert not m.friend(b).forwarded.items
    assert not m.friend(b).own.items
    assert outcomes(m, 3) == [FAILURE]
    assert status(m, own).stage == "canceled"
    wires.connect(a, m)
    wires.connect(m, b)
    wires.run()
    assert outcomes(a, 2) == [FAILURE]
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert (a.balance(m), b.balance(m)) == (-5, 5)
    assert_settled(a, m, b)


@covers("PT50", "PAY-19")
def test_a_lowered_limit_keeps_old_debts_and_refuses_new_ones() -> None:
    wires, (a, b) = chain("a", "b")
    transfer(wires, (a, b), 60, 1)
    assert b.do(SetFriendCurrencyMaxDebt(a.key, FST, 20)) is None
    payment = open_payment(a, new_invoice(b, 1, 2), 2)
    assert send_over(payment, 2, (a, b), 1) is None
    wires.run()
    assert outcomes(a, 2) == [FAILURE]
    assert b.balance(a) == 60
    transfer(wires, (b, a), 50, 3)
    assert b.balance(a) == 10
    transfer(wires, (a, b), 10, 4)
    assert b.balance(a) == 20
    assert_settled(a, b)


def test_pending_transactions_are_listed_on_both_sides() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    pay(wires, (a, m, b), 5, 1)
    rows = [(row.friend, row.is_outgoing, row.amount, row.is_answered) for row in pending(m.state)]
    assert sorted(rows) == sorted([(a.key, False, 5, True), (b.key, True, 5, True)])
    assert isinstance(channel(a, m).direction, Incoming) or len(list(pending(a.state))) == 1


def test_paying_works_again_right_after_a_reset() -> None:
    wires, (a, b) = chain("a", "b")
    mismatch(wires, a, b)
    assert accept(b, a) is None
    wires.run()
    assert pay_and_collect(wires, b, a, new_invoice(a, 4, 9), 9).receipt is not None
    assert (a.balance(b), b.balance(a)) == (-6, 6)
