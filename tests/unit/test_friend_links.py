"""The rules FL1 to FL12: one by one, and as a model of two sides with a network between them."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from offset_engine.core import friend_links as fl
from offset_engine.core.link import CloseCode
from offset_engine.core.values import PublicKey, RelayAddress, Timers
from tests.covers import covers

RULES = fl.LinkRules()
RELAYS = tuple(RelayAddress(PublicKey(bytes([n]) * 32), f"relay{n}:9000") for n in range(1, 5))
HALF = 2**31


def env(now_ms: int, jitter: int = HALF) -> fl.LinkEnv:
    return fl.LinkEnv(now_ms, jitter, RULES)


def enable(is_preferred: bool, relays: tuple[RelayAddress, ...], at: fl.LinkEnv) -> fl.Outcome:
    return fl.enable(is_preferred=is_preferred, relays=relays, env=at)


def preferred(relays: tuple[RelayAddress, ...] = RELAYS[:1]) -> fl.FriendLinks:
    return enable(True, relays, env(0))[0]


def up(is_preferred: bool, is_dialed: bool, at_ms: int = 0) -> fl.FriendLinks:
    """A friend with link 1 adopted."""
    state, _ = enable(is_preferred, RELAYS[:1], env(at_ms))
    if not is_dialed:
        return fl.step(state, fl.Arrived(1, RELAYS[0]), env(at_ms))[0]
    state, _ = fl.step(state, fl.Tick(), env(state.dial_at_ms or at_ms))
    assert state.attempt is not None
    return fl.step(state, fl.Dialed(state.attempt.attempt_id, 1, RELAYS[0]), env(at_ms))[0]


# --- single rules -------------------------------------------------------------------------------


def test_the_preferred_side_dials_at_once_the_other_waits_half_to_full_start_time() -> None:
    _, effects = enable(True, RELAYS[:1], env(7))
    assert effects == (fl.Dial(fl.Attempt(1, RELAYS[:1])),)
    for jitter, wait in ((0, 5_000), (HALF, 7_500), (2**32 - 1, 9_999)):
        state, effects = enable(False, RELAYS[:1], env(7, jitter))
        assert effects == ()
        assert fl.deadline_ms(state) == 7 + wait


def test_failed_dials_wait_twice_as_long_each_time_and_take_the_next_relays() -> None:
    state, effects = enable(True, RELAYS[:3], env(0, 0))
    now, waits, seen = 0, [], []
    for _ in range(12):
        (dial,) = effects
        assert isinstance(dial, fl.Dial)
        seen.append(dial.attempt.relays[0])
        failed = fl.DialFailed(dial.attempt.attempt_id, None, "nobody there")
        state, effects = fl.step(state, failed, env(now, 0))
        assert effects == ()
        due = fl.deadline_ms(state)
        assert due is not None
        waits.append(due - now)
        now = due
        state, effects = fl.step(state, fl.Tick(), env(now, 0))
    assert waits[:5] == [500, 1_000, 2_000, 4_000, 8_000]
    assert waits[-1] == 150_000
    assert seen[:4] == [RELAYS[0], RELAYS[2], RELAYS[1], RELAYS[0]]


def test_a_link_that_lived_is_dialed_again_at_once_a_short_one_after_a_pause() -> None:
    lost = fl.Closed(1, None, "connection lost")
    _, effects = fl.step(up(True, True), lost, env(60_000))
    assert [type(e) for e in effects] == [fl.Dial]
    state, effects = fl.step(up(True, True), lost, env(59_999))
    assert effects == ()
    assert fl.deadline_ms(state) == 59_999 + 750


@covers("NT39")
def test_links_that_die_after_the_handshake_make_at_most_twelve_attempts_in_ten_minutes() -> None:
    for is_preferred in (True, False):
        state, effects = enable(is_preferred, RELAYS[:1], env(0))
        now, attempts, offline = 0, 0, 0
        while now < 600_000:
            for effect in effects:
                offline += isinstance(effect, fl.Offline)
                if isinstance(effect, fl.Dial):
                    attempts += 1
                    dialed = fl.Dialed(effect.attempt.attempt_id, attempts, RELAYS[0])
                    state, _ = fl.step(state, dialed, env(now))
                    state, _ = fl.step(state, fl.Closed(attempts, None, ""), env(now + 100))
            due = fl.deadline_ms(state)
            assert due is not None
            now = max(now, due)
            state, effects = fl.step(state, fl.Tick(), env(now))
        assert 6 <= attempts <= 12
        assert offline <= attempts


def test_hearing_from_the_friend_forgives_failed_dials_but_not_short_lives() -> None:
    state = preferred()
    for n in range(1, 9):
        state, _ = fl.step(state, fl.DialFailed(n, None, ""), env(n * 400_000))
        if n < 8:
            state, _ = fl.step(state, fl.Tick(), env((n + 1) * 400_000 - 1))
    assert state.dials_failed == 8
    heard, _ = fl.step(state, fl.Heard(), env(3_200_001))
    assert fl.deadline_ms(heard) == 3_200_001 + 750
    short = state
    for n in range(10, 14):
        short, _ = fl.step(short, fl.Arrived(n, RELAYS[0]), env(3_200_002))
        short, _ = fl.step(short, fl.Closed(n, None, ""), env(3_200_102))
    heard, _ = fl.step(short, fl.Heard(), env(3_200_103))
    assert heard.lives_short == 4
    assert heard.dial_at_ms is not None
    assert heard.dial_at_ms > 3_200_102 + 5_000


def test_the_same_initiator_replaces_its_own_older_link() -> None:
    state, effects = fl.step(up(True, False), fl.Arrived(2, RELAYS[0]), env(5))
    assert effects == (fl.Adopt(2), fl.Close(1, CloseCode.REPLACED))
    assert state.adopted is not None
    assert state.adopted.link_id == 2


def test_a_link_of_the_preferred_side_replaces_one_of_the_other() -> None:
    _, effects = fl.step(up(False, True), fl.Arrived(2, RELAYS[0]), env(9_000))
    assert effects == (fl.Adopt(2), fl.Close(1, CloseCode.REPLACED))


def test_a_link_of_the_other_side_waits_until_the_preferred_one_answered_or_not() -> None:
    asked, effects = fl.step(up(True, True), fl.Arrived(2, RELAYS[0]), env(100))
    assert effects == (fl.Probe(1),)
    kept, effects = fl.step(asked, fl.Answered(1), env(200))
    assert effects == (fl.Close(2, CloseCode.DUPLICATE),)
    assert kept.candidate is None
    assert fl.deadline_ms(asked) == 3_100
    swapped, effects = fl.step(asked, fl.Tick(), env(3_100))
    assert effects == (fl.Adopt(2), fl.Close(1, CloseCode.TIMEOUT))
    assert swapped.adopted is not None
    assert swapped.adopted.link_id == 2
    assert swapped.offline_at_ms is None


def test_a_second_candidate_takes_the_place_of_the_first() -> None:
    asked, _ = fl.step(up(True, True), fl.Arrived(2, RELAYS[0]), env(100))
    asked, effects = fl.step(asked, fl.Arrived(3, RELAYS[0]), env(1_100))
    assert effects == (fl.Close(2, CloseCode.REPLACED),)
    assert fl.deadline_ms(asked) == 3_100
    _, effects = fl.step(asked, fl.Closed(1, None, ""), env(1_200))
    assert effects == (fl.Adopt(3),)


def test_a_duplicate_is_no_failure_and_dials_again_if_nothing_comes() -> None:
    state, _ = fl.step(up(False, True), fl.Closed(1, CloseCode.DUPLICATE, ""), env(100))
    assert (state.dials_failed, state.lives_short) == (0, 0)
    assert fl.deadline_ms(state) == 5_100
    _, effects = fl.step(state, fl.Tick(), env(5_100))
    assert [type(e) for e in effects] == [fl.Dial]


def test_offline_is_told_once_after_the_grace_and_never_if_a_link_returns() -> None:
    state, _ = fl.step(up(False, False), fl.Closed(1, None, "lost"), env(1_000))
    back, effects = fl.step(state, fl.Arrived(2, RELAYS[0]), env(10_999))
    assert fl.Adopt(2) in effects
    assert back.offline_at_ms is None
    told = []
    for now in range(1_000, 60_000, 500):
        state, effects = fl.step(state, fl.Tick(), env(now))
        told += [now for effect in effects if isinstance(effect, fl.Offline)]
    assert told == [11_000]


@covers("NT46")
@pytest.mark.parametrize("code", [CloseCode.NOT_AUTHORIZED, CloseCode.VERSION])
def test_a_refusal_pauses_at_least_a_minute(code: CloseCode) -> None:
    failed, _ = fl.step(preferred(), fl.DialFailed(1, code, "not a friend on their side"), env(50))
    assert fl.deadline_ms(failed) == 60_050
    assert failed.problem == "not a friend on their side"
    closed, _ = fl.step(up(True, True), fl.Closed(1, code, ""), env(100))
    assert closed.dial_at_ms == 60_100


@covers("NT37")
def test_a_removed_relay_is_not_dialed_again_and_its_attempt_no_longer_counts() -> None:
    state = preferred(RELAYS[:1])
    state, effects = fl.step(state, fl.RelaysChanged(RELAYS[1:2]), env(10))
    assert effects == (fl.CancelDial(1), fl.Dial(fl.Attempt(2, RELAYS[1:2])))
    same, effects = fl.step(state, fl.DialFailed(1, None, "late"), env(20))
    assert (same, effects) == (state, ())
    same, effects = fl.step(state, fl.Dialed(1, 77, RELAYS[0]), env(20))
    assert (same, effects) == (state, (fl.Close(77, CloseCode.NORMAL),))
    for n in range(2, 30):
        state, _ = fl.step(state, fl.DialFailed(n, None, ""), env(n * 400_000))
        state, effects = fl.step(state, fl.Tick(), env((n + 1) * 400_000 - 1))
        assert effects == (fl.Dial(fl.Attempt(n + 1, RELAYS[1:2])),)


def test_a_live_link_over_a_removed_relay_stays() -> None:
    state, effects = fl.step(up(True, True), fl.RelaysChanged(RELAYS[1:2]), env(10))
    assert effects == ()
    assert state.adopted is not None


def test_without_relays_nothing_is_dialed_until_one_is_known() -> None:
    state, effects = enable(True, (), env(0))
    assert effects == ()
    assert fl.deadline_ms(state) is None
    _, effects = fl.step(state, fl.RelaysChanged(RELAYS[:1]), env(10))
    assert [type(e) for e in effects] == [fl.Dial]


def test_a_back_off_stops_dialing_and_a_retry_ends_it() -> None:
    state, effects = fl.step(preferred(), fl.BackOff(60_000), env(10))
    assert effects == (fl.CancelDial(1),)
    state, effects = fl.step(state, fl.RelaysChanged(RELAYS[:2]), env(20))
    assert effects == ()
    assert fl.deadline_ms(state) == 60_010
    _, effects = fl.step(state, fl.Retry(), env(30))
    assert [type(e) for e in effects] == [fl.Dial]


@covers("NT44")
def test_after_sleep_the_link_must_answer_within_five_seconds_or_is_dialed_anew() -> None:
    asked, effects = fl.step(up(True, True), fl.Woke(), env(600_000))
    assert effects == (fl.Probe(1),)
    assert fl.deadline_ms(fl.step(asked, fl.Answered(1), env(600_100))[0]) != 605_000
    dead, effects = fl.step(asked, fl.Tick(), env(605_000))
    assert fl.Close(1, CloseCode.TIMEOUT) in effects
    assert any(isinstance(effect, fl.Dial) for effect in effects)
    assert dead.offline_at_ms == 615_000


@covers("NT40")
def test_a_removed_friend_is_closed_and_late_events_do_not_touch_its_successor() -> None:
    state, _ = fl.step(up(True, True), fl.Arrived(2, RELAYS[0]), env(10))
    closings = fl.disable(state)
    assert closings == (fl.Close(2, CloseCode.NORMAL), fl.Close(1, CloseCode.NORMAL))
    fresh, _ = enable(True, RELAYS[:1], env(20))
    fresh, _ = fl.step(fresh, fl.Arrived(3, RELAYS[0]), env(30))
    for late in (fl.Closed(1, None, ""), fl.Closed(2, None, ""), fl.Answered(1)):
        assert fl.step(fresh, late, env(40)) == (fresh, ())


def test_only_the_preferred_side_replaces_an_old_link() -> None:
    state = up(True, True)
    due = fl.deadline_ms(state)
    assert due is not None
    assert RULES.age_max_ms * 9 // 10 <= due <= RULES.age_max_ms * 11 // 10
    state, effects = fl.step(state, fl.Tick(), env(due))
    assert effects == (fl.Dial(fl.Attempt(2, RELAYS[:1])),)
    failed, _ = fl.step(state, fl.DialFailed(2, None, ""), env(due + 10))
    assert fl.deadline_ms(failed) == due + 10 + 750
    assert failed.adopted is not None
    _, effects = fl.step(state, fl.Dialed(2, 9, RELAYS[0]), env(due + 20))
    assert effects == (fl.Adopt(9), fl.Close(1, CloseCode.REPLACED))
    assert fl.deadline_ms(up(False, False)) is None


def test_an_attempt_overtaken_by_the_friends_link_does_not_dial_again_while_up() -> None:
    state, _ = fl.step(preferred(), fl.Arrived(5, RELAYS[0]), env(10))
    state, effects = fl.step(state, fl.DialFailed(1, None, ""), env(20))
    assert effects == ()
    due = fl.deadline_ms(state)
    assert due is not None
    assert due > 80_000_000


def test_a_friend_that_shuts_down_is_dialed_after_a_random_while() -> None:
    for jitter, wait in ((0, 2_000), (2**32 - 1, 9_999)):
        lost = fl.Closed(1, CloseCode.SHUTDOWN, "")
        state, _ = fl.step(up(True, True), lost, env(70_000, jitter))
        assert fl.deadline_ms(state) == 70_000 + wait


def test_a_dial_ended_as_duplicate_waits_for_the_other_link_without_counting() -> None:
    failed = fl.DialFailed(1, CloseCode.DUPLICATE, "")
    state, _ = fl.step(preferred(), failed, env(10))
    assert fl.deadline_ms(state) == 5_010
    assert state.dials_failed == 0


def test_a_removed_friend_under_dial_is_no_longer_dialed() -> None:
    assert fl.disable(preferred()) == (fl.CancelDial(1),)


def test_the_side_that_is_not_preferred_gives_up_its_own_dial_for_the_others_link() -> None:
    state, _ = enable(False, RELAYS[:1], env(0))
    state, _ = fl.step(state, fl.Retry(), env(1))
    state, effects = fl.step(state, fl.Arrived(5, RELAYS[0]), env(2))
    assert effects == (fl.Adopt(5), fl.CancelDial(1))
    assert fl.deadline_ms(state) is None


def test_the_candidate_that_leaves_or_is_overtaken_is_forgotten() -> None:
    asked, _ = fl.step(up(True, True), fl.Arrived(2, RELAYS[0]), env(100))
    left, effects = fl.step(asked, fl.Closed(2, None, ""), env(200))
    assert (left.candidate, effects) == (None, ())
    again, effects = fl.step(left, fl.Arrived(3, RELAYS[0]), env(300))
    assert effects == ()
    assert again.candidate is not None
    renewing, _ = fl.step(again, fl.Tick(), env(2_999))
    assert renewing.candidate is not None


def test_what_changes_nothing_changes_nothing() -> None:
    state = up(True, True)
    for event in (fl.RelaysChanged(RELAYS[:1]), fl.Heard(), fl.Tick(), fl.Answered(1)):
        assert fl.step(state, event, env(10)) == (state, ())
    waiting = preferred()
    assert fl.step(waiting, fl.Woke(), env(10))[1] == ()


def test_relays_changed_during_the_dial_for_a_second_link_only_postpones_it() -> None:
    state = up(True, True)
    due = fl.deadline_ms(state)
    assert due is not None
    state, _ = fl.step(state, fl.Tick(), env(due))
    state, effects = fl.step(state, fl.RelaysChanged(RELAYS[1:2]), env(due + 5))
    assert effects == (fl.CancelDial(2),)
    assert fl.deadline_ms(state) == due + 5 + 750
    assert state.adopted is not None


def test_the_default_waiting_times_are_those_of_the_default_timers() -> None:
    assert fl.LinkRules.of(Timers()) == fl.LinkRules()


# --- two sides and a network --------------------------------------------------------------------

DEAD_MS = 35_000


@dataclass
class Wire:
    """One connection: who dialed, which directions still pass, what each end knows."""

    link_id: int
    dialer: int
    latency_ms: tuple[int, int]
    passes: list[bool] = field(default_factory=lambda: [True, True])
    """Per sender."""
    last_arrival_ms: list[int] = field(default_factory=lambda: [0, 0])
    is_open: list[bool] = field(default_factory=lambda: [True, True])
    held: list[list[int]] = field(default_factory=lambda: [[], []])
    """Messages that reached an end which has not adopted the link yet, per end."""


class World:
    """Two friends; every latency, loss and simultaneous dial comes from the seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now_ms = 0
        self.queue: list[tuple[int, int, Callable[[], None]]] = []
        self.counter = 0
        self.wires: dict[int, Wire] = {}
        self.sides: list[fl.FriendLinks | None] = [None, None]
        self.adoptions: tuple[list[int], list[int]] = ([], [])
        self.offline: tuple[list[int], list[int]] = ([], [])
        self.newest = [0, 0]
        self.received = [0, 0]
        self.reachable = [True, True]
        """Per target: whether dialing it works."""

    def later(self, wait_ms: int, action: Callable[[], None]) -> None:
        self.counter += 1
        heapq.heappush(self.queue, (self.now_ms + wait_ms, self.counter, action))

    def run(self, until_ms: int) -> None:
        while self.queue and self.queue[0][0] <= until_ms:
            self.now_ms, _, action = heapq.heappop(self.queue)
            action()
        self.now_ms = until_ms

    def env(self) -> fl.LinkEnv:
        return fl.LinkEnv(self.now_ms, self.rng.getrandbits(32), RULES)

    def enable(self, side: int) -> None:
        state, effects = enable(side == 1, RELAYS[:1], self.env())
        self.sides[side] = state
        self.perform(side, effects)

    def feed(self, side: int, event: fl.LinkEvent) -> None:
        state = self.sides[side]
        if state is None:
            return
        self.sides[side], effects = fl.step(state, event, self.env())
        self.perform(side, effects)

    def perform(self, side: int, effects: tuple[fl.LinkEffect, ...]) -> None:
        for effect in effects:
            match effect:
                case fl.Dial(attempt):
                    wait = self.rng.randint(5, 400)
                    self.later(wait, lambda a=attempt: self.dial_ends(side, a))
                case fl.Adopt(link_id):
                    self.adopt(side, self.wires[link_id])
                case fl.Close(link_id, code):
                    self.close(side, self.wires[link_id], code)
                case fl.Probe(link_id):
                    self.probe(side, self.wires[link_id])
                case fl.Offline():
                    self.offline[side].append(self.now_ms)
                case fl.CancelDial():
                    pass
        state = self.sides[side]
        due = None if state is None else fl.deadline_ms(state)
        if due is not None:
            self.later(max(0, due - self.now_ms), lambda: self.tick(side, due))

    def tick(self, side: int, due: int) -> None:
        state = self.sides[side]
        if state is not None and fl.deadline_ms(state) == due:
            self.feed(side, fl.Tick())

    def dial_ends(self, side: int, attempt: fl.Attempt) -> None:
        state = self.sides[side]
        if state is None or state.attempt != attempt:
            return
        if self.sides[1 - side] is None or not self.reachable[1 - side]:
            self.feed(side, fl.DialFailed(attempt.attempt_id, None, "nobody there"))
            return
        latency = (self.rng.randint(1, 200), self.rng.randint(1, 200))
        wire = Wire(len(self.wires) + 1, side, latency)
        self.wires[wire.link_id] = wire
        self.pass_on(wire, side, lambda: self.arrive(1 - side, wire))
        self.feed(side, fl.Dialed(attempt.attempt_id, wire.link_id, RELAYS[0]))

    def arrive(self, side: int, wire: Wire) -> None:
        self.feed(side, fl.Arrived(wire.link_id, RELAYS[0]))

    def pass_on(self, wire: Wire, sender: int, action: Callable[[], None]) -> None:
        """In order, unless this direction is lost, which nobody notices before the dead time."""
        if not wire.passes[sender]:
            return
        at_ms = max(self.now_ms + wire.latency_ms[sender], wire.last_arrival_ms[sender])
        wire.last_arrival_ms[sender] = at_ms

        def deliver() -> None:
            if wire.passes[sender] and wire.is_open[1 - sender]:
                action()

        self.later(at_ms - self.now_ms, deliver)

    def close(self, side: int, wire: Wire, code: CloseCode) -> None:
        if wire.is_open[side]:
            self.pass_on(wire, side, lambda: self.closed_by_remote(1 - side, wire, code))
            wire.is_open[side] = False

    def closed_by_remote(self, side: int, wire: Wire, code: CloseCode | None) -> None:
        wire.is_open[side] = False
        self.feed(side, fl.Closed(wire.link_id, code, ""))

    def probe(self, side: int, wire: Wire) -> None:
        def answer() -> None:
            self.pass_on(wire, 1 - side, lambda: self.feed(side, fl.Answered(wire.link_id)))

        self.pass_on(wire, side, answer)

    def lose(self, wire: Wire, senders: tuple[int, ...]) -> None:
        """Silently drop what these senders send; whoever hears nothing gives up after the dead time."""
        for sender in senders:
            wire.passes[sender] = False
            ear = 1 - sender

            def give_up(ear: int = ear) -> None:
                if wire.is_open[ear]:
                    self.close(ear, wire, CloseCode.TIMEOUT)
                    self.feed(ear, fl.Closed(wire.link_id, None, "timeout"))

            self.later(self.rng.randint(20_000, DEAD_MS), give_up)

    # What the node above does: on every adoption send the newest message again (design R22).

    def adopt(self, side: int, wire: Wire) -> None:
        self.adoptions[side].append(wire.link_id)
        held, wire.held[side] = wire.held[side], []
        for number in held:
            self.received[side] = max(self.received[side], number)
        self.send_newest(side, wire)

    def send(self, side: int) -> None:
        self.newest[side] += 1
        state = self.sides[side]
        if state is not None and state.adopted is not None:
            self.send_newest(side, self.wires[state.adopted.link_id])

    def send_newest(self, side: int, wire: Wire) -> None:
        number = self.newest[side]
        self.pass_on(wire, side, lambda: self.hear(1 - side, wire, number))

    def hear(self, side: int, wire: Wire, number: int) -> None:
        state = self.sides[side]
        assert state is not None
        if state.adopted is not None and state.adopted.link_id == wire.link_id:
            self.received[side] = max(self.received[side], number)
        elif state.candidate is not None and state.candidate.link_id == wire.link_id:
            wire.held[side].append(number)

    def common_link(self) -> int | None:
        ends = [None if s is None or s.adopted is None else s.adopted.link_id for s in self.sides]
        return ends[0] if ends[0] == ends[1] else None

    def check_agreed(self) -> None:
        link_id = self.common_link()
        assert link_id is not None, self.sides
        assert all(self.wires[link_id].is_open)
        assert all(
            not any(wire.is_open) or wire.link_id == link_id or not all(wire.passes)
            for wire in self.wires.values()
        )
        for side in (0, 1):
            assert self.received[side] == self.newest[1 - side]


