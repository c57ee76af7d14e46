"""A profile: which node `stctrl` talks to, and as whom, when the flags do not say it.

A small TOML file: `idfile = "…"` and `ticket = "…"` for a node reached over the network, or `socket = "…"`
for one that the user runs on this machine. Names in it are relative to the directory it lies in. It holds
no secret, only where the secret is. The first of these counts: the flags, the file of `--profile`, the
file `OFFSET_PROFILE` names, the one in the user's own directory.

Source: apps.md CTL-01.
"""

import json
import os
import tomllib
from pathlib import Path
from typing import Final

import platformdirs

from offset_engine.core.values import is_text, value
from offset_engine.disk import path_of, read_file, write_file
from offset_engine.errors import FileError, OffsetError

VARIABLE: Final = "OFFSET_PROFILE"
_NAME_BYTES_MAX: Final = 4_096
_KEYS: Final = ("idfile", "ticket", "socket")


class NoNodeNamedError(OffsetError):
    """Neither flags nor a profile say which node is meant, and as whom."""


@value
class Profile:
    """Names of files; None = not said."""

    idfile: str | None = None
    ticket: str | None = None
    socket: str | None = None

    @property
    def is_by_socket(self) -> bool:
        """Whether it names a node of this machine, and nothing else."""
        return self.socket is not None and self.idfile is None and self.ticket is None

    @property
    def is_complete(self) -> bool:
        """Whether it says enough and not too much."""
        by_network = self.idfile is not None and self.ticket is not None
        return self.is_by_socket or (by_network and self.socket is None)


def default_path() -> Path:
    """Where the user's own profile is."""
    return platformdirs.user_config_path("offset", appauthor=False) / "stctrl.toml"


def profile_path(named: str | None) -> Path | None:
    """The profile that counts; None if there is none.

    Args:
        named: what `--profile` says.
    """
    path = named_path(named)
    is_wanted = named or os.environ.get(VARIABLE)
    return path if is_wanted or path.is_file() else None


def named_path(named: str | None) -> Path:
    """Where the profile that counts is, or would be."""
    chosen = named or os.environ.get(VARIABLE)
    return path_of(chosen) if chosen else default_path()


def read_profile(path: Path) -> Profile:
    """Read a profile; what it does not name stays None.

    Raises:
        FileError: it cannot be read, is no TOML, or says something else.
    """
    try:
        values = tomllib.loads(read_file(path))
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"{path}: this is no profile: {error}") from None
    for key, found in values.items():
        if key not in _KEYS:
            raise FileError(f"{path}: a profile has {', '.join(_KEYS)}, not {key[:40]!a}")
        if not isinstance(found, str) or not found:
            raise FileError(f"{path}: {key} has to be the name of a file, in quotes")
    return Profile(*(_beside(path, values.get(key)) for key in _KEYS))


def _beside(path: Path, name: str | None) -> str | None:
    return None if name is None else str(path.parent / path_of(name).expanduser())


def complete(given: Profile, named: str | None) -> Profile:
    """What is to be used: what was given, and from the profile what is missing.

    Args:
        given: what the flags say.
        named: what `--profile` says.

    Raises:
        NoNodeNamedError: it says too little, or too much.
        FileError: the profile is no good.
    """
    if given.is_complete:
        return given
    if given.socket is not None:
        raise NoNodeNamedError("give -I/--idfile and -T/--ticket, or -S/--socket alone")
    path = profile_path(named)
    found = Profile() if path is None else read_profile(path)
    if given != Profile():
        found = Profile(given.idfile or found.idfile, given.ticket or found.ticket)
    elif path is not None and not found.is_complete:
        raise FileError(f"{path}: a profile names idfile and ticket, or socket alone")
    if not found.is_complete:
        raise NoNodeNamedError(
            "give -I/--idfile and -T/--ticket, or -S/--socket; "
            "with save-profile they need not be given again"
        )
    return found


def write_profile(path: Path, profile: Profile, *, force: bool) -> None:
    """Write a profile with absolute names; its directory is made if it is missing.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    names = {key: getattr(profile, key) for key in _KEYS}
    lines = [
        f"{key} = {_quoted(str(path_of(name).absolute()))}\n"
        for key, name in names.items()
        if name is not None
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise FileError(f"cannot make {path.parent}: {error.strerror}") from None
    write_file(path, "".join(lines), force=force)


def _quoted(text: str) -> str:
    """A TOML string, which a JSON string is, too, as long as it escapes nothing beyond ASCII."""
    if not is_text(text, _NAME_BYTES_MAX):
        raise FileError(f"{text[:80]!a}: this name cannot stand in a profile")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
