"""The next state while a step works on it: forks what is touched, collects what follows.

Modules that carry out a step take a `Draft` first. Reading goes through `draft.state`, which already shows
every change; changing goes through the methods here, so that nothing of the old state is ever altered.

Source: design R28, R30, R32; core-performance.
"""

from collections.abc import Mapping
from enum import Enum

from offset_engine.core.api import Notice, TransactionOutcome
from offset_engine.core.events import (
    CapacitiesChanged,
    ConnectionsChanged,
    Effect,
    FriendDirty,
    Notify,
    Step,
    Touched,
)
from offset_engine.core.friend import Friend, QueuedRequest
from offset_engine.core.invoice import ClosedInvoice, OpenInvoice
from offset_engine.core.messages import BackwardsOp, cancel_op
from offset_engine.core.mutual_credit import Ledger, Next
from offset_engine.core.payer import Intent
from offset_engine.core.payment import Payment
from offset_engine.core.reports import Record
from offset_engine.core.route_memory import Penalty, Place
from offset_engine.core.state import Agenda, Env, Inquiry, NodeState
from offset_engine.core.token_channel import TokenChannel
from offset_engine.core.values import (
    FINISHED_INVOICES_REMEMBERED,
    Currency,
    InvoiceId,
    PaymentId,
    PublicKey,
    Uid,
    value,
)


class PartEnd(Enum):
    """How a transaction of an own payment ended without being paid."""

    NEVER_LEFT = "never_left"
    """It still waited for the token."""
    CAME_BACK = "came_back"
    """Somebody on the way, or the seller, refused it."""
    WAY_DIED = "way_died"
    """The channel it left over died; it may still be pending further on."""


@value
class TransactionNews:
    """Something happened to a transaction of an own payment; `paying` looks at it after each event."""

    payment_id: PaymentId
    request_id: Uid
    outcome: TransactionOutcome
    end: PartEnd = PartEnd.CAME_BACK
    """Says more about a failure."""


@value
class PaymentNews:
    """An own payment ended."""

    payment_id: PaymentId


