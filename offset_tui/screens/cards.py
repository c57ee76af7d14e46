"""Cards: which there are, where they run, and everything that is done to a card as a whole.

Source: apps.md §5 S22 to S26; MOB-23 to MOB-27; RMP-20, RMP-21, RMP-36, RMP-37.
"""

import contextlib
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.widgets import Static

from offset_engine.text import safe
from offset_tui import card_words
from offset_tui.dialogs.backup import back_up
from offset_tui.dialogs.base import Ask, Confirm, TypeToConfirm
from offset_tui.dialogs.passphrase import change_passphrase
from offset_tui.dialogs.pick import Pick
from offset_tui.doors import CardInfo, CardKind, CardPlace
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.screens.setup_pages import NAME_MAX, permission_words
from offset_tui.session import Snapshot
from offset_tui.widgets.bars import StatusLine
from offset_tui.widgets.facts import plain
from offset_tui.widgets.table import Column, KeyedTable, Row

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp

_COLUMNS: Final = (
    Column("Card"),
    Column("Runs"),
    Column("State"),
    Column("Key", rank=2),
    Column("Passphrase", rank=1),
    Column("Address", rank=3),
)
_EMPTY: Final = "No cards yet.\n\nn  makes one, adds one that runs elsewhere, or restores a backup"
_NEW: Final = "\x00new"
_DISABLED: Final = "a disabled card is not opened: space on Cards enables it"


async def choose_card(app: "OffsetApp") -> str | None:
    """Ask which card; None if none was chosen. Call it in a worker."""
    cards = await app.door.cards()
    current = app.session.name if app.has_session else None
    is_ascii = app.options.is_ascii
    options = [
        (one.name, plain(card_words.line(one, is_open=one.name == current), is_ascii=is_ascii))
        for one in cards
    ]
    options.append((_NEW, "A new card, or one from a backup or .rcard"))
    chosen = await app.push_screen_wait(Pick("Cards", "Which card?", options))
    if chosen == _NEW:
        app.set_up()
        return None
    if any(one.name == chosen and not one.is_enabled and not one.problem for one in cards):
        app.tell(_DISABLED, is_error=True)
        return None
    return chosen


