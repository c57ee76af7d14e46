"""An open card meets the network: servers to use or to run, then somebody to be friends with.

The second half of the first run, and what Home's checklist and Network open later. Nothing is sent before
a servers text was looked at and agreed to. Source: apps.md §5; issue of the app, "First run".
"""

from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import ContentSwitcher, OptionList, Static
from textual.widgets.option_list import Option

from offset_engine.files import Servers, parse
from offset_engine.text import safe
from offset_tui import servers
from offset_tui.dialogs.auto_servers import use_known
from offset_tui.doors import CardKind
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.artifact_box import ArtifactBox
from offset_tui.widgets.facts import plain
from offset_tui.widgets.inputs import LineInput, PasteRefused, Problem

_SERVERS: Final = (
    "Servers: how friends reach this card\n\n"
    "Paste the servers text (or the invite) somebody gave you, or the text `offset serve` printed."
    " You see what it is before anything is used.\n"
)
_WAYS: Final = "Three ways to have servers of your own\n\n"
_AFTER_WAYS: Final = (
    "`offset serve` prints a text: paste it here, and hand it to friends who have no servers.\n"
)
_RUN: Final = (
    "Run servers in this card\n\n"
    "The card becomes a relay and an index server too, while it is online: right for a household, a"
    " club, or a host that is always on.\n\n"
    "Where do the others reach this computer? A name or IP address, and a port that is free:\n"
    "  127.0.0.1:3000          only cards on this computer\n"
    "  192.168.1.20:3000       this network: this computer's address in it\n"
    "  card.example.org:3000   everybody, if the port is open to the outside\n"
)
_RUN_AFTER: Final = (
    "\nWho uses them shows this card its key and network address, nothing about money. Names are not"
    " looked up elsewhere. Enter starts them; the card is away for about a second."
)
_RUN_OPTION: Final = ("run", "Run servers in this card (household, LAN)")
_AUTO_OPTION: Final = ("auto", "Use servers of this computer's list")
_WAYS_OPTION: Final = ("ways", "Explain the three ways to get servers")
_CHOICES: Final = {
    "servers": (_RUN_OPTION, _WAYS_OPTION, ("share", "Later: Home reminds me")),
    "ways": (_RUN_OPTION, ("servers", "I have a text: paste it")),
}


