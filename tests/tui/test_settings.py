"""Settings, and what the app does by itself because of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from offset_engine.cards.settings import CardSettings, CurrencyView
from offset_engine.client import (
    CollectInvoice,
    Commit,
    ConfirmFee,
    Invoice,
    InvoiceReport,
    PaymentId,
    PayReport,
    PayStage,
)
from offset_engine.core.crypto import sha512_256
from offset_engine.core.values import InvoiceId
from offset_engine.files import to_text
from offset_engine.text import EntryError
from offset_tui import setting_words
from offset_tui.doors import AppOptions
from tests.covers import covers
from tests.tui.card_scenes import ALICE, with_cards
from tests.tui.scenes import HOURS, NOW_MS, OUSD, key
from tests.tui.screens import SMALL, WIDE, check_golden, running, settled, until

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("size", [SMALL, WIDE])


def invoice(amount: int = 10_000) -> Invoice:
    return Invoice(InvoiceId(sha512_256(b"x")), OUSD, key("Bob"), amount, "Bread")


def fee_to_confirm(fee: int, amount: int = 10_000) -> PayReport:
    return PayReport(
        PaymentId(bytes(16)),
        invoice(amount),
        PayStage.FEE_TO_CONFIRM,
        None,
        1_000,
        fee,
        1,
        False,
        None,
        None,
        NOW_MS,
        None,
    )


async def at_settings(app, pilot, row: str = "collect") -> None:
    app.action_section("settings")
    await pilot.pause()
    app.screen.query_one("#settings").select(row)
    await settled(app, pilot)


@BOTH
async def test_all_settings(size) -> None:
    door = with_cards()
    door.chosen = CardSettings(
        currencies=(CurrencyView(OUSD, 2), CurrencyView(HOURS, 0)),
        auto_fee_permille=5,
        auto_lock_minutes=15,
        inbox="/srv/eve/inbox",
        stays_online=True,
        app_address="192.168.1.20:3001",
    )
    async with running(door, size) as (app, pilot):
        await at_settings(app, pilot, "lock")
        check_golden(app, "settings")


async def test_switches_are_switched_by_enter() -> None:
    door = with_cards()
    async with running(door) as (app, pilot):
        await at_settings(app, pilot, "collect")
        await pilot.press("enter")
        await until(pilot, lambda: door.chosen.auto_collect)
        await pilot.press("enter")
        await until(pilot, lambda: not door.chosen.auto_collect)


async def test_a_typed_setting_is_read_or_asked_again() -> None:
    door = with_cards()
    async with running(door) as (app, pilot):
        await at_settings(app, pilot, "fee")
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one("#line").value = "many"
        await pilot.press("enter")
        await settled(app, pilot)
        check_golden(app, "settings-fee-problem")
        app.screen.query_one("#line").value = "0.5"
        await pilot.press("enter")
        await until(pilot, lambda: door.chosen.auto_fee_permille == 5)


@covers("MOB-15")
async def test_decimals_change_only_with_the_currency_typed() -> None:
    door = with_cards()
    door.chosen = CardSettings(currencies=(CurrencyView(OUSD, 2),))
    async with running(door) as (app, pilot):
        await at_settings(app, pilot, "decimals OUSD")
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        app.screen.query_one("#line").value = "3"
        await pilot.press("enter")
        await until(pilot, lambda: bool(app.screen.query("#word")))
        await settled(app, pilot)
        check_golden(app, "settings-decimals")
        assert door.chosen.decimals_of(OUSD) == 2
        await pilot.pause(0.45)
        app.screen.query_one("#word").value = "OUSD"
        await pilot.press("enter")
        await until(pilot, lambda: door.chosen.decimals_of(OUSD) == 3)


@covers("MOB-50", "RMP-30")
@BOTH
async def test_the_theme_is_kept_for_the_next_start(size) -> None:
    door = with_cards()
    async with running(door, size) as (app, pilot):
        await at_settings(app, pilot, "theme")
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await settled(app, pilot)
        check_golden(app, "settings-theme")
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: door.kept_app.theme == "offset-mono")
        assert app.theme == "offset-mono"
    async with running(door) as (app, _):
        assert app.theme == "offset-mono"


async def test_staying_online_moves_the_card() -> None:
    door = with_cards()
    async with running(door) as (app, pilot):
        await at_settings(app, pilot, "stays")
        await pilot.press("enter")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("enter")
        await until(pilot, lambda: "leave running Eve" in door.done)
        assert app.current_mode == "settings"


async def test_read_only_keeps_everything() -> None:
    door = with_cards()
    async with running(door, options=AppOptions(is_read_only=True)) as (app, pilot):
        await at_settings(app, pilot, "collect")
        await pilot.press("enter")
        await settled(app, pilot)
        assert not door.chosen.auto_collect


@pytest.mark.parametrize("text", ["", "-1", "101", "0.55", "٣", "1e3", "0,5"])
async def test_a_share_is_a_plain_percentage(text: str) -> None:
    with pytest.raises(EntryError):
        setting_words.read("fee", text)


# --- what it does by itself ---------------------------------------------------------------------


@pytest.mark.parametrize(("fee", "is_agreed"), [(50, True), (51, False)])
async def test_small_fees_are_agreed_to_once(fee: int, is_agreed: bool) -> None:
    door = with_cards()
    door.chosen = CardSettings(auto_fee_permille=5)
    async with running(door) as (app, pilot):
        door.client.pay_list = [fee_to_confirm(fee)]
        door.client.tell()
        await until(pilot, lambda: bool(app.session.snapshot.pays))
        door.client.tell()
        await settled(app, pilot)
        wanted = [ConfirmFee(PaymentId(bytes(16)), fee)] if is_agreed else []
        assert door.client.asked == wanted
        if is_agreed:
            check_golden(app, "home-auto-fee")


async def test_nothing_happens_by_itself_in_a_read_only_app() -> None:
    door = with_cards()
    door.chosen = CardSettings(auto_fee_permille=1_000)
    async with running(door, options=AppOptions(is_read_only=True)) as (app, pilot):
        door.client.pay_list = [fee_to_confirm(1)]
        door.client.tell()
        await until(pilot, lambda: bool(app.session.snapshot.pays))
        await settled(app, pilot)
        assert door.client.asked == []


@pytest.mark.parametrize("is_held", [False, True])
async def test_good_commits_are_collected_unless_on_hold(is_held: bool) -> None:
    door = with_cards()
    door.chosen = CardSettings(auto_collect=True)
    sale = invoice()
    if is_held:
        door.kept = door.kept.with_hold(sale.invoice_id.to_text(), NOW_MS - 1)
    commit = Commit(*[None] * len(Commit.__dataclass_fields__))
    async with running(door) as (app, pilot):
        door.client.invoice_list = [InvoiceReport(sale, NOW_MS, None, 10_000, True, commit)]
        door.client.tell()
        await until(pilot, lambda: bool(app.session.snapshot.invoices))
        await settled(app, pilot)
        wanted = [] if is_held else [CollectInvoice(sale.invoice_id, False)]
        assert door.client.asked == wanted


async def test_news_are_announced_to_somebody_who_is_not_typing() -> None:
    door = with_cards()
    now = [0.0]
    async with running(door) as (app, pilot):
        app._house._clock = lambda: now[0]
        app._house._last_key = 0.0
        now[0] = 10.0
        door.client.pay_list = [fee_to_confirm(50)]
        door.client.tell()
        await until(pilot, lambda: bool(app.session.snapshot.pays))
        await settled(app, pilot)
        check_golden(app, "home-news")


async def test_a_file_in_the_inbox_is_offered_and_left_alone(tmp_path: Path) -> None:
    door = with_cards()
    old, new = tmp_path / "old.txt", tmp_path / "new.txt"
    old.write_text(to_text(ALICE))
    door.chosen = CardSettings(inbox=str(tmp_path))
    async with running(door) as (app, pilot):
        await app._house.look_into_inbox()
        new.write_text(to_text(ALICE))
        (tmp_path / "link.txt").symlink_to(old)
        (tmp_path / "noise.txt").write_text("hello")
        await app._house.look_into_inbox()
        await app._house.look_into_inbox()
        await settled(app, pilot)
        assert list(app.session.arrived) == ["new.txt"]
        assert not door.client.asked
        check_golden(app, "home-inbox")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: len(app.screen_stack) == 2)
        assert not app.session.arrived
        assert new.exists()


async def test_a_folder_that_is_not_there_is_said_once(tmp_path: Path) -> None:
    door = with_cards()
    door.chosen = replace(CardSettings(), inbox=str(tmp_path / "gone"))
    async with running(door) as (app, pilot):
        await app._house.look_into_inbox()
        await settled(app, pilot)
        assert app._house._inbox.problem
