"""The card store: every card of one user on one computer, in one directory.

    STORE/cards/<directory>/   one card each, see `folder`
    STORE/trash/               removed cards, under the time they were removed; nothing looks there
    STORE/store.lock           held for the moments in which something changes

A card's name stands in its `card.json` and may change while it runs; its directory keeps the name it was
made with, by which nobody finds it unless it is broken.

Source: apps.md §4.1, CMP-01 to CMP-10; design R25, R47; PROTOCOL.md, "Card store".
"""

import secrets
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import platformdirs

from offset_engine.cards import apps, backup, sealing
from offset_engine.cards.backup import BackupInfo, Content
from offset_engine.cards.copying import check, content_of, lay_out
from offset_engine.cards.folder import Folder, Record
from offset_engine.cards.notes import change_notebook, load_notebook
from offset_engine.cards.opened import OpenCard, opened
from offset_engine.cards.settings import CardSettings, load_settings, save_settings
from offset_engine.cards.shelf import Shelf, named, refuse_name
from offset_engine.cards.values import (
    AppInfo,
    CardError,
    CardInfo,
    CardKind,
    CardState,
    SeveralCardsError,
    checked_name,
    is_same_name,
)
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, parse_address
from offset_engine.disk import write_bytes
from offset_engine.files import Permissions, RemoteCard
from offset_engine.net.remote_client import Dial, by_address, by_socket
from offset_engine.net.transport import Endpoint
from offset_engine.notebook import Notebook
from offset_engine.sealed import DEFAULT_COST, Cost, Passphrase
from offset_engine.store import SqliteStore


def default_directory() -> Path:
    """Where the cards of this user are unless somebody says otherwise."""
    return platformdirs.user_data_path("offset", appauthor=False)


