"""The relay's rules one by one; time is virtual and connections are numbers."""

import pytest

from offset_engine.core.link import CloseCode
from offset_engine.core.messages import (
    Accept,
    Connect,
    Established,
    Incoming,
    Listen,
    Listening,
    Reject,
    RelayMessage,
)
from offset_engine.core.relay import Close, Effect, Probe, Relay, Send, Splice
from offset_engine.core.relay_limits import ANSWERS, DialRate, Refusal, RelayLimits, network_of
from offset_engine.core.values import PublicKey, Uid
from offset_engine.errors import InvariantError
from tests.covers import covers


def key(number: int) -> PublicKey:
    return PublicKey(number.to_bytes(32, "big"))


ALICE, BOB, CAROL = key(1), key(2), key(3)


class Bench:
    """A relay, a clock and everything it ever told each connection."""

    def __init__(self, limits: RelayLimits | None = None, allowed=None) -> None:
        self.ids = 0
        self.relay = Relay(limits or RelayLimits(), self.random, allowed)
        self.now = 1_000_000
        self.conns = 0
        self.told: dict[int, list[tuple[int, Effect]]] = {}

    def random(self, size: int) -> bytes:
        self.ids += 1
        return self.ids.to_bytes(size, "big")

    def note(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            ends = (
                (effect.dialer, effect.acceptor) if isinstance(effect, Splice) else (effect.conn,)
            )
            for conn in ends:
                self.told.setdefault(conn, []).append((self.now, effect))
        return effects

    def link(self, peer: PublicKey, source: str = "") -> int:
        self.conns += 1
        self.note(self.relay.connected(self.conns, peer, source, self.now))
        return self.conns

    def say(self, conn: int, message: RelayMessage) -> list[Effect]:
        return self.note(self.relay.received(conn, message, self.now))

    def listen(self, peer: PublicKey) -> int:
        conn = self.link(peer)
        self.say(conn, Listen())
        return conn

    def dial(self, peer: PublicKey, target: PublicKey, source: str = "") -> int:
        conn = self.link(peer, source)
        self.say(conn, Connect(target))
        return conn

    def close(self, conn: int) -> list[Effect]:
        return self.note(self.relay.closed(conn))

    def run(self, ms: int) -> None:
        """Let time pass, calling the relay exactly when it asks."""
        end = self.now + ms
        while (at := self.relay.deadline_ms()) is not None and at <= end:
            self.now = max(self.now, at)
            self.note(self.relay.on_deadline(self.now))
        self.now = end

    def heard(self, conn: int) -> list[Effect]:
        return [effect for _, effect in self.told.get(conn, [])]

    def incoming(self, conn: int) -> list[Incoming]:
        return [
            effect.message
            for effect in self.heard(conn)
            if isinstance(effect, Send) and isinstance(effect.message, Incoming)
        ]

    def end(self, conn: int) -> tuple[int, CloseCode, str] | None:
        """When and how `conn` was closed."""
        for at, effect in self.told.get(conn, []):
            if isinstance(effect, Close):
                return at, effect.code, effect.reason
        return None

    def code(self, conn: int) -> CloseCode | None:
        end = self.end(conn)
        return end and end[1]

    def refused(self, refusal: Refusal) -> int:
        return dict(self.relay.stats().refusals)[refusal]

    def tunnel(self, dialer: PublicKey, listener: int, target: PublicKey) -> tuple[int, int]:
        leg = self.dial(dialer, target)
        accept = self.link(target)
        self.say(accept, Accept(self.incoming(listener)[-1].tunnel_id))
        return leg, accept


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- roles --------------------------------------------------------------------------------------


@covers("RLY-02")
def test_a_dialer_and_a_listener_become_a_tunnel(bench: Bench):
    listener = bench.listen(BOB)
    assert bench.heard(listener) == [Send(listener, Listening(64, 35))]
    dialer = bench.dial(ALICE, BOB)
    (announced,) = bench.incoming(listener)
    assert announced.dialer == ALICE
    acceptor = bench.link(BOB)
    assert bench.say(acceptor, Accept(announced.tunnel_id)) == [
        Send(dialer, Established()),
        Send(acceptor, Established()),
        Splice(dialer, acceptor, announced.tunnel_id),
    ]
    stats = bench.relay.stats()
    assert (stats.listeners, stats.half_tunnels, stats.tunnels) == (1, 0, 1)
    assert (stats.connects, stats.established, stats.connections) == (1, 1, 3)
    bench.run(3_600_000)
    assert bench.end(dialer) is bench.end(acceptor) is bench.end(listener) is None


def test_a_tunnel_counts_until_both_ends_have_closed(bench: Bench):
    dialer, acceptor = bench.tunnel(ALICE, bench.listen(BOB), BOB)
    assert bench.close(dialer) == []
    assert bench.relay.stats().tunnels == 1
    assert bench.close(acceptor) == []
    assert bench.relay.stats().tunnels == 0


def test_what_arrives_on_a_tunnel_is_not_judged(bench: Bench):
    dialer, acceptor = bench.tunnel(ALICE, bench.listen(BOB), BOB)
    assert bench.say(dialer, Listen()) == []
    assert bench.relay.malformed(acceptor) == []
    assert bench.relay.pong(acceptor) == []
    assert bench.relay.stats().tunnels == 1


def test_a_tunnel_outlives_its_listener(bench: Bench):
    listener = bench.listen(BOB)
    dialer, acceptor = bench.tunnel(ALICE, listener, BOB)
    assert bench.close(listener) == []
    bench.close(acceptor)
    assert bench.relay.stats().tunnels == 1
    bench.close(dialer)
    assert bench.relay.stats().connections == bench.relay.stats().tunnels == 0


def test_a_silent_connection_is_closed_after_five_seconds(bench: Bench):
    silent = bench.link(ALICE)
    start = bench.now
    bench.run(10_000)
    assert bench.end(silent) == (start + 5_000, CloseCode.TIMEOUT, "no first message")
    assert bench.relay.deadline_ms() is None


def test_silent_connections_delay_nobody(bench: Bench):
    listener = bench.listen(BOB)
    silent = [bench.link(key(100 + n)) for n in range(50)]
    _, acceptor = bench.tunnel(ALICE, listener, BOB)
    assert any(isinstance(effect, Splice) for effect in bench.heard(acceptor))
    bench.run(5_000)
    assert [bench.code(conn) for conn in silent] == [CloseCode.TIMEOUT] * 50


@pytest.mark.parametrize(
    "message",
    [Listening(1, 1), Incoming(Uid(bytes(16)), ALICE), Reject(Uid(bytes(16))), Established()],
)
def test_a_first_message_that_names_no_role_is_a_protocol_error(bench: Bench, message):
    conn = bench.link(ALICE)
    bench.say(conn, message)
    assert bench.code(conn) == CloseCode.PROTOCOL


@pytest.mark.parametrize("message", [Listen(), Connect(CAROL), Accept(Uid(bytes(16)))])
def test_a_connection_has_one_role_only(bench: Bench, message):
    listener, dialer, held = bench.listen(BOB), bench.dial(ALICE, BOB), bench.dial(ALICE, CAROL)
    candidate = bench.listen(BOB)
    for conn in (candidate, dialer, held, listener):
        bench.say(conn, message)
        assert bench.code(conn) == CloseCode.PROTOCOL
    assert bench.relay.stats().connections == 0


def test_bytes_that_are_no_message_close_the_connection_in_every_state(bench: Bench):
    listener, dialer, fresh = bench.listen(BOB), bench.dial(ALICE, BOB), bench.link(CAROL)
    for conn in (dialer, fresh, listener):
        bench.note(bench.relay.malformed(conn))
        assert bench.code(conn) == CloseCode.PROTOCOL
    assert bench.refused(Refusal.PROTOCOL) == 3


def test_reports_about_a_closed_connection_are_ignored(bench: Bench):
    conn = bench.link(ALICE)
    bench.run(5_000)
    assert bench.say(conn, Listen()) == bench.close(conn) == []
    assert bench.relay.malformed(conn) == bench.relay.pong(conn) == []


def test_a_connection_number_used_twice_is_a_bug_of_the_driver(bench: Bench):
    bench.link(ALICE)
    with pytest.raises(InvariantError):
        bench.relay.connected(1, BOB, "", bench.now)


# --- listening ----------------------------------------------------------------------------------


@covers("NT28")
def test_a_listener_that_fails_its_probe_is_replaced_within_three_seconds(bench: Bench):
    dead = bench.listen(BOB)
    dialer = bench.dial(ALICE, BOB)
    newer = bench.link(BOB)
    start = bench.now
    assert bench.say(newer, Listen()) == [Probe(dead)]
    bench.run(2_999)
    assert bench.end(dead) is None
    assert bench.heard(newer) == []
    bench.run(1)
    assert bench.end(dead) == (start + 3_000, CloseCode.REPLACED, "a newer connection took over")
    announced = bench.incoming(dead)
    assert bench.heard(newer) == [
        Send(newer, Listening(64, 35)),
        Send(newer, announced[0]),
    ]
    acceptor = bench.link(BOB)
    bench.say(acceptor, Accept(announced[0].tunnel_id))
    assert isinstance(bench.heard(dialer)[-1], Splice)


def test_a_living_listener_stays_and_the_second_device_is_told_so(bench: Bench):
    first = bench.listen(BOB)
    second = bench.listen(BOB)
    bench.run(100)
    bench.note(bench.relay.pong(first))
    assert bench.code(second) == CloseCode.DUPLICATE
    bench.run(60_000)
    assert bench.end(first) is None
    bench.dial(ALICE, BOB)
    assert len(bench.incoming(first)) == 1
    assert bench.refused(Refusal.DUPLICATE) == 1


def test_the_newest_of_several_candidates_waits_for_the_running_probe(bench: Bench):
    dead = bench.listen(BOB)
    start = bench.now
    older = bench.listen(BOB)
    bench.run(2_000)
    newest = bench.listen(BOB)
    assert bench.code(older) == CloseCode.REPLACED
    bench.run(2_000)
    assert bench.end(dead) == (start + 3_000, *ANSWERS[Refusal.REPLACED])
    assert bench.heard(newest)[0] == Send(newest, Listening(64, 35))


def test_a_candidate_takes_over_at_once_when_the_listener_closes(bench: Bench):
    first, second = bench.listen(BOB), bench.listen(BOB)
    assert bench.close(first) == [Send(second, Listening(64, 35))]
    assert bench.relay.deadline_ms() is None


def test_a_candidate_that_leaves_ends_the_probe(bench: Bench):
    first, second = bench.listen(BOB), bench.listen(BOB)
    bench.close(second)
    bench.run(10_000)
    assert bench.end(first) is None
    assert bench.relay.pong(first) == []


def test_a_half_tunnel_whose_dialer_left_is_not_announced_to_the_successor(bench: Bench):
    first = bench.listen(BOB)
    dialer = bench.dial(ALICE, BOB)
    second = bench.listen(BOB)
    bench.close(dialer)
    bench.close(first)
    assert bench.incoming(second) == []


def test_listening_again_after_closing_needs_no_probe(bench: Bench):
    bench.close(bench.listen(BOB))
    again = bench.listen(BOB)
    assert bench.heard(again) == [Send(again, Listening(64, 35))]


# --- dialling -----------------------------------------------------------------------------------


def unavailable_after(bench: Bench, dialer: int, start: int) -> int:
    end = bench.end(dialer)
    assert end is not None
    assert end[1:] == (CloseCode.UNAVAILABLE, "not available")
    return end[0] - start


@covers("NT30")
def test_an_absent_and_a_rejecting_listener_answer_alike_at_the_same_time():
    absent, rejected = [], []
    for delay in range(0, 3_000, 15):
        bench = Bench()
        start = bench.now
        dialer = bench.dial(ALICE, BOB)
        bench.run(20_000)
        absent.append(unavailable_after(bench, dialer, start))

        bench = Bench()
        listener = bench.listen(BOB)
        start = bench.now
        dialer = bench.dial(ALICE, BOB)
        bench.run(delay)
        assert bench.say(listener, Reject(bench.incoming(listener)[0].tunnel_id)) == []
        bench.run(20_000)
        rejected.append(unavailable_after(bench, dialer, start))
    assert absent == rejected == [3_000] * 200


def test_a_late_rejection_is_passed_on_at_once(bench: Bench):
    listener = bench.listen(BOB)
    start = bench.now
    dialer = bench.dial(ALICE, BOB)
    bench.run(7_000)
    bench.say(listener, Reject(bench.incoming(listener)[0].tunnel_id))
    bench.run(0)
    assert unavailable_after(bench, dialer, start) == 7_000


def test_a_listener_that_goes_looks_like_one_that_never_was(bench: Bench):
    listener = bench.listen(BOB)
    start = bench.now
    dialer = bench.dial(ALICE, BOB)
    bench.run(500)
    assert bench.close(listener) == []
    bench.run(20_000)
    assert unavailable_after(bench, dialer, start) == 3_000
    assert bench.relay.stats().half_tunnels == 0


@covers("NT31")
def test_a_dialer_that_leaves_frees_its_half_tunnel_and_may_dial_again(bench: Bench):
    listener = bench.listen(BOB)
    first = bench.dial(ALICE, BOB)
    assert bench.relay.stats().half_tunnels == 1
    assert bench.close(first) == []
    assert bench.relay.stats().half_tunnels == 0
    second = bench.dial(ALICE, BOB)
    assert len(bench.incoming(listener)) == 2
    late, right = bench.link(BOB), bench.link(BOB)
    bench.say(late, Accept(bench.incoming(listener)[0].tunnel_id))
    assert bench.code(late) == CloseCode.UNAVAILABLE
    bench.say(right, Accept(bench.incoming(listener)[1].tunnel_id))
    assert isinstance(bench.heard(second)[-1], Splice)


@covers("NT32", "RLY-06")
def test_a_listener_that_never_answers_costs_its_dialers_fifteen_seconds(bench: Bench):
    listener = bench.listen(BOB)
    start = bench.now
    dialer = bench.dial(ALICE, BOB)
    bench.run(14_999)
    assert bench.end(dialer) is None
    bench.run(1)
    assert unavailable_after(bench, dialer, start) == 15_000
    leg, _ = bench.tunnel(CAROL, listener, BOB)
    assert isinstance(bench.heard(leg)[-1], Splice)


@covers("NT33")
def test_a_foreign_expired_or_reused_tunnel_id_opens_nothing(bench: Bench):
    listener, foreign = bench.listen(BOB), bench.listen(CAROL)
    bench.dial(ALICE, BOB)
    expired = bench.incoming(listener)[0].tunnel_id
    bench.run(15_000)
    dialer = bench.dial(ALICE, BOB)
    good = bench.incoming(listener)[1].tunnel_id
    assert bench.say(foreign, Reject(good)) == []
    thief, late, unknown = bench.link(CAROL), bench.link(BOB), bench.link(BOB)
    stranger = bench.link(ALICE)
    bench.say(thief, Accept(good))
    bench.say(stranger, Accept(good))
    bench.say(late, Accept(expired))
    bench.say(unknown, Accept(Uid(b"\xff" * 16)))
    assert bench.heard(dialer) == []
    acceptor, again = bench.link(BOB), bench.link(BOB)
    assert bench.say(acceptor, Accept(good))[-1] == Splice(dialer, acceptor, good)
    bench.say(again, Accept(good))
    for conn in (thief, stranger, late, unknown, again):
        assert bench.heard(conn) == [Close(conn, CloseCode.UNAVAILABLE, "not available")]
    assert bench.relay.stats().tunnels == 1


def test_dialling_the_same_key_again_replaces_the_older_attempt(bench: Bench):
    listener = bench.listen(BOB)
    for target in (BOB, CAROL):  # listening and absent: no difference
        older, newer = bench.dial(ALICE, target), bench.dial(ALICE, target)
        assert bench.code(older) == CloseCode.REPLACED
        assert bench.end(newer) is None
    assert len(bench.incoming(listener)) == 2
    assert bench.relay.stats().half_tunnels == 1


def test_a_held_dialer_that_leaves_is_forgotten(bench: Bench):
    bench.close(bench.dial(ALICE, BOB))
    assert bench.relay.deadline_ms() is None
    assert bench.relay.stats().connections == 0


def test_an_answer_to_an_announcement_of_the_past_changes_nothing(bench: Bench):
    listener = bench.listen(BOB)
    bench.close(bench.dial(ALICE, BOB))
    old = bench.incoming(listener)[0].tunnel_id
    assert bench.say(listener, Reject(old)) == bench.say(listener, Reject(old)) == []
    bench.run(60_000)
    assert bench.end(listener) is None


# --- limits -------------------------------------------------------------------------------------


def test_each_limit_answers_overloaded_and_is_counted():
    full = Bench(RelayLimits(connections_max=1))
    full.link(ALICE)
    assert full.code(full.link(BOB)) == CloseCode.OVERLOADED
    assert full.refused(Refusal.CONNECTIONS) == 1

    full = Bench(RelayLimits(connections_per_key_max=2))
    full.link(ALICE), full.link(ALICE)
    assert full.code(full.link(ALICE)) == CloseCode.OVERLOADED
    assert full.code(full.link(BOB)) is None
    assert full.refused(Refusal.KEY_CONNECTIONS) == 1

    full = Bench(RelayLimits(listeners_max=1))
    full.listen(ALICE)
    assert full.code(full.listen(BOB)) == CloseCode.OVERLOADED
    assert full.code(full.listen(ALICE)) is None
    assert full.refused(Refusal.LISTENERS) == 1


def test_connections_are_limited_per_network_but_not_on_loopback():
    bench = Bench(RelayLimits(connections_per_source_max=2))
    first = [bench.link(key(n), "192.0.2.7") for n in range(3)]
    assert [bench.code(conn) for conn in first] == [None, None, CloseCode.OVERLOADED]
    bench.close(first[0])
    assert bench.code(bench.link(ALICE, "192.0.2.7")) is None
    assert bench.code(bench.link(ALICE, "192.0.2.8")) is None
    for source in ("127.0.0.1", "127.9.9.9", "::1", ""):
        assert not any(bench.code(bench.link(key(50 + n), source)) for n in range(4))


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::5", "20010db800010002/64"),
        ("2001:db8:1:2:ffff::9", "20010db800010002/64"),
        ("127.0.0.1", ""),
        ("::ffff:127.0.0.1", ""),
        ("::1", ""),
        ("", ""),
        ("a pipe", "a pipe"),
    ],
)
def test_an_address_counts_for_its_network(source: str, network: str):
    assert network_of(source) == network


