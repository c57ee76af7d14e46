"""Whole links without a socket: handshakes, messages, liveness, abuse and every way to end."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest

from offset_engine.core import noise
from offset_engine.core.crypto import public_key_of, seal
from offset_engine.core.framing import FrameReader, encode_frame
from offset_engine.core.link import (
    CloseCode,
    Link,
    LinkClosed,
    LinkEvent,
    LinkLimits,
    LinkUp,
    MessageReceived,
    PongReceived,
    PurposeLimits,
)
from offset_engine.core.noise import (
    CLOSE,
    COUNTER_END,
    DATA_END,
    DATA_MORE,
    FRAGMENT_BYTES_MAX,
    PING,
    PONG,
    REKEY,
    UNKNOWN_VERSION_REPLY,
    HandshakeFault,
    HandshakeInitiator,
    Offer,
    Purpose,
    RecordSealer,
)
from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.errors import HandshakeError, InvariantError
from tests.covers import covers

ALICE, BOB, MALLORY = (PrivateKey(bytes([n]) * 32) for n in (0x11, 0x22, 0x55))
ALICE_KEY, BOB_KEY, MALLORY_KEY = map(public_key_of, (ALICE, BOB, MALLORY))
LIMITS = LinkLimits()
ALL = tuple(Purpose)


def dial(
    purpose: int = Purpose.FRIEND,
    *,
    identity: PrivateKey = ALICE,
    expected: PublicKey = BOB_KEY,
    limits: LinkLimits = LIMITS,
    now_ms: int = 0,
    ephemeral: bytes = b"\x33" * 32,
) -> Link:
    return Link.initiator(identity, expected, purpose, ephemeral, now_ms, limits)


def answer(
    purposes: tuple[int, ...] = ALL,
    *,
    identity: PrivateKey = BOB,
    limits: LinkLimits = LIMITS,
    ephemeral: bytes = b"\x44" * 32,
) -> Link:
    return Link.responder(identity, purposes, ephemeral, 0, limits)


def exchange(left: Link, right: Link, now_ms: int = 0) -> tuple[list[LinkEvent], list[LinkEvent]]:
    """Pass bytes both ways until nobody has any; the events of both ends."""
    seen: tuple[list[LinkEvent], list[LinkEvent]] = ([], [])
    while True:
        to_right, to_left = left.take_output(), right.take_output()
        if not to_right and not to_left:
            return seen
        seen[1].extend(right.receive(to_right, now_ms))
        seen[0].extend(left.receive(to_left, now_ms))


def connected(
    purpose: int = Purpose.FRIEND, *, limits: LinkLimits = LIMITS, now_ms: int = 0
) -> tuple[Link, Link]:
    left, right = dial(purpose, limits=limits, now_ms=now_ms), answer(limits=limits)
    exchange(left, right, now_ms)
    assert left.is_up
    assert right.is_up
    return left, right


def frames_of(data: bytes) -> list[bytes]:
    return [encode_frame(body) for body in FrameReader().feed(data)]


def raw(link: Link, kind: int, content: bytes = b"") -> bytes:
    """A record `link` would never send by itself, as bytes for its other end."""
    assert link._sealer is not None
    return link._sealer.seal(kind, content)


def only_closed(events: list[LinkEvent]) -> LinkClosed:
    (event,) = events
    assert isinstance(event, LinkClosed)
    return event


def said_on_closing(link: Link, other: Link) -> LinkClosed:
    """What `other` learns from what `link` still has to send."""
    return only_closed(other.receive(link.take_output(), 0))


# --- handshake ----------------------------------------------------------------------------------


@covers("NT01")
def test_both_ends_come_up_with_each_others_key_and_one_binding() -> None:
    left, right = dial(Purpose.APP), answer()
    near, far = exchange(left, right)
    assert near == [LinkUp(BOB_KEY, Purpose.APP, left.binding)]
    assert far == [LinkUp(ALICE_KEY, Purpose.APP, left.binding)]
    assert (right.peer, right.purpose, right.version) == (ALICE_KEY, Purpose.APP, 1)
    assert left.is_initiator
    assert not right.is_initiator


def test_the_initiator_is_up_when_its_last_frame_is_ready_and_may_send_at_once() -> None:
    left, right = dial(), answer()
    right.receive(left.take_output(), 0)
    left.receive(right.take_output(), 0)
    assert left.is_up
    assert not right.is_up
    left.send(b"early", 0)
    assert right.receive(left.take_output(), 0) == [
        LinkUp(ALICE_KEY, Purpose.FRIEND, left.binding),
        MessageReceived(b"early"),
    ]


@covers("NT02")
def test_no_flipped_bit_of_the_handshake_leads_to_a_link() -> None:
    frame1 = dial().take_output()
    for bit in range(16, len(frame1) * 8):
        right = answer()
        event = only_closed(right.receive(_flipped(frame1, bit), 0))
        assert not event.clean
        # Only the version byte is answered: with another version, if the rest is not known to be ours.
        expected = encode_frame(UNKNOWN_VERSION_REPLY) if bit // 8 == 6 else b""
        assert right.take_output() == expected

    frame2 = _frame2(frame1)
    for bit in range(16, len(frame2) * 8):
        left = dial()
        left.take_output()
        assert not only_closed(left.receive(_flipped(frame2, bit), 0)).clean
        assert not left.is_up
        assert left.take_output() == b""

    left, right = dial(), answer()
    right.receive(left.take_output(), 0)
    left.receive(right.take_output(), 0)
    frame3 = left.take_output()
    for bit in range(16, len(frame3) * 8):
        right = answer()
        right.receive(frame1, 0)
        right.take_output()
        only_closed(right.receive(_flipped(frame3, bit), 0))
        assert right.take_output() == b""


@covers("NT02")
def test_a_damaged_frame_length_never_leads_to_a_link() -> None:
    frame1 = dial().take_output()
    for bit in range(16):
        right = answer()
        events = right.receive(_flipped(frame1, bit), 0) + right.on_deadline(5_000)
        only_closed(events)
        assert right.take_output() == b""


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _frame2(frame1: bytes) -> bytes:
    right = answer()
    right.receive(frame1, 0)
    return right.take_output()


@covers("NT03")
def test_a_replayed_session_ends_at_its_third_frame() -> None:
    left, right = dial(), answer()
    frame1 = left.take_output()
    right.receive(frame1, 0)
    first_frame2 = right.take_output()
    left.receive(first_frame2, 0)
    left.send(b"pay", 0)
    recorded = left.take_output()
    assert right.receive(recorded, 0)[-1] == MessageReceived(b"pay")

    replayed = answer(ephemeral=b"\x45" * 32)
    assert replayed.receive(frame1, 0) == []
    fresh = replayed.take_output()
    assert fresh
    assert fresh != first_frame2
    only_closed(replayed.receive(recorded, 0))
    assert replayed.take_output() == b""

    silent = answer(ephemeral=b"\x45" * 32)
    silent.receive(frame1, 1_000)
    assert silent.deadline_ms() == 6_000
    only_closed(silent.on_deadline(6_000))


@covers("NT04")
def test_who_dials_the_wrong_key_gets_no_byte_and_is_told_so() -> None:
    left, right = dial(expected=MALLORY_KEY), answer()
    assert only_closed(right.receive(left.take_output(), 0)).code is None
    assert right.take_output() == b""
    event = only_closed(left.receive_eof())
    assert event == LinkClosed(None, "wrong key, or not Offset", clean=False)

    waiting = dial(expected=MALLORY_KEY)
    assert waiting.deadline_ms() == 10_000
    assert waiting.on_deadline(9_999) == []
    event = only_closed(waiting.on_deadline(10_000))
    assert event == LinkClosed(CloseCode.TIMEOUT, "wrong key, or not Offset", clean=False)
    assert waiting.deadline_ms() is None


@covers("NT05")
def test_a_third_frame_without_proof_closes_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    for claimed in (MALLORY_KEY, BOB_KEY, PublicKey(b"\x01" + bytes(31))):
        left, right = dial(), answer()
        right.receive(left.take_output(), 0)
        with monkeypatch.context() as patch:
            patch.setattr(noise, "public_key_of", lambda _, key=claimed: key)
            left.receive(right.take_output(), 0)
        event = only_closed(right.receive(left.take_output(), 0))
        assert event.reason == HandshakeFault.MISBOUND
        assert right.take_output() == b""


@covers("NT06")
def test_nobody_in_the_middle_can_put_its_own_name_on_a_handshake() -> None:
    alice, bob = dial(), answer()
    mallory = dial(identity=MALLORY, ephemeral=b"\x66" * 32)
    bob.receive(alice.take_output(), 0)
    alice.receive(bob.take_output(), 0)
    mallory.receive(_frame2(mallory.take_output()), 0)
    only_closed(bob.receive(mallory.take_output(), 0))

    misled = dial(expected=MALLORY_KEY)
    only_closed(answer().receive(misled.take_output(), 0))


@covers("NT07")
def test_a_responder_does_not_talk_to_its_own_reflection() -> None:
    other_version = b"OFST\x02" + bytes(49)
    for first in (dial().take_output(), encode_frame(other_version)):
        right = answer()
        right.receive(first, 0)
        reflected = right.take_output()
        assert reflected
        # Both ways a mirror can hold: to the same connection, and to a new one.
        right.receive(reflected, 0)
        assert right.is_closed
        assert right.take_output() == b""
        fresh = answer()
        only_closed(fresh.receive(reflected, 0))
        assert fresh.take_output() == b""


@covers("NT17")
@pytest.mark.parametrize(("own", "remote"), [((1, 1), (2, 3)), ((2, 3), (1, 1))])
def test_disjoint_versions_end_with_a_clear_status(
    own: tuple[int, int], remote: tuple[int, int]
) -> None:
    left = dial(limits=LinkLimits(version_min=own[0], version_max=own[1]))
    right = answer(limits=LinkLimits(version_min=remote[0], version_max=remote[1]))
    near, far = exchange(left, right)
    assert near == [LinkClosed(CloseCode.VERSION, "incompatible version", clean=False)]
    assert far == []
    only_closed(right.receive_eof())


def test_another_handshake_version_is_reported_at_both_ends() -> None:
    left, right = dial(), answer()
    frame1 = bytearray(left.take_output())
    frame1[6] = 9
    assert only_closed(right.receive(bytes(frame1), 0)).code is CloseCode.VERSION
    assert only_closed(left.receive(right.take_output(), 0)).code is CloseCode.VERSION


@covers("NT18")
@pytest.mark.parametrize("purpose", ALL)
def test_byte_by_byte_and_all_at_once_mean_the_same(purpose: Purpose) -> None:
    def listen(chunks: Callable[[bytes], list[bytes]]) -> list[LinkEvent]:
        left, right = dial(purpose), answer()
        events = [e for c in chunks(left.take_output()) for e in right.receive(c, 0)]
        for chunk in chunks(right.take_output()):
            left.receive(chunk, 0)
        left.send(b"first", 0)
        left.ping(0)
        left.send(b"x" * 40_000, 0)
        left.close(CloseCode.NORMAL, "bye")
        events += [e for c in chunks(left.take_output()) for e in right.receive(c, 0)]
        return events

    whole = listen(lambda data: [data])
    assert whole == listen(lambda data: [data[i : i + 1] for i in range(len(data))])
    assert whole[1:] == [
        MessageReceived(b"first"),
        MessageReceived(b"x" * 40_000),
        LinkClosed(CloseCode.NORMAL, "bye", clean=True),
    ]


@covers("NT19")
def test_a_purpose_that_is_not_offered_is_met_with_silence() -> None:
    left, right = dial(Purpose.APP), answer((Purpose.RELAY, Purpose.INDEX_CLIENT))
    event = only_closed(right.receive(left.take_output(), 0))
    assert event.reason == HandshakeFault.PURPOSE
    assert right.take_output() == b""


def test_a_responder_waits_for_each_frame_but_not_beyond_the_whole_handshake() -> None:
    right = answer(limits=LinkLimits(frame_ms=5_000, handshake_ms=7_000))
    assert right.deadline_ms() == 5_000
    assert right.on_deadline(4_999) == []
    right.receive(dial().take_output(), 4_000)
    assert right.deadline_ms() == 7_000
    assert only_closed(right.on_deadline(7_000)).code is CloseCode.TIMEOUT


def test_a_long_frame_is_refused_before_the_handshake_is_over() -> None:
    assert only_closed(answer().receive(b"\x02\x01", 0)).reason == HandshakeFault.MALFORMED
    assert only_closed(dial().receive(b"HTTP/1.1 400", 0)).code is None


def test_dialling_no_identity_or_oneself_is_refused_at_once() -> None:
    for key in (PublicKey(bytes(32)), ALICE_KEY):
        with pytest.raises(HandshakeError):
            dial(expected=key)


def test_closing_during_the_handshake_is_silent() -> None:
    right = answer()
    right.close(CloseCode.OVERLOADED, "busy")
    assert right.is_closed
    assert right.take_output() == b""
    assert right.receive(dial().take_output(), 0) == []
    assert right.receive_eof() == []


def test_what_is_only_known_of_an_established_link_is_not_guessed_before() -> None:
    with pytest.raises(InvariantError):
        _ = answer().peer
    with pytest.raises(InvariantError):
        dial().send(b"too early", 0)
    with pytest.raises(InvariantError):
        answer((9,))


# --- messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 16_380, 16_381, 16_382, 32_762, 32_763, 524_288])
def test_messages_of_every_size_arrive_whole(size: int) -> None:
    left, right = connected()
    payload = bytes(range(256)) * (size // 256 + 1)
    left.send(payload[:size], 0)
    left.send(b"next", 0)
    assert exchange(left, right)[1] == [MessageReceived(payload[:size]), MessageReceived(b"next")]


def test_a_ping_is_answered_between_two_fragments() -> None:
    left, right = connected()
    head = raw(left, DATA_MORE, b"a" * 10)
    ping = raw(left, PING, bytes(8))
    tail = raw(left, DATA_END, b"b")
    assert right.receive(head + ping, 0) == []
    assert right.take_output()
    assert right.receive(tail, 0) == [MessageReceived(b"a" * 10 + b"b")]


@covers("NT13")
@pytest.mark.parametrize("limits", LIMITS.purposes, ids=lambda one: Purpose(one.purpose).name)
def test_a_message_of_the_longest_size_passes_and_one_byte_more_does_not(
    limits: PurposeLimits,
) -> None:
    for excess in (0, 1):
        left, right = connected(limits.purpose)
        right.receive(raw(left, DATA_END, b""), 0)
        for sender, receiver, longest in (
            (left, right, limits.to_responder),
            (right, left, limits.to_initiator),
        ):
            data, rest = b"", bytes(longest + excess)
            while len(rest) > FRAGMENT_BYTES_MAX:
                data += raw(sender, DATA_MORE, rest[:FRAGMENT_BYTES_MAX])
                rest = rest[FRAGMENT_BYTES_MAX:]
            events = receiver.receive(data + raw(sender, DATA_END, rest), 0)
            if not excess:
                assert events == [MessageReceived(bytes(longest))]
                continue
            assert only_closed(events).code is CloseCode.MESSAGE_TOO_BIG
            assert said_on_closing(receiver, sender).code is CloseCode.MESSAGE_TOO_BIG
            break


@covers("NT13")
def test_an_endless_message_is_cut_off_with_bounded_memory() -> None:
    for fragment in (bytes(FRAGMENT_BYTES_MAX), b"x" * 100):
        left, right = connected()
        tracemalloc.start()
        events: list[LinkEvent] = []
        while not events:
            events = right.receive(raw(left, DATA_MORE, fragment), 0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert only_closed(events).code is CloseCode.MESSAGE_TOO_BIG
        assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize("limits", LIMITS.purposes, ids=lambda one: Purpose(one.purpose).name)
def test_the_first_message_of_a_dialler_is_held_to_a_tighter_limit(limits: PurposeLimits) -> None:
    left, right = connected(limits.purpose)
    left.send(bytes(limits.first), 0)
    assert exchange(left, right)[1] == [MessageReceived(bytes(limits.first))]
    left.send(bytes(limits.first + 1) if limits.first < limits.to_responder else b"", 0)
    assert len(exchange(left, right)[1]) == 1
    if limits.first < limits.to_responder:
        left, right = connected(limits.purpose)
        left.send(bytes(limits.first + 1), 0)
        assert isinstance(exchange(left, right)[1][-1], LinkClosed)


def test_sending_beyond_ones_own_limit_is_our_own_mistake() -> None:
    left, _ = connected(Purpose.RELAY)
    with pytest.raises(InvariantError):
        left.send(bytes(64 * 1024 + 1), 0)


def test_a_peer_that_takes_only_short_messages_gets_no_long_ones() -> None:
    small = LinkLimits(purposes=(PurposeLimits(Purpose.FRIEND, 1_000, 512 * 1024, 1_000),))
    left, right = dial(), answer((Purpose.FRIEND,), limits=small)
    exchange(left, right)
    left.send(bytes(1_000), 0)
    assert exchange(left, right)[1] == [MessageReceived(bytes(1_000))]
    left.send(bytes(1_001), 0)
    assert left.is_closed
    assert left.deadline_ms() == 0
    assert only_closed(left.on_deadline(5)).code is CloseCode.MESSAGE_TOO_BIG
    assert left.deadline_ms() is None
    assert said_on_closing(left, right).code is CloseCode.MESSAGE_TOO_BIG


def test_a_tunnel_leg_sends_exact_records_and_accepts_them_in_time() -> None:
    client, relay = connected(Purpose.RELAY)
    client.send(b"connect", 0)
    assert relay.receive(client.take_output(), 0) == [MessageReceived(b"connect")]
    relay.send(b"\x91\x0d", 0)
    relay.use_exact_records()
    inner = bytes(82)
    relay.send(inner, 0)
    data = relay.take_output()
    # The client has not seen ESTABLISHED yet when the first exact record arrives behind it.
    assert client.receive(data, 0) == [MessageReceived(b"\x91\x0d"), MessageReceived(inner)]
    client.use_exact_records()
    client.send(inner, 0)
    data = client.take_output()
    assert len(data) == 2 + 3 + len(inner) + 16
    assert relay.receive(data, 0) == [MessageReceived(inner)]


@pytest.mark.parametrize("purpose", ALL)
def test_exact_records_are_refused_where_nobody_switched_them_on(purpose: Purpose) -> None:
    left, right = connected(purpose)
    assert left._sealer is not None
    left._sealer.exact = True
    left.send(b"hello", 0)
    assert only_closed(right.receive(left.take_output(), 0)).code is CloseCode.PROTOCOL


def test_only_friends_may_enlarge_their_records() -> None:
    for purpose in ALL:
        left, right = connected(purpose)
        assert left._session is not None
        body = seal(left._session.send_key, bytes(12), b"\x00\x00\x02hi" + bytes(123))
        events = right.receive(encode_frame(body), 0)
        allowed = purpose is Purpose.FRIEND
        assert isinstance(events[0], MessageReceived if allowed else LinkClosed)


# --- damage -------------------------------------------------------------------------------------


@covers("NT08")
@pytest.mark.parametrize(
    "frame",
    [
        b"\x00\x00",
        b"\x00\x01x",
        b"\x00\x12" + bytes(18),
        encode_frame(bytes(80)),
    ],
    ids=bytes.hex,
)
def test_a_damaged_record_closes_this_link_only_and_without_an_answer(frame: bytes) -> None:
    left, right = connected()
    other_left, other_right = connected()
    left.send(b"before", 0)
    events = right.receive(left.take_output() + frame + raw(left, DATA_END, b"after"), 0)
    assert events[0] == MessageReceived(b"before")
    assert only_closed(events[1:]).code is CloseCode.PROTOCOL
    assert right.take_output() == b""
    assert right.receive(raw(left, DATA_END, b"later"), 0) == []
    other_left.send(b"fine", 0)
    assert exchange(other_left, other_right)[1] == [MessageReceived(b"fine")]


@covers("NT08")
@pytest.mark.parametrize(
    "plaintext",
    [
        b"\x00\x00\x02hi" + bytes(60),
        b"\x00\x00\x02hi" + bytes(123),
        b"\x00\x00\x02hi" + bytes(58) + b"\x01",
        b"\x00\x00\x02hi",
    ],
)
def test_wrong_padding_closes_the_link(plaintext: bytes) -> None:
    left, right = connected(Purpose.INDEX_CLIENT)
    assert left._session is not None
    body = seal(left._session.send_key, bytes(12), plaintext)
    assert only_closed(right.receive(encode_frame(body), 0)).code is CloseCode.PROTOCOL


@covers("NT09")
@pytest.mark.parametrize(
    ("order", "delivered"),
    [([0, 2, 3], 1), ([0, 1, 1, 2], 2), ([0, 2, 1, 3], 1), ([1], 0), ([3, 2, 1, 0], 0)],
)
def test_dropped_repeated_and_swapped_records_end_the_link_at_once(
    order: list[int], delivered: int
) -> None:
    left, right = connected()
    frames = [raw(left, DATA_END, bytes([n])) for n in range(4)]
    events = right.receive(b"".join(frames[n] for n in order), 0)
    assert events[:-1] == [MessageReceived(bytes([n])) for n in range(delivered)]
    only_closed(events[-1:])


@covers("NT09")
def test_a_truncated_record_is_never_delivered() -> None:
    left, right = connected()
    frame = raw(left, DATA_END, b"pay")
    assert right.receive(frame[:-1], 0) == []
    assert only_closed(right.receive_eof()).clean is False
    left, right = connected()
    shorter = encode_frame(raw(left, DATA_END, b"pay")[2:-1])
    only_closed(right.receive(shorter, 0))


# --- keys ---------------------------------------------------------------------------------------


@covers("NT10")
def test_keys_change_at_both_ends_at_once_under_load() -> None:
    limits = LinkLimits(rekey_ms=60_000, ping_idle_ms=10**9, dead_idle_ms=10**9 + 1)
    left, right = connected(limits=limits)
    got: tuple[list[LinkEvent], list[LinkEvent]] = ([], [])
    sent = [n.to_bytes(4, "big") for n in range(10_000)]
    for turn in range(10):
        now_ms = turn * 60_000
        for link in (left, right):
            assert link.on_deadline(now_ms) == []
            for payload in sent[turn * 1_000 : turn * 1_000 + 1_000]:
                link.send(payload, now_ms)
        # Both directions are under way at the same time.
        to_right, to_left = left.take_output(), right.take_output()
        got[1].extend(right.receive(to_right, now_ms))
        got[0].extend(left.receive(to_left, now_ms))
    assert got[0] == got[1] == [MessageReceived(payload) for payload in sent]
    for link in (left, right):
        assert link._sealer is not None
        assert link._sealer.rekeys == 9


@covers("NT11")
def test_a_key_that_changed_by_itself_is_not_changed_again_by_the_hour() -> None:
    left, right = connected()
    assert left._sealer is not None
    left._sealer._records = noise.REKEY_RECORDS
    left.send(b"x", 3_599_000)
    assert left._sealer.rekeys == 1
    assert right.receive(left.take_output(), 3_599_000) == [MessageReceived(b"x")]
    right.ping(3_599_000)
    left.receive(right.take_output(), 3_599_000)
    assert left.on_deadline(3_600_000) == []
    assert left._sealer.rekeys == 1


@covers("NT11")
def test_a_link_gives_up_long_before_its_record_numbers_do() -> None:
    left, right = connected()
    assert left._sealer is not None
    assert right._opener is not None
    left._sealer._counter = right._opener._counter = COUNTER_END - noise.WORN_OUT_RESERVE - 1
    left.send(b"last", 0)
    left.send(b"never", 0)
    assert left.is_closed
    assert only_closed(left.on_deadline(0)).code is CloseCode.MAX_AGE
    assert right.receive(left.take_output(), 0) == [
        MessageReceived(b"last"),
        LinkClosed(CloseCode.MAX_AGE, "this connection has carried all it can", clean=True),
    ]


def test_a_link_that_wears_out_within_a_message_sends_no_more_of_it() -> None:
    left, right = connected()
    assert left._sealer is not None
    assert right._opener is not None
    left._sealer._counter = right._opener._counter = COUNTER_END - noise.WORN_OUT_RESERVE - 2
    left.send(bytes(5 * FRAGMENT_BYTES_MAX), 0)
    assert len(frames_of(left._output[0] + left._output[1])) == 2
    assert said_on_closing(left, right).code is CloseCode.MAX_AGE


def test_a_worn_out_link_that_only_answers_pings_closes_too() -> None:
    left, right = connected()
    assert right._sealer is not None
    right._sealer._counter = COUNTER_END - noise.WORN_OUT_RESERVE
    assert only_closed(right.receive(raw(left, PING, bytes(8)), 0)).code is CloseCode.MAX_AGE


def test_the_key_changes_every_hour() -> None:
    limits = LinkLimits(ping_idle_ms=10**9, dead_idle_ms=10**9 + 1)
    left, right = connected(limits=limits, now_ms=1_000)
    assert left.deadline_ms() == 3_601_000
    assert left.on_deadline(3_600_999) == []
    assert left.take_output() == b""
    left.on_deadline(3_601_000)
    left.send(b"after", 3_601_000)
    assert len(frames_of(left._output[0])) == 1
    assert right.receive(left.take_output(), 3_601_000) == [MessageReceived(b"after")]
    assert left.deadline_ms() == 7_201_000


# --- liveness -----------------------------------------------------------------------------------


def test_an_idle_link_asks_once_and_lives_on_when_answered() -> None:
    left, right = connected()
    assert left.deadline_ms() == 15_000
    assert left.on_deadline(14_999) == []
    assert left.on_deadline(15_000) == []
    assert left.deadline_ms() == 35_000
    ping = left.take_output()
    assert len(frames_of(ping)) == 1
    assert right.receive(ping, 15_010) == []
    assert right.deadline_ms() == 30_010
    assert left.receive(right.take_output(), 15_020) == [PongReceived(20)]
    assert left.deadline_ms() == 30_020


@covers("NT14")
def test_a_vanished_peer_is_dead_after_35_seconds_and_leaves_nothing_behind() -> None:
    left, right = connected()
    left.send(b"x", 0)
    right.receive(left.take_output()[:-1], 0)
    deadlines = []
    events: list[LinkEvent] = []
    while not events:
        now_ms = right.deadline_ms()
        assert now_ms is not None
        deadlines.append(now_ms)
        events = right.on_deadline(now_ms)
    assert deadlines == [15_000, 35_000]
    assert only_closed(events).code is CloseCode.TIMEOUT
    assert right.deadline_ms() is None
    assert len(right._reader._buffer) == 0
    right.take_output()
    assert right._output == []


def test_after_a_long_sleep_the_other_end_gets_a_chance_to_answer() -> None:
    left, right = connected()
    assert left.on_deadline(600_000) == []
    assert left.deadline_ms() == 620_000
    near, _ = exchange(left, right, 600_100)
    assert near == [PongReceived(100)]


def test_probes_are_answered_with_their_round_trip() -> None:
    left, right = connected()
    left.ping(1_000)
    left.ping(1_500)
    assert exchange(left, right, 1_700)[0] == [PongReceived(700)]
    left.ping(1_800)
    assert exchange(left, right, 1_800)[0] == [PongReceived(0)]


def test_answers_to_nothing_are_ignored_and_unanswered_probes_stay_few() -> None:
    left, right = connected()
    assert left.receive(raw(right, PONG, bytes(8)), 0) == []
    for second in range(100):
        left.ping(second * 1_000)
    assert len(left._pings) == 4
    dialling = dial()
    dialling.take_output()
    dialling.ping(0)
    assert dialling.take_output() == b""


# --- abuse --------------------------------------------------------------------------------------


def flood(kind: int, content: bytes, count: int, spacing_ms: int, between: int = 0) -> Link:
    """A responder after `count` such records, `between` harmless ones before each but the first."""
    left, right = connected()
    for number in range(count):
        if number:
            for _ in range(between):
                right.receive(raw(left, DATA_END, b"x"), number * spacing_ms)
        data = raw(left, REKEY) if kind == REKEY else raw(left, kind, content)
        if kind == REKEY:
            assert left._sealer is not None
            left._sealer._key = noise._next_key(left._sealer._key)
        events = right.receive(data, number * spacing_ms)
        if right.is_closed:
            assert isinstance(events[-1], LinkClosed)
            assert events[-1].code is CloseCode.ABUSE
    return right


@pytest.mark.parametrize(
    ("kind", "content", "count", "spacing_ms", "between", "abusive"),
    [
        (PING, bytes(8), 4, 0, 0, False),
        (PING, bytes(8), 5, 0, 0, True),
        (PING, bytes(8), 50, 250, 0, False),
        (DATA_END, b"", 200, 0, 0, False),
        (DATA_END, b"", 201, 0, 0, True),
        (DATA_MORE, b"", 201, 0, 0, True),
        (DATA_END, b"", 1_000, 5, 0, False),
        (REKEY, b"", 1, 0, 0, False),
        (REKEY, b"", 2, 59_999, 0, True),
        (REKEY, b"", 5, 60_000, 0, False),
        (REKEY, b"", 3, 10, 999, False),
        (REKEY, b"", 2, 10, 998, True),
    ],
)
def test_floods_are_abuse_and_honest_traffic_is_not(
    kind: int, content: bytes, count: int, spacing_ms: int, between: int, abusive: bool
) -> None:
    assert flood(kind, content, count, spacing_ms, between).is_closed is abusive


@pytest.mark.parametrize(
    ("kind", "content"),
    [(6, b""), (255, b"x"), (PING, bytes(7)), (PONG, bytes(9)), (CLOSE, b"\x00")],
)
def test_unknown_and_misshapen_records_end_with_a_protocol_error(kind: int, content: bytes) -> None:
    left, right = connected()
    assert only_closed(right.receive(raw(left, kind, content), 0)).code is CloseCode.PROTOCOL
    assert said_on_closing(right, left).code is CloseCode.PROTOCOL


# --- the end ------------------------------------------------------------------------------------


@covers("NT12")
def test_a_goodbye_and_a_cut_are_told_apart() -> None:
    left, right = connected()
    left.send(b"last words", 0)
    left.close(CloseCode.NORMAL, "done")
    assert right.receive(left.take_output(), 0) == [
        MessageReceived(b"last words"),
        LinkClosed(CloseCode.NORMAL, "done", clean=True),
    ]
    assert right.receive_eof() == []

    left, right = connected()
    event = only_closed(right.receive_eof())
    assert event == LinkClosed(None, "the connection was cut", clean=False)
    assert right.take_output() == b""


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_arrives(code: CloseCode) -> None:
    left, right = connected()
    right.close(code)
    assert said_on_closing(right, left) == LinkClosed(code, "", clean=True)


def test_a_close_code_of_the_future_is_still_a_goodbye() -> None:
    left, right = connected()
    event = only_closed(right.receive(raw(left, CLOSE, b"\xff\xff\xfe?"), 0))
    assert event == LinkClosed(None, "\ufffd?", clean=True)


@pytest.mark.parametrize("reason", ["x" * 500, "é" * 64, "a" + "é" * 64, "\ud800", "日" * 60])
def test_a_reason_is_cut_between_letters(reason: str) -> None:
    left, right = connected()
    left.close(CloseCode.NORMAL, reason)
    text = said_on_closing(left, right).reason
    assert len(text.encode()) <= 128
    assert reason.encode(errors="replace").decode().startswith(text)


def test_a_closed_link_swallows_everything() -> None:
    left, right = connected()
    right.close(CloseCode.NOT_AUTHORIZED, "not a friend")
    right.take_output()
    right.send(b"x", 0)
    right.ping(0)
    right.close(CloseCode.NORMAL)
    right.use_exact_records()
    left.send(b"y", 0)
    assert right.receive(left.take_output(), 0) == []
    assert right.on_deadline(10**6) == []
    assert right.deadline_ms() is None
    assert right.take_output() == b""
    assert right.peer == ALICE_KEY


def test_the_largest_handshake_numbers_do_no_harm() -> None:
    handshake = HandshakeInitiator(
        ALICE, BOB_KEY, Purpose.FRIEND, b"\x33" * 32, Offer(0, 2**16 - 1, 0, 2**64 - 1)
    )
    right = answer()
    right.receive(encode_frame(handshake.frame1), 0)
    (frame2,) = FrameReader().feed(right.take_output())
    frame3, session = handshake.read_frame2(frame2)
    assert isinstance(right.receive(encode_frame(frame3), 0)[0], LinkUp)
    # This end takes no message at all: only an empty one may be sent.
    right.send(b"", 0)
    assert right.is_up
    right.send(b"x", 0)
    assert right.is_closed
    assert session.features == 0


def test_limits_can_be_shortened() -> None:
    limits = replace(LIMITS, ping_idle_ms=50, dead_idle_ms=120)
    left, _ = connected(limits=limits)
    left.on_deadline(50)
    assert left.deadline_ms() == 120
    assert isinstance(left.on_deadline(120)[0], LinkClosed)


def test_a_sealer_of_another_connection_is_of_no_use() -> None:
    _, right = connected()
    only_closed(right.receive(RecordSealer(bytes(32)).seal(DATA_END, b"x"), 0))
