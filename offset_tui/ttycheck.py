"""Whether there is a terminal the app can be shown in; without one Textual would hang or fill a file.

The screen is painted on standard error, so `offset 2>log` has none. Source: tui.md §2.6.
"""

import os
import sys
from typing import TextIO

_INSTEAD = "scripts and screen readers use the subcommands (offset --help)"


def why_no_screen() -> str | None:
    """One sentence saying why the app cannot be shown here; None if it can."""
    if not _is_terminal(sys.stdin):
        return f"the app needs a terminal, and standard input is none; {_INSTEAD}"
    if not _is_terminal(sys.stderr):
        return (
            "the app is painted on standard error, which is redirected; its log goes to a file "
            f"of its own; {_INSTEAD}"
        )
    kind = os.environ.get("TERM", "")
    if sys.platform != "win32" and kind in ("", "dumb", "unknown"):
        return (
            f"the app needs a terminal that can move its cursor, and TERM={kind} cannot; {_INSTEAD}"
        )
    return None


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False
