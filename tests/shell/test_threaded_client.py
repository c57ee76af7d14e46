"""`ThreadedClient` keeps every promise of a client across two event loops, and neither loop waits for the other."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from offset_engine.client import Client, InvoiceTerms
from offset_engine.core.api import AddRelay, PayChanged
from offset_engine.core.app_messages import ALL_PERMISSIONS
from offset_engine.core.crypto import public_key_of
from offset_engine.core.values import NamedAddress, PaymentId, PrivateKey
from offset_engine.errors import TransportError
from offset_engine.net.threaded_client import ThreadedClient, _Bridge, _joined
from offset_engine.village import open_village
from tests.covers import covers
from tests.shell.conformance import CHECKS, OUSD, Check, Party
from tests.shell.test_client import CHAIN, LocalParty

pytestmark = pytest.mark.anyio

RELAY = NamedAddress(public_key_of(PrivateKey(bytes([7]) * 32)), "127.0.0.1:1", "seven")


@dataclass
class ThreadedParty:
    """Bob and Daniel live in the portal's thread."""

    portal: BlockingPortal
    inner: LocalParty

    @property
    def buyer(self) -> Client:
        return ThreadedClient(self.portal, self.inner.buyer)

    @property
    def seller(self) -> Client:
        return ThreadedClient(self.portal, self.inner.seller)

    async def restart(self) -> None:
        await anyio.to_thread.run_sync(self.portal.call, self.inner.restart)

    async def stop(self) -> None:
        await anyio.to_thread.run_sync(self.portal.call, self.inner.stop)


@contextmanager
def village_in_a_thread() -> Iterator[ThreadedParty]:
    with start_blocking_portal() as portal:
        village = open_village(3, friendships=CHAIN, relay_count=1, on_disk=False)
        with portal.wrap_async_context_manager(village) as opened:
            yield ThreadedParty(portal, LocalParty(opened))


@asynccontextmanager
async def threaded_party() -> AsyncIterator[Party]:
    with village_in_a_thread() as party:
        yield party


@covers("PAY-01", "PAY-06", "PAY-07", "PAY-08", "PAY-15")
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_threaded_client(check: Check):
    async with threaded_party() as party:
        await check(party)


class SlowClient:
    """Stands in for a client: its answers wait until they are let go."""

    is_connected = True

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()
        self.done: list[object] = []

    async def command(self, command: object) -> tuple[Any, ...]:
        self.has_begun.set()
        while not self.may_go_on.is_set():
            await anyio.lowlevel.checkpoint()
        self.done.append(command)
        return ()

    async def report(self) -> Any:
        return "report"


@contextmanager
def slow() -> Iterator[tuple[ThreadedClient, SlowClient]]:
    with start_blocking_portal() as portal:
        inner = SlowClient()
        try:
            yield ThreadedClient(portal, inner), inner  # type: ignore[arg-type]
        finally:
            inner.may_go_on.set()


async def test_a_command_goes_on_when_whoever_gave_it_has_gone():
    with slow() as (client, inner):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.command, AddRelay(RELAY))
            await anyio.to_thread.run_sync(inner.has_begun.wait)
            tasks.cancel_scope.cancel()
        assert inner.done == []
        inner.may_go_on.set()
        assert await client.command(AddRelay(RELAY)) == ()
        assert inner.done == [AddRelay(RELAY)] * 2


async def test_a_node_that_is_busy_does_not_hold_up_the_user_interface():
    with start_blocking_portal() as portal:
        is_busy, may_go_on = threading.Event(), threading.Event()

        def be_busy() -> None:
            is_busy.set()
            may_go_on.wait(5)

        client = ThreadedClient(portal, SlowClient())  # type: ignore[arg-type]
        blocked = portal.start_task_soon(be_busy)
        is_busy.wait(5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.report)
            await anyio.wait_all_tasks_blocked()
            assert not blocked.done()
            may_go_on.set()


async def test_after_the_thread_has_ended_every_call_says_so():
    with start_blocking_portal() as portal:
        client = ThreadedClient(portal, SlowClient())  # type: ignore[arg-type]
    for doing in (client.report(), client.command(AddRelay(RELAY))):
        with pytest.raises(TransportError, match="switched off"):
            await doing
    with pytest.raises(TransportError, match="switched off"):
        async with client.watch():
            pass


async def test_who_waits_when_the_client_ends_is_told_why():
    with slow() as (client, inner):
        told: list[str] = []

        async def wait() -> None:
            with pytest.raises(TransportError) as caught:
                await client.command(AddRelay(RELAY))
            told.append(str(caught.value))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.to_thread.run_sync(inner.has_begun.wait)
            client.end("its thread stopped")
        assert told == ["its thread stopped"]
        assert not client.is_connected
        with pytest.raises(TransportError, match="its thread stopped"):
            await client.report()


async def test_reports_come_again_after_a_change():
    with village_in_a_thread() as party:
        buyer = party.buyer
        with anyio.fail_after(5):
            async with aclosing(buyer.reports()) as reports:
                before = await anext(reports)
                assert before == await buyer.report()
                await buyer.add_relay(RELAY)
                async for report in reports:
                    if len(report.relays) > len(before.relays):
                        break


async def test_a_stalled_user_interface_finds_its_news_once_and_bounded():
    """The loop that takes is busy while a thousand changes of the same things happen."""
    bridge: _Bridge[tuple[Any, ...]] = _Bridge(_joined)
    loop = asyncio.get_running_loop()
    rings = 0
    real = loop.call_soon_threadsafe

    def counted(*args: Any, **more: Any) -> Any:
        nonlocal rings
        rings += 1
        return real(*args, **more)

    loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
    try:
        notices = [PayChanged(PaymentId(bytes([n]) * 16)) for n in range(3)]

        def busy_node() -> None:
            for n in range(1_000):
                bridge.put((notices[n % 3],))

        thread = threading.Thread(target=busy_node)
        thread.start()
        thread.join()
    finally:
        del loop.call_soon_threadsafe  # type: ignore[method-assign]
    assert rings == 1
    assert await bridge.take() == tuple(notices)
    many = tuple(PayChanged(PaymentId(n.to_bytes(16, "big"))) for n in range(2_000))
    bridge.put(many[:1_000])
    bridge.put(many[1_000:])
    assert await bridge.take() == ()
    bridge.end(TransportError("over"))
    with pytest.raises(TransportError, match="over"):
        await bridge.take()


async def test_what_a_node_says_of_itself_is_there_at_once():
    with village_in_a_thread() as party:
        invoice = await party.seller.create_invoice(InvoiceTerms(OUSD, 200))
        assert party.seller.node == invoice.dest_public_key
        assert party.buyer.permissions == ALL_PERMISSIONS
        assert party.buyer.is_connected
