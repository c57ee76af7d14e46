"""Connections over real loopback sockets: how they are made, how they end, and what they hold back."""

import errno
import logging
import socket
import time
from dataclasses import replace

import anyio
import anyio.abc
import pytest

from offset_engine.core.link import CloseCode, LinkLimits
from offset_engine.core.values import PublicKey
from offset_engine.errors import InvariantError, TransportError
from offset_engine.net.transport import (
    PURPOSE_FRIEND,
    PURPOSE_INDEX,
    Connection,
    DialError,
    DialFailure,
    Endpoint,
    NetLimits,
    bound_address,
    dial,
    listen,
)
from tests.covers import covers
from tests.net.loopback import echo, endpoint, key_of, owner, serving, until

pytestmark = pytest.mark.anyio

ALICE, BOB, CAROL = endpoint(1), endpoint(2), endpoint(3)


async def failure_of(one: Endpoint, address: str, expected: PublicKey) -> DialFailure:
    async with owner() as tasks:
        with pytest.raises(DialError) as caught:
            await dial(one, tasks, address, expected, PURPOSE_FRIEND)
    return caught.value.failure


async def test_messages_of_all_sizes_pass_both_ways_in_order():
    async with serving(BOB) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        assert link.is_up
        assert link.peer == key_of(BOB)
        assert link.purpose == PURPOSE_FRIEND
        for size in (0, 1, 16_381, 16_382, 300_000, 512 * 1024):
            payload = bytes([size % 251]) * size
            link.send_nowait(payload)
            link.send_nowait(b"after")
            assert await link.receive() == payload
            assert await link.receive() == b"after"


async def test_both_ends_know_each_other_and_the_same_binding():
    met: list[Connection] = []

    async def note(connection: Connection) -> None:
        met.append(connection)
        await connection.wait_closed()

    async with serving(BOB, note) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        await until(lambda: met)
        assert met[0].peer == key_of(ALICE)
        assert met[0].binding == link.binding
        assert met[0].source == "127.0.0.1"


# --- why there is no connection -----------------------------------------------------------------


async def test_a_port_where_nothing_listens_is_refused():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        assert await failure_of(ALICE, address, key_of(BOB)) is DialFailure.REFUSED


async def test_what_is_no_address_is_not_dialled():
    assert await failure_of(ALICE, "no address", key_of(BOB)) is DialFailure.ADDRESS


async def test_an_unknown_name_is_said_to_be_unknown():
    async def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    alice = replace(ALICE, resolve=nobody)
    assert await failure_of(alice, "nowhere.test:1", key_of(BOB)) is DialFailure.UNRESOLVABLE


async def test_another_key_than_the_expected_one_is_refused_by_both():
    async with serving(BOB) as address:
        assert await failure_of(ALICE, address, key_of(CAROL)) is DialFailure.WRONG_KEY
        assert await failure_of(ALICE, address, PublicKey(bytes(32))) is DialFailure.WRONG_KEY
        assert await failure_of(BOB, address, key_of(BOB)) is DialFailure.WRONG_KEY


async def test_a_dialler_that_expects_another_key_is_not_answered_with_a_single_byte():
    """Recorded by standing between the two ends."""
    async with serving(BOB) as address:
        heard: list[bytes] = []

        async def between(client: anyio.abc.ByteStream) -> None:
            host, _, port = address.rpartition(":")
            async with client, await anyio.connect_tcp(host, int(port)) as server:
                await server.send(await client.receive())
                try:
                    heard.append(await server.receive())
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    heard.append(b"")

        (listener,) = await listen("127.0.0.1:0")
        async with listener, owner() as tasks:
            tasks.start_soon(listener.serve, between)
            got = await failure_of(ALICE, bound_address(listener), key_of(CAROL))
            assert got is DialFailure.WRONG_KEY
            assert heard == [b""]


async def test_silence_instead_of_a_handshake_is_a_timeout():
    alice = replace(ALICE, link_limits=LinkLimits(handshake_ms=100))
    (listener,) = await listen("127.0.0.1:0")
    async with listener:
        got = await failure_of(alice, bound_address(listener), key_of(BOB))
    assert got is DialFailure.TIMEOUT


