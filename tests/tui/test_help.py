"""Help: every page exists, every screen's keys are in it, and it says what the glossary says."""

import re
from pathlib import Path

import pytest

import offset_tui
from offset_tui.screens.help import TOPICS, TopicScreen, page
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


async def test_section_zero_lists_the_pages() -> None:
    async with running(size=SMALL) as (app, pilot):
        await pilot.press("0")
        await until(pilot, lambda: app.current_mode == "help")
        await pilot.pause()
        assert "Start here" in picture(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TopicScreen))
