"""Which scenario and feature ids the tests show: `@covers("PT04", "PAY-01")`, and a list of those without a test.

`python -m tests.covers` prints the ids of this project's checklists that no test names (design R51).
"""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

_F = TypeVar("_F", bound=Callable[..., object])
_ID = re.compile(r"(PT|NT)\d{2}|[A-Z]{3}-\d{2}")
_CALL = re.compile(r"covers\(([^)]*)\)", re.DOTALL)


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
        for call in _CALL.finditer(path.read_text()):
            for one in _ID.finditer(call.group(1)):
                found.setdefault(one.group(0), []).append(path.name)
    return found


def wanted() -> Iterator[str]:
    """Every id this version promises."""
    yield from (f"PT{n:02}" for n in range(1, 83))
    nt = [*range(1, 49), *range(56, 61), 62, 63, 64, 66, 67, 68, 69, 71, 73, 74, 79, 81, 82]
    yield from (f"NT{n:02}" for n in nt)
    yield from (f"PAY-{n:02}" for n in range(1, 28))
    yield from ("PRV-01", "PRV-02", "PRV-05", "PRV-06")


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
