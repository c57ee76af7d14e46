"""The tickets in a card's `trusted` directory: apps of other devices that may use the card.

The node that runs looks at the directory itself (`net.trusted_apps`); here its owner does.
"""

from pathlib import Path

from offset_engine.cards.values import AppInfo, CardError, slug_of
from offset_engine.core.values import PublicKey
from offset_engine.disk import read_file, write_file
from offset_engine.errors import FileError
from offset_engine.files import AppTicket, Permissions, load, parse, write

_EXTENSION = ".ticket"


def listed(trusted: Path) -> tuple[AppInfo, ...]:
    """What is in the directory, by name.

    Raises:
        CardError: it cannot be read.
    """
    return tuple(_look(path) for path in _paths(trusted))


def trust(trusted: Path, name: str, key: PublicKey, permissions: Permissions) -> str:
    """Write a ticket; returns the name it got.

    Raises:
        CardError: there is one of this name.
        FileError: it cannot be written.
    """
    slug = slug_of(name)
    path = trusted / f"{slug}{_EXTENSION}"
    if path.exists():
        raise CardError(f"there is an app {slug} already; choose another name")
    write(path, AppTicket(key, permissions))
    return slug


def distrust(trusted: Path, name: str) -> None:
    """Remove a ticket.

    Raises:
        CardError: there is none of this name, or it cannot be removed.
    """
    found = [path for path in _paths(trusted) if path.stem == name]
    if not found:
        raise CardError(f"there is no app {name[:80]!a}")
    try:
        found[0].unlink()
    except OSError as error:
        raise CardError(f"cannot remove {found[0]}: {error.strerror}") from None


def tickets(trusted: Path) -> tuple[tuple[str, str], ...]:
    """Names and contents of the tickets that count, for a backup."""
    return tuple(
        (path.stem, read_file(path)) for path in _paths(trusted) if not _look(path).problem
    )


def keep(trusted: Path, name: str, ticket: str) -> None:
    """Write a ticket that comes from a backup.

    Raises:
        FileError: it is none, or cannot be written.
    """
    parse(ticket, AppTicket)
    write_file(trusted / f"{slug_of(name)}{_EXTENSION}", ticket, force=True)


def _paths(trusted: Path) -> list[Path]:
    if not trusted.is_dir():
        return []
    try:
        entries = sorted(trusted.iterdir())
    except OSError as error:
        raise CardError(f"cannot read {trusted}: {error.strerror}") from None
    return [path for path in entries if path.is_file() and not path.name.startswith(".")]


def _look(path: Path) -> AppInfo:
    try:
        ticket = load(path, AppTicket)
    except FileError as error:
        return AppInfo(path.stem, None, None, str(error))
    return AppInfo(path.stem, ticket.public_key, ticket.permissions)
