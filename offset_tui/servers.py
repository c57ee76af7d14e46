"""What the screens say about relays and index servers: rows, states, and how to get some. Pure.

Source: apps.md §5 S34, S35; RMP-18; issue of the app, "First run".
"""

from dataclasses import dataclass
from typing import Final

from offset_engine.client import (
    AddIndexServer,
    AddRelay,
    Command,
    NamedAddress,
    NodeReport,
    RelayAddress,
    RemoveIndexServer,
    RemoveRelay,
    ServerReport,
    ServerState,
)
from offset_engine.files import Role, Servers, Ticket
from offset_engine.introducing import use_servers
from offset_engine.sentences import SERVER_STATES
from offset_engine.text import fingerprint, safe

WHAT_THEY_SEE: Final = (
    "A relay passes sealed messages on: it sees your card's key, your network address and when you are"
    " online. An index server sees how much could pass between you and your friends, to find ways. Neither"
    " sees names, and neither can touch money."
)
THREE_WAYS: Final = (
    (
        "On this computer",
        "For the cards on it: to try things out, or several people on one host.",
        "offset serve --address 127.0.0.1:3000   (or run them in this card)",
    ),
    (
        "On this network (LAN)",
        "For a household, an office, a club: one computer serves for all.",
        "offset serve --address 192.168.1.20:3000   (that computer's address)",
    ),
    (
        "On a host both can reach",
        "For friends anywhere: a small rented host, or one with an open port.",
        "offset serve --address offset.example.org:3000",
    ),
)
"""(where, for whom, the command) of each way to have servers of one's own."""


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One relay or index server as it is listed."""

    is_relay: bool
    place: NamedAddress
    state: ServerState
    trouble: str
    """What went wrong last, safe to show; "" = nothing."""
    friends: int
    """Friends reached through the same relay; 0 for an index server."""
    latency_ms: int | None = None
    """How long it takes to answer, about; None = not connected, or not known yet."""

    @property
    def kind(self) -> str:
        """`relay` or `index`."""
        return "relay" if self.is_relay else "index"

    @property
    def key(self) -> str:
        """Names the row for ever."""
        return f"{self.kind} {self.place.public_key.to_text()}"

    @property
    def label(self) -> str:
        """Name and key, for questions."""
        name = safe(self.place.name, 24).strip()
        return f"{name} · {fingerprint(self.place.public_key)}".removeprefix(" · ")


def rows(report: NodeReport) -> tuple[ServerRow, ...]:
    """Relays, then index servers, as they are configured."""
    states = report.connections
    return (
        *_rows(True, report.relays, states.relays, report),
        *_rows(False, report.index_servers, states.index_servers, report),
    )


def _rows(
    is_relay: bool,  # noqa: FBT001 - told apart by nothing else
    places: tuple[NamedAddress, ...],
    states: tuple[ServerReport, ...],
    report: NodeReport,
) -> list[ServerRow]:
    known = {one.public_key: one for one in states}
    found: list[ServerRow] = []
    for place in places:
        one = known.get(place.public_key)
        state = ServerState.IDLE if one is None else one.state
        trouble = "" if one is None else safe(one.trouble, 255)
        relay = place.relay
        users = sum(1 for friend in report.friends if relay in friend.remote_relays)
        latency_ms = None if one is None else one.latency_ms
        friends = users if is_relay else 0
        found.append(ServerRow(is_relay, place, state, trouble, friends, latency_ms))
    return found


def state_words(state: ServerState) -> tuple[str, str]:
    """(words, style) of a state."""
    style = {
        ServerState.CONNECTED: "green",
        ServerState.CONNECTING: "yellow",
        ServerState.WAITING: "bold yellow",
        ServerState.REFUSED: "bold red",
        ServerState.IDLE: "dim",
    }[state]
    return SERVER_STATES[state], style


def latency_words(row: ServerRow) -> str:
    """`12 ms`; "" where there is nothing to say."""
    if row.latency_ms is None:
        return ""
    return "under 1 ms" if row.latency_ms == 0 else f"{row.latency_ms} ms"


def why_kept(row: ServerRow, report: NodeReport) -> str:
    """Why a server cannot be removed now; "" if it can."""
    if row.is_relay and len(report.relays) == 1 and report.friends:
        return (
            "this is the only relay: without one your friends could not reach you any more;"
            " add another first (n)"
        )
    return ""


def removal(row: ServerRow) -> Command:
    """The command that removes it."""
    kind = RemoveRelay if row.is_relay else RemoveIndexServer
    return kind(row.place.public_key)


def own_servers(report: NodeReport) -> Servers | None:
    """The first relay and the first index server, to hand on; None if one is missing."""
    if not (report.relays and report.index_servers):
        return None
    index = report.index_servers[0]
    return Servers(report.relays[0].relay, RelayAddress(index.public_key, index.address))


def additions(
    report: NodeReport,
    places: tuple[tuple[RelayAddress, bool, bool], ...],
    name: str,
) -> tuple[Command, ...]:
    """Commands that add servers, given as `roles` gives them; none for what is there already.

    Raises:
        IntroductionError: an address cannot be dialled.
    """
    found: list[Command] = []
    for place, is_relay, is_index in places:
        kinds = (*((AddRelay,) if is_relay else ()), *((AddIndexServer,) if is_index else ()))
        both = use_servers(report, Servers(place, place), name)
        found += [one for one in both if isinstance(one, kinds)]
    return tuple(found)


def roles(content: Servers | Ticket) -> tuple[tuple[RelayAddress, bool, bool], ...]:
    """(place, is a relay, is an index server) of what was pasted; a ticket that does not say is both."""
    if isinstance(content, Servers):
        if content.relay == content.index:
            return ((content.relay, True, True),)
        return ((content.relay, True, False), (content.index, False, True))
    place = RelayAddress(content.public_key, content.address)
    return ((place, content.role is not Role.INDEX, content.role is not Role.RELAY),)


def served_sentence(text_address: str) -> str:
    """What Network says of the servers this card runs."""
    return (
        f"This card runs a relay and an index server for others at {safe(text_address, 60)}."
        " y hands out their text, w stops them."
    )


def words_of(content: Servers | Ticket) -> str:
    """A pasted text in a line or two: addresses and keys."""
    return "\n".join(place_words(*one) for one in roles(content))


def place_words(place: RelayAddress, is_relay: bool, is_index: bool) -> str:  # noqa: FBT001 - as in `roles`
    """`relay 127.0.0.1:3000 · wjsd-2zwg`."""
    what = _roles(is_relay=is_relay, is_index=is_index)
    return f"{what} {safe(place.address, 40)} · {fingerprint(place.public_key)}"


def _roles(*, is_relay: bool, is_index: bool) -> str:
    if is_relay and is_index:
        return "relay and index server"
    return "relay" if is_relay else "index server"
