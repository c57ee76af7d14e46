"""Bare cores in a row, joined by lists: what the code of a node costs without sockets and disk.

    inbox ──up to 64 events──▶ step ──effects──▶ the friend's inbox, or whoever drives the payments

Each core takes everything that waits for it in one step, as the engine does. Messages are handed over
as values: neither encoded nor decoded. Random bytes come from a seed, clocks stand still, so two runs
do exactly the same.

Two kinds of buyer: `Program` uses the primitives with a route it knows, as the original's programs do,
closing and acknowledging each payment; `Person` says `Pay` and lets the node ask for routes.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from offset_engine.bench.figures import BenchError
from offset_engine.core.api import (
    AckClosePayment,
    AddFriend,
    AddIndexServer,
    AddInvoice,
    AddRelay,
    Batch,
    Command,
    CommitInvoice,
    CreatePayment,
    CreateTransaction,
    EnableFriend,
    ForgetPay,
    OpenFriendCurrency,
    Pay,
    PayChanged,
    PaymentStatus,
    RequestClosePayment,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    TransactionOutcome,
    TransactionResult,
)
from offset_engine.core.crypto import expand_seed, public_key_of, sha512_256, sign, verify
from offset_engine.core.events import (
    AskRoutes,
    CommandDone,
    CommandGiven,
    Effect,
    Event,
    FriendDirty,
    LinkAdopted,
    MessageArrived,
    Notify,
    RoutesArrived,
    Started,
    Step,
)
from offset_engine.core.messages import Part, RouteChoice, RoutesResponse
from offset_engine.core.node import SentOnLink, outgoing, step
from offset_engine.core.payer import PayStage
from offset_engine.core.payment import PaymentStage
from offset_engine.core.signing import Invoice
from offset_engine.core.state import NodeState
from offset_engine.core.values import (
    Currency,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PrivateKey,
    PublicKey,
    Rate,
    Signature,
    Timers,
    Uid,
    value,
)
from offset_engine.net.inbox import BATCH_EVENTS_MAX

COIN: Final = Currency("OUSD")
AMOUNT: Final = 1_00
FEE: Final = 1
"""What each mediator takes, in credits."""
LIMIT: Final = 10**15
"""Credit limit that no measurement reaches."""
_CHARGE: Final = Rate(mul=0, add=FEE)
_WALL_MS: Final = 1_700_000_000_000
_LINK: Final = 1
_RELAY: Final = NamedAddress(
    public_key_of(PrivateKey(sha512_256(b"offset bench relay"))), "relay.example.org:4567", "relay"
)
"""Never dialled; friends are told and remember it, which takes bytes as in real life."""
_TURNS_MAX: Final = 1_000_000
"""Steps until quiet; cores that never stop talking are a bug, not a measurement."""

OnStep = Callable[[NodeState, Step], None]


class SeededEnv:
    """The world of a core that must do the same in every run: clocks stand still."""

    def __init__(self, identity: PrivateKey, seed: int) -> None:
        """Take the secret identity and the seed of everything random."""
        self._expanded = expand_seed(identity)
        self._random = random.Random(seed)  # noqa: S311 - no secrets in a measurement
        self.timers = Timers()
        self.now_ms = 0
        self.wall_ms = _WALL_MS

    def random(self, size: int) -> bytes:
        """`size` bytes of the seed's stream."""
        return self._random.randbytes(size)

    def sign(self, message: bytes) -> Signature:
        """Sign with the identity."""
        return sign(self._expanded, message)

    def verify(self, public_key: PublicKey, message: bytes, signature: Signature) -> bool:
        """Check anybody's signature."""
        return verify(public_key, message, signature)


