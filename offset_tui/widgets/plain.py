"""The same text in plain characters, for terminals where others are missing or two cells wide.

Source: tui.md §12 (`--ascii`).
"""

from typing import Final

from rich.segment import Segment
from rich.text import Text
from textual.color import Color
from textual.filter import LineFilter

_TWINS: Final = str.maketrans("·…“”‘’−×●○‹›▁▂▃▄▅▆▇█", "-.\"\"''-x*o<>_.:-=+*#")  # noqa: RUF001 - the signs themselves


def plain(text: Text, *, is_ascii: bool) -> Text:
    """A text whose signs of ours have their plain twins, one for one, with all styles kept."""
    if not is_ascii:
        return text
    return Text(text.plain.translate(_TWINS), text.style, spans=text.spans, no_wrap=text.no_wrap)


_SIGNS: Final[dict[int, int]] = {
    **_TWINS,
    0xA0: ord(" "),
    ord("…"): ord("~"),
    **str.maketrans("─━═▔│┃║▌▐▎▊•✓✗▪▶▼", "----|||||||*+x*>v"),
    **str.maketrans("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛┣┫┳┻╋", "+" * 22),
    # Pictures of controls in foreign text, and the place of a mark with no letter.
    **dict.fromkeys([*range(0x2400, 0x2422), ord("◌")], ord("?")),
}


class PlainSigns(LineFilter):
    """The last look at every line drawn with `--ascii`: frames, bullets and what else Textual draws by itself."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The line with plain twins, one for one."""
        return [
            one
            if one.text.isascii()
            else Segment(one.text.translate(_SIGNS), one.style, one.control)
            for one in segments
        ]
