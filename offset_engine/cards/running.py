"""Runs an opened card: its engine, its doors, and servers for others if its owner wants some."""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from offset_engine.cards.opened import OpenCard
from offset_engine.core.app_messages import AppPermissions
from offset_engine.core.crypto import public_key_of, sha512_256
from offset_engine.core.values import PrivateKey, PublicKey, RelayAddress, Timers, value
from offset_engine.errors import TransportError
from offset_engine.files import RemoteCard, Servers
from offset_engine.net.app_server import AppService
from offset_engine.net.app_socket import serve_socket
from offset_engine.net.connection import monotonic_ms
from offset_engine.net.engine import Engine
from offset_engine.net.local_client import LocalClient
from offset_engine.net.nearby import LocalServers, dialable_here
from offset_engine.net.node_log import NodeLog
from offset_engine.net.remote_client import by_address, open_remote
from offset_engine.net.servers import IndexService, RelayService, Service, run_services
from offset_engine.net.transport import Endpoint, NetLimits
from offset_engine.net.trusted_apps import TrustedApps

_HANDSHAKES_MAX: Final = 16
"""Apps that are still proving their key; a card has few of them."""
_SERVERS_TAG: Final = sha512_256(b"offset/v1/card-servers")


@value
class RunningCard:
    """A card whose node runs in this process."""

    engine: Engine
    client: LocalClient
    addresses: tuple[str, ...]
    """Where it really listens for apps and for users of its servers; () = nowhere."""
    servers: Servers | None
    """What others paste to use its relay and index server."""
    door_problem: str
    """Why programs of this user cannot reach it, in a sentence; "" if they can."""


@value
class ConnectionTest:
    """What came of reaching a remote card's node."""

    node: PublicKey
    permissions: AppPermissions
    took_ms: int


@contextlib.asynccontextmanager
async def running(
    card: OpenCard, timers: Timers | None = None, nearby: LocalServers | None = None
) -> AsyncIterator[RunningCard]:
    """Run a card until the block ends; a node that fails ends the block with its error.

    Args:
        card: opened; closing it stays with the caller.
        timers: all waiting times; the defaults if None.
        nearby: where servers of this machine leave notes; the user's own directory if None.

    Raises:
        TransportError: an address of its settings cannot be listened at.
        StoreError: the database failed.
        InvariantError: the node's own state is impossible.
    """
    try:
        async with anyio.create_task_group() as tasks:
            found: RunningCard = await tasks.start(partial(run_card, card, timers, nearby))
            yield found
            tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _single(group) from None


async def run_card(
    card: OpenCard,
    timers: Timers | None = None,
    nearby: LocalServers | None = None,
    *,
    task_status: TaskStatus[RunningCard] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """The same as a task: tells the `RunningCard` once it runs, ends when it is cancelled.

    Raises:
        TransportError, StoreError, InvariantError: (in a group) as `running`.
    """
    nearby = LocalServers() if nearby is None else nearby
    engine = Engine(
        card.identity,
        card.store,
        timers,
        diagnostics=card.diagnostics,
        nearby=nearby.find,
    )
    apps = AppService(engine, TrustedApps(card.trusted))
    endpoint = Endpoint(card.identity, NetLimits(handshakes_max=_HANDSHAKES_MAX))
    async with anyio.create_task_group() as tasks, contextlib.AsyncExitStack() as stack:
        # Its own servers first: the card may use them.
        servers, bound = await _serve(tasks, stack, card, nearby)
        listening = [_everywhere(card.settings.app_address)] if card.settings.app_address else []
        bound += await tasks.start(partial(run_services, endpoint, listening, [apps]))
        await tasks.start(engine.run)
        tasks.start_soon(NodeLog(engine).run)
        problem = await _open_door(tasks, card, apps)
        task_status.started(RunningCard(engine, LocalClient(engine), bound, servers, problem))
        await anyio.sleep_forever()


async def _serve(
    tasks: TaskGroup, stack: contextlib.AsyncExitStack, card: OpenCard, nearby: LocalServers
) -> tuple[Servers | None, tuple[str, ...]]:
    """Start the servers if the card has some; gives what others paste and where they listen."""
    address = card.settings.serve_address
    if not address:
        return None, ()
    identity = servers_identity(card.identity)
    endpoint = Endpoint(identity)
    services: list[Service] = [RelayService(endpoint), IndexService(endpoint)]
    bound: tuple[str, ...] = await tasks.start(
        partial(run_services, endpoint, [_everywhere(address)], services)
    )
    key = public_key_of(identity)
    stack.enter_context(nearby.noted(key, dialable_here(bound[0])))
    place = RelayAddress(key, address)
    return Servers(place, place), bound


def servers_identity(identity: PrivateKey) -> PrivateKey:
    """Secret. The key of the servers a card runs: a card cannot meet itself at its own key.

    It follows from the card's key, so that it survives backups without being in them; the other way
    round nothing follows.
    """
    return PrivateKey(sha512_256(_SERVERS_TAG + identity))


async def _open_door(tasks: TaskGroup, card: OpenCard, apps: AppService) -> str:
    """Open the socket for programs of this user; without it the rest goes on. Gives the reason then."""
    try:
        await tasks.start(partial(serve_socket, card.socket, apps.serve_local))
    except TransportError as error:
        return f"programs of this user cannot use the card while it runs here: {error}"
    return ""


def _everywhere(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"[::]:{port}" if host.startswith("[") else f"0.0.0.0:{port}"


async def try_connection(remote: RemoteCard, timers: Timers | None = None) -> ConnectionTest:
    """Reach a remote card's node once and say what it lets us do.

    Raises:
        TransportError: it cannot be reached, is another node, or does not trust this key.
    """
    started = monotonic_ms()
    dial = by_address(Endpoint(remote.app_private_key), remote.node_address, remote.node_public_key)
    async with open_remote(dial, timers) as client:
        return ConnectionTest(remote.node_public_key, client.permissions, monotonic_ms() - started)


def _single(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
