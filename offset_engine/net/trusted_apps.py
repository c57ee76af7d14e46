"""The directory of app tickets a node trusts: who may do what. Two tickets of one key add up.

Source: apps.md §2.2; design R13; PROTOCOL.md, "Apps".
"""

from collections.abc import Mapping
from pathlib import Path

from offset_engine.core.app_messages import AppPermissions
from offset_engine.core.values import PublicKey
from offset_engine.files import AppTicket, Permissions, load
from offset_engine.net.trusted_directory import TrustedDirectory


class TrustedApps:
    """See the module. `read` may run in a thread, one at a time."""

    def __init__(self, directory: Path) -> None:
        """Nothing is read yet."""
        self._tickets = TrustedDirectory(directory, _load, "app ticket")

    def read(self) -> Mapping[PublicKey, AppPermissions]:
        """Who may do what, as the directory says now; never raises."""
        found: dict[PublicKey, AppPermissions] = {}
        for ticket in self._tickets.read():
            before = found.get(ticket.public_key, AppPermissions())
            found[ticket.public_key] = _sum(before, ticket.permissions)
        return found


def _load(path: Path) -> AppTicket:
    return load(path, AppTicket)


def _sum(before: AppPermissions, more: Permissions) -> AppPermissions:
    return AppPermissions(
        routes=before.routes or more.routes,
        buyer=before.buyer or more.buyer,
        seller=before.seller or more.seller,
        config=before.config or more.config,
        read=before.read or more.read,
        transactions=before.transactions or more.transactions,
    )
