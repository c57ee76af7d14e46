"""The door to cards: run here, attach to where they run, and say when one is gone."""

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from offset_engine import notebook
from offset_engine.cards import CardStore, Cost
from offset_engine.client import AddRelay, AppPermissions, Currency, NamedAddress, RelayAddress
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import PrivateKey
from offset_engine.errors import OffsetError, StoreError, TransportError
from offset_engine.files import Servers, to_text
from offset_engine.introducing import SentInvite
from offset_tui import background
from offset_tui.app import OffsetApp
from offset_tui.card_door import ProcessDoor
from offset_tui.dialogs.pick import Pick
from offset_tui.doors import CardKind, CardPlace, NeedsPassphraseError
from offset_tui.screens.accept import AcceptAnswerScreen
from tests.covers import covers
from tests.tui.card_scenes import ALICE, ANSWER
from tests.tui.screens import picture, until

pytestmark = pytest.mark.anyio

QUICK = Cost(1, 8)
KEY = public_key_of(PrivateKey(bytes([7]) * 32))
RELAY = NamedAddress(KEY, "127.0.0.1:1", "seven")


class Events:
    """What an app was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.news = anyio.Event()

    def card_died(self, name: str, reason: str) -> None:
        self._tell("died", name, reason)

    def card_connection(self, name: str, is_connected: bool, reason: str) -> None:
        self._tell("connected" if is_connected else "lost", name, reason)

    def _tell(self, *what: Any) -> None:
        self.told.append(what)
        self.news.set()
        self.news = anyio.Event()

    async def until(self, kind: str) -> tuple[Any, ...]:
        with anyio.fail_after(10):
            while True:
                for one in self.told:
                    if one[0] == kind:
                        return one
                await self.news.wait()


@contextlib.contextmanager
def a_door(place: Path, wanted: str | None = None) -> Iterator[tuple[ProcessDoor, Events]]:
    door, events = ProcessDoor(CardStore(place / "store", cost=QUICK), place, wanted), Events()
    door.set_events(events)
    try:
        yield door, events
    finally:
        assert door.close_all()


@asynccontextmanager
async def alice(place: Path) -> AsyncIterator[tuple[ProcessDoor, Events]]:
    """A door with one new card, not opened."""
    with a_door(place) as (door, events):
        await door.create("Alice")
        yield door, events


async def place_of(door: ProcessDoor, name: str) -> CardPlace:
    (found,) = [one for one in await door.cards() if one.name == name]
    return found.place


async def test_a_new_card_runs_here_until_it_is_closed(tmp_path: Path):
    async with alice(tmp_path) as (door, _):
        assert door.first == "Alice"
        assert await place_of(door, "Alice") is CardPlace.OFF
        card = await door.open("Alice")
        assert await place_of(door, "Alice") is CardPlace.HERE
        assert (card.kind, card.is_attached) == (CardKind.LOCAL, False)
        assert (await card.client.report()).local_public_key == card.public_key
        assert await door.open("Alice") is card
        await door.close("Alice")
        assert await place_of(door, "Alice") is CardPlace.OFF
        with pytest.raises(TransportError):
            await card.client.report()
        again = await door.open("Alice")
        assert again.public_key == card.public_key


async def test_what_was_done_is_there_after_the_next_start(tmp_path: Path):
    async with alice(tmp_path) as (door, _):
        card = await door.open("Alice")
        await card.client.command(AddRelay(RELAY))
    with a_door(tmp_path) as (door, _):
        card = await door.open("Alice")
        assert [one.name for one in (await card.client.report()).relays] == ["seven"]


async def test_many_cards_run_at_once(tmp_path: Path):
    async with alice(tmp_path) as (door, _):
        await door.create("Bob")
        one, other = await door.open("Alice"), await door.open("Bob")
        assert one.public_key != other.public_key
        assert door.first is None
        await door.close("Alice")
        assert (await other.client.report()).local_public_key == other.public_key


async def test_a_card_another_process_runs_is_attached_to_and_not_broken(tmp_path: Path):
    async with alice(tmp_path) as (first, _):
        here = await first.open("Alice")
        with a_door(tmp_path) as (second, _):
            assert await place_of(second, "Alice") is CardPlace.BACKGROUND
            there = await second.open("Alice")
            assert there.is_attached
            assert there.public_key == here.public_key
            async with aclosing(here.client.reports()) as reports:
                assert (await anext(reports)).relays == ()
                await there.client.command(AddRelay(RELAY))
                with anyio.fail_after(5):
                    assert (await anext(reports)).relays
            await second.close("Alice")
            assert (await here.client.report()).relays


async def test_who_is_attached_is_told_when_the_other_process_ends_the_card(tmp_path: Path):
    async with alice(tmp_path) as (first, _):
        await first.open("Alice")
        with a_door(tmp_path) as (second, events):
            there = await second.open("Alice")
            await first.close("Alice")
            kind, name, reason = await events.until("died")
            assert (kind, name) == ("died", "Alice")
            assert "ended" in reason
            with pytest.raises(TransportError):
                await there.client.report()


async def test_a_node_that_dies_is_reported_and_can_be_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with alice(tmp_path) as (door, events):
        card = await door.open("Alice")

        def full(*_: object) -> None:
            raise StoreError("the disk is gone")

        with monkeypatch.context() as patch:
            patch.setattr("offset_engine.store.sqlite.SqliteStore.save", full)
            with pytest.raises(TransportError):
                await card.client.command(AddRelay(RELAY))
            assert await events.until("died") == ("died", "Alice", "the disk is gone")
        again = await door.open("Alice")
        assert (await again.client.report()).relays == ()


async def test_a_protected_card_needs_its_passphrase_here_and_where_it_runs(tmp_path: Path):
    with a_door(tmp_path) as (door, _):
        await door.create("Alice", "correct horse")
        (info,) = await door.cards()
        assert info.is_locked
        for wrong in (None, "battery staple"):
            with pytest.raises(NeedsPassphraseError):
                await door.open("Alice", wrong)
        card = await door.open("Alice", "correct horse")
        assert "correct horse" not in repr(vars(door))
        with a_door(tmp_path) as (other, _):
            for wrong in (None, "battery staple"):
                with pytest.raises(NeedsPassphraseError):
                    await other.open("Alice", wrong)
            assert (await other.open("Alice", "correct horse")).public_key == card.public_key
        await door.check_passphrase("Alice", "correct horse")
        with pytest.raises(NeedsPassphraseError):
            await door.check_passphrase("Alice", "wrong")
        await door.close("Alice")
        await door.set_passphrase("Alice", "correct horse", None)
        assert (await door.open("Alice")).public_key == card.public_key


async def test_settings_and_notes_are_kept(tmp_path: Path):
    async with alice(tmp_path) as (door, _):
        settings = (await door.settings("Alice")).with_currency(Currency("OUSD"), 3)
        await door.save_settings("Alice", settings)
        assert (await door.open("Alice")).settings == settings
        assert await door.notebook("Alice") == notebook.Notebook()
        book = notebook.Notebook().with_note("payment", "bread for Sunday")
        await door.save_notebook("Alice", notebook.Notebook(), book)
        assert await door.notebook("Alice") == book
        path = door.store.card("Alice").directory / "notebook.json"
        assert path.stat().st_mode & 0o777 == 0o600


async def test_what_another_program_notes_is_read_and_never_overwritten(tmp_path: Path) -> None:
    """The file is read again only if it is another one."""
    async with alice(tmp_path) as (door, _):
        seen = await door.notebook("Alice")
        other = CardStore(tmp_path / "store", cost=QUICK)
        other.change_notebook("Alice", seen, seen.with_note("a", "by a command"))
        kept = await door.save_notebook("Alice", seen, seen.with_note("b", "by the app"))
        assert dict(kept.notes) == {"a": "by a command", "b": "by the app"}
        assert await door.notebook("Alice") == kept
        reads: list[str] = []
        door.store.notebook = reads.append  # type: ignore[method-assign,assignment]
        assert await door.notebook("Alice") == kept
        assert reads == []


async def test_an_invite_made_by_a_command_is_known_to_the_open_app(tmp_path: Path) -> None:
    """Its answer opens the review that makes friends, and a command that took the answer first wins."""
    async with alice(tmp_path) as (door, _):
        app = OffsetApp(door)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: app.has_session)
            other = CardStore(tmp_path / "store", cost=QUICK)
            before = other.notebook("Alice")
            sent = SentInvite(ANSWER.invite_hash, ALICE.terms, "Bob", 1)
            other.change_notebook("Alice", before, before.with_invite(sent))
            app.take_text(to_text(ANSWER))
            await until(pilot, lambda: isinstance(app.screen, AcceptAnswerScreen))
            await until(pilot, lambda: "you invited Bob" in picture(app))
            now = other.notebook("Alice")
            other.change_notebook("Alice", now, now.with_answer(sent.invite_hash, KEY))
            await until(pilot, lambda: app.screen.is_armed)
            await pilot.press("ctrl+g")
            await until(pilot, lambda: "answered already" in picture(app))
            assert not app.session.snapshot.report.friends


@pytest.mark.parametrize("damage", [b"{", b"\xff", b"[]"])
async def test_a_damaged_notebook_is_kept_aside(tmp_path: Path, damage: bytes):
    async with alice(tmp_path) as (door, _):
        path = door.store.card("Alice").directory / "notebook.json"
        path.write_bytes(damage)
        assert await door.notebook("Alice") == notebook.Notebook()
        (aside,) = path.parent.glob("notebook.json.unread-*")
        assert aside.read_bytes() == damage
        assert not path.exists()


async def test_backups_are_made_looked_into_and_restored(tmp_path: Path):
    async with alice(tmp_path) as (door, _):
        card = await door.open("Alice")
        await door.backup("Alice", tmp_path / "alice.backup", "paper")
        view = await door.read_backup(tmp_path / "alice.backup", "paper")
        assert (view.name, view.public_key) == ("Alice", card.public_key)
        assert "two copies" in view.warning
        with pytest.raises(NeedsPassphraseError):
            await door.read_backup(tmp_path / "alice.backup", "scissors")
        with pytest.raises(OffsetError):
            await door.restore(tmp_path / "alice.backup", "paper")
        await door.close("Alice")
        assert (await door.remove("Alice")).is_dir()
        restored = await door.restore(tmp_path / "alice.backup", "paper", "Alice again")
        assert (restored.name, restored.public_key) == ("Alice again", card.public_key)


async def test_cards_are_renamed_disabled_and_refused(tmp_path: Path):
    async with alice(tmp_path) as (door, _):
        await door.rename("Alice", "Alicia")
        await door.set_enabled("Alicia", is_enabled=False)
        (info,) = await door.cards()
        assert (info.name, info.is_enabled) == ("Alicia", False)
        for doing in (door.open("Alice"), door.create("alicia"), door.create("")):
            with pytest.raises(OffsetError):
                await doing


async def test_another_device_uses_the_card_with_its_app_key(tmp_path: Path):
    async with alice(tmp_path) as (door, events):
        with pytest.raises(OffsetError, match="address"):
            await door.new_app_key("Alice", "phone", AppPermissions(read=True))
        port = await _free_port()
        settings = replace(await door.settings("Alice"), app_address=f"127.0.0.1:{port}")
        await door.save_settings("Alice", settings)
        card = await door.open("Alice")
        text = await door.new_app_key("Alice", "phone", AppPermissions(read=True, config=True))
        (app,) = await door.apps("Alice")
        assert app.permissions == AppPermissions(read=True, config=True)
        with a_door(tmp_path / "phone") as (phone, told):
            info = await phone.add_remote("At home", text)
            assert (info.kind, info.address) == (CardKind.REMOTE, f"127.0.0.1:{port}")
            assert await phone.test("At home") == app.permissions
            remote = await phone.open("At home")
            assert (remote.is_attached, remote.public_key) == (True, card.public_key)
            assert (await remote.client.report()).local_public_key == card.public_key
            await door.close("Alice")
            assert (await told.until("lost"))[1] == "At home"
            await door.open("Alice")
            assert (await told.until("connected"))[1] == "At home"
        await door.remove_app("Alice", "phone")
        assert await door.apps("Alice") == ()
        assert events.told == []


async def _free_port() -> int:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        return int(listener.extra(anyio.abc.SocketAttribute.local_port))


async def test_a_card_runs_servers_for_others(tmp_path: Path):
    async with alice(tmp_path) as (door, _):
        await door.open("Alice")
        port = await _free_port()
        card = await door.run_servers("Alice", f"127.0.0.1:{port}")
        place = (await card.client.report()).relays[0]
        servers = Servers(*2 * (RelayAddress(place.public_key, f"127.0.0.1:{port}"),))
        assert card.servers_text == to_text(servers)
        assert place.public_key != card.public_key
        assert (await door.open("Alice")) == card
        async with aclosing(card.client.reports()) as reports:
            with anyio.fail_after(5):
                async for report in reports:
                    if report.listening_relays and report.connected_index is not None:
                        break
        with a_door(tmp_path) as (other, _):
            assert (await other.open("Alice")).servers_text == card.servers_text
        without = await door.stop_servers("Alice")
        assert without.servers_text == ""
        assert (await without.client.report()).relays == ()


async def test_servers_that_cannot_listen_leave_the_card_as_it_was(tmp_path: Path):
    async with alice(tmp_path) as (door, _):
        await door.open("Alice")
        async with await anyio.create_tcp_listener(local_host="0.0.0.0") as taken:
            port = taken.extra(anyio.abc.SocketAttribute.local_port)
            with pytest.raises(OffsetError):
                await door.run_servers("Alice", f"127.0.0.1:{port}")
        assert not (await door.settings("Alice")).serve_address
        assert (await door.open("Alice")).servers_text == ""


async def test_over_ssh_is_what_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("SSH_CONNECTION", "SSH_TTY"):
        monkeypatch.delenv(name, raising=False)
    with a_door(tmp_path, "Alice") as (door, _):
        assert not door.is_over_ssh
        monkeypatch.setitem(os.environ, "SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
        assert door.is_over_ssh
        assert door.first == "Alice"


# --- in the background --------------------------------------------------------------------------


@contextlib.contextmanager
def ending(place: Path, name: str = "Alice") -> Iterator[None]:
    """Whatever was started in the background ends with the block."""
    try:
        yield
    finally:
        background.stop(CardStore(place / "store", cost=QUICK), name)


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
async def test_a_card_left_running_goes_on_without_the_app_and_is_attached_to_at_once(
    tmp_path: Path, passphrase: str | None
):
    with ending(tmp_path):
        with a_door(tmp_path) as (door, events):
            await door.create("Alice", passphrase)
            here = await door.open("Alice", passphrase)
            await here.client.command(AddRelay(RELAY))
            card = await door.leave_running("Alice")
            assert card.is_attached
            assert card.settings.stays_online
            assert card.public_key == here.public_key
            assert (await card.client.report()).relays
            with pytest.raises(TransportError):
                await here.client.report()
            assert await place_of(door, "Alice") is CardPlace.BACKGROUND
            assert await door.leave_running("Alice") == card
            assert events.told == []
        with a_door(tmp_path) as (door, _):
            (info,) = await anyio.to_thread.run_sync(door.store.cards)
            assert info.process not in (None, os.getpid())
            with anyio.fail_after(1):
                again = await door.open("Alice", passphrase)
            assert again.is_attached
            await door.go_offline("Alice")
            assert await place_of(door, "Alice") is CardPlace.OFF
            assert (await door.settings("Alice")).stays_online is False
            with anyio.fail_after(5):
                assert not (await door.open("Alice", passphrase)).is_attached


async def test_a_card_that_stays_online_starts_in_the_background(tmp_path: Path):
    with ending(tmp_path), a_door(tmp_path) as (door, events):
        await door.create("Alice")
        settings = replace(await door.settings("Alice"), stays_online=True)
        await door.save_settings("Alice", settings)
        card = await door.open("Alice")
        assert card.is_attached
        info = await anyio.to_thread.run_sync(door.store.card, "Alice")
        assert info.process is not None
        os.kill(info.process, signal.SIGKILL)
        assert (await events.until("died"))[1] == "Alice"
        assert (await door.open("Alice")).public_key == card.public_key


async def test_a_background_process_that_does_not_start_says_why_and_the_card_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with alice(tmp_path) as (door, _):
        await door.open("Alice")
        monkeypatch.setattr(
            background, "program", lambda: [sys.executable, "-c", "exit('no room')"]
        )
        with pytest.raises(TransportError, match="no room"):
            await door.leave_running("Alice")
        assert await place_of(door, "Alice") is CardPlace.HERE
        card = await door.open("Alice")
        assert (await card.client.report()).local_public_key == card.public_key


@covers("CMP-06")
@pytest.mark.parametrize(("wanted", "bob"), [("Alice", CardPlace.OFF), (None, CardPlace.HERE)])
async def test_all_enabled_cards_run_in_one_process_unless_one_is_named(
    tmp_path: Path, wanted: str | None, bob: CardPlace
) -> None:
    async with alice(tmp_path) as (door, _):
        await door.create("Bob")
        await door.create("Old")
        await door.set_enabled("Old", is_enabled=False)
    with a_door(tmp_path, wanted) as (door, _):
        app = OffsetApp(door)
        async with app.run_test(size=(80, 24)) as pilot:
            if wanted is None:
                await until(pilot, lambda: isinstance(app.screen, Pick))
                await pilot.press("enter")
            await until(pilot, lambda: app.has_session)
            await until(pilot, lambda: not any(one.group == "others" for one in app.workers))
            places = [one.place for one in await door.cards()]
            assert places == [CardPlace.HERE, bob, CardPlace.OFF]


async def test_a_warning_of_the_store_reaches_the_app(tmp_path: Path) -> None:
    async with alice(tmp_path) as (door, _):
        await door.set_passphrase("Alice", None, "a good one")
        (found,) = await door.cards()
        assert not found.warning
        sealed = next((tmp_path / "store").rglob("node.db.sealed"))
        sealed.with_name("node.db").write_bytes(b"left open by a program that was killed")
        (found,) = await door.cards()
        assert "is not sealed" in found.warning
