"""`offset bench`: measurements a user can repeat, each next to what the machine could do at best.

Without `--json` the figures stand beside the budgets of the project. Speeds vary from machine to
machine and from minute to minute; ratios to a floor of the same run mean something.

Source: design §3, §4.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from offset_engine.bench import (
    BenchError,
    Figure,
    Figures,
    PaymentsPlan,
    RelayPlan,
    RoutesPlan,
    StartupPlan,
    StorePlan,
    measure_payments,
    measure_relay,
    measure_routes,
    measure_startup,
    measure_store,
)
from offset_engine.bench.trust_graphs import KINDS, NODES_MIN
from offset_engine.core.values import value
from offset_engine.graph_array import MISSING, is_available
from offset_engine.programs.arguments import Commands, Output, Parser, Words, add_output_flags
from offset_engine.programs.arguments import run as run_program
from offset_engine.programs.serving import interrupt_when_terminated

WHAT: Final = "measure speed, latency and sizes, next to what this machine could do at best"
_COUNT_MAX: Final = 100_000
_COMMIT_MS_MAX: Final = 0.5
"""Budgets of latency are meant for disks about this quick; on others the floor says what is possible."""
_PLAIN_WIDTH: Final = 110
_NODES_MAX: Final = 4_000_000
_ROUTES_BUDGET: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "ba": {"single p50_ms": (1, 0.43), "single p99_ms": (5, 1.5), "each": (1 / 2, 1 / 4)},
    "ws": {"single p50_ms": (4, 2), "single p99_ms": (12, 5), "each": (1 / 0.7, 1 / 1.1)},
    "both": {
        "multi p99_ms": (40, 40),
        "no_answer p99_ms": (30, 20),
        "bytes_per_edge": (64, 51),
        "update_us": (10, 1.3),
    },
    "pure": {"single p99_ms": (10, 10)},
}
"""Bar and aim of the array engine for a million nodes, by kind of network, and of the pure engine."""
_ROUTES_KINDS: Final = {
    "single": "one route",
    "multi": "up to 8 routes, all choices",
    "no_answer": "no answer",
    "cycle": "a cycle",
}


def run(argv: Sequence[str] | None = None) -> int:
    """Run `offset bench` with these arguments; returns the exit code."""
    parser = Parser("offset bench", f"{WHAT.capitalize()}.")
    add_flags(parser)
    return run_program(parser, act, argv)


def add_parser(commands: Commands) -> None:
    """Add `bench` to the subcommands of `offset`; its action is `bench`."""
    add_flags(commands.add("bench", WHAT))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The measurements and their flags."""
    found = parser.add_subparsers(
        dest="measurement", required=True, metavar="WHAT", parser_class=Words
    )
    for name, (what, add_own) in _MEASUREMENTS.items():
        one = found.add_parser(name, help=what, description=what, allow_abbrev=False)
        add_output_flags(one, top=False)
        add_own(one)


def _payments_flags(parser: argparse.ArgumentParser) -> None:
    plan = PaymentsPlan()
    _add_count(parser, "--payments", plan.payments, "payments in random arrivals")
    _add_count(parser, "--in-flight", plan.in_flight, "payers at the same time", 512)
    _add_disk(parser)


def _store_flags(parser: argparse.ArgumentParser) -> None:
    plan = StorePlan()
    _add_count(parser, "--payments", plan.payments, "payments until growth is looked at")
    _add_count(parser, "--friends", plan.friends, "friends whose size is measured", 2_000)
    _add_disk(parser)


def _relay_flags(parser: argparse.ArgumentParser) -> None:
    plan = RelayPlan()
    _add_count(parser, "--listeners", plan.listeners, "listeners whose memory is measured", 5_000)
    _add_count(parser, "--mib", plan.mib, "MiB through the tunnel", 4_096)


def _routes_flags(parser: argparse.ArgumentParser) -> None:
    plan = RoutesPlan()
    what = "nodes of the network; budgets are meant for 1000000"
    _add_count(parser, "--nodes", plan.nodes, what, _NODES_MAX, NODES_MIN)
    parser.add_argument(
        "--kind",
        choices=KINDS,
        default=plan.kind,
        help=f"ba: with hubs, short routes; ws: without, long routes (default {plan.kind})",
    )
    _add_count(parser, "--queries", plan.queries, "questions of each kind")


def _startup_flags(parser: argparse.ArgumentParser) -> None:
    plan = StartupPlan()
    _add_count(parser, "--starts", plan.starts, "starts of the app", 20)
    _add_count(parser, "--keys", plan.keys, "keys pressed", 1_000)


_MEASUREMENTS: Final[Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]] = {
    "payments": ("payments per second, and how long one takes", _payments_flags),
    "routes": ("how quickly an index server finds routes", _routes_flags),
    "store": ("commits per second, bytes per friend and per payment", _store_flags),
    "relay": ("memory per waiting listener, speed of a tunnel", _relay_flags),
    "startup": ("how soon the app is on the screen, and how quickly it answers", _startup_flags),
}


