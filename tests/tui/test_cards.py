"""Cards: the list, opening and closing, backup, passphrase, apps, removal."""

from pathlib import Path

import pytest

from offset_engine.client import AppPermissions
from offset_tui.dialogs.secret_share import SecretShareScreen
from offset_tui.doors import AppKey, CardInfo, CardKind, CardPlace
from offset_tui.screens.apps import AppsScreen
from offset_tui.screens.setup import SetupScreen
from offset_tui.screens.unlock import LockScreen
from tests.covers import covers
from tests.tui.card_scenes import StoreDoor, with_cards
from tests.tui.scenes import key
from tests.tui.screens import SMALL, WIDE, check_golden, running, settled, until

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("size", [SMALL, WIDE])


def local(name: str, place: CardPlace = CardPlace.OFF, **changes) -> CardInfo:
    return CardInfo(name, key(name), CardKind.LOCAL, place, **changes)


def all_kinds() -> StoreDoor:
    """One of each; Eve's is open."""
    door = with_cards()
    door.infos |= {
        "Club": local("Club", CardPlace.BACKGROUND, is_locked=True),
        "Old": local("Old", is_enabled=False),
        "Office": CardInfo(
            "Office",
            key("Office"),
            CardKind.REMOTE,
            CardPlace.OFF,
            address="office.example.org:3001",
        ),
        "Torn": CardInfo(
            "Torn",
            None,
            CardKind.LOCAL,
            CardPlace.OFF,
            problem="node.db is damaged: restore a backup",
        ),
    }
    return door


async def at_cards(app, pilot, name: str = "Eve") -> None:
    if not app.has_session:
        await app.open_card("Eve")
        while len(app.screen_stack) > 1:
            app.pop_screen()
    app.action_section("cards")
    await until(pilot, lambda: bool(getattr(app.screen, "_cards", ())))
    app.screen.query_one("#cards").select(name)
    await settled(app, pilot)


@covers("MOB-23", "CMP-10")
@BOTH
async def test_all_kinds(size) -> None:
    async with running(all_kinds(), size) as (app, pilot):
        await at_cards(app, pilot)
        check_golden(app, "cards")
        app.screen.query_one("#cards").select("Torn")
        await settled(app, pilot)
        check_golden(app, "cards-broken")


@BOTH
async def test_what_is_not_as_it_should_be_is_shown_while_the_card_can_be_used(size) -> None:
    door = all_kinds()
    door.infos["Club"] = local(
        "Club",
        is_locked=True,
        warning="its database is not sealed, because the program that ran it was ended or hindered;"
        " running and stopping it once more seals it",
    )
    async with running(door, size) as (app, pilot):
        await at_cards(app, pilot, "Club")
        check_golden(app, "cards-warning")


async def test_enter_opens_and_asks_for_the_passphrase() -> None:
    async with running(all_kinds()) as (app, pilot):
        await at_cards(app, pilot, "Club")
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press(*"right", "enter")
        await until(pilot, lambda: app.session.name == "Club")
        assert app.current_mode == "home"


@covers("MOB-26", "CMP-05")
async def test_a_card_is_enabled_and_disabled() -> None:
    door = all_kinds()
    async with running(door) as (app, pilot):
        await at_cards(app, pilot, "Old")
        await pilot.press("space")
        await until(pilot, lambda: door.infos["Old"].is_enabled)
        await pilot.press("space")
        await until(pilot, lambda: not door.infos["Old"].is_enabled)


@covers("MOB-01", "MOB-26")
async def test_the_open_card_is_closed_before_it_is_disabled() -> None:
    door = all_kinds()
    async with running(door) as (app, pilot):
        await at_cards(app, pilot)
        await pilot.press("space")
        await settled(app, pilot)
        check_golden(app, "cards-disable")
        await pilot.pause(0.9)
        await pilot.press("d")
        await until(pilot, lambda: not door.infos["Eve"].is_enabled)
        await settled(app, pilot)
        assert not app.has_session
        check_golden(app, "cards-none-open")
        await pilot.press("2", "3", "ctrl+o", "ctrl+g")
        await settled(app, pilot)
        assert (app.current_mode, len(app.screen_stack)) == ("cards", 1)


async def test_the_open_card_is_renamed_and_opened_again() -> None:
    door = with_cards()
    async with running(door) as (app, pilot):
        await at_cards(app, pilot)
        await pilot.press("e")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one("#line").value = "Evelyn"
        await pilot.press("enter")
        await until(pilot, lambda: app.session.name == "Evelyn")
        assert door.done[-3:] == ["close Eve", "rename Eve Evelyn", "open Evelyn"]


@BOTH
async def test_a_backup_needs_a_new_path_and_a_passphrase(size, tmp_path: Path) -> None:
    door = with_cards()
    async with running(door, size) as (app, pilot):
        await at_cards(app, pilot)
        await pilot.press("b")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await settled(app, pilot)
        check_golden(app, "cards-backup")
        screen = app.screen
        await pilot.press("enter", "enter")
        assert app.screen is screen
        screen.query_one("#path").value = str(tmp_path / "eve.backup")
        screen.query_one("#passphrase").value = "one"
        screen.query_one("#again").value = "two"
        screen.answered("save")
        await settled(app, pilot)
        assert app.screen is screen
        screen.query_one("#again").value = "one"
        screen.answered("save")
        await until(pilot, lambda: "backup Eve eve.backup" in door.done)
        await until(pilot, lambda: app.session.settings.backed_up_ms is not None)


