"""What the screens about one payment, invoice or proof share: a body that scrolls, and the owner's notes.

Source: tui.md §4, §9.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from offset_engine.client import Currency, HistoryKind, Record
from offset_engine.errors import OffsetError
from offset_engine.files import Content
from offset_engine.notebook import NOTE_BYTES_MAX
from offset_engine.text import iso_local, safe
from offset_tui.dialogs.base import Ask, Notice
from offset_tui.keymap import pick
from offset_tui.past import entries, write_bundle
from offset_tui.screens.base import CardScreen
from offset_tui.widgets.arming import Arming
from offset_tui.widgets.facts import bullet, facts, mark


class MoneyScreen(CardScreen):
    """A title, parts below each other, and room to scroll."""

    TOPIC = "pay"
    AUTO_FOCUS = "#money"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("money.up", "money.down")]
    PARTS: ClassVar[tuple[str, ...]] = ()
    """Ids of the parts, top to bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.arming = Arming()
        self._drawn: dict[str, str] = {}

    def body(self) -> ComposeResult:
        """The parts."""
        with VerticalScroll(id="money"):
            for part in self.PARTS:
                yield Static(id=part)

    @property
    def is_ascii(self) -> bool:
        """Plain characters only."""
        return self.host.options.is_ascii

    @property
    def now_ms(self) -> int:
        """UTC ms."""
        return self.session.clock()

    def decimals(self, currency: Currency) -> int:
        """Digits after the point on this card."""
        return self.session.decimals(currency)

    def action_scroll_to(self, lines: int) -> None:
        """Line by line, whatever has the focus."""
        self.query_one("#money", VerticalScroll).scroll_relative(y=lines, animate=False)

    def on_screen_resume(self) -> None:
        """Another section or a dialog was shown: keys meant for it must not answer here."""
        self.arming.again()

    async def _on_key(self, event: events.Key) -> None:
        self.arming.heard(event)
        await super()._on_key(event)

    async def is_pressed_alone(self, refused: str) -> bool:
        """Whether the key that acts came by itself; if it is the first of a paste, says what was not done."""
        if await self.arming.is_alone():
            return True
        self.flash(f"{refused} came together with other keys; press it alone")
        return False

    # --- drawing --------------------------------------------------------------------------------

    def put(self, part: str, shown: RenderableType | None) -> None:
        """Show a part; None or "" takes it away."""
        where = self.query_one(f"#{part}", Static)
        is_empty = shown is None or (isinstance(shown, Text) and not shown)
        where.display = not is_empty
        if shown is not None:
            where.update(shown)

    def head(self, words: str, style: str = "bold") -> Text:
        """Its first line."""
        return Text(safe(words, 400), style)

    def facts(self, rows: Iterable[tuple[str, Text | str]]) -> RenderableType:
        """Labels and values."""
        return facts(rows, is_ascii=self.is_ascii)

    def bullets(self, lines: Iterable[tuple[str, str, str]]) -> RenderableType | None:
        """(sign, words, style) per line; None without lines."""
        made = [bullet(sign, words, style, is_ascii=self.is_ascii) for sign, words, style in lines]
        return Group(*made) if made else None

    def verdict(self, title: str, because: str, *, is_good: bool) -> RenderableType:
        """A sign, one strong line and what is behind it."""
        sign = mark("done" if is_good else "failed", is_ascii=self.is_ascii)
        style = "bold green" if is_good else "bold red"
        return Group(Text(f"{sign} {title}", style), Text(because))

    # --- what several of them do ----------------------------------------------------------------

    async def past(self, kind: HistoryKind, pages: int = 1) -> list[Record]:
        """Records of a history, newest first.

        Raises:
            OffsetError: the node does not answer or may not tell.
        """
        found = await entries(self.session.client, kind, pages)
        return [one.record for one in found]

    async def ask_note(self, reference: str) -> None:
        """Write a private note about a payment or invoice."""
        book = self.session.notebook
        asked = Ask("Private note", "Nobody else sees it:", book.note(reference), length=300)
        note = await self.app.push_screen_wait(asked)
        if note is None:
            return
        text = note.strip()
        if len(text.encode()) > NOTE_BYTES_MAX:
            self.flash("this note is too long: 500 bytes are possible", is_error=True)
            return
        changed = self.session.notebook.with_note(reference, text)
        await self.do(self.session.save_notebook(changed), "note kept" if text else "note removed")
        self.refresh_view()

    def note_words(self, reference: str) -> str:
        """The note as shown, "" if there is none."""
        return safe(self.session.notebook.note(reference), 400)

    async def ask_bundle(self, contents: Iterable[Content], about: str, page: str) -> None:
        """Write several artifacts and a page that explains them into a folder."""
        typed = await self.app.push_screen_wait(
            Ask(
                "Export",
                "Folder for the files; it is made if it is missing:",
                str(Path.home() / "offset-receipts"),
                length=1024,
            )
        )
        if not typed:
            return
        day = iso_local(self.now_ms)[:10]
        try:
            folder, names = write_bundle(typed, tuple(contents), about, day, page)
        except (OffsetError, OSError) as problem:
            self.flash(f"not all files were written: {problem}", is_error=True)
            return
        self.app.push_screen(Notice("Written", "\n".join([f"{folder}:", *names])))
