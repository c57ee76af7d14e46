"""Three nodes, a relay and an index server as processes; the nodes are killed at random moments.

Afterwards nothing may be frozen, every payment must have ended, the paid ones with receipts that verify, and
the balances must be exactly the sum of them: no payment is lost, and none happens twice.
"""

import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from offset_engine.core.values import PaymentId
from offset_engine.files import parse_invoice, parse_receipt, verify_receipt
from tests.covers import covers
from tests.e2e.processes import NodeProcess, RefusedError, ServerProcess, come_true, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="kills by POSIX signals"),
]

SHORT = {
    "part_stuck_ms": 5_000,
    "route_answer_ms": 3_000,
    "route_busy_ms": 100,
    "route_retry_ms": 100,
    "friend_wait_ms": 5_000,
    "group_unsealed_ms": 5_000,
    "offline_grace_ms": 500,
    "dial_backoff_min_ms": 200,
    "dial_backoff_max_ms": 1_000,
    "dial_start_max_ms": 300,
    "link_lived_ms": 1_000,
    "index_delta_ms": 100,
}
LIMIT = 1_000_000
FEE = 1
PATIENCE_S = 30


@dataclass
class Payment:
    """One payment, as its buyer and its seller saw it."""

    payment_id: str
    invoice: str
    amount: int
    is_accepted: bool = False
    end: dict[str, object] = field(default_factory=dict)


@dataclass
class Town:
    """Bob pays Daniel over Mia, again and again."""

    tasks: TaskGroup
    bob: NodeProcess
    mia: NodeProcess
    daniel: NodeProcess
    payments: list[Payment] = field(default_factory=list)
    is_closing: bool = False
    workers: int = 0
    moves: int = 0
    """Grows with every step a payment takes, but not when one fails."""
    looks: int = 0
    """Grows with every look at a payment."""

    @property
    def nodes(self) -> tuple[NodeProcess, ...]:
        return self.bob, self.mia, self.daniel

    def friends_of(self, node: NodeProcess) -> list[str]:
        mine = (self.bob, self.daniel) if node is self.mia else (self.mia,)
        return sorted(one.key for one in mine)

    async def is_back(self, node: NodeProcess) -> bool:
        """Links, listeners and the session with the index server are up."""
        status = await status_of(node)
        return (
            status["ready"] == self.friends_of(node)
            and status["listening"] is True
            and status["relays"] == 1
            and status["index"] == "up"
        )

    async def are_back(self) -> bool:
        return all([await self.is_back(node) for node in self.nodes])

    async def is_quiet(self) -> bool:
        return all([(await status_of(node))["frozen"] == 0 for node in self.nodes])

    async def wait_until_back(self, within_s: float) -> None:
        if await come_true(self.are_back, within_s):
            return
        states = {node.name: await status_of(node) for node in self.nodes}
        raise AssertionError(f"not back after {within_s} s: {states}")

    async def work(self, seed: int) -> None:
        """Make one payment after another until the town closes."""
        dice = random.Random(seed)
        self.workers += 1
        while not self.is_closing:
            payment = await self.pay(dice.randint(1, 500))
            if payment.end["stage"] == "failed":
                await come_true(self.are_back, PATIENCE_S)
        self.workers -= 1

    async def pay(self, amount: int) -> Payment:
        """Make a payment, whatever happens to the nodes meanwhile."""
        invoice = str(await self.daniel.ask("invoice", amount))
        payment = Payment(PaymentId(os.urandom(16)).to_text(), invoice, amount)
        self.payments.append(payment)
        await self.bob.ask("pay", payment.payment_id, invoice, 100)
        stage = None
        while True:
            report = await self.bob.ask("payment", payment.payment_id)
            assert isinstance(report, dict), "the buyer forgot a payment it had answered for"
            self.looks += 1
            if report["stage"] not in (stage, "searching", "failed"):
                self.moves += 1
            stage = report["stage"]
            if report["stage"] in ("paid", "failed"):
                payment.end = report
                return payment
            if report["stage"] == "committed" and not payment.is_accepted:
                await self.hand_over(payment, report["commit"])
            await anyio.sleep(0.002)

    async def hand_over(self, payment: Payment, commit: object) -> None:
        try:
            await self.daniel.ask("accept", commit)
            payment.is_accepted = True
        except RefusedError as error:
            payment.end = {"refused": str(error)}


async def status_of(node: NodeProcess) -> dict[str, object]:
    status = await node.ask("status")
    assert isinstance(status, dict)
    return status


