"""Passphrases: opening a protected card, and hiding the screen while nobody is there.

Source: apps.md §6.11 (RMP-36); tui.md §2.6.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import events, work
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widget import AwaitMount
from textual.widgets import Static

from offset_engine.errors import OffsetError
from offset_engine.text import safe
from offset_tui.crash import ProcessApp
from offset_tui.dialogs.base import Ask, Notice
from offset_tui.doors import NeedsPassphraseError, OpenCard
from offset_tui.keymap import pick
from offset_tui.widgets.inputs import LineInput, Problem

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp

PASSPHRASE_MAX = 1_024


async def open_with_passphrase(
    app: "OffsetApp", name: str, passphrase: str | None = None
) -> OpenCard | None:
    """Open a card, asking for its passphrase until it is right or given up; None if it cannot be opened."""
    while True:
        try:
            return await app.door.open(name, passphrase)
        except NeedsPassphraseError as problem:
            said = "" if passphrase is None else f"{safe(str(problem), 200)}\n\n"
            passphrase = await app.push_screen_wait(
                Ask(
                    "Protected card",
                    f"{said}Passphrase of the card {safe(name, 40)}:",
                    is_secret=True,
                    length=PASSPHRASE_MAX,
                )
            )
            if passphrase is None:
                return None
            passphrase = passphrase or " "  # an empty one is wrong like any other
        except OffsetError as problem:
            app.push_screen(Notice("This card cannot be opened", safe(str(problem), 600)))
            return None


class LockScreen(ModalScreen[None]):
    """Shows nothing but a field; the card goes on behind it."""

    BINDINGS: ClassVar[list[BindingType]] = [*pick("lock.quit")]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._card = name

    def compose(self) -> ComposeResult:
        """The field."""
        with Vertical(id="lock"):
            yield Static(Text("Offset is locked. Payments go on behind this screen."))
            yield Static(Text(f"\nPassphrase of {safe(self._card, 40)}:"))
            yield LineInput(id="passphrase", password=True, max_length=PASSPHRASE_MAX)
            yield Problem()

    @work(exclusive=True)
    async def on_input_submitted(self) -> None:
        """Try it."""
        from offset_tui.app import OffsetApp  # noqa: PLC0415 - the app knows this screen

        field = self.query_one(LineInput)
        app = self.app
        if not isinstance(app, OffsetApp):
            return
        try:
            await app.door.check_passphrase(self._card, field.value)
        except OffsetError as problem:
            field.value = ""
            self.query_one(Problem).say(safe(str(problem), 200))
        else:
            app.release_lock()
            self.dismiss()


class LockingApp(ProcessApp):
    """An app whose lock stays on top, whatever is opened, closed or exchanged under it meanwhile."""

    _lock: LockScreen | None = None

    @property
    def is_locked(self) -> bool:
        """Whether everything is hidden until the passphrase is typed."""
        return self._lock is not None

    def hold_lock(self, name: str) -> None:
        """Hide everything until the passphrase of this card is typed."""
        if self.is_locked:
            return
        self.clear_notifications()
        screen = LockScreen(name)
        self.push_screen(screen)
        self._lock = screen

    def release_lock(self) -> None:
        """The passphrase was right: the lock may be put away."""
        self._lock = None

    @contextmanager
    def _below_lock(self) -> Iterator[None]:
        lock = self._lock
        if lock is None or lock not in self._screen_stack:
            yield
            return
        self._screen_stack.remove(lock)
        try:
            yield
        finally:
            self.screen.post_message(events.ScreenSuspend())
            self._screen_stack.append(lock)
            lock.post_message(events.ScreenResume())

    def push_screen(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as Textual's, whatever its form
        """See Textual."""
        with self._below_lock():
            return super().push_screen(*args, **kwargs)

    def pop_screen(self) -> AwaitComplete:
        """See Textual; the lock is put away by its passphrase only."""
        with self._below_lock():
            if self.is_locked and len(self._screen_stack) <= 1:
                return AwaitComplete()
            return super().pop_screen()

    def switch_screen(self, screen: Screen[Any] | str) -> AwaitComplete:
        """See Textual."""
        with self._below_lock():
            return super().switch_screen(screen)

    def switch_mode(self, mode: str) -> AwaitMount:
        """See Textual; the lock comes along."""
        with self._below_lock():
            return super().switch_mode(mode)

    def put_away_other_sections(self) -> None:
        """Take down all sections but the one shown: what stands there was of another card."""
        for mode in tuple(self._screen_stacks):
            if mode != self.current_mode and mode in self._modes:
                make = self._modes[mode]
                self.remove_mode(mode)
                self._modes[mode] = make

    def put_away_details(self) -> None:
        """Close everything that stands over the section shown, questions as if nobody agreed."""
        while above := [one for one in self.screen_stack[1:] if one is not self._lock]:
            above[-1].dismiss()


async def lock(app: "OffsetApp", *, says_why: bool = True) -> None:
    """Lock the screen, if the open card has a passphrase to unlock it with."""
    if not app.has_session or app.is_locked:
        return
    name = app.session.name
    known = {one.name: one for one in await app.door.cards()}
    if name not in known or not known[name].is_locked:
        if says_why:
            app.tell("this card has no passphrase to unlock with: p on Cards sets one")
        return
    app.hold_lock(name)
