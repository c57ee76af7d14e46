"""The first run: one box for whatever one has, else Enter; then a name, and the card is there.

    welcome ──Enter──────────────────→ name ──→ the card is made, opened, and shown
            ──invite, servers, any──→ name ──→ … and what was pasted is reviewed
            ──.rcard──────────────────→ remote ─→ tested, then opened
            ──path of a backup────────→ restore → made from it, then opened

Nothing is sent anywhere here but the test of a remote card, which says so. What is typed stays when one goes
back. Cards opens the same screen for one more card. Source: apps.md §5 S23 to S25; tui.md §14; issue of the
app, "First run".
"""

from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final, TypeVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import ContentSwitcher, Input, Static

from offset_engine import files
from offset_engine.disk import expanded
from offset_engine.errors import FileError, OffsetError
from offset_engine.files import Artifact, Invite, RemoteCard, is_secret
from offset_engine.text import safe
from offset_tui import reviews
from offset_tui.dialogs.backup import file_of
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.importing import read_text_or_path
from offset_tui.doors import BackupView, CardInfo, OpenCard
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.screens.setup_pages import (
    NamePage,
    RemotePage,
    RestorePage,
    WelcomeBox,
    WelcomePage,
)
from offset_tui.screens.unlock import open_with_passphrase
from offset_tui.widgets.bars import BottomBar, StatusLine
from offset_tui.widgets.inputs import PasteRefused, Problem

_T = TypeVar("_T")
_BACKUP_STARTS: Final = b"OFFSEAL"
_NOTHING_OURS: Final = (
    "there is nothing of ours in it: no invite, servers text, card or backup. Was it copied whole?"
    " Such texts begin with offset1:"
)
_STEPS: Final = {
    "welcome": "Welcome to Offset",
    "name": "A new card",
    "remote": "A card that runs elsewhere",
    "restore": "A card from a backup",
}


