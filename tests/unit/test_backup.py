"""Backups: what is in them, what restoring makes of them, and what it refuses."""

import contextlib
import json
import sqlite3
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from offset_engine.cards import (
    BackupInfo,
    CardBusyError,
    CardError,
    CardKind,
    CardSettings,
    CardState,
    CardStore,
    Cost,
    FriendSum,
    Passphrase,
    PassphraseError,
    PassphraseNeededError,
    backup,
    is_backup,
    read_backup,
)
from offset_engine.core.crypto import public_key_of
from offset_engine.core.state import NodeState
from offset_engine.core.values import Currency, PrivateKey, PublicKey
from offset_engine.errors import FileError, OffsetError, StoreError
from offset_engine.files import Permissions, RemoteCard
from offset_engine.sealed import Purpose, seal, unseal
from offset_engine.store import SqliteStore, snapshot, state_of_snapshot, touched_between
from tests.covers import covers
from tests.unit.store_samples import rich_state

WORD = Passphrase.of("backup word")
CARD_WORD = Passphrase.of("card word")
QUICK = Cost(1, 8)
DAY_MS = 86_400_000


@pytest.fixture
def store(tmp_path: Path) -> CardStore:
    return CardStore(tmp_path / "here", cost=QUICK)


@pytest.fixture
def elsewhere(tmp_path: Path) -> CardStore:
    return CardStore(tmp_path / "there", cost=QUICK)


def live_in(store: CardStore, name: str, word: Passphrase | None = None) -> NodeState:
    """Give a card friends, payments and invoices; returns its state."""
    with store.open(name, word) as card:
        old = card.store.load()
        new = replace(rich_state(), local_public_key=old.local_public_key)
        card.store.save(old, new, touched_between(old, new), ())
        return card.store.load()


@covers("RMP-37")
def test_a_backup_holds_the_whole_card(
    store: CardStore, elsewhere: CardStore, tmp_path: Path
) -> None:
    card = store.create("Alice")
    state = live_in(store, "alice")
    settings = CardSettings(app_address="203.0.113.5:9876").with_currency(Currency("FST"), 3)
    store.save_settings("alice", settings)
    app = store.new_app("alice", "phone", Permissions(buyer=True))
    (card.directory / "notebook.json").write_text("notes")
    out = tmp_path / "alice.backup"
    info = store.backup("alice", out, WORD)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert is_backup(out)
    assert read_backup(out, WORD) == info
    assert (info.name, info.kind, info.public_key) == ("Alice", CardKind.LOCAL, card.public_key)
    assert len(info.friends) == len(state.friends)
    assert store.settings("alice")[0].backed_up_ms is not None

    elsewhere.restore(out, WORD)
    again = elsewhere.card("alice")
    assert (again.public_key, again.created_ms) == (card.public_key, card.created_ms)
    assert again.state is CardState.OFF
    assert (again.directory / "notebook.json").read_text() == "notes"
    assert replace(elsewhere.settings("alice")[0], backed_up_ms=None) == settings
    (kept,) = elsewhere.apps("alice")
    assert (kept.name, kept.public_key) == ("phone", public_key_of(app.app_private_key))
    with elsewhere.open("alice") as opened:
        restored = opened.store.load()
    assert all(friend.is_quarantined for friend in restored.friends.values())
    assert {
        key: replace(one.fork(), is_quarantined=True) for key, one in state.friends.items()
    } == {key: one.fork() for key, one in restored.friends.items()}
    assert restored.invoices == state.invoices


@covers("RMP-37")
def test_a_card_that_runs_is_backed_up_as_it_is(store: CardStore, tmp_path: Path) -> None:
    store.create("alice")
    with store.open("alice") as card:
        old = card.store.load()
        new = replace(rich_state(), local_public_key=old.local_public_key)
        card.store.save(old, new, touched_between(old, new), ())
        info = store.backup("alice", tmp_path / "out", WORD)
        assert info.open_invoices == len(new.invoices)
        card.store.save(new, old, touched_between(new, old), ())
    assert len(read_backup(tmp_path / "out", WORD).friends) == len(new.friends)


