"""Questions for routes that wait at an index server: fair between connections, one search at a time.

A search may take hundreds of milliseconds of a busy loop, and nothing else is done meanwhile. So between two
searches everybody else gets as long as the last one took (at most `REST_MS`); connections take turns, and what
has waited for `WAIT_MS` is refused as busy, which costs next to nothing.

Source: network.md T61; PROTOCOL.md, "Index servers: routes".
"""

from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import anyio

from offset_engine.core.messages import RoutesRequest

WAITING_MAX: Final = 64
"""Open questions of one connection; its node keeps no more open either."""
WAIT_MS: Final = 1_500
"""Then a question is refused: who asks gives up soon after, and should ask elsewhere before."""
REST_MS: Final = 100

Act: TypeAlias = Callable[[int, RoutesRequest], None]


class Questions:
    """See the module."""

    def __init__(self, now_ms: Callable[[], int], answer: Act, refuse: Act) -> None:
        """Hold nothing.

        Args:
            now_ms: monotonic clock.
            answer: searches and answers; may take long.
            refuse: answers that there is no time.
        """
        self._now_ms = now_ms
        self._answer = answer
        self._refuse = refuse
        self._waiting: dict[int, deque[tuple[int, RoutesRequest]]] = {}
        """Connection → its questions with the moment they came; whose turn it is comes first."""
        self._arrived = anyio.Event()

    def put(self, conn: int, question: RoutesRequest) -> None:
        """Take a question; refuse it if this connection has too many."""
        waiting = self._waiting.setdefault(conn, deque())
        if len(waiting) >= WAITING_MAX:
            self._refuse(conn, question)
            return
        waiting.append((self._now_ms(), question))
        self._arrived.set()

    def forget(self, conn: int) -> None:
        """The connection ended."""
        self._waiting.pop(conn, None)

    async def run(self) -> None:
        """Answer, forever."""
        while True:
            if not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            took_ms = self._next()
            await anyio.sleep(min(took_ms, REST_MS) / 1000)

    def _next(self) -> int:
        """Deal with one question of whose turn it is; how many ms that took."""
        conn = next(iter(self._waiting))
        waiting = self._waiting.pop(conn)
        arrived_ms, question = waiting.popleft()
        if waiting:
            self._waiting[conn] = waiting
        started_ms = self._now_ms()
        if started_ms - arrived_ms > WAIT_MS:
            self._refuse(conn, question)
        else:
            self._answer(conn, question)
        return self._now_ms() - started_ms
