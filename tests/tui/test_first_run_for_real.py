"""The first run over a real card store and real nodes: a card, servers of its own, a backup, and a restored card."""

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from textual.pilot import Pilot

from offset_engine.cards import CardStore, Cost
from offset_tui.app import OffsetApp
from offset_tui.card_door import ProcessDoor
from offset_tui.screens.connect import ConnectScreen
from offset_tui.screens.setup import SetupScreen
from tests.tui.screens import SMALL, picture

pytestmark = pytest.mark.anyio


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def until(pilot: Pilot[None], fact, what: str) -> None:
    with anyio.move_on_after(20):
        while not fact():
            await pilot.pause(0.05)
        return
    raise AssertionError(f"{what}\n{picture(pilot.app)}")


@contextlib.asynccontextmanager
async def app_over(store: Path) -> AsyncIterator[tuple[OffsetApp, Pilot[None]]]:
    door = ProcessDoor(CardStore(store, cost=Cost(1, 8)), store.parent)
    try:
        app = OffsetApp(door)
        async with app.run_test(size=SMALL, notifications=True) as pilot:
            yield app, pilot
    finally:
        assert door.close_all()


async def page(app: OffsetApp, pilot: Pilot[None], screen: type, name: str) -> None:
    await until(
        pilot, lambda: isinstance(app.screen, screen) and app.screen.page == name, f"page {name}"
    )
    await pilot.pause()


async def make_with_servers(app: OffsetApp, pilot: Pilot[None], address: str) -> None:
    await page(app, pilot, SetupScreen, "welcome")
    await pilot.press("enter", *"Alice", "enter")
    await page(app, pilot, ConnectScreen, "servers")
    await pilot.press("tab", "enter")
    await page(app, pilot, ConnectScreen, "run")
    app.screen.query_one("#address").value = address
    await pilot.press("enter")
    await page(app, pilot, ConnectScreen, "share")


async def back_up(app: OffsetApp, pilot: Pilot[None], path: Path) -> None:
    app.action_section("cards")
    await until(pilot, lambda: bool(getattr(app.screen, "_cards", ())), "no cards")
    await pilot.pause()
    await pilot.press("b")
    await until(pilot, lambda: bool(app.screen.query("#path")), "no form")
    app.screen.query_one("#path").value = str(path)
    app.screen.query_one("#passphrase").value = "long enough"
    app.screen.query_one("#again").value = "long enough"
    app.screen.answered("save")
    await until(pilot, lambda: app.session.settings.backed_up_ms is not None, "no backup")


async def choose_light(app: OffsetApp, pilot: Pilot[None]) -> None:
    app.action_section("settings")
    await pilot.pause()
    app.screen.query_one("#settings").select("theme")
    await pilot.press("enter")
    await until(pilot, lambda: len(app.screen_stack) == 2, "no themes")
    await pilot.press("down", "enter")
    await until(pilot, lambda: app.theme == "offset-light", "no theme")


async def test_a_card_with_servers_of_its_own_a_backup_and_a_restored_twin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSH_CONNECTION", "SSH_TTY", "TEXTUAL_THEME"):
        monkeypatch.delenv(name, raising=False)
    copy, address = tmp_path / "alice.backup", f"127.0.0.1:{free_port()}"
    async with app_over(tmp_path / "one") as (app, pilot):
        await make_with_servers(app, pilot, address)
        await until(pilot, lambda: app.session.snapshot.report.listening_relays, "no relay")
        await until(pilot, lambda: app.session.snapshot.report.connected_index, "no index server")
        assert app.session.settings.serve_address == address
        assert app.session.card.servers_text.startswith("offset1:servers:")
        await back_up(app, pilot, copy)
        await choose_light(app, pilot)
        key = app.session.public_key
    async with app_over(tmp_path / "one") as (app, pilot):
        await until(pilot, lambda: app.has_session, "not opened again")
        assert (app.session.name, app.theme) == ("Alice", "offset-light")
    async with app_over(tmp_path / "two") as (app, pilot):
        await page(app, pilot, SetupScreen, "welcome")
        app.screen.query_one("#given").insert(str(copy))
        await pilot.press("enter")
        await page(app, pilot, SetupScreen, "restore")
        app.screen.query_one("#restore-passphrase").value = "long enough"
        await pilot.press("enter")
        await until(pilot, lambda: bool(app.screen.query_one("#restore-name").value), "not read")
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: app.has_session, "not restored")
        assert (app.session.name, app.session.public_key) == ("Alice", key)
