"""Keep a link to every enabled friend, through relays, whoever of the two can reach the other.

`core.friend_links` decides per friend; this module carries its decisions out and tells it what
happened. `relay_listeners` holds the connections at which friends find us.

```
set_friend ─► friend_links ─► Dial ──► connect_through_relay ─┐
   clock ───────►  │ ▲                                        ├─► FriendLink ─► Adopt ─► PeerCallbacks
   relay listener ─┼─┴─ INCOMING ────► accept_through_relay ──┘
                   └──► Close, Probe, Offline
```

Everything runs on one event loop. Callbacks are synchronous and may call back into `Peers`: events
wait in a queue and are taken one at a time. A link that is not adopted is not read beyond four messages;
they are delivered once it is adopted, and dropped unread if it never is (design R22). `pause` stops
reading from one friend and delays no other.

Bounds: per friend one attempt of at most two dials and two unfinished calls; per node 16 dials and 16
calls; per friend at most two links.

Source: PROTOCOL.md, "Friend links"; network.md §3.6, §3.8.
"""

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup, TaskStatus

from offset_engine.core import friend_links as fl
from offset_engine.core.crypto import public_key_of, speaks_first
from offset_engine.core.link import CloseCode, LinkLimits
from offset_engine.core.messages import Incoming
from offset_engine.core.values import (
    NamedAddress,
    PrivateKey,
    PublicKey,
    RelayAddress,
    Timers,
)
from offset_engine.errors import TransportError
from offset_engine.net.friend_link import (
    TEXTS,
    FriendLink,
    FriendStatus,
    PeerCallbacks,
    PeersStatus,
)
from offset_engine.net.nearby import nobody_nearby
from offset_engine.net.relay_listeners import RelayListeners, RelayState, RelayStatus
from offset_engine.net.transport import (
    Connection,
    DialError,
    DialFailure,
    Endpoint,
    NetLimits,
    accept_through_relay,
    connect_through_relay,
)

__all__ = [
    "FriendLink", "FriendStatus", "PeerCallbacks", "Peers", "PeersStatus", "RelayState", "RelayStatus",
    "endpoint_of", "has_slept",
]  # fmt: skip

_log: Final = logging.getLogger(__name__)

DIALS_MAX: Final = 16
CALLS_MAX: Final = 16
CALLS_PER_FRIEND_MAX: Final = 2
_RACE_DIVISOR: Final = 5
"""The second relay of an attempt is tried a fifth of the handshake time after the first: 2 s."""
_SLEPT_MS: Final = 30_000
_CONNECT_MS: Final = 10_000
_FRAME_MS: Final = 5_000


_DIAL_TEXTS: Final = {
    **TEXTS,
    CloseCode.NOT_AUTHORIZED: "the friend's relay does not serve this card",
    CloseCode.UNAVAILABLE: "not online at this relay",
    CloseCode.OVERLOADED: "the relay is busy",
    CloseCode.SHUTDOWN: "the relay is shutting down",
}
"""What a code means while dialing, when it is the relay's."""


def endpoint_of(
    identity: PrivateKey,
    timers: Timers,
    nearby: Callable[[PublicKey], str | None] = nobody_nearby,
) -> Endpoint:
    """What a node with these waiting times dials with; `nearby` as in `Endpoint`."""
    handshake_ms = timers.handshake_ms
    return Endpoint(
        identity,
        NetLimits(connect_ms=min(_CONNECT_MS, handshake_ms), write_stuck_ms=timers.write_stuck_ms),
        LinkLimits(
            handshake_ms=handshake_ms,
            frame_ms=min(_FRAME_MS, handshake_ms),
            ping_idle_ms=timers.ping_idle_ms,
            dead_idle_ms=timers.dead_idle_ms,
        ),
        nearby=nearby,
    )


def has_slept(waited_ms: int, monotonic_ms: int, wall_ms: int) -> bool:
    """Whether the machine slept, or its clock was set, while somebody waited `waited_ms`.

    Args:
        waited_ms: how long the wait should have taken.
        monotonic_ms: how long it took by the clock that stands still during sleep on some systems.
        wall_ms: how long it took by the clock on the wall.
    """
    return max(monotonic_ms - waited_ms, abs(wall_ms - monotonic_ms)) > _SLEPT_MS


