"""What a friend signed last: a proof of the balances that anybody can check.

Source: apps.md §5 S30 (t); offset-docs "friend-last-token".
"""

from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from offset_engine import files
from offset_engine.client import PublicKey
from offset_engine.disk import expanded
from offset_engine.errors import OffsetError
from offset_engine.files import Token
from offset_engine.text import fingerprint, safe
from offset_tui import state
from offset_tui.dialogs.base import Ask
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.credit import balance


class FriendTokenScreen(CardScreen):
    """See the module."""

    SECTION = "friends"
    TOPIC = "friends"
    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("token.export")]

    def __init__(self, key: PublicKey) -> None:
        super().__init__()
        self.key = key

    def body(self) -> ComposeResult:
        """Its numbers and whether it holds."""
        with VerticalScroll():
            yield Static(id="friend-head", markup=False)

    def _token(self) -> Token | None:
        friend = self.session.snapshot.friend(self.key)
        last = None if friend is None else friend.last_incoming
        if last is None:
            return None
        return Token(last.prefix_hash, last.rand_nonce, last.new_token, last.token_info)

    def show(self, snapshot: Snapshot) -> None:
        """Draw it."""
        token = self._token()
        shown = (
            Text("There is nothing signed by this friend any more. q goes back.")
            if token is None
            else self._words(token, snapshot)
        )
        self.query_one("#friend-head", Static).update(self.legible(shown))

    def _words(self, token: Token, snapshot: Snapshot) -> Text:
        name = state.friend_names(snapshot.report).get(self.key, "")
        info = token.info.flipped
        is_ascii = self.host.options.is_ascii
        shown = Text.assemble((f"What {name} · {fingerprint(self.key)} signed last\n\n", "bold"))
        verdict = files.verify_token(token, self.key, snapshot.report.local_public_key)
        if verdict.failed is None:
            shown.append("The signature is good: ", "bold green")
            shown.append(f"{name} acknowledges these balances, and anybody can check it.\n")
        else:
            shown.append(f"This does not hold: {verdict.failed.value}.\n", "bold red")
        for currency, held in info.balances:
            decimals = self.session.decimals(currency)
            shown.append(f"\n{currency:<16} ", "bold")
            shown.append_text(balance(held.balance, decimals, is_ascii=is_ascii))
            is_pending = held.local_pending_debt or held.remote_pending_debt
            shown.append("  (something pending)" if is_pending else "")
        if not info.balances:
            shown.append("\nno currency is agreed yet")
        shown.append(
            f"\n\nnumber {info.move_token_counter:,}; fresh starts before:"
            f" {info.inconsistency_counter}"
            "\nLater ones replace it, so whoever is shown it may ask for a newer one."
            "\n\nE writes it to a file; `stverify verify-token` checks that file."
        )
        return shown

    @work(group="export", exclusive=True)
    async def action_export(self) -> None:
        """Write the token shown when the key was pressed."""
        token = self._token()
        if token is None:
            self.flash("there is nothing to write")
            return
        start = str(Path.home() / files.file_name(token, "", ""))
        typed = await self.host.push_screen_wait(
            Ask("Write to a file", "Path of the new file:", start, length=1024)
        )
        if typed:
            self._write(typed, token)

    def _write(self, typed: str, token: Token) -> None:
        try:
            path = expanded(typed)
            files.write(path, token)
        except OffsetError as problem:
            self.flash(str(problem), is_error=True)
        else:
            self.flash(f"written to {safe(str(path), 200)}")
