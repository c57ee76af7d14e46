"""Four real nodes in a row, one relay, one index server: where payments are measured.

    buyer ── mediator ── mediator ── seller        every link: TCP through the relay, SQLite on disk

Everything runs in this process on one event loop. A `Till` makes payments over the known route with the
primitives: open an invoice, create payment and transaction and close it, hand the commit over when it
exists, wait for the receipt, acknowledge.
"""

import dataclasses
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import anyio

from offset_engine.bench.cores import tokens_of
from offset_engine.bench.counted import CountedStore
from offset_engine.bench.figures import BenchError
from offset_engine.core.api import (
    AckClosePayment,
    AddInvoice,
    Batch,
    Command,
    CommandFault,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    Notice,
    PaymentStatus,
    RequestClosePayment,
    TransactionOutcome,
    TransactionResult,
)
from offset_engine.core.payment import PaymentStage
from offset_engine.core.signing import Commit, Invoice
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey, Timers, Uid, value
from offset_engine.net.engine import Engine
from offset_engine.village import (
    CENT,
    FREE,
    OUSD,
    VILLAGE_TIMERS,
    Friendship,
    Village,
    Villager,
    open_village,
)

_LIMIT: Final = 10**15
"""Credit limit that no measurement reaches."""
_ROW: Final = ("Buyer", "First", "Second", "Seller")
_FRIENDSHIPS: Final = tuple(
    Friendship(one, other, OUSD, _LIMIT, _LIMIT, FREE, CENT) for one, other in pairwise(_ROW)
)
_TIMERS: Final = dataclasses.replace(VILLAGE_TIMERS, index_delta_ms=Timers().index_delta_ms)
"""Short waits to get started quickly, but reports to the index server as often as in real life."""
AMOUNT: Final = 1_00
FEES: Final = CENT.fee(AMOUNT) * (len(_ROW) - 2)
NODES: Final = len(_ROW)


@asynccontextmanager
async def open_row(seed: int, directory: Path) -> AsyncIterator[Village]:
    """The four nodes, befriended and online, with databases in `directory`.

    Raises:
        VillageError: they did not come to life.
    """
    async with open_village(
        seed, friendships=_FRIENDSHIPS, directory=directory, timers=_TIMERS, relay_count=1
    ) as village:
        for name in _ROW:
            await village.switch_off(name)
        for name in _ROW:
            person = village.people[name]
            person.store.close()
            person.store = CountedStore.reopen(directory / f"{name.lower()}.db", person.key)
            await village.switch_on(name)
        await village.wait_until_ready()
        yield village


# --- counting -----------------------------------------------------------------------------------


@value
class Count:
    """What all nodes did up to a moment."""

    at_ns: int
    cpu_ns: int
    """Time this process was computing, kernel included."""
    events: int
    steps: int
    tokens: int
    commits: int
    commits_ns: int
    """Time all those commits took together."""
    rows: int


class Meter:
    """Reads off what the nodes of a village did."""

    def __init__(self, village: Village) -> None:
        """Look at every node; all stores must be counted ones."""
        people = tuple(village.people.values())
        self._engines = tuple(person.running for person in people)
        self._stores = tuple(_counted(person) for person in people)

    def read(self) -> Count:
        """The counts now."""
        return Count(
            time.perf_counter_ns(),
            time.process_time_ns(),
            sum(one.counters.events for one in self._engines),
            sum(one.counters.steps for one in self._engines),
            sum(tokens_of(one.state) for one in self._engines) // 2,
            sum(store.commits for store in self._stores),
            sum(store.taken_ns for store in self._stores),
            sum(store.rows for store in self._stores),
        )


def _counted(person: Villager) -> CountedStore:
    if not isinstance(person.store, CountedStore):
        raise BenchError(f"{person.name}'s store does not count")
    return person.store


