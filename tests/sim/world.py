"""A whole network in virtual time: real cores, memory stores, faults drawn from a seed, people.

    set up (calm) ─▶ trouble: faults and people, safety after every step ─▶ heal ─▶ everything must settle
                                                                       ─▶ every friendship can pay again

A heap of (time, sequence, what) and seeded generators; no event loop, no threads, no real clock: one seed is
one run, always. A failure names the seed, prints the plan and the last steps, and is replayed with
`python -m tests.sim --seed S --trace`.
"""

import hashlib
import heapq
from collections import deque
from collections.abc import Callable, Iterator
from random import Random

from offset_engine.core.api import OpenFriendCurrency, SetFriendCurrencyMaxDebt
from offset_engine.core.crypto import public_key_of
from offset_engine.core.events import Event, Step
from offset_engine.core.friend import Friend, has_work, listen_relays
from offset_engine.core.payment import PaymentStage
from offset_engine.core.report import report
from offset_engine.core.state import NodeState
from offset_engine.core.token_channel import Incoming, is_evidence_valid
from offset_engine.core.values import (
    Currency,
    NamedAddress,
    PaymentId,
    PrivateKey,
    PublicKey,
    RelayAddress,
    Signature,
    Uid,
)
from offset_engine.store import touched_between
from tests.sim.faults import PACE_MS, Fault, Plan, draw
from tests.sim.history import History
from tests.sim.hostile import Foe
from tests.sim.index import Index
from tests.sim.invariants import (
    ViolationError,
    check_node,
    i01_agreement,
    i06_conservation,
    i09_nothing_frozen,
    i14_receipts,
    i15_token,
    i22_report,
    i27_persistence,
    insist,
)
from tests.sim.machine import Machine
from tests.sim.network import Network
from tests.sim.people import LIMIT, People, must_work
from tests.sim.trace import Happening, trace_lines

TRACE_KEPT = 50
LOOK_MS = 400
"""How often a person looks at a node."""
SETTLE_MS = 900_000
"""Virtual time everything has to settle after healing."""
STEPS_MIN = 200
CRASH_POINTS = ("before save", "after save", "half sent")


class SimulationError(AssertionError):
    """A seed broke an invariant; the message holds all that is needed to look at it."""


