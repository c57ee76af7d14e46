"""What a trusted server gone bad, or strangers who are nobody's friends, do to a federation: little.

Each of these once worked. Time is virtual; limits are scaled down where the real ones would take long.
"""

from itertools import pairwise

import pytest

from offset_engine.core.index import FederationLimits, IndexLimits
from offset_engine.core.index_limits import AckCode
from offset_engine.core.messages import (
    AliveNodes,
    Edge,
    EdgeRemoved,
    Forward,
    IndexUpdate,
    Need,
    SendFull,
)
from offset_engine.core.signing import time_hash
from offset_engine.core.values import Currency, HashResult, PublicKey, Uid
from tests.federation_world import FREE, FST, SECOND, Server, World, seed_of
from tests.unit.test_federation import (
    EDGE,
    FRIEND,
    MINUTE,
    Signer,
    Stranger,
    accepted,
    federated,
    forwarded,
    newest_tick,
    two_friends,
)

Links = tuple[tuple[HashResult, ...], ...]


def tick_far_away(server: Server, links: int) -> tuple[HashResult, Links]:
    """A tick that so many links prove to this server, and the links."""
    found = [(newest_tick(server),)]
    while len(found) < links:
        found.append((time_hash(found[-1]),))
    return time_hash(found[-1]), tuple(reversed(found))


def key_number(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(32, "big"))


def edges(number: int, currency: Currency = FST, first: int = 1) -> list[Edge]:
    return [Edge(key_number(first + i), currency, 5, FREE) for i in range(number)]


def updates_of(stranger: Stranger, node: Signer) -> list[Forward]:
    return [m for m in stranger.hear() if isinstance(m, Forward) and m.update.node == node.key]


# --- chains that are longer than they need be ----------------------------------------------------


def ways(server: Server, padded: int) -> tuple[HashResult, Links, Links]:
    """A tick that the server can be led to in a padded way, and in one of a single link."""
    inner, links = tick_far_away(server, padded - 1)
    last = (inner, newest_tick(server))
    return time_hash(last), (last, *links), (last,)


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("padded", [7, 14, 15])
def test_the_first_copy_with_a_short_chain_is_passed_on_too(full: bool, padded: int) -> None:
    world, (server,) = federated(1)
    bad, honest, behind = (Stranger(world, server, name) for name in ("bad", "honest", "behind"))
    node = Signer()
    if not full:
        bad.say(forwarded(server, node, EDGE))
    behind.hear()
    tick, long, short = ways(server, padded)
    update = node.update(tick, EDGE, full=full)
    bad.say(Forward(update, long))
    waiting = [] if padded == 15 else updates_of(behind, node)
    assert [len(one.chain) for one in waiting] == ([] if padded == 15 else [padded + 1])
    honest.say(Forward(update, short))
    assert [len(one.chain) for one in updates_of(behind, node)] == [2]
    honest.say(Forward(update, short))
    bad.say(Forward(update, long))
    assert updates_of(behind, node) == []  # once
    assert (server.stats.nodes, bad.stats.nodes_brought) == (1, 1)


def test_of_two_copies_that_wait_only_the_shorter_is_sent() -> None:
    world, (server,) = federated(1)
    bad, honest, behind = (Stranger(world, server, name) for name in ("bad", "honest", "behind"))
    node = Signer()
    bad.say(forwarded(server, node, EDGE))
    tick, long, short = ways(server, 10)
    delta = node.update(tick, EDGE, full=False)
    behind.hear()
    bad.say(Forward(delta, long))
    honest.say(Forward(delta, short))
    assert [len(one.chain) for one in updates_of(behind, node)] == [2]


def test_a_short_copy_counts_only_if_it_is_that_update_and_fresh() -> None:
    world, (server,) = federated(1)
    bad, other, behind = (Stranger(world, server, name) for name in ("bad", "other", "behind"))
    node = Signer()
    tick, long, short = ways(server, 10)
    update = node.update(tick, EDGE)
    bad.say(Forward(update, long))
    behind.hear()
    fields = {name: getattr(update, name) for name in IndexUpdate.__slots__}
    for change in ({"mutations": ()}, {"signature": bytes(64)}):
        other.say(Forward(IndexUpdate(**(fields | change)), short))
    other.say(Forward(update, ((tick,),)))
    assert updates_of(behind, node) == []
    assert other.stats.faults == 0


def test_a_way_that_is_not_long_needs_no_second_copy() -> None:
    world, (server,) = federated(1)
    quick, other, behind = (Stranger(world, server, n) for n in ("quick", "other", "behind"))
    node = Signer()
    tick, long, short = ways(server, 6)
    update = node.update(tick, EDGE)
    quick.say(Forward(update, long))
    behind.hear()
    other.say(Forward(update, short))
    assert updates_of(behind, node) == []


