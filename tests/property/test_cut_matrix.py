"""The connection breaks at every single message of a payment, before it arrives or right after, and comes back.

PT27: the same final state. PT28: both sides resend at once while new work is queued, without endless talk.
PT73: a friend that also forgets its last state can at worst end the friendship.
"""

from collections.abc import Callable

import pytest

from offset_engine.core.api import CommitInvoice, SetFriendCurrencyRate
from offset_engine.core.messages import FriendMessage
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Inconsistent
from offset_engine.core.values import Currency, Rate
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    assert_mirrored,
    assert_settled,
    chain,
    new_invoice,
    reloaded,
    start_payment,
    status,
    transfer,
    wish,
)
from tests.property.mortal import Story, cut_at, vanish_at
from tests.property.test_crash_matrix import STORIES, finish, undisturbed


@covers("PT27")
@pytest.mark.parametrize("make", STORIES)
@pytest.mark.parametrize("delivers", [False, True])
def test_a_cut_at_any_message_changes_nothing_in_the_end(
    make: Callable[[], Story], delivers: bool
) -> None:
    plain, _, messages = undisturbed(make)
    for number in range(1, messages + 1):
        story = make()
        cut_at(story, number, delivers=delivers)
        finish(story, plain.balances, (number, delivers))
        assert story.wish_number == 1, "a short cut is no reason for a payment to fail"


@covers("PT27")
@pytest.mark.parametrize("make", STORIES)
def test_a_cut_at_any_two_messages_changes_nothing_in_the_end(make: Callable[[], Story]) -> None:
    plain, _, messages = undisturbed(make)
    for first in range(1, messages + 1, 2):
        for gap in (1, 3):
            story = make()
            _cut_at_each(story, {first, first + gap})
            finish(story, plain.balances, (first, gap))


def _cut_at_each(story: Story, numbers: set[int]) -> None:
    seen = 0

    def tap(src: Card, dest: Card, message: FriendMessage) -> FriendMessage | None:
        nonlocal seen
        seen += 1
        if seen not in numbers:
            return message
        story.wires.cut(src, dest)
        return None

    story.wires.tap = tap


@covers("PT27")
@pytest.mark.parametrize("make", STORIES)
def test_a_long_absence_at_any_message_costs_nobody_anything(make: Callable[[], Story]) -> None:
    """Beyond the grace time waiting requests are cancelled; whatever was sent still settles."""
    plain, _, messages = undisturbed(make)
    for number in range(1, messages + 1):
        story = make()
        vanish_at(story, number)
        finish(story, plain.balances, number)


# --- both sides resend --------------------------------------------------------------------------


def _until_cut(number: int) -> tuple[Wires, Card, Card]:
    """Two friends that lost each other at the n-th message while both had work."""
    wires, (a, b) = chain("a", "b")
    assert transfer(wires, (a, b), 1, 80)
    seen = 0

    def tap(src: Card, dest: Card, message: FriendMessage) -> FriendMessage | None:
        nonlocal seen
        seen += 1
        if seen < number:
            return message
        wires.cut(a, b)
        return None

    wires.tap = tap
    for buyer, seller, n in ((a, b, 1), (b, a, 2)):
        assert start_payment(new_invoice(seller, 5, n), (buyer, seller), n) is None
    wires.run()
    wires.tap = None
    wires.cut(a, b)
    return wires, a, b


@covers("PT28")
def test_both_sides_resend_with_new_work_and_soon_fall_silent() -> None:
    for number in range(1, 9):
        wires, a, b = _until_cut(number)
        assert start_payment(new_invoice(b, 3, 3), (a, b), 3) is None
        assert start_payment(new_invoice(a, 4, 4), (b, a), 4) is None
        before = len(wires.log)
        wires.connect(a, b)
        wires.run()
        assert_mirrored(a, b)
        assert len(wires.log) - before <= 9, (
            "requests both ways, their responses, and the token asked back"
        )
        for buyer, seller, n in ((a, b, 1), (b, a, 2), (a, b, 3), (b, a, 4)):
            commit = status(buyer, wish(n)).commit
            assert commit is not None, (number, n)
            assert seller.do(CommitInvoice(commit)) is None
            wires.run()
        assert_settled(a, b)
        assert b.balance(a) == 1 + 5 - 5 + 3 - 4


