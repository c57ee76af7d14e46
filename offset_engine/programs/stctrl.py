"""`stctrl`: controls a node, one action and one connection at a time.

The app that talks to the node has an identity of its own (`--idfile`), and the node trusts it through an
app ticket; where the node is and which key it has stands in its ticket (`--ticket`). Programs of the user
who runs the node need neither: they come in by its socket file (`--socket`). What was given once can be
kept in a profile, so that the flags may be left out.

Source: apps.md §2.3, design R13, R31.
"""

import argparse
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from offset_engine.core.app_messages import Permission
from offset_engine.core.values import PrivateKey
from offset_engine.errors import OffsetError
from offset_engine.files import Ticket, load_identity, load_public_key, load_ticket
from offset_engine.net.remote_client import Dial, RemoteClient, by_address, by_socket
from offset_engine.net.transport import Endpoint
from offset_engine.programs import passphrases
from offset_engine.programs.arguments import Output, Parser, run
from offset_engine.programs.control import buyer, config, info, introduce, profile, seller
from offset_engine.programs.control.profile import NoNodeNamedError, Profile
from offset_engine.programs.control.session import Group, Session, canonical, converse
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.serving import finish_or_stop

_GROUPS: Final = (
    ("info", "Look at the node.", (Permission.READ,), info.add_commands),
    (
        "config",
        "Change relays, index servers, friends and limits.",
        (Permission.CONFIG, Permission.READ),
        config.add_commands,
    ),
    ("buyer", "Pay invoices.", (Permission.BUYER,), buyer.add_commands),
    ("seller", "Make invoices and collect.", (Permission.SELLER,), seller.add_commands),
    (
        "introduce",
        "Become friends by two texts: an invite, and its answer.",
        (Permission.CONFIG, Permission.READ),
        introduce.add_commands,
    ),
)


class InsufficientPermissionsError(OffsetError):
    """The node's ticket for this app does not allow the command; nothing was asked."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return run(_parser(), _action, argv)


def _parser() -> Parser:
    parser = Parser("stctrl", "Control a node: look at it, configure it, pay and be paid.")
    parser.epilog = (
        "Amounts are counted in credits: what offset shows as 1.00 is 100 of them. With --units the "
        "commands that take it understand 1.00 too."
    )
    parser.add_argument("-I", "--idfile", metavar="FILE", help="identity of this app")
    parser.add_argument(
        "-T", "--ticket", dest="node_ticket", metavar="FILE", help="ticket of the node"
    )
    parser.add_argument(
        "-S",
        "--socket",
        metavar="FILE",
        help="socket file of a node that you run on this machine, in place of both of the above",
    )
    parser.add_argument(
        "-P",
        "--profile",
        metavar="FILE",
        help="file that holds these flags where they are left out, as save-profile writes it; "
        f"{profile.VARIABLE} may name it, too",
    )
    passphrases.add_flag(parser)
    parser.set_defaults(refuse=parser.error)
    commands = parser.commands()
    keeping = commands.add("save-profile", "Keep these flags in a profile; talks to no node.")
    keeping.add_argument("--force", action="store_true", help="replace the profile if it exists")
    for name, what, needs, add_commands in _GROUPS:
        add_commands(Group(commands.add(name, what), *needs))
    return parser


def _action(args: argparse.Namespace, output: Output) -> None:
    if args.command == "save-profile":
        _save_profile(args, output)
        return
    talking = _talking(args, output)
    is_watching = (args.command, args.action) == ("info", "watch")
    try:
        finish_or_stop(talking)
    except KeyboardInterrupt:
        if not is_watching:  # being stopped is how watching ends
            raise


def _talking(args: argparse.Namespace, output: Output) -> Callable[[], Coroutine[None, None, None]]:
    """What there is to do, once the flags that say where the node is are understood."""
    used = _profile(args)
    if used.socket is not None:
        path = Path(used.socket)
        return partial(_converse, by_socket(path), str(path), args, output)
    identity = load_identity(used.idfile or "", Passphrases(args).ask)
    ticket = load_ticket(used.ticket or "")
    address = canonical(ticket.address, used.ticket or "")
    return partial(_talk, identity, ticket, address, args, output)


def _profile(args: argparse.Namespace) -> Profile:
    given = Profile(args.idfile, args.node_ticket, args.socket)
    try:
        return profile.complete(given, args.profile)
    except NoNodeNamedError as error:
        args.refuse(str(error))
        raise


def _save_profile(args: argparse.Namespace, output: Output) -> None:
    given = Profile(args.idfile, args.node_ticket, args.socket)
    if not given.is_complete:
        args.refuse("give -I/--idfile and -T/--ticket, or -S/--socket alone: they are kept")
    if given.idfile is not None and given.ticket is not None:
        load_public_key(given.idfile)
        canonical(load_ticket(given.ticket).address, given.ticket)
    path = profile.named_path(args.profile)
    profile.write_profile(path, given, force=args.force)
    output.detail(f"wrote {path}")
    output.result({"output": str(path)})


async def _talk(
    identity: PrivateKey, ticket: Ticket, address: str, args: argparse.Namespace, output: Output
) -> None:
    door = by_address(Endpoint(identity), address, ticket.public_key)
    await _converse(door, address, args, output)


async def _converse(door: Dial, place: str, args: argparse.Namespace, output: Output) -> None:
    async def talk(client: RemoteClient) -> None:
        key = "" if client.node is None else client.node.to_text()
        output.detail(f"connected to {key} at {place}")
        _need_permissions(client, args.needs)
        await args.act(Session(client, args, output))

    await converse(door, place, talk)


def _need_permissions(client: RemoteClient, needs: tuple[Permission, ...]) -> None:
    missing = [one.value for one in needs if not client.permissions.has(one)]
    if missing:
        listed = " and ".join(f'"{one}"' for one in missing)
        raise InsufficientPermissionsError(
            f"the node does not allow this app to do that: its ticket lacks {listed}"
        )


if __name__ == "__main__":
    sys.exit(main())
