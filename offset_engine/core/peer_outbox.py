"""What one other server has still to be told, as little of it as possible.

Nothing waits for a slow server and nothing is lost without a trace: what is overtaken is replaced, and
what does not fit leaves a gap that the other end notices and asks to be filled.

| kept | at most | beyond it |
|---|---|---|
| newest tick, newest counts | one each | the newer replaces the older |
| resyncs, requests for FULL | 64, 1 000 | dropped: both are asked again |
| updates per node | a FULL and 8 DELTAs; a new FULL absorbs all before | the DELTAs are dropped |
| updates of all nodes | 10 000 nodes, 200 000 edges | a small one replaces a large one, else what comes is dropped |
| nodes that are alive | 100 000 | dropped: said again |

Order: ticks, then resyncs (which need the tick before them), requests, and then updates and signs of life
in turn. A sign of life waits while updates of its node do. Nodes with little to say go before those with
more than 32 edges, which get every 65th place and leave no faster than the other end reads: so strangers
who report much, and often, wait for each other and for nobody else. Within each kind the nodes take turns.
Source: PROTOCOL.md, "Index servers: federation".
"""

from collections import deque
from itertools import islice
from typing import Final

from offset_engine.core.index_limits import FederationLimits
from offset_engine.core.messages import (
    AliveNodes,
    Forward,
    IndexPeerMessage,
    IndexUpdate,
    Need,
    PeerInfo,
    Resync,
    TimeHash,
)
from offset_engine.core.values import ALIVE_NODES_MAX, PublicKey, Uid

_RESYNCS_MAX: Final = 64
_NEEDS_MAX: Final = 1_000
_ALIVE_MAX: Final = 100_000
_UPDATES_IN_TURN: Final = 64
"""Updates that leave before a waiting bundle of signs of life does, and small ones before a large one."""
_SMALL_EDGES: Final = 32
_HASHES_PER_EDGE: Final = 8
_REFILL_MS: Final = 250


def size_of(forward: Forward) -> int:
    """How much an update is to send, keep and read, in edges."""
    hashes = sum(len(link) for link in forward.chain)
    return len(forward.update.mutations) + hashes // _HASHES_PER_EDGE


class _Waiting:
    """The updates of one node, the one that waits longest first."""

    __slots__ = ("forwards", "size")

    def __init__(self) -> None:
        self.forwards: deque[Forward] = deque()
        self.size = 0

    def drop(self, keep: int) -> None:
        while len(self.forwards) > keep:
            self.size -= size_of(self.forwards.pop())

    def add(self, forward: Forward, deltas_max: int) -> None:
        waiting = self.forwards
        if forward.update.is_full:
            self.drop(0)
        elif waiting and _is_same(waiting[-1].update, forward.update):
            self.drop(len(waiting) - 1)  # a copy with a shorter chain
        elif sum(not one.update.is_full for one in waiting) >= deltas_max:
            self.drop(1 if waiting[0].update.is_full else 0)
        waiting.append(forward)
        self.size += size_of(forward)

    def take(self) -> Forward:
        forward = self.forwards.popleft()
        self.size -= size_of(forward)
        return forward


