"""The store on disk: one SQLite file, one connection, one process.

| file | holds |
|---|---|
| `PATH` | the tables; mode 0600 |
| `PATH-wal`, `PATH-shm` | SQLite's own, gone after an orderly end |
| `PATH.lock` | the id of the process that runs on the database and holds this lock |

Write-ahead log with `synchronous=FULL`: when `save` returns, the state is on the disk. SQLite's own locks
would let a second node wait its turn between two saves of the first, so a lock file keeps it out.

Source: design R29, R50; PROTOCOL.md, "Store".
"""

import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from offset_engine.core.events import Touched
from offset_engine.core.reports import InvoiceRecord, PaymentRecord, Record
from offset_engine.core.state import NodeState
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey
from offset_engine.errors import (
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreTooNewError,
    invariant,
)
from offset_engine.file_lock import FileHeldError, FileLock
from offset_engine.store import schema
from offset_engine.store.history import HISTORIES, KIND_OF, HistoryTable, page_size
from offset_engine.store.interface import HISTORY_PAGE_MAX, HistoryEntry, HistoryKind
from offset_engine.store.load import load_state
from offset_engine.store.rows import changes_between
from offset_engine.store.tables import STATE_TABLES, Changes, Row, Table

_MAGIC: Final = b"SQLite format 3\0"
_BUSY_WAIT_S: Final = 1.0
"""How long to wait for a tool that looks into the file."""


# Names of tables and columns are constants of this package, values are always bound: hence the
# exceptions from the rule against statements put together from parts.


def _upsert(table: Table) -> str:
    insert = _insert(table.name, table.columns)
    updates = ", ".join(f"{column} = excluded.{column}" for column in table.rest)
    return f"{insert} ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {updates}"


