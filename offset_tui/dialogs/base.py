"""What all dialogs share: they start on Cancel, ignore keys for a moment, and close with q or Escape.

A doubled or held key must never go through a question that has just appeared, so a dialog is armed only
after 400 ms without any key, and Enter only presses the button that has the focus. Keys that come faster
than fingers are a paste: they answer nothing. Source: tui.md §0 rule 9, §9.
"""

import time
from functools import partial
from typing import ClassVar, Final, Generic, TypeVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from offset_tui.keymap import pick
from offset_tui.widgets.inputs import LineInput, Problem

ARMED_AFTER_S: Final = 0.4
"""Silence that arms a dialog, seconds: every key that comes too early starts it anew."""
BURST_S: Final = 0.05
"""Two different keys closer together than this, in seconds, are pasted and not pressed."""
_R = TypeVar("_R")


class Burst:
    """Tells what is pasted without brackets from what is pressed; a held key is neither."""

    def __init__(self) -> None:
        self._last: events.Key | None = None
        self.count = 0
        """Keys heard that differ from the one before."""

    def heard(self, event: events.Key) -> bool:
        """Whether this key came right after another one that writes something."""
        last, self._last = self._last, event
        if last is not None and last.key == event.key:
            return False
        self.count += 1
        # When they were read, which a busy app does not stretch.
        return last is not None and bool(last.character) and event.time - last.time < BURST_S


class Following:
    """What is shown over a screen and changes with the card's picture."""

    def refresh_view(self) -> None:
        """Draw the latest picture."""


class Dialog(ModalScreen[_R], Generic[_R]):
    """A question over the screen; subclasses give `lines` and `answers`."""

    BINDINGS: ClassVar[list[BindingType]] = [*pick("dialog.cancel")]
    IS_ARMED_LATE: ClassVar[bool] = True
    """Whether keys are ignored at first; off for dialogs that only show something."""
    FIRST: ClassVar[str] = "#cancel"
    """What has the focus at first."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._opened = self._silent_since = time.monotonic()
        self._burst = Burst()

    def compose(self) -> ComposeResult:
        """Title, a body that scrolls, and answers that stay."""
        with Vertical(id="dialog") as box:
            box.border_title = Text(self._title)
            with VerticalScroll(id="dialog-body", can_focus=False):
                yield from self.content()
            with Horizontal(id="dialog-answers"):
                yield from self.answers()

    def content(self) -> ComposeResult:
        """What the dialog shows."""
        yield from ()

    def answers(self) -> ComposeResult:
        """Its buttons, Cancel first."""
        yield Button("Cancel", id="cancel", compact=True)

    def on_mount(self) -> None:
        """Start to count."""
        self._opened = self._silent_since = time.monotonic()
        first = self.query(self.FIRST)
        if first:
            first.first().focus()

    @property
    def is_armed(self) -> bool:
        """Whether keys do anything yet."""
        return not self.IS_ARMED_LATE or time.monotonic() - self._silent_since >= ARMED_AFTER_S

    async def _on_key(self, event: events.Key) -> None:
        is_pasted = self.IS_ARMED_LATE and self._burst.heard(event)
        if is_pasted or not self.is_armed:
            self._silent_since = time.monotonic()
            event.stop()
            event.prevent_default()
            return
        if self.decided(event):
            event.stop()
            return
        await super()._on_key(event)

    def decided(self, event: events.Key) -> bool:
        """Whether a key that came while the dialog was armed was its answer."""
        return False

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing happens before the dialog is armed."""
        return self.is_armed

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Cancel is the same everywhere."""
        event.stop()
        if event.button.id == "cancel":
            self.action_cancel()
        elif self.is_armed:
            self.answered(event.button.id or "")

    def answered(self, button: str) -> None:
        """A button other than Cancel was pressed."""

    def action_cancel(self) -> None:
        """Close without an answer."""
        self.dismiss(None)


class Confirm(Dialog[bool]):
    """Yes or no; `key` says yes as well, so that it is a decision and not a habit."""

    def __init__(self, title: str, lines: Text | str, verb: str, key: str = "y") -> None:
        super().__init__(title)
        self._lines, self._verb, self._key = lines, verb, key
        self._is_deciding = False

    def content(self) -> ComposeResult:
        """The question."""
        yield Static(Text(self._lines) if isinstance(self._lines, str) else self._lines)

    def answers(self) -> ComposeResult:
        """Cancel, and the verb itself."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button(Text(f"{self._verb} ({self._key})"), id="yes", variant="primary", compact=True)

    def answered(self, button: str) -> None:
        """Yes."""
        self.dismiss(True)

    @property
    def is_armed(self) -> bool:
        """Later if the key that opened it says yes: a held key begins to repeat only after half a second."""
        once_more_s = 0.0 if self._key == "y" else ARMED_AFTER_S
        return super().is_armed and time.monotonic() - self._opened >= ARMED_AFTER_S + once_more_s

    def decided(self, event: events.Key) -> bool:
        """The key that says yes."""
        is_yes = event.character == self._key
        if is_yes and not self._is_deciding:
            # It may be the first of a paste.
            self._is_deciding = True
            self.set_timer(BURST_S, partial(self._decide, self._burst.count))
        return is_yes

    def _decide(self, heard: int) -> None:
        """Yes, if no other key followed at once; otherwise the silence begins anew."""
        self._is_deciding = False
        if not self.is_current:
            return
        if self._burst.count == heard:
            self.dismiss(True)
        else:
            self._silent_since = time.monotonic()

    def action_cancel(self) -> None:
        """No."""
        self.dismiss(False)


