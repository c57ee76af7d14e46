"""Settings: how amounts are shown, what the card does by itself, lock, inbox, looks.

One list; Enter changes the row under the cursor. The theme is of the app, everything else of the open card.
Source: apps.md §5 S38; RMP-30, RMP-36; design R8.
"""

import os
from dataclasses import replace
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine.cards.settings import CardSettings
from offset_engine.client import Currency
from offset_engine.text import EntryError, safe
from offset_tui import setting_words, staying, user_keys
from offset_tui.dialogs.base import Ask, TypeToConfirm
from offset_tui.dialogs.pick import Pick
from offset_tui.doors import AppSettings, CardKind
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.table import Column, KeyedTable, Row

_COLUMNS: Final = (Column("Setting"), Column("Now"))
_FLAGS: Final = {"collect": "auto_collect", "notify": "notifications"}


class SettingsScreen(CardScreen):
    """See the module."""

    SECTION = "settings"
    TOPIC = "settings"
    AUTO_FOCUS = "KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("list.edit")]

    def body(self) -> ComposeResult:
        """The list, and what the row under the cursor means."""
        yield Static(id="settings-problem", markup=False)
        yield KeyedTable(id="settings")
        yield Static(id="setting-detail", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw them."""
        problem = self.session.card.settings_problem
        said = self.query_one("#settings-problem", Static)
        said.display = bool(problem)
        said.update(Text(setting_words.problem(problem), "yellow"))
        rows = setting_words.rows(
            self.session.settings,
            self._currencies(),
            self._theme_name,
            user_keys.changed(self.host.options.keys),
        )
        self.query_one(KeyedTable).fill(
            _COLUMNS, [Row(one.key, (one.title, one.now)) for one in rows]
        )
        self._show_detail()

    @property
    def _theme_name(self) -> str:
        return self.host.theme

    def _currencies(self) -> tuple[Currency, ...]:
        """Those of the settings, then any other a friend uses."""
        known = [one.currency for one in self.session.settings.currencies]
        for friend in self.session.snapshot.report.friends:
            known += [one.currency for one in friend.currencies]
        return tuple(dict.fromkeys(known))

    def on_data_table_row_highlighted(self) -> None:
        """Another row, other words."""
        self._show_detail()

    def _show_detail(self) -> None:
        key = self.query_one(KeyedTable).current_key
        words = "" if key is None else setting_words.explained(key)
        if key == "keys":
            words = f"{words} {safe(str(user_keys.path()), 400)}"
        self.query_one("#setting-detail", Static).update(Text(words))

    # --- changing -------------------------------------------------------------------------------

    def on_data_table_row_selected(self) -> None:
        """Enter changes it."""
        self.action_edit()

    @work(group="change", exclusive=True)
    async def action_edit(self) -> None:
        """Change the row under the cursor."""
        key = self.query_one(KeyedTable).current_key
        if key is None:
            return
        if key == "theme":
            await self._choose_theme()
        elif key == "keys":
            self.flash("write your keys into the file named below; it counts from the next start")
        elif not self.may_change():
            return
        elif key in _FLAGS:
            name = _FLAGS[key]
            is_on = not getattr(self.session.settings, name)
            await self._save(**{name: is_on})
        elif key == "stays":
            await self._stay()
        elif key.startswith("decimals "):
            await self._change_decimals(Currency.of(key.removeprefix("decimals ")))
        else:
            await self._ask(key)

    async def _save(self, **changes: object) -> bool:
        settings: CardSettings = replace(self.session.settings, **changes)  # type: ignore[arg-type]
        is_done, _ = await self.do(self.session.save_settings(settings), "saved")
        self.refresh_view()
        return is_done

    async def _ask(self, key: str) -> None:
        """A setting that is typed."""
        title, question = setting_words.question(key)
        value = setting_words.typed(key, self.session.settings)
        while True:
            typed = await self.host.push_screen_wait(Ask(title, question, value, length=1_024))
            if typed is None:
                return
            try:
                changes = setting_words.read(key, typed)
            except EntryError as problem:
                question, value = f"{setting_words.question(key)[1]}\n\n! {problem}", typed
                continue
            await self._save(**changes)
            return

    async def _change_decimals(self, currency: Currency) -> None:
        """Typed twice: old numbers look different from then on (design R8)."""
        now = self.session.decimals(currency)
        title = f"Decimals of {currency}"
        typed = await self.host.push_screen_wait(
            Ask(title, setting_words.DECIMALS_QUESTION, str(now), length=3)
        )
        if typed is None:
            return
        try:
            wanted = setting_words.decimals(typed)
        except EntryError as problem:
            self.flash(str(problem), is_error=True)
            return
        if wanted == now and currency in {one.currency for one in self.session.settings.currencies}:
            return
        lines = setting_words.decimals_warning(currency, now, wanted)
        if await self.host.push_screen_wait(TypeToConfirm(title, lines, currency, "Change")):
            settings = setting_words.with_decimals(self.session.settings, currency, wanted)
            await self._save(currencies=settings.currencies)

    async def _stay(self) -> None:
        """Over to the background, or back."""
        if self.session.card.kind is CardKind.REMOTE:
            self.flash("this card runs elsewhere: whether it stays online is decided there")
            return
        choice = await self.host.push_screen_wait(
            Pick("Stay online", setting_words.explained("stays"), setting_words.STAY_CHOICES)
        )
        if choice is not None:
            await staying.decide(self.host, stays=choice == "yes")
            self.refresh_view()

    async def _choose_theme(self) -> None:
        known = [name for name, _ in setting_words.THEMES if name in self.host.available_themes]
        words = dict(setting_words.THEMES)
        chosen = await self.host.push_screen_wait(
            Pick("Theme", "", [(name, words[name]) for name in known])
        )
        if chosen is None:
            return
        self.host.theme = chosen
        done = "saved"
        if "TEXTUAL_THEME" in os.environ:
            done = "used until you leave: TEXTUAL_THEME in the environment comes first at the start"
        await self.do(self.host.door.save_app_settings(AppSettings(chosen)), done)
        self.refresh_view()
