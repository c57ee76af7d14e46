"""A user's own keys in the running app: they act, the usual ones do not, and everything that lists keys names them."""

from pathlib import Path

import pytest

from offset_tui import user_keys
from offset_tui.commands import Commands
from offset_tui.doors import AppOptions
from offset_tui.screens.help import TopicScreen, keys_of
from tests.tui import money_scenes as money
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until
from tests.tui.terminal import Terminal

pytestmark = pytest.mark.anyio


def own(text: str) -> AppOptions:
    chosen = user_keys.parse(f"[keys]\n{text}")
    user_keys.check(chosen)
    return AppOptions(keys=user_keys.whole(chosen))


async def test_own_keys_act_and_are_shown_wherever_keys_are() -> None:
    options = own('app.help = "f2"\napp.tab_pay = "W"\nscreen.back = ["Z", "escape"]\n')
    async with running(size=SMALL, options=options) as (app, pilot):
        await pilot.press("question_mark", "2")
        await settled(app, pilot)
        assert (app.current_mode, len(app.screen_stack)) == ("home", 1)
        assert "WPay" in picture(app).splitlines()[0]
        assert "f2 Help" in picture(app).splitlines()[-1]
        assert "Z Back" in picture(app).splitlines()[-1]
        titles = [title for title, _, _ in Commands(app.screen)._of_screen()]
        assert "Explain this screen and its keys  (f2)" in titles
        assert "Go to Pay  (W)" in titles
        assert "  f2 " in keys_of(app.screen).plain
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, TopicScreen))
        await pilot.press("q", "W")
        await until(pilot, lambda: app.current_mode == "pay")


async def test_what_shares_a_key_with_a_changed_action_keeps_it() -> None:
    options = own('money.refund = "u"')
    sale = money.invoice(seller="Eve")
    async with running(money.door(sales=(money.sale(sale),)), options=options) as (app, pilot):
        from offset_tui.screens.invoice import InvoiceScreen  # noqa: PLC0415

        await app.push_screen(InvoiceScreen(sale.invoice_id))
        await settled(app, pilot)
        assert "x Close" in picture(app)
        await pilot.press("x")
        await until(pilot, lambda: len(app.screen_stack) == 3)


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_settings_say_where_the_file_is(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_keys, "path", lambda: Path("/srv/eve/.config/offset/keymap.toml"))
    async with running(size=size, options=own('app.help = "f2"')) as (app, pilot):
        await pilot.press("9")
        await until(pilot, lambda: app.current_mode == "settings")
        app.screen.query_one("#settings").select("keys")
        await settled(app, pilot)
        check_golden(app, "settings-keys")
        await pilot.press("enter")
        await until(pilot, lambda: "it counts from the next start" in picture(app))


def test_a_bad_file_is_one_sentence_before_anything_is_painted(tmp_path: Path) -> None:
    config = tmp_path / "offset"
    config.mkdir()
    (config / "keymap.toml").write_text('[keys]\nlist.remove = "s"\n')
    env = {"XDG_CONFIG_HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    argv = ["-m", "offset_tui", "--store", str(tmp_path / "store")]
    with Terminal(argv, env=env) as terminal:
        assert terminal.ended() == 2
    said = b" ".join(terminal.output.split())
    assert b"keymap.toml: s would be the key of both list.remove and list.sort" in said
    assert b"\x1b[?1049h" not in terminal.output
    assert b"Traceback" not in terminal.output
