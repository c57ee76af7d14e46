"""Reads packed forms; `packing` says how they look.

What is read has exactly one packed form: everything else is refused, so that no two texts mean the same
artifact in different bytes. Tags alone may come in any order, and unknown ones are skipped.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from offset_engine.core.signing import DECIMALS_NONE, Commit, Invoice, Receipt
from offset_engine.core.values import (
    CURRENCY_BYTES_MAX,
    NAME_BYTES_MAX,
    RELAYS_MAX,
    U64_MAX,
    U128_MAX,
    Currency,
    FixedBytes,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PublicKey,
    RandValue,
    RelayAddress,
    Signature,
)
from offset_engine.errors import FileError
from offset_engine.files.artifacts import (
    CARD_TERMS_MAX,
    NO_NONCE,
    Answer,
    FriendCard,
    Invite,
    Role,
    Servers,
    Terms,
    Ticket,
    check_keys,
)
from offset_engine.files.json_forms import check_invoice
from offset_engine.files.packing import FIELD_BYTES_MAX, Packable, Tag, Tags, Version, fields_of

_F = TypeVar("_F", bound=FixedBytes)
_T = TypeVar("_T")
_TABLE_MAX: Final = RELAYS_MAX + 3
"""The card's own key and relays, a relay and an index server."""


def unpack(packed: bytes) -> Packable:
    """Read a packed form; the only one its fields can have is accepted.

    Raises:
        FileError: it follows no known layout, a key belongs to nobody, or a signature does not fit.
    """
    reader = _Reader(packed)
    letter = chr(reader.byte("kind"))
    if letter not in _READERS:
        raise FileError("this text holds a kind of thing this version does not know")
    version = reader.byte("version")
    if version not in (Version.BARE, Version.TAGGED):
        raise FileError("this text was made by a newer version of the program; update this one")
    content = _READERS[letter](reader)
    fields_end = reader.position
    if version == Version.TAGGED:
        content = _with_tags(content, reader.tags())
    reader.end()
    # Amounts with leading zeros, tables in another order and the like have no second meaning.
    if fields_of(content) != packed[2:fields_end]:
        raise FileError("this text is damaged, or another program made it wrongly")
    check_keys(content)
    if isinstance(content, Invoice):
        check_invoice(content)
    return content


# --- fields -------------------------------------------------------------------------------------


