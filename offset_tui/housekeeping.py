"""What the app does without being asked each time: small fees, collecting, news, the lock, the watched folder.

Everything here follows the settings of the open card and says what it did; nothing moves money that the owner
did not agree to beforehand. Source: apps.md S38, RMP-36; tui.md §9 (notifications).
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from offset_engine.disk import expanded
from offset_engine.errors import FileError
from offset_engine.text import clip_cells, safe
from offset_tui import needs
from offset_tui.automatic import Automatic
from offset_tui.inbox import Inbox

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp

QUIET_S: Final = 3.0
"""News are announced only if no key came for so long: what one has just done oneself is no news."""
TOAST_CELLS: Final = 60


class Housekeeping:
    """One for each open card; the app calls it with every picture, every key and every few seconds."""

    def __init__(self, app: "OffsetApp", idle_clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._clock = idle_clock
        self._last_key = idle_clock()
        self._automatic = Automatic(app.session)
        self._known = {one.key for one in needs.of(app.session)}
        self._inbox: Inbox | None = None
        self._trouble = ""

    def key_pressed(self) -> None:
        """Somebody is there: a key, a click, a paste."""
        self._last_key = self._clock()

    @property
    def quiet_s(self) -> float:
        """Seconds without a key."""
        return self._clock() - self._last_key

    async def pictured(self) -> None:
        """There is a new picture."""
        if not self._app.options.is_read_only:
            for sentence, is_problem in await self._automatic.act():
                self._app.tell(sentence, is_error=is_problem)
        self._announce()

    def _announce(self) -> None:
        found = needs.of(self._app.session)
        fresh = [one for one in found if one.key not in self._known]
        self._known = {one.key for one in found}
        wanted = self._app.session.settings.notifications
        if not fresh or not wanted or self._app.is_locked or self.quiet_s < QUIET_S:
            return
        words = fresh[0].words if len(fresh) == 1 else f"{len(fresh)} things need you"
        self._app.notify(clip_cells(f"{words} · ctrl+g", TOAST_CELLS), markup=False)

    # --- every few seconds ----------------------------------------------------------------------

    @property
    def is_time_to_lock(self) -> bool:
        """Whether nobody pressed a key for as long as the owner said."""
        minutes = self._app.session.settings.auto_lock_minutes
        return minutes > 0 and self.quiet_s >= minutes * 60

    async def look_into_inbox(self) -> None:
        """Offer what has come into the watched folder."""
        session = self._app.session
        wanted = session.settings.inbox
        if not wanted:
            self._inbox = None
            return
        try:
            folder = expanded(wanted)
        except FileError as problem:
            self._say_trouble(f"the inbox folder: {problem}")
            return
        if self._inbox is None or self._inbox.folder != folder:
            self._inbox = Inbox(folder)
        found = await anyio.to_thread.run_sync(self._inbox.look)
        if not self._app.has_session or self._app.session is not session:
            return
        self._say_trouble(self._inbox.problem)
        for one in found:
            session.arrived[one.path.name] = one.artifact
            self._app.tell(f"{safe(one.path.name, 40)} came into the inbox: ctrl+g looks at it")
        if found:
            self._announce()
            self._app.show_everywhere()

    def _say_trouble(self, sentence: str) -> None:
        """Say once why the folder cannot be watched; "" means it can."""
        if sentence and sentence != self._trouble:
            self._app.tell(sentence, is_error=True)
        self._trouble = sentence
