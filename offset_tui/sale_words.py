"""What there is to say about being paid: capacity, states of invoices, verdicts on commits. Pure.

Amounts are credits, times UTC ms. Source: apps.md §5 S14 to S20; design R8, R24; apps.md §7.4.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from offset_engine.client import (
    DESCRIPTION_BYTES_MAX,
    Commit,
    Currency,
    Invoice,
    InvoiceRecord,
    InvoiceReport,
)
from offset_engine.files import Check, verify_commit
from offset_engine.text import EntryError, format_amount, iso_local, money_text, relative, safe
from offset_tui.state import Line, sum_of_told

HOUR_S: Final = 3_600
DAY_MS: Final = 86_400_000
LASTING: Final = (
    ("1 hour", HOUR_S),
    ("24 hours", 24 * HOUR_S),
    ("7 days", 7 * 24 * HOUR_S),
    ("never", None),
)
"""How long a new invoice can be paid: words and seconds."""
HOLDING: Final = (("collect at once", 0), ("hold 3 days", 3), ("hold 14 days", 14))
"""The return policy: what its owner means to do with a good commit, and for how many days."""
HOLD_DAYS_MAX: Final = 3_650
_GREEN: Final = "bold green"
_YELLOW: Final = "bold yellow"
_RED: Final = "bold red"


# --- the form -----------------------------------------------------------------------------------


def used_currencies(lines: Iterable[Line], chosen: Iterable[Currency]) -> tuple[Currency, ...]:
    """Currencies this card uses: as its settings order them, then those most friends use."""
    counts = Counter(line.currency for line in lines)
    found = dict.fromkeys(chosen)
    found.update(dict.fromkeys(sorted(counts, key=lambda one: (-counts[one], one))))
    return tuple(found)


def receivable(lines: Iterable[Line], currency: Currency) -> int | None:
    """The most one payment can bring now, over all friends; None if no friend uses the currency.

    A closed currency counts: what its friend pays us themselves still arrives.
    """
    used = [line for line in lines if line.currency == currency and not line.is_removing]
    return sum(line.can_be_paid for line in used) if used else None


def payable(lines: Iterable[Line], currency: Currency) -> tuple[bool, int | None, bool]:
    """Whether a friend uses the currency, about how much can be paid, and whether all of them said.

    The amount is None if no friend through whom something can pass said what they grant.
    """
    used = [line for line in lines if line.currency == currency and not line.is_removing]
    is_all_told = all(line.can_pay is not None for line in used)
    return bool(used), sum_of_told(used) if used else None, is_all_told


@dataclass(frozen=True, slots=True)
class Fitness:
    """What a card can do about an invoice."""

    words: str
    rank: int = 2
    """0 = it can pay, 1 = it may, 2 = nothing is known, 3 = it cannot, 4 = it cannot be used."""
    is_usable: bool = True
    """It can be opened at all."""


def fitness(lines: Iterable[Line], currency: Currency, amount: int, decimals: int) -> Fitness:
    """Whether a card can pay an amount, going by what its friends said."""
    is_used, can_pay, is_all_told = payable(tuple(lines), currency)
    if not is_used:
        return Fitness(f"no friend of it uses {safe(currency)}", 3)
    if can_pay is None:
        return Fitness(f"uses {safe(currency)}; its friends did not say how much they allow", 1)
    shown = f"can pay about {money_text(can_pay, currency, decimals)}"
    if can_pay >= amount:
        return Fitness(f"{shown}, enough", 0)
    if is_all_told:
        return Fitness(f"{shown}, too little", 3)
    return Fitness(f"{shown}, perhaps more", 1)


def echo(amount: int, currency: str, decimals: int, most: int | None) -> tuple[str, bool]:
    """The amount in words with what can come in.

    Returns:
        The sentence, and whether the amount is more than that.
    """
    shown = f"= {money_text(amount, currency, decimals)}"
    if most is None:
        return f"{shown}; no friend of yours uses {safe(currency)} yet", True
    limit = format_amount(most, decimals)
    if amount > most:
        return f"{shown}, but you can be paid up to {limit} only: a payment would fail now", True
    return f"{shown}; you can be paid up to {limit}", False


def beyond(amount: int, currency: str, decimals: int, most: int | None) -> str:
    """What to know before asking for more than can come in; "" if it can."""
    if most is None:
        return (
            f"No friend of yours uses {safe(currency)} yet. Nobody can pay this invoice before one"
            " does."
        )
    if amount <= most:
        return ""
    now, asked = format_amount(most, decimals), money_text(amount, currency, decimals)
    return (
        f"You can be paid {now} now; this invoice of {asked} can only be paid if that grows: when"
        " you trust friends with more, or have paid them. 5 shows them."
    )


def check_currency(typed: str) -> Currency:
    """Read a currency's name.

    Raises:
        EntryError: it is none.
    """
    try:
        return Currency.of(typed.strip())
    except ValueError as problem:
        raise EntryError(str(problem)) from None


def check_description(typed: str) -> str:
    """What the invoice is for.

    Raises:
        EntryError: it is too long.
    """
    text = typed.strip()
    size = len(text.encode())
    if size > DESCRIPTION_BYTES_MAX:
        over = size - DESCRIPTION_BYTES_MAX
        raise EntryError(
            f"this is {over} byte{'s' if over > 1 else ''} too long: {DESCRIPTION_BYTES_MAX} are"
            " possible, and letters beyond plain English take more than one"
        )
    return text


_DAYS: Final = re.compile(r"(\d{1,5})(?: ?(?:d|days?))?")


def parse_until(typed: str, now_ms: int, zone: dt.tzinfo | None = None) -> int:
    """Read until when to hold: `14` (days), `2026-12-24` (to its end) or `2026-12-24 18:00`.

    Args:
        typed: what somebody typed.
        now_ms: UTC ms.
        zone: whose clock; None = this computer's.

    Returns:
        UTC ms, in the future.

    Raises:
        EntryError: it is none of these, has passed, or is too far away.
    """
    text = " ".join(typed.split())
    days = _DAYS.fullmatch(text)
    is_days = days is not None and text.isascii()
    until = now_ms + int(days[1]) * DAY_MS if days and is_days else _date(text, zone)
    if until <= now_ms:
        raise EntryError("this has passed: choose a time to come")
    if until > now_ms + HOLD_DAYS_MAX * DAY_MS:
        raise EntryError("this is too far away: ten years at most")
    return until


def _date(text: str, zone: dt.tzinfo | None) -> int:
    for form, more in (("%Y-%m-%d %H:%M", dt.timedelta()), ("%Y-%m-%d", dt.timedelta(days=1))):
        try:
            moment = dt.datetime.strptime(text, form).replace(tzinfo=zone) + more
            return int(moment.timestamp() * 1000)
        except (ValueError, OverflowError, OSError):
            continue
    raise EntryError("write a number of days like 14, or a date like 2026-12-24")


# --- invoices -----------------------------------------------------------------------------------


def invoice_state(
    known: InvoiceReport | InvoiceRecord, now_ms: int, hold_until_ms: int | None
) -> str:
    """How an invoice stands, in words."""
    if isinstance(known, InvoiceRecord):
        ended = relative(now_ms, known.ended_ms)
        return f"paid and collected {ended}" if known.is_paid else f"closed without payment {ended}"
    if known.registered is not None:
        if hold_until_ms is not None and hold_until_ms > now_ms:
            return f"commit received, held until {iso_local(hold_until_ms)}"
        return "commit received: collect or refund"
    if known.is_sealed:
        return "funds reserved, waiting for the commit"
    if known.frozen:
        return "partly reserved"
    if known.expires_ms is None:
        return "waiting to be paid"
    if known.expires_ms <= now_ms:
        return "expired, closes in a moment"
    return f"waiting, expires {relative(now_ms, known.expires_ms)}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How an invoice stands that is being handed over, for whoever waits beside it."""

    title: str
    """One line, the thing to read."""
    next: str
    """What to do."""
    style: str = ""
    is_taken: bool = False
    """A buyer has it: nobody needs its text or code any more."""