@covers("NT22")
@pytest.mark.parametrize("apart_ms", [0, 1, 50])
def test_simultaneous_dials_end_with_one_link_and_no_oscillation(apart_ms: int) -> None:
    for seed in range(200):
        world = World(seed)
        world.enable(seed % 2)
        world.later(apart_ms, lambda w=world, s=seed: w.enable(1 - s % 2))
        world.later(apart_ms, lambda w=world: w.feed(0, fl.Retry()))
        world.run(10_000)
        world.check_agreed()
        settled = [list(one) for one in world.adoptions]
        world.run(70_000)
        world.check_agreed()
        assert [list(one) for one in world.adoptions] == settled
        assert max(map(len, settled)) <= 2
        assert world.offline == ([], [])


def test_silent_losses_always_end_with_one_link_both_sides_hold_and_nobody_offline() -> None:
    for seed in range(1_500):
        world = World(seed)
        world.enable(0)
        world.later(world.rng.randint(0, 50), lambda w=world: w.enable(1))
        for _ in range(world.rng.randint(1, 4)):
            world.run(world.now_ms + world.rng.randint(1, 120_000))
            for wire in list(world.wires.values()):
                if any(wire.is_open) and world.rng.random() < 0.7:
                    senders = world.rng.choice(((0,), (1,), (0, 1)))
                    world.lose(wire, senders)
            for side in (0, 1):
                if world.rng.random() < 0.5:
                    world.later(world.rng.randint(0, 50_000), lambda w=world, s=side: w.send(s))
                if world.rng.random() < 0.3:
                    world.later(
                        world.rng.randint(0, 500), lambda w=world, s=side: w.feed(s, fl.Woke())
                    )
        world.run(world.now_ms + 400_000)
        world.check_agreed()
        assert world.offline == ([], []), seed


