"""The handshake and the records against vectors and damaged input."""

import json
from pathlib import Path

import nacl.bindings
import pytest

from offset_engine.core import noise
from offset_engine.core.crypto import public_key_of, seal, unseal
from offset_engine.core.noise import (
    BUCKETS,
    CLOSE,
    COUNTER_END,
    DATA_END,
    DATA_MORE,
    FRAGMENT_BYTES_MAX,
    PING,
    REKEY,
    REKEY_BYTES,
    REKEY_RECORDS,
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
from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.errors import HandshakeError, InvariantError, RecordError
from tests.covers import covers

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "noise_xk.json").read_text())
# The rest of the vector, from the table of network.md §2.4.
BINDING = "6a99c5df48f158851d8697e28567e01ef24c168a930433ad8101d9dbabfe8e88"
KEY_I2R = "2be187f307a24b0e50d47b687af7f1465c47cd995ae5c719f7a6dea0e36c51b2"
KEY_R2I = "dffb7b2f8cdb3b2a5706116140ed26452323fb08060218face0559d31b0d4007"
KEY_I2R_NEXT = "1b2faccaa7cb770a567e4d3426093a0a62af868e6290983c57de214cf6af4574"
RECORD_I2R_2 = (
    "81a379817a2a5f5b507b25f7cc0b86c85f551432eddcbd3ed52ef3a11d84d14a80a2cf4681611bc53c52b29844"
    "9ffeaf1cd497806aff17588d29aed0d4f9ea7fb6446b7064aff58592da80fb4a369654"
)
RECORD_R2I_0 = (
    "d36ee05f761de10822d30ab59d3635bb3252d7f3e3ca668cd96d974fd7ec8eb1537e677003265ec1f12c759d3c"
    "124fa647dfe45c79b81c61a7ce6d2178f20888fa61f6f39848622918dca361e8f30d60"
)

ALICE, BOB, MALLORY = (PrivateKey(bytes([n]) * 32) for n in (0x11, 0x22, 0x55))
ALICE_KEY, BOB_KEY, MALLORY_KEY = map(public_key_of, (ALICE, BOB, MALLORY))
EPHEMERAL_I, EPHEMERAL_R = b"\x33" * 32, b"\x44" * 32
OFFER = Offer(1, 1, 2**20)
KEY = bytes(range(32))


def initiator(
    identity: PrivateKey = ALICE,
    expected: PublicKey = BOB_KEY,
    ephemeral: bytes = EPHEMERAL_I,
    offer: Offer = OFFER,
) -> HandshakeInitiator:
    return HandshakeInitiator(identity, expected, Purpose.RELAY, ephemeral, offer)


def responder(identity: PrivateKey = BOB, offer: Offer = OFFER) -> HandshakeResponder:
    return HandshakeResponder(identity, {Purpose.RELAY: offer}, EPHEMERAL_R)


def shake_hands() -> tuple[Established, Established]:
    dialer, listener = initiator(), responder()
    frame3, near = dialer.read_frame2(listener.read_frame1(dialer.frame1))
    return near, listener.read_frame3(frame3)


def fault_of(error: pytest.ExceptionInfo[HandshakeError]) -> HandshakeFault:
    fault = error.value.args[0]
    assert isinstance(fault, HandshakeFault)
    return fault


def hex_body(frame: bytes) -> str:
    assert int.from_bytes(frame[:2], "big") == len(frame) - 2
    return frame[2:].hex()


def record(plaintext: bytes, counter: int = 0, key: bytes = KEY) -> bytes:
    return seal(key, bytes(4) + counter.to_bytes(8, "little"), plaintext)


def plain(kind: int, content: bytes, size: int | None = None) -> bytes:
    whole = bytes([kind]) + len(content).to_bytes(2, "big") + content
    size = next(b for b in BUCKETS if b >= len(whole)) if size is None else size
    return whole + bytes(size - len(whole))


# --- handshake ----------------------------------------------------------------------------------


