"""`offset run [CARD]`: a card without a screen; the app and other programs of this user attach to it.

It runs until SIGTERM, SIGHUP or ctrl+c. Source: design §3, R47; tui.md §2.
"""

import argparse
import shlex
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import platformdirs
from anyio.abc import TaskStatus

from offset_engine.cards import (
    CardError,
    CardInfo,
    CardStore,
    OpenCard,
    PassphraseNeededError,
    RunningCard,
    running,
)
from offset_engine.disk import path_of, write_file
from offset_engine.errors import FileError
from offset_engine.files import to_text
from offset_engine.programs import card_flags, logs, passphrases
from offset_engine.programs.arguments import Commands, Output
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.serving import serve
from offset_engine.programs.systemd_unit import program_words, unit_text

_WHAT: Final = "Run a card without a screen, until ctrl+c or SIGTERM; the app attaches to it."
_AT_HOME: Final = "-"
"""`--write-unit` without a file: where the user's own systemd looks."""


def add_parser(commands: Commands) -> None:
    """Add `run` to the subcommands of a program; its action is `act`."""
    parser = commands.add("run", _WHAT)
    parser.add_argument(
        "card", nargs="?", metavar="CARD", help="name of the card; may be left out if there is one"
    )
    parser.add_argument(
        "--write-unit",
        nargs="?",
        const=_AT_HOME,
        metavar="FILE",
        help="do not run it, but write a unit for systemd that does; your own systemd's if no FILE",
    )
    parser.add_argument("--force", action="store_true", help="replace the unit if it exists")
    passphrases.add_flag(parser)
    logs.add_flags(parser)
    card_flags.add_store(parser)


def act(args: argparse.Namespace, output: Output) -> None:
    """Run it, or write the unit.

    Raises:
        CardError: there is no such card, it is broken, or another process runs it.
        TransportError: an address of its settings cannot be listened at.
        FileError, StoreError: something of it cannot be read.
    """
    store = card_flags.store_of(args)
    card = card_flags.card_of(args, store)
    if args.write_unit is not None:
        _write_unit(args, output, store, card)
        return
    with logs.written(args), _open(args, store, card) as opened:
        if opened.settings_problem:
            output.note(f"warning: {opened.settings_problem}")
        ready = _Ready(opened, output)
        serve(partial(_serve, opened, ready), ready, output)


def _open(args: argparse.Namespace, store: CardStore, card: CardInfo) -> OpenCard:
    """Open the card; a passphrase is only asked for if nobody else runs it."""
    try:
        return store.open(card.name)
    except PassphraseNeededError:
        return store.open(card.name, Passphrases(args).ask(f"the card {card.name}"))


class _Ready:
    """Says that the card runs, and how it is reached."""

    def __init__(self, card: OpenCard, output: Output) -> None:
        self._card = card
        self._output = output
        self.node: RunningCard | None = None

    def __call__(self, addresses: tuple[str, ...]) -> None:
        servers = None if self.node is None else self.node.servers
        problem = "" if self.node is None else self.node.door_problem
        if problem:
            self._output.note(f"warning: {problem}")
        info = self._card.info
        key = "" if info.public_key is None else info.public_key.to_text()
        lines = [f"the card {info.name} runs as {key}"]
        if addresses:
            lines[0] += f", listening at {' '.join(addresses)}"
        if not problem:
            lines.append(f"Programs of this user reach it at {self._card.socket}")
        if servers is not None:
            lines.append(
                f"Its relay and index server, for whoever should use them: {to_text(servers)}"
            )
        self._output.result(
            {
                "card": info.name,
                "public_key": key,
                "socket": None if problem else str(self._card.socket),
                "addresses": addresses,
                "servers": None if servers is None else to_text(servers),
            },
            "\n".join(lines),
        )


async def _serve(
    card: OpenCard, ready: _Ready, *, task_status: TaskStatus[tuple[str, ...]]
) -> None:
    async with running(card) as node:
        ready.node = node
        task_status.started(node.addresses)
        await anyio.sleep_forever()


def _write_unit(args: argparse.Namespace, output: Output, store: CardStore, card: CardInfo) -> None:
    if card.is_protected:
        raise CardError(
            f"systemd cannot type the passphrase of {card.name}: start it by hand, or take the "
            "passphrase off"
        )
    path = _unit_path(args.write_unit, card)
    command = [
        *program_words("offset", "offset_tui"),
        *("run", card.name, "--store", str(store.directory)),
    ]
    # What is in the name stays out of the unit's other lines: they are read line by line.
    write_file(path, unit_text("Offset card without a screen", command), force=args.force)
    enable = shlex.join(["systemctl", "--user", "enable", "--now", str(path)])
    output.result(
        {"output": str(path), "card": card.name, "enable": enable},
        f"wrote {path}; have systemd run it whenever you are logged in:\n  {enable}",
    )


def _unit_path(text: str, card: CardInfo) -> Path:
    if text != _AT_HOME:
        return path_of(text).absolute()
    directory = platformdirs.user_config_path("systemd", appauthor=False) / "user"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make {directory}: {error.strerror}") from None
    return directory / f"offset-card-{card.directory.name}.service"
