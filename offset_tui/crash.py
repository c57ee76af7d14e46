"""What the app does when something goes wrong with itself or its terminal.

A fault in a screen ends the app with exit code 1 and one line naming the log; Textual's own report would
print every local variable, and secrets with them, into the terminal. A terminal that stops reading is painted
anew once it reads again; one that is gone ends the app.

Source: tui.md §2.3, §2.6.
"""

import gc
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from rich.text import Text
from textual.app import App

from offset_tui.doors import AppOptions

_log: Final = logging.getLogger(__name__)

EXIT_CRASHED: Final = 1
EXIT_TERMINAL_LOST: Final = 129
"""As if the terminal's hang-up had come as a signal."""
_LOOK_S: Final = 0.5
"""How often the terminal is looked at."""
_PAUSE_S: Final = 2.0
"""After so long without a key somebody reads, and does not notice that rubbish is looked for."""
_WRITER: Final = "textual-output"
"""The thread of Textual that ends with an OSError when the terminal is gone."""
_UNTIDY: Final = 5
"""Looks through the young objects since the last look through all of them."""


class ProcessApp(App[None]):
    """What every app of ours needs; see the module."""

    log_path: Path | None = None
    """What the crash report names."""
    terminal_lost = False
    """Nobody is there to see anything: the process must not touch the terminal any more."""

    def __init__(self, options: AppOptions | None = None, **settings: Any) -> None:  # noqa: ANN401
        """Take `options`; everything else goes to Textual (`driver_class`, `ansi_color` …)."""
        self.options = AppOptions() if options is None else options
        super().__init__(**settings)
        if self.options.is_low_bandwidth:
            self.animation_level = "none"

    def on_mount(self) -> None:
        """Begin to look after the terminal; a subclass's own `on_mount` is called as well."""
        if hasattr(self._driver, "has_dropped"):
            self.set_interval(_LOOK_S, self._look_at_terminal, name="terminal")

    def _look_at_terminal(self) -> None:
        driver: Any = self._driver
        if driver.is_terminal_lost:
            self.lose_terminal()
        elif driver.has_dropped and driver.is_drained:
            driver.has_dropped = False
            self.screen.refresh(layout=True)
        elif gc.get_count()[2] >= _UNTIDY and time.monotonic() - driver.last_input > _PAUSE_S:
            gc.collect()

    def lose_terminal(self) -> None:
        """End, since there is nobody to see anything."""
        if not self.terminal_lost:
            self.terminal_lost = True
            _log.info("the terminal is gone")
            self.exit(return_code=EXIT_TERMINAL_LOST)

    @property
    def must_leave_terminal(self) -> bool:
        """Whether one more byte to the terminal might fail, or wait for ever."""
        return self.terminal_lost or bool(getattr(self._driver, "is_stuck", False))

    def _print_error_renderables(self) -> None:
        """Textual's hook for last words: said only to somebody who can read them."""
        if not self.must_leave_terminal:
            super()._print_error_renderables()

    def _fatal_error(self) -> None:
        """Textual's hook for a fault nobody handles: the trace goes to the log, without any values."""
        error = sys.exc_info()[1] or self._exception
        if error is not None:
            write_down("the app stopped because of a fault of its own", error)
        where = "the log" if self.log_path is None else str(self.log_path)
        self._exit_renderables.append(
            Text(f"offset: stopped because of a fault of its own; what happened is in {where}")
        )
        self._close_messages_no_wait()


def write_down(what: str, error: BaseException) -> None:
    """Log a fault with the lines of its trace, but without the values of any variable."""
    _log.error(what, exc_info=error)


@contextmanager
def faults_to_the_log() -> Iterator[None]:
    """While the block runs, faults of other threads and warnings go to the log and never to the screen."""
    on_thread, on_unraisable = threading.excepthook, sys.unraisablehook
    threading.excepthook = _thread_failed
    sys.unraisablehook = _could_not_raise
    logging.captureWarnings(capture=True)
    last_resort, logging.lastResort = logging.lastResort, None
    screen_handlers = _handlers_on_the_screen()
    for one in screen_handlers:
        logging.getLogger().removeHandler(one)
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = on_thread, on_unraisable
        logging.captureWarnings(capture=False)
        logging.lastResort = last_resort
        for one in screen_handlers:
            logging.getLogger().addHandler(one)


def _handlers_on_the_screen() -> list[logging.Handler]:
    """Handlers that would write across the screen."""
    streams = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return [
        one
        for one in logging.getLogger().handlers
        if isinstance(one, logging.StreamHandler) and one.stream in streams
    ]


def _thread_failed(hook: threading.ExceptHookArgs) -> None:
    if isinstance(hook.exc_value, OSError) and getattr(hook.thread, "name", "") == _WRITER:
        _log.info("the terminal cannot be written any more: %s", hook.exc_value.strerror)
        return
    if hook.exc_value is not None and not isinstance(hook.exc_value, SystemExit):
        name = "a thread" if hook.thread is None else f"the thread {hook.thread.name}"
        write_down(f"{name} stopped", hook.exc_value)


def _could_not_raise(hook: "sys.UnraisableHookArgs") -> None:
    error: BaseException | None = hook.exc_value
    if error is not None:
        trace: TracebackType | None = hook.exc_traceback
        write_down("a fault where nobody could handle it", error.with_traceback(trace))
