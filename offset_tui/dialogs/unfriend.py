"""Forgetting a friend: first what is lost, then a name to type, unless nothing is.

Source: apps.md §5 S30 (MOB-35), §6.11 (RMP-06); tui.md §9 (danger ladder).
"""

from rich.text import Text

from offset_engine.client import FriendReport, PublicKey, RemoveFriend
from offset_engine.text import fingerprint
from offset_tui import people, state
from offset_tui.dialogs.base import Confirm, TypeToConfirm
from offset_tui.screens.base import CardScreen

_SETTLE = (
    "\nBetter settle first: whoever owes pays the other until the balance is 0, or both agree"
    " outside of Offset; then nothing is lost here."
)


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
        dialog: Confirm | TypeToConfirm = TypeToConfirm(
            f"Unfriend {name}",
            _losses(friend, who, parting),
            people.confirm_word(friend),
            "Unfriend and lose this",
        )
    else:
        question = f"Forget {who}? Nothing is owed or pending, so nothing is lost."
        dialog = Confirm(f"Unfriend {name}", question, "Unfriend", "y")
    if await screen.host.push_screen_wait(dialog):
        command = RemoveFriend(key, force=parting.needs_force)
        await screen.do(screen.session.client.command(command), f"{name} is no friend any more")


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
