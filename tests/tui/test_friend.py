"""One friend's screen: numbers in words, editing with a preview, and what to do when something is wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from offset_engine import files
from offset_engine.client import (
    Batch,
    CloseFriendCurrency,
    Command,
    CommandFault,
    DisputeFriend,
    OpenFriendCurrency,
    PublicKey,
    Rate,
    RemoveFriendCurrency,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
)
from offset_tui import dispute_words
from offset_tui.app import OffsetApp
from offset_tui.dialogs.base import Ask, Confirm, TypeToConfirm
from offset_tui.dialogs.edits import FeeDialog, LimitDialog, RenameDialog, ToldDialog
from offset_tui.dialogs.share_text import TextShareScreen
from offset_tui.doors import AppOptions
from offset_tui.screens.currency import CurrencyScreen
from offset_tui.screens.friend import FriendScreen
from offset_tui.screens.friend_token import FriendTokenScreen
from offset_tui.screens.inconsistent import InconsistentScreen
from offset_tui.widgets.inputs import LineInput
from tests.covers import covers
from tests.tui import people_scenes as people
from tests.tui.people_pilot import armed, table
from tests.tui.people_scenes import SHELLS, door
from tests.tui.scenes import HOURS, OUSD, FakeDoor, friend, key, line, report
from tests.tui.screens import SMALL, WIDE, Pilot, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
SIZES = pytest.mark.parametrize("size", [SMALL, WIDE])


async def at_friend(app: OffsetApp, pilot: Pilot[None], name: str) -> None:
    """Open a friend's screen."""
    await app.push_screen(FriendScreen(key(name)))
    await settled(app, pilot)


async def typed(app: OffsetApp, pilot: Pilot[None], text: str) -> None:
    """Type over what stands in the field with the focus."""
    field = app.focused
    assert isinstance(field, LineInput)
    field.value = ""
    await pilot.press(*text)
    await settled(app, pilot)


# --- what is shown ------------------------------------------------------------------------------


@SIZES
@covers("MOB-36")
async def test_a_friend_with_two_currencies(size: tuple[int, int]) -> None:
    async with running(FakeDoor(), size) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        check_golden(app, "friend")
        await pilot.press("down")
        await settled(app, pilot)
        assert "you trust Bob up to 20.00 HOURS" in picture(app)


@pytest.mark.parametrize(
    ("name", "scene"),
    [
        ("fee_and_debt", "Charli"),
        ("offline_pending", "Daniel"),
        ("not_agreed", "Grace"),
    ],
)
@SIZES
async def test_the_other_villagers(name: str, scene: str, size: tuple[int, int]) -> None:
    async with running(FakeDoor(), size) as (app, pilot):
        await at_friend(app, pilot, scene)
        check_golden(app, f"friend_{name}")


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("Carla", "disabled"),
        ("Dora", "inconsistent"),
        ("Emil", "quarantined"),
        ("Frida", "unreadable"),
        ("Gina", "without_currency"),
    ],
)
@SIZES
async def test_every_state_says_what_to_do(name: str, state: str, size: tuple[int, int]) -> None:
    async with running(door(*people.states()), size) as (app, pilot):
        await at_friend(app, pilot, name)
        check_golden(app, f"friend_{state}")


@SIZES
async def test_the_largest_amounts_keep_every_digit(size: tuple[int, int]) -> None:
    async with running(door(*people.huge()), size) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        check_golden(app, "friend_huge")
        assert "+1,701,411,834,604,692,317,316,873,037,158,841,057.27" in picture(app)


@SIZES
async def test_a_name_that_tries_things(size: tuple[int, int]) -> None:
    async with running(door(*people.hostile()), size) as (app, pilot):
        await at_friend(app, pilot, people.ESC_NAME)
        check_golden(app, "friend_hostile")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, RenameDialog))
        assert "\x1b" not in picture(app)
        assert app.screen.query_one(LineInput).value == "Bob]52;c;aGk="


