"""One friend: currencies, limits and fees, what is owed, and what to do when something is wrong.

Whatever a key does is done to the friend of this screen and to the currency under the cursor when the key
was pressed. Source: apps.md §5 S30, S32 (MOB-34 to MOB-40); tui.md §8, §9; design R23, R25, R31.
"""

from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from offset_engine.client import (
    NAME_BYTES_MAX,
    CloseFriendCurrency,
    Currency,
    CurrencyReport,
    DisputeFriend,
    FriendReport,
    OpenFriendCurrency,
    PublicKey,
    RemoveFriendCurrency,
    SetFriendCurrencyMaxDebt,
    SetFriendCurrencyRate,
    SetFriendName,
)
from offset_engine.files import Terms
from offset_engine.introducing import Grant
from offset_engine.text import (
    fingerprint,
    fingerprint_words,
    format_amount,
    money_text,
    safe,
)
from offset_tui import people, state
from offset_tui.dialogs.base import Confirm, TypeToConfirm
from offset_tui.dialogs.edits import FeeDialog, LimitDialog, RenameDialog, ToldDialog
from offset_tui.dialogs.high_limit import may_trust_so_much
from offset_tui.dialogs.unfriend import unfriend
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.screens.friends import toggle_friend
from offset_tui.session import Snapshot
from offset_tui.widgets.credit import balance, credit_bar
from offset_tui.widgets.table import Column, KeyedTable, Row

_COLUMNS: Final = (
    Column("Currency"),
    Column("Balance", "right"),
    Column("You trust", "right", rank=1),
    Column("Trusts you", "right", rank=2),
    Column("Fee", "right", rank=3),
    Column("Passing", rank=4),
)
_BAR_CELLS: Final = 40
_MORE_KEYS: Final = (
    "z rebalance · L their limit · e rename · R relays · t what they signed\n"
    "space on or off · x remove currency · X unfriend"
)
_ONE_CURRENCY: Final = "there is no currency here yet: n adds one"


