"""Which tables hold a node's state, and which columns tell their rows apart.

A row is a tuple: the key's columns, then the others, in the order given here. Parents come before
children. The declarations are in `schema`, version by version; this is what the newest one looks like.
"""

from collections import defaultdict
from typing import Final, TypeAlias

from offset_engine.core.values import value

Row: TypeAlias = tuple[object, ...]
"""Values of columns: bytes, text, 64-bit integers and None."""


@value
class Table:
    """One table. `is_ordered`: rows are read in the order they were first written, else by key."""

    name: str
    key: tuple[str, ...]
    rest: tuple[str, ...]
    is_ordered: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of a row."""
        return self.key + self.rest


def _table(name: str, key: str, rest: str, *, is_ordered: bool = True) -> Table:
    return Table(name, tuple(key.split()), tuple(rest.split()), is_ordered)


ADDRESS: Final = _table("address", "kind position", "public_key address name", is_ordered=False)
FRIEND: Final = _table(
    "friend",
    "public_key",
    "name is_enabled is_quarantined remote_relays relays_sent reset_tokens lost imported",
)
CHANNEL: Final = _table(
    "channel",
    "friend",
    "kind inconsistency_counter move_token_counter active_local active_remote move_token"
    " last_incoming local_terms remote_terms backwards_first forwarded_first own_first",
)
CURRENCY_CONFIG: Final = _table(
    "currency_config",
    "friend currency",
    "max_debt rate_mul rate_add is_open is_removing",
    is_ordered=False,
)
LEDGER: Final = _table(
    "ledger",
    "friend currency",
    "balance local_pending_debt remote_pending_debt",
    is_ordered=False,
)
PENDING: Final = _table(
    "pending",
    "friend currency direction request_id",
    "request link_kind link since_ms response",
)
QUEUED: Final = _table(
    "queued",
    "friend queue number",
    "currency operation link_kind link",
    is_ordered=False,
)
PAYMENT: Final = _table(
    "payment",
    "payment_id",
    "invoice_id currency total_dest_payment dest_public_key src_plain_lock stage is_withheld"
    " ack_uid signed_commit receipt",
)
PAYMENT_TRANSACTION: Final = _table(
    "payment_transaction", "payment_id request_id", "first_hop request response"
)
INTENT: Final = _table("intent", "intent_id", "stage failure created_ms ended_ms body cycle")
INVOICE: Final = _table(
    "invoice",
    "invoice_id",
    "currency total_dest_payment created_ms expires_ms invoice registered",
)
INVOICE_GROUP: Final = _table(
    "invoice_group", "invoice_id src_hashed_lock", "dest_plain_lock is_sealed"
)
INVOICE_MEMBER: Final = _table(
    "invoice_member",
    "invoice_id src_hashed_lock friend request_id",
    "dest_payment left_fees response",
)
CLOSED_INVOICE: Final = _table("closed_invoice", "invoice_id", "is_paid signed_commit")
PENALTY: Final = _table("penalty", "currency src dest", "points since_ms least", is_ordered=False)

STATE_TABLES: Final = (
    ADDRESS,
    FRIEND,
    CHANNEL,
    CURRENCY_CONFIG,
    LEDGER,
    PENDING,
    QUEUED,
    PAYMENT,
    PAYMENT_TRANSACTION,
    INTENT,
    INVOICE,
    INVOICE_GROUP,
    INVOICE_MEMBER,
    CLOSED_INVOICE,
    PENALTY,
)
HISTORY_TABLES: Final = (
    "closed_invoice",
    "history_payment",
    "history_invoice",
    "history_forward",
    "history_loss",
    "history_reset",
)
"""Tables that grow with every payment (closed invoices up to a bound); budgets count them apart."""


class Changes:
    """What one save does, by name of table: rows to insert or replace, and keys to delete."""

    __slots__ = ("deletes", "upserts")

    def __init__(self) -> None:
        self.upserts: defaultdict[str, list[Row]] = defaultdict(list)
        self.deletes: defaultdict[str, list[Row]] = defaultdict(list)

    def put(self, table: Table, row: Row) -> None:
        """Insert this row or replace the one with its key."""
        self.upserts[table.name].append(row)

    def drop(self, table: Table, key: Row) -> None:
        """Delete the row with this key."""
        self.deletes[table.name].append(key)

    def replace(self, table: Table, old: Row | None, new: Row | None) -> None:
        """Turn one row into another; None = there is none."""
        if new is not None:
            if old != new:
                self.put(table, new)
        elif old is not None:
            self.drop(table, old[: len(table.key)])
