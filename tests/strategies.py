"""Hypothesis strategies that build valid values; damaging them is the business of the tests."""

from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

from offset_engine.core import messages as m
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    RELAYS_MAX,
    RESET_COUNTER_MAX,
    ROUTE_KEYS_MAX,
    U32_MAX,
    U64_MAX,
    U128_MAX,
    Currency,
    FixedBytes,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    Signature,
    Uid,
    parse_address,
)

_B = TypeVar("_B", bound=FixedBytes)


def fixed(kind: type[_B]) -> st.SearchStrategy[_B]:
    """Any value of a fixed-size type; often one of few, so that equal ones meet."""
    few = st.integers(0, 3).map(lambda n: kind(bytes([n]) * kind.SIZE))
    return st.one_of(few, st.binary(min_size=kind.SIZE, max_size=kind.SIZE).map(kind))


public_keys = fixed(PublicKey)
uids = fixed(Uid)
hashes = fixed(HashResult)
signatures = fixed(Signature)
nonces = fixed(RandValue)
amounts = st.one_of(st.sampled_from([0, 1, CREDITS_MAX]), st.integers(0, CREDITS_MAX))
balances = st.one_of(
    st.sampled_from([-CREDITS_MAX, -1, 0, CREDITS_MAX]), st.integers(-CREDITS_MAX, CREDITS_MAX)
)
any_u128 = st.one_of(amounts, st.integers(0, U128_MAX))
u32 = st.integers(0, U32_MAX)
u64 = st.one_of(st.sampled_from([0, U64_MAX]), st.integers(0, U64_MAX))
rates = st.builds(Rate, u32, u32)
currencies = st.one_of(
    st.sampled_from(["USD", "EUR", "~"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=16),
).map(Currency)

_labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda ip: f"[{ip}]"),
    st.lists(_labels, min_size=1, max_size=3).map(lambda labels: ".".join([*labels, "net"])),
)
addresses = st.tuples(_hosts, st.integers(1, 65_535)).map(
    lambda pair: parse_address(f"{pair[0]}:{pair[1]}")
)
relay_addresses = st.builds(RelayAddress, public_keys, addresses)


def tuples_of(
    items: st.SearchStrategy[m.Operation], max_size: int, min_size: int = 0
) -> st.SearchStrategy[tuple[m.Operation, ...]]:
    """Operations in a tuple."""
    return st.lists(items, min_size=min_size, max_size=max_size).map(tuple)


# --- operations ---------------------------------------------------------------------------------

request_ops = st.builds(
    m.request_op,
    uids,
    fixed(HashedLock),
    st.lists(public_keys, max_size=ROUTE_KEYS_MAX).map(tuple),
    st.tuples(any_u128, any_u128, any_u128),
    fixed(InvoiceId),
)
response_ops = st.builds(m.response_op, uids, fixed(HashedLock), st.booleans(), nonces, signatures)
cancel_ops = st.builds(m.cancel_op, uids)
collect_ops = st.builds(m.collect_op, uids, fixed(PlainLock), fixed(PlainLock))
operations = st.one_of(cancel_ops, request_ops, response_ops, collect_ops)

# --- friends ------------------------------------------------------------------------------------

sorted_currencies = st.lists(currencies, unique=True, max_size=ACTIVE_CURRENCIES_MAX).map(
    lambda names: tuple(sorted(names))
)
currencies_operations = st.dictionaries(
    currencies, tuples_of(operations, 6, min_size=1), max_size=5
).map(lambda batches: tuple(m.CurrencyOperations(*item) for item in sorted(batches.items())))
move_tokens = st.builds(
    m.MoveToken,
    signatures,
    currencies_operations,
    st.none() | st.lists(relay_addresses, max_size=RELAYS_MAX).map(tuple),
    st.none() | sorted_currencies,
    hashes,
    nonces,
    signatures,
)
reset_terms = st.builds(
    m.ResetTerms,
    signatures,
    st.integers(0, RESET_COUNTER_MAX),
    st.dictionaries(currencies, balances, max_size=ACTIVE_CURRENCIES_MAX).map(
        lambda terms: tuple(sorted(terms.items()))
    ),
)
friend_messages: st.SearchStrategy[m.FriendMessage] = st.one_of(
    st.builds(m.TokenWantedMessage, signatures),
    st.builds(m.InconsistencyMessage, reset_terms),
    st.builds(m.MoveTokenMessage, move_tokens, st.booleans()),
)