async def test_plain_characters() -> None:
    async with running(FakeDoor(), options=AppOptions(is_ascii=True)) as (app, pilot):
        await at_friend(app, pilot, "Charli")
        check_golden(app, "friend_ascii")


@covers("MOB-48")
async def test_a_friend_who_is_gone_is_said_to_be() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        scene.client.shown = report()
        scene.client.tell()
        await until(pilot, lambda: "no longer on this card" in picture(app))
        await pilot.press(*"lfoxetaDX")
        await settled(app, pilot)
        assert scene.client.asked == []


# --- editing ------------------------------------------------------------------------------------


@SIZES
@covers("MOB-39")
async def test_a_limit_shows_what_it_means_while_typing(size: tuple[int, int]) -> None:
    scene = FakeDoor()
    async with running(scene, size) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("l")
        await until(pilot, lambda: isinstance(app.screen, LimitDialog))
        await typed(app, pilot, "10.00")
        check_golden(app, "friend_limit_below")
        await typed(app, pilot, "1,25")
        await pilot.press("enter")
        await settled(app, pilot)
        check_golden(app, "friend_limit_wrong")
        assert scene.client.asked == []
        await typed(app, pilot, "300")
        assert "you trust Bob up to 300.00 OUSD" in picture(app)
        await pilot.press("enter")
        wanted = SetFriendCurrencyMaxDebt(key("Bob"), OUSD, 300_00)
        await until(pilot, lambda: scene.client.asked == [wanted])


@SIZES
async def test_a_fee_is_shown_on_a_hundred_while_typing(size: tuple[int, int]) -> None:
    scene = FakeDoor()
    async with running(scene, size) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, FeeDialog))
        await typed(app, pilot, "0.5 % + 0.01")
        assert "fee on 100.00 OUSD = 0.51 (0.51 %)" in picture(app)
        check_golden(app, "friend_fee")
        await pilot.press("enter")
        await until(pilot, lambda: bool(scene.client.asked))
        command = scene.client.asked[0]
        assert isinstance(command, SetFriendCurrencyRate)
        assert command.rate == Rate(21_474_837, 1)


async def test_what_they_say_they_grant_can_be_noted() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Daniel")
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, ToldDialog))
        await typed(app, pilot, "60")
        check_golden(app, "friend_told")
        await pilot.press("enter")
        await until(pilot, lambda: scene.kept.told_by(key("Daniel"), OUSD) == 60_00)
        assert scene.client.asked == []
        await until(pilot, lambda: "Daniel trusts you up to 60.00 OUSD" in picture(app))


async def test_the_currency_under_the_cursor_is_edited_whatever_comes_meanwhile() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("down", "l")  # HOURS
        await until(pilot, lambda: isinstance(app.screen, LimitDialog))
        bob = scene.client.shown.friends[0]
        scene.client.shown = report(
            replace(bob, currencies=(line(SHELLS, 1), *bob.currencies)),
        )
        scene.client.tell()
        await until(pilot, lambda: len(app.session.snapshot.report.friends) == 1)
        await typed(app, pilot, "5")
        await pilot.press("enter")
        wanted = SetFriendCurrencyMaxDebt(key("Bob"), HOURS, 5_00)
        await until(pilot, lambda: scene.client.asked == [wanted])


@covers("MOB-38")
async def test_closing_and_opening_ask_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offset_tui.dialogs.base.ARMED_AFTER_S", 3_600)
    scene = door(friend("Bob", line(balance=1), line(HOURS, 0, is_open=False)))
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")  # too early
        assert scene.client.asked == []
        monkeypatch.setattr("offset_tui.dialogs.base.ARMED_AFTER_S", 0)
        await settled(app, pilot)
        check_golden(app, "friend_close")
        await pilot.press("y")
        await until(pilot, lambda: scene.client.asked == [CloseFriendCurrency(key("Bob"), OUSD)])
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))
        await pilot.press("down", "o")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("y")
        wanted = OpenFriendCurrency(key("Bob"), HOURS)
        await until(pilot, lambda: scene.client.asked[1:] == [wanted])


