"""Choose one of a few things."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from offset_tui.dialogs.base import Dialog


class Pick(Dialog[str | None]):
    """Options with keys; dismissed with the key chosen, or None."""

    FIRST: ClassVar[str] = "#options"

    IS_ARMED_LATE: ClassVar[bool] = False

    def __init__(
        self, title: str, question: str, options: Sequence[tuple[str, Text | str]]
    ) -> None:
        super().__init__(title)
        self._question, self._options = question, tuple(options)

    def content(self) -> ComposeResult:
        """The options."""
        if self._question:
            yield Static(Text(self._question))
        yield OptionList(
            *(
                Option(Text(shown) if isinstance(shown, str) else shown, id=key)
                for key, shown in self._options
            ),
            id="options",
            compact=True,
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Chosen."""
        event.stop()
        if self.is_armed:
            self.dismiss(event.option.id)


class Decide(Pick):
    """Options that have consequences: a key meant for what was shown before must not choose one."""

    IS_ARMED_LATE: ClassVar[bool] = True
