"""A whole card in one file, sealed under a passphrase of its own, and what an old one may cost.

Inside the seal (`sealed`, purpose BACKUP):

| bytes | what |
|---|---|
| 4 | length of the description, big-endian |
| so many | the description: JSON, with the key, the settings, the notebook and the tickets of apps |
| the rest | of a local card the database, a file of SQLite |

The description also says whom the card owed what, so that somebody can look before restoring. A restored
card signs nothing new to a friend before that friend has shown that the copy is not too old (design R25).

Source: apps.md RMP-37; design R25; PROTOCOL.md, "Sealed files and backups".
"""

import datetime as dt
import io
import struct
from dataclasses import replace
from pathlib import Path
from typing import Final

from offset_engine import sealed
from offset_engine.cards.settings import CardSettings, settings_from, settings_values
from offset_engine.cards.values import CardKind, kind_in, need_version
from offset_engine.core.crypto import public_key_of
from offset_engine.core.report import report
from offset_engine.core.state import NodeState
from offset_engine.core.values import (
    CREDITS_MAX,
    CURRENCY_BYTES_MAX,
    NAME_BYTES_MAX,
    WALL_MS_MAX,
    Currency,
    PrivateKey,
    PublicKey,
    value,
)
from offset_engine.errors import FileError
from offset_engine.files.describing import amount_text
from offset_engine.json_fields import Fields, Json, Style, one_line, parse_object
from offset_engine.sealed import (
    DEFAULT_COST,
    TOO_BIG,
    Cost,
    Passphrase,
    Purpose,
    SealedError,
    check,
    purpose_of,
    seal,
    unseal,
)
from offset_engine.text import quoted

BACKUP_VERSION: Final = 1
FRIENDS_LISTED_MAX: Final = 100_000
APPS_MAX: Final = 1_000
NOTEBOOK_BYTES_MAX: Final = 16 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")
_TICKET_BYTES_MAX: Final = 4_096
_PATH_BYTES_MAX: Final = 256
_TAKEN_MS_MAX: Final = 253_402_300_799_999
"""The last moment a calendar has."""
_DAY_MS: Final = 86_400_000


_MISSING: Final = "What the card did since is not in it."
_TWICE: Final = (
    "If this card still runs anywhere else, stop it there now, for good: two copies of one card "
    "spoil every friendship they use."
)
_QUARANTINE: Final = (
    "Each friend is asked first, and nothing new is signed to a friend before its own copy shows "
    "that yours is current. Where it is not, the friend's page shows both sides' balances and you "
    "have to agree on one: what you received since the backup is lost unless your friend confirms it."
)


@value
class FriendSum:
    """What a backup says of one friend."""

    name: str
    public_key: PublicKey
    is_consistent: bool
    """False: both sides disagreed already when the backup was made."""
    balances: tuple[tuple[Currency, int], ...]
    """Credits; positive = the friend owes us."""


@value
class BackupInfo:
    """What a backup holds; nothing in it is secret."""

    name: str
    kind: CardKind
    public_key: PublicKey
    """The node's."""
    taken_ms: int
    """UTC ms."""
    is_protected: bool
    """The card had a passphrase."""
    friends: tuple[FriendSum, ...]
    open_payments: int
    open_invoices: int
    settings: CardSettings

    def warning(self, now_ms: int) -> str:
        """What an older copy may cost: sentences for people, to be read before the card is used."""
        if self.kind is CardKind.REMOTE:
            return "This is the key of an app: nothing of it can be out of date but the key itself."
        made = _age(self.taken_ms, now_ms)
        parts = [f"This backup was made {made}. {_MISSING}", _TWICE, self._sums(), _QUARANTINE]
        if self.open_payments or self.open_invoices:
            parts.append(
                f"Under way when it was made: {_count(self.open_payments, 'payment')}, "
                f"{_count(self.open_invoices, 'invoice')}. Ask the other side what became of them "
                "before you pay or hand over anything again."
            )
        return "\n\n".join(parts)

    def _sums(self) -> str:
        if not self.friends:
            return "It knows no friends."
        lines = [f"It knows {_count(len(self.friends), 'friend')}:"]
        for friend in self.friends:
            sums = ", ".join(self._said(one, credits_) for one, credits_ in friend.balances)
            trouble = "" if friend.is_consistent else "; you disagreed already"
            lines.append(f"  {quoted(friend.name)}: {sums or 'no currency'}{trouble}")
        return "\n".join(lines)

    def _said(self, currency: Currency, credits_: int) -> str:
        amount = amount_text(abs(credits_), currency, self.settings.decimals_of(currency))
        if not credits_:
            return f"nothing owed in {quoted(currency)}"
        return f"owes you {amount}" if credits_ > 0 else f"you owe {amount}"


