"""The small values everything else is made of: fixed-size bytes, currencies, rates, addresses, and every limit.

A value is immutable by agreement with the type checker (`@value`); a run with the environment
variable `OFFSET_FROZEN=1` makes the interpreter enforce it too. Nothing here reads a clock, draws
randomness or talks to anybody.

Sizes and limits are part of protocol version 1 unless a comment says otherwise.
Source: offset-docs "Mutual Credit Protocol"; PROTOCOL.md, "Limits".
"""

import base64
import binascii
import dataclasses
import ipaddress
import os
import re
from typing import Final, Self, TypeVar, dataclass_transform

_T = TypeVar("_T")
_ENFORCE_FROZEN: Final = os.environ.get("OFFSET_FROZEN") == "1"


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def value(cls: type[_T]) -> type[_T]:
    """Make a slotted, hashable dataclass that nobody may assign to.

    The type checker refuses assignment; the interpreter only does so under `OFFSET_FROZEN=1`,
    because frozen construction costs five times as much and the hot path builds values all day.
    """
    if _ENFORCE_FROZEN:
        return dataclasses.dataclass(slots=True, frozen=True)(cls)
    return dataclasses.dataclass(slots=True, unsafe_hash=True)(cls)


# --- fixed-size bytes ---------------------------------------------------------------------------


