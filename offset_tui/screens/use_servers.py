"""A relay and an index server somebody offers: look at them, and use them.

Source: apps.md §5 S34–S36; design R41; issue of the app, "First run".
"""

from rich.text import Text
from textual.app import ComposeResult

from offset_engine.client import AddIndexServer, AddRelay, Batch, Command, RelayAddress
from offset_engine.errors import OffsetError
from offset_engine.files import Role, Servers, Ticket
from offset_engine.introducing import use_servers
from offset_engine.text import fingerprint
from offset_tui import people
from offset_tui.screens.form import FieldError, FormScreen, field_row
from offset_tui.widgets.inputs import LineInput
from offset_tui.widgets.tick import Tick


class ServersScreen(FormScreen):
    """See the module."""

    SECTION = "network"
    TOPIC = "network"
    VERB = "Use them"

    def __init__(self, servers: Servers | Ticket) -> None:
        super().__init__()
        if isinstance(servers, Ticket):
            place = RelayAddress(servers.public_key, servers.address)
            self._role = servers.role
            servers = Servers(place, place)
        else:
            self._role = Role.ANY
        self.servers = servers

    def head(self) -> Text:
        """Where they are, and what one has already."""
        relay, index = self.servers.relay, self.servers.index
        shown = Text.assemble(("Servers somebody offers you\n", "bold underline"))
        if relay == index:
            shown.append(f"\n{people.server_words(relay.address)}", "bold")
            shown.append(f"   key {fingerprint(relay.public_key)}\n")
        else:
            for word, place in (("relay", relay), ("index server", index)):
                shown.append(f"\n{word}: ")
                shown.append(people.server_words(place.address), "bold")
                shown.append(f"   key {fingerprint(place.public_key)}")
            shown.append("\n")
        shown.append(
            "\nA relay lets friends reach this card; an index server finds ways for payments. Neither"
            " can take money: they see when you are online and with whom you exchange"
            " sealed messages, and the index server sees how much could pass between you and"
            " each friend.\n"
        )
        report = self.session.snapshot.report
        if report.relays or report.index_servers:
            shown.append(
                f"\nYou have {_count(len(report.relays), 'relay')} and"
                f" {_count(len(report.index_servers), 'index server')} already; these are added to"
                " them, and your friends are told.",
                "bold",
            )
        return shown

    def blocked(self) -> str:
        """Nothing new in it."""
        try:
            found = use_servers(self.session.snapshot.report, self.servers, "x")
        except OffsetError as problem:
            return str(problem)
        if not self._wanted(found, relay=True, index=True):
            return "You use these already: nothing to do. q goes back."
        return ""

    def fields(self) -> ComposeResult:
        """What to call them, and what to use."""
        host = self.servers.relay.address.rpartition(":")[0]
        name = LineInput(people.typable(host), id="name", max_length=64)
        yield field_row("What you call them", name)
        is_relay, is_index = self._role is not Role.INDEX, self._role is not Role.RELAY
        yield Tick("use the relay: friends can reach you there", value=is_relay, id="relay")
        yield Tick("use the index server: it finds routes", value=is_index, id="index")

    def _wanted(
        self, found: tuple[Command, ...], *, relay: bool, index: bool
    ) -> tuple[Command, ...]:
        return tuple(
            one
            for one in found
            if (relay and isinstance(one, AddRelay)) or (index and isinstance(one, AddIndexServer))
        )

    async def submit(self) -> None:
        """Add them."""
        name = self.text("name")
        if not name:
            raise FieldError("name", "required: any name you remember them by")
        report = self.session.snapshot.report
        try:
            found = use_servers(report, self.servers, name)
        except OffsetError as problem:
            self.flash(str(problem), is_error=True)
            return
        wanted = self._wanted(found, relay=self.is_on("relay"), index=self.is_on("index"))
        if not wanted:
            raise FieldError("name", "choose the relay, the index server or both")
        done, _ = await self.do(self.session.client.command(Batch(wanted)))
        if done:
            is_first = not report.friends
            self.close()
            self.host.tell(
                "connecting to the servers" + ("; n invites somebody" if is_first else "")
            )


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
