"""The pictures in README are those of this version, and fetch nothing from anywhere."""

import re

import pytest

from tests.tui.screenshots import PICTURES, SHOTS, draw

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.mark.parametrize("name", SHOTS)
async def test_a_picture_is_the_scene_it_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = PICTURES / f"{name}.svg"
    assert path.exists(), "python -m tests.tui.screenshots writes it"
    kept = path.read_text("utf-8")
    assert set(re.findall(r"https?://[^\"' ]*", kept)) == {"http://www.w3.org/2000/svg"}
    assert await draw(name) == kept, "python -m tests.tui.screenshots draws it anew"


def test_no_picture_is_left_over() -> None:
    assert {path.stem for path in PICTURES.glob("*.svg")} == set(SHOTS)
