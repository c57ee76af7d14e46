"""The directories of all cards: finding, making and putting them away, one process at a time.

What is made appears whole or not at all: it is put together beside the others under a name that begins
with a dot. Once it is whole and others have to make way, it gets a second such name and says in a file which
ones; from then on whoever has the next turn brings it to its end. One broken card never hides another.
"""

import contextlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from offset_engine.cards.folder import Folder
from offset_engine.cards.values import (
    NAME_CHARS_MAX,
    CardError,
    CardInfo,
    CardState,
    is_same_name,
    slug_of,
)
from offset_engine.disk import clear_leftovers, read_file, sync_directory, write_file
from offset_engine.errors import FileError, OffsetError
from offset_engine.file_lock import FileHeldError, FileLock

_UNFINISHED: Final = ".new-"
_READY: Final = ".ready-"
_REPLACES: Final = "replaces.json"
_log: Final = logging.getLogger(__name__)


class Shelf:
    """See the module. All but `exists` and `turn` are for whoever has the turn."""

    def __init__(self, directory: Path) -> None:
        """Use this directory; it need not exist."""
        self.directory: Final = directory
        self._cards: Final = directory / "cards"
        self._trash: Final = directory / "trash"

    @property
    def exists(self) -> bool:
        """Whether there ever was a card."""
        return self._cards.is_dir()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Keep everybody else from looking or changing for a moment; never within itself."""
        with _sentences(self.directory):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._cards.mkdir(mode=0o700, exist_ok=True)
            lock = FileLock(self.directory / "store.lock", waits=True)
        try:
            self._tidy()
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def new(self, name: str, doubles: Sequence[CardInfo] = ()) -> Iterator[Folder]:
        """A directory for a new card, which appears when the block ends well; `doubles` make way then."""
        gone = [card.directory for card in doubles]
        refuse_name(name, [one for one in self.look_around() if one.directory not in gone])
        path = self._cards / f"{_UNFINISHED}{secrets.token_hex(8)}"
        try:
            with _sentences(path):
                path.mkdir(mode=0o700)
                (path / "trusted").mkdir(mode=0o700)
            yield Folder(path)
            if doubles:
                path = self._promised(path, gone)
            self._finish(path)
        except BaseException:
            # Once one of the others is away, what is new must not go too.
            if all(one.exists() for one in gone):
                shutil.rmtree(path, ignore_errors=True)
            raise

    def _promised(self, path: Path, gone: Sequence[Path]) -> Path:
        """Say in a whole card which ones make way for it; from now on a later turn can finish it."""
        ready = path.with_name(path.name.replace(_UNFINISHED, _READY, 1))
        write_file(path / _REPLACES, json.dumps([one.name for one in gone]), secret=True)
        with _sentences(path):
            path.rename(ready)
            sync_directory(self._cards)
        return ready

    def _finish(self, path: Path) -> None:
        """Put away what makes way for a whole card, and give that one its name."""
        listed = path / _REPLACES
        for directory in self._listed_in(listed):
            if directory.exists():
                self._put_away(directory)
        with _sentences(path):
            listed.unlink(missing_ok=True)
            path.rename(_free(self._cards, slug_of(Folder(path).read_record().name)))
            sync_directory(self._cards)

    def _listed_in(self, listed: Path) -> list[Path]:
        if not listed.exists():
            return []
        try:
            return [self._cards / str(name) for name in json.loads(read_file(listed))]
        except (ValueError, TypeError):
            raise FileError(f"{listed} does not say which cards make way") from None

    def _tidy(self) -> None:
        """Finish or remove what killed processes left; nobody else is at it while we have our turn."""
        for path in self._cards.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self._cards.glob(f"{_READY}*"):
            try:
                self._finish(path)
            except OffsetError as error:
                _log.warning("a restored card in %s cannot be put in its place: %s", path, error)

    def look_around(self) -> tuple[CardInfo, ...]:
        """Every card by name, broken ones included.

        Raises:
            CardError: the directory of all cards cannot be read.
        """
        folders = self._folders()
        for path in folders:
            # What a killed process was writing there may be a secret in the clear.
            clear_leftovers(path)
        found = [Folder(path).look() for path in folders]
        return tuple(sorted(found, key=lambda card: (card.name.casefold(), card.directory)))

    def _folders(self) -> list[Path]:
        with _sentences(self._cards):
            entries = sorted(self._cards.iterdir())
        return [path for path in entries if not path.name.startswith(".") and path.is_dir()]

    def put_away(self, card: CardInfo) -> Path:
        """Move a card that is off to the trash; gives where it is now.

        Raises:
            CardBusyError: it runs.
        """
        return self._put_away(card.directory)

    def _put_away(self, directory: Path) -> Path:
        lease = Folder(directory).take()
        try:
            stamp = time.strftime("%Y-%m-%d-%H%M%S", time.localtime())
            with _sentences(self._trash):
                self._trash.mkdir(mode=0o700, exist_ok=True)
                target = _free(self._trash, f"{stamp}-{directory.name}")
                directory.rename(target)
        finally:
            lease.release()
        return target


def named(name: str, cards: Sequence[CardInfo]) -> CardInfo:
    """The card somebody means by the name it is shown with; a broken one also by its directory's name.

    A directory keeps the name a card was made with, and once it is renamed that may be another card's.

    Raises:
        CardError: there is none.
    """
    found = [card for card in cards if is_same_name(card.name, name)]
    found.sort(key=lambda card: card.state is CardState.BROKEN)
    found += [
        card for card in cards if card.state is CardState.BROKEN and card.directory.name == name
    ]
    if found:
        return found[0]
    known = ", ".join(card.name for card in cards)
    raise CardError(f"there is no card {name[:NAME_CHARS_MAX]!a}; there is: {known or 'none'}")


def refuse_name(name: str, cards: Sequence[CardInfo]) -> None:
    """Insist that none of these cards has the name.

    Raises:
        CardError: one has.
    """
    for card in cards:
        if is_same_name(card.name, name):
            raise CardError(f"there is a card {card.name} already; choose another name")


def _free(directory: Path, name: str) -> Path:
    """A path in the directory that is not there yet."""
    number = 1
    path = directory / name
    while os.path.lexists(path):
        number += 1
        path = directory / f"{name}-{number}"
    return path


@contextlib.contextmanager
def _sentences(path: Path) -> Iterator[None]:
    try:
        yield
    except FileHeldError:
        raise CardError(f"another program holds {path}; try again in a moment") from None
    except OSError as error:
        raise CardError(f"cannot use {path}: {error.strerror}") from None
