"""The outermost layer of every stream: `u16 big-endian length ‖ that many bytes`, 1 to 65 535 of them.

Sans-IO. A frame that is too long is refused when its two length bytes are there, before anything of
it is kept, so a reader never holds more than one incomplete frame besides what was just pushed.

Source: PROTOCOL.md, "Frames"; network.md §1.3.
"""

from typing import Final

from offset_engine.errors import FrameError

FRAME_BYTES_MAX: Final = 65_535
"""Longest frame body in bytes."""


def encode_frame(body: bytes) -> bytes:
    """Put the length in front of 1 to 65 535 bytes.

    Raises:
        ValueError: `body` is empty or too long (the caller's fault).
    """
    if not 1 <= len(body) <= FRAME_BYTES_MAX:
        raise ValueError(f"a frame has 1 to {FRAME_BYTES_MAX} bytes, not {len(body)}")
    return len(body).to_bytes(2, "big") + body


class FrameReader:
    """Cuts a byte stream into frames, however the stream was chopped.

    `push` then `pop` until None lets the caller react between two frames (and raise `bytes_max` once
    a handshake is over); `feed` does both for who need not. After a `FrameError` every further `pop`
    raises it again: the stream has no frame borders any more.
    """

    __slots__ = ("_buffer", "_start", "bytes_max")

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        """Start at a frame border; bodies longer than `bytes_max` bytes are refused."""
        self.bytes_max = bytes_max
        self._buffer: bytes | bytearray = b""
        self._start = 0

    def push(self, data: bytes) -> None:
        """Take bytes from the stream."""
        if self._start == len(self._buffer):
            # The usual case: nothing is left over, so frames are cut from `data` with one copy.
            self._buffer = data
        else:
            if isinstance(self._buffer, bytearray):
                del self._buffer[: self._start]
            else:
                self._buffer = bytearray(self._buffer[self._start :])
            self._buffer += data
        self._start = 0

    def pop(self) -> bytes | None:
        """The next complete frame body, or None until more is pushed.

        Raises:
            FrameError: the next frame is empty or longer than `bytes_max`.
        """
        buffer, start = self._buffer, self._start
        if len(buffer) - start < 2:
            return None
        size = buffer[start] << 8 | buffer[start + 1]
        if not 0 < size <= self.bytes_max:
            raise FrameError(f"a frame of {size} bytes; 1 to {self.bytes_max} are allowed here")
        end = start + 2 + size
        if len(buffer) < end:
            return None
        self._start = end
        return bytes(buffer[start + 2 : end])

    def feed(self, data: bytes) -> list[bytes]:
        """Push `data` and return every frame completed by it, in order.

        Raises:
            FrameError: as `pop`; frames completed by the same call are lost with the stream.
        """
        self.push(data)
        frames = []
        while (frame := self.pop()) is not None:
            frames.append(frame)
        return frames

    @property
    def is_empty(self) -> bool:
        """Whether the stream stands at a frame border."""
        return self._start == len(self._buffer)
