"""What the index server says about a payment before it is begun: the ways with their fees, and the most there is.

Nothing is sent and nothing is reserved by asking. Who can be paid straight is not asked about: nobody else needs to
know of it. Source: tui.md §8; PROTOCOL.md, "Paying" (questions of programs); design R11.
"""

import os
from dataclasses import dataclass

from offset_engine.client import (
    Client,
    Invoice,
    RequestRoutes,
    RoutesResult,
    RoutesWish,
    Uid,
)
from offset_tui import route_words
from offset_tui.route_words import Asked


@dataclass(frozen=True, slots=True)
class Answers:
    """What was found out about one invoice."""

    ways: RoutesResult
    """How its amount gets to the seller."""
    most: RoutesResult
    """The most that does."""


def is_straight(wanted: Asked, invoice: Invoice) -> bool:
    """Whether the seller is a friend who is there and lets us owe that much."""
    return any(
        one.friend == invoice.dest_public_key
        and one.friend in wanted.online
        and (one.can_pay or 0) >= wanted.amount
        for one in wanted.lines
    )


async def ask(client: Client, invoice: Invoice) -> Answers:
    """Ask both questions.

    Raises:
        OffsetError: the node refuses them or does not answer.
    """
    amount = invoice.total_dest_payment
    found = [
        await client.ask_routes(
            RequestRoutes(
                Uid(os.urandom(Uid.SIZE)),
                invoice.currency,
                bound,
                invoice.dest_public_key,
                (),
                wish,
            )
        )
        for wish, bound in ((RoutesWish.PAY, amount), (RoutesWish.MAX, 0))
    ]
    return Answers(*found)


def advice(answers: Answers, wanted: Asked, max_fee: int) -> str:
    """What stands in the way and what would help; "" if nothing is known to."""
    if answers.ways.outcome in route_words.SILENT:
        return ""
    said = route_words.answer_words(answers.ways, wanted, answers.most.reachable)
    cheapest = route_words.cheapest(answers.ways)
    if said or cheapest is None:
        return said
    fee = route_words.fee_of(cheapest)
    if fee <= max_fee:
        return ""
    return route_words.above_words(fee, max_fee, wanted.decimals, "f changes it")


def way_lines(answers: Answers, wanted: Asked) -> str:
    """Every alternative for the whole amount with its fee, a line each; "" if nothing is known about any."""
    if answers.ways.outcome in route_words.SILENT:
        return ""
    if route_words.answer_words(answers.ways, wanted):
        return "none for this amount now"
    lines = route_words.choice_words(answers.ways, wanted.currency, wanted.decimals)
    return "\n".join(lines)


def most_line(answers: Answers, wanted: Asked) -> str:
    """The exact maximum now, or why it is not known."""
    return route_words.most_words(answers.most, wanted.currency, wanted.decimals)
