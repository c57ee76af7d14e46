"""The artifacts: everything that passes between people or programs outside the network, as values.

| kind | from → to | secret |
|---|---|---|
| identity, plain or sealed | whoever made it → that program | yes |
| ticket of a node, relay or index server | its operator → others | no |
| app ticket | an app's owner → a node's trusted directory | no |
| friend card | a card → a future friend | no |
| remote card | a node's owner → the device that controls it | yes |
| invoice, commit, receipt | seller → buyer → seller → buyer | a commit should reach only the seller |
| payment handle | `stctrl buyer pay-invoice` → `payment-status` | no |
| token | what a friend signed last → anybody it should convince | no |
| servers, invite, answer | between two people who befriend each other | no |

Addresses and currencies are kept as they stand, up to their length (design R4); whether they can be
dialled or used is decided where that happens. Keys must be keys somebody can have. Amounts may be as
large as the original allowed (128 bits); a node refuses what is beyond its own range.

Source: apps.md §1, design R4, R8, R9, R13; offset-docs "Offset files".
"""

import enum
from collections.abc import Iterator
from typing import Final, TypeAlias

from offset_engine.core.crypto import is_valid_identity
from offset_engine.core.signing import Commit, Invoice, Receipt, TokenInfo
from offset_engine.core.values import (
    Currency,
    HashResult,
    PaymentId,
    PrivateKey,
    PublicKey,
    RandValue,
    RelayAddress,
    Signature,
    value,
)
from offset_engine.errors import FileError
from offset_engine.json_fields import Kind

CARD_TERMS_MAX: Final = 16
"""Currencies a friend card, invite or answer may offer."""
NO_NONCE: Final = RandValue(bytes(RandValue.SIZE))
"""What an invite of an older version has."""


class Role(enum.StrEnum):
    """Whose address a ticket tells; the fields of the file do not say it."""

    ANY = "any"
    RELAY = "relay"
    INDEX = "index"


@value
class Identity:
    """Secret. The key of a node, relay, index server or app."""

    private_key: PrivateKey


@value
class SealedIdentity:
    """An identity under a passphrase; its public key can be read without."""

    public_key: PublicKey
    """As the file says it; opening it shows whether that is so."""
    sealed: bytes


@value
class Ticket:
    """A node's, relay's or index server's key and where it listens, exactly as the file says it."""

    public_key: PublicKey
    address: str
    """At most 256 bytes; not checked to be something one can dial."""
    role: Role = Role.ANY


@value
class Permissions:
    """What an app may do with a node."""

    routes: bool = False
    buyer: bool = False
    seller: bool = False
    config: bool = False
    read: bool = True
    """See the report; files of 2020 do not say it and mean yes."""
    transactions: bool = False
    """See payments and invoices; files of 2020 do not say it and mean: buyer or seller."""


@value
class AppTicket:
    """Lets the app with this key connect to the node that trusts the ticket."""

    public_key: PublicKey
    permissions: Permissions


@value
class Terms:
    """What somebody offers in one currency: a suggestion, each side sets its own limit."""

    currency: Currency
    decimals: int
    """Digits after the point, 0 to 254; 255 = not stated."""
    limit_offered: int
    """Credits the offering side lets the other owe."""


@value
class FriendCard:
    """How to become somebody's friend: key and relays; the rest are our additions."""

    public_key: PublicKey
    relays: tuple[RelayAddress, ...]
    """Addresses as they stand, not canonical."""
    name: str = ""
    """What the owner calls the card."""
    terms: tuple[Terms, ...] = ()
    address: str = ""
    """Where the node itself could be dialled; kept, not used (design R44)."""


@value
class RemoteCard:
    """Secret. Full control of a node, within what the app's key may do there."""

    node_public_key: PublicKey
    node_address: str
    app_private_key: PrivateKey


@value
class PaymentHandle:
    """Names a payment under way, for asking about it later."""

    payment_id: PaymentId


