"""What a relay remembers about its connections, and the heap of their deadlines.

These records are mutable and belong to one `Relay`; nobody else holds them.
"""

import dataclasses
import heapq
from typing import TypeAlias

from offset_engine.core.relay_limits import Refusal
from offset_engine.core.values import PublicKey, Uid


@dataclasses.dataclass(slots=True, eq=False)
class Connection:
    """One authenticated connection."""

    conn: int
    peer: PublicKey
    source: str
    """Network the limits count it under; empty if exempt."""
    state: "State" = None
    timer: int = 0
    """Until the first message; for a listener, until its probe has failed. 0: not set."""


@dataclasses.dataclass(slots=True, eq=False)
class Dial:
    """One CONNECT: announced while it has a `tunnel_id`, else held until its answer is due."""

    connection: Connection | None
    """None after the dialer left."""
    target: PublicKey
    since_ms: int
    why: Refusal
    """What it will be refused for when its timer fires."""
    tunnel_id: Uid | None = None
    timer: int = 0


@dataclasses.dataclass(slots=True, eq=False)
class Listener:
    """A key that can be reached here, and the announcements it has not answered."""

    connection: Connection
    candidate: Connection | None = None
    """Takes over if `connection` fails its probe."""
    announced: dict[Uid, Dial] = dataclasses.field(default_factory=dict)
    half_tunnels: int = 0
    """Those of `announced` whose dialer is still there."""


@dataclasses.dataclass(slots=True, eq=False)
class Candidate:
    """Wants to listen for a key whose listener is being probed."""

    listener: Listener


@dataclasses.dataclass(slots=True, eq=False)
class Tunnel:
    """Two spliced connections; both have this as their state."""

    acceptor: PublicKey
    open_ends: int = 2


State: TypeAlias = Listener | Candidate | Dial | Tunnel | None
"""None: fresh."""


@dataclasses.dataclass(slots=True, eq=False)
class Peer:
    """What one key uses."""

    connections: int = 0
    tunnels: int = 0
    """As acceptor; they outlive the listener, so that it cannot gain more by listening anew."""
    dials: list[Dial] = dataclasses.field(default_factory=list)


class Deadlines:
    """A heap of (at_ms, ticket, item); an entry counts only while the item holds its ticket."""

    def __init__(self) -> None:
        """Start empty."""
        self._heap: list[tuple[int, int, Connection | Dial]] = []
        self._tickets = 0
        self._live = 0

    def set(self, item: Connection | Dial, at_ms: int) -> None:
        """Give `item` this deadline instead of any other."""
        self.clear(item)
        self._tickets += 1
        self._live += 1
        item.timer = self._tickets
        heapq.heappush(self._heap, (at_ms, self._tickets, item))

    def clear(self, item: Connection | Dial) -> None:
        """Take the deadline of `item` away, if it has one."""
        if item.timer:
            item.timer = 0
            self._live -= 1
            # Connections that come and go quickly must not pile up dead entries.
            if len(self._heap) > 2 * self._live + 64:
                self._heap = [entry for entry in self._heap if entry[2].timer == entry[1]]
                heapq.heapify(self._heap)

    def first_ms(self) -> int | None:
        """The earliest deadline."""
        while self._heap and self._heap[0][2].timer != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now_ms: int) -> Connection | Dial | None:
        """An item that is due, if any; it has no deadline any more."""
        first = self.first_ms()
        if first is None or first > now_ms:
            return None
        item = heapq.heappop(self._heap)[2]
        item.timer = 0
        self._live -= 1
        return item
