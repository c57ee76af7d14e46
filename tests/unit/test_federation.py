"""Index servers among themselves: what spreads, what does not, and what a server gone bad can do.

Time is virtual and links are pipes (`tests.federation_world`).
"""

from dataclasses import replace
from itertools import pairwise

import pytest

from offset_engine.core import codec
from offset_engine.core.crypto import expand_seed, public_key_of, sign, speaks_first
from offset_engine.core.index import (
    Close,
    FederationLimits,
    IndexLimits,
    PausePeer,
    PeerReady,
    ResumePeer,
    Send,
)
from offset_engine.core.link import PURPOSE_LIMITS, CloseCode
from offset_engine.core.messages import (
    AliveNodes,
    Edge,
    Forward,
    IndexUpdate,
    Need,
    PeerInfo,
    Resync,
    SendFull,
    TimeHash,
)
from offset_engine.core.noise import Purpose
from offset_engine.core.signing import index_update_buffer, time_hash
from offset_engine.core.values import (
    Currency,
    HashResult,
    PublicKey,
    RandValue,
    Rate,
    Signature,
    Uid,
)
from offset_engine.errors import DecodeError, InvariantError
from tests.covers import covers
from tests.federation_world import FREE, FST, SECOND, Node, Server, World, seed_of

MINUTE = 60 * SECOND
TICK = 10 * SECOND
LINE = ((0, 1), (1, 2))
SQUARE_WITH_DIAGONAL = ((0, 1), (1, 2), (2, 3), (3, 0), (0, 2))


def federated(number: int, pairs=(), **settings) -> tuple[World, list[Server]]:
    """So many servers that trust each other, with these links, two ticks later."""
    world = World(**settings)
    servers = world.add_servers(number)
    for one, other in pairs:
        world.link(servers[one], servers[other])
    world.run(3 * TICK)
    return world, servers


def two_friends(world: World, at: Server, other: Server) -> tuple[Node, Node]:
    alice, bob = world.add_node(at, "alice"), world.add_node(other, "bob")
    alice.report({bob: 100})
    bob.report({alice: 200})
    return alice, bob


def accepted(server: Server) -> int:
    return sum(one.accepted for one in server.core.federation.stats())


class Stranger:
    """The other end of a link, played by the test: it has a trusted key and may say anything."""

    def __init__(self, world: World, server: Server, name: str = "bad") -> None:
        self.world = world
        self.server = server
        self.key = public_key_of(seed_of(name))
        self.conn = next(world.conns)
        keys = [one.server for one in server.core.federation.stats()]
        server.core.federation.set_trusted([*keys, self.key])
        self.effects = self.arrive()
        self.tick()

    def tick(self) -> None:
        self.say(TimeHash(HashResult(bytes(32)), TICK))
        self.world.later(TICK, self.tick)

    def arrive(self, *, is_preferred: bool = True) -> list:
        return self.server.core.federation.connected(
            self.conn, self.key, self.world.now, self.world.random(16), is_preferred=is_preferred
        )

    def say(self, message) -> list:
        return self.server.core.federation.received(self.conn, message, self.world.now)

    def hear(self) -> list:
        """Everything the server has to tell us."""
        take = self.server.core.federation.next_message
        return list(iter(lambda: take(self.conn), None))

    @property
    def stats(self):
        return next(one for one in self.server.core.federation.stats() if one.server == self.key)


class Signer:
    """Makes updates of a node that is nobody's client."""

    def __init__(self, name: str = "node") -> None:
        self.seed = seed_of(name)
        self.key = public_key_of(self.seed)
        self.session = Uid(name.encode().ljust(16)[:16])
        self.counter = -1

    def update(self, time_hash: HashResult, *mutations, full: bool = True) -> IndexUpdate:
        self.counter += 1
        ordered = tuple(sorted(mutations, key=lambda one: (one.friend, one.currency)))
        head = (self.key, self.session, self.counter, full, time_hash, RandValue(bytes(16)))
        unsigned = IndexUpdate(*head, ordered, Signature(bytes(64)))
        signature = sign(expand_seed(self.seed), index_update_buffer(unsigned))
        return IndexUpdate(*head, ordered, signature)


