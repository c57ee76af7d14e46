"""What can happen to a node (events), what comes of it (effects), and the result of a step.

Source: design R20 to R32; PROTOCOL.md, "Node".
"""

from typing import TypeAlias

from offset_engine.core.api import Batch, Command, CommandFault, Notice
from offset_engine.core.messages import FriendMessage, RoutesRequest, RoutesResponse
from offset_engine.core.reports import Record
from offset_engine.core.route_memory import Place
from offset_engine.core.state import NodeState
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey, value

# --- events -------------------------------------------------------------------------------------


@value
class Started:
    """The first event after loading: nobody is online, whatever waits for a friend is cancelled."""


@value
class LinkAdopted:
    """A connection to this friend is now the one to use; the first or a replacement."""

    friend: PublicKey
    link_id: int


@value
class FriendOffline:
    """The friend has had no link for the grace time."""

    friend: PublicKey


@value
class MessageArrived:
    """A message over the link with this id."""

    friend: PublicKey
    link_id: int
    message: FriendMessage


@value
class UnreadableArrived:
    """Bytes over the link with this id that follow no protocol (design R23)."""

    friend: PublicKey
    link_id: int


@value
class CommandGiven:
    """A user's command; answered by `CommandDone` with the same number."""

    number: int
    command: Command | Batch


@value
class RoutesArrived:
    """An index server's checked answer to a question of ours."""

    response: RoutesResponse


@value
class Woken:
    """The deadline that `next_deadline_ms` named has come."""


Event: TypeAlias = (
    Started
    | LinkAdopted
    | FriendOffline
    | MessageArrived
    | UnreadableArrived
    | CommandGiven
    | RoutesArrived
    | Woken
)

# --- effects ------------------------------------------------------------------------------------


@value
class FriendDirty:
    """What should be sent to this friend may have changed: take `outgoing` when its link is free."""

    friend: PublicKey


@value
class CloseLink:
    """Close this link because the friend broke the protocol, and stay away for the back-off time."""

    friend: PublicKey
    link_id: int


@value
class ConnectionsChanged:
    """Relays, friends, or where to reach them changed: tell the link manager and the index client."""


@value
class ReconnectNow:
    """Somebody says that the network is back: wait no longer before the next attempt anywhere."""


@value
class CapacitiesChanged:
    """What we report to index servers may have changed: take `routing.edges`."""


@value
class AskRoutes:
    """Put this question to an index server; the answer comes as `RoutesArrived`."""

    request: RoutesRequest
    is_elsewhere: bool = False
    """Better at another index server than the one in use, if there is another."""


@value
class CommandDone:
    """Answer to a command: no fault = done."""

    number: int
    fault: CommandFault | None
    detail: str
    notices: tuple[Notice, ...]
    """Direct answers that only the asker gets."""


@value
class Notify:
    """Tell whoever listens."""

    notice: Notice


Effect: TypeAlias = (
    FriendDirty
    | CloseLink
    | ConnectionsChanged
    | ReconnectNow
    | CapacitiesChanged
    | AskRoutes
    | CommandDone
    | Notify
)


@value
class Touched:
    """Keys of everything a step may have changed, so that a save looks nowhere else."""

    friends: tuple[PublicKey, ...]
    payments: tuple[PaymentId, ...]
    intents: tuple[PaymentId, ...]
    invoices: tuple[InvoiceId, ...]
    settings: bool
    """Own relays or index servers."""
    penalties: tuple[Place, ...] = ()


@value
class Step:
    """What came of some events."""

    state: NodeState
    effects: tuple[Effect, ...]
    records: tuple[Record, ...]
    touched: Touched
