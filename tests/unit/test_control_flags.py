"""What is typed to `stctrl`: amounts in credits and units, fees in percent, and profiles."""

import argparse
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offset_engine.core.crypto import public_key_of
from offset_engine.core.reports import TermsReport
from offset_engine.core.values import (
    CREDITS_MAX,
    U32_MAX,
    Currency,
    HashResult,
    PrivateKey,
    Rate,
)
from offset_engine.errors import FileError
from offset_engine.files import Ticket, write_identity, write_ticket
from offset_engine.programs import stctrl
from offset_engine.programs.arguments import Output
from offset_engine.programs.control import config
from offset_engine.programs.control.amounts import credits_of, percent_mul, percent_text
from offset_engine.programs.control.profile import (
    NoNodeNamedError,
    Profile,
    complete,
    read_profile,
    write_profile,
)
from tests.covers import covers

PAY = ["buyer", "pay-invoice", "-i", "i", "-p", "p", "-c", "c", "--max-fee"]
LIMIT = ["config", "set-currency-max-debt", "-n", "x", "-c", "FST", "-m"]
RATE = ["config", "set-currency-rate", "-n", "x", "-c", "FST", "-a", "7"]


@pytest.fixture(autouse=True)
def _nobodys_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OFFSET_PROFILE", raising=False)


def parsed(*argv: str) -> argparse.Namespace:
    return stctrl._parser().parse_args(["-S", "socket", *argv])


# --- amounts ------------------------------------------------------------------------------------


@covers("CTL-20", "FIX-41")
@pytest.mark.parametrize(
    ("typed", "units", "amount"),
    [
        ("50", [], 50),
        (str(CREDITS_MAX), [], CREDITS_MAX),
        ("1.5", ["--units"], 150),
        ("0.01", ["--units"], 1),
        ("007", ["--units"], 700),
        ("0.00001", ["--units", "5"], 1),
        ("12.5", ["--units", "2"], 1_250),
        ("12", ["--units", "0"], 12),
        ("170141183460469231731687303715884105.727", ["--units", "3"], CREDITS_MAX),
    ],
)
def test_amounts_are_credits_or_units_with_a_point(
    typed: str, units: list[str], amount: int
) -> None:
    assert parsed(*LIMIT, typed, *units).mdebt == amount
    assert parsed(*PAY[:-1], *units, "--max-fee", typed).max_fee == amount
    sale = parsed("seller", "create-invoice", "-c", "X", "-i", "i", *units, "-a", typed)
    assert sale.amount == amount


@covers("CTL-20", "FIX-41")
@pytest.mark.parametrize(
    "argv",
    [
        *(
            [*LIMIT, typed, *units]
            for typed in ("1e3", "", "-1", "1.", ".5", "1,5", "1_000", " 1", "٣", "0x10")
            for units in ([], ["--units"])
        ),
        [*LIMIT, "1.5"],
        [*LIMIT, str(CREDITS_MAX + 1)],
        [*LIMIT, "1.001", "--units"],
        ["seller", "create-invoice", "-c", "X", "-i", "i", "-a", "0"],
        ["seller", "create-invoice", "-c", "X", "-i", "i", "-a", "0.00", "--units"],
        [*LIMIT, "1.001", "--units", "2"],
        [*LIMIT, "170141183460469231731687303715884105.728", "--units", "3"],
        [*LIMIT, "1", "--units", "19"],
        [*LIMIT, "1", "--units", "x"],
        [*PAY, "1e3"],
        ["config", "add-friend", "-f", "f", "-n", "n", "--limit", "5"],
        ["config", "add-friend", "-f", "f", "-n", "n", "--currency", "USD"],
    ],
)
def test_what_is_no_amount_is_a_wrong_command_line(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*argv)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("error:"), "Traceback" in err) == ("", 1, False)


def test_nothing_is_a_limit_and_a_fee_but_no_price() -> None:
    assert parsed(*LIMIT, "0").mdebt == 0
    assert parsed(*PAY, "0.00", "--units").max_fee == 0


