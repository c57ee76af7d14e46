"""The engine's promises: what is sent is saved, and no disk, friend or bug of ours takes the rest down."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from offset_engine.core.api import (
    AddFriend,
    AddIndexServer,
    AddInvoice,
    AddRelay,
    Batch,
    CommandFault,
    CreateTransaction,
    EnableFriend,
    PayChanged,
    RemoveFriend,
    SetFriendCurrencyMaxDebt,
    SetFriendName,
)
from offset_engine.core.codec import encode_friend_message
from offset_engine.core.events import CommandGiven, Event, MessageArrived, Step, Touched
from offset_engine.core.link import CloseCode
from offset_engine.core.messages import (
    FriendMessage,
    MoveTokenMessage,
    Part,
    RouteChoice,
    RoutesResponse,
    TokenWantedMessage,
)
from offset_engine.core.node import step
from offset_engine.core.payer import PayFailure, PayStage
from offset_engine.core.reports import Record
from offset_engine.core.signing import Invoice
from offset_engine.core.state import Env, NodeState
from offset_engine.core.token_channel import Outgoing
from offset_engine.core.values import (
    InvoiceId,
    NamedAddress,
    PaymentId,
    PublicKey,
    RelayAddress,
    Timers,
)
from offset_engine.errors import InvariantError, StoreError, TransportError
from offset_engine.net import engine as engine_module
from offset_engine.net.local_client import CHANGES_MAX, LocalWatcher
from offset_engine.store import MemoryStore
from tests.covers import covers
from tests.fakes import FST, Card, new_invoice, open_payment, outcomes, uid, wish
from tests.net.loopback import until
from tests.shell.engine_world import IDENTITY, KEY, FakeLink, Scene, running

pytestmark = pytest.mark.anyio

QUICK = Timers(part_stuck_ms=30, route_answer_ms=30, group_unsealed_ms=30, friend_wait_ms=30)


class TestStore(MemoryStore):
    """A store that can fail, block, and say which thread it was called on."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__(KEY)
        self.error: Exception | None = None
        self.takes_s = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.threads: list[int] = []
        self.saves = 0

    def save(
        self, old: NodeState, new: NodeState, touched: Touched, records: Sequence[Record]
    ) -> None:
        self.threads.append(threading.get_ident())
        if self.takes_s:
            time.sleep(self.takes_s)
        self.gate.wait(10)
        if self.error is not None:
            raise self.error
        super().save(old, new, touched, records)
        self.saves += 1


def card(name: str, number: int) -> Card:
    return Card(name, number)


def noise(scene: Scene, one: Card) -> bytes:
    """A message that changes nothing, however often it comes: the wish for a token it gave us."""
    last = scene.engine.state.friends[one.key].channel.last_incoming
    assert last is not None
    return encode_friend_message(TokenWantedMessage(last.new_token))


def rename(key: PublicKey, name: str) -> SetFriendName:
    return SetFriendName(key, name)


async def on_a_thread(scene: Scene, store: TestStore, one: Card) -> None:
    """Make the disk slow until saves happen on a thread, then quick again but still there."""
    store.takes_s = 0.006
    number = 0
    here = threading.get_ident()
    while store.threads[-1] == here:
        number += 1
        await scene.command(rename(one.key, f"name {number}"))
    store.takes_s = 0.0


# --- nothing leaves before it is saved ----------------------------------------------------------


async def test_every_message_that_leaves_is_in_the_store(monkeypatch):
    async with running(monkeypatch) as scene:
        checked = []

        def look(link: FakeLink, message: FriendMessage) -> None:
            stored = scene.store.load().friends[link.card.key].consistent
            assert stored is not None
            if isinstance(message, MoveTokenMessage):
                assert isinstance(stored.direction, Outgoing)
                assert stored.direction.move_token == message.move_token
                checked.append(message)

        scene.peers.on_send = look
        bob = card("bob", 1)
        await scene.befriend(bob)
        invoice = new_invoice(bob, 10)
        payment = await scene.client.pay(invoice, 0)
        await scene.client.wait_pay(payment, PayStage.COMMITTED)
        assert len(checked) >= 2


