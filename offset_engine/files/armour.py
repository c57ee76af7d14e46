"""Packed artifacts as text that survives chats, and as text for QR codes.

    text       offset1:invoice:<base64url>:<check, 4 characters>
    QR code    OFFSET1:<base32>:<check, 5 characters>
    QR parts   O$<kind><total><index><4 hex characters><a slice of the base32>

The check is the first three bytes of H("offset1" ‖ packed), the hex characters its first two. A QR
code is alphanumeric and may be read in either letter case. Total and index are one character each,
1 to 8; every part but the last has an equal slice, and they may be read in any order.

Source: apps.md §7.5, design R9.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Final, TypeAlias

from offset_engine.core.crypto import sha512_256
from offset_engine.core.values import value
from offset_engine.errors import FileError
from offset_engine.files.artifacts import Content
from offset_engine.files.packing import WORDS, Packable, pack
from offset_engine.files.unpacking import unpack

_NAME: Final = "offset1"
_CHECK_BYTES: Final = 3
PARTS_MAX: Final = 8
PART_HEAD_CHARS: Final = 9
"""`O$`, kind, total, index, four hex characters."""
_DAMAGED: Final = (
    "this text is damaged: its check does not fit. Copy it again, from {} to its last character"
)


def to_text(content: Content) -> str:
    """The text form, one line.

    Raises:
        FileError: the kind has none, or a text in it is too long.
    """
    packed = pack(content)
    body, check = map(_base64, (packed, _check(packed)))
    return f"{_NAME}:{WORDS[chr(packed[0])]}:{body}:{check}"


def to_qr_text(content: Content) -> str:
    """The text of a QR code, all characters from its alphanumeric set.

    Raises:
        FileError: as `to_text`.
    """
    packed = pack(content)
    return f"{_NAME.upper()}:{_base32(packed)}:{_base32(_check(packed))}"


def to_qr_parts(content: Content, chars_max: int) -> list[str]:
    """The texts of the fewest QR codes that have at most so many characters each.

    Raises:
        FileError: as `to_text`, or eight parts are not enough.
    """
    whole = to_qr_text(content)
    if len(whole) <= chars_max:
        return [whole]
    packed = pack(content)
    body = _base32(packed)
    room = chars_max - PART_HEAD_CHARS
    total = -(-len(body) // room) if room > 0 else PARTS_MAX + 1
    if total > PARTS_MAX:
        raise FileError(
            f"this does not fit into {PARTS_MAX} QR codes of {chars_max} characters; "
            "use larger ones, the text or the file"
        )
    size = -(-len(body) // total)
    # A slice rounded up may leave nothing for the last part.
    total = -(-len(body) // size)
    head = f"{chr(packed[0])}{total}"
    return [
        f"O${head}{number + 1}{_mark(packed)}{body[number * size : (number + 1) * size]}"
        for number in range(total)
    ]


# --- reading ------------------------------------------------------------------------------------


def from_text(word: str, body: str, check: str) -> Packable:
    """Read the three fields of a text form, white space already taken out.

    Raises:
        FileError: they are damaged, or hold another kind than the word says.
    """
    damaged = FileError(_DAMAGED.format("offset1:"))
    try:
        packed = base64.b64decode(_padded(body, 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise damaged from None
    if not packed or _base64(_check(packed)) != check.replace("+", "-").replace("/", "_"):
        raise damaged
    if WORDS.get(chr(packed[0]), word) != word:
        raise FileError(f"this text says {word}, but it holds: {WORDS[chr(packed[0])]}")
    return unpack(packed)


def from_qr_text(body: str, check: str) -> Packable:
    """Read the two fields of a QR code, white space already taken out, in either letter case.

    Raises:
        FileError: they are damaged.
    """
    packed = _from_base32(body)
    if packed is None or _base32(_check(packed)) != check.upper():
        raise FileError(_DAMAGED.format("OFFSET1:"))
    return unpack(packed)


@value
class Part:
    """One of the QR codes an artifact was cut into."""

    kind: str
    """Kind letter."""
    total: int
    number: int
    """1 to `total`."""
    mark: str
    """Four hex characters all parts of one artifact share."""
    slices: tuple[str, ...]
    """What its slice may be, upper case: where it ends in pasted text is not marked."""


def read_part(head: str, slices: Sequence[str]) -> Part:
    """Read the seven characters after `O$`.

    Raises:
        FileError: it is no part of ours.
    """
    kind, total, number, mark = head[0].upper(), head[1], head[2], head[3:].upper()
    if kind not in WORDS:
        raise FileError("this part of a QR code is of a kind this version does not know")
    if not "1" <= number <= total <= str(PARTS_MAX):
        raise FileError("this part of a QR code is damaged: its number is impossible")
    return Part(kind, int(total), int(number), mark, tuple(one.upper() for one in slices))


_Set: TypeAlias = dict[int, list[str]]
"""Number of a part → what its slice may be."""


def join_parts(parts: Sequence[Part]) -> list[Packable]:
    """Put parts together, in whatever order they were read; what was begun first comes first.

    Raises:
        FileError: a part is missing or damaged, or parts of different codes are mixed.
    """
    sets: dict[tuple[str, int, str], _Set] = {}
    for part in parts:
        found = sets.setdefault((part.kind, part.total, part.mark), {})
        found.setdefault(part.number, []).extend(part.slices)
    for (kind, total, _), found in sets.items():
        missing = [str(number) for number in range(1, total + 1) if number not in found]
        if missing:
            raise _missing(f"part {' and '.join(missing)} of {total}", WORDS[kind], list(sets))
    return [_joined(kind, mark, found) for (kind, _, mark), found in sets.items()]


def _missing(which: str, word: str, sets: list[tuple[str, int, str]]) -> FileError:
    if len(sets) == 1:
        return FileError(f"{which} of this QR code ({word}) is missing: read it too")
    names = ", ".join(f"{WORDS[kind]} {mark}" for kind, _, mark in sets)
    return FileError(
        f"these are parts of different QR codes ({names}) and {which} of the {word} is missing: "
        "read all parts of one code"
    )


def _joined(kind: str, mark: str, found: _Set) -> Packable:
    """Find the slices that fit: all but the last are equally long."""
    numbers = sorted(found)
    last = found[numbers[-1]]
    for size in dict.fromkeys(len(one) for one in found[1]):
        fitting = [[one for one in found[number] if len(one) == size] for number in numbers[:-1]]
        if not all(fitting):
            continue
        head = "".join(slices[0] for slices in fitting)
        for tail in last:
            packed = _from_base32(head + tail)
            if packed is not None and _mark(packed) == mark and chr(packed[0]) == kind:
                return unpack(packed)
    raise FileError("the parts of this QR code do not fit together: one is damaged")


# --- characters ---------------------------------------------------------------------------------


def _check(packed: bytes) -> bytes:
    return sha512_256(_NAME.encode() + packed)[:_CHECK_BYTES]


def _mark(packed: bytes) -> str:
    return _check(packed)[:2].hex().upper()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).rstrip(b"=").decode("ascii")


def _from_base32(text: str) -> bytes | None:
    """The bytes, or None: not base32, or nothing."""
    try:
        return base64.b32decode(_padded(text.upper(), 8)) or None
    except (binascii.Error, ValueError):
        return None


def _padded(text: str, group: int) -> str:
    bare = text.rstrip("=")
    return bare + "=" * (-len(bare) % group)
