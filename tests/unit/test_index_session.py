"""The node's end of an index connection: what it reports and when, and which answers it believes."""

import pytest

from offset_engine.core.crypto import expand_seed, public_key_of, sign, verify
from offset_engine.core.index import AckCode, IndexLimits, IndexServer, Send
from offset_engine.core.index_session import (
    OPEN_QUESTIONS_MAX,
    Fail,
    IndexSession,
    RoutesAnswered,
    RoutesUnanswered,
    SendMessage,
    SessionFault,
    SessionUp,
    check_choice,
    reported_edges,
    round_capacity,
)
from offset_engine.core.messages import (
    Alive,
    Edge,
    EdgeRemoved,
    IndexUpdate,
    Info,
    InfoRequest,
    Part,
    RouteChoice,
    RoutesRequest,
    RoutesResponse,
    SendFull,
    TimeHash,
    UpdateAck,
)
from offset_engine.core.signing import index_update_buffer
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    HashResult,
    PrivateKey,
    PublicKey,
    RandValue,
    Rate,
    Timers,
    Uid,
)
from tests.covers import covers

FST = Currency("FST")
FREE = Rate()
SEED = PrivateKey(b"s" * 32)
ME, SECRET = public_key_of(SEED), expand_seed(SEED)
F1, F2, F3, DEST, FAR = (PublicKey(bytes([i]) * 32) for i in range(1, 6))
RAND = RandValue(b"r" * 16)
PERIOD = 10_000


def edge(friend: PublicKey, capacity: int, rate: Rate = FREE) -> Edge:
    return Edge(friend, FST, capacity, rate)


class Bench:
    """A session, a clock, and everything it put out."""

    def __init__(self, *edges: Edge, timers: Timers | None = None) -> None:
        self.now = 5_000
        self.session = IndexSession(
            ME, Uid(b"i" * 16), lambda m: sign(SECRET, m), edges, timers or Timers()
        )
        assert self.session.start(self.now) == [SendMessage(InfoRequest())]

    def hear(self, message) -> list:
        return self.session.received(message, self.now, RAND)

    def tick(self, number: int = 1) -> list:
        return self.hear(TimeHash(HashResult(bytes([number]) * 32), PERIOD))

    def ack(self, update: IndexUpdate, code: AckCode = AckCode.OK) -> list:
        return self.hear(UpdateAck(update.session_id, update.counter, code))

    def report(self, *edges: Edge) -> list:
        return self.session.update_edges(edges, self.now, RAND)

    def run(self, ms: int, *, ticking: bool = True) -> list:
        """Let time pass with a server that ticks and acknowledges; all outputs with their times."""
        outputs: list = []
        end = self.now + ms
        next_tick = self.now + PERIOD
        while True:
            due = self.session.deadline_ms()
            at = min(next_tick if ticking else end + 1, end + 1 if due is None else due)
            if at > end:
                self.now = end
                return outputs
            self.now = max(self.now, at)
            if ticking and at == next_tick:
                new = self.tick()
                next_tick += PERIOD
            else:
                new = self.session.on_deadline(self.now, RAND)
                assert new or self.session.deadline_ms() != due, "a deadline that does nothing"
            outputs += [(self.now, output) for output in new]
            for output in new:
                message = output.message if isinstance(output, SendMessage) else None
                if ticking and isinstance(message, IndexUpdate):
                    outputs += [(self.now, o) for o in self.ack(message)]

    def up(self) -> IndexUpdate:
        (full,) = self.tick()
        assert self.ack(full.message) == [SessionUp()]
        return full.message


def updates(outputs: list) -> list[IndexUpdate]:
    messages = [output.message for _, output in outputs if isinstance(output, SendMessage)]
    return [message for message in messages if isinstance(message, IndexUpdate)]


def question(**changes) -> RoutesRequest:
    fields = {
        "request_id": Uid(b"q" * 16), "kind": 0, "currency": FST, "amount": 100, "dest": DEST,
        "first_friend": None, "last_friend": None, "max_fee": 50, "max_parts": 3, "max_keys": 32,
        "exclude_edges": (), "exclude_nodes": (),
    }  # fmt: skip
    return RoutesRequest(**(fields | changes))


# --- what is reported ---


@pytest.mark.parametrize(
    ("true", "told"),
    [(0, 0), (7, 7), (99, 99), (100, 100), (101, 100), (109, 100), (110, 110), (999, 990),
     (1_000, 1_000), (12_999, 12_000), (CREDITS_MAX, 17 * 10**37)],
)  # fmt: skip
def test_capacities_are_rounded_down_to_two_digits(true, told):
    assert round_capacity(true) == told <= true