async def test_two_versions_that_do_not_meet_are_named_as_the_reason():
    bob = replace(BOB, link_limits=LinkLimits(version_min=2, version_max=3))
    async with serving(bob) as address:
        assert await failure_of(ALICE, address, key_of(bob)) is DialFailure.VERSION


async def test_a_purpose_that_is_not_served_is_closed_without_a_word():
    async with serving(BOB, purposes=(PURPOSE_INDEX,)) as address:
        assert await failure_of(ALICE, address, key_of(BOB)) is DialFailure.WRONG_KEY


@covers("NT81")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_dials_and_listens_by_ipv4_ipv6_and_name(host: str):
    try:
        listeners = await listen(f"{host}:0")
    except TransportError:
        pytest.skip(f"this machine has no {host}")
    ports = {bound_address(one).rpartition(":")[2] for one in listeners}
    assert len(ports) == 1
    async with serving(BOB, listeners=listeners) as bound, owner() as tasks:
        assert host == "localhost" or bound == f"{host}:{ports.copy().pop()}"
        link = await dial(ALICE, tasks, f"{host}:{ports.pop()}", key_of(BOB), PURPOSE_FRIEND)
        link.send_nowait(b"hello")
        assert await link.receive() == b"hello"


@covers("NT81")
async def test_a_dead_first_address_behind_a_name_costs_only_its_head_start():
    async def dead_first(host: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]  # nothing listens at the first

    async with serving(BOB) as address, owner() as tasks:
        alice = replace(ALICE, resolve=dead_first)
        name = f"bob.test:{address.rpartition(':')[2]}"
        link = await dial(alice, tasks, name, key_of(BOB), PURPOSE_FRIEND)
        assert link.is_up


async def test_only_the_first_addresses_behind_a_name_are_tried():
    async def many(host: str, port: int) -> list[str]:
        return ["127.0.0.9"] * 4 + ["127.0.0.1"]

    async with serving(BOB) as address:
        alice = replace(ALICE, resolve=many)
        name = f"bob.test:{address.rpartition(':')[2]}"
        assert await failure_of(alice, name, key_of(BOB)) is DialFailure.REFUSED


async def test_an_address_in_use_is_a_sentence():
    listeners = await listen("127.0.0.1:0")
    async with listeners[0]:
        with pytest.raises(TransportError, match="cannot listen"):
            await listen(bound_address(listeners[0]))


# --- how it ends --------------------------------------------------------------------------------


@covers("NT12")
async def test_a_goodbye_and_a_cut_are_told_apart():
    ups, ends = [], []

    async def note(connection: Connection) -> None:
        ups.append(connection)
        ends.append(await connection.wait_closed())

    async with serving(BOB, note) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        link.close(CloseCode.NORMAL, "bye")
        await until(lambda: len(ends) == 1)
        assert (ends[0].code, ends[0].reason, ends[0].clean) == (CloseCode.NORMAL, "bye", True)

        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        await until(lambda: len(ups) == 2)
        await link._stream.aclose()
        await until(lambda: len(ends) == 2)
        assert (ends[1].code, ends[1].clean) == (None, False)


async def test_what_was_sent_before_the_goodbye_arrives_and_then_receive_says_why():
    async def talk(connection: Connection) -> None:
        for number in range(3):
            connection.send_nowait(bytes([number]) * 100_000)
        connection.close(CloseCode.MAX_AGE, "old")

    async with serving(BOB, talk) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        for number in range(3):
            assert await link.receive() == bytes([number]) * 100_000
        with pytest.raises(TransportError, match=r"MAX_AGE.*old"):
            await link.receive()
        link.send_nowait(b"dropped")
        with pytest.raises(TransportError):
            await link.drain()


async def test_cancelling_says_shutdown_to_the_other_end():
    async with serving(BOB) as address, owner() as tasks:
        async with anyio.create_task_group() as short_lived:
            link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
            other = await dial(CAROL, short_lived, address, key_of(BOB), PURPOSE_FRIEND)
            short_lived.cancel_scope.cancel()
        assert other.ended is not None
        assert link.ended is None
    async with owner() as tasks:
        async with serving(BOB) as address:
            link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
            link.send_nowait(b"hello")
            await link.receive()  # so the other end has finished the handshake, too
        end = await link.wait_closed()
        assert (end.code, end.clean) == (CloseCode.SHUTDOWN, True)