class _Friend:
    """The mutable record of one enabled friend."""

    __slots__ = (
        "armed_ms", "dialing", "is_paused", "key", "link", "listen_relays", "remote_relays", "skipped",
        "state",
    )  # fmt: skip

    def __init__(self, key: PublicKey) -> None:
        self.key = key
        self.remote_relays: tuple[RelayAddress, ...] = ()
        self.listen_relays: tuple[RelayAddress, ...] = ()
        self.skipped: tuple[RelayAddress, ...] = ()
        self.state: fl.FriendLinks | None = None
        self.link: FriendLink | None = None
        self.dialing: tuple[int, anyio.CancelScope] | None = None
        self.armed_ms: int | None = None
        self.is_paused = False


def _always(_address: str) -> bool:
    return True


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Peers:
    """See the module. Configure at any time; links exist while `run` runs."""

    def __init__(  # noqa: PLR0913 - what a node gives its network, once
        self,
        identity: PrivateKey,
        timers: Timers,
        callbacks: PeerCallbacks,
        *,
        may_dial: Callable[[str], bool] = _always,
        endpoint: Endpoint | None = None,
        rules: fl.LinkRules | None = None,
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        """Know nobody yet.

        Args:
            identity: secret; the node's key.
            timers: all waiting times.
            callbacks: the node above.
            may_dial: whether an address named by a friend may be dialed (`core.dial_filter`).
            endpoint: who dials and with what; made from `timers` if None.
            rules: waiting times of friend links; made from `timers` if None.
            wall_ms: the clock on the wall, looked at only to notice that the machine slept.
        """
        self._local = public_key_of(identity)
        self._timers = timers
        self._callbacks = callbacks
        self._may_dial = may_dial
        self._endpoint = endpoint_of(identity, timers) if endpoint is None else endpoint
        self._rules = fl.LinkRules.of(timers) if rules is None else rules
        self._wall_ms = wall_ms
        self._own_relays: tuple[RelayAddress, ...] = ()
        self._friends: dict[PublicKey, _Friend] = {}
        self._links: dict[int, FriendLink] = {}
        self._links_made = 0
        self._calls: dict[PublicKey, int] = {}
        self._events: deque[tuple[_Friend, fl.LinkEvent]] = deque()
        self._is_stepping = False
        self._has_changed = False
        self._alarms: list[tuple[int, int, _Friend]] = []
        self._alarms_set = 0
        self._alarm = anyio.Event()
        self._tasks: TaskGroup | None = None
        self._dials = anyio.CapacityLimiter(DIALS_MAX)
        self._listeners = RelayListeners(
            self._endpoint, self._rules, self._incoming, self._relay_listens, self._changed
        )

    # configuration

    def set_own_relays(self, relays: tuple[NamedAddress, ...]) -> None:
        """Listen at these relays."""
        plain = tuple(one.relay for one in relays)
        if plain != self._own_relays:
            self._own_relays = plain
            self._update_listeners()

    def set_may_dial(self, may_dial: Callable[[str], bool]) -> None:
        """Judge the relay addresses of all friends anew."""
        self._may_dial = may_dial
        for friend in list(self._friends.values()):
            self._update_dialable(friend)

    def set_friend(
        self,
        friend: PublicKey,
        remote_relays: tuple[RelayAddress, ...],
        listen_relays: tuple[RelayAddress, ...],
    ) -> None:
        """Reach this friend: enable it, or tell its relays; cheap if nothing changed.

        Args:
            friend: whom.
            remote_relays: where the friend listens, as it told us.
            listen_relays: relays beside our own at which the friend may still look for us.
        """
        known = self._friends.get(friend)
        if known is None:
            known = self._friends[friend] = _Friend(friend)
        if known.listen_relays != listen_relays:
            known.listen_relays = listen_relays
            self._update_listeners()
        if known.remote_relays != remote_relays or known.state is None:
            known.remote_relays = remote_relays
            self._update_dialable(known)

    def remove_friend(self, friend: PublicKey) -> None:
        """Close its link, answer it no more and tell nothing about it any more."""
        known = self._friends.pop(friend, None)
        if known is None:
            return
        state, known.state = known.state, None
        known.link = None
        if state is not None:
            for effect in fl.disable(state):
                self._perform(known, effect)
        if known.listen_relays:
            self._update_listeners()
        self._changed()

    def retry(self, friend: PublicKey | None = None) -> None:
        """Forget all waiting: for one friend, or for all friends and relays (the network is back)."""
        if friend is None:
            self._listeners.retry()
        for known in self._chosen(friend):
            self._post(known, fl.Retry())

    def back_off(self, friend: PublicKey, pause_ms: int) -> None:
        """Neither dial nor answer this friend for at least so long (design R23)."""
        for known in self._chosen(friend):
            self._post(known, fl.BackOff(pause_ms))

    def woke(self) -> None:
        """The machine slept: every link must answer soon or is replaced."""
        self._listeners.woke()
        for known in self._chosen(None):
            self._post(known, fl.Woke())

    # links

    def link_of(self, friend: PublicKey) -> FriendLink | None:
        """The adopted link, if there is one."""
        known = self._friends.get(friend)
        return None if known is None else known.link

    def pause(self, friend: PublicKey) -> None:
        """Read nothing more from this friend; what was read already is still delivered."""
        known = self._friends.get(friend)
        if known is not None:
            known.is_paused = True
            if known.link is not None:
                known.link.connection.pause_reading()

    def resume(self, friend: PublicKey) -> None:
        """Read on; may deliver messages before it returns."""
        known = self._friends.get(friend)
        if known is not None and known.is_paused:
            known.is_paused = False
            if known.link is not None:
                self._deliver(known, known.link)
                known.link.connection.resume_reading()

    def calls_of(self, friend: PublicKey) -> int:
        """Announced calls of this key that are being answered just now."""
        return self._calls.get(friend, 0)

    def status(self) -> PeersStatus:
        """A picture of now."""
        tunnels: dict[PublicKey, int] = {}
        for link in self._links.values():
            key = link.relay.public_key
            tunnels[key] = tunnels.get(key, 0) + 1
        friends = tuple(_status_of(one) for one in self._friends.values())
        return PeersStatus(self._listeners.statuses(tunnels), friends)

    def _chosen(self, friend: PublicKey | None) -> list[_Friend]:
        if friend is None:
            return list(self._friends.values())
        known = self._friends.get(friend)
        return [] if known is None else [known]

    # life

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen, dial and keep links until cancelled; then every friend is told SHUTDOWN."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._listeners.start(tasks)
                for friend in list(self._friends.values()):
                    self._update_dialable(friend)
                tasks.start_soon(self._watch_deadlines)
                tasks.start_soon(self._watch_sleep)
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self._tasks = None
            self._listeners.stop()
            self._links.clear()
            self._calls.clear()
            self._events.clear()
            self._alarms.clear()
            for friend in self._friends.values():
                friend.state = friend.link = friend.dialing = friend.armed_ms = None

    async def _watch_deadlines(self) -> None:
        while True:
            self._alarm = anyio.Event()
            now_ms = self._endpoint.now_ms()
            while self._alarms and self._alarms[0][0] <= now_ms:
                at_ms, _, friend = heapq.heappop(self._alarms)
                if friend.armed_ms == at_ms:
                    friend.armed_ms = None
                    self._post(friend, fl.Tick())
            wait_s = (self._alarms[0][0] - now_ms) / 1000 if self._alarms else None
            with anyio.move_on_after(wait_s):
                await self._alarm.wait()

    def _arm(self, friend: _Friend) -> None:
        at_ms = None if friend.state is None else fl.deadline_ms(friend.state)
        if at_ms is None or at_ms == friend.armed_ms:
            friend.armed_ms = at_ms
            return
        friend.armed_ms = at_ms
        self._alarms_set += 1
        heapq.heappush(self._alarms, (at_ms, self._alarms_set, friend))
        if self._alarms[0][1] == self._alarms_set:
            self._alarm.set()

    async def _watch_sleep(self) -> None:
        wait_ms = self._timers.ping_idle_ms // 3
        while True:
            mono_ms, wall_ms = self._endpoint.now_ms(), self._wall_ms()
            await anyio.sleep(wait_ms / 1000)
            passed_ms = self._endpoint.now_ms() - mono_ms
            if has_slept(wait_ms, passed_ms, self._wall_ms() - wall_ms):
                _log.info("the clock jumped; asking every link whether it is alive")
                self.woke()

    # deciding

    def _env(self) -> fl.LinkEnv:
        jitter = int.from_bytes(self._endpoint.random_bytes(4), "big")
        return fl.LinkEnv(self._endpoint.now_ms(), jitter, self._rules)

    def _post(self, friend: _Friend, event: fl.LinkEvent) -> None:
        self._events.append((friend, event))
        self._work_off()

    def _work_off(self) -> None:
        if self._is_stepping:
            return
        self._is_stepping = True
        try:
            while self._events:
                friend, event = self._events.popleft()
                if friend.state is not None:
                    self._carry_out(friend, *fl.step(friend.state, event, self._env()))
        finally:
            self._is_stepping = False
        if self._has_changed:
            self._has_changed = False
            self._callbacks.peers_changed()

    def _carry_out(
        self, friend: _Friend, state: fl.FriendLinks, effects: tuple[fl.LinkEffect, ...]
    ) -> None:
        if state is not friend.state:
            self._has_changed = True
        friend.state = state
        for effect in effects:
            self._perform(friend, effect)
        lost = friend.link is not None and (
            state.adopted is None or state.adopted.link_id != friend.link.link_id
        )
        if lost:
            friend.link = None
        self._arm(friend)

    def _perform(self, friend: _Friend, effect: fl.LinkEffect) -> None:
        match effect:
            case fl.Dial(attempt):
                self._do_dial(friend, attempt)
            case fl.CancelDial(attempt_id):
                if friend.dialing is not None and friend.dialing[0] == attempt_id:
                    friend.dialing[1].cancel()
            case fl.Adopt(link_id):
                self._do_adopt(friend, link_id)
            case fl.Probe(link_id):
                if link_id in self._links:
                    self._links[link_id].connection.ping()
            case fl.Close(link_id, code):
                if link_id in self._links:
                    self._links[link_id].close(code)
            case fl.Offline():
                self._callbacks.friend_offline(friend.key)

    def _changed(self) -> None:
        self._has_changed = True
        self._work_off()

    def _update_listeners(self) -> None:
        wanted: dict[PublicKey, list[str]] = {}
        lists = [self._own_relays, *(one.listen_relays for one in self._friends.values())]
        for relays in lists:
            for relay in relays:
                addresses = wanted.setdefault(relay.public_key, [])
                if relay.address not in addresses:
                    addresses.append(relay.address)
        self._listeners.set_relays({key: tuple(found) for key, found in wanted.items()})

    def _update_dialable(self, friend: _Friend) -> None:
        relays = tuple(one for one in friend.remote_relays if self._may_dial(one.address))
        friend.skipped = tuple(one for one in friend.remote_relays if one not in relays)
        if self._tasks is None:
            return
        if friend.state is not None:
            self._post(friend, fl.RelaysChanged(relays))
            return
        is_preferred = speaks_first(self._local, friend.key)
        started = fl.enable(is_preferred=is_preferred, relays=relays, env=self._env())
        self._carry_out(friend, *started)
        self._changed()

    # dialing

    def _do_dial(self, friend: _Friend, attempt: fl.Attempt) -> None:
        if self._tasks is not None:
            scope = anyio.CancelScope()
            friend.dialing = (attempt.attempt_id, scope)
            self._tasks.start_soon(self._dial, friend, attempt, scope)

    async def _dial(self, friend: _Friend, attempt: fl.Attempt, scope: anyio.CancelScope) -> None:
        winners: list[tuple[RelayAddress, Connection]] = []
        errors: list[DialError] = []
        with scope:
            await self._race(friend.key, attempt.relays, winners, errors)
        for index, (relay, connection) in enumerate(winners):
            if index == 0 and self._friends.get(friend.key) is friend:
                link = self._register(friend, relay, connection)
                self._post(friend, fl.Dialed(attempt.attempt_id, link.link_id, relay))
            else:
                connection.close()
        if not winners and not scope.cancel_called:
            error = errors[-1]
            text = str(error) if error.code is None else _DIAL_TEXTS.get(error.code, str(error))
            self._post(friend, fl.DialFailed(attempt.attempt_id, error.code, text))

    async def _race(
        self,
        target: PublicKey,
        relays: tuple[RelayAddress, ...],
        winners: list[tuple[RelayAddress, Connection]],
        errors: list[DialError],
    ) -> None:
        """Try the relays, each a little after the one before, until one leads to the friend."""

        async def attempt(relay: RelayAddress, over: anyio.Event) -> None:
            try:
                async with self._dials:
                    winners.append((relay, await self._connect(relay, target)))
                racers.cancel_scope.cancel()
            except DialError as error:
                errors.append(error)
            over.set()

        async with anyio.create_task_group() as racers:
            for relay in relays:
                over = anyio.Event()
                racers.start_soon(attempt, relay, over)
                with anyio.move_on_after(self._timers.handshake_ms / _RACE_DIVISOR / 1000):
                    await over.wait()

    async def _connect(self, relay: RelayAddress, target: PublicKey) -> Connection:
        tasks = self._tasks
        if tasks is None:
            raise DialError(DialFailure.CLOSED, "this node is shutting down")
        return await connect_through_relay(self._endpoint, tasks, relay, target)

    # answering

    def _relay_listens(self, relay_key: PublicKey) -> None:
        for friend in self._friends.values():
            if any(one.public_key == relay_key for one in friend.remote_relays):
                self._events.append((friend, fl.Heard()))
        self._work_off()

    def _incoming(self, relay: RelayAddress, call: Incoming) -> None:
        friend = self._friends.get(call.dialer)
        calls = self._calls.get(call.dialer, 0)
        if (
            self._tasks is None
            or friend is None
            or friend.state is None
            or friend.state.quiet_until_ms > self._endpoint.now_ms()
            or calls >= CALLS_PER_FRIEND_MAX
            or sum(self._calls.values()) >= CALLS_MAX
        ):
            self._listeners.reject(relay.public_key, call.tunnel_id)
            return
        self._calls[call.dialer] = calls + 1
        self._tasks.start_soon(self._accept, relay, call)
        self._post(friend, fl.Heard())

    async def _accept(self, relay: RelayAddress, call: Incoming) -> None:
        tasks = self._tasks
        if tasks is None:
            return
        try:
            connection = await accept_through_relay(
                self._endpoint, tasks, relay, call.tunnel_id, call.dialer
            )
        except TransportError as error:
            if isinstance(error, DialError) and error.failure is DialFailure.WRONG_KEY:
                self._listeners.count_failed_call(relay.public_key)
            return
        finally:
            self._calls[call.dialer] = self._calls.get(call.dialer, 1) - 1
            if self._calls[call.dialer] <= 0:
                del self._calls[call.dialer]
        # The handshake took a while: the user may have removed this friend meanwhile.
        friend = self._friends.get(call.dialer)
        if friend is None:
            connection.close(CloseCode.NOT_AUTHORIZED)
            return
        link = self._register(friend, relay, connection)
        self._post(friend, fl.Arrived(link.link_id, relay))

    # links

    def _register(self, friend: _Friend, relay: RelayAddress, connection: Connection) -> FriendLink:
        self._links_made += 1
        link = FriendLink(self._links_made, friend.key, relay, connection)
        self._links[link.link_id] = link
        answered = fl.Answered(link.link_id)
        connection.on_pong = lambda _rtt_ms: self._post(friend, answered)
        if self._tasks is not None:
            self._tasks.start_soon(self._watch, friend, link)
        return link

    async def _watch(self, friend: _Friend, link: FriendLink) -> None:
        code, problem = await link.wait_closed()
        self._links.pop(link.link_id, None)
        self._post(friend, fl.Closed(link.link_id, code, problem))

    def _do_adopt(self, friend: _Friend, link_id: int) -> None:
        link = self._links.get(link_id)
        if link is None:
            return
        friend.link = link
        connection = link.connection
        self._callbacks.link_adopted(friend.key, link_id)

        def on_drained() -> None:
            if friend.link is link and link.is_writable:
                self._callbacks.link_writable(friend.key, link_id)

        connection.on_drained = on_drained
        if friend.is_paused:
            connection.pause_reading()
        else:
            self._deliver(friend, link)

    def _deliver(self, friend: _Friend, link: FriendLink) -> None:
        def on_message(payload: bytes) -> None:
            if friend.link is link:
                self._callbacks.message(friend.key, link.link_id, payload)

        link.connection.deliver_to(on_message)


def _status_of(friend: _Friend) -> FriendStatus:
    state, link = friend.state, friend.link
    adopted = None if state is None else state.adopted
    return FriendStatus(
        friend=friend.key,
        is_up=link is not None,
        relay=None if link is None else link.relay,
        is_dialed=None if adopted is None else adopted.is_dialed,
        since_ms=0 if state is None else state.changed_ms,
        last_error="" if state is None else state.problem,
        is_dialing=state is not None and state.attempt is not None,
        next_attempt_ms=None if state is None or link is not None else state.dial_at_ms,
        not_dialed=friend.skipped,
    )
