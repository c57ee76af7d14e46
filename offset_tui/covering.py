"""A seller who covers fees: asks for less, so that price and fees together are the price. Pure.

Whoever pays pays the fees of the way on top, and only they know them. So "I cover fees up to N" is an invoice of
the price less N, which says so: with fees up to N the buyer pays the price at most, and the seller gets what the
invoice asks for. Nothing of it needs the buyer's program. Amounts are credits.

Source: apps.md §6.11, RMP-03; PROTOCOL.md, "Decisions".
"""

from offset_engine.text import EntryError, format_amount, money_text
from offset_tui.sale_words import check_description


def asked(price: int, cover: int) -> int:
    """What the invoice asks for.

    Raises:
        EntryError: nothing would be left.
    """
    if cover >= price:
        raise EntryError("this is the whole price: cover less")
    return price - cover


def described(description: str, price: int, cover: int, currency: str, decimals: int) -> str:
    """What the invoice is for, with what the buyer should know; signed like everything on it.

    Raises:
        EntryError: it gets too long.
    """
    if not cover:
        return description
    whole, part = money_text(price, currency, decimals), format_amount(cover, decimals)
    return check_description(
        f"{description} (price {whole}; the seller covers fees up to {part})".strip()
    )


def words(price: int, cover: int, currency: str, decimals: int) -> str:
    """What covering means for both; "" if nothing is covered."""
    if not cover or cover >= price:
        return ""
    gets, whole = format_amount(price - cover, decimals), money_text(price, currency, decimals)
    return (
        f"you get {gets}; the buyer pays {whole} at most while fees are not above"
        f" {format_amount(cover, decimals)}, and less if they are lower"
    )
