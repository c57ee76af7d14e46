"""`stmgr`: identities and tickets, its messages and exit codes."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from offset_engine.core.crypto import public_key_of
from offset_engine.files import load_identity, load_ticket
from offset_engine.programs import VERSION, stmgr
from tests.covers import covers

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "relay.ident"
    assert stmgr.main(["gen-ident", "--output", str(path)]) == 0
    return path


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What the program said on stderr, having said nothing on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("stmgr: ")
    return err


@covers("MGR-01")
def test_a_new_identity_is_silent_private_and_never_the_same(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.ident"
    assert stmgr.main(["gen-ident", "-o", str(other)]) == 0
    assert capsys.readouterr() == ("", "")
    assert load_identity(identity) != load_identity(other)
    if sys.platform != "win32":
        assert stat.S_IMODE(identity.stat().st_mode) == 0o600
    assert list(json.loads(identity.read_text())) == ["privateKey"]


@covers("MGR-04", "MGR-05")
@pytest.mark.parametrize("command", ["relay-ticket", "index-ticket"])
def test_a_ticket_names_the_key_and_the_address(
    command: str, identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ticket"
    flags = ["--address", "www.myrelay.com:4567", "--idfile", str(identity), "--output", str(path)]
    assert stmgr.main([command, *flags]) == 0
    assert capsys.readouterr() == ("", "")
    ticket = load_ticket(path)
    assert ticket.public_key == public_key_of(load_identity(identity))
    assert ticket.address == "www.myrelay.com:4567"
    assert list(json.loads(path.read_text())) == ["publicKey", "address"]


def test_json_prints_one_object(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "ticket")
    flags = ["-i", str(identity), "-a", "[::1]:4567", "-o", path]
    for argv in (["--json", "relay-ticket", *flags], ["relay-ticket", *flags, "--json", "--force"]):
        assert stmgr.main(argv) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == {
            "output": path,
            "public_key": public_key_of(load_identity(identity)).to_text(),
            "address": "[::1]:4567",
        }
        assert err == ""


def test_verbose_says_what_was_done_and_never_the_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my.ident"
    assert stmgr.main(["gen-ident", "-o", str(path), "-v"]) == 0
    said = sentence(capsys)
    private_key = load_identity(path)
    assert f"wrote {path}" in said
    assert public_key_of(private_key).to_text() in said
    assert private_key.to_text() not in said


@covers("MGR-08")
def test_nothing_is_replaced_without_force(
    identity: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = identity.read_bytes()
    assert stmgr.main(["gen-ident", "-o", str(identity)]) == 1
    assert f"{identity} exists already" in sentence(capsys)
    assert identity.read_bytes() == before
    assert stmgr.main(["gen-ident", "-o", str(identity), "--force"]) == 0
    assert identity.read_bytes() != before


@covers("FIX-07")
@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("myrelay.com", "a port from 1 to 65535"),
        ("myrelay.com:0", "a port from 1 to 65535"),
        ("my relay:1", "neither a name nor an IP address"),
        ("1.2.3.4.5:1", "not an IPv4 address"),
        ("[::g]:1", "not an IPv6 address"),
        ("x" * 300 + ":1", "at most 256"),
        ("", "a port from 1 to 65535"),
    ],
)
def test_an_address_nobody_can_dial_is_refused(
    address: str, said: str, identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ticket"
    flags = ["-i", str(identity), "-a", address, "-o", str(path)]
    assert stmgr.main(["relay-ticket", *flags]) == 1
    assert said in sentence(capsys)
    assert not path.exists()


def test_an_address_only_this_machine_knows_gets_a_warning(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["-i", str(identity), "-a", "0.0.0.0:1", "-o", str(tmp_path / "ticket")]
    assert stmgr.main(["relay-ticket", *flags]) == 0
    assert "warning: 0.0.0.0 means every address of this machine" in sentence(capsys)


def test_an_unreadable_identity_is_named(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ticket"
    for path, said in ((tmp_path / "none", "there is no such file"), (tmp_path, "a directory")):
        assert stmgr.main(["relay-ticket", "-i", str(path), "-a", "a:1", "-o", str(out)]) == 1
        assert said in sentence(capsys)
    assert stmgr.main(["relay-ticket", "-i", str(identity), "-a", "a:1", "-o", str(out)]) == 0
    assert stmgr.main(["relay-ticket", "-i", str(out), "-a", "a:1", "-o", str(tmp_path / "b")]) == 1
    assert "this is a ticket, but an identity is needed here" in sentence(capsys)


def test_a_failure_with_json_is_an_object_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stmgr.main(["gen-ident", "-o", str(tmp_path), "--json"]) == 1
    out, err = capsys.readouterr()
    assert list(json.loads(out)) == ["error"]
    assert err == f"stmgr: {json.loads(out)['error']}\n"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["unknown"],
        ["gen-ident"],
        ["gen-ident", "-o", "a", "more"],
        ["gen-ident", "--out", "a"],
        ["relay-ticket", "-i", "a", "-o", "b"],
    ],
)
def test_a_wrong_command_line_shows_the_usage(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        stmgr.main(argv)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: stmgr")


@covers("MGR-09")
def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    said = {}
    for flag in ("-V", "--version", "-h", "--help"):
        with pytest.raises(SystemExit) as caught:
            stmgr.main([flag])
        assert caught.value.code == 0
        said[flag], err = capsys.readouterr()
        assert err == ""
    assert said["-V"] == said["--version"] == f"stmgr {VERSION}\n"
    assert said["-h"] == said["--help"]
    assert "relay-ticket" in said["-h"]


def run_with_output(target: str, *argv: str) -> "subprocess.CompletedProcess[bytes]":
    with Path(target).open("wb") as stdout:
        return subprocess.run(
            [sys.executable, "-m", "offset_engine.programs.stmgr", *argv],
            cwd=ROOT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_result_that_cannot_be_printed_is_a_failure(tmp_path: Path) -> None:
    done = run_with_output("/dev/full", "gen-ident", "-o", str(tmp_path / "x"), "--json")
    assert done.returncode == 1
    assert done.stderr == b"stmgr: cannot print the result: No space left on device\n"


def test_a_name_that_is_no_text_does_not_break_the_sentence(tmp_path: Path) -> None:
    if sys.platform in ("win32", "darwin"):
        pytest.skip("names of files are always text here")
    name = os.fsdecode(bytes(tmp_path / "x") + b"\xff")
    done = run_with_output(os.devnull, "gen-ident", "-v", "-o", name)
    assert done.returncode == 0
    assert b"\\udcff, a new identity" in done.stderr
