"""`stmgr`: makes identities, tickets and databases, and turns artifacts into other forms; no network.

Source: apps.md §2.1, design R13; offset-docs "Running your own relay", "Node".
"""

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from offset_engine import qr
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, PublicKey, parse_address
from offset_engine.disk import path_of, write_bytes
from offset_engine.errors import FileError
from offset_engine.files import (
    AppTicket,
    Identity,
    Permissions,
    RemoteCard,
    Ticket,
    load_identity,
    load_public_key,
    read_identity,
    to_json_line,
    write,
    write_identity,
    write_ticket,
)
from offset_engine.programs import convert, inspect, passphrases
from offset_engine.programs.arguments import Commands, Output, Parser, run
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.public_address import is_this_machine, warning_of
from offset_engine.store import SqliteStore

_INDEX_TICKET: Final = (
    "Make the ticket for one port of an index server: its client port's ticket is for nodes, "
    "its server port's for other index servers."
)
_TICKETS: Final = {
    "relay-ticket": ("Make the ticket that lets nodes use a relay.", "relay"),
    "index-ticket": (_INDEX_TICKET, "index server"),
    "node-ticket": ("Make the ticket that tells apps where a node is.", "node"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return run(_parser(), _action, argv)


# --- flags --------------------------------------------------------------------------------------


def _parser() -> Parser:
    parser = Parser("stmgr", "Make the identities and tickets of nodes, relays and index servers.")
    commands = parser.commands()
    identity = commands.add("gen-ident", "Make a new identity: a secret key in a file.")
    _add_output(identity)
    passphrases.add_new_flags(identity, "it")
    database = commands.add("init-node-db", "Make an empty database for a node.")
    _add_identity(database, "identity of the node")
    database.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="database to make; never replaced"
    )
    _add_app_ticket(commands)
    for name, (what, whose) in _TICKETS.items():
        ticket = commands.add(name, what)
        _add_identity(ticket, f"identity of the {whose}")
        _add_address(ticket)
        _add_output(ticket)
    _add_node_entry(commands)
    _add_identity(commands.add("pubkey", "Print the public key of an identity."), "the identity")
    for name, what in (
        ("seal-ident", "Seal an identity with a passphrase, or with another one."),
        ("unseal-ident", "Take the passphrase off an identity."),
    ):
        _add_sealing(commands.add(name, what), has_new=name == "seal-ident")
    inspect.add_parser(commands)
    convert.add_parser(commands)
    return parser


def _add_app_ticket(commands: Commands) -> None:
    ticket = commands.add("app-ticket", "Make the ticket that lets an app use a node.")
    _add_identity(ticket, "identity of the app")
    for flag, what in (
        ("--proutes", "may ask for routes"),
        ("--pbuyer", "may pay"),
        ("--pseller", "may make invoices and collect"),
        ("--pconfig", "may change friends, limits and servers"),
        ("--ptransactions", "may see payments and invoices; buyers and sellers always may"),
        ("--no-pread", "may not see friends, balances and limits"),
    ):
        ticket.add_argument(flag, action="store_true", help=what)
    _add_output(ticket)


def _add_node_entry(commands: Commands) -> None:
    entry = commands.add(
        "node-entry", "Make a remote card: with it a device controls a node. It holds a secret."
    )
    entry.add_argument("-n", "--nodeid", required=True, metavar="FILE", help="identity of the node")
    entry.add_argument("-p", "--appid", required=True, metavar="FILE", help="identity of the app")
    _add_address(entry)
    _add_output(entry)
    passphrases.add_flag(entry)
    entry.add_argument("--qr", action="store_true", help="draw a QR code too; keep it to yourself")
    entry.add_argument("--png", metavar="FILE", help="write the QR code as a picture too")


def _add_sealing(parser: argparse.ArgumentParser, *, has_new: bool) -> None:
    _add_identity(parser, "the identity")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="file to write; the identity itself if not given"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    order = "the old one first if there is one, then the new one" if has_new else ""
    passphrases.add_flag(parser, order)


def _add_identity(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("-i", "--idfile", required=True, metavar="FILE", help=what)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-a",
        "--address",
        required=True,
        type=_an_address,
        metavar="HOST:PORT",
        help="where others reach it",
    )


def _an_address(text: str) -> str:
    """Check an address, which the file keeps as it was typed."""
    try:
        parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!a} cannot be used: {error}") from None
    return text


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="file to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


# --- commands -----------------------------------------------------------------------------------


def _action(args: argparse.Namespace, output: Output) -> None:
    _ACTIONS[args.command](args, output)


def _make_identity(args: argparse.Namespace, output: Output) -> None:
    private_key = PrivateKey(secrets.token_bytes(PrivateKey.SIZE))
    passphrase = Passphrases(args).ask_new_if_wanted(args.output)
    write_identity(args.output, private_key, passphrase, force=args.force)
    public_key = public_key_of(private_key)
    output.detail(f"wrote {args.output}, a new identity with the public key {public_key.to_text()}")
    _report(args, output, public_key)


