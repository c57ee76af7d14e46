"""Hypothesis strategies for whole node states and history records: everything valid, nothing typical.

`states` keeps the promises a real state keeps and the loader checks: sums of pending debts, currencies
both sides list, ranges. Everything else is as free as its type.
"""

from hypothesis import strategies as st

from offset_engine.core.friend import CurrencyConfig, Friend, Queue, QueuedRequest, RelaysSent
from offset_engine.core.invoice import ClosedInvoice, Group, Member, OpenInvoice
from offset_engine.core.messages import (
    CurrencyOperations,
    MoveToken,
    RequestOp,
    ResetTerms,
    ResponseOp,
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
    Record,
    ResetRecord,
)
from offset_engine.core.route_memory import PENALTY_POINTS, Penalty
from offset_engine.core.signing import BalanceInfo, Commit, Invoice, Receipt, TokenInfo
from offset_engine.core.state import NodeState, derive_outgoing_ids
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

# --- bytes and numbers --------------------------------------------------------------------------
# One drawn number makes a whole identifier: as different as needed, and cheap to shrink.

SMALL = st.integers(0, 2**16 - 1)


def of(kind):
    return SMALL.map(lambda n: kind(n.to_bytes(2, "big") * (kind.SIZE // 2)))


KEYS = of(PublicKey)
UIDS = of(Uid)
LOCAL = PublicKey(bytes(range(32)))

CREDITS = st.one_of(st.integers(0, 1_000), st.sampled_from([2**63, 2**64, CREDITS_MAX]))
PART = st.one_of(st.integers(0, 1_000), st.sampled_from([2**63, 2**64, 2**100]))
SIGNED = st.one_of(st.integers(-1_000, 1_000), st.sampled_from([-(2**64), 2**100, -(2**100)]))
TIMES = st.one_of(st.integers(0, 2_000_000_000_000), st.just(2**63 - 1))
CURRENCIES = st.sampled_from([Currency(name) for name in ("USD", "EUR", "~" * 16, "!", "x")])
NAMES = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
ADDRESSES = st.sampled_from(["127.0.0.1:1", "[::1]:65535", "relay.example:4000", "a-b.c:80"])


def ascending(values):
    return st.dictionaries(CURRENCIES, values, max_size=3).map(lambda d: tuple(sorted(d.items())))


def tuples_of(items, most=3):
    return st.lists(items, max_size=most).map(tuple)


RELAYS = tuples_of(st.builds(RelayAddress, KEYS, ADDRESSES), 2)
SERVERS = tuples_of(st.builds(NamedAddress, KEYS, ADDRESSES, NAMES), 3)
ROUTES = st.lists(KEYS, max_size=4, unique=True).map(tuple)

# --- operations, tokens, terms ------------------------------------------------------------------


@st.composite
def requests(draw) -> RequestOp:
    payment = draw(PART)
    return request_op(
        draw(UIDS),
        draw(of(HashedLock)),
        draw(ROUTES),
        (payment, payment + draw(st.integers(0, 9)), draw(PART)),
        draw(of(InvoiceId)),
    )


def responses(request_id) -> st.SearchStrategy[ResponseOp]:
    return st.builds(
        response_op, request_id, of(HashedLock), st.booleans(), of(RandValue), of(Signature)
    )


BACKWARDS = st.one_of(
    responses(UIDS),
    st.builds(cancel_op, UIDS),
    st.builds(collect_op, UIDS, of(PlainLock), of(PlainLock)),
)
OPERATIONS = st.one_of(requests(), BACKWARDS)
MOVE_TOKENS = st.builds(
    MoveToken,
    of(Signature),
    st.dictionaries(CURRENCIES, st.lists(OPERATIONS, min_size=1, max_size=2), max_size=2).map(
        lambda d: tuple(CurrencyOperations(unit, tuple(ops)) for unit, ops in sorted(d.items()))
    ),
    st.none() | RELAYS,
    st.none() | st.sets(CURRENCIES).map(lambda s: tuple(sorted(s))),
    of(HashResult),
    of(RandValue),
    of(Signature),
)
COUNTERS = st.sampled_from([0, 1, 2**32, RESET_COUNTER_MAX])
MOVES = st.sampled_from([0, 1, 7, 2**64, U128_MAX])
TERMS = st.builds(ResetTerms, of(Signature), COUNTERS, ascending(SIGNED))
EVIDENCE = st.builds(
    MoveTokenHashed,
    of(HashResult),
    st.builds(
        TokenInfo,
        KEYS,
        KEYS,
        ascending(st.builds(BalanceInfo, SIGNED, CREDITS, CREDITS)),
        COUNTERS,
        MOVES,
    ),
    of(RandValue),
    of(Signature),
)

# --- friends ------------------------------------------------------------------------------------

ORIGINS = st.one_of(KEYS, of(PaymentId), st.none())
NEXTS = st.one_of(KEYS, of(InvoiceId), st.none())


@st.composite
def pending(draw, kind, links):
    entries = {}
    for request in draw(st.lists(requests(), max_size=2)):
        response = draw(st.none() | responses(st.just(request.request_id)))
        entries[request.request_id] = kind(request, draw(links), draw(TIMES), response)
    return entries


@st.composite
def ledgers(draw) -> Ledger:
    local = draw(pending(SentRequest, ORIGINS))
    remote = draw(pending(ReceivedRequest, NEXTS))
    return Ledger(
        draw(SIGNED),
        sum(entry.request.freeze for entry in local.values()),
        sum(entry.request.freeze for entry in remote.values()),
        local,
        remote,
    )


@st.composite
def channels(draw, friend: PublicKey):
    if draw(st.booleans()) and draw(st.booleans()):
        return Inconsistent(
            draw(TERMS), draw(st.none() | TERMS), draw(st.none() | EVIDENCE), draw(COUNTERS)
        )
    held = draw(st.dictionaries(CURRENCIES, ledgers(), max_size=2))
    local_only = draw(CURRENCIES)
    local = tuple(sorted({*held, local_only}))
    remote = tuple(sorted({*held, *draw(st.sets(CURRENCIES))} - ({local_only} - set(held))))
    direction = draw(
        st.one_of(
            st.builds(Incoming, EVIDENCE),
            st.builds(Outgoing, MOVE_TOKENS, st.none() | EVIDENCE, st.booleans()),
        )
    )
    numbers = (draw(COUNTERS), draw(MOVES))
    return TokenChannel(
        LOCAL, friend, direction, held, local, remote, *numbers, draw(st.none() | TERMS)
    )


def queues(items):
    return st.builds(Queue, st.lists(items, max_size=3), st.integers(0, 5))


QUEUED = st.builds(QueuedRequest, CURRENCIES, requests(), ORIGINS)
RATES = st.builds(Rate, st.sampled_from([0, 1, U32_MAX]), st.sampled_from([0, 5, U32_MAX]))
CONFIGS = st.builds(CurrencyConfig, RATES, CREDITS, st.booleans(), st.booleans())


@st.composite
def friends(draw, key: PublicKey) -> Friend:
    return Friend(
        key,
        draw(NAMES),
        draw(RELAYS),
        draw(channels(key)),
        draw(st.booleans()),
        draw(st.none() | st.builds(RelaysSent, RELAYS, st.none() | RELAYS)),
        draw(st.dictionaries(CURRENCIES, CONFIGS, max_size=2)),
        draw(queues(st.tuples(CURRENCIES, BACKWARDS))),
        draw(queues(QUEUED)),
        draw(queues(QUEUED)),
        draw(tuples_of(of(Signature), 8)),
        draw(st.booleans()),
        draw(ascending(CREDITS)),
    )


# --- payments and invoices ----------------------------------------------------------------------


def invoices(invoice_id):
    return st.builds(
        Invoice,
        invoice_id,
        CURRENCIES,
        KEYS,
        CREDITS,
        NAMES,
        st.sampled_from([0, 1_700_000_000, U64_MAX]),
        st.sampled_from([0, U64_MAX]),
        st.sampled_from([0, 2, 255]),
        st.none() | of(Signature),
    )


COMMITS = st.builds(
    Commit,
    of(HashResult),
    of(PlainLock),
    of(HashedLock),
    CREDITS,
    CREDITS,
    of(InvoiceId),
    CURRENCIES,
    of(Signature),
)
RECEIPTS = st.builds(
    Receipt,
    of(HashResult),
    of(InvoiceId),
    CURRENCIES,
    of(PlainLock),
    of(PlainLock),
    st.booleans(),
    CREDITS,
    CREDITS,
    of(Signature),
)


@st.composite
def payments(draw, payment_id: PaymentId) -> Payment:
    transactions = {}
    for request in draw(st.lists(requests(), max_size=3)):
        response = draw(st.none() | responses(st.just(request.request_id)))
        transactions[request.request_id] = Transaction(draw(KEYS), request, response)
    return Payment(
        payment_id,
        draw(of(InvoiceId)),
        draw(CURRENCIES),
        draw(CREDITS),
        draw(KEYS),
        draw(of(PlainLock)),
        draw(st.sampled_from(PaymentStage)),
        transactions,
        draw(st.none() | COMMITS),
        draw(st.none() | RECEIPTS),
        draw(st.none() | UIDS),
        draw(st.booleans()),
    )


PARTS = st.builds(PlannedPart, ROUTES, CREDITS, CREDITS)


def intents(intent_id: PaymentId):
    return st.builds(
        Intent,
        st.just(intent_id),
        invoices(of(InvoiceId)),
        CREDITS,
        st.none() | CREDITS,
        TIMES,
        st.sampled_from(PayStage),
        st.none() | st.sampled_from(PayFailure),
        st.none() | of(PaymentId),
        st.integers(0, 3),
        st.integers(0, 4),
        tuples_of(PARTS),
        st.dictionaries(UIDS, PARTS, max_size=2),
        tuples_of(st.tuples(KEYS, KEYS)),
        st.none() | COMMITS,
        st.none() | RECEIPTS,
        st.none() | TIMES,
        st.none() | st.builds(Cycle, st.none() | KEYS, st.none() | KEYS),
    )


@st.composite
def groups(draw) -> Group:
    members = {}
    for request_id in draw(st.lists(UIDS, max_size=2, unique=True)):
        friend = draw(KEYS)
        members[friend, request_id] = Member(
            friend, draw(CREDITS), draw(CREDITS), draw(responses(st.just(request_id)))
        )
    return Group(draw(of(PlainLock)), members, draw(st.booleans()))


def open_invoices(invoice_id: InvoiceId):
    return st.builds(
        OpenInvoice,
        invoices(st.just(invoice_id)),
        TIMES,
        st.none() | TIMES,
        st.dictionaries(of(HashedLock), groups(), max_size=2),
        st.none() | COMMITS,
    )


def closed_invoices(invoice_id: InvoiceId):
    return st.builds(ClosedInvoice, st.just(invoice_id), st.booleans(), st.none() | COMMITS)


# --- whole states -------------------------------------------------------------------------------


@st.composite
def _keyed(draw, keys, make, most=2):
    return {key: draw(make(key)) for key in draw(st.lists(keys, max_size=most, unique=True))}


PENALTIES = st.builds(Penalty, st.integers(1, PENALTY_POINTS), TIMES, CREDITS)


@st.composite
def states(draw) -> NodeState:
    held = draw(_keyed(KEYS, friends))
    return NodeState(
        LOCAL,
        draw(SERVERS),
        draw(SERVERS),
        held,
        draw(_keyed(of(PaymentId), payments)),
        draw(_keyed(of(PaymentId), intents)),
        draw(_keyed(of(InvoiceId), open_invoices)),
        draw(_keyed(of(InvoiceId), closed_invoices)),
        draw(st.dictionaries(st.tuples(CURRENCIES, KEYS, KEYS), PENALTIES, max_size=3)),
        derive_outgoing_ids(held.values()),
    )


RECORDS: st.SearchStrategy[Record] = st.one_of(
    st.builds(
        PaymentRecord,
        of(PaymentId),
        invoices(of(InvoiceId)),
        CREDITS,
        st.sampled_from(PayStage),
        st.none() | st.sampled_from(PayFailure),
        TIMES,
        TIMES,
        st.none() | RECEIPTS,
    ),
    st.builds(
        InvoiceRecord,
        invoices(of(InvoiceId)),
        st.booleans(),
        CREDITS,
        TIMES,
        TIMES,
        st.none() | COMMITS,
    ),
    st.builds(ForwardRecord, CURRENCIES, KEYS, KEYS, CREDITS, CREDITS, TIMES),
    st.builds(LossRecord, KEYS, CURRENCIES, CREDITS, TIMES),
    st.builds(ResetRecord, KEYS, ascending(SIGNED), TIMES),
)


# --- comparing ----------------------------------------------------------------------------------


def stored(state: NodeState) -> dict:
    """What a store must bring back, in its order too; the agenda is derived by the first step."""
    names = ("friends", "payments", "intents", "invoices", "closed_invoices")
    return {
        "key": state.local_public_key,
        "relays": state.relays,
        "index_servers": state.index_servers,
        "outgoing_ids": state.outgoing_ids,
        "penalties": sorted(state.penalties.items(), key=lambda item: item[0]),
        **{name: list(getattr(state, name).items()) for name in names},
    }