class _Reader:
    """Takes fields off the front of some bytes."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.position = 0

    def take(self, size: int, what: str) -> bytes:
        taken = self._raw[self.position : self.position + size]
        if len(taken) != size:
            raise FileError(f"this text is damaged: it ends in the middle of its {what}")
        self.position += size
        return taken

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def fixed(self, cls: type[_F], what: str) -> _F:
        return cls(self.take(cls.SIZE, what))

    def string(self, what: str, most: int = FIELD_BYTES_MAX) -> str:
        raw = self.take(self.byte(what), what)
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise FileError(f"this text is damaged: its {what} is no Unicode") from None
        if len(raw) > most:
            raise FileError(f"this text is damaged: its {what} has more than {most} bytes")
        return text

    def currency(self) -> Currency:
        return Currency(self.string("currency", CURRENCY_BYTES_MAX))

    def amount(self, what: str) -> int:
        return _number(self.take(self.byte(what), what), U128_MAX, what)

    def flag(self, what: str) -> bool:
        found = self.byte(what)
        if found > 1:
            raise FileError(f"this text is damaged: its {what} is neither true nor false")
        return found == 1

    def list(self, one: Callable[[], _T], most: int, what: str) -> tuple[_T, ...]:
        count = self.byte(what)
        if count > most:
            raise FileError(f"this text is damaged: it has more than {most} {what}")
        return tuple(one() for _ in range(count))

    def tags(self) -> Tags:
        return [
            (self.byte("tag"), self.take(self.byte("tag"), "tag"))
            for _ in range(self.byte("number of tags"))
        ]

    def end(self) -> None:
        if self.position != len(self._raw):
            raise FileError("this text is damaged: something follows its end")


def _number(raw: bytes, most: int, what: str) -> int:
    number = int.from_bytes(raw, "big")
    if number > most:
        raise FileError(f"this text is damaged: its {what} is too large")
    return number


def _read_invoice(reader: _Reader) -> Packable:
    return Invoice(
        invoice_id=reader.fixed(InvoiceId, "invoice id"),
        currency=reader.currency(),
        dest_public_key=reader.fixed(PublicKey, "seller's key"),
        total_dest_payment=reader.amount("amount"),
        description=reader.string("description"),
    )


def _read_commit(reader: _Reader) -> Packable:
    return Commit(
        response_hash=reader.fixed(HashResult, "response hash"),
        src_plain_lock=reader.fixed(PlainLock, "lock"),
        dest_hashed_lock=reader.fixed(HashedLock, "hashed lock"),
        dest_payment=reader.amount("part"),
        total_dest_payment=reader.amount("total"),
        invoice_id=reader.fixed(InvoiceId, "invoice id"),
        currency=reader.currency(),
        signature=reader.fixed(Signature, "signature"),
    )


def _read_receipt(reader: _Reader) -> Packable:
    return Receipt(
        response_hash=reader.fixed(HashResult, "response hash"),
        invoice_id=reader.fixed(InvoiceId, "invoice id"),
        currency=reader.currency(),
        src_plain_lock=reader.fixed(PlainLock, "lock"),
        dest_plain_lock=reader.fixed(PlainLock, "lock"),
        is_complete=reader.flag("completeness"),
        dest_payment=reader.amount("part"),
        total_dest_payment=reader.amount("total"),
        signature=reader.fixed(Signature, "signature"),
    )


def _read_place(reader: _Reader) -> RelayAddress:
    return RelayAddress(reader.fixed(PublicKey, "key"), reader.string("address"))


def _read_friend(reader: _Reader) -> Packable:
    return FriendCard(
        reader.fixed(PublicKey, "key"),
        reader.list(lambda: _read_place(reader), RELAYS_MAX, "relays"),
    )


def _read_ticket(role: Role) -> Callable[[_Reader], Packable]:
    def read(reader: _Reader) -> Packable:
        return Ticket(reader.fixed(PublicKey, "key"), reader.string("address"), role)

    return read


class _PlaceReader:
    """Reads the tables, then places by their positions in them."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self.keys = reader.list(lambda: reader.fixed(PublicKey, "key"), _TABLE_MAX, "keys")
        self._addresses = reader.list(lambda: reader.string("address"), _TABLE_MAX, "addresses")

    def place(self) -> RelayAddress:
        key, address = self._reader.take(2, "server")
        if key >= len(self.keys) or address >= len(self._addresses):
            raise FileError("this text is damaged: it names a server that is not in it")
        return RelayAddress(self.keys[key], self._addresses[address])


def _read_servers(reader: _Reader) -> Packable:
    places = _PlaceReader(reader)
    return Servers(places.place(), places.place())


def _read_card(reader: _Reader) -> tuple[_PlaceReader, FriendCard]:
    places = _PlaceReader(reader)
    if not places.keys:
        raise FileError("this text is damaged: it has no key")
    relays = reader.list(places.place, RELAYS_MAX, "relays")
    name = reader.string("name", NAME_BYTES_MAX)
    terms = reader.list(lambda: _read_terms(reader), CARD_TERMS_MAX, "currencies")
    return places, FriendCard(places.keys[0], relays, name, terms)


def _read_terms(reader: _Reader) -> Terms:
    return Terms(reader.currency(), reader.byte("decimals"), reader.amount("limit"))


def _read_invite(reader: _Reader) -> Packable:
    places, card = _read_card(reader)
    if not reader.flag("list of servers"):
        return Invite(card, None)
    return Invite(card, Servers(places.place(), places.place()))


