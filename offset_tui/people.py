"""What the screens about friends say: states, limits, losses and fees in words. Pure: no Textual, no client.

Amounts are credits; balances are from our side, positive = the friend owes us.
Source: apps.md §5 (S21, S27, S30–S32); tui.md §8; design R8, R23, R25, R41.
"""

import csv
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from offset_engine.client import (
    Currency,
    ForwardRecord,
    FriendReport,
    HistoryEntry,
    InvoiceRecord,
    LossRecord,
    PaymentRecord,
    PayStage,
    PublicKey,
    Rate,
    Record,
    RelayAddress,
    TermsReport,
)
from offset_engine.text import (
    fingerprint,
    format_amount,
    format_rate,
    money_text,
    safe,
    share_text,
)
from offset_tui.state import Line, Net

DECIMALS_MAX: Final = 38
"""More digits than the largest amount has."""
NAME_CHARS_MAX: Final = 64
WIDE_CELLS: Final = 36
"""An amount wider than this needs a line of its own."""
_WORD_CELLS: Final = 24
_RISKY: Final = ("=", "+", "-", "@", "\t", "\r")
"""Cells that begin like this are formulas to a spreadsheet."""


# --- states -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand with a friend."""

    words: str
    mark: str
    """One glyph; `plain` is its twin."""
    plain: str
    style: str
    rank: int
    """Sorted by it: what needs the owner comes first."""

    def shown(self, *, is_ascii: bool) -> str:
        """Mark and words."""
        return f"{self.plain if is_ascii else self.mark} {self.words}"


_INCONSISTENT: Final = Standing("inconsistent", "!", "!", "bold red", 0)
_UNREADABLE: Final = Standing("unreadable", "!", "!", "bold red", 1)
_QUARANTINED: Final = Standing("quarantined", "!", "!", "bold yellow", 2)
_ONLINE: Final = Standing("online", "●", "*", "green", 3)
_OFFLINE: Final = Standing("offline", "○", "o", "dim", 4)
_DISABLED: Final = Standing("disabled", "×", "x", "dim", 5)


def standing(friend: FriendReport) -> Standing:
    """The one state that matters most."""
    if not friend.is_consistent:
        return _INCONSISTENT
    if friend.is_unreadable:
        return _UNREADABLE
    if not friend.is_enabled:
        return _DISABLED
    if friend.is_quarantined:
        return _QUARANTINED
    return _ONLINE if friend.is_online else _OFFLINE


def advice(friend: FriendReport, name: str) -> str:
    """What the state means and what to do about it; "" if there is nothing to do."""
    match standing(friend).words:
        case "inconsistent":
            return (
                f"You and {name} disagree about what is owed, so nothing passes between you until one"
                " accepts the other's proposal. Press a to compare both proposals."
            )
        case "unreadable":
            return (
                f"What {name} sends cannot be read, so nothing of it was applied. Usually one of the two"
                " programs is too old: compare versions and update. If it stays like this, D disputes:"
                " both sides then propose balances and one accepts."
            )
        case "quarantined":
            return (
                "This card was restored from a backup. Nothing new is signed with"
                f" {name} until {name}'s card shows that the backup is current. That happens by itself"
                " once both are online; if the backup is too old you will see both balances here."
            )
        case "disabled":
            return f"Switched off: this card does not connect to {name}. Balances stay. space switches on."
        case "offline":
            return f"{name} cannot be reached now; the card keeps trying by itself."
        case _:
            return ""


def confirm_word(friend: FriendReport) -> str:
    """What has to be typed to confirm: the name where it can be typed, else the key's short form."""
    name = friend.name.strip()
    can_be_typed = name.isascii() and name.isprintable() and 0 < len(name) <= _WORD_CELLS
    return name if can_be_typed else fingerprint(friend.public_key)


def seen_words(friend: FriendReport, ago: Callable[[int], str], seen_ms: int | None) -> str:
    """When the friend was there last, as far as this program saw."""
    if friend.is_online and friend.is_enabled:
        return "now"
    return "" if seen_ms is None else ago(seen_ms)


# --- limits and fees ----------------------------------------------------------------------------


def hundred(decimals: int) -> int:
    """100.00 in credits: the amount fees are shown on."""
    return 100 * int(10 ** min(decimals if decimals <= DECIMALS_MAX else 0, DECIMALS_MAX - 3))


def fee_preview(rate: Rate, currency: str, decimals: int) -> str:
    """`fee on 100.00 OUSD = 0.51 (0.51 %)`."""
    on = hundred(decimals)
    fee = rate.fee(on)
    return (
        f"fee on {money_text(on, currency, decimals)} = {format_amount(fee, decimals)}"
        f" ({share_text(fee, on)})"
    )