class TypeToConfirm(Dialog[bool]):
    """For what cannot be undone: the name or word shown has to be typed."""

    FIRST: ClassVar[str] = "#word"

    BINDINGS: ClassVar[list[BindingType]] = [*pick("dialog.leave")]

    def __init__(self, title: str, lines: Text | str, word: str, verb: str) -> None:
        super().__init__(title)
        self._lines, self._word, self._verb = lines, word, verb

    def content(self) -> ComposeResult:
        """What is lost, and the field."""
        yield Static(Text(self._lines) if isinstance(self._lines, str) else self._lines)
        yield Static(Text(f"\nType {self._word} to confirm:"))
        yield LineInput(id="word")
        yield Problem(id="problem")

    def answers(self) -> ComposeResult:
        """Cancel, and the verb."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button(Text(self._verb), id="yes", variant="error", compact=True)

    def on_input_submitted(self) -> None:
        """Enter in the field."""
        self.answered("yes")

    def answered(self, button: str) -> None:
        """Only with the right word."""
        if not self.is_armed:
            return
        if self.query_one("#word", LineInput).value.strip() == self._word.strip():
            self.dismiss(True)
        else:
            self.query_one(Problem).say(f"this is not {self._word}")

    def action_cancel(self) -> None:
        """No."""
        self.dismiss(False)


class Notice(Dialog[None]):
    """Something to read."""

    IS_ARMED_LATE: ClassVar[bool] = False

    def __init__(self, title: str, text: Text | str) -> None:
        super().__init__(title)
        self._text = text

    def content(self) -> ComposeResult:
        """The text."""
        yield Static(Text(self._text) if isinstance(self._text, str) else self._text)

    def answers(self) -> ComposeResult:
        """One way out."""
        yield Button("Close", id="cancel", compact=True)


class Ask(Dialog[str | None]):
    """One line of text; None if cancelled."""

    FIRST: ClassVar[str] = "#line"

    IS_ARMED_LATE: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [*pick("dialog.leave")]

    def __init__(
        self,
        title: str,
        question: Text | str,
        value: str = "",
        *,
        is_secret: bool = False,
        length: int = 128,
    ) -> None:
        super().__init__(title)
        self._question, self._value, self._is_secret, self._length = (
            question,
            value,
            is_secret,
            length,
        )

    def content(self) -> ComposeResult:
        """The question and the field."""
        yield Static(Text(self._question) if isinstance(self._question, str) else self._question)
        yield LineInput(self._value, id="line", password=self._is_secret, max_length=self._length)

    def answers(self) -> ComposeResult:
        """Cancel and OK."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("OK", id="ok", variant="primary", compact=True)

    def on_input_submitted(self) -> None:
        """Enter in the field."""
        self.answered("ok")

    def answered(self, button: str) -> None:
        """What was typed."""
        self.dismiss(self.query_one("#line", LineInput).value)
