"""The commands without a screen against cards that run: shapes of `--json`, what is refused, nothing painted."""

import io
import json
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from offset_engine.cards import CardSettings, CardStore
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import Currency, PrivateKey, PublicKey, RelayAddress
from offset_engine.files import Answer, FriendCard, Invite, Terms, invite_hash, read_any, to_text
from offset_tui import __main__ as offset
from tests.covers import covers
from tests.e2e.terminals import ROOT, free_port, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs socket files")

PATIENCE_S = 30


@dataclass
class Person:
    """A card that runs, and its owner at a pipe; `capsys` is set anew for every test."""

    name: str
    store: Path
    capsys: pytest.CaptureFixture[str] | None = None

    def run(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        assert self.capsys is not None
        self.capsys.readouterr()
        try:
            code = offset.main([*words, "--store", str(self.store)])
        except SystemExit as error:
            code = int(error.code or 0)
        out, err = self.capsys.readouterr()
        assert "\x1b" not in out + err
        return code, out, err

    def __call__(self, *words: str) -> str:
        """What a successful command prints."""
        code, out, err = self.run(*words)
        assert code == 0, (words, err)
        return out.removesuffix("\n")

    def json(self, *words: str) -> dict:
        return json.loads(self(*words, "--json"))

    def refused(self, *words: str) -> str:
        """The one sentence of a failure."""
        code, out, err = self.run(*words)
        assert (code, out) == (1, ""), (words, out, err)
        lines = err.splitlines()
        return lines[-1]

    def wrong(self, *words: str) -> str:
        """The sentence about a wrong command line."""
        code, out, err = self.run(*words)
        assert (code, out) == (2, ""), (words, out, err)
        assert "usage:" in err
        return err.splitlines()[-1]


def start(stack: ExitStack, *words: str) -> dict:
    """A program that keeps running; what it says when it is ready."""
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "offset_tui", *words, "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )
    stack.callback(process.kill)
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Alice, whose card serves both, and Bob; they are not friends yet."""
    place = tmp_path_factory.mktemp("headless")
    with ExitStack() as stack:
        people = []
        for name in ("Alice", "Bob"):
            store = CardStore(place / name)
            store.create(name)
            if name == "Alice":
                served = f"127.0.0.1:{free_port()}"
                store.save_settings(
                    name,
                    CardSettings(serve_address=served, app_address=f"127.0.0.1:{free_port()}"),
                )
            people.append(Person(name, store.directory))
        ready = [start(stack, "run", "--store", str(one.store)) for one in people]
        yield SimpleNamespace(alice=people[0], bob=people[1], servers=ready[0]["servers"])


@pytest.fixture
def pair(world: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> tuple[Person, Person]:
    """Both, friends: Alice trusts up to 150, Bob up to 200 OUSD."""
    alice, bob = world.alice, world.bob
    alice.capsys = bob.capsys = capsys
    if not alice.json("friend", "list")["friends"]:
        alice("accept", world.servers)
        invite = alice("share", "--invite", "OUSD", "150", "--name", "Bob")
        alice("accept", bob("accept", invite, "--limit", "200"))
        until(
            lambda: all(
                one.json("status")["friends"][0]["currencies"][0]["balance"] for one in (alice, bob)
            ),
            PATIENCE_S,
            lambda: alice("status"),
        )
    return alice, bob


def buy(alice: Person, bob: Person, amount: str = "1.00") -> tuple[dict, str]:
    """An invoice of Alice's, and Bob's commit for it."""
    invoice = alice.json("invoice", amount, "OUSD")
    return invoice, bob("pay", invoice["text"], "--yes")


# --- looking ------------------------------------------------------------------------------------


def test_status_says_everything_plainly_and_for_programs(pair: tuple[Person, Person]) -> None:
    alice, _ = pair
    text = alice("status")
    assert text.startswith("card           Alice (")
    assert "they trust you" in text
    values = alice.json("status")
    assert set(values) == {
        *("card", "public_key", "fingerprint", "balances", "friends", "payments", "needs"),
        *("relays", "index_servers", "open_invoices", "open_payments"),
    }
    (net,) = values["balances"]
    assert all(isinstance(net[key], str) for key in ("balance", "can_pay", "can_be_paid"))
    (friend,) = values["friends"]
    assert friend["limits"][0]["you_trust"] == "15000"
    assert friend["limits"][0]["trusts_you"] == "20000"
    (relay, index) = alice("servers").splitlines()[1:]
    assert relay.split()[0] == "relay"
    assert "connected" in index


def test_watching_says_what_changes_and_ends_when_it_is_stopped(
    pair: tuple[Person, Person],
) -> None:
    alice, _ = pair
    words = ("status", "--watch", "--json", "--store", str(alice.store))
    with subprocess.Popen(
        [sys.executable, "-m", "offset_tui", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        before = json.loads(process.stdout.readline())["open_invoices"]
        made = alice.json("invoice", "1", "OUSD")
        assert json.loads(process.stdout.readline())["open_invoices"] == before + 1
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    alice("invoice", "--cancel", made["id"])


@covers("RMP-03", "RMP-40")
def test_fees_are_covered_and_bills_are_split(pair: tuple[Person, Person]) -> None:
    alice, _ = pair
    made = alice.json("invoice", "2.00", "OUSD", "--description", "tea", "--cover-fees", "0.05")
    assert made["amount"] == "195"
    assert made["description"] == "tea (price 2.00 OUSD; the seller covers fees up to 0.05)"
    assert "cover less" in alice.wrong("invoice", "2", "OUSD", "--cover-fees", "2")
    bill = alice.json("invoice", "9", "OUSD", "--split", "Bob, Dora 2", "--me")
    assert [(one["name"], one["amount"]) for one in bill["invoices"]] == [
        ("Bob", "350"),
        ("Dora", "200"),
    ]
    assert bill["own_share"] == "350"
    assert "(share 1 of 2, 9.00 OUSD in all)" in alice("invoice", "--list")
    wrong = alice.wrong("invoice", "1", "OUSD", "--split", "Bob 2")
    assert "the shares make 2.00, not 1.00" in wrong
    for one in (made, *bill["invoices"]):
        alice("invoice", "--cancel", one["id"])


@covers("CMP-13", "CMP-16", "CMP-17", "CMP-18", "RMP-33", "RMP-34", "RMP-35", "RMP-38")
def test_a_payment_from_invoice_to_exported_receipt(
    pair: tuple[Person, Person], tmp_path: Path
) -> None:
    alice, bob = pair
    made = alice.json("invoice", "1.25", "OUSD", "--description", "tea", "--expires", "7d")
    assert (made["amount"], made["decimals"], made["currency"]) == ("125", 2, "OUSD")
    shown = alice.json("invoice", "--show", made["id"][:8])
    assert (shown["status"], shown["text"]) == ("open", made["text"])
    path = tmp_path / "tea.commit"
    paid = bob.json("pay", made["text"], "--yes", "--max-fee", "0", "--out", str(path))
    assert (paid["status"], paid["fees"], paid["receipt"]) == ("committed", "0", None)
    bob("pay", "--handed", paid["id"])
    got = alice.json("accept", str(path))
    assert (got["kind"], got["status"], got["amount"]) == ("commit", "collected", "125")
    again = alice.refused("accept", str(path))
    assert "Collected already" in again

    done = bob.json("pay", "--show", paid["id"], "--wait")
    assert (done["status"], done["safe_to_retry"]) == ("paid", False)
    assert bob.json("accept", done["receipt"])["valid"] is True
    assert "you have paid this invoice already" in bob.refused("pay", made["text"], "--yes")
    assert "is paid already" in bob.refused("pay", "--cancel", paid["id"])
    written = bob.json("receipts", paid["id"], "--export", str(tmp_path / "proofs"))["written"]
    assert sorted(Path(one).suffix for one in written) == [".invoice", ".receipt", ".txt"]
    assert {stat.S_IMODE(Path(one).stat().st_mode) for one in written} == {0o600}
    assert all(Path(one).read_text().endswith("\n") for one in written)
    (tmp_path / "file").write_text("hello")
    assert "is not a directory" in bob.refused("receipts", "--export", str(tmp_path / "file"))
    assert bob("receipts", paid["id"]).startswith(done["receipt"])

    bob("history", "--note", paid["id"][:8], "for the office")
    (entry,) = bob.json("history", "--search", "office")["entries"]
    assert (entry["kind"], entry["amount"], entry["id"]) == ("paid", "-125", paid["id"])
    assert "for the office" in bob("history", "--csv")
    assert "tea" in alice("history")


def test_paying_takes_consent_and_nothing_is_paid_without(pair: tuple[Person, Person]) -> None:
    alice, bob = pair
    invoice = alice("invoice", "1", "OUSD")
    assert "add --yes" in bob.wrong("pay", invoice)
    assert "own card" in alice.refused("pay", invoice, "--yes")
    assert "this is an invoice: offset pay" in bob.refused("accept", invoice)
    ended = bob.run("pay", alice("invoice", "9000", "OUSD"), "--yes", "--json")
    assert ended[0] == 1
    values = json.loads(ended[1])
    assert values["status"] == "failed"
    assert values["safe_to_retry"] is True
    assert "Safe to pay again: yes" in values["error"]
    assert "given up" in bob("pay", "--cancel", values["id"])
    listed = bob.json("pay", "--list")["payments"]
    assert values["id"] in [one["id"] for one in listed]


@covers("CMP-20")
def test_a_commit_is_held_and_collected_or_given_back(pair: tuple[Person, Person]) -> None:
    alice, bob = pair
    invoice, commit = buy(alice, bob)
    held = alice.json("hold", commit, "3d")
    assert held["status"] == "held"
    assert held["held_until"] is not None
    assert "held until" in alice("invoice", "--list")
    alice("hold", invoice["id"][:8], "10")
    assert "a buyer has reserved" in alice.refused("invoice", "--cancel", invoice["id"])
    assert alice.json("collect", invoice["id"][:8])["status"] == "collected"
    assert "no open invoice" in alice.refused("collect", invoice["id"])

    invoice, commit = buy(alice, bob)
    alice("accept", commit, "--hold", "2")
    assert "add --yes" in alice.wrong("refund", invoice["id"])
    assert "refunded 1.00 OUSD" in alice("refund", invoice["id"], "--yes")
    assert "was refunded" in alice.refused("accept", commit)
    unpaid = alice.json("invoice", "1", "OUSD")
    assert "no commit is held" in alice.refused("collect", unpaid["id"])
    assert alice.json("invoice", "--cancel", unpaid["id"])["status"] == "canceled"


# --- friends ------------------------------------------------------------------------------------


def test_everything_about_a_friend_can_be_set(pair: tuple[Person, Person], tmp_path: Path) -> None:
    alice, _ = pair
    key = alice.json("friend", "show", "bob")["fingerprint"]
    assert "= 0.51 (0.51 %)" in alice("friend", "fee", key, "OUSD", "0.5 % + 0.01")
    alice("friend", "fee", "Bob", "OUSD", "free")
    assert "the most you can lose" in alice("friend", "limit", "Bob", "OUSD", "160.50")
    alice("friend", "limit", "Bob", "OUSD", "150")
    alice("friend", "told", "Bob", "OUSD", "200")
    alice("friend", "close", "Bob", "OUSD")
    assert "OUSD (closed)" in alice("friend", "list")
    alice("friend", "open", "Bob", "OUSD")
    alice("friend", "currency", "Bob", "CREDS", "--limit", "1.234", "--decimals", "3")
    currencies = alice.json("friend", "show", "Bob")["currencies"]
    assert {one["currency"]: one["max_debt"] for one in currencies} == {
        "CREDS": "1234",
        "OUSD": "15000",
    }
    assert "3 digits after the point" in alice.wrong("invoice", "1", "CREDS", "--decimals", "2")
    alice("friend", "drop", "Bob", "CREDS")
    alice("friend", "rename", "Bob", "Robert")
    assert "no friend called" in alice.refused("friend", "show", "Bob")
    alice("friend", "rename", "Robert", "Bob")
    token = alice.json("friend", "token", "Bob", "--out", str(tmp_path / "t.token"))
    assert alice.json("accept", token["text"])["valid"] is True
    assert "nothing to reset" in alice.refused("friend", "reset", "Bob", "--yes")
    assert "add --yes" in alice.wrong("friend", "remove", "Bob")


def test_a_friend_card_is_added_and_removed(pair: tuple[Person, Person], tmp_path: Path) -> None:
    alice, bob = pair
    carol = public_key_of(PrivateKey(bytes([77]) * 32))
    relays = FriendCard(carol, (), "Carol")
    assert "names no relay" in bob.refused("friend", "add", to_text(relays))
    own = bob.json("share", "--out", str(tmp_path / "bob.friend"))
    assert (own["kind"], len(own["words"].split())) == ("friend", 8)
    assert "your own card" in bob.refused("accept", own["text"])
    assert "nothing in it is new" in alice("accept", str(tmp_path / "bob.friend"))
    (place,) = alice.json("servers")["relays"]
    relay = RelayAddress(PublicKey.from_text(place["public_key"]), place["address"])
    card = to_text(FriendCard(carol, (relay,), "Carol"))
    added = bob.json(
        *("friend", "add", card, "--currency", "OUSD", "--limit", "5", "--fee", "1 %"),
        "--no-connect",
    )
    assert (added["name"], added["known"]) == ("Carol", False)
    shown = bob.json("friend", "show", "Carol")
    assert (shown["enabled"], shown["currencies"][0]["max_debt"]) == (False, "500")
    bob("friend", "enable", "Carol")
    bob("friend", "disable", "Carol")
    assert "choose a name" in bob.refused("friend", "add", card, "--name", "alice")
    assert "Carol is no friend any more" in bob("friend", "remove", "Carol", "--yes")


# --- texts --------------------------------------------------------------------------------------


def test_texts_are_shared_and_drawn(pair: tuple[Person, Person], tmp_path: Path) -> None:
    alice, bob = pair
    text = alice("share", "--servers")
    assert text.startswith("offset1:servers:")
    assert "uses them already" in bob("accept", text)
    assert "█" in alice("share", "--servers", "--qr")
    assert "█" in alice("invoice", "1", "OUSD", "--qr")
    picture = tmp_path / "x.png"
    assert offset.main(["qr", text, "--png", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert offset.main(["qr", text, "--ascii"]) == 0
    assert "only relay" in alice.refused("servers", "--remove", "127.0.0.1", "--yes")


def test_an_answer_counts_once_and_only_for_its_invite(pair: tuple[Person, Person]) -> None:
    alice, bob = pair
    invite = alice("share", "--invite", "OUSD", "150")
    assert "your own" in alice.refused("accept", invite, "--limit", "1")
    answer = bob("accept", invite, "--limit", "200")
    alice("accept", answer)
    # The same friend again has nothing new to say; somebody else is too late.
    assert "friend already" in alice("accept", answer)
    (made,), (said,) = read_any(invite), read_any(answer)
    assert isinstance(made.content, Invite)
    assert isinstance(said.content, Answer)
    mallory = replace(said.content.card, public_key=public_key_of(PrivateKey(bytes([67]) * 32)))
    late = to_text(Answer(mallory, invite_hash(made.content)))
    assert "answered already" in alice.refused("accept", late, "--name", "Mallory", "--limit", "1")


def test_a_friends_card_under_another_name_is_refused_and_changes_are_agreed_to(
    pair: tuple[Person, Person],
) -> None:
    alice, bob = pair
    (card,) = read_any(bob("share"))
    assert isinstance(card.content, FriendCard)
    elsewhere = RelayAddress(public_key_of(PrivateKey(bytes([66]) * 32)), "203.0.113.9:1")
    terms = (Terms(Currency("OUSD"), 2, 5_00),)
    moved = replace(card.content, relays=(elsewhere,), name="Dora", terms=terms)
    evil = to_text(Invite(moved, None))
    before = alice.json("friend", "list")["friends"]
    refusal = alice.refused("accept", evil, "--name", "Dora", "--limit", "10000", "--yes")
    assert "card of your friend" in refusal
    assert "--yes" in alice.wrong("accept", evil, "--limit", "10000")
    assert alice.json("friend", "list")["friends"] == before
    code, _, review = alice.run("accept", evil, "--yes")
    assert code == 0
    assert "203.0.113.9:1" in review
    assert alice("friend", "add", to_text(card.content), "--yes")
    assert alice.json("friend", "list")["friends"][0]["relays"] == before[0]["relays"]


@covers("CMP-03", "CMP-23", "RMP-20", "RMP-22")
def test_another_device_uses_the_card_as_far_as_it_may(
    pair: tuple[Person, Person], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = pair
    key = str(tmp_path / "phone.rcard")
    may = ("--may", "read", "--may", "seller", "--may", "transactions")
    alice("apps", "--add", "phone", "--out", key, *may)
    assert alice.json("apps")["apps"][0]["may"] == ["seller", "read", "transactions"]
    phone = Person("phone", tmp_path / "phone", capsys)
    assert "--name" in phone.wrong("accept", key)
    phone("accept", key, "--name", "Shop")
    until(lambda: phone.run("status")[0] == 0, PATIENCE_S, lambda: phone.run("status"))
    sold = phone.json("invoice", "1", "OUSD")
    refusal = phone.refused("pay", bob("invoice", "1", "OUSD"), "--yes")
    assert "does not allow" in refusal
    phone("invoice", "--cancel", sold["id"])
    alice("apps", "--remove", "phone")
    assert alice("apps") == "no other device may use it"


def test_standard_input_is_read_once(
    pair: tuple[Person, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = pair
    invoice, commit = buy(alice, bob)
    typed = f"> {commit}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
    assert alice.json("accept", "-")["id"] == invoice["id"]
