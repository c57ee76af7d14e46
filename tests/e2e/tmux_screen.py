"""Terminals as people have them: tmux, 80 by 24, keys in and text out.

A `Tmux` is a server of its own; each `Pane` is one program in one terminal. Whatever is asked of a screen is
asked again until it is so or until it took too long: nothing here waits for a fixed time.
Source: tui.md §15.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from offset_tui.dialogs.base import ARMED_AFTER_S

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 15.0
"""How long anything may take, also on a busy machine."""
LOOK_S = 0.03
"""Between two looks at a screen."""
_LOG_TAIL = 2_000
"""How much of each log a failed test shows when its program has ended, in characters."""
COLUMNS, ROWS = 80, 24

needs_tmux = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="tmux is not installed (Debian: tmux)"
)

OFFSET = (sys.executable, "-P", "-m", "offset_tui")
"""`offset`, from this clone."""


class Tmux:
    """A tmux server of its own; everything it started ends with it."""

    def __init__(self, place: Path) -> None:
        """Start nothing yet.

        Args:
            place: a short path: sockets cannot have long ones. Homes of users go there too.
        """
        self.place = place
        self._socket = place / "tmux"

    def __call__(self, *argv: str, given: str | None = None) -> str:
        """Run a tmux command; returns what it printed."""
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", *argv],
            input=given,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
            env=clean_environment(self.place),
        )
        assert done.returncode == 0, f"tmux {shlex.join(argv)}: {done.stderr}"
        return done.stdout

    def open(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        size: tuple[int, int] = (COLUMNS, ROWS),
    ) -> "Pane":
        """Run a program in a terminal of its own.

        Args:
            name: of the terminal.
            argv: the program, found by its path.
            env: on top of a clean environment.
            size: columns and rows.
        """
        given = {"PYTHONPATH": str(ROOT), **(env or {})}
        # As from somebody's shell; tmux's own word on how a program ended is lost now and then.
        ending = self.place / f"{name}.ended"
        program = shlex.join(["env", *(f"{k}={v}" for k, v in given.items()), *argv])
        command = f"{program}; echo $? >{shlex.quote(str(ending))}"
        width, height = map(str, size)
        new = ("new-session", "-d", "-s", name, "-x", width, "-y", height, "-c", str(self.place))
        options = (
            *("start-server", ";", "set", "-g", "remain-on-exit", "on", ";"),
            *("set", "-g", "status", "off", ";", "set", "-s", "set-clipboard", "on", ";"),
            *("set", "-sg", "escape-time", "10", ";"),
            *("set", "-g", "default-terminal", "screen-256color", ";"),
        )
        self(*options, *new, command)
        return Pane(self, name, ending)

    def close(self) -> None:
        """End the server and, by hanging up, all programs."""
        with suppress(AssertionError):
            self("kill-server")


class Pane:
    """One terminal."""

    def __init__(self, tmux: Tmux, name: str, ending: Path) -> None:
        self._tmux = tmux
        self._ending = ending
        self.name = name
        self.acts = 0
        """Interactions so far: see `act` and `paste`."""
        self.log: list[str] = []
        """What was done, to be shown when a test fails."""

    # --- in -------------------------------------------------------------------------------------

    def keys(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self.log.append(" ".join(keys))
        self._tmux("send-keys", "-t", self.name, *keys)

    def press_armed(self, key: str) -> None:
        """Press a key that something just asked for; what asks is deaf for its first moments, as it should be."""
        time.sleep(2 * ARMED_AFTER_S + LOOK_S)
        self.keys(key)

    def next_field(self) -> None:
        """Tab, and wait for it: Textual gives what is typed ahead of it to the field before.

        Only where nothing blinks (`--low-bandwidth`), or a cursor would be taken for the answer.
        """
        self.wait_still(0.15)
        before = self.painted
        self.keys("Tab")
        self._until(lambda: self.painted != before, "the next field")

    def type(self, text: str) -> None:
        """Type characters."""
        self.log.append(repr(text))
        self._tmux("send-keys", "-t", self.name, "-l", text)

    def act(self, key: str) -> None:
        """Press a key that counts as an interaction: Enter, a shortcut, a choice in a list."""
        self.acts += 1
        self.keys(key)

    def paste(self, text: str, *, is_bracketed: bool = True) -> None:
        """Paste a text, as an interaction; the terminal says that it is a paste, or does not."""
        self.acts += 1
        self.log.append(f"paste {len(text)} characters")
        self._tmux("load-buffer", "-b", "pasted", "-", given=text)
        how = ("-p",) if is_bracketed else ()
        self._tmux("paste-buffer", *how, "-d", "-r", "-b", "pasted", "-t", self.name)

    # --- out ------------------------------------------------------------------------------------

    @property
    def screen(self) -> str:
        """What is on the screen, row by row, without trailing spaces."""
        return self._tmux("capture-pane", "-p", "-t", self.name)

    @property
    def painted(self) -> str:
        """The same with colours, as escape sequences."""
        return self._tmux("capture-pane", "-p", "-e", "-t", self.name)

    def _ask(self, what: str) -> str:
        return self._tmux("display-message", "-p", "-t", self.name, what).strip()

    @property
    def pid(self) -> int:
        """The program."""
        shell = self._ask("#{pane_pid}")
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    @property
    def is_over(self) -> bool:
        """Whether the program has ended."""
        return self._ending.exists()

    def wait_for(self, what: str | Callable[[str], object], within_s: float = WAIT_S) -> str:
        """Wait until a text, or what a function looks for, is on the screen; returns the screen.

        A text may be broken over lines on the screen.
        """
        late = time.monotonic() + within_s
        while True:
            screen = self.screen
            if what in flat(screen) if isinstance(what, str) else what(screen):
                return screen
            assert time.monotonic() < late, self._story(f"never on the screen: {what}", screen)
            assert not self.is_over, self._story(f"it has ended; never seen: {what}", screen)
            time.sleep(LOOK_S)

    def wait_gone(self, text: str, within_s: float = WAIT_S) -> str:
        """Wait until a text is off the screen; returns the screen."""
        return self.wait_for(lambda screen: text not in flat(screen), within_s)

    def wait_still(self, for_s: float = 0.5, within_s: float = WAIT_S) -> str:
        """Wait until nothing has changed for so long; returns the screen."""
        last, since = self.screen, time.monotonic()
        late = since + within_s
        while time.monotonic() < since + for_s:
            time.sleep(LOOK_S)
            screen = self.screen
            if screen != last:
                last, since = screen, time.monotonic()
            assert time.monotonic() < late, self._story("the screen never rests", screen)
        return last

    def ended(self, within_s: float = WAIT_S) -> int:
        """Wait until the program has ended; its exit code."""
        self._until(lambda: self.is_over and self._ending.read_text(), "its end", within_s)
        return int(self._ending.read_text())

    def artifact(self) -> str:
        """The text in our form that stands on the screen, as somebody selects it: line by line."""
        lines = [line.strip() for line in self.wait_for("offset1:").splitlines()]
        first = next(at for at, line in enumerate(lines) if line.startswith("offset1:"))
        found = []
        for line in lines[first:]:
            if not re.fullmatch(r"[A-Za-z0-9_:-]+", line):
                break
            found.append(line)
        return "\n".join(found)

    def _until(self, fact: Callable[[], object], what: str, within_s: float = WAIT_S) -> None:
        late = time.monotonic() + within_s
        while not fact():
            assert time.monotonic() < late, self._story(f"never: {what}", self.screen)
            time.sleep(LOOK_S)

    # --- the end --------------------------------------------------------------------------------

    def hang_up(self) -> None:
        """Close the terminal, as closing its window does."""
        self._tmux("kill-session", "-t", self.name)

    def _story(self, problem: str, screen: str) -> str:
        story = f"{self.name}: {problem}\nkeys: {self.log[-12:]}\n{screen}"
        for log in self._tmux.place.rglob("*.log") if self.is_over else ():
            story += f"\n{log.name}: {log.read_text()[-_LOG_TAIL:]}"
        return story


def flat(screen: str) -> str:
    """One line: rows joined, borders and runs of blanks as one blank."""
    return " ".join(re.sub("[│┃▎▊▌▐█]", " ", screen).split())


def clean_environment(home: Path) -> dict[str, str]:
    """Nothing of the machine the tests run on but what programs need to be found."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "SHELL": "/bin/sh",
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@contextmanager
def terminals() -> Iterator[Tmux]:
    """A tmux server with a directory of its own, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="offset-", ignore_cleanup_errors=True) as place:
        tmux = Tmux(Path(place))
        try:
            yield tmux
        finally:
            tmux.close()


# --- processes --------------------------------------------------------------------------------------


def command_line(pid: int) -> list[str]:
    """Of a process; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def processes_with(*words: str) -> list[int]:
    """Processes whose command line has all these words; words of a test's own directory make it its own."""
    numbers = (int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit())
    return [pid for pid in numbers if set(words) <= set(command_line(pid))]


def end_all(pids: Sequence[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to processes that may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def until(fact: Callable[[], object], what: str, within_s: float = WAIT_S) -> None:
    """Wait until something that is not on a screen is so."""
    late = time.monotonic() + within_s
    while not fact():
        assert time.monotonic() < late, f"never: {what}"
        time.sleep(LOOK_S)
