"""The documentation's tutorial from its first command to the last receipt, with every program a process.

Two relays, two index servers that federate, and three nodes in a line:

    B ──── C ──── D       B asks the first index server, C and D report to the second
     relay-1 relay-2      B listens at relay-1, D at relay-2, C at both

The second time the next of C, D, B is killed and started again after every command.
"""

import json
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from offset_engine.files import load_ticket
from tests.covers import covers
from tests.e2e.documentation import INDEX, INDEX_STARTS, NODE, RELAY
from tests.e2e.terminals import Ended, Running, Terminal, free_port, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills by POSIX signals")

PATIENCE_S = 60

# One line is one command at one machine. Besides the programs:
#   until WHO FACT       ask until it is so; FACTS are below
#   patiently …          repeat a payment that found no way yet
#   refused: WHY: …      the command must fail and say this
#   stop, start          the node, in an orderly way
CONFIGURE = """
B  stctrl config add-relay --relay ../relay-1/relay/relay.relay --name relay-1
C  stctrl config add-relay --relay ../relay-1/relay/relay.relay --name relay-1
C  stctrl config add-relay --relay ../relay-2/relay/relay.relay --name relay-2
D  stctrl config add-relay --relay ../relay-2/relay/relay.relay --name relay-2

B  stctrl config add-index --index ../index-1/index/index_client.index --name index
C  stctrl config add-index --index ../index-2/index/index_client.index --name index
D  stctrl config add-index --index ../index-2/index/index_client.index --name index

B  stctrl info export-ticket --ticket B.friend
C  stctrl info export-ticket --ticket C.friend
D  stctrl info export-ticket --ticket D.friend

B  stctrl config add-friend --friend ../C/C.friend --name C
C  stctrl config add-friend --friend ../B/B.friend --name B
C  stctrl config add-friend --friend ../D/D.friend --name D
D  stctrl config add-friend --friend ../C/C.friend --name C

B  stctrl config enable-friend --name C
C  stctrl config enable-friend --name B
C  stctrl config enable-friend --name D
D  stctrl config enable-friend --name C
B  until C online
C  until D online

B  stctrl config open-currency --name C --currency FST
C  stctrl config open-currency --name B --currency FST
C  stctrl config open-currency --name D --currency FST
D  stctrl config open-currency --name C --currency FST
C  stctrl config set-currency-max-debt --name B --currency FST --mdebt 1000
D  stctrl config set-currency-max-debt --name C --currency FST --mdebt 1000
# C takes 0.5 % and one credit for what B sends through it.
C  stctrl config set-currency-rate --name B --currency FST --mul 21474837 --add 1
B  until C owes 0 FST
D  until C owes 0 FST
"""

PAY = """
D  stctrl seller create-invoice --currency FST --amount 200 --invoice repair.invoice
B  cp ../D/repair.invoice .
B  patiently stctrl buyer pay-invoice --invoice repair.invoice --payment repair.payment --commit repair.commit
D  cp ../B/repair.commit .
D  stctrl seller commit-invoice --invoice repair.invoice --commit repair.commit
B  stctrl buyer payment-status --payment repair.payment --receipt repair.receipt
B  stverify verify-receipt --invoice repair.invoice --receipt repair.receipt
B  until C owes -202 FST
C  until B owes 202 FST
C  until D owes -200 FST
D  until C owes 200 FST
"""

PROVE = """
D  stctrl info friend-last-token --name C --token C.token
D  stverify verify-token --token C.token
"""

CLOSE = """
C  stctrl config close-currency --name D --currency FST
D  stctrl seller create-invoice --currency FST --amount 10 --invoice closed.invoice
B  cp ../D/closed.invoice .
B  refused: not paid: stctrl buyer pay-invoice --invoice closed.invoice --payment a.payment --commit a.commit
D  stctrl seller cancel-invoice --invoice closed.invoice
C  stctrl config open-currency --name D --currency FST
B  stctrl config disable-friend --name C
B  until C disabled
B  stctrl config enable-friend --name C
B  until C online
C  until D online
"""

# D loses the last days: its disk is replaced by an older copy.
LOSE = """
D  stop
D  cp node/node.db node/lost.db
D  cp node/old.db node/node.db
D  start
D  stctrl config open-currency --name C --currency EUR
C  until D disagrees
D  until C disagrees
D  stctrl config reset-friend --name C
D  until C owes 200 FST
C  until D owes -200 FST
C  until D online
"""

