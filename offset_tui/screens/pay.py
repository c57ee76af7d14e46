"""Pay: a box for the invoice, and below it what was paid lately.

Source: apps.md §5 S3, S6; tui.md §10.
"""

from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Static

from offset_engine import activity
from offset_engine.activity import Entry
from offset_engine.client import HistoryEntry, HistoryKind, PaymentId
from offset_engine.text import format_amount, relative, safe
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.screens.payment import PaymentScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.artifact_box import ArtifactBox
from offset_tui.widgets.facts import plain
from offset_tui.widgets.inputs import Problem
from offset_tui.widgets.table import Column, KeyedTable, Row

__all__ = ["PayReviewScreen", "PayScreen"]

RECENT: Final = 50
WIDE_COLUMNS: Final = 100
_COLUMNS = (
    Column("When", rank=3),
    Column("Amount", "right"),
    Column("Currency"),
    Column("To", rank=1),
    Column("State", rank=2),
    Column("Fee", "right", rank=4),
    Column("For", rank=5),
)
_EMPTY = "Nothing was paid yet. Paste an invoice above: it is shown to you before anything is paid."


class PayScreen(CardScreen):
    """See the module."""

    SECTION = "pay"
    TOPIC = "pay"
    AUTO_FOCUS = "ArtifactBox"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("money.list")]

    def __init__(self) -> None:
        super().__init__()
        self._history: list[HistoryEntry] = []
        self._ended: tuple[str, ...] | None = None

    def body(self) -> ComposeResult:
        """Box, list."""
        with Vertical(id="pay-box"):
            yield Static("Paste the invoice here", classes="heading")
            yield ArtifactBox(id="paste", placeholder="offset1:invoice:...  (ctrl+o opens a file)")
            yield Problem(id="problem")
            yield Static("Under way and recent", classes="heading", id="recent")
        yield KeyedTable(id="payments")
        yield Static(Text(_EMPTY), id="pay-empty", classes="empty")

    def show(self, snapshot: Snapshot) -> None:
        """Draw; history is read again when a payment has ended."""
        ended = tuple(one.payment_id.to_text() for one in snapshot.pays if one.ended_ms is not None)
        if ended != self._ended:
            self._ended = ended
            self._read()
        self._draw()

    @work(exclusive=True, group="history")
    async def _read(self) -> None:
        client = self.session.client
        is_read, page = await self.do(client.history(HistoryKind.PAYMENTS, None, RECENT))
        if is_read:
            self._history = page or []
            self.redraw(self._draw)

    def _entries(self) -> list[Entry]:
        snapshot = self.session.snapshot
        names = activity.names_of(snapshot.report)
        own = snapshot.report.local_public_key
        found = activity.merge(snapshot.pays, (), self._history, names, self.session.notebook, own)
        paid = [one for one in found if one.is_outgoing]
        return sorted(paid, key=lambda one: not one.is_live)[:RECENT]

    def _draw(self) -> None:
        entries = self._entries()
        table = self.query_one(KeyedTable)
        table.fill(_COLUMNS, [self._row(one) for one in entries])
        table.display = bool(entries)
        self.query_one("#recent").display = bool(entries)
        self.query_one("#pay-empty").display = not entries

    def _row(self, entry: Entry) -> Row:
        is_ascii = self.host.options.is_ascii
        digits = 0 if entry.currency is None else self.session.decimals(entry.currency)
        amount = format_amount(abs(entry.amount), digits)
        room = 46 if self.app.size.width >= WIDE_COLUMNS else 24
        style = "bold yellow" if entry.needs_owner else "bold" if entry.is_live else ""
        return Row(
            entry.reference,
            (
                relative(self.session.clock(), entry.when_ms),
                amount,
                entry.currency or "",
                entry.name,
                Text(plain(safe(entry.state, room), is_ascii=is_ascii), style),
                format_amount(entry.fee, digits) if entry.fee else "",
                safe(entry.note or entry.description, 40),
            ),
        )

    # --- keys -----------------------------------------------------------------------------------

    async def on_artifact_box_found(self, event: ArtifactBox.Found) -> None:
        """Look at it first, whatever it is."""
        self.query_one(Problem).say("")
        self._review(event)

    @work(exclusive=True, group="review")
    async def _review(self, event: ArtifactBox.Found) -> None:
        await self.host.review(event.artifacts)

    def on_artifact_box_unread(self, event: ArtifactBox.Unread) -> None:
        """Say what is wrong with it."""
        self.query_one(Problem).say(safe(event.reason, 400))

    def action_to_list(self) -> None:
        """From the empty box into the list."""
        table = self.query_one(KeyedTable)
        if table.display:
            table.focus()

    def on_data_table_row_selected(self) -> None:
        """Enter opens the payment."""
        key = self.query_one(KeyedTable).current_key
        if key is not None:
            self.app.push_screen(PaymentScreen(PaymentId.from_text(key)))
