"""Whole programs as processes: left to the long run, but for the one that kills them."""

import pytest

QUICK = ("test_kill",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes tens of seconds."""
    for item in items:
        module = item.path.stem
        if item.path.parent.name == "e2e" and module not in QUICK:
            item.add_marker(pytest.mark.slow)
