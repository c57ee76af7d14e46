"""Routes through small graphs drawn by hand: fees, room, limits, exclusions, splits."""

from itertools import pairwise

import pytest

from offset_engine.core.graph import Graph
from offset_engine.core.messages import Edge, EdgeRemoved
from offset_engine.core.route_terms import Label, RouteKind, RouteQuery
from offset_engine.core.values import CREDITS_MAX, Currency, PublicKey, Rate
from tests.covers import covers

FST, USD = Currency("FST"), Currency("USD")
A, B, C, D, E, F = (PublicKey(bytes([i]) * 32) for i in range(1, 7))
FREE = Rate()


def friends(graph, u, v, there, back=0, *, fee=FREE, fee_back=FREE, currency=FST):
    """`there` credits can go u → v, for which v charges `fee`; and the other way round."""
    graph.apply(v, (Edge(u, currency, there, fee),))
    graph.apply(u, (Edge(v, currency, back, fee_back),))


def ask(graph, amount, dest=C, **changes):
    query = {"currency": FST, "source": A, "max_fee": CREDITS_MAX, **changes}
    return graph.route(RouteQuery(amount=amount, dest=dest, **query))


def test_two_friends_pay_each_other_without_a_fee():
    graph = Graph()
    friends(graph, A, B, 50, 7, fee=Rate(1 << 31, 5))
    (part,) = ask(graph, 50, B).parts
    assert (part.keys, part.amount, part.fee, part.capacity) == ((A, B), 50, 0, 50)
    assert ask(graph, 8, A, source=B).reachable == 7


@covers("NT58", "IDX-10")
def test_the_fee_is_what_the_mediator_charges_the_friend_it_receives_from():
    graph = Graph()
    friends(graph, A, B, 100_000, 100_000, fee=Rate(0, 7), fee_back=Rate(0, 20_000))
    friends(graph, B, C, 100_000, 100_000, fee=Rate(0, 20_000), fee_back=Rate(0, 1_000))
    there, back = ask(graph, 100), ask(graph, 100, A, source=C)
    assert (there.parts[0].keys, there.parts[0].fee) == ((A, B, C), 7)
    assert (back.parts[0].keys, back.parts[0].fee) == ((C, B, A), 1_000)


@covers("NT64")
def test_the_cheapest_route_wins_over_the_shortest():
    graph = Graph()
    friends(graph, A, B, 100, fee=Rate(0, 10))
    friends(graph, B, C, 100)
    friends(graph, A, D, 100, fee=Rate(0, 4))
    friends(graph, D, E, 100, fee=Rate(0, 5))
    friends(graph, E, C, 100)
    assert ask(graph, 50).parts[0].keys == (A, D, E, C)
    assert ask(graph, 50).parts[0].fee == 9
    assert ask(graph, 50, max_keys=3).parts[0].keys == (A, B, C)


@covers("NT64")
def test_zero_fee_cycles_and_equal_routes_give_one_simple_deterministic_answer():
    links = [(A, B), (B, D), (D, B), (A, D), (D, E), (E, B), (B, C), (D, C)]
    answers = []
    for order in (links, links[::-1]):
        graph = Graph()
        for u, v in order:
            friends(graph, u, v, 100, 100)
        answers.append(ask(graph, 50).parts[0].keys)
    assert answers == [(A, B, C), (A, B, C)]


@covers("NT64", "IDX-16")
def test_an_amount_that_fits_only_without_its_fees_is_not_routed():
    graph = Graph()
    friends(graph, A, B, 100, fee=Rate(0, 5))
    friends(graph, B, C, 100)
    assert ask(graph, 96).reachable == 95
    (part,) = ask(graph, 95).parts
    assert (part.amount, part.fee, part.capacity) == (95, 5, 95)


def test_a_cheap_way_that_breaks_under_its_own_fees_yields_to_a_dearer_one_that_holds():
    graph = Graph()
    friends(graph, A, B, 13, fee=Rate(0, 2))
    friends(graph, B, D, 100, fee=Rate(0, 2))
    friends(graph, D, C, 100)
    friends(graph, A, E, 100, fee=Rate(0, 9))
    friends(graph, E, C, 100)
    assert [(p.keys, p.fee) for p in ask(graph, 10).parts] == [((A, E, C), 9)]


def test_the_hop_limit_holds_and_a_long_cheap_label_does_not_hide_a_short_one():
    graph = Graph()
    chain = [PublicKey(i.to_bytes(32, "big")) for i in range(1000, 1040)]
    for u, v in pairwise(chain):
        friends(graph, u, v, 100)
    far = {"source": chain[0]}
    assert len(ask(graph, 1, chain[31], **far).parts[0].keys) == 32
    assert ask(graph, 1, chain[32], **far).parts == ()
    friends(graph, chain[0], chain[20], 100, fee=Rate(0, 50))
    (part,) = ask(graph, 1, chain[32], **far).parts
    assert (len(part.keys), part.fee) == (14, 50)