def _add_count(
    parser: argparse.ArgumentParser,
    flag: str,
    default: int,
    what: str,
    most: int = _COUNT_MAX,
    least: int = 1,
) -> None:
    def count(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most:
            raise argparse.ArgumentTypeError(f"give a whole number from {least} to {most}")
        return int(text)

    what = f"{what} (default {default})"
    parser.add_argument(flag, type=count, default=default, metavar="N", help=what)


def _add_disk(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--directory",
        type=_directory,
        metavar="DIR",
        help="measure the disk DIR is on (default: where temporary files go)",
    )


def _directory(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text[:80]!a} is no directory")
    return Path(text)


def act(args: argparse.Namespace, output: Output) -> None:
    """Measure and report.

    Raises:
        OffsetError: a measurement could not be made.
    """
    interrupt_when_terminated()
    output.detail("measuring; this takes up to a minute")
    if args.measurement == "routes" and not is_available():
        output.note(f"note: this measures the pure engine; {MISSING}")
    try:
        figures, lines = _measure(args)
    except OSError as error:
        raise BenchError(f"the system does not let us measure: {error}") from error
    if args.json:
        output.result(figures)  # type: ignore[arg-type]  # floats, which Json leaves out for money
    else:
        _print(args.measurement, lines)


def _measure(args: argparse.Namespace) -> "tuple[Figures, list[Line]]":
    match args.measurement:
        case "payments":
            plan = PaymentsPlan(args.payments, args.in_flight, directory=args.directory)
            figures = measure_payments(plan)
            return figures, _payments_lines(figures)
        case "store":
            figures = measure_store(
                StorePlan(args.payments, args.friends, directory=args.directory)
            )
            return figures, _store_lines(figures)
        case "routes":
            figures = measure_routes(RoutesPlan(args.nodes, args.kind, args.queries))
            return figures, _routes_lines(figures)
        case "startup":
            figures = measure_startup(StartupPlan(args.starts, args.keys))
            return figures, _startup_lines(figures)
        case _:
            figures = measure_relay(RelayPlan(args.listeners, args.mib))
            return figures, _relay_lines(figures)


# --- the table ----------------------------------------------------------------------------------


@value
class Line:
    """One figure: what it is, how much, the floor beside it, and its budget (at most) if it has one."""

    what: str
    measured: float | None
    unit: str = ""
    floor: float | None = None
    bar: float | None = None
    aim: float | None = None

    @property
    def verdict(self) -> str:
        """How it compares with its budget."""
        if self.bar is None or self.aim is None or self.measured is None:
            return ""
        if self.measured <= self.aim:
            return "aim met"
        return "bar met" if self.measured <= self.bar else "MISSED"


def _number(figures: Mapping[str, Figure], *path: str) -> float | None:
    found: Figure = figures
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, int | float) else None


def _payments_lines(figures: Figures) -> list[Line]:
    def get(*path: str) -> float | None:
        return _number(figures, *path)

    alone_commit_ms = get("alone", "commit_ms")
    is_quick = alone_commit_ms is not None and alone_commit_ms <= _COMMIT_MS_MAX
    p50, p99 = ((40, 15), (120, 120)) if is_quick else ((None, None), (None, None))
    floor = get("floor_per_second")
    latency_floor = get("latency_floor_ms")
    lines = [
        Line("random arrivals", get("payments_per_second"), "/s", floor),
        Line("  times the floor", get("ratio_to_floor"), "x", None, 20, 8),
        Line("waves", get("waves", "payments_per_second"), "/s", floor),
        Line("  times the floor", get("waves", "ratio_to_floor"), "x"),
        Line("bare cores, times the floor", get("core_ratio_to_floor"), "x", None, 4, 2),
        Line(
            "  one alone, times its floor",
            get("core_alone_ratio_to_token_floor"),
            "x",
            None,
            2.5,
            1.5,
        ),
        Line("one payment, idle: p50", get("latency_ms", "p50"), "ms", latency_floor, *p50),
        Line("  p99", get("latency_ms", "p99"), "ms", latency_floor, *p99),
        Line("  with route search, p50", get("latency_with_search_ms", "p50"), "ms"),
        Line("  under load, p50", get("latency_loaded_ms", "p50"), "ms"),
        Line("a commit, alone", alone_commit_ms, "ms", get("alone", "fsync_ms")),
        Line("a commit, random", get("commit_ms"), "ms", get("fsync_ms")),
        Line("computing a payment, random", get("cpu_us_per_payment"), "us"),
    ]
    for part, path in (("alone", ("alone",)), ("waves", ("waves",)), ("random", ())):
        lines += [
            Line(f"{name} a payment, {part}", get(*path, f"{name}_per_payment"))
            for name in ("tokens", "steps", "commits", "rows")
        ]
    return lines


