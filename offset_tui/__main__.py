"""`offset`: the program people type; its subcommands live in `offset_engine.programs`."""

import argparse
import sys
from collections.abc import Sequence

from offset_engine.programs import bench, demo, inspect
from offset_engine.programs.arguments import Output, Parser, run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    return run(_parser(), _act, argv)


def _parser() -> Parser:
    parser = Parser("offset", "A credit card powered by trust between people.")
    commands = parser.commands()
    village = commands.add("demo", "payments in a practice village on this machine")
    demo.add_flags(village)
    bench.add_parser(commands)
    inspect.add_parser(commands)
    return parser


def _act(args: argparse.Namespace, output: Output) -> None:
    if args.command == "bench":
        bench.bench(args, output)
    elif args.command == "inspect":
        inspect.act(args, output)
    else:
        demo.demo(args, output)


if __name__ == "__main__":
    sys.exit(main())
