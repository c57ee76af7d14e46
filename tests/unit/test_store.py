"""What both stores promise, and what the file on disk refuses."""

import dataclasses
import random
import sqlite3
import stat
from collections import Counter
from pathlib import Path

import pytest

from offset_engine.core.events import Touched
from offset_engine.core.friend import Friend, Queue
from offset_engine.core.mutual_credit import Ledger, ReceivedRequest
from offset_engine.core.reports import ForwardRecord
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Incoming, Outgoing, TokenChannel
from offset_engine.core.values import (
    CREDITS_MAX,
    PENDING_STORED_MAX,
    PaymentId,
    PublicKey,
    Uid,
)
from offset_engine.errors import (
    InvariantError,
    StoreCorruptError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreTooNewError,
)
from offset_engine.store import (
    HistoryKind,
    MemoryStore,
    SqliteStore,
    at_rest,
    forget,
    schema,
    snapshot,
    state_of_snapshot,
    touched_between,
)
from offset_engine.store.history import HISTORIES
from offset_engine.store.tables import HISTORY_TABLES, STATE_TABLES
from tests.covers import covers
from tests.property.store_strategies import stored
from tests.unit.store_samples import (
    ANA,
    BEN,
    CAT,
    EUR,
    LOCAL,
    USD,
    ana,
    evidence,
    ledger,
    move_token,
    request,
    rich_records,
    rich_state,
    some,
)

NOTHING = Touched((), (), (), (), settings=False)
VECTORS = Path(__file__).parents[1] / "vectors"


def save_all(store, state, records=()):
    """Save over whatever is there, looking at everything."""
    old = store.load()
    store.save(old, state, touched_between(old, state), records)


def only_friends(*friends):
    return NodeState(LOCAL, friends={friend.public_key: friend for friend in friends})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "card" / "node.db"


@pytest.fixture
def disk(path):
    store = SqliteStore.create(path, LOCAL)
    yield store
    store.close()


@pytest.fixture(params=["memory", "sqlite"])
def store(request):
    return MemoryStore(LOCAL) if request.param == "memory" else request.getfixturevalue("disk")


