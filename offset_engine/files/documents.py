"""Artifacts in files: one door for reading and writing every kind, and one for pasted text.

`parse` and `load` are told what is needed and refuse the rest, naming what was found. Where a friend
card is needed an invite or an answer does too, and where a relay's or an index server's ticket is
needed a `servers` text does.

Source: apps.md §7.2, §7.3.
"""

import re
from pathlib import Path
from typing import Final, TypeVar

from offset_engine.core.signing import Commit, Invoice, Receipt
from offset_engine.core.values import RelayAddress
from offset_engine.disk import read_file, write_file
from offset_engine.errors import FileError
from offset_engine.files.artifacts import (
    Answer,
    Artifact,
    Content,
    FriendCard,
    Invite,
    Role,
    Servers,
    Ticket,
    is_secret,
    kind_for,
    kind_of_content,
)
from offset_engine.files.json_forms import to_json
from offset_engine.files.pasted import from_object, read_any
from offset_engine.json_fields import Kind, Style, kind_of, parse_object

_C = TypeVar("_C", bound=Content)

EXTENSIONS: Final = {
    Kind.IDENTITY: "ident",
    Kind.SEALED_IDENTITY: "ident",
    Kind.TICKET: "ticket",
    Kind.RELAY: "relay",
    Kind.INDEX: "index",
    Kind.APP_TICKET: "ticket",
    Kind.FRIEND: "friend",
    Kind.REMOTE_CARD: "rcard",
    Kind.INVOICE: "invoice",
    Kind.COMMIT: "commit",
    Kind.RECEIPT: "receipt",
    Kind.PAYMENT: "payment",
    Kind.TOKEN: "token",
    Kind.SERVERS: "servers",
    Kind.INVITE: "invite",
    Kind.ANSWER: "answer",
}
_ROLES: Final = {".relay": Role.RELAY, ".index": Role.INDEX}


def parse(text: str, wanted: type[_C], role: Role = Role.ANY) -> _C:
    """Read text that should hold one artifact of this type, in whatever form.

    Args:
        text: a file's content, or what somebody pasted.
        wanted: the type needed.
        role: for a `Ticket`, whose it must be; a ticket that does not say it will do.

    Raises:
        FileError: there is none, there are several, or it is damaged.
    """
    needed = kind_for(wanted, role)
    found = [_as(content, wanted, role) for content in _contents(text, needed)]
    fitting = [one for one in found if isinstance(one, wanted) and _has_role(one, role)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise FileError(f"there are {len(fitting)} artifacts in this text, each {needed}: give one")
    kinds = ", ".join(dict.fromkeys(kind_of_content(one) for one in found))
    raise FileError(f"this is {kinds}, but {needed} is needed here")


def load(path: Path | str, wanted: type[_C], role: Role = Role.ANY) -> _C:
    """Read a file that should hold one artifact of this type.

    Raises:
        FileError: as `parse`, or it cannot be read; the sentence begins with the path.
    """
    text = read_file(path)
    try:
        return parse(text, wanted, role)
    except FileError as error:
        raise FileError(f"{path}: {error}") from None


def load_any(path: Path | str) -> list[Artifact]:
    """Read every artifact in a file; a ticket's role is taken from the file's extension.

    Raises:
        FileError: as `read_any`, or it cannot be read; the sentence begins with the path.
    """
    text = read_file(path)
    role = _ROLES.get(Path(path).suffix.lower(), Role.ANY)
    try:
        found = read_any(text)
    except FileError as error:
        raise FileError(f"{path}: {error}") from None
    return [_with_role(one, role) for one in found]


def write(
    path: Path | str,
    content: Content,
    *,
    style: Style = Style.MOBILE,
    force: bool = False,
    private: bool = False,
) -> None:
    """Write an artifact as JSON with a new line at the end; what should reach nobody else is for the owner only.

    Whoever holds a commit can have the seller collect, so it is treated like a secret here. With `private`
    anything is for the owner only.

    Raises:
        FileError: the file exists and `force` is not given, or it cannot be written.
    """
    secret = private or is_secret(content) or isinstance(content, Commit)
    write_file(path, to_json(content, style) + "\n", secret=secret, force=force)


def file_name(content: Content, about: str, day: str) -> str:
    """A name no other artifact of that day has: `invoice-2-chocolate-bars-3c240a82-2024-05-01.invoice`.

    Args:
        content: what the file will hold.
        about: whom or what it is about, foreign text; may be empty.
        day: the date as the user's calendar has it, `2024-05-01`.
    """
    kind = kind_of_content(content)
    extension = EXTENSIONS[kind]
    slug = re.sub(r"[^a-z0-9]+", "-", about.lower()).strip("-")[:32].strip("-")
    parts = [extension, slug, _short_id(content), day]
    return "-".join(part for part in parts if part) + f".{extension}"


def _short_id(content: Content) -> str:
    match content:
        case Invoice() | Commit() | Receipt():
            return content.invoice_id[:4].hex()
        case Invite() | Answer():
            return content.card.public_key[:4].hex()
        case Ticket() | FriendCard():
            return content.public_key[:4].hex()
        case _:
            return ""


# --- what will do -------------------------------------------------------------------------------


_WILL_DO: Final = {
    Kind.FRIEND: (Kind.FRIEND, Kind.INVITE, Kind.ANSWER),
    Kind.RELAY: (Kind.TICKET, Kind.SERVERS),
    Kind.INDEX: (Kind.TICKET, Kind.SERVERS),
}
"""What fields may say where something is needed; elsewhere exactly that."""


def _contents(text: str, needed: Kind) -> list[Content]:
    """What the text holds; an object whose fields say nothing is read as what is needed."""
    try:
        values = parse_object(text)
    except FileError:
        return [artifact.content for artifact in read_any(text)]
    kind = kind_of(values)
    if kind is not None and kind not in _WILL_DO.get(needed, (needed,)):
        raise FileError(f"this is {kind}, but {needed} is needed here")
    return [from_object(values, needed).content]


def _has_role(content: Content, role: Role) -> bool:
    return role is Role.ANY or not isinstance(content, Ticket) or content.role is role


def _as(content: Content, wanted: type[object], role: Role) -> Content:
    """The content, or the part of it that is wanted."""
    match content:
        case Invite() | Answer() if wanted is FriendCard:
            return content.card
        case Servers() if wanted is Ticket and role is not Role.ANY:
            return ticket_of(content.relay if role is Role.RELAY else content.index, role)
        case Ticket() if wanted is Ticket and content.role is Role.ANY:
            return Ticket(content.public_key, content.address, role)
        case _:
            return content


def ticket_of(place: RelayAddress, role: Role) -> Ticket:
    """The ticket of a relay or index server named in another artifact."""
    return Ticket(place.public_key, place.address, role)


def _with_role(artifact: Artifact, role: Role) -> Artifact:
    content = artifact.content
    if not isinstance(content, Ticket) or content.role is not Role.ANY:
        return artifact
    named = Ticket(content.public_key, content.address, role)
    return Artifact(named, artifact.form, artifact.warnings, artifact.unknown)
