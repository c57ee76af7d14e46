"""Payments between real nodes over real sockets: what arrives, what does not, and what an observer sees."""

import dataclasses
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream, TaskGroup, TaskStatus

from offset_engine import village as village_module
from offset_engine.client import HistoryKind, InvoiceTerms, PayFailure, PayReport, PayStage
from offset_engine.core.api import DisableFriend, RemoveIndexServer
from offset_engine.core.crypto import x25519_public
from offset_engine.core.signing import Invoice
from offset_engine.core.values import CREDITS_MAX, Currency, InvoiceId, PublicKey, Timers
from offset_engine.files import verify_receipt
from offset_engine.net.servers import Service, run_services
from offset_engine.net.transport import Endpoint
from offset_engine.village import CENT, OUSD, VILLAGE_TIMERS, Friendship, Village, open_village
from tests.covers import covers
from tests.net.loopback import until

pytestmark = pytest.mark.anyio

CHAIN = (
    Friendship("Bob", "Charli", OUSD, 100_00, 100_00),
    Friendship("Charli", "Daniel", OUSD, 100_00, 100_00),
)
"""Bob reaches Daniel over Charli, for nothing."""
DIAMOND = (
    Friendship("Bob", "Mia", OUSD, 60_00, 60_00, other_charges=CENT),
    Friendship("Mia", "Daniel", OUSD, 60_00, 60_00),
    Friendship("Bob", "Noa", OUSD, 60_00, 60_00, other_charges=CENT),
    Friendship("Noa", "Daniel", OUSD, 60_00, 60_00),
)
"""Two ways from Bob to Daniel, either for 0.01."""


@asynccontextmanager
async def opened(
    friendships: tuple[Friendship, ...], timers: Timers = VILLAGE_TIMERS
) -> AsyncIterator[Village]:
    async with open_village(5, friendships=friendships, timers=timers, on_disk=False) as village:
        yield village


async def pay(
    village: Village,
    buyer: str,
    seller: str,
    amount: int,
    max_fee: int = 100,
    invoice: Invoice | None = None,
) -> PayReport:
    """Pay and hand the commit over at once; the final report."""
    bob, daniel = village.people[buyer].client, village.people[seller]
    if invoice is None:
        invoice = await daniel.client.create_invoice(InvoiceTerms(OUSD, amount))
    payment_id = await bob.pay(invoice, max_fee)
    report = await bob.wait_pay(payment_id, PayStage.COMMITTED)
    if report.commit is not None:
        await daniel.client.accept_commit(report.commit)
        report = await bob.wait_pay(payment_id)
        assert report.receipt is not None
        assert verify_receipt(invoice, report.receipt).is_valid
    return report


def foreign_invoice(village: Village, seller: str, amount: int = 100) -> Invoice:
    """An invoice the seller never opened, or cannot hear about any more."""
    return Invoice(InvoiceId(bytes([8]) * 32), OUSD, village.people[seller].key, amount)


async def all_is_well(village: Village) -> None:
    """Nothing frozen, both sides agree, nothing made out of thin air."""
    assert await village.settle() == 0
    assert village.is_mirrored()
    assert all(sum(held.values()) == 0 for held in village.balances().values())


# --- paid ---------------------------------------------------------------------------------------


@covers("PAY-01", "PAY-26", "PAY-18")
async def test_a_payment_passes_a_mediator_who_earns_the_fee():
    friendships = (
        Friendship("Bob", "Charli", OUSD, 100_00, 100_00, other_charges=CENT),
        Friendship("Charli", "Daniel", OUSD, 100_00, 100_00),
    )
    async with opened(friendships) as village:
        report = await pay(village, "Bob", "Daniel", 10_00)
        assert (report.stage, report.fee, report.parts) == (PayStage.PAID, 1, 1)
        await all_is_well(village)
        assert village.balances()[OUSD] == {"Bob": -10_01, "Charli": 1, "Daniel": 10_00}
        (forward,) = await village.people["Charli"].client.history(HistoryKind.FORWARDS)
        assert forward.record.fee == 1


