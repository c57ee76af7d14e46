"""The app's own themes: dark, light, and one without colours. Built-in ones stay available.

Everything on screen also says in words what a colour says. Source: tui.md §12.
"""

from typing import Final

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import Theme

DARK: Final = Theme(
    "offset-dark",
    primary="#7aa2c8",
    secondary="#9aa7b4",
    accent="#e0b35a",
    foreground="#e6e6e6",
    background="#10151b",
    surface="#161d25",
    panel="#222c37",
    success="#7fc98f",
    warning="#e0b35a",
    error="#f08a80",
    dark=True,
)
LIGHT: Final = Theme(
    "offset-light",
    primary="#235a8c",
    secondary="#4c5a68",
    accent="#8a5a00",
    foreground="#1b1f24",
    background="#fbfaf7",
    surface="#f1efe9",
    panel="#e2dfd6",
    success="#1f6b33",
    warning="#8a5a00",
    error="#a3231a",
    dark=False,
)
MONO: Final = Theme(
    "offset-mono",
    primary="#d0d0d0",
    secondary="#a8a8a8",
    accent="#ffffff",
    foreground="#e4e4e4",
    background="#000000",
    surface="#121212",
    panel="#262626",
    success="#e4e4e4",
    warning="#ffffff",
    error="#ffffff",
    dark=True,
)
ALL: Final = (DARK, LIGHT, MONO)

HUE_LEAST: Final = 24
"""How far apart red, green and blue are in what counts as coloured."""


class WithoutHue(LineFilter):
    """For the theme without colours: coloured text gets the plain foreground, greys stay."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """A line with its coloured texts made plain."""
        return [
            Segment(one.text, _plain(one.style), one.control) if one.style is not None else one
            for one in segments
        ]


def _plain(style: Style) -> Style:
    if style.color is None or style.color.triplet is None:
        return style
    red, green, blue = style.color.triplet
    if max(red, green, blue) - min(red, green, blue) < HUE_LEAST:
        return style
    return style + Style(color=RichColor.parse(MONO.foreground or "#ffffff"))
