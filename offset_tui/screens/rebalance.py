"""Rebalance: move what is owed between a friend and us towards zero, along a circle of other friends.

What it would do is asked for while one types, and shown with every balance of ours that changes; moving it takes
one more answer. Source: apps.md §6.11 (RMP-05, RMP-06); tui.md §7, §9; design R8.
"""

import os
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.timer import Timer
from textual.widgets import Static

from offset_engine.client import (
    CommandRefusedError,
    Currency,
    PaymentId,
    PublicKey,
    RoutesChoice,
    RoutesOutcome,
    RoutesResult,
    Uid,
)
from offset_engine.errors import OffsetError
from offset_engine.sentences import fault_sentence
from offset_engine.text import EntryError, format_amount, money_text, safe
from offset_tui import money_words, rebalance_words, route_words, state
from offset_tui.dialogs.base import Confirm
from offset_tui.screens.form import FieldError, FormScreen, field_row
from offset_tui.session import Snapshot
from offset_tui.state import Line
from offset_tui.widgets.facts import plain
from offset_tui.widgets.inputs import AmountInput, LineInput

PAUSE_S: Final = 0.3
"""So long after the last key the index server is asked."""
SLOW_PAUSE_S: Final = 1.5
_TRIES_MAX: Final = 3
"""Times the amount offered first is made to fit what can be moved."""
_LOOKING: Final = "looking for a circle of friends …"


