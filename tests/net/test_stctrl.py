"""`stctrl` against real nodes: two cards made as in the tutorial, a payment by files, and what is refused."""

import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from offset_engine.client import InvoiceTerms
from offset_engine.core.api import DisputeFriend
from offset_engine.core.app_messages import ALL_PERMISSIONS
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import CREDITS_MAX, Currency, InvoiceId, PlainLock, PrivateKey
from offset_engine.errors import OffsetError
from offset_engine.files import (
    Ticket,
    load_commit,
    load_invoice,
    write,
    write_invoice,
)
from offset_engine.net.app_server import AppService
from offset_engine.net.remote_client import by_address, open_remote
from offset_engine.net.servers import run_services
from offset_engine.net.transport import Endpoint
from offset_engine.programs import stctrl, stmgr, stverify
from offset_engine.programs.arguments import Output, RefusedError
from offset_engine.village import OUSD, Friendship, Village, open_village
from tests.covers import covers
from tests.net.test_server_programs import first_line, running
from tests.shell.test_client import CHAIN

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops by POSIX signals")

WAIT_S = 40
STRANGER = public_key_of(PrivateKey(bytes([5]) * 32))


@dataclass
class Card:
    """A node in a process, and the app that controls it."""

    place: Path
    name: str

    def path(self, name: str) -> str:
        return str(self.place / f"{self.name}-{name}")

    @property
    def flags(self) -> list[str]:
        return ["-I", self.path("app.ident"), "-T", self.path("node.ticket")]


@dataclass
class World:
    place: Path
    bob: Card
    charli: Card
    capsys: pytest.CaptureFixture[str]

    def file(self, name: str) -> str:
        return str(self.place / name)

    def run(self, card: Card, *argv: str) -> tuple[int, str, str]:
        code = stctrl.main([*card.flags, *argv])
        return code, *self.capsys.readouterr()

    def do(self, card: Card, *argv: str) -> str:
        """What a successful command prints."""
        code, out, err = self.run(card, *argv)
        assert (code, err) == (0, ""), (argv, out, err)
        return out

    def ask(self, card: Card, *argv: str) -> dict:
        return json.loads(self.do(card, *argv, "--json"))

    def refused(self, card: Card, *argv: str) -> str:
        """The one sentence of a failure."""
        code, out, err = self.run(card, *argv)
        assert (code, out) == (1, ""), (argv, out, err)
        assert err.startswith("stctrl: "), err
        assert err.count("\n") == 1, err
        return err

    def until(self, card: Card, fact) -> None:
        limit = time.monotonic() + WAIT_S
        while not fact(self.ask(card, "info", "friends")["friends"]):
            assert time.monotonic() < limit, self.do(card, "info", "friends")


def manage(*argv: str) -> None:
    assert stmgr.main(argv) == 0


def make_card(place: Path, name: str, stack: ExitStack) -> Card:
    """The steps of the documentation: identities, database, app ticket, node, node ticket."""
    card = Card(place, name)
    manage("gen-ident", "-o", card.path("node.ident"))
    manage("gen-ident", "-o", card.path("app.ident"))
    manage("init-node-db", "-i", card.path("node.ident"), "-o", card.path("node.db"))
    trusted = Path(card.path("trusted"))
    trusted.mkdir()
    allowed = ("--proutes", "--pbuyer", "--pseller", "--pconfig")
    ticket = str(trusted / "app.ticket")
    manage("app-ticket", "-i", card.path("app.ident"), "-o", ticket, *allowed)
    node = ("-i", card.path("node.ident"), "-l", "127.0.0.1:0", "-d", card.path("node.db"))
    process = stack.enter_context(running("stnode", *node, "-t", str(trusted), "--json"))
    address = json.loads(first_line(process))["address"]
    made = ("-i", card.path("node.ident"), "-a", address, "-o", card.path("node.ticket"))
    manage("node-ticket", *made)
    return card


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[World]:
    with ExitStack() as stack:
        bob, charli = (make_card(tmp_path, name, stack) for name in ("bob", "charli"))
        yield World(tmp_path, bob, charli, capsys)


