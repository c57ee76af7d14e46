"""The subcommands of `offset`; what they do is in `offset_engine.programs` and `offset_tui.headless`.

Only the module of the command given is loaded, so that scripts that run many need not wait for the others.
"""

import argparse
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

from offset_engine.programs.arguments import Commands, Output, Parser, run
from offset_tui import cli
from offset_tui.ttycheck import why_no_screen

_PROGRAMS: Final = "offset_engine.programs."
_HEADLESS: Final = "offset_tui.headless."
_HOMES: Final[Mapping[str, str]] = {
    "demo": f"{_PROGRAMS}demo",
    "status": f"{_HEADLESS}looking",
    "history": f"{_HEADLESS}looking",
    "receipts": f"{_HEADLESS}looking",
    "pay": f"{_HEADLESS}paying",
    "rebalance": f"{_HEADLESS}rebalancing",
    "invoice": f"{_HEADLESS}selling",
    "collect": f"{_HEADLESS}selling",
    "hold": f"{_HEADLESS}selling",
    "refund": f"{_HEADLESS}selling",
    "accept": f"{_HEADLESS}accepting",
    "share": f"{_HEADLESS}sharing",
    "qr": f"{_HEADLESS}sharing",
    "friend": f"{_HEADLESS}friends",
    "servers": f"{_HEADLESS}network",
    "settings": f"{_HEADLESS}owning",
    "apps": f"{_HEADLESS}owning",
    "cards": f"{_PROGRAMS}cards",
    "run": f"{_PROGRAMS}run",
    "serve": f"{_PROGRAMS}serve",
    "backup": f"{_PROGRAMS}backup",
    "restore": f"{_PROGRAMS}restore",
    "init": f"{_PROGRAMS}init",
    "info": f"{_PROGRAMS}info",
    "inspect": f"{_PROGRAMS}inspect",
    "bench": f"{_PROGRAMS}bench",
}
"""Command → the module that adds it with `add_parser`, several with `add_parsers`."""


def main(argv: Sequence[str]) -> int:
    """Run a subcommand; returns its exit code."""
    parser = _parser(cli.command_in(argv))
    args = parser.parse_args(argv)
    if args.command is None:
        return cli.app(parser, argv)
    if args.app_flags:
        parser.error(
            f"{args.app_flags[0]} before {args.command} is for the app alone; "
            f"what {args.command} understands stands after it"
        )
    if args.command == "demo" and _has_screen(args):
        return _demo(parser, argv)
    return run(parser, _act, argv)


def _has_screen(args: argparse.Namespace) -> bool:
    return not args.headless and not args.json and why_no_screen() is None


def _demo(parser: Parser, argv: Sequence[str]) -> int:
    """The app on the practice village; its exit code says how it ended."""
    codes: list[int] = []

    def act(args: argparse.Namespace, _output: Output) -> None:
        from offset_tui.demo.run import run_demo  # noqa: PLC0415 - paints; others need not wait for it

        codes.append(run_demo(args))

    return run(parser, act, argv) or codes[0]


def _parser(command: str | None) -> Parser:
    """A parser that knows this command, or every one if it is none of ours."""
    parser = cli.parser()
    commands = parser.commands(is_required=False)
    known = None if command is None else _HOMES.get(command)
    wanted = dict.fromkeys(_HOMES.values()) if known is None else [known]
    for home in wanted:
        module = import_module(home)
        if home == _HOMES["demo"]:
            _add_demo(commands)
        elif home.startswith(_HEADLESS):
            module.add_parsers(commands)
        else:
            module.add_parser(commands)
    return parser


def _add_demo(commands: Commands) -> None:
    from offset_engine.programs import demo  # noqa: PLC0415 - only for this command

    village = commands.add("demo", "the app on a practice village on this machine")
    demo.add_flags(village)
    cli.add_screen_flags(village)
    village.add_argument("--store", metavar="DIR", dest="app_store", help="keep the village here")


def _act(args: argparse.Namespace, output: Output) -> None:
    home = _HOMES[args.command]
    if home.startswith(_HEADLESS):
        from offset_tui.headless import session  # noqa: PLC0415 - only for these commands

        session.act(args, output)
    else:
        import_module(home).act(args, output)
