"""What is left until a card can be used without thinking: six steps, each done or not. Pure.

Source: apps.md §5 S2; issue of the app, "First run".
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from offset_engine.cards.settings import CardSettings
from offset_engine.client import NodeReport, PayReport, PayStage


class Step(Enum):
    """What has to be done once, in this order."""

    CARD = "card"
    SERVERS = "servers"
    FRIEND = "friend"
    LIMIT = "limit"
    PAYMENT = "first payment"
    BACKUP = "backup"


@dataclass(frozen=True, slots=True)
class Item:
    """One step of one card."""

    step: Step
    is_done: bool
    words: str
    """What to do, in half a line."""


_WORDS: Final = {
    Step.CARD: "make a card",
    Step.SERVERS: "add a relay and an index server, so that friends can reach you",
    Step.FRIEND: "invite a friend, or open the invite of one (ctrl+o)",
    Step.LIMIT: "say how much a friend may owe you, and in which currency",
    Step.PAYMENT: "pay somebody, or get paid",
    Step.BACKUP: "keep an encrypted copy in another place",
}


def items(
    report: NodeReport,
    settings: CardSettings,
    pays: tuple[PayReport, ...],
    *,
    has_history: bool,
    is_remote: bool,
) -> tuple[Item, ...]:
    """Every step of a card.

    Args:
        report: the node.
        settings: of the card.
        pays: what the node still holds of its payments.
        has_history: whether a payment or an invoice was ever finished.
        is_remote: the node is elsewhere: whoever runs it keeps the backup.
    """
    currencies = [one for friend in report.friends for one in friend.currencies]
    done = {
        Step.CARD: True,
        Step.SERVERS: bool(report.relays and report.index_servers),
        Step.FRIEND: bool(report.friends),
        Step.LIMIT: bool(currencies),
        Step.PAYMENT: has_history or any(one.stage is PayStage.PAID for one in pays),
        Step.BACKUP: settings.backed_up_ms is not None,
    }
    steps = [step for step in Step if not (is_remote and step is Step.BACKUP)]
    return tuple(Item(step, done[step], _WORDS[step]) for step in steps)


def is_complete(found: tuple[Item, ...]) -> bool:
    """Whether nothing is left to do."""
    return all(one.is_done for one in found)
