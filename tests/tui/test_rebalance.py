"""Rebalancing on the screen: what it would do is shown before, and Enter never does it."""

from collections.abc import Iterator

import pytest
from textual.pilot import Pilot

from offset_engine.client import (
    CommandFault,
    PayFailure,
    PayStage,
    Rebalance,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
)
from offset_tui.app import OffsetApp
from offset_tui.dialogs.base import Confirm, TypeToConfirm
from offset_tui.doors import AppOptions
from offset_tui.screens import form, rebalance
from offset_tui.screens.friend import FriendScreen
from offset_tui.screens.payment import PaymentScreen
from offset_tui.screens.rebalance import RebalanceScreen
from offset_tui.widgets.inputs import LineInput
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui import people_scenes as people
from tests.tui import route_scenes as routes
from tests.tui.people_pilot import armed
from tests.tui.scenes import HOURS, OUSD, FakeDoor, friend, key, line
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
SIZES = pytest.mark.parametrize("size", [SMALL, WIDE])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The index server is asked without a pause, and dialogs listen at once."""
    monkeypatch.setattr(rebalance, "PAUSE_S", 0.01)
    monkeypatch.setattr(form, "ARMED_AFTER_S", 0.0)
    return iter(())


def with_answers(*answers: RoutesResult, door: FakeDoor | None = None) -> FakeDoor:
    """Eve's card, and what the index server says about circles."""
    door = door or FakeDoor()
    door.client.routes[RoutesWish.CYCLE] = list(answers)
    return door


async def opened(
    app: OffsetApp, pilot: Pilot[None], name: str, currency: str = OUSD
) -> RebalanceScreen:
    """The screen with a friend, once the answer is there."""
    screen = RebalanceScreen(key(name), type(OUSD).of(currency))
    await app.push_screen(screen)
    await until(pilot, lambda: screen.is_mounted)
    if screen.has("amount"):
        await until(pilot, lambda: "looking for" not in picture(app))
    await settled(app, pilot)
    return screen


TWO = routes.found(
    routes.choice(
        routes.part("Eve", "Bob", "Zoe", "Charli", "Eve", amount=8_00, fee=2),
        routes.part("Eve", "Bob", "Yan", "Daniel", "Eve", amount=3_95, fee=3),
    )
)


def states() -> dict[str, tuple[str, str, tuple[RoutesResult, ...]]]:
    """Friend, currency, answers."""
    lost = routes.nothing
    return {
        "free": ("Bob", OUSD, (routes.circle(12_00),)),
        "fee": ("Bob", OUSD, (routes.circle(12_00, 3), routes.circle(11_97, 3))),
        "owing": (
            "Charli",
            OUSD,
            (
                routes.found(
                    routes.choice(
                        routes.part("Eve", "Bob", "Zoe", "Charli", "Eve", amount=31_45, fee=8)
                    )
                ),
            ),
        ),
        "parts": ("Bob", OUSD, (TWO,)),
        "partly": (
            "Bob",
            OUSD,
            (
                routes.partly(
                    routes.choice(
                        routes.part("Eve", "Bob", "Zoe", "Charli", "Eve", amount=9_00, fee=1)
                    )
                ),
                routes.circle(9_00, 1),
            ),
        ),
        "none": ("Bob", OUSD, (lost(RoutesOutcome.NONE),)),
        "no-index": ("Bob", OUSD, (lost(RoutesOutcome.NO_INDEX),)),
        "dear": ("Bob", OUSD, (routes.circle(12_00, 2_00), routes.circle(10_00, 2_00))),
    }


@SIZES
@pytest.mark.parametrize("name", states())
@covers("RMP-05")
async def test_what_would_change_is_shown_before(name: str, size: tuple[int, int]) -> None:
    who, currency, answers = states()[name]
    async with running(with_answers(*answers), size) as (app, pilot):
        await opened(app, pilot, who, currency)
        check_golden(app, f"rebalance-{name}")


