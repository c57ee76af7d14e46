"""The same app over the practice village, with the chat and the tour beside it.

The tour is a panel, never in the way: every key works from the first paint, Escape hides it, `t` shows it.
Source: issue of the app, "Practice village".
"""

from collections.abc import Iterable
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.binding import BindingType
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from offset_tui.app import OffsetApp
from offset_tui.demo.chat import ChatScreen
from offset_tui.demo.tour import STEPS, Facts, Tour
from offset_tui.dialogs.base import Confirm
from offset_tui.keymap import pick

_WELCOME: Final = (
    "You are Eve. Bob bakes, Charli makes chocolate, Daniel repairs cars."
    " Nothing leaves this computer."
)


class TourPanel(Static):
    """What to do next."""

    def __init__(self) -> None:
        super().__init__(classes="tour", markup=False)

    def on_mount(self) -> None:
        """What is known already; and again whenever another screen is shown."""
        self._draw()
        self.app.screen_change_signal.subscribe(self, self._draw)

    def _draw(self, _screen: object = None) -> None:
        app = self.app
        if isinstance(app, DemoApp):
            app.draw_tour(self)


class DemoApp(OffsetApp):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [*pick("village.chat", "village.tour", "village.hide")]
    tour: Tour

    def __init__(self, *args: object, **more: object) -> None:
        self.tour = Tour()
        super().__init__(*args, **more)  # type: ignore[arg-type]

    def banner(self) -> Iterable[Widget]:
        """The tour above every section."""
        yield TourPanel()

    def show_everywhere(self) -> None:
        """Go on with the tour, and draw."""
        self._tour_on()
        super().show_everywhere()
        for panel in self.screen.query(TourPanel):
            self.draw_tour(panel)

    def _tour_on(self) -> None:
        chat = self.door.chat
        if chat is None or not self.has_session:
            return
        if hasattr(chat, "on_change"):
            chat.on_change = self.show_everywhere
        facts = Facts(self.session.snapshot.pays, chat.lines, chat.name_of)
        self.tour.look(facts, chat)

    def draw_tour(self, panel: TourPanel) -> None:
        """Write the present stop."""
        step = self.tour.step
        panel.display = self.tour.is_shown
        if step is None:
            panel.update(Text(f"{_WELCOME}\nThe village is waking up ..."))
            return
        shown = Text()
        shown.append(f"Tour {self.tour.number + 1}/{len(STEPS)}: {step.title}", "bold")
        shown.append("   Esc hides, t shows\n", "dim")
        shown.append(step.words)
        panel.update(shown)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape hides the tour on a section only; elsewhere, and while typing, it means what it always does."""
        if action == "hide_tour":
            is_typing = isinstance(self.focused, Input | TextArea)
            return self.tour.is_shown and len(self.screen_stack) == 1 and not is_typing
        return super().check_action(action, parameters)

    def action_hide_tour(self) -> None:
        """Put the tour away."""
        self.tour.is_shown = False
        self.show_everywhere()

    @work(group="leave", exclusive=True)
    async def action_leave(self) -> None:
        """The village ends with the app, so there is no going offline or staying to choose."""
        question = "The village ends with the app. Leave it?"
        if await self.push_screen_wait(Confirm("Leave", question, "Leave", "y")):
            self.exit()

    def action_tour(self) -> None:
        """Show or hide it."""
        self.tour.is_shown = not self.tour.is_shown
        self.show_everywhere()

    def action_chat(self) -> None:
        """Open the chat, or close it where it is open."""
        if isinstance(self.screen, ChatScreen):
            self.screen.dismiss()
        elif self.door.chat is not None:
            self.push_screen(ChatScreen(self.door.chat))