class SetupScreen(CardScreen):
    """See the module."""

    TOPIC = "start"
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*pick("setup.next")]

    def __init__(self, given: Artifact | None = None) -> None:
        """Args: given: taken as if it were pasted on the first page."""
        super().__init__()
        self._given = given
        self.pasted: Artifact | None = None
        """What was given on the first page, to be reviewed once there is a card."""
        self._backup = Path()
        self._view: BackupView | None = None
        self._made: CardInfo | None = None
        self._is_busy = False

    def compose(self) -> ComposeResult:
        """A title instead of sections that do not exist yet."""
        yield Static(id="setup-title", markup=False)
        with Vertical(id="body"), ContentSwitcher(initial="welcome", id="pages"):
            yield WelcomePage(id="welcome", classes="page")
            yield NamePage(id="name", classes="page", is_over_ssh=self.host.door.is_over_ssh)
            yield RemotePage(id="remote", classes="page")
            yield RestorePage(id="restore", classes="page")
        yield BottomBar()

    def on_mount(self) -> None:
        """The first page, or what comes after it."""
        self._go("welcome")
        if self._given is not None and not self.host.options.is_read_only:
            self._take_artifact(self._given)

    @property
    def page(self) -> str:
        """The page shown."""
        return self.query_one(ContentSwitcher).current or ""

    def _go(self, page: str) -> None:
        self.query_one(ContentSwitcher).current = page
        self.query_one("#setup-title", Static).update(Text(f" {_STEPS[page]}", "bold"))
        words = "set-up | nothing is sent anywhere before you agree to it"
        self.query_one(StatusLine).put([(words, "dim")])
        self.query_one(f"#{page}").query("LineInput, WelcomeBox").first().focus()

    def refresh_view(self) -> None:
        """Nothing here follows the open card."""

    def _say(self, sentence: str, focus: str = "") -> None:
        """Show what is wrong on the page shown, and go to the field."""
        page = self.query_one(f"#{self.page}")
        page.query_one(Problem).say(safe(sentence, 500))
        if focus:
            page.query_one(focus).focus()

    async def _try(self, work: Awaitable[_T]) -> _T | None:
        """Wait for something; None if it failed, which is said on the page."""
        try:
            return await work
        except OffsetError as problem:
            self._say(str(problem))
            return None

    # --- going about ----------------------------------------------------------------------------

    def action_back(self) -> None:
        """A page back; from the first one, leave."""
        if not self._is_busy:
            self._step_back()

    @work(group="leave", exclusive=True)
    async def _step_back(self) -> None:
        if self.page != "welcome":
            self._go("welcome")
        elif self.host.has_session or await self.host.door.cards():
            self.dismiss()
        elif await self.host.push_screen_wait(
            Confirm("Leave", "No card was made. Leave Offset?", "Leave", "y")
        ):
            self.host.exit()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter goes on with the page, which says what is missing."""
        event.stop()
        self.action_go_on()

    def on_welcome_box_sent(self, event: WelcomeBox.Sent) -> None:
        """Enter or a paste in the box."""
        event.stop()
        self._take(event.text)

    def on_paste_refused(self, event: PasteRefused) -> None:
        """Too long."""
        self._say(event.reason)

    def action_go_on(self) -> None:
        """Go on with the page shown."""
        if self._is_busy:
            return
        self._say("")
        match self.page:
            case "welcome":
                self._take(self.query_one(WelcomeBox).text)
            case "name":
                self._make()
            case "remote":
                self._add_remote()
            case _:
                self._restore()

    # --- the first page -------------------------------------------------------------------------

    def _take(self, typed: str) -> None:
        """See what was pasted or typed; nothing means a new card."""
        if self.host.options.is_read_only:
            self._say("no card can be made: the app was started with --read-only")
            return
        bare = typed.strip()
        self.pasted = None
        if not bare:
            self._show_name()
            return
        path = _path_in(bare)
        if path is not None and _is_sealed(path):
            self._backup, self._view = path, None
            self.query_one(RestorePage).begin(path)
            self._go("restore")
            return
        try:
            found = read_text_or_path(bare)
        except FileError as problem:
            is_ours = "offset1:" in bare.lower() or bare.startswith(("{", "/", "~", "."))
            self._say(str(problem) if is_ours else _NOTHING_OURS)
            return
        self._take_artifact(found[0])

    def _take_artifact(self, found: Artifact) -> None:
        if isinstance(found.content, RemoteCard):
            self.pasted = found
            self.query_one(RemotePage).begin(found.content)
            self._go("remote")
        elif is_secret(found.content):
            self._say(
                "this is the secret key of a node or server: run it with `offset serve` or stnode;"
                " a card of your own is made here with Enter"
            )
        else:
            self.pasted = found
            self._show_name()

    def _show_name(self) -> None:
        self.query_one(NamePage).begin(self.pasted)
        self._go("name")

    # --- a new card -----------------------------------------------------------------------------

    @work(group="make", exclusive=True)
    async def _make(self) -> None:
        page = self.query_one(NamePage)
        problem, focus = page.problem()
        if problem:
            self._say(problem, focus)
            return
        self._is_busy = True
        try:
            if await self._made_or_make(page) and await self._backed_up(page):
                await self._open(page.passphrase, stays_online=page.stays_online)
        finally:
            self._is_busy = False

    async def _made_or_make(self, page: NamePage) -> bool:
        """The card exists; a failed backup must not make it twice."""
        if self._made is None:
            page.say_busy("making the key; with a passphrase that takes a second")
            self._made = await self._try(
                self.host.door.create(page.card_name, page.passphrase or None)
            )
        return self._made is not None

    async def _backed_up(self, page: NamePage) -> bool:
        if not page.backup_path or self._made is None:
            return True
        page.say_busy("writing the backup")
        door, path = self.host.door, file_of(page.backup_path)
        try:
            await door.backup(
                self._made.name, path, page.backup_passphrase, page.passphrase or None
            )
        except OffsetError as problem:
            self._say(f"the card is made, but the backup is not: {problem}", "#backup")
            return False
        page.clear_backup()
        return True

    # --- a card that runs elsewhere -------------------------------------------------------------

    @work(group="make", exclusive=True)
    async def _add_remote(self) -> None:
        page = self.query_one(RemotePage)
        if self.pasted is None or not isinstance(self.pasted.content, RemoteCard):
            return
        if self._made is not None and page.is_tested:
            await self._open("")
            return
        name = page.card_name
        if not name:
            self._say("give the card a name, only for yourself", "LineInput")
            return
        self._is_busy = True
        try:
            if self._made is None:
                text = files.to_json_line(self.pasted.content)
                self._made = await self._try(self.host.door.add_remote(name, text))
            if self._made is not None:
                page.say_busy("connecting")
                granted = await self._try(self.host.door.test(self._made.name))
                page.show_test(granted)
        finally:
            self._is_busy = False

    # --- a backup -------------------------------------------------------------------------------

    @work(group="make", exclusive=True)
    async def _restore(self) -> None:
        page = self.query_one(RestorePage)
        if not page.passphrase:
            self._say("type the passphrase of the backup", "#restore-passphrase")
            return
        self._is_busy = True
        try:
            if self._view is None:
                page.say_busy("opening the backup; that takes a second")
                self._view = await self._try(
                    self.host.door.read_backup(self._backup, page.passphrase)
                )
                page.show_view(self._view)
                return
            if self._made is None:
                page.say_busy("restoring")
                self._made = await self._try(
                    self.host.door.restore(self._backup, page.passphrase, page.card_name or None)
                )
            if self._made is not None:
                await self._open(page.passphrase if self._made.is_locked else "")
        finally:
            self._is_busy = False

    # --- the end --------------------------------------------------------------------------------

    async def _open(self, passphrase: str, *, stays_online: bool | None = None) -> None:
        if self._made is None:
            return
        card = await open_with_passphrase(self.host, self._made.name, passphrase or None)
        if card is None:
            return
        settled = await self._try(self._settle(card, stays_online))
        if settled is not None:
            found = None if isinstance(_content(self.pasted), RemoteCard) else self.pasted
            _hand_over(self, settled, found)

    async def _settle(self, card: OpenCard, stays_online: bool | None) -> OpenCard:  # noqa: FBT001
        """Whether it stays online was asked on the form."""
        if stays_online is None:
            return card
        if stays_online:
            return await self.host.door.leave_running(card.name)
        settings = replace(card.settings, stays_online=False)
        await self.host.door.save_settings(card.name, settings)
        return replace(card, settings=settings)


def _content(found: Artifact | None) -> object:
    return None if found is None else found.content


def _hand_over(screen: SetupScreen, card: OpenCard, pasted: Artifact | None) -> None:
    """Leave set-up, and go on with the open card; the app does it, for the screen is gone then."""
    host = screen.host

    async def go_on() -> None:
        from offset_tui.screens.connect import ConnectScreen  # noqa: PLC0415 - drawn only then

        if not await host.use_card(card):
            return
        is_ready = host.session.snapshot.report.relays
        if isinstance(_content(pasted), Invite):
            await host.review([pasted] if pasted is not None else [])
            return
        if not is_ready:
            await host.push_screen(ConnectScreen())
        if pasted is None:
            return
        if isinstance(pasted.content, files.Servers | files.Ticket):
            await host.review([pasted])
        elif reviews.screen_for(pasted.content) is not None:
            host.session.arrived["what you pasted first"] = pasted
            host.show_everywhere()

    screen.dismiss()
    host.run_worker(go_on(), group="begin", exclusive=True)


def _path_in(bare: str) -> Path | None:
    """The path in the box, if it may be one."""
    if "\n" in bare or len(bare) >= 1024:
        return None
    try:
        return expanded(bare)
    except FileError:
        return None


def _is_sealed(path: Path) -> bool:
    """Whether the file may be a backup."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return file.read(len(_BACKUP_STARTS)) == _BACKUP_STARTS
    except OSError:
        return False
