"""A store that counts what it really writes, so that a measurement can say commits and rows per payment."""

import time
from collections.abc import Sequence
from pathlib import Path

from offset_engine.bench.figures import BenchError
from offset_engine.core.events import Touched
from offset_engine.core.reports import Record
from offset_engine.core.state import NodeState
from offset_engine.core.values import PublicKey
from offset_engine.store import SqliteStore


class CountedStore(SqliteStore):
    """A `SqliteStore`; saves that had nothing to write are not counted."""

    commits = 0
    rows = 0
    """Inserted, replaced and deleted."""
    taken_ns = 0
    """All commits together, finding out what to write included."""

    @classmethod
    def reopen(cls, path: Path, key: PublicKey) -> "CountedStore":
        """Open an existing database; see `SqliteStore.open`.

        Raises:
            StoreError: it cannot be opened.
            BenchError: never; it tells the type checker what `open` returns.
        """
        store = cls.open(path, key)
        if not isinstance(store, cls):
            raise BenchError("opened another kind of store")
        return store

    def do_not_wait_for_disk(self) -> None:
        """Let the system write when it likes: for measurements of size, which time nothing."""
        self._connection.execute("PRAGMA synchronous = OFF")

    def save(
        self, old: NodeState, new: NodeState, touched: Touched, records: Sequence[Record]
    ) -> None:
        """See `Store.save`."""
        before = self._connection.total_changes
        started = time.perf_counter_ns()
        super().save(old, new, touched, records)
        taken = time.perf_counter_ns() - started
        rows = self._connection.total_changes - before
        if rows:
            self.rows += rows
            self.commits += 1
            self.taken_ns += taken