def test_a_key_may_have_four_dials_at_a_time(bench: Bench):
    bench.listen(key(10))
    dials = [bench.dial(ALICE, key(10 + n)) for n in range(5)]
    assert [bench.code(conn) for conn in dials] == [None] * 4 + [CloseCode.OVERLOADED]
    assert bench.refused(Refusal.DIALS) == 1
    bench.run(3_000)
    assert bench.code(bench.dial(ALICE, key(20))) is None


def test_a_listener_may_have_sixteen_half_tunnels(bench: Bench):
    listener = bench.listen(BOB)
    dials = [bench.dial(key(100 + n), BOB) for n in range(17)]
    assert [bench.code(conn) for conn in dials] == [None] * 16 + [CloseCode.OVERLOADED]
    assert len(bench.incoming(listener)) == 16
    bench.say(listener, Reject(bench.incoming(listener)[0].tunnel_id))
    assert bench.code(bench.dial(key(200), BOB)) is None
    assert bench.refused(Refusal.LISTENER_FULL) == 1


def test_strangers_that_come_and_go_cannot_fill_a_listeners_queue(bench: Bench):
    listener = bench.listen(BOB)
    for n in range(1_000):
        bench.close(bench.dial(key(100 + n), BOB))
    assert len(bench.incoming(listener)) == 32
    bench.run(15_000)
    assert bench.code(bench.dial(ALICE, BOB)) is None
    assert len(bench.incoming(listener)) == 33