class World:
    """One network and everything that happens in it."""

    def __init__(
        self, plan: Plan, *, keeps_trace: bool = False, hashes_trace: bool = False
    ) -> None:
        self.plan = plan
        self.rng = Random(f"world {plan.seed}")
        self.now = 0
        self.is_healing = False
        self.is_calm = True
        """No faults now."""
        self.healed_ms = 0
        self.step_count = 0
        self.trouble_steps = 0
        self.command_count = 0
        self.signed: dict[tuple[PublicKey, Signature], bytes] = {}
        self.partition: dict[int, int] = {}
        self.relays_down: dict[RelayAddress, None] = {}
        self.first_relays: dict[int, tuple[RelayAddress, ...]] = {}
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._sequence = 0
        self.addressed: dict[tuple[int, int], None] = {}
        """Friends who told each other addresses by hand."""
        self._disputed: dict[tuple[int, int], None] = {}
        self._estranged: dict[tuple[int, int], None] = {}
        self._trace: deque[Happening] = deque(maxlen=None if keeps_trace else TRACE_KEPT)
        self._hash = hashlib.sha256() if hashes_trace else None
        self.history = History(self)
        self.network = Network(self)
        self.index = Index(self)
        self.people = People(self)
        self.machines = [Machine(self, index) for index in range(plan.node_count)]
        self._index_of = {machine.key: machine.index for machine in self.machines}
        self.relays = [
            NamedAddress(public_key_of(PrivateKey(bytes([n]) * 32)), f"relay{n}:1", f"r{n}")
            for n in (1, 2, 3)
        ]

    # --- time -----------------------------------------------------------------------------------

    def after(self, pause_ms: int, what: Callable[[], object]) -> None:
        """Let something happen later."""
        self._sequence += 1
        heapq.heappush(self._heap, (self.now + pause_ms, self._sequence, what))

    def run_until(self, at_ms: int) -> None:
        """Let everything happen up to a time."""
        while self._heap and self._heap[0][0] <= at_ms:
            self.now, _, what = heapq.heappop(self._heap)
            what()
        self.now = at_ms

    # --- chance ---------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def has(self, fault: Fault) -> bool:
        """Whether a fault may strike now."""
        return not self.is_calm and self.plan.has(fault)

    def latency(self) -> int:
        """One message's way, in ms."""
        return self.rng.randint(*self.plan.latency_ms)

    def crash_point(self, machine: Machine) -> str | None:
        """Where in this step the machine dies, if it does."""
        if self.has(Fault.CRASH_POINT) and self.chance(0.02):
            return self.rng.choice(CRASH_POINTS)
        return None

    # --- who is who -----------------------------------------------------------------------------

    def index_of(self, key: PublicKey) -> int:
        return self._index_of[key]

    def machine_of(self, key: PublicKey) -> Machine:
        return self.machines[self._index_of[key]]

    def pair(self, one: PublicKey, other: PublicKey) -> tuple[int, int]:
        """A friendship's name."""
        first, second = self._index_of[one], self._index_of[other]
        return (first, second) if first < second else (second, first)

    def dispute(self, one: PublicKey, other: PublicKey) -> None:
        """One of these two declares the channel inconsistent on purpose."""
        self._disputed[self.pair(one, other)] = None

    def estrange(self, one: PublicKey, other: PublicKey) -> None:
        """One of these two forgot the channel, or part of it, on purpose."""
        self._estranged[self.pair(one, other)] = None

    def is_clean(self, node: PublicKey, friend: PublicKey) -> bool:
        """Both are honest and nobody broke the channel on purpose."""
        return self._is_kept(node, friend) and self.pair(node, friend) not in self._disputed

    def _is_kept(self, node: PublicKey, friend: PublicKey) -> bool:
        """Both are honest and neither ever forgot anything about the channel."""
        if friend not in self._index_of:
            return False
        is_foul = self.machine_of(node).foe is not None or self.machine_of(friend).foe is not None
        return not is_foul and self.pair(node, friend) not in self._estranged

    # --- trace ----------------------------------------------------------------------------------

    def note(self, what: str, *details: object) -> None:
        """Remember what happened, to be shown if the seed fails."""
        self._trace.append((self.now, what, details))
        if self._hash is not None:
            self._hash.update(f"{self.now} {what} {details!r}\n".encode())

    @property
    def trace_hash(self) -> str:
        """Names the run: equal for equal seeds, whatever the interpreter's hash seed."""
        assert self._hash is not None
        return self._hash.hexdigest()

    def trace_lines(self) -> list[str]:
        """The kept trace, a line a step."""
        return trace_lines(self._trace, {repr(m.key): f"n{m.index}" for m in self.machines})

    # --- the phases -----------------------------------------------------------------------------

    def run(self) -> None:
        """The whole story.

        Raises:
            SimulationError: something did not hold.
        """
        try:
            self._set_up()
            self._make_trouble()
            self._heal()
            self._settle("after healing")
            if self.history.restored:
                # Two backups may disagree without knowing until somebody speaks: that is the first try.
                self._pay_again()
            unpaid = self._pay_again()
            insist(not unpaid, "liveness: friendships that cannot pay", unpaid)
            self._check_end()
        except Exception as error:
            lines = "\n".join(self.trace_lines()[-TRACE_KEPT:])
            where = f"seed {self.plan.seed} at {self.now} ms, step {self.step_count}"
            raise SimulationError(
                f"{where}: {type(error).__name__}: {error}\nplan: {self.plan}\n{lines}\n"
                f"{where}: {type(error).__name__}: {str(error)[:600]}"
            ) from error

    def _set_up(self) -> None:
        for machine in self.machines:
            machine.start()
            self.people.set_up(machine)
        self.run_until(50)
        for one, other in self.plan.friendships:
            self.people.befriend(self.machines[one], self.machines[other], must_work)
            self.people.befriend(self.machines[other], self.machines[one], must_work)
        self.run_until(8_000)
        if self.plan.hostile is not None:
            foe = self.machines[self.plan.hostile]
            foe.foe = Foe(foe, Random(f"foe {self.plan.seed}"))

    def _make_trouble(self) -> None:
        self.is_calm = False
        for machine in self.machines:
            machine.back_up()
            self._look_again(machine)
        for fault, pace_ms in PACE_MS.items():
            if self.plan.has(fault):
                self._strike_later(fault, pace_ms)
        if self.plan.hostile is not None:
            self._play_foul(self.machines[self.plan.hostile])
        before = self.step_count
        actions = 0
        while actions < self.plan.action_count or self.step_count - before < STEPS_MIN:
            insist(actions < 10_000, "nothing happens in this world")
            self.run_until(self.now + self.rng.randint(1, 2 * self.plan.action_pause_ms))
            self.people.act()
            actions += 1
        self.run_until(self.now + self.rng.randint(0, 5_000))
        self.trouble_steps = self.step_count - before

    def _look_again(self, machine: Machine) -> None:
        self.people.look(machine)
        self.after(self.rng.randint(1, 2 * LOOK_MS), lambda: self._look_again(machine))

    def _play_foul(self, machine: Machine) -> None:
        if self.is_healing:
            return
        if machine.is_up:
            machine.strike()
        self.after(
            self.rng.randint(1, 4 * self.plan.action_pause_ms), lambda: self._play_foul(machine)
        )

    def _heal(self) -> None:
        self.is_healing = True
        self.is_calm = True
        self.healed_ms = self.now
        self.partition = {}
        self.relays_down = {}
        self.index.is_down = False
        self.note("heal")
        if self.plan.hostile is not None:
            foe = self.machines[self.plan.hostile]
            foe.crash("expelled")
            foe.boot += 1  # never comes back
        self.run_until(self.now + 6_000)

    def _settle(self, when: str) -> None:
        end_ms = self.now + SETTLE_MS
        while (reason := next(self._unsettled(), None)) is not None:
            insist(self.now < end_ms, f"liveness: never comes to rest {when}:", reason)
            self.run_until(self.now + 500)

    def _honest(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.foe is None]

    def _unsettled(self) -> Iterator[str]:
        """Why this world is not at rest."""
        if self.network.in_flight:
            yield "messages travel"
        for machine in self._honest():
            name = f"n{machine.index}"
            if not machine.is_idle or any(end.writer_is_busy for end in machine.links.values()):
                yield f"{name} is busy"
            if machine.state.invoices:
                yield f"{name} has open invoices"
            yield from self._unsettled_friends(machine)
            for payment in machine.state.payments.values():
                if payment.stage is not PaymentStage.NEW:
                    yield f"{name} has an open payment {payment}"
            try:
                i09_nothing_frozen(machine.state)
            except ViolationError as why:
                yield f"{name}: {why}"

    def _unsettled_friends(self, machine: Machine) -> Iterator[str]:
        for key, friend in machine.state.friends.items():
            other = self.machine_of(key)
            names = f"n{machine.index} and n{other.index}"
            if not machine.wants(key) or not self.network.is_connected(machine, other):
                yield f"{names} are not connected"
            if has_work(friend, machine.state.own_relays):
                yield f"{names} have something to tell each other"

    # --- trouble --------------------------------------------------------------------------------

    def _strike_later(self, fault: Fault, pace_ms: int) -> None:
        pause = self.rng.randint(1, 2 * pace_ms)
        self.after(pause, lambda: self._strike(fault, pace_ms))

    def _strike(self, fault: Fault, pace_ms: int) -> None:
        if self.is_healing:
            return
        self.note("strike", fault.value)
        match fault:
            case Fault.CUT | Fault.REPLACE:
                self._strike_link(fault)
            case Fault.PARTITION:
                sides = {m.index: self.rng.randint(0, 1) for m in self.machines}
                self.partition = {} if self.partition else sides
                self._cut_partition()
            case Fault.RELAY_DOWN:
                self.relays_down = (
                    {} if self.relays_down else {self.rng.choice(self.relays).relay: None}
                )
            case Fault.INDEX_DOWN:
                self.index.is_down = not self.index.is_down
            case Fault.CRASH:
                self.rng.choice(self.machines).crash("any time")
            case _:
                machine = self.rng.choice(self.machines)
                machine.restore()
                machine.back_up()
        self._strike_later(fault, pace_ms)

    def _strike_link(self, fault: Fault) -> None:
        ends = [end for machine in self.machines for end in machine.links.values()]
        if not ends:
            return
        end = self.rng.choice(ends)
        if fault is Fault.CUT:
            self.network.cut(end)
            return
        other = self.machine_of(end.remote)
        if self.network.can_connect(end.machine, other):
            self.network.connect(end.machine, other)

    def _cut_partition(self) -> None:
        for machine in self.machines:
            for end in tuple(machine.links.values()):
                other = self.index_of(end.remote)
                if self.partition.get(machine.index) != self.partition.get(other):
                    self.network.cut(end)

    # --- checks ---------------------------------------------------------------------------------

    def after_save(
        self, machine: Machine, old: NodeState, events: tuple[Event, ...], result: Step
    ) -> None:
        """Safety of everything this step may have changed."""
        self.step_count += 1
        check_node(result.state, result.touched.friends)
        self.history.observe(old, events, result)
        i14_receipts(result.state, result.touched, machine.env.verify)
        for key in result.touched.friends:
            self._check_pair(machine, key)
            self._check_evidence(machine, old.friends.get(key), result.state.friends.get(key))
        if self.step_count % 50 == 0:
            self.check_loaded(machine, machine.store.load())

    def _check_pair(self, machine: Machine, key: PublicKey) -> None:
        other = self.machine_of(key)
        mine, theirs = machine.state.friends.get(key), other.state.friends.get(machine.key)
        if machine.foe is not None or other.foe is not None or mine is None or theirs is None:
            return
        is_kept = self._is_kept(machine.key, key)
        if is_kept and self.pair(machine.key, key) not in self.addressed:
            _check_listens(machine, other)
            _check_listens(other, machine)
        one, two = mine.consistent, theirs.consistent
        if one is None or two is None:
            return
        i01_agreement(one, two)
        if is_kept:
            i15_token(one, two)

    def _check_evidence(
        self, machine: Machine, before: Friend | None, after: Friend | None
    ) -> None:
        """What a node keeps as a friend's last word proves the balances to anybody."""
        evidence = after.channel.last_incoming if after is not None else None
        known = before.channel.last_incoming if before is not None else None
        if evidence is None or evidence == known or evidence.token_info.balances == ():
            return
        insist(is_evidence_valid(evidence, machine.env.verify), "evidence proves nothing", evidence)

    def check_loaded(self, machine: Machine, loaded: NodeState) -> None:
        """I22, I27: what is in the store is what the machine believes."""
        i27_persistence(machine.state, loaded)
        i22_report(machine.state, loaded, report)

    # --- the end --------------------------------------------------------------------------------

    def _pay_again(self) -> list[tuple[int, int]]:
        """Pay over every friendship in both directions; returns where that failed."""
        pairs = [
            (machine, self.machine_of(key))
            for machine in self._honest()
            for key in machine.state.friends
        ]
        chosen = {
            (one.index, other.index): self._agree_on_currency(one, other) for one, other in pairs
        }
        self._settle("before paying again")
        self.healed_ms = self.now  # sellers are patient again
        payments: list[tuple[Machine, Machine, PaymentId]] = []
        invoices = [
            self.people.sell(seller, chosen[buyer.index, seller.index]) for buyer, seller in pairs
        ]
        self.run_until(self.now + 50)
        for (buyer, seller), invoice in zip(pairs, invoices, strict=True):
            part = ((buyer.key, seller.key), 1, Uid(self.rng.randbytes(16)))
            payment_id = self.people.pay_primitively(buyer, invoice, (part,))
            payments.append((buyer, seller, payment_id))
        self.run_until(self.now + 3_000)
        self._settle("after paying again")
        return [
            (buyer.index, seller.index)
            for buyer, seller, payment_id in payments
            if self.history.paid.get((buyer.key, payment_id)) != 1
        ]

    def _agree_on_currency(self, one: Machine, other: Machine) -> Currency:
        """Give room for one credit from one to the other, in a currency both shall use."""
        currency = self.plan.currencies[0]
        for machine, remote in ((one, other), (other, one)):
            friend = machine.state.friends[remote.key]
            channel = friend.consistent
            ledger = channel.ledgers.get(currency) if channel is not None else None
            config = friend.configs.get(currency)
            limit = max(LIMIT, (ledger.balance if ledger is not None else 0) + LIMIT)
            if config is not None:
                limit = max(limit, config.max_debt)
            machine.command(SetFriendCurrencyMaxDebt(remote.key, currency, limit))
            machine.command(OpenFriendCurrency(remote.key, currency))
        return currency

    def _check_end(self) -> None:
        honest = self._honest()
        for machine in honest:
            blank = NodeState(machine.key)
            i09_nothing_frozen(machine.state)
            i14_receipts(machine.state, touched_between(blank, machine.state), machine.env.verify)
            self.history.i24_paid_once(machine.state)
            self.check_loaded(machine, machine.store.load())
            check_node(machine.state, machine.state.friends)
            for key in machine.state.friends:
                self._check_pair(machine, key)
                self._check_token(machine, self.machine_of(key))
        i06_conservation(machine.state for machine in honest)
        if not self._disputed and not self._estranged and self.plan.hostile is None:
            self.history.i06_paid_exactly(machine.state for machine in honest)

    def _check_token(self, one: Machine, other: Machine) -> None:
        """At rest exactly one side owns the token, and both hold the same numbers."""
        channels = (
            one.state.friends[other.key].consistent,
            other.state.friends[one.key].consistent,
        )
        owners = sum(c is not None and isinstance(c.direction, Incoming) for c in channels)
        insist(owners == 1, "I15 owners at rest", owners, one.index, other.index)


def _check_listens(listener: Machine, looker: Machine) -> None:
    """A node listens wherever a friend may look for it."""
    friend = listener.state.friends[looker.key]
    if friend.relays_sent is not None:
        heard = listen_relays(friend, listener.state.own_relays)
        known = looker.state.friends[listener.key].remote_relays
        lost = [relay for relay in known if relay not in heard]
        insist(not lost, "relays: nobody listens where a friend looks", lost, friend.relays_sent)


def simulate(seed: int, *, keeps_trace: bool = False, hashes_trace: bool = False) -> World:
    """Run one seed to its end and return the world.

    Raises:
        SimulationError: something did not hold.
    """
    world = World(draw(seed), keeps_trace=keeps_trace, hashes_trace=hashes_trace)
    world.run()
    return world
