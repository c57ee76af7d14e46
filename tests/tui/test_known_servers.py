"""The list of servers on this computer: read, chosen from, shown, and used where something is lacking."""

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from offset_engine.client import AddIndexServer, AddRelay, Batch, NodeReport, RelayAddress
from offset_engine.errors import FileError
from offset_engine.files import Role, Servers, Ticket, to_text
from offset_tui import __main__ as offset
from offset_tui import known_servers
from offset_tui.dialogs.base import Confirm
from offset_tui.doors import CardInfo, CardKind, CardPlace
from offset_tui.screens.connect import ConnectScreen
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui.card_scenes import LivelyClient, StoreDoor, fresh_report
from tests.tui.people_pilot import armed
from tests.tui.scenes import key, server, village_report
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio


def place(name: str) -> RelayAddress:
    return RelayAddress(key(name), f"{name}.example.org:3000")


LISTED = (
    Servers(place("club"), place("club")),
    Servers(place("north"), place("south")),
    Ticket(key("only"), "only.example.org:3000", Role.RELAY),
)


def counting():
    """Lots in the order they are drawn."""
    numbers = itertools.count()
    return lambda size: next(numbers).to_bytes(size, "big")


def took(report: NodeReport) -> list[tuple[str, bool, bool]]:
    found = known_servers.chosen(LISTED, report, counting())
    return [(one.address.partition(".")[0], relay, index) for one, relay, index in found]


@dataclass(slots=True)
class ListingDoor(StoreDoor):
    """A computer with a list."""

    async def known_servers(self):
        return LISTED


def door(report: NodeReport) -> ListingDoor:
    made = ListingDoor(client=LivelyClient(shown=report))
    made.infos["Eve"] = CardInfo("Eve", key("Eve"), CardKind.LOCAL, CardPlace.OFF)
    return made


# --- choosing -----------------------------------------------------------------------------------


@covers("MOB-28")
def test_a_new_card_gets_two_relays_and_two_index_servers() -> None:
    assert took(fresh_report()) == [
        ("club", True, True),
        ("north", True, False),
        ("south", False, True),
    ]


@covers("MOB-28")
def test_a_card_gets_only_what_it_lacks_and_nothing_twice() -> None:
    one_each = replace(village_report(), relays=(server("club"),))
    assert took(one_each) == [("north", True, False), ("club", False, True)]
    enough = (server("a"), server("b"))
    assert took(replace(one_each, relays=enough, index_servers=enough)) == []


def test_which_ones_is_left_to_chance() -> None:
    numbers = itertools.count()

    def last_first(size: int) -> bytes:
        return (255 - next(numbers)).to_bytes(size, "big")

    first = known_servers.chosen(LISTED, fresh_report(), last_first)[0]
    assert first[0] == place("only")


# --- the file -----------------------------------------------------------------------------------


def test_the_list_is_texts_with_notes_between_them(tmp_path: Path) -> None:
    file = tmp_path / "servers.txt"
    assert known_servers.load(file) == ()
    file.write_text("# nothing yet\n\n")
    assert known_servers.load(file) == ()
    texts = "\n".join(f"# number {at}\n{to_text(one)}" for at, one in enumerate(LISTED[:2]))
    file.write_text(f"# the club's\n{texts}\n")
    assert known_servers.load(file) == LISTED[:2]


@pytest.mark.parametrize("what", ["good morning", to_text(money.invoice())])
def test_a_list_with_something_else_in_it_is_named(what: str, tmp_path: Path) -> None:
    file = tmp_path / "servers.txt"
    file.write_text(f"{to_text(LISTED[0])}\n" * (what.startswith("offset1")) + what)
    with pytest.raises(FileError, match=r"servers\.txt: "):
        known_servers.load(file)


def test_info_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert offset.main(["info", "--json"]) == 0
    paths = json.loads(capsys.readouterr().out)["paths"]
    assert paths["server_list"] == str(known_servers.path())


# --- on screen ----------------------------------------------------------------------------------


@covers("MOB-28", "MOB-42")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_servers_of_the_list_are_added_after_a_look(size: tuple[int, int]) -> None:
    scene = door(fresh_report("Eve"))
    async with running(scene, size) as (app, pilot):
        app.action_section("network")
        await settled(app, pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await settled(app, pilot)
        check_golden(app, "network-auto")
        assert scene.client.asked == []
        await armed(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: bool(scene.client.asked))
        batch = scene.client.asked[0]
        assert isinstance(batch, Batch)
        kinds = [type(one) for one in batch.commands]
        assert (kinds.count(AddRelay), kinds.count(AddIndexServer)) == (2, 2)
        await until(pilot, lambda: "club.example.org" in picture(app))
        await pilot.press("a")
        await until(pilot, lambda: "needs nothing of this computer's list" in picture(app))


@covers("MOB-28")
async def test_the_first_run_offers_the_list_first() -> None:
    scene = door(fresh_report("Eve"))
    async with running(scene) as (app, pilot):
        app.push_screen(ConnectScreen())
        await until(pilot, lambda: "Use servers of this computer's list" in picture(app))
        await settled(app, pilot)
        check_golden(app, "connect-list")
        await pilot.press("down")
        await settled(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: getattr(app.screen, "page", "") == "share")


async def test_without_a_list_it_is_said_where_it_would_be() -> None:
    scene = door(fresh_report("Eve"))
    async with running(StoreDoor(client=scene.client, infos=scene.infos)) as (app, pilot):
        app.action_section("network")
        await settled(app, pilot)
        await pilot.press("a")
        await until(pilot, lambda: "has no list of servers" in picture(app))