@covers("NT01")
def test_the_handshake_has_exactly_the_bytes_of_the_vector() -> None:
    assert VECTOR["initiator_identity_public"] == ALICE_KEY.hex()
    assert VECTOR["responder_identity_public"] == BOB_KEY.hex()
    dialer, listener = initiator(), responder()
    assert dialer.frame1.hex() == VECTOR["prologue"] + VECTOR["m1"]
    frame2 = listener.read_frame1(dialer.frame1)
    assert frame2.hex() == VECTOR["m2"]
    frame3, near = dialer.read_frame2(frame2)
    assert frame3.hex() == VECTOR["m3"]
    far = listener.read_frame3(frame3)
    assert near.binding == far.binding == bytes.fromhex(BINDING)
    assert near.send_key == far.receive_key == bytes.fromhex(KEY_I2R)
    assert near.receive_key == far.send_key == bytes.fromhex(KEY_R2I)
    assert (near.peer, far.peer) == (BOB_KEY, ALICE_KEY)
    assert (near.version, far.version) == (1, 1)
    assert near.max_message == far.max_message == 2**20
    assert near.purpose == far.purpose == Purpose.RELAY


@covers("NT01")
def test_the_records_have_exactly_the_bytes_of_the_vector_across_a_rekey() -> None:
    near, far = shake_hands()
    sealer, opener = RecordSealer(near.send_key), RecordOpener(far.receive_key)
    hello = sealer.seal(DATA_END, b"hello")
    assert hex_body(hello) == VECTOR["record_i2r_0_DATA_END_hello_bucket64"]
    rekey = sealer.rekey()
    assert hex_body(rekey) == VECTOR["record_i2r_1_REKEY_bucket64"]
    assert sealer._key.hex() == KEY_I2R_NEXT
    again = sealer.seal(DATA_END, b"again")
    assert hex_body(again) == RECORD_I2R_2
    opened = [opener.unseal(frame[2:]) for frame in (hello, rekey, again)]
    assert opened == [(DATA_END, b"hello"), (REKEY, b""), (DATA_END, b"again")]

    ping = RecordSealer(far.send_key).seal(PING, bytes(range(8)))
    assert hex_body(ping) == RECORD_R2I_0
    assert RecordOpener(near.receive_key).unseal(ping[2:]) == (PING, bytes(range(8)))


def test_secrets_do_not_show_in_a_printed_outcome() -> None:
    near, _ = shake_hands()
    assert "send_key" not in repr(near)
    assert "receive_key" not in repr(near)


def test_features_are_those_of_both_ends() -> None:
    dialer = initiator(offer=Offer(1, 1, 2**20, 0b0110))
    listener = responder(offer=Offer(1, 1, 2**20, 0b0011))
    frame3, near = dialer.read_frame2(listener.read_frame1(dialer.frame1))
    assert near.features == listener.read_frame3(frame3).features == 0b0010


@pytest.mark.parametrize(
    ("own", "remote", "agreed"),
    [((1, 3), (2, 5), 3), ((2, 9), (1, 4), 4), ((1, 1), (1, 1), 1)],
)
def test_the_newest_common_version_is_chosen(
    own: tuple[int, int], remote: tuple[int, int], agreed: int
) -> None:
    dialer = initiator(offer=Offer(*own, 2**20))
    listener = responder(offer=Offer(*remote, 2**20))
    frame3, near = dialer.read_frame2(listener.read_frame1(dialer.frame1))
    assert near.version == listener.read_frame3(frame3).version == agreed


@pytest.mark.parametrize(("own", "remote"), [((1, 1), (2, 3)), ((2, 3), (1, 1))])
def test_without_a_common_version_the_initiator_says_so(
    own: tuple[int, int], remote: tuple[int, int]
) -> None:
    dialer = initiator(offer=Offer(*own, 2**20))
    frame2 = responder(offer=Offer(*remote, 2**20)).read_frame1(dialer.frame1)
    with pytest.raises(HandshakeError, match="incompatible version") as error:
        dialer.read_frame2(frame2)
    assert fault_of(error) is HandshakeFault.VERSION


