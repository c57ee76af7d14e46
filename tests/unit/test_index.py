"""The index server's rules one by one; time is virtual and connections are numbers."""

from itertools import count

import pytest

from offset_engine.core.codec import decode_index_client_message, encode_index_client_message
from offset_engine.core.crypto import expand_seed, public_key_of, sha512_256, sign
from offset_engine.core.index import (
    AckCode,
    Close,
    HashClock,
    IndexLimits,
    IndexServer,
    RouteCode,
    Send,
)
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import (
    Alive,
    Edge,
    EdgeRemoved,
    IndexUpdate,
    Info,
    InfoRequest,
    RoutesRequest,
    RoutesResponse,
    TimeHash,
    UpdateAck,
)
from offset_engine.core.signing import index_update_buffer, time_hash
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    HashResult,
    PrivateKey,
    PublicKey,
    RandValue,
    Rate,
    Signature,
    Uid,
)
from offset_engine.errors import DecodeError, InvariantError
from tests.covers import covers

FST = Currency("FST")
FREE = Rate()
TICK = 10_000
STRANGER = PublicKey(bytes(31) + b"\x09")


class Node:
    """A client that signs."""

    def __init__(self, number: int) -> None:
        seed = PrivateKey(bytes([number]) * 32)
        self.key = public_key_of(seed)
        self.secret = expand_seed(seed)
        self.session = Uid(bytes([number]) * 16)
        self.counter = -1

    def update(self, mutations, clock, *, full=True, counter=None, node=None) -> IndexUpdate:
        self.counter = self.counter + 1 if counter is None else counter
        ordered = tuple(sorted(mutations, key=lambda m: (m.friend, m.currency)))
        head = (node or self.key, self.session, self.counter, full, clock, RandValue(bytes(16)))
        unsigned = IndexUpdate(*head, ordered, Signature(bytes(64)))
        return IndexUpdate(
            *head, ordered, Signature(sign(self.secret, index_update_buffer(unsigned)))
        )


A, B, C, D = (Node(i) for i in range(1, 5))


