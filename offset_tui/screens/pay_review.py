"""What an invoice asks for, before anything is paid: to whom, how much, what it costs, what is odd about it.

`P` pays, nothing else; it works only when the screen has been there for a moment and everything was checked.

Source: apps.md §5 S4; tui.md §9; design R8, R48.
"""

import contextlib
from dataclasses import replace
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Button

from offset_engine.client import CREDITS_MAX, HistoryKind, Invoice, PaymentId, Record
from offset_engine.errors import OffsetError
from offset_engine.files import verify_invoice
from offset_engine.text import (
    EntryError,
    cells,
    format_amount,
    money_text,
    parse_amount,
    safe,
)
from offset_tui import inquiry, money_words, reviews, route_words, sale_words
from offset_tui.dialogs.base import Ask, Confirm, TypeToConfirm
from offset_tui.dialogs.decimals import fix_decimals
from offset_tui.dialogs.paying_card import choose_paying_card
from offset_tui.keymap import pick
from offset_tui.money_words import Caution, Payer, Weight
from offset_tui.screens.money import MoneyScreen
from offset_tui.session import Snapshot
from offset_tui.way_words import expected_way

_AGAIN = "again"
_SIGNS = {Weight.STOP: "!", Weight.TYPED: "!", Weight.WARN: "!", Weight.NOTE: "-"}
_STYLES = {
    Weight.STOP: "bold red",
    Weight.TYPED: "bold red",
    Weight.WARN: "bold yellow",
    Weight.NOTE: "",
}


