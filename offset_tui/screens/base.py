"""What every screen over an open card has: the frame, the picture it draws, and a way to do things.

A screen draws `snapshot` in `show`, as often as it is told, and changes things only through `do`, which
reports failures in one line. Source: tui.md §2.2, §4, §9.
"""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Input, TextArea

from offset_engine.client import CommandRefusedError
from offset_engine.errors import OffsetError
from offset_engine.sentences import fault_sentence
from offset_engine.text import safe
from offset_tui.keymap import pick
from offset_tui.session import READ_ONLY, Session, Snapshot
from offset_tui.widgets.bars import BottomBar, Flash, StatusLine, TabLine
from offset_tui.widgets.inputs import PasteRefused
from offset_tui.widgets.plain import plain

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp

_T = TypeVar("_T")


class CardScreen(Screen[None]):
    """A section of the app, or a detail of one."""

    SECTION: ClassVar[str] = "home"
    """The tab that is lit."""
    TOPIC: ClassVar[str] = "start"
    """The page of help about this screen: help/TOPIC.md."""
    KEEPS_DRAFT: ClassVar[bool] = False
    """Whether something half-typed is on it, so that it is not put away when its section is asked for."""
    BINDINGS: ClassVar[list[BindingType]] = [*pick("screen.back")]
    AUTO_FOCUS = "*"
    _unsaid: tuple[str, bool] | None = None
    """What was said before there was a line to say it on: (text, is_error)."""

    def compose(self) -> ComposeResult:
        """Sections, body, and the lines below."""
        yield TabLine(self.SECTION)
        yield from self.host.banner()
        with Vertical(id="body"):
            yield from self.body()
        yield BottomBar()

    def body(self) -> ComposeResult:
        """What the screen shows."""
        yield from ()

    def show(self, snapshot: Snapshot) -> None:
        """Draw a new picture; called after mounting and after every change."""

    # --- the app --------------------------------------------------------------------------------

    @property
    def host(self) -> "OffsetApp":
        """The app, by its real type."""
        return cast("OffsetApp", self.app)

    @property
    def session(self) -> Session:
        """The open card."""
        return self.host.session

    def on_mount(self) -> None:
        """The first picture."""
        self.refresh_view()

    def on_screen_resume(self) -> None:
        """It may have changed meanwhile."""
        self.refresh_view()

    def refresh_view(self) -> None:
        """Draw the latest picture, if there is one."""
        self._say_unsaid()
        if not self.is_mounted or not self.host.has_session:
            return
        try:
            self.show(self.session.snapshot)
            self.query_one(StatusLine).put(self.host.status_parts())
        except NoMatches:
            # Being put together or taken down just now: not all parts are there, and nobody sees it.
            if self.is_running and self.is_current:
                self.call_after_refresh(self._refresh_whole)
            return
        self.refresh_bindings()

    def _refresh_whole(self) -> None:
        """Once more, when all parts must be there unless the app is ending."""
        self._say_unsaid()
        if self.is_running and self.is_current and self.host.has_session and self.query(StatusLine):
            self.show(self.session.snapshot)

    def redraw(self, draw: Callable[[], None]) -> None:
        """Draw a part again from a worker, which may end when the screen is not there any more."""
        if not self.is_mounted or not self.host.has_session:
            return
        with contextlib.suppress(
            NoMatches
        ):  # being put together or taken down: drawn then, or never
            draw()

    # --- doing things ---------------------------------------------------------------------------

    def flash(self, text: str, *, is_error: bool = False) -> None:
        """Say in one line what just happened."""
        line = self.query(Flash)
        if line:
            line.first().say(safe(text, 400), is_error=is_error)
        else:
            self._unsaid = (text, is_error)

    def _say_unsaid(self) -> None:
        if self._unsaid is not None and self.query(Flash):
            (text, is_error), self._unsaid = self._unsaid, None
            self.flash(text, is_error=is_error)

    def legible(self, text: Text) -> Text:
        """The text in the characters this terminal has (`--ascii`)."""
        return plain(text, is_ascii=self.host.options.is_ascii)

    def may_change(self) -> bool:
        """Whether things may be changed here; says so if not."""
        if self.host.options.is_read_only:
            self.flash(READ_ONLY, is_error=True)
            return False
        return True

    async def do(self, work: Awaitable[_T], done: str = "") -> tuple[bool, _T | None]:
        """Wait for something and say how it went.

        Returns:
            Whether it worked, and its result.
        """
        try:
            result = await work
        except CommandRefusedError as refused:
            self.flash(fault_sentence(refused.fault, refused.detail), is_error=True)
            return False, None
        except OffsetError as problem:
            self.flash(str(problem), is_error=True)
            return False, None
        if done:
            self.flash(done)
        return True, result

    def on_paste_refused(self, event: PasteRefused) -> None:
        """A field did not take a paste."""
        self.flash(event.reason, is_error=True)

    def action_back(self) -> None:
        """Leave a detail; on a section, go home; at home, ask about leaving."""
        if self.host.before_back():
            return
        if len(self.host.screen_stack) > 1:
            self.dismiss()
        elif self.SECTION != "home":
            self.host.action_section("home")
        else:
            self.host.action_leave()

    def is_typing(self) -> bool:
        """Whether keys go into a field."""
        return isinstance(self.focused, Input | TextArea)
