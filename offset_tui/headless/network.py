"""`servers`: the relays and index servers of a card; `offset accept` adds some.

Source: apps.md §5 S34, S35; design R41.
"""

import os

from offset_engine.client import Batch, Reconnect
from offset_engine.programs.arguments import Commands, Json, RefusedError
from offset_engine.programs.control.session import NotPossibleError
from offset_engine.programs.control.showing import server_values
from offset_engine.text import fingerprint, quoted, safe
from offset_tui import known_servers, servers
from offset_tui.headless import flags
from offset_tui.headless.printing import table
from offset_tui.headless.session import Twin, add_command
from offset_tui.servers import ServerRow


def add_parsers(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "servers", "List the relays and index servers a card uses.", _act
    )
    change = parser.add_mutually_exclusive_group()
    change.add_argument(
        "--remove", metavar="NAME", help="use this one no longer: its name, or its key's short form"
    )
    change.add_argument(
        "--reconnect",
        action="store_true",
        help="try servers and friends that are not reached now, instead of waiting",
    )
    change.add_argument(
        "--auto",
        action="store_true",
        help="use servers of this computer's list (its path: offset info), two of each sort at most",
    )
    flags.add_yes(parser)


async def _act(twin: Twin) -> None:
    rows = servers.rows(twin.report)
    if twin.args.remove is not None:
        await _remove(twin, [one for one in rows if _is_called(one, twin.args.remove)])
        return
    if twin.args.reconnect:
        await twin.client.command(Reconnect())
        twin.output.result({"status": "trying"}, "trying everything that is not reached again now")
        return
    if twin.args.auto:
        await _use_list(twin)
        return
    report = twin.report
    values: dict[str, Json] = {
        "relays": server_values(report.relays, report.connections.relays),
        "index_servers": server_values(report.index_servers, report.connections.index_servers),
    }
    cells = [
        (
            one.kind,
            safe(one.place.name, 24),
            fingerprint(one.place.public_key),
            safe(one.place.address, 60),
            servers.state_words(one.state)[0],
            servers.latency_words(one),
            one.trouble,
        )
        for one in rows
    ]
    head = ("kind", "name", "key", "address", "state", "answers in", "trouble")
    text = table(twin.output, head, cells) if cells else "there are none: offset accept takes some"
    twin.output.result(values, text)


def _is_called(row: ServerRow, wanted: str) -> bool:
    key = row.place.public_key
    return wanted in (row.place.name, fingerprint(key), key.to_text())


async def _use_list(twin: Twin) -> None:
    listed = known_servers.load()
    if not listed:
        raise NotPossibleError(f"there is no list of servers: {known_servers.path()} can name some")
    places = known_servers.chosen(listed, twin.report, os.urandom)
    if not places:
        twin.output.result({"added": 0}, "this card needs nothing of the list")
        return
    twin.say([known_servers.words(places)])
    if not await twin.agrees("Use these servers?"):
        raise RefusedError("not added: you declined", {"status": "declined"})
    commands = known_servers.commands(twin.report, places)
    await twin.client.command(Batch(commands))
    twin.output.result({"added": len(commands)}, "this card uses them now")


async def _remove(twin: Twin, found: list[ServerRow]) -> None:
    if not found:
        raise NotPossibleError(f"there is no server called {quoted(twin.args.remove)}")
    for one in found:
        why = servers.why_kept(one, twin.report)
        if why:
            raise NotPossibleError(why.removesuffix(" (n)"))
    named = ", ".join(f"{one.kind} {one.label}" for one in found)
    if not await twin.agrees(f"Stop using {named}?"):
        raise RefusedError("not removed: you declined", {"status": "declined"})
    for one in found:
        await twin.client.command(servers.removal(one))
    removed: list[Json] = [
        {"kind": one.kind, "public_key": one.place.public_key.to_text()} for one in found
    ]
    twin.output.result({"removed": removed}, f"not used any more: {named}")
