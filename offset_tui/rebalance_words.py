"""Moving what is owed along a circle of friends: what is asked, what changes, and how it goes, in words. Pure.

Whoever owes us gets the amount and passes it on; it comes back from whom we owe, or who then owes us. So one
friendship goes towards zero, another one changes by as much, and only the fees of those in between are gone.

Amounts are credits; balances are from our side, positive = the friend owes us.
Source: apps.md §6.11 (RMP-05, RMP-06); PROTOCOL.md, "Paying"; design R8.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from offset_engine.client import (
    Currency,
    PayFailure,
    PaymentId,
    PayReport,
    PayStage,
    PublicKey,
    Rebalance,
    RequestRoutes,
    RoutesChoice,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
    Uid,
)
from offset_engine.sentences import failure_sentence
from offset_engine.text import duration, format_amount, money_text
from offset_tui import money_words, route_words
from offset_tui.money_words import Mark, Step
from offset_tui.state import Line

_NONE: Final = (
    "no circle of friends carries this now: a smaller amount, or a higher limit between you and another friend,"
    " may do it"
)
_WORDS: Final = {
    ("search", Mark.DONE): "a circle was found",
    ("paid", Mark.NOW): "it has come round; the last friend confirms",
    ("paid", Mark.DONE): "both balances have changed",
}
"""Steps that read otherwise than those of a payment to somebody else."""
_UNSEEN: Final = ("commit", "handed over")
"""Steps the node takes by itself."""
_FAILED: Final = {
    PayFailure.NO_ROUTE: _NONE,
    PayFailure.SELLER_UNREACHABLE: _NONE,
    PayFailure.OWN_LIMIT: "the friends it should go over were not there, or let nothing pass",
    PayFailure.REFUSED: "a friend on the way refused it",
}
"""Why it came to nothing, where a payment to somebody else would say it otherwise."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a circle does to one of our balances."""

    friend: PublicKey
    name: str
    before: int
    after: int


def problem(line: Line | None) -> str:
    """Why nothing can be moved in this friendship; "" if it can."""
    if line is None:
        return "this currency is not in use with this friend"
    if not line.balance:
        return f"nothing is owed between you and {line.name} in {line.currency}"
    if not line.is_usable:
        return f"nothing can pass between you and {line.name} now: the friend's screen says why"
    return ""


def owed_words(line: Line, decimals: int) -> str:
    """`Bob owes you 12.00 OUSD`."""
    amount = money_text(abs(line.balance or 0), line.currency, decimals)
    is_owed = (line.balance or 0) > 0
    return f"{line.name} owes you {amount}" if is_owed else f"you owe {line.name} {amount}"


# --- asking -------------------------------------------------------------------------------------


def question(line: Line, amount: int, own: PublicKey, request_id: Uid) -> RequestRoutes:
    """Ask what moving so much towards zero would cost."""
    first, last = _ends(line)
    return RequestRoutes(request_id, line.currency, amount, own, (), RoutesWish.CYCLE, first, last)


def wish(
    line: Line, amount: int, choice: RoutesChoice, max_fee: int, payment_id: PaymentId
) -> Rebalance:
    """Move it as shown: over the same friend at the other end, and not for more without asking."""
    first, last = _ends(line)
    firsts = {part.route[1] for part in choice.parts}
    lasts = {part.route[-2] for part in choice.parts}
    if first is None and len(firsts) == 1:
        (first,) = firsts
    if last is None and len(lasts) == 1:
        (last,) = lasts
    fee = route_words.fee_of(choice)
    return Rebalance(payment_id, line.currency, amount, first, last, max_fee, fee)


def _ends(line: Line) -> tuple[PublicKey | None, PublicKey | None]:
    """The first friend and the last: who owes us gets the amount, whom we owe gives it."""
    return (line.friend, None) if (line.balance or 0) > 0 else (None, line.friend)


