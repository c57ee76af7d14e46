"""What one slow server has still to be told: replaced where it can be, dropped where a gap will show."""

from offset_engine.core.index_limits import FederationLimits
from offset_engine.core.messages import (
    AliveNodes,
    Edge,
    Forward,
    IndexUpdate,
    Need,
    PeerInfo,
    Resync,
    TimeHash,
)
from offset_engine.core.peer_outbox import PeerOutbox
from offset_engine.core.values import (
    Currency,
    HashResult,
    PublicKey,
    RandValue,
    Rate,
    Signature,
    Uid,
)

ALICE, BOB, CAROL = (PublicKey(bytes([n]) * 32) for n in range(1, 4))
SESSION = Uid(b"s" * 16)


def update(
    node: PublicKey, counter: int, *, full: bool = False, session: Uid = SESSION, edges: int = 1
) -> Forward:
    mutations = tuple(
        Edge(PublicKey(bytes([9, n]) + bytes(30)), Currency("FST"), 1, Rate()) for n in range(edges)
    )
    head = (node, session, counter, full, HashResult(bytes(32)), RandValue(bytes(16)))
    return Forward(IndexUpdate(*head, mutations, Signature(bytes(64))), ())


def everything(outbox: PeerOutbox) -> list:
    return list(iter(outbox.take, None))


def outbox(**limits: int) -> PeerOutbox:
    return PeerOutbox(FederationLimits(**limits))


def test_the_newest_tick_goes_first_and_replaces_older_ones() -> None:
    box = outbox()
    resync, tick = Resync(SESSION, 8), TimeHash(HashResult(b"t" * 32), 1)
    box.tell_update(update(ALICE, 0, full=True))
    box.tell_need(BOB)
    box.tell_resync(resync)
    box.tell_tick(TimeHash(HashResult(bytes(32)), 1), PeerInfo(1, 1))
    box.tell_tick(tick, PeerInfo(2, 2))
    assert everything(box) == [
        tick, PeerInfo(2, 2), resync, Need(BOB), update(ALICE, 0, full=True)
    ]  # fmt: skip


def test_a_full_update_absorbs_what_waits_and_deltas_keep_their_order() -> None:
    box = outbox()
    for one in (update(ALICE, 0), update(ALICE, 1), update(ALICE, 2, full=True), update(ALICE, 3)):
        box.tell_update(one)
    box.tell_update(update(BOB, 0, full=True))
    assert (box.queued_nodes, box.queued_edges) == (2, 3)
    assert [one.update.counter for one in everything(box)] == [2, 3, 0]
    assert (box.queued_nodes, box.queued_edges) == (0, 0)


def test_one_delta_too_many_drops_the_deltas_but_not_the_full() -> None:
    for first in ([update(ALICE, 0, full=True)], []):
        box = outbox()
        for one in (*first, *(update(ALICE, counter) for counter in range(1, 10))):
            box.tell_update(one)
        counters = [one.update.counter for one in everything(box)]
        assert counters == [*(one.update.counter for one in first), 9]
        assert box.queued_edges == 0


def test_what_is_too_much_is_left_out() -> None:
    box = outbox(queued_nodes_max=2)
    for node in (ALICE, BOB, CAROL):
        box.tell_update(update(node, 0))
    box.tell_update(update(ALICE, 1))
    assert [one.update.node for one in everything(box)] == [ALICE, ALICE, BOB]
    box = outbox(queued_edges_max=10)
    box.tell_update(update(ALICE, 0, edges=11))
    assert (box.queued_nodes, box.queued_edges, everything(box)) == (0, 0, [])


def test_what_is_large_makes_room_for_what_is_small_and_not_the_other_way_round() -> None:
    box = outbox(queued_edges_max=100)
    box.tell_update(update(ALICE, 0, edges=50))
    box.tell_update(update(BOB, 0, edges=50))
    box.tell_update(update(CAROL, 0, edges=1))
    assert (box.queued_nodes, box.queued_edges) == (2, 51)
    box.tell_update(update(BOB, 1, edges=60))
    assert box.queued_edges == 51
    assert [one.update.node for one in everything(box)] == [CAROL, ALICE]


def test_who_says_little_goes_first_and_the_others_have_their_turn() -> None:
    box = outbox()
    box.tell_update(update(ALICE, 0, full=True, edges=33))
    box.tell_update(update(BOB, 0, edges=40))
    small = [PublicKey(bytes([7, number]) + bytes(30)) for number in range(130)]
    for node in small:
        box.tell_update(update(node, 0, edges=32))
    said = [one.update.node for one in everything(box)]
    assert said == [*small[:64], ALICE, *small[64:128], BOB, *small[128:]]


