"""A relay and an index server behind listening sockets, for programs that run one or both.

`run_relay`, `run_index_server` and `run_relay_and_index` (one port and identity, the purpose byte of a
link decides) listen, tell the caller where through `task_status`, and serve until cancelled. Index servers
that talk to others are in `federation`. Source: PROTOCOL.md, "Relays" and "Index servers".
"""

from collections.abc import Callable, Sequence

import anyio
from anyio.abc import TaskStatus

from offset_engine.core.index import IndexLimits
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.values import PublicKey
from offset_engine.net.index_service import IndexService
from offset_engine.net.relay_service import RelayService
from offset_engine.net.services import Service, run_services
from offset_engine.net.transport import Endpoint

__all__ = [
    "IndexService", "RelayService", "Service", "run_index_server", "run_relay", "run_relay_and_index",
    "run_services",
]  # fmt: skip


async def run_relay(
    endpoint: Endpoint,
    addresses: Sequence[str],
    limits: RelayLimits = RelayLimits(),  # noqa: B008  a value
    allowed: Callable[[PublicKey], bool] | None = None,
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run a relay until cancelled; see `run_services`."""
    service = RelayService(endpoint, limits, allowed)
    await run_services(endpoint, addresses, [service], task_status=task_status)


async def run_index_server(
    endpoint: Endpoint,
    addresses: Sequence[str],
    limits: IndexLimits = IndexLimits(),  # noqa: B008  a value
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run an index server until cancelled; see `run_services`."""
    service = IndexService(endpoint, limits)
    await run_services(endpoint, addresses, [service], task_status=task_status)


async def run_relay_and_index(
    endpoint: Endpoint,
    addresses: Sequence[str],
    relay_limits: RelayLimits = RelayLimits(),  # noqa: B008  a value
    index_limits: IndexLimits = IndexLimits(),  # noqa: B008  a value
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Run both behind one port and identity until cancelled; see `run_services`."""
    services: list[Service] = [
        RelayService(endpoint, relay_limits),
        IndexService(endpoint, index_limits),
    ]
    await run_services(endpoint, addresses, services, task_status=task_status)