def test_tunnels_and_half_tunnels_share_a_limit_that_listening_anew_does_not_lift():
    bench = Bench(RelayLimits(tunnels_per_listener_max=2))
    listener = bench.listen(BOB)
    dialer, acceptor = bench.tunnel(key(100), listener, BOB)
    bench.close(listener)
    listener = bench.listen(BOB)
    assert bench.code(bench.dial(key(101), BOB)) is None
    assert bench.code(bench.dial(key(102), BOB)) == CloseCode.OVERLOADED
    bench.close(dialer), bench.close(acceptor)
    assert bench.code(bench.dial(key(103), BOB)) is None


@covers("RLY-09")
def test_a_key_may_connect_twenty_times_a_minute(bench: Bench):
    codes = []
    for _ in range(21):
        dialer = bench.dial(ALICE, BOB)
        codes.append(bench.code(dialer))
        bench.close(dialer)
    assert codes == [None] * 20 + [CloseCode.OVERLOADED]
    assert bench.code(bench.dial(CAROL, BOB)) is None
    bench.run(3_000)
    assert bench.code(bench.dial(ALICE, BOB)) is None
    assert bench.code(bench.dial(ALICE, BOB)) == CloseCode.OVERLOADED
    assert bench.refused(Refusal.CONNECT_RATE) == 2


