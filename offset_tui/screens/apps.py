"""The apps and devices that may use a card, what each may do, and keys for new ones.

Source: apps.md RMP-20, RMP-22; issue of the app, "Cards".
"""

from dataclasses import replace
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine.client import AppPermissions
from offset_engine.files import RemoteCard, parse
from offset_engine.text import fingerprint, safe
from offset_tui.dialogs.base import Ask, Confirm
from offset_tui.dialogs.fields import Field, FieldsDialog, Filled, Switch
from offset_tui.dialogs.secret_share import SecretShareScreen
from offset_tui.doors import AppKey
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.screens.setup_pages import permission_words
from offset_tui.session import Snapshot
from offset_tui.widgets.table import Column, KeyedTable, Row

_COLUMNS: Final = (Column("App"), Column("Key", rank=1), Column("May"))
_PERMISSIONS: Final = (
    Switch("read", "see friends and balances", is_on=True),
    Switch("buyer", "pay"),
    Switch("seller", "get paid"),
    Switch("transactions", "see all payments and invoices"),
    Switch("config", "change friends, limits and servers"),
    Switch("routes", "ask for routes (tools)"),
)
_EMPTY: Final = (
    "No other app or device may use this card.\n\n"
    "n  makes a key for one: a .rcard file, which is as secret as the card itself"
)
_ADDRESS: Final = (
    "Where will the other device reach this computer? HOST:PORT, like 192.168.1.20:3001. The card listens"
    " there the next time it is opened."
)


class AppsScreen(CardScreen):
    """See the module."""

    SECTION = "cards"
    TOPIC = "cards"
    AUTO_FOCUS = "KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("list.new", "list.remove")]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._card = name
        self._apps: tuple[AppKey, ...] = ()

    def body(self) -> ComposeResult:
        """Whose, the list, or how to begin."""
        yield Static(Text(f" Apps that may use {safe(self._card, 40)}", "bold"))
        yield KeyedTable(id="apps")
        yield Static(id="app-detail", markup=False)
        yield Static(Text(_EMPTY), id="apps-empty", classes="empty")

    def show(self, snapshot: Snapshot) -> None:
        """Look again."""
        self._read()

    @work(exclusive=True, group="apps")
    async def _read(self) -> None:
        is_read, found = await self.do(self.host.door.apps(self._card))
        if not is_read or found is None:
            return
        self._apps = found
        self.redraw(self._draw)

    def _draw(self) -> None:
        table = self.query_one(KeyedTable)
        table.display = bool(self._apps)
        self.query_one("#apps-empty").display = not self._apps
        table.fill(_COLUMNS, [_row(one) for one in self._apps])
        self._show_detail()

    def on_data_table_row_highlighted(self) -> None:
        """Another row, other details."""
        self._show_detail()

    def _show_detail(self) -> None:
        app = self._current()
        words = "" if app is None else safe(app.problem, 400)
        self.query_one("#app-detail", Static).update(Text(words, "red"))

    def _current(self) -> AppKey | None:
        key = self.query_one(KeyedTable).current_key
        return next((one for one in self._apps if one.name == key), None)

    @work(group="change")
    async def action_new(self) -> None:
        """A key for another device."""
        if not self.may_change() or not await self._has_address():
            return
        filled = await self.host.push_screen_wait(
            FieldsDialog(
                "A key for another app or device",
                "What may it do with this card?",
                (Field("name", "What you call it, like phone", length=64), *_PERMISSIONS),
                "Make the key",
                _problem,
            )
        )
        if filled is None:
            return
        granted = AppPermissions(**filled.switches)
        is_made, text = await self.do(
            self.host.door.new_app_key(self._card, filled.text("name"), granted)
        )
        self._read()
        if is_made and text is not None:
            self.host.push_screen(
                SecretShareScreen(
                    parse(text, RemoteCard),
                    f"The key {safe(filled.text('name'), 30)} uses {safe(self._card, 30)} with:"
                    f" {permission_words(granted)}",
                )
            )

    async def _has_address(self) -> bool:
        """A .rcard says where the card is reached: ask once."""
        is_read, settings = await self.do(self.host.door.settings(self._card))
        if not is_read or settings is None:
            return False
        if settings.app_address:
            return True
        typed = await self.host.push_screen_wait(Ask("Address for other devices", _ADDRESS))
        if not typed:
            return False
        changed = replace(settings, app_address=typed.strip())
        is_kept, _ = await self.do(self.host.door.save_settings(self._card, changed))
        if is_kept and self.host.has_session and self.session.name == self._card:
            await self.do(self.session.read_settings())
        return is_kept

    @work(group="change")
    async def action_remove(self) -> None:
        """Take the permission away."""
        app = self._current()
        if app is None or not self.may_change():
            return
        question = f"{safe(app.name, 40)} can then no longer use this card; it is cut off at once."
        if await self.host.push_screen_wait(Confirm("Remove app", question, "Remove", "x")):
            await self.do(self.host.door.remove_app(self._card, app.name), "removed")
            self._read()


def _row(app: AppKey) -> Row:
    key = "?" if app.public_key is None else fingerprint(app.public_key)
    may = "cannot be read" if app.permissions is None else permission_words(app.permissions)
    return Row(app.name, (safe(app.name, 30), key, may))


def _problem(filled: Filled) -> str:
    if not filled.text("name"):
        return "give it a name, so that you know later whose it is"
    if not any(filled.switches.values()):
        return "allow at least one thing"
    return ""