def befriend(world: World, stack: ExitStack) -> None:
    """A relay, and two friends who trust each other with 100 credits."""
    relay = world.file("relay.ident")
    manage("gen-ident", "-o", relay)
    process = stack.enter_context(running("strelay", "-i", relay, "-l", "127.0.0.1:0", "--json"))
    address = json.loads(first_line(process))["address"]
    manage("relay-ticket", "-i", relay, "-a", address, "-o", world.file("my.relay"))
    assert "only programs on it" in world.capsys.readouterr().err
    both = ((world.bob, world.charli), (world.charli, world.bob))
    for card, _ in both:
        assert world.do(card, "config", "add-relay", "-r", world.file("my.relay"), "-n", "r") == ""
        world.do(card, "info", "export-ticket", "-t", card.path("card.friend"))
    for card, other in both:
        config = partial(world.do, card, "config")
        config("add-friend", "-f", other.path("card.friend"), "-n", other.name)
        (friend,) = world.ask(card, "info", "friends")["friends"]
        assert (friend["enabled"], friend["currencies"]) == (False, [])
        assert world.do(card, "info", "friends").splitlines()[1].startswith("D-  ")
        config("enable-friend", "-n", other.name)
        config("set-currency-max-debt", "-n", other.name, "-c", "FST", "-m", "100")
        config("open-currency", "-n", other.name, "-c", "FST")
    for card, _ in both:
        world.until(card, lambda friends: _is_ready(friends[0]))


def _is_ready(friend: dict) -> bool:
    return friend["online"] and [one["balance"] for one in friend["currencies"]] == ["0"]


@covers(
    *("CTL-01", "CTL-03", "CTL-05", "CTL-07", "CTL-08", "CTL-10", "CTL-11", "CTL-15", "CTL-18"),
    *("CTL-19", "CTL-20", "CTL-25", "CTL-26", "CTL-27", "CTL-29", "CTL-31", "CTL-33", "CTL-34"),
    *("CTL-35", "CTL-37", "FIX-02", "FIX-07", "FIX-08", "FIX-38", "FIX-39"),
)
def test_two_cards_and_a_payment_from_invoice_to_receipt(world: World) -> None:
    bob, charli = world.bob, world.charli
    invoice, commit = world.file("a.invoice"), world.file("a.commit")
    payment, receipt = world.file("a.payment"), world.file("a.receipt")
    with ExitStack() as stack:
        befriend(world, stack)
        sell = ("create-invoice", "-c", "FST", "-a", "50", "-i", invoice, "-d", "bread")
        assert world.do(charli, "seller", *sell) == ""
        assert load_invoice(invoice).expires == 0
        (listed,) = world.ask(charli, "info", "invoices")["invoices"]
        assert (listed["status"], listed["amount"]) == ("open", "50")

        pay = ("buyer", "pay-invoice", "-i", invoice, "-p", payment, "-c", commit)
        assert world.do(bob, *pay).splitlines() == [
            "Total fees: 0",
            "Payment successful: give the commit to the seller",
        ]
        assert "exists already" in world.refused(bob, *pay)
        again = world.file("again.commit")
        world.do(bob, "buyer", "get-commit", "-p", payment, "-c", again)
        assert load_commit(again) == load_commit(commit)
        early = ("buyer", "payment-status", "-p", payment, "-r", receipt)
        assert "committed" in world.do(bob, *early, "--no-wait")
        assert "too far" in world.refused(bob, "buyer", "cancel-payment", "-p", payment)

        check_wrong_commits(world, invoice, commit)
        collect = ("seller", "commit-invoice", "-i", invoice, "-c", commit)
        assert "Collected" in world.do(charli, *collect)
        world.do(charli, *collect)  # again changes nothing
        assert "paid already" in world.refused(charli, "seller", "cancel-invoice", "-i", invoice)

        assert world.ask(bob, *early)["status"] == "paid"
        assert not Path(payment).exists()
        assert stverify.main(["verify-receipt", "-i", invoice, "-r", receipt]) == 0
        assert "is valid" in world.capsys.readouterr().out
        check_what_is_left(world)


