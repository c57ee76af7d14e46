"""The relay and the index server behind real loopback sockets, and tunnels between two nodes."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import anyio.abc
import pytest

from offset_engine.core.codec import (
    decode_index_server_message,
    decode_relay_message,
    encode_index_client_message,
    encode_relay_message,
)
from offset_engine.core.index import IndexLimits
from offset_engine.core.link import CloseCode, LinkClosed
from offset_engine.core.messages import (
    Accept,
    Connect,
    Incoming,
    Info,
    InfoRequest,
    Listen,
    Listening,
    Reject,
    RelayMessage,
    TimeHash,
)
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.values import RelayAddress, Uid
from offset_engine.errors import InvariantError, TransportError
from offset_engine.net.servers import (
    IndexService,
    RelayService,
    run_index_server,
    run_relay,
    run_relay_and_index,
    run_services,
)
from offset_engine.net.transport import (
    PURPOSE_INDEX,
    PURPOSE_RELAY,
    Connection,
    DialError,
    DialFailure,
    Endpoint,
    NetLimits,
    accept_through_relay,
    bound_address,
    connect_through_relay,
    dial,
    listen,
)
from tests.covers import covers
from tests.net.loopback import connection_tasks, endpoint, key_of, owner, until

pytestmark = pytest.mark.anyio

RELAY, ALICE, BOB, CAROL, MALLORY = (endpoint(seed) for seed in range(10, 15))
QUICK = RelayLimits(probe_ms=100, hold_ms=60, half_tunnel_ms=200, first_message_ms=300)


class Relayed:
    """A running relay and the moves of its clients."""

    def __init__(self, service: RelayService, address: str, tasks: anyio.abc.TaskGroup) -> None:
        self.service = service
        self.at = RelayAddress(key_of(RELAY), address)
        self.tasks = tasks

    async def client(self, who: Endpoint, *first: RelayMessage) -> Connection:
        leg = await dial(who, self.tasks, self.at.address, self.at.public_key, PURPOSE_RELAY)
        for message in first:
            leg.send_nowait(encode_relay_message(message))
        return leg

    async def listener(self, who: Endpoint) -> Connection:
        leg = await self.client(who, Listen())
        assert isinstance(decode_relay_message(await leg.receive()), Listening)
        return leg

    async def tunnel(self, dialer: Endpoint, listener: Endpoint) -> tuple[Connection, Connection]:
        """The two inner links, dialler's first."""
        control = await self.listener(listener)
        ends: dict[str, Connection] = {}

        async def answer() -> None:
            call = await incoming(control)
            ends["listener"] = await accept_through_relay(
                listener, self.tasks, self.at, call.tunnel_id, call.dialer
            )

        async with anyio.create_task_group() as both:
            both.start_soon(answer)
            ends["dialer"] = await self.connect(dialer, listener)
        control.close()
        return ends["dialer"], ends["listener"]

    async def connect(self, dialer: Endpoint, listener: Endpoint) -> Connection:
        return await connect_through_relay(dialer, self.tasks, self.at, key_of(listener))


async def incoming(control: Connection) -> Incoming:
    message = decode_relay_message(await control.receive())
    assert isinstance(message, Incoming)
    return message


async def code_of(connection: Connection) -> CloseCode | None:
    with anyio.fail_after(5):
        return (await connection.wait_closed()).code


async def stop_reading(connection: Connection) -> None:
    """Take nothing more from the system; the answer to a ping is the last that comes through."""
    answers: list[int] = []
    connection.on_pong = answers.append
    connection.pause_reading()
    connection.ping()
    await until(lambda: answers)


@asynccontextmanager
async def relaying(limits: RelayLimits = QUICK) -> AsyncIterator[Relayed]:
    service = RelayService(RELAY, limits)
    async with anyio.create_task_group() as servers:
        (address,) = await servers.start(run_services, RELAY, ["127.0.0.1:0"], [service])
        async with owner() as tasks:
            yield Relayed(service, address, tasks)
        await until(lambda: service.stats.connections == 0)
        assert service.stats.tunnels == 0
        servers.cancel_scope.cancel()


