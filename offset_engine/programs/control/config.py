"""`stctrl config`: relays, index servers, friends, limits and rates.

Each command does the one step it names, as in the original: a friend is added disabled, a limit does not
open a currency. Names are chosen here and are unique here.
"""

import argparse
from collections.abc import Sequence
from typing import Final

from offset_engine.core.api import (
    AddFriend,
    AddIndexServer,
    AddRelay,
    Batch,
    CloseFriendCurrency,
    Command,
    CommandFault,
    DisableFriend,
    EnableFriend,
    OpenFriendCurrency,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveIndexServer,
    RemoveRelay,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
)
from offset_engine.core.reports import FriendReport
from offset_engine.core.values import NamedAddress, Rate
from offset_engine.errors import FileError
from offset_engine.files import FriendCard, Role, load, load_ticket, shown
from offset_engine.programs.arguments import Json
from offset_engine.programs.control.amounts import add_amount, add_units, percent_mul
from offset_engine.programs.control.session import (
    Group,
    NotPossibleError,
    RefusedByNodeError,
    Session,
    a_currency,
    a_name,
    add_currency,
    add_file,
    add_name,
    add_yes,
    canonical,
    canonical_relays,
    has_person,
    small_number,
)
from offset_engine.programs.control.showing import balance_lines, changes_text, terms_changes

_SWITCHES: Final[dict[str, tuple[str, type[EnableFriend | DisableFriend]]]] = {
    "enable-friend": ("Connect to a friend.", EnableFriend),
    "disable-friend": ("Disconnect from a friend; what waits for it is canceled.", DisableFriend),
}
_CURRENCY_SWITCHES: Final[dict[str, tuple[str, type[OpenFriendCurrency | CloseFriendCurrency]]]] = {
    "open-currency": ("Let payments of others pass in a currency.", OpenFriendCurrency),
    "close-currency": ("Let no payment of others pass in a currency.", CloseFriendCurrency),
}


def add_commands(group: Group) -> None:
    """Add the subcommands."""
    relay = group.add("add-relay", "Be reachable at a relay.", _add_relay)
    add_file(relay, "-r", "--relay", "the relay's ticket")
    add_name(relay, "relay")
    add_name(group.add("remove-relay", "Stop using a relay.", _remove_relay), "relay")
    index = group.add("add-index", "Find routes through an index server.", _add_index)
    add_file(index, "-i", "--index", "the index server's ticket")
    add_name(index, "index server")
    remove = group.add("remove-index", "Stop using an index server.", _remove_index)
    add_name(remove, "index server")
    _add_friend_commands(group)
    _add_currency_commands(group)


def _add_friend_commands(group: Group) -> None:
    friend = group.add(
        "add-friend", "Add a friend, disabled unless --enable is given.", _add_friend
    )
    add_file(friend, "-f", "--friend", "the friend's card")
    add_name(friend, "friend")
    friend.add_argument("--enable", action="store_true", help="connect to the friend at once")
    friend.add_argument("--currency", type=a_currency, metavar="CUR", help="currency to open")
    add_amount(friend, "--limit", required=False, what="most the friend may owe in that currency")
    add_units(friend, "limit")
    friend.add_check(_need_both)
    relays = group.add("set-friend-relays", "Take a friend's relays from its card.", _set_relays)
    add_file(relays, "-f", "--friend", "the friend's card")
    add_name(relays, "friend")
    remove = group.add("remove-friend", "Forget a friend and what is owed.", _remove_friend)
    add_name(remove, "friend")
    add_yes(remove)
    rename = group.add("rename-friend", "Give a friend another name.", _rename_friend)
    add_name(rename, "friend")
    rename.add_argument(
        "-t", "--to", required=True, type=a_name, metavar="NAME", help="the new name"
    )
    for name, (what, _) in _SWITCHES.items():
        add_name(group.add(name, what, _switch_friend), "friend")
    reset = group.add("reset-friend", "Accept a friend's terms after a conflict.", _reset_friend)
    add_name(reset, "friend")
    add_yes(reset)


def _need_both(args: argparse.Namespace) -> None:
    if (args.currency is None) != (args.limit is None):
        raise argparse.ArgumentTypeError("--currency and --limit are given together or not at all")


