"""The secure channel: Noise_XK_25519_ChaChaPoly_SHA256 and the records that follow it. Sans-IO, pure.

```
F1 I→R  54  "OFST" ‖ hs_version 1 ‖ purpose ‖ e ‖ AEAD("")
F2 R→I  64  e ‖ AEAD(version_min u16 ‖ version_max u16 ‖ max_message u32 ‖ features u64)
F3 I→R 110  AEAD(s) ‖ AEAD(ed25519_key 32 ‖ version u16 ‖ max_message u32 ‖ features u64)
record      AEAD(type u8 ‖ len u16 ‖ content ‖ zeros up to the smallest bucket)
```

The dialer knows whom it dials; a prober that does not gets no byte. Static keys are the X25519 forms
of the Ed25519 identities; identities are named and compared in their Ed25519 form only. The six bytes
before `e` in F1 are the prologue. A record's nonce is its number in its direction, never sent.

Source: PROTOCOL.md, "Secure channel"; Noise specification revision 34; network.md §2.4, §2.5.
"""

import dataclasses
import hmac
import struct
from bisect import bisect_left
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Final

from offset_engine.core.crypto import (
    hmac_sha256,
    public_key_of,
    seal,
    sha256,
    unseal,
    x25519,
    x25519_base,
    x25519_public,
    x25519_secret,
)
from offset_engine.core.values import PrivateKey, PublicKey, value
from offset_engine.errors import HandshakeError, RecordError, invariant

# --- handshake ----------------------------------------------------------------------------------

MAGIC: Final = b"OFST"
HANDSHAKE_VERSION: Final = 1
HANDSHAKE_FRAME_BYTES_MAX: Final = 512
"""Longer frames are refused before the handshake is over."""
UNKNOWN_VERSION_REPLY: Final = MAGIC + bytes((0xFF, HANDSHAKE_VERSION))
"""The only thing a responder says to somebody who may not know its key."""
_PROTOCOL_NAME: Final = b"Noise_XK_25519_ChaChaPoly_SHA256"
_PROLOGUE_BYTES: Final = 6
_TAG_BYTES: Final = 16
_FRAME1_BYTES: Final = 54
_FRAME2_BYTES: Final = 64
_FRAME3_BYTES: Final = 110
_KEY_BYTES: Final = 32
_PAYLOAD2: Final = struct.Struct(">HHIQ")
_PAYLOAD3: Final = struct.Struct(">32sHIQ")
_NONCE: Final = struct.Struct("<4xQ")


class Purpose(IntEnum):
    """What a connection is for; part of the prologue, so both ends agree on it."""

    RELAY = 1
    FRIEND = 2
    INDEX_CLIENT = 3
    INDEX_SERVER = 4
    APP = 5


class HandshakeFault(StrEnum):
    """Why a handshake failed: `HandshakeError.args[0]`."""

    MALFORMED = "the other end does not speak this protocol"
    HANDSHAKE_VERSION = "the other end speaks another version of the handshake"
    PURPOSE = "the other end wants something that is not offered here"
    WRONG_KEY = "wrong key, or not Offset"
    IDENTITY = "the key of the other end is not a usable identity"
    MISBOUND = "the other end did not prove the key it claims"
    OWN_KEY = "the other end uses our own key"
    VERSION = "incompatible version"


@value
class Offer:
    """What one end supports: protocol versions, the longest message it accepts (bytes), feature bits."""

    version_min: int
    version_max: int
    max_message: int
    features: int = 0


@value
class Established:
    """A finished handshake."""

    peer: PublicKey
    purpose: int
    version: int
    max_message: int
    """Longest message the other end accepts, in bytes."""
    features: int
    """Feature bits both ends have."""
    send_key: bytes = dataclasses.field(repr=False)
    """Secret. 32 bytes."""
    receive_key: bytes = dataclasses.field(repr=False)
    """Secret. 32 bytes."""
    binding: bytes
    """32-byte handshake hash: names this connection, equal at both ends."""