@covers("PAY-27")
async def test_a_direct_friend_is_paid_without_any_index_server():
    async with opened(CHAIN) as village:
        assert village.index_server is not None
        bob = village.people["Bob"].client
        await bob.command(RemoveIndexServer(village.index_server.public_key))
        report = await pay(village, "Bob", "Charli", 100_00, 0)
        assert (report.stage, report.fee) == (PayStage.PAID, 0)
        await all_is_well(village)


@covers("PAY-11", "PAY-12")
async def test_an_amount_no_single_route_carries_goes_in_parts():
    async with opened(DIAMOND) as village:
        report = await pay(village, "Bob", "Daniel", 100_00)
        assert (report.stage, report.fee) == (PayStage.PAID, 2)
        await all_is_well(village)
        for name in ("Mia", "Noa"):
            assert len(await village.people[name].client.history(HistoryKind.FORWARDS)) == 1


async def test_many_payments_at_once_in_both_directions_all_end_and_nothing_is_lost():
    async with opened(DIAMOND) as village:
        reports: list[PayReport] = []

        async def one(buyer: str, seller: str) -> None:
            reports.append(await pay(village, buyer, seller, 1_00))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    for buyer, seller in (("Bob", "Daniel"), ("Daniel", "Bob"), ("Mia", "Noa")):
                        tasks.start_soon(one, buyer, seller)
        assert [report.stage for report in reports] == [PayStage.PAID] * 30
        await all_is_well(village)


@covers("NT63")
async def test_a_route_whose_capacity_is_gone_is_replaced_by_another():
    friendships = (
        Friendship("Bob", "Mia", OUSD, 60_00, 60_00),
        Friendship("Mia", "Daniel", OUSD, 60_00, 60_00),
        *DIAMOND[2:],
    )
    async with opened(friendships) as village:
        # Daniel reports what he can receive from Mia. He falls silent, and the index server
        # believes his last words for a while.
        village.people["Daniel"].running.index.set_servers(())
        await pay(village, "Mia", "Daniel", 60_00)
        report = await pay(village, "Bob", "Daniel", 10_00)
        assert (report.stage, report.fee) == (PayStage.PAID, 1)
        await all_is_well(village)
        assert len(await village.people["Noa"].client.history(HistoryKind.FORWARDS)) == 1
        assert len(await village.people["Mia"].client.history(HistoryKind.FORWARDS)) == 0


# --- not paid -----------------------------------------------------------------------------------


@covers("PAY-25")
async def test_a_seller_who_is_offline_is_unreachable():
    async with opened(CHAIN) as village:
        invoice = foreign_invoice(village, "Daniel")
        await village.switch_off("Daniel")
        await village.wait_until_unreachable("Daniel")
        report = await pay(village, "Bob", "Daniel", 0, invoice=invoice)
        assert report.failure is PayFailure.SELLER_UNREACHABLE


async def test_with_all_own_friends_offline_nothing_can_be_sent():
    timers = dataclasses.replace(VILLAGE_TIMERS, friend_wait_ms=100)
    async with opened(CHAIN, timers) as village:
        invoice = foreign_invoice(village, "Daniel")
        await village.switch_off("Charli")
        bob = village.people["Bob"].running
        await until(lambda: not any(one.is_online for one in bob.state.friends.values()))
        report = await pay(village, "Bob", "Daniel", 0, invoice=invoice)
        assert report.failure is PayFailure.OWN_LIMIT


async def test_a_payment_waits_for_an_own_friend_that_comes_back():
    async with opened(CHAIN) as village:
        bob = village.people["Bob"]
        invoice = await village.people["Charli"].client.create_invoice(InvoiceTerms(OUSD, 5))
        await village.switch_off("Charli")
        await until(lambda: not any(one.is_online for one in bob.running.state.friends.values()))
        payment_id = await bob.client.pay(invoice, 0)
        await village.switch_on("Charli")
        report = await bob.client.wait_pay(payment_id, PayStage.COMMITTED)
        assert report.commit is not None