def test_the_512_largest_edges_are_reported_in_a_stable_order():
    keys = [PublicKey(i.to_bytes(32, "big")) for i in range(600)]
    edges = [edge(key, 10 if i < 300 else 50) for i, key in enumerate(keys)]
    told = reported_edges(edges)
    assert told == reported_edges(edges[::-1])
    assert [one.friend for one in told] == keys[:212] + keys[300:]
    assert reported_edges([edge(F1, 0)]) == (edge(F1, 0),)


def test_a_full_update_is_signed_over_the_newest_time_hash():
    bench = Bench(edge(F2, 123), edge(F1, 5))
    full = bench.up()
    assert (full.is_full, full.counter, full.node) == (True, 0, ME)
    assert full.time_hash == HashResult(b"\x01" * 32)
    assert full.mutations == (edge(F1, 5), edge(F2, 120))
    assert verify(ME, index_update_buffer(full), full.signature)
    assert bench.session.is_up
    assert bench.session.acked_counter == 0


def test_only_a_change_of_the_rounded_value_is_reported_and_changes_are_merged():
    bench = Bench(edge(F1, 1_234))
    bench.up()
    assert bench.report(edge(F1, 1_299)) == []
    assert bench.run(5_000) == []
    (sent,) = bench.report(edge(F1, 1_300))
    assert sent.message.mutations == (edge(F1, 1_300),)


def test_small_changes_wait_two_seconds_after_the_last_update_and_travel_together():
    bench = Bench(edge(F1, 50), edge(F2, 50))
    bench.up()
    sent = bench.now
    bench.now += 300
    assert bench.report(edge(F1, 40), edge(F2, 50)) == []
    bench.now += 300
    assert bench.report(edge(F1, 30), edge(F2, 60)) == []
    outputs = bench.run(5_000)
    (delta,) = updates(outputs)
    assert outputs[0][0] == sent + 2_000
    assert (delta.is_full, delta.counter) == (False, 1)
    assert delta.mutations == (edge(F1, 30), edge(F2, 60))


def test_a_change_taken_back_in_time_is_never_told():
    bench = Bench(edge(F1, 50))
    bench.up()
    assert bench.report(edge(F1, 40)) == []
    assert bench.report(edge(F1, 50)) == []
    assert bench.run(20_000) == []


@covers("NT74")
def test_a_vanished_or_empty_edge_is_told_at_once_but_at_most_twice_a_second():
    bench = Bench(edge(F1, 50), edge(F2, 50), edge(F3, 50))
    bench.up()
    bench.now += 600
    (sent,) = bench.report(edge(F2, 50), edge(F3, 50))
    assert sent.message.mutations == (EdgeRemoved(F1, FST),)
    bench.ack(sent.message)
    assert bench.report(edge(F2, 0), edge(F3, 50)) == []
    start = bench.now
    outputs = bench.run(3_000)
    assert outputs[0][0] == start + 500
    assert updates(outputs)[0].mutations == (edge(F2, 0),)


def test_an_edge_that_comes_or_rises_from_zero_is_told_at_once_but_at_most_twice_a_second():
    bench = Bench()  # a card that has just come online: none of its friends is there yet
    bench.up()
    bench.now += 600
    (sent,) = bench.report(edge(F1, 0))
    assert sent.message.mutations == (edge(F1, 0),)
    bench.ack(sent.message)
    start = bench.now
    assert bench.report(edge(F1, 50)) == []
    outputs = bench.run(3_000)
    assert outputs[0][0] == start + 500
    assert updates(outputs)[0].mutations == (edge(F1, 50),)
    start = bench.now = bench.now + 600
    assert updates([(0, one) for one in bench.report(edge(F1, 50), edge(F2, 7))])
    assert bench.report(edge(F1, 60), edge(F2, 7)) == []  # more of what there was can wait


def test_a_friend_that_comes_and_goes_all_the_time_costs_no_more_than_two_updates_a_second():
    bench = Bench()
    bench.up()
    sent: list = []
    for number in range(200):
        bench.now += 50
        sent += [(bench.now, one) for one in bench.report(*[edge(F1, 50)] * (number % 2))]
        sent += bench.run(0)
        for message in updates(sent[-1:]):
            bench.ack(message)
    assert 0 < len(updates(sent)) <= 2 * 10