class RebalanceScreen(FormScreen):
    """See the module."""

    SECTION = "friends"
    TOPIC = "friends"
    VERB = "Move it"
    AUTO_FOCUS = "#amount"

    def __init__(self, key: PublicKey, currency: Currency | None = None) -> None:
        """Rebalance with a friend.

        Args:
            key: the friend's.
            currency: offered first; None = the first in which something is owed.
        """
        super().__init__()
        self.key = key
        self._first_currency = currency
        self._offered = ("", "")
        """Amount and highest fee as they were filled in for whoever types nothing."""
        self._wanted: tuple[Currency, int] | None = None
        self._answer: RoutesResult | None = None
        self._trouble = ""
        self._tries = 0
        self._most: int | None = None
        """All that can be moved now, if that is less than what is owed."""
        self._timer: Timer | None = None

    # --- the friendship -------------------------------------------------------------------------

    def _lines(self) -> tuple[Line, ...]:
        return state.all_lines(self.session.snapshot.report, self.session.notebook)

    def _line(self, currency: str) -> Line | None:
        return next(
            (one for one in self._lines() if (one.friend, one.currency) == (self.key, currency)),
            None,
        )

    def _owed(self) -> list[Line]:
        return [one for one in self._lines() if one.friend == self.key and one.balance]

    @property
    def _called(self) -> str:
        return state.friend_names(self.session.snapshot.report).get(self.key, "this friend")

    # --- the form -------------------------------------------------------------------------------

    def head(self) -> Text:
        """What happens with it."""
        shown = Text.assemble((f"Rebalance with {self._called}\n", "bold"))
        shown.append(
            "What is owed moves along a circle of friends and comes back to you through another one. Nobody"
            " needs to do anything; those on the way may charge their fee."
        )
        return shown

    def blocked(self) -> str:
        """Nothing is owed, or nothing can pass."""
        owed = self._owed()
        if not owed:
            return f"Nothing is owed between you and {self._called}, so there is nothing to move."
        said = rebalance_words.problem(owed[0])
        if said and not any(one.is_usable for one in owed):
            return f"{said[:1].upper()}{said[1:]}."
        return ""

    def fields(self) -> ComposeResult:
        """In what, how much, for how much; below what it would do."""
        owed = self._owed()
        first = next((one for one in owed if one.currency == self._first_currency), owed[0])
        self._offered = self._offers(first)
        digits = self.session.decimals(first.currency)
        yield field_row(
            "Currency",
            LineInput(first.currency, id="currency", max_length=16),
            suggestions=[one.currency for one in owed],
        )
        yield field_row("Amount", AmountInput(digits, self._offered[0], id="amount"))
        yield field_row("Highest fee", AmountInput(digits, self._offered[1], id="fee", least=0))
        yield Static(id="circle", markup=False)

    def _offers(self, line: Line, amount: int | None = None) -> tuple[str, str]:
        """What is filled in: an amount, all that is owed if none is given, and the highest fee for it."""
        digits = self.session.decimals(line.currency)
        amount = abs(line.balance or 0) if amount is None else amount
        fee = money_words.highest_fee(amount, digits, self.session.settings.auto_fee_permille)
        return format_amount(amount, digits, group=""), format_amount(fee, digits, group="")

    def _fill(self, offers: tuple[str, str]) -> None:
        """Fill in again what nobody has typed over."""
        for field, old, new in zip(("amount", "fee"), self._offered, offers, strict=True):
            found = self.query_one(f"#{field}", AmountInput)
            if found.value == old:
                found.value = new
        self._offered = offers

    @property
    def is_changed(self) -> bool:
        """Whether something was typed; what was filled in is nothing to ask about."""
        return self.has("amount") and (self.text("amount"), self.text("fee")) != self._offered

    def show(self, snapshot: Snapshot) -> None:
        """Balances may have changed meanwhile."""
        if self.has("amount"):
            self._draw()

    # --- what it would do -----------------------------------------------------------------------

    def changed(self) -> None:
        """Say what the amount is, and ask a moment after the last key."""
        if not self.has("amount"):
            return
        line = self._line(self.text("currency").upper()) or self._line(self.text("currency"))
        self.echo("currency", rebalance_words.problem(line))
        wanted = None
        if line is not None and not rebalance_words.problem(line):
            self._use(line)
            wanted = self._read(line)
        if wanted != self._wanted:
            self._wanted, self._answer, self._trouble = wanted, None, ""
            self._ask_soon()
        self._draw()

    def _use(self, line: Line) -> None:
        """Another currency has other digits, and something else is owed in it."""
        digits = self.session.decimals(line.currency)
        for field in ("#amount", "#fee"):
            self.query_one(field, AmountInput).decimals = digits
        if self._wanted is None or self._wanted[0] != line.currency:
            self._tries, self._most = 0, None
            self._fill(self._offers(line))

    def _read(self, line: Line) -> tuple[Currency, int] | None:
        """Currency and amount as typed; None, and the reason below the field, if it is none to move."""
        owed, digits = abs(line.balance or 0), self.session.decimals(line.currency)
        whole = rebalance_words.owed_words(line, digits)
        if self._most is not None:
            whole += f"; {format_amount(self._most, digits)} of it can be moved now"
        try:
            amount = self.query_one("#amount", AmountInput).credits()
        except EntryError:
            self.echo("amount", whole)
            return None
        if amount > owed:
            self.echo("amount", f"{whole}: more than that cannot be moved towards zero")
            return None
        self.echo("amount", whole)
        return line.currency, amount

    def _ask_soon(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        if self._wanted is not None:
            is_slow = self.host.options.is_low_bandwidth
            self._timer = self.set_timer(SLOW_PAUSE_S if is_slow else PAUSE_S, self._ask)

    @work(exclusive=True, group="ask")
    async def _ask(self) -> None:
        wanted = self._wanted
        line = None if wanted is None else self._line(wanted[0])
        if wanted is None or line is None:
            return
        question = rebalance_words.question(
            line, wanted[1], self.session.public_key, Uid(os.urandom(Uid.SIZE))
        )
        answer, trouble = None, ""
        try:
            answer = await self.session.client.ask_routes(question)
        except CommandRefusedError as refused:
            trouble = fault_sentence(refused.fault, refused.detail)
        except OffsetError as problem:
            trouble = str(problem)
        if self._wanted == wanted:
            self._answer, self._trouble = answer, trouble
            self.redraw(self._fit)

    def _fit(self) -> None:
        """Offer what comes nearest to zero, as long as nobody has typed an amount."""
        wanted, answer = self._wanted, self._answer
        line = None if wanted is None else self._line(wanted[0])
        is_offered = self.text("amount") == self._offered[0]
        if wanted is not None and answer is not None and line is not None and is_offered:
            better = rebalance_words.better_amount(line, wanted[1], answer)
            if better != wanted[1] and self._tries < _TRIES_MAX:
                self._tries += 1
                if answer.outcome is RoutesOutcome.PARTIAL:
                    self._most = answer.reachable
                self._fill(self._offers(line, better))
                return
        self._draw()

    def _draw(self) -> None:
        self.query_one("#circle", Static).update(self._preview())

    def _preview(self) -> RenderableType:
        """Every balance that changes, and what it costs; or why it cannot be."""
        is_ascii = self.host.options.is_ascii
        if self._wanted is None:
            return Text()
        if self._trouble:
            return Text(f"\n{safe(self._trouble, 300)}", "bold yellow")
        if self._answer is None:
            return Text(plain(f"\n{_LOOKING}", is_ascii=is_ascii).replace("~", "..."), "dim")
        currency, _ = self._wanted
        digits = self.session.decimals(currency)
        said = rebalance_words.answer_words(self._answer, currency, digits)
        choice = route_words.cheapest(self._answer)
        if said or choice is None:
            return Text(f"\n{said[:1].upper()}{said[1:]}.", "bold yellow")
        cost = f"Cost: {route_words.cost_words(choice, currency, digits)}."
        lines = [Text(cost, "bold")]
        too_dear = self._too_dear(choice, digits)
        if too_dear:
            lines.append(Text(f"{too_dear[:1].upper()}{too_dear[1:]}.", "bold yellow"))
        lines.append(Text("No other balance of yours changes.", "dim"))
        return Group(Text(), self._changes(choice, currency, digits), *lines)

    def _changes(self, choice: RoutesChoice, currency: Currency, digits: int) -> Table:
        is_ascii = self.host.options.is_ascii
        table = Table.grid(padding=(0, 2))
        for justify in ("left", "right", "left", "right"):
            table.add_column(justify=justify, overflow="fold")
        arrow = "->" if is_ascii else "→"
        for change in rebalance_words.changes(choice, self._lines(), currency):
            name, before, after = rebalance_words.change_words(change, digits, is_ascii=is_ascii)
            table.add_row(Text(name), Text(before), Text(arrow), Text(after, "bold"))
        return table

    def _too_dear(self, choice: RoutesChoice, digits: int) -> str:
        fee = route_words.fee_of(choice)
        try:
            most = self.query_one("#fee", AmountInput).credits()
        except EntryError:
            return ""
        if fee <= most:
            return ""
        return route_words.above_words(
            fee, most, digits, "type a higher one to move it all the same"
        )

    # --- doing it -------------------------------------------------------------------------------

    async def submit(self) -> None:
        """Ask once more with everything in sight, then move it."""
        line, amount, choice, max_fee = self._agreed()
        digits = self.session.decimals(line.currency)
        if not await self.app.push_screen_wait(self._question(line, amount, choice)):
            return
        if self._agreed() != (line, amount, choice, max_fee):
            self.flash(
                "not moved: something changed meanwhile; look at it once more", is_error=True
            )
            return
        payment_id = PaymentId(os.urandom(PaymentId.SIZE))
        wish = rebalance_words.wish(line, amount, choice, max_fee, payment_id)
        if not await self._fixed(line.currency, digits):
            return
        is_begun, _ = await self.do(self.session.client.rebalance(wish))
        if is_begun and self.host.screen is self:
            from offset_tui.screens.payment import PaymentScreen  # noqa: PLC0415 - drawn only then

            self.app.switch_screen(PaymentScreen(payment_id))

    async def _fixed(self, currency: Currency, digits: int) -> bool:
        """From now on this card counts the currency like this."""
        is_kept, _ = await self.do(self.session.use_currency(currency, digits))
        return is_kept

    def _agreed(self) -> tuple[Line, int, RoutesChoice, int]:
        """What is in the form and was found for it.

        Raises:
            FieldError: something cannot be read, or nothing was found for it.
        """
        currency = self.currency()
        line = self._line(currency)
        said = rebalance_words.problem(line)
        if said or line is None:
            raise FieldError("currency", said)
        amount, max_fee = self.amount("amount"), self.amount("fee")
        if amount > abs(line.balance or 0):
            raise FieldError("amount", "this is more than what is owed")
        answer = self._answer
        if (currency, amount) != self._wanted or answer is None:
            raise FieldError("amount", self._trouble or "wait until a circle of friends was found")
        digits = self.session.decimals(currency)
        said = rebalance_words.answer_words(answer, currency, digits)
        choice = route_words.cheapest(answer)
        if said or choice is None:
            raise FieldError("amount", said)
        if self._too_dear(choice, digits):
            raise FieldError("fee", self._too_dear(choice, digits))
        return line, amount, choice, max_fee

    def _question(self, line: Line, amount: int, choice: RoutesChoice) -> Confirm:
        digits, is_ascii = self.session.decimals(line.currency), self.host.options.is_ascii
        arrow = "->" if is_ascii else "→"
        found = rebalance_words.changes(choice, self._lines(), line.currency)
        told = [
            f"{name}: {before} {arrow} {after}"
            for name, before, after in (
                rebalance_words.change_words(one, digits, is_ascii=is_ascii) for one in found
            )
        ]
        cost = route_words.cost_words(choice, line.currency, digits)
        told += [
            f"Cost: {cost}.",
            "",
            "No other balance of yours changes. If it costs more by then, you are asked again.",
        ]
        shown = money_text(amount, line.currency, digits)
        return Confirm(f"Move {shown}?", self.legible(Text("\n".join(told))), "Move it", "P")
