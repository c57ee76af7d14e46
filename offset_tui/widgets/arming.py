"""Keys that pay do nothing in the first moments: a doubled or held key must not go through.

Source: tui.md §0 rule 9, §9.
"""

import time

from offset_tui.dialogs.base import ARMED_AFTER_S


class Arming:
    """Armed some time after what is asked began to be shown; anything else asked disarms it again."""

    def __init__(self) -> None:
        self._about: object = None
        self._since = 0.0

    def about(self, question: object) -> None:
        """This is what is asked now; None = nothing."""
        if question != self._about:
            self._about = question
            self._since = time.monotonic()

    @property
    def is_armed(self) -> bool:
        """Whether a key may answer."""
        return self._about is not None and time.monotonic() - self._since >= ARMED_AFTER_S
