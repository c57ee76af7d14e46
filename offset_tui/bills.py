"""A bill shared among people: who pays how much, and who has paid. Pure.

Every share is an ordinary invoice; what makes them one bill is how their descriptions end. The names stay with
the owner, as the invoices' private notes. Amounts are credits, times UTC ms.

Source: apps.md §6.11, RMP-40.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from offset_engine.client import Currency, Invoice, InvoiceRecord, InvoiceReport
from offset_engine.text import (
    EntryError,
    format_amount,
    iso_local,
    money_text,
    parse_amount,
    relative,
    safe,
)
from offset_tui.sale_words import check_description

PEOPLE_MAX: Final = 32
"""Shares of one bill."""
_NAME_CHARS_MAX: Final = 60
_AMOUNT: Final = re.compile(r"[0-9][0-9.' ]*")
_TAIL: Final = re.compile(r"\(share ([1-9][0-9]?) of ([1-9][0-9]?), (.{1,80}) in all\)")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who pays a share."""

    name: str
    amount: int | None
    """None = what the others leave, equally."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one person pays."""

    name: str
    amount: int


# --- making one ---------------------------------------------------------------------------------


def read_people(typed: str, decimals: int) -> tuple[Person, ...]:
    """Read a number of people, or names separated by commas, an amount behind some of them.

    Raises:
        EntryError: it is none of these, or too many.
    """
    text = " ".join(typed.split())
    if text.isascii() and text.isdigit():
        count = int(text[:6])
        _check_count(count)
        return tuple(Person(f"person {number}", None) for number in range(1, count + 1))
    entries = [one.strip() for one in text.split(",")]
    if not all(entries):
        raise EntryError("write how many people pay, or their names: Bob, Dora 12.50")
    _check_count(len(entries))
    return tuple(_person(one, decimals) for one in entries)


def _check_count(count: int) -> None:
    if not 1 <= count <= PEOPLE_MAX:
        raise EntryError(f"1 to {PEOPLE_MAX} people can share a bill")


def _person(entry: str, decimals: int) -> Person:
    name, _, last = entry.rpartition(" ")
    if not name or not _AMOUNT.fullmatch(last):
        name, amount = entry, None
    else:
        try:
            amount = parse_amount(last, decimals)
        except EntryError as problem:
            raise EntryError(f"{safe(name, 30)}: {problem}") from None
    if len(name) > _NAME_CHARS_MAX:
        raise EntryError(f"a name has at most {_NAME_CHARS_MAX} letters")
    return Person(name, amount)


def split(
    total: int, people: Sequence[Person], decimals: int, *, is_mine_too: bool
) -> tuple[tuple[Share, ...], int]:
    """Who pays how much of a total; what cannot be divided is paid by the first of those who share equally.

    Returns:
        The shares of the others, and the owner's own.

    Raises:
        EntryError: it does not come out.
    """
    fixed = sum(one.amount for one in people if one.amount is not None)
    equal = sum(1 for one in people if one.amount is None)
    heads = equal + int(is_mine_too)
    rest = total - fixed
    shown = format_amount(fixed, decimals)
    if rest < 0 or (rest and not heads):
        raise EntryError(f"the shares make {shown}, not {format_amount(total, decimals)}")
    each, over = divmod(rest, heads) if heads else (0, 0)
    if equal and not each and over < equal:
        raise EntryError(f"nothing is left for {equal} of them: the shares make {shown}")
    shares: list[Share] = []
    for one in people:
        amount = one.amount
        if amount is None:
            amount, over = each + int(over > 0), max(over - 1, 0)
        shares.append(Share(one.name, amount))
    return tuple(shares), each if is_mine_too else 0


def describe(what: str, number: int, count: int, total: str) -> str:
    """What the invoice of one share is for.

    Raises:
        EntryError: it gets too long.
    """
    return check_description(f"{what} (share {number} of {count}, {total} in all)".strip())


# --- looking at them ----------------------------------------------------------------------------

Known = InvoiceReport | InvoiceRecord


@dataclass(frozen=True, slots=True)
class Bill:
    """Invoices that were made together."""

    what: str
    """What it is for; show it through `safe`."""
    total: str
    """As it was written: the whole bill, the owner's own share included."""
    currency: Currency
    created_s: int
    """UTC s: when the first of them was made."""
    parts: tuple[Known, ...]

    @property
    def key(self) -> str:
        """Names it for ever."""
        return f"bill {self.parts[0].invoice.invoice_id.to_text()}"

    @property
    def asked(self) -> int:
        """What the invoices ask for together."""
        return sum(one.invoice.total_dest_payment for one in self.parts)

    @property
    def paid(self) -> tuple[Known, ...]:
        """Those that are paid and collected."""
        return tuple(one for one in self.parts if is_paid(one))

    def detail(self, decimals: int) -> str:
        """The sums, in a sentence."""
        got = sum(one.invoice.total_dest_payment for one in self.paid)
        return (
            f"{safe(self.total, 60)} in all; asked of others {format_amount(self.asked, decimals)}, received"
            f" {format_amount(got, decimals)}; made"
            f" {iso_local(self.created_s * 1000)[:10]}"
        )

    def state(self, decimals: int) -> str:
        """How far it is."""
        paid = self.paid
        got = sum(one.invoice.total_dest_payment for one in paid)
        if len(paid) == len(self.parts):
            return "everybody has paid"
        still = money_text(self.asked - got, self.currency, decimals)
        return f"{len(paid)} of {len(self.parts)} paid, {still} to come"


def is_paid(known: Known) -> bool:
    """Whether a share is paid and collected."""
    return isinstance(known, InvoiceRecord) and known.is_paid


def part_state(known: Known, now_ms: int) -> str:
    """How a share stands, in few words: there are many of them."""
    if isinstance(known, InvoiceRecord):
        ended = relative(now_ms, known.ended_ms)
        return f"paid {ended}" if known.is_paid else f"closed unpaid {ended}"
    if known.registered is not None:
        return "commit received: collect it"
    if known.is_sealed:
        return "reserved, commit awaited"
    if known.frozen:
        return "partly reserved"
    if known.expires_ms is None:
        return "waiting"
    if known.expires_ms <= now_ms:
        return "expired"
    return f"waiting, expires {relative(now_ms, known.expires_ms)}"


def bills(known: Iterable[Known]) -> tuple[Bill, ...]:
    """Every bill among the invoices, newest first.

    Two bills that read the same are told apart by the numbers of their shares: of each there is one.
    """
    made: dict[tuple[str, int, str, Currency], list[dict[int, Known]]] = {}
    for one in sorted(known, key=lambda one: (one.invoice.created, one.created_ms)):
        found = _read_tail(one.invoice)
        if found is None:
            continue
        what, number, count, total = found
        alike = made.setdefault((what, count, total, one.invoice.currency), [])
        if not alike or number in alike[-1]:
            alike.append({})
        alike[-1][number] = one
    whole = [
        Bill(
            what,
            total,
            currency,
            min(one.invoice.created for one in parts.values()),
            tuple(parts[number] for number in sorted(parts)),
        )
        for (what, _, total, currency), alike in made.items()
        for parts in alike
    ]
    return tuple(sorted(whole, key=lambda one: (-one.created_s, one.what)))


def _read_tail(invoice: Invoice) -> tuple[str, int, int, str] | None:
    text = invoice.description
    at = text.rfind("(share ")
    found = _TAIL.fullmatch(text, at) if at >= 0 else None
    if found is None or int(found[1]) > int(found[2]):
        return None
    return text[:at].rstrip(), int(found[1]), int(found[2]), found[3]
