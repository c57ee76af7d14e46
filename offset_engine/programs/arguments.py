"""What every command-line program has in common: flags, output and exit codes.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed; one sentence on stderr says why |
| 2 | the command line was wrong; usage on stderr |
| 130 | ctrl+c, SIGTERM or SIGHUP before it was done |

With `--json` one object on stdout and nothing else, `{"error": "..."}` after a failure (the sentence
stays on stderr too). Without it a successful program is silent unless its purpose is to print.
"""

import argparse
import errno
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TextIO, TypeAlias

from offset_engine.core.values import parse_address
from offset_engine.disk import FILE_BYTES_MAX, read_file
from offset_engine.errors import FileError, OffsetError
from offset_engine.programs import VERSION

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

Json: TypeAlias = "str | int | bool | Sequence[Json] | Mapping[str, Json] | None"


class RefusedError(OffsetError):
    """A program's answer is no; `values` is what `--json` says besides the sentence."""

    def __init__(self, text: str, values: Mapping[str, Json]) -> None:
        super().__init__(text)
        self.values: Final = values


class UsageError(OffsetError):
    """The command line is wrong in a way only a look at the cards or files could tell: exit code 2."""


_KEY_OR_ID: Final = re.compile(
    r"-(?=.*[A-Z0-9_])([\w-]{21}(==)?|[\w-]{42}=?|[\w-]{85}(==)?)", re.ASCII
)
"""16, 32 or 64 bytes as base64url whose first character happens to be a dash; no flag has capitals or digits."""


class Words(argparse.ArgumentParser):
    """Takes a key, id or signature that begins with `-` (one in 64 does) for what it is: a value, no flag."""

    def _parse_optional(self, arg_string: str) -> Any:  # noqa: ANN401 - differs between Pythons
        if _KEY_OR_ID.fullmatch(arg_string) and arg_string not in self._option_string_actions:
            return None
        return super()._parse_optional(arg_string)


class Parser(Words):
    """A parser that never guesses abbreviated flags; its mistakes go to stderr with exit code 2."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.add_argument("-V", "--version", action="version", version=f"{prog} {VERSION}")
        add_output_flags(self, top=True)

    def commands(self, *, is_required: bool = True) -> "Commands":
        """Start a list of subcommands; one of them has to be given, unless nothing is a command too."""
        return Commands(self, is_required=is_required)


class Commands:
    """The subcommands of a `Parser`; each takes `--json` and `-v` too."""

    def __init__(self, parser: Parser, *, is_required: bool) -> None:
        self._actions: argparse._SubParsersAction[argparse.ArgumentParser] = parser.add_subparsers(
            dest="command",
            required=is_required,
            metavar="COMMAND",
            parser_class=Words,
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
        self.as_json: Final = as_json
        """Whether one JSON object is wanted and nothing else."""
        self._verbose = verbose

    @property
    def is_terminal(self) -> bool:
        """Whether results go to a person's screen."""
        return not self.as_json and sys.stdout is not None and sys.stdout.isatty()

    def result(self, values: Mapping[str, Json], text: str | None = None) -> None:
        """Report what the program was asked for: `values` with `--json`, else `text` if there is one."""
        if self.as_json:
            _write(json.dumps(values, ensure_ascii=False), sys.stdout, as_result=True)
        elif text is not None:
            _write(text, sys.stdout, as_result=True)

    def detail(self, text: str) -> None:
        """Say something only `-v` asks for."""
        if self._verbose:
            self.note(text)

    def note(self, text: str) -> None:
        """Say something the user should know although nothing failed."""
        _write(f"{self._prog}: {text}", sys.stderr)

    def aside(self, text: str) -> None:
        """Show something on stderr that belongs to a question: a review, lines of several."""
        _write(text, sys.stderr)

    def failure(self, text: str, values: Mapping[str, Json] | None = None) -> None:
        """Say why the program failed; `values` go into the object of `--json` too."""
        self.note(text)
        if self.as_json:
            _write(json.dumps({**(values or {}), "error": text}, ensure_ascii=False), sys.stdout)


def run(
    parser: Parser,
    action: Callable[[argparse.Namespace, Output], None],
    argv: Sequence[str] | None = None,
) -> int:
    """Read the command line, do `action` and turn its failure into a sentence and an exit code.

    Returns:
        0, 1 or 130; 2 if only the action could tell that the command line was wrong.

    Raises:
        SystemExit: `-h` and `-V` (code 0), a wrong command line (code 2).
    """
    args = parser.parse_args(argv)
    output = Output(parser.prog, as_json=args.json, verbose=args.verbose)
    try:
        action(args, output)
    except RefusedError as error:
        output.failure(str(error), error.values)
        return EXIT_FAILED
    except UsageError as error:
        output.failure(str(error))
        return EXIT_USAGE
    except OffsetError as error:
        output.failure(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        output.note("interrupted")
        return EXIT_INTERRUPTED
    except OSError as error:
        if error.filename is not None:
            output.failure(f"cannot use {error.filename}: {error.strerror}")
            return EXIT_FAILED
        # Files and sockets raise errors of ours, so this is our output: closed, or a full disk.
        # The interpreter would complain once more when it flushes at exit.
        if sys.stdout is not None:
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


def read_input(name: str) -> str:
    """Read a small text file, or standard input if the name is `-`.

    Raises:
        FileError: it cannot be read, is longer than 64 KiB or is not UTF-8.
    """
    if name != "-":
        return read_file(name)
    if sys.stdin is None:
        raise FileError("cannot read standard input: it is closed")
    try:
        raw = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise FileError(f"cannot read standard input: {error.strerror}") from None
    if len(raw) > FILE_BYTES_MAX:
        raise FileError("standard input is not one of our files: it is longer than 64 KiB")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FileError("standard input is not one of our files: it is not UTF-8 text") from None


def _write(line: str, stream: TextIO | None, *, as_result: bool = False) -> None:
    """Write one line; names of files may hold bytes that are no text, and must not break it."""
    if stream is None:  # the program was started with this stream closed
        if as_result:
            raise OSError(errno.EBADF, "standard output is closed")
        return
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()
