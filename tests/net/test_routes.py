"""Several routes at once, and one of them that turns out wrong, between real nodes."""

import pytest

from offset_engine.client import HistoryKind, PayStage
from offset_engine.core.api import (
    RequestRoutes,
    RoutesChoice,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
)
from offset_engine.core.values import Uid
from offset_engine.village import CENT, OUSD, Friendship, Village
from tests.covers import covers
from tests.net.test_payments import all_is_well, opened, pay

pytestmark = pytest.mark.anyio

THREE_WAYS = tuple(
    friendship
    for name in ("Mia", "Noa", "Olaf")
    for friendship in (
        Friendship("Bob", name, OUSD, 60_00, 60_00, other_charges=CENT),
        Friendship(name, "Daniel", OUSD, 60_00, 60_00),
    )
)
"""Three ways from Bob to Daniel, each for 60.00 at most and for 0.01."""


async def ask(
    village: Village,
    wish: RoutesWish,
    amount: int,
    ends: tuple[str, str],
) -> RoutesResult:
    """What the index server knows about ways between two people."""
    name, dest = ends
    question = RequestRoutes(
        Uid(bytes(15) + b"\x07"), OUSD, amount, village.people[dest].key, (), wish
    )
    return await village.people[name].client.ask_routes(question)


def fee_of(choice: RoutesChoice) -> int:
    return sum(part.fee for part in choice.parts)


@covers("NT65", "PAY-11", "RMP-17", "OLD-01", "IDX-11")
async def test_one_commit_and_one_receipt_pay_over_three_routes_for_the_fee_that_was_shown():
    async with opened(THREE_WAYS) as village:
        shown = await ask(village, RoutesWish.PAY, 150_00, ("Bob", "Daniel"))
        assert (shown.outcome, shown.reachable) == (RoutesOutcome.FOUND, 150_00)
        fee = min(map(fee_of, shown.choices))
        report = await pay(village, "Bob", "Daniel", 150_00, max_fee=fee)
        assert (report.stage, report.fee, report.parts) == (PayStage.PAID, fee, 3)
        await all_is_well(village)
        assert village.balances()[OUSD]["Daniel"] == 150_00
        for name in ("Mia", "Noa", "Olaf"):
            assert len(await village.people[name].client.history(HistoryKind.FORWARDS)) == 1


@covers("IDX-16")
async def test_the_most_that_can_be_paid_is_paid_and_not_a_credit_more():
    async with opened(THREE_WAYS) as village:
        shown = await ask(village, RoutesWish.MAX, 0, ("Bob", "Daniel"))
        # Each way carries its own fee of one credit, and reports have two significant digits.
        assert 170_00 < shown.reachable <= 180_00 - 3
        more = await pay(village, "Bob", "Daniel", shown.reachable + 1)
        assert more.stage is PayStage.FAILED
        report = await pay(village, "Bob", "Daniel", shown.reachable)
        assert report.stage is PayStage.PAID
        await all_is_well(village)


@covers("NT63")
async def test_a_part_that_comes_back_from_the_middle_goes_another_way_and_the_rest_stays():
    dear = tuple(
        friendship
        for name in ("Mia", "Olaf")
        for friendship in (
            Friendship("Bob", name, OUSD, 100_00, 100_00, other_charges=CENT),
            Friendship(name, "Daniel", OUSD, 100_00, 100_00),
        )
    )
    free = tuple(
        Friendship(*ends, OUSD, 60_00, 60_00) for ends in (("Bob", "Noa"), ("Noa", "Daniel"))
    )
    async with opened((*free, *dear)) as village:
        # The index server believes Daniel's last words: that Noa could pass 60.00 on to him.
        village.people["Daniel"].running.index.set_servers(())
        await pay(village, "Noa", "Daniel", 60_00)
        shown = await ask(village, RoutesWish.PAY, 150_00, ("Bob", "Daniel"))
        noa = village.people["Noa"].key
        assert all(noa in (part.route[1] for part in one.parts) for one in shown.choices)
        report = await pay(village, "Bob", "Daniel", 150_00, max_fee=3)
        assert (report.stage, report.fee) == (PayStage.PAID, 2)
        await all_is_well(village)
        assert not await village.people["Noa"].client.history(HistoryKind.FORWARDS)
        for name in ("Mia", "Olaf"):
            assert await village.people[name].client.history(HistoryKind.FORWARDS)


async def test_parts_that_came_back_because_reports_were_behind_are_tried_again():
    cheapest = (Friendship("Bob", "Noa", OUSD, 60_00, 60_00), *THREE_WAYS[3:4])
    async with opened((*THREE_WAYS[:2], *cheapest, *THREE_WAYS[4:])) as village:
        await pay(village, "Noa", "Daniel", 60_00)
        # Nobody has told the index server yet that Noa has no room left, nor of parts under way.
        report = await pay(village, "Bob", "Daniel", 100_00, max_fee=10)
        assert report.stage is PayStage.PAID
        await all_is_well(village)
