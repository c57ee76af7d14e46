"""A keymap file: what it may say, and the one sentence for everything else."""

import json
from pathlib import Path

import pytest

from offset_tui import user_keys
from offset_tui.__main__ import main
from offset_tui.keymap import known


def written(text: str) -> dict[str, tuple[str, ...]]:
    chosen = user_keys.parse(text)
    user_keys.check(chosen)
    return chosen


def test_keys_are_written_as_people_write_them() -> None:
    text = '[keys]\n"app.import" = "ctrl+Y"\nlist.remove = ["d", "Delete"]\n"app.paste" = ","\n'
    assert written(text) == {
        "app.import": ("ctrl+y",),
        "list.remove": ("d", "delete"),
        "app.paste": ("comma",),
    }
    assert written('[keys]\n"app.paste" = "ctrl+y, ;"\n') == {"app.paste": ("ctrl+y", "semicolon")}
    assert written("") == written("[keys]\n") == {}


def test_two_actions_may_change_places() -> None:
    assert written('[keys]\n"money.pay" = "r"\n"money.retry" = "P"\n')


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[keys", "this is no TOML"),
        ("x = 1", "x is not known here"),
        ("keys = 1", "keys must be a table"),
        ('[keys]\nlist.remov = "d"', "there is no action list.remov; did you mean list.remove?"),
        ('[keys]\n"\\u001b[2J" = "d"', "there is no action ␛[2J"),
        ("[keys]\napp.paste = 3", "app.paste needs a key"),
        ('[keys]\napp.paste = ""', "app.paste needs a key"),
        ("[keys]\napp.paste = []", "app.paste needs a key"),
        ('[keys]\napp.paste = ["a", 1]', "app.paste needs a key"),
        ('[keys]\napp.paste = "a,,b"', "app.paste needs a key"),
        ('[keys]\napp.paste = "u,w,z,Z,W"', "more than 4 keys"),
        ('[keys]\napp.paste = "é"', "é is no key every terminal sends"),
        ('[keys]\napp.paste = "alt+x"', "alt+x is no key every terminal sends"),
        ('[keys]\napp.paste = "f11"', "f11 is no key every terminal sends"),
        ('[keys]\nmoney.pay = "enter"', "never pays"),
        ('[keys]\nform.submit = "g"', "used while something is typed"),
        ('[keys]\nform.submit = "ctrl+e"', "text fields use it"),
        ('[keys]\nlist.remove = "s"', "s would be the key of both list.remove and list.sort on"),
        ('[keys]\napp.paste = "n"', "n would be the key of both app.paste and list.new on"),
        ('[keys]\ntable.down = "n"', "both table.down and list.new"),
    ],
)
def test_whatever_cannot_work_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(user_keys.KeymapError) as found:
        written(text)
    assert sentence in str(found.value)
    assert "\n" not in str(found.value)
    assert str(found.value).isprintable()


@pytest.mark.parametrize(
    "key", ["tab", "shift+tab", "backspace", *(f"ctrl+{one}" for one in "abchijmsz")]
)
def test_what_terminals_keep_for_themselves_is_never_bound(key: str) -> None:
    with pytest.raises(user_keys.KeymapError, match="cannot be the key of"):
        written(f'[keys]\napp.paste = "{key}"')


def test_what_is_usual_for_an_action_may_be_written_down() -> None:
    for name, key in known().items():
        user_keys.check(user_keys.parse(f'[keys]\n"{name}" = {key.keys.split(",")}'))


def test_another_action_on_the_same_usual_key_keeps_it() -> None:
    whole = user_keys.whole(written('[keys]\n"money.refund" = "u"'))
    assert whole["money.refund"] == "u"
    assert whole["money.close"] == "x"
    assert user_keys.changed(whole) == 1


def test_without_a_file_everything_is_as_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_keys, "path", lambda: tmp_path / "keymap.toml")
    assert user_keys.load() == {}


def test_the_sentence_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keymap.toml"
    monkeypatch.setattr(user_keys, "path", lambda: file)
    file.write_text('[keys]\napp.help = "f2"\n')
    assert user_keys.load()["app.help"] == "f2"
    file.write_text("[keys")
    with pytest.raises(user_keys.KeymapError) as found:
        user_keys.load()
    assert str(found.value).startswith(f"{file}: this is no TOML")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(user_keys.KeymapError, match="not UTF-8"):
        user_keys.load()
    file.unlink()
    file.mkdir()
    with pytest.raises(user_keys.KeymapError, match="cannot read"):
        user_keys.load()


def test_info_prints_where_the_file_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["paths"]["keymap"] == str(user_keys.path())
