"""Finds the artifacts in a file or in text somebody pasted, whatever a chat or a mail did to it.

A file of its own is read as it is. Otherwise the text is searched for `offset1:…`, `OFFSET1:…`, `O$…`
and JSON objects of ours, with more and more of what chats add taken away; the reading that finds most counts:

| reading | takes away |
|---|---|
| 1 | marks of quoting (`> `) at the start of lines |
| 2 | and characters without width; odd spaces become plain ones |
| 3 | and who said it when (`Alice, 14:03: `) at the start of every line |

White space, line breaks and backticks inside a text form never matter; a JSON object may be broken
over lines anywhere. What is meant as one of ours but damaged is an error, also beside intact ones: who
pastes two things must not be left with one. The work is bounded by the 64 KiB a text may have.

Source: apps.md §7.2, §7.5; design R9.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from offset_engine.disk import FILE_BYTES_MAX
from offset_engine.errors import FileError
from offset_engine.files.armour import Part, from_qr_text, from_text, join_parts, read_part
from offset_engine.files.artifacts import Artifact, Content, Form
from offset_engine.files.json_forms import read_fields
from offset_engine.files.packing import WORDS
from offset_engine.json_fields import (
    KNOWN_MARKS,
    Fields,
    JsonObject,
    Kind,
    kind_of,
    object_at,
    parse_object,
    snake_case,
)

OBJECTS_MAX: Final = 64
"""Braces looked at in one text; nobody pastes more artifacts than that."""
_PART_LINES_MAX: Final = 16
"""Lines one part of a QR code may be broken into."""


def read_any(text: str) -> list[Artifact]:
    """Find every artifact in the text, in its order.

    Returns:
        At least one.

    Raises:
        FileError: there is none, or one is damaged; the sentence says what is wrong.
    """
    if len(text) > FILE_BYTES_MAX or len(text.encode(errors="replace")) > FILE_BYTES_MAX:
        raise FileError("this is not one of our files: it is longer than 64 KiB")
    if not text.strip(" \t\r\n\ufeff"):
        raise FileError("there is nothing in it: expected a file of ours or a text offset1:…")
    alone = _alone(text)
    if alone is not None:
        return [from_object(alone)]
    problem: FileError | None = None
    best: list[Artifact] = []
    for clean in dict.fromkeys(clean(text) for clean in _READINGS):
        try:
            found = _Search(clean).run()
        except FileError as error:
            problem = problem or error
            continue
        if len(found) > len(best):
            best = found
    if not best and problem is not None:
        raise problem
    return best


def from_object(values: JsonObject, kind: Kind | None = None) -> Artifact:
    """Read a JSON object as what its fields say, or as this kind if they say nothing.

    Raises:
        FileError: its fields fit no kind, or one is missing or wrong.
    """
    kind = kind_of(values) or kind
    if kind is None:
        raise FileError("this is not one of our files: its fields fit no kind of file")
    fields = Fields(values)
    content = read_fields(fields, kind)
    return Artifact(content, Form.JSON, tuple(fields.warnings), fields.unknown())


def _alone(text: str) -> JsonObject | None:
    """The object, if the text is nothing else."""
    try:
        return parse_object(text)
    except FileError:
        return None


# --- what chats and mails add -------------------------------------------------------------------

_QUOTES: Final = re.compile(r"^[ \t]*(?:[>|][ \t]?)+", re.MULTILINE)
_NO_WIDTH: Final = re.compile(
    "[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe0e\ufe0f\ufeff]"
)
_ODD_SPACE: Final = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_SAID_BY: Final = re.compile(
    r"^[ \t]*(?:"
    r"[^\n]{0,60}?(?<!\d)\d{1,2}[:.]\d{2}(?::\d{2})?(?!\d)[^\n:>\]{}]{0,40}[:>\]-][ \t]+"
    r"(?:<?[^\n:<>{}$\",]{1,40}[:>][ \t]+)?"
    r"|<[^<>\n]{1,40}>[ \t]+)",
    re.MULTILINE,
)


def _unquoted(text: str) -> str:
    return _QUOTES.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _plain(text: str) -> str:
    # Marks of quoting may hide behind the characters taken away.
    return _unquoted(_ODD_SPACE.sub(" ", _NO_WIDTH.sub("", text)))


def _unsaid(text: str) -> str:
    return _SAID_BY.sub("", _plain(text))


_READINGS: Final[tuple[Callable[[str], str], ...]] = (_unquoted, _plain, _unsaid)

# --- the search ---------------------------------------------------------------------------------

# What may stand between any two characters: a copied text can pick all of these up.
_BETWEEN: Final = r"\s`\\\u00ad\u200b-\u200f\u2060\ufeff"
_START: Final = re.compile(
    rf"(?<![A-Za-z0-9])offset1[{_BETWEEN}]*:|(?<![A-Za-z0-9$])O\$|\{{", re.IGNORECASE
)
_HEAD: Final = re.compile(rf"([a-z{_BETWEEN}]{{1,40}}):", re.IGNORECASE)
_TEXT: Final = re.compile(
    rf"([A-Z0-9_\-+/={_BETWEEN}]*):((?:[{_BETWEEN}]*[A-Z0-9_\-+/]){{4}})",
    re.IGNORECASE,
)
_QR: Final = re.compile(
    rf"([A-Z2-7={_BETWEEN}]{{40,}}):((?:[{_BETWEEN}]*[A-Z2-7]){{5}})", re.IGNORECASE
)
_PART: Final = re.compile(r"([A-Z][1-9A-Z][1-9A-Z][0-9A-F]{4})([A-Z2-7]+)", re.IGNORECASE)
_PART_GOES_ON: Final = re.compile(r"[^\S\n]*\n[^\S\n]*([A-Za-z2-7]+)[^\S\n]*(?=\n|\Z)")
_MEANT: Final = re.compile(r"[A-Za-z0-9_:+/=-]{16}")
_FIRST_KEY: Final = re.compile(r'\{\s*"')
_ANY_MARK: Final = re.compile(
    "|".join(f'"(?:{mark}|{snake_case(mark)})"' for mark in sorted(KNOWN_MARKS))
)
_REST: Final = re.compile(rf"[{_BETWEEN}]+")


class _Search:
    """One walk through a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._found: list[tuple[int, Artifact]] = []
        self._parts: list[tuple[int, Part]] = []
        self._objects = 0
        self._mention: FileError | None = None
        """What to say if nothing at all is found."""

    def run(self) -> list[Artifact]:
        position = 0
        while start := _START.search(self._text, position):
            match start.group()[0]:
                case "{":
                    position = self._object(start.start())
                case _ if start.group()[1] == "$":
                    position = self._part(start.end())
                case _:
                    position = self._armoured(start.end())
        self._join_parts()
        if not self._found:
            raise self._mention or FileError(
                "this is not one of our files: there is neither a JSON object of ours in it "
                "nor a text that begins with offset1:"
            )
        self._found.sort(key=lambda pair: pair[0])
        return [artifact for _, artifact in self._found]

    def _add(self, position: int, content: Content, form: Form) -> None:
        self._found.append((position, Artifact(content, form)))

    def _armoured(self, start: int) -> int:
        """Read what follows `offset1:`; returns where to go on."""
        head = _HEAD.match(self._text, start)
        word = _bare(head.group(1)).lower() if head else ""
        if head and word in WORDS.values():
            if text := _TEXT.match(self._text, head.end()):
                content = from_text(word, _bare(text.group(1)), _bare(text.group(2)))
                self._add(start, content, Form.TEXT)
                return text.end()
        elif code := _QR.match(self._text, start):
            self._add(start, from_qr_text(_bare(code.group(1)), _bare(code.group(2))), Form.QR)
            return code.end()
        elif head and _TEXT.match(self._text, head.end()):
            raise FileError(
                "this text holds a kind of thing this version does not know; update the program"
            )
        cut_off = FileError(
            "this text is cut off: copy it again, from offset1: to its last character"
        )
        if _MEANT.match(self._text, start):
            raise cut_off
        self._mention = self._mention or cut_off
        return start

    def _part(self, start: int) -> int:
        found = _PART.match(self._text, start)
        if found is None:
            self._mention = self._mention or FileError(
                "this part of a QR code is cut off; read it again"
            )
            return start
        bodies, end = [found.group(2)], found.end()
        # A part has no end mark: it may go on in lines that hold nothing else, in the same case.
        while (more := _PART_GOES_ON.match(self._text, end)) and len(bodies) < _PART_LINES_MAX:
            longer = bodies[-1] + more.group(1)
            if longer not in (longer.upper(), longer.lower()):
                break
            bodies.append(longer)
            end = more.end()
        self._parts.append((start, read_part(found.group(1), bodies)))
        return found.end()

    def _join_parts(self) -> None:
        first: dict[tuple[str, int, str], int] = {}
        for position, part in self._parts:
            first.setdefault((part.kind, part.total, part.mark), position)
        contents = join_parts([part for _, part in self._parts])
        for position, content in zip(first.values(), contents, strict=True):
            self._add(position, content, Form.PARTS)

    def _object(self, start: int) -> int:
        self._objects += 1
        if self._objects > OBJECTS_MAX:
            raise FileError(f"there are more than {OBJECTS_MAX} braces in this text: paste less")
        try:
            values, end = object_at(self._text, start)
        except FileError as error:
            if not _is_meant(self._text, start):
                self._mention = self._mention or error
                return start + 1
            # Never look inside a damaged object: a friend file's relay would pass for a ticket.
            values, end = _mended_object(self._text, start, error)
        if kind_of(values) is None:
            self._mention = self._mention or FileError(
                "this is not one of our files: its fields fit no kind of file"
            )
            return end
        self._found.append((start, from_object(values)))
        return end


