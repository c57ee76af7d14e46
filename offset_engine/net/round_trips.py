"""How long an answer takes, as it is reported: steady enough that a report is no news because of it.

Every keepalive measures again, each time a little differently; people want to know whether it is 5 ms or 500.
"""

from typing import Final

_STEADY_MS: Final = 5
_STEADY_PARTS: Final = 4


def steadied(shown_ms: int | None, measured_ms: int) -> int:
    """What to show from now on: what was shown until it is off by a quarter and by 5 ms.

    Args:
        shown_ms: as reported so far; None = not measured before.
        measured_ms: the newest measurement.
    """
    if shown_ms is None:
        return measured_ms
    off_ms = abs(measured_ms - shown_ms)
    is_other = off_ms >= _STEADY_MS and off_ms * _STEADY_PARTS >= shown_ms
    return measured_ms if is_other else shown_ms
