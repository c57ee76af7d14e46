"""One friend: queues, what waits for the token, what goes out on a link, relays and quarantine."""

from dataclasses import replace

import pytest

from offset_engine.core.api import (
    AddRelay,
    CommitInvoice,
    DisableFriend,
    DisputeFriend,
    EnableFriend,
    RemoveFriendCurrency,
    RemoveRelay,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    TransactionOutcome,
)
from offset_engine.core.crypto import hash_lock, public_key_of
from offset_engine.core.events import (
    CloseLink,
    FriendOffline,
    LinkAdopted,
    MessageArrived,
    UnreadableArrived,
)
from offset_engine.core.friend import (
    CurrencyConfig,
    Queue,
    RelaysSent,
    SentOnLink,
    has_work,
    known_relays,
    listen_relays,
    outgoing,
    owes_token,
    remember_reset_token,
    wanted_currencies,
)
from offset_engine.core.messages import (
    InconsistencyMessage,
    MoveTokenMessage,
    TokenWantedMessage,
    request_op,
)
from offset_engine.core.node import outgoing as node_outgoing
from offset_engine.core.routing import edges, receive_capacity
from offset_engine.core.token_channel import Incoming, Outgoing, TokenChannel
from offset_engine.core.values import (
    CREDITS_MAX,
    PENDING_PER_DIRECTION_MAX,
    RESET_TOKENS_REMEMBERED,
    Currency,
    InvoiceId,
    NamedAddress,
    PlainLock,
    PrivateKey,
    Rate,
    Signature,
)
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    befriend,
    chain,
    new_invoice,
    open_payment,
    outcomes,
    reloaded,
    send_over,
    status,
    strand_token,
    uid,
    wish,
)

USD = Currency("USD")


def relay(number: int) -> NamedAddress:
    key = public_key_of(PrivateKey(bytes([number]) * 32))
    return NamedAddress(key, f"10.0.0.{number}:1", "relay")


def channel(card: Card, other: Card) -> TokenChannel:
    found = card.friend(other).consistent
    assert found is not None
    return found


def link(card: Card, other: Card) -> int:
    found = card.friend(other).link_id
    assert found is not None
    return found


# --- queues -------------------------------------------------------------------------------------


def test_items_of_a_queue_keep_their_numbers_until_they_are_replaced() -> None:
    queue: Queue[str] = Queue()
    for item in "abcde":
        queue.push(item)
    copy = queue.fork()
    assert queue.take(2) == ["a", "b"]
    assert (queue.first, len(queue)) == (2, 3)
    assert queue.take(9) == ["c", "d", "e"]
    assert queue.first == 5
    assert len(copy) == 5
    copy.replace(["x"])
    assert (copy.first, copy.items) == (5, ["x"])
    assert copy == Queue(["x"], 5)
    assert copy != Queue(["x"], 4)
    assert copy != ["x"]
    assert repr(copy) == "Queue(['x'], first=5)"


def test_only_so_many_reset_tokens_are_remembered() -> None:
    friend = chain("a", "b")[1][0].state.friends[Card("b", 2).key].fork()
    for number in (*range(RESET_TOKENS_REMEMBERED + 2), RESET_TOKENS_REMEMBERED + 1):
        remember_reset_token(friend, Signature(bytes([number]) * 64))
    assert [token[0] for token in friend.reset_tokens] == list(range(2, 10))


# --- readiness ----------------------------------------------------------------------------------


def test_a_friend_is_ready_when_enabled_online_in_agreement_and_the_currency_is_active() -> None:
    wires, (a, b) = chain("a", "b")
    assert a.friend(b).is_ready(FST)
    assert not a.friend(b).is_ready(USD)
    wires.offline(a, b)
    assert not a.friend(b).is_ready(FST)
    wires.connect(a, b)
    assert a.do(DisableFriend(b.key)) is None
    assert not a.friend(b).is_ready(FST)
    assert a.do(EnableFriend(b.key)) is None
    assert not a.friend(b).is_ready(FST)  # until a link is there
    friend = a.friend(b).fork()
    friend.is_online = True
    del friend.configs[FST]
    assert friend.is_ready(FST)  # active without settings of ours


