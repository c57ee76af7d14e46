"""Balances: every currency, every friend, what may still move; currencies are never added together.

Source: apps.md §5 S21 (MOB-22); tui.md §8, §9.
"""

from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine.client import Currency, HistoryEntry, HistoryKind, PublicKey
from offset_engine.disk import expanded, write_file
from offset_engine.errors import FileError, OffsetError
from offset_engine.text import format_amount, safe
from offset_tui import people, roster, state
from offset_tui.dialogs.base import Ask
from offset_tui.keymap import pick
from offset_tui.screens.sides import SidesScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.credit import balance
from offset_tui.widgets.table import Column, KeyedTable, Many, Row

_TITLES: Final = (
    Column("Balance", "right"),
    Column("Can pay", "right", rank=1),
    Column("Can be paid", "right", rank=2),
    Column("Used", "right", rank=3),
    Column("Pending", "right", rank=4),
    Column("You trust", "right", rank=5),
    Column("Trusts you", "right", rank=6),
)
_BY_CURRENCY: Final = (Column("Currency"), Column("Friend"), *_TITLES)
_BY_FRIEND: Final = (Column("Friend"), Column("Currency"), *_TITLES)
_HISTORY_PAGE: Final = 200
_HISTORIES: Final = (
    HistoryKind.PAYMENTS,
    HistoryKind.INVOICES,
    HistoryKind.FORWARDS,
    HistoryKind.LOSSES,
)
_EMPTY: Final = (
    "No balances yet: money moves only in a currency you use with a friend.\n\n"
    "5 shows your friends · n there adds one, or a currency with one"
)


