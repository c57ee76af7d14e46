"""Wrong input to every program that needs no running node: one clear sentence, and nothing is written.

Each command is given as it would work. Then every file it reads is replaced by every kind of wrong file,
every file it writes by every name that cannot be written, and every address by one that is none.

Source: the exit codes of `programs.arguments`; apps.md FIX-06, FIX-07, CTL-36.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.programs import serve, stctrl, stindex, stmgr, stnode, strelay, stverify
from offset_engine.programs.arguments import listen_address
from offset_engine.store import SqliteStore
from offset_tui import __main__ as offset
from tests.covers import covers
from tests.unit.test_original_files import FRIEND_TOKEN, VECTORS, snake

OTHER = "ck2goUMTxvNmVlngwtZjUq2CQP9-V6giERhGm4BD7uA"
SEED = PrivateKey(bytes([7]) * 32)
CASE = next(one for one in VECTORS["cases"] if one["prefix"] == "FUNDS_RESPONSE")
KINDS: dict[str, dict[str, Any]] = {
    "ident": {"privateKey": SEED.to_text()},
    "ticket": {"publicKey": OTHER, "address": "relay.example.org:4567"},
    "invoice": VECTORS["invoice"],
    "commit": CASE["commit"],
    "receipt": CASE["receipt"],
    "token": snake(FRIEND_TOKEN),
    "any": VECTORS["invoice"],
}
_SPELLED = {
    "ident": ("private_key", OTHER),
    "ticket": ("public_key", VECTORS["seller"]["publicKey"]),
    "invoice": ("dest_payment", "5"),
    "commit": ("dest_payment", "5"),
    "receipt": ("is_complete", False),
    "token": ("randNonce", "AAAAAAAAAAAAAAAAAAAAAA"),
    "any": ("dest_payment", "5"),
}
_AMOUNTS = {
    "invoice": "destPayment",
    "commit": "totalDestPayment",
    "receipt": "destPayment",
    "any": "destPayment",
}

# (program, its flags): <kind is a file to read, >name a file to write, @ an address, [dir] a directory.
COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "gen-ident": (stmgr.main, "gen-ident -o >o"),
    "init-node-db": (stmgr.main, "init-node-db -i <ident -o >o"),
    "app-ticket": (stmgr.main, "app-ticket -i <ident -o >o --pbuyer"),
    "relay-ticket": (stmgr.main, "relay-ticket -i <ident -a @ -o >o"),
    "index-ticket": (stmgr.main, "index-ticket -i <ident -a @ -o >o"),
    "node-ticket": (stmgr.main, "node-ticket -i <ident -a @ -o >o"),
    "node-entry": (stmgr.main, "node-entry -n <ident -p <ident -a @ -o >o --png >p"),
    "pubkey": (stmgr.main, "pubkey -i <ident"),
    "seal-ident": (stmgr.main, "seal-ident -i <ident"),
    "unseal-ident": (stmgr.main, "unseal-ident -i <ident"),
    "stmgr inspect": (stmgr.main, "inspect <any"),
    "convert": (stmgr.main, "convert -i <any -o >o"),
    "convert to a picture": (stmgr.main, "convert -i <any -o >o --to png"),
    "verify-token": (stverify.main, "verify-token -t <token --friend <ticket --since <token"),
    "verify-receipt": (stverify.main, "verify-receipt -i <invoice -r <receipt"),
    "verify-commit": (stverify.main, "verify-commit -i <invoice -c <commit"),
    "verify-invoice": (stverify.main, "verify-invoice -i <invoice"),
    "stverify inspect": (stverify.main, "inspect <any"),
    "stnode": (stnode.main, "-i <ident -l @ -d [db] -t [trusted]"),
    "strelay": (strelay.main, "-i <ident -l @"),
    "stindex": (stindex.main, "-i <ident -c @ -s @ -t [trusted]"),
    "save-profile": (stctrl.main, "-I <ident -T <ticket -P >o save-profile"),
    "stctrl": (stctrl.main, "-I <ident -T <ticket info relays"),
    "offset inspect": (offset.main, "inspect <any"),
    "serve": (offset.main, "serve --address @ --listen @ [new]"),
    "init node": (offset.main, "init node [new] --address @"),
    "init relay": (offset.main, "init relay [new] --address @"),
    "init index": (offset.main, "init index [new] --address @"),
}


class World:
    """A directory with everything the commands need, and one file that is wrong."""

    def __init__(self, place: Path) -> None:
        self.place = place
        for kind, values in KINDS.items():
            (place / kind).write_text(json.dumps(values))
        (place / "trusted").mkdir()
        SqliteStore.create(place / "db", public_key_of(SEED)).close()

    def flags(self, line: str, word: int | None = None, wrong: str = "") -> list[str]:
        """The flags of a command, the one with this number replaced."""
        flags = line.split()
        for number, flag in enumerate(flags):
            if number == word:
                flags[number] = wrong
            elif flag[0] in "<>":
                flags[number] = str(self.place / flag[1:])
            elif flag[0] == "[":
                flags[number] = str(self.place / flag.strip("[]"))
            elif flag == "@":
                flags[number] = "127.0.0.1:1"
        return flags

    def content(self) -> dict[str, bytes | None]:
        return {
            str(path): path.read_bytes() if path.is_file() else None
            for path in sorted(self.place.rglob("*"))
        }


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> None:
    """No profile, no data directory, and no server that runs after all."""
    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.delenv("OFFSET_PROFILE", raising=False)

    def started(*_: object) -> None:
        raise AssertionError("the server was started with wrong input")

    for module in (stnode, strelay, stindex, serve):
        monkeypatch.setattr(module, "serve", started)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def check_refused(
    world: World, main: Callable[[list[str]], int], flags: list[str], capsys: Any, why: str = ""
) -> str:
    """Run it; returns the sentence."""
    before = world.content()
    try:
        code = main(flags)
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    assert code in (1, 2), (flags, out, err)
    assert out == "", (flags, out)
    lines = err.splitlines()
    sentence = lines[-1] if lines else ""
    if code == 1:
        assert len(lines) == 1, (flags, err)
    else:
        assert ": error: " in sentence, (flags, err)
        assert lines[0].startswith("usage:"), (flags, err)
    assert "Traceback" not in err, (flags, err)
    assert why in sentence, (flags, why, err)
    assert world.content() == before, (flags, "something was written")
    return sentence


def words(sign: str) -> Iterator[tuple[str, int, str]]:
    """Every command with every flag that begins like this."""
    for name, (_, line) in COMMANDS.items():
        for number, flag in enumerate(line.split()):
            if flag.startswith(sign):
                yield name, number, flag[1:].strip("]")


# --- files that are read ------------------------------------------------------------------------


def wrong_files(kind: str, place: Path) -> Iterator[tuple[str, str]]:
    """Names of wrong files, each with a piece of the sentence expected."""
    good = json.dumps(KINDS[kind])

    def made(name: str, content: str | bytes) -> str:
        path = place / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    yield str(place / "missing"), "cannot read"
    yield str(place / "trusted"), "a directory"
    yield str(place / "ident" / "beside"), "cannot read"
    yield "", ""
    yield "nul\0l", ""
    if kind not in ("any", "ticket"):  # a key that is named twice is one key
        yield made("twice", good + good), ""
    if kind != "any":
        other = "commit" if kind != "commit" else "invoice"
        yield (
            made("wrong kind", json.dumps(KINDS[other])),
            f"this is {'a' if other == 'commit' else 'an'} {other}",
        )
    yield made("truncated", good[: len(good) // 2]), "not"
    yield made("empty", ""), ""
    yield made("text", "this is a letter"), ""
    yield made("list", "[1, 2]"), ""
    yield made("binary", b"\xff\xfe\x00\x01" * 9), "UTF-8"
    yield made("long", good + " " * 65_536), "64 KiB"
    yield made("deep", "[" * 30_000), ""
    spelled, value = _SPELLED[kind]
    yield made("conflict", json.dumps({**KINDS[kind], spelled: value})), "conflict"
    amount = _AMOUNTS.get(kind)
    if amount is not None:
        for number in ("1e3", 1e3, "1.5", True, "-1", str(2**128), None):
            yield made("amount", json.dumps({**KINDS[kind], amount: number})), amount
        yield made("currency", json.dumps({**KINDS[kind], "currency": "x" * 17})), "currency"


@covers("CTL-36", "FIX-06", "FIX-07", "FIX-33", "VFY-04", "MGR-11")
@pytest.mark.parametrize(("name", "word", "kind"), list(words("<")))
def test_a_file_that_is_wrong_is_named_and_nothing_is_written(
    name: str, word: int, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main, line = COMMANDS[name]
    (tmp_path / "place").mkdir()
    world = World(tmp_path / "place")
    (tmp_path / "wrong").mkdir()
    shutil.copytree(world.place, tmp_path / "wrong", dirs_exist_ok=True)
    for path, why in wrong_files(kind, tmp_path / "wrong"):
        flags = world.flags(line, word, path)
        is_for_key = (name, word) == ("verify-token", 4) and why.startswith("this is")
        wanted = "expected one public key" if is_for_key else why
        sentence = check_refused(world, main, flags, capsys, wanted)
        if Path(path).name and "\0" not in path:
            assert Path(path).name in sentence, sentence


# --- files that are written ---------------------------------------------------------------------


@covers("MGR-08", "FIX-07")
@pytest.mark.parametrize(("name", "word", "output"), list(words(">")))
def test_an_output_that_cannot_be_written_is_named_and_nothing_else_is_written(
    name: str, word: int, output: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    del output
    main, line = COMMANDS[name]
    for path in ("trusted", "ident/beside", "commit"):
        flags = world.flags(line, word, str(world.place / path))
        check_refused(world, main, flags, capsys, path.split("/", maxsplit=1)[0])
    if name != "save-profile":  # which makes its directory
        flags = world.flags(line, word, str(world.place / "no" / "where"))
        check_refused(world, main, flags, capsys, "no such")
    for path in ("", "nul\0l", str(world.place / ("n" * 300))):
        if path or name != "save-profile":  # without a name the user's own is meant
            check_refused(world, main, world.flags(line, word, path), capsys)


# --- addresses ----------------------------------------------------------------------------------


@covers("FIX-42")
def test_a_name_is_an_address_to_listen_at() -> None:
    assert listen_address("www.MyIndex.com:3456") == "www.myindex.com:3456"
    assert listen_address("localhost:0") == "localhost:0"


@covers("MGR-04")
@pytest.mark.parametrize(
    "address", ["example.org", ":1", "a:", "a:65536", "a:x", "a b:1", "::1:5", ""]
)
@pytest.mark.parametrize(("name", "word", "_sign"), list(words("@")))
def test_an_address_that_is_none_is_refused(
    name: str, word: int, _sign: str, address: str, world: World, capsys: Any
) -> None:
    main, line = COMMANDS[name]
    check_refused(world, main, world.flags(line, word, address), capsys)


# --- what fits to nothing else ------------------------------------------------------------------


@covers("FIX-07", "NOD-03", "IDX-02")
@pytest.mark.parametrize(
    ("name", "word", "wrong", "why"),
    [
        ("stnode", 5, "missing", "there is no database"),
        ("stnode", 5, "trusted", ""),
        ("stnode", 5, "ident", ""),
        ("stnode", 5, "other db", "another"),
        ("stnode", 7, "missing", "director"),
        ("stnode", 7, "ident", "director"),
        ("stindex", 7, "missing", "director"),
        ("stindex", 7, "ident", "director"),
        ("serve", 5, "ident", ""),
        ("serve", 5, "ident/beside", ""),
        ("init node", 2, "ident", ""),
        ("init relay", 2, "ident", ""),
        ("init index", 2, "ident/beside", ""),
    ],
)
def test_a_directory_or_database_that_does_not_fit_is_refused(
    name: str, word: int, wrong: str, why: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    main, line = COMMANDS[name]
    other = public_key_of(PrivateKey(bytes([8]) * 32))
    SqliteStore.create(world.place / "other db", other).close()
    check_refused(world, main, world.flags(line, word, str(world.place / wrong)), capsys, why)


@covers("CTL-36")
@pytest.mark.parametrize("name", COMMANDS)
def test_no_flags_and_unknown_flags_are_a_wrong_command_line(
    name: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    main, line = COMMANDS[name]
    flags = world.flags(line)
    check_refused(world, main, [*flags, "--no-such-flag"], capsys, "--no-such-flag")
    bare = line.split()[: 1 if line[0].isalpha() else 0]
    check_refused(world, main, bare, capsys)


def test_info_needs_nothing_and_takes_nothing(world: World, capsys: Any) -> None:
    assert offset.main(["info"]) == 0
    capsys.readouterr()
    check_refused(world, offset.main, ["info", "more"], capsys, "more")
