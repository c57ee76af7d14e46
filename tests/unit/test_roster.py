"""Everybody on a card from picture to picture: always what a fresh look says, and the same objects where it can be."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from offset_engine.core.reports import FriendReport, NodeReport
from offset_engine.files import Terms
from offset_engine.notebook import Notebook
from offset_tui import roster, state
from offset_tui.roster import Person, Roster
from tests.tui.scenes import HOURS, OUSD, TOLD, friend, key, line, report, village_report

_NAMES = ("Bob", "B\u043eb", "Anna", "Zoe")


@st.composite
def friends(draw: st.DrawFn) -> tuple[FriendReport, ...]:
    """Some friends, names that look alike among them."""
    found = []
    for at in range(draw(st.integers(0, 4))):
        currencies = [
            line(currency, draw(st.none() | st.integers(-5_00, 5_00)), out=draw(st.integers(0, 9)))
            for currency in draw(st.sampled_from([(), (OUSD,), (HOURS, OUSD)]))
        ]
        made = friend(str(at), *currencies, is_online=draw(st.booleans()))
        found.append(replace(made, name=draw(st.sampled_from(_NAMES))))
    return tuple(found)


@st.composite
def books(draw: st.DrawFn) -> Notebook:
    """What some of them said they grant."""
    book = Notebook()
    for name in draw(st.sets(st.sampled_from("0123"))):
        book = book.with_told(key(name), (Terms(OUSD, 2, draw(st.integers(0, 9_00))),))
    return book


@given(st.lists(st.tuples(friends(), books()), min_size=1, max_size=4))
def test_it_says_what_a_fresh_look_says(
    pictures: list[tuple[tuple[FriendReport, ...], Notebook]],
) -> None:
    found: Roster | None = None
    for shown, book in pictures:
        node = report(*shown)
        found = Roster(node, book, found)
        assert found.lines == state.all_lines(node, book)
        assert found.nets() == state.nets(found.lines)
        assert found.nets((OUSD,)) == state.nets(found.lines, (OUSD,))
        assert dict(found.names) == dict(state.friend_names(node))
        assert [one.report for one in found.people] == list(node.friends)
        for currency in (OUSD, HOURS):
            held = tuple(one for one in found.lines if one.currency == currency)
            assert found.held(currency) == held


def _with(node: NodeReport, name: str, changed: FriendReport) -> NodeReport:
    friends = [changed if one.public_key == key(name) else one for one in node.friends]
    return replace(node, friends=tuple(friends))


def _kept(before: Roster, after: Roster) -> set[str]:
    known: dict[str, Person] = {one.name: one for one in before.people}
    return {one.name for one in after.people if known.get(one.name) is one}


def test_who_did_not_change_is_the_same_object() -> None:
    node = village_report()
    before = Roster(node, TOLD)
    bob = node.friends[0]
    after = Roster(_with(node, "Bob", replace(bob, is_online=False)), TOLD, before)
    assert _kept(before, after) == {"Charli", "Daniel", "Grace"}
    assert all(mine is theirs for mine, theirs in zip(before.lines, after.lines, strict=True))
    # The same told anew, as by a card that runs elsewhere.
    anew = replace(node, friends=tuple(replace(one) for one in node.friends))
    assert len(_kept(before, Roster(anew, replace(TOLD), before))) == 4


def test_a_new_promise_changes_only_who_made_it() -> None:
    before = Roster(village_report(), TOLD)
    after = Roster(before.report, TOLD.with_told(key("Daniel"), (Terms(OUSD, 2, 7_00),)), before)
    assert _kept(before, after) == {"Bob", "Charli", "Grace"}
    assert after.by_key[key("Daniel")].lines[0].granted == 7_00


def test_a_name_that_looks_like_another_changes_both() -> None:
    before = Roster(report(friend("Bob"), friend("Anna")), Notebook())
    other = replace(friend("Eve"), name="B\u043eb")
    after = Roster(report(friend("Bob"), friend("Anna"), other), Notebook(), before)
    assert _kept(before, after) == {"Anna"}
    assert len({one.name for one in after.people}) == 3


def test_the_widest_lines_are_among_few_of_many() -> None:
    lines = Roster(
        report(*(friend(f"F{at}", line(balance=at - 500)) for at in range(1_000))), Notebook()
    ).lines
    found = roster.widest(lines)
    assert len(found) <= 8
    assert {-500, 499} <= {one.balance for one in found}
    assert roster.widest(()) == ()
