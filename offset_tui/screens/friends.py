"""Friends: who they are, how things stand, and what one owes the other.

Source: apps.md §5 S27, S28; tui.md §9; design R48.
"""

from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.widgets import Static

from offset_engine.client import (
    DisableFriend,
    EnableFriend,
    FriendReport,
    PublicKey,
)
from offset_engine.errors import OffsetError
from offset_engine.files import FriendCard
from offset_engine.introducing import own_card
from offset_engine.text import fingerprint_words, relative, safe
from offset_tui import people, roster, side_words, state
from offset_tui.dialogs.base import Confirm
from offset_tui.dialogs.importing import ImportDialog
from offset_tui.dialogs.pick import Pick
from offset_tui.dialogs.qr import QrScreen
from offset_tui.dialogs.share import ShareScreen
from offset_tui.dialogs.unfriend import unfriend
from offset_tui.keymap import pick
from offset_tui.roster import Person
from offset_tui.screens.base import CardScreen
from offset_tui.screens.sides import SidesScreen
from offset_tui.session import Snapshot
from offset_tui.widgets.credit import balance, credit_bar
from offset_tui.widgets.inputs import LineInput
from offset_tui.widgets.table import Column, KeyedTable, Many, Row

_COLUMNS: Final = (
    Column("Friend"),
    Column("State"),
    Column("Currency"),
    Column("Balance", "right"),
    Column("Limits", rank=3),
    Column("Last seen", rank=2),
)
_WIDE_COLUMNS: Final = (Column("Friend"), Column("State", rank=1), Column("Balance", "right"))
"""Where an amount needs nearly the whole line."""
_SORTS: Final = (
    ("name", "sorted by name"),
    ("state", "sorted by state: what needs you first"),
    ("used", "sorted by how much of a limit is used"),
)
_NEW: Final = (
    ("invite", "Invite somebody: you send one text, they send one back"),
    ("paste", "Paste what they sent: an invite, an answer or a friend card"),
    ("card", "Add somebody by their friend card, text or file"),
)
_NO_FRIENDS: Final = (
    "No friends yet. Money moves only between people who trust each other up to a limit.\n\n"
    "n  invites somebody, or adds one\n"
    "c  opens what somebody sent you\n"
    "y  shares your own friend card (v as a QR code)"
)
_NO_RELAY: Final = (
    "\n\nThis card has no servers yet, so nobody could reach it: paste the servers"
    " text somebody gave you (c), or an invite, which brings its own."
)


async def add_somebody(screen: CardScreen) -> None:
    """Ask how, and open the screen for it: `n` on Home and here. Call it in a worker."""
    how = await screen.host.push_screen_wait(Pick("New friend", "", _NEW))
    if how == "invite":
        from offset_tui.screens.introduce import InviteScreen  # noqa: PLC0415 - only then

        await screen.host.push_screen(InviteScreen())
    elif how is not None:
        title = "What they sent" if how == "paste" else "A friend card"
        found = await screen.host.push_screen_wait(ImportDialog(title))
        if found:
            await screen.host.review(found)


def card_of(screen: CardScreen) -> FriendCard | None:
    """Our own friend card; says why there is none."""
    try:
        return own_card(screen.session.snapshot.report, screen.session.name)
    except OffsetError as problem:
        screen.flash(str(problem), is_error=True)
        return None


def share_card(screen: CardScreen) -> None:
    """Show our own friend card as text: `y`."""
    card = card_of(screen)
    if card is not None:
        words = fingerprint_words(card.public_key)
        screen.host.push_screen(
            ShareScreen(
                card,
                f"{screen.session.name}'s friend card · {people.card_words(card.public_key, words)}",
                "Send it to a friend; they add it, and you add theirs. Compare the eight words by voice."
                "\nAn invite (n) does the same with fewer steps.",
            )
        )


