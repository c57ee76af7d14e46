"""Changes of slots and blocks, in machine code. Searches may run meanwhile, in other threads.

They may see a change half done: a friend twice, or not at all, or a capacity of two halves that never
belonged together. So a row is written before it is counted, a block that moved stays readable where it was
until the searches that may know it have ended (`retired`), and every route found is checked afterwards.
"""

from offset_engine.graph_array.jit import kernel, short_kernel
from offset_engine.graph_array.layout import (
    ADD,
    COUNT,
    FRIEND,
    HIGH,
    INTO,
    LOW,
    MUL,
    OUT,
    ROOM,
    ROW_WORDS,
    START,
    Ids,
    Rows,
    View,
    Words,
)


@kernel
def find(view: View, owner: int, friend: int) -> int:
    """The slot of `friend` in `owner`'s block, or -1; looks through the smaller of the two blocks."""
    rows, rev, nodes = view
    is_owners = nodes[owner, COUNT] <= nodes[friend, COUNT]
    here, there = (owner, friend) if is_owners else (friend, owner)
    start = nodes[here, START]
    for slot in range(start, start + nodes[here, COUNT]):
        if rows[INTO, slot, FRIEND] == there:
            return slot if is_owners else rev[slot]
    return -1


@short_kernel
def _write(rows: Rows, side: int, slot: int, report: tuple[int, int, int]) -> None:
    capacity, mul, add = report
    rows[side, slot, LOW] = capacity
    rows[side, slot, HIGH] = capacity >> 32
    rows[side, slot, MUL] = mul
    rows[side, slot, ADD] = add


@short_kernel
def put(view: View, receiver: int, sender: int, report: tuple[int, int, int]) -> bool:
    """Write what `receiver` reports about `sender`; false if they are not linked."""
    slot = find(view, receiver, sender)
    if slot < 0:
        return False
    rows, rev, _ = view
    _write(rows, INTO, slot, report)
    _write(rows, OUT, rev[slot], report)
    return True


@short_kernel
def link(view: View, one: int, other: int) -> None:
    """Make two nodes friends whose blocks have room; both directions carry nothing yet."""
    rows, rev, nodes = view
    slot = nodes[one, START] + nodes[one, COUNT]
    back = nodes[other, START] + nodes[other, COUNT]
    for side in (OUT, INTO):
        _write(rows, side, slot, (0, 0, 0))
        _write(rows, side, back, (0, 0, 0))
        rows[side, slot, FRIEND] = other
        rows[side, back, FRIEND] = one
    rev[slot] = back
    rev[back] = slot
    nodes[one, COUNT] += 1
    nodes[other, COUNT] += 1


@short_kernel
def _copy(view: View, source: int, target: int) -> None:
    """Copy a slot; its friend's slot points to the new place."""
    rows, rev, _ = view
    for side in (OUT, INTO):
        for column in range(ROW_WORDS):
            rows[side, target, column] = rows[side, source, column]
    rev[target] = rev[source]
    rev[rev[target]] = target


@short_kernel
def _remove(view: View, owner: int, slot: int) -> None:
    """Close the gap with the block's last slot."""
    nodes = view[2]
    last = nodes[owner, START] + nodes[owner, COUNT] - 1
    if slot != last:
        _copy(view, last, slot)
    nodes[owner, COUNT] -= 1


@short_kernel
def unlink(view: View, one: int, other: int) -> bool:
    """End a friendship; false if there is none."""
    slot = find(view, one, other)
    if slot < 0:
        return False
    back = view[1][slot]
    _remove(view, one, slot)
    _remove(view, other, back)
    return True


@short_kernel
def move(view: View, node: int, start: int, room: int) -> None:
    """Copy a node's block to `start`, where there is `room`; the old place is left as it is."""
    nodes = view[2]
    old = nodes[node, START]
    for index in range(nodes[node, COUNT]):
        _copy(view, old + index, start + index)
    nodes[node, START] = start
    nodes[node, ROOM] = room


@short_kernel
def compact(old: View, new: View, count: int) -> int:
    """Copy the blocks of the first `count` nodes without gaps between them; returns the first free slot."""
    rows, rev, nodes = old
    new_rows, new_rev, new_nodes = new
    free = 0
    for node in range(count):
        new_nodes[node, START] = free
        free += nodes[node, ROOM]
    for node in range(count):
        start, new_start = nodes[node, START], new_nodes[node, START]
        for index in range(nodes[node, COUNT]):
            for side in (OUT, INTO):
                for column in range(ROW_WORDS):
                    new_rows[side, new_start + index, column] = rows[side, start + index, column]
            friend = rows[INTO, start + index, FRIEND]
            place = rev[start + index] - nodes[friend, START]
            new_rev[new_start + index] = new_nodes[friend, START] + place
    return free


@short_kernel
def degrees(pairs: Ids, counts: Words) -> None:
    """Count how many friends everybody has."""
    for row in range(pairs.shape[0]):
        counts[pairs[row, 0]] += 1
        counts[pairs[row, 1]] += 1


@short_kernel
def fill(view: View, pairs: Ids, reports: Words) -> None:
    """Write friendships into blocks that have room and are empty; see `SlotPool.load`."""
    rows, rev, nodes = view
    for row in range(pairs.shape[0]):
        one, other = pairs[row, 0], pairs[row, 1]
        slot = nodes[one, START] + nodes[one, COUNT]
        back = nodes[other, START] + nodes[other, COUNT]
        nodes[one, COUNT] += 1
        nodes[other, COUNT] += 1
        for side in (OUT, INTO):
            rows[side, slot, FRIEND] = other
            rows[side, back, FRIEND] = one
        rev[slot] = back
        rev[back] = slot
        mine = (reports[row, 0], reports[row, 1], reports[row, 2])
        theirs = (reports[row, 3], reports[row, 4], reports[row, 5])
        _write(rows, INTO, slot, mine)
        _write(rows, OUT, back, mine)
        _write(rows, INTO, back, theirs)
        _write(rows, OUT, slot, theirs)