def charge_words(rate: Rate, line: Line, decimals: int) -> str:
    """What passing on costs, and what that is on a hundred."""
    if rate == Rate():
        return f"you charge nothing for passing on what {line.name} sends"
    preview = fee_preview(rate, line.currency, decimals)
    return (
        f"you charge {rate_words(rate, decimals)} for passing on what {line.name} sends: {preview}"
    )


def rate_words(rate: Rate, decimals: int) -> str:
    """`0.5 % + 0.01`, or `free`."""
    return format_rate(rate, decimals)


def trust_words(name: str, limit: int, currency: str, decimals: int) -> str:
    """The sentence every limit field says."""
    if not limit:
        return f"{name} can owe you nothing more: you cannot be paid through {name}"
    return (
        f"you trust {name} up to {money_text(limit, currency, decimals)}:"
        f" the most you can lose if {name} disappears"
    )


def loss_words(name: str) -> str:
    """What a limit means."""
    verb = "they disappear" if name == "them" else f"{name} disappears"
    return f"the most you can lose if {verb}"


def told_words(line: Line, decimals: int) -> str:
    """What the friend grants, as far as they said."""
    if line.granted is None:
        return f"{line.name} did not say up to how much they trust you (L notes it)"
    return (
        f"{line.name} trusts you up to {money_text(line.granted, line.currency, decimals)}"
        " (as they said)"
    )


def limit_notes(line: Line, limit: int, decimals: int) -> str:
    """What a new limit would mean, given the balance."""
    sentences = [trust_words(line.name, limit, line.currency, decimals) + "."]
    owed = max(line.balance or 0, 0)
    if owed > limit:
        sentences.append(
            f"That is below what {line.name} owes you now ({format_amount(owed, decimals)}):"
            " what is owed stays, and nothing more can arrive until it is paid back."
        )
    else:
        room = max(limit - (line.balance or 0) - line.pending_in, 0)
        when = "You can then" if line.is_usable else "Once payments pass between you, you can"
        sentences.append(f"{when} be paid {format_amount(room, decimals)} through them.")
    return "\n".join(sentences)


def used_share(line: Line) -> str:
    """How much of the limit that counts for this balance is used: ours if they owe, theirs if we do."""
    balance = line.balance or 0
    limit = line.i_grant if balance >= 0 else line.granted
    if limit is None:
        return "?"
    if not limit:
        return "0 %" if not balance else "over"
    return f"{-(-abs(balance) * 100 // limit)} %"


# --- what ends ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parting:
    """What unfriending would cost."""

    lost: tuple[str, ...]
    """Sentences; empty if nothing is owed or pending."""
    needs_force: bool


def parting(
    friend: FriendReport, lines: Iterable[Line], decimals_of: Callable[[Currency], int]
) -> Parting:
    """What is lost when this friend is forgotten."""
    lost: list[str] = []
    for line in lines:
        decimals = decimals_of(line.currency)
        balance = line.balance or 0
        amount = money_text(abs(balance), line.currency, decimals)
        if balance > 0:
            lost.append(f"{line.name} owes you {amount}: nobody will pay you that any more")
        elif balance < 0:
            lost.append(f"you owe {line.name} {amount}: that promise is dropped")
        for part, words in ((line.pending_out, "leaving"), (line.pending_in, "arriving")):
            if part:
                shown = money_text(part, line.currency, decimals)
                lost.append(f"{shown} {words} now is cut off")
    needs_force = bool(lost) or not friend.is_consistent or bool(friend.pending)
    return Parting(tuple(lost), needs_force)


@dataclass(frozen=True, slots=True)
class Difference:
    """Both proposals for one currency, from our side."""

    currency: Currency
    mine: int
    theirs: int | None
    """None = not known yet."""

    @property
    def change(self) -> int:
        """What accepting theirs changes: below zero we lose."""
        return (self.theirs or 0) - self.mine


def differences(mine: TermsReport | None, theirs: TermsReport | None) -> tuple[Difference, ...]:
    """Every currency of either proposal; one that a proposal leaves out counts as settled there."""
    ours = {} if mine is None else dict(mine.balances)
    others = {} if theirs is None else dict(theirs.balances)
    return tuple(
        Difference(
            currency,
            ours.get(currency, 0),
            None if theirs is None else others.get(currency, 0),
        )
        for currency in sorted({*ours, *others})
    )


