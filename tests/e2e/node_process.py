"""One node in a process of its own, driven by JSON lines: a question on stdin, its answer on stdout.

`python -m tests.e2e.node_process SEED DATABASE [TIMERS]`: SEED is the identity in hexadecimal, the database is
made if it is missing, TIMERS is a JSON object of `Timers` fields. The first line says `{"ready": KEY}`.
Made to be killed at any moment. Answers carry the question's `id` and either `ok` or `error`.
"""

import json
import sys
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from offset_engine.client import CommandRefusedError, InvoiceTerms
from offset_engine.core.api import Pay
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import (
    Currency,
    NamedAddress,
    PaymentId,
    PrivateKey,
    PublicKey,
    Rate,
    RelayAddress,
    Timers,
)
from offset_engine.errors import TransportError
from offset_engine.files import (
    commit_json,
    invoice_json,
    parse_commit,
    parse_invoice,
    receipt_json,
)
from offset_engine.net.engine import Engine
from offset_engine.net.local_client import LocalClient
from offset_engine.net.relay_listeners import RelayState
from offset_engine.store import SqliteStore

FST = Currency("FST")


class Door:
    """Answers questions about one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.client = LocalClient(engine)

    async def answer(self, line: str) -> str:
        question = json.loads(line)
        try:
            found = await getattr(self, "do_" + question["do"])(*question["with"])
        except (CommandRefusedError, TransportError) as error:
            return json.dumps({"id": question["id"], "error": str(error)})
        return json.dumps({"id": question["id"], "ok": found})

    async def do_relay(self, key: str, address: str) -> None:
        await self.client.add_relay(NamedAddress(PublicKey.from_text(key), address))

    async def do_index(self, key: str, address: str) -> None:
        await self.client.add_index_server(NamedAddress(PublicKey.from_text(key), address))

    async def do_friend(self, key: str, relay: str, address: str, limit: int, fee: int) -> None:
        friend = PublicKey.from_text(key)
        relays = (RelayAddress(PublicKey.from_text(relay), address),)
        await self.client.add_friend(friend, relays, key[:4])
        await self.client.set_limit(friend, FST, limit, Rate(0, fee))

    async def do_invoice(self, amount: int) -> str:
        return invoice_json(await self.client.create_invoice(InvoiceTerms(FST, amount)))

    async def do_pay(self, payment_id: str, invoice: str, max_fee: int) -> None:
        wish = Pay(PaymentId.from_text(payment_id), parse_invoice(invoice), max_fee)
        await self.client.command(wish)

    async def do_payment(self, payment_id: str) -> dict[str, object] | None:
        report = await self.client.pay_report(PaymentId.from_text(payment_id))
        if report is None:
            return None
        return {
            "stage": report.stage.value,
            "failure": None if report.failure is None else report.failure.value,
            "fee": report.fee,
            "commit": None if report.commit is None else commit_json(report.commit),
            "receipt": None if report.receipt is None else receipt_json(report.receipt),
        }

    async def do_accept(self, commit: str) -> None:
        await self.client.accept_commit(parse_commit(commit))

    async def do_status(self) -> dict[str, object]:
        """Everything the tests look at, small enough for one line."""
        state, peers = self.engine.state, self.engine.peers.status()
        ledgers = {
            key.to_text(): channel.ledgers[FST]
            for key, friend in state.friends.items()
            if (channel := friend.consistent) is not None and FST in channel.ledgers
        }
        return {
            "balances": {key: ledger.balance for key, ledger in ledgers.items()},
            "frozen": sum(
                ledger.local_pending_debt + ledger.remote_pending_debt
                for ledger in ledgers.values()
            ),
            "consistent": all(friend.consistent is not None for friend in state.friends.values()),
            "ready": sorted(
                key.to_text() for key, friend in state.friends.items() if friend.is_ready(FST)
            ),
            "listening": all(one.state == RelayState.LISTENING for one in peers.relays),
            "relays": len(peers.relays),
            "index": self.engine.index.status.state.value,
        }


async def serve(door: Door, tasks: TaskGroup) -> None:
    """Answer until stdin ends, every question in a task of its own."""

    async def reply(line: str) -> None:
        print(await door.answer(line), flush=True)

    while line := await anyio.to_thread.run_sync(sys.stdin.readline):
        tasks.start_soon(reply, line)
    tasks.cancel_scope.cancel()


def open_store(path: Path, key: PublicKey) -> SqliteStore:
    return SqliteStore.open(path, key) if path.exists() else SqliteStore.create(path, key)


async def main(seed: str, database: str, timers: str = "{}") -> None:
    """Run the node."""
    identity = PrivateKey.of(bytes.fromhex(seed))
    store = open_store(Path(database), public_key_of(identity))
    async with anyio.create_task_group() as tasks:
        engine = Engine(identity, store, Timers(**json.loads(timers)))
        await tasks.start(engine.run)
        print(json.dumps({"ready": public_key_of(identity).to_text()}), flush=True)
        await serve(Door(engine), tasks)
    store.close()


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