class Bench:
    """A server, a clock, and the connections of some nodes."""

    def __init__(self, limits: IndexLimits | None = None) -> None:
        for node in (A, B, C, D):
            node.counter = -1
            node.session = Uid(node.key[:16])
        self.now = 1_000_000
        self.randoms = count(1)
        self.server = IndexServer(limits or IndexLimits(), self.now, bytes(16))
        self.conn: dict[PublicKey, int] = {}
        self.numbers = count(1)
        self.clock = HashResult(bytes(32))

    def link(self, node: Node) -> list:
        conn = self.conn[node.key] = next(self.numbers)
        effects = self.server.connected(conn, node.key)
        self.hear(effects)
        return effects

    def hear(self, effects: list) -> None:
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, TimeHash):
                self.clock = effect.message.time_hash

    def say(self, node: Node, message) -> list:
        return self.server.received(self.conn[node.key], message, self.now)

    def report(self, node: Node, *mutations, **options) -> AckCode:
        (effect,) = self.say(node, node.update(mutations, self.clock, **options))
        assert (effect.message.session_id, effect.message.counter) == (node.session, node.counter)
        return effect.message.code

    def wait(self, ms: int) -> None:
        end = self.now + ms
        while self.server.deadline_ms() <= end:
            self.now = max(self.now, self.server.deadline_ms())
            self.hear(self.server.on_deadline(self.now, next(self.randoms).to_bytes(16, "big")))
        self.now = end

    def keep_alive(self, ms: int, *nodes: Node) -> None:
        for _ in range(ms // 30_000):
            self.wait(30_000)
            for node in nodes:
                assert self.say(node, Alive(node.session, node.counter)) == []

    def routes(self, node: Node, dest: Node, amount: int = 10, **changes) -> RoutesResponse:
        request = question(dest.key, amount, **changes)
        (effect,) = self.say(node, request)
        assert effect.message.request_id == request.request_id
        return effect.message

    def line(self) -> None:
        """A – B – C, everybody reporting."""
        for node in (A, B, C):
            self.link(node)
        assert self.report(A, Edge(B.key, FST, 100, Rate(0, 20_000))) == AckCode.OK
        edges = (Edge(A.key, FST, 100, Rate(0, 7)), Edge(C.key, FST, 100, Rate(0, 1_000)))
        assert self.report(B, *edges) == AckCode.OK
        assert self.report(C, Edge(B.key, FST, 100, Rate(0, 20_000))) == AckCode.OK


def question(dest: PublicKey, amount: int = 10, **changes) -> RoutesRequest:
    fields = {
        "request_id": Uid(b"q" * 16), "kind": 0, "currency": FST, "amount": amount, "dest": dest,
        "first_friend": None, "last_friend": None, "max_fee": CREDITS_MAX, "max_parts": 8,
        "max_keys": 32, "exclude_edges": (), "exclude_nodes": (),
    }  # fmt: skip
    return RoutesRequest(**(fields | changes))


# --- hash clock ---


@covers("NT49")
def test_hash_clock_vectors():
    first = time_hash([sha512_256(bytes(16))])
    second = time_hash([sha512_256(b"\x01" * 16), first])
    assert first.hex() == "64d486343dfd6749a2f0cbca0632b1eae072885b6f1b4f85b216885ecfeac56a"
    assert second.hex() == "6b842a443a819bc45f98efff8fb9d75c965139ab25c63c6d2f4fb876680be887"
    clock = HashClock(18)
    assert clock.tick(bytes(16)) == first
    assert clock.tick(b"\x01" * 16, (first,)) == second == clock.newest
    assert clock.proves(first) == (1, (sha512_256(bytes(16)),))


@covers("NT49")
def test_four_servers_in_a_full_mesh_prove_each_others_clients_fresh_until_the_window_ends():
    clocks = [HashClock(18) for _ in range(4)]
    randoms = (i.to_bytes(16, "big") for i in count())

    def tick_all() -> None:
        newest = [clock.newest for clock in clocks]
        for i, clock in enumerate(clocks):
            clock.tick(next(randoms), tuple(t for j, t in enumerate(newest) if j != i))

    for clock in clocks:
        clock.tick(next(randoms))
    tick_all()
    tick_all()
    signed = clocks[0].newest
    _, link0 = clocks[0].proves(signed)
    for other in clocks[1:]:
        number, link = other.proves(signed, (link0,))
        assert number == 2
        far = [c for c in clocks[1:] if c is not other]
        assert all(c.proves(signed, (link0, link)) is not None for c in far)
    assert clocks[1].proves(signed) is None
    assert clocks[1].proves(signed, ((HashResult(bytes(32)), *link0),)) is None
    for _ in range(17):
        tick_all()
    assert clocks[0].proves(signed) is not None
    assert clocks[1].proves(signed, (link0,)) is None
    tick_all()
    assert clocks[0].proves(signed) is None


def test_chains_beyond_their_limits_prove_nothing():
    clock = HashClock(18)
    tick = clock.tick(bytes(16))
    assert clock.proves(tick, ((tick,),) * 17) is None
    assert clock.proves(tick, ((tick,) * 129,)) is None


@covers("NT49")
def test_an_update_over_a_tick_that_left_the_window_is_stale():
    bench = Bench()
    bench.link(A)
    old = bench.clock
    bench.wait(17 * TICK)
    assert bench.say(A, A.update((), old))[0].message.code == AckCode.OK
    bench.wait(TICK)
    assert bench.say(A, A.update((), old))[0].message.code == AckCode.STALE
    assert bench.report(A) == AckCode.OK


def test_the_time_hash_comes_at_once_and_at_every_tick():
    bench = Bench()
    (effect,) = bench.link(A)
    assert effect == Send(1, TimeHash(bench.clock, TICK))
    bench.link(B)
    bench.now += TICK
    assert bench.server.deadline_ms() == bench.now
    effects = bench.server.on_deadline(bench.now, b"r" * 16)
    assert [effect.conn for effect in effects] == [1, 2]
    assert effects[0].message.time_hash != bench.clock
    assert bench.server.on_deadline(bench.now + TICK - 1, b"s" * 16) == []


@covers("NT59")
def test_a_server_that_stood_still_ticks_once_and_goes_on():
    bench = Bench()
    bench.line()
    bench.now += 60_000
    assert len(bench.server.on_deadline(bench.now, b"r" * 16)) == 3
    assert bench.server.deadline_ms() == bench.now + TICK
    assert bench.report(A, Edge(B.key, FST, 5, FREE)) == AckCode.OK


# --- updates ---


def test_a_delta_follows_by_counter_or_is_refused():
    bench = Bench()
    bench.line()
    assert bench.report(C, Edge(B.key, FST, 50, FREE), full=False) == AckCode.OK
    assert bench.routes(A, C, 100).reachable == 50
    gap = bench.report(C, Edge(B.key, FST, 5, FREE), full=False, counter=3)
    assert gap == AckCode.SEND_FULL
    again = bench.report(C, Edge(B.key, FST, 5, FREE), full=False, counter=1)
    assert again == AckCode.SEND_FULL
    assert bench.routes(A, C, 100).reachable == 50
    assert bench.report(C, Edge(B.key, FST, 5, FREE), counter=9) == AckCode.OK
    assert bench.report(C, EdgeRemoved(B.key, FST), full=False) == AckCode.OK
    assert bench.routes(A, C).code == RouteCode.UNREACHABLE


def test_a_session_begins_with_a_full_update_and_left_ones_never_come_back():
    bench = Bench()
    bench.link(A)
    assert bench.report(A, full=False) == AckCode.SEND_FULL
    sessions = [Uid(bytes([i]) * 16) for i in range(6)]
    for session in sessions:
        A.session = session
        assert bench.report(A, counter=0) == AckCode.OK
    A.session = sessions[4]
    assert bench.report(A, counter=7) == AckCode.INVALID
    A.session = sessions[5]
    assert bench.report(A, full=False, counter=1) == AckCode.OK


def test_a_session_switch_must_not_rest_on_a_much_older_tick():
    bench = Bench()
    bench.link(A)
    old = bench.clock
    bench.wait(TICK)
    older_by_two = bench.clock
    bench.wait(2 * TICK)
    assert bench.report(A) == AckCode.OK
    A.session = Uid(b"x" * 16)
    assert bench.say(A, A.update((), old))[0].message.code == AckCode.STALE
    assert bench.say(A, A.update((), older_by_two))[0].message.code == AckCode.OK


@covers("NT68")
def test_an_update_of_another_node_or_with_a_changed_byte_is_refused():
    bench = Bench()
    bench.line()
    foreign = B.update((Edge(A.key, FST, 1, FREE),), bench.clock)
    assert bench.say(A, foreign)[0].message.code == AckCode.INVALID
    forged = A.update((Edge(B.key, FST, 1, FREE),), bench.clock, node=B.key)
    assert bench.say(A, forged)[0].message.code == AckCode.INVALID
    good = A.update((Edge(B.key, FST, 1, Rate(0, 1)),), bench.clock)
    altered = [
        {"mutations": (Edge(B.key, FST, 1, Rate(0, 2)),)},
        {"mutations": (Edge(B.key, FST, 2, Rate(0, 1)),)},
        {"counter": good.counter + 1},
        {"rand_nonce": RandValue(b"n" * 16)},
    ]
    fields = {name: getattr(good, name) for name in IndexUpdate.__slots__}
    for change in altered:
        ack = bench.say(A, IndexUpdate(**(fields | change)))[0].message
        assert ack.code == AckCode.INVALID
    assert bench.routes(B, A, 50).reachable == 50
    assert bench.say(A, good)[0].message.code == AckCode.OK


@covers("NT57")
def test_removing_unknown_edges_is_acknowledged_and_harmless():
    bench = Bench()
    bench.line()
    gone = (EdgeRemoved(D.key, FST), EdgeRemoved(B.key, Currency("USD")))
    assert bench.report(A, *gone, full=False) == AckCode.OK
    bench.link(D)
    assert bench.report(D) == AckCode.OK
    assert bench.report(D, EdgeRemoved(A.key, FST), full=False) == AckCode.OK
    assert bench.routes(A, C).code == RouteCode.OK


def many(number: int, currency: Currency = FST) -> list[Edge]:
    return [Edge(PublicKey(i.to_bytes(32, "big")), currency, 1, FREE) for i in range(1, number + 1)]


@covers("NT69")
def test_caps_on_edges_and_currencies_are_answered_and_nothing_grows():
    bench = Bench(IndexLimits(updates_burst=100))
    bench.link(A)
    assert bench.report(A, *many(513)) == AckCode.TOO_MANY_EDGES
    assert bench.server.stats(bench.now).nodes == 0
    assert bench.report(A, *many(512)) == AckCode.OK
    extra = Edge(STRANGER, Currency("USD"), 1, FREE)
    assert bench.report(A, extra, full=False) == AckCode.TOO_MANY_EDGES
    bench.link(B)
    coins = [Edge(STRANGER, Currency(f"c{i:02}"), 1, FREE) for i in range(33)]
    assert bench.report(B, *coins) == AckCode.TOO_MANY_EDGES
    assert bench.report(B, *coins[:32]) == AckCode.OK
    assert bench.report(B, coins[32], full=False) == AckCode.TOO_MANY_EDGES
    stats = bench.server.stats(bench.now)
    assert (stats.edges, stats.currencies) == (512 + 32, 33)
    assert bench.report(B) == AckCode.OK
    assert bench.server.stats(bench.now).currencies == 1


def test_a_server_holds_only_so_many_currencies_in_all():
    bench = Bench(IndexLimits(currencies_max=3))
    bench.link(A)
    bench.link(B)
    coins = [Edge(STRANGER, Currency(f"c{i}"), 1, FREE) for i in range(4)]
    assert bench.report(A, *coins[:2]) == AckCode.OK
    assert bench.report(B, *coins[1:]) == AckCode.TOO_MANY_EDGES
    assert bench.report(B, *coins[1:3]) == AckCode.OK


@pytest.mark.parametrize(
    "mutations",
    [
        (Edge(B.key, FST, 1, FREE), Edge(B.key, FST, 2, FREE)),
        (Edge(max(B.key, C.key), FST, 1, FREE), Edge(min(B.key, C.key), FST, 2, FREE)),
        (Edge(A.key, FST, 1, FREE),),
        (EdgeRemoved(B.key, FST),),
        (Edge(B.key, FST, CREDITS_MAX + 1, FREE),),
    ],
    ids=["duplicate", "descending", "own friend", "removal in a full", "too much"],
)
def test_ill_formed_updates_are_refused(mutations):
    bench = Bench()
    bench.link(A)
    good = A.update((), bench.clock)
    fields = {name: getattr(good, name) for name in IndexUpdate.__slots__}
    bad = IndexUpdate(**(fields | {"mutations": mutations}))
    assert bench.say(A, bad)[0].message.code == AckCode.INVALID


def test_too_long_an_update_is_refused():
    bench = Bench(IndexLimits(update_bytes_max=500))
    bench.link(A)
    assert bench.report(A, *many(10)) == AckCode.INVALID
    assert bench.report(A, *many(1)) == AckCode.OK


def test_a_full_server_takes_no_new_node_but_keeps_the_old_ones():
    bench = Bench(IndexLimits(nodes_max=1))
    bench.link(A)
    bench.link(B)
    assert bench.report(A) == AckCode.OK
    assert bench.report(B) == AckCode.TOO_MANY_EDGES
    assert bench.report(A, *many(3), full=False) == AckCode.OK


def test_an_update_flood_closes_the_connection():
    bench = Bench()
    bench.link(A)
    for _ in range(20):
        assert bench.report(A) == AckCode.OK
    (effect,) = bench.say(A, A.update((), bench.clock))
    assert (type(effect), effect.code) == (Close, CloseCode.OVERLOADED)
    assert bench.say(A, InfoRequest()) == []
    bench.now += 1_000
    bench.link(A)
    assert bench.report(A) == AckCode.OK


# --- life and death ---


@covers("NT56")
def test_a_silent_node_loses_its_edges_and_nobody_else_does():
    bench = Bench()
    bench.line()
    bench.link(D)
    bench.report(D, Edge(C.key, FST, 9, FREE))
    bench.report(C, Edge(D.key, FST, 9, FREE), full=False)
    bench.keep_alive(90_000, A, B, C)
    assert bench.server.stats(bench.now).nodes == 3
    assert bench.server.stats(bench.now).expired == 1
    assert bench.routes(A, D).code == RouteCode.UNREACHABLE
    assert bench.routes(A, C).choices[0].parts[0].fee == 7


def test_alive_with_another_counter_asks_for_a_full_update():
    bench = Bench()
    bench.link(A)
    (effect,) = bench.say(A, Alive(A.session, 0))
    assert effect.message == UpdateAck(A.session, 0, AckCode.SEND_FULL)
    assert bench.report(A) == AckCode.OK
    assert bench.say(A, Alive(A.session, 0)) == []
    assert bench.say(A, Alive(A.session, 1))[0].message.code == AckCode.SEND_FULL
    assert bench.say(A, Alive(Uid(b"z" * 16), 0))[0].message.code == AckCode.SEND_FULL


@covers("NT71")
def test_a_new_connection_of_a_node_takes_over_at_once():
    bench = Bench()
    bench.line()
    old = bench.conn[A.key]
    closing, greeting = bench.link(A)
    assert (type(closing), closing.conn, closing.code) == (Close, old, CloseCode.REPLACED)
    assert isinstance(greeting.message, TimeHash)
    assert bench.server.received(old, InfoRequest(), bench.now) == []
    assert bench.server.closed(old) == []
    assert bench.routes(A, C).code == RouteCode.OK
    A.session = Uid(b"n" * 16)
    assert bench.report(A, Edge(B.key, FST, 4, FREE)) == AckCode.OK
    assert bench.server.stats(bench.now).connections == 3


def test_a_closed_connection_keeps_its_edges_until_the_timeout():
    bench = Bench()
    bench.line()
    bench.server.closed(bench.conn[C.key])
    assert bench.routes(A, C).code == RouteCode.OK
    bench.keep_alive(90_000, A, B)
    assert bench.routes(A, C).code == RouteCode.UNREACHABLE


def test_unreadable_messages_close_and_unknown_connections_are_ignored():
    bench = Bench()
    bench.link(A)
    (effect,) = bench.server.malformed(1)
    assert effect.code == CloseCode.PROTOCOL
    assert bench.server.malformed(1) == []
    assert bench.server.closed(99) == []
    assert bench.server.received(99, InfoRequest(), bench.now) == []
    bench.link(A)
    with pytest.raises(InvariantError):
        bench.server.connected(2, B.key)


def test_a_server_at_its_limit_or_stopping_says_so():
    bench = Bench(IndexLimits(connections_max=1))
    bench.link(A)
    (effect,) = bench.link(B)
    assert effect.code == CloseCode.OVERLOADED
    assert len(bench.link(A)) == 2
    (effect,) = bench.server.shut_down()
    assert effect.code == CloseCode.SHUTDOWN
    (effect,) = bench.link(A)
    assert effect.code == CloseCode.SHUTDOWN


# --- questions ---


@covers("NT58")
def test_the_answer_carries_the_exact_fee_of_asymmetric_rates():
    bench = Bench()
    bench.line()
    answer = bench.routes(A, C)
    (choice,) = answer.choices
    (part,) = choice.parts
    assert (answer.code, answer.reachable, choice.label) == (RouteCode.OK, 10, 0)
    assert (part.keys, part.amount, part.fee) == ((A.key, B.key, C.key), 10, 7)


def test_less_than_asked_is_a_partial_answer_and_the_most_is_a_whole_one():
    bench = Bench()
    bench.line()
    partial = bench.routes(A, C, 1_000)
    assert (partial.code, partial.reachable) == (RouteCode.PARTIAL, 93)
    assert partial.choices[0].parts[0].amount == 93
    most = bench.routes(A, C, 0, kind=1)
    assert (most.code, most.reachable) == (RouteCode.OK, 93)
    assert bench.routes(A, C, 50, kind=1).reachable == 50


@covers("RMP-05")
def test_a_question_for_a_cycle_names_the_asker_and_is_answered():
    bench = Bench()
    bench.line()
    assert bench.report(A, Edge(C.key, FST, 50, FREE), full=False) == AckCode.OK
    assert bench.routes(A, A, kind=2, first_friend=B.key).code == RouteCode.NONE
    edges = (Edge(A.key, FST, 50, FREE), Edge(B.key, FST, 50, FREE))
    assert bench.report(C, *edges, full=False) == AckCode.OK
    answer = bench.routes(A, A, kind=2, first_friend=B.key)
    (part,) = answer.choices[0].parts
    assert (answer.code, part.keys) == (RouteCode.OK, (A.key, B.key, C.key, A.key))
    assert bench.routes(A, A, 90, kind=2, first_friend=B.key).code == RouteCode.PARTIAL
    assert bench.routes(A, C, kind=2).code == RouteCode.INVALID


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": 2}, {"kind": 3}, {"amount": 0}, {"amount": CREDITS_MAX + 1}, {"max_fee": -1},
        {"max_parts": 0}, {"max_parts": 33}, {"max_keys": 1}, {"max_keys": 33},
        {"exclude_nodes": (B.key,) * 65}, {"exclude_edges": ((A.key, B.key),) * 65}, {"dest": A.key},
    ],
    ids=str,
)  # fmt: skip
def test_questions_out_of_range_are_invalid(changes):
    bench = Bench()
    bench.line()
    (effect,) = bench.say(A, question(**({"dest": C.key} | changes)))
    assert effect.message.code == RouteCode.INVALID


