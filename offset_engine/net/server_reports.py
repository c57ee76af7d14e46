"""How a node is connected, for its report: what the parts that keep connections know, put side by side.

Source: PROTOCOL.md, "Reports"; apps.md CTL-03, CTL-04, RMP-18.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from offset_engine.core.reports import TROUBLE_BYTES_MAX, Connections, ServerReport, ServerState
from offset_engine.core.values import NamedAddress, PublicKey
from offset_engine.net.index_client import IndexState, IndexStatus
from offset_engine.net.relay_listeners import RelayState, RelayStatus

_RELAY_STATES: Final = {
    RelayState.CONNECTING: ServerState.CONNECTING,
    RelayState.LISTENING: ServerState.CONNECTED,
    RelayState.WAITING: ServerState.WAITING,
    RelayState.REFUSED: ServerState.REFUSED,
}
_INDEX_STATES: Final = {
    IndexState.NO_SERVER: ServerState.IDLE,
    IndexState.CONNECTING: ServerState.CONNECTING,
    IndexState.REPORTING: ServerState.CONNECTING,
    IndexState.UP: ServerState.CONNECTED,
    IndexState.WAITING: ServerState.WAITING,
}


def connections(
    relays: Sequence[NamedAddress],
    index_servers: Sequence[NamedAddress],
    listening: Iterable[RelayStatus],
    index: IndexStatus,
) -> Connections:
    """One report per server configured; of index servers only one is in use at a time.

    Args:
        relays: those configured; listening goes on for a while at ones that were removed.
        index_servers: those configured.
        listening: every listening connection.
        index: the session with an index server.
    """
    known = {one.relay.public_key: one for one in listening}
    return Connections(
        tuple(_relay_report(one.public_key, known.get(one.public_key)) for one in relays),
        tuple(_index_report(one.public_key, index) for one in index_servers),
    )


def _relay_report(key: PublicKey, status: RelayStatus | None) -> ServerReport:
    if status is None:
        return ServerReport(key, ServerState.IDLE, "")
    state = _RELAY_STATES[status.state]
    return ServerReport(key, state, _cut(status.last_error), _latency(state, status.rtt_ms))


def _index_report(key: PublicKey, status: IndexStatus) -> ServerReport:
    if status.server != key:
        return ServerReport(key, ServerState.IDLE, "")
    state = _INDEX_STATES[status.state]
    return ServerReport(key, state, _cut(status.last_error), _latency(state, status.rtt_ms))


def _latency(state: ServerState, rtt_ms: int | None) -> int | None:
    return rtt_ms if state is ServerState.CONNECTED else None


def _cut(trouble: str) -> str:
    """A server's own words may be in it, and there may be too many of them."""
    return trouble.encode(errors="replace")[:TROUBLE_BYTES_MAX].decode(errors="ignore")
