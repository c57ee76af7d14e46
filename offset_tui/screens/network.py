"""Network: where friends reach this card, who finds routes for it, and what it serves itself.

Source: apps.md §5 S34, S35; RMP-18; tui.md §9.
"""

from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine.client import Batch, Reconnect, ServerState
from offset_engine.errors import OffsetError
from offset_engine.files import Servers, parse
from offset_engine.text import fingerprint, safe
from offset_tui import servers
from offset_tui.dialogs.add_server import AddServerDialog
from offset_tui.dialogs.auto_servers import use_known
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.qr import QrScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import CardKind
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.servers import ServerRow
from offset_tui.session import Snapshot
from offset_tui.widgets.facts import plain
from offset_tui.widgets.plain import plain as plain_signs
from offset_tui.widgets.table import Column, KeyedTable, Row

_COLUMNS: Final = (
    Column("Kind"),
    Column("Name", rank=1),
    Column("State"),
    Column("Address"),
    Column("Answers in", "right", rank=2),
    Column("Key", rank=3),
    Column("Friends there", "right", rank=4),
)


class NetworkScreen(CardScreen):
    """See the module."""

    SECTION = "network"
    TOPIC = "network"
    AUTO_FOCUS = "KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick(
            "list.new",
            "list.remove",
            "network.reconnect",
            "network.auto",
            "list.copy",
            "list.qr",
            "network.run",
            "network.ways",
        )
    ]

    def body(self) -> ComposeResult:
        """What is served here, the list, more on the row under the cursor, or how to begin."""
        yield Static(id="served", markup=False)
        yield KeyedTable(id="servers")
        yield Static(id="server-detail", markup=False)
        yield Static(id="network-empty", classes="empty", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw the servers."""
        found = servers.rows(snapshot.report)
        is_ascii = self.host.options.is_ascii
        serving = self.session.settings.serve_address
        served = self.query_one("#served", Static)
        served.display = bool(serving)
        served.update(Text(servers.served_sentence(serving)))
        table = self.query_one(KeyedTable)
        table.display = bool(found)
        table.fill(_COLUMNS, [_row(one) for one in found])
        empty = self.query_one("#network-empty", Static)
        missing = _missing(found)
        empty.display = bool(missing)
        empty.update(plain_text(missing, is_ascii=is_ascii))
        self._show_detail()

    def on_data_table_row_highlighted(self) -> None:
        """Another row, other details."""
        self._show_detail()

    def _show_detail(self) -> None:
        row = self._current()
        shown = Text()
        if row is not None:
            words, style = servers.state_words(row.state)
            shown.append(f"{row.kind} {row.label}: ", "bold")
            shown.append(words, style)
            latency = servers.latency_words(row)
            if latency:
                shown.append(f", answers in {latency}")
            if row.is_relay:
                shown.append(f", {row.friends} friend{'' if row.friends == 1 else 's'} there")
            if row.trouble and row.state is not ServerState.CONNECTED:
                shown.append(f"\nlast error: {row.trouble}")
            shown.append(f"\n{row.place.public_key.to_text()}\n", "dim")
            shown.append(_advice(row), "dim")
        detail = self.query_one("#server-detail", Static)
        detail.update(plain_signs(shown, is_ascii=self.host.options.is_ascii))
        detail.display = row is not None

    def _current(self) -> ServerRow | None:
        key = self.query_one(KeyedTable).current_key
        found = servers.rows(self.session.snapshot.report)
        return next((one for one in found if one.key == key), None)

    # --- adding and removing --------------------------------------------------------------------

    @work(group="servers")
    async def action_new(self) -> None:
        """Paste or type a server."""
        if not self.may_change():
            return
        commands = await self.host.push_screen_wait(AddServerDialog(self.session.snapshot.report))
        if commands is None:
            return
        if not commands:
            self.flash("this card uses it already")
            return
        await self.do(self.session.client.command(Batch(commands)), "added; connecting now")

    @work(group="servers")
    async def action_auto(self) -> None:
        """Servers of this computer's list."""
        await use_known(self)

    @work(group="servers")
    async def action_remove(self) -> None:
        """Remove the row under the cursor."""
        row = self._current()
        if row is None or not self.may_change():
            return
        kept = servers.why_kept(row, self.session.snapshot.report)
        if kept:
            self.flash(kept, is_error=True)
            return
        question = f"Stop using the {row.kind} {row.label} at {safe(row.place.address, 40)}?\n"
        question += (
            "Your friends are told where else they reach you."
            if row.is_relay
            else "Without an index server no route beyond your friends can be found."
        )
        if await self.host.push_screen_wait(Confirm(f"Remove {row.kind}", question, "Remove", "x")):
            await self.do(self.session.client.command(servers.removal(row)), "removed")

    @work(group="servers", exclusive=True)
    async def action_reconnect(self) -> None:
        """Wait no longer: the network is back, or somebody started their server again."""
        await self.do(self.session.client.command(Reconnect()), "trying everything again now")

    # --- handing on -----------------------------------------------------------------------------

    def _to_share(self) -> Servers | None:
        text = self.session.card.servers_text
        if text:
            return parse(text, Servers)
        found = servers.own_servers(self.session.snapshot.report)
        if found is None:
            self.flash("a servers text names a relay and an index server: n adds what is missing")
        return found

    def action_copy(self) -> None:
        """Share the servers text."""
        content = self._to_share()
        if content is not None:
            self.host.push_screen(share_servers(content))

    def action_qr(self) -> None:
        """The same as a QR code."""
        content = self._to_share()
        if content is not None:
            self.host.push_screen(QrScreen(content, caption="Servers: a relay and an index server"))

    # --- own servers ----------------------------------------------------------------------------

    def action_ways(self) -> None:
        """Explain the three ways."""
        from offset_tui.screens.connect import ConnectScreen  # noqa: PLC0415 - drawn only then

        self.host.push_screen(ConnectScreen("ways"))

    @work(group="servers")
    async def action_run_servers(self) -> None:
        """Run servers in this card, or stop them."""
        if not self.may_change():
            return
        if self.session.card.kind is CardKind.REMOTE:
            self.flash("this card runs elsewhere: servers are run there", is_error=True)
            return
        if not self.session.settings.serve_address:
            from offset_tui.screens.connect import ConnectScreen  # noqa: PLC0415 - drawn only then

            self.host.push_screen(ConnectScreen("run"))
            return
        question = (
            "Stop the relay and the index server of this card? Whoever uses them cannot be reached there"
            " any more, also you: remove them from the list afterwards. The card starts anew."
        )
        if await self.host.push_screen_wait(Confirm("Stop servers", question, "Stop", "w")):
            is_done, card = await self.do(self.host.door.stop_servers(self.session.name))
            if is_done and card is not None:
                await self.host.use_card(card, goes_home=False)
                await self._reread("this card serves nobody any more")

    async def _reread(self, done: str) -> None:
        try:
            await self.session.read_settings()
        except OffsetError as problem:
            self.flash(str(problem), is_error=True)
            return
        self.refresh_view()
        self.flash(done)


def share_servers(content: Servers) -> ShareScreen:
    """The screen that hands servers on."""
    return ShareScreen(
        content,
        "Servers: a relay and an index server",
        "Whoever pastes it (ctrl+o) can use both. Nothing in it is secret.",
    )


def _row(row: ServerRow) -> Row:
    words, style = servers.state_words(row.state)
    return Row(
        row.key,
        (
            row.kind,
            safe(row.place.name, 20),
            Text(words, style),
            safe(row.place.address, 48),
            servers.latency_words(row),
            fingerprint(row.place.public_key),
            str(row.friends) if row.is_relay else "",
        ),
    )


def _advice(row: ServerRow) -> str:
    match row.state:
        case ServerState.WAITING:
            return "The card tries again by itself; r tries now. If it stays like this, ask whoever runs it."
        case ServerState.REFUSED:
            return "Another device with this card's key is there, or it serves only some people."
        case ServerState.IDLE if not row.is_relay:
            return "Kept in reserve: another index server answers."
        case _:
            return ""


def _missing(found: tuple[ServerRow, ...]) -> str:
    has_relay = any(one.is_relay for one in found)
    has_index = any(not one.is_relay for one in found)
    if has_relay and has_index:
        return ""
    if found:
        what = "relay: friends cannot reach you" if not has_relay else "index server: no routes"
        return f"This card has no {what}. n adds one · i explains how to get one."
    ways = "\n\n".join(
        f"{number}. {where}\n   {whom}\n   {command}"
        for number, (where, whom, command) in enumerate(servers.THREE_WAYS, 1)
    )
    return (
        "No servers yet. A card needs a relay, where friends reach it, and an index server, which finds"
        " routes.\n\nn  adds those somebody gave you\nw  runs your own in this card\n\n" + ways
    )


def plain_text(words: str, *, is_ascii: bool) -> Text:
    """Our own words, with plain signs where wanted."""
    return Text(plain(words, is_ascii=is_ascii))
