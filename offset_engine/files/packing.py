"""Artifacts as few bytes, for text and QR codes.

    kind letter ‖ version 01 ‖ fields
    kind letter ‖ version 02 ‖ fields ‖ count ‖ count × (tag u8 ‖ length u8 ‖ value)

Binary fields stand as they are; an amount is a length byte and that many big-endian bytes without
leading zero; a string a length byte and UTF-8; a list a count byte and its items. Version 02 is written
only when there is a tag to write. Unknown tags are skipped. Servers, invites and answers name every
key and every address once, in tables at their beginning, in the order of first use.

| letter | kind | fields |
|---|---|---|
| I | invoice | invoice id, currency, seller's key, amount, description |
| C | commit | response hash, source lock, hashed destination lock, part, total, invoice id, currency, signature |
| R | receipt | response hash, invoice id, currency, both locks, is complete, part, total, signature |
| F | friend | key, list of (key, address) |
| L, X | relay, index | key, address |
| S | servers | keys, addresses, relay, index server |
| V | invite | keys, addresses, relays, name, terms, 00 or 01 and relay, index server |
| A | answer | keys, addresses, relays, name, terms, hash of the invite |

Source: apps.md §7.5, design R2, R9.
"""

import enum
from collections.abc import Sequence
from typing import Final, TypeAlias

from offset_engine.core.crypto import sha512_256
from offset_engine.core.signing import DECIMALS_NONE, Commit, Invoice, Receipt
from offset_engine.core.values import HashResult, PublicKey, RelayAddress
from offset_engine.errors import FileError
from offset_engine.files.artifacts import (
    NO_NONCE,
    Answer,
    Content,
    FriendCard,
    Invite,
    Role,
    Servers,
    Terms,
    Ticket,
)

Packable: TypeAlias = Invoice | Commit | Receipt | FriendCard | Ticket | Servers | Invite | Answer
Tags: TypeAlias = list[tuple[int, bytes]]

WORDS: Final = {
    "I": "invoice",
    "C": "commit",
    "R": "receipt",
    "F": "friend",
    "L": "relay",
    "X": "index",
    "S": "servers",
    "V": "invite",
    "A": "answer",
}
"""Kind letters, and the words that stand for them in texts."""

DOMAIN_INVITE: Final = "offset/v1/invite"
FIELD_BYTES_MAX: Final = 255
"""A string's length is one byte."""


class Version(enum.IntEnum):
    """The second byte."""

    BARE = 1
    TAGGED = 2


class Tag(enum.IntEnum):
    """What a tag's value is; `ADDRESS` to `NONCE` belong to cards, the others to invoices."""

    CREATED = 1
    """UTC seconds, big-endian, at most 8 bytes."""
    EXPIRES = 2
    SIGNATURE = 3
    DECIMALS = 4
    """One byte."""
    ADDRESS = 5
    """UTF-8."""
    NAME = 6
    """UTF-8; friend cards only."""
    TERMS = 7
    """Currency, decimals byte, amount; friend cards only, once for each currency."""
    NONCE = 8
    """16 bytes; invites only."""


def pack(content: Content) -> bytes:
    """The shortest packed form.

    Raises:
        FileError: the kind has none (secrets never have), or a text is too long for it.
    """
    letter, fields, tags = _parts(content)
    head = letter.encode()
    if not tags:
        return head + bytes([Version.BARE]) + fields
    listed = b"".join(bytes([tag, len(one)]) + one for tag, one in tags)
    return head + bytes([Version.TAGGED]) + fields + bytes([len(tags)]) + listed


def fields_of(content: Packable) -> bytes:
    """The fields alone, without kind, version and tags."""
    return _parts(content)[1]


def invite_hash(invite: Invite) -> HashResult:
    """What an answer quotes: the hash of the invite's fields and its nonce, other tags left out.

    Raises:
        FileError: the invite has no packed form.
    """
    domain = sha512_256(DOMAIN_INVITE.encode())
    return sha512_256(domain + _invite_fields(invite) + b"".join(_nonces(invite)))


# --- writing ------------------------------------------------------------------------------------


def _parts(content: Content) -> tuple[str, bytes, Tags]:  # noqa: C901 - one line a kind
    """Kind letter, fields and tags."""
    match content:
        case Invoice():
            return "I", _invoice_fields(content), _invoice_tags(content)
        case Commit():
            return "C", _commit_fields(content), []
        case Receipt():
            return "R", _receipt_fields(content), []
        case FriendCard():
            return "F", _friend_fields(content), _friend_tags(content)
        case Ticket(role=Role.RELAY):
            return "L", content.public_key + _string(content.address, "address"), []
        case Ticket(role=Role.INDEX):
            return "X", content.public_key + _string(content.address, "address"), []
        case Servers():
            return "S", _servers_fields(content), []
        case Invite():
            return "V", _invite_fields(content), _invite_tags(content)
        case Answer():
            return "A", _answer_fields(content), _address_tag(content.card)
        case Ticket():
            raise FileError(
                "a ticket has a text form only as a relay's or an index server's: say which it is"
            )
        case _:
            raise FileError("this kind of file has no text form; hand it over as a file")


