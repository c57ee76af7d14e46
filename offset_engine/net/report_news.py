"""Wakes whoever follows a report, and ends it with a reason; what `reports` of every client is made of.

Each follower has its own, so that a slow one misses no change and no end because of another.
"""

from typing import Final

import anyio

from offset_engine.errors import TransportError


class ReportNews:
    """One follower's bell; changes that come while nobody waits count once."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._reason = ""
        self._event = anyio.Event()

    def tell(self) -> None:
        """The report may be another one."""
        self._event.set()

    def end(self, reason: str) -> None:
        """There will be no more reports."""
        self._reason = reason
        self._event.set()

    async def wait(self) -> None:
        """Wait for a change since the last wait.

        Raises:
            TransportError: the end, with its reason.
        """
        await self._event.wait()
        if self._reason:
            raise TransportError(self._reason)
        self._event = anyio.Event()


SWITCHED_OFF: Final = "this card is switched off"
