"""Keys nobody meant pay nothing and confirm nothing: held ones, pasted ones, and those pressed too early."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from textual import events
from textual.pilot import Pilot

from offset_engine.client import PayStage
from offset_tui.app import OffsetApp
from offset_tui.dialogs import base
from offset_tui.dialogs.base import ARMED_AFTER_S, Confirm
from offset_tui.screens.commit import CommitScreen
from offset_tui.screens.invoice import InvoiceScreen
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.widgets import arming
from offset_tui.widgets.arming import Arming
from tests.tui import money_scenes as money
from tests.tui.screens import picture, running, settled, until

pytestmark = pytest.mark.anyio


def key(char: str, at_s: float) -> events.Key:
    """A key read at a time."""
    made = events.Key(char, char if len(char) == 1 else None)
    made.time = at_s
    return made


class Hands:
    """Keys pressed at times of a clock of their own."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.arming = Arming(lambda: self.now_s)
        self.arming.about("what is asked")

    def press(self, char: str, after_s: float) -> bool:
        """Whether the key would answer."""
        self.now_s += after_s
        self.arming.heard(key(char, self.now_s))
        return self.arming.is_armed


def test_a_key_answers_after_a_silence_and_every_early_one_begins_it_anew() -> None:
    hands = Hands()
    assert not any(hands.press("P", 0.3) for _ in range(9))
    assert hands.press("P", ARMED_AFTER_S + 0.01)


@pytest.mark.parametrize(("before", "answers"), [("x", False), ("P", True), ("down", True)])
def test_a_key_right_after_another_that_writes_is_pasted(before: str, answers: bool) -> None:
    hands = Hands()
    hands.press(before, 1.0)
    assert hands.press("P", 0.01) is answers
    assert hands.press("P", ARMED_AFTER_S + 0.01)


def test_what_is_shown_anew_is_not_answered_at_once() -> None:
    hands = Hands()
    hands.now_s += 1
    assert hands.arming.is_armed
    hands.arming.again()
    assert not hands.arming.is_armed


async def _review(app: OffsetApp, pilot: Pilot[None], **terms: int) -> PayReviewScreen:
    screen = PayReviewScreen(money.invoice(10_000, **terms))  # type: ignore[arg-type]
    await app.push_screen(screen)
    await until(pilot, lambda: screen.arming.is_armed)
    await settled(app, pilot)
    return screen


def _confirm(app: OffsetApp) -> Callable[[], bool]:
    return lambda: isinstance(app.screen, Confirm) and app.screen.is_armed


@pytest.mark.parametrize("text", ["Please", "the Price", "PPay\n"])
async def test_a_paste_without_brackets_pays_nothing(text: str) -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        await _review(app, pilot)
        for char in text:
            app.post_message(events.Key("enter" if char == "\n" else char, char))
        await pilot.pause(0.2)
        await settled(app, pilot)
        assert door.client.asked == []


async def test_a_held_key_does_not_confirm_the_question_it_opened() -> None:
    door = money.door()
    async with running(door) as (app, pilot):
        await _review(app, pilot, decimals=3)
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.pause(ARMED_AFTER_S + 0.1)  # the time until a held key repeats
        await pilot.press(*"PPPPPP")
        assert isinstance(app.screen, Confirm)
        assert door.client.asked == []
        await until(pilot, _confirm(app))
        await pilot.press("P")
        await until(pilot, lambda: bool(door.client.asked))


@pytest.mark.parametrize("opens", ["commit", "invoice"])
async def test_enter_as_the_first_of_a_paste_collects_nothing(
    opens: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arming, "BURST_S", 0.3)  # long enough for a busy machine
    sale = money.invoice(seller="Eve")
    proof = money.commit(sale)
    held = None if opens == "commit" else proof
    door = money.door(sales=(replace(money.reserved(sale), registered=held),))
    async with running(door) as (app, pilot):
        screen = CommitScreen(proof) if opens == "commit" else InvoiceScreen(sale.invoice_id)
        await app.push_screen(screen)
        await until(pilot, lambda: screen.arming.is_armed)
        await settled(app, pilot)
        app.post_message(events.Key("enter", "\n"))
        await until(pilot, lambda: screen._is_busy)
        app.post_message(events.Key("w", "w"))
        await until(pilot, lambda: "not collected: Enter came together" in picture(app))
        assert door.client.asked == []
        await until(pilot, lambda: screen.arming.is_armed and not screen._is_busy)
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.client.asked))


async def test_a_yes_as_the_first_of_a_paste_confirms_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(base, "BURST_S", 0.3)  # less than the silence that arms it
    async with running() as (app, pilot):
        answers: list[bool | None] = []
        app.push_screen(Confirm("Close", "Close it?", "Close"), answers.append)
        await until(pilot, _confirm(app))
        dialog = app.screen
        assert isinstance(dialog, Confirm)
        app.post_message(events.Key("y", "y"))
        await until(pilot, lambda: dialog._is_deciding)
        app.post_message(events.Key("e", "e"))
        await until(pilot, lambda: not dialog._is_deciding)
        assert app.screen is dialog
        assert answers == []
        await until(pilot, _confirm(app))
        await pilot.press("y")
        await until(pilot, lambda: answers == [True])


@pytest.mark.parametrize("change", ["paid elsewhere", "highest fee"])
async def test_what_changed_behind_a_question_is_not_paid(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arming, "ARMED_AFTER_S", 0.0)
    door = money.door()
    async with running(door) as (app, pilot):
        review = await _review(app, pilot, decimals=3)
        await pilot.press("P")
        await until(pilot, _confirm(app))
        if change == "highest fee":
            review._max_fee = 99_00
        else:
            sent = replace(money.pay(PayStage.SENDING, parts=1), invoice=review.invoice)
            door.client.pay_list.append(sent)
            door.client.tell()
            await until(pilot, lambda: review._stop() is not None)
        await pilot.press("P")
        await until(pilot, lambda: app.screen is review and "not paid: " in picture(app))
        assert door.client.asked == []
