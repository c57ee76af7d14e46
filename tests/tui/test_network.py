"""Network: servers with their states, adding and removing them, running one's own."""

from dataclasses import replace

import pytest
from textual import events

from offset_engine.client import (
    AddIndexServer,
    AddRelay,
    Reconnect,
    RemoveIndexServer,
    RemoveRelay,
)
from offset_engine.core.reports import Connections, NodeReport, ServerReport, ServerState
from offset_engine.files import Servers, to_text
from offset_tui import servers
from offset_tui.dialogs.qr import QrScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.doors import AppOptions
from offset_tui.screens.connect import ConnectScreen
from tests.covers import covers
from tests.tui.card_scenes import SERVERS, StoreDoor, fresh_report, with_cards
from tests.tui.scenes import key, server, village_report
from tests.tui.screens import SMALL, WIDE, check_golden, picture, running, settled, until

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("size", [SMALL, WIDE])


def every_state() -> NodeReport:
    """Three relays and two index servers, each in another state."""
    relays = (server("relay"), server("far", 3002), server("strict", 3003))
    index = (server("index", 3001), server("spare", 3004))
    return replace(
        village_report(),
        relays=relays,
        index_servers=index,
        connections=Connections(
            (
                ServerReport(relays[0].public_key, ServerState.CONNECTED, "", 34),
                ServerReport(
                    relays[1].public_key,
                    ServerState.WAITING,
                    "127.0.0.1:3002 refuses connections \x1b[31mnow\u202e",
                ),
                ServerReport(relays[2].public_key, ServerState.REFUSED, "not one of ours"),
            ),
            (
                ServerReport(index[0].public_key, ServerState.CONNECTING, ""),
                ServerReport(index[1].public_key, ServerState.IDLE, ""),
            ),
        ),
    )


def door_with(report: NodeReport) -> StoreDoor:
    door = with_cards()
    door.client.shown = report
    return door


async def at_network(app, pilot) -> None:
    app.action_section("network")
    await pilot.pause()
    await settled(app, pilot)


@covers("MOB-42", "MOB-43", "RMP-18")
@BOTH
async def test_every_state(size) -> None:
    async with running(door_with(every_state()), size) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("down")
        await settled(app, pilot)
        check_golden(app, "network")


@BOTH
async def test_without_servers_the_three_ways_are_shown(size) -> None:
    async with running(door_with(fresh_report("Eve")), size) as (app, pilot):
        await at_network(app, pilot)
        check_golden(app, "network-none")


async def test_plain_characters() -> None:
    options = AppOptions(is_ascii=True)
    async with running(door_with(fresh_report("Eve")), options=options) as (app, pilot):
        await at_network(app, pilot)
        check_golden(app, "network-none-ascii")


@covers("MOB-42", "MOB-43")
async def test_a_pasted_servers_text_is_added_after_a_look() -> None:
    door = door_with(village_report())
    async with running(door) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("n")
        await pilot.pause()
        app.post_message(events.Paste(to_text(SERVERS)))
        await pilot.pause()
        await settled(app, pilot)
        check_golden(app, "network-add")
        assert not door.client.asked
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.client.asked))
        assert [type(one) for one in door.client.asked[0].commands] == [AddRelay, AddIndexServer]


async def test_address_and_key_may_be_typed_and_mistakes_are_said() -> None:
    door = door_with(village_report())
    async with running(door) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("n")
        await pilot.pause()
        app.screen.query_one("#address").value = "offset.example.org"
        app.screen.query_one("#key").value = key("host").to_text()
        app.screen.query_one("#index").value = False
        app.screen.query_one("#address").focus()
        await pilot.press("enter")
        await settled(app, pilot)
        check_golden(app, "network-add-problem")
        app.screen.query_one("#address").value = "offset.example.org:3000"
        await pilot.press("enter")
        await until(pilot, lambda: bool(door.client.asked))
        assert [type(one) for one in door.client.asked[0].commands] == [AddRelay]


@covers("MOB-42")
async def test_the_last_relay_is_kept_while_there_are_friends() -> None:
    door = door_with(village_report())
    async with running(door) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("x")
        await settled(app, pilot)
        check_golden(app, "network-last-relay")
        assert not door.client.asked


@covers("MOB-42")
async def test_a_server_is_removed_after_an_armed_question() -> None:
    door = door_with(every_state())
    async with running(door) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("down", "x")
        await settled(app, pilot)
        check_golden(app, "network-remove")
        await pilot.press("x")
        await pilot.pause(0.9)
        assert not door.client.asked
        await pilot.press("x")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.client.asked == [RemoveRelay(key("far"))]


@covers("MOB-43")
async def test_an_index_server_may_always_go() -> None:
    door = door_with(village_report())
    async with running(door) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("down", "x")
        await pilot.pause(0.9)
        await pilot.press("x")
        await until(pilot, lambda: bool(door.client.asked))
        assert door.client.asked == [RemoveIndexServer(key("index"))]


async def test_servers_are_handed_on_as_text_and_qr() -> None:
    async with running(door_with(village_report())) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ShareScreen))
        shared = app.screen.content_shared
        assert isinstance(shared, Servers)
        assert (shared.relay.public_key, shared.index.public_key) == (key("relay"), key("index"))
        await pilot.press("q", "v")
        await until(pilot, lambda: isinstance(app.screen, QrScreen))


@BOTH
async def test_own_servers_are_run_and_stopped(size) -> None:
    door = door_with(fresh_report("Eve"))
    async with running(door, size) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, ConnectScreen))
        await settled(app, pilot)
        app.screen.query_one("#address").value = "192.168.1.20:3000"
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.page == "share")
        await pilot.press("q")
        await settled(app, pilot)
        check_golden(app, "network-serving")
        await pilot.press("w")
        await pilot.pause(0.9)
        await pilot.press("w")
        await until(pilot, lambda: "stop servers" in door.done)


async def test_r_tries_everything_again_at_once() -> None:
    door = door_with(every_state())
    async with running(door, options=AppOptions(is_read_only=True)) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("r")
        await until(pilot, lambda: door.client.asked == [Reconnect()])
        await until(pilot, lambda: "trying everything again now" in picture(app))


async def test_how_long_a_server_takes_is_said_where_it_is_known() -> None:
    door = door_with(every_state())
    async with running(door) as (app, pilot):
        await at_network(app, pilot)
        assert "connected, answers in 34 ms" in picture(app)
        shown = servers.rows(every_state())
        assert [servers.latency_words(one) for one in shown] == ["34 ms", "", "", "", ""]
        assert servers.latency_words(replace(shown[0], latency_ms=0)) == "under 1 ms"


async def test_read_only_changes_nothing() -> None:
    door = door_with(village_report())
    async with running(door, options=AppOptions(is_read_only=True)) as (app, pilot):
        await at_network(app, pilot)
        await pilot.press("n", "x", "w")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        assert not door.client.asked
