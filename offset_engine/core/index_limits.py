"""What an index server takes on, from nodes and from other servers; and the buckets that hold them to it.

Source: PROTOCOL.md, "Index servers" and "Index servers: federation"; design R40.
"""

from collections import OrderedDict
from enum import IntEnum

from offset_engine.core.route_terms import SCANNED_EDGES_MAX
from offset_engine.core.values import INDEX_EDGES_MAX, PublicKey, value


class AckCode(IntEnum):
    """The server's answer to an update."""

    OK = 0
    STALE = 1
    SEND_FULL = 2
    INVALID = 3
    TOO_MANY_EDGES = 4


@value
class IndexLimits:
    """What one server takes on, all configurable; the practice village shortens the times."""

    tick_ms: int = 10_000
    window_ticks: int = 18
    node_timeout_ms: int = 90_000
    """Three keepalives."""
    connections_max: int = 20_000
    nodes_max: int = 100_000
    currencies_max: int = 256
    currencies_per_node_max: int = 32
    """So that one stranger cannot use all of them up."""
    edges_per_node_max: int = INDEX_EDGES_MAX
    edges_max: int = 1_000_000
    """Of everybody; each takes up to 425 bytes of memory."""
    edges_per_second: int = 50
    """Per node: what it reports beyond that counts here, and is not passed on to other servers."""
    edges_burst: int = 4_096
    """Eight times all a node may report."""
    update_bytes_max: int = 65_536
    updates_per_second: int = 2
    """Per node: a node may report removals twice a second."""
    updates_burst: int = 20
    scanned_per_second: int = 400_000
    """Edges per node asking."""
    scanned_burst: int = 4_000_000
    scanned_charge_min: int = 1_000
    scanned_query_max: int = SCANNED_EDGES_MAX
    """Edges one query may look at; the driver does nothing else meanwhile."""


@value
class FederationLimits:
    """What one server takes from the servers it trusts: any of them may have gone bad."""

    peers_max: int = 64
    """Links to other servers; a tick names the newest tick of each."""
    nodes_remote_max: int = 90_000
    """Nodes others told of; the rest of `nodes_max` is for those that come themselves."""
    nodes_per_peer_max: int = 60_000
    currencies_remote_max: int = 192
    """With so many currencies, others' nodes cannot bring new ones."""
    currencies_per_peer_max: int = 64
    """New ones from one server, so that none takes them all."""
    edges_remote_max: int = 900_000
    edges_per_peer_max: int = 500_000
    chain_plain_links: int = 6
    """A longer chain may be padded: a shorter copy is passed on as well. With this many a chain still
    reaches nine servers further, as far as a resync does."""
    unproven_ms: int = 1_500_000
    """So long others' word that a node is alive counts without a fresh signature of it."""
    queued_nodes_max: int = 10_000
    """Nodes whose updates wait for one slow server."""
    queued_edges_max: int = 200_000
    """Edges in them."""
    large_per_second: int = 8_000
    """Edges of large updates that leave for one server: less than it reads, so that small ones never wait."""
    large_burst: int = 200_000
    queued_deltas_max: int = 8
    """DELTAs of one node; one more drops them, and the gap will be noticed."""
    work_per_second: int = 10_000
    """Edges read for one server; beyond that it has to wait."""
    work_burst: int = 400_000
    faults_max: int = 16
    """Things no honest server passes on; then its link is closed."""
    alive_gap_ms: int = 1_000
    """Between two bundles of signs of life."""
    resync_gap_ms: int = 10_000
    """Between two times all own nodes are asked for a FULL, in the long run."""
    resync_burst: int = 8
    """So many times in a row when servers find each other: one for each hop."""
    resync_tick_ms: int = 1_000
    """The clock ticks early for a resync: only what is signed after that can be proved."""
    resync_hops: int = 8
    resync_spread_ms: int = 1_000
    """The least time nodes have for their FULL."""
    resync_spread_per_node_ms: int = 10
    resyncs_remembered: int = 1_024
    need_gap_ms: int = 30_000
    """Between two requests for a FULL of the same node."""
    needs_remembered: int = 5_000
    """Nodes one server was asked for; and own nodes asked. It is not asked for more within the gap."""
    fulls_per_second: int = 100
    """FULLs of single nodes that one server may ask for."""
    fulls_burst: int = 500


class Recent:
    """What was done to whom, so that it is not done again too soon. What is recent is never forgotten."""

    def __init__(self, gap_ms: int, keys_max: int) -> None:
        self._gap_ms = gap_ms
        self._keys_max = keys_max
        self._done_ms: OrderedDict[PublicKey, int] = OrderedDict()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._done_ms)

    def may(self, key: PublicKey, now_ms: int) -> bool:
        """Whether it may be done to `key` now, and then it counts as done; not if there are too many."""
        for _ in range(2):  # two out for one in: what is old needs no memory
            if self._done_ms and now_ms - next(iter(self._done_ms.values())) >= self._gap_ms:
                self._done_ms.popitem(last=False)
        done_ms = self._done_ms.get(key)
        if done_ms is None and len(self._done_ms) >= self._keys_max:
            return False
        if done_ms is not None and now_ms - done_ms < self._gap_ms:
            return False
        self._done_ms[key] = now_ms
        self._done_ms.move_to_end(key)
        return True


class Allowance:
    """Token buckets per key, each kept as what is missing from it and since when."""

    def __init__(self, per_second: int, burst: int, keys_max: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._keys_max = keys_max
        self._missing: OrderedDict[PublicKey, tuple[int, int]] = OrderedDict()

    def left(self, key: PublicKey, now_ms: int) -> int:
        """Tokens `key` has now; negative after it overdrew."""
        missing, at_ms = self._missing.get(key, (0, now_ms))
        return self._burst - max(0, missing - (now_ms - at_ms) * self._per_second // 1000)

    def spend(self, key: PublicKey, tokens: int, now_ms: int) -> None:
        """Take tokens (at least 1), which may overdraw; at the limit the least recent spender is forgotten."""
        self._missing[key] = (self._burst - self.left(key, now_ms) + tokens, now_ms)
        self._missing.move_to_end(key)
        for _ in range(2):  # two out for one in: a full bucket needs no memory
            oldest = next(iter(self._missing))
            if self.left(oldest, now_ms) < self._burst and len(self._missing) <= self._keys_max:
                break
            del self._missing[oldest]
