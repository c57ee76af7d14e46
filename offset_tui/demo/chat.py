"""The village chat: read what neighbours send, use it, and hand them your texts.

The list shows the beginning of each message; the one under the cursor stands below it as a whole, and `o` opens
it full screen, where it can be scrolled, copied and kept. Enter on a message with an invoice or commit opens its
review, exactly as a paste would.
Source: issue of the app, "Practice village".
"""

from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from offset_engine import files
from offset_engine.errors import FileError
from offset_engine.files import Invoice
from offset_engine.text import money_text, safe
from offset_tui.dialogs.base import Ask
from offset_tui.dialogs.pick import Pick
from offset_tui.dialogs.share_text import TextShareScreen
from offset_tui.doors import ChatLine, VillageChat
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.session import Session, Snapshot
from offset_tui.widgets.table import Column, KeyedTable, Row

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp

_COLUMNS: Final = (Column("From"), Column("With it"), Column("Message"))
_HELP: Final = "Enter uses what came with a message · o reads it in full"
_TEXT_CELLS: Final = 20_000
"""More than the longest message."""
_OTHER_CELLS: Final = 38
"""What the other columns need."""


class ChatScreen(CardScreen):
    """See the module."""

    SECTION = ""
    TOPIC = "village"
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("chat.read", "chat.write", "chat.buy", "chat.copy")
    ]

    def __init__(self, chat: VillageChat) -> None:
        super().__init__()
        self._chat = chat
        self._seen = 0

    def body(self) -> ComposeResult:
        """What to do, the messages, and the one under the cursor as a whole."""
        yield Static(self.legible(Text(f" Village chat. {_HELP}", "dim")), id="chat-head")
        yield KeyedTable(id="chat")
        with VerticalScroll(id="chat-scroll", can_focus=False):
            yield Static(id="chat-message", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw; the cursor goes to a new message that something came with."""
        lines = self._chat.lines
        table = self.query_one(KeyedTable)
        table.fill(_COLUMNS, [self._row(line) for line in lines])
        newest = next((one for one in reversed(lines) if one.artifact), None)
        if newest is not None and newest.number > self._seen and newest.sender != self._chat.you:
            self._seen = newest.number
            table.select(str(newest.number))
        self._show_message()

    def on_data_table_row_highlighted(self) -> None:
        """Another message."""
        self._show_message()

    def _show_message(self) -> None:
        line = self._current()
        shown = Text()
        if line is not None:
            shown.append(f"{self._caption(line)}\n", "bold")
            shown.append(_lines(line.text))
        self.query_one("#chat-message", Static).update(shown)
        self.query_one("#chat-scroll").display = line is not None

    def _caption(self, line: ChatLine) -> str:
        came = _words_of(line.artifact, self.session)
        names = [self._who(one) for one in (line.sender, line.recipient)]
        return f"{' to '.join(names)}{', with it: ' if came else ''}{came}"

    def _who(self, name: str) -> str:
        return "you" if name == self._chat.you else safe(name, 24)

    def _row(self, line: ChatLine) -> Row:
        who = self._who(line.sender)
        return Row(
            str(line.number),
            (who, Text(_words_of(line.artifact, self.session), "bold"), self._message(line)),
        )

    def _message(self, line: ChatLine) -> str:
        """What was said, as much as there is room for in a row."""
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
            self._open(line)

    def action_read(self) -> None:
        """The whole message full screen, with the text that came with it."""
        line = self._current()
        if line is not None:
            self._open(line)

    def _open(self, line: ChatLine) -> None:
        text = _lines(line.text) + (f"\n\n{_lines(line.artifact)}" if line.artifact else "")
        name = f"message-{line.number}.txt"
        self.app.push_screen(TextShareScreen(text.strip() + "\n", self._caption(line), name))

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


def _lines(text: str) -> str:
    """Every line of a foreign text made safe."""
    return "\n".join(safe(one, _TEXT_CELLS) for one in text.split("\n"))


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