@value
class Token:
    """A friend's last signed move token: that friend acknowledges these balances."""

    prefix_hash: HashResult
    rand_nonce: RandValue
    new_token: Signature
    info: TokenInfo
    """From the signer's side, in the file's order."""


@value
class Servers:
    """A relay and an index server for somebody who has none; often one program, key and address."""

    relay: RelayAddress
    index: RelayAddress


@value
class Invite:
    """A friend card with the servers one needs to answer it."""

    card: FriendCard
    servers: Servers | None
    nonce: RandValue = NO_NONCE
    """Random: so that no two invites are one, and only who was sent it can answer."""


@value
class Answer:
    """The card an invited person sends back."""

    card: FriendCard
    invite_hash: HashResult
    """`invite_hash` of the invite answered."""


Content: TypeAlias = (
    Identity
    | SealedIdentity
    | Ticket
    | AppTicket
    | FriendCard
    | RemoteCard
    | Invoice
    | Commit
    | Receipt
    | PaymentHandle
    | Token
    | Servers
    | Invite
    | Answer
)


class Form(enum.StrEnum):
    """How an artifact was written down."""

    JSON = "JSON"
    TEXT = "text"
    QR = "QR code"
    PARTS = "QR code in parts"


@value
class Artifact:
    """One artifact found in a file or in pasted text."""

    content: Content
    form: Form
    warnings: tuple[str, ...] = ()
    """What is odd but accepted, in sentences."""
    unknown: tuple[str, ...] = ()
    """Names of fields that mean nothing to this version; foreign text."""


def kind_of_content(content: Content) -> Kind:
    """What the content is."""
    return _TICKETS[content.role] if isinstance(content, Ticket) else _KINDS[type(content)]


_TICKETS: Final = {Role.ANY: Kind.TICKET, Role.RELAY: Kind.RELAY, Role.INDEX: Kind.INDEX}
_KINDS: Final[dict[type[object], Kind]] = {
    Identity: Kind.IDENTITY,
    SealedIdentity: Kind.SEALED_IDENTITY,
    AppTicket: Kind.APP_TICKET,
    FriendCard: Kind.FRIEND,
    RemoteCard: Kind.REMOTE_CARD,
    Invoice: Kind.INVOICE,
    Commit: Kind.COMMIT,
    Receipt: Kind.RECEIPT,
    PaymentHandle: Kind.PAYMENT,
    Token: Kind.TOKEN,
    Servers: Kind.SERVERS,
    Invite: Kind.INVITE,
    Answer: Kind.ANSWER,
}


def kind_for(wanted: type[object], role: Role = Role.ANY) -> Kind:
    """What a content of this type is."""
    return _TICKETS[role] if wanted is Ticket else _KINDS[wanted]


def is_secret(content: Content) -> bool:
    """Whether the content must not be shown, printed as text, or readable by others."""
    return isinstance(content, Identity | SealedIdentity | RemoteCard)


def check_keys(content: Content) -> None:
    """Insist that every key of somebody else is one that somebody can have.

    Invoices, commits, receipts and tokens are left out: their signatures say more.

    Raises:
        FileError: one is not.
    """
    for name, key in _keys(content):
        if not is_valid_identity(key):
            raise FileError(f'field "{name}" is not a usable key: nobody can have it')


def _keys(content: Content) -> Iterator[tuple[str, PublicKey]]:
    match content:
        case SealedIdentity() | Ticket() | AppTicket():
            yield "publicKey", content.public_key
        case RemoteCard():
            yield "nodePublicKey", content.node_public_key
        case FriendCard():
            yield "publicKey", content.public_key
            for number, relay in enumerate(content.relays):
                yield f"relays[{number}].publicKey", relay.public_key
        case Servers():
            yield "relay.publicKey", content.relay.public_key
            yield "index.publicKey", content.index.public_key
        case Invite():
            yield from _keys(content.card)
            if content.servers is not None:
                yield from _keys(content.servers)
        case Answer():
            yield from _keys(content.card)
        case _:
            pass
