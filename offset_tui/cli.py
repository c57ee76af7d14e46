"""The command line of the app itself: `offset` with flags and no subcommand. Nothing here paints."""

import argparse
import gc
from collections.abc import Sequence
from typing import Final

from offset_engine.programs.arguments import Output, Parser, run

_WITH_VALUE = ("--store", "--card")


def is_app(argv: Sequence[str]) -> bool:
    """Whether a command line has nothing but flags of the app, so that no subcommand need be loaded."""
    arguments = iter(argv)
    for one in arguments:
        if one in _WITH_VALUE:
            next(arguments, None)
        elif is_given(one):
            continue
        elif not one.startswith("--") or one == "--help":
            return False
    return True


def is_given(word: str) -> bool:
    """Whether a word is something to open: a path or a text of ours. No command has such a name."""
    return word.lower().startswith("offset1:") or (
        not word.startswith("-") and any(sign in word for sign in "/\\.~")
    )


def command_in(argv: Sequence[str]) -> str | None:
    """The first word of a command line that is no flag and no value of one; None if there is none."""
    arguments = iter(argv)
    for one in arguments:
        if one in _WITH_VALUE:
            next(arguments, None)
        elif not one.startswith("-"):
            return one
    return None


def app(parser: Parser, argv: Sequence[str] | None) -> int:
    """Run the app; its exit code says how it ended."""
    codes: list[int] = []

    def act(args: argparse.Namespace, _output: Output) -> None:
        if args.json:
            parser.error("the app has no --json; the subcommands do")
        # Only here: programs without a screen do not wait for what paints one.
        from offset_tui.main import run_app  # noqa: PLC0415

        codes.append(run_app(args))

    # While modules are loaded there is no garbage to look for; `run_app` turns it on again.
    gc.disable()
    try:
        return run(parser, act, argv) or codes[0]
    finally:
        gc.enable()


def parser(*, takes_file: bool = False) -> Parser:
    """A parser with the flags of the app; they are kept as `app_NAME`.

    Args:
        takes_file: whether a file or text to open may follow; there are no subcommands then.
    """
    made = Parser("offset", "A credit card powered by trust between people. Alone: the app.")
    made.set_defaults(app_given=None)
    _add_app_flags(made)
    if takes_file:
        what = "a file or text somebody gave you, to look at first"
        made.add_argument("app_given", nargs="?", metavar="FILE", help=what)
    return made


class _AppFlag(argparse.Action):
    """A flag of the app: kept as `app_NAME`, and remembered in case a subcommand follows."""

    def __call__(
        self,
        _parser: argparse.ArgumentParser,
        args: argparse.Namespace,
        values: object,
        flag: str | None = None,
    ) -> None:
        args.app_flags = [*args.app_flags, flag]
        setattr(args, self.dest, True if self.nargs == 0 else values)


_SWITCHES: Final = (
    ("read-only", "look at everything, change and pay nothing"),
    ("no-mouse", "leave the mouse to the terminal, to select text with it"),
    ("ascii", "draw with plain characters only"),
    ("low-bandwidth", "send as little as possible: nothing blinks or moves by itself"),
)


def add_screen_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the app that a subcommand with a screen understands too."""
    parser.set_defaults(app_read_only=False)
    for name, what in _SWITCHES[1:]:
        dest = f"app_{name.replace('-', '_')}"
        parser.add_argument(f"--{name}", action="store_true", dest=dest, help=what)


def _add_app_flags(parser: Parser) -> None:
    parser.set_defaults(app_flags=())
    for name, metavar, what in (
        ("store", "DIR", "where the cards are kept"),
        ("card", "NAME", "the card to open first"),
    ):
        parser.add_argument(
            f"--{name}", action=_AppFlag, dest=f"app_{name}", metavar=metavar, help=f"app: {what}"
        )
    for name, what in _SWITCHES:
        dest = f"app_{name.replace('-', '_')}"
        parser.add_argument(
            f"--{name}", action=_AppFlag, dest=dest, nargs=0, default=False, help=f"app: {what}"
        )