class Core:
    """One node without a body."""

    def __init__(self, number: int, seed: int = 0) -> None:
        """Make a node with an empty state; `number` and `seed` decide its identity."""
        identity = PrivateKey(sha512_256(f"offset bench {seed} {number}".encode()))
        self.env = SeededEnv(identity, seed * 1_000_003 + number)
        self.state = NodeState(public_key_of(identity))
        self.inbox: deque[Event] = deque([Started(), CommandGiven(0, AddRelay(_RELAY))])
        self.sent: dict[PublicKey, SentOnLink] = {}
        self.steps = 0
        self.commands = 0
        self.on_effect: Callable[[Effect], None] | None = None
        """Told commands' results, notices and route questions."""
        self.on_step: OnStep | None = None
        """Told each step and the state before it."""

    @property
    def key(self) -> PublicKey:
        """The node's public key."""
        return self.state.local_public_key

    def do(self, *commands: Command) -> None:
        """Put commands, as one batch, into the inbox."""
        self.commands += 1
        what = commands[0] if len(commands) == 1 else Batch(commands)
        self.inbox.append(CommandGiven(self.commands, what))

    def take(self) -> Step:
        """Let everything that waits happen, up to a batch."""
        events: list[Event] = []
        while self.inbox and len(events) < BATCH_EVENTS_MAX:
            events.append(self.inbox.popleft())
        old = self.state
        result = step(old, tuple(events), self.env)
        self.state = result.state
        self.steps += 1
        if self.on_step is not None:
            self.on_step(old, result)
        return result


class Cores:
    """Cores joined by perfect links."""

    def __init__(self, cores: tuple[Core, ...]) -> None:
        """Join nobody yet; see `befriend`."""
        self.all = cores
        self._by_key = {core.key: core for core in cores}

    def run(self) -> None:
        """Let every core in turn take what waits, until all is quiet.

        Raises:
            BenchError: it never is.
        """
        for _ in range(_TURNS_MAX):
            busy = [core for core in self.all if core.inbox]
            if not busy:
                return
            for core in busy:
                self._turn(core)
        raise BenchError("the cores never stop talking")

    def _turn(self, core: Core) -> None:
        for effect in core.take().effects:
            if isinstance(effect, FriendDirty):
                self._send(core, effect.friend)
            elif isinstance(effect, CommandDone) and effect.fault is not None:
                raise BenchError(f"a core refused a command: {effect.fault.value}")
            elif core.on_effect is not None:
                core.on_effect(effect)

    def _send(self, core: Core, friend: PublicKey) -> None:
        sent = core.sent.get(friend, SentOnLink())
        messages, core.sent[friend] = outgoing(core.state, friend, sent)
        inbox = self._by_key[friend].inbox
        for message in messages:
            inbox.append(MessageArrived(core.key, _LINK, message))

    @property
    def steps(self) -> int:
        """Steps of all cores so far."""
        return sum(core.steps for core in self.all)

    @property
    def tokens(self) -> int:
        """Move tokens exchanged so far; both ends of a friendship count them, so half of all."""
        return sum(tokens_of(core.state) for core in self.all) // 2


def tokens_of(state: NodeState) -> int:
    """Move tokens exchanged over all channels of a node, in both directions."""
    channels = (friend.consistent for friend in state.friends.values())
    return sum(channel.move_token_counter for channel in channels if channel is not None)


def befriend(one: Core, other: Core) -> None:
    """Let two cores trust each other; takes effect at the next `run`."""
    for here, there in ((one, other), (other, one)):
        here.do(
            AddFriend(there.key, (), "friend"),
            EnableFriend(there.key),
            SetFriendCurrencyMaxDebt(there.key, COIN, LIMIT),
            SetFriendCurrencyRate(there.key, COIN, _CHARGE),
            OpenFriendCurrency(there.key, COIN),
        )
        here.inbox.append(LinkAdopted(there.key, _LINK))


def open_chain(length: int = 4, seed: int = 0) -> Cores:
    """Cores in a row, each a friend of the next, ready to pay."""
    cores = Cores(tuple(Core(number, seed) for number in range(length)))
    for before, after in pairwise(cores.all):
        befriend(before, after)
    cores.run()
    return cores


# --- paying -------------------------------------------------------------------------------------


