"""What every kind of client promises; one suite for all of them (design R47).

A `Party` is a small village seen through the clients under test: Bob pays, Daniel sells, and Charli between
them charges 0.01. `check_client` runs every check, each in a party of its own.
"""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, Protocol

import anyio
import pytest

from offset_engine.client import (
    Client,
    CommandFault,
    CommandRefusedError,
    HistoryKind,
    InvoiceRecord,
    InvoiceReport,
    InvoiceTerms,
    NodeReport,
    Notice,
    PayFailure,
    PaymentRecord,
    PayStage,
    Rebalance,
    RequestRoutes,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
    Uid,
)
from offset_engine.core.api import (
    AddFriend,
    Batch,
    EnableFriend,
    InvoiceChanged,
    Pay,
    PayChanged,
    SetFriendName,
)
from offset_engine.core.app_messages import ALL_PERMISSIONS
from offset_engine.core.crypto import public_key_of
from offset_engine.core.reports import ServerState
from offset_engine.core.signing import Commit, Invoice
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PrivateKey,
    PublicKey,
    Rate,
    Signature,
)
from offset_engine.errors import TransportError
from offset_engine.files import verify_commit, verify_receipt

OUSD: Final = Currency("OUSD")
FEE: Final = 1
STRANGER: Final = public_key_of(PrivateKey(bytes([123]) * 32))
NOBODY: Final = InvoiceId(bytes([9]) * 32)
NO_PAYMENT: Final = PaymentId(bytes([9]) * 16)


class Party(Protocol):
    """What a check may use."""

    buyer: Client
    seller: Client

    async def restart(self) -> None:
        """Stop both nodes and start them again on what they saved; the clients are new ones."""

    async def stop(self) -> None:
        """Stop the buyer's node under its client."""


Make = Callable[[], AbstractAsyncContextManager[Party]]
Check = Callable[[Party], Awaitable[None]]


async def check_client(make: Make) -> None:
    """Run every check."""
    for check in CHECKS:
        async with make() as party:
            await check(party)


async def refused(doing: Awaitable[object]) -> CommandFault:
    with pytest.raises(CommandRefusedError) as caught:
        await doing
    return caught.value.fault


async def committed(party: Party, amount: int = 500) -> tuple[Invoice, PaymentId, Commit]:
    """A payment whose commit exists."""
    invoice = await party.seller.create_invoice(InvoiceTerms(OUSD, amount, "bread"))
    payment_id = await party.buyer.pay(invoice, FEE)
    report = await party.buyer.wait_pay(payment_id, PayStage.COMMITTED)
    assert report.commit is not None, report
    return invoice, payment_id, report.commit


async def paid(party: Party, amount: int = 500) -> tuple[Invoice, PaymentId]:
    invoice, payment_id, commit = await committed(party, amount)
    await party.seller.accept_commit(commit)
    assert (await party.buyer.wait_pay(payment_id)).stage is PayStage.PAID
    return invoice, payment_id


# --- buying -------------------------------------------------------------------------------------


async def pays_an_invoice_through_every_stage(party: Party) -> None:
    invoice = await party.seller.create_invoice(InvoiceTerms(OUSD, 500))
    payment_id = await party.buyer.pay(invoice, FEE)
    stages = []
    async for report in party.buyer.pay_states(payment_id):
        if not stages or stages[-1] is not report.stage:
            stages.append(report.stage)
        if report.stage is PayStage.COMMITTED:
            assert report.commit is not None
            assert verify_commit(invoice, report.commit).is_valid
            await party.seller.accept_commit(report.commit)
    order = [PayStage.SEARCHING, PayStage.SENDING, PayStage.COMMITTED, PayStage.PAID]
    assert stages == [stage for stage in order if stage in stages]
    assert stages[-2:] == order[-2:]
    final = await party.buyer.pay_report(payment_id)
    assert final is not None
    assert (final.fee, final.failure, final.invoice) == (FEE, None, invoice)
    assert final.receipt is not None
    assert verify_receipt(invoice, final.receipt).is_valid
    assert final.ended_ms is not None
    assert [one.payment_id for one in await party.buyer.pays()] == [payment_id]


