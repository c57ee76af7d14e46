"""A list of things with stable keys: the cursor stays on the same thing whatever changes around it.

Rows are told whole, or (`Many`) made of a thing only when it comes into sight, so that ten thousand cost no more
than a screenful. The table finds out what changed. Columns are as wide as what they hold, so that no digit is ever
cut; where a line is too narrow whole columns go, those of the highest rank first.

Parts and messages are called as those of Textual's own table, which makes and measures every row at once.
Source: tui.md §0 rules 6 and 8, §8, §9.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Final, Generic, Literal, TypeVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size, Spacing
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from offset_tui.keymap import pick

T = TypeVar("T")
_PADDING: Final = 1
MANY_ROWS: Final = 200
"""With more, not every row is measured, and columns keep their room when what they hold gets narrower."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    title: str
    align: Literal["left", "right"] = "left"
    rank: int = 0
    """0 = always shown; the highest goes first when there is no room."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing; `key` names it for ever."""

    key: str
    cells: tuple[Text | str, ...]


def _one(_thing: object) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class Many(Generic[T]):
    """Things to list, and how: rows are made when they come into sight, and again with every picture."""

    things: Sequence[T]
    """In order. The same object as before stands for the same thing, unchanged but for the time that passes."""
    row: Callable[[T], Row]
    key: Callable[[T], str]
    """The key of its row, which must cost nearly nothing."""
    lines: Callable[[T], int] = _one
    """How many lines its row takes."""
    widest: Callable[[], Iterable[T]] = tuple
    """Things whose rows need the most room: columns are made wide enough for them before they come into sight."""


