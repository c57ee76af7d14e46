"""One other index server: its link, its numbers, and what its messages cost to read.

Source: PROTOCOL.md, "Index servers: federation".
"""

from typing import Final

from offset_engine.core.index_limits import Recent
from offset_engine.core.messages import AliveNodes, Forward, IndexPeerMessage, PeerInfo
from offset_engine.core.peer_outbox import PeerOutbox, size_of
from offset_engine.core.values import HashResult, PublicKey, value

_MESSAGE_WORK: Final = 8
"""What any message costs, in edges read."""


@value
class PeerStats:
    """Numbers about one trusted server, for the operator; all but the first five count since the start."""

    server: PublicKey
    is_up: bool
    nodes_brought: int
    """Nodes whose last update came from it."""
    nodes_held: int
    """What it says it holds."""
    edges_held: int
    accepted: int
    copies: int
    """Updates we had already: the price of more than one way."""
    refused: int
    """Stale, or beyond a limit."""
    faults: int
    """What no honest server passes on."""


class Tally:
    """What came from one trusted server since the start, over all its links."""

    __slots__ = ("accepted", "copies", "faults", "refused")

    def __init__(self) -> None:
        """Nothing yet."""
        self.accepted = self.copies = self.refused = self.faults = 0


class Peer:
    """The link to one server."""

    __slots__ = (
        "asked",
        "conn",
        "faults",
        "hash_due_ms",
        "info",
        "is_preferred",
        "key",
        "newest",
        "outbox",
        "resume_ms",
    )

    def __init__(
        self, conn: int, key: PublicKey, outbox: PeerOutbox, asked: Recent, hash_due_ms: int
    ) -> None:
        """A link that is new; its first tick must come before `hash_due_ms`."""
        self.conn = conn
        self.key = key
        self.outbox = outbox
        self.asked = asked
        """Nodes it was asked for."""
        self.is_preferred = False
        """Dialled by the side that is preferred."""
        self.newest: HashResult | None = None
        """Its newest tick."""
        self.hash_due_ms = hash_due_ms
        self.resume_ms: int | None = None
        """When it will be read again; None if it is."""
        self.info = PeerInfo(0, 0)
        self.faults = 0


def work_of(message: IndexPeerMessage) -> int:
    """What reading it costs, in edges."""
    if isinstance(message, Forward):
        return _MESSAGE_WORK + size_of(message)
    if isinstance(message, AliveNodes):
        return _MESSAGE_WORK + len(message.nodes) // 4
    return _MESSAGE_WORK
