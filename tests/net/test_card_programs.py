"""`offset cards|run|backup|restore` from outside, and a search for secrets in everything they leave behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offset_engine.cards import CardStore, Cost, Passphrase
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.files import RemoteCard, load_identity, write, write_identity
from offset_tui import __main__ as offset
from tests.covers import covers
from tests.unit.test_identities import descriptor_with

ROOT = Path(__file__).parent.parent.parent
WORD = "planted passphrase 77"
BACKUP_WORD = "planted backup word 88"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops by POSIX signals")


@pytest.fixture
def store(tmp_path: Path) -> CardStore:
    return CardStore(tmp_path / "s", cost=Cost(1, 8))


class Offset:
    """Runs `offset` in this process."""

    def __init__(self, store: CardStore, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self.capsys = capsys

    def __call__(self, *words: str, code: int = 0, typed: str = "") -> str:
        """Run it; what it said on stdout, or on stderr if it failed."""
        more = ["--store", str(self.store.directory)]
        with descriptor_with(typed) as number:
            if typed:
                more += ["--passphrase-fd", number]
            assert offset.main([*words, *more]) == code, self.capsys.readouterr().err
        said = self.capsys.readouterr()
        return said.err if code else said.out

    def json(self, *words: str, typed: str = "") -> dict:
        return json.loads(self(*words, "--json", typed=typed))


@pytest.fixture
def run(store: CardStore, capsys: pytest.CaptureFixture[str]) -> Offset:
    return Offset(store, capsys)


@contextmanager
def running(store: CardStore, *words: str, typed: str = "") -> "Iterator[subprocess.Popen[str]]":
    """`offset run` in a process of its own, ended whatever happens."""
    with descriptor_with(typed) as number:
        more = ["--passphrase-fd", number] if typed else []
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "offset_tui", "run", *words),
                *("--store", str(store.directory), *more),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(int(number),),
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    return process.stdout.readline() or pytest.fail(process.stderr.read())


# --- offset cards -------------------------------------------------------------------------------


@covers("CMP-01", "CMP-02", "CMP-04", "CMP-05", "CMP-10", "CMP-26")
def test_cards_are_listed_made_and_changed(run: Offset, tmp_path: Path) -> None:
    assert "no cards yet" in run("cards")
    made, next_ = run("cards", "create", "alice").splitlines()
    assert made.startswith("made the card alice: local, off, enabled, ")
    assert next_ == f"It runs with: offset run alice --store {run.store.directory}"
    assert run("cards", "create", "ALICE", code=1).count("\n") == 1
    write(tmp_path / "x.rcard", RemoteCard(run.store.card("alice").public_key, "h.example:1", KEY))
    run("cards", "import", str(tmp_path / "x.rcard"), "phone")
    run("cards", "disable", "phone")
    run("cards", "rename", "alice", "Shop")
    found = run.json("cards")
    assert [(one["name"], one["kind"], one["enabled"]) for one in found["cards"]] == [
        ("phone", "remote", False),
        ("Shop", "local", True),
    ]
    text = run("cards")
    assert "phone: remote, off, disabled, at h.example:1, " in text
    assert "Shop: local, off, enabled, " in text
    assert "add --yes, or run it at a terminal" in run("cards", "remove", "shop", code=2)
    moved = run.json("cards", "remove", "shop", "--yes")["moved_to"]
    assert (Path(moved) / "node.db").exists()
    assert "there is no card 'shop'" in run("cards", "remove", "shop", "--yes", code=1)


@covers("CMP-04", "CMP-26")
def test_a_card_that_was_renamed_is_not_found_by_its_old_name(run: Offset) -> None:
    run("cards", "create", "anna")
    run("cards", "rename", "anna", "berta")
    for words in (("remove", "--yes"), ("enable",), ("protect",), ("test",)):
        assert "there is no card 'anna'" in run("cards", words[0], "anna", *words[1:], code=1)
    assert "there is no card 'anna'" in run("status", "--card", "anna", code=1)
    run("cards", "create", "anna")
    run("cards", "remove", "anna", "--yes")
    assert "there is no card 'anna'" in run("cards", "remove", "anna", "--yes", code=1)
    assert [card["name"] for card in run.json("cards")["cards"]] == ["berta"]


def test_a_card_is_put_away_after_asking(
    run: Offset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("cards", "create", "anna")
    master, slave = os.openpty()
    with open(slave) as terminal:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", terminal)
        os.write(master, b"no\ny\n")
        more = ["--store", str(run.store.directory)]
        assert offset.main(["cards", "remove", "anna", *more]) == 1
        asked = capsys.readouterr().err
        assert "Put the card anna into the trash? [y/N] " in asked
        assert "anna was not put away" in asked
        assert offset.main(["cards", "remove", "anna", *more]) == 0
    os.close(master)
    assert run.store.cards() == ()


def test_which_card_is_meant_has_to_be_said_where_there_are_several(run: Offset) -> None:
    run.store.create("anna")
    run.store.create("berta")
    assert "several cards, say which one: anna, berta" in run("run", code=2)
    with pytest.raises(SystemExit) as caught:
        run("status")
    assert caught.value.code == 2
    assert "several cards, say which one: anna, berta" in run.capsys.readouterr().err


def test_a_plain_file_is_no_store(run: Offset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    assert offset.main(["cards", "--store", str(tmp_path / "file")]) == 1
    assert "is not a directory; cards are kept in one" in run.capsys.readouterr().err


KEY = PrivateKey(bytes([6]) * 32)


@covers("RMP-21", "RMP-36")
def test_a_card_is_protected_and_freed(run: Offset) -> None:
    run("cards", "create", "alice", typed=WORD)
    assert run.json("cards")["cards"][0]["protected"]
    assert "not the passphrase" in run("cards", "unprotect", "alice", code=1, typed="x")
    run("cards", "protect", "alice", typed=f"{WORD}\nnew")
    run("cards", "unprotect", "alice", typed="new")
    assert "has no passphrase" in run("cards", "unprotect", "alice", code=1, typed="new")


# --- offset run ---------------------------------------------------------------------------------


@covers("CMP-08")
def test_a_card_runs_until_it_is_told_to_stop_and_others_find_it(
    store: CardStore, run: Offset
) -> None:
    card = store.create("alice")
    assert card.public_key is not None
    with running(store) as process:
        assert ready(process) == f"the card alice runs as {card.public_key.to_text()}\n"
        assert ready(process) == f"Programs of this user reach it at {card.directory}/node.sock\n"
        (seen,) = run.json("cards")["cards"]
        assert (seen["state"], seen["process"]) == ("running", process.pid)
        assert Path(seen["socket"]).is_socket()
        allowed = run.json("cards", "test", "alice")["permissions"]
        assert allowed == ["read", "routes", "buyer", "seller", "transactions", "config"]
        said = run("run", "alice", code=1)
        assert f"process {process.pid} runs this card already" in said
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
    assert run.json("cards")["cards"][0]["state"] == "off"
    assert "is not running" in run("cards", "test", "alice", code=1)


def test_a_killed_card_can_be_run_again_at_once(store: CardStore, run: Offset) -> None:
    store.create("alice", Passphrase.of(WORD))
    with running(store, typed=WORD) as process:
        ready(process)
        process.kill()
        process.wait(timeout=20)
    assert run.json("cards")["cards"][0]["state"] == "off"
    with running(store, "--json", typed=WORD) as process:
        assert json.loads(ready(process))["card"] == "alice"


@pytest.mark.parametrize("name", ["alice", 'a $HOME 100% "x"'])
def test_a_unit_for_systemd_runs_the_card_by_name(
    store: CardStore, run: Offset, tmp_path: Path, name: str
) -> None:
    store.create(name)
    unit = tmp_path / "x.service"
    found = run.json("run", name, "--write-unit", str(unit))
    assert found["enable"] == f"systemctl --user enable --now {unit}"
    line = next(one for one in unit.read_text().splitlines() if one.startswith("ExecStart="))
    escaped = name.replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    assert f'"run" "{escaped}" "--store" "{store.directory}"' in line
    assert "exists already" in run("run", name, "--write-unit", str(unit), code=1)
    store.protect(name, Passphrase.of(WORD))
    assert "systemd cannot type" in run("run", name, "--write-unit", str(unit), code=1)


def test_the_unit_goes_where_systemd_looks(
    store: CardStore, run: Offset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    store.create("alice")
    found = run.json("run", "--write-unit")
    where = tmp_path / "config" / "systemd" / "user" / "offset-card-alice.service"
    assert found["output"] == str(where)
    assert where.exists()


# --- offset backup, offset restore --------------------------------------------------------------


@covers("RMP-37")
def test_a_running_card_is_backed_up_and_restored(
    store: CardStore, run: Offset, tmp_path: Path
) -> None:
    card = store.create("alice")
    assert card.public_key is not None
    out = str(tmp_path / "alice.backup")
    with running(store) as process:
        ready(process)
        done = run.json("backup", "alice", out, typed=BACKUP_WORD)
        assert done["public_key"] == card.public_key.to_text()
        assert "exists already" in run("backup", "alice", out, code=1, typed=BACKUP_WORD)
        assert f"{out}: this is a backup of a card: offset restore makes a card of it" in run(
            "accept", out, code=1
        )
        assert offset.main(["inspect", out, str(card.directory / "node.db")]) == 0
        said = run.capsys.readouterr().out
        assert said.startswith("A backup of a card\n  offset restore makes a card of it\n")
        assert "A database of SQLite" in said
        busy = run("restore", out, "--force", code=1, typed=BACKUP_WORD)
        assert "runs this card already" in busy
    assert "not the passphrase" in run("restore", out, code=1, typed="x")
    assert "--force" in run("restore", out, code=1, typed=BACKUP_WORD)
    found = run.json("restore", out, "--force", "--name", "again", typed=BACKUP_WORD)
    assert found["card"] == "again"
    assert "two copies of one card" in found["warning"]
    assert [card.name for card in store.cards()] == ["again"]
    said = run("restore", out, "--force", typed=BACKUP_WORD)
    assert said.startswith("The card alice is restored, and off.\n\nThis backup was made on ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("backup", "nobody", "out"), "there is no card"),
        (("restore", "missing"), "cannot read missing"),
        (("restore", __file__), "this is not a backup of a card"),
        (("run", "nobody"), "there is no card"),
        (("cards", "create", "-v"), ""),
        (("cards", "import", __file__, "x"), "not one of our files"),
        (("cards", "rename", "nobody", "x"), "there is no card"),
    ],
)
def test_wrong_input_is_one_sentence(run: Offset, words: tuple[str, ...], sentence: str) -> None:
    run.store.create("alice")
    typed = BACKUP_WORD if words[0] == "restore" else ""
    if not sentence:
        with pytest.raises(SystemExit) as caught:
            run(*words)
        assert caught.value.code == 2
        return
    said = run(*words, code=1, typed=typed)
    assert sentence in said
    assert said.count("\n") == 1


def test_a_file_that_is_no_backup_is_refused_before_a_passphrase_is_asked_for(
    run: Offset, tmp_path: Path
) -> None:
    assert "cannot read nofile" in run("restore", "nofile", code=1)
    (tmp_path / "text").write_text("hello")
    assert "this is not a backup of a card" in run("restore", str(tmp_path / "text"), code=1)


def test_every_passphrase_needs_a_line_of_its_own(run: Offset, tmp_path: Path) -> None:
    run("cards", "create", "alice", typed=WORD)
    said = run("cards", "protect", "alice", typed=WORD, code=1)
    assert "holds no line 2, where a passphrase is needed: the new one for the card alice" in said
    run("cards", "protect", "alice", typed=f"{WORD}\n{WORD}")
    out = tmp_path / "out"
    assert "holds no line 2" in run("backup", "alice", str(out), typed=WORD, code=1)
    assert not out.exists()


def test_without_a_terminal_a_needed_passphrase_is_a_sentence(run: Offset) -> None:
    run.store.create("alice", Passphrase.of(WORD))
    for words in (("run",), ("backup", "alice", "out"), ("cards", "protect", "alice")):
        assert "--passphrase-fd" in run(*words, code=1)


# --- secrets ------------------------------------------------------------------------------------


def traces(secret: bytes, places: dict[str, bytes]) -> list[str]:
    return [where for where, content in places.items() if secret in content]


@covers("RMP-21", "RMP-24")
def test_no_secret_is_in_any_argument_log_output_or_file(
    store: CardStore, run: Offset, tmp_path: Path
) -> None:
    """Plant a passphrase and a key, do everything, then search everything for them."""
    plain = store.create("alice").directory / "node.ident"
    key = load_identity(plain)
    run("cards", "protect", "alice", typed=WORD)
    plain_store = store.directory
    log = tmp_path / "run.log"
    flags = ("--log-level", "debug", "--log-file", str(log))
    places: dict[str, bytes] = {}
    with running(store, *flags, "-v", typed=WORD) as process:
        places["ready"] = ready(process).encode()
        run("backup", "alice", str(tmp_path / "out"), typed=f"{WORD}\n{BACKUP_WORD}")
        run("cards", "test", "alice", "-v")
        for name in ("cmdline", "environ"):
            path = Path(f"/proc/{process.pid}/{name}")
            places[name] = path.read_bytes() if path.exists() else b""
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        places |= {"out": out.encode(), "err": err.encode()}
    run("restore", str(tmp_path / "out"), "--force", code=1, typed=WORD)
    run("restore", str(tmp_path / "out"), "--force", typed=BACKUP_WORD)
    assert log.stat().st_size > 0
    for path in [log, tmp_path / "out", *plain_store.rglob("*")]:
        if path.is_file():
            places[str(path)] = path.read_bytes()
    assert len(places) > 10
    for secret in (
        *(WORD.encode(), BACKUP_WORD.encode(), bytes(key), key.to_text().encode()),
        *(key.hex().encode(), repr(bytes(key)).encode()),
    ):
        assert traces(secret, places) == []
    assert os.fsencode(store.directory) in places["cmdline"] or sys.platform != "linux"


@covers("RMP-21")
def test_a_relay_starts_with_a_sealed_identity_and_a_descriptor(tmp_path: Path) -> None:
    write_identity(tmp_path / "relay.ident", KEY, Passphrase.of(WORD), cost=Cost(1, 8))
    with descriptor_with(WORD + "\n") as number:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "offset_engine.programs.strelay"),
                *("--idfile", str(tmp_path / "relay.ident"), "--laddr", "127.0.0.1:0"),
                *("--passphrase-fd", number),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(int(number),),
            text=True,
        )
    with process:
        try:
            assert public_key_of(KEY).to_text() in ready(process)
        finally:
            process.kill()
