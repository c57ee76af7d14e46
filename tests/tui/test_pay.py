"""Paying begins with a paste and a look: what the review says, and what its one paying key does."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Button

from offset_engine import files
from offset_engine.client import Currency, Invoice, Pay, PayFailure, PaymentRecord, PayStage
from offset_tui.app import OffsetApp
from offset_tui.dialogs.base import Confirm, TypeToConfirm
from offset_tui.dialogs.pick import Pick
from offset_tui.doors import AppOptions
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.screens.payment import PaymentScreen
from offset_tui.widgets import arming
from offset_tui.widgets.artifact_box import ArtifactBox
from offset_tui.widgets.inputs import LineInput
from offset_tui.widgets.table import KeyedTable
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui.scenes import NOW_MS, OUSD, FakeDoor
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio

NEW = Currency("BEANS")


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting."""
    monkeypatch.setattr(arming, "ARMED_AFTER_S", 0.0)


def _past(*records: PaymentRecord) -> Callable[[], FakeDoor]:
    return lambda: money.with_history(money.door(), *records)


REVIEWS: dict[str, tuple[Invoice, Callable[[], FakeDoor]]] = {
    "friend": (money.invoice(), money.door),
    "stranger": (money.invoice(1_250_00, "sofa", "Zoe"), money.door),
    "changed": (replace(money.invoice(), total_dest_payment=5_00), money.door),
    "unsigned": (money.invoice(is_signed=False), money.door),
    "own": (money.invoice(seller="Eve"), money.door),
    "expired": (money.invoice(expires=NOW_MS // 1000 - 60), money.door),
    "never-expires": (money.invoice(expires=0, description=""), money.door),
    "other-decimals": (money.invoice(10_000, decimals=3), money.door),
    "no-decimals": (money.invoice(10_000, decimals=255), money.door),
    "unknown-currency": (money.invoice(currency=NEW), money.door),
    "paid-already": (money.invoice(), _past(money.paid_record(money.invoice(), ago_s=7_200))),
    "under-way": (money.invoice(), lambda: money.door(money.pay(PayStage.SENDING, parts=1))),
    "tried": (money.invoice(), lambda: money.door(money.failed(PayFailure.NO_ROUTE))),
    "unknown-before": (money.invoice(), lambda: money.door(money.failed(PayFailure.UNKNOWN))),
    "alike": (money.invoice(number=2), _past(money.paid_record(money.invoice(), ago_s=180))),
    "hostile": (money.invoice(2**127 - 2**100, money.HOSTILE), money.door),
}


async def _review(app: OffsetApp, pilot: Pilot[None], invoice: Invoice) -> PayReviewScreen:
    screen = PayReviewScreen(invoice)
    await app.push_screen(screen)
    await until(pilot, lambda: screen._past is not None)
    await settled(app, pilot)
    return screen


@covers("MOB-04", "PRV-03")
@pytest.mark.parametrize("size", [SMALL, WIDE])
@pytest.mark.parametrize("name", REVIEWS)
async def test_every_review(name: str, size: tuple[int, int]) -> None:
    invoice, door = REVIEWS[name]
    async with running(door(), size) as (app, pilot):
        await _review(app, pilot, invoice)
        check_golden(app, f"review-{name}")


async def test_a_plain_terminal_sees_plain_signs() -> None:
    async with running(money.door(), SMALL, AppOptions(is_ascii=True)) as (app, pilot):
        await _review(app, pilot, money.invoice())
        assert picture(app).isascii()
        check_golden(app, "review-ascii")


async def test_enter_never_pays_and_p_only_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arming, "ARMED_AFTER_S", 1e9)
    door = money.door()
    async with running(door) as (app, pilot):
        screen = await _review(app, pilot, money.invoice())
        await pilot.press("P", "P")
        await pilot.pause()
        assert door.client.asked == []
        monkeypatch.setattr(arming, "ARMED_AFTER_S", 0.0)
        assert isinstance(screen.focused, Button)
        assert screen.focused.id == "back"
        await pilot.press("enter", "enter")
        await until(pilot, lambda: app.screen is not screen)
        assert door.client.asked == []


@pytest.mark.usefixtures("armed")
async def test_p_pays_once_and_opens_the_payment() -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        await _review(app, pilot, money.invoice())
        await pilot.press("P", "P", "P")
        await until(pilot, lambda: isinstance(app.screen, PaymentScreen))
        (asked,) = door.client.asked
        assert isinstance(asked, Pay)
        assert (asked.invoice, asked.max_fee, asked.confirm_above) == (money.invoice(), 14, 0)
        assert [one.currency for one in door.chosen.currencies] == [OUSD]


@pytest.mark.usefixtures("armed")
@pytest.mark.parametrize("name", ["changed", "own", "expired", "paid-already", "under-way"])
async def test_what_cannot_be_paid_is_not_paid(name: str) -> None:
    invoice, make = REVIEWS[name]
    door = make()
    async with running(door) as (app, pilot):
        screen = await _review(app, pilot, invoice)
        await pilot.press("P")
        await pilot.click("#pay")
        await pilot.pause()
        assert door.client.asked == []
        assert app.screen is screen


@pytest.mark.usefixtures("armed")
async def test_o_opens_the_earlier_payment() -> None:
    invoice, make = REVIEWS["under-way"]
    async with running(make()) as (app, pilot):
        await _review(app, pilot, invoice)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, PaymentScreen))


