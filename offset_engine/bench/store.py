"""`offset bench store`: commits per second, and how much disk friends and payments take.

| figure | how |
|---|---|
| commits per second | every save of every node while payments are made one at a time, done again on a real file |
| bytes per friend and currency | growth of a quiet, checkpointed database, the first 100 friends apart |
| flat under payments | a mediator's database, history apart, before and after many payments |
| history bytes per payment | what each role's history tables take for the same payments |

Sizes are whole pages; free pages count as state, history tables and their indexes do not.
"""

import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from offset_engine.bench.cores import (
    Core,
    Cores,
    Person,
    Program,
    befriend,
    open_chain,
    pay_in_waves,
)
from offset_engine.bench.counted import CountedStore
from offset_engine.bench.figures import Figure, Figures, rounded
from offset_engine.bench.floors import measure_fsync_ms
from offset_engine.core.events import Step
from offset_engine.core.state import NodeState
from offset_engine.core.values import value
from offset_engine.store import touched_between
from offset_engine.store.tables import HISTORY_TABLES

_FRIENDS_BEFORE_MAX: Final = 100
"""Where the slope begins: the first rows of each table fill pages that exist already."""
_IN_FLIGHT: Final = 64
_COMMITS_PER_PAYMENT: Final = 16
"""Of all four nodes together, one payment alone."""
_ROLES: Final = {"buyer": 0, "mediator": 1, "seller": 3}


@value
class StorePlan:
    """How much to measure; the default takes about a quarter of a minute."""

    payments: int = 2_000
    """For growth and history; the budget speaks of 10 000."""
    friends: int = 200
    commits: int = 1_000
    """About so many are timed."""
    part_s: float = 12
    """Commits are timed for at most so many seconds."""
    seed: int = 0
    directory: Path | None = None
    """Where the databases are kept meanwhile; None = temporary files."""


def measure_store(plan: StorePlan) -> Figures:
    """Measure everything of the module's table.

    Raises:
        BenchError: a payment between the nodes failed.
        StoreError: the disk does not let us.
    """
    with tempfile.TemporaryDirectory(prefix="offset-bench-", dir=plan.directory) as name:
        directory = Path(name)
        return {
            **_measure_commits(plan, directory),
            "bytes_per_friend_currency": rounded(_measure_slope(plan, directory)),
            "friends": plan.friends,
            **_measure_growth(plan, directory),
        }


class _SavedCore:
    """A core whose every step is saved to a file, as an engine would, but unsynced."""

    def __init__(self, core: Core, path: Path) -> None:
        self._core = core
        self._path = path
        self._store = _new_store(path, core.state)
        self._store.do_not_wait_for_disk()
        core.on_step = self._save

    def _save(self, old: NodeState, step: Step) -> None:
        self._store.save(old, step.state, step.touched, step.records)

    def size(self) -> "_Size":
        """Bytes on disk now, checkpointed."""
        self._store.close()
        size = _size_of(self._path)
        self._store = CountedStore.reopen(self._path, self._core.key)
        self._store.do_not_wait_for_disk()
        return size

    def close(self) -> None:
        """Let go of the file."""
        self._store.close()


def _new_store(path: Path, state: NodeState) -> CountedStore:
    """A fresh database that holds `state`."""
    CountedStore.create(path, state.local_public_key).close()
    store = CountedStore.reopen(path, state.local_public_key)
    empty = NodeState(state.local_public_key)
    store.save(empty, state, touched_between(empty, state), ())
    return store


# --- commits ------------------------------------------------------------------------------------


@value
class _Saving:
    """One save, kept to be done again."""

    old: NodeState
    step: Step


