"""The practice village in a terminal: the whole tour by keys, in a process of its own."""

import time
from collections.abc import Iterator

import pytest

from tests.covers import covers
from tests.e2e.tmux_screen import OFFSET, Pane, Tmux, needs_tmux, terminals

pytestmark = needs_tmux

USABLE_S = 3.0
"""From the first paint until the village answers, at most."""


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    with terminals() as opened:
        yield opened


def village(tmux: Tmux) -> Pane:
    """The demo, painted."""
    eve = tmux.open("eve", [*OFFSET, "demo", "--seed", "7"])
    eve.wait_for(str.strip)
    return eve


def pay_from_chat(eve: Pane, message: str, pays: str) -> None:
    """Open the invoice that came with a message, and agree to pay it."""
    eve.keys("m")
    eve.wait_for(message)
    eve.keys("Enter")
    eve.wait_for(pays)
    eve.press_armed("P")


def hand_over(eve: Pane) -> None:
    """Give the commit on the screen to its seller."""
    eve.wait_for("m give to a neighbour")
    eve.wait_for("offset1:commit:")
    eve.keys("m")


def sell_chocolate_to_farid(eve: Pane) -> None:
    """An invoice, as a QR code and as a text for Farid, whose commit comes back."""
    eve.keys("3")
    eve.wait_for("you can be paid up to")
    eve.type("4.00")
    eve.wait_for("= 4.00 OUSD")
    eve.keys("C-s")
    eve.wait_for("Invoice: 4.00 OUSD")
    eve.keys("v")
    eve.wait_for("i if nothing reads it")
    eve.keys("q")
    eve.wait_for("m give to a neighbour")
    eve.keys("m")
    eve.wait_for("Give it to")
    eve.keys("Down", "Down", "Down", "Enter")
    eve.wait_for("Open invoices")
    eve.keys("m")
    eve.wait_for("The money is reserved for you.")
    eve.keys("Enter")
    eve.wait_for("Payment is good: hand over the goods")
    eve.press_armed("Enter")
    eve.wait_for("Collected: hand over the goods")


@covers("RMP-43", "RMP-48")
def test_the_whole_tour_by_keys(tmux: Tmux) -> None:
    eve = village(tmux)
    painted = time.monotonic()
    eve.wait_for("Tour 1/5")
    assert time.monotonic() - painted < USABLE_S

    pay_from_chat(eve, "A loaf is 2.00", "Pay 2.00 OUSD to Bob (P)")
    hand_over(eve)
    eve.wait_for("Tour 2/5")
    eve.wait_for("the receipt is kept")

    sell_chocolate_to_farid(eve)
    eve.wait_for("Tour 3/5")

    pay_from_chat(eve, "Your car is ready.", "Pay 100.00 OUSD to")
    eve.wait_for("0.51 OUSD (0.51 %): P agrees")
    assert "Agree and pay 100.51 OUSD (P)" in eve.screen
    eve.press_armed("P")
    hand_over(eve)
    eve.wait_for("Tour 4/5")

    eve.keys("7")
    eve.wait_for("not reached")
    pay_from_chat(eve, "dark chocolate, 3.50", "Pay 3.50 OUSD to Charli (P)")
    hand_over(eve)
    eve.wait_for("Tour 5/5")
    eve.wait_for("the receipt is kept")

    eve.keys("C-q")
    eve.wait_for("Leave it?")
    eve.press_armed("y")
    assert eve.ended() == 0


def test_the_tour_is_beside_the_app_and_not_in_its_way(tmux: Tmux) -> None:
    eve = village(tmux)
    eve.wait_for("Tour 1/5")
    for key, seen in (
        ("5", "Friend"),
        ("3", "New invoice"),
        ("Escape", "q Back n New"),
        ("1", "Bob"),
    ):
        eve.keys(key)
        eve.wait_for(seen)
        eve.wait_for("Tour 1/5")
    eve.keys("Escape")
    eve.wait_gone("Tour 1/5")
    eve.keys("t")
    eve.wait_for("Tour 1/5")
    eve.keys("q")
    eve.wait_for("Leave it?")
    eve.press_armed("y")
    assert eve.ended() == 0
