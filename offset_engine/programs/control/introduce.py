"""`stctrl introduce`: servers, invites and answers as texts that people hand to each other.

    Alice   introduce invite  -n Bob -m LIMIT -c CUR -o FILE    prints the invite: send it to Bob
    Bob     introduce accept  -i FILE -n Alice -m LIMIT         prints the answer: send it back
    Alice   introduce finish  -i FILE -a ANSWER -n Bob          the two are friends

Whatever is read may be a file, or what a chat or a mail made of it; `-` is standard input. The invite's own
file is what an answer is checked against, so nobody else's answer becomes a friend.

Source: apps.md §7.5; `offset_engine.introducing`.
"""

import argparse
from typing import Final, TypeVar

from offset_engine.core.api import Batch, NodeReport
from offset_engine.core.values import Currency, PublicKey
from offset_engine.errors import FileError, broken
from offset_engine.files import (
    Answer,
    Invite,
    Servers,
    Terms,
    invite_hash,
    parse,
    shown,
    to_qr_text,
    to_text,
    write,
)
from offset_engine.introducing import (
    Grant,
    Introduction,
    SentInvite,
    accept_answer,
    accept_invite,
    invite_to,
    use_servers,
)
from offset_engine.programs.arguments import Json, read_input
from offset_engine.programs.control.session import (
    Group,
    NotPossibleError,
    Session,
    a_currency,
    a_name,
    add_file,
    add_force,
    add_name,
    credit_amount,
)

_T = TypeVar("_T", Servers, Invite, Answer)
_UNSTATED_DECIMALS: Final = 255


def add_commands(group: Group) -> None:
    """Add the subcommands."""
    servers = group.add(
        "servers", "Use the relay and the index server that a text names.", _use_servers
    )
    add_file(servers, "-s", "--servers", "the text, as `offset serve` prints it; - for input")
    add_name(servers, "two servers")
    invite = group.add("invite", "Make an invite to send to a future friend.", _invite)
    add_file(invite, "-o", "--output", "the invite's file; keep it for the answer")
    _add_terms(invite, is_required=True)
    _add_own_name(invite)
    add_force(invite)
    accept = group.add("accept", "Accept an invite; prints the answer to send back.", _accept)
    add_file(accept, "-i", "--invite", "the invite; - for input")
    add_name(accept, "friend")
    _add_terms(accept, is_required=False)
    _add_own_name(accept)
    finish = group.add("finish", "Make a friend of who answered an invite.", _finish)
    add_file(finish, "-i", "--invite", "the invite's file, as it was made")
    add_file(finish, "-a", "--answer", "the answer; - for input")
    add_name(finish, "friend")


def _add_terms(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    parser.add_argument(
        "-c",
        "--currency",
        type=a_currency,
        required=is_required,
        metavar="CUR",
        help="currency to use with the friend"
        + ("" if is_required else "; what the invite offers if not given"),
    )
    parser.add_argument(
        "-m",
        "--mdebt",
        type=credit_amount,
        required=is_required,
        metavar="N",
        help="most the friend may owe in that currency"
        + ("" if is_required else "; nothing is granted if not given"),
    )


def _add_own_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--own-name", type=a_name, metavar="NAME", help="what the friend may call us"
    )


# --- subcommands --------------------------------------------------------------------------------


async def _use_servers(session: Session) -> None:
    servers = _read(session.args.servers, Servers)
    commands = use_servers(await session.client.report(), servers, session.args.name)
    if commands:
        await session.do(Batch(commands))
    session.output.result(
        {
            "done": True,
            "relay": servers.relay.public_key.to_text(),
            "index": servers.index.public_key.to_text(),
        }
    )


async def _invite(session: Session) -> None:
    args = session.args
    report = await session.client.report()
    terms = (Terms(args.currency, _UNSTATED_DECIMALS, args.mdebt),)
    # What is to be remembered of it is in its own file.
    invite, _ = invite_to(report, args.own_name or "", terms, created_s=0)
    write(args.output, invite, force=args.force)
    session.output.result(
        {"text": to_text(invite), "qr_text": to_qr_text(invite), "output": args.output},
        to_text(invite),
    )


async def _accept(session: Session) -> None:
    args = session.args
    invite = _read(args.invite, Invite)
    report = await session.client.report()
    _need_free_name(report, args.name, invite.card.public_key)
    own_name, grants = args.own_name or "", _grants(args, invite)
    made = accept_invite(report, invite, own_name, args.name, grants)
    if made.answer is None:
        broken("an accepted invite has no answer")
    if made.batch.commands:
        await session.do(made.batch)
    session.output.result(
        {
            "text": to_text(made.answer),
            "qr_text": to_qr_text(made.answer),
            "public_key": made.friend.to_text(),
            "offered": _offered(made),
        },
        to_text(made.answer),
    )


async def _finish(session: Session) -> None:
    args = session.args
    invite, answer = _read(args.invite, Invite), _read(args.answer, Answer)
    report = await session.client.report()
    if invite.card.public_key != report.local_public_key:
        raise FileError(f"{args.invite}: this invite is another card's")
    _need_free_name(report, args.name, answer.card.public_key)
    sent = SentInvite(invite_hash(invite), invite.card.terms, args.name, 0)
    made = accept_answer(report, answer, [sent], args.name)
    if made.batch.commands:
        await session.do(made.batch)
    session.output.result(
        {"done": True, "public_key": made.friend.to_text(), "offered": _offered(made)}
    )


def _offered(made: Introduction) -> Json:
    """What the other side says it grants; a promise, no fact."""
    return [
        {"currency": one.currency, "limit_offered": str(one.limit_offered)} for one in made.told
    ]


# --- what they need -----------------------------------------------------------------------------


def _grants(args: argparse.Namespace, invite: Invite) -> tuple[Grant, ...]:
    """What the flags grant: in the currency they name, or in the only one the invite offers."""
    if args.mdebt is None:
        if args.currency is not None:
            raise NotPossibleError("--currency needs --mdebt: the most the friend may owe in it")
        return ()
    return (Grant(args.currency or _only_currency(invite), args.mdebt),)


def _only_currency(invite: Invite) -> Currency:
    offered = [one.currency for one in invite.card.terms]
    if len(offered) != 1:
        raise NotPossibleError(
            f"the invite offers {len(offered)} currencies; say which with --currency"
        )
    return offered[0]


def _need_free_name(report: NodeReport, name: str, key: PublicKey) -> None:
    if any(one.name == name and one.public_key != key for one in report.friends):
        raise NotPossibleError(f"there is a friend called {shown(name)} already")


def _read(place: str, wanted: type[_T]) -> _T:
    """The one thing of this kind in a file or in what was pasted.

    Raises:
        FileError: there is none, or several.
    """
    text = read_input(place)
    try:
        return parse(text, wanted)
    except FileError as error:
        raise FileError(f"{'standard input' if place == '-' else place}: {error}") from None
