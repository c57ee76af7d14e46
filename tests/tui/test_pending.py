"""What is frozen just now: page by page, whoever it belongs to."""

import pytest

from offset_engine.core.reports import PendingReport
from offset_engine.core.values import Uid
from offset_tui.screens.friend import FriendScreen
from offset_tui.screens.pending import PAGE, PendingScreen
from offset_tui.widgets.table import KeyedTable
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui.scenes import NOW_MS, OUSD, FakeDoor, key
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio


def _pending(number: int) -> PendingReport:
    return PendingReport(
        key("Bob" if number % 3 else "Charli"),
        OUSD,
        Uid(number.to_bytes(16, "big")),
        is_outgoing=number % 2 == 0,
        amount=100 + number,
        is_answered=number % 5 == 0,
        since_ms=NOW_MS - 1_000 * number,
    )


def _door(count: int) -> FakeDoor:
    door = money.door()
    door.client.pending_list = [_pending(number) for number in range(count)]
    return door


@covers("RMP-23")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_home_opens_what_is_frozen_a_page_at_a_time(size: tuple[int, int]) -> None:
    async with running(_door(2 * PAGE + 20), size) as (app, pilot):
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, PendingScreen))
        await until(pilot, lambda: "1 to 100: > next" in picture(app))
        await settled(app, pilot)
        check_golden(app, "pending")
        await pilot.press("less_than_sign")
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: "101 to 200: < before, > next" in picture(app))
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: "201 to 220: < before" in picture(app))
        table = app.screen.query_one(KeyedTable)
        assert table.row_count == 20
        await pilot.press("greater_than_sign", "less_than_sign")
        await until(pilot, lambda: "101 to 200" in picture(app))


async def test_what_ends_goes_and_an_empty_page_is_left() -> None:
    door = _door(PAGE + 1)
    async with running(door) as (app, pilot):
        await app.push_screen(PendingScreen())
        await until(pilot, lambda: "1 to 100" in picture(app))
        await pilot.press("greater_than_sign")
        await until(pilot, lambda: "101 to 101" in picture(app))
        del door.client.pending_list[5:]
        door.client.tell()
        await until(pilot, lambda: app.screen.query_one(KeyedTable).row_count == 5)
        assert " to " not in picture(app).splitlines()[2]
        door.client.pending_list.clear()
        door.client.tell()
        await until(pilot, lambda: "Nothing is pending" in picture(app))
        await settled(app, pilot)
        check_golden(app, "pending-none")


async def test_enter_opens_the_friend() -> None:
    async with running(_door(3)) as (app, pilot):
        await app.push_screen(PendingScreen())
        await until(pilot, lambda: app.screen.query_one(KeyedTable).row_count == 3)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))
        assert app.screen.key == key("Bob")
