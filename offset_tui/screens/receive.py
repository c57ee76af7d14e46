"""Receive: a form that makes an invoice, and the invoices that are open.

Source: apps.md §5 S13 to S16; tui.md §7; design R8, R24.
"""

from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from offset_engine.client import Currency, InvoiceId, InvoiceTerms
from offset_engine.text import EntryError, format_amount, money_text, relative, safe
from offset_tui import sale_words, state
from offset_tui.dialogs.decimals import fix_decimals
from offset_tui.dialogs.share import ShareScreen
from offset_tui.keymap import pick
from offset_tui.sale_words import HOLDING, LASTING
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.choice import Choice
from offset_tui.widgets.facts import plain
from offset_tui.widgets.inputs import AmountInput, LineInput, Problem
from offset_tui.widgets.table import Column, KeyedTable, Row

_COLUMNS = (
    Column("Made"),
    Column("Amount", "right"),
    Column("Currency"),
    Column("State"),
    Column("For", rank=1),
)
_DAY_LONG = 1
"""Of `LASTING`: what an invoice of the app lasts unless somebody chooses (design R24)."""
_AFTER = (
    "Send this to the buyer. They pay it and send you a commit:\n"
    "paste that anywhere in the app, and you are told whether the payment is good."
)


class ReceiveScreen(CardScreen):
    """See the module."""

    SECTION = "receive"
    TOPIC = "receive"
    AUTO_FOCUS = "#amount"
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("list.new", "money.create", "money.go_on", "list.copy", "list.qr")
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
            yield Button("Make the invoice (ctrl+s)", id="create", compact=True)
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
        return state.all_lines(self.session.snapshot.report, self.session.notebook)

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
        problem = {"currency": "#currency-problem", "amount": "#amount-problem"}
        self.query_one(problem.get(event.input.id or "", "#for-problem"), Problem).say("")
        if event.input.id in problem:
            self._echo()

    def _echo(self) -> None:
        """What was typed in words, and whether that much can come in."""
        echo = self.query_one("#echo", Static)
        amount = self.query_one("#amount", AmountInput)
        words, is_too_much = "", False
        try:
            currency = sale_words.check_currency(self.query_one("#currency", LineInput).value)
            amount.decimals = self.session.decimals(currency)
            most = sale_words.receivable(self._lines, currency)
            if amount.value.strip():
                words, is_too_much = sale_words.echo(
                    amount.credits(), currency, amount.decimals, most
                )
            elif most is not None:
                words = f"you can be paid up to {money_text(most, currency, amount.decimals)}"
        except EntryError:
            words = ""
        echo.update(Text(words))
        echo.set_class(is_too_much, "-warn")
        echo.display = bool(words)

    # --- the form -------------------------------------------------------------------------------

    @on(Input.Submitted)
    def _next_field(self) -> None:
        self.focus_next()

    def action_new(self) -> None:
        """Into the form."""
        self.query_one("#amount").focus()

    def action_back(self) -> None:
        """Out of a field first; what was typed stays."""
        focused = self.focused
        if isinstance(focused, Input):
            table = self.query_one("#invoices", KeyedTable)
            self.set_focus(table if table.display else self.query_one("#lasting"))
        else:
            super().action_back()

    def on_button_pressed(self) -> None:
        """The button does what ctrl+s does."""
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
        currency, amount, description = None, None, None
        first: str | None = None
        try:
            currency = sale_words.check_currency(self.query_one("#currency", LineInput).value)
        except EntryError as problem:
            first = self._refuse("currency", problem, first)
        try:
            amount = self.query_one("#amount", AmountInput).credits()
        except EntryError as problem:
            first = self._refuse("amount", problem, first)
        try:
            description = sale_words.check_description(self.query_one("#for", LineInput).value)
        except EntryError as problem:
            first = self._refuse("for", problem, first)
        if currency is None or amount is None or description is None:
            self.query_one(f"#{first}").focus()
            return None
        return currency, amount, description

    def _refuse(self, field: str, problem: EntryError, first: str | None) -> str:
        self.query_one(f"#{field}-problem", Problem).say(safe(str(problem), 400))
        return first or field

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
        key = invoice.invoice_id.to_text()
        self.app.push_screen(ShareScreen(invoice, caption, _AFTER), lambda _: self._leave_form(key))

    def _leave_form(self, key: str) -> None:
        """To the new invoice: nothing is left to be typed, and every key works again."""
        table = self.query_one("#invoices", KeyedTable)
        if table.display:
            table.focus()
            table.select(key)

    async def _plan_hold(self, invoice_id: InvoiceId) -> None:
        days = HOLDING[self.query_one("#holding", Choice).chosen][1]
        if days:
            until = self.session.clock() + days * sale_words.DAY_MS
            book = self.session.notebook.with_hold(invoice_id.to_text(), until)
            await self.do(self.session.save_notebook(book))

    def _empty(self) -> None:
        self.query_one("#amount", AmountInput).value = ""
        self.query_one("#for", LineInput).value = ""

    # --- the list -------------------------------------------------------------------------------

    def _current(self) -> str | None:
        table = self.query_one("#invoices", KeyedTable)
        return table.current_key if table.display else None

    def on_data_table_row_selected(self) -> None:
        """Enter opens the invoice."""
        key = self._current()
        if key is not None:
            from offset_tui.screens.invoice import InvoiceScreen  # noqa: PLC0415 - drawn only then

            self.app.push_screen(InvoiceScreen(InvoiceId.from_text(key)))

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
                self.app.push_screen(ShareScreen(invoice, f"Invoice: {amount}", _AFTER))

    def action_qr(self) -> None:
        """The same as a QR code."""
        from offset_tui.dialogs.qr import QrScreen  # noqa: PLC0415 - drawn only when asked for

        key = self._current()
        for known in self.session.snapshot.invoices:
            if known.invoice.invoice_id.to_text() == key:
                invoice = known.invoice
                digits = self.session.decimals(invoice.currency)
                amount = money_text(invoice.total_dest_payment, invoice.currency, digits)
                self.app.push_screen(QrScreen(invoice, caption=f"Invoice: {amount}"))
