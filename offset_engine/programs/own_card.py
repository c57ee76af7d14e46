"""The card of `offset serve --node`: a node in the same process, which uses the servers it runs beside.

    DIR/node.ident     the card's secret key, made the first time
    DIR/node.db        its database
    DIR/node.db.sock   where programs of the same user find it, while it runs

Nothing is written before the servers listen. At every start the card is told where its servers are
reached from outside, which is what its friends get to read. Source: design R47; apps.md §7.5.
"""

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from offset_engine.core.api import AddIndexServer, AddRelay, Batch
from offset_engine.core.app_messages import AppPermissions
from offset_engine.core.crypto import public_key_of
from offset_engine.core.state import NodeState
from offset_engine.core.values import NamedAddress, PrivateKey, PublicKey
from offset_engine.errors import FileError
from offset_engine.files import load_identity, write_identity
from offset_engine.net.app_server import run_node
from offset_engine.net.engine import Engine
from offset_engine.net.transport import Endpoint
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.stnode import socket_of
from offset_engine.store import SqliteStore

SERVER_NAME: Final = "own"
"""What the card calls the servers it runs beside."""


class _Nobody:
    """No app comes in by port: programs of the same user have the socket."""

    def read(self) -> Mapping[PublicKey, AppPermissions]:
        return {}


class OwnCard:
    """The card in one directory; see the module."""

    def __init__(self, directory: Path, asked: Passphrases) -> None:
        """Read its key, or make up a new one; nothing is written yet. `asked` knows its passphrase.

        Raises:
            FileError: the key cannot be read, or there is a database without its key.
        """
        self._identity_path = directory / "node.ident"
        self._database = directory / "node.db"
        try:
            self._is_new = not self._identity_path.exists()
            has_database = self._database.exists()
        except OSError as error:
            raise FileError(f"cannot use {directory}: {error.strerror}") from None
        if self._is_new and has_database:
            raise FileError(
                f"{self._database} is there but not its key {self._identity_path}; "
                "put the key back, or move the database away"
            )
        self._identity = (
            PrivateKey(secrets.token_bytes(PrivateKey.SIZE))
            if self._is_new
            else load_identity(self._identity_path, asked.ask)
        )
        self._passphrase = (
            asked.ask_new_if_wanted(str(self._identity_path)) if self._is_new else None
        )
        self.public_key: Final = public_key_of(self._identity)
        self.socket: Final = socket_of(self._database)

    async def run(
        self,
        servers: PublicKey,
        address: str,
        nearby: Callable[[PublicKey], str | None],
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be the card until cancelled.

        Args:
            servers: the key of the relay and index server it runs beside.
            address: where others reach them.
            nearby: where on this machine a server with a key listens.
            task_status: told once the card runs.

        Raises:
            FileError: the key cannot be written.
            StoreError: the database cannot be opened, is another card's or another program runs on it.
        """
        store = self._open()
        try:
            engine = Engine(
                self._identity,
                store,
                diagnostics=self._database.with_name(self._database.name + ".diagnostics"),
                nearby=nearby,
            )
            async with anyio.create_task_group() as tasks:
                node = partial(
                    run_node, engine, Endpoint(self._identity), [], _Nobody(), self.socket
                )
                await tasks.start(node)
                own = NamedAddress(servers, address, SERVER_NAME)
                wanted = _missing(engine.state, own)
                if wanted.commands:
                    await engine.command(wanted)
                task_status.started()
        finally:
            store.close()

    def _open(self) -> SqliteStore:
        try:
            self._database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot make {self._database.parent}: {error.strerror}") from None
        if self._is_new:
            write_identity(self._identity_path, self._identity, self._passphrase)
            self._is_new = False
        if self._database.exists():
            return SqliteStore.open(self._database, self.public_key)
        return SqliteStore.create(self._database, self.public_key)


def _missing(state: NodeState, own: NamedAddress) -> Batch:
    """What tells the card of its servers; a name the owner chose is kept."""
    relay = next((one for one in state.relays if one.public_key == own.public_key), None)
    index = next((one for one in state.index_servers if one.public_key == own.public_key), None)
    commands: list[AddRelay | AddIndexServer] = []
    if relay is None or relay.address != own.address:
        commands.append(AddRelay(_called(own, relay)))
    if index is None or index.address != own.address:
        commands.append(AddIndexServer(_called(own, index)))
    return Batch(tuple(commands))


def _called(own: NamedAddress, known: NamedAddress | None) -> NamedAddress:
    return own if known is None else NamedAddress(own.public_key, own.address, known.name)