# --- tunnels ------------------------------------------------------------------------------------


async def test_two_nodes_talk_through_a_relay_both_ways():
    async with relaying() as relay:
        dialer, listener = await relay.tunnel(ALICE, BOB)
        assert dialer.peer == key_of(BOB)
        assert listener.peer == key_of(ALICE)
        assert dialer.binding == listener.binding
        assert relay.service.stats.tunnels == 1
        for size in (0, 1, 20_000, 512 * 1024):
            dialer.send_nowait(bytes(size))
            assert await listener.receive() == bytes(size)
            listener.send_nowait(b"x" * size)
            assert await dialer.receive() == b"x" * size


@pytest.mark.parametrize("code", [CloseCode.NORMAL, CloseCode.REPLACED, CloseCode.MAX_AGE])
async def test_a_goodbye_inside_a_tunnel_arrives_with_its_code(code: CloseCode):
    async with relaying() as relay:
        dialer, listener = await relay.tunnel(ALICE, BOB)
        dialer.send_nowait(b"last words")
        dialer.close(code, "because")
        assert await listener.receive() == b"last words"
        assert await listener.wait_closed() == LinkClosed(code, "because", clean=True)


async def test_cancelling_a_node_says_shutdown_through_its_tunnels():
    async with relaying() as relay:
        async with anyio.create_task_group() as short_lived:
            mine = relay.tasks
            relay.tasks = short_lived
            control = await relay.listener(BOB)
            relay.tasks = mine

            async def call() -> None:
                ends.append(await relay.connect(ALICE, BOB))

            ends: list[Connection] = []
            mine.start_soon(call)
            announced = await incoming(control)
            bob = await accept_through_relay(
                BOB, short_lived, relay.at, announced.tunnel_id, announced.dialer
            )
            await until(lambda: ends)
            ends[0].send_nowait(b"hello")
            await bob.receive()
            short_lived.cancel_scope.cancel()
        end = await ends[0].wait_closed()
        assert (end.code, end.clean) == (CloseCode.SHUTDOWN, True)


async def test_a_relay_that_announces_somebody_else_is_found_out():
    async with relaying() as relay:
        control = await relay.listener(BOB)
        async with anyio.create_task_group() as both:
            both.start_soon(relay.connect, MALLORY, BOB)
            call = await incoming(control)
            with pytest.raises(DialError) as caught:
                await accept_through_relay(
                    BOB, relay.tasks, relay.at, call.tunnel_id, key_of(ALICE)
                )
        assert caught.value.failure is DialFailure.WRONG_KEY


async def delay_line(
    source: anyio.abc.ByteStream, sink: anyio.abc.ByteStream, delay_s: float
) -> None:
    """Pass everything on `delay_s` later, as much of it as there is."""
    give, take = anyio.create_memory_object_stream[tuple[float, bytes]](math.inf)

    async def late() -> None:
        async for at, data in take:
            await anyio.sleep_until(at + delay_s)
            await sink.send(data)

    async with give, take, anyio.create_task_group() as tasks:
        tasks.start_soon(late)
        try:
            while True:
                data = await source.receive()
                give.send_nowait((anyio.current_time(), data))
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def far_away(relay: Relayed, delay_s: float) -> AsyncIterator[None]:
    """Move the relay, for new connections, `delay_s` away from its clients."""
    host, _, port = relay.at.address.rpartition(":")

    async def carry(client: anyio.abc.SocketStream) -> None:
        async with (
            client,
            await anyio.connect_tcp(host, int(port)) as server,
            anyio.create_task_group() as both,
        ):
            both.start_soon(delay_line, client, server, delay_s)
            await delay_line(server, client, delay_s)
            both.cancel_scope.cancel()

    (proxy,) = await listen("127.0.0.1:0")
    async with proxy, anyio.create_task_group() as carrying:
        carrying.start_soon(proxy.serve, carry)
        relay.at = RelayAddress(relay.at.public_key, bound_address(proxy))
        yield
        carrying.cancel_scope.cancel()


