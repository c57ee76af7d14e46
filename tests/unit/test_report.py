"""What a node shows of itself."""

import pytest

from offset_engine.core.api import (
    AddRelay,
    CommitInvoice,
    DisputeFriend,
    Pay,
    RegisterCommit,
    SetFriendCurrencyRate,
)
from offset_engine.core.crypto import public_key_of
from offset_engine.core.events import UnreadableArrived
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.report import (
    friend_report,
    invoice_report,
    pay_report,
    pending,
    report,
)
from offset_engine.core.reports import Connections, PartReport, ServerReport, ServerState
from offset_engine.core.signing import terms_hash
from offset_engine.core.token_channel import Inconsistent, is_evidence_valid
from offset_engine.core.values import Currency, NamedAddress, PrivateKey, Rate
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    answer_routes,
    befriend,
    chain,
    new_invoice,
    part,
    pay_and_collect,
    wish,
    with_index,
)

USD = Currency("USD")


@covers("PAY-20")
def test_a_friend_is_shown_with_limits_balances_and_frozen_credits() -> None:
    wires, (a, b) = chain("a", "b", limits=(30, 100))
    pay_and_collect(wires, a, b, new_invoice(b, 8), 1)
    assert a.do(SetFriendCurrencyRate(b.key, USD, Rate(1, 2))) is None
    assert a.do(Pay(wish(2), new_invoice(b, 5, 2), 0)) is None
    wires.run()
    shown = friend_report(a.friend(b), a.key)
    assert (shown.name, shown.is_enabled, shown.is_online, shown.is_consistent) == (
        "b",
        True,
        True,
        True,
    )
    fst, usd = shown.currencies
    assert (fst.currency, fst.max_debt, fst.is_open, fst.balance) == (FST, 30, True, -8)
    assert (fst.local_pending_debt, fst.remote_pending_debt) == (5, 0)
    assert (usd.rate, usd.balance, usd.is_open) == (Rate(1, 2), None, False)
    assert shown.remote_currencies == (FST,)
    assert shown.pending == 1
    assert shown.token_info is not None
    assert shown.has_token is not friend_report(b.friend(a), b.key).has_token
    assert shown.last_incoming is not None
    assert is_evidence_valid(shown.last_incoming, a.env.verify)
    assert (shown.local_terms, shown.remote_terms) == (None, None)
    assert not shown.is_unreadable
    assert shown.lost == ()


def test_an_active_currency_without_settings_is_shown_all_the_same() -> None:
    _, (a, b) = chain("a", "b")
    friend = a.friend(b).fork()
    friend.configs.clear()
    (only,) = friend_report(friend, a.key).currencies
    assert (only.currency, only.max_debt, only.balance) == (FST, 0, 0)


def test_a_friend_that_never_signed_has_no_last_token() -> None:
    a, b = Card("a", 1), Card("b", 2)
    befriend(a, b)
    for one, other in ((a, b), (b, a)):
        shown = friend_report(one.friend(other), one.key)
        assert shown.last_incoming is None
        assert shown.is_consistent
    assert a.do(DisputeFriend(b.key)) is None
    assert friend_report(a.friend(b), a.key).last_incoming is None


@covers("PT36", "PT37")
def test_terms_are_shown_from_our_view_with_the_hash_that_accepts_them() -> None:
    wires, (a, b) = chain("a", "b")
    pay_and_collect(wires, a, b, new_invoice(b, 8), 1)
    wires.cut(a, b)
    assert a.do(DisputeFriend(b.key)) is None
    alone = friend_report(a.friend(b), a.key)
    assert alone.local_terms is not None
    assert alone.local_terms.balances == ((FST, -8),)
    assert alone.remote_terms is None
    assert not alone.is_consistent
    assert (alone.token_info, alone.has_token, alone.pending) == (None, False, 0)
    assert alone.last_incoming is not None
    assert [one.balance for one in alone.currencies] == [None]

    wires.connect(a, b)
    wires.run()
    both = friend_report(a.friend(b), a.key)
    theirs = friend_report(b.friend(a), b.key)
    assert both.remote_terms is not None
    assert theirs.local_terms is not None
    assert both.remote_terms.balances == ((FST, -8),)
    assert theirs.local_terms.balances == ((FST, 8),)
    assert both.remote_terms.terms_hash == theirs.local_terms.terms_hash
    assert both.remote_terms.is_acceptable
    channel = a.friend(b).channel
    assert isinstance(channel, Inconsistent)
    assert channel.remote_terms is not None
    assert both.remote_terms.terms_hash == terms_hash(b.key, a.key, channel.remote_terms)


def test_a_friend_we_cannot_read_is_marked() -> None:
    _, (a, b) = chain("a", "b")
    link = a.friend(b).link_id
    assert link is not None
    a.feed(UnreadableArrived(b.key, link))
    assert friend_report(a.friend(b), a.key).is_unreadable


