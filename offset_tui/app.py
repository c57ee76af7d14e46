"""The app: which card is open, which section is shown, and the keys that work everywhere.

    doors      → cards, and a client for the open one
    session    → pictures of its node
    screens    ← draw the pictures, ask the client
    reviews    ← the screen for whatever somebody sent

Source: tui.md §3 to §5; design R47, R48.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, ClassVar, Final

from textual import events, work
from textual.binding import BindingType
from textual.command import Provider
from textual.filter import LineFilter
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, TextArea

from offset_engine.errors import OffsetError
from offset_engine.files import Artifact, RemoteCard
from offset_engine.text import safe
from offset_tui import needs, other_cards, reviews, status, staying, themes
from offset_tui.dialogs.base import Confirm, Following, Notice
from offset_tui.dialogs.importing import ImportDialog
from offset_tui.dialogs.pick import Decide, Pick
from offset_tui.doors import AppOptions, CardDoor, CardKind, OpenCard
from offset_tui.housekeeping import Housekeeping
from offset_tui.inbox import LOOK_EVERY_S
from offset_tui.keymap import GLOBAL, TABS
from offset_tui.screens.base import CardScreen
from offset_tui.screens.unlock import LockingApp, lock, open_with_passphrase
from offset_tui.session import READ_ONLY, Session, wall_ms
from offset_tui.widgets import scroll_bar
from offset_tui.widgets.plain import PlainSigns

_SIGNS_OF_SOMEBODY: Final = (
    events.Key,
    events.Paste,
    events.MouseDown,
    events.MouseScrollDown,
    events.MouseScrollUp,
)
_STYLES: Final = Path(__file__).parent / "styles"
_SECTIONS: Final = {
    "home": "HomeScreen",
    "pay": "PayScreen",
    "receive": "ReceiveScreen",
    "activity": "ActivityScreen",
    "friends": "FriendsScreen",
    "balances": "BalancesScreen",
    "network": "NetworkScreen",
    "cards": "CardsScreen",
    "settings": "SettingsScreen",
    "help": "HelpScreen",
}


def _screen(mode: str) -> Callable[[], Screen[None]]:
    def make() -> Screen[None]:
        module = import_module(f"offset_tui.screens.{mode}")
        screen: Screen[None] = getattr(module, _SECTIONS[mode])()
        return screen

    return make


def _commands() -> type[Provider]:
    from offset_tui.commands import Commands  # noqa: PLC0415 - only when the palette is asked for

    return Commands


class OffsetApp(LockingApp):
    """See the module."""

    TITLE = "Offset"
    # Whole paths: a subclass elsewhere finds them too.
    CSS_PATH: ClassVar[list[str | PurePath]] = [
        _STYLES / f"{name}.tcss" for name in ("app", "people", "sides", "setup", "money", "demo")
    ]
    ENABLE_COMMAND_PALETTE = True
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_commands}
    MODES: ClassVar = {mode: _screen(mode) for _, mode, _ in TABS}
    DEFAULT_MODE = "home"
    BINDINGS: ClassVar[list[BindingType]] = [key.binding() for key in GLOBAL]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012 - as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (30, "-tall")]  # noqa: RUF012 - as Textual declares it

    ansi_theme_dark = Reactive(themes.terminal(themes.DARK), init=False)
    ansi_theme_light = Reactive(themes.terminal(themes.LIGHT), init=False)

    def __init__(
        self,
        door: CardDoor,
        options: AppOptions | None = None,
        *,
        clock: Callable[[], int] = wall_ms,
        random_bytes: Callable[[int], bytes] = os.urandom,
        driver_class: type[Any] | None = None,
    ) -> None:
        super().__init__(options, driver_class=driver_class)
        self.door = door
        self.clock = clock
        self.random_bytes = random_bytes
        self._session: Session | None = None
        self.connection_trouble = ""
        self._house: Housekeeping | None = None
        self._asked_to_stay: set[str] = set()
        self._given = list(self.options.given)
        self._has_opened_others = False
        self.idle_clock = time.monotonic
        for theme in themes.ALL:
            self.register_theme(theme)
        self.theme = os.environ.get("TEXTUAL_THEME", "offset-dark")

    def get_line_filters(self) -> Sequence[LineFilter]:
        """What is done to every line drawn: greys for colours, plain signs for others."""
        is_grey = self.no_color or self.theme == themes.MONO.name
        found = themes.filters(super().get_line_filters(), self.current_theme, is_grey=is_grey)
        return [*found, PlainSigns()] if self.options.is_ascii else found

    # --- cards ----------------------------------------------------------------------------------

    @property
    def has_session(self) -> bool:
        """Whether a card is open."""
        return self._session is not None

    @property
    def session(self) -> Session:
        """The open card.

        Raises:
            OffsetError: none is open; screens are shown only while one is.
        """
        if self._session is None:
            raise OffsetError("no card is open")
        return self._session

    @work(exclusive=True, group="start")
    async def _start(self) -> None:
        self.door.set_events(self)
        theme = (await self.door.app_settings()).theme
        if theme in self.available_themes and "TEXTUAL_THEME" not in os.environ:
            self.theme = theme
        first = self.door.first
        if first is not None:
            if not await self.open_card(first):
                self.show_everywhere()
        elif any(card.is_enabled for card in await self.door.cards()):
            self.action_switch_card()
        else:
            given = self.take_given()
            self.set_up(given[0] if given else None)

    def on_mount(self) -> None:
        """Open the first card once the first screen is painted."""
        self.set_class(self.options.is_ascii, "-ascii")
        scroll_bar.choose(is_ascii=self.options.is_ascii)
        if self.options.keys:
            self.set_keymap(dict(self.options.keys))
        self.call_after_refresh(self._start)
        self.set_interval(LOOK_EVERY_S, self._keep_house)

    async def open_card(self, name: str, passphrase: str | None = None) -> bool:
        """Open a card, asking for its passphrase if it needs one; says why if it cannot be opened."""
        card = await open_with_passphrase(self, name, passphrase)
        return card is not None and await self.use_card(card)

    async def use_card(self, card: OpenCard, *, goes_home: bool = True) -> bool:
        """Show a card that is open; the same card with a new client may stay where it is shown."""
        former = self._session
        try:
            session = await Session.of(self.door, card, self.clock)
        except OffsetError as problem:
            self.push_screen(Notice("This card does not answer", safe(str(problem), 400)))
            return False
        session.is_read_only = self.options.is_read_only
        self._session = session
        self.connection_trouble = ""
        self._house = Housekeeping(self, self.idle_clock)
        self._follow()
        if goes_home:
            self.action_section("home")
            if former is not None and former.name != card.name:
                self.put_away_details()
                self.put_away_other_sections()
        self.show_everywhere()
        self._ask_to_stay_online(card)
        if goes_home and self._given:
            self.run_worker(self.review(self.take_given()), group="import")
        self._open_others()
        return True

    def take_given(self) -> list[Artifact]:
        """What the command line named, to be reviewed once."""
        found, self._given = self._given, []
        return found

    @work(group="others")
    async def _open_others(self) -> None:
        if not self._has_opened_others:
            self._has_opened_others = True
            await other_cards.open_others(self)

    async def close_card(self) -> None:
        """Take the open card offline and show none.

        Raises:
            OffsetError: it does not stop.
        """
        name = self.session.name
        await self.door.go_offline(name)
        self.workers.cancel_group(self, "pictures")
        self._session, self._house = None, None
        self.put_away_other_sections()

    @work(exclusive=True, group="stay")
    async def _ask_to_stay_online(self, card: OpenCard) -> None:
        if card.name not in self._asked_to_stay and staying.is_open_question(self, card):
            self._asked_to_stay.add(card.name)
            await staying.ask(self)

    @work(exclusive=True, group="pictures")
    async def _follow(self) -> None:
        session = self.session
        try:
            await session.follow(lambda _: self._pictured(), is_slow=self.options.is_low_bandwidth)
        except OffsetError as problem:
            if self._session is session:
                self.connection_trouble = str(problem)
                self.show_everywhere()

    def _pictured(self) -> None:
        self.show_everywhere()
        self._act()

    @work(group="house")
    async def _act(self) -> None:
        try:
            if self._house is not None:
                await self._house.pictured()
        except OffsetError as problem:
            self._house_trouble(problem)

    def _house_trouble(self, problem: OffsetError) -> None:
        if self.has_session:  # otherwise the card was closed meanwhile
            self.tell(str(problem), is_error=True)

    @work(exclusive=True, group="watch")
    async def _keep_house(self) -> None:
        """Every few seconds: lock when nobody is there, look into the inbox."""
        if self._house is None or not self.has_session:
            return
        try:
            if self._house.is_time_to_lock:
                await lock(self, says_why=False)
            await self.read_notebook()
            if self._house is not None:
                await self._house.look_into_inbox()
        except OffsetError as problem:
            self._house_trouble(problem)

    def show_everywhere(self) -> None:
        """Draw the latest picture on every screen of the section shown, and what follows it above them."""
        for screen in self.screen_stack:
            if isinstance(screen, CardScreen | Following):
                screen.refresh_view()

    def card_died(self, name: str, reason: str) -> None:
        """The node of a card stopped by itself: if it is the one shown, nothing on screen is true any more."""
        if self.has_session and self.session.name != name:
            self.tell(f"{safe(name, 24)} has stopped: {safe(reason, 300)}", is_error=True)
        elif self.has_session:
            text = (
                f"{safe(reason, 400)}\n\nNothing was lost: everything is saved before it is sent."
                "\nThe app closes now; start it again to go on."
            )
            self.push_screen(
                Notice("This card has stopped", text), lambda _: self.exit(return_code=1)
            )

    def card_connection(self, name: str, is_connected: bool, reason: str) -> None:  # noqa: FBT001
        """The connection to a card that runs elsewhere was lost or came back."""
        if self.has_session and self.session.name == name:
            self.connection_trouble = "" if is_connected else reason or "connection lost"
            if is_connected:
                self._follow()
            self.show_everywhere()

    def set_up(self, given: Artifact | None = None) -> None:
        """Guide somebody who has no card yet, or wants one more; with what they were given, if anything."""
        from offset_tui.screens.setup import SetupScreen  # noqa: PLC0415 - only at the first start

        self.push_screen(SetupScreen(given))

    def banner(self) -> Iterable[Widget]:
        """What stands above the body of every screen."""
        return ()

    def before_back(self) -> bool:
        """Whether there was something to put away before a screen goes back."""
        return False

    # --- the status line ------------------------------------------------------------------------

    def status_parts(self) -> list[tuple[str, str]]:
        """What the line above the keys says, most important first."""
        return status.parts(self)

    # --- keys that work everywhere --------------------------------------------------------------

    def action_section(self, mode: str) -> None:
        """Go to a section."""
        if not self.has_session and mode not in ("home", "cards", "help"):
            return
        is_new = mode not in self._screen_stacks
        if self.current_mode != mode:
            self.switch_mode(mode)
        if not is_new:
            self._show_section()

    def _show_section(self) -> None:
        """Put details away, so that a section's key shows the section; half-filled forms stay."""
        while (
            len(self.screen_stack) > 1
            and isinstance(self.screen, CardScreen)
            and not self.screen.KEEPS_DRAFT
        ):
            self.pop_screen()

    @work(group="import")
    async def action_import(self) -> None:
        """Open whatever somebody gave us."""
        if not self.has_session:
            return
        found = await self.push_screen_wait(ImportDialog())
        if found:
            await self.review(found)

    def action_paste(self) -> None:
        """The same: `c` for those who think of pasting."""
        self.action_import()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing of the app works over the lock but leaving."""
        if self.is_locked and action not in ("exit", "quit"):
            return False
        if not self.has_session and action in ("import", "paste", "next_need"):
            return False
        return super().check_action(action, parameters)

    async def on_event(self, event: events.Event) -> None:
        """A paste where nothing is being typed is looked at."""
        if isinstance(event, _SIGNS_OF_SOMEBODY) and self._house is not None:
            self._house.key_pressed()
        if isinstance(event, events.Paste) and (self.is_locked or not self.has_session):
            await super().on_event(event)
            return
        if isinstance(event, events.Paste) and not isinstance(self.focused, Input | TextArea):
            self.take_text(event.text)
            return
        await super().on_event(event)

    @work(group="import")
    async def take_text(self, text: str) -> None:
        """Open the review of a pasted text; never act on it."""
        try:
            found = reviews.read(text)
        except OffsetError as problem:
            self.tell(str(problem), is_error=True)
            return
        await self.review(found)

    async def review(self, found: list[Artifact]) -> None:
        """Show what was found, and ask what to do; of several the one chosen."""
        chosen = found[0]
        if len(found) > 1:
            options = [
                (str(number), f"{number + 1}. {_kind_words(one)}")
                for number, one in enumerate(found)
            ]
            picked = await self.push_screen_wait(Pick("Several things", "Which one?", options))
            if picked is None:
                return
            chosen = found[int(picked)]
        await self.read_notebook()
        if isinstance(chosen.content, RemoteCard):
            self.set_up(chosen)
            return
        screen = reviews.screen_for(chosen.content)
        if screen is None:
            self.push_screen(
                Notice(
                    "Nothing to do",
                    f"This is {_kind_words(chosen)}: it can be looked at with `offset inspect`.",
                )
            )
            return
        await self.push_screen(screen)
        for warning in chosen.warnings:
            self.tell(warning, is_error=True)

    async def read_notebook(self) -> None:
        """Know what another program noted meanwhile, like an invite made by `offset share`."""
        try:
            if self.has_session and await self.session.read_notebook():
                self.show_everywhere()
        except OffsetError as problem:
            self.tell(str(problem), is_error=True)

    def action_next_need(self) -> None:
        """Go on with what needs the owner most."""
        found = needs.of(self.session) if self.has_session else ()
        if found:
            screen = found[0].screen()
            if screen is not None:
                self.push_screen(screen)
        else:
            self.tell("nothing needs you now")

    def action_help(self) -> None:
        """Explain the screen below."""
        from offset_tui.screens.help import TopicScreen  # noqa: PLC0415 - only when asked for

        screen = self.screen
        if isinstance(screen, CardScreen):
            self.push_screen(TopicScreen(screen.TOPIC, screen))

    @work(group="cards")
    async def action_switch_card(self) -> None:
        """Choose another card."""
        from offset_tui.screens.cards import choose_card  # noqa: PLC0415 - only when asked for

        if self.has_session and self.options.is_read_only:
            self.tell(READ_ONLY, is_error=True)
            return
        name = await choose_card(self)
        if name is not None and not (self.has_session and self.session.name == name):
            await self.open_card(name)

    @work(exclusive=True, group="lock")
    async def action_lock(self) -> None:
        """Hide everything until the passphrase is typed."""
        await lock(self)

    @work(group="leave", exclusive=True)
    async def action_leave(self) -> None:
        """Leave, saying what goes on and what stops."""
        if not self.has_session:
            self.exit()
            return
        session = self.session
        others = await other_cards.going_offline(self)
        if session.card.is_attached or session.card.kind is CardKind.REMOTE:
            goes_on = "The card goes on running in the background."
            question = f"{' '.join(one for one in (goes_on, others) if one)} Close the app?"
            if await self.push_screen_wait(Confirm("Leave", question, "Close", "y")):
                self.exit()
            return
        options = [
            ("stay", "Stay"),
            ("offline", "Go offline: nobody can pay through or to this card until it runs again"),
            ("running", "Leave it running in the background: payments go on"),
        ]
        moving = status.moving_sentence(session.snapshot)
        question = "\n".join(one for one in (moving, others) if one)
        choice = await self.push_screen_wait(Decide("Leave", question, options))
        if choice == "running" and self.options.is_read_only:
            self.tell(READ_ONLY, is_error=True)
        elif choice == "running":
            try:
                await self.door.leave_running(session.name)
            except OffsetError as problem:
                self.tell(f"it cannot be left running: {problem}", is_error=True)
                return
            self.exit()
        elif choice == "offline":
            self.exit()

    def tell(self, text: str, *, is_error: bool = False) -> None:
        """Say in one line what just happened, on the screen of the section shown."""
        screen = next(
            (one for one in reversed(self.screen_stack) if isinstance(one, CardScreen)), None
        )
        if screen is not None:
            screen.flash(text, is_error=is_error)


def _kind_words(artifact: Artifact) -> str:
    return reviews.kind_of(artifact.content).value
