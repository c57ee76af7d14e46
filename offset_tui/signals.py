"""SIGTERM, SIGHUP and SIGINT end the app in order; if it does not come to its end, a watchdog ends the process.

```
signal ─▶ handler ─┬─▶ UI loop: app.exit(128 + n) ─▶ main closes the cards ─▶ exit
                   └─▶ watchdog: after LATE_S closes the cards itself, and exits at once
```

The handler runs in the main thread between two steps of the interpreter, also while the event loop is held
up. Textual itself handles none of these, and the default would leave the terminal in its alternate screen.
Source: tui.md §2.4.
"""

import asyncio
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

LATE_S: Final = 5.0
"""How long the app may take to end after a signal before the watchdog acts."""
EXIT_BY_SIGNAL: Final = 128
"""Plus the number of the signal: the exit code."""


def handled() -> tuple[signal.Signals, ...]:
    """The signals that end the app, as far as the system has them."""
    if sys.platform == "win32":
        return (signal.SIGINT, signal.SIGTERM)
    return (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_in_order(
    stop: Callable[[int], None],
    on_late: Callable[[], None],
    late_s: float = LATE_S,
) -> Iterator[None]:
    """Handle the signals while the block runs; to be entered in the main thread on its event loop.

    Args:
        stop: has the app end with this exit code; called on the loop.
        on_late: closes what must be closed; called in the watchdog's thread if the block has not ended
            in time. The process ends when it returns.
        late_s: how long the block may take after the first signal.
    """
    loop = asyncio.get_running_loop()
    came: queue.SimpleQueue[int] = queue.SimpleQueue()  # the one queue a handler may put into
    is_over = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        came.put(number)
        loop.call_soon_threadsafe(stop, EXIT_BY_SIGNAL + number)

    def watch() -> None:
        number = came.get()
        if number and not is_over.wait(late_s):
            try:
                on_late()
            finally:
                os._exit(EXIT_BY_SIGNAL + number)

    before = {one: signal.signal(one, handle) for one in handled()}
    watchdog = threading.Thread(target=watch, name="offset-watchdog", daemon=True)
    watchdog.start()
    try:
        yield
    finally:
        is_over.set()
        came.put(0)  # nothing came: let the thread end
        for one, handler in before.items():
            signal.signal(one, handler)
