"""Which card pays an invoice: every card, with what it can pay in the invoice's currency.

Cards that run are asked; one that does not run is not started only to be looked at.

Source: apps.md §5 S5 (MOB-05).
"""

from typing import TYPE_CHECKING, Final

import anyio

from offset_engine.client import Invoice
from offset_engine.errors import OffsetError
from offset_engine.text import safe
from offset_tui import sale_words, state
from offset_tui.dialogs.pick import Decide
from offset_tui.doors import CardInfo, CardPlace
from offset_tui.sale_words import Fitness
from offset_tui.session import READ_ONLY
from offset_tui.widgets.facts import plain

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp

ANSWER_S: Final = 2.0
"""A card that takes longer to answer is offered without saying what it can pay."""


async def fitness_of(app: "OffsetApp", card: CardInfo, invoice: Invoice) -> Fitness:
    """What a card can do about an invoice."""
    if card.problem:
        return Fitness(f"cannot be opened: {safe(card.problem, 60)}", 4, is_usable=False)
    if not card.is_enabled:
        return Fitness("disabled; space on 8 Cards enables it", 4, is_usable=False)
    if card.name == app.session.name:
        report, book = app.session.snapshot.report, app.session.notebook
        digits = app.session.decimals(invoice.currency)
    elif card.place is CardPlace.OFF:
        needs = ", and needs its passphrase" if card.is_locked else ""
        return Fitness(f"does not run{needs}; it is opened if you choose it")
    else:
        try:
            opened = await app.door.open(card.name)
            book = await app.door.notebook(card.name)
            with anyio.fail_after(ANSWER_S):
                report = await opened.client.report()
        except (OffsetError, TimeoutError) as problem:
            return Fitness(safe(str(problem), 60) or "it does not answer now")
        digits = opened.settings.decimals_of(invoice.currency)
    lines = state.all_lines(report, book)
    return sale_words.fitness(lines, invoice.currency, invoice.total_dest_payment, digits)


async def choose_paying_card(app: "OffsetApp", invoice: Invoice) -> str | None:
    """Ask which card pays; None if none was chosen or it cannot be used. Call it in a worker."""
    if app.options.is_read_only:
        app.tell(READ_ONLY, is_error=True)
        return None
    try:
        cards = await app.door.cards()
    except OffsetError as problem:
        app.tell(str(problem), is_error=True)
        return None
    found = {one.name: (one, await fitness_of(app, one, invoice)) for one in cards}
    here = app.session.name
    order = sorted(found, key=lambda name: (name != here, found[name][1].rank, name))
    options = [
        (
            name,
            plain(
                f"{safe(name, 24)}{' (shown now)' if name == here else ''}: {found[name][1].words}",
                is_ascii=app.options.is_ascii,
            ),
        )
        for name in order
    ]
    chosen: str | None = await app.push_screen_wait(
        Decide(
            "Pay with which card?", "The invoice is shown again on the card you choose.", options
        )
    )
    if chosen is None or chosen == here:
        return None
    if not found[chosen][1].is_usable:
        app.tell(found[chosen][1].words, is_error=True)
        return None
    return chosen
