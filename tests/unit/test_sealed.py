"""Sealed bytes and passphrases: opening, refusing, and never showing a secret."""

import os
import struct
import time
import tracemalloc
from pathlib import Path

import pytest

from offset_engine import sealed
from offset_engine.disk import OtherFileError, read_file
from offset_engine.errors import FileError
from offset_engine.sealed import (
    DEFAULT_COST,
    Cost,
    Passphrase,
    PassphraseError,
    Purpose,
    SealedError,
    seal,
    unseal,
)
from tests.covers import covers

QUICK = Cost(1, 8)
WORD = Passphrase.of("correct horse")


def quick(content: bytes, purpose: Purpose = Purpose.IDENTITY) -> bytes:
    return seal(content, WORD, purpose, QUICK)


@covers("RMP-21")
@pytest.mark.parametrize("content", [b"", b"x", bytes(100_000)])
def test_what_was_sealed_can_be_opened_with_the_same_passphrase(content: bytes) -> None:
    assert unseal(quick(content), WORD, Purpose.IDENTITY) == content


@pytest.mark.parametrize(
    ("purpose", "what"),
    [
        (Purpose.IDENTITY, "a sealed identity"),
        (Purpose.BACKUP, "a backup of a card: offset restore makes a card of it"),
        (Purpose.DATABASE, "the sealed database of a card"),
    ],
)
def test_where_a_text_is_needed_something_sealed_is_called_what_it_is(
    tmp_path: Path, purpose: Purpose, what: str
) -> None:
    (tmp_path / "x").write_bytes(quick(bytes(100_000), purpose))
    with pytest.raises(OtherFileError, match=f"x: this is {what}"):
        read_file(tmp_path / "x")


def test_nothing_is_sealed_alike_twice() -> None:
    assert quick(b"key") != quick(b"key")


def test_the_default_cost_is_that_of_a_serious_passphrase_hash() -> None:
    assert DEFAULT_COST.memory_kib >= 64 * 1024
    assert DEFAULT_COST.passes >= 3
    box = seal(b"key", WORD, Purpose.IDENTITY)
    assert struct.unpack_from(">II", box, 9) == (DEFAULT_COST.passes, DEFAULT_COST.memory_kib)
    assert unseal(box, WORD, Purpose.IDENTITY) == b"key"


def test_composed_and_decomposed_letters_are_the_same_passphrase() -> None:
    box = seal(b"key", Passphrase.of("caf\u00e9"), Purpose.IDENTITY, QUICK)
    assert unseal(box, Passphrase.of("cafe\u0301"), Purpose.IDENTITY) == b"key"


@covers("RMP-21")
def test_another_passphrase_is_named_as_the_reason() -> None:
    with pytest.raises(PassphraseError, match="not the passphrase") as caught:
        unseal(quick(b"key"), Passphrase.of("wrong"), Purpose.IDENTITY)
    assert "wrong" not in str(caught.value)
    assert isinstance(caught.value, FileError)


def test_a_sealed_identity_cannot_be_passed_off_as_a_backup() -> None:
    with pytest.raises(SealedError, match="this is a sealed identity, not a backup of a card"):
        unseal(quick(b"key"), WORD, Purpose.BACKUP)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda box: b"", "this is not a sealed identity"),
        (lambda box: b"{}" + box, "this is not a sealed identity"),
        (lambda box: box[:60], "the end is missing"),
        (lambda box: box[:-1], "damaged"),
        (lambda box: box + b"\n", "damaged"),
        (lambda box: box[:7] + b"\2" + box[8:], "newer version.*format 2"),
        (lambda box: box[:80] + bytes([box[80] ^ 1]) + box[81:], "damaged"),
    ],
)
def test_damage_is_told_from_a_wrong_passphrase(damage, sentence: str) -> None:
    with pytest.raises(SealedError, match=sentence) as caught:
        unseal(damage(quick(b"some key")), WORD, Purpose.IDENTITY)
    assert not isinstance(caught.value, PassphraseError)


def costly(passes: int, memory_kib: int) -> bytes:
    """A hostile file: intact, and demanding."""
    box = quick(b"key")
    changed = box[:9] + struct.pack(">II", passes, memory_kib) + box[17:-8]
    return changed + sealed._check_of(changed)


