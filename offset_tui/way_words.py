"""What there is to say about the way of a payment: how many people pass it on, in which parts, for what. Pure.

Of those on the way only our own friends have a name: who their friends are is not our business.

Amounts are credits. Source: apps.md §5 S4, S8, S9; tui.md §8.
"""

from collections.abc import Iterable
from typing import Final

from offset_engine.client import Invoice, NodeReport, PartReport, PayReport
from offset_engine.text import format_amount
from offset_tui.money_words import called, parts_words
from offset_tui.state import Line

WAYS_SHOWN: Final = 6
"""Parts told one by one."""
_LATER: Final = "found after P; how many people pass it on is shown with the fee"


def way_words(pay: PayReport, report: NodeReport, decimals: int) -> tuple[str, ...]:
    """Whom each part passes, one line a part; () if that is not known (yet, or any more)."""
    ways = pay.ways
    if not ways:
        return ()
    if len(ways) == 1:
        return (_over(ways[0], report),)
    lines = tuple(_part_words(one, report, decimals) for one in ways[:WAYS_SHOWN])
    more = max(pay.parts, len(ways)) - len(lines)
    return (*lines, f"and {parts_words(more)} more") if more else lines


def _part_words(part: PartReport, report: NodeReport, decimals: int) -> str:
    fee = f"fee {format_amount(part.fee, decimals)}" if part.fee else "no fee"
    return f"{format_amount(part.amount, decimals)} {_over(part, report)}; {fee}"


def _over(part: PartReport, report: NodeReport) -> str:
    name = called(report, part.friend)
    if not part.people:
        return f"straight to {name}"
    if part.people == 1:
        return f"over {name}"
    return f"over {part.people} people, {name} first"


def expected_way(lines: Iterable[Line], report: NodeReport, invoice: Invoice) -> str:
    """What can be said before anybody was asked: only a friend is paid without looking for a way."""
    seller, amount = invoice.dest_public_key, invoice.total_dest_payment
    direct = next(
        (one for one in lines if one.friend == seller and one.currency == invoice.currency), None
    )
    if direct is None or not direct.is_usable:
        return _LATER
    name = called(report, seller)
    if direct.can_pay is None:
        return f"straight to {name}, without a fee, if they let you owe that much; else over others"
    if direct.can_pay < amount:
        return f"not straight to {name} alone, who lets you owe less; {_LATER}"
    return f"straight to {name}, without a fee"
