"""What a node charges for forwarding, as people write it: `0.5 % + 0.01`.

A share is kept in units of 2^-32 and rounded up when it is read, so that the fee is never less than what
was typed. The shortest number that reads back as the same share is shown, at most eight digits after
the point.

Source: offset-docs "Fees"; tui.md §8.
"""

from typing import Final

from offset_engine.core.values import U32_MAX, Rate
from offset_engine.text.amounts import EntryError, format_amount, parse_amount
from offset_engine.text.foreign import safe

_ONE: Final = 1 << 32
_PERCENT_DIGITS_MAX: Final = 8
"""More digits would say nothing: a step of 2^-32 is 0.00000002 %."""
_PERCENT_CHARS_MAX: Final = 30
_RATE_CHARS_MAX: Final = 100
_FREE: Final = "free"


def parse_percent(text: str) -> int:
    """Read `0.5`, `0.5%` or `0.5 %`.

    Returns:
        `Rate.mul`: the share in units of 2^-32, rounded up.

    Raises:
        EntryError: no number, 100 or more, or more than eight digits after the point.
    """
    return _percent(text, 0)


def _percent(text: str, shift: int) -> int:
    if len(text) > _PERCENT_CHARS_MAX:
        raise EntryError(f"a percentage has at most {_PERCENT_CHARS_MAX} characters", shift)
    start = shift + len(text) - len(text.lstrip(" "))
    body = text.strip(" ").removesuffix("%").rstrip(" ")
    whole, point, rest = body.partition(".")
    for place, character in enumerate(body):
        if not ("0" <= character <= "9" or character == "."):
            hint = "write 0.5 with a point" if character == "," else "write it like 0.5 %"
            raise EntryError(
                f"“{safe(character)}” at place {start + place + 1} does not belong into a "
                f"percentage: {hint}",
                start + place,
            )
    if not whole or (point and not rest) or "." in rest:
        raise EntryError("a percentage is written like 0.5 %", start)
    if len(rest) > _PERCENT_DIGITS_MAX:
        raise EntryError(
            f"a percentage has at most {_PERCENT_DIGITS_MAX} digits after the point",
            start + len(whole) + 1 + _PERCENT_DIGITS_MAX,
        )
    scale: int = 100 * 10 ** len(rest)
    mul = -(-int(whole + rest) * _ONE // scale)
    if mul > U32_MAX:
        raise EntryError("a percentage is less than 100 %", start)
    return mul


def format_percent(mul: int) -> str:
    """The share `Rate.mul` as `0.5 %`; `parse_percent` reads the same share back."""
    digits, scale = 0, 100
    number = mul * scale // _ONE
    while -(-number * _ONE // scale) < mul and digits < _PERCENT_DIGITS_MAX:
        digits += 1
        scale *= 10
        number = mul * scale // _ONE
    return f"{format_amount(number, digits, group='', ascii_only=True)} %"


def parse_rate(text: str, decimals: int) -> Rate:
    """Read `0.5 % + 0.01`, either part alone, or `free`; without a `%` it is the constant part.

    Raises:
        EntryError: a part cannot be read, or there are two of a kind.
    """
    if len(text) > _RATE_CHARS_MAX:
        raise EntryError(f"a fee has at most {_RATE_CHARS_MAX} characters")
    if text.strip(" ").lower() == _FREE:
        return Rate()
    found: dict[str, int] = {}
    place = 0
    for part in text.split("+"):
        kind = "mul" if "%" in part else "add"
        if kind in found:
            raise EntryError("a fee is written like 0.5 % + 0.01, each part once", place)
        found[kind] = _percent(part, place) if kind == "mul" else _constant(part, decimals, place)
        place += len(part) + 1
    return Rate(**found)


def _constant(part: str, decimals: int, shift: int) -> int:
    try:
        return parse_amount(part, decimals, least=0, most=U32_MAX)
    except EntryError as error:
        # Places are counted in the whole text.
        if shift == 0:
            raise
        at = None if error.at is None else shift + error.at
        raise EntryError(f"in the part after +: {error}", at) from None


def format_rate(rate: Rate, decimals: int, *, group: str = ",") -> str:
    """`0.5 % + 0.01`, one of the two, or `free`; `parse_rate` reads it back."""
    parts = [format_percent(rate.mul)] if rate.mul else []
    if rate.add:
        parts.append(format_amount(rate.add, decimals, group=group))
    return " + ".join(parts) or _FREE


def share_text(part: int, whole: int) -> str:
    """How much `part` is of `whole`, rounded up: `0.51 %`. A `whole` below 1 counts as 1."""
    hundredths = -(-part * 10_000 // max(whole, 1))
    return f"{format_amount(hundredths, 2)} %" if hundredths else "0 %"
