"""How results look: tables and facts for people, values for programs.

On a terminal tables have its width and a bold head; into a pipe or file they are plain, and every line whole.
"""

import io
import shutil
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from offset_engine.client import InvoiceReport, PaymentRecord, PayReport
from offset_engine.files import to_text
from offset_engine.programs.arguments import Json, Output
from offset_engine.programs.control.showing import (
    invoice_values,
    open_invoice_values,
    pay_values,
    time_text,
)
from offset_tui.headless.flags import ID_DIGITS

__all__ = ["invoice_values", "time_text"]

_WHOLE: Final = 100_000
"""Wider than any line: what is piped is never folded."""


def short(identifier: bytes) -> str:
    """The beginning of an id, as tables show it."""
    return identifier.hex()[:ID_DIGITS]


def id_text(identifier: bytes) -> str:
    """An id as files have it, without padding."""
    return urlsafe_b64encode(identifier).decode().rstrip("=")


def id_bytes(text: str) -> bytes:
    """The id that `id_text` wrote."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def table(
    output: Output, head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()
) -> str:
    """Columns side by side; those numbered in `right` are aligned there."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for number, name in enumerate(head):
        made.add_column(Text(name), justify="right" if number in right else "left")
    for row in rows:
        made.add_row(*map(Text, row))
    out = io.StringIO()
    width = shutil.get_terminal_size().columns if output.is_terminal else _WHOLE
    Console(file=out, force_terminal=output.is_terminal, width=width).print(made)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def facts(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Labels and values below each other, empty ones left out."""
    kept = [(label, text) for label, text in rows if text]
    width = max((len(label) for label, _ in kept), default=0) + 2
    return [f"{label:<{width}}{text}" for label, text in kept]


def pay_json(pay: PayReport | PaymentRecord, decimals: int) -> dict[str, Json]:
    """A payment for programs, with the texts that prove it."""
    is_live = isinstance(pay, PayReport)
    started = pay.created_ms if isinstance(pay, PayReport) else pay.started_ms
    commit = pay.commit if isinstance(pay, PayReport) else None
    return {
        **pay_values(pay),
        "id": pay.payment_id.hex(),
        "decimals": decimals,
        "started": time_text(started),
        "live": is_live,
        "safe_to_retry": isinstance(pay, PayReport) and pay.is_safe_to_retry,
        "commit": None if commit is None else to_text(commit),
        "receipt": None if pay.receipt is None else to_text(pay.receipt),
    }


def invoice_json(known: InvoiceReport, decimals: int, held_until_ms: int | None) -> dict[str, Json]:
    """An open invoice for programs, with its text."""
    return {
        **open_invoice_values(known),
        "id": known.invoice.invoice_id.hex(),
        "decimals": decimals,
        "text": to_text(known.invoice),
        "held_until": time_text(held_until_ms),
    }


def credits_or_none(amount: int | None) -> str | None:
    """Credits for programs."""
    return None if amount is None else str(amount)


def merged(*values: Mapping[str, Json]) -> dict[str, Json]:
    """One object of several."""
    return {key: one for part in values for key, one in part.items()}