class Program:
    """Pays over a known route with the primitives; the commit goes to the seller by hand."""

    def __init__(self, cores: Cores, first_number: int = 0) -> None:
        """Buy as the first core from the last one; invoices are numbered from `first_number`."""
        self.cores = cores
        self.buyer, self.seller = cores.all[0], cores.all[-1]
        self.route = tuple(core.key for core in cores.all)
        self.fees = FEE * (len(self.route) - 2)
        self.started = self.finished = first_number
        self.buyer.on_effect = self._effect

    def start(self) -> None:
        """Open an invoice and pay it."""
        self.started += 1
        payment_id = PaymentId(self.started.to_bytes(PaymentId.SIZE, "big"))
        request_id = Uid(self.started.to_bytes(Uid.SIZE, "big"))
        invoice = open_invoice(self.seller, self.started)
        self.buyer.do(
            CreatePayment(payment_id, invoice.invoice_id, COIN, AMOUNT, self.seller.key),
            CreateTransaction(payment_id, request_id, self.route, AMOUNT, self.fees),
            RequestClosePayment(payment_id),
        )

    def _effect(self, effect: Effect) -> None:
        if not isinstance(effect, Notify):
            return
        notice = effect.notice
        if isinstance(notice, TransactionResult):
            if notice.commit is None or notice.outcome is not TransactionOutcome.COMPLETE:
                raise BenchError("a payment between bare cores failed")
            self.seller.do(CommitInvoice(notice.commit))
        elif isinstance(notice, PaymentStatus) and notice.ack_uid is not None:
            if notice.stage != PaymentStage.SUCCESS.value:
                raise BenchError("a payment between bare cores was cancelled")
            self.buyer.do(AckClosePayment(notice.payment_id, notice.ack_uid))
            self.finished += 1


class Person:
    """Pays with `Pay`; the route question is answered at once, as by a perfect index server."""

    def __init__(self, cores: Cores) -> None:
        """Buy as the first core from the last one; the buyer gets an index server."""
        self.cores = cores
        self.buyer, self.seller = cores.all[0], cores.all[-1]
        keys = tuple(core.key for core in cores.all)
        fees = FEE * (len(keys) - 2)
        self._choice = RouteChoice(0, (Part(keys, AMOUNT, fees, LIMIT),))
        self.started = self.finished = 0
        self.buyer.on_effect = self._effect
        self.buyer.do(AddIndexServer(NamedAddress(self.buyer.key, "127.0.0.1:1", "index")))
        cores.run()

    def start(self) -> None:
        """Open an invoice and pay it."""
        self.started += 1
        payment_id = PaymentId(self.started.to_bytes(PaymentId.SIZE, "big"))
        self.buyer.do(Pay(payment_id, open_invoice(self.seller, self.started), AMOUNT))

    def _effect(self, effect: Effect) -> None:
        if isinstance(effect, AskRoutes):
            request_id = effect.request.request_id
            answer = RoutesResponse(request_id, 0, 0, 0, (self._choice,))
            self.buyer.inbox.append(RoutesArrived(answer))
        elif isinstance(effect, Notify) and isinstance(effect.notice, PayChanged):
            self._look(effect.notice.payment_id)

    def _look(self, payment_id: PaymentId) -> None:
        intent = self.buyer.state.intents[payment_id]
        if intent.stage is PayStage.COMMITTED and intent.commit is not None:
            self.seller.do(CommitInvoice(intent.commit))
        elif intent.stage is PayStage.PAID:
            self.buyer.do(ForgetPay(payment_id))
            self.finished += 1
        elif intent.stage is PayStage.FAILED:
            raise BenchError("a payment between bare cores failed")


def open_invoice(seller: Core, number: int) -> Invoice:
    """Have the seller open an invoice of `AMOUNT`."""
    invoice = Invoice(InvoiceId(number.to_bytes(32, "big")), COIN, seller.key, AMOUNT)
    seller.do(AddInvoice(invoice))
    return invoice


@value
class CoreRun:
    """What some payments through bare cores took."""

    payments: int
    elapsed_us: float
    steps: int
    tokens: int

    @property
    def us_per_payment(self) -> float:
        """Microseconds a payment, all cores together."""
        return self.elapsed_us / self.payments


def pay_in_waves(payer: Program | Person, payments: int, in_flight: int) -> CoreRun:
    """Start `in_flight` payments at once, finish them all, and again until there are `payments`.

    Raises:
        BenchError: one of them did not end well.
    """
    cores = payer.cores
    # Nothing here waits for anything, so the time of this thread is the time it takes, however busy
    # the machine is otherwise.
    steps, tokens, started = cores.steps, cores.tokens, time.thread_time_ns()
    left = payments
    while left > 0:
        wave = min(left, in_flight)
        left -= wave
        for _ in range(wave):
            payer.start()
        cores.run()
        if payer.finished != payer.started:
            raise BenchError("a payment between bare cores did not end")
    elapsed_us = (time.thread_time_ns() - started) / 1000
    return CoreRun(payments, elapsed_us, cores.steps - steps, cores.tokens - tokens)
