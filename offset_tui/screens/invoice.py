"""One invoice of this card: how it stands, sharing it, collecting, holding, refunding.

Source: apps.md §5 S16 to S19.
"""

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.binding import BindingType

from offset_engine.client import InvoiceId, InvoiceRecord, InvoiceReport
from offset_engine.files import Content, verify_commit
from offset_engine.text import iso_local, money_text, relative, safe
from offset_tui import money_words, proof_words, sale_words
from offset_tui.dialogs.base import Notice
from offset_tui.dialogs.invoice_share import InvoiceQrScreen, InvoiceShareScreen
from offset_tui.keymap import pick
from offset_tui.screens.selling import NOT_COLLECTED, SellingScreen
from offset_tui.session import Snapshot

_NEXT_OPEN = (
    "Send it to the buyer: y shows it as text, v as a QR code. When the buyer sends you the commit,"
    " paste it here or anywhere in the app."
)
_NEXT_RESERVED = (
    "The buyer's credits are reserved. They cannot be collected without the commit: ask the buyer"
    " for it and paste it here."
)
_NEXT_HELD = "Enter collects, x gives everything back, h changes until when you hold it."
_NEXT_PAID = "It is kept under 4 Activity. E writes the invoice, the commit and a page to read."


class InvoiceScreen(SellingScreen):
    """See the module."""

    PARTS = ("title", "state", "facts", "next")
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick(
            "money.collect",
            "money.share",
            "money.qr",
            "money.hold",
            "money.refund",
            "money.close",
            "money.verify",
            "money.note",
            "money.bundle",
        )
    ]

    def __init__(self, invoice_id: InvoiceId) -> None:
        super().__init__()
        self.invoice_id = invoice_id
        self.known: InvoiceReport | InvoiceRecord | None = None
        self._is_gone = False
        self._is_busy = False

    # --- what is shown --------------------------------------------------------------------------

    def show(self, snapshot: Snapshot) -> None:
        """Draw, from the open invoices or else from history."""
        live = self.open_invoice(self.invoice_id)
        if live is not None:
            self.known = live
        elif not isinstance(self.known, InvoiceRecord):
            self._look()
        self._draw()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        client = self.session.client
        is_told, found = await self.do(client.invoice_report(self.invoice_id))
        if is_told:
            self.known, self._is_gone = found or self.known, found is None
            self.redraw(self._draw)
            self.refresh_bindings()

    def _draw(self) -> None:
        known = self.known
        if known is None:
            words = "this card knows no such invoice" if self._is_gone else "looking"
            self.put("title", Text(words))
            for part in ("facts", "state", "next"):
                self.put(part, None)
            return
        self.put("title", self.head(f"Invoice: {self.amount(known.invoice)}"))
        self.put("facts", self.facts(self._rows(known)))
        words = sale_words.invoice_state(known, self.now_ms, self.held_until(self.invoice_id))
        is_paid = isinstance(known, InvoiceRecord) and known.is_paid
        is_due = isinstance(known, InvoiceReport) and known.is_sealed
        style = "bold green" if is_paid else "bold yellow" if is_due else "bold"
        self.put("state", Text(f"{words[:1].upper()}{words[1:]}", style))
        self.put("next", Text(self._next(known)))
        registered = known.registered if isinstance(known, InvoiceReport) else None
        self.arming.about(registered)

    def _rows(self, known: InvoiceReport | InvoiceRecord) -> Iterator[tuple[str, Text | str]]:
        invoice = known.invoice
        yield "For", safe(invoice.description, 600) or "nothing was written"
        made = known.created_ms
        yield "Made", f"{relative(self.now_ms, made)} ({iso_local(made)})"
        if isinstance(known, InvoiceReport):
            yield "Expires", money_words.expiry_words(invoice, self.now_ms)
            until = self.held_until(self.invoice_id)
            if known.frozen:
                digits = self.decimals(invoice.currency)
                yield "Reserved", money_text(known.frozen, invoice.currency, digits)
            if until is not None and known.registered is None:
                yield "When paid", f"you mean to hold it until {iso_local(until)}"
        elif known.is_paid:
            digits = self.decimals(invoice.currency)
            yield "Received", money_text(known.received, invoice.currency, digits)
        note = self.note_words(self.invoice_id.to_text())
        if note:
            yield "Note", note
        yield "Number", self.invoice_id.to_text()

    @staticmethod
    def _next(known: InvoiceReport | InvoiceRecord) -> str:
        if isinstance(known, InvoiceRecord):
            return _NEXT_PAID if known.is_paid else ""
        if known.registered is not None:
            return _NEXT_HELD
        return _NEXT_RESERVED if known.is_sealed else _NEXT_OPEN

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense now."""
        known = self.known
        is_open = isinstance(known, InvoiceReport)
        is_registered = isinstance(known, InvoiceReport) and known.registered is not None
        is_frozen = isinstance(known, InvoiceReport) and bool(known.frozen)
        is_paid = isinstance(known, InvoiceRecord) and known.is_paid
        has_commit = is_registered or (
            isinstance(known, InvoiceRecord) and known.commit is not None
        )
        possible = {
            "collect": is_registered,
            "hold": is_registered,
            "refund": is_open and is_frozen,
            "close": is_open and not is_frozen,
            "share": is_open and not is_registered,
            "qr": is_open and not is_registered,
            "verify": has_commit,
            "bundle": is_paid,
            "note": known is not None,
        }
        return possible.get(action, True)

    # --- keys -----------------------------------------------------------------------------------

    def action_share(self) -> None:
        """Hand it out."""
        if self.known is not None:
            caption = f"Invoice: {self.amount(self.known.invoice)}"
            self.app.push_screen(InvoiceShareScreen(self.known.invoice, caption))

    def action_qr(self) -> None:
        """As a QR code."""
        if self.known is not None:
            caption = f"Invoice: {self.amount(self.known.invoice)}"
            self.app.push_screen(InvoiceQrScreen(self.known.invoice, caption))

    def action_collect(self) -> None:
        """Collect what is held."""
        if self.arming.is_armed and not self._is_busy and self.may_change():
            self._is_busy = True
            self._collect()

    @work(group="collect")
    async def _collect(self) -> None:
        try:
            if not await self.is_pressed_alone(NOT_COLLECTED):
                return
            client = self.session.client
            is_done, _ = await self.do(client.collect(self.invoice_id), "collected")
            if is_done:
                await self.drop_hold(self.invoice_id)
        finally:
            self._is_busy = False

    @work(exclusive=True, group="hold")
    async def action_hold(self) -> None:
        """Another date."""
        known = self.known
        is_held = isinstance(known, InvoiceReport) and known.registered is not None
        if is_held and self.may_change():
            commit = known.registered if isinstance(known, InvoiceReport) else None
            if commit is not None:
                await self.ask_hold(commit)

    def action_close(self) -> None:
        """Close it; nobody has paid."""
        self.action_refund()

    @work(exclusive=True, group="refund")
    async def action_refund(self) -> None:
        """Close it and give back what is reserved."""
        if isinstance(self.known, InvoiceReport) and self.may_change():
            await self.ask_refund(self.known)

    def action_verify(self) -> None:
        """Check the commit once more."""
        known = self.known
        if known is None:
            return
        commit = known.registered if isinstance(known, InvoiceReport) else known.commit
        if commit is not None:
            failed = verify_commit(known.invoice, commit).failed
            words = "Good: every check of the commit holds." if failed is None else failed.value
            self.app.push_screen(Notice("Commit", words))

    @work(exclusive=True, group="note")
    async def action_note(self) -> None:
        """A private note."""
        await self.ask_note(self.invoice_id.to_text())

    @work(exclusive=True, group="bundle")
    async def action_bundle(self) -> None:
        """Invoice, commit and a page."""
        known = self.known
        if isinstance(known, InvoiceRecord) and known.is_paid:
            contents: list[Content] = [known.invoice]
            if known.commit is not None:
                contents.append(known.commit)
            words = proof_words.sold_page(known, self.decimals(known.invoice.currency))
            await self.ask_bundle(contents, known.invoice.description, words)
