"""Answers of an index server about the scenes' people."""

from offset_engine.client import (
    PlannedPart,
    RoutesChoice,
    RoutesLabel,
    RoutesOutcome,
    RoutesResult,
    Uid,
)
from tests.tui.scenes import key

_ID = Uid(bytes(16))


def part(*names: str, amount: int, fee: int = 0) -> PlannedPart:
    """One route by names."""
    return PlannedPart(tuple(map(key, names)), amount, fee)


def choice(*parts: PlannedPart, label: RoutesLabel = RoutesLabel.CHEAPEST) -> RoutesChoice:
    """One way."""
    return RoutesChoice(label, parts)


def found(*choices: RoutesChoice) -> RoutesResult:
    """What was asked for."""
    reachable = sum(one.amount for one in choices[0].parts)
    return RoutesResult(_ID, RoutesOutcome.FOUND, reachable, choices)


def partly(*choices: RoutesChoice) -> RoutesResult:
    """Less than what was asked for."""
    reachable = sum(one.amount for one in choices[0].parts)
    return RoutesResult(_ID, RoutesOutcome.PARTIAL, reachable, choices)


def nothing(outcome: RoutesOutcome) -> RoutesResult:
    """No way, for one reason or another."""
    return RoutesResult(_ID, outcome)


def circle(amount: int, fee: int = 0) -> RoutesResult:
    """What Bob owes Eve comes back through Charli."""
    return found(choice(part("Eve", "Bob", "Zoe", "Charli", "Eve", amount=amount, fee=fee)))
