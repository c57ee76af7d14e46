"""What the screens of an invoice and of a commit share: holding and refunding.

Source: design R48; apps.md §5 S16 to S18, PAY-07.
"""

from typing import Final

from offset_engine.client import Commit, Invoice, InvoiceId, InvoiceReport
from offset_engine.text import EntryError, iso_local, money_text
from offset_tui import sale_words
from offset_tui.dialogs.base import Ask, Confirm, TypeToConfirm
from offset_tui.screens.money import MoneyScreen

NOT_COLLECTED: Final = "not collected: Enter"


class SellingScreen(MoneyScreen):
    """See the module."""

    SECTION = "receive"
    TOPIC = "receive"

    def amount(self, invoice: Invoice) -> str:
        """The invoice's amount with its currency."""
        return money_text(
            invoice.total_dest_payment,
            invoice.currency,
            self.decimals(invoice.currency),
            ascii_only=self.is_ascii,
        )

    def held_until(self, invoice_id: InvoiceId) -> int | None:
        """Until when the owner means to hold this one."""
        wanted = invoice_id.to_text()
        holds = self.session.notebook.holds
        return next((one.until_ms for one in holds if one.invoice_id == wanted), None)

    def open_invoice(self, invoice_id: InvoiceId) -> InvoiceReport | None:
        """The invoice, if it is still open."""
        known = self.session.snapshot.invoices
        return next((one for one in known if one.invoice.invoice_id == invoice_id), None)

    async def ask_hold(self, commit: Commit) -> None:
        """Keep a commit until a date, and be reminded then."""
        planned = self.held_until(commit.invoice_id)
        start = "14" if planned is None else iso_local(planned)
        question = "Hold it until when? A number of days, or a date like 2026-12-24:"
        typed: str | None = start
        while True:
            typed = await self.app.push_screen_wait(Ask("Hold", question, typed or "", length=20))
            if typed is None:
                return
            try:
                until = sale_words.parse_until(typed, self.now_ms)
            except EntryError as problem:
                question = f"{str(problem)[:1].upper()}{str(problem)[1:]}:"
                continue
            break
        is_held, _ = await self.do(self.session.client.hold(commit))
        if is_held:
            book = self.session.notebook.with_hold(commit.invoice_id.to_text(), until)
            await self.do(self.session.save_notebook(book), f"held until {iso_local(until)}")
            self.host.show_everywhere()

    async def ask_refund(self, known: InvoiceReport) -> bool:
        """Give everything back, after the owner has read what that means; whether it was done."""
        amount = self.amount(known.invoice)
        words = sale_words.refund_words(known, amount)
        if known.registered is not None:
            agreed = await self.app.push_screen_wait(
                TypeToConfirm(f"Refund {amount}?", words, "refund", "Refund")
            )
        else:
            verb = "Refund" if known.frozen else "Close"
            agreed = await self.app.push_screen_wait(
                Confirm(f"{verb} this invoice of {amount}?", words, verb, "x")
            )
        if not agreed:
            return False
        invoice_id = known.invoice.invoice_id
        done = "refunded" if known.frozen else "closed"
        is_done, _ = await self.do(self.session.client.refund(invoice_id), done)
        if is_done:
            book = self.session.notebook.with_hold(invoice_id.to_text(), None)
            await self.do(self.session.save_notebook(book))
        return is_done

    async def drop_hold(self, invoice_id: InvoiceId) -> None:
        """Collected: nobody has to be reminded any more."""
        if self.held_until(invoice_id) is not None:
            book = self.session.notebook.with_hold(invoice_id.to_text(), None)
            await self.do(self.session.save_notebook(book))