class FriendsScreen(SidesScreen):
    """See the module."""

    SECTION = "friends"
    TOPIC = "friends"
    AUTO_FOCUS = "KeyedTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        *pick(
            "list.new",
            "list.toggle",
            "list.remove",
            "list.copy",
            "list.qr",
            "list.sort",
            "list.filter",
        )
    ]

    def __init__(self) -> None:
        super().__init__()
        self._sort = 0
        self._wanted = ""

    def body(self) -> ComposeResult:
        """The filter, the list, or what to do without one."""
        yield from self.beside(
            LineInput(id="people-filter", placeholder="show only names that contain …"),
            KeyedTable(id="friends"),
            Static(id="friends-empty", classes="empty", markup=False),
        )

    def show(self, snapshot: Snapshot) -> None:
        """Draw the friends."""
        shown = self._in_order(
            [
                one
                for one in self.session.roster.people
                if not self._wanted or people.is_match(self._wanted, one.report.name, one.name)
            ]
        )
        is_wide = any(self._is_wide(line) for one in shown for line in one.lines)
        table = self.query_one(KeyedTable)
        table.display = bool(shown)
        table.fill_many(
            _WIDE_COLUMNS if is_wide else _COLUMNS,
            Many(
                shown,
                self._wide_row if is_wide else self._row,
                _key,
                lambda one: max(len(one.lines), 1) * (1 + is_wide),
                lambda: self._widest(shown),
            ),
        )
        self._say_empty(snapshot, has_rows=bool(shown))
        self.show_side()

    def _widest(self, shown: list[Person]) -> list[Person]:
        if not shown:
            return []
        lines = roster.widest([line for one in shown for line in one.lines])
        by_key = self.session.roster.by_key
        return [max(shown, key=lambda one: len(one.name)), *(by_key[one.friend] for one in lines)]

    def _say_empty(self, snapshot: Snapshot, *, has_rows: bool) -> None:
        empty = self.query_one("#friends-empty", Static)
        empty.display = not has_rows
        if snapshot.report.friends:
            empty.update(
                Text(f"No friend's name contains “{safe(self._wanted)}” · escape shows all")
            )
        else:
            empty.update(Text(_NO_FRIENDS + ("" if snapshot.report.relays else _NO_RELAY)))

    def _in_order(self, found: list[Person]) -> list[Person]:
        sort = _SORTS[self._sort][0]
        if sort == "state":
            found.sort(key=lambda one: people.standing(one.report).rank)
        elif sort == "used":
            found.sort(key=lambda one: -max(map(_use, one.lines), default=0))
        return found

    def _is_wide(self, line: state.Line) -> bool:
        # As many digits, and a separator for every three.
        return bool(line.balance) and len(str(line.balance)) * 4 // 3 > people.WIDE_CELLS

    def _row(self, one: Person) -> Row:
        is_ascii = self.host.options.is_ascii
        balances, bars = Text(), Text()
        for at, line in enumerate(one.lines):
            balances.append("\n" if at else "").append_text(self._balance(line))
            bars.append("\n" if at else "").append_text(
                credit_bar(line.balance or 0, line.i_grant, line.granted, is_ascii=is_ascii)
            )
        standing = people.standing(one.report)
        return Row(
            one.key,
            (
                one.name,
                Text(standing.shown(is_ascii=is_ascii), standing.style),
                "\n".join(line.currency for line in one.lines) or "none yet",
                balances,
                bars,
                self._last(one.report),
            ),
        )

    def _wide_row(self, one: Person) -> Row:
        """The currency under its amount, so that no digit is cut."""
        shown = Text()
        for at, line in enumerate(one.lines):
            shown.append("\n" if at else "")
            shown.append_text(self._balance(line, words=False)).append(f"\n{line.currency}")
        standing = people.standing(one.report)
        return Row(
            one.key,
            (
                state.clip_name(one.name, 12),
                Text(standing.shown(is_ascii=self.host.options.is_ascii), standing.style),
                shown,
            ),
        )

    def _balance(self, line: state.Line, *, words: bool = True) -> Text:
        if line.balance is None:
            return Text("not agreed yet", "dim")
        shown = balance(
            line.balance,
            self.session.decimals(line.currency),
            is_ascii=self.host.options.is_ascii,
        )
        return shown if words else Text(shown.plain.split(" ")[0], shown.style)

    def _last(self, friend: FriendReport) -> str:
        now = self.session.snapshot.now_ms
        seen = people.seen_words(
            friend, lambda ms: relative(now, ms), self.session.seen.get(friend.public_key)
        )
        if friend.pending:
            return f"{friend.pending} pending" if not seen else f"{seen}, {friend.pending} pending"
        return seen or "not since start"

    # --- beside the list ------------------------------------------------------------------------

    def side(self) -> Text | None:
        """The friend under the cursor in short."""
        key = self.query_one(KeyedTable).current_key
        if key is None or not self.host.has_session:
            return None
        one = self.session.roster.by_key.get(PublicKey.from_text(key))
        if one is None:
            return None
        return side_words.friend(one, self.session.decimals, is_ascii=self.host.options.is_ascii)

    # --- keys -----------------------------------------------------------------------------------

    def _chosen(self) -> FriendReport | None:
        """The friend under the cursor at this moment; says so if there is none."""
        key = self.query_one(KeyedTable).current_key
        found = None if key is None else self.session.snapshot.friend(PublicKey.from_text(key))
        if found is None:
            self.flash("there is no friend in this list yet: n adds one")
        return found

    def on_data_table_row_selected(self) -> None:
        """Enter opens the friend."""
        key = self.query_one(KeyedTable).current_key
        if key is not None:
            from offset_tui.screens.friend import FriendScreen  # noqa: PLC0415 - only then

            self.host.push_screen(FriendScreen(PublicKey.from_text(key)))

    @work(group="new", exclusive=True)
    async def action_new(self) -> None:
        """Invite somebody, or add one."""
        if self.may_change():
            await add_somebody(self)

    def action_toggle(self) -> None:  # type: ignore[override]  # a node's own takes an attribute
        """Switch the friend on; off only after a question."""
        friend = self._chosen()
        if friend is not None and self.may_change():
            toggle_friend(self, friend)

    def action_remove(self) -> None:
        """Unfriend."""
        friend = self._chosen()
        if friend is not None and self.may_change():
            unfriend(self, friend.public_key)

    def action_copy(self) -> None:
        """Share our own card."""
        share_card(self)

    def action_qr(self) -> None:
        """The same as a QR code."""
        card = card_of(self)
        if card is not None:
            words = fingerprint_words(card.public_key)
            caption = (
                f"{self.session.name}'s friend card\n{people.card_words(card.public_key, words)}"
            )
            self.host.push_screen(QrScreen(card, caption=caption))

    def action_sort(self) -> None:
        """The next order."""
        self._sort = (self._sort + 1) % len(_SORTS)
        self.refresh_view()
        self.flash(_SORTS[self._sort][1])

    # --- the filter -----------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type what names must contain."""
        field = self.query_one("#people-filter", LineInput)
        field.add_class("-on")
        field.focus()

    def on_input_changed(self) -> None:
        """Filter while typing."""
        self._wanted = self.query_one("#people-filter", LineInput).value
        self.refresh_view()

    def on_input_submitted(self) -> None:
        """Back to the list."""
        self.query_one(KeyedTable).focus()

    def action_back(self) -> None:
        """Escape first shows everybody again."""
        field = self.query_one("#people-filter", LineInput)
        if field.has_class("-on"):
            field.value = ""
            field.remove_class("-on")
            self.query_one(KeyedTable).focus()
        else:
            super().action_back()


def toggle_friend(screen: CardScreen, friend: FriendReport) -> None:
    """Switch a friend on at once; off only after a question, because what waits is cancelled."""
    screen.run_worker(_toggle(screen, friend), group="toggle", exclusive=True)


async def _toggle(screen: CardScreen, friend: FriendReport) -> None:
    client, key = screen.session.client, friend.public_key
    name = state.friend_names(screen.session.snapshot.report).get(key, "")
    if not friend.is_enabled:
        await screen.do(client.command(EnableFriend(key)), f"{name} is switched on")
        return
    question = (
        f"Switch {name} off? Balances stay. This card disconnects from {name},"
        " and payments that still wait for them are cancelled."
    )
    if await screen.host.push_screen_wait(Confirm("Switch off", question, "Switch off", "y")):
        await screen.do(client.command(DisableFriend(key)), f"{name} is switched off")


def _key(one: Person) -> str:
    return one.key


def _use(line: state.Line) -> int:
    """How much of a limit is used, in thousandths; more than any if it is over a limit of 0."""
    balance = line.balance or 0
    limit = line.i_grant if balance >= 0 else line.granted
    if not balance:
        return 0
    return 1_000_000 if not limit else abs(balance) * 1_000 // limit
