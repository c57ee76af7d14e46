"""Which one of several possible links to a friend is *the* link, and when to dial for a new one.

Both friends listen at their own relays and both dial the other's relays, so two links may come up at
once. One side is *preferred* (`crypto.speaks_first`); the rules below make both sides keep the same link.

```
 enable ─► waiting ◄────────────► dialing
              ▲  │ a link comes up   │
   closed, or │  ▼                   │
   dead: grace└─ up ◄────────────────┘        grace over without a link ─► the friend is offline
```

| rule | event | what happens |
|---|---|---|
| FL1 | friend enabled | dial; the side that is not preferred first waits a random time |
| FL2 | dial failed | wait uniform(b/2, b), b = min(max, min * 2^n); next relay |
| FL3 | relays changed, retry, wake-up | dial now; a relay no longer listed is not dialed again |
| FL4 | link, none up | adopt |
| FL5 | link of the same initiator as the one up | adopt the newer, close the older: who dialed again had lost it |
| FL6 | link dialed by the preferred side, the one up is not | adopt the newer, close the older |
| FL7 | the other way round | ask the one up: an answer closes the newer, silence replaces the older |
| FL8 | the link is gone | grace; dial at once if it had lived, else as FL2 |
| FL9 | closed as DUPLICATE or REPLACED | the other side holds another link: wait for it, nobody failed |
| FL10 | refused | wait at least a minute |
| FL11 | friend removed | `disable`: close and stop |
| FL12 | the link is old | the preferred side dials a second one, FL5 or FL6 swap it in |

n counts failed dials and short-lived links apart: hearing from the friend forgives the former, only a
link that lived forgives the latter (design R42), so a link that dies after its handshake never makes two
nodes dial in circles.

Invariants: a candidate exists only while a link is adopted and being asked; effects name only ids this
state knows; unknown ids change nothing. `net/peers.py` feeds the events and carries out the effects.

Source: PROTOCOL.md, "Friend links".
"""

from dataclasses import replace
from typing import Final, TypeAlias, assert_never

from offset_engine.core.friend_link_events import (
    Adopt,
    Answered,
    Arrived,
    Attempt,
    BackOff,
    CancelDial,
    Close,
    Closed,
    Dial,
    Dialed,
    DialFailed,
    Heard,
    LinkEffect,
    LinkEvent,
    News,
    Offline,
    Probe,
    RelaysChanged,
    Retry,
    Tick,
    Wish,
    Woke,
)
from offset_engine.core.link import CloseCode
from offset_engine.core.values import RelayAddress, Timers, value

__all__ = [
    "RELAYS_PER_ATTEMPT", "Adopt", "Answered", "Arrived", "Attempt", "BackOff", "CancelDial", "Close",
    "Closed", "Dial", "DialFailed", "Dialed", "FriendLinks", "Heard", "Link", "LinkEffect", "LinkEnv",
    "LinkEvent", "LinkRules", "News", "Offline", "Outcome", "Probe", "RelaysChanged", "Retry", "Tick", "Wish",
    "Woke", "deadline_ms", "disable", "enable", "step",
]  # fmt: skip

RELAYS_PER_ATTEMPT: Final = 2
"""Relays raced in one attempt; also the concurrent dials per friend."""
_BACKOFF_SHIFT_MAX: Final = 20
_REFUSALS: Final = (CloseCode.NOT_AUTHORIZED, CloseCode.VERSION, CloseCode.PROTOCOL)
_ELSEWHERE: Final = (CloseCode.DUPLICATE, CloseCode.REPLACED)


