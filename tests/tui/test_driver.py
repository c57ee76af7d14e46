"""The names of Textual that are not public and that ours depends on are still there, and mean the same."""

import inspect
import queue
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from textual.app import App

if sys.platform == "win32":
    pytest.skip("the driver is for POSIX terminals", allow_module_level=True)

from textual.drivers import _writer_thread
from textual.drivers.linux_driver import LinuxDriver

from offset_tui import crash
from offset_tui.crash import ProcessApp
from offset_tui.driver import SafeDriver

PYPROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"


class Stopped:
    """A file whose reader has stopped reading."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, text: str) -> None:
        self.written.append(text)

    def flush(self) -> None:
        pass


def driver_without_terminal() -> SafeDriver:
    driver = SafeDriver.__new__(SafeDriver)
    driver._writer_thread = _writer_thread.WriterThread(Stopped())  # type: ignore[arg-type]
    return driver


def test_textual_is_pinned_to_the_version_these_names_were_read_in():
    (pin,) = re.findall(r"\"(textual==[^\"]+)\"", PYPROJECT.read_text())
    assert pin == f"textual=={metadata.version('textual')}"


@pytest.mark.parametrize(
    "name", ["write", "close", "process_message", "stop_application_mode", "_run_input_thread"]
)
def test_every_method_replaced_is_one_of_textuals(name: str):
    assert callable(getattr(LinuxDriver, name))
    assert name in vars(SafeDriver)


@pytest.mark.parametrize("name", ["_fatal_error", "_print_error_renderables"])
def test_every_hook_replaced_is_one_of_textuals(name: str):
    assert callable(getattr(App, name))
    assert name in vars(ProcessApp)


def test_the_fields_used_are_the_ones_textual_uses():
    start = inspect.getsource(LinuxDriver.start_application_mode)
    assert "self._writer_thread = WriterThread(self._file)" in start
    assert "target=self._run_input_thread" in start
    app = inspect.getsource(App)
    for name in ("_exit_renderables", "_close_messages_no_wait", "_exception"):
        assert f"self.{name}" in app
    thread = _writer_thread.WriterThread(Stopped())  # type: ignore[arg-type]
    assert thread.name == crash._WRITER
    assert isinstance(thread._queue, queue.Queue)
    assert thread._queue.maxsize == _writer_thread.MAX_QUEUED_WRITES > 0


def test_what_does_not_fit_is_dropped_and_said_so():
    driver = driver_without_terminal()
    writer = driver._writer_thread
    assert writer is not None
    writer.is_alive = lambda: True  # type: ignore[method-assign]  # it just does not write
    for number in range(_writer_thread.MAX_QUEUED_WRITES):
        driver.write(f"{number}")
    assert not driver.has_dropped
    assert not driver.is_drained
    driver.write("one too many")
    assert driver.has_dropped
    assert writer._queue.qsize() == _writer_thread.MAX_QUEUED_WRITES


def test_nothing_waits_for_a_thread_that_has_ended():
    driver = driver_without_terminal()
    for _ in range(2 * _writer_thread.MAX_QUEUED_WRITES):
        driver.write("nobody writes this")
    assert driver.is_drained
    assert not driver.has_dropped
    writer = driver._writer_thread
    assert writer is not None
    writer.start()
    driver.write("something")
    driver.close()
    assert not driver.is_stuck
    assert writer._file.written == ["something"]  # type: ignore[attr-defined]
