"""`offset demo`: a practice village on this machine; without a screen it makes payments and checks them.

Source: design §3.
"""

import argparse
from functools import partial
from typing import Final

from rich.console import Console
from rich.table import Table

from offset_engine.errors import OffsetError
from offset_engine.practice import Attempt, Outcome, practise
from offset_engine.programs.arguments import Json, Output
from offset_engine.programs.serving import finish_or_stop
from offset_engine.village import CAST, DECIMALS, open_village

PAYMENTS_DEFAULT: Final = 20
PAYMENTS_MAX: Final = 100_000


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `offset demo`."""
    parser.add_argument("--headless", action="store_true", help="make payments without a screen")
    parser.add_argument(
        "--payments",
        type=_payments,
        default=PAYMENTS_DEFAULT,
        metavar="N",
        help=f"how many payments to make (default {PAYMENTS_DEFAULT})",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="S", help="which people and amounts (default 0)"
    )


def _payments(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= PAYMENTS_MAX:
        raise argparse.ArgumentTypeError(f"give a whole number from 1 to {PAYMENTS_MAX}")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError("give a whole number of at most 18 digits")
    return int(text)


def act(args: argparse.Namespace, output: Output) -> None:
    """Make payments in the village and report.

    Raises:
        OffsetError: some check did not hold; the report was printed before.
    """
    if not args.headless and not args.json:
        output.note(
            "no terminal here: making payments without a screen."
            " `offset demo` in a terminal shows the app on a practice village"
        )
    outcome = finish_or_stop(partial(_run, args.payments, args.seed))
    values = summary(outcome, args.payments, args.seed)
    if args.json:
        output.result(values)
    else:
        _print(outcome)
    if not outcome.is_good:
        raise DemoFailedError(_why(outcome))


class DemoFailedError(OffsetError):
    """A check of the practice village did not hold."""


async def _run(payments: int, seed: int) -> Outcome:
    async with open_village(seed) as village:
        return await practise(village, payments, seed)


def summary(outcome: Outcome, payments: int, seed: int) -> dict[str, Json]:
    """The object that `--json` prints."""
    return {
        "payments": len(outcome.attempts),
        "asked": payments,
        "seed": seed,
        "paid": outcome.paid,
        "failed": outcome.failed,
        "expected_failures": sum(
            1 for one in outcome.attempts if one.failure is not None and one.is_expected
        ),
        "unexpected": [_unexpected(one) for one in outcome.unexpected],
        "latency_ms": {"p50": outcome.latency_ms(50), "p99": outcome.latency_ms(99)},  # type: ignore[dict-item]  # floats, which Json leaves out on purpose for money
        "payments_per_second": outcome.payments_per_second,  # type: ignore[dict-item]  # the same
        "receipts_verified": sum(1 for one in outcome.attempts if one.has_receipt),
        "conserved": outcome.is_conserved,
        "frozen": outcome.frozen,
        "balances": {
            str(currency): {name: str(balance) for name, balance in held.items()}
            for currency, held in sorted(outcome.balances.items())
        },
        "nodes": len({name for one in CAST for name in (one.one, one.other)}),
    }


def _why(outcome: Outcome) -> str:
    if not outcome.is_conserved:
        return "credit is not conserved: the balances do not add up to zero"
    if outcome.frozen:
        return f"{outcome.frozen} credits are still frozen"
    first = outcome.unexpected[0]
    return f"{len(outcome.unexpected)} did not end as expected, the first: {_unexpected(first)}"


def _unexpected(one: Attempt) -> str:
    ended = "paid" if one.failure is None else one.failure.value
    return f"{one.kind.value}, {one.buyer} to {one.seller}, ended as {ended}"


def _print(outcome: Outcome) -> None:
    console = Console(soft_wrap=True)
    results = Table(title="Payments in the practice village")
    for heading in ("result", "payments"):
        results.add_column(heading, justify="right" if heading == "payments" else "left")
    results.add_row("paid, receipt verified", str(outcome.paid))
    for reason, count in outcome.failed.items():
        results.add_row(f"failed: {reason}", str(count))
    console.print(results)
    balances = Table(title="What everybody is owed (+) or owes (-)")
    balances.add_column("")
    names = sorted({name for held in outcome.balances.values() for name in held})
    for name in names:
        balances.add_column(name, justify="right")
    balances.add_column("sum", justify="right")
    for currency, held in sorted(outcome.balances.items()):
        amounts = [_amount(held[name]) for name in names]
        balances.add_row(str(currency), *amounts, _amount(sum(held.values())))
    console.print(balances)
    for one in outcome.unexpected:
        console.print(f"unexpected: {_unexpected(one)}")
    console.print(
        f"one payment: p50 {outcome.latency_ms(50):.1f} ms, p99 {outcome.latency_ms(99):.1f} ms; "
        f"{outcome.payments_per_second:.0f} a second, one after another"
    )
    console.print(
        f"conserved: {'yes' if outcome.is_conserved else 'NO'}; "
        f"still frozen: {outcome.frozen} credits"
    )


def _amount(credits: int) -> str:  # noqa: A002 - the word of the protocol
    sign, size = ("-" if credits < 0 else ""), abs(credits)
    return f"{sign}{size // 10**DECIMALS}.{size % 10**DECIMALS:0{DECIMALS}}"
