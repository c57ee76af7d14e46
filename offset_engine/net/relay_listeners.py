"""Be found: one listening connection to every relay this node is announced at.

| state | means | left by |
|---|---|---|
| connecting | dialing, or waiting for LISTENING | an answer or a failure |
| listening | the relay announces callers | the connection's end |
| waiting | the next try is at `next_attempt_ms` | that time, or `retry` |
| refused | the same; the relay said no (another device with this key, not allowed) | the same, a minute or more |

There is one connection per relay *key*; several addresses of one key are alternatives, taken in turn.
Pauses double from try to try and start anew once a connection has lived; they are random, so that a
relay that returns does not meet all its nodes in one moment. Every relay has its own task: one that
does not answer delays nobody else. Whom to let in is decided by the caller of `on_incoming` at once,
from memory.

Source: PROTOCOL.md, "Relays"; network.md §3.8.
"""

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskGroup

from offset_engine.core.codec import decode_relay_message, encode_relay_message
from offset_engine.core.friend_links import LinkEnv, LinkRules
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import Incoming, Listen, Listening, Reject
from offset_engine.core.noise import Purpose
from offset_engine.core.values import PublicKey, RelayAddress, Uid, value
from offset_engine.errors import DecodeError, TransportError
from offset_engine.net.round_trips import steadied
from offset_engine.net.transport import (
    Connection,
    DialError,
    DialFailure,
    Endpoint,
    dial,
)

_log: Final = logging.getLogger(__name__)
_SENTENCES: Final = {
    CloseCode.DUPLICATE: "another device listens there with the key of this card",
    CloseCode.REPLACED: "another device took over listening with the key of this card",
    CloseCode.NOT_AUTHORIZED: "this relay does not serve this card",
    CloseCode.OVERLOADED: "this relay is full",
    CloseCode.SHUTDOWN: "this relay is shutting down",
}
_REFUSALS: Final = (CloseCode.DUPLICATE, CloseCode.REPLACED, CloseCode.NOT_AUTHORIZED)


class RelayState(StrEnum):
    """What a listening connection is doing."""

    CONNECTING = "connecting"
    LISTENING = "listening"
    WAITING = "waiting"
    REFUSED = "refused"


@value
class RelayStatus:
    """One relay, for people."""

    relay: RelayAddress
    """With the address tried last."""
    state: RelayState
    since_ms: int
    """Monotonic; when it entered this state."""
    last_error: str
    attempts: int
    rtt_ms: int | None
    """About, as of the last keepalives; None = not measured on this connection."""
    tunnels: int
    """Links to friends that pass through it."""
    next_attempt_ms: int | None
    """Monotonic; only while waiting or refused."""
    calls_failed: int
    """Announced callers that did not turn out to be who the relay said, or never finished."""


class _Relay:
    """The mutable record of one relay key."""

    def __init__(self, key: PublicKey, addresses: tuple[str, ...], now_ms: int) -> None:
        self.key = key
        self.addresses = addresses
        self.turn = 0
        self.scope = anyio.CancelScope()
        self.connection: Connection | None = None
        self.state = RelayState.CONNECTING
        self.since_ms = now_ms
        self.last_error = ""
        self.attempts = 0
        self.failures = 0
        self.rtt_ms: int | None = None
        self.next_attempt_ms: int | None = None
        self.calls_failed = 0
        self.wake = anyio.Event()

    @property
    def relay(self) -> RelayAddress:
        """The address whose turn it is."""
        return RelayAddress(self.key, self.addresses[self.turn % len(self.addresses)])