@covers("FIX-38")
def test_the_whole_node_lists_friends_by_name() -> None:
    a = Card("a", 1)
    for name, number in (("zoe", 2), ("ann", 3), ("ann", 4)):
        befriend(a, Card(name, number))
    relay = NamedAddress(public_key_of(PrivateKey(bytes([9]) * 32)), "10.0.0.1:1", "mine")
    assert a.do(AddRelay(relay)) is None
    with_index(a)
    new_invoice(a, 5)
    shown = report(a.state)
    assert [friend.name for friend in shown.friends] == ["ann", "ann", "zoe"]
    assert shown.friends[0].public_key < shown.friends[1].public_key
    assert (shown.local_public_key, shown.relays) == (a.key, (relay,))
    assert len(shown.index_servers) == 1
    assert (shown.open_invoices, shown.open_payments) == (1, 0)


def test_the_connected_index_server_and_the_relays_that_listen_are_told_apart() -> None:
    a = Card("a", 1)
    keys = [public_key_of(PrivateKey(bytes([n]) * 32)) for n in (1, 2)]
    idle, waiting, up = ServerState.IDLE, ServerState.WAITING, ServerState.CONNECTED
    assert report(a.state).connected_index is None
    shown = report(
        a.state,
        Connections(
            (ServerReport(keys[0], up, ""), ServerReport(keys[1], waiting, "no answer")),
            (ServerReport(keys[0], idle, ""), ServerReport(keys[1], up, "")),
        ),
    )
    assert shown.listening_relays == (keys[0],)
    assert shown.connected_index == keys[1]


def test_open_payments_are_those_that_have_not_ended() -> None:
    wires, (a, b) = chain("a", "b")
    pay_and_collect(wires, a, b, new_invoice(b, 8), 1)
    assert report(a.state).open_payments == 0
    assert a.do(Pay(wish(2), new_invoice(b, 8, 2), 0)) is None
    assert report(a.state).open_payments == 1


@covers("RMP-23")
def test_pending_transactions_are_listed_friend_by_friend() -> None:
    wires, (a, m, b) = chain("a", "m", "b")
    with_index(a)
    assert a.do(Pay(wish(1), new_invoice(b, 5), 0)) is None
    answer_routes(a, (part(a, m, b, amount=5),))
    wires.run()
    assert a.do(Pay(wish(2), new_invoice(m, 3), 0)) is None
    wires.run()
    rows = list(pending(m.state))
    assert [row.friend for row in rows] == sorted(row.friend for row in rows)
    assert sorted((row.amount, row.is_outgoing, row.is_answered) for row in rows) == [
        (3, False, True),
        (5, False, True),
        (5, True, True),
    ]
    assert {row.currency for row in rows} == {FST}
    assert all(row.since_ms == m.env.wall_ms for row in rows)
    assert m.do(DisputeFriend(b.key)) is None
    assert all(row.friend == a.key for row in pending(m.state))


@pytest.mark.parametrize("is_confirmed", [False, True])
def test_a_payment_shows_its_fee_planned_or_sent(is_confirmed: bool) -> None:
    _, (a, m, b) = chain("a", "m", "b", charges={"m": Rate(0, 2)})
    with_index(a)
    above = None if is_confirmed else 0
    assert a.do(Pay(wish(1), new_invoice(b, 5), 9, above)) is None
    answer_routes(a, (part(a, m, b, amount=5, fee=2),))
    shown = pay_report(a.intent(wish(1)))
    assert shown.stage is (PayStage.SENDING if is_confirmed else PayStage.FEE_TO_CONFIRM)
    assert (shown.fee, shown.max_fee, shown.parts) == (2, 9, 1)
    assert shown.ways == (PartReport(m.key, 1, 5, 2),)
    assert not shown.is_safe_to_retry
    assert shown.created_ms == a.env.wall_ms
    assert shown.ended_ms is None


def test_only_a_failed_payment_may_be_tried_again() -> None:
    wires, (a, b) = chain("a", "b", limits=(0, 0))
    assert a.do(Pay(wish(1), new_invoice(b, 5), 0)) is None
    wires.run()
    shown = pay_report(a.intent(wish(1)))
    assert (shown.failure, shown.is_safe_to_retry) == (PayFailure.REFUSED, True)
    assert (shown.commit, shown.receipt) == (None, None)
    assert shown.ended_ms == a.env.wall_ms


@covers("PAY-07")
def test_an_invoice_shows_what_is_frozen_for_it_and_whether_it_is_complete() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 8)
    fresh = invoice_report(b.state.invoices[invoice.invoice_id])
    assert (fresh.frozen, fresh.is_sealed, fresh.registered) == (0, False, None)
    assert (fresh.created_ms, fresh.expires_ms) == (b.env.wall_ms, None)
    assert a.do(Pay(wish(1), invoice, 0)) is None
    wires.run()
    shown = invoice_report(b.state.invoices[invoice.invoice_id])
    assert (shown.frozen, shown.is_sealed) == (8, True)
    commit = a.intent(wish(1)).commit
    assert commit is not None
    assert b.do(RegisterCommit(commit)) is None
    assert invoice_report(b.state.invoices[invoice.invoice_id]).registered == commit
    assert b.do(CommitInvoice(commit)) is None
    assert report(b.state).open_invoices == 0
