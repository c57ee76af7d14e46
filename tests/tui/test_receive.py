"""Being paid: the form, the open invoices, one invoice, and what a commit is worth."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from offset_engine import files
from offset_engine.client import (
    AddInvoice,
    CancelInvoice,
    CollectInvoice,
    CommandFault,
    Commit,
    CommitInvoice,
    Currency,
    Invoice,
    InvoiceReport,
    RegisterCommit,
)
from offset_tui.app import OffsetApp
from offset_tui.dialogs.base import Confirm, TypeToConfirm
from offset_tui.dialogs.invoice_share import InvoiceQrScreen, InvoiceShareScreen
from offset_tui.dialogs.pick import Pick
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import AppOptions
from offset_tui.screens.commit import CommitScreen
from offset_tui.screens.invoice import InvoiceScreen
from offset_tui.widgets import arming
from offset_tui.widgets.choice import Choice
from offset_tui.widgets.inputs import LineInput
from offset_tui.widgets.table import KeyedTable
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui.scenes import NOW_MS, FakeDoor, friend, line, report
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio

DAY_MS = 86_400_000


@pytest.fixture
def armed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting."""
    monkeypatch.setattr(arming, "ARMED_AFTER_S", 0.0)


def _sale(number: int, amount: int = 4_00, what: str = "2 chocolate bars") -> Invoice:
    return money.invoice(amount, what, "Eve", number=number)


def _suffixes(folder: Path) -> list[str]:
    return sorted(one.suffix for one in folder.iterdir())


def _open() -> FakeDoor:
    held = _sale(3, 12_50, "chair")
    return money.door(
        sales=(
            money.sale(_sale(1)),
            money.reserved(_sale(2, 2_00, "bread")),
            money.sale(held, frozen=12_50, is_sealed=True, registered=money.commit(held)),
            money.sale(replace(_sale(4, 100_00, "repair"), expires=0)),
        )
    )


# --- the form -------------------------------------------------------------------------------------


@covers("MOB-17")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_form_and_the_open_invoices(size: tuple[int, int]) -> None:
    async with running(_open(), size) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: "Open invoices" in picture(app))
        await settled(app, pilot)
        check_golden(app, "receive")


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_form_says_what_can_come_in(size: tuple[int, int]) -> None:
    async with running(money.door(), size) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: "New invoice" in picture(app))
        await settled(app, pilot)
        check_golden(app, "receive-empty")
        await pilot.press(*"1250")
        await until(pilot, lambda: "would" in picture(app))
        await settled(app, pilot)
        check_golden(app, "receive-too-much")


@covers("MOB-15")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_what_is_wrong_is_said_below_each_field(size: tuple[int, int]) -> None:
    door = money.door()
    async with running(door, size) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        app.screen.query_one("#currency", LineInput).value = "US D"
        await pilot.press(*"1,25")
        app.screen.query_one("#for", LineInput).value = "é" * 130
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "bytes too long" in picture(app))
        await settled(app, pilot)
        check_golden(app, "receive-errors")
        assert door.client.asked == []
        assert app.focused is app.screen.query_one("#currency")


@covers("MOB-14", "MOB-16", "CMP-18")
async def test_an_invoice_is_made_once_with_ctrl_s_and_shown_to_be_shared() -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"4.00", "enter", *"bars")
        await pilot.press("ctrl+s", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))
        await settled(app, pilot)
        check_golden(app, "receive-share")
        (asked,) = door.client.asked
        assert isinstance(asked, AddInvoice)
        made = asked.invoice
        assert (made.total_dest_payment, made.description, made.decimals) == (4_00, "bars", 2)
        assert asked.expires_ms == made.expires * 1000 == NOW_MS + DAY_MS
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, ShareScreen))
        assert app.screen.query_one("#amount", Input).value == ""


