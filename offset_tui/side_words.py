"""What stands beside a list about the row under the cursor: a friend, or something that happened, in short.

Bounded, however many currencies a friend has; the screen that enter opens says everything. Text only: no Textual, no
client. Source: apps.md §5 S15, S30; tui.md §8.
"""

from collections.abc import Callable
from typing import Final

from rich.text import Text

from offset_engine.activity import Entry, Kind
from offset_engine.client import Currency
from offset_engine.text import (
    fingerprint,
    fingerprint_words,
    format_amount,
    iso_offset,
    money_text,
    relative,
    safe,
)
from offset_tui import people
from offset_tui.roster import Person
from offset_tui.state import Line
from offset_tui.widgets.credit import balance, credit_bar

FULLY_SHOWN: Final = 2
"""Currencies with everything about them; of more only the balance is said."""
CURRENCIES_SHOWN: Final = 8
_WRONG: Final = {
    "inconsistent": "You disagree about what is owed, so nothing passes between you until one accepts the"
    " other's proposal. Enter, then a, compares both.",
    "unreadable": "What they send cannot be read, so nothing of it was applied. Enter says what to do.",
    "quarantined": "Nothing new is signed with them until their card shows that your backup is current.",
    "disabled": "Switched off: this card does not connect to them. space switches on.",
}
_BAR_CELLS: Final = 40
Decimals = Callable[[Currency], int]


def friend(one: Person, decimals_of: Decimals, *, is_ascii: bool) -> Text:
    """Who it is, how things stand, and every currency."""
    standing = people.standing(one.report)
    shown = Text.assemble((safe(one.report.name, 40) or "(no name)", "bold"))
    shown.append(f" · {fingerprint(one.report.public_key)}\n")
    shown.append(standing.shown(is_ascii=is_ascii), standing.style)
    words = fingerprint_words(one.report.public_key).split()
    shown.append(f"\n{' '.join(words[:4])}\n{' '.join(words[4:])}\n", "dim")
    wrong = _WRONG.get(standing.words)
    if wrong:
        shown.append(f"\n{wrong}\n", "yellow")
    full, brief = one.lines[:FULLY_SHOWN], one.lines[FULLY_SHOWN:CURRENCIES_SHOWN]
    for line in full:
        shown.append("\n").append_text(_line(line, decimals_of(line.currency), is_ascii=is_ascii))
    shown.append("\n" if brief else "")
    for line in brief:
        shown.append_text(_head(line, decimals_of(line.currency), is_ascii=is_ascii)).append("\n")
    if len(one.lines) > CURRENCIES_SHOWN:
        shown.append(f"and {len(one.lines) - CURRENCIES_SHOWN} more\n", "dim")
    if not one.lines:
        shown.append("\nNo currency is used with this friend yet.\n")
    return shown.append("\nenter opens this friend: limits, fees, more", "dim")


def _head(line: Line, decimals: int, *, is_ascii: bool) -> Text:
    shown = Text.assemble((f"{line.currency}  ", "bold"))
    if line.balance is None:
        return shown.append("not agreed yet", "dim")
    return shown.append_text(balance(line.balance, decimals, is_ascii=is_ascii))


def _line(line: Line, decimals: int, *, is_ascii: bool) -> Text:
    def amount(credits_: int | None) -> str:
        return "?" if credits_ is None else format_amount(credits_, decimals)

    shown = _head(line, decimals, is_ascii=is_ascii)
    shown.append("\n").append_text(
        credit_bar(line.balance or 0, line.i_grant, line.granted, _BAR_CELLS, is_ascii=is_ascii)
    )
    shown.append(f"\nyou trust {amount(line.i_grant)} · trusts you {amount(line.granted)}")
    shown.append(f"\ncan pay {amount(line.can_pay)} · can be paid {amount(line.can_be_paid)}\n")
    if line.pending_out or line.pending_in:
        moving = f"pending: {amount(line.pending_out)} out, {amount(line.pending_in)} in\n"
        shown.append(moving, "yellow")
    return shown


def happened(entry: Entry, decimals_of: Decimals, now_ms: int, *, is_ascii: bool) -> Text:
    """What it was, when, how much, with whom, and what it was for."""
    digits = 0 if entry.currency is None else decimals_of(entry.currency)
    shown = Text.assemble((entry.kind.value, "bold"), f" · {relative(now_ms, entry.when_ms)}\n")
    shown.append(f"{iso_offset(entry.when_ms)}\n", "dim")
    if entry.currency is not None and entry.amount:
        signed = entry.is_signed
        amount = money_text(entry.amount, entry.currency, digits, sign=signed, ascii_only=is_ascii)
        shown.append(f"\n{amount}\n", "bold")
    if entry.fee:
        shown.append(f"fee {format_amount(entry.fee, digits, ascii_only=is_ascii)}\n")
    if entry.name:
        shown.append(f"{'' if entry.kind is Kind.THROUGH else 'with '}{entry.name}\n")
    style = "bold yellow" if entry.needs_owner else ""
    shown.append(f"\n{safe(entry.state, 200)}\n", style)
    if entry.description:
        shown.append("\nabout  ", "dim").append(f"{safe(entry.description, 400)}\n")
    if entry.note:
        shown.append("\nnote   ", "dim").append(f"{safe(entry.note, 400)}\n")
    if not entry.reference:
        return shown.append("\nenter shows all of it", "dim")
    what = "payment" if entry.is_outgoing else "invoice"
    return shown.append(f"\nenter opens the {what} · e writes a note", "dim")
