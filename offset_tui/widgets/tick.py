"""On or off, told by a sign and not by a colour: `[x]` and `[ ]`.

Textual's own box shows an X in both states and changes only its colour. Source: tui.md §0 rule 7, §12.
"""

from textual.content import Content
from textual.widgets import Checkbox


class Tick(Checkbox):
    """See the module."""

    @property
    def _button(self) -> Content:
        style = self.get_visual_style("toggle--button")
        return Content.styled("[x]" if self.value else "[ ]", style)
