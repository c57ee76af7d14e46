"""The first run: every page as a picture, and the journeys with their interactions counted."""

from pathlib import Path

import pytest
from textual import events

from offset_engine.client import AddFriend, AddRelay
from offset_engine.files import to_json, to_text
from offset_tui.app import OffsetApp
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import AppOptions, CardInfo, CardKind, CardPlace
from offset_tui.screens.connect import ConnectScreen
from offset_tui.screens.home import HomeScreen
from offset_tui.screens.introduce import AcceptInviteScreen, InviteScreen, ServersScreen
from offset_tui.screens.setup import SetupScreen
from tests.covers import covers
from tests.tui.card_scenes import ALICE, INVITE, RCARD, SERVERS, StoreDoor, with_cards
from tests.tui.scenes import key
from tests.tui.screens import SMALL, WIDE, check_golden, running, settled, until

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("size", [SMALL, WIDE])


async def golden(app: OffsetApp, pilot, name: str) -> None:
    await settled(app, pilot)
    check_golden(app, name)


class Hand:
    """Somebody at the keyboard; counts what an interaction is: Enter, a shortcut, a paste, a choice."""

    def __init__(self, app: OffsetApp, pilot) -> None:
        self.app, self.pilot, self.count = app, pilot, 0

    async def shown(self, screen: type, page: str = "") -> None:
        def is_there() -> bool:
            now = self.app.screen
            return isinstance(now, screen) and (not page or now.page == page)

        await until(self.pilot, is_there)
        await settled(self.app, self.pilot)

    async def press(self, *keys: str) -> None:
        self.count += len(keys)
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def paste(self, text: str) -> None:
        self.count += 1
        self.app.post_message(events.Paste(text))
        await self.pilot.pause()
        await settled(self.app, self.pilot)

    async def type(self, text: str) -> None:
        """Free."""
        await self.pilot.press(*text)

    async def fill(self, field: str, text: str) -> None:
        """Typed as well, quicker."""
        self.app.screen.query_one(field).value = text
        await self.pilot.pause()

    async def tab(self, times: int = 1) -> None:
        """Free."""
        await self.pilot.press(*["tab"] * times)

    async def wait_until_armed(self) -> None:
        """A form is deaf at first."""
        await self.pilot.pause(0.45)


@covers("MOB-24")
async def test_an_invited_person_needs_four_interactions() -> None:
    door = StoreDoor()
    async with running(door) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.paste(to_text(INVITE))
        await hand.shown(SetupScreen, "name")
        await hand.type("Bob")
        await hand.press("enter")
        await hand.shown(AcceptInviteScreen)
        assert not door.client.asked  # nothing happens before the review
        await hand.type("200")
        await hand.wait_until_armed()
        await hand.press("ctrl+g")
        await hand.shown(ShareScreen)
        await hand.press("y")
        assert hand.count == 4
        commands = [type(one) for batch in door.client.asked for one in batch.commands]
        assert {AddRelay, AddFriend} <= set(commands)


async def test_an_inviter_needs_seven_interactions_from_nothing() -> None:
    door = StoreDoor()
    async with running(door) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.press("enter")
        await hand.type("Alice")
        await hand.press("enter")
        await hand.shown(ConnectScreen, "servers")
        await hand.paste(to_text(SERVERS))
        await hand.shown(ServersScreen)
        await hand.wait_until_armed()
        await hand.press("ctrl+g")
        await hand.shown(ConnectScreen, "share")
        await hand.press("enter")
        await hand.shown(InviteScreen)
        await hand.type("Bob")
        await hand.tab()
        await hand.type("OUSD")
        await hand.tab(2)
        await hand.type("150")
        await hand.wait_until_armed()
        await hand.press("ctrl+g")
        await hand.shown(ShareScreen)
        await hand.press("y")
        assert hand.count == 7


async def test_servers_pasted_first_are_reviewed_once_the_card_exists() -> None:
    door = StoreDoor()
    async with running(door) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.paste(to_text(SERVERS))
        await hand.type("Bob")
        await hand.press("enter")
        await hand.shown(ServersScreen)
        assert not door.client.asked


async def test_anything_else_pasted_first_waits_on_home() -> None:
    async with running(StoreDoor()) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.paste(to_text(ALICE))
        await hand.type("Bob")
        await hand.press("enter")
        await hand.shown(ConnectScreen, "servers")
        await hand.press("escape")
        await hand.shown(HomeScreen)
        assert list(app.session.arrived) == ["what you pasted first"]


