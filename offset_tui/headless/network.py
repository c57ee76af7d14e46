"""`servers`: the relays and index servers of a card; `offset accept` adds some.

Source: apps.md §5 S34, S35; design R41.
"""

from offset_engine.programs.arguments import Commands, Json, RefusedError
from offset_engine.programs.control.session import NotPossibleError
from offset_engine.programs.control.showing import server_values
from offset_engine.text import fingerprint, quoted, safe
from offset_tui import servers
from offset_tui.headless import flags
from offset_tui.headless.printing import table
from offset_tui.headless.session import Twin, add_command
from offset_tui.servers import ServerRow


def add_parsers(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands, "servers", "List the relays and index servers a card uses.", _act
    )
    parser.add_argument(
        "--remove", metavar="NAME", help="use this one no longer: its name, or its key's short form"
    )
    flags.add_yes(parser)


async def _act(twin: Twin) -> None:
    rows = servers.rows(twin.report)
    if twin.args.remove is not None:
        await _remove(twin, [one for one in rows if _is_called(one, twin.args.remove)])
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
            one.trouble,
        )
        for one in rows
    ]
    head = ("kind", "name", "key", "address", "state", "trouble")
    text = table(twin.output, head, cells) if cells else "there are none: offset accept takes some"
    twin.output.result(values, text)


def _is_called(row: ServerRow, wanted: str) -> bool:
    key = row.place.public_key
    return wanted in (row.place.name, fingerprint(key), key.to_text())


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
