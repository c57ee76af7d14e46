"""One end of an encrypted, authenticated connection: bytes in and out, messages in and out. Sans-IO.

```
initiator  (F1 queued) ── F2 ──► up (F3 queued, LinkUp)      up ── CLOSE, error, silence ──► closed
responder  ── F1 ──► (F2 queued) ── F3 ──► up (LinkUp)       any ── close(), end of stream ──► closed
```

The driver feeds `receive`, writes what `take_output` returns and calls `on_deadline` when `deadline_ms`
has come. A closed link stays closed: it swallows everything, though CLOSE may wait in its output.
`LinkClosed` is the last event, and tells of an end the driver did not ask for by `close`.
The caller of `close` drops whatever events it has not looked at yet.

A link keeps at most one incomplete frame and one incomplete message (`max` below) of the other end;
what it answers unasked is limited by ABUSE rules. Its output holds what the driver sent and not taken.

Source: PROTOCOL.md, "Records"; network.md §1.3, §2.5, §5.3.
"""

from enum import IntEnum
from typing import Final, Self, TypeAlias

from offset_engine.core.framing import FRAME_BYTES_MAX, FrameReader, encode_frame
from offset_engine.core.noise import (
    CLOSE,
    DATA_END,
    DATA_MORE,
    FRAGMENT_BYTES_MAX,
    HANDSHAKE_FRAME_BYTES_MAX,
    PING,
    PONG,
    REKEY,
    UNKNOWN_VERSION_REPLY,
    Established,
    HandshakeFault,
    HandshakeInitiator,
    HandshakeResponder,
    Offer,
    Purpose,
    RecordOpener,
    RecordSealer,
)
from offset_engine.core.values import PrivateKey, PublicKey, value
from offset_engine.errors import (
    FrameError,
    HandshakeError,
    InvariantError,
    RecordError,
    invariant,
)

CLOSE_REASON_BYTES_MAX: Final = 128
_PING_BYTES: Final = 8
_PINGS_OUTSTANDING_MAX: Final = 4
_PING_SPACING_MS: Final = 1_000
_SECOND_MS: Final = 1_000
_PINGS_PER_SECOND_MAX: Final = 4
_EMPTY_PER_SECOND_MAX: Final = 200
_REKEY_SPACING_MS: Final = 60_000
_REKEY_SPACING_RECORDS: Final = 1_000


class CloseCode(IntEnum):
    """Why a link was closed, as its CLOSE record says."""

    NORMAL = 0
    PROTOCOL = 1
    MESSAGE_TOO_BIG = 2
    TIMEOUT = 3
    NOT_AUTHORIZED = 4
    DUPLICATE = 5
    REPLACED = 6
    OVERLOADED = 7
    SHUTDOWN = 8
    ABUSE = 9
    UNAVAILABLE = 10
    CLOCK = 11
    VERSION = 12
    MAX_AGE = 13


_CODES: Final = {int(code): code for code in CloseCode}


@value
class PurposeLimits:
    """Longest messages of one kind of connection, in bytes."""

    purpose: int
    to_responder: int
    to_initiator: int
    first: int
    """Limit of the initiator's first message: nobody has vouched for it yet."""


_KIB: Final = 1024
PURPOSE_LIMITS: Final = (
    PurposeLimits(Purpose.RELAY, 64 * _KIB, 64 * _KIB, 256),
    PurposeLimits(Purpose.FRIEND, 512 * _KIB, 512 * _KIB, 512 * _KIB),
    PurposeLimits(Purpose.INDEX_CLIENT, 128 * _KIB, 256 * _KIB, 4 * _KIB),
    PurposeLimits(Purpose.INDEX_SERVER, 256 * _KIB, 256 * _KIB, 4 * _KIB),
    PurposeLimits(Purpose.APP, 256 * _KIB, 4096 * _KIB, 4 * _KIB),
)


@value
class LinkLimits:
    """Waiting times in ms, the protocol versions spoken here, and message sizes."""

    handshake_ms: int = 10_000
    """The whole handshake."""
    frame_ms: int = 5_000
    """How long a responder waits for F1, and then for F3."""
    ping_idle_ms: int = 15_000
    """After so long without a record the other end is asked whether it lives."""
    dead_idle_ms: int = 35_000
    """After so long without a record it does not."""
    rekey_ms: int = 3_600_000
    version_min: int = 1
    version_max: int = 1
    purposes: tuple[PurposeLimits, ...] = PURPOSE_LIMITS

    def of(self, purpose: int) -> PurposeLimits:
        """The sizes for `purpose`.

        Raises:
            InvariantError: a purpose nobody defined (the caller's fault).
        """
        for one in self.purposes:
            if one.purpose == purpose:
                return one
        raise InvariantError(f"purpose {purpose} has no limits")


