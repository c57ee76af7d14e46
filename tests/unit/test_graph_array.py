"""The array engine: what it stores, how it gives memory back, and numbers that do not fit into its words."""

import random
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from offset_engine import graph_array
from offset_engine.core.graph import Graph
from offset_engine.core.messages import Edge, EdgeRemoved
from offset_engine.core.route_terms import Ask, Flow, RouteKind, RouteQuery, Weights
from offset_engine.core.values import CREDITS_MAX, Currency, PublicKey, Rate
from offset_engine.net.index_engine import index_engine

pytest.importorskip("numba", reason="the array engine needs the extra `index`")

import numpy as np

from offset_engine.graph_array import jit
from offset_engine.graph_array.engine import ArrayGraph
from offset_engine.graph_array.layout import SATURATED
from offset_engine.graph_array.pool import BLOCK_SIZES, SlotPool, room_for
from offset_engine.graph_array.retired import Retired
from offset_engine.graph_array.search_kernels import NUMBERS_MAX
from offset_engine.graph_array.terrain import ArrayTerrain
from offset_engine.graph_array.workspace import Workspace

FST, USD = Currency("FST"), Currency("USD")
FREE = (0, 0)


def key(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(4, "little") * 8)


A, B, C, D = (key(number) for number in range(1, 5))


NO_CHARGE = Rate()


def friends(graph, u, v, there, back=0, *, rate=NO_CHARGE, currency=FST):
    """`there` credits can go u → v, for which v charges `rate`; and the other way round."""
    graph.apply(v, (Edge(u, currency, there, rate),))
    graph.apply(u, (Edge(v, currency, back, Rate()),))


def ask(graph, amount, source=A, dest=C, **changes):
    return graph.route(RouteQuery(FST, source, dest, amount, CREDITS_MAX, **changes))


def pool_with(*pairs: tuple[PublicKey, PublicKey]) -> SlotPool:
    pool = SlotPool()
    for one, other in pairs:
        pool.put(one, other, (10, *FREE))
        pool.put(other, one, (10, *FREE))
    return pool


# --- what is stored -------------------------------------------------------------------------------


def test_a_friendship_counts_when_both_report_it_and_until_one_does_not():
    graph = ArrayGraph()
    graph.apply(A, (Edge(B, FST, 5, Rate()), Edge(B, USD, 5, Rate())))
    assert (graph.node_count, graph.edge_count, graph.currency_count) == (1, 2, 2)
    assert graph.currencies_of(A) == (FST, USD)
    assert not graph.is_reachable(A, FST)
    graph.apply(B, (Edge(A, FST, 7, Rate()),))
    assert graph.is_reachable(A, FST)
    assert not graph.is_reachable(A, USD)
    assert ask(graph, 5, B, A).reachable == 5
    graph.apply(A, (EdgeRemoved(B, FST), EdgeRemoved(C, FST), EdgeRemoved(B, Currency("X"))))
    assert not graph.is_reachable(B, FST)
    assert graph.reports(B, A, FST)
    assert not graph.reports(A, B, FST)
    assert graph.edges_of(A) == graph.edges_of(B) == 1
    graph.remove_node(A)
    graph.remove_node(B)
    assert (graph.node_count, graph.edge_count, graph.currency_count) == (0, 0, 0)
    assert not graph.has_currency(FST)


def test_whoever_reports_itself_is_no_friend_of_its_own():
    graph = ArrayGraph()
    graph.apply(A, (Edge(A, FST, 5, Rate()),) * 2)
    assert graph.edges_of(A) == 1
    assert not graph.is_reachable(A, FST)


def test_loading_at_once_equals_reporting_one_by_one():
    keys = [key(number) for number in range(20)]
    pairs = np.array([(u, v) for u in range(20) for v in range(u) if (u * v) % 3 != 1], np.int32)
    reports = np.arange(6 * len(pairs), dtype=np.int64).reshape(-1, 6)
    loaded, reported = ArrayGraph(), ArrayGraph()
    loaded.load(FST, keys, pairs, reports)
    for (u, v), row in zip(pairs.tolist(), reports.tolist(), strict=True):
        reported.apply(keys[u], (Edge(keys[v], FST, row[0], Rate(*row[1:3])),))
        reported.apply(keys[v], (Edge(keys[u], FST, row[3], Rate(*row[4:])),))
    assert loaded.edge_count == reported.edge_count == 2 * len(pairs)
    for source, dest in zip(keys, keys[7:] + keys[:7], strict=True):
        one, other = (ask(graph, 40, source, dest, max_parts=4) for graph in (loaded, reported))
        assert one == other
    loaded.apply(keys[0], (Edge(key(99), FST, 5, Rate()),))
    loaded.apply(key(99), (Edge(keys[0], FST, 5, Rate()),))
    assert ask(loaded, 5, key(99), keys[0]).reachable == 5