async def asks_before_a_fee_above_the_one_agreed(party: Party) -> None:
    invoice = await party.seller.create_invoice(InvoiceTerms(OUSD, 500))
    payment_id = await party.buyer.pay(invoice, 100, confirm_above=0)
    report = await party.buyer.wait_pay(payment_id, PayStage.FEE_TO_CONFIRM)
    assert (report.stage, report.fee, report.commit) == (PayStage.FEE_TO_CONFIRM, FEE, None)
    await party.buyer.confirm_fee(payment_id, CREDITS_MAX)
    report = await party.buyer.wait_pay(payment_id, PayStage.COMMITTED)
    assert report.commit is not None
    assert (
        await refused(party.buyer.confirm_fee(payment_id, CREDITS_MAX)) is CommandFault.WRONG_STAGE
    )


async def gives_up_a_payment_whose_fee_is_above_the_limit(party: Party) -> None:
    invoice = await party.seller.create_invoice(InvoiceTerms(OUSD, 500))
    report = await party.buyer.wait_pay(await party.buyer.pay(invoice, FEE - 1))
    assert (report.stage, report.failure) == (PayStage.FAILED, PayFailure.FEE_ABOVE_LIMIT)
    assert report.is_safe_to_retry


async def cancels_a_payment_only_before_its_commit(party: Party) -> None:
    invoice = await party.seller.create_invoice(InvoiceTerms(OUSD, 500))
    payment_id = await party.buyer.pay(invoice, 100, confirm_above=0)
    await party.buyer.wait_pay(payment_id, PayStage.FEE_TO_CONFIRM)
    await party.buyer.cancel(payment_id)
    report = await party.buyer.pay_report(payment_id)
    assert report is not None
    assert (report.stage, report.failure) == (PayStage.FAILED, PayFailure.CANCELED)
    _, other, _ = await committed(party)
    assert await refused(party.buyer.cancel(other)) is CommandFault.WRONG_STAGE


async def takes_the_same_wish_to_pay_only_once(party: Party) -> None:
    invoice = await party.seller.create_invoice(InvoiceTerms(OUSD, 500))
    wish = Pay(PaymentId(os.urandom(16)), invoice, FEE)
    for _ in range(3):
        assert await party.buyer.command(wish) == ()
    report = await party.buyer.wait_pay(wish.payment_id, PayStage.COMMITTED)
    await party.buyer.command(wish)
    assert report.commit is not None
    await party.seller.accept_commit(report.commit)
    await party.buyer.wait_pay(wish.payment_id)
    await party.buyer.command(wish)
    assert len(await party.buyer.pays()) == 1
    assert len(await party.buyer.history(HistoryKind.PAYMENTS)) == 1
    other = await party.seller.create_invoice(InvoiceTerms(OUSD, 500))
    again = Pay(wish.payment_id, other, FEE)
    assert await refused(party.buyer.command(again)) is CommandFault.PAYMENT_ALREADY_OPEN


async def forgets_only_what_has_ended_and_history_keeps_it(party: Party) -> None:
    invoice, payment_id, commit = await committed(party)
    assert await refused(party.buyer.forget(payment_id)) is CommandFault.WRONG_STAGE
    await party.seller.accept_commit(commit)
    live = await party.buyer.wait_pay(payment_id)
    await party.buyer.forget(payment_id)
    assert await party.buyer.pays() == ()
    kept = await party.buyer.pay_report(payment_id)
    assert kept is not None
    assert (kept.stage, kept.receipt, kept.fee) == (PayStage.PAID, live.receipt, FEE)
    assert kept.invoice == invoice


