"""`offset bench`: measurements a user can repeat, each next to what the machine could do at best.

Without `--json` the figures stand beside the budgets of the project. Speeds vary from machine to
machine and from minute to minute; ratios to a floor of the same run mean something.

Source: design §3, §4.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from rich.console import Console
from rich.table import Table

from offset_engine.bench import (
    BenchError,
    Figure,
    Figures,
    PaymentsPlan,
    RelayPlan,
    StorePlan,
    measure_payments,
    measure_relay,
    measure_store,
)
from offset_engine.core.values import value
from offset_engine.programs.arguments import Commands, Output, Parser
from offset_engine.programs.arguments import run as run_program

WHAT: Final = "measure speed, latency and sizes, next to what this machine could do at best"
_COUNT_MAX: Final = 100_000
_COMMIT_MS_MAX: Final = 0.5
"""Budgets of latency are meant for disks about this quick; on others the floor says what is possible."""
_PLAIN_WIDTH: Final = 110


def run(argv: Sequence[str] | None = None) -> int:
    """Run `offset bench` with these arguments; returns the exit code."""
    parser = Parser("offset bench", f"{WHAT.capitalize()}.")
    add_flags(parser)
    return run_program(parser, bench, argv)


def add_parser(commands: Commands) -> None:
    """Add `bench` to the subcommands of `offset`; its action is `bench`."""
    add_flags(commands.add("bench", WHAT))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The measurements and their flags."""
    found = parser.add_subparsers(dest="measurement", required=True, metavar="WHAT")
    measurements = Commands.__new__(Commands)
    measurements.__dict__["_actions"] = found
    payments = measurements.add("payments", "payments per second and how long one takes")
    _add_count(payments, "--payments", PaymentsPlan().payments, "payments in random arrivals")
    _add_count(payments, "--in-flight", PaymentsPlan().in_flight, "payers at the same time")
    store = measurements.add("store", "commits per second, bytes per friend and per payment")
    _add_count(store, "--payments", StorePlan().payments, "payments until growth is looked at")
    for parser_on_disk in (payments, store):
        _add_disk(parser_on_disk)
    relay = measurements.add("relay", "memory per waiting listener, speed of a tunnel")
    _add_count(relay, "--listeners", RelayPlan().listeners, "listeners whose memory is measured")
    _add_count(relay, "--mib", RelayPlan().mib, "MiB through the tunnel")