@covers("NT23")
@pytest.mark.parametrize("unreachable", [0, 1])
def test_one_side_whose_relays_work_is_enough(unreachable: int) -> None:
    for seed in range(50):
        world = World(seed)
        world.reachable[unreachable] = False
        world.enable(0)
        world.enable(1)
        world.run(12_000)
        world.check_agreed()
        dialer = world.wires[world.common_link() or 0].dialer
        assert dialer == unreachable


@covers("NT47")
def test_a_day_old_link_is_swapped_without_offline_and_without_a_lost_message() -> None:
    for seed in range(3):
        world = World(seed)
        world.enable(0)
        world.enable(1)
        world.run(60_000)
        first = world.common_link()
        start_ms = RULES.age_max_ms * 9 // 10 - 60_000
        world.run(start_ms)
        end_ms = RULES.age_max_ms * 11 // 10 + 120_000
        while world.now_ms < end_ms:
            world.send(world.rng.randint(0, 1))
            world.run(world.now_ms + world.rng.randint(200, 3_000))
        world.run(end_ms + 1_000)
        world.check_agreed()
        assert world.common_link() != first
        assert world.offline == ([], [])


@covers("NT39")
def test_two_sides_whose_links_all_die_young_calm_down_together() -> None:
    for seed in range(20):
        world = World(seed)
        world.enable(0)
        world.enable(1)
        while world.now_ms < 600_000:
            world.run(world.now_ms + 100)
            link_id = world.common_link()
            if link_id is not None:
                for side in (0, 1):
                    world.closed_by_remote(side, world.wires[link_id], None)
        assert len(world.wires) <= 24, seed
        assert max(map(len, world.offline)) <= 12