# B moves to the other relay, and the one it was at goes out of service.
MOVE = """
B  stctrl config add-relay --relay ../relay-2/relay/relay.relay --name relay-2
B  stctrl config remove-relay --name relay-1
C  until B at relay-2
relay-1  stop
C  until B online
B  until C online
"""

PAY_AGAIN = """
D  stctrl seller create-invoice --currency FST --amount 50 --invoice tyre.invoice
B  cp ../D/tyre.invoice .
B  patiently stctrl buyer pay-invoice --invoice tyre.invoice --payment tyre.payment --commit tyre.commit
D  cp ../B/tyre.commit .
D  stctrl seller commit-invoice --invoice tyre.invoice --commit tyre.commit
B  stctrl buyer payment-status --payment tyre.payment --receipt tyre.receipt
B  stverify verify-receipt --invoice tyre.invoice --receipt tyre.receipt
B  until C owes -253 FST
C  until B owes 253 FST
C  until D owes -250 FST
D  until C owes 250 FST
"""

COPY = """
D  stop
D  cp node/node.db node/old.db
D  start
C  until D online
"""

CHAPTERS = {
    "configure": CONFIGURE,
    "copy": COPY,
    "pay": PAY,
    "prove": PROVE,
    "close": CLOSE,
    "lose": LOSE,
    "move": MOVE,
    "pay again": PAY_AGAIN,
}


class Tutorial:
    """The machines, and what was typed at them."""

    def __init__(self, place: Path, *, kills: bool) -> None:
        self.terminals = {
            name: Terminal(place / name, variables)
            for name, variables in {
                **{f"relay-{n}": _ports("RELAY", "RELAY_PORT") for n in (1, 2)},
                **{
                    f"index-{n}": _ports("INDEX", "INDEX_PORT_CLIENT", "INDEX_PORT_SERVER")
                    for n in (1, 2)
                },
                **{name: _ports("NODE", "NODE_PORT") for name in "BCD"},
            }.items()
        }
        self._kills = kills
        self._victims = cycle("CDB")
        self._killed = 0
        self._said: list[str] = []

    # --- the chapters of the documentation ------------------------------------------------------

    def set_up(self) -> None:
        """Everybody follows their chapter of the documentation, at the same time."""
        with ThreadPoolExecutor(3) as people:
            for done in [people.submit(self._relay, n) for n in (1, 2)]:
                done.result()
            for done in [people.submit(self.terminals[f"index-{n}"].type, INDEX) for n in (1, 2)]:
                done.result()
            for done in [people.submit(self._index, n) for n in (1, 2)]:
                done.result()
            for done in [people.submit(self.terminals[name].type, NODE) for name in "BCD"]:
                done.result()

    def _relay(self, number: int) -> None:
        self.terminals[f"relay-{number}"].type(RELAY)

    def _index(self, number: int) -> None:
        other, mine = self.terminals[f"index-{3 - number}"], self.terminals[f"index-{number}"]
        mine.type(f"cp ../{other.place.name}/index/index_server.index other_index1.index")
        mine.type(INDEX_STARTS)

    # --- what is typed later --------------------------------------------------------------------

    def follow(self, chapter: str) -> None:
        for line in chapter.strip().splitlines():
            if line and line[0] != "#":
                who, _, what = line.partition("  ")
                self._said.append(line)
                self._do(who, what)

    def _do(self, who: str, what: str) -> None:
        verb, _, rest = what.partition(" ")
        match verb:
            case "until":
                self._until(who, *rest.split(" ", 1))
                return
            case "stop":
                self._program(who).stop()
                return
            case "start":
                self._program(who).start()
            case "patiently":
                self._pay_patiently(who, rest)
            case "refused:":
                why, _, command = rest.partition(": ")
                ended = self._enter(who, command)
                assert (ended.code, why in ended.err) == (1, True), (ended, self._said)
            case _:
                ended = self._enter(who, what)
                assert ended.succeeded, (ended, self._said)
        if verb != "cp":
            self._kill_somebody()

    def _program(self, who: str) -> Running:
        (found,) = self.terminals[who].running.values()
        return found

    def _enter(self, who: str, command: str) -> Ended:
        full = command.replace(
            "stctrl ", "stctrl --idfile app/app.ident --ticket node/node.ticket ", 1
        )
        return self.terminals[who].enter(full)

    def _kill_somebody(self) -> None:
        if self._kills:
            node = self._program(next(self._victims))
            node.kill()
            node.start()
            self._killed += 1

    def _pay_patiently(self, who: str, command: str) -> None:
        """A node that was just started may not have found its friends and servers again."""
        attempts: list[Ended] = []

        def is_paid() -> bool:
            attempts.append(self._enter(who, command))
            assert attempts[-1].succeeded or "not paid" in attempts[-1].err, attempts[-1]
            return attempts[-1].succeeded

        until(is_paid, PATIENCE_S, lambda: (attempts, self.states()))
        fee = {"repair": 2, "tyre": 1}[re.findall(r"(\w+)\.invoice", command)[0]]
        assert f"Total fees: {fee}\n" in attempts[-1].out

    # --- facts ----------------------------------------------------------------------------------

    def friend(self, who: str, name: str) -> dict:
        ended = self._enter(who, "stctrl info friends --json")
        assert ended.succeeded, ended
        (found,) = [one for one in json.loads(ended.out)["friends"] if one["name"] == name]
        return found

    def states(self) -> dict[str, str]:
        return {name: self._enter(name, "stctrl info friends").out for name in "BCD"}

    def _until(self, who: str, name: str, fact: str) -> None:
        if fact.startswith("at "):
            ticket = load_ticket(self.terminals[fact[3:]].place / "relay" / "relay.relay")
            fact = f"at {ticket.public_key.to_text()}"
        until(
            lambda: is_so(fact, self.friend(who, name)), PATIENCE_S, lambda: (fact, self.states())
        )

    def check_the_end(self) -> None:
        """Nothing is left over, and no program fell over."""
        for name in "BCD":
            assert json.loads(self._enter(name, "stctrl info invoices --json").out) == {
                "invoices": []
            }
            assert json.loads(self._enter(name, "stctrl info payments --json").out) == {
                "payments": []
            }
        for terminal in self.terminals.values():
            for one in terminal.running.values():
                assert "Traceback" not in one.errors.read_text()


