"""What is left to set up, on Home until nothing is: Enter goes to the step under the cursor.

Source: apps.md §5 S2; issue of the app, "First run".
"""

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from offset_tui import checklist
from offset_tui.checklist import Item, Step
from offset_tui.widgets.facts import mark


class Checklist(Vertical):
    """Hidden once everything is done."""

    class Chosen(Message):
        """Enter on a step."""

        def __init__(self, step: Step) -> None:
            super().__init__()
            self.step = step

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[Item, ...] | None = None

    def compose(self) -> ComposeResult:
        """What is done in one line, then what is not."""
        yield Static(id="steps-done", markup=False)
        yield OptionList(id="steps", compact=True)

    def put(self, items: tuple[Item, ...], *, is_ascii: bool) -> None:
        """Show these steps; the cursor stays on its step."""
        if items == self._shown:
            return
        self._shown = items
        self.display = not checklist.is_complete(items)
        self.query_one("#steps-done", Static).update(_done(items, is_ascii=is_ascii))
        options = self.query_one(OptionList)
        at = options.highlighted or 0
        name = options.get_option_at_index(at).id if options.option_count else None
        options.clear_options()
        width = max(len(one.step.value) for one in items)
        options.add_options(
            Option(_left(one, width, is_ascii=is_ascii), id=one.step.name)
            for one in items
            if not one.is_done
        )
        left = [one.step.name for one in items if not one.is_done]
        if left:
            options.highlighted = left.index(name) if name in left else min(at, len(left) - 1)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Enter."""
        event.stop()
        self.post_message(self.Chosen(Step[event.option.id or Step.CARD.name]))


def _done(items: tuple[Item, ...], *, is_ascii: bool) -> Text:
    done = [one for one in items if one.is_done]
    sign = mark("done", is_ascii=is_ascii)
    shown = Text(f" Set-up: {len(done)} of {len(items)} done ", "bold")
    shown.append("  ".join(f"{sign} {one.step.value}" for one in done), "green")
    shown.append("   Enter goes on:", "dim")
    return shown


def _left(item: Item, width: int, *, is_ascii: bool) -> Text:
    shown = Text(f" {mark('to do', is_ascii=is_ascii)} ")
    shown.append(f"{item.step.value:<{width}}  ", "bold")
    shown.append(item.words)
    return shown
