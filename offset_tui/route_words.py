"""What an index server's answer means for whoever wants to pay, and what they can do about it. Pure.

Of all the people a payment could pass only our own friends are named: who is short of what further on is not our
business, and nobody could act on it. Sentences begin in lower case and end without a full stop.

Amounts are credits. Source: apps.md §5 S4, S8 (RMP-17); tui.md §8; design R11, R46.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from offset_engine.client import (
    Currency,
    NodeReport,
    PayFailure,
    PublicKey,
    RoutesChoice,
    RoutesLabel,
    RoutesOutcome,
    RoutesResult,
)
from offset_engine.text import format_amount, money_text, safe, share_text
from offset_tui.money_words import parts_words
from offset_tui.state import Line

_NAMED_MAX: Final = 3
"""Friends named one by one."""
_NEARLY_PERCENT: Final = 90
LABELS: Final = {
    RoutesLabel.CHEAPEST: "cheapest",
    RoutesLabel.FEWEST: "fewest parts",
    RoutesLabel.WIDEST: "most room to spare",
}
_UNREACHED: Final = (
    "nobody can pay the seller now: their card is offline, or what they trust their friends with is used up;"
    " ask them to come online, or to raise a limit they give"
)
SILENT: Final = {
    RoutesOutcome.NO_INDEX: "no index server is listed, so only friends can be paid: 7 adds one",
    RoutesOutcome.UNANSWERED: "no index server answers now: try again in a moment; 7 shows them",
    RoutesOutcome.BUSY: "the index server has no time for this card now: try again in a moment",
    RoutesOutcome.REFUSED: "the index server does not say beforehand what can be paid: 7 shows it",
}
"""Answers that say nothing about what can be paid."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to pay, and with what."""

    amount: int
    currency: Currency
    decimals: int
    lines: tuple[Line, ...]
    """Friendships in this currency."""
    online: frozenset[PublicKey]
    """Friends who are there now."""
    is_friend: bool = False
    """The seller is a friend, so that a way without fees may be there."""

    def shown(self, credits_: int) -> str:
        """An amount without its currency."""
        return format_amount(credits_, self.decimals)


def asked(
    report: NodeReport, lines: Iterable[Line], what: tuple[int, Currency, int], seller: PublicKey
) -> Asked:
    """Put together what an answer is judged by.

    Args:
        report: the card's node.
        lines: every friendship.
        what: amount, currency, and digits after its point.
        seller: who is to be paid.
    """
    amount, currency, decimals = what
    used = tuple(one for one in lines if one.currency == currency and not one.is_removing)
    online = frozenset(one.public_key for one in report.friends if one.is_online)
    is_friend = any(one.friend == seller for one in used)
    return Asked(amount, currency, decimals, used, online, is_friend)


# --- what can be done ---------------------------------------------------------------------------


def answer_words(result: RoutesResult, wanted: Asked, most: int = 0) -> str:
    """Why an amount cannot be paid now and what would help; "" if it can.

    Args:
        result: the answer about the amount.
        wanted: what was asked.
        most: the most that gets there, if that was asked for too.
    """
    if result.outcome is RoutesOutcome.FOUND and result.reachable >= wanted.amount:
        return ""
    if result.outcome in SILENT:
        return SILENT[result.outcome]
    if result.outcome is RoutesOutcome.UNREACHABLE:
        return _UNREACHED
    reachable = max(result.reachable, most)
    own = own_words(wanted) if _is_own_side(wanted, reachable) else ""
    return own or _middle_words(wanted, reachable)


def _is_own_side(wanted: Asked, reachable: int) -> bool:
    """Whether all that leaves us gets there, or nearly: amounts are reported with two digits, and fees go off.

    Whoever lets more pass than they said is not what is short either.
    """
    there = sum(one.can_pay or 0 for one in wanted.lines if one.friend in wanted.online)
    told = sum(one.can_pay or 0 for one in wanted.lines)
    return there * _NEARLY_PERCENT <= reachable * 100 and reachable <= told


def failure_words(failure: PayFailure | None, wanted: Asked) -> str:
    """What would help after a payment failed; "" if that does not depend on one's friendships."""
    if failure is PayFailure.OWN_LIMIT:
        return own_words(wanted)
    if failure is PayFailure.NO_ROUTE:
        return own_words(wanted) or _middle_words(wanted, None)
    if failure is PayFailure.SELLER_UNREACHABLE:
        return _UNREACHED
    return ""


