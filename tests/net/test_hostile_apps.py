"""Apps that mean harm, on a node that others use: every request without a permission, and each message cut.

`test_app_server` has the single cases; here every kind of message has its turn.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from offset_engine.core import app_messages as m
from offset_engine.core.api import Batch, CommandFault
from offset_engine.core.app_codec import encode_app_message
from offset_engine.core.app_session import PERMISSION_OF
from offset_engine.core.link import CloseCode
from offset_engine.errors import TransportError
from offset_engine.files import Permissions
from tests.covers import covers
from tests.net.app_world import Node, RawApp, app_key, serving_apps
from tests.net.loopback import until
from tests.net.test_app_server import bystander
from tests.unit.test_app_session import SAMPLES

pytestmark = pytest.mark.anyio

NOTHING = Permissions(read=False)
MESSAGES = [m.Hello(), *(m.Request(number, what) for number, what in enumerate(SAMPLES, 1))]


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    async with serving_apps(monkeypatch, tmp_path) as found:
        yield found


@covers("NT77", "APS-05", "APS-06", "FIX-04")
async def test_an_app_without_any_permission_gets_an_answer_to_everything_and_nothing_else(
    node: Node,
):
    node.trust(1, NOTHING)
    async with bystander(node) as other, anyio.create_task_group() as tasks:
        app = await node.raw(tasks, 1)
        before = node.scene.engine.state
        for what in (*SAMPLES, Batch(tuple(SAMPLES[:2]))):
            result = await app.result(app.ask(what))
            needed = None if isinstance(what, Batch) else PERMISSION_OF[type(what)]
            if isinstance(what, Batch) or needed is not None:
                assert result.fault is CommandFault.PERMISSION_DENIED, what
                assert result.answer is None
                assert "permission" in result.detail
            else:
                assert result.fault is None, what
        assert node.scene.engine.state is before
        assert app.connection.ended is None
        await other.report()
        tasks.cancel_scope.cancel()


@covers("NT78", "APS-06")
async def test_a_follower_that_stops_reading_costs_the_node_nothing(node: Node):
    node.trust(1)
    async with bystander(node) as other, anyio.create_task_group() as tasks:
        app = await node.raw(tasks, 1)
        await app.result(app.ask(m.Sync(is_following=True)))
        await app.result(app.ask(m.Watch(is_on=True)))
        app.connection.pause_reading()
        (served,) = [one for one in node.service.connections if one.peer == app_key(1)]
        for number in range(60):
            await other.add_friend(app_key(100 + number), (), "x" * 100)
        # What it missed is kept once however often it changed, so it is not even let go.
        assert served.ended is None
        assert served.buffered_bytes < 2**20
        app.connection.resume_reading()
        names: set[str] = set()
        while len(names) < 60:
            message = await app.next()
            if isinstance(message, m.Report):
                names.update(one.public_key.to_text() for one in message.friends)
        tasks.cancel_scope.cancel()


@covers("FIX-05", "APS-06")
@pytest.mark.parametrize("kind", range(len(MESSAGES)), ids=lambda n: _name(MESSAGES[n]))
async def test_a_program_may_vanish_anywhere_in_any_message(node: Node, kind: int):
    hello = b"OFST\x00\x05" + (framed(m.Hello()) if kind else b"")
    message = framed(MESSAGES[kind])
    step = max(1, len(message) // 12)
    async with bystander(node):
        before = node.scene.engine.state.friends
        for size in range(0, len(message), step):
            stream = await anyio.connect_unix(node.socket)
            await stream.send(hello + message[:size])
            await stream.aclose()
        await until(lambda: len(node.service.connections) == 1)
        assert node.scene.engine.state.friends is before


@covers("NT76")
async def test_an_app_whose_ticket_goes_while_it_floods_is_gone_at_once(node: Node):
    ticket = node.trust(1)
    async with bystander(node), anyio.create_task_group() as tasks:
        app = await node.raw(tasks, 1)
        for _ in range(500):
            app.ask(m.ListResults())
        ticket.unlink()
        with pytest.raises(TransportError):
            await _read_on(app)
        ended = app.connection.ended
        assert ended is not None
        assert ended.code is CloseCode.NOT_AUTHORIZED
        tasks.cancel_scope.cancel()


async def _read_on(app: RawApp) -> None:
    while True:
        await app.next()


def framed(message: m.AppMessage) -> bytes:
    payload = encode_app_message(message)
    return b"\x00" + len(payload).to_bytes(4, "big") + payload


def _name(message: m.AppMessage) -> str:
    return type(message.what).__name__ if isinstance(message, m.Request) else "Hello"
