"""The frame of every screen: sections above; below what is going on, what just happened, and the keys.

Source: tui.md §3 (two widgets docked to one edge overlap, so the lower ones share a container), §4.
"""

from collections.abc import Callable, Sequence
from typing import Final

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from offset_tui.crash import ProcessApp
from offset_tui.keymap import TABS

FLASH_S: Final = 6.0
_Tabs = Sequence[tuple[str, str, str]]
"""(key, mode, name) of the sections."""


class TabLine(Static):
    """`1 Home 2 Pay …`, the section one is in set off; only numbers where there is no room."""

    def __init__(self, section: str) -> None:
        super().__init__(id="tabs")
        self._section = section

    def render(self) -> Text:
        """As much as fits."""
        tabs = self._tabs()
        for form in (_full, _tight):
            line = form(tabs, self._section)
            if line.cell_len <= self.size.width:
                return line
        return _numbers(tabs, self._section)

    def _tabs(self) -> _Tabs:
        """The sections with the keys that lead there, the user's own where there are."""
        own = self.app.options.keys if isinstance(self.app, ProcessApp) else {}
        return [
            (own.get(f"app.tab_{mode}", key).split(",")[0], mode, name) for key, mode, name in TABS
        ]


def _full(tabs: _Tabs, section: str) -> Text:
    return _line(tabs, section, lambda key, name, _: f" {key} {name} ")


def _tight(tabs: _Tabs, section: str) -> Text:
    return _line(tabs, section, lambda key, name, _: f"{key}{name} ")


def _numbers(tabs: _Tabs, section: str) -> Text:
    return _line(
        tabs, section, lambda key, name, is_here: f" {key} {name} " if is_here else f" {key}"
    )


def _line(tabs: _Tabs, section: str, shape: Callable[[str, str, bool], str]) -> Text:
    line = Text(no_wrap=True)
    for key, mode, name in tabs:
        is_here = mode == section
        line.append(shape(key, name, is_here), "bold reverse" if is_here else "")
    line.rstrip()
    return line


class StatusLine(Static):
    """`● online │ relay 1/1 │ index 1/1 │ 2 pending │ Alice`; words, not only dots."""

    def __init__(self) -> None:
        super().__init__(id="status", markup=False)
        self._parts: list[tuple[str, str]] = []

    def put(self, parts: list[tuple[str, str]]) -> None:
        """Show (text, style) from left to right, as many as fit."""
        self._parts = parts
        self.refresh()

    def render(self) -> Text:
        """As many parts as the line holds."""
        line = Text(no_wrap=True)
        for text, style in self._parts:
            joint = " | " if line else ""
            if line.cell_len + cell_len(joint + text) > self.size.width:
                break
            line.append(joint)
            line.append(text, style)
        return line


class Flash(Static):
    """One line that says what just happened; it goes by itself."""

    def __init__(self) -> None:
        super().__init__(id="flash", markup=False)
        self.display = False

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Show a sentence for a few seconds; errors stay a little longer."""
        self.set_class(is_error, "-error")
        self.update(Text(("! " if is_error else "") + text))
        self.display = True
        self.set_timer(FLASH_S * (2 if is_error else 1), lambda shown=text: self._hide(shown))
        self._shown = text

    def _hide(self, shown: str) -> None:
        if self._shown == shown:
            self.display = False

    _shown = ""


_HELP_ID: Final = "app.help"


class KeyLine(Static):
    """The keys that do something here, two words each.

    It is drawn as one line: a widget for each key costs more than all else when screens change. Where there
    is no room keys go from the right, `? Help` last: it lists them all.
    """

    def __init__(self) -> None:
        super().__init__(id="keys", markup=False)

    def on_mount(self) -> None:
        """Follow what the screen can do."""
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _screen: object) -> None:
        self.refresh()

    def render(self) -> Text:
        """As many keys as fit, in the order of the screen's bindings."""
        entries = self._entries()
        while (
            len(entries) > 1 and sum(one.cell_len + 1 for _, one in entries) - 1 > self.size.width
        ):
            last = max(at for at, (name, _) in enumerate(entries) if name != _HELP_ID)
            del entries[last]
        return Text(" ", no_wrap=True).join([entry for _, entry in entries])

    def _entries(self) -> list[tuple[str, Text]]:
        found: dict[str, tuple[str, Text]] = {}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.show or binding.action in found:
                continue
            press = {"@click": f"app.simulate_key({binding.key!r})"} if active.enabled else {}
            entry = Text(no_wrap=True)
            style = "bold" if active.enabled else "dim"
            entry.append(self.app.get_key_display(binding), Style.parse(style))
            entry.append(f" {binding.description}", "" if active.enabled else "dim")
            entry.apply_meta(press)
            found[binding.action] = (binding.id or "", entry)
        return list(found.values())


class BottomBar(Vertical):
    """Flash, status and keys, one docked container."""

    def compose(self) -> ComposeResult:
        """The three lines."""
        yield Flash()
        yield StatusLine()
        yield KeyLine()