async def test_a_silent_peer_is_pinged_and_given_up():
    bob = replace(BOB, link_limits=LinkLimits(ping_idle_ms=60, dead_idle_ms=140))
    ends = []

    async def note(connection: Connection) -> None:
        ends.append(await connection.wait_closed())

    async with serving(bob, note) as address, owner() as tasks:
        alive = await dial(ALICE, tasks, address, key_of(bob), PURPOSE_FRIEND)
        deaf = await dial(CAROL, tasks, address, key_of(bob), PURPOSE_FRIEND)
        deaf.pause_reading()
        await until(lambda: ends)
        assert ends[0].code is CloseCode.TIMEOUT
        assert alive.ended is None
        deaf.resume_reading()
        assert (await deaf.wait_closed()).code is CloseCode.TIMEOUT


async def test_a_ping_is_answered():
    async with serving(BOB) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        answers: list[int] = []
        link.on_pong = answers.append
        link.ping()
        await until(lambda: answers)
        assert 0 <= answers[0] < 1000


async def test_a_failing_handler_closes_only_its_own_connection(caplog: pytest.LogCaptureFixture):
    async def fail(connection: Connection) -> None:
        message = await connection.receive()
        if message == b"fail":
            raise KeyError("a bug")
        connection.send_nowait(message)
        await connection.wait_closed()

    async with serving(BOB, fail) as address, owner() as tasks:
        good = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        bad = await dial(CAROL, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        with caplog.at_level(logging.ERROR):
            bad.send_nowait(b"fail")
            assert (await bad.wait_closed()).code is CloseCode.SHUTDOWN
        assert "handler failed" in caplog.text
        good.send_nowait(b"fine")
        assert await good.receive() == b"fine"


async def test_a_failing_message_function_closes_only_its_own_connection(
    caplog: pytest.LogCaptureFixture,
):
    async with serving(BOB) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)

        def fail(payload: bytes) -> None:
            raise KeyError("a bug")

        link.deliver_to(fail)
        link.send_nowait(b"x")
        with caplog.at_level(logging.ERROR):
            await link.wait_closed()
        assert "a bug" in caplog.text


async def test_a_broken_invariant_is_not_swallowed():
    def fail(payload: bytes) -> None:
        raise InvariantError("impossible")

    async with serving(BOB) as address:
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
            async with anyio.create_task_group() as tasks:
                link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
                link.deliver_to(fail)
                link.send_nowait(b"x")
                await anyio.sleep_forever()
        assert caught.group_contains(InvariantError)


# --- holding back -------------------------------------------------------------------------------


async def test_unread_messages_stop_the_reader_and_then_the_sender():
    received = []
    go = anyio.Event()

    async def slow(connection: Connection) -> None:
        await go.wait()
        while True:
            received.append(await connection.receive())

    async with serving(BOB, slow) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        sent = 0
        with anyio.move_on_after(0.5):
            while sent < 200:
                link.send_nowait(bytes(500_000))
                sent += 1
                await link.drain()
        assert sent < 200, "100 MB cannot wait in the buffers of the system"
        assert link.buffered_bytes < 600_000
        go.set()
        await until(lambda: len(received) == sent)


@covers("NT15")
async def test_a_peer_that_stops_reading_is_closed_and_nobody_else_notices():
    bob = replace(BOB, limits=NetLimits(write_stuck_ms=200))
    ends = []

    async def flood(connection: Connection) -> None:
        if connection.peer == key_of(ALICE):
            await echo(connection)
        try:
            while True:
                connection.send_nowait(bytes(300_000))
                await connection.drain()
        finally:
            ends.append(connection.ended)

    async with serving(bob, flood) as address, owner() as tasks:
        honest = await dial(ALICE, tasks, address, key_of(bob), PURPOSE_FRIEND)
        slow = await dial(CAROL, tasks, address, key_of(bob), PURPOSE_FRIEND)
        slow.pause_reading()
        while not ends:
            honest.send_nowait(b"still there?")
            with anyio.fail_after(1):
                assert await honest.receive() == b"still there?"
        assert ends[0].code is CloseCode.TIMEOUT


