"""Messages ⇄ bytes: msgpack arrays `[type, field…]` of fixed arity, one pair of functions per connection kind.

Decoding is total: any bytes become a valid message, None (types from 128 up may be ignored: extensions of
later versions) or a `DecodeError`. What a decoder returns obeys every limit of `values`. Encoding assumes
valid values and `decode(encode(m)) == m`; nothing is ever signed or hashed over these bytes.

| wire form | of |
|---|---|
| bin of exact size | keys, hashes, ids, tokens, signatures |
| bin, 16 bytes big-endian | credits (0 … 2^127−1); balances in two's complement (|x| ≤ 2^127−1) |
| bin | an operation, as its canonical bytes |
| str | currencies (R6), addresses (canonical form only) |
| int | counters (u64), everything else (u32 or the smaller range stated at the field) |

Floats, maps, extension types, booleans in place of integers, nil where nothing optional is meant, and
bytes after the message are refused. Arrays are capped before they are built: a header that claims many
elements would otherwise allocate them.

Source: PROTOCOL.md, "Friends", "Relays", "Index servers"; design R3, R10, R11.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, TypeAlias, TypeVar

import msgpack  # type: ignore[import-untyped, unused-ignore] # the package ships no types

from offset_engine.core.messages import (
    Accept,
    Alive,
    AliveNodes,
    Connect,
    CurrencyOperations,
    Edge,
    EdgeRemoved,
    Established,
    Forward,
    FriendMessage,
    Incoming,
    InconsistencyMessage,
    IndexClientMessage,
    IndexPeerMessage,
    IndexServerMessage,
    IndexUpdate,
    Info,
    InfoRequest,
    Listen,
    Listening,
    MoveToken,
    MoveTokenMessage,
    Mutation,
    Need,
    Part,
    PeerInfo,
    Reject,
    RelayMessage,
    ResetTerms,
    Resync,
    RouteChoice,
    RoutesRequest,
    RoutesResponse,
    SendFull,
    TimeHash,
    TokenWantedMessage,
    UpdateAck,
    parse_operation,
)
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    ALIVE_NODES_MAX,
    CHAIN_LINK_HASHES_MAX,
    CHAIN_LINKS_MAX,
    CREDITS_MAX,
    INDEX_EDGES_MAX,
    OPERATIONS_PER_TOKEN_MAX,
    RELAYS_MAX,
    RESET_COUNTER_MAX,
    ROUTE_CHOICES_MAX,
    ROUTE_EXCLUDED_MAX,
    ROUTE_KEYS_MAX,
    ROUTE_PARTS_MAX,
    U32_MAX,
    U64_MAX,
    Currency,
    FixedBytes,
    HashResult,
    PublicKey,
    RandValue,
    Rate,
    RelayAddress,
    Signature,
    Uid,
    parse_address,
)
from offset_engine.errors import DecodeError

EXTENSION_TYPE_MIN: Final = 128
"""Messages of this type and above are ignored by who does not know them."""
_U16_MAX: Final = 2**16 - 1
_HOPS_LEFT_MAX: Final = 255

_Fields: TypeAlias = tuple[object, ...]
_M = TypeVar("_M")
_B = TypeVar("_B", bound=FixedBytes)
_K = TypeVar("_K", Currency, tuple[PublicKey, Currency])
_Decoders: TypeAlias = Mapping[int, tuple[int, Callable[[_Fields], _M]]]
"""Message type → (number of fields with the type, reader of all of them)."""
_Encoders: TypeAlias = Mapping[type, Callable[[Any], _Fields]]

# One packer for all: it keeps nothing between calls but its buffer, and never gives up the
# interpreter lock inside a call (measured: 0.21 against 0.34 µs for a new one each time).
_pack: Final[Callable[[object], bytes]] = msgpack.Packer(use_bin_type=True).pack

# --- fields -------------------------------------------------------------------------------------


def _fixed(kind: type[_B], field: object) -> _B:
    if type(field) is not bytes or len(field) != kind.SIZE:
        raise DecodeError(f"a {kind.__name__} is not {kind.SIZE} bytes")
    return kind(field)


def _optional_key(field: object) -> PublicKey | None:
    return None if field is None else _fixed(PublicKey, field)


def _number(field: object, maximum: int, minimum: int = 0) -> int:
    # `type() is`: True and False are instances of int, too.
    if type(field) is not int or not minimum <= field <= maximum:
        raise DecodeError(f"a number is not within {minimum} to {maximum}")
    return field


def _flag(field: object) -> bool:
    if type(field) is not bool:
        raise DecodeError("a flag is neither true nor false")
    return field


def _credits(field: object) -> int:
    if type(field) is not bytes or len(field) != 16 or field[0] > 127:
        raise DecodeError("an amount is not 16 bytes of at most 2^127-1")
    return int.from_bytes(field, "big")


def _balance(field: object) -> int:
    if type(field) is not bytes or len(field) != 16:
        raise DecodeError("a balance is not 16 bytes")
    balance = int.from_bytes(field, "big", signed=True)
    if balance < -CREDITS_MAX:
        raise DecodeError("a balance is below -(2^127-1)")
    return balance


def _currency(field: object) -> Currency:
    if type(field) is not str:
        raise DecodeError("a currency is not text")
    try:
        return Currency.of(field)
    except ValueError as error:
        raise DecodeError(str(error)) from error


def _address(field: object) -> str:
    if type(field) is not str:
        raise DecodeError("an address is not text")
    try:
        canonical = parse_address(field)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    if canonical != field:
        raise DecodeError("an address is not in its canonical form")
    return field


def _list(field: object, items_max: int) -> _Fields:
    if type(field) is not tuple or len(field) > items_max:
        raise DecodeError(f"a list is missing or has more than {items_max} items")
    return field


def _record(field: object, arity: int) -> _Fields:
    if type(field) is not tuple or len(field) != arity:
        raise DecodeError(f"an entry does not have {arity} fields")
    return field


def _keys(field: object, keys_max: int) -> tuple[PublicKey, ...]:
    return tuple(_fixed(PublicKey, key) for key in _list(field, keys_max))


def _insist_ascending(keys: Sequence[_K]) -> None:
    if not all(low < high for low, high in pairwise(keys)):
        raise DecodeError("a list is not strictly ascending")


def _credits_bytes(amount: int) -> bytes:
    return amount.to_bytes(16, "big")


# --- whole messages -----------------------------------------------------------------------------


def _encode(message: object, encoders: _Encoders) -> bytes:
    return _pack(encoders[type(message)](message))


def _decode(data: bytes, decoders: _Decoders[_M], array_max: int) -> _M | None:
    try:
        fields = msgpack.unpackb(
            data, use_list=False, raw=False, max_array_len=array_max, max_map_len=0
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise DecodeError("a message is not one msgpack value within the limits") from error
    if type(fields) is not tuple or not fields or type(fields[0]) is not int:
        raise DecodeError("a message is not an array that begins with its type")
    kind = fields[0]
    known = decoders.get(kind)
    if known is None:
        if kind >= EXTENSION_TYPE_MIN:
            return None
        raise DecodeError("a message has an unknown type")
    arity, read = known
    if len(fields) != arity:
        raise DecodeError(f"a message of type {kind} does not have {arity} fields")
    return read(fields)


# --- friends (purpose 2) ------------------------------------------------------------------------


def encode_friend_message(message: FriendMessage) -> bytes:
    """Bytes of a message between friends: at most about 340 KiB."""
    return _encode(message, _FRIEND_ENCODERS)


def decode_friend_message(data: bytes) -> FriendMessage | None:
    """Read a message from a friend; None means an extension to ignore.

    Raises:
        DecodeError: malformed (the friend's fault): nothing of it may be applied.
    """
    return _decode(data, _FRIEND_DECODERS, OPERATIONS_PER_TOKEN_MAX)


def _from_move_token(message: MoveTokenMessage) -> _Fields:
    token = message.move_token
    body = (
        token.old_token,
        [
            (item.currency, [operation.raw for operation in item.operations])
            for item in token.currencies_operations
        ],
        None
        if token.local_relays is None
        else [(relay.public_key, relay.address) for relay in token.local_relays],
        token.active_currencies,
        token.info_hash,
        token.rand_nonce,
        token.new_token,
    )
    return (1, body, message.token_wanted)


def _from_terms(message: InconsistencyMessage) -> _Fields:
    terms = message.terms
    balances = [(name, value.to_bytes(16, "big", signed=True)) for name, value in terms.balances]
    return (2, (terms.reset_token, terms.inconsistency_counter, balances))


def _to_move_token(fields: _Fields) -> MoveTokenMessage:
    _, body, wanted = fields
    old_token, batches, relays, currencies, info_hash, nonce, new_token = _record(body, 7)
    token = MoveToken(
        _fixed(Signature, old_token),
        _to_batches(batches),
        None if relays is None else tuple(map(_to_relay, _list(relays, RELAYS_MAX))),
        None if currencies is None else _to_currencies(currencies),
        _fixed(HashResult, info_hash),
        _fixed(RandValue, nonce),
        _fixed(Signature, new_token),
    )
    return MoveTokenMessage(token, _flag(wanted))


def _to_batches(field: object) -> tuple[CurrencyOperations, ...]:
    batches = []
    count = 0
    for entry in _list(field, OPERATIONS_PER_TOKEN_MAX):
        currency, raws = _record(entry, 2)
        operations = []
        for raw in _list(raws, OPERATIONS_PER_TOKEN_MAX):
            if type(raw) is not bytes:
                raise DecodeError("an operation is not bytes")
            operations.append(parse_operation(raw))
        if not operations:
            raise DecodeError("a currency without operations")
        count += len(operations)
        batches.append(CurrencyOperations(_currency(currency), tuple(operations)))
    if count > OPERATIONS_PER_TOKEN_MAX:
        raise DecodeError(f"more than {OPERATIONS_PER_TOKEN_MAX} operations in one token")
    _insist_ascending([batch.currency for batch in batches])
    return tuple(batches)


def _to_relay(field: object) -> RelayAddress:
    public_key, address = _record(field, 2)
    return RelayAddress(_fixed(PublicKey, public_key), _address(address))


def _to_currencies(field: object) -> tuple[Currency, ...]:
    currencies = tuple(map(_currency, _list(field, ACTIVE_CURRENCIES_MAX)))
    _insist_ascending(currencies)
    return currencies


def _to_terms(fields: _Fields) -> InconsistencyMessage:
    reset_token, counter, entries = _record(fields[1], 3)
    pairs = [_record(entry, 2) for entry in _list(entries, ACTIVE_CURRENCIES_MAX)]
    balances = tuple((_currency(name), _balance(balance)) for name, balance in pairs)
    _insist_ascending([name for name, _ in balances])
    return InconsistencyMessage(
        ResetTerms(_fixed(Signature, reset_token), _number(counter, RESET_COUNTER_MAX), balances)
    )


_FRIEND_ENCODERS: Final[_Encoders] = {
    MoveTokenMessage: _from_move_token,
    InconsistencyMessage: _from_terms,
    TokenWantedMessage: lambda m: (3, m.new_token),
}
_FRIEND_DECODERS: Final[_Decoders[FriendMessage]] = {
    1: (3, _to_move_token),
    2: (2, _to_terms),
    3: (2, lambda f: TokenWantedMessage(_fixed(Signature, f[1]))),
}

# --- relays (purpose 1) -------------------------------------------------------------------------


def encode_relay_message(message: RelayMessage) -> bytes:
    """Bytes of a message between a relay and its client, below 256 bytes."""
    return _encode(message, _RELAY_ENCODERS)


def decode_relay_message(data: bytes) -> RelayMessage | None:
    """Read a message of a relay or its client, before ESTABLISHED; None means ignore it.

    Raises:
        DecodeError: malformed (the other end's fault).
    """
    return _decode(data, _RELAY_DECODERS, ROUTE_KEYS_MAX)


_RELAY_ENCODERS: Final[_Encoders] = {
    Listen: lambda m: (1, m.options),
    Connect: lambda m: (2, m.target),
    Accept: lambda m: (3, m.tunnel_id),
    Listening: lambda m: (10, m.tunnels_max, m.idle_hint_s),
    Incoming: lambda m: (11, m.tunnel_id, m.dialer),
    Reject: lambda m: (12, m.tunnel_id),
    Established: lambda _: (13,),
}
_RELAY_DECODERS: Final[_Decoders[RelayMessage]] = {
    1: (2, lambda f: Listen(_number(f[1], U32_MAX))),
    2: (2, lambda f: Connect(_fixed(PublicKey, f[1]))),
    3: (2, lambda f: Accept(_fixed(Uid, f[1]))),
    10: (3, lambda f: Listening(_number(f[1], _U16_MAX), _number(f[2], _U16_MAX))),
    11: (3, lambda f: Incoming(_fixed(Uid, f[1]), _fixed(PublicKey, f[2]))),
    12: (2, lambda f: Reject(_fixed(Uid, f[1]))),
    13: (1, lambda _: Established()),
}

# --- index: node to server (purpose 3) ----------------------------------------------------------


def encode_index_client_message(message: IndexClientMessage) -> bytes:
    """Bytes of a message from a node to an index server."""
    return _encode(message, _INDEX_CLIENT_ENCODERS)


def decode_index_client_message(data: bytes) -> IndexClientMessage | None:
    """Read a message of a node; None means an extension to ignore. Signatures are not checked.

    Raises:
        DecodeError: malformed (the node's fault).
    """
    return _decode(data, _INDEX_CLIENT_DECODERS, INDEX_EDGES_MAX)


def _from_mutation(mutation: Mutation) -> _Fields:
    if isinstance(mutation, EdgeRemoved):
        return (1, mutation.friend, mutation.currency)
    rate = mutation.rate
    capacity = _credits_bytes(mutation.recv_capacity)
    return (0, mutation.friend, mutation.currency, capacity, rate.mul, rate.add)


def _from_update(update: IndexUpdate) -> _Fields:
    return (
        update.node,
        update.session_id,
        update.counter,
        0 if update.is_full else 1,
        update.time_hash,
        update.rand_nonce,
        [_from_mutation(mutation) for mutation in update.mutations],
        update.signature,
    )


def _from_routes_request(request: RoutesRequest) -> _Fields:
    return (
        2,
        request.request_id,
        request.kind,
        request.currency,
        _credits_bytes(request.amount),
        request.dest,
        request.first_friend,
        request.last_friend,
        _credits_bytes(request.max_fee),
        request.max_parts,
        request.max_keys,
        request.exclude_edges,
        request.exclude_nodes,
    )


def _to_mutation(field: object) -> Mutation:
    entry = _list(field, 6)
    if len(entry) == 3 and _number(entry[0], 1) == 1:
        return EdgeRemoved(_fixed(PublicKey, entry[1]), _currency(entry[2]))
    tag, friend, currency, capacity, mul, add = _record(entry, 6)
    _number(tag, 0)
    return Edge(
        _fixed(PublicKey, friend),
        _currency(currency),
        _credits(capacity),
        Rate(_number(mul, U32_MAX), _number(add, U32_MAX)),
    )


def _to_update(fields: _Fields) -> IndexUpdate:
    node, session_id, counter, kind, time_hash, nonce, entries, signature = fields
    mutations = tuple(map(_to_mutation, _list(entries, INDEX_EDGES_MAX)))
    _insist_ascending([(mutation.friend, mutation.currency) for mutation in mutations])
    return IndexUpdate(
        _fixed(PublicKey, node),
        _fixed(Uid, session_id),
        _number(counter, U64_MAX),
        _number(kind, 1) == 0,
        _fixed(HashResult, time_hash),
        _fixed(RandValue, nonce),
        mutations,
        _fixed(Signature, signature),
    )


def _to_routes_request(fields: _Fields) -> RoutesRequest:
    _, request_id, kind, currency, amount, dest, first, last, fee, parts, keys, edges, nodes = (
        fields
    )
    pairs = [_record(pair, 2) for pair in _list(edges, ROUTE_EXCLUDED_MAX)]
    return RoutesRequest(
        _fixed(Uid, request_id),
        _number(kind, 2),
        _currency(currency),
        _credits(amount),
        _fixed(PublicKey, dest),
        _optional_key(first),
        _optional_key(last),
        _credits(fee),
        _number(parts, ROUTE_PARTS_MAX, 1),
        _number(keys, ROUTE_KEYS_MAX, 2),
        tuple((_fixed(PublicKey, src), _fixed(PublicKey, dst)) for src, dst in pairs),
        _keys(nodes, ROUTE_EXCLUDED_MAX),
    )


_INDEX_CLIENT_ENCODERS: Final[_Encoders] = {
    IndexUpdate: lambda m: (1, *_from_update(m)),
    RoutesRequest: _from_routes_request,
    InfoRequest: lambda _: (3,),
    Alive: lambda m: (4, m.session_id, m.counter),
}
_INDEX_CLIENT_DECODERS: Final[_Decoders[IndexClientMessage]] = {
    1: (9, lambda f: _to_update(f[1:])),
    2: (13, _to_routes_request),
    3: (1, lambda _: InfoRequest()),
    4: (3, lambda f: Alive(_fixed(Uid, f[1]), _number(f[2], U64_MAX))),
}

# --- index: server to node (purpose 3) ----------------------------------------------------------


def encode_index_server_message(message: IndexServerMessage) -> bytes:
    """Bytes of a message from an index server to a node."""
    return _encode(message, _INDEX_SERVER_ENCODERS)


def decode_index_server_message(data: bytes) -> IndexServerMessage | None:
    """Read a message of an index server; None means ignore it. Routes are not judged here.

    Raises:
        DecodeError: malformed (the server's fault).
    """
    return _decode(data, _INDEX_SERVER_DECODERS, ROUTE_KEYS_MAX)


def _from_choice(choice: RouteChoice) -> _Fields:
    parts = [
        (
            part.keys,
            _credits_bytes(part.amount),
            _credits_bytes(part.fee),
            _credits_bytes(part.capacity),
        )
        for part in choice.parts
    ]
    return (choice.label, parts)


def _from_routes_response(response: RoutesResponse) -> _Fields:
    return (
        3,
        response.request_id,
        response.code,
        _credits_bytes(response.reachable),
        response.graph_age_s,
        [_from_choice(choice) for choice in response.choices],
    )


def _to_part(field: object) -> Part:
    keys, amount, fee, capacity = _record(field, 4)
    return Part(_keys(keys, ROUTE_KEYS_MAX), _credits(amount), _credits(fee), _credits(capacity))


def _to_choice(field: object) -> RouteChoice:
    label, parts = _record(field, 2)
    return RouteChoice(_number(label, 2), tuple(map(_to_part, _list(parts, ROUTE_PARTS_MAX))))


def _to_routes_response(fields: _Fields) -> RoutesResponse:
    _, request_id, code, reachable, age, choices = fields
    return RoutesResponse(
        _fixed(Uid, request_id),
        _number(code, 5),
        _credits(reachable),
        _number(age, U32_MAX),
        tuple(map(_to_choice, _list(choices, ROUTE_CHOICES_MAX))),
    )


def _to_time_hash(fields: _Fields) -> TimeHash:
    return TimeHash(_fixed(HashResult, fields[1]), _number(fields[2], U32_MAX))


def _from_time_hash(message: TimeHash) -> _Fields:
    return (1, message.time_hash, message.period_ms)


def _to_update_ack(fields: _Fields) -> UpdateAck:
    _, session_id, counter, code = fields
    return UpdateAck(_fixed(Uid, session_id), _number(counter, U64_MAX), _number(code, 4))


def _from_info(message: Info) -> _Fields:
    counts = (message.nodes, message.edges, message.currencies)
    return (5, *counts, message.peers_up, message.peers_down, message.uptime_s)


_INDEX_SERVER_ENCODERS: Final[_Encoders] = {
    TimeHash: _from_time_hash,
    UpdateAck: lambda m: (2, m.session_id, m.counter, m.code),
    RoutesResponse: _from_routes_response,
    SendFull: lambda m: (4, m.resync_id, m.spread_ms),
    Info: _from_info,
}
_INDEX_SERVER_DECODERS: Final[_Decoders[IndexServerMessage]] = {
    1: (3, _to_time_hash),
    2: (4, _to_update_ack),
    3: (6, _to_routes_response),
    4: (3, lambda f: SendFull(_fixed(Uid, f[1]), _number(f[2], U32_MAX))),
    5: (7, lambda f: Info(*(_number(count, U32_MAX) for count in f[1:]))),
}

# --- index: between servers (purpose 4) ---------------------------------------------------------


def encode_index_peer_message(message: IndexPeerMessage) -> bytes:
    """Bytes of a message between index servers."""
    return _encode(message, _INDEX_PEER_ENCODERS)


def decode_index_peer_message(data: bytes) -> IndexPeerMessage | None:
    """Read a message of another index server; None means an extension to ignore.

    Raises:
        DecodeError: malformed (the other server's fault).
    """
    return _decode(data, _INDEX_PEER_DECODERS, ALIVE_NODES_MAX)


def _to_chain_link(field: object) -> tuple[HashResult, ...]:
    return tuple(_fixed(HashResult, one) for one in _list(field, CHAIN_LINK_HASHES_MAX))


def _to_forward(fields: _Fields) -> Forward:
    _, update, chain = fields
    links = tuple(map(_to_chain_link, _list(chain, CHAIN_LINKS_MAX)))
    return Forward(_to_update(_record(update, 8)), links)


def _to_alive_nodes(fields: _Fields) -> AliveNodes:
    entries = [_record(entry, 3) for entry in _list(fields[1], ALIVE_NODES_MAX)]
    return AliveNodes(
        tuple(
            (_fixed(PublicKey, node), _fixed(Uid, session_id), _number(counter, U64_MAX))
            for node, session_id, counter in entries
        )
    )


_INDEX_PEER_ENCODERS: Final[_Encoders] = {
    TimeHash: _from_time_hash,
    Forward: lambda m: (2, _from_update(m.update), m.chain),
    Resync: lambda m: (3, m.resync_id, m.hops_left),
    PeerInfo: lambda m: (4, m.nodes, m.edges),
    Need: lambda m: (5, m.node),
    AliveNodes: lambda m: (6, m.nodes),
}
_INDEX_PEER_DECODERS: Final[_Decoders[IndexPeerMessage]] = {
    1: (3, _to_time_hash),
    2: (3, _to_forward),
    3: (3, lambda f: Resync(_fixed(Uid, f[1]), _number(f[2], _HOPS_LEFT_MAX))),
    4: (3, lambda f: PeerInfo(_number(f[1], U32_MAX), _number(f[2], U32_MAX))),
    5: (2, lambda f: Need(_fixed(PublicKey, f[1]))),
    6: (2, _to_alive_nodes),
}
