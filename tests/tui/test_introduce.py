"""Invites, answers, friend cards and servers: what is reviewed, what is asked, what is remembered."""

from dataclasses import replace

import pytest
from textual import events

from offset_engine import files
from offset_engine.cards.settings import CardSettings
from offset_engine.client import (
    CREDITS_MAX,
    AddFriend,
    AddIndexServer,
    AddRelay,
    Batch,
    Command,
    Currency,
    EnableFriend,
    NamedAddress,
    OpenFriendCurrency,
    RelayAddress,
    SetFriendCurrencyMaxDebt,
    SetFriendRelays,
)
from offset_engine.files import Answer, Content, Invite, Role, Servers, Terms, Ticket, invite_hash
from offset_engine.introducing import SentInvite
from offset_engine.notebook import Notebook
from offset_tui import ceilings
from offset_tui.app import OffsetApp
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.edits import LimitDialog
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import AppOptions
from offset_tui.screens.currency import CurrencyScreen
from offset_tui.screens.friend import FriendScreen
from offset_tui.screens.friends import FriendsScreen
from offset_tui.screens.introduce import (
    AcceptAnswerScreen,
    AcceptInviteScreen,
    AddFriendScreen,
    InviteScreen,
    ServersScreen,
)
from offset_tui.widgets.inputs import LineInput
from tests.covers import covers
from tests.tui import people_scenes as people
from tests.tui.people_pilot import armed
from tests.tui.people_scenes import card, door, invite
from tests.tui.scenes import HOURS, NOW_MS, OUSD, FakeDoor, friend, key, line, report
from tests.tui.screens import SMALL, WIDE, Pilot, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
SIZES = pytest.mark.parametrize("size", [SMALL, WIDE])


async def pasted(app: OffsetApp, pilot: Pilot[None], content: Content) -> None:
    """Paste an artifact where nothing is being typed."""
    app.post_message(events.Paste(files.to_text(content)))
    await settled(app, pilot)
    await armed(app, pilot)


def commands(scene: FakeDoor) -> tuple[Command, ...]:
    """What the node was asked in the only batch."""
    assert len(scene.client.asked) == 1
    batch = scene.client.asked[0]
    assert isinstance(batch, Batch)
    return batch.commands


def stranger(decimals: int = 2) -> tuple[FakeDoor, Answer]:
    """A card that invited Bob, and Bob's answer."""
    sent = invite("Eve")
    terms = (Terms(OUSD, 2, 150_00),)
    scene = door(
        kept=Notebook().with_invite(SentInvite(invite_hash(sent), terms, "Bob", NOW_MS // 1000)),
        chosen=CardSettings().with_currency(OUSD, 2),
    )
    return scene, Answer(card("Bob", Terms(OUSD, decimals, 200_00)), invite_hash(sent))


# --- inviting -----------------------------------------------------------------------------------


@SIZES
@covers("RMP-39")
async def test_an_invite_is_made_remembered_and_shown(size: tuple[int, int]) -> None:
    scene = door()
    async with running(scene, size) as (app, pilot):
        await app.push_screen(InviteScreen())
        await settled(app, pilot)
        check_golden(app, "invite_empty")
        await pilot.press(*"Bob", "tab", *"OUSD", "tab", "tab", *"150")
        await settled(app, pilot)
        check_golden(app, "invite_filled")
        await armed(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))
        await settled(app, pilot)
        check_golden(app, "invite_share")
        shared = app.screen
        assert isinstance(shared, ShareScreen)
        made = shared.content_shared
        assert isinstance(made, Invite)
        assert made.card.terms == (Terms(OUSD, 2, 150_00),)
        assert made.servers is not None
        kept = scene.kept.invites[0]
        assert (kept.invite_hash, kept.name) == (invite_hash(made), "Bob")
        assert scene.chosen.currencies[0].currency == OUSD
        assert scene.client.asked == []
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, InviteScreen | ShareScreen))


