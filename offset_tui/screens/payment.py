"""One payment as it goes: timeline, fee, commit, receipt, and whether it is safe to pay again.

The node drives it; whatever happens to this screen, the payment goes on.

Source: apps.md §5 S7 to S12; tui.md §9; design R20, R21.
"""

from collections.abc import Iterator
from typing import ClassVar, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Button

from offset_engine.client import PaymentId, PayReport, PayStage
from offset_engine.files import PREFIX_SENTENCES, verify_commit
from offset_engine.text import iso_local, money_text, name_and_key, relative, safe
from offset_tui import money_words, proof_words, rebalance_words, route_words
from offset_tui.dialogs.base import Confirm, Notice
from offset_tui.dialogs.hand_over import HandOverScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.keymap import pick
from offset_tui.money_words import UNDER_WAY, Mark
from offset_tui.screens.money import MoneyScreen
from offset_tui.session import Snapshot
from offset_tui.way_words import way_words
from offset_tui.widgets.facts import mark, plain

TICK_S: Final = 1.0
SLOW_TICK_S: Final = 5.0
_STYLES: Final = {
    Mark.DONE: "",
    Mark.NOW: "bold yellow",
    Mark.TODO: "dim",
    Mark.FAILED: "bold red",
}
_NAME_CELLS: Final = 12
_OF_SELLERS: Final = ("retry", "share", "qr", "handed", "verify", "bundle")
"""What makes sense only where there is a seller."""


