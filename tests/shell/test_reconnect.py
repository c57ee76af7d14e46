"""Trying again at once, and how long servers take to answer: what the engine does about connections when asked."""

from dataclasses import replace

import anyio
import pytest

from offset_engine.core.api import Reconnect
from offset_engine.core.crypto import public_key_of
from offset_engine.core.reports import ServerState
from offset_engine.core.values import NamedAddress, PrivateKey
from offset_engine.net.index_client import IndexState, IndexStatus
from offset_engine.net.relay_listeners import RelayState, RelayStatus
from offset_engine.net.round_trips import steadied
from offset_engine.net.server_reports import connections
from tests.net.loopback import until
from tests.net.peers_world import QUICK, Node, world
from tests.shell.engine_world import running
from tests.shell.test_index_client import TIMERS, servers
from tests.shell.test_index_client import running as index_client

pytestmark = pytest.mark.anyio
PLACE = NamedAddress(public_key_of(PrivateKey(bytes([5]) * 32)), "127.0.0.1:3000")


async def test_reconnecting_asks_friends_relays_and_the_index_server_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running(monkeypatch) as scene:
        before = scene.engine.state
        await scene.client.command(Reconnect())
        assert (scene.peers.retries, scene.index.retries) == (1, 1)
        assert scene.engine.state == before


async def test_an_index_server_that_is_back_is_found_at_once_when_asked_for() -> None:
    patient = replace(TIMERS, dial_backoff_min_ms=3_600_000, dial_backoff_max_ms=3_600_000)
    async with servers(1) as (server,), index_client(timers=patient) as client:
        wrong = replace(server.named, address="127.0.0.1:1")
        client.index.set_servers((wrong,))
        await until(lambda: client.index.status.state is IndexState.WAITING)
        failed = len(client.states)
        client.index.retry()
        await until(lambda: len(client.states) > failed)
        await until(lambda: client.index.status.state is IndexState.WAITING)
        client.index.set_servers((server.named,))
        await until(lambda: client.is_up_at(server.named))


async def test_how_long_the_index_server_takes_is_known_while_it_is_connected() -> None:
    async with servers(1) as (server,), index_client(server.named) as client:
        await until(lambda: client.index.status.rtt_ms is not None)
        server.scope.cancel()
        await until(lambda: client.index.status.state is not IndexState.UP)
        await until(lambda: client.index.status.rtt_ms is None)


async def test_how_long_a_relay_takes_is_news() -> None:
    async with world() as w:
        relay = await w.relay()
        one = Node(PrivateKey(bytes([61]) * 32), QUICK)
        one.listen(relay.address)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.run)
            await until(lambda: one.listens(relay.address))
            await until(lambda: one.relay(relay.address).rtt_ms is not None)
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("state", "relay", "latency_ms"),
    [
        (ServerState.CONNECTED, RelayState.LISTENING, 40),
        (ServerState.WAITING, RelayState.WAITING, None),
    ],
)
def test_only_what_is_connected_has_a_latency(
    state: ServerState, relay: RelayState, latency_ms: int | None
) -> None:
    status = RelayStatus(
        relay=PLACE.relay,
        state=relay,
        since_ms=0,
        last_error="",
        attempts=1,
        rtt_ms=40,
        tunnels=0,
        next_attempt_ms=None,
        calls_failed=0,
    )
    index = IndexStatus(IndexState.UP, PLACE.public_key, 0, "", 7)
    found = connections((PLACE,), (PLACE,), (status,), index)
    assert (found.relays[0].state, found.relays[0].latency_ms) == (state, latency_ms)
    assert found.index_servers[0].latency_ms == 7


@pytest.mark.parametrize(
    ("shown", "measured", "then"),
    [
        (None, 3, 3),
        (3, 0, 3),
        (3, 7, 3),
        (3, 8, 8),
        (100, 120, 100),
        (100, 125, 125),
        (100, 70, 70),
        (0, 4, 0),
    ],
)
def test_small_differences_are_no_news(shown: int | None, measured: int, then: int) -> None:
    assert steadied(shown, measured) == then