def newest_tick(server: Server) -> HashResult:
    return server.core._clock.newest


def forwarded(server: Server, signer: Signer, *mutations, full: bool = True) -> Forward:
    """An update that this server must believe."""
    return Forward(signer.update(newest_tick(server), *mutations, full=full), ())


FRIEND = public_key_of(seed_of("friend"))
EDGE = Edge(FRIEND, FST, 10, FREE)


# --- what spreads -------------------------------------------------------------------------------


@covers("NT50", "IDX-03")
@pytest.mark.parametrize(("number", "pairs"), [(3, LINE), (4, SQUARE_WITH_DIAGONAL)])
def test_each_server_takes_an_update_once_and_no_link_carries_it_twice_in_a_direction(
    number: int, pairs: tuple
) -> None:
    world, servers = federated(number, pairs)
    alice, bob = two_friends(world, servers[0], servers[-1])
    world.run(5 * SECOND)
    assert world.agree()
    before = [accepted(server) for server in servers]
    carried = world.carried["Forward"]
    alice.report({bob: 50})
    world.run(5 * SECOND)
    assert world.agree()
    assert [accepted(server) - n for server, n in zip(servers, before, strict=True)] == [
        0, *[1] * (number - 1)
    ]  # fmt: skip
    copies = world.carried["Forward"] - carried
    assert number - 1 <= copies <= 2 * len(pairs) - (number - 1)


@covers("NT53", "IDX-03")
def test_a_link_that_comes_up_late_shows_both_sides_everybody() -> None:
    world, servers = federated(4, [(0, 1), (2, 3)])
    two_friends(world, servers[0], servers[3])
    world.run(MINUTE)
    assert not world.agree()
    world.link(servers[1], servers[2])
    assert world.run_until(world.agree, MINUTE) < 10 * SECOND


@covers("NT54")
def test_a_partition_heals_and_nothing_stale_outlives_the_timeout() -> None:
    world, servers = federated(3, LINE)
    alice, bob = two_friends(world, servers[0], servers[2])
    carol = world.add_node(servers[0], "carol")
    carol.report({alice: 7})
    world.run(10 * SECOND)
    assert world.agree()
    world.cut(servers[1], servers[2])
    alice.report({bob: 1})
    bob.report({})
    carol.leave()
    world.run(2 * MINUTE)
    assert servers[2].picture() == {}
    assert {node for node, _, _ in servers[0].picture()} == {alice.key}
    world.run(8 * MINUTE)
    world.link(servers[1], servers[2])
    assert world.run_until(world.agree, MINUTE) < 10 * SECOND


@covers("NT55")
def test_after_a_restart_a_server_with_1000_nodes_is_complete_within_a_minute() -> None:
    world = World()
    world.grain = 50
    old, other = world.add_servers(2)
    world.link(old, other)
    nodes = [world.add_node(old) for _ in range(1_000)]
    for before, node in pairwise(nodes):
        node.report({before: 5})
    world.run_until(world.agree, MINUTE)
    fresh = world.restart(old)
    for number, node in enumerate(nodes):
        world.later(number * 10, lambda one=node: one.connect(fresh))  # their dials have jitter
    world.link(fresh, other)
    most, last = 0, 0
    started = world.now
    while not world.agree():
        world.run(SECOND)
        most, last = max(most, fresh.acks - last), fresh.acks
        assert world.now - started < MINUTE
    assert most < 500


@covers("NT70")
def test_a_lost_delta_is_noticed_and_made_up_for() -> None:
    world, (one, other) = federated(2, [(0, 1)])
    alice, bob = two_friends(world, one, other)
    world.run(5 * SECOND)
    (pipe,) = one.pipes.values()
    pipe.is_stuck = True
    for amount in range(12):
        alice.report({bob: 10 + amount})
        world.run(2 * SECOND)
    outbox = one.core.federation._peers[pipe.conn].outbox
    assert outbox.queued_edges <= 9
    pipe.is_stuck = False
    one.pump(pipe.conn)
    world.run(5 * SECOND)
    assert world.carried["Need"] > 0
    assert world.agree()


