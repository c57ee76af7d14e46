"""A seller's invoices: groups, making room, commits, holding and collecting, expiry."""

from dataclasses import replace

import pytest

from offset_engine.core.api import (
    AddInvoice,
    CancelInvoice,
    CollectInvoice,
    CommandFault,
    CommitInvoice,
    DisputeFriend,
    InvoiceChanged,
    RegisterCommit,
    RemoveFriend,
    TransactionOutcome,
)
from offset_engine.core.crypto import hash_lock, verify
from offset_engine.core.events import Woken
from offset_engine.core.invoice import ClosedInvoice, Group, OpenInvoice
from offset_engine.core.reports import InvoiceRecord
from offset_engine.core.signing import (
    Commit,
    Invoice,
    receipt_terms,
    response_buffer,
)
from offset_engine.core.state import GroupUnsealed, InvoiceExpiry
from offset_engine.core.values import (
    CREDITS_MAX,
    FINISHED_INVOICES_REMEMBERED,
    GROUP_REQUESTS_MAX,
    INVOICE_GROUPS_MAX,
    OPEN_INVOICES_MAX,
    Currency,
    InvoiceId,
    PlainLock,
    Signature,
)
from tests.covers import covers
from tests.fakes import (
    FST,
    Card,
    Wires,
    assert_settled,
    befriend,
    chain,
    diamond,
    new_invoice,
    open_payment,
    outcomes,
    reloaded,
    send_over,
    status,
    uid,
    wish,
)

USD = Currency("USD")
SUCCESS, COMPLETE, FAILURE = (
    TransactionOutcome.SUCCESS,
    TransactionOutcome.COMPLETE,
    TransactionOutcome.FAILURE,
)
HOUR = 3_600_000


def opened(seller: Card, invoice: Invoice) -> OpenInvoice:
    return seller.state.invoices[invoice.invoice_id]


def groups(seller: Card, invoice: Invoice) -> list[Group]:
    return list(opened(seller, invoice).groups.values())


def bring(
    wires: Wires, invoice: Invoice, number: int, amount: int, route: tuple[Card, ...]
) -> list[TransactionOutcome]:
    """Another buyer's part: a payment of its own, so a lock and a group of its own."""
    payment = open_payment(route[0], invoice, number)
    assert send_over(payment, number, route, amount) is None
    wires.run()
    return outcomes(route[0], number)


def committed(
    wires: Wires, seller: Card, buyer: Card, amount: int = 10, expires_ms: int | None = None
) -> tuple[Invoice, Commit]:
    """An invoice whose buyer holds the commit."""
    invoice = Invoice(InvoiceId(bytes([1]) * 32), FST, seller.key, amount)
    assert seller.do(AddInvoice(invoice, expires_ms)) is None
    assert bring(wires, invoice, 1, amount, (buyer, seller)) == [COMPLETE]
    commit = status(buyer, wish(1)).commit
    assert commit is not None
    return invoice, commit


# --- groups -------------------------------------------------------------------------------------


@covers("PAY-14")
def test_every_buyer_has_a_group_and_every_group_its_own_lock() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    for number, amount in ((1, 6), (2, 5), (3, 4)):
        assert bring(wires, invoice, number, amount, (a, b)) == [SUCCESS]
    assert sorted(group.sum for group in groups(b, invoice)) == [4, 5, 6]
    assert len({group.dest_plain_lock for group in groups(b, invoice)}) == 3
    assert send_over(wish(1), 9, (a, b), 4) is None
    wires.run()
    assert outcomes(a, 9) == [COMPLETE]
    assert [group.is_sealed for group in groups(b, invoice)].count(True) == 1


@covers("PAY-13")
def test_a_sealed_group_takes_no_more() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, commit = committed(wires, b, a)
    del a.state.payments[wish(1)].transactions[uid(1)]
    a.state.payments[wish(1)].stage = type(a.state.payments[wish(1)].stage).NEW
    assert send_over(wish(1), 2, (a, b), 1) is None
    wires.run()
    assert outcomes(a, 2) == [FAILURE]
    assert [group.sum for group in groups(b, invoice)] == [10]
    assert b.do(CommitInvoice(commit)) is None


