"""The index client: one good session at a time, whatever servers and their owner do."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import TaskGroup

from offset_engine.core.codec import decode_index_client_message, encode_index_server_message
from offset_engine.core.crypto import public_key_of
from offset_engine.core.index import IndexLimits, RouteCode
from offset_engine.core.messages import (
    Edge,
    IndexUpdate,
    RoutesRequest,
    RoutesResponse,
    TimeHash,
    UpdateAck,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    HashResult,
    NamedAddress,
    PrivateKey,
    PublicKey,
    Rate,
    Timers,
    Uid,
)
from offset_engine.net.index_client import IndexClient, IndexState
from offset_engine.net.peers import endpoint_of
from offset_engine.net.servers import IndexService, run_services
from offset_engine.net.transport import PURPOSE_INDEX, Connection
from tests.covers import covers
from tests.net.loopback import endpoint, key_of, serving, until

pytestmark = pytest.mark.anyio

ME = PrivateKey(bytes([77]) * 32)
FST = Currency("FST")
TIMERS = Timers(
    dial_backoff_min_ms=10,
    dial_backoff_max_ms=40,
    handshake_ms=10_000,
    route_answer_ms=5_000,
    index_delta_ms=40,
    index_ack_ms=400,
)
LIMITS = IndexLimits(tick_ms=200, updates_per_second=1_000, updates_burst=1_000)


class Client:
    """A running index client of one node, and what it was told."""

    def __init__(self, timers: Timers = TIMERS) -> None:
        self.edges: tuple[Edge, ...] = ()
        self.answers: list[RoutesResponse] = []
        self.states: list[tuple[IndexState, PublicKey | None, str]] = []
        self.index = IndexClient(
            endpoint_of(ME, timers), timers, lambda: self.edges, self.answers.append
        )
        self.index.on_change = self._note

    def _note(self) -> None:
        status = self.index.status
        self.states.append((status.state, status.server, status.last_error))

    def is_up_at(self, server: NamedAddress) -> bool:
        status = self.index.status
        return (status.state, status.server) == (IndexState.UP, server.public_key)

    def ask(self, number: int, *, is_elsewhere: bool = False) -> None:
        dest = PublicKey(bytes([5]) * 32)
        question = Uid(number.to_bytes(16, "big"))
        self.index.ask(
            RoutesRequest(question, 0, FST, 1, dest, None, None, CREDITS_MAX, 32, 32, (), ()),
            is_elsewhere=is_elsewhere,
        )

    def answered(self) -> list[int]:
        return sorted(int.from_bytes(answer.request_id, "big") for answer in self.answers)


@asynccontextmanager
async def running(*servers: NamedAddress, timers: Timers = TIMERS) -> AsyncIterator[Client]:
    client = Client(timers)
    client.index.set_servers(servers)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.index.run)
        yield client
        tasks.cancel_scope.cancel()


class Server:
    """A real index server that can be stopped."""

    def __init__(self, number: int) -> None:
        self.endpoint = endpoint(number)
        self.service = IndexService(self.endpoint, LIMITS)
        self.scope = anyio.CancelScope()
        self.named = NamedAddress(key_of(self.endpoint), "")

    async def start(self, tasks: TaskGroup) -> NamedAddress:
        (address,) = await tasks.start(self._run)
        self.named = NamedAddress(key_of(self.endpoint), address)
        return self.named

    async def _run(self, *, task_status: anyio.abc.TaskStatus[tuple[str, ...]]) -> None:
        with self.scope:
            await run_services(
                self.endpoint, ["127.0.0.1:0"], [self.service], task_status=task_status
            )


@asynccontextmanager
async def servers(*numbers: int) -> AsyncIterator[list[Server]]:
    async with anyio.create_task_group() as tasks:
        found = [Server(number) for number in numbers]
        for server in found:
            await server.start(tasks)
        yield found
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def pretender(
    number: int, handler: Callable[[Connection], Awaitable[None]]
) -> AsyncIterator[NamedAddress]:
    """A server that does what a test wants."""
    one = endpoint(number)
    async with serving(one, handler, (PURPOSE_INDEX,)) as address:
        yield NamedAddress(key_of(one), address)


async def test_a_node_without_servers_says_so_and_uses_the_first_it_gets():
    async with servers(1) as (server,), running() as client:
        await until(lambda: client.index.status.state is IndexState.NO_SERVER)
        client.index.set_servers((server.named,))
        await until(lambda: client.is_up_at(server.named))
        client.index.set_servers(())
        await until(lambda: client.index.status.state is IndexState.NO_SERVER)
        await until(lambda: not server.service.connections)


async def test_a_question_is_answered_and_one_asked_before_there_was_a_server_as_well():
    async with servers(1) as (server,), running() as client:
        client.ask(1)
        client.index.set_servers((server.named,))
        await until(lambda: client.answered() == [1])
        client.ask(2)
        await until(lambda: client.answered() == [1, 2])
        assert client.answers[0].code == RouteCode.UNREACHABLE


async def test_more_questions_than_may_be_open_at_once_are_all_answered():
    async with servers(1) as (server,), running(server.named) as client:
        await until(lambda: client.is_up_at(server.named))
        for number in range(300):
            client.ask(number)
        await until(lambda: client.answered() == list(range(300)))


async def test_questions_that_waited_too_long_are_never_asked():
    async with (
        servers(1) as (server,),
        running(timers=Timers(route_answer_ms=1, dial_backoff_min_ms=10)) as client,
    ):
        client.ask(1)
        await until(lambda: client.index.status.state is IndexState.NO_SERVER)
        started = anyio.current_time()
        await until(lambda: anyio.current_time() > started + 0.01)
        client.index.set_servers((server.named,))
        await until(lambda: client.is_up_at(server.named))
        assert not server.service.stats.queries or not any(
            count for _, count in server.service.stats.queries
        )


async def test_the_oldest_question_gives_way_when_too_many_wait():
    async with servers(1) as (server,), running() as client:
        for number in range(1_025):
            client.ask(number)
        client.index.set_servers((server.named,))
        await until(lambda: len(client.answers) == 1_024)
        assert client.answered() == list(range(1, 1_025))


@covers("NOD-15")
async def test_changes_of_edges_reach_the_server():
    friend = public_key_of(PrivateKey(bytes([78]) * 32))
    async with servers(1) as (server,), running(server.named) as client:
        await until(lambda: client.is_up_at(server.named))
        graph = server.service.graph
        me = public_key_of(ME)
        client.edges = (Edge(friend, FST, 10, Rate()),)
        client.index.edges_changed()
        await until(lambda: graph.reports(me, friend, FST))
        client.edges = ()
        client.index.edges_changed()
        await until(lambda: not graph.reports(me, friend, FST))


@covers("NOD-16")
async def test_a_server_that_stops_is_followed_by_the_next_and_the_next_by_the_first():
    async with servers(1, 2) as (one, two), running(one.named, two.named) as client:
        await until(lambda: client.is_up_at(one.named) or client.is_up_at(two.named))
        used, other = (one, two) if client.is_up_at(one.named) else (two, one)
        used.scope.cancel()
        await until(lambda: client.is_up_at(other.named))
        client.ask(1)
        await until(lambda: client.answered() == [1])


async def test_a_server_that_comes_back_is_found_again():
    async with anyio.create_task_group() as tasks:
        first = Server(1)
        named = await first.start(tasks)
        async with running(named) as client:
            await until(lambda: client.is_up_at(named))
            first.scope.cancel()
            await until(lambda: client.index.status.state is IndexState.WAITING)
            assert client.index.status.last_error
            again = Server(1)
            client.index.set_servers((await again.start(tasks),))
            await until(lambda: client.is_up_at(again.named))
        tasks.cancel_scope.cancel()


async def silent(connection: Connection) -> None:
    """Takes everything and says nothing; PONGs come from the link itself."""
    await connection.wait_closed()


@covers("NT60")
async def test_a_server_without_time_hashes_is_left_for_the_next():
    async with pretender(1, silent) as stalled, servers(2) as (good,), running(stalled) as client:
        await until(lambda: client.index.status.state is IndexState.REPORTING)
        client.index.set_servers((stalled, good.named))
        await until(lambda: client.is_up_at(good.named))
        left = [error for _, server, error in client.states if server == stalled.public_key]
        assert "no_time_hash" in left


@covers("NT60")
async def test_a_server_that_falls_silent_is_left_within_three_of_its_periods():
    period_ms = 100

    async def stalls(connection: Connection) -> None:
        connection.send_nowait(
            encode_index_server_message(TimeHash(HashResult(bytes(32)), period_ms))
        )
        while True:
            update = decode_index_client_message(await connection.receive())
            if isinstance(update, IndexUpdate):
                ack = UpdateAck(update.session_id, update.counter, 0)
                connection.send_nowait(encode_index_server_message(ack))

    async with pretender(1, stalls) as stalled, servers(2) as (good,), running(stalled) as client:
        await until(lambda: client.is_up_at(stalled))
        client.index.set_servers((stalled, good.named))
        client.ask(1)
        with anyio.fail_after(4):
            await until(lambda: client.is_up_at(good.named), 4)
        left = [error for _, server, error in client.states if server == stalled.public_key]
        assert "no_time_hash" in left
        await until(lambda: client.answered() == [1])


async def test_a_server_that_talks_nonsense_is_left():
    async def babbles(connection: Connection) -> None:
        connection.send_nowait(b"\xc1")
        await connection.wait_closed()

    async with pretender(1, babbles) as bad, servers(2) as (good,), running(bad) as client:
        await until(lambda: client.index.status.state is IndexState.WAITING)
        client.index.set_servers((bad, good.named))
        await until(lambda: client.is_up_at(good.named))


@covers("NT73")
async def test_a_server_removed_while_connecting_is_left_at_once():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as hole:
        port = hole.extra(anyio.abc.SocketAttribute.local_port)
        black_hole = NamedAddress(key_of(endpoint(1)), f"127.0.0.1:{port}")
        async with servers(2) as (good,), running(black_hole) as client:
            await until(lambda: client.index.status.state is IndexState.CONNECTING)
            client.ask(1)
            client.index.set_servers((good.named,))
            await until(lambda: client.is_up_at(good.named), 4)
            await until(lambda: client.answered() == [1])


@covers("NT73")
async def test_a_server_whose_address_changed_while_connecting_is_dialled_at_the_new_one():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as hole:
        port = hole.extra(anyio.abc.SocketAttribute.local_port)
        async with servers(1) as (good,), running() as client:
            client.index.set_servers((NamedAddress(good.named.public_key, f"127.0.0.1:{port}"),))
            await until(lambda: client.index.status.state is IndexState.CONNECTING)
            client.index.set_servers((good.named,))
            await until(lambda: client.is_up_at(good.named), 4)


@covers("NT73")
async def test_a_server_removed_while_connected_is_left_and_its_open_questions_go_to_the_next():
    asked: list[object] = []

    async def thinks(connection: Connection) -> None:
        connection.send_nowait(encode_index_server_message(TimeHash(HashResult(bytes(32)), 60_000)))
        while True:
            asked.append(decode_index_client_message(await connection.receive()))

    patient = Timers(dial_backoff_min_ms=10, dial_backoff_max_ms=40)
    async with (
        pretender(1, thinks) as slow,
        servers(2) as (good,),
        running(slow, timers=patient) as client,
    ):
        client.ask(1)
        await until(lambda: any(isinstance(one, RoutesRequest) for one in asked))
        client.index.set_servers((good.named,))
        await until(lambda: client.is_up_at(good.named))
        await until(lambda: client.answered() == [1])


async def test_a_server_whose_label_or_address_changed_is_not_left():
    async with servers(1) as (server,), running(server.named) as client:
        await until(lambda: client.is_up_at(server.named))
        seen = len(client.states)
        key, address = server.named.public_key, server.named.address
        client.index.set_servers((NamedAddress(key, address, "a name"),))
        client.index.set_servers((NamedAddress(key, "127.0.0.1:1", "moved"),))
        client.ask(1)
        await until(lambda: client.answered() == [1])
        assert client.states[seen:] == []


# --- another server for one question --------------------------------------------------------------


async def test_a_question_better_put_elsewhere_moves_the_session_once_a_minute_at_most():
    async with servers(1, 2) as (one, two), running(one.named, two.named) as client:
        await until(lambda: client.is_up_at(one.named) or client.is_up_at(two.named))
        used, other = (one, two) if client.is_up_at(one.named) else (two, one)
        client.ask(1)
        await until(lambda: client.answered() == [1])
        client.ask(2, is_elsewhere=True)
        await until(lambda: client.answered() == [1, 2])
        assert client.is_up_at(other.named)
        assert sum(count for _, count in other.service.stats.queries) == 1
        assert not [state for state, _, _ in client.states if state is IndexState.WAITING]
        client.ask(3, is_elsewhere=True)
        await until(lambda: client.answered() == [1, 2, 3])
        assert client.is_up_at(other.named)
        assert sum(count for _, count in used.service.stats.queries) == 1


async def test_if_no_other_server_answers_the_question_goes_to_the_one_in_use():
    gone = NamedAddress(key_of(endpoint(2)), "127.0.0.1:1")
    async with servers(1) as (one,), running(one.named) as client:
        await until(lambda: client.is_up_at(one.named))
        client.index.set_servers((one.named, gone))
        client.ask(1, is_elsewhere=True)
        await until(lambda: client.answered() == [1])
        assert client.is_up_at(one.named)
        client.index.set_servers((one.named,))
        client.ask(2, is_elsewhere=True)
        await until(lambda: client.answered() == [1, 2])


async def test_a_server_in_between_that_is_gone_is_passed_over():
    gone = NamedAddress(key_of(endpoint(2)), "127.0.0.1:1")
    async with servers(1, 3) as (one, three), running(one.named) as client:
        await until(lambda: client.is_up_at(one.named))
        client.index.set_servers((one.named, gone, three.named))
        client.ask(1, is_elsewhere=True)
        await until(lambda: client.answered() == [1])
        assert client.is_up_at(three.named)


async def test_knocking_at_a_server_that_says_nothing_takes_a_quarter_of_the_questions_time():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as hole:
        port = hole.extra(anyio.abc.SocketAttribute.local_port)
        black_hole = NamedAddress(key_of(endpoint(2)), f"127.0.0.1:{port}")
        hasty = Timers(route_answer_ms=400, dial_backoff_min_ms=10, index_delta_ms=40)
        async with servers(1) as (one,), running(one.named, timers=hasty) as client:
            await until(lambda: client.is_up_at(one.named))
            client.index.set_servers((one.named, black_hole))
            client.ask(1, is_elsewhere=True)
            await until(lambda: client.answered() == [1])
            assert client.is_up_at(one.named)


async def test_a_question_that_waits_for_another_server_survives_the_loss_of_the_first():
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as hole:
        port = hole.extra(anyio.abc.SocketAttribute.local_port)
        black_hole = NamedAddress(key_of(endpoint(2)), f"127.0.0.1:{port}")
        async with servers(1, 3) as (one, three), running(one.named) as client:
            await until(lambda: client.is_up_at(one.named))
            client.index.set_servers((one.named, black_hole))
            client.ask(1, is_elsewhere=True)
            client.index.set_servers((three.named,))
            await until(lambda: client.answered() == [1])
            assert client.is_up_at(three.named)