@covers("NT21")
async def test_a_large_message_over_slow_legs_does_not_hold_up_a_ping():
    """Each leg takes 50 ms per direction, so a round trip takes 200 ms."""
    async with relaying(RelayLimits()) as relay, far_away(relay, 0.05):
        dialer, listener = await relay.tunnel(ALICE, BOB)
        answers: list[int] = []
        dialer.on_pong = answers.append
        message = bytes(range(256)) * 2048
        dialer.send_nowait(message)
        dialer.ping()
        assert await listener.receive() == message
        await until(lambda: answers)
        assert 200 <= answers[0] < 1000


# --- half tunnels -------------------------------------------------------------------------------


@covers("NT31")
async def test_a_dialler_that_leaves_a_half_tunnel_frees_it_at_once():
    async with relaying(replace(QUICK, half_tunnel_ms=60_000)) as relay:
        control = await relay.listener(BOB)
        leaving = await relay.client(ALICE, Connect(key_of(BOB)))
        await incoming(control)
        assert relay.service.stats.half_tunnels == 1
        leaving.close()
        await until(lambda: relay.service.stats.half_tunnels == 0, within_s=1)
        async with anyio.create_task_group() as both:
            both.start_soon(relay.connect, ALICE, BOB)
            call = await incoming(control)
            link = await accept_through_relay(
                BOB, relay.tasks, relay.at, call.tunnel_id, key_of(ALICE)
            )
        assert link.is_up


@covers("NT32")
async def test_a_listener_that_never_answers_costs_the_dialler_its_wait_and_nobody_else():
    async with relaying() as relay:
        control = await relay.listener(BOB)
        started = anyio.current_time()
        with pytest.raises(DialError) as caught:
            await relay.connect(ALICE, BOB)
        assert caught.value.code is CloseCode.UNAVAILABLE
        assert anyio.current_time() - started >= QUICK.half_tunnel_ms / 1000
        await incoming(control)
        again = await relay.client(CAROL, Connect(key_of(BOB)))
        assert (await incoming(control)).dialer == key_of(CAROL)
        assert again.ended is None


@covers("NT33")
async def test_accepting_a_foreign_expired_or_used_tunnel_is_unavailable_to_all_but_the_owner():
    async with relaying() as relay:
        control = await relay.listener(BOB)
        await relay.listener(CAROL)
        expired = await relay.client(MALLORY, Connect(key_of(BOB)))
        old_id = (await incoming(control)).tunnel_id
        assert await code_of(expired) is CloseCode.UNAVAILABLE

        waiting = await relay.client(ALICE, Connect(key_of(BOB)))
        tunnel_id = (await incoming(control)).tunnel_id
        for who, wrong in ((CAROL, tunnel_id), (BOB, old_id), (BOB, Uid(bytes(16)))):
            assert await code_of(await relay.client(who, Accept(wrong))) is CloseCode.UNAVAILABLE
        accepting = await relay.client(BOB, Accept(tunnel_id))
        await accepting.receive()
        await waiting.receive()
        reused = await relay.client(BOB, Accept(tunnel_id))
        assert await code_of(reused) is CloseCode.UNAVAILABLE
        waiting.send_nowait(b"through")
        assert await accepting.receive() == b"through"


async def test_a_rejected_dialler_hears_the_same_as_one_that_dialled_nobody():
    async with relaying() as relay:
        control = await relay.listener(BOB)
        rejected = await relay.client(ALICE, Connect(key_of(BOB)))
        control.send_nowait(encode_relay_message(Reject((await incoming(control)).tunnel_id)))
        nobody = await relay.client(CAROL, Connect(key_of(MALLORY)))
        assert await rejected.wait_closed() == await nobody.wait_closed()