def better_amount(line: Line, amount: int, result: RoutesResult) -> int:
    """What to ask for instead, so that the balance comes as near to zero as it can.

    Whoever gets the amount from us gets the fee too, so less is moved by as much; and no more than can be.
    """
    owed = abs(line.balance or 0)
    if result.outcome is RoutesOutcome.PARTIAL and 0 < result.reachable < amount:
        return result.reachable
    choice = route_words.cheapest(result)
    if result.outcome is not RoutesOutcome.FOUND or choice is None or (line.balance or 0) <= 0:
        return amount
    wanted = owed - route_words.fee_of(choice)
    # Less than was asked for before only if not all of it could be moved.
    return wanted if 0 < wanted < amount else amount


# --- what it does -------------------------------------------------------------------------------


def changes(choice: RoutesChoice, lines: Iterable[Line], currency: Currency) -> tuple[Change, ...]:
    """Every balance of ours that changes: those it leaves through, then those it comes back through."""
    moved: dict[PublicKey, int] = {}
    for part in choice.parts:
        moved[part.route[1]] = moved.get(part.route[1], 0) - part.amount - part.fee
    for part in choice.parts:
        moved[part.route[-2]] = moved.get(part.route[-2], 0) + part.amount
    known = {one.friend: one for one in lines if one.currency == currency}
    return tuple(
        Change(
            friend,
            known[friend].name,
            known[friend].balance or 0,
            (known[friend].balance or 0) + amount,
        )
        for friend, amount in moved.items()
        if friend in known
    )


def answer_words(result: RoutesResult, currency: Currency, decimals: int) -> str:
    """Why an amount cannot be moved; "" if it can."""
    if result.outcome is RoutesOutcome.FOUND and result.choices:
        return ""
    if result.outcome is RoutesOutcome.PARTIAL and result.reachable:
        return f"{money_text(result.reachable, currency, decimals)} of it can be moved now: type that, or less"
    return route_words.SILENT.get(result.outcome, _NONE)


def change_words(change: Change, decimals: int, *, is_ascii: bool) -> tuple[str, str, str]:
    """Name, balance before, balance after."""
    before, after = (
        format_amount(one, decimals, sign=bool(one), ascii_only=is_ascii)
        for one in (change.before, change.after)
    )
    return change.name, before, after


# --- how it goes --------------------------------------------------------------------------------


def head(pay: PayReport, amount: str) -> str:
    """What it is, in a line."""
    if pay.stage is PayStage.PAID:
        return f"Moved {amount} along a circle of friends"
    if pay.stage is not PayStage.FAILED:
        return f"Moving {amount} along a circle of friends"
    if not pay.is_safe_to_retry:
        return f"Nobody knows whether {amount} was moved"
    return f"Not moved: {amount}"


def timeline(pay: PayReport, decimals: int, now_ms: int) -> tuple[Step, ...]:
    """search, fee, sending, moved."""
    return tuple(
        Step(one.mark, "moved" if one.name == "paid" else one.name, _words(one, pay, now_ms))
        for one in money_words.timeline(pay, decimals, now_ms, is_handed=True)
        if one.name not in _UNSEEN
    )


def _words(step: Step, pay: PayReport, now_ms: int) -> str:
    if step.mark is Mark.FAILED:
        return failure_words(pay.failure)
    if step.name == "search" and step.mark is Mark.NOW:
        return f"looking for a circle, {duration(max(now_ms - pay.created_ms, 0))}"
    return _WORDS.get((step.name, step.mark), step.words)


def failure_words(failure: PayFailure | None) -> str:
    """Why it came to nothing."""
    said = "" if failure is None else _FAILED.get(failure, "")
    return said or failure_sentence(failure)


def help_words(pay: PayReport) -> str:
    """What to do about one that failed; "" if it has not."""
    if pay.stage is not PayStage.FAILED:
        return ""
    if pay.failure is PayFailure.NO_INDEX:
        return money_words.help_sentence(pay)
    return "z on a friend, or on their line in Balances, looks for another circle."


def outcome_words(pay: PayReport) -> str:
    """Whether anything has changed."""
    if pay.stage is PayStage.PAID:
        return "No other balance of yours has changed."
    if pay.stage is PayStage.COMMITTED:
        return "It goes on by itself and cannot be given up any more."
    if pay.stage is not PayStage.FAILED:
        return "It goes on by itself; nothing changes before all of it has come round."
    if pay.is_safe_to_retry:
        return "Nothing was moved: your balances are as before."
    return "A channel broke while it came round: 6 shows the balances as they are now."
