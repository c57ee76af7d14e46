"""A list of things with stable keys: the cursor stays on the same thing whatever changes around it.

Rows are told whole; the table finds out what changed. Columns are as wide as what they hold, so that no digit
is ever cut; where a line is too narrow whole columns go, those of the highest rank first.

Source: tui.md §0 rules 6 and 8, §8, §9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import BindingType
from textual.widgets import DataTable

from offset_tui.keymap import pick

_PADDING: Final = 1
_MANY_ROWS: Final = 200
"""With more, columns keep their room when what they hold gets narrower: rows are costly to build anew."""


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


class KeyedTable(DataTable[Text]):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("table.down", "table.up", "table.first", "table.last")
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, cursor_type="row", cell_padding=_PADDING)
        self._asked: tuple[Column, ...] = ()
        self._held: tuple[Row, ...] = ()
        self._shown: tuple[int, ...] = ()
        self._widths: tuple[int, ...] = ()
        self._rows_held: tuple[tuple[str, int], ...] = ()
        self._columns_held: tuple[Column, ...] = ()

    @property
    def current_key(self) -> str | None:
        """The key of the row under the cursor; None if there is none."""
        if 0 <= self.cursor_row < len(self._held):
            return self._held[self.cursor_row].key
        return None

    def fill(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        """Show these rows; each has one cell per column."""
        self._asked, self._wanted = tuple(columns), tuple(rows)
        self._draw()

    _wanted: tuple[Row, ...] = ()

    def on_resize(self, event: events.Resize) -> None:
        """Another width may hold other columns."""
        if self._asked:
            self._draw()

    def select(self, key: str) -> None:
        """Put the cursor on a row."""
        for number, row in enumerate(self._held):
            if row.key == key:
                self.move_cursor(row=number, animate=False)

    def _draw(self) -> None:
        rows = self._wanted
        every = tuple(_width(column, rows, at) for at, column in enumerate(self._asked))
        shown = self._fitting(every)
        widths = tuple(every[at] for at in shown)
        heights = tuple((row.key, _height(row)) for row in rows)
        is_same = (self._asked, shown, heights) == (
            self._columns_held,
            self._shown,
            self._rows_held,
        )
        if is_same and self._is_fit(widths):
            self._update(rows, shown)
            return
        self._rebuild(rows, shown, widths)
        self._columns_held, self._shown, self._rows_held = self._asked, shown, heights
        self._widths = widths

    def _is_fit(self, widths: tuple[int, ...]) -> bool:
        """Whether the columns as they are can hold cells of these widths."""
        if widths == self._widths:
            return True
        if len(self._held) <= _MANY_ROWS or len(widths) != len(self._widths):
            return False
        is_enough = all(new <= old for new, old in zip(widths, self._widths, strict=True))
        return is_enough and sum(self._widths) + 2 * _PADDING * len(widths) <= self._room

    @property
    def _room(self) -> int:
        return self.size.width or self.app.size.width

    def _fitting(self, widths: Sequence[int]) -> tuple[int, ...]:
        """Numbers of the columns there is room for."""
        shown = list(range(len(widths)))
        while len(shown) > 1:
            needed = sum(widths[at] + 2 * _PADDING for at in shown)
            worst = max(shown, key=lambda at: (self._asked[at].rank, at))
            if needed <= self._room or self._asked[worst].rank == 0:
                break
            shown.remove(worst)
        return tuple(shown)

    def _rebuild(
        self, rows: tuple[Row, ...], shown: tuple[int, ...], widths: Sequence[int]
    ) -> None:
        key, old_row = self.current_key, self.cursor_row
        self.clear(columns=True)
        self._held = rows
        for at, width in zip(shown, widths, strict=True):
            column = self._asked[at]
            self.add_column(Text(column.title, justify=column.align), key=str(at), width=width)
        for row in rows:
            cells = (self._cell(row, at) for at in shown)
            self.add_row(*cells, key=row.key, height=_height(row))
        keys = [row.key for row in rows]
        if rows:
            at_row = keys.index(key) if key in keys else min(max(old_row, 0), len(rows) - 1)
            self.move_cursor(row=at_row, animate=False)
        # An automatic height is known only once the rows have been measured.
        self.call_after_refresh(self.refresh, layout=True)

    def _update(self, rows: tuple[Row, ...], shown: tuple[int, ...]) -> None:
        for old, new in zip(self._held, rows, strict=True):
            for at in shown:
                if old.cells[at] != new.cells[at]:
                    self.update_cell(new.key, str(at), self._cell(new, at))
        self._held = rows

    def _cell(self, row: Row, at: int) -> Text:
        cell = row.cells[at]
        text = Text(cell) if isinstance(cell, str) else cell.copy()
        text.justify = self._asked[at].align
        text.no_wrap = True
        return text


def _width(column: Column, rows: Sequence[Row], at: int) -> int:
    found = cell_len(column.title)
    for row in rows:
        cell = row.cells[at]
        text = cell if isinstance(cell, str) else cell.plain
        if text.isascii() and text.isprintable():
            found = max(found, len(text))
        else:
            found = max(found, *(cell_len(line) for line in text.split("\n")))
    return found


def _height(row: Row) -> int:
    """Lines a row takes: a friend with two currencies has two."""
    return 1 + max(
        (cell if isinstance(cell, str) else cell.plain).count("\n") for cell in row.cells
    )
