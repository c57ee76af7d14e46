"""Index servers that trust each other, over real loopback sockets: who is let in, and what nodes notice."""

import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from offset_engine.core.friend_links import LinkRules
from offset_engine.core.index import FederationLimits, IndexLimits, RouteCode
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import Edge, RoutesRequest, RoutesResponse
from offset_engine.core.noise import Purpose
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    NamedAddress,
    PublicKey,
    Rate,
    Timers,
    Uid,
)
from offset_engine.errors import TransportError
from offset_engine.files import Role, Ticket, load_ticket, write_ticket
from offset_engine.net.federation import (
    FederationService,
    PeerState,
    PeerStatus,
    _Dialler,
    run_federated_index_server,
)
from offset_engine.net.index_client import IndexClient, IndexState
from offset_engine.net.peers import endpoint_of
from offset_engine.net.servers import IndexService, RelayService, run_services
from offset_engine.net.transport import DialError, Endpoint, dial
from offset_engine.net.trusted_servers import NobodyTrusted, TrustedServers
from offset_engine.programs import stmgr
from tests.covers import covers
from tests.net.loopback import endpoint, key_of, owner, until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
FST = Currency("FST")
QUICK = IndexLimits(tick_ms=200)
QUICK_FEDERATION = FederationLimits(
    alive_gap_ms=50, resync_tick_ms=20, resync_spread_ms=20, resync_gap_ms=100, need_gap_ms=100
)
RULES = LinkRules(backoff_min_ms=20, backoff_max_ms=100, settle_ms=100, refused_ms=150)
NODE_TIMERS = Timers(dial_backoff_min_ms=10, dial_backoff_max_ms=40, index_delta_ms=40)


class Server:
    """A relay and an index server that federates, on one port, with a directory of trusted tickets."""

    def __init__(self, number: int, directory: Path) -> None:
        self.endpoint = endpoint(number)
        self.key = key_of(self.endpoint)
        self.directory = directory / f"trusted by {number}"
        self.directory.mkdir()
        self.index = IndexService(self.endpoint, QUICK, QUICK_FEDERATION)
        trusted = TrustedServers(self.directory)
        self.federation = FederationService(self.endpoint, self.index, trusted, RULES, reread_ms=20)
        self.address = ""

    async def start(self, tasks: TaskGroup, *addresses: str) -> None:
        services = [RelayService(self.endpoint), self.index, self.federation]
        bound = await tasks.start(
            run_services, self.endpoint, addresses or ["127.0.0.1:0"], services
        )
        self.address = bound[0]

    @property
    def named(self) -> NamedAddress:
        return NamedAddress(self.key, self.address)

    def trust(self, other: "Server", address: str | None = None) -> Path:
        path = self.directory / f"{other.key.to_text()[:8]}.index"
        write_ticket(path, Ticket(other.key, address or other.address, Role.INDEX), force=True)
        return path

    def is_linked(self, other: "Server") -> bool:
        return self.index.is_linked(other.key) and other.index.is_linked(self.key)

    def about(self, other: "Server") -> PeerStatus:
        unknown = PeerStatus(other.key, None, PeerState.WAITING, "")
        known = (one for one in self.federation.statuses if one.server == other.key)
        return next(known, unknown)

    @property
    def links(self) -> int:
        return sum(one.purpose == Purpose.INDEX_SERVER for one in self.index.connections)


@asynccontextmanager
async def servers(directory: Path, number: int) -> AsyncIterator[list[Server]]:
    async with anyio.create_task_group() as tasks:
        found = [Server(30 + place, directory) for place in range(number)]
        for one in found:
            await one.start(tasks)
        yield found
        tasks.cancel_scope.cancel()


class Person:
    """A node that reports what it can receive, and asks for routes."""

    def __init__(self, number: int, timers: Timers = NODE_TIMERS) -> None:
        own = endpoint(number)
        self.key = key_of(own)
        self.edges: tuple[Edge, ...] = ()
        self.answers: list[RoutesResponse] = []
        self.client = IndexClient(
            endpoint_of(own.identity, timers), timers, lambda: self.edges, self.answers.append
        )

    def receives_from(self, *others: "Person") -> None:
        self.edges = tuple(Edge(one.key, FST, 100, Rate()) for one in others)
        self.client.edges_changed()

    @property
    def is_up(self) -> bool:
        return self.client.status.state is IndexState.UP

    async def ask(self, dest: PublicKey) -> RoutesResponse:
        before = len(self.answers)
        request_id = Uid(before.to_bytes(16, "big"))
        self.client.ask(
            RoutesRequest(request_id, 0, FST, 10, dest, None, None, CREDITS_MAX, 1, 20, (), ())
        )
        await until(lambda: len(self.answers) > before)
        return self.answers[-1]

    async def until_route(self, dest: PublicKey, within_s: float = 5) -> RoutesResponse:
        with anyio.fail_after(within_s):
            while True:
                answer = await self.ask(dest)
                if answer.code == RouteCode.OK:
                    return answer
                await anyio.sleep(0.02)