@value
class Content:
    """Secret. Everything in a backup."""

    info: BackupInfo
    created_ms: int
    private_key: PrivateKey
    """The node's; of a remote card the app's."""
    node_address: str
    """Of a remote card."""
    notebook: str
    apps: tuple[tuple[str, str], ...]
    """(name, ticket file)"""
    database: bytes


def info_of(name: str, state: NodeState, settings: CardSettings, now_ms: int) -> BackupInfo:
    """Describe a local card whose state is this; `is_protected` is left to the caller."""
    said = report(state)
    friends = tuple(
        FriendSum(
            friend.name,
            friend.public_key,
            friend.is_consistent,
            tuple(
                (one.currency, one.balance) for one in friend.currencies if one.balance is not None
            )
            or (friend.local_terms.balances if friend.local_terms is not None else ()),
        )
        for friend in said.friends
    )
    return BackupInfo(
        name,
        CardKind.LOCAL,
        state.local_public_key,
        now_ms,
        is_protected=False,
        friends=friends,
        open_payments=said.open_payments,
        open_invoices=said.open_invoices,
        settings=settings,
    )


def info_of_remote(name: str, node: PublicKey, settings: CardSettings, now_ms: int) -> BackupInfo:
    """Describe a remote card; `is_protected` is left to the caller."""
    return BackupInfo(
        name,
        CardKind.REMOTE,
        node,
        now_ms,
        is_protected=False,
        friends=(),
        open_payments=0,
        open_invoices=0,
        settings=settings,
    )


def quarantined(state: NodeState) -> NodeState:
    """The same state with every friend in quarantine (design R25)."""
    friends = {
        key: replace(friend.fork(), is_quarantined=True) for key, friend in state.friends.items()
    }
    return replace(state, friends=friends)


# --- the file -----------------------------------------------------------------------------------


def pack(content: Content, passphrase: Passphrase, cost: Cost = DEFAULT_COST) -> bytes:
    """The bytes of a backup file; takes as long as `cost` says.

    Raises:
        SealedError: it is too much for one file, or there is not enough memory.
    """
    description = one_line(_values(content), Style.MOBILE).encode()
    inner = _LENGTH.pack(len(description)) + description + content.database
    return seal(inner, passphrase, Purpose.BACKUP, cost)


def unpack(raw: bytes, passphrase: Passphrase) -> Content:
    """Read a backup file.

    Raises:
        PassphraseError: the passphrase is another one.
        FileError: it is no backup, damaged, or of a newer version.
    """
    inner = unseal(raw, passphrase, Purpose.BACKUP)
    if len(inner) < _LENGTH.size:
        raise SealedError("this backup is empty")
    (size,) = _LENGTH.unpack_from(inner)
    start = _LENGTH.size + size
    if start > len(inner):
        raise SealedError("this backup is cut off")
    try:
        text = inner[_LENGTH.size : start].decode()
    except UnicodeDecodeError:
        raise SealedError("this backup holds something this program would not write") from None
    fields = Fields(parse_object(text))
    need_version(fields, BACKUP_VERSION)
    return _content(fields, inner[start:])


def is_backup(path: Path) -> bool:
    """Whether the file looks like a backup, by its content."""
    try:
        with path.open("rb") as file:
            return purpose_of(file.read(16)) is Purpose.BACKUP
    except OSError:
        return False


def read_file(path: Path) -> bytes:
    """The bytes of a backup file.

    Raises:
        SealedError: it is no backup, damaged, far too long, or of a newer version.
        FileError: it cannot be read.
    """
    try:
        return sealed.read(path, Purpose.BACKUP)
    except SealedError as error:
        raise SealedError(f"{path}: {error}") from None
    except io.UnsupportedOperation:
        raise FileError(f"cannot read {path}: this is not an ordinary file") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "this is not a name a file can have"
        raise FileError(f"cannot read {path}: {why}") from None


