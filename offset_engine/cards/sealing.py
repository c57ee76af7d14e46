"""Setting and taking off the passphrase of a card, so that what a killed process leaves can be opened.

Whoever calls has the turn in the card store. A card that is off is kept from others meanwhile; one that runs
is sealed when it is closed, which takes a turn too and so comes before all of this or after it.

| step of `protect` | key | database | step of `unprotect` | key | database |
|---|---|---|---|---|---|
| | plain | open | | sealed | sealed |
| seal the database | plain | sealed | unseal it | sealed | both |
| write the key | sealed | sealed | write the key | plain | both |
| | | | forget the sealed one | plain | open |

Source: apps.md RMP-36; PROTOCOL.md, "Card store".
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from offset_engine.cards.folder import Folder
from offset_engine.cards.values import CardBusyError, CardKind
from offset_engine.core.values import PrivateKey
from offset_engine.errors import OffsetError, StoreLockedError
from offset_engine.sealed import DEFAULT_COST, Cost, Passphrase

TRIES: Final = 20
PAUSE_S: Final = 0.25
"""Somebody who looks into a database is done within moments, unless it is a person."""
_T = TypeVar("_T")


def protect(
    folder: Folder, kind: CardKind, new: Passphrase, old: Passphrase | None, cost: Cost
) -> None:
    """Seal a card with a passphrase, or with another one.

    Raises:
        PassphraseNeededError, PassphraseError: it has a passphrase, and `old` is not it.
        FileError, StoreError: something cannot be read or written.
    """
    key = folder.open_identity(kind, old)
    with _kept_off(folder, kind) as is_off:
        if is_off:
            folder.seal_database(key)
        folder.write_identity(kind, key, new, cost)


def unprotect(folder: Folder, kind: CardKind, old: Passphrase) -> None:
    """Take the passphrase off a card.

    Raises:
        PassphraseError: `old` is not its passphrase.
        FileError, StoreError: something cannot be read or written.
    """
    key = folder.open_identity(kind, old)
    with _kept_off(folder, kind) as is_off:
        if is_off:
            folder.unseal_database(key)
        folder.write_identity(kind, key, None, DEFAULT_COST)
        if is_off:
            folder.forget_sealed_database()


def seal_leftover(folder: Folder, key: PrivateKey) -> None:
    """Seal what a killed process left open of a protected card, if that is possible now."""
    if folder.look().warning:
        with contextlib.suppress(OffsetError), _kept_off(folder, CardKind.LOCAL) as is_off:
            if is_off:
                folder.seal_database(key)


@contextlib.contextmanager
def _kept_off(folder: Folder, kind: CardKind) -> Iterator[bool]:
    """Keep a local card that is off from being run; gives False for any other."""
    if kind is CardKind.REMOTE:
        yield False
        return
    try:
        lease = folder.take()
    except CardBusyError:
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


def patiently(act: Callable[[], _T]) -> _T:
    """Do something with a database again for some seconds while somebody else reads it.

    Raises:
        StoreLockedError: they still do.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(StoreLockedError):
            return act()
        time.sleep(PAUSE_S)
    return act()
