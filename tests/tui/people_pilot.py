"""Small steps the tests of the people screens share."""

from textual.pilot import Pilot

from offset_tui.app import OffsetApp
from offset_tui.widgets.table import KeyedTable
from tests.tui.screens import until


async def armed(app: OffsetApp, pilot: Pilot[None]) -> None:
    """A dialog or form that has just opened listens now."""
    await until(pilot, lambda: bool(getattr(app.screen, "is_armed", True)))


def table(app: OffsetApp) -> KeyedTable:
    """The table of the screen shown."""
    return app.screen.query_one(KeyedTable)
