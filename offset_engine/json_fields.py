"""JSON objects with known fields, read generously in form and strictly in content.

Both spellings of a key (`destPayment`, `dest_payment`), base64 in either alphabet, amounts as text or
integer; but every field present, of exactly the right length, and never two values for one field.
What is wrong is said in one sentence, which never repeats a field's content: a file comes from
anybody. Unknown fields are ignored, but remembered for whoever inspects the file.

Source: apps.md §7.1 to §7.3.
"""

import enum
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from offset_engine.core.values import (
    ADDRESS_BYTES_MAX,
    CURRENCY_BYTES_MAX,
    Currency,
    FixedBytes,
)
from offset_engine.errors import FileError

_F = TypeVar("_F", bound=FixedBytes)

Json: TypeAlias = "str | int | bool | Sequence[Json] | Mapping[str, Json] | None"


class Kind(enum.StrEnum):
    """What a file or text is, told by its fields and never by its name."""

    IDENTITY = "an identity"
    SEALED_IDENTITY = "an identity sealed with a passphrase"
    APP_TICKET = "an app ticket"
    INVITE = "an invite"
    ANSWER = "an answer to an invite"
    FRIEND = "a friend file"
    REMOTE_CARD = "a remote card"
    RECEIPT = "a receipt"
    COMMIT = "a commit"
    INVOICE = "an invoice"
    TOKEN = "a friend's last token"
    PAYMENT = "a payment handle"
    SERVERS = "a relay and an index server"
    TICKET = "a ticket"
    RELAY = "a relay's ticket"
    """Told by its text form, its file's name or where it is needed; its fields are any ticket's."""
    INDEX = "an index server's ticket"


_MARKS: Final = (
    (Kind.IDENTITY, ("privateKey",)),
    (Kind.SEALED_IDENTITY, ("sealedPrivateKey",)),
    (Kind.APP_TICKET, ("permissions",)),
    (Kind.INVITE, ("relays", "servers")),
    (Kind.ANSWER, ("relays", "inviteHash")),
    (Kind.FRIEND, ("relays",)),
    (Kind.REMOTE_CARD, ("appPrivateKey",)),
    (Kind.RECEIPT, ("responseHash", "destPlainLock")),
    (Kind.COMMIT, ("responseHash", "destHashedLock")),
    (Kind.INVOICE, ("invoiceId", "destPublicKey")),
    (Kind.TOKEN, ("tokenInfo",)),
    (Kind.PAYMENT, ("paymentId",)),
    (Kind.SERVERS, ("relay", "index")),
    (Kind.TICKET, ("publicKey", "address")),
)
"""First match wins."""
KNOWN_MARKS: Final = frozenset(mark for _, marks in _MARKS for mark in marks)
"""Fields that show an object is meant as one of ours, even when it is damaged."""


class Style(enum.StrEnum):
    """How keys are spelled in what we write."""

    MOBILE = "mobile"
    """`destPayment`, as the phone app did; the default."""
    STCTRL = "stctrl"
    """`dest_payment`, as the original's command line did."""
    BOTH = "both"
    """Every field under both names, for readers of either kind."""


# --- objects ------------------------------------------------------------------------------------


class JsonObject(dict[str, object]):
    """A JSON object under camelCase keys, which still knows how its keys were spelled."""

    __slots__ = ("spelled",)

    def __init__(self, pairs: Sequence[tuple[str, object]]) -> None:
        super().__init__()
        self.spelled: Final = dict(pairs)
        for key, found in pairs:
            name = camel_case(key)
            if name in self and not _same(self[name], found):
                raise FileError(
                    f"conflicting fields: {_quoted(name)} occurs twice with different values"
                )
            self[name] = found


def camel_case(key: str) -> str:
    """`destPayment` for `dest_payment`; what is spelled so already stays."""
    return re.sub(r"(?<=[A-Za-z0-9])_([a-z0-9])", lambda m: m.group(1).upper(), key)


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _no_constant(_name: str) -> object:
    raise ValueError


_DECODER: Final = json.JSONDecoder(object_pairs_hook=JsonObject, parse_constant=_no_constant)


