"""Where a node's state lives between two runs: SQLite for real, memory for tests and the simulator.

    NodeState ──rows──▶ rows of tables ──┬─▶ SqliteStore   one transaction a save, on disk before it returns
        ▲                                └─▶ MemoryStore   the same rows as bytes, with `crash()`
        └───────────────load───────────────────┘

Both hold the same rows, write only what a step touched, and check every value they read again with the
rules of the wire. A save is all or nothing.

Source: design R5, R7, R20 to R32; PROTOCOL.md, "Store".
"""

from offset_engine.store.interface import HistoryEntry, HistoryKind, Store, touched_between
from offset_engine.store.memory import MemoryStore
from offset_engine.store.sqlite import SqliteStore, at_rest, forget, snapshot, state_of_snapshot

__all__ = [
    "HistoryEntry",
    "HistoryKind",
    "MemoryStore",
    "SqliteStore",
    "Store",
    "at_rest",
    "forget",
    "snapshot",
    "state_of_snapshot",
    "touched_between",
]
