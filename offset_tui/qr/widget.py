"""Draws QR codes, the parts of a large one in turn.

It writes only when what it shows changes: a code costs some kilobytes over the wire.

Source: tui.md §11.1, §11.4, §11.5.
"""

from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from offset_tui.qr.fit import Plan, rows

PART_S: Final = 1.0
"""How long each part is shown."""


class QrWidget(Widget):
    """One plan on screen, exactly as large as it is."""

    ALLOW_SELECT: ClassVar[bool] = False
    DEFAULT_CSS: ClassVar[str] = """
    QrWidget { width: auto; height: auto; }
    """

    class Turned(Message):
        """Another part is shown, or the turning stopped or goes on."""

    def __init__(self, plan: Plan, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._plan = plan
        self._part = 0
        self._is_inverted = False
        self._is_paused = False
        self._strips = self._drawn()

    @property
    def plan(self) -> Plan:
        """What is drawn."""
        return self._plan

    @property
    def part(self) -> int:
        """Which code of the plan is shown, from 0."""
        return self._part

    @property
    def is_paused(self) -> bool:
        """Whether a part stays until it is turned by hand."""
        return self._is_paused

    def on_mount(self) -> None:
        """Start to turn."""
        self.set_interval(PART_S, self.turn)

    def show(self, plan: Plan) -> None:
        """Draw another plan of the same payload; nothing is written if it is the same."""
        if plan == self._plan:
            return
        self._plan = plan
        self._part %= len(plan.codes)
        self._redraw(layout=True)

    def turn(self) -> None:
        """What happens every second: the next part, unless paused."""
        if len(self._plan.codes) > 1 and not self._is_paused:
            self._turn_to(self._part + 1)

    def step(self, parts: int) -> None:
        """Turn forward or back by hand, which pauses."""
        if len(self._plan.codes) > 1:
            self._is_paused = True
            self._turn_to(self._part + parts)

    def toggle_pause(self) -> None:
        """Stop turning, or go on."""
        self._is_paused = not self._is_paused
        self.post_message(self.Turned())

    def invert(self) -> None:
        """Draw dark instead of light with characters, or the other way; the colours stay."""
        self._is_inverted = not self._is_inverted
        self._redraw()

    def render_line(self, y: int) -> Strip:
        """One row of cells."""
        return self._strips[y] if 0 <= y < len(self._strips) else Strip.blank(self.size.width)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Width of the plan."""
        return self._plan.columns

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Height of the plan."""
        return self._plan.rows

    def _turn_to(self, part: int) -> None:
        self._part = part % len(self._plan.codes)
        self._redraw()
        self.post_message(self.Turned())

    def _redraw(self, *, layout: bool = False) -> None:
        self._strips = self._drawn()
        self.refresh(layout=layout)

    def _drawn(self) -> list[Strip]:
        plan = self._plan
        lines = rows(
            plan.codes[self._part].modules,
            plan.border,
            is_ascii=plan.is_ascii,
            is_inverted=self._is_inverted,
        )
        return [
            Strip(
                [Segment(run.text, Style(color=run.ink, bgcolor=run.paper)) for run in line],
                plan.columns,
            )
            for line in lines
        ]
