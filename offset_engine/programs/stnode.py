"""`stnode`: runs a node, one card, for apps that connect to it.

Apps come in by port if their ticket is in the trusted directory; programs of the same user also find
the node at `DATABASE.sock`. The database belongs to the identity it was made with (`stmgr init-node-db`).

Source: apps.md §2.2; offset-docs "Running your own node".
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskStatus

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.errors import FileError
from offset_engine.files import load_identity
from offset_engine.net.app_server import run_node
from offset_engine.net.engine import Engine
from offset_engine.net.nearby import LocalServers
from offset_engine.net.transport import Endpoint, NetLimits
from offset_engine.net.trusted_apps import TrustedApps
from offset_engine.programs import logs, passphrases
from offset_engine.programs.arguments import Output, Parser, listen_address, run
from offset_engine.programs.passphrases import Passphrases
from offset_engine.programs.serving import serve
from offset_engine.store import SqliteStore

_HANDSHAKES_MAX: Final = 16
"""Apps that are still proving their key; a node has few of them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program until SIGTERM or SIGINT; returns its exit code."""
    return run(_parser(), _action, argv)


def _parser() -> Parser:
    parser = Parser("stnode", "Run a node: it keeps one card, and apps tell it what to do.")
    parser.add_argument(
        "-i", "--idfile", required=True, metavar="FILE", help="identity of the node"
    )
    parser.add_argument(
        "-l",
        "--laddr",
        required=True,
        type=listen_address,
        metavar="HOST:PORT",
        help="where to listen for apps, for example 0.0.0.0:9876; port 0 takes a free one",
    )
    parser.add_argument(
        "-d",
        "--database",
        required=True,
        metavar="FILE",
        help="database of the node, made by stmgr init-node-db",
    )
    parser.add_argument(
        "-t",
        "--trusted",
        required=True,
        metavar="DIR",
        help="tickets of the apps that may connect; read again when it changes",
    )
    passphrases.add_flag(parser)
    logs.add_flags(parser)
    return parser


def _action(args: argparse.Namespace, output: Output) -> None:
    with logs.written(args):
        _run(args, output)


def _run(args: argparse.Namespace, output: Output) -> None:
    identity = load_identity(args.idfile, Passphrases(args).ask)
    trusted = Path(args.trusted)
    if not trusted.is_dir():
        raise FileError(f"{args.trusted} is not a directory of app tickets")
    database = Path(args.database)
    public_key = public_key_of(identity)
    store = SqliteStore.open(database, public_key)

    def on_ready(addresses: tuple[str, ...]) -> None:
        output.result(
            {
                "addresses": addresses,
                "address": addresses[0],
                "public_key": public_key.to_text(),
                "socket": str(socket_of(database)),
            },
            f"listening for apps at {' '.join(addresses)} as {public_key.to_text()}\n"
            f"listening for programs of this user at {socket_of(database)}",
        )

    try:
        serve(partial(_serve, identity, store, args.laddr, trusted, database), on_ready, output)
    finally:
        store.close()


def socket_of(database: Path) -> Path:
    """Where programs of the same user find the node that runs on a database."""
    return database.with_name(database.name + ".sock")


async def _serve(
    identity: PrivateKey,
    store: SqliteStore,
    address: str,
    trusted: Path,
    database: Path,
    *,
    task_status: TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    engine = Engine(
        identity,
        store,
        diagnostics=database.with_name(database.name + ".diagnostics"),
        nearby=LocalServers().find,
    )
    await run_node(
        engine,
        Endpoint(identity, NetLimits(handshakes_max=_HANDSHAKES_MAX)),
        [address],
        TrustedApps(trusted),
        socket_of(database),
        task_status=task_status,
    )


if __name__ == "__main__":
    sys.exit(main())