class BalancesScreen(SidesScreen):
    """See the module."""

    SECTION = "balances"
    TOPIC = "balances"
    AUTO_FOCUS = "KeyedTable"
    STACKED = True
    BINDINGS: ClassVar[list[BindingType]] = [*pick("friend.rebalance", "list.sort", "list.export")]

    def __init__(self) -> None:
        super().__init__()
        self._by_friend = False
        self._past: list[HistoryEntry] = []
        self._moves: dict[Currency, list[tuple[int, int]]] = {}

    def body(self) -> ComposeResult:
        """The table, and the currency under the cursor in words."""
        yield from self.beside(KeyedTable(id="balances"))
        yield Static(_EMPTY, id="balances-empty", classes="empty", markup=False)

    def on_screen_resume(self) -> None:
        """Ask for what is over, for the line of past balances."""
        self._read_past()

    @work(group="past", exclusive=True)
    async def _read_past(self) -> None:
        if not self.host.has_session:
            return
        found: list[HistoryEntry] = []
        try:
            for kind in _HISTORIES:
                found += await self.session.client.history(kind, None, _HISTORY_PAGE)
        except OffsetError:
            return  # an app without that permission: the line of past balances is left out
        self._past, self._moves = found, {}
        self.redraw(self.show_side)

    # --- drawing --------------------------------------------------------------------------------

    def _lines(self) -> tuple[state.Line, ...]:
        return self.session.roster.lines

    def _nets(self) -> tuple[state.Net, ...]:
        order = tuple(one.currency for one in self.session.settings.currencies)
        return self.session.roster.nets(order)

    def show(self, snapshot: Snapshot) -> None:
        """Draw all of them."""
        lines, nets = self._lines(), self._nets()
        self.query_one("#balances-empty").display = not lines
        self.query_one("#sides").display = bool(lines)
        columns = _BY_FRIEND if self._by_friend else _BY_CURRENCY
        things = lines if self._by_friend else self._grouped(nets)
        self.query_one(KeyedTable).fill_many(
            columns, Many(things, self._row, _key, widest=lambda: (*roster.widest(lines), *nets))
        )
        self.show_side()

    def _grouped(self, nets: tuple[state.Net, ...]) -> list[state.Net | state.Line]:
        found: list[state.Net | state.Line] = []
        for net in nets:
            found += [net, *self.session.roster.held(net.currency)]
        return found

    def _row(self, thing: state.Net | state.Line) -> Row:
        return self._total(thing) if isinstance(thing, state.Net) else self._single(thing)

    def _total(self, net: state.Net) -> Row:
        decimals = self.session.decimals(net.currency)
        count = len(self.session.roster.held(net.currency))

        def amount(credits_: int) -> Text:
            return Text(format_amount(credits_, decimals), "bold")

        friends = f"all {count}" if count > 1 else "1 friend"
        return Row(
            _key(net),
            (
                Text(net.currency, "bold"),
                Text(friends, "bold"),
                self._balance(net.balance, net.currency, "bold"),
                Text("?", "bold") if net.can_pay is None else amount(net.can_pay),
                amount(net.can_be_paid),
                "",
                self._pending(net.pending_out, net.pending_in, decimals),
                "",
                "",
            ),
        )

    def _single(self, line: state.Line) -> Row:
        decimals = self.session.decimals(line.currency)

        def amount(credits_: int | None) -> str:
            return "?" if credits_ is None else format_amount(credits_, decimals)

        first: tuple[Text | str, ...] = (
            (line.name, line.currency) if self._by_friend else ("", line.name)
        )
        shown = (
            Text("not agreed", "dim")
            if line.balance is None
            else self._balance(line.balance, line.currency, "")
        )
        return Row(
            _key(line),
            (
                *first,
                shown,
                amount(line.can_pay),
                amount(line.can_be_paid),
                people.used_share(line),
                self._pending(line.pending_out, line.pending_in, decimals),
                amount(line.i_grant),
                amount(line.granted),
            ),
        )

    def _balance(self, credits_: int, currency: Currency, style: str) -> Text:
        shown = balance(
            credits_, self.session.decimals(currency), is_ascii=self.host.options.is_ascii
        )
        if shown.cell_len > people.WIDE_CELLS:
            shown = Text(shown.plain.split(" ")[0], shown.style)
        if style:
            shown.stylize(style)
        return shown

    def _pending(self, out: int, into: int, decimals: int) -> str:
        minus = "-" if self.host.options.is_ascii else "−"
        parts = [f"{minus}{format_amount(out, decimals)}"] if out else []
        if into:
            parts.append(f"+{format_amount(into, decimals)}")
        return " ".join(parts)

    # --- the currency under the cursor ----------------------------------------------------------

    def side(self) -> Text | None:
        """The currency in all, and what became of it."""
        key = self.query_one(KeyedTable).current_key
        if key is None:
            return None
        currency = key.split(" ")[0]
        net = next((one for one in self._nets() if one.currency == currency), None)
        return None if net is None else self._detail(net)

    def _detail(self, net: state.Net) -> Text:
        decimals = self.session.decimals(net.currency)

        def amount(credits_: int) -> str:
            return format_amount(credits_, decimals)

        shown = Text.assemble((f"{net.currency} in all  ", "bold"))
        shown.append_text(balance(net.balance, decimals, is_ascii=self.host.options.is_ascii))
        shown.append(f"\nowed to you {amount(net.owed_to_us)} · you owe {amount(net.we_owe)}")
        if net.pending_out or net.pending_in:
            shown.append(
                f"\npending: {amount(net.pending_out)} out, {amount(net.pending_in)} in", "yellow"
            )
        if net.can_pay is None:
            shown.append("\ncan pay ?: no friend said up to how much they trust you")
        else:
            shown.append(f"\ncan pay up to {amount(net.can_pay)}, as far as friends said")
        shown.append(f" · can be paid up to {amount(net.can_be_paid)}")
        if net.currency not in self._moves:
            self._moves[net.currency] = people.moves(self._past, net.currency)
        changes = self._moves[net.currency]
        if changes:
            shown.append_text(self._history(net, changes))
        shown.append(
            "\n\ns groups · E exports · z rebalances · enter opens the friend",
            "dim",
        )
        return shown

    def _history(self, net: state.Net, changes: list[tuple[int, int]]) -> Text:
        decimals, is_ascii = self.session.decimals(net.currency), self.host.options.is_ascii
        past = people.past_balances(net, changes)

        def amount(credits_: int) -> str:
            return format_amount(credits_, decimals, sign=True, ascii_only=is_ascii)

        shown = Text.assemble((f"\n\nthe last {len(past) - 1} changes  ", ""))
        shown.append(people.spark(past, is_ascii=is_ascii), "bold")
        shown.append(f"\nlowest {amount(min(past))} · highest {amount(max(past))} · now ")
        shown.append(amount(past[-1]), "bold")
        return shown

    # --- keys -----------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """By currency, or by friend."""
        self._by_friend = not self._by_friend
        self.refresh_view()
        self.flash("grouped by friend" if self._by_friend else "grouped by currency, with totals")

    def action_rebalance(self) -> None:
        """With the friend under the cursor, in the currency there."""
        currency, _, friend = (self.query_one(KeyedTable).current_key or "").partition(" ")
        if not friend:
            self.flash("choose a friend's line first: z moves what is owed there towards zero")
            return
        from offset_tui.screens.rebalance import RebalanceScreen  # noqa: PLC0415 - only then

        self.host.push_screen(RebalanceScreen(PublicKey.from_text(friend), Currency.of(currency)))

    def on_data_table_row_selected(self) -> None:
        """Enter opens the friend."""
        key = self.query_one(KeyedTable).current_key or ""
        _, _, friend = key.partition(" ")
        if friend:
            from offset_tui.screens.friend import FriendScreen  # noqa: PLC0415 - only then

            self.host.push_screen(FriendScreen(PublicKey.from_text(friend)))

    @work(group="export", exclusive=True)
    async def action_export(self) -> None:
        """Write what was shown when the key was pressed."""
        text = people.balances_csv(self._lines(), self.session.decimals)
        start = str(Path.home() / "balances.csv")
        typed = await self.host.push_screen_wait(
            Ask("Export as CSV", "Path of the new file:", start, length=1024)
        )
        if typed:
            self._write(typed, text)

    def _write(self, typed: str, text: str) -> None:
        try:
            path = expanded(typed)
            write_file(path, text, secret=True)
        except FileError as problem:
            self.flash(str(problem), is_error=True)
        else:
            self.flash(f"written to {safe(str(path), 200)}")


def _key(thing: state.Net | state.Line) -> str:
    """Currency and friend; of a total the currency only."""
    friend = "" if isinstance(thing, state.Net) else thing.friend.to_text()
    return f"{thing.currency} {friend}"
