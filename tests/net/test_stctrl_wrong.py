"""Wrong input to `stctrl` with a node that runs, and with none: nothing changes, here or there.

One node serves all cases: each command is run with one file, name or output that is wrong, and afterwards
the files and the node are as they were.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from offset_engine.client import CommandRefusedError, HistoryKind
from offset_engine.errors import OffsetError
from offset_engine.programs import stctrl
from offset_engine.village import CENT, OUSD, Friendship
from tests.covers import covers
from tests.net.test_stctrl import BobInVillage, bob_in_village
from tests.unit.test_wrong_input import KINDS, wrong_files

PAIR = (Friendship("Bob", "Charli", OUSD, 100_00, 100_00, CENT, CENT),)
FRIEND = {"publicKey": KINDS["ticket"]["publicKey"], "relays": [KINDS["ticket"]]}
PAYMENT = {"paymentId": "AAAAAAAAAAAAAAAAAAAAAA"}
FILES: dict[str, dict[str, Any]] = {**KINDS, "friend": FRIEND, "payment": PAYMENT}

# <kind is a file to read, >name one to write, !name a friend, a relay or an index server there is none of.
COMMANDS = (
    "info friend -n !f",
    "info friend-last-token -n Charli -t >o",
    "info friend-last-token -n !f -t o",
    "info export-ticket -t >o",
    "config add-relay -r <ticket -n new",
    "config remove-relay -n !r",
    "config add-index -i <ticket -n new",
    "config remove-index -n !i",
    "config add-friend -f <friend -n new",
    "config set-friend-relays -f <friend -n Charli",
    "config remove-friend -n !f",
    "config rename-friend -n !f --to x",
    "config enable-friend -n !f",
    "config disable-friend -n !f",
    "config open-currency -n !f -c OUSD",
    "config close-currency -n !f -c OUSD",
    "config set-currency-max-debt -n !f -c OUSD -m 5",
    "config set-currency-rate -n !f -c OUSD -m 5 -a 5",
    "config remove-currency -n !f -c OUSD",
    "config reset-friend -n !f",
    "buyer pay-invoice -i <invoice -p >p -c >c",
    "buyer payment-status -p <payment -r >r",
    "buyer get-commit -p <payment -c >c",
    "buyer cancel-payment -p <payment",
    "seller create-invoice -c OUSD -a 5 -i >o",
    "seller cancel-invoice -i <invoice",
    "seller commit-invoice -i <invoice -c <commit",
)
WRONG_LINES = (
    "config open-currency -n x -c seventeen-letters",
    "config close-currency -n x -c",
    "config set-currency-max-debt -n x -c OUSD -m 1e3",
    "config set-currency-rate -n x -c OUSD -m 1e3 -a 1",
    "config set-currency-rate -n x -c OUSD -m 1 -a 4294967296",
    "config add-friend -f f -n x --limit 1e3 --currency OUSD",
    "config add-relay -r r",
    "config rename-friend -n x",
    "config no-such-command",
    "info history --kind none",
    "info history --limit 1e3",
    "buyer pay-invoice -i i -p p -c c --max-fee 1e3",
    "buyer payment-status -p p",
    "seller create-invoice -c seventeen-letters -a 1 -i i",
    "seller create-invoice -c OUSD -a 1e3 -i i",
    "seller commit-invoice -i i",
)


@dataclass
class World:
    place: Path
    bob: BobInVillage

    def content(self) -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(self.place.rglob("*")) if p.is_file()}

    async def look(self) -> tuple[object, ...]:
        """What may not change; who is connected just now may."""
        client = self.bob.village.people["Bob"].client
        report = await client.report()
        fixed = (report.relays, report.index_servers, report.open_invoices, report.open_payments)
        friends = [(one.name, one.remote_relays, one.currencies) for one in report.friends]
        return *fixed, friends, await client.history(HistoryKind.INVOICES)

    async def refused(self, flags: list[str]) -> str:
        """Run it; the one sentence it ends with."""
        before, there = self.content(), await self.look()
        with pytest.raises(OffsetError) as caught:
            await self.bob.run(*flags)
        assert not isinstance(caught.value, CommandRefusedError), "in words for people"
        assert self.content() == before, flags
        assert await self.look() == there, flags
        sentence = str(caught.value)
        assert sentence
        assert "\n" not in sentence, flags
        return sentence


def flags_of(place: Path, line: str) -> list[str]:
    flags = line.split()
    for number, flag in enumerate(flags):
        if flag[0] in "<>":
            flags[number] = str(place / flag[1:])
    return flags


def write_files(place: Path) -> None:
    for kind, values in FILES.items():
        (place / kind).write_text(json.dumps(values))
    (place / "trusted").mkdir()


def wrong_reads(flags: list[str], line: str, place: Path) -> Iterator[tuple[list[str], str, str]]:
    for number, word in enumerate(line.split()):
        if word[0] != "<":
            continue
        kind = word[1:]
        if kind in KINDS:
            cases = list(wrong_files(kind, place))
        else:
            path = place / "wrong kind"
            path.write_text(json.dumps(KINDS["commit"]))
            cases = [(str(place / "missing"), "cannot read"), (str(path), "commit")]
        for path_, why in cases:
            yield [*flags[:number], path_, *flags[number + 1 :]], why, path_


@covers("CTL-02", "CTL-14", "CTL-16", "CTL-27", "CTL-33", "CTL-36", "FIX-06", "FIX-07", "FIX-36")
@pytest.mark.anyio
async def test_whatever_is_wrong_is_said_and_nothing_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    place = tmp_path / "place"
    place.mkdir()
    bad = tmp_path / "bad"
    bad.mkdir()
    write_files(place)
    write_files(bad)
    async with bob_in_village(PAIR) as bob:
        own = {**KINDS["invoice"], "destPublicKey": bob.village.people["Bob"].key.to_text()}
        (place / "invoice").write_text(json.dumps(own))
        world = World(place, bob)
        for line in COMMANDS:
            flags = flags_of(place, line)
            for wrong, why, path in wrong_reads(flags, line, bad):
                sentence = await world.refused(wrong)
                assert why in sentence, (wrong, sentence)
                assert not Path(path).name or "\0" in path or Path(path).name in sentence, sentence
            for number, word in enumerate(line.split()):
                if word[0] == "!":
                    assert '"!' in await world.refused(flags)
                elif word[0] == ">":
                    for output in ("ticket", "trusted", "ticket/beside", "no/where", "n" * 300):
                        outputs = [*flags[:number], str(place / output), *flags[number + 1 :]]
                        assert await world.refused(outputs)
        assert capsys.readouterr().out == ""


@covers("CTL-11", "CTL-15", "CTL-16", "CTL-33", "CTL-32")
@pytest.mark.anyio
async def test_files_that_are_right_but_of_somebody_else_are_refused(tmp_path: Path):
    write_files(tmp_path)
    place = str(tmp_path)
    async with bob_in_village(PAIR) as bob:
        world = World(tmp_path, bob)
        for flags, why in (
            ("config set-friend-relays -f {}/friend -n Charli", "keys differ"),
            ("seller cancel-invoice -i {}/invoice", "another node's"),
            ("seller commit-invoice -i {}/invoice -c {}/commit", "another node's"),
            ("buyer get-commit -p {}/payment -c {}/c", "no such payment"),
            ("buyer cancel-payment -p {}/payment", "no such payment"),
            ("config reset-friend -n Charli", "both sides agree"),
            ("config remove-currency -n Charli -c OTHER", "not in use"),
        ):
            assert why in await world.refused(flags.replace("{}", place).split())
        no_port = tmp_path / "no port"
        no_port.write_text(json.dumps({**KINDS["ticket"], "address": "example.org"}))
        for flags in ("config add-relay -n x -r", "config add-index -n x -i"):
            assert "cannot be used" in await world.refused([*flags.split(), str(no_port)])
        relayed = tmp_path / "no port friend"
        relayed.write_text(json.dumps({**FRIEND, "relays": [json.loads(no_port.read_text())]}))
        add = ["config", "add-friend", "-n", "x", "-f", str(relayed)]
        assert "cannot be used" in await world.refused(add)


@covers("CTL-36", "FIX-07")
@pytest.mark.parametrize("line", WRONG_LINES)
def test_a_command_line_that_is_wrong_ends_with_2(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        stctrl.main(["-S", str(tmp_path / "no.sock"), *line.split()])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith("usage:"), err.count(": error: ")) == ("", True, 1)


@covers("CTL-36", "FIX-07")
@pytest.mark.parametrize("by_socket", [True, False])
def test_without_a_node_every_command_says_so(
    by_socket: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path)
    ticket = tmp_path / "node.ticket"
    ticket.write_text(json.dumps({**KINDS["ticket"], "address": "127.0.0.1:1"}))
    before = sorted(tmp_path.iterdir())
    where = ["-S", "no.sock"] if by_socket else ["-I", str(tmp_path / "ident"), "-T", str(ticket)]
    for line in COMMANDS:
        assert stctrl.main([*where, *flags_of(tmp_path, line)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("stctrl: cannot connect to the node at "), err
        assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
