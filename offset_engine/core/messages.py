"""Every message that crosses a wire, as values and closed unions; how they become bytes is `codec`'s business.

The four ledger operations are the exception: they carry their canonical bytes (`raw`), because those
are hashed, sent and stored exactly as they are. An operation is `tag(1) ‖ body`, integers big-endian:

| operation | tag | body |
|---|---|---|
| Request | 00 | request_id16 ‖ src_hashed_lock32 ‖ u64 n ‖ n × key32 ‖ AMOUNTS |
| Response | 01 | request_id16 ‖ dest_hashed_lock32 ‖ is_complete1 ‖ rand_nonce16 ‖ signature64 |
| Cancel | 02 | request_id16 |
| Collect | 03 | request_id16 ‖ src_plain_lock32 ‖ dest_plain_lock32 |

AMOUNTS = dest_payment16 ‖ total_dest_payment16 ‖ invoice_id32 ‖ left_fees16; amounts are credits (u128).

Source: PROTOCOL.md, "Friends", "Relays", "Index servers".
"""

import struct
from typing import Final, TypeAlias

from offset_engine.core.values import (
    Currency,
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
    value,
)
from offset_engine.errors import DecodeError

# --- operations ---------------------------------------------------------------------------------

_RESPONSE: Final = struct.Struct(">B16s32sB16s64s")
_CANCEL: Final = struct.Struct(">B16s")
_COLLECT: Final = struct.Struct(">B16s32s32s")
_REQUEST_HEAD: Final = struct.Struct(">B16s32sQ")
_REQUEST_TAIL: Final = struct.Struct(">16s16s32s16s")
_REQUEST_SIZE_MIN: Final = _REQUEST_HEAD.size + _REQUEST_TAIL.size


@value
class RequestOp:
    """Freeze `dest_payment + left_fees` on this hop and ask the rest of the route to go on."""

    request_id: Uid
    src_hashed_lock: HashedLock
    route: tuple[PublicKey, ...]
    """Keys after the receiver of this operation; empty if the receiver is the seller."""
    dest_payment: int
    total_dest_payment: int
    invoice_id: InvoiceId
    left_fees: int
    raw: bytes

    @property
    def freeze(self) -> int:
        """Credits frozen on this hop."""
        return self.dest_payment + self.left_fees


@value
class ResponseOp:
    """The seller's signed acceptance, travelling back."""

    request_id: Uid
    dest_hashed_lock: HashedLock
    is_complete: bool
    rand_nonce: RandValue
    signature: Signature
    raw: bytes


@value
class CancelOp:
    """Unfreeze; travels back to the buyer."""

    request_id: Uid
    raw: bytes


@value
class CollectOp:
    """Move the frozen credits; travels back and reveals both locks."""

    request_id: Uid
    src_plain_lock: PlainLock
    dest_plain_lock: PlainLock
    raw: bytes


Operation: TypeAlias = RequestOp | ResponseOp | CancelOp | CollectOp
BackwardsOp: TypeAlias = ResponseOp | CancelOp | CollectOp


def request_op(
    request_id: Uid,
    src_hashed_lock: HashedLock,
    route: tuple[PublicKey, ...],
    amounts: tuple[int, int, int],
    invoice_id: InvoiceId,
) -> RequestOp:
    """Build a Request; `amounts` is (dest_payment, total_dest_payment, left_fees) in credits."""
    dest_payment, total, left_fees = amounts
    raw = b"".join(
        (
            _REQUEST_HEAD.pack(0, request_id, src_hashed_lock, len(route)),
            *route,
            dest_payment.to_bytes(16, "big"),
            total.to_bytes(16, "big"),
            invoice_id,
            left_fees.to_bytes(16, "big"),
        )
    )
    return RequestOp(
        request_id, src_hashed_lock, route, dest_payment, total, invoice_id, left_fees, raw
    )


def response_op(
    request_id: Uid,
    dest_hashed_lock: HashedLock,
    is_complete: bool,  # noqa: FBT001 - a field of the operation
    rand_nonce: RandValue,
    signature: Signature,
) -> ResponseOp:
    """Build a Response."""
    raw = _RESPONSE.pack(1, request_id, dest_hashed_lock, is_complete, rand_nonce, signature)
    return ResponseOp(request_id, dest_hashed_lock, is_complete, rand_nonce, signature, raw)


def cancel_op(request_id: Uid) -> CancelOp:
    """Build a Cancel."""
    return CancelOp(request_id, b"\x02" + request_id)