async def test_the_wish_to_hold_is_remembered() -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("4", "tab", "tab", "space", "tab", "right", "right")
        assert [one.chosen for one in app.screen.query(Choice)] == [2, 2]
        await pilot.press("tab", "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))
        (hold,) = door.kept.holds
        assert hold.until_ms == NOW_MS + 14 * DAY_MS


async def test_a_refused_invoice_leaves_the_form_as_it_is() -> None:
    door = money.door()
    door.client.refusal = CommandFault.LIMIT_REACHED
    async with running(door) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("7", "ctrl+s")
        await until(pilot, lambda: "as many of these as it can" in picture(app))
        assert app.screen.query_one("#amount", Input).value == "7"


@covers("MOB-14", "MOB-15")
async def test_a_currency_nobody_uses_asks_for_its_decimals() -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        app.screen.query_one("#currency", LineInput).value = "BEANS"
        await pilot.press("7", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await until(pilot, lambda: getattr(app.screen, "is_armed", False))
        await pilot.press("down", "enter")
        await until(pilot, lambda: "look at the amount again" in picture(app))
        assert door.client.asked == []
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "No friend of yours uses BEANS yet" in picture(app))
        assert door.client.asked == []
        await _answer(app, pilot, "y")
        await until(pilot, lambda: bool(door.client.asked))
        (asked,) = door.client.asked
        assert isinstance(asked, AddInvoice)
        assert (asked.invoice.total_dest_payment, asked.invoice.decimals) == (7, 0)
        assert asked.invoice.currency == Currency("BEANS")


async def _answer(app: OffsetApp, pilot: Pilot[None], key: str) -> None:
    await until(pilot, lambda: isinstance(app.screen, Confirm) and app.screen.is_armed)
    await pilot.press(key)


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_more_than_can_come_in_is_made_only_after_a_question(size: tuple[int, int]) -> None:
    door = money.door()
    async with running(door, size) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"600", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await settled(app, pilot)
        check_golden(app, "receive-beyond")
        await _answer(app, pilot, "q")
        await until(pilot, lambda: not isinstance(app.screen, Confirm))
        assert door.client.asked == []
        assert app.screen.query_one("#amount", Input).value == "600"
        await pilot.press("ctrl+s")
        await _answer(app, pilot, "y")
        await until(pilot, lambda: isinstance(app.screen, InvoiceShareScreen))
        assert len(door.client.asked) == 1


async def test_what_can_come_in_follows_the_node_while_an_amount_is_typed() -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"600")
        await until(pilot, lambda: "would" in picture(app))
        door.client.shown = report(friend("Bob", line(max_debt=600_00)))
        door.client.tell()
        await until(pilot, lambda: "= 600.00 OUSD; you can be paid up to 600.00" in picture(app))
        assert app.screen.query_one("#amount", Input).value == "600"
        await pilot.press("ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, InvoiceShareScreen))


@covers("RMP-03")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_a_seller_covers_fees_by_asking_for_less_and_saying_so(size: tuple[int, int]) -> None:
    door = money.door()
    async with running(door, size) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"100", "enter", *"bike", "tab", "tab", "tab", *"100")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: "this is the whole price: cover less" in picture(app))
        assert door.client.asked == []
        app.screen.query_one("#cover", Input).value = "0.50"
        await until(pilot, lambda: "you get 99.50; the buyer pays 100.00 OUSD" in picture(app))
        await settled(app, pilot)
        check_golden(app, "receive-cover")
        await pilot.press("ctrl+s")
        await until(pilot, lambda: bool(door.client.asked))
        (asked,) = door.client.asked
        assert isinstance(asked, AddInvoice)
        assert asked.invoice.total_dest_payment == 99_50
        assert asked.invoice.description == (
            "bike (price 100.00 OUSD; the seller covers fees up to 0.50)"
        )


async def test_nothing_is_made_with_read_only() -> None:
    door = money.door()
    async with running(door, SMALL, AppOptions(is_read_only=True)) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("4", "ctrl+s")
        await until(pilot, lambda: "--read-only" in picture(app))
        assert door.client.asked == []


async def test_escape_leaves_the_fields_first_and_what_was_typed_stays() -> None:
    async with running(_open()) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press("4", "escape")
        await until(pilot, lambda: isinstance(app.focused, KeyedTable))
        await pilot.press("1")
        await until(pilot, lambda: app.current_mode == "home")
        await pilot.press("3")
        await until(pilot, lambda: app.current_mode == "receive")
        assert app.screen.query_one("#amount", Input).value == "4"