@reviews.reviews(Invoice)
class PayReviewScreen(MoneyScreen):
    """See the module."""

    SECTION = "pay"
    AUTO_FOCUS = "#back"
    PARTS = ("title", "cautions", "facts", "learns")
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("money.pay", "money.fee", "money.earlier", "money.card")
    ]

    def __init__(self, invoice: Invoice) -> None:
        super().__init__()
        self.invoice = invoice
        self._vouched = verify_invoice(invoice)
        self._max_fee: int | None = None
        self._past: list[Record] | None = None
        self._trouble = ""
        self._is_paying = False
        self._started: PaymentId | None = None
        self._other_cards = 0
        self._answers: inquiry.Answers | None = None

    def body(self) -> ComposeResult:
        """The parts, and two answers of which only Back can have the focus."""
        yield from super().body()
        with Vertical(id="money-answers"):
            pay = Button("", id="pay", compact=True)
            pay.can_focus = False
            yield pay
            yield Button("Back (q)", id="back", compact=True)

    def on_mount(self) -> None:
        """Look whether it was paid before."""
        self._read_past()
        self._ask_ways()

    @work(exclusive=True, group="past")
    async def _read_past(self) -> None:
        try:
            self._past = await self.past(HistoryKind.PAYMENTS, 3)
        except OffsetError as problem:
            self._past = []
            self._trouble = f"whether it was paid before cannot be seen: {problem}"
        with contextlib.suppress(OffsetError):  # then only this card is known
            self._other_cards = len(await self.host.door.cards()) - 1
        self.refresh_view()

    @work(exclusive=True, group="ways")
    async def _ask_ways(self) -> None:
        """What can be paid now, unless that is plain or it cannot be paid at all."""
        wanted = self._wanted()
        if self._stop() or not wanted.lines or inquiry.is_straight(wanted, self.invoice):
            return
        # Without an answer P finds out as well.
        with contextlib.suppress(OffsetError):
            self._answers = await inquiry.ask(self.session.client, self.invoice)
        self.refresh_view()

    def _wanted(self) -> route_words.Asked:
        invoice, report = self.invoice, self.session.snapshot.report
        what = (invoice.total_dest_payment, invoice.currency, self._digits)
        return route_words.asked(report, self.session.roster.lines, what, invoice.dest_public_key)

    def _advice(self) -> str:
        """What stands in the way as far as the index server knows, and what would help."""
        if self._answers is None:
            return ""
        return inquiry.advice(self._answers, self._wanted(), self.max_fee)

    # --- what is shown --------------------------------------------------------------------------

    @property
    def _digits(self) -> int:
        return self.decimals(self.invoice.currency)

    @property
    def max_fee(self) -> int:
        """The most that is paid on top."""
        if self._max_fee is not None:
            return self._max_fee
        permille = self.session.settings.auto_fee_permille
        return money_words.highest_fee(self.invoice.total_dest_payment, self._digits, permille)

    def _payer(self) -> Payer:
        snapshot = self.session.snapshot
        lines = self.session.roster.lines
        means = sale_words.payable(lines, self.invoice.currency)
        return Payer(snapshot.report.local_public_key, self._digits, *means)

    def cautions(self) -> tuple[Caution, ...]:
        """Everything odd about it."""
        snapshot = self.session.snapshot
        known = money_words.tries(snapshot.pays, self._past or ())
        repeat = money_words.repeats(self.invoice, known, self.now_ms)
        payer, advice = self._payer(), self._advice()
        if advice:
            # It says the same and more.
            payer = replace(payer, is_all_told=False)
        found = money_words.cautions(self.invoice, payer, self._vouched, repeat, self.now_ms)
        if advice:
            found = (*found, Caution(Weight.WARN, advice))
        return (*found, Caution(Weight.WARN, self._trouble)) if self._trouble else found

    def _asked(self) -> object:
        """What an answer is about; a word that only says how long ago is not part of it."""
        odd = [(one.weight, one.payment_id) for one in self.cautions()]
        return self.invoice.total_dest_payment, self._digits, self.max_fee, odd

    def _stop(self) -> Caution | None:
        return next((one for one in self.cautions() if one.weight is Weight.STOP), None)

    def show(self, snapshot: Snapshot) -> None:
        """Draw."""
        cautions = self.cautions()
        is_stopped = any(one.weight is Weight.STOP for one in cautions)
        self.put("title", self.head("Pay an invoice"))
        self.put("facts", self.facts(self._rows(snapshot)))
        self.put(
            "cautions",
            self.bullets((_SIGNS[one.weight], one.words, _STYLES[one.weight]) for one in cautions),
        )
        self.put("learns", Text(money_words.WHO_LEARNS, "dim"))
        self._label(snapshot, is_stopped=is_stopped)
        is_ready = self._past is not None and not is_stopped
        self.arming.about(self._asked() if is_ready else None)

    def _label(self, snapshot: Snapshot, *, is_stopped: bool) -> None:
        button = self.query_one("#pay", Button)
        name = money_words.called(snapshot.report, self.invoice.dest_public_key)
        label = f"Pay {self._amount()} to {name} (P)"
        if cells(label) > self.app.size.width - 6:
            label = f"Pay the amount above to {name} (P)"
        button.label = Text("This cannot be paid" if is_stopped else label)
        button.disabled = is_stopped
        button.variant = "default" if is_stopped else "primary"

    def _amount(self) -> str:
        return money_text(
            self.invoice.total_dest_payment,
            self.invoice.currency,
            self._digits,
            ascii_only=self.is_ascii,
        )

    def _rows(self, snapshot: Snapshot) -> list[tuple[str, Text | str]]:
        invoice, digits = self.invoice, self._digits
        payer = self._payer()
        permille = self.session.settings.auto_fee_permille
        free = money_words.agreed_fee(invoice.total_dest_payment, permille)
        asked = (
            f"up to {format_amount(free, digits)} without asking" if free else "you are asked first"
        )
        most = money_text(self.max_fee, invoice.currency, digits)
        card = safe(self.session.name, 30)
        if payer.can_pay is not None:
            card += f", can pay about {money_text(payer.can_pay, invoice.currency, digits)}"
        if self._other_cards:
            card += " (K: another card)"
        return [
            ("To", money_words.who(snapshot.report, invoice.dest_public_key)),
            ("Amount", Text(self._amount(), "bold")),
            ("Fee", f"{asked}; never above {most} (f changes it)"),
            ("Way", self._way(snapshot)),
            *self._most(),
            ("For", safe(invoice.description, 600) or "the seller does not say"),
            ("Expires", money_words.expiry_words(invoice, self.now_ms)),
            ("Invoice", self._vouched.value),
            ("From", card),
        ]

    def _most(self) -> list[tuple[str, Text | str]]:
        if self._answers is None:
            return []
        return [("At most", inquiry.most_line(self._answers, self._wanted()))]

    def _way(self, snapshot: Snapshot) -> str:
        found = inquiry.way_lines(self._answers, self._wanted()) if self._answers else ""
        if found:
            return found
        lines = self.session.roster.lines
        return expected_way(lines, snapshot.report, self.invoice)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What can be done."""
        if not self.is_mounted or not self.host.has_session:
            return True
        if action == "pay":
            return self._stop() is None
        if action == "earlier":
            return any(one.payment_id is not None for one in self.cautions())
        return True

    # --- keys -----------------------------------------------------------------------------------

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Back, or a click on the button that pays."""
        if event.button.id == "back":
            self.action_back()
        else:
            self.action_pay()

    def action_back(self) -> None:
        """Not while it is being started: the answer would be lost."""
        if not self._is_paying:
            super().action_back()

    def action_earlier(self) -> None:
        """The earlier payment."""
        found = next((one.payment_id for one in self.cautions() if one.payment_id), None)
        if found is not None:
            from offset_tui.screens.payment import PaymentScreen  # noqa: PLC0415 - it opens us

            self.app.push_screen(PaymentScreen(found))

    @work(exclusive=True, group="fee")
    async def action_fee(self) -> None:
        """Another highest fee."""
        most = CREDITS_MAX - self.invoice.total_dest_payment
        question = "The most you pay on top, for all friends on the way together:"
        typed: str | None = format_amount(self.max_fee, self._digits, group="")
        while True:
            typed = await self.app.push_screen_wait(Ask("Highest fee", question, typed or ""))
            if typed is None:
                return
            try:
                self._max_fee = parse_amount(typed, self._digits, least=0, most=most)
            except EntryError as problem:
                question = f"{str(problem)[:1].upper()}{str(problem)[1:]}."
                continue
            self.refresh_view()
            return

    def action_card(self) -> None:
        """Another card, and this review again on it."""
        if not self._is_paying:
            # Not a worker of this screen, which is put away when another card is shown.
            self.host.run_worker(self._on_other_card(), group="start", exclusive=True)

    async def _on_other_card(self) -> None:
        host, invoice = self.host, self.invoice
        name = await choose_paying_card(host, invoice)
        if name is not None and await host.open_card(name):
            host.action_section("pay")
            await host.push_screen(PayReviewScreen(invoice))

    def action_pay(self) -> None:
        """Pay, once everything was checked and shown for a moment."""
        stop = self._stop()
        if stop is not None:
            self.flash(stop.words, is_error=True)
        elif self.arming.is_armed and not self._is_paying and self.may_change():
            self._is_paying = True
            self._pay()

    @work(group="pay")
    async def _pay(self) -> None:
        try:
            asked = self._asked()
            if not await self.is_pressed_alone("not paid: P"):
                return
            if not await self._agrees() or not self._is_still(asked):
                return
            permille = self.session.settings.auto_fee_permille
            asked_above = money_words.agreed_fee(self.invoice.total_dest_payment, permille)
            started, payment_id = await self.do(
                self.session.client.pay(self.invoice, self.max_fee, confirm_above=asked_above)
            )
        finally:
            self._is_paying = False
        if started and payment_id is not None:
            self._started = payment_id
            self._follow()

    def _is_still(self, asked: object) -> bool:
        """Whether what was agreed to is what would be paid; says so if not."""
        stop = self._stop()
        if stop is not None:
            self.flash(f"not paid: {stop.words}", is_error=True)
        elif self._asked() != asked:
            self.flash(
                "not paid: what is asked has changed; look at it once more, then press P",
                is_error=True,
            )
        else:
            return True
        self.refresh_view()
        return False

    async def _agrees(self) -> bool:
        """What has to be asked first: decimals of a new currency, two readings, a second payment."""
        invoice = self.invoice
        amount = invoice.total_dest_payment
        if not await fix_decimals(self, invoice.currency, invoice.decimals, amount):
            return False
        self.refresh_view()
        both = money_words.readings(invoice, self._digits)
        if both:
            question = f"{both[:1].upper()}{both[1:]}.\n\nIs this what was agreed?"
            asked = Confirm("Two readings", question, f"Pay {self._amount()}", "P")
            if not await self.app.push_screen_wait(asked):
                return False
        typed = next((one for one in self.cautions() if one.weight is Weight.TYPED), None)
        if typed is None:
            return True
        again = TypeToConfirm("Pay a second time?", typed.words, _AGAIN, "Pay again")
        is_agreed: bool | None = await self.app.push_screen_wait(again)
        return bool(is_agreed)

    def on_screen_resume(self) -> None:
        """It may have been started while another screen was shown."""
        self._follow()

    def _follow(self) -> None:
        """Go to the payment that was started."""
        if self._started is None or self.app.screen is not self:
            return
        from offset_tui.screens.payment import PaymentScreen  # noqa: PLC0415 - it opens us

        payment_id, self._started = self._started, None
        self.app.switch_screen(PaymentScreen(payment_id, is_new=True))
