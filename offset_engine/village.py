"""A whole network in one process: people with cards, relays and an index server, over real loopback TCP.

The practice village of `offset demo`, of the tests and of the measurements. Every payment passes through
real sockets, the secure channel and a relay; nothing leaves the machine; with no directory given,
nothing is kept. Waiting times are short through the same objects a real node uses (design R52).

People and numbers come from the documentation: Bob bakes, Charli makes chocolate, Daniel repairs cars; limits
are 200 and 150, the fee is 0.5 % + 0.01. Amounts have two decimals: 1.00 OUSD is 100 credits.

Source: design R52; offset-docs "Introduction".
"""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup

from offset_engine.core.api import SetFriendRelays
from offset_engine.core.crypto import public_key_of, sha512_256
from offset_engine.core.index import IndexLimits
from offset_engine.core.link import LinkLimits
from offset_engine.core.mutual_credit import Ledger
from offset_engine.core.relay_limits import RelayLimits
from offset_engine.core.values import (
    Currency,
    NamedAddress,
    PrivateKey,
    PublicKey,
    Rate,
    Timers,
    value,
)
from offset_engine.errors import OffsetError
from offset_engine.net.connection import NetLimits
from offset_engine.net.engine import Engine
from offset_engine.net.local_client import LocalClient
from offset_engine.net.servers import IndexService, RelayService, run_services
from offset_engine.net.transport import Endpoint
from offset_engine.store import MemoryStore, SqliteStore, Store

OUSD: Final = Currency("OUSD")
HOURS: Final = Currency("HOURS")
DECIMALS: Final = 2

