"""The directory of app tickets: what counts, what is skipped, and what is said about it."""

import logging
import os
import sys
from pathlib import Path

import pytest

from offset_engine.core.app_messages import AppPermissions
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.errors import FileError
from offset_engine.files import AppTicket, Permissions, write
from offset_engine.net import trusted_directory
from offset_engine.net.trusted_apps import TrustedApps
from offset_engine.net.trusted_directory import TrustedDirectory
from tests.covers import covers

ANN = public_key_of(PrivateKey(bytes([1]) * 32))
BEA = public_key_of(PrivateKey(bytes([2]) * 32))


CONFIG = AppPermissions(config=True, read=True)
_SAME = Permissions(config=True)


def put(path: Path, key: PublicKey = ANN, permissions: Permissions = _SAME) -> None:
    write(path, AppTicket(key, permissions), force=True)


@covers("NOD-04")
def test_reads_tickets_in_both_spellings_and_of_2020(tmp_path: Path) -> None:
    flags = '"routes": false, "buyer": true, "seller": false, "config": false'
    for name, key_name, key in (("a", "publicKey", ANN), ("b", "public_key", BEA)):
        text = f'{{"{key_name}": "{key.to_text()}", "permissions": {{{flags}}}}}'
        (tmp_path / name).write_text(text)
    both = AppPermissions(buyer=True, read=True, transactions=True)
    assert TrustedApps(tmp_path).read() == {ANN: both, BEA: both}


def test_two_tickets_of_one_app_add_up(tmp_path: Path) -> None:
    put(tmp_path / "a.ticket", ANN, Permissions(config=True, read=False))
    put(tmp_path / "b.ticket", ANN, Permissions(seller=True, read=False))
    assert TrustedApps(tmp_path).read() == {ANN: AppPermissions(config=True, seller=True)}


@covers("FIX-15")
def test_what_is_no_ticket_is_skipped_and_said_once_until_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path / "good.ticket")
    put(tmp_path / ".hidden.ticket", BEA)
    (tmp_path / "folder").mkdir()
    put(tmp_path / "folder" / "inner.ticket", BEA)
    (tmp_path / "bad.ticket").write_text("{")
    (tmp_path / "huge.ticket").write_bytes(bytes(100_000))
    (tmp_path / "nowhere.ticket").symlink_to(tmp_path / "none")
    trusted = TrustedApps(tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert trusted.read() == {ANN: CONFIG}
        assert len(caplog.records) == 2
        (tmp_path / "bad.ticket").write_text("{}   ")
        assert trusted.read() == {ANN: CONFIG}
    assert len(caplog.records) == 3


def test_a_change_counts_with_the_next_look(tmp_path: Path) -> None:
    trusted = TrustedApps(tmp_path)
    assert trusted.read() == {}
    put(tmp_path / "a.ticket")
    assert trusted.read() == {ANN: CONFIG}
    put(tmp_path / "a.ticket", BEA)
    assert trusted.read() == {BEA: CONFIG}
    (tmp_path / "a.ticket").unlink()
    assert trusted.read() == {}


def test_a_directory_that_is_gone_trusts_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "trusted"
    directory.mkdir()
    put(directory / "a.ticket")
    trusted = TrustedApps(directory)
    assert trusted.read() == {ANN: CONFIG}
    directory.rename(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert trusted.read() == {}
        assert trusted.read() == {}
    assert len(caplog.records) == 1


def test_a_directory_that_cannot_be_read_now_still_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "a.ticket")
    trusted = TrustedApps(tmp_path)
    trusted.read()

    def fail(_directory: Path) -> dict[str, tuple[int, int, int]]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(trusted_directory, "_look_around", fail)
    assert trusted.read() == {ANN: CONFIG}


def readable_by_all_or_not(path: Path) -> PublicKey:
    """As for somebody who is not the owner; nobody's rights bind root, who may run the tests."""
    fail(path, None if path.stat().st_mode & 0o004 else PermissionError(13, "Permission denied"))
    return ANN


def fail(path: Path, trouble: OSError | None) -> None:
    """As `disk.read_file` does."""
    try:
        if trouble is not None:
            raise trouble
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None


def test_a_change_of_rights_counts_with_the_next_look(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.ticket"
    path.write_text("ann")
    path.chmod(0o600)
    trusted = TrustedDirectory(tmp_path, readable_by_all_or_not, "ticket")
    for mode, found in ((0o600, ()), (0o644, (ANN,)), (0o600, ()), (0o644, (ANN,))):
        path.chmod(mode)
        assert trusted.read() == found
        assert trusted.read() == found
    assert len(caplog.records) == 2


def test_a_file_that_cannot_be_read_just_now_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.ticket").write_text("ann")
    troubles: list[OSError] = []

    def load(path: Path) -> PublicKey:
        fail(path, troubles[0] if troubles else None)
        return ANN

    troubles.append(OSError(24, "Too many open files"))
    trusted = TrustedDirectory(tmp_path, load, "ticket")
    assert trusted.read() == trusted.read() == ()
    assert len(caplog.records) == 1
    troubles.clear()
    assert trusted.read() == (ANN,)
    troubles.append(OSError(24, "Too many open files"))
    (tmp_path / "a.ticket").write_text("ann again")
    assert trusted.read() == trusted.read() == (ANN,)
    assert len(caplog.records) == 2


def test_more_tickets_than_anybody_makes_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trusted_directory, "FILES_MAX", 1)
    put(tmp_path / "a.ticket", ANN)
    put(tmp_path / "b.ticket", BEA)
    trusted = TrustedApps(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert trusted.read() == {ANN: CONFIG}
        assert trusted.read() == {ANN: CONFIG}
    assert [one.getMessage() for one in caplog.records] == [
        f"{tmp_path} has 2 files; only 1 are read"
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes in directories")
def test_a_pipe_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ticket")
    assert TrustedApps(tmp_path).read() == {}