def test_a_group_holds_only_so_many_requests() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 90)
    payment = open_payment(a, invoice, 1)
    for number in range(1, GROUP_REQUESTS_MAX + 2):
        assert send_over(payment, number, (a, b), 1) is None
    wires.run()
    assert [outcomes(a, n) for n in range(1, GROUP_REQUESTS_MAX + 1)] == (
        [[SUCCESS]] * GROUP_REQUESTS_MAX
    )
    assert outcomes(a, GROUP_REQUESTS_MAX + 1) == [FAILURE]


@covers("PAY-24", "FIX-02", "FIX-03")
def test_a_request_in_another_currency_is_cancelled() -> None:
    a, b = Card("a", 1), Card("b", 2)
    wires = Wires(a, b)
    befriend(a, b, currencies=(FST, USD))
    wires.connect(a, b)
    wires.run()
    invoice = new_invoice(b, 10, currency=USD)
    for number in (1, 3):
        assert bring(wires, replace(invoice, currency=FST), number, 10, (a, b)) == [FAILURE]
    assert bring(wires, invoice, 2, 10, (a, b)) == [COMPLETE]
    commit = status(a, wish(2)).commit
    assert commit is not None
    assert b.do(CommitInvoice(replace(commit, currency=FST))) is CommandFault.INVALID_COMMIT


def test_the_same_request_id_over_two_last_hops_counts_twice_and_is_collected_twice() -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, m, b), 5) is None
    wires.run()
    # Another node's request with the same id and lock, as a foul buyer would make.
    n.state.payments[payment] = a.state.payments[payment].fork()
    n.state.payments[payment].transactions = {}
    assert send_over(payment, 1, (n, b), 5) is None
    wires.run()
    (group,) = groups(b, invoice)
    assert (group.sum, len(group.members), group.is_sealed) == (10, 2, True)
    commit = n.state.payments[payment].commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert (b.balance(m), b.balance(n)) == (5, 5)


# --- making room (R24) --------------------------------------------------------------------------


def crowded(amounts: list[int]) -> tuple[Wires, Card, Card, Invoice]:
    """An invoice of 100 with one group per amount, each of another buyer."""
    wires, (a, b) = chain("a", "b", limits=(10_000, 10_000))
    invoice = new_invoice(b, 100)
    for number, amount in enumerate(amounts, 1):
        expected = COMPLETE if amount == 100 else SUCCESS
        assert bring(wires, invoice, number, amount, (a, b)) == [expected]
    return wires, a, b, invoice


@pytest.mark.parametrize(("amount", "is_taken"), [(4, True), (3, False), (2, False)])
def test_a_full_invoice_makes_room_for_a_bigger_part(amount: int, is_taken: bool) -> None:
    wires, a, b, invoice = crowded([9, 8, 3, 7, 6, 5, 9, 9])
    assert len(groups(b, invoice)) == INVOICE_GROUPS_MAX
    assert bring(wires, invoice, 20, amount, (a, b)) == [SUCCESS if is_taken else FAILURE]
    assert len(groups(b, invoice)) == INVOICE_GROUPS_MAX
    assert outcomes(a, 3) == ([SUCCESS, FAILURE] if is_taken else [SUCCESS])
    assert min(group.sum for group in groups(b, invoice)) == (amount if is_taken else 3)


def test_a_sealed_group_is_never_made_room_of() -> None:
    wires, a, b, invoice = crowded([100] * INVOICE_GROUPS_MAX)
    assert bring(wires, invoice, 20, 100, (a, b)) == [FAILURE]
    assert all(group.is_sealed for group in groups(b, invoice))


def test_a_squatter_cannot_keep_the_real_buyer_out() -> None:
    wires, a, b, invoice = crowded([1] * INVOICE_GROUPS_MAX)
    assert bring(wires, invoice, 20, 100, (a, b)) == [COMPLETE]
    commit = status(a, wish(20)).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert b.balance(a) == 100
    assert_settled(a, b)


# --- an incomplete group ------------------------------------------------------------------------


def test_an_incomplete_group_is_given_up_a_minute_after_its_last_request() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, b), 4) is None
    wires.run()
    b.pass_time(b.env.timers.group_unsealed_ms - 1)
    assert send_over(payment, 2, (a, b), 4) is None  # restarts the count
    wires.run()
    b.pass_time(b.env.timers.group_unsealed_ms - 1)
    wires.run()
    assert outcomes(a, 1) == [SUCCESS]
    b.pass_time(1)
    wires.run()
    assert (outcomes(a, 1), outcomes(a, 2)) == ([SUCCESS, FAILURE], [SUCCESS, FAILURE])
    assert not groups(b, invoice)
    assert_settled(a, b)


