"""Keys that pay do nothing in the first moments: a doubled, held or pasted key must not go through.

Source: tui.md §0 rule 9, §9.
"""

import time
from collections.abc import Callable

import anyio
from textual import events

from offset_tui.dialogs.base import ARMED_AFTER_S, BURST_S, Burst


class Arming:
    """Armed after a silence in which what is asked was shown; anything else asked disarms it again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: clock: seconds, monotonic."""
        self._clock = clock
        self._burst = Burst()
        self._about: object = None
        self._since = 0.0

    def about(self, question: object) -> None:
        """This is what is asked now; None = nothing."""
        if question != self._about:
            self._about = question
            self._since = self._clock()

    def again(self) -> None:
        """It is shown anew: the silence begins once more."""
        self._since = self._clock()

    def heard(self, event: events.Key) -> None:
        """A key was pressed; one that comes too early, or as part of a paste, starts the silence anew."""
        if self._burst.heard(event) or not self.is_armed:
            self._since = self._clock()

    async def is_alone(self) -> bool:
        """Whether no other key follows at once: the key that pays may be the first of a paste."""
        before = self._burst.count
        await anyio.sleep(BURST_S)
        return self._burst.count == before

    @property
    def is_armed(self) -> bool:
        """Whether a key may answer."""
        return self._about is not None and self._clock() - self._since >= ARMED_AFTER_S
