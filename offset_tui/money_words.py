"""What there is to say about paying: timeline, safety, fees, warnings. Pure: no Textual, no clock, no client.

Amounts are credits, times UTC ms. Foreign text leaves here only through `safe`.

Source: apps.md §5 S4, S7 to S12; tui.md §8, §9; design R8, R20, R21.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from offset_engine.client import (
    CREDITS_MAX,
    Invoice,
    NodeReport,
    PayFailure,
    PaymentId,
    PaymentRecord,
    PayReport,
    PayStage,
    PublicKey,
)
from offset_engine.files import Vouched
from offset_engine.sentences import failure_sentence
from offset_engine.text import (
    duration,
    fingerprint,
    format_amount,
    iso_local,
    money_text,
    name_and_key,
    readings_text,
    relative,
    safe,
    share_text,
)
from offset_tui.state import friend_names

DECIMALS_UNSTATED: Final = 255
"""An invoice that says nothing about decimals: whole credits (design R8)."""
TWICE_MS: Final = 10 * 60_000
"""Another payment of the same amount to the same seller within this time is pointed out."""
FEE_PERMILLE: Final = 10
"""The highest fee offered without being asked: 1 % and a tenth of a unit of the currency."""
LATE_MS: Final = 10_000
"""From now on a screen says what it waits for."""
VERY_LATE_MS: Final = 30_000
UNDER_WAY: Final = (PayStage.SEARCHING, PayStage.FEE_TO_CONFIRM, PayStage.SENDING)
"""Stages in which nothing is promised yet, so that a payment can be given up."""


# --- names, amounts, times ----------------------------------------------------------------------


def called(report: NodeReport, key: PublicKey) -> str:
    """A short name for buttons: what screens call a friend, else the fingerprint."""
    is_friend = any(one.public_key == key for one in report.friends)
    return friend_names(report)[key] if is_friend else fingerprint(key)


def who(report: NodeReport, key: PublicKey) -> str:
    """`Bob · k3f9-a2xw, your friend`; a stranger's name is nobody's word, so none is shown."""
    if key == report.local_public_key:
        return f"{fingerprint(key)}, this card itself"
    friend = next((one for one in report.friends if one.public_key == key), None)
    if friend is None:
        return f"{fingerprint(key)}, not one of your friends"
    return f"{name_and_key(friend.name, key, 30)}, your friend"


def has_other_decimals(invoice: Invoice, mine: int) -> bool:
    """Whether its seller reads the amount otherwise than this card (design R8)."""
    theirs = 0 if invoice.decimals == DECIMALS_UNSTATED else invoice.decimals
    return theirs != mine


def readings(invoice: Invoice, mine: int) -> str:
    """Both readings of the amount in a sentence; "" if there is only one."""
    if not has_other_decimals(invoice, mine):
        return ""
    credits_ = invoice.total_dest_payment
    if invoice.decimals == DECIMALS_UNSTATED:
        return (
            f"the invoice states no decimals: it asks for {format_amount(credits_, 0)} credits,"
            f" which are {format_amount(credits_, mine)} on your card"
        )
    return readings_text(credits_, mine, invoice.decimals)


def fee_words(fee: int, invoice: Invoice, decimals: int) -> str:
    """`0.51 OUSD (0.51 %)`, or `no fee`."""
    if not fee:
        return "no fee"
    amount = money_text(fee, invoice.currency, decimals)
    return f"{amount} ({share_text(fee, invoice.total_dest_payment)})"


def expiry_words(invoice: Invoice, now_ms: int) -> str:
    """Until when it can be paid."""
    if not invoice.expires:
        return "never"
    then_ms = invoice.expires * 1000
    if now_ms >= then_ms:
        return f"expired {relative(now_ms, then_ms)}"
    return f"{relative(now_ms, then_ms)} ({iso_local(then_ms)})"


def is_expired(invoice: Invoice, now_ms: int) -> bool:
    """Whether its seller takes no payment for it any more."""
    return bool(invoice.expires) and now_ms >= invoice.expires * 1000


def highest_fee(amount: int, decimals: int, permille: int) -> int:
    """The highest fee offered at first: a share of the amount, rounded up, and a tenth of a unit.

    The tenth, one credit at least, is for small amounts, where every friend's fee is rounded up.

    Args:
        amount: what the seller gets.
        decimals: digits after the point on this card.
        permille: share the owner agreed to once and for all; at least `FEE_PERMILLE` counts.
    """
    share = -(-amount * max(permille, FEE_PERMILLE) // 1000)
    tenth: int = 10 ** max(decimals - 1, 0)
    return max(min(share + tenth, CREDITS_MAX - amount), 0)


def agreed_fee(amount: int, permille: int) -> int:
    """Fees up to this are paid without asking."""
    return amount * permille // 1000


WHO_LEARNS: Final = (
    "Who learns what: the seller that it was paid, and by whom only from you. Friends on the way"
    " see amount and seller, not what it is for. The index server sees who asks for a way to whom."
)


# --- the review ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Try:
    """An earlier payment, from the live list or from history."""

    payment_id: PaymentId
    invoice: Invoice
    stage: PayStage
    failure: PayFailure | None
    when_ms: int

    @property
    def is_under_way(self) -> bool:
        """Not ended yet."""
        return self.stage not in (PayStage.PAID, PayStage.FAILED)


def tries(pays: Iterable[PayReport], past: Iterable[object]) -> tuple[Try, ...]:
    """Every payment known, each once."""
    found: dict[PaymentId, Try] = {}
    for one in pays:
        when = one.created_ms if one.ended_ms is None else one.ended_ms
        found[one.payment_id] = Try(one.payment_id, one.invoice, one.stage, one.failure, when)
    for record in past:
        if isinstance(record, PaymentRecord):
            found.setdefault(
                record.payment_id,
                Try(
                    record.payment_id,
                    record.invoice,
                    record.stage,
                    record.failure,
                    record.ended_ms,
                ),
            )
    return tuple(found.values())


class Weight(StrEnum):
    """What a warning means for paying."""

    NOTE = "note"
    """Good to know."""
    WARN = "warn"
    """Think about it."""
    TYPED = "typed"
    """Only with a typed word."""
    STOP = "stop"
    """It cannot be paid."""


@dataclass(frozen=True, slots=True)
class Caution:
    """One thing to know before paying."""

    weight: Weight
    words: str
    payment_id: PaymentId | None = None
    """The payment it is about."""


def repeats(invoice: Invoice, known: Sequence[Try], now_ms: int) -> Caution | None:
    """What an earlier payment of this invoice, or one just like it, means."""
    same = [one for one in known if one.invoice.invoice_id == invoice.invoice_id]
    for one in same:
        when = _ago(now_ms, one.when_ms)
        if one.stage is PayStage.PAID:
            words = f"you have paid this invoice already, {when}"
            return Caution(Weight.STOP, words, one.payment_id)
        if one.is_under_way:
            words = "this invoice is being paid just now: o opens that payment"
            return Caution(Weight.STOP, words, one.payment_id)
    for one in same:
        if one.failure is PayFailure.UNKNOWN:
            words = (
                "you paid this invoice before and nobody knows how it ended: the seller may still"
                " collect. Ask the seller before you pay again"
            )
            return Caution(Weight.TYPED, words, one.payment_id)
    if same:
        newest = max(same, key=lambda one: one.when_ms)
        words = (
            f"an earlier try failed {_ago(now_ms, newest.when_ms)}:"
            f" {failure_sentence(newest.failure)}. It is safe to pay again"
        )
        return Caution(Weight.NOTE, words, newest.payment_id)
    return _alike(invoice, known, now_ms)


def _ago(now_ms: int, then_ms: int) -> str:
    when = relative(now_ms, then_ms)
    return "just now" if when == "now" else when


def _alike(invoice: Invoice, known: Sequence[Try], now_ms: int) -> Caution | None:
    wanted = (invoice.dest_public_key, invoice.total_dest_payment, invoice.currency)
    for one in known:
        other = one.invoice
        is_alike = wanted == (other.dest_public_key, other.total_dest_payment, other.currency)
        if is_alike and one.stage is not PayStage.FAILED and now_ms - one.when_ms < TWICE_MS:
            words = (
                "you paid the same amount to the same seller"
                f" {duration(now_ms - one.when_ms)} ago, for another invoice"
            )
            return Caution(Weight.WARN, words, one.payment_id)
    return None


@dataclass(frozen=True, slots=True)
class Payer:
    """The card that pays, and what it can pay with in the invoice's currency."""

    own: PublicKey
    decimals: int
    is_used: bool
    """Some friend uses the currency."""
    can_pay: int | None
    """About this much; None = no friend said."""
    is_all_told: bool = True
    """Every friend said what they grant, so it cannot be more."""