@asynccontextmanager
async def people(
    *places: NamedAddress, timers: Timers = NODE_TIMERS
) -> AsyncIterator[list[Person]]:
    """One person at each server; neighbours are friends."""
    found = [Person(60 + number, timers) for number in range(len(places))]
    for place, one in enumerate(found):
        near = [found[other] for other in (place - 1, place + 1) if 0 <= other < len(found)]
        one.receives_from(*near)
    async with anyio.create_task_group() as tasks:
        for one, place in zip(found, places, strict=True):
            one.client.set_servers((place,))
            tasks.start_soon(one.client.run)
        await until(lambda: all(one.is_up for one in found), 10)
        yield found
        tasks.cancel_scope.cancel()


# --- in one process -----------------------------------------------------------------------------


@covers("IDX-03", "IDX-15")
async def test_a_node_at_one_end_of_a_line_finds_the_way_to_the_other_end(tmp_path: Path) -> None:
    async with servers(tmp_path, 3) as (one, middle, other):
        places = (one.named, middle.named, other.named, one.named)
        async with people(*places) as (alice, bob, carol, dave):
            assert (await alice.ask(carol.key)).code != RouteCode.OK
            for near, far in ((one, middle), (middle, other)):
                near.trust(far)
                far.trust(near)
            answer = await alice.until_route(carol.key)
            assert answer.choices[0].parts[0].keys == (alice.key, bob.key, carol.key)
            await carol.until_route(alice.key)
            await dave.until_route(alice.key)
            stats = [server.index.stats for server in (one, middle, other)]
            assert [(one.nodes, one.edges) for one in stats] == [(4, 6)] * 3
            bob.receives_from(carol)
            await until(lambda: all(s.index.stats.edges == 5 for s in (one, middle, other)))


@covers("NT72", "IDX-02")
async def test_a_ticket_removed_closes_the_link_and_one_added_makes_it(tmp_path: Path) -> None:
    async with servers(tmp_path, 2) as (one, other):
        path = one.trust(other)
        back = other.trust(one)
        await until(lambda: one.is_linked(other))
        path.unlink()
        await until(lambda: not one.links and not other.links)
        await until(lambda: other.about(one).state is PeerState.REFUSED)
        assert "does not trust" in other.about(one).last_error
        assert one.federation.statuses == ()
        back.unlink()
        await until(lambda: other.federation.statuses == ())
        one.trust(other)
        other.trust(one)
        await until(lambda: one.is_linked(other))
        assert other.about(one) == PeerStatus(one.key, one.address, PeerState.LINKED, "")


@covers("NT72")
async def test_a_server_nobody_trusts_is_told_so_and_takes_its_time(tmp_path: Path) -> None:
    async with servers(tmp_path, 2) as (one, other), owner() as tasks:
        stranger = await dial(endpoint(99), tasks, one.address, one.key, Purpose.INDEX_SERVER)
        with anyio.fail_after(5):
            end = await stranger.wait_closed()
        assert end.code is CloseCode.NOT_AUTHORIZED
        one.trust(other)
        await until(lambda: one.about(other).state is PeerState.REFUSED)
        assert one.about(other).last_error == (
            "it does not trust this index server: has its operator our ticket?"
        )
        started = anyio.current_time()
        await until(lambda: one.about(other).state is PeerState.CONNECTING)
        assert anyio.current_time() - started > 0.1
        assert not one.is_linked(other)


@covers("FIX-15")
async def test_a_bad_file_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with servers(tmp_path, 2) as (one, other):
        with caplog.at_level(logging.WARNING):
            (one.directory / "bad.index").write_text("{")
            one.trust(other)
            other.trust(one)
            await until(lambda: one.is_linked(other))
        said = [record.getMessage() for record in caplog.records]
        assert sum("skipping what is no index server's ticket" in line for line in said) == 1


async def test_the_log_says_who_comes_and_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with servers(tmp_path, 2) as (one, other):
        with caplog.at_level(logging.INFO):
            ticket = one.trust(other)
            other.trust(one)
            await until(lambda: one.is_linked(other))
            ticket.unlink()
            await until(lambda: not one.index.is_linked(other.key))
            await until(lambda: not other.index.is_linked(one.key))
        said = [record.getMessage() for record in caplog.records]
        for server in (one, other):
            about = [line for line in said if f"{server.key}" in line]
            assert f"index server {server.key} is connected" in about
            assert f"index server {server.key} is gone" in about