@BOTH
async def test_welcome(size) -> None:
    async with running(StoreDoor(), size) as (app, pilot):
        await Hand(app, pilot).shown(SetupScreen, "welcome")
        await golden(app, pilot, "setup-welcome")


async def test_what_cannot_be_used_is_said_under_the_box() -> None:
    async with running(StoreDoor()) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.paste("hello, how are you")
        await golden(app, pilot, "setup-welcome-nonsense")
        assert isinstance(app.screen, SetupScreen)


@BOTH
async def test_name(size) -> None:
    async with running(StoreDoor(), size) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.paste(to_text(INVITE))
        await hand.shown(SetupScreen, "name")
        await golden(app, pilot, "setup-name")


async def test_the_form_says_what_is_missing_and_goes_there() -> None:
    async with running(StoreDoor()) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.press("enter", "enter")
        assert app.focused.id == "card-name"
        await hand.type("Bob")
        await hand.tab()
        await hand.type("secret")
        await hand.press("enter")
        assert app.focused.id == "again"
        await golden(app, pilot, "setup-name-problem")


async def test_what_is_typed_stays_when_one_goes_back() -> None:
    async with running(StoreDoor()) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.press("enter")
        await hand.type("Bob")
        await hand.press("escape")
        await hand.shown(SetupScreen, "welcome")
        await hand.press("enter")
        assert app.screen.query_one("#card-name").value == "Bob"


async def test_over_ssh_the_form_asks_and_the_card_stays_online() -> None:
    door = StoreDoor(is_ssh=True)
    async with running(door) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.press("enter")
        await hand.type("Bob")
        await golden(app, pilot, "setup-name-ssh")
        await hand.press("enter")
        await hand.shown(ConnectScreen, "servers")
        assert "leave running Bob" in door.done


async def test_passphrase_and_backup_go_with_the_card(tmp_path: Path) -> None:
    door = StoreDoor()
    async with running(door) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.press("enter")
        await hand.fill("#card-name", "Bob")
        await hand.fill("#passphrase", "right")
        await hand.fill("#again", "right")
        await hand.fill("#backup", str(tmp_path / "bob.backup"))
        await hand.fill("#backup-passphrase", "other")
        await hand.press("ctrl+g")
        await hand.shown(ConnectScreen, "servers")
        assert door.done[:3] == ["create Bob with passphrase", "backup Bob bob.backup", "open Bob"]


async def test_a_failed_backup_does_not_make_the_card_twice(tmp_path: Path) -> None:
    door = StoreDoor(is_backup_failing=True)
    async with running(door) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.press("enter")
        await hand.fill("#card-name", "Bob")
        await hand.fill("#backup", str(tmp_path / "bob.backup"))
        await hand.fill("#backup-passphrase", "other")
        await hand.press("ctrl+g")
        assert isinstance(app.screen, SetupScreen)
        door.is_backup_failing = False
        await hand.press("ctrl+g")
        await hand.shown(ConnectScreen, "servers")
        assert door.done.count("create Bob") == 1


@covers("MOB-25", "CMP-03")
@BOTH
async def test_a_card_that_runs_elsewhere(size) -> None:
    door = StoreDoor()
    async with running(door, size) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.paste(to_json(RCARD))
        await hand.shown(SetupScreen, "remote")
        await golden(app, pilot, "setup-remote")
        assert not door.done
        await hand.type("Office")
        await hand.press("enter")
        await golden(app, pilot, "setup-remote-tested")
        await hand.press("enter")
        await until(pilot, lambda: app.has_session)
        assert door.done == ["add remote Office", "test Office", "open Office"]


async def test_a_card_that_does_not_answer_is_kept() -> None:
    async with running(StoreDoor(is_test_failing=True)) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.paste(to_json(RCARD))
        await hand.type("Office")
        await hand.press("enter")
        await golden(app, pilot, "setup-remote-silent")


