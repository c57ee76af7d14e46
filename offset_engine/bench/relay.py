"""`offset bench relay`: what a waiting listener costs in memory, and how fast a tunnel is.

The relay is a process of its own. Memory is the growth of its resident size from 50 listeners to 50 and
as many as asked for, divided by those. A tunnel is what friends use: a link inside a link, its two ends
in this process. Its floor copies the same bytes over loopback TCP through one process without any
cryptography.
"""

import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import Process, TaskGroup
from anyio.streams.text import TextReceiveStream

from offset_engine.bench.figures import BenchError, Figures, rounded, run_measurement
from offset_engine.core.codec import decode_relay_message, encode_relay_message
from offset_engine.core.crypto import public_key_of, sha512_256
from offset_engine.core.messages import Incoming, Listen, Listening
from offset_engine.core.values import PrivateKey, PublicKey, RelayAddress, value
from offset_engine.net.transport import (
    PURPOSE_RELAY,
    Connection,
    Endpoint,
    accept_through_relay,
    connect_through_relay,
    dial,
)

_LISTENERS_BEFORE: Final = 50
"""The first ones fill memory the process has anyway."""
_DIALS_AT_ONCE: Final = 16
_MESSAGE_BYTES: Final = 32_768
_COPY_BYTES: Final = 65_536
_START_S: Final = 15
_MIB: Final = 1 << 20


@value
class RelayPlan:
    """How much to measure; the default takes some ten seconds."""

    listeners: int = 200
    mib: int = 32
    """Bytes through the tunnel, and through its floor."""
    part_s: float = 20
    """Each part fails after so many seconds."""
    seed: int = 0


def measure_relay(plan: RelayPlan) -> Figures:
    """Measure memory and speed.

    Raises:
        BenchError: the relay did not start, or a part took too long.
        TransportError: the relay hung up.
    """
    floor = _copy_through_sockets(plan.mib * _MIB)
    figures = run_measurement(_measure, plan)
    speed = figures["tunnel_mib_per_second"]
    ratio = floor / speed if isinstance(speed, float) and speed else None
    return {
        **figures,
        "floor_mib_per_second": rounded(floor),
        "ratio_to_floor": None if ratio is None else rounded(ratio),
    }


async def _measure(plan: RelayPlan) -> Figures:
    async with _open_relay() as (process, relay), anyio.create_task_group() as tasks:
        speed = await _measure_tunnel(plan, tasks, relay)
        kib = await _measure_listeners(plan, tasks, relay, process.pid)
        tasks.cancel_scope.cancel()
    return {
        "kib_per_listener": None if kib is None else rounded(kib),
        "listeners": plan.listeners,
        "tunnel_mib_per_second": rounded(speed),
        "mib": plan.mib,
    }


@asynccontextmanager
async def _open_relay() -> AsyncIterator[tuple[Process, RelayAddress]]:
    command = [sys.executable, "-m", "offset_engine.bench.relay_process"]
    async with await anyio.open_process(command, stderr=None) as process:
        try:
            yield process, await _address_of(process)
        finally:
            if process.stdin is not None:
                await process.stdin.aclose()


async def _address_of(process: Process) -> RelayAddress:
    line = ""
    with anyio.move_on_after(_START_S):
        if process.stdout is not None:
            async for text in TextReceiveStream(process.stdout):
                line += text
                if "\n" in line:
                    break
    address, _, key = line.strip().partition(" ")
    if not key:
        raise BenchError("the relay did not start")
    return RelayAddress(PublicKey.from_text(key), address)


def _endpoint(seed: int, number: int) -> Endpoint:
    return Endpoint(PrivateKey(sha512_256(f"offset bench relay {seed} {number}".encode())))


# --- listeners ----------------------------------------------------------------------------------


async def _measure_listeners(
    plan: RelayPlan, tasks: TaskGroup, relay: RelayAddress, pid: int
) -> float | None:
    """KiB of the relay's memory for each listener; None if this system does not tell."""
    await _add_listeners(plan, tasks, relay, range(_LISTENERS_BEFORE))
    before = resident_kib(pid)
    numbers = range(_LISTENERS_BEFORE, _LISTENERS_BEFORE + plan.listeners)
    await _add_listeners(plan, tasks, relay, numbers)
    after = resident_kib(pid)
    return None if before is None or after is None else (after - before) / plan.listeners