def is_so(fact: str, friend: dict) -> bool:
    """Whether what `stctrl info friends` says of a friend is this."""
    match fact.split():
        case ["online"]:
            return bool(friend["online"])
        case ["disabled"]:
            return not friend["enabled"] and not friend["online"]
        case ["disagrees"]:
            return not friend["consistent"] and friend["remote_reset_terms"] is not None
        case ["at", relay]:
            return [one["public_key"] for one in friend["relays"]] == [relay]
        case ["owes", amount, currency]:
            found = {one["currency"]: one for one in friend["currencies"]}.get(currency)
            return (
                friend["online"]
                and found is not None
                and found["balance"] == amount
                and (found["local_pending_debt"], found["remote_pending_debt"]) == ("0", "0")
            )
        case _:
            raise AssertionError(fact)


def _ports(kind: str, *names: str) -> dict[str, str]:
    return {f"{kind}_ADDRESS": "localhost", **{name: free_port() for name in names}}


@contextmanager
def tutorial(place: Path, *, kills: bool) -> Iterator[Tutorial]:
    found = Tutorial(place, kills=kills)
    try:
        found.set_up()
        yield found
    finally:
        for terminal in found.terminals.values():
            terminal.close()


def follow(place: Path, *, kills: bool) -> None:
    started = time.monotonic()
    with tutorial(place, kills=kills) as found:
        print(f"set up after {time.monotonic() - started:.0f} s")
        for name, chapter in CHAPTERS.items():
            found.follow(chapter)
            print(f"{name}: until {time.monotonic() - started:.0f} s")
        found.check_the_end()
        assert (found._killed > 0) == kills


@covers(
    *("NOD-01", "NOD-07", "NOD-08", "NOD-09", "NOD-12", "NOD-14", "NOD-18", "NOD-19", "NOD-22"),
    *("RLY-01", "RLY-05", "CTL-07", "CTL-11", "CTL-23", "CTL-26", "CTL-29", "CTL-33"),
)
def test_the_tutorial_command_for_command(tmp_path: Path) -> None:
    follow(tmp_path, kills=False)


@covers("NOD-02")
@pytest.mark.slow
def test_the_tutorial_with_a_node_killed_after_every_command(tmp_path: Path) -> None:
    follow(tmp_path, kills=True)
