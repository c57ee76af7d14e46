"""The route search against brute force: every simple path of small graphs."""

from dataclasses import replace
from itertools import pairwise, permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from offset_engine.core.graph import Graph
from offset_engine.core.messages import Edge, EdgeRemoved, Part
from offset_engine.core.route_terms import RouteQuery
from offset_engine.core.values import CREDITS_MAX, Currency, PublicKey, Rate
from tests.covers import covers

FST = Currency("FST")
NODES = tuple(PublicKey(bytes([i]) * 32) for i in range(6))
Reports = dict[tuple[PublicKey, PublicKey], Edge]

small = st.integers(0, 40)
rates = st.builds(
    Rate, st.sampled_from([0, 0, 1 << 28, 1 << 30, 1 << 31]), st.sampled_from([0, 0, 1, 3])
)
pairs = st.sampled_from([(v, u) for v in NODES for u in NODES if u != v])


@st.composite
def graphs(draw: st.DrawFn) -> Reports:
    """(reporter, friend) → report; mostly mutual, some one-sided."""
    reports: Reports = {}
    for v, u in draw(st.lists(pairs, max_size=16)):
        reports[v, u] = Edge(u, FST, draw(small), draw(rates))
        if draw(st.integers(0, 7)):
            reports[u, v] = Edge(v, FST, draw(small), draw(rates))
    return reports


@st.composite
def queries(draw: st.DrawFn) -> RouteQuery:
    optional = st.none() | st.sampled_from(NODES)
    return RouteQuery(
        FST,
        NODES[0],
        NODES[1],
        draw(st.integers(1, 30)),
        draw(st.sampled_from([0, 2, 10, CREDITS_MAX])),
        max_keys=draw(st.integers(2, 6)),
        first_friend=draw(optional),
        last_friend=draw(optional),
        exclude_edges=tuple(draw(st.lists(pairs, max_size=2))),
        exclude_nodes=tuple(draw(st.lists(st.sampled_from(NODES[2:]), max_size=1))),
    )


def graph_of(reports: Reports) -> Graph:
    graph = Graph()
    for (node, _), edge in reports.items():
        graph.apply(node, (edge,))
    return graph


def loads(reports: Reports, keys: tuple[PublicKey, ...], amount: int) -> dict | None:
    """What each hop must carry, or None if a hop does not exist."""
    fee, answer = 0, {}
    for u, v in list(pairwise(keys))[::-1]:
        if (v, u) not in reports or (u, v) not in reports:
            return None
        if v != keys[-1]:
            fee += reports[v, u].rate.fee(amount)
        answer[u, v] = amount + fee
    return answer


def fee_of(
    reports: Reports, query: RouteQuery, keys: tuple[PublicKey, ...], amount: int
) -> int | None:
    """The fee of a route the query allows and the graph carries, else None."""
    hops = loads(reports, keys, amount)
    if hops is None or len(keys) > query.max_keys or set(hops) & set(query.exclude_edges):
        return None
    if set(keys) & set(query.exclude_nodes) or query.first_friend not in (None, keys[1]):
        return None
    if query.last_friend not in (None, keys[-2]):
        return None
    if any(reports[v, u].recv_capacity < load for (u, v), load in hops.items()):
        return None
    fee = hops[keys[0], keys[1]] - amount
    return fee if fee <= query.max_fee else None


PATHS = tuple(
    (NODES[0], *middle, NODES[1]) for count in range(5) for middle in permutations(NODES[2:], count)
)


def best(reports: Reports, query: RouteQuery, amount: int) -> tuple[int, int] | None:
    """(fee, keys) of the cheapest route by trying all."""
    fees = ((fee_of(reports, query, keys, amount), len(keys)) for keys in PATHS)
    return min(((fee, count) for fee, count in fees if fee is not None), default=None)


