"""What needs the owner now, most urgent first: the list on Home, the count in the status line, and `ctrl+g`.

Source: apps.md §5 S2; tui.md §4.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from offset_engine.client import InvoiceReport, PayReport, PayStage, PublicKey
from offset_engine.files import kind_of_content
from offset_engine.text import money_text, relative, safe
from offset_tui.session import Session

if TYPE_CHECKING:  # the commands without a screen say the same, and paint nothing
    from textual.screen import Screen


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that waits for the owner."""

    key: str
    """Names it: payment, invoice or friend."""
    words: str
    """One line."""
    screen: "Callable[[], Screen[None] | None]"
    """Where it is dealt with."""


def of(session: Session) -> tuple[Need, ...]:
    """Everything that waits, most urgent first."""
    return (
        *_fees(session),
        *_commits(session),
        *_collects(session),
        *_friends(session),
        *_arrived(session),
    )


def _amount(session: Session, pay: PayReport) -> str:
    currency = pay.invoice.currency
    return money_text(pay.invoice.total_dest_payment, currency, session.decimals(currency))


def _fees(session: Session) -> list[Need]:
    return [
        Need(
            one.payment_id.to_text(),
            f"confirm the fee to pay {_amount(session, one)}",
            _payment(one),
        )
        for one in session.snapshot.pays
        if one.stage is PayStage.FEE_TO_CONFIRM
    ]


def _commits(session: Session) -> list[Need]:
    handed = set(session.notebook.handed)
    return [
        Need(
            one.payment_id.to_text(),
            f"hand over the commit for {_amount(session, one)}",
            _payment(one),
        )
        for one in session.snapshot.pays
        if one.stage is PayStage.COMMITTED
        and one.payment_id.to_text() not in handed
        # A rebalancing is collected by the node itself.
        and one.invoice.dest_public_key != session.public_key
    ]


def _collects(session: Session) -> list[Need]:
    holds = {one.invoice_id: one.until_ms for one in session.notebook.holds}
    found: list[Need] = []
    for one in session.snapshot.invoices:
        if one.registered is None:
            continue
        until = holds.get(one.invoice.invoice_id.to_text())
        now = session.snapshot.now_ms
        if until is not None and until > now:
            continue
        currency = one.invoice.currency
        amount = money_text(one.invoice.total_dest_payment, currency, session.decimals(currency))
        late = f", held until {relative(now, until)}" if until is not None else ""
        found.append(
            Need(
                one.invoice.invoice_id.to_text(), f"collect or refund {amount}{late}", _invoice(one)
            )
        )
    return found


def _friends(session: Session) -> list[Need]:
    found: list[Need] = []
    for one in session.snapshot.report.friends:
        if one.is_consistent and not one.is_unreadable:
            continue
        name = safe(one.name, 24)
        if not one.is_consistent:
            found.append(
                Need(
                    one.public_key.to_text(), f"{name}: balances disagree", _friend(one.public_key)
                )
            )
        else:
            found.append(
                Need(
                    one.public_key.to_text(),
                    f"cannot read what {name} sends",
                    _friend(one.public_key),
                )
            )
    return found


def _arrived(session: Session) -> list[Need]:
    return [
        Need(
            f"file {name}",
            f"look at {safe(name, 30)} from the inbox ({kind_of_content(one.content).value})",
            _file(session, name),
        )
        for name, one in session.arrived.items()
    ]


def _file(session: Session, name: str) -> "Callable[[], Screen[None] | None]":
    def make() -> "Screen[None] | None":
        from offset_tui import reviews  # noqa: PLC0415 - screens know needs

        found = session.arrived.pop(name, None)
        return None if found is None else reviews.screen_for(found.content)

    return make


def _payment(pay: PayReport) -> "Callable[[], Screen[None]]":
    def make() -> "Screen[None]":
        from offset_tui.screens.payment import PaymentScreen  # noqa: PLC0415 - screens know needs

        screen: Screen[None] = PaymentScreen(pay.payment_id)
        return screen

    return make


def _invoice(invoice: InvoiceReport) -> "Callable[[], Screen[None]]":
    def make() -> "Screen[None]":
        from offset_tui.screens.invoice import InvoiceScreen  # noqa: PLC0415 - screens know needs

        screen: Screen[None] = InvoiceScreen(invoice.invoice.invoice_id)
        return screen

    return make


def _friend(key: PublicKey) -> "Callable[[], Screen[None]]":
    def make() -> "Screen[None]":
        from offset_tui.screens.friend import FriendScreen  # noqa: PLC0415 - screens know needs

        screen: Screen[None] = FriendScreen(key)
        return screen

    return make
