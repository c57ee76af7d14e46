"""Cards that run in processes of their own: starting one, and asking one to stop.

The process is `offset run CARD`, cut off from the terminal and its session: what happens to either happens
to no payment. Where the system ends every process of somebody who logs out (`KillUserProcesses` of systemd
with lingering off), only a service of the user's own survives, see README, "Become friends".
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from offset_engine.cards import CardInfo, CardState, CardStore
from offset_engine.errors import OffsetError, TransportError

START_S: Final = 20.0
"""How long a card may take to open its door."""
STOP_S: Final = 15.0
_LOOK_S: Final = 0.02
_LAST_WORDS: Final = 4_096


def is_possible() -> bool:
    """Whether this system has what it takes: local sockets, and sessions to be cut off from."""
    return hasattr(socket, "AF_UNIX") and hasattr(os, "setsid")


def start(store: CardStore, name: str, logs: Path, passphrase: str | None = None) -> None:
    """Run a local card in a process of its own; returns once its door is open.

    Args:
        store: where the card is.
        name: the card; nobody runs it.
        logs: the directory its log goes to.
        passphrase: of a protected card; handed over through a pipe.

    Raises:
        TransportError: it did not start, with the reason.
    """
    if not is_possible():
        raise TransportError("this system cannot run a card in the background")
    with tempfile.TemporaryFile() as said:
        log = logs / f"{store.card(name).directory.name}.log"
        process = _spawn(store, name, log, passphrase, said)
        _until(
            lambda: process.poll() is not None or _is_open(store.card(name).socket),
            START_S,
            "the card does not start in the background",
        )
        code = process.poll()
        if code is not None:
            raise TransportError(f"the card does not start in the background: {_words(said, code)}")


def program() -> list[str]:
    """How to start `offset`: with the very code that runs here, and nothing of the current directory."""
    return [sys.executable, "-P", "-m", "offset_tui"]


def _spawn(
    store: CardStore, name: str, log: Path, passphrase: str | None, said: IO[bytes]
) -> "subprocess.Popen[bytes]":
    argv = [*program(), "run", name, "--store", str(store.directory), "--log-file", str(log)]
    if passphrase is not None:
        argv += ["--passphrase-fd", "0"]
    try:
        process = subprocess.Popen(  # noqa: S603 - our own program
            argv,
            stdin=subprocess.DEVNULL if passphrase is None else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=store.directory,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
            start_new_session=True,
        )
    except OSError as error:
        raise TransportError(f"cannot start a process: {error.strerror}") from None
    # Whenever it ends, somebody has to take note, or it stays in the table of processes.
    threading.Thread(target=process.wait, name="offset-reaper", daemon=True).start()
    if passphrase is not None and process.stdin is not None:
        with contextlib.suppress(OSError), process.stdin as pipe:
            pipe.write(passphrase.encode())
    return process


def _is_open(door: Path | None) -> bool:
    """Whether somebody listens there; the file may be left over from a process that was killed."""
    if door is None:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(door))
        except OSError:
            return False
    return True


def _words(said: IO[bytes], code: int) -> str:
    said.seek(0)
    text = said.read(_LAST_WORDS).decode(errors="replace").strip()
    last = text.splitlines()[-1] if text else f"it ended with code {code}"
    return last.removeprefix("offset: ")


def stop(store: CardStore, name: str) -> None:
    """Have the process that runs a card end, whichever it is; returns once the card is off.

    Raises:
        OffsetError: it cannot be told to, or does not end.
    """
    card = store.card(name)
    if card.state is not CardState.RUNNING:
        return
    _tell_to_end(card)
    _until(
        lambda: store.card(name).state is not CardState.RUNNING,
        STOP_S,
        f"process {card.process} goes on running the card",
    )


def _tell_to_end(card: CardInfo) -> None:
    if card.process is None or card.process == os.getpid():
        raise OffsetError(f"it is not known which process runs the card {card.name}")
    try:
        os.kill(card.process, signal.SIGTERM)
    except ProcessLookupError:
        return
    except OSError as error:
        raise OffsetError(f"cannot stop process {card.process}: {error.strerror}") from None


def _until(is_so: Callable[[], bool], within_s: float, otherwise: str) -> None:
    late = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > late:
            raise TransportError(otherwise)
        time.sleep(_LOOK_S)
