"""What the planner promises: true maxima, cycles, and nothing left behind, against small exact oracles."""

from dataclasses import replace
from itertools import pairwise, permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from offset_engine.core.graph_terrain import GraphNode, PureTerrain
from offset_engine.core.messages import Edge
from offset_engine.core.route_terms import (
    FEE_ONLY,
    PPM,
    Ask,
    Flow,
    RouteKind,
    RouteQuery,
    Weights,
    hop_weight,
)
from offset_engine.core.values import CREDITS_MAX, PublicKey, Rate
from tests.covers import covers
from tests.property.test_graph import FST, NODES, PATHS, Reports, graph_of, graphs, loads

A, Z = NODES[0], NODES[1]
EVERYTHING = RouteQuery(FST, A, Z, 0, CREDITS_MAX, kind=RouteKind.MAX)


@st.composite
def cycles(draw: st.DrawFn) -> RouteQuery:
    optional = st.none() | st.sampled_from(NODES[1:])
    return RouteQuery(
        FST,
        A,
        A,
        draw(st.integers(1, 60)),
        draw(st.sampled_from([0, 5, CREDITS_MAX])),
        draw(st.integers(1, 4)),
        draw(st.sampled_from([4, 5, 32])),
        draw(optional),
        draw(optional),
        kind=RouteKind.CYCLE,
    )


def check(reports: Reports, query: RouteQuery) -> int:
    """Every choice holds in exact integers; returns the reachable amount."""
    result = graph_of(reports).route(query)
    for choice in result.choices:
        total: dict = {}
        assert 1 <= len(choice.parts) <= query.max_parts
        assert sum(part.amount for part in choice.parts) == result.reachable
        assert sum(part.fee for part in choice.parts) <= query.max_fee
        for part in choice.parts:
            hops = loads(reports, part.keys, part.amount)
            assert (part.keys[0], part.keys[-1]) == (query.source, query.dest)
            assert len(set(part.keys[1:])) == len(part.keys) - 1 <= query.max_keys - 1
            assert part.fee == hops[part.keys[0], part.keys[1]] - part.amount
            assert 1 <= part.amount <= part.capacity
            assert query.first_friend in (None, part.keys[1])
            assert query.last_friend in (None, part.keys[-2])
            for hop, load in hops.items():
                total[hop] = total.get(hop, 0) + load
        assert all(load <= reports[v, u].recv_capacity for (u, v), load in total.items())
    return result.reachable


# --- the maximum ---


