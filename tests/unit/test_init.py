"""`offset init` and `offset info`: directories that are ready, and what is said about this installation."""

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from offset_engine.core.crypto import public_key_of
from offset_engine.errors import StoreError
from offset_engine.files import Role, load_identity, load_ticket
from offset_engine.programs import VERSION, stindex, stnode, strelay, systemd_unit
from offset_engine.store import SqliteStore
from offset_tui import subcommands
from offset_tui.__main__ import main
from tests.covers import covers

ADDRESS = "village.example.org:4567"
FILES = {
    "node": ["node.db", "node.ident", "node.ticket", "offset-node.service", "trusted"],
    "relay": ["offset-relay.service", "relay.ident", "relay.relay"],
    "index": ["index.ident", "index_client.index", "offset-index.service"],
}
ROLES = {"node": Role.ANY, "relay": Role.RELAY, "index": Role.INDEX}
PROGRAMS = {"node": stnode, "relay": strelay, "index": stindex}


def names_in(directory: Path) -> list[str]:
    """What stands in a directory; the lock beside a database is the store's own business."""
    return sorted(path.name for path in directory.iterdir() if path.suffix != ".lock")


def made(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert main(["init", *argv, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_what_is_ready_has_the_right_article(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "index", str(tmp_path / "x"), "--address", ADDRESS]) == 0
    assert "is ready for an index server: " in capsys.readouterr().out


def test_ctrl_c_while_modules_are_loaded_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_argv: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(subcommands, "main", interrupt)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "offset: interrupted\n"


@covers("MGR-12")
@pytest.mark.parametrize("kind", list(FILES))
def test_a_directory_is_ready_to_start(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "deep" / "my place"
    values = made(capsys, kind, str(directory), "--address", ADDRESS)
    assert names_in(directory) == FILES[kind]
    assert sorted(Path(path).name for path in values["files"]) == FILES[kind]
    identity = directory / f"{kind}.ident"
    public_key = public_key_of(load_identity(identity))
    ticket = load_ticket(str(values["ticket"]), ROLES[kind])
    assert (ticket.public_key, ticket.address) == (public_key, ADDRESS)
    assert values["public_key"] == public_key.to_text()
    if sys.platform != "win32":
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(identity.stat().st_mode) == 0o600
    if kind == "node":
        SqliteStore.open(directory / "node.db", public_key).close()


@covers("MGR-12")
@pytest.mark.parametrize("kind", list(FILES))
def test_the_command_is_one_the_program_understands(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = made(capsys, kind, str(tmp_path / "it"), "--address", ADDRESS)
    words = shlex.split(str(values["command"]))
    flags = words[words.index("--idfile") :]
    args = PROGRAMS[kind]._parser().parse_args(flags)
    assert args.idfile == str(tmp_path / "it" / f"{kind}.ident")
    assert "0.0.0.0:4567" in flags
    assert Path(words[0]).is_absolute()


def test_an_ipv6_address_listens_with_ipv6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = made(capsys, "relay", str(tmp_path / "it"), "--address", "[2606:4700::1]:99")
    assert "--laddr '[::]:99'" in str(values["command"])


def test_the_unit_quotes_what_systemd_would_take_for_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = 'a "b" c%d$e'
    values = made(capsys, "relay", str(tmp_path / name), "--address", ADDRESS)
    unit = Path(str(values["unit"])).read_text()
    assert '/a \\"b\\" c%%d$$e/relay.ident" "--laddr" "0.0.0.0:4567"\n' in unit
    odd = systemd_unit.unit_text("it", ["one\ntwo\\"])
    assert 'ExecStart="one\\x0atwo\\\\"\n' in odd
    checker = shutil.which("systemd-analyze")
    if checker is not None:
        # It wants a place of its own; what it says about other things than our file does not matter.
        said = subprocess.run(
            [checker, "--user", "verify", str(values["unit"])],
            env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stderr
        assert "offset-relay.service" not in said


@covers("MGR-12", "MGR-08")
@pytest.mark.parametrize("kind", list(FILES))
def test_nothing_is_ever_replaced_and_a_refusal_leaves_nothing(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in FILES[kind]:
        directory = tmp_path / name
        directory.mkdir()
        (directory / name).write_text("mine")
        assert main(["init", kind, str(directory), "--address", ADDRESS]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert f"{directory / name} exists already" in err
        assert names_in(directory) == [name]
        assert (directory / name).read_text() == "mine"


def test_a_failure_half_way_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StoreError("no space left on device")

    monkeypatch.setattr(SqliteStore, "create", full)
    assert main(["init", "node", str(tmp_path / "new"), "--address", ADDRESS]) == 1
    assert capsys.readouterr().err == "offset: no space left on device\n"
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "note").write_text("mine")
    assert main(["init", "node", str(tmp_path / "old"), "--address", ADDRESS]) == 1
    assert names_in(tmp_path / "old") == ["note"]


def test_wrong_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for directory, said in (
        (str(file), "is not a directory"),
        (str(file / "inside"), "cannot"),
        ("", "not a name a directory can have"),
        ("x\0", "not a name a directory can have"),
        ("x\udcff", "is not text"),
    ):
        assert main(["init", "relay", directory, "--address", ADDRESS]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err
    for argv in (
        ["relay", str(tmp_path / "new")],
        ["relay", str(tmp_path / "new"), "--address", "host"],
        ["shop", str(tmp_path / "new"), "--address", ADDRESS],
    ):
        with pytest.raises(SystemExit) as caught:
            main(["init", *argv])
        assert caught.value.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_address_of_this_machine_gets_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "node", str(tmp_path / "it"), "--address", "127.0.0.1:9"]) == 0
    out, err = capsys.readouterr()
    assert "warning: 127.0.0.1 is this machine itself" in err
    assert "Start it:\n  " in out
    assert "systemctl --user enable --now" in out


def test_info_names_paths_and_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["versions"]["offset"] == VERSION
    assert Path(values["paths"]["data"]) in Path(values["paths"]["servers"]).parents
    assert values["libraries"]["anyio"]
    assert main(["info"]) == 0
    out, err = capsys.readouterr()
    assert values["paths"]["servers"] in out
    assert f"offset           {VERSION}\n" in out
    assert err == ""