class PeerOutbox:
    """See the module. Everything is O(1) but `take` of signs of life, which is O(those taken)."""

    def __init__(self, limits: FederationLimits) -> None:
        """Nothing to say yet."""
        self._limits = limits
        self._tick: TimeHash | None = None
        self._info: PeerInfo | None = None
        self._resyncs: deque[Resync] = deque(maxlen=_RESYNCS_MAX)
        self._needs: dict[PublicKey, None] = {}
        self._small: dict[PublicKey, _Waiting] = {}
        """Nodes whose updates wait, in turn; none of them is empty."""
        self._large: dict[PublicKey, _Waiting] = {}
        """The same of nodes with more than a few edges."""
        self._edges = 0
        self._alive: dict[PublicKey, tuple[Uid, int]] = {}
        self._in_turn = 0
        self._small_in_turn = 0
        self._large_left = limits.large_burst
        """Edges of large updates that may leave; a large one may overdraw."""
        self._refilled_ms: int | None = None
        """Since when it fills up; None: since the next look at it."""

    @property
    def queued_nodes(self) -> int:
        """Nodes whose updates wait."""
        return len(self._small) + len(self._large)

    @property
    def queued_edges(self) -> int:
        """Edges in the updates that wait; eight hashes of a chain count as one."""
        return self._edges

    # --- filling it ---

    def tell_tick(self, tick: TimeHash, info: PeerInfo) -> None:
        """The clock ticked; how much this server holds goes with it."""
        self._tick, self._info = tick, info

    def tell_resync(self, resync: Resync) -> None:
        """Ask for FULLs of everybody behind the other server."""
        self._resyncs.append(resync)

    def tell_need(self, node: PublicKey) -> None:
        """Ask for a FULL of this node."""
        if len(self._needs) < _NEEDS_MAX:
            self._needs[node] = None

    def tell_update(self, forward: Forward) -> None:
        """Pass an update on, if there is room; if not, signs of life will show what is missing."""
        node = forward.update.node
        kind = self._large if node in self._large else self._small
        waiting = kind.get(node)
        if waiting is None:
            waiting = kind[node] = _Waiting()
        self._edges -= waiting.size
        waiting.add(forward, self._limits.queued_deltas_max)
        self._edges += waiting.size
        right_kind = self._small if waiting.size <= _SMALL_EDGES else self._large
        if kind is not right_kind:
            right_kind[node] = kind.pop(node)
        self._alive.pop(node, None)
        while self._is_too_full():
            self._make_room(node)

    def _is_too_full(self) -> bool:
        limits = self._limits
        return self.queued_nodes > limits.queued_nodes_max or self._edges > limits.queued_edges_max

    def _make_room(self, newcomer: PublicKey) -> None:
        """Forget the updates of the last node that says much; if there is none, those of the newcomer."""
        is_small = newcomer in self._small
        if is_small and self._large:
            _, gone = self._large.popitem()
        else:
            gone = (self._small if is_small else self._large).pop(newcomer)
        self._edges -= gone.size

    def tell_alive(self, node: PublicKey, session_id: Uid, counter: int) -> None:
        """Say that nothing changed since this update of the node."""
        if node in self._small or node in self._large:
            return
        if node in self._alive or len(self._alive) < _ALIVE_MAX:
            self._alive[node] = (session_id, counter)

    def knows(self, update: IndexUpdate) -> None:
        """The other server sent this update itself: what leads up to it need not be told."""
        for kind in (self._small, self._large):
            waiting = kind.get(update.node)
            if waiting is None:
                continue
            self._edges -= waiting.size
            while waiting.forwards and _is_covered(waiting.forwards[0].update, update):
                waiting.take()
            self._edges += waiting.size
            if not waiting.forwards:
                del kind[update.node]

    # --- how fast large updates may leave ---

    def refill(self, now_ms: int) -> bool:
        """Time has passed; true if a large update that had to wait can leave now."""
        limits, had = self._limits, self._large_left
        if self._refilled_ms is not None:
            earned = (now_ms - self._refilled_ms) * limits.large_per_second // 1000
            if not earned:
                return False
            self._large_left = min(limits.large_burst, had + earned)
        self._refilled_ms = now_ms
        return had < 1 <= self._large_left and bool(self._large)

    def refill_due_ms(self) -> int | None:
        """When `refill` wants to be called; None: no need."""
        if not self._large or self._large_left > 0:
            return None
        return 0 if self._refilled_ms is None else self._refilled_ms + _REFILL_MS

    # --- emptying it ---

    def take(self) -> IndexPeerMessage | None:
        """The next message to send; None if there is nothing to say."""
        if self._tick is not None:
            tick, self._tick = self._tick, None
            return tick
        if self._info is not None:
            info, self._info = self._info, None
            return info
        if self._resyncs:
            return self._resyncs.popleft()
        if self._needs:
            node = next(iter(self._needs))
            del self._needs[node]
            return Need(node)
        can_update = self._small or (self._large and self._large_left > 0)
        if can_update and (self._in_turn < _UPDATES_IN_TURN or not self._alive):
            return self._take_update()
        self._in_turn = 0
        return self._take_alive() if self._alive else None

    def _take_update(self) -> Forward:
        self._in_turn += 1
        is_large_first = not self._small or self._small_in_turn >= _UPDATES_IN_TURN
        is_large = bool(self._large) and self._large_left > 0 and is_large_first
        kind = self._large if is_large else self._small
        node = next(iter(kind))
        waiting = kind[node]
        forward = waiting.take()
        if not waiting.forwards:
            del kind[node]
        size = size_of(forward)
        self._edges -= size
        if is_large:
            if self._large_left == self._limits.large_burst:
                self._refilled_ms = None  # nothing was earned while nothing was missing
            self._large_left -= size
            self._small_in_turn = 0
        else:
            self._small_in_turn += 1
        return forward

    def _take_alive(self) -> AliveNodes:
        nodes = list(islice(self._alive.items(), ALIVE_NODES_MAX))
        for node, _ in nodes:
            del self._alive[node]
        return AliveNodes(
            tuple((node, session_id, counter) for node, (session_id, counter) in nodes)
        )


def _is_covered(older: IndexUpdate, newer: IndexUpdate) -> bool:
    return older.session_id == newer.session_id and older.counter <= newer.counter


def _is_same(one: IndexUpdate, other: IndexUpdate) -> bool:
    return one.session_id == other.session_id and one.counter == other.counter
