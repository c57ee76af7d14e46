"""The card store as the app sees it: plain values, sentences, and nothing slow on the app's event loop.

Each method hands one call of `CardStore` to a worker thread and translates what comes back.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from offset_engine import cards as stored
from offset_engine.cards import CardSettings, CardStore
from offset_engine.client import AppPermissions
from offset_engine.disk import read_file, write_file
from offset_engine.errors import FileError
from offset_engine.files import Permissions, RemoteCard, Servers, Ticket, parse, to_json_line
from offset_engine.json_fields import Fields, Style, parse_object, pretty
from offset_engine.notebook import Notebook
from offset_tui import known_servers
from offset_tui.doors import (
    AppKey,
    AppSettings,
    BackupView,
    CardDoor,
    CardInfo,
    CardKind,
    CardPlace,
    Keeper,
    NeedsPassphraseError,
)

_T = TypeVar("_T")
_THEME_BYTES_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class _Read:
    """A notebook as it was found in a file."""

    path: Path
    stamp: tuple[int, int, int] | None
    """None = there was no file."""
    notebook: Notebook

    @property
    def is_newest(self) -> bool:
        """Whether the file is still the one that was read."""
        return self.path.parent.is_dir() and self.stamp == _stamp(self.path)


class StoreKeeper(Keeper):
    """Settings and notebooks, as the store keeps them."""

    def __init__(self, store: CardStore) -> None:
        """Use the cards of this store."""
        self.store: Final = store
        self._notebooks: dict[str, _Read] = {}
        self._notebook_turn = anyio.Lock()
        """Reading and keeping end in the order they began, so that the newest state is the last one given."""

    async def settings(self, name: str) -> CardSettings:
        """See `Keeper.settings`."""
        return (await in_thread(self.store.settings, name))[0]

    async def save_settings(self, name: str, settings: CardSettings) -> None:
        """See `Keeper.save_settings`."""
        await in_thread(self.store.save_settings, name, settings)

    async def notebook(self, name: str) -> Notebook:
        """See `Keeper.notebook`."""
        async with self._notebook_turn:
            return await in_thread(self._read_notebook, name)

    def _read_notebook(self, name: str) -> Notebook:
        known = self._notebooks.get(name)
        if known is not None and known.is_newest:
            return known.notebook
        path = self.store.notebook_path(name)
        # Taken before it is read: what is written in between is then read once more.
        read = _Read(path, _stamp(path), self.store.notebook(name))
        self._notebooks[name] = read
        return read.notebook

    async def save_notebook(self, name: str, before: Notebook, after: Notebook) -> Notebook:
        """See `Keeper.save_notebook`."""
        async with self._notebook_turn:
            return await in_thread(self.store.change_notebook, name, before, after)


class StoreDoor(StoreKeeper, CardDoor):
    """See the module; opening cards is left to a subclass."""

    def is_here(self, name: str) -> bool:
        """Whether this program runs the card itself."""
        raise NotImplementedError

    async def cards(self) -> tuple[CardInfo, ...]:
        """See `CardDoor.cards`."""
        found = await in_thread(self.store.cards)
        return tuple(self._view(one) for one in found)

    def _view(self, card: stored.CardInfo) -> CardInfo:
        place = CardPlace.OFF
        if card.state is stored.CardState.RUNNING:
            place = CardPlace.HERE if self.is_here(card.name) else CardPlace.BACKGROUND
        return CardInfo(
            card.name,
            card.public_key,
            CardKind(card.kind.value),
            place,
            card.is_enabled,
            card.is_protected,
            card.node_address,
            card.problem,
            card.warning,
        )

    # --- making and changing cards --------------------------------------------------------------

    async def create(self, name: str, passphrase: str | None = None) -> CardInfo:
        """See `CardDoor.create`."""
        return self._view(await in_thread(self.store.create, name, secret(passphrase)))

    async def add_remote(self, name: str, text: str) -> CardInfo:
        """See `CardDoor.add_remote`."""
        return self._view(await in_thread(self.store.add_remote, name, parse(text, RemoteCard)))

    async def rename(self, name: str, new_name: str) -> None:
        """See `CardDoor.rename`."""
        await in_thread(self.store.rename, name, new_name)

    async def set_enabled(self, name: str, *, is_enabled: bool) -> None:
        """See `CardDoor.set_enabled`."""
        await in_thread(self.store.set_enabled, name, is_enabled)

    async def set_passphrase(self, name: str, old: str | None, new: str | None) -> None:
        """See `CardDoor.set_passphrase`."""
        sealed = secret(new)
        if sealed is not None:
            await in_thread(self.store.protect, name, sealed, secret(old))
            return
        before = secret(old)
        if before is not None:
            await in_thread(self.store.unprotect, name, before)

    async def check_passphrase(self, name: str, passphrase: str) -> None:
        """See `CardDoor.check_passphrase`."""
        await in_thread(self.store.check_passphrase, name, needed(passphrase))

    async def remove(self, name: str) -> Path:
        """See `CardDoor.remove`."""
        return await in_thread(self.store.remove, name)

    async def known_servers(self) -> tuple[Servers | Ticket, ...]:
        """See `CardDoor.known_servers`."""
        return await in_thread(known_servers.load)

    # --- settings of the app ---------------------------------------------------------------------

    async def app_settings(self) -> AppSettings:
        """See `CardDoor.app_settings`; a file that cannot be read counts for nothing."""
        return await in_thread(self._read_app_settings)

    def _read_app_settings(self) -> AppSettings:
        try:
            fields = Fields(parse_object(read_file(self._app_path)))
            return AppSettings(fields.text("theme", _THEME_BYTES_MAX))
        except FileError:
            return AppSettings()

    async def save_app_settings(self, settings: AppSettings) -> None:
        """See `CardDoor.save_app_settings`."""
        text = pretty({"version": 1, "theme": settings.theme}, Style.MOBILE)
        await in_thread(self._write_app_settings, text)

    def _write_app_settings(self, text: str) -> None:
        self.store.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(self._app_path, text + "\n", secret=True, force=True)

    @property
    def _app_path(self) -> Path:
        return self.store.directory / "app.json"

    # --- backups --------------------------------------------------------------------------------

    async def backup(
        self, name: str, target: Path, passphrase: str, card_passphrase: str | None = None
    ) -> None:
        """See `CardDoor.backup`."""
        key = needed(passphrase)
        await in_thread(self.store.backup, name, target, key, secret(card_passphrase))

    async def read_backup(self, source: Path, passphrase: str) -> BackupView:
        """See `CardDoor.read_backup`."""
        info = await in_thread(stored.read_backup, source, needed(passphrase))
        warning = info.warning(time.time_ns() // 1_000_000)
        return BackupView(info.name, info.public_key, info.taken_ms, warning)

    async def restore(self, source: Path, passphrase: str, name: str | None = None) -> CardInfo:
        """See `CardDoor.restore`."""
        return self._view(await in_thread(self._restore, source, needed(passphrase), name))

    def _restore(
        self, source: Path, passphrase: stored.Passphrase, name: str | None
    ) -> stored.CardInfo:
        return self.store.card(self.store.restore(source, passphrase, name=name).name)

    # --- other devices --------------------------------------------------------------------------

    async def new_app_key(self, name: str, app_name: str, permissions: AppPermissions) -> str:
        """See `CardDoor.new_app_key`."""
        granted = Permissions(
            **{one.name: getattr(permissions, one.name) for one in fields(Permissions)}
        )
        return to_json_line(await in_thread(self.store.new_app, name, app_name, granted))

    async def apps(self, name: str) -> tuple[AppKey, ...]:
        """See `CardDoor.apps`."""
        return tuple(_app(one) for one in await in_thread(self.store.apps, name))

    async def remove_app(self, name: str, app_name: str) -> None:
        """See `CardDoor.remove_app`."""
        await in_thread(self.store.remove_app, name, app_name)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells one version of a file from another: each is a file of its own, put in the place of the last."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _app(app: stored.AppInfo) -> AppKey:
    found = app.permissions
    if found is None:
        return AppKey(app.name, app.public_key, None, app.problem)
    granted = AppPermissions(**{one.name: getattr(found, one.name) for one in fields(Permissions)})
    return AppKey(app.name, app.public_key, granted, app.problem)


async def in_thread(doing: Callable[..., _T], *arguments: object) -> _T:
    """Do something slow elsewhere; what fails for want of a passphrase says so.

    Raises:
        NeedsPassphraseError: it is missing or wrong.
        OffsetError: as `doing` raises it.
    """
    try:
        return await anyio.to_thread.run_sync(doing, *arguments)
    except (stored.PassphraseNeededError, stored.PassphraseError) as error:
        raise NeedsPassphraseError(str(error)) from None


def secret(text: str | None) -> stored.Passphrase | None:
    """What somebody typed, as a passphrase; None = no passphrase.

    Raises:
        FileError: it cannot be one.
    """
    return None if text is None else needed(text)


def needed(text: str) -> stored.Passphrase:
    """What somebody typed, as a passphrase.

    Raises:
        FileError: it cannot be one.
    """
    try:
        return stored.Passphrase.of(text)
    except ValueError as error:
        raise FileError(str(error)) from None
