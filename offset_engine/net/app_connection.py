"""An app's end of its connection to a node: made again when it is lost, requests with their results.

```
run:  dial ─▶ Welcome ─▶ connected ─────lost─────▶ pause (doubling, up to a minute) ─▶ dial …
```

Results come in the order of the requests. Who waits for one when the connection is lost gets a
`TransportError`, and nothing is ever said twice: whether a lost command was carried out is for its
caller to find out. What the node says unasked goes to the owner's functions.

Source: PROTOCOL.md, "Apps"; apps.md §3.
"""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskGroup, TaskStatus

from offset_engine.client import CommandRefusedError
from offset_engine.core.api import Batch, Command, CommandFault
from offset_engine.core.app_codec import decode_node_message, encode_app_message
from offset_engine.core.app_messages import (
    APP_VERSION,
    Answer,
    AppPermissions,
    Changed,
    Hello,
    PermissionsChanged,
    Question,
    Report,
    Request,
    Result,
    Welcome,
)
from offset_engine.core.link import PURPOSE_LIMITS, CloseCode
from offset_engine.core.noise import Purpose
from offset_engine.core.values import PublicKey, Timers
from offset_engine.errors import DecodeError, TransportError
from offset_engine.net.app_socket import dial_socket
from offset_engine.net.connection import Connection, NetLimits
from offset_engine.net.transport import Endpoint, dial, monotonic_ms

BACKOFF_MAX_MS: Final = 60_000
_REQUEST_BYTES_MAX: Final = next(
    one.to_responder for one in PURPOSE_LIMITS if one.purpose == Purpose.APP
)

Dial: TypeAlias = Callable[[TaskGroup], Awaitable[Connection]]
"""Makes a connection to the node that runs in the task group; raises TransportError."""


def by_address(endpoint: Endpoint, address: str, node: PublicKey) -> Dial:
    """Reach a node at its port for apps; `endpoint` holds the app's identity."""

    async def make(tasks: TaskGroup) -> Connection:
        return await dial(endpoint, tasks, address, node, Purpose.APP)

    return make


def by_socket(path: Path, limits: NetLimits = NetLimits()) -> Dial:  # noqa: B008  a value
    """Reach a node of this user through its socket file."""
    return partial(_by_socket, path, limits)


async def _by_socket(path: Path, limits: NetLimits, tasks: TaskGroup) -> Connection:
    return await dial_socket(tasks, path, limits)


class _Waiter:
    """Where a caller finds the result of its request."""

    __slots__ = ("done", "result")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.result: Result | None = None


