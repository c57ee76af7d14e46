"""What happened in a simulated network, as lines a person can read."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from offset_engine.core.events import MessageArrived
from offset_engine.core.messages import InconsistencyMessage, MoveTokenMessage

Happening: TypeAlias = tuple[int, str, tuple[object, ...]]
"""When (virtual ms), what kind, details."""


def trace_lines(trace: Iterable[Happening], names: Mapping[str, str]) -> list[str]:
    """A line for each happening; `names` are short forms of long texts, such as keys."""
    lines = []
    for at_ms, what, details in trace:
        text = " ".join(_short(detail) for detail in details)
        for long, short in names.items():
            text = text.replace(long, short)
        lines.append(f"{at_ms:>8} {what:<8} {text}")
    return lines


def _short(detail: object) -> str:
    """One detail of a trace line, without long bytes."""
    if isinstance(detail, tuple):
        return "[" + "; ".join(_short(item) for item in detail) + "]"
    if isinstance(detail, MessageArrived):
        return f"{detail.friend!r}.{detail.link_id} says {_short(detail.message)}"
    if isinstance(detail, MoveTokenMessage):
        token = detail.move_token
        batches = [
            f"{batch.currency}:"
            + ",".join(f"{type(op).__name__[:-2]}({op.request_id!r})" for op in batch.operations)
            for batch in token.currencies_operations
        ]
        wanted = " wanted" if detail.token_wanted else ""
        extra = f" relays={token.local_relays!r}" if token.local_relays is not None else ""
        extra += f" lists={token.active_currencies}" if token.active_currencies is not None else ""
        return f"Token({token.old_token!r}->{token.new_token!r} {' '.join(batches)}{extra}{wanted})"
    if isinstance(detail, InconsistencyMessage):
        return f"Terms({detail.terms!r})"
    if isinstance(detail, bytes) and type(detail) is bytes:
        return f"{len(detail)} bytes"
    text = repr(detail)
    return text if len(text) < 600 else text[:600] + "…"
