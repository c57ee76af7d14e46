"""What goes wrong in one simulated network: a plan drawn from a seed.

Faults are data. Each seed switches on its own subset (a swarm), so that faults which would drown each
other also run alone, and rare pairs meet. A plan alone decides a run; it is printed with every failure.
"""

import random
from dataclasses import dataclass, fields
from enum import Enum

from offset_engine.core.values import Currency, Timers


class Fault(Enum):
    """One kind of trouble."""

    # The world.
    CUT = "cut"
    REPLACE = "replace"
    PARTITION = "partition"
    RELAY_DOWN = "relay_down"
    INDEX_DOWN = "index_down"
    INDEX_STALE = "index_stale"
    CRASH = "crash"
    CRASH_POINT = "crash_point"
    DISK_FULL = "disk_full"
    SLOW_NODE = "slow_node"
    CLOCK_SKEW = "clock_skew"
    # People.
    LIMITS = "limits"
    RATES = "rates"
    CLOSE = "close"
    DISABLE = "disable"
    CURRENCIES = "currencies"
    RELAYS = "relays"
    UNFRIEND = "unfriend"
    DISPUTE = "dispute"
    PRIMITIVES = "primitives"
    HOLD = "hold"
    DOUBLE = "double"
    RESTORE = "restore"


PACE_MS: dict[Fault, int] = {
    Fault.CUT: 2_000,
    Fault.REPLACE: 4_000,
    Fault.PARTITION: 9_000,
    Fault.RELAY_DOWN: 6_000,
    Fault.INDEX_DOWN: 8_000,
    Fault.CRASH: 5_000,
    Fault.RESTORE: 12_000,
}
"""Mean virtual time between two strikes of the faults that strike by themselves."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that was drawn for one seed before anything happened."""

    seed: int
    node_count: int
    friendships: tuple[tuple[int, int], ...]
    currencies: tuple[Currency, ...]
    latency_ms: tuple[int, int]
    action_count: int
    action_pause_ms: int
    """Mean pause between two things people do."""
    timer_divisor: int
    skew_ms: tuple[int, ...]
    """Per node, what its wall clock is ahead."""
    hostile: int | None
    """The node that plays foul, if any."""
    faults: tuple[Fault, ...]
    has_bytes: bool
    """Messages cross the wire as bytes, through the real codec."""

    def has(self, fault: Fault) -> bool:
        """Whether this fault is on."""
        return fault in self.faults

    @property
    def timers(self) -> Timers:
        """A node's waiting times, shortened so that they pass while faults are on."""
        whole = Timers()
        return Timers(
            **{f.name: getattr(whole, f.name) // self.timer_divisor for f in fields(Timers)}
        )


def draw(seed: int) -> Plan:
    """The plan of a seed."""
    rng = random.Random(f"plan {seed}")
    node_count = rng.randint(3, 8)
    share = rng.choice((0.1, 0.2, 0.3, 0.5))
    faults = tuple(fault for fault in Fault if rng.random() < share)
    if Fault.RESTORE in faults and rng.random() < 0.4:
        faults = tuple(fault for fault in faults if fault is not Fault.RESTORE)
    low = rng.choice((1, 5, 20))
    skewed = Fault.CLOCK_SKEW in faults
    return Plan(
        seed=seed,
        node_count=node_count,
        friendships=_friendships(rng, node_count),
        currencies=tuple(Currency(name) for name in ("FST", "USD", "hours")[: rng.randint(1, 3)]),
        latency_ms=(low, low * rng.choice((2, 5, 30))),
        action_count=rng.randint(40, 100),
        action_pause_ms=rng.choice((30, 150, 500)),
        timer_divisor=rng.choice((2, 5, 10)),
        skew_ms=tuple(
            rng.randint(-5_000_000, 5_000_000) if skewed else 0 for _ in range(node_count)
        ),
        hostile=rng.randrange(node_count) if rng.random() < 0.35 else None,
        faults=faults,
        has_bytes=rng.random() < 0.5,
    )


def _friendships(rng: random.Random, node_count: int) -> tuple[tuple[int, int], ...]:
    """A tree, so that everybody can be reached, and some more."""
    pairs: dict[tuple[int, int], None] = {}
    for node in range(1, node_count):
        other = node - 1 if rng.random() < 0.6 else rng.randrange(node)
        pairs[(other, node)] = None
    for _ in range(rng.randint(0, node_count)):
        one, other = sorted(rng.sample(range(node_count), 2))
        pairs[(one, other)] = None
    return tuple(pairs)
