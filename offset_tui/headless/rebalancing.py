"""`rebalance`: moves what is owed between a friend and us towards zero, along a circle of other friends.

    offset rebalance FRIEND     show every balance that changes and the cost, ask, and move it

Of what is owed as much is moved as brings the balance nearest to zero, unless `--amount` says less.
Source: apps.md §6.11 (RMP-05); design R8, R31.
"""

import os
from contextlib import aclosing

from offset_engine.client import (
    Currency,
    PaymentId,
    PayReport,
    PayStage,
    RoutesChoice,
    RoutesOutcome,
    RoutesResult,
    Uid,
)
from offset_engine.programs.arguments import Commands, Json, RefusedError, UsageError
from offset_engine.programs.control.session import NotPossibleError, has_person
from offset_tui import money_words, rebalance_words, route_words, state
from offset_tui.headless import flags
from offset_tui.headless.printing import facts, merged, pay_json, short
from offset_tui.headless.session import Twin, add_command, going_on
from offset_tui.state import Line

_TRIES_MAX = 4
"""Questions until the amount fits what can be moved."""
_ENDED = (PayStage.PAID, PayStage.FAILED)


def add_parsers(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "rebalance",
        "Move what is owed between a friend and you towards zero, along a circle of friends.",
        _act,
    )
    parser.add_argument("friend", metavar="FRIEND", help="the friend's name or key")
    parser.add_argument(
        "--currency",
        type=flags.a_currency,
        metavar="CURRENCY",
        help="needed where something is owed in several",
    )
    parser.add_argument(
        "--amount",
        type=flags.an_amount,
        metavar="AMOUNT",
        help="how much to move; what brings the balance to zero if not given",
    )
    parser.add_argument(
        "--max-fee",
        type=flags.an_amount,
        metavar="AMOUNT",
        help="most it may cost; 1 %% and a tenth of a unit if not given",
    )
    flags.add_yes(parser, "do not ask; costs up to the most are agreed to")


async def _act(twin: Twin) -> None:
    line = _line(twin)
    digits = twin.digits(line.currency)
    amount, result = await _look(twin, line, digits)
    said = rebalance_words.answer_words(result, line.currency, digits)
    choice = route_words.cheapest(result)
    if said or choice is None:
        raise RefusedError(
            f"not moved: {said}",
            {"status": result.outcome.value, "reachable": str(result.reachable)},
        )
    max_fee = _max_fee(twin, amount, line.currency, digits)
    fee = route_words.fee_of(choice)
    _show(twin, line, amount, choice)
    if fee > max_fee:
        above = route_words.above_words(fee, max_fee, digits, "--max-fee allows more")
        raise RefusedError(f"not moved: {above}", {"status": "fee_above_limit", "fee": str(fee)})
    if not await twin.agrees(f"Move {twin.money(amount, line.currency)}?"):
        raise RefusedError("not moved: you declined", {"status": "declined"})
    await twin.session.use_currency(line.currency, digits)
    payment_id = PaymentId(os.urandom(PaymentId.SIZE))
    wish = rebalance_words.wish(line, amount, choice, max_fee, payment_id)
    await twin.client.rebalance(wish)
    await _follow(twin, payment_id, max_fee)


def _line(twin: Twin) -> Line:
    """The friendship that is meant.

    Raises:
        UsageError: it is not clear which currency is.
        NotPossibleError: nothing can be moved in it.
    """
    friend = twin.friend(twin.args.friend)
    name = state.friend_names(twin.report)[friend.public_key]
    lines = state.lines_of(friend, name, twin.session.notebook)
    wanted: Currency | None = twin.args.currency
    if wanted is None:
        lines = tuple(one for one in lines if one.balance)
        if not lines:
            raise NotPossibleError(f"nothing is owed between you and {name}")
        if len(lines) > 1:
            named = ", ".join(one.currency for one in lines)
            raise UsageError(f"something is owed in several currencies: give --currency: {named}")
    line = next((one for one in lines if wanted in (None, one.currency)), None)
    said = rebalance_words.problem(line)
    if said or line is None:
        raise NotPossibleError(said)
    return line


