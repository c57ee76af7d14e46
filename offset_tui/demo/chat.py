"""The village chat: read what neighbours send, use it, and hand them your texts.

Enter on a message with an invoice or commit opens its review, exactly as a paste would.
Source: issue of the app, "Practice village".
"""

from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine import files
from offset_engine.errors import FileError
from offset_engine.files import Invoice
from offset_engine.text import money_text, safe
from offset_tui.dialogs.base import Ask, Notice
from offset_tui.dialogs.pick import Pick
from offset_tui.doors import ChatLine, VillageChat
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.session import Session, Snapshot
from offset_tui.widgets.table import Column, KeyedTable, Row

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp

_COLUMNS: Final = (Column("From"), Column("With it"), Column("Message"))
_HELP: Final = (
    "Enter opens what came with a message · n writes to somebody · b asks somebody to sell"
)
_OTHER_CELLS: Final = 38
"""What the other columns need."""


class ChatScreen(CardScreen):
    """See the module."""

    SECTION = ""
    TOPIC = "village"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("chat.write", "chat.buy", "chat.copy")]

    def __init__(self, chat: VillageChat) -> None:
        super().__init__()
        self._chat = chat
        self._seen = 0

    def body(self) -> ComposeResult:
        """What to do, and the messages."""
        yield Static(Text(f" Village chat. {_HELP}", "dim"), id="chat-head")
        yield KeyedTable(id="chat")

    def show(self, snapshot: Snapshot) -> None:
        """Draw; the cursor goes to a new message that something came with."""
        lines = self._chat.lines
        table = self.query_one(KeyedTable)
        table.fill(_COLUMNS, [self._row(line) for line in lines])
        newest = next((one for one in reversed(lines) if one.artifact), None)
        if newest is not None and newest.number > self._seen and newest.sender != self._chat.you:
            self._seen = newest.number
            table.select(str(newest.number))

    def _row(self, line: ChatLine) -> Row:
        who = "you" if line.sender == self._chat.you else safe(line.sender, 24)
        return Row(
            str(line.number),
            (who, Text(_words_of(line.artifact, self.session), "bold"), self._message(line)),
        )

    def _message(self, line: ChatLine) -> str:
        """What was said, as much as there is room for; Enter shows the rest."""
        room = max(20, self.app.size.width - _OTHER_CELLS)
        if line.sender != self._chat.you:
            return safe(line.text, room)
        return safe(f"(to {line.recipient}) {line.text}", room).strip()

    def _current(self) -> ChatLine | None:
        key = self.query_one(KeyedTable).current_key
        return next((one for one in self._chat.lines if str(one.number) == key), None)

    def on_data_table_row_selected(self) -> None:
        """Use what came with the message."""
        line = self._current()
        if line is None:
            return
        if line.artifact and line.sender != self._chat.you:
            self.host.take_text(line.artifact)
        else:
            self.app.push_screen(
                Notice(f"{line.sender} to {line.recipient}", safe(line.text, 2_000))
            )

    def action_copy(self) -> None:
        """To the clipboard, as far as the terminal lets us."""
        line = self._current()
        if line is not None and (line.artifact or line.text):
            self.app.copy_to_clipboard(line.artifact or line.text)
            self.flash("sent to your terminal's clipboard")

    async def _neighbour(self, title: str) -> str | None:
        names = [(name, safe(name, 40)) for name in self._chat.names]
        return await self.app.push_screen_wait(Pick(title, "", names))

    @work
    async def action_write(self) -> None:
        """Write to somebody."""
        name = await self._neighbour("Write to")
        if name is None:
            return
        text = await self.app.push_screen_wait(
            Ask(f"To {safe(name, 40)}", "Your message or text:", length=8_000)
        )
        if text:
            self._chat.send(name, text)

    @work
    async def action_buy(self) -> None:
        """Ask for an invoice."""
        name = await self._neighbour("Who shall sell you something?")
        if name is not None:
            self._chat.offer(name)


def _words_of(artifact: str, session: Session) -> str:
    """What came with a message, in few words."""
    if not artifact:
        return ""
    try:
        content = files.read_any(artifact)[0].content
    except FileError:
        return "text"
    kind = files.kind_of_content(content).value
    if isinstance(content, Invoice):
        decimals = session.decimals(content.currency)
        return f"{kind} {money_text(content.total_dest_payment, content.currency, decimals)}"
    return kind


async def hand_over(app: "OffsetApp", content: files.Content) -> str | None:
    """Give an artifact to a neighbour: a commit to its seller, anything else to whoever is chosen.

    Returns:
        Who got it; None if nobody.
    """
    chat = app.door.chat
    if chat is None:
        return None
    name = _seller(app.session, chat, content)
    if name is None:
        names = [(one, safe(one, 40)) for one in chat.names]
        name = await app.push_screen_wait(Pick("Give it to", "", names))
    if name is not None:
        chat.send(name, files.to_text(content))
    return name


def _seller(session: Session, chat: VillageChat, content: files.Content) -> str | None:
    if not isinstance(content, files.Commit):
        return None
    for pay in session.snapshot.pays:
        if pay.invoice.invoice_id == content.invoice_id:
            return chat.name_of(pay.invoice.dest_public_key)
    return None
