"""One node's process: real core, memory store, an inbox, and every point where it can die.

It does what the engine does: drain the inbox in batches of 64, commands and deadlines first, step, save,
then carry out the effects. Between any two of these it may crash and come back from its store.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from offset_engine.core.api import Batch, Command, CommandFault
from offset_engine.core.codec import encode_friend_message
from offset_engine.core.crypto import expand_seed, public_key_of, sha512_256, sign, verify
from offset_engine.core.events import (
    AskRoutes,
    CapacitiesChanged,
    CloseLink,
    CommandDone,
    CommandGiven,
    ConnectionsChanged,
    Effect,
    Event,
    FriendDirty,
    LinkAdopted,
    MessageArrived,
    RoutesArrived,
    Started,
    Step,
    UnreadableArrived,
    Woken,
)
from offset_engine.core.messages import FriendMessage
from offset_engine.core.node import next_deadline_ms, outgoing, step
from offset_engine.core.state import NodeState
from offset_engine.core.values import PrivateKey, PublicKey, Signature, Timers
from offset_engine.store import MemoryStore, touched_between
from tests.sim.faults import Fault
from tests.sim.hostile import Foe
from tests.sim.network import End

if TYPE_CHECKING:
    from tests.sim.world import World

BATCH_EVENTS_MAX = 64
WALL_START_MS = 1_700_000_000_000
Answer = Callable[[CommandDone], None]


class SimEnv:
    """What a step may ask of the simulated world. Signatures made in this world verify from memory."""

    def __init__(self, world: "World", index: int) -> None:
        self._world = world
        self._rng = Random(f"env {world.plan.seed} {index}")
        seed = PrivateKey(sha512_256(f"node {world.plan.seed} {index}".encode()))
        self._expanded = expand_seed(seed)
        self.public_key = public_key_of(seed)
        self._skew_ms = world.plan.skew_ms[index]
        self.booted_ms = 0
        self.timers: Timers = world.plan.timers

    @property
    def now_ms(self) -> int:
        """Starts anew with each boot: nobody may keep it longer."""
        return self._world.now - self.booted_ms

    @property
    def wall_ms(self) -> int:
        return WALL_START_MS + self._skew_ms + self._world.now

    def random(self, size: int) -> bytes:
        return self._rng.randbytes(size)

    def sign(self, message: bytes) -> Signature:
        signature = sign(self._expanded, message)
        self._world.signed[(self.public_key, signature)] = message
        return signature

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool:
        known = self._world.signed.get((public_key, signature))
        return known == message if known is not None else verify(public_key, message, signature)


class Machine:
    """A node that can be switched off at the worst moment."""

    def __init__(self, world: "World", index: int) -> None:
        self.world = world
        self.index = index
        self.env = SimEnv(world, index)
        self.key = self.env.public_key
        self.store = MemoryStore(self.key)
        self.state: NodeState = self.store.load()
        """As last saved."""
        self.links: dict[PublicKey, End] = {}
        self.boot = 0
        self.is_up = False
        self.foe: Foe | None = None
        self._inbox: deque[Event] = deque()
        self._is_scheduled = False
        self._wake_at: int | None = None
        self._answers: dict[int, Answer] = {}
        self._is_reporting = False
        self._backup: NodeState | None = None

    # --- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Load what was saved and begin."""
        self.boot += 1
        self.is_up = True
        self.env.booted_ms = self.world.now
        loaded = self.store.load()
        self.world.check_loaded(self, loaded)
        self.state = loaded
        self.enqueue(Started())
        self._reconcile()

    def crash(self, why: str) -> None:
        """Lose everything that was not saved; come back later."""
        if not self.is_up:
            return
        self.world.note("crash", self.index, why)
        self.is_up = False
        self._inbox.clear()
        self._is_scheduled = False
        self._wake_at = None
        self._is_reporting = False
        self._answers.clear()
        self.boot += 1
        self.store = self.store.crash()
        self.world.network.drop_all(self)
        pause = self.world.rng.randint(10, 4_000)
        boot = self.boot
        self.world.after(pause, lambda: self.start() if self.boot == boot else None)

    def back_up(self) -> None:
        """Keep a copy that may be restored much later."""
        self._backup = self.state

    def restore(self) -> None:
        """Go back to the last copy: every channel is in quarantine until the friend vouches for it."""
        backup = self._backup
        if backup is None or not self.is_up or self.foe is not None:
            return
        self.crash("restored from a backup")
        friends = {}
        for key, friend in backup.friends.items():
            friends[key] = replace(friend.fork(), is_quarantined=True)
            self.world.estrange(self.key, key)
        for key in self.state.friends:
            self.world.estrange(self.key, key)
        self.state = replace(backup, friends=friends)
        self.store = MemoryStore(self.key)
        nothing = NodeState(self.key)
        self.store.save(nothing, self.state, touched_between(nothing, self.state), ())
        self.world.history.forget_promises(self.key)

    def wants(self, remote: PublicKey) -> bool:
        """Whether this machine wants a connection to that node."""
        friend = self.state.friends.get(remote)
        return self.is_up and friend is not None and friend.is_enabled

    # --- inbox ----------------------------------------------------------------------------------

    def command(self, command: Command | Batch, answer: Answer | None = None) -> None:
        """Give a command; it is lost if the machine dies, and refused while it is down."""
        if not self.is_up:
            return
        self.world.command_count += 1
        number = self.world.command_count
        if answer is not None:
            self._answers[number] = answer
        self.enqueue(CommandGiven(number, command))

    def enqueue(self, event: Event) -> None:
        """Put an event into the inbox."""
        if not self.is_up:
            return
        self._inbox.append(event)
        if not self._is_scheduled:
            self._is_scheduled = True
            boot = self.boot
            slow = self.world.has(Fault.SLOW_NODE) and self.world.chance(0.2)
            pause = self.world.rng.randint(20, 1_500) if slow else self.world.rng.randint(0, 2)
            self.world.after(pause, lambda: self._run(boot))

    @property
    def is_idle(self) -> bool:
        """Nothing to do right now."""
        return self.is_up and not self._inbox

    def _take_batch(self) -> tuple[Event, ...]:
        urgent: list[Event] = [e for e in self._inbox if isinstance(e, CommandGiven | Woken)]
        rest = [event for event in self._inbox if not isinstance(event, CommandGiven | Woken)]
        if rest and isinstance(rest[0], Started):
            urgent.insert(0, rest.pop(0))
        ordered = urgent + rest
        self._inbox = deque(ordered[BATCH_EVENTS_MAX:])
        return tuple(ordered[:BATCH_EVENTS_MAX])

    def _run(self, boot: int) -> None:
        if boot != self.boot:
            return
        self._is_scheduled = False
        events = self._take_batch()
        if not events:
            return
        self.world.note("step", self.index, events)
        old = self.state
        result = step(old, events, self.env)
        crash_at = self.world.crash_point(self)
        if crash_at == "before save":
            self.crash(crash_at)
            return
        if self.world.has(Fault.DISK_FULL) and self.world.chance(0.01):
            self._refuse(events)
            return
        self.store.save(old, result.state, result.touched, result.records)
        self.state = result.state
        self.world.after_save(self, old, events, result)
        self._wake_later()
        if crash_at == "after save":
            self.crash(crash_at)
            return
        self._carry_out(result, crash_at)
        if self._inbox and boot == self.boot and not self._is_scheduled:
            self._is_scheduled = True
            self.world.after(1, lambda: self._run(boot))

    def _refuse(self, events: tuple[Event, ...]) -> None:
        """The disk is full: as if nothing had happened, links are closed, commands refused."""
        self.world.note("disk full", self.index)
        for event in events:
            if isinstance(event, CommandGiven) and event.number in self._answers:
                done = CommandDone(event.number, CommandFault.STORE_FULL, "", ())
                self._answers.pop(event.number)(done)
        later = [event for event in events if not isinstance(event, CommandGiven)]
        self._inbox = deque(
            event
            for event in (*later, *self._inbox)
            if not isinstance(event, MessageArrived | UnreadableArrived)
        )
        for end in tuple(self.links.values()):
            self.world.network.close(end)
        if self._inbox:
            self._is_scheduled = True
            boot = self.boot
            self.world.after(100, lambda: self._run(boot))

    # --- deadlines ------------------------------------------------------------------------------

    def _wake_later(self) -> None:
        due = next_deadline_ms(self.state)
        if due is None or due == self._wake_at:
            return
        self._wake_at = due
        boot = self.boot
        self.world.after(max(0, due - self.env.now_ms), lambda: self._wake(boot, due))

    def _wake(self, boot: int, due: int) -> None:
        if boot != self.boot or self._wake_at != due:
            return
        self._wake_at = None
        self.enqueue(Woken())

    # --- effects --------------------------------------------------------------------------------

    def _carry_out(self, result: Step, crash_at: str | None) -> None:
        half = len(result.effects) // 2
        boot = self.boot
        for number, effect in enumerate(result.effects):
            if crash_at == "half sent" and number == half:
                self.crash(crash_at)
            if boot != self.boot:
                return
            self._do(effect)

    def _do(self, effect: Effect) -> None:
        match effect:
            case FriendDirty():
                self.write_later(effect.friend)
            case CloseLink():
                self._close(effect)
            case ConnectionsChanged():
                self._reconcile()
            case CapacitiesChanged():
                self._report_later()
            case AskRoutes():
                self.world.index.ask(self, effect.request)
            case CommandDone():
                answer = self._answers.pop(effect.number, None)
                if answer is not None:
                    answer(effect)
            case _:
                pass

    def write_later(self, friend: PublicKey) -> None:
        """Write to a friend's link now, or when it is free."""
        end = self.links.get(friend)
        if end is None or end.writer_is_busy:
            return
        if self.world.chance(0.5):
            self._write(end)
            return
        end.writer_is_busy = True
        self.world.after(self.world.rng.randint(0, 10), lambda: self._write(end))

    def _write(self, end: End) -> None:
        end.writer_is_busy = False
        if self.boot != end.boot or self.links.get(end.remote) is not end:
            return
        messages, end.sent = outgoing(self.state, end.remote, end.sent)
        for message in messages:
            if self.foe is None:
                self.world.history.i16_no_equivocation(self.key, end.remote, message)
                self.emit(end, message)
                continue
            for twisted in self.foe.twist(end, message):
                self.emit(end, twisted)

    def emit(self, end: End, message: FriendMessage | bytes) -> None:
        """Let a message go."""
        self.world.note("send", self.index, self.world.index_of(end.remote), message)
        self.world.network.send(end, message)

    def strike(self) -> None:
        """Play foul towards one friend."""
        if self.foe is None or not self.links:
            return
        end = self.links[self.world.rng.choice(list(self.links))]
        foul = self.foe.strike(end.remote)
        if foul is not None:
            data = foul if isinstance(foul, bytes) else encode_friend_message(foul)
            self.emit(end, data)

    def _close(self, effect: CloseLink) -> None:
        end = self.links.get(effect.friend)
        if end is not None and end.link_id == effect.link_id:
            pair = self.world.pair(self.key, effect.friend)
            self.world.network.bar(pair, self.env.timers.malformed_backoff_ms)
            self.world.network.close(end)

    def _reconcile(self) -> None:
        """Connect to whom we should, disconnect from everybody else."""
        for remote, end in tuple(self.links.items()):
            friend = self.state.friends.get(remote)
            is_adopting = any(
                isinstance(event, LinkAdopted) and event.link_id == end.link_id
                for event in self._inbox
            )
            is_current = friend is not None and friend.link_id == end.link_id
            if not self.wants(remote) or not (is_current or is_adopting):
                self.world.network.close(end)
        for remote in self.state.friends:
            if self.wants(remote) and remote not in self.links:
                self.world.network.dial_later(self.world.pair(self.key, remote))

    def _report_later(self) -> None:
        if self._is_reporting:
            return
        self._is_reporting = True
        boot = self.boot
        stale = self.world.has(Fault.INDEX_STALE)
        pause = self.world.rng.randint(500, 20_000 if stale else 2_000)
        self.world.after(pause, lambda: self._report(boot))

    def _report(self, boot: int) -> None:
        if boot == self.boot:
            self._is_reporting = False
            self.world.index.report(self)

    def routes(self, event: RoutesArrived, boot: int) -> None:
        """An index server answered a question of this life."""
        if boot == self.boot:
            self.enqueue(event)
