"""Textual runs on asyncio only; times on screen are those of one zone."""

import time
from collections.abc import Iterator

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every screen is drawn at 80x24 in the quick run; the same at 120x40 is left to the long one."""
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and (120, 40) in call.params.values():
            item.add_marker(pytest.mark.slow)