def test_who_asks_too_much_hears_busy_and_others_do_not():
    bench = Bench(IndexLimits(scanned_burst=3_000, scanned_per_second=1_000))
    bench.line()
    codes = [bench.routes(A, C).code for _ in range(4)]
    assert codes == [RouteCode.OK] * 3 + [RouteCode.BUSY]
    assert bench.routes(B, C).code == RouteCode.OK
    bench.link(A)
    assert bench.routes(A, C).code == RouteCode.BUSY
    bench.now += 1_000
    assert bench.routes(A, C).code == RouteCode.OK
    assert bench.routes(A, C).code == RouteCode.BUSY
    counts = dict(bench.server.stats(bench.now).queries)
    assert (counts[RouteCode.OK], counts[RouteCode.BUSY]) == (5, 3)


@covers("IDX-17")
def test_info_and_age_tell_what_the_server_holds():
    bench = Bench()
    bench.line()
    bench.now += 5_500
    assert bench.say(A, InfoRequest())[0].message == Info(3, 4, 1, 0, 0, 5)
    assert bench.routes(A, C).graph_age_s == 5


@covers("NT69")
@pytest.mark.parametrize("name", ["a\0b", "x" * 17, "", "two words"])
def test_an_impossible_currency_name_never_gets_past_the_codec(name):
    bench = Bench()
    bench.link(A)
    update = A.update((Edge(B.key, Currency(name), 1, FREE),), bench.clock)
    with pytest.raises(DecodeError):
        decode_index_client_message(encode_index_client_message(update))
    assert bench.server.stats(bench.now).edges == 0
