"""Words and numbers about friends, without a screen."""

from dataclasses import replace

from offset_engine.client import CREDITS_MAX, Currency, HistoryEntry, LossRecord, Rate
from offset_engine.notebook import Notebook
from offset_tui import people, state
from tests.tui import people_scenes as scenes
from tests.tui.scenes import HOURS, OUSD, friend, key, line


def one_line(balance: int = 0, granted: int | None = 150_00, limit: int = 200_00) -> state.Line:
    return state.Line(key("Bob"), "Bob", OUSD, balance, limit, granted, 0, 0, True, False)


def test_what_needs_the_owner_comes_before_online_and_offline() -> None:
    ranked = sorted(scenes.states(), key=lambda one: people.standing(one).rank)
    assert [people.standing(one).words for one in ranked] == [
        "inconsistent",
        "unreadable",
        "quarantined",
        "online",
        "online",
        "offline",
        "disabled",
    ]


def test_a_fee_is_shown_on_a_hundred() -> None:
    rate = Rate(21_474_837, 1)
    assert people.fee_preview(rate, OUSD, 2) == "fee on 100.00 OUSD = 0.51 (0.51 %)"
    assert people.fee_preview(Rate(0, 3), OUSD, 0) == "fee on 100 OUSD = 3 (3.00 %)"
    assert people.fee_preview(Rate(), OUSD, 255) == "fee on 100 OUSD = 0 (0 %)"
    assert "fee on" in people.fee_preview(rate, OUSD, 38)


def test_a_limit_below_the_balance_is_said() -> None:
    assert "below what Bob owes you now (12.00)" in people.limit_notes(one_line(12_00), 10_00, 2)
    assert "below" not in people.limit_notes(one_line(12_00), 12_00, 2)
    assert "owe you nothing more" in people.limit_notes(one_line(), 0, 2)


def test_the_share_used_is_of_the_limit_that_counts() -> None:
    assert people.used_share(one_line(100_00)) == "50 %"
    assert people.used_share(one_line(-75_00)) == "50 %"
    assert people.used_share(one_line(-1, granted=None)) == "?"
    assert people.used_share(one_line(5, limit=0)) == "over"
    assert people.used_share(one_line(0, limit=0)) == "0 %"


def test_what_is_typed_to_confirm_can_be_typed() -> None:
    assert people.confirm_word(friend("Bob")) == "Bob"
    for name in (*scenes.HOSTILE, "x" * 25, " "):
        if name not in (scenes.MARKUP_NAME,):
            assert people.confirm_word(friend(name)).isascii()
            assert len(people.confirm_word(friend(name))) == 9


def test_parting_counts_what_is_owed_and_pending() -> None:
    bob = friend("Bob", line(balance=5_00, out=1_00), line(HOURS, -2_00))
    lines = state.lines_of(bob, "Bob", Notebook())
    parting = people.parting(bob, lines, lambda _: 2)
    assert parting.needs_force
    assert parting.lost == (
        "Bob owes you 5.00 OUSD: nobody will pay you that any more",
        "1.00 OUSD leaving now is cut off",
        "you owe Bob 2.00 HOURS: that promise is dropped",
    )
    settled = friend("Bob", line(balance=0))
    assert not people.parting(settled, (), lambda _: 2).needs_force
    assert people.parting(replace(settled, is_consistent=False), (), lambda _: 2).needs_force


def test_differences_are_in_our_sign_and_a_missing_currency_counts_as_settled() -> None:
    dora = scenes.inconsistent("Dora")
    assert dora.remote_terms is not None
    theirs = replace(dora.remote_terms, balances=((OUSD, 10_00),))
    found = people.differences(dora.local_terms, theirs)
    assert [(one.currency, one.change) for one in found] == [(HOURS, -4_00), (OUSD, -2_00)]
    assert people.change_sentences(found, lambda _: 2) == (
        "you lose 4.00 HOURS",
        "you lose 2.00 OUSD",
    )
    assert people.change_sentences((), lambda _: 2) == ("you lose nothing",)


def test_past_balances_end_with_the_one_now() -> None:
    net = state.nets((one_line(10_00),))[0]
    assert people.past_balances(net, [(1, 5_00), (2, -1_00)]) == (6_00, 11_00, 10_00)
    assert people.spark((6_00, 11_00, 10_00)) == "▁█▆"
    assert people.spark((1, 1), is_ascii=True) == "__"
    lost = HistoryEntry(1, LossRecord(key("Bob"), Currency("OUSD"), 3_00, 9))
    assert people.moves([lost], OUSD) == [(9, -3_00)]
    assert people.moves([lost], HOURS) == []


def test_the_largest_amounts_pass_through_everything() -> None:
    huge = one_line(CREDITS_MAX, CREDITS_MAX, CREDITS_MAX)
    assert people.used_share(huge) == "100 %"
    assert str(CREDITS_MAX)[:3] in people.balances_csv([huge], lambda _: 0)
    net = state.nets((huge, replace(huge, balance=-CREDITS_MAX)))[0]
    assert people.spark(people.past_balances(net, [(1, CREDITS_MAX), (2, -CREDITS_MAX)]))
