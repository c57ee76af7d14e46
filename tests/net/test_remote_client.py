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

from offset_engine.client import Client, CommandFault, CommandRefusedError
from offset_engine.core import app_messages as m
from offset_engine.core.api import Batch, SetFriendName
from offset_engine.core.app_codec import decode_app_message, encode_node_message
from offset_engine.core.app_messages import ALL_PERMISSIONS
from offset_engine.core.crypto import public_key_of
from offset_engine.core.noise import Purpose
from offset_engine.core.signing import Invoice
from offset_engine.core.values import Currency, InvoiceId, PrivateKey, Timers
from offset_engine.errors import TransportError
from offset_engine.net.app_server import AppService
from offset_engine.net.app_socket import serve_socket
from offset_engine.net.remote_client import Dial, RemoteClient, by_address, by_socket, open_remote
from offset_engine.net.servers import run_services
from offset_engine.net.transport import Connection, Endpoint
from offset_engine.village import VILLAGE_TIMERS, Village, open_village
from tests.covers import covers
from tests.net.loopback import serving
from tests.shell.conformance import CHECKS, Check
from tests.shell.test_client import CHAIN

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

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


@covers("PAY-01", "PAY-06", "PAY-07", "PAY-08", "PAY-15", "FIX-01", "CTL-04", "RMP-18")
@pytest.mark.parametrize("way", ["tcp", "socket"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_remote_client(check: Check, way: str):
    async with remote_party(way) as party:
        await check(party)


# --- what may answer instead of a node ----------------------------------------------------------

KEY = public_key_of(PrivateKey(bytes([5]) * 32))
INVOICE = Invoice(InvoiceId(bytes(32)), Currency("FST"), KEY, 1)
WELCOME = m.Welcome(1, 1, KEY, ALL_PERMISSIONS)


@asynccontextmanager
async def answering(*said: m.NodeMessage | bytes) -> AsyncIterator[Dial]:
    """Somebody with the right key who says exactly this, then listens."""

    async def handle(connection: Connection) -> None:
        for one in said:
            connection.send_nowait(one if isinstance(one, bytes) else encode_node_message(one))
        await connection.wait_closed()

    node = Endpoint(PrivateKey(bytes([5]) * 32))
    async with serving(node, handle, (Purpose.APP,)) as address:
        yield by_address(APP, address, KEY)


@covers("APS-14")
@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ((m.Welcome(2, 3, KEY, ALL_PERMISSIONS),), "incompatible versions"),
        ((m.Changed(()),), "did not say which version"),
        ((b"\xc1",), "cannot read"),
        ((), "does not answer"),
    ],
)
async def test_who_does_not_greet_like_a_node_is_no_node(
    said: tuple[m.NodeMessage | bytes, ...], sentence: str
):
    async with answering(*said) as door:
        with pytest.raises(TransportError, match=sentence):
            # Only silence has to be waited for.
            async with open_remote(door, Timers(handshake_ms=10_000 if said else 100)):
                pass


@pytest.mark.parametrize("said", [b"\xc1", WELCOME])
async def test_a_node_that_stops_making_sense_is_left(said: m.NodeMessage | bytes):
    async with answering(WELCOME, said) as door, open_remote(door) as client:
        with pytest.raises(TransportError, match="cannot read"):
            await client.pays()
        assert not client.is_connected


@pytest.mark.parametrize("answer", [m.Signed(INVOICE), None])
async def test_an_answer_to_something_else_is_none(answer: m.Answer | None):
    async def handle(connection: Connection) -> None:
        connection.send_nowait(encode_node_message(WELCOME))
        while True:
            message = decode_app_message(await connection.receive())
            if isinstance(message, m.Request):
                result = m.Result(message.number, None, "", answer)
                connection.send_nowait(encode_node_message(result))

    node = Endpoint(PrivateKey(bytes([5]) * 32))
    async with (
        serving(node, handle, (Purpose.APP,)) as address,
        open_remote(by_address(APP, address, KEY)) as client,
    ):
        with pytest.raises(TransportError, match="the card answered"):
            await client.pays()


@pytest.mark.parametrize(
    ("doing", "fault"),
    [
        (lambda c: c.set_limit(KEY, Currency("FST"), -1), CommandFault.INVALID_AMOUNT),
        (lambda c: c.command(SetFriendName(KEY, "x" * 200)), CommandFault.INVALID_ARGUMENT),
        (
            lambda c: c.command(Batch((SetFriendName(KEY, "x" * 100),) * 257)),
            CommandFault.INVALID_ARGUMENT,
        ),
    ],
)
async def test_what_cannot_be_said_is_refused_like_by_the_node_itself(doing, fault: CommandFault):
    async with remote_party("socket") as party:
        with pytest.raises(CommandRefusedError) as caught:
            await doing(party.buyer)
        assert caught.value.fault is fault