def cautions(
    invoice: Invoice,
    payer: Payer,
    vouched: Vouched,
    repeat: Caution | None,
    now_ms: int,
) -> tuple[Caution, ...]:
    """Everything to know before paying, the worst first."""
    found: list[Caution] = []
    if vouched is Vouched.BROKEN:
        found.append(_stop(f"{vouched.value}. Ask the seller for it again"))
    if invoice.dest_public_key == payer.own:
        found.append(_stop("this is an invoice of your own card: nobody pays oneself"))
    if is_expired(invoice, now_ms):
        found.append(_stop("this invoice has expired: ask the seller for a new one"))
    if repeat is not None:
        found.append(repeat)
    if not payer.is_used:
        words = f"no friend of this card uses {safe(invoice.currency)}, so it cannot reach anybody"
        found.append(Caution(Weight.WARN, words))
    elif (
        payer.is_all_told
        and payer.can_pay is not None
        and payer.can_pay < invoice.total_dest_payment
    ):
        most = money_text(payer.can_pay, invoice.currency, payer.decimals)
        words = f"as far as your friends said, this card can pay {most} at most now"
        found.append(Caution(Weight.WARN, words))
    both = readings(invoice, payer.decimals)
    if both:
        found.append(Caution(Weight.WARN, both))
    if vouched is Vouched.UNSIGNED:
        found.append(Caution(Weight.WARN, f"it is {vouched.value}"))
    order = list(Weight)
    return tuple(sorted(found, key=lambda one: -order.index(one.weight)))


