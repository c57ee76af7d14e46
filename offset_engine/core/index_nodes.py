"""The nodes an index server knows: whose updates are believed, what they report, and who is still alive.

An update comes from the node itself, or was passed on by another server with a chain that proves it
fresh. Either way it is believed for the node's signature, never for who brought it:

| check | answer |
|---|---|
| at most 512 edges | 4 too many edges |
| well formed | 3 invalid |
| same session: a greater counter, for a DELTA exactly the next | 2 send FULL |
| other session: a FULL, of a session this node has not left before | 2 send FULL, 3 invalid |
| time hash proves one of the last 18 ticks (a switch: no older than the last update's, by 2) | 1 stale |
| signature | 3 invalid |
| edges per node and in all, nodes, currencies | 4 too many edges |

Cheap ones first; the first that fails is the answer and nothing changes. What one server told us of is
counted against that server, so that none of them can fill us up. There is one exception: an update that
another server brought, with too many new currencies, counts without its edges in these.

A node that is silent for 90 s loses its edges, and nothing else happens. Other servers' word that it is
alive counts only if they brought its last update, and not without a fresh signature for ever.
Source: PROTOCOL.md, "Index servers" and "Index servers: federation".
"""

from enum import Enum, auto
from heapq import heappop, heappush, heapreplace
from typing import Final, TypeAlias

from offset_engine.core.crypto import sha512_256, verify
from offset_engine.core.hash_clock import HashClock
from offset_engine.core.index_limits import AckCode, FederationLimits, IndexLimits
from offset_engine.core.messages import Edge, IndexUpdate, Mutation
from offset_engine.core.route_terms import GraphEngine
from offset_engine.core.signing import index_update_buffer
from offset_engine.core.values import (
    CHAIN_LINKS_MAX,
    CREDITS_MAX,
    Currency,
    HashResult,
    PublicKey,
    Uid,
    value,
)

_LEFT_SESSIONS_MAX: Final = 4
_SWITCH_TICKS_MAX: Final = 2
"""How much older than the last update's the tick of a new session's first update may be."""

Chain: TypeAlias = tuple[tuple[HashResult, ...], ...]


class Place(Enum):
    """How an update stands to what was accepted before, by session and counter alone."""

    NEXT = auto()
    OLD = auto()
    """Nothing after the last accepted one: a copy, or overtaken."""
    GAP = auto()
    """Something before it is missing."""
    LEFT = auto()
    """Of a session this node has left."""


@value
class Verdict:
    """The answer to an update; for an accepted one also the next link of its chain."""

    code: AckCode
    link: tuple[HashResult, ...] = ()


class NodeState:
    """What is known of a node since its last accepted update."""

    __slots__ = (
        "counter",
        "expires_ms",
        "heard_ms",
        "left_sessions",
        "links",
        "long_way",
        "proven_ms",
        "session_id",
        "tick",
        "via",
    )

    def __init__(self, session_id: Uid) -> None:
        """Of a session that begins now."""
        self.session_id = session_id
        self.counter = 0
        self.tick = 0
        """Own tick its last update proved."""
        self.links = 0
        """How many links the shortest chain of its last update had."""
        self.long_way: HashResult | None = None
        """Hash of its last update, if that came with so many links that they may be padded."""
        self.via: PublicKey | None = None
        """The server that brought it; None if the node did itself."""
        self.heard_ms = 0
        """Last update or sign of life."""
        self.proven_ms = 0
        """Last update."""
        self.expires_ms = 0
        self.left_sessions: tuple[Uid, ...] = ()


