"""Texts and files in and out by the dialogs every screen shares, leaving, and themes."""

from dataclasses import replace
from pathlib import Path

import pytest
from textual.color import Color

from offset_engine import files
from offset_engine.errors import FileError
from offset_engine.files import Content, Terms
from offset_engine.notebook import Notebook
from offset_tui import themes
from offset_tui.dialogs.importing import ImportDialog
from offset_tui.dialogs.pick import Decide, Pick
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import CardInfo, CardKind, CardPlace, OpenCard
from offset_tui.screens.commit import CommitScreen
from offset_tui.screens.pay_review import PayReviewScreen
from offset_tui.widgets.inputs import LineInput, PasteArea
from tests.covers import covers
from tests.tui import money_scenes as money
from tests.tui.card_scenes import LivelyClient, StoreDoor, with_cards
from tests.tui.people_pilot import armed
from tests.tui.scenes import OUSD, TOLD, FakeClient, friend, key, line, report
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio

SALE = money.invoice(seller="Eve")


@covers("MOB-11", "MOB-16")
@pytest.mark.parametrize("content", [SALE, money.commit(SALE)], ids=["invoice", "commit"])
async def test_what_is_shared_is_written_to_a_file_and_never_over_one(
    content: Content, tmp_path: Path
) -> None:
    path = tmp_path / "given"
    async with running() as (app, pilot):
        for said in ("written to", "already"):
            await app.push_screen(ShareScreen(content, "Give it"))
            await pilot.press("f")
            await until(pilot, lambda: bool(app.screen.query("#line")))
            app.screen.query_one("#line", LineInput).value = str(path)
            await pilot.press("enter")
            await until(pilot, lambda said=said: said in picture(app))
            await pilot.press("q")
            await settled(app, pilot)
    assert files.load_any(path)[0].content == content


@covers("MOB-03", "MOB-18", "MOB-44")
@pytest.mark.parametrize("name", ["sale.invoice", "no-extension"])
@pytest.mark.parametrize(
    ("content", "screen"),
    [(money.invoice(), PayReviewScreen), (money.commit(SALE), CommitScreen)],
    ids=["invoice", "commit"],
)
async def test_a_file_opens_the_screen_for_what_is_in_it(
    name: str, content: Content, screen: type, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(files.to_json(content))
    async with running(money.door(sales=(money.reserved(SALE),))) as (app, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        await pilot.press(*str(path))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, screen))
        assert app.door.client.asked == []


PICTURES = {
    "qr.png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "qr.jpg": b"\xff\xd8\xff\xe0" + bytes(70_000),
    "qr.webp": b"RIFF\x00\x00\x00\xffWEBPVP8 ",
    "qr.heic": b"\x00\x00\x00\xffftypheic",
}


@covers("MOB-02")
@pytest.mark.parametrize("name", PICTURES)
async def test_a_picture_of_a_code_is_refused_with_what_to_do_instead(
    name: str, tmp_path: Path
) -> None:
    """A terminal has no camera; the text in the code, as a phone shows it, is taken as it is."""
    (tmp_path / name).write_bytes(PICTURES[name])
    async with running() as (app, pilot):
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(app.screen, ImportDialog))
        await pilot.press(*str(tmp_path / name))
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "this is a picture" in picture(app))
        assert "read it with a phone and paste" in " ".join(picture(app).replace("┃", " ").split())
        assert isinstance(app.screen, ImportDialog)
        app.screen.query_one(PasteArea).text = files.to_qr_text(money.invoice())
        await until(pilot, lambda: isinstance(app.screen, PayReviewScreen))


def test_other_files_are_still_called_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe nothing known")
    with pytest.raises(FileError, match="not one of our files: it is not UTF-8 text"):
        files.load_any(tmp_path / "x")


@covers("MOB-05")
async def test_the_review_says_what_this_card_can_pay_and_another_may_be_chosen() -> None:
    door = with_cards()
    async with running(door) as (app, pilot):
        door.infos["Work"] = CardInfo("Work", key("Work"), CardKind.LOCAL, CardPlace.OFF)
        app.push_screen(PayReviewScreen(money.invoice()))
        await until(pilot, lambda: "Eve, can pay about 230.55 OUSD" in picture(app))
        await pilot.press("K")
        await until(pilot, lambda: isinstance(app.screen, Decide))
        await armed(app, pilot)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.session.name == "Work")
        await until(pilot, lambda: isinstance(app.screen, PayReviewScreen))
        assert app.screen.invoice == money.invoice()


