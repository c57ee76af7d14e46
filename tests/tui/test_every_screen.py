"""What holds for every screen and every dialog, whatever friends, sellers and servers call themselves.

Source: tui.md §0, §5, §15.
"""

import contextlib
import re
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.binding import Binding
from textual.dom import DOMNode
from textual.pilot import Pilot

from offset_tui import user_keys
from offset_tui.app import OffsetApp
from offset_tui.commands import Commands
from offset_tui.dialogs import base
from offset_tui.keymap import known
from offset_tui.qr.widget import QrWidget
from offset_tui.screens import form
from offset_tui.screens.base import CardScreen
from offset_tui.widgets import arming
from offset_tui.widgets.bars import Flash, KeyLine
from tests.tui import hostile_scenes as hostile
from tests.tui.screens import SMALL, picture, running, settled
from tests.tui.terminal import Terminal

pytestmark = pytest.mark.anyio
TINY = (60, 20)
SIZES = pytest.mark.parametrize("size", [SMALL, pytest.param(TINY, marks=pytest.mark.slow)])
NAMES = pytest.mark.parametrize("name", hostile.ALL)


@pytest.fixture(autouse=True)
def armed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds a key down here."""
    for module in (base, arming, form):
        monkeypatch.setattr(module, "ARMED_AFTER_S", 0.0)


@asynccontextmanager
async def shown(name: str, size: tuple[int, int]) -> AsyncIterator[tuple[OffsetApp, Pilot[None]]]:
    door = hostile.first(hostile.door())
    async with running(door, size) as (app, pilot):
        await hostile.open_scene(app, name)
        await settled(app, pilot)
        yield app, pilot


def test_every_screen_has_a_scene() -> None:
    made = {type(make()) for make in (*hostile.SCREENS.values(), *hostile.DIALOGS.values())}
    sections = {
        one
        for one in user_keys.screen_classes()
        if one.__module__.split(".")[-1] in hostile.SECTIONS
    }
    concrete = {
        one
        for one in user_keys.screen_classes()
        if not any(
            other is not one and issubclass(other, one) for other in user_keys.screen_classes()
        )
    }
    assert concrete <= made | sections


def test_every_binding_has_an_id_two_words_and_a_sentence() -> None:
    classes: list[type] = [DOMNode]
    for one in classes:
        classes += [below for below in one.__subclasses__() if below not in classes]
    for one in classes:
        for binding in (
            one.__dict__.get("BINDINGS", ()) if one.__module__.startswith("offset_tui.") else ()
        ):
            assert isinstance(binding, Binding), one
            assert known()[binding.id or ""].action == binding.action, one
            assert 1 <= len(binding.description.split()) <= 2
            assert len(binding.description) <= 14
            assert binding.tooltip[0].isupper()
            assert binding.tooltip.endswith(".")


@SIZES
@NAMES
async def test_it_is_whole_and_within_reach_of_the_keyboard(
    name: str, size: tuple[int, int]
) -> None:
    async with shown(name, size) as (app, pilot):
        _is_whole(app)
        _is_all_in_the_palette(app)
        await _tab_goes_through_everything_and_returns(app, pilot)


def _is_whole(app: OffsetApp) -> None:
    drawn = picture(app)
    assert len(drawn.strip()) > 20
    assert all(one == "\n" or one.isprintable() for one in drawn)
    assert not _foreign_actions(app)
    if isinstance(app.screen, CardScreen):
        assert app.screen.query_one(KeyLine).region.bottom == app.size.height
        assert "Help" in drawn.splitlines()[-1]
    # Only a button that does something need not have the focus at first.
    assert app.focused is not None or {one.id for one in app.screen.focus_chain} <= {"submit"}


def _foreign_actions(app: OffsetApp) -> list[object]:
    """What a click on anything drawn would do, beside our own keys."""
    found = []
    for strip in app.screen._compositor.render_strips(app.size):
        for segment in strip:
            click = (segment.style.meta if segment.style else {}).get("@click")
            if click is not None and not str(click).startswith("app.simulate_key("):
                found.append(("@click", click))
    return found


def _is_all_in_the_palette(app: OffsetApp) -> None:
    offered = {title.rsplit("  (", 1)[0] for title, _, _ in Commands(app.screen)._of_screen()}
    for active in app.screen.active_bindings.values():
        if active.enabled and active.binding.id in known():
            assert active.binding.tooltip.rstrip(".") in offered


async def _tab_goes_through_everything_and_returns(app: OffsetApp, pilot: Pilot[None]) -> None:
    chain = list(app.screen.focus_chain)
    if len(chain) < 2:
        return
    app.screen.set_focus(chain[0])
    seen = []
    for _ in chain:
        await pilot.pause()
        seen.append(app.focused)
        await pilot.press("tab")
    assert set(seen) >= set(chain)
    assert app.focused is chain[0]
    await pilot.press("shift+tab")
    assert app.focused is chain[-1]


@pytest.mark.slow
@pytest.mark.parametrize("size", [SMALL, TINY])
@NAMES
async def test_every_key_in_the_footer_acts_or_says_why_not(
    name: str, size: tuple[int, int]
) -> None:
    async with shown(name, size) as (app, pilot):
        screen = app.screen
        shown_ids = [
            (one.binding.id, one.binding.key)
            for one in screen.active_bindings.values()
            if one.binding.show and one.enabled and one.binding.id in known()
        ]
        for at, (key_id, key) in enumerate(shown_ids):
            if at:
                await _open_again(app, pilot, name)
            if not any(one.binding.id == key_id for one in app.screen.active_bindings.values()):
                continue
            before = _state(app)
            await pilot.press(key)
            await settled(app, pilot)
            assert _state(app) != before, f"{key_id} ({key}) did nothing on {name}"
            assert app._exception is None


async def _open_again(app: OffsetApp, pilot: Pilot[None], name: str) -> None:
    app.door = hostile.first(hostile.door())
    while len(app.screen_stack) > 1:
        app.pop_screen()
    if not app.has_session:
        await app.open_card("Eve")
    app.action_section("home")
    await pilot.pause()
    await hostile.open_scene(app, name)
    await settled(app, pilot)


def _state(app: OffsetApp) -> object:
    door = app.door
    flashes = [one.has_class("-error") for one in app.screen.query(Flash) if one.display]
    return (
        picture(app),
        [id(one) for one in app.screen_stack],
        app.focused,
        tuple(door.done),
        len(door.client.asked),
        flashes,
        [(one.part, one.is_paused) for one in app.screen.query(QrWidget)],
        app.clipboard,
        app.return_code,
    )


OURS = re.compile(
    rb"\x1b(?:\[[0-9;]*[mH]|\[\?[0-9;]*(?:[hl]|\$p)|\[[<>][0-9]*u|\]22;(?:default|pointer|text)\x07)"
)
"""All that Textual says to a terminal: colours, places, modes, keyboard, the shape of the mouse pointer."""


@pytest.mark.slow
def test_nothing_foreign_reaches_the_terminal() -> None:
    with Terminal(["-m", "tests.tui.hostile_app"]) as terminal:
        for _ in range(10):
            if f"of {len(hostile.ALL)}".encode() in terminal.output:
                break
            with contextlib.suppress(AssertionError):
                terminal.until_painted("SEEN ")
        assert terminal.ended() == 0
    painted = terminal.output
    assert f"SEEN {len(hostile.ALL)} of {len(hostile.ALL)}".encode() in painted
    assert b"\x1b]52" not in painted
    rest = OURS.sub(b"", painted).decode()
    found = {
        f"U+{ord(one):04X}" for one in rest if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp")
    }
    assert found <= {"U+000A", "U+000D"}