@pytest.mark.usefixtures("armed")
async def test_nothing_is_paid_with_read_only() -> None:
    door = money.door()
    async with running(door, SMALL, AppOptions(is_read_only=True)) as (app, pilot):
        await _review(app, pilot, money.invoice())
        await pilot.press("P")
        await until(pilot, lambda: "--read-only" in picture(app))
        assert door.client.asked == []


@pytest.mark.usefixtures("armed")
async def test_two_readings_are_asked_about_before_anything() -> None:
    invoice, make = REVIEWS["other-decimals"]
    door = make()
    async with running(door) as (app, pilot):
        await _review(app, pilot, invoice)
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await settled(app, pilot)
        check_golden(app, "review-two-readings")
        dialog = app.screen
        assert isinstance(dialog, Confirm)
        await until(pilot, lambda: dialog.is_armed)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PayReviewScreen))
        assert door.client.asked == []


@pytest.mark.usefixtures("armed")
async def test_a_new_currency_asks_for_its_decimals_and_keeps_them() -> None:
    invoice, make = REVIEWS["unknown-currency"]
    door = make()
    async with running(door) as (app, pilot):
        await _review(app, pilot, invoice)
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await settled(app, pilot)
        check_golden(app, "review-decimals")
        dialog = app.screen
        assert isinstance(dialog, Pick)
        await until(pilot, lambda: dialog.is_armed)
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.chosen.decimals_of(NEW) == 2
        assert [one.currency for one in door.chosen.currencies] == [NEW]


@pytest.mark.usefixtures("armed")
async def test_paying_again_what_ended_unknown_has_to_be_typed() -> None:
    invoice, make = REVIEWS["unknown-before"]
    door = make()
    async with running(door) as (app, pilot):
        await _review(app, pilot, invoice)
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, TypeToConfirm))
        dialog = app.screen
        assert isinstance(dialog, TypeToConfirm)
        await until(pilot, lambda: dialog.is_armed)
        await pilot.press("enter", "P", "enter")
        assert door.client.asked == []
        dialog.query_one("#word", LineInput).value = "again"
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.client.asked))


async def test_the_highest_fee_can_be_changed() -> None:
    async with running(money.door()) as (app, pilot):
        screen = await _review(app, pilot, money.invoice())
        await pilot.press("f")
        await until(pilot, lambda: "Highest fee" in picture(app))
        app.screen.query_one("#line", LineInput).value = "1,5"
        await pilot.press("enter")
        await until(pilot, lambda: "comma stands" in picture(app))
        app.screen.query_one("#line", LineInput).value = "0.02"
        await pilot.press("enter")
        await until(pilot, lambda: "never above 0.02 OUSD" in picture(app))
        assert screen.max_fee == 2


async def test_a_picture_in_between_does_not_change_what_is_paid() -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        screen = await _review(app, pilot, money.invoice())
        door.client.pay_list.append(money.pay(PayStage.SENDING, money.invoice(9_99, number=7)))
        door.client.tell()
        await pilot.pause()
        assert screen.invoice == money.invoice()
        assert "Pay 4.00 OUSD to Bob (P)" in picture(app)


