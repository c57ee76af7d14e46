"""What the codec accepts, refuses and writes, byte by byte."""

import typing
from collections.abc import Callable

import msgpack
import pytest

from offset_engine.core import codec, messages
from offset_engine.core.messages import (
    AliveNodes,
    CurrencyOperations,
    Edge,
    EdgeRemoved,
    Established,
    Forward,
    InconsistencyMessage,
    IndexUpdate,
    MoveToken,
    MoveTokenMessage,
    Part,
    ResetTerms,
    RouteChoice,
    RoutesRequest,
    RoutesResponse,
    TokenWantedMessage,
    cancel_op,
    request_op,
)
from offset_engine.core.signing import prefix_hash
from offset_engine.core.values import (
    CREDITS_MAX,
    RESET_COUNTER_MAX,
    U64_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    Signature,
    Uid,
)
from offset_engine.errors import DecodeError
from tests.covers import covers

KEY = PublicKey(b"k" * 32)
OTHER = PublicKey(b"o" * 32)
UID = Uid(b"u" * 16)
HASH = HashResult(b"h" * 32)
NONCE = RandValue(b"n" * 16)
SIGNATURE = Signature(b"s" * 64)
CANCEL = cancel_op(UID)
USD, EUR = Currency("USD"), Currency("EUR")
ONE = (1).to_bytes(16, "big")


def token_bytes(
    batches: object = (),
    relays: object = None,
    currencies: object = None,
    wanted: object = False,
    **other: object,
) -> bytes:
    body = [
        other.get("old_token", SIGNATURE),
        batches,
        relays,
        currencies,
        other.get("info_hash", HASH),
        other.get("rand_nonce", NONCE),
        other.get("new_token", SIGNATURE),
    ]
    return msgpack.packb([1, body, wanted])


def routes_bytes(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "type": 2,
        "request_id": UID,
        "kind": 0,
        "currency": "USD",
        "amount": ONE,
        "dest": KEY,
        "first": None,
        "last": None,
        "max_fee": ONE,
        "max_parts": 1,
        "max_keys": 2,
        "edges": [],
        "nodes": [],
    }
    return msgpack.packb(list((fields | changes).values()))


def refused(decode: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data)


DECODERS = [
    codec.decode_friend_message,
    codec.decode_relay_message,
    codec.decode_index_client_message,
    codec.decode_index_server_message,
    codec.decode_index_peer_message,
]


def test_writes_a_move_token_as_nested_arrays() -> None:
    token = MoveToken(
        SIGNATURE,
        (CurrencyOperations(USD, (CANCEL,)),),
        (RelayAddress(KEY, "relay.example.net:443"),),
        (EUR, USD),
        HASH,
        NONCE,
        Signature(b"t" * 64),
    )
    data = codec.encode_friend_message(MoveTokenMessage(token, token_wanted=True))
    assert msgpack.unpackb(data) == [
        1,
        [
            b"s" * 64,
            [["USD", [b"\x02" + b"u" * 16]]],
            [[b"k" * 32, "relay.example.net:443"]],
            ["EUR", "USD"],
            b"h" * 32,
            b"n" * 16,
            b"t" * 64,
        ],
        True,
    ]
    assert codec.decode_friend_message(data) == MoveTokenMessage(token, token_wanted=True)


def test_short_messages_have_these_exact_bytes() -> None:
    assert codec.encode_relay_message(Established()).hex() == "910d"
    assert codec.encode_relay_message(messages.Listening(64, 15)).hex() == "930a400f"
    wanted = codec.encode_friend_message(TokenWantedMessage(SIGNATURE))
    assert wanted == b"\x92\x03\xc4\x40" + b"s" * 64
    assert codec.encode_index_client_message(messages.InfoRequest()).hex() == "9103"


def test_balances_travel_in_twos_complement() -> None:
    terms = ResetTerms(SIGNATURE, 7, ((EUR, -1), (USD, CREDITS_MAX)))
    data = codec.encode_friend_message(InconsistencyMessage(terms))
    assert msgpack.unpackb(data)[1][2] == [["EUR", b"\xff" * 16], ["USD", b"\x7f" + b"\xff" * 15]]
    assert codec.decode_friend_message(data) == InconsistencyMessage(terms)