@value
class LinkRules:
    """Waiting times of the rules, in ms."""

    backoff_min_ms: int = 1_000
    backoff_max_ms: int = 300_000
    start_max_ms: int = 10_000
    lived_ms: int = 60_000
    """A link that lived so long was a good one."""
    grace_ms: int = 10_000
    settle_ms: int = 5_000
    """How long to wait for the link the other side prefers (FL9); half the grace, so that a friend
    who is reachable is found again before being called offline."""
    probe_ms: int = 3_000
    """How long the link that is up may take to answer (FL7)."""
    wake_probe_ms: int = 5_000
    """The same after the machine slept."""
    refused_ms: int = 60_000
    age_max_ms: int = 86_400_000
    """Older links are replaced (FL12), give or take a tenth."""

    @classmethod
    def of(cls, timers: Timers) -> "LinkRules":
        """The rules that follow from a node's configured waiting times."""
        grace_ms = timers.offline_grace_ms
        return cls(
            backoff_min_ms=timers.dial_backoff_min_ms,
            backoff_max_ms=timers.dial_backoff_max_ms,
            start_max_ms=timers.dial_start_max_ms,
            lived_ms=timers.link_lived_ms,
            grace_ms=grace_ms,
            settle_ms=grace_ms // 2,
            probe_ms=max(1, grace_ms * 3 // 10),
            wake_probe_ms=max(1, grace_ms // 2),
            refused_ms=timers.malformed_backoff_ms,
        )


@value
class LinkEnv:
    """What one step needs from outside."""

    now_ms: int
    """Monotonic."""
    jitter: int
    """A random number below 2**32."""
    rules: LinkRules

    def between(self, low: int, high: int) -> int:
        """A random whole number from `low` up to, not including, `high` (or `low` if they are equal)."""
        return low + ((high - low) * self.jitter >> 32)

    def backoff(self, count: int) -> int:
        """How long to wait, in ms, after `count` earlier failures."""
        full = min(
            self.rules.backoff_max_ms,
            self.rules.backoff_min_ms << min(count, _BACKOFF_SHIFT_MAX),
        )
        return self.between(full // 2, full)


@value
class Link:
    """One authenticated connection to the friend."""

    link_id: int
    is_dialed: bool
    """This node is the initiator."""
    relay: RelayAddress
    since_ms: int


@value
class FriendLinks:
    """Everything remembered about reaching one enabled friend."""

    is_preferred: bool
    relays: tuple[RelayAddress, ...]
    """The friend's relays this node may dial."""
    adopted: Link | None = None
    candidate: Link | None = None
    """A younger link waiting for the adopted one to answer or not (FL7)."""
    probe_until_ms: int | None = None
    attempt: Attempt | None = None
    attempts: int = 0
    """Attempts so far; also the id of the newest one."""
    relay_turn: int = 0
    dials_failed: int = 0
    lives_short: int = 0
    dial_at_ms: int | None = None
    renew_at_ms: int = 0
    """When the adopted link is old enough to be replaced."""
    quiet_until_ms: int = 0
    """No dial and no incoming link before this (design R23)."""
    offline_at_ms: int | None = None
    problem: str = ""
    """Why the last attempt or link ended, for people."""
    changed_ms: int = 0
    """When the link last came up or went."""


Outcome: TypeAlias = tuple[FriendLinks, tuple[LinkEffect, ...]]


# --- transitions --------------------------------------------------------------------------------


def enable(*, is_preferred: bool, relays: tuple[RelayAddress, ...], env: LinkEnv) -> Outcome:
    """Begin to reach a friend (FL1).

    Args:
        is_preferred: `crypto.speaks_first(local, friend)`.
        relays: the friend's relays this node may dial.
        env: time and luck.
    """
    start = env.rules.start_max_ms
    wait_ms = 0 if is_preferred else env.between(start // 2, start)
    state = FriendLinks(
        is_preferred, relays, dial_at_ms=env.now_ms + wait_ms, changed_ms=env.now_ms
    )
    return _dial_if_due(state, (), env)


def disable(state: FriendLinks) -> tuple[LinkEffect, ...]:
    """What to do when the friend is removed or disabled (FL11); the state ends here."""
    effects: tuple[LinkEffect, ...] = ()
    if state.attempt is not None:
        effects += (CancelDial(state.attempt.attempt_id),)
    if state.candidate is not None:
        effects += (Close(state.candidate.link_id, CloseCode.NORMAL),)
    if state.adopted is not None:
        effects += (Close(state.adopted.link_id, CloseCode.NORMAL),)
    return effects


def step(state: FriendLinks, event: LinkEvent, env: LinkEnv) -> Outcome:
    """Apply one event; total, and an event about an unknown link or attempt changes nothing."""
    if isinstance(event, Tick):
        state, effects = _tick(state, env)
    elif isinstance(event, Wish):
        state, effects = _apply_wish(state, event, env)
    else:
        state, effects = _apply_news(state, event, env)
    return _dial_if_due(state, effects, env)


def deadline_ms(state: FriendLinks) -> int | None:
    """When a `Tick` is due, or None."""
    dial_at = state.dial_at_ms if state.attempt is None and state.relays else None
    return min(
        (at for at in (dial_at, state.probe_until_ms, state.offline_at_ms) if at is not None),
        default=None,
    )


def _apply_wish(state: FriendLinks, event: Wish, env: LinkEnv) -> Outcome:
    match event:
        case RelaysChanged(relays):
            return _relays_changed(state, relays, env)
        case Retry():
            return _forgiven(state, env), ()
        case Heard():
            return _heard(state, env), ()
        case Woke():
            return _woke(state, env)
        case BackOff(pause_ms):
            return _back_off(state, pause_ms, env)
        case _:
            assert_never(event)


def _apply_news(state: FriendLinks, event: News, env: LinkEnv) -> Outcome:
    match event:
        case Dialed():
            return _dialed(state, event, env)
        case DialFailed():
            return _dial_failed(state, event, env), ()
        case Arrived(link_id, relay):
            link = Link(link_id, is_dialed=False, relay=relay, since_ms=env.now_ms)
            return _link_ready(replace(state, dials_failed=0), link, env)
        case Closed():
            return _closed(state, event, env)
        case Answered(link_id):
            return _answered(state, link_id)
        case _:
            assert_never(event)


# --- dialing ------------------------------------------------------------------------------------


def _dial_if_due(state: FriendLinks, effects: tuple[LinkEffect, ...], env: LinkEnv) -> Outcome:
    due = state.dial_at_ms
    if due is None or due > env.now_ms or state.attempt is not None or not state.relays:
        return state, effects
    count = len(state.relays)
    first = state.relay_turn % count
    chosen = tuple(state.relays[(first + i) % count] for i in range(min(RELAYS_PER_ATTEMPT, count)))
    attempt = Attempt(state.attempts + 1, chosen)
    state = replace(state, attempt=attempt, attempts=attempt.attempt_id, dial_at_ms=None)
    return state, (*effects, Dial(attempt))


def _dialed(state: FriendLinks, event: Dialed, env: LinkEnv) -> Outcome:
    if state.attempt is None or state.attempt.attempt_id != event.attempt_id:
        return state, (Close(event.link_id, CloseCode.NORMAL),)
    link = Link(event.link_id, is_dialed=True, relay=event.relay, since_ms=env.now_ms)
    return _link_ready(replace(state, attempt=None, dials_failed=0, problem=""), link, env)


def _dial_failed(state: FriendLinks, event: DialFailed, env: LinkEnv) -> FriendLinks:
    attempt = state.attempt
    if attempt is None or attempt.attempt_id != event.attempt_id:
        return state
    state = replace(
        state,
        attempt=None,
        relay_turn=(state.relay_turn + len(attempt.relays)) % max(1, len(state.relays)),
        problem=event.problem,
    )
    if state.adopted is not None:
        return _renew_later(state, env)
    if event.code in _ELSEWHERE:
        return _dial_in(state, env.rules.settle_ms, env)
    wait_ms = env.backoff(state.dials_failed + state.lives_short)
    if event.code in _REFUSALS:
        wait_ms = max(wait_ms, env.rules.refused_ms)
    return _dial_in(replace(state, dials_failed=state.dials_failed + 1), wait_ms, env)


def _dial_in(state: FriendLinks, wait_ms: int, env: LinkEnv) -> FriendLinks:
    return replace(state, dial_at_ms=max(env.now_ms + wait_ms, state.quiet_until_ms))


def _renew_later(state: FriendLinks, env: LinkEnv) -> FriendLinks:
    if not state.is_preferred:
        return state
    pause_ms = env.backoff(state.dials_failed)
    dial_at_ms = max(state.renew_at_ms, env.now_ms + pause_ms)
    return replace(state, dials_failed=state.dials_failed + 1, dial_at_ms=dial_at_ms)


def _relays_changed(state: FriendLinks, relays: tuple[RelayAddress, ...], env: LinkEnv) -> Outcome:
    if relays == state.relays:
        return state, ()
    effects: tuple[LinkEffect, ...] = ()
    attempt = state.attempt
    if attempt is not None and any(relay not in relays for relay in attempt.relays):
        state = replace(state, attempt=None)
        effects = (CancelDial(attempt.attempt_id),)
    state = replace(state, relays=relays, relay_turn=0, dials_failed=0)
    if state.adopted is None:
        state = _dial_in(state, 0, env)
    elif effects:
        state = _renew_later(state, env)
    return state, effects


def _forgiven(state: FriendLinks, env: LinkEnv) -> FriendLinks:
    state = replace(state, dials_failed=0, lives_short=0, quiet_until_ms=0)
    return state if state.adopted is not None else _dial_in(state, 0, env)


def _heard(state: FriendLinks, env: LinkEnv) -> FriendLinks:
    if state.dials_failed == 0:
        return state
    state = replace(state, dials_failed=0)
    if state.adopted is not None or state.dial_at_ms is None:
        return state
    soon = env.now_ms + env.backoff(state.lives_short)
    return replace(state, dial_at_ms=max(min(state.dial_at_ms, soon), state.quiet_until_ms))


def _back_off(state: FriendLinks, pause_ms: int, env: LinkEnv) -> Outcome:
    effects: tuple[LinkEffect, ...] = ()
    if state.attempt is not None:
        effects = (CancelDial(state.attempt.attempt_id),)
    quiet_ms = max(state.quiet_until_ms, env.now_ms + pause_ms)
    state = replace(state, attempt=None, quiet_until_ms=quiet_ms)
    if state.adopted is None:
        state = replace(state, dial_at_ms=max(state.dial_at_ms or 0, quiet_ms))
    return state, effects


# --- links --------------------------------------------------------------------------------------


def _link_ready(state: FriendLinks, link: Link, env: LinkEnv) -> Outcome:
    existing = state.adopted
    if existing is None:
        return _adopt(state, link, (), env)
    by_preferred = link.is_dialed == state.is_preferred
    if by_preferred or link.is_dialed == existing.is_dialed:
        return _adopt(state, link, (Close(existing.link_id, CloseCode.REPLACED),), env)
    if state.candidate is not None:
        effects: tuple[LinkEffect, ...] = (Close(state.candidate.link_id, CloseCode.REPLACED),)
    elif state.probe_until_ms is not None:
        effects = ()
    else:
        state = replace(state, probe_until_ms=env.now_ms + env.rules.probe_ms)
        effects = (Probe(existing.link_id),)
    return replace(state, candidate=link), effects


def _adopt(
    state: FriendLinks, link: Link, closing: tuple[LinkEffect, ...], env: LinkEnv
) -> Outcome:
    effects: tuple[LinkEffect, ...] = (Adopt(link.link_id), *closing)
    if state.candidate is not None and state.candidate != link:
        effects += (Close(state.candidate.link_id, CloseCode.DUPLICATE),)
    if state.attempt is not None and not state.is_preferred and not link.is_dialed:
        # FL7 would throw its link away. The preferred side lets its own attempt end: it may already
        # have won at the other side, and FL6 swaps it in.
        effects += (CancelDial(state.attempt.attempt_id),)
        state = replace(state, attempt=None)
    age = env.rules.age_max_ms
    renew_at = env.now_ms + env.between(age - age // 10, age + age // 10)
    state = replace(
        state,
        adopted=link,
        candidate=None,
        probe_until_ms=None,
        offline_at_ms=None,
        dial_at_ms=renew_at if state.is_preferred else None,
        renew_at_ms=renew_at,
        changed_ms=env.now_ms,
    )
    return state, effects


def _closed(state: FriendLinks, event: Closed, env: LinkEnv) -> Outcome:
    if state.candidate is not None and state.candidate.link_id == event.link_id:
        return replace(state, candidate=None), ()
    if state.adopted is None or state.adopted.link_id != event.link_id:
        return state, ()
    return _lost(state, event.code, event.problem, env)


def _lost(state: FriendLinks, code: CloseCode | None, problem: str, env: LinkEnv) -> Outcome:
    existing = state.adopted
    if existing is None:
        return state, ()
    has_lived = env.now_ms - existing.since_ms >= env.rules.lived_ms
    if has_lived:
        state = replace(state, dials_failed=0, lives_short=0)
    candidate = state.candidate
    state = replace(state, adopted=None, candidate=None, probe_until_ms=None, problem=problem)
    if candidate is not None:
        return _adopt(state, candidate, (), env)
    state = replace(state, offline_at_ms=env.now_ms + env.rules.grace_ms, changed_ms=env.now_ms)
    return _plan_after_loss(state, code, env, has_lived=has_lived), ()


def _plan_after_loss(
    state: FriendLinks, code: CloseCode | None, env: LinkEnv, *, has_lived: bool
) -> FriendLinks:
    rules = env.rules
    if code in _ELSEWHERE:
        return _dial_in(state, rules.settle_ms, env)
    wait_ms = 0 if has_lived else env.backoff(state.dials_failed + state.lives_short)
    if not has_lived:
        state = replace(state, lives_short=state.lives_short + 1)
    if code in _REFUSALS:
        wait_ms = max(wait_ms, rules.refused_ms)
    elif code is CloseCode.SHUTDOWN:
        wait_ms = max(wait_ms, env.between(rules.start_max_ms // 5, rules.start_max_ms))
    return _dial_in(state, wait_ms, env)


def _answered(state: FriendLinks, link_id: int) -> Outcome:
    if state.adopted is None or state.adopted.link_id != link_id or state.probe_until_ms is None:
        return state, ()
    candidate = state.candidate
    state = replace(state, candidate=None, probe_until_ms=None)
    return state, () if candidate is None else (Close(candidate.link_id, CloseCode.DUPLICATE),)


def _woke(state: FriendLinks, env: LinkEnv) -> Outcome:
    state = _forgiven(state, env)
    adopted = state.adopted
    if adopted is None:
        return state, ()
    state = replace(state, probe_until_ms=env.now_ms + env.rules.wake_probe_ms)
    return state, (Probe(adopted.link_id),)


def _tick(state: FriendLinks, env: LinkEnv) -> Outcome:
    effects: tuple[LinkEffect, ...] = ()
    adopted = state.adopted
    if adopted is not None and state.probe_until_ms is not None:
        if state.probe_until_ms <= env.now_ms:
            state, more = _lost(state, None, "the friend did not answer", env)
            effects = (*more, Close(adopted.link_id, CloseCode.TIMEOUT))
    elif state.offline_at_ms is not None and state.offline_at_ms <= env.now_ms:
        state = replace(state, offline_at_ms=None)
        effects = (Offline(),)
    return state, effects
