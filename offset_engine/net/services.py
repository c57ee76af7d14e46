"""Listening sockets for several purposes, and what drives the pure core of each.

`run_services` listens, tells the caller where through `task_status`, and serves until cancelled; the purpose
byte of a link decides which service answers it. Then everybody is told SHUTDOWN and the call returns
within about a second.

```
connection up ──► core.connected ─┐
message ────────► core.received ──┼─► effects, done at once, in order, without waiting for anybody
deadline, end ──► core.… ─────────┘
```

A client that does not read what it is told is closed with OVERLOADED. Source: PROTOCOL.md, "Links".
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import anyio
import anyio.lowlevel
from anyio.abc import SocketListener, TaskStatus

from offset_engine.core.link import CloseCode
from offset_engine.net.transport import (
    Connection,
    Endpoint,
    bound_address,
    close_listeners,
    listen,
    serve_connections,
)

_log: Final = logging.getLogger(__name__)


class Service(Protocol):
    """What answers links of one purpose."""

    purpose: int

    async def serve(self, connection: Connection) -> None:
        """Serve one connection that is up, until it has ended."""

    async def run(self) -> None:
        """Keep the deadlines of the core, forever."""

    def stop(self) -> None:
        """Tell everybody SHUTDOWN."""


async def run_services(
    endpoint: Endpoint,
    addresses: Sequence[str],
    services: Sequence[Service],
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve several purposes at all of `addresses` until cancelled.

    Args:
        endpoint: whose identity answers.
        addresses: `host:port` each; names are resolved, port 0 lets the system choose.
        services: one for each purpose.
        task_status: told the addresses really listened at.

    Raises:
        TransportError: an address cannot be listened at; nothing is served then.
    """
    by_purpose = {service.purpose: service for service in services}

    async def serve(connection: Connection) -> None:
        await by_purpose[connection.purpose].serve(connection)

    listeners = await _listen_everywhere(addresses)
    async with anyio.create_task_group() as tasks:
        try:
            for service in services:
                tasks.start_soon(service.run)
            tasks.start_soon(serve_connections, endpoint, listeners, tuple(by_purpose), serve)
            bound = tuple(bound_address(one) for one in listeners)
            if bound:
                _log.info("serving at %s", ", ".join(bound))
            task_status.started(bound)
            await anyio.sleep_forever()
        finally:
            for service in services:
                service.stop()


async def _listen_everywhere(addresses: Sequence[str]) -> list[SocketListener]:
    listeners: list[SocketListener] = []
    try:
        for address in addresses:
            listeners += await listen(address)
    except BaseException:
        await close_listeners(listeners)
        raise
    return listeners


class Alarm:
    """Calls a core at its one deadline, which may move earlier with every event."""

    def __init__(
        self,
        clock: Callable[[], int],
        deadline_ms: Callable[[], int | None],
        ring: Callable[[int], None],
    ) -> None:
        """Ring at `deadline_ms()` of the core; `run` does it."""
        self._clock = clock
        self._deadline_ms = deadline_ms
        self._ring = ring
        self._set_to_ms: int | None = None
        self._moved = anyio.Event()

    def look(self) -> None:
        """Something happened to the core: wake up earlier if it wants that."""
        deadline_ms = self._deadline_ms()
        if deadline_ms is not None and (self._set_to_ms is None or deadline_ms < self._set_to_ms):
            self._moved.set()

    async def run(self) -> None:
        """Ring forever."""
        while True:
            deadline_ms = self._set_to_ms = self._deadline_ms()
            now_ms = self._clock()
            if deadline_ms is not None and deadline_ms <= now_ms:
                self._ring(now_ms)
                await anyio.lowlevel.checkpoint()
                continue
            self._moved = anyio.Event()
            delay = float("inf") if deadline_ms is None else (deadline_ms - now_ms) / 1000
            with anyio.move_on_after(delay):
                await self._moved.wait()


class Clients:
    """The connections of a core by the numbers the core knows them by."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Nobody yet."""
        self._messages_max = endpoint.limits.control_messages_max
        self._connections: dict[int, Connection] = {}
        self._last = 0

    def add(self, connection: Connection) -> int:
        """Take a connection; its number is never used again."""
        self._last += 1
        self._connections[self._last] = connection
        return self._last

    def remove(self, conn: int) -> None:
        """Forget a connection that has ended."""
        del self._connections[conn]

    def get(self, conn: int) -> Connection | None:
        """The connection with this number, if there is one."""
        return self._connections.get(conn)

    def all(self) -> tuple[Connection, ...]:
        """All of them, oldest first."""
        return tuple(self._connections.values())

    def send(self, conn: int, payload: bytes) -> None:
        """Never waits: a client that does not read is closed."""
        connection = self._connections.get(conn)
        if connection is None:
            return
        if connection.queued_messages >= self._messages_max:
            connection.close(CloseCode.OVERLOADED, "answers are not read")
        else:
            connection.send_nowait(payload)

    def hold(self, conn: int) -> None:
        """Read nothing more from it until `release`."""
        connection = self._connections.get(conn)
        if connection is not None:
            connection.pause_reading()

    def release(self, conn: int) -> None:
        """Read from it again."""
        connection = self._connections.get(conn)
        if connection is not None:
            connection.resume_reading()

    def close(self, conn: int, code: CloseCode, reason: str) -> None:
        """End a connection, telling why."""
        connection = self._connections.get(conn)
        if connection is not None:
            connection.close(code, reason)
