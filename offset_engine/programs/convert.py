"""`stmgr convert`: one artifact in, the same artifact in another form out.

| `--to` | writes |
|---|---|
| `mobile`, `stctrl`, `both` | a JSON file spelled so |
| `line` | the JSON on one line, as the phone app put it into QR codes |
| `text` | `offset1:…`, for chats |
| `qr-text` | the text of one QR code, or of several with `--chars` |
| `qr`, `ascii` | the same, drawn for terminals or for paper |
| `png` | a picture; needs `-o` |

Secrets have no text form, and are never printed: their JSON needs `-o`.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Final

from offset_engine import qr
from offset_engine.core.signing import Commit
from offset_engine.disk import write_bytes
from offset_engine.errors import FileError
from offset_engine.files import (
    Content,
    Role,
    Style,
    Ticket,
    is_secret,
    kind_of_content,
    load_any,
    parse,
    read_any,
    to_json,
    to_json_line,
    to_qr_parts,
    to_text,
)
from offset_engine.programs.arguments import Commands, Output, read_input

_PNG: Final = "png"
_CHARS_MAX: Final = 4_296
"""What the largest QR code holds."""
_CHARS_MIN: Final = 20


def add_parser(commands: Commands) -> None:
    """Add `convert` to the subcommands; its action is `act`."""
    parser = commands.add("convert", "Write an artifact in another form.")
    parser.add_argument(
        "-i", "--input", required=True, metavar="FILE", help="what to read; - is standard input"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="file to write (default: standard output)"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    parser.add_argument(
        "--to", choices=[*_FORMS, _PNG], default="mobile", help="the form (default: mobile)"
    )
    parser.add_argument(
        "--as",
        dest="role",
        choices=[Role.RELAY.value, Role.INDEX.value],
        help="read it as the ticket of a relay or an index server",
    )
    parser.add_argument(
        "--chars",
        type=_chars,
        default=_CHARS_MAX,
        metavar="N",
        help="most characters of one QR code; what is longer becomes several",
    )


def _chars(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not _CHARS_MIN <= int(text[:9]) <= _CHARS_MAX:
        raise argparse.ArgumentTypeError(f"give a whole number from {_CHARS_MIN} to {_CHARS_MAX}")
    return int(text)


def act(args: argparse.Namespace, output: Output) -> None:
    """Do what the command line says.

    Raises:
        FileError: the artifact cannot be read, has no such form, or the file cannot be written.
    """
    content = _read(args.input, args.role)
    if args.to == _PNG:
        raw = png_of(content)
        text = ""
    else:
        text = _FORMS[args.to](content, args.chars, output)
        raw = f"{text}\n".encode()
    kind = kind_of_content(content)
    if args.output is None:
        if is_secret(content) or args.to == _PNG:
            raise FileError(f"{_what(args.to, kind)} is not printed: name a file with -o")
        output.result({"kind": kind.name.lower(), "to": args.to, "text": text}, text)
        return
    secret = is_secret(content) or isinstance(content, Commit)
    write_bytes(args.output, raw, secret=secret, force=args.force)
    output.detail(f"wrote {args.output}: {kind} as {args.to}")
    output.result({"kind": kind.name.lower(), "to": args.to, "output": args.output})


def _what(form: str, kind: str) -> str:
    return "a picture" if form == _PNG else f"{kind} holds a secret and"


def _read(name: str, role: str | None) -> Content:
    if role is not None:
        text = read_input(name)
        try:
            return parse(text, Ticket, Role(role))
        except FileError as error:
            raise FileError(f"{name}: {error}") from None
    found = read_any(read_input(name)) if name == "-" else load_any(name)
    if len(found) > 1:
        raise FileError(f"{name}: there are {len(found)} artifacts in it; give one at a time")
    return found[0].content


def qr_texts(content: Content, chars: int) -> list[str]:
    """Secrets go into a code only as the JSON the phone app reads."""
    return [to_json_line(content)] if is_secret(content) else to_qr_parts(content, chars)


def drawn(content: Content, chars: int, draw: Callable[[str], str]) -> str:
    """The codes of an artifact, one below the other."""
    return "\n\n".join(draw(text) for text in qr_texts(content, chars))


def _draw_blocks(content: Content, chars: int, output: Output) -> str:
    return drawn(content, chars, lambda text: qr.half_blocks(text, has_colors=output.is_terminal))


def drawn_for(content: Content, output: Output, *, is_ascii: bool = False) -> str:
    """An artifact as a QR code for the screen or the file that `output` writes to."""
    if is_ascii:
        return drawn(content, _CHARS_MAX, qr.ascii_art)
    return _draw_blocks(content, _CHARS_MAX, output)


def png_of(content: Content) -> bytes:
    """An artifact as a picture of one QR code.

    Raises:
        FileError: it is too long for one.
    """
    return qr.png(qr_texts(content, _CHARS_MAX)[0])


_FORMS: Final[Mapping[str, Callable[[Content, int, Output], str]]] = {
    "mobile": lambda content, _chars, _output: to_json(content, Style.MOBILE),
    "stctrl": lambda content, _chars, _output: to_json(content, Style.STCTRL),
    "both": lambda content, _chars, _output: to_json(content, Style.BOTH),
    "line": lambda content, _chars, _output: to_json_line(content),
    "text": lambda content, _chars, _output: to_text(content),
    "qr-text": lambda content, chars, _output: "\n".join(to_qr_parts(content, chars)),
    "qr": _draw_blocks,
    "ascii": lambda content, chars, _output: drawn(content, chars, qr.ascii_art),
}
