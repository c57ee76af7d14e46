"""JSON objects with known fields, read generously in form and strictly in content.

Both spellings of a key (`destPayment`, `dest_payment`), base64 in either alphabet, amounts as text or
integer; but every field present, of exactly the right length, and never two values for one field.
What is wrong is said in one sentence, which never repeats a field's content: a file comes from
anybody. Unknown fields are ignored.

Source: apps.md §7.1 to §7.3.
"""

import enum
import json
import re
from collections.abc import Mapping
from typing import Final, TypeVar

from offset_engine.core.values import (
    ADDRESS_BYTES_MAX,
    CURRENCY_BYTES_MAX,
    Currency,
    FixedBytes,
)
from offset_engine.errors import FileError

_F = TypeVar("_F", bound=FixedBytes)


class Kind(enum.StrEnum):
    """What a file is, told by its fields and never by its name."""

    IDENTITY = "an identity"
    APP_TICKET = "an app ticket"
    FRIEND = "a friend file"
    REMOTE_CARD = "a remote card"
    RECEIPT = "a receipt"
    COMMIT = "a commit"
    INVOICE = "an invoice"
    TOKEN = "a friend's last token"
    PAYMENT = "a payment handle"
    TICKET = "a ticket"


_MARKS: Final = (
    (Kind.IDENTITY, ("privateKey",)),
    (Kind.APP_TICKET, ("permissions",)),
    (Kind.FRIEND, ("relays",)),
    (Kind.REMOTE_CARD, ("appPrivateKey",)),
    (Kind.RECEIPT, ("responseHash", "destPlainLock")),
    (Kind.COMMIT, ("responseHash", "destHashedLock")),
    (Kind.INVOICE, ("invoiceId", "destPublicKey")),
    (Kind.TOKEN, ("tokenInfo",)),
    (Kind.PAYMENT, ("paymentId",)),
    (Kind.TICKET, ("publicKey", "address")),
)
"""First match wins."""


class Style(enum.StrEnum):
    """How keys are spelled in what we write."""

    MOBILE = "mobile"
    """`destPayment`, as the phone app did; the default."""
    STCTRL = "stctrl"
    """`dest_payment`, as the original's command line did."""
    BOTH = "both"
    """Every field under both names, for readers of either kind."""


def kind_of(text: str) -> Kind | None:
    """What the JSON text is, or None if its fields fit nothing we know.

    Raises:
        FileError: it is no JSON object, or a field occurs twice with different values.
    """
    return _kind(_object(text))


def _kind(values: Mapping[str, object]) -> Kind | None:
    return next((kind for kind, marks in _MARKS if all(m in values for m in marks)), None)


def _object(text: str) -> dict[str, object]:
    try:
        found: object = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_one_spelling,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise FileError("this is not one of our files: it is nested too deeply") from None
    except ValueError:
        raise FileError("this is not one of our files: it is not JSON text") from None
    if not isinstance(found, dict):
        raise FileError(f"this is not one of our files: it holds {_what(found)}, not an object")
    return found