def test_messages_that_vanish_are_made_up_for() -> None:
    world, servers = federated(3, LINE)
    world.loss, world.redials = 0.3, True
    alice, bob = two_friends(world, servers[0], servers[2])
    for amount in range(20):
        alice.report({bob: 10 + amount})
        world.run(3 * SECOND)
    world.loss = 0
    assert world.run_until(world.agree, 2 * MINUTE) < 90 * SECOND


# --- who is alive -------------------------------------------------------------------------------


@covers("IDX-07")
def test_signs_of_life_reach_every_server_and_silence_does_too() -> None:
    world, servers = federated(4, [(0, 1), (1, 2), (2, 3), (3, 1)])
    alice, bob = two_friends(world, servers[0], servers[3])
    world.run(5 * MINUTE)
    assert world.agree()
    assert world.carried["AliveNodes"] > 0
    alice.leave()
    world.run(100 * SECOND)
    assert world.agree()
    assert {node for node, _, _ in servers[3].picture()} == {bob.key}


def test_when_its_way_is_gone_a_node_is_found_by_another_one() -> None:
    world, servers = federated(3, [(0, 1), (1, 2), (2, 0)])
    two_friends(world, servers[0], servers[0])
    world.run(5 * SECOND)
    alice = world.nodes[0].key
    via = servers[2].core._nodes.get(alice).via
    (gone,) = [server for server in servers if server.key == via]
    world.cut(gone, servers[2])
    world.run(3 * MINUTE)
    assert world.agree()
    assert servers[2].stats.expired == 0


def test_only_the_server_that_brought_the_last_update_is_believed() -> None:
    world, (server,) = federated(1)
    good, bad = Stranger(world, server, "good"), Stranger(world, server, "bad")
    node = Signer()
    good.say(forwarded(server, node, EDGE))
    alive = AliveNodes(((node.key, node.session, 0),))
    for _ in range(10):
        world.run(10 * SECOND)
        bad.say(alive)
    assert server.stats.nodes == 0
    good.say(forwarded(server, node, EDGE))
    for _ in range(10):
        world.run(10 * SECOND)
        good.say(AliveNodes(((node.key, node.session, 1),)))
    assert server.stats.nodes == 1


def test_without_a_fresh_signature_nobody_is_kept_alive_for_ever() -> None:
    world, (server,) = federated(1, federation=FederationLimits(unproven_ms=5 * MINUTE))
    other, node = Stranger(world, server), Signer()
    other.say(forwarded(server, node, EDGE))
    alive_for = 0
    while server.stats.nodes:
        world.run(30 * SECOND)
        alive_for += 30 * SECOND
        other.say(AliveNodes(((node.key, node.session, 0),)))
    assert 5 * MINUTE < alive_for <= 5 * MINUTE + 2 * MINUTE


def test_a_sign_of_life_of_something_unknown_asks_for_it_once_in_a_while() -> None:
    world, (server,) = federated(1)
    other, node = Stranger(world, server), Signer()
    other.hear()
    alive = AliveNodes(((node.key, node.session, 3),))
    assert other.say(alive) == [PeerReady(other.conn)]
    assert other.hear() == [Need(node.key)]
    assert other.say(alive) == []
    world.run(31 * SECOND)
    assert other.say(alive) == [PeerReady(other.conn)]


def test_a_need_goes_back_the_way_the_update_came() -> None:
    world, servers = federated(4, [(0, 1), (1, 2), (2, 3)])
    alice, _ = two_friends(world, servers[0], servers[0])
    world.run(5 * SECOND)
    far = Stranger(world, servers[3], "far")
    session = alice.session
    counter = session.acked_counter
    far.say(Need(alice.key))
    servers[3].perform([PeerReady(conn) for conn in servers[3].pipes])
    far.say(Need(alice.key))  # somebody asked just now
    world.run(5 * SECOND)
    assert world.carried["Need"] == 3
    assert session.acked_counter == counter + 1
    assert world.agree()


# --- replays and forgeries ----------------------------------------------------------------------