@BOTH
async def test_a_backup(size, tmp_path: Path) -> None:
    path = tmp_path / "eve.backup"
    path.write_bytes(b"OFFSEAL and more")
    door = StoreDoor()
    async with running(door, size) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.paste(str(path))
        await hand.shown(SetupScreen, "restore")
        await hand.type("wrong")
        await hand.press("enter")
        assert not app.has_session
        app.screen.query_one("#restore-passphrase").value = "right"
        await hand.press("enter")
        app.screen.query_one("#restore-words").update("Backup /srv/eve/eve.backup\n")
        await settled(app, pilot)
        await golden(app, pilot, "setup-restore")
        await hand.press("enter")
        await until(pilot, lambda: app.has_session)
        assert "restore eve.backup" in door.done


async def test_leaving_without_a_card_asks() -> None:
    async with running(StoreDoor()) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.press("escape")
        await golden(app, pilot, "setup-leave")
        await pilot.pause(0.45)
        await hand.press("escape")
        assert isinstance(app.screen, SetupScreen)


async def test_read_only_makes_nothing() -> None:
    door = StoreDoor()
    async with running(door, options=AppOptions(is_read_only=True)) as (app, pilot):
        hand = Hand(app, pilot)
        await hand.shown(SetupScreen, "welcome")
        await hand.press("enter")
        await hand.shown(SetupScreen, "welcome")
        assert not door.infos


async def _connecting(hand: Hand) -> None:
    await hand.shown(SetupScreen, "welcome")
    await hand.press("enter")
    await hand.type("Alice")
    await hand.press("enter")
    await hand.shown(ConnectScreen, "servers")


@BOTH
async def test_the_pages_about_servers(size) -> None:
    door = StoreDoor()
    async with running(door, size) as (app, pilot):
        hand = Hand(app, pilot)
        await _connecting(hand)
        await golden(app, pilot, "connect-servers")
        await hand.tab()
        await hand.press("down", "enter")
        await hand.shown(ConnectScreen, "ways")
        await golden(app, pilot, "connect-ways")
        await hand.press("enter")
        await hand.shown(ConnectScreen, "run")
        await golden(app, pilot, "connect-run")
        await hand.type("nowhere")
        await hand.press("enter")
        assert app.screen.page == "run"
        app.screen.query_one("#address").value = "192.168.1.20:3000"
        await hand.press("enter")
        await hand.shown(ConnectScreen, "share")
        await golden(app, pilot, "connect-share")
        assert app.session.settings.serve_address == "192.168.1.20:3000"


@BOTH
async def test_without_servers_home_is_next(size) -> None:
    async with running(StoreDoor(), size) as (app, pilot):
        hand = Hand(app, pilot)
        await _connecting(hand)
        await hand.tab()
        await hand.press("up", "enter")
        await hand.shown(ConnectScreen, "share")
        await golden(app, pilot, "connect-later")
        await hand.press("enter")
        await hand.shown(HomeScreen)
        await golden(app, pilot, "home-fresh")


async def test_escape_goes_back_page_by_page() -> None:
    async with running(StoreDoor()) as (app, pilot):
        hand = Hand(app, pilot)
        await _connecting(hand)
        await hand.tab()
        await hand.press("down", "enter", "enter")
        await hand.type("10.0.0.1:3000")
        await hand.press("escape")
        await hand.shown(ConnectScreen, "ways")
        await hand.press("escape")
        await hand.shown(ConnectScreen, "servers")
        assert app.screen.query_one("#address").value == "10.0.0.1:3000"
        await hand.press("escape")
        await hand.shown(HomeScreen)


async def test_over_ssh_an_existing_card_asks_once() -> None:
    door = with_cards()
    door.is_ssh = True
    async with running(door) as (app, pilot):
        await until(pilot, lambda: not isinstance(app.screen, HomeScreen))
        await settled(app, pilot)
        await golden(app, pilot, "stay-online")
        await until(pilot, lambda: getattr(app.screen, "is_armed", False))
        await pilot.press("enter")
        await until(pilot, lambda: "leave running Eve" in door.done)
        await settled(app, pilot)
        assert isinstance(app.screen, HomeScreen)
        assert app.session.settings.stays_online is True


async def test_several_cards_are_offered_at_the_start() -> None:
    door = with_cards(Work=CardInfo("Work", key("Work"), CardKind.LOCAL, CardPlace.BACKGROUND))
    async with running(door) as (app, pilot):
        await until(pilot, lambda: not isinstance(app.screen, HomeScreen))
        await settled(app, pilot)
        await golden(app, pilot, "choose-card")
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.has_session)
        assert app.session.name == "Work"