class AppConnection:
    """See the module. Have its `run` started."""

    def __init__(
        self,
        make: Dial,
        timers: Timers,
        on_message: Callable[[Changed | Report], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Talk to the node that `make` connects to; nothing happens before `run`.

        Args:
            make: makes one connection.
            timers: how long to wait for the node and between attempts.
            on_message: told what the node says unasked.
            on_lost: told why a connection that was there has gone.
        """
        self._dial = make
        self._timers = timers
        self._on_message = on_message
        self._on_lost = on_lost
        self._connection: Connection | None = None
        self._why = "there is no connection to the card yet"
        self._connected = anyio.Event()
        self._has_started = False
        self._numbers = 0
        self._waiting: dict[int, _Waiter] = {}
        self.permissions = AppPermissions()
        """What the node lets us do, as it said last."""
        self.node: PublicKey | None = None
        """The node's key, as it said last."""

    # --- the connection -------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether requests can be made."""
        return self._connection is not None

    async def wait_connected(self) -> None:
        """Wait until requests can be made."""
        while self._connection is None:
            await self._connected.wait()

    async def run(
        self, *, once: bool = False, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep a connection until cancelled.

        Args:
            once: make one attempt, and return when its connection is lost.
            task_status: told when the first connection is there.

        Raises:
            TransportError: with `once`, why there was no connection.
        """
        failures = 0
        async with anyio.create_task_group() as tasks:
            while True:
                started = monotonic_ms()
                await self._talk(tasks, task_status)
                if once:
                    break
                has_lived = monotonic_ms() - started >= self._timers.link_lived_ms
                failures = 0 if has_lived else failures + 1
                await anyio.sleep(self._pause_ms(failures) / 1000)
        if self.node is None:
            raise TransportError(self._why)

    def _pause_ms(self, failures: int) -> int:
        pause_ms = self._timers.dial_backoff_min_ms * 2 ** min(failures, 16)
        # Any spread will do: it keeps many apps from returning to a node at one moment.
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        return int(min(pause_ms, self._timers.dial_backoff_max_ms, BACKOFF_MAX_MS) * spread)

    async def _talk(self, tasks: TaskGroup, task_status: TaskStatus[None]) -> None:
        """Make a connection and listen to the node until it is lost; `_why` says what went wrong."""
        connection: Connection | None = None
        why = "it was closed here"
        try:
            connection = await self._dial(tasks)
            await self._greet(connection)
            if not self._has_started:
                self._has_started = True
                task_status.started()
            while True:
                self._take(await connection.receive())
        except TransportError as error:
            why = _sentence(connection, error)
        except DecodeError as error:
            why = f"the card says what this program cannot read: {error}"
            if connection is not None:
                connection.close(CloseCode.PROTOCOL)
        finally:
            if connection is not None:
                connection.close()
            self._end(why)

    async def _greet(self, connection: Connection) -> None:
        with anyio.move_on_after(self._timers.handshake_ms / 1000):
            welcome = decode_node_message(await connection.receive())
            if not isinstance(welcome, Welcome):
                raise DecodeError("the node did not say which version it speaks")
            if not welcome.version_min <= APP_VERSION <= welcome.version_max:
                raise TransportError("this node and this program are of incompatible versions")
            self.permissions, self.node = welcome.permissions, welcome.node
            connection.send_nowait(encode_app_message(Hello(APP_VERSION)))
            self._connection = connection
            self._connected.set()
            return
        raise TransportError("the node does not answer")

    def _end(self, why: str) -> None:
        """There is no connection any more: tell everybody who waits."""
        self._why = why
        if self._connection is None:
            return
        self._connection = None
        self._connected = anyio.Event()
        for waiter in self._waiting.values():
            waiter.done.set()
        self._on_lost(f"the connection to the card was lost: {why}")

    def _take(self, payload: bytes) -> None:
        match decode_node_message(payload):
            case Result() as result:
                waiter = self._waiting.get(result.number)
                if waiter is not None:
                    waiter.result = result
                    waiter.done.set()
            case (Changed() | Report()) as message:
                self._on_message(message)
            case PermissionsChanged(permissions):
                self.permissions = permissions
            case Welcome():
                raise DecodeError("a node greets once")
            case None:
                pass  # a later version's

    # --- requests -------------------------------------------------------------------------------

    async def request(self, what: Command | Batch | Question) -> Answer:
        """Ask the node and wait for its result.

        Raises:
            CommandRefusedError: the node refused, or it would.
            TransportError: there is no connection, or it was lost.
        """
        connection = self._connection
        if connection is None:
            raise TransportError(f"not connected to the card: {self._why}")
        self._numbers += 1
        number, waiter = self._numbers, _Waiter()
        payload = _encoded(Request(number, what))
        self._waiting[number] = waiter
        try:
            connection.send_nowait(payload)
            await waiter.done.wait()
        finally:
            del self._waiting[number]
        result = waiter.result
        if result is None:
            raise TransportError(
                "the connection to the card was lost before its answer, and whether the command "
                f"was carried out is not known: {self._why}"
            )
        if result.fault is not None:
            raise CommandRefusedError(result.fault, result.detail)
        if result.answer is None:
            raise TransportError("the card answered nothing")
        return result.answer

    def say(self, what: Question) -> None:
        """Ask the node without waiting for its result."""
        if self._connection is not None:
            self._numbers += 1
            self._connection.send_nowait(_encoded(Request(self._numbers, what)))


_ENDS: Final = {
    CloseCode.NOT_AUTHORIZED: "it does not admit this program; its owner has to trust its ticket",
    CloseCode.OVERLOADED: "it lets nobody in who does not read its answers, nor too many at once",
    CloseCode.SHUTDOWN: "it was switched off",
    CloseCode.VERSION: "it and this program are of incompatible versions",
}


def _sentence(connection: Connection | None, error: TransportError) -> str:
    """Why there is no connection, in our own words where we know better."""
    end = None if connection is None else connection.ended
    found = None if end is None or end.code is None else _ENDS.get(end.code)
    return str(error) if found is None else found


def _encoded(request: Request) -> bytes:
    try:
        payload = encode_app_message(request)
    except OverflowError as error:
        raise CommandRefusedError(CommandFault.INVALID_AMOUNT, str(error)) from None
    except ValueError as error:
        raise CommandRefusedError(CommandFault.INVALID_ARGUMENT, str(error)) from None
    if len(payload) > _REQUEST_BYTES_MAX:
        raise CommandRefusedError(CommandFault.LIMIT_REACHED, "so much at once")
    return payload