def edit(path, *statements):
    """Change the file the way other hands would."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


# --- both stores --------------------------------------------------------------------------------


def test_a_new_store_holds_an_empty_state_of_its_owner(store):
    assert stored(store.load()) == stored(NodeState(LOCAL))
    assert all(store.history(kind) == [] for kind in HistoryKind)


def test_one_of_everything_comes_back(store):
    save_all(store, rich_state(), rich_records())
    loaded = store.load()
    assert stored(loaded) == stored(rich_state())
    assert loaded.payers == rich_state().payers


def test_what_was_loaded_shares_nothing_with_what_was_saved(store):
    state = rich_state()
    save_all(store, state)
    state.friends[ANA].channel.ledgers[USD].balance = 1
    state.friends[ANA].own.push(state.friends[ANA].own.items[0])
    state.friends.pop(BEN)
    assert stored(store.load()) == stored(rich_state())


def test_types_come_back_exactly(store):
    save_all(store, rich_state())
    friend = store.load().friends[ANA]
    entries = friend.channel.ledgers[USD].local
    assert [type(entry.origin) for entry in entries.values()] == [PublicKey, PaymentId, type(None)]
    assert {type(key) for key in entries} == {Uid}
    assert type(friend.is_enabled) is bool


def test_liveness_is_forgotten(store):
    state = only_friends(
        dataclasses.replace(ana(), link_id=3, is_online=True, wants_token=True, unreadable_ms=9)
    )
    save_all(store, state)
    assert store.load().friends == {ANA: ana()}


@covers("FIX-43")
def test_a_save_looks_only_at_touched_keys(store):
    save_all(store, rich_state())
    old, new = rich_state(), rich_state()
    for key in (ANA, BEN):
        new.friends[key] = dataclasses.replace(new.friends[key], name="new")
    new.relays = ()
    store.save(old, new, dataclasses.replace(NOTHING, friends=(BEN,)), ())
    loaded = store.load()
    assert [loaded.friends[key].name for key in (ANA, BEN)] == [ana().name, "new"]
    assert loaded.relays == old.relays


def test_everything_can_be_removed(store):
    save_all(store, rich_state(), rich_records())
    save_all(store, NodeState(LOCAL))
    assert stored(store.load()) == stored(NodeState(LOCAL))
    assert len(store.history(HistoryKind.PAYMENTS)) == 2


def test_order_survives_a_change_in_the_middle(store):
    state = rich_state()
    save_all(store, state)
    new = dataclasses.replace(state, friends=state.friends.copy())
    new.friends[ANA] = dataclasses.replace(ana(), name="later")
    store.save(state, new, dataclasses.replace(NOTHING, friends=(ANA,)), ())
    assert list(store.load().friends) == [CAT, ANA, BEN]


def test_the_oldest_closed_invoices_make_room_unnamed(store):
    state = rich_state()
    save_all(store, state)
    new = dataclasses.replace(state, closed_invoices=state.closed_invoices.copy())
    del new.closed_invoices[next(iter(state.closed_invoices))]
    store.save(state, new, NOTHING, ())
    assert store.load().closed_invoices == new.closed_invoices


def test_a_ledger_holds_the_largest_amounts(store):
    held = TokenChannel(
        LOCAL,
        ANA,
        Incoming(evidence("x")),
        {EUR: ledger(CREDITS_MAX), USD: ledger(-CREDITS_MAX)},
        (EUR, USD),
        (EUR, USD),
    )
    state = only_friends(Friend(ANA, "n" * 128, (), held))
    save_all(store, state)
    assert store.load().friends == state.friends


def test_requests_over_the_limit_that_await_their_cancel_are_loaded(store):
    entries = [
        ReceivedRequest(request(f"n{n}", 1, 0, route=()), None, 0)
        for n in range(PENDING_STORED_MAX)
    ]
    held = TokenChannel(
        LOCAL, ANA, Incoming(evidence("x")), {USD: ledger(0, remote=entries)}, (USD,), (USD,)
    )
    state = only_friends(Friend(ANA, "", (), held))
    save_all(store, state)
    assert store.load().friends == state.friends
    extra = ReceivedRequest(request("one more", 1, 0, route=()), None, 0)
    held.ledgers[USD] = ledger(0, remote=[*entries, extra])
    save_all(store, only_friends(Friend(ANA, "", (), held)))
    with pytest.raises(StoreCorruptError, match="more than 768 requests pending"):
        store.load()


def test_history_is_paged_newest_first(store):
    records = [ForwardRecord(USD, ANA, BEN, n, 0, n) for n in range(25)]
    empty = store.load()
    for record in records:
        store.save(empty, empty, NOTHING, (record,))
    first = store.history(HistoryKind.FORWARDS, limit=10)
    assert [entry.record for entry in first] == records[:14:-1]
    second = store.history(HistoryKind.FORWARDS, before=first[-1].number, limit=100)
    assert [entry.record for entry in second] == records[14::-1]
    assert store.history(HistoryKind.FORWARDS, before=second[-1].number) == []
    assert store.history(HistoryKind.FORWARDS, before=0) == []
    assert store.history(HistoryKind.FORWARDS, before=2**70, limit=1)[0].record == records[-1]
    assert store.history(HistoryKind.FORWARDS, limit=-1) == []
    assert store.history(HistoryKind.LOSSES) == []


def test_records_are_found_by_their_id(store):
    records = rich_records()
    store.save(store.load(), store.load(), NOTHING, records)
    paid = store.payment_record(some(PaymentId, "h1"))
    assert paid == records[-1]
    assert paid.receipt is not None
    assert store.invoice_record(records[1].invoice.invoice_id) == records[1]
    assert store.payment_record(some(PaymentId, "unknown")) is None
    assert store.invoice_record(some(PublicKey, "unknown")) is None


def test_a_save_that_starts_from_another_state_is_refused_whole(store):
    save_all(store, rich_state())
    other = rich_state()
    other.friends[BEN].channel = dataclasses.replace(
        other.friends[BEN].channel, ledgers={USD: Ledger()}
    )
    with pytest.raises(InvariantError, match="not in the state before"):
        store.save(
            other, rich_state(), dataclasses.replace(NOTHING, friends=(BEN,)), rich_records()
        )
    assert stored(store.load()) == stored(rich_state())
    assert store.history(HistoryKind.PAYMENTS) == []


def test_a_full_store_changes_nothing_and_recovers(store):
    save_all(store, rich_state())
    old, new = rich_state(), rich_state()
    new.friends[ANA] = dataclasses.replace(ana(), name="x" * 100)
    touched = dataclasses.replace(NOTHING, friends=(ANA,))
    records = rich_records() * 300
    _make_full(store, is_full=True)
    with pytest.raises(StoreFullError, match="nothing was written"):
        store.save(old, new, touched, records)
    assert stored(store.load()) == stored(old)
    assert store.history(HistoryKind.PAYMENTS) == []
    _make_full(store, is_full=False)
    store.save(old, new, touched, records)
    assert store.load().friends == new.friends
    assert len(store.history(HistoryKind.PAYMENTS)) == 600


def _make_full(store, *, is_full):
    if isinstance(store, MemoryStore):
        store.is_full = is_full
        return
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1 if is_full else 2**30}")


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.load()
    with pytest.raises(StoreError, match="closed"):
        store.save(NodeState(LOCAL), rich_state(), NOTHING, rich_records())


FORGOTTEN = {
    "Friend": {"link_id", "is_online", "wants_token", "unreadable_ms"},
    "Intent": {
        *("question", "setback", "is_direct_tried"),
        *("misses", "avoided", "is_bold", "wants_other_server"),
    },
    "NodeState": {"questions", "inquiries", "agenda"},
}
"""What a restart forgets. Any other field must be in `rich_state` with a value of its own."""


def test_the_sample_has_a_value_in_every_field_that_is_stored():
    """So that whoever adds a field to the state notices here, and next that it does not come back."""
    plain, seen = set(), set()
    _walk(rich_state(), plain, seen)
    missing = {
        (kind, name) for kind, name in plain - seen if name not in FORGOTTEN.get(kind, set())
    }
    assert not missing


def _walk(item, plain, seen):
    """Collect fields that have their default, and fields that have another value somewhere."""
    if isinstance(item, dict):
        item = (*item.keys(), *item.values())
    if isinstance(item, (list, tuple)):
        for one in item:
            _walk(one, plain, seen)
    elif isinstance(item, Queue):
        _walk(item.items, plain, seen)
    elif dataclasses.is_dataclass(item):
        for field in dataclasses.fields(item):
            held = getattr(item, field.name)
            factory = field.default_factory
            default = field.default if factory is dataclasses.MISSING else factory()
            which = seen if held != default and field.name != "agenda" else plain
            which.add((type(item).__name__, field.name))
            _walk(held, plain, seen)


# --- memory only --------------------------------------------------------------------------------


def test_a_crash_leaves_the_last_save_to_the_next_store():
    store = MemoryStore(LOCAL)
    save_all(store, rich_state(), rich_records())
    after = store.crash()
    assert stored(after.load()) == stored(rich_state())
    assert len(after.history(HistoryKind.PAYMENTS)) == 2
    with pytest.raises(StoreError, match="closed"):
        store.load()


# --- the file -----------------------------------------------------------------------------------


@covers("RMP-19")
def test_the_file_is_opened_again_with_all_it_held(path, disk):
    save_all(disk, rich_state(), rich_records())
    disk.close()
    again = SqliteStore.open(path, LOCAL)
    assert stored(again.load()) == stored(rich_state())
    assert [entry.record for entry in again.history(HistoryKind.PAYMENTS)] == [
        rich_records()[-1],
        rich_records()[0],
    ]
    again.close()


@pytest.mark.skipif(not hasattr(stat, "S_IRUSR"), reason="modes are a POSIX idea")
def test_only_the_owner_can_read_it(path, disk):
    save_all(disk, rich_state())
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == [
        "node.db",
        "node.db-shm",
        "node.db-wal",
        "node.db.lock",
    ]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    disk.close()
    path.chmod(0o644)
    SqliteStore.open(path, LOCAL).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_as_safe_as_the_system_allows(disk):
    def pragma(name):
        return disk._connection.execute(f"PRAGMA {name}").fetchone()[0]

    assert (pragma("journal_mode"), pragma("synchronous"), pragma("foreign_keys")) == ("wal", 2, 1)


def test_every_row_has_the_columns_of_its_table(disk):
    def columns(name):
        return tuple(row[1] for row in disk._connection.execute(f"PRAGMA table_info({name})"))

    for table in STATE_TABLES:
        assert columns(table.name) == table.columns
    for history in HISTORIES.values():
        assert columns(history.name) == ("number", *history.columns)


def test_a_second_opener_is_refused_and_told_who_holds_it(path, disk):
    with pytest.raises(StoreLockedError, match=r"process \d+.*node\.db"):
        SqliteStore.open(path, LOCAL)
    with pytest.raises(StoreLockedError):
        SqliteStore.create(path, LOCAL)
    disk.close()
    SqliteStore.open(path, LOCAL).close()


def test_another_tool_that_writes_is_reported_not_waited_for_long(path, disk):
    disk._connection.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLockedError, match="another program holds"):
        save_all(disk, rich_state())
    other.execute("ROLLBACK")
    other.close()
    save_all(disk, rich_state())


def test_what_cannot_be_opened_is_explained_and_left_alone(path, disk, tmp_path):
    disk.close()
    with pytest.raises(StoreError, match=r"no database at .*missing"):
        SqliteStore.open(tmp_path / "missing", LOCAL)
    with pytest.raises(StoreError, match="belongs to another identity"):
        SqliteStore.open(path, ANA)
    with pytest.raises(StoreError, match="exists already"):
        SqliteStore.create(path, LOCAL)
    with pytest.raises(StoreError, match="cannot use"):
        SqliteStore.create(path / "below a file", LOCAL)
    text = tmp_path / "notes.txt"
    text.write_text("dear diary\n" * 100)
    with pytest.raises(StoreCorruptError, match=r"notes\.txt is damaged"):
        SqliteStore.open(text, LOCAL)
    assert text.read_text() == "dear diary\n" * 100
    # A refused opener leaves no lock behind.
    SqliteStore.open(path, LOCAL).close()


def test_a_database_of_another_program_is_left_alone(tmp_path):
    other = tmp_path / "other.db"
    edit(other, "CREATE TABLE songs (title TEXT)")
    before = other.read_bytes()
    for opener in (SqliteStore.open, SqliteStore.create):
        with pytest.raises(StoreError, match=r"another program|exists already"):
            opener(other, LOCAL)
    assert other.read_bytes() == before


def test_a_newer_database_is_left_alone(path, disk):
    disk.close()
    newer = len(schema.MIGRATIONS) + 1
    edit(path, f"PRAGMA user_version = {newer}")
    before = path.read_bytes()
    with pytest.raises(StoreTooNewError, match=f"newer version.*format {newer}"):
        SqliteStore.open(path, LOCAL)
    assert path.read_bytes() == before


def test_a_file_cut_to_nothing_is_no_empty_node(path, disk):
    save_all(disk, rich_state())
    disk.close()
    path.write_bytes(b"")
    with pytest.raises(StoreCorruptError, match="cut off"):
        SqliteStore.open(path, LOCAL)
    # An interrupted creation looks the same; creating again completes it.
    SqliteStore.create(path, LOCAL).close()


# --- wrong values -------------------------------------------------------------------------------

TOO_MUCH = str(CREDITS_MAX + 1)
WRONG_VALUES = [
    ("address", "address", "'nowhere'"),
    ("address", "position", "5"),
    ("address", "kind", "'tor'"),
    ("friend", "name", f"'{'x' * 129}'"),
    ("friend", "is_enabled", "2"),
    ("friend", "remote_relays", "x'c1'"),
    ("friend", "relays_sent", "x'9101'"),
    ("friend", "reset_tokens", "x'00'"),
    ("friend", "lost", "x'9192a1200a'"),
    ("channel", "kind", "'asleep'"),
    ("channel", "move_token_counter", "'-1'"),
    ("channel", "active_local", "'USD EUR'"),
    ("channel", "active_local", "'EUR'"),
    ("channel", "last_incoming", "NULL"),
    ("channel", "last_incoming", "x'90'"),
    ("channel", "local_terms", "x'c0'"),
    ("channel", "inconsistency_counter", "-1"),
    ("channel", "backwards_first", "3"),
    ("currency_config", "max_debt", f"'{TOO_MUCH}'"),
    ("currency_config", "rate_mul", "-1"),
    ("currency_config", "is_open", "7"),
    ("ledger", "balance", "'-0'"),
    ("ledger", "balance", "'1.5'"),
    ("ledger", "balance", f"'-{TOO_MUCH}'"),
    ("ledger", "local_pending_debt", "'9'"),
    ("ledger", "remote_pending_debt", "'9'"),
    ("pending", "direction", "'sideways'"),
    ("pending", "request", "x'02'"),
    ("pending", "request", "zeroblob(153)"),
    ("pending", "link_kind", "'nobody'"),
    ("pending", "link", "x'00'"),
    ("pending", "since_ms", "-1"),
    ("pending", "response", "x'01'"),
    ("queued", "number", "number + 1"),
    ("queued", "currency", "''"),
    ("queued", "operation", "x''"),
    ("queued", "queue", "'express'"),
    ("payment", "stage", "'lost'"),
    ("payment", "total_dest_payment", "''"),
    ("payment", "src_plain_lock", "x'00'"),
    ("payment", "receipt", "x'00'"),
    ("payment_transaction", "request", "x'00'"),
    ("payment_transaction", "first_hop", "x'00'"),
    ("intent", "failure", "'bad luck'"),
    ("intent", "body", "x'90'"),
    ("intent", "created_ms", "-5"),
    ("invoice", "invoice", "x'90'"),
    ("invoice", "total_dest_payment", "'7'"),
    ("invoice", "registered", "x'a0'"),
    ("invoice_group", "dest_plain_lock", "x'00'"),
    ("invoice_group", "is_sealed", "5"),
    ("invoice_member", "dest_payment", "'x'"),
    ("invoice_member", "response", "x'01'"),
    ("closed_invoice", "is_paid", "3"),
    ("closed_invoice", "signed_commit", "x'00'"),
]


ROWS = {
    "address": "kind = 'relay'",
    "channel": "kind = 'incoming'",
    "ledger": "currency = 'USD'",
    "currency_config": "currency = 'USD'",
    "queued": "queue = 'own'",
}
"""Which row to spoil; of the other tables the newest."""


@pytest.fixture(scope="module")
def rich_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("rich") / "node.db"
    store = SqliteStore.create(path, LOCAL)
    save_all(store, rich_state(), rich_records())
    store.close()
    return path.read_bytes()


@pytest.mark.parametrize(("table", "column", "wrong"), WRONG_VALUES)
def test_a_wrong_value_is_refused_by_name(tmp_path, rich_file, table, column, wrong):
    path = tmp_path / "node.db"
    path.write_bytes(rich_file)
    last = f"rowid = (SELECT max(rowid) FROM {table})"
    edit(path, f"UPDATE {table} SET {column} = {wrong} WHERE {ROWS.get(table, last)}")
    store = SqliteStore.open(path, LOCAL)
    with pytest.raises(StoreCorruptError, match=r"node\.db is damaged \(table \w+, row \S+"):
        store.load()
    store.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM channel WHERE kind = 'outgoing'", "table friend.*has no channel"),
        ("DELETE FROM friend WHERE name = 'cat'", "table channel.*no such friend"),
        ("DELETE FROM ledger WHERE currency = 'USD'", "table pending.*no such ledger"),
        ("DELETE FROM ledger WHERE currency = 'EUR'", "table channel.*both sides list"),
        ("DELETE FROM pending WHERE link_kind = 'payment'", "table ledger.*not the sums"),
        ("DELETE FROM payment", "table payment_transaction.*no such payment"),
        ("DELETE FROM invoice", "table invoice_group.*no such invoice"),
        ("DELETE FROM invoice_group", "table invoice_member.*no such group"),
        ("DELETE FROM queued WHERE number = 7", "table queued.*gap"),
        ("DELETE FROM node", "table node.*does not say who"),
        ("DROP TABLE ledger", "no such table: ledger"),
    ],
)
def test_a_missing_row_is_refused_by_name(tmp_path, rich_file, statement, words):
    path = tmp_path / "node.db"
    path.write_bytes(rich_file)
    edit(path, "PRAGMA foreign_keys = OFF", statement)
    with pytest.raises(StoreError, match=words):
        SqliteStore.open(path, LOCAL).load()


def test_a_wrong_value_in_history_is_refused_by_name(path, disk):
    save_all(disk, rich_state(), rich_records())
    disk.close()
    edit(path, "UPDATE history_payment SET stage = 'won'", "UPDATE history_loss SET friend = x''")
    again = SqliteStore.open(path, LOCAL)
    with pytest.raises(StoreCorruptError, match="table history_payment, row 2"):
        again.history(HistoryKind.PAYMENTS)
    with pytest.raises(StoreCorruptError, match="table history_loss, row 1"):
        again.history(HistoryKind.LOSSES)
    assert len(again.history(HistoryKind.RESETS)) == 1
    again.close()


def test_a_wrong_type_cannot_even_be_written(path, disk):
    disk.close()
    for wrong in ("'text'", "5"):
        with pytest.raises(sqlite3.IntegrityError):
            edit(path, f"INSERT INTO closed_invoice VALUES ({wrong}, 1, NULL)")


def test_a_damaged_file_gives_an_error_or_the_saved_state_never_anything_else(tmp_path, rich_file):
    chance = random.Random(7)
    outcomes = Counter()
    for _ in range(150):
        raw = bytearray(rich_file)
        for _ in range(chance.choice((1, 3, 40))):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        path = tmp_path / "node.db"
        path.write_bytes(raw[: chance.choice((len(raw), chance.randrange(len(raw))))])
        outcomes[_open_and_load(path)] += 1
    assert set(outcomes) == {"", "refused", "damaged"}


def _open_and_load(path):
    try:
        store = SqliteStore.open(path, LOCAL)
    except StoreError as error:
        return "refused" if "node.db" in str(error) else str(error)
    try:
        store.load()
    except StoreError as error:
        return "damaged" if "node.db" in str(error) else str(error)
    finally:
        store.close()
    return ""


# --- versions -----------------------------------------------------------------------------------


def make_version(path, version):
    script = (VECTORS / f"store_v{version}.sql").read_text()
    if sqlite3.sqlite_version_info < schema.STRICT_SINCE:
        script = schema.without_strict(script)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def state_of_version(version):
    """What the database of that version holds: later fields have their defaults."""
    state = rich_state()
    if version < 2:
        for friend in state.friends.values():
            friend.imported = ()
    if version < 3:
        state.penalties = {}
        state.intents = {key: it for key, it in state.intents.items() if it.cycle is None}
    return state


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS) + 1))
def test_a_database_of_every_version_is_still_read(tmp_path, version):
    path = tmp_path / "old.db"
    make_version(path, version)
    store = SqliteStore.open(path, LOCAL)
    assert stored(store.load()) == stored(state_of_version(version))
    assert store.payment_record(some(PaymentId, "h1")) == rich_records()[-1]
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(schema.MIGRATIONS)
    connection.close()


def test_an_old_database_of_another_identity_is_refused_as_it_is(tmp_path):
    path = tmp_path / "old.db"
    make_version(path, 1)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another identity"):
        SqliteStore.open(path, ANA)
    assert path.read_bytes() == before
    with pytest.raises(StoreError, match="another identity"):
        state_of_snapshot(before, ANA)
    assert state_of_snapshot(before, LOCAL).friends


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS) + 1))
@pytest.mark.parametrize("strict_since", [schema.STRICT_SINCE, (99, 0, 0)])
def test_a_copy_of_every_version_of_any_sqlite_is_known(
    tmp_path, monkeypatch, version, strict_since
):
    path = tmp_path / "node.db"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STRICT_SINCE", strict_since)
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        SqliteStore.create(path, LOCAL).close()
    edit(path, "ANALYZE")
    assert state_of_snapshot(snapshot(path), LOCAL).local_public_key == LOCAL


@pytest.mark.parametrize(
    ("statements", "name"),
    [
        (["CREATE TRIGGER never AFTER INSERT ON friend BEGIN DELETE FROM friend; END"], "never"),
        (["CREATE TABLE other (x)"], "other"),
        (["CREATE INDEX slow ON friend(hex(name))"], "slow"),
        (["DROP INDEX history_invoice_id"], "history_invoice_id"),
        (["ALTER TABLE intent ADD COLUMN x TEXT GENERATED ALWAYS AS (hex(body))"], "intent"),
        (
            [
                "DROP TABLE closed_invoice",
                (
                    "CREATE VIEW closed_invoice AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT 1 FROM r)"
                    " SELECT x'00' AS invoice_id, 0 AS is_paid, NULL AS signed_commit FROM r"
                ),
            ],
            "closed_invoice",
        ),
    ],
)
def test_a_copy_with_anything_else_in_it_is_refused_before_that_is_read(
    path, disk, statements, name
):
    disk.close()
    edit(path, *statements)
    with pytest.raises(StoreError, match=f"does not make: '.*{name}.*'"):
        state_of_snapshot(snapshot(path), LOCAL)


# --- at rest ------------------------------------------------------------------------------------


def test_a_database_at_rest_is_whole_in_its_file_and_nobody_starts_on_it(path, disk):
    save_all(disk, rich_state())
    with pytest.raises(StoreLockedError, match="running on"), at_rest(path):
        pass
    disk.close()
    edit(path, "PRAGMA journal_mode = WAL", "CREATE TABLE left_over (x)")
    with at_rest(path) as content:
        assert content == path.read_bytes()
        assert not path.with_name("node.db-wal").exists()
        with pytest.raises(StoreLockedError):
            SqliteStore.open(path, LOCAL)
    reader = sqlite3.connect(path)
    reader.execute("PRAGMA journal_mode = WAL")
    reader.execute("SELECT * FROM node").fetchall()
    with pytest.raises(StoreLockedError, match="another program"), at_rest(path):
        pass
    reader.close()
    store = SqliteStore.open(path, LOCAL)
    assert stored(store.load()) == stored(rich_state())
    store.close()
    forget(path)
    assert [one.name for one in path.parent.iterdir()] == ["node.db.lock"]
    forget(path)


def test_a_migration_and_its_number_are_one(tmp_path, monkeypatch):
    path = tmp_path / "old.db"
    make_version(path, len(schema.MIGRATIONS))

    def broken(connection):
        connection.execute("CREATE TABLE note (text TEXT NOT NULL)")
        connection.execute("CREATE TABLE note (text TEXT NOT NULL)")

    def sound(connection):
        schema.run_script(connection, "CREATE TABLE note (\n    text TEXT NOT NULL\n) STRICT;\n")

    migrations = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*migrations, broken))
    with pytest.raises(StoreError, match="note already exists"):
        SqliteStore.open(path, LOCAL)
    monkeypatch.setattr(schema, "MIGRATIONS", (*migrations, sound))
    store = SqliteStore.open(path, LOCAL)
    assert store._connection.execute("SELECT count(*) FROM note").fetchone() == (0,)
    assert stored(store.load()) == stored(rich_state())
    store.close()
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    with pytest.raises(StoreTooNewError):
        SqliteStore.open(path, LOCAL)


def test_old_sqlite_checks_types_without_strict(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "STRICT_SINCE", (99, 0, 0))
    path = tmp_path / "node.db"
    store = SqliteStore.create(path, LOCAL)
    save_all(store, rich_state(), rich_records())
    assert stored(store.load()) == stored(rich_state())
    store.close()
    with sqlite3.connect(path) as connection:
        (declared,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE name = 'closed_invoice'"
        ).fetchone()
    connection.close()
    assert "STRICT" not in declared
    for wrong in ("('text', 1, NULL)", "(x'00', 'text', NULL)", "(x'00', 1, 'text')"):
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            edit(path, f"INSERT INTO closed_invoice VALUES {wrong}")


# --- size ---------------------------------------------------------------------------------------


@covers("NOD-21")
def test_a_friend_with_one_currency_takes_at_most_2_kib(disk):
    friends = [quiet_friend(n) for n in range(200)]
    before = _live_bytes(disk)
    save_all(disk, only_friends(*friends))
    assert (_live_bytes(disk) - before) / 200 <= 2048


def quiet_friend(number):
    """As it is between payments: settled, the last token was a short one."""
    key = some(PublicKey, number)
    token = dataclasses.replace(move_token(), currencies_operations=())
    channel = TokenChannel(
        LOCAL,
        key,
        Outgoing(token, evidence(number), token_wanted=False),
        {USD: ledger(-123_456_789)},
        (USD,),
        (USD,),
        move_token_counter=10_000,
    )
    model = ana()
    return Friend(
        key,
        "a name of usual length",
        model.remote_relays,
        channel,
        relays_sent=model.relays_sent,
        configs={USD: model.configs[USD]},
    )


def test_history_takes_at_most_1_kib_a_payment(disk):
    kinds = rich_records()
    for record in (kinds[1], kinds[2], kinds[-1]):
        before = _all_bytes(disk)
        empty = disk.load()
        disk.save(empty, empty, NOTHING, [record] * 500)
        assert (_all_bytes(disk) - before) / 500 <= 1024


def _all_bytes(store):
    return _pragma(store, "page_count") * _pragma(store, "page_size")


def _live_bytes(store):
    assert not any(
        store._connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        for name in HISTORY_TABLES
    )
    return _all_bytes(store)


def _pragma(store, name):
    return store._connection.execute(f"PRAGMA {name}").fetchone()[0]
