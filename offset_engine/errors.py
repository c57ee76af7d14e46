"""Every exception class of the engine, and whose fault each one is.

Foreseen outcomes of the protocol are values, not exceptions; what is here is the rest.

| class | fault | caught by |
|---|---|---|
| `DecodeError`, `FrameError`, `HandshakeError`, `RecordError` | the other end | the link's driver: closes that link |
| `CommandError` | the local user | `node.step`, which answers the command |
| `TransportError` | nobody | its supervisor: tries again later |
| `StoreError` | the machine | the engine: stops before anything is sent |
| `FileError` | whoever made the file or text | the program or screen that read it |
| `InvariantError` | ourselves | the engine, as design R26 says |
"""

from typing import NoReturn


class OffsetError(Exception):
    """Base of all; the message is a sentence for people."""


class DecodeError(OffsetError):
    """Bytes from outside do not follow the protocol."""


class FrameError(DecodeError):
    """A byte stream cannot be cut into frames."""


class HandshakeError(OffsetError):
    """The other end could not prove who it is, or speaks another version."""


class RecordError(OffsetError):
    """An encrypted record was damaged, out of order or not allowed."""


class TransportError(OffsetError):
    """A connection could not be made or was lost."""


class StoreError(OffsetError):
    """The database cannot be opened, read or written."""


class StoreLockedError(StoreError):
    """Another process runs on this database."""


class StoreTooNewError(StoreError):
    """The database was written by a newer version."""


class StoreFullError(StoreError):
    """The disk is full; nothing was written."""


class StoreCorruptError(StoreError):
    """The database holds something this program would never write."""


class FileError(OffsetError):
    """A file or pasted text is not what it should be."""


class InvariantError(OffsetError):
    """Our own state is impossible: a bug, never somebody else's doing."""


def invariant(condition: bool, what: str, *details: object) -> None:  # noqa: FBT001
    """Insist that `condition` holds; `what` is a constant, `details` are only formatted on failure.

    Raises:
        InvariantError: it does not hold.
    """
    if not condition:
        broken(what, *details)


def broken(what: str, *details: object) -> NoReturn:
    """Report an impossible state.

    Raises:
        InvariantError: always.
    """
    raise InvariantError(" ".join([what, *map(repr, details)]))
