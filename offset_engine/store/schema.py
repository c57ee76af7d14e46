"""How the tables of each version are declared, and how one version becomes the next.

A migration is a numbered function: number n brings a database of version n-1 to version n. All that a
database lacks run in one transaction together with the new number, so a crash leaves the old version.
Migrations of released versions are never edited; `tests/vectors` keeps a database of every version.
"""

import contextlib
import re
import sqlite3
from collections.abc import Callable
from typing import Final, TypeAlias

APPLICATION_ID: Final = 0x4F464653
"""`OFFS`: marks the file as ours."""
STRICT_SINCE: Final = (3, 37, 0)
"""SQLite before this has no STRICT tables; there a check of each column does the same."""

_SPACE: Final = re.compile(r"\s+")
_STATISTICS: Final = frozenset(
    ("table", name, name, f"CREATE TABLE {name}({columns})")
    for name, columns in (
        ("sqlite_stat1", "tbl,idx,stat"),
        ("sqlite_stat4", "tbl,idx,neq,nlt,ndlt,sample"),
    )
)

Migration: TypeAlias = Callable[[sqlite3.Connection], None]
_Declaration: TypeAlias = tuple[str, str, str, str]
"""Kind, name, table, statement."""

_COLUMN: Final = re.compile(
    r"^    ([a-z_]+) (BLOB|TEXT|INTEGER)( NOT NULL)?(?=[ ,\n])", re.MULTILINE
)
_ENDING: Final = re.compile(r",? ?STRICT;$", re.MULTILINE)

