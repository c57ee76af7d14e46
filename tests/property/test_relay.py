"""The relay under any behaviour: random drivers, and what must hold after every event.

The driver here is fair to nobody: it closes, floods, answers with other people's ids, and is late
with deadlines. The limits are tiny, so that every one of them is met.
"""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.relay_tables import Candidate, Dial, Listener, Tunnel
from offset_engine.core.values import PublicKey, Uid

KEYS = [PublicKey(bytes([n]) * 32) for n in range(1, 7)]
SOURCES = ["", "127.0.0.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"]
LIMITS = RelayLimits(
    connections_max=14,
    connections_per_source_max=6,
    connections_per_key_max=6,
    listeners_max=3,
    half_tunnels_per_listener_max=3,
    unanswered_per_listener_max=5,
    dials_per_key_max=2,
    tunnels_per_listener_max=4,
    connects_per_minute_key=15,
    connects_per_minute_source=25,
    dialers_remembered_max=4,
)
ACTIONS = (
    *("listen", "connect", "accept", "reject", "close", "wait") * 4,
    *("connect", "connect", "link", "odd", "late", "pong", "malformed"),
)


class World:
    """A driver that remembers what every connection may still hear."""

    def __init__(self) -> None:
        self.relay = Relay(LIMITS, self.random)
        self.ids = 0
        self.now = 0
        self.peers: dict[int, PublicKey] = {}
        """Open connections, by number."""
        self.conns = 0
        self.targets: dict[int, tuple[PublicKey, int]] = {}
        """Target and time of every CONNECT that was not answered."""
        self.announced: list[tuple[Uid, int]] = [(Uid(bytes(16)), 0)]
        """Tunnel ids with the listener they were told to, the newest last."""
        self.spliced: set[int] = set()

    def random(self, size: int) -> bytes:
        self.ids += 1
        return self.ids.to_bytes(size, "big")

    def act(self, action: str, a: int, b: int) -> None:  # noqa: C901 - one case per event
        """One event; `a` and `b` choose whatever there is to choose."""
        conns = list(self.peers)
        conn = conns[a % len(conns)] if conns else 0
        tunnel_id, listener = self.announced[-1 - b % min(len(self.announced), 8)]
        match action:
            case "link":
                self.link(KEYS[a % len(KEYS)], b)
            case "listen":
                self.say(self.link(KEYS[a % 4], b), Listen())
            case "connect":
                self.say(self.link(KEYS[a % len(KEYS)], b), Connect(KEYS[a * b % 5]))
            case "accept":
                acceptor = self.peers.get(listener, KEYS[a % len(KEYS)])
                self.say(self.link(acceptor, b), Accept(tunnel_id))
            case "reject" if b % 4:
                self.say(listener, Reject(tunnel_id))
            case "odd" | "reject":
                odd = (Listen(), Connect(KEYS[b % 6]), Accept(tunnel_id), Reject(tunnel_id),
                       Listening(1, 1), Established(), Incoming(tunnel_id, KEYS[0]))  # fmt: skip
                self.say(conn, odd[b % len(odd)])
            case "wait" | "late":
                self.advance(a * 20, is_late=action == "late")
            case "pong":
                self.do(self.relay.pong(conn))
            case "malformed":
                self.do(self.relay.malformed(conn))
            case "close":
                self.close(conn)
        self.check()

    def close(self, conn: int) -> None:
        self.peers.pop(conn, None)
        self.targets.pop(conn, None)
        self.spliced.discard(conn)
        self.do(self.relay.closed(conn))

    def link(self, peer: PublicKey, source: int) -> int:
        self.conns += 1
        self.peers[self.conns] = peer
        text = SOURCES[source % len(SOURCES)]
        self.do(self.relay.connected(self.conns, peer, text, self.now))
        return self.conns

    def say(self, conn: int, message: RelayMessage) -> None:
        if isinstance(message, Connect) and conn in self.peers and conn not in self.spliced:
            self.targets.setdefault(conn, (message.target, self.now))
        self.do(self.relay.received(conn, message, self.now))

    def advance(self, ms: int, *, is_late: bool) -> None:
        end = self.now + ms
        if is_late:
            self.now = end
        while (at := self.relay.deadline_ms()) is not None and at <= end:
            self.now = max(self.now, at)
            self.do(self.relay.on_deadline(self.now))
            after = self.relay.deadline_ms()
            assert after is None or after > self.now
        self.now = end
        for _, since in self.targets.values():
            assert self.now - since < LIMITS.half_tunnel_ms, "every dialer is answered in time"

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(conn, message):
                    assert conn not in self.spliced, "nothing is said into a tunnel"
                    self.hear(conn, message)
                case Close(conn):
                    del self.peers[conn]  # fails if closed twice or already gone
                    self.targets.pop(conn, None)
                    self.spliced.discard(conn)
                case Splice(dialer, acceptor):
                    target, since = self.targets.pop(dialer)
                    assert target == self.peers[acceptor]
                    assert self.now - since <= LIMITS.half_tunnel_ms
                    assert not {dialer, acceptor} & self.spliced
                    self.spliced |= {dialer, acceptor}
                case Probe(conn):
                    assert conn in self.peers

    def hear(self, conn: int, message: RelayMessage) -> None:
        peer = self.peers[conn]
        if isinstance(message, Incoming):
            assert any(
                target == peer and self.peers[dialer] == message.dialer
                for dialer, (target, _) in self.targets.items()
            ), "the announced dialer is real, waits, and wants this key"
            self.announced.append((message.tunnel_id, conn))
        else:
            assert isinstance(message, Listening | Established)

    def check(self) -> None:
        """The relay's tables agree with each other, with this driver, and with the limits."""
        relay = self.relay
        connections = relay._connections
        assert list(connections) == list(self.peers)
        assert len(connections) <= LIMITS.connections_max
        sources = Counter(one.source for one in connections.values() if one.source)
        assert sources == relay._sources
        assert all(count <= LIMITS.connections_per_source_max for count in sources.values())
        assert len(relay._listeners) <= LIMITS.listeners_max
        self.check_keys()
        timed = 0
        for connection in connections.values():
            match connection.state:
                case Listener() as listener:
                    assert listener is relay._listeners[connection.peer]
                    assert listener.connection is connection
                    assert bool(connection.timer) == (listener.candidate is not None)
                    timed += bool(connection.timer)
                    timed += self.check_announcements(listener)
                case Candidate(listener):
                    assert listener.candidate is connection
                case Dial() as dial:
                    assert dial.connection is connection
                    assert not connection.timer
                    if dial.tunnel_id is None:
                        timed += bool(dial.timer)
                    else:
                        assert relay._listeners[dial.target].announced[dial.tunnel_id] is dial
                case Tunnel():
                    assert connection.conn in self.spliced
                    assert not connection.timer
                case None:
                    assert connection.timer
                    timed += 1
        assert relay._deadlines._live == timed
        assert len(relay._deadlines._heap) <= 2 * timed + 66
        assert len(relay._key_rate._full_at) <= LIMITS.dialers_remembered_max
        assert len(relay._source_rate._full_at) <= LIMITS.dialers_remembered_max

    def check_announcements(self, listener: Listener) -> int:
        waiting = [dial for dial in listener.announced.values() if dial.connection is not None]
        assert listener.half_tunnels == len(waiting) <= LIMITS.half_tunnels_per_listener_max
        assert len(listener.announced) <= LIMITS.unanswered_per_listener_max
        assert all(dial.timer for dial in listener.announced.values())
        return len(listener.announced)

    def check_keys(self) -> None:
        relay = self.relay
        ends = [one.state for one in relay._connections.values() if isinstance(one.state, Tunnel)]
        tunnels = {id(tunnel): tunnel for tunnel in ends}
        assert all(ends.count(tunnel) == tunnel.open_ends for tunnel in tunnels.values())
        assert relay.stats().tunnels == len(tunnels)
        per_key = Counter(tunnel.acceptor for tunnel in tunnels.values())
        connected = Counter(self.peers.values())
        assert set(relay._peers) == set(per_key) | set(connected)
        for peer, used in relay._peers.items():
            assert used.connections == connected[peer] <= LIMITS.connections_per_key_max
            assert used.tunnels == per_key[peer] <= LIMITS.tunnels_per_listener_max
            assert len(used.dials) <= LIMITS.dials_per_key_max
            assert len({dial.target for dial in used.dials}) == len(used.dials)

    def empty(self) -> None:
        """Everybody leaves, and nothing remains."""
        while self.peers:
            self.close(next(iter(self.peers)))
            self.check()
        assert not self.relay._peers
        assert not self.relay._listeners
        assert not self.relay._sources
        assert self.relay.deadline_ms() is None


