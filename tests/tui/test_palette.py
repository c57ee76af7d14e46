"""The palette knows what the keyboard knows, says it in the same words, and offers nothing that leaks."""

import sys
from dataclasses import replace

import pytest
from textual.command import CommandPalette

from offset_tui.app import OffsetApp
from offset_tui.dialogs.edits import FeeDialog, LimitDialog, RenameDialog
from offset_tui.people_commands import HITS_MAX, VERBS, found_in
from offset_tui.screens.friend import FriendScreen
from offset_tui.screens.invite import InviteScreen
from tests.tui import people_scenes as people
from tests.tui.people_scenes import door
from tests.tui.scenes import HOURS, friend, key, line
from tests.tui.screens import SMALL, Pilot, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio


async def test_the_palette_lists_the_screen_first_and_runs_what_is_chosen() -> None:
    async with running(size=SMALL) as (app, pilot):
        await pilot.press("4")
        await until(pilot, lambda: app.current_mode == "activity")
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await until(pilot, lambda: "passed through" in picture(app))
        await settled(app, pilot)
        check_golden(app, "palette-activity")
        await pilot.press(*"balances")
        await until(pilot, lambda: "Go to Balances" in picture(app))
        await settled(app, pilot)
        await pilot.press("enter", "enter")
        await until(pilot, lambda: app.current_mode == "balances")


async def test_no_screenshot_command() -> None:
    async with running(size=SMALL) as (app, pilot):
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"screenshot")
        await settled(app, pilot)
        assert "svg" not in picture(app).lower()


async def chosen(app: OffsetApp, pilot: Pilot[None], typed: str, wanted: str) -> None:
    """Type into the palette and take its first entry, which is the one wanted."""
    await pilot.press("ctrl+p")
    await until(pilot, lambda: isinstance(app.screen, CommandPalette))
    await pilot.press(*typed)
    await until(pilot, lambda: wanted in picture(app))
    await settled(app, pilot)
    await taken(app, pilot)


async def taken(app: OffsetApp, pilot: Pilot[None]) -> None:
    """Take the first entry: of several one Enter chooses it, another one runs it; a single one runs at once."""
    await pilot.press("enter")
    await settled(app, pilot)
    if isinstance(app.screen, CommandPalette):
        await pilot.press("enter")


@pytest.mark.parametrize(
    ("typed", "wanted", "dialog"),
    [
        ("limit dan", "Limit for Daniel", LimitDialog),
        ("fee daniel", "Fee for Daniel", FeeDialog),
        ("rename daniel", "Rename Daniel", RenameDialog),
    ],
)
async def test_what_is_done_about_a_friend_is_found_from_anywhere(
    typed: str, wanted: str, dialog: type
) -> None:
    async with running() as (app, pilot):
        await chosen(app, pilot, typed, wanted)
        await until(pilot, lambda: isinstance(app.screen, dialog))
        assert "Daniel" in picture(app)
        below = app.screen_stack[-2]
        assert isinstance(below, FriendScreen)
        assert (below.key, app.current_mode) == (key("Daniel"), "friends")


async def test_the_friend_has_several_currencies_so_one_is_chosen_first() -> None:
    async with running() as (app, pilot):
        await chosen(app, pilot, "close bob", "Open or close a currency with Bob")
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))
        await until(pilot, lambda: "choose the currency, then press o" in picture(app))


async def test_inviting_is_found_from_anywhere() -> None:
    async with running() as (app, pilot):
        await chosen(app, pilot, "invite some", "Invite somebody")
        await until(pilot, lambda: isinstance(app.screen, InviteScreen))


async def test_friends_are_listed_with_what_can_be_done() -> None:
    async with running(size=SMALL) as (app, pilot):
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"bob")
        await until(pilot, lambda: "Limit for Bob" in picture(app))
        await settled(app, pilot)
        check_golden(app, "palette-friend")


async def test_a_name_in_the_palette_is_never_markup() -> None:
    hostile = replace(friend("x", line()), name=people.MARKUP_NAME)
    async with running(door(hostile, friend("Bob", line(), line(HOURS)))) as (app, pilot):
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"limit pay")
        await until(pilot, lambda: "Limit for [@click=app.quit]pay me" in picture(app))
        await settled(app, pilot)
        await taken(app, pilot)
        await until(pilot, lambda: isinstance(app.screen, LimitDialog))


def test_a_thousand_friends_cost_a_bounded_look_and_fifty_entries() -> None:
    """Work is counted, not time: calls grow with the friends, not with the letters of their names."""
    names = [(key(f"f{at}"), f"Friend number {at} of many with a long name") for at in range(1_000)]
    assert len(found_in("l", names)) == HITS_MAX
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        found = found_in("limit for number 77", names)
    finally:
        sys.setprofile(None)
    assert found[0].title == "Limit for Friend number 77 of many with a long name …"
    assert calls < 200_000


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("limit bob", "Limit for Bob …"),
        ("bob limit", "Limit for Bob …"),
        ("lmt bob", "Limit for Bob …"),
        ("BOB", "Friend Bob"),
        ("close currency bobby", "Open or close a currency with Bobby Tables …"),
        ("tables fee", "Fee for Bobby Tables …"),
    ],
)
def test_what_is_typed_is_matched_word_by_word(query: str, first: str) -> None:
    names = [(key("Al"), "Al"), (key("Bob"), "Bob"), (key("Bobby"), "Bobby Tables")]
    assert found_in(query, names)[0].title == first


@pytest.mark.parametrize("query", ["", "  ", "xyzzy", "limit zed"])
def test_what_matches_nothing_offers_nothing(query: str) -> None:
    assert found_in(query, [(key("Bob"), "Bob")]) == []


def test_every_verb_names_an_action_of_the_friends_screen() -> None:
    assert all(hasattr(FriendScreen, f"action_{one.action}") for one in VERBS if one.action)