async def _add_listeners(
    plan: RelayPlan, tasks: TaskGroup, relay: RelayAddress, numbers: range
) -> None:
    doors = anyio.CapacityLimiter(_DIALS_AT_ONCE)

    async def add(number: int) -> None:
        async with doors:
            await _listen(_endpoint(plan.seed, number), tasks, relay)

    with anyio.move_on_after(plan.part_s):
        async with anyio.create_task_group() as dials:
            for number in numbers:
                dials.start_soon(add, number)
        return
    raise BenchError(f"{len(numbers)} listeners did not connect within {plan.part_s:g} s")


async def _listen(endpoint: Endpoint, tasks: TaskGroup, relay: RelayAddress) -> Connection:
    connection = await dial(endpoint, tasks, relay.address, relay.public_key, PURPOSE_RELAY)
    connection.send_nowait(encode_relay_message(Listen()))
    if not isinstance(decode_relay_message(await connection.receive()), Listening):
        raise BenchError("the relay does not let us listen")
    return connection


def resident_kib(pid: int) -> int | None:
    """Resident memory of a process in KiB; None where `/proc` does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(sizes[0]) if sizes else None


# --- tunnel -------------------------------------------------------------------------------------


async def _measure_tunnel(plan: RelayPlan, tasks: TaskGroup, relay: RelayAddress) -> float:
    """MiB per second from one friend to another."""
    near, far = await _open_tunnel(plan, tasks, relay)
    size = plan.mib * _MIB
    received = 0
    arrived = anyio.Event()

    def take(payload: bytes) -> None:
        nonlocal received
        received += len(payload)
        if received >= size:
            arrived.set()

    far.deliver_to(take)
    message = bytes(_MESSAGE_BYTES)
    started = time.perf_counter()
    with anyio.move_on_after(plan.part_s):
        for _ in range(size // _MESSAGE_BYTES):
            near.send_nowait(message)
            await near.drain()
        await arrived.wait()
    taken_s = time.perf_counter() - started
    near.close()
    if not received:
        raise BenchError("nothing came through the tunnel")
    return received / _MIB / taken_s


async def _open_tunnel(
    plan: RelayPlan, tasks: TaskGroup, relay: RelayAddress
) -> tuple[Connection, Connection]:
    """Both ends of a friend link through the relay."""
    dialer, listener = _endpoint(plan.seed, -1), _endpoint(plan.seed, -2)
    door = await _listen(listener, tasks, relay)
    ends: list[Connection] = []

    async def answer() -> None:
        call = decode_relay_message(await door.receive())
        if not isinstance(call, Incoming):
            raise BenchError("the relay announced no call")
        accepted = await accept_through_relay(listener, tasks, relay, call.tunnel_id, call.dialer)
        ends.append(accepted)

    async with anyio.create_task_group() as calls:
        calls.start_soon(answer)
        target = public_key_of(listener.identity)
        near = await connect_through_relay(dialer, tasks, relay, target)
    return near, ends[0]


# --- floor --------------------------------------------------------------------------------------


def _copy_through_sockets(size: int) -> float:
    """MiB per second of `size` bytes over loopback TCP, copied once on the way by a thread."""
    source, copier_in = _socket_pair()
    copier_out, sink = _socket_pair()
    threads = (
        threading.Thread(target=_pour, args=(source, size)),
        threading.Thread(target=_copy, args=(copier_in, copier_out)),
    )
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    received = 0
    buffer = bytearray(_COPY_BYTES)
    while received < size and (count := sink.recv_into(buffer)):
        received += count
    taken_s = time.perf_counter() - started
    for thread in threads:
        thread.join()
    sink.close()
    return received / _MIB / taken_s


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    return near, far


def _pour(source: socket.socket, size: int) -> None:
    with source:
        chunk = bytes(_COPY_BYTES)
        for _ in range(size // _COPY_BYTES):
            source.sendall(chunk)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with source, sink:
        buffer = bytearray(_COPY_BYTES)
        view = memoryview(buffer)
        while count := source.recv_into(buffer):
            sink.sendall(view[:count])
