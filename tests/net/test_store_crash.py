"""A node's process is killed while it saves; the file holds the last acknowledged state or the next one.

The tests run this very file as a program: it saves one state after another and says so on its standard
output after each. Everything in a state follows from its number, so the parent can tell which one it finds.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from offset_engine.core.events import Touched
from offset_engine.core.friend import Friend, Queue, QueuedRequest
from offset_engine.core.mutual_credit import SentRequest
from offset_engine.core.reports import ForwardRecord
from offset_engine.core.state import NodeState, derive_outgoing_ids
from offset_engine.core.token_channel import Incoming, TokenChannel
from offset_engine.errors import StoreLockedError
from offset_engine.store import HistoryKind, SqliteStore
from tests.covers import covers
from tests.property.store_strategies import stored
from tests.unit.store_samples import ANA, BEN, LOCAL, USD, evidence, ledger, request

ROOT = Path(__file__).parents[2]
ROUNDS = 10

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9"),
]


# --- the states ---------------------------------------------------------------------------------


def state_at(number):
    """Two friends, and in both of them everything depends on the number."""
    friends = {key: _friend(key, number) for key in (ANA, BEN)}
    return NodeState(LOCAL, friends=friends, outgoing_ids=derive_outgoing_ids(friends.values()))


def _friend(key, number):
    label = f"{key.to_text()} {number}"
    entries = [SentRequest(request(f"{label} {n}", number + n, 1), None, n) for n in range(4)]
    channel = TokenChannel(
        LOCAL,
        key,
        Incoming(evidence(label)),
        {USD: ledger(number if key == ANA else -number, entries)},
        (USD,),
        (USD,),
        0,
        number,
    )
    own = [QueuedRequest(USD, request(f"{label} own {n}"), None) for n in range(number % 3)]
    return Friend(key, str(number), (), channel, own=Queue(own, number))


def number_of(state):
    return 0 if not state.friends else state.friends[ANA].channel.ledgers[USD].balance


TOUCHED = Touched((ANA, BEN), (), (), (), settings=False)


def save_next(store, number):
    old = state_at(number) if number else NodeState(LOCAL)
    store.save(old, state_at(number + 1), TOUCHED, (ForwardRecord(USD, ANA, BEN, number, 0, 0),))


# --- the program that is killed -----------------------------------------------------------------


class KilledAround:
    """A connection whose process dies just before or just after a statement begins or ends."""

    def __init__(self, connection, statement, when):
        self._connection, self._statement, self._when = connection, statement, when

    def execute(self, statement, *values):
        if statement == self._statement and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = self._connection.execute(statement, *values)
        if statement == self._statement and self._when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def __getattr__(self, name):
        return getattr(self._connection, name)


def main(path, statement="", when=""):
    store = SqliteStore.open(Path(path), LOCAL)
    number = number_of(store.load())
    if statement:
        store._connection = KilledAround(store._connection, statement, when)
    while True:
        save_next(store, number)
        number += 1
        os.write(1, b"%d\n" % number)


# --- the tests ----------------------------------------------------------------------------------


def start(path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.net.test_store_crash", str(path), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )


@pytest.fixture
def path(tmp_path):
    SqliteStore.create(tmp_path / "node.db", LOCAL).close()
    return tmp_path / "node.db"


def check_found(path, acknowledged):
    """The whole state and history are those of one number, the last acknowledged or its successor."""
    store = SqliteStore.open(path, LOCAL)
    found = store.load()
    number = number_of(found)
    assert number in (acknowledged, acknowledged + 1)
    assert stored(found) == stored(state_at(number) if number else NodeState(LOCAL))
    newest = store.history(HistoryKind.FORWARDS, limit=1)
    assert [entry.record.amount for entry in newest] == ([number - 1] if number else [])
    store.close()
    return number


@covers("NOD-02", "NOD-23")
def test_a_kill_at_any_moment_leaves_a_state_that_was_saved(path):
    chance = random.Random(1)
    number = 0
    for _ in range(ROUNDS):
        with start(path) as process:
            for _ in range(chance.randrange(1, 40)):
                line = process.stdout.readline()
            with pytest.raises(StoreLockedError, match=f"process {process.pid}"):
                SqliteStore.open(path, LOCAL)
            process.kill()
            lines = [line, *process.stdout.readlines()]
        # The last acknowledgement may have been cut off in the pipe, but never in its middle.
        number = check_found(path, int(lines[-1]))
    assert number >= ROUNDS


@pytest.mark.parametrize(
    ("statement", "when", "found"),
    [
        ("BEGIN IMMEDIATE", "before", 0),
        ("BEGIN IMMEDIATE", "after", 0),
        ("COMMIT", "before", 0),
        ("COMMIT", "after", 1),
    ],
)
def test_a_kill_around_the_commit_is_all_or_nothing(path, statement, when, found):
    with start(path, statement, when) as process:
        assert process.stdout.read() == b""
    assert process.returncode == -signal.SIGKILL
    assert check_found(path, acknowledged=0) == found
    # And life goes on from there.
    store = SqliteStore.open(path, LOCAL)
    save_next(store, found)
    store.close()
    assert check_found(path, acknowledged=found + 1) == found + 1


def test_a_kill_while_creating_leaves_nothing_that_looks_like_a_node(tmp_path):
    path = tmp_path / "node.db"
    code = (
        "import os, pathlib, signal, sys; from offset_engine.store import schema, SqliteStore;"
        "from tests.unit.store_samples import LOCAL;"
        "first = schema.MIGRATIONS[0];"
        "schema.MIGRATIONS = (lambda c: (first(c), os.kill(os.getpid(), signal.SIGKILL)),);"
        "SqliteStore.create(pathlib.Path(sys.argv[1]), LOCAL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    store = SqliteStore.create(path, LOCAL)
    assert stored(store.load()) == stored(NodeState(LOCAL))
    store.close()


def test_killed_processes_hold_no_lock(path):
    with start(path) as process:
        process.stdout.readline()
        process.kill()
    SqliteStore.open(path, LOCAL).close()


if __name__ == "__main__":
    main(*sys.argv[1:])
