"""The tour of the practice village: what to do next, and whether it was done. Pure.

Source: issue of the app, "Practice village".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from offset_engine.client import PayReport, PayStage, PublicKey
from offset_tui.doors import ChatLine, VillageChat

NameOf = Callable[[PublicKey], str | None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What has happened so far."""

    pays: tuple[PayReport, ...]
    lines: Sequence[ChatLine]
    name_of: NameOf

    def has_paid(self, seller: str, times: int = 1) -> bool:
        """Whether this neighbour was paid so often."""
        paid = [
            one
            for one in self.pays
            if one.stage is PayStage.PAID and self.name_of(one.invoice.dest_public_key) == seller
        ]
        return len(paid) >= times

    def has_sold(self) -> bool:
        """Whether a neighbour has a receipt from us."""
        return any("I have the receipt" in line.text for line in self.lines)


@dataclass(frozen=True, slots=True)
class Step:
    """One stop of the tour."""

    title: str
    words: str
    """What to do, at most three lines of 76 cells."""
    is_done: Callable[[Facts], bool]
    begin: Callable[[VillageChat], None]
    """What the village does when the step begins."""


def _offer(name: str) -> Callable[[VillageChat], None]:
    return lambda chat: chat.offer(name)


def _nothing(_chat: VillageChat) -> None:
    pass


def _relay_dies(chat: VillageChat) -> None:
    chat.stop_relay()
    chat.offer("Charli")


STEPS: Final = (
    Step(
        "Buy a loaf of bread, 2.00",
        "You are Eve. Bob bakes and sent you an invoice: m opens the village chat, Enter on it"
        " shows it, P pays. Then give him the commit with m, and he collects.",
        lambda facts: facts.has_paid("Bob"),
        _offer("Bob"),
    ),
    Step(
        "Sell chocolate, 4.00",
        "3 opens Receive: type 4.00 and press ctrl+s. v shows the QR code; m gives the text to Farid."
        " His commit arrives in the chat (m): Enter on it, then Enter collects.",
        lambda facts: facts.has_sold(),
        _nothing,
    ),
    Step(
        "Pay somebody you do not know, 100.00",
        "Daniel repaired your car. He is no friend of yours, but of Charli's: the payment goes"
        " through her, and she charges 0.51. m shows his invoice; the fee is shown before you pay.",
        lambda facts: facts.has_paid("Daniel"),
        _offer("Daniel"),
    ),
    Step(
        "A relay has just died",
        "One of the village's two relays lost its power (7 shows it). Charli offers a bar of"
        " chocolate, 3.50: buy it, and see that it works as before.",
        lambda facts: facts.has_paid("Charli"),
        _relay_dies,
    ),
    Step(
        "Your own card next",
        "That is all there is to it. ctrl+q leaves the village; `offset` in a shell makes your own"
        " card, and `?` explains every screen. Nothing you did here left this computer.",
        lambda _: False,
        _nothing,
    ),
)


@dataclass(slots=True)
class Tour:
    """Where somebody is on the tour."""

    number: int = -1
    is_shown: bool = True

    @property
    def step(self) -> Step | None:
        """The present stop; None before the first picture."""
        return STEPS[self.number] if self.number >= 0 else None

    def look(self, facts: Facts, chat: VillageChat) -> bool:
        """Go on if the present stop is done; returns whether anything changed."""
        before = self.number
        if self.number < 0:
            self.number = 0
            STEPS[0].begin(chat)
        while self.number < len(STEPS) - 1 and STEPS[self.number].is_done(facts):
            self.number += 1
            STEPS[self.number].begin(chat)
        return self.number != before
