"""How a currency is read that this card has not used yet: asked once, before anything is signed.

Source: design R8.
"""

from typing import Final

from offset_engine.client import Currency
from offset_engine.text import money_text, safe
from offset_tui.dialogs.pick import Decide
from offset_tui.screens.base import CardScreen

_USUAL: Final = (2, 0, 3, 5, 8)
_MOST: Final = 38
"""More digits than the largest amount has."""


def is_known(screen: CardScreen, currency: Currency) -> bool:
    """Whether the card has used a currency: in its settings, or with a friend."""
    session = screen.session
    return any(one.currency == currency for one in session.settings.currencies) or any(
        line.currency == currency
        for friend in session.snapshot.report.friends
        for line in friend.currencies
    )


async def fix_decimals(screen: CardScreen, currency: Currency, stated: int, amount: int) -> bool:
    """See that the decimals of a currency are fixed, asking if the card has never used it.

    Args:
        screen: where the question is asked.
        currency: the currency.
        stated: what an invoice says, or the card's own habit; above 38 = nothing useful.
        amount: credits, to show what each answer means.

    Returns:
        Whether they are fixed now.
    """
    session = screen.session
    decimals = session.decimals(currency)
    if not is_known(screen, currency):
        usual = [one for one in _USUAL if one != stated]
        choices = [stated, *usual] if stated <= _MOST else usual
        options = [
            (
                str(one),
                f"{one} {'digit' if one == 1 else 'digits'}: "
                f"{money_text(amount, currency, one)}"
                + (" (as the invoice says)" if one == stated else ""),
            )
            for one in choices
        ]
        question = (
            f"This card uses {safe(currency)} for the first time. How many digits stand after the"
            " point? It stays like this."
        )
        chosen = await screen.app.push_screen_wait(Decide("A new currency", question, options))
        if chosen is None:
            return False
        decimals = int(chosen)
    is_kept, _ = await screen.do(session.use_currency(currency, decimals))
    return is_kept
