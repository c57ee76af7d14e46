"""Cryptographic primitives; with `sealed`, the only module that imports the crypto library.

SHA-512/256 is the FIPS 180-4 variant with its own initial value, not a cut SHA-512.
Ed25519 keys name everybody; their X25519 forms are used in handshakes only.
Source: PROTOCOL.md, "Primitives".
"""

import functools
import hashlib
import hmac
from typing import Final

import nacl.bindings
import nacl.exceptions

from offset_engine.core.values import (
    HashedLock,
    HashResult,
    PlainLock,
    PrivateKey,
    PublicKey,
    Signature,
)

EXPANDED_SIZE: Final = 64
"""Bytes of a key from `expand_seed`: seed and public key."""
_SHA512_256: Final = hashlib.new("sha512_256")
_BAD_KEYS: Final = (nacl.exceptions.CryptoError, ValueError, TypeError)


def sha512_256(data: bytes) -> HashResult:
    """Hash bytes of any length into 32 bytes."""
    state = _SHA512_256.copy()
    state.update(data)
    return HashResult(state.digest())


def hash_lock(plain: PlainLock) -> HashedLock:
    """The public half of a hash lock: SHA-512/256 of the 32-byte secret."""
    state = _SHA512_256.copy()
    state.update(plain)
    return HashedLock(state.digest())


def public_key_of(private_key: PrivateKey) -> PublicKey:
    """The Ed25519 public key that belongs to a 32-byte seed."""
    return PublicKey(nacl.bindings.crypto_sign_seed_keypair(bytes(private_key))[0])


def expand_seed(private_key: PrivateKey) -> bytes:
    """Secret. The 64-byte form of a seed that `sign` wants; keep it to sign quickly."""
    return nacl.bindings.crypto_sign_seed_keypair(bytes(private_key))[1]


def sign(expanded: bytes, message: bytes) -> Signature:
    """Ed25519 signature (deterministic) with a key from `expand_seed`.

    Raises:
        ValueError: `expanded` has another length; the library would sign with what lies behind a seed in
            memory, and two such signatures can tell the key.
    """
    if len(expanded) != EXPANDED_SIZE:
        raise ValueError(f"a signing key has {EXPANDED_SIZE} bytes, not {len(expanded)}")
    return Signature(nacl.bindings.crypto_sign(message, expanded)[:64])


def verify(public_key: PublicKey, message: bytes, signature: Signature) -> bool:
    """Whether `signature` is this key's signature of `message`; small-order keys never verify."""
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except _BAD_KEYS:
        return False
    return True


@functools.lru_cache(maxsize=4_096)
def is_valid_identity(public_key: PublicKey) -> bool:
    """Whether the key is a usable Ed25519 point: canonical, not of small order, on the main subgroup.

    Looking costs as much as a verified signature, and the same few keys come again and again.
    """
    return x25519_public(public_key) is not None


def x25519_public(public_key: PublicKey) -> bytes | None:
    """The 32-byte X25519 form of an identity, or None if the key is not a valid identity."""
    try:
        return nacl.bindings.crypto_sign_ed25519_pk_to_curve25519(bytes(public_key))
    except _BAD_KEYS:
        return None


def x25519_secret(private_key: PrivateKey) -> bytes:
    """Secret. The 32-byte X25519 form of an identity's seed."""
    return nacl.bindings.crypto_sign_ed25519_sk_to_curve25519(expand_seed(private_key))


def x25519_base(secret: bytes) -> bytes:
    """The 32-byte X25519 public key of a 32-byte secret."""
    return nacl.bindings.crypto_scalarmult_base(secret)


def x25519(secret: bytes, public: bytes) -> bytes | None:
    """The 32-byte shared secret, or None if the other key forces an all-zero result."""
    try:
        return nacl.bindings.crypto_scalarmult(secret, public)
    except _BAD_KEYS:
        return None


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """32-byte HMAC-SHA-256."""
    return hmac.digest(key, data, "sha256")


def sha256(data: bytes) -> bytes:
    """32-byte SHA-256, used by the Noise handshake only."""
    return hashlib.sha256(data).digest()


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes = b"") -> bytes:
    """ChaCha20-Poly1305 (IETF): 32-byte key, 12-byte nonce; the result is 16 bytes longer."""
    return nacl.bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
        plaintext, associated, nonce, key
    )


def unseal(key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes = b"") -> bytes | None:
    """The plaintext, or None if anything was altered."""
    try:
        return nacl.bindings.crypto_aead_chacha20poly1305_ietf_decrypt(
            ciphertext, associated, nonce, key
        )
    except _BAD_KEYS:
        return None


def speaks_first(local: PublicKey, remote: PublicKey) -> bool:
    """Whether `local` owns the token of a new channel: its key's *hash* is the greater one.

    The same order decides who is preferred to dial. Equal keys are refused long before.
    """
    return sha512_256(local) > sha512_256(remote)
