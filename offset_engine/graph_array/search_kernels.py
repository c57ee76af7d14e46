"""The two searches of a terrain, in machine code: step by step what `core.graph_terrain` does.

Both engines settle the same nodes in the same order, so that they count the same edges and, of equally
good routes, find the same one. What differs is the number range. Costs here are words of 63 bits, in
millionths of a credit; a label that would not fit is dropped and remembered (`OVERFLOWED`), and the caller
has the pure search done instead.

State of a node, 4 words: for the front and for the back search its cost, and (search number, hops, parent).
A word of another search number means that the node has no label, so nothing is ever cleared.
"""

from typing import Final, TypeAlias

from offset_engine.graph_array.heaps import (
    HOP_SHIFT,
    HOPS_MAX,
    node_of,
    pop,
    push,
    tie_of,
)
from offset_engine.graph_array.jit import inlined, kernel
from offset_engine.graph_array.layout import (
    ADD,
    COUNT,
    FRIEND,
    HIGH,
    LOW,
    MUL,
    NODE_WORDS,
    RANK,
    ROW_WORDS,
    START,
    UNSIGNED,
    Ids,
    Rows,
    View,
    Words,
)
from offset_engine.graph_array.prefetching import prefetch

STATE_WORDS: Final = 4
Work: TypeAlias = tuple[Words, Words, Ids]
"""State of the nodes, a heap for each side, the route found."""
Overlay: TypeAlias = tuple[Words, Words]
"""Marks by the low bits of node numbers, and a hash table: (arc, reserved credits, undoable credits)."""

# What a search is told, one word each.
SOURCE: Final = 0
DEST: Final = 1
AMOUNT: Final = 2
HOP_COST: Final = 3
LOAD: Final = 4
NUMBER: Final = 5
SCANNED: Final = 6
"""Also what it tells: the edges looked at so far."""
SCANNED_MAX: Final = 7
MAX_FEE: Final = 8
HOPS_END: Final = 9
# What it keeps between its steps.
SIZES: Final = 10
"""And 11: rows in the two heaps."""
BEST_COST: Final = 12
BEST_TIE: Final = 13
LIMIT_COST: Final = 14
"""Labels of the next step stay below this cost, or at it below so many hops."""
LIMIT_HOPS: Final = 15
LEAST_COST: Final = 16
"""What any hop costs at least."""
FEE_UNIT: Final = 17
"""What a credit of fee costs."""
OVERFLOWED: Final = 18
IS_FULL: Final = 19
"""A heap was too small: nothing was found, and the search must be done again with a larger one."""
TOLD_WORDS: Final = 20

COST_MAX: Final = 1 << 61
"""Labels above are dropped; two of them still add up."""
NOTHING: Final = 2 * COST_MAX
"""The cost of a route that was not found."""
FEE_MAX: Final = COST_MAX // 1_000_000
MARKS: Final = 4096
ARC_SHIFT: Final = 31
NO_ARC: Final = -1

_NUMBER_SHIFT: Final = 42
NUMBERS_MAX: Final = (1 << (63 - _NUMBER_SHIFT)) - 1
_HOPS_MASK: Final = 1023
_UNDONE: Final = -1
_LINE_WORDS: Final = 16
"""Of a row, in one line of a cache."""
_HASH: Final = -7046029254386353131


@kernel
def probe(table: Words, arc: int) -> int:
    """The row of an arc in the hash table, or the free row where it belongs."""
    mask = table.shape[0] - 1
    row = ((arc * _HASH) >> 32) & mask
    while table[row, 0] != arc and table[row, 0] != NO_ARC:
        row = (row + 1) & mask
    return row


@kernel
def reserve(overlay: Overlay, arcs: Words) -> None:
    """Write arcs with what is reserved and undoable of them into an empty overlay."""
    marks, table = overlay
    for index in range(arcs.shape[0]):
        arc = arcs[index, 0]
        row = probe(table, arc)
        table[row, 0] = arc
        table[row, 1] = arcs[index, 1]
        table[row, 2] = arcs[index, 2]
        marks[(arc >> ARC_SHIFT) & (MARKS - 1)] = 1
        marks[arc & ((1 << ARC_SHIFT) - 1) & (MARKS - 1)] = 1


@kernel
def _left(table: Words, arc: int, capacity: int, amount: int) -> int:
    """What earlier parts leave of a hop; `_UNDONE` if the amount takes back what they hold."""
    row = probe(table, arc)
    if table[row, 0] != arc:
        return capacity
    if table[row, 2] >= amount:
        return _UNDONE
    return max(0, capacity - table[row, 1])


@kernel
def reserved_of(table: Words, arc: int) -> int:
    """Credits that earlier parts hold of a hop."""
    row = probe(table, arc)
    return table[row, 1] if table[row, 0] == arc else 0


@inlined
def fee_of(amount: int, mul: int, add: int) -> int:
    """`(amount * mul >> 32) + add` for amounts of up to 42 bits."""
    return (amount >> 32) * mul + (((amount & UNSIGNED) * mul) >> 32) + add


