"""Help: every page exists, every screen's keys are in it, and it says what the glossary says."""

import re
from email.message import Message
from pathlib import Path

import pytest

import offset_tui
from offset_tui.screens.help import TOPICS, TopicScreen, about, contacts, page
from offset_tui.screens.logs import BYTES_SHOWN, LogScreen, tail
from tests.covers import covers
from tests.tui.screens import SMALL, check_golden, picture, running, until

pytestmark = pytest.mark.anyio
HELP = Path(offset_tui.__file__).parent / "help"


def test_every_page_is_listed_and_every_listed_page_exists() -> None:
    assert {path.stem for path in HELP.glob("*.md")} == {topic for topic, _ in TOPICS}
    for topic, _ in TOPICS:
        assert page(topic).startswith("# ")


def test_every_topic_a_screen_names_exists() -> None:
    named = set()
    for path in (HELP.parent / "screens").glob("*.py"):
        named |= set(re.findall(r'^    TOPIC = "([a-z]+)"', path.read_text("utf-8"), re.MULTILINE))
    assert named <= {topic for topic, _ in TOPICS}
    assert "home" in named


async def test_question_mark_explains_the_screen_and_lists_its_keys() -> None:
    async with running(size=SMALL) as (app, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, TopicScreen))
        await pilot.pause()
        check_golden(app, "help-home")
        await pilot.press("G")
        await pilot.press("end")
        await pilot.pause()
        assert "ctrl+o" in picture(app).lower() or "^o" in picture(app)
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, TopicScreen))


@covers("MOB-45")
async def test_section_zero_lists_the_pages() -> None:
    async with running(size=SMALL) as (app, pilot):
        await pilot.press("0")
        await until(pilot, lambda: app.current_mode == "help")
        await pilot.pause()
        assert "Start here" in picture(app)
        assert "textual" in picture(app)
        assert "Python" in picture(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TopicScreen))


@covers("MOB-45")
def test_about_names_licence_and_whom_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    said = dict(contacts())
    assert "MIT" in said["Licence"]
    named = Message()
    named["Project-URL"] = "Source, https://example.org/offset"
    named["Author-email"] = "somebody@example.org"
    monkeypatch.setattr("offset_tui.screens.help.metadata.metadata", lambda _: named)
    found = dict(contacts())
    assert found["Source"] == "https://example.org/offset"
    assert found["Mail"] == "somebody@example.org"
    assert "Python" in about().plain


@covers("MOB-46")
async def test_the_end_of_the_log_is_read_in_the_app(tmp_path: Path) -> None:
    log = tmp_path / "offset.log"
    log.write_text("before\n" + "x" * BYTES_SHOWN + "\nrelay \x1b[2J closed\nthe last line\n")
    async with running(size=SMALL) as (app, pilot):
        app.log_path = log
        await pilot.press("0")
        await until(pilot, lambda: app.current_mode == "help")
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(app.screen, LogScreen))
        await until(pilot, lambda: "the last line" in picture(app))
        assert "before" not in picture(app)
        assert "relay ␛[2J closed" in picture(app)
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, LogScreen))


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert tail(None) == "This app writes no log."
    assert "No such file" in tail(tmp_path / "nothing")
    (tmp_path / "empty").touch()
    assert tail(tmp_path / "empty") == "Nothing is in it."


@covers("PRV-03", "PRV-04", "RMP-44", "RMP-45", "RMP-46")
def test_the_pages_say_who_learns_what_and_answer_what_people_ask() -> None:
    security = page("security")
    assert "An index server sees how much could pass between friends" in security
    assert "A relay sees who is connected" in security
    assert "Your key never leaves this computer" in security
    assert "several currencies" in page("faq")
    assert page("faq").count("**") >= 14