def test_one_update_is_in_flight_at_a_time():
    bench = Bench(edge(F1, 50))
    (full,) = bench.tick()
    bench.now += 5_000
    assert bench.report() == []
    assert not bench.session.is_up
    up, delta = bench.ack(full.message)
    assert up == SessionUp()
    assert delta.message.mutations == (EdgeRemoved(F1, FST),)
    assert bench.session.acked_counter == 0


def test_more_changes_than_fit_into_a_delta_become_a_full_update():
    keys = [PublicKey(i.to_bytes(32, "big")) for i in range(800)]
    bench = Bench(*(edge(key, 5) for key in keys[:400]))
    bench.up()
    bench.now += 600
    (sent,) = bench.report(*(edge(key, 5) for key in keys[400:]))
    assert sent.message.is_full
    assert len(sent.message.mutations) == 400


@covers("NOD-15")
def test_alive_every_thirty_seconds_and_full_every_ten_minutes():
    bench = Bench(edge(F1, 50))
    full = bench.up()
    start = bench.now
    outputs = bench.run(600_000)
    alive = [at - start for at, o in outputs if o == SendMessage(Alive(full.session_id, 0))]
    assert alive == [i * 30_000 for i in range(1, 20)]
    assert [(u.is_full, u.counter) for u in updates(outputs)] == [(True, 1)]


# --- what the server asks for ---


def test_ack_2_is_answered_with_a_full_update_even_to_an_alive():
    bench = Bench(edge(F1, 50))
    full = bench.up()
    (again,) = bench.ack(full, AckCode.SEND_FULL)
    assert (again.message.is_full, again.message.counter) == (True, 1)
    assert bench.ack(again.message) == []


def test_a_stale_time_hash_is_repaired_after_the_next_tick():
    bench = Bench(edge(F1, 50))
    (full,) = bench.tick(1)
    assert bench.ack(full.message, AckCode.STALE) == []
    assert bench.report(edge(F1, 0)) == []
    assert bench.run(5_000, ticking=False) == []
    (again,) = bench.tick(2)
    assert (again.message.is_full, again.message.counter) == (True, 1)
    assert again.message.time_hash == HashResult(b"\x02" * 32)
    assert again.message.mutations == (edge(F1, 0),)
    assert bench.ack(again.message) == [SessionUp()]


def test_send_full_is_obeyed_within_its_spread():
    bench = Bench(edge(F1, 50))
    bench.up()
    bench.now += 3_000
    assert bench.hear(SendFull(Uid(b"y" * 16), 20_000)) == []
    start = bench.now
    outputs = bench.run(20_000)
    assert [u.is_full for u in updates(outputs)] == [True]
    assert start <= outputs[0][0] <= start + 20_000


def test_however_often_full_is_asked_for_it_is_sent_no_faster_than_changes():
    bench = Bench(edge(F1, 50))
    bench.up()
    for _ in range(5):
        assert bench.hear(SendFull(Uid(b"y" * 16), 0)) == []
    assert len(updates(bench.run(10_000))) == 1


def test_acks_of_other_sessions_or_counters_and_info_are_ignored():
    bench = Bench(edge(F1, 50))
    (full,) = bench.tick()
    assert bench.hear(UpdateAck(Uid(b"o" * 16), 0, 0)) == []
    assert bench.hear(UpdateAck(full.message.session_id, 1, 0)) == []
    assert bench.hear(Info(1, 1, 1, 0, 0, 1)) == []
    assert not bench.session.is_up
    bench.ack(full.message)
    assert bench.ack(full.message, AckCode.INVALID) == []


# --- leaving ---


@covers("NT60")
def test_a_server_that_never_sends_a_time_hash_is_left():
    bench = Bench(edge(F1, 50))
    bench.session.ask(question(), bench.now - 5_000)
    outputs = bench.run(30_000, ticking=False)
    assert outputs[-1] == (20_000, Fail(SessionFault.NO_TIME_HASH))
    assert bench.session.deadline_ms() is None


@covers("NT59", "NT60")
def test_a_server_whose_clock_stops_is_left_after_three_periods():
    bench = Bench(edge(F1, 50))
    bench.up()
    start = bench.now
    outputs = bench.run(60_000, ticking=False)
    assert outputs[-1] == (start + 3 * PERIOD, Fail(SessionFault.NO_TIME_HASH))
    assert bench.tick() == []
    assert not bench.session.is_up


