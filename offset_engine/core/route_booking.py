"""Routes in exact integers: what they charge, what they carry, and what earlier parts hold of their hops.

Everything is counted from the destination back, because a hop carries the amount and the fees of everybody
after it. The destination takes nothing.

Source: PROTOCOL.md, "Index servers: routes".
"""

from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from itertools import pairwise
from typing import Final, TypeAlias

from offset_engine.core.messages import Part
from offset_engine.core.route_terms import BLOCKED, Arc, Flow, Hop, Keys, Terrain
from offset_engine.core.values import PublicKey

Share: TypeAlias = tuple[Keys, int]
"""A route and what it brings to the destination, in credits."""

_NO_HOP: Final = Hop(-1, 0, 0)
"""A hop that is no longer there carries nothing."""


class Booking:
    """What the parts of one answer hold of a terrain."""

    def __init__(self, terrain: Terrain) -> None:
        self._terrain = terrain
        self.flow = Flow()
        """For the searches; changed here only."""
        self._steps: dict[Keys, tuple[tuple[Arc, Hop], ...]] = {}
        """Of every route looked at in this query: its hops from the destination back."""

    def steps(self, keys: Keys) -> tuple[tuple[Arc, Hop], ...]:
        """The hops of a route from the destination back; the last one charges nothing."""
        known = self._steps.get(keys)
        if known is None:
            hops = [(arc, self._terrain.hop(*arc) or _NO_HOP) for arc in pairwise(keys)]
            arc, last = hops[-1]
            hops[-1] = (arc, Hop(last.capacity, 0, 0))
            known = self._steps[keys] = tuple(hops[::-1])
        return known

    def free(self, arc: Arc, hop: Hop) -> int:
        """What is left of a hop; at most 0 if it is closed."""
        return hop.capacity - self.flow.reserved.get(arc, 0)

    def loads(self, keys: Keys, amount: int) -> list[int]:
        """What each hop has to carry, from the destination back."""
        load, loads = amount, []
        for _, hop in self.steps(keys):
            load += (amount * hop.mul >> 32) + hop.add
            loads.append(load)
        return loads

    def fee(self, keys: Keys, amount: int) -> int:
        """What everybody between source and destination charges together."""
        return self.loads(keys, amount)[-1] - amount

    def too_narrow(self, keys: Keys, amount: int) -> list[Arc]:
        """The hops without room for the amount and the fees after them."""
        steps = zip(self.steps(keys), self.loads(keys, amount), strict=True)
        return [arc for (arc, hop), load in steps if self.free(arc, hop) < load]

    def carries(self, keys: Keys, amount: int, max_fee: int) -> bool:
        """Whether the route works for this amount, beside what is reserved."""
        return self.fee(keys, amount) <= max_fee and not self.too_narrow(keys, amount)

    def room(self, keys: Keys, max_fee: int) -> int:
        """The largest amount the route carries; 0 if none."""
        mul_sum = add_sum = 0
        room = BLOCKED
        for arc, hop in self.steps(keys):
            mul_sum += hop.mul
            add_sum += hop.add
            free = self.free(arc, hop) - add_sum
            room = min(room, max(0, free << 32) // ((1 << 32) + mul_sum))
        if mul_sum:
            room = min(room, max(0, (max_fee - add_sum) << 32) // mul_sum)
        # Each fee is rounded down on its own, so a little more may fit than the sums say.
        step = 1
        while self.carries(keys, room + step, max_fee):
            room += step
            step *= 2
        while step := step // 2:
            if self.carries(keys, room + step, max_fee):
                room += step
        return room if self.carries(keys, room, max_fee) else 0

    # --- what is taken ---

    def take(self, keys: Keys, amount: int) -> None:
        """Reserve what a part needs."""
        for (arc, _), load in zip(self.steps(keys), self.loads(keys, amount), strict=True):
            self.add(arc, load)

    def give_back(self, keys: Keys, amount: int) -> None:
        """Undo one `take`."""
        for (arc, _), load in zip(self.steps(keys), self.loads(keys, amount), strict=True):
            self.add(arc, -load)

    def add(self, arc: Arc, credits_: int) -> None:
        """Change what is reserved of one hop; `BLOCKED` closes it."""
        reserved = self.flow.reserved
        left = reserved.get(arc, 0) + credits_
        if left:
            reserved[arc] = left
        else:
            del reserved[arc]

    def clear(self, closed: Sequence[Arc]) -> None:
        """Nothing is taken and nothing can be undone; only `closed` stays closed."""
        self.flow.cancel.clear()
        self.flow.reserved.clear()
        self.flow.reserved.update(dict.fromkeys(closed, BLOCKED))

    def parts(self, shares: Sequence[Share]) -> tuple[Part, ...]:
        """The parts of an answer: each with its room while the others are there. Nothing may be taken before."""
        for keys, amount in shares:
            self.take(keys, amount)
        parts = []
        for keys, amount in shares:
            self.give_back(keys, amount)
            room = max(amount, self.room(keys, BLOCKED))
            parts.append(Part(keys, amount, self.fee(keys, amount), room))
            self.take(keys, amount)
        for keys, amount in shares:
            self.give_back(keys, amount)
        return tuple(parts)

    # --- what is undone ---

    def allow_undo(self, shares: Sequence[Share]) -> None:
        """What these parts, which are taken, bring to the destination may be taken back by later ones."""
        for keys, amount in shares:
            for sender, receiver in pairwise(keys):
                back = (receiver, sender)
                self.flow.cancel[back] = self.flow.cancel.get(back, 0) + amount

    def push(self, keys: Keys, limit: int) -> int:
        """Send up to `limit` over a route that may undo earlier flow; returns how much went.

        Fees after a hop are estimated here: the flow is split into routes and counted exactly afterwards.
        """
        amount = min(limit, self._push_room(keys))
        if amount < 1:
            return 0
        fee = 0
        for arc, hop in self.steps(keys):
            back = (arc[1], arc[0])
            undone = min(amount, self.flow.cancel.get(arc, 0))
            if undone:
                self._undo(back, undone)
            if undone < amount:
                fee += (amount * hop.mul >> 32) + hop.add
                self.add(arc, amount - undone + fee)
                self.flow.cancel[back] = self.flow.cancel.get(back, 0) + amount - undone
        return amount

    def _push_room(self, keys: Keys) -> int:
        mul_sum = add_sum = 0
        room = BLOCKED
        for arc, hop in self.steps(keys):
            undoable = self.flow.cancel.get(arc, 0)
            free = self.free(arc, hop) - add_sum - hop.add
            forward = max(0, free << 32) // ((1 << 32) + mul_sum + hop.mul)
            if undoable >= forward:
                room = min(room, undoable)
            else:
                mul_sum += hop.mul
                add_sum += hop.add
                room = min(room, forward)
        return room

    def _undo(self, arc: Arc, amount: int) -> None:
        """Take back flow of a hop, and its share of the fees that were reserved with it."""
        back = (arc[1], arc[0])
        held = self.flow.cancel[back]
        load = self.flow.reserved.get(arc, 0)
        self.add(arc, -(load * amount // held))
        if held > amount:
            self.flow.cancel[back] = held - amount
        else:
            del self.flow.cancel[back]


def routes_of(flow: dict[Arc, int], ends: Arc, keys_max: int) -> list[Share]:
    """Split a flow into routes, the widest first; what needs too many keys or goes in circles is left out.

    Args:
        flow: credits per hop, without fees.
        ends: where it comes from and where it goes; the same node in a cycle.
        keys_max: keys of the longest route.
    """
    out: dict[PublicKey, dict[PublicKey, int]] = {}
    for (sender, receiver), amount in flow.items():
        out.setdefault(sender, {})[receiver] = amount
    shares: list[Share] = []
    while found := _widest(out, ends):
        keys, width = found
        for sender, receiver in pairwise(keys):
            out[sender][receiver] -= width
            if not out[sender][receiver]:
                del out[sender][receiver]
        if len(keys) <= keys_max:
            shares.append(found)
    return shares


def _widest(out: Mapping[PublicKey, Mapping[PublicKey, int]], ends: Arc) -> Share | None:
    """The widest route through a flow, then the one with the fewest hops."""
    source, dest = ends
    heap: list[tuple[int, int, Keys]] = [(-BLOCKED, 1, (source,))]
    seen: set[PublicKey] = set()
    while heap:
        width, count, keys = heappop(heap)
        here = keys[-1]
        if here == dest and count > 1:
            return keys, -width
        if here in seen:
            continue
        seen.add(here)
        for friend, amount in out.get(here, {}).items():
            if friend not in seen or friend == dest:
                heappush(heap, (max(width, -amount), count + 1, (*keys, friend)))
    return None