def test_a_network_may_connect_twenty_times_a_minute_with_all_its_keys(bench: Bench):
    codes = [bench.code(bench.dial(key(100 + n), BOB, "2001:db8::1")) for n in range(21)]
    assert codes == [None] * 20 + [CloseCode.OVERLOADED]
    assert all(bench.code(bench.dial(key(200 + n), BOB, "::1")) is None for n in range(30))


def test_the_rate_forgets_the_oldest_dialer_rather_than_grow():
    rate = DialRate(2, 3)
    for n in range(10):
        assert rate.take(str(n), 0)
    assert list(rate._full_at) == ["7", "8", "9"]
    assert rate.take("9", 0)
    assert not rate.take("9", 29_999)
    assert rate.take("9", 30_000)
    assert rate.take("new", 1_000_000)
    assert rate.take("newer", 1_000_000)
    assert list(rate._full_at) == ["new", "newer"]


def test_a_rate_of_zero_limits_nobody():
    rate = DialRate(0, 1)
    assert all(rate.take("a", 0) for _ in range(100))


@covers("NT35")
@pytest.mark.parametrize(("keys", "source"), [(1, "::1"), (5_000, "192.0.2.7")])
def test_a_friend_gets_through_a_flood_within_five_seconds(bench: Bench, keys: int, source: str):
    """A stranger dials 1 000 times a second, under one key or from one address under many.

    The listener takes 100 ms to answer; the friend tries again after a second, as its back-off says.
    """
    listener = bench.listen(BOB)
    answers: list[tuple[int, RelayMessage, int]] = []
    answered, friends = 0, []
    start = bench.now
    for n in range(5_000):
        bench.dial(key(1_000 + n % keys), BOB, source)
        through = any(isinstance(effect, Splice) for one in friends for effect in bench.heard(one))
        if n % 1_000 == 20 and not through:
            friends.append(bench.dial(ALICE, BOB))
        for message in bench.incoming(listener)[answered:]:
            answered += 1
            if message.dialer == ALICE:
                answers.append((bench.now + 100, Accept(message.tunnel_id), bench.link(BOB)))
            else:
                answers.append((bench.now + 100, Reject(message.tunnel_id), listener))
        while answers and answers[0][0] <= bench.now:
            _, message, conn = answers.pop(0)
            bench.say(conn, message)
        bench.run(1)
        stats = bench.relay.stats()
        assert stats.half_tunnels <= 16
        assert stats.connections <= 30
    assert any(isinstance(effect, Splice) for effect in bench.heard(friends[-1]))
    assert bench.now - start == 5_000
    assert bench.end(listener) is None