def _bare(text: str) -> str:
    return _REST.sub("", text)


def _is_meant(text: str, start: int) -> bool:
    """Whether what begins at this brace should be an object of ours."""
    return bool(_FIRST_KEY.match(text, start) and _ANY_MARK.search(text[start:].replace("\n", "")))


def _mended_object(text: str, start: int, problem: FileError) -> tuple[JsonObject, int]:
    """Read an object at `start` that lines were broken in; returns it and its end.

    Raises:
        FileError: `problem`, if that is not what is wrong with it.
    """
    for ends in _line_ends(text, start):
        joined, places = _joined(text, start, ends)
        try:
            values, used = object_at(joined, 0)
            if kind_of(values) is None:
                continue
            from_object(values)
        except FileError:
            continue
        piece, place = max(pair for pair in places if pair[0] <= used)
        return values, place + used - piece
    raise problem


_Ends: TypeAlias = Callable[[str], str]
"""What stood at the end of a line before it was broken there: a space or nothing."""


def _line_ends(text: str, start: int) -> Sequence[_Ends]:
    """Guesses how lines were broken, the best first; none if there is only one line.

    Broken at a fixed width nothing was taken away; broken between words a space was; both happen in
    one text when a word is longer than a line.
    """
    lines = text[text.rfind("\n", 0, start) + 1 :].split("\n")
    if len(lines) == 1:
        return ()
    width = max(len(line) for line in lines[:-1])

    def cut(_line: str) -> str:
        return ""

    def between_words(_line: str) -> str:
        return " "

    def mixed(line: str) -> str:
        return "" if len(line) == width else " "

    is_cut = all(len(line) == width for line in lines[1:-1])
    return (cut, mixed, between_words) if is_cut else (between_words, mixed, cut)


def _joined(text: str, start: int, ends: _Ends) -> tuple[str, list[tuple[int, int]]]:
    """The lines from `start` on as one, and for each line where it begins there and in `text`."""
    position = text.rfind("\n", 0, start) + 1
    pieces, places, length = [], [], 0
    for line in text[position:].split("\n"):
        begin = max(position, start)
        # Nothing of ours begins a line with white space, but for the indentation of JSON.
        bare = text[begin : position + len(line)].lstrip(" \t")
        places.append((length, position + len(line) - len(bare)))
        pieces.append(bare + ends(line))
        length += len(pieces[-1])
        position += len(line) + 1
    return "".join(pieces), places
