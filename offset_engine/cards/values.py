"""What the card store says about cards, and the names a card may have."""

import enum
import re
import unicodedata
from pathlib import Path
from typing import Final

from offset_engine.core.values import PublicKey, value
from offset_engine.errors import FileError, OffsetError
from offset_engine.files import Permissions
from offset_engine.json_fields import Fields

NAME_CHARS_MAX: Final = 64
_SLUG_CHARS_MAX: Final = 40
_RESERVED: Final = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
"""Names of devices on Windows; no file can be called so."""


class CardError(OffsetError):
    """The card store refuses; the message says what to do, and nothing changed."""


class SeveralCardsError(CardError):
    """No card was named, and there are several."""


class PassphraseNeededError(CardError):
    """The card is protected, and no passphrase was given."""


class CardBusyError(CardError):
    """Another process runs the card, or this one does already."""

    def __init__(self, text: str, process: int | None, socket: Path | None) -> None:
        """Keep who it is and where it can be reached, as far as that is known."""
        super().__init__(text)
        self.process: Final = process
        self.socket: Final = socket


class CardKind(enum.StrEnum):
    """Where the node of a card is."""

    LOCAL = "local"
    """Here: identity and database are in the card's directory."""
    REMOTE = "remote"
    """Elsewhere: the card holds the key of an app of that node."""


class CardState(enum.StrEnum):
    """What a look at a card's directory tells."""

    OFF = "off"
    RUNNING = "running"
    """A process runs its node; a remote card is never running."""
    BROKEN = "broken"


@value
class CardInfo:
    """A look at one card; nothing in it is secret."""

    name: str
    """As shown; a broken card may have its directory's name."""
    directory: Path
    kind: CardKind
    """LOCAL where that is not known."""
    state: CardState
    problem: str = ""
    """Why the card is broken, in a sentence."""
    is_enabled: bool = True
    """Opened when the app starts."""
    is_protected: bool = False
    """Its key is sealed with a passphrase."""
    public_key: PublicKey | None = None
    """The node's."""
    app_key: PublicKey | None = None
    """Of a remote card: the key it shows the node."""
    node_address: str = ""
    """Of a remote card: `host:port`."""
    created_ms: int = 0
    """UTC ms."""
    process: int | None = None
    """Who runs it."""
    socket: Path | None = None
    """Its local door, if it is open."""
    warning: str = ""
    """What is not as it should be although the card can be used, in a sentence."""


@value
class AppInfo:
    """One ticket in the directory of apps a card trusts."""

    name: str
    """Its file's name without the extension."""
    public_key: PublicKey | None
    permissions: Permissions | None
    problem: str = ""
    """Why the ticket counts for nothing, in a sentence."""


def checked_name(text: str) -> str:
    """The name a card gets for what somebody typed.

    Raises:
        CardError: it cannot be a card's name; says why.
    """
    name = unicodedata.normalize("NFC", text).strip()
    if not name:
        raise CardError("a card needs a name")
    if len(name) > NAME_CHARS_MAX:
        raise CardError(f"a card's name has at most {NAME_CHARS_MAX} characters, not {len(name)}")
    if not name.isprintable():
        raise CardError("a card's name is letters, digits, signs and spaces, nothing invisible")
    if name.startswith("-"):
        raise CardError("a card's name cannot begin with -, which begins flags")
    return name


def is_same_name(one: str, other: str) -> bool:
    """Whether two names would be mistaken for each other: case does not count."""
    return _folded(one) == _folded(other)


def slug_of(name: str) -> str:
    """What a directory or file for this name can be called on every system."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG_CHARS_MAX].strip("-")
    return f"card-{slug}".strip("-") if not slug or _RESERVED.fullmatch(slug) else slug


def need_version(fields: Fields, newest: int) -> None:
    """Insist that a file was written by this version or an older one.

    Raises:
        FileError: it was not, or does not say.
    """
    version = fields.integer("version", 1, 2**31)
    if version > newest:
        raise FileError(f"a newer version of this program wrote it (format {version})")


def kind_in(fields: Fields) -> CardKind:
    """The kind a file names.

    Raises:
        FileError: it names none.
    """
    try:
        return CardKind(fields.text("kind", 16))
    except ValueError:
        raise FileError('field "kind" must be "local" or "remote"') from None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()
