"""Owners of cards at their terminals, and what they do there, key by key.

Everything one person hands another is a text selected on one screen and pasted into another. What a person
does is counted: Enter, a shortcut, a choice in a list and a paste are interactions; typing and Tab are free.
"""

import os
import signal
import time
from pathlib import Path

from tests.e2e.terminals import free_port
from tests.e2e.tmux_screen import OFFSET, Pane, Tmux, end_all, flat, processes_with, until

HOME = "Can be paid"
"""A heading only the list of friends on Home has."""
_TRIES = 8
_ASKED = "P agrees, x gives up"
_DEEPEST = 8
"""Escapes it takes at most: out of a field, out of details, out of the section."""


class Owner:
    """Somebody with cards in a directory of their own."""

    def __init__(self, tmux: Tmux, name: str) -> None:
        self.tmux = tmux
        self.name = name
        self.store: Path = tmux.place / name.lower()
        self.starts = 0
        self.pane: Pane

    def argv(self) -> list[str]:
        """What is typed to start the app."""
        return [*OFFSET, "--low-bandwidth", "--store", str(self.store)]

    def start(self) -> Pane:
        """Start the app in a new terminal."""
        self.starts += 1
        self.pane = self.tmux.open(f"{self.name}{self.starts}", self.argv())
        return self.pane

    def come_back(self) -> float:
        """Start the app again; how long it took from the first paint until the card was shown, in seconds."""
        self.start()
        self.pane.wait_for(str.strip)
        painted = time.monotonic()
        self.pane.wait_for(HOME)
        return time.monotonic() - painted

    def nodes(self) -> list[int]:
        """Processes that run a card of this owner without a screen."""
        return processes_with("run", str(self.store))

    def signal_node(self, number: signal.Signals) -> None:
        """Do something to the one process that runs the card."""
        (node,) = self.nodes()
        os.kill(node, number)
        if number == signal.SIGKILL:
            until(lambda: not self.nodes(), f"the end of {self.name}'s node")

    def leave_running(self) -> None:
        """Close the app from Home; the card goes on in the background."""
        pane = self.pane
        pane.keys("q")
        pane.wait_for("Leave it running in the background")
        pane.press_armed("Down")
        pane.keys("Down", "Enter")
        assert pane.ended() == 0
        assert len(self.nodes()) == 1

    def end(self) -> None:
        """End what still runs."""
        end_all(self.nodes())


def serve(tmux: Tmux) -> str:
    """Run `offset serve` in a terminal; the text it prints."""
    address = f"127.0.0.1:{free_port()}"
    host = tmux.open("host", [*OFFSET, "serve", "--address", address, str(tmux.place / "served")])
    host.wait_for("They run until ctrl+c")
    return host.artifact()


# --- becoming friends -------------------------------------------------------------------------------


def begin(owner: Owner, given: str, seen: str) -> None:
    """The first run: paste a text, name the card, look at what was pasted."""
    pane = owner.pane
    pane.wait_for("Welcome to Offset")
    pane.paste(given)
    pane.wait_for("Name of the card")
    pane.type(owner.name)
    pane.act("Enter")
    pane.wait_for(seen)
    pane.wait_still()


def use_servers(owner: Owner, servers: str) -> None:
    """Make a card that uses servers somebody named."""
    begin(owner, servers, "Servers somebody offers you")
    owner.pane.act("C-g")
    owner.pane.wait_for("Invite a friend: whom, currency and limit on one form")


def fill_invite(owner: Owner, friend: str, limit: str) -> str:
    """Fill in the form; the invite."""
    pane = owner.pane
    screen = pane.wait_for("Who is it for")
    pane.type(friend)
    pane.next_field()
    if "digits after the point" not in screen:
        pane.type("OUSD")
        pane.wait_for("new here")
        pane.next_field()
    pane.next_field()
    pane.type(limit)
    pane.wait_for(f"= {limit}.00 OUSD: the most you can lose if {friend} disappears")
    pane.wait_still()
    pane.act("C-g")
    return pane.artifact()


def accept(owner: Owner, limit: str) -> str:
    """Accept the invite on the screen; the answer."""
    pane = owner.pane
    pane.type(limit)
    pane.wait_for(f"= {limit}.00 OUSD: the most you can lose")
    pane.wait_still()
    pane.act("C-g")
    answer = pane.artifact()
    assert answer.startswith("offset1:answer:")
    pane.act("q")
    pane.wait_for(HOME)
    return answer


def finish(owner: Owner, answer: str, friend: str) -> None:
    """Open the answer to an invite, and be friends."""
    pane = owner.pane
    pane.paste(answer)
    pane.wait_for("The answer to your invite")
    pane.wait_still()
    pane.act("C-g")
    pane.wait_for(f"{friend} is your friend now")