def test_the_help_says_what_amounts_are_counted_in() -> None:
    said = " ".join(stctrl._parser().format_help().split())
    assert "what offset shows as 1.00 is 100 of them" in said


@given(st.integers(0, CREDITS_MAX), st.integers(0, 18))
def test_units_are_exact(amount: int, decimals: int) -> None:
    whole, rest = divmod(amount, 10**decimals)
    typed = f"{whole}.{rest:0{decimals}}" if decimals else str(whole)
    assert credits_of(typed, decimals) == amount


# --- a reset ------------------------------------------------------------------------------------


def terms(**balances: int) -> TermsReport:
    said = tuple((Currency(name), amount) for name, amount in balances.items())
    return TermsReport(HashResult(bytes(32)), 1, said, is_acceptable=True)


class Resetting:
    """What `reset-friend` needs of a session, where nobody sits at a terminal."""

    def __init__(self, ours: TermsReport, theirs: TermsReport) -> None:
        self.output = Output("stctrl", as_json=False, verbose=False)
        self.done: list[object] = []
        self._friend = SimpleNamespace(
            name="Bob",
            public_key=public_key_of(PrivateKey(bytes(32))),
            is_consistent=False,
            local_terms=ours,
            remote_terms=theirs,
        )

    async def friend(self) -> SimpleNamespace:
        return self._friend

    async def do(self, command: object) -> None:
        self.done.append(command)


@covers("CTL-17", "FIX-11")
def test_a_script_that_resets_is_told_what_it_lost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config, "has_person", lambda: False)
    session = Resetting(terms(EUR=50, FST=7, USD=1), terms(EUR=-20, USD=2))
    anyio.run(config._reset_friend, session)
    change = "you lose 70 credits of EUR, you lose 7 credits of FST, you gain 1 credit of USD"
    assert len(session.done) == 1
    out, err = capsys.readouterr()
    assert out == f'accepted the terms of "Bob": {change}\n'
    assert err == f'stctrl: accepting the terms of "Bob": {change}\n'
    anyio.run(config._reset_friend, Resetting(terms(FST=7), terms(FST=8)))
    out, err = capsys.readouterr()
    assert out == 'accepted the terms of "Bob": you gain 1 credit of FST\n'
    assert err == ""


# --- fees ---------------------------------------------------------------------------------------


@covers("CTL-21", "FIX-18")
@pytest.mark.parametrize(
    ("typed", "mul", "shown"),
    [
        ("0", 0, "0.000"),
        ("0.5", 21_474_837, "0.500"),
        ("50", 2**31, "50.000"),
        ("99.999", 4_294_924_347, "99.999"),
        ("100", U32_MAX, "100.000"),
        ("100.000", U32_MAX, "100.000"),
        ("0.0000000001", 1, "0.000"),
    ],
)
def test_a_fee_in_percent_is_never_less_than_asked(typed: str, mul: int, shown: str) -> None:
    args = parsed(*RATE, "--percent", typed)
    assert (args.mul, args.add) == (mul, 7)
    assert percent_text(Rate(mul, 0)) == shown
    assert mul == U32_MAX or Fraction(mul, 2**32) * 100 >= Fraction(typed)


