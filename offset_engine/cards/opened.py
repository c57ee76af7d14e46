"""A local card opened for running: its secrets, its database, and the lease that keeps others away."""

import logging
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from offset_engine.cards.folder import Folder
from offset_engine.cards.settings import CardSettings
from offset_engine.cards.values import CardInfo
from offset_engine.core.values import PrivateKey
from offset_engine.errors import OffsetError
from offset_engine.file_lock import FileLock
from offset_engine.store import SqliteStore

_log: Final = logging.getLogger(__name__)


class OpenCard:
    """What an engine needs to run the card; `CardStore.open` makes one, `close` gives it back."""

    def __init__(
        self,
        folder: Folder,
        info: CardInfo,
        settings: tuple[CardSettings, str],
        identity: PrivateKey,
        parts: tuple[SqliteStore, FileLock],
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
        self.store, self._lease = parts
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

        A database that cannot be sealed (a full disk, say) stays as it is, and the log says so. Doing it
        twice is fine.

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
        # Not what the card was when it was opened: a passphrase may have come or gone meanwhile.
        if self._folder.is_protected():
            try:
                self._folder.seal_database(self.identity)
            except OffsetError as error:
                _log.warning("the database of a protected card stays unsealed: %s", error)

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
