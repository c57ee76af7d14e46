"""A small form over the screen: some lines to type, some switches, one check before it closes.

Source: tui.md §7 (problems stay below the form, Enter goes to the next field).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Button, Static

from offset_tui.dialogs.base import Dialog
from offset_tui.keymap import pick
from offset_tui.widgets.inputs import LineInput, Problem
from offset_tui.widgets.tick import Tick


@dataclass(frozen=True, slots=True)
class Field:
    """A line to type."""

    key: str
    label: str
    value: str = ""
    is_secret: bool = False
    hint: str = ""
    """Shown while it is empty."""
    length: int = 256


@dataclass(frozen=True, slots=True)
class Switch:
    """On or off."""

    key: str
    label: str
    is_on: bool = False


@dataclass(frozen=True, slots=True)
class Filled:
    """What was typed and switched, by key."""

    texts: dict[str, str]
    switches: dict[str, bool]

    def text(self, key: str) -> str:
        """A line, without white space around it."""
        return self.texts[key].strip()

    def secret(self, key: str) -> str:
        """A passphrase, exactly as typed."""
        return self.texts[key]


class FieldsDialog(Dialog[Filled | None]):
    """See the module."""

    IS_ARMED_LATE: ClassVar[bool] = False
    BINDINGS: ClassVar[list[BindingType]] = [*pick("dialog.leave")]

    def __init__(
        self,
        title: str,
        lines: str,
        rows: Sequence[Field | Switch],
        verb: str = "OK",
        check: Callable[[Filled], str] = lambda _: "",
    ) -> None:
        super().__init__(title)
        self._lines, self._rows, self._verb, self._check = lines, tuple(rows), verb, check
        fields = [one for one in rows if isinstance(one, Field)]
        first = next((one for one in fields if not one.value), fields[0] if fields else None)
        self.FIRST = "#cancel" if first is None else f"#{first.key}"  # type: ignore[misc]

    def content(self) -> ComposeResult:
        """The explanation, the rows, and the problem if there is one."""
        yield Static(Text(self._lines))
        for row in self._rows:
            if isinstance(row, Switch):
                yield Tick(Text(row.label), row.is_on, id=row.key, compact=True)
            else:
                yield Static(Text(row.label), classes="label")
                yield LineInput(
                    row.value,
                    placeholder=row.hint,
                    id=row.key,
                    password=row.is_secret,
                    max_length=row.length,
                )
        yield Problem(id="problem")

    def answers(self) -> ComposeResult:
        """Cancel, and the verb."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button(Text(self._verb), id="save", variant="primary", compact=True)

    def on_input_submitted(self, event: LineInput.Submitted) -> None:
        """The next empty field; after the last one, done."""
        fields = list(self.query(LineInput))
        at = next(number for number, one in enumerate(fields) if one is event.input)
        for one in fields[at + 1 :]:
            if not one.value:
                one.focus()
                return
        self.answered("save")

    def filled(self) -> Filled:
        """What is in the form now."""
        return Filled(
            {one.id or "": one.value for one in self.query(LineInput)},
            {one.id or "": one.value for one in self.query(Tick)},
        )

    def answered(self, button: str) -> None:
        """Give it back, or say what is wrong."""
        filled = self.filled()
        problem = self._check(filled)
        if problem:
            self.query_one(Problem).say(problem)
        else:
            self.dismiss(filled)