class KeyedTable(ScrollView, can_focus=True):
    """See the module."""

    ALLOW_SELECT = False
    DEFAULT_CSS: ClassVar[str] = "KeyedTable { height: auto; max-height: 100%; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"datatable--header", "datatable--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("table.down", "table.up", "table.first", "table.last", "table.open")
    ]

    class RowHighlighted(Message, namespace="data_table"):
        """The cursor is on another thing."""

    class RowSelected(Message, namespace="data_table"):
        """The thing under the cursor is to be opened."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._columns: tuple[Column, ...] = ()
        self._many: Many[Any] = Many((), lambda _: Row("", ()), lambda _: "")
        self._heights: list[int] = []
        self._tops: list[int] = [0]
        """First line of every row, without the header; at last the number of all lines."""
        self._made: dict[int, Row] = {}
        """Rows in sight, as drawn."""
        self._needed: list[int] = []
        """Cells the widest known cell of every column takes."""
        self._shown: tuple[int, ...] = ()
        self._widths: tuple[int, ...] = ()
        self._cursor = 0
        self._current: str | None = None

    # --- what is listed -------------------------------------------------------------------------

    @property
    def current_key(self) -> str | None:
        """The key of the row under the cursor; None if there is none."""
        return self._current

    @property
    def cursor_row(self) -> int:
        """Number of the row under the cursor."""
        return self._cursor

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return len(self._many.things)

    @property
    def widths(self) -> dict[str, int]:
        """Cells each column shown has, by title."""
        return {
            self._columns[at].title: width
            for at, width in zip(self._shown, self._widths, strict=True)
        }

    def fill(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        """Show these rows; each has one cell per column."""
        self.fill_many(columns, Many(rows, _itself, _key, _height))

    def fill_many(self, columns: Sequence[Column], many: Many[Any]) -> None:
        """Show these things."""
        before, is_new = self._many.things, tuple(columns) != self._columns
        is_kept = not is_new and min(len(many.things), len(before)) > MANY_ROWS
        self._columns, self._many = tuple(columns), many
        line = self._tops[self._cursor]
        changed = self._take_heights(before, is_new=is_new)
        self._follow_cursor()
        if is_kept and len(changed) <= MANY_ROWS:
            for at in changed:
                self._measure(many.row(many.things[at]))
        else:
            self._measure_anew(is_kept=is_kept)
        old, self._made = ({} if is_new else self._made), {}
        self._look()
        if self._lay_out():
            self._stay(line)
            return
        for at, row in self._made.items():
            if at not in old or not _is_same(old[at], row):
                self.refresh_lines(1 + self._tops[at], self._heights[at])

    def select(self, key: str) -> None:
        """Put the cursor on a row."""
        for number, thing in enumerate(self._many.things):
            if self._many.key(thing) == key:
                self._move_to(number)
                return

    def _take_heights(self, before: Sequence[Any], *, is_new: bool) -> Sequence[int]:
        """Take note of the lines of rows that are not the same object as before; which those are."""
        things, lines = self._many.things, self._many.lines
        if is_new or len(before) != len(things):
            self._heights = [lines(one) for one in things]
            self._tops = [0, *accumulate(self._heights)]
            return range(len(things))
        changed = [
            at for at, (old, new) in enumerate(zip(before, things, strict=True)) if old is not new
        ]
        is_other_height = False
        for at in changed:
            height = lines(things[at])
            is_other_height |= height != self._heights[at]
            self._heights[at] = height
        if is_other_height:
            self._tops = [0, *accumulate(self._heights)]
        return changed

    def _follow_cursor(self) -> None:
        """Stay on the thing the cursor was on, else near its place."""
        things, key = self._many.things, self._many.key
        at = self._cursor
        if at < len(things) and key(things[at]) == self._current:
            found = at
        else:
            found = next(
                (number for number, one in enumerate(things) if key(one) == self._current),
                min(at, len(things) - 1),
            )
        self._cursor = max(found, 0)
        self._highlight()

    def _highlight(self) -> None:
        things = self._many.things
        current = self._many.key(things[self._cursor]) if things else None
        if current != self._current:
            self._current = current
            self.post_message(self.RowHighlighted())

    # --- room -----------------------------------------------------------------------------------

    def _measure_anew(self, *, is_kept: bool) -> None:
        """Find out how wide columns must be, from all rows if they are few."""
        things = self._many.things
        if not is_kept or len(self._fitting(self._needed)) < len(self._needed):
            self._needed = [cell_len(column.title) for column in self._columns]
        measured = things if len(things) <= MANY_ROWS else self._many.widest()
        for thing in measured:
            self._measure(self._many.row(thing))

    def _measure(self, row: Row) -> bool:
        """Whether a row needs more room than was known."""
        is_wider = False
        for at, cell in enumerate(row.cells):
            width = _width(cell)
            if width > self._needed[at]:
                self._needed[at], is_wider = width, True
        return is_wider

    def _in_sight(self) -> range:
        """Numbers of the rows in sight."""
        if not self._many.things:
            return range(0)
        top = int(self.scroll_offset.y)
        height = max((self.size.height or self.app.size.height) - 1, 1)
        first = bisect_right(self._tops, top) - 1
        last = bisect_right(self._tops, top + height - 1)
        return range(max(first, 0), min(last, len(self._many.things)))

    def _look(self) -> bool:
        """Make the rows in sight; whether one of them needs more room."""
        sight = self._in_sight()
        self._made = {at: row for at, row in self._made.items() if at in sight}
        wider = [self._measure(self._row(at)) for at in sight if at not in self._made]
        return any(wider)

    def _row(self, at: int) -> Row:
        row = self._made.get(at)
        if row is None:
            row = self._made[at] = self._many.row(self._many.things[at])
        return row

    def _lay_out(self) -> bool:
        """Find room for the columns; whether everything has to be drawn again."""
        shown = self._fitting(self._needed)
        widths = tuple(self._needed[at] for at in shown)
        size = Size(sum(widths) + 2 * _PADDING * len(widths), 1 + self._tops[-1])
        if (shown, widths, size) == (self._shown, self._widths, self.virtual_size):
            return False
        is_other_size = size != self.virtual_size
        self._shown, self._widths, self.virtual_size = shown, widths, size
        self.refresh(layout=is_other_size)
        return True

    @property
    def _room(self) -> int:
        return self.size.width or self.app.size.width

    def _fitting(self, widths: Sequence[int]) -> tuple[int, ...]:
        """Numbers of the columns there is room for."""
        shown = list(range(len(widths)))
        while len(shown) > 1:
            needed = sum(widths[at] + 2 * _PADDING for at in shown)
            worst = max(shown, key=lambda at: (self._columns[at].rank, at))
            if needed <= self._room or self._columns[worst].rank == 0:
                break
            shown.remove(worst)
        return tuple(shown)

    def on_resize(self, event: events.Resize) -> None:
        """Another width may hold other columns."""
        if self._columns:
            self._look()
            self._lay_out()
            self._show_cursor()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Other rows come into sight."""
        super().watch_scroll_y(old_value, new_value)
        if self._columns and self._look():
            self._lay_out()

    # --- drawing --------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line as the screen sees it: the header stays, rows scroll."""
        width, left = self.size.width, int(self.scroll_offset.x)
        if not self._columns:
            return Strip.blank(width, self.rich_style)
        if y == 0:
            style = self.rich_style + self.get_component_rich_style("datatable--header")
            titles = [Text(column.title) for column in self._columns]
            return self._strip(titles, style, left, width)
        line = y - 1 + int(self.scroll_offset.y)
        at = bisect_right(self._tops, line) - 1
        if line >= self._tops[-1]:
            return Strip.blank(width, self.rich_style)
        style = self.rich_style
        cells = [_line_of(cell, line - self._tops[at]) for cell in self._row(at).cells]
        if at == self._cursor:
            style += self.get_component_rich_style("datatable--cursor")
            if self.has_focus:
                # One bar: inverted, each colour would be a patch of its own.
                cells = [Text(cell.plain) for cell in cells]
        return self._strip(cells, style, left, width)

    def _strip(self, cells: Sequence[Text], style: Style, left: int, width: int) -> Strip:
        joint = " " * _PADDING
        line = Text(no_wrap=True, end="")
        for at, room in zip(self._shown, self._widths, strict=True):
            cell = cells[at]
            missing = " " * (room - cell.cell_len)
            is_right = self._columns[at].align == "right"
            line.append(joint + missing if is_right else joint)
            line.append_text(cell)
            line.append(joint if is_right else missing + joint)
        segments = [segment for segment in line.render(self.app.console) if not segment.control]
        drawn = Strip(segments, line.cell_len).apply_style(style)
        return drawn.crop_extend(left, left + width, style)

    # --- the cursor -----------------------------------------------------------------------------

    def _move_to(self, number: int) -> None:
        if not self._many.things:
            return
        before, self._cursor = self._cursor, min(max(number, 0), self.row_count - 1)
        if before != self._cursor:
            for at in (before, self._cursor):
                self.refresh_lines(1 + self._tops[at], self._heights[at])
            self._highlight()
        self._show_cursor()

    def _stay(self, line: int) -> None:
        """Keep the row under the cursor where it is on the screen; it was on this line of all before."""
        moved = self._tops[self._cursor] - line if self._many.things else 0
        if moved and self.scroll_y > 0:
            self.scroll_to(y=self.scroll_y + moved, animate=False, force=True)
        # How high the table is may be known only after the next layout.
        self.call_after_refresh(self._show_cursor)

    def _show_cursor(self) -> None:
        """Scroll so that the row under the cursor is in sight."""
        if not self._many.things or not self.size:
            return
        top, height = 1 + self._tops[self._cursor], self._heights[self._cursor]
        region = Region(int(self.scroll_x), top, max(self.size.width, 1), height)
        self.scroll_to_region(region, animate=False, spacing=Spacing(1, 0, 0, 0), force=True)

    def action_cursor_down(self) -> None:
        """The next row."""
        self._move_to(self._cursor + 1)

    def action_cursor_up(self) -> None:
        """The row before."""
        self._move_to(self._cursor - 1)

    def action_scroll_top(self) -> None:
        """The first row."""
        self._move_to(0)

    def action_scroll_bottom(self) -> None:
        """The last row."""
        self._move_to(self.row_count - 1)

    def action_page_down(self) -> None:
        """A screenful down."""
        self._move_to(self._row_at(self._tops[self._cursor] + self._page))

    def action_page_up(self) -> None:
        """A screenful up."""
        self._move_to(self._row_at(self._tops[self._cursor] - self._page))

    # Keys every scrolling widget has.
    action_scroll_down = action_cursor_down
    action_scroll_up = action_cursor_up
    action_scroll_home = action_scroll_top
    action_scroll_end = action_scroll_bottom

    @property
    def _page(self) -> int:
        return max(self.size.height - 2, 1)

    def _row_at(self, line: int) -> int:
        return min(bisect_right(self._tops, max(line, 0)), self.row_count) - 1

    def action_select_cursor(self) -> None:
        """Open the thing under the cursor."""
        if self._many.things:
            self.post_message(self.RowSelected())

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor on a row; on the row that has it, it opens it."""
        line = event.y - 1 + int(self.scroll_offset.y)
        if event.y < 1 or line >= self._tops[-1]:
            return
        event.stop()
        number = self._row_at(line)
        if number == self._cursor:
            self.action_select_cursor()
        else:
            self._move_to(number)


def _is_same(one: Row, other: Row) -> bool:
    """Whether two rows look the same; texts compare without the style they have as a whole."""
    return one == other and all(
        getattr(mine, "style", "") == getattr(theirs, "style", "")
        for mine, theirs in zip(one.cells, other.cells, strict=True)
    )


def _itself(row: Row) -> Row:
    return row


def _key(row: Row) -> str:
    return row.key


def _height(row: Row) -> int:
    """Lines a row takes: a friend with two currencies has two."""
    return 1 + max(
        (cell if isinstance(cell, str) else cell.plain).count("\n") for cell in row.cells
    )


def _width(cell: Text | str) -> int:
    text = cell if isinstance(cell, str) else cell.plain
    if text.isascii() and text.isprintable():
        return len(text)
    return max(cell_len(line) for line in text.split("\n"))


def _line_of(cell: Text | str, number: int) -> Text:
    """One line of a cell, with nothing in it that needs more than one."""
    if isinstance(cell, str):
        lines = cell.split("\n")
        return Text(lines[number] if number < len(lines) else "")
    if "\n" not in cell.plain:
        return cell if number == 0 else Text()
    parts = cell.split("\n", allow_blank=True)
    return parts[number] if number < len(parts) else Text()
