"""The directory of one card, and what lies in it.

| file | holds |
|---|---|
| `card.json` | name, kind, whether it is enabled; of a remote card the node and its address |
| `settings.json`, `notebook.json` | what its owner chose and noted |
| `node.ident`, of a remote card `app.ident` | the key, plain or sealed with a passphrase |
| `node.db` | the database of a local card |
| `node.db.sealed` | the same while a protected card is off |
| `trusted/` | tickets of apps |
| `card.lock` | held by the process that runs the card; says which, and where its door is |
| `node.sock` | the door for programs of the same user, while the card runs |

All for the owner only. The database of a protected card is sealed with a key made from the identity, so
a new passphrase touches one small file. Where both forms of the database are found, a process was killed,
and the open one is at least as new: it counts. Any form opens with any form of the key.

Source: apps.md §4.1; PROTOCOL.md, "Card store".
"""

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import platformdirs

from offset_engine import sealed
from offset_engine.cards.values import (
    NAME_CHARS_MAX,
    CardBusyError,
    CardError,
    CardInfo,
    CardKind,
    CardState,
    PassphraseNeededError,
    kind_in,
    need_version,
)
from offset_engine.core.crypto import sha512_256
from offset_engine.core.values import WALL_MS_MAX, PrivateKey, PublicKey, value
from offset_engine.disk import read_file, write_bytes, write_file
from offset_engine.errors import FileError, OffsetError, StoreLockedError
from offset_engine.file_lock import FileHeldError, FileLock, note_in
from offset_engine.files import (
    Identity,
    SealedIdentity,
    public_key_in,
    read_identity,
    unseal_identity,
    write_identity,
)
from offset_engine.json_fields import Fields, Json, Style, parse_object, pretty
from offset_engine.sealed import Cost, Passphrase, Purpose, SealedError
from offset_engine.store import at_rest, forget, snapshot

CARD_VERSION: Final = 1
_DATABASE_TAG: Final = sha512_256(b"offset/v1/sealed-database")
_DATABASE_COST: Final = Cost(passes=1, memory_kib=8)
"""The key is as random as any: there is nothing to guess, so nothing to make slow."""
_EXPOSED: Final = (
    "its database is not sealed, because the program that ran it was ended or hindered; running and "
    "stopping it once more seals it"
)
_SOCKET_PATH_BYTES_MAX: Final = 100
"""Systems take 104 to 108."""


@value
class Record:
    """What `card.json` says."""

    name: str
    kind: CardKind
    created_ms: int
    is_enabled: bool = True
    node: PublicKey | None = None
    """Of a remote card."""
    node_address: str = ""


