"""The report as it travels to apps: a book of what changed when at the node, a mirror of it at the app.

The node keeps one `ReportBook` for all its apps. Every change raises its revision and notes it at the
friend (or at the head: relays, index servers, connections, counts); what an app of any earlier revision lacks is
then everything noted later. Each thing is told whole, so a piece twice or a slow app do no harm.

```
book.update(state, connections) ─▶ changed keys ─▶ book.piece ─▶ Report ─▶ mirror.take ─▶ mirror.report
app's revision ─▶ book.changed_since
```

Source: PROTOCOL.md, "Apps"; design R30.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

from offset_engine.core.app_messages import Report, ReportHead
from offset_engine.core.friend import Friend
from offset_engine.core.payer import Intent
from offset_engine.core.report import friend_report
from offset_engine.core.reports import Connections, FriendReport, NodeReport
from offset_engine.core.state import NodeState
from offset_engine.core.values import PaymentId, PublicKey, Uid
from offset_engine.errors import InvariantError

REMOVED_REMEMBERED: Final = 1_024
"""Removed friends the book remembers; who missed more of them is told everything."""

ReportKey: TypeAlias = PublicKey | None
"""A friend, or None for the head."""


class ReportBook:
    """What the node's report says and since when; made anew with every run of a node."""

    def __init__(self, epoch: Uid) -> None:
        """Know nothing yet; `epoch` is random and names this run."""
        self.epoch = epoch
        self.revision = 0
        self._head: ReportHead | None = None
        self._head_source: tuple[object, ...] = ()
        self._friends_source: dict[PublicKey, Friend] = {}
        self._reports: dict[PublicKey, FriendReport] = {}
        self._changed: dict[ReportKey, int] = {}  # ascending by revision; removed friends included
        self._removed: dict[PublicKey, None] = {}
        self._oldest = 0  # revisions before this one can no longer be continued
        self._made: tuple[int, NodeReport] | None = None  # with the revision it is of

    def update(
        self,
        state: NodeState,
        connections: Connections = Connections(),  # noqa: B008  a value
    ) -> tuple[ReportKey, ...]:
        """Look at the node; returns what changed since the last look.

        Costs one comparison per friend, and a report for each that changed.
        """
        keys: list[ReportKey] = []
        if self._update_head(state, connections):
            keys.append(None)
        if state.friends is not self._friends_source:
            keys += self._update_friends(state)
            self._friends_source = state.friends
        if keys:
            self.revision += 1
            for key in keys:
                self._changed.pop(key, None)
                self._changed[key] = self.revision
            self._forget()
        return tuple(keys)

    def _update_head(self, state: NodeState, connections: Connections) -> bool:
        source = (state.relays, state.index_servers, state.invoices, state.intents, connections)
        if len(self._head_source) == len(source) and all(
            new is old for new, old in zip(source, self._head_source, strict=True)
        ):
            return False
        self._head_source = source
        head = ReportHead(
            state.local_public_key,
            state.relays,
            state.index_servers,
            len(state.invoices),
            _open_payments(state.intents),
            connections,
        )
        is_changed = head != self._head
        self._head = head
        return is_changed

    def _update_friends(self, state: NodeState) -> list[ReportKey]:
        keys: list[ReportKey] = []
        old = self._friends_source
        for key, friend in state.friends.items():
            if old.get(key) is friend:
                continue
            report = friend_report(friend, state.local_public_key)
            if report != self._reports.get(key):
                self._reports[key] = report
                self._removed.pop(key, None)
                keys.append(key)
        for key in [key for key in old if key not in state.friends]:
            del self._reports[key]
            self._removed[key] = None
            keys.append(key)
        return keys

    def _forget(self) -> None:
        while len(self._removed) > REMOVED_REMEMBERED:
            key = next(iter(self._removed))
            del self._removed[key]
            self._oldest = self._changed.pop(key)

    def report(self) -> NodeReport:
        """The whole node as of the last look; call `update` first.

        Raises:
            InvariantError: nobody has looked yet.
        """
        if self._head is None:
            raise InvariantError("a report is wanted before anybody looked at the node")
        if self._made is None or self._made[0] != self.revision:
            self._made = self.revision, _put_together(self._head, self._reports.values())
        return self._made[1]

    def everything(self) -> tuple[ReportKey, ...]:
        """What a report from the beginning consists of."""
        return (None, *self._reports)

    def changed_since(self, epoch: Uid | None, revision: int) -> tuple[ReportKey, ...] | None:
        """What somebody lacks who knows this revision; None = tell everything."""
        if epoch != self.epoch or not self._oldest <= revision <= self.revision:
            return None
        keys: list[ReportKey] = []
        for key, changed in reversed(self._changed.items()):
            if changed <= revision:
                break
            keys.append(key)
        return tuple(reversed(keys))

    def piece(self, keys: Iterable[ReportKey], since: int | None, revision: int | None) -> Report:
        """What the book says now about `keys`; see `Report` for the other two."""
        friends: list[FriendReport] = []
        removed: list[PublicKey] = []
        head = None
        for key in keys:
            if key is None:
                head = self._head
            elif (report := self._reports.get(key)) is not None:
                friends.append(report)
            else:
                removed.append(key)
        return Report(self.epoch, since, revision, head, tuple(friends), tuple(removed))


def _put_together(head: ReportHead, friends: Iterable[FriendReport]) -> NodeReport:
    return NodeReport(
        head.local_public_key,
        head.relays,
        head.index_servers,
        tuple(sorted(friends, key=lambda one: (one.name, one.public_key))),
        head.open_invoices,
        head.open_payments,
        head.connections,
    )


def _open_payments(intents: dict[PaymentId, Intent]) -> int:
    return sum(1 for intent in intents.values() if intent.ended_ms is None)


class ReportMirror:
    """A node's report at an app, put together from its pieces.

    It survives a lost connection: what is missing is then told from `revision` on.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self.epoch: Uid | None = None
        self.revision = 0
        """The last one complete."""
        self._head: ReportHead | None = None
        self._friends: dict[PublicKey, FriendReport] = {}
        self._is_complete = False
        self._made: NodeReport | None = None

    def take(self, piece: Report) -> bool:
        """Take in what the node sent; False if it does not go on from what is known: ask for all."""
        if piece.since is None:
            self._start_anew(piece.epoch)
        elif piece.epoch != self.epoch or piece.since > self.revision:
            self._start_anew(None)
            return False
        if piece.head is not None:
            self._head = piece.head
        self._friends.update((friend.public_key, friend) for friend in piece.friends)
        for key in piece.removed:
            self._friends.pop(key, None)
        self._is_complete = piece.revision is not None
        if piece.revision is not None:
            self.revision = piece.revision
        self._made = None
        return True

    def _start_anew(self, epoch: Uid | None) -> None:
        self.epoch, self.revision = epoch, 0
        self._head, self._friends = None, {}
        self._is_complete, self._made = False, None

    def report(self) -> NodeReport | None:
        """The whole node as of the last complete revision; None while pieces are missing."""
        if not self._is_complete or self._head is None:
            return None
        if self._made is None:
            self._made = _put_together(self._head, self._friends.values())
        return self._made
