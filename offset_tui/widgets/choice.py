"""One of a few fixed things, in one line: `( ) 1 hour  (•) 24 hours`.

Source: tui.md §4.1, §7.
"""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.widget import Widget

from offset_tui.keymap import pick


class Choice(Widget, can_focus=True):
    """Space, left and right choose."""

    DEFAULT_CSS: ClassVar[str] = "Choice { height: auto; min-height: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("choice.next", "choice.before")]

    def __init__(
        self,
        options: Sequence[str],
        chosen: int = 0,
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._options = tuple(options)
        self.chosen = chosen

    def render(self) -> Text:
        """All of them, the chosen one marked."""
        is_ascii = bool(getattr(getattr(self.app, "options", None), "is_ascii", False))
        dot = "*" if is_ascii else "•"
        shown = Text()
        for number, words in enumerate(self._options):
            is_chosen = number == self.chosen
            style = "bold reverse" if is_chosen and self.has_focus else "bold" if is_chosen else ""
            # Together on one line: a sign must not stand apart from its words.
            mark = f"({dot}) " if is_chosen else "( ) "
            shown.append((mark + words).replace(" ", "\xa0"), style)
            shown.append("  ")
        return shown

    def choose(self, number: int) -> None:
        """Choose this one."""
        self.chosen = number % len(self._options)
        self.refresh()

    def action_turn(self, step: int) -> None:
        """The next, or the one before."""
        self.choose(self.chosen + step)