async def test_one_side_without_an_address_is_dialled_by_the_other(tmp_path: Path) -> None:
    for number, unknown in enumerate((0, 1)):
        directory = tmp_path / str(number)
        directory.mkdir()
        async with servers(directory, 2) as pair:
            passive, active = pair[unknown], pair[1 - unknown]
            active.trust(passive)
            passive.trust(active, "nowhere")
            await until(lambda: passive.is_linked(active))  # noqa: B023  asked at once
            assert passive.about(active).address is None


async def test_a_name_is_looked_up_and_an_address_that_moved_is_followed(tmp_path: Path) -> None:
    async with servers(tmp_path, 2) as (one, other):
        port = other.address.rpartition(":")[2]
        one.trust(other, "127.0.0.1:1")
        other.trust(one, "127.0.0.1:1")
        await until(lambda: one.about(other).last_error == "nothing listens at port 1 there")
        one.trust(other, f"localhost:{port}")
        await until(lambda: one.is_linked(other))


async def test_however_often_both_dial_one_link_stays(tmp_path: Path) -> None:
    async with servers(tmp_path, 3) as all_three:
        for one in all_three:
            for other in all_three:
                if other is not one:
                    one.trust(other)
        await until(lambda: all(one.links == 2 for one in all_three))
        links = {one.key: set(map(id, one.index.connections)) for one in all_three}
        await anyio.sleep(0.5)
        assert links == {one.key: set(map(id, one.index.connections)) for one in all_three}


@covers("IDX-14")
async def test_pauses_double_up_to_a_limit_and_a_refusal_costs_a_minute() -> None:
    rules = LinkRules()
    own = endpoint(30)
    service = FederationService(own, IndexService(own), NobodyTrusted(), rules)
    one = _Dialler(key_of(endpoint(31)), "127.0.0.1:1")
    for doubled in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
        pause_ms = service._pause_ms(one, None)
        assert doubled * 500 <= pause_ms <= doubled * 1_000
    one.failures = 0
    assert service._pause_ms(one, CloseCode.NOT_AUTHORIZED) == rules.refused_ms
    one.failures = 0
    assert 2_000 <= service._pause_ms(one, CloseCode.SHUTDOWN) <= 10_000
    assert service._pause_ms(one, CloseCode.DUPLICATE) == rules.settle_ms
    assert one.failures == 1


async def test_whose_link_is_taken_again_and_again_waits_longer_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = LinkRules()
    own = endpoint(30)
    service = FederationService(own, IndexService(own), NobodyTrusted(), rules)
    one = _Dialler(key_of(endpoint(31)), "127.0.0.1:1")
    assert service._pause_ms(one, CloseCode.REPLACED) == rules.settle_ms
    assert caplog.records == []
    for doubled in (2, 4, 8, 16, 32, 60, 60):
        pause_ms = service._pause_ms(one, CloseCode.REPLACED)
        assert doubled * 2_500 <= pause_ms <= doubled * 5_000
    assert "do two run with one key?" in one.last_error
    assert len(caplog.records) == 1


async def test_two_servers_with_one_key_do_not_keep_everybody_busy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = LinkRules(settle_ms=20, lived_ms=60_000, backoff_max_ms=5_000)
    async with servers(tmp_path, 2) as (one, other), anyio.create_task_group() as tasks:
        one.trust(other, "nowhere")
        other.trust(one)
        trusted = TrustedServers(other.directory)
        index = IndexService(other.endpoint, QUICK, QUICK_FEDERATION)
        twin = FederationService(other.endpoint, index, trusted, rules, reread_ms=20)
        other.federation._rules = rules
        tasks.start_soon(index.run)
        tasks.start_soon(twin.run)
        said = f"index server {other.key} takes its own link over again and again"
        await until(lambda: any(said in record.getMessage() for record in caplog.records))
        both = (other.federation, twin)
        await until(
            lambda: any("two run" in status.last_error for f in both for status in f.statuses)
        )
        tasks.cancel_scope.cancel()


async def test_what_is_no_message_of_a_server_closes_the_link(tmp_path: Path) -> None:
    async with servers(tmp_path, 2) as (one, other), owner() as tasks:
        one.trust(other, "nowhere")
        await until(lambda: one.federation.statuses)
        bad = await dial(other.endpoint, tasks, one.address, one.key, Purpose.INDEX_SERVER)
        await until(lambda: one.index.is_linked(other.key))
        bad.send_nowait(b"nonsense")
        with anyio.fail_after(5):
            assert (await bad.wait_closed()).code is CloseCode.PROTOCOL
        (about,) = one.index.server_stats
        assert about.faults == 1


# --- two ports ----------------------------------------------------------------------------------


