"""The app's own themes: dark, light, and one without colours. Built-in ones stay available.

Everything on screen also says in words what a colour says. Source: tui.md §12.
"""

from collections.abc import Iterable
from typing import Final

from rich.color import Color as RichColor
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.color import Color
from textual.filter import ANSIToTruecolor, LineFilter
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
    variables={"input-selection-background": "#4a4a4a"},
)
ALL: Final = (DARK, LIGHT, MONO)


def terminal(theme: Theme) -> TerminalTheme:
    """What `red`, `green` and the other colours of a terminal are with a theme: its own, legible ones."""

    def rgb(color: str | None, otherwise: str = "#808080") -> tuple[int, int, int]:
        return Color.parse(color or otherwise).rgb

    eight = [
        rgb(theme.panel),
        rgb(theme.error),
        rgb(theme.success),
        rgb(theme.warning),
        rgb(theme.primary),
        rgb(theme.accent),
        rgb(theme.secondary),
        rgb(theme.foreground),
    ]
    return TerminalTheme(rgb(theme.background), rgb(theme.foreground), eight, eight)


HUE_LEAST: Final = 24
"""How far apart red, green and blue are in what counts as coloured."""


class WithoutHue(LineFilter):
    """Where there are to be no colours: coloured text gets the plain foreground, greys stay.

    As the grey of the same lightness a red would hardly be seen on a dark background.
    """

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._foreground = Style(color=RichColor.parse(theme.foreground or "#ffffff"))

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """A line with its coloured texts made plain."""
        return [
            Segment(one.text, self._plain(one.style), one.control) if one.style is not None else one
            for one in segments
        ]

    def _plain(self, style: Style) -> Style:
        if style.color is None or style.color.triplet is None:
            return style
        red, green, blue = style.color.triplet
        if max(red, green, blue) - min(red, green, blue) < HUE_LEAST:
            return style
        return style + self._foreground


def filters(found: Iterable[LineFilter], theme: Theme, *, is_grey: bool) -> list[LineFilter]:
    """What is done to every line drawn; without colours those go too that say owed and owing, and stay legible."""
    kept = list(found)
    if is_grey:
        # After terminal colours were told apart, and before all are made greys.
        at = sum(isinstance(one, ANSIToTruecolor) for one in kept)
        kept.insert(at, WithoutHue(theme))
    return kept
