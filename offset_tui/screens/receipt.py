"""A receipt somebody shows: what it proves, checked against its invoice.

Source: apps.md §7.4.
"""

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType

from offset_engine.client import HistoryKind, Invoice, PaymentRecord, Receipt
from offset_engine.errors import OffsetError
from offset_engine.text import format_amount, money_text, safe
from offset_tui import money_words, proof_words, reviews
from offset_tui.keymap import pick
from offset_tui.past import HISTORY_PAGES_MAX
from offset_tui.screens.money import MoneyScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.artifact_box import ArtifactBox


@reviews.reviews(Receipt)
class ReceiptScreen(MoneyScreen):
    """See the module."""

    SECTION = "activity"
    TOPIC = "pay"
    PARTS = ("title", "verdict", "facts")
    BINDINGS: ClassVar[list[BindingType]] = [*pick("money.bundle")]

    def __init__(self, receipt: Receipt) -> None:
        super().__init__()
        self.receipt = receipt
        self.invoice: Invoice | None = None
        self._paid: PaymentRecord | None = None
        self._is_searched = False

    def body(self) -> ComposeResult:
        """The parts, and a box for an invoice this card does not know."""
        yield from super().body()
        yield ArtifactBox(id="invoice", placeholder="paste the invoice here")

    def on_mount(self) -> None:
        """Look for its invoice."""
        self.query_one(ArtifactBox).display = False
        self._search()

    @work(exclusive=True, group="search")
    async def _search(self) -> None:
        wanted = self.receipt.invoice_id
        for pay in self.session.snapshot.pays:
            if pay.invoice.invoice_id == wanted:
                self.invoice = pay.invoice
        try:
            own = await self.session.client.invoice_report(wanted)
            if own is not None:
                self.invoice = own.invoice
            for record in await self.past(HistoryKind.PAYMENTS, HISTORY_PAGES_MAX):
                if isinstance(record, PaymentRecord) and record.invoice.invoice_id == wanted:
                    self.invoice = record.invoice
                    self._paid = record if record.receipt == self.receipt else self._paid
        except OffsetError as problem:
            self.flash(str(problem), is_error=True)
        self._is_searched = True
        self.refresh_view()
        if self.invoice is None:
            self.redraw(lambda: self.set_focus(self.query_one(ArtifactBox)))

    def show(self, snapshot: Snapshot) -> None:
        """Draw."""
        self.put("title", self.head("A receipt"))
        if not self._is_searched:
            self.put("verdict", Text("looking for its invoice"))
            self.put("facts", None)
            return
        proof = proof_words.judge_receipt(self.receipt, self.invoice)
        self.put("verdict", self.verdict(proof.title, proof.because, is_good=proof.is_good))
        self.put("facts", self.facts(self._rows(snapshot)))
        self.query_one(ArtifactBox).display = self.invoice is None

    def _rows(self, snapshot: Snapshot) -> Iterator[tuple[str, Text | str]]:
        receipt, invoice = self.receipt, self.invoice
        if invoice is None:
            credits_ = format_amount(receipt.total_dest_payment, 0)
            yield "It says", f"{credits_} credits {safe(receipt.currency)}"
        else:
            digits = self.decimals(invoice.currency)
            amount = money_text(invoice.total_dest_payment, invoice.currency, digits)
            yield "Amount", Text(amount, "bold")
            own = snapshot.report.local_public_key
            is_own = invoice.dest_public_key == own
            yield (
                "Seller",
                (
                    "this card"
                    if is_own
                    else money_words.who(snapshot.report, invoice.dest_public_key)
                ),
            )
            yield "For", safe(invoice.description, 600) or "nothing was written"
        if receipt.dest_payment != receipt.total_dest_payment:
            digits = 0 if invoice is None else self.decimals(invoice.currency)
            yield "This part", money_text(receipt.dest_payment, receipt.currency, digits)
        if self._paid is not None:
            yield "Paid by", "this card"
        yield "Number", receipt.invoice_id.to_text()

    def on_artifact_box_found(self, event: ArtifactBox.Found) -> None:
        """An invoice: check against it."""
        found = [one.content for one in event.artifacts if isinstance(one.content, Invoice)]
        if found:
            self.invoice = found[0]
            self.refresh_view()
            self.query_one("#money").focus()
        else:
            self.flash("this is no invoice", is_error=True)

    def on_artifact_box_unread(self, event: ArtifactBox.Unread) -> None:
        """Say what is wrong with it."""
        if event.reason:
            self.flash(event.reason, is_error=True)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Files only of what is known."""
        return self.invoice is not None if action == "bundle" else True

    @work(exclusive=True, group="bundle")
    async def action_bundle(self) -> None:
        """Receipt, invoice and a page."""
        invoice = self.invoice
        if invoice is None:
            return
        report = self.session.snapshot.report
        paid = proof_words.Paid(
            invoice,
            self.receipt,
            self.decimals(invoice.currency),
            None if self._paid is None else self._paid.fee,
            None if self._paid is None else self._paid.ended_ms,
            proof_words.seller_name(report, invoice.dest_public_key),
        )
        contents = (self.receipt, invoice)
        await self.ask_bundle(contents, invoice.description, proof_words.page(paid))
