"""Every key of the app: a stable id, its default keys, two words for the footer and a sentence for help.

Screens take their bindings from here, so that help, palette and a user's own keymap speak of the same
actions. Only keys every terminal sends are used. The same letter means the same verb everywhere.

Source: tui.md §5, design R48.
"""

from dataclasses import dataclass
from typing import Final

from textual.binding import Binding


@dataclass(frozen=True, slots=True)
class Key:
    """One action of one screen or of all."""

    id: str
    """`where.verb`; users name it in their keymap file."""
    keys: str
    """Default keys, separated by commas."""
    action: str
    """The Textual action."""
    words: str
    """One or two words for the footer."""
    sentence: str
    """For help and palette: `verb object`, a sentence."""
    is_shown: bool = True
    """Whether the footer names it."""
    is_for_typing: bool = False
    """Used while something is typed into a field: one of its keys must be none that types a character."""
    is_first: bool = False
    """Before whatever has the focus."""

    def binding(self) -> Binding:
        """As Textual wants it."""
        return Binding(
            self.keys,
            self.action,
            self.words,
            show=self.is_shown,
            id=self.id,
            tooltip=self.sentence,
            priority=self.is_first,
            key_display="enter" if self.keys == "enter" else None,
        )


TABS: Final = (
    ("1", "home", "Home"),
    ("2", "pay", "Pay"),
    ("3", "receive", "Receive"),
    ("4", "activity", "Activity"),
    ("5", "friends", "Friends"),
    ("6", "balances", "Balances"),
    ("7", "network", "Network"),
    ("8", "cards", "Cards"),
    ("9", "settings", "Settings"),
    ("0", "help", "Help"),
)
"""(key, mode, name) of the ten sections, in order."""

GLOBAL: Final = (
    *(
        Key(f"app.tab_{mode}", key, f"section('{mode}')", name, f"Go to {name}.", is_shown=False)
        for key, mode, name in TABS
    ),
    Key("app.import", "ctrl+o", "import", "Import", "Open a text or file somebody gave you."),
    Key("app.next", "ctrl+g", "next_need", "Continue", "Go on with what needs you most."),
    Key("app.paste", "c", "paste", "Paste", "Paste a text somebody sent you.", is_shown=False),
    Key("app.card", "K", "switch_card", "Card", "Switch to another card.", is_shown=False),
    Key("app.help", "question_mark,f1", "help", "Help", "Explain this screen and its keys."),
    Key(
        "app.palette",
        "ctrl+p,colon",
        "command_palette",
        "Commands",
        "Find any command by typing.",
        is_shown=False,
    ),
    Key(
        "app.lock",
        "ctrl+l",
        "lock",
        "Lock",
        "Hide everything until the passphrase is typed.",
        is_shown=False,
    ),
    Key("app.quit", "ctrl+q", "leave", "Quit", "Leave the app.", is_shown=False),
)
"""Works wherever no text is being typed."""

BACK: Final = Key("screen.back", "q,escape", "back", "Back", "Go back; on Home, leave the app.")

LIST: Final = (
    Key(
        "list.filter",
        "slash",
        "filter",
        "Filter",
        "Show only rows that contain what you type.",
        is_shown=False,
    ),
    Key("list.new", "n", "new", "New", "Make a new one."),
    Key("list.edit", "e", "edit", "Edit", "Change the row under the cursor."),
    Key("list.remove", "x", "remove", "Remove", "Remove the row under the cursor."),
    Key("list.toggle", "space", "toggle", "On/off", "Switch the row under the cursor on or off."),
    Key("list.copy", "y", "copy", "Copy", "Copy, show or save it as text."),
    Key("list.qr", "v", "qr", "QR", "Show it as a QR code."),
    Key("list.sort", "s", "sort", "Sort", "Change the order.", is_shown=False),
    Key("list.export", "E", "export", "Export", "Write the rows to a file.", is_shown=False),
)
"""Verbs several screens share; each screen names those it has."""


