"""Whole programs as processes: left to the long run."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes tens of seconds."""
    for item in items:
        if item.path.parent.name == "e2e":
            item.add_marker(pytest.mark.slow)