@covers("CTL-21")
@pytest.mark.parametrize("typed", ["100.001", "-1", "1e1", "", "5%", "1,5", "nan"])
def test_what_is_no_percentage_is_refused(typed: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        percent_mul(typed)
    with pytest.raises(SystemExit):
        parsed(*RATE, f"--percent={typed}")


def test_a_rate_is_given_in_one_way_only() -> None:
    assert parsed(*RATE, "--mul", "5").mul == 5
    for wrong in ([], ["--mul", "5", "--percent", "1"]):
        with pytest.raises(SystemExit):
            parsed(*RATE, *wrong)


# --- profiles -----------------------------------------------------------------------------------


@covers("CTL-01")
def test_flags_count_before_the_profile_and_the_profile_before_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    (tmp_path / "here").mkdir()
    path.write_text('idfile = "here/app.ident"\nticket = "/abs/node.ticket"\n')
    beside = str(tmp_path / "here/app.ident")
    assert complete(Profile(), str(path)) == Profile(beside, "/abs/node.ticket")
    assert complete(Profile("mine"), str(path)) == Profile("mine", "/abs/node.ticket")
    assert complete(Profile(None, "t"), f"file://{path}") == Profile(beside, "t")
    assert complete(Profile("a", "b"), "/no/such/file") == Profile("a", "b")
    assert complete(Profile(socket="s"), "/no/such/file") == Profile(socket="s")
    path.write_text('socket = "node.sock"')
    assert complete(Profile(), str(path)) == Profile(socket=str(tmp_path / "node.sock"))


@covers("CTL-01")
def test_where_the_profile_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoNodeNamedError, match="save-profile"):
        complete(Profile(), None)
    own, other = tmp_path / "config/offset/stctrl.toml", tmp_path / "other.toml"
    write_profile(own, Profile("a", "b"), force=False)
    assert complete(Profile(), None) == Profile(
        str(Path("a").absolute()), str(Path("b").absolute())
    )
    write_profile(other, Profile(socket="/s"), force=False)
    monkeypatch.setenv("OFFSET_PROFILE", str(other))
    assert complete(Profile(), None) == Profile(socket="/s")
    assert complete(Profile(), str(own)).socket is None
    monkeypatch.setenv("OFFSET_PROFILE", str(tmp_path / "gone.toml"))
    with pytest.raises(FileError, match="cannot read"):
        complete(Profile(), None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("idfile = ", "no profile"),
        ("idfile = 5", "in quotes"),
        ('idfile = ""', "in quotes"),
        ('id = "x"', "idfile, ticket, socket"),
        ('idfile = "x"', "socket alone"),
        ('idfile = "x"\nticket = "y"\nsocket = "z"', "socket alone"),
        ("", "socket alone"),
    ],
)
def test_a_profile_that_says_something_else_is_refused(
    text: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(FileError, match=sentence) as caught:
        complete(Profile(), str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("given", [Profile("a", None, "s"), Profile("a", "b", "s")])
def test_a_socket_is_given_alone(given: Profile) -> None:
    with pytest.raises(NoNodeNamedError, match="alone"):
        complete(given, None)


@given(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20))
def test_any_name_a_file_can_have_survives_a_profile(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    path = tmp_path_factory.mktemp("p") / "p.toml"
    try:
        write_profile(path, Profile(socket=f"/{name}"), force=False)
    except FileError:
        with pytest.raises(UnicodeEncodeError):
            name.encode()
        return
    assert read_profile(path).socket == str(Path(f"/{name}"))


@covers("CTL-01")
def test_save_profile_keeps_what_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ident, ticket = str(tmp_path / "app.ident"), str(tmp_path / "node.ticket")
    write_identity(ident, PrivateKey(bytes([1]) * 32))
    write_ticket(ticket, Ticket(public_key_of(PrivateKey(bytes([2]) * 32)), "127.0.0.1:9"))
    flags = ["-I", ident, "-T", ticket, "-P", str(tmp_path / "p.toml")]
    assert stctrl.main([*flags, "save-profile"]) == 0
    assert complete(Profile(), str(tmp_path / "p.toml")) == Profile(ident, ticket)
    assert stctrl.main([*flags, "save-profile"]) == 1
    assert "exists" in capsys.readouterr().err
    assert stctrl.main([*flags, "save-profile", "--force"]) == 0
    # A profile of files that are none helps nobody.
    swapped = ["-I", ticket, "-T", ident, "-P", str(tmp_path / "q.toml"), "save-profile"]
    assert stctrl.main(swapped) == 1
    assert not (tmp_path / "q.toml").exists()
    assert stctrl.main(["-P", str(tmp_path / "p.toml"), "info", "relays"]) == 1
    assert "cannot connect to the node at 127.0.0.1:9" in capsys.readouterr().err
    for wrong in (["save-profile"], ["info", "relays"], ["-I", ident, "info", "relays"]):
        with pytest.raises(SystemExit) as caught:
            stctrl.main(wrong)
        assert caught.value.code == 2
