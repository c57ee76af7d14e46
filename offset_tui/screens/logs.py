"""The end of the log: what the app and the cards it runs wrote down last.

Source: apps.md §5, MOB-46.
"""

from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from offset_engine.text import safe
from offset_tui.keymap import pick

BYTES_SHOWN: Final = 32_768
_LINE_CELLS: Final = 400


def tail(path: Path | None) -> str:
    """Its last lines, harmless; or why there are none."""
    if path is None:
        return "This app writes no log."
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - BYTES_SHOWN))
            raw = file.read(BYTES_SHOWN)
    except OSError as error:
        return f"{safe(str(path), _LINE_CELLS)} cannot be read: {error.strerror}"
    lines = raw.decode(errors="replace").splitlines()
    # The first one was most likely cut.
    whole = lines[1:] if len(raw) == BYTES_SHOWN else lines
    return "\n".join(safe(one, _LINE_CELLS) for one in whole) or "Nothing is in it."


class LogScreen(ModalScreen[None]):
    """See the module; it is read once, when it is opened."""

    BINDINGS: ClassVar[list[BindingType]] = [*pick("topic.close")]

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._path = path

    def compose(self) -> ComposeResult:
        """Where it is, then its end."""
        with VerticalScroll(id="topic"):
            if self._path is not None:
                yield Static(Text(f"{safe(str(self._path), _LINE_CELLS)}\n", "bold"))
            yield Static(Text(tail(self._path)), id="log")
        yield Static(Text("q back · arrows and page keys scroll", "dim"), id="topic-keys")

    def on_mount(self) -> None:
        """The newest is at the end."""
        scroll = self.query_one("#topic", VerticalScroll)
        scroll.focus()
        scroll.scroll_end(animate=False)

    def action_close(self) -> None:
        """Back to the screen."""
        self.dismiss()
