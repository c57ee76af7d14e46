"""Servers a card may use without anybody handing them over: a list on this computer, and a choice from it.

The list is `servers.txt` in the configuration directory. Whoever looks after the computer, a household or a club
writes it: texts or tickets of servers, with notes between them on lines that begin with `#`. There is none by
itself: nobody's servers are used because they came with the program.

A card that lacks some gets up to two relays and two index servers, chosen at random so that not everybody meets
at the first one. They are shown before they are used.

Source: apps.md §5 S34, §6.10 MOB-28; design R41 (what a person put there counts as typed).
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import platformdirs

from offset_engine import files
from offset_engine.client import Command, NodeReport, PublicKey, RelayAddress
from offset_engine.disk import read_file
from offset_engine.errors import FileError
from offset_engine.files import Servers, Ticket
from offset_tui import people, servers

Listed: TypeAlias = Servers | Ticket
Place: TypeAlias = tuple[RelayAddress, bool, bool]
"""(where, is it a relay, is it an index server)"""
FILE_NAME: Final = "servers.txt"
WANTED: Final = 2
"""Of each sort."""
_LOT_BYTES: Final = 8


def path() -> Path:
    """Where the list is, whether or not there is one."""
    return platformdirs.user_config_path("offset", appauthor=False) / FILE_NAME


def load(file: Path | None = None) -> tuple[Listed, ...]:
    """The list; empty without a file.

    Raises:
        FileError: it cannot be read, or holds something that is no server; the sentence names the file.
    """
    file = path() if file is None else file
    if not file.exists():
        return ()
    lines = [one for one in read_file(file).splitlines() if not one.lstrip().startswith("#")]
    text = "\n".join(lines)
    if not text.strip():
        return ()
    try:
        found = [one.content for one in files.read_any(text)]
    except FileError as error:
        raise FileError(f"{file}: {error}") from None
    listed = tuple(one for one in found if isinstance(one, Servers | Ticket))
    if len(listed) != len(found):
        raise FileError(f"{file}: only texts and tickets of servers belong into it")
    return listed


def chosen(
    listed: Iterable[Listed], report: NodeReport, random_bytes: Callable[[int], bytes]
) -> tuple[Place, ...]:
    """What a card would take from the list: as many relays and index servers as it lacks."""
    places = {
        (place, is_relay, is_index): random_bytes(_LOT_BYTES)
        for one in listed
        for place, is_relay, is_index in servers.roles(one)
    }
    order = sorted(places, key=lambda one: places[one])
    relays = _some(order, 1, (one.public_key for one in report.relays))
    indexes = _some(order, 2, (one.public_key for one in report.index_servers))
    both = dict.fromkeys((*relays, *indexes))
    return tuple((place, place in relays, place in indexes) for place in both)


def _some(order: list[Place], role: int, used: Iterable[PublicKey]) -> dict[RelayAddress, None]:
    taken = set(used)
    lacking = WANTED - len(taken)
    found: dict[RelayAddress, None] = {}
    for one in order:
        if len(found) < lacking and one[role] and one[0].public_key not in taken:
            taken.add(one[0].public_key)
            found[one[0]] = None
    return found


def commands(report: NodeReport, places: Iterable[Place]) -> tuple[Command, ...]:
    """Have the node use them, each called as its host.

    Raises:
        IntroductionError: an address cannot be dialled.
    """
    return tuple(_commands(report, places))


def _commands(report: NodeReport, places: Iterable[Place]) -> Iterator[Command]:
    for one in places:
        name = people.typable(one[0].address.rpartition(":")[0])
        yield from servers.additions(report, (one,), name)


def words(places: Iterable[Place]) -> str:
    """One line for each."""
    return "\n".join(f"- {servers.place_words(*one)}" for one in places)
