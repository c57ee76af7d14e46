"""Where people type: amounts, one-line texts, and texts somebody sent them.

Textual's number inputs hang on long input, and its inputs drop a paste they dislike without a word; these
say what is wrong. Source: tui.md §7, §10; design R8.
"""

from typing import ClassVar, Final

from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Input, Static, TextArea

from offset_engine import text
from offset_engine.client import CREDITS_MAX

PASTE_BYTES_MAX: Final = 65_536


class LineInput(Input):
    """One line of text; a paste keeps all of its text, on one line."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        value: str = "",
        *,
        placeholder: str = "",
        id: str | None = None,
        max_length: int = 0,
        password: bool = False,
    ) -> None:
        super().__init__(
            value,
            placeholder=placeholder,
            id=id,
            compact=True,
            max_length=max_length,
            password=password,
        )

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        line = " ".join(event.text.split())
        self.insert_text_at_cursor("".join(char for char in line if char.isprintable()))

    def action_copy(self) -> None:
        """Send what is selected to the clipboard; a passphrase never leaves its field."""
        if not self.password:
            super().action_copy()

    def action_cut(self) -> None:
        """The same, and take it away."""
        if not self.password:
            super().action_cut()


class AmountInput(LineInput):
    """An amount in a currency; `credits` reads it."""

    def __init__(
        self,
        decimals: int,
        value: str = "",
        *,
        id: str | None = None,
        least: int = 1,
        most: int = CREDITS_MAX,
    ) -> None:
        super().__init__(
            value, placeholder="0" if decimals in (0, 255) else "0." + "0" * min(decimals, 6), id=id
        )
        self.max_length = text.TYPED_CHARS_MAX
        self.decimals = decimals
        self._least, self._most = least, most

    def credits(self) -> int:
        """What was typed, in credits.

        Raises:
            EntryError: it cannot be read; its text says why.
        """
        return text.parse_amount(self.value, self.decimals, least=self._least, most=self._most)

    def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        tidy = text.tidy_amount(event.text)
        if not tidy or any(char not in text.AMOUNT_CHARS for char in tidy):
            self.post_message(PasteRefused("the text in the clipboard is not an amount"))
            return
        self.insert_text_at_cursor(tidy)


class PasteRefused(Message):
    """A paste was not taken; `reason` is a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class PasteArea(TextArea):
    """A box for a text somebody sent: invoice, commit, invite and the like."""

    def __init__(self, *, placeholder: str = "", id: str | None = None) -> None:
        super().__init__(
            id=id, soft_wrap=True, compact=True, placeholder=placeholder, show_line_numbers=False
        )
        self.tab_behavior = "focus"

    async def _on_paste(self, event: events.Paste) -> None:
        if len(event.text) > PASTE_BYTES_MAX:
            event.stop()
            event.prevent_default()
            self.post_message(
                PasteRefused("this text is too long to be one of ours (64 kB at most)")
            )
            return
        event.stop()
        event.prevent_default()
        self.insert("".join(char for char in event.text if char in "\n\t" or char.isprintable()))


class Problem(Static):
    """The sentence under a field that says what is wrong with it; takes no room while there is none."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.display = False

    def say(self, sentence: str) -> None:
        """Show a problem; "" hides it."""
        self.update(sentence)
        self.display = bool(sentence)
