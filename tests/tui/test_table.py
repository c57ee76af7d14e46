"""The list of things with stable keys: when it is built anew and when only cells change."""

import pytest
from textual.app import App, ComposeResult

from offset_tui.widgets.table import Column, KeyedTable, Row

pytestmark = pytest.mark.anyio
_COLUMNS = (Column("Name"), Column("Amount", "right", rank=1))


class _Table(KeyedTable):
    built = 0

    def clear(self, columns: bool = False) -> "_Table":
        self.built += 1
        super().clear(columns)
        return self


class _Host(App[None]):
    def compose(self) -> ComposeResult:
        yield _Table()


def rows(count: int, amount: str) -> list[Row]:
    return [Row(str(at), (f"name {at}", amount if at == 1 else "1.00")) for at in range(count)]


@pytest.mark.parametrize(("count", "built"), [(3, 2), (300, 1)])
async def test_many_rows_keep_the_room_of_an_amount_that_got_shorter(
    count: int, built: int
) -> None:
    app = _Host()
    async with app.run_test() as pilot:
        table = app.query_one(_Table)
        table.fill(_COLUMNS, rows(count, "1,000,000.00"))
        await pilot.pause()
        table.built = 0
        table.fill(_COLUMNS, rows(count, "7.00"))
        assert table.get_cell("1", "1").plain == "7.00"
        table.fill(_COLUMNS, rows(count, "1,000,000,000.00"))
        assert table.get_cell("1", "1").plain == "1,000,000,000.00"
        assert table.built == built
        assert [column.width for column in table.ordered_columns][1] == 16
