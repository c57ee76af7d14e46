"""The relay behind sockets: the pure `core.relay` and its driver.

A tunnel is two pumps without tasks: what arrives on one connection is queued on the other, and while that
holds `tunnel_buffer_bytes` the first is not read. Source: PROTOCOL.md, "Relays".
"""

from collections.abc import Callable, Sequence
from functools import partial

import anyio
from anyio.abc import TaskGroup

from offset_engine.core import relay as relay_core
from offset_engine.core.codec import decode_relay_message, encode_relay_message
from offset_engine.core.link import CloseCode, LinkClosed
from offset_engine.core.relay import Relay, RelayStats
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.values import PublicKey
from offset_engine.errors import DecodeError
from offset_engine.net.services import Alarm, Clients
from offset_engine.net.transport import PURPOSE_RELAY, Connection, Endpoint


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
        self._clients = Clients(endpoint)
        self._partners: dict[int, int] = {}
        self._alarm = Alarm(self._now_ms, self._core.deadline_ms, self._on_deadline)
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
