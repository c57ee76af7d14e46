"""`RemoteClient` keeps every promise of a client, over TCP and over a socket file, and says what went wrong."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup, TaskStatus

from offset_engine.client import Client
from offset_engine.core.app_messages import ALL_PERMISSIONS
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.net.app_server import AppService
from offset_engine.net.app_socket import serve_socket
from offset_engine.net.remote_client import Dial, RemoteClient, by_address, by_socket
from offset_engine.net.servers import run_services
from offset_engine.net.transport import Endpoint
from offset_engine.village import VILLAGE_TIMERS, Village, open_village
from tests.covers import covers
from tests.shell.conformance import CHECKS, Check
from tests.shell.test_client import CHAIN

pytestmark = pytest.mark.anyio

APP = Endpoint(PrivateKey(bytes([77]) * 32))


class Everybody:
    """Trusts one app with everything."""

    def read(self):
        return {public_key_of(APP.identity): ALL_PERMISSIONS}


@dataclass
class RemoteParty:
    """Bob and Daniel through `RemoteClient`s."""

    village: Village
    tasks: TaskGroup
    place: Path
    way: str
    clients: dict[str, RemoteClient] = field(default_factory=dict)
    scopes: dict[str, anyio.CancelScope] = field(default_factory=dict)

    @property
    def buyer(self) -> Client:
        return self.clients["Bob"]

    @property
    def seller(self) -> Client:
        return self.clients["Daniel"]

    async def attach(self, name: str) -> None:
        """Open the door of a card, and connect to it."""
        dial = await self.tasks.start(self._open_door, name)
        client = self.clients[name] = RemoteClient(dial, VILLAGE_TIMERS)
        await self.tasks.start(client.run)

    async def _open_door(self, name: str, *, task_status: TaskStatus[Dial]) -> None:
        person = self.village.people[name]
        service = AppService(person.running, Everybody())
        serve = partial(run_services, Endpoint(person.identity), ["127.0.0.1:0"], [service])
        async with anyio.create_task_group() as tasks:
            self.scopes[name] = tasks.cancel_scope
            (address,) = await tasks.start(serve)
            path = self.place / f"{name}.sock"
            await tasks.start(partial(serve_socket, path, service.serve_local))
            is_tcp = self.way == "tcp"
            task_status.started(by_address(APP, address, person.key) if is_tcp else by_socket(path))

    async def restart(self) -> None:
        for name in ("Bob", "Daniel"):
            self.scopes[name].cancel()
            await self.village.switch_off(name)
        for name in ("Bob", "Daniel"):
            await self.village.switch_on(name)
            await self.attach(name)
        await self.village.wait_until_ready()

    async def stop(self) -> None:
        await self.village.switch_off("Bob")


@asynccontextmanager
async def remote_party(way: str) -> AsyncIterator[RemoteParty]:
    with tempfile.TemporaryDirectory() as place:
        async with (
            open_village(3, friendships=CHAIN, relay_count=1, on_disk=False) as village,
            anyio.create_task_group() as tasks,
        ):
            party = RemoteParty(village, tasks, Path(place), way)
            for name in ("Bob", "Daniel"):
                await party.attach(name)
            yield party
            tasks.cancel_scope.cancel()


@covers("PAY-01", "PAY-06", "PAY-07", "PAY-08", "PAY-15")
@pytest.mark.parametrize("way", ["tcp", "socket"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_remote_client(check: Check, way: str):
    async with remote_party(way) as party:
        await check(party)
