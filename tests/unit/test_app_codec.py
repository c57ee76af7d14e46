"""App messages ⇄ bytes: round trips, totality, every limit, and what may not be sent."""

import contextlib
import typing

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_engine.core import api, app_codec, reports
from offset_engine.core import app_messages as m
from offset_engine.core.app_codec import (
    decode_app_message,
    decode_node_message,
    encode_app_message,
    encode_node_message,
)
from offset_engine.core.payer import PayStage
from offset_engine.core.signing import Invoice, Receipt
from offset_engine.core.values import (
    CREDITS_MAX,
    ROUTE_PARTS_MAX,
    Currency,
    HashResult,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PlainLock,
    PublicKey,
    Rate,
    RelayAddress,
    Signature,
    Uid,
)
from offset_engine.errors import DecodeError
from tests.covers import covers
from tests.strategies import damaged
from tests.unit.app_samples import app_messages_any, node_messages_any

KEY = PublicKey(b"k" * 32)
USD = Currency("USD")


@covers("APS-04", "APS-12")
@given(app_messages_any)
def test_what_an_app_says_arrives_as_it_was(message: m.AppMessage) -> None:
    assert decode_app_message(encode_app_message(message)) == message


@given(node_messages_any)
def test_what_a_node_says_arrives_as_it_was(message: m.NodeMessage) -> None:
    assert decode_node_message(encode_node_message(message)) == message


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=6),
)


@pytest.mark.parametrize("decode", [decode_app_message, decode_node_message])
@given(st.binary(max_size=64) | JUNK.map(msgpack.packb) | st.floats().map(msgpack.packb))
def test_any_bytes_are_a_message_or_refused(
    decode: typing.Callable[[bytes], object], data: bytes
) -> None:
    with contextlib.suppress(DecodeError):
        decode(data)


@given(app_messages_any, st.integers(0), st.integers(1, 255))
def test_a_damaged_byte_is_another_message_or_refused(
    message: m.AppMessage, place: int, change: int
) -> None:
    data = damaged(encode_app_message(message), place, change)
    try:
        found = decode_app_message(data)
    except DecodeError:
        return
    assert found is None or decode_app_message(encode_app_message(found)) == found


@given(node_messages_any, st.integers(0, 200))
def test_a_cut_message_is_refused(message: m.NodeMessage, size: int) -> None:
    data = encode_node_message(message)
    with pytest.raises(DecodeError):
        decode_node_message(data[: min(size, len(data) - 1)])


def test_every_kind_has_its_own_number_within_every_union() -> None:
    unions = (api.Command | api.Batch | m.Question, api.Notice, reports.Record, m.Answer)
    for union in (*unions, m.AppMessage, m.NodeMessage):
        kinds = typing.get_args(union)
        assert len({app_codec.TAGS[kind] for kind in kinds}) == len(kinds)


# --- what may be said ---------------------------------------------------------------------------

FRIEND = api.AddFriend(KEY, (RelayAddress(KEY, "relay.example:1"),), "x")
OUT_OF_RANGE = [
    (api.SetFriendCurrencyMaxDebt(KEY, USD, -1), OverflowError),
    (api.SetFriendCurrencyMaxDebt(KEY, USD, CREDITS_MAX + 1), OverflowError),
    (api.SetFriendCurrencyRate(KEY, USD, Rate(2**32, 0)), ValueError),
    (api.SetFriendCurrencyMaxDebt(KEY, Currency("A B"), 1), ValueError),
    (api.SetFriendCurrencyMaxDebt(KEY, Currency(""), 1), ValueError),
    (api.SetFriendName(KEY, "ä" * 65), ValueError),
    (api.SetFriendName(KEY, "\ud800"), ValueError),
    (api.AddRelay(NamedAddress(KEY, "RELAY.example:1")), ValueError),
    (api.AddRelay(NamedAddress(KEY, "nowhere")), ValueError),
    (api.AddFriend(KEY, FRIEND.relays * 17, "x"), ValueError),
    (api.EnableFriend(PublicKey(b"short")), ValueError),
    (api.Batch((FRIEND,) * 257), ValueError),
    (api.RequestRoutes(Uid(bytes(16)), USD, 1, KEY, ((KEY, KEY),) * 65), ValueError),
    (m.SignInvoice(USD, 1, "x" * 256, None, None), ValueError),
    (m.SignInvoice(USD, 1, "", -1, None), ValueError),
    (m.SignInvoice(USD, 1, "", None, 256), ValueError),
]