ACTIVITY: Final = (
    Key(
        "activity.out",
        "o",
        "show('out')",
        "Paid",
        "Show only what you paid; again shows everything.",
    ),
    Key("activity.in", "i", "show('in')", "Got", "Show only what you got; again shows everything."),
    Key(
        "activity.through", "t", "show('through')", "Through", "Show only what passed through you."
    ),
    Key(
        "activity.needs", "a", "show('needs')", "Needs", "Show only what needs you.", is_shown=False
    ),
    Key("activity.sort", "s", "sort", "Order", "Newest or oldest first.", is_shown=False),
)

PEOPLE: Final = (
    Key("friend.limit", "l", "limit", "Limit", "Set the most this friend may owe you."),
    Key(
        "friend.told",
        "L",
        "told",
        "Their limit",
        "Note up to how much this friend says they trust you.",
        is_shown=False,
    ),
    Key("friend.fee", "f", "fee", "Fee", "Set what you charge for passing payments on."),
    Key("friend.currency", "n", "new", "Currency", "Use one more currency with this friend."),
    Key("friend.open", "o", "open", "Open/close", "Let payments of others pass, or stop them."),
    Key(
        "friend.drop_currency",
        "x",
        "remove",
        "Remove",
        "Stop using the currency under the cursor.",
        is_shown=False,
    ),
    Key(
        "friend.rebalance",
        "z",
        "rebalance",
        "Rebalance",
        "Move what is owed towards zero, along a circle of friends.",
        is_shown=False,
    ),
    Key("friend.rename", "e", "edit", "Rename", "Call this friend something else.", is_shown=False),
    Key(
        "friend.relays",
        "R",
        "relays",
        "Relays",
        "Show where this friend is reached.",
        is_shown=False,
    ),
    Key(
        "friend.token",
        "t",
        "token",
        "Signed",
        "Show, check and keep what this friend signed last.",
        is_shown=False,
    ),
    Key(
        "friend.unfriend",
        "X",
        "unfriend",
        "Unfriend",
        "Forget this friend and every balance with them.",
        is_shown=False,
    ),
    Key(
        "friend.settle",
        "a",
        "settle",
        "Compare",
        "Compare both proposals after a disagreement.",
        is_shown=False,
    ),
    Key(
        "friend.dispute",
        "D",
        "dispute",
        "Dispute",
        "Propose balances to a friend whose messages cannot be read.",
        is_shown=False,
    ),
    Key("inconsistent.accept", "a", "accept", "Accept theirs", "Accept the friend's proposal."),
    Key(
        "inconsistent.tell",
        "y",
        "tell_friend",
        "Tell them",
        "Make a text to send to this friend: what differs, and what to press.",
    ),
    Key(
        "form.submit",
        "ctrl+g",
        "submit",
        "Continue",
        "Go on with what is in the form.",
        is_for_typing=True,
    ),
    Key("answer.by_hand", "f", "by_hand", "As friend", "Add the sender as a friend by hand."),
    Key("token.export", "E", "export", "File", "Write the signed balances to a file."),
)
"""The screens about friends."""


