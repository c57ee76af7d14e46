"""What is frozen just now, transaction by transaction and page by page: own payments and those of others.

Source: apps.md §6.11 (RMP-23).
"""

from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine.client import PendingReport, PublicKey
from offset_engine.text import format_amount, relative
from offset_tui.keymap import pick
from offset_tui.money_words import called
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.facts import plain
from offset_tui.widgets.table import Column, KeyedTable, Row

PAGE: Final = 100
_COLUMNS = (
    Column("Since"),
    Column("Way"),
    Column("Amount", "right"),
    Column("Currency"),
    Column("State", rank=1),
)
_EMPTY = "Nothing is pending: no credits are frozen with any friend."
_ABOUT = (
    "Frozen credits, yours and those of others that pass through you. They move or come back when the"
    " payment ends."
)


class PendingScreen(CardScreen):
    """See the module."""

    SECTION = "home"
    TOPIC = "home"
    AUTO_FOCUS = "KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("pending.next", "pending.before")]

    def __init__(self) -> None:
        super().__init__()
        self._page = 0
        self._shown: tuple[PendingReport, ...] | None = None
        self._has_more = False

    def body(self) -> ComposeResult:
        """What it is, the page, the list."""
        yield Static(Text(_ABOUT, "dim"), id="pending-about")
        yield Static(id="pending-page", markup=False)
        yield KeyedTable(id="pending-list")
        yield Static(Text(_EMPTY), id="pending-empty", classes="empty")

    def show(self, snapshot: Snapshot) -> None:
        """Ask for the page again; the picture of a node holds only the first of them."""
        self._read()

    @work(exclusive=True, group="page")
    async def _read(self) -> None:
        skip = self._page * PAGE
        is_read, found = await self.do(self.session.client.pending(PAGE + 1, skip))
        if not is_read or found is None:
            return
        if not found and self._page:
            # Those before have ended, and the rest moved up.
            self._page -= 1
            self._read()
            return
        self._has_more, self._shown = len(found) > PAGE, found[:PAGE]
        self.redraw(self._draw)
        self.refresh_bindings()

    def _draw(self) -> None:
        shown = self._shown or ()
        table = self.query_one(KeyedTable)
        table.fill(_COLUMNS, [self._row(one) for one in shown])
        table.display = bool(shown)
        self.query_one("#pending-about").display = bool(shown)
        self.query_one("#pending-empty").display = not shown
        if self.focused is None and shown:
            table.focus()
        first = self._page * PAGE
        is_paged = self._has_more or self._page > 0
        where = f"{first + 1} to {first + len(shown)}"
        keys = [
            words
            for words, is_there in (("< before", self._page > 0), ("> next", self._has_more))
            if is_there
        ]
        line = self.query_one("#pending-page", Static)
        line.update(Text(f"{where}: {', '.join(keys)}", "bold"))
        line.display = is_paged

    def _row(self, one: PendingReport) -> Row:
        digits = self.session.decimals(one.currency)
        name = called(self.session.snapshot.report, one.friend)
        way = f"out to {name}" if one.is_outgoing else f"in from {name}"
        state = "reserved, waits for the end" if one.is_answered else "on its way"
        return Row(
            f"{one.friend.to_text()} {one.is_outgoing} {one.request_id.hex()} {one.currency}",
            (
                relative(self.session.clock(), one.since_ms),
                plain(way, is_ascii=self.host.options.is_ascii),
                format_amount(one.amount, digits),
                one.currency,
                state,
            ),
        )

    # --- keys -----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only where there is another page."""
        if action == "turn":
            return self._page > 0 if parameters == (-1,) else self._has_more
        return True

    def action_turn(self, pages: int) -> None:
        """Another page."""
        self._page = max(self._page + pages, 0)
        self._read()

    def on_data_table_row_selected(self) -> None:
        """Enter opens the friend."""
        key = self.query_one(KeyedTable).current_key
        if key is not None:
            from offset_tui.screens.friend import FriendScreen  # noqa: PLC0415 - drawn only then

            self.app.push_screen(FriendScreen(PublicKey.from_text(key.split(" ")[0])))
