"""The other cards: every enabled card is opened when the app starts, so that all of them can be paid.

Only the one chosen is shown, and if one was named on the command line the others are left alone. A card with a
passphrase is opened when somebody types it, a remote one runs elsewhere anyway, and one that runs in a process of
its own needs nobody.
Source: apps.md §6.9 CMP-06; design R47 (many cards in one process).
"""

from typing import TYPE_CHECKING

from offset_engine.errors import OffsetError
from offset_engine.text import safe
from offset_tui.doors import CardInfo, CardKind, CardPlace

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp


def is_to_open(card: CardInfo) -> bool:
    """Whether a card is opened without being asked for."""
    return (
        card.is_enabled
        and not card.is_locked
        and not card.problem
        and card.kind is CardKind.LOCAL
        and card.place is CardPlace.OFF
    )


async def open_others(app: "OffsetApp") -> None:
    """Open every other card that is to be; what does not open is said once. Call it in a worker."""
    if app.options.is_read_only or app.door.is_one_named:
        return
    shown = app.session.name
    for card in await app.door.cards():
        if card.name != shown and is_to_open(card):
            try:
                await app.door.open(card.name)
            except OffsetError as problem:
                app.tell(f"{safe(card.name, 24)} is not online: {problem}", is_error=True)


async def going_offline(app: "OffsetApp") -> str:
    """A sentence on the other cards that end with the app; "" if there are none."""
    names = [
        safe(one.name, 24)
        for one in await app.door.cards()
        if one.place is CardPlace.HERE and one.name != app.session.name
    ]
    if not names:
        return ""
    return f"{', '.join(names)} {'goes' if len(names) == 1 else 'go'} offline with the app."
