"""What one other server has still to be told, as little of it as possible.

Nothing waits for a slow server and nothing is lost without a trace: what is overtaken is replaced, and
what does not fit leaves a gap that the other end notices and asks to be filled.

| kept | at most | beyond it |
|---|---|---|
| newest tick, newest counts | one each | the newer replaces the older |
| resyncs, requests for FULL | 64, 1 000 | dropped: both are asked again |
| updates per node | a FULL and 8 DELTAs; a new FULL absorbs all before | the DELTAs are dropped |
| updates of all nodes | 10 000 nodes, 200 000 edges | the link is closed; a resync follows the next one |
| nodes that are alive | 100 000 | dropped: said again |

Order: ticks, then resyncs (which need the tick before them), requests, and then updates and signs of life
in turn. A sign of life waits while updates of its node do. Source: PROTOCOL.md, "Index servers: federation".
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
"""Updates that leave before a waiting bundle of signs of life does."""


class PeerOutbox:
    """See the module. Everything is O(1) but `take` of signs of life, which is O(those taken)."""

    def __init__(self, limits: FederationLimits) -> None:
        """Nothing to say yet."""
        self._limits = limits
        self._tick: TimeHash | None = None
        self._info: PeerInfo | None = None
        self._resyncs: deque[Resync] = deque(maxlen=_RESYNCS_MAX)
        self._needs: dict[PublicKey, None] = {}
        self._updates: dict[PublicKey, deque[Forward]] = {}
        """By node, the one that waits longest first; never empty."""
        self._edges = 0
        self._alive: dict[PublicKey, tuple[Uid, int]] = {}
        self._in_turn = 0

    @property
    def queued_nodes(self) -> int:
        """Nodes whose updates wait."""
        return len(self._updates)

    @property
    def queued_edges(self) -> int:
        """Edges in the updates that wait."""
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

    def tell_update(self, forward: Forward) -> bool:
        """Pass an update on; false if too much waits already, and the link had better be closed."""
        update = forward.update
        waiting = self._updates.get(update.node)
        if waiting is None:
            waiting = self._updates[update.node] = deque()
        if update.is_full:
            self._drop(waiting, 0)
        elif sum(not one.update.is_full for one in waiting) >= self._limits.queued_deltas_max:
            self._drop(waiting, 1 if waiting[0].update.is_full else 0)
        waiting.append(forward)
        self._edges += len(update.mutations)
        self._alive.pop(update.node, None)
        limits = self._limits
        return (
            self.queued_nodes <= limits.queued_nodes_max and self._edges <= limits.queued_edges_max
        )

    def tell_alive(self, node: PublicKey, session_id: Uid, counter: int) -> None:
        """Say that nothing changed since this update of the node."""
        if node in self._updates or (node not in self._alive and len(self._alive) >= _ALIVE_MAX):
            return
        self._alive[node] = (session_id, counter)

    def knows(self, update: IndexUpdate) -> None:
        """The other server sent this update itself: what leads up to it need not be told."""
        waiting = self._updates.get(update.node)
        if waiting is None:
            return
        while waiting and _is_covered(waiting[0].update, update):
            self._edges -= len(waiting.popleft().update.mutations)
        if not waiting:
            del self._updates[update.node]

    def _drop(self, waiting: deque[Forward], keep: int) -> None:
        while len(waiting) > keep:
            self._edges -= len(waiting.pop().update.mutations)

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
        if self._updates and (self._in_turn < _UPDATES_IN_TURN or not self._alive):
            return self._take_update()
        self._in_turn = 0
        return self._take_alive() if self._alive else None

    def _take_update(self) -> Forward:
        self._in_turn += 1
        node = next(iter(self._updates))
        waiting = self._updates[node]
        forward = waiting.popleft()
        if not waiting:
            del self._updates[node]
        self._edges -= len(forward.update.mutations)
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
