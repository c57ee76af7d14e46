"""A form: fields one under another, what each means under it, and one button.

Enter goes to the next field and, from the last one, on; `ctrl+g` goes on from anywhere. What is wrong is said
under its field. A form is deaf for its first moment, so that the end of a paste cannot send it off.

Source: tui.md §7; design R48.
"""

import time
from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.suggester import SuggestFromList
from textual.widgets import Button, Checkbox, Input, Label, Static

from offset_engine.client import NAME_BYTES_MAX, Currency
from offset_engine.text import EntryError, safe
from offset_tui.dialogs.base import ARMED_AFTER_S, Confirm
from offset_tui.keymap import pick
from offset_tui.people import DECIMALS_MAX
from offset_tui.screens.base import CardScreen
from offset_tui.widgets.inputs import AmountInput, LineInput, Problem


class FieldError(Exception):
    """What is wrong with one field; the text is the sentence for it."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


class FormScreen(CardScreen):
    """See the module; subclasses give `fields`, `verb`, and `submit`."""

    VERB: ClassVar[str] = "Go on"
    AUTO_FOCUS = "Input"
    KEEPS_DRAFT = True
    BINDINGS: ClassVar[list[BindingType]] = [*pick("form.submit")]

    def __init__(self) -> None:
        super().__init__()
        self._opened = 0.0
        self._is_busy = False
        self._first: tuple[str, ...] = ()

    # --- for subclasses -------------------------------------------------------------------------

    def head(self) -> Text:
        """What the form is about."""
        return Text()

    def fields(self) -> ComposeResult:
        """Made by `field_row` and `Checkbox`."""
        yield from ()

    def blocked(self) -> str:
        """Why there is nothing to fill in; "" if there is."""
        return ""

    def changed(self) -> None:
        """Say under the fields what they mean."""

    async def submit(self) -> None:
        """Read the fields and do it.

        Raises:
            FieldError: a field cannot be read; nothing was done.
        """

    # --- drawing --------------------------------------------------------------------------------

    def body(self) -> ComposeResult:
        """Head, fields, button."""
        with VerticalScroll(id="form", can_focus=False):
            yield Static(self.legible(self.head()), id="form-head", markup=False)
            problem = self.blocked()
            if problem:
                yield Static(Text("\n" + problem, "bold"), id="form-blocked", markup=False)
            else:
                yield from self.fields()
                with Horizontal(id="form-actions"):
                    yield Button(
                        f"{self.VERB} (ctrl+g)", id="submit", variant="primary", compact=True
                    )

    def on_mount(self) -> None:
        """Remember what stood there at first."""
        self._opened = time.monotonic()
        self._first = self._typed()
        self.changed()

    def _typed(self) -> tuple[str, ...]:
        return tuple(one.value for one in self.query(Input))

    @property
    def is_changed(self) -> bool:
        """Whether something was typed."""
        return self._typed() != self._first

    @property
    def is_armed(self) -> bool:
        """Whether the form goes on yet when it is told to."""
        return time.monotonic() - self._opened >= ARMED_AFTER_S

    def echo(self, field: str, text: str) -> None:
        """Say what a field means, under it."""
        shown = self.query_one(f"#{field}-echo", Static)
        shown.update(Text(text))
        shown.display = bool(text)

    def has(self, field: str) -> bool:
        """Whether the form has this field and shows it."""
        found = self.query(f"#{field}")
        return bool(found) and found.first().display

    def show_field(self, field: str, *, is_shown: bool) -> None:
        """Take a field off the form, or put it back."""
        self.query_one(f"#{field}-row").display = is_shown
        self.query_one(f"#{field}").display = is_shown

    # --- reading --------------------------------------------------------------------------------

    def text(self, field: str) -> str:
        """A line of text."""
        return self.query_one(f"#{field}", Input).value.strip()

    def is_on(self, field: str) -> bool:
        """A checkbox."""
        return self.query_one(f"#{field}", Checkbox).value

    def amount(self, field: str) -> int:
        """Credits.

        Raises:
            FieldError: it cannot be read.
        """
        found = self.query_one(f"#{field}", AmountInput)
        if not found.value.strip():
            raise FieldError(field, "required: type an amount; 0 grants nothing")
        try:
            return found.credits()
        except EntryError as problem:
            raise FieldError(field, safe(str(problem), 300)) from None

    def currency(self, field: str = "currency") -> Currency:
        """A currency.

        Raises:
            FieldError: it is none.
        """
        typed = self.text(field)
        if not typed:
            raise FieldError(field, "required: the name of a currency, like OUSD or HOURS")
        try:
            return Currency.of(typed)
        except ValueError as problem:
            raise FieldError(field, safe(str(problem), 300)) from None

    def decimals(self, currency: Currency, field: str = "decimals") -> int:
        """Digits after the point: as this card has them, else as typed (design R8).

        Raises:
            FieldError: it is no small number.
        """
        if self.uses(currency):
            return self.session.decimals(currency)
        typed = self.text(field)
        if not (typed.isascii() and typed.isdigit() and int(typed[:4]) <= DECIMALS_MAX):
            raise FieldError(field, f"a number from 0 to {DECIMALS_MAX}")
        return int(typed)

    def uses(self, currency: Currency) -> bool:
        """Whether this card uses the currency already, so that its decimals are fixed."""
        return currency in self.used_currencies()

    def used_currencies(self) -> list[Currency]:
        """Currencies of this card and its friends, to suggest."""
        found = [one.currency for one in self.session.settings.currencies]
        for friend in self.session.snapshot.report.friends:
            found += [one.currency for one in friend.currencies]
        return list(dict.fromkeys(found))

    # --- keys -----------------------------------------------------------------------------------

    def on_input_changed(self) -> None:
        """What was wrong may be right now."""
        for problem in self.query(Problem):
            problem.say("")
        self.changed()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """To the next field, or on."""
        shown = [one for one in self.query(Input) if one.display]
        at = shown.index(event.input)
        if at + 1 < len(shown):
            shown[at + 1].focus()
        else:
            self.action_submit()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The button."""
        event.stop()
        self.action_submit()

    def action_submit(self) -> None:
        """Go on, once; where there is nothing to go on with, say why once more."""
        if not self.is_armed or self._is_busy:
            return
        problem = self.blocked()
        if problem:
            self.flash(problem, is_error=True)
        elif self.may_change():
            self._is_busy = True
            self._submit()

    @work(group="submit")
    async def _submit(self) -> None:
        try:
            await self.submit()
        except FieldError as problem:
            found = self.query(f"#{problem.field}-problem")
            if found:
                found.first(Problem).say(str(problem))
                self.query_one(f"#{problem.field}").focus()
            else:
                self.flash(str(problem), is_error=True)
        finally:
            self._is_busy = False

    @work(group="leave", exclusive=True)
    async def _leave(self) -> None:
        question = "What you typed here is not kept."
        if await self.host.push_screen_wait(Confirm("Leave this form?", question, "Leave", "y")):
            self.close()

    def action_back(self) -> None:
        """Ask first if something was typed."""
        if self.is_changed:
            self._leave()
        else:
            super().action_back()

    def close(self) -> None:
        """Leave, unless something else is over it."""
        if self.host.screen is self:
            _ = self.dismiss()

    def finish(self) -> None:
        """Leave every screen over the section: the matter is done."""
        while len(self.host.screen_stack) > 1:
            _ = self.host.screen.dismiss()


def field_row(label: str, field: LineInput, *, suggestions: Iterable[str] = ()) -> Vertical:
    """A label and a field in one line; below what it means, and what is wrong with it."""
    name = field.id or ""
    known = list(suggestions)
    if known:
        field.suggester = SuggestFromList(known, case_sensitive=False)
    echo = Static("", id=f"{name}-echo", classes="echo", markup=False)
    echo.display = False
    return Vertical(
        Horizontal(Label(label, markup=False), field, classes="row"),
        echo,
        Problem(id=f"{name}-problem"),
        id=f"{name}-row",
        classes="field",
    )


def checked_name(typed: str, taken: Iterable[str], field: str = "name") -> str:
    """A name for a friend.

    Raises:
        FieldError: it is empty, too long or in use.
    """
    if not typed:
        raise FieldError(field, "required: what you call them")
    if len(typed.encode(errors="replace")) > NAME_BYTES_MAX:
        raise FieldError(field, f"a name has at most {NAME_BYTES_MAX} bytes")
    if typed in set(taken):
        raise FieldError(field, "another friend is called exactly this: choose another name")
    return typed
