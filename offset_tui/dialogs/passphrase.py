"""Protecting a card with a passphrase, changing it, taking it away.

Source: apps.md RMP-21, RMP-36; tui.md §9 (what cannot be undone is typed).
"""

from typing import Final

from offset_engine.text import safe
from offset_tui.dialogs.fields import Field, FieldsDialog, Filled
from offset_tui.dialogs.pick import Pick
from offset_tui.doors import CardInfo
from offset_tui.screens.base import CardScreen
from offset_tui.screens.unlock import PASSPHRASE_MAX

_ABOUT: Final = (
    "It protects the key and, while the card is closed, its whole database. It is asked for whenever the card"
    " is opened. Nobody can recover it: write it down somewhere safe."
)
_CHOICES: Final = (("change", "Change it"), ("remove", "Take it away"))


async def change_passphrase(screen: CardScreen, card: CardInfo) -> bool:
    """Ask and do it; call it in a worker. False if nothing changed."""
    app = screen.host
    choice: str | None = "set"
    if card.is_locked:
        choice = await app.push_screen_wait(
            Pick(f"Passphrase of {safe(card.name, 30)}", "", _CHOICES)
        )
    if choice is None:
        return False
    rows = [
        *((_secret("old", "Passphrase now"),) if card.is_locked else ()),
        *(
            (_secret("new", "New passphrase"), _secret("again", "The same again"))
            if choice != "remove"
            else ()
        ),
    ]
    lines = (
        _ABOUT
        if choice != "remove"
        else "Whoever can read this computer's files then has the card."
    )
    verb = "Take away" if choice == "remove" else "Protect"
    filled = await app.push_screen_wait(
        FieldsDialog(f"Passphrase of {safe(card.name, 30)}", lines, rows, verb, _problem)
    )
    if filled is None:
        return False
    screen.flash("one moment: this takes a second on purpose")
    is_done, _ = await screen.do(
        app.door.set_passphrase(card.name, filled.texts.get("old"), filled.texts.get("new")),
        "the card is no longer protected" if choice == "remove" else "the card is protected",
    )
    return is_done


def _secret(key: str, label: str) -> Field:
    return Field(key, label, is_secret=True, length=PASSPHRASE_MAX)


def _problem(filled: Filled) -> str:
    if any(not text for text in filled.texts.values()):
        return "fill in every line"
    if filled.texts.get("new") != filled.texts.get("again"):
        return "the new passphrases differ: type them again"
    return ""
