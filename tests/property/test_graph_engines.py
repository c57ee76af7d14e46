"""Both graph engines: the same changes, then the same answers, down to the edges looked at."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offset_engine.core.graph import Graph
from offset_engine.core.messages import Edge, EdgeRemoved
from offset_engine.core.route_terms import GraphEngine, RouteKind, RouteQuery
from offset_engine.core.values import CREDITS_MAX, Currency, PublicKey, Rate
from offset_engine.graph_array import array_graph

pytest.importorskip("numba", reason="the array engine needs the extra `index`")

FST = Currency("FST")
NODES = tuple(PublicKey(bytes([number * 29 % 251]) * 32) for number in range(1, 9))

pairs = st.sampled_from([(v, u) for v in NODES for u in NODES if u != v])
rates = st.builds(
    Rate,
    st.sampled_from([0, 0, 1 << 24, 1 << 30, 1 << 31, 2**32 - 1]),
    st.sampled_from([0, 0, 1, 3, 2**32 - 1]),
)


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, PublicKey, PublicKey, int, Rate]]:
    """What nodes report one after the other; mostly what their friends report too."""
    most = draw(st.sampled_from([40, 1_000, 2**33, 2**45, 2**63, 2**70, CREDITS_MAX]))
    capacities = st.integers(0, 40) | st.integers(0, most)
    found = []
    for node, friend in draw(st.lists(pairs, min_size=6, max_size=40)):
        what = draw(st.sampled_from(["both", "both", "both", "both", "one", "drop", "replace"]))
        found.append((what, node, friend, draw(capacities), draw(rates)))
    return found


def play(graph: GraphEngine, steps: list[tuple[str, PublicKey, PublicKey, int, Rate]]) -> None:
    for what, node, friend, capacity, rate in steps:
        edge = Edge(friend, FST, capacity, rate)
        if what == "drop":
            graph.apply(node, (EdgeRemoved(friend, FST),))
        elif what == "replace":
            graph.replace_node(node, (edge,))
        else:
            graph.apply(node, (edge,))
        if what == "both":
            graph.apply(friend, (Edge(node, FST, capacity // 2 + 5, rate),))


@st.composite
def queries(draw: st.DrawFn) -> RouteQuery:
    optional = st.none() | st.none() | st.sampled_from(NODES)
    kind = draw(st.sampled_from(RouteKind))
    source = draw(st.sampled_from(NODES))
    amounts = st.integers(1, 60) | st.integers(1, 2**36) | st.integers(1, CREDITS_MAX)
    return RouteQuery(
        FST,
        source,
        source if kind is RouteKind.CYCLE else draw(st.sampled_from(NODES)),
        draw(st.just(0) | amounts if kind is RouteKind.MAX else amounts),
        draw(st.sampled_from([0, 5, 10**6, CREDITS_MAX])),
        max_parts=draw(st.sampled_from([1, 2, 8])),
        max_keys=draw(st.sampled_from([3, 5, 32])),
        first_friend=draw(optional),
        last_friend=draw(optional),
        exclude_edges=tuple(draw(st.lists(pairs, max_size=2))),
        exclude_nodes=tuple(draw(st.lists(st.sampled_from(NODES), max_size=1))),
        scanned_max=draw(st.sampled_from([60, 5_000])),
        kind=kind,
    )


@given(changes(), st.lists(queries(), min_size=1, max_size=3))
@settings(deadline=None)
def test_both_engines_give_the_same_answers_after_the_same_changes(steps, questions):
    pure, array = Graph(), array_graph()
    play(pure, steps)
    play(array, steps)
    for question in questions:
        assert array.route(question) == pure.route(question)


@given(changes())
@settings(deadline=None)
def test_both_engines_store_the_same(steps):
    engines = Graph(), array_graph()
    for graph in engines:
        play(graph, steps)
    assert len({graph.edge_count for graph in engines}) == 1
    assert len({graph.node_count for graph in engines}) == 1
    for node in NODES:
        assert len({graph.edges_of(node) for graph in engines}) == 1
        assert len({graph.currencies_of(node) for graph in engines}) == 1
        assert len({graph.is_reachable(node, FST) for graph in engines}) == 1
        for friend in NODES:
            assert len({graph.reports(node, friend, FST) for graph in engines}) == 1
    for graph in engines:
        for node in NODES:
            graph.remove_node(node)
        assert (graph.node_count, graph.edge_count, graph.currency_count) == (0, 0, 0)
