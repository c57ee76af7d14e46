"""`accept`: takes anything somebody handed over, says what it is, and does what it is for.

| what | does |
|---|---|
| invite | shows it, takes your limits, prints the answer |
| answer, friend card | makes a friend |
| servers, a relay's or index server's ticket | uses them |
| commit | judges it and collects, or holds |
| receipt, token | verifies |
| remote card | adds it to the cards; needs no card that runs |

Source: design R48; apps.md §5 (Import), §7.4, §7.5.
"""

import argparse
from collections.abc import Sequence
from functools import partial

from offset_engine.client import (
    Batch,
    Commit,
    HistoryKind,
    Invoice,
    InvoiceId,
    PaymentRecord,
    Receipt,
)
from offset_engine.errors import FileError
from offset_engine.files import (
    Answer,
    Content,
    FriendCard,
    Invite,
    RemoteCard,
    Servers,
    Ticket,
    Token,
    kind_of_content,
    to_qr_text,
    to_text,
)
from offset_engine.introducing import accept_answer, accept_invite
from offset_engine.programs import card_flags
from offset_engine.programs.arguments import Commands, Json, Output, RefusedError, UsageError
from offset_engine.programs.control.session import NotPossibleError
from offset_engine.text import safe
from offset_tui import people, proof_words, servers
from offset_tui.headless import flags
from offset_tui.headless.artifacts import given, kinds
from offset_tui.headless.befriending import (
    agree_on_changes,
    agree_on_decimals,
    card_lines,
    friendship_values,
    grants_for,
    introduce,
    known_name,
    name_for,
    reading,
)
from offset_tui.headless.friends import add_card_of
from offset_tui.headless.printing import facts
from offset_tui.headless.selling import hold_commit, take_commit, until_ms
from offset_tui.headless.session import Twin, add_flags, on_card
from offset_tui.past import HISTORY_PAGES_MAX, entries
from offset_tui.proof_words import Proof


