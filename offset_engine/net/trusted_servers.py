"""The directory of tickets of index servers that one trusts, as their operators handed them over.

A ticket whose address cannot be dialled still says whom to trust: that server has to dial us. Of several
tickets of one key the first by name counts. Source: apps.md §2.2; offset-docs "Running your own index
server"; PROTOCOL.md, "Index servers: federation".
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from offset_engine.core.values import PublicKey, parse_address
from offset_engine.files import Role, Ticket, load_ticket
from offset_engine.net.trusted_directory import TrustedDirectory

_log: Final = logging.getLogger(__name__)


class TrustedServers:
    """See the module. `read` may run in a thread, one at a time."""

    def __init__(self, directory: Path, *, is_expected: bool = True) -> None:
        """Nothing is read yet; `is_expected` says whether there should be such a directory."""
        what = "index server's ticket"
        self._tickets = TrustedDirectory(directory, _load, what, is_expected=is_expected)

    def read(self) -> Mapping[PublicKey, str | None]:
        """Server → where to dial it, None if that is not known; never raises."""
        found: dict[PublicKey, str | None] = {}
        for key, address in self._tickets.read():
            found.setdefault(key, address)
        return found


class NobodyTrusted:
    """For a server that stands alone."""

    def read(self) -> Mapping[PublicKey, str | None]:
        """Nobody."""
        return {}


def _load(path: Path) -> tuple[PublicKey, str | None]:
    ticket: Ticket = load_ticket(path, Role.INDEX)
    try:
        return ticket.public_key, parse_address(ticket.address)
    except ValueError as error:
        _log.warning("%s: waiting to be dialled by this index server: %s", path, error)
        return ticket.public_key, None
