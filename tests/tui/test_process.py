"""The app's process, its threads and its terminal: stalls, hang-ups, signals, crashes, exit codes."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tui.process_app import SECRET
from tests.tui.terminal import Terminal

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")

LEFT_ALTERNATE_SCREEN = b"\x1b[?1049l"


class Scene:
    """The test app in a terminal, painted and beating."""

    def __init__(self, place: Path, *argv: str) -> None:
        self.state = place / "state"
        self.terminal = Terminal(["-m", "tests.tui.process_app", str(self.state), *argv])

    def __enter__(self) -> "Scene":
        self.terminal.__enter__()
        self.terminal.until_painted("row 19")
        self.terminal.until(self.state.exists)
        return self

    def __exit__(self, *error: object) -> None:
        self.terminal.__exit__(*error)

    def told(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state.read_text())
        return found

    def file(self, suffix: str) -> Path:
        return self.state.with_suffix(suffix)

    @property
    def log(self) -> str:
        return self.file(".log").read_text()

    def stall(self) -> None:
        """Stop reading until the app has noticed that not everything gets through."""
        self.terminal.until(lambda: self.told()["dropped"], reading=False, what="a full terminal")

    def beats_on(self, which: str) -> None:
        before = self.told()[which]
        self.terminal.until(lambda: self.told()[which] > before + 20, reading=False, what=which)


@pytest.fixture
def scene(tmp_path: Path):
    with Scene(tmp_path) as opened:
        yield opened


def test_leaving_restores_the_terminal_and_closes_the_node(scene: Scene):
    scene.terminal.type("q")
    assert scene.terminal.ended() == 0
    assert LEFT_ALTERNATE_SCREEN in scene.terminal.output
    assert scene.file(".closed").exists()


def test_a_terminal_that_stops_reading_stops_neither_loop_and_is_painted_anew(scene: Scene):
    scene.stall()
    scene.beats_on("ui")
    scene.beats_on("node")
    painted = bytearray()

    def is_painted() -> bool:
        painted.extend(scene.terminal.read(0.01))
        after = bytes(painted).rpartition(b"row 0 ")
        return not scene.told()["dropped"] and all(
            f"row {row} ".encode() in after[1] + after[2] for row in range(20)
        )

    scene.terminal.until(is_painted, reading=False, what="all rows painted again")
    scene.terminal.type("q")
    assert scene.terminal.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_app_in_order(scene: Scene, number: signal.Signals):
    scene.terminal.send(number)
    assert scene.terminal.ended() == 128 + number
    assert LEFT_ALTERNATE_SCREEN in scene.terminal.output
    assert scene.file(".closed").exists()
    assert f"signal {number.name}" in scene.log


def test_sigterm_ends_the_app_while_the_terminal_is_stalled(scene: Scene):
    scene.stall()
    scene.terminal.send(signal.SIGTERM)
    assert scene.terminal.ended(reading=False) == 128 + signal.SIGTERM
    assert scene.file(".closed").exists()


@pytest.mark.parametrize("is_stalled", [False, True])
def test_a_terminal_that_is_closed_ends_the_app(scene: Scene, is_stalled: bool):
    if is_stalled:
        scene.stall()
    scene.terminal.hang_up()
    assert scene.terminal.ended(reading=False) == 128 + signal.SIGHUP
    assert scene.file(".closed").exists()


def test_a_terminal_that_goes_without_a_signal_is_noticed(tmp_path: Path):
    """The app is not the session's leader and ignores SIGHUP, as under nohup."""
    script = (
        "import os, signal, sys, runpy; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from offset_tui import signals; signals.handled = lambda: (signal.SIGTERM,);"
        f"sys.argv[1:] = [{str(tmp_path / 'state')!r}];"
        "runpy.run_module('tests.tui.process_app', run_name='__main__')"
    )
    with Terminal(["-c", script]) as terminal:
        terminal.until_painted("row 19")
        terminal.hang_up()
        assert terminal.ended(reading=False) == 128 + signal.SIGHUP
    assert (tmp_path / "state.closed").exists()


def test_a_crash_shows_one_line_and_no_values(scene: Scene):
    scene.terminal.type("x")
    assert scene.terminal.ended() == 1
    shown = scene.terminal.output.rpartition(LEFT_ALTERNATE_SCREEN)[2].decode()
    assert "stopped because of a fault of its own" in shown
    assert "Traceback" not in shown
    assert "NoMatches" in scene.log
    assert "process_app.py" in scene.log
    assert SECRET not in shown + scene.log
    assert scene.file(".closed").exists()


def test_a_node_that_dies_reaches_the_app_and_the_exit_code(scene: Scene):
    scene.terminal.type("d")
    assert scene.terminal.ended() == 1
    assert b"the disk is gone" in scene.terminal.output
    assert "node ended" in scene.log
    assert "StoreError" in scene.log


def test_nothing_but_the_app_writes_on_the_screen(scene: Scene):
    assert scene.told()["streams"] == []
    scene.terminal.type("l")
    scene.terminal.until(scene.file(".logged").exists)
    scene.terminal.type("q")
    assert scene.terminal.ended() == 0
    for loud in ("LOUD LOG", "LOUD WARNING", "LOUD THREAD"):
        assert loud in scene.log
        assert loud.encode() not in scene.terminal.output
    assert scene.file(".log").stat().st_mode & 0o777 == 0o600


def test_the_watchdog_closes_the_node_when_the_screen_never_comes_back(tmp_path: Path):
    with Scene(tmp_path, "--late", "0.3") as scene:
        scene.terminal.type("h")
        scene.terminal.until(scene.file(".held").exists)
        scene.terminal.send(signal.SIGTERM)
        assert scene.terminal.ended() == 128 + signal.SIGTERM
        assert scene.file(".closed").exists()
        assert "did not end in time" in scene.log