def test_a_server_that_does_not_acknowledge_is_left_after_fifteen_seconds():
    bench = Bench(edge(F1, 50))
    bench.tick()
    start = bench.now
    outputs = bench.run(60_000, ticking=False)
    assert outputs == [(start + 15_000, Fail(SessionFault.NO_ACK))]


@pytest.mark.parametrize("code", [AckCode.INVALID, AckCode.TOO_MANY_EDGES, 99])
def test_a_server_that_refuses_our_edges_is_left(code):
    bench = Bench(edge(F1, 50))
    (full,) = bench.tick()
    assert bench.ack(full.message, code) == [Fail(SessionFault.REFUSED)]


def test_a_server_that_is_never_content_is_left():
    bench = Bench(edge(F1, 50))
    outputs = bench.tick()
    for _ in range(2):
        outputs = bench.ack(outputs[0].message, AckCode.SEND_FULL)
    assert bench.ack(outputs[0].message, AckCode.SEND_FULL) == [Fail(SessionFault.REFUSED)]


# --- questions ---


QUESTION = Uid(b"q" * 16)


def answer(request_id: Uid = QUESTION) -> RoutesResponse:
    return RoutesResponse(request_id, 1, 0, 0, ())


def test_questions_asked_early_follow_the_first_full_update():
    bench = Bench(edge(F1, 50))
    assert bench.session.ask(question(), bench.now) == []
    full, sent = bench.tick()
    assert full.message.is_full
    assert sent == SendMessage(question())
    assert bench.hear(answer()) == [RoutesAnswered(Uid(b"q" * 16), answer())]


@covers("NT62")
def test_unknown_repeated_and_late_answers_are_discarded():
    bench = Bench(edge(F1, 50))
    bench.up()
    assert bench.hear(answer()) == []
    assert bench.session.ask(question(), bench.now) == [SendMessage(question())]
    assert bench.hear(answer(Uid(b"x" * 16))) == []
    assert len(bench.hear(answer())) == 1
    assert bench.hear(answer()) == []
    bench.session.ask(question(), bench.now)
    outputs = bench.run(8_000)
    assert outputs == [(bench.now, RoutesUnanswered(Uid(b"q" * 16)))]
    assert bench.hear(answer()) == []
    assert bench.session.is_up


def test_sixty_four_questions_may_be_open_and_two_unanswered_in_a_row_end_the_session():
    bench = Bench(edge(F1, 50))
    bench.up()
    ids = [Uid(bytes([i]) * 16) for i in range(OPEN_QUESTIONS_MAX + 1)]
    for one in ids[:-1]:
        assert bench.session.ask(question(request_id=one), bench.now)[0] != RoutesUnanswered(one)
        bench.now += 1
    assert bench.session.ask(question(request_id=ids[-1]), bench.now) == [RoutesUnanswered(ids[-1])]
    assert bench.session.ask(question(request_id=ids[0]), bench.now) == [RoutesUnanswered(ids[0])]
    outputs = [output for _, output in bench.run(9_000)]
    assert outputs == [*map(RoutesUnanswered, ids[:-1]), Fail(SessionFault.NO_ANSWERS)]


def test_an_answer_in_between_forgives_an_unanswered_question():
    bench = Bench(edge(F1, 50))
    bench.up()
    for _ in range(3):
        bench.session.ask(question(), bench.now)
        assert [output for _, output in bench.run(8_000)] == [RoutesUnanswered(Uid(b"q" * 16))]
        bench.session.ask(question(), bench.now)
        bench.hear(answer())
    assert bench.session.is_up


def test_a_lost_connection_gives_up_every_open_question():
    bench = Bench(edge(F1, 50))
    bench.session.ask(question(), bench.now)
    assert bench.session.close() == [RoutesUnanswered(Uid(b"q" * 16))]
    assert bench.session.ask(question(), bench.now) == [RoutesUnanswered(Uid(b"q" * 16))]
    assert bench.report(edge(F1, 1)) == []


# --- judging answers ---

GOOD = Part((ME, F1, FAR, DEST), 60, 3, 60)
OTHER = Part((ME, F2, DEST), 40, 2, 90)


def judge(*parts: Part, friends=(F1, F2), max_fee=50, **changes) -> str | None:
    return check_choice(RouteChoice(0, parts), question(**changes), ME, friends, max_fee)


def part(keys, amount=40, fee=2) -> Part:
    return Part(tuple(keys), amount, fee, amount)


