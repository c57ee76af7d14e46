"""Apps at a node's door: who comes in, what they may do, and how little a hostile one achieves."""

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from offset_engine.client import CommandRefusedError, InvoiceTerms
from offset_engine.core import app_messages as m
from offset_engine.core.api import (
    AddFriend,
    AddIndexServer,
    AddInvoice,
    AddRelay,
    CommandFault,
    CreatePayment,
    CreateTransaction,
    EnableFriend,
    InvoiceChanged,
    PaymentStatus,
    RequestClosePayment,
    RequestRoutes,
    RoutesOutcome,
    RoutesResult,
    SetFriendName,
)
from offset_engine.core.app_codec import encode_app_message
from offset_engine.core.crypto import public_key_of
from offset_engine.core.link import CloseCode, Link, LinkLimits
from offset_engine.core.messages import RoutesResponse
from offset_engine.core.noise import Purpose
from offset_engine.core.reports import HistoryKind
from offset_engine.core.signing import Invoice
from offset_engine.core.values import (
    Currency,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PrivateKey,
    Uid,
)
from offset_engine.errors import TransportError
from offset_engine.files import Permissions
from offset_engine.net import app_server, app_socket
from offset_engine.net.connection import Connection, NetLimits, monotonic_ms
from offset_engine.net.remote_client import RemoteClient, by_address, by_socket, open_remote
from offset_engine.net.transport import dial
from offset_engine.village import VILLAGE_TIMERS
from tests.covers import covers
from tests.net.app_world import (
    Node,
    RawApp,
    app_endpoint,
    app_key,
    mode_of,
    serving_apps,
)
from tests.net.loopback import until
from tests.shell.engine_world import KEY

pytestmark = pytest.mark.anyio

USD = Currency("USD")
STRANGER = public_key_of(PrivateKey(bytes([123]) * 32))
INVOICE_OF_OTHERS = Invoice(InvoiceId(bytes(32)), USD, STRANGER, 1)
PAYMENT = PaymentId(b"p" * 16)
UID = Uid(b"u" * 16)
RELAY = AddRelay(NamedAddress(STRANGER, "relay.example:1", "r"))


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Node]:
    async with serving_apps(monkeypatch, tmp_path) as found:
        yield found


async def refused(doing: Awaitable[object]) -> CommandFault:
    with pytest.raises(CommandRefusedError) as caught:
        await doing
    return caught.value.fault


async def works(client: RemoteClient) -> None:
    """The app is served as ever."""
    with anyio.fail_after(5):
        assert (await client.report()).local_public_key == KEY
        await client.create_invoice(InvoiceTerms(USD, 1))


# --- who comes in -------------------------------------------------------------------------------


@covers("NT76", "NOD-04", "NOD-05", "NOD-06")
async def test_an_app_without_a_ticket_is_not_let_in_and_others_do_not_notice(node: Node):
    node.trust(1)
    async with open_remote(node.door(1)) as client:
        with pytest.raises(TransportError, match="does not admit this program"):
            async with open_remote(node.door(2)):
                pass
        await works(client)
        node.trust(2)
        async with open_remote(node.door(2)) as other:
            await works(other)


@covers("NT76", "FIX-15", "NOD-04")
async def test_a_bad_file_in_the_directory_keeps_nobody_out(
    node: Node, caplog: pytest.LogCaptureFixture
):
    node.trust(1)
    (node.trusted / "bad.ticket").write_text('{"publicKey": 7')
    (node.trusted / "folder").mkdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            async with open_remote(node.door(1)) as client:
                await works(client)
    warnings = [one.getMessage() for one in caplog.records if "bad.ticket" in one.getMessage()]
    assert len(warnings) == 1
    assert warnings[0].startswith("skipping what is no app ticket")


@covers("NT76")
async def test_a_removed_ticket_closes_the_open_connection_and_no_other(node: Node):
    path = node.trust(1)
    node.trust(2)
    async with open_remote(node.door(1)) as removed, open_remote(node.door(2)) as kept:
        await works(removed)
        path.unlink()
        await until(lambda: not removed.is_connected)
        with pytest.raises(TransportError, match="does not admit this program"):
            await removed.report()
        await works(kept)


