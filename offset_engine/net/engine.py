"""A running node: one inbox, one writer, and the order that makes a crash harmless at every line.

    inbox ──drain──▶ step ──▶ save (one transaction) ──▶ effects: send, ask, answer, tell
      ▲                                                       │
      └── friends (peers) · index answers · commands · deadlines ◀┘

Nothing leaves before what it promises is on disk: messages to friends are taken from the last *saved* state
whenever a link is free. Everything that waits while a batch is saved goes into the next batch, so the
disk sets the pace and not the number of messages.

| queue | bound | when full |
|---|---|---|
| messages of one friend | 4 | its link is not read |
| bytes of all friends' messages | 4 MiB | the link of whoever sends more is not read |
| commands | 256 | the caller waits |
| changes for one watcher | 1 024 | told "look at everything" |

Source: PROTOCOL.md, "Node" and "Store"; design R22, R26, R29.
"""

import logging
import os
import statistics
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, assert_never

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskStatus

from offset_engine.core.api import (
    Batch,
    Command,
    CommandFault,
    DisableFriend,
    Notice,
    Pay,
    Rebalance,
)
from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.crypto import expand_seed, public_key_of, sign, verify
from offset_engine.core.dial_filter import dial_filter
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
    FriendOffline,
    LinkAdopted,
    MessageArrived,
    Notify,
    ReconnectNow,
    RoutesArrived,
    Started,
    Step,
    UnreadableArrived,
    Woken,
)
from offset_engine.core.friend import listen_relays
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import Edge, RoutesResponse
from offset_engine.core.node import SentOnLink, next_deadline_ms, outgoing, step
from offset_engine.core.reports import Connections
from offset_engine.core.routing import edges
from offset_engine.core.state import NodeState
from offset_engine.core.values import PrivateKey, PublicKey, Signature, Timers
from offset_engine.errors import DecodeError, StoreFullError, TransportError
from offset_engine.net.connection import monotonic_ms
from offset_engine.net.inbox import FriendEvent, Inbox
from offset_engine.net.index_client import IndexClient
from offset_engine.net.nearby import nobody_nearby
from offset_engine.net.peers import Peers, endpoint_of
from offset_engine.net.server_reports import connections
from offset_engine.store import Store

_log: Final = logging.getLogger(__name__)

COMMANDS_MAX: Final = 256
SLOW_COMMIT_MS: Final = 5
"""Commits slower than this (median of the last 32) are moved to a thread."""
INVARIANTS_BROKEN_MAX: Final = 3
STORE_RETRY_MS: Final = 1_000
_OWN_COMMAND: Final = 0
"""The number of commands the engine gives itself; nobody waits for their answer."""


def wall_ms() -> int:
    """UTC ms."""
    return time.time_ns() // 1_000_000


class LiveEnv:
    """The real world for `step`: clocks, entropy and the node's identity."""

    def __init__(self, identity: PrivateKey, timers: Timers) -> None:
        """Take the secret identity; it stays here."""
        self.timers = timers
        self._expanded = expand_seed(identity)

    @property
    def now_ms(self) -> int:
        """Monotonic ms."""
        return monotonic_ms()

    @property
    def wall_ms(self) -> int:
        """UTC ms."""
        return wall_ms()

    def random(self, size: int) -> bytes:
        """`size` bytes of system entropy."""
        return os.urandom(size)

    def sign(self, message: bytes) -> Signature:
        """Sign with the identity."""
        return sign(self._expanded, message)

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool:
        """Check anybody's signature."""
        return verify(public_key, message, signature)


class _Answer:
    """Where a waiting caller finds the answer to its command."""

    __slots__ = ("done", "result")

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.result: CommandDone | None = None


class Counters:
    """What an engine did, for measurements: steps, commits, events and the time of commits."""

    def __init__(self) -> None:
        self.steps = 0
        self.events = 0
        self.commits = 0
        self.commit_ns: deque[int] = deque(maxlen=4_096)