@pytest.mark.parametrize(("what", "error"), OUT_OF_RANGE)
def test_what_is_out_of_range_is_not_sent(what: typing.Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        encode_app_message(m.Request(1, what))


def wire(message: m.AppMessage) -> list[typing.Any]:
    found = msgpack.unpackb(encode_app_message(message))
    assert isinstance(found, list)
    return found


def refused(fields: object) -> None:
    with pytest.raises(DecodeError):
        decode_app_message(msgpack.packb(fields))


def test_what_is_out_of_range_is_refused_by_the_reader_too() -> None:
    limit = wire(m.Request(1, api.SetFriendCurrencyMaxDebt(KEY, USD, 5)))
    assert limit == [2, 1, [12, bytes(KEY), "USD", (5).to_bytes(16, "big")]]
    for place, bad in (
        (1, bytes(31)),
        (1, "k" * 32),
        (2, "U D"),
        (2, b"USD"),
        (3, b"\x80" + bytes(15)),
        (3, 5),
        (3, None),
    ):
        what = [*limit[2]]
        what[place] = bad
        refused([2, 1, what])
    refused([2, 1, limit[2][:-1]])
    refused([2, 1, [*limit[2], 0]])
    refused([2, 1, [33, bytes(KEY)]])
    refused([2, 1, []])
    refused([2, True, limit[2]])
    refused([2, -1, limit[2]])
    refused([2, 1.0, limit[2]])
    refused([3, 1])
    refused([])
    refused({})
    refused(7)
    with pytest.raises(DecodeError):
        decode_app_message(encode_app_message(m.Hello()) + b"\x00")


def test_a_batch_holds_commands_only() -> None:
    inner = wire(m.Request(1, api.EnableFriend(KEY)))[2]
    assert decode_app_message(msgpack.packb([2, 1, [63, [inner]]])) == m.Request(
        1, api.Batch((api.EnableFriend(KEY),))
    )
    refused([2, 1, [63, [[63, [inner]]]]])
    refused([2, 1, [63, [[64, None, 0, False]]]])
    refused([2, 1, [63, [inner] * 257]])


def test_a_type_of_a_later_version_is_ignored() -> None:
    assert decode_app_message(msgpack.packb([128, "anything"])) is None
    assert decode_node_message(msgpack.packb([200])) is None
    refused([127])


INVOICE = Invoice(InvoiceId(bytes(32)), USD, KEY, 1, "x" * 255, 1, 2, 2, Signature(bytes(64)))
LOCK = PlainLock(bytes(32))
RECEIPT = Receipt(
    HashResult(LOCK), INVOICE.invoice_id, USD, LOCK, LOCK, True, 1, 1, Signature(bytes(64))
)


def test_the_largest_page_of_each_kind_fits_into_a_message() -> None:
    report = reports.PayReport(
        PaymentId(bytes(16)),
        INVOICE,
        PayStage.PAID,
        None,
        CREDITS_MAX,
        CREDITS_MAX,
        32,
        False,
        None,
        RECEIPT,
        2**63,
        2**63,
        (reports.PartReport(KEY, 30, CREDITS_MAX, CREDITS_MAX),) * ROUTE_PARTS_MAX,
    )
    page = m.PayPage((report,) * m.APP_PAGE_MAX, is_last=True)
    assert len(encode_node_message(m.Result(1, None, "", page))) < 2**20
