"""A directory of files somebody trusts, looked at again and again.

Every regular file in it whose name does not begin with a dot counts; sub-directories are skipped. A file
that is not what it should be is skipped with one warning until it changes: it keeps nobody else out. Files
are read again only if they, or who may read them, changed. One that cannot be read for a reason that passes
(too many open files, say) is tried again with every look, and what it said last counts meanwhile.

Source: apps.md §2.2; PROTOCOL.md, "Apps" and "Index servers: federation".
"""

import logging
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, TypeAlias, TypeVar

from offset_engine.errors import FileError

_log: Final = logging.getLogger(__name__)

FILES_MAX: Final = 1_000
"""Files looked at; more than anybody will ever put there."""

_Look: TypeAlias = tuple[int, int, int, int]
"""What tells that a file changed: times of its content and of its owner and rights (ns), size, inode."""
_T = TypeVar("_T")


class TrustedDirectory(Generic[_T]):
    """See the module. `read` may run in a thread, one at a time."""

    def __init__(
        self, directory: Path, load: Callable[[Path], _T], what: str, *, is_expected: bool = True
    ) -> None:
        """Nothing is read yet.

        Args:
            directory: where the files are.
            load: reads one file; raises `FileError` if it is no such file.
            what: what a file should be, for the log: "app ticket".
            is_expected: whether it is worth a warning if there is no such directory.
        """
        self._is_expected = is_expected
        self._directory = directory
        self._load = load
        self._what = what
        self._known: dict[str, tuple[_Look | None, _T | None]] = {}
        """By file name; without a look it is to be tried again."""
        self._troubles: dict[str, str] = {}
        """What was said of a file that could not be read, so that it is said once."""
        self._trouble = ""

    def read(self) -> tuple[_T, ...]:
        """What the directory says now, by file name; never raises.

        Nothing if the directory is gone. If it cannot be read for another reason (too many open
        files, say), what it said last still counts.
        """
        try:
            looks = _look_around(self._directory)
        except OSError as error:
            if self._is_expected or not isinstance(error, FileNotFoundError):
                self._complain(f"cannot read the directory {self._directory}: {error.strerror}")
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                self._known.clear()
        else:
            many = len(looks) > FILES_MAX
            self._complain(
                f"{self._directory} has {len(looks)} files; only {FILES_MAX} are read"
                if many
                else ""
            )
            self._refresh(dict(list(looks.items())[:FILES_MAX]))
        found = (self._known[name][1] for name in sorted(self._known))
        return tuple(one for one in found if one is not None)

    def _complain(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble

    def _refresh(self, looks: Mapping[str, _Look]) -> None:
        for name in [name for name in self._known if name not in looks]:
            del self._known[name]
            self._troubles.pop(name, None)
        for name, look in looks.items():
            known = self._known.get(name)
            if known is None or known[0] != look:
                self._known[name] = self._try(self._directory / name, look)
                if self._known[name][0] is not None:
                    self._troubles.pop(name, None)

    def _try(self, path: Path, look: _Look) -> tuple[_Look | None, _T | None]:
        try:
            return look, self._load(path)
        except FileError as error:
            cause = error.__context__  # what the sentence was made of
            passes = isinstance(cause, OSError) and not isinstance(cause, PermissionError)
            if self._troubles.get(path.name) != str(error):
                _log.warning("skipping what is no %s: %s", self._what, error)
            if not passes:
                return look, None
            self._troubles[path.name] = str(error)
            return None, self._known.get(path.name, (None, None))[1]


def _look_around(directory: Path) -> dict[str, _Look]:
    looks: dict[str, _Look] = {}
    for path in sorted(directory.iterdir()):
        if path.name.startswith("."):
            continue
        try:
            status = path.stat()
        except OSError:  # gone meanwhile, or a link to nowhere
            continue
        if stat.S_ISREG(status.st_mode):
            times = (status.st_mtime_ns, status.st_ctime_ns)
            looks[path.name] = (*times, status.st_size, status.st_ino)
    return looks