async def knows_nothing_of_payments_that_never_were(party: Party) -> None:
    assert await party.buyer.pay_report(NO_PAYMENT) is None
    assert await party.seller.invoice_report(NOBODY) is None
    absent = CommandFault.PAYMENT_DOES_NOT_EXIST
    for doing in (party.buyer.cancel, party.buyer.forget):
        assert await refused(doing(NO_PAYMENT)) is absent
    assert await refused(party.buyer.confirm_fee(NO_PAYMENT, CREDITS_MAX)) is absent
    assert await refused(party.buyer.wait_pay(NO_PAYMENT)) is absent


async def looks_at_routes_and_fees_before_anything_is_paid(party: Party) -> None:
    buyer, own, seller = party.buyer, party.buyer.node, party.seller.node
    assert own is not None
    assert seller is not None

    async def ask(amount: int, to: PublicKey, wish: RoutesWish) -> RoutesResult:
        with anyio.fail_after(8):
            question = RequestRoutes(Uid(os.urandom(16)), OUSD, amount, to, wish=wish)
            return await buyer.ask_routes(question)

    found = await ask(500, seller, RoutesWish.PAY)
    assert (found.outcome, found.reachable) == (RoutesOutcome.FOUND, 500)
    (part,) = found.choices[0].parts
    assert (part.amount, part.fee, part.route[0], part.route[-1]) == (500, FEE, own, seller)
    most = await ask(0, seller, RoutesWish.MAX)
    assert most.outcome is RoutesOutcome.FOUND
    assert (await ask(most.reachable, seller, RoutesWish.PAY)).outcome is RoutesOutcome.FOUND
    beyond = await ask(most.reachable + 1_000, seller, RoutesWish.PAY)
    assert beyond.outcome is RoutesOutcome.PARTIAL
    assert beyond.reachable <= most.reachable
    assert (await ask(1, STRANGER, RoutesWish.PAY)).outcome is RoutesOutcome.UNREACHABLE
    assert (await ask(1, own, RoutesWish.CYCLE)).choices == ()
    fault = await refused(ask(1, own, RoutesWish.PAY))
    assert fault is CommandFault.INVALID_ARGUMENT
    assert await buyer.pays() == await buyer.pending() == ()


async def moves_nothing_where_there_is_no_cycle(party: Party) -> None:
    (friend,) = (await party.buyer.report()).friends
    wish = Rebalance(PaymentId(os.urandom(16)), OUSD, 5, friend.public_key, None, 100)
    payment_id = await party.buyer.rebalance(wish)
    await party.buyer.rebalance(wish)
    report = await party.buyer.wait_pay(payment_id)
    assert (report.stage, report.is_safe_to_retry) == (PayStage.FAILED, True)
    assert report.invoice.dest_public_key == party.buyer.node
    assert await party.buyer.invoices() == ()
    assert len(await party.buyer.history(HistoryKind.PAYMENTS)) == 1


# --- selling ------------------------------------------------------------------------------------


async def makes_signed_invoices_that_expire(party: Party) -> None:
    terms = InvoiceTerms(OUSD, CREDITS_MAX, "x" * 255, lasts_s=60, decimals=2)
    invoice = await party.seller.create_invoice(terms)
    assert invoice.signature is not None
    assert (invoice.total_dest_payment, invoice.decimals) == (CREDITS_MAX, 2)
    assert invoice.expires - invoice.created == 60
    report = await party.seller.invoice_report(invoice.invoice_id)
    assert isinstance(report, InvoiceReport)
    assert report.expires_ms == invoice.expires * 1000
    for_ever = await party.seller.create_invoice(InvoiceTerms(OUSD, 1, lasts_s=None))
    assert for_ever.expires == 0
    assert [one.invoice for one in await party.seller.invoices()] == [for_ever, invoice]


async def refuses_invoices_that_make_no_sense(party: Party) -> None:
    for amount in (0, -1, CREDITS_MAX + 1):
        doing = party.seller.create_invoice(InvoiceTerms(OUSD, amount))
        assert await refused(doing) is CommandFault.INVALID_AMOUNT
    doing = party.seller.create_invoice(InvoiceTerms(OUSD, 1, "ä" * 128))
    assert await refused(doing) is CommandFault.INVALID_ARGUMENT
    assert await party.seller.invoices() == ()


