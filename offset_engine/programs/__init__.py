"""The command-line programs: thin, each one reads flags, calls the engine and reports."""

from typing import Final

VERSION: Final = "0.1.0"
"""What `-V` prints; a test holds it equal to the version in `pyproject.toml`."""
