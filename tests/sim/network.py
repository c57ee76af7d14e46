"""What the transport really gives two friends: connections that deliver in order, or break.

A connection loses only a suffix of what was sent, each end learns of its end at its own time, and a new
connection may come up while one end still believes in the old one: the newest wins. What arrives at an
end that has not adopted the connection yet waits there.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from offset_engine.core.codec import decode_friend_message
from offset_engine.core.events import FriendOffline, LinkAdopted, MessageArrived, UnreadableArrived
from offset_engine.core.friend import SentOnLink, listen_relays
from offset_engine.core.messages import FriendMessage
from offset_engine.core.values import PublicKey
from offset_engine.errors import DecodeError
from tests.sim.invariants import i26_codec

if TYPE_CHECKING:
    from tests.sim.machine import Machine
    from tests.sim.world import World

REDIAL_MS = 300
"""Mean pause between two attempts to connect a pair."""


@dataclass(slots=True, eq=False)
class End:
    """One machine's end of a connection."""

    machine: "Machine"
    remote: PublicKey
    link_id: int
    boot: int
    """Which life of the machine it belongs to."""
    sent: SentOnLink = field(default_factory=SentOnLink)
    is_adopted: bool = False
    is_closed: bool = False
    """This end knows that it is over."""
    writer_is_busy: bool = False
    held: list[FriendMessage | bytes] = field(default_factory=list)
    """Arrived before adoption."""
    other: "End | None" = None
    # The direction towards this end.
    sent_count: int = 0
    arrived_count: int = 0
    cut_after: int | None = None
    """Once cut: how many messages still get through."""
    last_arrival_ms: int = 0


