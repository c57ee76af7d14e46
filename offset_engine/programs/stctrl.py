"""`stctrl`: controls a node, one action and one connection at a time.

The app that talks to the node has an identity of its own (`--idfile`), and the node trusts it through an
app ticket; where the node is and which key it has stands in its ticket (`--ticket`).

Source: apps.md §2.3, design R13, R31.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from offset_engine.client import CommandRefusedError
from offset_engine.core.app_messages import Permission
from offset_engine.core.values import PrivateKey
from offset_engine.errors import OffsetError, TransportError
from offset_engine.files import Ticket, load_identity, load_ticket
from offset_engine.net.remote_client import RemoteClient, by_address, open_remote
from offset_engine.net.transport import Endpoint
from offset_engine.programs.arguments import Output, Parser, run
from offset_engine.programs.control import buyer, config, info, seller
from offset_engine.programs.control.session import Group, Session, canonical, refusal
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
)


class InsufficientPermissionsError(OffsetError):
    """The node's ticket for this app does not allow the command; nothing was asked."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return run(_parser(), _action, argv)


def _parser() -> Parser:
    parser = Parser("stctrl", "Control a node: look at it, configure it, pay and be paid.")
    parser.add_argument(
        "-I", "--idfile", required=True, metavar="FILE", help="identity of this app"
    )
    parser.add_argument(
        "-T",
        "--ticket",
        required=True,
        dest="node_ticket",
        metavar="FILE",
        help="ticket of the node",
    )
    commands = parser.commands()
    for name, what, needs, add_commands in _GROUPS:
        add_commands(Group(commands.add(name, what), *needs))
    return parser


def _action(args: argparse.Namespace, output: Output) -> None:
    identity = load_identity(args.idfile)
    ticket = load_ticket(args.node_ticket)
    address = canonical(ticket.address, args.node_ticket)
    is_watching = (args.command, args.action) == ("info", "watch")
    try:
        finish_or_stop(partial(_talk, identity, ticket, address, args, output))
    except KeyboardInterrupt:
        if not is_watching:  # being stopped is how watching ends
            raise


async def _talk(
    identity: PrivateKey, ticket: Ticket, address: str, args: argparse.Namespace, output: Output
) -> None:
    connected = False
    try:
        async with open_remote(
            by_address(Endpoint(identity), address, ticket.public_key)
        ) as client:
            connected = True
            output.detail(f"connected to {ticket.public_key.to_text()} at {address}")
            _need_permissions(client, args.needs)
            await args.act(Session(client, args, output))
    except CommandRefusedError as error:
        raise refusal(error) from None
    except TransportError as error:
        if connected:
            raise
        raise TransportError(f"cannot connect to the node at {address}: {error}") from None


def _need_permissions(client: RemoteClient, needs: tuple[Permission, ...]) -> None:
    missing = [one.value for one in needs if not client.permissions.has(one)]
    if missing:
        listed = " and ".join(f'"{one}"' for one in missing)
        raise InsufficientPermissionsError(
            f"the node does not allow this app to do that: its ticket lacks {listed}"
        )


if __name__ == "__main__":
    sys.exit(main())
