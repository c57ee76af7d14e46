"""The fields about one currency that several forms share: its name, the limit, the fee, and decimals if it is new.

Source: apps.md §5 S33; design R8.
"""

from textual.app import ComposeResult
from textual.widgets import Input

from offset_engine.client import Currency, Rate
from offset_engine.introducing import Grant
from offset_engine.text import EntryError, parse_rate, safe
from offset_tui import people
from offset_tui.screens.form import FieldError, FormScreen, field_row
from offset_tui.widgets.inputs import AmountInput, LineInput

_DECIMALS_START = "2"


class CurrencyForm(FormScreen):
    """A form with `currency`, `limit`, perhaps `fee`, and `decimals` while the currency is new here."""

    MAY_SKIP: bool = False
    """Whether the currency may be left empty."""

    def who(self) -> str:
        """Whom the limit is for, in sentences."""
        return "them"

    def offered(self) -> dict[Currency, int]:
        """Decimals the other side states for currencies this card has not used."""
        return {}

    def suggested(self) -> list[Currency]:
        """Currencies to suggest, best first."""
        return self.used_currencies()

    def currency_fields(self, start: str = "", limit: str = "", *, has_fee: bool) -> ComposeResult:
        """The rows, filled in with what is likely."""
        known = self.suggested()
        field = LineInput(start, id="currency", max_length=16, placeholder="like OUSD")
        yield field_row("Currency", field, suggestions=known)
        yield field_row("Decimals", LineInput(_DECIMALS_START, id="decimals", max_length=2))
        yield field_row("You trust them up to", AmountInput(2, limit, id="limit", least=0))
        if has_fee:
            yield field_row("Fee for passing on", LineInput("free", id="fee", max_length=60))

    def changed(self) -> None:
        """The limit in words, the fee on a hundred, and decimals only where they are needed."""
        if not self.query("#currency"):
            return
        currency = self._currency_typed()
        is_new = currency is not None and not self.uses(currency)
        self.show_field("decimals", is_shown=is_new)
        decimals = self._decimals_now(currency)
        field = self.query_one("#limit", AmountInput)
        field.decimals = decimals
        field.placeholder = "0." + "0" * min(decimals, 6) if decimals else "0"
        self.echo("currency", self._currency_words(currency, is_new=is_new))
        if is_new:
            self.echo("decimals", "new here: digits after the point, fixed from now on")
        self.echo("limit", self._limit_words(currency, decimals))
        if self.query("#fee"):
            self.echo("fee", self._fee_words(currency, decimals))

    def _currency_typed(self) -> Currency | None:
        try:
            return self.currency()
        except FieldError:
            return None

    def _decimals_now(self, currency: Currency | None) -> int:
        if currency is None:
            return 2
        try:
            return self.decimals(currency)
        except FieldError:
            return 0

    def _currency_words(self, currency: Currency | None, *, is_new: bool) -> str:
        if currency is None:
            known = ", ".join(self.suggested()[:6])
            skip = "may stay empty: it can be added later" if self.MAY_SKIP else ""
            return skip + (" · " if skip and known else "") + (f"used: {known}" if known else "")
        look_alike = [
            one for one in self.suggested() if one.lower() == currency.lower() and one != currency
        ]
        if look_alike:
            return f"this is not {look_alike[0]}: capitals matter"
        return "" if is_new else f"{self.session.decimals(currency)} digits after the point"

    def _limit_words(self, currency: Currency | None, decimals: int) -> str:
        field = self.query_one("#limit", AmountInput)
        if currency is None or not field.value.strip():
            return self._loss()
        try:
            limit = field.credits()
        except EntryError:
            return ""
        if not limit:
            return people.trust_words(self.who(), 0, currency, decimals)
        return f"= {people.money(limit, currency, decimals)}: {self._loss()}"

    def _loss(self) -> str:
        return people.loss_words(self.who())

    def _fee_words(self, currency: Currency | None, decimals: int) -> str:
        if currency is None:
            return ""
        try:
            return people.fee_preview(self.rate(currency), currency, decimals)
        except FieldError:
            return ""

    # --- reading --------------------------------------------------------------------------------

    def rate(self, currency: Currency) -> Rate:
        """The fee.

        Raises:
            FieldError: it cannot be read.
        """
        if not self.query("#fee"):
            return Rate()
        try:
            return parse_rate(self.query_one("#fee", Input).value, self._decimals_now(currency))
        except EntryError as problem:
            raise FieldError("fee", safe(str(problem), 300)) from None

    def grant(self) -> tuple[Grant, int] | None:
        """The limit and the decimals it is meant in; None if the currency was left empty.

        Raises:
            FieldError: a field cannot be read.
        """
        if self.MAY_SKIP and not self.text("currency"):
            return None
        currency = self.currency()
        decimals = self.decimals(currency)
        return Grant(currency, self.amount("limit"), self.rate(currency)), decimals