def test_a_complete_group_waits_for_its_commit() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, commit = committed(wires, b, a)
    b.pass_time(10 * b.env.timers.group_unsealed_ms)
    assert [group.is_sealed for group in groups(b, invoice)] == [True]
    assert b.do(CommitInvoice(commit)) is None
    assert len(b.state.agenda) == 0


def test_a_group_that_vanished_is_no_longer_waited_for() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    assert bring(wires, invoice, 1, 4, (a, b)) == [SUCCESS]
    assert len(b.state.agenda) == 1
    assert b.do(DisputeFriend(a.key)) is None
    assert not groups(b, invoice)
    assert len(b.state.agenda) == 0


def test_a_member_of_an_invoice_that_is_gone_vanishes_quietly() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    assert bring(wires, invoice, 1, 4, (a, b)) == [SUCCESS]
    wires.cut(a, b)
    b.state.invoices.pop(invoice.invoice_id)  # as if forgotten: the request still points to it
    assert b.do(RemoveFriend(a.key, force=True)) is None
    assert not b.state.friends


def test_deadlines_of_groups_are_set_again_after_a_restart() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    assert bring(wires, invoice, 1, 4, (a, b)) == [SUCCESS]
    assert bring(wires, invoice, 2, 10, (a, b)) == [COMPLETE]
    wires.restart(b, reloaded(b.state))
    assert len(b.state.agenda) == 1
    wires.connect(a, b)
    wires.run()
    b.pass_time(b.env.timers.group_unsealed_ms)
    wires.run()
    assert outcomes(a, 1) == [SUCCESS, FAILURE]
    assert outcomes(a, 2) == [COMPLETE]


def test_deadlines_that_outlived_their_cause_do_nothing() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, _ = committed(wires, b, a)
    lock = next(iter(opened(b, invoice).groups))
    for key in (
        GroupUnsealed(InvoiceId(bytes(32)), lock),
        GroupUnsealed(invoice.invoice_id, hash_lock(PlainLock(bytes(32)))),
        GroupUnsealed(invoice.invoice_id, lock),
        InvoiceExpiry(InvoiceId(bytes(32))),
        InvoiceExpiry(invoice.invoice_id),
    ):
        b.state.agenda.set(key, b.env.now_ms)
    before = opened(b, invoice)
    b.feed(Woken())
    assert opened(b, invoice) == before
    assert len(b.state.agenda) == 0


# --- commits ------------------------------------------------------------------------------------


@covers("PAY-02", "PAY-15", "PAY-16")
def test_the_receipt_exists_only_after_the_collect() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, commit = committed(wires, b, a)
    (group,) = groups(b, invoice)
    assert hash_lock(group.dest_plain_lock) == commit.dest_hashed_lock
    known = repr(a.state.payments) + repr([f.channel for f in a.state.friends.values()])
    assert group.dest_plain_lock.hex() not in known
    assert status(a, wish(1)).receipt is None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    receipt = status(a, wish(1)).receipt
    assert receipt is not None
    assert receipt.dest_plain_lock == group.dest_plain_lock
    assert verify(b.key, response_buffer(receipt_terms(receipt)), receipt.signature)
    guessed = replace(receipt, dest_plain_lock=PlainLock(bytes(32)))
    assert not verify(b.key, response_buffer(receipt_terms(guessed)), guessed.signature)


def test_a_commit_must_be_ours_for_this_invoice_and_this_sum() -> None:
    wires, (a, b) = chain("a", "b")
    _, commit = committed(wires, b, a)
    for bad in (
        replace(commit, src_plain_lock=PlainLock(bytes(32))),
        replace(commit, dest_hashed_lock=hash_lock(PlainLock(bytes(32)))),
        replace(commit, dest_payment=9),
        replace(commit, dest_payment=-1),
        replace(commit, total_dest_payment=9),
        replace(commit, total_dest_payment=CREDITS_MAX + 1),
        replace(commit, currency=USD),
        replace(commit, signature=Signature(bytes(64))),
    ):
        assert b.do(CommitInvoice(bad)) is CommandFault.INVALID_COMMIT
        assert b.do(RegisterCommit(bad)) is CommandFault.INVALID_COMMIT
    other = replace(commit, invoice_id=InvoiceId(bytes(32)))
    assert b.do(CommitInvoice(other)) is CommandFault.INVOICE_DOES_NOT_EXIST
    assert b.do(RegisterCommit(other)) is CommandFault.INVOICE_DOES_NOT_EXIST
    assert b.balance(a) == 0
    assert b.do(CommitInvoice(commit)) is None


