"""What can happen to the links of one friend, and what is then to be done: the words of `friend_links`.

A *wish* comes from this node, *news* from the network, a `Tick` from the clock. News name the link or the
attempt they are about, so that late ones cannot be mistaken for news about its successor.
"""

from typing import TypeAlias

from offset_engine.core.link import CloseCode
from offset_engine.core.values import RelayAddress, value

# --- events -------------------------------------------------------------------------------------


@value
class RelaysChanged:
    """The friend's list, or what this node may dial of it, is another one."""

    relays: tuple[RelayAddress, ...]


@value
class Retry:
    """The user, a local change or a returned network asks to forget all waiting."""


@value
class Heard:
    """The friend or its relay gave a sign of life: an announcement, or the relay listens again."""


@value
class Woke:
    """The machine slept: what looks alive must prove it."""


@value
class Dialed:
    """An attempt of this node made a link."""

    attempt_id: int
    link_id: int
    relay: RelayAddress


@value
class DialFailed:
    """An attempt ended without a link."""

    attempt_id: int
    code: CloseCode | None
    """What the other end said, if anything."""
    problem: str


@value
class Arrived:
    """The friend made a link to this node."""

    link_id: int
    relay: RelayAddress


@value
class Closed:
    """A link ended."""

    link_id: int
    code: CloseCode | None
    """What the *other* end said; None if this node closed it or it broke off."""
    problem: str


@value
class Answered:
    """A link answered the question of `Probe`."""

    link_id: int


@value
class BackOff:
    """Leave this friend alone for a while."""

    pause_ms: int


@value
class Tick:
    """The time of `deadline_ms` has come."""


Wish: TypeAlias = RelaysChanged | Retry | Heard | Woke | BackOff
News: TypeAlias = Dialed | DialFailed | Arrived | Closed | Answered
LinkEvent: TypeAlias = Wish | News | Tick


# --- effects ------------------------------------------------------------------------------------


@value
class Attempt:
    """A dial that is under way."""

    attempt_id: int
    relays: tuple[RelayAddress, ...]


@value
class Dial:
    """Try these relays, in this order of preference; make at most one link."""

    attempt: Attempt


@value
class CancelDial:
    """Nobody waits for this attempt any more."""

    attempt_id: int


@value
class Adopt:
    """This is the link to the friend from now on."""

    link_id: int


@value
class Probe:
    """Ask the link whether it is alive."""

    link_id: int


@value
class Close:
    """Close this link."""

    link_id: int
    code: CloseCode


@value
class Offline:
    """The friend is gone for longer than the grace."""


LinkEffect: TypeAlias = Dial | CancelDial | Adopt | Probe | Close | Offline
