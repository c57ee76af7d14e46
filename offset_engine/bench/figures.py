"""What a measurement returns: named numbers, rounded for reading, and how to sum up many of them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import anyio

from offset_engine.errors import OffsetError

_P = TypeVar("_P")

Figure: TypeAlias = "int | float | str | Mapping[str, Figure] | None"
"""A word says what was measured; None = cannot be measured on this system."""
Figures: TypeAlias = dict[str, Figure]


class BenchError(OffsetError):
    """A measurement could not be made: something did not happen in time, or not as it must."""


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed; 0 if there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def quantiles_ms(values_ns: Sequence[int]) -> dict[str, Figure]:
    """Median and 99th percentile of durations, in ms."""
    return {
        "p50": rounded(quantile(values_ns, 0.5) / 1e6),
        "p99": rounded(quantile(values_ns, 0.99) / 1e6),
    }


def rounded(number: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{number:.4g}")


def run_measurement(measure: Callable[[_P], Awaitable[Figures]], plan: _P) -> Figures:
    """Run on an event loop of its own; of failures that come together, the first is raised.

    Raises:
        OffsetError: what `measure` raises, without the groups of its tasks around it.
    """
    try:
        return anyio.run(measure, plan)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
