"""Bytes sealed under a passphrase: what is kept on a disk or carried away and must stay secret.

| offset | bytes | what |
|---|---|---|
| 0 | 7 | `OFFSEAL` |
| 7 | 1 | version, 1 |
| 8 | 1 | purpose: what is inside |
| 9 | 4 | passes of argon2id, big-endian |
| 13 | 4 | memory of argon2id in KiB, big-endian |
| 17 | 16 | salt, random |
| 33 | 24 | nonce, random |
| 57 | 16 + n | XSalsa20-Poly1305 box of the content |
| 73 + n | 8 | first bytes of SHA-512/256 of everything before |

The key of the box is SHA-512/256(tag ‖ first 57 bytes ‖ argon2id(passphrase)), so nothing in the header can
be changed. The last field tells a damaged file from a wrong passphrase; against an attacker it is
worth nothing, and nothing depends on it. A header may not ask for more work than `Cost` allows.

Source: apps.md RMP-21; PROTOCOL.md, "Sealed files and backups".
"""

import base64
import binascii
import enum
import hashlib
import os
import struct
import unicodedata
from pathlib import Path
from typing import BinaryIO, Final

import nacl.bindings
import nacl.exceptions
import nacl.secret

from offset_engine.core.crypto import sha512_256
from offset_engine.core.values import value
from offset_engine.errors import FileError

PASSPHRASE_BYTES_MAX: Final = 1_024
SEALED_BYTES_MAX: Final = 1 << 30
"""More than any card's database; a longer file is refused before it is read."""
PASSES_MAX: Final = 16
MEMORY_KIB_MAX: Final = 1 << 20
"""1 GiB: what a file may demand of whoever opens it."""
WORK_MAX: Final = 4 << 20
"""Passes times KiB: some ten seconds."""
_MEMORY_KIB_MIN: Final = 8
_MAGIC: Final = b"OFFSEAL"
_VERSION: Final = 1
_HEADER: Final = struct.Struct(">7sBBII16s24s")
_CHECK_BYTES: Final = 8
_PIECE_BYTES: Final = 1 << 20
_DAMAGED: Final = "this is damaged: something in it was changed or cut off; use another copy"
_KEY_TAG: Final = sha512_256(b"offset/v1/sealed")
TOO_BIG: Final = "there is not enough memory here to open or make this; close other programs"


class SealedError(FileError):
    """Sealed bytes cannot be opened, for whatever reason; they were not changed."""


class PassphraseError(SealedError):
    """The passphrase is not the one it was sealed with."""


class Purpose(enum.IntEnum):
    """What is inside; a sealed identity cannot be passed off as a backup."""

    IDENTITY = 1
    BACKUP = 2
    DATABASE = 3


_WHAT: Final = {
    Purpose.IDENTITY: "a sealed identity",
    Purpose.BACKUP: "a backup of a card",
    Purpose.DATABASE: "the sealed database of a card",
}


@value
class Cost:
    """How much work each try of a passphrase is."""

    passes: int
    memory_kib: int


DEFAULT_COST: Final = Cost(passes=4, memory_kib=128 * 1024)
"""About a quarter of a second, and 128 MiB for that long: a small server still has them."""


class Passphrase:
    """Secret. A passphrase as the bytes it is hashed from; never shown."""

    __slots__ = ("_raw",)

    def __init__(self, raw: bytes) -> None:
        """Take bytes as they are; `of` is for what people type."""
        self._raw = raw

    @classmethod
    def of(cls, text: str) -> "Passphrase":
        """What somebody typed; composed and decomposed letters count as the same.

        Raises:
            ValueError: it is empty, too long, or no text; the sentence does not repeat it.
        """
        try:
            raw = unicodedata.normalize("NFC", text).encode()
        except UnicodeEncodeError:
            raise ValueError("a passphrase must be text") from None
        if not 1 <= len(raw) <= PASSPHRASE_BYTES_MAX:
            raise ValueError(f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes")
        return cls(raw)

    def stretched(self, salt: bytes, cost: Cost) -> bytes:
        """32 bytes of argon2id; takes a while.

        Raises:
            SealedError: there is not enough memory.
        """
        try:
            return nacl.bindings.crypto_pwhash_alg(
                32,
                self._raw,
                salt,
                cost.passes,
                cost.memory_kib * 1024,
                nacl.bindings.crypto_pwhash_ALG_ARGON2ID13,
            )
        except (nacl.exceptions.CryptoError, MemoryError):
            raise SealedError(TOO_BIG) from None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Passphrase) and self._raw == other._raw

    __hash__ = None  # type: ignore[assignment]  # nothing should collect passphrases

    def __repr__(self) -> str:
        return "Passphrase(secret)"


@value
class _Header:
    purpose: Purpose
    cost: Cost
    salt: bytes
    nonce: bytes
    raw: bytes


def seal(
    content: bytes, passphrase: Passphrase, purpose: Purpose, cost: Cost = DEFAULT_COST
) -> bytes:
    """Seal `content`; takes as long as `cost` says.

    Raises:
        SealedError: the content is too long, or there is not enough memory.
    """
    if len(content) > SEALED_BYTES_MAX - 1024:
        raise SealedError("this is too much to be sealed: more than 1 GiB")
    salt, nonce = os.urandom(16), os.urandom(nacl.secret.SecretBox.NONCE_SIZE)
    raw = _HEADER.pack(_MAGIC, _VERSION, purpose, cost.passes, cost.memory_kib, salt, nonce)
    header = _Header(purpose, cost, salt, nonce, raw)
    box = nacl.secret.SecretBox(_key(header, passphrase))
    try:
        sealed = raw + box.encrypt(content, nonce).ciphertext
        return sealed + _check_of(sealed)
    except MemoryError:
        raise SealedError(TOO_BIG) from None