@covers("RMP-21", "RMP-37")
def test_a_protected_card_is_backed_up_on_or_off_and_restored_protected(
    store: CardStore, elsewhere: CardStore, tmp_path: Path
) -> None:
    store.create("alice", CARD_WORD)
    live_in(store, "alice", CARD_WORD)
    with pytest.raises(PassphraseNeededError):
        store.backup("alice", tmp_path / "out", WORD)
    with pytest.raises(PassphraseError):
        store.backup("alice", tmp_path / "out", WORD, WORD)
    assert not (tmp_path / "out").exists()
    off = store.backup("alice", tmp_path / "out", WORD, CARD_WORD)
    with store.open("alice", CARD_WORD):
        on = store.backup("alice", tmp_path / "on", WORD, CARD_WORD)
    assert replace(on, taken_ms=0, settings=off.settings) == replace(off, taken_ms=0)
    elsewhere.restore(tmp_path / "out", WORD)
    card = elsewhere.card("alice")
    assert card.is_protected
    assert not (card.directory / "node.db").exists()
    elsewhere.open("alice", WORD).close()
    elsewhere.restore(
        tmp_path / "out", WORD, force=True, protect_with=Passphrase.of("a third word")
    )
    elsewhere.open("alice", Passphrase.of("a third word")).close()


def test_a_remote_card_is_backed_up_too(
    store: CardStore, elsewhere: CardStore, tmp_path: Path
) -> None:
    node = public_key_of(PrivateKey(bytes([5]) * 32))
    remote = RemoteCard(node, "203.0.113.5:9876", PrivateKey(bytes([6]) * 32))
    card = store.add_remote("phone", remote)
    info = store.backup("phone", tmp_path / "out", WORD)
    assert "out of date" in info.warning(0)
    elsewhere.restore(tmp_path / "out", WORD)
    assert replace(elsewhere.card("phone"), directory=card.directory) == card


# --- what restoring refuses ---------------------------------------------------------------------


@covers("RMP-37")
def test_a_card_that_is_there_is_never_replaced_without_force(
    store: CardStore, tmp_path: Path
) -> None:
    first = store.create("alice")
    store.backup("alice", tmp_path / "out", WORD)
    store.rename("alice", "other")
    with pytest.raises(CardError, match="the card other has this name or this key already"):
        store.restore(tmp_path / "out", WORD)
    with store.open("other"), pytest.raises(CardBusyError):
        store.restore(tmp_path / "out", WORD, force=True)
    assert store.cards() == (replace(first, name="other"),)
    store.restore(tmp_path / "out", WORD, force=True, name="third")
    (card,) = store.cards()
    assert (card.name, card.public_key) == ("third", first.public_key)
    (put_away,) = (store.directory / "trash").iterdir()
    assert (put_away / "node.db").exists()


def test_a_file_that_is_there_is_not_replaced_by_a_backup(store: CardStore, tmp_path: Path) -> None:
    store.create("alice")
    (tmp_path / "out").write_text("precious")
    with pytest.raises(FileError, match="--force"):
        store.backup("alice", tmp_path / "out", WORD)
    assert (tmp_path / "out").read_text() == "precious"
    assert store.settings("alice")[0].backed_up_ms is None
    store.backup("alice", tmp_path / "out", WORD, force=True)
    assert is_backup(tmp_path / "out")


def rewritten(raw: bytes, **changes: object) -> bytes:
    """A backup with other fields, as a newer or hostile program would seal it."""
    inner = unseal(raw, WORD, Purpose.BACKUP)
    size = int.from_bytes(inner[:4], "big")
    fields = {**json.loads(inner[4 : 4 + size]), **changes}
    database = fields.pop("database", inner[4 + size :])
    text = json.dumps(fields).encode()
    return seal(len(text).to_bytes(4, "big") + text + database, WORD, Purpose.BACKUP, QUICK)


def newer_database(path: Path) -> bytes:
    key = public_key_of(PrivateKey(bytes([9]) * 32))
    SqliteStore.create(path, key).close()
    content = bytearray(snapshot(path))
    content[60:64] = (99).to_bytes(4, "big")
    return bytes(content)


@covers("RMP-37")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "newer version"),
        ({"database": b""}, "empty|damaged|not a database"),
        ({"database": b"junk" * 1000}, "damaged"),
        ({"kind": "other"}, '"local" or "remote"'),
        ({"privateKey": "AA"}, "32 bytes"),
        ({"privateKey": "A" * 43}, "another key than it says"),
        ({"name": "\n"}, "name"),
        ({"takenMs": 2**63 - 1}, "takenMs"),
        ({"settings": {}}, "settings"),
        ({"friends": [{"name": "x"}]}, "friends"),
        ({"apps": [{"name": "x", "ticket": "y"}]}, "not one of our files"),
    ],
)
def test_a_backup_that_makes_no_sense_makes_no_card(
    store: CardStore,
    elsewhere: CardStore,
    tmp_path: Path,
    changes: dict[str, object],
    sentence: str,
) -> None:
    store.create("alice")
    out = tmp_path / "out"
    store.backup("alice", out, WORD)
    out.write_bytes(rewritten(out.read_bytes(), **changes))
    with pytest.raises(OffsetError, match=sentence):
        elsewhere.restore(out, WORD)
    assert elsewhere.cards() == ()
    assert [*elsewhere.directory.glob("cards/*"), *elsewhere.directory.glob("cards/.*")] == []


