"""Nodes and servers as processes that may be killed at any moment, and questions that survive it."""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from anyio.streams.text import TextReceiveStream

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.files import write_identity

ROOT = Path(__file__).parent.parent.parent


class NodeDownError(Exception):
    """The process died before it answered."""


class RefusedError(Exception):
    """The node answered with an error."""


class _Lines:
    """Cuts the output of a process into lines."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdout is not None
        self._text = TextReceiveStream(process.stdout)
        self._rest = ""

    async def next(self) -> str | None:
        """The next line, or None at the end."""
        while "\n" not in self._rest:
            try:
                self._rest += await self._text.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                return None
        line, self._rest = self._rest.split("\n", 1)
        return line


async def _spawn(module: str, *argv: str, errors: Path) -> anyio.abc.Process:
    with errors.open("ab") as log:
        return await anyio.open_process(
            [sys.executable, "-m", module, *argv],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )


async def _end(process: anyio.abc.Process | None) -> None:
    if process is not None:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await process.aclose()


class ServerProcess:
    """`strelay` or `stindex` at a free port."""

    def __init__(self, program: str, flag: str, number: int, place: Path) -> None:
        self.program = program
        self.flag = flag
        self.identity = PrivateKey(bytes([number]) * 32)
        self.place = place
        self.address = ""
        self.process: anyio.abc.Process | None = None

    @property
    def key(self) -> str:
        return public_key_of(self.identity).to_text()

    async def start(self) -> None:
        identity = self.place / f"{self.program}.ident"
        write_identity(identity, self.identity)
        self.process = await _spawn(
            f"offset_engine.programs.{self.program}",
            *("--json", "--idfile", str(identity), self.flag, "127.0.0.1:0"),
            errors=self.place / "errors.txt",
        )
        line = await _Lines(self.process).next()
        assert line is not None, (self.place / "errors.txt").read_text()
        self.address = json.loads(line)["address"]

    async def end(self) -> None:
        await _end(self.process)


class NodeProcess:
    """A node that can be killed and started again on its database."""

    def __init__(
        self, name: str, number: int, place: Path, tasks: TaskGroup, timers: dict[str, int]
    ) -> None:
        self.name = name
        self.identity = PrivateKey(bytes([number]) * 32)
        self.place = place
        self.tasks = tasks
        self.timers = timers
        self.process: anyio.abc.Process | None = None
        self.answers = 0
        self.kills = 0
        self._alive = anyio.Event()
        self._asked = 0
        self._waiting: dict[int, tuple[anyio.Event, list[dict[str, object]]]] = {}

    @property
    def key(self) -> str:
        return public_key_of(self.identity).to_text()

    @property
    def errors(self) -> Path:
        return self.place / f"{self.name}.errors.txt"

    async def start(self) -> None:
        self.process = await _spawn(
            "tests.e2e.node_process",
            self.identity.hex(),
            str(self.place / f"{self.name}.db"),
            json.dumps(self.timers),
            errors=self.errors,
        )
        lines = _Lines(self.process)
        ready = await lines.next()
        assert ready is not None, self.errors.read_text()
        assert json.loads(ready) == {"ready": self.key}
        self.tasks.start_soon(self._read, self.process, lines)
        self._alive.set()

    async def kill(self) -> None:
        """SIGKILL: nothing in the process hears of it."""
        assert self.process is not None
        self.kills += 1
        self._alive = anyio.Event()
        await _end(self.process)

    async def end(self) -> None:
        await _end(self.process)

    async def _read(self, process: anyio.abc.Process, lines: _Lines) -> None:
        while (line := await lines.next()) is not None:
            answer = json.loads(line)
            self.answers += 1
            waiting = self._waiting.pop(answer["id"], None)
            if waiting is not None:
                waiting[1].append(answer)
                waiting[0].set()
        if process is self.process:
            for event, _ in self._waiting.values():
                event.set()
            self._waiting.clear()

    async def ask(self, what: str, *arguments: object) -> object:
        """Ask, and ask again after every restart until there is an answer."""
        while True:
            await self._alive.wait()
            try:
                return await self._ask_once(what, arguments)
            except (NodeDownError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await anyio.sleep(0.005)  # until whoever killed it has said so

    async def _ask_once(self, what: str, arguments: tuple[object, ...]) -> object:
        process = self.process
        assert process is not None
        assert process.stdin is not None
        self._asked += 1
        number = self._asked
        found: list[dict[str, object]] = []
        event = anyio.Event()
        self._waiting[number] = event, found
        question = json.dumps({"id": number, "do": what, "with": arguments})
        await process.stdin.send(question.encode() + b"\n")
        await event.wait()
        if not found:
            raise NodeDownError(self.name)
        if "error" in found[0]:
            raise RefusedError(str(found[0]["error"]))
        return found[0]["ok"]


async def come_true(fact: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    """Wait until a fact that has to be asked for holds; False if it took too long."""
    with anyio.move_on_after(within_s):
        while not await fact():  # noqa: ASYNC110 - other processes announce nothing
            await anyio.sleep(0.01)
        return True
    return False


async def until(fact: Callable[[], object], within_s: float, state: Callable[[], object]) -> None:
    """Wait until a fact holds; failing that, show `state()`."""
    try:
        with anyio.fail_after(within_s):
            while not fact():  # noqa: ASYNC110 - other processes announce nothing
                await anyio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"still not so after {within_s} s: {state()}") from None
