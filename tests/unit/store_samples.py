"""A state with one of everything, made without chance: the version files in `tests/vectors` hold it, too.

`python -m tests.unit.store_samples FILE` writes such a version file; do it once for each new version, before
its first release, and never again after it.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from offset_engine.core.crypto import sha512_256
from offset_engine.core.friend import CurrencyConfig, Friend, Queue, QueuedRequest, RelaysSent
from offset_engine.core.invoice import ClosedInvoice, Group, Member, OpenInvoice
from offset_engine.core.messages import (
    CurrencyOperations,
    MoveToken,
    ResetTerms,
    cancel_op,
    collect_op,
    request_op,
    response_op,
)
from offset_engine.core.mutual_credit import Ledger, ReceivedRequest, SentRequest
from offset_engine.core.payer import Cycle, Intent, PayFailure, PayStage, PlannedPart
from offset_engine.core.payment import Payment, PaymentStage, Transaction
from offset_engine.core.reports import (
    ForwardRecord,
    InvoiceRecord,
    LossRecord,
    PaymentRecord,
    ResetRecord,
)
from offset_engine.core.route_memory import Penalty
from offset_engine.core.signing import BalanceInfo, Commit, Invoice, Receipt, TokenInfo
from offset_engine.core.state import NodeState, derive_outgoing_ids, derive_payers
from offset_engine.core.token_channel import (
    Incoming,
    Inconsistent,
    MoveTokenHashed,
    Outgoing,
    TokenChannel,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    RESET_COUNTER_MAX,
    U32_MAX,
    U64_MAX,
    U128_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PlainLock,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    Signature,
    Uid,
)
from offset_engine.store import SqliteStore, touched_between
from offset_engine.store.schema import APPLICATION_ID, MIGRATIONS

USD, EUR, GOLD = Currency("USD"), Currency("EUR"), Currency("gold/g")


def some(kind, label):
    """Bytes of this kind that depend only on the label."""
    digest = sha512_256(str(label).encode())
    return kind((digest + digest)[: kind.SIZE])


LOCAL = some(PublicKey, "me")
ANA, BEN, CAT = (some(PublicKey, name) for name in ("ana", "ben", "cat"))
NOW = 1_750_000_000_000


def request(label, amount=100, fees=3, route=("x", "y")):
    return request_op(
        some(Uid, label),
        some(HashedLock, f"{label} lock"),
        tuple(some(PublicKey, key) for key in route),
        (amount, amount + 1, fees),
        some(InvoiceId, f"{label} invoice"),
    )


def response(label, *, is_complete=True):
    return response_op(
        some(Uid, label),
        some(HashedLock, f"{label} dest"),
        is_complete,
        some(RandValue, label),
        some(Signature, label),
    )


def ledger(balance, local=(), remote=()):
    held = Ledger(balance)
    for entry in local:
        held.local[entry.request.request_id] = entry
        held.local_pending_debt += entry.request.freeze
    for entry in remote:
        held.remote[entry.request.request_id] = entry
        held.remote_pending_debt += entry.request.freeze
    return held


def relay(name):
    return RelayAddress(some(PublicKey, name), f"{name}.example:4000")


def terms(label, *balances):
    return ResetTerms(some(Signature, label), RESET_COUNTER_MAX, balances)


def evidence(label):
    info = BalanceInfo(-5, 2**70, CREDITS_MAX)
    return MoveTokenHashed(
        some(HashResult, label),
        TokenInfo(ANA, LOCAL, ((EUR, info), (USD, BalanceInfo(7, 0, 1))), 3, 2**64),
        some(RandValue, label),
        some(Signature, label),
    )


def move_token():
    operations = (request("t1"), response("t2"), cancel_op(some(Uid, "t3")))
    return MoveToken(
        some(Signature, "old"),
        (CurrencyOperations(EUR, operations[:1]), CurrencyOperations(USD, operations)),
        (relay("here"),),
        (EUR, USD),
        some(HashResult, "info"),
        some(RandValue, "nonce"),
        some(Signature, "new"),
    )


def ana():
    """We own the token; requests in every direction and stage."""
    local = (
        SentRequest(request("a1"), BEN, NOW),
        SentRequest(request("a2"), some(PaymentId, "p1"), NOW + 1, response("a2")),
        SentRequest(request("a3", 2**90), None, NOW + 2),
    )
    remote = (
        ReceivedRequest(request("a4"), CAT, NOW),
        ReceivedRequest(request("a5", route=()), some(InvoiceId, "i1"), NOW, response("a5")),
        ReceivedRequest(request("a6"), None, 0),
    )
    channel = TokenChannel(
        LOCAL,
        ANA,
        Incoming(evidence("ana")),
        {USD: ledger(-500, local, remote), EUR: ledger(2**100)},
        (EUR, USD, GOLD),
        (EUR, USD),
        RESET_COUNTER_MAX,
        U128_MAX,
        terms("offered", (EUR, -1)),
    )
    return Friend(
        ANA,
        "Ana ☕",
        (relay("r1"), relay("r2")),
        channel,
        is_enabled=True,
        relays_sent=RelaysSent((relay("mine"),), ()),
        configs={
            USD: CurrencyConfig(Rate(U32_MAX, 1), CREDITS_MAX, is_open=True),
            EUR: CurrencyConfig(Rate(), 5, is_removing=True),
        },
        backwards=Queue(
            [
                (USD, response("b1", is_complete=False)),
                (EUR, cancel_op(some(Uid, "b2"))),
                (USD, collect_op(some(Uid, "b3"), some(PlainLock, 1), some(PlainLock, 2))),
            ],
            7,
        ),
        forwarded=Queue([QueuedRequest(USD, request("f1"), BEN)], 2**40),
        own=Queue([QueuedRequest(EUR, request("o1"), some(PaymentId, "p1"))], 0),
        reset_tokens=(some(Signature, "r1"), some(Signature, "r2")),
        lost=((EUR, 5), (USD, 2**80)),
        imported=(relay("typed"),),
    )


def ben():
    """The friend owns the token."""
    channel = TokenChannel(LOCAL, BEN, Outgoing(move_token(), evidence("ben"), token_wanted=True))
    return Friend(BEN, "", (), channel, is_quarantined=True, own=Queue([], 9))


def cat():
    """The channel is inconsistent."""
    channel = Inconsistent(terms("ours", (USD, -(2**126))), terms("theirs"), evidence("cat"), 11)
    return Friend(CAT, "cat", (), channel, relays_sent=RelaysSent(()))


def invoice(label, total=1_000):
    return Invoice(
        some(InvoiceId, label),
        USD,
        LOCAL,
        total,
        "2 × coffee",
        1_750_000_000,
        U64_MAX,
        2,
        some(Signature, label),
    )


def commit(label):
    return Commit(
        some(HashResult, label),
        some(PlainLock, label),
        some(HashedLock, label),
        400,
        1_000,
        some(InvoiceId, label),
        USD,
        some(Signature, label),
    )


def receipt(label):
    return Receipt(
        some(HashResult, label),
        some(InvoiceId, label),
        USD,
        some(PlainLock, label),
        some(PlainLock, f"{label} dest"),
        True,
        400,
        1_000,
        some(Signature, label),
    )


def payments():
    open_one = Payment(
        some(PaymentId, "p1"),
        some(InvoiceId, "shop"),
        USD,
        1_000,
        CAT,
        some(PlainLock, "p1"),
        PaymentStage.IN_PROGRESS,
        {
            some(Uid, "a2"): Transaction(ANA, request("a2"), response("a2")),
            some(Uid, "o1"): Transaction(ANA, request("o1")),
        },
        commit("p1"),
    )
    paid = Payment(
        some(PaymentId, "p2"),
        some(InvoiceId, "shop2"),
        EUR,
        CREDITS_MAX,
        BEN,
        some(PlainLock, "p2"),
        PaymentStage.SUCCESS,
        receipt=receipt("p2"),
        ack_uid=some(Uid, "ack"),
        is_withheld=True,
    )
    return {payment.payment_id: payment for payment in (open_one, paid)}


def intents():
    part = PlannedPart((LOCAL, ANA, CAT), 600, 2**65)
    sending = Intent(
        some(PaymentId, "w1"),
        invoice("shop"),
        50,
        0,
        NOW,
        PayStage.SENDING,
        payment_id=some(PaymentId, "p1"),
        attempts=2,
        rounds=1,
        planned=(part,),
        parts={some(Uid, "a2"): part, some(Uid, "o1"): part},
        excluded=((ANA, BEN),),
    )
    failed = Intent(
        some(PaymentId, "w2"),
        invoice("shop2"),
        CREDITS_MAX,
        None,
        NOW,
        PayStage.FAILED,
        PayFailure.STUCK,
        commit=commit("w2"),
        receipt=receipt("w2"),
        ended_ms=NOW + 5,
    )
    cycle = replace(
        sending, intent_id=some(PaymentId, "w3"), payment_id=None, cycle=Cycle(ANA, None)
    )
    other = replace(cycle, intent_id=some(PaymentId, "w4"), cycle=Cycle(None, BEN))
    return {intent.intent_id: intent for intent in (sending, failed, cycle, other)}


def penalties():
    return {
        (USD, ANA, BEN): Penalty(1_000_000, NOW, 2**100),
        (EUR, BEN, CAT): Penalty(1, NOW + 1, 1),
    }


def invoices():
    group = Group(
        some(PlainLock, "g1"),
        {(ANA, some(Uid, "a5")): Member(ANA, 100, 3, response("a5"))},
        is_sealed=True,
    )
    sold = OpenInvoice(
        invoice("i1"),
        NOW,
        NOW + 86_400_000,
        {some(HashedLock, "g1"): group, some(HashedLock, "g2"): Group(some(PlainLock, "g2"))},
        commit("i1"),
    )
    fresh = OpenInvoice(invoice("i2", CREDITS_MAX), NOW, None)
    return {one.invoice.invoice_id: one for one in (sold, fresh)}


def rich_state():
    """One of everything."""
    friends = {friend.public_key: friend for friend in (cat(), ana(), ben())}
    closed = (
        ClosedInvoice(some(InvoiceId, "c2"), is_paid=True, commit=commit("c2")),
        ClosedInvoice(some(InvoiceId, "c1"), is_paid=False, commit=None),
    )
    wishes, opened = intents(), payments()
    return NodeState(
        LOCAL,
        (NamedAddress(some(PublicKey, "r"), "[::1]:4000", "kitchen"),),
        (
            NamedAddress(some(PublicKey, "i"), "127.0.0.1:80", "index"),
            NamedAddress(some(PublicKey, "j"), "index.example:65535"),
        ),
        friends,
        opened,
        wishes,
        invoices(),
        {one.invoice_id: one for one in closed},
        penalties(),
        derive_outgoing_ids(friends.values()),
        payers=derive_payers(wishes.values(), opened),
    )


def rich_records():
    """One of every kind, two of payments."""
    failed = PaymentRecord(
        some(PaymentId, "h1"), invoice("h1"), 0, PayStage.FAILED, PayFailure.NO_ROUTE, 1, 2, None
    )
    paid = PaymentRecord(
        some(PaymentId, "h1"), invoice("h1"), 2**64, PayStage.PAID, None, 1, NOW, receipt("h1")
    )
    return (
        failed,
        InvoiceRecord(invoice("h2"), True, 1_003, 1, NOW, commit("h2")),
        ForwardRecord(USD, ANA, BEN, CREDITS_MAX, 7, NOW),
        LossRecord(CAT, EUR, 2**100, NOW),
        ResetRecord(BEN, ((EUR, -5), (USD, 2**70)), NOW),
        paid,
    )


def dump(store):
    """The whole database as SQL, the two numbers in its header included."""
    lines = (
        "PRAGMA foreign_keys = OFF;",
        f"PRAGMA application_id = {APPLICATION_ID};",
        f"PRAGMA user_version = {len(MIGRATIONS)};",
        *store._connection.iterdump(),
    )
    return "\n".join(lines) + "\n"


def main(target):
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore.create(Path(directory) / "node.db", LOCAL)
        empty, state = store.load(), rich_state()
        store.save(empty, state, touched_between(empty, state), rich_records())
        Path(target).write_text(dump(store))
        store.close()


if __name__ == "__main__":
    main(sys.argv[1])
