"""What the tests over real loopback sockets share: endpoints with short times, and waiting for a fact."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import SocketListener, TaskGroup

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.net.transport import (
    PURPOSE_FRIEND,
    Connection,
    Endpoint,
    Handler,
    bound_address,
    listen,
    serve_connections,
)


def endpoint(seed: int, **settings: object) -> Endpoint:
    return Endpoint(PrivateKey(seed.to_bytes(32, "big")), **settings)


def key_of(one: Endpoint) -> PublicKey:
    return public_key_of(one.identity)


async def until(fact: Callable[[], object], within_s: float = 5) -> None:
    with anyio.fail_after(within_s):
        while not fact():  # noqa: ASYNC110  nothing announces the fact
            await anyio.sleep(0.002)


async def echo(connection: Connection) -> None:
    while True:
        connection.send_nowait(await connection.receive())


@asynccontextmanager
async def serving(
    one: Endpoint,
    handler: Handler = echo,
    purposes: tuple[int, ...] = (PURPOSE_FRIEND,),
    listeners: list[SocketListener] | None = None,
) -> AsyncIterator[str]:
    """Serve at a free port; gives the address and stops when left."""
    found = await listen("127.0.0.1:0") if listeners is None else listeners
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_connections, one, found, purposes, handler)
        yield bound_address(found[0])
        tasks.cancel_scope.cancel()


def connection_tasks() -> int:
    """How many tasks drive connections, of either end."""
    return sum("Connection." in (task.name or "") for task in anyio.get_running_tasks())


@asynccontextmanager
async def owner() -> AsyncIterator[TaskGroup]:
    """A task group for dialled connections, cancelled when left; no task survives it."""
    before = connection_tasks()
    async with anyio.create_task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()
    await until(lambda: connection_tasks() <= before)