_VERSION_1: Final = """
CREATE TABLE node (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    public_key BLOB NOT NULL
) STRICT;
CREATE TABLE address (
    kind TEXT NOT NULL,
    position INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    address TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (kind, position)
) WITHOUT ROWID, STRICT;
CREATE TABLE friend (
    public_key BLOB NOT NULL,
    name TEXT NOT NULL,
    is_enabled INTEGER NOT NULL,
    is_quarantined INTEGER NOT NULL,
    remote_relays BLOB NOT NULL,
    relays_sent BLOB,
    reset_tokens BLOB NOT NULL,
    lost BLOB NOT NULL,
    PRIMARY KEY (public_key)
) STRICT;
CREATE TABLE channel (
    friend BLOB NOT NULL REFERENCES friend(public_key),
    kind TEXT NOT NULL,
    inconsistency_counter INTEGER NOT NULL,
    move_token_counter TEXT,
    active_local TEXT,
    active_remote TEXT,
    move_token BLOB,
    last_incoming BLOB,
    local_terms BLOB,
    remote_terms BLOB,
    backwards_first INTEGER NOT NULL,
    forwarded_first INTEGER NOT NULL,
    own_first INTEGER NOT NULL,
    PRIMARY KEY (friend)
) STRICT;
CREATE TABLE currency_config (
    friend BLOB NOT NULL REFERENCES friend(public_key),
    currency TEXT NOT NULL,
    max_debt TEXT NOT NULL,
    rate_mul INTEGER NOT NULL,
    rate_add INTEGER NOT NULL,
    is_open INTEGER NOT NULL,
    is_removing INTEGER NOT NULL,
    PRIMARY KEY (friend, currency)
) WITHOUT ROWID, STRICT;
CREATE TABLE ledger (
    friend BLOB NOT NULL REFERENCES friend(public_key),
    currency TEXT NOT NULL,
    balance TEXT NOT NULL,
    local_pending_debt TEXT NOT NULL,
    remote_pending_debt TEXT NOT NULL,
    PRIMARY KEY (friend, currency)
) WITHOUT ROWID, STRICT;
CREATE TABLE pending (
    friend BLOB NOT NULL,
    currency TEXT NOT NULL,
    direction TEXT NOT NULL,
    request_id BLOB NOT NULL,
    request BLOB NOT NULL,
    link_kind TEXT NOT NULL,
    link BLOB,
    since_ms INTEGER NOT NULL,
    response BLOB,
    PRIMARY KEY (friend, currency, direction, request_id),
    FOREIGN KEY (friend, currency) REFERENCES ledger(friend, currency)
) STRICT;
CREATE TABLE queued (
    friend BLOB NOT NULL REFERENCES friend(public_key),
    queue TEXT NOT NULL,
    number INTEGER NOT NULL,
    currency TEXT NOT NULL,
    operation BLOB NOT NULL,
    link_kind TEXT,
    link BLOB,
    PRIMARY KEY (friend, queue, number)
) WITHOUT ROWID, STRICT;
CREATE TABLE payment (
    payment_id BLOB NOT NULL,
    invoice_id BLOB NOT NULL,
    currency TEXT NOT NULL,
    total_dest_payment TEXT NOT NULL,
    dest_public_key BLOB NOT NULL,
    src_plain_lock BLOB NOT NULL,
    stage TEXT NOT NULL,
    is_withheld INTEGER NOT NULL,
    ack_uid BLOB,
    signed_commit BLOB,
    receipt BLOB,
    PRIMARY KEY (payment_id)
) STRICT;
CREATE TABLE payment_transaction (
    payment_id BLOB NOT NULL REFERENCES payment(payment_id),
    request_id BLOB NOT NULL,
    first_hop BLOB NOT NULL,
    request BLOB NOT NULL,
    response BLOB,
    PRIMARY KEY (payment_id, request_id)
) STRICT;
CREATE TABLE intent (
    intent_id BLOB NOT NULL,
    stage TEXT NOT NULL,
    failure TEXT,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    body BLOB NOT NULL,
    PRIMARY KEY (intent_id)
) STRICT;
CREATE TABLE invoice (
    invoice_id BLOB NOT NULL,
    currency TEXT NOT NULL,
    total_dest_payment TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    invoice BLOB NOT NULL,
    registered BLOB,
    PRIMARY KEY (invoice_id)
) STRICT;
CREATE TABLE invoice_group (
    invoice_id BLOB NOT NULL REFERENCES invoice(invoice_id),
    src_hashed_lock BLOB NOT NULL,
    dest_plain_lock BLOB NOT NULL,
    is_sealed INTEGER NOT NULL,
    PRIMARY KEY (invoice_id, src_hashed_lock)
) STRICT;
CREATE TABLE invoice_member (
    invoice_id BLOB NOT NULL,
    src_hashed_lock BLOB NOT NULL,
    friend BLOB NOT NULL,
    request_id BLOB NOT NULL,
    dest_payment TEXT NOT NULL,
    left_fees TEXT NOT NULL,
    response BLOB NOT NULL,
    PRIMARY KEY (invoice_id, src_hashed_lock, friend, request_id),
    FOREIGN KEY (invoice_id, src_hashed_lock)
        REFERENCES invoice_group(invoice_id, src_hashed_lock)
) STRICT;
CREATE TABLE closed_invoice (
    invoice_id BLOB NOT NULL,
    is_paid INTEGER NOT NULL,
    signed_commit BLOB,
    PRIMARY KEY (invoice_id)
) STRICT;
CREATE TABLE history_payment (
    number INTEGER PRIMARY KEY,
    payment_id BLOB NOT NULL,
    currency TEXT NOT NULL,
    amount TEXT NOT NULL,
    fee TEXT NOT NULL,
    stage TEXT NOT NULL,
    failure TEXT,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    invoice BLOB NOT NULL,
    receipt BLOB
) STRICT;
CREATE TABLE history_invoice (
    number INTEGER PRIMARY KEY,
    invoice_id BLOB NOT NULL,
    currency TEXT NOT NULL,
    amount TEXT NOT NULL,
    received TEXT NOT NULL,
    is_paid INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    invoice BLOB NOT NULL,
    signed_commit BLOB
) STRICT;
CREATE TABLE history_forward (
    number INTEGER PRIMARY KEY,
    currency TEXT NOT NULL,
    src BLOB NOT NULL,
    dest BLOB NOT NULL,
    amount TEXT NOT NULL,
    fee TEXT NOT NULL,
    ended_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE history_loss (
    number INTEGER PRIMARY KEY,
    friend BLOB NOT NULL,
    currency TEXT NOT NULL,
    amount TEXT NOT NULL,
    ended_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE history_reset (
    number INTEGER PRIMARY KEY,
    friend BLOB NOT NULL,
    balances BLOB NOT NULL,
    ended_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX history_payment_id ON history_payment(payment_id);
CREATE INDEX history_invoice_id ON history_invoice(invoice_id);
"""


