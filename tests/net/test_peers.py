"""Peers over real relays on loopback."""

from dataclasses import replace

import anyio
import pytest

from offset_engine.core.codec import decode_relay_message, encode_relay_message
from offset_engine.core.crypto import public_key_of
from offset_engine.core.dial_filter import dial_filter
from offset_engine.core.friend_links import LinkRules
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import Accept, Connect, Established, Incoming, Listen, Listening
from offset_engine.core.noise import Purpose
from offset_engine.core.values import RelayAddress, Uid
from offset_engine.net.connection import Connection
from offset_engine.net.peers import endpoint_of, has_slept
from offset_engine.net.transport import (
    Endpoint,
    bound_address,
    connect_through_relay,
    listen,
    serve_connections,
)
from tests.covers import covers
from tests.net.peers_world import QUICK, Node, key, pair, share_a_link, until, world

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_two_friends_share_one_link_and_talk_both_ways() -> None:
    async with world() as w:
        relay = await w.relay()
        one, two = await w.friends(1, relay.address)
        for node, other in ((one, two), (two, one)):
            link = node.link(other)
            assert link is not None
            for n in range(20):
                link.send_nowait(bytes([n]) * 1_000)
        await until(lambda: len(one.told.messages) == len(two.told.messages) == 20)
        assert [payload[0] for *_, payload in two.told.messages] == list(range(20))
        await until(lambda: one.count("writable", two) > 0)
        status = one.friend(two)
        assert status.is_up
        assert status.relay == relay.address
        assert one.relay(relay.address).tunnels == 1
        await until(lambda: one.relay(relay.address).rtt_ms is not None)


@covers("NT22")
async def test_simultaneous_dials_settle_on_the_same_link() -> None:
    async with world() as w:
        relay = (await w.relay()).address
        couples = []
        for first in range(1, 21, 2):
            one, two = (Node(identity) for identity in pair(first))
            for node, other in ((one, two), (two, one)):
                node.listen(relay)
                node.befriend(other.key, relay)
            couples.append((one, two))
            w.start(one, two)
        everybody = [node for couple in couples for node in couple]
        await until(lambda: all(node.listens(relay) for node in everybody))
        for node in everybody:
            node.peers.retry()
        await until(
            lambda: all(
                share_a_link(one, two)
                and not one.friend(two).is_dialing
                and not two.friend(one).is_dialing
                for one, two in couples
            )
        )
        settled = [node.adoptions() for node in everybody]
        for number in range(30):
            for one, two in couples:
                for node, other in ((one, two), (two, one)):
                    link = node.link(other)
                    assert link is not None
                    link.send_nowait(bytes([number]))
            await until(lambda n=number: all(len(x.told.messages) > n for x in everybody))
        assert [node.adoptions() for node in everybody] == settled
        assert not any(what == "offline" for node in everybody for what, *_ in node.told.log)


@covers("NT23")
async def test_the_relays_of_one_side_are_enough() -> None:
    async with world() as w:
        relay = await w.relay()
        dead = RelayAddress(public_key_of(key(999)), "127.0.0.1:1")
        for dead_side in (0, 1):
            nodes = [Node(identity) for identity in pair(10 + 2 * dead_side)]
            for node, other in (nodes, nodes[::-1]):
                is_dead = node is nodes[dead_side]
                node.listen(dead if is_dead else relay.address)
                node.befriend(other.key, relay.address if is_dead else dead)
            w.start(*nodes)
            await until(lambda n=nodes: share_a_link(*n))
            assert nodes[dead_side].friend(nodes[1 - dead_side]).is_dialed


@covers("NT24", "NOD-07")
async def test_ten_links_move_to_the_second_relay_when_the_first_is_killed() -> None:
    async with world() as w:
        first, second = await w.relay(), await w.relay()
        wire = await w.wire(first)
        at_first, at_second = first.behind(wire), second.address
        hub = Node(key(1))
        hub.listen(at_first)
        spokes = [Node(key(n)) for n in range(2, 12)]
        for spoke in spokes:
            spoke.befriend(hub.key, at_first)
            hub.befriend(spoke.key)
        w.start(hub, *spokes)
        await until(lambda: all(share_a_link(hub, spoke) for spoke in spokes))
        assert hub.relay(at_first).tunnels == 10
        hub.listen(at_first, at_second)
        for spoke in spokes:
            spoke.befriend(hub.key, at_first, at_second)
        await until(lambda: hub.listens(at_second))

        wire.is_cut = True
        await wire.reset()
        with anyio.fail_after(10):
            await until(lambda: not hub.listens(at_first))
            await until(lambda: all(share_a_link(hub, spoke) for spoke in spokes))
        assert hub.relay(at_second).tunnels == 10
        assert not any(what == "offline" for what, *_ in hub.told.log)
        assert all(spoke.count("offline", hub) == 0 for spoke in spokes)


