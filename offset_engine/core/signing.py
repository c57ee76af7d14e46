"""Exactly which bytes are hashed and signed.

Integers are big-endian; every string is preceded by its u64 length and every list by its u64 count;
every buffer begins with the 32-byte domain tag `DS(name) = SHA-512/256(name)`. The one exception is the
seller's signature on a response, which keeps the bytes of the original documentation (design R1).

Source: PROTOCOL.md, "Signed bytes"; offset-docs "Mutual Credit Protocol".
"""

from collections.abc import Iterable, Mapping
from typing import Final

from offset_engine.core.crypto import hash_lock, sha512_256
from offset_engine.core.messages import (
    CurrencyOperations,
    Edge,
    IndexUpdate,
    MoveToken,
    Mutation,
    ResetTerms,
)
from offset_engine.core.values import (
    CREDITS_MAX,
    DESCRIPTION_BYTES_MAX,
    U64_MAX,
    Currency,
    HashedLock,
    HashResult,
    InvoiceId,
    PlainLock,
    PublicKey,
    RandValue,
    RelayAddress,
    Signature,
    Uid,
    is_text,
    value,
)

DOMAIN_MOVE_TOKEN: Final = "offset/v1/move-token"
DOMAIN_PREFIX: Final = "offset/v1/prefix"
DOMAIN_TOKEN_INFO: Final = "offset/v1/token-info"
DOMAIN_RESET_TERMS: Final = "offset/v1/reset-terms"
DOMAIN_INVOICE: Final = "offset/v1/invoice"
DOMAIN_INDEX_UPDATE: Final = "offset/v1/index-update"
DOMAIN_HASH_CLOCK: Final = "offset/v1/hash-clock"
RESPONSE_PREFIX: Final = "FUNDS_RESPONSE"
RESPONSE_PREFIX_2020: Final = "FUND_RESPONSE"

_TAG: Final = {
    name: bytes(sha512_256(name.encode()))
    for name in (
        DOMAIN_MOVE_TOKEN,
        DOMAIN_PREFIX,
        DOMAIN_TOKEN_INFO,
        DOMAIN_RESET_TERMS,
        DOMAIN_INVOICE,
        DOMAIN_INDEX_UPDATE,
        DOMAIN_HASH_CLOCK,
        RESPONSE_PREFIX,
        RESPONSE_PREFIX_2020,
    )
}