def collect_op(request_id: Uid, src_plain_lock: PlainLock, dest_plain_lock: PlainLock) -> CollectOp:
    """Build a Collect."""
    raw = b"".join((b"\x03", request_id, src_plain_lock, dest_plain_lock))
    return CollectOp(request_id, src_plain_lock, dest_plain_lock, raw)


def parse_operation(raw: bytes) -> Operation:
    """Read the canonical bytes of one operation.

    Amounts are only bounded by their 16 bytes here; the ledger judges them.

    Raises:
        DecodeError: unknown tag, wrong length, or a flag that is neither 0 nor 1.
    """
    tag = raw[0] if raw else 255
    if tag == 0 and len(raw) >= _REQUEST_SIZE_MIN:
        return _parse_request(raw)
    if tag == 1 and len(raw) == _RESPONSE.size:
        _, request_id, dest_lock, flag, nonce, signature = _RESPONSE.unpack(raw)
        if flag > 1:
            raise DecodeError("the completeness flag of a response is neither 0 nor 1")
        return ResponseOp(
            Uid(request_id),
            HashedLock(dest_lock),
            flag == 1,
            RandValue(nonce),
            Signature(signature),
            raw,
        )
    if tag == 2 and len(raw) == _CANCEL.size:
        return CancelOp(Uid(raw[1:]), raw)
    if tag == 3 and len(raw) == _COLLECT.size:
        _, request_id, src_lock, dest_lock = _COLLECT.unpack(raw)
        return CollectOp(Uid(request_id), PlainLock(src_lock), PlainLock(dest_lock), raw)
    raise DecodeError("an operation has an unknown tag or a wrong length")


def _parse_request(raw: bytes) -> RequestOp:
    _, request_id, src_lock, count = _REQUEST_HEAD.unpack_from(raw)
    route_end = _REQUEST_HEAD.size + 32 * count
    if len(raw) != route_end + _REQUEST_TAIL.size:
        raise DecodeError("a request's route has a wrong length")
    keys = raw[_REQUEST_HEAD.size : route_end]
    route = tuple(PublicKey(keys[i : i + 32]) for i in range(0, len(keys), 32))
    payment, total, invoice_id, fees = _REQUEST_TAIL.unpack_from(raw, route_end)
    return RequestOp(
        Uid(request_id),
        HashedLock(src_lock),
        route,
        int.from_bytes(payment, "big"),
        int.from_bytes(total, "big"),
        InvoiceId(invoice_id),
        int.from_bytes(fees, "big"),
        raw,
    )


# --- friends (purpose 2) ------------------------------------------------------------------------


@value
class CurrencyOperations:
    """Operations of one currency, applied in order; at least one."""

    currency: Currency
    operations: tuple[Operation, ...]


@value
class MoveToken:
    """The signed message that passes the token with a batch of operations."""

    old_token: Signature
    currencies_operations: tuple[CurrencyOperations, ...]
    """Strictly ascending by currency; at most 256 operations altogether."""
    local_relays: tuple[RelayAddress, ...] | None
    """The sender's relays if they changed, at most 16."""
    active_currencies: tuple[Currency, ...] | None
    """The sender's currencies if they changed, strictly ascending, at most 64."""
    info_hash: HashResult
    rand_nonce: RandValue
    new_token: Signature


@value
class ResetTerms:
    """An offer to restart a channel: the issuer's view of the balances (positive = accepter owes)."""

    reset_token: Signature
    inconsistency_counter: int
    balances: tuple[tuple[Currency, int], ...]
    """Strictly ascending by currency, at most 64."""


@value
class MoveTokenMessage:
    """Type 1: a move token; `token_wanted` (unsigned) asks for the token back."""

    move_token: MoveToken
    token_wanted: bool


@value
class InconsistencyMessage:
    """Type 2: this side's view of the channel does not match; here are its terms."""

    terms: ResetTerms


@value
class TokenWantedMessage:
    """Type 3: please pass the token; `new_token` is the sender's last one."""

    new_token: Signature


FriendMessage: TypeAlias = MoveTokenMessage | InconsistencyMessage | TokenWantedMessage


# --- relays (purpose 1) -------------------------------------------------------------------------


@value
class Listen:
    """Type 1, client to relay: announce connections for my key here."""

    options: int = 0


@value
class Connect:
    """Type 2, client to relay: connect me to the listener with this key."""

    target: PublicKey


@value
class Accept:
    """Type 3, client to relay: this connection answers an announced one."""

    tunnel_id: Uid


@value
class Listening:
    """Type 10, relay to listener: announced."""

    tunnels_max: int
    idle_hint_s: int


