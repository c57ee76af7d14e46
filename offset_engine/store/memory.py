"""A store without a disk: what is saved is kept as bytes, so that nothing is shared with live state.

The simulator and tests run thousands of nodes on it. `crash()` gives what a machine would find after a
power failure: the last completed save.
"""

from collections.abc import Sequence

from offset_engine.core.events import Touched
from offset_engine.core.reports import InvoiceRecord, PaymentRecord, Record
from offset_engine.core.state import NodeState
from offset_engine.core.values import InvoiceId, PaymentId, PublicKey
from offset_engine.errors import StoreError, StoreFullError, invariant
from offset_engine.store import fields
from offset_engine.store.history import HISTORIES, KIND_OF, page_size
from offset_engine.store.interface import HISTORY_PAGE_MAX, HistoryEntry, HistoryKind
from offset_engine.store.load import load_state
from offset_engine.store.rows import changes_between
from offset_engine.store.tables import STATE_TABLES, Row, Table


class MemoryStore:
    """A `Store` in memory."""

    def __init__(self, local_public_key: PublicKey) -> None:
        self.is_full = False
        """Set it to see what a full disk does: every save fails and changes nothing."""
        self._local_public_key = local_public_key
        self._is_open = True
        self._rows: dict[str, dict[Row, bytes]] = {table.name: {} for table in STATE_TABLES}
        self._history: dict[HistoryKind, list[bytes]] = {kind: [] for kind in HistoryKind}
        self._newest: dict[tuple[HistoryKind, object], int] = {}

    def crash(self) -> "MemoryStore":
        """Pull the plug: this store is of no use any more; the returned one holds the last save."""
        self._need_open()
        after = MemoryStore(self._local_public_key)
        after._rows, after._history, after._newest = self._rows, self._history, self._newest
        self.close()
        return after

    def load(self) -> NodeState:
        """See `Store.load`."""
        self._need_open()
        return load_state(self._local_public_key, self._read)

    def _read(self, table: Table) -> list[Row]:
        rows = self._rows[table.name]
        ordered = rows.values() if table.is_ordered else map(rows.__getitem__, sorted(rows))
        return [fields.unpack(row) for row in ordered]

    def save(
        self, old: NodeState, new: NodeState, touched: Touched, records: Sequence[Record]
    ) -> None:
        """See `Store.save`."""
        self._need_open()
        changes = changes_between(old, new, touched)
        if self.is_full:
            raise StoreFullError("no room in memory: nothing was written")
        packed = [
            (self._rows[table.name], [(row[: len(table.key)], fields.pack(row)) for row in rows])
            for table in STATE_TABLES
            if (rows := changes.upserts.get(table.name)) is not None
        ]
        appended = [_packed(record) for record in records]
        for name, keys in changes.deletes.items():
            have = self._rows[name].keys()
            invariant(
                all(key in have for key in keys), "the store is not in the state before", name
            )
        # Nothing below can fail half way.
        for name, keys in changes.deletes.items():
            for key in keys:
                del self._rows[name][key]
        for rows_of_table, pairs in packed:
            rows_of_table.update(pairs)
        for kind, row, raw in appended:
            self._append(kind, row, raw)

    def _append(self, kind: HistoryKind, row: Row, raw: bytes) -> None:
        self._history[kind].append(raw)
        if kind in (HistoryKind.PAYMENTS, HistoryKind.INVOICES):
            self._newest[kind, row[0]] = len(self._history[kind])

    def history(
        self, kind: HistoryKind, before: int | None = None, limit: int = HISTORY_PAGE_MAX
    ) -> list[HistoryEntry]:
        """See `Store.history`."""
        self._need_open()
        end = len(self._history[kind]) + 1 if before is None else before
        end = max(1, min(end, len(self._history[kind]) + 1))
        start = max(1, end - page_size(limit))
        return [self._entry(kind, number) for number in range(end - 1, start - 1, -1)]

    def _entry(self, kind: HistoryKind, number: int) -> HistoryEntry:
        row = fields.unpack(self._history[kind][number - 1])
        return HISTORIES[kind].entry((number, *row))

    def payment_record(self, payment_id: PaymentId) -> PaymentRecord | None:
        """See `Store.payment_record`."""
        record = self._find(HistoryKind.PAYMENTS, payment_id)
        return record if isinstance(record, PaymentRecord) else None

    def invoice_record(self, invoice_id: InvoiceId) -> InvoiceRecord | None:
        """See `Store.invoice_record`."""
        record = self._find(HistoryKind.INVOICES, invoice_id)
        return record if isinstance(record, InvoiceRecord) else None

    def _find(self, kind: HistoryKind, key: PaymentId | InvoiceId) -> Record | None:
        self._need_open()
        number = self._newest.get((kind, key))
        return None if number is None else self._entry(kind, number).record

    def close(self) -> None:
        """See `Store.close`."""
        self._is_open = False

    def _need_open(self) -> None:
        if not self._is_open:
            raise StoreError("this store is closed")


def _packed(record: Record) -> tuple[HistoryKind, Row, bytes]:
    kind = KIND_OF[type(record)]
    row = HISTORIES[kind].to_row(record)
    return kind, row, fields.pack(row)
