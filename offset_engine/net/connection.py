"""One live link over a byte stream: a TCP socket, or a tunnel through a relay.

A `Connection` owns its stream and a sans-IO `Link` (or `PlainLink`), and drives both with two loops: the
reader hands 64 KiB chunks to the link and delivers what comes out, the writer joins everything waiting
into one send. A third waits for the one deadline of the link. No message costs a task, a stream or a
scope.

| state | `is_up` | `ended` | leaves by |
|---|---|---|---|
| handshaking | no | None | the link is up, or it ended |
| up | yes | None | `close`, CLOSE from the other end, loss, a deadline |
| ended | any | how | the stream is closed at most `close_ms` later, so that CLOSE still leaves |

Messages are delivered in one of two ways. Until somebody calls `deliver_to`, they wait for
`receive`, and four of them waiting stop the reader (so the other end is slowed down by TCP). After
`deliver_to` a plain function gets each of them at once, inside the reader: the hot path; it holds the
reader back with `pause_reading`. Sending never waits: whoever sends much calls `drain` or looks at
`buffered_bytes`. A write that makes no progress for `write_stuck_ms` ends the link with TIMEOUT.

`run` drives it all and belongs into a task group of the owner. Cancelling it says SHUTDOWN first.
Source: PROTOCOL.md, "Links"; design R54.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import ByteStream, SocketAttribute

from offset_engine.core.link import (
    CloseCode,
    Link,
    LinkClosed,
    LinkEvent,
    LinkUp,
    MessageReceived,
    PongReceived,
)
from offset_engine.core.plain_link import PlainLink
from offset_engine.core.values import PublicKey, value
from offset_engine.errors import InvariantError, TransportError

_log: Final = logging.getLogger(__name__)

_READ_BYTES: Final = 65_536
_WRITE_BYTES: Final = 65_536
"""One write must end within `write_stuck_ms`, so it is not larger than this."""
_LOST: Final = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


def monotonic_ms() -> int:
    """Milliseconds of a clock that never jumps; its zero means nothing."""
    return time.monotonic_ns() // 1_000_000


@value
class NetLimits:
    """Waiting times (ms) and sizes of the shell; local choices, nobody else can tell."""

    connect_ms: int = 10_000
    """To resolve an address and connect to it."""
    attempt_ms: int = 5_000
    """For one of the IP addresses behind a name."""
    attempts_max: int = 4
    stagger_ms: int = 250
    """Head start of each IP address before the next is tried beside it."""
    near_ms: int = 1_500
    """For a link with a server that left a note on this machine, before its other address is dialled."""
    relay_answer_ms: int = 20_000
    """For a relay to answer CONNECT or ACCEPT; it waits up to 15 s for the listener."""
    close_ms: int = 1_000
    """For CLOSE to leave and the other end to hang up."""
    write_stuck_ms: int = 20_000
    output_bytes: int = 65_536
    """Above so many unsent bytes `drain` waits."""
    inbox_messages_max: int = 4
    handshakes_max: int = 256
    """Links of one listener that are not up yet; the oldest gives way."""
    handshakes_per_source_max: int = 8
    control_messages_max: int = 32
    """Answers a server keeps for a client that does not read; one more closes it (OVERLOADED)."""
    accept_pause_ms: int = 100
    """Pause after the system could not accept a connection."""


class _Signal:
    """Wakes everybody who waits right now; who waits looks at the facts again afterwards."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def set(self) -> None:
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()