def charge(owner: Owner, fee: str) -> None:
    """Charge the first friend in the list for passing payments on."""
    pane = owner.pane
    pane.keys("5")
    pane.wait_for("Last seen")
    pane.keys("Enter")
    pane.wait_for("you charge nothing")
    pane.keys("f")
    pane.wait_for("fee on 100.00 OUSD = 0.00")
    pane.keys("C-a", "C-k")
    pane.wait_gone("fee on 100.00 OUSD")
    pane.type(fee)
    pane.wait_for("fee on 100.00 OUSD = 0.51")
    pane.keys("Enter")
    pane.wait_for("fee: 0.5 % + 0.01")
    go_home(owner)


def go_home(owner: Owner) -> None:
    """From a detail of a section, or from the section, to Home."""
    pane = owner.pane
    for _ in range(_DEEPEST):
        if HOME in pane.wait_still(0.3):
            return
        pane.keys("Escape")
    raise AssertionError(f"{owner.name} does not get home:\n{pane.screen}")


# --- paying -----------------------------------------------------------------------------------------


def sell(owner: Owner, amount: str) -> str:
    """Make an invoice; its text stays on the screen."""
    pane = owner.pane
    pane.keys("3")
    pane.wait_for("you can be paid up to")
    pane.acts = 0
    pane.type(amount)
    pane.wait_for(f"= {amount} OUSD")
    pane.act("C-s")
    return pane.artifact()


def ask_fee(owner: Owner, invoice: str, amount: str, fee: str) -> None:
    """Paste an invoice and begin to pay it, up to the question of this fee."""
    begin_to_pay(owner, invoice, amount, f"> fee {fee}: {_ASKED}")
    owner.pane.wait_still()


def begin_to_pay(owner: Owner, invoice: str, amount: str, then: str) -> None:
    """Paste an invoice, press P, and go on until something is on the screen.

    For some seconds after a card on the way has come back, or has changed its fee, there may be no way to the
    seller, or one with the old fee; one tries again.
    """
    owner.pane.paste(invoice)
    try_to_pay(owner, amount, then)


def try_to_pay(owner: Owner, amount: str, then: str) -> None:
    """The same, with the invoice on the screen."""
    pane = owner.pane
    for _ in range(_TRIES):
        pane.wait_for(f"Pay {amount} OUSD to")
        pane.wait_still()
        pane.acts = 0
        pane.act("P")
        screen = pane.wait_for(
            lambda shown: any(one in flat(shown) for one in (then, _ASKED, "Not paid"))
        )
        if then in flat(screen):
            return
        if _ASKED in screen:
            give_up(owner)
        pane.wait_still(1.0)
        pane.keys("r")
    raise AssertionError(f"there is never a way:\n{screen}")


def commit_or_again(owner: Owner, amount: str, fee: str) -> str:
    """Wait for the commit; if somebody on the way refused instead, pay again, which the screen says is safe.

    A card that has just come back refuses what is for a friend who is not back yet.
    """
    pane = owner.pane
    screen = pane.wait_for(lambda shown: "offset1:commit:" in shown or "Not paid" in shown)
    if "Not paid" in screen:
        assert "Safe to pay again: yes" in screen
        pane.keys("r")
        try_to_pay(owner, amount, f"> fee {fee}: {_ASKED}")
        pane.wait_still()
        return agree(owner)
    return pane.artifact()


def give_up(owner: Owner) -> None:
    """Give the payment on the screen up."""
    owner.pane.keys("x")
    owner.pane.wait_for("Give up this payment?")
    owner.pane.press_armed("x")
    owner.pane.wait_for("Not paid")


def is_paid(owner: Owner, amount: str, total: str) -> None:
    """The commit is on the screen; wait until it was collected, and look at what was paid and its receipt."""
    pane = owner.pane
    pane.wait_for("The seller has collected: it is paid, and the receipt is kept.")
    pane.keys("q")
    pane.wait_for(f"Paid {amount} OUSD to")
    pane.wait_for(f"Total {total} OUSD")
    pane.wait_for("the receipt is kept")
    pane.wait_for("Safe to pay again: no, because it is paid.")


def agree(owner: Owner) -> str:
    """Agree to the fee; the commit."""
    owner.pane.act("P")
    commit = owner.pane.artifact()
    assert commit.startswith("offset1:commit:")
    return commit


def collect(owner: Owner, commit: str, amount: str) -> None:
    """Paste a commit over the invoice that is shown, and collect."""
    pane = owner.pane
    pane.paste(commit)
    pane.wait_for("Payment is good: hand over the goods")
    pane.wait_for(f"Enter collects {amount} OUSD")
    pane.wait_still()
    pane.act("Enter")
    pane.wait_for("Collected: hand over the goods")
