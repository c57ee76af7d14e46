"""Activity: everything that happened, newest first; search, notes, export.

Source: apps.md §5 S6, S15; RMP-33, RMP-35, RMP-38.
"""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Static

from offset_engine import activity
from offset_engine.activity import Entry, Kind
from offset_engine.client import HistoryEntry, HistoryKind, InvoiceId, PaymentId
from offset_engine.disk import expanded, write_file
from offset_engine.notebook import NOTE_BYTES_MAX
from offset_engine.text import format_amount, relative, safe
from offset_tui import side_words
from offset_tui.dialogs.base import Ask, Notice
from offset_tui.dialogs.pick import Pick
from offset_tui.keymap import ACTIVITY, pick
from offset_tui.screens.sides import SidesScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.table import Column, KeyedTable, Many, Row

PAGE: Final = 500
"""Entries of each history read at once."""
_EMPTY: Final = "Nothing has happened yet.\n\n2 pays an invoice · 3 makes one · 5 adds a friend"
_COLUMNS: Final = (
    Column("When", rank=2),
    Column("What"),
    Column("Amount", "right"),
    Column("Fee", "right", rank=4),
    Column("With", rank=3),
    Column("State", rank=1),
    Column("About", rank=5),
)
_SHOWN: Final = {
    "all": "everything",
    "out": "what you paid",
    "in": "what you got",
    "through": "what passed through you",
    "needs": "what needs you",
}


