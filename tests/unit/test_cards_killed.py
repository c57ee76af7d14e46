"""What a card is like wherever a process was killed, and while others look into its database."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from offset_engine.cards import (
    CardError,
    CardSettings,
    CardState,
    CardStore,
    Cost,
    Passphrase,
    PassphraseError,
    PassphraseNeededError,
    backup,
    card_store,
    folder,
    sealing,
    shelf,
)
from offset_engine.errors import FileError, StoreError, StoreLockedError, StoreTooNewError
from offset_engine.store import SqliteStore
from tests.covers import covers

WORD = Passphrase.of("correct horse")
OTHER = Passphrase.of("another word")
QUICK = Cost(1, 8)
LEFTOVER = ".offset-0123456789abcdef.tmp"


@pytest.fixture
def store(tmp_path: Path) -> CardStore:
    return CardStore(tmp_path / "store", cost=QUICK)


def mark(opened: SqliteStore) -> None:
    """Save something that can be counted."""
    opened._connection.execute("INSERT INTO closed_invoice VALUES (randomblob(32), 0, NULL)")


def marks(store: CardStore, name: str) -> int:
    """How many marks the card has; opens it with whichever passphrase it has now."""
    for word in (None, WORD, OTHER):
        try:
            with store.open(name, word) as card:
                query = "SELECT count(*) FROM closed_invoice"
                return int(card.store._connection.execute(query).fetchone()[0])
        except (PassphraseNeededError, PassphraseError):
            continue
    raise AssertionError("no passphrase opens it")


def marked(store: CardStore, name: str, word: Passphrase | None = None) -> Path:
    """A card with one mark; returns its directory."""
    card = store.create(name, word)
    with store.open(name, word) as opened:
        mark(opened.store)
    return card.directory


def databases(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("node.db*")} - {"node.db.lock"}


def killed(store: CardStore, name: str, word: Passphrase | None = None) -> Path:
    """Leave a card as a process does that is killed while it runs it; returns its directory."""
    directory = store.card(name).directory
    with store.open(name, word) as opened:
        mark(opened.store)
        shutil.copytree(directory, directory.with_name(".copy"))
    shutil.rmtree(directory)
    directory.with_name(".copy").rename(directory)
    assert "node.db-wal" in databases(directory)
    return directory


@pytest.fixture
def moments(
    store: CardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], object]], list[CardStore]]:
    """What kills would leave: the whole store before each change of a name and each write to the disk."""

    def of(act: Callable[[], object]) -> list[CardStore]:
        copies: list[CardStore] = []

        def copied(real: Callable[..., object]) -> Callable[..., object]:
            def call(*args: object, **more: object) -> object:
                copy = tmp_path / f"moment {len(copies)}"
                shutil.copytree(store.directory, copy)
                copies.append(CardStore(copy, cost=QUICK))
                return real(*args, **more)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", copied(lambda _: None))
            for name in ("rename", "replace", "unlink", "hardlink_to", "mkdir"):
                patch.setattr(Path, name, copied(getattr(Path, name)))
            act()
        assert len(copies) > 3
        return copies

    return of


# --- every moment -------------------------------------------------------------------------------


@covers("RMP-36")
@pytest.mark.parametrize("change", ["protect", "unprotect", "again", "run", "backup", "restore"])
def test_wherever_a_process_is_killed_the_card_opens_with_all_it_had(
    store: CardStore,
    tmp_path: Path,
    moments: Callable[[Callable[[], object]], list[CardStore]],
    change: str,
) -> None:
    word = None if change == "protect" else WORD
    marked(store, "alice", word)
    out = tmp_path / "out"
    store.backup("alice", out, WORD, word)
    acts: dict[str, Callable[[], object]] = {
        "protect": lambda: store.protect("alice", WORD),
        "unprotect": lambda: store.unprotect("alice", WORD),
        "again": lambda: store.protect("alice", OTHER, WORD),
        "run": lambda: store.open("alice", WORD).close(),
        "backup": lambda: store.backup("alice", out, OTHER, WORD, force=True),
        "restore": lambda: store.restore(out, WORD, force=True),
    }
    for moment in moments(acts[change]):
        (card,) = moment.cards()
        assert (card.name, card.state) == ("alice", CardState.OFF)
        assert marks(moment, "alice") == 1
        assert not [*moment.directory.rglob(".offset-*"), *moment.directory.rglob(".[nr]e*-*")]
        card = moment.card("alice")
        assert card.warning == ""
        if card.is_protected:
            assert databases(card.directory) == {"node.db.sealed"}


def test_a_restored_card_whose_others_made_way_is_put_in_its_place_by_whoever_looks_next(
    store: CardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked(store, "alice")
    store.backup("alice", tmp_path / "out", WORD)

    with monkeypatch.context() as patch:
        # Fails after the first of two is away: what is new must not go, too.
        store.create("bob")
        put_away, done = shelf.Shelf._put_away, []

        def once(one: shelf.Shelf, directory: Path) -> Path:
            if done:
                raise CardError("the disk is full")
            done.append(directory)
            return put_away(one, directory)

        patch.setattr(shelf.Shelf, "_put_away", once)
        with pytest.raises(CardError, match="disk is full"):
            store.restore(tmp_path / "out", WORD, name="bob", force=True)
        assert [card.name for card in store.cards()] == ["bob"]
    (card,) = store.cards()
    assert card.name == "bob"
    assert marks(store, "bob") == 1
    assert len(list((store.directory / "trash").iterdir())) == 2


def test_an_unreadable_list_of_what_makes_way_stops_nothing_else(
    store: CardStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.create("alice")
    ready = store.directory / "cards" / ".ready-0123"
    ready.mkdir()
    (ready / "replaces.json").write_text("nonsense")
    assert [card.name for card in store.cards()] == ["alice"]
    assert "cannot be put in its place" in caplog.text


# --- after a kill -------------------------------------------------------------------------------


@covers("RMP-36")
def test_a_card_is_protected_after_a_kill_with_all_that_was_saved(store: CardStore) -> None:
    marked(store, "alice")
    directory = killed(store, "alice")
    store.protect("alice", WORD)
    assert databases(directory) == {"node.db.sealed"}
    with pytest.raises(PassphraseNeededError):
        store.open("alice")
    assert marks(store, "alice") == 2


def test_a_passphrase_that_cannot_be_set_leaves_a_card_that_opens(
    store: CardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked(store, "alice")

    def full(*_: object) -> None:
        raise FileError("the disk is full")

    for step in ("seal_database", "write_identity"):
        with monkeypatch.context() as patch:
            patch.setattr(folder.Folder, step, full)
            with pytest.raises(FileError):
                store.protect("alice", WORD)
        assert not store.card("alice").is_protected
        assert marks(store, "alice") == 1


def test_what_a_kill_leaves_unsealed_is_said_and_sealed_by_whoever_has_the_passphrase(
    store: CardStore, tmp_path: Path
) -> None:
    marked(store, "alice", WORD)
    for seal in (
        lambda: store.open("alice", WORD).close(),
        lambda: store.backup("alice", tmp_path / "out", OTHER, WORD, force=True),
        lambda: store.protect("alice", WORD, WORD),
    ):
        directory = killed(store, "alice", WORD)
        assert "not sealed" in store.card("alice").warning
        seal()
        assert store.card("alice").warning == ""
        assert databases(directory) == {"node.db.sealed"}
    assert marks(store, "alice") == 4


def test_secrets_a_killed_process_was_writing_are_gone_with_the_next_look(
    store: CardStore,
) -> None:
    directory = marked(store, "alice", WORD)
    (directory / LEFTOVER).write_text("the key")
    store.cards()
    assert not (directory / LEFTOVER).exists()


def test_a_log_of_another_time_is_never_read_into_an_unsealed_database(store: CardStore) -> None:
    directory = marked(store, "alice", WORD)
    (directory / "node.db-wal").write_bytes(b"of another database")
    assert marks(store, "alice") == 1


# --- failing to open ----------------------------------------------------------------------------


@covers("RMP-36")
def test_an_opening_that_fails_leaves_no_open_database(
    store: CardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = marked(store, "alice", WORD)

    def too_new(*_: object) -> SqliteStore:
        raise StoreTooNewError("install the newer version")

    def stays(*_: object) -> None:
        raise FileError("it cannot be removed")

    for owner, name, act in (
        (SqliteStore, "open", too_new),
        (folder.Folder, "forget_sealed_database", stays),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, act)
            with pytest.raises((StoreError, FileError)):
                store.open("alice", WORD)
        assert databases(directory) == {"node.db.sealed"}
    assert marks(store, "alice") == 1


# --- several at once ----------------------------------------------------------------------------


def test_a_card_that_ends_while_its_passphrase_is_set_is_sealed(
    store: CardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = marked(store, "alice")
    opened = store.open("alice")
    closing = threading.Thread(target=opened.close)
    write = folder.Folder.write_identity

    def meanwhile(*args: object) -> None:
        closing.start()
        closing.join(0.05)
        write(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(folder.Folder, "write_identity", meanwhile)
    store.protect("alice", WORD)
    closing.join()
    assert databases(directory) == {"node.db.sealed"}
    assert marks(store, "alice") == 1


def reader_of(directory: Path) -> sqlite3.Connection:
    reader = sqlite3.connect(directory / "node.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM node").fetchall()
    return reader


def test_a_reader_at_the_wrong_moment_only_delays_the_sealing(
    store: CardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = marked(store, "alice", WORD)
    opened = store.open("alice", WORD)
    reader = reader_of(directory)
    mark(opened.store)
    monkeypatch.setattr(sealing.time, "sleep", lambda _: reader.close())
    opened.close()
    assert databases(directory) == {"node.db.sealed"}
    assert marks(store, "alice") == 2


def test_a_reader_that_stays_leaves_a_warning_and_changes_nothing(
    store: CardStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    directory = marked(store, "alice", WORD)
    opened = store.open("alice", WORD)
    reader = reader_of(directory)
    pauses: list[float] = []
    monkeypatch.setattr(sealing.time, "sleep", pauses.append)
    opened.close()
    assert 2 < sum(pauses) < 10
    assert "stays unsealed" in caplog.text
    assert store.card("alice").warning
    with pytest.raises(StoreLockedError):
        store.protect("alice", OTHER, WORD)
    store.check_passphrase("alice", WORD)
    reader.close()
    store.protect("alice", OTHER, WORD)
    assert databases(directory) == {"node.db.sealed"}
    assert marks(store, "alice") == 1


def test_a_backup_taken_while_the_card_is_opened_or_closed_waits_for_it(
    store: CardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked(store, "alice", WORD)
    copy = folder.Folder.sealed_content
    opened: list[card_store.OpenCard] = []

    def opening(one: folder.Folder, key: object) -> bytes:
        (one.path / "node.db").write_bytes(b"being unsealed")
        raise FileError("it is gone")

    monkeypatch.setattr(folder.Folder, "sealed_content", opening)

    def opens(_: float) -> None:
        monkeypatch.setattr(folder.Folder, "sealed_content", copy)
        (store.card("alice").directory / "node.db").unlink()
        opened.append(store.open("alice", WORD))

    monkeypatch.setattr(sealing.time, "sleep", opens)
    store.backup("alice", tmp_path / "out", OTHER, WORD)
    assert backup.load(tmp_path / "out", OTHER).database
    opened[0].close()


def test_a_backup_leaves_what_changed_while_it_was_made(
    store: CardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked(store, "alice")
    pack = backup.pack

    def meanwhile(*args: object) -> bytes:
        store.rename("alice", "Shop")
        store.save_settings("shop", CardSettings(auto_collect=True))
        return pack(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(backup, "pack", meanwhile)
    store.backup("alice", tmp_path / "out", WORD)
    settings = store.settings("shop")[0]
    assert settings.auto_collect
    assert settings.backed_up_ms is not None

    def removed(*args: object) -> bytes:
        store.remove("shop")
        store.create("shop")
        return pack(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(backup, "pack", removed)
    store.backup("shop", tmp_path / "out", WORD, force=True)
    assert store.settings("shop")[0] == CardSettings()