def _insert(name: str, columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608


def _delete(table: Table) -> str:
    condition = " AND ".join(f"{column} = ?" for column in table.key)
    return f"DELETE FROM {table.name} WHERE {condition}"  # noqa: S608


def _select(table: Table) -> str:
    order = "rowid" if table.is_ordered else ", ".join(table.key)
    return f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {order}"  # noqa: S608


def _newest(history: HistoryTable, condition: str, limit: str) -> str:
    columns = ", ".join(("number", *history.columns))
    source = f"SELECT {columns} FROM {history.name}"  # noqa: S608
    return f"{source} WHERE {condition} ORDER BY number DESC LIMIT {limit}"


# The texts are made once: SQLite's wrapper finds its prepared statement by the text.
_UPSERTS: Final = tuple((table.name, _upsert(table)) for table in STATE_TABLES)
_DELETES: Final = tuple((table.name, _delete(table)) for table in reversed(STATE_TABLES))
_SELECTS: Final = {table.name: _select(table) for table in STATE_TABLES}
_APPENDS: Final = {kind: _insert(one.name, one.columns) for kind, one in HISTORIES.items()}
_PAGES: Final = {kind: _newest(one, "number < ?", "?") for kind, one in HISTORIES.items()}
_FINDS: Final = {
    kind: _newest(one, f"{one.columns[0]} = ?", "1") for kind, one in HISTORIES.items()
}


class SqliteStore:
    """A `Store` in one file; make one with `create` or `open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: FileLock) -> None:
        self._path = path
        self._connection = connection
        self._lock = lock
        # A save may run on another thread (design R29) while a page of history is asked for.
        self._turn = threading.Lock()

    @classmethod
    def create(cls, path: Path, local_public_key: PublicKey) -> "SqliteStore":
        """Make a database with an empty state; its directory is made, too, for the owner only.

        Raises:
            StoreError: there is a database already, or the file cannot be written.
            StoreLockedError: another process is at it.
        """
        with _sentences(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls._prepare(path, local_public_key, is_new=True)

    @classmethod
    def open(cls, path: Path, local_public_key: PublicKey) -> "SqliteStore":
        """Open an existing database and bring it to this program's version.

        Args:
            path: the file.
            local_public_key: the identity that must own it.

        Raises:
            StoreLockedError: another process runs on it.
            StoreTooNewError: a newer version of this program wrote it.
            StoreCorruptError: it is damaged.
            StoreError: it does not exist, is something else, or belongs to another identity.
        """
        if not path.is_file():
            raise StoreError(
                f"there is no database at {path}; check the path, or make one: stmgr init-node-db"
            )
        _need_database(path)
        return cls._prepare(path, local_public_key, is_new=False)

    @classmethod
    def _prepare(cls, path: Path, key: PublicKey, *, is_new: bool) -> "SqliteStore":
        lock = _lock(path)
        try:
            with _sentences(path):
                _make_private(path)
                connection = sqlite3.connect(
                    path,
                    timeout=_BUSY_WAIT_S,
                    isolation_level=None,
                    check_same_thread=False,
                    cached_statements=256,
                )
            try:
                with _sentences(path):
                    _settle(connection, path, key, is_new=is_new)
            except BaseException:
                connection.close()
                raise
        except BaseException:
            lock.release()
            raise
        return cls(path, connection, lock)

    def load(self) -> NodeState:
        """See `Store.load`."""
        with self._turn, _sentences(self._path):
            key = PublicKey(self._connection.execute("SELECT public_key FROM node").fetchone()[0])
            return load_state(key, lambda one: self._connection.execute(_SELECTS[one.name]))

    def save(
        self, old: NodeState, new: NodeState, touched: Touched, records: Sequence[Record]
    ) -> None:
        """See `Store.save`."""
        changes = changes_between(old, new, touched)
        if not changes.upserts and not changes.deletes and not records:
            return
        with self._turn, _sentences(self._path), _transaction(self._connection):
            self._write(changes, records)

    def _write(self, changes: Changes, records: Sequence[Record]) -> None:
        connection = self._connection
        for name, statement in _DELETES:
            keys = changes.deletes.get(name)
            if keys:
                deleted = connection.executemany(statement, keys).rowcount
                invariant(deleted == len(keys), "the store is not in the state before", name)
        for name, statement in _UPSERTS:
            rows = changes.upserts.get(name)
            if rows:
                connection.executemany(statement, rows)
        for record in records:
            kind = KIND_OF[type(record)]
            connection.execute(_APPENDS[kind], HISTORIES[kind].to_row(record))

    def history(
        self, kind: HistoryKind, before: int | None = None, limit: int = HISTORY_PAGE_MAX
    ) -> list[HistoryEntry]:
        """See `Store.history`."""
        newest = 2**63 - 1
        start = newest if before is None else max(0, min(before, newest))
        with self._turn, _sentences(self._path):
            rows = self._connection.execute(_PAGES[kind], (start, page_size(limit)))
            return [HISTORIES[kind].entry(row) for row in rows]

    def payment_record(self, payment_id: PaymentId) -> PaymentRecord | None:
        """See `Store.payment_record`."""
        record = self._find(HistoryKind.PAYMENTS, payment_id)
        return record if isinstance(record, PaymentRecord) else None

    def invoice_record(self, invoice_id: InvoiceId) -> InvoiceRecord | None:
        """See `Store.invoice_record`."""
        record = self._find(HistoryKind.INVOICES, invoice_id)
        return record if isinstance(record, InvoiceRecord) else None

    def _find(self, kind: HistoryKind, key: PaymentId | InvoiceId) -> Record | None:
        with self._turn, _sentences(self._path):
            row: Row | None = self._connection.execute(_FINDS[kind], (key,)).fetchone()
            return None if row is None else HISTORIES[kind].entry(row).record

    def close(self) -> None:
        """See `Store.close`."""
        with self._turn, _sentences(self._path):
            self._connection.close()
            self._lock.release()


# --- copies -------------------------------------------------------------------------------------


def snapshot(path: Path) -> bytes:
    """A consistent copy of a database as the content of a file, also while a process runs on it.

    Nothing of what is running is stopped or written. The copy is checked, so that no backup is made of
    what is damaged.

    Raises:
        StoreCorruptError: it is damaged.
        StoreError: it does not exist or cannot be read.
    """
    if not path.is_file():
        raise StoreError(f"there is no database at {path}; check the path")
    with (
        _sentences(path),
        contextlib.closing(_connect_existing(path)) as source,
        contextlib.closing(sqlite3.connect(":memory:")) as copy,
    ):
        source.execute("PRAGMA query_only = ON")
        source.backup(copy)
        found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreCorruptError(found)
        return _rollback_mode(copy.serialize())


def _connect_existing(path: Path) -> sqlite3.Connection:
    """Unlike an ordinary connection this one never makes a file: another process may just take it away."""
    address = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, timeout=_BUSY_WAIT_S, uri=True)


@contextlib.contextmanager
def at_rest(path: Path) -> Iterator[bytes]:
    """The content of a database nobody runs on, whole in its one file; nobody starts until the block ends.

    What a killed process left in the write-ahead log is in it, and the log is gone.

    Raises:
        StoreLockedError: another process runs on it, or reads it.
        StoreError: it cannot be read.
    """
    lock = _lock(path)
    try:
        _need_database(path)
        with _sentences(path):
            with contextlib.closing(_connect_existing(path)) as connection:
                _distrust(connection)
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                connection.execute("PRAGMA journal_mode = DELETE").fetchone()
            if _log_of(path).exists():
                raise StoreLockedError(f"another program holds {path}; close it and try again")
            content = path.read_bytes()
        yield content
    finally:
        lock.release()


def forget(path: Path) -> None:
    """Remove a database file and whatever SQLite keeps beside it; whoever has it open keeps it.

    Raises:
        StoreError: it cannot be removed.
    """
    with _sentences(path):
        path.unlink(missing_ok=True)
        for ending in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + ending).unlink(missing_ok=True)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def state_of_snapshot(content: bytes, local_public_key: PublicKey) -> NodeState:
    """What `snapshot` copied, or a closed database's file holds, as `Store.load` would say it.

    Raises:
        StoreError: as `SqliteStore.open`.
    """
    name = Path("the copy of the database")
    with _sentences(name), contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.isolation_level = None
        connection.deserialize(_rollback_mode(content))
        _distrust(connection)
        version = _version(connection, name, is_new=False)
        stranger = schema.stranger_in(connection, version)
        if stranger:
            raise StoreError(
                f"{name} has something in it that this program does not make: {stranger[:40]!a}; use "
                "another copy, or take it out with a tool for SQLite"
            )
        _need_owner(connection, name, local_public_key)
        if version < len(schema.MIGRATIONS):
            _migrate(connection, version, local_public_key)
        return load_state(local_public_key, lambda one: connection.execute(_SELECTS[one.name]))


def _rollback_mode(content: bytes) -> bytes:
    """The same database marked as one without a write-ahead log: in memory there can be none."""
    return content[:18] + b"\1\1" + content[20:]


# --- opening ------------------------------------------------------------------------------------


def _need_database(path: Path) -> None:
    """Leave somebody's other file alone: no lock beside it, no changed permissions."""
    with _sentences(path), path.open("rb") as file:
        start = file.read(len(_MAGIC))
    if start and start != _MAGIC:
        raise StoreCorruptError(_damaged(path, "it does not begin like one; is the path right?"))


def _make_private(path: Path) -> None:
    """Create the file for the owner only, before SQLite would create it for everybody."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.close(descriptor)
    path.chmod(0o600)


def _settle(connection: sqlite3.Connection, path: Path, key: PublicKey, *, is_new: bool) -> None:
    """Check whose database this is before anything is written to it, then make it ready."""
    _distrust(connection)
    connection.execute("PRAGMA foreign_keys = ON")
    version = _version(connection, path, is_new=is_new)
    if not is_new:
        _need_owner(connection, path, key)
    connection.execute("PRAGMA synchronous = FULL")
    if sys.platform == "darwin":
        # An ordinary fsync there leaves the data in the drive's cache.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"{path} is on a file system where databases cannot be kept safely")
    if version < len(schema.MIGRATIONS):
        _migrate(connection, version, key)
    if is_new:
        _sync_directory(path.parent)


def _distrust(connection: sqlite3.Connection) -> None:
    """Let nothing that stands in the file itself run, and notice damage early."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")


