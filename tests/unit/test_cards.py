"""The card store: many cards in one directory, each of them whole, locked by one process, or said to be broken."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from offset_engine.cards import (
    CardBusyError,
    CardError,
    CardInfo,
    CardKind,
    CardSettings,
    CardState,
    CardStore,
    Cost,
    CurrencyView,
    Passphrase,
    PassphraseError,
    PassphraseNeededError,
    default_directory,
    folder,
)
from offset_engine.cards.values import slug_of
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import Currency, PrivateKey
from offset_engine.errors import FileError, OffsetError
from offset_engine.file_lock import FileHeldError, FileLock
from offset_engine.files import Permissions, RemoteCard, load_identity
from tests.covers import covers

WORD = Passphrase.of("correct horse")
NODE = public_key_of(PrivateKey(bytes([5]) * 32))
REMOTE = RemoteCard(NODE, "203.0.113.5:9876", PrivateKey(bytes([6]) * 32))
OUSD = Currency("OUSD")


@pytest.fixture
def store(tmp_path: Path) -> CardStore:
    return CardStore(tmp_path / "cards of mine", cost=Cost(1, 8))


def names(store: CardStore) -> list[str]:
    return [card.name for card in store.cards()]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- making and finding -------------------------------------------------------------------------


def test_looking_makes_nothing(store: CardStore) -> None:
    assert store.cards() == ()
    with pytest.raises(CardError, match="there is no card"):
        store.card("alice")
    with pytest.raises(CardError, match="there is no card"):
        store.only()
    assert not store.directory.exists()
    assert default_directory().is_absolute()


@covers("CMP-01", "CMP-02", "CMP-10", "PRV-07")
def test_cards_are_made_with_keys_of_their_own_and_listed_by_name(store: CardStore) -> None:
    bob, alice = store.create("bob"), store.create("Alice")
    assert names(store) == ["Alice", "bob"]
    assert alice.public_key != bob.public_key
    assert (alice.kind, alice.state, alice.is_enabled) == (CardKind.LOCAL, CardState.OFF, True)
    assert not alice.is_protected
    assert load_identity(alice.directory / "node.ident")
    assert store.card("ALICE") == alice


@covers("CMP-02")
def test_everything_is_for_the_owner_only(store: CardStore) -> None:
    card = store.create("alice")
    store.save_settings("alice", CardSettings(auto_collect=True))
    store.open("alice").close()
    for path in (store.directory, card.directory, card.directory / "trusted"):
        assert mode(path) == 0o700
    files = [path for path in store.directory.rglob("*") if path.is_file()]
    assert len(files) >= 5
    assert {mode(path) for path in files} == {0o600}


@covers("CMP-03", "CMP-10")
def test_a_remote_card_keeps_what_its_file_says(store: CardStore) -> None:
    card = store.add_remote("phone", REMOTE)
    assert card.kind is CardKind.REMOTE
    assert (card.public_key, card.node_address) == (NODE, "203.0.113.5:9876")
    assert card.app_key == public_key_of(REMOTE.app_private_key)
    store.dial("phone")
    for refused in (
        lambda: store.open("phone"),
        lambda: store.apps("phone"),
        lambda: store.new_app("phone", "x", Permissions()),
        lambda: store.add_remote("other", replace(REMOTE, node_address="nowhere")),
    ):
        with pytest.raises(CardError):
            refused()


@covers("CMP-09")
@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("Alice", "alice"),
        ("  Zoë ", "zoe"),
        ("../../etc", "etc"),
        ("con", "card-con"),
        ("LPT1", "card-lpt1"),
        ("名前", "card"),
        ("a/b\\c:d$e.f", "a-b-c-d-e-f"),
        ("x" * 64, "x" * 40),
    ],
)
def test_any_name_has_a_safe_directory(store: CardStore, name: str, directory: str) -> None:
    card = store.create(name)
    assert card.name == name.strip()
    assert card.directory == store.directory / "cards" / directory
    assert slug_of(name) == directory
    assert store.card(name) == card


@covers("CMP-09")
@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb", "\u202eevil", "-v", "\ud800"])
def test_a_bad_name_is_refused_with_a_reason(store: CardStore, name: str) -> None:
    with pytest.raises(CardError, match="name"):
        store.create(name)
    assert store.cards() == ()


@covers("CMP-09")
def test_names_that_look_alike_are_refused_and_lost_names_are_free(store: CardStore) -> None:
    store.create("Zoë")
    for same in ("zoë", "ZOË", "Zoe\u0308"):
        with pytest.raises(CardError, match="already; choose another name"):
            store.create(same)
    other = store.create("zoe")
    assert other.directory.name == "zoe-2"
    store.remove("zoë")
    assert store.create("ZOË").directory.name == "zoe"


@covers("CMP-26")
def test_a_card_is_renamed_also_while_it_runs(store: CardStore) -> None:
    card = store.create("alice")
    store.create("bob")
    with store.open("alice"):
        assert store.rename("alice", "Shop").name == "Shop"
        with pytest.raises(CardError, match="there is a card bob already"):
            store.rename("Shop", "BOB")
        assert store.rename("shop", "SHOP").public_key == card.public_key
    assert names(store) == ["bob", "SHOP"]


@covers("CMP-04", "CMP-26")
def test_the_directory_a_card_was_made_in_names_it_no_more(store: CardStore) -> None:
    store.create("anna")
    store.rename("anna", "berta")
    for ask in (store.card, store.remove, store.open, store.settings):
        with pytest.raises(CardError, match="there is no card 'anna'; there is: berta"):
            ask("anna")
    # A broken one has no other name, and a whole one of that name is meant before it.
    (store.card("berta").directory / "card.json").unlink()
    assert broken(store, "anna").directory.name == "anna"
    made = store.create("Anna2")
    store.rename("Anna2", "other")
    assert store.card("other").directory == made.directory


def test_a_whole_card_is_meant_before_a_broken_one_of_its_name(store: CardStore) -> None:
    store.create("anna")
    store.rename("anna", "berta")
    whole = store.create("anna")
    (store.card("berta").directory / "card.json").unlink()
    assert [card.name for card in store.cards()] == ["anna", "anna"]
    assert store.card("anna") == whole


@covers("CMP-05")
def test_enabling_is_kept(store: CardStore) -> None:
    store.create("alice")
    assert not store.set_enabled("alice", is_enabled=False).is_enabled
    assert not CardStore(store.directory).card("alice").is_enabled
    assert store.set_enabled("alice", is_enabled=True).is_enabled


def test_the_card_meant_without_a_name_is_the_only_one_or_the_only_enabled_one(
    store: CardStore,
) -> None:
    store.create("alice")
    assert store.only().name == "alice"
    store.create("bob")
    with pytest.raises(CardError, match="say which one: alice, bob"):
        store.only()
    store.set_enabled("alice", is_enabled=False)
    assert store.only().name == "bob"


@covers("CMP-04")
def test_a_removed_card_is_put_away_whole(store: CardStore) -> None:
    card = store.create("alice")
    where = store.remove("alice")
    assert store.cards() == ()
    assert where.parent == store.directory / "trash"
    assert where.name.endswith("-alice")
    assert public_key_of(load_identity(where / "node.ident")) == card.public_key
    # Whoever regrets it moves the directory back.
    where.rename(store.directory / "cards" / "alice")
    assert store.card("alice") == card


def test_what_a_killed_process_left_half_made_is_no_card_and_goes(store: CardStore) -> None:
    store.create("alice")
    left = store.directory / "cards" / ".new-0123"
    left.mkdir()
    (left / "node.ident").write_text("secret")
    assert names(store) == ["alice"]
    store.create("bob")
    assert not left.exists()


def test_a_card_that_cannot_be_made_leaves_nothing(
    store: CardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("alice")

    def fail(*_: object) -> None:
        raise FileError("the disk is full")

    monkeypatch.setattr(folder.Folder, "write_record", fail)
    with pytest.raises(FileError):
        store.create("bob")
    assert [path.name for path in (store.directory / "cards").iterdir()] == ["alice"]


# --- one process --------------------------------------------------------------------------------


@covers("CMP-08", "NOD-23", "FIX-35")
def test_one_process_runs_a_card_and_the_others_are_told_which(store: CardStore) -> None:
    store.create("alice")
    with store.open("alice") as card:
        assert "alice" in repr(card)
        assert "PrivateKey" not in repr(card)
        seen = CardStore(store.directory).card("alice")
        assert (seen.state, seen.process) == (CardState.RUNNING, os.getpid())
        with pytest.raises(CardBusyError, match=f"process {os.getpid()} runs this card") as caught:
            store.open("alice")
        assert caught.value.process == os.getpid()
        assert caught.value.socket == card.socket
        with pytest.raises(CardBusyError):
            store.remove("alice")
        with pytest.raises(CardError, match="try again in a moment"):
            store.dial("alice")
    card.close()
    assert store.card("alice").state is CardState.OFF
    with pytest.raises(CardError, match="not running"):
        store.dial("alice")
    store.open("alice").close()


def test_a_failed_opening_lets_others_try(store: CardStore) -> None:
    store.create("alice", WORD)
    for word in (None, Passphrase.of("wrong")):
        with pytest.raises((PassphraseNeededError, PassphraseError)):
            store.open("alice", word)
    store.open("alice", WORD).close()


def test_a_lock_file_full_of_nonsense_hides_nobody(store: CardStore) -> None:
    card = store.create("alice")
    lock = FileLock(card.directory / "card.lock", "nonsense")
    seen = store.card("alice")
    assert (seen.state, seen.process, seen.socket) == (CardState.RUNNING, None, None)
    with pytest.raises(CardBusyError, match="another program"):
        store.open("alice")
    lock.release()
    lock.release()


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    first = FileLock(tmp_path / "lock", "me")
    with pytest.raises(FileHeldError) as caught:
        FileLock(tmp_path / "lock", "you")
    assert caught.value.note == "me"
    first.release()
    FileLock(tmp_path / "lock", waits=True).release()


def test_a_long_path_has_its_door_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path / "t"
    short.mkdir()
    monkeypatch.setattr(folder.tempfile, "gettempdir", lambda: "/nonexistent")
    monkeypatch.setattr(folder.platformdirs, "user_runtime_path", lambda *_, **__: short / "offset")
    deep = folder.Folder(tmp_path / ("d" * 120))
    near = folder.Folder(Path("/s/cards/alice"))
    assert near.socket == Path("/s/cards/alice/node.sock")
    if len(os.fsencode(short)) < 70:
        assert deep.socket.parent == short / "offset"
        assert mode(short / "offset") == 0o700
        # A directory others can write to may hold somebody else's door.
        (short / "offset").chmod(0o777)
        assert deep.socket == deep.path / "node.sock"


# --- broken cards -------------------------------------------------------------------------------


def broken(store: CardStore, name: str) -> CardInfo:
    card = store.card(name)
    assert card.state is CardState.BROKEN
    assert card.problem
    return card


@covers("FIX-14")
@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("card.json", None, "cannot read"),
        ("card.json", "", "not JSON"),
        ("card.json", '{"version": 1}', '"name" is missing'),
        ("card.json", '{"version": 2, "name": "x"}', "newer version"),
        ("card.json", '{"version": 1, "name": "a\\nb", "kind": "local"}', "no name of a card"),
        ("card.json", '{"version": 1, "name": "alice", "kind": "x"}', '"local" or "remote"'),
        ("card.json", "x" * 70_000, "64 KiB"),
        ("node.ident", None, "cannot read"),
        ("node.ident", '{"privateKey": "AA"}', "32 bytes"),
        ("node.db", None, "restore a backup"),
    ],
)
def test_a_broken_card_is_listed_with_its_reason_and_hides_no_other(
    store: CardStore, file: str, content: str | None, sentence: str
) -> None:
    path = store.create("alice").directory / file
    store.create("bob")
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert names(store) == ["alice", "bob"]
    assert sentence in broken(store, "alice").problem
    with pytest.raises(CardError, match="the card alice cannot be used"):
        store.open("alice")
    assert store.only().name == "bob"
    store.remove("alice")
    assert names(store) == ["bob"]


@covers("FIX-14")
def test_strays_in_the_directory_do_not_matter(store: CardStore) -> None:
    store.create("alice")
    cards = store.directory / "cards"
    (cards / ".DS_Store").write_text("x")
    (cards / "notes.txt").write_text("x")
    (cards / "empty").mkdir()
    assert names(store) == ["alice", "empty"]
    assert "card.json" in broken(store, "empty").problem


def test_a_damaged_database_is_found_when_the_card_is_opened(store: CardStore) -> None:
    path = store.create("alice").directory / "node.db"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(OffsetError, match="damaged"):
        store.open("alice")
    assert store.card("alice").state is CardState.OFF


# --- passphrases --------------------------------------------------------------------------------


@covers("RMP-21", "RMP-36")
def test_a_protected_card_is_all_sealed_while_it_is_off(store: CardStore) -> None:
    card = store.create("alice", WORD)
    assert card.is_protected
    assert {path.name for path in card.directory.iterdir()} & {"node.db", "node.db.sealed"} == {
        "node.db.sealed"
    }
    with store.open("alice", WORD) as opened:
        assert public_key_of(opened.identity) == card.public_key
        assert opened.store.load().local_public_key == card.public_key
        assert not (card.directory / "node.db.sealed").exists()
    assert not (card.directory / "node.db").exists()
    store.check_passphrase("alice", WORD)
    with pytest.raises(PassphraseError):
        store.check_passphrase("alice", Passphrase.of("x"))


@covers("RMP-36")
def test_a_passphrase_comes_changes_and_goes(store: CardStore) -> None:
    store.create("alice")
    store.protect("alice", WORD)
    other = Passphrase.of("other")
    with pytest.raises(PassphraseNeededError):
        store.protect("alice", other)
    with pytest.raises(PassphraseError):
        store.protect("alice", other, Passphrase.of("x"))
    store.protect("alice", other, WORD)
    store.open("alice", other).close()
    with pytest.raises(PassphraseError):
        store.unprotect("alice", WORD)
    store.unprotect("alice", other)
    assert not store.card("alice").is_protected
    store.open("alice").close()
    store.check_passphrase("alice", WORD)


def test_a_passphrase_set_while_the_card_runs_seals_it_when_it_ends(store: CardStore) -> None:
    card = store.create("alice")
    with store.open("alice"):
        store.protect("alice", WORD)
        assert (card.directory / "node.db").exists()
    assert not (card.directory / "node.db").exists()
    with store.open("alice", WORD):
        store.unprotect("alice", WORD)
    assert (card.directory / "node.db").exists()
    store.open("alice").close()


def test_after_a_kill_the_open_database_counts(store: CardStore) -> None:
    card = store.create("alice", WORD)
    old = (card.directory / "node.db.sealed").read_bytes()
    opened = store.open("alice", WORD)
    opened.store.close()
    opened._lease.release()
    (card.directory / "node.db.sealed").write_bytes(old)
    (card.directory / "node.db").rename(card.directory / "kept")
    (card.directory / "node.db").touch()
    store.open("alice", WORD).close()
    (card.directory / "kept").rename(card.directory / "node.db")
    store.open("alice", WORD).close()
    assert not (card.directory / "node.db").exists()


def test_a_database_that_cannot_be_sealed_stays_and_is_said(
    store: CardStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.create("alice", WORD)

    def full(*_: object) -> None:
        raise FileError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(folder.Folder, "seal_database", full)
        store.open("alice", WORD).close()
    assert "stays unsealed: the disk is full" in caplog.text
    store.open("alice", WORD).close()


def test_a_damaged_sealed_database_is_a_sentence(store: CardStore) -> None:
    path = store.create("alice", WORD).directory / "node.db.sealed"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileError, match="restore a backup"):
        store.open("alice", WORD)


def test_a_remote_card_is_protected_too(store: CardStore) -> None:
    store.add_remote("phone", REMOTE, WORD)
    with pytest.raises(PassphraseNeededError):
        store.dial("phone")
    store.dial("phone", WORD)
    store.unprotect("phone", WORD)
    store.dial("phone")
    store.protect("phone", WORD)
    assert store.card("phone").is_protected


# --- settings -----------------------------------------------------------------------------------

MANY = CardSettings(
    currencies=(CurrencyView(OUSD, 2), CurrencyView(Currency("YEN"), 0)),
    stays_online=True,
    auto_lock_minutes=15,
    auto_collect=True,
    auto_fee_permille=5,
    notifications=False,
    inbox="/media/alice/Downloads",
    app_address="alice.example.org:9876",
    serve_address="[2001:db8::1]:4567",
    backed_up_ms=1_700_000_000_000,
)


def test_settings_are_kept_to_the_last(store: CardStore) -> None:
    store.create("alice")
    assert store.settings("alice") == (CardSettings(), "")
    store.save_settings("alice", MANY)
    assert store.settings("alice") == (MANY, "")


def test_decimals_are_fixed_at_first_use() -> None:
    settings = CardSettings().with_currency(OUSD).with_currency(Currency("YEN"), 0)
    assert settings.with_currency(OUSD, 5) == settings
    assert [settings.decimals_of(Currency(one)) for one in ("OUSD", "YEN", "ELSE")] == [2, 0, 2]
    assert [one.currency for one in settings.currencies] == ["OUSD", "YEN"]


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("version", 2),
        ("version", None),
        ("currencies", [{"currency": "OUSD", "decimals": 39}]),
        ("currencies", [{"currency": "has space", "decimals": 2}]),
        ("currencies", [{"currency": "OUSD", "decimals": 2}] * 2),
        ("currencies", {}),
        ("autoLockMinutes", 100_000),
        ("autoCollect", "yes"),
        ("appAddress", "nowhere"),
        ("inbox", 7),
    ],
)
def test_bad_settings_count_for_nothing_are_said_and_kept_aside(
    store: CardStore, field: str, bad: object
) -> None:
    card = store.create("alice")
    store.save_settings("alice", MANY)
    path = card.directory / "settings.json"
    values = {**json.loads(path.read_text()), field: bad}
    path.write_text(json.dumps(values))
    settings, problem = store.settings("alice")
    assert settings == CardSettings()
    assert "the defaults" in problem
    with store.open("alice") as opened:
        assert opened.settings_problem == problem
    store.save_settings("alice", MANY)
    assert json.loads((card.directory / "settings.json.unread-1").read_text()) == values
    assert store.settings("alice") == (MANY, "")


def test_settings_that_could_not_be_read_back_are_not_written(store: CardStore) -> None:
    store.create("alice")
    for bad in (
        replace(MANY, auto_lock_minutes=-1),
        replace(MANY, app_address="nowhere"),
        replace(MANY, app_address="[2001:db8::1]:4567"),
        replace(MANY, currencies=(CurrencyView(OUSD, 2),) * 2),
    ):
        with pytest.raises(FileError):
            store.save_settings("alice", bad)
    assert store.settings("alice") == (CardSettings(), "")


# --- apps of other devices ----------------------------------------------------------------------


def test_an_app_gets_a_key_and_is_trusted_until_it_is_removed(store: CardStore) -> None:
    card = store.create("alice")
    with pytest.raises(CardError, match="set the address"):
        store.new_app("alice", "My phone", Permissions(buyer=True))
    store.save_settings("alice", replace(CardSettings(), app_address="203.0.113.5:9876"))
    remote = store.new_app("alice", "My phone", Permissions(buyer=True))
    assert (remote.node_public_key, remote.node_address) == (card.public_key, "203.0.113.5:9876")
    with pytest.raises(CardError, match="there is an app my-phone already"):
        store.new_app("alice", "my phone", Permissions())
    (card.directory / "trusted" / "junk").write_text("x")
    junk, app = store.apps("alice")
    assert junk.problem
    assert (app.name, app.public_key) == ("my-phone", public_key_of(remote.app_private_key))
    assert app.permissions == Permissions(buyer=True)
    store.remove_app("alice", "my-phone")
    assert [one.name for one in store.apps("alice")] == ["junk"]
    with pytest.raises(CardError, match="there is no app"):
        store.remove_app("alice", "my-phone")