def test_a_database_of_a_newer_version_is_refused(
    store: CardStore, elsewhere: CardStore, tmp_path: Path
) -> None:
    store.create("alice")
    out = tmp_path / "out"
    store.backup("alice", out, WORD)
    database = newer_database(tmp_path / "newer.db")
    out.write_bytes(rewritten(out.read_bytes(), database=database))
    with pytest.raises(StoreError, match="newer version"):
        elsewhere.restore(out, WORD)


def test_what_is_no_backup_is_said_with_its_path(store: CardStore, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("hello")
    for path, sentence in (
        (tmp_path / "note", "this is not a backup of a card"),
        (tmp_path / "missing", "cannot read"),
        (tmp_path, "cannot read"),
        (Path("\0"), "not a name"),
    ):
        with pytest.raises(FileError, match=sentence):
            store.restore(path, WORD)
        assert not is_backup(path) if "\0" not in str(path) else True


# --- copies of the database ---------------------------------------------------------------------


def test_a_copy_is_consistent_and_never_makes_a_file(tmp_path: Path) -> None:
    key = public_key_of(PrivateKey(bytes([9]) * 32))
    with pytest.raises(StoreError, match="there is no database"):
        snapshot(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()
    store = SqliteStore.create(tmp_path / "node.db", key)
    old = store.load()
    new = replace(rich_state(), local_public_key=key)
    store.save(old, new, touched_between(old, new), ())
    copied = state_of_snapshot(snapshot(tmp_path / "node.db"), key)
    assert replace(copied, agenda=old.agenda) == replace(store.load(), agenda=old.agenda)
    store.close()
    with pytest.raises(StoreError, match="another identity"):
        state_of_snapshot(snapshot(tmp_path / "node.db"), PublicKey(bytes(32)))


# --- the warning --------------------------------------------------------------------------------


@covers("RMP-37")
def test_the_warning_names_date_friends_and_sums_and_nothing_in_it_acts() -> None:
    friends = (
        FriendSum(
            "Bob\x1b[2J",
            PublicKey(bytes(32)),
            is_consistent=True,
            balances=((Currency("OUSD"), 1250), (Currency("YEN"), -3), (Currency("EUR"), 0)),
        ),
        FriendSum("Carl", PublicKey(bytes(32)), is_consistent=False, balances=()),
    )
    info = BackupInfo(
        "alice",
        CardKind.LOCAL,
        PublicKey(bytes(32)),
        1_700_000_000_000,
        is_protected=False,
        friends=friends,
        open_payments=1,
        open_invoices=2,
        settings=CardSettings().with_currency(Currency("YEN"), 0),
    )
    text = info.warning(1_700_000_000_000 + 3 * DAY_MS + 1)
    for said in (
        "made on 2023-11-14 22:13 UTC, 3 days ago",
        "It knows 2 friends",
        "owes you 12.50",
        'you owe 3 credits "YEN"',
        "nothing owed in",
        '"Carl": no currency; you disagreed already',
        "1 payment, 2 invoices",
        "two copies of one card",
    ):
        assert said in text
    assert "\x1b" not in text
    assert "the future" in info.warning(0)


def test_a_ruined_notebook_stops_no_backup(store: CardStore, tmp_path: Path) -> None:
    card = store.create("alice")
    (card.directory / "notebook.json").write_bytes(b"\xff\xfe")
    store.backup("alice", tmp_path / "out", WORD)
    assert backup.load(tmp_path / "out", WORD).notebook == ""


@covers("RMP-37")
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER UPDATE ON friend BEGIN DELETE FROM friend; END",
        "CREATE VIEW v AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT * FROM r",
    ],
)
def test_a_backup_whose_database_would_run_something_is_refused(
    store: CardStore, elsewhere: CardStore, tmp_path: Path, statement: str
) -> None:
    store.create("alice")
    out, path = tmp_path / "out", tmp_path / "node.db"
    store.backup("alice", out, WORD)
    path.write_bytes(backup.load(out, WORD).database)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    out.write_bytes(rewritten(out.read_bytes(), database=path.read_bytes()))
    with pytest.raises(StoreError, match="this program does not make"):
        elsewhere.restore(out, WORD)
    assert elsewhere.cards() == ()


def test_too_little_memory_for_a_backup_is_a_sentence(
    store: CardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("alice")
    store.backup("alice", tmp_path / "out", WORD)

    def refuse(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(backup, "unseal", refuse)
    with pytest.raises(FileError, match="out: there is not enough memory"):
        read_backup(tmp_path / "out", WORD)
