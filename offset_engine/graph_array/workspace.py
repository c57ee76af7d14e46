"""What one search at a time writes to: labels of every node, queues, the route found. Used again and again."""

from typing import Final

import numpy as np

from offset_engine.core.route_terms import BLOCKED, Flow
from offset_engine.graph_array.exact_kernel import ExactWork
from offset_engine.graph_array.heaps import HOPS_MAX
from offset_engine.graph_array.layout import SATURATED
from offset_engine.graph_array.pool import SlotPool
from offset_engine.graph_array.search_kernels import (
    ARC_SHIFT,
    MARKS,
    NO_ARC,
    NUMBER,
    NUMBERS_MAX,
    STATE_WORDS,
    TOLD_WORDS,
    Overlay,
    Work,
    reserve,
)

_HEAP_FIRST: Final = 4_096
_ROUTE_NODES_MAX: Final = 2 * HOPS_MAX + 2
_RESERVED_MAX: Final = SATURATED >> 2
"""Beside a larger sum than this, a saturated capacity says too little."""


def _new_overlay(rows: int) -> Overlay:
    return np.zeros(MARKS, np.int64), np.full((rows, 3), NO_ARC, np.int64)


_NOTHING_RESERVED: Final = _new_overlay(1)


class Workspace:
    """The memory of one search; about 32 bytes per node of the graph, kept between queries."""

    def __init__(self) -> None:
        self.told = np.zeros(TOLD_WORDS, np.int64)
        """What a search is told, and tells."""
        self.path = np.zeros(_ROUTE_NODES_MAX, np.int32)
        self._state = np.zeros((0, STATE_WORDS), np.int64)
        self._rows = _HEAP_FIRST
        self._heaps = np.empty((2, _HEAP_FIRST, 2), np.int64)
        self._heap = np.empty((_HEAP_FIRST, 3), np.int64)
        self._settled = np.empty((_HEAP_FIRST, 2), np.int32)
        self._number = 0

    def begin(self, nodes: int) -> None:
        """Get ready for another search in a graph with so many nodes."""
        if len(self._state) < nodes:
            self._state = np.zeros((nodes, STATE_WORDS), np.int64)
            self._number = 0
        elif self._number == NUMBERS_MAX:
            self._state[:] = 0
            self._number = 0
        self._number += 1
        self.told[NUMBER] = self._number

    def enlarge(self) -> None:
        """A queue was too small."""
        self._rows *= 4
        self._heaps = np.empty((2, self._rows, 2), np.int64)
        self._heap = np.empty((self._rows, 3), np.int64)
        self._settled = np.empty((self._rows, 2), np.int32)

    @property
    def for_meet(self) -> Work:
        """What the search from both ends writes to."""
        return self._state, self._heaps, self.path

    @property
    def for_exact(self) -> ExactWork:
        """What the exact search writes to."""
        return self._state, self._heap, self._settled, self.path


def overlay_of(pool: SlotPool, flow: Flow) -> Overlay | None:
    """What earlier parts hold, by node numbers; None if it has sums that arrays cannot add up."""
    if not flow.reserved and not flow.cancel:
        return _NOTHING_RESERVED
    numbers = pool.ids
    arcs: list[tuple[int, int, int]] = []
    for arc, credits_ in flow.reserved.items():
        sender, receiver = numbers.get(arc[0]), numbers.get(arc[1])
        if sender is None or receiver is None:
            continue
        if _RESERVED_MAX <= credits_ < BLOCKED:
            return None
        undoable = min(flow.cancel.get(arc, 0), SATURATED)
        arcs.append((sender << ARC_SHIFT | receiver, min(credits_, SATURATED), undoable))
    for arc, credits_ in flow.cancel.items():
        sender, receiver = numbers.get(arc[0]), numbers.get(arc[1])
        if arc not in flow.reserved and sender is not None and receiver is not None:
            arcs.append((sender << ARC_SHIFT | receiver, 0, min(credits_, SATURATED)))
    overlay = _new_overlay(1 << (2 * len(arcs)).bit_length())
    reserve(overlay, np.array(arcs, np.int64).reshape(-1, 3))
    return overlay
