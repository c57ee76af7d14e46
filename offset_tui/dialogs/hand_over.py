"""The commit, to be given to the seller; `h` notes that it was.

Source: apps.md §5 S10.
"""

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine.client import Commit
from offset_tui.dialogs.share import ShareScreen
from offset_tui.keymap import pick

_AFTER = (
    "Give this to the seller: it lets them collect. Nobody else should have it.\n"
    "Then h: handed over. The receipt comes by itself when the seller has collected; you can leave"
    " the app meanwhile."
)


class HandOverScreen(ShareScreen):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [*pick("share.handed")]

    def __init__(self, commit: Commit, caption: str, handed: Callable[[], None]) -> None:
        super().__init__(commit, caption, _AFTER)
        self._handed = handed

    def on_mount(self) -> None:
        """One key more."""
        keys = f"y copy · f file · v QR code · {self._give_words()}h handed over · q back"
        self.query_one("#share-keys", Static).update(Text(keys, "dim"))

    def action_handed(self) -> None:
        """It was."""
        self._handed()
        self.dismiss(None)

    def say_collected(self) -> None:
        """The seller was quicker."""
        words = "The seller has collected: it is paid, and the receipt is kept. q goes back."
        self.query_one("#share-after", Static).update(Text(words, "bold green"))
