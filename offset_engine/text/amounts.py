"""Credits as people write them, and back. Integers only: what is shown is exact, what is read is too.

A currency's decimals say where the point stands: with 2, 1250 credits are 12.50. `DECIMALS_NONE` (255)
and 0 both mean whole credits.

    amount   = whole [ "." digit × 1..decimals ]
    whole    = digit+ | digit × 1..3 ( group-sign digit × 3 )+, one kind of group-sign: space ' or ,

`1,25` is refused: half the world means 1.25 by it. So is `0,125`, which nobody writes for 125.

Source: design R7, R8; tui.md §7, §8.
"""

from typing import Final, NoReturn

from offset_engine.core.signing import DECIMALS_NONE
from offset_engine.core.values import CREDITS_MAX
from offset_engine.text.foreign import safe

TYPED_CHARS_MAX: Final = 60
"""Longest amount a field takes; the largest one with groups and 38 decimals has 54."""
AMOUNT_CHARS: Final = "0123456789 ,'."
_GROUP_SIGNS: Final = " ,'"
_DIGITS: Final = frozenset("0123456789")
_MINUS: Final = "−"
_NAMES: Final = {" ": "a space", ",": "a comma", "'": "an apostrophe"}


class EntryError(ValueError):
    """What a person typed cannot be read; the message is a sentence that says what and where.

    Attributes:
        at: index of the first character that is wrong; None if it is the text as a whole.
    """

    def __init__(self, sentence: str, at: int | None = None) -> None:
        super().__init__(sentence)
        self.at = at


# --- writing ------------------------------------------------------------------------------------


def places(decimals: int) -> int:
    """Digits after the point: `decimals`, or 0 where none are stated."""
    return 0 if decimals == DECIMALS_NONE else max(decimals, 0)


def format_amount(
    credits_: int, decimals: int, *, sign: bool = False, group: str = ",", ascii_only: bool = False
) -> str:
    """Credits with a point and groups of three, never shortened: `−1,250.00`.

    Args:
        credits_: any integer.
        decimals: digits after the point.
        sign: put a plus before what is above zero.
        group: between groups of three digits; may be empty.
        ascii_only: `-` instead of `−`.
    """
    after = places(decimals)
    digits = str(abs(credits_)).rjust(after + 1, "0")
    whole, rest = (digits[:-after], "." + digits[-after:]) if after else (digits, "")
    first = len(whole) % 3
    groups = [whole[:first]] if first else []
    groups += [whole[place : place + 3] for place in range(first, len(whole), 3)]
    minus = "-" if ascii_only else _MINUS
    mark = minus if credits_ < 0 else "+" if sign and credits_ > 0 else ""
    return mark + group.join(groups) + rest


def money_text(
    credits_: int,
    currency: str,
    decimals: int,
    *,
    sign: bool = False,
    group: str = ",",
    ascii_only: bool = False,
) -> str:
    """`1,250.00 USD`; the currency may be anybody's text."""
    amount = format_amount(credits_, decimals, sign=sign, group=group, ascii_only=ascii_only)
    return f"{amount} {safe(currency)}"


def balance_text(balance: int, decimals: int, *, group: str = ",", ascii_only: bool = False) -> str:
    """A balance with a friend in the one vocabulary: `+123.45 owes you`, `−12.00 you owe`, `0 settled`."""
    if not balance:
        return "0 settled"
    amount = format_amount(balance, decimals, sign=True, group=group, ascii_only=ascii_only)
    return f"{amount} owes you" if balance > 0 else f"{amount} you owe"


def readings_text(credits_: int, mine: int, theirs: int) -> str:
    """One amount as two people read it who gave a currency different decimals."""
    return (
        f"{credits_} credits: {format_amount(credits_, mine)} with your {_decimals(mine)}, "
        f"{format_amount(credits_, theirs)} with their {_decimals(theirs)}"
    )


def _decimals(decimals: int) -> str:
    after = places(decimals)
    return f"{after} decimal" if after == 1 else f"{after} decimals"


# --- reading ------------------------------------------------------------------------------------


def tidy_amount(text: str) -> str:
    """A pasted amount as the grammar wants it: plain single spaces, plain apostrophes, nothing around."""
    plain = text[:1024].replace("\u2019", "'").replace("\u02bc", "'")
    return " ".join(plain.split())


