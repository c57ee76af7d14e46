"""Queues of labels: 4-ary heaps in rows of an array, the smallest row first, compared word by word.

A row is (cost, tie); or (cost, tie, index), where who came first decides in the end. `tie` orders what
costs the same exactly as the pure engine does: fewer hops, then the smaller key, of which the first bits
stand here as the node's rank. Callers know that there is room.
"""

from offset_engine.graph_array.jit import inlined
from offset_engine.graph_array.layout import NODE_BITS, RANK_BITS, Words

NODE_MASK = (1 << NODE_BITS) - 1
HOP_SHIFT = NODE_BITS + RANK_BITS
HOPS_MAX = (1 << (63 - HOP_SHIFT)) - 1


@inlined
def tie_of(hops: int, rank: int, node: int) -> int:
    """Hops, rank and node in one word. Node -1 with rank 0 comes before every other one."""
    return (hops << HOP_SHIFT) | (rank << NODE_BITS) | (node + 1)


@inlined
def node_of(tie: int) -> int:
    """The node a tie was made for."""
    return (tie & NODE_MASK) - 1


@inlined
def push(heaps: Words, side: int, size: int, cost: int, tie: int) -> int:
    """Add a row to one of the heaps; returns its new size."""
    hole = size
    while hole > 0:
        parent = (hole - 1) >> 2
        above = heaps[side, parent, 0]
        if above < cost or (above == cost and heaps[side, parent, 1] <= tie):
            break
        heaps[side, hole, 0] = above
        heaps[side, hole, 1] = heaps[side, parent, 1]
        hole = parent
    heaps[side, hole, 0] = cost
    heaps[side, hole, 1] = tie
    return size + 1


@inlined
def pop(heaps: Words, side: int, size: int) -> int:
    """Take the first row away, which the caller has read; returns the new size."""
    size -= 1
    cost, tie = heaps[side, size, 0], heaps[side, size, 1]
    hole = 0
    while True:
        child = 4 * hole + 1
        if child >= size:
            break
        least, least_cost, least_tie = child, heaps[side, child, 0], heaps[side, child, 1]
        for other in range(child + 1, min(child + 4, size)):
            other_cost = heaps[side, other, 0]
            if other_cost < least_cost or (
                other_cost == least_cost and heaps[side, other, 1] < least_tie
            ):
                least, least_cost, least_tie = other, other_cost, heaps[side, other, 1]
        if cost < least_cost or (cost == least_cost and tie <= least_tie):
            break
        heaps[side, hole, 0] = least_cost
        heaps[side, hole, 1] = least_tie
        hole = least
    heaps[side, hole, 0] = cost
    heaps[side, hole, 1] = tie
    return size


@inlined
def _is_less(heap: Words, one: int, other: int) -> bool:
    for column in range(3):
        if heap[one, column] != heap[other, column]:
            return heap[one, column] < heap[other, column]
    return False


@inlined
def _swap(heap: Words, one: int, other: int) -> None:
    for column in range(3):
        heap[one, column], heap[other, column] = heap[other, column], heap[one, column]


@inlined
def push_indexed(heap: Words, size: int, cost: int, tie: int, index: int) -> int:
    """Add a row of three; returns the new size."""
    heap[size, 0], heap[size, 1], heap[size, 2] = cost, tie, index
    here = size
    while here > 0 and _is_less(heap, here, (here - 1) >> 2):
        _swap(heap, here, (here - 1) >> 2)
        here = (here - 1) >> 2
    return size + 1


@inlined
def pop_indexed(heap: Words, size: int) -> int:
    """Take the first row of three away, which the caller has read; returns the new size."""
    size -= 1
    _swap(heap, 0, size)
    here = 0
    while True:
        least = here
        for other in range(4 * here + 1, min(4 * here + 5, size)):
            if _is_less(heap, other, least):
                least = other
        if least == here:
            return size
        _swap(heap, here, least)
        here = least