async def accepts_a_commit_again_after_it_was_accepted(party: Party) -> None:
    invoice, payment_id, commit = await committed(party)
    await party.seller.accept_commit(commit)
    await party.seller.accept_commit(commit)
    assert (await party.buyer.wait_pay(payment_id)).stage is PayStage.PAID
    record = await party.seller.invoice_report(invoice.invoice_id)
    assert isinstance(record, InvoiceRecord)
    assert (record.is_paid, record.received, record.commit) == (True, 500, commit)
    assert await party.seller.invoices() == ()


async def refuses_commits_that_do_not_verify(party: Party) -> None:
    invoice, payment_id, commit = await committed(party)
    damaged = _replace(commit, signature=Signature(bytes(64)))
    foreign = _replace(commit, invoice_id=NOBODY)
    assert await refused(party.seller.accept_commit(damaged)) is CommandFault.INVALID_COMMIT
    assert await refused(party.seller.hold(damaged)) is CommandFault.INVALID_COMMIT
    kept = await party.seller.invoice_report(invoice.invoice_id)
    assert isinstance(kept, InvoiceReport)
    assert kept.registered is None, "what is not genuine is not even kept"
    assert await refused(party.seller.accept_commit(foreign)) is CommandFault.INVOICE_DOES_NOT_EXIST
    await party.seller.accept_commit(commit)
    assert (await party.buyer.wait_pay(payment_id)).stage is PayStage.PAID


def _replace(
    commit: Commit, *, signature: Signature | None = None, invoice_id: InvoiceId | None = None
) -> Commit:
    return Commit(
        commit.response_hash,
        commit.src_plain_lock,
        commit.dest_hashed_lock,
        commit.dest_payment,
        commit.total_dest_payment,
        commit.invoice_id if invoice_id is None else invoice_id,
        commit.currency,
        commit.signature if signature is None else signature,
    )


async def holds_a_commit_and_collects_later(party: Party) -> None:
    invoice, payment_id, commit = await committed(party)
    assert await refused(party.seller.collect(invoice.invoice_id)) is CommandFault.NOT_COMMITTED
    await party.seller.hold(commit)
    report = await party.seller.invoice_report(invoice.invoice_id)
    assert isinstance(report, InvoiceReport)
    assert (report.registered, report.is_sealed, report.frozen) == (commit, True, 500)
    waiting = await party.buyer.pay_report(payment_id)
    assert waiting is not None
    assert waiting.stage is PayStage.COMMITTED
    await party.seller.collect(invoice.invoice_id)
    assert (await party.buyer.wait_pay(payment_id)).stage is PayStage.PAID
    await party.seller.collect(invoice.invoice_id)


async def refunds_what_it_holds(party: Party) -> None:
    invoice, payment_id, commit = await committed(party)
    await party.seller.hold(commit)
    await party.seller.refund(invoice.invoice_id)
    report = await party.buyer.wait_pay(payment_id)
    assert (report.stage, report.failure) == (PayStage.FAILED, PayFailure.REFUSED)
    record = await party.seller.invoice_report(invoice.invoice_id)
    assert isinstance(record, InvoiceRecord)
    assert (record.is_paid, record.received) == (False, 0)
    absent = CommandFault.INVOICE_DOES_NOT_EXIST
    assert await refused(party.seller.accept_commit(commit)) is absent
    assert await refused(party.seller.refund(invoice.invoice_id)) is absent


# --- history and reports ------------------------------------------------------------------------