def _u64(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _u128(number: int) -> bytes:
    return number.to_bytes(16, "big")


def _i128(number: int) -> bytes:
    return number.to_bytes(16, "big", signed=True)


def _text(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(8, "big") + raw


# --- token channel ------------------------------------------------------------------------------


@value
class BalanceInfo:
    """One currency of a `TokenInfo`, in credits, from its signer's view."""

    balance: int
    local_pending_debt: int
    remote_pending_debt: int

    @property
    def flipped(self) -> "BalanceInfo":
        """The same numbers as the other side sees them."""
        return BalanceInfo(-self.balance, self.remote_pending_debt, self.local_pending_debt)


@value
class TokenInfo:
    """What both sides agree on after a move token, from the signer's view."""

    local_public_key: PublicKey
    remote_public_key: PublicKey
    balances: tuple[tuple[Currency, BalanceInfo], ...]
    """Ascending by currency, one entry per open ledger."""
    inconsistency_counter: int
    move_token_counter: int

    @property
    def flipped(self) -> "TokenInfo":
        """The same agreement as the other side sees it."""
        return TokenInfo(
            self.remote_public_key,
            self.local_public_key,
            tuple((currency, info.flipped) for currency, info in self.balances),
            self.inconsistency_counter,
            self.move_token_counter,
        )


def info_hash(info: TokenInfo) -> HashResult:
    """The hash both sides compute for themselves and compare."""
    parts = [
        _TAG[DOMAIN_TOKEN_INFO],
        info.local_public_key,
        info.remote_public_key,
        _u64(len(info.balances)),
    ]
    for currency, balance in info.balances:
        parts += (
            _text(currency),
            _i128(balance.balance),
            _u128(balance.local_pending_debt),
            _u128(balance.remote_pending_debt),
        )
    parts += (_u64(info.inconsistency_counter), _u128(info.move_token_counter))
    return sha512_256(b"".join(parts))


def prefix_hash(
    old_token: Signature,
    currencies_operations: tuple[CurrencyOperations, ...],
    local_relays: tuple[RelayAddress, ...] | None,
    active_currencies: tuple[Currency, ...] | None,
) -> HashResult:
    """Hash of everything a move token carries."""
    parts = [_TAG[DOMAIN_PREFIX], old_token, _u64(len(currencies_operations))]
    for item in currencies_operations:
        parts += (_text(item.currency), _u64(len(item.operations)))
        parts.extend(op.raw for op in item.operations)
    if local_relays is None:
        parts.append(b"\x00")
    else:
        parts += (b"\x01", _u64(len(local_relays)))
        for relay in local_relays:
            parts += (relay.public_key, _text(relay.address))
    if active_currencies is None:
        parts.append(b"\x00")
    else:
        parts += (b"\x01", _u64(len(active_currencies)), *map(_text, active_currencies))
    return sha512_256(b"".join(parts))


def move_token_buffer(prefix: HashResult, info: HashResult, rand_nonce: RandValue) -> bytes:
    """The 112 bytes whose signature is the new token."""
    return b"".join((_TAG[DOMAIN_MOVE_TOKEN], prefix, info, rand_nonce))


def genesis(low: PublicKey, high: PublicKey) -> MoveToken:
    """The first move token of every channel; nobody signs or sends it for real.

    `low` is the side whose key hashes lower; it counts as having sent it, so `high` owns the token.
    """
    return MoveToken(
        Signature(low + bytes(32)),
        (),
        None,
        None,
        info_hash(TokenInfo(low, high, (), 0, 0)),
        RandValue(sha512_256(high)[:16]),
        Signature(high + bytes(32)),
    )


def terms_hash(issuer: PublicKey, accepter: PublicKey, terms: ResetTerms) -> HashResult:
    """Names reset terms as a person saw them, so that they cannot be swapped afterwards."""
    parts = [
        _TAG[DOMAIN_RESET_TERMS],
        issuer,
        accepter,
        terms.reset_token,
        _u64(terms.inconsistency_counter),
        _u64(len(terms.balances)),
    ]
    for currency, balance in terms.balances:
        parts += (_text(currency), _i128(balance))
    return sha512_256(b"".join(parts))


# --- response, commit, receipt ------------------------------------------------------------------


def response_hash(request_id: Uid, rand_nonce: RandValue) -> HashResult:
    """What a commit shows instead of the request's id."""
    return sha512_256(request_id + rand_nonce)


@value
class Commit:
    """Buyer to seller, outside the network: whoever holds it can make the seller's node collect."""

    response_hash: HashResult
    src_plain_lock: PlainLock
    dest_hashed_lock: HashedLock
    dest_payment: int
    total_dest_payment: int
    invoice_id: InvoiceId
    currency: Currency
    signature: Signature


@value
class Receipt:
    """Proof, for anybody, that the seller collected."""

    response_hash: HashResult
    invoice_id: InvoiceId
    currency: Currency
    src_plain_lock: PlainLock
    dest_plain_lock: PlainLock
    is_complete: bool
    dest_payment: int
    total_dest_payment: int
    signature: Signature


@value
class ResponseTerms:
    """What a seller signs: the amounts and locks of one accepted request."""

    response_hash: HashResult
    src_hashed_lock: HashedLock
    dest_hashed_lock: HashedLock
    is_complete: bool
    dest_payment: int
    total_dest_payment: int
    invoice_id: InvoiceId
    currency: Currency


def response_buffer(terms: ResponseTerms, prefix: str = RESPONSE_PREFIX) -> bytes:
    """The bytes of a seller's signature: 193 + the currency's length; currency is last."""
    return b"".join(
        (
            _TAG[prefix],
            terms.response_hash,
            terms.src_hashed_lock,
            terms.dest_hashed_lock,
            b"\x01" if terms.is_complete else b"\x00",
            _u128(terms.dest_payment),
            _u128(terms.total_dest_payment),
            terms.invoice_id,
            terms.currency.encode(),
        )
    )


def commit_terms(commit: Commit) -> ResponseTerms:
    """What the signature on a commit must cover."""
    return ResponseTerms(
        commit.response_hash,
        hash_lock(commit.src_plain_lock),
        commit.dest_hashed_lock,
        True,  # noqa: FBT003 - a commit is always complete
        commit.dest_payment,
        commit.total_dest_payment,
        commit.invoice_id,
        commit.currency,
    )


def receipt_terms(receipt: Receipt) -> ResponseTerms:
    """What the signature on a receipt must cover."""
    return ResponseTerms(
        receipt.response_hash,
        hash_lock(receipt.src_plain_lock),
        hash_lock(receipt.dest_plain_lock),
        receipt.is_complete,
        receipt.dest_payment,
        receipt.total_dest_payment,
        receipt.invoice_id,
        receipt.currency,
    )


# --- invoice ------------------------------------------------------------------------------------

DECIMALS_NONE: Final = 255


@value
class Invoice:
    """A seller's demand, handed over outside the network; `destPayment` in files.

    `created` and `expires` are UTC seconds (0 = never); `decimals` 255 = not stated.
    """

    invoice_id: InvoiceId
    currency: Currency
    dest_public_key: PublicKey
    total_dest_payment: int
    description: str = ""
    created: int = 0
    expires: int = 0
    decimals: int = DECIMALS_NONE
    signature: Signature | None = None


def is_sound_invoice(invoice: Invoice) -> bool:
    """Whether every field is in its range, so that the invoice can be signed, stored and shown."""
    return (
        is_text(invoice.description, DESCRIPTION_BYTES_MAX)
        and 1 <= invoice.total_dest_payment <= CREDITS_MAX
        and 0 <= invoice.created <= U64_MAX
        and 0 <= invoice.expires <= U64_MAX
        and 0 <= invoice.decimals <= DECIMALS_NONE
    )


def is_sound_commit(commit: Commit) -> bool:
    """Whether the amounts are in their range."""
    return 1 <= commit.dest_payment <= commit.total_dest_payment <= CREDITS_MAX


def invoice_buffer(invoice: Invoice) -> bytes:
    """The bytes a seller signs to vouch for an invoice."""
    return b"".join(
        (
            _TAG[DOMAIN_INVOICE],
            invoice.invoice_id,
            invoice.dest_public_key,
            _u128(invoice.total_dest_payment),
            _text(invoice.currency),
            _u64(invoice.created),
            _u64(invoice.expires),
            _text(invoice.description),
            bytes((invoice.decimals,)),
        )
    )


# --- index --------------------------------------------------------------------------------------


def index_update_buffer(update: IndexUpdate) -> bytes:
    """The bytes a node signs when it reports its edges; the signature field is ignored."""
    return b"".join(
        (
            _TAG[DOMAIN_INDEX_UPDATE],
            update.node,
            update.session_id,
            _u64(update.counter),
            b"\x00" if update.is_full else b"\x01",
            update.time_hash,
            update.rand_nonce,
            _u64(len(update.mutations)),
            *map(_mutation, update.mutations),
        )
    )


def _mutation(mutation: Mutation) -> bytes:
    head = mutation.friend + _text(mutation.currency)
    if not isinstance(mutation, Edge):
        return b"\x01" + head
    rate = mutation.rate.mul.to_bytes(4, "big") + mutation.rate.add.to_bytes(4, "big")
    return b"".join((b"\x00", head, _u128(mutation.recv_capacity), rate))


def time_hash(items: Iterable[HashResult]) -> HashResult:
    """A tick of the hash clock over its list (own random hash first, then the neighbours' ticks)."""
    hashes = tuple(items)
    return sha512_256(b"".join((_TAG[DOMAIN_HASH_CLOCK], _u64(len(hashes)), *hashes)))


def sorted_balances(
    balances: Mapping[Currency, BalanceInfo],
) -> tuple[tuple[Currency, BalanceInfo], ...]:
    """The order a `TokenInfo` wants: ascending by currency bytes."""
    return tuple(sorted(balances.items()))
