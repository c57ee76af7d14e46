"""A local card opened for running: its secrets, its database, and the lease that keeps others away."""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

from offset_engine.cards.folder import Folder
from offset_engine.cards.sealing import patiently
from offset_engine.cards.settings import CardSettings, load_settings
from offset_engine.cards.values import CardInfo, CardKind
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.errors import OffsetError
from offset_engine.file_lock import FileLock
from offset_engine.sealed import Passphrase
from offset_engine.store import SqliteStore, forget

_log: Final = logging.getLogger(__name__)
Turn: TypeAlias = Callable[[], contextlib.AbstractContextManager[None]]
"""Keeps others from changing the cards for a moment; see `Shelf.turn`."""


def opened(
    card: CardInfo, passphrase: Passphrase | None, lease: FileLock, turn: Turn
) -> "OpenCard":
    """Open a local card whose lease is ours; if that fails, everything is as it was, and the lease is free.

    Raises:
        PassphraseNeededError, PassphraseError: it is protected, and the passphrase is not it.
        FileError, StoreError: something of it cannot be read.
    """
    folder = Folder(card.directory)
    try:
        identity = folder.open_identity(CardKind.LOCAL, passphrase)
        store = _open_store(folder, identity)
    except BaseException:
        lease.release()
        raise
    return OpenCard(folder, card, load_settings(folder.settings), identity, (store, lease, turn))


def _open_store(folder: Folder, identity: PrivateKey) -> SqliteStore:
    """The database, unsealed if need be; if it cannot be used, it does not stay unsealed for that."""
    is_unsealed = folder.unseal_database(identity)
    try:
        store = SqliteStore.open(folder.database, public_key_of(identity))
        try:
            folder.forget_sealed_database()
        except BaseException:
            store.close()
            raise
    except BaseException:
        if is_unsealed:
            forget(folder.database)
        raise
    return store


class OpenCard:
    """What an engine needs to run the card; `CardStore.open` makes one, `close` gives it back."""

    def __init__(
        self,
        folder: Folder,
        info: CardInfo,
        settings: tuple[CardSettings, str],
        identity: PrivateKey,
        parts: tuple[SqliteStore, FileLock, Turn],
    ) -> None:
        """Take over the store and the lease."""
        self._folder = folder
        self.info: Final = info
        """The card when it was opened."""
        self.settings: Final = settings[0]
        """Its settings when it was opened."""
        self.settings_problem: Final = settings[1]
        """Why these are the defaults, in a sentence; "" if they are not."""
        self.identity: Final = identity
        """Secret. The node's key."""
        self.store, self._lease, self._turn = parts
        self.trusted: Final = folder.trusted
        """The directory of app tickets."""
        self.socket: Final = folder.socket
        """Where to make the door for programs of the same user."""
        self.diagnostics: Final = folder.diagnostics
        self.notebook: Final[Path] = folder.notebook
        """Where its owner's notes are; need not exist."""
        self._is_closed = False

    def close(self) -> None:
        """Close the database, seal it if the card is protected, and let others open the card.

        A database that cannot be sealed (a full disk, somebody who reads it for longer than some seconds)
        stays as it is; the log and `CardInfo.warning` say so. Doing it twice is fine.

        Raises:
            StoreError: the database cannot be closed in order.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.store.close()
            self._seal()
        finally:
            self._lease.release()

    def _seal(self) -> None:
        try:
            patiently(self._seal_now)
        except OffsetError as error:
            _log.warning("the database of a protected card stays unsealed: %s", error)

    def _seal_now(self) -> None:
        # Not what the card was when it was opened: a passphrase may have come or gone, or be just coming.
        with self._turn():
            if self._folder.is_protected():
                self._folder.seal_database(self.identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"OpenCard({self.info.name!r})"
