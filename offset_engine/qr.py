"""Draws QR codes as text and as pictures; what stands in them is the caller's business.

Light is white and dark is black: few readers understand a code the other way round. Terminals are
usually dark, so blocks are drawn where the code is light, and paper is white, so signs are drawn where
it is dark.

Source: tui.md §11.1.
"""

import io
from itertools import zip_longest
from typing import Final

import segno

from offset_engine.errors import FileError

BORDER: Final = 4
"""Light modules around the code, as the standard wants."""
_BLOCKS: Final = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
"""Upper and lower module dark → what to draw; the sign itself is light."""
_WHITE_ON_BLACK: Final = "\x1b[38;2;255;255;255;48;2;0;0;0m"
_PLAIN: Final = "\x1b[0m"


def half_blocks(text: str, *, border: int = BORDER, has_colors: bool = False) -> str:
    """Draw a code with two modules in each character, for terminals.

    Args:
        text: what a reader shall see; upper case needs less room.
        border: light modules on every side.
        has_colors: set white on black explicitly, so that the terminal's theme does not matter.

    Raises:
        FileError: the text is too long for any code.
    """
    rows = _modules(text, border)
    lines = []
    for upper, lower in zip_longest(rows[::2], rows[1::2], fillvalue=()):
        # The row after the last one of an odd number is light, like the border.
        pairs = zip_longest(upper, lower, fillvalue=False)
        line = "".join(_BLOCKS[bool(top), bool(bottom)] for top, bottom in pairs)
        lines.append(f"{_WHITE_ON_BLACK}{line}{_PLAIN}" if has_colors else line)
    return "\n".join(lines)


def ascii_art(text: str, *, border: int = BORDER) -> str:
    """Draw a code with `##` for each dark module, for paper and light backgrounds.

    Raises:
        FileError: the text is too long for any code.
    """
    rows = _modules(text, border)
    return "\n".join("".join("##" if dark else "  " for dark in row) for row in rows)


def png(text: str, *, scale: int = 8) -> bytes:
    """Draw a code as a PNG picture, `scale` pixels a module.

    Raises:
        FileError: the text is too long for any code.
    """
    picture = io.BytesIO()
    _make(text).save(picture, kind="png", scale=scale, border=BORDER)
    return picture.getvalue()


def _modules(text: str, border: int) -> list[tuple[bool, ...]]:
    rows = _make(text).matrix_iter(scale=1, border=border)
    return [tuple(bool(module) for module in row) for row in rows]


def _make(text: str) -> segno.QRCode:
    if not text:
        raise FileError("there is nothing to draw a QR code of")
    try:
        return segno.make_qr(text, error="l")
    except segno.DataOverflowError:
        raise FileError(
            "this is too long for a QR code; use several parts, the text or the file"
        ) from None