def _stop(words: str) -> Caution:
    return Caution(Weight.STOP, words)


# --- a payment under way ------------------------------------------------------------------------


class Mark(StrEnum):
    """How a step of the timeline stands."""

    DONE = "done"
    NOW = "now"
    TODO = "to do"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the timeline."""

    mark: Mark
    name: str
    words: str = ""


NAMES: Final = ("search", "fee", "sending", "commit", "handed over", "paid")
_HANDED: Final = 4
_AT: Final = {
    PayStage.SEARCHING: 0,
    PayStage.FEE_TO_CONFIRM: 1,
    PayStage.SENDING: 2,
    PayStage.COMMITTED: 4,
    PayStage.PAID: 6,
}
_FAILED_AT: Final = {
    PayFailure.NO_ROUTE: 0,
    PayFailure.SELLER_UNREACHABLE: 0,
    PayFailure.NO_INDEX: 0,
    PayFailure.OWN_LIMIT: 0,
    PayFailure.EXPIRED: 0,
    PayFailure.FEE_ABOVE_LIMIT: 1,
    PayFailure.REFUSED: 2,
    PayFailure.STUCK: 2,
    PayFailure.UNKNOWN: 5,
}


def step_at(pay: PayReport, *, is_handed: bool) -> int:
    """Which step of `NAMES` a payment is at; 6 = all done."""
    if pay.stage is PayStage.FAILED:
        if pay.commit is not None:
            return 5
        unknown = 2 if pay.parts else 0
        return unknown if pay.failure is None else _FAILED_AT.get(pay.failure, unknown)
    return _AT[pay.stage] + int(pay.stage is PayStage.COMMITTED and is_handed)


def timeline(pay: PayReport, decimals: int, now_ms: int, *, is_handed: bool) -> tuple[Step, ...]:
    """search, fee, sending, commit, handed over, paid: what is done, what goes on, what failed."""
    at = step_at(pay, is_handed=is_handed)
    current = Mark.FAILED if pay.stage is PayStage.FAILED else Mark.NOW
    steps: list[Step] = []
    for number, name in enumerate(NAMES):
        mark = Mark.DONE if number < at else current if number == at else Mark.TODO
        if number == _HANDED and current is Mark.FAILED and not is_handed:
            mark = Mark.TODO
        steps.append(Step(mark, name, _step_words(number, mark, pay, decimals, now_ms)))
    return tuple(steps)


def _step_words(number: int, mark: Mark, pay: PayReport, decimals: int, now_ms: int) -> str:
    if mark is Mark.TODO:
        return ""
    if mark is Mark.FAILED:
        return failure_sentence(pay.failure)
    if mark is Mark.NOW:
        return _now_words(number, pay, decimals, now_ms)
    return _done_words(number, pay, decimals)


def _now_words(number: int, pay: PayReport, decimals: int, now_ms: int) -> str:
    waited = max(now_ms - pay.created_ms, 0)
    match number:
        case 0:
            return f"looking for a way to the seller, {duration(waited)}{_late(waited)}"
        case 1:
            return f"{fee_words(pay.fee, pay.invoice, decimals)}: P agrees, x gives up"
        case 2:
            return f"{parts_words(pay.parts)} on the way, {duration(waited)}{_late(waited)}"
        case 4:
            return "give the commit to the seller: y shows it, h = it is done"
        case _:
            return "waiting until the seller collects with the commit"


def _late(waited: int) -> str:
    if waited < LATE_MS:
        return ""
    if waited < VERY_LATE_MS:
        return "; it waits for answers of nodes on the way"
    return "; x gives up, q leaves it running"


def _done_words(number: int, pay: PayReport, decimals: int) -> str:
    match number:
        case 0:
            return "a way was found"
        case 1:
            return fee_words(pay.fee, pay.invoice, decimals)
        case 2:
            return f"{parts_words(pay.parts)} arrived" if pay.parts else "arrived"
        case 3:
            return "it proves that the seller can collect"
        case 5:
            when = "" if pay.ended_ms is None else f"{iso_local(pay.ended_ms)}; "
            return f"{when}the receipt is kept" if pay.receipt is not None else when.rstrip("; ")
        case _:
            return ""


def parts_words(parts: int) -> str:
    """`1 part`, `3 parts`."""
    return "1 part" if parts == 1 else f"{parts} parts"


def is_retry_safe(pay: PayReport) -> bool:
    """Whether the same invoice may be paid again without paying twice."""
    return pay.stage is PayStage.FAILED and pay.is_safe_to_retry


def safety_sentence(pay: PayReport) -> str:
    """`Safe to pay again: yes, because …`: the one thing a worried payer wants to know."""
    return f"Safe to pay again: {_safety(pay)}."


def _safety(pay: PayReport) -> str:
    if pay.stage is PayStage.PAID:
        return "no, because it is paid"
    if pay.stage is PayStage.COMMITTED:
        return "no, because the commit exists: whoever has it lets the seller collect"
    if pay.stage is not PayStage.FAILED:
        if pay.stage is PayStage.FEE_TO_CONFIRM:
            return "no, because it is under way and waits for your agreement to the fee"
        return "no, because it is under way and goes on by itself"
    if not pay.is_safe_to_retry:
        return "no, because the seller may still be able to collect; ask the seller first"
    if pay.failure is PayFailure.EXPIRED:
        return "yes, nothing was paid, but this invoice has expired"
    if pay.commit is not None:
        return "yes, because the seller gave everything back"
    return "yes, because nothing was paid and no commit is out"


HELP: Final = {
    PayFailure.NO_ROUTE: "A higher limit from a friend, one more friend, or a smaller amount may"
    " help: 6 shows what you can pay.",
    PayFailure.SELLER_UNREACHABLE: "Ask the seller whether their card is online and friends can"
    " still reach them. Then r tries again.",
    PayFailure.FEE_ABOVE_LIMIT: "r tries again; f there sets a higher limit for the fee.",
    PayFailure.REFUSED: "Ask the seller whether the invoice is still open, then r tries again."
    " Somebody on the way may have used up a limit meanwhile.",
    PayFailure.STUCK: "r tries again and looks for another way; what was reserved comes back by"
    " itself.",
    PayFailure.NO_INDEX: "7 shows your index servers: add one, or wait until one answers."
    " A friend can be paid without.",
    PayFailure.OWN_LIMIT: "Ask a friend for a higher limit, or wait until your friends are online:"
    " 5 shows them.",
    PayFailure.EXPIRED: "Ask the seller for a new invoice.",
    PayFailure.CANCELED: "You gave it up. r pays the invoice after all.",
    PayFailure.UNKNOWN: "Show the seller the commit (y) and ask whether it was collected. Do not"
    " pay again before you know.",
}
"""What would help after each failure."""


def help_sentence(pay: PayReport) -> str:
    """What to do about a failed payment; "" if it has not failed."""
    if pay.stage is not PayStage.FAILED or pay.failure is None:
        return ""
    return HELP[pay.failure]