class _Symmetric:
    """Noise's SymmetricState with its CipherState."""

    __slots__ = ("_chaining_key", "_key", "_nonce", "hash")

    def __init__(self, prologue: bytes, responder_static: bytes) -> None:
        self._chaining_key = self.hash = _PROTOCOL_NAME
        self._key = b""
        self._nonce = 0
        self.mix_hash(prologue)
        self.mix_hash(responder_static)

    def mix_hash(self, data: bytes) -> None:
        self.hash = sha256(self.hash + data)

    def mix_key(self, shared: bytes | None, fault: HandshakeFault) -> None:
        """Mix in a Diffie-Hellman result; None (an all-zero one) ends the handshake."""
        if shared is None:
            raise HandshakeError(fault)
        self._chaining_key, self._key = _hkdf(self._chaining_key, shared)
        self._nonce = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = seal(self._key, _NONCE.pack(self._nonce), plaintext, self.hash)
        self._nonce += 1
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        plaintext = unseal(self._key, _NONCE.pack(self._nonce), ciphertext, self.hash)
        if plaintext is None:
            raise HandshakeError(HandshakeFault.WRONG_KEY)
        self._nonce += 1
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The keys of both directions, initiator to responder first."""
        return _hkdf(self._chaining_key, b"")


def _hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    temporary = hmac_sha256(chaining_key, material)
    first = hmac_sha256(temporary, b"\x01")
    return first, hmac_sha256(temporary, first + b"\x02")


class HandshakeInitiator:
    """The dialer: sends `frame1`, reads F2, sends the F3 it gets from that and is done."""

    __slots__ = ("_ephemeral", "_expected", "_identity", "_offer", "_symmetric", "frame1")

    def __init__(
        self,
        identity: PrivateKey,
        expected: PublicKey,
        purpose: int,
        ephemeral: bytes,
        offer: Offer,
    ) -> None:
        """Prepare F1. `ephemeral` is secret: 32 fresh random bytes, never used twice.

        Raises:
            HandshakeError: `expected` is no usable identity, or our own (whoever gave us that key).
        """
        static = x25519_public(expected)
        if static is None:
            raise HandshakeError(HandshakeFault.IDENTITY)
        if expected == public_key_of(identity):
            raise HandshakeError(HandshakeFault.OWN_KEY)
        self._identity, self._expected, self._offer = identity, expected, offer
        self._ephemeral = ephemeral
        prologue = MAGIC + bytes((HANDSHAKE_VERSION, purpose))
        symmetric = self._symmetric = _Symmetric(prologue, static)
        public = x25519_base(ephemeral)
        symmetric.mix_hash(public)
        symmetric.mix_key(x25519(ephemeral, static), HandshakeFault.IDENTITY)
        self.frame1 = prologue + public + symmetric.encrypt(b"")
        """54 bytes to send first."""

    def read_frame2(self, frame: bytes) -> tuple[bytes, Established]:
        """Check F2; returns F3 and the finished handshake.

        Raises:
            HandshakeError: not the expected responder, or no common version.
        """
        if len(frame) == len(UNKNOWN_VERSION_REPLY) and frame.startswith(MAGIC + b"\xff"):
            raise HandshakeError(HandshakeFault.HANDSHAKE_VERSION)
        if len(frame) != _FRAME2_BYTES:
            raise HandshakeError(HandshakeFault.WRONG_KEY)
        symmetric, remote = self._symmetric, frame[:_KEY_BYTES]
        symmetric.mix_hash(remote)
        symmetric.mix_key(x25519(self._ephemeral, remote), HandshakeFault.WRONG_KEY)
        payload = symmetric.decrypt(frame[_KEY_BYTES:])
        version_min, version_max, max_message, features = _PAYLOAD2.unpack(payload)
        version = min(self._offer.version_max, version_max)
        if version < max(self._offer.version_min, version_min):
            raise HandshakeError(HandshakeFault.VERSION)
        return self._finish(remote, version, max_message, features)

    def _finish(
        self, remote: bytes, version: int, max_message: int, features: int
    ) -> tuple[bytes, Established]:
        symmetric, offer = self._symmetric, self._offer
        secret = x25519_secret(self._identity)
        static = symmetric.encrypt(x25519_base(secret))
        symmetric.mix_key(x25519(secret, remote), HandshakeFault.WRONG_KEY)
        payload = _PAYLOAD3.pack(
            public_key_of(self._identity), version, offer.max_message, offer.features
        )
        frame3 = static + symmetric.encrypt(payload)
        send_key, receive_key = symmetric.split()
        purpose = self.frame1[_PROLOGUE_BYTES - 1]
        return frame3, Established(
            self._expected,
            purpose,
            version,
            max_message,
            features & offer.features,
            send_key,
            receive_key,
            symmetric.hash,
        )


class HandshakeResponder:
    """The dialled end: reads F1, answers F2, reads F3 and is done.

    After any `HandshakeError` nothing may be sent, except `UNKNOWN_VERSION_REPLY` for the fault
    `HANDSHAKE_VERSION`: somebody who does not know our key must not learn that it lives here.
    """

    __slots__ = ("_ephemeral", "_identity", "_offer", "_offers", "_purpose", "_symmetric")

    def __init__(self, identity: PrivateKey, offers: Mapping[int, Offer], ephemeral: bytes) -> None:
        """Serve the purposes that have an offer. `ephemeral` is secret: 32 fresh random bytes."""
        self._identity, self._offers, self._ephemeral = identity, offers, ephemeral
        self._symmetric: _Symmetric | None = None
        self._offer: Offer
        self._purpose = 0

    @property
    def has_answered(self) -> bool:
        """Whether F1 was accepted and F3 is next."""
        return self._symmetric is not None

    def read_frame1(self, frame: bytes) -> bytes:
        """Check F1; returns F2.

        Raises:
            HandshakeError: damaged, for another key, another version or a purpose not served.
        """
        if frame[:4] != MAGIC or len(frame) < _PROLOGUE_BYTES:
            raise HandshakeError(HandshakeFault.MALFORMED)
        if frame[4] not in (HANDSHAKE_VERSION, 0xFF):
            raise HandshakeError(HandshakeFault.HANDSHAKE_VERSION)
        # 0xFF is our own reply reflected: answering it would make two responders talk.
        if frame[4] != HANDSHAKE_VERSION or len(frame) != _FRAME1_BYTES:
            raise HandshakeError(HandshakeFault.MALFORMED)
        offer = self._offers.get(frame[5])
        if offer is None:
            raise HandshakeError(HandshakeFault.PURPOSE)
        secret = x25519_secret(self._identity)
        remote = frame[_PROLOGUE_BYTES : _PROLOGUE_BYTES + _KEY_BYTES]
        symmetric = _Symmetric(frame[:_PROLOGUE_BYTES], x25519_base(secret))
        symmetric.mix_hash(remote)
        symmetric.mix_key(x25519(secret, remote), HandshakeFault.WRONG_KEY)
        symmetric.decrypt(frame[_PROLOGUE_BYTES + _KEY_BYTES :])
        public = x25519_base(self._ephemeral)
        symmetric.mix_hash(public)
        symmetric.mix_key(x25519(self._ephemeral, remote), HandshakeFault.WRONG_KEY)
        payload = symmetric.encrypt(
            _PAYLOAD2.pack(offer.version_min, offer.version_max, offer.max_message, offer.features)
        )
        self._symmetric, self._offer, self._purpose = symmetric, offer, frame[5]
        return public + payload

    def read_frame3(self, frame: bytes) -> Established:
        """Check F3: who is the dialer?

        Raises:
            HandshakeError: damaged, replayed, a claimed key without proof, our own key, or a
                version outside the offered range.
        """
        symmetric = self._symmetric
        invariant(symmetric is not None, "F3 before F1")
        if symmetric is None or len(frame) != _FRAME3_BYTES:
            raise HandshakeError(HandshakeFault.MALFORMED)
        static_end = _KEY_BYTES + _TAG_BYTES
        static = symmetric.decrypt(frame[:static_end])
        symmetric.mix_key(x25519(self._ephemeral, static), HandshakeFault.WRONG_KEY)
        payload = symmetric.decrypt(frame[static_end:])
        key, version, max_message, features = _PAYLOAD3.unpack(payload)
        peer, offer = PublicKey(key), self._offer
        if not hmac.compare_digest(x25519_public(peer) or b"", static):
            raise HandshakeError(HandshakeFault.MISBOUND)
        if peer == public_key_of(self._identity):
            raise HandshakeError(HandshakeFault.OWN_KEY)
        if not offer.version_min <= version <= offer.version_max:
            raise HandshakeError(HandshakeFault.VERSION)
        receive_key, send_key = symmetric.split()
        return Established(
            peer,
            self._purpose,
            version,
            max_message,
            features & offer.features,
            send_key,
            receive_key,
            symmetric.hash,
        )


# --- records ------------------------------------------------------------------------------------

BUCKETS: Final = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65519)
"""Allowed sizes of a record's plaintext in bytes; the smallest that fits is the only one allowed."""
FRAGMENT_BYTES_MAX: Final = 16_381
"""Data in one record: with its header it fills the 16 384 bucket, and no ping waits long behind it."""
CONTENT_BYTES_MAX: Final = BUCKETS[-1] - 3
REKEY_RECORDS: Final = 2**16
"""A sending key is replaced after so many records …"""
REKEY_BYTES: Final = 2**30
"""… or so many bytes, whichever is first."""
COUNTER_END: Final = 2**64 - 1
"""No record has this number: Noise keeps it for REKEY."""
WORN_OUT_RESERVE: Final = 2**16
"""How far before `COUNTER_END` a connection must be given up."""