async def test_without_servers_the_form_says_what_to_do() -> None:
    scene = door()
    scene.client.shown = people.without_servers(report())
    async with running(scene) as (app, pilot):
        await app.push_screen(InviteScreen())
        await settled(app, pilot)
        check_golden(app, "invite_no_servers")


async def test_the_end_of_a_paste_does_not_send_a_form_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("offset_tui.screens.form.ARMED_AFTER_S", 3_600)
    scene = door()
    async with running(scene) as (app, pilot):
        app.post_message(events.Paste(files.to_text(card("Bob"))))
        await until(pilot, lambda: isinstance(app.screen, AddFriendScreen))
        await pilot.press("ctrl+g", "enter")
        await settled(app, pilot)
        assert scene.client.asked == []


# --- accepting ----------------------------------------------------------------------------------


@SIZES
async def test_an_invite_is_reviewed_and_answered(size: tuple[int, int]) -> None:
    scene = door()
    scene.client.shown = people.without_servers(report())
    async with running(scene, size) as (app, pilot):
        await pasted(app, pilot, invite())
        assert isinstance(app.screen, AcceptInviteScreen)
        check_golden(app, "accept_invite")
        await pilot.press("ctrl+g")
        await settled(app, pilot)
        assert "required: type an amount" in picture(app)
        await pilot.press(*"200")
        await settled(app, pilot)
        check_golden(app, "accept_invite_filled")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))
        await settled(app, pilot)
        check_golden(app, "accept_invite_share")
        assert isinstance(app.screen, ShareScreen)
        assert isinstance(app.screen.content_shared, Answer)
    alice = key("Alice")
    place = NamedAddress(key("their relay"), "relay.example.org:3000", "Alice")
    assert commands(scene) == (
        AddRelay(place),
        AddIndexServer(place),
        AddFriend(alice, (place.relay,), "Alice"),
        EnableFriend(alice),
        SetFriendCurrencyMaxDebt(alice, OUSD, 200_00),
        OpenFriendCurrency(alice, OUSD),
    )
    assert scene.kept.told_by(alice, OUSD) == 150_00
    assert scene.chosen.currencies[0].decimals == 2