def _measure_commits(plan: StorePlan, directory: Path) -> Figures:
    """Make payments one at a time in memory, then do their saves again and time only those."""
    cores = open_chain(seed=plan.seed)
    begun = [core.state for core in cores.all]
    savings = [_record(core) for core in cores.all]
    pay_in_waves(Program(cores), max(1, plan.commits // _COMMITS_PER_PAYMENT), 1)
    fsync_ms = measure_fsync_ms(directory)
    commits = rows = taken_ns = 0
    for number, (state, mine) in enumerate(zip(begun, savings, strict=True)):
        with closing(_new_store(directory / f"commits{number}.db", state)) as store:
            before = store.commits, store.rows
            taken_ns += _save_again(store, mine, plan.part_s / len(savings))
            commits += store.commits - before[0]
            rows += store.rows - before[1]
    fsync_ms = min(fsync_ms, measure_fsync_ms(directory))
    commit_ms = taken_ns / 1e6 / commits
    return {
        "commits_per_second": rounded(1000 / commit_ms),
        "floor_per_second": rounded(1000 / fsync_ms),
        "ratio_to_floor": rounded(commit_ms / fsync_ms),
        "commit_ms": rounded(commit_ms),
        "fsync_ms": rounded(fsync_ms),
        "rows_per_commit": rounded(rows / commits),
        "commits": commits,
    }


def _record(core: Core) -> list[_Saving]:
    savings: list[_Saving] = []

    def keep(old: NodeState, step: Step) -> None:
        savings.append(_Saving(old, step))

    core.on_step = keep
    return savings


def _save_again(store: CountedStore, savings: list[_Saving], limit_s: float) -> int:
    """Do the saves, in order, for at most `limit_s`; returns the ns it took."""
    started = time.perf_counter_ns()
    for saving in savings:
        step = saving.step
        store.save(saving.old, step.state, step.touched, step.records)
        if time.perf_counter_ns() - started > limit_s * 1e9:
            break
    return time.perf_counter_ns() - started


# --- sizes --------------------------------------------------------------------------------------


@value
class _Size:
    """Bytes of a database file, whole pages."""

    state: int
    """Everything but history; free pages too."""
    history: int


def _size_of(path: Path) -> _Size:
    """Measure a closed database; it is not changed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:

        def pragma(name: str) -> int:
            found: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
            return found

        page_bytes, pages, free = (
            pragma("page_size"),
            pragma("page_count"),
            pragma("freelist_count"),
        )
        # What history occupies is what would become free without it.
        connection.execute("BEGIN")
        for table in HISTORY_TABLES:
            connection.execute(f"DROP TABLE {table}")
        history = pragma("freelist_count") - free
        connection.execute("ROLLBACK")
    return _Size((pages - history) * page_bytes, history * page_bytes)


def _measure_slope(plan: StorePlan, directory: Path) -> float:
    """Bytes each of `plan.friends` adds: one currency, one payment made over it, all quiet."""
    first = min(_FRIENDS_BEFORE_MAX, plan.friends)
    hub = Core(0, plan.seed)
    saved = _SavedCore(hub, directory / "hub.db")
    _add_payers(hub, plan.seed, range(1, first + 1))
    before = saved.size().state
    _add_payers(hub, plan.seed, range(first + 1, first + plan.friends + 1))
    after = saved.size().state
    saved.close()
    return (after - before) / plan.friends


def _add_payers(hub: Core, seed: int, numbers: range) -> None:
    """Befriend new nodes, each of which pays the hub once."""
    for number in numbers:
        friend = Core(number, seed)
        pair = Cores((friend, hub))
        befriend(friend, hub)
        pair.run()
        payer = Program(pair, first_number=number)
        pay_in_waves(payer, 1, 1)


def _measure_growth(plan: StorePlan, directory: Path) -> Figures:
    """Make many payments over nodes that save: state must not grow, history little."""
    cores = open_chain(seed=plan.seed)
    payer = Person(cores)
    saved = {
        role: _SavedCore(cores.all[number], directory / f"{role}.db")
        for role, number in _ROLES.items()
    }
    warm = max(_IN_FLIGHT, plan.payments // 10)
    pay_in_waves(payer, warm, _IN_FLIGHT)
    before = {role: one.size() for role, one in saved.items()}
    pay_in_waves(payer, plan.payments, _IN_FLIGHT)
    after = {role: one.size() for role, one in saved.items()}
    for one in saved.values():
        one.close()
    history: dict[str, Figure] = {
        role: rounded((after[role].history - before[role].history) / plan.payments)
        for role in saved
    }
    growth: dict[str, Figure] = {role: after[role].state - before[role].state for role in saved}
    return {
        "payments": plan.payments,
        "state_growth_bytes": growth,
        "state_bytes": {role: size.state for role, size in after.items()},
        "history_bytes_per_payment": history,
    }