MONEY: Final = (
    Key("money.pay", "P", "pay", "Pay", "Pay what is shown; nothing else pays."),
    Key("money.fee", "f", "fee", "Highest fee", "Change the most you pay in fees."),
    Key("money.cancel", "x", "give_up", "Give up", "Give up a payment that has no commit yet."),
    Key("money.retry", "r", "retry", "Try again", "Pay the same invoice again, after a look."),
    Key("money.share", "y", "share", "Share", "Copy it, show it, write it to a file."),
    Key("money.qr", "v", "qr", "QR", "Show it as a QR code."),
    Key("money.handed", "h", "handed", "Handed over", "Note that the seller has the commit."),
    Key("money.verify", "V", "verify", "Verify", "Check the signatures again."),
    Key("money.note", "e", "note", "Note", "Write a private note."),
    Key("money.bundle", "E", "bundle", "Export", "Write proof, invoice and a page to read."),
    Key("money.collect", "enter", "collect", "Collect", "Collect: the payment is complete."),
    Key("money.hold", "h", "hold", "Hold", "Keep the commit until a date, collect later."),
    Key("money.refund", "x", "refund", "Refund", "Give everything back and close the invoice."),
    Key("money.close", "x", "close", "Close", "Close the invoice: nobody can pay it any more."),
    Key(
        "money.create",
        "ctrl+s",
        "create",
        "Create",
        "Make the invoice in the form.",
        is_for_typing=True,
    ),
    Key(
        "money.go_on",
        "ctrl+g",
        "go_on",
        "Continue",
        "Make the invoice in the form; with an empty form, go on with what needs you.",
        is_shown=False,
        is_for_typing=True,
    ),
    Key(
        "money.bills",
        "B,ctrl+t",
        "bills",
        "Bills",
        "Split a bill, and see who has paid their share.",
        is_for_typing=True,
    ),
    Key("home.pending", "u", "pending", "Under way", "List everything that is frozen just now."),
    Key("pending.next", "greater_than_sign", "turn(1)", "Next", "Show the next page."),
    Key("pending.before", "less_than_sign", "turn(-1)", "Before", "Show the page before."),
    Key("money.card", "K", "card", "Card", "Pay with another card.", is_shown=False),
    Key("money.earlier", "o", "earlier", "Earlier", "Open the earlier payment of this invoice."),
    Key("money.list", "down,j", "to_list", "List", "Go down to the list.", is_shown=False),
    Key("money.up", "up,k", "scroll_to(-1)", "Up", "Scroll up.", is_shown=False),
    Key("money.down", "down,j", "scroll_to(1)", "Down", "Scroll down.", is_shown=False),
)
"""Paying and being paid."""


NETWORK: Final = (
    Key(
        "network.reconnect",
        "r",
        "reconnect",
        "Retry",
        "Try servers and friends that are not reached now, instead of waiting.",
    ),
    Key(
        "network.auto",
        "a",
        "auto",
        "Auto",
        "Add servers from the list on this computer.",
        is_shown=False,
    ),
    Key("network.run", "w", "run_servers", "Run own", "Run servers in this card, or stop them."),
    Key(
        "network.ways",
        "i",
        "ways",
        "Three ways",
        "Explain the ways to have servers.",
        is_shown=False,
    ),
)
"""The screen about relays and index servers."""

CARDS: Final = (
    Key("cards.backup", "b", "backup", "Backup", "Write an encrypted backup of the card."),
    Key(
        "cards.passphrase",
        "p",
        "passphrase",
        "Passphrase",
        "Protect the card with a passphrase, change it or take it away.",
        is_shown=False,
    ),
    Key(
        "cards.apps",
        "a",
        "apps",
        "Apps",
        "Show the apps and devices that may use the card.",
        is_shown=False,
    ),
    Key(
        "cards.test",
        "t",
        "test",
        "Test",
        "Connect to a remote card and show what it lets you do.",
        is_shown=False,
    ),
)
"""The screen about cards."""

SETUP: Final = (
    Key(
        "setup.next",
        "ctrl+g",
        "go_on",
        "Continue",
        "Go on with what is in the form.",
        is_for_typing=True,
    ),
)
"""The first run. While it is shown one is nearly always typing, so there are no single letters."""

DIALOGS: Final = (
    Key("dialog.cancel", "escape,q", "cancel", "Cancel", "Close without doing anything."),
    Key(
        "dialog.leave",
        "escape",
        "cancel",
        "Cancel",
        "Close the form without doing anything.",
        is_for_typing=True,
    ),
    Key("import.take", "ctrl+o", "take", "Open", "Open what is in the box.", is_for_typing=True),
    Key("topic.close", "escape,q,question_mark,f1", "close", "Back", "Close help."),
    Key(
        "lock.quit",
        "ctrl+q",
        "app.quit",
        "Quit",
        "Close the app.",
        is_shown=False,
        is_for_typing=True,
    ),
)
"""What is shown over a screen: questions, forms, help, the lock."""

