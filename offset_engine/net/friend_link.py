"""A link to a friend as the node sees it: its handle, what the node is told, how it looks to people."""

from typing import Final, Protocol

from offset_engine.core.link import CloseCode
from offset_engine.core.values import PublicKey, RelayAddress, value
from offset_engine.net.relay_listeners import RelayStatus
from offset_engine.net.transport import Connection

TEXTS: Final = {
    CloseCode.NOT_AUTHORIZED: "not a friend on their side",
    CloseCode.VERSION: "incompatible version",
    CloseCode.SHUTDOWN: "the other side is shutting down",
    CloseCode.REPLACED: "replaced by a newer link",
    CloseCode.DUPLICATE: "the other side kept an older link",
}
"""What the friend's code means, for people."""


class PeerCallbacks(Protocol):
    """What the node wants to know; synchronous, quick, on the node's loop; must not raise."""

    def link_adopted(self, friend: PublicKey, link_id: int) -> None:
        """This is the link from now on: the first, one after an absence, or a replacement."""

    def friend_offline(self, friend: PublicKey) -> None:
        """No link for longer than the grace."""

    def message(self, friend: PublicKey, link_id: int, payload: bytes) -> None:
        """A message of purpose 2, undecoded, from the adopted link."""

    def link_writable(self, friend: PublicKey, link_id: int) -> None:
        """Everything sent on the adopted link has left."""

    def peers_changed(self) -> None:
        """The status is another one."""


@value
class FriendStatus:
    """How a friend is reached, for people."""

    friend: PublicKey
    is_up: bool
    relay: RelayAddress | None
    """Through which the link passes."""
    is_dialed: bool | None
    """Whether this side made the link."""
    since_ms: int
    """Monotonic; when the link came up or went."""
    last_error: str
    is_dialing: bool
    next_attempt_ms: int | None
    """Monotonic."""
    not_dialed: tuple[RelayAddress, ...]
    """Relays of the friend this node refuses to dial (design R41)."""


@value
class PeersStatus:
    """Everything about relays and links, for reports."""

    relays: tuple[RelayStatus, ...]
    friends: tuple[FriendStatus, ...]


class FriendLink:
    """A link to a friend; `Peers.link_of` gives the adopted one."""

    __slots__ = ("_closed_here", "connection", "friend", "link_id", "relay")

    def __init__(
        self, link_id: int, friend: PublicKey, relay: RelayAddress, connection: Connection
    ) -> None:
        """Wrap a connection that is up."""
        self.link_id = link_id
        self.friend = friend
        self.relay = relay
        self.connection = connection
        self._closed_here = False

    @property
    def is_writable(self) -> bool:
        """Nothing sent before is still waiting here, and the link lives."""
        return self.connection.ended is None and self.connection.buffered_bytes == 0

    def send_nowait(self, payload: bytes) -> None:
        """Send one message; dropped if the link has ended."""
        self.connection.send_nowait(payload)

    def close(self, code: CloseCode = CloseCode.NORMAL, reason: str = "") -> None:
        """End the link, telling the friend why."""
        if self.connection.ended is None:
            self._closed_here = True
            self.connection.close(code, reason)

    async def wait_closed(self) -> tuple[CloseCode | None, str]:
        """Wait for the end: the code the *friend* gave, or None, and a sentence."""
        end = await self.connection.wait_closed()
        code = end.code if end.clean and not self._closed_here else None
        if code is not None:
            return code, TEXTS.get(code, f"closed by the friend: {end.reason}")
        return None, "closed here" if self._closed_here else "the connection was lost"
