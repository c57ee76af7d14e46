"""Single values ⇄ what a column or a packed column holds; every reader checks as the wire does.

Amounts are decimal text everywhere, so that they survive any tool that looks into the file. Packed
columns are msgpack arrays of plain values; move tokens and reset terms are stored as the wire's own
messages. Every reader raises `ValueError` or `DecodeError` with a sentence on anything it would not
itself have written.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final, TypeVar

import msgpack  # type: ignore[import-untyped, unused-ignore] # the package ships no types

from offset_engine.core.codec import decode_friend_message, encode_friend_message
from offset_engine.core.messages import (
    InconsistencyMessage,
    MoveTokenMessage,
    RequestOp,
    ResetTerms,
    ResponseOp,
    parse_operation,
)
from offset_engine.core.signing import BalanceInfo, Commit, Invoice, Receipt, TokenInfo
from offset_engine.core.token_channel import MoveTokenHashed
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    DESCRIPTION_BYTES_MAX,
    NAME_BYTES_MAX,
    RELAYS_MAX,
    RESET_COUNTER_MAX,
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
    parse_address,
)
from offset_engine.errors import DecodeError
from offset_engine.store.tables import Row

I64_MAX: Final = 2**63 - 1
"""Largest integer of a column; times in ms and running numbers."""
_LIST_MAX: Final = 4_096
_DECIMAL: Final = re.compile(r"0|-?[1-9][0-9]{0,38}")

_B = TypeVar("_B", bound=FixedBytes)
_T = TypeVar("_T")

pack: Final[Callable[[object], bytes]] = msgpack.Packer(use_bin_type=True).pack

# --- plain values -------------------------------------------------------------------------------


def unpack(field: object, arity: int | None = None) -> Row:
    """Read a packed column; `arity` is how many values it must have, None = up to 4096."""
    try:
        values = msgpack.unpackb(
            _bytes(field), use_list=False, raw=False, max_array_len=_LIST_MAX, max_map_len=0
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise ValueError("a packed value cannot be read") from error
    return record(values, arity)


def record(field: object, arity: int | None = None) -> Row:
    """A list inside a packed column."""
    if type(field) is not tuple or (arity is not None and len(field) != arity):
        raise ValueError("a packed value has the wrong shape")
    return field


def _bytes(field: object) -> bytes:
    if type(field) is not bytes:
        raise ValueError("a value is not bytes")
    return field


def fixed(kind: type[_B], field: object) -> _B:
    """Bytes of one exact length."""
    return kind.of(_bytes(field))


def optional(read: Callable[[object], _T], field: object) -> _T | None:
    """None, or what `read` makes of the field."""
    return None if field is None else read(field)


def number(field: object, maximum: int = I64_MAX) -> int:
    """An integer from 0."""
    if type(field) is not int or not 0 <= field <= maximum:
        raise ValueError(f"a number is not within 0 to {maximum}")
    return field


def flag(field: object) -> bool:
    """A truth value, 0 or 1 in columns."""
    if field not in (0, 1):
        raise ValueError("a flag is neither 0 nor 1")
    return bool(field)


def text(field: object, bytes_max: int) -> str:
    """Text of limited length."""
    if type(field) is not str or len(field.encode()) > bytes_max:
        raise ValueError(f"a text is missing or longer than {bytes_max} bytes")
    return field


def name(field: object) -> str:
    """A label the user chose."""
    return text(field, NAME_BYTES_MAX)


def currency(field: object) -> Currency:
    """A currency's name."""
    if type(field) is not str:
        raise ValueError("a currency is not text")
    return Currency.of(field)


def decimal(field: object, minimum: int, maximum: int) -> int:
    """An integer of any size, as canonical decimal text."""
    if type(field) is not str or not _DECIMAL.fullmatch(field):
        raise ValueError("an amount is not a decimal number")
    amount = int(field)
    if not minimum <= amount <= maximum:
        raise ValueError(f"an amount is not within {minimum} to {maximum}")
    return amount


