"""Cards as running nodes: attached to, serving others, remote, and restored from a backup that is too old."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from offset_engine.cards import (
    CardError,
    CardSettings,
    CardState,
    CardStore,
    Cost,
    OpenCard,
    Passphrase,
    RunningCard,
    running,
    try_connection,
)
from offset_engine.client import InvoiceTerms, PayStage
from offset_engine.core.api import ResetFriendChannel
from offset_engine.core.reports import FriendReport
from offset_engine.core.values import Currency, NamedAddress, PublicKey, RelayAddress
from offset_engine.errors import TransportError
from offset_engine.files import Permissions
from offset_engine.net.nearby import LocalServers
from offset_engine.net.remote_client import open_remote
from offset_engine.village import VILLAGE_TIMERS
from tests.covers import covers
from tests.net.loopback import until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="needs socket files"),
]

WORD = Passphrase.of("backup word")
OUSD = Currency("OUSD")


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def store(tmp_path: Path) -> CardStore:
    return CardStore(tmp_path / "s", cost=Cost(1, 8))


@asynccontextmanager
async def run(store: CardStore, name: str) -> AsyncIterator[RunningCard]:
    nearby = LocalServers(store.directory / "local")
    with store.open(name) as card:
        async with running(card, VILLAGE_TIMERS, nearby) as node:
            yield node


@covers("APS-13", "CMP-08")
async def test_another_program_attaches_to_a_card_that_runs(store: CardStore):
    created = store.create("alice")
    async with run(store, "alice") as node:
        assert (node.addresses, node.servers, node.door_problem) == ((), None, "")
        seen = CardStore(store.directory).card("alice")
        assert seen.state is CardState.RUNNING
        assert seen.socket is not None
        async with open_remote(store.dial("alice")) as client:
            assert client.node == created.public_key
            assert client.permissions.config
            invoice = await client.create_invoice(InvoiceTerms(OUSD, 5))
        assert [one.invoice for one in await node.client.invoices()] == [invoice]
    assert store.card("alice").state is CardState.OFF
    assert not seen.socket.exists()


@covers("CMP-01")
async def test_many_cards_run_in_one_process(store: CardStore):
    for name in ("alice", "bob", "carl"):
        store.create(name)
    async with AsyncExitStack() as stack:
        for name in ("alice", "bob", "carl"):
            await stack.enter_async_context(run(store, name))
        assert {card.state for card in store.cards()} == {CardState.RUNNING}


@covers("CMP-03", "CMP-23")
async def test_a_remote_card_shows_what_it_may_before_it_is_kept(store: CardStore):
    store.create("alice")
    address = free_address()
    store.save_settings("alice", CardSettings(app_address=address))
    remote = store.new_app("alice", "phone", Permissions(seller=True))
    with pytest.raises(TransportError):
        await try_connection(remote, VILLAGE_TIMERS)
    async with run(store, "alice") as node:
        assert node.addresses == (f"0.0.0.0:{address.rpartition(':')[2]}",)
        found = await try_connection(remote, VILLAGE_TIMERS)
        assert found.permissions.seller
        assert not found.permissions.config
        store.add_remote("phone", remote)
        async with open_remote(store.dial("phone"), VILLAGE_TIMERS) as client:
            await client.create_invoice(InvoiceTerms(OUSD, 5))
        store.remove_app("alice", "phone")
        with pytest.raises(TransportError):
            await try_connection(remote, VILLAGE_TIMERS)


async def test_an_address_in_use_ends_the_start_with_a_sentence(store: CardStore):
    store.create("alice")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        store.save_settings("alice", CardSettings(app_address=address))
        with pytest.raises(TransportError, match="listen"):
            async with run(store, "alice"):
                pass
    assert store.card("alice").state is CardState.OFF


async def test_a_card_without_a_door_runs_and_says_so(
    store: CardStore, monkeypatch: pytest.MonkeyPatch
):
    store.create("alice")
    with store.open("alice") as card:
        monkeypatch.setattr(card, "socket", card.socket.parent / "missing" / "node.sock")
        async with running(card, VILLAGE_TIMERS, LocalServers(store.directory)) as node:
            assert "cannot use the card" in node.door_problem
            assert await node.client.report()
            with pytest.raises(CardError, match="has no door"):
                store.dial("alice")


# --- two friends, one of them restored ----------------------------------------------------------


@dataclass
class Pair:
    """Alice, whose card runs the servers both use, and Bob; friends in OUSD."""

    store: CardStore
    alice: RunningCard
    alice_key: PublicKey
    bob_key: PublicKey

    def seen_by_alice(self) -> FriendReport:
        (found,) = self._friends(self.alice)
        return found

    @staticmethod
    def _friends(card: RunningCard) -> tuple[FriendReport, ...]:
        from offset_engine.core.report import report  # noqa: PLC0415

        return report(card.engine.state).friends

    def seen_by(self, bob: RunningCard) -> FriendReport:
        (found,) = self._friends(bob)
        return found

    def is_ready(self, bob: RunningCard) -> bool:
        """Both may pay each other."""
        one, other = self.seen_by(bob), self.seen_by_alice()
        return all(
            view.is_online
            and view.is_consistent
            and not view.is_quarantined
            and any(ledger.balance is not None for ledger in view.currencies)
            for view in (one, other)
        )

    async def pay(self, bob: RunningCard, amount: int) -> None:
        """Bob pays Alice."""
        invoice = await self.alice.client.create_invoice(InvoiceTerms(OUSD, amount))
        payment = await bob.client.pay(invoice, 0)
        report = await bob.client.wait_pay(payment, PayStage.COMMITTED)
        assert report.commit is not None, report
        await self.alice.client.accept_commit(report.commit)
        assert (await bob.client.wait_pay(payment)).stage is PayStage.PAID

    def balances(self, bob: RunningCard) -> tuple[int | None, int | None]:
        """What Bob and Alice hold, each in their own view."""
        return (
            self.seen_by(bob).currencies[0].balance,
            self.seen_by_alice().currencies[0].balance,
        )


@pytest.fixture
async def pair(store: CardStore) -> AsyncIterator[Pair]:
    alice, bob = store.create("alice"), store.create("bob")
    assert alice.public_key is not None
    assert bob.public_key is not None
    store.save_settings("alice", CardSettings(serve_address=free_address()))
    async with run(store, "alice") as node:
        assert node.servers is not None
        place = node.servers.relay
        pair = Pair(store, node, alice.public_key, bob.public_key)
        await _introduce(node, place, pair.bob_key)
        async with run(store, "bob") as other:
            await _introduce(other, place, pair.alice_key)
            await until(lambda: pair.is_ready(other), 15)
            await pair.pay(other, 100)
        yield pair


async def _introduce(card: RunningCard, place: RelayAddress, friend: PublicKey) -> None:
    server = NamedAddress(place.public_key, place.address, "alice's")
    await card.client.add_relay(server)
    await card.client.add_index_server(server)
    await card.client.add_friend(friend, (place,), "friend")
    await card.client.set_limit(friend, OUSD, 1_000)


@covers("RMP-37", "PT74")
async def test_a_backup_that_missed_nothing_is_at_peace_at_once(pair: Pair, tmp_path: Path):
    pair.store.backup("bob", tmp_path / "out", WORD)
    info = pair.store.restore(tmp_path / "out", WORD, force=True)
    assert info.friends[0].balances == ((OUSD, -100),)
    async with run(pair.store, "bob") as bob:
        await until(lambda: pair.is_ready(bob), 15)
        await pair.pay(bob, 50)
        assert pair.balances(bob) == (-150, 150)


@covers("RMP-37", "PT74")
async def test_an_older_backup_signs_nothing_and_ends_in_one_agreed_balance(
    pair: Pair, tmp_path: Path
):
    async with run(pair.store, "bob") as bob:
        await until(lambda: pair.is_ready(bob), 15)
        # While the card runs, as people do it.
        await anyio.to_thread.run_sync(pair.store.backup, "bob", tmp_path / "old", WORD)
        await pair.pay(bob, 30)
    last = pair.seen_by_alice().last_incoming
    info = pair.store.restore(tmp_path / "old", WORD, force=True)
    assert info.friends[0].balances == ((OUSD, -100),)
    async with run(pair.store, "bob") as bob:
        await until(lambda: not pair.seen_by(bob).is_consistent, 15)
        await until(lambda: pair.seen_by(bob).remote_terms is not None, 15)
        # Alice holds nothing newer of Bob than before: the old state signed nothing.
        assert pair.seen_by_alice().last_incoming == last
        ours, theirs = pair.seen_by(bob).local_terms, pair.seen_by(bob).remote_terms
        assert ours is not None
        assert theirs is not None
        assert (ours.balances, theirs.balances) == (((OUSD, -100),), ((OUSD, -130),))
        await bob.client.command(ResetFriendChannel(pair.alice_key, theirs.terms_hash))
        await until(lambda: pair.is_ready(bob), 15)
        assert pair.balances(bob) == (-130, 130)
        await pair.pay(bob, 20)
        assert pair.balances(bob) == (-150, 150)


def test_an_opened_card_shows_no_key(store: CardStore) -> None:
    store.create("alice")
    with store.open("alice") as card:
        assert isinstance(card, OpenCard)
        assert card.identity.to_text() not in repr(card) + repr(vars(card))
        assert replace(card.settings, inbox="x").inbox == "x"