def check_parts(reports: Reports, query: RouteQuery, parts: tuple[Part, ...]) -> None:
    total: dict = {}
    for part in parts:
        assert part.amount > 0
        assert len(set(part.keys)) == len(part.keys)
        assert fee_of(reports, query, part.keys, part.amount) == part.fee
        assert part.capacity >= part.amount
        for hop, load in loads(reports, part.keys, part.amount).items():
            total[hop] = total.get(hop, 0) + load
    assert all(load <= reports[v, u].recv_capacity for (u, v), load in total.items())
    assert sum(part.fee for part in parts) <= query.max_fee


@covers("NT64", "NT66", "NT67")
@given(graphs(), queries())
@settings(deadline=None)
def test_the_single_route_is_the_cheapest_and_then_the_shortest(reports, query):
    result = graph_of(reports).route(query)
    expected = best(reports, query, query.amount)
    assert (result.reachable == query.amount) == (expected is not None)
    for choice in result.choices:
        check_parts(reports, query, choice.parts)
    # Where the limit on keys excludes the cheapest route, a short one is enough.
    if expected is not None and query.max_keys == len(NODES):
        assert [(part.fee, len(part.keys)) for part in result.parts] == [expected]


@given(graphs(), queries())
@settings(deadline=None)
def test_a_smaller_amount_is_the_largest_one_route_carries(reports, query):
    result = graph_of(reports).route(query)
    possible = [a for a in range(1, query.amount + 1) if best(reports, query, a) is not None]
    assert result.reachable == max(possible, default=0)


@covers("NT65")
@given(graphs(), queries(), st.integers(2, 5), st.integers(1, 80))
@settings(deadline=None)
def test_parts_together_never_overbook_an_edge(reports, query, max_parts, amount):
    split = replace(query, amount=amount, max_parts=max_parts)
    result = graph_of(reports).route(split)
    assert 0 <= result.reachable <= amount
    assert [choice.label for choice in result.choices] == sorted(
        {choice.label for choice in result.choices}
    )
    for choice in result.choices:
        assert 1 <= len(choice.parts) <= max_parts
        assert sum(part.amount for part in choice.parts) == result.reachable
        check_parts(reports, split, choice.parts)


@given(graphs(), queries(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_answer_does_not_depend_on_the_order_of_reports(reports, query, random):
    shuffled = list(reports.items())
    random.shuffle(shuffled)
    one, other = graph_of(reports).route(query), graph_of(dict(shuffled)).route(query)
    assert one == other


changes = st.lists(st.tuples(pairs, st.none() | small, st.booleans()), max_size=30)


@given(changes)
@settings(deadline=None)
def test_counts_and_edges_equal_a_plain_dictionary_after_any_changes(steps):
    graph = Graph()
    reports: Reports = {}
    for (node, friend), capacity, is_full in steps:
        edge = None if capacity is None else Edge(friend, FST, capacity, Rate())
        if is_full:
            reports = {k: v for k, v in reports.items() if k[0] != node}
            graph.replace_node(node, () if edge is None else (edge,))
        elif edge is None:
            reports.pop((node, friend), None)
            graph.apply(node, (EdgeRemoved(friend, FST),))
        else:
            graph.apply(node, (edge,))
        if edge is not None:
            reports[node, friend] = edge
    reporters = {node for node, _ in reports}
    assert graph.edge_count == len(reports)
    assert graph.node_count == len(reporters)
    assert graph.currency_count == (1 if reports else 0)
    for v, u in ((v, u) for v in NODES for u in NODES if u != v):
        assert graph.reports(v, u, FST) == ((v, u) in reports)
        found = graph.route(RouteQuery(FST, u, v, 1, CREDITS_MAX, max_keys=2))
        mutual = (v, u) in reports and (u, v) in reports
        assert bool(found.reachable) == (mutual and reports[v, u].recv_capacity > 0)
    for node in NODES:
        graph.remove_node(node)
    assert (graph.edge_count, graph.node_count, graph.currency_count) == (0, 0, 0)
