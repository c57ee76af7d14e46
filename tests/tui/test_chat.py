"""The village chat: a list, the whole message under the cursor, and each message in full."""

from pathlib import Path

import pytest

from offset_engine.client import PublicKey
from offset_engine.files import to_text
from offset_tui.app import OffsetApp
from offset_tui.demo.chat import ChatScreen
from offset_tui.dialogs.base import Ask
from offset_tui.dialogs.share_text import TextShareScreen
from offset_tui.doors import AppOptions, ChatLine, VillageChat
from offset_tui.widgets.inputs import LineInput
from tests.tui import money_scenes as money
from tests.tui import people_scenes as people
from tests.tui.people_pilot import table
from tests.tui.screens import SMALL, WIDE, Pilot, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
SIZES = pytest.mark.parametrize("size", [SMALL, WIDE])
STORY = " ".join(
    f"Sentence {number} of a story that is much longer than a row." for number in range(1, 41)
)


class Chat(VillageChat):
    """What was said before."""

    you = "Eve"

    def __init__(self, *said: tuple[str, str, str]) -> None:
        self._said = tuple(
            ChatLine(at, sender, "Bob" if sender == "Eve" else "Eve", text, artifact)
            for at, (sender, text, artifact) in enumerate(said, 1)
        )

    @property
    def names(self) -> tuple[str, ...]:
        return ("Bob", "Grace")

    @property
    def lines(self) -> tuple[ChatLine, ...]:
        return self._said

    def name_of(self, key: PublicKey) -> str | None:
        return None

    def send(self, name: str, text: str) -> None:
        """Nobody hears it."""

    def offer(self, name: str) -> None:
        """Nobody sells."""

    def stop_relay(self) -> None:
        """There is none."""


def chat() -> Chat:
    loaf = to_text(money.invoice(2_00, "one loaf", "Bob"))
    return Chat(
        ("Bob", "A loaf is 2.00 OUSD. It is still warm, and I keep it for you until noon.", loaf),
        ("Eve", "Thank you, I come at eleven.", ""),
        ("Grace", STORY, ""),
    )


async def in_chat(app: OffsetApp, pilot: Pilot[None], said: Chat, row: int) -> None:
    await app.push_screen(ChatScreen(said))
    await settled(app, pilot)
    table(app).select(str(row))
    await settled(app, pilot)


@SIZES
async def test_the_message_under_the_cursor_stands_below_as_a_whole(size: tuple[int, int]) -> None:
    async with running(size=size) as (app, pilot):
        await in_chat(app, pilot, chat(), 1)
        check_golden(app, "chat")
        assert "until noon." in " ".join(picture(app).split())


@SIZES
async def test_a_long_message_is_opened_in_full_and_scrolled(
    size: tuple[int, int], tmp_path: Path
) -> None:
    async with running(size=size) as (app, pilot):
        await in_chat(app, pilot, chat(), 3)
        check_golden(app, "chat-long")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, TextShareScreen))
        await settled(app, pilot)
        check_golden(app, "chat-read")
        assert ("Sentence 40" in picture(app)) is (size == WIDE)
        await pilot.press("end")
        await until(pilot, lambda: "Sentence 40 of a story" in picture(app))
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(LineInput).value = str(tmp_path / "story.txt")
        await pilot.press("enter")
        await until(pilot, (tmp_path / "story.txt").exists)
        assert (tmp_path / "story.txt").read_text() == STORY + "\n"
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen))


async def test_what_came_with_a_message_is_read_with_it() -> None:
    said = chat()
    async with running() as (app, pilot):
        await in_chat(app, pilot, said, 1)
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, TextShareScreen))
        assert app.screen.text.endswith(f"{said.lines[0].artifact}\n")


async def test_enter_on_a_message_alone_reads_it() -> None:
    async with running() as (app, pilot):
        await in_chat(app, pilot, chat(), 2)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TextShareScreen))
        assert app.screen.text == "Thank you, I come at eleven.\n"


async def test_foreign_words_do_nothing_and_plain_signs_are_plain() -> None:
    said = Chat((people.ESC_NAME, f"{people.MARKUP_NAME}\n\x1b[2J{people.RLO_NAME}\nlast line", ""))
    async with running(options=AppOptions(is_ascii=True)) as (app, pilot):
        await in_chat(app, pilot, said, 1)
        shown = picture(app)
        assert "last line" in shown
        assert people.MARKUP_NAME in shown
        assert "·" not in shown
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, TextShareScreen))
        assert "\x1b" not in app.screen.text
        assert "\u202e" not in app.screen.text
