"""Where a friend can be reached, and which of those addresses this card does not dial.

Source: apps.md §5 S30 (R relays); design R41.
"""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from offset_engine.client import PublicKey, RelayAddress, dial_filter
from offset_engine.text import fingerprint
from offset_tui import people, state
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot


class FriendRelaysScreen(CardScreen):
    """See the module."""

    SECTION = "friends"
    TOPIC = "friends"
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, key: PublicKey) -> None:
        super().__init__()
        self.key = key

    def body(self) -> ComposeResult:
        """The addresses."""
        with VerticalScroll():
            yield Static(id="friend-head", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw them."""
        self.query_one("#friend-head", Static).update(self.legible(self._words(snapshot)))

    def _words(self, snapshot: Snapshot) -> Text:
        friend = snapshot.friend(self.key)
        if friend is None:
            return Text("This friend is no longer on this card. q goes back.")
        name = state.friend_names(snapshot.report)[self.key]
        shown = Text.assemble((f"Relays of {name} · {fingerprint(self.key)}\n\n", "bold"))
        if not friend.remote_relays:
            shown.append(
                f"None is known, so this card cannot call {name}; {name}'s card can still call you."
            )
        own = snapshot.report
        servers = tuple(one.address for one in (*own.relays, *own.index_servers))
        may_dial = dial_filter(servers, servers)
        ours = {one.public_key for one in own.relays}
        for relay in friend.remote_relays:
            shown.append(f"{people.server_words(relay.address)}", "bold")
            shown.append(f"   key {fingerprint(relay.public_key)}\n")
            shown.append(f"   {_note(relay, ours, is_dialled=may_dial(relay.address))}\n")
        shown.append(
            f"\n{name}'s card tells yours when these change. If it cannot, ask {name} for a new friend"
            " card and open it (c): you see old and new before anything changes."
        )
        return shown


def _note(relay: RelayAddress, ours: set[PublicKey], *, is_dialled: bool) -> str:
    if relay.public_key in ours:
        return "used; it is one of your relays too"
    if is_dialled:
        return "used"
    return (
        "kept, but not dialled: it lies in a private network that none of your servers is in."
        " It is dialled only after you yourself opened a card or invite that names it"
    )
