"""What a look into the watched folder finds."""

from pathlib import Path

from offset_engine import files
from offset_tui.inbox import Inbox
from tests.tui import money_scenes as money


def put(folder: Path, number: int) -> None:
    text = files.to_text(money.invoice(number=number))
    (folder / f"{number}.txt").write_text(text, encoding="utf-8")


def test_a_folder_that_comes_back_announces_nothing_old(tmp_path: Path) -> None:
    folder, away = tmp_path / "in", tmp_path / "away"
    folder.mkdir()
    put(folder, 1)
    inbox = Inbox(folder)
    assert inbox.look() == []
    folder.rename(away)
    assert inbox.look() == []
    assert "cannot look into" in inbox.problem
    away.rename(folder)
    put(folder, 2)
    found = inbox.look() + inbox.look()
    assert [one.path.name for one in found] == ["2.txt"]
    assert inbox.problem == ""


def test_what_is_there_at_the_first_look_that_succeeds_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    inbox = Inbox(folder)
    assert inbox.look() == []
    folder.mkdir()
    put(folder, 1)
    assert inbox.look() + inbox.look() == []
    put(folder, 2)
    assert len(inbox.look() + inbox.look()) == 1
