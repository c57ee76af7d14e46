"""A thread of its own with an event loop for everything that must go on while the screen stands still.

```
main thread                          node thread
UI loop ── open(make) ─────────────▶ async with make() as value:   a running node, a connection, servers
        ◀─ a Life with its value ───     wait until stopped
        ── life.stop() ────────────▶     leave the block
        ◀─ on_end(why) ─────────────     it ended by itself
```

Each `Life` is a task of its own: one that fails ends no other, and is reported once. The thread never keeps
the process alive: who leaves does not wait for it longer than asked.

Source: design R47; tui.md §2.2.
"""

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from offset_engine.errors import OffsetError

_log: Final = logging.getLogger(__name__)

STOP_S: Final = 10.0
"""How long nodes may take to stop."""
_START_S: Final = 10.0

_T = TypeVar("_T")

Make = Callable[[], AbstractAsyncContextManager[_T]]
"""Makes what lives on the node's loop; entered, used and left there."""


class Life(Generic[_T]):
    """Something on the node's loop from its start to its end; made by `NodeThread.open`."""

    def __init__(self, name: str, on_end: Callable[[Exception | None], None] | None) -> None:
        """Not begun yet; see `NodeThread.open`."""
        self.name: Final = name
        self._on_end = on_end
        self._started: Future[_T] = Future()
        self._ended: Future[None] = Future()
        self._scope: anyio.CancelScope | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_stopping = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._ended.done()

    async def live(self, make: Make[_T]) -> None:
        """Run from start to end (node's loop)."""
        self._loop = asyncio.get_running_loop()
        failure: Exception | None = None
        try:
            with anyio.CancelScope() as self._scope:
                if not self._is_stopping:
                    async with make() as value:
                        self._started.set_result(value)
                        await anyio.sleep_forever()
        except Exception as error:  # noqa: BLE001 - a life that fails ends no other
            failure = single(error)
        finally:
            self._end(failure)

    def _end(self, failure: Exception | None) -> None:
        has_started = self._started.done()
        if not has_started:
            self._started.set_exception(failure or OffsetError("it was stopped while it started"))
        elif failure is not None:
            _log.error("%s ended", self.name, exc_info=failure)
        self._ended.set_result(None)
        if has_started and not self._is_stopping and self._on_end is not None:
            self._on_end(failure)

    def request_stop(self) -> "Future[None]":
        """Have it end; the future is done when it has."""
        self._is_stopping = True
        loop, scope = self._loop, self._scope
        if not self._ended.done() and loop is not None and scope is not None:
            try:
                loop.call_soon_threadsafe(scope.cancel)
            except RuntimeError:
                _log.warning("%s: its loop was closed before it had ended", self.name)
        return self._ended

    async def stop(self, within_s: float = STOP_S) -> bool:
        """Have it end, and wait for that; False if it did not in time."""
        ending = asyncio.wrap_future(self.request_stop())
        done, _ = await asyncio.wait([ending], timeout=within_s)
        return bool(done)

    async def value(self) -> _T:
        """What lives, once it has started.

        Raises:
            OffsetError: it could not start (or any other exception it failed with).
        """
        starting = asyncio.wrap_future(self._started)
        try:
            await asyncio.wait([starting])
        except BaseException:
            self.request_stop()
            raise
        return starting.result()


class NodeThread:
    """See the module."""

    def __init__(self) -> None:
        """Start the thread; it is ready when this returns."""
        self._ready: Future[BlockingPortal] = Future()
        self._lives: list[Life[Any]] = []
        self._thread = threading.Thread(target=self._main, name="offset-node", daemon=True)
        self._thread.start()
        self.portal: Final = self._ready.result(_START_S)
        """Into the node's loop."""
        self._loop: asyncio.AbstractEventLoop = self.portal.call(asyncio.get_running_loop)

    def _main(self) -> None:
        try:
            anyio.run(self._be_open)
        except Exception:  # noqa: BLE001 - nobody else would hear of it
            _log.exception("the thread of the nodes stopped")

    async def _be_open(self) -> None:
        async with BlockingPortal() as portal:
            self._ready.set_result(portal)
            await portal.sleep_until_stopped()

    async def open(
        self,
        name: str,
        make: Make[_T],
        on_end: Callable[[Exception | None], None] | None = None,
    ) -> Life[_T]:
        """Have something live on the node's loop; returns once it has started.

        Args:
            name: for the log.
            make: makes it; called on the node's loop.
            on_end: told (in the node's thread) when it ends without having been stopped, and why.

        Raises:
            OffsetError: it could not start (or any other exception it failed with).
        """
        life: Life[_T] = Life(name, on_end)
        self._lives = [one for one in self._lives if not one.is_over]
        self._lives.append(life)
        asyncio.run_coroutine_threadsafe(life.live(make), self._loop)
        await life.value()
        return life

    def close(self, within_s: float = STOP_S) -> bool:
        """Stop everything and the thread; blocks until that is done. False if it did not end in time.

        May be called from any thread but the node's, and more than once.
        """
        endings = [one.request_stop() for one in self._lives]
        _, late = concurrent.futures.wait(endings, timeout=within_s)
        if late:
            return False
        if self._thread.is_alive() and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self.portal.stop(), self._loop)
        self._thread.join(1.0)
        return not self._thread.is_alive()


def single(error: Exception) -> Exception:
    """The one failure inside groups of one; the group itself if there are several."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