def test_room_for_requests_counts_queues_and_the_range_of_the_balance() -> None:
    wires, (a, b) = chain("a", "b")
    request = request_op(
        uid(1), hash_lock(PlainLock(bytes(32))), (), (5, 5, 0), InvoiceId(bytes(32))
    )
    friend = a.friend(b).fork()
    assert friend.has_room(request, FST)
    ledger = friend.consistent.ledgers[FST]  # type: ignore[union-attr]
    ledger.balance = -(CREDITS_MAX - 5)
    assert friend.has_room(request, FST)
    ledger.balance = -(CREDITS_MAX - 4)
    assert not friend.has_room(request, FST)
    ledger.balance = CREDITS_MAX
    assert friend.has_room(request, FST)
    friend.own.items = [None] * PENDING_PER_DIRECTION_MAX  # type: ignore[list-item]
    assert not friend.has_room(request, FST)
    friend.channel = wires  # type: ignore[assignment]  # anything but a consistent channel
    assert not friend.has_room(request, FST)


# --- what goes out ------------------------------------------------------------------------------


def test_a_link_carries_each_message_once() -> None:
    wires, (a, b) = chain("a", "b")
    strand_token(wires, a, b)
    friend = a.friend(b)
    messages, sent = outgoing(friend, (), SentOnLink())
    (message,) = messages
    assert isinstance(message, MoveTokenMessage)
    assert outgoing(friend, (), sent) == ((), sent)

    friend = friend.fork()
    friend.configs[USD] = CurrencyConfig()
    assert has_work(friend, ())
    hint, asked = outgoing(friend, (), sent)
    assert hint == (TokenWantedMessage(message.move_token.new_token),)
    assert outgoing(friend, (), asked) == ((), asked)
    resent, _ = outgoing(friend, (), SentOnLink())
    assert resent == (replace(message, token_wanted=True),)


def test_terms_go_out_once_per_link_however_often_the_friend_ignores_them() -> None:
    wires, (a, b) = chain("a", "b")
    last = channel(b, a).direction
    assert a.do(DisputeFriend(b.key)) is None
    messages, sent = outgoing(a.friend(b), (), SentOnLink())
    assert [type(message) for message in messages] == [InconsistencyMessage]
    assert outgoing(a.friend(b), (), sent) == ((), sent)
    if isinstance(last, Outgoing):
        stray = MoveTokenMessage(last.move_token, token_wanted=True)
        a.feed(MessageArrived(b.key, link(a, b), stray))
    assert a.friend(b).consistent is None
    wires.run()
    wires.connect(a, b)
    said = len(wires.log)
    wires.run()
    assert [type(message) for _, _, message in wires.log[said:]] == [InconsistencyMessage] * 2


def test_nothing_goes_to_a_friend_that_is_disabled_or_unknown() -> None:
    wires, (a, b) = chain("a", "b")
    strand_token(wires, a, b)
    assert node_outgoing(a.state, b.key, SentOnLink())[0]
    assert node_outgoing(a.state, Card("x", 9).key, SentOnLink()) == ((), SentOnLink())
    assert a.do(DisableFriend(b.key)) is None
    assert node_outgoing(a.state, b.key, SentOnLink()) == ((), SentOnLink())


def test_a_friend_that_asks_for_the_token_gets_an_empty_one_once() -> None:
    wires, (a, b) = chain("a", "b")
    owner, other = (a, b) if isinstance(channel(a, b).direction, Incoming) else (b, a)
    direction = channel(owner, other).direction
    assert isinstance(direction, Incoming)
    wish_ = TokenWantedMessage(direction.last.new_token)
    owner.feed(MessageArrived(other.key, link(owner, other), wish_))
    passed = channel(owner, other).direction
    assert isinstance(passed, Outgoing)
    assert passed.move_token.currencies_operations == ()
    before = owner.friend(other)
    owner.feed(MessageArrived(other.key, link(owner, other), wish_))  # no longer ours to give
    assert owner.friend(other) == before
    wires.run()
    assert isinstance(channel(other, owner).direction, Incoming)