@SIZES
async def test_other_decimals_show_both_readings_and_ask(size: tuple[int, int]) -> None:
    scene = door(chosen=CardSettings().with_currency(OUSD, 2))
    async with running(scene, size) as (app, pilot):
        await pasted(app, pilot, invite(decimals=3, limit=10_000))
        check_golden(app, "accept_invite_decimals")
        app.screen.query_one("#limit0").focus()
        await pilot.press(*"5", "ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await settled(app, pilot)
        check_golden(app, "accept_invite_decimals_asked")
        await armed(app, pilot)
        await pilot.press("enter")  # Cancel has the focus
        await settled(app, pilot)
        assert scene.client.asked == []


@SIZES
async def test_our_own_invite_is_said_to_be_ours(size: tuple[int, int]) -> None:
    async with running(door(), size) as (app, pilot):
        await pasted(app, pilot, invite("Eve"))
        check_golden(app, "accept_invite_own")
        await pilot.press("ctrl+g", "q")
        await settled(app, pilot)
        assert not isinstance(app.screen, AcceptInviteScreen)


async def test_a_hostile_name_cannot_act_from_an_invite() -> None:
    strange = invite()
    strange = replace(strange, card=replace(strange.card, name=people.ESC_NAME + "\u202e[/]"))
    async with running(door()) as (app, pilot):
        await pasted(app, pilot, strange)
        check_golden(app, "accept_invite_hostile")
        assert not {"\x1b", "\u202e"} & set(picture(app))


@SIZES
async def test_an_answer_is_reviewed_and_accepted(size: tuple[int, int]) -> None:
    scene, answer = stranger()
    async with running(scene, size) as (app, pilot):
        await pasted(app, pilot, answer)
        assert isinstance(app.screen, AcceptAnswerScreen)
        check_golden(app, "accept_answer")
        await pilot.press("enter")
        await until(pilot, lambda: bool(scene.client.asked) and len(app.screen_stack) == 1)
    bob = key("Bob")
    assert SetFriendCurrencyMaxDebt(bob, OUSD, 150_00) in commands(scene)
    assert scene.kept.told_by(bob, OUSD) == 200_00
    assert scene.kept.invites == ()


async def test_an_answer_to_nothing_leads_to_the_form_for_friend_cards() -> None:
    _, answer = stranger()
    async with running(door()) as (app, pilot):
        await pasted(app, pilot, answer)
        check_golden(app, "accept_answer_unknown")
        await pilot.press("f")
        await until(pilot, lambda: isinstance(app.screen, AddFriendScreen))


async def test_an_invite_that_was_answered_makes_no_second_friend() -> None:
    scene, answer = stranger()
    scene.kept = scene.kept.with_answer(answer.invite_hash, key("Bob"))
    late = Answer(card("Mallory"), answer.invite_hash)
    async with running(scene) as (app, pilot):
        await pasted(app, pilot, late)
        assert isinstance(app.screen, AcceptAnswerScreen)
        assert "was answered already" in picture(app)
        await pilot.press("enter")
        await settled(app, pilot)
    assert scene.client.asked == []


async def test_a_friend_who_answers_again_has_the_relays_renewed_and_no_limit() -> None:
    scene, answer = stranger()
    scene.client.shown = replace(report(), friends=(friend("Bob", line()),))
    scene.kept = scene.kept.with_answer(answer.invite_hash, key("Bob"))
    async with running(scene) as (app, pilot):
        await pasted(app, pilot, answer)
        assert "Limits stay as they are" in picture(app)
        await pilot.press("enter")
        await until(pilot, lambda: bool(scene.client.asked) and len(app.screen_stack) == 1)
    assert commands(scene) == (SetFriendRelays(key("Bob"), answer.card.relays),)


def known_alice() -> FakeDoor:
    """Alice is a friend already, reached elsewhere, trusted with 200.00, and said 100.00 herself."""
    alice = replace(friend("Alice", line(balance=12_00)), remote_relays=people.PLACES[:2])
    kept = Notebook().with_told(key("Alice"), (Terms(OUSD, 2, 100_00),))
    return door(alice, kept=kept, chosen=CardSettings().with_currency(OUSD, 2))


@SIZES
@covers("MOB-33")
async def test_an_invite_of_a_friend_shows_what_would_change(size: tuple[int, int]) -> None:
    scene = known_alice()
    moved = replace(invite(), card=card("Alice", Terms(OUSD, 2, 150_00), relays=people.PLACES[1:]))
    async with running(scene, size) as (app, pilot):
        await pasted(app, pilot, moved)
        assert app.screen.query_one("#limit0").has_focus
        await pilot.press(*"250")
        await settled(app, pilot)
        check_golden(app, "accept_invite_known")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: bool(scene.client.asked))
        assert commands(scene) == (
            SetFriendRelays(key("Alice"), people.PLACES[1:]),
            SetFriendCurrencyMaxDebt(key("Alice"), OUSD, 250_00),
        )


@covers("MOB-33")
async def test_an_answer_of_a_friend_shows_what_would_change() -> None:
    sent = invite("Eve")
    scene = known_alice()
    remembered = SentInvite(invite_hash(sent), (Terms(OUSD, 2, 150_00),), "Alice", 1)
    scene.kept = scene.kept.with_invite(remembered)
    terms = Terms(OUSD, 2, 120_00)
    async with running(scene) as (app, pilot):
        await pasted(
            app, pilot, Answer(card("Alice", terms, relays=people.PLACES[1:]), invite_hash(sent))
        )
        check_golden(app, "accept_answer_known")


async def test_relays_that_stay_are_not_listed() -> None:
    async with running(known_alice()) as (app, pilot):
        await pasted(app, pilot, replace(invite(), card=card("Alice", relays=people.PLACES[:2])))
        assert "The relays stay as they are" in picture(app)