@covers("PT28")
def test_without_new_work_a_reconnect_takes_at_most_four_messages() -> None:
    for number in range(1, 9):
        wires, a, b = _until_cut(number)
        for _ in range(3):
            wires.connect(a, b)
            wires.run()
            wires.cut(a, b)
        before = len(wires.log)
        wires.connect(a, b)
        wires.run()
        assert len(wires.log) - before <= 4
        assert_mirrored(a, b)


# --- a friend that returns with an older state ------------------------------------------------------


def _payment_with_lapse(number: int, lapse: int) -> tuple[Wires, Card, Card, bool]:
    """a pays 8 to b; at the n-th message b forgets its last `lapse` states. True if it came that far."""
    wires, (a, b) = chain("a", "b")
    assert transfer(wires, (a, b), 5, 80)
    past: list[NodeState] = [b.state]
    seen = 0

    def tap(src: Card, dest: Card, message: FriendMessage) -> FriendMessage | None:
        nonlocal seen
        seen += 1
        if past[-1] is not b.state:
            past.append(b.state)
        if seen != number:
            return message
        wires.cut(a, b)
        return None

    wires.tap = tap
    assert start_payment(new_invoice(b, 8, 1), (a, b), 1, 2) is None
    wires.run()
    commit = status(a, wish(1)).commit
    if commit is not None and (a.key, b.key) in wires.up:
        b.do(CommitInvoice(commit))
        wires.run()
    came = seen >= number
    wires.tap = None
    wires.cut(a, b)
    if past[-1] is not b.state:
        past.append(b.state)
    wires.restart(b, reloaded(past[max(0, len(past) - 1 - lapse)]))
    wires.connect(a, b)
    wires.run()
    return wires, a, b, came


@covers("PT73")
@pytest.mark.parametrize("lapse", [0, 1])
def test_a_friend_dropping_out_anywhere_and_back_with_an_older_state_costs_us_nothing(
    lapse: int,
) -> None:
    reached = 0
    for number in range(1, 13):
        wires, a, b, came = _payment_with_lapse(number, lapse)
        reached += came
        channel = a.friend(b).channel
        if isinstance(channel, Inconsistent):
            assert lapse, "the last state is never a reason to disagree"
            assert dict(channel.local_terms.balances)[FST] in (-5, -15)
            continue
        assert a.balance(b) in (-5, -15)
        if b.friend(a).consistent is not None:
            assert_mirrored(a, b)
        if a.balance(b) == -15:
            assert status(a, wish(1)).receipt is not None
        elif a.frozen():
            assert a.frozen() == 10
        if not lapse:
            commit = status(a, wish(1)).commit
            if a.balance(b) == -5 and commit is not None:
                assert b.do(CommitInvoice(commit)) is None
                wires.run()
            assert_settled(a, b)
            assert a.balance(b) == -15
    assert reached >= 4


def give_word(wires: Wires, *cards: Card) -> None:
    """Let everybody have something to say to everybody, so that a disagreement cannot stay hidden."""
    for one in cards:
        for other in cards:
            if one is not other:
                assert one.do(SetFriendCurrencyRate(other.key, Currency("NEWS"), Rate())) is None
    wires.run()


@covers("PT74")
def test_a_friend_restored_from_an_old_backup_ends_in_a_reset_on_our_last_agreed_balances() -> None:
    wires, (a, b) = chain("a", "b")
    assert transfer(wires, (a, b), 5, 1)
    backup = b.state
    assert transfer(wires, (a, b), 20, 2)
    assert transfer(wires, (b, a), 3, 3)
    wires.restart(b, reloaded(backup))
    wires.connect(a, b)
    wires.run()
    give_word(wires, a, b)
    channel = a.friend(b).channel
    assert isinstance(channel, Inconsistent)
    assert channel.local_terms.balances == ((FST, -22),)
    theirs = b.friend(a).channel
    assert isinstance(theirs, Inconsistent)
    assert theirs.local_terms.balances == ((FST, 5),)
