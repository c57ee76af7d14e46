"""`offset`: the program people type; its subcommands live in `offset_engine.programs`."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from offset_engine.programs import bench, demo, info, init, inspect, serve
from offset_engine.programs.arguments import Output, Parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return run(_parser(), _act, argv)


def _parser() -> Parser:
    parser = Parser("offset", "A credit card powered by trust between people.")
    commands = parser.commands()
    village = commands.add("demo", "payments in a practice village on this machine")
    demo.add_flags(village)
    serve.add_parser(commands)
    init.add_parser(commands)
    inspect.add_parser(commands)
    info.add_parser(commands)
    bench.add_parser(commands)
    return parser


_ACTIONS: Final[Mapping[str, Callable[[argparse.Namespace, Output], None]]] = {
    "demo": demo.demo,
    "serve": serve.act,
    "init": init.act,
    "inspect": inspect.act,
    "info": info.act,
    "bench": bench.bench,
}


def _act(args: argparse.Namespace, output: Output) -> None:
    _ACTIONS[args.command](args, output)


if __name__ == "__main__":
    sys.exit(main())