async def test_a_command_is_answered_only_once_its_result_is_in_the_store(monkeypatch):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        await scene.command(AddFriend(bob.key, (), "bob"))
        assert scene.store.load().friends[bob.key].name == "bob"


async def test_a_save_that_fails_ends_the_engine_before_anything_is_sent(monkeypatch):
    store = TestStore()
    async with running(monkeypatch, store) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        invoice = new_invoice(bob, 10)
        before, saved = len(link.sent), store.saves
        store.error = StoreError("the disk is on fire")
        with pytest.raises(TransportError):
            await scene.client.pay(invoice, 0)
        await until(lambda: scene.ended)
        assert isinstance(scene.ended[0], StoreError)
        assert (len(link.sent), store.saves) == (before, saved)
        with pytest.raises(TransportError):
            await scene.command(rename(bob.key, "again"))


async def test_whoever_watches_hears_that_the_node_has_stopped(monkeypatch):
    store = TestStore()
    async with running(monkeypatch, store) as scene, scene.client.watch() as watcher:
        store.error = StoreError("gone")
        with pytest.raises(TransportError):
            await scene.command(AddFriend(card("bob", 1).key, (), "bob"))
        for _ in range(2):
            with pytest.raises(TransportError):
                await watcher.next()


async def test_nothing_is_sent_while_a_link_is_busy_and_the_newest_state_goes_when_it_is_free(
    monkeypatch,
):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        await until(lambda: scene.engine.state.friends[bob.key].is_ready(FST))
        link.is_writable = False
        before = len(link.sent)
        invoice = new_invoice(bob, 10)
        payment = await scene.client.pay(invoice, 0)
        assert len(link.sent) == before
        link.is_writable = True
        scene.engine.link_writable(bob.key, link.link_id)
        assert (await scene.client.wait_pay(payment, PayStage.COMMITTED)).commit is not None


# --- a full disk --------------------------------------------------------------------------------


async def test_a_full_disk_refuses_commands_and_the_node_works_again_when_there_is_room(
    monkeypatch,
):
    async with running(monkeypatch) as scene:
        bob, eve = card("bob", 1), card("eve", 2)
        await scene.befriend(bob)
        scene.store.is_full = True
        assert await scene.fault_of(AddFriend(eve.key, (), "eve")) is CommandFault.STORE_FULL
        assert eve.key not in scene.engine.state.friends
        scene.store.is_full = False
        await scene.command(AddFriend(eve.key, (), "eve"))
        assert eve.key in scene.store.load().friends


async def test_a_full_disk_drops_friends_messages_unread_and_closes_their_links(monkeypatch):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        invoice = new_invoice(bob, 10)
        payment = await scene.client.pay(invoice, 0)
        report = await scene.client.wait_pay(payment, PayStage.COMMITTED)
        before = scene.engine.state
        scene.store.is_full = True
        bob.do(SetFriendCurrencyMaxDebt(KEY, FST, 50))
        link.flood(noise(scene, bob), 6)
        await until(lambda: link.closed)
        assert link.closed is CloseCode.OVERLOADED
        assert scene.engine.state is before
        scene.store.is_full = False
        again = scene.peers.connect(bob)
        await until(lambda: scene.is_ready(bob))
        assert report.commit is not None
        assert again.closed is None


async def test_a_link_adopted_while_the_disk_is_full_is_closed_and_a_later_one_works(monkeypatch):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        await scene.befriend(bob)
        scene.store.is_full = True
        link = scene.peers.connect(bob)
        await until(lambda: link.closed)
        scene.store.is_full = False
        scene.peers.connect(bob)
        await until(lambda: scene.is_ready(bob))