def _one_spelling(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Give every key its camelCase name; a field said twice must say the same."""
    values: dict[str, object] = {}
    for key, found in pairs:
        name = re.sub(r"(?<=[A-Za-z0-9])_([a-z0-9])", lambda m: m.group(1).upper(), key)
        if name in values and (type(values[name]) is not type(found) or values[name] != found):
            raise FileError(
                f"conflicting fields: {_quoted(name)} occurs twice with different values"
            )
        values[name] = found
    return values


def _no_constant(_name: str) -> object:
    raise ValueError


class Fields:
    """The fields of one file; each method reads one and says what is wrong with it."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    @classmethod
    def read(cls, text: str, wanted: Kind) -> "Fields":
        """Parse a file that should be of this kind."""
        values = _object(text)
        kind = _kind(values)
        if kind is not None and kind is not wanted:
            raise FileError(f"this is {kind}, but {wanted} is needed here")
        return cls(values)

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(key) is not None

    def _get(self, key: str, expected: str) -> object:
        if key not in self._values:
            raise FileError(f"field {_quoted(key)} is missing: expected {expected}")
        return self._values[key]

    def _wrong(self, key: str, expected: str, found: object) -> FileError:
        return FileError(f"field {_quoted(key)} must be {expected}, not {_what(found)}")

    def fixed(self, key: str, cls: type[_F]) -> _F:
        """Base64 text of exactly the right length."""
        expected = f"{cls.SIZE} bytes as base64 text"
        found = self._get(key, expected)
        if not isinstance(found, str):
            raise self._wrong(key, expected, found)
        try:
            return cls.from_text(found)
        except ValueError:
            raise FileError(
                f"field {_quoted(key)} must be {expected} ({-(-cls.SIZE * 8 // 6)} characters): "
                "a character is missing, too many or wrong"
            ) from None

    def number(self, key: str, most: int, default: int | None = None) -> int:
        """A whole number from 0 to `most`, as decimal text or as JSON integer."""
        if default is not None and not self.has(key):
            return default
        expected = f"a whole number from 0 to {most}"
        found = self._get(key, expected)
        if isinstance(found, str) and re.fullmatch(r"[0-9]+", found, re.ASCII):
            # Only as many digits as can be in range: Python refuses to convert thousands of them.
            digits = found.lstrip("0") or "0"
            found = int(digits) if len(digits) <= len(str(most)) else most + 1
        if isinstance(found, bool) or not isinstance(found, int):
            raise self._wrong(key, expected, found)
        if not 0 <= found <= most:
            raise FileError(f"field {_quoted(key)} must be {expected}, it is outside")
        return found

    def text(self, key: str, bytes_max: int, default: str | None = None) -> str:
        """Unicode text of so many bytes at most."""
        if default is not None and not self.has(key):
            return default
        expected = f"text of at most {bytes_max} bytes"
        found = self._get(key, expected)
        if not isinstance(found, str):
            raise self._wrong(key, expected, found)
        return self._short(key, expected, found, bytes_max)

    def _short(self, key: str, expected: str, found: str, bytes_max: int) -> str:
        try:
            size = len(found.encode())
        except UnicodeEncodeError:  # half of a surrogate pair, written as an escape
            raise FileError(f"field {_quoted(key)} must be {expected}, it is no Unicode") from None
        if size > bytes_max:
            raise FileError(f"field {_quoted(key)} must be {expected}, it has {size}")
        return found

    def currency(self, key: str) -> Currency:
        """A currency's name as it stands; `Currency.of` decides later whether it can be used."""
        return Currency(self.text(key, CURRENCY_BYTES_MAX))

    def address(self, key: str) -> str:
        """An address as text, or wrapped as `{"address": ...}` the way old samples have it."""
        expected = f"an address of at most {ADDRESS_BYTES_MAX} bytes, like host:port"
        found = self._get(key, expected)
        while isinstance(found, dict) and list(found) == ["address"]:
            found = found["address"]
        if not isinstance(found, str):
            raise self._wrong(key, expected, found)
        return self._short(key, expected, found, ADDRESS_BYTES_MAX)

    def flag(self, key: str) -> bool:
        """True or false."""
        found = self._get(key, "true or false")
        if not isinstance(found, bool):
            raise self._wrong(key, "true or false", found)
        return found


def _what(found: object) -> str:
    names = {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number with a fraction",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names[type(found)]


def _quoted(name: str) -> str:
    """A field's name, which in a conflict is foreign text: short and without control characters."""
    return f'"{ascii(name[:40])[1:-1]}"'


def pretty(values: Mapping[str, str | int | bool], style: Style) -> str:
    """Write fields (camelCase names) as a file: two spaces, no line break at the end."""
    spelled: dict[str, str | int | bool] = {}
    for key, one in values.items():
        if style is not Style.STCTRL:
            spelled[key] = one
        if style is not Style.MOBILE:
            spelled[re.sub(r"[A-Z]", lambda m: "_" + m.group(0).lower(), key)] = one
    return json.dumps(spelled, indent=2, ensure_ascii=False)
