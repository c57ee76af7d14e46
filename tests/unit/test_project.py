"""The frame around the code: commands, README, versions, and what must not be in a clone."""

import importlib
import itertools
import re
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from offset_engine.core import values
from offset_engine.programs import VERSION
from tests.covers import covers

ROOT = Path(__file__).parent.parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()
SCRIPTS: dict[str, str] = PROJECT["project"]["scripts"]
DOCUMENTS = ["README.md", "offset_engine/PROTOCOL.md"]


def sources() -> Iterator[Path]:
    """Every file that belongs to the project, whether or not it is committed yet."""
    listed = ["pyproject.toml", "README.md", "LICENSE", ".gitignore", ".ci/run"]
    yield from (ROOT / one for one in listed)
    for folder in ("offset_engine", "offset_tui", "tests", "screenshots"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def commands() -> list[str]:
    """Every line of README's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


# --- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "target"), SCRIPTS.items())
def test_every_console_script_has_a_main(name: str, target: str) -> None:
    module, _, function = target.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "offset"])
def test_every_server_program_answers_for_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, _, function = SCRIPTS[name].partition(":")
    main = getattr(importlib.import_module(module), function)
    for argv, code, expected in (
        (["-V"], 0, f"{name} {VERSION}\n"),
        (["--help"], 0, f"usage: {name} "),
        (["--no-such-flag"], 2, ""),
    ):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        out, err = capsys.readouterr()
        assert caught.value.code == code
        assert out.startswith(expected)
        assert err.startswith(f"usage: {name} ") == (code == 2)


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["version"] == VERSION
    assert f"This is version {VERSION}," in README


def test_the_name_printed_is_never_somebody_elses_package() -> None:
    assert PROJECT["project"]["name"] == "offset-card"
    bad = re.compile("pip install " + "offset" + r"\b(?!-card)")
    assert [path for path in sources() if bad.search(text_of(path))] == []


@covers("MOB-49")
def test_one_package_serves_every_processor() -> None:
    """Nothing of ours is compiled when it is built, so nobody chooses a binary."""
    ours = [path for path in sources() if path.parts[len(ROOT.parts)].startswith("offset_")]
    assert {path.suffix for path in ours} == {".py", ".md", ".tcss", ".typed"}
    assert "hooks" not in PROJECT["tool"].get("hatch", {}).get("build", {})


def test_textual_is_pinned_exactly_and_everything_has_a_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    needed = [*PROJECT["project"]["dependencies"]]
    for group in PROJECT["project"]["optional-dependencies"].values():
        needed += group
    assert "textual==8.2.8" in needed
    for one in needed:
        position = lines.index(f'    "{one}",')
        while lines[position].startswith('    "'):
            position -= 1
        assert lines[position].strip().startswith("#"), f"no reason for {one}"
        assert re.fullmatch(r"[a-z-]+(==|>=[0-9.]+,<)[0-9.]+", one), one


# --- README -------------------------------------------------------------------------------------


def test_readme_is_short_and_links_no_host() -> None:
    assert README.count("\n") <= 250
    assert re.findall(r"https?://", README) == []


def test_readme_has_the_two_commands() -> None:
    first, second = (line for line in commands() if line.startswith("python3 -m venv"))
    start = "python3 -m venv .venv && .venv/bin/pip install "
    assert first == start + ". && .venv/bin/offset demo"
    assert second == start + "'.[dev]' && .venv/bin/pytest"


def test_every_program_readme_names_is_installed() -> None:
    installed = {*SCRIPTS, "pip", "pytest"}
    named = {name for line in commands() for name in re.findall(r"\.venv/bin/([\w-]+)", line)}
    assert named - installed == set()
    table = set(re.findall(r"^\| `([a-z]+)", README, re.MULTILINE))
    assert table - {*SCRIPTS} == set()
    assert {*SCRIPTS} - table == set()


def test_readmes_commands_have_the_flags_they_use() -> None:
    lines = [line for line in commands() if re.match(r"\.venv/bin/st", line)]
    assert lines
    for line in lines:
        program, *rest = line.removeprefix(".venv/bin/").split()
        while rest[2:] and rest[0].startswith("-") and not rest[2].startswith("-"):
            rest = rest[2:]  # a flag of the program itself
        subcommand = list(itertools.takewhile(lambda word: not word.startswith("-"), rest))
        said = "".join(
            subprocess.run(
                [sys.executable, "-m", SCRIPTS[program].partition(":")[0], *words, "--help"],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout
            for words in ([], subcommand)
        )
        for flag in re.findall(r"--[\w-]+", line):
            assert f"{flag} " in said, f"{flag} of {line}"


@pytest.mark.parametrize("path", re.findall(r"`((?:offset_|tests/|\.ci/)[\w./]*)`", README))
def test_every_path_readme_names_exists(path: str) -> None:
    assert (ROOT / path).exists()


# --- what must not be in a clone ----------------------------------------------------------------


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def test_no_source_names_a_place_of_one_machine() -> None:
    places = re.compile("|".join("/" + place + "/" for place in ("work", "tmp", "home", "Users")))
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sources()
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if places.search(line)
    ]
    assert found == []


def test_no_lock_file_no_secret_and_no_state_is_kept() -> None:
    bad = re.compile(
        r"\.lock$|-lock\.\w+$|^Pipfile|\.ident$|\.rcard$|\.db(-wal|-shm)?$|\.orig$|\.rej$"
    )
    names = [*sources(), *ROOT.iterdir()]
    assert [path.name for path in names if bad.search(path.name)] == []


def test_the_ci_command_can_be_run_and_is_sound_bash() -> None:
    path = ROOT / ".ci" / "run"
    if sys.platform == "win32":
        pytest.skip("bash and the mode bits are not Windows'")
    assert path.stat().st_mode & stat.S_IXUSR
    subprocess.run(["bash", "-n", str(path)], check=True, timeout=60)


def test_sources_end_in_one_line_break_and_have_no_trailing_space() -> None:
    written = [p for p in sources() if p.suffix in (".py", ".md", ".toml") and p.stat().st_size]
    assert [p.name for p in written if not re.search(r"[^\n]\n\Z", text_of(p))] == []
    assert [p.name for p in written if re.search(r"[ \t]$", text_of(p), re.MULTILINE)] == []


# --- documents and limits -----------------------------------------------------------------------


def quoted_limits(text: str) -> Iterator[tuple[str, int]]:
    """Constants written with their value, as in `NAME_MAX` = 16 or | `NAME_MAX` | 16 |."""
    pattern = r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`\s*(?:=|\||:|is)\s*`?([0-9][0-9_ ]*[0-9]|[0-9])`?(?![\d.^*])"
    for name, number in re.findall(pattern, text):
        yield name, int(number.replace(" ", "").replace("_", ""))


def test_quoted_limits_are_found() -> None:
    text = "| `A_MAX` | 16 | and `B_MAX` = 1 000, `C_MAX` is `65_536`; `D_MAX` = 2**3"
    assert dict(quoted_limits(text)) == {"A_MAX": 16, "B_MAX": 1_000, "C_MAX": 65_536}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_limits_a_document_quotes_are_those_of_the_code(document: str) -> None:
    path = ROOT / document
    if not path.exists():
        pytest.skip(f"{document} is not written yet")
    for name, number in quoted_limits(path.read_text()):
        if hasattr(values, name):
            assert getattr(values, name) == number, name
