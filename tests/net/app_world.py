"""A node with a door for apps: a real engine on a toy network, real sockets, a directory of tickets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from offset_engine.core import app_messages as m
from offset_engine.core.app_codec import decode_node_message, encode_app_message
from offset_engine.core.crypto import public_key_of
from offset_engine.core.noise import Purpose
from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.files import AppTicket, Permissions, write
from offset_engine.net.app_server import AppService
from offset_engine.net.app_socket import serve_socket
from offset_engine.net.remote_client import Dial, by_address, by_socket
from offset_engine.net.servers import run_services
from offset_engine.net.transport import Connection, Endpoint, dial
from offset_engine.net.trusted_apps import TrustedApps
from tests.shell.engine_world import IDENTITY, KEY, Scene, running

EVERYTHING = Permissions(
    routes=True, buyer=True, seller=True, config=True, read=True, transactions=True
)


def app_endpoint(seed: int) -> Endpoint:
    return Endpoint(PrivateKey(bytes([seed]) * 32))


def app_key(seed: int) -> PublicKey:
    return public_key_of(app_endpoint(seed).identity)


@dataclass
class Node:
    """A running node and where apps find it."""

    scene: Scene
    service: AppService
    address: str
    socket: Path
    trusted: Path

    def trust(self, seed: int, permissions: Permissions = EVERYTHING) -> Path:
        """Put an app's ticket into the directory."""
        path = self.trusted / f"app{seed}.ticket"
        write(path, AppTicket(app_key(seed), permissions), force=True)
        return path

    def door(self, seed: int) -> Dial:
        return by_address(app_endpoint(seed), self.address, KEY)

    @property
    def local_door(self) -> Dial:
        return by_socket(self.socket)

    async def raw(self, tasks: TaskGroup, seed: int) -> "RawApp":
        """A connection of an app that was greeted."""
        connection = await dial(app_endpoint(seed), tasks, self.address, KEY, Purpose.APP)
        app = RawApp(connection)
        assert isinstance(await app.next(), m.Welcome)
        app.say(m.Hello())
        return app


@dataclass
class RawApp:
    """An app that says exactly what it is told to."""

    connection: Connection
    numbers: int = 0

    def say(self, message: m.AppMessage) -> None:
        self.connection.send_nowait(encode_app_message(message))

    def ask(self, what: object) -> int:
        self.numbers += 1
        self.say(m.Request(self.numbers, what))  # type: ignore[arg-type]
        return self.numbers

    async def next(self) -> m.NodeMessage:
        with anyio.fail_after(5):
            message = decode_node_message(await self.connection.receive())
        assert message is not None
        return message

    async def result(self, number: int) -> m.Result:
        """The result of a request; whatever comes before is dropped."""
        while True:
            message = await self.next()
            if isinstance(message, m.Result) and message.number == number:
                return message


@asynccontextmanager
async def serving_apps(
    monkeypatch: pytest.MonkeyPatch, place: Path, *, reread_ms: int = 20
) -> AsyncIterator[Node]:
    """Run a node for apps; everything ends with the block."""
    trusted = place / "trusted"
    trusted.mkdir()
    async with running(monkeypatch) as scene, anyio.create_task_group() as tasks:
        service = AppService(scene.engine, TrustedApps(trusted), reread_ms=reread_ms)
        serve = partial(run_services, Endpoint(IDENTITY), ["127.0.0.1:0"], [service])
        (address,) = await tasks.start(serve)
        path = place / "node.sock"
        await tasks.start(partial(serve_socket, path, service.serve_local))
        yield Node(scene, service, address, path, trusted)
        tasks.cancel_scope.cancel()


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777
