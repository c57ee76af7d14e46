"""Identity files, plain or sealed with a passphrase; which it is, the content says.

A sealed one tells its public key to everybody, so that tickets can be made and cards listed without
the passphrase; that the key is the right one shows when it is opened.

Source: apps.md §1 A1, RMP-21; PROTOCOL.md, "Sealed files and backups".
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.disk import read_file
from offset_engine.errors import FileError
from offset_engine.files.artifacts import Identity, SealedIdentity
from offset_engine.files.documents import parse, write
from offset_engine.json_fields import Kind, kind_of, parse_object
from offset_engine.sealed import (
    DEFAULT_COST,
    Cost,
    Passphrase,
    Purpose,
    SealedError,
    seal,
    unseal,
)

Ask: TypeAlias = Callable[[str], Passphrase]
"""Gets the passphrase of what is named; called only if there is one."""


def read_identity(path: Path | str) -> Identity | SealedIdentity:
    """Read an `.ident` file as it stands.

    Raises:
        FileError: it cannot be read or is no identity; the sentence begins with the path.
    """
    text = read_file(path)
    try:
        if _is_sealed(text):
            return parse(text, SealedIdentity)
        return parse(text, Identity)
    except FileError as error:
        raise FileError(f"{path}: {error}") from None


def load_identity(path: Path | str, ask: Ask | None = None) -> PrivateKey:
    """Read an `.ident` file.

    Args:
        path: the file.
        ask: gets the passphrase if the file is sealed with one; may raise a FileError of its own.

    Raises:
        PassphraseError: the passphrase is another one.
        FileError: it cannot be read or is no identity, or is sealed and `ask` is None.
    """
    found = read_identity(path)
    if isinstance(found, Identity):
        return found.private_key
    if ask is None:
        raise FileError(f"{path} is sealed with a passphrase, and there is nobody to ask for it")
    passphrase = ask(str(path))
    try:
        return unseal_identity(found, passphrase)
    except SealedError as error:
        raise type(error)(f"{path}: {error}") from None


def write_identity(
    path: Path | str,
    private_key: PrivateKey,
    passphrase: Passphrase | None = None,
    *,
    force: bool = False,
    cost: Cost = DEFAULT_COST,
) -> None:
    """Write an `.ident` file only its owner can read, sealed if there is a passphrase.

    Raises:
        SealedError: there is not enough memory to seal it.
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    if passphrase is None:
        write(path, Identity(private_key), force=force)
    else:
        write(path, seal_identity(private_key, passphrase, cost), force=force)


def load_public_key(path: Path | str) -> PublicKey:
    """Whose identity an `.ident` file holds; needs no passphrase.

    Raises:
        FileError: it cannot be read or is no identity.
    """
    return public_key_in(read_identity(path))


def public_key_in(found: Identity | SealedIdentity) -> PublicKey:
    """Whose identity this is."""
    if isinstance(found, SealedIdentity):
        return found.public_key
    return public_key_of(found.private_key)


def seal_identity(
    private_key: PrivateKey, passphrase: Passphrase, cost: Cost = DEFAULT_COST
) -> SealedIdentity:
    """Seal an identity; takes as long as `cost` says.

    Raises:
        SealedError: there is not enough memory.
    """
    sealed = seal(bytes(private_key), passphrase, Purpose.IDENTITY, cost)
    return SealedIdentity(public_key_of(private_key), sealed)


def unseal_identity(identity: SealedIdentity, passphrase: Passphrase) -> PrivateKey:
    """Open a sealed identity; takes as long as the cost it was sealed with.

    Raises:
        PassphraseError: the passphrase is another one.
        SealedError: it is damaged, or holds another key than it says.
    """
    raw = unseal(identity.sealed, passphrase, Purpose.IDENTITY)
    if len(raw) != PrivateKey.SIZE or public_key_of(PrivateKey(raw)) != identity.public_key:
        raise SealedError("the key inside is not the one the file names: somebody changed it")
    return PrivateKey(raw)


def _is_sealed(text: str) -> bool:
    try:
        return kind_of(parse_object(text)) is Kind.SEALED_IDENTITY
    except FileError:  # whoever reads it says what is wrong
        return False
