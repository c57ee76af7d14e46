"""Balances per currency and friend; totals never mix currencies; the past as a line; export."""

from pathlib import Path

import pytest

from offset_engine.client import (
    ForwardRecord,
    HistoryEntry,
    HistoryKind,
    InvoiceRecord,
    InvoiceTerms,
    PaymentId,
    PaymentRecord,
    PayStage,
)
from offset_tui.dialogs.base import Ask
from offset_tui.doors import AppOptions
from offset_tui.screens.friend import FriendScreen
from offset_tui.widgets.inputs import LineInput
from tests.covers import covers
from tests.tui import people_scenes as people
from tests.tui.people_pilot import table
from tests.tui.people_scenes import door
from tests.tui.scenes import NOW_MS, OUSD, FakeDoor, friend, key, line, report
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
SIZES = pytest.mark.parametrize("size", [SMALL, WIDE])


async def with_past() -> FakeDoor:
    """A card that paid 20.00 for 0.10, got 5.00 and earned 0.51."""
    scene = FakeDoor()
    invoice = await scene.client.sign_invoice(InvoiceTerms(OUSD, 20_00))
    got = await scene.client.sign_invoice(InvoiceTerms(OUSD, 5_00))
    paid = PaymentRecord(
        PaymentId(bytes(16)), invoice, 10, PayStage.PAID, None, NOW_MS - 9_000, NOW_MS - 8_000, None
    )
    sold = InvoiceRecord(got, True, 5_00, NOW_MS - 7_000, NOW_MS - 6_000, None)
    earned = ForwardRecord(OUSD, key("Bob"), key("Charli"), 100_00, 51, NOW_MS - 5_000)
    scene.client.past = {
        HistoryKind.PAYMENTS: [HistoryEntry(1, paid)],
        HistoryKind.INVOICES: [HistoryEntry(1, sold)],
        HistoryKind.FORWARDS: [HistoryEntry(1, earned)],
    }
    return scene


@SIZES
@covers("MOB-22")
async def test_the_village_balances(size: tuple[int, int]) -> None:
    async with running(await with_past(), size) as (app, pilot):
        await pilot.press("6", "down", "down")
        await settled(app, pilot)
        check_golden(app, "balances")
        await pilot.press("s")
        await settled(app, pilot)
        check_golden(app, "balances_by_friend")


@SIZES
async def test_the_largest_amounts_keep_every_digit(size: tuple[int, int]) -> None:
    async with running(door(*people.huge()), size) as (app, pilot):
        await pilot.press("6")
        await settled(app, pilot)
        check_golden(app, "balances_huge")
        assert "+1,701,411,834,604,692,317,316,873,037,158,841,057.27" in picture(app)


@SIZES
async def test_nothing_yet(size: tuple[int, int]) -> None:
    async with running(door(), size) as (app, pilot):
        await pilot.press("6")
        await settled(app, pilot)
        check_golden(app, "balances_none")


async def test_strange_names_and_plain_characters() -> None:
    scene = door(*people.hostile())
    async with running(scene, options=AppOptions(is_ascii=True)) as (app, pilot):
        await pilot.press("6")
        await settled(app, pilot)
        check_golden(app, "balances_hostile_ascii")
        assert not {"\x1b", "\u202e"} & set(picture(app))


async def test_enter_opens_the_friend_and_a_total_opens_nothing() -> None:
    async with running(FakeDoor()) as (app, pilot):
        await pilot.press("6")
        await settled(app, pilot)
        await pilot.press("enter")
        await settled(app, pilot)
        assert not isinstance(app.screen, FriendScreen)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))


async def test_the_export_holds_what_was_shown_when_the_key_was_pressed(tmp_path: Path) -> None:
    scene = door(friend("=cmd()", line(balance=-1_50)))
    path = tmp_path / "balances.csv"
    async with running(scene) as (app, pilot):
        await pilot.press("6")
        await settled(app, pilot)
        assert table(app).row_count == 2
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        scene.client.shown = report()
        scene.client.tell()
        app.screen.query_one(LineInput).value = str(path)
        await pilot.press("enter")
        await until(pilot, path.exists)
        await settled(app, pilot)
        assert "written to" in picture(app)
    rows = path.read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("currency,friend,public_key,balance")
    assert rows[1] == (
        f"OUSD,'=cmd(),{key('=cmd()').to_text()},-1.50,0.00,0.00,200.00,,,201.50,yes"
    )


async def test_an_export_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "balances.csv"
    path.write_text("mine", encoding="utf-8")
    async with running(FakeDoor()) as (app, pilot):
        await pilot.press("6", "E")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(LineInput).value = str(path)
        await pilot.press("enter")
        await until(pilot, lambda: "exists already" in picture(app))
    assert path.read_text(encoding="utf-8") == "mine"