async def test_a_friend_that_went_offline_while_the_disk_was_full_is_offline_afterwards(
    monkeypatch,
):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        await scene.befriend(bob)
        scene.store.is_full = True
        scene.peers.disconnect(bob)
        assert await scene.fault_of(rename(bob.key, "x")) is CommandFault.STORE_FULL
        assert scene.engine.state.friends[bob.key].is_online
        scene.store.is_full = False
        await until(lambda: not scene.engine.state.friends[bob.key].is_online)


async def test_a_node_started_on_a_full_disk_comes_to_life_when_there_is_room(monkeypatch):
    store = MemoryStore(KEY)
    store.is_full = True
    async with running(monkeypatch, store) as scene:
        bob = card("bob", 1)
        assert await scene.fault_of(AddFriend(bob.key, (), "bob")) is CommandFault.STORE_FULL
        store.is_full = False
        await scene.befriend(bob)


async def test_routes_that_arrive_while_the_disk_is_full_are_not_lost(monkeypatch):
    async with running(monkeypatch) as scene:
        bob, eve = card("bob", 1), card("eve", 2)
        await scene.befriend(bob)
        await scene.command(AddIndexServer(NamedAddress(eve.key, "127.0.0.1:1")))
        payment = await scene.client.pay(Invoice(InvoiceId(bytes(32)), FST, eve.key, 5), 0)
        (question,) = scene.index.questions
        scene.store.is_full = True
        scene.index.on_routes(RoutesResponse(question.request_id, 1, 0, 0, ()))
        assert await scene.fault_of(rename(bob.key, "x")) is CommandFault.STORE_FULL
        scene.store.is_full = False
        assert (await scene.client.wait_pay(payment)).failure is not None


# --- our own bugs -------------------------------------------------------------------------------


def break_on(monkeypatch: pytest.MonkeyPatch, *keys: PublicKey) -> None:
    """Let every message of these friends meet an impossible state."""

    def breaking(state: NodeState, events: tuple[Event, ...], env: Env) -> Step:
        for event in events:
            if isinstance(event, MessageArrived) and event.friend in keys:
                known = state.friends.get(event.friend)
                if known is not None and known.link_id == event.link_id:
                    raise InvariantError(f"impossible {IDENTITY!r}")
            if isinstance(event, CommandGiven) and isinstance(event.command, RemoveFriend):
                raise InvariantError("impossible command")
        return step(state, events, env)

    monkeypatch.setattr(engine_module, "step", breaking)


async def test_a_broken_invariant_disables_the_friend_whose_message_broke_it_and_nobody_else(
    monkeypatch, tmp_path: Path
):
    diagnostics = tmp_path / "diagnostics.txt"
    async with running(monkeypatch, diagnostics=diagnostics) as scene:
        bob, eve = card("bob", 1), card("eve", 2)
        link = await scene.befriend(bob)
        other = await scene.befriend(eve)
        break_on(monkeypatch, bob.key)
        link.flood(noise(scene, bob), 4)
        other.flood(noise(scene, eve), 1)
        await until(lambda: not scene.engine.state.friends[bob.key].is_enabled)
        assert link.closed is CloseCode.PROTOCOL
        assert bob.key not in scene.peers.friends
        assert not scene.store.load().friends[bob.key].is_enabled
        payment = await scene.client.pay(new_invoice(eve, 10), 0)
        assert (await scene.client.wait_pay(payment, PayStage.COMMITTED)).commit is not None
        report = {one.public_key: one for one in (await scene.client.report()).friends}
        assert (report[bob.key].is_unreadable, report[eve.key].is_unreadable) == (True, False)
        assert not scene.ended
    text = diagnostics.read_text()
    assert "TokenWantedMessage" in text
    assert "impossible" in text
    assert "Traceback" in text
    for secret in (IDENTITY.to_text(), IDENTITY.hex(), repr(bytes(IDENTITY))):
        assert secret not in text


