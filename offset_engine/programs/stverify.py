"""`stverify`: checks tokens, receipts, commits and invoices; needs no network and no node.

Exit code 0 only if every check holds. Both the signatures of the documentation and those of the program
of 2020 count, and the answer says which it was.

Source: apps.md §2.4, §7.4, design R1, R2.
"""

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from offset_engine.core.crypto import public_key_of
from offset_engine.core.signing import DECIMALS_NONE, Commit, Invoice, Receipt, TokenInfo
from offset_engine.core.values import PublicKey
from offset_engine.errors import FileError
from offset_engine.files import (
    Answer,
    AppTicket,
    Content,
    FriendCard,
    Identity,
    Invite,
    SealedIdentity,
    Ticket,
    Token,
    Verdict,
    Vouched,
    describe,
    load_any,
    parse,
    shown,
    verify_commit,
    verify_invoice,
    verify_receipt,
    verify_token,
)
from offset_engine.programs import inspect, self_test
from offset_engine.programs.arguments import (
    Json,
    Output,
    Parser,
    RefusedError,
    read_input,
    run,
)

_C = TypeVar("_C", bound=Content)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return run(_parser(), _action, argv)


def _parser() -> Parser:
    parser = Parser("stverify", "Check what tokens, receipts, commits and invoices prove.")
    commands = parser.commands()
    token = commands.add("verify-token", "Check a friend's last token and print what it says.")
    _add_file(token, "-t", "--token", "the token")
    for flag, what in (
        ("--friend", "who must have signed it: a public key, or a file with it"),
        ("--me", "whom it must be about, likewise; balances are then shown from that side too"),
    ):
        token.add_argument(flag, metavar="KEY", help=what)
    token.add_argument("--since", metavar="FILE", help="a token it must not be older than")
    receipt = commands.add("verify-receipt", "Check that a receipt proves an invoice was paid.")
    _add_file(receipt, "-i", "--invoice", "the invoice")
    _add_file(receipt, "-r", "--receipt", "the receipt")
    commit = commands.add("verify-commit", "Check a commit before goods are handed over.")
    _add_file(commit, "-i", "--invoice", "the invoice")
    _add_file(commit, "-c", "--commit", "the commit")
    invoice = commands.add("verify-invoice", "Check the seller's signature on an invoice.")
    _add_file(invoice, "-i", "--invoice", "the invoice")
    inspect.add_parser(commands)
    commands.add("self-test", "Check this program against built-in examples of known outcome.")
    return parser


def _add_file(parser: argparse.ArgumentParser, short: str, name: str, what: str) -> None:
    parser.add_argument(short, name, required=True, metavar="FILE", help=f"{what}; - reads stdin")


def _action(args: argparse.Namespace, output: Output) -> None:
    _ACTIONS[args.command](args, output)


def _load(name: str, wanted: type[_C]) -> _C:
    text = read_input(name)
    try:
        return parse(text, wanted)
    except FileError as error:
        raise FileError(f"{name}: {error}") from None


# --- commits, receipts, invoices ----------------------------------------------------------------


def _verify_receipt(args: argparse.Namespace, output: Output) -> None:
    invoice, receipt = _load(args.invoice, Invoice), _load(args.receipt, Receipt)
    _report("receipt", verify_receipt(invoice, receipt), (invoice, receipt), output)


def _verify_commit(args: argparse.Namespace, output: Output) -> None:
    invoice, commit = _load(args.invoice, Invoice), _load(args.commit, Commit)
    _report("commit", verify_commit(invoice, commit), (invoice, commit), output)


def _report(
    kind: str, verdict: Verdict, about: tuple[Invoice, Commit | Receipt], output: Output
) -> None:
    invoice, proof = about
    sentence = inspect.verdict_sentence(kind, verdict)
    values: dict[str, Json] = {
        "valid": verdict.is_valid,
        "failed": None if verdict.failed is None else verdict.failed.name.lower(),
        "prefix": verdict.prefix,
        "complete": verdict.is_complete if verdict.is_valid else None,
        "amount": str(invoice.total_dest_payment),
        "this_part": str(proof.dest_payment),
        "currency": invoice.currency,
        "decimals": None if invoice.decimals == DECIMALS_NONE else invoice.decimals,
        "seller": invoice.dest_public_key.to_text(),
    }
    if not verdict.is_valid:
        raise RefusedError(sentence, values)
    if not verdict.is_complete:
        output.note(f"warning: {inspect.INCOMPLETE}")
    wanted = ("amount", "description", "seller")
    rows = [row for row in describe(invoice).rows if row[0] in wanted]
    rows += [row for row in describe(proof).rows if row[0] == "this part"]
    output.result(values, "\n".join([sentence, *(f"  {name}: {text}" for name, text in rows)]))


