"""A list, and beside it, where there is room, what the row under the cursor is about.

At fewer than 110 columns there is only the list. The words beside it follow the cursor within a frame, however fast
it moves, and cost the same however long the list is; enter opens the whole. Source: tui.md §4; issue of the app.
"""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from offset_tui.screens.base import CardScreen


class SidesScreen(CardScreen):
    """See the module; subclasses compose `beside` and say what `side` says."""

    STACKED: ClassVar[bool] = False
    """Whether the words stand below the list where there is no room beside it."""
    _is_due = False

    def beside(self, *parts: Widget) -> ComposeResult:
        """The list with what belongs to it, and the place for the words."""
        with Container(id="sides"):
            if len(parts) == 1:
                yield parts[0].add_class("list")
            else:
                with Vertical(classes="list"):
                    yield from parts
            stacked = "-stacked" if self.STACKED else ""
            with VerticalScroll(id="side", can_focus=False, classes=stacked):
                yield Static(id="side-words", markup=False)

    def side(self) -> Text | None:
        """What to say about the row under the cursor; None if there is none."""
        raise NotImplementedError

    def on_data_table_row_highlighted(self) -> None:
        """Another row: say so after the next frame, once for all moves until then."""
        if not self._is_due:
            self._is_due = True
            self.call_after_refresh(self._follow)

    def _follow(self) -> None:
        self._is_due = False
        self.redraw(self.show_side)

    def on_resize(self) -> None:
        """There may be room now."""
        self.on_data_table_row_highlighted()

    def show_side(self) -> None:
        """Say it now, if there is a place for it."""
        if not (self.STACKED or self.has_class("-wide")):
            return
        words = self.side()
        self.query_one("#side").set_class(words is not None, "-on")
        if words is not None:
            self.query_one("#side-words", Static).update(self.legible(words))
