"""What every subcommand of `stctrl` has in common: the connected node, the flags, and who is meant.

A subcommand checks everything it can before it changes anything, so that a failure leaves the node and
the files as they were.
"""

import argparse
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

import anyio

from offset_engine.client import CommandFault, CommandRefusedError
from offset_engine.core.api import Batch, Command
from offset_engine.core.app_messages import Permission
from offset_engine.core.reports import FriendReport
from offset_engine.core.values import (
    CREDITS_MAX,
    NAME_BYTES_MAX,
    U32_MAX,
    Currency,
    RelayAddress,
    is_text,
    parse_address,
)
from offset_engine.errors import FileError, OffsetError, TransportError
from offset_engine.files import Style, shown
from offset_engine.net.remote_client import Dial, RemoteClient, open_remote
from offset_engine.programs.arguments import Output, add_output_flags
from offset_engine.programs.control.amounts import CheckedParser
from offset_engine.sentences import fault_sentence


class NotPossibleError(OffsetError):
    """What was asked cannot be done as things stand; nothing changed."""


class RefusedByNodeError(OffsetError):
    """The node refused a command and nothing changed; the sentence is for people."""

    def __init__(self, fault: CommandFault, text: str) -> None:
        super().__init__(text)
        self.fault: Final = fault


class Session:
    """One subcommand at work: its node, its flags and where it speaks."""

    def __init__(self, client: RemoteClient, args: argparse.Namespace, output: Output) -> None:
        self.client: Final = client
        self.args: Final = args
        self.output: Final = output

    @property
    def style(self) -> Style:
        """How the keys of the files written are spelled."""
        return Style(self.args.style)

    async def do(self, command: Command | Batch) -> None:
        """Have the node carry out a command.

        Raises:
            RefusedByNodeError: it was refused.
            TransportError: the connection was lost.
        """
        try:
            await self.client.command(command)
        except CommandRefusedError as error:
            raise refusal(error) from None

    async def friend(self) -> FriendReport:
        """The friend named by `--name`.

        Raises:
            NotPossibleError: there is none, or there are several.
        """
        name = self.args.name
        report = await self.client.report()
        found = [one for one in report.friends if one.name == name]
        if not found:
            raise NotPossibleError(f"there is no friend called {shown(name)}")
        if len(found) > 1:
            raise NotPossibleError(f"{len(found)} friends are called {shown(name)}")
        return found[0]

    async def agrees(self, question: str) -> bool:
        """Ask the person at the terminal; without one the answer is no."""
        if self.args.yes:
            return True
        if not has_person():
            return False
        return (await ask(f"{question} [y/N] ")).lower() in ("y", "yes")


Action: TypeAlias = Callable[[Session], Awaitable[None]]


class Group:
    """A group of subcommands: `stctrl GROUP NAME`."""

    def __init__(self, parser: argparse.ArgumentParser, *needs: Permission) -> None:
        """Start a group whose subcommands need these permissions."""
        self._needs = needs
        self._actions: argparse._SubParsersAction[CheckedParser] = parser.add_subparsers(
            dest="action", required=True, metavar="COMMAND", parser_class=CheckedParser
        )

    def add(self, name: str, what: str, act: Action, *needs: Permission | None) -> CheckedParser:
        """Add a subcommand; `needs` replaces what the group needs, None alone meaning nothing."""
        parser = self._actions.add_parser(name, help=what, description=what, allow_abbrev=False)
        add_output_flags(parser, top=False)
        needed = tuple(one for one in needs if one is not None) if needs else self._needs
        parser.set_defaults(act=act, needs=needed)
        return parser


def refusal(error: CommandRefusedError) -> OffsetError:
    """The node's answer in words for people."""
    return RefusedByNodeError(error.fault, fault_sentence(error.fault, error.detail))


