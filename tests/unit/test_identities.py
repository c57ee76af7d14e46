"""Identity files with and without a passphrase, and the commands of stmgr for them."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offset_engine import files
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.errors import FileError
from offset_engine.files import SealedIdentity, load_identity, load_public_key, write_identity
from offset_engine.programs import init, passphrases, stindex, stmgr, stnode, strelay
from offset_engine.sealed import Cost, Passphrase, PassphraseError
from tests.covers import covers

KEY = PrivateKey(bytes(range(32)))
WORD = "correct horse battery"
QUICK = Cost(1, 8)


@pytest.fixture
def sealed_file(tmp_path: Path) -> Path:
    path = tmp_path / "sealed.ident"
    write_identity(path, KEY, Passphrase.of(WORD), cost=QUICK)
    return path


@contextmanager
def descriptor_with(text: str) -> Iterator[str]:
    """A file descriptor that holds this text."""
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    try:
        yield str(reading)
    finally:
        os.close(reading)


def asked(_what: str) -> Passphrase:
    return Passphrase.of(WORD)


@covers("MGR-01", "RMP-21")
def test_a_sealed_identity_is_told_by_its_content(sealed_file: Path) -> None:
    assert load_identity(sealed_file, asked) == KEY
    assert load_public_key(sealed_file) == public_key_of(KEY)
    assert stat.S_IMODE(sealed_file.stat().st_mode) == 0o600
    (found,) = files.load_any(sealed_file)
    assert isinstance(found.content, SealedIdentity)
    assert KEY.to_text() not in sealed_file.read_text()
    assert sealed_file.stat().st_size < 1_000


def test_a_plain_identity_asks_for_nothing(tmp_path: Path) -> None:
    write_identity(tmp_path / "plain.ident", KEY)

    def refuse(_what: str) -> Passphrase:
        raise AssertionError

    assert load_identity(tmp_path / "plain.ident", refuse) == KEY


def test_errors_name_the_file_and_the_reason(sealed_file: Path) -> None:
    with pytest.raises(FileError, match=r"sealed\.ident is sealed with a passphrase"):
        load_identity(sealed_file)
    with pytest.raises(PassphraseError, match=r"sealed\.ident: this is not the passphrase"):
        load_identity(sealed_file, lambda _: Passphrase.of("x"))
    with pytest.raises(FileError, match="an identity sealed with a passphrase, but a ticket"):
        files.load_ticket(sealed_file)


def test_another_key_in_the_clear_part_is_found_out(sealed_file: Path) -> None:
    values = json.loads(sealed_file.read_text())
    values["publicKey"] = public_key_of(PrivateKey(bytes(32))).to_text()
    sealed_file.write_text(json.dumps(values))
    with pytest.raises(FileError, match="not the one the file names"):
        load_identity(sealed_file, asked)


def test_a_damaged_sealed_identity_is_found_without_the_passphrase(sealed_file: Path) -> None:
    values = json.loads(sealed_file.read_text())
    values["sealedPrivateKey"] = values["sealedPrivateKey"][:-4] + "AAAA"
    sealed_file.write_text(json.dumps(values))
    with pytest.raises(FileError, match="damaged"):
        load_public_key(sealed_file)


# --- stmgr --------------------------------------------------------------------------------------


@covers("MGR-01", "RMP-21")
def test_stmgr_makes_a_sealed_identity_and_takes_the_passphrase_off_again(tmp_path: Path) -> None:
    path = str(tmp_path / "node.ident")
    with descriptor_with(WORD + "\n") as number:
        assert stmgr.main(["gen-ident", "-o", path, "--passphrase-fd", number]) == 0
    key = load_identity(path, asked)
    with descriptor_with(WORD) as number:
        assert stmgr.main(["unseal-ident", "-i", path, "--passphrase-fd", number]) == 0
    assert load_identity(path) == key
    copy = str(tmp_path / "copy.ident")
    with descriptor_with("other word\r\n") as number:
        command = ["seal-ident", "-i", path, "-o", copy, "--passphrase-fd", number]
        assert stmgr.main(command) == 0
    assert load_identity(copy, lambda _: Passphrase.of("other word")) == key
    assert load_identity(path) == key


def test_a_passphrase_is_changed_with_two_lines(sealed_file: Path) -> None:
    with descriptor_with(f"{WORD}\nnew word\n") as number:
        command = ["seal-ident", "-i", str(sealed_file), "--passphrase-fd", number]
        assert stmgr.main(command) == 0
    assert load_identity(sealed_file, lambda _: Passphrase.of("new word")) == KEY


def test_one_line_does_not_do_for_two_passphrases(
    sealed_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sealed_file.read_bytes()
    with descriptor_with(WORD) as number:
        command = ["seal-ident", "-i", str(sealed_file), "--passphrase-fd", number]
        assert stmgr.main(command) == 1
    assert "holds no line 2, where a passphrase is needed: the new one" in capsys.readouterr().err
    assert sealed_file.read_bytes() == before


def test_there_is_no_passphrase_to_take_off_an_open_identity(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "open.ident"
    write_identity(path, KEY)
    assert stmgr.main(["unseal-ident", "-i", str(path)]) == 1
    assert "is not sealed: it has no passphrase to take off" in capsys.readouterr().err


def test_a_wrong_passphrase_changes_nothing(
    sealed_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sealed_file.read_bytes()
    with descriptor_with("Tr0ub4dor") as number:
        command = ["unseal-ident", "-i", str(sealed_file), "--passphrase-fd", number]
        assert stmgr.main(command) == 1
    assert sealed_file.read_bytes() == before
    said = capsys.readouterr().err
    assert "not the passphrase" in said
    assert "Tr0ub4dor" not in said


def test_the_terminal_is_asked_twice_for_a_new_passphrase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = iter([WORD, WORD, "one", "two"])
    monkeypatch.setattr(passphrases.getpass, "getpass", lambda _prompt: next(answers))
    monkeypatch.setattr(passphrases.sys.stdin, "isatty", lambda: True)
    path = tmp_path / "node.ident"
    assert stmgr.main(["gen-ident", "-o", str(path), "--passphrase"]) == 0
    assert load_identity(path, asked)
    assert stmgr.main(["gen-ident", "-o", str(tmp_path / "other"), "--passphrase"]) == 1
    assert "not the same" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "argv",
    [
        (stnode, "--laddr", "127.0.0.1:0", "--database", "d", "--trusted", "."),
        (strelay, "--laddr", "127.0.0.1:0"),
        (stindex, "--lclient", "127.0.0.1:0"),
    ],
)
def test_servers_without_a_terminal_say_where_the_passphrase_goes(
    argv: tuple, sealed_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *flags = argv
    assert program.main(["--idfile", str(sealed_file), *flags]) == 1
    said = capsys.readouterr().err
    assert "sealed with a passphrase" in said
    assert "--passphrase-fd" in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "holds no passphrase: a passphrase has 1 to 1024 bytes"),
        (b"\xff\xfe", "it is no text"),
        (b"x" * 100_000, "too long"),
    ],
)
def test_a_bad_descriptor_is_a_sentence(
    content: bytes,
    sentence: str,
    sealed_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "word").write_bytes(content)
    with (tmp_path / "word").open("rb") as file:
        command = ["unseal-ident", "-i", str(sealed_file), "--passphrase-fd", str(file.fileno())]
        assert stmgr.main(command) == 1
    assert sentence in capsys.readouterr().err


def test_a_closed_descriptor_is_a_sentence_and_no_number_a_usage_error(
    sealed_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["unseal-ident", "-i", str(sealed_file), "--passphrase-fd"]
    assert stmgr.main([*command, "9999"]) == 1
    assert "cannot read a passphrase" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        stmgr.main([*command, WORD])
    assert caught.value.code == 2


def test_commands_that_need_only_the_public_key_ask_for_nothing(
    sealed_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(sealed_file)
    ticket = str(tmp_path / "relay.relay")
    assert stmgr.main(["pubkey", "-i", name]) == 0
    assert stmgr.main(["relay-ticket", "-i", name, "-a", "203.0.113.5:99", "-o", ticket]) == 0
    assert stmgr.main(["init-node-db", "-i", name, "-o", str(tmp_path / "node.db")]) == 0
    assert stmgr.main(["inspect", name]) == 0
    assert public_key_of(KEY).to_text() in capsys.readouterr().out


def test_offset_init_can_seal_the_identity_it_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = stmgr.Parser("offset", "")
    init.add_parser(parser.commands())
    with descriptor_with(WORD) as number:
        words = ["init", "relay", str(tmp_path / "r"), "--address", "203.0.113.5:99"]
        assert stmgr.run(parser, init.act, [*words, "--passphrase-fd", number]) == 0
    assert load_identity(tmp_path / "r" / "relay.ident", asked)
    assert "systemd cannot type" in capsys.readouterr().err