@covers("NT66", "NOD-17", "IDX-12")
def test_an_excluded_edge_is_avoided_in_its_own_direction_only():
    graph = Graph()
    friends(graph, A, B, 100, 100)
    friends(graph, B, C, 100, 100)
    assert ask(graph, 1, exclude_edges=((A, B),)).parts == ()
    assert ask(graph, 1, exclude_edges=((B, A), (C, B))).parts[0].keys == (A, B, C)


@pytest.mark.parametrize("gone", [A, B, C])
def test_excluded_nodes_are_avoided(gone):
    graph = Graph()
    friends(graph, A, B, 100)
    friends(graph, B, C, 100)
    assert ask(graph, 1, exclude_nodes=(gone,)).parts == ()
    assert ask(graph, 1, exclude_nodes=(D,)).reachable == 1


def test_the_first_and_last_friend_can_be_fixed():
    graph = Graph()
    for middle, fee in ((B, 1), (D, 2), (E, 3)):
        friends(graph, A, middle, 100, fee=Rate(0, fee))
        friends(graph, middle, C, 100)
    friends(graph, D, E, 100, fee=Rate(0, 1))
    assert ask(graph, 1).parts[0].keys == (A, B, C)
    assert ask(graph, 1, first_friend=D).parts[0].keys == (A, D, C)
    assert ask(graph, 1, last_friend=E).parts[0].keys == (A, E, C)
    assert ask(graph, 1, first_friend=D, last_friend=E).parts[0].keys == (A, D, E, C)
    assert ask(graph, 1, first_friend=C).parts == ()


@covers("NT67")
def test_an_edge_that_only_one_end_reports_is_never_used():
    graph = Graph()
    graph.apply(B, (Edge(A, FST, 100, FREE),))
    assert ask(graph, 1, B).parts == ()
    graph.apply(A, (Edge(B, FST, 0, FREE),))
    assert ask(graph, 1, B).reachable == 1
    graph.apply(A, (EdgeRemoved(B, FST),))
    assert ask(graph, 1, B).parts == ()
    assert graph.reports(B, A, FST)


@covers("IDX-08")
def test_currencies_do_not_mix():
    graph = Graph()
    friends(graph, A, B, 100)
    friends(graph, B, C, 100, currency=USD)
    assert ask(graph, 1).parts == ()
    assert ask(graph, 1, currency=Currency("none")).parts == ()


@covers("NT56")
def test_removing_a_node_removes_its_edges_in_every_currency_and_nothing_else():
    graph = Graph()
    for currency in (FST, USD):
        friends(graph, A, B, 100, currency=currency)
        friends(graph, B, C, 100, currency=currency)
        friends(graph, C, D, 100, currency=currency)
    graph.remove_node(D)
    assert (graph.node_count, graph.edge_count, graph.currency_count) == (3, 10, 2)
    assert ask(graph, 1).reachable == ask(graph, 1, currency=USD).reachable == 1
    assert ask(graph, 1, D).parts == ()


@covers("NT57")
def test_removing_what_is_not_there_does_nothing():
    graph = Graph()
    friends(graph, A, B, 100)
    graph.apply(A, (EdgeRemoved(D, FST), EdgeRemoved(B, USD)))
    graph.apply(E, (EdgeRemoved(A, FST),))
    graph.remove_node(E)
    assert (graph.node_count, graph.edge_count, graph.currency_count) == (2, 2, 1)


def test_a_full_update_replaces_everything_a_node_said():
    graph = Graph()
    friends(graph, A, B, 100)
    friends(graph, A, B, 100, currency=USD)
    graph.replace_node(B, (Edge(A, FST, 30, FREE), Edge(C, FST, 1, FREE)))
    assert (graph.edges_of(B), graph.edge_count, graph.currency_count) == (2, 4, 2)
    assert ask(graph, 100, B).reachable == 30
    assert not graph.has_currency(Currency("X"))


def test_the_fee_limit_binds():
    graph = Graph()
    friends(graph, A, B, 1_000, fee=Rate(1 << 31, 1))
    friends(graph, B, C, 1_000)
    assert ask(graph, 100, max_fee=51).parts[0].fee == 51
    assert ask(graph, 100, max_fee=50).reachable == 99
    assert ask(graph, 100, max_fee=0).parts == ()