@covers("NT25")
async def test_a_black_holed_relay_is_noticed_and_the_friend_offline_until_it_returns() -> None:
    timers = replace(QUICK, ping_idle_ms=100, dead_idle_ms=300, offline_grace_ms=200)
    async with world() as w:
        relay = await w.relay()
        wire = await w.wire(relay)
        address = relay.behind(wire)
        one, two = (Node(identity, timers) for identity in pair(1))
        for node, other in ((one, two), (two, one)):
            node.listen(address)
            node.befriend(other.key, address)
        w.start(one, two)
        await until(lambda: share_a_link(one, two))
        wire.is_frozen = True
        await until(lambda: one.count("offline", two) and two.count("offline", one))
        assert not one.listens(address)
        wire.thaw()
        await until(lambda: share_a_link(one, two))
        assert one.count("offline", two) == two.count("offline", one) == 1


@covers("NT26")
async def test_a_hundred_nodes_return_to_a_restarted_relay_spread_over_time() -> None:
    timers = replace(QUICK, dial_start_max_ms=1_500)
    async with world() as w:
        relay = await w.relay()
        nodes = [Node(key(n), timers) for n in range(1, 101)]
        for node in nodes:
            node.listen(relay.address)
        one, two = nodes[:2]
        one.befriend(two.key, relay.address)
        two.befriend(one.key, relay.address)
        w.start(*nodes)
        await until(lambda: all(node.listens(relay.address) for node in nodes))
        await until(lambda: share_a_link(one, two))
        await relay.stop()
        await until(lambda: not any(node.listens(relay.address) for node in nodes))
        assert {node.relay(relay.address).last_error for node in nodes} == {
            "this relay is shutting down"
        }
        due = sorted(node.relay(relay.address).next_attempt_ms or 0 for node in nodes)
        assert due[-1] - due[0] > 600
        assert max(sum(1 for at in due if start <= at < start + 120) for start in due) < 40
        await relay.start()
        await until(lambda: all(node.listens(relay.address) for node in nodes))
        await until(lambda: share_a_link(one, two))


@covers("NT27", "RLY-04")
async def test_another_key_at_the_relays_address_is_refused_with_growing_pauses() -> None:
    async with world() as w:
        relay = await w.relay()
        one, two = await w.friends(1, relay.address)
        await relay.stop()
        await relay.start(key(777))
        await until(
            lambda: "wrong key" in one.relay(relay.address).last_error,
            lambda: one.relay(relay.address),
        )
        pauses: list[int] = []

        def pause_grew() -> bool:
            status = one.relay(relay.address)
            if status.next_attempt_ms is not None:
                pauses.append(status.next_attempt_ms - status.since_ms)
            return max(pauses, default=0) > 100

        await until(pause_grew)
        assert pauses[0] < max(pauses)
        assert not share_a_link(one, two)


@covers("NT28")
async def test_a_listener_whose_old_connection_died_silently_is_back_at_once() -> None:
    async with world() as w:
        relay = await w.relay()
        wire = await w.wire(relay)
        address = relay.behind(wire)
        one = Node(key(1))
        one.listen(address)
        w.start(one)
        await until(lambda: one.listens(address))
        await wire.forget_clients()
        await until(lambda: not one.listens(address))
        # The relay would take the old connection for dead after 35 s; its probe here takes 150 ms.
        with anyio.fail_after(3):
            await until(lambda: one.listens(address), lambda: one.relay(address))


@covers("NT29")
async def test_a_second_device_with_the_same_key_is_refused_for_a_minute() -> None:
    async with world() as w:
        relay = await w.relay()
        first, second = Node(key(1)), Node(key(1))
        for node in (first, second):
            node.listen(relay.address)
        w.start(first)
        await until(lambda: first.listens(relay.address))
        w.start(second)
        await until(lambda: [one.state for one in second.peers.status().relays] == ["refused"])
        status = second.relay(relay.address)
        assert "another device" in status.last_error
        assert status.next_attempt_ms is not None
        assert status.next_attempt_ms - status.since_ms >= 60_000
        assert first.listens(relay.address)


