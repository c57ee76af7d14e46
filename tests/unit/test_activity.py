"""One list of everything that happened, and what leaves it for other programs."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC

from offset_engine import activity
from offset_engine.activity import Kind
from offset_engine.core.crypto import public_key_of, sha512_256
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.reports import (
    ForwardRecord,
    HistoryEntry,
    InvoiceRecord,
    InvoiceReport,
    LossRecord,
    PaymentRecord,
    PayReport,
    ResetRecord,
)
from offset_engine.core.signing import Invoice
from offset_engine.core.values import CREDITS_MAX, Currency, InvoiceId, PaymentId, PrivateKey
from offset_engine.notebook import Notebook
from tests.covers import covers

OUSD = Currency("OUSD")


def key(name: str):
    return public_key_of(PrivateKey(sha512_256(name.encode())))


NAMES = {key("Bob"): "Bob", key("Ann"): "Ann"}


def invoice(number: int, amount: int = 2_00, description: str = "bread", seller: str = "Bob"):
    return Invoice(InvoiceId(bytes([number]) * 32), OUSD, key(seller), amount, description)


def pay(number: int, stage: PayStage, failure: PayFailure | None = None) -> PayReport:
    ended = 9_000 if stage in (PayStage.PAID, PayStage.FAILED) else None
    return PayReport(
        PaymentId(bytes([number]) * 16),
        invoice(number),
        stage,
        failure,
        10,
        3,
        1,
        True,
        None,
        None,
        1_000 + number,
        ended,
    )


def record(number: int, stage: PayStage = PayStage.PAID) -> HistoryEntry:
    failure = None if stage is PayStage.PAID else PayFailure.NO_ROUTE
    done = PaymentRecord(
        PaymentId(bytes([number]) * 16), invoice(number), 3, stage, failure, 500, 900, None
    )
    return HistoryEntry(number, done)


@covers("RMP-08", "RMP-33", "RMP-34", "RMP-35", "CMP-22")
def test_everything_is_in_one_list_newest_first() -> None:
    through = ForwardRecord(OUSD, key("Ann"), key("Bob"), 50_00, 26, 700)
    lost = LossRecord(key("Ann"), OUSD, 5, 600)
    reset = ResetRecord(key("Bob"), ((OUSD, 4),), 500)
    sold = InvoiceRecord(invoice(7, description="chocolate"), True, 2_01, 300, 400, None)
    history = [
        HistoryEntry(1, through),
        HistoryEntry(2, lost),
        HistoryEntry(3, reset),
        HistoryEntry(4, sold),
        record(8),
    ]
    open_one = InvoiceReport(invoice(9), 950, None, 0, False, None)
    found = activity.merge([pay(1, PayStage.SENDING)], [open_one], history, NAMES, Notebook())
    assert [one.kind for one in found] == [
        Kind.PAYING,
        Kind.INVOICE,
        Kind.PAID,
        Kind.THROUGH,
        Kind.LOSS,
        Kind.RESET,
        Kind.GOT_PAID,
    ]
    assert [one.amount for one in found] == [-2_00, 2_00, -2_00, 50_00, -5, 0, 2_01]
    assert [one.moved for one in found] == [0, 0, -2_00, 50_00, -5, 0, 2_01]
    assert found[3].moved_fee == 26
    assert found[3].name == "Ann to Bob"


@covers("RMP-05")
def test_credit_moved_along_a_circle_is_one_entry_and_no_turnover() -> None:
    moved = replace(pay(8, PayStage.PAID), fee=3)
    collected = InvoiceRecord(moved.invoice, True, 2_00, 300, 400, None)
    past = [HistoryEntry(1, collected)]
    own = moved.invoice.dest_public_key
    for found in (
        activity.merge([moved], [], past, NAMES, Notebook(), own),
        activity.merge([], [], [*past, record(8)], NAMES, Notebook(), own),
    ):
        (one,) = found
        assert (one.kind, one.state, one.name) == (Kind.MOVED, "moved", "a circle of friends")
        assert (one.amount, one.moved, one.moved_fee, one.is_signed) == (2_00, 0, 3, False)
    assert len(activity.merge([moved], [], past, NAMES, Notebook())) == 2


def test_only_the_fee_of_a_circle_waits_for_the_owner() -> None:
    wishes = [pay(1, PayStage.FEE_TO_CONFIRM), pay(2, PayStage.COMMITTED)]
    own = wishes[0].invoice.dest_public_key
    found = activity.merge(wishes, [], [], NAMES, Notebook(), own)
    assert sorted(one.needs_owner for one in found) == [False, True]
    assert {one.kind for one in found} == {Kind.PAYING}


def test_what_is_live_and_in_history_counts_once() -> None:
    found = activity.merge([pay(8, PayStage.PAID)], [], [record(8)], NAMES, Notebook())
    assert len(found) == 1
    assert found[0].when_ms == 9_000


def test_a_failed_payment_moved_nothing() -> None:
    failed = pay(3, PayStage.FAILED, PayFailure.NO_ROUTE)
    for found in (
        activity.merge([failed], [], [], NAMES, Notebook()),
        activity.merge([], [], [record(3, PayStage.FAILED)], NAMES, Notebook()),
    ):
        assert (found[0].kind, found[0].is_outgoing) == (Kind.NOT_PAID, True)
        assert "no route" in found[0].state
        (row,) = activity.rows(found, lambda _: 2, UTC)
        assert (row["kind"], row["asked_credits"]) == ("not paid", "-200")
        assert (row["credits"], row["fee_credits"], row["amount"]) == ("0", "0", "0.00")


def test_an_invoice_is_got_paid_only_when_it_was_collected() -> None:
    closed = InvoiceRecord(invoice(7), False, 0, 300, 400, None)
    waiting = InvoiceReport(invoice(9), 950, None, 0, False, None)
    found = activity.merge([], [waiting], [HistoryEntry(1, closed)], NAMES, Notebook())
    assert [one.kind.value for one in found] == ["invoice", "invoice"]
    assert [(one.amount, one.moved, one.is_incoming) for one in found] == [(2_00, 0, True)] * 2
    assert found[1].state == "closed without payment"


def test_what_needs_the_owner_is_marked() -> None:
    handed = Notebook().with_handed(PaymentId(bytes([2]) * 16).to_text())
    pays = [pay(1, PayStage.FEE_TO_CONFIRM), pay(2, PayStage.COMMITTED)]
    assert [one.needs_owner for one in activity.merge(pays, [], [], NAMES, Notebook())] == [
        True
    ] * 2
    marked = {one.reference: one for one in activity.merge(pays, [], [], NAMES, handed)}
    assert not marked[pays[1].payment_id.to_text()].needs_owner


def test_search_finds_words_anywhere() -> None:
    book = Notebook().with_note(PaymentId(bytes([1]) * 16).to_text(), "for the ROOF")
    found = activity.merge([pay(1, PayStage.PAID), pay(2, PayStage.PAID)], [], [], NAMES, book)
    assert len(activity.matching(found, "bread bob")) == 2
    assert [one.note for one in activity.matching(found, "roof")] == ["for the ROOF"]
    assert activity.matching(found, "bread nowhere") == ()


@covers("RMP-38")
def test_exports_keep_every_digit_and_no_formula() -> None:
    huge = replace(pay(1, PayStage.PAID), invoice=invoice(1, CREDITS_MAX, "=cmd()|'x'!A1"))
    found = activity.merge([huge], [], [], NAMES, Notebook())
    rows = activity.rows(found, lambda _: 2, UTC)
    (read,) = csv.DictReader(io.StringIO(activity.to_csv(rows)))
    assert read["credits"] == str(-CREDITS_MAX)
    assert read["amount"].replace(".", "") == str(-CREDITS_MAX)
    assert read["description"] == "'=cmd()|'x'!A1"
    assert read["time"] == "1970-01-01T00:00:09+00:00"
    assert json.loads(activity.to_json(rows))[0]["description"] == "=cmd()|'x'!A1"
    assert tuple(read) == activity.COLUMNS
