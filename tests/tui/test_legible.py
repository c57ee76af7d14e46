"""Legible without colours and with plain characters: contrast, what has the focus, no sign a terminal may lack.

Source: tui.md §12, §14.
"""

import pytest
from rich.cells import cell_len
from rich.color import Color
from rich.style import Style
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widget import Widget

from offset_tui import themes
from offset_tui.app import OffsetApp
from offset_tui.doors import AppOptions
from offset_tui.widgets.scroll_bar import thumb
from tests.tui import hostile_scenes as hostile
from tests.tui import money_scenes as money
from tests.tui.scenes import FakeDoor
from tests.tui.screens import SMALL, WIDE, picture, running, settled
from tests.tui.test_many_friends import crowd

pytestmark = pytest.mark.anyio
TEXT_LEAST = 4.5
"""Contrast of text: WCAG 2.1, 1.4.3."""
MARK_LEAST = 1.5
TINY = (60, 20)
THEMES = pytest.mark.parametrize("theme", [one.name for one in themes.ALL])
COLOURS = pytest.mark.parametrize("has_colours", [True, False])
Cell = tuple[str, Style]


def _lightness(color: Color) -> float:
    def linear(part: float) -> float:
        return part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(one / 255) for one in color.get_truecolor())
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    """Of two colours, 1 to 21."""
    low, high = sorted((_lightness(one), _lightness(other)))
    return (high + 0.05) / (low + 0.05)


def cells(app: OffsetApp, of: Widget) -> list[Cell]:
    """What a widget shows, cell by cell."""
    found: list[Cell] = []
    region = of.region
    for line in app.screen._compositor.render_strips(app.size)[region.y : region.bottom]:
        row = [
            (char if at == 0 else "", one.style or Style())
            for one in line
            for char in one.text
            for at in range(cell_len(char))
        ]
        found += row[region.x : region.right]
    return found


def _colors(style: Style) -> tuple[Color, Color]:
    front = style.color or Color.parse("white")
    back = style.bgcolor or Color.parse("black")
    return (back, front) if style.reverse else (front, back)


def faint(app: OffsetApp) -> str:
    """The letters and digits that are hard to read; behind a dialog nothing is meant to be."""
    dialog = app.screen.query("#dialog")
    shown = cells(app, dialog.first() if dialog else app.screen)
    return "".join(
        char for char, style in shown if char.isalnum() and contrast(*_colors(style)) < TEXT_LEAST
    )


def _is_marked(before: Cell, after: Cell) -> bool:
    """Whether something changed that is seen without colours."""
    (old_char, old), (new_char, new) = before, after
    attributes = [(one.reverse, one.bold, one.underline) for one in (old, new)]
    return (
        old_char != new_char
        or attributes[0] != attributes[1]
        or any(
            contrast(mine, theirs) > MARK_LEAST
            for mine, theirs in zip(_colors(old), _colors(new), strict=True)
        )
    )


@pytest.fixture(autouse=True)
def colours(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Textual looks at this when it starts."""
    call = getattr(request.node, "callspec", None)
    if call is not None and call.params.get("has_colours") is False:
        monkeypatch.setenv("NO_COLOR", "1")
    else:
        monkeypatch.delenv("NO_COLOR", raising=False)


@THEMES
@COLOURS
async def test_owed_and_owing_are_read_in_every_theme(theme: str, has_colours: bool) -> None:
    async with running(FakeDoor(), WIDE) as (app, pilot):
        app.theme = theme
        for section in "15647":
            await pilot.press(section)
            await settled(app, pilot)
            assert faint(app) == ""
            await pilot.press("down")
            await settled(app, pilot)
            assert faint(app) == ""


@pytest.mark.parametrize("has_colours", [False])
@pytest.mark.parametrize(
    ("name", "theme"),
    [
        *((name, themes.DARK.name) for name in hostile.ALL),
        *(
            (name, theme.name)
            for name in ("receive", "settings", "accept invite", "setup", "fields", "pick")
            for theme in (themes.LIGHT, themes.MONO)
        ),
    ],
)
async def test_without_colours_all_is_legible_and_the_focus_seen(
    name: str, theme: str, has_colours: bool
) -> None:
    async with running(hostile.first(hostile.door())) as (app, pilot):
        assert app.no_color
        app.theme = theme
        await hostile.open_scene(app, name)
        await settled(app, pilot)
        assert faint(app) == ""
        for one in list(app.screen.focus_chain):
            await _check_focus(app, pilot, one)


async def _check_focus(app: OffsetApp, pilot: Pilot[None], one: Widget) -> None:
    app.screen.set_focus(None)
    one.scroll_visible(animate=False)
    await settled(app, pilot)
    before = cells(app, one)
    app.screen.set_focus(one)
    await settled(app, pilot)
    assert faint(app) == ""
    after = cells(app, one)
    # What can only be scrolled shows it with its scroll bar, if it has one.
    if len(before) == len(after) and type(one) is not VerticalScroll:
        assert any(map(_is_marked, before, after)), f"the focus of {one} is not seen"


# --- plain characters ---------------------------------------------------------------------------

_FOREIGN = frozenset("".join(hostile.NAMES) + money.HOSTILE)


@pytest.mark.parametrize("size", [SMALL, TINY])
@pytest.mark.parametrize("name", hostile.ALL)
async def test_with_ascii_no_sign_of_ours_is_another(name: str, size: tuple[int, int]) -> None:
    door = hostile.first(hostile.door())
    async with running(door, size, AppOptions(is_ascii=True)) as (app, pilot):
        await hostile.open_scene(app, name)
        await settled(app, pilot)
        ours = set(picture(app)) - _FOREIGN
        assert {one for one in ours if not one.isascii()} == set()


async def test_scroll_bars_are_signs_that_need_no_colour() -> None:
    async with running(crowd(100), options=AppOptions(is_ascii=True)) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        bar = [one[79:] for one in picture(app).splitlines()[1:21]]
        assert bar[0] == "#"
        assert set(bar[1:]) == {"#", "|"}
        await pilot.press("end")
        await settled(app, pilot)
        assert picture(app).splitlines()[20][79:] == "#"
    # The next app of this process draws as it likes.
    async with running(crowd(100)) as (app, pilot):
        await pilot.press("5")
        await settled(app, pilot)
        assert not {"#", "|"} & {one[79:] for one in picture(app).splitlines()[1:21]}


@pytest.mark.parametrize(
    ("size", "virtual", "window", "position", "bar"),
    [
        (10, 100, 10, 0, (0, 1)),
        (10, 100, 10, 90, (9, 10)),
        (10, 20, 10, 5, (2, 7)),
        (10, 10, 10, 0, (0, 0)),
        (0, 100, 10, 0, (0, 0)),
        (10, 100, 10, 1_000, (9, 10)),
        (10, 1_000_000, 10, 0, (0, 1)),
    ],
)
def test_the_bar_is_as_much_of_the_way_as_is_in_sight(
    size: int, virtual: int, window: int, position: int, bar: tuple[int, int]
) -> None:
    assert thumb(size, virtual, window, position) == bar