class NodeTable:
    """All nodes of one server and the graph of what they report."""

    def __init__(
        self,
        limits: IndexLimits,
        federation: FederationLimits,
        clock: HashClock,
        graph: GraphEngine,
    ) -> None:
        """Start empty; `clock` and `graph` are the server's."""
        self._limits = limits
        self._federation = federation
        self._clock = clock
        self._graph = graph
        self._nodes: dict[PublicKey, NodeState] = {}
        self._brought: dict[PublicKey, tuple[int, int]] = {}
        """Server → how many nodes have their last update from it, never 0, and how many edges they report."""
        self._remote = (0, 0)
        """The sum of these."""
        self._introduced: dict[Currency, PublicKey] = {}
        """Currency → the server that brought its first edge; some may be gone again."""
        self._expiry: list[tuple[int, PublicKey]] = []
        """A heap with one entry per node; an entry may be too early, never too late."""
        self.expired = 0
        """Nodes that fell silent, since the start."""

    def __len__(self) -> int:
        """Nodes that are alive, with or without edges."""
        return len(self._nodes)

    def get(self, node: PublicKey) -> NodeState | None:
        """What is known of `node`; for reading."""
        return self._nodes.get(node)

    def brought_by(self, server: PublicKey) -> int:
        """How many nodes have their last update from this server."""
        return self._brought.get(server, (0, 0))[0]

    # --- updates ---

    def place_of(self, update: IndexUpdate) -> Place:
        """Whether the update can follow what was accepted before; the cheapest look at it."""
        state = self._nodes.get(update.node)
        if state is not None and state.session_id == update.session_id:
            if update.counter <= state.counter:
                return Place.OLD
            is_next = update.is_full or update.counter == state.counter + 1
            return Place.NEXT if is_next else Place.GAP
        if state is not None and update.session_id in state.left_sessions:
            return Place.LEFT
        return Place.NEXT if update.is_full else Place.GAP

    def take(
        self, update: IndexUpdate, chain: Chain, via: PublicKey | None, now_ms: int
    ) -> Verdict:
        """Check an update and, if it is good, let it count.

        Args:
            update: from anybody.
            chain: proves it fresh; empty if it comes from the node itself.
            via: the server that passed it on, None if it comes from the node itself.
            now_ms: monotonic.
        """
        code = self._look(update)
        if code is not AckCode.OK:
            return Verdict(code)
        is_dead_end = len(chain) >= CHAIN_LINKS_MAX  # nobody could pass it on
        proof = None if is_dead_end else self._clock.proves(update.time_hash, chain)
        state = self._nodes.get(update.node)
        is_switch = state is not None and state.session_id != update.session_id
        oldest = state.tick - _SWITCH_TICKS_MAX if state is not None and is_switch else 0
        if proof is None or proof[0] < oldest:
            return Verdict(AckCode.STALE)
        buffer = index_update_buffer(update)
        if len(buffer) > self._limits.update_bytes_max:
            return Verdict(AckCode.INVALID)
        if not verify(update.node, buffer, update.signature):
            return Verdict(AckCode.INVALID)
        admitted = self._admitted(update, via)
        if admitted is None:
            return Verdict(AckCode.TOO_MANY_EDGES)
        state = self._commit(update, admitted, via, now_ms)
        state.tick, state.links = proof[0], len(chain)
        is_long = len(chain) > self._federation.chain_plain_links
        state.long_way = sha512_256(buffer + update.signature) if is_long else None
        return Verdict(AckCode.OK, proof[1])

    def shortened(self, update: IndexUpdate, chain: Chain) -> tuple[HashResult, ...]:
        """The next link for a copy of a node's last update, if it is worth passing on; else nothing.

        It is if the update first came with a long chain, and this one is shorter: a server gone bad
        may have padded the other, so that nobody far away would take it.
        """
        state = self._nodes.get(update.node)
        if state is None or state.long_way is None or len(chain) >= state.links:
            return ()
        proof = self._clock.proves(update.time_hash, chain)
        if proof is None:
            return ()
        if sha512_256(index_update_buffer(update) + update.signature) != state.long_way:
            return ()
        state.links = len(chain)
        if len(chain) <= self._federation.chain_plain_links:
            state.long_way = None
        return proof[1]

    def _look(self, update: IndexUpdate) -> AckCode:
        """What can be told without hashing anything."""
        if len(update.mutations) > self._limits.edges_per_node_max:
            return AckCode.TOO_MANY_EDGES
        if not _is_well_formed(update):
            return AckCode.INVALID
        place = self.place_of(update)
        if place is Place.NEXT:
            return AckCode.OK
        is_lost = place is Place.LEFT and update.is_full
        return AckCode.INVALID if is_lost else AckCode.SEND_FULL

    def _admitted(self, update: IndexUpdate, via: PublicKey | None) -> tuple[Mutation, ...] | None:
        """What of the update counts here; None if nodes, edges or currencies would be too many."""
        graph, limits, node = self._graph, self._limits, update.node
        if not self._has_room(node, via):
            return None
        own = dict.fromkeys(() if update.is_full else graph.currencies_of(node))
        own.update((one.currency, None) for one in update.mutations if isinstance(one, Edge))
        if len(own) > limits.currencies_per_node_max:
            return None
        admitted = update.mutations
        fresh = [one for one in own if not graph.has_currency(one)]
        if fresh and self._is_crowded(len(fresh), via):
            if via is None:
                return None
            admitted = tuple(one for one in admitted if one.currency not in fresh)
        edges = 0 if update.is_full else graph.edges_of(node)
        for mutation in admitted:
            had_edge = not update.is_full and graph.reports(
                node, mutation.friend, mutation.currency
            )
            edges += isinstance(mutation, Edge) - had_edge
        is_too_much = edges > limits.edges_per_node_max or not self._can_hold(node, edges, via)
        return None if is_too_much else admitted

    def _is_crowded(self, fresh: int, via: PublicKey | None) -> bool:
        """Whether so many new currencies are too many."""
        count = self._graph.currency_count + fresh
        if via is None:
            return count > self._limits.currencies_max
        self._introduced = {
            currency: server
            for currency, server in self._introduced.items()
            if self._graph.has_currency(currency)
        }
        brought = sum(server == via for server in self._introduced.values()) + fresh
        most = min(self._limits.currencies_max, self._federation.currencies_remote_max)
        return count > most or brought > self._federation.currencies_per_peer_max

    def _has_room(self, node: PublicKey, via: PublicKey | None) -> bool:
        state = self._nodes.get(node)
        if state is None and len(self._nodes) >= self._limits.nodes_max:
            return False
        if via is None or (state is not None and state.via == via):
            return True
        is_more = state is None or state.via is None
        if is_more and self._remote[0] >= self._federation.nodes_remote_max:
            return False
        return self.brought_by(via) < self._federation.nodes_per_peer_max

    def _can_hold(self, node: PublicKey, edges: int, via: PublicKey | None) -> bool:
        """Whether the node may report so many edges: fewer than before it always may."""
        limits, state = self._federation, self._nodes.get(node)
        held = self._graph.edges_of(node)
        if edges > held and self._graph.edge_count - held + edges > self._limits.edges_max:
            return False
        if via is None:
            return True
        own = held if state is not None and state.via == via else 0
        remote = held if state is not None and state.via is not None else 0
        brought = self._brought.get(via, (0, 0))[1] - own + edges
        return (edges <= own or brought <= limits.edges_per_peer_max) and (
            edges <= remote or self._remote[1] - remote + edges <= limits.edges_remote_max
        )

    def _commit(
        self,
        update: IndexUpdate,
        admitted: tuple[Mutation, ...],
        via: PublicKey | None,
        now_ms: int,
    ) -> NodeState:
        state = self._nodes.get(update.node)
        if state is None:
            state = self._nodes[update.node] = NodeState(update.session_id)
            heappush(self._expiry, (now_ms + self._limits.node_timeout_ms, update.node))
        elif state.session_id != update.session_id:
            left = (*state.left_sessions, state.session_id)
            state.left_sessions = left[-_LEFT_SESSIONS_MAX:]
            state.session_id = update.session_id
        state.counter = update.counter
        edges = tuple(one for one in admitted if isinstance(one, Edge))
        if via is not None:
            fresh = (one.currency for one in edges if not self._graph.has_currency(one.currency))
            self._introduced.update((currency, via) for currency in fresh)
        self._count(state.via, -1, -self._graph.edges_of(update.node))
        if update.is_full:
            self._graph.replace_node(update.node, edges)
        else:
            self._graph.apply(update.node, admitted)
        self._count(via, 1, self._graph.edges_of(update.node))
        state.via = via
        state.proven_ms = now_ms
        self._heard(state, now_ms)
        return state

    def _count(self, via: PublicKey | None, nodes: int, edges: int) -> None:
        if via is None:
            return
        self._remote = (self._remote[0] + nodes, self._remote[1] + edges)
        had = self._brought.get(via, (0, 0))
        self._brought[via] = (had[0] + nodes, had[1] + edges)
        if not self._brought[via][0]:
            del self._brought[via]

    # --- life and death ---

    def alive(self, node: PublicKey, session_id: Uid, counter: int, now_ms: int) -> bool:
        """The node itself says that nothing changed; false if that is not what we have."""
        state = self._nodes.get(node)
        if state is None or (state.session_id, state.counter) != (session_id, counter):
            return False
        self._heard(state, now_ms)
        return True

    def believed_alive(self, state: NodeState, now_ms: int) -> bool:
        """The server that brought the node's last update says it is alive; false if it cannot know."""
        if now_ms - state.proven_ms > self._federation.unproven_ms:
            return False
        self._heard(state, now_ms)
        return True

    def is_silent(self, state: NodeState, now_ms: int) -> bool:
        """Whether a sign of life is overdue."""
        return now_ms - state.heard_ms > self._limits.node_timeout_ms // 2

    def _heard(self, state: NodeState, now_ms: int) -> None:
        state.heard_ms = now_ms
        state.expires_ms = now_ms + self._limits.node_timeout_ms

    def expires_ms(self) -> int | None:
        """When `expire` wants to be called; None: no need."""
        return self._expiry[0][0] if self._expiry else None

    def expire(self, now_ms: int) -> None:
        """Forget the nodes that were silent for too long."""
        while self._expiry and self._expiry[0][0] <= now_ms:
            self._expire_first(now_ms)

    def _expire_first(self, now_ms: int) -> None:
        """Remove the node on top of the heap, or put it back if it was heard of meanwhile."""
        node = self._expiry[0][1]
        expires_ms = self._nodes[node].expires_ms
        if expires_ms > now_ms:
            heapreplace(self._expiry, (expires_ms, node))
            return
        heappop(self._expiry)
        self._count(self._nodes.pop(node).via, -1, -self._graph.edges_of(node))
        self._graph.remove_node(node)
        self.expired += 1


def _is_well_formed(update: IndexUpdate) -> bool:
    """Ascending, nobody its own friend, numbers in range; a FULL removes nothing by name."""
    last: tuple[PublicKey, Currency] | None = None
    for mutation in update.mutations:
        place = (mutation.friend, mutation.currency)
        if mutation.friend == update.node or (last is not None and place <= last):
            return False
        last = place
        if not isinstance(mutation, Edge):
            if update.is_full:
                return False
        elif not (0 <= mutation.recv_capacity <= CREDITS_MAX and mutation.rate.is_valid):
            return False
    return True
