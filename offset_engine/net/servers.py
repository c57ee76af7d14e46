"""The relay and the index server behind listening sockets: each a pure core and this driver.

`run_relay`, `run_index_server` and `run_relay_and_index` (one port and identity, the purpose byte of a
link decides) listen, tell the caller where through `task_status`, and serve until cancelled. Then
everybody is told SHUTDOWN and the call returns within about a second.

```
connection up ──► core.connected ─┐
message ────────► core.received ──┼─► effects, done at once, in order, without waiting for anybody
deadline, end ──► core.… ─────────┘      Send · Close · Probe · Splice
```

A client that does not read what it is told is closed with OVERLOADED. A tunnel is two pumps without
tasks: what arrives on one connection is queued on the other, and while that holds `tunnel_buffer_bytes`
the first is not read. Source: PROTOCOL.md, "Relays" and "Index servers".
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import anyio
import anyio.lowlevel
from anyio.abc import SocketListener, TaskGroup, TaskStatus

from offset_engine.core import index as index_core
from offset_engine.core import relay as relay_core
from offset_engine.core.codec import (
    decode_index_client_message,
    decode_relay_message,
    encode_index_server_message,
    encode_relay_message,
)
from offset_engine.core.graph import Graph
from offset_engine.core.index import IndexLimits, IndexServer, IndexStats
from offset_engine.core.link import CloseCode, LinkClosed
from offset_engine.core.messages import TimeHash
from offset_engine.core.relay import Relay, RelayStats
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.values import PublicKey
from offset_engine.errors import DecodeError
from offset_engine.net.transport import (
    PURPOSE_INDEX,
    PURPOSE_RELAY,
    Connection,
    Endpoint,
    bound_address,
    close_listeners,
    listen,
    serve_connections,
)

_log: Final = logging.getLogger(__name__)

_TICK_RANDOM_BYTES: Final = 16


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


class _Alarm:
    """Calls a core at its one deadline, which may move earlier with every event."""

    def __init__(
        self,
        clock: Callable[[], int],
        deadline_ms: Callable[[], int | None],
        ring: Callable[[int], None],
    ) -> None:
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


class _Clients:
    """The connections of a core by the numbers the core knows them by."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._messages_max = endpoint.limits.control_messages_max
        self._connections: dict[int, Connection] = {}
        self._last = 0

    def add(self, connection: Connection) -> int:
        self._last += 1
        self._connections[self._last] = connection
        return self._last

    def remove(self, conn: int) -> None:
        del self._connections[conn]

    def get(self, conn: int) -> Connection | None:
        return self._connections.get(conn)

    def all(self) -> tuple[Connection, ...]:
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

    def close(self, conn: int, code: CloseCode, reason: str) -> None:
        connection = self._connections.get(conn)
        if connection is not None:
            connection.close(code, reason)


# --- relay --------------------------------------------------------------------------------------


