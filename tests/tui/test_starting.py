"""What the app does by itself when it starts: the other cards, and what the command line named."""

from pathlib import Path

import pytest

from offset_engine import files
from offset_engine.errors import FileError, OffsetError
from offset_tui import cli
from offset_tui.dialogs.pick import Pick
from offset_tui.doors import AppOptions, CardInfo, CardKind, CardPlace, OpenCard
from offset_tui.main import given_in
from offset_tui.screens.accept import AcceptInviteScreen
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.screens.setup import SetupScreen
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui.card_scenes import INVITE, RCARD, StoreDoor, with_cards
from tests.tui.scenes import key
from tests.tui.screens import picture, running, settled, until

pytestmark = pytest.mark.anyio


def local(name: str, place: CardPlace = CardPlace.OFF, **changes) -> CardInfo:
    return CardInfo(name, key(name), CardKind.LOCAL, place, **changes)


class Starting(StoreDoor):
    """Begins with Eve's card whatever others there are; one of them may not open."""

    broken = ""

    @property
    def first(self) -> str | None:
        return "Eve"

    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        if name == self.broken:
            raise OffsetError("its address is in use")
        return await StoreDoor.open(self, name, passphrase)


def several() -> Starting:
    door = Starting(client=with_cards().client)
    door.infos = {
        "Eve": local("Eve"),
        "Club": local("Club"),
        "Work": local("Work"),
        "Locked": local("Locked", is_locked=True),
        "Old": local("Old", is_enabled=False),
        "Night": local("Night", CardPlace.BACKGROUND),
        "Torn": local("Torn", problem="node.db is damaged"),
        "Office": CardInfo("Office", key("Office"), CardKind.REMOTE, CardPlace.OFF),
    }
    return door


@covers("CMP-06")
async def test_every_enabled_card_that_needs_nobody_is_opened_and_one_is_shown() -> None:
    door = several()
    async with running(door) as (app, pilot):
        await until(pilot, lambda: {"open Club", "open Work"} <= set(door.done))
        await settled(app, pilot)
        assert app.session.name == "Eve"
        opened = {one.removeprefix("open ") for one in door.done if one.startswith("open ")}
        assert opened == {"Eve", "Club", "Work"}
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await settled(app, pilot)
        assert "Club, Work go offline with the app." in picture(app)


@covers("CMP-06")
async def test_one_that_does_not_open_hinders_no_other_and_is_said() -> None:
    door = several()
    door.broken = "Club"
    async with running(door) as (app, pilot):
        await until(pilot, lambda: "open Work" in door.done)
        await until(pilot, lambda: "Club is not online: its address is in use" in picture(app))


async def test_a_card_that_is_not_shown_and_stops_is_said_and_nothing_else() -> None:
    async with running(several()) as (app, pilot):
        app.card_died("Work", "the disk is gone")
        await until(pilot, lambda: "Work has stopped: the disk is gone" in picture(app))
        assert len(app.screen_stack) == 1


async def test_only_looking_opens_no_other_card() -> None:
    door = several()
    async with running(door, options=AppOptions(is_read_only=True)) as (app, pilot):
        await settled(app, pilot)
        assert [one for one in door.done if one.startswith("open ")] == ["open Eve"]


# --- what the command line named ----------------------------------------------------------------


@covers("MOB-44")
@pytest.mark.parametrize("name", ["sale.invoice", "something"])
async def test_a_file_of_the_command_line_is_reviewed_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(files.to_json(money.invoice()))
    options = AppOptions(given=given_in(str(tmp_path / name)))
    async with running(with_cards(), options=options) as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, PayReviewScreen))
        assert app.door.client.asked == []


@covers("MOB-44")
async def test_an_invite_of_the_command_line_begins_the_first_run_and_is_reviewed_then() -> None:
    options = AppOptions(given=given_in(files.to_text(INVITE)))
    async with running(StoreDoor(), options=options) as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await until(pilot, lambda: app.screen.page == "name")
        assert "an invite of Alice" in picture(app)
        await pilot.press(*"Bob", "enter")
        await until(pilot, lambda: isinstance(app.screen, AcceptInviteScreen))


@covers("MOB-44", "MOB-25")
async def test_the_key_of_a_card_elsewhere_opens_the_form_for_it() -> None:
    options = AppOptions(given=(files.read_any(files.to_json(RCARD))[0],))
    async with running(with_cards(), options=options) as (app, pilot):
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await until(pilot, lambda: app.screen.page == "remote")


@pytest.mark.parametrize(
    ("argv", "is_app"),
    [
        ([], True),
        (["./sale.invoice"], True),
        (["--ascii", "sale.invoice"], True),
        (["sale.invoice", "--card", "Eve"], True),
        (["~/sale"], True),
        (["offset1:invoice:abc"], True),
        (["status"], False),
        (["inspect", "sale.invoice"], False),
        (["--help"], False),
        (["-h"], False),
    ],
)
def test_what_is_a_file_and_what_a_command(argv: list[str], is_app: bool) -> None:
    assert cli.is_app(argv) is is_app


def test_what_cannot_be_opened_is_said_before_anything_is_painted(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("good morning")
    for word, said in ((str(tmp_path / "x.txt"), "x.txt: "), (str(tmp_path / "no"), "cannot read")):
        with pytest.raises(FileError, match=said):
            given_in(word)
    assert given_in(None) == ()
