"""A small app with everything around it that the real one has; `test_process.py` runs it in a terminal.

`python -m tests.tui.process_app STATE [--late SECONDS]` paints twenty changing rows and reports to the file
STATE, once in 20 ms each: how often its UI loop and its node's loop went round, and what was dropped.
Keys: q leaves, x crashes with a secret in a local variable, d lets the node die, l shows that logging is quiet,
h holds up the UI loop for good.
"""

import json
import logging
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from textual.app import ComposeResult
from textual.widgets import Static

from offset_engine.errors import StoreError
from offset_engine.programs import logs
from offset_tui import signals
from offset_tui.crash import ProcessApp, faults_to_the_log
from offset_tui.driver import SafeDriver
from offset_tui.node_thread import NodeThread
from offset_tui.showing import show

SECRET = "correct horse battery staple"


class Node:
    def __init__(self) -> None:
        self.beats = 0
        self.may_die = False

    async def run(self) -> None:
        while not self.may_die:
            self.beats += 1
            await anyio.sleep(0.02)
        raise StoreError("the disk is gone")


@asynccontextmanager
async def running(state: Path) -> AsyncIterator[Node]:
    node = Node()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.run)
            yield node
            tasks.cancel_scope.cancel()
    finally:
        state.with_suffix(".closed").write_text("closed")


class TestApp(ProcessApp):
    def __init__(self, nodes: NodeThread, state: Path) -> None:
        super().__init__(driver_class=SafeDriver)
        self.nodes = nodes
        self.state = state
        self.ui_beats = 0

    def compose(self) -> ComposeResult:
        for row in range(20):
            yield Static(f"row {row}", id=f"row{row}")

    async def on_mount(self) -> None:
        make = partial(running, self.state)
        self.life = await self.nodes.open("node", make, self.node_ended)
        self.node = await self.life.value()
        self.set_interval(0.02, self.beat)

    def beat(self) -> None:
        self.ui_beats += 1
        for row in range(20):
            self.query_one(f"#row{row}", Static).update(f"row {row} {'x' * (self.ui_beats % 60)}")
        driver = self._driver
        assert isinstance(driver, SafeDriver)
        report = {"ui": self.ui_beats, "node": self.node.beats, "dropped": driver.has_dropped}
        report["streams"] = [
            type(one).__name__
            for one in logging.getLogger().handlers
            if type(one) is logging.StreamHandler
        ]
        new = self.state.with_suffix(".new")
        new.write_text(json.dumps(report))
        new.replace(self.state)

    def node_ended(self, why: Exception | None) -> None:
        self.call_from_thread(self.exit, return_code=1, message=f"the node stopped: {why}")

    def key_q(self) -> None:
        self.exit()

    def key_d(self) -> None:
        self.node.may_die = True

    def key_h(self) -> None:
        self.state.with_suffix(".held").write_text("held")
        threading.Event().wait()

    def key_x(self) -> None:
        passphrase = SECRET
        self.query_one(f"#missing{len(passphrase)}")

    def key_l(self) -> None:
        logging.getLogger("anything").error("LOUD LOG")
        warnings.warn("LOUD WARNING", stacklevel=1)
        thread = threading.Thread(target=self.fail)
        thread.start()
        thread.join()
        self.state.with_suffix(".logged").write_text("logged")

    def fail(self) -> None:
        raise ValueError("LOUD THREAD")


def main() -> int:
    state = Path(sys.argv[1])
    late_s = float(sys.argv[3]) if "--late" in sys.argv else signals.LATE_S
    logging.basicConfig()  # what some library may do: a handler that writes across the screen
    with logs.written_to("info", str(state.with_suffix(".log"))), faults_to_the_log():
        nodes = NodeThread()
        app = TestApp(nodes, state)
        app.log_path = state.with_suffix(".log")
        started = time.monotonic()
        code = show(app, nodes.close, late_s)
        logging.getLogger("test").info("ended after %d s", time.monotonic() - started)
        return code


if __name__ == "__main__":
    sys.exit(main())