@SIZES
async def test_where_nothing_is_owed_there_is_nothing_to_fill_in(size: tuple[int, int]) -> None:
    async with running(FakeDoor(), size) as (app, pilot):
        await opened(app, pilot, "Daniel")
        check_golden(app, "rebalance-nothing")


async def test_a_plain_terminal_sees_plain_signs() -> None:
    door = with_answers(routes.circle(12_00, 3), routes.circle(11_97, 3))
    async with running(door, SMALL, AppOptions(is_ascii=True)) as (app, pilot):
        await opened(app, pilot, "Bob")
        assert picture(app).isascii()
        check_golden(app, "rebalance-ascii")


async def test_a_name_that_tries_things_and_the_largest_amount() -> None:
    name = people.MARKUP_NAME
    door = with_answers(
        routes.found(
            routes.choice(routes.part("Eve", name, "Zoe", people.RLO_NAME, "Eve", amount=2**126))
        ),
        door=people.door(
            friend(name, line(balance=2**126)), friend(people.RLO_NAME, line(balance=-(2**126)))
        ),
    )
    async with running(door, SMALL) as (app, pilot):
        await opened(app, pilot, name)
        check_golden(app, "rebalance-hostile")


async def test_what_is_offered_brings_the_balance_to_zero_with_the_fee() -> None:
    door = with_answers(routes.circle(12_00, 3), routes.circle(11_97, 3))
    async with running(door) as (app, pilot):
        screen = await opened(app, pilot, "Bob")
        assert screen.text("amount") == "11.97"
        assert [one.amount for one in door.client.questions] == [12_00, 11_97]
        assert (door.client.questions[0].first_friend, door.client.questions[0].last_friend) == (
            key("Bob"),
            None,
        )
        assert door.client.questions[0].dest == key("Eve")


async def test_an_amount_somebody_typed_stays() -> None:
    door = with_answers(routes.circle(12_00), routes.circle(5_00, 1))
    async with running(door) as (app, pilot):
        screen = await opened(app, pilot, "Bob")
        screen.query_one("#amount", LineInput).value = "5"
        await until(pilot, lambda: "+6.99" in picture(app))
        assert screen.text("amount") == "5"
        screen.query_one("#amount", LineInput).value = "13"
        await until(pilot, lambda: "more than that cannot be moved" in picture(app))
        assert [one.amount for one in door.client.questions] == [12_00, 5_00]


async def test_another_currency_offers_what_is_owed_in_it() -> None:
    door = with_answers(routes.nothing(RoutesOutcome.BUSY))
    async with running(door) as (app, pilot):
        screen = await opened(app, pilot, "Bob")
        screen.query_one("#currency", LineInput).value = "HOURS"
        await until(pilot, lambda: len(door.client.questions) == 2)
        asked = door.client.questions[-1]
        assert (asked.currency, asked.amount) == (HOURS, 2_50)
        assert (asked.first_friend, asked.last_friend) == (None, key("Bob"))
        await until(pilot, lambda: "no time" in picture(app))


async def agreed(app: OffsetApp, pilot: Pilot[None]) -> None:
    """Up to the question."""
    await pilot.press("ctrl+g")
    await until(pilot, lambda: isinstance(app.screen, Confirm))
    await settled(app, pilot)


@SIZES
@covers("RMP-05")
async def test_one_more_answer_moves_it_and_enter_does_not(size: tuple[int, int]) -> None:
    door = with_answers(routes.circle(12_00, 3), routes.circle(11_97, 3))
    async with running(door, size) as (app, pilot):
        await opened(app, pilot, "Bob")
        await agreed(app, pilot)
        check_golden(app, "rebalance-question")
        await armed(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RebalanceScreen))
        assert door.client.asked == []
        await agreed(app, pilot)
        await armed(app, pilot)
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, PaymentScreen))
        (asked,) = door.client.asked
        assert isinstance(asked, Rebalance)
        assert (asked.amount, asked.max_fee, asked.confirm_above) == (11_97, 22, 3)
        assert (asked.first_friend, asked.last_friend) == (key("Bob"), key("Charli"))