@covers("MOB-27", "CMP-04")
async def test_removing_needs_the_name_typed() -> None:
    door = all_kinds()
    async with running(door) as (app, pilot):
        await at_cards(app, pilot, "Eve")
        await pilot.press("x")
        await settled(app, pilot)
        assert len(app.screen_stack) == 1  # it is open
        app.screen.query_one("#cards").select("Old")
        await pilot.press("x")
        await settled(app, pilot)
        check_golden(app, "cards-remove")
        await pilot.pause(0.45)
        await pilot.press(*"Eve", "enter")
        assert "Old" in door.infos
        app.screen.query_one("#word").value = "Old"
        await pilot.press("enter")
        await until(pilot, lambda: "Old" not in door.infos)


async def test_a_passphrase_is_set_changed_and_taken_away() -> None:
    door = with_cards()
    async with running(door) as (app, pilot):
        await at_cards(app, pilot)
        await pilot.press("p")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await settled(app, pilot)
        check_golden(app, "cards-passphrase")
        app.screen.query_one("#new").value = "right"
        app.screen.query_one("#again").value = "right"
        app.screen.answered("save")
        await until(pilot, lambda: door.infos["Eve"].is_locked)
        await pilot.pause()
        await pilot.press("p")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("down", "enter")
        await until(pilot, lambda: bool(app.screen.query("#old")))
        app.screen.query_one("#old").value = "right"
        app.screen.answered("save")
        await until(pilot, lambda: not door.infos["Eve"].is_locked)


async def test_a_remote_card_is_tested() -> None:
    async with running(all_kinds()) as (app, pilot):
        await at_cards(app, pilot, "Office")
        await pilot.press("t")
        await settled(app, pilot)
        check_golden(app, "cards-test")


@covers("MOB-24")
async def test_n_makes_one_more_and_escape_comes_back() -> None:
    async with running(with_cards()) as (app, pilot):
        await at_cards(app, pilot)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.press("escape")
        await until(pilot, lambda: app.current_mode == "cards" and len(app.screen_stack) == 1)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await pilot.press("enter", *"Work", "enter")
        await until(pilot, lambda: app.session.name == "Work")


@covers("RMP-20")
@BOTH
async def test_apps_and_their_permissions(size) -> None:
    door = with_cards()
    door.app_keys = (
        AppKey("phone", key("phone"), AppPermissions(read=True, buyer=True, seller=True)),
        AppKey("shop \x1b[2J", key("shop"), AppPermissions(seller=True)),
        AppKey("torn", None, None, "torn.app cannot be read: it is cut off"),
    )
    async with running(door, size) as (app, pilot):
        await at_cards(app, pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AppsScreen))
        await settled(app, pilot)
        check_golden(app, "apps")
        await pilot.press("x")
        await pilot.pause(0.9)
        await pilot.press("x")
        await until(pilot, lambda: len(door.app_keys) == 2)


@BOTH
async def test_a_new_key_is_secret(size, tmp_path: Path) -> None:
    door = with_cards()
    async with running(door, size) as (app, pilot):
        await at_cards(app, pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, AppsScreen))
        await settled(app, pilot)
        check_golden(app, "apps-none")
        await pilot.press("n")
        await until(pilot, lambda: len(app.screen_stack) == 3)
        app.screen.query_one("#line").value = "192.168.1.20:3001"
        await pilot.press("enter")
        await until(pilot, lambda: bool(app.screen.query("#name")))
        await settled(app, pilot)
        check_golden(app, "apps-new")
        app.screen.query_one("#name").value = "phone"
        app.screen.answered("save")
        await until(pilot, lambda: isinstance(app.screen, SecretShareScreen))
        await settled(app, pilot)
        check_golden(app, "apps-secret")
        assert door.chosen.app_address == "192.168.1.20:3001"
        await pilot.press("q")
        assert isinstance(app.screen, SecretShareScreen)  # it is kept nowhere else
        app.screen._write(str(tmp_path / "phone.rcard"))
        assert (tmp_path / "phone.rcard").stat().st_mode & 0o777 == 0o600
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, AppsScreen))


@covers("RMP-36")
async def test_the_lock_needs_a_passphrase_to_unlock_with() -> None:
    door = with_cards()
    async with running(door) as (app, pilot):
        await pilot.press("ctrl+l")
        await settled(app, pilot)
        assert not app.is_locked
        door.infos["Eve"] = local("Eve", CardPlace.HERE, is_locked=True)
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.is_locked)
        await pilot.press("ctrl+p", "ctrl+o")
        await pilot.pause()
        assert isinstance(app.screen, LockScreen)
        await pilot.press(*"right", "enter")
        await until(pilot, lambda: not app.is_locked)


async def test_the_screen_locks_by_itself() -> None:
    door = with_cards()
    now = [100.0]
    async with running(door) as (app, pilot):
        door.infos["Eve"] = local("Eve", is_locked=True)
        app._house._clock = lambda: now[0]
        app._house._last_key = now[0]
        await app.session.save_settings(type(door.chosen)(auto_lock_minutes=5))
        now[0] += 299
        app._keep_house()
        await settled(app, pilot)
        assert not app.is_locked
        now[0] += 2
        app._keep_house()
        await until(pilot, lambda: app.is_locked)