def test_a_chain_that_nobody_could_take_next_is_not_believed() -> None:
    world, (server,) = federated(1)
    bad, node = Stranger(world, server), Signer()
    tick, links = tick_far_away(server, 16)
    bad.say(Forward(node.update(tick, EDGE), links))
    assert (server.stats.nodes, bad.stats.refused) == (0, 1)


# --- asking -------------------------------------------------------------------------------------


def test_who_does_not_answer_does_not_keep_us_from_asking_another() -> None:
    world, (server,) = federated(1)
    bad, honest = Stranger(world, server, "bad"), Stranger(world, server, "honest")
    node = Signer()
    for _ in range(3):
        bad.hear(), honest.hear()
        bad.say(AliveNodes(((node.key, Uid(world.random(16)), 1),)))
        assert Need(node.key) in bad.hear()
        honest.say(AliveNodes(((node.key, node.session, 0),)))
        assert honest.hear()[-1] == Need(node.key)
        world.run(31 * SECOND)


def test_a_quick_server_that_lies_about_a_node_and_never_answers_hides_it_for_seconds() -> None:
    world, (server,) = federated(1)
    bad, honest = Stranger(world, server, "bad"), Stranger(world, server, "honest")
    node = Signer()
    known = 0
    for second in range(300):
        bad.say(AliveNodes(((node.key, Uid(world.random(16)), 1),)))
        if second % 30 == 0 and node.counter >= 0:
            honest.say(AliveNodes(((node.key, node.session, node.counter),)))
        if Need(node.key) in honest.hear() or second == 5:
            update = forwarded(server, node, EDGE)
            bad.say(update)
            honest.say(update)
        world.run(SECOND)
        known += server.core._nodes.get(node.key) is not None
    assert known >= 290


def test_made_up_nodes_do_not_make_a_server_forget_whom_it_has_asked() -> None:
    world, (server,) = federated(1, federation=FederationLimits(needs_remembered=50))
    alice = world.add_node(server)
    world.run(SECOND)
    bad, honest = Stranger(world, server, "bad"), Stranger(world, server, "honest")
    asked = []
    for number in range(50):
        made_up = tuple((key_number(number * 100 + n), Uid(bytes(16)), 0) for n in range(100))
        bad.say(AliveNodes(made_up))
        asked += bad.say(Need(alice.key))
        world.run(500)
    assert len(asked) == 1
    assert sum(isinstance(one, Need) for one in bad.hear()) == 50
    honest.say(AliveNodes(((FRIEND, Uid(bytes(16)), 0),)))
    assert Need(FRIEND) in honest.hear()
    world.run(31 * SECOND)
    bad.say(AliveNodes(((FRIEND, Uid(bytes(16)), 0),)))
    assert Need(FRIEND) in bad.hear()


def test_needs_for_own_nodes_have_a_price_and_give_each_its_time() -> None:
    limits = FederationLimits(fulls_per_second=2, fulls_burst=20)
    world, (server,) = federated(1, federation=limits)
    nodes = [world.add_node(server) for _ in range(60)]
    world.run(SECOND)
    bad = Stranger(world, server)
    effects = [effect for node in nodes for effect in bad.say(Need(node.key))]
    assert [effect.message.spread_ms for effect in effects] == [10 * n for n in range(20)]
    assert all(isinstance(effect.message, SendFull) for effect in effects)
    world.run(5 * SECOND)
    assert len([effect for node in nodes for effect in bad.say(Need(node.key))]) == 10
    other = Stranger(world, server, "other")
    assert len(other.say(Need(nodes[-1].key))) == 1  # it has its own allowance


def test_needs_passed_on_have_a_price_too() -> None:
    limits = FederationLimits(fulls_per_second=2, fulls_burst=20)
    world, (server,) = federated(1, federation=limits)
    honest, bad = Stranger(world, server, "honest"), Stranger(world, server, "bad")
    signers = [Signer(f"node {number}") for number in range(60)]
    for signer in signers:
        honest.say(forwarded(server, signer, EDGE))
    honest.hear()
    for signer in signers:
        bad.say(Need(signer.key))
    assert honest.hear() == [Need(signer.key) for signer in signers[:20]]


# --- filling up ---------------------------------------------------------------------------------