@inlined
def capacity_of(rows: Rows, side: int, slot: int) -> int:
    """Credits, at most `SATURATED`."""
    return (rows[side, slot, HIGH] << 32) | (rows[side, slot, LOW] & UNSIGNED)


@inlined
def _hop_cost(rows: Rows, side: int, slot: int, capacity: int, told: Words, is_free: int) -> int:
    """What using a hop costs, -1 if it has no room for the amount and its own fee."""
    amount, cost = told[AMOUNT], told[HOP_COST]
    mul, add = rows[side, slot, MUL] & UNSIGNED, rows[side, slot, ADD] & UNSIGNED
    if not is_free and (mul | add) != 0:
        fee = fee_of(amount, mul, add)
        if capacity < amount + fee:
            return -1
        if fee > FEE_MAX:
            told[OVERFLOWED] = 1
            return -1
        cost += fee * told[FEE_UNIT]
    if told[LOAD]:
        cost += told[LOAD] // capacity
    return cost


@inlined
def _offer(
    nodes: Ids, state: Words, heaps: Words, told: Words, side: int,
    node: int, parent: int, cost: int, hops: int,
) -> None:  # fmt: skip
    """Give a node a label if it is better than the one it has; see whether the other search was there."""
    column = 2 * side
    number = told[NUMBER]
    word = state[node, column + 1]
    if word >> _NUMBER_SHIFT == number:
        old_cost, old_hops = state[node, column], (word >> 32) & _HOPS_MASK
        if cost > old_cost or (cost == old_cost and hops > old_hops):
            return
        if cost == old_cost and hops == old_hops:
            before = word & UNSIGNED
            if before != node and nodes[parent, RANK] < nodes[before, RANK]:
                state[node, column + 1] = (number << _NUMBER_SHIFT) | (hops << 32) | parent
            return
    state[node, column] = cost
    state[node, column + 1] = (number << _NUMBER_SHIFT) | (hops << 32) | parent
    rank = nodes[node, RANK]
    told[SIZES + side] = push(heaps, side, told[SIZES + side], cost, tie_of(hops, rank, node))
    far = state[node, 3 - column]
    if far >> _NUMBER_SHIFT == number:
        total = cost + state[node, 2 - column]
        tie = tie_of(min(HOPS_MAX, hops + ((far >> 32) & _HOPS_MASK)), rank, node)
        if total < told[BEST_COST] or (total == told[BEST_COST] and tie < told[BEST_TIE]):
            told[BEST_COST], told[BEST_TIE] = total, tie


@inlined
def _scan(
    rows: Rows, nodes: Ids, state: Words, heaps: Words, table: Words, told: Words, side: int,
    node: int, cost: int, hops: int, is_marked: int,
) -> None:  # fmt: skip
    """Offer labels of this cost to all friends of a node, each with the cost of the hop to it."""
    amount, dest = told[AMOUNT], told[DEST]
    limit, limit_hops = told[LIMIT_COST], told[LIMIT_HOPS]
    limit_alone, number = limit - told[LEAST_COST], told[NUMBER]
    free_end = -1 if side == 1 else dest
    is_free = side == 1 and node == dest
    start = nodes[node, START]
    for slot in range(start, start + nodes[node, COUNT]):
        if capacity_of(rows, side, slot) >= amount:
            prefetch(state, STATE_WORDS * rows[side, slot, FRIEND])
            prefetch(nodes, NODE_WORDS * rows[side, slot, FRIEND])
    for slot in range(start, start + nodes[node, COUNT]):
        capacity = capacity_of(rows, side, slot)
        if capacity < amount and not is_marked:
            continue
        friend = rows[side, slot, FRIEND]
        if is_marked:
            arc = (node << ARC_SHIFT | friend) if side == 0 else (friend << ARC_SHIFT | node)
            capacity = _left(table, arc, capacity, amount)
        label = cost
        if capacity != _UNDONE:
            if capacity < amount:
                continue
            own = _hop_cost(rows, side, slot, capacity, told, is_free or friend == free_end)
            if own < 0:
                continue
            label += own
        if friend >= nodes.shape[0] or hops > HOPS_MAX:
            continue
        if label >= limit_alone and (label > limit_alone or hops >= limit_hops - 1):
            # Too far unless the other side knows this node already.
            if label > limit or (label == limit and hops >= limit_hops):
                continue
            if state[friend, 3 - 2 * side] >> _NUMBER_SHIFT != number:
                continue
        if label > COST_MAX:
            told[OVERFLOWED] = 1
        else:
            _offer(nodes, state, heaps, told, side, friend, node, label, hops)


@inlined
def _prefetch_next(rows: Rows, nodes: Ids, heaps: Words, side: int) -> None:
    """Have the block brought that will be read next: an average one takes four lines of a cache."""
    next_node = node_of(heaps[side, 0, 1])
    place = ROW_WORDS * (side * rows.shape[1] + nodes[next_node, START])
    for line in range(4):
        prefetch(rows, place + line * _LINE_WORDS)