# --- limits that are meant ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "largest", "decimals", "is_high"),
    [
        (2_000_00, 200_00, 2, False),
        (2_000_01, 200_00, 2, True),
        (1_000_00, 0, 2, False),
        (1_000_01, 0, 2, True),
        (1_001, 0, 0, True),
        (0, 0, 2, False),
        (CREDITS_MAX, 0, 38, False),
    ],
)
def test_which_limits_are_asked_about(
    limit: int, largest: int, decimals: int, is_high: bool
) -> None:
    assert ceilings.is_high(limit, largest, decimals) is is_high


def test_the_largest_limit_counts_open_invites_and_one_currency_only() -> None:
    shown = report(friend("Bob", line(max_debt=5), line(HOURS, max_debt=9)))
    offered = SentInvite(invite_hash(invite()), (Terms(OUSD, 2, 7),), "", 1)
    assert ceilings.largest_given(shown, OUSD) == 5
    assert ceilings.largest_given(shown, OUSD, (offered,)) == 7
    assert ceilings.largest_given(shown, Currency("X")) == 0


@SIZES
async def test_a_limit_far_above_all_others_is_asked_about_once(size: tuple[int, int]) -> None:
    scene = known_alice()
    async with running(scene, size) as (app, pilot):
        await app.push_screen(FriendScreen(key("Alice")))
        await settled(app, pilot)
        for answer in ("escape", "y"):
            await pilot.press("l")
            await until(pilot, lambda: isinstance(app.screen, LimitDialog))
            app.screen.query_one("#value", LineInput).value = "20000"
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await settled(app, pilot)
            check_golden(app, "limit_high")
            assert app.screen.IS_ARMED_LATE
            assert scene.client.asked == []
            await armed(app, pilot)
            await pilot.press(answer)
            await until(pilot, lambda: isinstance(app.screen, FriendScreen))
        wanted = SetFriendCurrencyMaxDebt(key("Alice"), OUSD, 20_000_00)
        await until(pilot, lambda: scene.client.asked == [wanted])


async def test_a_high_first_limit_of_an_invite_is_asked_about() -> None:
    scene = door()
    async with running(scene) as (app, pilot):
        await app.push_screen(InviteScreen())
        await settled(app, pilot)
        await pilot.press(*"Bob", "tab", *"OUSD", "tab", "tab", *"15000")
        await armed(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await settled(app, pilot)
        check_golden(app, "limit_high_first")
        await armed(app, pilot)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, InviteScreen))
        assert not scene.kept.invites
        await armed(app, pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await armed(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))


@pytest.mark.parametrize("text", [card("Alice", Terms(OUSD, 2, 1)), invite()])
async def test_every_form_asks_about_a_high_limit(text: Content) -> None:
    scene = door()
    async with running(scene) as (app, pilot):
        await pasted(app, pilot, text)
        app.screen.query("#limit, #limit0").first(LineInput).value = "1000000"
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "Alice" in picture(app)
        await armed(app, pilot)
        await pilot.press("escape")
        await settled(app, pilot)
        assert scene.client.asked == []


