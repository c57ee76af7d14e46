"""A sale over real nodes, with the app on both sides: invoice, review, fee, commit, verdict, receipt.

Each side's terminal is closed in between: what is under way goes on. Counted as the issue of the app counts:
Enter, a shortcut, a paste or a list choice is one interaction; typing and Tab are free.
"""

import pytest

from offset_engine import files
from offset_engine.client import Commit, Invoice, PayStage, Receipt
from offset_engine.village import FREE, HALF_PERCENT, OUSD, Friendship, Village, open_village
from offset_tui.dialogs.hand_over import HandOverScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.screens.commit import CommitScreen
from offset_tui.screens.home import HomeScreen
from offset_tui.screens.invoice import InvoiceScreen
from offset_tui.screens.pay import PayScreen
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.screens.payment import PaymentScreen
from offset_tui.screens.receive import ReceiveScreen
from offset_tui.widgets.inputs import AmountInput
from tests.tui.screens import running, until
from tests.tui.test_acceptance import Hands, NodeDoor

pytestmark = pytest.mark.anyio

SELL_MAX = 3
BUY_MAX = 3
ROW = (
    Friendship("Bob", "Charli", OUSD, 200_00, 150_00, FREE, HALF_PERCENT),
    Friendship("Charli", "Daniel", OUSD, 150_00, 200_00),
)
"""Daniel sells to Bob, through Charli."""


def _door(village: Village, name: str) -> NodeDoor:
    person = village.people[name]
    return NodeDoor(names=[name], real=person.client, public_key=person.key)


async def _make_invoice(door: NodeDoor) -> Invoice:
    async with running(door) as (app, pilot):
        hands = Hands(app, pilot)
        await hands.press("3")
        await hands.see(ReceiveScreen)
        await until(pilot, lambda: isinstance(app.focused, AmountInput))
        hands.count = 0
        await hands.write("100.00\trepair")
        await hands.press("ctrl+s")
        await hands.see(ShareScreen)
        await hands.press("y")
        assert hands.count <= SELL_MAX, hands.steps
        invoice = hands.shared()
        assert isinstance(invoice, Invoice)
        assert (invoice.total_dest_payment, invoice.description) == (100_00, "repair")
        return invoice


async def _buy(door: NodeDoor, invoice: Invoice) -> Commit:
    async with running(door) as (app, pilot):
        hands = Hands(app, pilot)
        await hands.press("2")
        await hands.see(PayScreen)
        await hands.paste(files.to_text(invoice))
        await hands.see(PayReviewScreen)
        hands.count = 0
        review = app.screen
        assert isinstance(review, PayReviewScreen)
        await until(pilot, lambda: review.arming.is_armed)
        await hands.press("P")
        await hands.see(PaymentScreen)
        await hands.read("Agree and pay 100.51 OUSD")
        await hands.read("0.51 OUSD (0.51 %)")
        payment = app.screen
        assert isinstance(payment, PaymentScreen)
        await until(pilot, lambda: payment.arming.is_armed)
        await hands.press("P")
        await until(pilot, lambda: isinstance(app.screen, HandOverScreen), 15)
        await hands.press("y")
        assert hands.count <= BUY_MAX, hands.steps
        commit = hands.shared()
        assert isinstance(commit, Commit)
        await hands.press("h")
        await hands.see(PaymentScreen)
        await until(pilot, lambda: bool(door.kept.handed))
        return commit


async def _collect(door: NodeDoor, commit: Commit) -> None:
    async with running(door) as (app, pilot):
        hands = Hands(app, pilot)
        await hands.see(HomeScreen)
        await hands.paste(files.to_text(commit))
        await hands.see(CommitScreen)
        await hands.read("Payment is good: hand over the goods")
        screen = app.screen
        assert isinstance(screen, CommitScreen)
        await until(pilot, lambda: screen.arming.is_armed)
        await hands.press("enter")
        await hands.read("Collected: hand over the goods")
        assert hands.count <= SELL_MAX, hands.steps
        await app.push_screen(InvoiceScreen(commit.invoice_id))
        await hands.read("Paid and collected")


async def _see_receipt(door: NodeDoor, invoice: Invoice) -> None:
    async with running(door) as (app, pilot):
        hands = Hands(app, pilot)
        assert door.real is not None
        (pay,) = await door.real.pays()
        await door.real.wait_pay(pay.payment_id)
        await hands.press("2")
        await hands.see(PayScreen)
        await hands.read("100.00")
        await hands.write("\t")
        await hands.press("enter")
        await hands.see(PaymentScreen)
        await hands.read("the receipt is kept")
        await hands.press("y")
        await hands.see(ShareScreen)
        receipt = hands.shared()
        assert isinstance(receipt, Receipt)
        assert files.verify_receipt(invoice, receipt).is_valid


async def test_sell_buy_collect_receipt() -> None:
    async with open_village(friendships=ROW, on_disk=False) as village:
        seller, buyer = _door(village, "Daniel"), _door(village, "Bob")
        invoice = await _make_invoice(seller)
        commit = await _buy(buyer, invoice)
        await _collect(seller, commit)
        await _see_receipt(buyer, invoice)
        (pay,) = await village.people["Bob"].client.pays()
        assert (pay.stage, pay.fee) == (PayStage.PAID, 51)
        await village.settle()
        assert village.balances()[OUSD] == {"Bob": -100_51, "Charli": 51, "Daniel": 100_00}


async def test_a_commit_is_held_and_refunded_by_typing() -> None:
    async with open_village(friendships=ROW, on_disk=False) as village:
        seller, buyer = _door(village, "Daniel"), _door(village, "Bob")
        invoice = await _make_invoice(seller)
        commit = await _buy(buyer, invoice)
        async with running(seller) as (app, pilot):
            hands = Hands(app, pilot)
            await hands.paste(files.to_text(commit))
            await hands.see(CommitScreen)
            await hands.read("Payment is good")
            await hands.press("h")
            await hands.read("Hold it until when?")
            await hands.press("enter")
            await hands.read("You hold it")
            await hands.press("x")
            await hands.read("Type refund to confirm")
            await hands.write("refund")
            await hands.press("enter")
            await hands.read("refunded, canceled or has expired")
        client = village.people["Bob"].client
        (pay,) = await client.pays()
        ended = await client.wait_pay(pay.payment_id)
        assert (ended.stage, ended.is_safe_to_retry) == (PayStage.FAILED, True)
        await village.settle()
        assert set(village.balances()[OUSD].values()) == {0}
