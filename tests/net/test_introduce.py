"""`stctrl introduce`: servers, invites and answers as texts, and what is refused; all through the socket file."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import Currency, PrivateKey, PublicKey, RelayAddress
from offset_engine.files import (
    Answer,
    FriendCard,
    Invite,
    Servers,
    Terms,
    invite_hash,
    read_any,
    to_text,
)
from offset_engine.programs import stctrl
from offset_engine.store import SqliteStore
from tests.covers import covers
from tests.net.test_server_programs import first_line, running

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs socket files")

PLACE = RelayAddress(public_key_of(PrivateKey(bytes([50]) * 32)), "127.0.0.1:1")
SERVERS = to_text(Servers(PLACE, PLACE))


@dataclass
class Card:
    """A node in a process, controlled by its user."""

    socket: str
    place: Path
    capsys: pytest.CaptureFixture[str]

    def do(self, *argv: str) -> dict:
        """What a successful command says."""
        assert stctrl.main(["--socket", self.socket, "--json", *argv]) == 0
        out, err = self.capsys.readouterr()
        assert err == ""
        return json.loads(out)

    def refused(self, *argv: str) -> str:
        """The one sentence of a failure."""
        assert stctrl.main(["--socket", self.socket, *argv]) == 1
        out, err = self.capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1), (out, err)
        return err

    def file(self, name: str, text: str) -> str:
        (self.place / name).write_text(text)
        return str(self.place / name)

    def invite(self, name: str = "x.invite", limit: str = "9") -> tuple[str, str]:
        """An invite's file and text."""
        path = str(self.place / name)
        made = self.do("introduce", "invite", "-c", "FST", "-m", limit, "-o", path)
        return path, made["text"]

    def friends(self) -> list[dict]:
        return self.do("info", "friends")["friends"]


@pytest.fixture
def cards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[Card, Card]]:
    """Alice and Bob, who have nothing yet."""
    found = []
    with ExitStack() as stack:
        for number, name in enumerate(("alice", "bob"), 1):
            place = tmp_path / name
            (place / "trusted").mkdir(parents=True)
            identity = PrivateKey(bytes([number]) * 32)
            (place / "node.ident").write_text(json.dumps({"privateKey": identity.to_text()}))
            SqliteStore.create(place / "node.db", public_key_of(identity)).close()
            flags = ("-i", str(place / "node.ident"), "-d", str(place / "node.db"))
            listening = ("-t", str(place / "trusted"), "-l", "127.0.0.1:0", "--log-level", "error")
            process = stack.enter_context(running("stnode", *flags, *listening))
            first_line(process)
            found.append(Card(str(place / "node.db.sock"), place, capsys))
        yield found[0], found[1]


def join(card: Card) -> None:
    text = card.file("servers.txt", f"> Eve, 14:03: `{SERVERS}`\n")
    card.do("introduce", "servers", "-s", text, "-n", "village")


@covers("CTL-09")
def test_two_texts_make_friends_and_say_what_each_grants(cards: tuple[Card, Card]) -> None:
    alice, bob = cards
    join(alice)
    kept, text = alice.invite()
    # Bob has no servers: the invite brings those of Alice.
    accepting = ("introduce", "accept", "-i", bob.file("i", text), "-n", "Alice")
    answer = bob.do(*accepting, "-m", "7", "--own-name", "Bob")["text"]
    assert bob.do(*accepting)["text"].startswith("offset1:answer:")  # once more changes nothing
    (friend,) = bob.friends()
    assert (friend["name"], friend["enabled"]) == ("Alice", True)
    assert [(one["currency"], one["max_debt"]) for one in friend["currencies"]] == [("FST", "7")]
    assert friend["public_key"] == alice.do("info", "public-key")["public_key"]
    for group in ("relays", "index"):
        ((server,),) = bob.do("info", group).values()
        assert server["public_key"] == PLACE.public_key.to_text()

    made = alice.do("introduce", "finish", "-i", kept, "-a", alice.file("a", answer), "-n", "Bob")
    (friend,) = alice.friends()
    assert friend["public_key"] == made["public_key"]
    assert made["offered"] == [{"currency": "FST", "limit_offered": "7"}]
    assert [(one["currency"], one["max_debt"]) for one in friend["currencies"]] == [("FST", "9")]


def befriended(alice: Card, bob: Card) -> tuple[str, str]:
    """Alice and Bob are friends by an invite; its file, and Bob's answer's."""
    join(alice)
    join(bob)
    kept, text = alice.invite()
    accepting = ("introduce", "accept", "-i", bob.file("i", text), "-n", "Alice", "-m", "7")
    answer = alice.file("a", bob.do(*accepting)["text"])
    alice.do("introduce", "finish", "-i", kept, "-a", answer, "-n", "Bob")
    return kept, answer


