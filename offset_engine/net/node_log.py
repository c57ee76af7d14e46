"""What an operator wants to read in a node's log: who comes and goes, what needs a person, what ended.

`NodeLog` compares the node with what it was at the last look, at most ten times a second, beside the node's
own work. Names are those the owner gave; keys are fingerprints; there are no amounts and no secrets.

Source: apps.md NOD-24; design R23, R25.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import anyio

from offset_engine.core.friend import Friend
from offset_engine.core.payer import Intent, PayStage
from offset_engine.core.reports import ServerReport, ServerState
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Inconsistent
from offset_engine.core.values import PublicKey
from offset_engine.net.engine import Engine

_log: Final = logging.getLogger(__name__)

LOOK_PAUSE_MS: Final = 100

_Line: TypeAlias = tuple[int, str]
"""A level of logging and what happened."""


class NodeLog:
    """See the module. Run it beside a running engine, once."""

    def __init__(self, engine: Engine) -> None:
        """Take the node as it is now; only what changes from here on is told."""
        self._engine = engine
        self._state = engine.state
        self._told: dict[tuple[str, PublicKey], _Line] = {}
        """What was said last of each server: one that stays away is told once."""
        self._news = anyio.Event()

    async def run(self) -> None:
        """Look at the node after every change, until cancelled."""
        self._engine.report_watchers[self] = self._changed
        try:
            while True:
                self._look()
                await anyio.sleep(LOOK_PAUSE_MS / 1000)
                await self._news.wait()
                self._news = anyio.Event()
        finally:
            del self._engine.report_watchers[self]

    def _changed(self) -> None:
        self._news.set()

    def _look(self) -> None:
        before, self._state = self._state, self._engine.state
        connections = self._engine.connections
        lines = [
            *self._server_lines("relay", connections.relays),
            *self._server_lines("index server", connections.index_servers),
            *_friends_lines(before, self._state),
            *_payment_lines(before, self._state),
        ]
        for level, text in lines:
            _log.log(level, "%s", text)

    def _server_lines(self, kind: str, servers: Sequence[ServerReport]) -> Iterator[_Line]:
        keys = {one.public_key for one in servers}
        for which in [one for one in self._told if one[0] == kind and one[1] not in keys]:
            del self._told[which]
        for server in servers:
            which, line = (kind, server.public_key), _server_line(kind, server)
            if line is not None and line != self._told.get(which):
                self._told[which] = line
                yield line


def _server_line(kind: str, one: ServerReport) -> _Line | None:
    """How things stand with a server; attempts under way are no news."""
    what = f"{kind} {one.public_key}"
    match one.state:
        case ServerState.CONNECTED:
            return logging.INFO, f"{what} is connected"
        case ServerState.REFUSED:
            return logging.WARNING, f"{what} does not serve this card: {one.trouble}"
        case ServerState.WAITING:
            return logging.WARNING, f"{what} is not connected: {one.trouble or 'it left'}"
        case ServerState.CONNECTING | ServerState.IDLE:
            return None


def _friends_lines(before: NodeState, now: NodeState) -> Iterator[_Line]:
    for key, friend in now.friends.items():
        old = before.friends.get(key)
        if old is None:
            yield logging.INFO, f"friend {_who(friend)} was added"
        elif old is not friend:
            yield from _friend_lines(old, friend)
    for key, friend in before.friends.items():
        if key not in now.friends:
            yield logging.INFO, f"friend {_who(friend)} was removed"


def _friend_lines(old: Friend, friend: Friend) -> Iterator[_Line]:
    who = f"friend {_who(friend)}"
    if old.is_enabled != friend.is_enabled:
        yield logging.INFO, f"{who} is {'enabled' if friend.is_enabled else 'disabled'}"
    if old.is_online != friend.is_online:
        yield logging.INFO, f"{who} is {'online' if friend.is_online else 'offline'}"
    if friend.unreadable_ms is not None and friend.unreadable_ms != old.unreadable_ms:
        yield logging.WARNING, f"cannot read what {who} sends; its program may be another version"
    if old.lost != friend.lost:
        yield logging.WARNING, f"a payment for {who} was lost; look at its page"
    was, has = isinstance(old.channel, Inconsistent), isinstance(friend.channel, Inconsistent)
    if has and not was:
        told = (
            "and this card disagree about balances: no payment passes until one accepts the other's"
        )
        yield logging.WARNING, f"{who} {told} terms"
    elif was and not has:
        yield logging.INFO, f"{who} and this card agree about their balances again"
    if old.is_quarantined and not friend.is_quarantined:
        yield logging.INFO, f"{who} has confirmed the restored balances"


def _payment_lines(before: NodeState, now: NodeState) -> Iterator[_Line]:
    if before.intents is now.intents:
        return
    for key, intent in now.intents.items():
        old = before.intents.get(key)
        if old is not intent and (old is None or old.stage is not intent.stage):
            yield from _stage_lines(intent)


def _stage_lines(intent: Intent) -> Iterator[_Line]:
    what = f"payment {intent.intent_id}"
    if intent.stage is PayStage.PAID:
        yield logging.INFO, f"{what} is paid"
    elif intent.stage is PayStage.FAILED:
        why = "" if intent.failure is None else f": {intent.failure.value}"
        yield logging.INFO, f"{what} failed{why}"


def _who(friend: Friend) -> str:
    name = f"{friend.name!a} " if friend.name else ""
    return f"{name}{friend.public_key}"