def test_the_largest_amounts_do_not_overflow_anything():
    graph = Graph()
    friends(graph, A, B, CREDITS_MAX, fee=Rate(2**32 - 1, 2**32 - 1))
    friends(graph, B, C, CREDITS_MAX)
    result = ask(graph, CREDITS_MAX)
    (part,) = result.parts
    assert part.amount + part.fee <= CREDITS_MAX
    assert part.amount + 1 + Rate(2**32 - 1, 2**32 - 1).fee(part.amount + 1) > CREDITS_MAX


@pytest.mark.parametrize("amount", [-5, 0])
def test_questions_without_sense_have_no_answer(amount):
    graph = Graph()
    friends(graph, A, B, 100)
    assert ask(graph, amount, B).parts == ()
    assert ask(graph, 1, A).parts == ()
    assert ask(graph, 1, E).parts == ()


@covers("NT65", "IDX-11", "OLD-01")
def test_an_amount_above_any_single_route_is_split_without_overbooking_the_shared_edge():
    graph = Graph()
    friends(graph, A, B, 100, fee=Rate(0, 1))
    for middle, room in ((D, 50), (E, 60)):
        friends(graph, B, middle, room, fee=Rate(0, 2))
        friends(graph, middle, C, 1_000)
    assert ask(graph, 80).reachable == 58
    result = ask(graph, 80, max_parts=4)
    assert result.reachable == 80
    assert sum(part.amount + part.fee for part in result.parts) <= 100
    assert all(part.fee == 3 for part in result.parts)
    most = ask(graph, 1_000, max_parts=8)
    assert most.reachable == 94
    assert [part.capacity - part.amount for part in most.parts] == [0, 0]


def test_many_equal_ways_are_all_used():
    graph = Graph()
    middles = [PublicKey(bytes([i]) * 32) for i in range(20, 28)]
    for middle in middles:
        friends(graph, A, middle, 10)
        friends(graph, middle, C, 10)
    assert ask(graph, 80, max_parts=8).reachable == 80
    assert ask(graph, 80, max_parts=3).reachable == 30
    assert ask(graph, 80).reachable == 10


def test_a_query_stops_at_its_budget():
    graph = Graph()
    ring = [PublicKey(i.to_bytes(32, "big")) for i in range(1, 400)]
    for u, v in pairwise(ring):
        friends(graph, u, v, 10, 10)
    far = {"source": ring[0], "dest": ring[30]}
    assert ask(graph, 1, **far).reachable == 1
    cut = ask(graph, 1, **far, scanned_max=20)
    assert cut.parts == ()
    assert cut.scanned < 30


# --- choices ---


@covers("IDX-09", "RMP-17")
def test_the_choices_are_the_cheapest_the_fewest_and_the_widest():
    graph = Graph()
    for middle, room, fee in ((B, 5_000, 1), (D, 5_000, 1), (E, 8_000, 20)):
        friends(graph, A, middle, 100_000, fee=Rate(0, fee))
        friends(graph, middle, C, room)
    friends(graph, A, F, 100_000, fee=Rate(0, 30))
    friends(graph, F, C, 100_000)
    cheapest, fewest, widest = ask(graph, 8_000, max_parts=4).choices
    assert (cheapest.label, fewest.label, widest.label) == tuple(Label)
    assert [(part.keys, part.fee) for part in cheapest.parts] == [((A, B, C), 1), ((A, D, C), 1)]
    assert [(part.keys, part.fee) for part in fewest.parts] == [((A, E, C), 20)]
    assert [(part.keys, part.fee) for part in widest.parts] == [((A, F, C), 30)]
    assert widest.parts[0].capacity == 99_970
    assert len(ask(graph, 8_000, max_parts=4, choices_max=1).choices) == 1
    assert [choice.label for choice in ask(graph, 8_000, max_parts=4, max_fee=20).choices] == [0, 1]


def test_a_choice_that_wins_twice_is_given_once():
    graph = Graph()
    friends(graph, A, B, 100)
    friends(graph, B, C, 100)
    (choice,) = ask(graph, 50, max_parts=8).choices
    assert choice.label == Label.CHEAPEST


def test_a_later_part_takes_back_what_an_earlier_one_holds():
    graph = Graph()
    for u, v in ((A, B), (B, D), (A, E), (D, C), (E, D), (B, F), (F, C)):
        friends(graph, u, v, 10)
    friends(graph, E, F, 0)
    # The shortest way A-B-D-C is in the way of both others; together these carry 20.
    result = ask(graph, 20, max_parts=2)
    assert {part.keys for part in result.parts} == {(A, B, F, C), (A, E, D, C)}
    assert result.reachable == 20