def check_wrong_commits(world: World, invoice: str, commit: str) -> None:
    """Nothing is collected with them."""
    good, wrong, cheap = load_commit(commit), world.file("wrong"), world.file("cheap")
    collect = partial(world.refused, world.charli, "seller", "commit-invoice")
    for changed, sentence in (
        (replace(good, currency=Currency("EUR")), "its currency is not the invoice's"),
        (replace(good, total_dest_payment=51), "its total is not the invoice's amount"),
        (replace(good, invoice_id=InvoiceId(bytes(32))), "it belongs to another invoice"),
        (replace(good, src_plain_lock=PlainLock(bytes(32))), "the seller's signature does not fit"),
    ):
        write(wrong, changed, force=True)
        assert f"the commit is not valid: {sentence}" in collect("-i", invoice, "-c", wrong)
    write(cheap, replace(load_invoice(invoice), dest_public_key=STRANGER, signature=None))
    assert "another node's" in collect("-i", cheap, "-c", commit)
    assert "commit is needed" in collect("-i", invoice, "-c", invoice)
    assert world.ask(world.charli, "info", "invoices")["invoices"]


def check_what_is_left(world: World) -> None:
    """After the payment: balances, history, what the friend signed, and care with what is owed."""
    bob, charli = world.bob, world.charli
    world.until(charli, lambda friends: friends[0]["currencies"][0]["balance"] == "50")
    assert world.ask(charli, "info", "balance")["balances"] == {"FST": "50"}
    shown = world.do(bob, "info", "friend", "-n", "charli")
    assert "B = -50" in shown
    assert "\nrelay: 127.0.0.1:" in shown
    (entry,) = world.ask(bob, "info", "history")["history"]
    assert (entry["status"], entry["invoice"]["amount"]) == ("paid", "50")
    assert "bread" in world.do(charli, "info", "history", "-k", "invoices")

    token = world.file("last.token")
    world.do(bob, "info", "friend-last-token", "-n", "charli", "-t", token)
    key = world.do(charli, "info", "public-key").strip()
    assert stverify.main(["verify-token", "-t", token, "--friend", key]) == 0
    world.capsys.readouterr()

    # A friend with a balance is not forgotten by accident.
    remove = ("config", "remove-friend", "-n", "bob")
    assert "--yes" in world.refused(charli, *remove)
    assert world.ask(charli, "info", "friends")["friends"]
    world.do(charli, *remove, "--yes")
    assert world.do(charli, "info", "friends") == "there are no friends yet\n"


@covers("CTL-12", "CTL-13", "CTL-14")
def test_servers_are_added_and_removed_by_name(world: World) -> None:
    bob, ticket = world.bob, world.charli.path("node.ticket")
    config = partial(world.do, bob, "config")
    refused = partial(world.refused, bob, "config")
    assert world.do(bob, "info", "relays") == "no relay is configured\n"
    assert world.do(bob, "info", "index") == "no index server is configured\n"
    config("add-relay", "-r", ticket, "-n", "r")
    config("add-index", "-i", ticket, "-n", "i")
    for kind, flag, listed in (("relay", "-r", "relays"), ("index", "-i", "index")):
        assert "called" in refused(f"add-{kind}", flag, ticket, "-n", kind[0])
        assert "configured already" in refused(f"add-{kind}", flag, ticket, "-n", "other")
        assert "cannot read" in refused(f"add-{kind}", flag, "nothing", "-n", "x")
        assert 'called "nobody"' in refused(f"remove-{kind}", "-n", "nobody")
        assert "127.0.0.1" in world.do(bob, "info", listed)
    config("remove-index", "-n", "i")
    assert "last relay" in world.run(bob, "config", "remove-relay", "-n", "r")[2]
    assert world.ask(bob, "info", "relays") == {"relays": []}


