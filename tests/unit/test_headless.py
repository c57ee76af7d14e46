"""The commands without a screen, without a card: wrong command lines, and a payment played by hand."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from offset_engine.cards import CardStore
from offset_engine.client import (
    Batch,
    CancelPay,
    Command,
    ConfirmFee,
    Notice,
    Pay,
    PayFailure,
    PaymentId,
    PayReport,
    PayStage,
    Rebalance,
    Reconnect,
    RoutesOutcome,
    RoutesWish,
)
from offset_engine.errors import TransportError
from offset_engine.files import to_json, to_text
from offset_engine.notebook import Notebook, merged
from offset_engine.programs.arguments import Output, RefusedError, UsageError
from offset_engine.programs.control.session import NotPossibleError
from offset_tui import __main__ as offset
from offset_tui import doors, subcommands
from offset_tui.headless import paying, rebalancing, session
from offset_tui.headless.printing import table
from offset_tui.headless.session import Twin
from offset_tui.session import Session
from tests.covers import covers
from tests.tui import route_scenes as routes
from tests.tui.money_scenes import commit, invoice, pay
from tests.tui.scenes import NOW_MS, OUSD, FakeClient, FakeDoor

ROOT = Path(__file__).parent.parent.parent
INVOICE = to_text(invoice())


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one card that does not run."""
    CardStore(tmp_path / "s").create("Eve")
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "s"