@value
class Incoming:
    """Type 11, relay to listener: somebody wants you."""

    tunnel_id: Uid
    dialer: PublicKey


@value
class Reject:
    """Type 12, listener to relay: not that one."""

    tunnel_id: Uid


@value
class Established:
    """Type 13, relay to both ends: everything after this is tunnel bytes."""


RelayMessage: TypeAlias = Listen | Connect | Accept | Listening | Incoming | Reject | Established


# --- index servers (purposes 3 and 4) -----------------------------------------------------------


@value
class Edge:
    """What a node says it can receive from one friend: one mutation of an index update."""

    friend: PublicKey
    currency: Currency
    recv_capacity: int
    """Credits; rounded down to two significant digits."""
    rate: Rate
    """What the reporting node charges for requests arriving from this friend."""


@value
class EdgeRemoved:
    """The edge from this friend is gone."""

    friend: PublicKey
    currency: Currency


Mutation: TypeAlias = Edge | EdgeRemoved


@value
class IndexUpdate:
    """Client type 1: a node's edges, signed; FULL replaces all of them, DELTA follows by counter."""

    node: PublicKey
    session_id: Uid
    counter: int
    is_full: bool
    time_hash: HashResult
    rand_nonce: RandValue
    mutations: tuple[Mutation, ...]
    """Strictly ascending by (friend, currency), at most 512."""
    signature: Signature


@value
class RoutesRequest:
    """Client type 2: how can I pay `amount` to `dest`?"""

    request_id: Uid
    kind: int
    """0 pay, 1 the most that can be paid, 2 a cycle."""
    currency: Currency
    amount: int
    dest: PublicKey
    first_friend: PublicKey | None
    last_friend: PublicKey | None
    max_fee: int
    max_parts: int
    max_keys: int
    exclude_edges: tuple[tuple[PublicKey, PublicKey], ...]
    exclude_nodes: tuple[PublicKey, ...]


@value
class InfoRequest:
    """Client type 3: what does this server hold?"""


@value
class Alive:
    """Client type 4: nothing changed since `counter` of `session_id`."""

    session_id: Uid
    counter: int


IndexClientMessage: TypeAlias = IndexUpdate | RoutesRequest | InfoRequest | Alive


@value
class TimeHash:
    """Server type 1 (to clients and servers): the server's newest tick of the hash clock."""

    time_hash: HashResult
    period_ms: int


@value
class UpdateAck:
    """Server type 2: 0 ok, 1 stale time hash, 2 send FULL, 3 invalid, 4 too many edges."""

    session_id: Uid
    counter: int
    code: int


@value
class Part:
    """One route of an answer: keys from buyer to seller, what the seller gets, fee, room (credits)."""

    keys: tuple[PublicKey, ...]
    amount: int
    fee: int
    capacity: int


@value
class RouteChoice:
    """Routes that together carry the amount; label 0 cheapest, 1 fewest parts, 2 widest."""

    label: int
    parts: tuple[Part, ...]


@value
class RoutesResponse:
    """Server type 3: code 0 ok, 1 none, 2 busy, 3 invalid, 4 only `reachable` credits, 5 nobody reaches the payee."""

    request_id: Uid
    code: int
    reachable: int
    graph_age_s: int
    choices: tuple[RouteChoice, ...]


@value
class SendFull:
    """Server type 4: send a FULL update within `spread_ms`."""

    resync_id: Uid
    spread_ms: int


@value
class Info:
    """Server type 5."""

    nodes: int
    edges: int
    currencies: int
    peers_up: int
    peers_down: int
    uptime_s: int


IndexServerMessage: TypeAlias = TimeHash | UpdateAck | RoutesResponse | SendFull | Info


@value
class Forward:
    """Between servers, type 2: an update with the chain of time-hash lists that proves it fresh."""

    update: IndexUpdate
    chain: tuple[tuple[HashResult, ...], ...]


@value
class Resync:
    """Between servers, type 3: ask your clients for FULL updates, and pass this on."""

    resync_id: Uid
    hops_left: int


@value
class PeerInfo:
    """Between servers, type 4."""

    nodes: int
    edges: int


@value
class Need:
    """Between servers, type 5: an update of this node is missing here."""

    node: PublicKey


@value
class AliveNodes:
    """Between servers, type 6: these nodes (with session and counter) are alive."""

    nodes: tuple[tuple[PublicKey, Uid, int], ...]


IndexPeerMessage: TypeAlias = TimeHash | Forward | Resync | PeerInfo | Need | AliveNodes