LONG = [PublicKey(i.to_bytes(32, "big")) for i in range(100, 131)]


@covers("NT62")
@pytest.mark.parametrize(
    ("parts", "changes", "words"),
    [
        ((), {}, "number of parts"),
        ((GOOD, OTHER, OTHER, OTHER), {}, "number of parts"),
        ((GOOD, part((F2, ME, DEST))), {}, "from here to the seller"),
        ((GOOD, part((ME, F2, FAR))), {}, "from here to the seller"),
        ((GOOD, part((ME, F3, DEST))), {}, "usable friend"),
        ((GOOD, part((ME, DEST), fee=0)), {}, "usable friend"),
        ((GOOD, part((ME, F2, FAR, F2, DEST))), {}, "twice"),
        ((GOOD, part((ME, F2, ME, DEST))), {}, "twice"),
        ((GOOD, part((ME, F2, *LONG[:30], DEST))), {}, "keys"),
        ((GOOD, part((ME,))), {}, "keys"),
        ((GOOD, part(())), {}, "keys"),
        ((GOOD, OTHER), {"max_keys": 3}, "keys"),
        ((GOOD, part((ME, F2, DEST), 39)), {}, "sum up"),
        ((GOOD, part((ME, F2, DEST), 41)), {}, "sum up"),
        ((GOOD, part((ME, F2, DEST), 40), part((ME, F1, DEST), 0)), {}, "carries nothing"),
        ((GOOD, OTHER), {"max_fee": 4}, "above the limit"),
        ((GOOD, part((ME, F2, DEST), fee=48)), {}, "above the limit"),
        ((GOOD, part((ME, F2, DEST), fee=-1)), {}, "nobody earns"),
        ((GOOD, OTHER), {"first_friend": F1}, "usable friend"),
        ((GOOD, OTHER), {"last_friend": FAR}, "the friend asked for"),
        ((GOOD, OTHER), {"exclude_nodes": (FAR,)}, "excluded"),
        ((GOOD, OTHER), {"exclude_edges": ((F1, FAR),)}, "excluded"),
    ],
)
def test_every_lie_of_a_server_is_recognised(parts, changes, words):
    assert words in judge(*parts, **changes)


def test_honest_answers_pass():
    assert judge(GOOD, OTHER) is None
    assert judge(GOOD, OTHER, exclude_edges=((FAR, F1),), friends={F1: 1, F2: 1}) is None
    assert judge(GOOD, OTHER, max_fee=5) is None
    assert judge(part((ME, F2, *LONG[:29], DEST), 100)) is None
    assert judge(part((ME, DEST), 100, 0), friends=(DEST,)) is None
    assert "nobody earns" in judge(part((ME, DEST), 100, 1), friends=(DEST,))


# --- with a real server ---


@covers("NT74")
def test_two_sessions_and_a_server_agree_from_first_hello_to_a_friend_going_offline():
    seeds = [PrivateKey(bytes([i]) * 32) for i in (1, 2)]
    keys = [public_key_of(seed) for seed in seeds]
    server = IndexServer(IndexLimits(), 0, bytes(16))
    sessions = []
    for i, seed in enumerate(seeds):
        secret = expand_seed(seed)
        edges = (edge(keys[1 - i], 555),)
        sessions.append(
            IndexSession(
                keys[i], Uid(bytes([i]) * 16), lambda m, s=secret: sign(s, m), edges, Timers()
            )
        )
    seen: list[list] = [[], []]

    def carry(i: int, outputs: list, now: int) -> None:
        for output in outputs:
            if not isinstance(output, SendMessage):
                seen[i].append(output)
                continue
            for effect in server.received(i, output.message, now):
                assert isinstance(effect, Send)
                carry(i, sessions[i].received(effect.message, now, RAND), now)

    for i, session in enumerate(sessions):
        effects = server.connected(i, keys[i])
        carry(i, session.start(0), 0)
        for effect in effects:
            carry(i, session.received(effect.message, 0, RAND), 0)
    assert seen == [[SessionUp()], [SessionUp()]]
    carry(0, sessions[0].ask(question(dest=keys[1], amount=550), 1), 1)
    response = seen[0][-1].response
    request = question(dest=keys[1], amount=550)
    assert check_choice(response.choices[0], request, keys[0], (keys[1],), 0) is None
    carry(1, sessions[1].update_edges((), 4_000, RAND), 4_000)
    carry(0, sessions[0].ask(request, 4_001), 4_001)
    assert seen[0][-1].response.code == 5
