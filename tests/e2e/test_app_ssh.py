"""A card on a computer one reaches with ssh: pay, lose the link, come back. With a real sshd, on loopback only."""

import getpass
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import people_at_terminals as people
from tests.e2e.people_at_terminals import Owner
from tests.e2e.terminals import free_port
from tests.e2e.tmux_screen import (
    ROOT,
    Tmux,
    clean_environment,
    needs_tmux,
    processes_with,
    terminals,
    until,
)

pytestmark = needs_tmux

ATTACHED_S = 2.0
"""From the first paint until a card that runs already is shown, at most."""
SSHD = Path("/usr/sbin/sshd")
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {place}/host_key
AuthorizedKeysFile {place}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


class Sshd:
    """An sshd of our own, that lets one key do one thing."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.port = free_port()
        for name in ("host_key", "user_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name))
        config = place / "sshd_config"
        config.write_text(_CONFIG.format(port=self.port, place=place))
        # It must be started by its whole path, and in the foreground it ends with us.
        self._log = (place / "sshd.log").open("w")
        self._process = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", str(config)], stderr=self._log
        )

    def allow(self, command: list[str]) -> None:
        """Let the key run this instead of a shell, in the words of the documentation."""
        environment = {**clean_environment(self.place), "PYTHONPATH": str(ROOT)}
        given = [f"{k}={v}" for k, v in environment.items() if k not in ("TERM", "SHELL")]
        recipe = documented_recipe().replace(
            "~/.venv/bin/offset", " ".join(["env", *given, *command])
        )
        key = (self.place / "user_key.pub").read_text().strip()
        (self.place / "authorized_keys").write_text(
            recipe.replace("ssh-ed25519 AAAA...", key) + "\n"
        )

    def client(self) -> list[str]:
        """What is typed on the other computer."""
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": str(self.place / "known_hosts"),
            "IdentitiesOnly": "yes",
            "LogLevel": "ERROR",
        }
        return [
            *("ssh", "-F", "/dev/null", "-i", str(self.place / "user_key"), "-p", self.port),
            *(word for key, value in options.items() for word in ("-o", f"{key}={value}")),
            f"{getpass.getuser()}@127.0.0.1",
        ]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()


class FarOwner(Owner):
    """Somebody whose card is behind sshd."""

    sshd: Sshd

    def argv(self) -> list[str]:
        return self.sshd.client()

    def apps(self) -> list[int]:
        """Processes of the app itself, not those that run the card."""
        nodes = set(self.nodes())
        return [pid for pid in processes_with("offset_tui", str(self.store)) if pid not in nodes]


def documented_recipe() -> str:
    """The line for `authorized_keys` in README."""
    lines = re.findall(r'^restrict,pty,command=".*$', (ROOT / "README.md").read_text(), re.M)
    assert len(lines) == 1
    return str(lines[0])


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, timeout=20)


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    with terminals() as opened:
        yield opened


@pytest.fixture
def sshd(tmux: Tmux) -> Iterator[Sshd]:
    if not SSHD.exists() or shutil.which("ssh") is None:
        pytest.skip("sshd is not installed (Debian: openssh-server)")
    if os.geteuid() == 0:
        # What the service's own start script makes.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    opened = Sshd(tmux.place)
    yield opened
    opened.close()


def test_a_payment_over_ssh_survives_the_link(tmux: Tmux, sshd: Sshd) -> None:
    dan, bob = Owner(tmux, "Dan"), FarOwner(tmux, "Bob")
    bob.sshd = sshd
    sshd.allow(Owner.argv(bob))
    try:
        dan.start()
        bob.start()
        people.use_servers(dan, people.serve(tmux))
        dan.pane.act("Enter")
        invite = people.fill_invite(dan, "Bob", "150")
        bob.pane.wait_for("Welcome to Offset")
        people.begin(bob, invite, "Somebody invites you")
        answer = people.accept(bob, "200")
        dan.pane.keys("q")
        dan.pane.wait_for("Invite a friend")
        people.finish(dan, answer, "Bob")
        bob.pane.wait_for("150.00 200.00")
        dan.pane.wait_for("200.00 150.00")
        assert len(bob.nodes()) == 1  # it was asked when the card was made

        invoice = people.sell(dan, "3.00")
        people.begin_to_pay(bob, invoice, "3.00", "offset1:commit:")
        os.kill(bob.pane.pid, signal.SIGKILL)
        until(lambda: not bob.apps(), "the end of Bob's app")

        assert bob.come_back() < ATTACHED_S
        bob.pane.wait_for("! hand over the commit for 3.00 OUSD")
        bob.pane.keys("C-g")
        bob.pane.wait_for("give the commit to the seller: y shows it")
        bob.pane.keys("y")
        people.collect(dan, bob.pane.artifact(), "3.00")
        people.is_paid(bob, "3.00", "3.00")
    finally:
        dan.end()
        bob.end()
