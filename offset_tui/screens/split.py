"""Splitting a bill: one total, the people who share it, and an invoice for each of them.

Source: apps.md §5 S14, §6.11 (RMP-40); design R8.
"""

from collections.abc import Callable

from rich.text import Text
from textual.app import ComposeResult

from offset_engine.client import AddInvoice, Batch, Currency, Invoice, InvoiceTerms
from offset_engine.text import EntryError, format_amount, money_text, safe
from offset_tui import bills, sale_words
from offset_tui.bills import Share
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.decimals import fix_decimals
from offset_tui.screens.form import FieldError, FormScreen, field_row
from offset_tui.widgets.inputs import AmountInput, LineInput
from offset_tui.widgets.tick import Tick

LASTS_S = 7 * 24 * 3_600
_TOLD_MAX = 8
"""Shares named below the field; the list shows all of them."""


class SplitScreen(FormScreen):
    """See the module."""

    SECTION = "receive"
    TOPIC = "receive"
    VERB = "Make the invoices"

    def __init__(self, made: Callable[[Invoice], None]) -> None:
        """Ask what is shared.

        Args:
            made: told the first invoice of the bill once all are made.
        """
        super().__init__()
        self._made = made

    def head(self) -> Text:
        """What happens with it."""
        shown = Text.assemble(("Split a bill\n", "bold"))
        shown.append(
            "Everybody gets an invoice for their share, to be paid within 7 days. Names stay on this"
            " computer."
        )
        return shown

    def fields(self) -> ComposeResult:
        """What, how much, who."""
        known = self.used_currencies()
        first = known[0] if known else ""
        digits = self.session.decimals(known[0]) if known else 2
        yield field_row(
            "Currency", LineInput(first, id="currency", max_length=16), suggestions=known
        )
        yield field_row("Total", AmountInput(digits, id="total"))
        yield field_row("For", LineInput(id="for", max_length=200, placeholder="dinner on Friday"))
        yield field_row(
            "Who pays",
            LineInput(
                id="people", max_length=1_000, placeholder="3, or names: Bob, Dora 12.50, Grace"
            ),
        )
        yield Tick("I pay a share too", value=True, id="mine")

    def on_mount(self) -> None:
        """The total first: the currency is likely right."""
        if self.used_currencies():
            self.query_one("#total").focus()

    # --- what it means --------------------------------------------------------------------------

    def on_checkbox_changed(self) -> None:
        """Other shares."""
        self.changed()

    def changed(self) -> None:
        """The shares, as far as they can be told."""
        try:
            currency = self.currency()
        except FieldError:
            self.echo("people", "")
            return
        digits = self.session.decimals(currency)
        self.query_one("#total", AmountInput).decimals = digits
        try:
            shares, own = self._shares(digits)
        except FieldError:
            self.echo("people", "")
            return
        told = [
            f"{safe(one.name, 24)} {format_amount(one.amount, digits)}"
            for one in shares[:_TOLD_MAX]
        ]
        if len(shares) > _TOLD_MAX:
            told.append(f"{len(shares) - _TOLD_MAX} more")
        mine = f"; you {format_amount(own, digits)}" if self.is_on("mine") else ""
        self.echo("people", f"= {', '.join(told)}{mine}")

    def _shares(self, digits: int) -> tuple[tuple[Share, ...], int]:
        """Read who pays how much.

        Raises:
            FieldError: a field cannot be read.
        """
        total = self.amount("total")
        if not total:
            raise FieldError("total", "this is nothing to share")
        try:
            people = bills.read_people(self.text("people"), digits)
            return bills.split(total, people, digits, is_mine_too=self.is_on("mine"))
        except EntryError as problem:
            raise FieldError("people", safe(str(problem), 300)) from None

    # --- making them ----------------------------------------------------------------------------

    async def submit(self) -> None:
        """Make all invoices or none."""
        currency = self.currency()
        habit = self.session.decimals(currency)
        shares, _ = self._shares(habit)
        total = self.amount("total")
        if not await fix_decimals(self, currency, habit, total):
            return
        digits = self.session.decimals(currency)
        if digits != habit:
            # The digits typed meant something else a moment ago.
            self.changed()
            self.flash("look at the amounts again, then ctrl+g", is_error=True)
            return
        terms = self._terms(currency, shares, digits)
        if not await self._agrees(currency, sum(one.amount for one in shares), digits):
            return
        is_made, invoices = await self.do(self._make(terms))
        if is_made and invoices:
            book = self.session.notebook
            for invoice, share in zip(invoices, shares, strict=True):
                book = book.with_note(invoice.invoice_id.to_text(), share.name)
            await self.do(self.session.save_notebook(book))
            self.close()
            self._made(invoices[0])

    def _terms(
        self, currency: Currency, shares: tuple[Share, ...], digits: int
    ) -> list[InvoiceTerms]:
        whole = money_text(self.amount("total"), currency, digits)
        try:
            texts = [
                bills.describe(self.text("for"), number, len(shares), whole)
                for number in range(1, len(shares) + 1)
            ]
        except EntryError as problem:
            raise FieldError("for", str(problem)) from None
        return [
            InvoiceTerms(currency, share.amount, text, LASTS_S, digits)
            for share, text in zip(shares, texts, strict=True)
        ]

    async def _agrees(self, currency: Currency, asked: int, digits: int) -> bool:
        """Whether the owner wants them although that much cannot come in now."""
        lines = self.session.roster.lines
        most = sale_words.receivable(lines, currency)
        words = sale_words.beyond(asked, currency, digits, most)
        if not words:
            return True
        question = Confirm("More than you can be paid now", words, "Make them anyway")
        is_agreed: bool | None = await self.app.push_screen_wait(question)
        return bool(is_agreed)

    async def _make(self, terms: list[InvoiceTerms]) -> list[Invoice]:
        """Sign them, then open all in one step.

        Raises:
            OffsetError: the node refuses them; none is open then.
        """
        client = self.session.client
        invoices = [await client.sign_invoice(one) for one in terms]
        commands = tuple(AddInvoice(one, one.expires * 1000) for one in invoices)
        await client.command(Batch(commands))
        return invoices