def run_script(connection: sqlite3.Connection, script: str) -> None:
    """Run statements that each end with `;` at the end of a line, inside the caller's transaction.

    Columns of STRICT tables are declared one on a line, indented by four spaces.
    """
    if not _knows_strict(connection):
        script = without_strict(script)
    for statement in script.strip().removesuffix(";").split(";\n"):
        connection.execute(statement)


class _OldConnection(sqlite3.Connection):
    """Gets the tables that an SQLite without STRICT would get."""


def _knows_strict(connection: sqlite3.Connection) -> bool:
    return sqlite3.sqlite_version_info >= STRICT_SINCE and type(connection) is not _OldConnection


def without_strict(script: str) -> str:
    """The same tables for an SQLite that does not know STRICT: a check on every column."""
    return _ENDING.sub(";", _COLUMN.sub(_checked, script))


def _checked(column: re.Match[str]) -> str:
    name, kind, not_null = column.groups()
    # `INTEGER PRIMARY KEY` may be given as NULL: SQLite then chooses the number.
    kinds = f"'{kind.lower()}'" if not_null else f"'{kind.lower()}', 'null'"
    return f"{column.group()} CHECK (typeof({name}) IN ({kinds}))"


def _create_version_1(connection: sqlite3.Connection) -> None:
    run_script(connection, _VERSION_1)


def _remember_imported_relays(connection: sqlite3.Connection) -> None:
    """Version 2: which relays of a friend a person gave, so that a restart does not forget it."""
    check = "" if _knows_strict(connection) else _IMPORTED_CHECK
    connection.execute(f"ALTER TABLE friend ADD COLUMN imported BLOB{check}")


_IMPORTED_CHECK: Final = " CHECK (typeof(imported) IN ('blob', 'null'))"


def _remember_failures_and_cycles(connection: sqlite3.Connection) -> None:
    """Version 3: hops where payments failed lately, and wishes to move credit along a cycle."""
    check = "" if _knows_strict(connection) else _CYCLE_CHECK
    connection.execute(f"ALTER TABLE intent ADD COLUMN cycle BLOB{check}")
    run_script(connection, _PENALTY)


_CYCLE_CHECK: Final = " CHECK (typeof(cycle) IN ('blob', 'null'))"
_PENALTY: Final = """
CREATE TABLE penalty (
    currency TEXT NOT NULL,
    src BLOB NOT NULL,
    dest BLOB NOT NULL,
    points INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    least TEXT NOT NULL,
    PRIMARY KEY (currency, src, dest)
) WITHOUT ROWID, STRICT;
"""


MIGRATIONS: tuple[Migration, ...] = (
    _create_version_1,
    _remember_imported_relays,
    _remember_failures_and_cycles,
)
"""Number n at place n-1; the last one's number is the version of this program."""


def stranger_in(connection: sqlite3.Connection, version: int) -> str:
    """The name of something in a database that its version does not have, or lacks; "" if it is as it should be.

    Reading a table somebody else declared may run what they wrote: a view may never end.
    """
    found = _declared(connection)
    differences = [
        found.symmetric_difference(_declared_by(version, kind))
        for kind in (sqlite3.Connection, _OldConnection)
    ]
    if any(not one for one in differences):
        return ""
    fewest = sorted(differences, key=len)[0]
    return min(fewest)[1]


def _declared_by(version: int, kind: type[sqlite3.Connection]) -> frozenset[_Declaration]:
    """What a new database of a version declares."""
    with contextlib.closing(
        sqlite3.connect(":memory:", isolation_level=None, factory=kind)
    ) as connection:
        for migration in MIGRATIONS[:version]:
            migration(connection)
        return _declared(connection)


def _declared(connection: sqlite3.Connection) -> frozenset[_Declaration]:
    """Everything a database declares; what ANALYZE leaves does not count."""
    columns = ("type", "name", "tbl_name", "sql")
    texts = ", ".join(f"CAST(coalesce({column}, '') AS TEXT)" for column in columns)
    rows = connection.execute(f"SELECT {texts} FROM sqlite_master")  # noqa: S608 - constants
    found = frozenset((kind, name, table, _SPACE.sub(" ", sql)) for kind, name, table, sql in rows)
    return found - _STATISTICS