class CardsScreen(CardScreen):
    """See the module."""

    SECTION = "cards"
    TOPIC = "cards"
    AUTO_FOCUS = "KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick(
            "list.new",
            "list.toggle",
            "list.edit",
            "cards.backup",
            "cards.passphrase",
            "cards.apps",
            "cards.test",
            "list.remove",
        )
    ]

    def __init__(self) -> None:
        super().__init__()
        self._cards: tuple[CardInfo, ...] = ()

    def body(self) -> ComposeResult:
        """The list, more on the card under the cursor, or how to begin."""
        yield KeyedTable(id="cards")
        yield Static(id="card-detail", markup=False)
        yield Static(Text(_EMPTY), id="cards-empty", classes="empty")

    def show(self, snapshot: Snapshot) -> None:
        """Cards change without the node's news: look again each time."""
        self._read()

    def refresh_view(self) -> None:
        """Also without an open card."""
        super().refresh_view()
        if self.is_mounted and not self.host.has_session:
            for line in self.query(StatusLine):
                line.put([("no card is open", "yellow")])
            self._read()

    @work(exclusive=True, group="cards")
    async def _read(self) -> None:
        is_read, found = await self.do(self.host.door.cards())
        if is_read and found is not None:
            self._cards = found
            with contextlib.suppress(NoMatches):  # the screen may be on its way
                self._draw()

    def _draw(self) -> None:
        table = self.query_one(KeyedTable)
        table.display = bool(self._cards)
        self.query_one("#cards-empty").display = not self._cards
        table.fill(_COLUMNS, [self._row(one) for one in self._cards])
        if self.focused is None and self._cards:
            table.focus()
        self._show_detail()

    def _is_open(self, card: CardInfo) -> bool:
        return self.host.has_session and self.session.name == card.name

    def _row(self, card: CardInfo) -> Row:
        words, style = card_words.state_words(card, is_open=self._is_open(card))
        return Row(
            card.name,
            (
                safe(card.name, 30),
                card_words.kind_words(card),
                Text(words, style),
                card_words.key_words(card),
                "yes" if card.is_locked else "no",
                safe(card.address, 40),
            ),
        )

    def on_data_table_row_highlighted(self) -> None:
        """Another row, other details."""
        self._show_detail()

    def _show_detail(self) -> None:
        card = self._current()
        shown = Text()
        if card is not None:
            shown.append(f"{safe(card.name, 40)}", "bold")
            if card.problem:
                shown.append(f": cannot be opened. {safe(card.problem, 500)}", "red")
            elif card.warning:
                shown.append(f": {safe(card.warning, 500)}", "bold yellow")
            shown.append(f"\n{card_words.what_next(card, is_open=self._is_open(card))}")
            if card.public_key is not None:
                shown.append(f"\n{card.public_key.to_text()}", "dim")
            if card.address:
                shown.append(f"\nruns at {safe(card.address, 60)}", "dim")
        self.query_one("#card-detail", Static).update(shown)

    def _current(self) -> CardInfo | None:
        key = self.query_one(KeyedTable).current_key
        return next((one for one in self._cards if one.name == key), None)

    def _to_change(self) -> CardInfo | None:
        """The card under the cursor, if anything may be changed."""
        card = self._current()
        return card if card is not None and self.may_change() else None

    # --- opening and closing --------------------------------------------------------------------

    def on_data_table_row_selected(self) -> None:
        """Enter opens it."""
        card = self._current()
        if card is None or self._is_open(card):
            return
        if not card.is_enabled:
            self.flash("a disabled card is not opened: space enables it")
        elif not self.host.has_session or self.may_change():
            self.host.run_worker(self.host.open_card(card.name), group="start")

    @work(group="change")
    async def action_toggle(self) -> None:  # type: ignore[override]  # a node's own takes an attribute
        """Enable, or disable and take offline."""
        card = self._to_change()
        if card is None:
            return
        name = safe(card.name, 30)
        if not card.is_enabled:
            await self.do(self.host.door.set_enabled(card.name, is_enabled=True), "enabled")
        elif self._is_open(card):
            question = (
                f"Take {name} offline and disable it? Nobody can pay through or to it until you enable and"
                " open it again."
            )
            if not await self.host.push_screen_wait(
                Confirm("Disable card", question, "Disable", "d")
            ):
                return
            is_closed, _ = await self.do(self.host.close_card())
            if is_closed:
                await self.do(self.host.door.set_enabled(card.name, is_enabled=False), "disabled")
        else:
            await self.do(self.host.door.close(card.name))
            await self.do(self.host.door.set_enabled(card.name, is_enabled=False), "disabled")
        self.refresh_view()

    # --- making and changing --------------------------------------------------------------------

    def action_new(self) -> None:
        """One more card."""
        if self.may_change():
            self.host.set_up()

    @work(group="change")
    async def action_edit(self) -> None:
        """Rename."""
        card = self._to_change()
        if card is None:
            return
        question = "What this computer calls the card, and your invites:"
        name = await self.host.push_screen_wait(
            Ask("Rename card", question, card.name, length=NAME_MAX)
        )
        if not name or name.strip() == card.name:
            return
        new, is_open = name.strip(), self._is_open(card)
        if card.place is CardPlace.HERE or is_open:
            is_closed, _ = await self.do(self.host.door.close(card.name))
            if not is_closed:
                return
        is_done, _ = await self.do(self.host.door.rename(card.name, new), "renamed")
        if is_open:
            self.host.run_worker(self.host.open_card(new if is_done else card.name), group="start")
        self._read()

    @work(group="change")
    async def action_backup(self) -> None:
        """Back up."""
        card = self._to_change()
        if card is not None:
            await back_up(self, card.name)
            self._read()

    @work(group="change")
    async def action_passphrase(self) -> None:
        """Set, change or take away the passphrase."""
        card = self._to_change()
        if card is not None:
            await change_passphrase(self, card)
            self._read()

    @work(group="change")
    async def action_remove(self) -> None:
        """Remove a closed card."""
        card = self._to_change()
        if card is None:
            return
        kept = card_words.why_not_removed(card, is_open=self._is_open(card))
        if kept:
            self.flash(kept, is_error=True)
            return
        word = card.name if card.name.isascii() and card.name.isprintable() else "remove"
        confirmed = await self.host.push_screen_wait(
            TypeToConfirm("Remove card", card_words.removal_lines(card), word, "Remove")
        )
        if not confirmed:
            return
        if card.place is CardPlace.HERE:
            await self.do(self.host.door.close(card.name))
        is_done, path = await self.do(self.host.door.remove(card.name))
        if is_done:
            self.flash(f"removed; its files are in {path}")
        self._read()

    # --- apps and remote cards ------------------------------------------------------------------

    def action_apps(self) -> None:
        """Who else may use it."""
        card = self._current()
        if card is None:
            return
        if card.kind is CardKind.REMOTE:
            self.flash("this card runs elsewhere: apps are allowed there", is_error=True)
            return
        from offset_tui.screens.apps import AppsScreen  # noqa: PLC0415 - drawn only then

        self.host.push_screen(AppsScreen(card.name))

    @work(group="change", exclusive=True)
    async def action_test(self) -> None:
        """Connect to a remote card."""
        card = self._current()
        if card is None:
            return
        if card.kind is not CardKind.REMOTE:
            self.flash("only cards that run elsewhere need a test: enter opens this one")
            return
        self.flash(f"connecting to {card.address}")
        is_done, granted = await self.do(self.host.door.test(card.name))
        if is_done and granted is not None:
            self.flash(f"it answers; you may: {permission_words(granted)}")
