"""What the screens say about cards: kind, place, and what can be done with one now. Pure.

Source: apps.md §5 S22 to S26; issue of the app, "Cards".
"""

from offset_engine.text import fingerprint, safe
from offset_tui.doors import CardInfo, CardKind, CardPlace


def kind_words(card: CardInfo) -> str:
    """Where it lives."""
    return "here" if card.kind is CardKind.LOCAL else "elsewhere"


def state_words(card: CardInfo, *, is_open: bool) -> tuple[str, str]:
    """(words, style) of what it is doing; a mark in front where something is to be looked at."""
    words, style = _doing(card, is_open=is_open)
    return (f"! {words}", "bold yellow") if card.warning and not card.problem else (words, style)


def _doing(card: CardInfo, *, is_open: bool) -> tuple[str, str]:
    if card.problem:
        return "broken", "bold red"
    if is_open:
        return "open", "bold green"
    if not card.is_enabled:
        return "disabled", "dim"
    if card.place is CardPlace.HERE:
        return "online", "green"
    if card.place is CardPlace.BACKGROUND:
        return "in background", "green"
    return "closed", ""


def key_words(card: CardInfo) -> str:
    """Its fingerprint; "?" while a locked card does not tell."""
    return "?" if card.public_key is None else fingerprint(card.public_key)


def line(card: CardInfo, *, is_open: bool) -> str:
    """One line to choose it by."""
    words, _ = state_words(card, is_open=is_open)
    lock = ", passphrase" if card.is_locked else ""
    return f"{safe(card.name, 30)} · {key_words(card)} · {kind_words(card)}, {words}{lock}"


def what_next(card: CardInfo, *, is_open: bool) -> str:
    """What can be done with it, by which key."""
    if card.problem:
        return "x removes it; n restores a backup"
    first = "open now" if is_open else "enter opens it" if card.is_enabled else "space enables it"
    other = "t tests the connection" if card.kind is CardKind.REMOTE else "a apps and devices"
    return f"{first}; p passphrase, {other}"


def why_not_removed(card: CardInfo, *, is_open: bool) -> str:
    """Why a card cannot be removed now; "" if it can."""
    if is_open:
        return "this card is open: space closes and disables it first"
    if card.place is CardPlace.BACKGROUND:
        return "this card runs in the background: open it, then space takes it offline first"
    return ""


def removal_lines(card: CardInfo) -> str:
    """What removing costs."""
    if card.kind is CardKind.REMOTE:
        return (
            f"The way to {safe(card.name, 30)} leaves this computer; the card itself goes on elsewhere."
            " Its .rcard can be added again."
        )
    return (
        f"{safe(card.name, 30)} leaves the list: its key, friends and balances can then no longer be used"
        " here. The directory is moved aside, not erased. Friends still count on what is owed.\n\n"
        "Without a backup (b) the card is gone once that directory is."
    )
