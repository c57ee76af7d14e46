"""The relay server: which connection may listen, which may dial, and which two become a tunnel.

A relay is a meeting point for nodes that cannot be dialled. It learns who meets whom and how many
bytes pass, never what they say. `Relay` decides; its driver owns sockets and clock, reports what
happened and does the returned effects in order. A connection begins authenticated (its key is
proven), says within 5 s what it wants, and is then one of:

| state | came by | leaves by |
|---|---|---|
| fresh | link up | first message, or 5 s: TIMEOUT |
| listener | LISTEN | closing; REPLACED after a probe unanswered for 3 s while a candidate waits |
| candidate | LISTEN for a key that has a listener | that one's PONG: DUPLICATE; else it takes over |
| half tunnel | CONNECT to a listener | ACCEPT; REJECT or listener gone: held; 15 s: UNAVAILABLE |
| held | CONNECT to nobody, or refused | 3 s after its CONNECT: UNAVAILABLE |
| tunnel end | ACCEPT | closing |

Nobody there, rejected and gone give the same answer at the same time, so a stranger does not learn
who is online. A message that does not fit the state closes with PROTOCOL. Whatever is refused is
told so, never dropped silently.

After a `Close` the relay has forgotten that connection; later reports about it are ignored. After a
`Splice` it only counts it until `closed` was reported for both ends; passing bytes, holding back a
fast sender, and closing the other end are the driver's work. A half tunnel whose dialer left frees
the dialer's places at once, but its announcement keeps a place with the listener until that answers
or 15 s pass: so a listener never has more than `unanswered_per_listener_max` announcements to read,
however often strangers come and go.

Bounds: every table holds connections (limited in total, per key and per network), or announcements
(limited per listener), or recent dialers (limited). No event costs more than those per-key limits.
Source: PROTOCOL.md, "Relays".
"""

from collections.abc import Callable
from typing import Final, TypeAlias, assert_never

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
from offset_engine.core.relay_limits import (
    ANSWERS,
    DialRate,
    Refusal,
    RelayLimits,
    network_of,
)
from offset_engine.core.relay_tables import (
    Candidate,
    Connection,
    Deadlines,
    Dial,
    Listener,
    Peer,
    Tunnel,
)
from offset_engine.core.values import PublicKey, Uid, value
from offset_engine.errors import invariant

_U16_MAX: Final = 2**16 - 1
_TUNNEL_ID_BYTES: Final = 16

# --- effects ------------------------------------------------------------------------------------


@value
class Send:
    """Send `message` on connection `conn`, without waiting for it."""

    conn: int
    message: RelayMessage


@value
class Close:
    """Say why, then close `conn` within a second; `reason` is at most 128 bytes."""

    conn: int
    code: CloseCode
    reason: str


@value
class Splice:
    """From now on pass bytes between the two; report `closed` for each end."""

    dialer: int
    acceptor: int
    tunnel_id: Uid


@value
class Probe:
    """Send a PING on `conn` and report `pong` when it is answered."""

    conn: int


Effect: TypeAlias = Send | Close | Splice | Probe


@value
class RelayStats:
    """Numbers for the operator; the last three groups count since the start."""

    connections: int
    listeners: int
    half_tunnels: int
    tunnels: int
    connects: int
    """CONNECT messages read."""
    established: int
    """Tunnels made."""
    refusals: tuple[tuple[Refusal, int], ...]
    """Every reason once, in the order of `Refusal`."""


# --- the relay ----------------------------------------------------------------------------------


