"""Forgetting a friend: first what is lost, then a name to type, unless nothing is.

Source: apps.md §5 S30 (MOB-35), §6.11 (RMP-06); tui.md §9 (danger ladder).
"""

from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Button

from offset_engine.client import FriendReport, PublicKey, RemoveFriend
from offset_engine.text import fingerprint
from offset_tui import people, rebalance_words, state
from offset_tui.dialogs.base import Confirm, TypeToConfirm
from offset_tui.screens.base import CardScreen

_SETTLE = (
    "\nBetter settle first: rebalance moves what is owed over to other friends, or whoever owes pays the"
    " other until the balance is 0; then nothing is lost here."
)


class _Unfriend(TypeToConfirm):
    """The same with a better way before the last one."""

    wants_rebalance = False

    def answers(self) -> ComposeResult:
        """Cancel, rebalance, and the verb."""
        cancel, last = super().answers()
        yield cancel
        yield Button("Rebalance", id="rebalance", variant="primary", compact=True)
        yield last

    def answered(self, button: str) -> None:
        """Rebalancing is asked about on a screen of its own."""
        if button == "rebalance":
            self.wants_rebalance = True
            self.dismiss(False)
        else:
            super().answered(button)


def unfriend(screen: CardScreen, key: PublicKey) -> None:
    """Ask, and forget this friend: the one with this key, whatever the list shows by then."""
    screen.run_worker(_unfriend(screen, key), group="unfriend", exclusive=True)


async def _unfriend(screen: CardScreen, key: PublicKey) -> None:
    snapshot = screen.session.snapshot
    friend = snapshot.friend(key)
    if friend is None:
        screen.flash("this friend is gone already")
        return
    name = state.friend_names(snapshot.report)[key]
    lines = state.lines_of(friend, name, screen.session.notebook)
    parting = people.parting(friend, lines, screen.session.decimals)
    who = f"{name} · {fingerprint(key)}" if fingerprint(key) not in name else name
    if parting.needs_force:
        can_move = any(not rebalance_words.problem(one) for one in lines)
        dialog: Confirm | TypeToConfirm = (_Unfriend if can_move else TypeToConfirm)(
            f"Unfriend {name}",
            _losses(friend, who, parting),
            people.confirm_word(friend),
            "Unfriend anyway" if can_move else "Unfriend and lose this",
        )
    else:
        question = f"Forget {who}? Nothing is owed or pending, so nothing is lost."
        dialog = Confirm(f"Unfriend {name}", question, "Unfriend", "y")
    if await screen.host.push_screen_wait(dialog):
        command = RemoveFriend(key, force=parting.needs_force)
        await screen.do(screen.session.client.command(command), f"{name} is no friend any more")
    elif isinstance(dialog, _Unfriend) and dialog.wants_rebalance:
        from offset_tui.screens.rebalance import RebalanceScreen  # noqa: PLC0415 - only then

        screen.host.push_screen(RebalanceScreen(key))


def _losses(friend: FriendReport, who: str, parting: people.Parting) -> Text:
    shown = Text(f"{who}\n")
    for sentence in parting.lost:
        shown.append(f"- {sentence}\n", "bold")
    if not friend.is_consistent:
        shown.append("- the two of you disagree about the balances; that ends undecided\n", "bold")
    elif not parting.lost:
        shown.append("- something is still under way with this friend\n", "bold")
    shown.append(_SETTLE)
    return shown