@covers("MOB-40")
async def test_only_a_settled_currency_can_be_removed() -> None:
    scene = door(friend("Bob", line(balance=1), line(HOURS, None, 0)))
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("x")
        await settled(app, pilot)
        assert "cannot be removed while something is owed" in picture(app)
        await pilot.press("down", "x")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("y")
        wanted = RemoveFriendCurrency(key("Bob"), HOURS)
        await until(pilot, lambda: scene.client.asked == [wanted])


async def test_a_friend_is_renamed_but_not_to_a_name_in_use() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, RenameDialog))
        await typed(app, pilot, "Charli")
        await pilot.press("enter")
        await settled(app, pilot)
        assert "another friend is called exactly this" in picture(app)
        await typed(app, pilot, "Baker Bob")
        await pilot.press("enter")
        await until(pilot, lambda: scene.client.asked == [SetFriendName(key("Bob"), "Baker Bob")])


async def test_a_refusal_is_said_in_words() -> None:
    scene = FakeDoor()
    scene.client.refusal = CommandFault.STORE_FULL
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("l", "enter")
        await until(pilot, lambda: "disk is full" in picture(app))


@SIZES
@covers("MOB-37", "RMP-31")
async def test_a_new_currency_on_one_form(size: tuple[int, int]) -> None:
    bob = friend("Bob", line(balance=12_00))
    scene = door(replace(bob, remote_currencies=(OUSD, SHELLS)))
    async with running(scene, size) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, CurrencyScreen))
        await settled(app, pilot)
        check_golden(app, "currency_new")
        await pilot.press("tab", "tab", *"25.50")
        await settled(app, pilot)
        check_golden(app, "currency_new_filled")
        await armed(app, pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: bool(scene.client.asked))
        batch = scene.client.asked[0]
        assert isinstance(batch, Batch)
        assert batch.commands == _use(key("Bob"))
        assert scene.chosen.decimals_of(SHELLS) == 2
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))


def _use(bob: PublicKey) -> tuple[Command, ...]:
    return (
        SetFriendCurrencyMaxDebt(bob, SHELLS, 25_50),
        SetFriendCurrencyRate(bob, SHELLS, Rate()),
        OpenFriendCurrency(bob, SHELLS),
    )


async def test_wrong_fields_are_pointed_at() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, CurrencyScreen))
        await armed(app, pilot)
        await pilot.press("ctrl+g")
        await settled(app, pilot)
        assert "required: the name of a currency" in picture(app)
        await pilot.press(*"ousd", "tab", "tab", *"1", "ctrl+g")
        await settled(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Confirm) or bool(scene.client.asked))


async def test_a_form_with_something_typed_asks_before_it_goes() -> None:
    async with running(FakeDoor()) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, CurrencyScreen))
        await pilot.press("A", "escape")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, FriendScreen))


# --- relays, tokens -----------------------------------------------------------------------------


@SIZES
async def test_relays_say_which_are_not_dialled(size: tuple[int, int]) -> None:
    async with running(door(people.private_relays()), size) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("R")
        await settled(app, pilot)
        check_golden(app, "friend_relays")


@SIZES
async def test_what_a_friend_signed_is_shown_checked_and_written(
    size: tuple[int, int], tmp_path: Path
) -> None:
    async with running(door(people.signed()), size) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(app.screen, FriendTokenScreen))
        await settled(app, pilot)
        check_golden(app, "friend_token")
        await pilot.press("E")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await typed(app, pilot, "")
        app.screen.query_one(LineInput).value = str(tmp_path / "bob.token")
        await pilot.press("enter")
        await until(pilot, (tmp_path / "bob.token").exists)
        token = files.load(tmp_path / "bob.token", files.Token)
        assert files.verify_token(token, key("Bob"), key("Eve")).failed is None


async def test_nothing_signed_is_said() -> None:
    async with running(FakeDoor()) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("t")
        await settled(app, pilot)
        assert "has not signed anything yet" in picture(app)


