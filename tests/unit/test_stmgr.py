"""`stmgr`: identities and tickets, its messages and exit codes."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from offset_engine import qr
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.errors import StoreError
from offset_engine.files import (
    AppTicket,
    Permissions,
    RemoteCard,
    load,
    load_identity,
    load_ticket,
    to_json_line,
    write_identity,
)
from offset_engine.programs import VERSION, stmgr
from offset_engine.store import SqliteStore
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


@covers("MGR-01", "FIX-16")
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


@covers("MGR-04", "MGR-05", "MGR-06")
@pytest.mark.parametrize("command", ["relay-ticket", "index-ticket", "node-ticket"])
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
    flags = ["-i", str(identity), "-a", "[2001:4860::1]:4567", "-o", path]
    for argv in (["--json", "relay-ticket", *flags], ["relay-ticket", *flags, "--json", "--force"]):
        assert stmgr.main(argv) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == {
            "output": path,
            "public_key": public_key_of(load_identity(identity)).to_text(),
            "address": "[2001:4860::1]:4567",
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
    with pytest.raises(SystemExit) as caught:
        stmgr.main(["relay-ticket", *flags])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not path.exists()


@covers("MGR-04")
def test_an_address_only_this_machine_knows_gets_a_warning(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["-i", str(identity), "-o", str(tmp_path / "ticket"), "--force", "-a"]
    for command, address, said in (
        ("relay-ticket", "0.0.0.0:1", "warning: 0.0.0.0 means every address of this machine"),
        ("index-ticket", "127.0.0.1:1", "is this machine itself"),
        ("relay-ticket", "localhost:1", "is this machine itself"),
        ("node-ticket", "[::]:1", "means every address of this machine"),
        ("node-ticket", "192.168.1.2:1", "is a private address"),
    ):
        assert stmgr.main([command, *flags, address]) == 0
        assert said in sentence(capsys)
    for command, address in (
        ("node-ticket", "127.0.0.1:1"),
        ("node-ticket", "localhost:1"),
        ("relay-ticket", "relay.example.org:1"),
        ("index-ticket", "8.8.8.8:1"),
    ):
        assert stmgr.main([command, *flags, address]) == 0
        assert capsys.readouterr() == ("", "")


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


@covers("MGR-10")
def test_the_public_key_of_an_identity(identity: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = public_key_of(load_identity(identity)).to_text()
    assert stmgr.main(["pubkey", "-i", str(identity)]) == 0
    assert capsys.readouterr() == (f"{expected}\n", "")
    assert stmgr.main(["pubkey", "--idfile", str(identity), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"public_key": expected}


# --- databases ----------------------------------------------------------------------------------


@covers("MGR-02")
def test_a_new_database_belongs_to_the_identity(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "node.db"
    assert stmgr.main(["init-node-db", "--idfile", str(identity), "--output", str(path)]) == 0
    assert capsys.readouterr() == ("", "")
    public_key = public_key_of(load_identity(identity))
    store = SqliteStore.open(path, public_key)
    state = store.load()
    assert (state.local_public_key, state.friends, state.relays) == (public_key, {}, ())
    store.close()
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="belongs to another identity"):
        SqliteStore.open(path, PublicKey(bytes(32)))


@covers("MGR-08")
def test_a_database_is_never_replaced(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "node.db"
    flags = ["init-node-db", "-i", str(identity), "-o", str(path)]
    assert stmgr.main(flags) == 0
    before = path.read_bytes()
    for output in (path, identity, tmp_path):
        assert stmgr.main([*flags[:4], str(output)]) == 1
        assert f"{output} exists already" in sentence(capsys)
    assert path.read_bytes() == before
    for name, said in (
        (str(tmp_path / "none" / "node.db"), "there is no such directory"),
        ("", "not a name a file can have"),
    ):
        assert stmgr.main([*flags[:4], name]) == 1
        assert said in sentence(capsys)
    assert stmgr.main(["init-node-db", "-i", str(tmp_path / "x"), "-o", str(tmp_path / "y")]) == 1
    assert "there is no such file" in sentence(capsys)
    assert not (tmp_path / "y").exists()
    with pytest.raises(SystemExit):
        stmgr.main([*flags, "--force"])


# --- tickets of apps ----------------------------------------------------------------------------


@covers("MGR-03")
@pytest.mark.parametrize(
    ("flags", "permissions", "written"),
    [
        ([], Permissions(), {"routes": False, "buyer": False, "seller": False, "config": False}),
        (
            ["--pbuyer", "--pconfig", "--proutes", "--pseller"],
            Permissions(routes=True, buyer=True, seller=True, config=True, transactions=True),
            {"routes": True, "buyer": True, "seller": True, "config": True},
        ),
        (
            ["--no-pread", "--ptransactions"],
            Permissions(read=False, transactions=True),
            {
                "routes": False,
                "buyer": False,
                "seller": False,
                "config": False,
                "read": False,
                "transactions": True,
            },
        ),
        (
            ["--pseller", "--ptransactions"],
            Permissions(seller=True, transactions=True),
            {"routes": False, "buyer": False, "seller": True, "config": False},
        ),
    ],
)
def test_an_app_ticket_says_what_the_app_may_do(
    flags: list[str],
    permissions: Permissions,
    written: dict[str, bool],
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "app.ticket"
    assert stmgr.main(["app-ticket", "--idfile", str(identity), *flags, "-o", str(path)]) == 0
    assert capsys.readouterr() == ("", "")
    public_key = public_key_of(load_identity(identity))
    assert load(path, AppTicket) == AppTicket(public_key, permissions)
    assert json.loads(path.read_text()) == {
        "publicKey": public_key.to_text(),
        "permissions": written,
    }


# --- remote cards -------------------------------------------------------------------------------


def entry_flags(identity: Path, tmp_path: Path, *more: str) -> list[str]:
    app = tmp_path / "app.ident"
    if not app.exists():
        write_identity(app, PrivateKey(bytes([7]) * 32))
    files = ["--nodeid", str(identity), "--appid", str(app), "-o", str(tmp_path / "node.rcard")]
    return ["node-entry", "--address", "8.8.8.8:9876", *files, *more]


@covers("MGR-07")
def test_a_remote_card_holds_the_nodes_key_and_the_apps_secret(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "node.rcard", tmp_path / "node.png"
    assert stmgr.main(entry_flags(identity, tmp_path)) == 0
    assert capsys.readouterr() == ("", "")
    card = load(path, RemoteCard)
    assert card == RemoteCard(
        public_key_of(load_identity(identity)), "8.8.8.8:9876", PrivateKey(bytes([7]) * 32)
    )
    more = ["--force", "--qr", "--png", str(picture)]
    assert stmgr.main(entry_flags(identity, tmp_path, *more)) == 0
    assert capsys.readouterr().out == qr.half_blocks(to_json_line(card)) + "\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    if sys.platform != "win32":
        for secret in (path, picture):
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600


@covers("MGR-08")
def test_a_remote_card_is_written_with_its_picture_or_not_at_all(
    identity: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "node.rcard", tmp_path / "node.png"
    path.write_text("old")
    assert stmgr.main(entry_flags(identity, tmp_path, "--png", str(picture))) == 1
    assert "exists already" in sentence(capsys)
    assert (path.read_text(), picture.exists()) == ("old", False)
    path.unlink()
    picture.write_text("old")
    assert stmgr.main(entry_flags(identity, tmp_path, "--png", str(picture))) == 1
    assert "exists already" in sentence(capsys)
    assert (picture.read_text(), path.exists()) == ("old", False)
    assert stmgr.main(entry_flags(identity, tmp_path, "--png", str(path))) == 1
    assert "two different names" in sentence(capsys)
    assert not path.exists()


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
