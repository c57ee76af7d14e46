"""Which app a payment, an invoice or a question belongs to, and the results kept for it.

An app is named by its key, so what it owns survives a lost connection; it is forgotten when the node
stops. A claim lasts only if the command that made it is carried out, and what is open is never forgotten, so
no app gets at what is another's by making more than anybody can remember. Results (of transactions, closed
payments and route questions) go to their app alone and are kept until it had time to fetch them again.

| table | bound | when full |
|---|---|---|
| payments, invoices and requests of one app that are over | 2 000 each | its own oldest have no owner any more |
| those that are open | as many as the node has | |
| apps with results | 64 | the results of the one longest without news are dropped |
| results of one app | 256, of them 16 answers about routes | the oldest is dropped |

Source: PROTOCOL.md, "Apps"; apps.md §3.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from offset_engine.core.api import (
    AckClosePayment,
    AddInvoice,
    Batch,
    CancelInvoice,
    CancelPay,
    CollectInvoice,
    Command,
    CommitInvoice,
    ConfirmFee,
    CreatePayment,
    CreateTransaction,
    ForgetPay,
    InvoiceChanged,
    Notice,
    Pay,
    PayChanged,
    PaymentStatus,
    Rebalance,
    RegisterCommit,
    RequestClosePayment,
    RequestRoutes,
    RoutesResult,
    TransactionResult,
)
from offset_engine.core.state import NodeState
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey, Uid

OWNED_MAX: Final = 2_000
_OWNED_SWEPT: Final = 250
"""So many at once are forgotten above it, so that looking for them is rare."""
MAILBOXES_MAX: Final = 64
RESULTS_MAX: Final = 256
ROUTES_RESULTS_MAX: Final = 16
"""Of the results; each may have 100 KiB."""
LOCAL_OWNER: Final = PublicKey(bytes(PublicKey.SIZE))
"""Stands for all programs of the node's own user; no app can have this key."""

Thing: TypeAlias = PaymentId | InvoiceId | Uid
AppResult: TypeAlias = TransactionResult | PaymentStatus | RoutesResult
_ResultKey: TypeAlias = tuple[type, Thing]


def _parts(command: Command | Batch) -> tuple[Command, ...]:
    return command.commands if isinstance(command, Batch) else (command,)


def thing_of(command: Command) -> Thing | None:
    """The payment or invoice a command is about."""
    match command:
        case (
            Pay(payment_id)
            | Rebalance(payment_id)
            | ConfirmFee(payment_id)
            | CancelPay(payment_id)
            | ForgetPay(payment_id)
            | CreatePayment(payment_id)
            | CreateTransaction(payment_id)
            | RequestClosePayment(payment_id)
            | AckClosePayment(payment_id)
        ):
            return payment_id
        case AddInvoice(invoice):
            return invoice.invoice_id
        case CancelInvoice(invoice_id) | CollectInvoice(invoice_id):
            return invoice_id
        case RegisterCommit(commit) | CommitInvoice(commit):
            return commit.invoice_id
        case _:
            return None


def _claimed(command: Command) -> tuple[Thing, ...]:
    """What belongs to whoever gives this command first."""
    match command:
        case Pay(payment_id) | Rebalance(payment_id) | CreatePayment(payment_id):
            return (payment_id,)
        case CreateTransaction(_, request_id) | RequestRoutes(request_id):
            return (request_id,)
        case AddInvoice(invoice):
            return (invoice.invoice_id,)
        case _:
            return ()


def is_open_in(state: NodeState, thing: Thing) -> bool:
    """Whether something is still going on about a payment, an invoice, or a request at this node."""
    if isinstance(thing, InvoiceId):
        return thing in state.invoices
    if isinstance(thing, Uid):
        return thing in state.outgoing_ids or thing in state.inquiries
    intent = state.intents.get(thing)
    return thing in state.payments or (intent is not None and intent.ended_ms is None)


class _Owned:
    """Things of one kind and whose they are; every owner has room of its own."""

    def __init__(self, is_open: Callable[[Thing], bool]) -> None:
        self._is_open = is_open
        self._owners: dict[Thing, PublicKey] = {}
        self._own: dict[PublicKey, dict[Thing, None]] = {}
        self._sweep_above: dict[PublicKey, int] = {}

    def get(self, thing: Thing) -> PublicKey | None:
        return self._owners.get(thing)

    def put(self, thing: Thing, owner: PublicKey) -> None:
        self.drop(thing)
        self._owners[thing] = owner
        own = self._own.setdefault(owner, {})
        own[thing] = None  # the newest is last
        if len(own) > self._sweep_above.get(owner, OWNED_MAX):
            over = [one for one in own if one != thing and not self._is_open(one)]
            for one in over[: max(0, len(over) - OWNED_MAX + _OWNED_SWEPT)]:
                self.drop(one)
            self._sweep_above[owner] = max(OWNED_MAX, len(own) + _OWNED_SWEPT)

    def drop(self, thing: Thing) -> None:
        owner = self._owners.pop(thing, None)
        if owner is not None:
            del self._own[owner][thing]


