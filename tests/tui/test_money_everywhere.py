"""The money screens on plain, small and slow terminals."""

from collections.abc import Callable

import pytest
from textual.screen import Screen

from offset_engine.client import PayFailure, PayStage
from offset_tui.doors import AppOptions
from offset_tui.screens.commit import CommitScreen
from offset_tui.screens.invoice import InvoiceScreen
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.screens.payment import PaymentScreen
from offset_tui.screens.receipt import ReceiptScreen
from tests.tui import money_scenes as money
from tests.tui.scenes import FakeDoor
from tests.tui.screens import SMALL, picture, running, until

pytestmark = pytest.mark.anyio

OWN = money.invoice(seller="Eve")


def _door() -> FakeDoor:
    shown = money.door(
        money.pay(PayStage.FEE_TO_CONFIRM, money.invoice(100_00), fee=51, parts=2),
        money.pay(
            PayStage.FAILED,
            money.invoice(number=3),
            failure=PayFailure.UNKNOWN,
            number=2,
            has_commit=True,
        ),
        sales=(money.reserved(OWN),),
    )
    return money.with_history(shown, money.paid_record(money.invoice(number=4), 4))


_SCROLL_BAR = set("▁▂▃▄▅▆▇█▏▎▍▌▋▊▉")
"""What Textual draws its scroll bars with."""


def _strange(shown: str) -> set[str]:
    return {one for one in shown if not one.isascii()} - _SCROLL_BAR


SCREENS: dict[str, Callable[[], Screen[None]]] = {
    "review": lambda: PayReviewScreen(money.invoice(10_000, decimals=3, number=7)),
    "payment": lambda: PaymentScreen(money.payment_id(1)),
    "failed": lambda: PaymentScreen(money.payment_id(2)),
    "invoice": lambda: InvoiceScreen(OWN.invoice_id),
    "commit": lambda: CommitScreen(money.commit(OWN)),
    "receipt": lambda: ReceiptScreen(money.receipt(money.invoice(number=4))),
}


@pytest.mark.parametrize("size", [SMALL, (60, 20)])
@pytest.mark.parametrize("name", SCREENS)
async def test_a_plain_terminal(name: str, size: tuple[int, int]) -> None:
    options = AppOptions(is_ascii=True, is_low_bandwidth=True)
    async with running(_door(), size, options) as (app, pilot):
        await app.push_screen(SCREENS[name]())
        await until(pilot, lambda: "q Back" in picture(app))
        await pilot.pause()
        shown = picture(app)
        assert not _strange(shown)
        assert app.focused is not None
        await pilot.press("down", "up", "tab", "q")
        await until(pilot, lambda: app.current_mode == "home" and len(app.screen_stack) == 1)


@pytest.mark.parametrize("section", ["2", "3"])
async def test_a_plain_section_on_a_small_terminal(section: str) -> None:
    async with running(_door(), (60, 20), AppOptions(is_ascii=True)) as (app, pilot):
        await pilot.press(section)
        await until(pilot, lambda: app.current_mode in ("pay", "receive"))
        await pilot.pause()
        shown = picture(app)
        assert not _strange(shown)
        assert "Back" in shown