def test_only_an_empty_currency_of_friends_is_loaded():
    graph = ArrayGraph()
    pairs, reports = np.array([(0, 1)], np.int32), np.zeros((1, 6), np.int64)
    with pytest.raises(ValueError, match="has a friend"):
        graph.load(FST, [A, B, C], pairs, reports)
    graph.load(USD, [A, B], pairs, reports)
    with pytest.raises(ValueError, match="already reports in USD"):
        graph.load(USD, [A, B], pairs, reports)


def test_a_packed_pool_is_the_same_graph():
    names = [key(number) for number in range(30)]
    pool = pool_with(*((u, v) for u in names for v in names if u < v))
    for u in names[:10]:
        for v in names[10:]:
            pool.drop(u, v)
    before = {u: set(pool.reported_by(u)) for u in names}
    pool.pack()
    assert {u: set(pool.reported_by(u)) for u in names} == before
    rows, rev, _ = pool.view
    linked = [(u, v) for u in names for v in before[u] if u in before[v]]
    assert len(linked) == 2 * pool.link_count > 100
    for u, v in linked:
        slot = pool.slot_of(pool.view, u, v)
        assert pool.keys[rows[1, slot, 0]] == v
        assert rev[rev[slot]] == slot


def test_blocks_come_in_steps_of_at_most_a_quarter():
    assert room_for(0) == 0
    assert [room_for(count) for count in (1, 8, 9, 11, 100)] == [1, 8, 10, 12, 112]
    assert all(b <= a + max(1, a // 4) for a, b in pairwise(BLOCK_SIZES))


# --- memory is given back -------------------------------------------------------------------------


def test_numbers_and_blocks_of_those_who_left_are_used_again():
    pool, draw = SlotPool(), random.Random(1)
    sizes = []
    for round_number in range(60):
        names = [key(1000 * round_number + number) for number in range(30)]
        links = [(u, v) for u in names for v in names if u < v]
        draw.shuffle(links)
        for u, v in links:
            pool.put(u, v, (1, *FREE))
            pool.put(v, u, (1, *FREE))
        draw.shuffle(links)
        for u, v in links:
            assert pool.drop(u, v)
            assert pool.drop(v, u)
        assert pool.is_empty
        sizes.append(pool.hot_bytes)
    assert len(pool.keys) == 30
    assert sizes[-1] == sizes[len(sizes) // 2]
    assert len(pool.view[1]) < 4 * 30 * 29


def test_what_a_running_search_may_look_at_is_not_used_again_before_it_ends():
    pool = pool_with((A, B))
    places = {pool.ids[A], pool.ids[B]}
    search = pool.retired.begin()
    pool.drop(A, B)
    pool.drop(B, A)
    for one, other in ((C, D), (key(5), key(6))):
        pool.put(one, other, (1, *FREE))
        pool.put(other, one, (1, *FREE))
    assert places.isdisjoint({pool.ids[C], pool.ids[D]})
    assert {pool.keys[place] for place in places} == {A, B}
    pool.retired.end(search)
    pool.put(key(7), C, (1, *FREE))
    pool.put(C, key(7), (1, *FREE))
    assert pool.ids[key(7)] in places


def test_a_place_waits_for_all_searches_that_began_before_it_was_given_up():
    retired = Retired()
    first = retired.begin()
    retired.add(10, 4)
    second = retired.begin()
    retired.add(20, 0)
    assert list(retired.free()) == []
    retired.end(first)
    assert list(retired.free()) == [(10, 4)]
    retired.add(30, 4)
    retired.forget_blocks()
    retired.end(second)
    assert list(retired.free()) == [(20, 0)]


class Searcher(threading.Thread):
    """Asks for routes in a ring, many times."""

    def __init__(self, graph: ArrayGraph, ring: list[PublicKey], stride: int) -> None:
        super().__init__()
        self.graph, self.ring, self.stride = graph, ring, stride
        self.answers = 0

    def run(self) -> None:
        size = len(self.ring)
        for number in range(300):
            source, dest = number * self.stride % size, (number * 13 + 5) % size
            result = ask(self.graph, 40, self.ring[source], self.ring[dest], max_parts=3)
            assert all(len(set(part.keys)) == len(part.keys) for part in result.parts)
            self.answers += 1


def test_searches_in_threads_and_changes_at_the_same_time_do_not_disturb_each_other():
    graph = ArrayGraph()
    ring = [key(number) for number in range(60)]
    for step in (1, 7):
        for u, v in zip(ring, ring[step:] + ring[:step], strict=True):
            friends(graph, u, v, 50, 50, rate=Rate(1 << 28, 1))
    searchers = [Searcher(graph, ring, stride) for stride in (7, 11)]
    for searcher in searchers:
        searcher.start()
    guests = [key(1000 + number) for number in range(200)]
    while any(searcher.is_alive() for searcher in searchers):
        for number, guest in enumerate(guests):
            host, other = ring[number % 60], ring[(number + 1) % 60]
            friends(graph, guest, host, 10, 10)
            graph.apply(host, (Edge(other, FST, number, NO_CHARGE),))
        for number, guest in enumerate(guests):
            graph.remove_node(guest)
            graph.apply(ring[number % 60], (EdgeRemoved(guest, FST),))
    assert [searcher.answers for searcher in searchers] == [300, 300]
    assert graph.edge_count == 240


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "capacity", [SATURATED - 1, SATURATED, SATURATED + 1, 2**64, CREDITS_MAX, 2**24 + 1, 2**53 + 1]
)
def test_capacities_of_every_size_are_exact(capacity):
    graph = ArrayGraph()
    friends(graph, A, B, capacity)
    friends(graph, B, C, capacity)
    assert ask(graph, capacity).reachable == capacity
    assert ask(graph, capacity + 1).reachable == capacity
    assert ask(graph, 0, kind=RouteKind.MAX).reachable == capacity
    graph.apply(B, (Edge(A, FST, 3, Rate()),))
    assert ask(graph, capacity).reachable == 3
    graph.apply(B, (Edge(A, FST, capacity, Rate()),))
    graph.apply(A, (EdgeRemoved(B, FST),))
    graph.apply(A, (Edge(B, FST, 0, Rate()),))
    assert ask(graph, capacity).reachable == capacity


def test_sums_of_giants_are_exact():
    graph, pure = ArrayGraph(), Graph()
    for one in (graph, pure):
        for middle in (B, D):
            friends(one, A, middle, 2**100, rate=Rate(1 << 31, 2**32 - 1))
            friends(one, middle, C, 2**126)
    for amount in (2**99, 2**100, CREDITS_MAX):
        assert ask(graph, amount, max_parts=4) == ask(pure, amount, max_parts=4)


@pytest.mark.parametrize("amount", [1, 2**31, 2**32 + 7, 2**40, 2**41])
def test_fees_are_those_of_exact_integers(amount):
    graph, rate = ArrayGraph(), Rate(2**32 - 1, 2**32 - 1)
    friends(graph, A, B, 2**60, rate=rate)
    friends(graph, B, C, 2**60)
    (part,) = ask(graph, amount).parts
    assert part.fee == rate.fee(amount)


def test_nodes_whose_keys_begin_alike_are_told_apart():
    names = [PublicKey(bytes(31) + bytes([number])) for number in range(1, 6)]
    graph = ArrayGraph()
    for u, v in pairwise(names):
        friends(graph, u, v, 10)
    (part,) = ask(graph, 10, names[0], names[-1]).parts
    assert part.keys == tuple(names)


# --- one search after the other -------------------------------------------------------------------


def test_queues_grow_when_a_search_needs_it():
    pool = pool_with(*((key(0), key(number)) for number in range(1, 6000)))
    terrain = ArrayTerrain(pool, Workspace(), ())
    question = Ask(key(1), key(5999), 10, 0, 3, Weights(), 10**6)
    expected = (key(1), key(0), key(5999))
    assert terrain.meet(question, Flow()) == expected
    terrain = ArrayTerrain(pool, Workspace(), ())
    assert terrain.exact(question, Flow()) == expected


def test_a_workspace_is_clean_again_after_its_last_number():
    pool = pool_with((A, B), (B, C))
    work = Workspace()
    terrain = ArrayTerrain(pool, work, ())
    question = Ask(A, C, 10, 0, 3, Weights(), 10**6)
    assert terrain.meet(question, Flow()) == (A, B, C)
    work._number = NUMBERS_MAX - 1
    for _ in range(3):
        assert terrain.meet(question, Flow()) == (A, B, C)
        assert terrain.exact(question, Flow()) == (A, B, C)


def test_a_node_that_came_after_a_search_began_is_not_seen_by_it():
    pool = pool_with((A, B))
    terrain = ArrayTerrain(pool, Workspace(), ())
    for number in range(100, 200):
        pool.put(key(number), A, (10, *FREE))
        pool.put(A, key(number), (10, *FREE))
    assert terrain.meet(Ask(B, key(199), 1, 0, 3, Weights(), 100), Flow()) is None
    assert terrain.hop(A, key(199)) is None
    assert terrain.meet(Ask(A, B, 1, 0, 3, Weights(), 10**6), Flow()) == (A, B)


# --- choosing it ----------------------------------------------------------------------------------


def test_without_its_libraries_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(graph_array, "find_spec", lambda name: None)
    assert not graph_array.is_available()
    with pytest.raises(graph_array.EngineMissingError, match=r"install 'offset-card\[index\]'"):
        index_engine("array")
    assert isinstance(index_engine("auto").graph, Graph)


def test_an_index_server_takes_on_ten_times_as_much_with_it():
    pure, array = index_engine("pure"), index_engine("auto")
    assert isinstance(array.graph, ArrayGraph)
    assert (pure.limits.nodes_max, array.limits.nodes_max) == (100_000, 1_000_000)
    assert array.limits.edges_max == 10 * pure.limits.edges_max
    remote = array.federation
    assert remote.nodes_remote_max < array.limits.nodes_max
    assert remote.edges_remote_max < array.limits.edges_max


def test_machine_code_is_kept_only_where_that_is_possible(tmp_path: Path):
    assert jit._can_keep(tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    assert not jit._can_keep(tmp_path / "file" / "b")
