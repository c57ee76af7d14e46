"""`stmgr`: makes identities and tickets; needs no network.

Source: apps.md §2.1; offset-docs "Running your own relay".
"""

import argparse
import secrets
import sys
from collections.abc import Sequence
from typing import Final

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, parse_address
from offset_engine.errors import FileError
from offset_engine.files import Ticket, load_identity, write_identity, write_ticket
from offset_engine.programs.arguments import Output, Parser, run

_EVERYWHERE: Final = ("0.0.0.0", "[::]")  # noqa: S104 - compared with, not listened on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return run(_parser(), _action, argv)


def _parser() -> Parser:
    parser = Parser("stmgr", "Make the identities and tickets of nodes, relays and index servers.")
    commands = parser.commands()
    identity = commands.add("gen-ident", "Make a new identity: a secret key in a file.")
    _add_output(identity)
    for name, what in (
        ("relay-ticket", "Make the ticket that lets nodes use a relay."),
        ("index-ticket", "Make the ticket for one port of an index server."),
    ):
        ticket = commands.add(name, what)
        ticket.add_argument(
            "-i", "--idfile", required=True, metavar="FILE", help="identity of the server"
        )
        ticket.add_argument(
            "-a", "--address", required=True, metavar="HOST:PORT", help="where others reach it"
        )
        _add_output(ticket)
    return parser


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def _action(args: argparse.Namespace, output: Output) -> None:
    if args.command == "gen-ident":
        _make_identity(args.output, output, force=args.force)
    else:
        _make_ticket(args, output)


def _make_identity(path: str, output: Output, *, force: bool) -> None:
    private_key = PrivateKey(secrets.token_bytes(PrivateKey.SIZE))
    write_identity(path, private_key, force=force)
    public_key = public_key_of(private_key).to_text()
    output.detail(f"wrote {path}, a new identity with the public key {public_key}")
    output.result({"output": path, "public_key": public_key})


def _make_ticket(args: argparse.Namespace, output: Output) -> None:
    private_key = load_identity(args.idfile)
    try:
        host, _, _ = parse_address(args.address).rpartition(":")
    except ValueError as error:
        raise FileError(f"the address {args.address[:80]!a} cannot be used: {error}") from None
    ticket = Ticket(public_key_of(private_key), args.address)
    write_ticket(args.output, ticket, force=args.force)
    if host in _EVERYWHERE:
        output.note(
            f"warning: {host} means every address of this machine; nobody else can dial it. "
            "Make the ticket with the address others see"
        )
    public_key = ticket.public_key.to_text()
    output.detail(f"wrote {args.output}: {ticket.address}, public key {public_key}")
    output.result({"output": args.output, "public_key": public_key, "address": ticket.address})


if __name__ == "__main__":
    sys.exit(main())
