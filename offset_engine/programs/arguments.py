"""What every command-line program has in common: flags, output and exit codes.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed; one sentence on stderr says why |
| 2 | the command line was wrong; usage on stderr |

With `--json` one object on stdout and nothing else, `{"error": "..."}` after a failure (the sentence
stays on stderr too). Without it a successful program is silent unless its purpose is to print.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TextIO, TypeAlias

from offset_engine.core.values import parse_address
from offset_engine.errors import OffsetError
from offset_engine.programs import VERSION

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

Json: TypeAlias = "str | int | bool | Sequence[Json] | Mapping[str, Json] | None"


class Parser(argparse.ArgumentParser):
    """A parser that never guesses abbreviated flags; its mistakes go to stderr with exit code 2."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.add_argument("-V", "--version", action="version", version=f"{prog} {VERSION}")
        add_output_flags(self, top=True)

    def commands(self) -> "Commands":
        """Start a list of subcommands; one of them has to be given."""
        return Commands(self)


class Commands:
    """The subcommands of a `Parser`; each takes `--json` and `-v` too."""

    def __init__(self, parser: Parser) -> None:
        self._actions: argparse._SubParsersAction[argparse.ArgumentParser] = parser.add_subparsers(
            dest="command",
            required=True,
            metavar="COMMAND",
            parser_class=argparse.ArgumentParser,
        )

    def add(self, name: str, what: str) -> argparse.ArgumentParser:
        """Add the subcommand `name`; `what` is its sentence in the help."""
        parser = self._actions.add_parser(name, help=what, description=what, allow_abbrev=False)
        add_output_flags(parser, top=False)
        return parser


def add_output_flags(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """Add `--json` and `-v`.

    A subcommand leaves the value alone when the flag is not given after it, so that
    `stmgr --json gen-ident` and `stmgr gen-ident --json` mean the same.
    """
    default = False if top else argparse.SUPPRESS
    parser.add_argument(
        "--json", action="store_true", default=default, help="print one JSON object"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", default=default, help="say what is done"
    )


class Output:
    """Where a program speaks: results on stdout, everything else on stderr."""

    def __init__(self, prog: str, *, as_json: bool, verbose: bool) -> None:
        self._prog = prog
        self._as_json = as_json
        self._verbose = verbose

    def result(self, values: Mapping[str, Json], text: str | None = None) -> None:
        """Report what the program was asked for: `values` with `--json`, else `text` if there is one."""
        if self._as_json:
            _write(json.dumps(values, ensure_ascii=False), sys.stdout)
        elif text is not None:
            _write(text, sys.stdout)

    def detail(self, text: str) -> None:
        """Say something only `-v` asks for."""
        if self._verbose:
            self.note(text)

    def note(self, text: str) -> None:
        """Say something the user should know although nothing failed."""
        _write(f"{self._prog}: {text}", sys.stderr)

    def failure(self, text: str) -> None:
        """Say why the program failed."""
        self.note(text)
        if self._as_json:
            _write(json.dumps({"error": text}, ensure_ascii=False), sys.stdout)


def run(
    parser: Parser,
    action: Callable[[argparse.Namespace, Output], None],
    argv: Sequence[str] | None = None,
) -> int:
    """Read the command line, do `action` and turn its failure into a sentence and an exit code.

    Returns:
        0 or 1.

    Raises:
        SystemExit: `-h` and `-V` (code 0), a wrong command line (code 2).
    """
    args = parser.parse_args(argv)
    output = Output(parser.prog, as_json=args.json, verbose=args.verbose)
    try:
        action(args, output)
    except OffsetError as error:
        output.failure(str(error))
        return EXIT_FAILED
    except OSError as error:
        # Files and sockets raise errors of ours, so this is our output: closed, or a full disk.
        # The interpreter would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        output.note(f"cannot print the result: {error.strerror}")
        return EXIT_FAILED
    return EXIT_OK


def listen_address(text: str) -> str:
    """Check a `host:port` to listen on; port 0 means any free one. For `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: with a sentence saying what is wrong.
    """
    host, _, port = text.rpartition(":")
    try:
        checked = parse_address(f"{host}:1" if port == "0" else text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!a}: {error}") from None
    return checked.removesuffix("1") + "0" if port == "0" else checked


def _write(line: str, stream: TextIO | None) -> None:
    """Write one line; names of files may hold bytes that are no text, and must not break it."""
    if stream is None:  # the program was started with this stream closed
        return
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()