async def _look(twin: Twin, line: Line, digits: int) -> tuple[int, RoutesResult]:
    """Ask for what was typed, or for what brings the balance nearest to zero.

    Raises:
        UsageError: more than is owed was typed.
    """
    owed = abs(line.balance or 0)
    typed = twin.args.amount
    amount = owed if typed is None else twin.amount(typed, line.currency, digits, 1)
    if amount > owed:
        whole = rebalance_words.owed_words(line, digits)
        raise UsageError(f"{whole}: more than that cannot be moved towards zero")
    result = RoutesResult(Uid(bytes(Uid.SIZE)), RoutesOutcome.UNANSWERED)
    for _ in range(_TRIES_MAX):
        own, request_id = twin.report.local_public_key, Uid(os.urandom(Uid.SIZE))
        question = rebalance_words.question(line, amount, own, request_id)
        result = await twin.client.ask_routes(question)
        better = amount
        if typed is None:
            better = rebalance_words.better_amount(line, amount, result)
        if better == amount:
            break
        amount = better
    return amount, result


def _max_fee(twin: Twin, amount: int, currency: Currency, digits: int) -> int:
    if twin.args.max_fee is not None:
        return twin.amount(twin.args.max_fee, currency, digits)
    permille = twin.session.settings.auto_fee_permille
    return money_words.highest_fee(amount, digits, permille)


def _show(twin: Twin, line: Line, amount: int, choice: RoutesChoice) -> None:
    digits = twin.digits(line.currency)
    lines = state.all_lines(twin.report, twin.session.notebook)
    changes = [
        rebalance_words.change_words(one, digits, is_ascii=twin.is_ascii)
        for one in rebalance_words.changes(choice, lines, line.currency)
    ]
    rows = [
        ("move", twin.money(amount, line.currency)),
        *((name, f"{before} -> {after}") for name, before, after in changes),
        ("cost", route_words.cost_words(choice, line.currency, digits)),
    ]
    twin.say([*facts(rows), "no other balance of yours changes"])


async def _follow(twin: Twin, payment_id: PaymentId, max_fee: int) -> None:
    """Wait until it is moved, or has come to nothing."""
    async with going_on("offset history shows how it ended"):
        pay = await _until(twin, payment_id, max_fee)
    told = merged(pay_json(pay, twin.session.decimals(pay.invoice.currency)))
    if pay.stage is PayStage.FAILED:
        why = rebalance_words.failure_words(pay.failure)
        raise RefusedError(f"not moved: {why}. {rebalance_words.outcome_words(pay)}", told)
    currency = pay.invoice.currency
    cost = twin.money(pay.fee, currency) if pay.fee else "nothing"
    moved = twin.money(pay.invoice.total_dest_payment, currency)
    twin.output.result(told, f"moved {moved}; it cost {cost}")


async def _until(twin: Twin, payment_id: PaymentId, max_fee: int) -> PayReport:
    async with aclosing(twin.client.pay_states(payment_id)) as states:
        async for pay in states:
            if pay.stage is PayStage.FEE_TO_CONFIRM:
                await _agree_to_fee(twin, pay, max_fee)
            if pay.stage in _ENDED:
                return pay
    raise NotPossibleError("the card does not know it any more: offset history shows how it ended")


async def _agree_to_fee(twin: Twin, pay: PayReport, max_fee: int) -> None:
    """It costs more than was shown a moment ago.

    Raises:
        RefusedError: it was declined; it is given up.
        NotPossibleError: nobody can be asked; it waits.
    """
    fee = twin.money(pay.fee, pay.invoice.currency)
    if not twin.args.yes and not has_person():
        identifier = short(pay.payment_id)
        raise NotPossibleError(
            f"it waits for your consent to a fee of {fee}: offset pay --confirm {identifier} agrees,"
            f" offset pay --cancel {identifier} gives it up"
        )
    if pay.fee <= max_fee and await twin.agrees(f"It costs {fee} by now. Pay that?"):
        await twin.client.confirm_fee(pay.payment_id, pay.fee)
        return
    await twin.client.cancel(pay.payment_id)
    ended = await twin.client.wait_pay(pay.payment_id)
    told: dict[str, Json] = pay_json(ended, twin.session.decimals(pay.invoice.currency))
    raise RefusedError("not moved: you declined what it costs", told)