def test_a_friend_that_names_another_token_while_we_own_ours_breaks_the_channel() -> None:
    _, (a, b) = chain("a", "b")
    owner, other = (a, b) if isinstance(channel(a, b).direction, Incoming) else (b, a)
    stray = TokenWantedMessage(Signature(b"?" * 64))
    owner.feed(MessageArrived(other.key, link(owner, other), stray))
    assert owner.friend(other).consistent is None


def test_messages_of_strangers_disabled_friends_and_old_links_are_dropped() -> None:
    _, (a, b) = chain("a", "b")
    stray = TokenWantedMessage(Signature(b"?" * 64))
    for event in (
        MessageArrived(Card("x", 9).key, 1, stray),
        MessageArrived(b.key, 99, stray),
        LinkAdopted(Card("x", 9).key, 1),
        FriendOffline(Card("x", 9).key),
        UnreadableArrived(Card("x", 9).key, 1),
        UnreadableArrived(b.key, 99),
    ):
        before = dict(a.state.friends)
        a.feed(event)
        assert a.state.friends == before
    old = link(a, b)
    assert a.do(DisableFriend(b.key)) is None
    before = dict(a.state.friends)
    a.feed(MessageArrived(b.key, old, stray), LinkAdopted(b.key, 5))
    assert a.state.friends == before


def test_unreadable_bytes_close_the_link_and_change_no_money() -> None:
    _, (a, b) = chain("a", "b")
    before = channel(a, b).fork()
    effects = a.feed(UnreadableArrived(b.key, link(a, b)))
    assert CloseLink(b.key, link(a, b)) in effects
    assert a.friend(b).unreadable_ms == a.env.wall_ms
    assert channel(a, b) == before


# --- relays -------------------------------------------------------------------------------------


def test_relays_known_to_a_friend_are_the_told_ones_and_until_it_confirms_the_older_ones() -> None:
    _, (a, b) = chain("a", "b")
    friend = a.friend(b).fork()
    friend.relays_sent = None
    assert known_relays(friend) is None
    assert listen_relays(friend, (relay(3).relay,)) == (relay(3).relay,)
    friend.relays_sent = RelaysSent((relay(1).relay,), (relay(2).relay, relay(1).relay))
    known = known_relays(friend)
    assert known is not None
    assert sorted(one.address for one in known) == ["10.0.0.1:1", "10.0.0.2:1"]
    moved = replace(relay(1).relay, address="10.0.0.99:1")
    listening = listen_relays(friend, (moved,))
    assert {one.address for one in listening} == {"10.0.0.99:1", "10.0.0.2:1"}
    assert [one.public_key for one in listening] == sorted(one.public_key for one in listening)


def test_a_removed_relay_is_told_too() -> None:
    wires, (a, b) = chain("a", "b")
    assert a.do(AddRelay(relay(8))) is None
    wires.run()
    assert a.do(RemoveRelay(relay(8).public_key)) is None
    wires.run()
    assert b.friend(a).remote_relays == ()
    assert a.friend(b).relays_sent == RelaysSent(())


# --- currencies ---------------------------------------------------------------------------------


def test_a_currency_being_removed_is_listed_while_it_is_used() -> None:
    _, (a, b) = chain("a", "b")
    friend = a.friend(b).fork()
    mine = friend.consistent
    assert mine is not None
    assert wanted_currencies(friend, mine) == (FST,)
    friend.configs[FST] = CurrencyConfig(is_removing=True)
    assert wanted_currencies(friend, mine) == ()
    mine.ledgers[FST].balance = 1
    assert wanted_currencies(friend, mine) == (FST,)
    friend.configs[USD] = CurrencyConfig(is_removing=True)
    assert wanted_currencies(friend, mine) == (FST,)


