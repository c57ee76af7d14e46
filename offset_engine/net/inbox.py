"""What waits for a node's next step: commands and other urgent events, then friends' messages.

A batch is at most 64 events. Commands, deadlines and news of links come first, but a quarter of a
batch is kept for messages, so that no stream of commands can silence friends. A message beyond 256
operations waits for the next batch: about 10 ms of stepping (design R29).

Source: PROTOCOL.md, "Node"; network.md §5.2.
"""

from collections import deque
from typing import Final, TypeAlias

from offset_engine.core.events import Event, MessageArrived, UnreadableArrived
from offset_engine.core.messages import MoveTokenMessage
from offset_engine.core.values import OPERATIONS_PER_TOKEN_MAX, PublicKey

BATCH_EVENTS_MAX: Final = 64
BATCH_MESSAGES_MIN: Final = 16
BATCH_OPERATIONS_MAX: Final = OPERATIONS_PER_TOKEN_MAX
FRIEND_MESSAGES_MAX: Final = 4
MESSAGES_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of all friends together; whoever sends more is not read, either."""

FriendEvent: TypeAlias = MessageArrived | UnreadableArrived


class Inbox:
    """Events in the order they will be taken."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._urgent: deque[Event] = deque()
        self._messages: deque[tuple[FriendEvent, int]] = deque()
        self._message_bytes = 0
        self._unread: dict[PublicKey, int] = {}

    def __bool__(self) -> bool:
        return bool(self._urgent or self._messages)

    def put(self, event: Event) -> None:
        """Add an urgent event."""
        self._urgent.append(event)

    def put_back(self, events: list[Event]) -> None:
        """Let urgent events happen before everything that waits."""
        self._urgent.extendleft(reversed(events))

    def withdraw(self, event: Event) -> None:
        """Take an urgent event back if it still waits."""
        if event in self._urgent:
            self._urgent.remove(event)

    def put_message(self, event: FriendEvent, size: int) -> bool:
        """Add a message of `size` bytes.

        Returns:
            Whether its sender should not be read until it has nothing waiting here.
        """
        self._messages.append((event, size))
        self._message_bytes += size
        unread = self._unread[event.friend] = self._unread.get(event.friend, 0) + 1
        return unread >= FRIEND_MESSAGES_MAX or self._message_bytes > MESSAGES_BYTES_MAX

    def has_unread(self, friend: PublicKey) -> bool:
        """Whether a message of this friend waits."""
        return friend in self._unread

    def take_batch(self) -> tuple[Event, ...]:
        """Remove and return what the next step should get; () if nothing waits."""
        events: list[Event] = []
        urgent_max = BATCH_EVENTS_MAX - min(len(self._messages), BATCH_MESSAGES_MIN)
        while self._urgent and len(events) < urgent_max:
            events.append(self._urgent.popleft())
        operations = 0
        while self._messages and len(events) < BATCH_EVENTS_MAX:
            operations += _operations_in(self._messages[0][0])
            if events and operations > BATCH_OPERATIONS_MAX:
                break
            events.append(self._next_message())
        return tuple(events)

    def take_messages(self) -> list[FriendEvent]:
        """Remove and return every message."""
        return [self._next_message() for _ in range(len(self._messages))]

    def _next_message(self) -> FriendEvent:
        event, size = self._messages.popleft()
        self._message_bytes -= size
        self._unread[event.friend] -= 1
        if not self._unread[event.friend]:
            del self._unread[event.friend]
        return event


def _operations_in(event: FriendEvent) -> int:
    if isinstance(event, MessageArrived) and isinstance(event.message, MoveTokenMessage):
        return sum(len(one.operations) for one in event.message.move_token.currencies_operations)
    return 0
