"""`offset bench startup`: how soon the app is on the screen, and how quickly it answers while its card works.

The app runs in a terminal of its own (80 × 24), on a card with two friends. Another process begins 100
payments a second through that card.

| figure | measured |
|---|---|
| first paint | from starting the program until its first screen has arrived, warm; the median of a few starts |
| key to paint | from pressing a key that changes the whole screen until the new screen has arrived |
| idle bytes | what arrives while nobody does anything, friends connected and no payments |
| memory | resident, of the app with its node, after all of that |

Floor of the first paint: the interpreter, the imports of Textual and one empty screen. POSIX only.
"""

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from offset_engine.bench.figures import BenchError, Figures, quantile, rounded
from offset_engine.core.values import value

_CARD: Final = "Measured"
_COLUMNS, _ROWS = 80, 24
_WAIT_S: Final = 30.0
_QUIET_S: Final = 0.7
"""So long nothing must arrive until a screen counts as complete."""
_KEYS: Final = ("0", "1")
"""Help and Home: pressed in turn, each paints the whole screen anew."""
_ESCAPES: Final = re.compile(rb"\x1b(\[[0-9;?<>$]*[a-zA-Z]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])")
_WORD: Final = re.compile(rb"[A-Za-z]{4,}")
_EMPTY_APP: Final = "from textual.app import App\nApp().run()"


@value
class StartupPlan:
    """How much to measure; the default takes about half a minute."""

    starts: int = 3
    keys: int = 100
    idle_s: float = 10


def measure_startup(plan: StartupPlan) -> Figures:
    """Measure everything of the module's table.

    Raises:
        BenchError: there are no pseudo-terminals here, or the app did not do what it should.
    """
    if sys.platform == "win32":
        raise BenchError("the app can be measured in a pseudo-terminal only, which Windows lacks")
    with tempfile.TemporaryDirectory(prefix="offset-bench-") as name:
        place = Path(name)
        with _Friends(place / "store") as friends:
            friends.wait_for("ready")
            floors = [_first_paint_ms(["-c", _EMPTY_APP], place) for _ in range(plan.starts)]
            argv = ["-m", "offset_tui", "--store", str(place / "store"), "--card", _CARD]
            _first_paint_ms(argv, place)  # what is compiled or read for the first time
            paints = [_first_paint_ms(argv, place) for _ in range(plan.starts)]
            return {
                "first_paint_ms": rounded(quantile(paints, 0.5)),
                "first_paint_floor_ms": rounded(quantile(floors, 0.5)),
                **_measure_running(plan, argv, place, friends),
            }


def _first_paint_ms(argv: Sequence[str], place: Path) -> float:
    started = time.perf_counter()
    with _Screen(argv, place) as screen:
        return (screen.wait_painted() - started) * 1000


def _measure_running(
    plan: StartupPlan, argv: Sequence[str], place: Path, friends: "_Friends"
) -> Figures:
    with _Screen(argv, place) as screen:
        screen.wait_painted()
        friends.wait_for("online")
        screen.settle()
        marks = screen.marks()
        idle = screen.count_bytes(plan.idle_s)
        begun = time.perf_counter()
        friends.tell("go")
        friends.wait_for("paid")
        taken = [
            screen.press_ms(_KEYS[number % 2], marks[number % 2]) for number in range(plan.keys)
        ]
        paid = friends.paid()
        return {
            "key_to_paint_p50_ms": rounded(quantile(taken, 0.5)),
            "key_to_paint_p99_ms": rounded(quantile(taken, 0.99)),
            "keys": plan.keys,
            "mediated_per_second": rounded(paid / (time.perf_counter() - begun)),
            "rss_mib": screen.rss_mib(),
            "idle_bytes_per_second": rounded(idle),
        }