@inlined
def _grow(
    rows: Rows, nodes: Ids, state: Words, heaps: Words, marks: Words, table: Words, told: Words,
    side: int,
) -> bool:  # fmt: skip
    """Settle the nearest node of a side: 0 the front, 1 the back; false if its heap is too small."""
    cost, tie = heaps[side, 0, 0], heaps[side, 0, 1]
    node, hops = node_of(tie), tie >> HOP_SHIFT
    count = nodes[node, COUNT]
    if told[SIZES + side] + count > heaps.shape[1]:
        told[IS_FULL] = 1
        return False
    told[SIZES + side] = pop(heaps, side, told[SIZES + side])
    _prefetch_next(rows, nodes, heaps, side)
    old_cost, old_hops = state[node, 2 * side], (state[node, 2 * side + 1] >> 32) & _HOPS_MASK
    if cost < old_cost or (cost == old_cost and hops <= old_hops):
        is_marked = marks[node & (MARKS - 1)] != 0
        told[SCANNED] += count
        _scan(
            rows, nodes, state, heaps, table, told, side, node, cost, hops + 1, is_marked
        )  # fmt: skip
    return True


@inlined
def _close(state: Words, node: int, number: int) -> None:
    """Give a node a label that nothing improves, on both sides."""
    for column in (0, 2):
        state[node, column] = -1
        state[node, column + 1] = (number << _NUMBER_SHIFT) | node


@inlined
def _start(nodes: Ids, state: Words, heaps: Words, told: Words, node: int, side: int) -> None:
    state[node, 2 * side] = 0
    state[node, 2 * side + 1] = (told[NUMBER] << _NUMBER_SHIFT) | node
    told[SIZES + side] = push(heaps, side, 0, 0, tie_of(0, nodes[node, RANK], node))


@inlined
def _begin(view: View, work: Work, overlay: Overlay, told: Words, closed: Ids) -> bool:
    """Label both ends, and close what must not be visited; false if a heap is too small."""
    rows, _, nodes = view
    state, heaps, _ = work
    marks, table = overlay
    source, dest = told[SOURCE], told[DEST]
    told[BEST_COST], told[BEST_TIE] = NOTHING, tie_of(HOPS_MAX, 0, 0)
    told[IS_FULL] = told[OVERFLOWED] = 0
    _start(nodes, state, heaps, told, source, 0)
    _start(nodes, state, heaps, told, dest, 1)
    if source == dest:
        # One node with two roles: its hops are looked at before anything can meet, then it is closed.
        told[LIMIT_COST], told[LIMIT_HOPS] = NOTHING, 0
        for side in range(2):
            if not _grow(rows, nodes, state, heaps, marks, table, told, side):
                return False
        told[BEST_COST], told[BEST_TIE] = NOTHING, tie_of(HOPS_MAX, 0, 0)
        _close(state, source, told[NUMBER])
    for index in range(closed.shape[0]):
        _close(state, closed[index], told[NUMBER])
    return True


@kernel
def meet(view: View, work: Work, overlay: Overlay, told: Words, closed: Ids) -> int:
    """Search from both ends; returns how many nodes of the route stand in the last array of `work`, or 0."""
    rows, _, nodes = view
    state, heaps, path = work
    marks, table = overlay
    if not _begin(view, work, overlay, told, closed):
        return 0
    while told[SIZES] and told[SIZES + 1] and told[SCANNED] < told[SCANNED_MAX]:
        front_hops, back_hops = heaps[0, 0, 1] >> HOP_SHIFT, heaps[1, 0, 1] >> HOP_SHIFT
        best_cost, best_hops = told[BEST_COST], told[BEST_TIE] >> HOP_SHIFT
        # Between a node that one side has reached and the other side's nearest there is one more hop.
        cost = heaps[0, 0, 0] + heaps[1, 0, 0] + told[LEAST_COST]
        if cost > best_cost or (cost == best_cost and front_hops + back_hops + 1 >= best_hops):
            break
        side = 0 if told[SIZES] < told[SIZES + 1] else 1
        told[LIMIT_COST] = best_cost - heaps[1 - side, 0, 0]
        told[LIMIT_HOPS] = best_hops - (front_hops if side else back_hops)
        if not _grow(rows, nodes, state, heaps, marks, table, told, side):
            return 0
    if told[BEST_COST] == NOTHING:
        return 0
    return _trace(state, path, node_of(told[BEST_TIE]))


@inlined
def _trace(state: Words, path: Ids, node: int) -> int:
    """Write the route through `node`; returns how many nodes it has."""
    count = (state[node, 1] >> 32) & _HOPS_MASK
    here = node
    for index in range(count, -1, -1):
        path[index] = here
        here = state[here, 1] & UNSIGNED
    here = node
    hops = (state[node, 3] >> 32) & _HOPS_MASK
    for index in range(count + 1, count + hops + 1):
        here = state[here, 3] & UNSIGNED
        path[index] = here
    return count + hops + 1
