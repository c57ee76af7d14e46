"""The same text in plain characters, for terminals where others are missing or two cells wide.

Source: tui.md §12 (`--ascii`).
"""

from typing import Final

from rich.text import Text

_TWINS: Final = str.maketrans("·…“”‘’−×●○‹›▁▂▃▄▅▆▇█", "-.\"\"''-x*o<>_.:-=+*#")  # noqa: RUF001 - the signs themselves


def plain(text: Text, *, is_ascii: bool) -> Text:
    """A text whose signs of ours have their plain twins, one for one, with all styles kept."""
    if not is_ascii:
        return text
    return Text(text.plain.translate(_TWINS), text.style, spans=text.spans, no_wrap=text.no_wrap)
