"""Handing over a .rcard: as a file first, on screen only when asked for, with a warning.

Source: tui.md §10; files.is_secret.
"""

from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from offset_engine import files
from offset_engine.disk import expanded
from offset_engine.errors import OffsetError
from offset_engine.files import RemoteCard
from offset_engine.text import safe
from offset_tui.dialogs.base import Ask
from offset_tui.keymap import pick

_WARNING: Final = (
    "SECRET. Whoever has this text can use the card as far as its permissions go. Bring it to the other device"
    " yourself, then delete the file. It is shown this once: the key is kept nowhere else."
)
_KEYS: Final = "f write to a file (only you can read it), s show the text here, q done"


class SecretShareScreen(ModalScreen[None]):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [*pick("secret.close", "secret.file", "secret.show")]

    def __init__(self, content: RemoteCard, caption: str) -> None:
        super().__init__()
        self._content, self._caption = content, caption
        self._is_saved = False

    def compose(self) -> ComposeResult:
        """Caption, warning, keys, and a place for the text."""
        with Vertical(id="share"):
            yield Static(Text(safe(self._caption, 200), "bold"))
            yield Static(Text(_WARNING, "bold yellow"))
            yield Static(Text(_KEYS, "dim"))
            yield Static(id="secret-text", markup=False)
            yield Static(id="secret-flash", markup=False)

    def action_reveal(self) -> None:
        """On screen, as one asked."""
        self._is_saved = True
        text = files.to_json(self._content)
        self.query_one("#secret-text", Static).update(Text(text, no_wrap=False))

    def action_file(self) -> None:
        """Ask where to."""
        self.app.push_screen(
            Ask(
                "Write the .rcard",
                "Path of the new file:",
                str(Path.home() / "card.rcard"),
                length=1_024,
            ),
            self._write,
        )

    def _write(self, typed: str | None) -> None:
        if not typed:
            return
        try:
            path = expanded(typed)
            files.write(path, self._content)
        except OffsetError as problem:
            self._say(str(problem))
        else:
            self._is_saved = True
            self._say(f"written to {path}, readable by you only")

    def _say(self, text: str) -> None:
        self.query_one("#secret-flash", Static).update(Text(safe(text, 300)))

    def action_close(self) -> None:
        """Done; not before the key was taken, unless asked twice."""
        if self._is_saved:
            self.dismiss()
        else:
            self._is_saved = True
            self._say(
                "the key was not taken yet: f writes it; q again leaves it (remove the app then)"
            )