def test_a_friends_key_under_another_name_is_refused_and_changes_need_consent(
    cards: tuple[Card, Card],
) -> None:
    alice, bob = cards
    befriended(alice, bob)
    key = PublicKey.from_text(bob.do("info", "public-key")["public_key"])
    elsewhere = RelayAddress(public_key_of(PrivateKey(bytes([66]) * 32)), "203.0.113.9:1")
    card = FriendCard(key, (elsewhere,), "Dora", (Terms(Currency("FST"), 255, 5),))
    there = alice.file("e", to_text(Invite(card, None)))
    before = alice.friends()
    accepting = ("introduce", "accept", "-i", there, "-m", "1000000", "-n")
    assert 'the card of your friend "Bob"' in alice.refused(*accepting, "Dora", "--yes")
    said = alice.refused(*accepting, "Bob")
    for word in ("127.0.0.1:1", "203.0.113.9:1", "from 9 to 1000000", "--yes"):
        assert word in said
    assert alice.friends() == before
    out = alice.do(*accepting, "Bob", "--yes")
    assert out["known"]
    assert out["changed_limits"] == [{"currency": "FST", "before": "9", "after": "1000000"}]
    assert [one["address"] for one in out["changed_relays"]] == ["203.0.113.9:1"]
    (friend,) = alice.friends()
    assert [one["address"] for one in friend["relays"]] == ["203.0.113.9:1"]


def test_an_invite_makes_one_friend_who_may_answer_again_to_renew_relays(
    cards: tuple[Card, Card],
) -> None:
    alice, bob = cards
    kept, answer = befriended(alice, bob)
    (made,) = read_any(Path(kept).read_text())
    assert isinstance(made.content, Invite)
    mallory = FriendCard(public_key_of(PrivateKey(bytes([67]) * 32)), (PLACE,), "Mallory")
    other = alice.file("m", to_text(Answer(mallory, invite_hash(made.content))))
    finishing = ("introduce", "finish", "-i", kept, "-a")
    assert "answered already" in alice.refused(*finishing, other, "-n", "Mallory", "--yes")
    assert 'your friend "Bob"' in alice.refused(*finishing, answer, "-n", "whoever", "--yes")
    limit = ("config", "set-currency-max-debt", "-n", "Bob", "-c", "FST", "-m", "3")
    alice.do(*limit)
    again = alice.do(*finishing, answer, "-n", "Bob")
    assert (again["known"], again["changed_limits"], again["changed_relays"]) == (True, [], [])
    (friend,) = alice.friends()
    assert friend["currencies"][0]["max_debt"] == "3"
    newer, _ = alice.invite("newer.invite")
    assert Path(newer).read_text() != Path(kept).read_text()  # the same terms, another invite
    assert "own file is needed" in alice.refused(
        "introduce", "finish", "-i", "-", "-a", answer, "-n", "Bob"
    )


def test_texts_come_from_standard_input_too(
    cards: tuple[Card, Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = cards
    typed = io.TextIOWrapper(io.BytesIO(SERVERS.encode()))
    monkeypatch.setattr(sys, "stdin", typed)
    alice.do("introduce", "servers", "-s", "-", "-n", "village")
    assert [one["name"] for one in alice.do("info", "relays")["relays"]] == ["village"]
    join(alice)  # having them already is no failure
    assert len(alice.do("info", "index")["index_servers"]) == 1


def test_what_cannot_be_is_refused_and_changes_nothing(cards: tuple[Card, Card]) -> None:
    alice, bob = cards
    target = str(alice.place / "x.invite")
    inviting = ("introduce", "invite", "-c", "FST", "-m", "9", "-o", target)
    assert "no relay yet" in alice.refused(*inviting)
    assert not os.path.lexists(target)
    join(alice)
    kept, text = alice.invite()
    other, _ = alice.invite("other.invite", limit="8")
    before = Path(kept).read_bytes()
    assert "exists already" in alice.refused(*inviting)
    assert Path(kept).read_bytes() == before

    accepting = ("introduce", "accept", "-n", "x", "-i")
    assert "your own card" in alice.refused(*accepting, kept)
    assert "is needed here" in alice.refused(*accepting, str(alice.place / "servers.txt"))
    assert "cannot read" in alice.refused(*accepting, "nothing")
    pasted = bob.file("i", text)
    assert "needs --mdebt" in bob.refused(*accepting, pasted, "-c", "FST")
    assert bob.friends() == []

    answer = bob.do(*accepting, pasted)["text"]
    there = alice.file("a", answer)
    finishing = ("introduce", "finish", "-n", "Bob", "-a")
    assert "answers no invite" in alice.refused(*finishing, there, "-i", other)
    assert "another card's" in bob.refused(*finishing, there, "-i", kept)
    assert "is needed here" in alice.refused(*finishing, kept, "-i", kept)
    assert alice.friends() == []
    alice.do(*finishing, there, "-i", kept)
    third = public_key_of(PrivateKey(bytes([3]) * 32)).to_text()
    relays = [{"publicKey": PLACE.public_key.to_text(), "address": PLACE.address}]
    card = alice.file("c.friend", json.dumps({"publicKey": third, "relays": relays}))
    alice.do("config", "add-friend", "-f", card, "-n", "Carol")
    assert 'called "Carol" already' in alice.refused(
        "introduce", "finish", "-i", kept, "-a", there, "-n", "Carol"
    )


def test_an_invite_is_the_same_as_text_and_as_file(cards: tuple[Card, Card]) -> None:
    alice, _ = cards
    join(alice)
    kept, text = alice.invite()
    (one,), (other,) = read_any(Path(kept).read_text()), read_any(text)
    assert one.content == other.content


def test_a_socket_where_nobody_listens_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "none.sock")
    assert stctrl.main(["--socket", path, "info", "friends"]) == 1
    assert f"cannot connect to the node at {path}" in capsys.readouterr().err