async def test_the_largest_amount_is_echoed_whole() -> None:
    async with running(money.door()) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        app.screen.query_one("#amount", Input).value = str((2**127 - 1) // 100)
        await until(pilot, lambda: "would" in picture(app))
        assert "1,701,411,834,604,692,317,316,873,037,158,841,057.00 OUSD" in picture(app)


# --- one invoice ----------------------------------------------------------------------------------

INVOICES: dict[str, Callable[[], FakeDoor]] = {
    "open": lambda: money.door(sales=(money.sale(_sale(1)),)),
    "reserved": lambda: money.door(sales=(money.reserved(_sale(1)),)),
    "held": lambda: money.door(
        sales=(
            money.sale(_sale(1), frozen=4_00, is_sealed=True, registered=money.commit(_sale(1))),
        )
    ),
    "collected": lambda: money.with_history(
        money.door(), money.sold(_sale(1), proof=money.commit(_sale(1)))
    ),
    "closed": lambda: money.with_history(money.door(), money.sold(_sale(1), is_paid=False)),
    "hostile": lambda: money.door(
        sales=(money.reserved(_sale(1, 2**127 - 2**100, money.HOSTILE)),)
    ),
}


@covers("MOB-17")
@pytest.mark.parametrize("size", [SMALL, WIDE])
@pytest.mark.parametrize("name", INVOICES)
async def test_every_state_of_an_invoice(name: str, size: tuple[int, int]) -> None:
    async with running(INVOICES[name](), size) as (app, pilot):
        screen = InvoiceScreen(_sale(1).invoice_id)
        await app.push_screen(screen)
        await until(pilot, lambda: screen.known is not None)
        await settled(app, pilot)
        check_golden(app, f"invoice-{name}")
        assert "\x1b" not in picture(app)


@covers("MOB-20")
async def test_closing_an_unpaid_invoice_is_asked() -> None:
    door = money.door(sales=(money.sale(_sale(1)),))
    async with running(door) as (app, pilot):
        await app.push_screen(InvoiceScreen(_sale(1).invoice_id))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        dialog = app.screen
        assert isinstance(dialog, Confirm)
        await until(pilot, lambda: dialog.is_armed)
        await pilot.press("x")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.client.asked == [CancelInvoice(_sale(1).invoice_id)]


@covers("MOB-20")
async def test_refunding_a_registered_commit_has_to_be_typed() -> None:
    door = INVOICES["held"]()
    async with running(door) as (app, pilot):
        await app.push_screen(InvoiceScreen(_sale(1).invoice_id))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, TypeToConfirm))
        await settled(app, pilot)
        check_golden(app, "invoice-refund")
        dialog = app.screen
        assert isinstance(dialog, TypeToConfirm)
        await until(pilot, lambda: dialog.is_armed)
        await pilot.press("enter", "x", "enter")
        assert door.client.asked == []
        dialog.query_one("#word", LineInput).value = "refund"
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.client.asked == [CancelInvoice(_sale(1).invoice_id)]


@pytest.mark.usefixtures("armed")
async def test_a_held_one_is_collected_with_enter() -> None:
    door = INVOICES["held"]()
    async with running(door) as (app, pilot):
        await app.push_screen(InvoiceScreen(_sale(1).invoice_id))
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.client.asked == [CollectInvoice(_sale(1).invoice_id, False)]


@covers("MOB-21")
async def test_the_files_of_a_sale(tmp_path: Path) -> None:
    async with running(INVOICES["collected"]()) as (app, pilot):
        screen = InvoiceScreen(_sale(1).invoice_id)
        await app.push_screen(screen)
        await until(pilot, lambda: screen.known is not None)
        await pilot.press("E")
        await until(pilot, lambda: "Folder for the files" in picture(app))
        app.screen.query_one("#line", LineInput).value = str(tmp_path)
        await pilot.press("enter")
        await until(pilot, lambda: "Written" in picture(app))
    assert _suffixes(tmp_path) == [".commit", ".invoice", ".txt"]