@covers("PT46")
def test_a_currency_being_removed_takes_no_new_request() -> None:
    wires, (a, b) = chain("a", "b")
    assert send_over(open_payment(a, new_invoice(b, 5), 1), 1, (a, b), 5) is None
    wires.run()
    assert b.do(RemoveFriendCurrency(a.key, FST)) is None
    assert send_over(open_payment(a, new_invoice(b, 5, 2), 2), 2, (a, b), 5) is None
    wires.run()
    assert outcomes(a, 2) == [TransactionOutcome.FAILURE]
    commit = status(a, wish(1)).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert b.balance(a) == 5
    assert b.friend(a).configs[FST].is_removing


def test_requests_that_became_impossible_in_the_queue_go_back_where_they_came_from() -> None:
    wires, (a, m, b) = chain("a", "m", "b", limits=(CREDITS_MAX, CREDITS_MAX))
    strand_token(wires, m, b)
    half = CREDITS_MAX // 2 + 1
    assert send_over(open_payment(m, new_invoice(b, half, 3), 3), 3, (m, b), half) is None
    assert send_over(open_payment(m, new_invoice(b, half, 4), 4), 4, (m, b), half) is None
    for number in (1, 2):
        payment = open_payment(a, new_invoice(b, 10, number), number)
        assert send_over(payment, number, (a, m, b), 10) is None
    wires.run()
    assert len(m.friend(b).forwarded) == 2
    wires.connect(m, b)
    wires.run()
    # Forwarded ones went first, then one half fitted and the other did not.
    complete = TransactionOutcome.COMPLETE
    assert (outcomes(a, 1), outcomes(a, 2)) == ([complete], [complete])
    assert (outcomes(m, 3), outcomes(m, 4)) == ([complete], [TransactionOutcome.FAILURE])


def test_forwarded_requests_that_no_longer_fit_are_cancelled_upstream() -> None:
    wires, (a, m, b) = chain("a", "m", "b", limits=(CREDITS_MAX, CREDITS_MAX))
    c = Card("c", 9)
    wires.cards[c.key] = c
    befriend(c, m, (CREDITS_MAX, CREDITS_MAX))
    wires.connect(c, m)
    wires.run()
    strand_token(wires, m, b)
    half = CREDITS_MAX // 2 + 1
    for number, buyer in ((1, a), (2, c)):
        payment = open_payment(buyer, new_invoice(b, half, number), number)
        assert send_over(payment, number, (buyer, m, b), half) is None
    wires.run()
    assert len(m.friend(b).forwarded) == 2
    wires.connect(m, b)
    wires.run()
    assert sorted([outcomes(a, 1), outcomes(c, 2)], key=str) == [
        [TransactionOutcome.COMPLETE],
        [TransactionOutcome.FAILURE],
    ]
    assert m.friend(b).consistent is not None
    assert a.frozen() + c.frozen() == m.ledger(b).local_pending_debt == half


def test_a_request_beyond_the_range_of_the_next_balance_is_not_queued() -> None:
    wires, (a, m, b) = chain("a", "m", "b", limits=(CREDITS_MAX, CREDITS_MAX))
    strand_token(wires, m, b)
    channel(m, b).ledgers[FST].balance = -(CREDITS_MAX - 4)
    payment = open_payment(a, new_invoice(b, 5), 1)
    assert send_over(payment, 1, (a, m, b), 5) is None
    wires.run()
    assert outcomes(a, 1) == [TransactionOutcome.FAILURE]
    assert not m.friend(b).forwarded.items


# --- quarantine ---------------------------------------------------------------------------------


def restored(wires: Wires, card: Card, *friends: Card) -> None:
    """Put a card back from a backup of its present state."""
    state = reloaded(card.state)
    for other in friends:
        state.friends[other.key].is_quarantined = True
    wires.restart(card, state)


def test_a_restored_card_signs_nothing_new_until_its_friend_proves_the_state_current() -> None:
    wires, (a, b) = chain("a", "b")
    owner, other = (a, b) if isinstance(channel(a, b).direction, Incoming) else (b, a)
    restored(wires, owner, other)
    assert owner.do(SetFriendCurrencyRate(other.key, USD, Rate())) is None
    owner.feed(LinkAdopted(other.key, 50))
    assert not owes_token(owner.friend(other), ())
    assert isinstance(channel(owner, other).direction, Incoming)
    wires.connect(a, b)
    wires.run()
    assert not owner.friend(other).is_quarantined
    assert USD in channel(owner, other).active_local