@pytest.mark.parametrize("size", [SMALL, WIDE, (60, 20)])
async def test_every_digit_is_shown_and_nothing_hostile_acts(size: tuple[int, int]) -> None:
    invoice, make = REVIEWS["hostile"]
    async with running(make(), size) as (app, pilot):
        await _review(app, pilot, invoice)
        shown = picture(app)
        digits = "".join(one for one in shown if one.isdigit())
        assert str(2**127 - 2**100) in digits
        assert not any(one in shown for one in "\x1b\u202e\u2066\x07")


# --- the section ----------------------------------------------------------------------------------


def _busy() -> FakeDoor:
    shown = money.door(
        money.pay(PayStage.FEE_TO_CONFIRM, money.invoice(100_00, "repair"), fee=51, number=1),
        money.pay(PayStage.COMMITTED, money.invoice(2_00, "bread", number=2), fee=2, number=2),
        money.pay(
            PayStage.FAILED,
            money.invoice(7_00, "cake", "Zoe", number=3),
            failure=PayFailure.NO_ROUTE,
            number=3,
        ),
    )
    old = money.paid_record(money.invoice(3_50, number=4), 4, ago_s=4_000)
    return money.with_history(shown, old)


@covers("MOB-06")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_section_lists_what_is_under_way_and_recent(size: tuple[int, int]) -> None:
    async with running(_busy(), size) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: "repair" in picture(app) or "100.00" in picture(app))
        await until(pilot, lambda: "3.50" in picture(app))
        await settled(app, pilot)
        check_golden(app, "pay")


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_list_keeps_every_digit(size: tuple[int, int]) -> None:
    hostile = money.invoice(2**127 - 2**100, money.HOSTILE, number=5)
    door = money.with_history(_busy(), money.paid_record(hostile, 5, ago_s=90_000))
    async with running(door, size) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: "821,928" in picture(app))
        await settled(app, pilot)
        check_golden(app, "pay-hostile")


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_an_empty_section_says_how_to_begin(size: tuple[int, int]) -> None:
    async with running(money.door(), size) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: "Paste the invoice" in picture(app))
        await settled(app, pilot)
        check_golden(app, "pay-empty")


async def test_a_paste_opens_the_review_at_once() -> None:
    async with running(money.door()) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.focused, ArtifactBox))
        app.focused.post_message(events.Paste(files.to_text(money.invoice())))  # type: ignore[union-attr]
        await until(pilot, lambda: isinstance(app.screen, PayReviewScreen))


async def test_a_text_typed_key_by_key_opens_it_too_and_a_damaged_one_is_explained() -> None:
    async with running(money.door()) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.focused, ArtifactBox))
        text = files.to_text(money.invoice())
        box = app.focused
        assert isinstance(box, ArtifactBox)
        box.post_message(events.Paste(text[:-9] + "AAAA" + text[-5:]))
        await until(pilot, lambda: bool(app.screen.query_one("#problem").display))
        await settled(app, pilot)
        check_golden(app, "pay-damaged")
        box.text = ""
        box.insert(text[:40])
        await pilot.press("enter")
        box.insert(text[40:])
        await until(pilot, lambda: isinstance(app.screen, PayReviewScreen))


async def test_the_empty_box_is_no_trap() -> None:
    async with running(_busy()) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.focused, ArtifactBox))
        await pilot.press("down")
        assert isinstance(app.focused, KeyedTable)
        await pilot.press("shift+tab", "q")
        await until(pilot, lambda: app.current_mode == "home")
        await pilot.press("2", "1")
        await until(pilot, lambda: app.current_mode == "home")


async def test_a_change_under_the_cursor_opens_nothing_else() -> None:
    door = _busy()
    async with running(door) as (app, pilot):
        await pilot.press("2")
        await until(pilot, lambda: "3.50" in picture(app))
        await pilot.press("down")
        door.client.pay_list.insert(
            0, money.pay(PayStage.SEARCHING, money.invoice(9_99, number=9), number=9)
        )
        door.client.tell()
        await until(pilot, lambda: "9.99" in picture(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PaymentScreen))
        assert isinstance(app.screen, PaymentScreen)
        assert app.screen.payment_id == money.payment_id(2)