@covers("NT51", "IDX-04", "IDX-06")
def test_old_sessions_replayed_in_a_ring_go_nowhere() -> None:
    world, servers = federated(3, [(0, 1), (1, 2), (2, 0)])
    alice, bob = two_friends(world, servers[0], servers[1])
    world.run(SECOND)
    recorded: list[Forward] = []
    original = world.carry

    def record(pipe, message) -> None:
        if isinstance(message, Forward) and message.update.node == alice.key:
            recorded.append(message)
        original(pipe, message)

    world.carry = record
    for amount in range(1, 4):
        alice.connect(servers[0])
        alice.report({bob: amount})
        world.run(SECOND)
    world.carry = original
    assert len({one.update.session_id for one in recorded}) == 3
    carried = world.carried["Forward"]
    mallory = Stranger(world, servers[1], "mallory")
    for _ in range(20):
        for one in recorded:
            mallory.say(one)
    world.run(SECOND)
    assert world.carried["Forward"] == carried
    assert world.agree()
    assert mallory.stats.accepted == 0


@covers("NT52", "IDX-05")
def test_what_a_server_altered_is_refused_counted_and_in_the_end_closes_its_link() -> None:
    world, (server,) = federated(1)
    bad, node = Stranger(world, server), Signer()
    good = forwarded(server, node, EDGE, Edge(FRIEND, Currency("USD"), 5, Rate(0, 7)))
    update = good.update
    fields = {name: getattr(update, name) for name in IndexUpdate.__slots__}
    changes = [
        {"mutations": (replace(update.mutations[0], rate=Rate(0, 1)), update.mutations[1])},
        {
            "mutations": (
                replace(update.mutations[0], currency=Currency("FSTU")),
                update.mutations[1],
            )
        },
        {"mutations": (replace(update.mutations[0], recv_capacity=11), update.mutations[1])},
        {"mutations": update.mutations[:1]},
        {"counter": 1},
        {"node": FRIEND, "mutations": ()},
        {"session_id": Uid(b"another session!")},
        {"mutations": update.mutations[::-1]},
    ]
    for number, change in enumerate(changes, 1):
        assert bad.say(Forward(IndexUpdate(**(fields | change)), ())) == []
        assert bad.stats.faults == number
    assert server.stats.nodes == 0
    assert bad.say(good) == []
    assert bad.stats.accepted == 1
    effects = []
    while not effects:
        forged = replace(forwarded(server, node, EDGE).update, signature=Signature(bytes(64)))
        effects = bad.say(Forward(forged, ()))
    (close,) = effects
    assert (type(close), close.code) == (Close, CloseCode.ABUSE)
    assert bad.stats.faults == 16
    assert not bad.stats.is_up


@covers("NT75")
def test_chains_beyond_every_bound_are_refused_cheaply_and_counted() -> None:
    world, (server,) = federated(1)
    bad, node = Stranger(world, server), Signer()
    update = forwarded(server, node, EDGE).update
    tick = newest_tick(server)
    for chain in (((tick,),) * 17, ((tick,) * 129,)):
        payload = codec.encode_index_peer_message(Forward(update, chain))
        with pytest.raises(DecodeError):
            codec.decode_index_peer_message(payload)
        assert bad.say(Forward(update, chain)) == []  # nor does the core believe them
    (sizes,) = [one for one in PURPOSE_LIMITS if one.purpose == Purpose.INDEX_SERVER]
    assert max(sizes.to_initiator, sizes.to_responder) < 1024 * 1024
    assert server.stats.nodes == 0
    assert bad.stats.refused == 2
    (close,) = server.core.federation.malformed(bad.conn)
    assert close.code is CloseCode.PROTOCOL
    assert bad.stats.faults == 1
    assert server.core.federation.malformed(bad.conn) == []


def test_a_chain_of_15_links_is_believed_and_not_made_longer() -> None:
    world, servers = federated(3, [(0, 1)])
    bad, node = Stranger(world, servers[0]), Signer()
    tick = newest_tick(servers[0])
    links = [(tick,)]
    for _ in range(14):
        links.append((time_hash(links[-1]),))
    update = node.update(time_hash(links[-1]), EDGE)
    carried = world.carried["Forward"]
    servers[0].perform(bad.say(Forward(update, tuple(reversed(links)))))
    assert servers[0].stats.nodes == 1
    assert world.carried["Forward"] == carried


