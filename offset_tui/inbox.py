"""The watched folder: files that arrive there are offered for review, and nothing more.

The folder is looked at every few seconds. Files that were there at the beginning are left alone, so is
whatever is no small regular file; nothing is ever changed or removed. Source: apps.md S38; design R48.
"""

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from offset_engine import files
from offset_engine.errors import FileError
from offset_engine.files import Artifact, is_secret

LOOK_EVERY_S: Final = 5.0
FILE_BYTES_MAX: Final = 65_536
FILES_MAX: Final = 1_000
"""More entries than this are not looked at."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file with something to look at."""

    path: Path
    artifact: Artifact


@dataclass(slots=True)
class Inbox:
    """A folder and what was in it at the last look. `look` is slow: call it in a worker thread."""

    folder: Path
    _seen: dict[str, tuple[int, int]] | None = None
    problem: str = ""
    """Why it could not be read at the last look; "" if it could."""
    _unread: dict[str, tuple[int, int]] = field(default_factory=dict)

    def look(self) -> list[Arrived]:
        """What has come since the last look; a file is taken once it stopped growing."""
        now = self._entries()
        if now is None:
            return []
        if self._seen is None:
            self._seen = now
            return []
        found: list[Arrived] = []
        for name, state in sorted(now.items()):
            if self._seen.get(name) == state:
                continue
            if self._unread.get(name) != state:
                self._unread[name] = state
                continue
            del self._unread[name]
            self._seen[name] = state
            found += _read(self.folder / name)
        if not self.problem:
            self._seen = {name: state for name, state in self._seen.items() if name in now}
            self._unread = {name: state for name, state in self._unread.items() if name in now}
        return found

    def _entries(self) -> dict[str, tuple[int, int]] | None:
        """(size, time of change) of every small regular file; None if the folder cannot be read."""
        found: dict[str, tuple[int, int]] = {}
        self.problem = ""
        try:
            for number, path in enumerate(self.folder.iterdir()):
                if number >= FILES_MAX:
                    self.problem = f"there are more than {FILES_MAX} files in {self.folder}"
                    break
                try:
                    status = path.lstat()
                except FileNotFoundError:
                    continue  # it went while we looked
                if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= FILE_BYTES_MAX:
                    found[path.name] = (status.st_size, status.st_mtime_ns)
        except OSError as error:
            self.problem = f"cannot look into {self.folder}: {error.strerror}"
            return None
        return found


def _read(path: Path) -> list[Arrived]:
    try:
        artifacts = files.load_any(path)
    except FileError:
        return []
    return [Arrived(path, one) for one in artifacts if not is_secret(one.content)]
