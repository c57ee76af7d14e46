"""Starts the app: checks the terminal, opens the log, puts the screens and the door to the cards together.

Besides `card_door` and `store_door` the only module of the app that knows what a card runs on.
Source: tui.md §2; design R47; README, "Commands".
"""

import argparse
import gc
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import platformdirs

from offset_engine import files
from offset_engine.cards import CardStore
from offset_engine.disk import expanded
from offset_engine.errors import FileError
from offset_engine.files import Artifact
from offset_engine.programs import logs
from offset_engine.programs.arguments import EXIT_USAGE, UsageError
from offset_tui.card_door import ProcessDoor
from offset_tui.crash import faults_to_the_log
from offset_tui.doors import AppOptions
from offset_tui.showing import show
from offset_tui.ttycheck import why_no_screen

LOG_NAME: Final = "offset.log"
_GC_THRESHOLDS: Final = (2_000, 10, 100)


def log_directory() -> Path:
    """Where the app and the cards in the background log."""
    return platformdirs.user_log_path("offset", appauthor=False)


def run_app(args: argparse.Namespace) -> int:
    """Show the app until its user leaves it.

    Args:
        args: `store`, `card`, `read_only`, `no_mouse`, `ascii` and `low_bandwidth`, each with the prefix
            `app_`.

    Returns:
        The exit code, see `showing`; 2 if there is no terminal.

    Raises:
        OffsetError: before anything was painted; says why the app cannot start.
    """
    why = why_no_screen()
    if why is not None:
        _say(why)
        return EXIT_USAGE
    store = CardStore(None if args.app_store is None else Path(args.app_store))
    if args.app_card is not None:
        store.card(args.app_card)
    options, log = replace(options_of(args), given=given_in(args.app_given)), log_path()
    with logs.written_to("info", str(log)), faults_to_the_log():
        return _show(ProcessDoor(store, log.parent, args.app_card), options, log)


def given_in(word: str | None) -> tuple[Artifact, ...]:
    """What a file or text of the command line holds.

    Raises:
        FileError: there is nothing of ours in it.
    """
    if word is None:
        return ()
    is_text = word.lower().startswith("offset1:")
    found = files.read_any(word) if is_text else files.load_any(expanded(word))
    if not found:
        raise FileError(f"{word[:60]}: there is nothing of ours in it")
    return tuple(found)


def options_of(args: argparse.Namespace) -> AppOptions:
    """What the flags, the terminal and the user's keymap file ask for.

    Raises:
        UsageError: the keymap file cannot be used.
    """
    # Only here: it loads Textual, after the terminal is checked.
    from offset_tui import user_keys  # noqa: PLC0415

    try:
        keys = user_keys.load()
    except user_keys.KeymapError as problem:
        raise UsageError(str(problem)) from None
    encoding = (getattr(sys.stderr, "encoding", None) or "").lower()
    return AppOptions(
        is_read_only=args.app_read_only,
        has_mouse=not args.app_no_mouse,
        is_ascii=args.app_ascii or encoding not in ("utf-8", "utf8"),
        is_low_bandwidth=args.app_low_bandwidth or "SSH_CONNECTION" in os.environ,
        keys=keys,
    )


def _show(door: ProcessDoor, options: AppOptions, log: Path) -> int:
    from offset_tui.app import OffsetApp  # noqa: PLC0415 - takes a while: after the terminal is checked

    app = OffsetApp(door, options, driver_class=safe_driver())
    app.log_path = log
    # A look through all objects for rubbish holds up both threads, 0.2 s every second of quick typing.
    # What is loaded by now stays; the rest is mostly looked through while nobody types (`crash`).
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    gc.enable()
    return show(app, door.close_all)


def safe_driver() -> type | None:
    """The driver that survives a terminal that stops reading; None = Textual's own."""
    if sys.platform == "win32":
        return None
    from offset_tui.driver import SafeDriver  # noqa: PLC0415 - POSIX only

    return SafeDriver


def log_path() -> Path:
    """The app's log file.

    Raises:
        FileError: its directory cannot be made.
    """
    directory = log_directory()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"cannot make {directory} for the log: {error.strerror}") from None
    return directory / LOG_NAME


def _say(why: str) -> None:
    """One line on standard error; if that is a file, on the screen as well where there is one."""
    streams = [sys.stderr]
    if sys.stdout is not None and sys.stdout.isatty() and not sys.stderr.isatty():
        streams.append(sys.stdout)
    for stream in streams:
        if stream is not None:
            stream.write(f"offset: {why}\n")
            stream.flush()
