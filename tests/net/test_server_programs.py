"""`strelay` and `stindex` as processes: one line when ready, a clean stop, a sentence for what fails."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.files import write_identity
from offset_engine.graph_array import is_available
from offset_engine.net.index_engine import ENGINES

ROOT = Path(__file__).parent.parent.parent
IDENTITY = PrivateKey(bytes(range(32)))
PROGRAMS = [("strelay", "--laddr"), ("stindex", "--lclient")]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops by POSIX signals")


@pytest.fixture
def identity(tmp_path: Path) -> str:
    path = tmp_path / "server.ident"
    write_identity(path, IDENTITY)
    return str(path)


@contextmanager
def running(program: str, *argv: str) -> "Iterator[subprocess.Popen[str]]":
    """A program in a process of its own, ended whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"offset_engine.programs.{program}", *argv],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: "subprocess.Popen[str]") -> str:
    """Wait for the program to be ready, or fail with what it says."""
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdout.readline() or pytest.fail(process.stderr.read())


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("program", "flag"), PROGRAMS)
def test_says_where_it_listens_and_stops_with_0(
    program: str, flag: str, signum: signal.Signals, identity: str
) -> None:
    with running(program, "--idfile", identity, flag, "127.0.0.1:0") as process:
        line = first_line(process)
        found = re.fullmatch(r"listening (?:for nodes )?at 127\.0\.0\.1:(\d+) as (\S+)\n", line)
        assert found, line
        assert found[2] == public_key_of(IDENTITY).to_text()
        with socket.create_connection(("127.0.0.1", int(found[1])), timeout=10):
            process.send_signal(signum)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(("program", "flag"), PROGRAMS)
def test_json_is_one_object_with_the_real_port(program: str, flag: str, identity: str) -> None:
    with running(program, "-i", identity, flag, "127.0.0.1:0", "--json") as process:
        values = json.loads(first_line(process))
        host, _, port = values["address"].rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        assert values["addresses"] == [values["address"]]
        assert values["public_key"] == public_key_of(IDENTITY).to_text()


@pytest.mark.parametrize(("program", "flag"), PROGRAMS)
def test_a_port_that_is_taken_is_a_failure(program: str, flag: str, identity: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running(program, "-i", identity, flag, address) as process:
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err == f"{program}: cannot listen at {address}: Address already in use\n"


@pytest.mark.parametrize(("program", "flag"), PROGRAMS)
def test_what_is_wrong_with_the_command_line_is_said(
    program: str, flag: str, identity: str, tmp_path: Path
) -> None:
    with running(program, "-i", str(tmp_path / "none"), flag, "127.0.0.1:0") as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert "cannot read" in err
    assert err.count("\n") == 1
    with running(program, "-i", identity, flag, "nowhere") as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    assert f"{flag}: 'nowhere': an address ends in ':' and a port" in err


@pytest.mark.skipif(not is_available(), reason="the array engine needs the extra `index`")
@pytest.mark.parametrize("engine", ENGINES)
def test_stindex_runs_with_the_engine_it_is_told(engine: str, identity: str) -> None:
    flags = ("-i", identity, "-c", "127.0.0.1:0", "--engine", engine)
    with running("stindex", *flags) as process:
        assert first_line(process).startswith("listening for nodes at 127.0.0.1:")
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")


def test_stindex_says_whether_and_where_it_listens_for_other_servers(
    identity: str, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted"
    alone = ["-i", identity, "-c", "127.0.0.1:0", "-s", "127.0.0.1:0"]
    flags = [*alone, "--trusted", str(trusted)]
    with running("stindex", *flags) as process:
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "trusted is not a directory of tickets" in err
    trusted.mkdir()
    with running("stindex", *flags) as process:
        line, more = first_line(process), first_line(process)
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert line.startswith("listening for nodes at 127.0.0.1:")
    assert more.startswith("listening for index servers at 127.0.0.1:")
    assert err == ""
    with running("stindex", *alone) as process:
        first_line(process)
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert err == "stindex: note: without --trusted no other index server is let in\n"
