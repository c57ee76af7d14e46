"""A box that takes a text somebody sent, and says at once what it is.

While it is empty, keys that mean something on the screen keep meaning it, so that a section that begins with
such a box is no trap: no artifact begins with a digit or one of these letters.

Source: tui.md §7, §10; design R48.
"""

from typing import Final

from textual import events
from textual.message import Message

from offset_engine.errors import OffsetError
from offset_engine.files import Artifact
from offset_tui import reviews
from offset_tui.widgets.inputs import PasteArea

_PASSED: Final = frozenset("0123456789qcjknvxyshKEPVG?:/")
"""Keys that go to the screen while the box is empty."""


class ArtifactBox(PasteArea):
    """See the module."""

    class Found(Message):
        """It holds something whole."""

        def __init__(self, artifacts: list[Artifact]) -> None:
            super().__init__()
            self.artifacts = artifacts

    class Unread(Message):
        """What was put in cannot be read; `reason` is a sentence, "" = there is nothing to say any more."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    _complained = ""
    """The text that was called unreadable; nothing is taken back while it stands."""

    def on_mount(self) -> None:
        """A frame of plain signs where asked for."""
        self.set_class(
            bool(getattr(getattr(self.app, "options", None), "is_ascii", False)), "-ascii"
        )

    def action_cursor_down(self, select: bool = False) -> None:  # noqa: FBT001, FBT002 - Textual's
        """From an empty box on to what is below."""
        if self.text:
            super().action_cursor_down(select)
        else:
            self.screen.focus_next()

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        """An empty box leaves some keys to the screen."""
        if self._passes(key, character):
            return False
        return super().check_consume_key(key, character)

    def _passes(self, key: str, character: str | None) -> bool:
        return not self.text and (character in _PASSED or key in ("enter", "f1"))

    async def _on_key(self, event: events.Key) -> None:
        if self._passes(event.key, event.character):
            event.prevent_default()
            return
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.take(is_whole=True)
            return
        await super()._on_key(event)
        event.prevent_default()

    async def _on_paste(self, event: events.Paste) -> None:
        await super()._on_paste(event)
        if self.text:
            self.take(is_whole=True)

    def on_text_area_changed(self) -> None:
        """A text may also arrive key by key."""
        self.take(is_whole=False)

    def take(self, *, is_whole: bool) -> None:
        """Read what is there; complain only if that was all."""
        if not self.text.strip():
            self.post_message(self.Unread(""))
            return
        try:
            found = reviews.read(self.text)
        except OffsetError as problem:
            if is_whole:
                self._complained = self.text
                self.post_message(self.Unread(str(problem)))
            elif self.text != self._complained:
                self.post_message(self.Unread(""))
            return
        self.text = ""
        self.post_message(self.Found(found))
