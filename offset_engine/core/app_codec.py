"""App messages ⇄ bytes: msgpack arrays, derived from the fields of the values themselves.

A value is the array of its fields in the order of its class; where one of several kinds may stand, its
tag (`TAGS`) comes first. What a field looks like follows from its type, for numbers and texts from its
name (`_NUMBERS`, `_TEXTS`), for lists from `_LISTS`; a field without an entry fails at import, so none
is sent unchecked.

| wire form | of |
|---|---|
| bin of exact size | keys, hashes, ids, tokens, signatures |
| bin, 16 bytes big-endian | credits (0 … 2^127−1), balances in two's complement, pending debts (u128) |
| bin, 24 bytes big-endian | sums of credits |
| str | currencies, canonical addresses, names and other text, the values of enumerations |
| int | counters and times (u64), rates and seconds (u32), decimals (u8) |
| nil | an optional field that is absent |

Decoding is total like that of `codec`: a valid message, None (an extension to ignore) or a `DecodeError`.
Encoding checks the same rules, because a person's program may ask for anything.

Source: PROTOCOL.md, "Apps"; design R3.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, TypeAlias

import msgpack  # type: ignore[import-untyped, unused-ignore] # the package ships no types

from offset_engine.core import api, app_messages, reports
from offset_engine.core.app_messages import AppMessage, NodeMessage
from offset_engine.core.codec import EXTENSION_TYPE_MIN
from offset_engine.core.payer import PlannedPart
from offset_engine.core.signing import TokenInfo
from offset_engine.core.values import (
    ACTIVE_CURRENCIES_MAX,
    CREDITS_MAX,
    DESCRIPTION_BYTES_MAX,
    INDEX_SERVERS_MAX,
    NAME_BYTES_MAX,
    RELAYS_MAX,
    ROUTE_CHOICES_MAX,
    ROUTE_EXCLUDED_MAX,
    ROUTE_KEYS_MAX,
    ROUTE_PARTS_MAX,
    U32_MAX,
    U64_MAX,
    U128_MAX,
    Currency,
    FixedBytes,
    PublicKey,
    is_text,
    parse_address,
)
from offset_engine.errors import DecodeError, InvariantError

DETAIL_BYTES_MAX: Final = 1_024
"""Longest sentence of a result."""
_STAGE_BYTES_MAX: Final = 32
_ARRAY_MAX: Final = 4_096
_CURRENCIES_MAX: Final = 2 * ACTIVE_CURRENCIES_MAX
"""Currencies both configured and still on the ledger."""
_SUM_BYTES: Final = 24

_pack: Final[Callable[[object], bytes]] = msgpack.Packer(use_bin_type=True).pack


@dataclasses.dataclass(frozen=True, slots=True)
class _Coder:
    """How one kind of field is written and read."""

    encode: Callable[[Any], object]
    """Raises OverflowError for an amount, ValueError for anything else that is out of range."""
    decode: Callable[[object], Any]
    """Raises DecodeError."""


# --- single fields ------------------------------------------------------------------------------


def _fixed(kind: type[FixedBytes]) -> _Coder:
    def encode(field: FixedBytes) -> object:
        return kind.of(field)

    def decode(field: object) -> FixedBytes:
        if type(field) is not bytes or len(field) != kind.SIZE:
            raise DecodeError(f"a {kind.__name__} is not {kind.SIZE} bytes")
        return kind(field)

    return _Coder(encode, decode)


def _number(maximum: int) -> _Coder:
    def encode(field: int) -> object:
        if not 0 <= field <= maximum:
            raise ValueError(f"a number is not within 0 to {maximum}")
        return int(field)

    def decode(field: object) -> int:
        # `type() is`: True and False are instances of int, too.
        if type(field) is not int or not 0 <= field <= maximum:
            raise DecodeError(f"a number is not within 0 to {maximum}")
        return field

    return _Coder(encode, decode)


def _amount(minimum: int, maximum: int, size: int = 16) -> _Coder:
    is_signed = minimum < 0

    def encode(field: int) -> object:
        if not minimum <= field <= maximum:
            raise OverflowError(f"an amount is not within {minimum} to {maximum}")
        return field.to_bytes(size, "big", signed=is_signed)

    def decode(field: object) -> int:
        if type(field) is not bytes or len(field) != size:
            raise DecodeError(f"an amount is not {size} bytes")
        amount = int.from_bytes(field, "big", signed=is_signed)
        if not minimum <= amount <= maximum:
            raise DecodeError(f"an amount is not within {minimum} to {maximum}")
        return amount

    return _Coder(encode, decode)


def _text(check: Callable[[str], str]) -> _Coder:
    def encode(field: str) -> object:
        return str(check(field))

    def decode(field: object) -> str:
        if type(field) is not str:
            raise DecodeError("a text is something else")
        try:
            return check(field)
        except ValueError as error:
            raise DecodeError(str(error)) from error

    return _Coder(encode, decode)


def _short(bytes_max: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not is_text(text, bytes_max):
            raise ValueError(f"a text is not Unicode of at most {bytes_max} bytes")
        return text

    return check


def _canonical(text: str) -> str:
    if parse_address(text) != text:
        raise ValueError("an address is not in its canonical form")
    return text


def _decode_flag(field: object) -> bool:
    if type(field) is not bool:
        raise DecodeError("a flag is neither true nor false")
    return field


def _enum(kind: type[Enum]) -> _Coder:
    members = {member.value: member for member in kind}

    def encode(field: Enum) -> object:
        return field.value

    def decode(field: object) -> Enum:
        member = members.get(field) if type(field) is str else None
        if member is None:
            raise DecodeError(f"a {kind.__name__} is none of those known")
        return member

    return _Coder(encode, decode)


# --- fields made of fields ----------------------------------------------------------------------


def _optional(coder: _Coder) -> _Coder:
    return _Coder(
        lambda field: None if field is None else coder.encode(field),
        lambda field: None if field is None else coder.decode(field),
    )


def _list(coder: _Coder, items_max: int) -> _Coder:
    def encode(field: tuple[object, ...]) -> object:
        if len(field) > items_max:
            raise ValueError(f"a list has more than {items_max} items")
        return [coder.encode(item) for item in field]

    def decode(field: object) -> tuple[object, ...]:
        if type(field) is not tuple or len(field) > items_max:
            raise DecodeError(f"a list is missing or has more than {items_max} items")
        return tuple([coder.decode(item) for item in field])

    return _Coder(encode, decode)


def _record(
    coders: tuple[_Coder, ...], names: tuple[str, ...] | None, make: Callable[..., Any]
) -> _Coder:
    """Fields one after the other; `names` are how to get them out of the value, None = a tuple."""
    arity = len(coders)

    def encode(field: Any) -> object:  # noqa: ANN401 - whatever `make` made
        inside = field if names is None else [getattr(field, name) for name in names]
        return [coder.encode(one) for coder, one in zip(coders, inside, strict=True)]

    def decode(field: object) -> object:
        if type(field) is not tuple or len(field) != arity:
            raise DecodeError(f"an entry does not have {arity} fields")
        return make(*[coder.decode(one) for coder, one in zip(coders, field, strict=True)])

    return _Coder(encode, decode)


def _pair(*coders: _Coder) -> _Coder:
    return _record(coders, None, lambda *fields: fields)


def _union(kinds: Mapping[int, tuple[type, _Coder]]) -> _Coder:
    """One of several kinds, told by the tag in front."""
    by_class = {kind: (tag, coder) for tag, (kind, coder) in kinds.items()}

    def encode(field: object) -> object:
        tag, coder = by_class[type(field)]
        fields = coder.encode(field)
        return [tag, *typing.cast("list[object]", fields)]

    def decode(field: object) -> object:
        if type(field) is not tuple or not field or type(field[0]) is not int:
            raise DecodeError("an entry does not begin with its kind")
        known = kinds.get(field[0])
        if known is None:
            raise DecodeError("an entry is of an unknown kind")
        return known[1].decode(field[1:])

    return _Coder(encode, decode)


# --- what each field is -------------------------------------------------------------------------

_CREDITS: Final = _amount(0, CREDITS_MAX)
_BALANCE: Final = _amount(-CREDITS_MAX, CREDITS_MAX)
_U128: Final = _amount(0, U128_MAX)
_SUM: Final = _amount(0, 2 ** (8 * _SUM_BYTES) - 1, _SUM_BYTES)
_U64: Final = _number(U64_MAX)
_U32: Final = _number(U32_MAX)
_FLAG: Final = _Coder(bool, _decode_flag)
_CURRENCY: Final = _text(Currency.of)
_KEY: Final = _fixed(PublicKey)

_NUMBERS: Final[Mapping[str, _Coder]] = {
    name: coder
    for coder, names in (
        (
            _CREDITS,
            "amount at_most confirm_above dest_payment fees max_debt max_fee reachable total_dest_payment",
        ),
        (_BALANCE, "balance"),
        (_SUM, "fee frozen received"),
        (_U128, "local_pending_debt move_token_counter remote_pending_debt"),
        (_U64, "before created created_ms ended_ms expires expires_ms since_ms started_ms"),
        (_U64, "inconsistency_counter number open_invoices open_payments open_transactions"),
        (_U64, "parts pending revision since"),
        (_U32, "add lasts_s latency_ms mul skip"),
        (_number(2**16 - 1), "version version_max version_min"),
        (_number(2**8 - 1), "decimals people"),
        (_number(app_messages.APP_PENDING_MAX), "limit"),
    )
    for name in names.split()
}
_TEXTS: Final[Mapping[str, _Coder]] = {
    "address": _text(_canonical),
    "description": _text(_short(DESCRIPTION_BYTES_MAX)),
    "detail": _text(_short(DETAIL_BYTES_MAX)),
    "name": _text(_short(NAME_BYTES_MAX)),
    "stage": _text(_short(_STAGE_BYTES_MAX)),
    "trouble": _text(_short(reports.TROUBLE_BYTES_MAX)),
}
_LISTS: Final[Mapping[tuple[type, str], int]] = {
    (api.AddFriend, "relays"): RELAYS_MAX,
    (api.SetFriendRelays, "relays"): RELAYS_MAX,
    (api.CreateTransaction, "route"): ROUTE_KEYS_MAX,
    (api.RequestRoutes, "exclude_edges"): ROUTE_EXCLUDED_MAX,
    (api.RoutesResult, "choices"): ROUTE_CHOICES_MAX,
    (api.RoutesChoice, "parts"): ROUTE_PARTS_MAX,
    (PlannedPart, "route"): ROUTE_KEYS_MAX,
    (reports.PayReport, "ways"): ROUTE_PARTS_MAX,
    (api.Batch, "commands"): app_messages.COMMANDS_PER_BATCH_MAX,
    (reports.FriendReport, "remote_relays"): RELAYS_MAX,
    (reports.FriendReport, "currencies"): _CURRENCIES_MAX,
    (reports.FriendReport, "remote_currencies"): ACTIVE_CURRENCIES_MAX,
    (TokenInfo, "balances"): _CURRENCIES_MAX,
    (app_messages.Done, "notices"): app_messages.CHANGES_MAX,
    (app_messages.PayPage, "reports"): app_messages.APP_PAGE_MAX,
    (app_messages.InvoicePage, "reports"): app_messages.APP_PAGE_MAX,
    (app_messages.PendingPage, "reports"): app_messages.APP_PENDING_MAX,
    (app_messages.HistoryPage, "entries"): app_messages.APP_PAGE_MAX,
    (app_messages.ReportHead, "relays"): RELAYS_MAX,
    (app_messages.ReportHead, "index_servers"): INDEX_SERVERS_MAX,
    (reports.Connections, "relays"): RELAYS_MAX,
    (reports.Connections, "index_servers"): INDEX_SERVERS_MAX,
    (app_messages.Report, "friends"): app_messages.REPORT_FRIENDS_MAX,
    (app_messages.Report, "removed"): app_messages.REPORT_FRIENDS_MAX,
    (app_messages.Changed, "notices"): app_messages.CHANGES_MAX,
}
_BALANCES: Final = _pair(_CURRENCY, _BALANCE)
_SPECIAL: Final[Mapping[tuple[type, str], _Coder]] = {
    (reports.TermsReport, "balances"): _list(_BALANCES, _CURRENCIES_MAX),
    (reports.ResetRecord, "balances"): _list(_BALANCES, _CURRENCIES_MAX),
    # Losses are never forgotten, so there may be more of them than currencies in use.
    (reports.FriendReport, "lost"): _list(_pair(_CURRENCY, _CREDITS), _ARRAY_MAX),
}
"""Fields whose type does not say everything."""

_Kinds: TypeAlias = tuple[type, ...]
TAGS: Final[Mapping[type, int]] = {
    kind: tag
    for first, kinds in (
        (1, typing.get_args(api.Command)),
        (63, (api.Batch,)),
        (64, typing.get_args(app_messages.Question)),
        (1, typing.get_args(api.Notice)),
        (1, typing.get_args(reports.Record)),
        (6, (reports.InvoiceReport,)),
        (1, typing.get_args(app_messages.Answer)),
        (1, typing.get_args(AppMessage)),
        (1, typing.get_args(NodeMessage)),
    )
    for tag, kind in enumerate(kinds, first)
}
"""The number in front of a value where several kinds may stand; new kinds are added at an end."""


def _coder_of(kind: Any, place: tuple[type, str]) -> _Coder:  # noqa: ANN401 - any type of a field
    """The coder for a field of this type, at this place."""
    if place in _SPECIAL:
        return _SPECIAL[place]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return _coder_of_union(typing.get_args(kind), place)
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        if len(items) == 2 and items[1] is Ellipsis:
            return _list(_coder_of(items[0], place), _LISTS[place])
        return _pair(*(_coder_of(item, place) for item in items))
    if kind is bool:
        return _FLAG
    if kind is int:
        return _NUMBERS[place[1]]
    if kind is str:
        return _TEXTS[place[1]]
    if kind is Currency:
        return _CURRENCY
    if issubclass(kind, FixedBytes):
        return _fixed(kind)
    return _enum(kind) if issubclass(kind, Enum) else _coder_of_record(kind)


def _coder_of_union(kinds: _Kinds, place: tuple[type, str]) -> _Coder:
    rest = tuple(kind for kind in kinds if kind is not types.NoneType)
    coder = _coder_of(rest[0], place) if len(rest) == 1 else _coder_of_kinds(rest)
    return coder if len(rest) == len(kinds) else _optional(coder)


def _coder_of_kinds(kinds: _Kinds) -> _Coder:
    by_tag = {TAGS[kind]: (kind, _coder_of_record(kind)) for kind in kinds}
    if len(by_tag) != len(kinds):
        raise InvariantError("two kinds have the same tag")
    return _union(by_tag)


def _coder_of_record(kind: type) -> _Coder:
    known = _RECORDS.get(kind)
    if known is None:
        hints = typing.get_type_hints(kind)
        names = tuple(field.name for field in dataclasses.fields(kind))
        coders = tuple(_coder_of(hints[name], (kind, name)) for name in names)
        known = _RECORDS[kind] = _record(coders, names, kind)
    return known


_RECORDS: Final[dict[type, _Coder]] = {}
_APP_MESSAGE: Final = _coder_of_kinds(typing.get_args(AppMessage))
_NODE_MESSAGE: Final = _coder_of_kinds(typing.get_args(NodeMessage))

# --- whole messages -----------------------------------------------------------------------------


def encode_app_message(message: AppMessage) -> bytes:
    """Bytes of a message from an app to a node.

    Raises:
        OverflowError: an amount in it is out of range.
        ValueError: another field is.
    """
    return _pack(_APP_MESSAGE.encode(message))


def decode_app_message(data: bytes) -> AppMessage | None:
    """Read a message of an app; None means an extension to ignore.

    Raises:
        DecodeError: malformed (the app's fault).
    """
    found: AppMessage | None = _decode(data, _APP_MESSAGE)
    return found


def encode_node_message(message: NodeMessage) -> bytes:
    """Bytes of a message from a node to an app; what a node says of itself is always in range.

    Raises:
        OverflowError: an amount in it is out of range.
        ValueError: another field is.
    """
    return _pack(_NODE_MESSAGE.encode(message))


def decode_node_message(data: bytes) -> NodeMessage | None:
    """Read a message of a node; None means an extension to ignore.

    Raises:
        DecodeError: malformed (the node's fault).
    """
    found: NodeMessage | None = _decode(data, _NODE_MESSAGE)
    return found


def _decode(data: bytes, coder: _Coder) -> Any:  # noqa: ANN401 - the callers say which
    try:
        fields = msgpack.unpackb(
            data, use_list=False, raw=False, max_array_len=_ARRAY_MAX, max_map_len=0
        )
    except (ValueError, msgpack.UnpackException) as error:
        raise DecodeError("a message is not one msgpack value within the limits") from error
    if type(fields) is not tuple or not fields or type(fields[0]) is not int:
        raise DecodeError("a message is not an array that begins with its type")
    return None if fields[0] >= EXTENSION_TYPE_MIN else coder.decode(fields)