@given(graphs(), st.integers(1, 8), st.sampled_from([3, CREDITS_MAX]), st.integers(1, 400))
@settings(deadline=None)
def test_whoever_asks_for_the_maximum_or_for_less_gets_it(reports, max_parts, max_fee, amount):
    query = replace(EVERYTHING, max_parts=max_parts, max_fee=max_fee)
    most = check(reports, query)
    for wanted in {most, most // 2, min(amount, most)} - {0}:
        assert check(reports, replace(query, amount=wanted, kind=RouteKind.PAY)) == wanted
        assert check(reports, replace(query, amount=wanted)) == wanted
    if not most:
        assert check(reports, replace(query, amount=1, kind=RouteKind.PAY)) == 0


@given(graphs(), st.data())
@settings(deadline=None)
def test_more_room_never_lowers_what_one_route_carries(reports, data):
    most = check(reports, EVERYTHING)
    for hop in data.draw(st.lists(st.sampled_from(sorted(reports)), max_size=3)) if reports else ():
        edge = reports[hop]
        reports[hop] = replace(
            edge, recv_capacity=edge.recv_capacity + data.draw(st.integers(1, 9))
        )
    assert check(reports, EVERYTHING) >= most


def free_of_charge(reports: Reports) -> Reports:
    return {
        hop: Edge(edge.friend, FST, edge.recv_capacity, Rate()) for hop, edge in reports.items()
    }


def max_flow(reports: Reports) -> int:
    """Edmonds and Karp, fees left out."""
    room = {(u, v): edge.recv_capacity for (v, u), edge in reports.items() if (u, v) in reports}
    total = 0
    while True:
        parent = {A: A}
        queue = [A]
        for u in queue:
            for v in NODES:
                if v not in parent and room.get((u, v), 0) > 0:
                    parent[v] = u
                    queue.append(v)
        if Z not in parent:
            return total
        path = [Z]
        while path[-1] != A:
            path.append(parent[path[-1]])
        width = min(room[u, v] for v, u in pairwise(path))
        for v, u in pairwise(path):
            room[u, v] -= width
            room[v, u] += width
        total += width


@covers("NT65")
@given(graphs())
@settings(deadline=None, max_examples=300)
def test_without_fees_and_with_enough_parts_the_maximum_is_the_maximum_flow(reports):
    free = free_of_charge(reports)
    exact = max_flow(free)
    assert check(free, replace(EVERYTHING, max_parts=1_000)) == exact
    share = exact * 9 // 10
    if share:
        assert (
            check(free, replace(EVERYTHING, amount=share, max_parts=1_000, kind=RouteKind.PAY))
            == share
        )


# --- cycles ---


CYCLES = tuple(
    (A, *middle, A) for count in range(2, 6) for middle in permutations(NODES[1:], count)
)


def cheapest_cycle(reports: Reports, query: RouteQuery) -> int | None:
    """The fee of the cheapest cycle for the whole amount, by trying all."""
    fees = []
    for keys in CYCLES:
        hops = loads(reports, keys, query.amount)
        if hops is None or len(keys) > query.max_keys:
            continue
        if query.first_friend not in (None, keys[1]) or query.last_friend not in (None, keys[-2]):
            continue
        if all(reports[v, u].recv_capacity >= load for (u, v), load in hops.items()):
            fees.append(hops[keys[0], keys[1]] - query.amount)
    return min((fee for fee in fees if fee <= query.max_fee), default=None)


@given(graphs(), cycles())
@settings(deadline=None)
def test_cycles_hold_and_never_come_home_the_way_they_left(reports, query):
    reachable = check(reports, query)
    expected = cheapest_cycle(reports, query)
    if expected is not None:
        assert reachable == query.amount
    single = graph_of(reports).route(replace(query, max_parts=1))
    assert (single.reachable == query.amount) == (expected is not None)
    if expected is not None and query.max_keys > len(NODES):
        assert sum(part.fee for part in single.parts) == expected


# --- the search from both ends ---


def optimistic_cost(
    reports: Reports, ask: Ask, keys: tuple[PublicKey, ...]
) -> tuple[int, int] | None:
    cost = 0
    for u, v in pairwise(keys):
        if (v, u) not in reports or (u, v) not in reports:
            return None
        edge = reports[v, u]
        fee = 0 if v == keys[-1] else edge.rate.fee(ask.amount)
        if edge.recv_capacity < ask.amount + fee:
            return None
        cost += hop_weight(ask.weights, ask.amount, edge.recv_capacity) + fee * PPM
    return cost, len(keys) - 1


def nodes_of(reports: Reports) -> dict[PublicKey, GraphNode]:
    nodes = {key: GraphNode(key) for key in NODES}
    for (v, u), edge in reports.items():
        if (u, v) in reports:
            report = (edge.recv_capacity, edge.rate.mul, edge.rate.add)
            nodes[v].into[u] = nodes[u].out[v] = report
    return nodes


@given(
    graphs(),
    st.integers(1, 40),
    st.sampled_from([FEE_ONLY, Weights(), Weights(200_000), Weights(30_000, 4), Weights(10**18)]),
    st.integers(1, 1_000),
)
@settings(deadline=None, max_examples=300)
def test_nothing_is_better_than_where_two_searches_meet(reports, amount, weights, scale):
    reports = {
        hop: replace(edge, recv_capacity=edge.recv_capacity * scale)
        for hop, edge in reports.items()
    }
    ask = Ask(A, Z, amount * scale, CREDITS_MAX, 32, weights, 1 << 30)
    keys = PureTerrain(nodes_of(reports), ()).meet(ask, Flow())
    costs = [cost for path in PATHS if (cost := optimistic_cost(reports, ask, path)) is not None]
    if keys is None:
        assert costs == []
    else:
        assert optimistic_cost(reports, ask, keys) == min(costs)


@given(graphs(), st.integers(1, 40), st.integers(2, 6), st.sampled_from([0, 4, CREDITS_MAX]))
@settings(deadline=None)
def test_the_exact_search_finds_the_smallest_fee_within_the_limit_on_keys(
    reports, amount, keys_max, max_fee
):
    for ends, paths in (((A, Z), PATHS), ((A, A), CYCLES)):
        ask = Ask(*ends, amount, max_fee, keys_max, FEE_ONLY, 1 << 30)
        found = PureTerrain(nodes_of(reports), ()).exact(ask, Flow())
        working = []
        for keys in paths:
            hops = loads(reports, keys, amount) if len(keys) <= keys_max else None
            if hops is None or any(reports[v, u].recv_capacity < hops[u, v] for u, v in hops):
                continue
            if hops[keys[0], keys[1]] - amount <= max_fee:
                working.append((hops[keys[0], keys[1]] - amount, len(keys), keys))
        if ends == (A, A) and found is not None and len(found) == 3:
            continue  # straight back, which only the planner forbids
        assert (found is None) == (not working)
        if found is not None:
            fee, count, _ = min(working)
            assert (loads(reports, found, amount)[found[0], found[1]] - amount, len(found)) == (
                fee,
                count,
            )


@given(graphs(), st.integers(0, 5))
def test_nothing_leads_over_nodes_that_are_not_there(reports, gone):
    nodes = nodes_of(reports)
    terrain = PureTerrain(nodes, (NODES[gone],))
    assert not list(terrain.leaving(NODES[gone]))
    assert not list(terrain.entering(NODES[gone]))
    for node in NODES:
        assert terrain.hop(node, NODES[gone]) is terrain.hop(NODES[gone], node) is None
        assert NODES[gone] not in dict(terrain.leaving(node)) | dict(terrain.entering(node))
    ask = Ask(A, Z, 1, CREDITS_MAX, 32, FEE_ONLY, 1 << 30)
    for found in (terrain.meet(ask, Flow()), terrain.exact(ask, Flow())):
        assert found is None or NODES[gone] not in found
