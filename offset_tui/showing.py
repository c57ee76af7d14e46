"""Runs an app to its end: its loop, its signals, what runs behind it, and the exit code.

| exit code | the app ended because |
|---|---|
| 0 | its user left it |
| 1 | of a fault of its own, or the node behind it died |
| 128 + n | signal n came: 129 also when the terminal is gone, 130 ctrl+c, 143 SIGTERM |

Whatever happens on the screen, what runs behind it is closed before the process ends, or after `LATE_S` and
the time closing may take the process ends without. Source: tui.md §2.2, §2.4.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Final

import anyio.to_thread

from offset_tui.crash import EXIT_CRASHED, EXIT_TERMINAL_LOST, ProcessApp
from offset_tui.signals import LATE_S, ending_in_order

_log: Final = logging.getLogger(__name__)


def show(app: ProcessApp, close: Callable[[], bool], late_s: float = LATE_S) -> int:
    """Run the app in this (the main) thread; does not return if the terminal must not be touched.

    Args:
        app: made, not running yet.
        close: closes what runs behind it, in bounded time, from any thread and more than once; False if
            something is stuck.
        late_s: how long the app may take to end after a signal.

    Returns:
        The exit code.
    """
    return asyncio.run(_show(app, close, late_s))


async def _show(app: ProcessApp, close: Callable[[], bool], late_s: float) -> int:
    def stop(code: int) -> None:
        if code == EXIT_TERMINAL_LOST:
            app.terminal_lost = True
        _log.info("ending: signal %s", signal.Signals(code - 128).name)
        app.exit(return_code=code)

    def close_late() -> None:
        _log.error("the app did not end in time")
        close()

    with ending_in_order(stop, close_late, late_s):
        try:
            await app.run_async(mouse=app.options.has_mouse)
        except OSError as error:  # the last words could not be written
            app.terminal_lost = True
            _log.info("the terminal is gone: %s", error)
        is_closed = await anyio.to_thread.run_sync(close)
        code = EXIT_CRASHED if app.return_code is None else app.return_code
        if not is_closed:
            _log.error("what runs behind the app did not stop in time")
            code = code or EXIT_CRASHED
        if app.must_leave_terminal or not is_closed:
            # The interpreter's own end would write to the terminal once more, or wait for what is stuck.
            logging.shutdown()
            os._exit(code)
        return code
