"""Servers that run on this machine, so that its programs reach them without leaving it.

Many home routers do not let a machine reach itself at the address it has outside. So `offset serve` leaves a
note: a file named after the server's key that says where it listens here. Programs of the same user dial
that place first, then the address they were given. The key is proven by the handshake either way, so a
note that is out of date, or a lie, costs a short attempt now and then (`StaleNotes`) and nothing else.

    <data directory of the user>/local-servers/<key>        one line: 127.0.0.1:4567

Source: apps.md §7.5; PROTOCOL.md, "Decisions".
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import platformdirs

from offset_engine.core.values import PublicKey, parse_address
from offset_engine.disk import read_file, write_file
from offset_engine.errors import FileError

_log: Final = logging.getLogger(__name__)

_LOOPBACKS: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - nothing is bound here


STALE_MS: Final = 300_000
"""How long a place is not dialled after it cost time for nothing."""


def nobody_nearby(_key: PublicKey) -> str | None:
    """For programs that dial every server at the address they were given."""
    return None


class StaleNotes:
    """Which places on this machine did not answer lately; one for everything an endpoint dials.

    Another user may sit at the port of a server that was killed, and say nothing.
    """

    def __init__(self) -> None:
        """Every note is worth an attempt."""
        self._until_ms: dict[tuple[PublicKey, str], int] = {}

    def has(self, key: PublicKey, place: str, now_ms: int) -> bool:
        """Whether the note that this key listens at `place` is to be passed over (monotonic ms)."""
        return self._until_ms.get((key, place), now_ms) > now_ms

    def add(self, key: PublicKey, place: str, now_ms: int) -> None:
        """An attempt at `place` took its time and came to nothing."""
        kept = {one: until for one, until in self._until_ms.items() if until > now_ms}
        self._until_ms = {**kept, (key, place): now_ms + STALE_MS}

    def drop(self, key: PublicKey, place: str) -> None:
        """There is nothing better to dial than `place`."""
        self._until_ms.pop((key, place), None)


class LocalServers:
    """The notes in one directory; see the module."""

    def __init__(self, directory: Path | None = None) -> None:
        """Use this directory; None = the user's own. It is made when the first note is left."""
        if directory is None:
            directory = platformdirs.user_data_path("offset", appauthor=False) / "local-servers"
        self._directory = directory

    def find(self, key: PublicKey) -> str | None:
        """Where on this machine a server with this key should be listening, if one left a note."""
        with contextlib.suppress(FileError, ValueError):
            return parse_address(read_file(self._path(key)).strip())
        return None

    @contextlib.contextmanager
    def noted(self, key: PublicKey, address: str) -> Iterator[None]:
        """Leave a note while the block runs; without it everything works as well, mostly."""
        path = self._path(key)
        text = f"{address}\n"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(path, text, force=True)
        except (FileError, OSError) as error:
            _log.warning("other programs here are not told where the server is: %s", error)
        try:
            yield
        finally:
            # Another server with this key may have left its own note meanwhile.
            with contextlib.suppress(FileError, OSError):
                if read_file(path) == text:
                    path.unlink()

    def _path(self, key: PublicKey) -> Path:
        return self._directory / key.to_text()


def dialable_here(bound: str) -> str:
    """How programs of this machine reach what listens at `bound`, which may mean every address."""
    host, _, port = bound.rpartition(":")
    return f"{_LOOPBACKS.get(host, host)}:{port}"