class Draft:
    """A node state under change."""

    def __init__(self, old: NodeState, env: Env) -> None:
        self.env = env
        self.state = NodeState(
            old.local_public_key,
            old.relays,
            old.index_servers,
            old.friends.copy(),
            old.payments,
            old.intents,
            old.invoices,
            old.closed_invoices,
            old.penalties,
            old.outgoing_ids,
            old.questions,
            old.inquiries,
            old.payers,
            old.agenda,
        )
        self._old = old
        self._friends: dict[PublicKey, Friend | None] = {}
        self._payments: dict[PaymentId, None] = {}
        self._intents: dict[PaymentId, None] = {}
        self._invoices: dict[InvoiceId, None] = {}
        self._penalties: dict[Place, None] = {}
        self._settings = False
        self._dirty: dict[PublicKey, None] = {}
        self._connections = False
        self.effects: list[Effect] = []
        self.records: list[Record] = []
        self.news: list[TransactionNews | PaymentNews] = []
        self.has_new_ways = False
        """Some friend can take requests it could not take before."""

    # --- friends --------------------------------------------------------------------------------

    def friend(self, key: PublicKey) -> Friend:
        """The friend, to be changed in this step."""
        mine = self._friends.get(key)
        if mine is None:
            mine = self.state.friends[key].fork()
            self._friends[key] = mine
            self.state.friends[key] = mine
        return mine

    def friend_with(self, key: PublicKey, channel: TokenChannel) -> Friend:
        """The friend, to be changed in this step, with `channel` (a finished fork) in place."""
        mine = self._friends.get(key)
        if mine is None:
            mine = self.state.friends[key].fork(channel)
            self._friends[key] = mine
            self.state.friends[key] = mine
        mine.channel = channel
        return mine

    def put_friend(self, friend: Friend) -> None:
        """Add a friend, or put a finished fork in its place."""
        self._friends[friend.public_key] = friend
        self.state.friends[friend.public_key] = friend

    def drop_friend(self, key: PublicKey) -> None:
        """Forget a friend."""
        self._friends[key] = None
        del self.state.friends[key]

    @property
    def friends_to_flush(self) -> tuple[PublicKey, ...]:
        """Friends that may have something to send: those touched, or all if our relays changed."""
        if self._settings:
            return tuple(self.state.friends)
        return tuple(key for key, friend in self._friends.items() if friend is not None)

    def mark_dirty(self, key: PublicKey) -> None:
        """What to send to this friend may have changed."""
        self._dirty[key] = None

    def mark_connections(self) -> None:
        """Whom to connect to, or where, changed."""
        self._connections = True

    # --- requests and answers -------------------------------------------------------------------

    def ledger(self, key: PublicKey, currency: Currency) -> Ledger | None:
        """A friend's ledger, to be changed; None if the currency is not active there."""
        known = self.state.friends.get(key)
        if known is None or known.consistent is None:
            return None
        if currency not in known.consistent.ledgers:
            return None
        channel = self.friend(key).consistent
        return None if channel is None else channel.ledgers[currency]

    def answer(
        self, key: PublicKey, currency: Currency, operation: BackwardsOp, next_: Next
    ) -> None:
        """Queue an answer to a pending request of this friend and say where the request stands.

        Does nothing if the request is gone with its channel.
        """
        ledger = self.ledger(key, currency)
        if ledger is None or operation.request_id not in ledger.remote:
            return
        ledger.set_next(operation.request_id, next_)
        self.friend(key).backwards.push((currency, operation))

    def refuse(self, key: PublicKey, currency: Currency, request_id: Uid) -> None:
        """Queue a Cancel to a friend for its request."""
        self.answer(key, currency, cancel_op(request_id), None)

    def queue_request(self, key: PublicKey, entry: QueuedRequest) -> None:
        """Let a request wait for the token of this friend."""
        friend = self.friend(key)
        queue = friend.own if isinstance(entry.origin, PaymentId) else friend.forwarded
        queue.push(entry)
        self.set_outgoing_id(entry.request.request_id, key)

    def set_outgoing_id(self, request_id: Uid, key: PublicKey | None) -> None:
        """Note that a request with this id is with this friend, or (None) no longer with anybody."""
        if self.state.outgoing_ids is self._old.outgoing_ids:
            self.state.outgoing_ids = self.state.outgoing_ids.copy()
        if key is None:
            self.state.outgoing_ids.pop(request_id, None)
        else:
            self.state.outgoing_ids[request_id] = key

    def set_question(self, question: Uid, intent_id: PaymentId | None) -> None:
        """Note who asked for routes, or (None) that the question is closed."""
        if self.state.questions is self._old.questions:
            self.state.questions = self.state.questions.copy()
        if intent_id is None:
            self.state.questions.pop(question, None)
        else:
            self.state.questions[question] = intent_id

    def set_inquiry(self, request_id: Uid, inquiry: Inquiry | None) -> None:
        """Note what a program asked for, or (None) that it has its answer."""
        if self.state.inquiries is self._old.inquiries:
            self.state.inquiries = self.state.inquiries.copy()
        if inquiry is None:
            self.state.inquiries.pop(request_id, None)
        else:
            self.state.inquiries[request_id] = inquiry

    def set_penalties(self, changes: Mapping[Place, Penalty | None]) -> None:
        """Remember these failures, or (None) forget them."""
        if changes and self.state.penalties is self._old.penalties:
            self.state.penalties = self.state.penalties.copy()
        for place, penalty in changes.items():
            self._penalties[place] = None
            if penalty is None:
                self.state.penalties.pop(place, None)
            else:
                self.state.penalties[place] = penalty

    def set_payer(self, payment_id: PaymentId, intent_id: PaymentId | None) -> None:
        """Note for whose wish a payment was opened, or (None) that it is gone."""
        if self.state.payers is self._old.payers:
            self.state.payers = self.state.payers.copy()
        if intent_id is None:
            self.state.payers.pop(payment_id, None)
        else:
            self.state.payers[payment_id] = intent_id

    # --- payments, intents, invoices ------------------------------------------------------------

    def payment(self, payment_id: PaymentId) -> Payment:
        """The payment, to be changed in this step."""
        payment = self.state.payments[payment_id]
        if payment_id not in self._payments:
            payment = payment.fork()
            self.put_payment(payment)
        return payment

    def put_payment(self, payment: Payment) -> None:
        """Add a payment."""
        if self.state.payments is self._old.payments:
            self.state.payments = self.state.payments.copy()
        self.state.payments[payment.payment_id] = payment
        self._payments[payment.payment_id] = None

    def drop_payment(self, payment_id: PaymentId) -> None:
        """Forget a payment."""
        self.put_payment(self.state.payments[payment_id])
        del self.state.payments[payment_id]
        if payment_id in self.state.payers:
            self.set_payer(payment_id, None)

    def intent(self, intent_id: PaymentId) -> Intent:
        """The intent, to be changed in this step."""
        intent = self.state.intents[intent_id]
        if intent_id not in self._intents:
            intent = intent.fork()
            self.put_intent(intent)
        return intent

    def put_intent(self, intent: Intent) -> None:
        """Add an intent."""
        if self.state.intents is self._old.intents:
            self.state.intents = self.state.intents.copy()
        self.state.intents[intent.intent_id] = intent
        self._intents[intent.intent_id] = None

    def drop_intent(self, intent_id: PaymentId) -> None:
        """Forget an intent."""
        intent = self.state.intents[intent_id]
        self.put_intent(intent)
        del self.state.intents[intent_id]
        if intent.payment_id in self.state.payers:
            self.set_payer(intent.payment_id, None)

    def has_dropped_intent(self, intent_id: PaymentId) -> bool:
        """Whether an intent with this id was forgotten in this very step."""
        return intent_id in self._old.intents and intent_id not in self.state.intents

    def invoice(self, invoice_id: InvoiceId) -> OpenInvoice:
        """The open invoice, to be changed in this step."""
        invoice = self.state.invoices[invoice_id]
        if invoice_id not in self._invoices:
            invoice = invoice.fork()
            self.put_invoice(invoice)
        return invoice

    def put_invoice(self, invoice: OpenInvoice) -> None:
        """Add an invoice."""
        if self.state.invoices is self._old.invoices:
            self.state.invoices = self.state.invoices.copy()
        self.state.invoices[invoice.invoice.invoice_id] = invoice
        self._invoices[invoice.invoice.invoice_id] = None

    def close_invoice(self, closed: ClosedInvoice) -> None:
        """Remember an open invoice as finished, forgetting the oldest finished one if there are many."""
        invoice = self.state.invoices[closed.invoice_id]
        self.put_invoice(invoice)
        del self.state.invoices[closed.invoice_id]
        if self.state.closed_invoices is self._old.closed_invoices:
            self.state.closed_invoices = self.state.closed_invoices.copy()
        self.state.closed_invoices[closed.invoice_id] = closed
        while len(self.state.closed_invoices) > FINISHED_INVOICES_REMEMBERED:
            oldest = next(iter(self.state.closed_invoices))
            del self.state.closed_invoices[oldest]
            self._invoices[oldest] = None

    # --- the rest -------------------------------------------------------------------------------

    @property
    def agenda(self) -> Agenda:
        """Deadlines, to be changed in this step."""
        if self.state.agenda is self._old.agenda:
            self.state.agenda = self.state.agenda.fork()
        return self.state.agenda

    def mark_settings(self) -> None:
        """Own relays or index servers changed."""
        self._settings = True
        self._connections = True

    def notify(self, notice: Notice) -> None:
        """Tell whoever listens, after the save."""
        self.effects.append(Notify(notice))

    def absorb(self, inner: "Draft") -> None:
        """Take over everything a draft made from this one's state did."""
        self.state = inner.state
        self._friends.update(inner._friends)
        self._payments.update(inner._payments)
        self._intents.update(inner._intents)
        self._invoices.update(inner._invoices)
        self._penalties.update(inner._penalties)
        self._dirty.update(inner._dirty)
        self._settings |= inner._settings
        self._connections |= inner._connections
        self.effects += inner.effects
        self.records += inner.records
        self.news += inner.news
        self.has_new_ways |= inner.has_new_ways

    def finish(self) -> Step:
        """The step's result."""
        effects = [*self.effects, *(FriendDirty(key) for key in self._dirty)]
        if self._connections:
            effects.append(ConnectionsChanged())
        if self._friends or self._settings:
            effects.append(CapacitiesChanged())
        touched = Touched(
            tuple(self._friends),
            tuple(self._payments),
            tuple(self._intents),
            tuple(self._invoices),
            self._settings,
            tuple(self._penalties),
        )
        return Step(self.state, tuple(effects), tuple(self.records), touched)