async def test_anything_before_the_tunnel_stands_is_a_protocol_error():
    async with relaying() as relay:
        await relay.listener(BOB)
        early = await relay.client(ALICE, Connect(key_of(BOB)))
        early.send_nowait(b"too early")
        assert await code_of(early) is CloseCode.PROTOCOL


# --- many clients -------------------------------------------------------------------------------


@covers("NT28", "RLY-07")
async def test_a_listener_whose_old_connection_is_dead_is_replaced():
    async with relaying() as relay:
        dead = await relay.listener(BOB)
        await stop_reading(dead)
        with anyio.fail_after(3):
            await relay.listener(BOB)
        dead.resume_reading()
        assert await code_of(dead) is CloseCode.REPLACED


async def test_a_second_device_is_told_that_the_first_one_listens():
    async with relaying() as relay:
        first = await relay.listener(BOB)
        second = await relay.client(BOB, Listen())
        assert await code_of(second) is CloseCode.DUPLICATE
        assert first.ended is None


@covers("NT34")
async def test_fifty_clients_without_a_first_message_delay_nobody():
    async with relaying(replace(QUICK, first_message_ms=60_000)) as relay:
        silent = [await relay.client(endpoint(100 + number)) for number in range(50)]
        with anyio.fail_after(2):
            dialer, listener = await relay.tunnel(ALICE, BOB)
            dialer.send_nowait(b"hello")
            assert await listener.receive() == b"hello"
        assert all(one.ended is None for one in silent)


async def test_a_client_without_a_first_message_is_closed_in_time():
    async with relaying() as relay:
        assert await code_of(await relay.client(ALICE)) is CloseCode.TIMEOUT


@covers("NT35")
async def test_a_flood_of_calls_by_strangers_does_not_keep_a_friend_out():
    async with relaying(replace(RelayLimits(), hold_ms=60)) as relay:
        control = await relay.listener(BOB)
        refused: list[CloseCode | None] = []

        async def flood(who: Endpoint) -> None:
            while True:
                leg = await relay.client(who, Connect(key_of(BOB)))
                with anyio.move_on_after(0.02):
                    refused.append(await code_of(leg))
                leg.close()

        async def answer() -> None:
            while True:
                call = await incoming(control)
                if call.dialer == key_of(ALICE):
                    await accept_through_relay(
                        BOB, relay.tasks, relay.at, call.tunnel_id, call.dialer
                    )
                else:
                    control.send_nowait(encode_relay_message(Reject(call.tunnel_id)))

        async with anyio.create_task_group() as flooding:
            flooding.start_soon(answer)
            for number in range(4):
                flooding.start_soon(flood, endpoint(200 + number))
            await until(lambda: refused.count(CloseCode.OVERLOADED) > 20)
            with anyio.fail_after(5):
                friend = await relay.connect(ALICE, BOB)
            assert friend.is_up
            flooding.cancel_scope.cancel()
        assert control.ended is None


@covers("NT36")
async def test_a_tunnel_end_that_stops_reading_holds_back_the_other_and_then_ends_it():
    limits = replace(QUICK, tunnel_stuck_ms=400)
    alice = replace(ALICE, limits=NetLimits(write_stuck_ms=60_000))
    async with relaying(limits) as relay:
        control = await relay.listener(BOB)
        dialing = await relay.client(alice, Connect(key_of(BOB)))
        accepting = await relay.client(BOB, Accept((await incoming(control)).tunnel_id))
        await dialing.receive()
        await accepting.receive()
        await stop_reading(accepting)
        kept: list[int] = []
        with pytest.raises(TransportError):  # noqa: PT012
            while True:
                dialing.send_nowait(bytes(16_000))
                await dialing.drain()
                kept.append(sum(one.buffered_bytes for one in relay.service.connections))
        assert max(kept) <= 128 * 1024
        assert sum(16_000 for _ in kept) > 128 * 1024
        assert await code_of(dialing) is CloseCode.TIMEOUT
        accepting.deliver_to(lambda _payload: None)
        accepting.resume_reading()
        await accepting.wait_closed()
        assert control.ended is None