@value
class Spent:
    """What a number of payments took, between two readings."""

    payments: int
    begin: Count
    end: Count

    @property
    def us_per_payment(self) -> float:
        """Microseconds a payment."""
        return (self.end.at_ns - self.begin.at_ns) / 1000 / self.payments

    @property
    def cpu_us_per_payment(self) -> float:
        """Microseconds of computing a payment; the rest is waiting, mostly for the disk."""
        return (self.end.cpu_ns - self.begin.cpu_ns) / 1000 / self.payments

    @property
    def commit_ms(self) -> float:
        """Mean time of a commit; 0 if there was none."""
        commits = self.end.commits - self.begin.commits
        return (self.end.commits_ns - self.begin.commits_ns) / 1e6 / commits if commits else 0.0

    def per_payment(self) -> dict[str, float]:
        """Counts per payment, over all nodes."""
        names = ("tokens", "steps", "events", "commits", "rows")
        return {
            f"{name}_per_payment": (getattr(self.end, name) - getattr(self.begin, name))
            / self.payments
            for name in names
        }


# --- paying -------------------------------------------------------------------------------------


class _Waiting:
    """What a payment under way waits for."""

    __slots__ = ("ack_uid", "commit", "committed", "fault", "paid")

    def __init__(self) -> None:
        self.committed = anyio.Event()
        self.paid = anyio.Event()
        self.commit: Commit | None = None
        self.ack_uid: Uid | None = None
        self.fault = ""

    def fail(self, fault: str) -> None:
        self.fault = fault
        self.committed.set()
        self.paid.set()


def till_of(village: Village) -> "Till":
    """Payments from the first node of `open_row` to the last."""
    people = village.people
    route = tuple(people[name].key for name in _ROW)
    return Till(people[_ROW[0]].running, people[_ROW[-1]].running, route, FEES)


class Till:
    """Makes payments from one node to another over a known route."""

    def __init__(
        self, buying: Engine, selling: Engine, route: tuple[PublicKey, ...], fees: int
    ) -> None:
        """Watch the buyer; `route` begins with it and ends with the seller, `fees` is for those between."""
        self._buying, self._selling, self._route, self._fees = buying, selling, route, fees
        self._seller = route[-1]
        self._waiting: dict[PaymentId, _Waiting] = {}
        self._buying.watchers[self] = self._hear

    def _hear(self, notice: Notice | None) -> None:
        if isinstance(notice, TransactionResult):
            waiting = self._waiting.get(notice.payment_id)
            if waiting is None:
                return
            if notice.outcome is TransactionOutcome.FAILURE:
                waiting.fail("a part came back")
            waiting.commit = notice.commit
            waiting.committed.set()
        elif isinstance(notice, PaymentStatus) and notice.payment_id in self._waiting:
            waiting = self._waiting[notice.payment_id]
            if notice.stage == PaymentStage.CANCELED.value:
                waiting.fail("it was cancelled")
            waiting.ack_uid = notice.ack_uid
            waiting.paid.set()

    async def pay(self) -> int:
        """Make one payment; returns ns from giving the command to having the receipt.

        Raises:
            BenchError: it failed.
        """
        invoice = Invoice(InvoiceId(os.urandom(32)), OUSD, self._seller, AMOUNT)
        await _do(self._selling, AddInvoice(invoice))
        payment_id = PaymentId(os.urandom(16))
        waiting = self._waiting[payment_id] = _Waiting()
        started_ns = time.perf_counter_ns()
        try:
            await self._make(payment_id, invoice, waiting)
            taken_ns = time.perf_counter_ns() - started_ns
            if waiting.ack_uid is not None:
                await _do(self._buying, AckClosePayment(payment_id, waiting.ack_uid))
        finally:
            del self._waiting[payment_id]
        return taken_ns

    async def _make(self, payment_id: PaymentId, invoice: Invoice, waiting: _Waiting) -> None:
        await _do(
            self._buying,
            CreatePayment(payment_id, invoice.invoice_id, OUSD, AMOUNT, self._seller),
            CreateTransaction(payment_id, Uid(os.urandom(16)), self._route, AMOUNT, self._fees),
            RequestClosePayment(payment_id),
        )
        await waiting.committed.wait()
        if waiting.commit is not None:
            await _do(self._selling, CommitInvoice(waiting.commit))
        await waiting.paid.wait()
        if waiting.fault:
            raise BenchError(f"a payment failed: {waiting.fault}")


async def _do(engine: Engine, *commands: Command) -> None:
    done = await engine.command(commands[0] if len(commands) == 1 else Batch(commands))
    if done.fault is not None:
        fault: CommandFault = done.fault
        raise BenchError(f"a node refused a command: {fault.value} {done.detail}")
