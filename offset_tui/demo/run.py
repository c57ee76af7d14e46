"""`offset demo` with a screen."""

import argparse
from pathlib import Path

from offset_engine.programs import logs
from offset_tui.crash import faults_to_the_log
from offset_tui.demo.app import DemoApp
from offset_tui.demo.door import VillageDoor
from offset_tui.main import log_path, options_of, safe_driver
from offset_tui.showing import show


def run_demo(args: argparse.Namespace) -> int:
    """Show the app on the practice village until its user leaves it; returns the exit code.

    Args:
        args: the flags of the app (see `main.run_app`) and `seed`.
    """
    options, log = options_of(args), log_path()
    with logs.written_to("info", str(log)), faults_to_the_log():
        directory = None if args.app_store is None else Path(args.app_store)
        door = VillageDoor(args.seed, directory)
        app = DemoApp(door, options, driver_class=safe_driver())
        app.log_path = log
        return show(app, door.close_all)
