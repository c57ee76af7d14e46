"""What the line above the keys says, and what leaving would interrupt; pictures of the node in, words out.

Source: tui.md §4.
"""

from typing import TYPE_CHECKING

from offset_engine.client import FriendReport, NodeReport
from offset_engine.text import safe
from offset_tui import needs
from offset_tui.session import Snapshot

if TYPE_CHECKING:
    from offset_tui.app import OffsetApp


def parts(app: "OffsetApp") -> list[tuple[str, str]]:
    """(words, style), most important first."""
    session = app.session
    snapshot = session.snapshot
    dot, ring = ("*", "o") if app.options.is_ascii else ("●", "○")
    if app.connection_trouble:
        found = [(f"{ring} {safe(app.connection_trouble, 50)}", "bold red")]
    elif _is_online(snapshot.report):
        found = [(f"{dot} online", "green")]
    else:
        found = [(f"{ring} offline", "yellow")]
    count = len(needs.of(session))
    if count:
        found.append((f"{count} need{'s' if count == 1 else ''} you", "bold yellow"))
    found += _server_parts(snapshot.report)
    friends = [one for one in snapshot.report.friends if one.is_enabled]
    online = sum(1 for one in friends if one.is_online)
    found.append((f"friends {online}/{len(friends)}", ""))
    moving = _pending(snapshot)
    if moving:
        found.append((f"{moving} pending", ""))
    if app.options.is_read_only:
        found.append(("read-only", "bold"))
    found.append((safe(session.name, 24), "dim"))
    return found


def moving_sentence(snapshot: Snapshot) -> str:
    """What is under way, for the question about leaving."""
    moving = _pending(snapshot)
    if not moving:
        return "Nothing is under way."
    return f"{moving} payment{'s are' if moving > 1 else ' is'} under way."


def _is_online(report: NodeReport) -> bool:
    return any(_is_reachable(one) for one in report.friends) or bool(report.listening_relays)


def _is_reachable(friend: FriendReport) -> bool:
    return friend.is_enabled and friend.is_online


def _server_parts(report: NodeReport) -> list[tuple[str, str]]:
    relays, total = len(report.listening_relays), len(report.relays)
    index, servers = int(report.connected_index is not None), len(report.index_servers)
    return [
        (f"relay {relays}/{total}", "" if relays or not total else "yellow"),
        (f"index {index}/{servers}", "" if index or not servers else "yellow"),
    ]


def _pending(snapshot: Snapshot) -> int:
    return sum(1 for pay in snapshot.pays if pay.ended_ms is None) + sum(
        1 for invoice in snapshot.invoices if invoice.frozen
    )