async def test_the_third_broken_invariant_ends_the_engine(monkeypatch):
    async with running(monkeypatch) as scene:
        cards = [card(f"friend {number}", number) for number in (1, 2, 3, 4)]
        links = [await scene.befriend(one) for one in cards]
        break_on(monkeypatch, *(one.key for one in cards))
        for number, (one, link) in enumerate(zip(cards[:2], links[:2], strict=True), 1):
            link.flood(noise(scene, one), 1)
            await until(lambda one=one: not scene.engine.state.friends[one.key].is_enabled)
            assert scene.engine.counters.steps >= number
        links[2].flood(noise(scene, cards[2]), 1)
        await until(lambda: scene.ended)
        assert isinstance(scene.ended[0], InvariantError)


async def test_a_broken_invariant_no_friend_is_to_blame_for_ends_the_engine(monkeypatch):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        await scene.befriend(bob)
        break_on(monkeypatch, bob.key)
        with pytest.raises(TransportError):
            await scene.command(RemoveFriend(bob.key))
        await until(lambda: scene.ended)
        assert isinstance(scene.ended[0], InvariantError)
        assert bob.key in scene.store.load().friends


async def test_a_diagnostic_that_cannot_be_written_stops_nobody(monkeypatch, tmp_path: Path):
    async with running(monkeypatch, diagnostics=tmp_path) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        break_on(monkeypatch, bob.key)
        link.flood(noise(scene, bob), 1)
        await until(lambda: not scene.engine.state.friends[bob.key].is_enabled)
        assert not scene.ended


async def test_a_friend_is_disabled_even_if_the_disk_was_full_when_it_broke_us(monkeypatch):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        break_on(monkeypatch, bob.key)
        scene.store.is_full = True
        link.flood(noise(scene, bob), 1)
        await until(lambda: link.closed)
        assert scene.engine.state.friends[bob.key].is_enabled
        scene.store.is_full = False
        await until(lambda: not scene.engine.state.friends[bob.key].is_enabled)


# --- back-pressure ------------------------------------------------------------------------------


async def test_a_flooding_friend_is_paused_at_four_messages_and_others_go_on(monkeypatch):
    store = TestStore()
    async with running(monkeypatch, store) as scene:
        bob, eve = card("bob", 1), card("eve", 2)
        flooder = await scene.befriend(bob)
        other = await scene.befriend(eve)
        await on_a_thread(scene, store, bob)
        store.gate.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.command, rename(bob.key, "blocked"))
            await until(lambda: scene.engine.counters.commits < len(store.threads))
            flooder.flood(noise(scene, bob), 1_000)
            other.flood(noise(scene, eve), 2)
            assert list(scene.peers.paused) == [bob.key]
            assert len(flooder.waiting) == 1_000 - 4
            assert not other.waiting
            store.gate.set()
        payment = await scene.client.pay(new_invoice(eve, 10), 0)
        assert (await scene.client.wait_pay(payment, PayStage.COMMITTED)).commit is not None
        await until(lambda: not flooder.waiting and not scene.peers.paused)
        assert scene.peers.pauses >= 200


async def test_a_slow_disk_moves_saving_to_a_thread_and_a_quick_one_brings_it_back(monkeypatch):
    store = TestStore()
    async with running(monkeypatch, store) as scene:
        bob = card("bob", 1)
        await scene.command(AddFriend(bob.key, (), "bob"))
        assert set(store.threads) == {threading.get_ident()}
        await on_a_thread(scene, store, bob)
        assert store.threads[-1] != threading.get_ident()
        assert len(store.threads) >= 32
        number = 0
        while store.threads[-1] != threading.get_ident():
            number += 1
            assert number < 100
            await scene.command(rename(bob.key, f"quick {number}"))


async def test_messages_of_a_friend_removed_meanwhile_harm_nobody(monkeypatch):
    store = TestStore()
    async with running(monkeypatch, store) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        await on_a_thread(scene, store, bob)
        store.gate.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.command, RemoveFriend(bob.key))
            await until(lambda: scene.engine.counters.commits < len(store.threads))
            link.flood(noise(scene, bob), 6)
            store.gate.set()
        await scene.befriend(card("eve", 2))
        assert bob.key not in scene.engine.state.friends
        assert not scene.ended