def parse_amount(text: str, decimals: int, *, least: int = 1, most: int = CREDITS_MAX) -> int:
    """Read an amount as typed; spaces around it mean nothing. Linear time.

    Returns:
        Credits, `least` to `most`.

    Raises:
        EntryError: it does not follow the grammar above, or is out of range.
    """
    after = places(decimals)
    if len(text) > TYPED_CHARS_MAX + after:
        raise EntryError(f"an amount has at most {TYPED_CHARS_MAX + after} characters")
    start = len(text) - len(text.lstrip(" "))
    body = text.strip(" ")
    if not body:
        raise EntryError(f"type an amount, for example {format_amount(1250, after)}")
    _check_characters(body, start)
    whole, point, rest = body.partition(".")
    _check_rest(rest, bool(point), after, start + len(whole) + 1)
    digits = _whole_digits(whole, has_point=bool(point), after=after, start=start)
    credits_ = int(digits + rest.ljust(after, "0"))
    if credits_ > most:
        raise EntryError(f"the most possible here is {format_amount(most, after)}")
    if credits_ < least:
        smallest = format_amount(least, after)
        raise EntryError(f"the least possible here is {smallest}")
    return credits_


def _check_characters(body: str, start: int) -> None:
    for place, character in enumerate(body):
        if character in _DIGITS or character in _GROUP_SIGNS or character == ".":
            continue
        at = start + place
        if character in "+-−–":
            _refuse("an amount has no sign", character, at)
        if character.isnumeric():
            _refuse("only the digits 0 to 9 can be read", character, at)
        if character in "eE" and place and body[place - 1] in _DIGITS:
            _refuse("write all digits, without an exponent", character, at)
        if character.isspace():
            _refuse("only a plain space may group digits", character, at)
        _refuse("an amount has only digits and one point", character, at)


def _check_rest(rest: str, has_point: bool, after: int, start: int) -> None:  # noqa: FBT001
    """What stands after the point."""
    for place, character in enumerate(rest):
        if character == ".":
            raise EntryError(
                f"a second point stands at place {start + place + 1}: there is only one, before "
                "the decimals; group thousands with a comma or a space",
                start + place,
            )
        if character in _GROUP_SIGNS:
            raise EntryError(
                f"{_NAMES[character]} stands after the point, at place {start + place + 1}: the "
                "point comes before the decimals, a comma or a space groups thousands",
                start + place,
            )
    if has_point and not after:
        raise EntryError(
            f"this currency has no decimals: leave out the point at place {start}", start - 1
        )
    if has_point and not rest:
        raise EntryError(f"digits are missing after the point at place {start}", start - 1)
    if len(rest) > after:
        raise EntryError(
            f"this currency has {_decimals(after)}: {len(rest)} digits stand after the point at "
            f"place {start}",
            start + after,
        )


def _whole_digits(whole: str, *, has_point: bool, after: int, start: int) -> str:
    """The digits before the point, groups checked."""
    if not whole:
        raise EntryError(f"write a 0 before the point at place {start + 1}", start)
    signs = [place for place, character in enumerate(whole) if character in _GROUP_SIGNS]
    if not signs:
        return whole
    first = whole[signs[0]]
    for place in signs:
        if whole[place] != first:
            raise EntryError(
                f"{_NAMES[whole[place]]} stands at place {start + place + 1} where "
                f"{_NAMES[first]} grouped before: group with one of them",
                start + place,
            )
    groups = whole.split(first)
    last = groups[-1]
    # `1,25` and `0,125`: a comma where a point belongs, says half of the world.
    means_point = len(groups) == 2 and not has_point and 0 < len(last) <= after
    if (len(last) != 3 or groups[0] == "0") and means_point and groups[0]:
        raise EntryError(
            f"{_NAMES[first]} stands at place {start + signs[0] + 1} where the point belongs: "
            f"write {groups[0]}.{last}",
            start + signs[0],
        )
    _check_groups(groups, start)
    return "".join(groups)


def _check_groups(groups: list[str], start: int) -> None:
    place = start
    for number, group in enumerate(groups):
        is_right = len(group) == 3 if number else 1 <= len(group) <= 3 and group[0] != "0"
        if not is_right:
            raise EntryError(
                f"the digits from place {place + 1} are grouped wrongly: groups have three digits, "
                "the first one to three and no 0 in front",
                place,
            )
        place += len(group) + 1


def _refuse(rule: str, character: str, at: int) -> NoReturn:
    raise EntryError(f"{rule}: look at “{safe(character)}”, place {at + 1}", at)
