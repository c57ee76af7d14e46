"""`stindex`: runs an index server, which tells nodes along which friends a payment can go.

The port for other index servers and the directory of trusted ones are accepted, so that scripts of
the original run; this version serves nodes only and says so.

Source: apps.md §2.2; offset-docs "Running your own index server".
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from offset_engine.core.crypto import public_key_of
from offset_engine.errors import FileError
from offset_engine.files import load_identity
from offset_engine.net.servers import run_index_server
from offset_engine.net.transport import Endpoint
from offset_engine.programs.arguments import Output, Parser, listen_address, run
from offset_engine.programs.serving import serve


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
        help="where to listen for other index servers (accepted, not used by this version)",
    )
    parser.add_argument(
        "-t",
        "--trusted",
        metavar="DIR",
        help="tickets of trusted index servers (accepted, not used by this version)",
    )
    return parser


def _action(args: argparse.Namespace, output: Output) -> None:
    private_key = load_identity(args.idfile)
    public_key = public_key_of(private_key).to_text()
    if args.trusted is not None and not Path(args.trusted).is_dir():
        raise FileError(f"{args.trusted} is not a directory of tickets")
    if args.lserver is not None or args.trusted is not None:
        output.note(
            "note: this version does not federate yet; it serves nodes only, "
            "and nothing listens for other index servers"
        )

    def on_ready(addresses: tuple[str, ...]) -> None:
        output.result(
            {
                "addresses": addresses,
                "address": addresses[0],
                "public_key": public_key,
                "federating": False,
            },
            f"listening for nodes at {' '.join(addresses)} as {public_key}",
        )

    serve(partial(run_index_server, Endpoint(private_key), [args.lclient]), on_ready, output)


if __name__ == "__main__":
    sys.exit(main())