class Network:
    """All connections of a world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._link_ids = 0
        self.in_flight = 0
        """Messages that will still arrive."""
        self.dialing: dict[tuple[int, int], bool] = {}
        self.barred_until: dict[tuple[int, int], int] = {}

    # --- coming up ------------------------------------------------------------------------------

    def dial_later(self, pair: tuple[int, int], pause_ms: int | None = None) -> None:
        """Try to connect a pair of friends after a while, unless that is already planned."""
        if self.dialing.get(pair):
            return
        self.dialing[pair] = True
        pause = self._world.rng.randint(1, 2 * REDIAL_MS) if pause_ms is None else pause_ms
        self._world.after(pause, lambda: self._dial(pair))

    def _dial(self, pair: tuple[int, int]) -> None:
        self.dialing[pair] = False
        one, other = (self._world.machines[index] for index in pair)
        if not one.wants(other.key) and not other.wants(one.key):
            return  # nobody tries; `wants` changes call `dial_later`
        if self.is_connected(one, other):
            return
        if self._world.now < self.barred_until.get(pair, 0) or not self.can_connect(one, other):
            self.dial_later(pair)
            return
        self.connect(one, other)

    def is_connected(self, one: "Machine", other: "Machine") -> bool:
        """Whether both hold ends of one connection that is not cut."""
        end = one.links.get(other.key)
        return (
            end is not None
            and end.other is other.links.get(one.key)
            and end.other is not None
            and end.cut_after is None
            and end.other.cut_after is None
        )

    def can_connect(self, one: "Machine", other: "Machine") -> bool:
        """Both run and want it, no partition, and one listens where the other looks for it."""
        world = self._world
        if not one.wants(other.key) or not other.wants(one.key):
            return False
        if world.partition.get(one.index) != world.partition.get(other.index):
            return False
        return self._reaches(one, other) or self._reaches(other, one)

    def _reaches(self, dialer: "Machine", listener: "Machine") -> bool:
        known = dialer.state.friends[listener.key].remote_relays
        friend = listener.state.friends[dialer.key]
        heard = listen_relays(friend, listener.state.own_relays)
        return any(relay in heard and relay not in self._world.relays_down for relay in known)

    def connect(self, one: "Machine", other: "Machine") -> None:
        """Make a connection; each end adopts it in its own time."""
        ends = (self._end(one, other.key), self._end(other, one.key))
        ends[0].other, ends[1].other = ends[1], ends[0]
        self._world.note("connect", one.index, other.index, ends[0].link_id, ends[1].link_id)
        for end in ends:
            self._world.after(self._world.latency(), partial(self._adopt, end))

    def _end(self, machine: "Machine", remote: PublicKey) -> End:
        self._link_ids += 1
        return End(machine, remote, self._link_ids, machine.boot)

    def _adopt(self, end: End) -> None:
        machine = end.machine
        if end.is_closed or machine.boot != end.boot or not machine.wants(end.remote):
            self.close(end)
            return
        old = machine.links.get(end.remote)
        if old is not None and old.link_id > end.link_id:
            self.close(end)
            return
        if old is not None:
            self.close(old)
        machine.links[end.remote] = end
        end.is_adopted = True
        machine.enqueue(LinkAdopted(end.remote, end.link_id))
        for data in end.held:
            self._hand_in(end, data)
        end.held.clear()

    # --- going down -----------------------------------------------------------------------------

    def cut(self, end: End) -> None:
        """Break a connection: a suffix of each direction is lost, each end learns in its own time."""
        other = end.other
        assert other is not None
        self._world.note("cut", end.machine.index, other.machine.index, end.link_id, other.link_id)
        for one in (end, other):
            if one.cut_after is None:
                one.cut_after = self._world.rng.randint(one.arrived_count, one.sent_count)
            if not one.is_closed:
                learn_ms = max(0, one.last_arrival_ms - self._world.now) + self._world.latency()
                self._world.after(learn_ms, partial(self._learn, one))

    def _learn(self, end: End) -> None:
        if end.is_closed:
            return
        end.is_closed = True
        self._world.note("learns", end.machine.index, end.link_id)
        self._lost(end)

    def close(self, end: End) -> None:
        """Close one end at once; the other learns later."""
        if end.is_closed:
            return
        end.is_closed = True
        if end.cut_after is None:
            end.cut_after = end.arrived_count
        other = end.other
        assert other is not None
        if other.cut_after is None:
            other.cut_after = self._world.rng.randint(other.arrived_count, other.sent_count)
        if not other.is_closed:
            learn_ms = max(0, other.last_arrival_ms - self._world.now) + self._world.latency()
            self._world.after(learn_ms, lambda: self._learn(other))
        self._lost(end)

    def _lost(self, end: End) -> None:
        machine = end.machine
        if machine.boot != end.boot or machine.links.get(end.remote) is not end:
            return
        del machine.links[end.remote]
        grace = self._world.plan.timers.offline_grace_ms
        boot = machine.boot
        self._world.after(grace, lambda: self._grace_over(machine, end.remote, boot))
        self.dial_later(self._world.pair(machine.key, end.remote))

    def _grace_over(self, machine: "Machine", remote: PublicKey, boot: int) -> None:
        if machine.boot == boot and machine.is_up and remote not in machine.links:
            machine.enqueue(FriendOffline(remote))

    # --- messages -------------------------------------------------------------------------------

    def send(self, end: End, message: FriendMessage | bytes) -> None:
        """Put a message on a connection; it arrives in order, or never."""
        target = end.other
        assert target is not None
        world = self._world
        if isinstance(message, bytes):
            data: FriendMessage | bytes = message
        else:
            data = i26_codec(message) if world.plan.has_bytes else message
        target.sent_count += 1
        number = target.sent_count
        if target.cut_after is not None:
            return
        at_ms = max(target.last_arrival_ms, world.now + world.latency())
        target.last_arrival_ms = at_ms
        self.in_flight += 1
        world.after(at_ms - world.now, lambda: self._deliver(target, number, data))

    def _deliver(self, end: End, number: int, data: FriendMessage | bytes) -> None:
        self.in_flight -= 1
        if end.machine.boot != end.boot:
            return
        if end.is_closed:
            if not self._world.is_calm and self._world.chance(0.3):
                pause = self._world.rng.randint(0, 2_000)
                self._world.after(pause, lambda: self._hand_in_late(end, data))
            return
        if end.cut_after is not None and number > end.cut_after:
            return
        end.arrived_count = number
        if end.is_adopted:
            self._hand_in(end, data)
        else:
            end.held.append(data)

    def _hand_in_late(self, end: End, data: FriendMessage | bytes) -> None:
        """A message of a connection that was replaced meanwhile: the core must not fall for it."""
        if end.machine.boot == end.boot and end.remote in end.machine.links:
            self._hand_in(end, data)

    def _hand_in(self, end: End, data: FriendMessage | bytes) -> None:
        message: FriendMessage | None
        if isinstance(data, bytes):
            try:
                message = decode_friend_message(data)
            except DecodeError:
                end.machine.enqueue(UnreadableArrived(end.remote, end.link_id))
                return
        else:
            message = data
        if message is not None:  # None = an extension, to be ignored
            end.machine.enqueue(MessageArrived(end.remote, end.link_id, message))

    # --- what a machine asks for ----------------------------------------------------------------

    def drop_all(self, machine: "Machine") -> None:
        """The machine died: its ends are gone, the others learn later."""
        for end in tuple(machine.links.values()):
            self.close(end)
        machine.links.clear()

    def bar(self, pair: tuple[int, int], pause_ms: int) -> None:
        """Keep a pair apart for a while."""
        self.barred_until[pair] = self._world.now + pause_ms