@covers("CTL-09", "CTL-16", "CTL-21", "CTL-22", "CTL-24", "CTL-36")
def test_friends_and_currencies_are_changed_step_by_step(world: World) -> None:
    bob, card = world.bob, world.charli.path("card.friend")
    config = partial(world.do, bob, "config")
    refused = partial(world.refused, bob, "config")
    code, out, err = world.run(world.charli, "info", "export-ticket", "-t", card)
    assert (code, out) == (0, "")
    assert "names no relay" in err
    add = ("add-friend", "-f", card, "-n", "charli")
    code, out, err = world.run(bob, "config", *add, "--enable", "--currency", "FST", "--limit", "9")
    assert (code, out) == (0, ""), err
    (friend,) = world.ask(bob, "info", "friends")["friends"]
    assert (friend["enabled"], friend["currencies"][0]["max_debt"]) == (True, "9")
    assert friend["currencies"][0]["open"]
    assert "added already" in refused(*add)
    assert "this is" in refused("add-friend", "-f", bob.path("app.ident"), "-n", "x")
    world.run(bob, "info", "export-ticket", "-t", bob.path("card.friend"))
    assert "the node itself" in refused("add-friend", "-f", bob.path("card.friend"), "-n", "x")
    assert "keys differ" in refused(
        "set-friend-relays", "-f", bob.path("card.friend"), "-n", "charli"
    )
    config("set-friend-relays", "-f", card, "-n", "charli")

    assert "already" in refused("rename-friend", "-n", "charli", "--to", "charli")
    config("rename-friend", "-n", "charli", "--to", "Charli the chef")
    named = ("-n", "Charli the chef")
    assert "no friend called" in refused("disable-friend", "-n", "charli")
    config("disable-friend", *named)
    config("set-currency-rate", *named, "-c", "EUR", "-m", "5", "-a", "7")
    shown = world.do(bob, "info", "friend", *named)
    assert "EUR: not agreed by the friend yet, limit 0, rate 5/2^32 + 7 (0.000 %), closed" in (
        shown
    )
    config("close-currency", *named, "-c", "FST")
    assert world.ask(bob, "config", "remove-currency", *named, "-c", "EUR")["removed"]
    assert "not in use" in refused("remove-currency", *named, "-c", "EUR")
    assert "both sides agree" in refused("reset-friend", *named)
    token = world.file("no.token")
    assert "not signed" in world.refused(bob, "info", "friend-last-token", *named, "-t", token)
    assert not Path(token).exists()
    config("remove-friend", *named)


@covers("CTL-32", "FIX-06")
def test_invoices_and_payments_that_are_refused(world: World) -> None:
    bob, charli = world.bob, world.charli
    invoice, changed = world.file("a.invoice"), world.file("changed.invoice")
    payment, commit = world.file("a.payment"), world.file("a.commit")
    outputs = ("-p", payment, "-c", commit)
    sell = ("seller", "create-invoice", "-c", "FST", "-i", invoice, "-a")
    assert not Path(invoice).exists()
    world.do(charli, *sell, "50")
    assert "exists already" in world.refused(charli, *sell, "50")

    pay = ("buyer", "pay-invoice", "-i", invoice)
    before = set(world.place.iterdir())
    assert "different names" in world.refused(bob, *pay, "-p", payment, "-c", payment)
    assert "no such directory" in world.refused(bob, *pay, "-p", payment, "-c", "no/where")
    assert "node's own" in world.refused(charli, *pay, *outputs)
    wrong = ("buyer", "pay-invoice", "-i", bob.path("node.ticket"))
    assert "invoice is needed" in world.refused(bob, *wrong, *outputs)
    assert set(world.place.iterdir()) == before

    assert "another node's" in world.refused(bob, "seller", "cancel-invoice", "-i", invoice)
    theirs = load_invoice(invoice)
    write_invoice(changed, replace(theirs, total_dest_payment=5, signature=None))
    assert "was changed" in world.refused(charli, "seller", "cancel-invoice", "-i", changed)
    world.do(charli, "seller", "cancel-invoice", "-i", invoice)
    assert not Path(invoice).exists()
    assert world.do(charli, "info", "invoices") == "there are no open invoices\n"

    Path(payment).write_text('{"paymentId": "AAAAAAAAAAAAAAAAAAAAAA"}')
    receipt = world.file("a.receipt")
    lost = ("buyer", "payment-status", "-p", payment, "-r", receipt)
    assert "no such payment" in world.refused(bob, *lost)
    assert not Path(payment).exists()
    assert not Path(receipt).exists()