def amount(field: object) -> int:
    """Credits, 0 to 2^127-1."""
    return decimal(field, 0, CREDITS_MAX)


def balance(field: object) -> int:
    """Credits with a sign."""
    return decimal(field, -CREDITS_MAX, CREDITS_MAX)


def insist_ascending(names: list[Currency]) -> None:
    """Refuse a list of currencies that is not strictly ascending, or longer than 64."""
    if len(names) > ACTIVE_CURRENCIES_MAX:
        raise ValueError(f"more than {ACTIVE_CURRENCIES_MAX} currencies")
    if not all(low < high for low, high in pairwise(names)):
        raise ValueError("currencies are not strictly ascending")


def currency_list(field: object) -> tuple[Currency, ...]:
    """Currencies as one text, a space between."""
    if type(field) is not str:
        raise ValueError("a list of currencies is not text")
    names = [Currency.of(item) for item in field.split(" ")] if field else []
    insist_ascending(names)
    return tuple(names)


def pack_amounts(amounts: tuple[tuple[Currency, int], ...]) -> bytes:
    """One amount for each of some currencies."""
    return pack([(item, str(credits_)) for item, credits_ in amounts])


def amounts(field: object) -> tuple[tuple[Currency, int], ...]:
    """One amount, possibly negative, for each of some currencies."""
    pairs = [record(entry, 2) for entry in unpack(field)]
    read = [(currency(item), balance(credits_)) for item, credits_ in pairs]
    insist_ascending([item for item, _ in read])
    return tuple(read)


# --- addresses ----------------------------------------------------------------------------------


def address(field: object) -> str:
    """`host:port`, brought to its canonical form."""
    if type(field) is not str:
        raise ValueError("an address is not text")
    return parse_address(field)


def relays_as_list(relays: tuple[RelayAddress, ...]) -> Row:
    """Plain form of relays, to be packed."""
    return tuple((relay.public_key, relay.address) for relay in relays)


def relays(field: object) -> tuple[RelayAddress, ...]:
    """Relays from their plain form."""
    entries = record(field)
    if len(entries) > RELAYS_MAX:
        raise ValueError(f"more than {RELAYS_MAX} relays")
    pairs = [record(entry, 2) for entry in entries]
    return tuple(RelayAddress(fixed(PublicKey, key), address(where)) for key, where in pairs)


# --- operations, tokens and terms ---------------------------------------------------------------


def request(field: object) -> RequestOp:
    """A request from its canonical bytes, with amounts that are credits."""
    operation = parse_operation(_bytes(field))
    if not isinstance(operation, RequestOp):
        raise DecodeError("an operation is not a request")
    if max(operation.freeze, operation.total_dest_payment) > CREDITS_MAX:
        raise ValueError("a request's amounts are out of range")
    return operation


def response(field: object) -> ResponseOp:
    """A response from its canonical bytes."""
    operation = parse_operation(_bytes(field))
    if not isinstance(operation, ResponseOp):
        raise DecodeError("an operation is not a response")
    return operation


def move_token(field: object) -> MoveTokenMessage:
    """A move token as it crosses the wire, with its flag."""
    message = decode_friend_message(_bytes(field))
    if not isinstance(message, MoveTokenMessage):
        raise DecodeError("a stored message is not a move token")
    return message


def pack_terms(terms: ResetTerms) -> bytes:
    """Reset terms as they cross the wire."""
    return encode_friend_message(InconsistencyMessage(terms))


def terms(field: object) -> ResetTerms:
    """Reset terms as they cross the wire."""
    message = decode_friend_message(_bytes(field))
    if not isinstance(message, InconsistencyMessage):
        raise DecodeError("a stored message is not an offer of reset terms")
    return message.terms