async def test_a_tunnel_can_be_slowed_down_to_a_rate():
    limits = replace(QUICK, tunnel_bytes_per_second=1_000_000, tunnel_burst_bytes=50_000)
    async with relaying(limits) as relay:
        dialer, listener = await relay.tunnel(ALICE, BOB)
        started = anyio.current_time()
        dialer.send_nowait(bytes(500_000))
        await listener.receive()
        assert 0.3 <= anyio.current_time() - started < 2


async def test_a_relay_may_serve_only_some_keys():
    allowed = {key_of(BOB)}
    service = RelayService(RELAY, QUICK, allowed.__contains__)
    async with anyio.create_task_group() as servers, owner() as tasks:
        (address,) = await servers.start(run_services, RELAY, ["127.0.0.1:0"], [service])
        relay = Relayed(service, address, tasks)
        assert await code_of(await relay.client(ALICE, Listen())) is CloseCode.NOT_AUTHORIZED
        bob = await relay.listener(BOB)
        allowed.clear()
        service.recheck_allowed()
        assert await code_of(bob) is CloseCode.NOT_AUTHORIZED
        servers.cancel_scope.cancel()


# --- stopping and failing -----------------------------------------------------------------------


@covers("NT48")
async def test_a_relay_that_is_stopped_tells_everybody_and_is_gone_within_seconds():
    limits = QUICK
    async with owner() as tasks:
        async with anyio.create_task_group() as servers:
            service = RelayService(RELAY, limits)
            (address,) = await servers.start(run_services, RELAY, ["127.0.0.1:0"], [service])
            relay = Relayed(service, address, tasks)
            listeners = [await relay.listener(endpoint(300 + number)) for number in range(10)]
            dialer, _ = await relay.tunnel(ALICE, BOB)
            started = anyio.current_time()
            servers.cancel_scope.cancel()
        assert anyio.current_time() - started < 5
        for one in listeners:
            assert (await one.wait_closed()).code is CloseCode.SHUTDOWN
        await dialer.wait_closed()
        with pytest.raises(DialError):
            await relay.client(ALICE)


async def test_a_relay_comes_back_at_the_same_address_with_the_same_or_another_key():
    async with owner() as tasks:
        async with anyio.create_task_group() as servers:
            (address,) = await servers.start(run_relay, RELAY, ["127.0.0.1:0"], QUICK)
            before = await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_RELAY)
            servers.cancel_scope.cancel()
        await before.wait_closed()
        for key, failure in ((RELAY, None), (MALLORY, DialFailure.WRONG_KEY)):
            async with anyio.create_task_group() as servers:
                await servers.start(run_relay, key, [address], QUICK)
                found = None
                try:
                    await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_RELAY)
                except DialError as error:
                    found = error.failure
                assert found is failure
                servers.cancel_scope.cancel()


async def test_a_broken_invariant_of_a_core_ends_the_server_loudly(
    monkeypatch: pytest.MonkeyPatch,
):
    def fail(*args: object) -> list[object]:
        raise InvariantError("impossible")

    service = RelayService(RELAY, QUICK)
    monkeypatch.setattr(service._core, "received", fail)
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with anyio.create_task_group() as servers, owner() as tasks:
            (address,) = await servers.start(run_services, RELAY, ["127.0.0.1:0"], [service])
            await Relayed(service, address, tasks).client(ALICE, Listen())
            await anyio.sleep_forever()
    assert caught.group_contains(InvariantError)
    await until(lambda: connection_tasks() == 0)


# --- index server -------------------------------------------------------------------------------


