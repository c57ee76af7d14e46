"""Places that searches in other threads may still look at: kept until those searches have ended.

Whoever searches says when it begins and ends. What is given up meanwhile waits here; it is handed out again
when every search that began before has ended.
"""

from collections import deque
from collections.abc import Iterator
from itertools import count


class Retired:
    """What was given up: (where it starts, how much room it has); a node number has room 0."""

    def __init__(self) -> None:
        self._clock = count(1)
        self._running: dict[int, int] = {}
        """Searches by number, with the time they began."""
        self._waiting: deque[tuple[int, int, int]] = deque()

    def begin(self) -> int:
        """A search begins; returns its number."""
        number = next(self._clock)
        self._running[number] = number
        return number

    def end(self, number: int) -> None:
        """It has ended."""
        del self._running[number]

    def add(self, place: int, room: int) -> None:
        """Nobody who begins now will find this place any more."""
        self._waiting.append((next(self._clock), place, room))

    def free(self) -> Iterator[tuple[int, int]]:
        """Take out what nobody can be looking at."""
        # One step, as far as other threads can tell; the dictionary may change after it.
        first = min(list(self._running), default=None)
        while self._waiting and (first is None or self._waiting[0][0] < first):
            _, place, room = self._waiting.popleft()
            yield place, room

    def forget_blocks(self) -> None:
        """The arrays they were in have been replaced; only node numbers still wait."""
        self._waiting = deque(one for one in self._waiting if not one[2])
