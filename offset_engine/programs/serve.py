"""`offset serve`: a relay and an index server on one port and identity, for a household or a village.

    DIR/servers.ident    the secret key of both, made the first time
    DIR/servers.relay    the relay's ticket, with the address others dial
    DIR/servers.index    the index server's ticket
    DIR/trusted-servers  tickets of other index servers to share knowledge with, if they have ours

`--node` runs a card beside them (`own_card`). Programs of this user reach the servers without leaving the
machine, also if the address others dial cannot be reached from here (`net.nearby`).

Nothing is written before the port is ours. What a client asks for, relay or index server, is in its
handshake. Source: design R9, R40; apps.md §7.5.
"""

import argparse
import contextlib
import secrets
import shlex
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import platformdirs
from anyio.abc import TaskStatus

from offset_engine import qr
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, RelayAddress
from offset_engine.disk import path_of
from offset_engine.errors import FileError
from offset_engine.files import (
    Role,
    Servers,
    Ticket,
    load_identity,
    load_ticket,
    to_qr_text,
    to_text,
    write_identity,
    write_ticket,
)
from offset_engine.net.federation import FederationService
from offset_engine.net.index_engine import IndexEngine, index_engine
from offset_engine.net.nearby import LocalServers, dialable_here
from offset_engine.net.server_log import log_stats
from offset_engine.net.servers import IndexService, RelayService, Service, run_services
from offset_engine.net.transport import Connection, Endpoint
from offset_engine.net.trusted_servers import TrustedServers
from offset_engine.programs import logs, passphrases
from offset_engine.programs.arguments import Commands, Json, Output, listen_address
from offset_engine.programs.own_card import OwnCard
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.public_address import (
    listening_for,
    looked_up_warning_of,
    public_address,
)
from offset_engine.programs.serving import add_engine_flag, serve

_WHAT: Final = "Run a relay and an index server on one port, and print the text others paste."
_TICKETS: Final = (("servers.relay", Role.RELAY), ("servers.index", Role.INDEX))


def add_parser(commands: Commands) -> None:
    """Add `serve` to the subcommands of a program; its action is `act`."""
    parser = commands.add("serve", _WHAT)
    parser.add_argument(
        "--address",
        required=True,
        type=public_address,
        metavar="HOST:PORT",
        help="where others reach this machine: a name or an IP address, and a port",
    )
    parser.add_argument(
        "--listen",
        action="append",
        type=listen_address,
        metavar="HOST:PORT",
        help="where to listen, if not at that port of every network; may be given several times",
    )
    parser.add_argument(
        "--node", action="store_true", help="run a card as well, which uses these servers"
    )
    parser.add_argument(
        "--trusted",
        metavar="DIR",
        help="tickets of other index servers to share knowledge with; DIR/trusted-servers if not given",
    )
    parser.add_argument("--qr", action="store_true", help="draw a QR code also into a file or pipe")
    parser.add_argument("--ascii", action="store_true", help="draw it with # signs, for paper")
    parser.add_argument(
        "directory",
        nargs="?",
        metavar="DIR",
        help=f"where key and tickets are kept; {default_directory()} if not given",
    )
    add_engine_flag(parser)
    passphrases.add_new_flags(parser, "a new key", "the servers' first, then that of the card")
    logs.add_flags(parser)


def default_directory() -> Path:
    """Where `serve` keeps its key and tickets unless it is told."""
    return platformdirs.user_data_path("offset", appauthor=False) / "serve"