# --- the operator -------------------------------------------------------------------------------


def test_only_allowed_keys_are_served_and_a_changed_list_acts_at_once():
    members = {ALICE, BOB, CAROL}
    bench = Bench(allowed=lambda peer: peer in members)
    assert bench.code(bench.link(key(9))) == CloseCode.NOT_AUTHORIZED
    assert bench.relay.recheck_allowed() == []
    listener = bench.listen(BOB)
    dialer, acceptor = bench.tunnel(ALICE, listener, BOB)
    other = bench.listen(CAROL)
    members.remove(BOB)
    bench.note(bench.relay.recheck_allowed())
    assert bench.code(listener) == bench.code(acceptor) == CloseCode.NOT_AUTHORIZED
    assert bench.end(dialer) is bench.end(other) is None
    bench.close(dialer)
    assert bench.relay.stats().tunnels == 0
    assert Bench().relay.recheck_allowed() == []


def test_shutting_down_tells_everybody_and_lets_nobody_in(bench: Bench):
    listener = bench.listen(BOB)
    ends = bench.tunnel(ALICE, listener, BOB)
    everybody = [listener, *ends, bench.listen(BOB), bench.dial(ALICE, CAROL), bench.link(CAROL)]
    bench.note(bench.relay.shut_down())
    assert [bench.code(conn) for conn in everybody] == [CloseCode.SHUTDOWN] * 6
    assert bench.code(bench.link(ALICE)) == CloseCode.SHUTDOWN
    assert bench.relay.deadline_ms() is None
    assert bench.relay.on_deadline(bench.now) == bench.close(listener) == []
    assert bench.relay.stats().connections == bench.relay.stats().tunnels == 0


def test_every_refusal_has_an_answer_and_presence_has_only_one():
    assert set(ANSWERS) == set(Refusal)
    assert all(len(reason.encode()) <= 128 for _, reason in ANSWERS.values())
    alike = {ANSWERS[why] for why in (Refusal.ABSENT, Refusal.REJECTED, Refusal.UNANSWERED)}
    assert len(alike) == 1


def test_ten_thousand_idle_listeners_leave_nothing_to_do(bench: Bench):
    for n in range(10_000):
        bench.listen(key(1_000 + n))
    assert bench.relay.stats().listeners == 10_000
    assert bench.relay.deadline_ms() is None
    assert len(bench.relay._deadlines._heap) <= 128  # answered deadlines do not pile up
    leg, _ = bench.tunnel(ALICE, 5_000, key(1_000 + 4_999))
    assert isinstance(bench.heard(leg)[-1], Splice)
