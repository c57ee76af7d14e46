"""`stindex`: runs an index server, which tells nodes along which friends a payment can go.

It shares what it knows with the index servers whose tickets are in the directory of trusted ones, if they
trust it as well. Tickets may be added and removed while it runs.

Source: apps.md §2.2; offset-docs "Running your own index server".
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
from anyio.abc import TaskStatus

from offset_engine.core.crypto import public_key_of
from offset_engine.errors import FileError
from offset_engine.files import load_identity
from offset_engine.net.federation import run_federated_index_server
from offset_engine.net.index_engine import index_engine
from offset_engine.net.transport import Endpoint
from offset_engine.net.trusted_servers import NobodyTrusted, TrustedServers
from offset_engine.programs import logs, passphrases
from offset_engine.programs.arguments import Output, Parser, listen_address, run
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.serving import add_engine_flag, serve


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program until SIGTERM or SIGINT; returns its exit code."""
    return run(_parser(), _action, argv)


def _parser() -> Parser:
    parser = Parser("stindex", "Run an index server: it finds routes for payments between nodes.")
    parser.add_argument(
        "-i", "--idfile", required=True, metavar="FILE", help="identity of the index server"
    )
    parser.add_argument(
        "-c",
        "--lclient",
        required=True,
        type=listen_address,
        metavar="HOST:PORT",
        help="where to listen for nodes, for example 0.0.0.0:4568; port 0 takes a free one",
    )
    parser.add_argument(
        "-s",
        "--lserver",
        type=listen_address,
        metavar="HOST:PORT",
        help="where to listen for other index servers; without it they cannot dial this one",
    )
    parser.add_argument(
        "-t",
        "--trusted",
        metavar="DIR",
        help="directory with the tickets of trusted index servers; theirs must have ours",
    )
    add_engine_flag(parser)
    passphrases.add_flag(parser)
    logs.add_flags(parser)
    return parser


def _action(args: argparse.Namespace, output: Output) -> None:
    with logs.written(args):
        _run(args, output)


def _run(args: argparse.Namespace, output: Output) -> None:
    private_key = load_identity(args.idfile, Passphrases(args).ask)
    if args.trusted is not None and not Path(args.trusted).is_dir():
        raise FileError(f"{args.trusted} is not a directory of tickets")
    if args.lserver is not None and args.trusted is None:
        output.note("note: without --trusted no other index server is let in")
    engine = index_engine(args.engine)
    endpoint = Endpoint(private_key)
    public_key = public_key_of(private_key).to_text()
    for_servers: tuple[str, ...] = ()

    async def server(*, task_status: TaskStatus[tuple[str, ...]]) -> None:
        nonlocal for_servers
        trusted = NobodyTrusted() if args.trusted is None else TrustedServers(Path(args.trusted))
        at_servers = [] if args.lserver is None else [args.lserver]
        async with anyio.create_task_group() as tasks:
            run_index_server = partial(run_federated_index_server, engine=engine)
            for_nodes, for_servers = await tasks.start(
                run_index_server, endpoint, [args.lclient], at_servers, trusted
            )
            task_status.started(for_nodes)

    def on_ready(addresses: tuple[str, ...]) -> None:
        text = f"listening for nodes at {' '.join(addresses)} as {public_key}"
        if for_servers:
            text += f"\nlistening for index servers at {' '.join(for_servers)}"
        output.result(
            {
                "addresses": addresses,
                "address": addresses[0],
                "server_addresses": for_servers,
                "public_key": public_key,
                "federating": args.trusted is not None,
            },
            text,
        )

    serve(server, on_ready, output)


if __name__ == "__main__":
    sys.exit(main())