def test_one_server_does_not_take_every_currency_and_what_else_is_said_counts() -> None:
    limits = FederationLimits(currencies_remote_max=6, currencies_per_peer_max=4)
    world, (server,) = federated(1, federation=limits)
    bad, honest = Stranger(world, server, "bad"), Stranger(world, server, "honest")
    behind = Stranger(world, server, "behind")
    behind.hear()
    for number in range(6):
        bad.say(forwarded(server, Signer(f"sybil {number}"), *edges(1, Currency(f"c{number}"))))
    assert server.stats.currencies == 4
    node = Signer()
    usd = Edge(FRIEND, Currency("USD"), 1, FREE)
    honest.say(forwarded(server, node, EDGE, usd))
    assert (server.stats.currencies, honest.stats.refused) == (6, 0)
    eur = Edge(FRIEND, Currency("EUR"), 1, FREE)
    honest.say(forwarded(server, node, EDGE, eur, full=False))
    honest.say(forwarded(server, node, EdgeRemoved(FRIEND, Currency("EUR")), full=False))
    assert (server.stats.currencies, honest.stats.refused) == (6, 0)
    assert server.core.graph.edges_of(node.key) == 2
    (*_, whole, _) = updates_of(behind, node)
    assert eur in whole.update.mutations  # the others judge for themselves
    assert bad.stats.refused == 0


def test_a_currency_that_is_gone_no_longer_counts_for_who_brought_it() -> None:
    limits = FederationLimits(currencies_per_peer_max=1)
    world, (server,) = federated(1, federation=limits)
    other, node = Stranger(world, server), Signer()
    for number in range(4):
        other.say(forwarded(server, node, *edges(1, Currency(f"c{number}"))))
        other.say(forwarded(server, node))
    other.say(forwarded(server, node, *edges(1, Currency("c4"))))
    assert server.stats.currencies == 1


def test_edges_are_bounded_in_all_and_for_each_server() -> None:
    limits = IndexLimits(edges_max=100)
    federation = FederationLimits(edges_remote_max=80, edges_per_peer_max=50)
    world, (server,) = federated(1, limits=limits, federation=federation)
    bad, honest = Stranger(world, server, "bad"), Stranger(world, server, "honest")
    first, second = Signer("first"), Signer("second")
    bad.say(forwarded(server, first, *edges(40)))
    bad.say(forwarded(server, second, *edges(20)))
    assert (server.stats.edges, bad.stats.refused) == (40, 1)
    bad.say(forwarded(server, second, *edges(10)))
    bad.say(forwarded(server, first, *edges(41)))
    assert (server.stats.edges, bad.stats.refused) == (50, 2)
    node = Signer("node")
    honest.say(forwarded(server, node, *edges(31)))
    honest.say(forwarded(server, node, *edges(30)))
    assert (server.stats.edges, honest.stats.refused) == (80, 1)
    honest.say(forwarded(server, first, *edges(20)))  # what moves makes room where it was
    assert (server.stats.edges, honest.stats.nodes_brought) == (60, 2)
    bad.say(forwarded(server, second, *edges(30)))
    assert (server.stats.edges, bad.stats.refused) == (80, 2)
    own = world.add_node(server)
    own.report({key_number(n): 1 for n in range(1, 21)})
    world.run(5 * SECOND)
    assert server.stats.edges == 100
    more = world.add_node(server)
    more.report({FRIEND: 1})
    world.run(500)
    assert server.stats.edges == 100
    assert dict(server.stats.updates)[AckCode.TOO_MANY_EDGES] == 1
    bad.say(forwarded(server, second, *edges(1)))
    assert server.stats.edges == 71
    world.run(5 * MINUTE)
    assert bad.stats.nodes_brought == honest.stats.nodes_brought == 0
    bad.say(forwarded(server, second, *edges(50)))  # all of it was given back
    assert bad.stats.nodes_brought == 1


# --- an own node's word ---------------------------------------------------------------------------


def test_another_session_of_an_own_node_is_not_taken_from_others_while_it_speaks() -> None:
    world, servers = federated(2, [(0, 1)])
    alice, bob = two_friends(world, *servers)
    recorded: list[Forward] = []
    original = world.carry

    def record(pipe, message) -> None:
        if isinstance(message, Forward) and message.update.node == alice.key:
            recorded.append(message)
        original(pipe, message)

    world.carry = record
    for amount in range(6):  # a bad network: more sessions than are remembered
        alice.connect(servers[0])
        alice.report({bob: amount})
        world.run(2 * SECOND)
    bad = Stranger(world, servers[0])
    for one in recorded:
        bad.say(Forward(one.update, ()))
    assert bad.stats.accepted == 0
    assert world.run_until(world.agree, MINUTE) < SECOND


