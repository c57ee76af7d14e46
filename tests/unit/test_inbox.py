"""The order in which a node takes what waits, and where its inbox is full."""

import pytest

from offset_engine.core.api import EnableFriend
from offset_engine.core.events import CommandGiven, MessageArrived, UnreadableArrived, Woken
from offset_engine.core.messages import (
    CurrencyOperations,
    MoveToken,
    MoveTokenMessage,
    cancel_op,
)
from offset_engine.core.values import Currency, HashResult, PublicKey, RandValue, Signature, Uid
from offset_engine.net.inbox import (
    BATCH_EVENTS_MAX,
    BATCH_MESSAGES_MIN,
    BATCH_OPERATIONS_MAX,
    FRIEND_MESSAGES_MAX,
    MESSAGES_BYTES_MAX,
    FriendEvent,
    Inbox,
)

ANA, BEN = PublicKey(b"a" * 32), PublicKey(b"b" * 32)


def message(friend: PublicKey = ANA, link_id: int = 1) -> FriendEvent:
    return UnreadableArrived(friend, link_id)


def with_operations(count: int) -> FriendEvent:
    operations = tuple(cancel_op(Uid(number.to_bytes(16, "big"))) for number in range(count))
    token = MoveToken(
        Signature(bytes(64)),
        (CurrencyOperations(Currency("FST"), operations),),
        None,
        None,
        HashResult(bytes(32)),
        RandValue(bytes(16)),
        Signature(bytes(64)),
    )
    return MessageArrived(ANA, 1, MoveTokenMessage(token, token_wanted=False))


def command(number: int) -> CommandGiven:
    return CommandGiven(number, EnableFriend(ANA))


def filled(urgent: int, messages: int) -> Inbox:
    inbox = Inbox()
    for number in range(messages):
        inbox.put_message(message(link_id=number), 10)
    for number in range(urgent):
        inbox.put(command(number))
    return inbox


def test_an_empty_inbox_is_false_and_gives_nothing():
    inbox = Inbox()
    assert not inbox
    assert inbox.take_batch() == ()


def test_commands_come_before_messages_that_arrived_earlier():
    inbox = Inbox()
    inbox.put_message(message(), 10)
    inbox.put(command(1))
    inbox.put(Woken())
    assert inbox.take_batch() == (command(1), Woken(), message())
    assert not inbox


@pytest.mark.parametrize(
    ("urgent", "messages", "taken"),
    [
        (1_000, 0, (BATCH_EVENTS_MAX, 0)),
        (0, 1_000, (0, BATCH_EVENTS_MAX)),
        (1_000, 1_000, (BATCH_EVENTS_MAX - BATCH_MESSAGES_MIN, BATCH_MESSAGES_MIN)),
        (1_000, 3, (BATCH_EVENTS_MAX - 3, 3)),
        (5, 1_000, (5, BATCH_EVENTS_MAX - 5)),
    ],
)
def test_no_stream_of_commands_silences_friends(urgent, messages, taken):
    batch = filled(urgent, messages).take_batch()
    count = sum(isinstance(event, UnreadableArrived) for event in batch)
    assert (len(batch) - count, count) == taken


def test_every_event_is_taken_once_and_in_order():
    inbox = filled(300, 300)
    events = []
    while inbox:
        events += inbox.take_batch()
    commands = [event for event in events if isinstance(event, CommandGiven)]
    messages = [event for event in events if isinstance(event, UnreadableArrived)]
    assert commands == [command(number) for number in range(300)]
    assert messages == [message(link_id=number) for number in range(300)]


def test_a_batch_ends_before_the_message_that_has_too_many_operations():
    inbox = Inbox()
    large, small = with_operations(BATCH_OPERATIONS_MAX), with_operations(1)
    for event in (small, large, small):
        inbox.put_message(event, 10)
    assert [inbox.take_batch() for _ in range(3)] == [(small,), (large,), (small,)]


def test_a_sender_is_paused_at_its_fourth_message_only():
    inbox = Inbox()
    assert [inbox.put_message(message(), 1) for _ in range(FRIEND_MESSAGES_MAX)] == [
        False, False, False, True
    ]  # fmt: skip
    assert not inbox.put_message(message(BEN), 1)


def test_whoever_sends_more_bytes_than_there_is_room_for_is_paused():
    inbox = Inbox()
    assert not inbox.put_message(message(), MESSAGES_BYTES_MAX)
    assert inbox.put_message(message(BEN), 1)
    inbox.take_batch()
    assert not inbox.put_message(message(BEN), 1)


def test_a_friend_has_unread_messages_until_the_last_is_taken():
    inbox = filled(0, 70)
    inbox.take_batch()
    assert inbox.has_unread(ANA)
    inbox.take_batch()
    assert not inbox.has_unread(ANA)


def test_taking_all_messages_leaves_the_commands():
    inbox = filled(2, 3)
    assert len(inbox.take_messages()) == 3
    assert not inbox.has_unread(ANA)
    assert inbox.take_batch() == (command(0), command(1))


def test_what_is_put_back_comes_first_and_in_its_order():
    inbox = filled(1, 0)
    inbox.put_back([command(7), command(8)])
    assert inbox.take_batch() == (command(7), command(8), command(0))


def test_a_command_can_be_withdrawn_until_it_is_taken():
    inbox = filled(2, 0)
    inbox.withdraw(command(0))
    assert inbox.take_batch() == (command(1),)
    inbox.withdraw(command(1))