class _Screen:
    """A program in a terminal of its own; ended with the block."""

    def __init__(self, argv: Sequence[str], place: Path) -> None:
        import fcntl  # noqa: PLC0415 - POSIX only
        import pty  # noqa: PLC0415
        import struct  # noqa: PLC0415
        import termios  # noqa: PLC0415

        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        env = {name: text for name, text in os.environ.items() if not name.startswith("SSH_")}
        env |= {"TERM": "xterm-256color", "XDG_STATE_HOME": str(place)}
        for name in ("LINES", "COLUMNS", "NO_COLOR", "COLORTERM"):
            env.pop(name, None)
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        late = time.perf_counter() + _WAIT_S
        while self._process.poll() is None and time.perf_counter() < late:
            self._read(0.05)  # its last words must not fill the terminal
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def _read(self, wait_s: float) -> bytes:
        """What has arrived; waits at most so long for the first byte."""
        if not select.select([self._master], [], [], wait_s)[0]:
            return b""
        try:
            return os.read(self._master, 1 << 20)
        except OSError:
            return b""

    def _arrive(self, what: re.Pattern[bytes]) -> float:
        """Wait until something has arrived; when that was."""
        found, late = b"", time.perf_counter() + _WAIT_S
        while not what.search(found):
            if time.perf_counter() > late or self._process.poll() is not None:
                last = _ESCAPES.sub(b" ", found)[-300:].decode(errors="replace")
                raise BenchError(f"the app did not paint what it should: {last!r}")
            found += self._read(0.05)
        return time.perf_counter()

    def wait_painted(self) -> float:
        """Wait until the last row of the first screen has arrived; when that was."""
        return self._arrive(re.compile(rb"\x1b\[%d;1H[^\x1b]*(\x1b\[[0-9;]*m[^\x1b]+)+" % _ROWS))

    def settle(self) -> bytes:
        """Wait until nothing arrives any more; what did."""
        found, late = b"", time.perf_counter() + _WAIT_S
        while time.perf_counter() < late:
            data = self._read(_QUIET_S)
            if not data:
                return found
            found += data
        raise BenchError("the screen of the app does not come to rest")

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._master, key.encode())

    def marks(self) -> list[re.Pattern[bytes]]:
        """For each of `_KEYS` a word only its screen has, seen last of all: when it is there, all is."""
        painted: list[list[bytes]] = []
        for key in (*_KEYS, *_KEYS):
            self.press(key)
            painted.append(_WORD.findall(_ESCAPES.sub(b" ", self.settle())))
        first, second = painted[2:]
        found = [
            [one for one in mine if one not in other]
            for mine, other in ((first, second), (second, first))
        ]
        if not all(found):
            raise BenchError("the screens of the app cannot be told apart")
        return [re.compile(re.escape(words[-1])) for words in found]

    def count_bytes(self, within_s: float) -> float:
        """Bytes a second that arrive while nothing is pressed."""
        count, begun = 0, time.perf_counter()
        while (left := begun + within_s - time.perf_counter()) > 0:
            count += len(self._read(left))
        return count / within_s

    def press_ms(self, key: str, mark: re.Pattern[bytes]) -> float:
        """Press a key; ms until its screen is there."""
        while self._read(0):
            pass
        started = time.perf_counter()
        self.press(key)
        return (self._arrive(mark) - started) * 1000

    def rss_mib(self) -> float | None:
        """Resident memory; None where the system does not tell."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return None
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return None if found is None else rounded(int(found[1]) / 1024)


class _Friends:
    """`mediated_process`, which pays through the card; ended with the block."""

    def __init__(self, store: Path) -> None:
        argv = [sys.executable, "-m", "offset_engine.bench.mediated_process", str(store), _CARD]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._heard = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.kill()
        self._process.wait()

    def tell(self, line: str) -> None:
        """Say something to it."""
        pipe: IO[bytes] | None = self._process.stdin
        if pipe is not None:
            pipe.write(line.encode() + b"\n")
            pipe.flush()

    def _hear(self, wait_s: float) -> bool:
        pipe = self._process.stdout
        if pipe is None or not select.select([pipe], [], [], wait_s)[0]:
            return False
        data = os.read(pipe.fileno(), 65_536).decode()
        self._heard += data
        return bool(data)

    def wait_for(self, word: str) -> None:
        """Wait until it has said this."""
        late = time.perf_counter() + 2 * _WAIT_S
        while word not in self._heard:
            if not self._hear(1) and (
                time.perf_counter() > late or self._process.poll() is not None
            ):
                raise BenchError("the friends of the measured card did not do their part")

    def paid(self) -> int:
        """How many payments it has made, as it said last."""
        while self._hear(0):
            pass
        said = re.findall(r"paid (\d+)\n", self._heard)
        return int(said[-1]) if said else 0
