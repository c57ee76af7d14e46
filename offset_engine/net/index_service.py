"""The index server behind sockets: the pure `core.index` and its driver, for nodes and other servers.

Questions for routes wait in `net.questions`, one search at a time with time for everybody else in between:
updates, ticks and pings never wait for more than one search.

Source: PROTOCOL.md, "Index servers".
"""

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import anyio

from offset_engine.core import index as index_core
from offset_engine.core.codec import (
    decode_index_client_message,
    decode_index_peer_message,
    encode_index_peer_message,
    encode_index_server_message,
)
from offset_engine.core.index import (
    FederationLimits,
    IndexLimits,
    IndexServer,
    IndexStats,
    PeerStats,
)
from offset_engine.core.messages import IndexPeerMessage, RoutesRequest, TimeHash
from offset_engine.core.route_terms import GraphEngine
from offset_engine.core.values import PublicKey
from offset_engine.errors import DecodeError
from offset_engine.net.questions import Questions
from offset_engine.net.services import Alarm, Clients
from offset_engine.net.transport import PURPOSE_INDEX, Connection, Endpoint

_log: Final = logging.getLogger(__name__)

_TICK_RANDOM_BYTES: Final = 16
_OUTPUT_BYTES: Final = 65_536
"""So much is handed to the connection of a server; the rest waits where it can still be replaced."""


