"""From a picture of a node to the numbers screens show. Pure: no Textual, no clock, no client.

Amounts are credits; balances are from our side, positive = the friend owes us.
Source: tui.md §8; design R8.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from offset_engine.activity import names_of
from offset_engine.client import (
    Currency,
    CurrencyReport,
    FriendReport,
    NodeReport,
    PublicKey,
)
from offset_engine.notebook import Notebook
from offset_engine.text import clip_cells


@dataclass(frozen=True, slots=True)
class Line:
    """One currency with one friend."""

    friend: PublicKey
    name: str
    """As shown: safe, and with the key's fingerprint where another friend's name looks the same."""
    currency: Currency
    balance: int | None
    """None = not agreed by the friend yet."""
    i_grant: int
    """The most the friend may owe us: the most we can lose with them."""
    granted: int | None
    """The most the friend said we may owe them; None = they did not say."""
    pending_out: int
    """Credits frozen in payments that leave through this friend."""
    pending_in: int
    """Credits frozen in payments that arrive through this friend."""
    is_open: bool
    """Payments of others may pass; between the two of us they do either way."""
    is_removing: bool
    is_usable: bool = True
    """Something can pass once both are online: nothing but being offline is in the way."""

    @property
    def can_be_paid(self) -> int:
        """Most that can still arrive through this friend."""
        if not self.is_usable:
            return 0
        return max(self.i_grant - (self.balance or 0) - self.pending_in, 0)

    @property
    def can_pay(self) -> int | None:
        """Most that can still leave through this friend, if they keep their word; None = not known."""
        if not self.is_usable:
            return 0
        if self.granted is None:
            return None
        return max(self.granted + (self.balance or 0) - self.pending_out, 0)


@dataclass(frozen=True, slots=True)
class Net:
    """One currency over all friends."""

    currency: Currency
    balance: int
    owed_to_us: int
    """Sum of what friends owe us."""
    we_owe: int
    """Sum of what we owe friends, positive."""
    pending_out: int
    pending_in: int
    can_be_paid: int
    can_pay: int | None
    """None = no friend through whom something can pass said what they grant."""


def friend_names(report: NodeReport) -> Mapping[PublicKey, str]:
    """What to call each friend: the name, with the fingerprint where two look alike or there is none."""
    return _names(_Same(report))


class _Same:
    """A report that is equal only to itself, so that looking one up does not look at every friend."""

    def __init__(self, report: NodeReport) -> None:
        self.report = report

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.report is self.report

    def __hash__(self) -> int:
        return id(self.report)


@lru_cache(maxsize=4)
def _names(same: _Same) -> Mapping[PublicKey, str]:
    """Screens ask for every row and every key; names cost more than all else about friends."""
    return names_of(same.report)


def lines_of(friend: FriendReport, name: str, notebook: Notebook) -> tuple[Line, ...]:
    """Every currency used with a friend; of an inconsistent one what our own terms say."""
    terms = dict(friend.local_terms.balances) if friend.local_terms is not None else {}
    return tuple(
        _line(
            friend,
            name,
            one,
            one.balance if friend.is_consistent else terms.get(one.currency),
            notebook,
        )
        for one in friend.currencies
    )


def _line(
    friend: FriendReport,
    name: str,
    one: CurrencyReport,
    balance: int | None,
    notebook: Notebook,
) -> Line:
    return Line(
        friend.public_key,
        name,
        one.currency,
        balance,
        one.max_debt,
        notebook.told_by(friend.public_key, one.currency),
        one.local_pending_debt,
        one.remote_pending_debt,
        one.is_open,
        one.is_removing,
        _is_sound(friend) and one.balance is not None and not one.is_removing,
    )


def _is_sound(friend: FriendReport) -> bool:
    """Whether anything new can be signed with a friend once both are online."""
    return (
        friend.is_enabled
        and friend.is_consistent
        and not friend.is_quarantined
        and not friend.is_unreadable
    )


def all_lines(report: NodeReport, notebook: Notebook) -> tuple[Line, ...]:
    """Every friendship in every currency, friends as the report sorts them."""
    names = friend_names(report)
    return tuple(
        line
        for friend in report.friends
        for line in lines_of(friend, names[friend.public_key], notebook)
    )


def nets(lines: tuple[Line, ...], order: tuple[Currency, ...] = ()) -> tuple[Net, ...]:
    """One line per currency; those in `order` first."""
    found: dict[Currency, list[Line]] = {one: [] for one in order}
    for line in sorted(lines, key=lambda one: one.currency):
        found.setdefault(line.currency, []).append(line)
    return tuple(_net(currency, held) for currency, held in found.items() if held)


def _net(currency: Currency, lines: list[Line]) -> Net:
    balances = [line.balance or 0 for line in lines]
    return Net(
        currency,
        sum(balances),
        sum(one for one in balances if one > 0),
        -sum(one for one in balances if one < 0),
        sum(line.pending_out for line in lines),
        sum(line.pending_in for line in lines),
        sum(line.can_be_paid for line in lines),
        sum_of_told(lines),
    )


def sum_of_told(lines: Iterable[Line]) -> int | None:
    """About how much can be paid through these; None if something could pass but nobody said how much."""
    usable = [line for line in lines if line.is_usable]
    known = [line.can_pay for line in usable if line.can_pay is not None]
    return sum(known) if known or not usable else None


def clip_name(name: str, cells: int) -> str:
    """A name in a narrow column; the screen of the friend shows it whole."""
    return clip_cells(name, cells)