def act(args: argparse.Namespace, output: Output) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        FileError: the directory cannot be used, or holds what does not belong together.
        TransportError: the port cannot be listened at.
        EngineMissingError: the array engine is asked for and its libraries are not installed.
    """
    directory = default_directory() if args.directory is None else _directory_of(args.directory)
    with logs.written(args):
        engine = index_engine(args.engine)
        asked = Passphrases(args)
        kept = Kept(directory, _trusted_of(args), asked)
        card = OwnCard(directory, asked) if args.node else None
        ready = _Ready(args, output, kept, card)
        serve(partial(_serve, args, output, kept, ready, engine), ready, output)


def _directory_of(text: str) -> Path:
    if not text or "\0" in text:
        raise FileError("cannot keep the servers' key: this is not a name a directory can have")
    return path_of(text)


def _trusted_of(args: argparse.Namespace) -> Path | None:
    """The directory of trusted servers that was asked for; it has to be there."""
    if args.trusted is None:
        return None
    if not Path(args.trusted).is_dir():
        raise FileError(f"{args.trusted} is not a directory of tickets")
    return Path(args.trusted)


class Kept:
    """The key and the tickets in the directory; a new key is only on disk after `save`."""

    def __init__(
        self, directory: Path, trusted: Path | None = None, asked: Passphrases | None = None
    ) -> None:
        """Read what is there; trusted servers are looked for in `trusted`, by default inside it.

        `asked` knows the passphrase of a key that has one, or is to have one.

        Raises:
            FileError: it cannot be read, or the tickets are not this key's.
        """
        self.directory: Final = directory
        self.trusted: Final = trusted or directory / "trusted-servers"
        self._identity_path = directory / "servers.ident"
        self._is_new = not _exists(self._identity_path)
        self.identity: Final = (
            PrivateKey(secrets.token_bytes(PrivateKey.SIZE))
            if self._is_new
            else load_identity(self._identity_path, None if asked is None else asked.ask)
        )
        self._passphrase = (
            asked.ask_new_if_wanted(str(self._identity_path))
            if self._is_new and asked is not None
            else None
        )
        self.public_key: Final = public_key_of(self.identity)
        self._addresses = {name: self._address_in(name, role) for name, role in _TICKETS}

    def _address_in(self, name: str, role: Role) -> str | None:
        """The address a ticket of ours names, None if there is no ticket."""
        path = self.directory / name
        if not _exists(path):
            return None
        ticket = load_ticket(path, role)
        if ticket.public_key != self.public_key:
            which = "there is no" if self._is_new else "it is not the one in"
            raise FileError(
                f"{path} is the ticket of another key: {which} {self._identity_path}; "
                "put the key back, or move the ticket away"
            )
        return ticket.address

    def save(self, address: str) -> tuple[Path, ...]:
        """Write what is missing and tickets with another address; returns what was written.

        Raises:
            FileError: it cannot be written.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.trusted.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            verb = "write in" if self.directory.is_dir() else "make"
            raise FileError(f"cannot {verb} {self.directory}: {error.strerror}") from None
        written = []
        if self._is_new:
            write_identity(self._identity_path, self.identity, self._passphrase)
            written.append(self._identity_path)
        for name, role in _TICKETS:
            if self._addresses[name] != address:
                ticket = Ticket(self.public_key, address, role)
                write_ticket(self.directory / name, ticket, force=True)
                written.append(self.directory / name)
        return tuple(written)


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FileError(f"cannot use {path}: {error.strerror}") from None
    return True