async def test_a_function_gets_what_waited_before_it_came_and_everything_after():
    async with serving(BOB) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        for number in range(20):
            link.send_nowait(bytes([number]))
        await until(lambda: len(link._inbox) >= 4)
        got: list[bytes] = []
        link.deliver_to(got.append)
        await until(lambda: len(got) == 20)
        assert got == [bytes([number]) for number in range(20)]


# --- accepting ----------------------------------------------------------------------------------


@covers("NT16")
async def test_three_hundred_silent_connections_do_not_keep_an_honest_one_out():
    async with serving(BOB) as address, owner() as tasks:
        host, _, port = address.rpartition(":")
        silent = [await anyio.connect_tcp(host, int(port)) for _ in range(300)]
        begin = time.monotonic()
        link = await dial(ALICE, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        link.send_nowait(b"hello")
        assert await link.receive() == b"hello"
        assert time.monotonic() - begin < 1
        for one in silent:
            await one.aclose()


class FailingListener:
    """Fails to accept a few times, as a process without free file descriptors does."""

    def __init__(self, real: anyio.abc.SocketListener, times: int) -> None:
        self._real = real
        self.times = times

    async def accept(self) -> anyio.abc.SocketStream:
        if self.times:
            self.times -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return await self._real.accept()

    async def aclose(self) -> None:
        await self._real.aclose()

    def extra(self, attribute: object) -> object:
        return self._real.extra(attribute)


@covers("NT43")
async def test_accepting_goes_on_after_the_system_could_not(caplog: pytest.LogCaptureFixture):
    bob = replace(BOB, limits=NetLimits(accept_pause_ms=5))
    failing = FailingListener((await listen("127.0.0.1:0"))[0], times=10)
    async with serving(bob, listeners=[failing]) as address, owner() as tasks:
        link = await dial(ALICE, tasks, address, key_of(bob), PURPOSE_FRIEND)
        assert link.is_up
    assert failing.times == 0
    assert "Too many open files" in caplog.text


class Stranger(anyio.abc.ByteStream):
    """A silent connection from somewhere."""

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self.closed = anyio.Event()

    @property
    def extra_attributes(self) -> dict[object, object]:
        return {anyio.abc.SocketAttribute.remote_address: lambda: (self.ip, 4000)}

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        await self.closed.wait()
        raise anyio.EndOfStream

    async def send(self, item: bytes) -> None:
        raise AssertionError("a silent stranger is not answered")

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        self.closed.set()


@covers("RLY-08")
async def test_one_network_gets_only_so_many_unproven_connections():
    addresses = ["192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
    strangers = [Stranger(ip) for ip in addresses]
    waiting = list(strangers)

    class Listener(FailingListener):
        async def accept(self) -> Stranger:
            if not waiting:
                await anyio.sleep_forever()
            return waiting.pop(0)

    bob = replace(BOB, limits=NetLimits(handshakes_per_source_max=2))
    listener = Listener((await listen("127.0.0.1:0"))[0], times=0)
    async with serving(bob, listeners=[listener]):
        await until(strangers[1].closed.is_set)
        assert [one.closed.is_set() for one in strangers] == [False, True, False, False, False]


async def test_times_come_from_the_clock_that_was_given():
    """A day passes at once: the dialler pings instead of believing anybody dead."""
    now = {"ms": 0}
    alice = replace(ALICE, now_ms=lambda: now["ms"])
    async with serving(BOB) as address, owner() as tasks:
        link = await dial(alice, tasks, address, key_of(BOB), PURPOSE_FRIEND)
        now["ms"] += 86_400_000
        link.send_nowait(b"awake")
        assert await link.receive() == b"awake"


async def test_randomness_comes_from_the_source_that_was_given():
    asked: list[int] = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes([7]) * count

    async with serving(BOB) as address, owner() as tasks:
        await dial(replace(ALICE, random_bytes=random_bytes), tasks, address, key_of(BOB), 2)
    assert asked == [32]