SHARE: Final = (
    Key("share.close", "escape,q", "close", "Back", "Close this."),
    Key("share.copy", "y,c", "copy", "Copy", "Send the text to your terminal's clipboard."),
    Key("share.file", "f", "file", "File", "Write the text to a file."),
    Key("share.qr", "v", "qr", "QR", "Show it as a QR code."),
    Key("share.give", "m", "give", "Give", "Give it to a neighbour of the practice village."),
    Key("share.handed", "h", "handed", "Handed over", "Note that the seller has the commit."),
    Key("secret.close", "escape,q", "close", "Done", "Done with it."),
    Key("secret.file", "f", "file", "File", "Write it to a file."),
    Key("secret.show", "s", "reveal", "Show", "Show the text on the screen."),
    Key("qr.close", "q,escape", "close", "Back", "Close the code."),
    Key("qr.pause", "space", "pause", "Pause", "Stop turning the parts, or go on."),
    Key("qr.before", "left", "step(-1)", "Part before", "Show the part before."),
    Key("qr.next", "right", "step(1)", "Next part", "Show the next part."),
    Key("qr.words", "t", "words", "Text", "Show the code alone, or the words too."),
    Key("qr.invert", "i", "invert", "Invert", "Swap black and white, for light terminals."),
)
"""Handing a text to somebody."""

VILLAGE: Final = (
    Key("village.chat", "m", "chat", "Chat", "Read and write in the village chat."),
    Key("village.tour", "t", "tour", "Tour", "Show the tour again.", is_shown=False),
    Key(
        "village.hide",
        "escape",
        "hide_tour",
        "Hide tour",
        "Hide the tour.",
        is_shown=False,
        is_first=True,
    ),
    Key(
        "chat.read",
        "o",
        "read",
        "Read",
        "Open the message in full, with the text that came with it.",
    ),
    Key("chat.write", "n", "write", "Write", "Write to a neighbour."),
    Key("chat.buy", "b", "buy", "Buy", "Ask a neighbour to sell you something."),
    Key("chat.copy", "y", "copy", "Copy", "Copy the text that came with it."),
)
"""The practice village."""

WIDGETS: Final = (
    Key("table.down", "j", "cursor_down", "Down", "Move down.", is_shown=False),
    Key("table.up", "k", "cursor_up", "Up", "Move up.", is_shown=False),
    Key("table.first", "g,home", "scroll_top", "First", "Go to the first row.", is_shown=False),
    Key("table.last", "G,end", "scroll_bottom", "Last", "Go to the last row.", is_shown=False),
    Key(
        "table.open",
        "enter",
        "select_cursor",
        "Open",
        "Open the row under the cursor.",
        is_shown=False,
    ),
    Key("choice.next", "space,right", "turn(1)", "Choose", "Choose the next one."),
    Key("choice.before", "left", "turn(-1)", "Before", "Choose the one before.", is_shown=False),
)
"""What has the focus."""

_KNOWN: Final = {
    key.id: key
    for key in (
        *GLOBAL,
        BACK,
        *LIST,
        *ACTIVITY,
        *PEOPLE,
        *MONEY,
        *NETWORK,
        *CARDS,
        *SETUP,
        *DIALOGS,
        *SHARE,
        *VILLAGE,
        *WIDGETS,
    )
}


def known() -> dict[str, Key]:
    """Every key of the app by its id."""
    return dict(_KNOWN)


def pick(*ids: str) -> list[Binding]:
    """Bindings with these ids, in this order.

    Raises:
        KeyError: there is no such id.
    """
    return [_KNOWN[one].binding() for one in ids]