class Folder:
    """Reads and writes the files of one card; `path` need not exist."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self.settings: Final = path / "settings.json"
        self.notebook: Final = path / "notebook.json"
        self.database: Final = path / "node.db"
        self.sealed_database: Final = path / "node.db.sealed"
        self.trusted: Final = path / "trusted"
        self.diagnostics: Final = path / "node.diagnostics"
        self._record: Final = path / "card.json"
        self._lock: Final = path / "card.lock"

    def identity(self, kind: CardKind) -> Path:
        """Where the key is."""
        return self.path / ("node.ident" if kind is CardKind.LOCAL else "app.ident")

    # --- card.json ------------------------------------------------------------------------------

    def read_record(self) -> Record:
        """Read `card.json`.

        Raises:
            FileError: it is not there, or not what it should be.
        """
        text = read_file(self._record)
        try:
            fields = Fields(parse_object(text))
            need_version(fields, CARD_VERSION)
            return _record_from(fields)
        except FileError as error:
            raise FileError(f"{self._record}: {error}") from None

    def write_record(self, record: Record) -> None:
        """Write `card.json`.

        Raises:
            FileError: it cannot be written.
        """
        values: dict[str, Json] = {
            "version": CARD_VERSION,
            "name": record.name,
            "kind": record.kind.value,
            "isEnabled": record.is_enabled,
            "createdMs": record.created_ms,
        }
        if record.node is not None:
            values |= {
                "nodePublicKey": record.node.to_text(),
                "nodeAddress": record.node_address,
            }
        write_file(self._record, pretty(values, Style.MOBILE) + "\n", secret=True, force=True)

    # --- a look ---------------------------------------------------------------------------------

    def look(self) -> CardInfo:
        """Say what is here; a card with anything missing or unreadable is a broken one."""
        try:
            record = self.read_record()
        except FileError as error:
            return self._broken(self.path.name, CardKind.LOCAL, error)
        try:
            identity = read_identity(self.identity(record.kind))
            if record.kind is CardKind.LOCAL and not self._has_database():
                raise FileError(f"{self.database} is missing: restore a backup of this card")
        except OffsetError as error:
            return self._broken(record.name, record.kind, error)
        key = public_key_in(identity)
        is_local = record.kind is CardKind.LOCAL
        holder = self.holder() if is_local else None
        is_protected = isinstance(identity, SealedIdentity)
        is_exposed = is_protected and holder is None and self.has_open_database
        return CardInfo(
            name=record.name,
            directory=self.path,
            kind=record.kind,
            state=CardState.OFF if holder is None else CardState.RUNNING,
            is_enabled=record.is_enabled,
            is_protected=is_protected,
            public_key=key if is_local else record.node,
            app_key=None if is_local else key,
            node_address=record.node_address,
            created_ms=record.created_ms,
            process=None if holder is None else holder[0],
            socket=None if holder is None else holder[1],
            warning=_EXPOSED if is_exposed else "",
        )

    def _broken(self, name: str, kind: CardKind, error: OffsetError) -> CardInfo:
        return CardInfo(name, self.path, kind, CardState.BROKEN, str(error), is_enabled=False)

    def _has_database(self) -> bool:
        return self.database.is_file() or self.sealed_database.is_file()

    @property
    def has_open_database(self) -> bool:
        """Whether the database lies here as it is; then it counts, also beside a sealed one."""
        try:
            return self.database.stat().st_size > 0
        except OSError:
            return False

    # --- who runs it ----------------------------------------------------------------------------

    def take(self) -> FileLock:
        """Become the one process that runs the card, until the lock is released.

        Raises:
            CardBusyError: somebody else does.
            CardError: the directory cannot be used.
        """
        note = json.dumps({"process": os.getpid(), "socket": str(self.socket)})
        try:
            return FileLock(self._lock, note)
        except FileHeldError as error:
            process, socket = _holder_in(error.note)
            who = "another program" if process is None else f"process {process}"
            text = f"{who} runs this card already; use that one, or stop it first"
            raise CardBusyError(text, process, socket) from None
        except OSError as error:
            raise CardError(f"cannot use {self.path}: {error.strerror}") from None

    def holder(self) -> tuple[int | None, Path | None] | None:
        """Who runs the card and where its door is; None if nobody does."""
        if not self._lock.exists():
            return None
        try:
            FileLock(self._lock).release()
        except FileHeldError:
            process, socket = _holder_in(note_in(self._lock))
            return process, socket if socket is not None and socket.exists() else None
        except OSError:
            return None
        return None

    @property
    def socket(self) -> Path:
        """Where the door is: here, or where there is room if this path is too long for a socket."""
        here = self.path / "node.sock"
        if len(os.fsencode(here)) <= _SOCKET_PATH_BYTES_MAX:
            return here
        directory = _short_directory()
        if directory is None:
            return here
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return directory / f"{digest}.sock"

    # --- the key --------------------------------------------------------------------------------

    def is_protected(self) -> bool:
        """Whether the key of this local card is sealed; False if it cannot be read."""
        try:
            found = read_identity(self.identity(CardKind.LOCAL))
        except FileError:
            return False
        return isinstance(found, SealedIdentity)

    def open_identity(self, kind: CardKind, passphrase: Passphrase | None) -> PrivateKey:
        """The key; takes a while if it is sealed.

        Raises:
            PassphraseNeededError: it is sealed, and no passphrase was given.
            PassphraseError: the passphrase is another one.
            FileError: it cannot be read or is damaged.
        """
        found = read_identity(self.identity(kind))
        if isinstance(found, Identity):
            return found.private_key
        if passphrase is None:
            raise PassphraseNeededError("this card is protected: its passphrase is needed")
        return unseal_identity(found, passphrase)

    def write_identity(
        self, kind: CardKind, key: PrivateKey, passphrase: Passphrase | None, cost: Cost
    ) -> None:
        """Write the key, sealed if there is a passphrase; what was there is replaced.

        Raises:
            FileError: it cannot be written, or not sealed for want of memory.
        """
        write_identity(self.identity(kind), key, passphrase, force=True, cost=cost)

    # --- the database ---------------------------------------------------------------------------

    def seal_database(self, key: PrivateKey) -> None:
        """Seal the database if it is open; whoever calls has the lease.

        Raises:
            StoreLockedError: somebody reads it at this moment; it is left as it is.
            FileError, StoreError: it cannot be; the open one is still there.
        """
        if not self.has_open_database:
            return
        with at_rest(self.database) as content:
            box = sealed.seal(content, _database_key(key), Purpose.DATABASE, _DATABASE_COST)
            write_bytes(self.sealed_database, box, secret=True, force=True)
            forget(self.database)

    def unseal_database(self, key: PrivateKey) -> bool:
        """Have the database open. The sealed one stays for the moment; whoever calls has the lease.

        Returns:
            False if there is nothing to unseal: it was open already.

        Raises:
            FileError, StoreError: it cannot be opened.
        """
        if self.has_open_database or not self.sealed_database.exists():
            return False
        content = self.sealed_content(key)
        # A log of another time must never be read into it.
        forget(self.database)
        write_bytes(self.database, content, secret=True, force=True)
        return True

    def copy_database(self, key: PrivateKey) -> bytes:
        """The content of the database, also while somebody runs the card.

        Raises:
            StoreLockedError: it is being opened or closed at this moment.
            FileError, StoreError: it cannot be read or is damaged.
        """
        is_open = self.has_open_database
        try:
            return snapshot(self.database) if is_open else self.sealed_content(key)
        except OffsetError:
            if self.has_open_database == is_open:
                raise
            raise StoreLockedError(f"{self.path} is being opened or closed; try again") from None

    def forget_sealed_database(self) -> None:
        """Remove the sealed database: from now on the open one is newer.

        Raises:
            FileError: it cannot be removed.
        """
        with _sentences(self.sealed_database):
            self.sealed_database.unlink(missing_ok=True)

    def sealed_content(self, key: PrivateKey) -> bytes:
        """The content of the sealed database.

        Raises:
            FileError: it cannot be read or is damaged.
        """
        with _sentences(self.sealed_database):
            raw = self.sealed_database.read_bytes()
        try:
            return sealed.unseal(raw, _database_key(key), Purpose.DATABASE)
        except SealedError as error:
            raise FileError(f"{self.sealed_database}: {error}; restore a backup") from None


def _database_key(key: PrivateKey) -> Passphrase:
    return Passphrase(sha512_256(_DATABASE_TAG + key))


def _record_from(fields: Fields) -> Record:
    name = fields.text("name", 4 * NAME_CHARS_MAX)
    if not name.isprintable() or not name.strip():
        raise FileError('field "name" is no name of a card')
    kind = kind_in(fields)
    is_remote = kind is CardKind.REMOTE
    return Record(
        name,
        kind,
        fields.number("createdMs", WALL_MS_MAX),
        fields.flag("isEnabled"),
        fields.fixed("nodePublicKey", PublicKey) if is_remote else None,
        fields.address("nodeAddress") if is_remote else "",
    )


def _holder_in(note: str) -> tuple[int | None, Path | None]:
    """What a lock file says; whatever else it holds says nothing."""
    try:
        fields = Fields(parse_object(note))
        process = fields.integer("process", 1, 2**31)
        return process, Path(fields.text("socket", 4_096))
    except FileError:
        return None, None


def _short_directory() -> Path | None:
    """A directory of ours with a short name, made if it is not there.

    Anybody can put something under a name in the shared one, so it only counts if it is ours alone.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    runtime = platformdirs.user_runtime_path("offset", appauthor=False)
    for directory in (runtime, Path(tempfile.gettempdir()) / f"offset-{user}"):
        if len(os.fsencode(directory)) > _SOCKET_PATH_BYTES_MAX - 24:
            continue
        with contextlib.suppress(OSError):
            directory.mkdir(mode=0o700, exist_ok=True)
            found = directory.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077:
                return directory
    return None


@contextlib.contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(f"cannot use {path}: {error.strerror}") from None