def test_a_commit_of_a_group_that_is_not_complete_is_none() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    assert bring(wires, invoice, 1, 4, (a, b)) == [SUCCESS]
    payment = a.state.payments[wish(1)]
    response = payment.transactions[uid(1)].response
    assert response is not None
    forged = Commit(
        invoice.invoice_id,  # type: ignore[arg-type]  # no hash of anything
        payment.src_plain_lock,
        response.dest_hashed_lock,
        4,
        10,
        invoice.invoice_id,
        FST,
        response.signature,
    )
    assert b.do(CommitInvoice(forged)) is CommandFault.INVALID_COMMIT


def test_committing_collects_the_buyers_group_and_gives_the_others_back() -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    assert bring(wires, invoice, 1, 4, (m, b)) == [SUCCESS]
    assert bring(wires, invoice, 2, 10, (a, n, b)) == [COMPLETE]
    commit = status(a, wish(2)).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert outcomes(m, 1) == [SUCCESS, FAILURE]
    assert (b.balance(m), b.balance(n)) == (0, 10)
    (record,) = [record for record in b.records if isinstance(record, InvoiceRecord)]
    assert (record.is_paid, record.received, record.commit) == (True, 10, commit)
    assert b.state.closed_invoices[invoice.invoice_id] == ClosedInvoice(
        invoice.invoice_id, True, commit
    )
    assert_settled(a, m, n, b)


@covers("PAY-26")
def test_the_history_counts_left_over_fees() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    payment = open_payment(a, invoice, 1)
    assert send_over(payment, 1, (a, b), 10, 3) is None
    wires.run()
    commit = status(a, payment).commit
    assert commit is not None
    assert b.do(CommitInvoice(commit)) is None
    (record,) = [record for record in b.records if isinstance(record, InvoiceRecord)]
    assert record.received == 13


@covers("PT22")
def test_the_same_commit_again_is_fine_and_another_one_is_not() -> None:
    wires, (a, b) = chain("a", "b")
    _, commit = committed(wires, b, a)
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert b.do(CommitInvoice(commit)) is None
    other = replace(commit, dest_payment=9)
    assert b.do(CommitInvoice(other)) is CommandFault.INVALID_COMMIT
    assert b.balance(a) == 10


# --- holding ------------------------------------------------------------------------------------


@covers("PAY-07")
def test_a_registered_commit_is_held_until_it_is_collected() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, commit = committed(wires, b, a)
    assert b.do(CollectInvoice(invoice.invoice_id)) is CommandFault.NOT_COMMITTED
    said = b.notices.count(InvoiceChanged(invoice.invoice_id))
    assert b.do(RegisterCommit(commit)) is None
    assert b.do(RegisterCommit(commit)) is None
    assert b.notices.count(InvoiceChanged(invoice.invoice_id)) == said + 1
    wires.run()
    assert (b.balance(a), a.frozen()) == (0, 10)
    assert bring(wires, invoice, 2, 10, (a, b)) == [FAILURE]  # sold
    assert b.do(CollectInvoice(invoice.invoice_id)) is None
    wires.run()
    assert b.balance(a) == 10
    assert b.do(CollectInvoice(invoice.invoice_id)) is None
    assert_settled(a, b)


@covers("PAY-06", "PAY-07")
def test_a_registered_commit_can_be_given_back() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, commit = committed(wires, b, a)
    assert b.do(RegisterCommit(commit)) is None
    assert b.do(CancelInvoice(invoice.invoice_id)) is None
    wires.run()
    assert_settled(a, b)
    assert b.balance(a) == 0
    (record,) = [record for record in b.records if isinstance(record, InvoiceRecord)]
    assert (record.is_paid, record.received) == (False, 0)
    assert b.do(CollectInvoice(invoice.invoice_id)) is CommandFault.INVOICE_DOES_NOT_EXIST


@covers("PT44")
def test_a_held_commit_whose_requests_vanished_is_incomplete() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, commit = committed(wires, b, a)
    assert b.do(RegisterCommit(commit)) is None
    assert b.do(DisputeFriend(a.key)) is None
    for force in (False, True):
        fault = b.do(CollectInvoice(invoice.invoice_id, force))
        assert fault is CommandFault.COMMIT_INCOMPLETE
    assert b.do(CancelInvoice(invoice.invoice_id)) is None


