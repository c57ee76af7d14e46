"""The acceptance story and a payment by commands alone: processes, and texts that people hand to each other."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from offset_engine.cards import CardStore
from tests.covers import covers
from tests.e2e.terminals import ROOT, free_port, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs socket files")

OFFSET = (sys.executable, "-m", "offset_tui")
PATIENCE_S = 30


@dataclass
class Person:
    """Somebody with a card store and a shell, from which nothing but text comes out."""

    store: Path

    def __call__(self, *words: str, given: str = "") -> str:
        """What a successful command prints, without its line break."""
        done = subprocess.run(
            [*OFFSET, *words, "--store", str(self.store)],
            cwd=ROOT,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, (words, done.stderr)
        assert "\x1b" not in done.stdout + done.stderr
        return done.stdout.removesuffix("\n")

    def json(self, *words: str, given: str = "") -> dict:
        return json.loads(self(*words, "--json", given=given))

    def is_ready(self) -> bool:
        """Whether a friend is there and a currency agreed."""
        (friend,) = self.json("status")["friends"]
        return friend["online"] and friend["currencies"][0]["balance"] is not None


@pytest.fixture
def people(tmp_path: Path) -> Iterator[tuple[Person, Person, str]]:
    """Alice with servers, and Bob; both cards run and know nothing. The text is that of the servers."""
    with ExitStack() as stack:

        def start(*words: str) -> "subprocess.Popen[str]":
            process = stack.enter_context(
                subprocess.Popen(
                    [*OFFSET, *words],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        people = [Person(tmp_path / name) for name in ("alice", "bob")]
        address = f"127.0.0.1:{free_port()}"
        started = [start("serve", "--json", "--address", address, str(tmp_path / "serve"))]
        for one in people:
            CardStore(one.store).create(one.store.name.capitalize())
            started.append(start("run", "--json", "--store", str(one.store)))
        said = [json.loads(one.stdout.readline() if one.stdout else "") for one in started]
        yield people[0], people[1], said[0]["text"]


@covers("CMP-13", "CMP-16", "CMP-18", "RMP-39")
def test_two_people_become_friends_and_one_pays_the_other_by_texts_alone(
    people: tuple[Person, Person, str],
) -> None:
    alice, bob, servers = people
    alice("accept", servers)
    invite = alice("share", "--invite", "OUSD", "150", "--name", "Bob")
    answer = bob("accept", "-", "--limit", "200", given=f"Alice, 14:03: {invite}\n")
    assert "Bob is your friend now" in alice("accept", "-", given=answer)
    until(bob.is_ready, PATIENCE_S, lambda: bob("status"))
    (bobs,) = bob.json("status")["balances"]
    assert (bobs["can_pay"], bobs["can_be_paid"], bobs["decimals"]) == ("15000", "20000", 2)
    (alices,) = alice.json("status")["balances"]
    assert (alices["can_pay"], alices["can_be_paid"]) == ("20000", "15000")

    invoice = alice("invoice", "2.00", "OUSD", "--description", "two loaves")
    paying = bob.json("pay", "-", "--yes", given=invoice)
    assert (paying["status"], paying["fees"]) == ("committed", "0")
    # A command that was cut off is simply repeated.
    assert bob("pay", invoice, "--yes") == paying["commit"]
    collected = "Payment is good: hand over the goods. Collected 2.00 OUSD"
    assert collected in alice("accept", paying["commit"])
    paid = bob.json("pay", "--show", paying["id"], "--wait")
    assert (paid["status"], paid["invoice"]["description"]) == ("paid", "two loaves")
    assert "Good: the seller has collected" in alice("accept", f"{paid['receipt']}\n{invoice}")
    assert bob.json("status")["balances"][0]["balance"] == "-200"
