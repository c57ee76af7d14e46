"""An invoice being handed over, as text or as a QR code: below it stands what has become of it, as it happens.

The words change where nothing else stands, so that no key and no line moves while somebody copies or scans.

Source: apps.md §5 S16, S17; tui.md §9.
"""

from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.text import Text
from textual import work
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Static

from offset_engine.client import Invoice, InvoiceRecord, InvoiceReport
from offset_engine.errors import OffsetError
from offset_tui import sale_words
from offset_tui.dialogs.base import Following
from offset_tui.dialogs.qr import QrScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.sale_words import Standing
from offset_tui.widgets.plain import plain

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp


class _Follower(Following, Screen[Any]):
    """Knows how an invoice of this card stands, and draws it again with every picture of the node."""

    invoice: Invoice
    _known: InvoiceReport | InvoiceRecord | None = None

    def refresh_view(self) -> None:
        """From the open invoices, or else from history."""
        if not self.is_mounted or not self._host.has_session:
            return
        wanted = self.invoice.invoice_id
        open_ = self._host.session.snapshot.invoices
        live = next((one for one in open_ if one.invoice.invoice_id == wanted), None)
        if live is not None:
            self._known = live
        elif not isinstance(self._known, InvoiceRecord):
            self._look()
        self._stand()

    def on_screen_resume(self) -> None:
        """It may have changed meanwhile."""
        self.refresh_view()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        client = self._host.session.client
        try:
            found = await client.invoice_report(self.invoice.invoice_id)
        except OffsetError:
            return  # the status line of the screen below says what is wrong; the next picture looks again
        if found is not None and self.is_mounted:
            self._known = found
            self._stand()

    def _stand(self) -> None:
        """Say it, in words that were not said yet."""
        session = self._host.session
        digits = session.decimals(self.invoice.currency)
        known = self._known or _just_made(self.invoice)
        self.say(sale_words.standing(known, session.clock(), digits))

    def say(self, standing: Standing) -> None:
        """Show how it stands."""

    @property
    def _host(self) -> "OffsetApp":
        return cast("OffsetApp", self.app)

    def drawn(self, standing: Standing) -> Text:
        """How it stands, the most important line first."""
        words = Text(standing.title, standing.style)
        words.append(f"\n{standing.next}", "")
        return plain(words, is_ascii=self._host.options.is_ascii)


def _just_made(invoice: Invoice) -> InvoiceReport:
    """What there is to know before the first picture that shows it."""
    expires_ms = invoice.expires * 1000 if invoice.expires else None
    return InvoiceReport(invoice, invoice.created * 1000, expires_ms, 0, False, None)


class InvoiceShareScreen(ShareScreen, _Follower):
    """The text of an invoice."""

    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, invoice: Invoice, caption: str) -> None:
        self.invoice = invoice
        super().__init__(invoice, caption)

    def on_mount(self) -> None:
        """How it stands now."""
        self.refresh_view()

    def say(self, standing: Standing) -> None:
        """Below everything else."""
        self.query_one("#share-after", Static).update(self.drawn(standing))

    def action_qr(self) -> None:
        """As a QR code, which follows it as well."""
        self.app.push_screen(InvoiceQrScreen(self.invoice, self._caption))


class InvoiceQrScreen(QrScreen, _Follower):
    """The QR code of an invoice; once a buyer has scanned and paid it, words take its place."""

    BINDINGS: ClassVar[list[BindingType]] = []
    _is_scanned = False

    def __init__(self, invoice: Invoice, caption: str) -> None:
        self.invoice = invoice
        super().__init__(invoice, caption=caption)

    async def on_mount(self) -> None:
        """How it stands now."""
        self.refresh_view()

    def say(self, standing: Standing) -> None:
        """Beside the code; without room beside it, instead of the code once nobody needs that any more."""
        self.query_one("#qr-standing", Static).update(self.drawn(standing))
        if standing.is_taken and not self._is_scanned:
            self._is_scanned = True
            self.call_later(self.show_words)
