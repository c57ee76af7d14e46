"""A terminal for tests: a program on a pty of its own, with everything it painted."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 15.0
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes standard input the controlling terminal, so that closing it hangs up, and becomes the program."""


class Terminal:
    """A program running in a terminal of `columns` by `rows`; leave the block to end it."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        stderr: int | None = None,
    ) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SSH_", "TEXTUAL"))}
        settings = {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "LINES": "", "COLUMNS": ""}
        every = {k: v for k, v in {**clean, **settings, **(env or {})}.items() if v}
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _TAKE_TERMINAL, sys.executable, *argv],
            stdin=slave,
            stdout=slave,
            stderr=slave if stderr is None else stderr,
            env=every,
            start_new_session=True,
        )
        os.close(slave)
        self.output = b""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the terminal."""
        if self.master >= 0:
            os.close(self.master)
            self.master = -1

    def read(self, wait_s: float = 0.0) -> bytes:
        """Take what was painted since."""
        found = b""
        while select.select([self.master], [], [], wait_s if not found else 0)[0]:
            try:
                data = os.read(self.master, 65_536)
            except OSError:
                break
            if not data:
                break
            found += data
        self.output += found
        return found

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, is_so: Callable[[], bool], *, reading: bool = True, what: str = "") -> None:
        """Wait until something is so; the terminal is read meanwhile, or not."""
        late = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < late, f"never: {what}\n{self.output[-3000:]!r}"
            if reading:
                self.read(0.01)
            else:
                select.select([], [], [], 0.01)

    def until_painted(self, text: str) -> None:
        self.until(lambda: text.encode() in self.output, what=text)

    def ended(self, *, reading: bool = True) -> int:
        """Wait until the program has ended; its exit code."""
        self.until(lambda: self.process.poll() is not None, reading=reading, what="the end")
        if reading:
            self.read()
        return self.process.wait()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
