"""Pictures for README, from the scenes of the tests: `python -m tests.tui.screenshots` writes screenshots/*.svg.

They hold no address of another machine: fonts are those of whoever looks.
"""

import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import anyio
from textual.pilot import Pilot

from offset_engine.core.payer import PayStage
from offset_tui.app import OffsetApp
from offset_tui.screens.payment import PaymentScreen
from tests.tui import money_scenes, people_scenes
from tests.tui.scenes import FakeDoor
from tests.tui.screens import SMALL, running, settled

PICTURES: Final = Path(__file__).parents[2] / "screenshots"
_FONT_FACE: Final = re.compile(r"@font-face \{.*?\}\s*|<!--.*?-->", re.DOTALL)

Act = Callable[[OffsetApp, Pilot[None]], Awaitable[None]]


def keys(*pressed: str) -> Act:
    """Press keys, one after another."""

    async def act(app: OffsetApp, pilot: Pilot[None]) -> None:
        for one in pressed:
            await pilot.press(one)
            await settled(app, pilot)

    return act


async def _committed(app: OffsetApp, pilot: Pilot[None]) -> None:
    app.push_screen(PaymentScreen(app.session.snapshot.pays[0].payment_id))
    await settled(app, pilot)


async def _review(app: OffsetApp, pilot: Pilot[None]) -> None:
    from offset_tui.screens.pay import PayReviewScreen  # noqa: PLC0415 - as the app does

    app.push_screen(PayReviewScreen(money_scenes.invoice()))
    await settled(app, pilot)


def _paid() -> FakeDoor:
    return money_scenes.door(money_scenes.pay(PayStage.PAID))


SHOTS: Final[dict[str, tuple[Callable[[], FakeDoor], Act]]] = {
    "home": (FakeDoor, keys()),
    "friends": (FakeDoor, keys("5")),
    "friend": (FakeDoor, keys("5", "enter")),
    "balances": (FakeDoor, keys("6")),
    "pay-review": (FakeDoor, _review),
    "payment": (_paid, _committed),
    "receive": (FakeDoor, keys("3")),
    "inconsistent": (
        lambda: people_scenes.door(people_scenes.inconsistent("Bob")),
        keys("5", "enter"),
    ),
}
"""Name → the scene and what to press in it."""


async def draw(name: str) -> str:
    """One picture as SVG text."""
    make, act = SHOTS[name]
    os.environ["TZ"] = "UTC"
    time.tzset()
    async with running(make(), SMALL) as (app, pilot):
        await act(app, pilot)
        await settled(app, pilot)
        return clean(app.export_screenshot(title="Offset"))


def clean(svg: str) -> str:
    """Without fonts to be fetched from elsewhere."""
    local = _FONT_FACE.sub("", svg).replace("Fira Code", "DejaVu Sans Mono")
    return "\n".join(line.rstrip() for line in local.splitlines()).strip() + "\n"


async def main() -> None:
    """Write all of them."""
    PICTURES.mkdir(exist_ok=True)
    for name in SHOTS:
        (PICTURES / f"{name}.svg").write_text(await draw(name), encoding="utf-8")


if __name__ == "__main__":
    anyio.run(main)
