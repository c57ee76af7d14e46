"""`offset info`: where things are kept, and the versions of the program, its protocol and its libraries."""

import argparse
import platform
import sqlite3
from collections.abc import Mapping
from importlib import metadata
from typing import Final

import platformdirs

from offset_engine.core.app_messages import APP_VERSION
from offset_engine.core.link import LinkLimits
from offset_engine.core.noise import HANDSHAKE_VERSION
from offset_engine.programs import VERSION, serve
from offset_engine.programs.arguments import Commands, Json, Output
from offset_engine.store.schema import MIGRATIONS

_WHAT: Final = "Say where things are kept, and the versions of everything."
_LIBRARIES: Final = ("textual", "rich", "pynacl", "msgpack", "platformdirs", "segno", "anyio")
KEYMAP_NAME: Final = "keymap.toml"
"""The file with the keys a user wants in the app."""
SERVER_LIST_NAME: Final = "servers.txt"
"""The file with servers a card of this computer may use."""


def add_parser(commands: Commands) -> None:
    """Add `info` to the subcommands of a program; its action is `act`."""
    commands.add("info", _WHAT)


def act(_args: argparse.Namespace, output: Output) -> None:
    """Print it; nothing is made or changed."""
    values: dict[str, Mapping[str, Json]] = {
        "paths": _paths(),
        "versions": {"offset": VERSION, "python": platform.python_version(), **_protocol()},
        "libraries": {
            **{name: _version(name) for name in _LIBRARIES},
            "sqlite": sqlite3.sqlite_version,
        },
    }
    output.result(values, "\n\n".join(_section(title, rows) for title, rows in values.items()))


def _paths() -> dict[str, Json]:
    return {
        "data": str(platformdirs.user_data_path("offset", appauthor=False)),
        "servers": str(serve.default_directory()),
        "config": str(platformdirs.user_config_path("offset", appauthor=False)),
        "keymap": str(platformdirs.user_config_path("offset", appauthor=False) / KEYMAP_NAME),
        "server_list": str(
            platformdirs.user_config_path("offset", appauthor=False) / SERVER_LIST_NAME
        ),
        "log": str(platformdirs.user_log_path("offset", appauthor=False)),
        "sockets": str(platformdirs.user_data_path("offset", appauthor=False) / "cards"),
    }


def _protocol() -> dict[str, Json]:
    limits = LinkLimits()
    return {
        "handshake": HANDSHAKE_VERSION,
        "protocol": limits.version_max,
        "oldest_protocol": limits.version_min,
        "app_protocol": APP_VERSION,
        "database": len(MIGRATIONS),
    }


def _version(library: str) -> str | None:
    """The installed version; None for a copy that does not say it."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _section(title: str, rows: Mapping[str, Json]) -> str:
    width = max(len(name) for name in rows)
    shown = {name.replace("_", " "): "?" if one is None else one for name, one in rows.items()}
    lines = [f"  {name:{width}}  {one}" for name, one in shown.items()]
    return "\n".join([title, *lines])