def parse_object(text: str) -> JsonObject:
    """Read text that is one JSON object, a byte order mark and white space around it allowed.

    Raises:
        FileError: it is none, or a field occurs twice with different values.
    """
    bare = text.strip(" \t\r\n\ufeff")
    found, end = _decode(bare, 0)
    if end != len(bare):
        raise FileError("this is not one of our files, or it is damaged: it is not JSON text")
    return found


def object_at(text: str, start: int) -> tuple[JsonObject, int]:
    """Read the JSON object that begins at `start`; what follows it does not matter.

    Returns:
        The object and where it ended.

    Raises:
        FileError: there is none, or a field occurs twice with different values.
    """
    return _decode(text, start)


def _decode(text: str, start: int) -> tuple[JsonObject, int]:
    try:
        found, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise FileError("this is not one of our files: it is nested too deeply") from None
    except ValueError:
        raise FileError(
            "this is not one of our files, or it is damaged: it is not JSON text"
        ) from None
    if not isinstance(found, JsonObject):
        raise FileError(f"this is not one of our files: it holds {_what(found)}, not an object")
    return found, end


def kind_of(values: Mapping[str, object]) -> Kind | None:
    """What the object is, or None if its fields fit nothing we know."""
    return next((kind for kind, marks in _MARKS if all(m in values for m in marks)), None)


# --- fields -------------------------------------------------------------------------------------


