"""`offset init node|relay|index DIR`: a directory with everything one of the servers needs to start.

| kind | in the directory |
|---|---|
| node | `node.ident`, `node.ticket`, `node.db`, `trusted/`, `offset-node.service` |
| relay | `relay.ident`, `relay.relay`, `offset-relay.service` |
| index | `index.ident`, `index_client.index`, `offset-index.service` |

The last one is a unit for systemd, run by the user's own manager. Nothing that exists is replaced, and
what fails leaves nothing behind. Source: apps.md §6.1; offset-docs "Node", "Relay", "Index".
"""

import argparse
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, PublicKey, value
from offset_engine.disk import path_of, write_file
from offset_engine.errors import FileError, OffsetError
from offset_engine.files import Ticket, write_identity, write_ticket
from offset_engine.programs import passphrases
from offset_engine.programs.arguments import Commands, Output
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.public_address import listening_for, public_address, warning_of
from offset_engine.programs.systemd_unit import program_words, unit_text
from offset_engine.sealed import Passphrase
from offset_engine.store import SqliteStore

_WHAT: Final = "Make a directory with everything a node, a relay or an index server needs."


@value
class _Kind:
    """How the files of one kind are called, and the program that runs it."""

    program: str
    ticket: str
    listen_flag: str
    what: str
    """With its article."""
    ticket_is_for: str


_KINDS: Final = {
    "node": _Kind("stnode", "node.ticket", "--laddr", "a node", "apps that shall connect to it"),
    "relay": _Kind("strelay", "relay.relay", "--laddr", "a relay", "everybody who should use it"),
    "index": _Kind(
        "stindex",
        "index_client.index",
        "--lclient",
        "an index server",
        "everybody who should use it",
    ),
}


def add_parser(commands: Commands) -> None:
    """Add `init` to the subcommands of a program; its action is `act`."""
    parser = commands.add("init", _WHAT)
    parser.add_argument("kind", choices=list(_KINDS), help="what the directory is for")
    parser.add_argument("directory", metavar="DIR", help="made if it is not there")
    parser.add_argument(
        "--address",
        required=True,
        type=public_address,
        metavar="HOST:PORT",
        help="where others reach it: a name or an IP address, and a port",
    )
    passphrases.add_new_flags(parser, "its identity")


def act(args: argparse.Namespace, output: Output) -> None:
    """Make the directory and say how to start what is in it.

    Raises:
        FileError: something that would be made exists already, or cannot be written.
        StoreError: the database cannot be written.
    """
    directory = _directory_of(args.directory)
    scaffold = _Scaffold(directory, args.kind, args.address)
    passphrase = Passphrases(args).ask_new_if_wanted(str(scaffold.identity))
    public_key = scaffold.make(passphrase)
    for path in scaffold.paths:
        output.detail(f"wrote {path}")
    if passphrase is not None:
        output.note(
            "note: systemd cannot type the passphrase: start it by hand, or give it --passphrase-fd"
        )
    warning = warning_of(args.address)
    if warning is not None:
        output.note(f"warning: {warning}")
    command = shlex.join(scaffold.command)
    at_login = shlex.join(["systemctl", "--user", "enable", "--now", str(scaffold.unit)])
    output.result(
        {
            "kind": args.kind,
            "directory": str(directory),
            "address": args.address,
            "public_key": public_key.to_text(),
            "files": [str(path) for path in scaffold.paths],
            "ticket": str(scaffold.ticket),
            "command": command,
            "unit": str(scaffold.unit),
            "enable": at_login,
            "warnings": [] if warning is None else [warning],
        },
        _text(scaffold, public_key, command, at_login),
    )


