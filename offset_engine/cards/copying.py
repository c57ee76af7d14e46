"""From a card's directory to the content of a backup, and back into a new directory."""

from dataclasses import replace

from offset_engine.cards import apps, backup
from offset_engine.cards.backup import Content
from offset_engine.cards.folder import Folder, Record
from offset_engine.cards.settings import load_settings, save_settings
from offset_engine.cards.values import CardError, CardKind, CardState
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.disk import write_bytes, write_file
from offset_engine.store import SqliteStore, state_of_snapshot, touched_between


def content_of(folder: Folder, key: PrivateKey, now_ms: int) -> Content:
    """Everything of a card, taken while it is off or runs; whoever calls has the turn. Secret.

    Raises:
        CardError: the card is broken.
        StoreLockedError: it is being opened or closed at this moment.
        FileError, StoreError: something cannot be read.
    """
    card = folder.look()
    if card.state is CardState.BROKEN:
        raise CardError(f"the card {card.name} cannot be used: {card.problem}")
    record = folder.read_record()
    settings = load_settings(folder.settings)[0]
    if card.public_key is None:
        raise CardError(f"{card.name} does not say which node it is for")
    if card.kind is CardKind.LOCAL:
        database = folder.copy_database(key)
        state = state_of_snapshot(database, public_key_of(key))
        info = backup.info_of(card.name, state, settings, now_ms)
    else:
        database = b""
        info = backup.info_of_remote(card.name, card.public_key, settings, now_ms)
    return Content(
        replace(info, is_protected=card.is_protected),
        record.created_ms,
        key,
        record.node_address,
        _notebook(folder),
        apps.tickets(folder.trusted),
        database,
    )


def check(content: Content) -> None:
    """Insist that what a backup holds can be used.

    Raises:
        StoreError: its database is damaged, another card's, or of a newer version.
    """
    if content.info.kind is CardKind.LOCAL:
        state_of_snapshot(content.database, content.info.public_key)


def lay_out(folder: Folder, content: Content, name: str) -> None:
    """Write everything of a backup but the key into an empty directory; friends are in quarantine.

    Raises:
        FileError, StoreError: it cannot be written.
    """
    info = content.info
    is_local = info.kind is CardKind.LOCAL
    if is_local:
        write_bytes(folder.database, content.database, secret=True)
        store = SqliteStore.open(folder.database, info.public_key)
        try:
            old = store.load()
            new = backup.quarantined(old)
            store.save(old, new, touched_between(old, new), ())
        finally:
            store.close()
    save_settings(folder.settings, replace(info.settings, backed_up_ms=info.taken_ms))
    if content.notebook:
        write_file(folder.notebook, content.notebook, secret=True)
    for app, ticket in content.apps:
        apps.keep(folder.trusted, app, ticket)
    folder.write_record(
        Record(
            name,
            info.kind,
            content.created_ms,
            node=None if is_local else info.public_key,
            node_address=content.node_address,
        )
    )


def _notebook(folder: Folder) -> str:
    """The owner's notes; what is no text or far too long is left out, for nothing depends on it."""
    try:
        raw = folder.notebook.read_bytes()
        return raw.decode() if len(raw) <= backup.NOTEBOOK_BYTES_MAX else ""
    except (OSError, UnicodeDecodeError):
        return ""