@given(
    st.lists(
        st.tuples(st.sampled_from(ACTIONS), st.integers(0, 99), st.integers(0, 99)), max_size=120
    )
)
def test_every_rule_and_limit_holds_whatever_happens(actions: list[tuple[str, int, int]]):
    world = World()
    for action, a, b in actions:
        world.act(action, a, b)
    world.empty()


@pytest.mark.parametrize("seed", range(8))
def test_long_random_runs_reach_every_state_and_leave_nothing_behind(seed: int):
    random = Random(seed)
    world = World()
    for _ in range(3_000):
        world.act(random.choice(ACTIONS), random.randrange(100), random.randrange(100))
    stats = world.relay.stats()
    assert stats.established > 0
    world.empty()


def test_the_random_runs_meet_every_refusal():
    world, random = World(), Random(1)
    for _ in range(12_000):
        world.act(random.choice(ACTIONS), random.randrange(100), random.randrange(100))
    missed = {why.value for why, count in world.relay.stats().refusals if not count}
    assert missed == {"not_allowed", "shutdown"}


def test_shutting_down_at_any_moment_closes_everybody_once():
    random = Random(7)
    for length in range(1, 200, 5):
        world = World()
        for _ in range(length):
            world.act(random.choice(ACTIONS), random.randrange(100), random.randrange(100))
        effects = world.relay.shut_down()
        assert [effect.conn for effect in effects if isinstance(effect, Close)] == list(world.peers)
        assert len(effects) == len(world.peers)
