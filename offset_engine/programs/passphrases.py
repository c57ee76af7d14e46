"""Where programs get passphrases from: the terminal, or a file descriptor; never a flag or the environment.

Both of those can be read by other processes of the same computer, and stay in the history of the shell.

    stnode ...                              asks at the terminal if the identity is sealed
    stnode ... --passphrase-fd 3 3<FILE     reads it there; one line for each passphrase needed, in order

Source: apps.md RMP-21; PROTOCOL.md, "Sealed files and backups".
"""

import argparse
import getpass
import os
import sys
from typing import Final

from offset_engine.errors import FileError
from offset_engine.sealed import PASSPHRASE_BYTES_MAX, Passphrase

_LINES_BYTES_MAX: Final = 16 * (PASSPHRASE_BYTES_MAX + 2)


def add_flag(parser: argparse.ArgumentParser, order: str = "") -> None:
    """Add `--passphrase-fd` to a command that may need an existing passphrase.

    Args:
        parser: the command's.
        order: for a command that may need two, which comes first, in words.
    """
    help_ = "read the passphrase from file descriptor N instead of asking for it"
    parser.add_argument(
        "--passphrase-fd",
        type=_descriptor,
        metavar="N",
        help=f"{help_}: one line for each passphrase, {order}" if order else help_,
    )


def add_new_flags(parser: argparse.ArgumentParser, what: str, order: str = "") -> None:
    """Add `--passphrase` and `--passphrase-fd` to a command that may seal something new.

    Args:
        parser: the command's.
        what: what is sealed, in words.
        order: for a command that may need two passphrases, which comes first, in words.
    """
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--passphrase", action="store_true", help=f"seal {what} with a passphrase; asks for it"
    )
    group.add_argument(
        "--passphrase-fd",
        type=_descriptor,
        metavar="N",
        help="the same, reading the passphrase from file descriptor N"
        + (f": one line for each, {order}" if order else ""),
    )


def _descriptor(text: str) -> int:
    if not text.isdecimal() or len(text) > 6:
        raise argparse.ArgumentTypeError(f"{text[:20]!a} is no number of a file descriptor")
    return int(text)


class Passphrases:
    """The passphrases of one run of a program, asked for one after the other."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Use what the flags say; nothing is read or asked yet."""
        self._descriptor: int | None = args.passphrase_fd
        self._is_wanted = bool(getattr(args, "passphrase", False)) or self._descriptor is not None
        self._lines: list[Passphrase] | None = None
        self._taken = 0

    def ask(self, what: str) -> Passphrase:
        """The passphrase of something that has one.

        Raises:
            FileError: there is nobody to ask, or what was given is none.
        """
        if self._descriptor is not None:
            return self._next_line(self._descriptor, f"that of {what}")
        return _typed(f"Passphrase of {what}: ", f"{what} is sealed with a passphrase")

    def ask_new(self, what: str) -> Passphrase:
        """A new passphrase for something; at the terminal it has to be typed twice.

        Raises:
            FileError: there is nobody to ask, what was given is none, or the two differ.
        """
        if self._descriptor is not None:
            return self._next_line(self._descriptor, f"the new one for {what}")
        why = f"{what} is to be sealed with a passphrase"
        first = _typed(f"New passphrase for {what}: ", why)
        if _typed("The same again: ", why) != first:
            raise FileError("the two passphrases are not the same; nothing was changed")
        return first

    def ask_new_if_wanted(self, what: str) -> Passphrase | None:
        """A new passphrase if a flag asks for one, else None.

        Raises:
            FileError: as `ask_new`.
        """
        return self.ask_new(what) if self._is_wanted else None

    def _next_line(self, descriptor: int, which: str) -> Passphrase:
        if self._lines is None:
            self._lines = _read_lines(descriptor)
        if self._taken == len(self._lines):
            # Never a line once more: it would seal with a passphrase nobody meant.
            raise FileError(
                f"file descriptor {descriptor} holds no line {self._taken + 1}, where a passphrase is "
                f"needed: {which}; nothing was changed"
            )
        line = self._lines[self._taken]
        self._taken += 1
        return line


def _typed(prompt: str, why: str) -> Passphrase:
    if sys.stdin is None or not sys.stdin.isatty():
        raise FileError(
            f"{why}, and there is no terminal to ask for it: give it with --passphrase-fd"
        )
    try:
        return Passphrase.of(getpass.getpass(prompt))
    except EOFError:
        raise FileError("no passphrase was typed; nothing was changed") from None
    except ValueError as error:
        raise FileError(str(error)) from None


def _read_lines(descriptor: int) -> list[Passphrase]:
    """Every line as a passphrase."""
    raw = b""
    try:
        while len(raw) <= _LINES_BYTES_MAX and (chunk := os.read(descriptor, 65_536)):
            raw += chunk
    except OSError as error:
        raise FileError(
            f"cannot read a passphrase from file descriptor {descriptor}: {error.strerror}"
        ) from None
    try:
        if len(raw) > _LINES_BYTES_MAX:
            raise ValueError("it is too long")  # noqa: TRY301 - one sentence for all of them
        lines = raw.decode().removesuffix("\n").split("\n")
        return [Passphrase.of(line.removesuffix("\r")) for line in lines]
    except ValueError as error:
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else error
        raise FileError(f"file descriptor {descriptor} holds no passphrase: {why}") from None