def change_sentences(
    found: Iterable[Difference], decimals_of: Callable[[Currency], int]
) -> tuple[str, ...]:
    """`you lose 2.00 OUSD`, per currency; currencies are never added up."""
    said: list[str] = []
    for one in found:
        if one.change:
            verb = "lose" if one.change < 0 else "gain"
            amount = money_text(abs(one.change), one.currency, decimals_of(one.currency))
            said.append(f"you {verb} {amount}")
    return tuple(said) or ("you lose nothing",)


# --- tables -------------------------------------------------------------------------------------


def is_match(wanted: str, *texts: str) -> bool:
    """Whether what was typed into the filter is in one of these."""
    return any(wanted.strip().casefold() in text.casefold() for text in texts)


def balances_csv(lines: Iterable[Line], decimals_of: Callable[[Currency], int]) -> str:
    """Every friendship in every currency as CSV; amounts with a point, `-` for minus, no groups."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        (
            "currency", "friend", "public_key", "balance", "pending_out", "pending_in",
            "you_trust", "trusts_you", "can_pay", "can_be_paid", "is_open",
        )
    )  # fmt: skip
    for line in lines:
        decimals = decimals_of(line.currency)

        def shown(amount: int | None, decimals: int = decimals) -> str:
            return (
                "" if amount is None else format_amount(amount, decimals, group="", ascii_only=True)
            )

        writer.writerow(
            (
                plain_cell(line.currency),
                plain_cell(line.name),
                line.friend.to_text(),
                *map(
                    shown,
                    (
                        line.balance, line.pending_out, line.pending_in, line.i_grant,
                        line.granted, line.can_pay, line.can_be_paid,
                    ),
                ),
                "yes" if line.is_open else "no",
            )
        )  # fmt: skip
    return out.getvalue()


def plain_cell(text: str) -> str:
    """Foreign text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_RISKY) else text


# --- history ------------------------------------------------------------------------------------

_STEPS: Final = "▁▂▃▄▅▆▇█"
_STEPS_ASCII: Final = "_.:-=+*#"


def moves(entries: Iterable[HistoryEntry], currency: Currency) -> list[tuple[int, int]]:
    """(UTC ms, change of the net balance) of everything finished in one currency, oldest first."""
    found = [move for entry in entries if (move := _move(entry.record, currency)) is not None]
    return sorted(found)


def _move(record: Record, currency: Currency) -> tuple[int, int] | None:
    match record:
        case PaymentRecord() if record.stage is PayStage.PAID:
            if record.invoice.currency == currency:
                return record.ended_ms, -record.invoice.total_dest_payment - record.fee
        case InvoiceRecord() if record.is_paid:
            if record.invoice.currency == currency:
                return record.ended_ms, record.received
        case ForwardRecord() if record.currency == currency:
            return record.ended_ms, record.fee
        case LossRecord() if record.currency == currency:
            return record.ended_ms, -record.amount
    return None


def past_balances(net: Net, changes: list[tuple[int, int]], most: int = 60) -> tuple[int, ...]:
    """The net balance after each change, oldest first, ending with the one now."""
    found = [net.balance]
    for _, change in reversed(changes[-most:]):
        found.append(found[-1] - change)
    return tuple(reversed(found))


def spark(amounts: tuple[int, ...], *, is_ascii: bool = False) -> str:
    """One character per amount, higher is more."""
    steps = _STEPS_ASCII if is_ascii else _STEPS
    low, high = min(amounts), max(amounts)
    if low == high:
        return steps[0] * len(amounts)
    top = len(steps) - 1
    return "".join(steps[(one - low) * top // (high - low)] for one in amounts)


# --- addresses ----------------------------------------------------------------------------------


def card_words(key: PublicKey, words: str) -> str:
    """The line under a shared card."""
    return f"{fingerprint(key)} · {words}"


def relay_changes(
    before: Iterable[RelayAddress], after: Iterable[RelayAddress]
) -> tuple[tuple[str, RelayAddress], ...]:
    """What becomes of each relay: `stays`, `new` or `goes`, in the new order, those that go last."""
    old, new = tuple(before), tuple(after)
    return (
        *(("stays" if one in old else "new", one) for one in new),
        *(("goes", one) for one in old if one not in new),
    )


def server_words(address: str) -> str:
    """A server's address, which may be anybody's text."""
    return safe(address, 60)


def money(credits_: int, currency: str, decimals: int) -> str:
    """`1,250.00 OUSD`."""
    return money_text(credits_, currency, decimals)


def typable(name: str) -> str:
    """A foreign name as it may stand in a field: nothing in it acts or hides."""
    return "".join(char for char in name if char.isprintable())[:NAME_CHARS_MAX]
