"""A commit somebody sent: is the payment good? If it is, Enter collects, `h` holds, `x` gives back.

Source: apps.md §5 S17, S18, S20; design R48.
"""

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.binding import BindingType

from offset_engine.client import Commit, InvoiceReport
from offset_engine.text import format_amount, iso_local, safe
from offset_tui import reviews, sale_words
from offset_tui.keymap import pick
from offset_tui.sale_words import CommitVerdict, Finding
from offset_tui.screens.selling import NOT_COLLECTED, SellingScreen
from offset_tui.session import Snapshot

_WHOLE = 0
"""A commit states no decimals: of an unknown invoice only credits can be shown."""


@reviews.reviews(Commit)
class CommitScreen(SellingScreen):
    """See the module."""

    PARTS = ("title", "verdict", "facts", "next")
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick("money.collect", "money.hold", "money.refund", "money.note")
    ]

    def __init__(self, commit: Commit) -> None:
        super().__init__()
        self.commit = commit
        self.found: CommitVerdict | None = None
        self._is_collected = False
        self._is_busy = False
        self._was_asked_to_collect = False

    # --- what is shown --------------------------------------------------------------------------

    def show(self, snapshot: Snapshot) -> None:
        """Look at the invoice again; draw what is known so far."""
        self._draw()
        self._look()

    @work(exclusive=True, group="look")
    async def _look(self) -> None:
        client = self.session.client
        is_told, known = await self.do(client.invoice_report(self.commit.invoice_id))
        if not is_told:
            return
        self.found = sale_words.judge(self.commit, known)
        self.redraw(self._draw)
        self.refresh_bindings()
        if self.host.has_session:
            self._collect_by_itself()

    def _collect_by_itself(self) -> None:
        """As the settings say, unless the owner means to hold this one."""
        is_wanted = (
            self.session.settings.auto_collect
            and not self._was_asked_to_collect
            and self.found is not None
            and self.found.finding is Finding.GOOD
            and self.held_until(self.commit.invoice_id) is None
            and not self.host.options.is_read_only
        )
        if is_wanted:
            self._was_asked_to_collect = True
            self._is_busy = True
            self._collect(is_pressed=False)

    def _draw(self) -> None:
        found = self.found
        self.put("title", self.head("A commit"))
        if found is None:
            for part in ("verdict", "facts", "next"):
                self.put(part, None)
            return
        is_good = found.may_collect or found.finding is Finding.COLLECTED
        title, because = found.title, found.because
        if self._is_collected and found.finding is Finding.COLLECTED:
            title, because = "Collected: hand over the goods", "The receipt goes to the buyer."
        self.put("verdict", self.verdict(title, because, is_good=is_good))
        self.put("facts", self.facts(self._rows(found)))
        self.put("next", Text(self._next(found), "bold"))
        self.arming.about(self.commit if found.may_collect else None)

    def _rows(self, found: CommitVerdict) -> Iterator[tuple[str, Text | str]]:
        commit = self.commit
        if found.invoice is None or found.finding is Finding.WRONG:
            credits_ = format_amount(commit.total_dest_payment, _WHOLE)
            yield "It says", f"{credits_} credits {safe(commit.currency)}"
        if found.invoice is not None:
            yield "Invoice", Text(self.amount(found.invoice), "bold")
            yield "For", safe(found.invoice.description, 600) or "nothing was written"
        yield "Number", commit.invoice_id.to_text()
        note = self.note_words(commit.invoice_id.to_text())
        if note:
            yield "Note", note

    def _next(self, found: CommitVerdict) -> str:
        if not found.may_collect or found.invoice is None:
            return ""
        planned = self.held_until(self.commit.invoice_id)
        words = (
            f"Enter collects {self.amount(found.invoice)}: then it is yours, whatever happens.\n"
            "h holds it until a date · x gives it back"
        )
        if planned is not None:
            words += f"\nYou meant to hold it until {iso_local(planned)}."
        return words.replace("·", "-") if self.is_ascii else words

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what makes sense now."""
        may_collect = self.found is not None and self.found.may_collect
        possible = {
            "collect": may_collect,
            "hold": may_collect,
            "refund": may_collect,
            "note": self.found is not None and self.found.invoice is not None,
        }
        return possible.get(action, True)

    # --- keys -----------------------------------------------------------------------------------

    def action_collect(self) -> None:
        """Verify and collect; the node checks everything itself once more."""
        if self.arming.is_armed and not self._is_busy and self.may_change():
            self._is_busy = True
            self._collect(is_pressed=True)

    @work(group="collect")
    async def _collect(self, *, is_pressed: bool) -> None:
        try:
            if is_pressed and not await self.is_pressed_alone(NOT_COLLECTED):
                return
            client = self.session.client
            is_done, _ = await self.do(client.accept_commit(self.commit), "collected")
            if is_done:
                self._is_collected = True
                await self.drop_hold(self.commit.invoice_id)
                self._look()
        finally:
            self._is_busy = False

    @work(exclusive=True, group="hold")
    async def action_hold(self) -> None:
        """Keep it until a date."""
        if self.may_change():
            await self.ask_hold(self.commit)
            self._look()

    @work(exclusive=True, group="refund")
    async def action_refund(self) -> None:
        """Give everything back: the buyer holds this commit, so it has to be typed."""
        known = self.open_invoice(self.commit.invoice_id)
        if known is None or not self.may_change():
            return
        if known.registered is None:
            known = InvoiceReport(
                known.invoice,
                known.created_ms,
                known.expires_ms,
                known.frozen,
                known.is_sealed,
                self.commit,
            )
        await self.ask_refund(known)
        self._look()

    @work(exclusive=True, group="note")
    async def action_note(self) -> None:
        """A private note about the invoice."""
        await self.ask_note(self.commit.invoice_id.to_text())