class RelayService:
    """Drives a `Relay`."""

    purpose = int(PURPOSE_RELAY)

    def __init__(
        self,
        endpoint: Endpoint,
        limits: RelayLimits = RelayLimits(),  # noqa: B008  a value
        allowed: Callable[[PublicKey], bool] | None = None,
    ) -> None:
        """Start empty; `allowed` says which keys may use it, None lets everybody."""
        self._now_ms = endpoint.now_ms
        self._limits = limits
        self._core = Relay(limits, endpoint.random_bytes, allowed)
        self._clients = _Clients(endpoint)
        self._partners: dict[int, int] = {}
        self._alarm = _Alarm(self._now_ms, self._core.deadline_ms, self._on_deadline)
        self._tasks: TaskGroup | None = None

    @property
    def stats(self) -> RelayStats:
        """Numbers for the operator."""
        return self._core.stats()

    def recheck_allowed(self) -> None:
        """The list of allowed keys changed: close whoever is no longer on it."""
        self._perform(self._core.recheck_allowed())

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Everybody served now, oldest first."""
        return self._clients.all()

    def stop(self) -> None:
        """Tell everybody SHUTDOWN."""
        self._perform(self._core.shut_down())

    async def run(self) -> None:
        """Keep the deadlines of the core and of throttled tunnels, forever."""
        async with anyio.create_task_group() as self._tasks:
            await self._alarm.run()

    async def serve(self, connection: Connection) -> None:
        """Serve one connection until it has ended."""
        conn = self._clients.add(connection)
        try:
            connection.on_pong = lambda _rtt_ms: self._perform(self._core.pong(conn))
            self._perform(
                self._core.connected(conn, connection.peer, connection.source, self._now_ms())
            )
            connection.deliver_to(partial(self._received, conn))
            await connection.wait_closed()
        finally:
            self._clients.remove(conn)
            self._hang_up(conn, connection.ended)
            self._perform(self._core.closed(conn))

    def _received(self, conn: int, payload: bytes) -> None:
        try:
            message = decode_relay_message(payload)
        except DecodeError:
            self._perform(self._core.malformed(conn))
            return
        if message is not None:
            self._perform(self._core.received(conn, message, self._now_ms()))

    def _on_deadline(self, now_ms: int) -> None:
        self._perform(self._core.on_deadline(now_ms))

    def _perform(self, effects: Sequence[relay_core.Effect]) -> None:
        for effect in effects:
            match effect:
                case relay_core.Send(conn, message):
                    self._clients.send(conn, encode_relay_message(message))
                case relay_core.Close(conn, code, reason):
                    self._clients.close(conn, code, reason)
                case relay_core.Splice(dialer, acceptor, _):
                    self._splice(dialer, acceptor)
                case relay_core.Probe(conn):
                    probed = self._clients.get(conn)
                    if probed is not None:
                        probed.ping()
        self._alarm.look()

    def _splice(self, dialer: int, acceptor: int) -> None:
        one, other = self._clients.get(dialer), self._clients.get(acceptor)
        if one is None or other is None:
            return
        self._partners[dialer], self._partners[acceptor] = acceptor, dialer
        for end in (one, other):
            end.use_exact_records()
            end.set_write_stuck(self._limits.tunnel_stuck_ms)
        _Pump(one, other, self._limits, self._now_ms, self._later)
        _Pump(other, one, self._limits, self._now_ms, self._later)

    def _later(self, delay_ms: int, what: Callable[[], None]) -> None:
        async def wait() -> None:
            await anyio.sleep(delay_ms / 1000)
            what()

        if self._tasks is not None:
            self._tasks.start_soon(wait)

    def _hang_up(self, conn: int, end: LinkClosed | None) -> None:
        """One end of a tunnel is gone: so is the tunnel."""
        partner = self._partners.pop(conn, None)
        if partner is None:
            return
        code = CloseCode.SHUTDOWN if end is None else end.code
        if code not in (CloseCode.NORMAL, CloseCode.TIMEOUT, CloseCode.SHUTDOWN):
            code = CloseCode.UNAVAILABLE
        self._clients.close(partner, code, "the tunnel has ended")


class _Pump:
    """One direction of a tunnel; alive as long as its two connections."""

    def __init__(
        self,
        source: Connection,
        sink: Connection,
        limits: RelayLimits,
        clock: Callable[[], int],
        later: Callable[[int, Callable[[], None]], None],
    ) -> None:
        self._source = source
        self._sink = sink
        self._limits = limits
        self._clock = clock
        self._later = later
        self._is_full = False
        self._is_throttled = False
        self._paid_until_ms = 0
        sink.on_drained = self._drained
        source.deliver_to(self._pass_on)

    def _pass_on(self, payload: bytes) -> None:
        self._sink.send_nowait(payload)
        if self._sink.buffered_bytes >= self._limits.tunnel_buffer_bytes:
            self._is_full = True
            self._source.pause_reading()
        if self._limits.tunnel_bytes_per_second:
            self._charge(len(payload))

    def _charge(self, size: int) -> None:
        """Hold the source back while it is ahead of its rate by more than the burst."""
        rate, now_ms = self._limits.tunnel_bytes_per_second, self._clock()
        self._paid_until_ms = max(self._paid_until_ms, now_ms) + size * 1000 // rate
        ahead_ms = self._paid_until_ms - now_ms - self._limits.tunnel_burst_bytes * 1000 // rate
        if ahead_ms > 0 and not self._is_throttled:
            self._is_throttled = True
            self._source.pause_reading()
            self._later(ahead_ms, self._unthrottle)

    def _unthrottle(self) -> None:
        self._is_throttled = False
        self._resume()

    def _drained(self) -> None:
        if self._is_full and self._sink.buffered_bytes < self._limits.tunnel_buffer_bytes:
            self._is_full = False
            self._resume()

    def _resume(self) -> None:
        if not self._is_full and not self._is_throttled:
            self._source.resume_reading()


# --- index server -------------------------------------------------------------------------------


class IndexService:
    """Drives an `IndexServer`."""

    purpose = int(PURPOSE_INDEX)

    def __init__(
        self,
        endpoint: Endpoint,
        limits: IndexLimits = IndexLimits(),  # noqa: B008  a value
    ) -> None:
        """Start empty."""
        self._now_ms = endpoint.now_ms
        self._random = endpoint.random_bytes
        self._core = IndexServer(limits, self._now_ms(), self._random(_TICK_RANDOM_BYTES))
        self._clients = _Clients(endpoint)
        self._late_ticks: dict[int, TimeHash] = {}  # for clients that have not read the last one
        self._alarm = _Alarm(self._now_ms, self._core.deadline_ms, self._on_deadline)

    @property
    def stats(self) -> IndexStats:
        """Numbers for the operator."""
        return self._core.stats(self._now_ms())

    @property
    def graph(self) -> Graph:
        """Who can receive how much from whom; read only."""
        return self._core.graph

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Everybody served now, oldest first."""
        return self._clients.all()

    def stop(self) -> None:
        """Tell everybody SHUTDOWN."""
        self._perform(self._core.shut_down())

    async def run(self) -> None:
        """Keep the deadlines of the core, forever."""
        await self._alarm.run()

    async def serve(self, connection: Connection) -> None:
        """Serve one connection until it has ended."""
        conn = self._clients.add(connection)
        try:
            connection.on_drained = partial(self._drained, conn)
            self._perform(self._core.connected(conn, connection.peer))
            connection.deliver_to(partial(self._received, conn))
            await connection.wait_closed()
        finally:
            self._clients.remove(conn)
            self._late_ticks.pop(conn, None)
            self._perform(self._core.closed(conn))

    def _received(self, conn: int, payload: bytes) -> None:
        try:
            message = decode_index_client_message(payload)
        except DecodeError:
            self._perform(self._core.malformed(conn))
            return
        if message is not None:
            self._perform(self._core.received(conn, message, self._now_ms()))

    def _on_deadline(self, now_ms: int) -> None:
        self._perform(self._core.on_deadline(now_ms, self._random(_TICK_RANDOM_BYTES)))

    def _perform(self, effects: Sequence[index_core.Effect]) -> None:
        encoded, payload = None, b""  # one tick goes to everybody: encode it once
        for effect in effects:
            match effect:
                case index_core.Send(conn, TimeHash() as tick) if self._is_behind(conn):
                    self._late_ticks[conn] = tick
                case index_core.Send(conn, message):
                    if message is not encoded:
                        encoded, payload = message, encode_index_server_message(message)
                    self._clients.send(conn, payload)
                case index_core.Close(conn, code, reason):
                    self._clients.close(conn, code, reason)
        self._alarm.look()

    def _is_behind(self, conn: int) -> bool:
        connection = self._clients.get(conn)
        return connection is not None and connection.buffered_bytes > 0

    def _drained(self, conn: int) -> None:
        tick = self._late_ticks.pop(conn, None)
        if tick is not None:
            self._clients.send(conn, encode_index_server_message(tick))


