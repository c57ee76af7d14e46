"""Every node of a payment dies at every one of its durable writes, in three ways; all ends as if nothing had happened.

PT26: the balances are those of the undisturbed run, and every invariant of `tests.sim` holds after every save.
"""

from collections.abc import Callable

import pytest

from offset_engine.core.api import DisputeFriend
from offset_engine.core.values import Rate
from tests.covers import covers
from tests.fakes import (
    Wires,
    assert_settled,
    befriend,
    give_token,
    new_invoice,
    part,
    wish,
    with_index,
)
from tests.property.mortal import AllHonest, MortalCard, Point, Story, cut_at
from tests.sim.history import History

CHARGE = Rate(0, 2)


def friends(
    names: str, pairs: tuple[str, ...]
) -> tuple[dict[str, MortalCard], list[tuple[MortalCard, MortalCard]], Wires, History]:
    """Mortal friends, a pair for every two letters; the first has an index server."""
    history = History(AllHonest())
    cards = {name: MortalCard(name, n, history) for n, name in enumerate(names, 1)}
    wires = Wires(*cards.values())
    for card in cards.values():
        card.wires = wires
    friendships = [(cards[pair[0]], cards[pair[1]]) for pair in pairs]
    for one, other in friendships:
        befriend(one, other, rates=(CHARGE, CHARGE))
        wires.connect(one, other)
    wires.run()
    with_index(cards[names[0]])
    return cards, friendships, wires, history


def line() -> Story:
    """C3: a–m–b, fee 2."""
    cards, friendships, wires, history = friends("amb", ("am", "mb"))
    a, m, b = cards.values()
    invoice = new_invoice(b, 20)
    routes = (part(a, m, b, amount=20, fee=2),)
    return Story([a, m, b], friendships, wires, history, invoice, routes)


def two_ways() -> Story:
    """X: a–m–b and a–n–b, one part over each."""
    cards, friendships, wires, history = friends("amnb", ("am", "an", "mb", "nb"))
    a, m, n, b = cards.values()
    invoice = new_invoice(b, 20)
    routes = (part(a, m, b, amount=12, fee=2), part(a, n, b, amount=8, fee=2))
    return Story([a, m, n, b], friendships, wires, history, invoice, routes)


def line_with_reset() -> Story:
    """C3, but a and m disagree first and m accepts the terms of a."""
    story = line()
    circle = story.history.circle
    assert isinstance(circle, AllHonest)
    circle.is_broken = True
    a, m, _ = story.cards
    assert a.do(DisputeFriend(m.key)) is None
    story.accepters["m", "a"] = None
    return story


def line_asking_for_tokens() -> Story:
    """C3, where everybody lacks the token just when a request is to be sent, so that it waits first."""
    story = line()
    for one, other in story.friendships:
        give_token(story.wires, one, other)
    return story


def two_ways_asking_for_tokens() -> Story:
    """X, likewise."""
    story = two_ways()
    for one, other in story.friendships:
        give_token(story.wires, one, other)
    return story


STORIES = (line, line_asking_for_tokens, two_ways, two_ways_asking_for_tokens, line_with_reset)


def undisturbed(make: Callable[[], Story]) -> tuple[Story, dict[str, int], int]:
    """The story without trouble, how often each card saved in it, and how many messages it took."""
    story = make()
    before = {card.name: card.saves for card in story.cards}
    logged = len(story.wires.log)
    story.live()
    assert story.wish_number == 1
    saves = {card.name: card.saves - before[card.name] for card in story.cards}
    return story, saves, len(story.wires.log) - logged


def finish(story: Story, expected: tuple[int, ...], what: object) -> None:
    """Live on to the end and compare."""
    story.live()
    assert story.balances == expected, what
    assert_settled(*story.cards)
    for card in story.cards:
        story.history.i24_paid_once(card.state)
    receipt = story.buyer.intent(wish(story.wish_number)).receipt
    assert receipt is not None
    assert receipt.is_complete, what


@covers("PT26")
@pytest.mark.parametrize("make", STORIES)
@pytest.mark.parametrize("point", Point)
def test_dying_at_any_save_changes_nothing_in_the_end(
    make: Callable[[], Story], point: Point
) -> None:
    plain, saves, _ = undisturbed(make)
    for place, name in enumerate(saves):
        for number in range(1, saves[name] + 1):
            story = make()
            card = story.cards[place]
            card.dies_at = (card.saves + number, point)
            finish(story, plain.balances, (name, number, point))
            assert card.dies_at is None, "it never died"
            if card in (story.buyer, story.seller):
                assert story.wish_number == 1, "only what waits at a mediator is given back"


@covers("PT26")
def test_dying_twice_or_while_the_link_is_lost_changes_nothing_either() -> None:
    plain, saves, messages = undisturbed(line)
    for number in range(1, messages + 1, 2):
        for place, name in enumerate(saves):
            story = line()
            cut_at(story, number, delivers=bool(number % 3))
            card = story.cards[place]
            card.dies_at = (card.saves + 1 + number % saves[name], Point.AFTER_SAVE)
            finish(story, plain.balances, (number, name))
