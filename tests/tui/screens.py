"""The app in a test: started over a scene, looked at as text, compared with what was approved.

Goldens are text: `tests/golden/NAME.80x24.txt`. `UPDATE_GOLDENS=1` writes them anew; read the difference before you
commit it. Source: tui.md §15.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Final

import anyio
from rich.cells import cell_len
from textual._compositor import LayoutUpdate
from textual.pilot import Pilot

from offset_tui.app import OffsetApp
from offset_tui.doors import AppOptions
from tests.tui.scenes import NOW_MS, FakeDoor

GOLDEN: Final = Path(__file__).parent.parent / "golden"
SMALL: Final = (80, 24)
WIDE: Final = (120, 40)


@asynccontextmanager
async def running(
    door: FakeDoor | None = None,
    size: tuple[int, int] = SMALL,
    options: AppOptions | None = None,
) -> AsyncIterator[tuple[OffsetApp, Pilot[None]]]:
    """The app over a scene, its first screen drawn."""
    app = OffsetApp(
        door or FakeDoor(),
        options or AppOptions(),
        clock=lambda: NOW_MS,
        random_bytes=lambda size: b"\x07" * size,
    )
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.has_session or app.door.first is None)
        await settled(app, pilot)
        await focused(app, pilot)
        yield app, pilot


async def until(pilot: Pilot[None], fact: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: it is not, for too long.
    """
    with anyio.fail_after(seconds):
        while not fact():
            await pilot.pause(0.01)


async def focused(app: OffsetApp, pilot: Pilot[None]) -> None:
    """Wait until keys have somewhere to go; a list gets the focus a moment after its first rows."""
    for _ in range(15):
        if app.focused is not None:
            break
        await pilot.pause(0.02)


async def settled(app: OffsetApp, pilot: Pilot[None]) -> None:
    """Wait until the screen stays as it is: footer and tables are drawn a moment after their data."""
    before = ""
    while (shown := picture(app)) != before:
        before = shown
        for _ in range(3):
            await pilot.pause()


def picture(app: OffsetApp) -> str:
    """What is on screen, line by line, without trailing spaces."""
    width, height = app.size
    rows: list[list[str]] = [[" "] * width for _ in range(height)]
    update = app.screen._compositor.render_update(full=True, screen_stack=app._background_screens)
    assert isinstance(update, LayoutUpdate)
    # A screen that was only just pushed has fewer lines.
    for row, line in zip(rows, update.strips, strict=False):
        start = 0
        for segment in chain.from_iterable(line):
            for column, char in enumerate_cells(segment.text.replace("\xa0", " "), start):
                if column < width:
                    row[column] = char
            start += segment.cell_length
    return "\n".join("".join(row).rstrip() for row in rows) + "\n"


def enumerate_cells(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Each character with the column of its first cell."""
    for char in text:
        yield start, char
        start += max(cell_len(char), 1)


def check_golden(app: OffsetApp, name: str) -> None:
    """The screen is the one that was approved under this name and size."""
    shown = picture(app)
    path = GOLDEN / f"{name}.{app.size.width}x{app.size.height}.txt"
    if os.environ.get("UPDATE_GOLDENS") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, encoding="utf-8")
    assert path.exists(), f"no picture was approved: UPDATE_GOLDENS=1 writes {path.name}"
    assert shown == path.read_text(encoding="utf-8")
