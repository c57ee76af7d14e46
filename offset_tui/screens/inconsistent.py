"""When two cards disagree about what is owed: both proposals in our own sign and units, and what accepting costs.

Source: apps.md §5 S31 (MOB-41); PROTOCOL.md, "Inconsistency"; tui.md §9 (danger ladder).
"""

from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from offset_engine.client import FriendReport, PublicKey, ResetFriendChannel, TermsReport
from offset_engine.text import fingerprint, format_amount
from offset_tui import dispute_words, people, state
from offset_tui.dialogs.base import TypeToConfirm
from offset_tui.dialogs.share_text import TextShareScreen
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.credit import balance

_CAUSE: Final = (
    "Why this happens: one of the two cards was restored from an old backup, runs in two places at"
    " once, or its program has a fault. Talk to {name} first: y makes a text to send with what differs and"
    " what to press. Then one of you accepts the other's. Nothing passes between you until then."
)


class InconsistentScreen(CardScreen):
    """See the module."""

    SECTION = "friends"
    TOPIC = "friends"
    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("inconsistent.accept", "inconsistent.tell")]

    def __init__(self, key: PublicKey) -> None:
        super().__init__()
        self.key = key

    def body(self) -> ComposeResult:
        """Both proposals."""
        with VerticalScroll():
            yield Static(id="friend-head", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw them."""
        friend = snapshot.friend(self.key)
        self.query_one("#friend-head", Static).update(self.legible(self._words(friend, snapshot)))

    def _words(self, friend: FriendReport | None, snapshot: Snapshot) -> Text:
        if friend is None:
            return Text("This friend is no longer on this card. q goes back.")
        name = state.friend_names(snapshot.report)[self.key]
        if friend.is_consistent:
            return Text(f"You and {name} agree again: payments can pass. q goes back.")
        shown = Text.assemble((f"{name} · {fingerprint(self.key)}: balances disagree\n\n", "bold"))
        found = people.differences(friend.local_terms, friend.remote_terms)
        for one in found:
            shown.append_text(self._block(one, name))
        if not found:
            shown.append("Neither side proposes any balance.\n\n")
        shown.append_text(self._next(friend, name, found))
        shown.append("\n\n" + _CAUSE.format(name=name), "dim")
        return shown

    def _block(self, one: people.Difference, name: str) -> Text:
        decimals = self.session.decimals(one.currency)
        is_ascii = self.host.options.is_ascii
        theirs = f"{name}'s proposal"
        width = max(len("my proposal"), len(theirs)) + 2
        shown = Text.assemble((f"{one.currency}\n", "bold"))
        shown.append(f"  {'my proposal':<{width}}")
        shown.append_text(balance(one.mine, decimals, is_ascii=is_ascii))
        shown.append(f"\n  {theirs:<{width}}")
        if one.theirs is None:
            shown.append("not known yet\n\n", "dim")
            return shown
        shown.append_text(balance(one.theirs, decimals, is_ascii=is_ascii))
        shown.append(f"\n  {'difference':<{width}}")
        change = format_amount(one.change, decimals, sign=True, ascii_only=is_ascii)
        words, style = _change_words(one.change)
        shown.append(f"{change} {words}\n\n", style)
        return shown

    def _next(self, friend: FriendReport, name: str, found: tuple[people.Difference, ...]) -> Text:
        theirs = friend.remote_terms
        if theirs is None:
            return Text(
                f"{name}'s proposal is not here yet: it comes by itself once both of you are online.",
                "yellow",
            )
        if not theirs.is_acceptable:
            return Text(
                f"{name}'s proposal is older than what you agreed on before, so it cannot be accepted:"
                f" {name} has to accept yours.",
                "yellow",
            )
        said = ", ".join(people.change_sentences(found, self.session.decimals))
        shown = Text.assemble((f"If you accept {name}'s proposal (a): {said}.", "bold"))
        shown.append(f"\nIf {name} accepts yours instead, your numbers stand.", "")
        return shown

    def action_tell_friend(self) -> None:
        """A text for the friend, in their sign."""
        snapshot = self.session.snapshot
        friend = snapshot.friend(self.key)
        if friend is None or friend.is_consistent:
            self.flash("you two agree about the balances: there is nothing to tell")
            return
        name = state.friend_names(snapshot.report)[self.key]
        own = (self.session.name, self.session.public_key)
        self.host.push_screen(
            TextShareScreen(
                dispute_words.letter(friend, own, self.session.decimals),
                f"A text for {name}: what differs, and what to press",
                f"balances-{fingerprint(self.key)}.txt",
                "Send it the way you usually write to each other.",
            )
        )

    @work(group="accept", exclusive=True)
    async def action_accept(self) -> None:
        """Accept exactly the proposal shown when the key was pressed."""
        friend = self.session.snapshot.friend(self.key)
        if friend is None or friend.is_consistent:
            self.flash("there is nothing to accept any more")
            return
        theirs = friend.remote_terms
        name = state.friend_names(self.session.snapshot.report)[self.key]
        if theirs is None or not theirs.is_acceptable:
            self.flash(f"{name}'s proposal cannot be accepted yet", is_error=True)
            return
        if not self.may_change():
            return
        dialog = TypeToConfirm(
            f"Accept {name}'s proposal",
            self._question(friend, theirs, name),
            people.confirm_word(friend),
            "Accept theirs",
        )
        if await self.host.push_screen_wait(dialog):
            command = ResetFriendChannel(self.key, theirs.terms_hash)
            said = f"accepted: you and {name} start again from these balances"
            await self.do(self.session.client.command(command), said)

    def _question(self, friend: FriendReport, theirs: TermsReport, name: str) -> Text:
        found = people.differences(friend.local_terms, theirs)
        shown = Text(f"{name} · {fingerprint(self.key)}\n\n")
        for sentence in people.change_sentences(found, self.session.decimals):
            shown.append(f"- {sentence}\n", "bold")
        shown.append("\nAfterwards these balances hold:\n")
        for one in found:
            decimals = self.session.decimals(one.currency)
            shown.append(f"- {one.currency} ")
            shown.append_text(
                balance(one.theirs or 0, decimals, is_ascii=self.host.options.is_ascii)
            )
            shown.append("\n")
        shown.append("This cannot be taken back.")
        return shown


def _change_words(change: int) -> tuple[str, str]:
    if not change:
        return "no difference", "dim"
    return ("you lose", "bold red") if change < 0 else ("you gain", "bold green")
