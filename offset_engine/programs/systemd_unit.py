"""Units for systemd, run by the user's own manager: what starts a program at login and again if it dies."""

import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path


def program_words(name: str, module: str) -> list[str]:
    """The installed program, else the module: systemd knows no virtual environment."""
    suffix = ".exe" if sys.platform == "win32" else ""
    installed = Path(sysconfig.get_path("scripts")) / f"{name}{suffix}"
    return [str(installed)] if installed.is_file() else [sys.executable, "-m", module]


def unit_text(description: str, command: Sequence[str]) -> str:
    """A unit; the ordinary end of every server of ours is SIGTERM, which is systemd's too.

    Args:
        description: our own words.
        command: the words of the command line, whatever is in them.
    """
    first, *rest = command
    words = " ".join([_word(first), *(_word(word).replace("$", "$$") for word in rest)])
    return f"""\
[Unit]
Description={description}

[Service]
ExecStart={words}
Restart=on-failure
RestartSec=5

[Install]
WantedBy=default.target
"""


def _word(word: str) -> str:
    """A word as systemd reads it back: quoted, `%` doubled, control characters as numbers."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    shown = "".join(f"\\x{ord(one):02x}" if ord(one) < 32 else one for one in escaped)
    return f'"{shown}"'
