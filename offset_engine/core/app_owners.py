"""Which app a payment, an invoice or a question belongs to, and the results kept for it.

An app is named by its key, so what it owns survives a lost connection; it is forgotten when the node
stops. A claim lasts only if the command that made it is carried out. Results (of transactions, closed
payments and route questions) go to their app alone and are kept until it had time to fetch them again.

| table | bound | when full |
|---|---|---|
| payments, invoices, transactions and questions with an owner | 20 000 each | the oldest has no owner any more |
| apps with results | 64 | the results of the one longest without news are dropped |
| results of one app | 256, of them 16 answers about routes | the oldest is dropped |

Source: PROTOCOL.md, "Apps"; apps.md §3.
"""

from typing import Final, TypeAlias, TypeVar

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
    RegisterCommit,
    RequestClosePayment,
    RequestRoutes,
    RoutesResult,
    TransactionResult,
)
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey, Uid

OWNED_MAX: Final = 20_000
MAILBOXES_MAX: Final = 64
RESULTS_MAX: Final = 256
ROUTES_RESULTS_MAX: Final = 16
"""Of the results; each may have 100 KiB."""
LOCAL_OWNER: Final = PublicKey(bytes(PublicKey.SIZE))
"""Stands for all programs of the node's own user; no app can have this key."""

Thing: TypeAlias = PaymentId | InvoiceId | Uid
AppResult: TypeAlias = TransactionResult | PaymentStatus | RoutesResult
_ResultKey: TypeAlias = tuple[type, Thing]
_T = TypeVar("_T")


def _parts(command: Command | Batch) -> tuple[Command, ...]:
    return command.commands if isinstance(command, Batch) else (command,)


def thing_of(command: Command) -> Thing | None:
    """The payment or invoice a command is about."""
    match command:
        case (
            Pay(payment_id)
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
        case Pay(payment_id) | CreatePayment(payment_id):
            return (payment_id,)
        case CreateTransaction(_, request_id) | RequestRoutes(request_id):
            return (request_id,)
        case AddInvoice(invoice):
            return (invoice.invoice_id,)
        case _:
            return ()


class AppOwners:
    """See the module; one for all apps of a node."""

    def __init__(self) -> None:
        """Nothing belongs to anybody."""
        self._owners: dict[type, dict[Thing, PublicKey]] = {
            PaymentId: {},
            InvoiceId: {},
            Uid: {},
        }
        self._closers: dict[PaymentId, PublicKey] = {}
        self._mailboxes: dict[PublicKey, dict[_ResultKey, AppResult]] = {}

    def owner_of(self, thing: Thing) -> PublicKey | None:
        """The app it belongs to; None = nobody knows."""
        return self._owners[type(thing)].get(thing)

    def is_foreign(self, owner: PublicKey, thing: Thing) -> bool:
        """Whether it belongs to another app."""
        found = self.owner_of(thing)
        return found is not None and found != owner

    def claim(self, owner: PublicKey, command: Command | Batch) -> tuple[Thing, ...]:
        """A command is about to be given: what it makes is this app's; returns what is new of it."""
        claims: list[Thing] = []
        for one in _parts(command):
            if isinstance(one, RequestClosePayment):
                _put(self._closers, one.payment_id, owner)
            for thing in _claimed(one):
                if self.owner_of(thing) is None:
                    _put(self._owners[type(thing)], thing, owner)
                    claims.append(thing)
        return tuple(claims)

    def release(self, claims: tuple[Thing, ...]) -> None:
        """The command was refused after all."""
        for thing in claims:
            self._owners[type(thing)].pop(thing, None)

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


def _put(table: "dict[_T, PublicKey]", thing: _T, owner: PublicKey) -> None:
    table.pop(thing, None)
    table[thing] = owner
    if len(table) > OWNED_MAX:
        del table[next(iter(table))]


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