class _Guard:
    """What goes wrong in a function of the owner closes its connection, and no other.

    A broken invariant passes: our own state is wrong, which is everybody's problem.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, InvariantError):
            return False
        _log.error("closing %r: its handler failed", self._connection, exc_info=error)
        self._connection.close(CloseCode.SHUTDOWN)
        return True


class Connection:
    """A link and its stream. Create it inside an event loop and have its `run` started at once."""

    __slots__ = (
        "_answer",
        "_changed",
        "_clock",
        "_guard",
        "_has_flushed",
        "_has_hung_up",
        "_in_flight_bytes",
        "_inbox",
        "_is_paused",
        "_is_resting",
        "_keep",
        "_limits",
        "_link",
        "_news",
        "_on_message",
        "_output",
        "_resume",
        "_room",
        "_said_goodbye",
        "_stream",
        "_waiting_bytes",
        "_wake",
        "_write_since_ms",
        "_write_stuck_ms",
        "ended",
        "is_up",
        "on_drained",
        "on_pong",
        "queued_messages",
        "source",
    )  # fmt: skip

    def __init__(
        self,
        stream: ByteStream,
        link: Link | PlainLink,
        limits: NetLimits,
        clock: Callable[[], int] = monotonic_ms,
    ) -> None:
        """Take over `stream` and `link`; `clock` gives the ms the link was created with."""
        self._stream = stream
        self._link = link
        self._limits = limits
        self._clock = clock
        self.source = _source_of(stream)
        """IP address of the other end as text, "" if it has none."""
        self.is_up = False
        self.ended: LinkClosed | None = None
        """How the link ended; None while it lives."""
        self._write_stuck_ms = limits.write_stuck_ms
        self.on_pong: Callable[[int], None] | None = None
        """Called with the round trip in ms when a `ping` was answered."""
        self.on_drained: Callable[[], None] | None = None
        """Called whenever everything handed to the system has been taken by it."""
        self.queued_messages = 0
        """Messages sent but not yet in a write."""
        self._waiting_bytes = 0
        self._in_flight_bytes = 0
        self._write_since_ms: int | None = None
        self._answer = b""  # what the link itself wants to say: handshake, PONG, CLOSE
        self._inbox: deque[bytes] = deque()
        self._on_message: Callable[[bytes], None] = self._inbox.append
        self._is_paused = False  # by the owner
        self._is_resting = False  # because the inbox is full
        self._said_goodbye = False
        self._has_flushed = False
        self._has_hung_up = False
        self._changed, self._news, self._output = _Signal(), _Signal(), _Signal()
        self._room, self._resume, self._wake = _Signal(), _Signal(), _Signal()
        self._keep = anyio.CancelScope()
        self._guard = _Guard(self)

    # what it is

    @property
    def peer(self) -> PublicKey:
        """The proven key of the other end; only once the link is up."""
        return self._link.peer

    @property
    def purpose(self) -> int:
        """What the dialling side asked for; only once the link is up."""
        return self._link.purpose

    @property
    def binding(self) -> bytes:
        """32 bytes naming this link, equal at both ends; only once it is up."""
        return self._link.binding

    @property
    def buffered_bytes(self) -> int:
        """About how many bytes were sent here but not yet taken by the system."""
        return self._waiting_bytes + self._in_flight_bytes

    def __repr__(self) -> str:
        return f"Connection({self._name()})"

    def _name(self) -> str:
        return self._link.peer.to_text()[:8] if self.is_up else "a stranger"

    # sending

    def send_nowait(self, payload: bytes) -> None:
        """Queue one message; once the link has ended it is dropped."""
        if self.ended is not None:
            return
        self._link.send(payload, self._clock())
        self._waiting_bytes += len(payload)
        self.queued_messages += 1
        self._output.set()
        if self._link.is_closed:
            self._wake.set()  # it could not be sent; the link's deadline is now, and tells why

    async def drain(self) -> None:
        """Wait until at most `output_bytes` are unsent.

        Raises:
            TransportError: the link has ended.
        """
        while self.ended is None and self.buffered_bytes > self._limits.output_bytes:
            await self._room.wait()
        if self.ended is not None:
            raise self._lost()

    def ping(self) -> None:
        """Ask the other end for a sign of life; `on_pong` tells about it."""
        if self.ended is None and self.is_up:
            self._link.ping(self._clock())
            self._output.set()

    def close(self, code: CloseCode = CloseCode.NORMAL, reason: str = "") -> None:
        """End the link, telling the other end why; what was sent before leaves first if it can."""
        if self.ended is None:
            self._link.close(code, reason)
            self._said_goodbye = self.is_up
            self._end(LinkClosed(code, reason, clean=True))

    def use_exact_records(self) -> None:
        """From now on this is the leg of a tunnel: do not pad what is padded already (R54)."""
        self._link.use_exact_records()

    def set_write_stuck(self, stuck_ms: int) -> None:
        """Give the other end so long to take what is written before the link ends with TIMEOUT."""
        self._write_stuck_ms = stuck_ms
        self._wake.set()

    # receiving

    async def receive(self) -> bytes:
        """The next message; those that arrived before the end are still delivered.

        Raises:
            TransportError: the link has ended.
        """
        while not self._inbox:
            if self.ended is not None:
                raise self._lost()
            await self._news.wait()
        payload = self._inbox.popleft()
        if self._is_resting and len(self._inbox) < self._limits.inbox_messages_max:
            self._resume.set()
        return payload

    def deliver_to(self, on_message: Callable[[bytes], None]) -> None:
        """Hand this and every later message to a function, starting with those already waiting.

        It must be quick and must not raise; an exception closes this connection.
        """
        self._on_message = on_message
        while self._inbox and self.ended is None:  # a message may replace the function
            self._on_message(self._inbox.popleft())
        self._resume.set()

    def pause_reading(self) -> None:
        """Take nothing more from the system; up to one chunk may still be delivered."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Go on reading."""
        if self._is_paused:
            self._is_paused = False
            self._resume.set()

    # life

    async def wait_up(self) -> None:
        """Wait for the end of the handshake.

        Raises:
            TransportError: it failed.
        """
        while not self.is_up and self.ended is None:
            await self._changed.wait()
        if not self.is_up:
            raise self._lost()

    async def wait_closed(self) -> LinkClosed:
        """Wait for the end of the link and say how it ended."""
        while self.ended is None:
            await self._changed.wait()
        return self.ended

    def keep_until_closed(self) -> None:
        """Let only `close` end it from now on, not the cancelling of `run`.

        For the leg below a tunnel: the link inside it says its own goodbye first.
        """
        self._keep.shield = True

    async def run(self, body: Callable[["Connection"], Awaitable[None]] | None = None) -> None:
        """Drive the connection until it has ended and its stream is closed.

        Args:
            body: runs beside it; the link is closed when it returns. It must not wait for anything
                but this connection once that has ended. None: until the link ends by itself.

        Raises:
            InvariantError: (in a group) our own state is impossible. Nothing else.
        """
        with self._keep:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._drive)
                try:
                    # A TransportError means that the body noticed that the link is gone.
                    with self._guard, contextlib.suppress(TransportError):
                        await (self.wait_closed() if body is None else body(self))
                        self.close()
                finally:
                    self.close(CloseCode.SHUTDOWN)

    async def _drive(self) -> None:
        with anyio.CancelScope(shield=True):
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._read)
                    tasks.start_soon(self._write)
                    await self._watch()
                    await self._wind_down()
                    tasks.cancel_scope.cancel()
            finally:
                await anyio.aclose_forcefully(self._stream)

    async def _read(self) -> None:
        while True:
            while self.ended is None and (self._is_paused or self._must_rest()):
                await self._resume.wait()
            try:
                chunk = await self._stream.receive(_READ_BYTES)
            except _LOST:
                if self.ended is None:
                    self._deliver(self._link.receive_eof())
                break
            if self.ended is None:
                self._take(chunk)
        self._has_hung_up = True
        self._changed.set()

    def _must_rest(self) -> bool:
        self._is_resting = len(self._inbox) >= self._limits.inbox_messages_max
        return self._is_resting

    def _take(self, chunk: bytes) -> None:
        with self._guard:
            self._deliver(self._link.receive(chunk, self._clock()))
        self._answer += self._link.take_output()
        if self._answer:
            self._output.set()

    def _deliver(self, events: list[LinkEvent]) -> None:
        for event in events:
            if isinstance(event, MessageReceived):
                if self.ended is None:
                    self._on_message(event.payload)
            elif isinstance(event, LinkUp):
                self.is_up = True
                self._changed.set()
                self._wake.set()
            elif isinstance(event, PongReceived):
                if self.on_pong is not None:
                    self.on_pong(event.rtt_ms)
            elif self.ended is None:
                self._end(event)
        if self._inbox:
            self._news.set()

    async def _write(self) -> None:
        try:
            while True:
                output = self._answer + self._link.take_output()
                self._answer = b""
                if output:
                    await self._send(output)
                elif self.ended is not None:
                    break
                else:
                    await self._output.wait()
        except _LOST:
            if self.ended is None:
                self._deliver(self._link.receive_eof())
        self._has_flushed = True
        self._changed.set()

    async def _send(self, output: bytes) -> None:
        self._in_flight_bytes, self._waiting_bytes, self.queued_messages = len(output), 0, 0
        self._write_since_ms = self._clock()
        if len(output) <= _WRITE_BYTES:
            await self._stream.send(output)
        else:
            for start in range(0, len(output), _WRITE_BYTES):
                piece = output[start : start + _WRITE_BYTES]
                await self._stream.send(piece)
                self._in_flight_bytes -= len(piece)
                self._write_since_ms = self._clock()
        self._write_since_ms = None
        self._in_flight_bytes = 0
        self._room.set()
        if self.on_drained is not None:
            with self._guard:
                self.on_drained()

    async def _watch(self) -> None:
        """Wake the link at its deadlines and notice a stuck write, until the link has ended."""
        while self.ended is None:
            now_ms = self._clock()
            # A write that begins later cannot be stuck before this, so nobody has to wake us for it.
            stuck_ms = self._write_stuck_ms + (
                now_ms if self._write_since_ms is None else self._write_since_ms
            )
            deadline_ms = self._link.deadline_ms()
            if stuck_ms <= now_ms:
                self._link.close(CloseCode.TIMEOUT)
                self._end(LinkClosed(CloseCode.TIMEOUT, "the other end takes nothing", clean=False))
            elif deadline_ms is not None and deadline_ms <= now_ms:
                self._deliver(self._link.on_deadline(now_ms))
                self._output.set()
            else:
                until_ms = stuck_ms if deadline_ms is None else min(stuck_ms, deadline_ms)
                with anyio.move_on_after((until_ms - now_ms) / 1000):
                    await self._wake.wait()

    async def _wind_down(self) -> None:
        """Let CLOSE leave; then wait for the other end to hang up, lest a reset swallows it."""
        with anyio.move_on_after(self._limits.close_ms / 1000):
            while not self._has_flushed:
                await self._changed.wait()
            if self._said_goodbye and not self._has_hung_up:
                try:
                    await self._stream.send_eof()
                except _LOST:
                    return
                while not self._has_hung_up:
                    await self._changed.wait()

    def _end(self, end: LinkClosed) -> None:
        self.ended = end
        for signal in (
            self._changed, self._news, self._output, self._room, self._resume, self._wake
        ):  # fmt: skip
            signal.set()
        code = "lost" if end.code is None else end.code.name
        _log.debug("link with %s ended: %s %s", self._name(), code, end.reason)

    def _lost(self) -> TransportError:
        if self.ended is None:
            raise InvariantError("only a link that ended is lost")
        code = "" if self.ended.code is None else f" ({self.ended.code.name})"
        return TransportError(f"the link has ended{code}: {self.ended.reason}")


def _source_of(stream: ByteStream) -> str:
    remote = stream.extra(SocketAttribute.remote_address, None)  # noqa: S610  not Django
    return str(remote[0]) if isinstance(remote, tuple) else ""