def add_parsers(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("accept", "Take what somebody handed over, whatever it is.")
    add_flags(parser, _act)
    parser.add_argument(
        "artifact", metavar="ARTIFACT", help="a file, the text itself, or - for input"
    )
    parser.add_argument("--name", type=flags.a_name, metavar="NAME", help="what you call them")
    parser.add_argument(
        "--limit",
        action="append",
        type=flags.a_limit,
        metavar="AMOUNT",
        help="the most a friend may owe you; CURRENCY=AMOUNT where several are offered",
    )
    parser.add_argument(
        "--hold",
        metavar="UNTIL",
        help="keep a commit without collecting, for days (14) or until a date",
    )
    flags.add_decimals(parser)
    flags.add_yes(parser)
    parser.set_defaults(fee=None, no_connect=False)


def _act(args: argparse.Namespace, output: Output) -> None:
    found = given(args.artifact)
    remote = next((one for one in found if isinstance(one, RemoteCard)), None)
    if remote is not None and len(found) == 1:
        _add_remote(args, output, remote)
        return
    content = _the_one(found)
    if args.hold is not None and not isinstance(content, Commit):
        raise UsageError("--hold is for commits")
    on_card(partial(_take, content, found), None, args, output)


def _the_one(found: Sequence[Content]) -> Content:
    """What is meant: the only thing, or the receipt among receipt and invoice.

    Raises:
        FileError: there are several, or it is nothing one accepts.
    """
    wanted: list[Content] = [one for one in found if not isinstance(one, Invoice)]
    wanted = wanted or list(found)
    if len(wanted) > 1:
        raise FileError(f"there are several things in it ({kinds(found)}); give one at a time")
    (content,) = wanted
    if isinstance(content, Invoice):
        raise FileError("this is an invoice: offset pay shows it and pays")
    return content


async def _take(content: Content, found: Sequence[Content], twin: Twin) -> None:
    match content:
        case Invite():
            await _invite(twin, content)
        case Answer():
            await _answer(twin, content)
        case FriendCard():
            await add_card_of(twin, content)
        case Servers() | Ticket():
            await _servers(twin, content)
        case Commit():
            if twin.args.hold is None:
                await take_commit(twin, content)
            else:
                await hold_commit(twin, content, until_ms(twin, twin.args.hold))
        case Receipt():
            await _receipt(twin, content, found)
        case Token():
            _token(twin, content)
        case _:
            raise FileError(
                f"this is {kind_of_content(content).value}: a card has no use for it; "
                "offset inspect says what it is"
            )


def _add_remote(args: argparse.Namespace, output: Output, remote: RemoteCard) -> None:
    if args.name is None:
        raise UsageError("this is a remote card: say what to call it, with --name NAME")
    card = card_flags.store_of(args).add_remote(args.name, remote)
    output.note("note: what you gave holds the card's secret; delete it once the card works")
    output.result(
        {"kind": "remote_card", "name": card.name, "node_address": card.node_address},
        f"the card {card.name} is added: offset cards test {card.name} tries it",
    )


# --- invites and answers ------------------------------------------------------------------------


async def _invite(twin: Twin, invite: Invite) -> None:
    card, report = invite.card, twin.report
    lines = [f"an invite of {card_lines(card)[0]}", *card_lines(card)[1:]]
    if invite.servers is not None:
        has_own = bool(report.relays and report.index_servers)
        used = "you keep your own" if has_own else "you will use them too"
        lines.append(f"  servers: {people.server_words(invite.servers.relay.address)} ({used})")
    lines += [f"  trusts you up to {reading(twin, one)}" for one in card.terms]
    twin.say(lines)
    name = name_for(twin, card)
    is_known = bool(known_name(twin, card.public_key))
    grants = await grants_for(twin, name, card.terms, is_known=is_known)
    made = accept_invite(report, invite, twin.session.name, name, grants)
    await agree_on_changes(twin, made, name)
    await agree_on_decimals(twin, card.terms)
    await introduce(twin, made, card.terms)
    if made.answer is None:
        raise NotPossibleError("there is nothing to answer")
    text = to_text(made.answer)
    values: dict[str, Json] = {
        "kind": "invite",
        **friendship_values(twin, made, name),
        "text": text,
        "qr_text": to_qr_text(made.answer),
    }
    twin.output.result(values, text)
    twin.say([f"send this answer back to {safe(name, 24)}; then you can pay each other"])


async def _answer(twin: Twin, answer: Answer) -> None:
    card, book = answer.card, twin.session.notebook
    sent = next((one for one in book.invites if one.invite_hash == answer.invite_hash), None)
    lines = [f"the answer of {card_lines(card)[0]}", *card_lines(card)[1:]]
    lines += [f"  trusts you up to {reading(twin, one)}" for one in card.terms]
    twin.say(lines)
    name = name_for(twin, card, sent.name if sent is not None else "")
    made = accept_answer(twin.report, answer, book.invites, name, book.answered)
    await agree_on_changes(twin, made, name)
    await agree_on_decimals(twin, card.terms)
    await introduce(twin, made, card.terms)
    await twin.keep(twin.session.notebook.with_answer(answer.invite_hash, made.friend))
    said = "is your friend now: you can pay each other as soon as both are online"
    if made.is_known:
        said = "is your friend already: what was new in it counts now"
    twin.output.result(
        {"kind": "answer", **friendship_values(twin, made, name)}, f"{safe(name, 24)} {said}"
    )


# --- servers ------------------------------------------------------------------------------------


async def _servers(twin: Twin, content: Servers | Ticket) -> None:
    places = servers.roles(content)
    name = twin.args.name or people.typable(places[0][0].address.rpartition(":")[0])
    commands = servers.additions(twin.report, places, name)
    if commands:
        await twin.client.command(Batch(commands))
    values: dict[str, Json] = {
        "kind": "servers",
        "added": len(commands),
        "places": [
            {
                "public_key": place.public_key.to_text(),
                "address": place.address,
                "relay": is_relay,
                "index": is_index,
            }
            for place, is_relay, is_index in places
        ],
    }
    told = "this card uses them now" if commands else "this card uses them already"
    twin.output.result(values, f"{servers.words_of(content)}\n{told}")


# --- proofs -------------------------------------------------------------------------------------


async def _receipt(twin: Twin, receipt: Receipt, found: Sequence[Content]) -> None:
    invoice = next(
        (one for one in found if isinstance(one, Invoice) and one.invoice_id == receipt.invoice_id),
        None,
    ) or await _invoice_of(twin, receipt.invoice_id)
    proof = proof_words.judge_receipt(receipt, invoice)
    amount = "" if invoice is None else twin.money(invoice.total_dest_payment, invoice.currency)
    _say_proof(twin, "receipt", proof, (("amount", amount),))


async def _invoice_of(twin: Twin, invoice_id: InvoiceId) -> Invoice | None:
    """The invoice a proof is about, as this card knows it."""
    own = await twin.client.invoice_report(invoice_id)
    if own is not None:
        return own.invoice
    for pay in twin.session.snapshot.pays:
        if pay.invoice.invoice_id == invoice_id:
            return pay.invoice
    for entry in await entries(twin.client, HistoryKind.PAYMENTS, HISTORY_PAGES_MAX):
        record = entry.record
        if isinstance(record, PaymentRecord) and record.invoice.invoice_id == invoice_id:
            return record.invoice
    return None


def _token(twin: Twin, token: Token) -> None:
    proof = proof_words.judge_token(token, twin.report)
    places = [(str(one.currency), one.decimals) for one in twin.session.settings.currencies]
    rows = proof_words.token_rows(token, twin.report, places)
    _say_proof(twin, "token", proof, [(label.lower(), text) for label, text in rows])


def _say_proof(twin: Twin, kind: str, proof: Proof, rows: Sequence[tuple[str, str]]) -> None:
    values: dict[str, Json] = {
        "kind": kind,
        "valid": proof.is_good,
        "verdict": proof.title,
        "because": proof.because,
    }
    if not proof.is_good:
        raise RefusedError(f"{proof.title}. {proof.because}", values)
    twin.output.result(values, "\n".join([f"{proof.title}. {proof.because}", *facts(rows)]))
