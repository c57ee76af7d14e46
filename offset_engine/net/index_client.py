"""Keep one session with an index server: rotate on failure, report edges, pass questions and answers.

`core.index_session` decides what to say on one connection; this keeps a connection alive, in the user's
order starting at a random server, with back-off per round. Of the node's questions 64 are open at a server,
up to 1 024 more wait: for an answer to another one, or for a server. Those open when a connection ends are
put again to the next server. The node gives each up by its own deadline, so older ones are dropped.

A question that is better put elsewhere waits while the other servers are knocked at, one after the other. If
one answers, the session moves there, at most once a minute; if none does, all stays as it was.

Source: PROTOCOL.md, "Index servers"; network.md §4.11.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Final

import anyio
from anyio.abc import TaskGroup

from offset_engine.core.codec import decode_index_server_message, encode_index_client_message
from offset_engine.core.crypto import expand_seed, public_key_of, sign
from offset_engine.core.index_session import (
    OPEN_QUESTIONS_MAX,
    Fail,
    IndexSession,
    Output,
    RoutesAnswered,
    RoutesUnanswered,
    SendMessage,
    SessionUp,
)
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import Edge, RoutesRequest, RoutesResponse
from offset_engine.core.noise import Purpose
from offset_engine.core.values import (
    NamedAddress,
    PublicKey,
    RandValue,
    Signature,
    Timers,
    Uid,
    value,
)
from offset_engine.errors import DecodeError, TransportError
from offset_engine.net.connection import Connection
from offset_engine.net.round_trips import steadied
from offset_engine.net.transport import Endpoint, dial

_log: Final = logging.getLogger(__name__)

QUESTIONS_WAITING_MAX: Final = 1_024
_KNOCK_SHARE: Final = 4
"""Knocking may take this part of the time a question has."""


class IndexState(StrEnum):
    """Where the session is."""

    NO_SERVER = "no_server"
    CONNECTING = "connecting"
    REPORTING = "reporting"
    UP = "up"
    WAITING = "waiting"


@value
class IndexStatus:
    """For reports: which server, since when, and what went wrong last."""

    state: IndexState
    server: PublicKey | None
    since_ms: int
    """Monotonic."""
    last_error: str
    rtt_ms: int | None = None
    """About, as of the last keepalives; None = not measured on this connection."""


class IndexClient:
    """See the module. Configure at any time; a session exists while `run` runs."""

    def __init__(
        self,
        endpoint: Endpoint,
        timers: Timers,
        edges: Callable[[], tuple[Edge, ...]],
        on_routes: Callable[[RoutesResponse], None],
    ) -> None:
        """Know no server yet.

        Args:
            endpoint: who dials.
            timers: all waiting times.
            edges: what the node would report now (exact).
            on_routes: called with every answer to a question of this node.
        """
        self._endpoint = endpoint
        self._timers = timers
        self._edges = edges
        self._on_routes = on_routes
        self._expanded = expand_seed(endpoint.identity)
        self._node = public_key_of(endpoint.identity)
        self._servers: tuple[NamedAddress, ...] = ()
        self._changed = anyio.Event()
        self._waiting: deque[tuple[int, RoutesRequest]] = deque()
        self._open: dict[Uid, tuple[int, RoutesRequest]] = {}
        """Questions with this server, each with the moment it was first asked."""
        self._held: list[tuple[int, RoutesRequest]] = []
        """Questions that wait for the session to move, or to stay."""
        self._is_wanted_elsewhere = anyio.Event()
        self._moved_ms: int | None = None
        self._is_moving = False
        self._turn = 0
        """Place of the server in use, counted round and round."""
        self._serving: tuple[NamedAddress, anyio.CancelScope] | None = None
        self._session: IndexSession | None = None
        self._connection: Connection | None = None
        self._rtt_ms: int | None = None
        self._retime = anyio.Event()
        self._edges_changed = anyio.Event()
        self.on_change: Callable[[], None] = lambda: None
        self.status = IndexStatus(IndexState.NO_SERVER, None, 0, "")

    def set_servers(self, servers: tuple[NamedAddress, ...]) -> None:
        """Use these servers, in this order of preference."""
        if servers != self._servers:
            self._servers = servers
            self.retry()
            if self._serving is not None:
                used, scope = self._serving
                # A link that is up is the same server's, whatever its address is now.
                wanted = (
                    {server.relay for server in servers}
                    if self._connection is None
                    else {server.public_key for server in servers}
                )
                if used.relay not in wanted and used.public_key not in wanted:
                    scope.cancel()

    def retry(self) -> None:
        """Forget all waiting: the network is back."""
        self._changed.set()
        self._changed = anyio.Event()

    @property
    def is_current(self) -> bool:
        """Whether the server knows the node's edges as they are now."""
        is_told = self._session is not None and self._session.is_current
        return is_told and not self._edges_changed.is_set()

    def edges_changed(self) -> None:
        """What the node would report may be different now; cheap."""
        self._edges_changed.set()

    def ask(self, request: RoutesRequest, *, is_elsewhere: bool = False) -> None:
        """Put a question, now or as soon as possible; the oldest give way if too many wait.

        Args:
            request: the question.
            is_elsewhere: the server in use has no good answer; ask another one if there is one.
        """
        if is_elsewhere and self._may_move and len(self._held) < OPEN_QUESTIONS_MAX:
            self._held.append((self._now(), request))
            self._is_wanted_elsewhere.set()
            return
        self._waiting.append((self._now(), request))
        if len(self._waiting) > QUESTIONS_WAITING_MAX:
            self._waiting.popleft()
        self._ask_waiting()

    @property
    def _may_move(self) -> bool:
        """Whether there is another server, and the session has not moved just now: each move costs a FULL."""
        if self._session is None or len(self._servers) < 2:
            return False
        moved_ms = self._moved_ms
        return moved_ms is None or self._now() - moved_ms >= self._timers.link_lived_ms

    def _ask_waiting(self) -> None:
        while self._session is not None and self._waiting and len(self._open) < OPEN_QUESTIONS_MAX:
            asked_ms, request = self._waiting.popleft()
            if self._now() - asked_ms < self._timers.route_answer_ms:
                self._open[request.request_id] = (asked_ms, request)
                self._do(self._session.ask(request, self._now()))

    async def run(self) -> None:
        """Keep a session until cancelled."""
        self._turn = self._endpoint.random_bytes(1)[0]
        failures = 0
        while True:
            changed = self._changed
            if not self._servers:
                self._enter(IndexState.NO_SERVER, None)
                await changed.wait()
                self._turn = 0
                continue
            server = self._servers[self._turn % len(self._servers)]
            started_ms = self._now()
            await self._serve(server)
            self._turn += 1
            if self._is_moving:
                self._is_moving = False
                continue
            lived = self._now() - started_ms >= self._timers.link_lived_ms
            failures = 0 if lived or changed.is_set() else failures + 1
            self._enter(IndexState.WAITING, server.public_key, self.status.last_error)
            with anyio.move_on_after(self._pause_ms(failures) / 1000):
                await changed.wait()

    def _pause_ms(self, failures: int) -> int:
        rounds = failures // max(1, len(self._servers))
        base = self._timers.dial_backoff_min_ms << min(rounds, 16)
        ceiling = min(self._timers.dial_backoff_max_ms, base)
        return ceiling // 2 + ceiling * self._endpoint.random_bytes(1)[0] // 512

    # --- one session ----------------------------------------------------------------------------

    async def _serve(self, server: NamedAddress) -> None:
        """Use one server until the connection ends or the server is no longer wanted."""
        self._enter(IndexState.CONNECTING, server.public_key, self.status.last_error)
        with anyio.CancelScope() as scope:
            self._serving = (server, scope)
            try:
                async with anyio.create_task_group() as tasks:
                    await self._converse(server, tasks)
                    tasks.cancel_scope.cancel()
            except* TransportError as group:
                self._fail(str(group.exceptions[0]))
            finally:
                self._serving = None
                self._close()

    async def _converse(self, server: NamedAddress, tasks: TaskGroup) -> None:
        connection = await dial(
            self._endpoint, tasks, server.address, server.public_key, Purpose.INDEX_CLIENT
        )
        self._begin(connection, server)
        tasks.start_soon(self._watch_deadlines)
        tasks.start_soon(self._watch_edges)
        tasks.start_soon(self._watch_wishes, server)
        ended = await connection.wait_closed()
        if not self.status.last_error:
            self._fail(ended.reason or "the connection ended")

    def _begin(self, connection: Connection, server: NamedAddress) -> None:
        session = IndexSession(
            self._node,
            Uid(self._endpoint.random_bytes(16)),
            self._sign,
            self._edges(),
            self._timers,
        )
        self._session, self._connection = session, connection
        self._enter(IndexState.REPORTING, server.public_key)
        connection.on_pong = self._answered
        connection.ping()
        connection.deliver_to(self._receive)
        self._do(session.start(self._now()))
        self._ask_waiting()

    def _close(self) -> None:
        self._session = self._connection = self._rtt_ms = None
        self._waiting.extendleft(reversed(self._open.values()))
        self._open.clear()
        self._release()

    def _release(self) -> None:
        """Questions that waited for another server go to whichever there is."""
        self._waiting.extend(self._held)
        self._held.clear()

    def _sign(self, message: bytes) -> Signature:
        return sign(self._expanded, message)

    def _rand(self) -> RandValue:
        return RandValue(self._endpoint.random_bytes(16))

    def _now(self) -> int:
        return self._endpoint.now_ms()

    def _receive(self, payload: bytes) -> None:
        if self._session is None or self._connection is None:
            return
        try:
            message = decode_index_server_message(payload)
        except DecodeError as error:
            _log.warning("index server sent something unreadable: %s", error)
            self._connection.close(CloseCode.PROTOCOL)
            return
        if message is not None:
            self._do(self._session.received(message, self._now(), self._rand()))

    def _do(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case SendMessage(message):
                    if self._connection is not None:
                        self._connection.send_nowait(encode_index_client_message(message))
                case SessionUp():
                    self._enter(IndexState.UP, self.status.server)
                case RoutesAnswered(request_id, response):
                    self._open.pop(request_id, None)
                    self._on_routes(response)
                case RoutesUnanswered(request_id):
                    # Another server may know, unless it is too late by now.
                    if (unanswered := self._open.pop(request_id, None)) is not None:
                        self._waiting.appendleft(unanswered)
                case Fail(fault):
                    self._fail(fault.value)
                    if self._connection is not None:
                        self._connection.close(CloseCode.NORMAL)
                    self._close()
        self._retime.set()
        self._ask_waiting()

    async def _watch_deadlines(self) -> None:
        while self._session is not None:
            self._retime = anyio.Event()
            at_ms = self._session.deadline_ms()
            if at_ms is None:
                await self._retime.wait()
                continue
            with anyio.move_on_after(max(0, at_ms - self._now()) / 1000):
                await self._retime.wait()
            if at_ms <= self._now():
                self._do(self._session.on_deadline(self._now(), self._rand()))

    async def _watch_edges(self) -> None:
        """Look at the node's edges again after changes, at most some times per update interval."""
        while True:
            await self._edges_changed.wait()
            self._edges_changed = anyio.Event()
            if self._session is not None:
                self._do(self._session.update_edges(self._edges(), self._now(), self._rand()))
            await anyio.sleep(self._timers.index_delta_ms / 8_000)

    # --- moving -----------------------------------------------------------------------------------

    async def _watch_wishes(self, used: NamedAddress) -> None:
        """Move to another server when a question is better put there, if one of them answers."""
        while True:
            await self._is_wanted_elsewhere.wait()
            self._is_wanted_elsewhere = anyio.Event()
            if not self._held:
                continue  # wanted from a session before this one
            place = await self._find_another(used)
            if place is not None and self._serving is not None:
                self._turn, self._is_moving, self._moved_ms = place - 1, True, self._now()
                self._serving[1].cancel()
                return
            self._release()
            self._ask_waiting()

    async def _find_another(self, used: NamedAddress) -> int | None:
        """The place of the next server after this one that answers; None if none does in time."""
        servers = self._servers
        keys = [server.public_key for server in servers]
        first = keys.index(used.public_key) + 1 if used.public_key in keys else 0
        with anyio.move_on_after(self._timers.route_answer_ms / _KNOCK_SHARE / 1000):
            for place in (*range(first, len(servers)), *range(first)):
                if keys[place] == used.public_key or not await self._is_there(servers[place]):
                    continue
                return place if servers == self._servers else None
        return None

    async def _is_there(self, server: NamedAddress) -> bool:
        """Whether a server lets us in; what it says is for the session to hear."""
        is_there = False
        try:
            async with anyio.create_task_group() as tasks:
                connection = await dial(
                    self._endpoint, tasks, server.address, server.public_key, Purpose.INDEX_CLIENT
                )
                is_there = True
                connection.close(CloseCode.NORMAL)
                tasks.cancel_scope.cancel()
        except* TransportError as group:
            _log.info("another index server does not answer: %s", group.exceptions[0])
        return is_there

    def _answered(self, rtt_ms: int) -> None:
        shown_ms = steadied(self.status.rtt_ms, rtt_ms)
        if self._connection is not None and shown_ms != self.status.rtt_ms:
            self._rtt_ms = shown_ms
            self.status = replace(self.status, rtt_ms=shown_ms)
            self.on_change()

    def _fail(self, error: str) -> None:
        self._enter(self.status.state, self.status.server, error)

    def _enter(self, state: IndexState, server: PublicKey | None, error: str = "") -> None:
        self.status = IndexStatus(state, server, self._now(), error, self._rtt_ms)
        self.on_change()