def _read_answer(reader: _Reader) -> Packable:
    card = _read_card(reader)[1]
    return Answer(card, reader.fixed(HashResult, "invite's hash"))


_READERS: Final[dict[str, Callable[[_Reader], Packable]]] = {
    "I": _read_invoice,
    "C": _read_commit,
    "R": _read_receipt,
    "F": _read_friend,
    "L": _read_ticket(Role.RELAY),
    "X": _read_ticket(Role.INDEX),
    "S": _read_servers,
    "V": _read_invite,
    "A": _read_answer,
}


# --- tags ---------------------------------------------------------------------------------------


def _with_tags(content: Packable, tags: Tags) -> Packable:
    """The content with what its tags say; tags that mean nothing to its kind are skipped."""
    match content:
        case Invoice():
            return _tagged_invoice(
                content, _single(tags, (Tag.CREATED, Tag.EXPIRES, Tag.SIGNATURE, Tag.DECIMALS))
            )
        case FriendCard():
            return _tagged_friend(content, tags)
        case Invite():
            return _tagged_invite(content, tags)
        case Answer():
            return Answer(_addressed(content.card, tags), content.invite_hash)
        case _:
            return content


def _single(tags: Tags, wanted: Sequence[int]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for tag, raw in tags:
        if tag in found:
            raise FileError(f"this text is damaged: tag {tag} occurs twice")
        if tag in wanted:
            found[tag] = raw
    return found


def _tagged_invoice(invoice: Invoice, tags: dict[int, bytes]) -> Invoice:
    signature = tags.get(Tag.SIGNATURE)
    if signature is not None and len(signature) != Signature.SIZE:
        raise FileError("this text is damaged: its signature has the wrong length")
    return Invoice(
        invoice.invoice_id,
        invoice.currency,
        invoice.dest_public_key,
        invoice.total_dest_payment,
        invoice.description,
        _number(tags.get(Tag.CREATED, b""), U64_MAX, "creation time"),
        _number(tags.get(Tag.EXPIRES, b""), U64_MAX, "expiry"),
        _number(tags.get(Tag.DECIMALS, bytes([DECIMALS_NONE])), DECIMALS_NONE, "decimals"),
        None if signature is None else Signature(signature),
    )


def _tag_text(raw: bytes, what: str, most: int) -> str:
    return _Reader(bytes([len(raw)]) + raw).string(what, most)


def _addressed(card: FriendCard, tags: Tags) -> FriendCard:
    raw = _single(tags, (Tag.ADDRESS,)).get(Tag.ADDRESS, b"")
    address = _tag_text(raw, "address", FIELD_BYTES_MAX)
    return FriendCard(card.public_key, card.relays, card.name, card.terms, address)


def _tagged_invite(invite: Invite, tags: Tags) -> Invite:
    nonce = _single(tags, (Tag.NONCE,)).get(Tag.NONCE, NO_NONCE)
    if len(nonce) != RandValue.SIZE:
        raise FileError("this text is damaged: its nonce has the wrong length")
    return Invite(_addressed(invite.card, tags), invite.servers, RandValue(nonce))


def _tagged_friend(card: FriendCard, tags: Tags) -> FriendCard:
    named = _single(tags, (Tag.ADDRESS, Tag.NAME))
    terms = []
    for tag, raw in tags:
        if tag == Tag.TERMS:
            reader = _Reader(raw)
            terms.append(_read_terms(reader))
            reader.end()
    if len(terms) > CARD_TERMS_MAX:
        raise FileError(f"this text is damaged: it has more than {CARD_TERMS_MAX} currencies")
    return FriendCard(
        card.public_key,
        card.relays,
        _tag_text(named.get(Tag.NAME, b""), "name", NAME_BYTES_MAX),
        tuple(terms),
        _tag_text(named.get(Tag.ADDRESS, b""), "address", FIELD_BYTES_MAX),
    )