async def test_a_command_whose_caller_left_before_it_was_taken_up_is_not_carried_out(monkeypatch):
    store = TestStore()
    async with running(monkeypatch, store) as scene:
        bob = card("bob", 1)
        await scene.command(AddFriend(bob.key, (), "bob"))
        await on_a_thread(scene, store, bob)
        store.gate.clear()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(scene.command, rename(bob.key, "first"))
            await until(lambda: scene.engine.counters.commits < len(store.threads))
            with anyio.move_on_after(0.01):
                await scene.command(rename(bob.key, "second"))
            store.gate.set()
        await scene.command(AddFriend(card("eve", 2).key, (), "eve"))
        assert scene.engine.state.friends[bob.key].name == "first"


async def test_many_commands_at_once_are_all_answered(monkeypatch):
    async with running(monkeypatch) as scene:
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                key = card("x", number % 90 + 1).key
                name = f"friend {number}"
                tasks.start_soon(_try, scene, AddFriend(key, (), name))
        assert len(scene.engine.state.friends) == 90
        assert scene.engine.counters.commits < 150


async def _try(scene: Scene, command: AddFriend) -> None:
    done = await scene.engine.command(command)
    assert done.fault in (None, CommandFault.FRIEND_EXISTS)


# --- links --------------------------------------------------------------------------------------


async def test_messages_of_a_replaced_link_are_dropped_unread(monkeypatch):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        old = await scene.befriend(bob)
        new = scene.peers.connect(bob)
        await until(lambda: scene.engine.state.friends[bob.key].link_id == new.link_id)
        scene.engine.message(bob.key, old.link_id, b"\x00 unreadable")
        await scene.command(rename(bob.key, "still here"))
        assert new.closed is None
        assert bob.key not in scene.peers.quiet


async def test_every_new_link_gets_the_last_move_token_again(monkeypatch):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        link.is_deaf = True
        payment = await scene.client.pay(new_invoice(bob, 10), 0)
        await until(lambda: isinstance(link.sent[-1], (MoveTokenMessage, TokenWantedMessage)))
        for _ in range(3):
            again = scene.peers.connect(bob)
            await until(lambda again=again: again.sent or scene.is_ready(bob))
        assert (await scene.client.wait_pay(payment, PayStage.COMMITTED)).commit is not None


async def test_an_unreadable_message_closes_the_link_and_keeps_us_away_for_a_while(monkeypatch):
    async with running(monkeypatch) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        scene.engine.message(bob.key, link.link_id, b"\xc1 not msgpack")
        await until(lambda: link.closed)
        assert link.closed is CloseCode.PROTOCOL
        assert scene.peers.quiet[bob.key] >= 60_000


async def test_an_address_a_person_typed_may_be_dialled_and_one_a_friend_named_may_not(monkeypatch):
    typed = RelayAddress(card("relay", 3).key, "192.168.7.7:1000")
    async with running(monkeypatch) as scene:
        add = AddFriend(card("bob", 1).key, (typed,), "bob")
        own = AddRelay(NamedAddress(card("own", 4).key, "203.0.113.5:1000"))
        await scene.command(own)
        assert not scene.peers.may_dial(typed.address)
        await scene.client.command(Batch((add, EnableFriend(add.friend))))
        assert scene.peers.may_dial(typed.address)
        assert not scene.peers.may_dial("192.168.7.8:1000")


# --- deadlines ----------------------------------------------------------------------------------


