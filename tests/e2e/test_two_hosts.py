"""Two hosts that know nothing of each other: one runs `offset serve`, the other joins with the printed text.

Where the system lets us (Linux, root) the hosts are network namespaces joined by a cable; the addresses of
one cannot be reached from the other but through it. Elsewhere they are two loopback addresses.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.covers import covers
from tests.e2e.terminals import Terminal, free_port, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="stops by POSIX signals")

PATIENCE_S = 60


@dataclass
class Host:
    """One host: its address, and the words that run a program there."""

    address: str
    prefix: tuple[str, ...] = ()


def ip(*argv: str) -> bool:
    done = subprocess.run(["ip", *argv], capture_output=True, check=False, timeout=30)
    return done.returncode == 0


@contextmanager
def joined_namespaces() -> Iterator[tuple[Host, Host] | None]:
    """Two namespaces and a cable between them, or None where that is not allowed."""
    names = [f"offset-{os.getpid()}-{one}" for one in "ab"]
    ends = [f"of{os.getpid() % 100_000}{one}" for one in "ab"]
    hosts = [
        Host(f"10.199.7.{n}", ("ip", "netns", "exec", name)) for n, name in enumerate(names, 1)
    ]

    def set_up() -> bool:
        if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
            return False
        made = all(ip("netns", "add", name) for name in names)
        made = made and ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for name, end, host in zip(names, ends, hosts, strict=True):
            made = made and ip("link", "set", end, "netns", name)
            made = made and ip("-n", name, "addr", "add", f"{host.address}/24", "dev", end)
            made = made and ip("-n", name, "link", "set", end, "up")
            made = made and ip("-n", name, "link", "set", "lo", "up")
            made = made and ip("netns", "exec", name, "true")
        return made

    try:
        yield (hosts[0], hosts[1]) if set_up() else None
    finally:
        for name in names:
            ip("netns", "delete", name)
        ip("link", "delete", ends[0])


@pytest.fixture(params=["namespaces", "loopback"])
def hosts(request: pytest.FixtureRequest) -> Iterator[tuple[Host, Host]]:
    """Both ways wherever possible: the second one is all that some systems have."""
    if request.param == "loopback":
        yield Host("127.0.0.2"), Host("127.0.0.3")
        return
    with joined_namespaces() as found:
        if found is None:
            pytest.skip("network namespaces need Linux, root and the program ip")
        yield found


@dataclass
class Card:
    """A card somewhere, controlled through its socket file by the user who runs it."""

    terminal: Terminal
    socket: str

    def do(self, command: str) -> str:
        ended = self.terminal.enter(f"stctrl --socket {self.socket} {command}")
        assert ended.succeeded, ended
        return ended.out

    def friend(self) -> dict:
        (found,) = json.loads(self.do("info friends --json"))["friends"]
        return found

    def owes(self, amount: int) -> bool:
        friend = self.friend()
        balances = [(one["currency"], one["balance"]) for one in friend["currencies"]]
        pending = {one["local_pending_debt"] for one in friend["currencies"]}
        return bool(friend["online"]) and balances == [("FST", str(amount))] and pending == {"0"}

    def wait_for(self, amount: int) -> None:
        until(lambda: self.owes(amount), PATIENCE_S, lambda: self.do("info friends"))


def pay(buyer: Card, seller: Card, name: str, amount: int) -> None:
    """An invoice, a commit and a receipt, each carried over as a file."""
    there, here = seller.terminal, buyer.terminal
    seller.do(f"seller create-invoice -c FST -a {amount} -i {name}.invoice")
    here.type(f"cp {there.place}/{name}.invoice .")
    files = f"-i {name}.invoice -p {name}.payment -c {name}.commit"
    assert "Total fees: 0\n" in buyer.do(f"buyer pay-invoice {files}")
    there.type(f"cp {here.place}/{name}.commit .")
    seller.do(f"seller commit-invoice -i {name}.invoice -c {name}.commit")
    buyer.do(f"buyer payment-status -p {name}.payment -r {name}.receipt")
    here.type(f"stverify verify-receipt -i {name}.invoice -r {name}.receipt")


def paste(terminal: Terminal, name: str, text: str) -> None:
    """What arrives in a chat: quoted, and with words around it."""
    (terminal.place / name).write_text(f"> Alice, 14:03: here it is:\n> {text.strip()}\n")


def host_card(terminal: Terminal, host: Host, port: str) -> tuple[Card, str]:
    """`offset serve --node`, and the text it printed for others."""
    address = f"--address {host.address}:{port} --listen {host.address}:{port}"
    terminal.type(f"offset serve --json --node --log-file serve.log {address} village &")
    printed = json.loads(terminal.running["offset"].first_line)
    return Card(terminal, printed["socket"]), printed["text"]


def guest_card(terminal: Terminal) -> Card:
    """A node of its own, made in one step."""
    port = free_port()
    terminal.type(f"offset init node card --address localhost:{port}")
    terminal.type(
        "stnode --idfile card/node.ident --database card/node.db --trusted card/trusted "
        f"--laddr localhost:{port} --log-file node.log &"
    )
    return Card(terminal, "card/node.db.sock")


@covers("RLY-01", "RLY-05", "NOD-24")
def test_two_strangers_become_friends_by_three_texts_and_pay_each_other(
    tmp_path: Path, hosts: tuple[Host, Host]
) -> None:
    with ExitStack() as stack:
        terminals = [
            stack.enter_context(contextlib.closing(Terminal(tmp_path / name, None, host.prefix)))
            for name, host in zip(("alice", "bob"), hosts, strict=True)
        ]
        alice, servers = host_card(terminals[0], hosts[0], free_port())
        bob = guest_card(terminals[1])

        paste(bob.terminal, "servers.txt", servers)
        bob.do("introduce servers --servers servers.txt --name alices")

        invite = alice.do("introduce invite -c FST -m 90001 --own-name Alice -o bob.invite")
        paste(bob.terminal, "invite.txt", invite)
        answer = bob.do("introduce accept -i invite.txt -n Alice -m 80001 --own-name Bob")
        paste(alice.terminal, "answer.txt", answer)
        alice.do("introduce finish -i bob.invite -a answer.txt -n Bob")

        for card in (alice, bob):
            card.wait_for(0)
        pay(bob, alice, "bread", 7013)
        pay(alice, bob, "soup", 3009)
        alice.wait_for(4004)
        bob.wait_for(-4004)
        for terminal in terminals:
            for one in terminal.running.values():
                one.stop()
                assert "Traceback" not in one.errors.read_text()
        said = terminals[0].running["offset"].errors.read_text()
        is_other_host = bool(hosts[1].prefix)
        assert (f"for the first time: the relay, by {hosts[1].address}" in said) == is_other_host
        check_log(terminals[0].place / "serve.log", "friend 'Bob'")
        check_log(terminals[1].place / "node.log", "friend 'Alice'")


def check_log(path: Path, friend: str) -> None:
    """A log tells an operator what happened, and neither secrets nor whole keys."""
    text = path.read_text()
    for line in (
        f"{friend} PublicKey(",
        "is online",
        "relay PublicKey(",
        "index server PublicKey(",
    ):
        assert line in text, text
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.findall(r"[A-Za-z0-9_-]{40,}", text) == []
    assert re.findall(r"\b(?:7013|3009|4004|90001|80001)\b", text) == []