def has_person() -> bool:
    """Whether somebody sits at the terminal and can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None


async def ask(question: str) -> str:
    """What the person at the terminal types, bare; see `has_person`."""
    sys.stderr.write(question)
    sys.stderr.flush()
    if sys.platform != "win32":
        # The connection has to be kept alive while the person thinks.
        await anyio.wait_readable(sys.stdin)
    return sys.stdin.readline().strip()


async def converse(door: Dial, place: str, talk: Callable[[RemoteClient], Awaitable[None]]) -> None:
    """Connect, talk, and leave; `place` says in words where the node is.

    Raises:
        TransportError: there is no connection, or it was lost.
        RefusedByNodeError: the node refused something.
    """
    connected = False
    try:
        async with open_remote(door) as client:
            connected = True
            await talk(client)
    except CommandRefusedError as error:
        raise refusal(error) from None
    except TransportError as error:
        if connected:
            raise
        raise TransportError(f"cannot connect to the node at {place}: {error}") from None


# --- files --------------------------------------------------------------------------------------


def need_new(*paths: str) -> None:
    """Insist that files can be written under these names and that nothing is there yet.

    Raises:
        FileError: something is, the directory is missing, or two names are the same.
    """
    for path in paths:
        if not path or "\0" in path:
            raise FileError("an output needs a name that a file can have")
        parent = Path(path).parent
        if not parent.is_dir():
            raise FileError(f"cannot write {path}: there is no such directory")
        if not os.access(parent, os.W_OK):
            raise FileError(f"cannot write {path}: its directory is not for us to write in")
        try:
            os.lstat(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror}") from None
        raise FileError(f"{path} exists already; choose another name")
    if len({Path(path).absolute() for path in paths}) != len(paths):
        raise FileError("the outputs need different names")


def drop_file(path: str) -> None:
    """Delete a file that has served its purpose.

    Raises:
        FileError: it cannot be deleted.
    """
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"cannot delete {path}: {error.strerror}") from None


def canonical(address: str, path: str) -> str:
    """An address from a file in the form nodes use.

    Raises:
        FileError: nobody can dial it.
    """
    try:
        return parse_address(address)
    except ValueError as error:
        raise FileError(f"{path}: the address {shown(address)} cannot be used: {error}") from None


def canonical_relays(relays: Iterable[RelayAddress], path: str) -> tuple[RelayAddress, ...]:
    """The relays of a friend card in the form nodes use, each key once.

    Raises:
        FileError: an address cannot be dialled.
    """
    found = {one.public_key: canonical(one.address, path) for one in relays}
    return tuple(RelayAddress(key, address) for key, address in found.items())


# --- flags --------------------------------------------------------------------------------------


def add_file(
    parser: argparse.ArgumentParser, short: str, name: str, what: str, dest: str | None = None
) -> None:
    """Add a flag that names a file and has to be given."""
    names = (short, name)
    if dest is None:
        parser.add_argument(*names, required=True, metavar="FILE", help=what)
    else:
        parser.add_argument(*names, required=True, metavar="FILE", help=what, dest=dest)


def add_name(parser: argparse.ArgumentParser, what: str) -> None:
    """Add `-n --name`."""
    parser.add_argument(
        "-n", "--name", required=True, type=a_name, metavar="NAME", help=f"name of the {what}"
    )


def add_currency(parser: argparse.ArgumentParser) -> None:
    """Add `-c --currency`."""
    parser.add_argument(
        "-c", "--currency", required=True, type=a_currency, metavar="CUR", help="the currency"
    )


def add_force(parser: argparse.ArgumentParser) -> None:
    """Add `--force`."""
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def add_style(parser: argparse.ArgumentParser) -> None:
    """Add `--style`; `Session.style` is what was chosen."""
    parser.add_argument(
        "--style",
        choices=[style.value for style in Style],
        default=Style.MOBILE.value,
        help="keys as the phone app wrote them (the default), as stctrl of 2020 did, or both",
    )


def add_yes(parser: argparse.ArgumentParser) -> None:
    """Add `--yes`."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def a_name(text: str) -> str:
    """Check a name; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: it is empty or too long.
    """
    if not text or not is_text(text, NAME_BYTES_MAX):
        raise argparse.ArgumentTypeError(f"a name has 1 to {NAME_BYTES_MAX} bytes")
    return text


def a_currency(text: str) -> Currency:
    """Check a currency; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: it cannot be one.
    """
    try:
        return Currency.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!a}: {error}") from None


def credit_amount(text: str) -> int:
    """Check a number of credits; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: it is none, or too many.
    """
    return _number(text, CREDITS_MAX, "credits")


def small_number(text: str) -> int:
    """Check an unsigned 32-bit number; for `add_argument(type=...)`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    return _number(text, U32_MAX, "")


def _number(text: str, most: int, unit: str) -> int:
    number = int(text) if re.fullmatch(r"[0-9]{1,60}", text) else -1
    if not 0 <= number <= most:
        what = f"a whole number of {unit}" if unit else "a whole number"
        raise argparse.ArgumentTypeError(f"{text[:80]!a}: {what} from 0 to {most} is needed")
    return number
