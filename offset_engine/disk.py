"""Small text files: read with a cap, written atomically.

A reader sees the old file, the new file or none, also after a power failure. Whatever the system
refuses becomes one sentence.

A process killed while it writes leaves what it had written under a temporary name, `.offset-….tmp`; the next
write in the same directory removes it. Whoever writes keeps a lock on its temporary file until it has its
name, so no file that is just being written is taken for such a leftover.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import unquote

from offset_engine.errors import FileError
from offset_engine.file_lock import hold

FILE_BYTES_MAX: Final = 64 * 1024
"""More than any artifact needs; a longer file is something else."""
_STRANGERS: Final = (
    (
        b"SQLite format 3\0",
        "a database of SQLite, as nodes and cards keep one",
        "stnode runs on it",
    ),
    (b"OFFSEAL\x01\x01", "a sealed identity", "it belongs into a file of JSON"),
    (b"OFFSEAL\x01\x02", "a backup of a card", "offset restore makes a card of it"),
    (b"OFFSEAL\x01\x03", "the sealed database of a card", "it belongs into the card's directory"),
    (b"OFFSEAL", "something sealed by a newer version", "install that version"),
)
"""Files we write that are not small text files: how they begin, what they are, what they are good for."""
_PICTURES: Final = (
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (4, b"ftyp", "HEIC or AVIF"),
    (8, b"WEBP", "WebP"),
)
"""Pictures people may try, because a QR code can be in them: (where, what is there, which kind)."""
_NO_CAMERA: Final = (
    "QR codes in pictures are not read here: read it with a phone and paste the text that is in it, or ask for"
    " the text or the file itself"
)
_SECRET_MODE: Final = 0o600
_PUBLIC_MODE: Final = 0o644
_TEMPORARY: Final = re.compile(r"\.offset-[0-9a-f]{16}\.tmp")


class OtherFileError(FileError):
    """A small text file was needed, and this is a file of ours of another sort."""

    def __init__(self, path: Path | str, what: str, use: str) -> None:
        """Keep what it is and what it is good for."""
        super().__init__(f"{path}: this is {what}: {use}")
        self.what: Final = what
        self.use: Final = use


def path_of(text: str) -> Path:
    """The path, also if it comes as `file://…` the way file managers copy it."""
    if text[:7].lower() == "file://":
        host, slash, rest = text[7:].partition("/")
        if host in ("", "localhost"):
            return Path(unquote(slash + rest))
    return Path(text)


def expanded(typed: str) -> Path:
    """The path somebody typed, with `~` and `~user` as the directory they mean; also `file://…`.

    Raises:
        FileError: there is no such user, or no file can have such a name.
    """
    try:
        path = path_of(typed).expanduser()
    except RuntimeError:
        user = typed.partition("/")[0]
        raise FileError(f"{user} is nobody's home directory here; type the whole path") from None
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        # Whatever else is wrong with it, whoever uses it finds out.
        if isinstance(error, ValueError) or error.errno == errno.ENAMETOOLONG:
            raise FileError(f"{_shown(typed[:60])}: {_reason(error)}") from None
    return path


def read_file(path: Path | str) -> str:
    """Read a small text file; only an ordinary one, for a pipe would be waited for.

    Raises:
        OtherFileError: it is a backup or a database.
        FileError: it cannot be read, is longer than 64 KiB or is not UTF-8.
    """
    try:
        _need_name(path)
        with _ordinary(path_of(str(path))) as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {_shown(path)}: {_reason(error)}") from None
    for start, what, use in _STRANGERS:
        if raw.startswith(start):
            raise OtherFileError(path, what, use)
    if len(raw) > FILE_BYTES_MAX:
        raise FileError(f"{path}: {_not_ours(raw, 'it is longer than 64 KiB')}")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FileError(f"{path}: {_not_ours(raw, 'it is not UTF-8 text')}") from None


def _not_ours(raw: bytes, why: str) -> str:
    for at, sign, kind in _PICTURES:
        if raw[at : at + len(sign)] == sign:
            return f"this is a picture ({kind}). {_NO_CAMERA}"
    return f"this is not one of our files: {why}"


def _ordinary(path: Path) -> BinaryIO:
    """An ordinary file, open; a pipe nobody writes to does not block."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")  # noqa: PTH123
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError
    raise OSError(errno.EINVAL, "This is not an ordinary file")


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
    try:
        _need_name(path)
        if target.is_dir():
            raise IsADirectoryError
        if target.exists() and not target.is_file():
            raise FileError(f"{_shown(path)} is not an ordinary file; nothing was written")
        if not force:
            _refuse_existing(target)
        clear_leftovers(target.parent)
        mode = _SECRET_MODE if secret else _PUBLIC_MODE
        with _written(target.parent, raw, mode) as temporary:
            _place(temporary, target, force=force)
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


@contextlib.contextmanager
def _written(directory: Path, raw: bytes, mode: int) -> Iterator[Path]:
    """A temporary file with this content, on the disk; when the block ends, its name is gone."""
    path, file = _temporary(directory, mode)
    with file:
        try:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # an open file cannot be renamed there
            yield path
        finally:
            path.unlink(missing_ok=True)


def _temporary(directory: Path, mode: int) -> tuple[Path, BinaryIO]:
    """A new file, locked so that nobody takes it for a leftover."""
    while True:
        path = directory / f".offset-{secrets.token_hex(8)}.tmp"
        file = open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")  # noqa: PTH123, SIM115
        if _is_ours(path, file):
            return path, file
        file.close()


def _is_ours(path: Path, file: BinaryIO) -> bool:
    """Lock a new file; False if somebody is clearing it away, or just has."""
    try:
        hold(file.fileno())
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks, where nobody clears anything away
        return True
    return path.exists()


def clear_leftovers(directory: Path) -> None:
    """Remove what killed processes were writing in a directory; whatever cannot be removed stays."""
    try:
        found = [path for path in directory.iterdir() if _TEMPORARY.fullmatch(path.name)]
    except OSError:
        return
    for path in found:
        with contextlib.suppress(OSError):
            _clear(path)


def _clear(path: Path) -> None:
    """Remove a leftover; an OSError means that it is none, or cannot be removed."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        hold(descriptor)
        if sys.platform != "win32":
            path.unlink()
    finally:
        os.close(descriptor)
    if sys.platform == "win32":
        path.unlink()


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
