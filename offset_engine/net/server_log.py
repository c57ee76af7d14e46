"""How busy a server is, told to its operator now and then: one line in the log, and one when it stops.

    INFO net.server_log: relay: connections 12, listeners 9, half tunnels 0, tunnels 3, connects 40, …

Numbers only: who meets whom is nobody's business, and not in any log.

Source: apps.md RLY-10.
"""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Final

import anyio

_log: Final = logging.getLogger(__name__)

PAUSE_MS: Final = 300_000


async def log_stats(what: str, stats: Callable[[], Any], pause_ms: int = PAUSE_MS) -> None:
    """Log the numbers whenever they changed, at most once in `pause_ms`, and at the end; until cancelled.

    Args:
        what: the server's kind.
        stats: gives a dataclass of numbers, and of pairs of a name and a number.
        pause_ms: between two looks.
    """
    told = ""
    try:
        while True:
            await anyio.sleep(pause_ms / 1000)
            now = stats_text(stats())
            if now != told:
                _log.info("%s: %s", what, now)
                told = now
    finally:
        _log.info("%s stops: %s", what, stats_text(stats()))


def stats_text(stats: Any) -> str:  # noqa: ANN401 - the dataclass of any server
    """The fields as words; of pairs only those that are not zero."""
    parts: list[str] = []
    for field in dataclasses.fields(stats):
        name, found = field.name.replace("_", " "), getattr(stats, field.name)
        if isinstance(found, tuple):
            parts += [f"{name} {_word(one)} {count}" for one, count in found if count]
        else:
            parts.append(f"{name} {found}")
    return ", ".join(parts)


def _word(name: object) -> str:
    text = getattr(name, "name", None) or str(name)
    return text.lower().replace("_", " ")
