"""Everybody on a card as lists show them, kept from picture to picture: only what changed is worked out anew.

Who did not change is the very object of the picture before, and so are the lines of money with them; that is how a
list of ten thousand finds the few rows to draw again. Pure: no Textual, no clock, no client.

Source: tui.md §9; design R8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from offset_engine.client import Currency, FriendReport, NodeReport, PublicKey
from offset_engine.notebook import Notebook
from offset_tui import state
from offset_tui.state import Line, Net


@dataclass(frozen=True, slots=True)
class Person:
    """One friend."""

    report: FriendReport
    key: str
    """Names a row: the public key in base64."""
    name: str
    """As shown: safe, and with the key's fingerprint where another friend's name looks the same."""
    lines: tuple[Line, ...]
    """Every currency used with them."""


class Roster:
    """See the module; nothing in it changes."""

    def __init__(
        self, report: NodeReport, notebook: Notebook, before: "Roster | None" = None
    ) -> None:
        self.report = report
        self.notebook = notebook
        known: Mapping[PublicKey, Person] = {} if before is None else before.by_key
        self.names: Mapping[PublicKey, str] = (
            before.names
            if before is not None and _are_called_alike(report, known)
            else state.friend_names(report)
        )
        is_same_book = before is not None and before.notebook.told == notebook.told
        self.people = tuple(
            self._person(friend, known.get(friend.public_key), is_same_book=is_same_book)
            for friend in report.friends
        )
        """As the report sorts them."""
        self.by_key: Mapping[PublicKey, Person] = {
            one.report.public_key: one for one in self.people
        }
        self._nets: dict[tuple[Currency, ...], tuple[Net, ...]] = {}

    def _person(self, friend: FriendReport, old: Person | None, *, is_same_book: bool) -> Person:
        name = self.names[friend.public_key]
        is_same = old is not None and (old.report is friend or old.report == friend)
        if old is not None and is_same and is_same_book and old.name == name:
            return old
        lines = state.lines_of(friend, name, self.notebook)
        if old is None:
            return Person(friend, friend.public_key.to_text(), name, lines)
        if lines == old.lines:
            lines = old.lines
            if is_same and old.name == name:
                return old
        return Person(friend, old.key, name, lines)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """Every friendship in every currency."""
        return tuple(chain.from_iterable(one.lines for one in self.people))

    def nets(self, order: tuple[Currency, ...] = ()) -> tuple[Net, ...]:
        """One line per currency; those in `order` first."""
        if order not in self._nets:
            self._nets[order] = state.nets(self.lines, order)
        return self._nets[order]

    def held(self, currency: Currency) -> tuple[Line, ...]:
        """Every friendship in one currency."""
        return self._held.get(currency, ())

    @cached_property
    def _held(self) -> dict[Currency, tuple[Line, ...]]:
        found: dict[Currency, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.currency, []).append(line)
        return {currency: tuple(lines) for currency, lines in found.items()}


def widest(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Lines whose names and amounts are likely the longest, a few of however many."""
    if not lines:
        return ()
    return (
        max(lines, key=lambda one: len(one.name)),
        max(lines, key=lambda one: one.balance or 0),
        min(lines, key=lambda one: one.balance or 0),
        max(lines, key=lambda one: one.pending_out + one.pending_in),
        max(lines, key=lambda one: one.i_grant),
        max(lines, key=lambda one: one.granted or 0),
        max(lines, key=lambda one: one.can_pay or 0),
        max(lines, key=lambda one: one.can_be_paid),
    )


def _are_called_alike(report: NodeReport, known: Mapping[PublicKey, Person]) -> bool:
    """Whether there are the same friends under the same names as before."""
    if len(report.friends) != len(known):
        return False
    for friend in report.friends:
        old = known.get(friend.public_key)
        if old is None or (old.report is not friend and old.report.name != friend.name):
            return False
    return True
