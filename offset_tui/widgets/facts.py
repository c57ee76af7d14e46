"""Labels with values beside them, and marks that need no colour.

Source: tui.md §8, §12.
"""

from collections.abc import Iterable
from typing import Final

from rich.table import Table
from rich.text import Text

_MARKS: Final = {"done": "✓", "now": ">", "to do": "·", "failed": "✗"}
_PLAIN_MARKS: Final = {"done": "+", "now": ">", "to do": ".", "failed": "x"}
_PLAIN: Final = str.maketrans({"·": "-", "…": "~", "−": "-", "›": ">", "‹": "<"})


def plain(text: str, *, is_ascii: bool) -> str:
    """Our own signs as `--ascii` wants them; foreign letters stay."""
    return text.translate(_PLAIN) if is_ascii else text


def mark(name: str, *, is_ascii: bool) -> str:
    """The sign of a step that is done, goes on, is to come or has failed."""
    return (_PLAIN_MARKS if is_ascii else _MARKS)[name]


def facts(rows: Iterable[tuple[str, Text | str]], *, is_ascii: bool, width: int = 12) -> Table:
    """Label and value per line; long values go on below themselves, nothing is cut."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=width, no_wrap=True, style="dim")
    table.add_column(overflow="fold", ratio=1)
    for label, value in rows:
        shown = Text(plain(value, is_ascii=is_ascii)) if isinstance(value, str) else value
        table.add_row(Text(label), shown)
    return table


def bullet(sign: str, words: str, style: str, *, is_ascii: bool) -> Table:
    """A sign and a text that goes on below itself."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1, no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    table.add_row(Text(sign, style), Text(plain(words, is_ascii=is_ascii), style))
    return table