@pytest.mark.parametrize(
    ("passes", "memory_kib"),
    [
        (1, 64 * 1024 * 1024),
        (2**32 - 1, 8),
        (16, 1024 * 1024),
        (0, 8),
        (1, 0),
        (1, 2**32 - 1),
    ],
)
def test_a_hostile_file_cannot_demand_memory_or_time(passes: int, memory_kib: int) -> None:
    started = time.monotonic()
    with pytest.raises(SealedError, match="it is refused"):
        unseal(costly(passes, memory_kib), WORD, Purpose.IDENTITY)
    assert time.monotonic() - started < 1


def test_a_cost_changed_within_the_limits_opens_nothing() -> None:
    with pytest.raises(PassphraseError):
        unseal(costly(2, 8), WORD, Purpose.IDENTITY)


def test_too_little_memory_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(sealed.nacl.bindings, "crypto_pwhash_alg", refuse)
    with pytest.raises(SealedError, match="not enough memory"):
        quick(b"key")


def test_too_little_memory_is_never_called_a_wrong_passphrase(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = quick(b"key")

    def refuse(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(sealed.nacl.secret.SecretBox, "decrypt", refuse)
    monkeypatch.setattr(sealed.nacl.secret.SecretBox, "encrypt", refuse)
    for act in (lambda: unseal(box, WORD, Purpose.IDENTITY), lambda: quick(b"key")):
        with pytest.raises(SealedError, match="not enough memory") as caught:
            act()
        assert not isinstance(caught.value, PassphraseError)


@covers("RMP-21")
def test_a_file_is_read_only_if_it_can_be_opened_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"", b"x", bytes(3 * sealed._PIECE_BYTES)):
        box = quick(content, Purpose.BACKUP)
        path.write_bytes(box)
        assert sealed.read(path, Purpose.BACKUP) == box
        for damaged in (box[:-1], box + b"x", box[:60], box[:70] + b"\xff" + box[71:]):
            path.write_bytes(damaged)
            with pytest.raises(SealedError, match="damaged"):
                sealed.read(path, Purpose.BACKUP)


def test_a_huge_hole_that_begins_like_a_backup_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "hole"
    path.write_bytes(quick(b"", Purpose.BACKUP)[:57])
    for size, sentence in ((64 << 20, "damaged"), ((1 << 30) + 1, "longer than 1 GiB")):
        os.truncate(path, size)
        tracemalloc.start()
        with pytest.raises(SealedError, match=sentence):
            sealed.read(path, Purpose.BACKUP)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < 8 << 20


@pytest.mark.parametrize("text", ["", "x" * 1025, "\ud800"])
def test_what_cannot_be_a_passphrase_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match="a passphrase") as caught:
        Passphrase.of(text)
    assert "xxx" not in str(caught.value)


@covers("RMP-24")
def test_a_passphrase_never_shows_itself() -> None:
    for shown in (repr(WORD), str(WORD), f"{WORD}", repr([WORD])):
        assert "horse" not in shown


def test_the_text_form_survives_line_ends_and_padding() -> None:
    box = quick(b"key")
    text = sealed.to_text(box)
    assert sealed.from_text(f" {text}==\n") == box
    with pytest.raises(SealedError, match="not base64"):
        sealed.from_text("§§§")


def test_the_first_bytes_say_what_it_is() -> None:
    assert sealed.purpose_of(quick(b"", Purpose.BACKUP)[:16]) is Purpose.BACKUP
    assert sealed.purpose_of(b"OFFSEAL") is None
    assert sealed.purpose_of(b"OFFSEAL\1\xee") is None
    assert sealed.purpose_of(b"") is None


VECTOR = (
    "T0ZGU0VBTAEBAAAAAQAAAAgAAQIDBAUGBwgJCgsMDQ4PAAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
    "SD1MDbKdKF_G0jKtW8A4upUSUUF9RIVVsqiM"
)
"""`key` under the passphrase `word`: what was sealed once can be opened for ever."""


def test_the_format_stays_what_it_was() -> None:
    box = sealed.from_text(VECTOR)
    assert unseal(box, Passphrase.of("word"), Purpose.IDENTITY) == b"key"
    assert len(box) == 57 + 16 + 3 + 8


def test_the_document_names_the_same_limits() -> None:
    document = Path(sealed.__file__).with_name("PROTOCOL.md").read_text()
    memory_mib = DEFAULT_COST.memory_kib // 1024
    assert f"We seal with {DEFAULT_COST.passes} passes over {memory_mib} MiB." in document
    assert f"more than {sealed.PASSES_MAX} passes, more than 1 GiB" in document
    assert sealed.MEMORY_KIB_MAX == 1024 * 1024
    assert f"passes times KiB above {sealed.WORK_MAX:,}".replace(",", " ") in document
