"""What an index server wants done: the outputs of `index` and `federation`, done in order by their driver.

Nodes and other servers share one numbering of connections.
"""

from typing import TypeAlias

from offset_engine.core.link import CloseCode
from offset_engine.core.messages import IndexServerMessage
from offset_engine.core.values import value


@value
class Send:
    """Send `message` to the node on `conn`; a newer TIME_HASH replaces an unsent one."""

    conn: int
    message: IndexServerMessage


@value
class Close:
    """Say why, then close `conn`; the server has already forgotten it."""

    conn: int
    code: CloseCode
    reason: str


@value
class PeerReady:
    """Something waits for the server on `conn`: take it, while there is room, with `next_message`."""

    conn: int


@value
class PausePeer:
    """Read nothing more from the server on `conn` until `ResumePeer`: it costs too much."""

    conn: int


@value
class ResumePeer:
    """Read from the server on `conn` again."""

    conn: int


Effect: TypeAlias = Send | Close | PeerReady | PausePeer | ResumePeer