@value
class LinkUp:
    """Both identities are proven; messages may be sent."""

    peer: PublicKey
    purpose: int
    binding: bytes
    """32 bytes, equal at both ends and unique to this connection."""


@value
class MessageReceived:
    """One complete message."""

    payload: bytes


@value
class PongReceived:
    """The other end answered a ping after `rtt_ms`."""

    rtt_ms: int


@value
class LinkClosed:
    """The link ended other than by our own `close`."""

    code: CloseCode | None
    """None: the stream ended or the handshake failed without anybody naming a code."""
    reason: str
    """For people. Foreign text, at most 128 bytes, if `clean`."""
    clean: bool
    """Whether the other end said goodbye (and the code is its word); else it was cut off or cast off."""


LinkEvent: TypeAlias = LinkUp | MessageReceived | PongReceived | LinkClosed


class _RateLimit:
    """Counts within fixed windows of one second."""

    __slots__ = ("_count", "_start_ms", "_times_max")

    def __init__(self, times_max: int) -> None:
        self._times_max = times_max
        self._start_ms = 0
        self._count = 0

    def is_exceeded(self, now_ms: int) -> bool:
        """Count one occurrence."""
        if not 0 <= now_ms - self._start_ms < _SECOND_MS:
            self._start_ms, self._count = now_ms, 0
        self._count += 1
        return self._count > self._times_max