def _string(text: str, what: str) -> bytes:
    raw = text.encode()
    if len(raw) > FIELD_BYTES_MAX:
        raise FileError(
            f"the {what} is longer than {FIELD_BYTES_MAX} bytes, so there is no text form; "
            "hand it over as a file"
        )
    return bytes([len(raw)]) + raw


def _minimal(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _amount(number: int) -> bytes:
    raw = _minimal(number)
    return bytes([len(raw)]) + raw


def _invoice_fields(invoice: Invoice) -> bytes:
    return b"".join(
        (
            invoice.invoice_id,
            _string(invoice.currency, "currency"),
            invoice.dest_public_key,
            _amount(invoice.total_dest_payment),
            _string(invoice.description, "description"),
        )
    )


def _invoice_tags(invoice: Invoice) -> Tags:
    tags: Tags = []
    if invoice.created:
        tags.append((Tag.CREATED, _minimal(invoice.created)))
    if invoice.expires:
        tags.append((Tag.EXPIRES, _minimal(invoice.expires)))
    if invoice.signature is not None:
        tags.append((Tag.SIGNATURE, invoice.signature))
    if invoice.decimals != DECIMALS_NONE:
        tags.append((Tag.DECIMALS, bytes([invoice.decimals])))
    return tags


def _commit_fields(commit: Commit) -> bytes:
    return b"".join(
        (
            commit.response_hash,
            commit.src_plain_lock,
            commit.dest_hashed_lock,
            _amount(commit.dest_payment),
            _amount(commit.total_dest_payment),
            commit.invoice_id,
            _string(commit.currency, "currency"),
            commit.signature,
        )
    )


def _receipt_fields(receipt: Receipt) -> bytes:
    return b"".join(
        (
            receipt.response_hash,
            receipt.invoice_id,
            _string(receipt.currency, "currency"),
            receipt.src_plain_lock,
            receipt.dest_plain_lock,
            bytes([receipt.is_complete]),
            _amount(receipt.dest_payment),
            _amount(receipt.total_dest_payment),
            receipt.signature,
        )
    )


def _friend_fields(card: FriendCard) -> bytes:
    relays = (relay.public_key + _string(relay.address, "address") for relay in card.relays)
    return card.public_key + bytes([len(card.relays)]) + b"".join(relays)


def _friend_tags(card: FriendCard) -> Tags:
    tags = _address_tag(card)
    if card.name:
        tags.append((Tag.NAME, _string(card.name, "name")[1:]))
    tags += [(Tag.TERMS, _terms(one)) for one in card.terms]
    return tags


def _address_tag(card: FriendCard) -> Tags:
    return [(Tag.ADDRESS, _string(card.address, "address")[1:])] if card.address else []


def _terms(terms: Terms) -> bytes:
    currency = _string(terms.currency, "currency")
    return currency + bytes([terms.decimals]) + _amount(terms.limit_offered)


class _Tables:
    """Keys and addresses in the order of first use; a place is the two positions."""

    def __init__(self, first: Sequence[PublicKey], places: Sequence[RelayAddress]) -> None:
        self._keys = list(dict.fromkeys([*first, *(place.public_key for place in places)]))
        self._addresses = list(dict.fromkeys(place.address for place in places))

    @property
    def packed(self) -> bytes:
        addresses = [_string(one, "address") for one in self._addresses]
        counts = bytes([len(self._keys)]), bytes([len(self._addresses)])
        return b"".join((counts[0], *self._keys, counts[1], *addresses))

    def place(self, place: RelayAddress) -> bytes:
        key = self._keys.index(place.public_key)
        return bytes([key, self._addresses.index(place.address)])


def _servers_fields(servers: Servers) -> bytes:
    tables = _Tables((), (servers.relay, servers.index))
    return tables.packed + tables.place(servers.relay) + tables.place(servers.index)


def _card_fields(card: FriendCard, servers: Servers | None) -> tuple[_Tables, bytes]:
    offered = () if servers is None else (servers.relay, servers.index)
    tables = _Tables((card.public_key,), (*card.relays, *offered))
    relays = b"".join(map(tables.place, card.relays))
    terms = b"".join(map(_terms, card.terms))
    listed = bytes([len(card.relays)]) + relays
    named = _string(card.name, "name") + bytes([len(card.terms)]) + terms
    return tables, tables.packed + listed + named


def _invite_fields(invite: Invite) -> bytes:
    tables, fields = _card_fields(invite.card, invite.servers)
    if invite.servers is None:
        return fields + b"\x00"
    places = tables.place(invite.servers.relay) + tables.place(invite.servers.index)
    return fields + b"\x01" + places


def _invite_tags(invite: Invite) -> Tags:
    return [*_address_tag(invite.card), *((Tag.NONCE, one) for one in _nonces(invite))]


def _nonces(invite: Invite) -> list[bytes]:
    return [] if invite.nonce == NO_NONCE else [invite.nonce]


def _answer_fields(answer: Answer) -> bytes:
    return _card_fields(answer.card, None)[1] + answer.invite_hash