class RelayListeners:
    """Owned by `Peers`, which starts it inside its own task group."""

    def __init__(
        self,
        endpoint: Endpoint,
        rules: LinkRules,
        on_incoming: Callable[[RelayAddress, Incoming], None],
        on_listening: Callable[[PublicKey], None],
        on_change: Callable[[], None],
    ) -> None:
        """Listen nowhere yet.

        Args:
            endpoint: who listens.
            rules: pauses.
            on_incoming: somebody calls; answer with `reject`, or with an accepting connection.
            on_listening: the relay with this key announces us again.
            on_change: a status is another one.
        """
        self._endpoint = endpoint
        self._rules = rules
        self._on_incoming = on_incoming
        self._on_listening = on_listening
        self._on_change = on_change
        self._wanted: dict[PublicKey, tuple[str, ...]] = {}
        self._relays: dict[PublicKey, _Relay] = {}
        self._tasks: TaskGroup | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Begin; every relay gets a task in `tasks`."""
        self._tasks = tasks
        wanted, self._wanted = self._wanted, {}
        self.set_relays(wanted)

    def stop(self) -> None:
        """Forget all connections; the task group is over."""
        self._tasks = None
        self._relays.clear()

    def set_relays(self, wanted: Mapping[PublicKey, tuple[str, ...]]) -> None:
        """Listen at exactly these relay keys, each with its alternative addresses (at least one)."""
        if wanted == self._wanted:
            return
        self._wanted = dict(wanted)
        tasks = self._tasks
        if tasks is None:
            return
        for key in [key for key in self._relays if key not in wanted]:
            self._drop(self._relays.pop(key))
        for key, addresses in wanted.items():
            existing = self._relays.get(key)
            if existing is None:
                relay = _Relay(key, addresses, self._endpoint.now_ms())
                self._relays[key] = relay
                tasks.start_soon(self._keep, relay)
            elif existing.addresses != addresses:
                self._change_addresses(existing, addresses)
        self._on_change()

    def reject(self, relay_key: PublicKey, tunnel_id: Uid) -> None:
        """Tell the relay that this caller is not answered."""
        relay = self._relays.get(relay_key)
        if relay is not None and relay.connection is not None:
            relay.connection.send_nowait(encode_relay_message(Reject(tunnel_id)))

    def count_failed_call(self, relay_key: PublicKey) -> None:
        """Remember that a call this relay announced came to nothing."""
        relay = self._relays.get(relay_key)
        if relay is not None:
            relay.calls_failed += 1

    def retry(self) -> None:
        """Forget all waiting."""
        for relay in self._relays.values():
            relay.failures = 0
            relay.wake.set()

    def woke(self) -> None:
        """The machine slept: drop every connection that does not answer soon, and dial at once."""
        self.retry()
        if self._tasks is not None:
            for relay in self._relays.values():
                if relay.connection is not None:
                    self._tasks.start_soon(self._insist, relay, relay.connection)

    def statuses(self, tunnels: Mapping[PublicKey, int]) -> tuple[RelayStatus, ...]:
        """All relays in the order they were added; `tunnels` counts links per relay key."""
        return tuple(
            RelayStatus(
                relay=one.relay,
                state=one.state,
                since_ms=one.since_ms,
                last_error=one.last_error,
                attempts=one.attempts,
                rtt_ms=one.rtt_ms,
                tunnels=tunnels.get(one.key, 0),
                next_attempt_ms=one.next_attempt_ms,
                calls_failed=one.calls_failed,
            )
            for one in self._relays.values()
        )

    def _drop(self, relay: _Relay) -> None:
        if relay.connection is not None:
            relay.connection.close()
        relay.scope.cancel()

    def _change_addresses(self, relay: _Relay, addresses: tuple[str, ...]) -> None:
        current = relay.relay.address
        relay.addresses = addresses
        relay.turn = addresses.index(current) if current in addresses else 0
        if current not in addresses:
            relay.failures = 0
            relay.wake.set()
            if relay.connection is not None:
                relay.connection.close()

    # one relay

    async def _keep(self, relay: _Relay) -> None:
        with relay.scope:
            while True:
                self._enter(relay, RelayState.CONNECTING)
                relay.attempts += 1
                relay.wake = anyio.Event()
                address = relay.relay
                started_ms = self._endpoint.now_ms()
                code = await self._listen(relay, address)
                relay.rtt_ms = None
                if self._endpoint.now_ms() - started_ms >= self._rules.lived_ms:
                    relay.failures = 0
                if relay.relay == address:
                    relay.turn = (relay.turn + 1) % len(relay.addresses)
                await self._pause(relay, code)

    async def _listen(self, relay: _Relay, address: RelayAddress) -> CloseCode | None:
        """Listen until it ends; the code the relay ended it with, if it said one."""
        endpoint, tasks = self._endpoint, self._tasks
        if tasks is None:
            return None
        connection = None
        code = None
        try:
            connection = await dial(
                endpoint, tasks, address.address, address.public_key, Purpose.RELAY
            )
            relay.connection = connection
            connection.send_nowait(encode_relay_message(Listen()))
            await self._serve(relay, address, connection)
        except DialError as error:
            relay.last_error, code = str(error), error.code
        except DecodeError:
            relay.last_error = "this relay speaks an unknown language"
        except TimeoutError:
            relay.last_error = "this relay does not answer"
        except TransportError as error:
            end = None if connection is None else connection.ended
            code = None if end is None or not end.clean else end.code
            relay.last_error = str(error) if code is None else _SENTENCES.get(code, str(error))
        finally:
            relay.connection = None
            if connection is not None:
                connection.close()
        return code

    async def _serve(self, relay: _Relay, address: RelayAddress, connection: Connection) -> None:
        with anyio.fail_after(self._endpoint.limits.relay_answer_ms / 1000):
            answer = decode_relay_message(await connection.receive())
        if not isinstance(answer, Listening):
            raise DialError(DialFailure.PROTOCOL, "this relay answered something else")

        connection.on_pong = partial(self._answered, relay)
        connection.ping()
        relay.last_error = ""
        self._enter(relay, RelayState.LISTENING)
        self._on_listening(relay.key)
        while True:
            message = decode_relay_message(await connection.receive())
            if isinstance(message, Incoming):
                self._on_incoming(address, message)

    async def _pause(self, relay: _Relay, code: CloseCode | None) -> None:
        rules = self._rules
        jitter = int.from_bytes(self._endpoint.random_bytes(4), "big")
        env = LinkEnv(self._endpoint.now_ms(), jitter, rules)
        wait_ms = env.backoff(relay.failures)
        relay.failures += 1
        if code in _REFUSALS:
            wait_ms = max(wait_ms, rules.refused_ms)
        elif code is CloseCode.SHUTDOWN:
            wait_ms = max(wait_ms, env.between(rules.start_max_ms // 5, rules.start_max_ms))
        relay.next_attempt_ms = env.now_ms + wait_ms
        self._enter(relay, RelayState.REFUSED if code in _REFUSALS else RelayState.WAITING)
        _log.debug("relay %s: %s; next try in %d ms", relay.key, relay.last_error, wait_ms)
        with anyio.move_on_after(wait_ms / 1000):
            await relay.wake.wait()
        relay.next_attempt_ms = None

    async def _insist(self, relay: _Relay, connection: Connection) -> None:
        answered = anyio.Event()

        def on_pong(rtt_ms: int) -> None:
            self._answered(relay, rtt_ms)
            answered.set()

        connection.on_pong = on_pong
        connection.ping()
        with anyio.move_on_after(self._rules.wake_probe_ms / 1000):
            await answered.wait()
        if not answered.is_set():
            connection.close(CloseCode.TIMEOUT)

    def _answered(self, relay: _Relay, rtt_ms: int) -> None:
        shown_ms = steadied(relay.rtt_ms, rtt_ms)
        if shown_ms != relay.rtt_ms:
            relay.rtt_ms = shown_ms
            self._on_change()

    def _enter(self, relay: _Relay, state: RelayState) -> None:
        relay.state = state
        relay.since_ms = self._endpoint.now_ms()
        self._on_change()