async def ask(connection: Connection) -> Info:
    connection.send_nowait(encode_index_client_message(InfoRequest()))
    while True:
        message = decode_index_server_message(await connection.receive())
        if isinstance(message, Info):
            return message
        assert isinstance(message, TimeHash)


async def test_an_index_server_ticks_and_answers():
    async with anyio.create_task_group() as servers, owner() as tasks:
        (address,) = await servers.start(
            run_index_server, RELAY, ["127.0.0.1:0"], IndexLimits(tick_ms=30)
        )
        node = await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_INDEX)
        ticks = {decode_index_server_message(await node.receive()).time_hash for _ in range(3)}
        assert len(ticks) == 3
        assert (await ask(node)).nodes == 0
        node.send_nowait(b"nonsense")
        assert await code_of(node) is CloseCode.PROTOCOL
        servers.cancel_scope.cancel()


@covers("NT71")
async def test_a_node_that_connects_again_takes_over_from_its_dead_connection():
    async with anyio.create_task_group() as servers, owner() as tasks:
        (address,) = await servers.start(run_index_server, RELAY, ["127.0.0.1:0"])
        dead = await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_INDEX)
        await dead.receive()
        dead.pause_reading()
        with anyio.fail_after(3):
            await ask(await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_INDEX))
        dead.resume_reading()
        assert await code_of(dead) is CloseCode.REPLACED
        servers.cancel_scope.cancel()


async def test_a_node_that_does_not_read_gets_one_tick_when_it_reads_again_and_not_all(
    monkeypatch: pytest.MonkeyPatch,
):
    service = IndexService(RELAY, IndexLimits(tick_ms=5))
    async with anyio.create_task_group() as servers, owner() as tasks:
        (address,) = await servers.start(run_services, RELAY, ["127.0.0.1:0"], [service])
        node = await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_INDEX)
        await node.receive()
        (served,) = service.connections
        monkeypatch.setattr(Connection, "buffered_bytes", 1)
        await until(lambda: service._late_ticks)
        first = next(iter(service._late_ticks.values()))
        await until(lambda: next(iter(service._late_ticks.values())) != first)
        assert len(service._late_ticks) == 1
        monkeypatch.undo()
        served.on_drained()
        assert not service._late_ticks
        await ask(node)
        servers.cancel_scope.cancel()


async def test_a_node_that_asks_far_more_than_it_reads_is_closed():
    service = IndexService(replace(RELAY, limits=NetLimits(control_messages_max=8)))
    async with anyio.create_task_group() as servers, owner() as tasks:
        (address,) = await servers.start(run_services, RELAY, ["127.0.0.1:0"], [service])
        node = await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_INDEX)
        node.deliver_to(lambda _payload: None)
        for _ in range(50):
            node.send_nowait(encode_index_client_message(InfoRequest()))
        assert await code_of(node) is CloseCode.OVERLOADED
        servers.cancel_scope.cancel()


async def test_one_port_serves_relay_and_index_and_the_purpose_decides():
    async with anyio.create_task_group() as servers, owner() as tasks:
        (address,) = await servers.start(run_relay_and_index, RELAY, ["127.0.0.1:0"])
        listener = await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_RELAY)
        listener.send_nowait(encode_relay_message(Listen()))
        assert isinstance(decode_relay_message(await listener.receive()), Listening)
        node = await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_INDEX)
        assert isinstance(decode_index_server_message(await node.receive()), TimeHash)
        servers.cancel_scope.cancel()


async def test_a_server_listens_at_several_addresses_or_at_none():
    async with anyio.create_task_group() as servers, owner() as tasks:
        bound = await servers.start(run_relay, RELAY, ["127.0.0.1:0", "127.0.0.2:0"])
        for address in bound:
            await dial(ALICE, tasks, address, key_of(RELAY), PURPOSE_RELAY)
        with pytest.raises(TransportError, match="cannot listen"):
            await run_relay(RELAY, ["127.0.0.3:0", bound[0]])
        servers.cancel_scope.cancel()