class PaymentScreen(MoneyScreen):
    """See the module."""

    SECTION = "pay"
    PARTS = ("title", "facts", "steps", "safety", "help")
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick(
            "money.pay",
            "money.share",
            "money.handed",
            "money.qr",
            "money.verify",
            "money.retry",
            "money.cancel",
            "money.note",
            "money.bundle",
        )
    ]

    def __init__(self, payment_id: PaymentId, *, is_new: bool = False) -> None:
        """Show a payment.

        Args:
            payment_id: which.
            is_new: it was started just now: its commit is shown as soon as it exists.
        """
        super().__init__()
        self.payment_id = payment_id
        self.pay: PayReport | None = None
        self._is_gone = False
        self._shows_commit = is_new
        self._hand_over: HandOverScreen | None = None
        self._is_busy = False
        self._agreed_fee: int | None = None
        """The fee that was agreed to; the same one is not asked about again."""

    def body(self) -> ComposeResult:
        """The parts; an answer only while a fee is asked for."""
        yield from super().body()
        with Vertical(id="money-answers"):
            pay = Button("", id="pay", compact=True, variant="primary")
            pay.can_focus = False
            yield pay

    def on_mount(self) -> None:
        """Count seconds while something goes on."""
        is_slow = self.host.options.is_low_bandwidth
        self.set_interval(SLOW_TICK_S if is_slow else TICK_S, self._tick)

    def _tick(self) -> None:
        if self.pay is not None and self.pay.stage in UNDER_WAY and self.app.screen is self:
            self.refresh_view()

    # --- what is shown --------------------------------------------------------------------------

    @property
    def _reference(self) -> str:
        return self.payment_id.to_text()

    @property
    def is_handed(self) -> bool:
        """The owner said that the seller has the commit."""
        return self._reference in self.session.notebook.handed

    def show(self, snapshot: Snapshot) -> None:
        """Draw, from the live list or else from history."""
        live = next((one for one in snapshot.pays if one.payment_id == self.payment_id), None)
        if live is not None:
            self.pay = live
        elif self.pay is None or self.pay.ended_ms is None:
            self._look()
        self._draw(snapshot)
        self._show_commit()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        is_told, found = await self.do(self.session.client.pay_report(self.payment_id))
        if is_told:
            self.pay, self._is_gone = found or self.pay, found is None
            self.redraw(lambda: self._draw(self.session.snapshot))
            self.refresh_bindings()
            if self.host.has_session:
                self._show_commit()

    def _draw(self, snapshot: Snapshot) -> None:
        pay = self.pay
        answers = self.query_one("#money-answers")
        answers.display = False
        if pay is None:
            words = "this card knows no such payment" if self._is_gone else "looking"
            self.put("title", Text(words))
            for part in ("facts", "steps", "safety", "help"):
                self.put(part, None)
            return
        self.put("title", self._head(pay, snapshot))
        self.put("facts", self.facts(self._rows(pay, snapshot)))
        self.put("steps", self._steps(pay))
        is_safe = money_words.is_retry_safe(pay)
        is_own = self._is_own(pay)
        words = rebalance_words.outcome_words(pay) if is_own else money_words.safety_sentence(pay)
        self.put("safety", Text(words, "bold green" if is_safe else "bold"))
        self.put("help", Text(plain(self._help(pay, snapshot), is_ascii=self.is_ascii)))
        is_asking = pay.stage is PayStage.FEE_TO_CONFIRM and pay.fee != self._agreed_fee
        self.arming.about((pay.stage, pay.fee) if is_asking else None)
        if is_asking:
            total = self._money(pay, pay.invoice.total_dest_payment + pay.fee)
            self.query_one("#pay", Button).label = Text(f"Agree and pay {total} (P)")
            answers.display = True

    def _is_own(self, pay: PayReport | None) -> bool:
        """Whether it only moves credit from one friend of ours to another: a rebalancing."""
        return pay is not None and pay.invoice.dest_public_key == self.session.public_key

    def _help(self, pay: PayReport, snapshot: Snapshot) -> str:
        if self._is_own(pay):
            return rebalance_words.help_words(pay)
        invoice = pay.invoice
        what = (invoice.total_dest_payment, invoice.currency, self.decimals(invoice.currency))
        wanted = route_words.asked(
            snapshot.report, self.session.roster.lines, what, invoice.dest_public_key
        )
        said = route_words.failure_words(pay.failure, wanted)
        return f"{said[:1].upper()}{said[1:]}." if said else money_words.help_sentence(pay)

    def _money(self, pay: PayReport, amount: int) -> str:
        currency = pay.invoice.currency
        return money_text(amount, currency, self.decimals(currency), ascii_only=self.is_ascii)

    def _head(self, pay: PayReport, snapshot: Snapshot) -> Text:
        key = pay.invoice.dest_public_key
        if self._is_own(pay):
            return Text(
                rebalance_words.head(pay, self._money(pay, pay.invoice.total_dest_payment)), "bold"
            )
        name = proof_words.seller_name(snapshot.report, key)
        is_open_question = pay.stage is PayStage.FAILED and not pay.is_safe_to_retry
        failed = "Nobody knows whether paid:" if is_open_question else "Not paid:"
        verb = {PayStage.PAID: "Paid", PayStage.FAILED: failed}.get(pay.stage, "Paying")
        amount = self._money(pay, pay.invoice.total_dest_payment)
        words = f"{verb} {amount} to {name_and_key(name, key, 30)}"
        return Text(plain(words, is_ascii=self.is_ascii), "bold")

    def _rows(self, pay: PayReport, snapshot: Snapshot) -> Iterator[tuple[str, Text | str]]:
        invoice = pay.invoice
        digits = self.decimals(invoice.currency)
        is_fee_known = pay.stage is not PayStage.SEARCHING and pay.stage is not PayStage.FAILED
        if is_fee_known:
            yield "Fee", money_words.fee_words(pay.fee, invoice, digits)
            if not self._is_own(pay):
                total = self._money(pay, invoice.total_dest_payment + pay.fee)
                yield "Total", Text(total, "bold")
        elif pay.stage is PayStage.SEARCHING:
            yield "Fee", f"at most {money_words.fee_words(pay.max_fee, invoice, digits)}"
        ways = way_words(pay, snapshot.report, digits)
        if ways:
            yield "Way", "\n".join(ways)
        if invoice.description:
            yield "For", safe(invoice.description, 600)
        if pay.ended_ms is None:
            yield "Started", relative(self.now_ms, pay.created_ms)
        else:
            yield "Started", iso_local(pay.created_ms)
            yield "Ended", iso_local(pay.ended_ms)
        note = self.note_words(self._reference)
        if note:
            yield "Note", note

    def _steps(self, pay: PayReport) -> RenderableType:
        digits = self.decimals(pay.invoice.currency)
        if self._is_own(pay):
            steps = rebalance_words.timeline(pay, digits, self.now_ms)
        else:
            steps = money_words.timeline(pay, digits, self.now_ms, is_handed=self.is_handed)
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(width=_NAME_CELLS, no_wrap=True)
        table.add_column(overflow="fold", ratio=1)
        for step in steps:
            style = _STYLES[step.mark]
            sign = mark(step.mark.value, is_ascii=self.is_ascii)
            words = plain(step.words, is_ascii=self.is_ascii)
            table.add_row(Text(sign, style), Text(step.name, style), Text(words, style))
        return table

    # --- which keys -----------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense now."""
        pay = self.pay
        if self._is_own(pay) and action in _OF_SELLERS:
            return False
        known = {
            "pay": pay is not None and pay.stage is PayStage.FEE_TO_CONFIRM,
            "give_up": pay is not None and pay.stage in UNDER_WAY,
            "retry": pay is not None and money_words.is_retry_safe(pay),
            "share": pay is not None and (pay.commit or pay.receipt) is not None,
            "qr": pay is not None and (pay.commit or pay.receipt) is not None,
            "handed": pay is not None and pay.stage is PayStage.COMMITTED and not self.is_handed,
            "verify": pay is not None and (pay.commit or pay.receipt) is not None,
            "bundle": pay is not None and pay.receipt is not None,
            "note": pay is not None,
        }
        return known.get(action, True)

    # --- fee, end, again ------------------------------------------------------------------------

    def on_button_pressed(self) -> None:
        """A click agrees like the key."""
        self.action_pay()

    def action_pay(self) -> None:
        """Agree to the fee shown."""
        if self.arming.is_armed and not self._is_busy and self.may_change():
            self._is_busy = True
            self._confirm_fee()

    @work(group="pay")
    async def _confirm_fee(self) -> None:
        if self.pay is None:
            self._is_busy = False
            return
        fee = self.pay.fee
        try:
            if not await self.is_pressed_alone("not agreed to: P"):
                return
            client = self.session.client
            agreeing = client.confirm_fee(self.payment_id, fee)
            is_done, _ = await self.do(agreeing, "agreed to the fee")
        finally:
            self._is_busy = False
        if is_done:
            self._agreed_fee = fee
            self.refresh_view()

    @work(exclusive=True, group="give up")
    async def action_give_up(self) -> None:
        """Ask, then cancel."""
        if not self.may_change():
            return
        words = (
            "Nothing was paid yet. What is reserved on the way comes back by itself, which may take"
            " a moment."
        )
        if await self.app.push_screen_wait(Confirm("Give up this payment?", words, "Give up", "x")):
            await self.do(self.session.client.cancel(self.payment_id), "given up")

    def action_retry(self) -> None:
        """The same invoice once more, from its review on."""
        from offset_tui.screens.pay_review import PayReviewScreen  # noqa: PLC0415 - it opens us

        if self.pay is not None and money_words.is_retry_safe(self.pay):
            self.app.switch_screen(PayReviewScreen(self.pay.invoice))

    # --- commit and receipt ---------------------------------------------------------------------

    def _show_commit(self) -> None:
        pay = self.pay
        if pay is None or self._is_own(pay):
            return
        if pay.stage is PayStage.PAID and self._hand_over is not None:
            self._hand_over.say_collected()
        is_due = pay.stage is PayStage.COMMITTED and not self.is_handed
        if self._shows_commit and is_due and self.app.screen is self:
            self._shows_commit = False
            self.action_share()

    def _caption(self, pay: PayReport, what: str) -> str:
        called = money_words.called(self.session.snapshot.report, pay.invoice.dest_public_key)
        return f"{what}: {self._money(pay, pay.invoice.total_dest_payment)} to {called}"

    def action_share(self) -> None:
        """The receipt if there is one, else the commit."""
        pay = self.pay
        if pay is None:
            return
        if pay.receipt is not None:
            after = (
                "It proves that the seller collected. Whoever checks it needs the invoice too: E on"
                " the payment writes receipt, invoice and a page to read."
            )
            self.app.push_screen(ShareScreen(pay.receipt, self._caption(pay, "Receipt"), after))
        elif pay.commit is not None:
            caption = self._caption(pay, "Commit")
            self._hand_over = HandOverScreen(pay.commit, caption, self.action_handed)
            self.app.push_screen(self._hand_over, self._shared)

    def _shared(self, given_to: str | None) -> None:
        self._hand_over = None
        if given_to:
            self.action_handed()

    def action_qr(self) -> None:
        """The same as a QR code."""
        from offset_tui.dialogs.qr import QrScreen  # noqa: PLC0415 - drawn only when asked for

        pay = self.pay
        shown = None if pay is None else pay.receipt or pay.commit
        if pay is not None and shown is not None:
            what = "Receipt" if pay.receipt is not None else "Commit"
            self.app.push_screen(QrScreen(shown, caption=self._caption(pay, what)))

    def action_handed(self) -> None:
        """The seller has the commit."""
        self._keep_handed()

    @work(exclusive=True, group="notebook")
    async def _keep_handed(self) -> None:
        book = self.session.notebook.with_handed(self._reference)
        await self.do(self.session.save_notebook(book), "noted: handed over")
        self.host.show_everywhere()

    def action_verify(self) -> None:
        """Check once more what the node has checked already."""
        pay = self.pay
        if pay is None:
            return
        if pay.receipt is not None:
            proof = proof_words.judge_receipt(pay.receipt, pay.invoice)
            self.app.push_screen(Notice("Receipt", f"{proof.title}.\n\n{proof.because}"))
        elif pay.commit is not None:
            verdict = verify_commit(pay.invoice, pay.commit)
            if verdict.failed is not None:
                words = f"Not good: {verdict.failed.value}."
            else:
                how = PREFIX_SENTENCES.get(verdict.prefix or "", "")
                words = f"Good: the seller's node has the whole amount reserved.\n\nIt is {how}."
            self.app.push_screen(Notice("Commit", words))

    @work(exclusive=True, group="note")
    async def action_note(self) -> None:
        """A private note."""
        await self.ask_note(self._reference)

    @work(exclusive=True, group="bundle")
    async def action_bundle(self) -> None:
        """Receipt, invoice and a page."""
        pay = self.pay
        if pay is None or pay.receipt is None:
            return
        report = self.session.snapshot.report
        paid = proof_words.Paid(
            pay.invoice,
            pay.receipt,
            self.decimals(pay.invoice.currency),
            pay.fee,
            pay.ended_ms,
            proof_words.seller_name(report, pay.invoice.dest_public_key),
        )
        about = pay.invoice.description
        await self.ask_bundle((pay.receipt, pay.invoice), about, proof_words.page(paid))