class FriendScreen(CardScreen):
    """See the module."""

    SECTION = "friends"
    TOPIC = "friends"
    AUTO_FOCUS = "KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick(
            "friend.limit",
            "friend.fee",
            "friend.currency",
            "friend.open",
            "list.toggle",
            "friend.relays",
            "friend.token",
            "friend.rebalance",
            "friend.rename",
            "friend.told",
            "friend.drop_currency",
            "friend.settle",
            "friend.dispute",
            "friend.unfriend",
        )
    ]

    def __init__(self, key: PublicKey) -> None:
        super().__init__()
        self.key = key

    def body(self) -> ComposeResult:
        """Who, what is wrong, every currency, and the one under the cursor in full."""
        with VerticalScroll(id="friend-scroll", can_focus=False):
            yield Static(id="friend-head", markup=False)
            yield Static(id="friend-advice", markup=False)
            yield KeyedTable(id="currencies")
            yield Static(id="friend-detail", markup=False)

    # --- drawing --------------------------------------------------------------------------------

    @property
    def _friend(self) -> FriendReport | None:
        return self.session.snapshot.friend(self.key)

    @property
    def _called(self) -> str:
        return state.friend_names(self.session.snapshot.report).get(self.key, "this friend")

    def _lines(self) -> tuple[state.Line, ...]:
        friend = self._friend
        if friend is None:
            return ()
        return state.lines_of(friend, self._called, self.session.notebook)

    def show(self, snapshot: Snapshot) -> None:
        """Draw the friend."""
        friend = snapshot.friend(self.key)
        table, detail = self.query_one(KeyedTable), self.query_one("#friend-detail", Static)
        advice = self.query_one("#friend-advice", Static)
        if friend is None:
            self.query_one("#friend-head", Static).update(
                Text("This friend is no longer on this card. q goes back.")
            )
            table.display = advice.display = detail.display = False
            return
        self.query_one("#friend-head", Static).update(self.legible(self._head(friend)))
        said = people.advice(friend, self._called)
        advice.update(Text(said))
        advice.display = bool(said)
        lines = self._lines()
        table.display = bool(lines)
        reports = {one.currency: one for one in friend.currencies}
        table.fill(_COLUMNS, [self._row(line, reports[line.currency]) for line in lines])
        self._show_detail()

    def _head(self, friend: FriendReport) -> Text:
        standing = people.standing(friend)
        shown = Text.assemble((safe(friend.name, 40) or "(no name)", "bold"))
        shown.append(f" · {fingerprint(self.key)}   ", "")
        shown.append(standing.shown(is_ascii=self.host.options.is_ascii), standing.style)
        shown.append(f"\n{fingerprint_words(self.key)}", "dim")
        for currency, amount in friend.lost:
            lost = money_text(amount, currency, self.session.decimals(currency))
            shown.append(f"\nlost with this friend so far: {lost}", "bold")
        return shown

    def _row(self, line: state.Line, report: CurrencyReport) -> Row:
        decimals = self.session.decimals(line.currency)
        shown = (
            Text("not agreed yet", "dim")
            if line.balance is None
            else balance(line.balance, decimals, is_ascii=self.host.options.is_ascii)
        )
        if shown.cell_len > people.WIDE_CELLS:
            shown = Text(shown.plain.split(" ")[0], shown.style)
        return Row(
            line.currency,
            (
                line.currency,
                shown,
                format_amount(line.i_grant, decimals),
                "?" if line.granted is None else format_amount(line.granted, decimals),
                people.rate_words(report.rate, decimals),
                _passing(line),
            ),
        )

    def on_data_table_row_highlighted(self) -> None:
        """The other currency in full."""
        self._show_detail()

    def _show_detail(self) -> None:
        line = self._line()
        self.query_one("#friend-detail", Static).update(
            Text(
                "No currency is used with this friend yet, so nothing can be paid between you."
                "\nn adds one."
            )
            if line is None
            else self.legible(self._detail(line))
        )

    def _detail(self, line: state.Line) -> Text:
        decimals, is_ascii = self.session.decimals(line.currency), self.host.options.is_ascii

        def amount(credits_: int) -> str:
            return format_amount(credits_, decimals)

        shown = Text.assemble((f"{line.currency}  ", "bold"))
        if line.balance is None:
            shown.append(f"not agreed yet: it is once {line.name} uses it too and both are online")
        else:
            shown.append_text(balance(line.balance, decimals, is_ascii=is_ascii))
        shown.append("\n")
        shown.append(people.trust_words(line.name, line.i_grant, line.currency, decimals) + "\n")
        shown.append(people.told_words(line, decimals) + "\n")
        can_pay = "?" if line.can_pay is None else amount(line.can_pay)
        friend = self._friend
        if friend is not None and not friend.is_consistent:
            shown.append("nothing can be paid between you until you agree again", "bold")
        else:
            shown.append(f"can pay {can_pay} · can be paid {amount(line.can_be_paid)}", "bold")
        if line.pending_out or line.pending_in:
            moving = f" (pending: {amount(line.pending_out)} out, {amount(line.pending_in)} in)"
            shown.append(moving, "yellow")
        shown.append("\n")
        shown.append_text(
            credit_bar(line.balance or 0, line.i_grant, line.granted, _BAR_CELLS, is_ascii=is_ascii)
        )
        shown.append("\n")
        rate = self._report_of(line.currency)
        if rate is not None:
            shown.append(people.charge_words(rate.rate, line, decimals) + "\n")
        shown.append(_passing_words(line))
        shown.append(f"\n\n{_MORE_KEYS}", "dim")
        return shown

    # --- what keys act on -----------------------------------------------------------------------

    def _line(self) -> state.Line | None:
        current = self.query_one(KeyedTable).current_key
        return next((one for one in self._lines() if one.currency == current), None)

    def _report_of(self, currency: Currency) -> CurrencyReport | None:
        friend = self._friend
        held = () if friend is None else friend.currencies
        return next((one for one in held if one.currency == currency), None)

    def _changeable(self) -> state.Line | None:
        """The currency under the cursor now, if it may be changed."""
        line = self._line()
        if line is None:
            self.flash(_ONE_CURRENCY if self._friend is not None else "this friend is gone")
            return None
        return line if self.may_change() else None

    # --- keys -----------------------------------------------------------------------------------

    @work(group="edit", exclusive=True)
    async def action_limit(self) -> None:
        """The most the friend may owe us."""
        line = self._changeable()
        if line is None:
            return
        decimals = self.session.decimals(line.currency)
        limit = await self.host.push_screen_wait(LimitDialog(line, decimals))
        if limit is None:
            return
        wanted = ((Grant(line.currency, limit), decimals),)
        if await may_trust_so_much(self, line.name, wanted):
            command = SetFriendCurrencyMaxDebt(self.key, line.currency, limit)
            said = f"limit for {line.name}: {money_text(limit, line.currency, decimals)}"
            await self.do(self.session.client.command(command), said)

    @work(group="edit", exclusive=True)
    async def action_told(self) -> None:
        """What the friend says they grant."""
        line = self._changeable()
        if line is None:
            return
        decimals = self.session.decimals(line.currency)
        limit = await self.host.push_screen_wait(ToldDialog(line, decimals))
        if limit is not None:
            terms = (Terms(line.currency, decimals, limit),)
            notebook = self.session.notebook.with_told(self.key, terms)
            await self.do(self.session.save_notebook(notebook), "noted")
            self.refresh_view()

    @work(group="edit", exclusive=True)
    async def action_fee(self) -> None:
        """What passing on costs."""
        line = self._changeable()
        report = None if line is None else self._report_of(line.currency)
        if line is None or report is None:
            return
        decimals = self.session.decimals(line.currency)
        rate = await self.host.push_screen_wait(FeeDialog(line, report.rate, decimals))
        if rate is not None:
            command = SetFriendCurrencyRate(self.key, line.currency, rate)
            said = f"fee: {people.rate_words(rate, decimals)}"
            await self.do(self.session.client.command(command), said)

    @work(group="edit", exclusive=True)
    async def action_open(self) -> None:
        """Let payments of others pass, or stop them."""
        line = self._changeable()
        if line is None:
            return
        if line.is_open:
            question = (
                f"Close {line.currency} with {line.name}? Payments of others then do not pass between"
                " you any more. What is owed stays, and you two can still pay each other."
            )
            dialog = Confirm("Close currency", question, "Close", "y")
        else:
            question = (
                f"Open {line.currency} with {line.name}? Payments of others may then pass between you,"
                " within the limits and for the fee."
            )
            dialog = Confirm("Open currency", question, "Open", "y")
        if await self.host.push_screen_wait(dialog):
            kind = CloseFriendCurrency if line.is_open else OpenFriendCurrency
            said = f"{line.currency} is {'closed' if line.is_open else 'open'} with {line.name}"
            await self.do(self.session.client.command(kind(self.key, line.currency)), said)

    @work(group="edit", exclusive=True)
    async def action_remove(self) -> None:
        """Stop using a currency."""
        line = self._changeable()
        if line is None:
            return
        if line.balance or line.pending_in or line.pending_out:
            self.flash(
                f"{line.currency} cannot be removed while something is owed or pending in it:"
                " settle first, or close it with o",
                is_error=True,
            )
            return
        question = f"Stop using {line.currency} with {line.name}? Nothing is owed or pending in it."
        if await self.host.push_screen_wait(Confirm("Remove currency", question, "Remove", "y")):
            command = RemoveFriendCurrency(self.key, line.currency)
            await self.do(self.session.client.command(command), f"{line.currency} is removed")

    @work(group="edit", exclusive=True)
    async def action_edit(self) -> None:
        """Call the friend something else."""
        friend = self._friend
        if friend is None or not self.may_change():
            return
        name = await self.host.push_screen_wait(RenameDialog(friend.name, self._check_name))
        if name is not None and name != friend.name:
            command = SetFriendName(self.key, name)
            await self.do(self.session.client.command(command), f"now called {safe(name, 40)}")

    def _check_name(self, name: str) -> str:
        return name_problem(name, self.session.snapshot, self.key)

    def action_new(self) -> None:
        """One more currency."""
        if self._friend is not None and self.may_change():
            from offset_tui.screens.currency import CurrencyScreen  # noqa: PLC0415 - only then

            self.host.push_screen(CurrencyScreen(self.key))

    def action_toggle(self) -> None:  # type: ignore[override]  # a node's own takes an attribute
        """On or off."""
        friend = self._friend
        if friend is not None and self.may_change():
            toggle_friend(self, friend)

    def action_unfriend(self) -> None:
        """Forget the friend."""
        if self.may_change():
            unfriend(self, self.key)

    def action_rebalance(self) -> None:
        """Move what is owed towards zero, over others."""
        from offset_tui.screens.rebalance import RebalanceScreen  # noqa: PLC0415 - only then

        line = self._line()
        if line is None:
            self.flash(_ONE_CURRENCY if self._friend is not None else "this friend is gone")
        else:
            self.host.push_screen(RebalanceScreen(self.key, line.currency))

    def action_relays(self) -> None:
        """Where the friend is reached."""
        from offset_tui.screens.friend_relays import FriendRelaysScreen  # noqa: PLC0415 - only then

        self.host.push_screen(FriendRelaysScreen(self.key))

    def action_token(self) -> None:
        """What the friend signed last."""
        from offset_tui.screens.friend_token import FriendTokenScreen  # noqa: PLC0415 - only then

        friend = self._friend
        if friend is None or friend.last_incoming is None:
            self.flash(f"{self._called} has not signed anything yet")
        else:
            self.host.push_screen(FriendTokenScreen(self.key))

    def action_settle(self) -> None:
        """Compare both proposals."""
        friend = self._friend
        if friend is None or friend.is_consistent:
            self.flash("you two agree about the balances: there is nothing to compare")
            return
        from offset_tui.screens.inconsistent import InconsistentScreen  # noqa: PLC0415 - only then

        self.host.push_screen(InconsistentScreen(self.key))

    @work(group="edit", exclusive=True)
    async def action_dispute(self) -> None:
        """Declare the disagreement, so that it can be settled (design R23)."""
        friend = self._friend
        if friend is None:
            return
        if people.standing(friend).words != "unreadable":
            self.flash(
                "disputing is for a friend whose messages cannot be read, and none here is such"
            )
            return
        lines = (
            f"{self._called} · {fingerprint(self.key)}\n\nDisputing stops everything that passes between"
            " you. Both sides then propose balances, and one has to accept the other's. Do it only when"
            " updating both programs did not help."
        )
        dialog = TypeToConfirm("Dispute", lines, people.confirm_word(friend), "Dispute")
        if await self.host.push_screen_wait(dialog):
            said = "disputed: a compares both proposals"
            await self.do(self.session.client.command(DisputeFriend(self.key)), said)


def name_problem(name: str, snapshot: Snapshot, key: PublicKey | None) -> str:
    """Why a friend cannot be called this; "" if it can."""
    if not name:
        return "type a name"
    if len(name.encode(errors="replace")) > NAME_BYTES_MAX:
        return f"a name has at most {NAME_BYTES_MAX} bytes"
    if any(one.name == name and one.public_key != key for one in snapshot.report.friends):
        return "another friend is called exactly this: choose another name"
    return ""


def _passing(line: state.Line) -> str:
    if line.is_removing:
        return "being removed"
    return "open" if line.is_open else "closed"


def _passing_words(line: state.Line) -> str:
    if line.is_removing:
        return f"being removed: it goes as soon as {line.name} agrees"
    if line.is_open:
        return "open: payments of others may pass between you"
    return "closed: payments of others do not pass between you (o opens)"
