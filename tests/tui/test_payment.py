"""A payment as it goes: every stage and failure, and what the keys do."""

from pathlib import Path

import pytest

from offset_engine.client import CancelPay, ConfirmFee, PartReport, PayFailure, PayStage
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.hand_over import HandOverScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.screens.payment import PaymentScreen
from offset_tui.widgets import arming
from offset_tui.widgets.inputs import LineInput
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui.scenes import key
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio

WAYS = (
    PartReport(key("Charli"), 3, 60_00, 30),
    PartReport(key("Daniel"), 1, 40_00, 21),
)
STAGES = {
    "searching": money.pay(PayStage.SEARCHING),
    "searching-long": money.pay(PayStage.SEARCHING, ago_s=47),
    "fee": money.pay(
        PayStage.FEE_TO_CONFIRM, money.invoice(100_00, seller="Zoe"), fee=51, parts=2, ways=WAYS
    ),
    "sending": money.pay(
        PayStage.SENDING, money.invoice(100_00, seller="Zoe"), fee=51, parts=2, ways=WAYS
    ),
    "committed": money.pay(
        PayStage.COMMITTED, fee=2, parts=1, ways=(PartReport(key("Charli"), 1, 4_00, 2),)
    ),
    "paid": money.pay(PayStage.PAID, fee=2, parts=1),
    **{f"failed-{one.value}": money.failed(one) for one in PayFailure},
}


@covers("MOB-07")
@pytest.mark.parametrize("size", [SMALL, WIDE])
@pytest.mark.parametrize("name", STAGES)
async def test_every_stage(name: str, size: tuple[int, int]) -> None:
    async with running(money.door(STAGES[name]), size) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await settled(app, pilot)
        check_golden(app, f"payment-{name}")


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_a_commit_handed_over_waits_for_the_receipt(size: tuple[int, int]) -> None:
    door = money.door(STAGES["committed"])
    async with running(door, size) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await pilot.pause()
        await pilot.press("h")
        await until(pilot, lambda: money.payment_id().to_text() in door.kept.handed)
        await until(pilot, lambda: "noted: handed over" in picture(app))
        await settled(app, pilot)
        check_golden(app, "payment-handed")


@covers("MOB-08", "CMP-14")
async def test_the_fee_is_agreed_to_with_p_once_it_was_shown_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = money.door(STAGES["fee"])
    monkeypatch.setattr(arming, "ARMED_AFTER_S", 1e9)
    async with running(door) as (app, pilot):
        screen = PaymentScreen(money.payment_id())
        await app.push_screen(screen)
        await pilot.pause()
        await pilot.press("P", "P", "enter")
        assert door.client.asked == []
        monkeypatch.setattr(arming, "ARMED_AFTER_S", 0.0)
        await pilot.press("enter", "enter")
        assert door.client.asked == []
        await pilot.press("P", "P")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.client.asked == [ConfirmFee(money.payment_id(), STAGES["fee"].fee)]


async def test_another_fee_disarms_the_key_again(monkeypatch: pytest.MonkeyPatch) -> None:
    door = money.door(STAGES["fee"])
    monkeypatch.setattr(arming, "ARMED_AFTER_S", 0.0)
    async with running(door) as (app, pilot):
        screen = PaymentScreen(money.payment_id())
        await app.push_screen(screen)
        await until(pilot, lambda: screen.arming.is_armed)
        monkeypatch.setattr(arming, "ARMED_AFTER_S", 2.0)
        screen.arming._since -= 3.0
        assert screen.arming.is_armed
        dearer = money.pay(PayStage.FEE_TO_CONFIRM, money.invoice(100_00), fee=90, parts=3)
        door.client.pay_list[:] = [dearer]
        door.client.tell()
        await until(pilot, lambda: "0.90 OUSD" in picture(app))
        await pilot.press("P")
        await pilot.pause()
        assert door.client.asked == []


@covers("MOB-09", "CMP-15")
async def test_giving_up_is_asked_and_enter_does_not_do_it() -> None:
    door = money.door(STAGES["sending"])
    async with running(door) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        dialog = app.screen
        assert isinstance(dialog, Confirm)
        await until(pilot, lambda: dialog.is_armed)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, PaymentScreen))
        assert door.client.asked == []
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        again = app.screen
        assert isinstance(again, Confirm)
        await until(pilot, lambda: again.is_armed)
        await pilot.press("x")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.client.asked == [CancelPay(money.payment_id())]


