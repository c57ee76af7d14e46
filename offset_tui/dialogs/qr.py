"""An artifact as QR codes over the whole screen, for a telephone held before it.

The code gets all rows; what there is to say stands to its right, or goes if the code needs the room. The
number of codes decides first, then whether there is room for words.

Source: tui.md §11.4, §11.5.
"""

from typing import ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content as Shown
from textual.screen import ModalScreen
from textual.widgets import Static

from offset_engine.files import Content
from offset_engine.text import safe
from offset_tui.keymap import pick
from offset_tui.qr.fit import Plan, Unfit, fit_content, fit_text
from offset_tui.qr.widget import QrWidget

WORDS_COLUMNS: Final = 24
"""What the words beside the code get at least."""
_LINE_CELLS_MAX: Final = 400


class QrScreen(ModalScreen[None]):
    """A QR code, its caption and its keys."""

    DEFAULT_CSS: ClassVar[str] = """
    QrScreen { background: $background; align: left top; }
    QrScreen #qr-row { width: 1fr; height: 1fr; }
    QrScreen #qr-words { width: 1fr; height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    QrScreen #qr-words Static { height: auto; }
    QrScreen #qr-caption { text-style: bold; margin-bottom: 1; }
    QrScreen #qr-part, QrScreen #qr-keys { margin-bottom: 1; }
    QrScreen.-bare #qr-words { display: none; }
    QrScreen.-unfit QrWidget { display: none; }
    QrScreen ToastHolder, QrScreen Toast { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("qr.close", "qr.pause", "qr.before", "qr.next", "qr.words", "qr.invert")
    ]

    def __init__(
        self, content: Content | str, caption: str = "", *, is_ascii: bool | None = None
    ) -> None:
        """Prepare the screen.

        Args:
            content: what is shown: an artifact, or any text that is one already.
            caption: what it is, in plain text: the amount and for whom.
            is_ascii: coloured spaces instead of block characters; None = as the app says.
        """
        super().__init__()
        self._content = content
        self._caption = caption
        self._is_ascii = is_ascii
        self._wants_words: bool | None = None
        """None: as there is room."""

    def compose(self) -> ComposeResult:
        """The code, and words."""
        with Horizontal(id="qr-row"), VerticalScroll(id="qr-words"):
            yield Static(_lines(self._caption), id="qr-caption")
            yield Static("", id="qr-part", markup=False)
            yield Static("", id="qr-keys", markup=False)
            yield Static("", id="qr-standing", markup=False)

    async def on_mount(self) -> None:
        """Draw it."""
        await self._fit()

    async def on_resize(self, _event: events.Resize) -> None:
        """Another window, another plan."""
        await self._fit()

    @property
    def widget(self) -> QrWidget | None:
        """What draws the code; None if nothing fits."""
        found = self.query(QrWidget)
        return found.first() if found and not self.has_class("-unfit") else None

    @on(QrWidget.Turned)
    def say_part(self) -> None:
        """Tell which part is shown."""
        qr = self.widget
        if qr is None or len(qr.plan.codes) == 1:
            text = ""
        else:
            paused = ", paused" if qr.is_paused else ""
            text = f"part {qr.part + 1}/{len(qr.plan.codes)}{paused}"
        self._say("#qr-part", text)

    def action_close(self) -> None:
        """Back to where it was opened."""
        # Not awaited: a screen cannot wait for its own end.
        _ = self.dismiss()

    def action_pause(self) -> None:
        """Stop turning, or go on."""
        if self.widget is not None:
            self.widget.toggle_pause()

    def action_step(self, parts: int) -> None:
        """Turn by hand."""
        if self.widget is not None:
            self.widget.step(parts)

    def action_invert(self) -> None:
        """Swap what is drawn with characters."""
        if self.widget is not None:
            self.widget.invert()

    async def action_words(self) -> None:
        """The code alone, or words: beside it, or instead of it where both have no room."""
        self._wants_words = self.has_class("-bare")
        await self._fit()

    async def show_words(self) -> None:
        """Words, whether or not there is room for the code beside them."""
        self._wants_words = True
        await self._fit()

    # --- layout -------------------------------------------------------------------------------

    async def _fit(self) -> None:
        width, height = self.app.size
        beside = self._plan(height, width - WORDS_COLUMNS)
        bare = self._plan(height, width)
        if self._wants_words is None:
            plan, is_bare = _better(beside, bare)
        elif self._wants_words:
            plan, is_bare = beside, False
        else:
            plan, is_bare = bare, isinstance(bare, Plan)
        self.set_class(is_bare, "-bare")
        self.set_class(isinstance(plan, Unfit), "-unfit")
        if isinstance(plan, Plan):
            await self._draw(plan)
            self._say("#qr-keys", _keys(plan, is_ascii=self._ascii))
        elif isinstance(bare, Plan):
            self._say("#qr-keys", "t  the code alone\nq  back")
        else:
            self._say("#qr-keys", f"QR code: {plan.sentence}.\n\nq  back")
        self.say_part()

    def _plan(self, height: int, width: int) -> Plan | Unfit:
        if isinstance(self._content, str):
            return fit_text(self._content, height, width, is_ascii=self._ascii)
        return fit_content(self._content, height, width, is_ascii=self._ascii)

    @property
    def _ascii(self) -> bool:
        if self._is_ascii is not None:
            return self._is_ascii
        return bool(getattr(getattr(self.app, "options", None), "is_ascii", False))

    async def _draw(self, plan: Plan) -> None:
        found = self.query(QrWidget)
        if found:
            found.first().show(plan)
        else:
            await self.query_one("#qr-row").mount(QrWidget(plan), before=0)

    def _say(self, where: str, text: str) -> None:
        self.query_one(where, Static).update(Shown(text))


def _better(beside: Plan | Unfit, bare: Plan | Unfit) -> tuple[Plan | Unfit, bool]:
    """The plan with fewer codes, with words if it makes no difference; and whether it has none."""
    if not isinstance(bare, Plan):
        return bare, False
    if isinstance(beside, Plan) and len(beside.codes) <= len(bare.codes):
        return beside, False
    return bare, True


def _keys(plan: Plan, *, is_ascii: bool) -> str:
    lines = []
    if len(plan.codes) > 1:
        arrows = "< >" if is_ascii else "← →"
        lines = ["space  pause, go on", f"{arrows}  part by part"]
    return "\n".join([*lines, "t  the code alone", "i  if nothing reads it", "q  back"])


def _lines(caption: str) -> Shown:
    lines = (safe(line, _LINE_CELLS_MAX) for line in caption.splitlines())
    return Shown("\n".join(lines))
