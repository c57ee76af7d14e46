"""Index servers that trust each other and tell each other all they learn, so that each knows everybody.

`Federation` is the part of an `IndexServer` that talks to other servers. Trust is a list of keys; both
sides must have the other on it. It is trust in diligence, not in truth: what a server passes on is
believed for the node's own signature, and a server gone bad can withhold, delay or bother, no more.

| message | says | what happens with it |
|---|---|---|
| TIME_HASH | my newest tick | it goes into our next tick; at once on connecting, then with every tick |
| FORWARD | an update and the chain that proves it fresh | checked, applied, passed to everybody else |
| ALIVE | nodes without a change | counts and is passed on if the sender also brought that node's last update |
| NEED | I lack something of this node | SEND_FULL to our client, else passed on to who brought its last update |
| RESYNC | let everybody report | after our next tick: SEND_FULL to our clients, passed to everybody else |
| PEER_INFO | how much I hold | for the operator |

**No echo.** A server takes an update once: the second copy has no greater counter. Only if the first came
with a long chain, which may be padded so that nobody further away takes it, is a shorter copy passed on too;
each is shorter than the last. What its sign of life
refers to is one update, and only the server that brought *that* update is listened to; these form a tree
for each update, so nothing can go round. Resyncs carry an id that is remembered, and hops.

**Nothing is lost for good.** A gap in counters, a sign of life of something unknown, or one from elsewhere
while its own way is silent: each asks for a FULL, of each server at most one per node in 30 s:
who does not answer keeps us from asking nobody else.

**One link per server.** The newer one wins, unless the older was dialled by the preferred side
(`crypto.speaks_first`) and the newer by the other: both sides keep the same one.

The driver hands in whole messages, does the effects, and takes what is to be sent with `next_message`.
Source: PROTOCOL.md, "Index servers: federation".
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final, assert_never

from offset_engine.core.hash_clock import HashClock
from offset_engine.core.index_effects import (
    Close,
    Effect,
    PausePeer,
    PeerReady,
    ResumePeer,
    Send,
)
from offset_engine.core.index_limits import AckCode, Allowance, FederationLimits, Recent
from offset_engine.core.index_nodes import NodeTable, Place
from offset_engine.core.index_peer import Peer, PeerStats, Tally, work_of
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import (
    AliveNodes,
    Forward,
    IndexPeerMessage,
    IndexUpdate,
    Need,
    PeerInfo,
    Resync,
    SendFull,
    TimeHash,
)
from offset_engine.core.peer_outbox import PeerOutbox
from offset_engine.core.route_terms import GraphEngine
from offset_engine.core.values import (
    CHAIN_LINKS_MAX,
    U32_MAX,
    HashResult,
    PublicKey,
    Uid,
)
from offset_engine.errors import invariant

_FIRST_TICK_MS: Final = 30_000
_MISSED_PERIODS_MAX: Final = 3
_PERIOD_MIN_MS: Final = 1_000
_PERIOD_MAX_MS: Final = 60_000
_PAUSE_MIN_MS: Final = 100
_RESYNCS_PENDING_MAX: Final = 64


class Federation:
    """See the module. Feed it events; do the effects it returns."""

    def __init__(
        self,
        limits: FederationLimits,
        tick_ms: int,
        clock: HashClock,
        nodes: NodeTable,
        graph: GraphEngine,
        clients: Mapping[PublicKey, int],
    ) -> None:
        """Trust nobody yet.

        Args:
            limits: what each server may cost us.
            tick_ms: the period we announce.
            clock: the server's, ticking elsewhere.
            nodes: what the server knows.
            graph: to count it.
            clients: node → its connection, kept up to date by the server.
        """
        self._limits = limits
        self._tick_ms = tick_ms
        self._clock = clock
        self._nodes = nodes
        self._graph = graph
        self._clients = clients
        self._trusted: dict[PublicKey, Tally] = {}
        self._peers: dict[int, Peer] = {}
        self._conn_of: dict[PublicKey, int] = {}
        self._work = Allowance(limits.work_per_second, limits.work_burst, 4 * limits.peers_max)
        self._seen_resyncs: OrderedDict[Uid, None] = OrderedDict()
        self._pending: dict[Uid, tuple[int, int]] = {}
        """Resyncs that wait for our next tick: hops left, and the connection they came by."""
        self._pending_since_ms = 0
        self._round_over_ms = 0
        """Until then our clients have time for the FULL they were asked for last."""
        self._rounds_paid_ms = 0
        """Each time they are asked moves this on by `resync_gap_ms`; it may be ahead by a burst."""
        self._asked = Recent(limits.need_gap_ms, limits.needs_remembered)
        """Own nodes that were asked for a FULL because another server needs it."""
        self._fulls = Allowance(limits.fulls_per_second, limits.fulls_burst, 4 * limits.peers_max)
        self._alive_due_ms: int | None = None
        self._is_stopped = False

    # --- trust and links ---

    def set_trusted(self, servers: Iterable[PublicKey]) -> list[Effect]:
        """Trust these servers and nobody else; links to others are closed."""
        before = self._trusted
        self._trusted = {key: before.get(key) or Tally() for key in servers}
        return [
            effect
            for peer in tuple(self._peers.values())
            if peer.key not in self._trusted
            for effect in self._close(peer, CloseCode.NOT_AUTHORIZED, "no longer trusted")
        ]

    def connected(
        self, conn: int, server: PublicKey, now_ms: int, random: bytes, *, is_preferred: bool
    ) -> list[Effect]:
        """An authenticated link to another server is up.

        Args:
            conn: a number no other connection of the server has or had.
            server: its proven key.
            now_ms: monotonic.
            random: 16 fresh bytes.
            is_preferred: dialled by the side that `crypto.speaks_first` names.

        Raises:
            InvariantError: the driver used a connection number twice.
        """
        invariant(conn not in self._peers, "a connection of a server is new", conn)
        if self._is_stopped:
            return [Close(conn, CloseCode.SHUTDOWN, "the index server is stopping")]
        if server not in self._trusted:
            return [Close(conn, CloseCode.NOT_AUTHORIZED, "this index server does not trust you")]
        effects: list[Effect] = []
        older = self._peers.get(self._conn_of.get(server, -1))
        if older is not None:
            if older.is_preferred and not is_preferred:
                return [Close(conn, CloseCode.DUPLICATE, "another connection is kept")]
            effects += self._close(older, CloseCode.REPLACED, "a newer connection took over")
        elif len(self._peers) >= self._limits.peers_max:
            return [Close(conn, CloseCode.OVERLOADED, "too many index servers")]
        asked = Recent(self._limits.need_gap_ms, self._limits.needs_remembered)
        peer = Peer(conn, server, PeerOutbox(self._limits), asked, now_ms + _FIRST_TICK_MS)
        peer.is_preferred = is_preferred
        self._peers[conn] = peer
        self._conn_of[server] = conn
        peer.outbox.refill(now_ms)
        peer.outbox.tell_tick(self._tick(), self._info())
        resync = Resync(Uid(random), self._limits.resync_hops)
        self._remember(resync.resync_id)
        peer.outbox.tell_resync(resync)
        return [*effects, PeerReady(conn)]

    def closed(self, conn: int) -> None:
        """`conn` ended, whoever ended it. What it brought stays until it times out."""
        peer = self._peers.pop(conn, None)
        if peer is not None:
            del self._conn_of[peer.key]

    def malformed(self, conn: int) -> list[Effect]:
        """Something arrived on `conn` that is no message of a server."""
        peer = self._peers.get(conn)
        if peer is None:
            return []
        self._trusted[peer.key].faults += 1
        return self._close(peer, CloseCode.PROTOCOL, "unreadable message")

    def shut_down(self) -> list[Effect]:
        """Close everything; whoever comes later is told the same."""
        self._is_stopped = True
        return [
            effect
            for peer in tuple(self._peers.values())
            for effect in self._close(peer, CloseCode.SHUTDOWN, "the index server is stopping")
        ]

    def is_up(self, server: PublicKey) -> bool:
        """Whether there is a link to this server."""
        return server in self._conn_of

    @property
    def peers_up(self) -> int:
        """Servers there is a link to."""
        return len(self._peers)

    @property
    def peers_down(self) -> int:
        """Trusted servers there is no link to."""
        return len(self._trusted) - len(self._peers)

    def stats(self) -> tuple[PeerStats, ...]:
        """Numbers about every trusted server."""
        found = []
        for key, tally in self._trusted.items():
            peer = self._peers.get(self._conn_of.get(key, -1))
            info = PeerInfo(0, 0) if peer is None else peer.info
            brought = self._nodes.brought_by(key)
            counts = (tally.accepted, tally.copies, tally.refused, tally.faults)
            found.append(PeerStats(key, peer is not None, brought, info.nodes, info.edges, *counts))
        return tuple(found)

    def _close(self, peer: Peer, code: CloseCode, reason: str) -> list[Effect]:
        self.closed(peer.conn)
        return [Close(peer.conn, code, reason)]

    # --- what the server itself learns ---

    def spread(self, forward: Forward, source: int | None = None) -> list[Effect]:
        """Pass an accepted update to every server but the one on connection `source`."""
        if len(forward.chain) >= CHAIN_LINKS_MAX:
            return []  # nobody would take it
        others = [peer for peer in self._peers.values() if peer.conn != source]
        for peer in others:
            peer.outbox.tell_update(forward)
        return [PeerReady(peer.conn) for peer in others]

    def alive(
        self,
        node: PublicKey,
        session_id: Uid,
        counter: int,
        now_ms: int,
        source: int | None = None,
    ) -> None:
        """Tell every server but `source` with the next bundle that nothing changed at `node`."""
        for peer in self._peers.values():
            if peer.conn != source:
                peer.outbox.tell_alive(node, session_id, counter)
        if self._alive_due_ms is None:
            self._alive_due_ms = now_ms + self._limits.alive_gap_ms

    # --- messages ---

    def next_message(self, conn: int) -> IndexPeerMessage | None:
        """What to send next on `conn`; None if there is nothing."""
        peer = self._peers.get(conn)
        return None if peer is None else peer.outbox.take()

    def received(self, conn: int, message: IndexPeerMessage, now_ms: int) -> list[Effect]:
        """A message arrived on `conn`."""
        peer = self._peers.get(conn)
        if peer is None:
            return []
        return self._charge(peer, work_of(message), now_ms) + self._heard(peer, message, now_ms)

    def _heard(self, peer: Peer, message: IndexPeerMessage, now_ms: int) -> list[Effect]:
        match message:
            case TimeHash(newest, period_ms):
                peer.newest = newest
                period_ms = min(max(period_ms, _PERIOD_MIN_MS), _PERIOD_MAX_MS)
                peer.hash_due_ms = now_ms + _MISSED_PERIODS_MAX * period_ms
                return []
            case Forward():
                return self._heard_update(peer, message, now_ms)
            case Resync(resync_id, hops_left):
                self._heard_resync(peer, resync_id, hops_left, now_ms)
                return []
            case PeerInfo():
                peer.info = message
                return []
            case Need(node):
                return self._heard_need(peer, node, now_ms)
            case AliveNodes():
                return self._heard_alive(peer, message, now_ms)
            case _:
                assert_never(message)

    def _charge(self, peer: Peer, work: int, now_ms: int) -> list[Effect]:
        """Account for a message; who overdraws is not read for a while."""
        self._work.spend(peer.key, work, now_ms)
        left = self._work.left(peer.key, now_ms)
        if left >= 0 or peer.resume_ms is not None:
            return []
        peer.resume_ms = now_ms + max(_PAUSE_MIN_MS, -left * 1000 // self._limits.work_per_second)
        return [PausePeer(peer.conn)]

    def _heard_update(self, peer: Peer, forward: Forward, now_ms: int) -> list[Effect]:
        update, tally = forward.update, self._trusted[peer.key]
        place = self._nodes.place_of(update)
        if place is Place.OLD:
            tally.copies += 1
            peer.outbox.knows(update)
            link = self._nodes.shortened(update, forward.chain)
            return self._pass_on(peer, forward, link) if link else []
        if place is Place.LEFT or self._speaks_for_itself(update, now_ms):
            tally.refused += 1
            return []
        if place is Place.GAP:
            return self._want(peer, update.node, now_ms)
        verdict = self._nodes.take(update, forward.chain, peer.key, now_ms)
        if verdict.code is AckCode.OK:
            tally.accepted += 1
            peer.outbox.knows(update)
            return self._pass_on(peer, forward, verdict.link)
        if verdict.code is not AckCode.INVALID:
            tally.refused += 1
            return []
        tally.faults += 1
        peer.faults += 1
        if peer.faults < self._limits.faults_max:
            return []
        return self._close(peer, CloseCode.ABUSE, "too many updates that nobody signed")

    def _pass_on(self, peer: Peer, forward: Forward, link: tuple[HashResult, ...]) -> list[Effect]:
        return self.spread(Forward(forward.update, (*forward.chain, link)), peer.conn)

    def _speaks_for_itself(self, update: IndexUpdate, now_ms: int) -> bool:
        """Whether our own client is there and in another session: then that one counts.

        Otherwise whoever recorded what it said in older sessions could switch it back for a while.
        """
        state = self._nodes.get(update.node)
        if state is None or state.via is not None or update.node not in self._clients:
            return False
        return state.session_id != update.session_id and not self._nodes.is_silent(state, now_ms)

    def _heard_alive(self, peer: Peer, message: AliveNodes, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        for node, session_id, counter in message.nodes:
            if node in self._clients:
                continue  # it speaks for itself
            state = self._nodes.get(node)
            if state is None:
                effects += self._want(peer, node, now_ms)
            elif state.session_id != session_id:
                if session_id not in state.left_sessions:
                    effects += self._want(peer, node, now_ms)
            elif state.counter < counter:
                effects += self._want(peer, node, now_ms)
            elif state.counter == counter and state.via == peer.key:
                if self._nodes.believed_alive(state, now_ms):
                    self.alive(node, session_id, counter, now_ms, peer.conn)
            elif state.counter == counter and self._nodes.is_silent(state, now_ms):
                effects += self._want(peer, node, now_ms)
        return effects[:1]  # they all say that this server has something to read

    # --- asking for what is missing ---

    def _want(self, peer: Peer, node: PublicKey, now_ms: int) -> list[Effect]:
        """Ask this server for a FULL of `node`, unless it was asked just now."""
        if not peer.asked.may(node, now_ms):
            return []
        peer.outbox.tell_need(node)
        return [PeerReady(peer.conn)]

    def _heard_need(self, peer: Peer, node: PublicKey, now_ms: int) -> list[Effect]:
        client, state = self._clients.get(node), self._nodes.get(node)
        via = None if state is None else state.via
        towards = None if via is None else self._peers.get(self._conn_of.get(via, -1))
        left = self._fulls.left(peer.key, now_ms)
        effects: list[Effect] = []
        if left < 1:
            return []
        if client is not None:
            if self._asked.may(node, now_ms):
                # Who asks for many gets them as slowly as with a resync.
                used = self._limits.fulls_burst - left
                spread_ms = used * self._limits.resync_spread_per_node_ms
                effects = [Send(client, SendFull(Uid(node[:16]), min(spread_ms, U32_MAX)))]
        elif towards is not None and towards is not peer:
            effects = self._want(towards, node, now_ms)
        if effects:
            self._fulls.spend(peer.key, 1, now_ms)
        return effects

    # --- resync ---

    def _heard_resync(self, peer: Peer, resync_id: Uid, hops_left: int, now_ms: int) -> None:
        is_known = resync_id in self._seen_resyncs
        if is_known or len(self._pending) >= _RESYNCS_PENDING_MAX:
            return
        self._remember(resync_id)
        if not self._pending:
            self._pending_since_ms = now_ms
        self._pending[resync_id] = (min(hops_left, self._limits.resync_hops), peer.conn)

    def _remember(self, resync_id: Uid) -> None:
        self._seen_resyncs[resync_id] = None
        if len(self._seen_resyncs) > self._limits.resyncs_remembered:
            self._seen_resyncs.popitem(last=False)

    def tick_wanted_ms(self) -> int | None:
        """When the clock should tick for a resync at the latest; None: as usual."""
        if not self._pending:
            return None
        return max(self._pending_since_ms + self._limits.resync_tick_ms, self._resync_from_ms())

    def _resync_from_ms(self) -> int:
        """Not before this are our clients asked again."""
        ahead_ms = (self._limits.resync_burst - 1) * self._limits.resync_gap_ms
        return max(self._round_over_ms, self._rounds_paid_ms - ahead_ms)

    def heard_ticks(self) -> tuple[HashResult, ...]:
        """The other servers' newest ticks, for our next one."""
        return tuple(peer.newest for peer in self._peers.values() if peer.newest is not None)

    def ticked(self, now_ms: int) -> list[Effect]:
        """The clock has ticked, with what `heard_ticks` said, and the clients were told."""
        tick, info = self._tick(), self._info()
        for peer in self._peers.values():
            peer.outbox.tell_tick(tick, info)
        effects: list[Effect] = []
        if self._pending and now_ms >= self._resync_from_ms():
            effects += self._act_on_resyncs(now_ms)
        return effects + [PeerReady(conn) for conn in self._peers]

    def _act_on_resyncs(self, now_ms: int) -> list[Effect]:
        limits = self._limits
        spread_ms = max(
            limits.resync_spread_ms, limits.resync_spread_per_node_ms * len(self._clients)
        )
        self._round_over_ms = now_ms + spread_ms
        self._rounds_paid_ms = max(self._rounds_paid_ms, now_ms) + limits.resync_gap_ms
        send_full = SendFull(next(iter(self._pending)), min(spread_ms, U32_MAX))
        for resync_id, (hops_left, source) in self._pending.items():
            for peer in self._peers.values():
                if hops_left > 0 and peer.conn != source:
                    peer.outbox.tell_resync(Resync(resync_id, hops_left - 1))
        self._pending.clear()
        return [Send(conn, send_full) for conn in self._clients.values()]

    def _tick(self) -> TimeHash:
        return TimeHash(self._clock.newest, self._tick_ms)

    def _info(self) -> PeerInfo:
        return PeerInfo(min(len(self._nodes), U32_MAX), min(self._graph.edge_count, U32_MAX))

    # --- time ---

    def deadline_ms(self) -> int | None:
        """When `on_deadline` wants to be called; None: no need."""
        dues = [
            peer.hash_due_ms if peer.resume_ms is None else peer.resume_ms
            for peer in self._peers.values()
        ]
        if self._alive_due_ms is not None:
            dues.append(self._alive_due_ms)
        for peer in self._peers.values():
            refill_ms = peer.outbox.refill_due_ms()
            if refill_ms is not None:
                dues.append(refill_ms)
        return min(dues, default=None)

    def on_deadline(self, now_ms: int) -> list[Effect]:
        """Do what is due."""
        effects: list[Effect] = []
        for peer in tuple(self._peers.values()):
            if peer.resume_ms is not None and peer.resume_ms <= now_ms:
                peer.resume_ms = None
                # Its ticks may have waited with the rest.
                peer.hash_due_ms = max(peer.hash_due_ms, now_ms + _FIRST_TICK_MS)
                effects.append(ResumePeer(peer.conn))
            elif peer.resume_ms is None and peer.hash_due_ms <= now_ms:
                effects += self._close(peer, CloseCode.CLOCK, "your clock stands still")
                continue
            if peer.outbox.refill(now_ms):
                effects.append(PeerReady(peer.conn))
        if self._alive_due_ms is not None and self._alive_due_ms <= now_ms:
            self._alive_due_ms = None
            effects += [PeerReady(conn) for conn in self._peers]
        return effects
