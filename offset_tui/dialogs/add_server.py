"""Adding a relay or an index server: paste what somebody gave you, or type address and key.

Source: apps.md §5 S34, S36; tui.md §7.
"""

from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Button, Static

from offset_engine.client import NAME_BYTES_MAX, Command, NodeReport, PublicKey, RelayAddress
from offset_engine.errors import OffsetError
from offset_engine.files import Servers, Ticket
from offset_engine.text import fingerprint, safe
from offset_tui import servers
from offset_tui.dialogs.base import Dialog
from offset_tui.dialogs.importing import read_text_or_path
from offset_tui.keymap import pick
from offset_tui.widgets.inputs import LineInput, PasteArea, PasteRefused, Problem
from offset_tui.widgets.tick import Tick

_WHAT: Final = "Paste a servers text or a ticket, or type a file's path. Or type address and key."


class AddServerDialog(Dialog[tuple[Command, ...] | None]):
    """See the module."""

    IS_ARMED_LATE: ClassVar[bool] = False
    FIRST: ClassVar[str] = "#paste"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("dialog.leave")]

    def __init__(self, report: NodeReport) -> None:
        super().__init__("Add a server")
        self._report = report
        self._pasted: Servers | Ticket | None = None

    def content(self) -> ComposeResult:
        """The box, the fields, and what it means to use a server."""
        yield Static(Text(_WHAT))
        yield PasteArea(id="paste")
        yield Static(id="found", markup=False)
        yield LineInput(id="address", placeholder="address, like host.example.org:3000")
        yield LineInput(id="key", placeholder="public key, 43 characters")
        yield LineInput(id="name", placeholder="what you call it (optional)", max_length=40)
        yield Tick(Text("relay: friends reach you there"), True, id="relay", compact=True)
        yield Tick(Text("index server: finds routes"), True, id="index", compact=True)
        yield Problem(id="problem")
        yield Static(Text(servers.WHAT_THEY_SEE, "dim"))

    def answers(self) -> ComposeResult:
        """Cancel and Add."""
        yield Button("Cancel", id="cancel", compact=True)
        yield Button("Add", id="add", variant="primary", compact=True)

    def on_text_area_changed(self) -> None:
        """Say what was pasted as soon as it is whole."""
        self._pasted = None
        text = self.query_one(PasteArea).text
        problem = ""
        if text.strip():
            try:
                self._pasted = _servers_in(text)
            except OffsetError as error:
                problem = safe(str(error), 300)
        found = self.query_one("#found", Static)
        words = "" if self._pasted is None else servers.words_of(self._pasted)
        found.update(Text(words, "green"))
        self.query_one(Problem).say(problem)
        if self._pasted is not None:
            for place, is_relay, is_index in servers.roles(self._pasted)[:1]:
                both = isinstance(self._pasted, Servers)
                self.query_one("#relay", Tick).value = is_relay or both
                self.query_one("#index", Tick).value = is_index or both
                self.query_one("#address", LineInput).placeholder = safe(place.address, 60)
                self.query_one("#key", LineInput).placeholder = fingerprint(place.public_key)
            self.query_one("#add", Button).focus()

    def on_paste_refused(self, event: PasteRefused) -> None:
        """Too long."""
        self.query_one(Problem).say(event.reason)

    def on_input_submitted(self) -> None:
        """Enter in a field."""
        self.answered("add")

    def answered(self, button: str) -> None:
        """Give the commands back, or say what is wrong."""
        try:
            self.dismiss(self._commands())
        except OffsetError as problem:
            self.query_one(Problem).say(safe(str(problem), 300))

    def _commands(self) -> tuple[Command, ...]:
        """What adds them; nothing if they are there already.

        Raises:
            OffsetError: they cannot be used; the sentence says why.
        """
        wants_relay = self.query_one("#relay", Tick).value
        wants_index = self.query_one("#index", Tick).value
        if not (wants_relay or wants_index):
            raise OffsetError("choose relay, index server or both")
        name = self.query_one("#name", LineInput).value.strip()
        if len(name.encode()) > NAME_BYTES_MAX:
            raise OffsetError("this name is too long")
        if self._pasted is None:
            found: tuple[tuple[RelayAddress, bool, bool], ...] = ((self._typed(), True, True),)
        else:
            found = servers.roles(self._pasted)
        places = tuple(
            (place, is_relay and wants_relay, is_index and wants_index)
            for place, is_relay, is_index in found
        )
        return servers.additions(self._report, places, name)

    def _typed(self) -> RelayAddress:
        """Address and key as typed.

        Raises:
            OffsetError: one is missing or cannot be read.
        """
        address = self.query_one("#address", LineInput).value.strip()
        key = self.query_one("#key", LineInput).value.strip()
        if not (address and key):
            raise OffsetError("paste a text, or type both address and key")
        try:
            return RelayAddress(PublicKey.from_text(key), address)
        except ValueError:
            raise OffsetError(
                "the key cannot be read: it has 43 letters, digits, - and _"
            ) from None


def _servers_in(text: str) -> Servers | Ticket:
    """The servers a text or a file holds.

    Raises:
        OffsetError: it holds none.
    """
    for one in read_text_or_path(text):
        if isinstance(one.content, Servers | Ticket):
            return one.content
    raise OffsetError("this is no servers text and no ticket of a relay or index server")
