"""How real nodes find ways: round and back to oneself, right after coming online, and through another server."""

import os
from contextlib import aclosing
from itertools import pairwise

import anyio
import pytest
from anyio.abc import TaskGroup, TaskStatus

from offset_engine.client import (
    HistoryKind,
    PayFailure,
    PaymentId,
    PayStage,
    Rebalance,
    RequestRoutes,
    RoutesOutcome,
    RoutesWish,
    Uid,
)
from offset_engine.core.api import AddIndexServer, RemoveIndexServer
from offset_engine.core.index import IndexLimits
from offset_engine.core.values import NamedAddress
from offset_engine.net.servers import IndexService, run_services
from offset_engine.net.transport import Endpoint
from offset_engine.village import CENT, OUSD, Friendship, Village
from tests.covers import covers
from tests.net.loopback import endpoint, key_of
from tests.net.test_payments import all_is_well, opened, pay

pytestmark = pytest.mark.anyio

RING = ("Alice", "Bob", "Charli", "Daniel")


def friendship(one: str, other: str, *, is_free: bool = True) -> Friendship:
    if is_free:
        return Friendship(one, other, OUSD, 100_00, 100_00)
    return Friendship(one, other, OUSD, 100_00, 100_00, CENT, CENT)


def ring(*, is_free: bool = True) -> tuple[Friendship, ...]:
    pairs = zip(RING, (*RING[1:], RING[0]), strict=True)
    return tuple(friendship(one, other, is_free=is_free) for one, other in pairs)


async def owed(village: Village, one: str, other: str) -> int:
    """What `other` owes `one`."""
    report = await village.people[one].client.report()
    (found,) = [f for f in report.friends if f.public_key == village.people[other].key]
    balance = found.currencies[0].balance
    assert balance is not None
    return balance


@covers("PT64")
async def test_a_circle_of_debts_of_four_people_is_cleared():
    async with opened(ring()) as village:
        for buyer, seller in zip(RING, (*RING[1:], RING[0]), strict=True):
            assert (await pay(village, buyer, seller, 40_00)).stage is PayStage.PAID
        await village.settle()
        assert await owed(village, "Alice", "Bob") == -40_00
        assert await owed(village, "Alice", "Daniel") == 40_00
        alice = village.people["Alice"].client
        last, first = village.people["Bob"].key, village.people["Daniel"].key
        wish = Rebalance(PaymentId(os.urandom(16)), OUSD, 40_00, first, last, 0)
        report = await alice.wait_pay(await alice.rebalance(wish))
        assert (report.stage, report.fee) == (PayStage.PAID, 0)
        await all_is_well(village)
        for one, other in zip(RING, (*RING[1:], RING[0]), strict=True):
            assert await owed(village, one, other) == 0
        assert await alice.invoices() == ()
        (entry, *_) = await alice.history(HistoryKind.PAYMENTS)
        assert entry.record.receipt is not None
        (sold, *_) = await alice.history(HistoryKind.INVOICES)
        assert (sold.record.is_paid, sold.record.received) == (True, 40_00)


async def test_what_a_cycle_costs_is_shown_before_asked_about_and_charged_exactly():
    async with opened(ring(is_free=False)) as village:
        alice, own = village.people["Alice"].client, village.people["Alice"].key
        first = village.people["Bob"].key
        question = RequestRoutes(
            Uid(os.urandom(16)), OUSD, 10_00, own, wish=RoutesWish.CYCLE, first_friend=first
        )
        shown = await alice.ask_routes(question)
        assert shown.outcome is RoutesOutcome.FOUND
        fee = sum(part.fee for part in shown.choices[0].parts)
        assert fee == 3  # everybody but ourselves
        wish = Rebalance(PaymentId(os.urandom(16)), OUSD, 10_00, first, None, 5, 0)
        payment_id = await alice.rebalance(wish)
        asked = await alice.wait_pay(payment_id, PayStage.FEE_TO_CONFIRM)
        assert asked.fee == fee
        await alice.confirm_fee(payment_id, fee)
        paid = await alice.wait_pay(payment_id)
        assert (paid.stage, paid.fee) == (PayStage.PAID, fee)
        await all_is_well(village)
        assert village.balances()[OUSD]["Alice"] == -fee


async def test_who_has_just_been_switched_on_can_pay_and_be_paid_at_once():
    names = ("Bob", "Charli", "Daniel")
    async with opened(tuple(friendship(a, b) for a, b in pairwise(names))) as village:
        for name in names:
            await village.switch_off(name)
        for name in names:
            await village.switch_on(name)
        assert (await pay(village, "Bob", "Daniel", 1_00)).stage is PayStage.PAID
        await village.switch_off("Daniel")
        await village.switch_on("Daniel")
        assert (await pay(village, "Bob", "Daniel", 1_00)).stage is PayStage.PAID
        await all_is_well(village)


async def test_what_the_first_index_server_does_not_know_the_second_one_does():
    async with (
        opened((friendship("Bob", "Charli"), friendship("Charli", "Daniel"))) as village,
        anyio.create_task_group() as tasks,
    ):
        lonely, popular = await serve(tasks, 7), await serve(tasks, 8)
        assert village.index_server is not None
        for name in ("Charli", "Daniel"):
            await use(village, name, popular, instead_of=village.index_server)
        bob = village.people["Bob"].client
        await use(village, "Bob", lonely, instead_of=village.index_server)
        await until_connected(village, "Bob", lonely)
        for name in ("Charli", "Daniel"):
            await until_connected(village, name, popular)
        await bob.command(AddIndexServer(popular))
        assert (await pay(village, "Bob", "Daniel", 1_00)).stage is PayStage.PAID
        assert (await bob.report()).connected_index == popular.public_key
        tasks.cancel_scope.cancel()


async def serve(tasks: TaskGroup, number: int) -> NamedAddress:
    """Start an index server that nobody reports to yet."""
    one = endpoint(number)
    (address,) = await tasks.start(_serve, one)
    return NamedAddress(key_of(one), address)


async def _serve(one: Endpoint, *, task_status: TaskStatus[tuple[str, ...]]) -> None:
    service = IndexService(one, IndexLimits(tick_ms=1_000))
    await run_services(one, ["127.0.0.1:0"], [service], task_status=task_status)


async def use(
    village: Village, name: str, server: NamedAddress, *, instead_of: NamedAddress
) -> None:
    client = village.people[name].client
    await client.command(AddIndexServer(server))
    await client.command(RemoveIndexServer(instead_of.public_key))


async def until_connected(village: Village, name: str, server: NamedAddress) -> None:
    async with aclosing(village.people[name].client.reports()) as reports:
        with anyio.fail_after(10):
            async for report in reports:
                if report.connected_index == server.public_key:
                    return


async def test_a_payment_that_can_never_succeed_still_fails_in_a_few_seconds():
    async with opened((friendship("Bob", "Charli"), friendship("Charli", "Daniel"))) as village:
        with anyio.fail_after(5):
            report = await pay(village, "Bob", "Daniel", 100_01)
        assert report.failure is PayFailure.NO_ROUTE