def standing(known: InvoiceReport | InvoiceRecord, now_ms: int, decimals: int) -> Standing:
    """What has become of an invoice since it was handed out."""
    invoice = known.invoice
    amount = money_text(invoice.total_dest_payment, invoice.currency, decimals)
    if isinstance(known, InvoiceRecord):
        if known.is_paid:
            got = money_text(known.received, invoice.currency, decimals)
            return Standing(f"Collected: {got}", "Hand over the goods. q goes back.", _GREEN, True)
        words = "Nobody can pay it any more. q goes back."
        return Standing("Closed without payment", words, _RED, True)
    if known.registered is not None:
        words = "Nothing is collected yet: q goes back to the invoice, where Enter collects."
        return Standing(GOOD, words, _GREEN, True)
    if known.is_sealed:
        words = "It cannot be collected without the commit: ask the buyer for it and paste it here."
        return Standing(f"All of it is there: {amount} reserved", words, _YELLOW, True)
    if known.frozen:
        some = format_amount(known.frozen, decimals)
        words = "The rest is on its way; nothing has to be done."
        return Standing(f"Part of it is there: {some} of {amount} reserved", words, _YELLOW, True)
    state = invoice_state(known, now_ms, None)
    words = (
        "Send it to the buyer. They pay it and send you a commit: paste that here or anywhere in the"
        " app, and you are told whether the payment is good."
    )
    return Standing(f"{state[:1].upper()}{state[1:]}", words)