@covers("NT37")
async def test_an_attempt_at_a_removed_relay_is_dropped_and_the_new_one_dialed_at_once() -> None:
    patient = replace(QUICK, handshake_ms=30_000)
    async with world() as w:
        old, new = await w.relay(), await w.relay()
        wire = await w.wire(old)
        wire.is_frozen = True
        one, two = (Node(identity, patient) for identity in pair(1))
        two.listen(new.address)
        two.befriend(one.key)
        one.befriend(two.key, old.behind(wire))
        w.start(one, two)
        await until(lambda: wire.accepted == 1 and two.listens(new.address))
        assert one.friend(two).is_dialing
        with anyio.fail_after(5):
            one.befriend(two.key, new.address)
            await until(lambda: share_a_link(one, two))
        wire.thaw()
        link = one.link(two)
        assert link is not None
        link.close()
        await until(lambda: one.link(two) is not link and share_a_link(one, two))
        assert wire.accepted == 1


@covers("NT38", "NOD-09")
async def test_a_friend_finds_us_at_the_old_relay_until_it_knows_the_new_one() -> None:
    async with world() as w:
        old, new = await w.relay(), await w.relay()
        moving, friend = (Node(identity) for identity in pair(1))
        moving.listen(new.address)
        moving.peers.set_friend(friend.key, (), (old.address,))
        w.start(moving)
        await until(lambda: moving.listens(old.address) and moving.listens(new.address))
        friend.befriend(moving.key, old.address)
        w.start(friend)
        await until(lambda: share_a_link(moving, friend))
        link = friend.link(moving)
        assert link is not None

        friend.befriend(moving.key, new.address)
        moving.peers.set_friend(friend.key, (), ())
        assert [one.relay for one in moving.peers.status().relays] == [new.address]
        link.send_nowait(b"still here")
        await until(lambda: moving.told.messages)
        link.close()
        await until(lambda: share_a_link(moving, friend) and friend.link(moving) is not link)
        assert friend.friend(moving).relay == new.address


@covers("NT40")
async def test_a_friend_removed_and_added_again_sees_no_event_of_its_old_link() -> None:
    async with world() as w:
        relay = await w.relay()
        one, two = await w.friends(1, relay.address)
        old = one.link(two)
        assert old is not None
        one.peers.remove_friend(two.key)
        assert one.link(two) is None
        one.told.log.clear()
        one.befriend(two.key, relay.address)
        await until(lambda: share_a_link(one, two))
        await until(lambda: old.connection.ended is not None)
        await anyio.wait_all_tasks_blocked()
        assert share_a_link(one, two)
        assert {link_id for what, _, link_id in one.told.log if what != "offline"}.isdisjoint(
            {old.link_id}
        )
        assert one.count("offline", two) == 0


@covers("NT40")
async def test_a_removed_friend_is_told_and_causes_no_further_event() -> None:
    async with world() as w:
        relay = await w.relay()
        one, two = await w.friends(1, relay.address)
        link = two.link(one)
        assert link is not None
        one.told.log.clear()
        one.peers.remove_friend(two.key)
        await until(lambda: link.connection.ended is not None)
        assert link.connection.ended is not None
        assert link.connection.ended.code is CloseCode.NORMAL
        await until(lambda: two.friend(one).last_error == "not online at this relay")
        assert one.told.log == []


@covers("NT41")
async def test_a_relay_that_passes_off_a_stranger_as_a_friend_is_found_out() -> None:
    listening: list[Connection] = []
    dialing: list[Connection] = []
    friend = public_key_of(key(3))

    async def lie(connection: Connection) -> None:
        message = decode_relay_message(await connection.receive())
        if isinstance(message, Listen):
            connection.send_nowait(encode_relay_message(Listening(8, 35)))
            listening.append(connection)
            await connection.wait_closed()
        elif isinstance(message, Connect):
            dialing.append(connection)
            listening[0].send_nowait(encode_relay_message(Incoming(Uid(bytes(16)), friend)))
            await connection.wait_closed()
        elif isinstance(message, Accept):
            ends = (connection, dialing[0])
            for end, other in (ends, ends[::-1]):
                end.send_nowait(encode_relay_message(Established()))
                end.use_exact_records()
                end.deliver_to(other.send_nowait)
            await connection.wait_closed()

    async with world() as w:
        liar = Endpoint(key(50))
        listeners = await listen("127.0.0.1:0")
        relay = RelayAddress(public_key_of(liar.identity), bound_address(listeners[0]))
        w.tasks.start_soon(serve_connections, liar, listeners, (Purpose.RELAY,), lie)
        victim = Node(key(1))
        victim.listen(relay)
        victim.befriend(friend)
        w.start(victim)
        await until(lambda: victim.listens(relay))
        stranger = Endpoint(key(4))
        connection = await connect_through_relay(stranger, w.tasks, relay, victim.key)
        await until(lambda: connection.ended is not None)
        await until(lambda: victim.relay(relay).calls_failed == 1)
        assert victim.told.log == []
        assert victim.peers.link_of(friend) is None