async def test_without_an_index_server_only_friends_can_be_paid():
    async with opened(CHAIN) as village:
        assert village.index_server is not None
        bob = village.people["Bob"].client
        await bob.command(RemoveIndexServer(village.index_server.public_key))
        report = await pay(village, "Bob", "Daniel", 1_00)
        assert report.failure is PayFailure.NO_INDEX
        assert report.is_safe_to_retry


@covers("PAY-05", "PAY-04")
async def test_an_invoice_its_seller_never_opened_is_refused_and_nothing_stays_frozen():
    async with opened(CHAIN) as village:
        for seller in ("Daniel", "Charli"):
            invoice = foreign_invoice(village, seller)
            report = await pay(village, "Bob", seller, 0, invoice=invoice)
            assert report.failure is PayFailure.REFUSED
        await all_is_well(village)


@covers("PAY-20")
async def test_more_than_all_limits_together_finds_no_route():
    async with opened(DIAMOND) as village:
        for amount in (120_01, CREDITS_MAX):
            report = await pay(village, "Bob", "Daniel", amount)
            assert report.failure is PayFailure.NO_ROUTE
        await all_is_well(village)


@covers("PAY-21")
async def test_a_fee_is_confirmed_or_refused_before_anything_is_sent():
    async with opened(DIAMOND) as village:
        bob, daniel = village.people["Bob"].client, village.people["Daniel"].client
        report = await pay(village, "Bob", "Daniel", 1_00, 0)
        assert (report.failure, report.parts) == (PayFailure.FEE_ABOVE_LIMIT, 0)
        invoice = await daniel.create_invoice(InvoiceTerms(OUSD, 1_00))
        payment_id = await bob.pay(invoice, 100, confirm_above=0)
        report = await bob.wait_pay(payment_id, PayStage.FEE_TO_CONFIRM)
        assert (report.fee, village.frozen()) == (1, 0)
        await bob.confirm_fee(payment_id, CREDITS_MAX)
        assert (await bob.wait_pay(payment_id, PayStage.COMMITTED)).commit is not None


# --- the network around -------------------------------------------------------------------------


@covers("NT74")
async def test_the_edges_of_a_friend_that_goes_offline_vanish_and_come_back_with_it():
    async with opened(CHAIN) as village:
        index = village.index
        assert index is not None
        charli, daniel = village.people["Charli"].key, village.people["Daniel"].key
        grace_s = village.timers.offline_grace_ms / 1000
        await village.switch_off("Daniel")
        await until(lambda: not index.graph.reports(charli, daniel, OUSD), grace_s + 5)
        assert not index.graph.is_reachable(daniel, OUSD)
        await village.switch_on("Daniel")
        await until(lambda: index.graph.is_reachable(daniel, OUSD), 10)
        await village.wait_until_ready()
        assert (await pay(village, "Bob", "Daniel", 1_00)).stage is PayStage.PAID


@covers("NT74")
async def test_the_edges_of_a_disabled_friend_vanish():
    async with opened(CHAIN) as village:
        index = village.index
        assert index is not None
        charli, daniel = village.people["Charli"], village.people["Daniel"]
        await charli.client.command(DisableFriend(daniel.key))
        await until(lambda: not index.graph.reports(charli.key, daniel.key, OUSD), 5)


_dialled: list[tuple[str, object]] | None = None


def _audit(event: str, args: tuple[object, ...]) -> None:
    """See every connection and look-up of this process, whoever makes it."""
    if _dialled is None:
        return
    if event == "socket.connect":
        _dialled.append((event, args[1]))
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        _dialled.append((event, args[0]))


sys.addaudithook(_audit)


@contextmanager
def recorded_dials() -> Iterator[list[tuple[str, object]]]:
    global _dialled  # noqa: PLW0603 - an audit hook stays for the life of the process
    _dialled = []
    try:
        yield _dialled
    finally:
        _dialled = None


