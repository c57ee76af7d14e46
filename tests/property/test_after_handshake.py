"""Random frames after the handshake, on every purpose: the link and its decoder answer or close, never raise."""

import gc
import random
import sys

import pytest

from offset_engine.core.app_codec import decode_app_message
from offset_engine.core.codec import (
    decode_friend_message,
    decode_index_client_message,
    decode_index_peer_message,
    decode_relay_message,
)
from offset_engine.core.link import LinkClosed, MessageReceived
from offset_engine.core.noise import Purpose
from offset_engine.errors import DecodeError
from tests.covers import covers
from tests.unit.test_link import connected

DECODERS = {
    Purpose.RELAY: decode_relay_message,
    Purpose.FRIEND: decode_friend_message,
    Purpose.INDEX_CLIENT: decode_index_client_message,
    Purpose.INDEX_SERVER: decode_index_peer_message,
    Purpose.APP: decode_app_message,
}
PER_LINK = 25


def _attack(purpose: Purpose, frames: int, seed: int) -> int:
    """Send `frames` random records, fresh links whenever one was closed; returns how many decoded."""
    draw = random.Random(f"{purpose} {seed}")
    decoded = sent = 0
    while sent < frames:
        left, right = connected(purpose)
        assert left._sealer is not None
        for _ in range(PER_LINK):
            body = draw.randbytes(draw.randrange(0, 300))
            is_sealed = draw.random() < 0.9
            kind = draw.choice((0, 0, 0, 0, 1, 2, 3, 4, 5, draw.randrange(256)))
            sent += 1
            data = left._sealer.seal(kind, body) if is_sealed else body
            for event in right.receive(data, 0):
                assert isinstance(event, MessageReceived | LinkClosed)
                if isinstance(event, MessageReceived):
                    decoded += _decodes(purpose, event.payload)
            right.take_output()
            if right.is_closed:
                break
    return decoded


def _decodes(purpose: Purpose, payload: bytes) -> bool:
    try:
        DECODERS[purpose](payload)
    except DecodeError:
        return False
    return True


@covers("NT20")
@pytest.mark.parametrize("purpose", DECODERS)
def test_random_frames_after_the_handshake_do_no_harm(purpose: Purpose) -> None:
    _attack(purpose, 100, 0)
    gc.collect()
    before = sys.getallocatedblocks()
    _attack(purpose, 600, 1)
    gc.collect()
    assert sys.getallocatedblocks() - before < 5_000


@covers("NT20")
@pytest.mark.slow
@pytest.mark.parametrize("purpose", DECODERS)
def test_a_hundred_thousand_random_frames_do_no_harm(purpose: Purpose) -> None:
    _attack(purpose, 20_000, 2)
