"""The link of local programs: greeting, frames, goodbye, and everything that may arrive instead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_engine.core.link import (
    CloseCode,
    LinkClosed,
    LinkEvent,
    LinkLimits,
    LinkUp,
    MessageReceived,
)
from offset_engine.core.noise import Purpose
from offset_engine.core.plain_link import NOBODY, PlainLink
from offset_engine.errors import InvariantError
from tests.strategies import pieces

GREETING = b"OFST\x00\x05"
UP = LinkUp(NOBODY, 5, b"")


def node() -> PlainLink:
    return PlainLink(Purpose.APP, 0, LinkLimits(), is_initiator=False)


def app() -> PlainLink:
    return PlainLink(Purpose.APP, 0, LinkLimits(), is_initiator=True)


def frame(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + len(content).to_bytes(4, "big") + content


def test_both_ends_are_up_once_they_greeted() -> None:
    one, other = app(), node()
    assert one.take_output() == GREETING
    assert other.receive(GREETING, 0) == [UP]
    assert one.receive(other.take_output(), 0) == [UP]
    one.send(b"hello", 0)
    assert other.receive(one.take_output(), 0) == [MessageReceived(b"hello")]
    other.send(b"", 0)
    assert one.receive(other.take_output(), 0) == [MessageReceived(b"")]


@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(0, 300), max_size=10))
def test_messages_arrive_however_the_stream_was_cut(messages: list[bytes], cuts: list[int]) -> None:
    one, other = app(), node()
    for message in messages:
        one.send(message, 0)
    one.close(CloseCode.SHUTDOWN, "gone")
    events: list[LinkEvent] = []
    for chunk in pieces(one.take_output(), cuts):
        events += other.receive(chunk, 0)
    end = LinkClosed(CloseCode.SHUTDOWN, "gone", clean=True)
    assert events == [UP, *map(MessageReceived, messages), end]
    assert other.is_closed


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_any_bytes_are_taken_without_an_exception(chunks: list[bytes]) -> None:
    link = node()
    events = [event for chunk in chunks for event in link.receive(chunk, 0)]
    assert sum(isinstance(event, LinkClosed) for event in events) <= 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1", CloseCode.VERSION),
        (b"OFST\x01\x05", CloseCode.VERSION),
        (b"OFST\x00\x01", CloseCode.VERSION),
        (GREETING + frame(2, b""), CloseCode.PROTOCOL),
        (GREETING + frame(1, b"x"), CloseCode.PROTOCOL),
        (GREETING + b"\x00\x00\x04\x00\x01", CloseCode.MESSAGE_TOO_BIG),
        (GREETING + b"\x01\x00\x00\x00\xff", CloseCode.MESSAGE_TOO_BIG),
    ],
)
def test_what_follows_no_protocol_ends_the_link_and_says_so(data: bytes, code: CloseCode) -> None:
    link = node()
    end = link.receive(data, 0)[-1]
    assert isinstance(end, LinkClosed)
    assert (end.code, end.clean) == (code, False)
    assert link.take_output().startswith(GREETING + b"\x01")
    assert link.receive(frame(0, b"late"), 0) == []
    assert link.receive_eof() == []


def test_an_app_takes_longer_messages_than_a_node() -> None:
    one, other = app(), node()
    one.receive(GREETING, 0)
    long = bytes(300 * 1024)
    other.send(long, 0)
    other.receive(GREETING, 0)
    assert one.receive(other.take_output().removeprefix(GREETING), 0) == [MessageReceived(long)]
    with pytest.raises(InvariantError):
        one.send(long, 0)


def test_silence_ends_what_never_greeted_and_nothing_else() -> None:
    link = node()
    assert link.deadline_ms() == LinkLimits().frame_ms
    assert link.on_deadline(LinkLimits().frame_ms - 1) == []
    (end,) = link.on_deadline(LinkLimits().frame_ms)
    assert isinstance(end, LinkClosed)
    assert end.code is CloseCode.TIMEOUT
    living = node()
    living.receive(GREETING, 0)
    assert living.deadline_ms() is None
    assert living.on_deadline(10**9) == []


def test_a_cut_stream_is_no_goodbye() -> None:
    link = node()
    link.receive(GREETING, 0)
    assert link.receive_eof() == [LinkClosed(None, "the connection was cut", clean=False)]
    link.send(b"late", 0)
    link.close(CloseCode.NORMAL)
    assert link.take_output() == GREETING
