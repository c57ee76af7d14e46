"""Payments in the practice village: between random pairs, some of them impossible on purpose, and the final check.

| kind | what is tried | must end as |
|---|---|---|
| normal | a small invoice between any two people | paid; or `no_route` or `refused`, if limits are used up |
| over_limit | more than all limits together | `no_route` |
| unknown_invoice | an invoice its seller never opened | `refused` |
| fee_above_limit | a route that costs a fee, with none allowed | `fee_above_limit` |
| offline_seller | a seller whose card is switched off | `seller_unreachable` |

Afterwards nothing may be frozen anywhere, balances must add up to zero in every currency, both sides of every
friendship must hold the same numbers, and every receipt must verify by itself.

Source: design §3 ("offset demo").
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from offset_engine.client import InvoiceTerms
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.route_terms import RouteQuery
from offset_engine.core.searching import ROUTE_KEYS_ASKED
from offset_engine.core.signing import Invoice
from offset_engine.core.values import (
    CREDITS_MAX,
    ROUTE_PARTS_MAX,
    Currency,
    InvoiceId,
    PaymentId,
    value,
)
from offset_engine.files import verify_receipt
from offset_engine.village import Village

NORMAL_MIN: Final = 10
NORMAL_MAX: Final = 2_50
_SPECIAL_SHARE: Final = 6
"""One payment in so many is impossible on purpose."""


class Kind(StrEnum):
    """What is tried; see the module."""

    NORMAL = "normal"
    OVER_LIMIT = "over_limit"
    UNKNOWN_INVOICE = "unknown_invoice"
    FEE_ABOVE_LIMIT = "fee_above_limit"
    OFFLINE_SELLER = "offline_seller"


EXPECTED: Final = {
    Kind.NORMAL: (None, PayFailure.NO_ROUTE, PayFailure.REFUSED),
    Kind.OVER_LIMIT: (PayFailure.NO_ROUTE,),
    Kind.UNKNOWN_INVOICE: (PayFailure.REFUSED,),
    Kind.FEE_ABOVE_LIMIT: (PayFailure.FEE_ABOVE_LIMIT,),
    Kind.OFFLINE_SELLER: (PayFailure.SELLER_UNREACHABLE,),
}
"""How each kind may end; None = paid."""


@value
class Attempt:
    """One payment that was tried."""

    kind: Kind
    buyer: str
    seller: str
    currency: Currency
    amount: int
    fee: int
    failure: PayFailure | None
    """None = paid."""
    latency_us: int
    """From the wish to pay until the receipt, or until it had failed."""
    has_receipt: bool

    @property
    def is_expected(self) -> bool:
        """Whether it ended as it must."""
        return self.failure in EXPECTED[self.kind] and self.has_receipt == (self.failure is None)


@dataclass(slots=True)
class Outcome:
    """What came of all of them."""

    attempts: list[Attempt] = field(default_factory=list)
    elapsed_us: int = 0
    """Time spent in payments, the switching of cards not counted."""
    frozen: int = 0
    is_mirrored: bool = False
    balances: dict[Currency, dict[str, int]] = field(default_factory=dict)

    @property
    def paid(self) -> int:
        """How many were paid."""
        return sum(1 for one in self.attempts if one.failure is None)

    @property
    def failed(self) -> dict[str, int]:
        """Reason → how many."""
        found: dict[str, int] = {}
        for one in self.attempts:
            if one.failure is not None:
                found[one.failure.value] = found.get(one.failure.value, 0) + 1
        return dict(sorted(found.items()))

    @property
    def unexpected(self) -> list[Attempt]:
        """Those that did not end as they must."""
        return [one for one in self.attempts if not one.is_expected]

    @property
    def is_conserved(self) -> bool:
        """Credit neither appeared nor vanished, and both sides of every friendship agree."""
        sums = [sum(held.values()) for held in self.balances.values()]
        return self.is_mirrored and not any(sums)

    @property
    def is_good(self) -> bool:
        """Every check holds."""
        return self.is_conserved and self.frozen == 0 and not self.unexpected

    def latency_ms(self, percent: int) -> float:
        """A percentile over the paid ones, in ms; 0 if none was paid."""
        paid = sorted(one.latency_us for one in self.attempts if one.failure is None)
        if not paid:
            return 0.0
        return round(paid[min(len(paid) - 1, len(paid) * percent // 100)] / 1000, 3)

    @property
    def payments_per_second(self) -> float:
        """Paid ones, one after another."""
        return round(self.paid * 1e6 / self.elapsed_us, 1) if self.elapsed_us else 0.0


def plan(payments: int, seed: int) -> list[Kind]:
    """Which kinds to try, in order; from five on every impossible kind is among them."""
    draw = random.Random(f"plan {seed}")  # noqa: S311 - a workload, not a secret
    special = [kind for kind in Kind if kind is not Kind.NORMAL]
    count = min(payments, max(len(special), payments // _SPECIAL_SHARE)) if payments >= 5 else 0
    kinds: list[Kind] = [special[number % len(special)] for number in range(count)]
    kinds += [Kind.NORMAL] * (payments - count)
    draw.shuffle(kinds)
    return kinds


async def practise(village: Village, payments: int, seed: int) -> Outcome:
    """Try `payments` payments one after another and check what is left."""
    draw = random.Random(f"people {seed}")  # noqa: S311 - a workload, not a secret
    outcome = Outcome()
    kinds = plan(payments, seed)
    for kind in kinds:
        if kind is not Kind.OFFLINE_SELLER:
            await _try(village, draw, kind, outcome)
    offline = kinds.count(Kind.OFFLINE_SELLER)
    if offline:
        seller = draw.choice(sorted(village.people))
        await village.switch_off(seller)
        await village.wait_until_unreachable(seller)
        for _ in range(offline):
            await _try(village, draw, Kind.OFFLINE_SELLER, outcome, seller)
        await village.switch_on(seller)
        await village.wait_until_ready()
    outcome.frozen = await village.settle()
    outcome.is_mirrored = village.is_mirrored()
    outcome.balances = village.balances()
    return outcome


async def _try(
    village: Village, draw: random.Random, kind: Kind, outcome: Outcome, seller: str | None = None
) -> None:
    if kind is not Kind.NORMAL:
        # What is impossible on purpose must be so for one reason only.
        await village.settle()
        await village.wait_until_reported()
    wish = _wish(village, draw, kind, seller)
    if wish is None:
        kind = Kind.NORMAL
        wish = _wish(village, draw, kind, seller)
    if wish is None:
        return
    buyer, seller, invoice, max_fee = wish
    if kind in (Kind.NORMAL, Kind.OVER_LIMIT, Kind.FEE_ABOVE_LIMIT):
        terms = InvoiceTerms(invoice.currency, invoice.total_dest_payment, "practice")
        invoice = await village.people[seller].client.create_invoice(terms)
    started = time.perf_counter_ns()
    payment_id = await village.people[buyer].client.pay(invoice, max_fee)
    await _follow(village, (buyer, seller), payment_id)
    took_us = (time.perf_counter_ns() - started) // 1000
    report = await village.people[buyer].client.pay_report(payment_id)
    failure = PayFailure.STUCK if report is None else report.failure
    receipt = None if report is None else report.receipt
    outcome.elapsed_us += took_us
    outcome.attempts.append(
        Attempt(
            kind,
            buyer,
            seller,
            invoice.currency,
            invoice.total_dest_payment,
            0 if report is None or failure is not None else report.fee,
            failure,
            took_us,
            receipt is not None and verify_receipt(invoice, receipt).failed is None,
        )
    )


async def _follow(village: Village, ends: tuple[str, str], payment_id: PaymentId) -> None:
    """Hand the commit to the seller as soon as it exists, and wait for the end."""
    buyer, seller = (village.people[name] for name in ends)
    report = await buyer.client.wait_pay(payment_id, PayStage.COMMITTED)
    if report.commit is not None and report.stage is PayStage.COMMITTED:
        await seller.client.accept_commit(report.commit)
        await buyer.client.wait_pay(payment_id)


def _wish(
    village: Village, draw: random.Random, kind: Kind, seller: str | None
) -> tuple[str, str, Invoice, int] | None:
    """(buyer, seller, invoice, highest fee); None if the village has nobody for this kind."""
    pairs = list(_pairs(village, seller))
    draw.shuffle(pairs)
    for buyer, other, currency in pairs:
        amount, max_fee = draw.randint(NORMAL_MIN, NORMAL_MAX), NORMAL_MAX
        if kind is Kind.OVER_LIMIT:
            amount = sum(one.one_grants + one.other_grants for one in village.friendships)
        fee = _cheapest_fee(village, (buyer, other), currency, amount)
        if kind is Kind.UNKNOWN_INVOICE and fee is None:
            continue
        if kind is Kind.FEE_ABOVE_LIMIT:
            if not fee or village.people[other].key in village.people[buyer].running.state.friends:
                # A friend is paid over the direct link, without a fee.
                continue
            max_fee = fee - 1
        invoice = Invoice(
            InvoiceId(draw.randbytes(32)), currency, village.people[other].key, amount
        )
        return buyer, other, invoice, max_fee
    return None


def _pairs(village: Village, seller: str | None) -> Iterator[tuple[str, str, Currency]]:
    for currency in village.currencies():
        for buyer in sorted(village.people):
            for other in sorted(village.reach(buyer, currency) - {buyer}):
                if seller is None or other == seller:
                    yield buyer, other, currency


def _cheapest_fee(
    village: Village, ends: tuple[str, str], currency: Currency, amount: int
) -> int | None:
    """What the cheapest routes cost now, in credits; None if nothing carries the amount."""
    buyer, seller = (village.people[name] for name in ends)
    if village.index is None:
        return None
    query = RouteQuery(
        currency, buyer.key, seller.key, amount, CREDITS_MAX, ROUTE_PARTS_MAX, ROUTE_KEYS_ASKED
    )
    found = village.index.graph.route(query)
    if found.reachable < amount:
        return None
    return sum(part.fee for part in found.parts)
