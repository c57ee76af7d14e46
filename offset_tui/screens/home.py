"""Home: what do I have, what needs me, what is under way, who is there. One screen at 80×24.

Source: apps.md §5 S2; tui.md §4 ("Home answers in 3 s").
"""

from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import OptionList, Static

from offset_engine import activity
from offset_engine.activity import Entry
from offset_engine.client import (
    HistoryEntry,
    HistoryKind,
    InvoiceRecord,
    PaymentRecord,
    PayStage,
    PublicKey,
)
from offset_engine.errors import OffsetError
from offset_engine.text import cells, clip_cells, format_amount, money_text, pad_cells, relative
from offset_tui import checklist, needs, roster, state
from offset_tui.checklist import Step
from offset_tui.dialogs.pick import Pick
from offset_tui.doors import CardKind
from offset_tui.keymap import pick
from offset_tui.screens.base import CardScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.checklist import Checklist
from offset_tui.widgets.credit import balance, credit_bar
from offset_tui.widgets.facts import plain
from offset_tui.widgets.table import Column, KeyedTable, Many, Row

NETS_SHOWN: Final = 4
NEEDS_SHOWN: Final = 3
PENDING_SHOWN: Final = 3
RECENT_SHOWN: Final = 5
_WIDE: Final = (Column("Friend and balance"),)
WIDE_CREDITS: Final = 10**20
"""From here on a balance takes a line of its own: no digit is ever cut."""
TALL_ROWS: Final = 30
"""From here on there is room for what happened lately."""
_PAST: Final = (HistoryKind.PAYMENTS, HistoryKind.INVOICES)
_FRIENDS: Final = (
    Column("Friend"),
    Column("State"),
    Column("Currency"),
    Column("Balance", "right"),
    Column("Limits", rank=3),
    Column("Can pay", "right", rank=2),
    Column("Can be paid", "right", rank=1),
)
_NO_CARD: Final = "No card is open.\n\nK  chooses one\n8  shows all of them"
_NO_FRIENDS: Final = (
    "No friends yet: money moves only between people who trust each other.\n\n"
    "n  invites somebody\n"
    "c  opens what somebody sent you\n"
    "y  shares your own friend card"
)
_NEW: Final = (
    ("friend", "Invite a friend: you send one text, they send one back"),
    ("invoice", "Get paid: make an invoice"),
    ("pay", "Pay: open an invoice somebody sent you"),
)