async def test_a_committed_payment_cannot_be_given_up_nor_paid_again() -> None:
    door = money.door(STAGES["committed"])
    async with running(door) as (app, pilot):
        screen = PaymentScreen(money.payment_id())
        await app.push_screen(screen)
        await pilot.press("x", "r", "P")
        await pilot.pause()
        assert app.screen is screen
        assert door.client.asked == []


async def test_only_a_failure_that_is_safe_leads_to_paying_again() -> None:
    async with running(money.door(STAGES["failed-unknown"])) as (app, pilot):
        screen = PaymentScreen(money.payment_id())
        await app.push_screen(screen)
        await pilot.press("r")
        assert app.screen is screen
    async with running(money.door(STAGES["failed-stuck"])) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, PayReviewScreen))
        await until(pilot, lambda: "earlier try failed" in picture(app))


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_commit_of_a_new_payment_is_shown_as_soon_as_it_exists(
    size: tuple[int, int],
) -> None:
    door = money.door(STAGES["sending"])
    async with running(door, size) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id(), is_new=True))
        door.client.pay_list[:] = [STAGES["committed"]]
        door.client.tell()
        await until(pilot, lambda: isinstance(app.screen, HandOverScreen))
        await settled(app, pilot)
        check_golden(app, "payment-hand-over")
        door.client.pay_list[:] = [STAGES["paid"]]
        door.client.tell()
        await until(pilot, lambda: "receipt is kept" in picture(app))
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, PaymentScreen))
        await until(pilot, lambda: bool(door.kept.handed))


@covers("MOB-12")
async def test_a_paid_one_shares_its_receipt_and_verifies() -> None:
    async with running(money.door(STAGES["paid"])) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))
        await pilot.pause()
        assert "offset1:receipt" in picture(app)
        await pilot.press("q")
        await pilot.press("V")
        await until(pilot, lambda: "the seller has collected" in picture(app))


@covers("MOB-12")
async def test_receipt_invoice_and_page_are_written_into_a_folder(tmp_path: Path) -> None:
    async with running(money.door(STAGES["paid"])) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await pilot.press("E")
        await until(pilot, lambda: "Folder for the files" in picture(app))
        app.screen.query_one("#line", LineInput).value = f"{tmp_path}/proofs"
        await pilot.press("enter")
        await until(pilot, lambda: "Written" in picture(app))
    found = sorted(one.suffix for one in (tmp_path / "proofs").iterdir())
    assert found == [".invoice", ".receipt", ".txt"]


async def test_a_note_is_kept_with_the_payment() -> None:
    door = money.door(STAGES["paid"])
    async with running(door) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await pilot.press("e")
        await until(pilot, lambda: "Private note" in picture(app))
        await pilot.press(*"for mum", "enter")
        await until(pilot, lambda: "for mum" in picture(app))
        assert door.kept.note(money.payment_id().to_text()) == "for mum"


async def test_the_largest_amount_keeps_every_digit_and_hostile_words_do_nothing() -> None:
    huge = money.invoice(2**127 - 2**100, money.HOSTILE)
    for pay in (
        money.pay(PayStage.FEE_TO_CONFIRM, huge, fee=2**100 - 7, parts=3),
        money.pay(PayStage.PAID, huge, fee=2**99, parts=3),
    ):
        for size in (SMALL, WIDE, (60, 20)):
            async with running(money.door(pay), size) as (app, pilot):
                await app.push_screen(PaymentScreen(money.payment_id()))
                await pilot.pause()
                shown = picture(app)
                whole = "".join(shown.split()).replace(",", "")
                assert str(2**127 - 2**100)[:-2] in whole
                assert str(2**127 - 2**100 + pay.fee)[:-2] in whole
                assert "\x1b" not in shown
                assert "\u202e" not in shown


async def test_an_unknown_payment_is_said_to_be_unknown() -> None:
    async with running(money.door()) as (app, pilot):
        await app.push_screen(PaymentScreen(money.payment_id()))
        await until(pilot, lambda: "no such payment" in picture(app))
