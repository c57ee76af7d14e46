"""Making connections: by dialling an address, through a relay, or by accepting.

Every way ends in a `Connection` whose link is up, running in a task group of the caller, or in a
`TransportError` whose sentence says what went wrong (`DialError.failure` says it to programs).

```
dial                    TCP → link
connect_through_relay   dial the relay → CONNECT → ESTABLISHED → tunnel → link (this side initiates)
accept_through_relay    dial the relay → ACCEPT  → ESTABLISHED → tunnel → link (this side responds)
serve_connections       accept, forever → link → handler
```

The key of the other end is proven by the handshake: a relay, a name server or a router can prevent a
connection but not sit in the middle of it. Source: PROTOCOL.md, "Links" and "Relays".
"""

import contextlib
import dataclasses
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute, SocketListener, SocketStream, TaskGroup

from offset_engine.core.codec import decode_relay_message, encode_relay_message
from offset_engine.core.link import CloseCode, Link, LinkLimits
from offset_engine.core.messages import Accept, Connect, Established
from offset_engine.core.noise import Purpose
from offset_engine.core.relay_limits import network_of
from offset_engine.core.values import PrivateKey, PublicKey, RelayAddress, Uid, parse_address, value
from offset_engine.errors import DecodeError, HandshakeError, TransportError
from offset_engine.net.connection import Connection, NetLimits, monotonic_ms
from offset_engine.net.nearby import StaleNotes, nobody_nearby

__all__ = [
    "PURPOSE_FRIEND", "PURPOSE_INDEX", "PURPOSE_RELAY", "Connection", "DialError", "DialFailure", "Endpoint",
    "Handler", "NetLimits", "Tunnel", "accept_through_relay", "bound_address", "close_listeners",
    "connect_through_relay", "dial", "listen", "monotonic_ms", "resolve", "serve_connections",
]  # fmt: skip

_log: Final = logging.getLogger(__name__)

PURPOSE_RELAY: Final = Purpose.RELAY
PURPOSE_FRIEND: Final = Purpose.FRIEND
PURPOSE_INDEX: Final = Purpose.INDEX_CLIENT