class Engine:
    """See the module. Create it on the event loop that will run it."""

    def __init__(
        self,
        identity: PrivateKey,
        store: Store,
        timers: Timers | None = None,
        *,
        diagnostics: Path | None = None,
        nearby: Callable[[PublicKey], str | None] = nobody_nearby,
    ) -> None:
        """Load the node.

        Args:
            identity: secret; must be the one the store belongs to.
            store: opened; closing it stays with the caller.
            timers: all waiting times; the defaults if None.
            diagnostics: where a broken invariant is written down; None = only the log.
            nearby: where on this machine a server with a key may listen (`net.nearby`).
        """
        timers = Timers() if timers is None else timers
        self._env = LiveEnv(identity, timers)
        self._store = store
        self._state = store.load()
        self._local = public_key_of(identity)
        self._diagnostics = diagnostics
        self._inbox = Inbox()
        self._paused: dict[PublicKey, None] = {}
        self._wake = anyio.Event()
        self._deadline_changed = anyio.Event()
        self._armed_ms: int | None = None
        self._answers: dict[int, _Answer] = {}
        self._numbers = 0
        self._room = anyio.Semaphore(COMMANDS_MAX)
        self._sent: dict[PublicKey, tuple[int, SentOnLink]] = {}
        self._known_friends: dict[PublicKey, None] = {}
        self._dialable: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._writers = anyio.CapacityLimiter(1)
        self._commits_ms: deque[float] = deque(maxlen=32)
        self._broken = 0
        self._is_over = False
        self.counters = Counters()
        self.watchers: dict[object, Callable[[Notice | None], None]] = {}
        """Whom to tell of changes; None = the node has stopped."""
        self.report_watchers: dict[object, Callable[[], None]] = {}
        """Called whenever the report may be another one; must be quick."""
        self._connections: Connections | None = None
        self._connections_of: tuple[object, object] = (None, None)
        endpoint = endpoint_of(identity, timers, nearby)
        self.peers = Peers(identity, timers, self, endpoint=endpoint)
        self.index = IndexClient(endpoint, timers, self._edges, self._routes_arrived)
        self.index.on_change = self.peers_changed
        self._post(Started())

    @property
    def state(self) -> NodeState:
        """The last saved state; read only."""
        return self._state

    @property
    def is_over(self) -> bool:
        """Whether the node has stopped."""
        return self._is_over

    @property
    def store(self) -> Store:
        """Where history is."""
        return self._store

    @property
    def connections(self) -> Connections:
        """How things stand with the relays and index servers configured; made anew after changes."""
        state = self._state
        relays, servers = self._connections_of
        is_of_these = relays is state.relays and servers is state.index_servers
        if self._connections is None or not is_of_these:
            self._connections = connections(
                state.relays, state.index_servers, self.peers.status().relays, self.index.status
            )
            self._connections_of = (state.relays, state.index_servers)
        return self._connections

    @property
    def env(self) -> LiveEnv:
        """The node's clocks, entropy and signature."""
        return self._env

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Be the node until cancelled, once only; the loaded state is carried out before `started`.

        Raises:
            StoreError: (in a group) the database failed; nothing was sent of what is not on disk.
            InvariantError: (in a group) our own state is impossible, and no friend is to blame.
        """
        try:
            self._connect()
            async with anyio.create_task_group() as tasks:
                await self._work_off()
                await tasks.start(self.peers.run)
                tasks.start_soon(self.index.run)
                tasks.start_soon(self._watch_deadlines)
                task_status.started()
                while True:
                    if not self._inbox:
                        self._wake = anyio.Event()
                        await self._wake.wait()
                    await self._work_off()
        finally:
            self._stop()

    def _stop(self) -> None:
        """Tell everybody who waits that nothing comes any more."""
        self._is_over = True
        for answer in self._answers.values():
            answer.done.set()
        for tell in tuple(self.watchers.values()):
            tell(None)

    async def command(self, command: Command | Batch) -> CommandDone:
        """Carry out a command; returns once its result is on disk.

        A caller that is cancelled before its command was taken up takes it back.

        Raises:
            TransportError: the node stopped; whether the command was carried out is not known.
        """
        async with self._room:
            if self._is_over:
                raise TransportError("this card is switched off")
            self._numbers += 1
            number = self._numbers
            answer = _Answer()
            self._answers[number] = answer
            given = CommandGiven(number, command)
            try:
                self._post(given)
                await answer.done.wait()
            finally:
                del self._answers[number]
                if answer.result is None:
                    self._inbox.withdraw(given)
        if answer.result is None:
            raise TransportError("this card was switched off meanwhile")
        return answer.result

    def _without_paid(self, event: Event) -> Event:
        """The same without wishes to pay that ended so long ago that only history knows them (R20)."""
        if not isinstance(event, CommandGiven):
            return event
        command = event.command
        commands = command.commands if isinstance(command, Batch) else (command,)
        left = tuple(one for one in commands if not self._is_in_history(one))
        return event if len(left) == len(commands) else CommandGiven(event.number, Batch(left))

    def _is_in_history(self, command: Command) -> bool:
        return (
            isinstance(command, Pay | Rebalance)
            and command.payment_id not in self._state.intents
            and self._store.payment_record(command.payment_id) is not None
        )

    # --- what arrives ---------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        self._inbox.put(event)
        self._wake.set()

    def link_adopted(self, friend: PublicKey, link_id: int) -> None:
        """A link to a friend is up or was replaced."""
        self._sent[friend] = (link_id, SentOnLink())
        self._post(LinkAdopted(friend, link_id))

    def friend_offline(self, friend: PublicKey) -> None:
        """A friend has been gone for the grace time."""
        self._post(FriendOffline(friend))

    def message(self, friend: PublicKey, link_id: int, payload: bytes) -> None:
        """A friend's message, undecoded."""
        try:
            message = decode_friend_message(payload)
        except DecodeError as error:
            _log.warning("friend %s sent something unreadable: %s", friend, error)
            self._arrive(UnreadableArrived(friend, link_id), len(payload))
            return
        if message is not None:
            self._arrive(MessageArrived(friend, link_id, message), len(payload))

    def _arrive(self, event: FriendEvent, size: int) -> None:
        friend = event.friend
        if self._inbox.put_message(event, size) and friend not in self._paused:
            self._paused[friend] = None
            self.peers.pause(friend)
        self._wake.set()

    def link_writable(self, friend: PublicKey, link_id: int) -> None:  # noqa: ARG002 - the newest counts
        """A link has taken everything: send what came up meanwhile."""
        self._pump(friend)

    def peers_changed(self) -> None:
        """Something about links or servers changed."""
        self._connections = None
        self._report_changed()

    def _report_changed(self) -> None:
        for tell in tuple(self.report_watchers.values()):
            tell()

    def _routes_arrived(self, response: RoutesResponse) -> None:
        self._post(RoutesArrived(response))

    def _edges(self) -> tuple[Edge, ...]:
        return edges(self._state)

    async def _watch_deadlines(self) -> None:
        while True:
            self._deadline_changed = anyio.Event()
            at_ms = next_deadline_ms(self._state)
            self._armed_ms = at_ms
            if at_ms is None:
                await self._deadline_changed.wait()
                continue
            with anyio.move_on_after(max(0, at_ms - self._env.now_ms) / 1000):
                await self._deadline_changed.wait()
            if at_ms <= self._env.now_ms:
                self._post(Woken())
                self._armed_ms = None
                await self._deadline_changed.wait()

    # --- one batch ------------------------------------------------------------------------------

    async def _work_off(self) -> None:
        """Take everything that waits, up to a batch; save; then let the effects out."""
        events = tuple(map(self._without_paid, self._inbox.take_batch()))
        if not events:
            return
        try:
            result = step(self._state, events, self._env)
        except Exception:  # noqa: BLE001 - `step` is total: whatever comes out of it is our bug
            await self._work_off_singly(events)
            return
        await self._finish(result, events, len(events))
        await anyio.lowlevel.checkpoint()

    async def _finish(self, result: Step, events: tuple[Event, ...], count: int) -> bool:
        """Save what came of the first `count` events, then let its effects out.

        Returns:
            False if the disk is full: then all of `events` are as if they had never happened.
        """
        try:
            await self._save(result)
        except StoreFullError as error:
            await self._survive_full_disk(events, error)
            return False
        self._state = result.state
        self.counters.steps += 1
        self.counters.events += count
        self._report_changed()
        for effect in result.effects:
            self._carry_out(effect)
        self._resume_readers()
        self._rearm()
        return True

    async def _save(self, result: Step) -> None:
        started = time.perf_counter_ns()
        arguments = (self._state, result.state, result.touched, result.records)
        if self._is_disk_slow():
            await anyio.to_thread.run_sync(self._store.save, *arguments, limiter=self._writers)
        else:
            self._store.save(*arguments)
        took = time.perf_counter_ns() - started
        self._commits_ms.append(took / 1e6)
        self.counters.commits += 1
        self.counters.commit_ns.append(took)

    def _is_disk_slow(self) -> bool:
        return (
            len(self._commits_ms) == self._commits_ms.maxlen
            and statistics.median(self._commits_ms) > SLOW_COMMIT_MS
        )

    async def _survive_full_disk(self, events: tuple[Event, ...], error: StoreFullError) -> None:
        """Forget events as if they had never arrived; friends will send again on a new link.

        Whatever else those friends sent is forgotten, too: nothing may be read after a gap.
        """
        _log.error("the disk is full, nothing was saved or sent: %s", error)
        kept: list[Event] = []
        for event in (*events, *self._inbox.take_messages()):
            match event:
                case CommandGiven(number) if number != _OWN_COMMAND:
                    fault = CommandFault.STORE_FULL
                    self._answer(CommandDone(number, fault, str(error), ()))
                case MessageArrived() | UnreadableArrived() | LinkAdopted():
                    link = self.peers.link_of(event.friend)
                    if link is not None:
                        link.close(CloseCode.OVERLOADED, "the disk is full")
                case Woken():
                    pass  # what was due is still due
                case _:
                    kept.append(event)
        self._inbox.put_back(kept)
        self._resume_readers()
        await anyio.sleep(STORE_RETRY_MS / 1000)
        self._rearm()

    async def _work_off_singly(self, events: tuple[Event, ...]) -> None:
        """Our own state turned out impossible: find the event, blame its friend, go on without (R26)."""
        for index, event in enumerate(events):
            done: tuple[Event, ...] = (event,)
            try:
                result = step(self._state, done, self._env)
            except Exception as error:  # noqa: BLE001 - the same
                done = self._blame(event, error)
                result = step(self._state, done, self._env)
            if not await self._finish(result, (*done, *events[index + 1 :]), len(done)):
                return

    def _blame(self, event: Event, error: Exception) -> tuple[Event, ...]:
        """What gets rid of the friend whose message broke an invariant, if it was a friend's.

        At once: whatever else it sent is then dropped unread. `UnreadableArrived` closes the link and
        makes reports say that something is wrong with this friend.
        """
        self._broken += 1
        self._write_diagnostic(event, error)
        if self._broken >= INVARIANTS_BROKEN_MAX or not isinstance(event, FriendEvent):
            raise error
        _log.error("disabling friend %s: its message broke an invariant", event.friend)
        return (
            UnreadableArrived(event.friend, event.link_id),
            CommandGiven(_OWN_COMMAND, DisableFriend(event.friend)),
        )

    def _write_diagnostic(self, event: Event, error: Exception) -> None:
        """Write down what broke, without anything secret: the kind of event and the trace."""
        kind = type(event.message if isinstance(event, MessageArrived) else event).__name__
        if self._diagnostics is None:
            return
        text = "".join(traceback.format_exception(error))
        try:
            with self._diagnostics.open("a", encoding="utf-8") as file:
                file.write(f"{wall_ms()} {kind}\n{text}\n")
        except OSError as problem:
            _log.error("cannot write %s: %s", self._diagnostics, problem)

    def _resume_readers(self) -> None:
        for friend in [key for key in self._paused if not self._inbox.has_unread(key)]:
            del self._paused[friend]
            self.peers.resume(friend)

    def _rearm(self) -> None:
        at_ms = next_deadline_ms(self._state)
        if at_ms is not None and (self._armed_ms is None or at_ms < self._armed_ms):
            self._deadline_changed.set()

    # --- effects --------------------------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:  # noqa: C901 - one line for each effect
        match effect:
            case FriendDirty(friend):
                self._pump(friend)
            case CommandDone():
                self._answer(effect)
            case Notify(notice):
                for tell in tuple(self.watchers.values()):
                    tell(notice)
            case CapacitiesChanged():
                self.index.edges_changed()
            case AskRoutes(request, is_elsewhere):
                self.index.ask(request, is_elsewhere=is_elsewhere)
            case ConnectionsChanged():
                self._connect()
            case ReconnectNow():
                self.peers.retry()
                self.index.retry()
            case CloseLink(friend, link_id):
                link = self.peers.link_of(friend)
                if link is not None and link.link_id == link_id:
                    self.peers.back_off(friend, self._env.timers.malformed_backoff_ms)
                    link.close(CloseCode.PROTOCOL, "unreadable message")
            case _:
                assert_never(effect)

    def _answer(self, done: CommandDone) -> None:
        answer = self._answers.get(done.number)
        if answer is not None:
            answer.result = done
            answer.done.set()

    def _pump(self, friend: PublicKey) -> None:
        """If the friend's link is free, send what the saved state has for it."""
        link = self.peers.link_of(friend)
        if link is None or not link.is_writable:
            return
        link_id, sent = self._sent.get(friend, (link.link_id, SentOnLink()))
        if link_id != link.link_id:
            sent = SentOnLink()
        messages, sent = outgoing(self._state, friend, sent)
        self._sent[friend] = (link.link_id, sent)
        for message in messages:
            link.send_nowait(encode_friend_message(message))

    def _connect(self) -> None:
        """Tell the link manager and the index client whom to reach and where."""
        state = self._state
        near = tuple(server.address for server in (*state.relays, *state.index_servers))
        # What a person brought in may be dialled, wherever it is (design R41).
        typed = dict.fromkeys(
            relay.address for friend in state.friends.values() for relay in friend.imported
        )
        dialable = ((*typed, *near), near)
        if dialable != self._dialable:
            self._dialable = dialable
            self.peers.set_may_dial(dial_filter(*dialable))
        self.peers.set_own_relays(state.relays)
        enabled = {key: friend for key, friend in state.friends.items() if friend.is_enabled}
        for key in [key for key in self._known_friends if key not in enabled]:
            self.peers.remove_friend(key)
            self._sent.pop(key, None)
            self._paused.pop(key, None)
        for key, friend in enabled.items():
            old = listen_relays(friend, ())
            self.peers.set_friend(key, friend.remote_relays, old)
        self._known_friends = dict.fromkeys(enabled)
        self.index.set_servers(state.index_servers)