@covers("NT44")
async def test_after_the_machine_slept_dead_links_are_found_and_replaced_at_once() -> None:
    asleep_ms = 0

    def wall_ms() -> int:
        return asleep_ms

    # The watcher looks every 20 ms; the links themselves would notice after 35 s only.
    timers = replace(QUICK, ping_idle_ms=60, offline_grace_ms=2_000)
    async with world() as w:
        relay = await w.relay()
        wire = await w.wire(relay)
        address = relay.behind(wire)
        one, two = (
            Node(identity, timers, endpoint=endpoint_of(identity, QUICK), wall_ms=wall_ms)
            for identity in pair(1)
        )
        for node, other in ((one, two), (two, one)):
            node.listen(address)
            node.befriend(other.key, address)
        w.start(one, two)
        await until(lambda: share_a_link(one, two))
        old = one.link(two)
        assert old is not None
        # Everything under way gets lost in the night; new connections work.
        wire.lose_everything()
        asleep_ms += 600_000
        with anyio.fail_after(10):
            await until(lambda: one.link(two) not in (None, old) and share_a_link(one, two))
            await until(lambda: one.listens(address) and two.listens(address))
        assert one.count("offline", two) == two.count("offline", one) == 0


def test_a_jump_of_either_clock_is_a_sleep_and_a_busy_machine_is_not() -> None:
    assert not has_slept(5_000, 5_000, 5_000)
    assert not has_slept(5_000, 25_000, 25_000)
    assert has_slept(5_000, 5_000, 600_000)
    assert has_slept(5_000, 600_000, 600_000)
    assert has_slept(5_000, 5_000, -600_000)


@covers("NT45")
async def test_a_black_holed_relay_does_not_delay_a_new_friend() -> None:
    patient = replace(QUICK, handshake_ms=30_000)
    async with world() as w:
        silent, good = await w.relay(), await w.relay()
        wire = await w.wire(silent)
        wire.is_frozen = True
        one, two = (Node(identity, patient) for identity in pair(1))
        one.listen(silent.behind(wire), good.address)
        w.start(one, two)
        await until(lambda: one.listens(good.address) and wire.accepted > 0)
        assert not one.listens(silent.behind(wire))
        with anyio.fail_after(5):
            one.peers.set_friend(two.key, (), (silent.behind(wire),))
            two.befriend(one.key, good.address)
            await until(lambda: share_a_link(one, two))


@covers("NT46")
async def test_a_friend_removed_during_the_handshake_is_told_and_waits_a_minute() -> None:
    async with world() as w:
        relay = await w.relay()
        dialer, other = (Node(identity) for identity in pair(1))
        other.listen(relay.address)
        other.befriend(dialer.key)
        w.start(other)
        await until(lambda: other.listens(relay.address))
        dialer.befriend(other.key, relay.address)
        w.start(dialer)
        await until(lambda: other.peers.calls_of(dialer.key) == 1)
        other.peers.remove_friend(dialer.key)
        await until(
            lambda: dialer.friend(other).last_error == "not a friend on their side",
            lambda: dialer.friend(other),
        )
        status = dialer.friend(other)
        assert not status.is_up
        assert status.next_attempt_ms is not None
        assert status.next_attempt_ms - status.since_ms >= 60_000
        assert other.told.log == []


