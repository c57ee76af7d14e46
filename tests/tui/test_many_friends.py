"""Thousands of friends: work is counted, not timed; how much must not depend on how many there are."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from offset_engine.client import PublicKey
from offset_engine.notebook import Notebook, Told
from offset_tui import roster, state
from offset_tui.app import OffsetApp
from offset_tui.screens.balances import BalancesScreen
from offset_tui.screens.friends import FriendsScreen
from offset_tui.screens.home import HomeScreen
from offset_tui.widgets.inputs import LineInput
from tests.tui import people_scenes as people
from tests.tui.people_pilot import table
from tests.tui.scenes import OUSD, FakeDoor, friend, line
from tests.tui.screens import SMALL, WIDE, picture, running, settled, until

pytestmark = pytest.mark.anyio
SIZES = pytest.mark.parametrize("size", [SMALL, WIDE])
COUNT = 1_000
IN_SIGHT = 40
"""Rows of the taller screen."""
SAMPLES = 12
"""Rows made to find out how wide columns must be."""


def crowd(count: int = COUNT) -> FakeDoor:
    """So many friends, each of whom said up to how much they trust us."""
    friends = [
        friend(f"Friend {at:05}", line(balance=at * 7_919 % 20_000 - 10_000), is_online=at % 3 > 0)
        for at in range(count)
    ]
    told = tuple(Told(one.public_key, OUSD, 500_00) for one in friends)
    return people.door(*friends, kept=Notebook(told=told))


def change(door: FakeDoor, number: int) -> PublicKey:
    """One friend's balance is another; everybody else is told as before."""
    friends = list(door.client.shown.friends)
    old = friends[number]
    friends[number] = replace(old, currencies=(replace(old.currencies[0], balance=1_23),))
    door.client.shown = replace(door.client.shown, friends=tuple(friends))
    door.client.tell()
    return old.public_key


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often rows are made, and numbers of a friend worked out."""
    counted: Counter[str] = Counter()

    def count(owner: object, name: str) -> None:
        inner: Callable[..., object] = getattr(owner, name)

        def counting(*args: object, **more: object) -> object:
            counted[name] += 1
            return inner(*args, **more)

        monkeypatch.setattr(owner, name, counting)

    for screen in (HomeScreen, FriendsScreen, BalancesScreen):
        count(screen, "_row")
    count(FriendsScreen, "side")
    count(roster.state, "lines_of")
    count(state, "names_of")
    return counted


@SIZES
@pytest.mark.parametrize("section", ["1", "5", "6"])
async def test_a_section_makes_the_rows_in_sight_and_no_others(
    section: str, size: tuple[int, int], calls: Counter[str]
) -> None:
    async with running(crowd(), size) as (app, pilot):
        await pilot.press("9")
        await settled(app, pilot)
        calls.clear()
        await pilot.press(section)
        await settled(app, pilot)
        # A screen is drawn when it is put together, and when it is shown.
        assert 0 < calls["_row"] <= 3 * (IN_SIGHT + SAMPLES)
        assert calls["lines_of"] == calls["names_of"] == 0
        calls.clear()
        await pilot.press("9", section)
        await settled(app, pilot)
        assert 0 < calls["_row"] <= 3 * IN_SIGHT


@SIZES
@pytest.mark.parametrize("section", ["1", "5", "6"])
async def test_a_report_that_changes_one_friend_costs_one_friend(
    section: str, size: tuple[int, int], calls: Counter[str]
) -> None:
    door = crowd()
    async with running(door, size) as (app, pilot):
        await pilot.press(section)
        await settled(app, pilot)
        shown = app.session.roster
        calls.clear()
        key = change(door, COUNT // 2)
        await until(pilot, lambda: app.session.roster is not shown)
        await settled(app, pilot)
        assert app.session.roster.by_key[key].lines[0].balance == 1_23
        assert calls["lines_of"] == 1
        assert calls["names_of"] == 0
        # Those in sight, since time has passed for them; the one that changed, and its total.
        assert calls["_row"] <= IN_SIGHT + SAMPLES


@SIZES
async def test_a_cursor_that_runs_costs_a_line_a_step_and_words_once_a_frame(
    size: tuple[int, int], calls: Counter[str]
) -> None:
    async with running(crowd(), size) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        calls.clear()
        for _ in range(100):
            table(app).action_cursor_down()
        await settled(app, pilot)
        assert table(app).current_key == app.session.roster.people[100].key
        # Rows come into sight one by one; of the words beside the list only the last are made.
        assert calls["_row"] <= 100 + IN_SIGHT
        assert calls["side"] == (1 if size == WIDE else 0)


async def test_the_filter_makes_only_rows_in_sight(calls: Counter[str]) -> None:
    async with running(crowd()) as (app, pilot):
        await pilot.press("5", "slash")
        await settled(app, pilot)
        calls.clear()
        await pilot.press(*"77")
        await settled(app, pilot)
        assert table(app).row_count == len([at for at in range(COUNT) if "77" in f"{at:05}"])
        assert calls["_row"] <= 4 * (IN_SIGHT + SAMPLES)
        assert app.screen.query_one("#people-filter", LineInput).value == "77"


async def test_the_last_of_many_is_drawn_whole() -> None:
    door = crowd()
    friends = list(door.client.shown.friends)
    friends[-1] = replace(friends[-1], currencies=(line(balance=123_456_789_01),))
    door.client.shown = replace(door.client.shown, friends=tuple(friends))
    async with running(door) as (app, pilot):
        for section in ("1", "5", "6"):
            await pilot.press(section)
            await settled(app, pilot)
            table(app).action_scroll_bottom()
            await settled(app, pilot)
            assert "+123,456,789.01" in picture(app)


# --- the clock, with room for a busy machine ----------------------------------------------------

MANY = 10_000
SECTION_S = 0.1
FIRST_S = 0.5
SLACK = 5


async def _busy_s(app: OffsetApp, pilot: Pilot[None], act: Callable[[], object]) -> float:
    """Seconds this thread worked until the screen was still again."""
    before = time.thread_time()
    act()
    for _ in range(3):
        await pilot.pause()
    return time.thread_time() - before


@pytest.mark.slow
async def test_ten_thousand_friends_are_as_quick_as_ten() -> None:
    door = crowd(MANY)
    async with running(door) as (app, pilot):
        first = await _busy_s(app, pilot, lambda: app.action_section("friends"))
        taken: list[float] = []
        for section in ("balances", "friends", "home", "friends", "balances", "home"):
            await _busy_s(app, pilot, lambda mode=section: app.action_section(mode))
        for section in ("balances", "friends", "home") * 5:
            act: Callable[[], object] = lambda mode=section: app.action_section(mode)  # noqa: E731
            taken.append(await _busy_s(app, pilot, act))
            taken.append(await _busy_s(app, pilot, lambda: table(app).action_scroll_bottom()))
            taken.append(await _busy_s(app, pilot, lambda: table(app).action_cursor_up()))
            number = len(taken)
            taken.append(await _busy_s(app, pilot, lambda at=number: change(door, at)))
    assert first < FIRST_S * SLACK
    assert max(taken) < SECTION_S * SLACK
