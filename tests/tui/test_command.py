"""`offset` alone: the app where there is a terminal, one line and exit code 2 where there is none."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from offset_engine.cards import CardSettings, CardState, CardStore, Cost
from offset_tui import background, ttycheck
from offset_tui.__main__ import main
from tests.tui.terminal import ROOT, Terminal

NO_SCREEN = subprocess.DEVNULL


def offset(*argv: str, **settings: object) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "offset_tui", *argv],
        env=env,
        text=True,
        check=False,
        timeout=60,
        **{"capture_output": True, "stdin": NO_SCREEN, **settings},  # type: ignore[call-overload]
    )


def test_without_a_terminal_it_says_so_in_one_line():
    done = offset()
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("offset: the app needs a terminal")


def test_with_its_screen_redirected_it_says_so_on_the_screen(tmp_path: Path):
    log = tmp_path / "log"
    with log.open("w") as file, Terminal(["-m", "offset_tui"], stderr=file.fileno()) as terminal:
        assert terminal.ended() == 2
    assert b"painted on standard error" in terminal.output
    assert "painted on standard error" in log.read_text()


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_its_cursor_is_refused(kind: str):
    with Terminal(["-m", "offset_tui"], env={"TERM": kind}) as terminal:
        assert terminal.ended() == 2
    assert f"TERM={kind}".encode() in terminal.output


def test_a_card_that_is_not_there_is_said_before_anything_is_painted(tmp_path: Path):
    argv = ["-m", "offset_tui", "--store", str(tmp_path), "--card", "Nobody"]
    with Terminal(argv) as terminal:
        assert terminal.ended() == 1
    assert b"there is no card in" in terminal.output
    assert b"\x1b[?1049h" not in terminal.output


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--json"], "no --json"),
        (["--card", "Alice", "info"], "--card before info is for the app alone"),
        (["--no-mouse", "inspect", "-"], "--no-mouse before inspect"),
        (["--no-such-flag"], "unrecognized"),
        (["--ascii", "--no-such-flag"], "unrecognized"),
        (["--card"], "expected one argument"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["info"], ["inspect", "nothing"], ["demo", "--headless", "--payments", "1"], ["cards"]]
)
def test_programs_without_a_screen_do_not_load_what_paints_one(tmp_path: Path, argv: list[str]):
    code = (
        "import sys; from offset_tui.__main__ import main\n"
        f"main({argv!r})\n"
        "print('LOADED', [one for one in sys.modules if one.split('.')[0] == 'textual'])"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, text=True, capture_output=True, check=False
    )
    assert "LOADED []" in done.stdout, done.stderr


@pytest.mark.parametrize("stream", [None, open])
def test_a_stream_that_is_closed_or_a_file_is_no_terminal(
    tmp_path: Path, stream: object, monkeypatch: pytest.MonkeyPatch
):
    if stream is None:
        monkeypatch.setattr(sys, "stdin", None)
    else:
        file = (tmp_path / "file").open("w+")
        file.close()
        monkeypatch.setattr(sys, "stdin", file)
    assert "standard input" in (ttycheck.why_no_screen() or "")


# --- the real app and its card ------------------------------------------------------------------


@contextlib.contextmanager
def app_on(place: Path, *, stays_online: bool) -> Iterator[tuple[Terminal, CardStore]]:
    """The app in a terminal, on a card of its own that is open."""
    store = CardStore(place / "store", cost=Cost(1, 8))
    store.create("Alice")
    store.save_settings("Alice", CardSettings(stays_online=stays_online))
    argv = ["-m", "offset_tui", "--store", str(store.directory)]
    env = {"XDG_STATE_HOME": str(place), "SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}
    try:
        with Terminal(argv, env=env) as terminal:
            terminal.until(lambda: store.card("Alice").socket is not None, what="an open card")
            terminal.until_painted("Alice")
            yield terminal, store
    finally:
        background.stop(store, "Alice")


def test_a_card_that_stays_online_does_not_notice_that_the_terminal_is_gone(tmp_path: Path):
    with app_on(tmp_path, stays_online=True) as (terminal, store):
        before = store.card("Alice").process
        assert before not in (None, terminal.process.pid)
        terminal.hang_up()
        assert terminal.ended(reading=False) == 128 + signal.SIGHUP
        assert store.card("Alice").process == before


def test_any_other_card_is_closed_in_order_when_the_terminal_is_gone(tmp_path: Path):
    with app_on(tmp_path, stays_online=False) as (terminal, store):
        assert store.card("Alice").process == terminal.process.pid
        terminal.hang_up()
        assert terminal.ended(reading=False) == 128 + signal.SIGHUP
        card = store.card("Alice")
        assert card.state is CardState.OFF
        assert not (card.directory / "node.db-wal").exists()
        log = (tmp_path / "offset" / "log" / "offset.log").read_text()
        assert "Traceback" not in log
