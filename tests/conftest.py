"""Settings every layer of tests shares: hypothesis profiles and the event loop of anyio tests."""

import os

import hypothesis
import pytest

# No deadline anywhere: two busy cores make any single example slow now and then.
hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, print_blob=True
)
hypothesis.settings.register_profile(
    "night", max_examples=20_000, stateful_step_count=200, deadline=None, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The app and its node run on asyncio, so do the tests that use real sockets.

    A module that wants trio's virtual clock defines its own fixture of this name.
    """
    return "asyncio"