class CardStore:
    """See the module. Names are found whatever their case; every method may raise a `CardError`.

    Methods with a passphrase take as long as hashing it does. Others may use the store at the same time.
    """

    def __init__(self, directory: Path | None = None, *, cost: Cost = DEFAULT_COST) -> None:
        """Use this directory; nothing is made before the first card is.

        Args:
            directory: None = `default_directory()`.
            cost: how much work a passphrase shall be for what is sealed from now on.
        """
        self.directory: Final = default_directory() if directory is None else directory.absolute()
        self._shelf: Final = Shelf(self.directory)
        self._cost = cost

    # --- looking --------------------------------------------------------------------------------

    def cards(self) -> tuple[CardInfo, ...]:
        """Every card by name, broken ones included.

        Raises:
            CardError: the directory of all cards cannot be read.
        """
        if not self._shelf.exists:
            return ()
        with self._shelf.turn():
            return self._shelf.look_around()

    def card(self, name: str) -> CardInfo:
        """The card with this name.

        Raises:
            CardError: there is none.
        """
        return self._now(name)

    def only(self) -> CardInfo:
        """The card somebody means who names none: the only one, or the only one enabled.

        Raises:
            SeveralCardsError: there are several.
            CardError: there is none.
        """
        found = [card for card in self.cards() if card.state is not CardState.BROKEN]
        if len(found) > 1:
            found = [card for card in found if card.is_enabled] or found
        if not found:
            raise CardError(f"there is no card in {self.directory}; make one first")
        if len(found) > 1:
            names = ", ".join(card.name for card in found)
            raise SeveralCardsError(f"there are several cards, say which one: {names}")
        return found[0]

    # --- making and changing --------------------------------------------------------------------

    def create(self, name: str, passphrase: Passphrase | None = None) -> CardInfo:
        """Make a local card with a new key; with a passphrase it is protected from the start.

        Raises:
            CardError: there is a card of this name, or the name cannot be one.
            FileError, StoreError: it cannot be written.
        """
        name = checked_name(name)
        key = PrivateKey(secrets.token_bytes(PrivateKey.SIZE))
        with self._shelf.turn(), self._shelf.new(name) as folder:
            folder.write_identity(CardKind.LOCAL, key, passphrase, self._cost)
            SqliteStore.create(folder.database, public_key_of(key)).close()
            if passphrase is not None:
                folder.seal_database(key)
            folder.write_record(Record(name, CardKind.LOCAL, _now_ms()))
        return self.card(name)

    def add_remote(
        self, name: str, remote: RemoteCard, passphrase: Passphrase | None = None
    ) -> CardInfo:
        """Add a card whose node runs elsewhere; nothing is asked of the node (`try_connection` does).

        Raises:
            CardError: there is a card of this name, the name cannot be one, or the address cannot be
                dialled.
            FileError: it cannot be written.
        """
        name = checked_name(name)
        try:
            address = parse_address(remote.node_address)
        except ValueError as error:
            raise CardError(f"the node's address cannot be used: {error}") from None
        record = Record(
            name, CardKind.REMOTE, _now_ms(), node=remote.node_public_key, node_address=address
        )
        with self._shelf.turn(), self._shelf.new(name) as folder:
            folder.write_identity(CardKind.REMOTE, remote.app_private_key, passphrase, self._cost)
            folder.write_record(record)
        return self.card(name)

    def rename(self, name: str, new_name: str) -> CardInfo:
        """Call a card something else, also while it runs."""
        new_name = checked_name(new_name)
        with self._shelf.turn():
            card = self._whole(name)
            others = [one for one in self._shelf.look_around() if one.directory != card.directory]
            refuse_name(new_name, others)
            folder = Folder(card.directory)
            folder.write_record(replace(folder.read_record(), name=new_name))
        return self.card(new_name)

    def set_enabled(self, name: str, is_enabled: bool) -> CardInfo:  # noqa: FBT001 - what it is about
        """Say whether the app opens the card when it starts; a running card runs on."""
        with self._shelf.turn():
            folder = Folder(self._whole(name).directory)
            folder.write_record(replace(folder.read_record(), is_enabled=is_enabled))
        return self.card(name)

    def remove(self, name: str) -> Path:
        """Put a card that is off away, broken or not; asks nothing and destroys nothing.

        Returns:
            Where it is now; who wants it gone deletes that directory.

        Raises:
            CardBusyError: it runs.
        """
        with self._shelf.turn():
            return self._shelf.put_away(named(name, self._shelf.look_around()))

    # --- settings -------------------------------------------------------------------------------

    def settings(self, name: str) -> tuple[CardSettings, str]:
        """A card's settings, and why they are the defaults, in a sentence, or ""."""
        return load_settings(Folder(self._now(name, is_whole=True).directory).settings)

    def save_settings(self, name: str, settings: CardSettings) -> None:
        """Replace a card's settings; addresses count from the next start of the card.

        A currency once used keeps its place and decimals even if these settings do not name it: another
        program may have begun to use it meanwhile.

        Raises:
            FileError: a setting is out of range, or the file cannot be written.
        """
        with self._shelf.turn():
            path = Folder(self._whole(name).directory).settings
            for one in load_settings(path)[0].currencies:
                settings = settings.with_currency(one.currency, one.decimals)
            save_settings(path, settings)

    def notebook(self, name: str) -> Notebook:
        """What a card's owner wants remembered; an empty one where there is none that can be read."""
        return load_notebook(Folder(self._now(name, is_whole=True).directory).notebook)

    def notebook_path(self, name: str) -> Path:
        """Where a card's notebook is, to see whether another program wrote it; the file may not be there."""
        return Folder(self._now(name, is_whole=True).directory).notebook

    def change_notebook(self, name: str, before: Notebook, after: Notebook) -> Notebook:
        """Keep what was changed between two states; what others changed meanwhile stays.

        Returns:
            What is kept now.

        Raises:
            FileError: the file cannot be read or written.
        """
        with self._shelf.turn():
            return change_notebook(Folder(self._whole(name).directory).notebook, before, after)

    # --- passphrases ----------------------------------------------------------------------------

    def protect(self, name: str, new: Passphrase, old: Passphrase | None = None) -> None:
        """Seal a card with a passphrase, or with another one; also while it runs.

        Raises:
            PassphraseNeededError, PassphraseError: it has a passphrase, and `old` is not it.
        """
        with self._shelf.turn():
            card = self._whole(name)
            sealing.protect(Folder(card.directory), card.kind, new, old, self._cost)

    def unprotect(self, name: str, old: Passphrase) -> None:
        """Take the passphrase off a card; also while it runs.

        Raises:
            PassphraseError: `old` is not its passphrase.
        """
        with self._shelf.turn():
            card = self._whole(name)
            sealing.unprotect(Folder(card.directory), card.kind, old)

    def check_passphrase(self, name: str, passphrase: Passphrase) -> None:
        """For a locked screen; a card without a passphrase takes any.

        Raises:
            PassphraseError: it is not the card's.
        """
        card = self._now(name, is_whole=True)
        Folder(card.directory).open_identity(card.kind, passphrase)

    # --- using ----------------------------------------------------------------------------------

    def open(self, name: str, passphrase: Passphrase | None = None) -> OpenCard:
        """Open a local card to run it; from now on no other process can.

        Raises:
            CardBusyError: somebody runs it: attach to that one.
            PassphraseNeededError, PassphraseError: it is protected, and the passphrase is not it.
            FileError, StoreError: something of it cannot be read.
        """
        with self._shelf.turn():
            card = self._whole(name)
            if card.kind is CardKind.REMOTE:
                raise CardError(f"{card.name} is a remote card: its node runs elsewhere")
            lease = Folder(card.directory).take()
        return opened(card, passphrase, lease, self._shelf.turn)

    def dial(self, name: str, passphrase: Passphrase | None = None) -> Dial:
        """How to reach a card as its app: a local one that runs by its door, a remote one by address.

        Raises:
            CardError: the local card is off, or has no door.
            PassphraseNeededError, PassphraseError: the remote card is protected, and this is not it.
        """
        card = self._now(name, is_whole=True)
        if card.kind is CardKind.LOCAL:
            if card.state is CardState.OFF:
                raise CardError(
                    f"{card.name} is not running; start it with: {self.start_of(card)}, or in the app: "
                    "offset"
                )
            if card.socket is None:
                raise CardError(f"{card.name} is starting or has no door; try again in a moment")
            return by_socket(card.socket)
        key = Folder(card.directory).open_identity(CardKind.REMOTE, passphrase)
        if card.public_key is None:
            raise CardError(f"{card.name} does not say which node it is for")
        return by_address(Endpoint(key), card.node_address, card.public_key)

    def start_of(self, card: CardInfo) -> str:
        """The command that runs a card without a screen."""
        words = ["offset", "run", card.name]
        if self.directory != default_directory():
            words += ["--store", str(self.directory)]
        return shlex.join(words)

    # --- apps of other devices ------------------------------------------------------------------

    def new_app(self, name: str, app_name: str, permissions: Permissions) -> RemoteCard:
        """Let another device use a local card: make its key, trust it, and give what it needs. Secret.

        Raises:
            CardError: the card has no address for apps (`CardSettings.app_address`), the name is
                taken, or the card is a remote one.
        """
        with self._shelf.turn():
            card = self._local(name)
            folder = Folder(card.directory)
            address = load_settings(folder.settings)[0].app_address
            if not address:
                raise CardError(
                    f"{card.name} listens for no apps: set the address where they reach it first"
                )
            if card.public_key is None:
                raise CardError(f"{card.name} has no key")
            key = PrivateKey(secrets.token_bytes(PrivateKey.SIZE))
            apps.trust(folder.trusted, app_name, public_key_of(key), permissions)
            return RemoteCard(card.public_key, address, key)

    def apps(self, name: str) -> tuple[AppInfo, ...]:
        """The apps a local card trusts, and tickets that count for nothing."""
        with self._shelf.turn():
            return apps.listed(Folder(self._local(name).directory).trusted)

    def remove_app(self, name: str, app_name: str) -> None:
        """Trust an app no longer; a running card cuts its connection within a second.

        Raises:
            CardError: there is no such app.
        """
        with self._shelf.turn():
            apps.distrust(Folder(self._local(name).directory).trusted, app_name)

    # --- backup and restore ---------------------------------------------------------------------

    def backup(
        self,
        name: str,
        out: Path,
        passphrase: Passphrase,
        card_passphrase: Passphrase | None = None,
        *,
        force: bool = False,
    ) -> BackupInfo:
        """Write a backup of a card, also while it runs.

        Args:
            name: the card.
            out: the file; for the owner only.
            passphrase: what the backup is sealed with.
            card_passphrase: what the card is protected with.
            force: replace the file if it exists.

        Raises:
            PassphraseNeededError, PassphraseError: the card is protected, and this is not it.
            FileError, StoreError: something cannot be read or written.
        """
        card = self._now(name, is_whole=True)
        folder = Folder(card.directory)
        key = folder.open_identity(card.kind, card_passphrase)
        content = sealing.patiently(lambda: self._copied(folder, key))
        write_bytes(out, backup.pack(content, passphrase, self._cost), secret=True, force=force)
        with self._shelf.turn():
            self._note_backup(folder, card)
        return content.info

    def _copied(self, folder: Folder, key: PrivateKey) -> Content:
        with self._shelf.turn():
            content = content_of(folder, key, _now_ms())
            sealing.seal_leftover(folder, key)
            return content

    @staticmethod
    def _note_backup(folder: Folder, card: CardInfo) -> None:
        """Remember when the last backup was made, unless the card went away while it was."""
        now = folder.look()
        settings, problem = load_settings(folder.settings)
        if not problem and (now.public_key, now.app_key) == (card.public_key, card.app_key):
            save_settings(folder.settings, replace(settings, backed_up_ms=_now_ms()))

    def restore(
        self,
        path: Path,
        passphrase: Passphrase,
        *,
        name: str | None = None,
        protect_with: Passphrase | None = None,
        force: bool = False,
    ) -> BackupInfo:
        """Make a card from a backup; every friend of it is in quarantine (design R25).

        Args:
            path: the backup.
            passphrase: what it is sealed with.
            name: what to call the card; None = as it was called.
            protect_with: the card's passphrase. Without one a card that was protected gets that of the
                backup.
            force: put a card away that has this name or this key; see `remove`.

        Raises:
            PassphraseError: it is not the backup's.
            CardBusyError: the card to put away runs.
            CardError: there is such a card, and `force` is not given.
            FileError, StoreError: the backup is damaged or too new, or something cannot be written.
        """
        content = backup.load(path, passphrase)
        info = content.info
        check(content)
        if protect_with is None and info.is_protected:
            protect_with = passphrase
        name = checked_name(info.name if name is None else name)
        with self._shelf.turn():
            doubles = self._doubles(name, info)
            if doubles and not force:
                raise CardError(
                    f"the card {doubles[0].name} has this name or this key already; restoring puts "
                    "it away, which --force allows"
                )
            for card in doubles:
                Folder(card.directory).take().release()
            with self._shelf.new(name, doubles) as folder:
                lay_out(folder, content, name)
                folder.write_identity(info.kind, content.private_key, protect_with, self._cost)
                if protect_with is not None and info.kind is CardKind.LOCAL:
                    folder.seal_database(content.private_key)
        return replace(info, name=name)

    def _doubles(self, name: str, info: BackupInfo) -> list[CardInfo]:
        """Cards that have this name, or run the node of this backup too."""
        return [
            card
            for card in self._shelf.look_around()
            if is_same_name(card.name, name)
            or (card.kind is info.kind is CardKind.LOCAL and card.public_key == info.public_key)
        ]

    # --- inside ---------------------------------------------------------------------------------

    def _now(self, name: str, *, is_whole: bool = False) -> CardInfo:
        """Look for a card outside of any turn."""
        if not self._shelf.exists:
            raise CardError(f"there is no card in {self.directory}; make one first")
        with self._shelf.turn():
            return self._whole(name) if is_whole else named(name, self._shelf.look_around())

    def _whole(self, name: str) -> CardInfo:
        """The card with this name, which must not be broken."""
        card = named(name, self._shelf.look_around())
        if card.state is CardState.BROKEN:
            raise CardError(f"the card {card.name} cannot be used: {card.problem}")
        return card

    def _local(self, name: str) -> CardInfo:
        card = self._whole(name)
        if card.kind is CardKind.REMOTE:
            raise CardError(f"{card.name} is a remote card: apps are trusted where its node runs")
        return card


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
