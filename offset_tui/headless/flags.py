"""What is typed after a command: looked at while the command line is read, so that nothing is asked of the card.

An amount means something only with its currency's decimals, so it is kept as typed; that it can be none at all
is said at once. Source: design R8.
"""

import argparse
import re
from typing import Final

from offset_engine.client import CREDITS_MAX, DESCRIPTION_BYTES_MAX, Currency
from offset_engine.programs.control.session import a_currency, a_name
from offset_engine.text import EntryError, parse_amount
from offset_tui.people import DECIMALS_MAX

__all__ = ["a_currency", "a_name"]

ID_DIGITS: Final = 8
"""Hexadecimal digits of an id shown in tables; as many as tell it apart are enough when typed."""
_ID: Final = re.compile(r"[0-9a-fA-F]{4,64}|[A-Za-z0-9_-]{22}=*|[A-Za-z0-9_-]{43}=?")
_LASTING: Final = re.compile(r"([0-9]{1,5})(m|h|d)")
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
_LASTING_S_MAX: Final = 3_650 * 86_400
_ANY_MOST: Final = 10**99


def an_amount(text: str) -> str:
    """Check that something can be an amount in some currency; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: in none.
    """
    after = len(text.strip().rpartition(".")[2]) if "." in text else 0
    try:
        parse_amount(text, max(after, 2), least=0, most=max(_ANY_MOST, CREDITS_MAX))
    except EntryError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!a}: {error}") from None
    return text


def a_limit(text: str) -> tuple[Currency | None, str]:
    """Read `AMOUNT` or `CURRENCY=AMOUNT`; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    currency, sign, amount = text.rpartition("=")
    return (a_currency(currency) if sign else None), an_amount(amount)


def an_id(text: str) -> str:
    """Check the id of a payment or invoice, or its beginning; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not _ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text[:80]!a} is no id: give the one the list shows, or at least 4 of its digits"
        )
    return text


def decimals(text: str) -> int:
    """Check a number of digits after the point; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) > DECIMALS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text[:80]!a}: a currency has 0 to {DECIMALS_MAX} digits after the point"
        )
    return int(text)


def lasting(text: str) -> int | None:
    """Read how long something lasts: `30m`, `24h`, `7d` or `never` (None), in seconds; for `type=`.

    Raises:
        argparse.ArgumentTypeError: it is none of these, or longer than ten years.
    """
    if text == "never":
        return None
    found = _LASTING.fullmatch(text)
    seconds = 0 if found is None else int(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= _LASTING_S_MAX:
        raise argparse.ArgumentTypeError(f"{text[:80]!a}: write 30m, 24h, 7d or never")
    return seconds


def a_description(text: str) -> str:
    """Check what an invoice is for; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: it is too long.
    """
    if len(text.encode(errors="replace")) > DESCRIPTION_BYTES_MAX:
        raise argparse.ArgumentTypeError(f"a description has at most {DESCRIPTION_BYTES_MAX} bytes")
    return text


def add_decimals(parser: argparse.ArgumentParser) -> None:
    """Add `--decimals N`, for a currency the card has not used yet."""
    parser.add_argument(
        "--decimals",
        type=decimals,
        metavar="N",
        help="digits after the point of a currency this card has not used yet; it stays like this",
    )


def add_yes(parser: argparse.ArgumentParser, what: str = "do not ask") -> None:
    """Add `--yes`."""
    parser.add_argument("--yes", action="store_true", help=what)


def add_out(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `--out FILE`."""
    parser.add_argument("--out", metavar="FILE", help=f"write {what} to this file as well")


def exclusive(
    parser: argparse.ArgumentParser, *flags: tuple[str, str | None, str]
) -> "argparse._MutuallyExclusiveGroup":
    """Add flags of which one at most is given; each is (name, metavar of its id or None, help)."""
    group = parser.add_mutually_exclusive_group()
    for name, metavar, what in flags:
        if metavar is None:
            group.add_argument(name, action="store_true", help=what)
        else:
            group.add_argument(name, type=an_id, metavar=metavar, help=what)
    return group
