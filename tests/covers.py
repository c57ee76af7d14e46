"""Which scenario and feature ids the tests show: `@covers("PT04", "PAY-01")`, and a list of those without a test.

`python -m tests.covers` prints the ids of this project's checklists that no test names (design R51).
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import pytest

_F = TypeVar("_F", bound=Callable[..., object])
_ID = re.compile(r"(PT|NT)\d{2}|[A-Z]{3}-\d{2}")


_WANTED: Final[dict[str, tuple[int, ...]]] = {
    "PT": tuple(range(1, 83)),
    "NT": (*range(1, 80), 81, 82),
    "PAY-": tuple(range(1, 28)),
    "PRV-": tuple(range(1, 8)),
    "MGR-": tuple(range(1, 13)),
    "CTL-": tuple(range(1, 39)),
    "VFY-": tuple(range(1, 8)),
    "NOD-": tuple(range(1, 25)),
    "RLY-": tuple(range(1, 11)),
    "IDX-": tuple(range(1, 18)),
    "APS-": tuple(range(1, 17)),
    # A line protocol for other programs (24, 25) is not promised.
    "CMP-": (*range(1, 24), 26),
    # A terminal has no camera: for QR codes (2) there is the text in them, and pictures are refused with that advice.
    "MOB-": tuple(range(1, 51)),
    # Of the ideas those about routes and the app.
    "RMP-": (3, 5, 6, 8, 17, 18, 20, 21, 23, 24, *range(30, 41), *range(43, 47), 48),
    # The others are about the app's screens and `stcompact`.
    "FIX-": (*range(1, 13), 15, 16, 18, *range(29, 34), *range(35, 46)),
}
"""Per family the numbers this version promises."""


def covers(*ids: str) -> Callable[[_F], _F]:
    """Mark a test as showing these ids; they become keywords of the test, so `-k PT04` finds it."""
    bad = [one for one in ids if not _ID.fullmatch(one)]
    if bad:
        raise ValueError(f"not an id of a scenario or feature: {bad}")

    def mark(test: _F) -> _F:
        for one in ids:
            test = pytest.mark.covers(one)(test)
            setattr(test, one.replace("-", "_"), True)
        return test

    return mark


def covered() -> dict[str, list[str]]:
    """Id → test files that claim it, read from the sources."""
    found: dict[str, list[str]] = {}
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        if path.name == "covers.py":
            continue
        for one in _claims(ast.parse(path.read_text())):
            found.setdefault(one, []).append(path.name)
    return found


def _claims(tree: ast.AST) -> Iterator[str]:
    """Every id in a call of `covers`, however it is written there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "covers":
            for inside in ast.walk(node):
                if isinstance(inside, ast.Constant) and isinstance(inside.value, str):
                    yield inside.value


def wanted() -> Iterator[str]:
    """Every id this version promises."""
    for family, numbers in _WANTED.items():
        yield from (f"{family}{n:02}" for n in numbers)


def main() -> int:
    """Print what is missing."""
    have = covered()
    missing = [one for one in wanted() if one not in have]
    print(f"{len(list(wanted())) - len(missing)} of {len(list(wanted()))} ids have a test")
    for one in missing:
        print(f"no test: {one}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