class _Ready:
    """Tells the user what to hand over, once the port is listened at."""

    def __init__(
        self, args: argparse.Namespace, output: Output, kept: Kept, card: OwnCard | None = None
    ) -> None:
        self._args = args
        self._output = output
        self._kept = kept
        self.card: Final = card
        self.warning: str | None = None
        """What is odd about the address."""

    def __call__(self, addresses: Sequence[str]) -> None:
        address = self._args.address
        for path in self._kept.save(address):
            self._output.detail(f"wrote {path}")
        place = RelayAddress(self._kept.public_key, address)
        servers = Servers(place, place)
        files = [str(self._kept.directory / name) for name, _ in _TICKETS]
        if self.warning:
            self._output.note(f"warning: {self.warning}")
        self._output.result(
            {
                "text": to_text(servers),
                "qr_text": to_qr_text(servers),
                "address": address,
                "addresses": addresses,
                "public_key": place.public_key.to_text(),
                "directory": str(self._kept.directory),
                "relay": files[0],
                "index": files[1],
                "trusted": str(self._kept.trusted),
                "warnings": [self.warning] if self.warning else [],
                **self._card_values(),
            },
            self._text(servers, addresses, files),
        )

    def _text(self, servers: Servers, addresses: Sequence[str], files: Sequence[str]) -> str:
        key = servers.relay.public_key.to_text()
        parts = [f"relay and index server listening at {' '.join(addresses)} as {key}"]
        # The picture first: in a small terminal it scrolls away, and the text must not.
        if self._args.ascii:
            parts.append(qr.ascii_art(to_qr_text(servers)))
        elif self._args.qr or self._output.is_terminal:
            has_colors = self._output.is_terminal
            parts.append(qr.half_blocks(to_qr_text(servers), has_colors=has_colors))
        parts += [
            "Hand this text to everybody who should use them; it holds no secret:",
            to_text(servers),
        ]
        parts.append(
            f"The same as files, a relay's and an index server's ticket:\n{files[0]}\n{files[1]}"
        )
        parts.append(
            "To share what is known with another index server, exchange these .index files with its\n"
            f"operator. Theirs belongs into {self._kept.trusted}; no restart is needed."
        )
        if self.card is not None:
            socket_path = shlex.quote(str(self.card.socket))
            parts.append(
                f"The card {self.card.public_key.to_text()} runs beside them; control it with:\n"
                f"stctrl --socket {socket_path} info friends"
            )
        parts.append("They run until ctrl+c or SIGTERM.")
        return "\n\n".join(parts)

    def _card_values(self) -> dict[str, Json]:
        if self.card is None:
            return {}
        return {"card": self.card.public_key.to_text(), "socket": str(self.card.socket)}


async def _serve(
    args: argparse.Namespace,
    output: Output,
    kept: Kept,
    ready: _Ready,
    engine: IndexEngine | None = None,
    *,
    task_status: TaskStatus[tuple[str, ...]],
) -> None:
    engine = engine or index_engine("pure")
    ready.warning = await looked_up_warning_of(args.address)
    endpoint = Endpoint(kept.identity)
    reached = _first_reached(output)
    relay = RelayService(endpoint)
    index = IndexService(endpoint, engine.limits, engine.federation, engine.graph)
    federation = FederationService(endpoint, index, TrustedServers(kept.trusted, is_expected=False))
    services = [
        _Watched(relay, partial(reached, "relay")),
        _Watched(index, partial(reached, "index server")),
        _Watched(federation, partial(reached, "index server")),
    ]
    addresses = args.listen or [listening_for(args.address)]
    async with anyio.create_task_group() as tasks:
        bound = await tasks.start(partial(run_services, endpoint, addresses, services))
        tasks.start_soon(log_stats, "relay", lambda: relay.stats)
        tasks.start_soon(log_stats, "index server", lambda: index.stats)
        key, here, local = kept.public_key, dialable_here(bound[0]), LocalServers()
        with local.noted(key, here):
            if ready.card is not None:
                # Its own servers it finds in any case, whoever's note there is.
                await tasks.start(
                    ready.card.run,
                    key,
                    args.address,
                    lambda one: here if one == key else local.find(one),
                )
            task_status.started(bound)
            await anyio.sleep_forever()


def _first_reached(output: Output) -> Callable[[str, str], None]:
    """Says once that somebody outside this machine got through: address and port are right then."""
    said = False

    def reached(which: str, source: str) -> None:
        nonlocal said
        if not said and source and not _is_own_ip(source):
            said = True
            output.note(
                f"reached from outside this machine for the first time: the {which}, by {source}"
            )

    return reached


def _is_own_ip(ip: str) -> bool:
    """Whether an address is one of this machine's: only those can be bound to. Nothing is sent."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True


class _Watched:
    """A service that says where a proven client comes from before it serves it."""

    def __init__(self, service: Service, reached: Callable[[str], None]) -> None:
        self.purpose = service.purpose
        self._service = service
        self._reached = reached

    async def serve(self, connection: Connection) -> None:
        """Serve one connection until it has ended."""
        with contextlib.suppress(OSError):  # nobody reads what we say: no reason to serve nobody
            self._reached(connection.source)
        await self._service.serve(connection)

    async def run(self) -> None:
        """Keep the deadlines of the core, forever."""
        await self._service.run()

    def stop(self) -> None:
        """Tell everybody SHUTDOWN."""
        self._service.stop()
