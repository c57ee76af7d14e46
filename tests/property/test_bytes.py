"""For any bytes at all: a value or the documented error, and nothing depends on how a stream was cut."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_engine.core import codec
from offset_engine.core.framing import FrameReader, encode_frame
from offset_engine.core.link import (
    CloseCode,
    Link,
    LinkClosed,
    LinkEvent,
    LinkUp,
    MessageReceived,
    PongReceived,
)
from offset_engine.core.noise import (
    HandshakeInitiator,
    HandshakeResponder,
    Offer,
    Purpose,
    RecordOpener,
    RecordSealer,
)
from offset_engine.errors import DecodeError, FrameError, HandshakeError, RecordError
from tests import strategies as valid
from tests.unit.test_link import ALICE, BOB, BOB_KEY, answer, connected, dial

PAIRS = {
    "friend": (
        valid.friend_messages,
        codec.encode_friend_message,
        codec.decode_friend_message,
    ),
    "relay": (
        valid.relay_messages,
        codec.encode_relay_message,
        codec.decode_relay_message,
    ),
    "index_client": (
        valid.index_client_messages,
        codec.encode_index_client_message,
        codec.decode_index_client_message,
    ),
    "index_server": (
        valid.index_server_messages,
        codec.encode_index_server_message,
        codec.decode_index_server_message,
    ),
    "index_peer": (
        valid.index_peer_messages,
        codec.encode_index_peer_message,
        codec.decode_index_peer_message,
    ),
}
CUTS = st.lists(st.integers(0, 2**16), max_size=12)

# msgpack by hand: mostly well-formed structures of wrong contents reach deeper than random bytes.
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(0, 13),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([16, 32, 64]).map(bytes),
    st.binary(max_size=40),
)
_TREES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=25,
)
_MESSAGES = st.tuples(st.integers(0, 14), st.lists(_TREES, max_size=12)).map(
    lambda pair: codec._pack([pair[0], *pair[1]])
)


@pytest.mark.parametrize("kind", PAIRS)
@given(data=st.data())
def test_every_message_survives_the_wire(kind: str, data: st.DataObject) -> None:
    messages, encode, decode = PAIRS[kind]
    message = data.draw(messages)
    assert decode(encode(message)) == message


@pytest.mark.parametrize("kind", PAIRS)
@given(data=st.binary(max_size=200) | _MESSAGES)
def test_any_bytes_decode_or_are_refused(kind: str, data: bytes) -> None:
    _, encode, decode = PAIRS[kind]
    _check_total(encode, decode, data)


@pytest.mark.parametrize("kind", PAIRS)
@given(data=st.data())
def test_a_damaged_message_decodes_or_is_refused(kind: str, data: st.DataObject) -> None:
    messages, encode, decode = PAIRS[kind]
    whole = encode(data.draw(messages))
    changed = valid.damaged(whole, data.draw(st.integers(0, 2**16)), data.draw(st.integers(1, 255)))
    _check_total(encode, decode, changed)
    with pytest.raises(DecodeError):
        decode(whole + b"\x00")
    with pytest.raises(DecodeError):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


def _check_total(
    encode: Callable[..., bytes], decode: Callable[[bytes], object], data: bytes
) -> None:
    try:
        message = decode(data)
    except DecodeError:
        return
    if message is not None:
        assert decode(encode(message)) == message


@given(
    frames=st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    tail=st.binary(max_size=8),
    cuts=CUTS,
)
def test_frames_do_not_depend_on_how_the_stream_was_cut(
    frames: list[bytes], tail: bytes, cuts: list[int]
) -> None:
    stream = b"".join(map(encode_frame, frames)) + tail

    def read(chunks: list[bytes]) -> tuple[list[bytes], bool]:
        reader = FrameReader(bytes_max=400)
        found = []
        try:
            for chunk in chunks:
                reader.push(chunk)
                while (frame := reader.pop()) is not None:
                    found.append(frame)
        except FrameError:
            return found, True
        return found, False

    whole = read([stream])
    assert whole[0][: len(frames)] == frames
    assert read(valid.pieces(stream, cuts)) == whole
    assert read([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(
    frame=st.binary(max_size=130) | st.binary(max_size=60).map(lambda rest: b"OFST\x01\x02" + rest)
)
def test_any_frame_is_refused_by_every_step_of_a_handshake(frame: bytes) -> None:
    offer = Offer(1, 1, 1_000)
    dialer = HandshakeInitiator(ALICE, BOB_KEY, Purpose.FRIEND, b"\x33" * 32, offer)
    listener = HandshakeResponder(BOB, {Purpose.FRIEND: offer}, b"\x44" * 32)
    with pytest.raises(HandshakeError):
        listener.read_frame1(frame)
    listener.read_frame1(dialer.frame1)
    with pytest.raises(HandshakeError):
        listener.read_frame3(frame)
    with pytest.raises(HandshakeError):
        dialer.read_frame2(frame)


@given(body=st.binary(max_size=200), exact=st.booleans(), enlarged=st.booleans())
def test_any_record_without_the_key_is_refused(body: bytes, exact: bool, enlarged: bool) -> None:
    opener = RecordOpener(bytes(32))
    opener.exact, opener.enlarged = exact, enlarged
    with pytest.raises(RecordError):
        opener.unseal(body)


@given(
    content=st.binary(max_size=200),
    place=st.integers(0, 2**16),
    bit=st.integers(0, 7),
    exact=st.booleans(),
)
def test_one_flipped_bit_never_yields_plaintext(
    content: bytes, place: int, bit: int, exact: bool
) -> None:
    sealer, opener = RecordSealer(bytes(32)), RecordOpener(bytes(32))
    sealer.exact = opener.exact = exact
    body = sealer.seal(0, content)[2:]
    with pytest.raises(RecordError):
        opener.unseal(valid.damaged(body, place, 1 << bit))
    assert opener.unseal(body) == (0, content)


_RECORDS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 1, 2, 3, 5, 6, 255]),
        st.binary(max_size=140) | st.just(bytes(8)),
    ),
    max_size=12,
)


def _listen(link: Link, chunks: list[bytes]) -> list[LinkEvent]:
    return [event for chunk in chunks for event in link.receive(chunk, 0)]


@given(records=_RECORDS, tail=st.binary(max_size=90), cuts=CUTS)
def test_whatever_an_authenticated_peer_sends_the_link_answers_with_events(
    records: list[tuple[int, bytes]], tail: bytes, cuts: list[int]
) -> None:
    left, right = connected()
    assert left._sealer is not None
    stream = b"".join(left._sealer.seal(kind, content) for kind, content in records) + tail
    events = _listen(right, [stream])
    known = (MessageReceived, PongReceived, LinkClosed)
    assert all(isinstance(event, known) for event in events)
    closed = [event for event in events if isinstance(event, LinkClosed)]
    assert closed == events[-1:] if right.is_closed else not closed

    _, again = connected()
    assert _listen(again, valid.pieces(stream, cuts)) == events
    assert again.take_output() == right.take_output()
    assert right.receive(stream, 0) == [] or not closed


@given(data=st.binary(max_size=300), cuts=CUTS)
def test_whatever_a_stranger_sends_nobody_comes_up(data: bytes, cuts: list[int]) -> None:
    for make in (dial, answer):
        link = make()
        events = _listen(link, valid.pieces(data, cuts))
        assert not any(isinstance(event, LinkUp) for event in events)
        events += link.receive_eof()
        (end,) = events
        assert isinstance(end, LinkClosed)
        assert not end.clean
        assert end.code in (None, CloseCode.VERSION)


@given(
    payloads=st.lists(st.binary(max_size=300) | st.integers(0, 60_000).map(bytes), max_size=8),
    cuts=CUTS,
    purpose=st.sampled_from([Purpose.FRIEND, Purpose.APP]),
)
def test_messages_arrive_whole_and_in_order_however_the_stream_was_cut(
    payloads: list[bytes], cuts: list[int], purpose: Purpose
) -> None:
    left, right = dial(purpose), answer()
    events = _listen(right, valid.pieces(left.take_output(), cuts))
    left.receive(right.take_output(), 0)
    left.send(b"hello", 0)
    for payload in payloads:
        left.send(payload, 0)
    events += _listen(right, valid.pieces(left.take_output(), cuts))
    assert isinstance(events[0], LinkUp)
    assert events[1:] == [MessageReceived(payload) for payload in [b"hello", *payloads]]