def test_a_node_that_went_elsewhere_is_believed_there_when_it_has_fallen_silent_here() -> None:
    world, (server,) = federated(1)
    alice = world.add_node(server)
    alice.report({FRIEND: 5})
    world.run(5 * SECOND)
    alice.session = None  # its connection is dead, and nobody knows
    other, elsewhere = Stranger(world, server), Signer()
    elsewhere.seed, elsewhere.key = seed_of(alice.name), alice.key
    other.say(forwarded(server, elsewhere, EDGE))
    assert other.stats.refused == 1
    world.run(46 * SECOND)
    other.say(forwarded(server, elsewhere, EDGE))
    assert other.stats.nodes_brought == 1


# --- strangers ----------------------------------------------------------------------------------


def crowd(world: World, server: Server, number: int, size: int, every_ms: int) -> list[Signer]:
    """Plain clients of a server that report so many edges, all of them again and again."""
    found = [Signer(f"stranger {n}") for n in range(number)]
    conns = {one.key: next(world.conns) for one in found}

    def report(one: Signer) -> None:
        update = one.update(newest_tick(server), *edges(size))
        server.perform(server.core.received(conns[one.key], update, world.now))
        world.later(every_ms, lambda: report(one))

    for place, one in enumerate(found):
        server.perform(server.core.connected(conns[one.key], one.key))
        world.later(1 + place * every_ms // number, lambda one=one: report(one))
    return found


def slow_links(world: World, servers: list[Server]) -> None:
    """A link holds a few messages; the rest waits at the sender while the other end does not read."""

    def pump(server: Server, conn: int) -> None:
        pipe = server.pipes.get(conn)
        while pipe is not None and pipe.is_open and len(pipe.twin.arrived) < 4:
            message = server.core.federation.next_message(conn)
            if message is None:
                break
            world.carry(pipe, message)

    def resume(server: Server, pipe) -> None:
        pipe.is_paused = False
        arrived, pipe.arrived = pipe.arrived, []
        for payload in arrived:
            server.read(pipe, payload)
        if pipe.is_open:
            pipe.other.pump(pipe.twin.conn)

    for server in servers:
        server.pump = lambda conn, one=server: pump(one, conn)
        server.resume = lambda pipe, one=server: resume(one, pipe)


@pytest.mark.parametrize("size", [64, 8])
def test_a_crowd_of_strangers_closes_no_link_and_starves_nobody(size: int) -> None:
    limits = IndexLimits(edges_per_second=8, edges_burst=512)
    federation = FederationLimits(
        work_per_second=200, work_burst=8_000, queued_edges_max=2_000, large_per_second=160,
        large_burst=2_000,
    )  # fmt: skip
    world, servers = federated(2, [(0, 1)], limits=limits, federation=federation)
    slow_links(world, servers)
    near, far = servers
    honest = world.add_node(near)
    honest.report({FRIEND: 1})
    crowd(world, near, 40, size, 8 * SECOND * size // 64)
    waited, seen = [], 0
    for amount in range(2, 10):
        honest.report({FRIEND: amount})
        started = world.now
        while world.now - started < 10 * SECOND:
            world.run(500)
            told = [report[0] for (node, *_), report in far.picture().items() if node == honest.key]
            if told == [amount]:
                waited.append(world.now - started)
                break
        world.run(10 * SECOND - (world.now - started))
        seen = max(seen, far.stats.nodes)
    assert near.closed == far.closed == []
    assert len(waited) == 8
    assert max(waited) <= 6 * SECOND
    assert seen >= 30  # the strangers get what is left


def test_a_node_is_passed_on_as_often_as_it_can_pay_for() -> None:
    limits = IndexLimits(edges_per_second=5, edges_burst=100, updates_burst=100)
    world, servers = federated(2, [(0, 1)], limits=limits)
    near, far = servers
    crowd(world, near, 1, 50, SECOND)
    world.run(60 * SECOND)
    assert near.acks >= 59
    assert 2 <= accepted(far) <= 9
    assert far.stats.nodes == 1


def test_large_updates_leave_no_faster_than_the_other_end_reads() -> None:
    federation = FederationLimits(large_per_second=100, large_burst=200)
    world, servers = federated(2, [(0, 1)], federation=federation)
    source = Stranger(world, servers[0])
    counts = []
    for number in range(20):
        servers[0].perform(source.say(forwarded(servers[0], Signer(f"node {number}"), *edges(50))))
    small = Signer("small")
    servers[0].perform(source.say(forwarded(servers[0], small, EDGE)))
    for _ in range(9):
        world.run(SECOND)
        counts.append(servers[1].stats.nodes)
    assert servers[1].core._nodes.get(small.key) is not None
    assert 5 <= counts[0] <= 8
    assert all(1 <= later - earlier <= 3 for earlier, later in pairwise(counts[:6]))
    assert counts[-1] == 21