class Fields:
    """The fields of one object; each method reads one and says what is wrong with it.

    A field of an object inside another is named with its path, like `relays[1].address`.
    """

    def __init__(
        self, values: Mapping[str, object], path: str = "", warnings: list[str] | None = None
    ) -> None:
        self._values = values
        self._path = path
        self._read: set[str] = set()
        self.warnings: Final[list[str]] = [] if warnings is None else warnings
        """What is odd but accepted, in sentences; shared with the objects inside."""

    def unknown(self) -> tuple[str, ...]:
        """Names of the fields nobody asked for, in the file's order."""
        return tuple(key for key in self._values if key not in self._read)

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        self._read.add(key)
        return self._values.get(key) is not None

    def _name(self, key: str) -> str:
        return _quoted(self._path + key)

    def _get(self, key: str, expected: str) -> object:
        self._read.add(key)
        if key not in self._values:
            raise FileError(f"field {self._name(key)} is missing: expected {expected}")
        return self._values[key]

    def _wrong(self, key: str, expected: str, found: object) -> FileError:
        return FileError(f"field {self._name(key)} must be {expected}, not {_what(found)}")

    def fixed(self, key: str, cls: type[_F]) -> _F:
        """Base64 text of exactly the right length."""
        expected = f"{cls.SIZE} bytes as base64 text"
        found = self._get(key, expected)
        if not isinstance(found, str):
            raise self._wrong(key, expected, found)
        try:
            fixed = cls.from_text(found)
        except ValueError:
            raise FileError(
                f"field {self._name(key)} must be {expected} ({-(-cls.SIZE * 8 // 6)} characters): "
                "a character is missing, too many or wrong"
            ) from None
        if found.strip().rstrip("=")[-1:].translate(_URL_SAFE) != fixed.to_text()[-1]:
            self.warnings.append(
                f"field {self._name(key)} ends in bits that mean nothing; they were ignored"
            )
        return fixed

    def number(self, key: str, most: int, default: int | None = None) -> int:
        """A whole number from 0 to `most`, as decimal text or as JSON integer."""
        return self.integer(key, 0, most, default)

    def integer(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number in this range, as decimal text or as JSON integer."""
        if default is not None and not self.has(key):
            return default
        expected = f"a whole number from {least} to {most}"
        found = self._get(key, expected)
        sign = "-?" if least < 0 else ""
        if isinstance(found, str) and re.fullmatch(sign + "[0-9]+", found, re.ASCII):
            # Only as many digits as can be in range: Python refuses to convert thousands of them.
            digits = found.lstrip("-").lstrip("0") or "0"
            size = int(digits) if len(digits) <= len(str(most)) else max(most, -least) + 1
            found = -size if found.startswith("-") else size
        if isinstance(found, bool) or not isinstance(found, int):
            raise self._wrong(key, expected, found)
        if not least <= found <= most:
            raise FileError(f"field {self._name(key)} must be {expected}, it is outside")
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
            raise FileError(
                f"field {self._name(key)} must be {expected}, it is no Unicode"
            ) from None
        if size > bytes_max:
            raise FileError(f"field {self._name(key)} must be {expected}, it has {size}")
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

    def flag(self, key: str, default: bool | None = None) -> bool:  # noqa: FBT001
        """True or false."""
        if default is not None and not self.has(key):
            return default
        found = self._get(key, "true or false")
        if not isinstance(found, bool):
            raise self._wrong(key, "true or false", found)
        return found

    def object(self, key: str) -> "Fields":
        """The fields of an object inside this one."""
        found = self._get(key, "an object")
        if not isinstance(found, dict):
            raise self._wrong(key, "an object", found)
        return Fields(found, f"{self._path}{key}.", self.warnings)

    def objects(self, key: str, most: int) -> "list[Fields]":
        """A list of at most so many objects."""
        expected = f"a list of at most {most} objects"
        found = self._get(key, expected)
        if not isinstance(found, list):
            raise self._wrong(key, expected, found)
        if len(found) > most:
            raise FileError(f"field {self._name(key)} must be {expected}, it has {len(found)}")
        inner = []
        for number, one in enumerate(found):
            if not isinstance(one, dict):
                raise self._wrong(f"{key}[{number}]", "an object", one)
            inner.append(Fields(one, f"{self._path}{key}[{number}].", self.warnings))
        return inner

    def named_objects(self, key: str, most: int) -> "list[tuple[str, Fields]]":
        """An object of objects, whose keys are names of something: they keep their spelling."""
        expected = f"an object with at most {most} objects"
        found = self._get(key, expected)
        if not isinstance(found, JsonObject):
            raise self._wrong(key, expected, found)
        if len(found.spelled) > most:
            raise FileError(
                f"field {self._name(key)} must be {expected}, it has {len(found.spelled)}"
            )
        inner = []
        for number, (name, one) in enumerate(found.spelled.items()):
            if not isinstance(one, dict):
                raise self._wrong(f"{key}[{number}]", "an object", one)
            inner.append((name, Fields(one, f"{self._path}{key}[{number}].", self.warnings)))
        return inner

    def is_list(self, key: str) -> bool:
        """Whether the field holds a list."""
        return isinstance(self._values.get(key), list)


_URL_SAFE: Final = str.maketrans("+/", "-_")


def _what(found: object) -> str:
    names = {
        type(None): "null",
        bool: "true or false",
        int: "a number",
        float: "a number with a fraction",
        str: "text",
        list: "a list",
        JsonObject: "an object",
    }
    return names[type(found)]


def _quoted(name: str) -> str:
    """A field's name, which in a conflict is foreign text: short and without control characters."""
    return f'"{ascii(name[:60])[1:-1]}"'


# --- writing ------------------------------------------------------------------------------------


def spelled(values: Mapping[str, Json], style: Style) -> dict[str, Json]:
    """The same fields (camelCase names) as this style spells them, inner objects included."""
    result: dict[str, Json] = {}
    for key, one in values.items():
        inner = _spelled_inside(one, style)
        if style is not Style.STCTRL:
            result[key] = inner
        if style is not Style.MOBILE:
            result[snake_case(key)] = inner
    return result


def _spelled_inside(one: Json, style: Style) -> Json:
    if isinstance(one, Mapping):
        return spelled(one, style)
    if isinstance(one, Sequence) and not isinstance(one, str):
        return [_spelled_inside(item, style) for item in one]
    return one


def snake_case(key: str) -> str:
    """`dest_payment` for `destPayment`."""
    return re.sub(r"[A-Z]", lambda m: "_" + m.group(0).lower(), key)


def pretty(values: Mapping[str, Json], style: Style) -> str:
    """Write fields (camelCase names) as a file: two spaces, no line break at the end."""
    return json.dumps(spelled(values, style), indent=2, ensure_ascii=False)


def one_line(values: Mapping[str, Json], style: Style) -> str:
    """Write fields (camelCase names) as one line without spaces, for texts and QR codes."""
    return json.dumps(spelled(values, style), separators=(",", ":"), ensure_ascii=False)