def test_a_node_that_says_less_again_becomes_small() -> None:
    box = outbox()
    for node in (ALICE, BOB):
        box.tell_update(update(node, 0, full=True, edges=33))
    box.tell_update(update(BOB, 1, full=True))
    assert [one.update.node for one in everything(box)] == [BOB, ALICE]
    box.tell_update(update(CAROL, 0, edges=20))
    box.tell_update(update(CAROL, 1, edges=20))
    box.knows(update(CAROL, 0).update)
    box.tell_update(update(ALICE, 0))
    assert [one.update.node for one in everything(box)] == [ALICE, CAROL]
    assert (box.queued_nodes, box.queued_edges) == (0, 0)


def test_large_updates_leave_as_fast_as_agreed_and_small_ones_pass_them() -> None:
    box = outbox(large_burst=100, large_per_second=40)
    for number in range(6):
        box.tell_update(update(PublicKey(bytes([7, number]) + bytes(30)), 0, edges=40))
    assert len(everything(box)) == 3  # the last one overdraws
    assert box.refill_due_ms() == 0
    assert not box.refill(1_000)
    assert box.refill_due_ms() == 1_250
    box.tell_update(update(ALICE, 0))
    assert len(everything(box)) == 1
    assert not box.refill(1_010)  # not earned yet: nothing is lost by asking often
    assert box.refill(1_550)
    assert len(everything(box)) == 1
    assert box.refill(2_550)
    assert box.refill_due_ms() is None
    assert len(everything(box)) == 1
    assert box.refill(100_000)
    assert len(everything(box)) == 1
    assert box.refill_due_ms() is None


def test_long_chains_take_room_too() -> None:
    box = outbox()
    one = update(ALICE, 0)
    box.tell_update(Forward(one.update, ((HashResult(bytes(32)),) * 120,) * 2))
    assert box.queued_edges == 31
    assert len(everything(box)) == 1
    assert box.queued_edges == 0


def test_a_sign_of_life_waits_for_updates_and_updates_do_not_hold_the_others_up() -> None:
    box = outbox()
    box.tell_alive(BOB, SESSION, 0)
    box.tell_alive(ALICE, SESSION, 3)
    for number in range(100):
        box.tell_update(update(PublicKey(bytes([7, number]) + bytes(30)), 0))
    box.tell_update(update(ALICE, 4))
    box.tell_alive(ALICE, SESSION, 4)
    said = everything(box)
    alive = AliveNodes(((BOB, SESSION, 0),))
    assert said.index(alive) == 64
    assert len(said) == 102
    box.tell_alive(BOB, SESSION, 0)
    box.tell_alive(BOB, SESSION, 1)
    assert everything(box) == [AliveNodes(((BOB, SESSION, 1),))]


def test_signs_of_life_come_in_bundles_of_a_thousand() -> None:
    box = outbox()
    for number in range(2_500):
        box.tell_alive(PublicKey(number.to_bytes(32, "big")), SESSION, 0)
    assert [len(one.nodes) for one in everything(box)] == [1_000, 1_000, 500]


def test_requests_and_signs_of_life_are_bounded() -> None:
    box = outbox()
    for number in range(101_000):
        key = PublicKey(number.to_bytes(32, "big"))
        box.tell_alive(key, SESSION, 0)
        box.tell_need(key)
    for _ in range(100):
        box.tell_resync(Resync(SESSION, 1))
    said = everything(box)
    assert sum(len(one.nodes) for one in said if isinstance(one, AliveNodes)) == 100_000
    assert sum(isinstance(one, Need) for one in said) == 1_000
    assert sum(isinstance(one, Resync) for one in said) == 64


def test_what_the_other_server_told_us_itself_it_is_not_told() -> None:
    box = outbox()
    for counter in range(4):
        box.tell_update(update(ALICE, counter))
    box.knows(update(BOB, 9).update)
    box.knows(update(ALICE, 9, session=Uid(bytes(16))).update)
    box.knows(update(ALICE, 1).update)
    assert box.queued_edges == 2
    assert [one.update.counter for one in everything(box)] == [2, 3]
    box.tell_update(update(ALICE, 4))
    box.knows(update(ALICE, 4).update)
    assert (box.queued_nodes, box.queued_edges, everything(box)) == (0, 0, [])
