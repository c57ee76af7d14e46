"""Links between index servers: accepted, dialled, and only with those whose ticket is in a directory.

```
directory of tickets ──read every 2 s, in a thread──▶ trust ──▶ IndexService (whom to talk to)
                                                          └───▶ one dialler per ticket
```

`FederationService` is the service of purpose 4: beside an `IndexService` on one port, or alone on a port for
servers. A ticket added to the directory counts at once, a ticket removed closes the link.

Both sides dial, so that one of them being reachable is enough. The side that is preferred dials first; the
other waits a little whenever there is no link, and `core.federation` keeps the same one at both ends.
Pauses after failures are those of links between friends (FL2, FL10). Two servers with one key (a directory
that was copied) would take the link from each other for ever: whose link was replaced, and who has none
then, waits twice as long each time, and both ends tell their operators.

Source: PROTOCOL.md, "Index servers: federation".
"""

import logging
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus

from offset_engine.core.crypto import public_key_of, speaks_first
from offset_engine.core.friend_links import LinkEnv, LinkRules
from offset_engine.core.link import CloseCode
from offset_engine.core.noise import Purpose
from offset_engine.core.values import PublicKey, value
from offset_engine.net.index_engine import IndexEngine, index_engine
from offset_engine.net.index_service import IndexService
from offset_engine.net.server_log import log_stats
from offset_engine.net.services import Service, run_services
from offset_engine.net.transport import Connection, DialError, Endpoint, dial

_log: Final = logging.getLogger(__name__)

REREAD_MS: Final = 2_000
"""How often the directory is looked at."""
_STRANGERS_REREAD_MS: Final = 100
"""How often strangers can make us look at it."""
_KEPT: Final = (CloseCode.DUPLICATE, CloseCode.REPLACED)
"""The other side holds another link."""
_DOUBLINGS_MAX: Final = 20
_REFUSALS: Final = (
    CloseCode.NOT_AUTHORIZED,
    CloseCode.VERSION,
    CloseCode.PROTOCOL,
    CloseCode.ABUSE,
    CloseCode.MESSAGE_TOO_BIG,
)
_SENTENCES: Final = {
    CloseCode.NOT_AUTHORIZED: "it does not trust this index server: has its operator our ticket?",
    CloseCode.OVERLOADED: "it is overloaded",
    CloseCode.SHUTDOWN: "it is stopping",
    CloseCode.CLOCK: "our clock stood still",
}


class Trusted(Protocol):
    """Whom to trust: see `TrustedServers`."""

    def read(self) -> Mapping[PublicKey, str | None]:
        """Server → where to dial it, if anywhere; may take a while, must not raise."""


