"""Cutting a stream into frames."""

import pytest

from offset_engine.core.framing import FRAME_BYTES_MAX, FrameReader, encode_frame
from offset_engine.errors import FrameError
from tests.covers import covers


def test_a_frame_is_its_length_and_its_body() -> None:
    assert encode_frame(b"abc") == b"\x00\x03abc"
    assert encode_frame(bytes(FRAME_BYTES_MAX))[:3] == b"\xff\xff\x00"


@pytest.mark.parametrize("size", [0, FRAME_BYTES_MAX + 1])
def test_refuses_to_write_what_no_frame_can_hold(size: int) -> None:
    with pytest.raises(ValueError, match="a frame has"):
        encode_frame(bytes(size))


def test_returns_frames_as_soon_as_they_are_complete() -> None:
    reader = FrameReader()
    stream = encode_frame(b"one") + encode_frame(b"two")
    assert reader.feed(stream[:6]) == [b"one"]
    assert not reader.is_empty
    assert reader.feed(stream[6:9]) == []
    assert reader.feed(stream[9:]) == [b"two"]
    assert reader.is_empty
    assert reader.feed(b"") == []


def test_every_frame_is_plain_bytes_however_it_arrived() -> None:
    reader = FrameReader()
    data = encode_frame(bytes(1_000))
    frames = [frame for byte in data * 2 for frame in reader.feed(bytes([byte]))]
    assert frames == [bytes(1_000)] * 2
    assert {type(frame) for frame in frames} == {bytes}


def test_an_empty_frame_is_an_error_for_ever() -> None:
    reader = FrameReader()
    with pytest.raises(FrameError):
        reader.feed(b"\x00\x00\x00\x01x")
    with pytest.raises(FrameError):
        reader.pop()


def test_frames_before_a_wrong_one_can_still_be_popped() -> None:
    reader = FrameReader()
    reader.push(encode_frame(b"good") + b"\x00\x00")
    assert reader.pop() == b"good"
    with pytest.raises(FrameError):
        reader.pop()


@covers("FIX-45")
def test_a_long_frame_is_refused_before_its_body_arrives() -> None:
    reader = FrameReader(bytes_max=512)
    assert reader.feed(b"\x02\x00" + bytes(512)) == [bytes(512)]
    with pytest.raises(FrameError):
        reader.feed(b"\x02\x01")


def test_the_limit_can_change_between_two_frames() -> None:
    reader = FrameReader(bytes_max=512)
    reader.push(encode_frame(b"handshake") + encode_frame(bytes(2_000)))
    assert reader.pop() == b"handshake"
    reader.bytes_max = FRAME_BYTES_MAX
    assert reader.pop() == bytes(2_000)


def test_holds_no_more_than_one_incomplete_frame() -> None:
    reader = FrameReader()
    for _ in range(50):
        reader.feed(encode_frame(bytes(60_000)) + b"\xff\xff" + bytes(30_000))
        reader.feed(bytes(35_535))
        assert len(reader._buffer) - reader._start <= FRAME_BYTES_MAX + 2
        assert len(reader._buffer) <= 2 * (FRAME_BYTES_MAX + 2)