def test_the_responder_refuses_a_version_it_did_not_offer() -> None:
    dialer, listener = initiator(offer=Offer(1, 9, 2**20)), responder(offer=Offer(1, 9, 2**20))
    frame2 = listener.read_frame1(dialer.frame1)
    frame3, _ = dialer.read_frame2(frame2)
    listener._offer = Offer(1, 8, 2**20)
    with pytest.raises(HandshakeError) as error:
        listener.read_frame3(frame3)
    assert fault_of(error) is HandshakeFault.VERSION


def test_another_handshake_version_is_told_but_not_a_reflected_answer() -> None:
    frame1 = bytearray(initiator().frame1)
    frame1[4] = 2
    with pytest.raises(HandshakeError) as error:
        responder().read_frame1(bytes(frame1))
    assert fault_of(error) is HandshakeFault.HANDSHAKE_VERSION
    with pytest.raises(HandshakeError) as error:
        initiator().read_frame2(UNKNOWN_VERSION_REPLY)
    assert fault_of(error) is HandshakeFault.HANDSHAKE_VERSION
    with pytest.raises(HandshakeError) as error:
        responder().read_frame1(UNKNOWN_VERSION_REPLY)
    assert fault_of(error) is HandshakeFault.MALFORMED


@pytest.mark.parametrize("expected", [bytes(32), b"\x01" + bytes(31), b"\xff" * 32])
def test_nobody_dials_a_key_that_is_no_identity(expected: bytes) -> None:
    with pytest.raises(HandshakeError) as error:
        initiator(expected=PublicKey(expected))
    assert fault_of(error) is HandshakeFault.IDENTITY


def test_nobody_dials_itself() -> None:
    with pytest.raises(HandshakeError) as error:
        initiator(expected=ALICE_KEY)
    assert fault_of(error) is HandshakeFault.OWN_KEY


def test_an_ephemeral_key_that_forces_a_zero_secret_is_refused() -> None:
    frame1 = initiator().frame1
    with pytest.raises(HandshakeError):
        responder().read_frame1(frame1[:6] + bytes(32) + frame1[38:])
    frame2 = responder().read_frame1(frame1)
    with pytest.raises(HandshakeError):
        initiator().read_frame2(bytes(32) + frame2[32:])


@covers("NT05")
@pytest.mark.parametrize(
    ("claimed", "fault"),
    [
        (MALLORY_KEY, HandshakeFault.MISBOUND),
        (b"\x01" + bytes(31), HandshakeFault.MISBOUND),
        (bytes(32), HandshakeFault.MISBOUND),
        (BOB_KEY, HandshakeFault.MISBOUND),
    ],
)
def test_a_claimed_key_needs_its_proof(
    monkeypatch: pytest.MonkeyPatch, claimed: bytes, fault: HandshakeFault
) -> None:
    dialer, listener = initiator(), responder()
    frame2 = listener.read_frame1(dialer.frame1)
    with monkeypatch.context() as patch:
        patch.setattr(noise, "public_key_of", lambda _: claimed)
        frame3, _ = dialer.read_frame2(frame2)
    with pytest.raises(HandshakeError) as error:
        listener.read_frame3(frame3)
    assert fault_of(error) is fault


@covers("NT05")
def test_the_responders_own_key_is_refused_even_with_its_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(noise, "public_key_of", lambda _: ALICE_KEY)
        dialer = initiator(identity=BOB)
    listener = responder()
    frame3, _ = dialer.read_frame2(listener.read_frame1(dialer.frame1))
    with pytest.raises(HandshakeError) as error:
        listener.read_frame3(frame3)
    assert fault_of(error) is HandshakeFault.OWN_KEY


