"""Machines as a reader of the documentation has them: a directory, a terminal, and programs that run in it.

A `Terminal` understands as much of a shell as the documentation uses: `NAME="value"`, `$NAME`, `mkdir`, `cp`,
comments, lines that go on after a backslash, our programs, and `&` for those that keep running. Every
program is a process of its own.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

ROOT = Path(__file__).parent.parent.parent
COMMAND_S = 90
"""No command takes longer, also on a busy machine."""
MODULES = {
    name: f"offset_engine.programs.{name}"
    for name in ("stmgr", "stctrl", "stverify", "strelay", "stindex", "stnode")
} | {"offset": "offset_tui"}


def free_port() -> str:
    """A port nobody uses; tutorials name their ports before anything listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return str(found.getsockname()[1])


@dataclass
class Ended:
    """A command that has ended."""

    argv: Sequence[str]
    code: int
    out: str
    err: str

    @property
    def succeeded(self) -> bool:
        return self.code == 0


class Running:
    """A program that keeps running, and can be killed and started again just as it was."""

    def __init__(self, start: Callable[[], "subprocess.Popen[str]"], errors: Path) -> None:
        self._start = start
        self.errors = errors
        self._process: subprocess.Popen[str] | None = None
        self.first_line = ""

    def start(self) -> None:
        """Start it; returns once it says that it is ready."""
        self._process = self._start()
        assert self._process.stdout is not None
        self.first_line = self._process.stdout.readline()
        assert self.first_line, self.errors.read_text()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, by default as its owner would."""
        if self._process is None:
            return
        self._process.send_signal(number)
        with self._process:
            self._process.wait(COMMAND_S)
        self._process = None

    def kill(self) -> None:
        """SIGKILL: nothing in the process hears of it."""
        self.stop(signal.SIGKILL)


class Terminal:
    """See the module."""

    def __init__(
        self,
        place: Path,
        variables: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        """Open one in a directory, which is made.

        Args:
            place: the directory.
            variables: given values; what a script assigns to these names does not count.
            prefix: words in front of every program: how to run it somewhere else.
        """
        place.mkdir()
        self.place = place
        self._given = dict(variables or {})
        self._variables = dict(self._given)
        self._prefix = tuple(prefix)
        self.running: dict[str, Running] = {}

    def type(self, script: str) -> str:
        """Type a whole script, which must succeed; returns what its commands printed."""
        said = ""
        for line in _lines(script):
            ended = self.enter(line)
            assert ended.succeeded, f"{self.place.name}$ {line}\n{ended.out}{ended.err}"
            said += ended.out
        return said

    def enter(self, line: str) -> Ended:
        """Type one line."""
        if found := re.fullmatch(r"([A-Z_]+)=(\S+)", line):
            self._variables[found[1]] = self._given.get(found[1], shlex.split(found[2])[0])
            return Ended((), 0, "", "")
        words = shlex.split(Template(line).substitute(self._variables))
        match words:
            case ["mkdir", directory]:
                (self.place / directory).mkdir()
                return Ended(words, 0, "", "")
            case ["cp", source, target]:
                shutil.copy(self.place / source, self.place / target)
                return Ended(words, 0, "", "")
            case [program, *argv, "&"]:
                self._start(program, argv)
                return Ended(words, 0, "", "")
            case [program, *argv]:
                return self._run(program, argv)
            case _:
                raise AssertionError(f"nothing to do: {line}")

    def _popen(self, program: str, argv: Sequence[str], **more: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self._prefix, sys.executable, "-m", MODULES[program], *argv],
            cwd=self.place,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(self.place / "data")},
            **more,
        )

    def _run(self, program: str, argv: Sequence[str]) -> Ended:
        with self._popen(program, argv, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(timeout=COMMAND_S)
            except BaseException:
                process.kill()
                raise
        assert "Traceback" not in err, err
        return Ended((program, *argv), process.returncode, out, err)

    def _start(self, program: str, argv: Sequence[str]) -> None:
        errors = self.place / f"{program}.stderr"

        def start() -> "subprocess.Popen[str]":
            with errors.open("a") as log:
                return self._popen(program, argv, stderr=log)

        self.running[program] = Running(start, errors)
        self.running[program].start()

    def close(self) -> None:
        """Kill what still runs."""
        for one in self.running.values():
            one.kill()


def _lines(script: str) -> list[str]:
    """The commands of a script, each in one line."""
    whole = re.sub(r"\\\n\s*", "", script)
    return [line.strip() for line in whole.splitlines() if line.strip() and line.strip()[0] != "#"]


def until(fact: Callable[[], object], within_s: float, state: Callable[[], object]) -> None:
    """Ask until a fact holds; failing that, show `state()`. The asking itself takes time enough."""
    limit = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < limit, f"still not so after {within_s} s: {state()}"
