"""The one door for user interfaces and programs: what they can ask of a node, wherever it runs.

`LocalClient` (same process) and `RemoteClient` (over a socket) are `Client`s and pass the same tests. A client
holds no state of its own: payments are driven by the node, so a closed terminal changes nothing.

Amounts are credits; errors a person can cause come as `CommandRefusedError` with a fault to show. Whoever
waits while the node stops, or its connection is lost, gets a `TransportError`.
Source: PROTOCOL.md, "Commands"; design R20, R31, R47.
"""

import os
from abc import abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, Protocol

from offset_engine.core.api import (
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
    DisableFriend,
    DisputeFriend,
    EnableFriend,
    ForgetPay,
    InvoiceChanged,
    Notice,
    OpenFriendCurrency,
    Pay,
    PayChanged,
    Rebalance,
    Reconnect,
    RegisterCommit,
    RemoveFriend,
    RemoveFriendCurrency,
    RemoveIndexServer,
    RemoveRelay,
    RequestRoutes,
    ResetFriendChannel,
    RoutesChoice,
    RoutesLabel,
    RoutesOutcome,
    RoutesResult,
    RoutesWish,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
    SetFriendRelays,
)
from offset_engine.core.app_messages import AppPermissions, Permission
from offset_engine.core.dial_filter import dial_filter
from offset_engine.core.payer import PayFailure, PayStage, PlannedPart
from offset_engine.core.reports import (
    Connections,
    CurrencyReport,
    ForwardRecord,
    FriendReport,
    HistoryEntry,
    HistoryKind,
    InvoiceRecord,
    InvoiceReport,
    LossRecord,
    NodeReport,
    PartReport,
    PaymentRecord,
    PayReport,
    PendingReport,
    Record,
    ResetRecord,
    ServerReport,
    ServerState,
    TermsReport,
)
from offset_engine.core.signing import Commit, Invoice, Receipt
from offset_engine.core.values import (
    CREDITS_MAX,
    DESCRIPTION_BYTES_MAX,
    NAME_BYTES_MAX,
    Currency,
    InvoiceId,
    NamedAddress,
    PaymentId,
    PublicKey,
    Rate,
    RelayAddress,
    Uid,
    value,
)
from offset_engine.errors import OffsetError

__all__ = [
    "CREDITS_MAX",
    "DESCRIPTION_BYTES_MAX",
    "NAME_BYTES_MAX",
    "REPORT_PAUSE_MS",
    "AddFriend",
    "AddIndexServer",
    "AddInvoice",
    "AddRelay",
    "AppPermissions",
    "Batch",
    "CancelInvoice",
    "CancelPay",
    "Client",
    "CloseFriendCurrency",
    "CollectInvoice",
    "Command",
    "CommandFault",
    "CommandRefusedError",
    "Commit",
    "CommitInvoice",
    "ConfirmFee",
    "Connections",
    "Currency",
    "CurrencyReport",
    "DisableFriend",
    "DisputeFriend",
    "EnableFriend",
    "ForgetPay",
    "ForwardRecord",
    "FriendReport",
    "HistoryEntry",
    "HistoryKind",
    "Invoice",
    "InvoiceChanged",
    "InvoiceId",
    "InvoiceRecord",
    "InvoiceReport",
    "InvoiceTerms",
    "LossRecord",
    "NamedAddress",
    "NodeReport",
    "Notice",
    "OpenFriendCurrency",
    "PartReport",
    "Pay",
    "PayChanged",
    "PayFailure",
    "PayReport",
    "PayStage",
    "PaymentId",
    "PaymentRecord",
    "PendingReport",
    "Permission",
    "PlannedPart",
    "PublicKey",
    "Rate",
    "Rebalance",
    "Receipt",
    "Reconnect",
    "Record",
    "RegisterCommit",
    "RelayAddress",
    "RemoveFriend",
    "RemoveFriendCurrency",
    "RemoveIndexServer",
    "RemoveRelay",
    "RequestRoutes",
    "ResetFriendChannel",
    "ResetRecord",
    "RoutesChoice",
    "RoutesLabel",
    "RoutesOutcome",
    "RoutesResult",
    "RoutesWish",
    "ServerReport",
    "ServerState",
    "SetFriendCurrencyMaxDebt",
    "SetFriendCurrencyRate",
    "SetFriendName",
    "SetFriendRelays",
    "TermsReport",
    "Uid",
    "Watcher",
    "dial_filter",
]


