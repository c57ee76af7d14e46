"""Help: what a screen is for and all its keys, made from the keymap; and what this program is.

The pages are Markdown files of ours in `help/`; nothing foreign is ever shown in them.
Source: tui.md §5; apps.md §5 S37.
"""

import platform
import sys
from collections.abc import Iterator
from importlib import metadata, resources
from typing import Any, ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Markdown, OptionList, Static
from textual.widgets.option_list import Option

from offset_engine.text import safe
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.screens.logs import LogScreen

TOPICS: Final = (
    ("start", "Start here: what Offset is"),
    ("introduce", "Become somebody's friend"),
    ("pay", "Pay"),
    ("receive", "Get paid"),
    ("friends", "Friends, limits and fees"),
    ("balances", "Balances"),
    ("activity", "Activity and export"),
    ("network", "Servers: relays and index servers"),
    ("cards", "Cards, backup, passphrase"),
    ("settings", "Settings"),
    ("home", "The Home screen"),
    ("village", "The practice village"),
    ("troubles", "When something goes wrong"),
    ("security", "What is secret, and who learns what"),
    ("faq", "Questions people ask"),
)
"""(file without `.md`, title) of every page, in the order of the list."""
_LOG: Final = "the log"
VERSIONS_OF: Final = ("offset-card", "textual", "pynacl", "msgpack", "anyio")


def page(topic: str) -> str:
    """The text of a page of help.

    Raises:
        FileNotFoundError: there is no such page.
    """
    return resources.files("offset_tui").joinpath("help", f"{topic}.md").read_text("utf-8")


def keys_of(screen: Screen[Any]) -> Text:
    """Every key that does something on a screen, in the order of its bindings, then those of the app.

    Each line ends with the id a user's keymap file names the action by.
    """
    shown = Text()
    for keys, sentence, name in _bindings(screen):
        shown.append(f"  {keys:<10}", "bold")
        shown.append(f" {sentence} ")
        shown.append(f"{name}\n", "dim")
    return shown


def _bindings(screen: Screen[Any]) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for active in screen.active_bindings.values():
        binding = active.binding
        name = binding.id or binding.action
        if name in seen or not (binding.tooltip or binding.description):
            continue
        seen.add(name)
        keys = " ".join(
            screen.app.get_key_display(one.binding)
            for one in screen.active_bindings.values()
            if (one.binding.id or one.binding.action) == name
        )
        yield keys, binding.tooltip or binding.description, binding.id or ""


class TopicScreen(ModalScreen[None]):
    """One page, with the keys of the screen it was asked from."""

    BINDINGS: ClassVar[list[BindingType]] = [*pick("topic.close")]

    def __init__(self, topic: str, screen: Screen[Any] | None = None) -> None:
        super().__init__()
        self._topic = topic
        self._keys = keys_of(screen) if screen is not None else Text()

    def compose(self) -> ComposeResult:
        """The page, then the keys."""
        with VerticalScroll(id="topic"):
            yield Markdown(page(self._topic), open_links=False)
            if self._keys:
                yield Static(Text("Keys on this screen", "bold"))
                yield Static(self._keys)
        yield Static(Text("q back · arrows and page keys scroll", "dim"), id="topic-keys")

    def on_mount(self) -> None:
        """Arrows scroll at once."""
        self.query_one("#topic").focus()

    def action_close(self) -> None:
        """Back to the screen."""
        self.dismiss()


def about() -> Text:
    """Name, versions, protocol, and where things are."""
    shown = Text("Offset: a credit card powered by trust between people.\n\n")
    for name in VERSIONS_OF:
        try:
            shown.append(f"  {name:<12} {metadata.version(name)}\n")
        except metadata.PackageNotFoundError:
            continue
    shown.append(f"  {'Python':<12} {sys.version.split()[0]} on {platform.system()}\n")
    for label, text in contacts():
        shown.append(f"  {label:<12} {text}\n")
    shown.append("\n  Files and versions: `offset info` in a shell.\n", "dim")
    return shown


def contacts() -> Iterator[tuple[str, str]]:
    """Licence, and site and mail as far as whoever built this copy named them."""
    yield "Licence", "MIT: use, change and pass it on as you like"
    try:
        named = metadata.metadata("offset-card")
    except metadata.PackageNotFoundError:
        named = None
    urls = [] if named is None else named.get_all("Project-URL") or []
    mails = [] if named is None else named.get_all("Author-email") or []
    for one in urls:
        label, _, url = one.partition(", ")
        yield safe(label, 12), safe(url, 60)
    for one in mails:
        yield "Mail", safe(one, 60)
    if not urls and not mails:
        yield "Site, mail", "none named in this copy; README.md came with it"


class HelpScreen(CardScreen):
    """Section 0: every page, and what this program is."""

    SECTION = "help"
    TOPIC = "start"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("screen.back")]

    def body(self) -> ComposeResult:
        """The list of pages and the versions."""
        yield OptionList(
            *(Option(Text(title), id=topic) for topic, title in TOPICS),
            Option(Text("The log of this app"), id=_LOG),
            id="topics",
            compact=True,
        )
        yield Static(about(), id="about")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Read it."""
        topic = event.option.id or "start"
        if topic == _LOG:
            self.app.push_screen(LogScreen(self.host.log_path))
        else:
            self.app.push_screen(TopicScreen(topic))