class Link:
    """See the module. Made by `initiator` or `responder`."""

    __slots__ = (
        "_deadline_ms",
        "_empties",
        "_handshake",
        "_heard_ms",
        "_is_initiator",
        "_late",
        "_later_max",
        "_limits",
        "_opener",
        "_output",
        "_partial",
        "_ping_number",
        "_pinged_ms",
        "_pings",
        "_pings_seen",
        "_reader",
        "_receive_max",
        "_records_seen",
        "_rekey_due_ms",
        "_rekeyed",
        "_sealer",
        "_session",
        "_started_ms",
        "is_closed",
    )

    def __init__(self, limits: LinkLimits, now_ms: int, *, is_initiator: bool) -> None:
        """Use `initiator` or `responder` instead."""
        self._limits = limits
        self._is_initiator = is_initiator
        self._handshake: HandshakeInitiator | HandshakeResponder | None = None
        self._session: Established | None = None
        self._sealer: RecordSealer | None = None
        self._opener: RecordOpener | None = None
        self._reader = FrameReader(HANDSHAKE_FRAME_BYTES_MAX)
        self._output: list[bytes] = []
        self._late: list[LinkEvent] = []
        self._partial = bytearray()
        self._receive_max = self._later_max = 0
        self._started_ms = self._heard_ms = now_ms
        self._deadline_ms = now_ms + (limits.handshake_ms if is_initiator else limits.frame_ms)
        self._pinged_ms: int | None = None
        self._pings: dict[bytes, int] = {}
        self._ping_number = 0
        self._pings_seen = _RateLimit(_PINGS_PER_SECOND_MAX)
        self._empties = _RateLimit(_EMPTY_PER_SECOND_MAX)
        self._records_seen = 0
        self._rekeyed: tuple[int, int] | None = None
        self._rekey_due_ms = 0
        self.is_closed = False
        """Nothing more will be received or sent, but for a CLOSE still in the output."""

    @classmethod
    def initiator(
        cls,
        identity: PrivateKey,
        expected: PublicKey,
        purpose: int,
        ephemeral: bytes,
        now_ms: int,
        limits: LinkLimits,
    ) -> Self:
        """Dial: F1 is in the output at once. `ephemeral` is secret: 32 fresh random bytes.

        Raises:
            HandshakeError: `expected` is no usable identity, or it is our own.
        """
        sizes = limits.of(purpose)
        link = cls(limits, now_ms, is_initiator=True)
        offer = Offer(limits.version_min, limits.version_max, sizes.to_initiator)
        handshake = HandshakeInitiator(identity, expected, purpose, ephemeral, offer)
        link._handshake = handshake
        link._output.append(encode_frame(handshake.frame1))
        return link

    @classmethod
    def responder(
        cls,
        identity: PrivateKey,
        purposes: tuple[int, ...],
        ephemeral: bytes,
        now_ms: int,
        limits: LinkLimits,
    ) -> Self:
        """Answer whoever dialled, for one of `purposes`. `ephemeral` is secret: 32 fresh random bytes."""
        link = cls(limits, now_ms, is_initiator=False)
        versions = limits.version_min, limits.version_max
        offers = {one: Offer(*versions, limits.of(one).to_responder) for one in purposes}
        link._handshake = HandshakeResponder(identity, offers, ephemeral)
        return link

    # --- what it is -----------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether messages can be sent."""
        return self._session is not None and not self.is_closed

    @property
    def is_initiator(self) -> bool:
        """Whether this end dialled."""
        return self._is_initiator

    @property
    def peer(self) -> PublicKey:
        """The proven key of the other end; only after LinkUp."""
        return self._established().peer

    @property
    def purpose(self) -> int:
        """What the connection is for; only after LinkUp."""
        return self._established().purpose

    @property
    def binding(self) -> bytes:
        """32 bytes naming this connection, equal at both ends; only after LinkUp."""
        return self._established().binding

    @property
    def version(self) -> int:
        """Protocol version agreed on; only after LinkUp."""
        return self._established().version

    def _established(self) -> Established:
        session = self._session
        if session is None:
            raise InvariantError("the link was never up")
        return session

    # --- out ------------------------------------------------------------------------------------

    def send(self, payload: bytes, now_ms: int) -> None:
        """Queue one message, cut into fragments as needed; nothing happens on a closed link.

        If the other end announced that it takes no message so long, the link closes (MESSAGE_TOO_BIG).

        Raises:
            InvariantError: not up yet, or longer than this purpose allows (the caller's fault).
        """
        if self.is_closed:
            return
        session = self._established()
        sizes = self._limits.of(session.purpose)
        own_max = sizes.to_responder if self._is_initiator else sizes.to_initiator
        invariant(len(payload) <= own_max, "message beyond the limit of its purpose")
        if len(payload) > session.max_message:
            text = "the other end accepts only shorter messages"
            self._fail(CloseCode.MESSAGE_TOO_BIG, text, self._late)
            return
        start = 0
        while len(payload) - start > FRAGMENT_BYTES_MAX:
            self._write(DATA_MORE, payload[start : start + FRAGMENT_BYTES_MAX], now_ms)
            start += FRAGMENT_BYTES_MAX
        self._write(DATA_END, payload[start:] if start else payload, now_ms)

    def ping(self, now_ms: int) -> None:
        """Ask whether the other end lives; `PongReceived` follows if it does.

        A ping less than a second old is not repeated: its own answer will do.
        """
        if not self.is_up:
            return
        newest = next(reversed(self._pings.values()), None)
        if newest is not None and now_ms - newest < _PING_SPACING_MS:
            return
        if len(self._pings) >= _PINGS_OUTSTANDING_MAX:
            del self._pings[next(iter(self._pings))]
        self._ping_number += 1
        content = self._ping_number.to_bytes(_PING_BYTES, "big")
        self._pings[content] = now_ms
        self._write(PING, content, now_ms)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """End the link, telling the other end why if it is up; during a handshake, silently."""
        if self.is_closed:
            return
        if self._sealer is not None:
            text = reason.encode(errors="replace")[:CLOSE_REASON_BYTES_MAX]
            text = text.decode(errors="ignore").encode()
            self._output.append(self._sealer.seal(CLOSE, code.to_bytes(2, "big") + text))
        self._shut()

    def use_exact_records(self) -> None:
        """From now on send data without padding and accept it so: a relay leg that became a tunnel.

        Both ends call it when ESTABLISHED passes. A relay may follow that message with exact records
        at once, in the same chunk of bytes; so a link that dialled for `Purpose.RELAY` accepts them
        from the beginning, and only its sending waits for this call.
        """
        if self._sealer is not None and self._opener is not None:
            self._sealer.exact = self._opener.exact = True

    def take_output(self) -> bytes:
        """Everything to write now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    # --- in -------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ms: int) -> list[LinkEvent]:
        """Take bytes from the stream, however they were cut; never raises because of them."""
        events: list[LinkEvent] = []
        if self.is_closed:
            return self._with_late(events)
        self._reader.push(data)
        try:
            # Closing replaces the reader, so nothing after the end is looked at.
            while (frame := self._reader.pop()) is not None:
                if self._opener is None:
                    self._read_handshake(frame, now_ms, events)
                else:
                    self._read_record(self._opener, frame, now_ms, events)
        except HandshakeError as error:
            self._refuse(error, events)
        except FrameError as error:
            # Anybody between the two ends can damage a length, so nobody is answered.
            if self.is_up:
                self._drop(CloseCode.PROTOCOL, str(error), events)
            else:
                self._drop(None, str(HandshakeFault.MALFORMED), events)
        except RecordError as error:
            self._drop(CloseCode.PROTOCOL, str(error), events)
        return self._with_late(events)

    def receive_eof(self) -> list[LinkEvent]:
        """The stream ended; without a CLOSE before, the link was cut off."""
        events: list[LinkEvent] = []
        if not self.is_closed:
            text = "the connection was cut" if self.is_up else self._silence()
            self._drop(None, text, events)
        return self._with_late(events)

    def _with_late(self, events: list[LinkEvent]) -> list[LinkEvent]:
        events += self._late
        self._late.clear()
        return events

    # --- time -----------------------------------------------------------------------------------

    def deadline_ms(self) -> int | None:
        """When `on_deadline` wants to be called; in the past (0) means at once, None never."""
        if self._late:
            return 0
        if self.is_closed:
            return None
        if self._session is None:
            return self._deadline_ms
        return min(self._idle_deadline_ms(), self._rekey_due_ms)

    def _idle_deadline_ms(self) -> int:
        limits = self._limits
        if self._pinged_ms is None:
            return self._heard_ms + limits.ping_idle_ms
        # Counted from the ping: after a suspended night the other end gets its chance to answer.
        return self._pinged_ms + limits.dead_idle_ms - limits.ping_idle_ms

    def on_deadline(self, now_ms: int) -> list[LinkEvent]:
        """Do what is due: give up a handshake, ping, declare the other end dead, change the key."""
        events: list[LinkEvent] = []
        if self.is_closed:
            return self._with_late(events)
        if self._session is None:
            if now_ms >= self._deadline_ms:
                self._drop(CloseCode.TIMEOUT, self._silence(), events)
            return self._with_late(events)
        if now_ms >= self._idle_deadline_ms():
            if self._pinged_ms is None:
                self._pinged_ms = now_ms
                self.ping(now_ms)
            else:
                self._fail(CloseCode.TIMEOUT, "the other end is silent", events)
        if self._sealer is not None and now_ms >= self._rekey_due_ms:
            self._output.append(self._sealer.rekey())
            self._rekey_due_ms = now_ms + self._limits.rekey_ms
        return self._with_late(events)

    # --- handshake ------------------------------------------------------------------------------

    def _read_handshake(self, frame: bytes, now_ms: int, events: list[LinkEvent]) -> None:
        handshake = self._handshake
        if isinstance(handshake, HandshakeInitiator):
            frame3, session = handshake.read_frame2(frame)
            self._output.append(encode_frame(frame3))
            self._go_up(session, now_ms, events)
        elif handshake is None:
            raise InvariantError("a link that is neither up nor in a handshake is open")
        elif handshake.has_answered:
            self._go_up(handshake.read_frame3(frame), now_ms, events)
        else:
            self._output.append(encode_frame(handshake.read_frame1(frame)))
            whole_ms = self._started_ms + self._limits.handshake_ms
            self._deadline_ms = min(now_ms + self._limits.frame_ms, whole_ms)

    def _go_up(self, session: Established, now_ms: int, events: list[LinkEvent]) -> None:
        sizes = self._limits.of(session.purpose)
        self._session, self._handshake = session, None
        self._sealer = RecordSealer(session.send_key)
        self._opener = opener = RecordOpener(session.receive_key)
        opener.enlarged = session.purpose == Purpose.FRIEND
        opener.exact = self._is_initiator and session.purpose == Purpose.RELAY
        self._later_max = sizes.to_initiator if self._is_initiator else sizes.to_responder
        # Only a dialler may be anybody, so only its first message is held to the tighter limit.
        self._receive_max = self._later_max if self._is_initiator else sizes.first
        self._reader.bytes_max = FRAME_BYTES_MAX
        self._heard_ms = now_ms
        self._rekey_due_ms = now_ms + self._limits.rekey_ms
        events.append(LinkUp(session.peer, session.purpose, session.binding))

    def _refuse(self, error: HandshakeError, events: list[LinkEvent]) -> None:
        fault = error.args[0]
        if fault is HandshakeFault.HANDSHAKE_VERSION and not self._is_initiator:
            self._output.append(encode_frame(UNKNOWN_VERSION_REPLY))
        versions = (HandshakeFault.VERSION, HandshakeFault.HANDSHAKE_VERSION)
        self._drop(CloseCode.VERSION if fault in versions else None, str(fault), events)

    def _silence(self) -> str:
        # A responder says nothing to who dials the wrong key, so silence is all an initiator gets.
        return str(HandshakeFault.WRONG_KEY) if self._is_initiator else "no complete handshake"

    # --- records --------------------------------------------------------------------------------

    def _read_record(
        self, opener: RecordOpener, frame: bytes, now_ms: int, events: list[LinkEvent]
    ) -> None:
        kind, content = opener.unseal(frame)
        self._heard_ms = now_ms
        self._pinged_ms = None
        self._records_seen += 1
        if kind <= DATA_MORE:
            self._read_data(kind, content, now_ms, events)
        elif kind == PING and len(content) == _PING_BYTES:
            if self._pings_seen.is_exceeded(now_ms):
                self._fail(CloseCode.ABUSE, "too many pings", events)
            else:
                self._write(PONG, content, now_ms)
        elif kind == PONG and len(content) == _PING_BYTES:
            sent_ms = self._pings.pop(content, None)
            if sent_ms is not None:
                events.append(PongReceived(now_ms - sent_ms))
        elif kind == REKEY:
            if self._is_rekey_flood(now_ms):
                self._fail(CloseCode.ABUSE, "too many key changes", events)
        elif kind == CLOSE:
            self._read_close(content, events)
        else:
            self._fail(CloseCode.PROTOCOL, "a record of unknown type or wrong size", events)

    def _read_data(self, kind: int, content: bytes, now_ms: int, events: list[LinkEvent]) -> None:
        if not content and self._empties.is_exceeded(now_ms):
            self._fail(CloseCode.ABUSE, "too many empty messages", events)
            return
        partial = self._partial
        if len(partial) + len(content) > self._receive_max:
            text = f"a message of more than {self._receive_max} bytes"
            self._fail(CloseCode.MESSAGE_TOO_BIG, text, events)
            return
        if kind == DATA_MORE:
            partial += content
            return
        if partial:
            partial += content
            content = bytes(partial)
            self._partial = bytearray()
        self._receive_max = self._later_max
        events.append(MessageReceived(content))

    def _is_rekey_flood(self, now_ms: int) -> bool:
        last, self._rekeyed = self._rekeyed, (now_ms, self._records_seen)
        if last is None:
            return False
        # Both must be close: bulk data makes honest key changes follow each other within seconds.
        last_ms, last_records = last
        records = self._records_seen - last_records
        return now_ms - last_ms < _REKEY_SPACING_MS and records < _REKEY_SPACING_RECORDS

    def _read_close(self, content: bytes, events: list[LinkEvent]) -> None:
        number, text = int.from_bytes(content[:2], "big"), content[2:]
        if len(content) < 2 or len(text) > CLOSE_REASON_BYTES_MAX:
            self._fail(CloseCode.PROTOCOL, "a malformed goodbye", events)
            return
        code = _CODES.get(number)
        self._shut()
        # Whether its words are readable or not, the other end meant to leave.
        events.append(LinkClosed(code, text.decode(errors="replace"), clean=True))

    def _write(self, kind: int, content: bytes, now_ms: int) -> None:
        sealer = self._sealer
        if sealer is None:
            return
        if sealer.is_worn_out:
            self._fail(CloseCode.MAX_AGE, "this connection has carried all it can", self._late)
            return
        rekeys = sealer.rekeys
        self._output.append(sealer.seal(kind, content))
        if sealer.rekeys != rekeys:
            # Else the hourly change could follow at once, and the other end would call it abuse.
            self._rekey_due_ms = now_ms + self._limits.rekey_ms

    # --- the end --------------------------------------------------------------------------------

    def _fail(self, code: CloseCode, reason: str, events: list[LinkEvent]) -> None:
        """End the link because of the other end, and say so."""
        self.close(code, reason)
        events.append(LinkClosed(code, reason, clean=False))

    def _drop(self, code: CloseCode | None, reason: str, events: list[LinkEvent]) -> None:
        """End the link without a word."""
        self._shut()
        events.append(LinkClosed(code, reason, clean=False))

    def _shut(self) -> None:
        self.is_closed = True
        self._handshake = self._sealer = self._opener = None
        self._reader = FrameReader()
        self._partial = bytearray()
        self._pings.clear()