@covers("CTL-02")
def test_no_permission_no_trust_no_node(world: World, tmp_path: Path) -> None:
    bob = world.bob
    manage("gen-ident", "-o", bob.path("stranger.ident"))
    stranger = ["-I", bob.path("stranger.ident"), "-T", bob.path("node.ticket"), "info", "relays"]
    assert stctrl.main(stranger) == 1
    assert "has to trust its ticket" in world.capsys.readouterr().err

    ticket = str(Path(bob.path("trusted")) / "app.ticket")
    manage("app-ticket", "-i", bob.path("app.ident"), "-o", ticket, "--pseller", "--force")
    limit = time.monotonic() + WAIT_S
    while world.run(bob, "config", "remove-relay", "-n", "r")[2].count("lacks") == 0:
        assert time.monotonic() < limit
    add = ("config", "add-relay", "-r", bob.path("node.ticket"), "-n", "r")
    assert 'its ticket lacks "config"' in world.refused(bob, *add)
    assert world.do(bob, "info", "relays") == "no relay is configured\n"

    for path in ("app.ident", "node.ticket"):
        Path(bob.path(path)).rename(bob.path("hidden"))
        assert "cannot read" in world.refused(bob, "info", "relays")
        Path(bob.path("hidden")).rename(bob.path(path))
    key = public_key_of(PrivateKey(bytes([3]) * 32))
    write(bob.path("node.ticket"), Ticket(key, "127.0.0.1:1"), force=True)
    assert "cannot connect to the node at 127.0.0.1:1" in world.refused(bob, "info", "relays")
    assert json.loads(world.run(bob, "info", "relays", "--json")[1]).keys() == {"error"}


@covers("CTL-38")
def test_watch_shows_changes_until_it_is_stopped(world: World) -> None:
    bob = world.bob
    with running("stctrl", *bob.flags, "info", "watch") as process:
        assert first_line(process) == "0 open invoices, 0 open payments\n"
        world.do(bob, "config", "add-relay", "-r", world.charli.path("node.ticket"), "-n", "r")
        assert first_line(process).startswith('relay "r" at 127.0.0.1:')
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["info"],
        ["config", "open-currency", "-n", "x", "-c", "seventeen-letters"],
        ["config", "set-currency-max-debt", "-n", "x", "-c", "FST", "-m", str(CREDITS_MAX + 1)],
        ["config", "set-currency-rate", "-n", "x", "-c", "FST", "-m", str(2**32), "-a", "0"],
        ["seller", "create-invoice", "-c", "FST", "-a", "1.5", "-i", "x"],
    ],
)
def test_a_wrong_command_line_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        stctrl.main(["-I", "a", "-T", "b", *argv])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@covers("FIX-08")
def test_an_interrupted_payment_goes_on_and_can_be_given_up(world: World) -> None:
    bob, invoice, payment = world.bob, world.file("a.invoice"), world.file("a.payment")
    world.do(world.charli, "seller", "create-invoice", "-c", "FST", "-a", "5", "-i", invoice)
    files = ("-i", invoice, "-p", payment, "-c", world.file("a.commit"))
    with running("stctrl", *bob.flags, "-v", "buyer", "pay-invoice", *files) as process:
        assert process.stderr is not None
        while "payment: searching" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "the node goes on with the payment" in err
    assert f"take it up with {payment}" in err
    assert "Traceback" not in err
    (listed,) = world.ask(bob, "info", "payments")["payments"]
    assert listed["status"] == "searching"
    status = ("buyer", "payment-status", "-p", payment, "-r", world.file("a.receipt"))
    assert world.ask(bob, *status, "--no-wait")["status"] == "searching"
    assert "no commit" in world.refused(bob, "buyer", "get-commit", "-p", payment, "-c", "x")
    assert world.ask(bob, "buyer", "cancel-payment", "-p", payment)["failure"] == "canceled"
    assert not Path(payment).exists()


# --- fees and conflicts, in a village -----------------------------------------------------------

APP = PrivateKey(bytes([77]) * 32)


class Trusting:
    """Trusts the app with everything."""

    def read(self):
        return {public_key_of(APP): ALL_PERMISSIONS}