class HomeScreen(CardScreen):
    """See the module."""

    SECTION = "home"
    TOPIC = "home"
    AUTO_FOCUS = "Checklist OptionList, KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [*pick("list.new", "list.copy", "home.pending")]

    def __init__(self) -> None:
        super().__init__()
        self._history: list[HistoryEntry] | None = None
        self._of: tuple[object, ...] = ()

    def body(self) -> ComposeResult:
        """Money, needs, what is under way, what is left to set up, friends, what happened last."""
        yield Static(id="net", markup=False)
        yield Static(id="needs", markup=False)
        yield Static(id="pending", markup=False)
        yield Checklist(id="checklist")
        yield KeyedTable(id="home-friends")
        yield Static(Text(_NO_CARD), id="home-empty", classes="empty")
        yield Static(id="recent", markup=False)

    def show(self, snapshot: Snapshot) -> None:
        """Draw everything; history is read again when something may have ended."""
        lines = self.session.roster.lines
        self._put("#net", self._net())
        self._put("#needs", self._needs())
        self._put("#pending", self._pending(snapshot))
        is_tall = self.size.height >= TALL_ROWS
        self._put("#recent", self._recent(snapshot) if is_tall else Text())
        self._show_checklist(snapshot)
        table = self.query_one(KeyedTable)
        table.display = bool(lines)
        is_wide = any(abs(one.balance or 0) >= WIDE_CREDITS for one in lines)
        table.fill_many(
            _WIDE if is_wide else _FRIENDS,
            Many(
                lines,
                self._wide_row if is_wide else self._row,
                _key,
                _wide_lines if is_wide else _one_line,
                lambda: roster.widest(lines),
            ),
        )
        empty = self.query_one("#home-empty", Static)
        empty.display = not snapshot.report.friends
        empty.update(Text(_NO_FRIENDS))
        self._read_history(snapshot)
        # What was hidden until now has its place, and what is hidden now has lost the focus, after the next layout.
        self.call_after_refresh(self._focus_first)

    def _put(self, where: str, shown: Text) -> None:
        static = self.query_one(where, Static)
        shown.rstrip()
        static.update(shown)
        static.display = bool(shown)

    def _focus_first(self) -> None:
        if self.focused is not None or not self.is_current:
            return
        for one in (self.query_one("#steps", OptionList), self.query_one(KeyedTable)):
            if one.focusable and one.is_on_screen:
                one.focus()
                return

    # --- what is drawn --------------------------------------------------------------------------

    def _net(self) -> Text:
        is_ascii = self.host.options.is_ascii
        order = tuple(one.currency for one in self.session.settings.currencies)
        found = self.session.roster.nets(order)
        wide = max((len(net.currency) for net in found), default=0)
        shown = Text()
        for net in found[:NETS_SHOWN]:
            decimals = self.session.decimals(net.currency)
            shown.append(f" {net.currency:<{wide}}  ", "bold")
            shown.append_text(balance(net.balance, decimals, is_ascii=is_ascii))
            minus = "-" if is_ascii else "−"
            if net.pending_out:
                out = format_amount(net.pending_out, decimals)
                shown.append(f"  ({minus}{out} pending)", "yellow")
            if net.pending_in:
                shown.append(f"  (+{format_amount(net.pending_in, decimals)} pending)", "yellow")
            shown.append("\n")
        if len(found) > NETS_SHOWN:
            shown.append(f" and {len(found) - NETS_SHOWN} more currencies: 6\n", "dim")
        return shown

    def _needs(self) -> Text:
        found = needs.of(self.session)
        shown = Text()
        for need in found[:NEEDS_SHOWN]:
            shown.append(f" ! {clip_cells(need.words, self.size.width - 4)}\n", "bold yellow")
        if found:
            more = len(found) - NEEDS_SHOWN
            shown.append(f"   and {more} more; " if more > 0 else "   ", "dim")
            shown.append("ctrl+g goes on with the first\n", "dim")
        return shown

    def _entries(self, snapshot: Snapshot) -> tuple[Entry, ...]:
        return activity.merge(
            snapshot.pays,
            snapshot.invoices,
            self._history or [],
            self.session.roster.names,
            self.session.notebook,
            snapshot.report.local_public_key,
        )

    def _pending(self, snapshot: Snapshot) -> Text:
        live = [one for one in self._entries(snapshot) if one.is_live and not one.needs_owner]
        shown = Text()
        for entry in live[:PENDING_SHOWN]:
            shown.append_text(self._line(entry, snapshot))
        if len(live) > PENDING_SHOWN:
            shown.append(f"   and {len(live) - PENDING_SHOWN} more under way: 4\n", "dim")
        return shown

    def _recent(self, snapshot: Snapshot) -> Text:
        ended = [one for one in self._entries(snapshot) if not one.is_live][:RECENT_SHOWN]
        shown = Text(" Lately\n" if ended else "", "bold")
        for entry in ended:
            shown.append_text(self._line(entry, snapshot))
        return shown

    def _line(self, entry: Entry, snapshot: Snapshot) -> Text:
        """`   paid  −2.00 OUSD · Bob · searching a route · 3 min ago`, never wider than the screen."""
        is_ascii = self.host.options.is_ascii
        shown = Text(f"   {pad_cells(entry.kind.value, 8)} ")
        if entry.currency is not None:
            decimals = self.session.decimals(entry.currency)
            shown.append(
                money_text(
                    entry.amount,
                    entry.currency,
                    decimals,
                    sign=entry.is_signed,
                    ascii_only=is_ascii,
                )
            )
        when = relative(snapshot.now_ms, entry.when_ms)
        state_words = "" if entry.state == entry.kind.value else entry.state
        rest = "".join(f" · {one}" for one in (entry.name, state_words, when) if one)
        rest = plain(rest, is_ascii=is_ascii)
        room = max(self.size.width - cells(shown.plain) - 1, 0)
        shown.append(f"{clip_cells(rest, room)}\n", "dim")
        return shown

    def _row(self, line: state.Line) -> Row:
        decimals = self.session.decimals(line.currency)
        is_ascii = self.host.options.is_ascii
        friend = self.session.snapshot.friend(line.friend)
        is_online = friend is not None and friend.is_online
        shown = (
            Text("pending")
            if line.balance is None
            else balance(line.balance, decimals, is_ascii=is_ascii)
        )
        can_pay = "?" if line.can_pay is None else format_amount(line.can_pay, decimals)
        return Row(
            _key(line),
            (
                line.name,
                Text("online", "green") if is_online else Text("offline", "dim"),
                line.currency,
                shown,
                credit_bar(line.balance or 0, line.i_grant, line.granted, is_ascii=is_ascii),
                can_pay,
                format_amount(line.can_be_paid, decimals),
            ),
        )

    def _wide_row(self, line: state.Line) -> Row:
        """Who, and the balance with all of its digits, on a line of its own if it is that wide."""
        row = self._row(line)
        name, online, currency, shown = (
            one if isinstance(one, Text) else Text(one) for one in row.cells[:4]
        )
        joint = "\n  " if _wide_lines(line) > 1 else "  "
        return Row(row.key, (Text.assemble(name, "  ", currency, "  ", online, joint, shown),))

    # --- what happened, and what is left --------------------------------------------------------

    def _read_history(self, snapshot: Snapshot) -> None:
        now = (
            self.session.public_key,
            len(snapshot.invoices),
            tuple(one.payment_id for one in snapshot.pays if one.ended_ms is not None),
        )
        if now != self._of:
            self._of = now
            self._read()

    @work(exclusive=True, group="history")
    async def _read(self) -> None:
        found: list[HistoryEntry] = []
        try:
            for kind in _PAST:
                found += await self.session.client.history(kind, None, RECENT_SHOWN)
        except OffsetError:
            return  # a card that may not show it, or is gone: the status line says that
        self._history = found
        self.refresh_view()

    def _show_checklist(self, snapshot: Snapshot) -> None:
        if self._history is None:
            self.query_one(Checklist).display = False
            return
        found = checklist.items(
            snapshot.report,
            self.session.settings,
            snapshot.pays,
            has_history=any(_moved_money(one) for one in self._history or ()),
            is_remote=self.session.card.kind is CardKind.REMOTE,
        )
        self.query_one(Checklist).put(found, is_ascii=self.host.options.is_ascii)

    # --- keys -----------------------------------------------------------------------------------

    def on_data_table_row_selected(self) -> None:
        """Enter opens the friend."""
        key = self.query_one(KeyedTable).current_key
        if key is not None and self.host.has_session:
            self._open_friend(PublicKey.from_text(key.split()[0]))

    def _open_friend(self, key: PublicKey) -> None:
        from offset_tui.screens.friend import FriendScreen  # noqa: PLC0415 - drawn only then

        self.host.push_screen(FriendScreen(key))

    @work(group="new")
    async def action_new(self) -> None:
        """What kind of new thing."""
        match await self.host.push_screen_wait(Pick("New", "", _NEW)):
            case "friend":
                self._invite()
            case "invoice":
                self.host.action_section("receive")
            case "pay":
                self.host.action_section("pay")
            case _:
                pass

    def _invite(self) -> None:
        from offset_tui.screens.introduce import InviteScreen  # noqa: PLC0415 - drawn only then

        self.host.push_screen(InviteScreen())

    def action_pending(self) -> None:
        """Everything that is frozen, also for others."""
        from offset_tui.screens.pending import PendingScreen  # noqa: PLC0415 - drawn only then

        if self.host.has_session:
            self.app.push_screen(PendingScreen())

    def action_copy(self) -> None:
        """Share our own friend card."""
        from offset_tui.screens.friends import share_card  # noqa: PLC0415 - it knows other screens

        share_card(self)

    @work(group="steps")
    async def on_checklist_chosen(self, event: Checklist.Chosen) -> None:
        """Go to the step."""
        from offset_tui.dialogs.backup import back_up  # noqa: PLC0415 - only when asked for
        from offset_tui.screens.connect import ConnectScreen  # noqa: PLC0415 - drawn only then

        if not self.host.has_session:
            return
        friends = self.session.snapshot.report.friends
        match event.step:
            case Step.CARD:
                self.host.action_section("cards")
            case Step.SERVERS:
                self.host.push_screen(ConnectScreen())
            case Step.LIMIT if friends:
                self._open_friend(friends[0].public_key)
            case Step.FRIEND | Step.LIMIT:
                self._invite()
            case Step.PAYMENT:
                self.action_new()
            case Step.BACKUP:
                await back_up(self, self.session.name)


def _key(line: state.Line) -> str:
    return f"{line.friend.to_text()} {line.currency}"


def _one_line(_: state.Line) -> int:
    return 1


def _wide_lines(line: state.Line) -> int:
    return 2 if abs(line.balance or 0) >= WIDE_CREDITS else 1


def _moved_money(entry: HistoryEntry) -> bool:
    """Whether a finished payment or invoice was paid."""
    record = entry.record
    if isinstance(record, PaymentRecord):
        return record.stage is PayStage.PAID
    return isinstance(record, InvoiceRecord) and record.is_paid