HALF_PERCENT: Final = Rate(mul=-(-(1 << 32) * 5 // 1000), add=1)
"""0.5 % + 0.01: the documentation's fee."""
ONE_PERCENT: Final = Rate(mul=-(-(1 << 32) // 100), add=0)
CENT: Final = Rate(mul=0, add=1)
FREE: Final = Rate()

VILLAGE_TIMERS: Final = Timers(
    part_stuck_ms=10_000,
    route_answer_ms=4_000,
    route_busy_ms=200,
    route_retry_ms=100,
    friend_wait_ms=3_000,
    group_unsealed_ms=15_000,
    offline_grace_ms=400,
    dial_backoff_min_ms=100,
    dial_backoff_max_ms=1_000,
    dial_start_max_ms=300,
    link_lived_ms=2_000,
    handshake_ms=8_000,
    index_delta_ms=100,
    index_alive_ms=5_000,
    index_ack_ms=5_000,
)
_INDEX_LIMITS: Final = IndexLimits(
    tick_ms=2_000, updates_per_second=50, updates_burst=500, node_timeout_ms=20_000
)
_RELAY_LIMITS: Final = RelayLimits(connects_per_minute_key=0, dials_per_key_max=64)


@value
class Friendship:
    """Two people who trust each other in one currency; limits in credits."""

    one: str
    other: str
    currency: Currency
    one_grants: int
    """The most `other` may owe `one`."""
    other_grants: int
    one_charges: Rate = FREE
    """What `one` charges for forwarding what arrives from `other`."""
    other_charges: Rate = FREE


CAST: Final = (
    Friendship("Bob", "Charli", OUSD, 200_00, 150_00, CENT, HALF_PERCENT),
    Friendship("Charli", "Daniel", OUSD, 150_00, 200_00, HALF_PERCENT, FREE),
    Friendship("Daniel", "Eve", OUSD, 120_00, 120_00, CENT, ONE_PERCENT),
    Friendship("Eve", "Farid", OUSD, 80_00, 100_00, CENT, CENT),
    Friendship("Farid", "Grace", OUSD, 100_00, 100_00, HALF_PERCENT, CENT),
    Friendship("Grace", "Bob", OUSD, 60_00, 90_00, FREE, CENT),
    Friendship("Charli", "Grace", OUSD, 50_00, 50_00, ONE_PERCENT, FREE),
    Friendship("Bob", "Daniel", HOURS, 20_00, 20_00, FREE, CENT),
    Friendship("Daniel", "Grace", HOURS, 30_00, 15_00, CENT, FREE),
    Friendship("Grace", "Charli", HOURS, 25_00, 25_00, CENT, CENT),
    Friendship("Charli", "Eve", HOURS, 12_00, 18_00, FREE, HALF_PERCENT),
    Friendship("Eve", "Farid", HOURS, 10_00, 10_00, CENT, FREE),
)
"""Six people, connected in either currency."""


TOUR_CAST: Final = (
    Friendship("Eve", "Bob", OUSD, 200_00, 150_00),
    Friendship("Eve", "Charli", OUSD, 150_00, 200_00, CENT, HALF_PERCENT),
    Friendship("Charli", "Daniel", OUSD, 150_00, 200_00, HALF_PERCENT, FREE),
    Friendship("Bob", "Farid", OUSD, 80_00, 100_00, CENT, FREE),
    Friendship("Farid", "Grace", OUSD, 100_00, 100_00, CENT, CENT),
    Friendship("Eve", "Grace", HOURS, 12_00, 18_00, FREE, CENT),
)
"""Eve's village: who walks through the app is Eve, and Daniel is reached through Charli only."""


class VillageError(OffsetError):
    """The village did not come to life in time."""


@dataclass(slots=True)
class Villager:
    """One person's card."""

    name: str
    identity: PrivateKey
    store: Store
    relay: NamedAddress
    spare_relays: tuple[NamedAddress, ...] = ()
    """Where the card can be reached besides."""
    engine: Engine | None = None
    stop: anyio.CancelScope | None = None
    stopped: anyio.Event | None = None

    @property
    def key(self) -> PublicKey:
        """The card's public key."""
        return public_key_of(self.identity)

    @property
    def client(self) -> LocalClient:
        """The person's own client.

        Raises:
            VillageError: the card is switched off.
        """
        return LocalClient(self.running)

    @property
    def running(self) -> Engine:
        """The running node.

        Raises:
            VillageError: the card is switched off.
        """
        if self.engine is None:
            raise VillageError(f"{self.name}'s card is switched off")
        return self.engine


@dataclass(slots=True)
class Village:
    """See the module; made by `open_village`."""

    tasks: TaskGroup
    friendships: tuple[Friendship, ...]
    timers: Timers
    people: dict[str, Villager] = field(default_factory=dict)
    relays: list[NamedAddress] = field(default_factory=list)
    relay_scopes: list[anyio.CancelScope] = field(default_factory=list)
    index_server: NamedAddress | None = None
    index: IndexService | None = None

    async def switch_on(self, name: str) -> None:
        """Start a person's node and wait until it runs."""
        person = self.people[name]
        engine = Engine(person.identity, person.store, self.timers)
        person.engine = engine
        person.stopped = anyio.Event()
        await self.tasks.start(self._run, person, engine)

    async def _run(
        self,
        person: Villager,
        engine: Engine,
        *,
        task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        try:
            with anyio.CancelScope() as scope:
                person.stop = scope
                await engine.run(task_status=task_status)
        finally:
            if person.stopped is not None:
                person.stopped.set()

    async def switch_off(self, name: str) -> None:
        """Stop a person's node; its store stays."""
        person = self.people[name]
        if person.stop is not None and person.stopped is not None:
            person.stop.cancel()
            await person.stopped.wait()
        person.engine = None

    def stop_relay(self, number: int) -> NamedAddress:
        """Have a relay die, as a machine does that loses its power; returns which it was."""
        self.relay_scopes[number].cancel()
        return self.relays[number]

    def currencies(self) -> tuple[Currency, ...]:
        """Every currency used here, ascending."""
        return tuple(sorted({one.currency for one in self.friendships}))

    def reach(self, name: str, currency: Currency) -> set[str]:
        """Everybody connected to this person in a currency, in whichever direction."""
        found, todo = {name}, [name]
        while todo:
            here = todo.pop()
            for other in self._neighbours(here, currency):
                if other not in found:
                    found.add(other)
                    todo.append(other)
        return found

    def _neighbours(self, name: str, currency: Currency) -> Iterator[str]:
        for one in self.friendships:
            if one.currency == currency and name in (one.one, one.other):
                yield one.other if one.one == name else one.one

    async def wait_until_ready(self, timeout_s: float = 30) -> None:
        """Wait until every friendship is agreed, online, and known to the index server.

        Raises:
            VillageError: it took longer than `timeout_s`.
        """
        if not await _until(lambda: not self._missing(), timeout_s):
            raise VillageError(f"the village did not come to life: {self._missing()}")

    def _missing(self) -> str:
        for one in self.friendships:
            for name, other in ((one.one, one.other), (one.other, one.one)):
                what = self._unready(name, other, one.currency)
                if what:
                    return f"{name} and {other}, {one.currency}: {what}"
        return ""

    def _unready(self, name: str, other: str, currency: Currency) -> str:
        engine = self.people[name].engine
        if engine is None or self.people[other].engine is None:
            return ""
        friend = engine.state.friends[self.people[other].key]
        if not friend.is_ready(currency):
            return "not online"
        key, other_key = self.people[name].key, self.people[other].key
        if self.index is None or not self.index.graph.reports(key, other_key, currency):
            return "not known to the index server"
        return ""

    async def wait_until_unreachable(self, name: str, timeout_s: float = 30) -> None:
        """Wait until the index server knows that nobody reaches a person any more.

        Raises:
            VillageError: it took longer than `timeout_s`.
        """
        key, index = self.people[name].key, self.index
        if index is not None and not await _until(
            lambda: not any(index.graph.is_reachable(key, one) for one in self.currencies()),
            timeout_s,
        ):
            raise VillageError(f"{name} is still reachable")

    async def wait_until_reported(self, timeout_s: float = 30) -> None:
        """Wait until the index server knows what everybody could receive now.

        Raises:
            VillageError: it took longer than `timeout_s`.
        """
        if not await _until(self._is_reported, timeout_s):
            raise VillageError("the index server does not know everything yet")

    def _is_reported(self) -> bool:
        engines = (person.engine for person in self.people.values())
        return all(engine.index.is_current for engine in engines if engine is not None)

    async def settle(self, timeout_s: float = 30) -> int:
        """Wait until nothing is frozen anywhere; returns what still is, in credits."""
        await _until(lambda: not self.frozen(), timeout_s)
        return self.frozen()

    def frozen(self) -> int:
        """Credits pending at any card that is switched on, counted on both sides."""
        return sum(
            ledger.local_pending_debt + ledger.remote_pending_debt
            for _, _, _, ledger in self._ledgers()
        )

    def _ledgers(self) -> Iterator[tuple[str, PublicKey, Currency, Ledger]]:
        running = [one for one in self.people.values() if one.engine is not None]
        for person in running:
            for key, friend in person.running.state.friends.items():
                channel = friend.consistent
                for currency, ledger in channel.ledgers.items() if channel is not None else ():
                    yield person.name, key, currency, ledger

    def balances(self) -> dict[Currency, dict[str, int]]:
        """What each person is owed (positive) or owes, per currency, in credits."""
        found: dict[Currency, dict[str, int]] = {
            currency: dict.fromkeys(self.people, 0) for currency in self.currencies()
        }
        for name, _, currency, ledger in self._ledgers():
            found[currency][name] += ledger.balance
        return found

    def is_mirrored(self) -> bool:
        """Whether both sides of every friendship hold the same numbers; all cards must be on."""
        by_key = {person.key: person.name for person in self.people.values()}
        held = {
            (name, by_key[key], currency): ledger.info
            for name, key, currency, ledger in self._ledgers()
        }
        return all(
            held.get((other, name, currency)) == info.flipped
            for (name, other, currency), info in held.items()
        )


async def _until(fact: Callable[[], bool], timeout_s: float) -> bool:
    with anyio.move_on_after(timeout_s):
        while not fact():  # noqa: ASYNC110 - many engines, and nothing announces the fact
            await anyio.sleep(0.01)
        return True
    return fact()


@asynccontextmanager
async def open_village(  # noqa: PLR0913 - each says something else of the village
    seed: int = 0,
    *,
    friendships: tuple[Friendship, ...] = CAST,
    directory: Path | None = None,
    timers: Timers = VILLAGE_TIMERS,
    relay_count: int = 2,
    relays_each: int = 1,
    on_disk: bool = True,
) -> AsyncIterator[Village]:
    """Bring a village to life; it is gone when the block ends.

    Args:
        seed: decides the identities.
        friendships: who trusts whom.
        directory: where to keep the databases; None = a temporary one.
        timers: the nodes' waiting times.
        relay_count: relays are given to people in turn.
        relays_each: how many of them everybody gets.
        on_disk: False keeps nothing on disk: for measurements without one.
    """
    with _room(directory) as place, ExitStack() as stores:
        async with anyio.create_task_group() as tasks:
            village = Village(tasks, friendships, timers)
            try:
                await _start_servers(village, seed, relay_count)
                _move_in(village, seed, place if on_disk else None, relays_each)
                for person in village.people.values():
                    stores.callback(person.store.close)
                for name in village.people:
                    await village.switch_on(name)
                await _befriend(village)
                await village.wait_until_ready()
                yield village
            finally:
                with anyio.CancelScope(shield=True):
                    for name in village.people:
                        await village.switch_off(name)
                tasks.cancel_scope.cancel()


@contextmanager
def _room(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="offset-village-") as name:
        yield Path(name)


def _identity(seed: int, name: str) -> PrivateKey:
    return PrivateKey(sha512_256(f"offset village {seed} {name}".encode()))


def _endpoint(identity: PrivateKey) -> Endpoint:
    return Endpoint(identity, NetLimits(), LinkLimits())


async def _start_servers(village: Village, seed: int, relay_count: int) -> None:
    for number in range(relay_count):
        identity = _identity(seed, f"relay {number}")
        endpoint = _endpoint(identity)
        (address,) = await village.tasks.start(_run_relay, village, endpoint)
        name = f"relay {number + 1}"
        village.relays.append(NamedAddress(public_key_of(identity), address, name))
    identity = _identity(seed, "index")
    endpoint = _endpoint(identity)
    village.index = IndexService(endpoint, _INDEX_LIMITS)
    (address,) = await village.tasks.start(
        run_services, endpoint, ("127.0.0.1:0",), [village.index]
    )
    village.index_server = NamedAddress(public_key_of(identity), address, "index server")


async def _run_relay(
    village: Village,
    endpoint: Endpoint,
    *,
    task_status: anyio.abc.TaskStatus[tuple[str, ...]] = anyio.TASK_STATUS_IGNORED,
) -> None:
    with anyio.CancelScope() as scope:
        village.relay_scopes.append(scope)
        relay = RelayService(endpoint, _RELAY_LIMITS)
        await run_services(endpoint, ("127.0.0.1:0",), [relay], task_status=task_status)


def _move_in(village: Village, seed: int, place: Path | None, relays_each: int) -> None:
    names = dict.fromkeys(name for one in village.friendships for name in (one.one, one.other))
    for number, name in enumerate(names):
        identity = _identity(seed, name)
        key = public_key_of(identity)
        store: Store
        if place is None:
            store = MemoryStore(key)
        else:
            path = place / f"{name.lower()}.db"
            store = SqliteStore.open(path, key) if path.exists() else SqliteStore.create(path, key)
        count = len(village.relays)
        relay, *spare = (village.relays[(number + at) % count] for at in range(relays_each))
        village.people[name] = Villager(name, identity, store, relay, tuple(spare))


async def _befriend(village: Village) -> None:
    """Give everybody a relay, the index server and their friends; what is there already stays."""
    for person in village.people.values():
        state = person.running.state
        for relay in (person.relay, *person.spare_relays):
            if relay not in state.relays:
                await person.client.add_relay(relay)
        if village.index_server is not None and village.index_server not in state.index_servers:
            await person.client.add_index_server(village.index_server)
    for one in village.friendships:
        await _trust(village, (one.one, one.other), one.currency, (one.one_grants, one.one_charges))
        await _trust(
            village, (one.other, one.one), one.currency, (one.other_grants, one.other_charges)
        )


async def _trust(
    village: Village, who: tuple[str, str], currency: Currency, terms: tuple[int, Rate]
) -> None:
    person, other = village.people[who[0]], village.people[who[1]]
    relays = tuple(one.relay for one in (other.relay, *other.spare_relays))
    friend = person.running.state.friends.get(other.key)
    if friend is None:
        await person.client.add_friend(other.key, relays, other.name)
    elif friend.remote_relays != relays:
        # The village was kept, and its relays listen at other ports today.
        await person.client.command(SetFriendRelays(other.key, relays))
    await person.client.set_limit(other.key, currency, terms[0], terms[1])
