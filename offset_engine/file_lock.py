"""A lock on a file that ends with the process that holds it, however that ends.

The file stays behind and says who held the lock last; only the lock itself counts.
"""

import contextlib
import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NOTE_BYTES_MAX = 4_096
# Windows locks bytes, and locked bytes cannot be read by others: far behind any note.
_LOCKED_AT = 1 << 20


class FileHeldError(Exception):
    """Somebody else holds the lock; `note` is what they left in the file, foreign text."""

    def __init__(self, note: str) -> None:
        super().__init__("somebody else holds this lock")
        self.note = note


class FileLock:
    """Holds a lock from the moment it is made until `release`, also against others of this process."""

    def __init__(self, path: Path, note: str = "", *, waits: bool = False) -> None:
        """Take the lock; the file is made for the owner only, its directory must be there.

        Args:
            path: the file.
            note: what to leave in it for those who find it locked; "" leaves it as it is.
            waits: wait until it is free instead of failing; for locks held for moments.

        Raises:
            FileHeldError: it is not free.
            OSError: the system refuses.
        """
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(self._descriptor, waits=waits)
        except OSError:
            found = note_in(path)
            self.release()
            raise FileHeldError(found) from None
        if note:
            self._leave(note)

    def _leave(self, note: str) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, note.encode())

    def release(self) -> None:
        """Let others in; doing it twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def hold(descriptor: int) -> None:
    """Lock an open file until it is closed; on Windows, where open files cannot be removed, do nothing.

    Raises:
        BlockingIOError: somebody else has it locked.
        OSError: the file system knows no locks.
    """
    if sys.platform != "win32":
        _lock(descriptor, waits=False)


def note_in(path: Path) -> str:
    """What the last holder left in a lock file; "" if nothing can be read."""
    try:
        with path.open("rb") as file:
            return file.read(_NOTE_BYTES_MAX).decode(errors="replace")
    except OSError:
        return ""


def _lock(descriptor: int, *, waits: bool) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_AT, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if waits else msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
