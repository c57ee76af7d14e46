"""Logs of the programs: where they go, how much, that they stay small and private, and say nothing secret."""

import argparse
import logging
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from offset_engine.core.values import PrivateKey, PublicKey
from offset_engine.errors import FileError
from offset_engine.programs import logs
from tests.covers import covers

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d (DEBUG|INFO|WARNING|ERROR) ([\w.]+): (.*)"
)
log = logging.getLogger("offset_engine.net.somewhere")


@contextmanager
def written(*argv: str) -> Iterator[None]:
    parser = argparse.ArgumentParser()
    logs.add_flags(parser)
    with logs.written(parser.parse_args(argv)):
        yield


def say_everything() -> None:
    for level in logs.LEVELS:
        log.log(getattr(logging, level.upper()), "this is %s", level)


def said(text: str) -> list[str]:
    """The messages of lines that look as they should."""
    found = [LINE.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return [one[3] for one in found if one]


@covers("NOD-24")
@pytest.mark.parametrize(
    ("flags", "first"),
    [([], 2), (["--log-level", "error"], 3), (["--log-level", "debug"], 0)],
)
def test_stderr_gets_what_somebody_should_look_at(
    flags: list[str], first: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with written(*flags):
        say_everything()
    out, err = capsys.readouterr()
    assert out == ""
    assert said(err) == [f"this is {level}" for level in logs.LEVELS[first:]]


@covers("NOD-24")
def test_a_file_also_gets_who_comes_and_goes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "node.log"
    path.write_text("")
    path.chmod(0o644)
    for _ in range(2):
        with written("--log-file", str(path)):
            say_everything()
    log.warning("after the program")
    assert said(path.read_text()) == [f"this is {level}" for level in logs.LEVELS[1:]] * 2
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert capsys.readouterr().err == ""


def test_files_are_bounded_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1_000)
    with written("--log-file", str(tmp_path / "node.log")):
        for number in range(200):
            log.info("event %d", number)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["node.log", *(f"node.log.{n}" for n in range(1, logs.FILES_KEPT + 1))]
    for path in tmp_path.iterdir():
        assert path.stat().st_size <= 1_000
        if sys.platform != "win32":
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert said((tmp_path / "node.log").read_text())[-1] == "event 199"


def test_what_strangers_say_cannot_forge_a_line_or_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with written("--log-file", str(path)):
        log.warning("they say: %s", "bye\n2026-01-01 all is well\x1b[2J\u202e\udcff")
        log.warning("%s", "x" * 100_000)
        log.error("a bug", exc_info=ValueError("two\nlines"))
    lines = path.read_text().splitlines()
    assert said(lines[0]) == [
        r"they say: bye\n2026-01-01 all is well\x1b[2J\u202e\udcff",
    ]
    assert len(lines[1]) < 3_000
    assert said(lines[2]) == ["a bug"]
    assert lines[3:] == ["    ValueError: two", "    lines"]


def test_keys_are_fingerprints_and_secrets_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with written("--log-file", str(path)):
        log.info("%s and %s", PublicKey(bytes(32)), PrivateKey(bytes(32)))
    assert said(path.read_text()) == ["PublicKey(AAAAAAAA) and PrivateKey(secret)"]


@pytest.mark.parametrize("name", ["", "no/such/directory/log", ".", "a\0b"])
def test_a_file_that_cannot_be_written_is_said_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(FileError, match=r"^cannot write the log"),
        written("--log-file", name),
    ):
        raise AssertionError("nothing may run")


def test_a_level_that_is_none_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, written("--log-level", "loud"):
        pass
    assert caught.value.code == 2
    assert "debug" in capsys.readouterr().err