def refused(
    store: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Exit code and last line on stderr."""
    try:
        code = offset.main([*words, "--store", str(store)])
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    assert out == "", (words, out)
    assert "Traceback" not in err
    if code == 1:
        assert err.count("\n") == 1, (words, err)
    return code, err.splitlines()[-1]


# --- wrong input --------------------------------------------------------------------------------

WRONG = [
    (("pay",), "give an invoice to pay"),
    (("pay", INVOICE, "--list"), "give an invoice to pay"),
    (("pay", "--list", "--show", "abcd"), "not allowed with"),
    (("pay", "--show", "xyz"), "is no id"),
    (("pay", "--cancel", ""), "is no id"),
    (("pay", INVOICE, "--max-fee", "1,5"), "'1,5'"),
    (("pay", INVOICE, "--max-fee", "-1"), "an amount has no sign"),
    (("pay", INVOICE, "--max-fee", "1e3"), "without an exponent"),
    (("invoice",), "give an amount and a currency"),
    (("invoice", "2.00"), "give an amount and a currency"),
    (("invoice", "2.00", "OUSD", "--list"), "give an amount and a currency"),
    (("invoice", "2.00.0", "OUSD"), "a second point"),
    (("invoice", "two", "OUSD"), "only digits"),
    (("invoice", "٢", "OUSD"), "only the digits 0 to 9"),
    (("invoice", "1" + "0" * 80, "OUSD"), "an amount has at most"),
    (("invoice", "2", "not a currency"), "'not a currency'"),
    (("invoice", "2", "OUSD", "--expires", "tomorrow"), "30m, 24h, 7d or never"),
    (("invoice", "2", "OUSD", "--expires", "0h"), "30m, 24h, 7d or never"),
    (("invoice", "2", "OUSD", "--expires", "99999d"), "30m, 24h, 7d or never"),
    (("invoice", "2", "OUSD", "--decimals", "39"), "0 to 38 digits"),
    (("invoice", "2", "OUSD", "--description", "x" * 256), "at most 255 bytes"),
    (("invoice", "2", "OUSD", "--cover-fees", "1e3"), "without an exponent"),
    (("invoice", "2", "OUSD", "--split", "2", "--qr"), "without --out, --qr"),
    (("invoice", "--list", "--split", "2"), "without --out, --qr"),
    (("invoice", "2", "OUSD", "--me"), "belongs to --split"),
    (("collect",), "required: ID"),
    (("collect", "12"), "is no id"),
    (("refund", "nonsense!"), "is no id"),
    (("rebalance",), "required: FRIEND"),
    (("rebalance", "Bob", "--amount", "1,5"), "'1,5'"),
    (("friend", "dance"), "invalid choice"),
    (("friend", "limit", "Bob", "OUSD", "1.2.3"), "a second point"),
    (("friend", "limit", "Bob", "O USD", "1"), "'O USD'"),
    (("friend", "add"), "required: CARD"),
    (("accept",), "required: ARTIFACT"),
    (("accept", INVOICE, "--limit", "OUSD=x"), "only digits"),
    (("accept", to_text(commit(invoice())), "--limit", "a b=1"), "'a b'"),
    (("accept", to_json(invoice()), "--name", ""), "a name has 1 to"),
    (("share", "--invite", "OUSD"), "expected 2 arguments"),
    (("share", "--invite", "OUSD", "1", "--servers"), "not allowed with"),
    (("status", "--passphrase-fd", "x"), "no number of a file descriptor"),
    (("settings", "collect", "maybe"), "say yes or no"),
    (("settings", "fee", "1.25"), "at most one digit"),
    (("settings", "decimals", "OUSD"), "a currency and a number"),
    (("apps", "--add", "phone"), "belong together"),
]


@pytest.mark.parametrize(("words", "why"), WRONG, ids=[" ".join(one[0])[:40] for one in WRONG])
def test_a_wrong_command_line_is_a_sentence_and_code_2(
    store: Path, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = refused(store, words, capsys)
    assert (code, why in said) == (2, True), said


FAILED = [
    (("status",), "Eve is not running; start it with: offset run Eve"),
    (("status", "--card", "Bob"), "there is no card 'Bob'"),
    (("pay", "missing.invoice"), "no such file"),
    (("pay", "offset1:invoice:AAAA:AAAA"), "this text:"),
    (("pay", to_text(commit(invoice()))), "this is a commit: offset pay takes an invoice"),
    (("pay", f"{INVOICE} {to_text(invoice(number=2))}"), "one at a time"),
    (("accept", "nothing of ours {"), "cannot read"),
    (("accept", INVOICE), "this is an invoice: offset pay"),
    (
        ("accept", f"{to_text(commit(invoice()))} {to_text(commit(invoice(number=2)))}"),
        "one at a time",
    ),
    (("hold", INVOICE), "this is an invoice: offset hold takes a commit"),
    (("friend", "add", INVOICE), "this is an invoice: offset friend add takes a friend card"),
    (("friend", "list"), "is not running"),
    (("invoice", "1", "OUSD", "--out", "missing/dir/file"), "no such directory"),
    (("apps", "--remove", "phone"), "there is no app"),
    (("settings", "serve", "nonsense"), "is no address"),
]


@pytest.mark.parametrize(("words", "why"), FAILED, ids=[" ".join(one[0])[:40] for one in FAILED])
def test_what_cannot_be_done_is_one_sentence_and_code_1(
    store: Path, words: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = refused(store, words, capsys)
    assert (code, why in said) == (1, True), said


def test_a_failure_is_an_object_too(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert offset.main(["status", "--json", "--store", str(store)]) == 1
    out, err = capsys.readouterr()
    assert "is not running" in json.loads(out)["error"]
    assert err.startswith("offset: ")


def test_settings_are_shown_and_changed_while_the_card_is_off(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> dict:
        assert offset.main(["settings", *words, "--json", "--store", str(store)]) == 0
        return json.loads(capsys.readouterr().out)

    assert run("collect", "yes")["collect"] is True
    assert run("fee", "0.5")["fee_permille"] == 5
    assert run("decimals", "YEN", "0")["currencies"] == [{"currency": "YEN", "decimals": 0}]
    assert "--yes" in refused(store, ("settings", "decimals", "YEN", "2"), capsys)[1]
    assert run("decimals", "YEN", "2", "--yes")["currencies"][0]["decimals"] == 2
    assert run()["collect"] is True


def test_nothing_that_paints_is_loaded() -> None:
    code = (
        "import sys; from offset_tui import __main__ as offset\n"
        "try: offset.main(['pay', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not [one for one in sys.modules if one.startswith('textual')]"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


# --- how it looks -------------------------------------------------------------------------------


class Terminal(Output):
    """As if stdout were a terminal."""

    @property
    def is_terminal(self) -> bool:
        return True


def test_tables_have_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    rows = [("Bob", "1.00"), ("[b]Ann[/b]", "12,345.00")]
    plain = table(
        Output("offset", as_json=False, verbose=False), ("friend", "owes"), rows, right=(1,)
    )
    assert plain.splitlines() == [
        "friend           owes",
        "Bob              1.00",
        "[b]Ann[/b]  12,345.00",
    ]
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in table(Terminal("offset", as_json=False, verbose=False), ("a",), [("b",)])


# --- a payment played by hand -------------------------------------------------------------------


class Seller(FakeClient):
    """A client whose payment asks for consent to a fee, and goes on as it is told."""

    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        done = await super().command(command)
        match command:
            case Pay():
                self.pay_list = [
                    replace(
                        pay(PayStage.FEE_TO_CONFIRM, command.invoice, fee=51),
                        payment_id=command.payment_id,
                    )
                ]
            case ConfirmFee():
                made = self.pay_list[0]
                self.pay_list = [
                    replace(made, stage=PayStage.COMMITTED, commit=commit(made.invoice, "Bob"))
                ]
            case CancelPay():
                self.pay_list = [
                    replace(
                        self.pay_list[0],
                        stage=PayStage.FAILED,
                        failure=PayFailure.CANCELED,
                        is_safe_to_retry=True,
                    )
                ]
            case _:
                pass
        self.tell()
        return done


@pytest.fixture
def client() -> Seller:
    return Seller()


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> list[str]:
    """Somebody at the terminal types these; returns what they are asked."""
    asked: list[str] = []
    answers = list(lines)

    async def ask(question: str) -> str:
        asked.append(question)
        return answers.pop(0)

    monkeypatch.setattr(session, "ask", ask)
    for module in (session, paying, rebalancing):
        monkeypatch.setattr(module, "has_person", lambda: True)
    return asked


async def run(client: FakeClient, *words: str) -> None:
    """Have a command act on the scene's card."""
    args: Any = subcommands._parser(words[0]).parse_args(words)
    wanted = args.twin
    assert isinstance(wanted, partial)
    act, before = wanted.args
    if before is not None:
        before(args)
    door = FakeDoor(client=client)
    key = client.shown.local_public_key
    card = doors.OpenCard("Eve", key, doors.CardKind.LOCAL, client, True, door.chosen)
    opened = await Session.of(door, card, lambda: NOW_MS)
    output = Output("offset", as_json=args.json, verbose=False)
    await act(Twin(opened, args, output))


@pytest.mark.anyio
@covers("CMP-14")
async def test_the_fee_is_shown_and_agreed_to_before_anything_is_sent(
    client: Seller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = type_in(monkeypatch, "y", "yes")
    await run(client, "pay", INVOICE)
    assert asked == ["Pay 4.00 OUSD? [y/N] ", "The fee is 0.51 OUSD (12.75 %). Pay it? [y/N] "]
    (wish, confirmed) = client.asked
    assert isinstance(wish, Pay)
    assert (wish.max_fee, wish.confirm_above) == (14, 0)
    assert isinstance(confirmed, ConfirmFee)
    out, err = capsys.readouterr()
    assert out.startswith("offset1:commit:")
    assert out.count("\n") == 1
    assert "give this commit to the seller" in err
    assert "Friends on the way see amount" in err


@pytest.mark.anyio
@covers("CMP-15")
async def test_a_declined_fee_gives_the_payment_up(
    client: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "y", "n")
    with pytest.raises(RefusedError, match="you declined the fee") as caught:
        await run(client, "pay", INVOICE)
    assert isinstance(client.asked[-1], CancelPay)
    assert caught.value.values["safe_to_retry"] is True
    type_in(monkeypatch, "")
    with pytest.raises(RefusedError, match="you declined"):
        await run(client, "pay", to_text(invoice(number=3)))


@pytest.mark.anyio
async def test_a_fee_that_waits_is_confirmed_later(
    client: Seller, capsys: pytest.CaptureFixture[str]
) -> None:
    client.pay_list = [pay(PayStage.FEE_TO_CONFIRM, fee=51)]
    identifier = client.pay_list[0].payment_id.hex()
    with pytest.raises(NotPossibleError, match=f"offset pay --confirm {identifier[:8]} agrees"):
        await run(client, "pay", "--show", identifier, "--wait")
    await run(client, "pay", "--confirm", identifier[:6], "--json")
    values = json.loads(capsys.readouterr().out)
    assert (values["status"], values["fees"], values["id"]) == ("committed", "51", identifier)
    assert values["commit"].startswith("offset1:commit:")


@pytest.mark.anyio
@pytest.mark.parametrize("most", [("--max-fee", "0.50"), ()])
async def test_yes_agrees_to_no_fee_above_the_most_of_this_call(
    most: tuple[str, ...], client: Seller
) -> None:
    client.pay_list = [pay(PayStage.FEE_TO_CONFIRM, fee=51)]
    with pytest.raises(NotPossibleError, match=r"consent to a fee of 0\.51"):
        await run(client, "pay", INVOICE, "--yes", *most)
    assert client.asked == []
    await run(client, "pay", INVOICE, "--yes", "--max-fee", "0.51")
    assert [type(one) for one in client.asked] == [ConfirmFee]


@pytest.mark.anyio
async def test_a_second_payment_of_an_unknown_first_takes_a_word_of_its_own(client: Seller) -> None:
    client.pay_list = [pay(PayStage.FAILED, failure=PayFailure.UNKNOWN)]
    with pytest.raises(RefusedError, match="add --again"):
        await run(client, "pay", INVOICE, "--yes")
    assert client.asked == []


@pytest.mark.anyio
async def test_ids_are_told_apart_or_refused(client: Seller) -> None:
    first = pay(PayStage.SENDING)
    second = replace(
        first, payment_id=type(first.payment_id)(bytes(first.payment_id[:4]) + bytes(12))
    )
    client.pay_list = [first, second]
    with pytest.raises(NotPossibleError, match="2 ids begin with"):
        await run(client, "pay", "--cancel", first.payment_id.hex()[:8])
    with pytest.raises(NotPossibleError, match="there is no payment with the id"):
        await run(client, "pay", "--show", "0123456789")
    await run(client, "pay", f"--show={first.payment_id.to_text()}")


@pytest.mark.anyio
async def test_what_is_not_reached_is_tried_again_on_request(
    client: Seller, capsys: pytest.CaptureFixture[str]
) -> None:
    await run(client, "servers", "--reconnect", "--json")
    assert json.loads(capsys.readouterr().out) == {"status": "trying"}
    assert client.asked == [Reconnect()]


# --- what two programs write --------------------------------------------------------------------


def test_what_two_programs_note_at_once_is_both_kept(store: Path) -> None:
    cards = CardStore(store)
    seen = cards.notebook("Eve")
    cards.change_notebook("Eve", seen, seen.with_note("a", "by the app"))
    cards.change_notebook("Eve", seen, seen.with_note("b", "by a command"))
    assert dict(cards.notebook("Eve").notes) == {"a": "by the app", "b": "by a command"}
    base = Notebook().with_note("a", "x").with_handed("p")
    assert merged(base, base.with_note("a", ""), base.with_hold("i", 5)).notes == ()
    assert merged(base, base, base.with_handed("q")).handed == ("p", "q")
    ours, theirs = (
        base.with_note("a", "ours").with_hold("i", 7),
        base.with_note("a", "theirs").with_hold("i", 5),
    )
    assert merged(base, ours, theirs).notes == (("a", "ours"),), (
        "the last word about one thing counts"
    )
    assert [one.until_ms for one in merged(base, ours, theirs).holds] == [7]


def test_a_currency_another_program_began_to_use_keeps_its_decimals(store: Path) -> None:
    cards = CardStore(store)
    before, _ = cards.settings("Eve")
    cards.save_settings("Eve", before.with_currency(OUSD, 3))
    cards.save_settings("Eve", replace(before, auto_collect=True))
    after, _ = cards.settings("Eve")
    assert (after.auto_collect, after.decimals_of(OUSD)) == (True, 3)


# --- rebalancing, by hand -----------------------------------------------------------------------


class Mover(FakeClient):
    """A node that moves what it is asked to; a dearer one asks about the fee first."""

    is_dearer = False
    failure: PayFailure | None = None

    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        done = await super().command(command)
        own = invoice(12_00, "", "Eve")
        stage = PayStage.PAID if self.failure is None else PayStage.FAILED
        match command:
            case Rebalance():
                if self.is_dearer:
                    stage = PayStage.FEE_TO_CONFIRM
                made = pay(stage, own, fee=5 if self.is_dearer else 3, failure=self.failure)
                self.pay_list = [replace(made, payment_id=command.payment_id)]
            case ConfirmFee():
                self.pay_list = [replace(self.pay_list[0], stage=PayStage.PAID)]
            case CancelPay():
                self.pay_list = [
                    replace(self.pay_list[0], stage=PayStage.FAILED, failure=PayFailure.CANCELED)
                ]
            case _:
                pass
        self.tell()
        return done


@pytest.fixture
def mover() -> Mover:
    client = Mover()
    client.routes[RoutesWish.CYCLE] = [routes.circle(12_00, 3), routes.circle(11_97, 3)]
    return client


@pytest.mark.anyio
async def test_a_card_that_dies_meanwhile_does_not_make_people_move_it_twice(
    mover: Mover, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(payment_id: PaymentId) -> AsyncGenerator[PayReport, None]:
        raise TransportError("the link has ended")
        yield

    monkeypatch.setattr(mover, "pay_states", dies)
    with pytest.raises(NotPossibleError, match="do not repeat it: offset history shows"):
        await run(mover, "rebalance", "Bob", "--currency", "OUSD", "--yes")


@pytest.mark.anyio
@covers("RMP-05")
async def test_rebalancing_shows_what_changes_and_asks(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = type_in(monkeypatch, "y")
    await run(mover, "rebalance", "Bob", "--currency", "OUSD")
    assert asked == ["Move 11.97 OUSD? [y/N] "]
    (wish,) = mover.asked
    assert isinstance(wish, Rebalance)
    assert (wish.amount, wish.confirm_above, wish.max_fee) == (11_97, 3, 22)
    out, err = capsys.readouterr()
    assert out == "moved 12.00 OUSD; it cost 0.03 OUSD\n"
    assert "Bob     +12.00 -> 0.00" in err
    assert "Charli  -31.45 -> -19.48" in err
    assert "no other balance of yours changes" in err


@pytest.mark.anyio
async def test_rebalancing_can_be_declined_limited_and_dearer(
    mover: Mover, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bob = ("rebalance", "Bob", "--currency", "OUSD")
    type_in(monkeypatch, "n")
    with pytest.raises(RefusedError, match="you declined"):
        await run(mover, *bob)
    with pytest.raises(RefusedError, match=r"above your highest fee of 0\.01: --max-fee"):
        await run(mover, *bob, "--max-fee", "0.01", "--yes")
    assert mover.asked == []
    mover.is_dearer = True
    type_in(monkeypatch, "y", "n")
    with pytest.raises(RefusedError, match="declined what it costs"):
        await run(mover, *bob)
    assert isinstance(mover.asked[-1], CancelPay)
    await run(mover, *bob, "--yes", "--json")
    assert json.loads(capsys.readouterr().out)["fees"] == "5"
    assert isinstance(mover.asked[-1], ConfirmFee)


@pytest.mark.anyio
async def test_what_cannot_be_moved_is_said(mover: Mover) -> None:
    wrong = {
        ("Bob",): (UsageError, "in several currencies: give --currency: OUSD, HOURS"),
        ("Daniel",): (NotPossibleError, "nothing is owed between you and Daniel"),
        ("Bob", "--currency", "BEANS"): (NotPossibleError, "not in use with this friend"),
        ("Charli", "--amount", "40"): (UsageError, "more than that cannot be moved"),
    }
    for words, (kind, why) in wrong.items():
        with pytest.raises(kind, match=why):
            await run(mover, "rebalance", *words)
    mover.routes[RoutesWish.CYCLE] = [routes.nothing(RoutesOutcome.NONE)]
    with pytest.raises(RefusedError, match="no circle of friends carries this") as caught:
        await run(mover, "rebalance", "Charli", "--yes")
    assert caught.value.values["status"] == "none"
    mover.routes[RoutesWish.CYCLE] = [routes.circle(31_45)]
    mover.failure = PayFailure.REFUSED
    with pytest.raises(RefusedError, match="not moved: a friend on the way refused it"):
        await run(mover, "rebalance", "Charli", "--yes")
