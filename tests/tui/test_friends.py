"""The list of friends: every state in words, strange names, huge amounts, and keys that act on what was shown."""

import pytest

from offset_engine.client import DisableFriend, EnableFriend, RemoveFriend
from offset_engine.text import fingerprint
from offset_tui.dialogs.base import Confirm, TypeToConfirm
from offset_tui.dialogs.pick import Pick
from offset_tui.dialogs.qr import QrScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import AppOptions
from offset_tui.screens.friend import FriendScreen
from offset_tui.screens.friends import FriendsScreen
from offset_tui.screens.introduce import InviteScreen
from offset_tui.widgets.inputs import LineInput
from tests.covers import covers
from tests.tui import people_scenes as people
from tests.tui.people_pilot import armed, table
from tests.tui.people_scenes import door
from tests.tui.scenes import FakeDoor, friend, key, line, report
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
SIZES = pytest.mark.parametrize("size", [SMALL, WIDE])


@SIZES
@covers("MOB-30")
async def test_the_village_friends(size: tuple[int, int]) -> None:
    async with running(FakeDoor(), size) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        check_golden(app, "friends")


@SIZES
async def test_every_state_is_said_in_words(size: tuple[int, int]) -> None:
    async with running(door(*people.states()), size) as (app, pilot):
        await pilot.press("5", "s")
        await settled(app, pilot)
        check_golden(app, "friends_states")


@SIZES
async def test_names_that_try_things(size: tuple[int, int]) -> None:
    async with running(door(*people.hostile()), size) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        check_golden(app, "friends_hostile")
        shown = picture(app)
        assert not {"\x1b", "\u202e"} & set(shown)


@SIZES
async def test_the_largest_amounts_keep_every_digit(size: tuple[int, int]) -> None:
    async with running(door(*people.huge()), size) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        check_golden(app, "friends_huge")
        assert "+1,701,411,834,604,692,317,316,873,037,158,841,057.27" in picture(app)


@SIZES
async def test_no_friends_yet(size: tuple[int, int]) -> None:
    async with running(door(), size) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        check_golden(app, "friends_none")


async def test_no_friends_and_no_servers() -> None:
    scene = door()
    scene.client.shown = people.without_servers(report())
    async with running(scene) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        check_golden(app, "friends_none_no_servers")
        await pilot.press("y")
        await pilot.pause()
        assert "add servers first" in picture(app)


async def test_plain_characters() -> None:
    async with running(FakeDoor(), options=AppOptions(is_ascii=True)) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        check_golden(app, "friends_ascii")


async def test_the_filter_shows_matching_names_and_escape_shows_all() -> None:
    async with running(FakeDoor()) as (app, pilot):
        await pilot.press("5", "slash", *"ARL")
        await settled(app, pilot)
        assert table(app).row_count == 1
        await pilot.press(*"xx")
        await settled(app, pilot)
        check_golden(app, "friends_no_match")
        await pilot.press("escape")
        await settled(app, pilot)
        assert table(app).row_count == 4
        assert app.screen.query_one("#people-filter", LineInput).value == ""


async def test_enter_opens_the_friend_under_the_cursor() -> None:
    async with running(FakeDoor()) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))
        assert isinstance(app.screen, FriendScreen)
        assert app.screen.key == key("Charli")


@covers("MOB-34")
async def test_switching_off_asks_and_switching_on_does_not() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("space")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FriendsScreen))
        assert scene.client.asked == []
        await pilot.press("space")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: scene.client.asked == [DisableFriend(key("Bob"))])
    off = people.states()[2]
    scene = door(off)
    async with running(scene) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("space")
        await until(pilot, lambda: scene.client.asked == [EnableFriend(key("Carla"))])


@SIZES
@covers("MOB-35", "RMP-06")
async def test_unfriending_says_what_is_lost_and_wants_the_name(size: tuple[int, int]) -> None:
    scene = FakeDoor()
    async with running(scene, size) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, TypeToConfirm))
        await pilot.pause()
        check_golden(app, "unfriend")
        await armed(app, pilot)
        await pilot.press(*"Bo", "enter")
        assert scene.client.asked == []
        await pilot.press("b", "enter")
        await until(pilot, lambda: scene.client.asked == [RemoveFriend(key("Bob"), force=True)])


async def test_unfriending_a_settled_friend_needs_no_force() -> None:
    scene = door(friend("Bob", line(balance=0)))
    async with running(scene) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FriendsScreen))
        assert scene.client.asked == []
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: scene.client.asked == [RemoveFriend(key("Bob"), force=False)])


async def test_a_name_that_cannot_be_typed_is_confirmed_by_its_fingerprint() -> None:
    scene = door(friend(people.LOOKS_LIKE_BOB, line(balance=5_00)))
    async with running(scene) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, TypeToConfirm))
        await pilot.pause()
        assert f"Type {fingerprint(key(people.LOOKS_LIKE_BOB))} to confirm" in picture(app)


async def test_the_key_pressed_acts_on_the_friend_shown_then() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("down", "x")  # Charli
        await until(pilot, lambda: isinstance(app.screen, TypeToConfirm))
        scene.client.shown = report(
            friend("Aaron", line(balance=1)),
            friend("Abe", line(balance=2)),
            *scene.client.shown.friends,
        )
        scene.client.tell()
        await until(pilot, lambda: len(app.session.snapshot.report.friends) == 6)
        await armed(app, pilot)
        await pilot.press(*"Charli", "enter")
        await until(pilot, lambda: scene.client.asked == [RemoveFriend(key("Charli"), force=True)])


async def test_the_cursor_stays_on_its_friend_when_others_come() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("down")
        scene.client.shown = report(friend("Aaron"), *scene.client.shown.friends)
        scene.client.tell()
        await until(pilot, lambda: table(app).row_count == 5)
        assert table(app).current_key == key("Charli").to_text()


@SIZES
async def test_n_offers_three_ways(size: tuple[int, int]) -> None:
    async with running(FakeDoor(), size) as (app, pilot):
        await pilot.press("5", "n")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await pilot.pause()
        check_golden(app, "friends_new")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, InviteScreen))


@SIZES
@covers("MOB-31")
async def test_y_shares_our_own_card(size: tuple[int, int]) -> None:
    async with running(FakeDoor(), size) as (app, pilot):
        await pilot.press("5", "y")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))
        await pilot.pause()
        check_golden(app, "friends_share")
        await pilot.press("q", "v")
        await until(pilot, lambda: isinstance(app.screen, QrScreen))


async def test_read_only_changes_nothing() -> None:
    scene = FakeDoor()
    async with running(scene, options=AppOptions(is_read_only=True)) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        await pilot.press("x", "space", "n")
        await pilot.pause()
        assert isinstance(app.screen, FriendsScreen)
        assert "--read-only" in picture(app)
        assert scene.client.asked == []