@covers("NT49", "IDX-04")
def test_an_update_is_refused_elsewhere_when_the_window_is_over() -> None:
    world, (one, other) = federated(2, [(0, 1)])
    two_friends(world, one, other)
    recorded: list[Forward] = []
    original = world.carry
    world.carry = lambda pipe, m: (
        recorded.append(m) if isinstance(m, Forward) and pipe.owner is one else None,
        original(pipe, m),
    )
    world.run(5 * SECOND)
    alice = world.nodes[0]
    alice.leave()
    world.run(100 * SECOND)
    world.carry = original
    assert other.core._nodes.get(alice.key) is None
    (pipe,) = other.pipes.values()
    for ticks, nodes in ((5, 2), (20, 1)):
        world.run(ticks * TICK)
        other.core.federation.received(pipe.conn, recorded[0], world.now)
        assert other.stats.nodes == nodes


# --- trust and links ----------------------------------------------------------------------------


@covers("NT72", "IDX-02")
def test_only_trusted_servers_are_let_in_and_trust_can_end_at_any_time() -> None:
    world, (one, other) = federated(2, [(0, 1)])
    alice, _ = two_friends(world, one, other)
    world.run(5 * SECOND)
    (pipe,) = one.pipes.values()
    one.perform(one.core.federation.set_trusted([]))
    assert one.closed == [(pipe.conn, CloseCode.NOT_AUTHORIZED)]
    again = world.link(other, one)
    assert one.closed[-1] == (again.twin.conn, CloseCode.NOT_AUTHORIZED)
    assert not one.core.federation.is_up(other.key)
    world.run(100 * SECOND)
    assert {node for node, _, _ in one.picture()} == {alice.key}
    one.core.federation.set_trusted([other.key])
    world.link(other, one)
    assert world.run_until(world.agree, MINUTE) < 10 * SECOND


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_when_both_dial_at_once_both_keep_the_same_link(order: tuple) -> None:
    world = World()
    one, other = sorted(
        world.add_servers(2), key=lambda s: speaks_first(s.key, PublicKey(bytes(32)))
    )
    preferred, second = (one, other) if speaks_first(one.key, other.key) else (other, one)
    ids = {
        (side, mine): next(world.conns) for side in (preferred, second) for mine in (True, False)
    }

    def arrive(side: Server, is_preferred: bool) -> list:
        return side.core.federation.connected(
            ids[side, is_preferred],
            (second if side is preferred else preferred).key,
            world.now,
            world.random(16),
            is_preferred=is_preferred,
        )

    first = [*arrive(preferred, order[0]), *arrive(second, order[1])]
    then = [*arrive(preferred, order[1]), *arrive(second, order[0])]
    assert all(isinstance(effect, PeerReady) for effect in first)
    closed = {effect.conn: effect.code for effect in then if isinstance(effect, Close)}
    assert closed == {
        ids[preferred, False]: CloseCode.DUPLICATE if order[0] else CloseCode.REPLACED,
        ids[second, False]: CloseCode.DUPLICATE if order[1] else CloseCode.REPLACED,
    }


def test_who_dials_again_has_lost_the_older_link() -> None:
    world, (one, other) = federated(2, [(0, 1)])
    (old,) = one.pipes.values()
    world.link(one, other)
    assert old.conn in dict(one.closed)
    assert dict(one.closed)[old.conn] is CloseCode.REPLACED
    assert one.core.federation.stats()[0].is_up
    assert one.core.federation.peers_up == 1


def test_only_so_many_servers_and_none_twice_by_number() -> None:
    world, (server,) = federated(1, federation=FederationLimits(peers_max=1))
    first = Stranger(world, server, "first")
    second = Stranger(world, server, "second")
    assert second.effects == [Close(second.conn, CloseCode.OVERLOADED, "too many index servers")]
    with pytest.raises(InvariantError):
        first.arrive()


def test_a_server_whose_clock_stands_still_is_left() -> None:
    world, (one, other) = federated(2, [(0, 1)])
    (pipe,) = one.pipes.values()
    pipe.is_stuck = True
    world.run(31 * SECOND)
    assert other.closed == [(pipe.twin.conn, CloseCode.CLOCK)]


