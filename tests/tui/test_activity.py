"""Activity: one list, searched, noted, exported; nothing foreign acts in it."""

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.reports import ForwardRecord, HistoryEntry, HistoryKind, PaymentRecord
from offset_engine.core.signing import Invoice
from offset_engine.core.values import CREDITS_MAX, InvoiceId, PaymentId
from offset_tui.app import OffsetApp
from tests.covers import covers
from tests.tui.scenes import NOW_MS, OUSD, FakeClient, FakeDoor, key
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
HOSTILE = "[/] \x1b]52;c;eHg=\x07 \u202eabc " + "x" * 400


def door(amount: int = 7_77) -> FakeDoor:
    """A card with a past."""

    def paid(number: int, seller: str, amount: int, about: str, *, is_failed: bool = False):
        invoice = Invoice(InvoiceId(bytes([number]) * 32), OUSD, key(seller), amount, about)
        stage = PayStage.FAILED if is_failed else PayStage.PAID
        why = PayFailure.NO_ROUTE if is_failed else None
        ended = NOW_MS - number * 7_200_000
        return HistoryEntry(
            number,
            PaymentRecord(
                PaymentId(bytes([number]) * 16), invoice, 51, stage, why, ended - 900, ended, None
            ),
        )

    through = ForwardRecord(OUSD, key("Bob"), key("Charli"), 50_00, 26, NOW_MS - 60_000)
    past = {
        HistoryKind.PAYMENTS: [
            paid(1, "Bob", 2_00, "bread"),
            paid(2, "Nobody", 100_00, "car repair"),
            paid(3, "Bob", amount, HOSTILE),
            paid(4, "Charli", 4_00, "chocolate", is_failed=True),
        ],
        HistoryKind.FORWARDS: [HistoryEntry(1, through)],
    }
    return FakeDoor(FakeClient(past=past))


async def opened(app: OffsetApp, pilot: Pilot[None]) -> None:
    await pilot.press("4")
    await until(
        pilot,
        lambda: "bread" in picture(app) or "chocolate" in picture(app) or " 5 " in picture(app),
    )
    await pilot.pause()


@covers("MOB-13", "RMP-33", "RMP-34", "RMP-35")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_list(size: tuple[int, int]) -> None:
    async with running(door(), size) as (app, pilot):
        await opened(app, pilot)
        check_golden(app, "activity")


async def test_no_digit_is_lost_and_nothing_foreign_acts() -> None:
    async with running(door(CREDITS_MAX), SMALL) as (app, pilot):
        await opened(app, pilot)
        shown = picture(app)
        assert str(CREDITS_MAX) in shown.replace(",", "").replace(".", "")
        assert "\x1b" not in shown
        assert "\u202e" not in shown


async def test_nothing_yet_says_what_to_do() -> None:
    async with running(FakeDoor(), SMALL) as (app, pilot):
        await pilot.press("4")
        await until(pilot, lambda: app.current_mode == "activity")
        await settled(app, pilot)
        check_golden(app, "activity-empty")


async def test_one_key_narrows_and_widens() -> None:
    async with running(door(), SMALL) as (app, pilot):
        await opened(app, pilot)
        await pilot.press("t")
        await pilot.pause()
        assert "passed on" in picture(app)
        assert "bread" not in picture(app)
        await pilot.press("i")
        await pilot.pause()
        assert "No match" in picture(app)
        await pilot.press("i")
        await pilot.pause()
        assert " 5 " in picture(app)


async def test_a_note_is_private_and_found_again() -> None:
    scene = door()
    async with running(scene, SMALL) as (app, pilot):
        await opened(app, pilot)
        await pilot.press("o", "e")
        await until(pilot, lambda: app.screen.is_modal)
        await pilot.press(*"roof", "enter")
        await until(pilot, lambda: bool(scene.kept.notes))
        assert scene.kept.notes[0][1] == "roof"
        assert scene.client.asked == []


async def test_export_writes_every_line_shown(tmp_path: Path) -> None:
    async with running(door(CREDITS_MAX), SMALL) as (app, pilot):
        await opened(app, pilot)
        await pilot.press("E")
        await until(pilot, lambda: app.screen.is_modal)
        await pilot.press("down", "enter")
        await until(pilot, lambda: bool(app.screen.query("#line")))
        field = app.screen.query_one("#line")
        field.value = str(tmp_path / "out.json")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, (tmp_path / "out.json").exists)
        rows = json.loads((tmp_path / "out.json").read_text("utf-8"))
        assert len(rows) == 5
        assert {row["credits"] for row in rows} >= {str(-CREDITS_MAX), "-200", "0"}