async def bound_of(
    tasks: TaskGroup, one: Endpoint, clients: list[str], at_servers: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return await tasks.start(run_federated_index_server, one, clients, at_servers, NobodyTrusted())


@covers("IDX-01")
async def test_nodes_and_servers_have_ports_of_their_own_or_share_one() -> None:
    one = endpoint(40)
    async with anyio.create_task_group() as servers_, owner() as tasks:
        (nodes,), (peers,) = await bound_of(servers_, one, ["127.0.0.1:0"], ["127.0.0.1:0"])
        await dial(endpoint(41), tasks, nodes, key_of(one), Purpose.INDEX_CLIENT)
        await dial(endpoint(41), tasks, peers, key_of(one), Purpose.INDEX_SERVER)
        for address, purpose in (
            (nodes, Purpose.INDEX_SERVER),
            (peers, Purpose.INDEX_CLIENT),
            (nodes, Purpose.RELAY),
        ):
            with pytest.raises(DialError):
                await dial(endpoint(41), tasks, address, key_of(one), purpose)
        assert await bound_of(servers_, one, ["127.0.0.3:0"], []) != ()
        servers_.cancel_scope.cancel()
    async with anyio.create_task_group() as servers_, owner() as tasks:
        (shared,), (again,) = await bound_of(servers_, one, [nodes], [nodes])
        assert shared == again == nodes
        for purpose in (Purpose.INDEX_CLIENT, Purpose.INDEX_SERVER):
            await dial(endpoint(41), tasks, shared, key_of(one), purpose)
        with pytest.raises(BaseExceptionGroup) as caught:
            await run_federated_index_server(one, ["127.0.0.1:0"], [shared], NobodyTrusted())
        assert caught.group_contains(TransportError)
        servers_.cancel_scope.cancel()


# --- the programs -------------------------------------------------------------------------------

posix = pytest.mark.skipif(sys.platform == "win32", reason="stops by POSIX signals")


@contextmanager
def running(module: str, *argv: str) -> Iterator[dict[str, object]]:
    """A program in a process of its own; gives what it says when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *argv, "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            yield json.loads(process.stdout.readline() or pytest.fail(process.stderr.read()))
            process.terminate()
            _, said = process.communicate(timeout=10)
            assert process.returncode == 0, said
        finally:
            process.kill()


def index_server(directory: Path) -> list[str]:
    """What the tutorial does before `stindex`, and the flags it gives it."""
    trusted = directory / "trusted"
    trusted.mkdir(parents=True)
    identity = str(directory / "index.ident")
    assert stmgr.main(["gen-ident", "--output", identity]) == 0
    flags = ["--idfile", identity, "--lclient", "127.0.0.1:0", "--lserver", "127.0.0.1:0"]
    return [*flags, "--trusted", str(trusted)]


def index_ticket(directory: Path, address: object, name: str) -> Path:
    path = directory / name
    flags = ["--address", str(address), "--idfile", str(directory / "index.ident")]
    assert stmgr.main(["index-ticket", *flags, "--output", str(path)]) == 0
    return path


@posix
@covers("IDX-01", "IDX-02", "IDX-15")
async def test_stindex_federates_with_the_flags_of_the_tutorial(tmp_path: Path) -> None:
    places = [tmp_path / "index1", tmp_path / "index2"]
    with ExitStack() as stack:
        ready = [
            stack.enter_context(running("offset_engine.programs.stindex", *index_server(one)))
            for one in places
        ]
        tickets = [
            index_ticket(place, values["server_addresses"][0], "index_server.index")
            for place, values in zip(places, ready, strict=True)
        ]
        (places[0] / "trusted" / "other_index.index").write_bytes(tickets[1].read_bytes())
        (places[1] / "trusted" / "other_index.index").write_bytes(tickets[0].read_bytes())
        named = [
            NamedAddress(load_ticket(ticket).public_key, str(values["address"]))
            for ticket, values in zip(tickets, ready, strict=True)
        ]
        assert [values["federating"] for values in ready] == [True, True]
        async with people(*named, timers=Timers()) as (alice, bob):
            await alice.until_route(bob.key, 40)
            await bob.until_route(alice.key, 40)


@posix
async def test_two_operators_of_offset_serve_exchange_their_index_tickets(tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    with ExitStack() as stack:
        ready = []
        for number, place in enumerate(places):
            flags = ["--address", f"127.0.0.1:{4567 + number}", "--listen", "127.0.0.1:0"]
            ready.append(stack.enter_context(running("offset_tui", "serve", *flags, str(place))))
        named = []
        for number, values in enumerate(ready):
            mine = load_ticket(str(values["index"]))
            real = Ticket(mine.public_key, str(values["addresses"][0]), Role.INDEX)
            write_ticket(Path(str(ready[1 - number]["trusted"])) / "other.index", real)
            named.append(NamedAddress(real.public_key, real.address))
        async with people(*named, timers=Timers()) as (alice, bob):
            await alice.until_route(bob.key, 40)