class ManyCards(StoreDoor):
    """A store whose open cards have friends of their own."""

    async def open(self, name: str, passphrase: str | None = None) -> OpenCard:
        """Everybody but Eve has one friend; Poor's allows little."""
        card = await StoreDoor.open(self, name, passphrase)
        if name == "Eve":
            return card
        uses = () if name == "Other" else (line(balance=2_00 if name == "Poor" else 900_00),)
        return replace(card, client=FakeClient(shown=report(friend("Bob", *uses))))

    async def notebook(self, name: str) -> Notebook:
        """Bob said nothing beyond what the others say."""
        terms = (Terms(OUSD, 2, 0),)
        return self.kept if name == "Eve" else Notebook().with_told(key("Bob"), terms)


@covers("MOB-05")
@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_every_card_says_whether_it_can_pay_before_one_is_chosen(
    size: tuple[int, int],
) -> None:
    door = ManyCards(client=LivelyClient(), kept=TOLD)
    for name, place, changes in (
        ("Eve", CardPlace.OFF, {}),
        ("Other", CardPlace.HERE, {}),
        ("Poor", CardPlace.BACKGROUND, {}),
        ("Rich", CardPlace.HERE, {}),
        ("Safe", CardPlace.OFF, {"is_locked": True}),
        ("Stopped", CardPlace.OFF, {"is_enabled": False}),
        ("Torn", CardPlace.OFF, {"problem": money.HOSTILE}),
    ):
        door.infos[name] = CardInfo(name, key(name), CardKind.LOCAL, place, **changes)
    async with running(door, size) as (app, pilot):
        if not app.has_session:
            await app.open_card("Eve")
        app.push_screen(PayReviewScreen(money.invoice()))
        await until(pilot, lambda: "(K: another card)" in picture(app))
        await pilot.press("K")
        await until(pilot, lambda: isinstance(app.screen, Decide))
        await settled(app, pilot)
        check_golden(app, "paying-card")
        assert "open Safe" not in door.done
        await armed(app, pilot)
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(app.screen, PayReviewScreen))
        assert app.session.name == "Eve"
        await pilot.press("K")
        await until(pilot, lambda: isinstance(app.screen, Decide))
        await armed(app, pilot)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.session.name == "Rich")
        await until(pilot, lambda: "Rich, can pay about 900.00 OUSD" in picture(app))


@covers("MOB-47")
@pytest.mark.parametrize("key_", ["q", "ctrl+q"])
async def test_leaving_is_asked_and_says_what_goes_on(key_: str) -> None:
    async with running() as (app, pilot):
        await pilot.press(key_)
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await armed(app, pilot)
        await settled(app, pilot)
        assert "Leave it running in the background" in picture(app)
        assert "Go offline" in picture(app)
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(app.screen, Pick))
        assert app.is_running
        await pilot.press(key_)
        await until(pilot, lambda: isinstance(app.screen, Pick))
        await armed(app, pilot)
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: "leave running Eve" in app.door.done)


@covers("MOB-50", "RMP-30")
async def test_every_theme_says_the_same_and_one_needs_no_colour() -> None:
    async with running(size=SMALL) as (app, pilot):
        said = picture(app)
        for theme in (*themes.ALL, app.get_theme("ansi-dark"), app.get_theme("ansi-light")):
            app.theme = theme.name
            await settled(app, pilot)
            assert picture(app) == said
        app.theme = themes.MONO.name
        await settled(app, pilot)
        drawn = app.screen._compositor.render_strips(app.size)
        for filter_ in app.get_line_filters():
            drawn = [strip.apply_filter(filter_, Color(0, 0, 0)) for strip in drawn]
        styles = [one.style for strip in drawn for one in strip if one.style]
        colours = [colour for one in styles for colour in (one.color, one.bgcolor) if colour]
        assert colours
        assert all(len(set(one.get_truecolor())) == 1 for one in colours)