class FixedBytes(bytes):
    """Bytes of one exact length; equality and order are those of `bytes`."""

    SIZE: int = 0
    __slots__ = ()

    @classmethod
    def of(cls, raw: bytes) -> Self:
        """Check the length and convert.

        Raises:
            ValueError: `raw` is not exactly `SIZE` bytes.
        """
        if len(raw) != cls.SIZE:
            raise ValueError(f"{cls.__name__} must have {cls.SIZE} bytes, not {len(raw)}")
        return cls(raw)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read base64 in either alphabet, with or without padding, of exactly the right length.

        Raises:
            ValueError: not base64, or not exactly `SIZE` bytes.
        """
        bare = text.strip().rstrip("=").replace("+", "-").replace("/", "_")
        if not re.fullmatch(r"[A-Za-z0-9_-]*", bare):
            raise ValueError(f"{cls.__name__} is not base64 text")
        try:
            raw = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
        except binascii.Error:
            raise ValueError(f"{cls.__name__} is not base64 text") from None
        return cls.of(raw)

    def to_text(self) -> str:
        """Base64, URL-safe alphabet, no padding: the form used in files."""
        return base64.urlsafe_b64encode(self).rstrip(b"=").decode("ascii")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.to_text()[:8]})"

    __str__ = __repr__


class _SecretBytes(FixedBytes):
    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(secret)"

    __str__ = __repr__


class PublicKey(FixedBytes):
    """32-byte Ed25519 public key: the name of a node, relay, index server or app."""

    SIZE = 32
    __slots__ = ()


class PrivateKey(_SecretBytes):
    """Secret. 32-byte Ed25519 seed."""

    SIZE = 32
    __slots__ = ()


class Signature(FixedBytes):
    """64-byte Ed25519 signature; also the type of every token of a token channel."""

    SIZE = 64
    __slots__ = ()


class HashResult(FixedBytes):
    """32-byte SHA-512/256 digest."""

    SIZE = 32
    __slots__ = ()


class PlainLock(_SecretBytes):
    """Secret until revealed. 32 bytes whose hash is a `HashedLock`."""

    SIZE = 32
    __slots__ = ()


class HashedLock(FixedBytes):
    """32-byte SHA-512/256 of a `PlainLock`."""

    SIZE = 32
    __slots__ = ()


class InvoiceId(FixedBytes):
    """32 random bytes chosen by the seller."""

    SIZE = 32
    __slots__ = ()


class PaymentId(FixedBytes):
    """16 random bytes chosen by the buyer."""

    SIZE = 16
    __slots__ = ()


class Uid(FixedBytes):
    """16 random bytes naming one request, acknowledgement or question."""

    SIZE = 16
    __slots__ = ()


class RandValue(FixedBytes):
    """16-byte nonce."""

    SIZE = 16
    __slots__ = ()


# --- money --------------------------------------------------------------------------------------

CREDITS_MAX: Final = 2**127 - 1
"""Largest amount, limit or absolute balance, in credits."""
U32_MAX: Final = 2**32 - 1
U64_MAX: Final = 2**64 - 1
WALL_MS_MAX: Final = 2**63 - 1
"""Latest time, UTC ms, that may be stored."""
U128_MAX: Final = 2**128 - 1


class Currency(str):
    """1 to 16 printable ASCII bytes without space; compared byte by byte, case matters."""

    __slots__ = ()

    @classmethod
    def of(cls, text: str) -> Self:
        """Check and convert.

        Raises:
            ValueError: empty, longer than 16 bytes, or a byte outside 0x21 to 0x7E.
        """
        if not 1 <= len(text) <= CURRENCY_BYTES_MAX or not all("!" <= c <= "~" for c in text):
            raise ValueError("a currency name has 1 to 16 letters, digits or signs, without spaces")
        return cls(text)


@value
class Rate:
    """What a node charges for forwarding: `fee(x) = (x * mul >> 32) + add`, in credits."""

    mul: int = 0
    add: int = 0

    def fee(self, amount: int) -> int:
        """Fee in credits for forwarding `amount` credits (rounded down)."""
        return (amount * self.mul >> 32) + self.add

    def payable(self, capacity: int) -> int:
        """Largest payment in credits that fits into `capacity` together with its fee."""
        if capacity < self.add:
            return 0
        return ((capacity - self.add) << 32) // (self.mul + (1 << 32))

    @property
    def is_valid(self) -> bool:
        """Both numbers are unsigned 32-bit."""
        return 0 <= self.mul <= U32_MAX and 0 <= self.add <= U32_MAX


def is_text(text: str, bytes_max: int) -> bool:
    """Whether `text` can be written as UTF-8 of at most `bytes_max` bytes."""
    try:
        return len(text.encode()) <= bytes_max
    except UnicodeEncodeError:
        return False


# --- addresses ----------------------------------------------------------------------------------

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def parse_address(text: str) -> str:
    """Check `host:port` and return its canonical form (lower-case name, compressed IPv6).

    Raises:
        ValueError: with a sentence saying what is wrong.
    """
    if len(text) > ADDRESS_BYTES_MAX or not text.isascii():
        raise ValueError(f"an address has at most {ADDRESS_BYTES_MAX} plain letters")
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise ValueError("an address ends in ':' and a port from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        try:
            return f"[{ipaddress.IPv6Address(host[1:-1] if '%' not in host else 'x')}]:{port}"
        except ValueError:
            raise ValueError("the part in brackets is not an IPv6 address") from None
    return f"{_canonical_host(host)}:{port}"


def _canonical_host(host: str) -> str:
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if labels[-1].isdigit():
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ValueError("the host is not an IPv4 address") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host is neither a name nor an IP address")
    return name


@value
class RelayAddress:
    """A relay's key and where to dial it (`host:port`, canonical, at most 256 bytes)."""

    public_key: PublicKey
    address: str


@value
class NamedAddress:
    """A relay or index server as its owner configured it; `name` is a local label."""

    public_key: PublicKey
    address: str
    name: str = ""

    @property
    def relay(self) -> RelayAddress:
        """The same without the label, as friends are told."""
        return RelayAddress(self.public_key, self.address)


# --- limits -------------------------------------------------------------------------------------
# Protocol version 1: a message beyond one of these is malformed.

