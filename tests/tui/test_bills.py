"""A bill that is split: the form, the invoices it makes, their texts, and who has paid."""

from dataclasses import dataclass

import pytest
from textual.pilot import Pilot
from textual.widgets import Checkbox, Input

from offset_engine import files
from offset_engine.client import AddInvoice, Batch, Command, CommandFault, Invoice, Notice
from offset_tui.app import OffsetApp
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.invoice_share import InvoiceShareScreen
from offset_tui.dialogs.share_text import TextShareScreen
from offset_tui.doors import AppOptions
from offset_tui.screens import form
from offset_tui.screens.bills import BillsScreen
from offset_tui.screens.invoice import InvoiceScreen
from offset_tui.screens.split import SplitScreen
from offset_tui.widgets.table import KeyedTable
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui.scenes import FakeClient, FakeDoor
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def armed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting."""
    monkeypatch.setattr(form, "ARMED_AFTER_S", 0.0)


@dataclass(slots=True)
class Selling(FakeClient):
    """A node that really opens the invoices of a batch."""

    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        """Open them, all or none."""
        done = await FakeClient.command(self, command)
        if isinstance(command, Batch):
            made = [one.invoice for one in command.commands if isinstance(one, AddInvoice)]
            self.invoice_list = [*reversed([money.sale(one) for one in made]), *self.invoice_list]
            self.tell()
        return done


def _door() -> FakeDoor:
    return FakeDoor(Selling())


def _made(door: FakeDoor) -> list[Invoice]:
    (batch,) = door.client.asked
    assert isinstance(batch, Batch)
    return [one.invoice for one in batch.commands if isinstance(one, AddInvoice)]


async def _form(app: OffsetApp, pilot: Pilot[None], *, people: str = "Bob, Dora 12.50") -> None:
    """The form filled in; reached by keys alone, out of a field."""
    await pilot.press("3")
    await until(pilot, lambda: isinstance(app.focused, Input))
    await pilot.press("ctrl+t")
    await until(pilot, lambda: isinstance(app.screen, BillsScreen))
    await pilot.press("n")
    await until(pilot, lambda: isinstance(app.screen, SplitScreen))
    await until(pilot, lambda: isinstance(app.focused, Input))
    await pilot.press(*"90", "enter")
    app.screen.query_one("#for", Input).value = "dinner"
    app.screen.query_one("#people", Input).value = people
    await pilot.pause()


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_without_bills_the_list_says_how_to_begin(size: tuple[int, int]) -> None:
    async with running(_door(), size) as (app, pilot):
        await app.push_screen(BillsScreen())
        await settled(app, pilot)
        check_golden(app, "bills-none")


@covers("RMP-40")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_a_total_and_names_become_invoices_with_texts_to_send(size: tuple[int, int]) -> None:
    door = _door()
    async with running(door, size) as (app, pilot):
        await _form(app, pilot)
        await until(pilot, lambda: "= Bob 38.75, Dora 12.50; you 38.75" in picture(app))
        await settled(app, pilot)
        check_golden(app, "split")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, TextShareScreen))
        await settled(app, pilot)
        check_golden(app, "split-texts")
        made = _made(door)
        assert [one.total_dest_payment for one in made] == [38_75, 12_50]
        assert [one.description for one in made] == [
            f"dinner (share {number} of 2, 90.00 OUSD in all)" for number in (1, 2)
        ]
        texts = app.screen.text
        assert all(files.to_text(one) in texts for one in made)
        assert [door.kept.note(one.invoice_id.to_text()) for one in made] == ["Bob", "Dora"]
        assert all("Bob" not in one.description for one in made)
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, BillsScreen))
        await settled(app, pilot)
        assert "0 of 2 paid, 51.25 OUSD to come" in picture(app)


def _dinner() -> tuple[FakeDoor, list[Invoice]]:
    shares = [
        money.invoice(
            30_00, f"dinner (share {number} of 3, 120.00 OUSD in all)", "Eve", number=number
        )
        for number in (1, 2, 3)
    ]
    door = money.door(sales=(money.reserved(shares[1]), money.sale(shares[2])))
    money.with_history(door, money.sold(shares[0]))
    names = zip(shares, ("Bob", "Dora", money.HOSTILE[:40]), strict=True)
    for share, name in names:
        door.kept = door.kept.with_note(share.invoice_id.to_text(), name)
    return door, shares


@covers("RMP-40")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_the_list_says_who_has_paid_and_follows(size: tuple[int, int]) -> None:
    door, shares = _dinner()
    async with running(door, size) as (app, pilot):
        await app.push_screen(BillsScreen())
        await until(pilot, lambda: "1 of 3 paid, 60.00 OUSD to come" in picture(app))
        await settled(app, pilot)
        check_golden(app, "bills")
        assert "\x1b" not in picture(app)
        await pilot.press("down", "down")
        table = app.screen.query_one(KeyedTable)
        assert table.current_key == shares[1].invoice_id.to_text()
        door.client.invoice_list = []
        money.with_history(door, *(money.sold(one) for one in shares))
        door.client.tell()
        await until(pilot, lambda: "everybody has paid" in picture(app))
        assert table.current_key == shares[1].invoice_id.to_text()


async def test_keys_of_the_list_open_and_hand_out_what_is_under_the_cursor() -> None:
    door, _ = _dinner()
    async with running(door) as (app, pilot):
        await app.push_screen(BillsScreen())
        await until(pilot, lambda: "1 of 3 paid" in picture(app))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, TextShareScreen))
        assert "2 invoices to send" in picture(app)
        await pilot.press("q", "v")
        await until(pilot, lambda: "choose a share" in picture(app))
        await pilot.press("down", "down", "y")
        await until(pilot, lambda: isinstance(app.screen, InvoiceShareScreen))
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, BillsScreen))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, InvoiceScreen))


@pytest.mark.parametrize(
    ("people", "why"),
    [("", "write how many"), ("Bob 95", "the shares make 95.00"), ("Bob 1.234", "Bob: ")],
)
async def test_what_is_wrong_is_said_below_the_field(people: str, why: str) -> None:
    door = _door()
    async with running(door) as (app, pilot):
        await _form(app, pilot, people=people)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: why in picture(app))
        assert door.client.asked == []
        assert app.focused is app.screen.query_one("#people")


async def test_the_owner_may_pay_nothing_of_it() -> None:
    async with running(_door()) as (app, pilot):
        await _form(app, pilot, people="4")
        app.screen.query_one(Checkbox).value = False
        await until(pilot, lambda: "person 1 22.50" in picture(app))
        assert "; you" not in picture(app)


async def test_more_than_can_come_in_is_asked_and_a_refusal_leaves_the_form() -> None:
    door = _door()
    door.client.refusal = CommandFault.LIMIT_REACHED
    async with running(door) as (app, pilot):
        await _form(app, pilot)
        app.screen.query_one("#total", Input).value = "2000"
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, Confirm) and app.screen.is_armed)
        assert door.client.asked == []
        await pilot.press("y")
        await until(pilot, lambda: "as many of these as it can" in picture(app))
        assert isinstance(app.screen, SplitScreen)
        assert app.screen.query_one("#for", Input).value == "dinner"


async def test_nothing_is_split_with_read_only() -> None:
    door = _door()
    async with running(door, SMALL, AppOptions(is_read_only=True)) as (app, pilot):
        await app.push_screen(BillsScreen())
        await pilot.press("n")
        await until(pilot, lambda: "--read-only" in picture(app))
