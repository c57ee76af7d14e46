"""`friend`: everything about friends: adding, limits, fees, currencies, switching off, parting.

Friends are named by the name, by the key's short form or by the whole key. Source: apps.md §5 S27 to S33;
design R8, R23, R31.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from offset_engine.client import (
    Batch,
    CloseFriendCurrency,
    Command,
    Currency,
    CurrencyReport,
    DisableFriend,
    DisputeFriend,
    EnableFriend,
    FriendReport,
    OpenFriendCurrency,
    Rate,
    RemoveFriend,
    RemoveFriendCurrency,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
)
from offset_engine.files import FriendCard, Terms, Token, to_json_line, write
from offset_engine.introducing import Grant, add_card
from offset_engine.programs.arguments import Commands, Json, RefusedError, UsageError
from offset_engine.programs.control.session import NotPossibleError, need_new
from offset_engine.programs.control.showing import friend_values
from offset_engine.text import (
    EntryError,
    balance_text,
    fingerprint,
    fingerprint_words,
    parse_rate,
    quoted,
    safe,
)
from offset_tui import people, state
from offset_tui.headless import flags
from offset_tui.headless.artifacts import given_one
from offset_tui.headless.befriending import (
    agree_on_changes,
    agree_on_decimals,
    card_lines,
    friend_words,
    friendship_values,
    grants_for,
    introduce,
    name_for,
)
from offset_tui.headless.looking import friends_table
from offset_tui.headless.printing import facts, merged
from offset_tui.headless.session import Act, Before, Twin, add_action

_Argument: TypeAlias = tuple[str, str]
_NAME: Final = ("name", "NAME")
_CURRENCY: Final = ("currency", "CURRENCY")


def add_parsers(commands: Commands) -> None:
    """Add the command and its actions."""
    parser = commands.add("friend", "Everything about friends: limits, fees, currencies.")
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="ACTION", parser_class=argparse.ArgumentParser
    )

    def add(
        name: str, what: str, act: Act, *arguments: _Argument, before: Before | None = None
    ) -> argparse.ArgumentParser:
        made = add_action(actions, name, what, act, before)
        for argument, shown in arguments:
            made.add_argument(argument, metavar=shown, **_TYPES.get(argument, {}))
        return made

    add("list", "List the friends.", _list)
    add("show", "Show one friend and all its settings.", _show, _NAME)
    adding = "Make somebody a friend, from their card."
    _add_adding(add("add", adding, _add, ("friend_card", "CARD"), before=_read))
    limit = add("limit", "Set the most a friend may owe you.", _limit, _NAME, _CURRENCY)
    limit.add_argument("amount", type=flags.an_amount, metavar="AMOUNT", help="in the currency")
    fee = add("fee", "Set what you charge for passing on.", _fee, _NAME, _CURRENCY)
    fee.add_argument("rate", metavar="FEE", help='like "0.5 %% + 0.01", or free')
    add("open", "Let payments of others pass in a currency.", _open, _NAME, _CURRENCY)
    add("close", "Let no payment of others pass in a currency.", _open, _NAME, _CURRENCY)
    add("enable", "Connect to a friend.", _switch, _NAME)
    add("disable", "Do not connect to a friend.", _switch, _NAME)
    add("rename", "Call a friend something else.", _rename, _NAME, ("new_name", "NEW"))
    _add_currencies(
        add("currency", "Use one more currency with a friend.", _currency, _NAME, _CURRENCY)
    )
    add("drop", "Stop using a currency with a friend.", _drop, _NAME, _CURRENCY)
    told = add("told", "Note up to how much a friend trusts you.", _told, _NAME, _CURRENCY)
    told.add_argument("amount", type=flags.an_amount, metavar="AMOUNT", help="as they said")
    flags.add_yes(add("remove", "Forget a friend and what is owed.", _remove, _NAME))
    flags.add_yes(add("reset", "Accept a friend's balances after a conflict.", _reset, _NAME))
    what = "Settle anew with a friend whose messages cannot be read: both propose, one accepts."
    flags.add_yes(add("dispute", what, _dispute, _NAME))
    flags.add_out(add("token", "Print what a friend signed last.", _token, _NAME), "it")


_TYPES: Final[Mapping[str, dict[str, Any]]] = {
    "currency": {"type": flags.a_currency, "help": "the currency"},
    "new_name": {"type": flags.a_name, "help": "the new name"},
    "name": {"help": "the friend: the name, or the key's short form"},
    "friend_card": {"help": "a file, the text itself, or - for input"},
}


def _add_adding(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", type=flags.a_name, metavar="NAME", help="what you call them")
    parser.add_argument(
        "--currency", type=flags.a_currency, metavar="CURRENCY", help="currency to use with them"
    )
    parser.add_argument(
        "--limit",
        action="append",
        type=flags.a_limit,
        metavar="AMOUNT",
        help="the most they may owe you in it",
    )
    parser.add_argument("--fee", metavar="FEE", help="what you charge for passing on")
    parser.add_argument("--no-connect", action="store_true", help="do not connect to them yet")
    flags.add_decimals(parser)
    flags.add_yes(parser)


def _add_currencies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit",
        type=flags.an_amount,
        default="0",
        metavar="AMOUNT",
        help="the most they may owe you",
    )
    parser.add_argument("--fee", metavar="FEE", help="what you charge for passing on")
    parser.add_argument("--closed", action="store_true", help="let nothing of others pass yet")
    flags.add_decimals(parser)


# --- looking ------------------------------------------------------------------------------------


async def _list(twin: Twin) -> None:
    lines = state.all_lines(twin.report, twin.session.notebook)
    values: dict[str, Json] = {"friends": [_values(one) for one in twin.report.friends]}
    text = friends_table(twin, lines) or "there are no friends yet"
    twin.output.result(values, text)


def _values(friend: FriendReport) -> dict[str, Json]:
    return {
        **friend_values(friend),
        "fingerprint": fingerprint(friend.public_key),
        "state": people.standing(friend).words,
    }


async def _show(twin: Twin) -> None:
    friend = twin.friend(twin.args.name)
    name = friend_words(twin, friend.public_key)
    lines = state.lines_of(friend, name, twin.session.notebook)
    said = facts(
        (
            ("friend", f"{name} ({fingerprint(friend.public_key)})"),
            ("words", fingerprint_words(friend.public_key)),
            ("key", friend.public_key.to_text()),
            ("state", people.standing(friend).words),
            *(("relay", safe(one.address, 60)) for one in friend.remote_relays),
        )
    )
    for line in lines:
        digits = twin.session.decimals(line.currency)
        rate = _currency_of(friend, line.currency).rate
        said += [
            "",
            _balance_words(twin, line),
            people.trust_words(name, line.i_grant, line.currency, digits),
            people.told_words(line, digits).replace(" (L notes it)", ""),
            people.charge_words(rate, line, digits),
        ]
    twin.output.result(_values(friend), "\n".join(said))


def _balance_words(twin: Twin, line: state.Line) -> str:
    currency = safe(line.currency)
    if line.balance is None:
        return f"{currency}: not agreed by them yet"
    words = balance_text(
        line.balance, twin.session.decimals(line.currency), ascii_only=twin.is_ascii
    )
    return f"{currency}: {words}"


def _currency_of(friend: FriendReport, currency: Currency) -> CurrencyReport:
    """The settings of a currency used with a friend.

    Raises:
        NotPossibleError: it is not.
    """
    for one in friend.currencies:
        if one.currency == currency:
            return one
    raise NotPossibleError(
        f"{currency} is not in use with {quoted(friend.name)}: offset friend currency adds it"
    )


# --- adding -------------------------------------------------------------------------------------


def _read(args: argparse.Namespace) -> None:
    # An argument called `card` would hide the flag of the same name.
    args.friend_card = given_one(
        args.friend_card, FriendCard, "offset friend add takes a friend card"
    )


async def _add(twin: Twin) -> None:
    await add_card_of(twin, twin.args.friend_card)


async def add_card_of(twin: Twin, card: FriendCard) -> None:
    """Make the owner of a card a friend, or renew the relays of one who is."""
    args = twin.args
    twin.say([f"the card of {card_lines(card)[0]}", *card_lines(card)[1:]])
    name = name_for(twin, card)
    is_known = any(one.public_key == card.public_key for one in twin.report.friends)
    terms = _offered(twin, card)
    grants: tuple[Grant, ...] = ()
    if args.limit:
        found = await grants_for(twin, name, terms, is_known=is_known)
        grants = tuple(Grant(one.currency, one.max_debt, _rate(twin, one)) for one in found)
    elif args.fee is not None or getattr(args, "currency", None) is not None:
        raise UsageError("--currency and --fee need --limit: the most they may owe you")
    made = add_card(twin.report, card, name, grants)
    await agree_on_changes(twin, made, name)
    used = tuple(one for one in terms if any(one.currency == g.currency for g in grants))
    await agree_on_decimals(twin, [one for one in used if one in card.terms])
    has_news = bool(made.batch.commands)
    if args.no_connect:
        kept = tuple(one for one in made.batch.commands if not isinstance(one, EnableFriend))
        await twin.client.command(Batch(kept))
        made = replace(made, batch=Batch(()))
    await introduce(twin, made, used)
    said = "is your friend; they have to add you too"
    if made.is_known:
        said = "has new relays or limits" if has_news else "is your friend: nothing in it is new"
    twin.output.result(
        {"kind": "friend", **friendship_values(twin, made, name)}, f"{safe(name, 24)} {said}"
    )


def _offered(twin: Twin, card: FriendCard) -> tuple[Terms, ...]:
    """The currency the owner names, else those of the card."""
    currency: Currency | None = getattr(twin.args, "currency", None)
    if currency is None:
        return card.terms
    stated = tuple(one for one in card.terms if one.currency == currency)
    return stated or (Terms(currency, twin.digits(currency), 0),)


def _rate(twin: Twin, grant: Grant) -> Rate:
    typed: str | None = twin.args.fee
    return Rate() if typed is None else _typed_rate(typed, twin.digits(grant.currency))


def _typed_rate(typed: str, digits: int) -> Rate:
    try:
        return parse_rate(typed, digits)
    except EntryError as error:
        raise UsageError(f"{typed[:80]!a}: {error}") from None


# --- currencies ---------------------------------------------------------------------------------


async def _limit(twin: Twin) -> None:
    args, friend = twin.args, twin.friend(twin.args.name)
    _currency_of(friend, args.currency)
    digits = twin.session.decimals(args.currency)
    limit = twin.amount(args.amount, args.currency, digits)
    name = friend_words(twin, friend.public_key)
    line = next(
        one
        for one in state.lines_of(friend, name, twin.session.notebook)
        if one.currency == args.currency
    )
    await twin.client.command(SetFriendCurrencyMaxDebt(friend.public_key, args.currency, limit))
    _done(twin, friend, people.limit_notes(line, limit, digits), limit=str(limit))


async def _fee(twin: Twin) -> None:
    args, friend = twin.args, twin.friend(twin.args.name)
    _currency_of(friend, args.currency)
    digits = twin.session.decimals(args.currency)
    rate = _typed_rate(args.rate, digits)
    await twin.client.command(SetFriendCurrencyRate(friend.public_key, args.currency, rate))
    name = friend_words(twin, friend.public_key)
    words = f"you charge {people.rate_words(rate, digits)} for passing on what {name} sends: "
    _done(
        twin,
        friend,
        words + people.fee_preview(rate, args.currency, digits),
        rate={"mul": rate.mul, "add": str(rate.add)},
    )


async def _open(twin: Twin) -> None:
    args, friend = twin.args, twin.friend(twin.args.name)
    _currency_of(friend, args.currency)
    command = OpenFriendCurrency if args.action == "open" else CloseFriendCurrency
    await twin.client.command(command(friend.public_key, args.currency))
    is_open = args.action == "open"
    _done(twin, friend, f"{args.currency} is {'open' if is_open else 'closed'}", open=is_open)


async def _currency(twin: Twin) -> None:
    args, friend = twin.args, twin.friend(twin.args.name)
    if any(one.currency == args.currency for one in friend.currencies):
        raise NotPossibleError(
            f"{args.currency} is in use with {quoted(friend.name)} already: offset friend limit changes it"
        )
    digits = twin.digits(args.currency)
    limit = twin.amount(args.limit, args.currency, digits)
    commands: list[Command] = [SetFriendCurrencyMaxDebt(friend.public_key, args.currency, limit)]
    if args.fee is not None:
        rate = _typed_rate(args.fee, digits)
        commands.append(SetFriendCurrencyRate(friend.public_key, args.currency, rate))
    if not args.closed:
        commands.append(OpenFriendCurrency(friend.public_key, args.currency))
    await twin.session.use_currency(args.currency, digits)
    await twin.client.command(Batch(tuple(commands)))
    name = friend_words(twin, friend.public_key)
    words = people.trust_words(name, limit, args.currency, digits)
    _done(twin, friend, words, currency=args.currency, limit=str(limit))


async def _drop(twin: Twin) -> None:
    args, friend = twin.args, twin.friend(twin.args.name)
    _currency_of(friend, args.currency)
    await twin.client.command(RemoveFriendCurrency(friend.public_key, args.currency))
    _done(twin, friend, f"{args.currency} goes when nothing in it is owed or pending")


async def _told(twin: Twin) -> None:
    args, friend = twin.args, twin.friend(twin.args.name)
    digits = twin.session.decimals(args.currency)
    limit = twin.amount(args.amount, args.currency, digits)
    terms = (Terms(args.currency, digits, limit),)
    await twin.keep(twin.session.notebook.with_told(friend.public_key, terms))
    name = friend_words(twin, friend.public_key)
    words = people.money(limit, args.currency, digits)
    _done(twin, friend, f"noted: {name} trusts you up to {words}", limit=str(limit))


# --- friends ------------------------------------------------------------------------------------


async def _switch(twin: Twin) -> None:
    friend = twin.friend(twin.args.name)
    is_on = twin.args.action == "enable"
    command = EnableFriend if is_on else DisableFriend
    await twin.client.command(command(friend.public_key))
    name = friend_words(twin, friend.public_key)
    words = (
        f"this card connects to {name}" if is_on else f"this card does not connect to {name} now"
    )
    _done(twin, friend, words, enabled=is_on)


async def _rename(twin: Twin) -> None:
    friend = twin.friend(twin.args.name)
    new = twin.args.new_name
    if any(one.name == new and one.public_key != friend.public_key for one in twin.report.friends):
        raise NotPossibleError(f"there is a friend called {quoted(new)} already")
    await twin.client.command(SetFriendName(friend.public_key, new))
    _done(twin, friend, f"{safe(friend.name, 24)} is called {safe(new, 24)} now", name=new)


async def _remove(twin: Twin) -> None:
    friend = twin.friend(twin.args.name)
    name = friend_words(twin, friend.public_key)
    lines = state.lines_of(friend, name, twin.session.notebook)
    parting = people.parting(friend, lines, twin.session.decimals)
    if not friend.is_consistent:
        twin.say(["you disagree about the balances; that ends undecided"])
    twin.say([*parting.lost] or ["nothing is owed or pending, so nothing is lost"])
    if not await twin.agrees(f"Forget {name}?"):
        raise RefusedError("not removed: you declined", {"status": "declined"})
    await twin.client.command(RemoveFriend(friend.public_key, force=parting.needs_force))
    _done(twin, friend, f"{name} is no friend any more", lost=list(parting.lost))


async def _reset(twin: Twin) -> None:
    friend = twin.friend(twin.args.name)
    name = friend_words(twin, friend.public_key)
    theirs = friend.remote_terms
    if friend.is_consistent:
        raise NotPossibleError(f"nothing to reset: you and {name} agree")
    if theirs is None:
        raise NotPossibleError(f"{name}'s proposal is not here yet: it comes once both are online")
    if not theirs.is_acceptable:
        raise NotPossibleError(f"{name}'s proposal cannot be accepted: {name} has to accept yours")
    found = people.differences(friend.local_terms, theirs)
    changes = people.change_sentences(found, twin.session.decimals)
    twin.say(
        [f"accepting {name}'s proposal cannot be taken back:", *(f"  {one}" for one in changes)]
    )
    if not await twin.agrees(f"Accept {name}'s proposal?"):
        raise RefusedError("not accepted: you declined", {"status": "declined"})
    await twin.client.command(ResetFriendChannel(friend.public_key, theirs.terms_hash))
    _done(twin, friend, f"accepted: you and {name} start again from these balances")


async def _dispute(twin: Twin) -> None:
    friend = twin.friend(twin.args.name)
    name = friend_words(twin, friend.public_key)
    twin.say(
        [f"nothing passes between you and {name} until one of you accepts the other's balances"]
    )
    if not await twin.agrees(f"Dispute the balances with {name}?"):
        raise RefusedError("not disputed: you declined", {"status": "declined"})
    await twin.client.command(DisputeFriend(friend.public_key))
    _done(
        twin, friend, "disputed: both sides propose balances, and one accepts: offset friend reset"
    )


async def _token(twin: Twin) -> None:
    friend = twin.friend(twin.args.name)
    last = friend.last_incoming
    if last is None:
        name = friend_words(twin, friend.public_key)
        raise NotPossibleError(f"{name} has not signed anything yet")
    token = Token(last.prefix_hash, last.rand_nonce, last.new_token, last.token_info)
    if twin.args.out is not None:
        need_new(twin.args.out)
        write(twin.args.out, token)
    text = to_json_line(token)
    _done(twin, friend, text, text=text, output=twin.args.out)


def _done(twin: Twin, friend: FriendReport, words: str, **values: Json) -> None:
    told: dict[str, Json] = {"done": True, "public_key": friend.public_key.to_text()}
    twin.output.result(merged(told, values), words)
