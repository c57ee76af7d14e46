"""`ctrl+o` and `c`: one box for whatever somebody gave you, as text or as a file's path.

Source: design R48; tui.md §10.
"""

import os
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Button, Static

from offset_engine import files
from offset_engine.disk import expanded
from offset_engine.errors import FileError
from offset_engine.files import Artifact
from offset_engine.text import safe
from offset_tui import reviews
from offset_tui.dialogs.base import Dialog
from offset_tui.keymap import pick
from offset_tui.widgets.inputs import PasteArea, PasteRefused, Problem

_WHAT = (
    "Paste an invoice, commit, receipt, friend card, invite, answer or servers text,"
    " or type the path of such a file. Nothing happens before you have looked at it."
)


def read_text_or_path(typed: str) -> list[Artifact]:
    """Artifacts in a text, or in the file it names.

    Raises:
        FileError: neither holds one.
    """
    bare = typed.strip()
    if not bare:
        raise FileError("paste a text first, or type the path of a file")
    is_path = "\n" not in bare and len(bare) < 1024 and not bare.lower().startswith("offset1:")
    if is_path and (bare.startswith(("/", "~", ".")) or Path(bare).suffix) and "{" not in bare:
        looks_like_one = bare.startswith(("/", "~", "./", "../"))
        try:
            path = expanded(bare)
        except FileError:
            if looks_like_one:
                raise
            return reviews.read(typed)
        if looks_like_one or os.path.lexists(path):
            return files.load_any(path)
    return reviews.read(typed)


class ImportDialog(Dialog[list[Artifact] | None]):
    """Returns what was found."""

    FIRST: ClassVar[str] = "#paste"

    IS_ARMED_LATE: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [*pick("dialog.leave", "import.take")]

    def __init__(self, title: str = "Import", what: str = _WHAT) -> None:
        super().__init__(title)
        self._what = what

    def content(self) -> ComposeResult:
        """The box."""
        yield Static(Text(self._what))
        yield PasteArea(id="paste")
        yield Problem(id="problem")

    def answers(self) -> ComposeResult:
        """Cancel and Open."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("Open (ctrl+o)", id="take", variant="primary", compact=True)

    def on_text_area_changed(self) -> None:
        """A whole artifact opens by itself: the paste was the decision to look at it."""
        text = self.query_one(PasteArea).text
        self.query_one(Problem).say("")
        if "offset1:" in text.lower() or text.strip().startswith("{"):
            try:
                found = reviews.read(text)
            except FileError:
                return
            self.dismiss(found)

    def on_paste_refused(self, event: PasteRefused) -> None:
        """Too long."""
        self.query_one(Problem).say(event.reason)

    def answered(self, button: str) -> None:
        """Open."""
        self.action_take()

    def action_take(self) -> None:
        """Read what is there."""
        try:
            self.dismiss(read_text_or_path(self.query_one(PasteArea).text))
        except FileError as problem:
            self.query_one(Problem).say(safe(str(problem), 400))
