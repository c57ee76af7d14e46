"""The palette knows what the keyboard knows, says it in the same words, and offers nothing that leaks."""

import pytest
from textual.command import CommandPalette

from tests.tui.screens import SMALL, check_golden, picture, running, settled, until

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
