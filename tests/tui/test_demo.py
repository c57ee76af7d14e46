"""The practice village in the app: usable at once, a tour beside it, neighbours that trade."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from offset_engine.client import PayStage, PublicKey, RelayAddress
from offset_engine.files import Servers, to_text
from offset_tui import known_servers
from offset_tui.demo.app import DemoApp
from offset_tui.demo.chat import ChatScreen
from offset_tui.demo.door import VillageDoor
from offset_tui.demo.tour import STEPS, Facts, Tour
from offset_tui.doors import AppOptions, ChatLine, VillageChat
from tests.tui import scenes
from tests.tui.screens import SMALL, picture, settled, until

pytestmark = pytest.mark.anyio


class SilentChat(VillageChat):
    """Notes what the tour asks of the village."""

    you = "Eve"

    def __init__(self) -> None:
        self.asked: list[str] = []

    @property
    def names(self) -> tuple[str, ...]:
        return ("Bob",)

    @property
    def lines(self) -> tuple[ChatLine, ...]:
        return ()

    def name_of(self, key: PublicKey) -> str | None:
        return None

    def send(self, name: str, text: str) -> None:
        self.asked.append(f"send {name}")

    def offer(self, name: str) -> None:
        self.asked.append(f"offer {name}")

    def stop_relay(self) -> None:
        self.asked.append("stop relay")


def test_every_stop_fits_the_panel() -> None:
    assert all(len(step.words) <= 3 * 76 for step in STEPS)
    assert all("  " not in step.words for step in STEPS)


def test_the_tour_goes_on_only_when_a_stop_is_done() -> None:
    tour, chat = Tour(), SilentChat()
    nothing = Facts((), (), lambda _: None)
    assert tour.look(nothing, chat)
    assert not tour.look(nothing, chat)
    assert (tour.number, chat.asked) == (0, ["offer Bob"])
    sold = Facts(
        (), (ChatLine(1, "Farid", "Eve", "I have the receipt. Thank you!"),), lambda _: None
    )
    assert not tour.look(sold, chat)


@asynccontextmanager
async def village() -> AsyncIterator[tuple[DemoApp, Pilot[None]]]:
    """The demo, awake."""
    door = VillageDoor(seed=7)
    app = DemoApp(door, AppOptions())
    try:
        async with app.run_test(size=SMALL, notifications=True) as pilot:
            await until(pilot, lambda: app.has_session and app.tour.number == 0, 20)
            chat = door.chat
            assert chat is not None
            await until(pilot, lambda: bool(chat.lines), 10)
            yield app, pilot
    finally:
        assert door.close_all()


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Keys, each after the screen has settled and a fresh dialog takes keys."""
    for key in keys:
        await pilot.press(key)
        await settled(pilot.app, pilot)  # type: ignore[arg-type]


async def test_the_first_stop_by_keys_alone() -> None:
    async with village() as (app, pilot):
        await settled(app, pilot)
        assert "Tour 1/5" in picture(app)
        await press(pilot, "m")
        assert isinstance(app.screen, ChatScreen)
        await press(pilot, "enter")
        await until(pilot, lambda: "PayReviewScreen" in type(app.screen).__name__)
        await until(pilot, lambda: app.screen.arming.is_armed)  # type: ignore[attr-defined]
        await press(pilot, "P")
        await until(pilot, lambda: "m give to a neighbour" in picture(app), 10)
        await press(pilot, "m")
        await until(
            pilot, lambda: any(one.stage is PayStage.PAID for one in app.session.snapshot.pays), 10
        )
        await until(pilot, lambda: app.tour.number == 1, 10)


async def test_escape_hides_the_tour_and_t_shows_it() -> None:
    async with village() as (app, pilot):
        await press(pilot, "escape")
        assert "Tour" not in picture(app)
        await press(pilot, "t")
        assert "Tour 1/5" in picture(app)
        await press(pilot, "5")
        assert app.current_mode == "friends"
        assert "Tour 1/5" in picture(app)


async def test_servers_listed_on_this_computer_are_no_part_of_the_village(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = RelayAddress(scenes.key("club"), "club.example.org:3000")
    file = tmp_path / known_servers.FILE_NAME
    file.write_text(to_text(Servers(place, place)))
    monkeypatch.setattr(known_servers, "path", lambda: file)
    assert known_servers.load()
    assert await VillageDoor().known_servers() == ()