# --- disagreements ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "is_known", "is_acceptable"),
    [("both", True, True), ("waiting", False, True), ("stale", True, False)],
)
@SIZES
@covers("MOB-41")
async def test_both_proposals_in_our_own_sign(
    name: str, is_known: bool, is_acceptable: bool, size: tuple[int, int]
) -> None:
    dora = people.inconsistent("Dora", is_known=is_known, is_acceptable=is_acceptable)
    async with running(door(dora), size) as (app, pilot):
        await at_friend(app, pilot, "Dora")
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, InconsistentScreen))
        await settled(app, pilot)
        check_golden(app, f"inconsistent_{name}")
        if not (is_known and is_acceptable):
            await pilot.press("a")
            await settled(app, pilot)
            assert isinstance(app.screen, InconsistentScreen)


@SIZES
@covers("MOB-41")
async def test_a_ready_text_for_the_friend_is_in_their_sign(
    size: tuple[int, int], tmp_path: Path
) -> None:
    async with running(door(people.inconsistent("Dora")), size) as (app, pilot):
        await app.push_screen(InconsistentScreen(key("Dora")))
        await settled(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, TextShareScreen))
        await settled(app, pilot)
        check_golden(app, "inconsistent_text")
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        app.screen.query_one(LineInput).value = str(tmp_path / "dora.txt")
        await pilot.press("enter")
        await until(pilot, (tmp_path / "dora.txt").exists)
        written = (tmp_path / "dora.txt").read_text()
        # We would lose 2.00 OUSD and gain 1.00 HOURS with theirs; for Dora it is the other way round.
        assert "with my proposal you lose 2.00" in written
        assert "with my proposal you gain 1.00" in written


@pytest.mark.parametrize(
    ("is_known", "is_acceptable", "said"),
    [(False, True, "not here yet"), (True, False, "I cannot accept it"), (True, True, "tell me")],
)
def test_the_text_says_what_can_be_done(is_known: bool, is_acceptable: bool, said: str) -> None:
    dora = people.inconsistent("Dora", is_known=is_known, is_acceptable=is_acceptable)
    text = dispute_words.letter(
        replace(dora, name=people.ESC_NAME), ("Eve", key("Eve")), lambda _: 2
    )
    assert said in text
    assert "\x1b" not in text
    assert "press a" in text


@SIZES
async def test_accepting_states_the_loss_and_wants_the_name(size: tuple[int, int]) -> None:
    scene = door(people.inconsistent("Dora"))
    async with running(scene, size) as (app, pilot):
        await app.push_screen(InconsistentScreen(key("Dora")))
        await settled(app, pilot)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, TypeToConfirm))
        await settled(app, pilot)
        check_golden(app, "inconsistent_accept")
        await armed(app, pilot)
        await pilot.press("enter")
        assert scene.client.asked == []
        await pilot.press(*"Dora", "enter")
        theirs = scene.client.shown.friends[0].remote_terms
        assert theirs is not None
        wanted = ResetFriendChannel(key("Dora"), theirs.terms_hash)
        await until(pilot, lambda: scene.client.asked == [wanted])


@SIZES
async def test_disputing_wants_the_name(size: tuple[int, int]) -> None:
    scene = door(people.unreadable("Frida"))
    async with running(scene, size) as (app, pilot):
        await at_friend(app, pilot, "Frida")
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, TypeToConfirm))
        await settled(app, pilot)
        check_golden(app, "friend_dispute")
        await armed(app, pilot)
        await pilot.press(*"Frida", "enter")
        await until(pilot, lambda: scene.client.asked == [DisputeFriend(key("Frida"))])


async def test_a_friend_who_can_be_read_is_not_disputed() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        await at_friend(app, pilot, "Bob")
        await pilot.press("D", "a")
        await settled(app, pilot)
        assert isinstance(app.screen, FriendScreen)
        assert table(app).row_count == 2