def test_a_registered_commit_is_not_displaced_by_that_of_another_buyer() -> None:
    wires, (a, m, n, b) = diamond()
    invoice = new_invoice(b, 10)
    for number, hop in ((1, m), (2, n)):
        assert bring(wires, invoice, number, 10, (a, hop, b)) == [COMPLETE]
    first, second = (status(a, wish(number)).commit for number in (1, 2))
    assert first is not None
    assert second is not None
    assert b.do(RegisterCommit(first)) is None
    assert b.do(RegisterCommit(second)) is not None
    assert b.do(CommitInvoice(second)) is not None
    assert opened(b, invoice).registered == first
    assert b.do(CollectInvoice(invoice.invoice_id)) is None
    wires.run()
    assert (b.balance(m), b.balance(n)) == (10, 0)
    assert_settled(a, m, n, b)


# --- expiry (R24, R27) --------------------------------------------------------------------------


def expiring(seller: Card, after_ms: int) -> Invoice:
    invoice = Invoice(InvoiceId(bytes([1]) * 32), FST, seller.key, 10)
    assert seller.do(AddInvoice(invoice, seller.env.wall_ms + after_ms)) is None
    return invoice


@covers("PAY-10")
def test_an_expired_invoice_takes_no_request_and_ends_at_the_second_look() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = expiring(b, HOUR)
    assert bring(wires, invoice, 1, 4, (a, b)) == [SUCCESS]
    b.pass_time(HOUR)
    wires.run()
    assert bring(wires, invoice, 2, 10, (a, b)) == [FAILURE]
    assert invoice.invoice_id in b.state.invoices
    b.pass_time(b.env.timers.expiry_confirm_ms)
    wires.run()
    assert invoice.invoice_id not in b.state.invoices
    assert not b.state.closed_invoices[invoice.invoice_id].is_paid
    assert_settled(a, b)


def test_a_jump_of_the_clock_expires_nothing() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = expiring(b, HOUR)
    assert bring(wires, invoice, 1, 10, (a, b)) == [COMPLETE]
    b.env.wall_ms += 30 * HOUR
    wires.restart(b, reloaded(b.state))
    b.pass_time(1)  # the first look
    b.env.wall_ms -= 30 * HOUR
    b.pass_time(b.env.timers.expiry_confirm_ms)  # the second one sees the right time
    assert [group.is_sealed for group in groups(b, invoice)] == [True]
    b.pass_time(HOUR)
    assert invoice.invoice_id in b.state.invoices
    b.pass_time(b.env.timers.group_sealed_grace_ms + b.env.timers.expiry_confirm_ms)
    assert invoice.invoice_id not in b.state.invoices


def test_a_clock_that_was_set_back_is_looked_at_again_later() -> None:
    _, (a, b) = chain("a", "b")
    invoice = expiring(b, HOUR)
    b.env.wall_ms -= 2 * HOUR
    b.pass_time(HOUR)
    assert invoice.invoice_id in b.state.invoices
    assert len(b.state.agenda) == 1
    b.pass_time(3 * HOUR)
    assert invoice.invoice_id not in b.state.invoices
    assert a.key in b.state.friends


@covers("PAY-10")
def test_a_complete_group_gets_a_quarter_of_an_hour_more() -> None:
    wires, (a, b) = chain("a", "b")
    invoice = expiring(b, HOUR)
    assert bring(wires, invoice, 1, 4, (a, b)) == [SUCCESS]
    assert bring(wires, invoice, 2, 10, (a, b)) == [COMPLETE]
    b.state.agenda.drop(next(key for key in b.state.agenda._at if isinstance(key, GroupUnsealed)))
    b.pass_time(HOUR + b.env.timers.expiry_confirm_ms)
    wires.run()
    assert (outcomes(a, 1), outcomes(a, 2)) == ([SUCCESS, FAILURE], [COMPLETE])
    b.pass_time(b.env.timers.group_sealed_grace_ms - b.env.timers.expiry_confirm_ms - 1)
    assert invoice.invoice_id in b.state.invoices
    b.pass_time(1)
    wires.run()
    assert outcomes(a, 2) == [COMPLETE, FAILURE]
    assert_settled(a, b)