# --- commits --------------------------------------------------------------------------------------

_GOOD = money.commit(_sale(1))
COMMITS: dict[str, tuple[Commit, Callable[[], FakeDoor]]] = {
    "good": (_GOOD, INVOICES["reserved"]),
    "held": (_GOOD, INVOICES["held"]),
    "unknown": (_GOOD, money.door),
    "nothing-reserved": (_GOOD, INVOICES["open"]),
    "other-signer": (money.commit(_sale(1), "Bob"), INVOICES["reserved"]),
    "other-amount": (replace(_GOOD, total_dest_payment=5_00), INVOICES["reserved"]),
    "other-currency": (replace(_GOOD, currency=Currency("HOURS")), INVOICES["reserved"]),
    "collected": (_GOOD, INVOICES["collected"]),
    "closed": (_GOOD, INVOICES["closed"]),
}


@covers("CMP-19")
@pytest.mark.parametrize("size", [SMALL, WIDE])
@pytest.mark.parametrize("name", COMMITS)
async def test_every_verdict(name: str, size: tuple[int, int]) -> None:
    commit, make = COMMITS[name]
    async with running(make(), size) as (app, pilot):
        screen = CommitScreen(commit)
        await app.push_screen(screen)
        await until(pilot, lambda: screen.found is not None)
        await settled(app, pilot)
        check_golden(app, f"commit-{name}")


@covers("MOB-18")
async def test_a_commit_pasted_anywhere_is_judged() -> None:
    async with running(INVOICES["reserved"]()) as (app, pilot):
        app.post_message(events.Paste(files.to_text(_GOOD)))
        await until(pilot, lambda: isinstance(app.screen, CommitScreen))
        await until(pilot, lambda: "Payment is good: hand over the goods" in picture(app))


@covers("MOB-19")
async def test_enter_collects_once_and_only_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arming, "ARMED_AFTER_S", 1e9)
    door = money.door(sales=(money.reserved(_sale(1)),))
    async with running(door) as (app, pilot):
        screen = CommitScreen(_GOOD)
        await app.push_screen(screen)
        await until(pilot, lambda: screen.found is not None)
        await pilot.press("enter", "enter")
        assert door.client.asked == []
        monkeypatch.setattr(arming, "ARMED_AFTER_S", 0.0)
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.client.asked == [CommitInvoice(_GOOD)]


@pytest.mark.usefixtures("armed")
@pytest.mark.parametrize(
    "name", ["unknown", "nothing-reserved", "other-signer", "other-amount", "closed", "collected"]
)
async def test_a_bad_commit_is_never_collected(name: str) -> None:
    commit, make = COMMITS[name]
    door = make()
    async with running(door) as (app, pilot):
        screen = CommitScreen(commit)
        await app.push_screen(screen)
        await until(pilot, lambda: screen.found is not None)
        await pilot.press("enter", "h", "x")
        await pilot.pause()
        assert door.client.asked == []
        assert app.screen is screen


@covers("CMP-20")
async def test_holding_keeps_the_commit_and_the_date() -> None:
    door = money.door(sales=(money.reserved(_sale(1)),))
    async with running(door) as (app, pilot):
        screen = CommitScreen(_GOOD)
        await app.push_screen(screen)
        await until(pilot, lambda: screen.found is not None)
        await pilot.press("h")
        await until(pilot, lambda: "Hold it until when?" in picture(app))
        app.screen.query_one("#line", LineInput).value = "soon"
        await pilot.press("enter")
        await until(pilot, lambda: "number of days" in picture(app))
        app.screen.query_one("#line", LineInput).value = "3"
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.kept.holds))
        assert door.client.asked == [RegisterCommit(_GOOD)]
        assert door.kept.holds[0].until_ms == NOW_MS + 3 * DAY_MS


async def test_collecting_by_itself_as_the_settings_say() -> None:
    door = money.door(sales=(money.reserved(_sale(1)),))
    door.chosen = replace(door.chosen, auto_collect=True)
    async with running(door) as (app, pilot):
        await app.push_screen(CommitScreen(_GOOD))
        await until(pilot, lambda: bool(door.client.asked))
        await pilot.pause()
        assert door.client.asked == [CommitInvoice(_GOOD)]


