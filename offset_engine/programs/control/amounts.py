"""Numbers as a person types them to `stctrl`: whole credits, shown units with `--units`, a fee in percent.

Nothing here is a float. What a number means can depend on a flag that comes after it, so it is kept as
typed and looked at when the whole command line was read (`CheckedParser`).

Source: apps.md §0 "Units", CTL-20, CTL-21; design R7, R8.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final, TypeAlias

from offset_engine.core.values import CREDITS_MAX, U32_MAX, Rate
from offset_engine.programs.arguments import Words

UNIT_DECIMALS: Final = 2
"""Digits after the point of a currency nobody chose otherwise for (design R8), and with `--units` alone."""
_DECIMALS_MAX: Final = 18
_NUMBER: Final = re.compile(r"([0-9]{1,60})(?:\.([0-9]{1,60}))?")

Check: TypeAlias = Callable[[argparse.Namespace], None]


class CheckedParser(Words):
    """A parser of a subcommand that looks at the flags together once all are read."""

    def add_check(self, check: Check) -> None:
        """Have `check` look at the flags; its `ArgumentTypeError` is a wrong command line."""
        self.set_defaults(checks=(*(self.get_default("checks") or ()), check))

    def parse_known_args(  # type: ignore[override]  # the same, without its overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """See `Words`; exits with 2 if a check fails."""
        found: argparse.Namespace
        found, rest = super().parse_known_args(args, namespace)
        for check in vars(found).pop("checks", ()):
            try:
                check(found)
            except argparse.ArgumentTypeError as error:
                self.error(str(error))
        return found, rest


def add_amount(parser: CheckedParser, *names: str, what: str, required: bool = True) -> None:
    """Add a flag for an amount; `add_units` has to follow and turns it into credits."""
    parser.add_argument(*names, required=required, metavar="N", help=what)


def add_units(parser: CheckedParser, *amounts: str, least: int = 0) -> None:
    """Add `--units`; `amounts` are where the amounts typed are found, each then in credits, `least` at least."""
    parser.add_argument(
        "--units",
        nargs="?",
        type=_decimals,
        const=UNIT_DECIMALS,
        metavar="D",
        help="amounts are in units, as offset shows them, not in credits: D digits after the point, "
        f"{UNIT_DECIMALS} if not given, so that 1.00 is {10**UNIT_DECIMALS} credits",
    )

    def check(args: argparse.Namespace) -> None:
        for name in amounts:
            typed = getattr(args, name)
            if typed is not None:
                setattr(args, name, credits_of(typed, args.units, least))

    parser.add_check(check)


def credits_of(typed: str, decimals: int | None, least: int = 0) -> int:
    """Credits somebody means.

    Args:
        typed: digits, with units also a point and digits after it.
        decimals: digits after the point a unit has; None = whole credits are typed.
        least: fewest credits that make sense.

    Raises:
        argparse.ArgumentTypeError: it is none, too few or too many.
    """
    found = _NUMBER.fullmatch(typed)
    places = 0 if found is None or found[2] is None else len(found[2])
    most = CREDITS_MAX if decimals is None else Fraction(CREDITS_MAX, 10**decimals)
    if found is None or places > (decimals or 0) or Fraction(typed) > most:
        if decimals is None:
            what = f"a whole number of credits from {least} to {CREDITS_MAX}"
        else:
            what = f"a number with at most {decimals} digits after the point"
        raise argparse.ArgumentTypeError(f"{typed[:80]!a}: {what} is needed")
    credits_ = int(Fraction(typed) * 10 ** (decimals or 0))
    if credits_ < least:
        raise argparse.ArgumentTypeError(f"{typed[:80]!a}: at least {least} credit is needed")
    return credits_


def _decimals(text: str) -> int:
    number = int(text) if re.fullmatch(r"[0-9]{1,2}", text) else _DECIMALS_MAX + 1
    if number > _DECIMALS_MAX:
        raise argparse.ArgumentTypeError(
            f"{text[:80]!a}: a unit has 0 to {_DECIMALS_MAX} digits after the point"
        )
    return number


# --- fees ---------------------------------------------------------------------------------------


def percent_mul(text: str) -> int:
    """The multiplier for a fee in percent, never less than what was asked; for `type=`.

    All of an amount, 100 %, is one step more than a multiplier can be, and becomes the largest there is.

    Raises:
        argparse.ArgumentTypeError: it is no number from 0 to 100.
    """
    if _NUMBER.fullmatch(text) is None or Fraction(text) > 100:
        raise argparse.ArgumentTypeError(
            f"{text[:80]!a}: a number from 0 to 100 is needed, with a point before its fraction"
        )
    exact = Fraction(text) * 2**32 / 100
    return min(-(-exact.numerator // exact.denominator), U32_MAX)


def percent_text(rate: Rate) -> str:
    """The share of an amount a rate takes, with three digits after the point, rounded."""
    thousandths = (rate.mul * 100_000 + 2**31) >> 32
    return f"{thousandths // 1000}.{thousandths % 1000:03}"