def _verify_invoice(args: argparse.Namespace, output: Output) -> None:
    invoice = _load(args.invoice, Invoice)
    vouched = verify_invoice(invoice)
    now = int(dt.datetime.now(dt.UTC).timestamp())
    is_expired = 0 < invoice.expires <= now
    values: dict[str, Json] = {
        "valid": vouched is Vouched.SIGNED,
        "signed": invoice.signature is not None,
        "seller": invoice.dest_public_key.to_text(),
        "expired": is_expired,
    }
    if vouched is not Vouched.SIGNED:
        raise RefusedError(f"the invoice cannot be verified: {vouched.value}", values)
    if is_expired:
        output.note("warning: the invoice has expired")
    seller = invoice.dest_public_key.to_text()
    output.result(values, f"the invoice is valid: {vouched.value}, {seller}")


# --- tokens -------------------------------------------------------------------------------------


def _verify_token(args: argparse.Namespace, output: Output) -> None:
    token = _load(args.token, Token)
    friend = None if args.friend is None else _key(args.friend)
    local = None if args.me is None else _key(args.me)
    since = None if args.since is None else _load(args.since, Token)
    verdict = verify_token(token, friend, local, since)
    values: dict[str, Json] = {
        "valid": verdict.failed is None,
        "failed": None if verdict.failed is None else verdict.failed.name.lower(),
        "signed_as": None if verdict.form is None else verdict.form.name.lower(),
        **_info_values(token.info),
    }
    if verdict.failed is not None:
        raise RefusedError(f"the token is not valid: {verdict.failed.value}", values)
    lines = [f"the token is valid: {verdict.form}", "", *_info_lines(token.info)]
    if local is not None:
        values["from_my_side"] = _info_values(token.info.flipped)["balances"]
        lines += ["", "from your side:", *_balance_lines(token.info.flipped)]
    output.result(values, "\n".join(lines))


def _key(text: str) -> PublicKey:
    """A public key typed as it is, or the one in a file."""
    try:
        return PublicKey.from_text(text)
    except ValueError:
        artifacts = load_any(text)
    keys = list(dict.fromkeys(key for one in artifacts if (key := _owner(one.content))))
    if len(keys) != 1:
        raise FileError(
            f"{text}: expected one public key, typed or in an identity, a ticket or a friend file"
        )
    return keys[0]


def _owner(content: Content) -> PublicKey | None:
    match content:
        case Identity():
            return public_key_of(content.private_key)
        case SealedIdentity() | Ticket() | AppTicket() | FriendCard():
            return content.public_key
        case Invite() | Answer():
            return content.card.public_key
        case _:
            return None


def _info_values(info: TokenInfo) -> dict[str, Json]:
    return {
        "local_public_key": info.local_public_key.to_text(),
        "remote_public_key": info.remote_public_key.to_text(),
        "inconsistency_counter": info.inconsistency_counter,
        "move_token_counter": info.move_token_counter,
        "balances": [
            {
                "currency": currency,
                "balance": str(balance.balance),
                "local_pending_debt": str(balance.local_pending_debt),
                "remote_pending_debt": str(balance.remote_pending_debt),
            }
            for currency, balance in info.balances
        ],
    }


def _info_lines(info: TokenInfo) -> list[str]:
    return [
        f"local_public_key: {info.local_public_key.to_text()}",
        f"remote_public_key: {info.remote_public_key.to_text()}",
        f"inconsistency_counter: {info.inconsistency_counter}",
        f"move_token_counter: {info.move_token_counter}",
        *_balance_lines(info),
    ]


def _balance_lines(info: TokenInfo) -> list[str]:
    return [
        f"- {shown(currency)[1:-1]}: balance={one.balance}, lpd={one.local_pending_debt}, "
        f"rpd={one.remote_pending_debt}"
        for currency, one in info.balances
    ]


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace, Output], None]]] = {
    "verify-token": _verify_token,
    "verify-receipt": _verify_receipt,
    "verify-commit": _verify_commit,
    "verify-invoice": _verify_invoice,
    "inspect": inspect.act,
    "self-test": self_test.act,
}


if __name__ == "__main__":
    sys.exit(main())
