"""What arrives at a bad moment: under the lock, before a screen is there, after the card is gone; and odd paths.

Source: tui.md §2.6, §4, §9; apps.md RMP-36.
"""

import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from offset_engine.client import PayStage
from offset_engine.disk import expanded, read_file
from offset_engine.errors import FileError, OffsetError
from offset_engine.text import EntryError
from offset_tui import setting_words
from offset_tui.dialogs.importing import read_text_or_path
from offset_tui.doors import AppOptions, CardInfo, OpenCard
from offset_tui.screens.payment import PaymentScreen
from offset_tui.screens.unlock import LockScreen
from tests.tui import money_scenes as money
from tests.tui.scenes import FakeDoor
from tests.tui.screens import picture, running, settled, until

pytestmark = pytest.mark.anyio


class ProtectedDoor(FakeDoor):
    """Every card has a passphrase; the card Work takes its time."""

    work_may_open = anyio.Event()

    async def cards(self) -> tuple[CardInfo, ...]:
        return tuple(replace(one, is_locked=True) for one in await FakeDoor.cards(self))

    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        if name == "Work":
            await self.work_may_open.wait()
        return await FakeDoor.open(self, name)


async def test_a_card_that_opens_late_and_what_it_shows_stay_under_the_lock() -> None:
    door = ProtectedDoor(names=["Eve", "Work"])
    door.work_may_open = anyio.Event()
    async with running(door) as (app, pilot):
        await pilot.press("5")
        app.run_worker(app.open_card("Work"))
        app.notify("2.00 OUSD")
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.is_locked)
        door.work_may_open.set()
        await until(pilot, lambda: app.session.name == "Work")
        app.push_screen(PaymentScreen(money.payment_id()))
        await settled(app, pilot)
        assert isinstance(app.screen, LockScreen)
        assert "Offset is locked" in picture(app)
        assert "2.00 OUSD" not in picture(app)
        app.pop_screen()
        app.pop_screen()
        await settled(app, pilot)
        assert isinstance(app.screen, LockScreen)
        await pilot.press(*"right", "enter")
        await until(pilot, lambda: not app.is_locked)
        await settled(app, pilot)
        assert not isinstance(app.screen, LockScreen)
        assert app.current_mode == "home"


async def test_a_locked_app_can_be_left_and_gives_no_passphrase_away() -> None:
    async with running(ProtectedDoor()) as (app, pilot):
        await pilot.press("ctrl+l")
        await until(pilot, lambda: app.is_locked)
        await pilot.press(*"secret", "shift+home", "ctrl+c", "ctrl+x")
        assert app.clipboard == ""
        await pilot.press("ctrl+q")
        await until(pilot, lambda: app._exit)  # what `exit` sets


async def test_what_is_said_before_a_screen_is_there_is_said_once_it_is() -> None:
    async with running() as (app, pilot):
        app.push_screen(PaymentScreen(money.payment_id()))
        app.tell("collected by itself")
        await until(pilot, lambda: "collected by itself" in picture(app))


async def test_a_closed_card_leaves_nothing_to_press_enter_on() -> None:
    async with running() as (app, pilot):
        await pilot.press("8")
        await settled(app, pilot)
        await app.close_card()
        await pilot.press("1")
        await settled(app, pilot)
        assert "OUSD" not in picture(app)
        await pilot.press("enter", "6", "8", "enter")
        await settled(app, pilot)


async def test_screens_of_the_card_before_go_when_another_is_opened() -> None:
    async with running(FakeDoor(names=["Eve", "Work"])) as (app, pilot):
        await pilot.press("4")
        await app.push_screen(PaymentScreen(money.payment_id()))
        await pilot.press("1")
        assert await app.open_card("Work")
        await pilot.press("4")
        await settled(app, pilot)
        assert len(app.screen_stack) == 1


async def test_read_only_keeps_notes_settings_and_the_card() -> None:
    pay = money.pay(PayStage.SENDING, parts=1)
    door = money.door(pay)
    async with running(door, options=AppOptions(is_read_only=True)) as (app, pilot):
        with pytest.raises(OffsetError, match="--read-only"):
            await app.session.save_notebook(app.session.notebook.with_note("x", "hi"))
        with pytest.raises(OffsetError, match="--read-only"):
            await app.session.save_settings(app.session.settings)
        await pilot.press("K")
        await settled(app, pilot)
        assert "--read-only" in picture(app)


async def test_an_inbox_that_cannot_be_is_said_and_no_such_one_can_be_set() -> None:
    door = FakeDoor()
    door.chosen = replace(door.chosen, inbox="~nosuchuser/in")
    async with running(door) as (app, pilot):
        app._keep_house()  # what the clock does
        await until(pilot, lambda: "nosuchuser" in picture(app))
    with pytest.raises(EntryError):
        setting_words.read("inbox", "~nosuchuser/in")


@pytest.mark.parametrize("typed", ["~nosuchuser/x", "/srv/" + "x" * 300, "/a\0b"])
async def test_a_path_nobody_can_mean_is_refused_with_a_sentence(typed: str) -> None:
    with pytest.raises(FileError):
        expanded(typed)
    with pytest.raises(FileError):
        read_text_or_path(typed)


async def test_a_pipe_in_place_of_a_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "settings.json"
    os.mkfifo(pipe)
    with pytest.raises(FileError, match="not an ordinary file"):
        read_file(pipe)
