"""The door for programs of the same user: a socket file that only its owner may open.

Who gets in is decided by the system: the file has mode 0600, and where it tells (Linux), the user of the
other end is compared with ours. Inside run the messages of the app protocol over a `PlainLink`.

Source: design R47; PROTOCOL.md, "Apps".
"""

import logging
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import (
    ByteStream,
    SocketAttribute,
    SocketListener,
    SocketStream,
    TaskGroup,
    TaskStatus,
)

from offset_engine.core.link import CloseCode, LinkLimits
from offset_engine.core.noise import Purpose
from offset_engine.core.plain_link import PlainLink
from offset_engine.errors import TransportError
from offset_engine.net.connection import Connection, NetLimits, monotonic_ms
from offset_engine.net.transport import Handler

_log: Final = logging.getLogger(__name__)

SOCKET_CONNECTIONS_MAX: Final = 64
_MODE: Final = 0o600
_CREDENTIALS: Final = struct.Struct("3i")
"""What Linux tells about the other end: process, user, group."""


async def serve_socket(
    path: Path,
    handler: Handler,
    limits: NetLimits = NetLimits(),  # noqa: B008  a value
    *,
    task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve programs of this user until cancelled; a socket file left over there is replaced.

    Raises:
        TransportError: there can be no socket at `path`.
    """
    listener = await _listen(path)
    try:
        async with anyio.create_task_group() as tasks:
            task_status.started()
            await _accept(listener, tasks, handler, limits)
    finally:
        with anyio.CancelScope(shield=True):
            await listener.aclose()
            path.unlink(missing_ok=True)  # noqa: ASYNC240 - one call to the system, at the end


async def _listen(path: Path) -> SocketListener:
    if not hasattr(socket, "AF_UNIX"):
        raise TransportError("this system has no socket files; use the port for apps")
    try:
        return await anyio.create_unix_listener(path, mode=_MODE)
    except (OSError, ValueError) as error:
        raise TransportError(f"cannot make the socket {path}: {_reason(error)}") from None


async def _accept(
    listener: SocketListener, tasks: TaskGroup, handler: Handler, limits: NetLimits
) -> None:
    """Accept forever, whatever the system says: file descriptors become free again."""
    living: dict[Connection, None] = {}

    async def handle(connection: Connection) -> None:
        await connection.wait_up()
        await handler(connection)

    async def drive(connection: Connection) -> None:
        living[connection] = None
        try:
            await connection.run(handle)
        finally:
            del living[connection]

    while True:
        try:
            stream = await listener.accept()
        except OSError as error:
            _log.warning("cannot accept a program, trying again: %s", error)
            await anyio.sleep(limits.accept_pause_ms / 1000)
            continue
        tasks.start_soon(drive, _welcome(stream, len(living), limits))


def _welcome(stream: SocketStream, living: int, limits: NetLimits) -> Connection:
    link = PlainLink(Purpose.APP, monotonic_ms(), LinkLimits(), is_initiator=False)
    connection = Connection(stream, link, limits)
    if not is_same_user(stream):
        connection.close(CloseCode.NOT_AUTHORIZED, "this card belongs to another user")
    elif living >= SOCKET_CONNECTIONS_MAX:
        connection.close(CloseCode.OVERLOADED, "too many programs are connected")
    return connection


def is_same_user(stream: ByteStream) -> bool:
    """Whether the program at the other end runs as our user, as far as the system tells."""
    if sys.platform != "linux":
        return True
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  not Django
    found = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(found)
    return bool(user == os.geteuid())


async def dial_socket(
    tasks: TaskGroup,
    path: Path,
    limits: NetLimits = NetLimits(),  # noqa: B008  a value
) -> Connection:
    """Connect to the node behind a socket file; the connection runs in `tasks`.

    Raises:
        TransportError: nothing answers there.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise TransportError("this system has no socket files; use the port for apps")
    try:
        stream = await anyio.connect_unix(path)
    except PermissionError:
        raise TransportError(
            f"{path} is closed to this user: only who runs the card may use it"
        ) from None
    except (OSError, ValueError) as error:
        raise TransportError(f"no card runs at {path}: {_reason(error)}") from None
    link = PlainLink(Purpose.APP, monotonic_ms(), LinkLimits(), is_initiator=True)
    connection = Connection(stream, link, limits)
    tasks.start_soon(connection.run)
    try:
        await connection.wait_up()
    except BaseException:
        connection.close()
        raise
    return connection


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file or directory"
        case ConnectionRefusedError():
            return "nothing listens there"
        case PermissionError():
            return "permission denied"
        case OSError(strerror=str(why)):
            return why[:1].lower() + why[1:]
        case _:
            return str(error)