def test_a_server_that_stops_says_so_and_takes_nobody() -> None:
    world, (server,) = federated(1)
    other = Stranger(world, server)
    closes = server.core.shut_down()
    assert [(one.conn, one.code) for one in closes] == [(other.conn, CloseCode.SHUTDOWN)]
    assert [one.code for one in other.arrive()] == [CloseCode.SHUTDOWN]
    assert other.say(Need(FRIEND)) == []


@covers("IDX-17")
def test_numbers_for_the_operator() -> None:
    world, servers = federated(2, [(0, 1)])
    two_friends(world, *servers)
    servers[0].core.federation.set_trusted([servers[1].key, FRIEND])
    world.run(15 * SECOND)
    about, absent = servers[0].core.federation.stats()
    assert (about.server, about.is_up, about.nodes_brought) == (servers[1].key, True, 1)
    assert (about.nodes_held, about.edges_held) == (2, 2)
    assert about.accepted > 0
    assert not absent.is_up
    federation = servers[0].core.federation
    assert (federation.peers_up, federation.peers_down) == (1, 1)


# --- floods -------------------------------------------------------------------------------------


def test_a_flood_is_not_read_until_it_has_been_paid_for() -> None:
    limits = FederationLimits(work_burst=1_000, work_per_second=1_000)
    world, (server,) = federated(1, federation=limits)
    bad = Stranger(world, server)
    alive = AliveNodes(tuple((FRIEND, Uid(bytes(16)), n) for n in range(1_000)))
    effects = []
    sent = 0
    while PausePeer(bad.conn) not in effects:
        effects += bad.say(alive)
        sent += 1
    assert sent == 4
    assert bad.say(alive) == []  # what was under way
    started = world.now
    while ResumePeer(bad.conn) not in effects:
        world.now = server.core.deadline_ms()
        effects += server.core.on_deadline(world.now, bytes(16))
    assert 0 < world.now - started <= 2 * SECOND
    assert bad.stats.is_up


def test_one_server_cannot_fill_another_up() -> None:
    limits = IndexLimits(nodes_max=10, currencies_max=8)
    federation = FederationLimits(nodes_remote_max=6, nodes_per_peer_max=4, currencies_remote_max=3)
    world, (server,) = federated(1, limits=limits, federation=federation)
    bad, worse = Stranger(world, server, "bad"), Stranger(world, server, "worse")
    for number in range(8):
        bad.say(forwarded(server, Signer(f"sybil {number}")))
    assert (bad.stats.nodes_brought, bad.stats.refused, server.stats.nodes) == (4, 4, 4)
    for number in range(8):
        worse.say(forwarded(server, Signer(f"other {number}")))
    assert (worse.stats.nodes_brought, server.stats.nodes) == (2, 6)
    greedy = Signer("sybil 0")
    greedy.session = Uid(b"another session!")
    coins = [Edge(FRIEND, Currency(f"c{number}"), 1, FREE) for number in range(4)]
    bad.say(forwarded(server, greedy, *coins))
    assert server.stats.currencies == 0
    bad.say(forwarded(server, greedy, *coins[:3]))
    assert server.stats.currencies == 3
    honest = world.add_node(server)
    honest.report({FRIEND: 5})
    world.run(5 * SECOND)
    assert (server.stats.nodes, server.stats.currencies) == (7, 4)
    assert bad.say(forwarded(server, Signer("sybil 1"))) == []  # what it brought before may change


def test_a_node_that_moves_counts_for_who_brings_it_now() -> None:
    federation = FederationLimits(nodes_per_peer_max=1)
    world, (server,) = federated(1, federation=federation)
    one, other, node = Stranger(world, server, "one"), Stranger(world, server, "other"), Signer()
    one.say(forwarded(server, node, EDGE))
    other.say(forwarded(server, node, EDGE))
    assert (one.stats.nodes_brought, other.stats.nodes_brought) == (0, 1)
    one.say(forwarded(server, Signer("more")))
    other.say(forwarded(server, Signer("too much")))
    assert (one.stats.nodes_brought, other.stats.nodes_brought) == (1, 1)


