"""What the people of a simulated network do: pay, sell, change their minds, and tidy up at the end.

Everybody looks at his node now and then, as a person with a screen does, and acts on what he sees. Commits
travel from buyer to seller here, outside the network. Nothing is assumed about a command that was given: the
node may have died meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from offset_engine.core.api import (
    AckClosePayment,
    AddFriend,
    AddIndexServer,
    AddInvoice,
    AddRelay,
    Batch,
    CancelInvoice,
    CancelPay,
    CloseFriendCurrency,
    CollectInvoice,
    Command,
    CommandFault,
    CommitInvoice,
    ConfirmFee,
    CreatePayment,
    CreateTransaction,
    DisableFriend,
    DisputeFriend,
    EnableFriend,
    ForgetPay,
    OpenFriendCurrency,
    Pay,
    Rebalance,
    RegisterCommit,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveRelay,
    RequestClosePayment,
    ResetFriendChannel,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
)
from offset_engine.core.events import CommandDone
from offset_engine.core.friend import Friend
from offset_engine.core.payer import PayStage
from offset_engine.core.payment import Payment, PaymentStage
from offset_engine.core.signing import Commit, Invoice, terms_hash
from offset_engine.core.token_channel import Inconsistent
from offset_engine.core.values import (
    CREDITS_MAX,
    Currency,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PublicKey,
    Rate,
    RelayAddress,
    Uid,
)
from tests.sim.faults import Fault
from tests.sim.invariants import insist
from tests.sim.machine import WALL_START_MS, Answer, Machine

if TYPE_CHECKING:
    from tests.sim.world import World

EXTRA = Currency("beans")
"""A currency only some pairs come to use."""
LIMIT = 400
"""Credit limit everybody starts with."""
MERCY_MS = 8_000
"""After healing began, how long sellers wait before they cancel what nobody settled."""


@dataclass(slots=True)
class Handover:
    """A commit on its way to the seller, and what the seller will do with it."""

    seller: Machine
    commit: Commit
    at_ms: int
    decision: str


class People:
    """Everybody's behaviour in one world."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = world.rng
        self.invoice_ids: list[InvoiceId] = []
        self._sellers: dict[InvoiceId, Machine] = {}
        self._handovers: dict[InvoiceId, Handover] = {}
        self._primitives: dict[PaymentId, Machine] = {}
        self.settled: dict[PaymentId, PaymentStage] = {}
        """How primitive payments ended."""
        self.pay_count = 0
        self._request_ids: list[Uid] = []
        """Some that were used last."""
        self._actions: tuple[tuple[int, Fault | None, Callable[[], None]], ...] = (
            (10, None, self._pay),
            (2, None, self._rebalance),
            (3, Fault.PRIMITIVES, self._pay_by_hand),
            (1, None, self._rename),
            (1, None, self._ask_too_much),
            (3, Fault.LIMITS, self._change_limit),
            (3, Fault.RATES, self._change_rate),
            (2, Fault.CLOSE, self._open_or_close),
            (2, Fault.DISABLE, self._enable_or_disable),
            (2, Fault.CURRENCIES, self._change_currencies),
            (2, Fault.RELAYS, self._change_relays),
            (1, Fault.UNFRIEND, self._unfriend),
            (1, Fault.DISPUTE, self._dispute),
            (1, None, self._cancel_something),
        )

    # --- the beginning --------------------------------------------------------------------------

    def set_up(self, machine: Machine) -> None:
        """Relays, friends and limits of one node, as one batch."""
        world = self._world
        relays = self._rng.sample(world.relays, self._rng.randint(1, 2))
        world.first_relays[machine.index] = tuple(relay.relay for relay in relays)
        commands: list[Command] = [AddRelay(relay) for relay in relays]
        commands.append(AddIndexServer(NamedAddress(machine.key, "index:1")))
        machine.command(Batch(tuple(commands)), must_work)

    def befriend(self, machine: Machine, other: Machine, answer: Answer | None = None) -> None:
        """Exchange cards."""
        relays = other.state.own_relays or self._world.first_relays[other.index]
        commands: list[Command] = [
            AddFriend(other.key, relays, f"node {other.index}"),
            EnableFriend(other.key),
        ]
        for currency in self._world.plan.currencies:
            commands.append(SetFriendCurrencyMaxDebt(other.key, currency, LIMIT))
            commands.append(OpenFriendCurrency(other.key, currency))
            if self._rng.random() < 0.3:
                rate = Rate(self._rng.randint(0, 2**27), self._rng.randint(0, 3))
                commands.append(SetFriendCurrencyRate(other.key, currency, rate))
        machine.command(Batch(tuple(commands)), answer)

    # --- trouble phase --------------------------------------------------------------------------

    def act(self) -> None:
        """Somebody does something."""
        possible = [a for a in self._actions if a[1] is None or self._world.plan.has(a[1])]
        weights = [weight for weight, _, _ in possible]
        _, _, action = self._rng.choices(possible, weights)[0]
        self._world.note("act", action.__name__)
        action()

    def _someone(self) -> Machine:
        return self._rng.choice(self._world.machines)

    def _friendship(self) -> tuple[Machine, Friend] | None:
        machine = self._someone()
        friends = list(machine.state.friends.values())
        return (machine, self._rng.choice(friends)) if friends else None

    def _currency(self) -> Currency:
        return self._rng.choice(self._world.plan.currencies)

    def _amount(self) -> int:
        small, large = self._rng.randint(1, 60), self._rng.randint(50, 2 * LIMIT)
        return self._rng.choice((1, 2, small, small, small, large))

    def _new_invoice(self, seller: Machine, currency: Currency, amount: int) -> Invoice:
        wall_ms = WALL_START_MS + self._world.now + self._world.plan.skew_ms[seller.index]
        expires_s = 0 if self._rng.random() < 0.9 else wall_ms // 1000 + self._rng.randint(0, 20)
        invoice = Invoice(
            InvoiceId(self._rng.randbytes(32)), currency, seller.key, amount, expires=expires_s
        )
        self.invoice_ids.append(invoice.invoice_id)
        self._sellers[invoice.invoice_id] = seller
        if self._rng.random() < 0.95:
            expires = None
            if self._rng.random() < 0.2:
                expires = wall_ms + self._rng.randint(-500, 6_000)
            seller.command(AddInvoice(invoice, expires))
        return invoice

    def sell(self, seller: Machine, currency: Currency) -> Invoice:
        """An invoice over one credit, for sure."""
        invoice = Invoice(InvoiceId(self._rng.randbytes(32)), currency, seller.key, 1)
        self._sellers[invoice.invoice_id] = seller
        seller.command(AddInvoice(invoice))
        return invoice

    def _pay(self) -> None:
        buyer, seller = self._rng.sample(self._world.machines, 2)
        invoice = self._new_invoice(seller, self._currency(), self._amount())
        max_fee = self._rng.choice((0, 5, 50, 10**6, 10**6))
        confirm_above = self._rng.choice((None, None, 0, 3))
        if self._rng.random() < 0.03:
            invoice = Invoice(
                invoice.invoice_id,
                self._currency(),
                seller.key,
                invoice.total_dest_payment + self._rng.randint(0, 1),
            )
        pay = Pay(PaymentId(self._rng.randbytes(16)), invoice, max_fee, confirm_above)
        self.pay_count += 1
        self._world.after(self._rng.randint(0, 400), lambda: buyer.command(pay))
        if self._world.has(Fault.DOUBLE) and self._rng.random() < 0.3:
            self._world.after(self._rng.randint(0, 3_000), lambda: buyer.command(pay))

    def _rebalance(self) -> None:
        """Move credit round, over whichever friends; sometimes there is no such cycle."""
        machine = self._someone()
        friends: list[PublicKey | None] = [None, *machine.state.friends]
        if len(friends) < 2:
            return
        first = self._rng.choice(friends[1:])
        last = self._rng.choice([key for key in friends if key != first])
        ends = (first, last) if self._rng.random() < 0.7 else (last, first)
        command = Rebalance(
            PaymentId(self._rng.randbytes(16)),
            self._currency(),
            self._rng.randint(1, 60),
            *ends,
            self._rng.choice((0, 5, 50, 10**6)),
            self._rng.choice((None, None, 0)),
        )
        machine.command(command)
        if self._world.has(Fault.DOUBLE) and self._rng.random() < 0.3:
            self._world.after(self._rng.randint(0, 3_000), lambda: machine.command(command))

    def _walk(self, start: Machine) -> tuple[PublicKey, ...]:
        """Along friendships wherever they lead, sometimes back to the start."""
        keys = [start.key]
        for _ in range(self._rng.randint(1, 5)):
            machine = self._world.machine_of(keys[-1])
            friends = list(machine.state.friends)
            if not friends or (len(keys) > 3 and keys[-1] == start.key):
                break
            fresh = [key for key in friends if key not in keys]
            keys.append(self._rng.choice(fresh if fresh and self._rng.random() < 0.8 else friends))
        return tuple(keys)

    def _another_way(self, route: tuple[PublicKey, ...]) -> tuple[PublicKey, ...]:
        """A route between the same ends, found by wandering about; the same one if there is no other."""
        for _ in range(8):
            other = self._walk(self._world.machine_of(route[0]))
            if route[-1] in other[1:] and other != route:
                return other[: other.index(route[-1], 1) + 1]
        return route

    def _pay_by_hand(self) -> None:
        """The primitives, over routes somebody drew: cycles, wrong sums, ids used twice."""
        buyer = self._someone()
        route = self._walk(buyer)
        seller = self._world.machine_of(route[-1])
        total = self._amount()
        invoice = self._new_invoice(seller, self._currency(), total)
        half = total // 2
        amounts = self._rng.choice(((total,), (half, total - half), (half, half), (total, total)))
        routes = [route, *(self._another_way(route) for _ in amounts[1:])]
        parts = tuple(
            (way, amount, self._request_id()) for way, amount in zip(routes, amounts, strict=True)
        )
        payment_id = self.pay_primitively(buyer, invoice, parts)
        if self._world.has(Fault.DOUBLE):
            pause = self._rng.randint(0, 900)
            self._world.after(pause, lambda: self._create(buyer, payment_id, parts))

    def _request_id(self) -> Uid:
        """A new id, or one that somebody else is using."""
        if self._request_ids and self._rng.random() < 0.1:
            return self._rng.choice(self._request_ids)
        self._request_ids = [*self._request_ids[-5:], Uid(self._rng.randbytes(16))]
        return self._request_ids[-1]

    def pay_primitively(
        self,
        buyer: Machine,
        invoice: Invoice,
        parts: tuple[tuple[tuple[PublicKey, ...], int, Uid], ...],
    ) -> PaymentId:
        """Open a payment and send parts by hand."""
        payment_id = PaymentId(self._rng.randbytes(16))
        self._primitives[payment_id] = buyer
        buyer.command(
            CreatePayment(
                payment_id,
                invoice.invoice_id,
                invoice.currency,
                invoice.total_dest_payment,
                invoice.dest_public_key,
            )
        )
        pause = 0 if self._world.is_healing else self._rng.randint(0, 200)
        self._world.after(pause, lambda: self._create(buyer, payment_id, parts))
        return payment_id

    def _create(
        self,
        buyer: Machine,
        payment_id: PaymentId,
        parts: tuple[tuple[tuple[PublicKey, ...], int, Uid], ...],
    ) -> None:
        fees = self._rng.choice((0, 0, 4)) if not self._world.is_healing else 0
        for route, amount, request_id in parts:
            buyer.command(CreateTransaction(payment_id, request_id, route, amount, fees))

    def _rename(self) -> None:
        found = self._friendship()
        if found is not None:
            machine, friend = found
            machine.command(SetFriendName(friend.public_key, f"x{self._rng.randint(0, 99)}"))

    def _ask_too_much(self) -> None:
        """A batch whose last command is refused: none of it may happen."""
        found = self._friendship()
        if found is not None:
            machine, friend = found
            key, currency = friend.public_key, self._currency()
            invoice = Invoice(InvoiceId(self._rng.randbytes(32)), currency, machine.key, 3)
            pay = Pay(PaymentId(self._rng.randbytes(16)), replace(invoice, dest_public_key=key), 9)
            commands = (
                AddInvoice(invoice),
                pay,
                SetFriendCurrencyMaxDebt(key, currency, 1),
                AddRelay(self._rng.choice(self._world.relays)),
                RemoveFriend(key, force=True),
                EnableFriend(key),
            )
            machine.command(Batch(commands))

    def _change_limit(self) -> None:
        found = self._friendship()
        if found is not None:
            machine, friend = found
            limit = self._rng.choice((0, 30, LIMIT, LIMIT, 3 * LIMIT))
            key, currency = friend.public_key, self._currency()
            machine.command(SetFriendCurrencyMaxDebt(key, currency, limit))

    def _change_rate(self) -> None:
        found = self._friendship()
        if found is not None:
            machine, friend = found
            rate = Rate(self._rng.choice((0, 2**24, 2**28, 2**32 - 1)), self._rng.choice((0, 1, 9)))
            machine.command(SetFriendCurrencyRate(friend.public_key, self._currency(), rate))

    def _open_or_close(self) -> None:
        found = self._friendship()
        if found is not None:
            machine, friend = found
            kind = self._rng.choice((OpenFriendCurrency, CloseFriendCurrency))
            machine.command(kind(friend.public_key, self._currency()))

    def _enable_or_disable(self) -> None:
        found = self._friendship()
        if found is None:
            return
        machine, friend = found
        machine.command(DisableFriend(friend.public_key))
        pause = self._rng.randint(0, 3_000)
        self._world.after(pause, lambda: machine.command(EnableFriend(friend.public_key)))

    def _change_currencies(self) -> None:
        found = self._friendship()
        if found is None:
            return
        machine, friend = found
        key = friend.public_key
        currency = self._rng.choice((*self._world.plan.currencies, EXTRA, EXTRA))
        if self._rng.random() < 0.5:
            machine.command(RemoveFriendCurrency(key, currency))
            return
        commands = (
            SetFriendCurrencyMaxDebt(key, currency, LIMIT),
            OpenFriendCurrency(key, currency),
        )
        machine.command(Batch(commands))

    def _change_relays(self) -> None:
        machine = self._someone()
        relay = self._rng.choice(self._world.relays)
        mine = [known for known in machine.state.relays if known.public_key != relay.public_key]
        if mine and self._rng.random() < 0.5:
            machine.command(RemoveRelay(relay.public_key))
        else:
            machine.command(AddRelay(relay))

    def _unfriend(self) -> None:
        found = self._friendship()
        if found is None:
            return
        machine, friend = found
        other = self._world.machine_of(friend.public_key)
        self._world.estrange(machine.key, other.key)
        machine.command(RemoveFriend(other.key, force=self._rng.random() < 0.8))
        if self._rng.random() < 0.5:
            pause = self._rng.choice((0, 500, 3_000))
            self._world.after(pause, lambda: self.befriend(machine, other))

    def _dispute(self) -> None:
        found = self._friendship()
        if found is not None:
            machine, friend = found
            self._world.dispute(machine.key, friend.public_key)
            machine.command(DisputeFriend(friend.public_key))

    def _cancel_something(self) -> None:
        if self.invoice_ids and self._rng.random() < 0.5:
            invoice_id = self._rng.choice(self.invoice_ids)
            self._sellers[invoice_id].command(CancelInvoice(invoice_id))
            return
        machine = self._someone()
        if machine.state.intents:
            machine.command(CancelPay(self._rng.choice(list(machine.state.intents))))

    # --- looking at the screen ------------------------------------------------------------------

    def look(self, machine: Machine) -> None:
        """A person looks at a node and does what is due."""
        if not machine.is_up:
            return
        self._look_at_intents(machine)
        self._look_at_primitives(machine)
        self._look_at_channels(machine)
        self._look_at_sales(machine)
        if self._world.is_healing:
            self._mend(machine)

    def _look_at_intents(self, machine: Machine) -> None:
        for intent_id, intent in machine.state.intents.items():
            if intent.commit is not None:
                self._hand_over(intent.commit)
            if intent.stage is PayStage.FEE_TO_CONFIRM:
                agrees = self._world.is_healing or self._rng.random() < 0.6
                machine.command(
                    ConfirmFee(intent_id, CREDITS_MAX) if agrees else CancelPay(intent_id)
                )
            is_over = intent.stage in {PayStage.PAID, PayStage.FAILED}
            # Repeating a wish that was forgotten is a new wish; those who repeat do not forget.
            is_tidy = not self._world.plan.has(Fault.DOUBLE) and self._rng.random() < 0.05
            if is_over and is_tidy:
                self._world.history.i24_paid_once(machine.state)
                machine.command(ForgetPay(intent_id))

    def _look_at_primitives(self, machine: Machine) -> None:
        for payment_id, buyer in tuple(self._primitives.items()):
            if buyer is not machine:
                continue
            payment = machine.state.payments.get(payment_id)
            if payment is not None:
                self._look_at_payment(machine, payment)

    def _look_at_payment(self, machine: Machine, payment: Payment) -> None:
        payment_id = payment.payment_id
        if payment.commit is not None and not payment.is_withheld:
            self._hand_over(payment.commit)
        if payment.stage is PaymentStage.NEW:
            if self._world.is_healing or self._rng.random() < 0.2:
                machine.command(RequestClosePayment(payment_id))
        elif payment.ack_uid is not None and payment.stage is not PaymentStage.AFTER_SUCCESS_ACK:
            self.settled[payment_id] = payment.stage
            machine.command(AckClosePayment(payment_id, payment.ack_uid))

    def _look_at_channels(self, machine: Machine) -> None:
        for key, friend in machine.state.friends.items():
            channel = friend.channel
            if not isinstance(channel, Inconsistent) or channel.remote_terms is None:
                continue
            if self._rng.random() < 0.4:
                self._accept(machine, key)
                if self._rng.random() < 0.3:
                    self._accept(self._world.machine_of(key), machine.key)

    def _accept(self, machine: Machine, key: PublicKey) -> None:
        """Accept a friend's terms as the screen shows them; both may do so at once."""
        friend = machine.state.friends.get(key)
        channel = friend.channel if friend is not None else None
        if isinstance(channel, Inconsistent) and channel.remote_terms is not None:
            shown = terms_hash(key, machine.key, channel.remote_terms)
            machine.command(ResetFriendChannel(key, shown))

    def _hand_over(self, commit: Commit) -> None:
        seller = self._sellers.get(commit.invoice_id)
        if commit.invoice_id in self._handovers or seller is None:
            return
        choices = ["commit"] * 15 + ["register"] * 2 + ["cancel"]
        choices += ["hold"] * 3 if self._world.plan.has(Fault.HOLD) else []
        at_ms = self._world.now + self._rng.randint(0, 3_000)
        decision = self._rng.choice(choices) if not self._world.is_healing else "commit"
        self._handovers[commit.invoice_id] = Handover(seller, commit, at_ms, decision)

    def _look_at_sales(self, machine: Machine) -> None:
        for invoice_id, handover in self._handovers.items():
            if handover.seller is not machine or self._world.now < handover.at_ms:
                continue
            if invoice_id in machine.state.invoices:
                self._settle(machine, handover)
            elif self._world.has(Fault.DOUBLE) and self._rng.random() < 0.1:
                machine.command(CommitInvoice(handover.commit))

    def _settle(self, machine: Machine, handover: Handover) -> None:
        commit = handover.commit
        if self._world.is_healing or handover.decision == "commit":
            machine.command(
                CommitInvoice(commit), lambda done: self._after_commit(machine, handover, done)
            )
        elif handover.decision == "register":
            machine.command(RegisterCommit(commit))
            if self._rng.random() < 0.2:
                machine.command(CollectInvoice(commit.invoice_id))
        elif handover.decision == "cancel":
            machine.command(CancelInvoice(commit.invoice_id))

    def _after_commit(self, machine: Machine, handover: Handover, done: CommandDone) -> None:
        if done.fault is CommandFault.COMMIT_INCOMPLETE:
            commit = handover.commit
            machine.command(CommitInvoice(commit, force=True))
            machine.command(CancelInvoice(commit.invoice_id))

    # --- the end --------------------------------------------------------------------------------

    def _mend(self, machine: Machine) -> None:
        is_patience_over = self._world.now - self._world.healed_ms > MERCY_MS
        if is_patience_over:
            for invoice_id, invoice in machine.state.invoices.items():
                if invoice.registered is not None:
                    machine.command(CollectInvoice(invoice_id, force=True))
                machine.command(CancelInvoice(invoice_id))
        for key, friend in machine.state.friends.items():
            other = self._world.machine_of(key)
            is_gone = other.is_up and machine.key not in other.state.friends
            if other.foe is not None or is_gone:
                self._world.estrange(machine.key, key)
                machine.command(RemoveFriend(key, force=True))
            elif friend.is_quarantined and is_patience_over and friend.consistent is not None:
                # Restored, and the friend has not said a word that could vouch for us.
                machine.command(DisputeFriend(key))
            elif not friend.is_enabled:
                machine.command(EnableFriend(key))
            elif key not in machine.links and not self._world.network.can_connect(machine, other):
                relays: tuple[RelayAddress, ...] = other.state.own_relays
                if friend.remote_relays != relays:
                    self._world.addressed[self._world.pair(machine.key, key)] = None
                    machine.command(SetFriendRelays(key, relays))


def must_work(done: CommandDone) -> None:
    """An answer that must not be a refusal."""
    insist(done.fault is None, "setting up was refused", done)
