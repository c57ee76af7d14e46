"""`strelay`: runs a relay, the meeting point of nodes that cannot reach each other directly.

Source: apps.md §2.2; offset-docs "Running your own relay".
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from offset_engine.core.crypto import public_key_of
from offset_engine.files import load_identity
from offset_engine.net.servers import run_relay
from offset_engine.net.transport import Endpoint
from offset_engine.programs.arguments import Output, Parser, listen_address, run
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
    return parser


def _action(args: argparse.Namespace, output: Output) -> None:
    private_key = load_identity(args.idfile)
    public_key = public_key_of(private_key).to_text()

    def on_ready(addresses: tuple[str, ...]) -> None:
        output.result(
            {"addresses": addresses, "address": addresses[0], "public_key": public_key},
            f"listening at {' '.join(addresses)} as {public_key}",
        )

    serve(partial(run_relay, Endpoint(private_key), [args.laddr]), on_ready, output)


if __name__ == "__main__":
    sys.exit(main())