def pack_evidence(hashed: MoveTokenHashed) -> bytes:
    """A friend's last move token, hashed."""
    info = hashed.token_info
    balances = [
        (item, str(one.balance), str(one.local_pending_debt), str(one.remote_pending_debt))
        for item, one in info.balances
    ]
    return pack(
        (
            hashed.prefix_hash,
            info.local_public_key,
            info.remote_public_key,
            balances,
            info.inconsistency_counter,
            str(info.move_token_counter),
            hashed.rand_nonce,
            hashed.new_token,
        )
    )


def evidence(field: object) -> MoveTokenHashed:
    """A friend's last move token, hashed."""
    prefix, local, remote, entries, resets, counter, nonce, token = unpack(field, 8)
    rows = [record(entry, 4) for entry in record(entries)]
    balances = tuple(
        (currency(item), BalanceInfo(balance(credits_), amount(debt), amount(remote_debt)))
        for item, credits_, debt, remote_debt in rows
    )
    insist_ascending([item for item, _ in balances])
    return MoveTokenHashed(
        fixed(HashResult, prefix),
        TokenInfo(
            fixed(PublicKey, local),
            fixed(PublicKey, remote),
            balances,
            number(resets, RESET_COUNTER_MAX),
            decimal(counter, 0, U128_MAX),
        ),
        fixed(RandValue, nonce),
        fixed(Signature, token),
    )


# --- invoice, commit, receipt -------------------------------------------------------------------


def pack_invoice(demand: Invoice) -> bytes:
    """A whole invoice."""
    return pack(
        (
            demand.invoice_id,
            demand.currency,
            demand.dest_public_key,
            str(demand.total_dest_payment),
            demand.description,
            demand.created,
            demand.expires,
            demand.decimals,
            demand.signature,
        )
    )


def invoice(field: object) -> Invoice:
    """A whole invoice."""
    invoice_id, unit, dest, total, description, created, expires, decimals, sig = unpack(field, 9)
    return Invoice(
        fixed(InvoiceId, invoice_id),
        currency(unit),
        fixed(PublicKey, dest),
        amount(total),
        text(description, DESCRIPTION_BYTES_MAX),
        number(created, U64_MAX),
        number(expires, U64_MAX),
        number(decimals, 255),
        optional(lambda one: fixed(Signature, one), sig),
    )


def pack_commit(commit: Commit | None) -> bytes | None:
    """A whole commit, if there is one."""
    if commit is None:
        return None
    return pack(
        (
            commit.response_hash,
            commit.src_plain_lock,
            commit.dest_hashed_lock,
            str(commit.dest_payment),
            str(commit.total_dest_payment),
            commit.invoice_id,
            commit.currency,
            commit.signature,
        )
    )


def commit(field: object) -> Commit:
    """A whole commit."""
    answer, src_lock, dest_lock, payment, total, invoice_id, unit, signature = unpack(field, 8)
    return Commit(
        fixed(HashResult, answer),
        fixed(PlainLock, src_lock),
        fixed(HashedLock, dest_lock),
        amount(payment),
        amount(total),
        fixed(InvoiceId, invoice_id),
        currency(unit),
        fixed(Signature, signature),
    )


def pack_receipt(receipt: Receipt | None) -> bytes | None:
    """A whole receipt, if there is one."""
    if receipt is None:
        return None
    return pack(
        (
            receipt.response_hash,
            receipt.invoice_id,
            receipt.currency,
            receipt.src_plain_lock,
            receipt.dest_plain_lock,
            receipt.is_complete,
            str(receipt.dest_payment),
            str(receipt.total_dest_payment),
            receipt.signature,
        )
    )


def receipt(field: object) -> Receipt:
    """A whole receipt."""
    answer, invoice_id, unit, src, dest, complete, payment, total, signature = unpack(field, 9)
    return Receipt(
        fixed(HashResult, answer),
        fixed(InvoiceId, invoice_id),
        currency(unit),
        fixed(PlainLock, src),
        fixed(PlainLock, dest),
        flag(complete),
        amount(payment),
        amount(total),
        fixed(Signature, signature),
    )