async def pages_through_history_newest_first(party: Party) -> None:
    ids = [(await paid(party, amount))[1] for amount in (100, 200, 300)]
    entries = await party.buyer.history(HistoryKind.PAYMENTS)
    records = [entry.record for entry in entries]
    assert [one.payment_id for one in records if isinstance(one, PaymentRecord)] == ids[::-1]
    page = await party.buyer.history(HistoryKind.PAYMENTS, limit=2)
    assert page == entries[:2]
    rest = await party.buyer.history(HistoryKind.PAYMENTS, page[-1].number, 2)
    assert rest == entries[2:]
    assert len(await party.seller.history(HistoryKind.INVOICES)) == 3
    assert await party.seller.history(HistoryKind.PAYMENTS) == []


async def shows_what_is_frozen_while_it_is(party: Party) -> None:
    _, payment_id, commit = await committed(party)
    (entry,) = await party.buyer.pending()
    assert (entry.amount, entry.is_outgoing, entry.is_answered) == (500 + FEE, True, True)
    (arrived,) = await party.seller.pending()
    assert (arrived.amount, arrived.is_outgoing) == (500, False)
    assert await party.buyer.pending(limit=0) == ()
    assert await party.buyer.pending(limit=1) == (entry,)
    assert await party.buyer.pending(limit=1, skip=1) == ()
    await party.seller.accept_commit(commit)
    await party.buyer.wait_pay(payment_id)
    assert await party.buyer.pending() == ()


async def keeps_commit_and_receipt_over_a_restart(party: Party) -> None:
    invoice, payment_id, commit = await committed(party)
    await party.restart()
    report = await party.buyer.pay_report(payment_id)
    assert report is not None
    assert (report.stage, report.commit) == (PayStage.COMMITTED, commit)
    await party.seller.accept_commit(commit)
    report = await party.buyer.wait_pay(payment_id)
    assert report.stage is PayStage.PAID
    await party.restart()
    again = await party.buyer.pay_report(payment_id)
    assert again is not None
    assert (again.receipt, again.commit) == (report.receipt, commit)
    assert again.receipt is not None
    assert verify_receipt(invoice, again.receipt).is_valid
    await party.seller.accept_commit(commit)
    record = await party.seller.invoice_report(invoice.invoice_id)
    assert isinstance(record, InvoiceRecord)
    assert record.commit == commit


async def tells_watchers_of_changes_and_of_nothing_before(party: Party) -> None:
    await paid(party)
    async with party.buyer.watch() as bought, party.seller.watch() as sold:
        with anyio.move_on_after(0.02) as quiet:
            await bought.next()
        assert quiet.cancelled_caught
        invoice, payment_id, _ = await committed(party)
        assert PayChanged(payment_id) in await _news(bought.next)
        assert InvoiceChanged(invoice.invoice_id) in await _news(sold.next)


async def _news(look: Callable[[], Awaitable[tuple[Notice, ...]]]) -> tuple[Notice, ...]:
    with anyio.fail_after(5):
        return await look()


async def changes_friends_and_limits(party: Party) -> None:
    await party.buyer.add_friend(STRANGER, (), "Stranger")
    await party.buyer.set_limit(STRANGER, OUSD, 700, Rate(0, 3))
    friend = await _friend(party.buyer, STRANGER)
    (currency,) = friend.currencies
    assert (friend.name, friend.is_enabled, friend.is_online) == ("Stranger", True, False)
    assert (currency.max_debt, currency.rate, currency.is_open) == (700, Rate(0, 3), True)
    await party.buyer.set_limit(STRANGER, OUSD, 800)
    (currency,) = (await _friend(party.buyer, STRANGER)).currencies
    assert (currency.max_debt, currency.rate) == (800, Rate(0, 3))


async def carries_a_batch_out_altogether_or_not_at_all(party: Party) -> None:
    add = AddFriend(STRANGER, (), "Stranger")
    batch = Batch((add, SetFriendName(STRANGER, "x"), add))
    assert await refused(party.buyer.command(batch)) is CommandFault.FRIEND_EXISTS
    assert all(one.public_key != STRANGER for one in (await party.buyer.report()).friends)
    await party.buyer.command(Batch((add, EnableFriend(STRANGER))))
    assert (await _friend(party.buyer, STRANGER)).is_enabled