def _need_owner(connection: sqlite3.Connection, path: Path, key: PublicKey) -> None:
    owner = connection.execute("SELECT public_key FROM node").fetchone()
    if owner is None or len(owner[0]) != PublicKey.SIZE:
        raise StoreCorruptError("table node: it does not say who owns this database")
    if owner[0] != key:
        raise StoreError(
            f"{path} belongs to another identity ({PublicKey(owner[0]).to_text()}); "
            "use the identity file it was made with"
        )


def _version(connection: sqlite3.Connection, path: Path, *, is_new: bool) -> int:
    """The version of the tables, 0 = none yet, after refusing what must not be touched."""
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    # A crash while creating leaves a file without tables; creating it again is fine.
    is_empty = application == 0 and version == 0 and tables == 0
    if is_new and not is_empty:
        raise StoreError(f"{path} exists already; open it or choose another path")
    if is_empty and not is_new:
        raise StoreCorruptError("the file is empty: it was cut off, or never completed")
    if not is_empty and application != schema.APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program; choose another path")
    if version > len(schema.MIGRATIONS):
        raise StoreTooNewError(
            f"{path} was written by a newer version of this program "
            f"(format {version}, this one knows {len(schema.MIGRATIONS)}); install that version"
        )
    return version


def _migrate(connection: sqlite3.Connection, version: int, key: PublicKey) -> None:
    with _transaction(connection):
        for migration in schema.MIGRATIONS[version:]:
            migration(connection)
        if version == 0:
            connection.execute("INSERT INTO node (id, public_key) VALUES (1, ?)", (key,))
            connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS)}")


def _sync_directory(directory: Path) -> None:
    """Make the new file's name itself survive a power failure, where the system lets us."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _lock(path: Path) -> FileLock:
    """Keep other processes, and other stores of this one, away from a database."""
    with _sentences(path):
        try:
            return FileLock(path.with_name(path.name + ".lock"), str(os.getpid()))
        except FileHeldError as error:
            holder = f" (process {error.note})" if error.note.isdecimal() else ""
            raise StoreLockedError(
                f"another program{holder} is running on {path}; stop it, or attach to it instead"
            ) from error


# --- transactions and errors --------------------------------------------------------------------


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some errors make SQLite roll back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into an error for people that names the file."""
    try:
        yield
    except StoreCorruptError as error:
        raise StoreCorruptError(_damaged(path, error)) from error
    except sqlite3.Error as error:
        raise _translated(path, error) from error
    except UnicodeDecodeError as error:
        # SQLite quotes damaged names of tables as they are; its wrapper cannot read them.
        raise StoreCorruptError(_damaged(path, "a text in it cannot be read")) from error
    except OSError as error:
        raise StoreError(f"cannot use {path}: {error.strerror or error}") from error


def _damaged(path: Path, why: object) -> str:
    return f"the database {path} is damaged ({why}); keep the file and restore a backup"


def _translated(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFullError(f"the disk of {path} is full: nothing was written; make room there")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreLockedError(f"another program holds {path}; close it and try again")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreCorruptError(_damaged(path, error))
    return StoreError(f"cannot use the database {path}: {error}")
