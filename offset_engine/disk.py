"""Small text files: read with a cap, written atomically.

A reader sees the old file, the new file or none, also after a power failure. Whatever the system
refuses becomes one sentence.
"""

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from offset_engine.errors import FileError

FILE_BYTES_MAX: Final = 64 * 1024
"""More than any artifact needs; a longer file is something else."""
_SECRET_MODE: Final = 0o600
_PUBLIC_MODE: Final = 0o644


def path_of(text: str) -> Path:
    """The path, also if it comes as `file://…` the way file managers copy it."""
    if text[:7].lower() == "file://":
        host, slash, rest = text[7:].partition("/")
        if host in ("", "localhost"):
            return Path(unquote(slash + rest))
    return Path(text)


def read_file(path: Path | str) -> str:
    """Read a small text file.

    Raises:
        FileError: it cannot be read, is longer than 64 KiB or is not UTF-8.
    """
    try:
        _need_name(path)
        with path_of(str(path)).open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {_shown(path)}: {_reason(error)}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise FileError(f"{path}: this is not one of our files: it is longer than 64 KiB")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FileError(f"{path}: this is not one of our files: it is not UTF-8 text") from None


def write_file(path: Path | str, text: str, *, secret: bool = False, force: bool = False) -> None:
    """Write a whole text file at once; see `write_bytes`.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    write_bytes(path, text.encode(), secret=secret, force=force)


def write_bytes(path: Path | str, raw: bytes, *, secret: bool = False, force: bool = False) -> None:
    """Write a whole file at once: under a temporary name beside it, synced, then renamed.

    Args:
        path: where; its directory must exist.
        raw: the content.
        secret: only the owner may read it.
        force: replace a file that exists.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    target = Path(path)
    temporary = target.parent / f".offset-{secrets.token_hex(8)}.tmp"
    try:
        _need_name(path)
        if target.is_dir():
            raise IsADirectoryError
        if target.exists() and not target.is_file():
            raise FileError(f"{_shown(path)} is not an ordinary file; nothing was written")
        if not force:
            _refuse_existing(target)
        try:
            _write_synced(temporary, raw, _SECRET_MODE if secret else _PUBLIC_MODE)
            _place(temporary, target, force=force)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(target.parent)
    except FileExistsError:
        raise FileError(f"{path} exists already; choose another name or add --force") from None
    except (OSError, ValueError) as error:
        raise FileError(f"cannot write {_shown(path)}: {_reason(error)}") from None


def _need_name(path: Path | str) -> None:
    if not str(path):
        raise ValueError


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise FileExistsError


def _write_synced(path: Path, raw: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())


def _place(temporary: Path, target: Path, *, force: bool) -> None:
    if force:
        temporary.replace(target)
        return
    try:
        # Unlike a rename, a link never replaces what somebody else put there meanwhile.
        target.hardlink_to(temporary)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # a file system without links
        _refuse_existing(target)
        temporary.replace(target)


def sync_directory(path: Path) -> None:
    """Make the new name itself survive a power failure, where the system lets us."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _shown(path: Path | str) -> str:
    return str(path).replace("\0", "?") or '""'


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file or directory"
        case IsADirectoryError():
            return "this is a directory"
        case PermissionError():
            return "permission denied"
        case OSError(strerror=str(why)):
            return why[:1].lower() + why[1:]
        case _:
            return "this is not a name a file can have"