def test_resyncs_cost_a_node_little_however_many_there_are() -> None:
    world, servers = federated(2, [(0, 1)])
    alice, _ = two_friends(world, *servers)
    world.run(MINUTE)
    bad = Stranger(world, servers[0])
    session, counter, started = alice.session, alice.session.acked_counter, world.now
    resyncs = world.carried["Resync"]
    while world.now - started < 2 * MINUTE:
        for _ in range(100):
            bad.say(Resync(Uid(world.random(16)), 255))
        world.run(500)
    assert session.acked_counter - counter <= 8 + 12
    assert world.carried["Resync"] - resyncs <= 64 * (8 + 12)
    assert len(servers[0].core.federation._seen_resyncs) <= 1_024
    assert world.agree()


def test_a_resync_is_acted_on_once_and_goes_only_so_far() -> None:
    world, servers = federated(4, [(0, 1), (1, 2), (2, 3)])
    bad = Stranger(world, servers[0])
    world.run(MINUTE)
    before = world.carried["Resync"]
    for _ in range(3):
        bad.say(Resync(Uid(b"x" * 16), 2))
        world.run(10 * SECOND)
    assert world.carried["Resync"] - before == 2
    (send,) = {type(e) for e in servers[0].core.federation.ticked(world.now)}
    assert send is PeerReady


def test_a_server_that_takes_nothing_costs_a_bounded_amount_and_catches_up_later() -> None:
    federation = FederationLimits(queued_nodes_max=20, queued_edges_max=100)
    world, (one, other) = federated(2, [(0, 1)], federation=federation)
    (pipe,) = one.pipes.values()
    pipe.is_stuck = True
    source = Stranger(world, one, "source")
    nodes = [Signer(f"node {number}") for number in range(40)]
    for node in nodes:
        one.perform(source.say(forwarded(one, node, EDGE)))
    assert one.core.federation._peers[pipe.conn].outbox.queued_nodes == 20
    assert one.closed == []
    pipe.is_stuck = False
    one.pump(pipe.conn)
    world.run(5 * SECOND)
    assert other.stats.nodes == 20
    source.hear()
    for node in nodes:
        one.perform(source.say(AliveNodes(((node.key, node.session, 0),))))
    world.run(5 * SECOND)
    assert {need.node for need in source.hear() if isinstance(need, Need)} == {
        node.key for node in nodes[20:]
    }


def test_fabricated_signs_of_life_and_needs_leave_nothing_behind() -> None:
    federation = FederationLimits(needs_remembered=50)
    world, (server,) = federated(1, federation=federation)
    bad = Stranger(world, server)
    bad.hear()
    for number in range(20):
        nodes = tuple(
            (PublicKey(bytes([number, n // 256, n % 256]) + bytes(29)), Uid(bytes(16)), 0)
            for n in range(1_000)
        )
        bad.say(AliveNodes(nodes))
        bad.say(Need(nodes[0][0]))
    assert len(server.core.federation._peers[bad.conn].asked) == 50
    assert len(bad.hear()) <= 1_000
    assert server.stats.nodes == 0


def test_messages_of_a_link_that_is_gone_are_not_read() -> None:
    world, (server,) = federated(1)
    other = Stranger(world, server)
    server.core.closed(other.conn)
    assert other.say(forwarded(server, Signer())) == []
    assert other.hear() == []
    assert server.stats.nodes == 0


def test_the_first_thing_said_is_a_tick_then_a_resync() -> None:
    world, (server,) = federated(1)
    other = Stranger(world, server)
    tick, info, resync = other.hear()
    assert (type(tick), tick.time_hash) == (TimeHash, newest_tick(server))
    assert info == PeerInfo(0, 0)
    assert (type(resync), resync.hops_left) == (Resync, 8)


def test_a_need_for_an_own_node_asks_it_at_once() -> None:
    world, (server,) = federated(1)
    alice = world.add_node(server)
    world.run(SECOND)
    other = Stranger(world, server)
    assert other.say(AliveNodes(((alice.key, Uid(bytes(16)), 9),))) == []  # it speaks for itself
    assert other.say(Need(alice.key)) == [Send(alice.conn, SendFull(Uid(alice.key[:16]), 0))]
    assert other.say(Need(alice.key)) == []
    assert other.say(Need(FRIEND)) == []
