"""Money in words and the bar that shows a friendship: sign and word first, colour last.

Source: tui.md §8.
"""

from typing import Final

from rich.text import Text

from offset_engine import text

BAR_CELLS: Final = 14


def money(credits_: int, currency: str, decimals: int, *, is_ascii: bool = False) -> Text:
    """`1,250.00 OUSD`."""
    return Text(text.money_text(credits_, currency, decimals, ascii_only=is_ascii))


def balance(credits_: int, decimals: int, *, is_ascii: bool = False) -> Text:
    """`+12.00 owes you`, `−12.00 you owe` or `0 settled`, coloured as well."""
    style = "green" if credits_ > 0 else "red" if credits_ < 0 else "dim"
    return Text(text.balance_text(credits_, decimals, ascii_only=is_ascii), style)


def credit_bar(
    credits_: int,
    i_grant: int,
    granted: int | None,
    cells: int = BAR_CELLS,
    *,
    is_ascii: bool = False,
) -> Text:
    """Where a balance stands between what the friend grants us (left end) and what we grant (right end).

    Args:
        credits_: the balance; positive = the friend owes us.
        i_grant: the most the friend may owe us.
        granted: the most we may owe the friend, as far as we know; None = nobody said.
        cells: the bar's width, its ends included.
        is_ascii: plain characters only.
    """
    left, line, zero, mark, right = "[-|o]" if is_ascii else "├─┼●┤"
    low = -(granted if granted is not None else max(-credits_, i_grant, 1))
    high = max(i_grant, credits_, 1)
    low = min(low, credits_, -1)
    inner = max(cells - 2, 3)

    def place(amount: int) -> int:
        return (amount - low) * (inner - 1) // (high - low)

    bar = [line] * inner
    bar[place(0)] = zero
    bar[place(credits_)] = mark
    drawn = Text(left + "".join(bar) + right, "dim")
    style = "bold green" if credits_ > 0 else "bold red" if credits_ < 0 else "bold"
    style = f"not dim {style}"
    drawn.stylize(style, 1 + place(credits_), 2 + place(credits_))
    return drawn
