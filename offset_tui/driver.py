"""A terminal driver that never makes the app wait for the terminal.

Textual writes through a thread with a short queue, and when the terminal stops reading (a stalled SSH link,
a closed lid) putting something into the full queue blocks the whole event loop. Here what does not fit is
dropped, and the app paints anew once the terminal reads again; a terminal that is gone is noticed.

Uses names of Textual that are not public; `tests/tui/test_driver.py` fails when they change.
Source: tui.md §2.3.
"""

import contextlib
import logging
import queue
import select
import time
from typing import Final

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

_log: Final = logging.getLogger(__name__)

CLOSE_S: Final = 1.0
"""How long the last bytes may take."""


class SafeDriver(LinuxDriver):
    """See the module."""

    has_dropped = False
    """Something was not written: what is on the screen may be wrong."""
    last_input = 0.0
    """Monotonic seconds of the last key or click."""
    _is_input_broken = False

    def write(self, data: str) -> None:
        """Have something written; dropped if the terminal does not keep up, or is gone."""
        writer = self._writer_thread
        if writer is None or not writer.is_alive():
            return
        try:
            writer._queue.put_nowait(data)  # noqa: SLF001 - `WriterThread.write` waits
        except queue.Full:
            self.has_dropped = True

    @property
    def is_drained(self) -> bool:
        """Whether everything was written that was not dropped."""
        writer = self._writer_thread
        return writer is None or writer._queue.empty()  # noqa: SLF001 - there is no other way to know

    @property
    def is_terminal_lost(self) -> bool:
        """Whether nobody is there any more: it hung up, or cannot be read or written."""
        writer = self._writer_thread
        if self._is_input_broken or (writer is not None and not writer.is_alive()):
            return True
        poller = select.poll()
        poller.register(self.fileno, 0)
        return any(event & (select.POLLHUP | select.POLLNVAL) for _, event in poller.poll(0))

    @property
    def is_stuck(self) -> bool:
        """After `close`: whether the last bytes still wait for the terminal to read."""
        writer = self._writer_thread
        return writer is not None and writer.is_alive()

    def process_message(self, message: Message) -> None:
        """Hand on what was typed (input thread)."""
        self.last_input = time.monotonic()
        super().process_message(message)

    def stop_application_mode(self) -> None:
        """Restore the terminal; frames still waiting would only be wiped out, so they make room."""
        writer = self._writer_thread
        if writer is not None:
            with contextlib.suppress(queue.Empty):
                while True:
                    writer._queue.get_nowait()  # noqa: SLF001 - as above
        super().stop_application_mode()

    def close(self) -> None:
        """End the writing thread; a terminal that reads nothing is not waited for."""
        writer = self._writer_thread
        if writer is None:
            return
        with contextlib.suppress(queue.Full):
            writer._queue.put_nowait(None)  # noqa: SLF001 - `WriterThread.stop` waits for ever
        writer.join(CLOSE_S)

    def _run_input_thread(self) -> None:
        """Read keys until the end; a terminal that cannot be read is lost, and no crash."""
        try:
            self.run_input_thread()
        except Exception:  # noqa: BLE001 - without keys the app is of no use, whatever it was
            self._is_input_broken = True
            _log.warning("the terminal cannot be read any more", exc_info=True)