def _text(scaffold: "_Scaffold", public_key: PublicKey, command: str, at_login: str) -> str:
    lines = [
        f"{scaffold.directory} is ready for {_KINDS[scaffold.kind].what}: {public_key.to_text()}",
        "",
        "Start it:",
        f"  {command}",
        "or have systemd run it whenever you are logged in:",
        f"  {at_login}",
        "",
        f"Give {scaffold.ticket} to {_KINDS[scaffold.kind].ticket_is_for}.",
    ]
    if scaffold.kind == "node":
        lines.append(
            f"An app may connect when its ticket (stmgr app-ticket) is in {scaffold.trusted}."
        )
    lines.append(f"{scaffold.identity} is its secret key: show it to nobody, and keep a copy.")
    return "\n".join(lines)


def _directory_of(text: str) -> Path:
    """The directory as an absolute path: systemd and scripts start elsewhere.

    Raises:
        FileError: no such directory can be made, or its name cannot stand in a text file.
    """
    try:
        text.encode()
        if not text or "\0" in text:
            raise FileError(f"{text!a} is not a name a directory can have")
        directory = path_of(text).absolute()
        if directory.exists() and not directory.is_dir():
            raise FileError(f"{directory} is not a directory")
    except UnicodeEncodeError:
        raise FileError(f"{text!a} is not text: choose a name that is") from None
    except OSError as error:
        raise FileError(f"cannot use {text}: {error.strerror}") from None
    return directory


class _Scaffold:
    """What will stand in the directory."""

    def __init__(self, directory: Path, kind: str, address: str) -> None:
        self.directory: Final = directory
        self.kind: Final = kind
        self._address = address
        self.identity: Final = directory / f"{kind}.ident"
        self.ticket: Final = directory / _KINDS[kind].ticket
        self.database: Final = directory / "node.db"
        self.trusted: Final = directory / "trusted"
        self.unit: Final = directory / f"offset-{kind}.service"
        of_node = (self.database, self.trusted) if kind == "node" else ()
        self.paths: Final = (self.identity, self.ticket, *of_node, self.unit)
        """Everything that is made in the directory."""

    @property
    def command(self) -> list[str]:
        """The words that start it, wherever one is."""
        its = _KINDS[self.kind]
        listening = [its.listen_flag, listening_for(self._address)]
        program = program_words(its.program, f"offset_engine.programs.{its.program}")
        words = [*program, "--idfile", str(self.identity), *listening]
        if self.kind == "node":
            words += ["--database", str(self.database), "--trusted", str(self.trusted)]
        return words

    def make(self, passphrase: Passphrase | None = None) -> PublicKey:
        """Make all of it or nothing; gives the public key of the new identity.

        Raises:
            FileError: a file exists already or cannot be written.
            StoreError: the database cannot be written.
        """
        had_directory = self.directory.exists()
        made: list[Path] = []
        try:
            self._make_directories(had_directory=had_directory)
            private_key = PrivateKey(secrets.token_bytes(PrivateKey.SIZE))
            public_key = public_key_of(private_key)
            if self.kind == "node":
                made.append(self.trusted)
            write_identity(self.identity, private_key, passphrase)
            made.append(self.identity)
            write_ticket(self.ticket, Ticket(public_key, self._address))
            made.append(self.ticket)
            if self.kind == "node":
                SqliteStore.create(self.database, public_key).close()
                made.append(self.database)
            description = f"Offset {_KINDS[self.kind].what} at {self._address}"
            write_file(self.unit, unit_text(description, self.command))
        except OffsetError:
            _remove(made if had_directory else [*made, self.directory])
            raise
        return public_key

    def _make_directories(self, *, had_directory: bool) -> None:
        try:
            if had_directory:
                present = {path.name for path in self.directory.iterdir()}
                taken = [str(path) for path in self.paths if path.name in present]
                if taken:
                    raise FileError(
                        f"{taken[0]} exists already, and nothing is ever replaced; choose another directory"
                    )
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.kind == "node":
                self.trusted.mkdir(mode=0o700)
        except OSError as error:
            verb = "write in" if self.directory.is_dir() else "make"
            raise FileError(f"cannot {verb} {self.directory}: {error.strerror}") from None


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        try:
            path.rmdir() if path.is_dir() else path.unlink()
        except OSError:  # the failure that led here is what the user should read
            continue