# --- running them -------------------------------------------------------------------------------


async def run_relay(
    endpoint: Endpoint,
    addresses: Sequence[str],
    limits: RelayLimits = RelayLimits(),  # noqa: B008  a value
    allowed: Callable[[PublicKey], bool] | None = None,
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run a relay until cancelled; see `run_services`."""
    service = RelayService(endpoint, limits, allowed)
    await run_services(endpoint, addresses, [service], task_status=task_status)


async def run_index_server(
    endpoint: Endpoint,
    addresses: Sequence[str],
    limits: IndexLimits = IndexLimits(),  # noqa: B008  a value
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run an index server until cancelled; see `run_services`."""
    service = IndexService(endpoint, limits)
    await run_services(endpoint, addresses, [service], task_status=task_status)


async def run_relay_and_index(
    endpoint: Endpoint,
    addresses: Sequence[str],
    relay_limits: RelayLimits = RelayLimits(),  # noqa: B008  a value
    index_limits: IndexLimits = IndexLimits(),  # noqa: B008  a value
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run both behind one port and identity until cancelled; see `run_services`."""
    services: list[Service] = [
        RelayService(endpoint, relay_limits),
        IndexService(endpoint, index_limits),
    ]
    await run_services(endpoint, addresses, services, task_status=task_status)