REPORT_PAUSE_MS: Final = 100
"""Shortest time between two reports for those who follow it (design R30)."""


class CommandRefusedError(OffsetError):
    """The node refused a command; nothing changed."""

    def __init__(self, fault: CommandFault, detail: str) -> None:
        """Keep the fault for programs and put a sentence together for people."""
        super().__init__(f"{detail}: {fault.value.replace('_', ' ')}" if detail else fault.value)
        self.fault = fault
        self.detail = detail
        """What the node said besides; may contain foreign text."""


class Watcher(Protocol):
    """What happened since the last look; several changes of one thing are told once."""

    @abstractmethod
    async def next(self) -> tuple[Notice, ...]:
        """Wait for news. An empty answer means that too much happened to tell: look at everything.

        Raises:
            TransportError: there will be no more news.
        """


@value
class InvoiceTerms:
    """What a new invoice asks for."""

    currency: Currency
    amount: int
    description: str = ""
    lasts_s: int | None = 86_400
    """Seconds until it expires; None = never."""
    decimals: int | None = None
    """How many of the amount's digits the seller shows after the point (design R8); None = not stated."""


class Client(Protocol):
    """A node as its user sees it."""

    # --- what each kind of client does itself ---------------------------------------------------

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether there is a node to ask just now."""

    @property
    @abstractmethod
    def permissions(self) -> AppPermissions:
        """What the node lets us do, as it said last."""

    @property
    @abstractmethod
    def node(self) -> PublicKey | None:
        """The node's key; None before the first connection."""

    @abstractmethod
    async def command(self, command: Command | Batch) -> tuple[Notice, ...]:
        """Have the node carry out a command; returns its direct answers.

        Raises:
            CommandRefusedError: it was refused, and nothing changed.
            TransportError: there was no answer; whether it was carried out is not known.
        """

    @abstractmethod
    async def report(self) -> NodeReport:
        """The whole node now."""

    @abstractmethod
    def reports(self) -> AsyncGenerator[NodeReport, None]:
        """The report now, and again whenever it is another one, at most ten times a second.

        Close it (`contextlib.aclosing`) when it is no longer needed.

        Raises:
            CommandRefusedError: the app may not see it.
            TransportError: the node stopped, or the connection was lost.
        """

    @abstractmethod
    async def pay_report(self, payment_id: PaymentId) -> PayReport | None:
        """One wish to pay, also a finished one; None if the node never heard of it."""

    @abstractmethod
    async def invoice_report(self, invoice_id: InvoiceId) -> InvoiceReport | InvoiceRecord | None:
        """One invoice: open, or its record."""

    @abstractmethod
    async def pays(self) -> tuple[PayReport, ...]:
        """Every wish to pay the node still holds, newest first."""

    @abstractmethod
    async def invoices(self) -> tuple[InvoiceReport, ...]:
        """Every open invoice, newest first."""

    @abstractmethod
    async def pending(self, limit: int = 1_000, skip: int = 0) -> tuple[PendingReport, ...]:
        """A page of transactions in flight, friend by friend; `skip` leaves out the pages before."""

    @abstractmethod
    async def history(
        self, kind: HistoryKind, before: int | None = None, limit: int = 100
    ) -> list[HistoryEntry]:
        """A page of history, newest first."""

    @abstractmethod
    async def sign_invoice(self, terms: InvoiceTerms) -> Invoice:
        """A fresh invoice of this node with a random id, signed; not opened yet.

        Raises:
            CommandRefusedError: the amount or the description is out of range.
        """

    @abstractmethod
    def watch(self) -> AbstractAsyncContextManager[Watcher]:
        """Be told of changes from now on."""

    # --- buying ---------------------------------------------------------------------------------

    async def pay(
        self, invoice: Invoice, max_fee: int, *, confirm_above: int | None = None
    ) -> PaymentId:
        """Start paying an invoice; follow it with `pay_states`, closing the program loses nothing."""
        payment_id = PaymentId(os.urandom(PaymentId.SIZE))
        await self.command(Pay(payment_id, invoice, max_fee, confirm_above))
        return payment_id

    async def pay_states(self, payment_id: PaymentId) -> AsyncGenerator[PayReport, None]:
        """Every state of a payment from now until it is paid or has failed."""
        last: PayReport | None = None
        async with self.watch() as watcher:
            while True:
                now = await self.pay_report(payment_id)
                if now is None:
                    return
                if now != last:
                    yield now
                    last = now
                if now.stage in (PayStage.PAID, PayStage.FAILED):
                    return
                await self._wait_for(watcher, PayChanged(payment_id))

    async def wait_pay(self, payment_id: PaymentId, *stages: PayStage) -> PayReport:
        """Wait until a payment is in one of these stages, or has ended."""
        async with aclosing(self.pay_states(payment_id)) as states:
            async for state in states:
                if state.stage in (*stages, PayStage.PAID, PayStage.FAILED):
                    return state
        raise CommandRefusedError(CommandFault.PAYMENT_DOES_NOT_EXIST, "wait")

    @staticmethod
    async def _wait_for(watcher: Watcher, wanted: Notice) -> None:
        while True:
            news = await watcher.next()
            if not news or wanted in news:
                return

    async def confirm_fee(self, payment_id: PaymentId, at_most: int) -> None:
        """Agree to a fee of at most so many credits: the one that was shown."""
        await self.command(ConfirmFee(payment_id, at_most))

    async def cancel(self, payment_id: PaymentId) -> None:
        """Give up a payment whose commit does not exist yet."""
        await self.command(CancelPay(payment_id))

    async def forget(self, payment_id: PaymentId) -> None:
        """Take a finished payment off the live list; history keeps it."""
        await self.command(ForgetPay(payment_id))

    async def rebalance(self, wish: Rebalance) -> PaymentId:
        """Start moving credit along a cycle of friends; follow it like a payment."""
        await self.command(wish)
        return wish.payment_id

    async def ask_routes(self, question: RequestRoutes) -> RoutesResult:
        """What an index server knows about routes; nothing is sent. Takes some seconds at worst.

        Raises:
            CommandRefusedError: the question makes no sense, or there are too many.
            TransportError: the node stopped, or the connection was lost.
        """
        async with self.watch() as watcher:
            await self.command(question)
            while news := await watcher.next():
                for one in news:
                    if isinstance(one, RoutesResult) and one.request_id == question.request_id:
                        return one
        # So much happened meanwhile that the answer was not kept.
        return RoutesResult(question.request_id, RoutesOutcome.UNANSWERED)

    # --- selling --------------------------------------------------------------------------------

    async def create_invoice(self, terms: InvoiceTerms) -> Invoice:
        """Open an invoice to hand out."""
        invoice = await self.sign_invoice(terms)
        expires_ms = invoice.expires * 1000 if invoice.expires else None
        await self.command(AddInvoice(invoice, expires_ms))
        return invoice

    async def accept_commit(self, commit: Commit) -> None:
        """Verify a commit and collect: once this returns, goods may be handed over."""
        await self.command(CommitInvoice(commit))

    async def hold(self, commit: Commit) -> None:
        """Verify and keep a commit; `collect` or `refund` later."""
        await self.command(RegisterCommit(commit))

    async def collect(self, invoice_id: InvoiceId, *, force: bool = False) -> None:
        """Collect an invoice that is on hold; `force` takes what is left of it."""
        await self.command(CollectInvoice(invoice_id, force))

    async def refund(self, invoice_id: InvoiceId) -> None:
        """Give everything pending for an invoice back and close it."""
        await self.command(CancelInvoice(invoice_id))

    # --- settings -------------------------------------------------------------------------------

    async def add_friend(
        self, friend: PublicKey, relays: tuple[RelayAddress, ...], name: str
    ) -> None:
        """Add a friend and connect to it."""
        await self.command(Batch((AddFriend(friend, relays, name), EnableFriend(friend))))

    async def set_limit(
        self, friend: PublicKey, currency: Currency, max_debt: int, rate: Rate | None = None
    ) -> None:
        """The most a friend may owe us; a currency used for the first time is opened as well."""
        report = await self.report()
        known = {
            one.currency
            for entry in report.friends
            if entry.public_key == friend
            for one in entry.currencies
        }
        commands: list[Command] = [SetFriendCurrencyMaxDebt(friend, currency, max_debt)]
        if rate is not None:
            commands.append(SetFriendCurrencyRate(friend, currency, rate))
        if currency not in known:
            commands.append(OpenFriendCurrency(friend, currency))
        await self.command(Batch(tuple(commands)))

    async def add_relay(self, relay: NamedAddress) -> None:
        """Be reachable at a relay."""
        await self.command(AddRelay(relay))

    async def add_index_server(self, server: NamedAddress) -> None:
        """Find routes through an index server."""
        await self.command(AddIndexServer(server))