def unseal(sealed: bytes, passphrase: Passphrase, purpose: Purpose) -> bytes:
    """Open what `seal` made; takes as long as the cost it was sealed with.

    Raises:
        PassphraseError: the passphrase is another one.
        SealedError: this is something else, damaged, of a newer version, or too costly to open.
    """
    header = _read_header(sealed, purpose)
    box = nacl.secret.SecretBox(_key(header, passphrase))
    try:
        return box.decrypt(sealed[_HEADER.size : -_CHECK_BYTES], header.nonce)
    except MemoryError:
        raise SealedError(TOO_BIG) from None
    except (nacl.exceptions.CryptoError, ValueError):
        raise PassphraseError("this is not the passphrase it was sealed with") from None


def purpose_of(start: bytes) -> Purpose | None:
    """What sealed bytes hold, by their first bytes; None if they are nothing of ours."""
    try:
        return Purpose(start[8]) if start.startswith(_MAGIC) else None
    except (IndexError, ValueError):
        return None


def check(sealed: bytes, purpose: Purpose) -> None:
    """Find out without the passphrase whether this can be opened at all.

    Raises:
        SealedError: this is something else, damaged, of a newer version, or too costly to open.
    """
    _read_header(sealed, purpose)


def read(path: Path, purpose: Purpose) -> bytes:
    """The sealed bytes in a file, if they can be opened at all; memory is only taken for those.

    Raises:
        SealedError: as `check`, or there is not enough memory.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        _need_start(file.read(_HEADER.size), size, purpose)
        file.seek(0)
        _need_whole(file, size)
        file.seek(0)
        try:
            return file.read(SEALED_BYTES_MAX)
        except MemoryError:
            raise SealedError(TOO_BIG) from None


def _need_whole(file: BinaryIO, size: int) -> None:
    """Insist, piece by piece, that the end of a file is the check of what is before it."""
    left = size - _CHECK_BYTES
    state = hashlib.new("sha512_256")
    while left > 0 and (piece := file.read(min(left, _PIECE_BYTES))):
        state.update(piece)
        left -= len(piece)
    if left or file.read(_CHECK_BYTES + 1) != state.digest()[:_CHECK_BYTES]:
        raise SealedError(_DAMAGED)


def to_text(sealed: bytes) -> str:
    """Base64, URL-safe alphabet, no padding: for a field of a file."""
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")


def from_text(text: str) -> bytes:
    """Read `to_text` back.

    Raises:
        SealedError: it is not base64 text.
    """
    bare = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SealedError("the sealed part is damaged: it is not base64 text") from None


def _need_start(start: bytes, size: int, purpose: Purpose) -> None:
    """Insist that what begins like this and has so many bytes is something of ours that we know."""
    what = _WHAT[purpose]
    if not start.startswith(_MAGIC):
        raise SealedError(f"this is not {what}")
    if size < _HEADER.size + nacl.secret.SecretBox.MACBYTES + _CHECK_BYTES:
        raise SealedError("this is damaged: the end is missing")
    if size > SEALED_BYTES_MAX:
        raise SealedError(f"this is not {what}: it is longer than 1 GiB")
    version = start[len(_MAGIC)]
    if version != _VERSION:
        raise SealedError(
            f"this was sealed by a newer version of this program (format {version}, this one knows "
            f"{_VERSION}); install that version"
        )


def _read_header(sealed: bytes, purpose: Purpose) -> _Header:
    _need_start(sealed[: _HEADER.size], len(sealed), purpose)
    _, _, found, passes, memory_kib, salt, nonce = _HEADER.unpack_from(sealed)
    view = memoryview(sealed)
    if view[-_CHECK_BYTES:] != _check_of(view[:-_CHECK_BYTES]):
        raise SealedError(_DAMAGED)
    if found != purpose:
        known = _WHAT.get(found, "something a newer version made")
        raise SealedError(f"this is {known}, not {_WHAT[purpose]}")
    cost = Cost(passes, memory_kib)
    if not _is_bearable(cost):
        raise SealedError(
            f"opening this would take {memory_kib} KiB of memory {passes} times over, which no file "
            "of ours does; it is refused"
        )
    return _Header(purpose, cost, salt, nonce, sealed[: _HEADER.size])


def _is_bearable(cost: Cost) -> bool:
    return (
        1 <= cost.passes <= PASSES_MAX
        and _MEMORY_KIB_MIN <= cost.memory_kib <= MEMORY_KIB_MAX
        and cost.passes * cost.memory_kib <= WORK_MAX
    )


def _key(header: _Header, passphrase: Passphrase) -> bytes:
    return sha512_256(_KEY_TAG + header.raw + passphrase.stretched(header.salt, header.cost))


def _check_of(before: bytes | memoryview) -> bytes:
    return hashlib.new("sha512_256", before).digest()[:_CHECK_BYTES]
