"""The array engine's terrain: one currency as one query sees it; searches in arrays, answers in exact integers.

A search that the arrays cannot do exactly, because its numbers do not fit into their words, is done by the
pure engine's search over the same reports, looked up one node at a time.

While other threads change the graph, a search sees parts of several moments. What it finds is checked by
the planner against the reports that `hop` gives.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from offset_engine.core.graph_terrain import GraphNode, PureTerrain
from offset_engine.core.route_terms import PPM, Ask, Flow, Hop, Keys
from offset_engine.core.values import PublicKey
from offset_engine.graph_array.exact_kernel import exact
from offset_engine.graph_array.layout import COUNT, FRIEND, INTO, OUT, SATURATED, START
from offset_engine.graph_array.pool import Report, SlotPool
from offset_engine.graph_array.search_kernels import (
    AMOUNT,
    COST_MAX,
    DEST,
    FEE_MAX,
    FEE_UNIT,
    HOP_COST,
    HOPS_END,
    IS_FULL,
    LEAST_COST,
    LOAD,
    MAX_FEE,
    OVERFLOWED,
    SCANNED,
    SCANNED_MAX,
    SOURCE,
    meet,
)
from offset_engine.graph_array.workspace import Workspace, overlay_of

_AMOUNT_MAX: Final = 1 << 40
"""Credits; more than a few millionths of this do not fit into the words of a search."""
_HOP_COST_MAX: Final = COST_MAX >> 1
_SCANNED_MAX: Final = 1 << 62
_HOPS_FIRST_PPM: Final = 10**15
_HOP_FIRST_COST: Final = 1 << 51
"""More credits than the mediators of any route charge together, if these amounts fit."""


class ArrayTerrain:
    """The hops of one currency as one query may use them; see `route_terms.Terrain`."""

    def __init__(
        self, pool: SlotPool, workspace: Workspace, excluded: tuple[PublicKey, ...]
    ) -> None:
        """Look at `pool`, of which the `excluded` are not there; nobody else uses the workspace."""
        self._pool = pool
        self._view = pool.view
        self._work = workspace
        self._banned = frozenset(excluded)
        closed = [pool.ids[key] for key in excluded if key in pool.ids]
        self._closed = np.array([one for one in closed if one < len(self._view[2])], np.int32)
        self._scanned = 0
        self._pure: PureTerrain | None = None
        self._looked_up: dict[tuple[PublicKey, bool], list[tuple[PublicKey, Hop]]] = {}

    @property
    def scanned(self) -> int:
        """Edges looked at so far, by all searches."""
        return self._scanned + (self._pure.scanned if self._pure else 0)

    # --- reports ---

    def hop(self, sender: PublicKey, receiver: PublicKey) -> Hop | None:
        """The exact report, or None."""
        if sender in self._banned or receiver in self._banned:
            return None
        slot = self._pool.slot_of(self._view, sender, receiver)
        if slot < 0:
            return None
        return Hop(*self._pool.report(self._view[0][OUT, slot].tolist(), receiver, sender))

    def leaving(self, node: PublicKey) -> Sequence[tuple[PublicKey, Hop]]:
        """The hops out of a node, each with its receiver."""
        return self._hops(node, is_out=True)

    def entering(self, node: PublicKey) -> Sequence[tuple[PublicKey, Hop]]:
        """The hops into a node, each with its sender."""
        return self._hops(node, is_out=False)

    def _hops(self, node: PublicKey, *, is_out: bool) -> list[tuple[PublicKey, Hop]]:
        found = self._looked_up.get((node, is_out))
        if found is None:
            reports = self._reports(node, is_out=is_out)
            found = [(friend, Hop(*report)) for friend, report in reports]
            self._looked_up[node, is_out] = found
        self._scanned += len(found)
        if node in self._banned:
            return []
        return [one for one in found if one[0] not in self._banned] if self._banned else found

    def _reports(self, node: PublicKey, *, is_out: bool) -> Iterator[tuple[PublicKey, Report]]:
        """Everything about the hops out of or into a node."""
        pool, view = self._pool, self._view
        number = pool.ids.get(node, -1)
        if not 0 <= number < len(view[2]):
            return
        start, count = int(view[2][number, START]), int(view[2][number, COUNT])
        for row in view[0][OUT if is_out else INTO, start : start + count].tolist():
            friend = pool.keys[row[FRIEND]]
            if friend is not None:
                ends = (friend, node) if is_out else (node, friend)
                yield friend, pool.report(row, *ends)

    # --- searches ---

    def meet(self, ask: Ask, flow: Flow) -> Keys | None:
        """The best route of which every hop has room for the amount and its own fee."""
        if not self._has_ends(ask):
            return None
        overlay = overlay_of(self._pool, flow)
        if overlay is not None and _fits(ask):
            work, before = self._work, self._scanned
            while True:
                self._tell(ask, flow)
                count = meet(self._view, work.for_meet, overlay, work.told, self._closed)
                if self._is_done():
                    break
            if not work.told[OVERFLOWED]:
                return self._found(count)
            self._scanned = before
        return self._in_python().meet(self._ask_in_python(ask), flow)

    def exact(self, ask: Ask, flow: Flow) -> Keys | None:
        """The route of the smallest (fee, hops) that works, within the limits on fee and keys."""
        if not self._has_ends(ask):
            return None
        overlay = overlay_of(self._pool, flow)
        if overlay is None or not _fits(ask):
            return self._in_python().exact(self._ask_in_python(ask), flow)
        work = self._work
        while True:
            self._tell(ask, flow)
            count = exact(self._view, work.for_exact, overlay, work.told, self._closed)
            if self._is_done():
                break
        return self._found(count)

    def _has_ends(self, ask: Ask) -> bool:
        numbers, known = self._pool.ids, len(self._view[2])
        ends = (ask.source, ask.dest)
        return all(numbers.get(end, known) < known and end not in self._banned for end in ends)

    def _tell(self, ask: Ask, flow: Flow) -> None:
        """Tell the next search what it is about."""
        work, numbers = self._work, self._pool.ids
        work.begin(len(self._view[2]))
        weight, told = ask.amount * ask.weights.hop_ppm, work.told
        told[FEE_UNIT] = PPM
        if _counts_hops_first(ask):
            weight, told[FEE_UNIT] = _HOP_FIRST_COST, 1
        told[SOURCE], told[DEST] = numbers[ask.source], numbers[ask.dest]
        told[AMOUNT], told[HOP_COST] = ask.amount, weight
        told[LOAD] = weight * ask.weights.load * ask.amount
        told[LEAST_COST] = 0 if flow.cancel else weight
        told[SCANNED], told[SCANNED_MAX] = self.scanned, min(ask.scanned_max, _SCANNED_MAX)
        told[MAX_FEE], told[HOPS_END] = min(ask.max_fee, FEE_MAX), ask.max_keys - 1

    def _is_done(self) -> bool:
        """Whether the queues were large enough; larger ones are ready if not."""
        told = self._work.told
        if told[IS_FULL]:
            self._work.enlarge()
            return False
        self._scanned += int(told[SCANNED]) - self.scanned
        return True

    def _found(self, count: int) -> Keys | None:
        """The keys of the route that was found."""
        keys = self._pool.keys
        route = tuple(keys[number] for number in self._work.path[:count].tolist())
        return tuple(key for key in route if key is not None) or None

    # --- what does not fit into words ---

    def _in_python(self) -> PureTerrain:
        if self._pure is None:
            self._pure = PureTerrain(_Nodes(self), tuple(self._banned))
        return self._pure

    def _ask_in_python(self, ask: Ask) -> Ask:
        """The same with the budget that is left for this kind of search."""
        left = ask.scanned_max - self._scanned
        return Ask(ask.source, ask.dest, ask.amount, ask.max_fee, ask.max_keys, ask.weights, left)

    def node(self, key: PublicKey) -> GraphNode | None:
        """A node as the pure engine has it, None if nobody knows it."""
        if not 0 <= self._pool.ids.get(key, -1) < len(self._view[2]):
            return None
        node = GraphNode(key)
        node.out.update(self._reports(key, is_out=True))
        node.into.update(self._reports(key, is_out=False))
        return node


def _counts_hops_first(ask: Ask) -> bool:
    """Whether a hop costs more than all fees: then hops and credits of fees need a word, and no millionths."""
    return ask.weights.hop_ppm >= _HOPS_FIRST_PPM and not ask.weights.load


def _fits(ask: Ask) -> bool:
    """Whether a search can count this in words of 63 bits."""
    if _counts_hops_first(ask):
        return 1 <= ask.amount <= _AMOUNT_MAX
    weight = ask.amount * ask.weights.hop_ppm
    load = weight * ask.weights.load
    return (
        1 <= ask.amount <= _AMOUNT_MAX
        and weight <= _HOP_COST_MAX
        and load <= _HOP_COST_MAX
        and load * ask.amount < SATURATED
    )


class _Nodes(Mapping[PublicKey, GraphNode]):
    """The nodes of a terrain, looked up when a search in Python comes to them."""

    def __init__(self, terrain: ArrayTerrain) -> None:
        self._terrain = terrain
        self._known: dict[PublicKey, GraphNode | None] = {}

    def __getitem__(self, key: PublicKey) -> GraphNode:
        if key not in self._known:
            self._known[key] = self._terrain.node(key)
        node = self._known[key]
        if node is None:
            raise KeyError(key)
        return node

    def __iter__(self) -> Iterator[PublicKey]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