def test_a_commit_in_the_quarter_of_an_hour_is_collected() -> None:
    wires, (a, b) = chain("a", "b")
    _, commit = committed(wires, b, a, expires_ms=b.env.wall_ms + HOUR)
    b.pass_time(HOUR + b.env.timers.expiry_confirm_ms)
    assert b.do(CommitInvoice(commit)) is None
    wires.run()
    assert b.balance(a) == 10
    assert len(b.state.agenda) == 0


@covers("PAY-10")
def test_a_registered_commit_never_expires_by_itself() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, commit = committed(wires, b, a, expires_ms=b.env.wall_ms + HOUR)
    assert b.do(RegisterCommit(commit)) is None
    b.pass_time(1_000 * HOUR)
    wires.restart(b, reloaded(b.state))
    wires.connect(a, b)
    b.pass_time(1_000 * HOUR)
    wires.run()
    assert b.do(CollectInvoice(invoice.invoice_id)) is None
    wires.run()
    assert b.balance(a) == 10


def test_an_invoice_without_expiry_stays() -> None:
    _, (_a, b) = chain("a", "b")
    invoice = new_invoice(b, 10)
    b.pass_time(1_000 * HOUR)
    assert invoice.invoice_id in b.state.invoices


# --- adding -------------------------------------------------------------------------------------


def test_only_sound_invoices_of_ours_are_opened() -> None:
    _, (a, b) = chain("a", "b")
    good = Invoice(InvoiceId(b"i" * 32), FST, b.key, 10)
    cases: list[tuple[dict[str, object], CommandFault]] = [
        ({"total_dest_payment": 0}, CommandFault.INVALID_AMOUNT),
        ({"total_dest_payment": CREDITS_MAX + 1}, CommandFault.INVALID_AMOUNT),
        ({"dest_public_key": a.key}, CommandFault.INVALID_ARGUMENT),
        ({"description": "é" * 128}, CommandFault.INVALID_ARGUMENT),
        ({"description": "\ud800"}, CommandFault.INVALID_ARGUMENT),
        ({"created": -1}, CommandFault.INVALID_ARGUMENT),
    ]
    for change, fault in cases:
        assert b.do(AddInvoice(replace(good, **change))) is fault  # type: ignore[arg-type]
    for expires_ms in (-1, 2**63):
        assert b.do(AddInvoice(good, expires_ms)) is CommandFault.INVALID_ARGUMENT
    assert not b.state.invoices
    assert b.do(AddInvoice(replace(good, description="é" * 127))) is None


def test_open_invoices_have_a_limit_and_finished_ones_are_forgotten_in_the_end() -> None:
    _, (_a, b) = chain("a", "b")
    first = new_invoice(b, 10)
    known = opened(b, first)
    for number in range(OPEN_INVOICES_MAX - 1):
        key = InvoiceId((number + 1).to_bytes(32, "big"))
        b.state.invoices[key] = known
    another = AddInvoice(replace(first, invoice_id=InvoiceId(b"z" * 32)))
    assert b.do(another) is CommandFault.LIMIT_REACHED
    for number in range(FINISHED_INVOICES_REMEMBERED):
        key = InvoiceId((number + 1).to_bytes(32, "little"))
        b.state.closed_invoices[key] = ClosedInvoice(key, False, None)
    assert b.do(CancelInvoice(first.invoice_id)) is None
    assert len(b.state.closed_invoices) == FINISHED_INVOICES_REMEMBERED
    assert InvoiceId((1).to_bytes(32, "little")) not in b.state.closed_invoices
    assert first.invoice_id in b.state.closed_invoices
    assert b.do(another) is None


def test_two_invoices_can_end_in_one_step() -> None:
    _, (_a, b) = chain("a", "b")
    one, two = new_invoice(b, 10, 1), new_invoice(b, 10, 2)
    assert b.do(CancelInvoice(one.invoice_id), CancelInvoice(two.invoice_id)) is None
    assert list(b.state.closed_invoices) == [one.invoice_id, two.invoice_id]


def test_a_fork_of_an_invoice_shares_nothing() -> None:
    wires, (a, b) = chain("a", "b")
    invoice, _ = committed(wires, b, a)
    known = opened(b, invoice)
    copy = known.fork()
    assert copy == known
    for group in copy.groups.values():
        group.members.clear()
    assert known.groups[next(iter(known.groups))].members