@pytest.mark.parametrize(
    "union",
    ["Friend", "Relay", "IndexClient", "IndexServer", "IndexPeer"],
)
def test_every_message_of_each_union_has_an_encoder_and_a_decoder(union: str) -> None:
    kinds = set(typing.get_args(getattr(messages, f"{union}Message")))
    name = union.replace("Index", "_Index_").upper()
    name = "_" + name.lstrip("_")
    assert set(getattr(codec, f"{name}_ENCODERS")) == kinds
    assert len(getattr(codec, f"{name}_DECODERS")) == len(kinds)


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\x80",
        b"\x0d",
        b"\xa1\xff",
        b"\x91\xc0",
        b"\x91\xc3",
        b"\x91\xcb" + bytes(8),
        b"\x91\xff",
        b"\x91\x64",
        b"\x91\x0d\x00",
        b"\x91\x81\x01\x02",
        b"\x91\xd6\xff" + bytes(4),
        b"\x92\x80\x80",
        b"\x91" * 2_000,
    ],
    ids=bytes.hex,
)
def test_refuses_what_is_no_message_of_any_kind(
    decode: Callable[[bytes], object], data: bytes
) -> None:
    refused(decode, data)


@pytest.mark.parametrize("decode", DECODERS)
def test_ignores_extensions_but_only_well_formed_ones(decode: Callable[[bytes], object]) -> None:
    assert decode(msgpack.packb([128])) is None
    assert decode(msgpack.packb([2**63, "later", [None, 1.5]])) is None
    refused(decode, msgpack.packb([128]) + b"\x00")
    refused(decode, msgpack.packb([128, {"a": 1}]))


@pytest.mark.parametrize("decode", DECODERS)
def test_nested_headers_that_claim_millions_of_elements_allocate_nothing(
    decode: Callable[[bytes], object],
) -> None:
    refused(decode, b"\xdd\x00\x01\x00\x00" * 100_000)
    refused(decode, b"\xdc\x03\xe8" * 1_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"old_token": b"s" * 63},
        {"info_hash": "h" * 32},
        {"rand_nonce": None},
        {"new_token": b"s" * 65},
        {"wanted": 1},
        {"wanted": None},
        {"batches": None},
        {"batches": [["USD", []]]},
        {"batches": [["USD"]]},
        {"batches": [["USD", [CANCEL.raw], 1]]},
        {"batches": [["USD", [CANCEL.raw.decode()]]]},
        {"batches": [["USD", [CANCEL.raw + b"\x00"]]]},
        {"batches": [["", [CANCEL.raw]]]},
        {"batches": [["U D", [CANCEL.raw]]]},
        {"batches": [["Ü", [CANCEL.raw]]]},
        {"batches": [["U\x7f", [CANCEL.raw]]]},
        {"batches": [[b"USD", [CANCEL.raw]]]},
        {"batches": [["A" * 17, [CANCEL.raw]]]},
        {"relays": [[KEY, "10.0.0.1"]]},
        {"relays": [[KEY, "RELAY.example:1"]]},
        {"relays": [[KEY, "relay.example.:1"]]},
        {"relays": [[KEY, "[0::1]:1"]]},
        {"relays": [[KEY, b"10.0.0.1:1"]]},
        {"relays": [[KEY]]},
        {"relays": {}},
        {"currencies": [1]},
        {"currencies": "USD"},
    ],
    ids=repr,
)
def test_refuses_a_move_token_with_one_wrong_field(wrong: dict[str, object]) -> None:
    assert codec.decode_friend_message(token_bytes()) is not None
    refused(codec.decode_friend_message, token_bytes(**wrong))


@covers("PT59")
def test_refuses_what_is_beyond_the_limits_of_a_move_token() -> None:
    decode = codec.decode_friend_message
    raw = CANCEL.raw
    relay = [KEY, "10.0.0.1:1"]
    names = [f"C{number:02}" for number in range(65)]

    assert decode(token_bytes([["EUR", [raw] * 100], ["USD", [raw] * 156]])) is not None
    refused(decode, token_bytes([["USD", [raw] * 257]]))
    refused(decode, token_bytes([["EUR", [raw] * 100], ["USD", [raw] * 157]]))

    assert decode(token_bytes(currencies=names[:64])) is not None
    refused(decode, token_bytes(currencies=names))
    refused(decode, token_bytes(currencies=["USD", "EUR"]))
    refused(decode, token_bytes(currencies=["EUR", "EUR"]))
    refused(decode, token_bytes([["USD", [raw]], ["EUR", [raw]]]))
    refused(decode, token_bytes([["EUR", [raw]], ["EUR", [raw]]]))

    assert decode(token_bytes(relays=[relay] * 16)) is not None
    refused(decode, token_bytes(relays=[relay] * 17))
    label = "a" * 61 + "."
    too_long = label * 4 + "aaa:65535"
    assert len(too_long) == 257
    refused(decode, token_bytes(relays=[[KEY, too_long]]))
    assert decode(token_bytes(relays=[[KEY, too_long[1:]]])) is not None