OPERATIONS_PER_TOKEN_MAX: Final = 256
ROUTE_KEYS_MAX: Final = 32
CURRENCY_BYTES_MAX: Final = 16
ADDRESS_BYTES_MAX: Final = 256
RELAYS_MAX: Final = 16
ACTIVE_CURRENCIES_MAX: Final = 64
PENDING_PER_DIRECTION_MAX: Final = 512
"""Requests pending per friend, currency and direction; one more is recorded, then cancelled."""
PENDING_STORED_MAX: Final = PENDING_PER_DIRECTION_MAX + OPERATIONS_PER_TOKEN_MAX
"""What a stored ledger may hold per direction, over-limit requests awaiting their cancel included."""
RESET_COUNTER_MAX: Final = 2**63 - 1
RESET_COUNTER_STEP_MAX: Final = 2**32
"""How far the counter of terms may be ahead of the last consistent one."""

# Local: choices of this node, nobody else can tell.

OWN_REQUESTS_QUEUED_MAX: Final = 512
"""Own requests waiting for the token, per friend."""
NAME_BYTES_MAX: Final = 128
DESCRIPTION_BYTES_MAX: Final = 255
INVOICE_GROUPS_MAX: Final = 8
GROUP_REQUESTS_MAX: Final = 32
OPEN_INVOICES_MAX: Final = 10_000
OPEN_PAYMENTS_MAX: Final = 10_000
FRIENDS_MAX: Final = 10_000
INDEX_SERVERS_MAX: Final = 16
RESET_TOKENS_REMEMBERED: Final = 8
FINISHED_INVOICES_REMEMBERED: Final = 10_000
"""Ids of finished invoices kept so that none is used twice."""
FINISHED_INTENTS_REMEMBERED: Final = 1_000
"""Finished wishes to pay kept live, so that a repeated command does not pay twice."""
PAYMENT_ATTEMPTS_MAX: Final = 3
"""One payment id plus at most two more after parts got stuck."""
ROUTE_ROUNDS_MAX: Final = 4
"""Times a payment asks for routes before it gives up."""
ROUTE_MISSES_MAX: Final = 3
"""Times a wish to pay asks again because no way was known, each time after a longer pause."""

# Messages between a node and an index server.

INDEX_EDGES_MAX: Final = 512
ROUTE_PARTS_MAX: Final = 32
ROUTE_CHOICES_MAX: Final = 3
ROUTE_EXCLUDED_MAX: Final = 64
CHAIN_LINKS_MAX: Final = 16
CHAIN_LINK_HASHES_MAX: Final = 128
ALIVE_NODES_MAX: Final = 1_000


@value
class Timers:
    """Every waiting time of a node, in ms; the practice village shortens them through this object."""

    part_stuck_ms: int = 30_000
    """A part of a payment unanswered for so long is given up (design R20)."""
    route_answer_ms: int = 8_000
    """How long an index server may take to answer a question."""
    route_busy_ms: int = 1_000
    """Pause before a busy index server is asked again."""
    route_retry_ms: int = 1_000
    """Pause before asking again when no way was known; the second is twice as long, the third three times."""
    friend_wait_ms: int = 10_000
    """How long a payment waits for a friend to come online before it fails."""
    group_unsealed_ms: int = 60_000
    """An incomplete group of an invoice is cancelled so long after its last request (R24)."""
    group_sealed_grace_ms: int = 900_000
    """How much longer than its invoice a complete group without a commit lives (R24)."""
    expiry_confirm_ms: int = 60_000
    """Wall-clock expiry must be seen twice, this far apart (R27)."""
    malformed_backoff_ms: int = 60_000
    """Pause after a friend sent something unreadable (R23)."""
    offline_grace_ms: int = 10_000
    """A lost link counts as offline only after this long (R43)."""
    dial_backoff_min_ms: int = 1_000
    dial_backoff_max_ms: int = 300_000
    dial_start_max_ms: int = 10_000
    """The side that is not preferred waits a random time up to this before its first dial."""
    link_lived_ms: int = 60_000
    """A connection that lived so long resets the back-off."""
    handshake_ms: int = 10_000
    ping_idle_ms: int = 15_000
    dead_idle_ms: int = 35_000
    write_stuck_ms: int = 20_000
    index_delta_ms: int = 2_000
    """Shortest pause between two updates to an index server."""
    index_alive_ms: int = 30_000
    index_full_ms: int = 600_000
    index_ack_ms: int = 15_000