async def _friend(client: Client, key: PublicKey):  # type: ignore[no-untyped-def]
    (found,) = [one for one in (await client.report()).friends if one.public_key == key]
    return found


async def ends_every_wait_when_the_node_stops(party: Party) -> None:
    _, payment_id, _ = await committed(party)
    failures: list[Exception] = []

    async def wait() -> None:
        try:
            await party.buyer.wait_pay(payment_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, the check below looks at it
            failures.append(error)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await party.stop()
    assert [type(error).__name__ for error in failures] == ["TransportError"]


async def reports_follow_every_change(party: Party) -> None:
    async with (
        aclosing(party.buyer.reports()) as reports,
        aclosing(party.buyer.reports()) as others,
    ):
        first = await anext(reports)
        assert first == await party.buyer.report() == await anext(others)
        await party.buyer.add_friend(STRANGER, (), "Stranger")
        for one in (reports, others):
            with anyio.fail_after(5):
                while not any(friend.name == "Stranger" for friend in (await anext(one)).friends):
                    pass
        assert STRANGER in [one.public_key for one in (await party.buyer.report()).friends]


async def reports_end_when_the_node_stops(party: Party) -> None:
    buyer = party.buyer
    async with aclosing(buyer.reports()) as reports:
        await anext(reports)
        assert buyer.is_connected
        await party.stop()
        with anyio.fail_after(5), pytest.raises(TransportError):
            await _exhaust(reports)
    assert not buyer.is_connected
    with pytest.raises(TransportError):
        await anext(buyer.reports())


async def _exhaust(reports: AsyncGenerator[NodeReport, None]) -> None:
    async for _ in reports:
        pass


async def shows_its_relays_and_the_index_server_that_answers(party: Party) -> None:
    report = await party.buyer.report()
    assert party.buyer.node == report.local_public_key
    assert party.buyer.permissions == ALL_PERMISSIONS
    configured = [
        [one.public_key for one in kind] for kind in (report.relays, report.index_servers)
    ]
    states = report.connections
    assert [[one.public_key for one in kind] for kind in (states.relays, states.index_servers)] == (
        configured
    )
    assert report.listening_relays == tuple(configured[0])
    assert report.connected_index in configured[1]
    nowhere = NamedAddress(STRANGER, "127.0.0.1:1", "nowhere")
    await party.buyer.add_relay(nowhere)
    with anyio.fail_after(5):
        async with aclosing(party.buyer.reports()) as reports:
            async for report in reports:
                last = report.connections.relays[-1]
                if last.public_key == STRANGER and last.state is ServerState.WAITING:
                    break
    assert last.trouble
    assert STRANGER not in report.listening_relays


CHECKS: Final[tuple[Check, ...]] = (
    pays_an_invoice_through_every_stage,
    asks_before_a_fee_above_the_one_agreed,
    gives_up_a_payment_whose_fee_is_above_the_limit,
    cancels_a_payment_only_before_its_commit,
    takes_the_same_wish_to_pay_only_once,
    forgets_only_what_has_ended_and_history_keeps_it,
    knows_nothing_of_payments_that_never_were,
    looks_at_routes_and_fees_before_anything_is_paid,
    moves_nothing_where_there_is_no_cycle,
    makes_signed_invoices_that_expire,
    refuses_invoices_that_make_no_sense,
    accepts_a_commit_again_after_it_was_accepted,
    refuses_commits_that_do_not_verify,
    holds_a_commit_and_collects_later,
    refunds_what_it_holds,
    pages_through_history_newest_first,
    shows_what_is_frozen_while_it_is,
    keeps_commit_and_receipt_over_a_restart,
    tells_watchers_of_changes_and_of_nothing_before,
    changes_friends_and_limits,
    carries_a_batch_out_altogether_or_not_at_all,
    ends_every_wait_when_the_node_stops,
    reports_follow_every_change,
    reports_end_when_the_node_stops,
    shows_its_relays_and_the_index_server_that_answers,
)
