"""One connection of a node to an index server: what it reports, what it asks, when it gives up.

`IndexSession` decides; its driver owns the link, clock and randomness, reports what happened and does the
returned outputs in order. A session lives as long as its connection and dies with it.

| state | came by | leaves by |
|---|---|---|
| waiting | link up: INFO_REQ | first TIME_HASH: FULL, then the questions asked meanwhile |
| reporting | FULL | ACK 0: `SessionUp` |
| up | ACK 0 | only by `Fail` |

What is reported is what the node can receive, rounded *down* to two significant digits, at most the 512
largest edges. One update is in flight at a time; changes meanwhile are merged into the next one.

| when | what is sent |
|---|---|
| first TIME_HASH, ACK 2, SEND_FULL (after a random part of its spread), every 10 min | FULL |
| ACK 1 (our time hash was too old) | FULL after the next TIME_HASH |
| an edge came, went, fell to zero or rose from it | DELTA at once, at most 2/s |
| another edge changed | DELTA, 2 s after the last update |
| nothing for 30 s | ALIVE |

`Fail` says to leave the server: no TIME_HASH for three of its periods, no ACK for 15 s, updates refused,
two questions in a row without an answer. Times are monotonic ms, from `Timers`.

Routes of a server are claims: `check_choice` says what is wrong with one, and the payer uses no other.
Source: PROTOCOL.md, "Index servers: the node's side".
"""

from collections.abc import Callable, Collection, Iterable
from enum import StrEnum
from itertools import pairwise
from typing import Final, TypeAlias, assert_never

from offset_engine.core.index import AckCode
from offset_engine.core.messages import (
    Alive,
    Edge,
    EdgeRemoved,
    IndexClientMessage,
    IndexServerMessage,
    IndexUpdate,
    Info,
    InfoRequest,
    Mutation,
    Part,
    RouteChoice,
    RoutesRequest,
    RoutesResponse,
    SendFull,
    TimeHash,
    UpdateAck,
)
from offset_engine.core.route_terms import RouteKind
from offset_engine.core.signing import index_update_buffer
from offset_engine.core.values import (
    INDEX_EDGES_MAX,
    ROUTE_KEYS_MAX,
    Currency,
    HashResult,
    PublicKey,
    RandValue,
    Signature,
    Timers,
    Uid,
    value,
)

OPEN_QUESTIONS_MAX: Final = 64
_MISSED_PERIODS_MAX: Final = 3
_PERIOD_MIN_MS: Final = 100
_PERIOD_MAX_MS: Final = 60_000
"""A server announcing a slower clock is held to this one."""
_SPREAD_MAX_MS: Final = 600_000
_URGENT_GAP_MS: Final = 500
_REFUSALS_MAX: Final = 3
"""Updates refused in a row before the server is left."""
_UNANSWERED_MAX: Final = 2
_NEVER: Final = 1 << 62

_Place: TypeAlias = tuple[PublicKey, Currency]


class SessionFault(StrEnum):
    """Why a server should be left."""

    NO_TIME_HASH = "no_time_hash"
    NO_ACK = "no_ack"
    REFUSED = "refused"
    NO_ANSWERS = "no_answers"


# --- outputs ------------------------------------------------------------------------------------


@value
class SendMessage:
    """Send this to the server."""

    message: IndexClientMessage


@value
class SessionUp:
    """The server accepted our edges: others can find us, and questions will be answered well."""


@value
class RoutesAnswered:
    """The answer to an open question, not judged yet: see `check_choice`."""

    request_id: Uid
    response: RoutesResponse


@value
class RoutesUnanswered:
    """The question got no answer in time, or there were too many at once: ask another server."""

    request_id: Uid


@value
class Fail:
    """Close this connection and try the next server; open questions were given up before."""

    fault: SessionFault


Output: TypeAlias = SendMessage | SessionUp | RoutesAnswered | RoutesUnanswered | Fail


# --- what is reported ---------------------------------------------------------------------------


def round_capacity(credits_: int) -> int:
    """Round an amount of credits down to two significant digits, so that it tells less and lasts longer."""
    digits = len(str(credits_))
    unit: int = 10 ** max(0, digits - 2)
    return credits_ // unit * unit


