"""Receive: a form that makes an invoice, and the invoices that are open.

Source: apps.md §5 S13 to S16; tui.md §7; design R8, R24.
"""

from collections.abc import Callable
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from offset_engine.client import Currency, InvoiceId, InvoiceTerms
from offset_engine.text import EntryError, format_amount, money_text, relative, safe
from offset_tui import covering, sale_words, state
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.decimals import fix_decimals
from offset_tui.dialogs.invoice_share import InvoiceQrScreen, InvoiceShareScreen
from offset_tui.keymap import pick
from offset_tui.sale_words import HOLDING, LASTING
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.choice import Choice
from offset_tui.widgets.facts import plain
from offset_tui.widgets.inputs import AmountInput, LineInput, Problem
from offset_tui.widgets.table import Column, KeyedTable, Row

_T = TypeVar("_T")
_COLUMNS = (
    Column("Made"),
    Column("Amount", "right"),
    Column("Currency"),
    Column("State"),
    Column("For", rank=1),
)
_DAY_LONG = 1
"""Of `LASTING`: what an invoice of the app lasts unless somebody chooses (design R24)."""


class ReceiveScreen(CardScreen):
    """See the module."""

    SECTION = "receive"
    TOPIC = "receive"
    AUTO_FOCUS = "#amount"
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("list.new", "money.create", "money.bills", "money.go_on", "list.copy", "list.qr")
    ]

    def __init__(self) -> None:
        super().__init__()
        self._is_creating = False
        self._has_suggested = False
        self._was_away = False

    def body(self) -> ComposeResult:
        """Form, list."""
        with Vertical(id="receive"):
            yield Static("New invoice", classes="heading")
            with Horizontal(classes="field"):
                yield Static("Currency", classes="name")
                yield LineInput(id="currency", max_length=16)
                yield Static(id="currencies", classes="hint")
            yield Problem(id="currency-problem")
            with Horizontal(classes="field"):
                yield Static("Amount", classes="name")
                yield AmountInput(2, id="amount")
            yield Static(id="echo", classes="under")
            yield Problem(id="amount-problem")
            with Horizontal(classes="field"):
                yield Static("For", classes="name")
                yield LineInput(
                    id="for", max_length=255, placeholder="what it is for; may be empty"
                )
            yield Problem(id="for-problem")
            with Horizontal(classes="field"):
                yield Static("Expires", classes="name")
                yield Choice([words for words, _ in LASTING], _DAY_LONG, id="lasting")
            with Horizontal(classes="field"):
                yield Static("When paid", classes="name")
                yield Choice([words for words, _ in HOLDING], id="holding")
            with Horizontal(classes="field"):
                yield Static("Cover fees", classes="name")
                yield AmountInput(2, id="cover", least=0)
                yield Static("up to this; else the buyer pays them", classes="hint")
            yield Static(id="cover-echo", classes="under")
            yield Problem(id="cover-problem")
            with Horizontal(id="receive-answers"):
                yield Button("Make the invoice (ctrl+s)", id="create", compact=True)
                yield Button("Split a bill (ctrl+t)", id="split", compact=True)
            yield Static("Open invoices", classes="heading", id="open")
        yield KeyedTable(id="invoices")

    def on_screen_suspend(self) -> None:
        """Note whether another section is shown now, or only something over this one."""
        self._was_away = self.host.current_mode != self.SECTION

    def on_screen_resume(self) -> None:
        """Whoever comes from elsewhere wants to type an amount."""
        if self._was_away:
            self._was_away = False
            self.query_one("#amount").focus()

    # --- what is shown --------------------------------------------------------------------------

    @property
    def _lines(self) -> tuple[state.Line, ...]:
        return self.session.roster.lines

    def show(self, snapshot: Snapshot) -> None:
        """Draw the list, and what can come in."""
        used = sale_words.used_currencies(
            self._lines, (one.currency for one in self.session.settings.currencies)
        )
        field = self.query_one("#currency", LineInput)
        if not self._has_suggested and used:
            self._has_suggested = True
            field.value = used[0]
        hint = "you use " + ", ".join(used) if used else "no currency is in use yet; 5 adds friends"
        self.query_one("#currencies", Static).update(Text(safe(hint, 200)))
        table = self.query_one("#invoices", KeyedTable)
        table.fill(_COLUMNS, self._rows(snapshot))
        table.display = bool(snapshot.invoices)
        self.query_one("#open").display = bool(snapshot.invoices)
        self._echo()

    def _rows(self, snapshot: Snapshot) -> list[Row]:
        holds = {one.invoice_id: one.until_ms for one in self.session.notebook.holds}
        is_ascii = self.host.options.is_ascii
        now = self.session.clock()
        rows: list[Row] = []
        for known in snapshot.invoices:
            invoice = known.invoice
            key = invoice.invoice_id.to_text()
            words = sale_words.invoice_state(known, now, holds.get(key))
            style = "bold yellow" if known.is_sealed or known.registered is not None else ""
            rows.append(
                Row(
                    key,
                    (
                        relative(now, known.created_ms),
                        format_amount(
                            invoice.total_dest_payment, self.session.decimals(invoice.currency)
                        ),
                        invoice.currency,
                        Text(plain(words, is_ascii=is_ascii), style),
                        safe(invoice.description, 40),
                    ),
                )
            )
        return rows

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self.query_one(f"#{event.input.id}-problem", Problem).say("")
        if event.input.id != "for":
            self._echo()

    def _echo(self) -> None:
        """What was typed in words, and whether that much can come in."""
        echo = self.query_one("#echo", Static)
        amount, cover = (self.query_one(one, AmountInput) for one in ("#amount", "#cover"))
        words, is_too_much, covered = "", False, ""
        try:
            currency = sale_words.check_currency(self.query_one("#currency", LineInput).value)
            amount.decimals = cover.decimals = self.session.decimals(currency)
            most = sale_words.receivable(self._lines, currency)
            if amount.value.strip():
                price = amount.credits()
                words, is_too_much = sale_words.echo(price, currency, amount.decimals, most)
                covered = covering.words(price, self._covered(), currency, cover.decimals)
            elif most is not None:
                words = f"you can be paid up to {money_text(most, currency, amount.decimals)}"
        except EntryError:
            words = ""
        echo.update(Text(words))
        echo.set_class(is_too_much, "-warn")
        echo.display = bool(words)
        self.query_one("#cover-echo", Static).update(Text(covered))
        self.query_one("#cover-echo").display = bool(covered)

    def _covered(self) -> int:
        """Up to how much of the fees the seller takes over, in credits.

        Raises:
            EntryError: it cannot be read.
        """
        field = self.query_one("#cover", AmountInput)
        return field.credits() if field.value.strip() else 0

    # --- the form -------------------------------------------------------------------------------

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    def action_new(self) -> None:
        """Into the form."""
        self.query_one("#amount").focus()

    def action_bills(self) -> None:
        """One bill, several who pay it."""
        from offset_tui.screens.bills import BillsScreen  # noqa: PLC0415 - drawn only then

        self.app.push_screen(BillsScreen())

    def action_back(self) -> None:
        """Out of a field first; what was typed stays."""
        focused = self.focused
        if isinstance(focused, Input):
            table = self.query_one("#invoices", KeyedTable)
            self.set_focus(table if table.display else self.query_one("#lasting"))
        else:
            super().action_back()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The buttons do what their keys do."""
        if event.button.id == "split":
            self.action_bills()
        else:
            self.action_create()

    def action_go_on(self) -> None:
        """Make what was typed; nothing typed: go on with what waits."""
        if self.query_one("#amount", AmountInput).value.strip():
            self.action_create()
        else:
            self.host.action_next_need()

    def action_create(self) -> None:
        """Check the form, then make the invoice; never twice for one form."""
        if self._is_creating or not self.may_change():
            return
        terms = self._read()
        if terms is not None:
            self._is_creating = True
            self._create(*terms)

    def _read(self) -> tuple[Currency, int, str] | None:
        """What was typed; says what is wrong below each field and goes to the first."""
        typed = {one: self.query_one(f"#{one}", LineInput).value for one in ("currency", "for")}
        currency = self._field("currency", lambda: sale_words.check_currency(typed["currency"]))
        price = self._field("amount", self.query_one("#amount", AmountInput).credits)
        description = self._field("for", lambda: sale_words.check_description(typed["for"]))
        cover = self._field("cover", self._covered)
        if currency is not None and price is not None and cover is not None:
            amount = self._field("cover", lambda: covering.asked(price, cover))
            digits = self.session.decimals(currency)
            if amount is not None and description is not None:
                about = self._field(
                    "for", lambda: covering.described(description, price, cover, currency, digits)
                )
                if about is not None:
                    return currency, amount, about
        first = next(one for one in self.query(Problem) if one.display)
        self.query_one(f"#{(first.id or '').removesuffix('-problem')}").focus()
        return None

    def _field(self, field: str, read: Callable[[], _T]) -> _T | None:
        """What is in a field; None, and the reason below it, if it cannot be read."""
        try:
            return read()
        except EntryError as problem:
            self.query_one(f"#{field}-problem", Problem).say(safe(str(problem), 400))
            return None

    @work(group="create")
    async def _create(self, currency: Currency, amount: int, description: str) -> None:
        try:
            habit = self.session.decimals(currency)
            if not await fix_decimals(self, currency, habit, amount):
                return
            decimals = self.session.decimals(currency)
            if decimals != habit:
                # The digits typed meant something else a moment ago.
                self._echo()
                self.flash("look at the amount again, then ctrl+s", is_error=True)
                return
            if not await self._agrees(currency, amount, decimals):
                return
            lasts_s = LASTING[self.query_one("#lasting", Choice).chosen][1]
            terms = InvoiceTerms(currency, amount, description, lasts_s, decimals)
            is_made, invoice = await self.do(self.session.client.create_invoice(terms))
            if not is_made or invoice is None:
                return
            await self._plan_hold(invoice.invoice_id)
            self._empty()
        finally:
            self._is_creating = False
        caption = f"Invoice: {money_text(amount, currency, decimals)}"
        self.app.push_screen(
            InvoiceShareScreen(invoice, caption), lambda _: self._leave_form(invoice.invoice_id)
        )

    async def _agrees(self, currency: Currency, amount: int, decimals: int) -> bool:
        """Whether the owner wants it although that much cannot come in now."""
        most = sale_words.receivable(self._lines, currency)
        words = sale_words.beyond(amount, currency, decimals, most)
        if not words:
            return True
        question = Confirm("More than you can be paid now", words, "Make it anyway")
        is_agreed: bool | None = await self.app.push_screen_wait(question)
        return bool(is_agreed)

    def _leave_form(self, invoice_id: InvoiceId) -> None:
        """To the new invoice: nothing is left to be typed, and every key works again."""
        table = self.query_one("#invoices", KeyedTable)
        if table.display:
            table.focus()
            table.select(invoice_id.to_text())
        known = self.session.snapshot.invoices
        live = next((one for one in known if one.invoice.invoice_id == invoice_id), None)
        if live is not None and live.frozen:
            self._open(invoice_id)  # somebody pays it already: its next keys are there

    async def _plan_hold(self, invoice_id: InvoiceId) -> None:
        days = HOLDING[self.query_one("#holding", Choice).chosen][1]
        if days:
            until = self.session.clock() + days * sale_words.DAY_MS
            book = self.session.notebook.with_hold(invoice_id.to_text(), until)
            await self.do(self.session.save_notebook(book))

    def _empty(self) -> None:
        for field in ("#amount", "#for", "#cover"):
            self.query_one(field, LineInput).value = ""

    # --- the list -------------------------------------------------------------------------------

    def _current(self) -> str | None:
        table = self.query_one("#invoices", KeyedTable)
        return table.current_key if table.display else None

    def on_data_table_row_selected(self) -> None:
        """Enter opens the invoice."""
        key = self._current()
        if key is not None:
            self._open(InvoiceId.from_text(key))

    def _open(self, invoice_id: InvoiceId) -> None:
        from offset_tui.screens.invoice import InvoiceScreen  # noqa: PLC0415 - drawn only then

        self.app.push_screen(InvoiceScreen(invoice_id))

    def action_copy(self) -> None:
        """Hand the invoice under the cursor out again."""
        key = self._current()
        for known in self.session.snapshot.invoices:
            if known.invoice.invoice_id.to_text() == key:
                invoice = known.invoice
                amount = money_text(
                    invoice.total_dest_payment,
                    invoice.currency,
                    self.session.decimals(invoice.currency),
                )
                self.app.push_screen(InvoiceShareScreen(invoice, f"Invoice: {amount}"))

    def action_qr(self) -> None:
        """The same as a QR code."""
        key = self._current()
        for known in self.session.snapshot.invoices:
            if known.invoice.invoice_id.to_text() == key:
                invoice = known.invoice
                digits = self.session.decimals(invoice.currency)
                amount = money_text(invoice.total_dest_payment, invoice.currency, digits)
                self.app.push_screen(InvoiceQrScreen(invoice, f"Invoice: {amount}"))