def own_words(wanted: Asked) -> str:
    """What is missing between us and our own friends; "" if they would carry it, or may."""
    currency = safe(wanted.currency)
    if not wanted.lines:
        return (
            f"no friend of yours uses {currency}: ask one to use it with you, or add one who does"
        )
    usable = [one for one in wanted.lines if one.is_usable]
    if not usable:
        names = _names([one.name for one in wanted.lines])
        return f"nothing can pass between you and {names} in {currency} now: 5 shows why"
    there = [one for one in usable if one.friend in wanted.online]
    if _may_carry(there, wanted.amount):
        return ""
    if _may_carry(usable, wanted.amount):
        away = _names([one.name for one in usable if one.friend not in wanted.online])
        return f"this waits for {away}, who cannot be reached now: try again once they are online"
    return _short_words(usable, wanted)


def _may_carry(lines: Sequence[Line], amount: int) -> bool:
    """Whether these friends let so much pass, as far as is known."""
    known = [one.can_pay for one in lines]
    return None in known or sum(one or 0 for one in known) >= amount


def _short_words(lines: Sequence[Line], wanted: Asked) -> str:
    most = sum(one.can_pay or 0 for one in lines)
    names = _names([one.name for one in lines])
    missing = wanted.shown(wanted.amount - most)
    fees = "" if wanted.is_friend else " and the fees"
    if len(lines) == 1:
        who, limit = names, f"{names}'s limit for you is used up"
    else:
        who, limit = "one of them", f"the limits of {names} for you are used up"
    if most:
        limit = f"you can pay {wanted.shown(most)} over {names} now"
    return f"{limit}; {missing}{fees} more from {who}, or another friend, would do it"


def _middle_words(wanted: Asked, reachable: int | None) -> str:
    """Our own friends are not what is short, or nobody knows whether they are."""
    unknown = [one.name for one in wanted.lines if one.is_usable and one.can_pay is None]
    if reachable:
        now = f"{money_text(reachable, wanted.currency, wanted.decimals)} can get to the seller now"
    else:
        now = (
            "no way to the seller carries it now"
            if reachable is None
            else "nothing can get to the seller now"
        )
    if unknown:
        ask = f"what {_names(unknown)} {_verb(unknown, 'let')} you owe is not known: ask for a higher limit"
        return f"{now}; {ask}, or find another friend"
    most = sum(one.can_pay or 0 for one in wanted.lines)
    carry = "it" if most >= wanted.amount else wanted.shown(most)
    smaller = "pay less, or " if reachable else ""
    return (
        f"{now}, although your own friends would carry {carry}: {smaller}try later, find another friend, or have the"
        " seller trust their own friends with more"
    )


def _names(names: Iterable[str]) -> str:
    """`Bob`, `Bob and Charli`, `Bob, Charli and 4 more`."""
    found = list(names)
    if len(found) > _NAMED_MAX:
        found = [*found[: _NAMED_MAX - 1], f"{len(found) - _NAMED_MAX + 1} more"]
    *first, last = found
    return f"{', '.join(first)} and {last}" if first else last


def _verb(who: Sequence[str], verb: str) -> str:
    return verb if len(who) > 1 else f"{verb}s"


# --- what it costs ------------------------------------------------------------------------------


def fee_of(choice: RoutesChoice) -> int:
    """All its fees together."""
    return sum(part.fee for part in choice.parts)


def cheapest(result: RoutesResult) -> RoutesChoice | None:
    """What the node would take: the lowest fee, then the fewest parts; None if nothing was found."""
    return min(result.choices, key=lambda one: (fee_of(one), len(one.parts)), default=None)


def choice_words(result: RoutesResult, currency: Currency, decimals: int) -> tuple[str, ...]:
    """Every alternative with its fee, one line each: `cheapest: 0.51 OUSD (0.51 %), in 3 parts`."""
    return tuple(
        f"{LABELS[one.label]}: {cost_words(one, currency, decimals)}" for one in result.choices
    )


def cost_words(choice: RoutesChoice, currency: Currency, decimals: int) -> str:
    """`0.51 OUSD (0.51 %), in 3 parts`, or `no fee, in 1 part`."""
    fee, amount = fee_of(choice), sum(part.amount for part in choice.parts)
    parts = parts_words(len(choice.parts))
    if not fee:
        return f"no fee, in {parts}"
    return f"{money_text(fee, currency, decimals)} ({share_text(fee, amount)}), in {parts}"


def above_words(fee: int, max_fee: int, decimals: int, how: str) -> str:
    """The cheapest way is too dear; `how` says how the highest fee is raised."""
    return (
        f"the cheapest way costs {format_amount(fee, decimals)}, above your highest fee of"
        f" {format_amount(max_fee, decimals)}: {how}"
    )


def most_words(result: RoutesResult, currency: Currency, decimals: int) -> str:
    """The exact maximum to somebody now, or why it is not known."""
    if result.outcome in SILENT:
        return f"not known: {SILENT[result.outcome]}"
    if not result.reachable:
        return "nothing can get to the seller now"
    return f"{money_text(result.reachable, currency, decimals)} can get to the seller now"
