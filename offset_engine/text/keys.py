"""Keys that people can tell apart: a short form to show, and words to compare by voice.

Both come from one hash of the key. The short form (40 bits) only helps to tell friends of one name apart;
whoever wants to be sure compares the words (64 bits) over the telephone, or the whole key.

Source: tui.md §6; PROTOCOL.md, "Keys in words".
"""

from typing import Final

from offset_engine.core.crypto import sha512_256
from offset_engine.core.values import PublicKey
from offset_engine.text.foreign import safe
from offset_engine.text.words import WORDS

DOMAIN_FINGERPRINT: Final = "offset/v1/fingerprint"
_TAG: Final = bytes(sha512_256(DOMAIN_FINGERPRINT.encode()))
_LETTERS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""32 of them; without i, l, o and u, which are mistaken for others."""
_SHORT_CHARS: Final = 8
_WORDS_COUNT: Final = 8


def fingerprint(key: PublicKey) -> str:
    """The short form of a key, always nine cells: `k3f9-a2xw`."""
    number = int.from_bytes(_hash(key)[:5], "big")
    letters = "".join(_LETTERS[number >> 5 * place & 31] for place in reversed(range(_SHORT_CHARS)))
    return f"{letters[:4]}-{letters[4:]}"


def fingerprint_words(key: PublicKey) -> str:
    """Eight words with spaces between, one for each byte."""
    return " ".join(WORDS[byte] for byte in _hash(key)[:_WORDS_COUNT])


def name_and_key(name: str, key: PublicKey, limit_cells: int = 40) -> str:
    """`Bob · k3f9-a2xw`: names are never unique. The name gets what the key leaves of the cells."""
    short = fingerprint(key)
    shown = safe(name, max(limit_cells - len(short) - 3, 4))
    return f"{shown} · {short}" if shown else short


def _hash(key: PublicKey) -> bytes:
    return sha512_256(_TAG + key)
