"""`stctrl introduce`: servers, invites and answers as texts that people hand to each other.

    Alice   introduce invite  -n Bob -m LIMIT -c CUR -o FILE    prints the invite: send it to Bob
    Bob     introduce accept  -i FILE -n Alice -m LIMIT         prints the answer: send it back
    Alice   introduce finish  -i FILE -a ANSWER -n Bob          the two are friends

Whatever is read may be a file, or what a chat or a mail made of it; `-` is standard input. The invite's own
file is what an answer is checked against: only who was sent it can answer, as long as nobody else sees it. The
first answer that is accepted uses it up; `finish` keeps that one beside it, as FILE.answered.

A card that is a friend's already adds nobody: what would change about that friend is said, and done with
`--yes` or consent at the terminal. Another name than the friend's is refused.

Source: apps.md §7.5; `offset_engine.introducing`.
"""

import argparse
import os
from pathlib import Path
from typing import Final, TypeVar

from offset_engine.core.api import Batch
from offset_engine.core.reports import NodeReport
from offset_engine.core.values import Currency, PublicKey, RelayAddress
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
    NONCE_BYTES,
    AnsweredInvite,
    Changes,
    Grant,
    Introduction,
    SentInvite,
    accept_answer,
    accept_invite,
    changes_of,
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
    add_yes,
    credit_amount,
    need_new,
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
    add_yes(accept)
    finish = group.add("finish", "Make a friend of who answered an invite.", _finish)
    add_file(finish, "-i", "--invite", "the invite's file, as it was made")
    add_file(finish, "-a", "--answer", "the answer; - for input")
    add_name(finish, "friend")
    add_yes(finish)


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
        help="most the friend may owe in that currency, in credits (offset shows 100 as 1.00)"
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
    nonce = os.urandom(NONCE_BYTES)
    invite, _ = invite_to(report, args.own_name or "", terms, created_s=0, nonce=nonce)
    write(args.output, invite, force=args.force)
    session.output.result(
        {"text": to_text(invite), "qr_text": to_qr_text(invite), "output": args.output},
        to_text(invite),
    )


async def _accept(session: Session) -> None:
    args = session.args
    invite = _read(args.invite, Invite)
    report = await session.client.report()
    _need_name(report, args.name, invite.card.public_key)
    own_name, grants = args.own_name or "", _grants(args, invite)
    made = accept_invite(report, invite, own_name, args.name, grants)
    if made.answer is None:
        broken("an accepted invite has no answer")
    changes = await _agreed(session, report, made)
    if made.batch.commands:
        await session.do(made.batch)
    session.output.result(
        {
            "text": to_text(made.answer),
            "qr_text": to_qr_text(made.answer),
            "public_key": made.friend.to_text(),
            "offered": _offered(made),
            **_changed(made, changes),
        },
        to_text(made.answer),
    )


async def _finish(session: Session) -> None:
    args = session.args
    if args.invite == "-":
        raise FileError("the invite's own file is needed here: its first answer is kept beside it")
    invite, answer = _read(args.invite, Invite), _read(args.answer, Answer)
    report = await session.client.report()
    if invite.card.public_key != report.local_public_key:
        raise FileError(f"{args.invite}: this invite is another card's")
    _need_name(report, args.name, answer.card.public_key)
    used = _Used(args.invite, invite)
    sent = SentInvite(invite_hash(invite), invite.card.terms, args.name, 0)
    open_ones = [sent] if used.by is None else []
    made = accept_answer(report, answer, open_ones, args.name, used.entries)
    changes = await _agreed(session, report, made)
    if made.batch.commands:
        await session.do(made.batch)
    used.keep(answer)
    session.output.result(
        {
            "done": True,
            "public_key": made.friend.to_text(),
            "offered": _offered(made),
            **_changed(made, changes),
        }
    )


class _Used:
    """Whether an invite was answered: its first answer is kept beside its file."""

    def __init__(self, file: str, invite: Invite) -> None:
        """Look beside the invite's file.

        Raises:
            FileError: nothing can be kept there, or what is there is damaged.
        """
        self._path = f"{file}.answered"
        self._hash = invite_hash(invite)
        self.by: PublicKey | None = None
        if not Path(self._path).exists():
            need_new(self._path)
            return
        kept = _read(self._path, Answer)
        # An invite made anew under the old name has another hash.
        if kept.invite_hash == self._hash:
            self.by = kept.card.public_key

    @property
    def entries(self) -> tuple[AnsweredInvite, ...]:
        """As a notebook would have it."""
        return () if self.by is None else (AnsweredInvite(self._hash, self.by),)

    def keep(self, answer: Answer) -> None:
        """The invite is used up by this answer.

        Raises:
            FileError: it cannot be written.
        """
        write(self._path, answer, force=True)


# --- who is a friend already --------------------------------------------------------------------


async def _agreed(session: Session, report: NodeReport, made: Introduction) -> Changes:
    """Say what would change about a friend, and insist that it is meant.

    Raises:
        NotPossibleError: nobody agrees.
    """
    changes = changes_of(report, made)
    if not changes:
        return changes
    said = f"{shown(session.args.name)} is a friend already: this changes {_in_words(changes)}"
    if not await session.agrees(f"{said}\nDo it?"):
        raise NotPossibleError(f"nothing was changed; {said}; --yes does it")
    if session.args.yes and not session.output.as_json:
        session.output.note(said)
    return changes


def _in_words(changes: Changes) -> str:
    said = [
        f"the limit in {shown(one.currency)} from "
        f"{'none' if one.before is None else one.before} to {one.after} credits"
        for one in changes.limits
    ]
    if changes.has_relays:
        before, after = _places(changes.relays_before), _places(changes.relays_after)
        said.insert(0, f"its relays from {before} to {after}")
    return ", ".join(said)


def _places(relays: tuple[RelayAddress, ...]) -> str:
    return " and ".join(f"{one.public_key.to_text()} at {shown(one.address)}" for one in relays)


def _changed(made: Introduction, changes: Changes) -> dict[str, Json]:
    """What is new about a friend, for programs."""
    relays: list[Json] = [
        {"public_key": one.public_key.to_text(), "address": one.address}
        for one in (changes.relays_after if changes.has_relays else ())
    ]
    limits: list[Json] = [
        {
            "currency": one.currency,
            "before": None if one.before is None else str(one.before),
            "after": str(one.after),
        }
        for one in changes.limits
    ]
    return {"known": made.is_known, "changed_relays": relays, "changed_limits": limits}


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


def _need_name(report: NodeReport, name: str, key: PublicKey) -> None:
    """Insist that nobody else is called so, and that who is known is meant.

    Raises:
        NotPossibleError: it is another friend's name, or the card is of a friend with another name.
    """
    for one in report.friends:
        if one.name == name and one.public_key != key:
            raise NotPossibleError(f"there is a friend called {shown(name)} already")
    for one in report.friends:
        if one.public_key == key and one.name not in ("", name):
            raise NotPossibleError(
                f"this is the card of your friend {shown(one.name)}: say that name if you mean them, or "
                "rename them first"
            )


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
