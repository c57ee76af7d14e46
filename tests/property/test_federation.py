"""Whatever happens to a federation of index servers, once it is over all of them know the same, and are quiet.

Lines, rings and stars of three to six servers; nodes that report, move, leave and come back; links that are
cut, partitions, messages that vanish. Then everything is healed.
"""

from typing import Final

import hypothesis.strategies as st
from hypothesis import given, settings

from offset_engine.core.values import Timers
from tests.covers import covers
from tests.federation_world import SECOND, World

SHAPES: Final = {
    "line": lambda n: [(i, i + 1) for i in range(n - 1)],
    "ring": lambda n: [(i, (i + 1) % n) for i in range(n)],
    "star": lambda n: [(0, i) for i in range(1, n)],
}
NODES: Final = 5
MINUTE: Final = 60 * SECOND

_server, _node = st.integers(0, 5), st.integers(0, NODES - 1)
_event = st.one_of(
    st.tuples(st.just("report"), _node, st.dictionaries(_node, st.integers(0, 99), max_size=3)),
    st.tuples(st.just("move"), _node, _server),
    st.tuples(st.just("leave"), _node),
    st.tuples(st.just("cut"), _server),
    st.tuples(st.just("mend"), _server),
    st.tuples(st.just("lose"), st.sampled_from([0.0, 0.2, 0.6])),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 20, 120])),
)


class Federation:
    """A world of one shape, and what may happen to it."""

    def __init__(self, shape: str, number: int) -> None:
        self.world = World()
        self.world.redials = True
        self.world.timers = Timers(index_full_ms=100 * MINUTE)  # nothing but what happens here
        self.servers = self.world.add_servers(number)
        self.pairs = SHAPES[shape](number)
        for pair in range(len(self.pairs)):
            self.mend(pair)
        for place in range(NODES):
            self.world.add_node(self.servers[place % number])

    def happen(self, event: tuple) -> None:
        kind, *details = event
        getattr(self, kind)(*details)

    def report(self, node: int, edges: dict[int, int]) -> None:
        nodes = self.world.nodes
        nodes[node].report({nodes[to]: n for to, n in edges.items() if to != node})

    def move(self, node: int, server: int) -> None:
        self.world.nodes[node].connect(self.servers[server % len(self.servers)])

    def leave(self, node: int) -> None:
        self.world.nodes[node].leave()

    def cut(self, pair: int) -> None:
        one, other = self._ends(pair)
        self.world.cut(one, other)

    def mend(self, pair: int) -> None:
        one, other = self._ends(pair)
        if not one.core.federation.is_up(other.key):
            self.world.link(one, other)

    def lose(self, share: float) -> None:
        self.world.loss = share

    def wait(self, seconds: int) -> None:
        self.world.run(seconds * SECOND)

    def _ends(self, pair: int):
        one, other = self.pairs[pair % len(self.pairs)]
        return self.servers[one], self.servers[other]

    def heal(self) -> None:
        self.world.loss = 0.0
        self.world.run(5 * SECOND)
        for pair in range(len(self.pairs)):
            self.mend(pair)


@covers("NT50", "NT53", "NT54", "IDX-03", "IDX-07")
@given(st.sampled_from(sorted(SHAPES)), st.integers(3, 6), st.lists(_event, max_size=15))
@settings(max_examples=60)
def test_after_any_trouble_all_servers_agree_and_fall_silent(shape: str, number: int, happened):
    federation = Federation(shape, number)
    world = federation.world
    for event in happened:
        federation.happen(event)
        world.run(SECOND)
    federation.heal()
    world.run(100 * SECOND)  # who left times out
    world.run_until(world.agree, 150 * SECOND, step_ms=2 * SECOND)
    world.run(120 * SECOND)  # late resyncs
    carried = world.carried.copy()
    world.run(100 * SECOND)
    assert world.agree()
    assert world.carried["Forward"] - carried["Forward"] == 0
    assert world.carried["Need"] - carried["Need"] == 0
    for server in world.servers:
        for peer in server.core.federation._peers.values():
            assert (peer.outbox.queued_nodes, peer.outbox.queued_edges) == (0, 0)
        assert all(one.faults == 0 for one in server.core.federation.stats())
        assert server.stats.nodes <= NODES
