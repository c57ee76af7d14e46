"""What the engine may ask of a store, and the names of the five histories."""

from collections.abc import Sequence
from typing import Protocol

from offset_engine.core.events import Touched
from offset_engine.core.reports import (
    HISTORY_PAGE_MAX,
    HistoryEntry,
    HistoryKind,
    InvoiceRecord,
    PaymentRecord,
    Record,
)
from offset_engine.core.state import NodeState
from offset_engine.core.values import InvoiceId, PaymentId

__all__ = ["HISTORY_PAGE_MAX", "HistoryEntry", "HistoryKind", "Store", "touched_between"]


class Store(Protocol):
    """One node's database. Not for several threads at once, except that a save may run on another one."""

    def load(self) -> NodeState:
        """The state of the last completed save; nobody is online in it.

        Raises:
            StoreCorruptError: some value is not one this program would write; names table and row.
            StoreError: the database cannot be read.
        """

    def save(
        self, old: NodeState, new: NodeState, touched: Touched, records: Sequence[Record]
    ) -> None:
        """Make `new` and the records permanent in one transaction; all or nothing.

        Args:
            old: the state of the last completed save or load.
            new: what to hold from now on.
            touched: every key in which `new` may differ from `old`; nothing else is looked at.
            records: history to append.

        Raises:
            StoreFullError: no room; nothing was written, `old` is still what the store holds.
            StoreError: anything else; what the store holds is known only after opening it again.
        """

    def history(
        self, kind: HistoryKind, before: int | None = None, limit: int = HISTORY_PAGE_MAX
    ) -> list[HistoryEntry]:
        """A page of history, newest first.

        Args:
            kind: which one.
            before: only entries with a smaller number; None = from the newest.
            limit: how many at most; never more than `HISTORY_PAGE_MAX`.
        """

    def payment_record(self, payment_id: PaymentId) -> PaymentRecord | None:
        """The newest finished payment with this id, with its receipt if it was paid."""

    def invoice_record(self, invoice_id: InvoiceId) -> InvoiceRecord | None:
        """The finished invoice with this id, with its commit if it was paid."""

    def close(self) -> None:
        """Let go of the database; doing it twice is fine."""


def touched_between(old: NodeState, new: NodeState) -> Touched:
    """Name every key of either state: for a save that must look at everything."""
    return Touched(
        friends=tuple(old.friends | new.friends),
        payments=tuple(old.payments | new.payments),
        intents=tuple(old.intents | new.intents),
        invoices=tuple(old.invoices | new.invoices | old.closed_invoices | new.closed_invoices),
        settings=True,
        penalties=tuple(old.penalties | new.penalties),
    )