def reported_edges(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    """What a server is told: rounded, the 512 largest, ascending by friend and currency.

    Edges of capacity 0 count: without our report the friend could not receive from us.
    """
    rounded = (
        Edge(edge.friend, edge.currency, round_capacity(edge.recv_capacity), edge.rate)
        for edge in edges
    )
    distinct = {(edge.friend, edge.currency): edge for edge in rounded}.values()
    largest = sorted(distinct, key=lambda e: (-e.recv_capacity, e.friend, e.currency))
    return tuple(sorted(largest[:INDEX_EDGES_MAX], key=lambda e: (e.friend, e.currency)))


class IndexSession:
    """The node's end of one connection. Feed it events; do the outputs it returns."""

    def __init__(
        self,
        node: PublicKey,
        session_id: Uid,
        sign: Callable[[bytes], Signature],
        edges: Iterable[Edge],
        timers: Timers,
    ) -> None:
        """Prepare; `session_id` is 16 fresh random bytes, `sign` signs with the key of `node`."""
        self._node = node
        self._session_id = session_id
        self._sign = sign
        self._timers = timers
        self._wanted = _by_place(edges)
        self._reported: dict[_Place, Edge] = {}
        self._time_hash: HashResult | None = None
        self._hash_due_ms = _NEVER
        """Without a TIME_HASH until then the server is left."""
        self._counter = -1
        """Of the last update sent; the first one has 0."""
        self._in_flight_ms: int | None = None
        """When the update was sent whose ACK is due."""
        self._full_due_ms = _NEVER
        self._delta_due_ms = _NEVER
        self._sent_ms = 0
        """Last update or ALIVE."""
        self._refusals = 0
        self._unanswered = 0
        self._questions: dict[Uid, tuple[int, RoutesRequest]] = {}
        """Open ones in the order they were asked, with the moment they are given up."""
        self._is_up = False
        self._is_failed = False

    @property
    def is_up(self) -> bool:
        """Whether the server has accepted our edges."""
        return self._is_up and not self._is_failed

    @property
    def is_current(self) -> bool:
        """Whether the server has accepted everything it should know."""
        return self.is_up and self._in_flight_ms is None and not self._changes()

    @property
    def acked_counter(self) -> int:
        """Counter of the last update that is no longer in flight; -1 if none."""
        return self._counter - (self._in_flight_ms is not None)

    # --- events ---

    def start(self, now_ms: int) -> list[Output]:
        """The link is up. The first message is a short one: links refuse strangers' long ones."""
        self._sent_ms = now_ms
        self._hash_due_ms = now_ms + self._timers.index_ack_ms
        return [SendMessage(InfoRequest())]

    def update_edges(self, edges: Iterable[Edge], now_ms: int, rand: RandValue) -> list[Output]:
        """These are the node's edges now, with their true capacities; `rand` is 16 fresh bytes."""
        self._wanted = _by_place(edges)
        changes = self._changes()
        if not changes:
            self._delta_due_ms = _NEVER
            return []
        gap_ms = self._timers.index_delta_ms
        if any(map(self._is_urgent, changes)):
            gap_ms = min(gap_ms, _URGENT_GAP_MS)
        elif self._delta_due_ms != _NEVER:
            return []  # it will be in the DELTA that is due already
        self._delta_due_ms = self._sent_ms + gap_ms
        return self._send_due(now_ms, rand)

    def ask(self, request: RoutesRequest, now_ms: int) -> list[Output]:
        """Put a question; exactly one `RoutesAnswered` or `RoutesUnanswered` follows."""
        is_known = request.request_id in self._questions
        if self._is_failed or is_known or len(self._questions) >= OPEN_QUESTIONS_MAX:
            return [RoutesUnanswered(request.request_id)]
        self._questions[request.request_id] = (now_ms + self._timers.route_answer_ms, request)
        return [SendMessage(request)] if self._counter >= 0 else []

    def received(self, message: IndexServerMessage, now_ms: int, rand: RandValue) -> list[Output]:
        """The server said something; `rand` is 16 fresh bytes."""
        if self._is_failed:
            return []
        match message:
            case TimeHash():
                return self._heard_time_hash(message, now_ms, rand)
            case UpdateAck():
                return self._heard_ack(message, now_ms, rand)
            case RoutesResponse():
                if self._questions.pop(message.request_id, None) is None:
                    return []  # late, or never asked
                self._unanswered = 0
                return [RoutesAnswered(message.request_id, message)]
            case SendFull():
                spread_ms = min(message.spread_ms, _SPREAD_MAX_MS)
                wait_ms = int.from_bytes(rand[:8], "big") % (spread_ms + 1)
                # However often a server asks, it costs us no more than our own changes do.
                due_ms = max(now_ms + wait_ms, self._sent_ms + self._timers.index_delta_ms)
                self._full_due_ms = min(self._full_due_ms, due_ms)
                return []
            case Info():
                return []  # the driver shows it to people
            case _:
                assert_never(message)

    def deadline_ms(self) -> int | None:
        """When `on_deadline` wants to be called; may lie in the past. None: no need."""
        if self._is_failed:
            return None
        dues = [self._hash_due_ms, *(due for due, _ in self._questions.values())]
        if self._in_flight_ms is not None:
            dues.append(self._in_flight_ms + self._timers.index_ack_ms)
        elif self._counter >= 0:
            dues.append(self._full_due_ms)
            if not self._refusals:
                dues += (self._delta_due_ms, self._sent_ms + self._timers.index_alive_ms)
        first = min(dues)
        return first if first < _NEVER else None

    def on_deadline(self, now_ms: int, rand: RandValue) -> list[Output]:
        """Do what is due; `rand` is 16 fresh bytes."""
        if self._is_failed:
            return []
        outputs: list[Output] = []
        late = [key for key, (due_ms, _) in self._questions.items() if due_ms <= now_ms]
        for request_id in late:
            del self._questions[request_id]
            outputs.append(RoutesUnanswered(request_id))
        self._unanswered += len(late)
        if self._unanswered >= _UNANSWERED_MAX:
            return outputs + self._fail(SessionFault.NO_ANSWERS)
        if self._hash_due_ms <= now_ms:
            return outputs + self._fail(SessionFault.NO_TIME_HASH)
        if self._in_flight_ms is not None:
            if self._in_flight_ms + self._timers.index_ack_ms <= now_ms:
                return outputs + self._fail(SessionFault.NO_ACK)
            return outputs
        return outputs + self._send_due(now_ms, rand)

    def close(self) -> list[Output]:
        """The connection ended by itself: gives up the open questions."""
        return self._give_up()

    # --- what the server says ---

    def _heard_time_hash(self, message: TimeHash, now_ms: int, rand: RandValue) -> list[Output]:
        period_ms = min(max(message.period_ms, _PERIOD_MIN_MS), _PERIOD_MAX_MS)
        self._hash_due_ms = now_ms + _MISSED_PERIODS_MAX * period_ms
        self._time_hash = message.time_hash
        if self._counter < 0 or (self._refusals and self._full_due_ms == _NEVER):
            self._full_due_ms = now_ms
        is_first = self._counter < 0
        outputs = self._send_due(now_ms, rand)
        if is_first:
            outputs += [SendMessage(request) for _, request in self._questions.values()]
        return outputs

    def _heard_ack(self, ack: UpdateAck, now_ms: int, rand: RandValue) -> list[Output]:
        if ack.session_id != self._session_id or ack.counter != self._counter:
            return []
        if self._in_flight_ms is None and ack.code != AckCode.SEND_FULL:
            return []  # only an ALIVE can be answered then, and only so
        self._in_flight_ms = None
        if ack.code == AckCode.OK:
            self._refusals = 0
            outputs: list[Output] = [] if self._is_up else [SessionUp()]
            self._is_up = True
            return outputs + self._send_due(now_ms, rand)
        self._refusals += 1
        if self._refusals >= _REFUSALS_MAX or ack.code not in (AckCode.STALE, AckCode.SEND_FULL):
            return self._fail(SessionFault.REFUSED)
        # After a stale time hash only the next one can help.
        self._full_due_ms = now_ms if ack.code == AckCode.SEND_FULL else _NEVER
        self._delta_due_ms = _NEVER
        return self._send_due(now_ms, rand)

    # --- what is sent ---

    def _changes(self) -> tuple[Mutation, ...]:
        """How what is wanted differs from what was reported, ascending."""
        changes: dict[_Place, Mutation] = {
            place: edge for place, edge in self._wanted.items() if self._reported.get(place) != edge
        }
        gone = (place for place in self._reported if place not in self._wanted)
        changes |= {place: EdgeRemoved(*place) for place in gone}
        return tuple(changes[place] for place in sorted(changes))

    def _is_urgent(self, change: Mutation) -> bool:
        """Whether others should hear of it at once: a way ended, or there is one where none was.

        Until the server knows, payments fail that could have been made, or are tried in vain.
        """
        if isinstance(change, EdgeRemoved) or change.recv_capacity == 0:
            return True
        told = self._reported.get((change.friend, change.currency))
        return told is None or told.recv_capacity == 0

    def _send_due(self, now_ms: int, rand: RandValue) -> list[Output]:
        """Send the one most important thing that is due and possible."""
        if self._time_hash is None or self._in_flight_ms is not None or self._is_failed:
            return []
        if self._full_due_ms <= now_ms:
            return self._update(tuple(self._wanted.values()), rand, now_ms, is_full=True)
        if self._refusals:
            return []  # nothing but a FULL makes sense to this server now
        if self._delta_due_ms <= now_ms:
            changes = self._changes()
            self._delta_due_ms = _NEVER
            if len(changes) > INDEX_EDGES_MAX:
                return self._update(tuple(self._wanted.values()), rand, now_ms, is_full=True)
            if changes:
                return self._update(changes, rand, now_ms, is_full=False)
        if self._counter >= 0 and self._sent_ms + self._timers.index_alive_ms <= now_ms:
            self._sent_ms = now_ms
            return [SendMessage(Alive(self._session_id, self._counter))]
        return []

    def _update(
        self, mutations: tuple[Mutation, ...], rand: RandValue, now_ms: int, *, is_full: bool
    ) -> list[Output]:
        time_hash = self._time_hash
        if time_hash is None:
            return []
        self._counter += 1
        head = (self._node, self._session_id, self._counter, is_full, time_hash, rand, mutations)
        unsigned = IndexUpdate(*head, Signature(bytes(Signature.SIZE)))
        update = IndexUpdate(*head, self._sign(index_update_buffer(unsigned)))
        if is_full:
            self._full_due_ms = now_ms + self._timers.index_full_ms
        self._delta_due_ms = _NEVER
        self._reported = dict(self._wanted)
        self._in_flight_ms = self._sent_ms = now_ms
        return [SendMessage(update)]

    # --- the end ---

    def _fail(self, fault: SessionFault) -> list[Output]:
        return [*self._give_up(), Fail(fault)]

    def _give_up(self) -> list[Output]:
        self._is_failed = True
        outputs: list[Output] = [RoutesUnanswered(key) for key in self._questions]
        self._questions.clear()
        return outputs


def _by_place(edges: Iterable[Edge]) -> dict[_Place, Edge]:
    return {(edge.friend, edge.currency): edge for edge in reported_edges(edges)}


# --- judging answers ----------------------------------------------------------------------------


def check_choice(
    choice: RouteChoice,
    request: RoutesRequest,
    self_key: PublicKey,
    usable_friends: Collection[PublicKey],
    max_fee: int,
) -> str | None:
    """Say what is wrong with a server's answer, or None if it may be tried.

    Args:
        choice: one choice of the answer.
        request: the question; its `amount` is what the parts must sum up to. For a partial answer pass
            the question with the reachable amount in its place.
        self_key: this node.
        usable_friends: online friends that can take some of this payment now.
        max_fee: the most to pay altogether, in credits; the question's own limit holds as well.
    """
    if not 1 <= len(choice.parts) <= request.max_parts:
        return "the number of parts is not what was asked for"
    for part in choice.parts:
        fault = _check_part(part, request, self_key, usable_friends)
        if fault is not None:
            return fault
    if sum(part.amount for part in choice.parts) != request.amount:
        return "the parts do not sum up to the amount"
    if sum(part.fee for part in choice.parts) > min(max_fee, request.max_fee):
        return "the fee is above the limit"
    return None


def _check_part(
    part: Part,
    request: RoutesRequest,
    self_key: PublicKey,
    usable_friends: Collection[PublicKey],
) -> str | None:
    keys = part.keys
    is_cycle = request.kind == RouteKind.CYCLE
    # In a cycle this node is the first and the last key, with at least two friends between.
    if not (4 if is_cycle else 2) <= len(keys) <= min(ROUTE_KEYS_MAX, request.max_keys):
        return "a route has too few or too many keys"
    if keys[0] != self_key or keys[-1] != request.dest:
        return "a route does not lead from here to the seller"
    if len(set(keys)) != len(keys) - is_cycle:
        return "a route visits somebody twice"
    if keys[1] not in usable_friends or request.first_friend not in (None, keys[1]):
        return "a route does not begin with a usable friend"
    if request.last_friend not in (None, keys[-2]):
        return "a route does not end with the friend asked for"
    if not set(request.exclude_nodes).isdisjoint(keys):
        return "a route visits somebody who was excluded"
    if not set(request.exclude_edges).isdisjoint(pairwise(keys)):
        return "a route uses a hop that was excluded"
    if part.amount < 1:
        return "a part carries nothing"
    if part.fee < 0 or (part.fee > 0 and len(keys) == 2):
        return "a part charges a fee that nobody earns"
    return None
