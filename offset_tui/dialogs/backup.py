"""Writing a backup of a card: where to, under which passphrase, and what to know about it.

Source: apps.md RMP-37; design R25.
"""

import os
from pathlib import Path
from typing import Final

from offset_engine.disk import expanded
from offset_engine.errors import FileError
from offset_engine.text import iso_local, safe
from offset_tui.dialogs.fields import Field, FieldsDialog, Filled
from offset_tui.screens.base import CardScreen
from offset_tui.screens.unlock import PASSPHRASE_MAX

_ABOUT: Final = (
    "The file holds this card's secret key, friends and balances, encrypted: whoever has file and passphrase"
    " has the card. Keep it on another device. It ages with every payment; restored, the card asks each"
    " friend before it signs anything."
)


def suggested_path(name: str, now_ms: int) -> str:
    """A new file in the home directory, named after card and day."""
    plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in name).strip("-")
    return str(Path("~") / f"offset-{plain or 'card'}-{iso_local(now_ms)[:10]}.backup")


def file_of(typed: str) -> Path:
    """The file a typed path means.

    Raises:
        FileError: no file can be meant.
    """
    return expanded(typed.strip())


def problem_of(path: str, passphrase: str, again: str | None = None) -> str:
    """Why a backup cannot be written like this; "" if it can be tried."""
    if not path.strip():
        return "say where to write the file"
    try:
        file = file_of(path)
    except FileError as error:
        return str(error)
    if os.path.lexists(file):
        return "this file exists; a backup never replaces one: choose another name"
    if not passphrase:
        return "a backup needs a passphrase: without one anybody who finds the file has the card"
    if again is not None and passphrase != again:
        return "the passphrases differ: type them again"
    return ""


async def back_up(screen: CardScreen, name: str) -> bool:
    """Ask, write, and say where it is; call it in a worker. False if it was not written."""
    if not screen.may_change():
        return False
    app = screen.host
    known = {one.name: one for one in await app.door.cards()}
    rows = [
        Field("path", "New file", suggested_path(name, app.clock()), length=1_024),
        Field("passphrase", "Passphrase of the backup", is_secret=True, length=PASSPHRASE_MAX),
        Field("again", "The same again", is_secret=True, length=PASSPHRASE_MAX),
    ]
    if name in known and known[name].is_locked:
        rows.append(Field("card", "Passphrase of the card", is_secret=True, length=PASSPHRASE_MAX))
    filled = await app.push_screen_wait(
        FieldsDialog(f"Back up {safe(name, 30)}", _ABOUT, rows, "Write", _problem)
    )
    if filled is None:
        return False
    try:
        path = file_of(filled.text("path"))
    except FileError as problem:
        screen.flash(str(problem), is_error=True)
        return False
    own = filled.texts.get("card") or None
    screen.flash("writing the backup; that takes a moment")
    is_written, _ = await screen.do(
        app.door.backup(name, path, filled.secret("passphrase"), own), f"written to {path}"
    )
    if is_written and app.has_session and app.session.name == name:
        await screen.do(app.session.read_settings())
        app.show_everywhere()
    return is_written


def _problem(filled: Filled) -> str:
    return problem_of(filled.text("path"), filled.secret("passphrase"), filled.secret("again"))