def _add_currency_commands(group: Group) -> None:
    for name, (what, _) in _CURRENCY_SWITCHES.items():
        switch = group.add(name, what, _switch_currency)
        add_name(switch, "friend")
        add_currency(switch)
    limit = group.add("set-currency-max-debt", "Set the most a friend may owe.", _set_max_debt)
    add_name(limit, "friend")
    add_currency(limit)
    add_amount(limit, "-m", "--mdebt", what="credits")
    add_units(limit, "mdebt")
    rate = group.add("set-currency-rate", "Set the fee for forwarding for a friend.", _set_rate)
    add_name(rate, "friend")
    add_currency(rate)
    part = rate.add_mutually_exclusive_group(required=True)
    part.add_argument(
        "-m", "--mul", type=small_number, metavar="N", help="part of the amount, in 1/2^32"
    )
    part.add_argument(
        "--percent",
        dest="mul",
        type=percent_mul,
        metavar="P",
        help="part of the amount in percent, like 0.5",
    )
    rate.add_argument(
        "-a", "--add", required=True, type=small_number, metavar="N", help="credits on top"
    )
    remove = group.add("remove-currency", "Stop using a currency with a friend.", _remove_currency)
    add_name(remove, "friend")
    add_currency(remove)


# --- servers ------------------------------------------------------------------------------------


async def _add_relay(session: Session) -> None:
    server = _server(session, session.args.relay, Role.RELAY)
    _need_new_server((await session.client.report()).relays, server, "relay")
    await _done(session, AddRelay(server))


async def _add_index(session: Session) -> None:
    server = _server(session, session.args.index, Role.INDEX)
    _need_new_server((await session.client.report()).index_servers, server, "index server")
    await _done(session, AddIndexServer(server))


def _server(session: Session, path: str, role: Role) -> NamedAddress:
    ticket = load_ticket(path, role)
    return NamedAddress(ticket.public_key, canonical(ticket.address, path), session.args.name)


def _need_new_server(servers: Sequence[NamedAddress], new: NamedAddress, kind: str) -> None:
    for one in servers:
        if one.name == new.name:
            raise NotPossibleError(f"there is {_a(kind)} called {shown(one.name)} already")
        if one.public_key == new.public_key:
            raise NotPossibleError(f"this {kind} is configured already, as {shown(one.name)}")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


async def _remove_relay(session: Session) -> None:
    relays = (await session.client.report()).relays
    relay = _named(relays, session.args.name, "relay")
    await _done(session, RemoveRelay(relay.public_key))
    if len(relays) == 1:
        session.output.note("warning: this was the last relay; friends cannot reach the node now")


async def _remove_index(session: Session) -> None:
    servers = (await session.client.report()).index_servers
    server = _named(servers, session.args.name, "index server")
    await _done(session, RemoveIndexServer(server.public_key))


def _named(servers: Sequence[NamedAddress], name: str, kind: str) -> NamedAddress:
    found = [one for one in servers if one.name == name]
    if len(found) > 1:
        raise NotPossibleError(f"there are {len(found)} of the kind {kind} called {shown(name)}")
    if not found:
        raise NotPossibleError(f"there is no {kind} called {shown(name)}")
    return found[0]


# --- friends ------------------------------------------------------------------------------------


async def _add_friend(session: Session) -> None:
    args = session.args
    card = load(args.friend, FriendCard)
    relays = canonical_relays(card.relays, args.friend)
    report = await session.client.report()
    if card.public_key == report.local_public_key:
        raise FileError(f"{args.friend}: this is the card of the node itself")
    for one in report.friends:
        if one.public_key == card.public_key:
            raise NotPossibleError(f"this friend was added already, as {shown(one.name)}")
    _need_new_friend(report.friends, args.name)
    commands: list[Command] = [AddFriend(card.public_key, relays, args.name)]
    if args.enable:
        commands.append(EnableFriend(card.public_key))
    if args.currency is not None:
        commands.append(SetFriendCurrencyMaxDebt(card.public_key, args.currency, args.limit))
        commands.append(OpenFriendCurrency(card.public_key, args.currency))
    await _done(session, Batch(tuple(commands)), public_key=card.public_key.to_text())
    if not relays:
        session.output.note("warning: the card names no relay; the friend has to connect to us")


