"""Wide terminals: the list and, beside it, what the row under the cursor is about."""

from dataclasses import replace

import pytest

from offset_engine.client import PayStage
from offset_engine.core.values import Currency
from offset_tui.app import OffsetApp
from offset_tui.doors import AppOptions
from offset_tui.screens.friend import FriendScreen
from tests.tui import money_scenes as money
from tests.tui import people_scenes as people
from tests.tui.scenes import FakeDoor, friend, line, report
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until
from tests.tui.test_activity import door as with_past

pytestmark = pytest.mark.anyio
NARROWEST = (110, 30)
"""From here on there is room for both."""


def beside(app: OffsetApp) -> str:
    """What stands right of the line."""
    lines = [one.partition("│") for one in picture(app).splitlines()]
    return "\n".join(words.strip() for _, bar, words in lines if bar)


async def test_the_words_follow_the_cursor_and_enter_opens_the_whole() -> None:
    async with running(FakeDoor(), NARROWEST) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        assert beside(app).startswith("Bob · 6pb3-3yy6")
        await pilot.press("down")
        await settled(app, pilot)
        assert beside(app).startswith("Charli · ")
        assert "trusts you 100.00" in beside(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))


@pytest.mark.parametrize("section", ["5", "6", "4", "7"])
async def test_where_there_is_no_room_the_list_has_all_of_it(section: str) -> None:
    async with running(with_past(), SMALL) as (app, pilot):
        await pilot.press(section)
        await settled(app, pilot)
        assert "│" not in picture(app)
        small = picture(app)
        await pilot.resize_terminal(*WIDE)
        await settled(app, pilot)
        assert "│" in picture(app)
        assert beside(app).strip()
        await pilot.resize_terminal(*SMALL)
        await settled(app, pilot)
        assert picture(app) == small


async def test_a_report_changes_the_words_too() -> None:
    door = FakeDoor()
    async with running(door, WIDE) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        bob, *others = door.client.shown.friends
        door.client.shown = report(replace(bob, is_online=False), *others)
        door.client.tell()
        await until(pilot, lambda: "○ offline" in beside(app))


async def test_without_a_row_there_are_no_words() -> None:
    async with running(FakeDoor(), WIDE) as (app, pilot):
        await pilot.press("5", "slash", *"nobody")
        await settled(app, pilot)
        assert "│" not in picture(app)
        await pilot.press("escape")
        await settled(app, pilot)
        assert beside(app).startswith("Bob")


async def test_a_friend_with_something_wrong_and_many_currencies_is_said_in_short() -> None:
    many = [line(Currency(f"C{at}"), at) for at in range(9)]
    door = people.door(replace(people.inconsistent("Dora"), currencies=tuple(many)))
    async with running(door, WIDE) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        check_golden(app, "friends_side_many")
        assert "and 1 more" in beside(app)
        assert "enter opens this friend" in beside(app)


async def test_what_needs_the_owner_is_said_whole() -> None:
    door = with_past()
    door.client.pay_list = [money.pay(PayStage.FEE_TO_CONFIRM, money.invoice(9_00), fee=12)]
    async with running(door, WIDE) as (app, pilot):
        await pilot.press("4")
        await until(pilot, lambda: "chocolate" in picture(app) or " 6 " in picture(app))
        await settled(app, pilot)
        check_golden(app, "activity_side_needs")
        assert "fee to confirm" in beside(app)
        await pilot.press("end")
        await settled(app, pilot)
        assert "no route to the seller" in beside(app).replace("\n", " ")
        assert "about  chocolate" in beside(app)


async def test_plain_characters() -> None:
    async with running(FakeDoor(), WIDE, AppOptions(is_ascii=True)) as (app, pilot):
        for section in "5647":
            await pilot.press(section)
            await settled(app, pilot)
            assert picture(app).isascii()


async def test_the_largest_amounts_keep_every_digit_beside_the_list() -> None:
    async with running(people.door(*people.huge()), WIDE) as (app, pilot):
        for section in "56":
            await pilot.press(section)
            await settled(app, pilot)
            assert "1,701,411,834,604,692,317,316,873,037,158,841,057.27" in beside(app).replace(
                "\n", ""
            )


async def test_a_friend_without_a_currency() -> None:
    async with running(people.door(friend("Gina")), WIDE) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        assert "No currency is used with this friend yet" in beside(app).replace("\n", " ")