@covers("NT06")
def test_a_relayed_handshake_cannot_be_taken_over_by_another_key() -> None:
    # Alice believes to dial Mallory, who passes her frames on to Bob: they are not for Bob.
    with pytest.raises(HandshakeError):
        responder().read_frame1(initiator(expected=MALLORY_KEY).frame1)

    # Alice dials Bob; Mallory in the middle puts an F3 of its own in place of hers.
    alice, bob = initiator(), responder()
    frame2 = bob.read_frame1(alice.frame1)
    mallory = initiator(identity=MALLORY, ephemeral=b"\x66" * 32)
    own_frame3, _ = mallory.read_frame2(responder().read_frame1(mallory.frame1))
    genuine, _ = alice.read_frame2(frame2)
    for forged in (own_frame3, own_frame3[:48] + genuine[48:], genuine[:48] + own_frame3[48:]):
        with pytest.raises(HandshakeError):
            _responder_after_frame1().read_frame3(forged)
    assert bob.read_frame3(genuine).peer == ALICE_KEY


def _responder_after_frame1() -> HandshakeResponder:
    listener = responder()
    listener.read_frame1(initiator().frame1)
    return listener


def test_frame_3_cannot_come_first() -> None:
    with pytest.raises(InvariantError):
        responder().read_frame3(bytes(110))


# --- records ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 61, 62, 125, 126, 16_381, 16_382, 32_765, 65_516])
def test_a_record_fills_the_smallest_bucket(size: int) -> None:
    frame = RecordSealer(KEY).seal(DATA_END, bytes(size))
    smallest = min(bucket for bucket in BUCKETS if bucket >= size + 3)
    assert len(frame) == 2 + smallest + 16
    assert RecordOpener(KEY).unseal(frame[2:]) == (DATA_END, bytes(size))


def test_a_full_fragment_fills_its_bucket_exactly() -> None:
    frame = RecordSealer(KEY).seal(DATA_MORE, bytes(FRAGMENT_BYTES_MAX))
    assert len(frame) == 2 + 16_384 + 16


def test_content_beyond_a_record_is_our_own_mistake() -> None:
    with pytest.raises(InvariantError):
        RecordSealer(KEY).seal(DATA_END, bytes(65_517))


@covers("NT08")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        bytes(18),
        record(b""),
        record(b"\x00\x00"),
        record(plain(DATA_END, b"hi", 65)),
        record(plain(DATA_END, b"hi", 63)),
        record(plain(DATA_END, b"hi", 5)),
        record(plain(DATA_END, b"hi", 128)),
        record(plain(PING, bytes(8), 128)),
        record(plain(DATA_END, b"hi")[:-1] + b"\x01"),
        record(b"\x00\x00\x02hi\x01" + bytes(58)),
        record(b"\x00\x00\x40" + bytes(61)),
        record(b"\x00\xff\xff" + bytes(61)),
        record(plain(REKEY, b"x")),
        record(plain(DATA_END, b"hi"), counter=1),
    ],
)
def test_refuses_a_record_that_is_short_or_wrongly_padded(body: bytes) -> None:
    with pytest.raises(RecordError):
        RecordOpener(KEY).unseal(body)


def test_a_larger_bucket_passes_only_where_it_was_allowed() -> None:
    opener = RecordOpener(KEY)
    opener.enlarged = True
    assert opener.unseal(record(plain(DATA_END, b"hi", 128))) == (DATA_END, b"hi")
    assert opener.unseal(record(plain(PING, bytes(8), 65_519), 1)) == (PING, bytes(8))
    with pytest.raises(RecordError):
        opener.unseal(record(plain(DATA_END, b"hi", 129), 2))
    with pytest.raises(RecordError):
        opener.unseal(record(plain(DATA_END, b"hi", 128)[:-1] + b"\x01", 3))


