"""From a picture of a node to the numbers screens show. Pure: no Textual, no clock, no client.

Amounts are credits; balances are from our side, positive = the friend owes us.
Source: tui.md §8; design R8.
"""

from dataclasses import dataclass

from offset_engine.client import (
    Currency,
    CurrencyReport,
    FriendReport,
    NodeReport,
    PublicKey,
)
from offset_engine.notebook import Notebook
from offset_engine.text import clip_cells, fingerprint, safe, skeleton


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
    is_removing: bool

    @property
    def can_be_paid(self) -> int:
        """Most that can still arrive through this friend."""
        return max(self.i_grant - (self.balance or 0) - self.pending_in, 0)

    @property
    def can_pay(self) -> int | None:
        """Most that can still leave through this friend, if they keep their word; None = not known."""
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
    """None = no friend said what they grant."""


def friend_names(report: NodeReport) -> dict[PublicKey, str]:
    """What to call each friend: the name, with the fingerprint where two look alike or there is none."""
    looks: dict[str, int] = {}
    for friend in report.friends:
        look = skeleton(friend.name)
        looks[look] = looks.get(look, 0) + 1
    return {
        friend.public_key: _name(friend, is_unique=looks[skeleton(friend.name)] == 1)
        for friend in report.friends
    }


def _name(friend: FriendReport, *, is_unique: bool) -> str:
    shown = safe(friend.name, 24).strip()
    if shown and is_unique:
        return shown
    return f"{shown} {fingerprint(friend.public_key)}".strip()


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
    known = [line.can_pay for line in lines if line.can_pay is not None]
    return Net(
        currency,
        sum(balances),
        sum(one for one in balances if one > 0),
        -sum(one for one in balances if one < 0),
        sum(line.pending_out for line in lines),
        sum(line.pending_in for line in lines),
        sum(line.can_be_paid for line in lines if line.is_open),
        sum(known) if known else None,
    )


def clip_name(name: str, cells: int) -> str:
    """A name in a narrow column; the screen of the friend shows it whole."""
    return clip_cells(name, cells)
