"""Text of others on a screen: nothing in it acts, hides, turns around or needs more room than given.

Widths are counted in cells of the terminal, never in characters. What is stored keeps the raw text.

Source: tui.md §6.
"""

import unicodedata
from typing import Final, Literal

from rich.cells import cell_len

_MARKS_MAX: Final = 2
"""Accents upon accents that one letter may carry; more would paint over other lines."""
_QUOTED_CHARS_MAX: Final = 300
# Printable by name, but nothing to see: fillers, joiners, vowels and notes without a shape.
_BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U0001d159")
_VARIATIONS: Final = (
    (0x180B, 0x180F, False),
    (0xFE00, 0xFE0F, True),
    (0xE0100, 0xE01EF, False),
)
"""First and last selector, and whether it goes without a trace: emoji of honest people have them."""
# Letters of other alphabets, and digits, that look like a Latin letter.
_LOOKS: Final = str.maketrans(
    "АВЕКМНОРСТУХІЅЈаеорсухіѕјһԁԛԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧαονρικυχ01|i",  # noqa: RUF001
    "abekmhopctyxlsjaeopcyxlsjhdqwabezhlkmnoptyxaovplkuxolll",
)


def cells(text: str) -> int:
    """Width of one line in cells of the terminal."""
    return cell_len(text)


def safe(text: str, limit_cells: int = 64) -> str:
    """Foreign text for one line of a screen, at most so many cells wide.

    Controls become pictures (`␛`), what has no shape becomes its number (`‹202E›`), and of more than
    two accents on a letter the number is left (`‹+7›`). Total, in time linear in `limit_cells`.
    """
    if len(text) <= limit_cells and text.isascii() and text.isprintable():
        return text
    # Composing may take the square of the length, and a letter may be made of several characters.
    head = text[: 8 * max(limit_cells, 0) + 64]
    shown: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", head):
        if unicodedata.category(character)[0] == "M" and character not in _BLANKS:
            if _is_variation(character) is None:
                marks += 1
                if marks <= _MARKS_MAX:
                    # A mark with nothing before it would sit on whatever the screen shows there.
                    shown.append(character if shown else "◌" + character)
                continue
        elif marks > _MARKS_MAX:
            shown.append(f"‹+{marks - _MARKS_MAX}›")
        marks = 0
        shown.append(_visible(character))
    if marks > _MARKS_MAX:
        shown.append(f"‹+{marks - _MARKS_MAX}›")
    if len(text) > len(head):
        shown.append("…")
    return clip_cells("".join(shown), limit_cells)


def _visible(character: str) -> str:
    goes = _is_variation(character)
    if goes is not None:
        return "" if goes else f"‹{ord(character):X}›"
    if character.isprintable() and character not in _BLANKS:
        return character
    number = ord(character)
    if number < 0x20:
        return chr(0x2400 + number)
    return "␡" if number == 0x7F else f"‹{number:X}›"


def _is_variation(character: str) -> bool | None:
    """None: no variation selector. Else whether it is left out rather than shown."""
    number = ord(character)
    for first, last, goes in _VARIATIONS:
        if first <= number <= last:
            return goes
    return None


def clip_cells(text: str, width: int, ellipsis: str = "…") -> str:
    """One line cut to at most `width` cells, with a mark that something is missing."""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    mark = ellipsis if cell_len(ellipsis) <= width else ""
    # Every cell takes a character, unless characters have no width; then they are cut all the same.
    low, high = 0, min(len(text), 8 * width + 64)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _fits(text[:middle], mark, width) else (low, middle - 1)
    return text[:low] + mark


def _fits(head: str, mark: str, width: int) -> bool:
    return cell_len(head) + cell_len(mark) <= width


def pad_cells(text: str, width: int, align: Literal["left", "right", "center"] = "left") -> str:
    """One line with spaces up to `width` cells; longer text stays whole."""
    missing = max(width - cell_len(text), 0)
    before = {"left": 0, "right": missing, "center": missing // 2}[align]
    return " " * before + text + " " * (missing - before)


def quoted(text: str) -> str:
    r"""Foreign text for the output of a command: in quotes, short, everything else escaped (`\x1b`)."""
    cut = text if len(text) <= _QUOTED_CHARS_MAX else text[:_QUOTED_CHARS_MAX] + "…"
    return '"' + "".join(map(_escaped, cut)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    # Letters, marks, numbers, signs and the plain space; no controls, formats, other separators.
    if unicodedata.category(character)[0] in "LMNPS" or character == " ":
        return character
    return ascii(character)[1:-1] if not character.isascii() else f"\\x{ord(character):02x}"


def skeleton(name: str) -> str:
    """What is left of a name to the eye: two names with the same skeleton look alike.

    Accents, case, spaces, signs and shapeless characters do not count, nor the alphabet a letter comes
    from. A name of signs only is its own skeleton.
    """
    bare = unicodedata.normalize("NFKD", name[:256]).translate(_LOOKS).casefold().translate(_LOOKS)
    if bare.isascii():
        letters = "".join(filter(str.isalnum, bare))
    else:
        letters = "".join(
            c for c in bare if unicodedata.category(c)[0] in "LN" and c not in _BLANKS
        )
    return letters.replace("rn", "m").replace("vv", "w") or safe(name)