class PeerState(StrEnum):
    """How it stands with one trusted server."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    LINKED = "linked"
    REFUSED = "refused"


@value
class PeerStatus:
    """For the operator: how it stands with one trusted server, and what went wrong last."""

    server: PublicKey
    address: str | None
    state: PeerState
    last_error: str


class _Dialler:
    """The mutable record of one trusted server."""

    def __init__(self, key: PublicKey, address: str | None) -> None:
        self.key = key
        self.address = address
        self.scope = anyio.CancelScope()
        self.state = PeerState.WAITING
        self.last_error = ""
        self.failures = 0
        self.replaced = 0
        """How often in a row somebody else with our key took the link."""
        self.taken_over_ms: int | None = None
        """When it last dialled although there was a link."""
        self.is_doubled = False
        """Whether the operator was told that two of it seem to run."""


class FederationService:
    """See the module. Give it to `run_services`, where the index service runs as well."""

    purpose = int(Purpose.INDEX_SERVER)

    def __init__(
        self,
        endpoint: Endpoint,
        index: IndexService,
        trusted: Trusted,
        rules: LinkRules = LinkRules(),  # noqa: B008  a value
        *,
        reread_ms: int = REREAD_MS,
    ) -> None:
        """Trust nobody before `run`; `endpoint` has the identity of `index`."""
        self._endpoint = endpoint
        self._index = index
        self._trusted = trusted
        self._rules = rules
        self._reread_ms = reread_ms
        self._own = public_key_of(endpoint.identity)
        self._diallers: dict[PublicKey, _Dialler] = {}
        self._tasks: TaskGroup | None = None
        self._reading = anyio.Lock()
        self._read_ms: int | None = None

    @property
    def statuses(self) -> tuple[PeerStatus, ...]:
        """How it stands with every trusted server."""
        return tuple(
            PeerStatus(one.key, one.address, self._state_of(one), one.last_error)
            for one in self._diallers.values()
        )

    def _state_of(self, one: _Dialler) -> PeerState:
        return PeerState.LINKED if self._index.is_linked(one.key) else one.state

    def stop(self) -> None:
        """Nothing: the index service tells the other servers."""

    async def run(self) -> None:
        """Read the directory again and again and dial whom it names, forever."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                await self._reread(0)
                await anyio.sleep(self._reread_ms / 1000)

    async def serve(self, connection: Connection) -> None:
        """Serve a server that dialled, until its link has ended."""
        peer = connection.peer
        if peer not in self._diallers:
            await self._reread(_STRANGERS_REREAD_MS)
        if peer in self._diallers and self._index.is_linked(peer):
            self._note_takeover(self._diallers[peer])
        await self._index.serve_server(connection, is_preferred=speaks_first(peer, self._own))

    def _note_takeover(self, one: _Dialler) -> None:
        """A server dialled that is linked: once is chance, again and again is two of them."""
        now_ms, before_ms = self._endpoint.now_ms(), one.taken_over_ms
        one.taken_over_ms = now_ms
        if before_ms is None or now_ms - before_ms >= self._rules.lived_ms:
            one.is_doubled = False
        elif not one.is_doubled:
            one.is_doubled = True
            _log.warning(
                "index server %s takes its own link over again and again: do two run with one key?",
                one.key,
            )

    # --- trust ---

    async def _reread(self, unless_within_ms: int) -> None:
        async with self._reading:
            now_ms = self._endpoint.now_ms()
            if self._read_ms is not None and now_ms - self._read_ms < unless_within_ms:
                return
            found = await anyio.to_thread.run_sync(self._trusted.read)
            self._read_ms = self._endpoint.now_ms()
            self._trust({key: found[key] for key in found if key != self._own})

    def _trust(self, servers: Mapping[PublicKey, str | None]) -> None:
        if servers == {one.key: one.address for one in self._diallers.values()}:
            return
        gone = [one for one in self._diallers.values() if one.key not in servers]
        moved = [
            one
            for one in self._diallers.values()
            if servers.get(one.key, one.address) != one.address
        ]
        self._index.trust(servers)
        for one in gone:
            _log.info("index server %s is no longer trusted", one.key)
        for one in (*gone, *moved):
            del self._diallers[one.key]
            one.scope.cancel()
        for key, address in servers.items():
            if key not in self._diallers and self._tasks is not None:
                one = self._diallers[key] = _Dialler(key, address)
                self._tasks.start_soon(self._keep, one)

    # --- dialling ---

    async def _keep(self, one: _Dialler) -> None:
        """Whenever there is no link to this server, wait for one or make one."""
        is_preferred = speaks_first(self._own, one.key)
        with one.scope:
            while True:
                await self._until_down(one)
                if not is_preferred:
                    await self._until_up(one, self._rules.settle_ms)
                if one.address is None or self._index.is_linked(one.key):
                    await self._until_up(one, self._rules.backoff_max_ms)
                    continue
                started_ms = self._endpoint.now_ms()
                code = await self._link(one, one.address, is_preferred=is_preferred)
                if self._endpoint.now_ms() - started_ms >= self._rules.lived_ms:
                    one.failures = one.replaced = 0
                await self._until_up(one, self._pause_ms(one, code))

    async def _link(self, one: _Dialler, address: str, *, is_preferred: bool) -> CloseCode | None:
        """Dial and serve until it ends; the code the other end closed with, if it did."""
        one.state = PeerState.CONNECTING
        code = None
        try:
            async with anyio.create_task_group() as tasks:
                connection = await dial(
                    self._endpoint, tasks, address, one.key, Purpose.INDEX_SERVER
                )
                await self._index.serve_server(connection, is_preferred=is_preferred)
            end = connection.ended
            code = end.code if end is not None and end.clean else None
            reason = "the link was lost" if end is None else end.reason or "the link has ended"
            self._failed(
                one, "" if code in _KEPT else _SENTENCES.get(code, reason) if code else reason
            )
        except* DialError as group:
            error = group.exceptions[0]
            code = error.code if isinstance(error, DialError) else None
            self._failed(one, str(error))
        one.state = PeerState.REFUSED if code in _REFUSALS else PeerState.WAITING
        return code

    def _failed(self, one: _Dialler, error: str) -> None:
        """Tell the operator, once until something else is wrong."""
        if error and error != one.last_error:
            _log.warning("index server %s at %s: %s", one.key, one.address, error)
        one.last_error = error

    def _pause_ms(self, one: _Dialler, code: CloseCode | None) -> int:
        rules = self._rules
        jitter = int.from_bytes(self._endpoint.random_bytes(4), "big")
        env = LinkEnv(self._endpoint.now_ms(), jitter, rules)
        if code in _KEPT:
            is_taken = code is CloseCode.REPLACED and not self._index.is_linked(one.key)
            return self._taken_pause_ms(one, env) if is_taken else rules.settle_ms
        wait_ms = env.backoff(one.failures)
        one.failures += 1
        if code in _REFUSALS:
            return max(wait_ms, rules.refused_ms)
        if code is CloseCode.SHUTDOWN:
            return max(wait_ms, env.between(rules.start_max_ms // 5, rules.start_max_ms))
        return wait_ms

    def _taken_pause_ms(self, one: _Dialler, env: LinkEnv) -> int:
        """Another link took ours over, and we do not have it: maybe it is about to come."""
        if one.replaced:
            one.last_error = "another server with our key takes the link: do two run with one key?"
        if one.replaced == 1:
            _log.warning("index server %s at %s: %s", one.key, one.address, one.last_error)
        rules = self._rules
        most_ms = min(rules.backoff_max_ms, rules.settle_ms << min(one.replaced, _DOUBLINGS_MAX))
        one.replaced += 1
        return max(rules.settle_ms, env.between(most_ms // 2, most_ms))

    async def _until_down(self, one: _Dialler) -> None:
        while self._index.is_linked(one.key):
            one.last_error = ""
            await self._index.links_changed.wait()

    async def _until_up(self, one: _Dialler, at_most_ms: int) -> None:
        with anyio.move_on_after(at_most_ms / 1000):
            while not self._index.is_linked(one.key):
                await self._index.links_changed.wait()


async def run_federated_index_server(
    endpoint: Endpoint,
    client_addresses: Sequence[str],
    server_addresses: Sequence[str],
    trusted: Trusted,
    *,
    engine: IndexEngine | None = None,
    task_status: TaskStatus[tuple[tuple[str, ...], tuple[str, ...]]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run an index server with a port for nodes and one for other servers, until cancelled.

    Args:
        endpoint: whose identity answers at both.
        client_addresses: `host:port` each, for nodes.
        server_addresses: the same for servers; none lets nobody dial us. What is in both serves
            both, unless the system chooses the port.
        trusted: with whom to talk.
        engine: None = the pure one.
        task_status: told where it really listens, for nodes and for servers.

    Raises:
        TransportError: (in a group) an address cannot be listened at.
    """
    engine = engine or index_engine("pure")
    index = IndexService(endpoint, engine.limits, engine.federation, engine.graph)
    federation = FederationService(endpoint, index, trusted)
    shared = [one for one in client_addresses if one in server_addresses and not one.endswith(":0")]
    only_clients = [one for one in client_addresses if one not in shared]
    only_servers = [one for one in server_addresses if one not in shared]
    groups: list[tuple[list[str], list[Service]]] = [
        (only_clients, [_AtDoor(index)]),
        (shared, [_AtDoor(index), _AtDoor(federation)]),
        (only_servers, [_AtDoor(federation)]),
    ]
    async with anyio.create_task_group() as tasks:
        try:
            bound = [
                await tasks.start(partial(run_services, endpoint, addresses, services))
                if addresses
                else ()
                for addresses, services in groups
            ]
            tasks.start_soon(index.run)
            tasks.start_soon(federation.run)
            tasks.start_soon(log_stats, "index server", lambda: index.stats)
            task_status.started((bound[0] + bound[1], bound[1] + bound[2]))
            await anyio.sleep_forever()
        finally:
            index.stop()


class _AtDoor:
    """A service at one of its several ports; it runs and stops once for all of them."""

    def __init__(self, service: Service) -> None:
        self.purpose = service.purpose
        self.serve = service.serve

    async def run(self) -> None:
        """Nothing: the service runs elsewhere."""

    def stop(self) -> None:
        """Nothing: the service is stopped elsewhere."""