class ActivityScreen(SidesScreen):
    """See the module."""

    SECTION = "activity"
    TOPIC = "activity"
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("list.filter", "list.edit", "list.export"),
        *(key.binding() for key in ACTIVITY),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._history: list[HistoryEntry] = []
        self._words, self._shown = "", "all"
        self._is_oldest_first = False
        self._finished = -1
        self._merged: tuple[tuple[object, ...], tuple[Entry, ...]] = ((), ())
        self._found: tuple[tuple[object, ...], tuple[Entry, ...]] = ((), ())

    def body(self) -> ComposeResult:
        """A line that says what is shown, the list, and what to do if there is none."""
        yield Static(id="activity-head", classes="muted")
        yield from self.beside(
            KeyedTable(id="activity"),
            Static(Text(_EMPTY), id="activity-empty", classes="empty"),
        )

    def show(self, snapshot: Snapshot) -> None:
        """Draw; history is read again when something has ended."""
        live = sum(1 for one in snapshot.pays if one.ended_ms is None) + len(snapshot.invoices)
        ended = hash((live, sum(1 for one in snapshot.pays if one.ended_ms is not None)))
        if ended != self._finished:
            self._finished = ended
            self._read()
        self._draw()

    @work(exclusive=True, group="history")
    async def _read(self) -> None:
        found: list[HistoryEntry] = []
        for kind in HistoryKind:
            is_read, page = await self.do(self.session.client.history(kind, None, PAGE))
            if not is_read:
                return
            found += page or []
        self._history = found
        self.redraw(self._draw)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is shown, in the order shown."""
        every = self._every()
        of = (every, self._shown, self._words, self._is_oldest_first)
        if not _are_same(self._found[0], of):
            chosen = tuple(one for one in every if self._is_shown(one))
            matched = activity.matching(chosen, self._words) if self._words else chosen
            self._found = of, matched[::-1] if self._is_oldest_first else matched
        return self._found[1]

    def _every(self) -> tuple[Entry, ...]:
        """Everything that happened; put together again only when some of it is new."""
        session, snapshot = self.session, self.session.snapshot
        names = session.roster.names
        of = (snapshot.pays, snapshot.invoices, self._history, names, session.notebook)
        if not _are_same(self._merged[0], of):
            before = {one.key: one for one in self._merged[1]}
            own = snapshot.report.local_public_key
            found = activity.merge(
                snapshot.pays, snapshot.invoices, self._history, names, session.notebook, own
            )
            # The same object for what is the same, so that the list knows which rows to draw again.
            kept = tuple(old if (old := before.get(one.key)) == one else one for one in found)
            self._merged = of, kept
        return self._merged[1]

    def _is_shown(self, entry: Entry) -> bool:
        match self._shown:
            case "out":
                return entry.is_outgoing
            case "in":
                return entry.is_incoming
            case "through":
                return entry.kind in (Kind.THROUGH, Kind.LOSS)
            case "needs":
                return entry.needs_owner
            case _:
                return True

    def _draw(self) -> None:
        entries = self.entries
        table = self.query_one(KeyedTable)
        many = Many(entries, self._row, _key, widest=lambda: _widest(entries))
        table.fill_many(_COLUMNS, many)
        table.display = bool(entries)
        is_narrowed = bool(self._words) or self._shown != "all"
        empty = self.query_one("#activity-empty", Static)
        empty.display = not entries
        empty.update(
            Text("No match. i shows everything, / searches anew." if is_narrowed else _EMPTY)
        )
        head = f" {len(entries)} · {_SHOWN[self._shown]}"
        if self._words:
            head += f" · containing {safe(self._words, 30)}"
        if self._is_oldest_first:
            head += " · oldest first"
        self.query_one("#activity-head", Static).update(Text(head))
        self.show_side()

    def side(self) -> Text | None:
        """What happened under the cursor, with all of its words."""
        entry = self._current()
        if entry is None:
            return None
        now_ms, is_ascii = self.session.snapshot.now_ms, self.host.options.is_ascii
        return side_words.happened(entry, self.session.decimals, now_ms, is_ascii=is_ascii)

    def _row(self, entry: Entry) -> Row:
        snapshot = self.session.snapshot
        is_ascii = self.host.options.is_ascii
        digits = 0 if entry.currency is None else self.session.decimals(entry.currency)
        has_amount = entry.amount != 0
        sign = entry.is_signed
        amount = (
            format_amount(entry.amount, digits, sign=sign, ascii_only=is_ascii)
            if has_amount
            else "-"
        )
        style = "bold yellow" if entry.needs_owner else "" if not entry.is_live else "bold"
        about = safe(entry.note or entry.description, 40)
        return Row(
            entry.key,
            (
                relative(snapshot.now_ms, entry.when_ms),
                entry.kind.value,
                f"{amount} {entry.currency}" if has_amount else amount,
                format_amount(entry.fee, digits, ascii_only=is_ascii) if entry.fee else "",
                entry.name,
                Text(safe(entry.state, 26), style),
                about,
            ),
        )

    # --- keys -----------------------------------------------------------------------------------

    def _current(self) -> Entry | None:
        key = self.query_one(KeyedTable).current_key
        return next((one for one in self.entries if one.key == key), None)

    def on_data_table_row_selected(self) -> None:
        """Enter opens the payment or invoice; other things are shown whole."""
        entry = self._current()
        if entry is None:
            return
        screen = _detail(entry)
        if screen is not None:
            self.app.push_screen(screen())
        else:
            self.app.push_screen(Notice(entry.kind.value.capitalize(), self._whole(entry)))

    def _whole(self, entry: Entry) -> Text:
        exported = activity.rows([entry], self.session.decimals)[0]
        shown = Text()
        for name, text in exported.items():
            if text:
                shown.append(f"{name:<14}", "dim")
                shown.append(f"{safe(text, 200)}\n")
        return shown

    @work
    async def action_filter(self) -> None:
        """Search."""
        asked = Ask("Search", "Show only lines that contain:", self._words)
        words = await self.app.push_screen_wait(asked)
        if words is not None:
            self._words = words
            self.redraw(self._draw)

    def action_show(self, which: str) -> None:
        """Show one sort of thing; the same key again shows everything."""
        self._shown = "all" if self._shown == which else which
        if which == "all":
            self._words = ""
        self._draw()

    def action_sort(self) -> None:
        """Newest or oldest first."""
        self._is_oldest_first = not self._is_oldest_first
        self._draw()

    @work
    async def action_edit(self) -> None:
        """Write a private note."""
        entry = self._current()
        if entry is None or not entry.reference:
            self.flash("only payments and invoices can have a note", is_error=True)
            return
        asked = Ask("Private note", "Nobody else sees it:", entry.note, length=NOTE_BYTES_MAX // 4)
        note = await self.app.push_screen_wait(asked)
        if note is None:
            return
        book = self.session.notebook.with_note(entry.reference, note.strip())
        await self.do(self.session.save_notebook(book), "note kept")
        self.redraw(self._draw)

    @work
    async def action_export(self) -> None:
        """Write what is shown to a file."""
        exported = activity.rows(self.entries, self.session.decimals)
        form = await self.app.push_screen_wait(
            Pick(
                "Export",
                f"{len(exported)} lines",
                [("csv", "CSV, for spreadsheets"), ("json", "JSON")],
            )
        )
        if form is None:
            return
        start = str(Path.home() / f"offset-activity.{form}")
        typed = await self.app.push_screen_wait(
            Ask("Export", "Path of the new file:", start, length=1024)
        )
        if typed:
            text = activity.to_csv(exported) if form == "csv" else activity.to_json(exported)
            await self.do(_write(typed, text), f"written to {typed}")


def _key(entry: Entry) -> str:
    return entry.key


def _are_same(before: tuple[object, ...], now: tuple[object, ...]) -> bool:
    """Whether these are the same; mostly the very objects."""
    return len(before) == len(now) and all(
        old is new or old == new for old, new in zip(before, now, strict=True)
    )


def _widest(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """What likely needs the most room."""
    if not entries:
        return ()
    return (
        max(entries, key=lambda one: abs(one.amount)),
        min(entries, key=lambda one: one.amount),
        max(entries, key=lambda one: one.fee),
        max(entries, key=lambda one: len(one.name)),
        max(entries, key=lambda one: len(one.state)),
        max(entries, key=lambda one: len(one.note or one.description)),
        max(entries, key=lambda one: len(one.kind.value)),
    )


async def _write(typed: str, text: str) -> None:
    write_file(expanded(typed), text, secret=True)


def _detail(entry: Entry) -> Callable[[], Screen[None]] | None:
    if entry.is_outgoing:
        from offset_tui.screens.payment import PaymentScreen  # noqa: PLC0415 - drawn only then

        return lambda: PaymentScreen(PaymentId.from_text(entry.reference))
    if entry.is_incoming:
        from offset_tui.screens.invoice import InvoiceScreen  # noqa: PLC0415 - drawn only then

        return lambda: InvoiceScreen(InvoiceId.from_text(entry.reference))
    return None