def _store_lines(figures: Figures) -> list[Line]:
    def get(*path: str) -> float | None:
        return _number(figures, *path)

    lines = [
        Line("commits", get("commits_per_second"), "/s", get("floor_per_second")),
        Line("a commit", get("commit_ms"), "ms", get("fsync_ms")),
        Line("rows a commit", get("rows_per_commit")),
        Line("a friend and currency", get("bytes_per_friend_currency"), "bytes", None, 4096, 2048),
    ]
    for role in ("buyer", "mediator", "seller"):
        history = get("history_bytes_per_payment", role)
        lines.append(Line(f"history a payment, {role}", history, "bytes", None, 1024, 1024))
        growth = get("state_growth_bytes", role)
        lines.append(Line(f"growth of state, {role}", growth, "bytes"))
    return lines


def _relay_lines(figures: Figures) -> list[Line]:
    def get(name: str) -> float | None:
        return _number(figures, name)

    speed, floor = get("tunnel_mib_per_second"), get("floor_mib_per_second")
    return [
        Line("a waiting listener", get("kib_per_listener"), "KiB", None, 80, 40),
        Line("a tunnel", speed, "MiB/s", floor),
        Line("  times slower than plain TCP", get("ratio_to_floor"), "x"),
    ]


def _routes_lines(figures: Figures) -> list[Line]:
    kind, engine = str(figures["kind"]), str(figures["engine"])
    budget = dict(_ROUTES_BUDGET["pure"])
    if engine == "array":
        budget = {**_ROUTES_BUDGET[kind], **_ROUTES_BUDGET["both"]}

    def line(what: str, path: str, unit: str = "", floor: str = "") -> Line:
        measured = _number(figures, *path.split())
        return Line(what, measured, unit, _number(figures, floor), *budget.get(path, (None, None)))

    lines = [line(f"nodes ({kind}, {engine} engine)", "nodes")]
    for name, what in _ROUTES_KINDS.items():
        lines += [
            line(f"{what}: p50", f"{name} p50_ms", "ms"),
            line("  p99", f"{name} p99_ms", "ms"),
            line("  edges looked at, p50", f"{name} scanned_edges_p50"),
            line("  an edge", f"{name} ns_per_edge", "ns", "floor_ns_per_edge"),
            line("  answered in full", f"{name} success"),
        ]
    answers = _number(figures, "queries_per_second") or 0
    each_ms = 1000 / answers if answers else None
    return [
        *lines,
        line("memory per direction", "bytes_per_edge", "bytes"),
        line("an update", "update_us", "us"),
        line("  with its signature", "update_signed_us", "us"),
        line("one route in two threads, while updated", "queries_per_second", "/s"),
        Line("  time for each", each_ms, "ms", None, *budget.get("each", (None, None))),
        line("  updates meanwhile", "streamed_updates_per_second", "/s"),
        line("  their delay, p99", "streamed_update_late_p99_ms", "ms"),
        line(
            "knowing what was true 500 payments ago, paid at the first try",
            "stale first_try_success",
        ),
        line("  within three tries", "stale success"),
    ]


def _startup_lines(figures: Figures) -> list[Line]:
    def get(name: str) -> float | None:
        return _number(figures, name)

    floor = get("first_paint_floor_ms")
    return [
        Line("first paint", get("first_paint_ms"), "ms", floor, 800, 400),
        Line("a key until its screen is there: p50", get("key_to_paint_p50_ms"), "ms"),
        Line("  p99", get("key_to_paint_p99_ms"), "ms", None, 100, 50),
        Line("  payments mediated meanwhile", get("mediated_per_second"), "/s"),
        Line("memory of the app with its node", get("rss_mib"), "MiB", None, 110, 80),
        Line(
            "painted while nobody does anything",
            get("idle_bytes_per_second"),
            "bytes/s",
            None,
            100,
            0,
        ),
    ]


def _print(title: str, lines: Sequence[Line]) -> None:
    console = Console(file=sys.stdout)
    is_plain = not console.is_terminal
    table = Table(title=f"offset bench {title}")
    if is_plain:
        console.width = _PLAIN_WIDTH
        table.box = None
    for heading in ("", "measured", "floor", "bar", "aim", ""):
        table.add_column(heading, justify="right" if heading else "left")
    for line in lines:
        table.add_row(
            line.what,
            _text(line.measured, line.unit),
            _text(line.floor, line.unit),
            _text(line.bar, line.unit, "at most "),
            _text(line.aim, line.unit),
            line.verdict,
        )
    console.print(table)


def _text(number: float | None, unit: str, before: str = "") -> str:
    if number is None:
        return ""
    digits = f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
    return f"{before}{digits} {unit}".rstrip()