# --- relays -------------------------------------------------------------------------------------

_u16 = st.integers(0, 65_535)
relay_messages: st.SearchStrategy[m.RelayMessage] = st.one_of(
    st.just(m.Established()),
    st.builds(m.Listen, u32),
    st.builds(m.Connect, public_keys),
    st.builds(m.Accept, uids),
    st.builds(m.Listening, _u16, _u16),
    st.builds(m.Incoming, uids, public_keys),
    st.builds(m.Reject, uids),
)

# --- index --------------------------------------------------------------------------------------


def _mutation(key: tuple[PublicKey, Currency], body: tuple[int, Rate] | None) -> m.Mutation:
    return m.EdgeRemoved(*key) if body is None else m.Edge(*key, *body)


mutations = st.dictionaries(
    st.tuples(public_keys, currencies), st.none() | st.tuples(amounts, rates), max_size=8
).map(lambda found: tuple(_mutation(key, found[key]) for key in sorted(found)))
index_updates = st.builds(
    m.IndexUpdate,
    public_keys,
    uids,
    u64,
    st.booleans(),
    hashes,
    nonces,
    mutations,
    signatures,
)
routes_requests = st.builds(
    m.RoutesRequest,
    request_id=uids,
    kind=st.integers(0, 2),
    currency=currencies,
    amount=amounts,
    dest=public_keys,
    first_friend=st.none() | public_keys,
    last_friend=st.none() | public_keys,
    max_fee=amounts,
    max_parts=st.integers(1, 32),
    max_keys=st.integers(2, 32),
    exclude_edges=st.lists(st.tuples(public_keys, public_keys), max_size=64).map(tuple),
    exclude_nodes=st.lists(public_keys, max_size=64).map(tuple),
)
index_client_messages: st.SearchStrategy[m.IndexClientMessage] = st.one_of(
    st.just(m.InfoRequest()),
    st.builds(m.Alive, uids, u64),
    routes_requests,
    index_updates,
)
parts = st.builds(m.Part, st.lists(public_keys, max_size=32).map(tuple), amounts, amounts, amounts)
route_choices = st.builds(m.RouteChoice, st.integers(0, 2), st.lists(parts, max_size=4).map(tuple))
routes_responses = st.builds(
    m.RoutesResponse,
    uids,
    st.integers(0, 4),
    amounts,
    u32,
    st.lists(route_choices, max_size=3).map(tuple),
)
time_hashes = st.builds(m.TimeHash, hashes, u32)
index_server_messages: st.SearchStrategy[m.IndexServerMessage] = st.one_of(
    time_hashes,
    st.builds(m.UpdateAck, uids, u64, st.integers(0, 4)),
    st.builds(m.SendFull, uids, u32),
    st.builds(m.Info, u32, u32, u32, u32, u32, u32),
    routes_responses,
)
index_peer_messages: st.SearchStrategy[m.IndexPeerMessage] = st.one_of(
    time_hashes,
    st.builds(m.Resync, uids, st.integers(0, 255)),
    st.builds(m.PeerInfo, u32, u32),
    st.builds(m.Need, public_keys),
    st.builds(m.AliveNodes, st.lists(st.tuples(public_keys, uids, u64), max_size=20).map(tuple)),
    st.builds(
        m.Forward,
        index_updates,
        st.lists(st.lists(hashes, max_size=5).map(tuple), max_size=16).map(tuple),
    ),
)

# --- bytes --------------------------------------------------------------------------------------


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at the given places (taken modulo its length)."""
    borders = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[low:high] for low, high in pairwise(borders)]


def damaged(data: bytes, place: int, change: int) -> bytes:
    """`data` (not empty) with the byte at `place` (modulo) changed by xor with 1 to 255."""
    place %= len(data)
    return data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]