class ConnectScreen(CardScreen):
    """See the module; `page` is where it begins."""

    SECTION = "home"
    TOPIC = "network"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*pick("screen.back")]

    def __init__(self, page: str = "") -> None:
        super().__init__()
        self._begin = page
        self._trail: list[str] = []
        self._is_busy = False
        self._had_servers = False

    def body(self) -> ComposeResult:
        """The four pages; they stay, so that nothing typed is lost on the way."""
        with ContentSwitcher(id="pages"):
            with VerticalScroll(id="servers", classes="page", can_focus=False):
                yield Static(_titled(_SERVERS))
                yield ArtifactBox(id="paste")
                yield Problem(id="paste-problem")
                yield Static(Text(f"\n{servers.WHAT_THEY_SEE}\n", "dim"))
                yield OptionList(*_options(_CHOICES["servers"]), id="servers-choices", compact=True)
            with VerticalScroll(id="ways", classes="page", can_focus=False):
                yield Static(id="ways-text", markup=False)
                yield OptionList(*_options(_CHOICES["ways"]), id="ways-choices", compact=True)
            with VerticalScroll(id="run", classes="page", can_focus=False):
                yield Static(_titled(_RUN))
                yield LineInput(id="address", placeholder="HOST:PORT", max_length=256)
                yield Problem(id="run-problem")
                yield Static(Text(_RUN_AFTER, "dim"))
            with VerticalScroll(id="share", classes="page", can_focus=False):
                yield Static(id="share-text", markup=False)
                yield OptionList(id="share-choices", compact=True)

    def on_mount(self) -> None:
        """Begin where it was asked to, or where the card stands."""
        self._had_servers = self._has_servers
        self.query_one("#ways-text", Static).update(_ways(is_ascii=self.host.options.is_ascii))
        self._go(self._begin or ("share" if self._has_servers else "servers"))
        self._look_for_list()

    @work(group="list", exclusive=True)
    async def _look_for_list(self) -> None:
        """Offer the list of servers on this computer first, if there is one."""
        is_read, listed = await self.do(self.host.door.known_servers())
        if is_read and listed:
            choices = self.query_one("#servers-choices", OptionList)
            choices.clear_options()
            choices.add_options(_options((_AUTO_OPTION, *_CHOICES["servers"])))
            choices.highlighted = 0

    @work(group="servers", exclusive=True)
    async def _use_list(self) -> None:
        await use_known(self)

    @property
    def _has_servers(self) -> bool:
        report = self.session.snapshot.report
        return bool(report.relays and report.index_servers)

    @property
    def page(self) -> str:
        """The page shown."""
        return self.query_one(ContentSwitcher).current or ""

    def show(self, snapshot: Snapshot) -> None:
        """Once there are servers, the next step is people."""
        if self._has_servers and not self._had_servers and self.page == "servers":
            self._had_servers = True
            self._go("share")

    # --- going about ----------------------------------------------------------------------------

    def _go(self, page: str, *, is_back: bool = False) -> None:
        if self.page and not is_back:
            self._trail.append(self.page)
        if page == "share":
            self._draw_share()
        self.query_one(ContentSwitcher).current = page
        first = {
            "servers": "#paste",
            "ways": "#ways-choices",
            "run": "#address",
            "share": "#share-choices",
        }[page]
        self.query_one(first).focus()

    def action_back(self) -> None:
        """A page back; from the first one, leave."""
        if self._is_busy:
            return
        if self._trail:
            self._go(self._trail.pop(), is_back=True)
        else:
            super().action_back()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A choice."""
        event.stop()
        chosen = event.option.id or ""
        if event.option_list.id == "share-choices":
            self._share(chosen)
        elif chosen == "run" and self.session.card.kind is CardKind.REMOTE:
            self.flash("this card runs elsewhere: servers are run there", is_error=True)
        elif chosen == "auto":
            self._use_list()
        else:
            self._go(chosen)

    # --- servers somebody gave ------------------------------------------------------------------

    async def on_artifact_box_found(self, event: ArtifactBox.Found) -> None:
        """Look at what was pasted."""
        event.stop()
        self.query_one("#paste-problem", Problem).say("")
        if self.may_change():
            self.host.run_worker(self.host.review(event.artifacts), group="import")

    def on_artifact_box_unread(self, event: ArtifactBox.Unread) -> None:
        """It cannot be read."""
        event.stop()
        self.query_one("#paste-problem", Problem).say(safe(event.reason, 300))

    def on_paste_refused(self, event: PasteRefused) -> None:
        """Too long."""
        self.query_one("#paste-problem", Problem).say(event.reason)

    # --- servers of one's own -------------------------------------------------------------------

    def on_input_submitted(self, event: LineInput.Submitted) -> None:
        """Start them."""
        event.stop()
        if not self._is_busy and self.may_change():
            self._run(event.value.strip())

    @work(group="servers", exclusive=True)
    async def _run(self, address: str) -> None:
        problem = self.query_one("#run-problem", Problem)
        if not address:
            problem.say("type where others reach this computer, like 192.168.1.20:3000")
            return
        problem.say("")
        self._is_busy = True
        self.flash("starting; the card is back in a moment")
        is_done, card = await self.do(self.host.door.run_servers(self.session.name, address))
        self._is_busy = False
        if is_done and card is not None:
            await self.host.use_card(card, goes_home=False)
            await self.do(self.session.read_settings())
            self._had_servers = True
            self._go("share")
            self._trail.clear()
            self.flash(f"this card serves others at {address}")

    # --- people ---------------------------------------------------------------------------------

    def _draw_share(self) -> None:
        options = self.query_one("#share-choices", OptionList)
        options.clear_options()
        options.add_options(_options(_share_choices(has_servers=self._has_servers)))
        options.highlighted = 0
        is_ready = self._has_servers
        shown = Text(f"{safe(self.session.name, 40)} is ready\n\n", "bold")
        if is_ready:
            shown.append(
                "Now somebody to trust. An invite is one text you send; they send one back, and you are"
                " friends. It tells them your card's name, key and relay, and what you offer. Nothing"
                " is sent before you send it.\n"
            )
        else:
            shown.append(
                "Without servers nobody can reach it. An invite somebody sends you brings servers"
                " along: paste it with c on any screen. Home shows what is left to do.\n"
            )
        self.query_one("#share-text", Static).update(shown)

    def _share(self, chosen: str) -> None:
        from offset_tui.screens.friends import share_card  # noqa: PLC0415 - drawn only then
        from offset_tui.screens.invite import InviteScreen  # noqa: PLC0415 - drawn only then
        from offset_tui.screens.network import share_servers  # noqa: PLC0415 - drawn only then

        match chosen:
            case "invite":
                self.host.push_screen(InviteScreen())
            case "card":
                share_card(self)
            case "hand":
                text = self.session.card.servers_text
                found = servers.own_servers(self.session.snapshot.report)
                content = parse(text, Servers) if text else found
                if content is not None:
                    self.host.push_screen(share_servers(content))
            case "servers":
                self._go("servers")
            case _:
                self.host.action_section("home")
                if self.is_current:
                    self.dismiss()


def _share_choices(*, has_servers: bool) -> tuple[tuple[str, str], ...]:
    if not has_servers:
        return (("home", "Go to Home"), ("servers", "Add servers now"))
    return (
        ("invite", "Invite a friend: whom, currency and limit on one form"),
        ("card", "Show my own friend card (text, file, QR)"),
        ("hand", "Hand out the servers text (text, file, QR)"),
        ("home", "Go to Home: later"),
    )


def _options(choices: tuple[tuple[str, str], ...]) -> list[Option]:
    return [Option(Text(words), id=key) for key, words in choices]


def _titled(text: str) -> Text:
    title, _, rest = text.partition("\n")
    shown = Text(f"{title}\n", "bold")
    shown.append(rest)
    return shown


def _ways(*, is_ascii: bool) -> Text:
    shown = _titled(_WAYS)
    for number, (where, whom, command) in enumerate(servers.THREE_WAYS, 1):
        shown.append(f"{number}. {where}\n", "bold")
        shown.append(f"   {whom}\n   ")
        shown.append(f"{command}\n\n", "bold")
    shown.append(plain(_AFTER_WAYS, is_ascii=is_ascii))
    return shown
