"""Command lines: what looks like a flag and is a key."""

from base64 import urlsafe_b64encode

import pytest

from offset_engine.programs.arguments import Parser


def texts(size: int) -> tuple[str, str]:
    """Base64url text of `size` bytes that begins with a dash, without and with padding."""
    padded = urlsafe_b64encode(b"\xf8\x10\x83" + bytes(range(size - 3))).decode()
    assert padded.startswith("-")
    return padded.rstrip("="), padded


def parser() -> Parser:
    made = Parser("offset", "For a test.")
    command = made.commands().add("show", "Show something.")
    command.add_argument("--friend")
    command.add_argument("--a-flag-with-many-words")
    command.add_argument("what", nargs="?")
    return made


@pytest.mark.parametrize("text", [text for size in (16, 32, 64) for text in texts(size)])
def test_a_key_or_id_that_begins_with_a_dash_is_a_value(text: str) -> None:
    found = parser().parse_args(["show", text, "--friend", text])
    assert (found.what, found.friend) == (text, text)


@pytest.mark.parametrize("text", ["--a-flg-with-many-word", "-x", "--friends", "-" + "a" * 42])
def test_a_mistyped_flag_stays_one(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args(["show", "x", text])
    assert stopped.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_a_flag_as_long_as_an_id_is_a_flag() -> None:
    assert (
        parser().parse_args(["show", "--a-flag-with-many-words", "1"]).a_flag_with_many_words == "1"
    )