@covers("PT53")
def test_recut_contents_decode_to_tokens_of_another_hash() -> None:
    def token_of(data: bytes) -> MoveToken:
        message = codec.decode_friend_message(data)
        assert isinstance(message, MoveTokenMessage)
        return message.move_token

    def hash_of(token: MoveToken) -> bytes:
        return prefix_hash(
            token.old_token,
            token.currencies_operations,
            token.local_relays,
            token.active_currencies,
        )

    currencies = [token_of(token_bytes(currencies=c)) for c in (["AB", "C"], ["A", "BC"])]
    assert hash_of(currencies[0]) != hash_of(currencies[1])

    key_in_text = b"1" * 31 + b":"
    relays = [
        [[KEY, "a.b:11"], [key_in_text, "cc.d:1"]],
        [[KEY, "a.b:111"], [b"1" * 30 + b":c", "c.d:1"]],
    ]
    whole = [b"".join(key + text.encode() for key, text in relay) for relay in relays]
    assert whole[0] == whole[1]
    tokens = [token_of(token_bytes(relays=r)) for r in relays]
    assert hash_of(tokens[0]) != hash_of(tokens[1])
    # An address that swallowed bytes of the next key is no address at all.
    refused(codec.decode_friend_message, token_bytes(relays=[[KEY, "a.b:11" + "1" * 31]]))


def test_a_request_keeps_its_exact_bytes() -> None:
    operation = request_op(UID, HashedLock(HASH), (KEY,), (5, 5, 1), InvoiceId(HASH))
    data = token_bytes([["USD", [operation.raw]]])
    message = codec.decode_friend_message(data)
    assert isinstance(message, MoveTokenMessage)
    (batch,) = message.move_token.currencies_operations
    assert batch == CurrencyOperations(USD, (operation,))
    assert type(batch.operations[0]) is messages.RequestOp
    assert batch.operations[0].raw == operation.raw


@pytest.mark.parametrize(
    "terms",
    [
        [SIGNATURE, RESET_COUNTER_MAX + 1, []],
        [SIGNATURE, -1, []],
        [SIGNATURE, True, []],
        [SIGNATURE, 1.0, []],
        [SIGNATURE, 1, [["USD", b"\x80" + bytes(15)]]],
        [SIGNATURE, 1, [["USD", bytes(15)]]],
        [SIGNATURE, 1, [["USD", 5]]],
        [SIGNATURE, 1, [["USD", ONE], ["EUR", ONE]]],
        [SIGNATURE, 1, [["USD", ONE], ["USD", ONE]]],
        [SIGNATURE, 1, [[f"C{n:02}", ONE] for n in range(65)]],
        [SIGNATURE, 1],
    ],
    ids=str,
)
def test_refuses_impossible_reset_terms(terms: list[object]) -> None:
    refused(codec.decode_friend_message, msgpack.packb([2, terms]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": 3},
        {"kind": False},
        {"currency": ""},
        {"amount": b"\x80" + bytes(15)},
        {"amount": 1},
        {"dest": None},
        {"first": b""},
        {"max_fee": bytes(17)},
        {"max_parts": 0},
        {"max_parts": 33},
        {"max_keys": 1},
        {"max_keys": 33},
        {"edges": [[KEY]]},
        {"edges": [[KEY, KEY]] * 65},
        {"nodes": [KEY] * 65},
        {"nodes": None},
    ],
    ids=str,
)
def test_refuses_a_route_question_with_one_wrong_field(wrong: dict[str, object]) -> None:
    assert isinstance(codec.decode_index_client_message(routes_bytes()), RoutesRequest)
    refused(codec.decode_index_client_message, routes_bytes(**wrong))


def update_fields(mutations: object, kind: object = 0, counter: object = 0) -> list[object]:
    return [KEY, UID, counter, kind, HASH, NONCE, mutations, SIGNATURE]


def test_an_index_update_names_its_edges_in_order_and_once() -> None:
    edge = [0, KEY, "USD", ONE, 2, 3]
    removed = [1, OTHER, "EUR"]
    data = msgpack.packb([1, *update_fields([edge, removed], 1, U64_MAX)])
    update = codec.decode_index_client_message(data)
    edges = (Edge(KEY, USD, 1, Rate(2, 3)), EdgeRemoved(OTHER, EUR))
    assert update == IndexUpdate(KEY, UID, U64_MAX, False, HASH, NONCE, edges, SIGNATURE)
    assert codec.encode_index_client_message(update) == data


