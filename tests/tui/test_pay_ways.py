"""Before paying: the exact most, every alternative with its fee, and what would help where it does not fit."""

import pytest
from textual.pilot import Pilot

from offset_engine.client import (
    Invoice,
    PayFailure,
    PayStage,
    RoutesLabel,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
)
from offset_tui.app import OffsetApp
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.screens.payment import PaymentScreen
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui import people_scenes as people
from tests.tui import route_scenes as routes
from tests.tui.scenes import FakeDoor, friend, line
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
SIZES = pytest.mark.parametrize("size", [SMALL, WIDE])

SOFA = money.invoice(200_00, "sofa", "Zoe")


def alternatives() -> RoutesResult:
    """Three that differ."""
    return routes.found(
        routes.choice(
            routes.part("Eve", "Bob", "Zoe", amount=120_00, fee=12),
            routes.part("Eve", "Charli", "Zoe", amount=80_00, fee=8),
        ),
        routes.choice(
            routes.part("Eve", "Bob", "Yan", "Zoe", amount=200_00, fee=1_00),
            label=RoutesLabel.FEWEST,
        ),
        routes.choice(
            routes.part("Eve", "Bob", "Xu", "Zoe", amount=100_00, fee=40),
            routes.part("Eve", "Charli", "Xu", "Zoe", amount=100_00, fee=40),
            label=RoutesLabel.WIDEST,
        ),
    )


def dear() -> RoutesResult:
    """One, for too much."""
    return routes.found(routes.choice(routes.part("Eve", "Bob", "Zoe", amount=200_00, fee=9_00)))


def some(amount: int) -> RoutesResult:
    """Not all of it."""
    return routes.partly(routes.choice(routes.part("Eve", "Bob", "Zoe", amount=amount, fee=5)))


def most(amount: int) -> RoutesResult:
    """The maximum."""
    return routes.found(routes.choice(routes.part("Eve", "Bob", "Zoe", amount=amount, fee=5)))


def village() -> FakeDoor:
    """Eve's friends."""
    return money.door()


def poor() -> FakeDoor:
    """Bob alone, whose limit is used up."""
    return people.door(friend("Bob", line(balance=-150_00)))


def too_little() -> FakeDoor:
    """Bob alone, who said how far he trusts Eve."""
    return people.door(friend("Bob", line(balance=10_00)))


STATES = {
    "alternatives": (village, alternatives(), most(220_00)),
    "dear": (village, dear(), most(220_00)),
    "partly": (village, some(120_00), most(120_00)),
    "own": (poor, routes.nothing(RoutesOutcome.NONE), routes.nothing(RoutesOutcome.NONE)),
    "own-partly": (too_little, some(160_00), most(160_00)),
    "unreached": (
        too_little,
        routes.nothing(RoutesOutcome.UNREACHABLE),
        routes.nothing(RoutesOutcome.UNREACHABLE),
    ),
    "no-index": (village, *[routes.nothing(RoutesOutcome.NO_INDEX)] * 2),
    "busy": (village, *[routes.nothing(RoutesOutcome.BUSY)] * 2),
}


async def _review(app: OffsetApp, pilot: Pilot[None], invoice: Invoice) -> PayReviewScreen:
    screen = PayReviewScreen(invoice)
    await app.push_screen(screen)
    await until(pilot, lambda: screen._past is not None and screen._answers is not None)
    await settled(app, pilot)
    return screen


@SIZES
@pytest.mark.parametrize("name", STATES)
@covers("RMP-17")
async def test_what_can_be_paid_is_said_before(name: str, size: tuple[int, int]) -> None:
    make, ways, all_there_is = STATES[name]
    door = make()
    door.client.routes = {RoutesWish.PAY: [ways], RoutesWish.MAX: [all_there_is]}
    async with running(door, size) as (app, pilot):
        await _review(app, pilot, SOFA)
        check_golden(app, f"ways-{name}")
        asked = door.client.questions
        assert [(one.wish, one.amount) for one in asked] == [
            (RoutesWish.PAY, 200_00),
            (RoutesWish.MAX, 0),
        ]


async def test_a_friend_who_is_paid_straight_and_what_cannot_be_paid_are_nobodys_business() -> None:
    for invoice in (money.invoice(), money.invoice(200_00, "sofa", "Zoe", expires=1)):
        door = money.door()
        async with running(door) as (app, pilot):
            screen = PayReviewScreen(invoice)
            await app.push_screen(screen)
            await until(pilot, lambda shown=screen: shown._past is not None)  # type: ignore[misc]
            await settled(app, pilot)
            assert door.client.questions == []


@SIZES
@pytest.mark.parametrize("failure", [PayFailure.OWN_LIMIT, PayFailure.SELLER_UNREACHABLE])
async def test_a_failed_payment_says_the_same(failure: PayFailure, size: tuple[int, int]) -> None:
    door = poor() if failure is PayFailure.OWN_LIMIT else village()
    door.client.pay_list.append(money.pay(PayStage.FAILED, SOFA, failure=failure))
    async with running(door, size) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await settled(app, pilot)
        check_golden(app, f"ways-failed-{failure.value}")
        if failure is PayFailure.OWN_LIMIT:
            assert "Bob's limit for you is used up" in picture(app)
