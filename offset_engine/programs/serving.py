"""Runs a server in the foreground until somebody stops it.

SIGTERM, SIGHUP and SIGINT (ctrl+c) are the ordinary end: everybody connected is told, and the program exits
with 0. Where a system has no such signals for asyncio (Windows), ctrl+c does the same.
"""

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Protocol, TypeVar

import anyio
from anyio.abc import TaskStatus

from offset_engine.net.index_engine import ENGINES
from offset_engine.programs.arguments import Output

_T = TypeVar("_T")


def add_engine_flag(parser: argparse.ArgumentParser) -> None:
    """Let whoever starts an index server choose its graph engine."""
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="pure",
        help="how routes are found: pure for up to 100000 nodes; array for a million, which needs numpy "
        "and numba (offset-card[index]); auto: array if they are installed (default pure)",
    )


class Server(Protocol):
    """Something that listens, reports where through `task_status`, and serves until cancelled."""

    def __call__(self, *, task_status: TaskStatus[tuple[str, ...]]) -> Coroutine[None, None, None]:
        """Start serving."""


def serve(server: Server, on_ready: Callable[[tuple[str, ...]], None], output: Output) -> None:
    """Run `server`; `on_ready` is told the addresses it really listens at.

    Raises:
        TransportError: it cannot listen there.
    """
    try:
        with contextlib.suppress(KeyboardInterrupt):
            anyio.run(partial(_serve, server, on_ready))
    except BaseExceptionGroup as group:
        # One failure ends every task; what matters is that failure, not the groups around it.
        raise _single(group) from None
    output.detail("stopped")


def finish_or_stop(work: Callable[[], Coroutine[None, None, _T]]) -> _T:
    """Run `work` to its end; SIGTERM, SIGHUP and ctrl+c cancel it, so that it cleans up behind itself.

    Raises:
        KeyboardInterrupt: it was stopped.
    """
    try:
        done = anyio.run(_finish_or_stop, work)
    except BaseExceptionGroup as group:
        raise _single(group) from None
    if not done:
        raise KeyboardInterrupt
    return done[0]


def interrupt_when_terminated() -> None:
    """Let SIGTERM and SIGHUP end the program as ctrl+c does, so that it cleans up behind itself."""
    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)


async def _finish_or_stop(work: Callable[[], Coroutine[None, None, _T]]) -> list[_T]:
    done: list[_T] = []
    async with anyio.create_task_group() as tasks:
        if sys.platform != "win32":
            await tasks.start(_stop_on_signal, tasks.cancel_scope)
        done.append(await work())
        tasks.cancel_scope.cancel()
    return done


async def _serve(server: Server, on_ready: Callable[[tuple[str, ...]], None]) -> None:
    async with anyio.create_task_group() as tasks:
        if sys.platform != "win32":
            await tasks.start(_stop_on_signal, tasks.cancel_scope)
        on_ready(await tasks.start(server))


async def _stop_on_signal(
    scope: anyio.CancelScope, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
        task_status.started()
        async for _ in received:
            scope.cancel()


def _single(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