def refund_words(known: InvoiceReport, name: str) -> str:
    """What ending an open invoice means for whoever paid it."""
    if known.registered is not None:
        return (
            f"The buyer has paid: {name} can be collected, and their commit proves it. Refunding"
            " gives everything back for good; the commit is worth nothing afterwards. Do it only"
            " if the goods stay with you, or came back."
        )
    if known.frozen:
        return (
            f"A buyer has reserved {name} for it. It goes back to them. If they have the commit"
            " already, it is worth nothing afterwards: nobody can collect with it."
        )
    return "Nobody has paid it. Nobody can pay it afterwards."


# --- commits ------------------------------------------------------------------------------------


class Finding(Enum):
    """What a commit is to this card."""

    GOOD = "good"
    HELD = "held"
    COLLECTED = "collected"
    WRONG = "wrong"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CommitVerdict:
    """What came of looking at a commit."""

    finding: Finding
    title: str
    """One line, the thing to read."""
    because: str
    """What is behind it, and what to do."""
    invoice: Invoice | None = None

    @property
    def may_collect(self) -> bool:
        """Whether collecting is possible."""
        return self.finding in (Finding.GOOD, Finding.HELD)


GOOD: Final = "Payment is good: hand over the goods"


def judge(commit: Commit, known: InvoiceReport | InvoiceRecord | None) -> CommitVerdict:
    """What a commit is worth, checked against this card's own invoice."""
    if known is None:
        return CommitVerdict(
            Finding.UNKNOWN,
            "Not for this card: it has no such invoice",
            "The commit belongs to an invoice of somebody else, or of another card of yours"
            " (K switches). Do not hand over anything for it.",
        )
    invoice = known.invoice
    failed = verify_commit(invoice, commit).failed
    if failed is not None:
        return CommitVerdict(Finding.WRONG, f"Not good: {failed.value}", _advice(failed), invoice)
    if isinstance(known, InvoiceRecord):
        return _closed(commit, known)
    if known.registered is not None and known.registered != commit:
        return CommitVerdict(
            Finding.WRONG,
            "Not good: another commit is held for this invoice",
            "Somebody else has paid this invoice. This buyer's credits go back to them once you"
            " collect or refund.",
            invoice,
        )
    if not known.is_sealed:
        return CommitVerdict(
            Finding.WRONG,
            "Not good: nothing is reserved for it any more",
            "The signature is right, but the payment has been given back. Do not hand over"
            " anything; the buyer can pay again safely.",
            invoice,
        )
    if known.registered is not None:
        return CommitVerdict(Finding.HELD, GOOD, "You hold it: nothing is collected yet.", invoice)
    return CommitVerdict(
        Finding.GOOD, GOOD, "Every check holds, and the whole amount is reserved here.", invoice
    )


def _closed(commit: Commit, known: InvoiceRecord) -> CommitVerdict:
    invoice = known.invoice
    if not known.is_paid:
        return CommitVerdict(
            Finding.CLOSED,
            "Not good: this invoice was refunded, canceled or has expired",
            f"It was closed at {iso_local(known.ended_ms)} and nothing can be collected. Do not"
            " hand over anything.",
            invoice,
        )
    if known.commit is not None and known.commit != commit:
        return CommitVerdict(
            Finding.WRONG,
            "Not good: this invoice was paid with another commit",
            f"It was collected at {iso_local(known.ended_ms)}; this commit brings nothing.",
            invoice,
        )
    return CommitVerdict(
        Finding.COLLECTED,
        "Collected already: hand over the goods once only",
        f"You collected it at {iso_local(known.ended_ms)}. The same commit brings nothing more.",
        invoice,
    )


def _advice(failed: Check) -> str:
    if failed is Check.SIGNATURE:
        return "Ask the buyer to send the commit again, whole. Do not hand over anything before."
    return "Ask the buyer for the commit of this invoice. Do not hand over anything before."
