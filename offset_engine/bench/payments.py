"""`offset bench payments`: payments per second and how long one takes, next to what cryptography alone costs.

| part | what is measured |
|---|---|
| alone | one payment at a time on an idle network, over a known route, and with a route question |
| waves | all payers start at once, everybody waits for the last: flatters, because load batches itself |
| random | every payer thinks for a random time between payments: the honest figure |
| core | the same payments through bare cores in memory |

Floor of a payment: 1 signature and 3 verifications. Floor of one alone: its commits, one after the
other, each at least one sync of the disk, and 13 signatures and 15 verifications.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import Final

import anyio

from offset_engine.bench.chain import (
    AMOUNT,
    FEES,
    NODES,
    Count,
    Meter,
    Spent,
    Till,
    open_row,
    till_of,
)
from offset_engine.bench.cores import Program, open_chain, pay_in_waves
from offset_engine.bench.figures import BenchError, Figures, quantiles_ms, rounded, run_measurement
from offset_engine.bench.floors import CryptoFloor, measure_crypto, measure_fsync_ms
from offset_engine.client import InvoiceTerms
from offset_engine.core.payer import PayStage
from offset_engine.core.values import value
from offset_engine.village import OUSD, Village

_WARM_ALONE: Final = 5
_WARM_CORE: Final = 2
"""Waves, or payments, before the bare cores are timed."""


@value
class PaymentsPlan:
    """How much to measure; the default takes about half a minute."""

    payments: int = 2_000
    """In random arrivals; the other parts are in proportion."""
    in_flight: int = 64
    think_ms: int = 20
    """Longest pause of a payer between two payments."""
    part_s: float = 10
    """Each part ends after so many seconds with what it has."""
    seed: int = 0
    directory: Path | None = None
    """Where the databases are kept meanwhile: decides how long a commit takes; None = temporary files."""

    @property
    def alone(self) -> int:
        """Payments made one at a time."""
        return max(5, self.payments // 20)

    @property
    def waves(self) -> int:
        """Waves of `in_flight` payments."""
        return max(2, self.payments // 2 // self.in_flight)


def measure_payments(plan: PaymentsPlan) -> Figures:
    """Measure everything of the module's table.

    Raises:
        BenchError: a payment failed, or nothing was paid in time.
        VillageError: the nodes did not find each other.
    """
    figures = _measure_core(plan)
    figures.update(run_measurement(_measure_network, plan))
    return figures


def _measure_core(plan: PaymentsPlan) -> Figures:
    payer = Program(open_chain(NODES, plan.seed))
    floor = measure_crypto()
    pay_in_waves(payer, _WARM_CORE * plan.in_flight, plan.in_flight)
    full = pay_in_waves(payer, plan.waves * plan.in_flight, plan.in_flight)
    alone = pay_in_waves(payer, plan.alone, 1)
    floor = floor.better(measure_crypto())
    return {
        "core_ratio_to_floor": rounded(full.us_per_payment / floor.payment_us),
        "core_alone_ratio_to_token_floor": rounded(alone.us_per_payment / floor.alone_us),
        "core": {
            "us_per_payment": rounded(full.us_per_payment),
            "floor_us": rounded(floor.payment_us),
            "tokens_per_payment": rounded(full.tokens / full.payments),
            "steps_per_payment": rounded(full.steps / full.payments),
            "alone_us_per_payment": rounded(alone.us_per_payment),
            "alone_floor_us": rounded(floor.alone_us),
            "alone_tokens_per_payment": rounded(alone.tokens / alone.payments),
            "alone_steps_per_payment": rounded(alone.steps / alone.payments),
        },
    }


async def _measure_network(plan: PaymentsPlan) -> Figures:
    with tempfile.TemporaryDirectory(prefix="offset-bench-", dir=plan.directory) as name:
        directory = Path(name)
        async with open_row(plan.seed, directory) as village:
            floor = measure_crypto()
            meter, till = Meter(village), till_of(village)
            alone, latencies = await _pay_alone(plan, meter, till)
            alone_fsync_ms = measure_fsync_ms(directory)
            searched = await _pay_searching(plan, village)
            waves = await _pay_in_waves(plan, meter, till)
            mixed, loaded = await _pay_at_random(plan, meter, till)
            fsync_ms = measure_fsync_ms(directory)
            floor = floor.better(measure_crypto())
    return {
        **_rates(mixed, floor),
        "floor_per_second": rounded(1e6 / floor.payment_us),
        "waves": _rates(waves, floor),
        "latency_ms": quantiles_ms(latencies),
        "latency_floor_ms": rounded(_latency_floor_ms(alone, floor, alone_fsync_ms)),
        "latency_with_search_ms": quantiles_ms(searched),
        "latency_loaded_ms": quantiles_ms(loaded),
        "alone": {**_rates(alone, floor), "fsync_ms": rounded(alone_fsync_ms)},
        "nodes": NODES,
        "in_flight": plan.in_flight,
        "think_ms": plan.think_ms,
        "payments": mixed.payments,
        "fsync_ms": rounded(fsync_ms),
        "sign_us": rounded(floor.sign_us),
        "verify_us": rounded(floor.verify_us),
        "hash_us": rounded(floor.hash_us),
    }


def _rates(spent: Spent, floor: CryptoFloor) -> Figures:
    counts = {name: rounded(number) for name, number in spent.per_payment().items()}
    return {
        "payments_per_second": rounded(1e6 / spent.us_per_payment),
        "ratio_to_floor": rounded(spent.us_per_payment / floor.payment_us),
        "us_per_payment": rounded(spent.us_per_payment),
        "cpu_us_per_payment": rounded(spent.cpu_us_per_payment),
        "commit_ms": rounded(spent.commit_ms),
        **counts,
    }


def _latency_floor_ms(alone: Spent, floor: CryptoFloor, fsync_ms: float) -> float:
    """Every commit of a payment alone counts as on its path: hardly two of them overlap."""
    return alone.per_payment()["commits_per_payment"] * fsync_ms + floor.alone_us / 1000


# --- the parts ----------------------------------------------------------------------------------


async def _pay_alone(plan: PaymentsPlan, meter: Meter, till: Till) -> tuple[Spent, list[int]]:
    for _ in range(_WARM_ALONE):
        await till.pay()
    begin, latencies = meter.read(), list[int]()
    with anyio.move_on_after(plan.part_s):
        for _ in range(plan.alone):
            latencies.append(await till.pay())
    return _spent(len(latencies), meter, begin), latencies


async def _pay_searching(plan: PaymentsPlan, village: Village) -> list[int]:
    """As a person pays: the node asks the index server; from `pay` to having the receipt, in ns."""
    latencies: list[int] = []
    people = tuple(village.people.values())
    buyer, seller = people[0].client, people[-1].client
    with anyio.move_on_after(plan.part_s):
        for _ in range(plan.alone):
            invoice = await seller.create_invoice(InvoiceTerms(OUSD, AMOUNT))
            started_ns = time.perf_counter_ns()
            payment_id = await buyer.pay(invoice, FEES)
            report = await buyer.wait_pay(payment_id, PayStage.COMMITTED)
            if report.commit is not None:
                await seller.accept_commit(report.commit)
            report = await buyer.wait_pay(payment_id)
            latencies.append(time.perf_counter_ns() - started_ns)
            if report.failure is not None:
                raise BenchError(f"a payment failed: {report.failure.value}")
            await buyer.forget(payment_id)
    return latencies


async def _pay_in_waves(plan: PaymentsPlan, meter: Meter, till: Till) -> Spent:
    begin, payments = meter.read(), 0
    end = begin
    with anyio.move_on_after(plan.part_s):
        await _wave(plan.in_flight, till)
        begin = meter.read()
        for _ in range(plan.waves):
            await _wave(plan.in_flight, till)
            payments += plan.in_flight
            end = meter.read()
    if not payments:
        raise BenchError(f"no wave of payments ended within {plan.part_s:g} s")
    return Spent(payments, begin, end)


async def _wave(size: int, till: Till) -> None:
    async with anyio.create_task_group() as payers:
        for _ in range(size):
            payers.start_soon(till.pay)


async def _pay_at_random(plan: PaymentsPlan, meter: Meter, till: Till) -> tuple[Spent, list[int]]:
    """Count from when every payer has paid once on average, while all of them go on paying."""
    chance = random.Random(plan.seed)  # noqa: S311 - thinking times are no secrets
    latencies: list[int] = []
    warm = anyio.Event()
    enough = anyio.Event()

    async def payer() -> None:
        while True:
            await anyio.sleep(chance.uniform(0, plan.think_ms) / 1000)
            latencies.append(await till.pay())
            if len(latencies) == plan.in_flight:
                warm.set()
            if len(latencies) == plan.in_flight + plan.payments:
                enough.set()

    async with anyio.create_task_group() as payers:
        for _ in range(plan.in_flight):
            payers.start_soon(payer)
        with anyio.move_on_after(plan.part_s):
            await warm.wait()
        before, begin = len(latencies), meter.read()
        with anyio.move_on_after(plan.part_s):
            await enough.wait()
        spent = _spent(len(latencies) - before, meter, begin)
        payers.cancel_scope.cancel()
    return spent, latencies[before:]


def _spent(payments: int, meter: Meter, begin: Count) -> Spent:
    if not payments:
        raise BenchError("no payment ended in time")
    return Spent(payments, begin, meter.read())