@covers("NT76")
async def test_changed_permissions_count_for_the_open_connection(node: Node):
    node.trust(1)
    async with open_remote(node.door(1)) as client:
        await client.command(RELAY)
        node.trust(1, Permissions(read=True))
        await until(lambda: not client.permissions.config)
        assert await refused(client.command(RELAY)) is CommandFault.PERMISSION_DENIED
        assert (await client.report()).relays == (RELAY.relay,)
        node.trust(1, Permissions(config=True))
        await until(lambda: client.permissions.config)
        await client.command(RELAY)


@covers("APS-11")
async def test_one_app_may_connect_several_times_but_not_without_end(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(app_server, "CONNECTIONS_PER_APP_MAX", 2)
    node.trust(1)
    node.trust(2)
    async with open_remote(node.door(1)) as one, open_remote(node.door(1)) as two:
        await works(one)
        await works(two)
        with pytest.raises(TransportError, match="nor too many at once"):
            async with open_remote(node.door(1)):
                pass
        async with open_remote(node.door(2)) as other:
            await works(other)
    await until(lambda: not node.service.connections)
    async with open_remote(node.door(1)) as again:
        await works(again)


async def test_programs_of_this_user_need_no_ticket(node: Node):
    assert mode_of(node.socket) == 0o600
    async with open_remote(node.local_door) as client:
        assert client.permissions == m.ALL_PERMISSIONS
        assert client.node == KEY
        await works(client)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no users here")
async def test_programs_of_another_user_are_refused(node: Node, monkeypatch: pytest.MonkeyPatch):
    mine = os.geteuid()
    monkeypatch.setattr(app_socket.os, "geteuid", lambda: mine + 1)
    with pytest.raises(TransportError, match="does not admit this program"):
        async with open_remote(node.local_door):
            pass


async def test_a_door_that_is_not_there_is_said(node: Node, tmp_path: Path):
    for path in (tmp_path / "none.sock", tmp_path / ("x" * 200)):
        with pytest.raises(TransportError, match="no card runs at"):
            async with open_remote(by_socket(path)):
                pass
    with pytest.raises(TransportError, match="nothing listens"):
        async with open_remote(by_address(app_endpoint(1), "127.0.0.1:1", KEY)):
            pass


async def test_a_door_that_is_closed_to_us_is_not_called_an_absent_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def refuse(_path: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(app_socket.anyio, "connect_unix", refuse)
    with pytest.raises(TransportError, match=r"x\.sock is closed to this user: only who runs"):
        async with open_remote(by_socket(tmp_path / "x.sock")):
            pass


# --- what they may do ---------------------------------------------------------------------------


@covers("NT77", "APS-05", "APS-06", "FIX-04", "FIX-06")
async def test_an_app_without_config_cannot_add_a_relay_and_stays_connected(node: Node):
    node.trust(1, Permissions(routes=True, buyer=True, seller=True, transactions=True))
    async with open_remote(node.door(1)) as client:
        with pytest.raises(CommandRefusedError) as caught:
            await client.command(RELAY)
        assert caught.value.fault is CommandFault.PERMISSION_DENIED
        assert str(caught.value) == (
            'the app needs the permission "config" for AddRelay: permission denied'
        )
        assert node.scene.engine.state.relays == ()
        await works(client)


async def test_an_app_that_may_not_read_does_not(node: Node):
    node.trust(1, Permissions(read=False))
    async with open_remote(node.door(1)) as client:
        assert await refused(client.report()) is CommandFault.PERMISSION_DENIED
        assert await refused(client.pays()) is CommandFault.PERMISSION_DENIED
        assert await refused(client.invoices()) is CommandFault.PERMISSION_DENIED
        assert await refused(client.pending()) is CommandFault.PERMISSION_DENIED
        assert await refused(client.history(HistoryKind.RESETS)) is CommandFault.PERMISSION_DENIED
        async with client.watch() as watcher:
            async with open_remote(node.local_door) as other:
                await other.create_invoice(InvoiceTerms(USD, 1))
            with anyio.move_on_after(0.05) as quiet:
                await watcher.next()
            assert quiet.cancelled_caught


@covers("APS-16")
async def test_lists_longer_than_a_page_arrive_whole(node: Node, monkeypatch):
    monkeypatch.setattr(app_server, "APP_PAGE_MAX", 3)
    async with open_remote(node.local_door) as client:
        made = [await client.create_invoice(InvoiceTerms(USD, n)) for n in range(1, 9)]
        found = await client.invoices()
        assert [one.invoice for one in found] == made[::-1]
        for one in made:
            await client.refund(one.invoice_id)
        assert await client.invoices() == ()


@covers("APS-16")
async def test_an_app_without_transactions_lists_its_own_only(node: Node):
    node.trust(1, Permissions(seller=True))
    node.trust(2, Permissions(seller=True))
    async with open_remote(node.door(1)) as one, open_remote(node.door(2)) as two:
        mine = await one.create_invoice(InvoiceTerms(USD, 1))
        theirs = await two.create_invoice(InvoiceTerms(USD, 2))
        assert [it.invoice for it in await one.invoices()] == [mine]
        assert (
            await refused(one.invoice_report(theirs.invoice_id)) is CommandFault.PERMISSION_DENIED
        )
        assert await refused(one.refund(theirs.invoice_id)) is CommandFault.PERMISSION_DENIED
        async with open_remote(node.local_door) as owner:
            assert len(await owner.invoices()) == 2
            await owner.refund(theirs.invoice_id)


@covers("APS-03", "APS-02")
async def test_what_a_command_changed_is_told_before_its_result(node: Node):
    node.trust(1)
    async with anyio.create_task_group() as tasks:
        app = await node.raw(tasks, 1)
        await app.result(app.ask(m.Sync(is_following=True)))
        number = app.ask(AddFriend(STRANGER, (), "Stranger"))
        piece, result = await app.next(), await app.next()
        assert isinstance(piece, m.Report)
        assert [one.name for one in piece.friends] == ["Stranger"]
        assert result == m.Result(number, None, "", m.Done())
        number = app.ask(AddFriend(STRANGER, (), "Stranger"))
        assert await app.next() == m.Result(number, CommandFault.FRIEND_EXISTS, "AddFriend", None)
        tasks.cancel_scope.cancel()


@covers("APS-02")
async def test_every_app_that_follows_the_report_hears_of_a_change(node: Node):
    async with open_remote(node.local_door) as one, open_remote(node.local_door) as two:
        reports = one.reports()
        assert (await anext(reports)).friends == ()
        await two.add_friend(STRANGER, (), "Stranger")
        with anyio.fail_after(5):
            seen = await anext(reports)
        assert [friend.name for friend in seen.friends] == ["Stranger"]
        await reports.aclose()
        await two.command(SetFriendName(STRANGER, "Other"))
        assert [friend.name for friend in (await one.report()).friends] == ["Other"]


# --- buyer's primitives, results and reconnecting -----------------------------------------------


@covers("APS-07", "APS-08")
async def test_routes_go_to_the_asker_and_are_kept_for_it_when_it_is_away(node: Node):
    node.trust(1)
    node.trust(2)
    async with open_remote(node.door(1)) as one, open_remote(node.door(2)) as two:
        async with one.watch() as asked, two.watch() as other:
            await one.command(AddIndexServer(NamedAddress(STRANGER, "127.0.0.1:1", "i")))
            await one.command(RequestRoutes(UID, USD, 5, STRANGER))
            answer(node, UID)
            with anyio.fail_after(5):
                assert await asked.next() == (RoutesResult(UID, RoutesOutcome.NONE),)
            with anyio.move_on_after(0.02) as quiet:
                await other.next()
            assert quiet.cancelled_caught
        later = Uid(b"l" * 16)
        await one.command(RequestRoutes(later, USD, 5, STRANGER))
    answer(node, later)
    async with open_remote(node.door(1)) as again, open_remote(node.door(2)) as two:
        none = RoutesOutcome.NONE
        assert await again.results() == (RoutesResult(UID, none), RoutesResult(later, none))
        assert await two.results() == ()


def answer(node: Node, uid: Uid) -> None:
    node.scene.index.on_routes(RoutesResponse(uid, 1, 0, 0, ()))


@covers("APS-10")
async def test_a_payment_that_never_was_is_not_found(node: Node):
    async with open_remote(node.local_door) as client:
        assert await client.pay_report(PAYMENT) is None
        (status,) = await client.command(RequestClosePayment(PAYMENT))
        assert status == PaymentStatus(PAYMENT, None, 0, None, None, None)
        bad = CreateTransaction(PAYMENT, UID, (KEY, STRANGER), 1, 0)
        assert await refused(client.command(bad)) is CommandFault.OPEN_PAYMENT_NOT_FOUND


@covers("APS-09")
async def test_a_closed_payment_is_told_until_it_is_acknowledged(node: Node):
    create = CreatePayment(PAYMENT, InvoiceId(bytes(32)), USD, 5, STRANGER)
    async with open_remote(node.local_door) as client:
        await client.command(create)
        (status,) = await client.command(RequestClosePayment(PAYMENT))
        assert isinstance(status, PaymentStatus)
        assert (status.stage, status.open_transactions) == ("canceled", 0)
    async with open_remote(node.local_door) as again:
        assert await again.command(RequestClosePayment(PAYMENT)) == (status,)


@covers("APS-15", "CMP-07")
async def test_a_client_comes_back_by_itself_and_goes_on_where_it_was(node: Node):
    node.trust(1)
    client = RemoteClient(node.door(1), VILLAGE_TIMERS)
    async with anyio.create_task_group() as tasks:
        await tasks.start(client.run)
        await client.add_friend(STRANGER, (), "Stranger")
        before = await client.report()
        async with client.watch() as watcher:
            (served,) = node.service.connections
            served.close(CloseCode.SHUTDOWN)
            with anyio.fail_after(5), pytest.raises(TransportError, match="was switched off"):
                await watcher.next()
        with pytest.raises(TransportError, match="not connected to the card"):
            await client.report()
        with anyio.fail_after(5):
            await client.wait_connected()
        assert await client.report() == before
        await works(client)
        tasks.cancel_scope.cancel()


async def test_a_command_whose_answer_is_lost_says_so(node: Node):
    node.trust(1)
    async with open_remote(node.door(1)) as client, anyio.create_task_group() as tasks:
        node.scene.store.save = partial(_closing, node, node.scene.store.save)  # type: ignore[method-assign]
        with pytest.raises(TransportError, match="whether the command was carried out is not"):
            await client.command(AddFriend(STRANGER, (), "Stranger"))
        assert STRANGER in node.scene.engine.state.friends
        tasks.cancel_scope.cancel()


def _closing(node: Node, save: Callable[..., None], *arguments: object) -> None:
    for connection in node.service.connections:
        connection.close(CloseCode.SHUTDOWN)
    save(*arguments)


# --- hostile apps -------------------------------------------------------------------------------


@asynccontextmanager
async def bystander(node: Node) -> AsyncIterator[RemoteClient]:
    """Another app, which must not notice anything."""
    node.trust(9)
    async with open_remote(node.door(9)) as client:
        await works(client)
        yield client
        await works(client)
        assert node.scene.ended == []


@covers("NT78")
async def test_an_app_that_stops_reading_is_dropped_and_gets_a_fresh_report_later(node: Node):
    node.trust(1)
    async with bystander(node) as other, anyio.create_task_group() as tasks:
        for number in range(40):
            key = public_key_of(PrivateKey(bytes([200, number]) * 16))
            await other.add_friend(key, (), "x" * 100)
        app = await node.raw(tasks, 1)
        app.connection.pause_reading()
        (served,) = [one for one in node.service.connections if one.peer == app_key(1)]
        with anyio.fail_after(30):
            while served.ended is None:
                app.ask(m.Sync())
                if app.numbers % 50 == 0:
                    await works(other)
                await anyio.lowlevel.checkpoint()
        assert served.ended.code is CloseCode.OVERLOADED
        tasks.cancel_scope.cancel()
    async with open_remote(node.door(1)) as again:
        assert len((await again.report()).friends) == 40


async def test_a_stuck_program_at_the_socket_is_dropped_too(node: Node):
    async with bystander(node) as other, anyio.create_task_group() as tasks:
        connection = await app_socket.dial_socket(tasks, node.socket)
        app = RawApp(connection)
        await app.next()
        app.say(m.Hello())
        connection.pause_reading()
        (served,) = [one for one in node.service.connections if one.peer != app_key(9)]
        with anyio.fail_after(30):
            while served.ended is None:
                app.ask(m.ListResults())
                await anyio.lowlevel.checkpoint()
        assert served.ended.code is CloseCode.OVERLOADED
        await works(other)
        tasks.cancel_scope.cancel()


async def test_an_app_that_floods_gets_its_answers_and_delays_nobody(node: Node):
    node.trust(1)
    async with bystander(node) as other, anyio.create_task_group() as tasks:
        app = await node.raw(tasks, 1)
        for _ in range(1_000):
            app.ask(AddInvoice(INVOICE_OF_OTHERS))
            app.ask(m.ListResults())
        for _ in range(5):
            await works(other)
        seen = 0
        while seen < app.numbers:
            result = await app.next()
            assert isinstance(result, m.Result)
            seen += 1
            assert result.number == seen
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("payload", [b"\xc1", b"\x92\x02", encode_app_message(m.Hello())])
async def test_an_app_that_follows_no_protocol_is_closed(node: Node, payload: bytes):
    node.trust(1)
    async with bystander(node), anyio.create_task_group() as tasks:
        app = await node.raw(tasks, 1)
        app.connection.send_nowait(payload)
        assert (await app.connection.wait_closed()).code is CloseCode.PROTOCOL
        tasks.cancel_scope.cancel()


class CutStream(ByteStream):
    """A stream whose sender goes away after so many bytes, in the middle of whatever they are."""

    def __init__(self, stream: ByteStream, left: int) -> None:
        self._stream = stream
        self._left = left

    async def send(self, item: bytes) -> None:
        part, self._left = item[: self._left], self._left - len(item)
        await self._stream.send(part)
        if self._left <= 0:
            await anyio.aclose_forcefully(self._stream)
            raise anyio.BrokenResourceError

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


@covers("FIX-05", "APS-06")
async def test_an_app_may_vanish_in_the_middle_of_each_message(node: Node):
    node.trust(1)
    async with bystander(node):
        for size in range(1, 500, 13):
            await talk_until_cut(node, size)
        await until(lambda: len(node.service.connections) == 1)


async def talk_until_cut(node: Node, size: int) -> None:
    """Greet, ask for the report and change something, but only so many bytes of it."""
    host, _, port = node.address.rpartition(":")
    stream = CutStream(await anyio.connect_tcp(host, int(port)), size)
    identity = app_endpoint(1).identity
    link = Link.initiator(identity, KEY, Purpose.APP, os.urandom(32), monotonic_ms(), LinkLimits())
    connection = Connection(stream, link, NetLimits(close_ms=50))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(connection.run)
        try:
            await connection.wait_up()
            app = RawApp(connection)
            app.say(m.Hello())
            app.ask(m.Sync(is_following=True))
            app.ask(EnableFriend(STRANGER))
            await until(lambda: connection.ended is not None or not connection.buffered_bytes)
        except TransportError:
            pass
        connection.close()


@covers("FIX-05")
async def test_an_app_may_vanish_before_it_was_told_anything(node: Node):
    node.trust(1)
    async with bystander(node):
        for _ in range(20):
            async with anyio.create_task_group() as tasks:
                connection = await dial(app_endpoint(1), tasks, node.address, KEY, Purpose.APP)
                connection.close()
        await until(lambda: len(node.service.connections) == 1)


async def test_a_program_may_vanish_in_the_middle_of_each_message(node: Node):
    said = b"OFST\x00\x05"
    for message in (m.Hello(), m.Request(1, m.Sync()), m.Request(2, EnableFriend(STRANGER))):
        payload = encode_app_message(message)
        said += b"\x00" + len(payload).to_bytes(4, "big") + payload
    async with bystander(node):
        for size in range(len(said) + 1):
            stream = await anyio.connect_unix(node.socket)
            await stream.send(said[:size])
            await stream.aclose()
        await until(lambda: len(node.service.connections) == 1)


async def test_what_the_node_says_of_itself_reaches_watchers(node: Node):
    async with open_remote(node.local_door) as client, client.watch() as one, client.watch() as two:
        invoice = await client.create_invoice(InvoiceTerms(USD, 1))
        with anyio.fail_after(5):
            for watcher in (one, two):
                assert await watcher.next() == (InvoiceChanged(invoice.invoice_id),)
