"""`offset serve`: one port for relay and index server, the text to hand over, and what is kept."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import anyio
import pytest

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, PublicKey, RelayAddress
from offset_engine.files import Role, Servers, load_identity, load_ticket, read_any
from offset_engine.net.connection import NetLimits
from offset_engine.net.nearby import LocalServers, dialable_here
from offset_engine.net.transport import (
    PURPOSE_FRIEND,
    PURPOSE_INDEX,
    PURPOSE_RELAY,
    DialError,
    dial,
)
from offset_engine.programs import serve, stctrl
from offset_engine.programs.arguments import Output, Parser
from offset_engine.programs.public_address import looked_up_warning_of, warning_of
from tests.net.loopback import endpoint, key_of, owner, serving

ROOT = Path(__file__).parent.parent.parent
PUBLIC = "village.example.org:4567"

posix = pytest.mark.skipif(sys.platform == "win32", reason="stops by POSIX signals")


@pytest.fixture(autouse=True)
def user_data(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for what the user's programs tell each other."""
    place = tmp_path_factory.mktemp("user")
    monkeypatch.setenv("XDG_DATA_HOME", str(place))
    return place


@contextmanager
def running(*argv: str) -> "Iterator[subprocess.Popen[str]]":
    """`offset serve` in a process of its own, ended whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "offset_tui", "serve", *argv],
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


def ready(process: "subprocess.Popen[str]") -> dict[str, object]:
    """The one object of `--json`, or a failure with what the program says."""
    assert process.stdout is not None
    assert process.stderr is not None
    return json.loads(process.stdout.readline() or pytest.fail(process.stderr.read()))


def local(directory: Path, *more: str, address: str = "127.0.0.1:4567") -> list[str]:
    return ["--address", address, "--listen", "127.0.0.1:0", str(directory), *more]


# --- the program --------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_first_start_makes_a_key_and_tickets_and_stops_with_0(
    signum: signal.Signals, tmp_path: Path
) -> None:
    directory = tmp_path / "new" / "servers"
    with running(*local(directory, "--json")) as process:
        values = ready(process)
        host, _, port = str(values["addresses"][0]).rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10):
            process.send_signal(signum)
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert err == (
        "offset: warning: 127.0.0.1 is this machine itself; only programs on it can dial it\n"
    )
    public_key = public_key_of(load_identity(directory / "servers.ident"))
    assert values["public_key"] == public_key.to_text()
    place = RelayAddress(public_key, "127.0.0.1:4567")
    for text in (values["text"], values["qr_text"]):
        assert [one.content for one in read_any(str(text))] == [Servers(place, place)]
    for name, role in (("servers.relay", Role.RELAY), ("servers.index", Role.INDEX)):
        ticket = load_ticket(directory / name, role)
        assert (ticket.public_key, ticket.address) == (public_key, "127.0.0.1:4567")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "servers.ident").stat().st_mode) == 0o600


@posix
def test_a_person_gets_the_text_and_asks_for_a_picture(tmp_path: Path) -> None:
    for flags, sign in (([], None), (["--qr"], "█"), (["--ascii"], "####")):
        with running(*local(tmp_path, *flags)) as process:
            assert process.stdout is not None
            said = ""
            while "ctrl+c" not in said:
                said += process.stdout.readline() or pytest.fail(said)
            process.terminate()
            process.communicate(timeout=20)
        assert process.returncode == 0
        assert [line for line in said.splitlines() if line.startswith("offset1:servers:")]
        assert str(tmp_path / "servers.relay") in said
        assert ("█" in said, "####" in said) == (sign == "█", sign == "####")


@posix
def test_a_port_that_is_taken_is_a_failure_and_nothing_is_made(tmp_path: Path) -> None:
    directory = tmp_path / "servers"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with running("--address", "127.0.0.1:1", "--listen", address, str(directory)) as process:
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err == f"offset: cannot listen at {address}: Address already in use\n"
    assert not directory.exists()


# --- what is kept -------------------------------------------------------------------------------


def test_a_second_start_keeps_the_key_and_writes_another_address(tmp_path: Path) -> None:
    first = serve.Kept(tmp_path)
    assert [path.name for path in first.save(PUBLIC)] == [
        "servers.ident",
        "servers.relay",
        "servers.index",
    ]
    again = serve.Kept(tmp_path)
    assert again.identity == first.identity
    assert again.save(PUBLIC) == ()
    moved = serve.Kept(tmp_path).save("moved.example.org:4567")
    assert [path.name for path in moved] == ["servers.relay", "servers.index"]
    for name in ("servers.relay", "servers.index"):
        ticket = load_ticket(tmp_path / name)
        assert (ticket.public_key, ticket.address) == (
            first.public_key,
            "moved.example.org:4567",
        )


def failure(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 1) -> str:
    """What `offset serve` says when it cannot start."""
    from offset_tui.__main__ import main  # noqa: PLC0415  the app is not needed elsewhere

    if code == 2:
        with pytest.raises(SystemExit) as caught:
            main(["serve", *argv])
        assert caught.value.code == code
    else:
        assert main(["serve", *argv]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert code == 2 or err.count("\n") == 1
    return err


def test_tickets_of_another_key_are_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve.Kept(tmp_path).save(PUBLIC)
    before = (tmp_path / "servers.relay").read_bytes()
    (tmp_path / "servers.ident").unlink()
    said = failure(capsys, *local(tmp_path))
    assert "servers.relay is the ticket of another key: there is no" in said
    assert (tmp_path / "servers.relay").read_bytes() == before
    assert not (tmp_path / "servers.ident").exists()
    (tmp_path / "servers.relay").write_text("something else")
    assert "servers.relay: " in failure(capsys, *local(tmp_path))


def test_a_directory_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for directory in (file, file / "inside"):
        assert str(directory) in failure(capsys, *local(directory))
    assert "not a name a directory can have" in failure(capsys, *local(Path("x\0")))
    if sys.platform != "win32" and os.geteuid() != 0:
        tmp_path.chmod(0o500)
        assert "Permission denied" in failure(capsys, *local(tmp_path / "inside"))
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("address", ["nowhere", "host:0", "1.2.3.4.5:1", "two words:1", ":1"])
def test_an_address_nobody_can_dial_is_a_wrong_command_line(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = failure(capsys, "--address", address, str(tmp_path / "new"), code=2)
    assert f"argument --address: {address!a}: " in said
    assert not (tmp_path / "new").exists()


# --- who comes ----------------------------------------------------------------------------------


def parsed(*argv: str) -> object:
    parser = Parser("offset", "")
    serve.add_parser(parser.commands())
    return parser.parse_args(["serve", *argv])


async def visit(directory: Path, purposes: Sequence[int], output: Output) -> None:
    """Serve in this process and let a client come for each purpose."""
    args = parsed(*local(directory))
    kept = serve.Kept(directory)
    started = serve._Ready(args, output, kept)
    async with anyio.create_task_group() as tasks:
        addresses = await tasks.start(partial(serve._serve, args, output, kept, started))
        started(addresses)
        async with owner() as clients:
            for number, purpose in enumerate(purposes):
                client = endpoint(10 + number)
                connection = await dial(client, clients, addresses[0], kept.public_key, purpose)
                # A message that means nothing ends the link: it was served, not only let in.
                connection.send_nowait(b"\xc1")
                with anyio.fail_after(5):
                    await connection.wait_closed()
        tasks.cancel_scope.cancel()


@pytest.mark.anyio
async def test_one_port_and_key_answer_as_relay_and_as_index_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Output("offset", as_json=True, verbose=False)
    await visit(tmp_path, (PURPOSE_RELAY, PURPOSE_INDEX), output)
    out, err = capsys.readouterr()
    assert json.loads(out)["address"] == "127.0.0.1:4567"
    assert "reached" not in err  # by programs of this machine only


@pytest.mark.anyio
async def test_the_first_client_from_outside_is_announced_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_is_own_ip", lambda _: False)  # as if this were another machine
    output = Output("offset", as_json=True, verbose=False)
    await visit(tmp_path, (PURPOSE_INDEX, PURPOSE_RELAY), output)
    said = [line for line in capsys.readouterr().err.splitlines() if "reached" in line]
    first = "reached from outside this machine for the first time: the index server, by 127.0.0.1"
    assert said == [f"offset: {first}"]


def test_an_address_of_this_machine_is_known_as_its_own() -> None:
    assert serve._is_own_ip("127.0.0.1")
    for other in ("192.0.2.77", "2001:db8::77", "fe80::77%none", "no address"):
        assert not serve._is_own_ip(other)


# --- programs of the same user ------------------------------------------------------------------


@posix
def test_a_note_says_where_the_servers_are_while_they_run(tmp_path: Path, user_data: Path) -> None:
    with running(*local(tmp_path, "--json")) as process:
        values = ready(process)
        key = PublicKey.from_text(str(values["public_key"]))
        (address,) = values["addresses"]
        assert LocalServers().find(key) == address
        assert [one.name for one in user_data.rglob("local-servers/*")] == [key.to_text()]
        process.terminate()
        process.communicate(timeout=20)
    assert LocalServers().find(key) is None


@posix
def test_a_card_beside_the_servers_uses_them_at_an_address_not_reachable_from_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "village"
    outside = "192.0.2.1:4567"  # as good as a router that does not let us reach ourselves
    with running(*local(directory, "--json", "--node", address=outside)) as process:
        values = ready(process)
        door = ["--socket", str(values["socket"])]
        assert Path(str(values["socket"])).parent == directory
        for group, name in (("relays", "relays"), ("index", "index_servers")):
            limit = time.monotonic() + 20
            while True:
                assert stctrl.main([*door, "info", group, "--json"]) == 0
                (server,) = json.loads(capsys.readouterr().out)[name]
                assert (server["name"], server["address"]) == ("own", outside)
                assert server["public_key"] == values["public_key"]
                if server["connected"]:
                    break
                assert time.monotonic() < limit, server
        assert stctrl.main([*door, "info", "public-key", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"public_key": values["card"]}
        process.terminate()
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert stat.S_IMODE((directory / "node.ident").stat().st_mode) == 0o600
    assert not Path(str(values["socket"])).exists()


@posix
def test_a_card_stays_the_same_and_follows_its_servers_to_another_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards = []
    for address in ("village.example.org:1", "village.example.org:2"):
        with running(*local(tmp_path, "--node", "--json", address=address)) as process:
            values = ready(process)
            cards.append(values["card"])
            door = ["--socket", str(values["socket"])]
            assert stctrl.main([*door, "info", "relays", "--json"]) == 0
            (relay,) = json.loads(capsys.readouterr().out)["relays"]
            assert (relay["name"], relay["address"]) == ("own", address)
            process.terminate()
            process.communicate(timeout=20)
    assert cards[0] == cards[1]


@posix
def test_a_person_reads_how_to_control_the_card(tmp_path: Path) -> None:
    with running(*local(tmp_path, "--node")) as process:
        assert process.stdout is not None
        said = ""
        while "ctrl+c" not in said:
            said += process.stdout.readline() or pytest.fail(said)
        process.terminate()
        process.communicate(timeout=20)
    assert f"stctrl --socket {tmp_path}/node.db.sock info friends" in said


@posix
def test_a_card_that_runs_already_or_has_lost_its_key_is_a_failure(tmp_path: Path) -> None:
    with running(*local(tmp_path, "--node", "--json")) as process:
        ready(process)
        with running(*local(tmp_path, "--node")) as second:
            out, err = second.communicate(timeout=20)
        assert (second.returncode, out) == (1, "")
        assert f"another program (process {process.pid}) is running on" in err
    (tmp_path / "node.ident").unlink()
    with running(*local(tmp_path, "--node")) as process:
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert "node.db is there but not its key" in err


def test_a_note_that_is_no_address_or_cannot_be_left_does_no_harm(tmp_path: Path) -> None:
    key = public_key_of(PrivateKey(bytes([1]) * 32))
    notes = LocalServers(tmp_path / "notes")
    assert notes.find(key) is None
    with notes.noted(key, "127.0.0.1:1"):
        assert notes.find(key) == "127.0.0.1:1"
        with notes.noted(key, "127.0.0.1:2"):
            assert notes.find(key) == "127.0.0.1:2"
        (tmp_path / "notes" / key.to_text()).write_text("nonsense")
        assert notes.find(key) is None
    assert (tmp_path / "notes" / key.to_text()).read_text() == "nonsense"  # not ours any more
    (tmp_path / "file").write_text("")
    with LocalServers(tmp_path / "file").noted(key, "127.0.0.1:1"):
        assert LocalServers(tmp_path / "file").find(key) is None


@pytest.mark.parametrize(
    ("bound", "here"),
    [
        ("0.0.0.0:7", "127.0.0.1:7"),
        ("[::]:7", "[::1]:7"),
        ("192.168.1.7:7", "192.168.1.7:7"),
        ("[fd00::1]:7", "[fd00::1]:7"),
    ],
)
def test_what_listens_everywhere_is_dialled_at_loopback(bound: str, here: str) -> None:
    assert dialable_here(bound) == here


@pytest.mark.anyio
async def test_a_stale_note_costs_one_attempt(tmp_path: Path) -> None:
    notes = LocalServers(tmp_path / "notes")
    server = endpoint(1)
    async with serving(server) as address, serving(endpoint(2)) as other, owner() as clients:
        for wrong in ("127.0.0.1:1", other):
            with notes.noted(key_of(server), wrong):
                client = endpoint(3, nearby=notes.find)
                found = await dial(client, clients, address, key_of(server), PURPOSE_FRIEND)
                assert found.peer == key_of(server)


@pytest.mark.anyio
async def test_who_sits_silent_at_a_noted_place_is_dialled_once_in_five_minutes(
    tmp_path: Path,
) -> None:
    notes, server, now_ms = LocalServers(tmp_path / "notes"), endpoint(1), 7
    silent = socket.create_server(("127.0.0.1", 0))
    place = f"127.0.0.1:{silent.getsockname()[1]}"

    def knocked() -> bool:
        with contextlib.suppress(BlockingIOError):
            silent.accept()[0].close()
            return True
        return False

    silent.setblocking(False)
    client = endpoint(3, nearby=notes.find, limits=NetLimits(near_ms=50), now_ms=lambda: now_ms)
    with silent, notes.noted(key_of(server), place):
        async with serving(server) as address, owner() as clients:
            for at_ms, is_tried in ((7, True), (8, False), (300_000, False), (400_000, True)):
                now_ms = at_ms
                found = await dial(client, clients, address, key_of(server), PURPOSE_FRIEND)
                assert (found.peer, knocked()) == (key_of(server), is_tried)


@pytest.mark.anyio
async def test_a_silent_place_is_tried_again_if_the_other_address_fails_too(tmp_path: Path) -> None:
    notes, server = LocalServers(tmp_path / "notes"), endpoint(1)
    client = endpoint(3, nearby=notes.find, limits=NetLimits(near_ms=50))
    silent = socket.create_server(("127.0.0.1", 0))
    place = f"127.0.0.1:{silent.getsockname()[1]}"
    with silent, notes.noted(key_of(server), place):
        async with owner() as clients:
            with pytest.raises(DialError):
                await dial(client, clients, "127.0.0.1:1", key_of(server), PURPOSE_FRIEND)
    assert not client.stale_notes.has(key_of(server), place, client.now_ms())


@pytest.mark.anyio
async def test_a_server_that_was_away_for_a_moment_is_found_here_again(tmp_path: Path) -> None:
    notes, server = LocalServers(tmp_path / "notes"), endpoint(1)
    client = endpoint(3, nearby=notes.find)
    for _ in range(2):
        async with serving(server) as elsewhere, owner() as clients:
            with notes.noted(key_of(server), "127.0.0.1:1"):
                await dial(client, clients, elsewhere, key_of(server), PURPOSE_FRIEND)
    assert not client.stale_notes.has(key_of(server), "127.0.0.1:1", client.now_ms())


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "this machine itself"),
        ("localhost:1", "this machine itself"),
        ("[::1]:1", "this machine itself"),
        ("[::ffff:127.0.0.1]:1", "this machine itself"),
        ("0.0.0.0:1", "every address of this machine"),
        ("[::]:1", "every address of this machine"),
        ("192.168.1.7:1", "a private address"),
        ("10.0.0.1:1", "a private address"),
        ("100.64.0.1:1", "a private address"),
        ("[fd00::1]:1", "a private address"),
        ("224.0.0.1:1", "no address of a machine"),
        ("8.8.8.8:1", None),
        ("[2606:4700::1]:1", None),
        ("village.example.org:1", None),
    ],
)
def test_an_address_not_everybody_can_dial_gets_a_warning(address: str, said: str | None) -> None:
    warning = warning_of(address)
    assert (warning is None) == (said is None)
    assert (said or "") in (warning or "")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("found", "said"),
    [
        (["192.168.1.7"], "village.example.org (192.168.1.7) is a private address"),
        (["fe80::1%eth0"], "is a private address"),
        (["192.168.1.7", "8.8.8.8"], None),
        (OSError(-2, "Name or service not known"), "no address is known for village.example.org"),
    ],
)
async def test_a_name_is_looked_up_once(
    found: list[str] | OSError, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr("offset_engine.programs.public_address.resolve", resolve)
    warning = await looked_up_warning_of(PUBLIC)
    assert asked == [("village.example.org", 4567)]
    assert (warning is None) == (said is None)
    assert (said or "") in (warning or "")
