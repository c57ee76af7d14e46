"""Everybody on a cycle dies at every save, and every message is lost once: credit moves round once, or not at all."""

import pytest

from offset_engine.core.signing import Invoice
from offset_engine.core.values import InvoiceId
from tests.covers import covers
from tests.fakes import FST, part
from tests.property.mortal import Point, Round, cut_at, vanish_at
from tests.property.test_crash_matrix import finish, friends, undisturbed


def ring() -> Round:
    """a–m–n–a, fee 4."""
    cards, friendships, wires, history = friends("amn", ("am", "mn", "na"))
    a, m, n = cards.values()
    wanted = Invoice(InvoiceId(bytes(32)), FST, a.key, 20)
    routes = (part(a, m, n, a, amount=20, fee=4),)
    return Round([a, m, n], friendships, wires, history, wanted, routes)


def two_rings() -> Round:
    """Twelve over a–m–n–a and eight over a–m–x–n–a, in one payment."""
    cards, friendships, wires, history = friends("amnx", ("am", "mn", "na", "mx", "xn"))
    a, m, n, x = cards.values()
    wanted = Invoice(InvoiceId(bytes(32)), FST, a.key, 20)
    routes = (part(a, m, n, a, amount=12, fee=4), part(a, m, x, n, a, amount=8, fee=6))
    return Round([a, m, n, x], friendships, wires, history, wanted, routes)


RINGS = (ring, two_rings)


@covers("PT26", "PT64")
@pytest.mark.parametrize("make", RINGS)
@pytest.mark.parametrize("point", Point)
def test_dying_at_any_save_moves_credit_round_once(make, point: Point) -> None:  # type: ignore[no-untyped-def]
    plain, saves, _ = undisturbed(make)
    for place, name in enumerate(saves):
        for number in range(1, saves[name] + 1):
            story = make()
            card = story.cards[place]
            card.dies_at = (card.saves + number, point)
            finish(story, plain.balances, (name, number, point))
            assert card.dies_at is None, "it never died"
            assert not story.buyer.state.invoices


@covers("PT27", "PT64")
@pytest.mark.parametrize("make", RINGS)
@pytest.mark.parametrize("is_long", [False, True])
def test_a_cut_at_any_message_moves_credit_round_once(make, *, is_long: bool) -> None:  # type: ignore[no-untyped-def]
    plain, _, messages = undisturbed(make)
    for number in range(1, messages + 1):
        story = make()
        if is_long:
            vanish_at(story, number)
        else:
            cut_at(story, number, delivers=bool(number % 2))
        finish(story, plain.balances, number)
        assert not story.buyer.state.invoices