class IndexService:
    """Drives an `IndexServer`."""

    purpose = int(PURPOSE_INDEX)

    def __init__(
        self,
        endpoint: Endpoint,
        limits: IndexLimits = IndexLimits(),  # noqa: B008  a value
        federation: FederationLimits = FederationLimits(),  # noqa: B008  a value
        graph: GraphEngine | None = None,
    ) -> None:
        """Start empty, trusting no other server; None = the pure engine."""
        self._now_ms = endpoint.now_ms
        self._random = endpoint.random_bytes
        first = self._random(_TICK_RANDOM_BYTES)
        self._core = IndexServer(limits, self._now_ms(), first, federation, graph)
        self._clients = Clients(endpoint)
        self._late_ticks: dict[int, TimeHash] = {}  # for clients that have not read the last one
        self._encoded: tuple[IndexPeerMessage, bytes] | None = None
        """The last message to a server: the next server often gets the same one."""
        self._questions = Questions(self._now_ms, self._answer, self._refuse)
        self._alarm = Alarm(self._now_ms, self._core.deadline_ms, self._on_deadline)
        self.links_changed = anyio.Event()
        """Set, and replaced, when a link to another server came up or ended."""
        self._linked: dict[PublicKey, None] = {}
        """Of whom the log says that they are there."""

    @property
    def stats(self) -> IndexStats:
        """Numbers for the operator."""
        return self._core.stats(self._now_ms())

    @property
    def server_stats(self) -> tuple[PeerStats, ...]:
        """Numbers about every trusted server."""
        return self._core.federation.stats()

    @property
    def graph(self) -> GraphEngine:
        """Who can receive how much from whom; read only."""
        return self._core.graph

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Everybody served now, nodes and servers, oldest first."""
        return self._clients.all()

    def stop(self) -> None:
        """Tell everybody SHUTDOWN."""
        self._perform(self._core.shut_down())

    async def run(self) -> None:
        """Keep the deadlines of the core and answer questions, forever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._questions.run)
            await self._alarm.run()

    async def serve(self, connection: Connection) -> None:
        """Serve one node until its connection has ended."""
        conn = self._clients.add(connection)
        try:
            connection.on_drained = partial(self._drained, conn)
            self._perform(self._core.connected(conn, connection.peer))
            connection.deliver_to(partial(self._received, conn))
            await connection.wait_closed()
        finally:
            self._clients.remove(conn)
            self._late_ticks.pop(conn, None)
            self._questions.forget(conn)
            self._perform(self._core.closed(conn))

    def _received(self, conn: int, payload: bytes) -> None:
        try:
            message = decode_index_client_message(payload)
        except DecodeError:
            self._perform(self._core.malformed(conn))
            return
        if isinstance(message, RoutesRequest):
            self._questions.put(conn, message)
        elif message is not None:
            self._perform(self._core.received(conn, message, self._now_ms()))

    def _answer(self, conn: int, question: RoutesRequest) -> None:
        self._perform(self._core.received(conn, question, self._now_ms()))

    def _refuse(self, conn: int, question: RoutesRequest) -> None:
        self._perform(self._core.too_busy(conn, question, self._now_ms()))

    def _is_behind(self, conn: int) -> bool:
        connection = self._clients.get(conn)
        return connection is not None and connection.buffered_bytes > 0

    def _drained(self, conn: int) -> None:
        tick = self._late_ticks.pop(conn, None)
        if tick is not None:
            self._clients.send(conn, encode_index_server_message(tick))

    # --- other servers ---

    def trust(self, servers: Iterable[PublicKey]) -> None:
        """Trust these servers and nobody else; links to others are closed."""
        self._perform(self._core.federation.set_trusted(servers))

    def is_linked(self, server: PublicKey) -> bool:
        """Whether there is a link to this server."""
        return self._core.federation.is_up(server)

    async def serve_server(self, connection: Connection, *, is_preferred: bool) -> None:
        """Exchange what we know with another server until the connection has ended.

        Args:
            connection: dialled by either side.
            is_preferred: dialled by the side that `crypto.speaks_first` names.
        """
        federation = self._core.federation
        conn = self._clients.add(connection)
        try:
            connection.on_drained = partial(self._pump, conn)
            now_ms, random = self._now_ms(), self._random(_TICK_RANDOM_BYTES)
            self._perform(
                federation.connected(
                    conn, connection.peer, now_ms, random, is_preferred=is_preferred
                )
            )
            self._announce_links(connection.peer)
            connection.deliver_to(partial(self._received_from_server, conn))
            await connection.wait_closed()
        finally:
            self._clients.remove(conn)
            self._perform(self._core.closed(conn))
            self._announce_links(connection.peer)

    def _announce_links(self, server: PublicKey) -> None:
        """Tell who waits and, where it makes a difference, the operator: a link may only replace another."""
        is_linked = self.is_linked(server)
        if is_linked and server not in self._linked:
            self._linked[server] = None
            _log.info("index server %s is connected", server)
        elif not is_linked and server in self._linked:
            del self._linked[server]
            _log.info("index server %s is gone", server)
        self.links_changed.set()
        self.links_changed = anyio.Event()

    def _received_from_server(self, conn: int, payload: bytes) -> None:
        federation = self._core.federation
        try:
            message = decode_index_peer_message(payload)
        except DecodeError:
            self._perform(federation.malformed(conn))
            return
        if message is not None:
            self._perform(federation.received(conn, message, self._now_ms()))

    def _pump(self, conn: int) -> None:
        """Hand over what the connection of a server has room for."""
        connection = self._clients.get(conn)
        while connection is not None and connection.buffered_bytes < _OUTPUT_BYTES:
            message = self._core.federation.next_message(conn)
            if message is None:
                break
            if self._encoded is None or self._encoded[0] is not message:
                self._encoded = (message, encode_index_peer_message(message))
            connection.send_nowait(self._encoded[1])

    # --- effects ---

    def _on_deadline(self, now_ms: int) -> None:
        self._perform(self._core.on_deadline(now_ms, self._random(_TICK_RANDOM_BYTES)))

    def _perform(self, effects: Sequence[index_core.Effect]) -> None:
        encoded, payload = None, b""  # one tick goes to everybody: encode it once
        for effect in effects:
            match effect:
                case index_core.Send(conn, TimeHash() as tick) if self._is_behind(conn):
                    self._late_ticks[conn] = tick
                case index_core.Send(conn, message):
                    if message is not encoded:
                        encoded, payload = message, encode_index_server_message(message)
                    self._clients.send(conn, payload)
                case index_core.Close(conn, code, reason):
                    self._clients.close(conn, code, reason)
                case index_core.PeerReady(conn):
                    self._pump(conn)
                case index_core.PausePeer(conn):
                    self._clients.hold(conn)
                case index_core.ResumePeer(conn):
                    self._clients.release(conn)
        self._alarm.look()
