"""How `accept` and `friend add` make somebody a friend: who they are, up to how much one trusts them, go on.

Source: apps.md §7.5; issue of the app, "The acceptance story"; design R8, R31, R41.
"""

import argparse
from collections.abc import Iterable, Sequence

from offset_engine.client import NAME_BYTES_MAX, Batch, Currency, PublicKey
from offset_engine.files import FriendCard, Terms
from offset_engine.introducing import Changes, Grant, Introduction, changes_of
from offset_engine.programs.arguments import Json, RefusedError, UsageError
from offset_engine.programs.control.session import NotPossibleError, ask, has_person
from offset_engine.text import fingerprint, fingerprint_words, quoted, readings_text, safe, skeleton
from offset_tui import people, state
from offset_tui.headless import flags
from offset_tui.headless.session import Twin

_UNSTATED = 255


def known_name(twin: Twin, key: PublicKey) -> str:
    """What we call somebody already; "" if they are no friend yet."""
    return next((one.name for one in twin.report.friends if one.public_key == key), "")


def name_for(twin: Twin, card: FriendCard, suggested: str = "") -> str:
    """What to call somebody: as `--name` says, else as we or they call them.

    Raises:
        UsageError: nobody says it.
        NotPossibleError: another friend's name looks the same, or this friend has another one already.
    """
    known = known_name(twin, card.public_key)
    name: str = twin.args.name or known or people.typable(suggested or card.name).strip()
    if not name:
        raise UsageError("say what you call them: --name NAME")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise UsageError(f"a name has at most {NAME_BYTES_MAX} bytes: choose one with --name")
    if name == known:
        return name
    for one in twin.report.friends:
        if one.public_key != card.public_key and skeleton(one.name) == skeleton(name):
            raise NotPossibleError(
                f"there is a friend called {quoted(one.name)} already: choose a name with --name"
            )
    if known:
        raise NotPossibleError(
            f"this is the card of your friend {quoted(known)}: leave out --name if you mean them, or give "
            "them another name with offset friend rename first"
        )
    return name


def card_lines(card: FriendCard) -> list[str]:
    """Whose card it is, and the words to compare."""
    return [
        f"{safe(card.name, 40) or '(no name)'} ({fingerprint(card.public_key)})",
        f"  words: {fingerprint_words(card.public_key)}",
        "  compare these words by voice before you trust somebody with money",
    ]


# --- decimals -----------------------------------------------------------------------------------


def is_mismatch(twin: Twin, terms: Terms) -> bool:
    """Whether the two sides would read one number as different amounts (design R8)."""
    theirs = 0 if terms.decimals == _UNSTATED else terms.decimals
    return theirs != twin.digits(terms.currency, terms.decimals)


def reading(twin: Twin, terms: Terms) -> str:
    """The limit offered; both readings where the two sides count different digits."""
    mine = twin.digits(terms.currency, terms.decimals)
    if is_mismatch(twin, terms):
        return f"{readings_text(terms.limit_offered, mine, terms.decimals)} {terms.currency}"
    return people.money(terms.limit_offered, terms.currency, mine)


async def agree_on_decimals(twin: Twin, terms: Sequence[Terms]) -> None:
    """Ask before anything is agreed in a currency both sides count differently.

    Raises:
        RefusedError: declined.
        UsageError: nobody can be asked.
    """
    odd = [one for one in terms if is_mismatch(twin, one)]
    if not odd:
        return
    twin.say(
        [
            "! you count different digits after the point:",
            *(f"  {one.currency}: {reading(twin, one)}" for one in odd),
        ]
    )
    question = "You count different digits after the point. Go on, because both know what is meant?"
    if not await twin.agrees(question):
        raise RefusedError("nothing was changed: you declined", {"status": "declined"})


# --- limits -------------------------------------------------------------------------------------


