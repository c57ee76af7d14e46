"""Questions that wait at an index server: turns, limits and refusals."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from offset_engine.core.messages import RoutesRequest
from offset_engine.core.values import Currency, PublicKey, Uid
from offset_engine.net.questions import WAIT_MS, WAITING_MAX, Questions

pytestmark = pytest.mark.anyio


def question(number: int) -> RoutesRequest:
    dest = PublicKey(bytes(32))
    return RoutesRequest(
        Uid(number.to_bytes(16, "big")), 0, Currency("FST"), 1, dest, None, None, 0, 1, 2, (), ()
    )


class Server:
    """Answers cost as many ms as it is told, on a clock that only they move."""

    def __init__(self, cost_ms: int = 0) -> None:
        self.now_ms = 0
        self.answered: list[tuple[int, int]] = []
        self.refused: list[tuple[int, int]] = []
        self._cost_ms = cost_ms
        self.questions = Questions(lambda: self.now_ms, self._answer, self._refuse)

    def _answer(self, conn: int, asked: RoutesRequest) -> None:
        self.now_ms += self._cost_ms
        self.answered.append((conn, int.from_bytes(asked.request_id, "big")))

    def _refuse(self, conn: int, asked: RoutesRequest) -> None:
        self.refused.append((conn, int.from_bytes(asked.request_id, "big")))

    async def finish(self, count: int) -> None:
        """Run until so many were dealt with."""
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.questions.run)
                while len(self.answered) + len(self.refused) < count:
                    await checkpoint()
                tasks.cancel_scope.cancel()


async def test_connections_take_turns() -> None:
    server = Server()
    for number in range(3):
        server.questions.put(7, question(number))
    server.questions.put(8, question(9))
    await server.finish(4)
    assert server.answered == [(7, 0), (8, 9), (7, 1), (7, 2)]


async def test_what_has_waited_too_long_is_refused_without_a_search() -> None:
    server = Server(cost_ms=WAIT_MS // 2 + 1)
    for number in range(4):
        server.questions.put(7, question(number))
    await server.finish(4)
    assert server.answered == [(7, 0), (7, 1)]
    assert server.refused == [(7, 2), (7, 3)]


async def test_a_connection_has_so_many_open_and_no_more_and_none_when_it_ended() -> None:
    server = Server()
    for number in range(WAITING_MAX + 1):
        server.questions.put(7, question(number))
    assert server.refused == [(7, WAITING_MAX)]
    server.questions.put(8, question(1))
    server.questions.forget(7)
    await server.finish(2)
    assert server.answered == [(8, 1)]