def test_the_most_that_can_be_paid_is_what_can_be_paid():
    graph = Graph()
    friends(graph, A, B, 100, fee=Rate(1 << 28, 1))
    friends(graph, B, C, 70)
    friends(graph, A, D, 40, fee=Rate(0, 5))
    friends(graph, D, C, 1_000)
    for max_parts, most in ((1, 70), (2, 105)):
        answer = ask(graph, 0, max_parts=max_parts, kind=RouteKind.MAX)
        assert answer.reachable == most
        assert ask(graph, most, max_parts=max_parts).reachable == most
        assert ask(graph, most + 1, max_parts=max_parts).reachable == most
    assert ask(graph, 60, max_parts=2, kind=RouteKind.MAX).reachable == 60
    assert ask(graph, 0, E, kind=RouteKind.MAX).choices == ()


def test_whoever_asks_for_the_maximum_gets_it_although_the_cheapest_parts_first_carry_less():
    graph = Graph()
    friends(graph, A, C, 2)
    friends(graph, A, B, 2)
    friends(graph, B, C, 2)
    friends(graph, A, D, 4, fee=Rate(0, 1))
    friends(graph, D, C, 4)
    # Two parts without a fee carry 4; only the one that is charged for makes it 5.
    assert ask(graph, 0, max_parts=2, kind=RouteKind.MAX).reachable == 5
    found = ask(graph, 5, max_parts=2)
    assert (found.reachable, sum(part.fee for part in found.parts)) == (5, 1)


def test_a_route_that_is_too_long_yields_to_a_dearer_short_one():
    graph = Graph()
    chain = [PublicKey(i.to_bytes(32, "big")) for i in range(1000, 1040)]
    for u, v in pairwise(chain):
        friends(graph, u, v, 10**6)
    friends(graph, chain[0], chain[38], 10**6, fee=Rate(0, 900))
    far = {"source": chain[0], "dest": chain[39]}
    (part,) = ask(graph, 10**5, **far).parts
    assert (len(part.keys), part.fee) == (3, 900)
    assert ask(graph, 10**5, **far, max_fee=899).parts == ()
    assert ask(graph, 10**5, **far, max_keys=2).parts == ()


# --- cycles ---


def circle(graph, *people, room=100, fee=FREE):
    for u, v in pairwise((*people, people[0])):
        friends(graph, u, v, room, room, fee=fee, fee_back=fee)


def around(graph, amount, **changes):
    return ask(graph, amount, A, kind=RouteKind.CYCLE, **changes)


@covers("RMP-05")
def test_a_cycle_leaves_by_one_friend_and_comes_home_by_another():
    graph = Graph()
    circle(graph, A, B, C, D, fee=Rate(0, 2))
    assert around(graph, 50, first_friend=B).parts[0].keys == (A, B, C, D, A)
    assert around(graph, 50, first_friend=D).parts[0].keys == (A, D, C, B, A)
    assert around(graph, 50, last_friend=B).parts[0].keys == (A, D, C, B, A)
    (part,) = around(graph, 94, first_friend=B, last_friend=D).parts
    assert (part.keys, part.fee, part.capacity) == ((A, B, C, D, A), 6, 94)
    assert around(graph, 95, first_friend=B).reachable == 94
    assert around(graph, 50, first_friend=B, last_friend=B).parts == ()
    assert around(graph, 50, first_friend=C).parts == ()
    assert around(graph, 50, first_friend=B, max_keys=4).parts == ()
    assert around(graph, 50, first_friend=B, exclude_nodes=(C,)).parts == ()
    assert around(graph, 50, exclude_nodes=(A,)).parts == ()
    assert around(graph, 0).parts == ()


def test_two_friends_alone_are_no_cycle():
    graph = Graph()
    friends(graph, A, B, 100, 100)
    friends(graph, A, C, 100, 100)
    assert around(graph, 1).parts == around(graph, 1, first_friend=B).parts == ()


def test_a_cycle_over_any_friend_is_the_best_of_all():
    graph = Graph()
    circle(graph, A, B, C, room=60, fee=Rate(0, 3))
    circle(graph, A, D, E, room=80)
    found = around(graph, 70)
    assert (found.reachable, found.parts[0].fee) == (70, 0)
    assert around(graph, 200).reachable == 80
    assert around(graph, 50, exclude_edges=((A, D), (A, E))).parts[0].fee == 6


def test_a_cycle_is_split_and_shares_its_first_hop_fairly():
    graph = Graph()
    friends(graph, A, B, 100, fee=Rate(0, 1))
    for middle in (C, D):
        friends(graph, B, middle, 60, fee=Rate(0, 1))
        friends(graph, middle, E, 60)
    friends(graph, E, A, 1_000)
    found = around(graph, 90, first_friend=B, max_parts=4)
    assert found.reachable == 90
    assert sum(part.amount + part.fee for part in found.parts) <= 100