async def grants_for(
    twin: Twin, name: str, offered: Sequence[Terms], *, is_known: bool
) -> tuple[Grant, ...]:
    """Up to how much the owner trusts somebody, in each currency offered; asks where `--limit` is missing.

    Raises:
        UsageError: a limit cannot be read or is missing, and nobody can be asked.
    """
    given: dict[Currency, str] = {}
    currencies = [one.currency for one in offered]
    for named, typed in twin.args.limit or ():
        if named is None and len(currencies) != 1:
            raise UsageError(
                f"{len(currencies)} currencies are offered: say which, like --limit "
                f"{currencies[0] if currencies else 'OUSD'}={typed}"
            )
        currency = currencies[0] if named is None else named
        if currency not in currencies:
            raise UsageError(
                f"{currency} is not offered: offset friend currency adds it afterwards"
            )
        given[currency] = typed
    found: list[Grant] = []
    for one in offered:
        typed = given.get(one.currency)
        if typed is None and is_known:
            continue
        if typed is None:
            typed = await _asked(name, one)
        digits = twin.digits(one.currency, one.decimals)
        limit = twin.amount(typed, one.currency, digits)
        twin.say([f"  {people.trust_words(safe(name, 24), limit, one.currency, digits)}"])
        found.append(Grant(one.currency, limit))
    return tuple(found)


async def _asked(name: str, terms: Terms) -> str:
    if not has_person():
        raise UsageError(
            f"say up to how much you trust {quoted(name)} in {terms.currency}, the most you can lose "
            "with them: --limit AMOUNT (0 = nothing)"
        )
    typed = await ask(f"Up to how much do you trust {safe(name, 24)}, in {terms.currency}? ")
    try:
        return flags.an_amount(typed)
    except argparse.ArgumentTypeError as error:
        raise UsageError(str(error)) from None


# --- who is a friend already --------------------------------------------------------------------


async def agree_on_changes(twin: Twin, made: Introduction, name: str) -> None:
    """Ask before anything changes about somebody who is a friend already.

    Raises:
        RefusedError: declined.
        UsageError: nobody can be asked.
    """
    changes = changes_of(twin.report, made)
    if not changes:
        return
    who = safe(name, 24)
    twin.say([f"{who} is your friend already; this changes:", *_change_lines(twin, changes)])
    if not await twin.agrees(f"{who} is your friend already. Make these changes?"):
        raise RefusedError("nothing was changed: you declined", {"status": "declined"})


def _change_lines(twin: Twin, changes: Changes) -> list[str]:
    lines: list[str] = []
    if changes.has_relays:
        for which, relays in (("now", changes.relays_before), ("then", changes.relays_after)):
            lines += [
                f"  relay {which}: {people.server_words(one.address)} (key {fingerprint(one.public_key)})"
                for one in relays
            ]
    for limit in changes.limits:
        before = "not in use"
        if limit.before is not None:
            before = twin.money(limit.before, limit.currency)
        after = twin.money(limit.after, limit.currency)
        lines.append(f"  the most they may owe you: {before} now, {after} then")
    return lines


# --- doing it -----------------------------------------------------------------------------------


async def introduce(twin: Twin, made: Introduction, terms: Iterable[Terms]) -> None:
    """Fix decimals, have the node do it, and note what the other side says it grants."""
    for one in terms:
        await twin.session.use_currency(one.currency, twin.digits(one.currency, one.decimals))
    if made.batch.commands:
        await twin.client.command(Batch(made.batch.commands))
    await twin.keep(twin.session.notebook.with_told(made.friend, made.told))


def friendship_values(twin: Twin, made: Introduction, name: str) -> dict[str, Json]:
    """A new friendship for programs."""
    return {
        "name": name,
        "public_key": made.friend.to_text(),
        "fingerprint": fingerprint(made.friend),
        "known": made.is_known,
        "trusts_you": [
            {
                "currency": one.currency,
                "limit": str(one.limit_offered),
                "decimals": twin.session.decimals(one.currency),
            }
            for one in made.told
        ],
    }


def friend_words(twin: Twin, key: PublicKey) -> str:
    """What we call a friend in sentences."""
    return state.friend_names(twin.report).get(key, "this friend")