async def test_a_fee_above_the_highest_is_not_paid() -> None:
    door = with_answers(routes.circle(12_00, 2_00), routes.circle(10_00, 2_00))
    async with running(door) as (app, pilot):
        screen = await opened(app, pilot, "Bob")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: picture(app).count("above your highest fee") == 2)
        screen.query_one("#fee", LineInput).value = "2"
        await settled(app, pilot)
        await agreed(app, pilot)


async def test_a_balance_that_changed_meanwhile_is_looked_at_again() -> None:
    door = with_answers(routes.circle(12_00))
    async with running(door) as (app, pilot):
        await opened(app, pilot, "Bob")
        await agreed(app, pilot)
        door.client.shown = people.door(friend("Bob", line(balance=20_00))).client.shown
        door.client.tell()
        await until(pilot, lambda: app.session.snapshot.report is door.client.shown)
        await armed(app, pilot)
        await pilot.press("P")
        await until(pilot, lambda: "look at it once more" in picture(app))
        assert door.client.asked == []


async def test_nothing_is_moved_with_read_only_and_a_refusal_is_said() -> None:
    door = with_answers(routes.circle(12_00))
    async with running(door, SMALL, AppOptions(is_read_only=True)) as (app, pilot):
        await opened(app, pilot, "Bob")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: "--read-only" in picture(app))
    door = with_answers(routes.circle(12_00))
    door.client.refusal = CommandFault.LIMIT_REACHED
    async with running(door) as (app, pilot):
        await opened(app, pilot, "Bob")
        await agreed(app, pilot)
        await armed(app, pilot)
        await pilot.press("P")
        await until(pilot, lambda: "as many of these as it can" in picture(app))
        assert isinstance(app.screen, RebalanceScreen)


# --- the ways there -----------------------------------------------------------------------------


async def test_z_on_a_friend_and_on_a_balance_opens_it() -> None:
    async with running(with_answers(routes.circle(12_00))) as (app, pilot):
        await app.push_screen(FriendScreen(key("Bob")))
        await settled(app, pilot)
        await pilot.press("z")
        await until(pilot, lambda: isinstance(app.screen, RebalanceScreen))
        await settled(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))
        await pilot.press("6")
        await until(pilot, lambda: app.current_mode == "balances")
        await settled(app, pilot)
        await pilot.press("g", "z")
        await until(pilot, lambda: "choose a friend's line first" in picture(app))
        await pilot.press("j", "z")
        await until(pilot, lambda: isinstance(app.screen, RebalanceScreen))


@covers("RMP-06")
async def test_unfriending_offers_it_first() -> None:
    async with running(with_answers(routes.circle(12_00))) as (app, pilot):
        await app.push_screen(FriendScreen(key("Bob")))
        await settled(app, pilot)
        await pilot.press("X")
        await until(pilot, lambda: isinstance(app.screen, TypeToConfirm))
        await settled(app, pilot)
        check_golden(app, "unfriend_rebalance")
        await armed(app, pilot)
        await pilot.click("#rebalance")
        await until(pilot, lambda: isinstance(app.screen, RebalanceScreen))


# --- as it goes ---------------------------------------------------------------------------------

OWN = money.invoice(12_00, "", "Eve")
STAGES = {
    "searching": money.pay(PayStage.SEARCHING, OWN),
    "sending": money.pay(PayStage.SENDING, OWN, fee=3, parts=2),
    "committed": money.pay(PayStage.COMMITTED, OWN, fee=3, parts=2),
    "paid": money.pay(PayStage.PAID, OWN, fee=3, parts=2),
    "failed": money.pay(PayStage.FAILED, OWN, failure=PayFailure.NO_ROUTE),
}


@SIZES
@pytest.mark.parametrize("name", STAGES)
async def test_its_timeline_has_no_seller(name: str, size: tuple[int, int]) -> None:
    async with running(money.door(STAGES[name]), size) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id(), is_new=True))
        await settled(app, pilot)
        check_golden(app, f"rebalance-{name}-payment")
        assert "seller" not in picture(app)
        assert "hand over" not in picture(app)
