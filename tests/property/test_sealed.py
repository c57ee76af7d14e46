"""Whatever byte of a sealed file is changed, it ends in a documented error and never in wrong content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_engine.cards import backup
from offset_engine.errors import FileError
from offset_engine.sealed import Cost, Passphrase, Purpose, SealedError, seal, unseal
from tests.covers import covers

WORD = Passphrase.of("word")
SEALED = seal(b"twelve bytes", WORD, Purpose.BACKUP, Cost(1, 8))


@covers("RMP-21")
@pytest.mark.parametrize("place", range(len(SEALED)))
def test_a_damaged_byte_anywhere_is_a_documented_error(place: int) -> None:
    for bit in (1, 0x80):
        damaged = bytearray(SEALED)
        damaged[place] ^= bit
        with pytest.raises(SealedError):
            unseal(bytes(damaged), WORD, Purpose.BACKUP)


@given(st.integers(0, len(SEALED) - 1))
def test_a_cut_anywhere_is_a_documented_error(length: int) -> None:
    with pytest.raises(SealedError):
        unseal(SEALED[:length], WORD, Purpose.BACKUP)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_documented_error(raw: bytes) -> None:
    with pytest.raises(SealedError):
        unseal(raw, WORD, Purpose.BACKUP)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_content_of_a_backup_is_a_documented_error(inner: bytes) -> None:
    """Only who knows the passphrase can make one, and even that one gets a sentence."""
    for content in (inner, len(inner).to_bytes(4, "big") + inner):
        with pytest.raises(FileError):
            backup.unpack(seal(content, WORD, Purpose.BACKUP, Cost(1, 8)), WORD)