def _seal_identity(args: argparse.Namespace, output: Output) -> None:
    asked = Passphrases(args)
    if args.command == "unseal-ident" and isinstance(read_identity(args.idfile), Identity):
        raise FileError(f"{args.idfile} is not sealed: it has no passphrase to take off")
    private_key = load_identity(args.idfile, asked.ask)
    passphrase = asked.ask_new(args.idfile) if args.command == "seal-ident" else None
    path = args.idfile if args.output is None else args.output
    write_identity(path, private_key, passphrase, force=args.force or args.output is None)
    public_key = public_key_of(private_key)
    done = "sealed with its passphrase" if passphrase is not None else "without a passphrase"
    output.detail(f"wrote {path}: the identity {public_key.to_text()}, {done}")
    output.result({"output": path, "public_key": public_key.to_text()})


def _make_database(args: argparse.Namespace, output: Output) -> None:
    public_key = load_public_key(args.idfile)
    path = path_of(args.output)
    if not args.output or "\0" in args.output:
        raise FileError("cannot make the database: this is not a name a file can have")
    if os.path.lexists(path):
        # Without --force on purpose: a database is money.
        raise FileError(f"{path} exists already; choose another name")
    if not path.parent.is_dir():
        raise FileError(f"cannot write {path}: there is no such directory")
    SqliteStore.create(path, public_key).close()
    output.detail(f"wrote {path}, an empty database of the node {public_key.to_text()}")
    _report(args, output, public_key)


def _own_key(args: argparse.Namespace) -> PublicKey:
    """The key of the identity a file is made for; `--force` must not put the file in its place.

    Raises:
        FileError: it cannot be read, or the output would replace it.
    """
    both = (args.output, args.idfile)
    # Unlike those of `Path` these never raise for a name that no file can have.
    if all(map(os.path.exists, both)) and Path(args.output).samefile(args.idfile):
        raise FileError("the output is the identity file itself; nothing was written")
    return load_public_key(args.idfile)


def _make_app_ticket(args: argparse.Namespace, output: Output) -> None:
    public_key = _own_key(args)
    permissions = Permissions(
        routes=args.proutes,
        buyer=args.pbuyer,
        seller=args.pseller,
        config=args.pconfig,
        read=not args.no_pread,
        transactions=args.ptransactions or args.pbuyer or args.pseller,
    )
    write(args.output, AppTicket(public_key, permissions), force=args.force)
    output.detail(f"wrote {args.output}: an app ticket for {public_key.to_text()}")
    _report(args, output, public_key)


def _make_ticket(args: argparse.Namespace, output: Output) -> None:
    public_key = _own_key(args)
    write_ticket(args.output, Ticket(public_key, args.address), force=args.force)
    if args.command != "node-ticket" or not is_this_machine(parse_address(args.address)):
        # A node's apps often run beside it; relays and index servers are for others.
        _warn_of_address(args.address, output)
    output.detail(f"wrote {args.output}: {args.address}, public key {public_key.to_text()}")
    _report(args, output, public_key, {"address": args.address})


def _make_node_entry(args: argparse.Namespace, output: Output) -> None:
    node = load_public_key(args.nodeid)
    app = load_identity(args.appid, Passphrases(args).ask)
    card = RemoteCard(node, args.address, app)
    if args.png is not None:
        if Path(args.png) == Path(args.output):
            raise FileError("the picture and the remote card need two different names")
        picture = qr.png(to_json_line(card))
        write_bytes(args.png, picture, secret=True, force=args.force)
    try:
        write(args.output, card, force=args.force)
    except FileError:
        if args.png is not None and not args.force:
            Path(args.png).unlink(missing_ok=True)
        raise
    _warn_of_address(args.address, output)
    output.detail(f"wrote {args.output}, a remote card: whoever has it can use {node.to_text()}")
    drawn = qr.half_blocks(to_json_line(card), has_colors=output.is_terminal) if args.qr else None
    _report(args, output, node, {"address": args.address}, drawn)


def _print_public_key(args: argparse.Namespace, output: Output) -> None:
    public_key = load_public_key(args.idfile).to_text()
    output.result({"public_key": public_key}, public_key)


def _report(
    args: argparse.Namespace,
    output: Output,
    public_key: PublicKey,
    more: Mapping[str, str] | None = None,
    text: str | None = None,
) -> None:
    values = {"output": args.output, "public_key": public_key.to_text(), **(more or {})}
    output.result(values, text)


def _warn_of_address(address: str, output: Output) -> None:
    warning = warning_of(parse_address(address))
    if warning is not None:
        output.note(f"warning: {warning}. Make the ticket with the address others see")


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace, Output], None]]] = {
    "gen-ident": _make_identity,
    "init-node-db": _make_database,
    "app-ticket": _make_app_ticket,
    **dict.fromkeys(_TICKETS, _make_ticket),
    "node-entry": _make_node_entry,
    "pubkey": _print_public_key,
    **dict.fromkeys(("seal-ident", "unseal-ident"), _seal_identity),
    "inspect": inspect.act,
    "convert": convert.act,
}


if __name__ == "__main__":
    sys.exit(main())