@dataclass
class BobInVillage:
    """Bob's card in a village where Charli charges 1 credit on the way to Daniel."""

    village: Village
    address: str

    async def run(self, *argv: str) -> None:
        args = stctrl._parser().parse_args(["-I", "x", "-T", "x", *argv])
        output = Output("stctrl", as_json=args.json, verbose=False)
        ticket = Ticket(self.village.people["Bob"].key, self.address)
        with anyio.fail_after(WAIT_S):
            await stctrl._talk(APP, ticket, self.address, args, output)


@asynccontextmanager
async def bob_in_village(
    friendships: tuple[Friendship, ...] = CHAIN,
) -> AsyncIterator[BobInVillage]:
    size = len({name for one in friendships for name in (one.one, one.other)})
    async with (
        open_village(size, friendships=friendships, relay_count=1, on_disk=False) as village,
        anyio.create_task_group() as tasks,
    ):
        bob = village.people["Bob"]
        service = AppService(bob.running, Trusting())
        serve = partial(run_services, Endpoint(bob.identity), ["127.0.0.1:0"], [service])
        (address,) = await tasks.start(serve)
        yield BobInVillage(village, address)
        tasks.cancel_scope.cancel()


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal to ask at; what is written here is typed there."""
    master, slave = os.openpty()
    with open(slave) as terminal:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", terminal)
        yield master
    os.close(master)


@covers("FIX-09", "FIX-10", "CTL-26")
@pytest.mark.anyio
async def test_fees_need_consent_at_a_terminal_and_max_fee_binds(
    tmp_path: Path, keyboard: int, capsys: pytest.CaptureFixture[str]
):
    outputs = ("-p", str(tmp_path / "p"), "-c", str(tmp_path / "c"))
    pay = ("buyer", "pay-invoice", "-i", str(tmp_path / "i"), *outputs)
    lost = ("buyer", "pay-invoice", "-i", str(tmp_path / "lost"), *outputs)
    async with bob_in_village() as bob:
        daniel = bob.village.people["Daniel"].client
        invoice = await daniel.create_invoice(InvoiceTerms(OUSD, 500))
        write_invoice(tmp_path / "i", invoice)
        strange = replace(invoice, dest_public_key=STRANGER, signature=None)
        write_invoice(tmp_path / "lost", strange)
        with pytest.raises(RefusedError, match="not paid: "):
            await bob.run(*lost, "--max-fee", "9")
        with pytest.raises(RefusedError, match="fees would be higher"):
            await bob.run(*pay, "--max-fee", "0")
        os.write(keyboard, b"n\n")
        with pytest.raises(RefusedError, match="fees were declined"):
            await bob.run(*pay)
        assert names(tmp_path) == {"i", "lost"}
        said = capsys.readouterr()
        assert said.out == "Total fees: 1\n"
        assert said.err == "Pay 500 OUSD and 1 OUSD fees? [y/N] "
        os.write(keyboard, b"y\n")
        await bob.run(*pay)
        assert names(tmp_path) == {"i", "lost", "p", "c"}
        assert "Total fees: 1\n" in capsys.readouterr().out


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


@covers("CTL-06", "CTL-17", "CTL-23", "FIX-11")
@pytest.mark.anyio
async def test_a_conflict_is_shown_and_reset_after_asking(
    keyboard: int, capsys: pytest.CaptureFixture[str]
):
    async with bob_in_village() as bob:
        people = bob.village.people
        await people["Charli"].client.command(DisputeFriend(people["Bob"].key))
        door = by_address(Endpoint(APP), bob.address, people["Bob"].key)
        async with open_remote(door) as client, aclosing(client.reports()) as reports:
            async for report in reports:
                if report.friends[0].remote_terms is not None:
                    break
        await bob.run("info", "friends")
        shown = capsys.readouterr().out
        assert "Inconsistent:" in shown
        assert shown.count("OUSD: B = 0") == 2
        reset = ("config", "reset-friend", "-n", "Charli")
        os.write(keyboard, b"no\n")
        with pytest.raises(OffsetError, match="not reset"):
            await bob.run(*reset)
        asked = capsys.readouterr().err
        assert "if you accept, you lose nothing\nAccept the friend's terms?" in asked
        await bob.run(*reset, "--yes")
        assert capsys.readouterr().out == 'accepted the terms of "Charli": you lose nothing\n'
        await bob.run("info", "friends")
        assert "Consistent:" in capsys.readouterr().out
