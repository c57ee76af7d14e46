"""`stnode` as a process: one line when ready, apps come in, a clean stop, a sentence for what fails."""

import json
import re
import signal
import sys
from pathlib import Path

import pytest

from offset_engine.client import InvoiceTerms
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import Currency, PrivateKey
from offset_engine.files import AppTicket, Permissions, write, write_identity
from offset_engine.net.remote_client import by_address, by_socket, open_remote
from offset_engine.net.transport import Endpoint
from offset_engine.programs.stnode import socket_of
from offset_engine.store import SqliteStore
from tests.covers import covers
from tests.net.test_server_programs import first_line, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="stops by POSIX signals"),
]

IDENTITY = PrivateKey(bytes(range(32)))
KEY = public_key_of(IDENTITY)
APP = PrivateKey(bytes([9]) * 32)


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """A directory as the tutorial makes it, and the command line for it."""
    write_identity(tmp_path / "node.ident", IDENTITY)
    SqliteStore.create(tmp_path / "node.db", KEY).close()
    (tmp_path / "trusted").mkdir()
    ticket = AppTicket(public_key_of(APP), Permissions(seller=True))
    write(tmp_path / "trusted" / "app.ticket", ticket)
    return [
        *("--database", str(tmp_path / "node.db")),
        *("--idfile", str(tmp_path / "node.ident")),
        *("--laddr", "127.0.0.1:0"),
        *("--trusted", str(tmp_path / "trusted")),
    ]


@covers("NOD-01", "NOD-22", "APS-13")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_serves_apps_by_port_and_by_socket_and_stops_with_0(
    flags: list[str], tmp_path: Path, signum: signal.Signals
):
    with running("stnode", *flags) as process:
        line = first_line(process)
        found = re.fullmatch(r"listening for apps at (127\.0\.0\.1:\d+) as (\S+)\n", line)
        assert found, line
        assert found[2] == KEY.to_text()
        door = f"listening for programs of this user at {tmp_path / 'node.db'}.sock\n"
        assert first_line(process) == door
        async with open_remote(by_address(Endpoint(APP), found[1], KEY)) as client:
            assert client.permissions.seller
            assert not client.permissions.config
            invoice = await client.create_invoice(InvoiceTerms(Currency("FST"), 5))
        socket = socket_of(tmp_path / "node.db")
        async with open_remote(by_socket(socket)) as owner:
            assert [one.invoice for one in await owner.invoices()] == [invoice]
            process.send_signal(signum)
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
        assert not socket.exists()


@covers("NOD-02")
async def test_what_was_answered_is_there_after_a_kill(flags: list[str], tmp_path: Path):
    socket = socket_of(tmp_path / "node.db")
    with running("stnode", *flags) as process:
        first_line(process)
        async with open_remote(by_socket(socket)) as owner:
            invoice = await owner.create_invoice(InvoiceTerms(Currency("FST"), 5))
            process.kill()
            process.wait(timeout=20)
    with running("stnode", *flags) as process:
        first_line(process)
        async with open_remote(by_socket(socket)) as owner:
            assert [one.invoice for one in await owner.invoices()] == [invoice]


def test_json_is_one_object(flags: list[str]) -> None:
    with running("stnode", *flags, "--json") as process:
        values = json.loads(first_line(process))
    assert values["public_key"] == KEY.to_text()
    assert values["addresses"] == [values["address"]]
    assert values["socket"].endswith("node.db.sock")


def failure(*argv: str) -> str:
    with running("stnode", *argv) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(r"stnode: [^\n]+\n", err), err
    return err


@covers("NOD-03")
def test_a_database_of_another_identity_is_refused(flags: list[str], tmp_path: Path) -> None:
    write_identity(tmp_path / "node.ident", APP, force=True)
    assert f"belongs to another identity ({KEY.to_text()})" in failure(*flags)


@covers("NOD-23", "FIX-35")
def test_a_database_in_use_is_refused(flags: list[str]) -> None:
    with running("stnode", *flags) as process:
        first_line(process)
        assert f"another program (process {process.pid}) is running on" in failure(*flags)


def test_what_is_missing_or_wrong_is_said(flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "trusted" / "app.ticket").unlink()
    (tmp_path / "trusted").rmdir()
    assert "trusted is not a directory of app tickets" in failure(*flags)
    (tmp_path / "trusted").mkdir()
    (tmp_path / "node.db").unlink()
    assert "make one: stmgr init-node-db" in failure(*flags)
    (tmp_path / "node.db").write_bytes(b"something else entirely, for a while" * 100)
    assert "node.db" in failure(*flags)
    (tmp_path / "node.ident").unlink()
    assert "cannot read" in failure(*flags)


def test_a_port_that_is_taken_is_a_failure(flags: list[str]) -> None:
    with running("stnode", *flags, "--json") as process:
        address = json.loads(first_line(process))["address"]
        other = [flags[0], flags[1] + "2", *flags[2:4], "-l", address, *flags[6:]]
        SqliteStore.create(Path(other[1]), KEY).close()
        assert f"cannot listen at {address}" in failure(*other)
