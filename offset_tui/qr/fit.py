"""How a payload can be shown as QR codes in so many rows and columns, and the cells to draw. Pure.

Two modules stand in one cell, so height is what is short: 24 rows hold a code of 47 modules with its
border. What is larger is cut into parts that are shown one after another. Without block characters a
module is two coloured spaces.

Light is white and dark is black whatever the terminal's colours are, and both are set on every cell: few
readers understand a code the other way round. Ink and paper of a full block are the same colour, so that
no font leaves gaps, and the characters alone still carry the code where colours are lost.

Source: tui.md §11.1, §11.2.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, zip_longest
from typing import Final, NamedTuple, TypeAlias

import segno

from offset_engine.errors import FileError
from offset_engine.files import Content, to_qr_parts, to_qr_text

BORDERS: Final = (4, 2, 1)
"""Light modules around a code: 4 is the standard, readers of screens manage with less."""
WHITE: Final = "#ffffff"
BLACK: Final = "#000000"
ALPHANUMERIC_MAX: Final = (
    *(25, 47, 77, 114, 154, 195, 224, 279, 335, 395, 468, 535, 619, 667, 758, 854, 938, 1046, 1153),
    *(1249, 1352, 1460, 1588, 1704, 1853, 1990, 2132, 2223, 2369, 2520, 2677, 2840, 3009, 3183),
    *(3351, 3537, 3729, 3927, 4087, 4296),
)
"""Characters a code holds at error correction L, versions 1 to 40."""

Modules: TypeAlias = tuple[tuple[bool, ...], ...]
"""Rows of modules without border; True is dark."""


@dataclass(frozen=True, slots=True)
class Code:
    """One QR code."""

    text: str
    version: int
    error: str
    """Error correction: L, or better where it was free."""
    modules: Modules


@dataclass(frozen=True, slots=True)
class Plan:
    """Codes of one size, shown one after another, and how they are drawn."""

    codes: tuple[Code, ...]
    border: int
    is_ascii: bool = False

    @property
    def rows(self) -> int:
        """Height in rows of the terminal."""
        return _size(self.codes[0].version, self.border, is_ascii=self.is_ascii)[0]

    @property
    def columns(self) -> int:
        """Width in cells of the terminal."""
        return _size(self.codes[0].version, self.border, is_ascii=self.is_ascii)[1]


@dataclass(frozen=True, slots=True)
class Unfit:
    """Nothing can be drawn; the sentence says why and what to do."""

    sentence: str


class Run(NamedTuple):
    """Cells of one row that look alike."""

    text: str
    ink: str
    paper: str


# --- what fits ----------------------------------------------------------------------------------


def fit_text(text: str, rows: int, columns: int, *, is_ascii: bool = False) -> Plan | Unfit:
    """Draw any text as one code, with the widest border there is room for.

    Args:
        text: what a reader shall see; capitals, digits and ` $%*+-./:` need the least room.
        rows: rows of the terminal.
        columns: cells of a row.
        is_ascii: draw coloured spaces instead of block characters.
    """
    if not text:
        return Unfit("there is nothing to draw a QR code of")
    code = _code(text)
    if code is None:
        return Unfit("this is too long for a QR code: copy the text, or write a file")
    for border in BORDERS:
        if _has_room(code.version, border, rows, columns, is_ascii=is_ascii):
            return Plan((code,), border, is_ascii)
    return _too_small(code.version, rows, columns, is_ascii=is_ascii)


def fit_content(
    content: Content, rows: int, columns: int, *, is_ascii: bool = False
) -> Plan | Unfit:
    """Draw an artifact as one code, or as the fewest parts. Arguments as `fit_text`."""
    try:
        whole = fit_text(to_qr_text(content), rows, columns, is_ascii=is_ascii)
        if isinstance(whole, Plan):
            return whole
        return _parts(content, rows, columns, is_ascii=is_ascii) or _too_small(
            _least_version(content), rows, columns, is_ascii=is_ascii
        )
    except (
        FileError
    ) as error:  # this kind has no text form, or is too long for eight of the largest
        return Unfit(str(error))


def _parts(content: Content, rows: int, columns: int, *, is_ascii: bool) -> Plan | None:
    """The fewest parts; of two borders with as many the wider, and 1 only if nothing else does."""
    best: tuple[list[str], int, int] | None = None
    for border in BORDERS:
        version = max(
            (
                version
                for version in range(1, len(ALPHANUMERIC_MAX) + 1)
                if _has_room(version, border, rows, columns, is_ascii=is_ascii)
            ),
            default=0,
        )
        if not version or (best is not None and border == BORDERS[-1]):
            continue
        try:
            texts = to_qr_parts(content, ALPHANUMERIC_MAX[version - 1])
        except FileError:
            continue
        if best is None or len(texts) < len(best[0]):
            best = texts, border, version
    if best is None:
        return None
    texts, border, _ = best
    # All are as large as the first, which is the longest, so that nothing jumps.
    first = _code(texts[0])
    codes = [] if first is None else [_code(text, first.version) for text in texts]
    return Plan(tuple(code for code in codes if code is not None), border, is_ascii)


def _least_version(content: Content) -> int:
    """Smallest version of which eight are enough.

    Raises:
        FileError: eight of the largest are not.
    """
    for version, characters in enumerate(ALPHANUMERIC_MAX, 1):
        try:
            to_qr_parts(content, characters)
        except FileError:
            continue
        return version
    raise FileError("this is too long for QR codes: copy the text, or write a file")


def _too_small(version: int, rows: int, columns: int, *, is_ascii: bool) -> Unfit:
    least_rows, least_columns = _size(version, BORDERS[-1], is_ascii=is_ascii)
    if least_rows > rows:
        missing, larger = f"{least_rows} rows, you have {rows}", "taller"
        if least_columns > columns:
            missing, larger = (
                f"{least_rows} rows and {least_columns} columns, you have {rows} and {columns}",
                "larger",
            )
    else:
        missing, larger = f"{least_columns} columns, you have {columns}", "wider"
    return Unfit(f"needs {missing}: make the window {larger}, or copy the text")


def _size(version: int, border: int, *, is_ascii: bool) -> tuple[int, int]:
    """Rows and columns."""
    side = 17 + 4 * version + 2 * border
    return (side, 2 * side) if is_ascii else ((side + 1) // 2, side)


def _has_room(version: int, border: int, rows: int, columns: int, *, is_ascii: bool) -> bool:
    least_rows, least_columns = _size(version, border, is_ascii=is_ascii)
    return least_rows <= rows and least_columns <= columns


@lru_cache(maxsize=32)
def _code(text: str, version: int | None = None) -> Code | None:
    """Make a code, in milliseconds; a window that changes its size asks for the same ones again."""
    try:
        # Plain `make` would choose Micro QR for short texts, which telephones cannot read.
        made = segno.make_qr(text, error="l", version=version, boost_error=True)
    except (segno.DataOverflowError, ValueError):
        return None
    modules = tuple(tuple(bool(module) for module in row) for row in made.matrix)
    return Code(text, int(made.version), made.error or "L", modules)


# --- what is drawn ------------------------------------------------------------------------------


def rows(
    modules: Modules, border: int, *, is_ascii: bool = False, is_inverted: bool = False
) -> tuple[tuple[Run, ...], ...]:
    """The cells of a code, row by row, those that look alike joined.

    Args:
        modules: rows of the code.
        border: light modules on every side.
        is_ascii: two coloured spaces a module.
        is_inverted: draw the dark modules as characters instead of the light ones. The colours stay; it
            helps where a light terminal takes no colours.
    """
    bordered = _bordered(modules, border)
    if is_ascii:
        return tuple(_joined(_spaces(row)) for row in bordered)
    lines = zip_longest(bordered[::2], bordered[1::2], fillvalue=(False,) * len(bordered[0]))
    return tuple(_joined(_blocks(upper, lower, is_inverted=is_inverted)) for upper, lower in lines)


def _bordered(modules: Modules, border: int) -> list[tuple[bool, ...]]:
    side = (False,) * border
    empty = (False,) * (len(modules) + 2 * border)
    return [*[empty] * border, *((*side, *row, *side) for row in modules), *[empty] * border]


def _spaces(row: Iterable[bool]) -> Iterator[Run]:
    for is_dark in row:
        color = BLACK if is_dark else WHITE
        yield Run("  ", WHITE if is_dark else BLACK, color)


def _blocks(upper: Iterable[bool], lower: Iterable[bool], *, is_inverted: bool) -> Iterator[Run]:
    """Ink draws the light modules, or the dark ones if inverted."""
    ink, paper = (BLACK, WHITE) if is_inverted else (WHITE, BLACK)
    for top, bottom in zip(upper, lower, strict=True):
        match top == is_inverted, bottom == is_inverted:
            case True, True:
                yield Run("█", ink, ink)
            case True, False:
                yield Run("▀", ink, paper)
            case False, True:
                yield Run("▄", ink, paper)
            case _:
                yield Run(" ", ink, paper)


def _joined(runs: Iterable[Run]) -> tuple[Run, ...]:
    return tuple(
        Run("".join(run.text for run in alike), *colors)
        for colors, alike in groupby(runs, key=lambda run: (run.ink, run.paper))
    )
