"""Bills that were split: each with its shares, and who has paid.

Source: apps.md §6.11 (RMP-40).
"""

from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine import files
from offset_engine.client import HistoryKind, Invoice, InvoiceRecord, InvoiceReport
from offset_engine.text import format_amount, iso_local, money_text, safe
from offset_tui import bills
from offset_tui.bills import Bill, Known
from offset_tui.dialogs.invoice_share import InvoiceQrScreen, InvoiceShareScreen
from offset_tui.dialogs.share_text import TextShareScreen
from offset_tui.keymap import pick
from offset_tui.past import entries
from offset_tui.screens.base import CardScreen
from offset_tui.screens.invoice import InvoiceScreen
from offset_tui.screens.split import SplitScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.facts import plain
from offset_tui.widgets.table import Column, KeyedTable, Row

_COLUMNS = (
    Column("Bill"),
    Column("Amount", "right"),
    Column("Currency", rank=1),
    Column("State"),
)
_EMPTY = (
    "No bill was split yet. n splits one: type the total and who pays, and everybody gets an invoice"
    " for their share."
)
_WIDE = 100
_NAME_CELLS = 22
_PAGES = 2
"""Of history: shares paid longer ago stand under 4 Activity."""


class BillsScreen(CardScreen):
    """See the module."""

    SECTION = "receive"
    TOPIC = "receive"
    AUTO_FOCUS = "KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("list.new", "list.copy", "list.qr")]

    def __init__(self) -> None:
        super().__init__()
        self._past: tuple[InvoiceRecord, ...] = ()
        self._live: dict[str, InvoiceReport] = {}
        """Open ones, and those that closed since history was read: nothing may vanish in between."""
        self._is_read = False
        self._wanted: str | None = None

    def body(self) -> ComposeResult:
        """The list, or how to begin."""
        yield KeyedTable(id="bills")
        yield Static(id="bill-detail", markup=False)
        yield Static(Text(_EMPTY), id="bills-empty", classes="empty")

    # --- what is shown --------------------------------------------------------------------------

    def show(self, snapshot: Snapshot) -> None:
        """Draw; history is read again when an invoice has closed."""
        open_ = {_id(one): one for one in snapshot.invoices}
        if not self._is_read or self._live.keys() - open_.keys():
            self._is_read = True
            self._read()
        self._live.update(open_)
        self._draw()

    @work(exclusive=True, group="history")
    async def _read(self) -> None:
        client = self.session.client
        is_read, found = await self.do(entries(client, HistoryKind.INVOICES, _PAGES))
        if is_read and found is not None:
            records = (one.record for one in found)
            self._past = tuple(one for one in records if isinstance(one, InvoiceRecord))
            self._live = {_id(one): one for one in self.session.snapshot.invoices}
            self.redraw(self._draw)

    @property
    def bills(self) -> tuple[Bill, ...]:
        """Every bill, newest first."""
        known: dict[str, Known] = {**self._live}
        known.update((_id(one), one) for one in self._past)
        return bills.bills(known.values())

    def _draw(self) -> None:
        found = self.bills
        table = self.query_one(KeyedTable)
        table.fill(_COLUMNS, [row for one in found for row in self._rows(one)])
        table.display = bool(found)
        self.query_one("#bills-empty").display = not found
        if self.focused is None and found:
            table.focus()
        if self._wanted is not None:
            for one in found:
                if self._wanted in [_id(part) for part in one.parts]:
                    self._wanted = None
                    table.select(one.key)
        self._show_detail()

    def on_data_table_row_highlighted(self) -> None:
        """Another line, perhaps of another bill."""
        self._show_detail()

    def _show_detail(self) -> None:
        bill, part = self._current()
        shown = Text()
        if part is not None:
            shown.append(safe(part.invoice.description, 200), "dim")
        elif bill is not None:
            shown.append(self._plain(bill.detail(self.session.decimals(bill.currency))), "dim")
        self.query_one("#bill-detail", Static).update(shown)

    def _rows(self, bill: Bill) -> list[Row]:
        digits = self.session.decimals(bill.currency)
        room = 44 if self.app.size.width >= _WIDE else 24
        what = safe(bill.what, room) or f"bill of {iso_local(bill.created_s * 1000)[:10]}"
        is_done = len(bill.paid) == len(bill.parts)
        style = "bold green" if is_done else "bold"
        head = Row(
            bill.key,
            (
                Text(what, "bold"),
                Text(format_amount(bill.asked, digits), "bold"),
                bill.currency,
                Text(self._plain(bill.state(digits)), style),
            ),
        )
        return [head, *(self._row(one, digits) for one in bill.parts)]

    def _row(self, known: Known, digits: int) -> Row:
        words = bills.part_state(known, self.session.clock())
        style = "green" if bills.is_paid(known) else ""
        return Row(
            _id(known),
            (
                f"  {self._who(known)}",
                format_amount(known.invoice.total_dest_payment, digits),
                known.invoice.currency,
                Text(self._plain(words), style),
            ),
        )

    def _plain(self, words: str) -> str:
        return plain(words, is_ascii=self.host.options.is_ascii)

    def _who(self, known: Known) -> str:
        return safe(self.session.notebook.note(_id(known)), _NAME_CELLS) or "somebody"

    # --- keys -----------------------------------------------------------------------------------

    def action_new(self) -> None:
        """Split one more."""
        if self.may_change():
            self.app.push_screen(SplitScreen(self._show_new))

    def _show_new(self, first: Invoice) -> None:
        """To the new bill, and its texts."""
        self._wanted = first.invoice_id.to_text()
        self._hand_out_new()

    @work(exclusive=True, group="new")
    async def _hand_out_new(self) -> None:
        """Its texts, as soon as the node shows it."""
        wanted = self._wanted
        await self.do(self.session.look())
        self.refresh_view()
        for bill in self.bills:
            if any(_id(one) == wanted for one in bill.parts):
                self._share(bill)

    def _current(self) -> tuple[Bill | None, Known | None]:
        """The bill under the cursor, or the share."""
        key = self.query_one(KeyedTable).current_key
        for bill in self.bills:
            if bill.key == key:
                return bill, None
            for part in bill.parts:
                if _id(part) == key:
                    return None, part
        return None, None

    def on_data_table_row_selected(self) -> None:
        """Enter opens a share; the texts of all shares on the line of the bill."""
        bill, part = self._current()
        if part is not None:
            self.app.push_screen(InvoiceScreen(part.invoice.invoice_id))
        elif bill is not None:
            self._share(bill)

    def action_copy(self) -> None:
        """Hand out the text of a share, or of all that are open."""
        bill, part = self._current()
        if part is not None:
            self.app.push_screen(InvoiceShareScreen(part.invoice, self._caption(part)))
        elif bill is not None:
            self._share(bill)

    def action_qr(self) -> None:
        """The same as a QR code, one share at a time."""
        bill, part = self._current()
        if part is not None:
            self.app.push_screen(InvoiceQrScreen(part.invoice, self._caption(part)))
        elif bill is not None:
            self.flash("choose a share: its QR code is shown, one at a time")

    def _caption(self, part: Known) -> str:
        invoice = part.invoice
        digits = self.session.decimals(invoice.currency)
        amount = money_text(invoice.total_dest_payment, invoice.currency, digits)
        return f"Invoice: {amount} from {self._who(part)}"

    def _share(self, bill: Bill) -> None:
        waiting = [one for one in bill.parts if not isinstance(one, InvoiceRecord)]
        if not waiting:
            self.flash("nothing of it is open any more")
            return
        texts = [
            f"{self._caption(one).removeprefix('Invoice: ')}:\n{files.to_text(one.invoice)}"
            for one in waiting
        ]
        count = f"{len(waiting)} invoice{'s' if len(waiting) > 1 else ''}"
        what = safe(bill.what, 60)
        self.app.push_screen(
            TextShareScreen(
                "\n\n".join(texts) + "\n",
                f"{what}: {count} to send" if what else f"{count} to send",
                "bill.txt",
                "Send everybody the text below their name. Here you see who has paid.",
            )
        )


def _id(known: Known) -> str:
    return known.invoice.invoice_id.to_text()
