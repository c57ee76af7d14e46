"""Handing an artifact over: as text, as a file, as a QR code. Copying over SSH is a hope, so it is never the only way.

Source: tui.md §10; apps.md §5 (Share).
"""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from offset_engine import files
from offset_engine.disk import expanded
from offset_engine.errors import OffsetError
from offset_engine.files import Content
from offset_engine.text import safe
from offset_tui.dialogs.base import Ask
from offset_tui.keymap import pick

TEXT_COLUMNS = 64


class ShareScreen(ModalScreen[str | None]):
    """The text itself, full screen without borders so that a terminal can select it, and the other ways."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("share.close", "share.copy", "share.file", "share.qr", "share.give")
    ]

    def __init__(self, content: Content, caption: str, after: str = "") -> None:
        super().__init__()
        self.content_shared = content
        self._caption, self._after = caption, after
        self.text = files.to_text(content)

    def compose(self) -> ComposeResult:
        """Caption, text, keys, what to do next."""
        with Vertical(id="share"):
            yield Static(Text(safe(self._caption, 200), "bold"), id="share-caption")
            yield Static(self._wrapped(), id="share-text")
            yield Static(
                Text(f"y copy · f write to a file · v QR code · {self._give_words()}q back", "dim"),
                id="share-keys",
            )
            yield Static(Text(self._after), id="share-after")
            yield Static("", id="share-flash", markup=False)

    def _give_words(self) -> str:
        door = getattr(self.app, "door", None)
        return "m give to a neighbour · " if door is not None and door.chat is not None else ""

    def _wrapped(self) -> Text:
        """Lines of 64: whoever reads it ignores white space."""
        parts = [self.text[at : at + TEXT_COLUMNS] for at in range(0, len(self.text), TEXT_COLUMNS)]
        return Text("\n".join(parts), no_wrap=True)

    def _say(self, text: str) -> None:
        self.query_one("#share-flash", Static).update(Text(safe(text, 300)))

    def action_close(self) -> None:
        """Done."""
        self.dismiss(None)

    def action_copy(self) -> None:
        """OSC 52: the terminal decides."""
        self.app.copy_to_clipboard(self.text)
        self._say("sent to your terminal; if nothing pastes, select the text above or press f")

    def action_file(self) -> None:
        """Ask where to."""
        name = files.file_name(self.content_shared, "", "")
        self.app.push_screen(
            Ask("Write to a file", "Path of the new file:", str(Path.home() / name), length=1024),
            self._write,
        )

    def _write(self, typed: str | None) -> None:
        if not typed:
            return
        try:
            path = expanded(typed)
            files.write(path, self.content_shared)
        except OffsetError as problem:
            self._say(str(problem))
        else:
            self._say(f"written to {path}")

    @work
    async def action_give(self) -> None:
        """To a neighbour: the village's way to hand texts over."""
        from offset_tui.app import OffsetApp  # noqa: PLC0415 - the app knows this screen
        from offset_tui.demo.chat import hand_over  # noqa: PLC0415 - only in the practice village

        app = self.app
        if not isinstance(app, OffsetApp) or app.door.chat is None:
            return
        name = await hand_over(app, self.content_shared)
        if name is not None:
            self.given(name)

    def given(self, name: str) -> None:
        """Somebody has it."""
        self.dismiss(name)

    def action_qr(self) -> None:
        """As a QR code."""
        from offset_tui.dialogs.qr import QrScreen  # noqa: PLC0415 - drawn only when asked for

        self.app.push_screen(QrScreen(self.content_shared, caption=self._caption))