DATA_END: Final = 0
DATA_MORE: Final = 1
PING: Final = 2
PONG: Final = 3
REKEY: Final = 4
CLOSE: Final = 5

_HEADER: Final = struct.Struct(">BH")
_FRAME_HEADER: Final = struct.Struct(">H")
_ZEROS: Final = bytes(BUCKETS[-1])


def _next_key(key: bytes) -> bytes:
    return seal(key, _NONCE.pack(COUNTER_END), bytes(32))[:32]


class RecordSealer:
    """One direction's sending half: makes L1 frames (length included) ready for the stream.

    While `exact` is set, DATA records carry no padding. That is for relay legs after ESTABLISHED,
    whose contents are records padded already: padding them twice would double every byte.
    """

    __slots__ = ("_bytes", "_counter", "_key", "_records", "exact", "rekeys")

    def __init__(self, key: bytes, counter: int = 0) -> None:
        """Begin with record number `counter`."""
        self._key = key
        self._counter = counter
        self._records = 0
        self._bytes = 0
        self.exact = False
        self.rekeys = 0
        """How often the key was replaced."""

    @property
    def is_worn_out(self) -> bool:
        """Whether the record numbers are nearly used up: say CLOSE and reconnect."""
        return self._counter >= COUNTER_END - WORN_OUT_RESERVE

    def seal(self, kind: int, content: bytes) -> bytes:
        """One record as a frame, preceded by a REKEY frame when the key is due.

        Raises:
            RecordError: the record numbers are used up; reusing one would break the encryption.
        """
        if self._records >= REKEY_RECORDS or self._bytes >= REKEY_BYTES:
            return self.rekey() + self._seal(kind, content)
        return self._seal(kind, content)

    def rekey(self) -> bytes:
        """A REKEY record as a frame; everything after it uses the next key.

        Raises:
            RecordError: as `seal`.
        """
        frame = self._seal(REKEY, b"")
        self._key = _next_key(self._key)
        self._records = self._bytes = 0
        self.rekeys += 1
        return frame

    def _seal(self, kind: int, content: bytes) -> bytes:
        size = len(content) + 3
        invariant(size <= BUCKETS[-1], "content does not fit one record")
        if self._counter >= COUNTER_END:
            raise RecordError("the record numbers of this connection are used up")
        parts = [_HEADER.pack(kind, size - 3), content]
        if not self.exact or kind > DATA_MORE:
            parts.append(_ZEROS[: BUCKETS[bisect_left(BUCKETS, size)] - size])
        body = seal(self._key, _NONCE.pack(self._counter), b"".join(parts))
        self._counter += 1
        self._records += 1
        self._bytes += len(body)
        return _FRAME_HEADER.pack(len(body)) + body


