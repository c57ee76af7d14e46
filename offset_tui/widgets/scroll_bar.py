"""Scroll bars in plain characters: `#` where one is, `|` or `-` for the way there. Source: tui.md §12 (`--ascii`).

Textual draws parts of cells with block signs, and tells bar from background by colour alone.
"""

from rich.color import Color
from rich.segment import Segment, Segments
from rich.style import Style
from textual.scrollbar import ScrollBar, ScrollBarRender

_BACK = Color.parse("#555555")
_BAR = Color.parse("bright_magenta")


class PlainBar(ScrollBarRender):
    """See the module."""

    @classmethod
    def render_bar(  # noqa: PLR0913, PLR0917 - as Textual calls it
        cls,
        size: int = 25,
        virtual_size: float = 50,
        window_size: float = 20,
        position: float = 0,
        thickness: int = 1,
        vertical: bool = True,  # noqa: FBT001, FBT002
        back_color: Color = _BACK,
        bar_color: Color = _BAR,
    ) -> Segments:
        """As much of the bar as is in sight of the whole, at least one character."""
        start, end = thumb(size, virtual_size, window_size, position)
        track = "|" if vertical else "-"
        segments = []
        for at in range(size):
            click = "grab" if start <= at < end else "scroll_up" if at < start else "scroll_down"
            style = Style(color=bar_color, bgcolor=back_color, meta={"@mouse.down": click})
            sign = "#" if start <= at < end else track
            segments.append(Segment(sign * (thickness if vertical else 1), style))
        if vertical:
            return Segments(segments, new_lines=True)
        return Segments([*segments, Segment.line()] * thickness, new_lines=False)


def thumb(size: int, virtual: float, window: float, position: float) -> tuple[int, int]:
    """First cell of the bar, and the one after its last."""
    if not size or not window or virtual <= window:
        return 0, 0
    length = min(max(round(size * window / virtual), 1), size)
    start = round((size - length) * min(max(position / (virtual - window), 0), 1))
    return start, start + length


def choose(*, is_ascii: bool) -> None:
    """Draw the scroll bars of this process so; Textual keeps one way for all of them."""
    ScrollBar.renderer = PlainBar if is_ascii else ScrollBarRender
