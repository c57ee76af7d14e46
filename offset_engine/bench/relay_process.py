"""A relay in a process of its own, to look at its memory: `python -m offset_engine.bench.relay_process`.

Prints its address and its public key on one line, serves, and ends when its standard input does, so it
never outlives whoever started it.
"""

import sys

import anyio
import anyio.to_thread

from offset_engine.core.crypto import public_key_of, sha512_256
from offset_engine.core.values import PrivateKey
from offset_engine.net.servers import run_relay
from offset_engine.net.transport import Endpoint


async def _main() -> None:
    identity = PrivateKey(sha512_256(b"offset bench relay process"))
    async with anyio.create_task_group() as tasks:
        (address,) = await tasks.start(run_relay, Endpoint(identity), ("127.0.0.1:0",))
        sys.stdout.write(f"{address} {public_key_of(identity).to_text()}\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.read)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(_main)
