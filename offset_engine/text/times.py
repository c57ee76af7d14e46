"""Times on a screen: how long ago, when, how long. The caller brings the clock.

Moments are UTC ms (`env.wall_ms`), shown in the zone given; None is the zone of this machine.

Source: tui.md §8, design R27.
"""

import datetime as dt
from typing import Final

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_NOW: Final = 10 * _SECOND
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NEVER: Final = "a time no calendar has"


def relative(now_ms: int, then_ms: int, zone: dt.tzinfo | None = None) -> str:
    """`now`, `42 s ago`, `3 min ago`, `in 2 h`; from 24 hours on the local time."""
    away = abs(now_ms - then_ms)
    if away < _NOW:
        return "now"
    if away >= _DAY:
        return iso_local(then_ms, zone)
    if away < _MINUTE:
        size = f"{away // _SECOND} s"
    elif away < _HOUR:
        size = f"{away // _MINUTE} min"
    else:
        size = f"{away // _HOUR} h"
    return f"{size} ago" if then_ms < now_ms else f"in {size}"


def iso_local(wall_ms: int, zone: dt.tzinfo | None = None) -> str:
    """`2026-11-23 14:05`, for people."""
    moment = _moment(wall_ms, zone)
    return _NEVER if moment is None else moment.strftime("%Y-%m-%d %H:%M")


def iso_offset(wall_ms: int, zone: dt.tzinfo | None = None) -> str:
    """`2026-11-23T14:05:09+02:00`, for exports."""
    moment = _moment(wall_ms, zone)
    return _NEVER if moment is None else moment.isoformat(timespec="seconds")


def duration(ms: int) -> str:
    """`42 s`, `3 min`, `2 h 5 min`, `3 d 4 h`; rounded down, nothing below zero."""
    left = max(ms, 0)
    if left < _MINUTE:
        return f"{left // _SECOND} s"
    if left < _HOUR:
        return f"{left // _MINUTE} min"
    if left < _DAY:
        return _two(left // _HOUR, "h", left % _HOUR // _MINUTE, "min")
    return _two(left // _DAY, "d", left % _DAY // _HOUR, "h")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large} {large_unit} {small} {small_unit}" if small else f"{large} {large_unit}"


def _moment(wall_ms: int, zone: dt.tzinfo | None) -> dt.datetime | None:
    try:
        return (_EPOCH + dt.timedelta(milliseconds=wall_ms)).astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return None