@covers("NT47")
async def test_an_old_link_is_replaced_under_way_without_a_gap() -> None:
    rules = replace(LinkRules.of(QUICK), age_max_ms=250)
    async with world() as w:
        relay = await w.relay()
        one, two = (Node(identity, rules=rules) for identity in pair(1))
        for node, other in ((one, two), (two, one)):
            node.listen(relay.address)
            node.befriend(other.key, relay.address)
        w.start(one, two)
        await until(lambda: share_a_link(one, two))
        number = 0

        def say_more() -> bool:
            nonlocal number
            number += 1
            for node, other in ((one, two), (two, one)):
                node.told.newest[other.key] = payload = number.to_bytes(4, "big")
                link = node.link(other)
                assert link is not None
                link.send_nowait(payload)
            return min(one.count("adopted", two), two.count("adopted", one)) >= 4

        await until(say_more)
        last = number.to_bytes(4, "big")
        await until(lambda: one.told.messages[-1][2] == two.told.messages[-1][2] == last)
        assert one.count("offline", two) == two.count("offline", one) == 0


async def test_a_paused_friend_is_held_back_and_delays_nobody_else() -> None:
    async with world() as w:
        relay = await w.relay()
        hub, fast, slow = Node(key(1)), Node(key(2)), Node(key(3))
        hub.listen(relay.address)
        for friend in (fast, slow):
            hub.befriend(friend.key)
            friend.befriend(hub.key, relay.address)
        w.start(hub, fast, slow)
        await until(lambda: share_a_link(hub, fast) and share_a_link(hub, slow))
        hub.peers.pause(slow.key)
        flood, calm = slow.link(hub), fast.link(hub)
        assert flood is not None
        assert calm is not None
        for n in range(100):
            flood.send_nowait(n.to_bytes(2, "big") * 100_000)
        calm.send_nowait(b"quick")
        await until(lambda: [m for m in hub.told.messages if m[0] == fast.key])
        assert not flood.is_writable
        assert len([m for m in hub.told.messages if m[0] == slow.key]) <= 4
        hub.peers.resume(slow.key)
        await until(lambda: len(hub.told.messages) == 101)
        numbers = [payload[:2] for friend, _, payload in hub.told.messages if friend == slow.key]
        assert numbers == [n.to_bytes(2, "big") for n in range(100)]
        await until(lambda: flood.is_writable)


async def test_a_malformed_friend_is_neither_dialed_nor_answered_until_a_retry() -> None:
    async with world() as w:
        relay = await w.relay()
        one, two = await w.friends(1, relay.address)
        link = one.link(two)
        assert link is not None
        one.peers.back_off(two.key, 60_000)
        link.close(CloseCode.PROTOCOL)
        await until(lambda: two.link(one) is None)
        two.peers.retry(one.key)
        await until(lambda: two.friend(one).last_error == "not online at this relay")
        assert one.link(two) is None
        one.peers.retry(two.key)
        await until(lambda: share_a_link(one, two))


async def test_relays_a_friend_names_in_foreign_networks_are_shown_but_not_dialed() -> None:
    async with world() as w:
        relay = await w.relay()
        wire = await w.wire(relay)
        one, two = (Node(identity) for identity in pair(1))
        one.peers.set_may_dial(dial_filter((relay.address.address,), ()))
        two.listen(relay.address)
        two.befriend(one.key)
        one.befriend(two.key, relay.behind(wire), relay.address)
        w.start(one, two)
        await until(lambda: share_a_link(one, two))
        assert one.friend(two).not_dialed == (relay.behind(wire),)
        assert wire.accepted == 0


async def test_another_address_of_the_same_relay_is_taken_up_at_once() -> None:
    async with world() as w:
        relay = await w.relay()
        wire = await w.wire(relay)
        one = Node(key(1))
        one.listen(relay.behind(wire))
        w.start(one)
        await until(lambda: one.listens(relay.behind(wire)))
        one.listen(relay.address)
        await until(lambda: one.listens(relay.address))
        assert len(one.peers.status().relays) == 1


async def test_shutting_down_tells_friends_and_a_later_run_links_again() -> None:
    async with world() as w:
        relay = await w.relay()
        one, two = await w.friends(1, relay.address)
        link = two.link(one)
        assert link is not None
        one.scope.cancel()
        await until(lambda: link.connection.ended is not None)
        assert link.connection.ended is not None
        assert link.connection.ended.code is CloseCode.SHUTDOWN
        await until(lambda: not one.peers.status().friends[0].is_up)
        one.scope = anyio.CancelScope()
        w.start(one)
        await until(lambda: share_a_link(one, two))