class RecordOpener:
    """One direction's receiving half: takes frame bodies, follows REKEY by itself.

    A plaintext must be exactly the smallest bucket that holds its content, and its padding zero.
    Two relaxations, each only for the direction whose opener it is switched on for:

    * `exact`: a DATA record may also have no padding at all (plaintext = header + content). Padded
      DATA stays allowed, so the switch needs no agreed moment. PING, PONG, REKEY and CLOSE stay padded.
    * `enlarged`: any larger bucket is allowed too (friend links hide sizes if they like).
    """

    __slots__ = ("_counter", "_key", "enlarged", "exact")

    def __init__(self, key: bytes, counter: int = 0) -> None:
        """Expect record number `counter` first."""
        self._key = key
        self._counter = counter
        self.exact = False
        self.enlarged = False

    def unseal(self, body: bytes) -> tuple[int, bytes]:
        """Type and content of the next record, from the body of its frame.

        Raises:
            RecordError: damaged, lost, repeated or reordered (an attacker or a broken network), or
                not padded as demanded (the other end). The connection is over.
        """
        if len(body) < _TAG_BYTES + 3 or self._counter >= COUNTER_END:
            raise RecordError("a record is too short, or one too many")
        plaintext = unseal(self._key, _NONCE.pack(self._counter), body)
        if plaintext is None:
            raise RecordError("a record was damaged or is out of order")
        self._counter += 1
        kind, size = _HEADER.unpack_from(plaintext)
        end = size + 3
        if not (self.exact and kind <= DATA_MORE and end == len(plaintext)):
            self._check_padding(plaintext, end)
        if kind == REKEY:
            if size:
                raise RecordError("a REKEY record with content")
            self._key = _next_key(self._key)
        return kind, plaintext[3:end]

    def _check_padding(self, plaintext: bytes, end: int) -> None:
        bucket = len(plaintext)
        if end > bucket:
            raise RecordError("a record says it is longer than it is")
        if bucket != BUCKETS[bisect_left(BUCKETS, end)] and not (
            self.enlarged and bucket in BUCKETS
        ):
            raise RecordError("a record does not have the smallest size that fits")
        if plaintext[end:] != _ZEROS[: bucket - end]:
            raise RecordError("the padding of a record is not zero")
