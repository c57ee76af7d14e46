"""Where a program that runs for long writes what happens: one configuration for all of them.

| flags | goes to | level |
|---|---|---|
| none | stderr | `warning`: only what somebody should look at |
| `--log-file FILE` | the file, mode 0600 | `info`: also who comes and goes |
| `--log-level LEVEL` | as above | that one, and what is graver |

A file that would grow beyond `FILE_BYTES` is kept as `FILE.1` and begun anew; `FILES_KEPT` old ones are
kept, so all of them together have a bound. One line is one event:

    2026-03-01T12:00:00.123+01:00 INFO net.engine: friend PublicKey(kCvSFbyL) is online

Keys appear as the first eight characters of their text; secrets, amounts and balances never do. What
strangers say stands in a line with its control characters escaped, so nobody can forge a line.

    logs.add_flags(parser)
    with logs.written(args): ...        # or logs.written_to(level, path) for a program without these flags

Source: apps.md NOD-24; PROTOCOL.md, "Decisions".
"""

import argparse
import datetime
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from typing import Final, TextIO

from offset_engine.errors import FileError

LEVELS: Final = ("debug", "info", "warning", "error")
FILE_BYTES: Final = 4 * 1024 * 1024
FILES_KEPT: Final = 4
_OUR_PACKAGES: Final = ("offset_engine.", "offset_tui.")
_TEXT_MAX: Final = 2_000
"""Characters of one message: what strangers send must not fill the disk."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--log-level` and `--log-file`."""
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        metavar="LEVEL",
        help=f"how much to log: {', '.join(LEVELS)}; warning unless there is a file, then info",
    )
    parser.add_argument(
        "--log-file",
        metavar="FILE",
        help="log into this file instead of stderr; it is kept small by renaming older parts",
    )


@contextmanager
def written(args: argparse.Namespace) -> Iterator[None]:
    """Log as the flags of `add_flags` say, while the block runs.

    Raises:
        FileError: the file cannot be written.
    """
    with written_to(args.log_level, args.log_file):
        yield


@contextmanager
def written_to(level: str | None = None, path: str | None = None) -> Iterator[None]:
    """Log while the block runs; everything is as before afterwards.

    Args:
        level: one of `LEVELS`; None = what suits the place.
        path: the file; None = stderr.

    Raises:
        FileError: the file cannot be written.
    """
    handler = _handler(path)
    handler.setFormatter(_LineFormatter())
    root = logging.getLogger()
    before = root.level
    root.setLevel((level or ("warning" if path is None else "info")).upper())
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        handler.close()


def _handler(path: str | None) -> logging.Handler:
    if path is None:
        return logging.NullHandler() if sys.stderr is None else _Stderr(sys.stderr)
    try:
        if not path:
            raise FileError("cannot write the log: the name of its file is empty")
        return _PrivateFile(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    except OSError as error:
        raise FileError(f"cannot write the log {path}: {error.strerror}") from None
    except ValueError:
        raise FileError("cannot write the log: this is not a name a file can have") from None


class _Stderr(logging.StreamHandler[TextIO]):
    """Standard error, which may be closed at any time: then nobody is told, and nothing stops."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A log that cannot be written is no reason to do anything else."""


class _PrivateFile(RotatingFileHandler):
    """A file only its owner may read, and never larger than it may be."""

    def _open(self) -> io.TextIOWrapper:
        return open(
            self.baseFilename,
            "a",
            encoding="utf-8",
            errors="backslashreplace",
            opener=_open_private,
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A full disk must not fill stderr as well."""


def _open_private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)
    return descriptor


class _LineFormatter(logging.Formatter):
    """One line an event; the lines of a traceback are indented below it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC).astimezone()
        text = _escaped(record.getMessage()[:_TEXT_MAX])
        head = f"{at.isoformat(timespec='milliseconds')} {record.levelname} {_short(record.name)}"
        line = f"{head}: {text}"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "".join(f"\n    {_escaped(one)}" for one in trace.splitlines())
        return line


def _short(name: str) -> str:
    for package in _OUR_PACKAGES:
        name = name.removeprefix(package)
    return name


def _escaped(text: str) -> str:
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
