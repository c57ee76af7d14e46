"""What a card does by itself because its owner said so once: collect good commits, agree to small fees.

`act` is called with every picture and does each thing once; the node does it, and refuses what is wrong.
Whatever the owner put on hold is left alone. Source: design R20, R25; apps.md S38.
"""

from dataclasses import dataclass, field

from offset_engine.cards.settings import CardSettings
from offset_engine.client import Currency, InvoiceReport, PayReport, PayStage
from offset_engine.errors import OffsetError
from offset_engine.notebook import Notebook
from offset_engine.text import money_text
from offset_tui.session import Session


def is_small_fee(pay: PayReport, settings: CardSettings) -> bool:
    """Whether the owner agreed to a fee of this share of the amount beforehand."""
    allowed = settings.auto_fee_permille
    amount = pay.invoice.total_dest_payment
    return (
        pay.stage is PayStage.FEE_TO_CONFIRM
        and allowed > 0
        and pay.fee * 1_000 <= amount * allowed
        and pay.fee <= pay.max_fee
    )


def is_to_collect(invoice: InvoiceReport, settings: CardSettings, notebook: Notebook) -> bool:
    """Whether a good commit is there and nobody put it on hold."""
    held = {one.invoice_id for one in notebook.holds}
    return (
        settings.auto_collect
        and invoice.registered is not None
        and invoice.invoice.invoice_id.to_text() not in held
    )


@dataclass(slots=True)
class Automatic:
    """Remembers what was tried for one open card, so that nothing is tried twice."""

    session: Session
    _tried: set[tuple[str, int]] = field(default_factory=set)

    async def act(self) -> list[tuple[str, bool]]:
        """Do what is due in the latest picture.

        Returns:
            (sentence, whether it went wrong) of each thing done.
        """
        snapshot, settings = self.session.snapshot, self.session.settings
        allowed = self.session.client.permissions
        fees = [
            pay
            for pay in snapshot.pays
            if allowed.buyer
            and is_small_fee(pay, settings)
            and self._is_new(pay.payment_id.to_text(), pay.fee)
        ]
        collects = [
            invoice
            for invoice in snapshot.invoices
            if allowed.seller
            and is_to_collect(invoice, settings, self.session.notebook)
            and self._is_new(invoice.invoice.invoice_id.to_text(), 0)
        ]
        said = [await self._confirm(pay) for pay in fees]
        return [*said, *[await self._collect(invoice) for invoice in collects]]

    def _is_new(self, name: str, fee: int) -> bool:
        is_new = (name, fee) not in self._tried
        self._tried.add((name, fee))
        return is_new

    async def _confirm(self, pay: PayReport) -> tuple[str, bool]:
        fee = self._money(pay.invoice.currency, pay.fee)
        try:
            await self.session.client.confirm_fee(pay.payment_id, pay.fee)
        except OffsetError as problem:
            return f"the fee of {fee} was not agreed to by itself: {problem}", True
        return f"agreed by itself to a fee of {fee}, as set under Settings", False

    async def _collect(self, invoice: InvoiceReport) -> tuple[str, bool]:
        amount = self._money(invoice.invoice.currency, invoice.invoice.total_dest_payment)
        try:
            await self.session.client.collect(invoice.invoice.invoice_id)
        except OffsetError as problem:
            return f"{amount} could not be collected by itself: {problem}", True
        return f"collected {amount} by itself, as set under Settings", False

    def _money(self, currency: Currency, credits_: int) -> str:
        return money_text(credits_, currency, self.session.decimals(currency))