@asynccontextmanager
async def town(place: Path, timers: dict[str, int]) -> AsyncIterator[Town]:
    relay = ServerProcess("strelay", "--laddr", 201, place)
    index = ServerProcess("stindex", "--lclient", 202, place)
    async with anyio.create_task_group() as tasks:
        names = ("bob", "mia", "daniel")
        found = Town(
            tasks,
            *(NodeProcess(name, n, place, tasks, timers) for n, name in enumerate(names, 1)),
        )
        everybody = (relay, index, *found.nodes)
        try:
            async with anyio.create_task_group() as starting:
                for one in everybody:
                    starting.start_soon(one.start)
            for node in found.nodes:
                await node.ask("relay", relay.key, relay.address)
                await node.ask("index", index.key, index.address)
                for friend in found.friends_of(node):
                    fee = FEE if node is found.mia else 0
                    await node.ask("friend", friend, relay.key, relay.address, LIMIT, fee)
            await found.wait_until_back(PATIENCE_S)
            yield found
        finally:
            with anyio.CancelScope(shield=True):
                for one in everybody:
                    await one.end()
            tasks.cancel_scope.cancel()


async def check(found: Town) -> None:
    """Everything that must hold once all is quiet."""
    ends = [(one.end.get("stage"), one.end.get("failure")) for one in found.payments]
    for one in found.payments:
        assert one.end.get("stage") in ("paid", "failed"), one
        if one.end["stage"] == "paid":
            receipt = parse_receipt(str(one.end["receipt"]))
            assert verify_receipt(parse_invoice(one.invoice), receipt).is_valid
            assert one.is_accepted
        else:
            assert not one.is_accepted, f"goods were handed over and nothing was paid: {one}"
            assert one.end["failure"] is not None
    statuses = {node.name: await status_of(node) for node in found.nodes}
    assert [status["frozen"] for status in statuses.values()] == [0, 0, 0], ends
    assert all(status["consistent"] for status in statuses.values())
    paid = [one for one in found.payments if one.end["stage"] == "paid"]
    earned = sum(one.amount for one in paid)
    spent = earned + sum(int(str(one.end["fee"])) for one in paid)
    assert [statuses[node.name]["balances"] for node in found.nodes] == [
        {found.mia.key: -spent},
        {found.bob.key: spent, found.daniel.key: -earned},
        {found.mia.key: earned},
    ]


async def kill_at_random(found: Town, seed: int, kills: int) -> None:
    """Kill somebody after a random amount of work, start it again, and so on; sometimes two at once."""
    dice = random.Random(seed)
    for _ in range(kills):
        moves, looks = found.moves + dice.randint(1, 9), dice.randint(0, 6)
        await until(lambda moves=moves: found.moves >= moves, PATIENCE_S, lambda: found)
        looks += found.looks
        await until(lambda looks=looks: found.looks >= looks, PATIENCE_S, lambda: found)
        victims = dice.sample(found.nodes, dice.choice((1, 1, 1, 2)))
        for victim in victims:
            await victim.kill()
        async with anyio.create_task_group() as starting:
            for victim in victims:
                starting.start_soon(victim.start)


async def work_and_kill(place: Path, seed: int, kills: int) -> None:
    async with town(place, SHORT) as found:
        for number in range(3):
            found.tasks.start_soon(found.work, seed * 10 + number)
        await kill_at_random(found, seed, kills)
        await found.wait_until_back(PATIENCE_S)
        done = len(found.payments)
        await until(lambda: len(found.payments) > done + 3, PATIENCE_S, lambda: found.payments[-3:])
        found.is_closing = True
        await until(lambda: found.workers == 0, PATIENCE_S, lambda: found.payments[-3:])
        await come_true(found.is_quiet, PATIENCE_S)
        await check(found)
        ends = [one.end["stage"] for one in found.payments]
        assert ends.count("paid") > kills // 2
        for node in found.nodes:
            text = node.errors.read_text()
            assert "Traceback" not in text, text
            assert "InvariantError" not in text, text


@covers("CMP-21")
async def test_nodes_killed_at_random_lose_nothing_and_pay_nothing_twice(tmp_path: Path):
    await work_and_kill(tmp_path, seed=1, kills=20)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
async def test_nodes_killed_many_times_lose_nothing_and_pay_nothing_twice(
    tmp_path: Path, seed: int
):
    await work_and_kill(tmp_path, seed, kills=50)


@covers("NT79")
@pytest.mark.parametrize(
    "name",
    [
        "mia",
        pytest.param("bob", marks=pytest.mark.slow),
        pytest.param("daniel", marks=pytest.mark.slow),
    ],
)
async def test_a_node_killed_during_a_payment_is_back_within_15_seconds(tmp_path: Path, name: str):
    async with town(tmp_path, {}) as found:
        victim = {node.name: node for node in found.nodes}[name]
        found.tasks.start_soon(found.work, 1)
        await until(lambda: len(found.payments) > 2, PATIENCE_S, lambda: found.payments)
        await victim.kill()
        started = anyio.current_time()
        await victim.start()
        await found.wait_until_back(15)
        assert anyio.current_time() - started <= 15
        found.is_closing = True
        await until(lambda: found.workers == 0, 60, lambda: found.payments[-1:])
        await come_true(found.is_quiet, PATIENCE_S)
        await check(found)
