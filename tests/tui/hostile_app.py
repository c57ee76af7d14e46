"""Shows every hostile scene, one after another, on the terminal it runs in: `python -m tests.tui.hostile_app`.

`test_every_screen.py` looks at the bytes that come out. The last line it prints says how many were shown.
"""

import sys

import anyio
from textual import work

from offset_tui.app import OffsetApp
from offset_tui.driver import SafeDriver
from offset_tui.showing import show
from tests.tui import hostile_scenes
from tests.tui.scenes import NOW_MS

_SHOWN_S = 0.02


class Parade(OffsetApp):
    """Opens them by itself, and leaves."""

    seen = 0

    def on_mount(self) -> None:
        """Once the card is open."""
        self.call_after_refresh(self._parade)

    @work(group="parade")
    async def _parade(self) -> None:
        while not self.has_session:
            await self._pause()
        for name in hostile_scenes.ALL:
            await hostile_scenes.open_scene(self, name)
            await self._pause()
            while len(self.screen_stack) > 1:
                self.pop_screen()
            self.seen += 1
        self.exit()

    async def _pause(self) -> None:

        await anyio.sleep(_SHOWN_S)


def main() -> int:
    """Run it; returns the exit code of the app."""
    door = hostile_scenes.first(hostile_scenes.door())
    app = Parade(door, clock=lambda: NOW_MS, driver_class=SafeDriver)
    code = show(app, lambda: True)
    sys.stdout.write(f"\nSEEN {app.seen} of {len(hostile_scenes.ALL)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
