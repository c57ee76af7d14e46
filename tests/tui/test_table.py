"""The list of things with stable keys: which rows are made, what is drawn again, and where the cursor stays."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from offset_tui.widgets.table import MANY_ROWS, Column, KeyedTable, Many, Row
from tests.tui.screens import picture, settled

pytestmark = pytest.mark.anyio
_COLUMNS = (Column("Name"), Column("Amount", "right", rank=1))


class _Table(KeyedTable):
    """Notes which lines are drawn."""

    drawn: list[int]

    def render_line(self, y: int):
        self.drawn.append(y)
        return super().render_line(y)


class _Host(App[None]):
    """The table alone, and what it says."""

    CSS = (
        "KeyedTable { height: 1fr; } KeyedTable:focus > .datatable--cursor { text-style: reverse; }"
    )
    said: list[str]

    def compose(self) -> ComposeResult:
        self.said = []
        table = _Table()
        table.drawn = []
        yield table

    def on_data_table_row_highlighted(self) -> None:
        self.said.append(f"on {self.query_one(_Table).current_key}")

    def on_data_table_row_selected(self) -> None:
        self.said.append(f"open {self.query_one(_Table).current_key}")


class _Things:
    """Many things, which note how many rows were made of them."""

    def __init__(self, count: int, amount: str = "1.00") -> None:
        self.things = [[at, amount] for at in range(count)]
        self.made: list[int] = []

    def row(self, thing: list) -> Row:
        self.made.append(thing[0])
        return Row(self.key(thing), (f"name {thing[0]}", thing[1]))

    @staticmethod
    def key(thing: list) -> str:
        return str(thing[0])

    def many(self) -> Many[list]:
        return Many(tuple(self.things), self.row, self.key)


@asynccontextmanager
async def shown() -> AsyncIterator[tuple[_Table, Pilot[None]]]:
    app = _Host()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(_Table)
        table.focus()
        await pilot.pause()
        yield table, pilot


def _line_of(table: KeyedTable, words: str) -> int | None:
    """The line of the screen that says so."""
    lines = picture(table.app).splitlines()
    return next((at for at, line in enumerate(lines) if words in line), None)


def rows(count: int, amount: str = "1.00") -> list[Row]:
    return [Row(str(at), (f"name {at}", amount if at == 1 else "1.00")) for at in range(count)]


@pytest.mark.parametrize(("count", "after"), [(3, 6), (300, 12)])
async def test_many_rows_keep_the_room_of_an_amount_that_got_shorter(
    count: int, after: int
) -> None:
    async with shown() as (table, pilot):
        table.fill(_COLUMNS, rows(count, "1,000,000.00"))
        await pilot.pause()
        assert table.widths["Amount"] == 12
        table.fill(_COLUMNS, rows(count, "7.00"))
        assert table.widths["Amount"] == after
        table.fill(_COLUMNS, rows(count, "1,000,000,000.00"))
        assert table.widths["Amount"] == 16
        await settled(table.app, pilot)
        assert "1,000,000,000.00" in picture(table.app)


async def test_of_many_things_only_those_in_sight_become_rows() -> None:
    things = _Things(10_000)
    async with shown() as (table, pilot):
        things.made.clear()
        table.fill_many(_COLUMNS, things.many())
        await settled(table.app, pilot)
        assert set(things.made) == set(range(11))
        things.made.clear()
        await pilot.press("G")
        await settled(table.app, pilot)
        assert set(things.made) <= set(range(9_989, 10_000))
        assert table.current_key == "9999"


async def test_a_change_makes_one_row_anew_and_draws_one_line() -> None:
    things = _Things(10_000)
    async with shown() as (table, pilot):
        table.fill_many(_COLUMNS, things.many())
        await settled(table.app, pilot)
        things.made.clear()
        table.drawn.clear()
        things.things[3] = [3, "2.00"]
        things.things[99] = [99, "3.00"]
        table.fill_many(_COLUMNS, things.many())
        await pilot.pause()
        assert set(things.made) == {*range(11), 99}
        assert table.drawn == [4]


async def test_the_same_again_draws_nothing() -> None:
    async with shown() as (table, pilot):
        table.fill(_COLUMNS, rows(5))
        await settled(table.app, pilot)
        table.drawn.clear()
        table.fill(_COLUMNS, rows(5))
        await pilot.pause()
        assert table.drawn == []


async def test_the_style_of_a_whole_cell_is_part_of_what_is_drawn() -> None:
    async with shown() as (table, pilot):
        table.fill(_COLUMNS, [Row("a", ("a", Text("x", "green")))])
        await settled(table.app, pilot)
        table.drawn.clear()
        table.fill(_COLUMNS, [Row("a", ("a", Text("x", "bold red")))])
        await pilot.pause()
        assert table.drawn == [1]


async def test_a_row_that_needs_more_room_gets_it_when_it_comes_into_sight() -> None:
    things = _Things(1_000)
    things.things[500][1] = "1,000,000.00"
    async with shown() as (table, pilot):
        table.fill_many(_COLUMNS, things.many())
        assert table.widths["Amount"] == 6
        table.select("500")
        await settled(table.app, pilot)
        assert table.widths["Amount"] == 12
        assert "1,000,000.00" in picture(table.app)


async def test_room_for_what_is_known_to_be_widest_is_there_from_the_start() -> None:
    things = _Things(1_000)
    things.things[500][1] = "1,000,000.00"
    async with shown() as (table, _):
        many = things.many()
        wide = lambda: [things.things[500]]  # noqa: E731 - shorter so
        table.fill_many(_COLUMNS, Many(many.things, many.row, many.key, widest=wide))
        assert table.widths["Amount"] == 12


async def test_the_cursor_stays_on_its_thing_and_where_it_is_on_the_screen() -> None:
    async with shown() as (table, pilot):
        table.fill(_COLUMNS, rows(300))
        table.select("100")
        await settled(table.app, pilot)
        place = _line_of(table, "name 100 ")
        more = [Row(f"new {at}", (f"new {at}", "1.00")) for at in range(3)]
        table.fill(_COLUMNS, [*more, *rows(300)])
        await settled(table.app, pilot)
        assert table.current_key == "100"
        assert _line_of(table, "name 100 ") == place


async def test_when_its_thing_goes_the_cursor_stays_near() -> None:
    async with shown() as (table, pilot):
        table.fill(_COLUMNS, rows(5))
        await pilot.press("down", "down", "down")
        table.fill(_COLUMNS, [one for one in rows(5) if one.key != "3"])
        assert table.current_key == "4"
        table.fill(_COLUMNS, rows(2))
        assert table.current_key == "1"
        table.fill(_COLUMNS, [])
        assert table.current_key is None
        await pilot.press("down", "G", "enter", "pagedown")
        table.fill(_COLUMNS, rows(2))
        assert table.current_key == "0"


async def test_every_move_says_where_the_cursor_is_and_enter_opens() -> None:
    async with shown() as (table, pilot):
        table.fill(_COLUMNS, rows(50))
        await pilot.press("down", "j", "k", "end", "enter", "home", "pagedown", "pageup", "up")
        await pilot.pause()
        app = table.app
        assert isinstance(app, _Host)
        assert app.said == [
            *("on 0", "on 1", "on 2", "on 1", "on 49", "open 49", "on 0", "on 10", "on 0"),
        ]


async def test_a_click_moves_the_cursor_and_a_second_one_opens() -> None:
    async with shown() as (table, pilot):
        table.fill(_COLUMNS, rows(5))
        await pilot.pause()
        await pilot.click(_Table, offset=(3, 3))
        await pilot.click(_Table, offset=(3, 3))
        await pilot.click(_Table, offset=(3, 0))
        await pilot.click(_Table, offset=(3, 9))
        app = table.app
        assert isinstance(app, _Host)
        assert app.said == ["on 0", "on 2", "open 2"]


async def test_rows_of_several_lines_are_moved_over_as_one() -> None:
    async with shown() as (table, pilot):
        two = [Row(str(at), (f"name {at}", Text(f"{at}.00\n{at}.50"))) for at in range(20)]
        table.fill(_COLUMNS, two)
        await pilot.press("down")
        await settled(table.app, pilot)
        assert (_line_of(table, "name 1 "), _line_of(table, " 1.50")) == (3, 4)
        await pilot.press("G")
        await settled(table.app, pilot)
        assert _line_of(table, " 19.50") == 11
        await pilot.click(_Table, offset=(3, 1))
        assert table.current_key == "14"


async def test_columns_of_low_rank_go_where_there_is_no_room_and_come_back() -> None:
    async with shown() as (table, pilot):
        table.fill(_COLUMNS, rows(3, "1,000,000,000,000,000,000,000.00"))
        await pilot.pause()
        assert list(table.widths) == ["Name"]
        await pilot.resize_terminal(60, 12)
        await settled(table.app, pilot)
        assert list(table.widths) == ["Name", "Amount"]
        assert "1,000,000,000,000,000,000,000.00" in picture(table.app)


async def test_scrolling_by_wheel_makes_rows_and_leaves_the_cursor() -> None:
    things = _Things(MANY_ROWS * 2)
    async with shown() as (table, pilot):
        table.fill_many(_COLUMNS, things.many())
        await settled(table.app, pilot)
        for _ in range(20):
            table.post_message(events.MouseScrollDown(table, 1, 1, 0, 1, 0, False, False, False))
        await settled(table.app, pilot)
        assert table.current_key == "0"
        assert table.scroll_y > 0
        assert f" name {int(table.scroll_y)} " in picture(table.app)
