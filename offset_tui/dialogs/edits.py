"""Editing one value of a friendship, with what it would mean shown while typing.

Source: apps.md §5 S30, S32; tui.md §7; design R8.
"""

from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Button, Static

from offset_engine.client import Rate
from offset_engine.text import EntryError, format_amount, parse_rate, safe
from offset_tui import people
from offset_tui.dialogs.base import Dialog
from offset_tui.keymap import pick
from offset_tui.state import Line
from offset_tui.widgets.inputs import AmountInput, LineInput, PasteRefused, Problem

_V = TypeVar("_V")


class EditDialog(Dialog[_V | None], Generic[_V]):
    """One field; `read` says what is in it, `meaning` what that would do."""

    IS_ARMED_LATE: ClassVar[bool] = False
    FIRST: ClassVar[str] = "#value"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("dialog.leave")]

    def __init__(self, title: str, lines: str) -> None:
        super().__init__(title)
        self._lines = lines

    def field(self) -> LineInput:
        """What is typed into; its id is `value`."""
        raise NotImplementedError

    def read(self) -> _V:
        """What was typed.

        Raises:
            EntryError: it cannot be read.
        """
        raise NotImplementedError

    def meaning(self, value: _V) -> str:
        """What the value would do."""
        raise NotImplementedError

    def content(self) -> ComposeResult:
        """How things are, the field, and what it would mean."""
        yield Static(Text(self._lines))
        yield self.field()
        yield Problem(id="problem")
        yield Static("", classes="echo", id="meaning", markup=False)

    def answers(self) -> ComposeResult:
        """Cancel and Save."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("Save", id="save", variant="primary", compact=True)

    def on_mount(self) -> None:
        """What the value is now would mean."""
        self.on_input_changed()

    def on_input_changed(self) -> None:
        """Say what it would mean; say nothing about what is not finished."""
        self.query_one(Problem).say("")
        try:
            shown = self.meaning(self.read())
        except EntryError:
            shown = ""
        self.query_one("#meaning", Static).update(Text(shown))

    def on_paste_refused(self, event: PasteRefused) -> None:
        """Not an amount."""
        self.query_one(Problem).say(event.reason)

    def on_input_submitted(self) -> None:
        """Enter in the field."""
        self.answered("save")

    def answered(self, button: str) -> None:
        """Give it back, or say what is wrong."""
        try:
            self.dismiss(self.read())
        except EntryError as problem:
            self.query_one(Problem).say(safe(str(problem), 300))


class LimitDialog(EditDialog[int]):
    """The most a friend may owe us."""

    def __init__(self, line: Line, decimals: int) -> None:
        super().__init__(
            f"Limit for {line.name} in {line.currency}",
            f"Now {format_amount(line.i_grant, decimals)} {line.currency}. The most {line.name} may owe you:",
        )
        self._line, self._decimals = line, decimals

    def field(self) -> LineInput:
        """An amount from 0."""
        shown = format_amount(self._line.i_grant, self._decimals)
        return AmountInput(self._decimals, shown, id="value", least=0)

    def read(self) -> int:
        """Credits."""
        return self.query_one(AmountInput).credits()

    def meaning(self, value: int) -> str:
        """The most one can lose."""
        return people.limit_notes(self._line, value, self._decimals)


class ToldDialog(EditDialog[int]):
    """What the friend says they grant us; it is only noted."""

    def __init__(self, line: Line, decimals: int) -> None:
        super().__init__(
            f"What {line.name} grants you in {line.currency}",
            f"Up to how much does {line.name} say they trust you? This is only noted here:"
            " what really passes is up to their card.",
        )
        self._line, self._decimals = line, decimals

    def field(self) -> LineInput:
        """An amount from 0."""
        granted = self._line.granted
        shown = "" if granted is None else format_amount(granted, self._decimals)
        return AmountInput(self._decimals, shown, id="value", least=0)

    def read(self) -> int:
        """Credits."""
        return self.query_one(AmountInput).credits()

    def meaning(self, value: int) -> str:
        """What could then be paid."""
        can_pay = max(value + (self._line.balance or 0) - self._line.pending_out, 0)
        return (
            f"You could then pay up to {format_amount(can_pay, self._decimals)}"
            f" {self._line.currency} through {self._line.name}, if that is so."
        )


class FeeDialog(EditDialog[Rate]):
    """What we charge for passing on what a friend sends."""

    def __init__(self, line: Line, rate: Rate, decimals: int) -> None:
        super().__init__(
            f"Fee for {line.name} in {line.currency}",
            f"What you charge for passing payments of {line.name} on, like 0.5 % + 0.01, 0.5 %,"
            " 0.01 or free:",
        )
        self._line, self._rate, self._decimals = line, rate, decimals

    def field(self) -> LineInput:
        """Percent, constant or both."""
        return LineInput(people.rate_words(self._rate, self._decimals), id="value", max_length=60)

    def read(self) -> Rate:
        """The fee."""
        return parse_rate(self.query_one(LineInput).value, self._decimals)

    def meaning(self, value: Rate) -> str:
        """On a hundred."""
        return people.fee_preview(value, self._line.currency, self._decimals)


class RenameDialog(EditDialog[str]):
    """What we call a friend; only this card knows."""

    def __init__(self, name: str, check: Callable[[str], str]) -> None:
        super().__init__("Rename", "What you call this friend (only you see it):")
        self._old, self._check = name, check

    def field(self) -> LineInput:
        """A line."""
        return LineInput(people.typable(self._old), id="value", max_length=64)

    def read(self) -> str:
        """The name.

        Raises:
            EntryError: it is empty or in use.
        """
        name = self.query_one(LineInput).value.strip()
        problem = self._check(name)
        if problem:
            raise EntryError(problem)
        return name

    def meaning(self, value: str) -> str:
        """As it will be shown."""
        return "" if safe(value) == value else f"shown as {safe(value)}"