@pytest.mark.parametrize(
    ("mutations", "kind", "counter"),
    [
        ([[1, OTHER, "EUR"], [1, KEY, "EUR"]], 0, 0),
        ([[1, KEY, "EUR"], [0, KEY, "EUR", ONE, 0, 0]], 0, 0),
        ([[0, KEY, "EUR"]], 0, 0),
        ([[1, KEY, "EUR", ONE, 0, 0]], 0, 0),
        ([[2, KEY, "EUR"]], 0, 0),
        ([[0, KEY, "EUR", ONE, 2**32, 0]], 0, 0),
        ([[0, KEY, "EUR", b"\xff" * 16, 0, 0]], 0, 0),
        ([[1, KEY, "A\x00"]], 0, 0),
        ([[1, bytes([n >> 8, n & 255]) * 16, "EUR"] for n in range(513)], 0, 0),
        ([], 2, 0),
        ([], True, 0),
        ([], 0, -1),
    ],
)
def test_refuses_an_impossible_index_update(mutations: object, kind: object, counter: int) -> None:
    fields = update_fields(mutations, kind, counter)
    refused(codec.decode_index_client_message, msgpack.packb([1, *fields]))
    refused(codec.decode_index_peer_message, msgpack.packb([2, fields, []]))


def test_route_answers_are_limited_in_every_dimension() -> None:
    part = [[KEY, OTHER], ONE, ONE, ONE]

    def answer(choices: object, code: int = 0) -> bytes:
        return msgpack.packb([3, UID, code, ONE, 5, choices])

    decode = codec.decode_index_server_message
    expected = RouteChoice(2, (Part((KEY, OTHER), 1, 1, 1),) * 32)
    assert decode(answer([[2, [part] * 32]] * 3)) == RoutesResponse(UID, 0, 1, 5, (expected,) * 3)
    refused(decode, answer([[0, []]] * 4))
    refused(decode, answer([[3, []]]))
    refused(decode, answer([[0, [part] * 33]]))
    refused(decode, answer([[0, [[[KEY] * 33, ONE, ONE, ONE]]]]))
    refused(decode, answer([], code=6))
    refused(decode, answer(None))


def test_chains_and_alive_lists_are_limited() -> None:
    decode = codec.decode_index_peer_message
    update = IndexUpdate(KEY, UID, 0, True, HASH, NONCE, (), SIGNATURE)

    def forward(chain: object) -> bytes:
        return msgpack.packb([2, update_fields([]), chain])

    assert decode(forward([[HASH] * 128] * 16)) == Forward(update, ((HASH,) * 128,) * 16)
    refused(decode, forward([[HASH]] * 17))
    refused(decode, forward([[HASH] * 129]))
    refused(decode, msgpack.packb([2, [1, *update_fields([])], []]))

    alive = AliveNodes(((KEY, UID, U64_MAX),) * 1_000)
    data = codec.encode_index_peer_message(alive)
    assert decode(data) == alive
    refused(decode, msgpack.packb([6, [[KEY, UID, 0]] * 1_001]))


def test_the_largest_messages_fit_their_connections() -> None:
    keys = (KEY,) * 32
    operation = request_op(UID, HashedLock(HASH), keys, (1, 1, 1), InvoiceId(HASH))
    address = "a" * 62 + "." + "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + ":65535"
    token = MoveToken(
        SIGNATURE,
        (CurrencyOperations(USD, (operation,) * 256),),
        (RelayAddress(KEY, address),) * 16,
        tuple(Currency(f"CURRENCY{n:08}") for n in range(64)),
        HASH,
        NONCE,
        SIGNATURE,
    )
    assert len(codec.encode_friend_message(MoveTokenMessage(token, True))) <= 512 * 1024
    choice = RouteChoice(0, (Part(keys, CREDITS_MAX, CREDITS_MAX, CREDITS_MAX),) * 32)
    answer = RoutesResponse(UID, 0, CREDITS_MAX, 2**32 - 1, (choice,) * 3)
    assert len(codec.encode_index_server_message(answer)) <= 256 * 1024
    friends = [PublicKey(bytes([n >> 8, n & 255]) * 16) for n in range(512)]
    edges = tuple(Edge(f, Currency("C" * 16), CREDITS_MAX, Rate(2**32 - 1)) for f in friends)
    update = IndexUpdate(KEY, UID, U64_MAX, True, HASH, NONCE, edges, SIGNATURE)
    assert len(codec.encode_index_client_message(update)) <= 64 * 1024
    forward = Forward(update, ((HASH,) * 128,) * 16)
    assert len(codec.encode_index_peer_message(forward)) <= 256 * 1024