class Relay:
    """Mutable, owned by one driver. Connection numbers are the driver's and never used twice."""

    def __init__(
        self,
        limits: RelayLimits,
        random: Callable[[int], bytes],
        allowed: Callable[[PublicKey], bool] | None = None,
    ) -> None:
        """Start empty.

        Args:
            limits: what to give to whom.
            random: this many unpredictable bytes; used for tunnel ids only.
            allowed: whether a key may use this relay; None lets everybody (design R45).
        """
        self._limits = limits
        self._random = random
        self._allowed = allowed
        self._connections: dict[int, Connection] = {}
        self._listeners: dict[PublicKey, Listener] = {}
        self._peers: dict[PublicKey, Peer] = {}
        self._sources: dict[str, int] = {}
        self._deadlines = Deadlines()
        remembered = limits.dialers_remembered_max
        self._key_rate = DialRate(limits.connects_per_minute_key, remembered)
        self._source_rate = DialRate(limits.connects_per_minute_source, remembered)
        self._refusals = dict.fromkeys(Refusal, 0)
        self._connects = 0
        self._established = 0
        self._tunnels = 0
        self._is_stopped = False

    # what the driver reports

    def connected(self, conn: int, peer: PublicKey, source: str, now_ms: int) -> list[Effect]:
        """An authenticated link is up; `source` is its IP address as text, or "" for none.

        Raises:
            InvariantError: the driver used a connection number twice.
        """
        invariant(conn not in self._connections, "a relay connection is new", conn)
        network = network_of(source)
        refusal = self._admission(peer, network)
        if refusal is not None:
            return [self._answer(conn, refusal)]
        connection = Connection(conn, peer, network)
        self._connections[conn] = connection
        self._peers.setdefault(peer, Peer()).connections += 1
        if network:
            self._sources[network] = self._sources.get(network, 0) + 1
        self._deadlines.set(connection, now_ms + self._limits.first_message_ms)
        return []

    def received(self, conn: int, message: RelayMessage, now_ms: int) -> list[Effect]:
        """A message arrived on `conn`."""
        connection = self._connections.get(conn)
        if connection is None or isinstance(connection.state, Tunnel):
            return []
        if connection.state is None:
            match message:
                case Listen():
                    return self._listen(connection, now_ms)
                case Connect(target):
                    return self._connect(connection, target, now_ms)
                case Accept(tunnel_id):
                    return self._accept(connection, tunnel_id)
                case Listening() | Incoming() | Reject() | Established():
                    pass
                case _:
                    assert_never(message)
        elif isinstance(connection.state, Listener) and isinstance(message, Reject):
            return self._reject(connection.state, message.tunnel_id)
        return self._refuse(connection, Refusal.PROTOCOL)

    def malformed(self, conn: int) -> list[Effect]:
        """Something arrived on `conn` that is no relay message, or tunnel bytes before a tunnel."""
        connection = self._connections.get(conn)
        if connection is None or isinstance(connection.state, Tunnel):
            return []
        return self._refuse(connection, Refusal.PROTOCOL)

    def pong(self, conn: int) -> list[Effect]:
        """The `Probe` of `conn` was answered: two devices use one key, and the first one stays."""
        connection = self._connections.get(conn)
        if connection is None or not isinstance(connection.state, Listener):
            return []
        candidate = connection.state.candidate
        return [] if candidate is None else self._refuse(candidate, Refusal.DUPLICATE)

    def closed(self, conn: int) -> list[Effect]:
        """`conn` ended, whoever ended it."""
        connection = self._connections.get(conn)
        return [] if connection is None else self._forget(connection)

    def deadline_ms(self) -> int | None:
        """When `on_deadline` wants to be called; may lie in the past. None: no need."""
        return self._deadlines.first_ms()

    def on_deadline(self, now_ms: int) -> list[Effect]:
        """Do everything that is due."""
        effects: list[Effect] = []
        while (item := self._deadlines.take(now_ms)) is not None:
            if isinstance(item, Dial):
                effects += self._dial_ended(item)
            elif isinstance(item.state, Listener):
                effects += self._refuse(item, Refusal.REPLACED)
            else:
                effects += self._refuse(item, Refusal.SILENT)
        return effects

    # what the operator wants

    def recheck_allowed(self) -> list[Effect]:
        """The list of allowed keys changed: close whoever is no longer on it, tunnels too."""
        if self._allowed is None:
            return []
        effects: list[Effect] = []
        for connection in list(self._connections.values()):
            if not self._allowed(connection.peer):
                effects += self._refuse(connection, Refusal.NOT_ALLOWED)
        return effects

    def shut_down(self) -> list[Effect]:
        """Close everything, tunnels too; whoever comes later is told the same."""
        self._is_stopped = True
        effects: list[Effect] = [self._answer(conn, Refusal.SHUTDOWN) for conn in self._connections]
        self._connections.clear()
        self._listeners.clear()
        self._peers.clear()
        self._sources.clear()
        self._tunnels = 0
        self._deadlines = Deadlines()
        return effects

    def stats(self) -> RelayStats:
        """Numbers for the operator; visits every listener, so ask now and then, not per event."""
        return RelayStats(
            connections=len(self._connections),
            listeners=len(self._listeners),
            half_tunnels=sum(listener.half_tunnels for listener in self._listeners.values()),
            tunnels=self._tunnels,
            connects=self._connects,
            established=self._established,
            refusals=tuple(self._refusals.items()),
        )

    # listening

    def _listen(self, connection: Connection, now_ms: int) -> list[Effect]:
        listener = self._listeners.get(connection.peer)
        if listener is None:
            if len(self._listeners) >= self._limits.listeners_max:
                return self._refuse(connection, Refusal.LISTENERS)
            self._deadlines.clear(connection)
            listener = self._listeners[connection.peer] = Listener(connection)
            return self._put_in_charge(listener, connection)
        self._deadlines.clear(connection)
        older, listener.candidate = listener.candidate, connection
        connection.state = Candidate(listener)
        if older is None:
            self._deadlines.set(listener.connection, now_ms + self._limits.probe_ms)
            return [Probe(listener.connection.conn)]
        # The same node came again while the probe runs; its newest connection is the likely one.
        return self._refuse(older, Refusal.REPLACED)

    def _put_in_charge(self, listener: Listener, connection: Connection) -> list[Effect]:
        """Make `connection` the one that listens; half tunnels of a predecessor become its own."""
        listener.connection, listener.candidate = connection, None
        connection.state = listener
        tunnels_max = min(self._limits.tunnels_per_listener_max, _U16_MAX)
        effects: list[Effect] = [
            Send(connection.conn, Listening(tunnels_max, min(self._limits.idle_hint_s, _U16_MAX)))
        ]
        for tunnel_id, dial in listener.announced.items():
            if dial.connection is not None:
                effects.append(Send(connection.conn, Incoming(tunnel_id, dial.connection.peer)))
        return effects

    def _reject(self, listener: Listener, tunnel_id: Uid) -> list[Effect]:
        dial = self._answered(listener, tunnel_id)
        if dial is not None:  # else it expired or the dialer left while the answer was under way
            self._hold(dial, Refusal.REJECTED)
        return []

    def _answered(self, listener: Listener, tunnel_id: Uid) -> Dial | None:
        """Strike an announcement off; its dial if the dialer is still there."""
        dial = listener.announced.pop(tunnel_id, None)
        if dial is None:
            return None
        self._deadlines.clear(dial)
        dial.tunnel_id = None
        if dial.connection is None:
            return None
        listener.half_tunnels -= 1
        return dial

    # dialling

    def _connect(self, connection: Connection, target: PublicKey, now_ms: int) -> list[Effect]:
        self._connects += 1
        if not (
            self._key_rate.take(connection.peer, now_ms)
            and self._source_rate.take(connection.source, now_ms)
        ):
            return self._refuse(connection, Refusal.CONNECT_RATE)
        effects: list[Effect] = []
        dials = self._peers[connection.peer].dials
        older = next((dial for dial in dials if dial.target == target), None)
        if older is not None and older.connection is not None:
            effects += self._refuse(older.connection, Refusal.REPLACED)
        listener = self._listeners.get(target)
        if len(dials) >= self._limits.dials_per_key_max:
            return effects + self._refuse(connection, Refusal.DIALS)
        if listener is not None and self._is_full(listener):
            return effects + self._refuse(connection, Refusal.LISTENER_FULL)
        self._deadlines.clear(connection)
        dial = Dial(connection, target, now_ms, Refusal.UNANSWERED)
        connection.state = dial
        dials.append(dial)
        if listener is None:
            self._hold(dial, Refusal.ABSENT)
            return effects
        return [*effects, self._announce(listener, dial, connection.peer)]

    def _is_full(self, listener: Listener) -> bool:
        limits = self._limits
        tunnels = self._peers[listener.connection.peer].tunnels
        return (
            listener.half_tunnels >= limits.half_tunnels_per_listener_max
            or len(listener.announced) >= limits.unanswered_per_listener_max
            or tunnels + listener.half_tunnels >= limits.tunnels_per_listener_max
        )

    def _announce(self, listener: Listener, dial: Dial, dialer: PublicKey) -> Effect:
        tunnel_id = Uid.of(self._random(_TUNNEL_ID_BYTES))
        invariant(tunnel_id not in listener.announced, "tunnel ids are random")
        dial.tunnel_id = tunnel_id
        listener.announced[tunnel_id] = dial
        listener.half_tunnels += 1
        self._deadlines.set(dial, dial.since_ms + self._limits.half_tunnel_ms)
        return Send(listener.connection.conn, Incoming(tunnel_id, dialer))

    def _hold(self, dial: Dial, why: Refusal) -> None:
        dial.why = why
        self._deadlines.set(dial, dial.since_ms + self._limits.hold_ms)

    def _dial_ended(self, dial: Dial) -> list[Effect]:
        """Nobody took it in time; refuse the dialer if it is still there."""
        if dial.tunnel_id is not None:
            self._answered(self._listeners[dial.target], dial.tunnel_id)
        return [] if dial.connection is None else self._refuse(dial.connection, dial.why)

    def _accept(self, connection: Connection, tunnel_id: Uid) -> list[Effect]:
        listener = self._listeners.get(connection.peer)
        dial = None if listener is None else self._answered(listener, tunnel_id)
        if dial is None or dial.connection is None:
            return self._refuse(connection, Refusal.TUNNEL_UNKNOWN)
        dialer = dial.connection
        self._deadlines.clear(connection)
        self._peers[dialer.peer].dials.remove(dial)
        self._peers[connection.peer].tunnels += 1
        dialer.state = connection.state = Tunnel(connection.peer)
        self._tunnels += 1
        self._established += 1
        return [
            Send(dialer.conn, Established()),
            Send(connection.conn, Established()),
            Splice(dialer.conn, connection.conn, tunnel_id),
        ]

    # refusing and forgetting

    def _admission(self, peer: PublicKey, network: str) -> Refusal | None:
        limits = self._limits
        known = self._peers.get(peer)
        if self._is_stopped:
            return Refusal.SHUTDOWN
        if self._allowed is not None and not self._allowed(peer):
            return Refusal.NOT_ALLOWED
        if len(self._connections) >= limits.connections_max:
            return Refusal.CONNECTIONS
        if self._sources.get(network, 0) >= limits.connections_per_source_max:
            return Refusal.SOURCE_CONNECTIONS
        if known is not None and known.connections >= limits.connections_per_key_max:
            return Refusal.KEY_CONNECTIONS
        return None

    def _answer(self, conn: int, refusal: Refusal) -> Close:
        self._refusals[refusal] += 1
        code, reason = ANSWERS[refusal]
        return Close(conn, code, reason)

    def _refuse(self, connection: Connection, refusal: Refusal) -> list[Effect]:
        return [self._answer(connection.conn, refusal), *self._forget(connection)]

    def _forget(self, connection: Connection) -> list[Effect]:
        """Take `connection` out of every table; the effects concern others."""
        del self._connections[connection.conn]
        self._deadlines.clear(connection)
        if connection.source:
            self._sources[connection.source] -= 1
            if not self._sources[connection.source]:
                del self._sources[connection.source]
        effects = self._leave(connection)
        self._peers[connection.peer].connections -= 1
        self._forget_idle_peer(connection.peer)
        return effects

    def _leave(self, connection: Connection) -> list[Effect]:
        match connection.state:
            case None:
                pass
            case Listener() as listener:
                return self._listener_left(listener)
            case Candidate(listener):
                # Also when a newer candidate has just taken its place: then the probe goes on.
                if listener.candidate is connection:
                    listener.candidate = None
                    self._deadlines.clear(listener.connection)
            case Dial() as dial:
                self._dialer_left(connection, dial)
            case Tunnel() as tunnel:
                tunnel.open_ends -= 1
                if not tunnel.open_ends:
                    self._tunnels -= 1
                    self._peers[tunnel.acceptor].tunnels -= 1
                    self._forget_idle_peer(tunnel.acceptor)
            case _:
                assert_never(connection.state)
        return []

    def _listener_left(self, listener: Listener) -> list[Effect]:
        if listener.candidate is not None:
            return self._put_in_charge(listener, listener.candidate)
        del self._listeners[listener.connection.peer]
        for tunnel_id in list(listener.announced):
            dial = self._answered(listener, tunnel_id)
            if dial is not None:
                self._hold(dial, Refusal.ABSENT)
        return []

    def _dialer_left(self, connection: Connection, dial: Dial) -> None:
        self._peers[connection.peer].dials.remove(dial)
        dial.connection = None
        if dial.tunnel_id is None:
            self._deadlines.clear(dial)
        else:
            self._listeners[dial.target].half_tunnels -= 1

    def _forget_idle_peer(self, key: PublicKey) -> None:
        peer = self._peers[key]
        if not peer.connections and not peer.tunnels:
            del self._peers[key]