def test_a_restored_card_that_waits_for_its_friend_may_repeat_itself() -> None:
    wires, (a, b) = chain("a", "b")
    waiting, other = (a, b) if isinstance(channel(a, b).direction, Outgoing) else (b, a)
    restored(wires, waiting, other)
    assert waiting.do(SetFriendCurrencyRate(other.key, USD, Rate())) is None
    wires.connect(a, b)
    wires.run()
    assert not waiting.friend(other).is_quarantined
    assert USD in channel(waiting, other).active_local


def test_an_old_backup_is_found_out_and_not_signed_over() -> None:
    wires, (a, b) = chain("a", "b")
    owner, other = (a, b) if isinstance(channel(a, b).direction, Incoming) else (b, a)
    backup = reloaded(owner.state)
    backup.friends[other.key].is_quarantined = True
    assert other.do(SetFriendCurrencyMaxDebt(owner.key, FST, 100)) is None
    assert send_over(
        open_payment(owner, new_invoice(other, 5), 1), 1, (owner, other), 5
    ) is None  # fmt: skip
    wires.run()
    commit = status(owner, wish(1)).commit
    assert commit is not None
    assert other.do(CommitInvoice(commit)) is None
    wires.run()
    wires.restart(owner, backup)
    wires.connect(owner, other)
    wires.run()
    assert owner.friend(other).consistent is None
    assert other.friend(owner).consistent is None


def test_a_restored_card_forgives_its_friend_what_it_cannot_know_itself() -> None:
    _, (a, b) = chain("a", "b")
    owner, other = (a, b) if isinstance(channel(a, b).direction, Incoming) else (b, a)
    owner.friend(other).is_quarantined = True
    stray = TokenWantedMessage(Signature(b"?" * 64))
    owner.feed(MessageArrived(other.key, link(owner, other), stray))
    assert owner.friend(other).consistent is not None
    assert owner.friend(other).is_quarantined
    probe, sent = outgoing(owner.friend(other), (), SentOnLink())
    direction = channel(owner, other).direction
    assert isinstance(direction, Incoming)
    assert probe == (TokenWantedMessage(direction.last.new_token),)
    assert outgoing(owner.friend(other), (), sent) == ((), sent)


# --- what index servers are told ----------------------------------------------------------------


def test_capacities_are_what_friends_could_still_send() -> None:
    wires, (a, b) = chain("a", "b")
    assert receive_capacity(channel(b, a).ledgers[FST], 100) == 100
    assert [(edge.friend, edge.recv_capacity) for edge in edges(b.state)] == [(a.key, 100)]
    assert send_over(open_payment(a, new_invoice(b, 30), 1), 1, (a, b), 30) is None
    wires.run()
    assert [edge.recv_capacity for edge in edges(b.state)] == [70]
    assert receive_capacity(channel(b, a).ledgers[FST], 20) == 0
    debtor = channel(b, a).fork().ledgers[FST]
    debtor.balance = -CREDITS_MAX
    assert receive_capacity(debtor, CREDITS_MAX) == CREDITS_MAX
    wires.offline(a, b)
    assert edges(b.state) == ()


@pytest.mark.parametrize("how", ["closed", "removing", "disabled"])
def test_what_is_not_open_is_not_told(how: str) -> None:
    wires, (a, b) = chain("a", "b")
    friend = b.friend(a)
    if how == "disabled":
        friend.is_enabled = False
    else:
        friend.configs[FST] = CurrencyConfig(
            max_debt=5, is_open=how != "closed", is_removing=how == "removing"
        )
    assert edges(b.state) == ()
    friend.is_enabled = True
    friend.configs[FST] = CurrencyConfig(Rate(1, 2), 5, is_open=True)
    (edge,) = edges(b.state)
    assert (edge.currency, edge.recv_capacity, edge.rate) == (FST, 5, Rate(1, 2))
    wires.run()