async def test_a_part_nobody_answers_is_given_up_and_the_payment_ends_as_stuck(monkeypatch):
    async with running(monkeypatch, timers=QUICK) as scene:
        bob, eve = card("bob", 1), card("eve", 2)
        link = await scene.befriend(bob)
        await scene.command(AddIndexServer(NamedAddress(eve.key, "127.0.0.1:1")))
        link.is_deaf = True
        payment = await scene.client.pay(Invoice(InvoiceId(bytes(32)), FST, eve.key, 5), 0)
        for asked in (1, 2, 3):
            await until(lambda asked=asked: len(scene.index.questions) == asked)
            question = scene.index.questions[-1]
            part = Part((KEY, bob.key, card("mediator", asked + 2).key, eve.key), 5, 0, 5)
            scene.index.on_routes(
                RoutesResponse(question.request_id, 0, 0, 0, (RouteChoice(0, (part,)),))
            )
        report = await scene.client.wait_pay(payment)
        assert report.failure is PayFailure.STUCK


async def test_a_question_no_server_answers_ends_the_payment(monkeypatch):
    async with running(monkeypatch, timers=QUICK) as scene:
        bob, eve = card("bob", 1), card("eve", 2)
        await scene.befriend(bob)
        await scene.command(AddIndexServer(NamedAddress(eve.key, "127.0.0.1:1")))
        payment = await scene.client.pay(Invoice(InvoiceId(bytes(32)), FST, eve.key, 5), 0)
        assert (await scene.client.wait_pay(payment)).failure is PayFailure.NO_INDEX


@covers("PAY-10")
async def test_an_incomplete_group_is_given_back_in_time(monkeypatch):
    async with running(monkeypatch, timers=QUICK) as scene:
        bob = card("bob", 1)
        link = await scene.befriend(bob)
        invoice = Invoice(InvoiceId(bytes([7]) * 32), FST, KEY, 10)
        await scene.command(AddInvoice(invoice))
        payment = open_payment(bob, invoice, 1)
        assert bob.do(CreateTransaction(payment, uid(1), (bob.key, KEY), 4, 0)) is None
        link.let_card_speak()
        await until(lambda: outcomes(bob, 1))
        await until(lambda: bob.frozen() == 0)
        ledger = scene.ledger(bob)
        assert ledger is not None
        assert ledger.remote_pending_debt == 0


async def test_deadlines_are_met_after_a_batch_the_full_disk_swallowed(monkeypatch):
    async with running(monkeypatch, timers=QUICK) as scene:
        bob, eve = card("bob", 1), card("eve", 2)
        await scene.befriend(bob)
        await scene.command(AddIndexServer(NamedAddress(eve.key, "127.0.0.1:1")))
        payment = await scene.client.pay(Invoice(InvoiceId(bytes(32)), FST, eve.key, 5), 0)
        scene.store.is_full = True
        for number in range(12):
            assert await scene.fault_of(rename(bob.key, str(number))) is CommandFault.STORE_FULL
        scene.store.is_full = False
        assert (await scene.client.wait_pay(payment)).failure is PayFailure.NO_INDEX


# --- watchers -----------------------------------------------------------------------------------


async def test_a_watcher_that_misses_too_much_is_told_to_look_at_everything():
    watcher = LocalWatcher()
    for number in range(CHANGES_MAX + 1):
        watcher.tell(PayChanged(PaymentId(number.to_bytes(16, "big"))))
    assert await watcher.next() == ()
    watcher.tell(PayChanged(wish(1)))
    watcher.tell(PayChanged(wish(1)))
    assert await watcher.next() == (PayChanged(wish(1)),)


async def test_a_watcher_at_its_limit_still_hears_everything():
    watcher = LocalWatcher()
    for number in range(CHANGES_MAX):
        watcher.tell(PayChanged(PaymentId(number.to_bytes(16, "big"))))
    assert len(await watcher.next()) == CHANGES_MAX


async def test_a_watcher_gets_what_came_before_the_end_and_then_the_end():
    watcher = LocalWatcher()
    watcher.tell(PayChanged(wish(1)))
    watcher.tell(None)
    assert await watcher.next() == (PayChanged(wish(1)),)
    with pytest.raises(TransportError):
        await watcher.next()
