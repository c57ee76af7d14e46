"""Textual runs on asyncio only; times on screen are those of one zone."""

import time
from collections.abc import Iterator
from typing import Final

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The one event loop the app can run on."""
    return "asyncio"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same times on every computer."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


QUICK: Final = frozenset(
    {
        "test_acceptance",
        "test_activity",
        "test_balances",
        "test_demo",
        "test_driver",
        "test_help",
        "test_home",
        "test_pay",
        "test_qr",
        "test_receive",
        "test_table",
        "test_trade",
    }
)
"""The main journeys and sections. A test here takes about a second, and there are many hundreds."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quick run draws what people do every day at 80x24; all else, and 120x40, is left to the long one."""
    for item in items:
        if item.path.parent.name != "tui":
            continue
        call = getattr(item, "callspec", None)
        is_wide = call is not None and (120, 40) in call.params.values()
        if is_wide or item.path.stem not in QUICK:
            item.add_marker(pytest.mark.slow)