class AppOwners:
    """See the module; one for all apps of a node."""

    def __init__(self, is_open: Callable[[Thing], bool]) -> None:
        """Nothing belongs to anybody.

        Args:
            is_open: whether something is still going on about a thing, as `is_open_in` says it.
        """
        self._owned: Final = {kind: _Owned(is_open) for kind in (PaymentId, InvoiceId, Uid)}
        self._closers: Final = _Owned(is_open)
        self._mailboxes: dict[PublicKey, dict[_ResultKey, AppResult]] = {}

    def owner_of(self, thing: Thing) -> PublicKey | None:
        """The app it belongs to; None = nobody knows."""
        return self._owned[type(thing)].get(thing)

    def is_foreign(self, owner: PublicKey, thing: Thing) -> bool:
        """Whether it belongs to another app."""
        found = self.owner_of(thing)
        return found is not None and found != owner

    def claim(self, owner: PublicKey, command: Command | Batch) -> tuple[Thing, ...]:
        """A command is about to be given: what it makes is this app's; returns what is new of it."""
        claims: list[Thing] = []
        for one in _parts(command):
            if isinstance(one, RequestClosePayment):
                self._closers.put(one.payment_id, owner)
            for thing in _claimed(one):
                if self.owner_of(thing) is None:
                    self._owned[type(thing)].put(thing, owner)
                    claims.append(thing)
        return tuple(claims)

    def release(self, claims: tuple[Thing, ...]) -> None:
        """The command was refused after all."""
        for thing in claims:
            self._owned[type(thing)].drop(thing)

    def carried_out(self, command: Command | Batch) -> None:
        """A command was carried out: results of payments acknowledged with it are no longer kept."""
        for one in _parts(command):
            if isinstance(one, AckClosePayment):
                for mailbox in self._mailboxes.values():
                    for key in [key for key, it in mailbox.items() if _is_about(it, one)]:
                        del mailbox[key]

    def keep(self, result: AppResult) -> tuple[PublicKey, ...]:
        """Keep a result for the apps it is for; returns them."""
        apps = self._apps_of(result)
        for owner in apps:
            mailbox = self._mailboxes.pop(owner, {})
            self._mailboxes[owner] = mailbox  # the newest is last
            key = _key_of(result)
            mailbox.pop(key, None)
            mailbox[key] = result
            _drop_oldest(mailbox)
        while len(self._mailboxes) > MAILBOXES_MAX:
            del self._mailboxes[next(iter(self._mailboxes))]
        return apps

    def _apps_of(self, result: AppResult) -> tuple[PublicKey, ...]:
        found: list[PublicKey | None]
        if isinstance(result, RoutesResult):
            found = [self.owner_of(result.request_id)]
        elif isinstance(result, TransactionResult):
            asker = self.owner_of(result.request_id)
            found = [asker if asker is not None else self.owner_of(result.payment_id)]
        else:
            found = [self.owner_of(result.payment_id), self._closers.get(result.payment_id)]
        return tuple(dict.fromkeys(owner for owner in found if owner is not None))

    def results(self, owner: PublicKey) -> tuple[AppResult, ...]:
        """Everything kept for an app, oldest first."""
        return tuple(self._mailboxes.get(owner, {}).values())


def subject_of(notice: Notice) -> PaymentId | InvoiceId | None:
    """What a change is about; None = the notice is a result."""
    match notice:
        case PayChanged(payment_id):
            return payment_id
        case InvoiceChanged(invoice_id):
            return invoice_id
        case _:
            return None


def _key_of(result: AppResult) -> _ResultKey:
    if isinstance(result, PaymentStatus):
        return PaymentStatus, result.payment_id
    return type(result), result.request_id


def _is_about(result: AppResult, ack: AckClosePayment) -> bool:
    return not isinstance(result, RoutesResult) and result.payment_id == ack.payment_id


def _drop_oldest(mailbox: dict[_ResultKey, AppResult]) -> None:
    routes = [key for key in mailbox if key[0] is RoutesResult]
    for key in routes[: max(0, len(routes) - ROUTES_RESULTS_MAX)]:
        del mailbox[key]
    while len(mailbox) > RESULTS_MAX:
        del mailbox[next(iter(mailbox))]
