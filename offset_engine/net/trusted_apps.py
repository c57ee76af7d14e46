"""The directory of app tickets a node trusts, looked at again and again.

Every regular file in it whose name does not begin with a dot is an app ticket; sub-directories are
skipped. A file that is none, or cannot be read, is skipped with one warning until it changes: it keeps
nobody else out. Two tickets of one key add up. Files are read again only if they changed.

Source: apps.md §2.2; design R13; PROTOCOL.md, "Apps".
"""

import logging
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from offset_engine.core.app_messages import AppPermissions
from offset_engine.core.values import PublicKey
from offset_engine.errors import FileError
from offset_engine.files import AppTicket, Permissions, load

_log: Final = logging.getLogger(__name__)

TICKETS_MAX: Final = 1_000
"""Files looked at; more than one node's owner will ever make."""

_Look: TypeAlias = tuple[int, int, int]
"""What tells that a file changed: time of change (ns), size, inode."""


class TrustedApps:
    """See the module. `read` may run in a thread, one at a time."""

    def __init__(self, directory: Path) -> None:
        """Nothing is read yet."""
        self._directory = directory
        self._known: dict[str, tuple[_Look, AppTicket | None]] = {}
        self._trouble = ""

    def read(self) -> Mapping[PublicKey, AppPermissions]:
        """Who may do what, as the directory says now; never raises.

        Nobody may if the directory is gone. If it cannot be read for another reason (too many open
        files, say), what it said last still counts.
        """
        try:
            looks = _look_around(self._directory)
        except OSError as error:
            self._complain(f"cannot read the directory {self._directory}: {error.strerror}")
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                self._known.clear()
        else:
            many = len(looks) > TICKETS_MAX
            self._complain(
                f"{self._directory} has {len(looks)} files; only {TICKETS_MAX} are read"
                if many
                else ""
            )
            self._refresh(dict(list(looks.items())[:TICKETS_MAX]))
        found: dict[PublicKey, AppPermissions] = {}
        for _, ticket in self._known.values():
            if ticket is not None:
                before = found.get(ticket.public_key, AppPermissions())
                found[ticket.public_key] = _sum(before, ticket.permissions)
        return found

    def _complain(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble

    def _refresh(self, looks: Mapping[str, _Look]) -> None:
        for name in [name for name in self._known if name not in looks]:
            del self._known[name]
        for name, look in looks.items():
            known = self._known.get(name)
            if known is None or known[0] != look:
                self._known[name] = (look, _ticket(self._directory / name))


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
            looks[path.name] = (status.st_mtime_ns, status.st_size, status.st_ino)
    return looks


def _ticket(path: Path) -> AppTicket | None:
    try:
        return load(path, AppTicket)
    except FileError as error:
        _log.warning("skipping what is no app ticket: %s", error)
        return None


def _sum(before: AppPermissions, more: Permissions) -> AppPermissions:
    return AppPermissions(
        routes=before.routes or more.routes,
        buyer=before.buyer or more.buyer,
        seller=before.seller or more.seller,
        config=before.config or more.config,
        read=before.read or more.read,
        transactions=before.transactions or more.transactions,
    )
