"""Handing over words instead of an artifact: the whole text to select, to copy, or to write to a file.

Source: tui.md §10 (copying over SSH is a hope); apps.md §5 (Share).
"""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from offset_engine.disk import expanded, write_file
from offset_engine.errors import OffsetError
from offset_engine.text import safe
from offset_tui.dialogs.base import Ask
from offset_tui.keymap import pick
from offset_tui.widgets.plain import plain


class TextShareScreen(ModalScreen[None]):
    """See the module; `text` is our own words, what is foreign in it was made safe by whoever wrote it."""

    AUTO_FOCUS = "#share-scroll"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("share.close", "share.copy", "share.file")]

    def __init__(self, text: str, caption: str, file_name: str, after: str = "") -> None:
        super().__init__()
        self.text = text
        self._caption, self._file_name, self._after = caption, file_name, after

    def compose(self) -> ComposeResult:
        """Caption, keys, and the text, which scrolls."""
        with Vertical(id="share"):
            yield Static(Text(safe(self._caption, 200), "bold"), id="share-caption")
            words = Text("y copy · f write to a file · q back", "dim")
            if self._after:
                words.append(f"\n{self._after}", "")
            yield Static(plain(words, is_ascii=self._is_ascii), id="share-keys")
            with VerticalScroll(id="share-scroll"):
                yield Static(Text(self.text), id="share-words", markup=False)
            yield Static("", id="share-flash", markup=False)

    @property
    def _is_ascii(self) -> bool:
        return bool(getattr(getattr(self.app, "options", None), "is_ascii", False))

    def _say(self, text: str) -> None:
        self.query_one("#share-flash", Static).update(Text(safe(text, 300)))

    def action_close(self) -> None:
        """Done."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """OSC 52: the terminal decides."""
        self.app.copy_to_clipboard(self.text)
        self._say("sent to your terminal; if nothing pastes, select the text above or press f")

    def action_file(self) -> None:
        """Ask where to."""
        place = str(Path.home() / self._file_name)
        asked = Ask("Write to a file", "Path of the new file:", place, length=1_024)
        self.app.push_screen(asked, self._write)

    def _write(self, typed: str | None) -> None:
        if not typed:
            return
        try:
            path = expanded(typed)
            write_file(path, self.text)
        except OffsetError as problem:
            self._say(str(problem))
        else:
            self._say(f"written to {path}")