@covers("PRV-06")
async def test_a_node_connects_to_its_configured_servers_and_to_nothing_else():
    with recorded_dials() as dialled:
        async with opened(CHAIN) as village:
            assert village.index_server is not None
            configured = {village.index_server.address, *(one.address for one in village.relays)}
            assert (await pay(village, "Bob", "Daniel", 1_00)).stage is PayStage.PAID
            await village.switch_off("Charli")
            await village.switch_on("Charli")
            await village.wait_until_ready()
        connected = {f"{to[0]}:{to[1]}" for what, to in dialled if what == "socket.connect"}  # type: ignore[index]
        asked = {to for what, to in dialled if what != "socket.connect"}
    assert connected == configured
    assert asked <= {"127.0.0.1", b"127.0.0.1", None}


# --- what an observer sees ----------------------------------------------------------------------

SECRET_CURRENCY = Currency("PLAINTEXT-MARKER")


class Tap:
    """Forwards TCP to a server and keeps a copy of every byte, per connection and direction."""

    def __init__(self, target: str, copies: list[bytearray]) -> None:
        host, _, port = target.rpartition(":")
        self.target = host, int(port)
        self.copies = copies
        self.port = 0

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(SocketAttribute.local_port)
        task_status.started()
        async with listener, anyio.create_task_group() as tasks:
            await listener.serve(lambda near: self._carry(near, tasks))

    async def _carry(self, near: SocketStream, tasks: TaskGroup) -> None:
        async with near, await anyio.connect_tcp(*self.target) as far:
            tasks.start_soon(self._copy, near, far)
            await self._copy(far, near)

    async def _copy(self, source: SocketStream, sink: SocketStream) -> None:
        copy = bytearray()
        self.copies.append(copy)
        try:
            async for chunk in source:
                copy += chunk
                await sink.send(chunk)
            await sink.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            await anyio.aclose_forcefully(sink)


@covers("NT82")
async def test_an_observer_of_all_traffic_finds_no_key_and_no_plaintext(monkeypatch):
    copies: list[bytearray] = []

    async def tapped(
        endpoint: Endpoint,
        addresses: Sequence[str],
        services: Sequence[Service],
        *,
        task_status: TaskStatus[tuple[str, ...]],
    ) -> None:
        async with anyio.create_task_group() as tasks:
            (real,) = await tasks.start(run_services, endpoint, addresses, services)
            tap = Tap(real, copies)
            await tasks.start(tap.run)
            task_status.started((f"127.0.0.1:{tap.port}",))

    monkeypatch.setattr(village_module, "run_services", tapped)
    friendships = tuple(
        Friendship(one.one, one.other, SECRET_CURRENCY, 100_00, 100_00) for one in CHAIN
    )
    secrets: dict[str, bytes] = {"currency": SECRET_CURRENCY.encode()}
    async with opened(friendships) as village:
        assert village.index_server is not None
        bob, daniel = village.people["Bob"].client, village.people["Daniel"].client
        for number in range(3):
            invoice = await daniel.create_invoice(InvoiceTerms(SECRET_CURRENCY, 1_00))
            report = await bob.wait_pay(await bob.pay(invoice, 0), PayStage.COMMITTED)
            assert report.commit is not None
            await daniel.accept_commit(report.commit)
            report = await bob.wait_pay(report.payment_id)
            assert report.receipt is not None
            secrets |= {
                f"invoice {number}": invoice.invoice_id,
                f"buyer's lock {number}": report.receipt.src_plain_lock,
                f"seller's lock {number}": report.receipt.dest_plain_lock,
                f"signature {number}": report.receipt.signature,
            }
        people = {name: person.key for name, person in village.people.items()}
        servers = {one.name: one.public_key for one in (*village.relays, village.index_server)}
        for name, key in (people | servers).items():
            secrets |= _forms_of(name, key)
    seen = [bytes(copy) for copy in copies]
    assert sum(len(copy) for copy in seen) > 20_000
    assert sum(b"OFST" in copy for copy in seen) >= 3, "the tap saw no handshake"
    assert [name for name, secret in secrets.items() if any(secret in copy for copy in seen)] == []


def _forms_of(name: str, key: PublicKey) -> dict[str, bytes]:
    return {
        f"key of {name}": bytes(key),
        f"noise key of {name}": x25519_public(key) or b"?",
        f"text of {name}": key.to_text().encode(),
    }
