"""When a limit is so high that one is asked once more whether it is meant. Pure.

A digit too many in a limit is not seen before it is lost. A limit is *high* when it is above ten times the
largest one given in its currency so far, or, where none was given, above a thousand whole units.
Source: apps.md §6.11 (RMP-39); tui.md §9 (danger ladder).
"""

from collections.abc import Iterable
from typing import Final

from offset_engine.client import Currency, NodeReport
from offset_engine.introducing import SentInvite
from offset_engine.text import format_amount, money_text
from offset_tui.people import loss_words

TIMES: Final = 10
FIRST_UNITS: Final = 1_000
"""Whole units of a currency that nobody has been trusted with yet."""


def largest_given(
    report: NodeReport, currency: Currency, invites: Iterable[SentInvite] = ()
) -> int:
    """The largest limit given to a friend or offered in an open invite, in credits; 0 = none yet."""
    given = [
        one.max_debt
        for friend in report.friends
        for one in friend.currencies
        if one.currency == currency
    ]
    offered = [
        terms.limit_offered
        for sent in invites
        for terms in sent.terms
        if terms.currency == currency
    ]
    return max([0, *given, *offered])


def is_high(limit: int, largest: int, decimals: int) -> bool:
    """Whether to ask."""
    return limit > (TIMES * largest if largest else FIRST_UNITS * int(10**decimals))


def question(who: str, limit: int, largest: int, currency: Currency, decimals: int) -> str:
    """What is asked: the loss first, then what makes it unusual."""
    amount = money_text(limit, currency, decimals)
    if largest:
        before = format_amount(largest, decimals)
        why = (
            f"That is {limit // largest:,} times the largest limit you have given in {currency} so far"
            f" ({before})."
        )
    else:
        why = f"It is the first limit you give in {currency}, and you know best what one {currency} is worth."
    return f"{amount} is {loss_words(who)}.\n\n{why} Is it meant?"