_EPHEMERAL_BYTES: Final = 32
_CHUNK_BYTES: Final = 16_381
"""Largest piece of a tunnel's bytes in one message: with its 3-byte header it fills a bucket (R54)."""
_USER_TIMEOUT_MS: Final = 30_000
"""How long the system keeps sending into silence before it calls a socket dead."""

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port → IP addresses as text, best first; raises OSError if there are none."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """IP addresses behind a name, IPv6 and IPv4 in turn.

    Raises:
        OSError: nobody knows the name.
    """
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    v6 = [str(address[0]) for family, *_, address in found if family == socket.AF_INET6]
    v4 = [str(address[0]) for family, *_, address in found if family == socket.AF_INET]
    return sorted(v6 + v4, key=lambda ip: (v6 if ip in v6 else v4).index(ip))


@value
class Endpoint:
    """Who dials or serves, and everything it takes from the outside world."""

    identity: PrivateKey
    limits: NetLimits = NetLimits()
    link_limits: LinkLimits = LinkLimits()
    now_ms: Callable[[], int] = monotonic_ms
    random_bytes: Callable[[int], bytes] = os.urandom
    resolve: Resolver = resolve
    nearby: Callable[[PublicKey], str | None] = nobody_nearby
    """Where on this machine somebody with this key may listen: dialled before any other address."""
    stale_notes: StaleNotes = dataclasses.field(
        default_factory=StaleNotes, compare=False, hash=False, repr=False
    )


class DialFailure(StrEnum):
    """Why there is no connection."""

    ADDRESS = "address"
    """The address is not one."""
    UNRESOLVABLE = "unresolvable"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    WRONG_KEY = "wrong_key"
    """Somebody else answers there, or something that is not Offset."""
    VERSION = "version"
    CLOSED = "closed"
    """The other end said CLOSE; `code` says why."""
    LOST = "lost"
    PROTOCOL = "protocol"


class DialError(TransportError):
    """No connection could be made."""

    def __init__(self, failure: DialFailure, sentence: str, code: CloseCode | None = None) -> None:
        """Say why, for programs and for people; `code` if the other end closed."""
        super().__init__(sentence)
        self.failure = failure
        self.code = code


# --- dialling -----------------------------------------------------------------------------------


async def dial(
    endpoint: Endpoint, tasks: TaskGroup, address: str, expected: PublicKey, purpose: int
) -> Connection:
    """Connect to `address` (`host:port`) and prove that `expected` answers there.

    Args:
        endpoint: who dials.
        tasks: the connection runs in it, beyond this call.
        address: an IP address or a name, resolved anew each time.
        expected: the only key that may answer.
        purpose: what for; the other end may not offer it.

    Raises:
        DialError: with the reason.
    """
    near = endpoint.nearby(expected)
    if near is None or near == address:
        return await _dial_at(endpoint, tasks, address, expected, purpose)
    found = await _dial_near(endpoint, tasks, near, expected, purpose)
    if found is not None:
        return found
    try:
        return await _dial_at(endpoint, tasks, address, expected, purpose)
    except DialError:
        # A busy server of our own may be all there is: next time it is tried here again.
        endpoint.stale_notes.drop(expected, near)
        raise


async def _dial_at(
    endpoint: Endpoint, tasks: TaskGroup, address: str, expected: PublicKey, purpose: int
) -> Connection:
    stream = await _connect(endpoint, address)
    return await _initiate(endpoint, tasks, stream, expected, purpose)


async def _dial_near(
    endpoint: Endpoint, tasks: TaskGroup, near: str, expected: PublicKey, purpose: int
) -> Connection | None:
    """A link with who left a note on this machine; None = it has gone: dial as everybody does."""
    stale = endpoint.stale_notes
    if stale.has(expected, near, endpoint.now_ms()):
        return None
    failure = DialFailure.TIMEOUT
    with anyio.move_on_after(endpoint.limits.near_ms / 1000):
        try:
            return await _dial_at(endpoint, tasks, near, expected, purpose)
        except DialError as error:
            failure = error.failure
    # Being refused costs nothing, and the server may be back at once after a restart.
    if failure not in (DialFailure.REFUSED, DialFailure.CLOSED):
        stale.add(expected, near, endpoint.now_ms())
    return None


async def _connect(endpoint: Endpoint, address: str) -> SocketStream:
    host, port = _split(address)
    limits = endpoint.limits
    try:
        with anyio.fail_after(limits.connect_ms / 1000):
            try:
                ips = await endpoint.resolve(host, port)
            except OSError:
                raise DialError(DialFailure.UNRESOLVABLE, f"nobody knows the name {host}") from None
            return await _connect_first(list(ips)[: limits.attempts_max], port, limits)
    except TimeoutError:
        raise DialError(DialFailure.TIMEOUT, f"{address} does not answer") from None


async def _connect_first(ips: Sequence[str], port: int, limits: NetLimits) -> SocketStream:
    """Try each IP address a little after the one before; the first to connect wins."""
    streams: list[SocketStream] = []
    errors: list[OSError] = []

    async def attempt(ip: str, over: anyio.Event) -> None:
        try:
            with anyio.fail_after(limits.attempt_ms / 1000):
                streams.append(await anyio.connect_tcp(ip, port))
            tasks.cancel_scope.cancel()
        except OSError as error:  # TimeoutError is one
            errors.append(error)
        finally:
            over.set()

    try:
        async with anyio.create_task_group() as tasks:
            for ip in ips:
                over = anyio.Event()
                tasks.start_soon(attempt, ip, over)
                with anyio.move_on_after(limits.stagger_ms / 1000):
                    await over.wait()
        if not streams:
            raise _why_unconnected(errors, port)
        winner = streams.pop(0)
    finally:
        for loser in streams:
            await anyio.aclose_forcefully(loser)
    _tune(winner)
    return winner


def _why_unconnected(errors: Sequence[OSError], port: int) -> DialError:
    causes = [error.__cause__ if error.__cause__ is not None else error for error in errors]
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return DialError(DialFailure.REFUSED, f"nothing listens at port {port} there")
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return DialError(DialFailure.TIMEOUT, "the address does not answer")
    return DialError(DialFailure.UNREACHABLE, "the address cannot be reached from here")


def _split(address: str) -> tuple[str, int]:
    try:
        host, _, port = parse_address(address).rpartition(":")
    except ValueError as error:
        raise DialError(DialFailure.ADDRESS, f"{address!r} is no address: {error}") from None
    return host.removeprefix("[").removesuffix("]"), int(port)


def _tune(stream: ByteStream) -> None:
    """Send small packets at once, and let the system notice a peer that vanished."""
    raw = stream.extra(SocketAttribute.raw_socket, None)  # noqa: S610  not Django
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with contextlib.suppress(OSError):  # already gone again; reading will tell
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)


async def _initiate(
    endpoint: Endpoint, tasks: TaskGroup, stream: ByteStream, expected: PublicKey, purpose: int
) -> Connection:
    try:
        link = Link.initiator(
            endpoint.identity,
            expected,
            purpose,
            endpoint.random_bytes(_EPHEMERAL_BYTES),
            endpoint.now_ms(),
            endpoint.link_limits,
        )
    except HandshakeError as error:
        await anyio.aclose_forcefully(stream)
        raise DialError(DialFailure.WRONG_KEY, str(error)) from None
    return await _bring_up(endpoint, tasks, stream, link)


async def _bring_up(
    endpoint: Endpoint, tasks: TaskGroup, stream: ByteStream, link: Link
) -> Connection:
    connection = Connection(stream, link, endpoint.limits, endpoint.now_ms)
    tasks.start_soon(connection.run)
    try:
        await connection.wait_up()
    except TransportError:
        raise _why_ended(connection) from None
    except BaseException:
        connection.close()
        raise
    return connection


def _why_ended(connection: Connection) -> DialError:
    end = connection.ended
    if end is None:
        return DialError(DialFailure.LOST, "the connection was lost")
    if end.code is CloseCode.VERSION:
        return DialError(DialFailure.VERSION, f"incompatible version: {end.reason}", end.code)
    if not connection.is_up:
        is_silent = end.code is CloseCode.TIMEOUT
        failure = DialFailure.TIMEOUT if is_silent else DialFailure.WRONG_KEY
        return DialError(failure, f"no handshake: {end.reason}")
    if not end.clean:
        return DialError(DialFailure.LOST, f"the connection was lost: {end.reason}", end.code)
    name = "" if end.code is None else f" ({end.code.name})"
    return DialError(DialFailure.CLOSED, f"the other end closed{name}: {end.reason!r}", end.code)


# --- through a relay ----------------------------------------------------------------------------


class Tunnel(ByteStream):
    """The bytes between two nodes through a relay, carried as messages of this node's leg.

    Closing it closes the leg. The end of the leg is the end of the stream: what it means is for the
    link inside to judge, because a relay may say anything.
    """

    def __init__(self, leg: Connection) -> None:
        """Take over a leg on which the relay just said ESTABLISHED."""
        leg.use_exact_records()
        leg.keep_until_closed()
        self._leg = leg
        self._rest = b""

    async def send(self, item: bytes) -> None:
        """Pass bytes on; waits while too many are unsent.

        Raises:
            BrokenResourceError: the leg has ended.
        """
        for start in range(0, len(item), _CHUNK_BYTES):
            self._leg.send_nowait(item[start : start + _CHUNK_BYTES])
        try:
            await self._leg.drain()
        except TransportError:
            raise anyio.BrokenResourceError from None

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """The next bytes, at most `max_bytes`.

        Raises:
            EndOfStream: the leg has ended.
        """
        if not self._rest:
            try:
                self._rest = await self._leg.receive()
            except TransportError:
                raise anyio.EndOfStream from None
        chunk, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return chunk

    async def send_eof(self) -> None:
        """Hang up: a tunnel has no half-close, and the link inside has said goodbye by now."""
        self._leg.close()

    async def aclose(self) -> None:
        """Hang up; what was sent before leaves first if it can."""
        self._leg.close()
        await anyio.lowlevel.checkpoint()


async def connect_through_relay(
    endpoint: Endpoint, tasks: TaskGroup, relay: RelayAddress, target: PublicKey
) -> Connection:
    """Reach a node that listens at a relay; the link is with the node, the relay sees ciphertext.

    Raises:
        DialError: with the reason; CLOSED and `code` UNAVAILABLE if nobody took the call.
    """
    tunnel = await _open_tunnel(endpoint, tasks, relay, Connect(target))
    return await _initiate(endpoint, tasks, tunnel, target, PURPOSE_FRIEND)


async def accept_through_relay(
    endpoint: Endpoint,
    tasks: TaskGroup,
    relay: RelayAddress,
    tunnel_id: Uid,
    expected_dialer: PublicKey,
) -> Connection:
    """Answer a call that a relay announced (INCOMING).

    Raises:
        DialError: with the reason; WRONG_KEY if the caller is not `expected_dialer`, so the relay lied.
    """
    tunnel = await _open_tunnel(endpoint, tasks, relay, Accept(tunnel_id))
    connection = await _bring_up(endpoint, tasks, tunnel, _responder(endpoint, (PURPOSE_FRIEND,)))
    if connection.peer != expected_dialer:
        connection.close(CloseCode.NOT_AUTHORIZED)
        raise DialError(DialFailure.WRONG_KEY, "the relay announced somebody else")
    return connection


async def _open_tunnel(
    endpoint: Endpoint, tasks: TaskGroup, relay: RelayAddress, wish: Connect | Accept
) -> Tunnel:
    leg = await dial(endpoint, tasks, relay.address, relay.public_key, PURPOSE_RELAY)
    try:
        leg.send_nowait(encode_relay_message(wish))
        with anyio.fail_after(endpoint.limits.relay_answer_ms / 1000):
            answer = decode_relay_message(await leg.receive())
    except TimeoutError:
        leg.close(CloseCode.TIMEOUT)
        raise DialError(DialFailure.TIMEOUT, "the relay did not answer") from None
    except DecodeError as error:
        leg.close(CloseCode.PROTOCOL)
        raise DialError(DialFailure.PROTOCOL, f"the relay's answer: {error}") from None
    except TransportError:
        raise _why_ended(leg) from None
    except BaseException:
        leg.close()
        raise
    if not isinstance(answer, Established):
        leg.close(CloseCode.PROTOCOL)
        raise DialError(DialFailure.PROTOCOL, "the relay answered something else")
    return Tunnel(leg)


def _responder(endpoint: Endpoint, purposes: tuple[int, ...]) -> Link:
    return Link.responder(
        endpoint.identity,
        purposes,
        endpoint.random_bytes(_EPHEMERAL_BYTES),
        endpoint.now_ms(),
        endpoint.link_limits,
    )


# --- accepting ----------------------------------------------------------------------------------

Handler: TypeAlias = Callable[[Connection], Awaitable[None]]
"""Serves one connection that is up; it is closed when this returns. See `Connection.run`."""


async def listen(address: str) -> list[SocketListener]:
    """Listen at `host:port`; a name may mean several IP addresses, port 0 lets the system choose.

    Raises:
        TransportError: the address is no address, unknown, in use or not ours.
    """
    bare = address.removesuffix(":0")
    host, port = _split(f"{bare}:1" if bare != address else address)
    try:
        found = await anyio.create_tcp_listener(
            local_host=host, local_port=port if bare == address else 0
        )
    except OSError as error:
        raise TransportError(f"cannot listen at {address}: {error.strerror or error}") from None
    return [one for one in found.listeners if isinstance(one, SocketListener)]


def bound_address(listener: SocketListener) -> str:
    """Where a listener really listens, as `host:port`."""
    local = listener.extra(SocketAttribute.local_address)  # noqa: S610  not Django
    host, port = str(local[0]), local[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def close_listeners(listeners: Sequence[SocketListener]) -> None:
    """Stop listening, also while being cancelled."""
    with anyio.CancelScope(shield=True):
        for listener in listeners:
            await listener.aclose()


async def serve_connections(
    endpoint: Endpoint,
    listeners: Sequence[SocketListener],
    purposes: tuple[int, ...],
    handler: Handler,
) -> None:
    """Accept links for `purposes` until cancelled; every one is handled in its own task.

    What fails in one connection closes only that one. Links whose handshake is not over are limited
    in total and per network; the oldest of them gives way to a newcomer. Closes the listeners.
    """
    door = _Door(endpoint, purposes, handler)
    try:
        async with anyio.create_task_group() as tasks:
            for listener in listeners:
                tasks.start_soon(door.accept, listener, tasks)
    finally:
        await close_listeners(listeners)


class _Door:
    """Lets connections in, at most so many of them unproven at a time."""

    def __init__(self, endpoint: Endpoint, purposes: tuple[int, ...], handler: Handler) -> None:
        self._endpoint = endpoint
        self._purposes = purposes
        self._handler = handler
        self._unproven: dict[Connection, str] = {}  # oldest first; the network it came from

    async def accept(self, listener: SocketListener, tasks: TaskGroup) -> None:
        """Accept forever, whatever the system says: file descriptors become free again."""
        while True:
            try:
                stream = await listener.accept()
                _tune(stream)
            except anyio.ClosedResourceError:
                return
            except OSError as error:
                _log.warning("cannot accept a connection, trying again: %s", error)
                await anyio.sleep(self._endpoint.limits.accept_pause_ms / 1000)
                continue
            link = _responder(self._endpoint, self._purposes)
            connection = Connection(stream, link, self._endpoint.limits, self._endpoint.now_ms)
            self._make_room(network_of(connection.source))
            self._unproven[connection] = network_of(connection.source)
            tasks.start_soon(connection.run, self._handle)

    def _make_room(self, network: str) -> None:
        limits = self._endpoint.limits
        same = [one for one, its in self._unproven.items() if its == network] if network else []
        if len(same) >= limits.handshakes_per_source_max:
            self._evict(same[0])
        if len(self._unproven) >= limits.handshakes_max:
            self._evict(next(iter(self._unproven)))

    def _evict(self, connection: Connection) -> None:
        del self._unproven[connection]
        connection.close(CloseCode.OVERLOADED)

    async def _handle(self, connection: Connection) -> None:
        try:
            await connection.wait_up()
        finally:
            self._unproven.pop(connection, None)
        await self._handler(connection)