# --- being handed over ----------------------------------------------------------------------------


def _stages() -> dict[str, list[InvoiceReport]]:
    """What becomes of one invoice, in order; at last it is in history."""
    sale = _sale(1)
    return {
        "waiting": [money.sale(sale)],
        "partly": [money.sale(sale, frozen=1_50)],
        "reserved": [money.reserved(sale)],
        "commit": [replace(money.reserved(sale), registered=money.commit(sale))],
        "collected": [],
    }


def _becomes(door: FakeDoor, stage: str) -> None:
    door.client.invoice_list = _stages()[stage]
    if stage == "collected":
        money.with_history(door, money.sold(_sale(1), proof=money.commit(_sale(1))))
    door.client.tell()


_SAID = {
    "waiting": "Waiting, expires in 23 h",
    "partly": "Part of it is there: 1.50 of 4.00 OUSD",
    "reserved": "All of it is there: 4.00 OUSD reserved",
    "commit": "Payment is good: hand over the goods",
    "collected": "Collected: 4.00 OUSD",
}


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_text_being_handed_over_says_what_became_of_it_and_nothing_moves(
    size: tuple[int, int],
) -> None:
    door = money.door(sales=(money.sale(_sale(1)),))
    async with running(door, size) as (app, pilot):
        screen = InvoiceScreen(_sale(1).invoice_id)
        await app.push_screen(screen)
        await until(pilot, lambda: screen.known is not None)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, InvoiceShareScreen))
        shared = app.screen
        places: set[object] = set()
        for stage, said in _SAID.items():
            _becomes(door, stage)
            await until(pilot, lambda said=said: said in picture(app))
            await settled(app, pilot)
            check_golden(app, f"handing-{stage}")
            assert app.screen is shared
            parts = ("#share-caption", "#share-text", "#share-keys")
            places.add(tuple(shared.query_one(part).region for part in parts))
        assert len(places) == 1


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_a_qr_code_makes_room_for_words_once_somebody_pays(size: tuple[int, int]) -> None:
    door = money.door(sales=(money.sale(_sale(1)),))
    async with running(door, size) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: "Open invoices" in picture(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.focused, KeyedTable))
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, InvoiceQrScreen))
        await settled(app, pilot)
        assert "reserved" not in picture(app)
        _becomes(door, "reserved")
        await until(pilot, lambda: _SAID["reserved"][:20] in picture(app))
        await settled(app, pilot)
        check_golden(app, "handing-qr-reserved")
        _becomes(door, "collected")
        await until(pilot, lambda: _SAID["collected"] in picture(app))


async def test_a_commit_pasted_while_the_invoice_is_shown_is_collected_and_seen_below() -> None:
    door = money.door(sales=(money.reserved(_sale(1)),))
    async with running(door) as (app, pilot):
        await app.push_screen(InvoiceShareScreen(_sale(1), "Invoice: 4.00 OUSD"))
        app.post_message(events.Paste(files.to_text(_GOOD)))
        await until(pilot, lambda: isinstance(app.screen, CommitScreen))
        await until(pilot, lambda: app.screen.arming.is_armed)
        await pilot.press("enter")
        await until(pilot, lambda: door.client.asked == [CommitInvoice(_GOOD)])
        _becomes(door, "collected")
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, InvoiceShareScreen))
        await until(pilot, lambda: _SAID["collected"] in picture(app))


async def test_whoever_is_paid_while_handing_over_comes_back_to_the_invoice() -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, Input))
        await pilot.press(*"4.00", "ctrl+s")
        await until(pilot, lambda: isinstance(app.screen, InvoiceShareScreen))
        (asked,) = door.client.asked
        assert isinstance(asked, AddInvoice)
        door.client.invoice_list = [money.reserved(asked.invoice)]
        door.client.tell()
        await until(pilot, lambda: _SAID["reserved"] in picture(app))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, InvoiceScreen))