def test_exact_records_pass_only_where_they_were_allowed_and_only_for_data() -> None:
    sealer, opener = RecordSealer(KEY), RecordOpener(KEY)
    sealer.exact = opener.exact = True
    for size in (0, 1, 61, 100, 16_381):
        frame = sealer.seal(DATA_END, bytes(size))
        assert len(frame) == 2 + 3 + size + 16
        assert opener.unseal(frame[2:]) == (DATA_END, bytes(size))
    sealer.exact = False
    assert opener.unseal(sealer.seal(DATA_MORE, b"padded")[2:]) == (DATA_MORE, b"padded")
    sealer.exact = True
    ping = sealer.seal(PING, bytes(8))
    assert len(ping) == 2 + 64 + 16
    assert opener.unseal(ping[2:]) == (PING, bytes(8))
    with pytest.raises(RecordError):
        RecordOpener(KEY).unseal(exact_record(b"hello"))
    for kind in (PING, CLOSE):
        strict = RecordOpener(KEY)
        strict.exact = True
        with pytest.raises(RecordError):
            strict.unseal(record(plain(kind, bytes(8), 11)))
    half_padded = RecordOpener(KEY)
    half_padded.exact = True
    with pytest.raises(RecordError):
        half_padded.unseal(record(plain(DATA_END, b"hi", 6)))


def exact_record(content: bytes) -> bytes:
    sealer = RecordSealer(KEY)
    sealer.exact = True
    return sealer.seal(DATA_END, content)[2:]


@covers("NT09")
def test_dropped_repeated_swapped_and_cut_records_are_noticed_at_once() -> None:
    sealer = RecordSealer(KEY)
    bodies = [sealer.seal(DATA_END, bytes([n]))[2:] for n in range(4)]
    for wrong in (bodies[1], bodies[2], bodies[0][:-1], bodies[0] + b"\x00"):
        with pytest.raises(RecordError):
            RecordOpener(KEY).unseal(wrong)
    opener = RecordOpener(KEY)
    opener.unseal(bodies[0])
    with pytest.raises(RecordError):
        opener.unseal(bodies[0])


def test_every_flipped_bit_of_a_record_is_noticed() -> None:
    body = RecordSealer(KEY).seal(DATA_END, b"pay")[2:]
    for bit in range(len(body) * 8):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RecordError):
            RecordOpener(KEY).unseal(bytes(flipped))


@covers("NT11")
def test_the_key_changes_by_itself_after_65_536_records() -> None:
    sealer, opener = RecordSealer(KEY), RecordOpener(KEY)
    sealer.exact = opener.exact = True
    for _ in range(REKEY_RECORDS):
        opener.unseal(sealer.seal(DATA_END, b"")[2:])
    assert (sealer.rekeys, opener._key) == (0, KEY)
    frames = sealer.seal(DATA_END, b"on")
    assert sealer.rekeys == 1
    rekey_end = 2 + 64 + 16
    assert opener.unseal(frames[2:rekey_end]) == (REKEY, b"")
    assert opener.unseal(frames[rekey_end + 2 :]) == (DATA_END, b"on")
    assert opener._key == sealer._key != KEY


@covers("NT11")
def test_the_key_changes_by_itself_after_a_gigabyte() -> None:
    sealer = RecordSealer(KEY)
    sealer._bytes = REKEY_BYTES - 1
    sealer.seal(DATA_END, b"")
    assert sealer.rekeys == 0
    sealer.seal(DATA_END, b"")
    assert sealer.rekeys == 1


@covers("NT11")
def test_no_record_number_is_ever_used_twice() -> None:
    sealer, opener = (kind(KEY, COUNTER_END - 1) for kind in (RecordSealer, RecordOpener))
    assert isinstance(sealer, RecordSealer)
    assert isinstance(opener, RecordOpener)
    assert sealer.is_worn_out
    frame = sealer.seal(DATA_END, b"last")
    assert opener.unseal(frame[2:]) == (DATA_END, b"last")
    with pytest.raises(RecordError):
        sealer.seal(DATA_END, b"one too many")
    with pytest.raises(RecordError):
        opener.unseal(frame[2:])


def test_the_rekey_function_is_that_of_noise() -> None:
    nonce = bytes(4) + b"\xff" * 8
    expected = nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(bytes(32), b"", nonce, KEY)
    sealer = RecordSealer(KEY)
    sealer.rekey()
    assert sealer._key == expected[:32]
    assert unseal(KEY, nonce, expected) == bytes(32)