async def test_a_currency_with_a_friend_asks_about_a_high_limit() -> None:
    scene = door(friend("Bob"))
    async with running(scene) as (app, pilot):
        await app.push_screen(CurrencyScreen(key("Bob")))
        await settled(app, pilot)
        await pilot.press(*"OUSD", "tab", "tab", *"9999999")
        await armed(app, pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert scene.client.asked == []


async def test_our_own_answer_is_said_to_be_ours() -> None:
    async with running(door()) as (app, pilot):
        await pasted(app, pilot, Answer(card("Eve"), invite_hash(invite())))
        assert "This is your own answer" in picture(app)


# --- friend cards -------------------------------------------------------------------------------


@SIZES
@covers("MOB-32")
async def test_a_friend_card_makes_a_friend_on_one_form(size: tuple[int, int]) -> None:
    scene = door()
    async with running(scene, size) as (app, pilot):
        await pasted(app, pilot, card("Bob", Terms(OUSD, 2, 90_00)))
        assert isinstance(app.screen, AddFriendScreen)
        check_golden(app, "add_friend")
        app.screen.query_one("#limit").focus()
        await pilot.press(*"80", "ctrl+g")
        await until(pilot, lambda: bool(scene.client.asked))
        await settled(app, pilot)
    bob = key("Bob")
    assert commands(scene)[1:] == (
        EnableFriend(bob),
        SetFriendCurrencyMaxDebt(bob, OUSD, 80_00),
        OpenFriendCurrency(bob, OUSD),
    )
    assert scene.kept.told_by(bob, OUSD) == 90_00


async def test_a_friend_may_be_added_without_a_currency_and_switched_off() -> None:
    scene = door()
    async with running(scene) as (app, pilot):
        await pasted(app, pilot, card("Bob"))
        app.screen.query_one("#enable").focus()
        await pilot.press("space", "ctrl+g")
        await until(pilot, lambda: bool(scene.client.asked))
        await settled(app, pilot)
    assert [type(one) for one in commands(scene)] == [AddFriend]


@SIZES
@covers("MOB-33")
async def test_new_relays_of_a_friend_are_shown_beside_the_old(size: tuple[int, int]) -> None:
    scene = FakeDoor()
    async with running(scene, size) as (app, pilot):
        await pasted(app, pilot, card("Bob"))
        check_golden(app, "add_friend_known")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: bool(scene.client.asked))
        await settled(app, pilot)
    relays = (RelayAddress(key("their relay"), "relay.example.org:3000"),)
    assert commands(scene) == (SetFriendRelays(key("Bob"), relays),)


async def test_a_card_with_nothing_new_and_our_own_card_are_said_plainly() -> None:
    scene = FakeDoor()
    async with running(scene) as (app, pilot):
        bob = scene.client.shown.friends[0]
        await pasted(app, pilot, card("Bob", relays=bob.remote_relays))
        assert "Nothing in it is new" in picture(app)
        await pilot.press("q")
        await settled(app, pilot)
        await pasted(app, pilot, card("Eve"))
        check_golden(app, "add_friend_own")


# --- servers ------------------------------------------------------------------------------------


def place(name: str = "vps") -> RelayAddress:
    """Where both servers are."""
    return RelayAddress(key(name), "vps.example.org:4000")


@SIZES
async def test_servers_are_reviewed_and_added(size: tuple[int, int]) -> None:
    scene = door()
    scene.client.shown = people.without_servers(report())
    async with running(scene, size) as (app, pilot):
        await pasted(app, pilot, Servers(place(), place()))
        assert isinstance(app.screen, ServersScreen)
        check_golden(app, "servers")
        await pilot.press("enter")
        await until(pilot, lambda: bool(scene.client.asked))
        await settled(app, pilot)
    named = NamedAddress(key("vps"), "vps.example.org:4000", "vps.example.org")
    assert commands(scene) == (AddRelay(named), AddIndexServer(named))


async def test_having_servers_already_is_said_and_a_ticket_is_used_as_what_it_is() -> None:
    scene = door()
    async with running(scene) as (app, pilot):
        await pasted(app, pilot, Ticket(place().public_key, place().address, Role.RELAY))
        check_golden(app, "servers_more")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: bool(scene.client.asked))
        await settled(app, pilot)
    assert [type(one) for one in commands(scene)] == [AddRelay]


async def test_servers_in_use_already_leave_nothing_to_do() -> None:
    scene = door()
    async with running(scene) as (app, pilot):
        shown = scene.client.shown
        await pasted(app, pilot, Servers(shown.relays[0].relay, shown.index_servers[0].relay))
        assert "You use these already" in picture(app)


async def test_read_only_introduces_nobody() -> None:
    scene = door()
    async with running(scene, options=AppOptions(is_read_only=True)) as (app, pilot):
        await pasted(app, pilot, Servers(place(), place()))
        await pilot.press("ctrl+g")
        await settled(app, pilot)
        assert scene.client.asked == []


async def test_a_section_stays_below() -> None:
    async with running(door()) as (app, pilot):
        await pilot.press("5")
        await pasted(app, pilot, card("Bob"))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, FriendsScreen))
