"""The search from the destination with exact loads and a limit on keys, in machine code.

Step by step what `core.graph_terrain.PureTerrain.exact` does, on labels (node, hops); see there.
"""

from typing import TypeAlias

from offset_engine.graph_array.heaps import node_of, pop_indexed, push_indexed, tie_of
from offset_engine.graph_array.jit import inlined, kernel
from offset_engine.graph_array.layout import (
    ADD,
    COUNT,
    FRIEND,
    INTO,
    MUL,
    RANK,
    START,
    UNSIGNED,
    Ids,
    Rows,
    View,
    Words,
)
from offset_engine.graph_array.search_kernels import (
    AMOUNT,
    ARC_SHIFT,
    DEST,
    HOPS_END,
    IS_FULL,
    MARKS,
    MAX_FEE,
    NUMBER,
    SCANNED,
    SCANNED_MAX,
    SOURCE,
    Overlay,
    capacity_of,
    fee_of,
    reserved_of,
)

ExactWork: TypeAlias = tuple[Words, Words, Ids, Ids]
"""State of the nodes, a heap of three columns, (node, index of the next) of each settled label, the route."""

_GOAL = -1
_HOP_BITS = 10
_HOPS_MASK = (1 << _HOP_BITS) - 1


@inlined
def _fewest(state: Words, node: int, told: Words) -> int:
    """Hops of the best label that was settled at a node so far."""
    return state[node, 0] if state[node, 1] == told[NUMBER] else told[HOPS_END]


@inlined
def _grow(
    rows: Rows, nodes: Ids, state: Words, heap: Words, marks: Words, table: Words, told: Words,
    node: int, cost: int, index: int, size: int,
) -> int:  # fmt: skip
    """Offer labels to everybody from whom a hop leads to the node just settled; returns the heap's size."""
    amount = told[AMOUNT]
    load_max = amount + told[MAX_FEE]
    base = amount + (cost >> _HOP_BITS)
    hops = (cost & _HOPS_MASK) + 1
    is_marked = marks[node & (MARKS - 1)] != 0
    start, count = nodes[node, START], nodes[node, COUNT]
    told[SCANNED] += count
    for slot in range(start, start + count):
        friend = rows[INTO, slot, FRIEND]
        if friend >= nodes.shape[0] or state[friend, 3] == told[NUMBER]:
            continue
        fee = 0
        if node != told[DEST]:
            fee = fee_of(amount, rows[INTO, slot, MUL] & UNSIGNED, rows[INTO, slot, ADD] & UNSIGNED)
        capacity = capacity_of(rows, INTO, slot)
        if is_marked:
            capacity -= reserved_of(table, friend << ARC_SHIFT | node)
        if base + fee > load_max or capacity < base + fee:
            continue
        after = cost + (fee << _HOP_BITS) + 1
        if friend == told[SOURCE]:
            size = push_indexed(heap, size, after, tie_of(0, 0, _GOAL), index)
        elif _fewest(state, friend, told) > hops:
            size = push_indexed(heap, size, after, tie_of(0, nodes[friend, RANK], friend), index)
    return size


@kernel
def exact(view: View, work: ExactWork, overlay: Overlay, told: Words, closed: Ids) -> int:
    """Search; returns how many nodes of the route stand in the last array of `work`, or 0."""
    state, heap, settled, path = work
    rows, _, nodes = view
    marks, table = overlay
    for index in range(closed.shape[0]):
        state[closed[index], 3] = told[NUMBER]
    told[IS_FULL] = count = 0
    dest = told[DEST]
    size = push_indexed(heap, 0, 0, tie_of(0, nodes[dest, RANK], dest), -1)
    while size and told[SCANNED] < told[SCANNED_MAX]:
        cost, tie, index = heap[0, 0], heap[0, 1], heap[0, 2]
        size = pop_indexed(heap, size)
        node, hops = node_of(tie), cost & _HOPS_MASK
        if node == _GOAL:
            return _trace(settled, path, told[SOURCE], index)
        if hops >= told[HOPS_END] or _fewest(state, node, told) <= hops:
            continue
        if size + nodes[node, COUNT] > heap.shape[0] or count >= settled.shape[0]:
            told[IS_FULL] = 1
            return 0
        state[node, 0], state[node, 1] = hops, told[NUMBER]
        settled[count, 0], settled[count, 1] = node, index
        size = _grow(
            rows, nodes, state, heap, marks, table, told, node, cost, count, size
        )  # fmt: skip
        count += 1
    return 0


@inlined
def _trace(settled: Ids, path: Ids, source: int, index: int) -> int:
    """Write the route from the source along the settled labels; returns how many nodes it has."""
    path[0] = source
    count = 1
    while index >= 0:
        path[count] = settled[index, 0]
        index = settled[index, 1]
        count += 1
    return count
