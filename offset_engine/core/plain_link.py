"""One end of a connection between programs of one user on one machine: framed messages, in clear. Sans-IO.

The system vouches for the other end (a socket file only its owner may open), so there is no handshake:

```
greeting   OFST ‖ 00 ‖ purpose u8            both ways, at once
frame      kind u8 ‖ u32 length ‖ content    kind 0: one message; 1: CLOSE, code u16 ‖ text
```

It has the face of a `Link`, so the same driver serves both; that driver's limit on stuck writes notices
an end that no longer reads. There are no pings: such a connection does not vanish unseen.
It keeps at most one incomplete frame of the other end.

Source: PROTOCOL.md, "Apps"; design R47.
"""

from typing import Final

from offset_engine.core.link import (
    CLOSE_REASON_BYTES_MAX,
    CloseCode,
    LinkClosed,
    LinkEvent,
    LinkLimits,
    LinkUp,
    MessageReceived,
)
from offset_engine.core.noise import MAGIC
from offset_engine.core.values import PublicKey
from offset_engine.errors import invariant

NOBODY: Final = PublicKey(bytes(PublicKey.SIZE))
"""The key of the other end: it shows none."""
_PLAIN: Final = 0
_MESSAGE: Final = 0
_CLOSE: Final = 1
_HEAD_BYTES: Final = 5
_CLOSE_BYTES_MAX: Final = 2 + CLOSE_REASON_BYTES_MAX
_CODES: Final = {int(code): code for code in CloseCode}


class PlainLink:
    """See the module."""

    __slots__ = (
        "_buffer",
        "_greeting",
        "_is_up",
        "_output",
        "_receive_max",
        "_send_max",
        "_until_ms",
        "is_closed",
        "purpose",
    )

    def __init__(
        self, purpose: int, now_ms: int, limits: LinkLimits, *, is_initiator: bool
    ) -> None:
        """Greet the other end, which has `limits.frame_ms` to do the same."""
        sizes = limits.of(purpose)
        self.purpose = purpose
        self.is_closed = False
        """Nothing more will be received or sent, but for a CLOSE still in the output."""
        self._greeting = MAGIC + bytes((_PLAIN, purpose))
        self._is_up = False
        self._until_ms = now_ms + limits.frame_ms
        self._send_max = sizes.to_responder if is_initiator else sizes.to_initiator
        self._receive_max = sizes.to_initiator if is_initiator else sizes.to_responder
        self._buffer = bytearray()
        self._output = [self._greeting]

    @property
    def peer(self) -> PublicKey:
        """Always `NOBODY`."""
        return NOBODY

    @property
    def binding(self) -> bytes:
        """Nothing: two plain links cannot be told apart."""
        return b""

    # --- out ------------------------------------------------------------------------------------

    def send(self, payload: bytes, now_ms: int) -> None:  # noqa: ARG002 - the face of a link
        """Queue one message; nothing happens on a closed link.

        Raises:
            InvariantError: longer than this purpose allows (the caller's fault).
        """
        if self.is_closed:
            return
        invariant(len(payload) <= self._send_max, "message beyond the limit of its purpose")
        self._write(_MESSAGE, payload)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """End the link, telling the other end why."""
        if self.is_closed:
            return
        text = reason.encode(errors="replace")[:CLOSE_REASON_BYTES_MAX]
        text = text.decode(errors="ignore").encode()
        self._write(_CLOSE, code.to_bytes(2, "big") + text)
        self._shut()

    def _write(self, kind: int, content: bytes) -> None:
        self._output += (bytes((kind,)), len(content).to_bytes(4, "big"), content)

    def ping(self, now_ms: int) -> None:
        """Nothing: the system tells when the other end is gone."""

    def use_exact_records(self) -> None:
        """Nothing: no record is padded here."""

    def take_output(self) -> bytes:
        """Everything to write now."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    # --- in -------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ms: int) -> list[LinkEvent]:  # noqa: ARG002 - as above
        """Take bytes from the stream, however they were cut; never raises because of them."""
        events: list[LinkEvent] = []
        if self.is_closed:
            return events
        self._buffer += data
        if not self._is_up:
            self._read_greeting(events)
        start = 0
        while self._is_up and not self.is_closed:
            end = self._read_frame(start, events)
            if end == start:
                break
            start = end
        del self._buffer[:start]
        return events

    def _read_greeting(self, events: list[LinkEvent]) -> None:
        size = len(self._greeting)
        if not self._greeting.startswith(self._buffer[:size]):
            self._fail(CloseCode.VERSION, "the other end speaks something else", events)
        elif len(self._buffer) >= size:
            del self._buffer[:size]
            self._is_up = True
            events.append(LinkUp(self.peer, self.purpose, self.binding))

    def _read_frame(self, start: int, events: list[LinkEvent]) -> int:
        """Read the frame at `start`; returns where it ends, or `start` while it is incomplete."""
        head = self._buffer[start : start + _HEAD_BYTES]
        if len(head) < _HEAD_BYTES:
            return start
        kind, size = head[0], int.from_bytes(head[1:], "big")
        if kind not in (_MESSAGE, _CLOSE):
            self._fail(CloseCode.PROTOCOL, "a frame of an unknown kind", events)
            return start
        if size > (self._receive_max if kind == _MESSAGE else _CLOSE_BYTES_MAX):
            self._fail(CloseCode.MESSAGE_TOO_BIG, "a message is too long", events)
            return start
        end = start + _HEAD_BYTES + size
        if len(self._buffer) < end:
            return start
        content = bytes(self._buffer[start + _HEAD_BYTES : end])
        if kind == _MESSAGE:
            events.append(MessageReceived(content))
        else:
            self._read_close(content, events)
        return end

    def _read_close(self, content: bytes, events: list[LinkEvent]) -> None:
        if len(content) < 2:
            self._fail(CloseCode.PROTOCOL, "a malformed goodbye", events)
            return
        code = _CODES.get(int.from_bytes(content[:2], "big"))
        self._shut()
        events.append(LinkClosed(code, content[2:].decode(errors="replace"), clean=True))

    def receive_eof(self) -> list[LinkEvent]:
        """The stream ended; without a CLOSE before, the link was cut off."""
        if self.is_closed:
            return []
        self._shut()
        return [LinkClosed(None, "the connection was cut", clean=False)]

    # --- time and the end -----------------------------------------------------------------------

    def deadline_ms(self) -> int | None:
        """When the other end must have greeted; None once it has."""
        return None if self._is_up or self.is_closed else self._until_ms

    def on_deadline(self, now_ms: int) -> list[LinkEvent]:
        """Give up on an end that does not greet."""
        events: list[LinkEvent] = []
        if self.deadline_ms() is not None and now_ms >= self._until_ms:
            self._fail(CloseCode.TIMEOUT, "the other end is silent", events)
        return events

    def _fail(self, code: CloseCode, reason: str, events: list[LinkEvent]) -> None:
        self.close(code, reason)
        events.append(LinkClosed(code, reason, clean=False))

    def _shut(self) -> None:
        self.is_closed = True
        self._buffer = bytearray()
