"""`strelay`: runs a relay, the meeting point of nodes that cannot reach each other directly.

Source: apps.md §2.2; offset-docs "Running your own relay".
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import anyio
from anyio.abc import TaskStatus

from offset_engine.core.crypto import public_key_of
from offset_engine.files import load_identity
from offset_engine.net.relay_service import RelayService
from offset_engine.net.server_log import log_stats
from offset_engine.net.services import run_services
from offset_engine.net.transport import Endpoint
from offset_engine.programs import logs, passphrases
from offset_engine.programs.arguments import Output, Parser, listen_address, run
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.serving import serve


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program until SIGTERM or SIGINT; returns its exit code."""
    return run(_parser(), _action, argv)


def _parser() -> Parser:
    parser = Parser("strelay", "Run a relay: nodes meet there, and it cannot read what they say.")
    parser.add_argument(
        "-i", "--idfile", required=True, metavar="FILE", help="identity of the relay"
    )
    parser.add_argument(
        "-l",
        "--laddr",
        required=True,
        type=listen_address,
        metavar="HOST:PORT",
        help="where to listen, for example 0.0.0.0:4567; port 0 takes a free one",
    )
    passphrases.add_flag(parser)
    logs.add_flags(parser)
    return parser


def _action(args: argparse.Namespace, output: Output) -> None:
    private_key = load_identity(args.idfile, Passphrases(args).ask)
    public_key = public_key_of(private_key).to_text()

    def on_ready(addresses: tuple[str, ...]) -> None:
        output.result(
            {"addresses": addresses, "address": addresses[0], "public_key": public_key},
            f"listening at {' '.join(addresses)} as {public_key}",
        )

    with logs.written(args):
        serve(partial(_serve, Endpoint(private_key), args.laddr), on_ready, output)


async def _serve(
    endpoint: Endpoint,
    address: str,
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    relay = RelayService(endpoint)
    async with anyio.create_task_group() as tasks:
        bound = await tasks.start(partial(run_services, endpoint, [address], [relay]))
        tasks.start_soon(log_stats, "relay", lambda: relay.stats)
        task_status.started(bound)


if __name__ == "__main__":
    sys.exit(main())
