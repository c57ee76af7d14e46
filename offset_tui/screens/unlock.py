"""Passphrases: opening a protected card, and hiding the screen while nobody is there.

Source: apps.md §6.11 (RMP-36); tui.md §2.6.
"""

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from offset_engine.errors import OffsetError
from offset_engine.text import safe
from offset_tui.dialogs.base import Ask, Notice
from offset_tui.doors import NeedsPassphraseError, OpenCard
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
        except OffsetError as problem:
            app.push_screen(Notice("This card cannot be opened", safe(str(problem), 600)))
            return None


class LockScreen(ModalScreen[None]):
    """Shows nothing but a field; the card goes on behind it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "app.exit", "Quit", id="lock.quit", show=False),
    ]

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
            self.dismiss()


async def lock(app: "OffsetApp", *, says_why: bool = True) -> None:
    """Lock the screen, if the open card has a passphrase to unlock it with."""
    if not app.has_session or app.is_locked:
        return
    name = app.session.name
    known = {one.name: one for one in await app.door.cards()}
    if name in known and not known[name].is_locked:
        if says_why:
            app.tell("this card has no passphrase to unlock with: p on Cards sets one")
        return
    app.push_screen(LockScreen(name))