def check_backup(path: Path) -> None:
    """Find out without its passphrase whether a backup can be opened at all.

    Raises:
        FileError: it cannot be read, is no backup, damaged, or of a newer version.
    """
    raw = read_file(path)
    try:
        check(raw, Purpose.BACKUP)
    except SealedError as error:
        raise SealedError(f"{path}: {error}") from None


def read_backup(path: Path, passphrase: Passphrase) -> BackupInfo:
    """Look into a backup without restoring it; takes a while.

    Raises:
        PassphraseError: the passphrase is another one.
        FileError: it cannot be read, is no backup, damaged, or of a newer version.
    """
    return load(path, passphrase).info


def load(path: Path, passphrase: Passphrase) -> Content:
    """Read a backup file; errors as `read_backup`, their sentences begin with the path."""
    raw = read_file(path)
    try:
        return unpack(raw, passphrase)
    except MemoryError:
        raise SealedError(f"{path}: {TOO_BIG}") from None
    except SealedError as error:
        raise type(error)(f"{path}: {error}") from None
    except FileError as error:
        raise FileError(f"{path}: {error}") from None


# --- the description ----------------------------------------------------------------------------


def _values(content: Content) -> dict[str, Json]:
    info = content.info
    return {
        "version": BACKUP_VERSION,
        "name": info.name,
        "kind": info.kind.value,
        "takenMs": info.taken_ms,
        "createdMs": content.created_ms,
        "isProtected": info.is_protected,
        "publicKey": info.public_key.to_text(),
        "privateKey": content.private_key.to_text(),
        "nodeAddress": content.node_address,
        "settings": settings_values(info.settings),
        "notebook": content.notebook,
        "apps": [{"name": name, "ticket": ticket} for name, ticket in content.apps],
        "friends": [_friend_values(friend) for friend in info.friends],
        "openPayments": info.open_payments,
        "openInvoices": info.open_invoices,
    }


def _friend_values(friend: FriendSum) -> dict[str, Json]:
    return {
        "name": friend.name,
        "publicKey": friend.public_key.to_text(),
        "isConsistent": friend.is_consistent,
        "balances": [
            {"currency": currency, "balance": str(balance)} for currency, balance in friend.balances
        ],
    }


def _content(fields: Fields, database: bytes) -> Content:
    kind = kind_in(fields)
    key = fields.fixed("privateKey", PrivateKey)
    info = BackupInfo(
        fields.text("name", _PATH_BYTES_MAX),
        kind,
        fields.fixed("publicKey", PublicKey),
        fields.number("takenMs", _TAKEN_MS_MAX),
        fields.flag("isProtected"),
        tuple(map(_friend, fields.objects("friends", FRIENDS_LISTED_MAX))),
        fields.number("openPayments", 2**31),
        fields.number("openInvoices", 2**31),
        settings_from(fields.object("settings")),
    )
    if kind is CardKind.LOCAL and public_key_of(key) != info.public_key:
        raise FileError("this backup holds another key than it says")
    apps = tuple(
        (one.text("name", _PATH_BYTES_MAX), one.text("ticket", _TICKET_BYTES_MAX))
        for one in fields.objects("apps", APPS_MAX)
    )
    return Content(
        info,
        fields.number("createdMs", WALL_MS_MAX),
        key,
        fields.address("nodeAddress"),
        fields.text("notebook", NOTEBOOK_BYTES_MAX),
        apps,
        database,
    )


def _friend(fields: Fields) -> FriendSum:
    balances = tuple(
        (
            Currency(one.text("currency", CURRENCY_BYTES_MAX)),
            one.integer("balance", -CREDITS_MAX, CREDITS_MAX),
        )
        for one in fields.objects("balances", 2**16)
    )
    return FriendSum(
        fields.text("name", NAME_BYTES_MAX),
        fields.fixed("publicKey", PublicKey),
        fields.flag("isConsistent"),
        balances,
    )


# --- words --------------------------------------------------------------------------------------


def _age(taken_ms: int, now_ms: int) -> str:
    moment = dt.datetime.fromtimestamp(taken_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    days = (now_ms - taken_ms) // _DAY_MS
    if days < 0:
        return f"on {moment}, which is in the future: one of the clocks is wrong"
    return f"on {moment}, {'less than a day' if not days else _count(days, 'day')} ago"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
