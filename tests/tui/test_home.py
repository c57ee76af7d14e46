"""Home shows what one has, what needs one, what is under way, what is left to set up, and who is there."""

from dataclasses import replace

import pytest

from offset_engine.cards.settings import CardSettings
from offset_engine.client import HistoryEntry, HistoryKind, PaymentRecord, PayStage
from offset_engine.core.values import CREDITS_MAX
from offset_engine.introducing import own_card
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import AppOptions
from offset_tui.screens.connect import ConnectScreen
from offset_tui.screens.friend import FriendScreen
from tests.covers import covers
from tests.tui.card_scenes import StoreDoor, fresh_report, with_cards
from tests.tui.scenes import HOURS, NOW_MS, FakeDoor, friend, line, report
from tests.tui.screens import SMALL, WIDE, check_golden, running, settled, until
from tests.tui.test_settings import fee_to_confirm

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("size", [SMALL, WIDE])


def settled_door() -> StoreDoor:
    """Everything is set up, and payments were made."""
    door = with_cards()
    door.chosen = CardSettings(backed_up_ms=NOW_MS)
    pay = fee_to_confirm(50)
    door.client.past = {
        HistoryKind.PAYMENTS: [
            HistoryEntry(
                number,
                PaymentRecord(
                    type(pay.payment_id)(bytes([number]) * 16),
                    pay.invoice,
                    51,
                    PayStage.PAID,
                    None,
                    NOW_MS - number * 3_600_000,
                    NOW_MS - number * 3_600_000,
                    None,
                ),
            )
            for number in range(1, 9)
        ]
    }
    return door


@covers("MOB-01")
@BOTH
async def test_home_with_four_friends(size: tuple[int, int]) -> None:
    async with running(FakeDoor(), size) as (app, _):
        check_golden(app, "home")


@BOTH
async def test_once_everything_is_done_the_checklist_is_gone(size) -> None:
    async with running(settled_door(), size) as (app, _):
        check_golden(app, "home-done")


@BOTH
async def test_payments_under_way_and_needs(size) -> None:
    door = settled_door()
    pay = fee_to_confirm(50)
    door.client.pay_list = [
        pay,
        *(
            replace(
                pay,
                payment_id=type(pay.payment_id)(bytes([number]) * 16),
                stage=stage,
                created_ms=NOW_MS - number * 60_000,
            )
            for number, stage in enumerate(
                [PayStage.SEARCHING, PayStage.SENDING, PayStage.SENDING, PayStage.SENDING], 100
            )
        ),
    ]
    async with running(door, size) as (app, _):
        check_golden(app, "home-busy")


@BOTH
async def test_thirty_friends_scroll_and_huge_amounts_keep_every_digit(size) -> None:
    door = settled_door()
    many = [friend(f"Friend {number:02}", line(balance=number)) for number in range(30)]
    whale = friend("Whale", line(balance=CREDITS_MAX, max_debt=CREDITS_MAX))
    hostile = friend("[/]\x1b]52;c;x\x07\u202eevil", line(HOURS, balance=-1))
    door.client.shown = report(*many, whale, hostile)
    async with running(door, size) as (app, _):
        check_golden(app, "home-many")


async def test_plain_characters() -> None:
    async with running(FakeDoor(), options=AppOptions(is_ascii=True)) as (app, _):
        check_golden(app, "home-ascii")


@covers("MOB-29")
async def test_the_checklist_goes_to_its_step() -> None:
    door = with_cards()
    door.client.shown = fresh_report("Eve")
    async with running(door) as (app, pilot):
        await until(pilot, lambda: app.focused is not None and app.focused.id == "steps")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConnectScreen))


async def test_the_cursor_stays_on_its_step_while_the_picture_changes() -> None:
    door = with_cards()
    door.client.shown = fresh_report("Eve")
    async with running(door) as (app, pilot):
        await until(pilot, lambda: app.focused is not None and app.focused.id == "steps")
        await pilot.press("down", "down")
        door.client.shown = replace(report(), friends=())
        door.client.tell()
        await settled(app, pilot)
        steps = app.screen.query_one("#steps")
        assert steps.get_option_at_index(steps.highlighted).id == "LIMIT"


async def test_enter_opens_the_friend_under_the_cursor() -> None:
    async with running(settled_door()) as (app, pilot):
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))


async def test_y_shares_the_own_card() -> None:
    async with running(settled_door()) as (app, pilot):
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))
        assert app.screen.content_shared == own_card(app.session.snapshot.report, "Eve")


async def test_n_asks_what_kind() -> None:
    async with running(settled_door()) as (app, pilot):
        await pilot.press("n")
        await settled(app, pilot)
        check_golden(app, "home-new")
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.current_mode == "receive")
