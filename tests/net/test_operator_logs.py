"""What the operator of a node or a relay reads in its log, and what a relay gets to see of its users."""

import logging
import re
from dataclasses import replace

import anyio
import pytest

from offset_engine.client import InvoiceTerms, PayStage
from offset_engine.core.api import AddRelay, DisputeFriend, RemoveFriend, ResetFriendChannel
from offset_engine.core.crypto import public_key_of
from offset_engine.core.relay import Refusal, Relay
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.values import NamedAddress, PrivateKey
from offset_engine.net import relay_service
from offset_engine.net.node_log import NodeLog
from offset_engine.net.server_log import log_stats, stats_text
from offset_engine.village import OUSD, Village, Villager, open_village
from tests.covers import covers
from tests.net.loopback import key_of, until
from tests.net.test_servers import ALICE, BOB, relaying
from tests.shell.test_client import CHAIN

pytestmark = pytest.mark.anyio

WAIT_S = 30


async def told(caplog: pytest.LogCaptureFixture, pattern: str, level: str = "INFO") -> None:
    """Wait until a line says this, and take it away."""

    def lines() -> list[logging.LogRecord]:
        return [
            one
            for one in caplog.records
            if one.levelname == level and re.search(pattern, one.getMessage())
        ]

    try:
        await until(lines, WAIT_S)
    except TimeoutError:
        pytest.fail(f"{pattern}: {caplog.text}")
    caplog.clear()


async def pay(village: Village, buyer: Villager, seller: Villager, amount: int) -> None:
    invoice = await seller.client.create_invoice(InvoiceTerms(OUSD, amount))
    report = await buyer.client.wait_pay(await buyer.client.pay(invoice, 9), PayStage.COMMITTED)
    assert report.commit is not None
    await seller.client.accept_commit(report.commit)
    await buyer.client.wait_pay(report.payment_id)


@covers("NOD-10", "NOD-24")
async def test_a_nodes_log_says_who_comes_and_goes_and_what_needs_a_person(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO, "offset_engine.net.node_log")
    async with (
        open_village(7, friendships=CHAIN, relay_count=1, on_disk=False) as village,
        anyio.create_task_group() as tasks,
    ):
        bob, charli = village.people["Bob"], village.people["Charli"]
        tasks.start_soon(NodeLog(bob.running).run)
        await told(caplog, r"^relay PublicKey\(\S{8}\) is connected$")
        await village.switch_off("Charli")
        await told(caplog, r"^friend 'Charli' PublicKey\(\S{8}\) is offline$")
        await village.switch_on("Charli")
        await told(caplog, r"^friend 'Charli' PublicKey\(\S{8}\) is online$")
        await village.wait_until_ready()
        await pay(village, bob, charli, 7013)
        await told(caplog, r"^payment PaymentId\(\S{8}\) is paid$")
        await charli.client.command(DisputeFriend(bob.key))
        await told(caplog, "disagree about balances", "WARNING")
        await until(lambda: bob.running.state.friends[charli.key].channel.remote_terms, WAIT_S)
        (friend,) = (await bob.client.report()).friends
        assert friend.remote_terms is not None
        await bob.client.command(
            ResetFriendChannel(friend.public_key, friend.remote_terms.terms_hash)
        )
        await told(caplog, "agree about their balances again")
        await bob.client.command(RemoveFriend(charli.key, force=True))
        await told(caplog, r"^friend 'Charli' PublicKey\(\S{8}\) was removed$")
        tasks.cancel_scope.cancel()


async def test_a_relay_that_stays_away_is_told_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "offset_engine.net.node_log")
    async with (
        open_village(8, friendships=CHAIN, relay_count=1, on_disk=False) as village,
        anyio.create_task_group() as tasks,
    ):
        bob = village.people["Bob"]
        tasks.start_soon(NodeLog(bob.running).run)
        nobody = public_key_of(PrivateKey(bytes([99]) * 32))
        await bob.client.command(AddRelay(NamedAddress(nobody, "127.0.0.1:1", "gone")))
        await told(caplog, "is not connected: nothing listens at port 1 there", "WARNING")

        def attempts() -> int:
            return max(one.attempts for one in bob.running.peers.status().relays)

        await until(lambda: attempts() > 3, WAIT_S)
        assert [one for one in caplog.records if one.levelname == "WARNING"] == []
        tasks.cancel_scope.cancel()


@covers("RLY-10")
async def test_a_relays_log_says_how_busy_it_is_when_that_changed_and_at_the_end(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.INFO, "offset_engine.net.server_log")
    numbers = Relay(RelayLimits(), bytes).stats()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log_stats, "relay", lambda: numbers, 1)
        await told(caplog, "^relay: connections 0, listeners 0, ")
        refusals = tuple((one, 3 if one is Refusal.CONNECT_RATE else 0) for one in Refusal)
        numbers = replace(numbers, tunnels=2, refusals=refusals)
        await told(caplog, "tunnels 2, connects 0, established 0, refusals connect rate 3$")
        await anyio.wait_all_tasks_blocked()
        assert caplog.records == []
        tasks.cancel_scope.cancel()
    await told(caplog, "^relay stops: connections 0, ")
    assert "refusals" not in stats_text(Relay(RelayLimits(), bytes).stats())


@covers("RLY-03")
async def test_a_relay_passes_on_what_it_cannot_read(monkeypatch: pytest.MonkeyPatch):
    seen: list[bytes] = []
    pass_on = relay_service._Pump._pass_on

    def tapped(self: relay_service._Pump, payload: bytes) -> None:
        seen.append(payload)
        pass_on(self, payload)

    monkeypatch.setattr(relay_service._Pump, "_pass_on", tapped)
    marker = b"five loaves for Alice" * 10
    async with relaying() as relay:
        dialer, listener = await relay.tunnel(ALICE, BOB)
        for sender, receiver in ((dialer, listener), (listener, dialer)):
            sender.send_nowait(marker)
            assert await receiver.receive() == marker
    passed = b"".join(seen)
    assert len(passed) > 2 * len(marker)
    assert marker[:21] not in passed
    assert not any(bytes(key_of(one)) in passed for one in (ALICE, BOB))