def _need_new_friend(friends: Sequence[FriendReport], name: str) -> None:
    if any(one.name == name for one in friends):
        raise NotPossibleError(f"there is a friend called {shown(name)} already")


async def _set_relays(session: Session) -> None:
    path = session.args.friend
    card = load(path, FriendCard)
    relays = canonical_relays(card.relays, path)
    friend = await session.friend()
    if card.public_key != friend.public_key:
        raise FileError(f"{path}: this is not the card of {shown(friend.name)}: the keys differ")
    await _done(session, SetFriendRelays(friend.public_key, relays))


async def _rename_friend(session: Session) -> None:
    friend = await session.friend()
    _need_new_friend((await session.client.report()).friends, session.args.to)
    await _done(session, SetFriendName(friend.public_key, session.args.to))


async def _switch_friend(session: Session) -> None:
    _, command = _SWITCHES[session.args.action]
    await _done(session, command((await session.friend()).public_key))


async def _remove_friend(session: Session) -> None:
    friend = await session.friend()
    try:
        await _done(session, RemoveFriend(friend.public_key))
    except RefusedByNodeError as error:
        if error.fault is not CommandFault.PENDING_EXPOSURE:
            raise
    else:
        return
    told = f"with {shown(friend.name)}: {_in_a_line(friend)}"
    if not await session.agrees(f"{told}\nForget the friend and all of this?"):
        raise NotPossibleError(f"not removed; something may be owed {told}; --yes forgets it")
    await _done(session, RemoveFriend(friend.public_key, force=True))


def _in_a_line(friend: FriendReport) -> str:
    head, *rest = balance_lines(friend)
    return f"{head} {'; '.join(rest)}"


async def _reset_friend(session: Session) -> None:
    friend = await session.friend()
    if friend.is_consistent:
        raise NotPossibleError(f"nothing to reset: both sides agree with {shown(friend.name)}")
    if friend.remote_terms is None:
        raise NotPossibleError(
            f"the terms of {shown(friend.name)} are not known yet; is it online?"
        )
    if not friend.remote_terms.is_acceptable:
        raise NotPossibleError(f"the terms of {shown(friend.name)} cannot be accepted by anybody")
    changes = terms_changes(friend)
    said = f"the terms of {shown(friend.name)}: {changes_text(changes)}"
    if has_person():
        about = f"with {shown(friend.name)}: {_in_a_line(friend)}"
        if not await session.agrees(
            f"{about}\nif you accept, {changes_text(changes)}\nAccept the friend's terms?"
        ):
            raise NotPossibleError("not reset: the terms were declined")
    elif any(change < 0 for _, change in changes):
        # Naming the command is consent enough for a script, as in the original.
        session.output.note(f"accepting {said}")
    await session.do(ResetFriendChannel(friend.public_key, friend.remote_terms.terms_hash))
    values: list[Json] = [
        {"currency": currency, "change": str(change)} for currency, change in changes
    ]
    session.output.result({"done": True, "changes": values}, f"accepted {said}")


# --- currencies ---------------------------------------------------------------------------------


async def _switch_currency(session: Session) -> None:
    _, command = _CURRENCY_SWITCHES[session.args.action]
    await _done(session, command((await session.friend()).public_key, session.args.currency))


async def _set_max_debt(session: Session) -> None:
    args, friend = session.args, await session.friend()
    await _done(session, SetFriendCurrencyMaxDebt(friend.public_key, args.currency, args.mdebt))


async def _set_rate(session: Session) -> None:
    args, friend = session.args, await session.friend()
    rate = Rate(args.mul, args.add)
    await _done(session, SetFriendCurrencyRate(friend.public_key, args.currency, rate))


async def _remove_currency(session: Session) -> None:
    friend, currency = await session.friend(), session.args.currency
    await session.do(RemoveFriendCurrency(friend.public_key, currency))
    left = [one for one in (await session.friend()).currencies if one.currency == currency]
    if left:
        session.output.note(
            f"{currency} is closed now, and goes when nothing in it is owed or pending"
        )
    session.output.result({"done": True, "removed": not left})


async def _done(session: Session, command: Command | Batch, **values: Json) -> None:
    await session.do(command)
    session.output.result({"done": True, **values})
