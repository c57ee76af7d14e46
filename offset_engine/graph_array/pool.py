"""One currency's graph in arrays: who is friends with whom, and what both report.

| what | where |
|---|---|
| friendships that both ends report | slots in blocks (`layout`) |
| reports about somebody who does not report back | a dictionary |
| capacities of `SATURATED` credits and more | exact in a dictionary |

A node has a number while it has friends. Blocks come in sizes of a few steps; a block that is too small moves
to a larger one, and its place is used again by the next that needs this size. When most of the pool is such
places it is packed together, otherwise it grows by a quarter. So memory follows the number of friendships.

One thread changes a pool; any number may search in it at the same time, see `retired`.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np

from offset_engine.core.values import PublicKey
from offset_engine.errors import OffsetError
from offset_engine.graph_array.layout import (
    COUNT,
    FRIEND,
    INTO,
    NODE_WORDS,
    NODES_MAX,
    OUT,
    RANK,
    RANK_BITS,
    ROOM,
    ROW_WORDS,
    SATURATED,
    SLOTS_MAX,
    START,
    UNSIGNED,
    Ids,
    View,
    Words,
    rank_of,
)
from offset_engine.graph_array.retired import Retired
from offset_engine.graph_array.slot_kernels import (
    compact,
    degrees,
    fill,
    find,
    link,
    move,
    put,
    unlink,
)

Report: TypeAlias = tuple[int, int, int]
"""Receive capacity in credits, rate mul, rate add."""

_NODES_FIRST: Final = 16
_SLOTS_FIRST: Final = 64
_GROWTH: Final = 4
"""A full array grows by one part in so many."""
_SPARE: Final = 32
"""After loading, one slot in so many is free."""


class GraphFullError(OffsetError):
    """More friendships than slot numbers; limits of the index server stop growth long before."""


def _block_sizes() -> tuple[int, ...]:
    """1 to 8, then four steps for every doubling."""
    sizes = list(range(1, 9))
    while sizes[-1] < SLOTS_MAX // 2:
        sizes.append(sizes[-1] + (1 << (sizes[-1].bit_length() - 3)))
    return tuple(sizes)


BLOCK_SIZES: Final = _block_sizes()


def room_for(count: int) -> int:
    """The smallest block size for so many friends; 0 for nobody."""
    return BLOCK_SIZES[bisect_left(BLOCK_SIZES, count)] if count else 0


def new_view(nodes: int, slots: int) -> View:
    """Empty arrays. Pages nobody wrote to take no memory."""
    if nodes > NODES_MAX or slots > SLOTS_MAX:
        raise GraphFullError("this currency has more nodes or friendships than one server can hold")
    return (
        np.zeros((2, slots, ROW_WORDS), np.int32),
        np.zeros(slots, np.int32),
        np.zeros((nodes, NODE_WORDS), np.int32),
    )


class SlotPool:
    """Nodes, friendships and reports of one currency."""

    def __init__(self) -> None:
        self.view = new_view(_NODES_FIRST, _SLOTS_FIRST)
        """Replaced as a whole; take it once for everything that has to fit together."""
        self.keys: list[PublicKey | None] = []
        """By node number."""
        self.ids: dict[PublicKey, int] = {}
        self.retired = Retired()
        self._waiting: dict[PublicKey, dict[PublicKey, Report]] = {}
        """Reports about nodes that do not report back, by who reports."""
        self._giants: dict[tuple[int, int], int] = {}
        """(who reports, about whom) → exact capacity, where the slot is saturated."""
        self._free_ids: list[int] = []
        self._free_blocks: dict[int, list[int]] = {}
        self._free_slots = 0
        """In free blocks."""
        self._end = 0
        """First slot that was never used."""
        self._links = 0

    # --- what is there ---

    @property
    def is_empty(self) -> bool:
        """Whether nobody reports anything."""
        return not self.ids and not self._waiting

    @property
    def link_count(self) -> int:
        """Friendships that both ends report."""
        return self._links

    @property
    def hot_bytes(self) -> int:
        """Bytes of the arrays that searches read, spare room included."""
        return sum(array.nbytes for array in self.view)

    def reports_of(self, node: PublicKey) -> int:
        """How many edges this node reports."""
        found = self.ids.get(node)
        linked = 0 if found is None else int(self.view[2][found, COUNT])
        return linked + len(self._waiting.get(node, ()))

    def is_linked(self, node: PublicKey) -> bool:
        """Whether this node has a friend who reports back."""
        return node in self.ids

    def reports(self, node: PublicKey, friend: PublicKey) -> bool:
        """Whether `node` reports an edge from `friend`."""
        return friend in self._waiting.get(node, ()) or self.slot_of(self.view, node, friend) >= 0

    def reported_by(self, node: PublicKey) -> tuple[PublicKey, ...]:
        """About whom this node reports."""
        found = self.ids.get(node)
        linked = () if found is None else tuple(self.friends(self.view, found))
        return (*linked, *self._waiting.get(node, ()))

    def slot_of(self, view: View, owner: PublicKey, friend: PublicKey) -> int:
        """The slot of `friend` in the block of `owner`, or -1."""
        here, there = self.ids.get(owner, -1), self.ids.get(friend, -1)
        if max(here, there) >= len(view[2]) or here < 0 or there < 0:
            return -1
        return find(view, here, there)

    def friends(self, view: View, node: int) -> Iterator[PublicKey]:
        """The keys of a node's friends, in the order of its block."""
        start, count = view[2][node, START], view[2][node, COUNT]
        keys = (
            self.keys[friend] for friend in view[0][INTO, start : start + count, FRIEND].tolist()
        )
        return (key for key in keys if key is not None)

    def report(self, row: Sequence[int], who: PublicKey, about: PublicKey) -> Report:
        """The exact report that stands in a row."""
        _, low, high, mul, add = row
        capacity = high << 32 | low & UNSIGNED
        if capacity >= SATURATED:
            capacity = self._giants.get((self.ids.get(who, -1), self.ids.get(about, -1)), capacity)
        return capacity, mul & UNSIGNED, add & UNSIGNED

    # --- changes ---

    def put(self, node: PublicKey, friend: PublicKey, report: Report) -> bool:
        """Store what `node` reports about `friend`; true if that is a new report."""
        receiver, sender = self.ids.get(node), self.ids.get(friend)
        if receiver is not None and sender is not None and self._write(receiver, sender, report):
            return False
        theirs = None if node == friend else self._take_waiting(friend, node)
        if theirs is None:
            mine = self._waiting.setdefault(node, {})
            is_new = friend not in mine
            mine[friend] = report
            return is_new
        receiver, sender = self._id_with_room(node), self._id_with_room(friend)
        link(self.view, receiver, sender)
        self._links += 1
        self._write(receiver, sender, report)
        self._write(sender, receiver, theirs)
        return True

    def drop(self, node: PublicKey, friend: PublicKey) -> bool:
        """Forget what `node` reports about `friend`; false if it reported nothing."""
        slot = self.slot_of(self.view, node, friend)
        if slot < 0:
            return self._take_waiting(node, friend) is not None
        theirs = self.report(self.view[0][OUT, slot].tolist(), friend, node)
        receiver, sender = self.ids[node], self.ids[friend]
        unlink(self.view, receiver, sender)
        self._links -= 1
        if self._giants:
            self._giants.pop((receiver, sender), None)
            self._giants.pop((sender, receiver), None)
        self._waiting.setdefault(friend, {})[node] = theirs
        for key, number in ((node, receiver), (friend, sender)):
            if not self.view[2][number, COUNT]:
                self._retire_node(key, number)
        return True

    def load(self, keys: Sequence[PublicKey], pairs: Ids, reports: Words) -> None:
        """Fill an empty pool at once; a million nodes take seconds.

        Args:
            keys: all different; a node's number is its place here.
            pairs: two node numbers a row, every friendship once.
            reports: capacity (below `SATURATED`), mul and add of what the first reports about the second;
                then the same the other way round.

        Raises:
            ValueError: somebody has no friends.
        """
        counts = np.zeros(len(keys), np.int64)
        degrees(pairs, counts)
        if not counts.all():
            raise ValueError("every node of a loaded graph has a friend")
        rooms = np.array(BLOCK_SIZES)[np.searchsorted(BLOCK_SIZES, counts)]
        self._end = int(rooms.sum())
        self.view = new_view(len(keys), self._end + self._end // _SPARE)
        nodes = self.view[2]
        nodes[1:, START] = np.cumsum(rooms)[:-1]
        nodes[:, ROOM] = rooms
        first_bytes = np.frombuffer(b"".join(keys), ">u4")[:: PublicKey.SIZE // 4]
        nodes[:, RANK] = first_bytes >> (32 - RANK_BITS)
        self.keys = list(keys)
        self.ids = {key: number for number, key in enumerate(keys)}
        fill(self.view, pairs, reports)
        self._links = len(pairs)

    def _take_waiting(self, node: PublicKey, friend: PublicKey) -> Report | None:
        mine = self._waiting.get(node)
        report = mine.pop(friend, None) if mine else None
        if mine is not None and not mine:
            del self._waiting[node]
        return report

    def _write(self, receiver: int, sender: int, report: Report) -> bool:
        arc = (receiver, sender)
        if report[0] >= SATURATED:
            if not put(self.view, receiver, sender, (SATURATED, report[1], report[2])):
                return False
            self._giants[arc] = report[0]
            return True
        is_linked = put(self.view, receiver, sender, report)
        if self._giants and is_linked:
            self._giants.pop(arc, None)
        return is_linked

    # --- nodes and blocks ---

    def _id_with_room(self, key: PublicKey) -> int:
        """The node's number, with room for one more friend in its block."""
        number = self.ids.get(key)
        if number is None:
            number = self._new_id(key)
        nodes = self.view[2]
        count, room = int(nodes[number, COUNT]), int(nodes[number, ROOM])
        if count == room:
            wanted = room_for(count + 1 + count // 8)
            start = self._take_block(wanted)  # may replace the arrays
            old = int(self.view[2][number, START])
            move(self.view, number, start, wanted)
            if room:
                self.retired.add(old, room)
        return number

    def _new_id(self, key: PublicKey) -> int:
        self._reclaim()
        number = self._free_ids.pop() if self._free_ids else len(self.keys)
        if number == len(self.keys):
            self.keys.append(None)
        if number >= len(self.view[2]):
            self._grow_nodes()
        self.view[2][number] = (0, 0, 0, rank_of(key))
        self.keys[number] = key
        self.ids[key] = number
        return number

    def _retire_node(self, key: PublicKey, number: int) -> None:
        """Its number may be another's as soon as nobody can still find it; the key stays until then."""
        nodes = self.view[2]
        self.retired.add(int(nodes[number, START]), int(nodes[number, ROOM]))
        nodes[number, ROOM] = 0
        self.retired.add(number, 0)
        del self.ids[key]

    def _reclaim(self) -> None:
        for place, room in self.retired.free():
            if room:
                self._free_blocks.setdefault(room, []).append(place)
                self._free_slots += room
            else:
                self.keys[place] = None
                self._free_ids.append(place)

    def _take_block(self, room: int) -> int:
        """Where a free block of this size starts."""
        self._reclaim()
        free = self._free_blocks.get(room)
        if free:
            self._free_slots -= room
            return free.pop()
        if self._end + room > len(self.view[1]):
            self._make_room(room)
        start = self._end
        self._end += room
        return start

    def _grow_nodes(self) -> None:
        rows, rev, nodes = self.view
        wanted = min(NODES_MAX, len(nodes) + max(_NODES_FIRST, len(nodes) // _GROWTH))
        larger = new_view(wanted, 0)[2]
        larger[: len(nodes)] = nodes
        self.view = (rows, rev, larger)

    def _make_room(self, room: int) -> None:
        """Pack the blocks together, into larger arrays unless much of them was free."""
        slots = len(self.view[1])
        if self._free_slots * 2 < self._end:
            slots += max(_SLOTS_FIRST, room, slots // _GROWTH)
        self.pack(max(slots, self._end - self._free_slots + room))

    def pack(self, slots: int = 0) -> None:
        """Move all blocks into new arrays of so many slots, without gaps; searches keep the old ones."""
        old = self.view
        new = new_view(len(old[2]), max(slots, self._end))
        new[2][:] = old[2]
        self._end = compact(old, new, len(self.keys))
        self.view = new
        self.retired.forget_blocks()
        self._free_blocks.clear()
        self._free_slots = 0
